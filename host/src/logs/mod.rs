//! The log engine: blocks of records on disk, found again by text, level, service, attribute and time.

pub mod block;
pub mod matcher;
pub mod tokens;
pub mod types;

use tokio::sync::watch;
use watchfire_types::LogBatch;

use crate::store::{Accepted, IngestError, StoreError};
pub use types::{FileOffset, LogFilter};

/// The log engine's handle. Cheap to clone.
#[derive(Clone)]
pub struct Logs;

impl Logs {
    /// Stores `batch` and returns once it is durable and searchable. `offsets` of tailed files are stored in the same transaction.
    ///
    /// # Errors
    /// [`IngestError::Busy`] when the queue or the disk is full.
    pub async fn ingest(&self, batch: LogBatch, offsets: Vec<FileOffset>) -> Result<Accepted, IngestError> {
        let _ = (batch, offsets);
        Err(StoreError::Closed.into())
    }

    /// Returns the offsets of all tailed files, as last stored.
    pub fn file_offsets(&self) -> Result<Vec<FileOffset>, StoreError> {
        Err(StoreError::Closed)
    }

    /// Returns a receiver of the last committed `seq`.
    pub fn committed(&self) -> watch::Receiver<u64> {
        watch::channel(0).1
    }

    /// Returns at most about `limit` records after `cursor` in order of `seq`. Blocks on disk.
    pub fn read_after(&self, cursor: u64, limit: usize) -> Result<LogBatch, StoreError> {
        let _ = (cursor, limit);
        Err(StoreError::Closed)
    }
}
