//! Search: blocks newest first, each read only if its outline and its words allow a match.

use std::collections::BTreeMap;
use std::sync::Arc;

use watchfire_types::{LogRecord, Timestamp};

use super::block::{self, Columns};
use super::files::{BlockPlan, Files};
use super::matcher::Matcher;
use super::types::LogFilter;
use crate::store::StoreError;
use crate::telemetry::Counter;

/// A search under way. Each step reads one block and returns what is then certain.
pub struct Search {
    matcher: Matcher,
    plans: std::vec::IntoIter<BlockPlan>,
    /// Hits that a block yet unread may still precede, by event time and `seq`.
    held: BTreeMap<(u64, u64), LogRecord>,
    left: usize,
    damaged: Counter,
}

impl Search {
    pub(super) fn new(files: &Arc<Files>, filter: &LogFilter, limit: usize, damaged: Counter) -> Result<Self, StoreError> {
        let matcher = Matcher::new(filter);
        let plans = files.plan(&matcher)?.into_iter();
        Ok(Self { matcher, plans, held: BTreeMap::new(), left: limit, damaged })
    }

    /// Returns the next hits, the newest first; `None` at the end. Blocks on disk.
    ///
    /// # Errors
    /// [`StoreError`] when a file cannot be read. A damaged block is reported, counted and skipped.
    pub fn step(&mut self) -> Result<Option<Vec<LogRecord>>, StoreError> {
        if self.left == 0 {
            return Ok(None);
        }
        let Some(plan) = self.plans.next() else {
            let rest = std::mem::take(&mut self.held);
            self.left = 0;
            return Ok((!rest.is_empty()).then(|| rest.into_values().rev().collect()));
        };
        self.read(&plan)?;
        while self.held.len() > self.left {
            self.held.pop_first();
        }
        let next = self.plans.as_slice().first().map_or(0, |plan| plan.max_time);
        let certain = self.held.split_off(&(next, u64::MAX));
        self.left -= certain.len();
        Ok(Some(certain.into_values().rev().collect()))
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

    fn read(&mut self, plan: &BlockPlan) -> Result<(), StoreError> {
        // A full page of newer hits needs nothing from this block.
        if self.held.len() == self.left && self.held.first_key_value().is_some_and(|((time, _), _)| *time > plan.max_time) {
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
                held.extend(rows.into_iter().map(|row| ((batch.time[row], batch.seq[row]), batch.record(row))));
                Ok(())
            };
            if let Err(error) = visit() {
                damaged.inc();
                tracing::error!(error = %plan.file.damage(first_seq, error), "a log block cannot be read; it is skipped, the rest is read");
            }
        })
    }

    /// Returns the least and greatest event time of all records, if there are any.
    pub(super) fn time_range(files: &Arc<Files>) -> Result<Option<(Timestamp, Timestamp)>, StoreError> {
        let plans = files.plan(&Matcher::new(&LogFilter::default()))?;
        let least = plans.iter().map(|plan| plan.min_time).min();
        let greatest = plans.iter().map(|plan| plan.max_time).max();
        Ok(least.zip(greatest).map(|(least, greatest)| (Timestamp::from_nanos(least), Timestamp::from_nanos(greatest))))
    }

    /// Returns the number of records stored.
    pub(super) fn count(files: &Arc<Files>) -> Result<u64, StoreError> {
        Ok(files.plan(&Matcher::new(&LogFilter::default()))?.iter().map(|plan| plan.rows).sum())
    }
}
