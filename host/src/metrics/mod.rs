//! The metrics engine: series of samples, recent ones in memory, all of them on disk.

pub mod types;

use tokio::sync::watch;
use watchfire_types::{MetricBatch, Timestamp};

use crate::store::{Accepted, IngestError, StoreError};
pub use types::SeriesData;

/// The metrics engine's handle. Cheap to clone.
#[derive(Clone)]
pub struct Metrics;

impl Metrics {
    /// Stores `batch` and returns once it is durable.
    ///
    /// # Errors
    /// [`IngestError::Busy`] when the queue or the disk is full.
    pub async fn ingest(&self, batch: MetricBatch) -> Result<Accepted, IngestError> {
        let _ = batch;
        Err(StoreError::Closed.into())
    }

    /// Returns a receiver that changes with each committed batch.
    pub fn changed(&self) -> watch::Receiver<u64> {
        watch::channel(0).1
    }

    /// Returns the series of metric `name` (either spelling) whose labels include `labels`, with the samples held in memory
    /// (`history_size` per series) from `since` on. Never blocks on disk: for rules.
    pub fn recent(&self, name: &str, labels: &[(String, String)], since: Timestamp) -> Vec<SeriesData> {
        let _ = (name, labels, since);
        Vec::new()
    }

    /// Returns all metric names, sorted.
    pub fn names(&self) -> Vec<String> {
        Vec::new()
    }
}
