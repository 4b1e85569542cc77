//! Finds what a path's files have become: rotated, copied, compressed, or there only for a while between two looks.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use parking_lot::Mutex;
use watchfire_types::Timestamp;

use super::packed::Packed;
use super::positions::Identity;
use super::reader::{Reader, identity};
use super::siblings;
use super::tail::{LINGER, World};
use crate::logs::FileOffset;

/// Bytes that must be equal before a file counts as the copy of another one.
const MIN_COPY_BYTES: u64 = 64;

/// Where to look for files that had the path for a while between two looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gap {
    /// When the first file that was read was last written to: what is older is not of this run, nor of the one before.
    first: SystemTime,
    /// The same for the last file that lost the path.
    last: SystemTime,
    /// When to look once more: a file that is renamed while a folder is read may be missed.
    pub(super) again: Option<Timestamp>,
}

impl Gap {
    /// Widens `gap`, if there is one, to a file that lost the path.
    pub(super) fn with(gap: Option<Self>, modified: SystemTime) -> Self {
        let Self { first, last, .. } = gap.unwrap_or(Self { first: modified, last: modified, again: None });
        Self { first: first.min(modified), last: last.max(modified), again: None }
    }

    /// Returns since when the files that are looked for were written to.
    pub(super) fn since(&self) -> SystemTime {
        self.last.checked_sub(LINGER).map_or(self.first, |since| since.max(self.first))
    }
}

/// The folders in which files of one path are looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around<'a> {
    /// Positions to be stored: what has been read of compressed files.
    pub(super) noted: &'a Mutex<Vec<FileOffset>>,
    /// The path.
    pub(super) path: &'a Path,
    /// Where it leads, if it is a link.
    pub(super) real: &'a Path,
    pub(super) world: &'a World,
}

impl Around<'_> {
    /// Finds a file that was read and has been rotated since, and goes to where it was left. It may have been compressed: then it is opened only
    /// if something has not been read. Returns when it was last written to, too.
    pub(super) fn rotated(&self, stored: &FileOffset) -> Option<(Option<Reader>, Option<SystemTime>)> {
        let Some(mut reader) = self.by_inode(stored) else { return self.packed_copy(stored) };
        reader.seek(stored.offset).ok()?;
        let modified = reader.modified();
        Some((Some(reader), modified))
    }

    fn by_inode(&self, stored: &FileOffset) -> Option<Reader> {
        let wanted = (stored.device, stored.inode);
        let is_it = |path: &PathBuf| fs::metadata(path).is_ok_and(|metadata| identity(&metadata) == wanted);
        // A file that is renamed while the folder is read may be missed under both names.
        let path = (0..3).find_map(|_| neighbours(self.path, self.real).find(is_it))?;
        // Between the look and the opening it may have moved on again.
        let reader = Reader::open(&path).ok().filter(|reader| reader.identity() == wanted)?;
        if reader.begins_as(stored.offset, stored.fingerprint).unwrap_or(false) {
            return Some(reader);
        }
        // It may be a compressed one that had been read in part.
        let packed = Packed::open(&path).filter(|packed| packed.identity == wanted && packed.is(stored))?;
        self.unpacked(&packed, &path)
    }

    fn packed_copy(&self, stored: &FileOffset) -> Option<(Option<Reader>, Option<SystemTime>)> {
        if stored.offset < MIN_COPY_BYTES {
            return None;
        }
        self.siblings().find_map(|path| {
            // One that had been read in part before is known by itself.
            let is_known = |packed: &Packed| self.world.positions.get(packed.identity).is_some_and(|known| packed.is(&known));
            let packed = Packed::open(&path).filter(|packed| packed.is(stored) && !is_known(packed))?;
            self.note(&packed, stored);
            let modified = fs::metadata(&path).and_then(|metadata| metadata.modified()).ok();
            if packed.ends_at(stored.offset) {
                return Some((None, modified));
            }
            let mut reader = self.unpacked(&packed, &path)?;
            reader.seek(stored.offset).ok()?;
            Some((Some(reader), modified))
        })
    }

    /// Takes note that what is packed there has been read as far as the file that it was. That file's own number will be another one's.
    fn note(&self, packed: &Packed, known: &FileOffset) {
        let (device, inode) = packed.identity;
        let path = self.path.to_string_lossy().into_owned();
        let position = FileOffset { path, device, inode, ..known.clone() };
        self.world.positions.note(&position);
        self.noted.lock().push(position);
    }

    /// Takes note of the compressed copy of a file that has been read, if that is gone.
    pub(super) fn note_copy(&self, read: &Reader) {
        if read.offset < MIN_COPY_BYTES || !read.is_deleted() {
            return;
        }
        let Ok(position) = read.position(self.path, read.offset) else { return };
        for packed in self.siblings().filter_map(|path| Packed::open(&path)).filter(|packed| packed.is(&position)) {
            self.note(&packed, &position);
        }
    }

    /// Opens the copy that was made of `read` before it was truncated, if there is one with lines that had not been read.
    pub(super) fn copy_of(&self, read: &Reader) -> Option<Reader> {
        let copy = |path: PathBuf| {
            let mut reader = Reader::open(&path).ok()?;
            let is_copy = read.next >= MIN_COPY_BYTES && reader.is_copy_of(read).ok()? && reader.size().ok()? > read.next;
            is_copy.then(|| reader.seek(read.next).ok())??;
            Some(reader)
        };
        self.siblings().find_map(copy)
    }

    /// The same for a file of which only the stored position is known. The copy may have been compressed.
    pub(super) fn stored_copy(&self, stored: &FileOffset) -> Option<Reader> {
        let copy = |path: PathBuf| {
            let reader = Reader::open(&path).ok()?;
            let is_copy = stored.offset >= MIN_COPY_BYTES
                && reader.begins_as(stored.offset, stored.fingerprint).ok()?
                && reader.size().ok()? > stored.offset;
            is_copy.then_some(reader)
        };
        let Some(mut reader) = self.siblings().find_map(copy) else { return self.packed_copy(stored)?.0 };
        reader.seek(stored.offset).ok()?;
        Some(reader)
    }

    /// Finds rotated files that nobody knows, written to at `since` or later, in the order in which they were written. `but` is the one
    /// that has the path now, `read` those that are being read.
    pub(super) fn written_since<'r>(
        &self,
        since: SystemTime,
        but: Option<Identity>,
        read: &(impl Iterator<Item = &'r Reader> + Clone),
    ) -> Vec<Reader> {
        let mut found: Vec<(SystemTime, Reader)> = Vec::new();
        for path in self.siblings() {
            let Ok(metadata) = fs::metadata(&path) else { continue };
            let id = identity(&metadata);
            let is_other = metadata.is_file() && but != Some(id) && read.clone().all(|known| known.identity() != id);
            let Some(modified) = metadata.modified().ok().filter(|modified| is_other && *modified >= since) else { continue };
            let Some(reader) = self.unknown(&path).filter(|reader| reader.identity() == id) else { continue };
            // A copy of a file that is read has its lines, too.
            let is_copy = |read: &Reader| read.next > 0 && reader.is_copy_of(read).unwrap_or(true);
            if read.clone().any(is_copy) || self.world.positions.claim(id, self.path).is_some() {
                continue;
            }
            found.push((modified, reader));
        }
        found.sort_by_key(|(modified, _)| *modified);
        found.into_iter().map(|(_, reader)| reader).collect()
    }

    /// Opens a file of which nothing has been read, under whatever name.
    fn unknown(&self, path: &Path) -> Option<Reader> {
        let positions = &self.world.positions;
        if let Some(packed) = Packed::open(path) {
            return match positions.find(|known| known.offset >= MIN_COPY_BYTES && packed.is(known)) {
                Some(known) => {
                    self.note(&packed, &known);
                    None
                }
                None => self.unpacked(&packed, path),
            };
        }
        let reader = Reader::open(path).ok()?;
        let known = positions.get(reader.identity());
        let is_known =
            known.is_some_and(|known| known.offset > 0 && reader.begins_as(known.offset, known.fingerprint).unwrap_or(true));
        let has_lines = reader.begin(8).is_ok_and(|head| siblings::compressed(&head).is_none());
        (has_lines && !is_known).then_some(reader)
    }

    fn unpacked(&self, packed: &Packed, path: &Path) -> Option<Reader> {
        let unpacked = packed.unpack(&self.world.scratch);
        match &unpacked {
            Ok(_) => tracing::info!(path = %path.display(), "reading on in a rotated file that has been compressed"),
            // Whoever compresses it just now keeps the file itself until it is done.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {}
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the rest of a rotated file cannot be read: unpack it beside");
            }
        }
        unpacked.ok()
    }

    /// Returns the files that rotation may have made of this one, beside its name and beside what it leads to.
    fn siblings(&self) -> impl Iterator<Item = PathBuf> + use<> {
        let beside = (self.real != self.path).then(|| siblings::of(self.real));
        siblings::of(self.path).chain(beside.into_iter().flatten())
    }
}

/// Returns all files beside this one: one that is known by its inode may have any name.
fn neighbours(path: &Path, real: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let folders =
        [path, real].map(|path| path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned());
    let second = (folders[0] != folders[1]).then(|| folders[1].clone());
    let entries = [Some(folders[0].clone()), second].into_iter().flatten().flat_map(fs::read_dir).flatten();
    entries.filter_map(Result::ok).map(|entry| entry.path())
}
