//! The first records in another order than that of time, in bounded memory.

use watchfire_types::{LogBatch, LogRecord};

use super::ast::SortKey;
use super::bits::Bits;
use super::field::Field;
use super::table::{Cell, order};

/// Memory of the records of one query that are sorted, in bytes.
const MAX_SORTED_BYTES: usize = 96 << 20;

/// The records to sort need more memory than [`MAX_SORTED_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {} MiB of records to sort: ask for fewer with `limit`, or narrow the query", MAX_SORTED_BYTES >> 20)]
pub(super) struct TooLarge;

/// The best records so far.
#[derive(Debug)]
pub(super) struct Best {
    fields: Vec<Field>,
    order: Vec<(usize, bool)>,
    most: usize,
    /// Up to twice as many as are wanted: the worse half goes when it is full.
    rows: Vec<Row>,
    /// Whether all of `rows` are sorted, and what is behind the last of them is of no use.
    bar: Option<(Vec<Cell>, (u64, u64))>,
    bytes: usize,
    dropped: bool,
}

#[derive(Debug)]
struct Row {
    cells: Vec<Cell>,
    /// Time and `seq`: of equals the newest comes first.
    place: (u64, u64),
    record: Box<LogRecord>,
    bytes: usize,
}

impl Best {
    /// Returns none yet, of at most `most` records.
    #[must_use]
    pub(super) fn new(keys: &[SortKey], most: usize) -> Self {
        Self {
            fields: keys.iter().map(|key| Field::from_name(&key.name)).collect(),
            order: keys.iter().enumerate().map(|(index, key)| (index, key.descending)).collect(),
            most,
            rows: Vec::new(),
            bar: None,
            bytes: 0,
            dropped: false,
        }
    }

    /// Adds `rows` of `batch`.
    ///
    /// # Errors
    /// [`TooLarge`]: then it is of no use any more.
    pub(super) fn add(&mut self, batch: &LogBatch, rows: &Bits) -> Result<(), TooLarge> {
        for row in rows.iter() {
            let cells: Vec<Cell> = self.fields.iter().map(|field| Cell::of(field, batch, row)).collect();
            let place = (batch.time[row], batch.seq[row]);
            if let Some((bar, of_bar)) = &self.bar
                && self.is_behind((&cells, place), (bar, *of_bar))
            {
                self.dropped = true;
                continue;
            }
            let bytes = size_of::<Row>()
                + cells.iter().map(Cell::bytes).sum::<usize>()
                + 512
                + batch.body.data.get(row).len()
                + batch.attribute_range(row).map(|index| 96 + batch.attribute_value.data.get(index).len()).sum::<usize>();
            self.bytes += bytes;
            self.rows.push(Row { cells, place, record: Box::new(batch.record(row)), bytes });
            if self.rows.len() > 2 * self.most.max(64) || self.bytes > MAX_SORTED_BYTES {
                self.settle();
            }
            if self.bytes > MAX_SORTED_BYTES {
                return Err(TooLarge);
            }
        }
        Ok(())
    }

    fn is_behind(&self, row: (&[Cell], (u64, u64)), other: (&[Cell], (u64, u64))) -> bool {
        order(row.0, other.0, &self.order).then_with(|| other.1.cmp(&row.1)).is_gt()
    }

    /// Sorts and keeps only as many as are wanted.
    fn settle(&mut self) {
        let by = &self.order;
        self.rows.sort_by(|left, right| order(&left.cells, &right.cells, by).then_with(|| right.place.cmp(&left.place)));
        if self.rows.len() > self.most {
            self.dropped = true;
            self.rows.truncate(self.most);
        }
        self.bytes = self.rows.iter().map(|row| row.bytes).sum();
        if self.rows.len() == self.most {
            self.bar = self.rows.last().map(|last| (last.cells.clone(), last.place));
        }
    }

    /// Adds those of `other`.
    pub(super) fn merge(&mut self, other: Self) {
        self.dropped |= other.dropped;
        self.bytes += other.bytes;
        self.rows.extend(other.rows);
        self.settle();
    }

    /// Returns whether there were more than are kept.
    #[must_use]
    pub(super) fn dropped(&self) -> bool {
        self.dropped || self.rows.len() > self.most
    }

    /// Returns them in their order.
    #[must_use]
    pub(super) fn into_records(mut self) -> Vec<LogRecord> {
        self.settle();
        self.rows.into_iter().map(|row| *row.record).collect()
    }
}
