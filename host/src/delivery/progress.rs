//! What earlier attempts left for this one, and where this one leaves something for the next.

use super::outbox::Outbox;
use crate::store::StoreError;

/// How far an attempt came: a component's own bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Which plugin they belong to, and the version of its state.
    pub by: String,
    /// The bytes.
    pub state: Vec<u8>,
}

/// What an attempt begins with.
#[derive(Clone, Default)]
pub struct Progress {
    saved: Option<Saved>,
    previous_receipt: Option<String>,
    row: Option<(Outbox, String)>,
}

impl Progress {
    /// Returns that of the row `id` of `outbox`.
    #[must_use]
    pub fn of_row(outbox: &Outbox, id: &str, saved: Option<Saved>, previous_receipt: Option<String>) -> Self {
        Self { saved, previous_receipt, row: Some((outbox.clone(), id.to_owned())) }
    }

    /// Returns the state that an earlier attempt of `by` left.
    #[must_use]
    pub fn saved_by(&self, by: &str) -> Option<Vec<u8>> {
        self.saved.as_ref().filter(|saved| saved.by == by).map(|saved| saved.state.clone())
    }

    /// Returns what the last delivery for the group returned.
    #[must_use]
    pub fn previous_receipt(&self) -> Option<&str> {
        self.previous_receipt.as_deref()
    }

    /// Keeps `state` of `by` for a later attempt. Without a row, as when a receiver is tried, there is none.
    ///
    /// # Errors
    /// The store's.
    pub async fn keep(&self, by: &str, state: Vec<u8>) -> Result<(), StoreError> {
        match &self.row {
            Some((outbox, id)) => outbox.keep_progress(id, Saved { by: by.to_owned(), state }).await,
            None => Ok(()),
        }
    }
}
