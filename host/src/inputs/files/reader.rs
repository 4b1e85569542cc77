//! One open file: where it has been read to, and what tells it from another of the same name.

use std::borrow::Cow;
use std::fs::{File, Metadata, OpenOptions};
use std::hash::Hasher as _;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustc_hash::FxHasher;

use super::multiline::{self, Joined};

use crate::logs::FileOffset;

/// Bytes at the beginning of a file that identify it.
const FINGERPRINT_BYTES: u64 = 1_024;

/// Most bytes read at a time.
pub(super) const CHUNK_BYTES: usize = 1 << 20;

/// Longest line; longer ones are split.
pub(super) const MAX_LINE_BYTES: usize = 256 << 10;

/// Most lines in a batch.
pub(super) const MAX_LINES: usize = 5_000;

/// An open file.
#[derive(Debug)]
pub(super) struct Reader {
    file: File,
    pub(super) device: u64,
    pub(super) inode: u64,
    /// End of what has been read and stored.
    pub(super) offset: u64,
    /// Hash of the first bytes up to `offset`, [`FINGERPRINT_BYTES`] at most.
    fingerprint: u64,
    /// Whether `offset` lies inside a line that was too long.
    pub(super) inside_line: bool,
}

/// Lines of a chunk, and where they end.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    bytes: Vec<u8>,
    lines: Vec<Line>,
    /// Lines that are one record.
    joined: Vec<Joined>,
    /// Offset after the last of them.
    pub(super) end: u64,
    /// Whether the last of them is a piece of a line that goes on.
    pub(super) inside_line: bool,
}

#[derive(Debug)]
struct Line {
    start: usize,
    end: usize,
    /// Where the next one begins.
    next: usize,
    /// Whether it is a piece of a longer line.
    truncated: bool,
    /// Whether it is a piece other than the first.
    continued: bool,
}

impl Chunk {
    /// Returns whether there is nothing to store or to step over.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Calls `visit` with the text of each record, whether it is a piece of a longer line, and whether it is not the first piece.
    pub(super) fn for_each<E>(&self, mut visit: impl FnMut(&str, bool, bool) -> Result<(), E>) -> Result<(), E> {
        let mut joined = self.joined.iter().peekable();
        let mut at = 0;
        while let Some(line) = self.lines.get(at) {
            if let Some(joined) = joined.next_if(|joined| joined.lines.start == at) {
                let texts: Vec<_> = self.lines[joined.lines.clone()].iter().map(|line| self.text(line)).collect();
                visit(&texts.join("\n"), false, false)?;
                at = joined.lines.end;
                continue;
            }
            let text = self.text(line);
            if !text.trim().is_empty() {
                visit(&text, line.truncated, line.continued)?;
            }
            at += 1;
        }
        Ok(())
    }

    fn text(&self, line: &Line) -> Cow<'_, str> {
        let bytes = &self.bytes[line.start..line.end];
        // A hole, left where a writer went on in a file that had been truncated under it.
        let bytes = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
        let bytes = &bytes[..bytes.len() - bytes.iter().rev().take_while(|byte| **byte == b'\r').count()];
        String::from_utf8_lossy(bytes)
    }

    /// Makes one record of the lines of each stack trace, and of the line before it that `announces` it.
    pub(super) fn join(&mut self, announces: impl Fn(&str) -> bool) {
        if multiline::may_hold_trace(&self.bytes) {
            let texts: Vec<_> =
                self.lines.iter().map(|line| if line.truncated { Cow::default() } else { self.text(line) }).collect();
            let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
            self.joined = multiline::join(&texts, announces);
        }
    }

    /// Returns whether the last record is a stack trace of which more lines may come.
    pub(super) fn is_open(&self) -> bool {
        self.joined.last().is_some_and(|joined| joined.open)
    }

    /// Leaves the last record, a stack trace, in the file.
    pub(super) fn leave_last(&mut self) {
        if let Some(joined) = self.joined.pop()
            && let (Some(first), Some(last)) = (self.lines.get(joined.lines.start), self.lines.last())
        {
            self.end -= (last.next - first.start) as u64;
            self.lines.truncate(joined.lines.start);
            self.inside_line = false;
        }
    }
}

impl Reader {
    /// Opens a regular file, to be read from its beginning.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        // A pipe in place of a file must not hold the thread.
        let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let (device, inode) = identity(&metadata);
        Ok(Self { file, device, inode, offset: 0, fingerprint: 0, inside_line: false })
    }

    /// Returns the size of the file.
    pub(super) fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Goes to `offset`, with what was read before counted as stored.
    pub(super) fn seek(&mut self, offset: u64) -> io::Result<()> {
        self.offset = offset;
        self.inside_line = false;
        self.fingerprint = self.fingerprint_at(offset)?;
        Ok(())
    }

    /// Returns whether the file still begins as it did when `offset` bytes had been read with this `fingerprint`.
    pub(super) fn begins_as(&self, offset: u64, fingerprint: u64) -> io::Result<bool> {
        Ok(self.size()? >= offset && self.fingerprint_at(offset)? == fingerprint)
    }

    /// Returns whether the file has been truncated, and perhaps written anew, since it was last read.
    pub(super) fn was_truncated(&self) -> io::Result<bool> {
        Ok(!self.begins_as(self.offset, self.fingerprint)?)
    }

    /// Returns what is to be stored with the lines before `offset`.
    pub(super) fn position(&self, path: &Path, offset: u64) -> io::Result<FileOffset> {
        let fingerprint = if self.offset.min(FINGERPRINT_BYTES) == offset.min(FINGERPRINT_BYTES) {
            self.fingerprint
        } else {
            self.fingerprint_at(offset)?
        };
        let path = path.to_string_lossy().into_owned();
        Ok(FileOffset { path, device: self.device, inode: self.inode, offset, fingerprint, cursor: String::new() })
    }

    /// Takes note that all up to `position` has been stored.
    pub(super) fn commit(&mut self, position: &FileOffset, inside_line: bool) {
        self.offset = position.offset;
        self.fingerprint = position.fingerprint;
        self.inside_line = inside_line;
    }

    /// Reads the next complete lines. With `last`, a line that lacks its end counts as complete.
    pub(super) fn read(&self, last: bool) -> io::Result<Chunk> {
        let left = self.size()?.saturating_sub(self.offset);
        let mut chunk = Chunk { end: self.offset, inside_line: self.inside_line, ..Chunk::default() };
        chunk.bytes = vec![0; left.min(CHUNK_BYTES as u64) as usize];
        let length = self.read_up_to(&mut chunk.bytes, self.offset)?;
        chunk.bytes.truncate(length);
        let at_end = length as u64 == left;
        let mut start = 0;
        while chunk.lines.len() < MAX_LINES && start < length {
            let rest = &chunk.bytes[start..];
            let newline = memchr::memchr(b'\n', &rest[..rest.len().min(MAX_LINE_BYTES + 1)]);
            let continued = chunk.inside_line;
            let (end, next, truncated) = match newline {
                Some(newline) => (start + newline, start + newline + 1, continued),
                None if rest.len() > MAX_LINE_BYTES => {
                    let end = start + boundary(rest, MAX_LINE_BYTES);
                    (end, end, true)
                }
                None if last && at_end => (length, length, continued),
                None => break,
            };
            chunk.inside_line = newline.is_none() && truncated && next < length;
            chunk.lines.push(Line { start, end, next, truncated, continued });
            start = next;
        }
        chunk.end = self.offset + start as u64;
        Ok(chunk)
    }

    fn fingerprint_at(&self, offset: u64) -> io::Result<u64> {
        let mut head = vec![0; offset.min(FINGERPRINT_BYTES) as usize];
        let length = self.read_up_to(&mut head, 0)?;
        let mut hasher = FxHasher::default();
        hasher.write(&head[..length]);
        hasher.write_usize(length);
        // SQLite keeps signed integers: the top bit stays free.
        Ok(if length == 0 { 0 } else { hasher.finish() >> 1 })
    }

    fn read_up_to(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

/// Returns device and inode.
pub(super) fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Returns the last position up to `limit` at which no UTF-8 character is cut.
fn boundary(bytes: &[u8], limit: usize) -> usize {
    (limit.saturating_sub(3)..=limit).rev().find(|index| bytes[*index] & 0xc0 != 0x80).unwrap_or(limit)
}
