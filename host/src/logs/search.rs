//! Search: blocks newest first, each read only if its outline and its words allow a match.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;

use watchfire_types::LogRecord;

use super::block::{self, Columns};
use super::files::{BlockPlan, Files};
use super::held::Held;
use super::matcher::Matcher;
use super::types::LogFilter;
use crate::store::StoreError;
use crate::telemetry::Counter;

/// Bytes of hits that may wait for blocks yet unread; what is more is read again later.
const HELD_BYTES: usize = 64 << 20;
/// Records of one step.
const STEP_RECORDS: usize = 4096;

/// A search under way. Each step reads at most one block and returns what is then certain.
pub struct Search {
    matcher: Matcher,
    plans: BinaryHeap<Planned>,
    /// Hits that a block yet unread may still precede.
    held: Held,
    most_bytes: usize,
    left: usize,
    damaged: Counter,
}

/// A plan in the order in which blocks are read: the newest event time first.
#[derive(Debug)]
struct Planned(BlockPlan);

impl Search {
    pub(super) fn new(files: &Arc<Files>, filter: &LogFilter, limit: usize, damaged: Counter) -> Result<Self, StoreError> {
        let matcher = Matcher::new(filter);
        let plans = files.plan(&matcher)?.into_iter().map(Planned).collect();
        Ok(Self { matcher, plans, held: Held::default(), most_bytes: HELD_BYTES, left: limit, damaged })
    }

    /// Holds at most about `bytes` of hits, whatever the order in which they are stored.
    #[cfg(test)]
    pub(super) fn holding(self, bytes: usize) -> Self {
        Self { most_bytes: bytes, ..self }
    }

    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.held.bytes()
    }

    /// Returns the next hits, the newest first; `None` at the end. Blocks on disk.
    ///
    /// # Errors
    /// [`StoreError`] when a file cannot be read. A damaged block is reported, counted and skipped.
    pub fn step(&mut self) -> Result<Option<Vec<LogRecord>>, StoreError> {
        let mut records = self.certain();
        if records.is_empty() {
            let Some(Planned(plan)) = self.plans.pop().filter(|_| self.left > 0) else { return Ok(None) };
            self.read(&plan)?;
            self.held.keep_newest(self.left);
            for plan in self.held.shrink(self.most_bytes) {
                let is_same = |other: &BlockPlan| other.file.day == plan.file.day && other.first_seq == plan.first_seq;
                self.plans.retain(|Planned(other)| !is_same(other));
                self.plans.push(Planned(plan));
            }
            records = self.certain();
        }
        Ok(Some(records))
    }

    /// Returns everything the search finds.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn all(mut self) -> Result<Vec<LogRecord>, StoreError> {
        let mut records = Vec::new();
        while let Some(more) = self.step()? {
            records.extend(more);
        }
        Ok(records)
    }

    /// Takes hits that are newer than all that is unread.
    fn certain(&mut self) -> Vec<LogRecord> {
        let unread = self.plans.peek().map(|Planned(plan)| plan.max_time);
        let records = self.held.take_after(unread, self.left.min(STEP_RECORDS));
        self.left -= records.len();
        records
    }

    fn read(&mut self, plan: &BlockPlan) -> Result<(), StoreError> {
        // A full page of newer hits needs nothing from this block.
        if self.held.len() == self.left && self.held.oldest().is_some_and(|time| time > plan.max_time) {
            return Ok(());
        }
        let content = self.matcher.reads_content();
        let first_columns = Columns { ids: content, body: content, attributes: content };
        let (matcher, held, left, damaged) = (&self.matcher, &mut self.held, self.left, &self.damaged);
        let (range, max_time) = (plan.first_seq..=plan.last_seq, plan.max_time);
        plan.file.read_plan(plan, matcher, |first_seq, data| {
            let mut visit = || -> Result<(), block::BlockError> {
                let batch = block::decode(data, first_seq, first_columns)?;
                let mut rows = matcher.matching_rows(&batch);
                // The range of a merged block may hold a larger one, which has a plan of its own: what is newer than this plan's
                // newest belongs there, and may have been given out already.
                rows.retain(|row| range.contains(&batch.seq[*row]) && batch.time[*row] <= max_time);
                if rows.len() > left {
                    rows.sort_unstable_by_key(|row| std::cmp::Reverse((batch.time[*row], batch.seq[*row])));
                    rows.truncate(left);
                }
                if rows.is_empty() {
                    return Ok(());
                }
                let batch = if content { batch } else { block::decode(data, first_seq, Columns::ALL)? };
                held.add(plan, &batch, rows);
                Ok(())
            };
            if let Err(error) = visit() {
                damaged.inc();
                tracing::error!(error = %plan.file.damage(first_seq, error), "a log block cannot be read; it is skipped, the rest is read");
            }
        })
    }
}

impl Planned {
    fn key(&self) -> (u64, u64) {
        (self.0.max_time, self.0.last_seq)
    }
}

impl Ord for Planned {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Planned {}
