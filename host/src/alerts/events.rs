//! What other engines find, one moment each, as rules see it.

use std::collections::BTreeMap;

use tokio::sync::watch;
use watchfire_types::{Severity, Timestamp};

use crate::store::StoreError;

/// Something that was found at one moment: a finding of an analyzer, a new issue.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Strictly increasing per source, from 1.
    pub position: u64,
    /// When it was stored.
    pub at: Timestamp,
    /// How serious it is.
    pub severity: Severity,
    /// Who found it: an analyzer's name, or `errors`.
    pub source: String,
    /// What kind of thing: a finding's rule; for issues `new` or `regressed`.
    pub kind: String,
    /// Equal for what is one ongoing thing: a finding's dedupe key, an issue's id.
    pub key: String,
    /// In a few words.
    pub title: String,
    /// In some more.
    pub message: String,
    /// What tells it from others.
    pub labels: BTreeMap<String, String>,
    /// How often it was seen.
    pub count: u64,
}

/// Where rules read such events. Its calls may block on disk.
pub trait EventSource: Send + Sync {
    /// Returns at most `limit` events after `position`, in order.
    ///
    /// # Errors
    /// The store's.
    fn events_after(&self, position: u64, limit: usize) -> Result<Vec<Event>, StoreError>;
    /// Returns the position before the first event that was stored at `time` or later.
    ///
    /// # Errors
    /// The store's.
    fn position_at(&self, time: Timestamp) -> Result<u64, StoreError>;
    /// Returns a receiver of the last position.
    fn stored(&self) -> watch::Receiver<u64>;
}
