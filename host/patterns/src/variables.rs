//! What the holes of a template stand for in one line.

use std::ops::Range;

use crate::align;
use crate::header::message_start;
use crate::line;
use crate::scan::{Sink, scan, scan_range};
use crate::shape::{Collect, HOLE, Kind, Shape};

/// Returns the parts of `text` that the holes of `template` stand for, one for each hole in order, as ranges of bytes; `None` if the
/// template does not describe the text.
///
/// ```
/// let text = b"Nov 24 05:37:20 web1 sshd[7]: Accepted password for alice from 10.0.0.1";
/// let ranges = watchfire_patterns::variables("Accepted password for <*> from <*>", text).unwrap();
/// assert_eq!(&text[ranges[0].clone()], b"alice");
/// assert_eq!(&text[ranges[1].clone()], b"10.0.0.1");
/// ```
#[must_use]
pub fn variables(template: &str, text: &[u8]) -> Option<Vec<Range<usize>>> {
    let message = line::message(text);
    let base = message_start(text[..text.len().min(crate::scan::MAX_BYTES)].trim_ascii_end());
    let mut collect = Collect::default();
    line::read(text, &mut collect);
    // A hole is one value if that fits, and any text if not.
    let wanted = template.matches(HOLE).count();
    let describing = |hole| align::holes(&parse(template, hole), &collect.shape).filter(|found| found.len() == wanted);
    let Some(found) = [Kind::Hole, Kind::Many].into_iter().find_map(describing) else {
        let ranges = literally(template, message)?;
        return Some(ranges.into_iter().map(|range| base + range.start..base + range.end).collect());
    };
    let end_of = |index: usize| if index == 0 { 0 } else { collect.spans[index - 1].1 };
    let ranges = found.into_iter().map(|(from, to)| {
        let range = if from == to { end_of(from)..end_of(from) } else { collect.spans[from].0..collect.spans[to - 1].1 };
        base + range.start.min(message.len())..base + range.end.min(message.len())
    });
    Some(ranges.collect())
}

/// Finds the texts between holes one after the other, as they are written.
fn literally(template: &str, message: &[u8]) -> Option<Vec<Range<usize>>> {
    let mut pieces = template.split(HOLE).map(|piece| piece.trim().as_bytes());
    let first = pieces.next()?;
    let mut at = message.starts_with(first).then_some(first.len())?;
    let mut ranges = Vec::new();
    let mut pieces = pieces.peekable();
    while let Some(piece) = pieces.next() {
        let rest = &message[at..];
        let found = match pieces.peek() {
            None => rest.ends_with(piece).then(|| rest.len() - piece.len())?,
            Some(_) => memchr::memmem::find(rest, piece)?,
        };
        ranges.push(trimmed(message, at..at + found));
        at += found + piece.len();
    }
    (at == message.len()).then_some(ranges)
}

/// Takes blanks off both ends of a range.
fn trimmed(text: &[u8], range: Range<usize>) -> Range<usize> {
    let inside = &text[range.clone()];
    let start = range.start + (inside.len() - inside.trim_ascii_start().len());
    start..start + inside.trim_ascii().len()
}

/// Reads a template back into its elements; each hole becomes `hole`.
pub(crate) fn parse(template: &str, hole: Kind) -> Shape {
    let mut shape = Shape::default();
    let mut end_of_last = true;
    for (index, piece) in template.split(HOLE).enumerate() {
        if index > 0 {
            let space = !end_of_last;
            shape.push(hole, space, &[]);
        }
        let bytes = piece.as_bytes();
        let mut literal = Literal { shape, end: 0, quoted: false };
        scan(bytes, 0, &mut literal);
        end_of_last = literal.end == bytes.len();
        shape = literal.shape;
    }
    shape
}

/// Takes everything as words and marks.
struct Literal {
    shape: Shape,
    end: usize,
    quoted: bool,
}

impl Sink for Literal {
    fn word(&mut self, text: &[u8], start: usize, end: usize) {
        let word = &text[start..end];
        self.shape.push(Kind::Word, start != self.end, &word[..word.len().min(crate::chunk::MAX_WORD)]);
        self.end = end;
    }

    fn name(&mut self, text: &[u8], start: usize, end: usize) {
        self.word(text, start, end);
    }

    fn hole(&mut self, text: &[u8], start: usize, end: usize) {
        if !self.quoted && start > 0 && matches!(text[start - 1], b'"' | b'\'' | b'`') {
            // The message of a line with keys is read by its words.
            self.quoted = true;
            scan_range(text, start, end, self);
            self.quoted = false;
        } else if end > start {
            self.word(text, start, end);
        }
    }

    fn mark(&mut self, text: &[u8], at: usize) {
        self.shape.push(Kind::Mark, at != self.end, &text[at..=at]);
        self.end = at + 1;
    }

    fn taken(&self) -> usize {
        self.shape.tokens().len()
    }
}
