//! The journal's export format, piece by piece as it arrives.
//!
//! An entry is lines of `NAME=value`, and for values that are no such line `NAME`, a length in eight bytes, and as many bytes; an
//! empty line ends it. Source: systemd, "Journal Export Formats".

use std::ops::Range;

/// Longest value that is kept, in bytes. journald itself takes larger ones, which no log needs: their beginning is kept.
pub const MAX_VALUE_BYTES: usize = 1 << 20;

/// Most bytes of an entry; fields after that are left out.
const MAX_ENTRY_BYTES: usize = 4 << 20;

/// Most fields of an entry, as journald has it; those after are left out.
const MAX_FIELDS: usize = 1024;

/// Longest name: journald takes 64 bytes.
const MAX_NAME_BYTES: usize = 256;

/// Why bytes are not in the export format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// A line that is neither a field nor the name of one.
    #[error("entry {entry}: a line begins with `{line}`, which is not the name of a field")]
    Name {
        /// Which entry, from 1.
        entry: u64,
        /// The beginning of the line.
        line: String,
    },
    /// A value of bytes that does not end with a line end.
    #[error("entry {entry}: the value of `{name}` is longer than it says")]
    Length {
        /// Which entry, from 1.
        entry: u64,
        /// The field.
        name: String,
    },
}

/// What is read next.
#[derive(Clone, Debug)]
enum State {
    /// A line, of which `searched` bytes have no end.
    Line { searched: usize },
    /// The rest of a line that is too long.
    RestOfLine,
    /// The length of a value.
    Length { name: Range<usize> },
    /// The rest of a value, of which `keep` bytes are kept, then a line end.
    Value { name: Range<usize>, start: usize, keep: usize, left: u64 },
}

/// Reads entries from bytes that come in pieces.
#[derive(Clone, Debug)]
pub struct Parser {
    input: Vec<u8>,
    /// Bytes of `input` that have been read.
    at: usize,
    state: State,
    entry: Entry,
    is_complete: bool,
    entries: u64,
}

impl Default for Parser {
    fn default() -> Self {
        let state = State::Line { searched: 0 };
        Self { input: Vec::new(), at: 0, state, entry: Entry::default(), is_complete: false, entries: 0 }
    }
}

/// The fields of an entry, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    bytes: Vec<u8>,
    fields: Vec<(Range<usize>, Range<usize>)>,
}

impl Entry {
    /// Returns names and values. Names are ASCII.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields
            .iter()
            .map(|(name, value)| (str::from_utf8(&self.bytes[name.clone()]).unwrap_or(""), &self.bytes[value.clone()]))
    }

    /// Returns the value of `name`, if it is text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.fields().find(|(key, _)| *key == name).and_then(|(_, value)| str::from_utf8(value).ok())
    }

    /// Returns how many bytes its names and values have.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.fields.clear();
    }

    fn append(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    /// Takes back what was begun at `start` if the entry is full.
    fn finish_field(&mut self, name: Range<usize>, value: Range<usize>) {
        if self.fields.len() >= MAX_FIELDS {
            self.bytes.truncate(name.start);
        } else {
            self.fields.push((name, value));
        }
    }
}

impl Parser {
    /// Takes more bytes. Call [`Self::next`] until it has no more before the next ones.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.input.drain(..self.at);
        self.at = 0;
        self.input.extend_from_slice(bytes);
    }

    /// Returns the next whole entry, if it is there.
    ///
    /// # Errors
    /// [`ExportError`]. The parser is then of no further use.
    #[expect(clippy::should_implement_trait, reason = "`?` reads better on a Result of an Option")]
    pub fn next(&mut self) -> Result<Option<&Entry>, ExportError> {
        if std::mem::take(&mut self.is_complete) {
            self.entry.clear();
        }
        while self.step()? {
            if self.is_complete {
                self.entries += 1;
                return Ok(Some(&self.entry));
            }
        }
        Ok(None)
    }

    /// Returns the entry that the end of the bytes completes: the last one may lack its empty line.
    ///
    /// # Errors
    /// As [`Self::next`]. Half a field is left out.
    pub fn end(&mut self) -> Result<Option<&Entry>, ExportError> {
        if matches!(self.state, State::Line { .. }) {
            if self.at < self.input.len() {
                self.input.push(b'\n');
            }
            self.input.push(b'\n');
            return self.next();
        }
        Ok(None)
    }

    /// Reads one thing; returns whether that could be done with the bytes that are there.
    fn step(&mut self) -> Result<bool, ExportError> {
        match self.state.clone() {
            State::Line { searched } => self.line(searched),
            State::RestOfLine => {
                let end = memchr::memchr(b'\n', &self.input[self.at..]);
                self.at = end.map_or(self.input.len(), |end| self.at + end + 1);
                if end.is_some() {
                    self.state = State::Line { searched: 0 };
                }
                Ok(end.is_some())
            }
            State::Length { name } => {
                let Some(length) = self.input[self.at..].first_chunk::<8>() else { return Ok(false) };
                let left = u64::from_le_bytes(*length);
                self.at += 8;
                let room = if self.entry.size_bytes() >= MAX_ENTRY_BYTES { 0 } else { MAX_VALUE_BYTES };
                let keep = usize::try_from(left).unwrap_or(usize::MAX).min(room);
                self.state = State::Value { name, start: self.entry.bytes.len(), keep, left };
                Ok(true)
            }
            State::Value { name, start, keep, left } => self.value(name, start, keep, left),
        }
    }

    fn line(&mut self, searched: usize) -> Result<bool, ExportError> {
        let rest = &self.input[self.at..];
        let Some(end) = memchr::memchr(b'\n', &rest[searched..]) else {
            if rest.len() <= MAX_VALUE_BYTES + MAX_NAME_BYTES {
                self.state = State::Line { searched: rest.len() };
                return Ok(false);
            }
            let range = self.at..self.at + MAX_VALUE_BYTES;
            self.field(range)?;
            self.at = self.input.len();
            self.state = State::RestOfLine;
            return Ok(false);
        };
        let range = self.at..self.at + searched + end;
        self.at = range.end + 1;
        self.state = State::Line { searched: 0 };
        if range.is_empty() {
            // More than one empty line is none but a longer one.
            self.is_complete = !self.entry.fields.is_empty();
        } else {
            self.field(range)?;
        }
        Ok(true)
    }

    /// Reads a line: a field, or the name of one whose value follows.
    fn field(&mut self, range: Range<usize>) -> Result<(), ExportError> {
        let line = &self.input[range];
        let end = memchr::memchr(b'=', line);
        let name = &line[..end.unwrap_or(line.len())];
        let is_name = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_';
        if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.iter().all(is_name) {
            let line = String::from_utf8_lossy(&line[..line.len().min(40)]).into_owned();
            return Err(ExportError::Name { entry: self.entries + 1, line });
        }
        let name = self.entry.append(name);
        match end {
            None => self.state = State::Length { name },
            Some(_) if self.entry.size_bytes() >= MAX_ENTRY_BYTES => self.entry.bytes.truncate(name.start),
            Some(end) => {
                let value = self.entry.append(&line[end + 1..]);
                self.entry.finish_field(name, value);
            }
        }
        Ok(())
    }

    fn value(&mut self, name: Range<usize>, start: usize, keep: usize, left: u64) -> Result<bool, ExportError> {
        let rest = &self.input[self.at..];
        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
        let kept = self.entry.bytes.len() - start;
        self.entry.bytes.extend_from_slice(&rest[..taken.min(keep - kept)]);
        self.at += taken;
        let left = left - taken as u64;
        if left > 0 || self.at == self.input.len() {
            self.state = State::Value { name, start, keep, left };
            return Ok(false);
        }
        if self.input[self.at] != b'\n' {
            let name = String::from_utf8_lossy(&self.entry.bytes[name]).into_owned();
            return Err(ExportError::Length { entry: self.entries + 1, name });
        }
        self.at += 1;
        self.state = State::Line { searched: 0 };
        let value = start..self.entry.bytes.len();
        self.entry.finish_field(name, value);
        Ok(true)
    }
}

/// Reads all entries of `bytes`, fed in pieces of `piece` bytes. For tests and fuzzing.
///
/// # Errors
/// As [`Parser::next`].
#[doc(hidden)]
pub fn read_all(bytes: &[u8], piece: usize) -> Result<Vec<Entry>, ExportError> {
    let (mut parser, mut entries) = (Parser::default(), Vec::new());
    for piece in bytes.chunks(piece.max(1)) {
        parser.feed(piece);
        while let Some(entry) = parser.next()? {
            entries.push(entry.clone());
        }
    }
    entries.extend(parser.end()?.cloned());
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Fields = Vec<(String, Vec<u8>)>;

    fn shown(entries: &[Entry]) -> Vec<Fields> {
        entries.iter().map(|entry| entry.fields().map(|(name, value)| (name.to_owned(), value.to_vec())).collect()).collect()
    }

    /// Writes entries as journalctl does.
    fn written(entries: &[Fields]) -> Vec<u8> {
        let mut out = Vec::new();
        for fields in entries {
            for (name, value) in fields {
                out.extend(name.as_bytes());
                if value.iter().all(|byte| (32..127).contains(byte) || *byte == b'\t') {
                    out.push(b'=');
                } else {
                    out.push(b'\n');
                    out.extend((value.len() as u64).to_le_bytes());
                }
                out.extend(value);
                out.push(b'\n');
            }
            out.push(b'\n');
        }
        out
    }

    #[test]
    fn text_and_binary_fields_are_read_and_blank_lines_end_entries() {
        let bytes = b"__CURSOR=s=1;i=2\nMESSAGE\n\x05\0\0\0\0\0\0\0a\n\n\xffb\nPRIORITY=3\n\n\n\nMESSAGE=x=y\n";
        let owned = |fields: &[(&str, &[u8])]| fields.iter().map(|(k, v)| ((*k).to_owned(), v.to_vec())).collect::<Fields>();
        let expected =
            [owned(&[("__CURSOR", b"s=1;i=2"), ("MESSAGE", b"a\n\n\xffb"), ("PRIORITY", b"3")]), owned(&[("MESSAGE", b"x=y")])];
        for piece in [1, 3, 1000] {
            assert_eq!(shown(&read_all(bytes, piece).unwrap()), expected);
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_entry() {
        let error = |bytes: &[u8]| read_all(bytes, 7).unwrap_err().to_string();
        assert_eq!(error(b"A=1\n\nhello world\n"), "entry 2: a line begins with `hello world`, which is not the name of a field");
        assert_eq!(error(b"MESSAGE\n\x01\0\0\0\0\0\0\0ab\n"), "entry 1: the value of `MESSAGE` is longer than it says");
    }

    #[test]
    fn of_a_value_that_is_too_long_the_beginning_is_kept() {
        let long = vec![b'x'; 3 * MAX_VALUE_BYTES];
        let binary = [&b"MESSAGE\n"[..], &(long.len() as u64).to_le_bytes(), &long, b"\nA=1\n\n"].concat();
        let text = [&b"MESSAGE="[..], &long, b"\nA=1\n\n"].concat();
        for bytes in [binary, text] {
            let entries = read_all(&bytes, 10_000).unwrap();
            assert_eq!((entries.len(), entries[0].text("A")), (1, Some("1")));
            let length = entries[0].text("MESSAGE").unwrap().len();
            assert!((MAX_VALUE_BYTES - 10..=MAX_VALUE_BYTES).contains(&length), "{length}");
        }
        // Eight bytes can say more than there is room for anywhere.
        let huge = [&b"MESSAGE\n"[..], &[0xff; 8], b"abc"].concat();
        assert_eq!(read_all(&huge, 5).unwrap(), []);
    }

    #[test]
    fn an_entry_has_so_many_fields_and_bytes_and_no_more() {
        let many = format!("{}\n", "A=1\n".repeat(5000));
        assert_eq!(read_all(many.as_bytes(), 100).unwrap()[0].fields().count(), MAX_FIELDS);
        let large = format!("{}\n", format!("A={}\n", "x".repeat(900_000)).repeat(20));
        assert!(read_all(large.as_bytes(), 100_000).unwrap()[0].size_bytes() < MAX_ENTRY_BYTES + MAX_VALUE_BYTES);
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_in_whatever_pieces_it_comes(
            entries in proptest::collection::vec(proptest::collection::vec(("[A-Z_][A-Z0-9_]{0,20}", any::<Vec<u8>>()), 1..6), 0..5),
            piece in 1..50_usize,
        ) {
            prop_assert_eq!(shown(&read_all(&written(&entries), piece).unwrap()), entries);
        }

        #[test]
        fn any_bytes_are_read_or_refused_alike_in_any_pieces(bytes: Vec<u8>, like in "[AB=\n\\x00-\\x03]{0,60}", piece in 1..9_usize) {
            for bytes in [&bytes[..], like.as_bytes()] {
                prop_assert_eq!(read_all(bytes, piece), read_all(bytes, usize::MAX));
            }
        }
    }
}
