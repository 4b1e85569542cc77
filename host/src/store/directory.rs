//! The data directory: who may read it, who holds it, what lies where.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::StoreError;

/// A data directory, held by this process until dropped.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    _lock: File,
}

impl DataDirectory {
    /// Makes `path` with its folders (mode 0700) and takes its lock.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if another host holds it, [`StoreError::Io`] if it cannot be made or written.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        for folder in [path, &path.join("logs"), &path.join("metrics"), &path.join("errors"), &path.join("plugins")] {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)
                .map_err(|source| StoreError::Io { path: folder.to_owned(), source })?;
        }
        let file = path.join("watchfire.pid");
        let error = |source| StoreError::Io { path: file.clone(), source };
        let mut lock =
            fs::OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(&file).map_err(error)?;
        if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut pid = String::new();
            let _ = lock.read_to_string(&mut pid);
            let pid = if pid.trim().is_empty() { "?".into() } else { pid.trim().to_owned() };
            return Err(StoreError::Locked { path: path.to_owned(), pid });
        }
        lock.set_len(0).and_then(|()| lock.rewind()).map_err(error)?;
        writeln!(lock, "{}", std::process::id()).map_err(error)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Returns the pid of the host that holds `path`, if one does.
    #[must_use]
    pub fn holder(path: &Path) -> Option<u32> {
        let mut file = File::open(path.join("watchfire.pid")).ok()?;
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
            return None;
        }
        let mut pid = String::new();
        file.read_to_string(&mut pid).ok()?;
        pid.trim().parse().ok()
    }

    /// Returns its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Makes the entry of a new file durable: without it a power cut may lose the file, synced as it is.
///
/// # Errors
/// [`StoreError::Io`].
pub fn sync_directory(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(|source| StoreError::Io { path: path.to_owned(), source })
}

/// Returns the bytes of all files under `path`.
#[must_use]
pub fn tree_bytes(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    let bytes = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => tree_bytes(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.flatten().map(bytes).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_host_is_refused_and_told_the_pid() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataDirectory::open(folder.path()).unwrap();
        let second = DataDirectory::open(folder.path()).unwrap_err();
        assert!(second.to_string().contains(&std::process::id().to_string()), "{second}");
        assert_eq!(DataDirectory::holder(folder.path()), Some(std::process::id()));
        drop(first);
        assert_eq!(DataDirectory::holder(folder.path()), None);
        DataDirectory::open(folder.path()).unwrap();
    }
}
