//! From the lines of a file to the texts of records: decoded, out of their envelopes, pieces and stack traces put together.
//!
//! **Invariant**: which records come out does not depend on where the bytes were cut: what may still grow is left for the next look.

use std::borrow::Cow;

use encoding_rs::Encoding;
use watchfire_types::Timestamp;

use super::multiline::{self, Rules};
use super::reader::{Line, Lines, Unit};
use crate::inputs::formats::{Given, Stream, Unwrapped};

/// Most bytes of a line that a container runtime has split.
const MAX_PIECES_BYTES: usize = 256 << 10;

/// What a file's bytes mean.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Charset(Option<&'static Encoding>);

impl Charset {
    pub(super) fn new(encoding: Option<&'static Encoding>) -> Self {
        Self(encoding.filter(|encoding| *encoding != encoding_rs::UTF_8))
    }

    /// Returns how its line breaks are written.
    pub(super) fn unit(self) -> Unit {
        match self.0 {
            Some(encoding) if encoding == encoding_rs::UTF_16LE => Unit::Little,
            Some(encoding) if encoding == encoding_rs::UTF_16BE => Unit::Big,
            _ => Unit::Byte,
        }
    }
}

/// A text of one or more lines of the file.
#[derive(Clone, Copy, Debug, Default)]
struct Item {
    start: u32,
    end: u32,
    /// Whether the text lies beside the chunk's own, since it is not in it as it is.
    apart: bool,
    stream: Stream,
    time: Option<Timestamp>,
    /// Lines of the file that it was made of.
    first: u32,
    last: u32,
    /// Whether it is a piece of a line that was too long.
    truncated: bool,
    continued: bool,
    /// Whether the rest of it has not come yet.
    open: bool,
}

/// Items that are one record.
#[derive(Clone, Debug)]
struct Group {
    members: Vec<u32>,
    open: bool,
}

/// Lines on their way to records.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    text: String,
    apart: String,
    lines: Vec<Line>,
    items: Vec<Item>,
    groups: Vec<Group>,
    /// For each item: 0 for a record of its own, 1 for one that belongs to an earlier one, else the number of its group and two.
    roles: Vec<u32>,
    /// How many items are taken; the others are left for the next look.
    taken: usize,
    /// Offset in the file of the first byte.
    start: u64,
    /// How many lines are taken.
    taken_lines: usize,
    inside_line: bool,
}

/// A record's text, and what is known of it beside.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'a> {
    pub(super) text: &'a str,
    pub(super) given: Given,
    pub(super) truncated: bool,
    pub(super) continued: bool,
}

impl Chunk {
    /// Decodes lines. `unwrap` takes a line out of its envelope.
    pub(super) fn new(found: Lines, charset: Charset, inside_line: bool, mut unwrap: impl FnMut(&str) -> Option<Opened>) -> Self {
        let mut chunk = Self { start: found.start, inside_line, ..Self::default() };
        let mut spans = Vec::with_capacity(found.lines.len());
        chunk.text = decode(found.bytes, &found.lines, charset, found.start == 0, &mut spans);
        chunk.lines = found.lines;
        // The piece of each stream that the next one of it goes on with.
        let mut partial: [Option<usize>; 3] = [None; 3];
        for (number, (line, (start, end))) in chunk.lines.iter().zip(spans).enumerate() {
            let number = number as u32;
            let mut item = Item { start, end, first: number, last: number, ..Item::default() };
            if line.truncated || line.continued {
                (item.truncated, item.continued) = (line.truncated, line.continued);
                chunk.items.push(item);
                continue;
            }
            let text = &chunk.text[start as usize..end as usize];
            let Some(opened) = unwrap(text) else {
                chunk.items.push(item);
                continue;
            };
            (item.stream, item.time) = (opened.stream, Some(opened.time));
            let slot = &mut partial[opened.stream as usize];
            if let Some(before) = *slot {
                let before = &mut chunk.items[before];
                let inner = opened.text(text);
                append(&mut chunk.apart, &chunk.text, before, inner);
                before.last = number;
                before.open = opened.partial;
                if !opened.partial {
                    *slot = None;
                }
                continue;
            }
            match opened.inner {
                Inner::Within(from, to) => (item.start, item.end) = (start + from, start + to),
                Inner::Apart(inner) => {
                    item.apart = true;
                    item.start = chunk.apart.len() as u32;
                    chunk.apart.push_str(&inner);
                    item.end = chunk.apart.len() as u32;
                }
            }
            item.open = opened.partial;
            if opened.partial {
                *slot = Some(chunk.items.len());
            }
            chunk.items.push(item);
        }
        chunk.taken = chunk.items.len();
        chunk.taken_lines = chunk.lines.len();
        chunk
    }

    /// Returns whether there is nothing to store or to step over.
    pub(super) fn is_empty(&self) -> bool {
        self.taken_lines == 0
    }

    /// Returns the offset after what is taken.
    pub(super) fn end(&self) -> u64 {
        self.start + self.taken_lines.checked_sub(1).map_or(0, |last| u64::from(self.lines[last].next))
    }

    /// Returns whether what is taken ends within a line that was too long.
    pub(super) fn ends_inside_line(&self) -> bool {
        match self.taken_lines.checked_sub(1).map(|last| self.lines[last]) {
            // A piece without a line break after it.
            Some(line) => line.truncated && line.end == line.next,
            None => self.inside_line,
        }
    }

    /// Puts together what is one record. What may still grow is left, with all after it.
    pub(super) fn join(&mut self, rules: &Rules, is_error: &mut dyn FnMut(&str) -> bool) {
        self.roles = vec![0; self.items.len()];
        if !matches!(rules, Rules::Off) {
            for stream in [Stream::None, Stream::Stdout, Stream::Stderr] {
                self.join_stream(stream, rules, is_error);
            }
        }
    }

    fn join_stream(&mut self, stream: Stream, rules: &Rules, is_error: &mut dyn FnMut(&str) -> bool) {
        let of_stream = |item: &&Item| item.stream == stream;
        let mut from = 0;
        if matches!(rules, Rules::Traces) {
            // Most chunks have no stack trace: then only the last lines are of interest, with which one may begin.
            let suspicious =
                self.items.iter().filter(of_stream).any(|item| !item.truncated && multiline::is_suspicious(self.text(item)));
            if !suspicious {
                let recent = self.items.iter().enumerate().rev().filter(|(_, item)| item.stream == stream).map(|(index, _)| index);
                let Some(first) = recent.take(multiline::RECENT).last() else { return };
                from = first;
            }
        }
        let indices: Vec<u32> =
            (from..self.items.len()).filter(|index| self.items[*index].stream == stream).map(|index| index as u32).collect();
        if indices.is_empty() {
            return;
        }
        // A piece of a line that was too long belongs to nothing.
        let texts: Vec<&str> = indices
            .iter()
            .map(|index| &self.items[*index as usize])
            .map(|item| if item.truncated { "" } else { self.text(item) })
            .collect();
        let joined = rules.join(&texts, is_error);
        for joined in joined {
            let members: Vec<u32> = indices[joined.lines.clone()].to_vec();
            for member in &members[1..] {
                self.roles[*member as usize] = 1;
            }
            self.roles[members[0] as usize] = self.groups.len() as u32 + 2;
            self.groups.push(Group { members, open: joined.open });
        }
    }

    /// Returns the first record that may still grow, as the offset where it begins and its number of lines.
    pub(super) fn open(&self) -> Option<(u64, usize)> {
        let open_groups = self.groups.iter().filter(|group| group.open || self.is_partial(group));
        let of_group = |group: &Group| (self.items[group.members[0] as usize].first, group.members.len());
        let singles = self.items.iter().zip(&self.roles).filter(|(item, role)| item.open && **role == 0);
        let of_item = |(item, _): (&Item, &u32)| (item.first, (item.last - item.first) as usize + 1);
        let (line, lines) = open_groups.map(of_group).chain(singles.map(of_item)).min()?;
        Some((self.start + u64::from(self.lines[line as usize].start), lines))
    }

    fn is_partial(&self, group: &Group) -> bool {
        group.members.iter().any(|member| self.items[*member as usize].open)
    }

    /// Leaves what may still grow, but for the first of these with `close_first`, and everything that would be read twice or not at all.
    pub(super) fn leave_open(&mut self, close_first: bool) {
        let first_open = self.open().map(|(offset, _)| offset);
        let mut cut = u32::MAX;
        for (index, item) in self.items.iter().enumerate() {
            let open = match self.roles[index] {
                0 => item.open,
                1 => false,
                role => {
                    let group = &self.groups[role as usize - 2];
                    group.open || self.is_partial(group)
                }
            };
            let begins = self.start + u64::from(self.lines[item.first as usize].start);
            if open && !(close_first && Some(begins) == first_open) {
                cut = item.first;
                break;
            }
        }
        if cut == u32::MAX {
            return;
        }
        // A record that has lines on both sides of the cut is left as well.
        loop {
            let crosses = self.records().find(|(first, last)| *first < cut && *last >= cut);
            match crosses {
                Some((first, _)) => cut = first,
                None => break,
            }
        }
        if cut == 0 && close_first {
            // What is to be closed has lines on both sides of something else that may grow: neither waits for the other for ever.
            return;
        }
        self.taken = self.items.iter().take_while(|item| item.first < cut).count();
        self.taken_lines = cut as usize;
    }

    /// Returns first and last line of each record.
    fn records(&self) -> impl Iterator<Item = (u32, u32)> {
        self.items.iter().zip(&self.roles).filter(|(_, role)| **role != 1).map(|(item, role)| match role {
            0 => (item.first, item.last),
            role => {
                let members = &self.groups[*role as usize - 2].members;
                (item.first, members.iter().map(|member| self.items[*member as usize].last).max().unwrap_or(item.last))
            }
        })
    }

    /// Calls `visit` with the text of each record that is taken.
    pub(super) fn for_each<E>(&self, mut visit: impl FnMut(Text<'_>) -> Result<(), E>) -> Result<(), E> {
        let mut scratch = String::new();
        for (item, role) in self.items.iter().zip(&self.roles).take(self.taken) {
            let given = Given { time: item.time, stream: item.stream };
            let text = match role {
                0 => self.text(item),
                1 => continue,
                role => {
                    scratch.clear();
                    for (index, member) in self.groups[*role as usize - 2].members.iter().enumerate() {
                        if index > 0 {
                            scratch.push('\n');
                        }
                        scratch.push_str(self.text(&self.items[*member as usize]));
                    }
                    scratch.trim_end()
                }
            };
            let is_blank = text.as_bytes().first().is_none_or(u8::is_ascii_whitespace) && text.trim().is_empty();
            if !is_blank {
                visit(Text { text, given, truncated: item.truncated, continued: item.continued })?;
            }
        }
        Ok(())
    }

    /// Returns the memory of its text, to be used again.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.text.into_bytes()
    }

    fn text(&self, item: &Item) -> &str {
        let whole = if item.apart { &self.apart } else { &self.text };
        &whole[item.start as usize..item.end as usize]
    }
}

/// A line out of its envelope.
pub(super) struct Opened {
    time: Timestamp,
    stream: Stream,
    partial: bool,
    inner: Inner,
}

enum Inner {
    /// Where in the line it lies.
    Within(u32, u32),
    /// Its text, where it is escaped in the line.
    Apart(String),
}

impl Opened {
    /// Notes where in `line` the text lies that was in the envelope.
    pub(super) fn new(line: &str, unwrapped: Unwrapped<'_>) -> Self {
        let inner = match unwrapped.text {
            Cow::Borrowed(text) => {
                // A slice of the line: its place is the distance of the two.
                let from = text.as_ptr().addr() - line.as_ptr().addr();
                Inner::Within(from as u32, (from + text.len()) as u32)
            }
            Cow::Owned(text) => Inner::Apart(text),
        };
        Self { time: unwrapped.time, stream: unwrapped.stream, partial: unwrapped.partial, inner }
    }

    fn text<'a>(&'a self, line: &'a str) -> &'a str {
        match &self.inner {
            Inner::Within(from, to) => &line[*from as usize..*to as usize],
            Inner::Apart(text) => text,
        }
    }
}

/// Appends a piece to the text of an item, which is moved beside the chunk's text for that.
fn append(apart: &mut String, text: &str, item: &mut Item, piece: &str) {
    if !item.apart || item.end as usize != apart.len() {
        let start = apart.len();
        if item.apart {
            apart.extend_from_within(item.start as usize..item.end as usize);
        } else {
            apart.push_str(&text[item.start as usize..item.end as usize]);
        }
        (item.apart, item.start) = (true, start as u32);
    }
    let room = MAX_PIECES_BYTES.saturating_sub(apart.len() - item.start as usize);
    item.truncated |= piece.len() > room;
    apart.push_str(&piece[..piece.floor_char_boundary(room)]);
    item.end = apart.len() as u32;
}

/// Returns the bytes as text, and where in it each line lies, without its line break and the hole that a truncation left before it.
fn decode(bytes: Vec<u8>, lines: &[Line], charset: Charset, at_beginning: bool, spans: &mut Vec<(u32, u32)>) -> String {
    if charset.0.is_none() {
        match String::from_utf8(bytes) {
            Ok(text) => {
                spans.extend(lines.iter().map(|line| trimmed(text.as_bytes(), line, at_beginning)));
                return text;
            }
            Err(error) => return decode_each(&error.into_bytes(), lines, charset, at_beginning, spans),
        }
    }
    decode_each(&bytes, lines, charset, at_beginning, spans)
}

fn decode_each(bytes: &[u8], lines: &[Line], charset: Charset, at_beginning: bool, spans: &mut Vec<(u32, u32)>) -> String {
    let mut text = String::with_capacity(bytes.len() + bytes.len() / 2);
    for (index, line) in lines.iter().enumerate() {
        let decoded = if let Some(encoding) = charset.0 {
            let raw = &bytes[line.start as usize..line.end as usize];
            if at_beginning && index == 0 {
                encoding.decode_with_bom_removal(raw).0
            } else {
                encoding.decode_without_bom_handling(raw).0
            }
        } else {
            let (start, end) = trimmed(bytes, line, at_beginning);
            String::from_utf8_lossy(&bytes[start as usize..end as usize])
        };
        let start = text.len() as u32;
        text.push_str(decoded.trim_matches(['\0', '\r']));
        spans.push((start, text.len() as u32));
    }
    text
}

/// Returns where a line lies without what does not belong to its text.
fn trimmed(bytes: &[u8], line: &Line, at_beginning: bool) -> (u32, u32) {
    let (mut start, mut end) = (line.start as usize, line.end as usize);
    // A hole, left where a writer went on in a file that had been truncated under it.
    while start < end && bytes[start] == 0 {
        start += 1;
    }
    while end > start && bytes[end - 1] == b'\r' {
        end -= 1;
    }
    // Only what the Windows world writes has it.
    if at_beginning && line.start == 0 && bytes[start..end].starts_with(b"\xef\xbb\xbf") {
        start += 3;
    }
    (start as u32, end as u32)
}
