//! What is known of files by their identity: how far each has been read, and by whom it is being read.
//!
//! A pattern such as `/var/log/app*` means a file under its old name and under the one that rotation gives it. It is one file, and is read once.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use crate::logs::FileOffset;

/// Device and inode.
pub(super) type Identity = (u64, u64);

/// Positions beyond this many are forgotten, those of files that nobody reads first.
const MAX_KNOWN: usize = 65_536;

#[derive(Debug, Default)]
struct State {
    known: FxHashMap<Identity, FileOffset>,
    readers: FxHashMap<Identity, PathBuf>,
}

/// What is known of all files. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Positions(Arc<Mutex<State>>);

impl Positions {
    /// Returns the positions of an earlier run.
    #[must_use]
    pub fn new(stored: &[FileOffset]) -> Self {
        let positions = Self::default();
        // Other inputs than files keep a cursor there.
        stored.iter().filter(|offset| offset.cursor.is_empty()).for_each(|offset| positions.note(offset));
        positions
    }

    /// Takes note that a file has been read up to there.
    pub(super) fn note(&self, offset: &FileOffset) {
        let mut state = self.0.lock();
        if state.known.len() >= MAX_KNOWN {
            let State { known, readers } = &mut *state;
            known.retain(|identity, _| readers.contains_key(identity));
        }
        state.known.insert((offset.device, offset.inode), offset.clone());
    }

    /// Returns how far a file has been read.
    pub(super) fn get(&self, identity: Identity) -> Option<FileOffset> {
        self.0.lock().known.get(&identity).cloned()
    }

    /// Returns how far a file that `is_it` has been read.
    pub(super) fn find(&self, is_it: impl Fn(&FileOffset) -> bool) -> Option<FileOffset> {
        self.0.lock().known.values().find(|known| is_it(known)).cloned()
    }

    /// Makes `path` the reader of a file; returns who else is, if anybody.
    pub(super) fn claim(&self, identity: Identity, path: &Path) -> Option<PathBuf> {
        let mut state = self.0.lock();
        match state.readers.get(&identity) {
            Some(reader) if reader != path => Some(reader.clone()),
            Some(_) => None,
            None => {
                state.readers.insert(identity, path.to_owned());
                None
            }
        }
    }

    /// Takes note that `path` reads a file no more.
    pub(super) fn release(&self, identity: Identity, path: &Path) {
        let mut state = self.0.lock();
        if state.readers.get(&identity).is_some_and(|reader| reader == path) {
            state.readers.remove(&identity);
        }
    }
}
