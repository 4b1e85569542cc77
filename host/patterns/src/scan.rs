//! The one pass over a message: splits it into words, values and marks, and hands each to a [`Sink`].

use memchr::memchr;

use crate::bytes::{DIGIT, JOIN, LETTER, MARK, SPACE, WIDE, class};
use crate::{chunk, wide};

/// Most elements of one message that are looked at; what comes after is one value.
pub(crate) const MAX_TOKENS: usize = 256;
/// Most bytes of one line that are looked at.
pub(crate) const MAX_BYTES: usize = 16 << 10;
/// Words with digits of one message that are taken for words.
pub(crate) const MAX_NAMES: u8 = 2;
/// Longest quoted text that is taken for one value.
const MAX_QUOTED: usize = 400;

/// Takes the elements of a message in the order in which they stand there.
pub(crate) trait Sink {
    /// A word that belongs to the message. Offsets are those of the text that is scanned.
    fn word(&mut self, text: &[u8], start: usize, end: usize);
    /// A word with a digit that may be a name. Only the first few of a message are words: each has ten forms.
    fn name(&mut self, text: &[u8], start: usize, end: usize);
    /// A value, possibly empty.
    fn hole(&mut self, text: &[u8], start: usize, end: usize);
    /// One byte of punctuation.
    fn mark(&mut self, text: &[u8], at: usize);
    /// Returns how many elements have been taken.
    fn taken(&self) -> usize;
}

/// Scans `text` from `at` on.
pub(crate) fn scan<S: Sink>(text: &[u8], at: usize, sink: &mut S) {
    scan_range(text, at, text.len(), sink);
}

/// Scans `text[at..end]`.
pub(crate) fn scan_range<S: Sink>(text: &[u8], mut at: usize, end: usize, sink: &mut S) {
    let text = &text[..end];
    while at < end {
        let kind = class(text[at]);
        if kind & SPACE != 0 {
            at = if text[at] == 0x1b { after_escape(text, at) } else { at + 1 };
            continue;
        }
        if sink.taken() >= MAX_TOKENS {
            sink.hole(text, at, end);
            return;
        }
        if kind & MARK != 0 {
            at = mark(text, at, sink);
            continue;
        }
        let start = at;
        let mut flags = kind;
        at += 1;
        while at < end {
            let kind = class(text[at]);
            if kind & (SPACE | MARK) != 0 {
                break;
            }
            flags |= kind;
            at += 1;
        }
        at = match flags {
            LETTER => plain_word(text, start, at, sink),
            DIGIT => number(text, start, at, sink),
            _ if flags & WIDE != 0 => {
                wide::read(text, start, at, sink);
                at
            }
            _ if flags & (JOIN | DIGIT) == DIGIT => {
                chunk::letters_and_digits(text, start, at, sink);
                at
            }
            _ => chunk::mixed(text, start, at, flags, sink),
        };
    }
}

/// Skips what sets colours on a terminal.
fn after_escape(text: &[u8], at: usize) -> usize {
    if text.get(at + 1) != Some(&b'[') {
        return at + 1;
    }
    let parameters = text[at + 2..].iter().take(16).take_while(|byte| matches!(byte, b'0'..=b'9' | b';')).count();
    let end = at + 2 + parameters;
    if text.get(end).is_some_and(u8::is_ascii_alphabetic) { end + 1 } else { at + 1 }
}

/// A run of letters: nearly always a word.
#[inline]
fn plain_word<S: Sink>(text: &[u8], start: usize, end: usize, sink: &mut S) -> usize {
    if chunk::is_value_word(text, start, end) {
        sink.hole(text, start, end);
    } else {
        sink.word(text, start, end);
    }
    end
}

/// A run of digits, and what follows it if that is a group of thousands or milliseconds: `1,024,000`, `18:01:47,978`.
#[inline]
fn number<S: Sink>(text: &[u8], start: usize, end: usize, sink: &mut S) -> usize {
    let end = with_groups(text, end);
    sink.hole(text, start, end);
    end
}

/// Returns the end of a number with the groups `,ddd` that follow it.
pub(crate) fn with_groups(text: &[u8], mut end: usize) -> usize {
    while text.len() >= end + 4
        && text[end] == b','
        && text[end + 1..end + 4].iter().all(u8::is_ascii_digit)
        && text.get(end + 4).is_none_or(|byte| class(*byte) & (LETTER | DIGIT) == 0)
    {
        end += 4;
    }
    end
}

/// Punctuation: a quoted text is one value, everything else stands for itself.
fn mark<S: Sink>(text: &[u8], at: usize, sink: &mut S) -> usize {
    let quote = text[at];
    if matches!(quote, b'"' | b'\'' | b'`')
        && let Some(close) = closing_quote(text, at)
    {
        let (start, inside) = (at + 1, &text[at + 1..close]);
        let after = text.get(close + 1).copied().unwrap_or(b' ');
        sink.mark(text, at);
        let is_mark = inside.len() == 1 && class(inside[0]) & (LETTER | DIGIT) == 0;
        // In single quotes only within braces: `'x': not found` is a message about x.
        let may_be_key = quote == b'"' || matches!(text[..at].trim_ascii_end().last(), Some(b'{' | b','));
        let is_key = may_be_key && after == b':' && !inside.contains(&b' ');
        if is_key || begins_request(inside) || is_mark {
            // A key, or a request line, which has words of its own.
            scan_range(text, start, close, sink);
        } else {
            sink.hole(text, start, close);
        }
        sink.mark(text, close);
        return close + 1;
    }
    sink.mark(text, at);
    at + 1
}

/// Returns where the quoted text that begins at `at` ends. An apostrophe within a word is no quote.
fn closing_quote(text: &[u8], at: usize) -> Option<usize> {
    let quote = text[at];
    if at > 0 && quote != b'"' && class(text[at - 1]) & (LETTER | DIGIT) != 0 {
        return None;
    }
    let limit = text.len().min(at + 1 + MAX_QUOTED);
    let mut from = at + 1;
    while from < limit {
        let found = from
            + memchr(quote, &text[from..limit]).or_else(|| {
                // GNU programs write `so'.
                if quote == b'`' { memchr(b'\'', &text[from..limit]) } else { None }
            })?;
        let in_word = quote != b'"' && text.get(found + 1).is_some_and(|byte| class(*byte) & (LETTER | DIGIT) != 0);
        let escaped = text[found - 1] == b'\\' && found > at + 1;
        if !in_word && !escaped {
            return Some(found);
        }
        from = found + 1;
    }
    None
}

/// Returns whether a quoted text is the first line of an HTTP request.
fn begins_request(inside: &[u8]) -> bool {
    const METHODS: [&[u8]; 7] = [b"GET ", b"POST ", b"PUT ", b"HEAD ", b"DELETE ", b"PATCH ", b"OPTIONS "];
    METHODS.iter().any(|method| inside.starts_with(method))
}
