//! Batches on disk, while the host is away. One file each, named by its order; a folder belongs to one process at a time.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::backlog::Batch;

/// What each file begins with: a mark, the number of records, the sum of the rest.
const MAGIC: &[u8; 8] = b"wfspool1";
const HEADER_BYTES: usize = 24;
/// Processes that can share a folder.
const MAX_PROCESSES: usize = 64;
/// Files that are not taken into account any more.
const ENDING: &str = "otlp";

/// A folder of batches, bounded in bytes.
#[derive(Debug)]
pub(crate) struct Spool {
    folder: PathBuf,
    files: VecDeque<Entry>,
    bytes: u64,
    max_bytes: u64,
    next: u64,
    /// Held as long as the folder is ours.
    _lock: File,
}

#[derive(Debug)]
struct Entry {
    path: PathBuf,
    bytes: u64,
    records: u64,
}

impl Spool {
    /// Opens a folder below `folder` that no other process uses, and takes over what processes that ended have left.
    ///
    /// # Errors
    /// If the folder cannot be made or read, or too many processes share it.
    pub(crate) fn open(folder: &Path, max_bytes: u64) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let mut own: Option<Self> = None;
        for number in 0..MAX_PROCESSES {
            let part = folder.join(number.to_string());
            if own.is_some() && !part.exists() {
                continue;
            }
            fs::create_dir_all(&part)?;
            let lock = File::options().create(true).append(true).open(part.join("lock"))?;
            if lock.try_lock().is_err() {
                continue;
            }
            let (files, bytes) = read_folder(&part)?;
            match &mut own {
                None => {
                    let next = files.back().and_then(|entry| number_of(&entry.path)).map_or(0, |last| last + 1);
                    own = Some(Self { folder: part, files, bytes, max_bytes, next, _lock: lock });
                }
                Some(own) => own.adopt(files)?,
            }
        }
        own.ok_or_else(|| io::Error::other(format!("{MAX_PROCESSES} processes use `{}` already", folder.display())))
    }

    fn adopt(&mut self, files: VecDeque<Entry>) -> io::Result<()> {
        for entry in files {
            let path = self.path(self.next);
            fs::rename(&entry.path, &path)?;
            self.next += 1;
            self.bytes += entry.bytes;
            self.files.push_back(Entry { path, ..entry });
        }
        Ok(())
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:020}.{ENDING}"))
    }

    /// Writes a batch behind the others; returns how many records the oldest ones had that made room.
    ///
    /// # Errors
    /// If it cannot be written; then nothing of it is there.
    pub(crate) fn push(&mut self, batch: &Batch) -> io::Result<u64> {
        let size = (HEADER_BYTES + batch.body.len()) as u64;
        if size > self.max_bytes {
            return Ok(batch.records);
        }
        let mut dropped = 0;
        while self.bytes + size > self.max_bytes {
            let Some(oldest) = self.files.pop_front() else { break };
            fs::remove_file(&oldest.path)?;
            self.bytes -= oldest.bytes;
            dropped += oldest.records;
        }
        let path = self.path(self.next);
        let unfinished = path.with_extension("part");
        let mut content = Vec::with_capacity(size as usize);
        content.extend_from_slice(MAGIC);
        content.extend_from_slice(&batch.records.to_le_bytes());
        content.extend_from_slice(&sum(&batch.body).to_le_bytes());
        content.extend_from_slice(&batch.body);
        let written = File::create(&unfinished).and_then(|mut file| {
            file.write_all(&content)?;
            file.sync_data()?;
            fs::rename(&unfinished, &path)
        });
        if let Err(error) = written {
            // Gone already, or the next start overwrites it.
            let _ = fs::remove_file(&unfinished);
            return Err(error);
        }
        self.next += 1;
        self.bytes += size;
        self.files.push_back(Entry { path, bytes: size, records: batch.records });
        Ok(dropped)
    }

    /// Returns the oldest batch; it stays until [`Self::pop`]. Files that are damaged are removed, and their records returned as lost.
    pub(crate) fn front(&mut self) -> (Option<Batch>, u64) {
        let mut lost = 0;
        while let Some(entry) = self.files.front() {
            if let Some(batch) = fs::read(&entry.path).ok().and_then(|content| decode(&content)) {
                return (Some(batch), lost);
            }
            lost += entry.records.max(1);
            self.pop();
        }
        (None, lost)
    }

    /// Removes the oldest batch: it has arrived.
    pub(crate) fn pop(&mut self) {
        if let Some(entry) = self.files.pop_front() {
            self.bytes -= entry.bytes;
            // What cannot be removed is sent again by the next run, which is better than never.
            let _ = fs::remove_file(&entry.path);
        }
    }

    /// Returns how many records lie here.
    pub(crate) fn records(&self) -> u64 {
        self.files.iter().map(|entry| entry.records).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

fn read_folder(folder: &Path) -> io::Result<(VecDeque<Entry>, u64)> {
    let mut entries = Vec::new();
    for file in fs::read_dir(folder)? {
        let path = file?.path();
        match path.extension().and_then(|ending| ending.to_str()) {
            Some(ENDING) if number_of(&path).is_some() => {
                let bytes = fs::metadata(&path)?.len();
                let records = header(&path).unwrap_or(0);
                entries.push(Entry { path, bytes, records });
            }
            // A process ended while it wrote this.
            Some("part") => fs::remove_file(&path)?,
            _ => {}
        }
    }
    entries.sort_by_key(|entry| number_of(&entry.path));
    let bytes = entries.iter().map(|entry| entry.bytes).sum();
    Ok((entries.into(), bytes))
}

fn number_of(path: &Path) -> Option<u64> {
    path.file_stem()?.to_str()?.parse().ok()
}

fn header(path: &Path) -> Option<u64> {
    let mut bytes = [0; HEADER_BYTES];
    io::Read::read_exact(&mut File::open(path).ok()?, &mut bytes).ok()?;
    bytes.starts_with(MAGIC).then(|| u64::from_le_bytes(bytes[8..16].try_into().expect("eight bytes")))
}

fn decode(content: &[u8]) -> Option<Batch> {
    let (header, body) = content.split_at_checked(HEADER_BYTES)?;
    let number = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
    (header.starts_with(MAGIC) && number(16) == sum(body)).then(|| Batch { body: body.to_vec(), records: number(8) })
}

/// FNV-1a over words: tells a torn file, and no more is asked of it.
fn sum(body: &[u8]) -> u64 {
    body.chunks(8).fold(0xcbf2_9ce4_8422_2325 ^ body.len() as u64, |sum, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        (sum ^ u64::from_le_bytes(word)).wrapping_mul(0x0100_0000_01b3).rotate_left(23)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(text: &str) -> Batch {
        Batch { body: text.as_bytes().to_vec(), records: 1 }
    }

    fn front(spool: &mut Spool) -> Option<String> {
        spool.front().0.map(|batch| String::from_utf8(batch.body).unwrap())
    }

    #[test]
    fn what_one_run_leaves_the_next_one_finds_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(folder.path(), 1_000).unwrap();
        spool.push(&batch("one")).unwrap();
        spool.push(&batch("two")).unwrap();
        // Another process beside it has a folder of its own, and what it leaves is found, too.
        let mut other = Spool::open(folder.path(), 1_000).unwrap();
        assert_eq!(front(&mut other), None);
        other.push(&batch("three")).unwrap();
        drop((spool, other));
        let mut spool = Spool::open(folder.path(), 1_000).unwrap();
        assert_eq!(spool.records(), 3);
        for text in ["one", "two", "three"] {
            assert_eq!(front(&mut spool).as_deref(), Some(text));
            spool.pop();
        }
        assert!(spool.is_empty());
        assert_eq!(spool.bytes, 0);
    }

    #[test]
    fn the_oldest_make_room_and_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(folder.path(), 100).unwrap();
        let dropped: u64 = (0..5).map(|index| spool.push(&batch(&format!("{index}"))).unwrap()).sum();
        assert_eq!((dropped, spool.records(), front(&mut spool).as_deref()), (1, 4, Some("1")));
        assert_eq!(spool.push(&batch(&"x".repeat(200))).unwrap(), 1);
    }

    #[test]
    fn damaged_files_are_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(folder.path(), 1_000).unwrap();
        spool.push(&batch("one")).unwrap();
        spool.push(&batch("two")).unwrap();
        fs::write(spool.path(0), b"wfspool1torn").unwrap();
        let (found, lost) = spool.front();
        assert_eq!((found.unwrap().body, lost), (b"two".to_vec(), 1));
        drop(spool);
        fs::write(folder.path().join("0/00000000000000000009.part"), b"x").unwrap();
        assert_eq!(Spool::open(folder.path(), 1_000).unwrap().records(), 1);
    }
}
