//! The systemd journal: this machine's, followed through `journalctl`, and others', uploaded by `systemd-journal-upload`.
//!
//! **Invariant**: a cursor is stored in the transaction of the entries before it, and the journal waits while the store is busy.

pub mod export;
mod follow;
mod record;
mod seen;
pub mod status;
mod upload;

pub use follow::follow;
pub use seen::Uploads;
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
    sequences: Vec<String>,
    places: Vec<(u32, u64)>,
}

/// Entries that are to be stored together.
#[derive(Debug, Default)]
struct Gathered {
    batch: LogBatch,
    bytes: usize,
    /// That of the last one.
    cursor: Option<String>,
    /// The sequences in which they are numbered.
    sequences: Vec<String>,
    /// The place of each: which of the sequences, and its number. A sequence that is not there for one whose place is not known.
    places: Vec<(u32, u64)>,
}

impl Gatherer {
    fn new() -> Self {
        Self {
            parser: Parser::default(),
            builder: BatchBuilder::new(BUDGET),
            bytes: 0,
            cursor: None,
            sequences: Vec::new(),
            places: Vec::new(),
        }
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
            let Some(entry) = self.parser.next()? else { return Ok(false) };
            self.bytes += entry.size_bytes();
            let place = push(&mut self.builder, &mut self.sequences, &mut self.cursor, entry, now);
            self.places.push(place);
        }
        Ok(true)
    }

    /// Takes the last entry, whose empty line may not have come.
    fn end(&mut self, now: Timestamp) -> Result<(), ExportError> {
        if let Some(entry) = self.parser.end()? {
            self.bytes += entry.size_bytes();
            let place = push(&mut self.builder, &mut self.sequences, &mut self.cursor, entry, now);
            self.places.push(place);
        }
        Ok(())
    }

    /// Returns what has been gathered.
    fn take(&mut self) -> Gathered {
        Gathered {
            batch: std::mem::replace(&mut self.builder, BatchBuilder::new(BUDGET)).finish(),
            bytes: std::mem::take(&mut self.bytes),
            cursor: self.cursor.take(),
            sequences: std::mem::take(&mut self.sequences),
            places: std::mem::take(&mut self.places),
        }
    }
}

/// Appends an entry; returns its place.
fn push(
    builder: &mut BatchBuilder,
    sequences: &mut Vec<String>,
    cursor: &mut Option<String>,
    entry: &Entry,
    now: Timestamp,
) -> (u32, u64) {
    let pushed: Result<(), OverBudget> = record::push(builder, entry, now);
    debug_assert!(pushed.is_ok(), "a batch is handed over long before it is too large");
    let Some(text) = entry.text("__CURSOR") else { return (u32::MAX, 0) };
    *cursor = Some(text.to_owned());
    let Some((sequence, number)) = seen::position(text) else { return (u32::MAX, 0) };
    let index = sequences.iter().position(|known| known == sequence).unwrap_or_else(|| {
        sequences.push(sequence.to_owned());
        sequences.len() - 1
    });
    (index as u32, number)
}
