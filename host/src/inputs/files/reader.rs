//! An open file: finds the lines in it, and knows it again.

use std::fs::{File, Metadata, OpenOptions};
use std::hash::Hasher;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustc_hash::FxHasher;

use super::positions::Identity;
use crate::logs::FileOffset;

/// Bytes at the beginning of a file that identify it.
pub(super) const FINGERPRINT_BYTES: u64 = 1_024;
/// Bytes before the position that must still be there.
const TAIL_BYTES: u64 = 64;
/// Most bytes read at a time.
pub(super) const CHUNK_BYTES: usize = 2 << 20;
/// Longest line; longer ones are split.
pub(super) const MAX_LINE_BYTES: usize = 256 << 10;
/// Most lines in a batch.
pub(super) const MAX_LINES: usize = 20_000;

/// How line breaks are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Unit {
    /// A byte.
    #[default]
    Byte,
    /// Two bytes, the lesser first.
    Little,
    /// Two bytes, the greater first.
    Big,
}

/// Lines that may still grow, and how long they have not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    /// Where the first of them begins.
    pub(super) start: u64,
    /// How many they are.
    pub(super) lines: usize,
    /// When they were first seen like this, as [`super::tail::Tail::step`] counts time.
    pub(super) since: Duration,
}

/// An open file.
#[derive(Debug)]
pub(super) struct Reader {
    file: File,
    pub(super) device: u64,
    pub(super) inode: u64,
    /// End of what has been stored.
    pub(super) offset: u64,
    /// End of what has been read; what lies between is on its way into the store.
    pub(super) next: u64,
    /// Whether `offset` and `next` lie inside a line that was too long.
    inside: (bool, bool),
    /// Hash of the first bytes, and of how many.
    head: (u64, u64),
    /// The bytes before `next`.
    tail: Vec<u8>,
    /// Grows when reading begins anew: what was read before is not of this file any more.
    generation: u32,
    /// Its size at the last look.
    pub(super) seen: u64,
    pub(super) waiting: Option<Waiting>,
}

/// Where a line lies in the bytes of its chunk.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Line {
    pub(super) start: u32,
    pub(super) end: u32,
    /// Where the next one begins.
    pub(super) next: u32,
    /// Whether it is a piece of a longer line.
    pub(super) truncated: bool,
    /// Whether it is a piece other than the first.
    pub(super) continued: bool,
}

/// Bytes with the lines in them.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) bytes: Vec<u8>,
    pub(super) lines: Vec<Line>,
    /// Offset of the first byte in the file.
    pub(super) start: u64,
    /// Whether these are all whole lines that the file has at present.
    pub(super) is_all: bool,
}

/// A place in a file to which everything has been stored, once it has been.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub(super) position: FileOffset,
    inside_line: bool,
    generation: u32,
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
        Ok(Self::over(file, identity(&metadata)))
    }

    /// Reads `file` from its beginning, under the identity of another one if need be.
    pub(super) fn over(file: File, (device, inode): Identity) -> Self {
        Self {
            file,
            device,
            inode,
            offset: 0,
            next: 0,
            inside: (false, false),
            head: (0, 0),
            tail: Vec::new(),
            generation: 0,
            seen: 0,
            waiting: None,
        }
    }

    /// Returns device and inode.
    pub(super) fn identity(&self) -> Identity {
        (self.device, self.inode)
    }

    /// Returns the size of the file.
    pub(super) fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Returns whether it has no name any more.
    pub(super) fn is_deleted(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
    }

    /// Returns when it was last written to.
    pub(super) fn modified(&self) -> Option<SystemTime> {
        self.file.metadata().ok()?.modified().ok()
    }

    /// Returns its first bytes, at most `count`.
    pub(super) fn begin(&self, count: usize) -> io::Result<Vec<u8>> {
        let mut head = vec![0; count];
        let length = self.read_up_to(&mut head, 0)?;
        head.truncate(length);
        Ok(head)
    }

    /// Goes to `offset`, with what was read before counted as stored.
    pub(super) fn seek(&mut self, offset: u64) -> io::Result<()> {
        self.generation += 1;
        (self.offset, self.next, self.inside, self.waiting) = (offset, offset, (false, false), None);
        self.head = (offset.min(FINGERPRINT_BYTES), self.fingerprint_at(offset)?);
        self.tail = self.before(offset)?;
        Ok(())
    }

    /// Returns whether the file still begins as it did when `offset` bytes had been read with this `fingerprint`.
    pub(super) fn begins_as(&self, offset: u64, fingerprint: u64) -> io::Result<bool> {
        Ok(self.size()? >= offset && self.fingerprint_at(offset)? == fingerprint)
    }

    /// Returns whether the file has been truncated, and perhaps written anew, since it was last read.
    pub(super) fn was_truncated(&self) -> io::Result<bool> {
        Ok(!self.is_copy_of(self)?)
    }

    /// Returns whether this file has what had been read of `other`.
    pub(super) fn is_copy_of(&self, other: &Self) -> io::Result<bool> {
        let (length, fingerprint) = other.head;
        Ok(self.size()? >= other.next && self.fingerprint_at(length)? == fingerprint && self.before(other.next)? == other.tail)
    }

    /// Returns what is to be stored with the lines before `offset`.
    pub(super) fn position(&self, path: &Path, offset: u64) -> io::Result<FileOffset> {
        let fingerprint = if self.head.0 == offset.min(FINGERPRINT_BYTES) { self.head.1 } else { self.fingerprint_at(offset)? };
        let path = path.to_string_lossy().into_owned();
        Ok(FileOffset { path, device: self.device, inode: self.inode, offset, fingerprint, cursor: String::new() })
    }

    /// Takes note that the lines up to `end` are on their way into the store.
    pub(super) fn advance(&mut self, path: &Path, end: u64, inside_line: bool) -> io::Result<Mark> {
        let position = self.position(path, end)?;
        self.head = (end.min(FINGERPRINT_BYTES), position.fingerprint);
        self.tail = self.before(end)?;
        self.next = end;
        self.inside.1 = inside_line;
        Ok(Mark { position, inside_line, generation: self.generation })
    }

    /// Takes note that all up to `mark` has been stored.
    pub(super) fn commit(&mut self, mark: &Mark) {
        if mark.generation == self.generation {
            self.offset = mark.position.offset;
            self.inside.0 = mark.inside_line;
        }
    }

    /// Goes back to what has been stored.
    pub(super) fn rewind(&mut self) -> io::Result<()> {
        if self.next != self.offset {
            let inside = self.inside.0;
            self.seek(self.offset)?;
            self.inside = (inside, inside);
        }
        Ok(())
    }

    /// Returns whether `next` lies inside a line that was too long.
    pub(super) fn is_inside_line(&self) -> bool {
        self.inside.1
    }

    /// Reads the next complete lines into `buffer`. With `last`, a line that lacks its end counts as complete.
    pub(super) fn read(&mut self, last: bool, unit: Unit, buffer: Vec<u8>) -> io::Result<Lines> {
        self.seen = self.size()?;
        let left = self.seen.saturating_sub(self.next);
        let mut found = Lines { bytes: buffer, start: self.next, ..Lines::default() };
        found.bytes.clear();
        if left == 0 {
            return Ok(Lines { is_all: true, ..found });
        }
        found.bytes.resize(left.min(CHUNK_BYTES as u64) as usize, 0);
        let length = self.read_up_to(&mut found.bytes, self.next)?;
        found.bytes.truncate(length);
        let at_end = length as u64 == left;
        let split = lines_of(&found.bytes, self.inside.1, last && at_end, unit);
        (found.lines, found.is_all) = (split.lines, at_end && split.is_all);
        Ok(found)
    }

    /// Returns the bytes before `offset`.
    fn before(&self, offset: u64) -> io::Result<Vec<u8>> {
        let start = offset.saturating_sub(TAIL_BYTES);
        let mut bytes = vec![0; (offset - start) as usize];
        let length = self.read_up_to(&mut bytes, start)?;
        bytes.truncate(length);
        Ok(bytes)
    }

    fn fingerprint_at(&self, offset: u64) -> io::Result<u64> {
        let mut head = vec![0; offset.min(FINGERPRINT_BYTES) as usize];
        let length = self.read_up_to(&mut head, 0)?;
        Ok(fingerprint(&head[..length]))
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

/// Lines that were found in some bytes.
pub(super) struct Split {
    pub(super) lines: Vec<Line>,
    /// Whether these are all whole lines that there are.
    pub(super) is_all: bool,
}

/// Finds the lines in `bytes`, at most [`MAX_LINES`]. With `last`, one that lacks its end counts as a line.
pub(super) fn lines_of(bytes: &[u8], mut inside_line: bool, last: bool, unit: Unit) -> Split {
    let mut lines = Vec::new();
    let mut start = 0;
    while start < bytes.len() {
        if lines.len() == MAX_LINES {
            return Split { lines, is_all: false };
        }
        let rest = &bytes[start..];
        let newline = unit.newline(&rest[..rest.len().min(MAX_LINE_BYTES + 2)]);
        let continued = inside_line;
        let (end, next, truncated) = match newline {
            Some(newline) => (start + newline, start + newline + unit.width(), continued),
            None if rest.len() > MAX_LINE_BYTES => {
                let length = if unit == Unit::Byte { boundary(rest, MAX_LINE_BYTES) } else { MAX_LINE_BYTES };
                let end = start + length;
                (end, end, true)
            }
            None if last => (bytes.len(), bytes.len(), continued),
            None => break,
        };
        inside_line = newline.is_none() && truncated && next < bytes.len();
        lines.push(Line { start: start as u32, end: end as u32, next: next as u32, truncated, continued });
        start = next;
    }
    Split { lines, is_all: true }
}

impl Unit {
    fn width(self) -> usize {
        if self == Self::Byte { 1 } else { 2 }
    }

    /// Returns where the first line break is.
    fn newline(self, bytes: &[u8]) -> Option<usize> {
        let wanted: [u8; 2] = match self {
            Self::Byte => return memchr::memchr(b'\n', bytes),
            Self::Little => [b'\n', 0],
            Self::Big => [0, b'\n'],
        };
        bytes.chunks_exact(2).position(|pair| pair == wanted).map(|index| index * 2)
    }
}

/// Returns what is remembered of the first bytes of a file.
pub(super) fn fingerprint(head: &[u8]) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(head);
    hasher.write_usize(head.len());
    // SQLite keeps signed integers: the top bit stays free.
    if head.is_empty() { 0 } else { hasher.finish() >> 1 }
}

/// Returns device and inode.
pub(super) fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

/// Returns the last position up to `limit` at which no UTF-8 character is cut.
fn boundary(bytes: &[u8], limit: usize) -> usize {
    (limit.saturating_sub(3)..=limit).rev().find(|index| bytes[*index] & 0xc0 != 0x80).unwrap_or(limit)
}
