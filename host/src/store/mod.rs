//! What all engines need to remember things: SQLite files with one writer thread each, and the rules for durability.

pub mod columns;
pub mod crash;
pub mod database;
pub mod directory;
pub mod ids;

pub use database::{Database, Migration, StoreError};
pub use directory::DataDirectory;

use std::time::Duration;

/// Why records were not taken. Nothing of the batch is stored.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The queue is full, or the disk is: the sender should try again after `retry_after`.
    #[error("the store is busy: {reason}")]
    Busy {
        /// Which bound was reached.
        reason: String,
        /// When to try again.
        retry_after: Duration,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What became of a batch that is now durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Records stored.
    pub accepted: u64,
    /// Records refused, for good.
    pub rejected: u64,
    /// Why, for the first of them; empty if none.
    pub reason: String,
    /// Which rows of the batch they were, as far as that is known, in their order, and why each: "older than …".
    pub refused: Vec<(u32, &'static str)>,
}
