//! Search: blocks newest first, each read only if its outline and its words allow a match.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering as Memory};

use parking_lot::Mutex;
use watchfire_types::{LogBatch, LogRecord};

use super::block::Wants;
use super::files::{BlockPlan, Files};
use super::held::Held;
use super::matcher::Matcher;
use super::query::bits::Bits;
use super::query::scan::{ALWAYS, Control, Helpers, Reading};
use crate::store::StoreError;
use crate::telemetry::Counter;

/// Bytes of hits that may wait for blocks yet unread; what is more is read again later.
const HELD_BYTES: usize = 64 << 20;
/// Records of one step.
const STEP_RECORDS: usize = 4096;
/// Blocks read at the same time at most.
const MAX_AHEAD: usize = 64;
/// With more bytes of hits in one round, the next reads fewer blocks.
const DENSE_BYTES: usize = 4 << 20;

/// A search under way. Each step reads a few blocks at most and returns what is then certain.
pub struct Search {
    matcher: Matcher,
    plans: BinaryHeap<Planned>,
    /// Hits that a block yet unread may still precede.
    held: Held,
    most_bytes: usize,
    left: usize,
    /// How many blocks the next round reads: more and more, as long as hits are rare.
    ahead: usize,
    control: Arc<Control>,
    damaged: Counter,
}

/// A plan in the order in which blocks are read: the newest event time first.
#[derive(Debug)]
struct Planned(BlockPlan);

impl Search {
    pub(super) fn new(
        files: &Arc<Files>,
        matcher: Matcher,
        limit: usize,
        control: Arc<Control>,
        damaged: Counter,
    ) -> Result<Self, StoreError> {
        let plans = files.plan(&matcher)?.into_iter().map(Planned).collect();
        Ok(Self { matcher, plans, held: Held::default(), most_bytes: HELD_BYTES, left: limit, ahead: 1, control, damaged })
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

    /// Returns the next hits, the newest first; `None` at the end. When it is stopped, what has been found so far comes at once. Blocks on
    /// disk.
    ///
    /// # Errors
    /// [`StoreError`] when a file cannot be read. A damaged block is reported, counted and skipped.
    pub fn step(&mut self) -> Result<Option<Vec<LogRecord>>, StoreError> {
        let mut records = self.certain();
        if records.is_empty() {
            if self.left == 0 || self.plans.is_empty() {
                return Ok(None);
            }
            if self.control.is_over() {
                self.plans.clear();
                return Ok(Some(self.certain()));
            }
            self.round()?;
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

    /// Reads the next blocks, on more than one core if there are several.
    fn round(&mut self) -> Result<(), StoreError> {
        let mut plans = Vec::with_capacity(self.ahead);
        while plans.len() < self.ahead
            && let Some(Planned(plan)) = self.plans.pop()
        {
            // A full page of newer hits needs nothing from this block.
            if self.held.len() < self.left || self.held.oldest().is_none_or(|time| time <= plan.max_time) {
                plans.push(plan);
            }
        }
        let reading = Reading {
            matcher: &self.matcher,
            within: ALWAYS,
            wants: &Wants::ALL,
            claims: None,
            control: &self.control,
            damaged: &self.damaged,
        };
        let found: Vec<Mutex<Vec<LogBatch>>> = plans.iter().map(|_| Mutex::default()).collect();
        let (next, left) = (AtomicUsize::new(0), self.left);
        let work = || {
            loop {
                let index = next.fetch_add(1, Memory::Relaxed);
                let Some((plan, found)) = plans.get(index).zip(found.get(index)) else { return Ok(()) };
                reading.read(plan, |batch, rows| found.lock().push(newest(batch, rows, left)))?;
            }
        };
        let helpers = Helpers::take(plans.len().saturating_sub(1));
        std::thread::scope(|scope| {
            let others: Vec<_> = (0..helpers.0).map(|_| scope.spawn(work)).collect();
            work()?;
            others.into_iter().try_for_each(|other| other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })?;
        let mut bytes = 0;
        for (plan, found) in plans.iter().zip(found) {
            for batch in found.into_inner() {
                bytes += batch.size_bytes();
                self.held.add(plan, &batch, (0..batch.len()).collect());
            }
        }
        self.ahead = if bytes > DENSE_BYTES { (self.ahead / 2).max(1) } else { (self.ahead * 2).min(MAX_AHEAD) };
        Ok(())
    }
}

/// Returns the newest `count` of `rows`, as a batch of their own.
fn newest(batch: &LogBatch, rows: &Bits, count: usize) -> LogBatch {
    let mut rows: Vec<usize> = rows.iter().collect();
    if rows.len() > count {
        rows.sort_unstable_by_key(|row| std::cmp::Reverse((batch.time[*row], batch.seq[*row])));
        rows.truncate(count);
        rows.sort_unstable();
    }
    let mut kept = LogBatch::default();
    kept.append(batch, rows);
    kept
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
