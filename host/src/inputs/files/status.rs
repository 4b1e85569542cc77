//! How each followed file stands, for `status`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;

/// What is happening with a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileState {
    /// Not looked at yet.
    #[default]
    Waiting,
    /// It is read as it grows.
    Following,
    /// There is none; it is read from its beginning when it appears.
    Missing,
    /// The host may not read it.
    Denied,
    /// The store does not take its lines at present; they wait in the file.
    Busy,
    /// It is no file of lines.
    Skipped,
    /// Something else is wrong with it.
    Failed,
}

/// How one followed file stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct FileStatus {
    /// Its path.
    #[schema(value_type = String)]
    pub path: PathBuf,
    /// What is happening.
    pub state: FileState,
    /// Bytes read and stored.
    pub offset: u64,
    /// Bytes that it has.
    pub size: u64,
    /// Records read since the start.
    pub lines: u64,
    /// How often another file took its name since the start.
    pub rotations: u64,
    /// How often it was truncated since the start.
    pub truncations: u64,
    /// What is wrong and what to do; empty when nothing is.
    pub detail: String,
}

impl FileStatus {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), ..Self::default() }
    }

    /// Returns how many bytes are not stored yet.
    #[must_use]
    pub fn behind(&self) -> u64 {
        self.size.saturating_sub(self.offset)
    }
}

/// The status of every followed file. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct FileStatuses(Arc<Mutex<BTreeMap<PathBuf, FileStatus>>>);

impl FileStatuses {
    /// Returns all of them, by path.
    #[must_use]
    pub fn snapshot(&self) -> Vec<FileStatus> {
        self.0.lock().values().cloned().collect()
    }

    pub(super) fn set(&self, status: FileStatus) {
        self.0.lock().insert(status.path.clone(), status);
    }

    pub(super) fn remove(&self, path: &Path) {
        self.0.lock().remove(path);
    }

    /// Returns how many files there are, and how many bytes of them are not stored yet.
    pub(super) fn totals(&self) -> (usize, u64) {
        let statuses = self.0.lock();
        (statuses.len(), statuses.values().map(FileStatus::behind).sum())
    }
}
