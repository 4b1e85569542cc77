//! A log file that begins anew each day and at a size, and keeps some of its predecessors as `name.1`, `name.2` and so on.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use watchfire_types::{Day, Timestamp};

/// The file that is written now.
#[derive(Debug)]
pub struct RotatingFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    day: Day,
    most_bytes: u64,
    keep: usize,
}

impl RotatingFile {
    /// Opens `path` to append, making its folder if need be. It is rotated before it passes `most_bytes` and when the UTC day
    /// changes; `keep` older files stay.
    ///
    /// # Errors
    /// When the file cannot be made or written.
    pub fn open(path: &Path, most_bytes: u64, keep: usize, now: Timestamp) -> io::Result<Self> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder)?;
        }
        let file = append(path)?;
        let metadata = file.metadata()?;
        // The day it was last written decides whether it still is today's.
        let written = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        let day = if metadata.len() == 0 { now.day() } else { Timestamp::ZERO.plus(written).day() };
        Ok(Self { path: path.to_owned(), file, bytes: metadata.len(), day, most_bytes, keep })
    }

    /// Appends a whole line, having rotated first if it is time to.
    ///
    /// # Errors
    /// When the line cannot be written. A rotation that fails loses nothing: the old file goes on, until the next try.
    pub fn write(&mut self, line: &[u8], now: Timestamp) -> io::Result<()> {
        let is_full = self.bytes > 0 && self.bytes + line.len() as u64 > self.most_bytes;
        if is_full || now.day() != self.day {
            let _ = self.rotate(now);
        }
        self.bytes += line.len() as u64;
        self.file.write_all(line)
    }

    fn rotate(&mut self, now: Timestamp) -> io::Result<()> {
        if self.bytes > 0 {
            for number in (1..self.keep).rev() {
                rename(&self.numbered(number), &self.numbered(number + 1))?;
            }
            if self.keep == 0 {
                fs::remove_file(&self.path)?;
            } else {
                rename(&self.path, &self.numbered(1))?;
            }
        }
        self.file = append(&self.path)?;
        (self.bytes, self.day) = (0, now.day());
        Ok(())
    }

    fn numbered(&self, number: usize) -> PathBuf {
        let mut path: OsString = self.path.clone().into();
        path.push(format!(".{number}"));
        path.into()
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOON: Timestamp = Timestamp::from_seconds(1_795_348_800);

    fn contents(folder: &Path) -> Vec<String> {
        let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.iter().map(|path| fs::read_to_string(path).unwrap().replace('\n', " ")).collect()
    }

    #[test]
    fn it_is_rotated_by_size_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = RotatingFile::open(&folder.path().join("a/w.log"), 4, 2, NOON).unwrap();
        for line in ["1\n", "2\n", "3\n", "4 is longer than the limit\n", "5\n", "6\n", "7\n"] {
            file.write(line.as_bytes(), NOON).unwrap();
        }
        assert_eq!(contents(&folder.path().join("a")), ["7 ", "5 6 ", "4 is longer than the limit "]);
    }

    #[test]
    fn it_is_rotated_each_day_also_across_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.log");
        let mut file = RotatingFile::open(&path, 1000, 5, NOON).unwrap();
        file.write(b"monday\n", NOON).unwrap();
        file.write(b"monday\n", NOON.plus(Duration::from_secs(3600))).unwrap();
        file.write(b"tuesday\n", NOON.plus(Duration::from_secs(86_400))).unwrap();
        let modified = UNIX_EPOCH + Duration::from_secs(NOON.plus(Duration::from_secs(86_400)).as_millis() / 1000);
        file.file.set_modified(modified).unwrap();
        drop(file);
        let wednesday = NOON.plus(Duration::from_secs(2 * 86_400));
        RotatingFile::open(&path, 1000, 5, wednesday).unwrap().write(b"wednesday\n", wednesday).unwrap();
        assert_eq!(contents(folder.path()), ["wednesday ", "tuesday ", "monday monday "]);
    }
}
