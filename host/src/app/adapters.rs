//! Where engines meet: each asks for what it needs through a trait of its own, and here is who answers.

use std::sync::Arc;

use tokio::sync::watch;
use watchfire_types::{LogBatch, Timestamp};

use crate::alerts::runtime::LogSource;
use crate::alerts::windows::{MatcherFactory, RecordMatcher};
use crate::analysis::consumer::Records;
use crate::logs::Logs;
use crate::logs::matcher::Matcher;
use crate::store::StoreError;

impl LogSource for Logs {
    fn cursor_at_arrival(&self, time: Timestamp) -> Result<u64, StoreError> {
        Self::cursor_at_arrival(self, time)
    }

    fn read_after(&self, cursor: u64, limit: usize) -> Result<LogBatch, StoreError> {
        Self::read_after(self, cursor, limit)
    }

    fn committed(&self) -> watch::Receiver<u64> {
        Self::committed(self)
    }
}

impl Records for Logs {
    fn read_after(&self, cursor: u64, limit: usize) -> Result<LogBatch, StoreError> {
        Self::read_after(self, cursor, limit)
    }

    fn committed(&self) -> watch::Receiver<u64> {
        Self::committed(self)
    }
}

impl RecordMatcher for Matcher {
    fn matches(&self, batch: &LogBatch, row: usize) -> bool {
        Self::matches(self, batch, row)
    }
}

/// Returns what makes the log engine's matchers for rules.
#[must_use]
pub fn matchers() -> MatcherFactory {
    Arc::new(|filter| Box::new(Matcher::new(filter)))
}
