//! How the journal stands, for `watchfire status`.

use std::sync::Arc;

use parking_lot::Mutex;

/// What is happening.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JournalState {
    /// It is not followed.
    #[default]
    Off,
    /// It is followed.
    Following,
    /// Its entries wait: the store takes none at present.
    Waiting,
    /// It cannot be read.
    Failed,
}

/// How the journal stands. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct JournalStatus(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    state: JournalState,
    detail: String,
    hint: String,
    entries: u64,
}

impl JournalStatus {
    /// Returns what is happening, the same in words, and what to do about it.
    #[must_use]
    pub fn get(&self) -> (JournalState, String, String) {
        let inner = self.0.lock();
        let detail = if inner.detail.is_empty() { format!("{} entries read", inner.entries) } else { inner.detail.clone() };
        (inner.state, detail, inner.hint.clone())
    }

    pub(super) fn set(&self, state: JournalState, detail: impl Into<String>) {
        let mut inner = self.0.lock();
        (inner.state, inner.detail) = (state, detail.into());
    }

    pub(super) fn hint(&self, hint: &str) {
        hint.clone_into(&mut self.0.lock().hint);
    }

    /// Takes note of entries that were stored.
    pub(super) fn stored(&self, entries: u64) {
        let mut inner = self.0.lock();
        inner.entries += entries;
        inner.state = JournalState::Following;
        inner.detail.clear();
    }
}
