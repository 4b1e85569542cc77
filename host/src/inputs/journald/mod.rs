//! The systemd journal: this machine's, followed through `journalctl`, and others', uploaded by `systemd-journal-upload`.
//!
//! **Invariant**: a cursor is stored in the transaction of the entries before it, and the journal waits while the store is busy.

pub mod export;
mod follow;
mod record;
pub mod status;
mod upload;

pub use follow::follow;
pub use status::{JournalState, JournalStatus};
pub use upload::{ApiDoc, routes};

use watchfire_types::{LogBatch, Timestamp};

use super::builder::{BatchBuilder, OverBudget};
use export::{Entry, ExportError, Parser};

/// A batch is handed over when it has this many records or bytes.
const BATCH_RECORDS: usize = 4096;
const BATCH_BYTES: usize = 1 << 20;

/// Records of one batch take no more memory than this: the largest entry fits many times.
const BUDGET: usize = 64 << 20;

/// Gathers entries into batches.
#[derive(Debug)]
struct Gatherer {
    parser: Parser,
    builder: BatchBuilder,
    bytes: usize,
    cursor: Option<String>,
}

/// Entries that are to be stored together.
#[derive(Debug)]
struct Gathered {
    batch: LogBatch,
    bytes: usize,
    /// That of the last one.
    cursor: Option<String>,
}

impl Gatherer {
    fn new() -> Self {
        Self { parser: Parser::default(), builder: BatchBuilder::new(BUDGET), bytes: 0, cursor: None }
    }

    fn is_empty(&self) -> bool {
        self.builder.is_empty()
    }

    /// Takes more of the journal's text. [`Self::gather`] follows, until it returns that it has no full batch.
    fn feed(&mut self, bytes: &[u8]) {
        self.parser.feed(bytes);
    }

    /// Takes whole entries; returns whether there is a full batch.
    fn gather(&mut self, now: Timestamp) -> Result<bool, ExportError> {
        while self.builder.len() < BATCH_RECORDS && self.bytes < BATCH_BYTES {
            match self.parser.next()? {
                Some(entry) => Self::push(&mut self.builder, &mut self.bytes, &mut self.cursor, entry, now),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Takes the last entry, whose empty line may not have come.
    fn end(&mut self, now: Timestamp) -> Result<(), ExportError> {
        if let Some(entry) = self.parser.end()? {
            Self::push(&mut self.builder, &mut self.bytes, &mut self.cursor, entry, now);
        }
        Ok(())
    }

    fn push(builder: &mut BatchBuilder, bytes: &mut usize, cursor: &mut Option<String>, entry: &Entry, now: Timestamp) {
        let pushed: Result<(), OverBudget> = record::push(builder, entry, now);
        debug_assert!(pushed.is_ok(), "a batch is handed over long before it is too large");
        *bytes += entry.size_bytes();
        if let Some(text) = entry.text("__CURSOR") {
            *cursor = Some(text.to_owned());
        }
    }

    /// Returns what has been gathered.
    fn take(&mut self) -> Gathered {
        let batch = std::mem::replace(&mut self.builder, BatchBuilder::new(BUDGET)).finish();
        Gathered { batch, bytes: std::mem::take(&mut self.bytes), cursor: self.cursor.take() }
    }
}
