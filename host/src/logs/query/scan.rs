//! Reads the blocks that may hold what a query means: on more than one core, each record once, until told to stop.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use watchfire_types::LogBatch;

use super::bits::Bits;
use super::node::Node;
use crate::logs::block::probe::Probe;
use crate::logs::block::{self, BlockError, Columns, Wants};
use crate::logs::files::{BlockPlan, ignore_vanished};
use crate::logs::filter_parts::StoredFilter;
use crate::logs::matcher::Matcher;
use crate::store::StoreError;
use crate::telemetry::Counter;

/// Threads of one query at most.
const MAX_THREADS: usize = 4;
/// Rows that may match are read alone if they are at most one in so many.
const FEW: usize = 8;
/// Threads beside their own that all queries of this process may have at the same time.
static HELPERS: AtomicUsize = AtomicUsize::new(0);

/// Why a query is to stop, and how far it is. Shared with whoever may stop it.
#[derive(Debug)]
pub struct Control {
    deadline: Option<Instant>,
    cancelled: AtomicBool,
    late: AtomicBool,
    /// Blocks read.
    pub blocks: AtomicU64,
    /// Records looked at.
    pub records: AtomicU64,
}

/// How a query ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stopped {
    /// Its time was up.
    Timeout,
    /// Somebody cancelled it.
    Cancelled,
}

impl Control {
    /// Returns one that stops after `timeout`; never by itself without one.
    #[must_use]
    pub fn new(timeout: Option<Duration>) -> Self {
        Self {
            deadline: timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
            cancelled: AtomicBool::new(false),
            late: AtomicBool::new(false),
            blocks: AtomicU64::new(0),
            records: AtomicU64::new(0),
        }
    }

    /// Stops the query before its next block.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Returns whether the query is to stop. Asked before each block.
    pub(in crate::logs) fn is_over(&self) -> bool {
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            self.late.store(true, Ordering::Relaxed);
        }
        self.stopped().is_some()
    }

    /// Returns why the query was stopped, if it was.
    #[must_use]
    pub fn stopped(&self) -> Option<Stopped> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Some(Stopped::Cancelled);
        }
        self.late.load(Ordering::Relaxed).then_some(Stopped::Timeout)
    }
}

/// The records that have been looked at, as ranges of `seq`: a block may be merged while its query runs, and is then met under two names.
#[derive(Debug, Default)]
pub(in crate::logs) struct Claims(Mutex<BTreeMap<u64, u64>>);

impl Claims {
    /// Returns those of `rows` whose records nobody has had yet, and marks them.
    fn take(&self, seqs: &[u64], rows: &Bits) -> Bits {
        let mut taken = self.0.lock();
        let mut fresh = Bits::none(rows.rows());
        let mut run: Option<RangeInclusive<u64>> = None;
        for row in rows.iter() {
            let seq = seqs[row];
            if taken.range(..=seq).next_back().is_some_and(|(_, end)| *end >= seq) {
                continue;
            }
            fresh.set(row);
            run = Some(match run {
                Some(run) if *run.end() + 1 == seq => *run.start()..=seq,
                other => {
                    other.into_iter().for_each(|run| add(&mut taken, &run));
                    seq..=seq
                }
            });
        }
        run.into_iter().for_each(|run| add(&mut taken, &run));
        fresh
    }
}

/// Adds a range that overlaps none; neighbours become one.
fn add(ranges: &mut BTreeMap<u64, u64>, range: &RangeInclusive<u64>) {
    let (mut start, mut end) = (*range.start(), *range.end());
    if let Some((before, until)) = ranges.range(..start).next_back().map(|(before, until)| (*before, *until))
        && until + 1 == start
    {
        start = before;
    }
    if let Some(after) = ranges.remove(&(end + 1)) {
        end = after;
    }
    ranges.insert(start, end);
}

/// All of time.
pub(in crate::logs) const ALWAYS: (u64, u64) = (0, u64::MAX);

/// What is read of each block.
#[derive(Clone, Copy)]
pub(in crate::logs) struct Reading<'a> {
    pub(in crate::logs) matcher: &'a Matcher,
    /// Only records of this time, beside what the matcher says.
    pub(in crate::logs) within: (u64, u64),
    /// What the reader wants of the records found.
    pub(in crate::logs) wants: &'a Wants,
    /// Takes care that each record is had once, where the reader cannot.
    pub(in crate::logs) claims: Option<&'a Claims>,
    pub(in crate::logs) control: &'a Control,
    pub(in crate::logs) damaged: &'a Counter,
}

impl Reading<'_> {
    /// Calls `found` with the matching records of each block that now holds records of `plan`: the planned one, or the one it has been
    /// merged into. A damaged block is reported, counted and skipped.
    pub(in crate::logs) fn read(&self, plan: &BlockPlan, mut found: impl FnMut(&LogBatch, &Bits)) -> Result<(), StoreError> {
        let work = |connection: &rusqlite::Connection| {
            // A row's columns are read when it is reached, even if nobody looks at them: so words first, then what is left.
            let left = self.left(plan, connection)?;
            let mut statement = connection.prepare_cached("SELECT data FROM blocks WHERE first_seq = ?1")?;
            for first_seq in left {
                let mut rows = statement.query([first_seq as i64])?;
                let Some(row) = rows.next()? else { continue };
                if let Err(error) = self.block(plan, first_seq, row.get_ref(0)?.as_blob()?, &mut found) {
                    self.damaged.inc();
                    tracing::error!(error = %plan.file.damage(first_seq, error), "a log block cannot be read; it is skipped, the rest is read");
                }
            }
            Ok(())
        };
        ignore_vanished(plan.file.search(work)).map(|_| ())
    }

    /// Returns the blocks that now hold records of `plan` and whose words allow a match.
    fn left(&self, plan: &BlockPlan, connection: &rusqlite::Connection) -> rusqlite::Result<Vec<u64>> {
        let by_words = self.matcher.uses_tokens();
        let mut left = Vec::new();
        let mut look = |first_seq: u64, filter: &[u8]| -> rusqlite::Result<()> {
            let may_match =
                !by_words || StoredFilter::new(connection, first_seq, filter).ask(|words| self.matcher.may_contain(words))?;
            left.extend(may_match.then_some(first_seq));
            Ok(())
        };
        // Mostly it is still there. A search by ranges looks at every block before it, too.
        let (first, last) = (plan.first_seq as i64, plan.last_seq as i64);
        let mut same =
            connection.prepare_cached("SELECT filter FROM blocks WHERE first_seq = ?1 AND last_seq = ?2 AND day = ?3")?;
        let mut rows = same.query((first, last, plan.day.0))?;
        if let Some(row) = rows.next()? {
            look(plan.first_seq, row.get_ref(0)?.as_blob()?)?;
            return Ok(left);
        }
        let sql = "SELECT first_seq, filter FROM blocks WHERE day = ?1 AND last_seq >= ?2 AND first_seq <= ?3";
        let mut merged = connection.prepare_cached(sql)?;
        let mut rows = merged.query((plan.day.0, first, last))?;
        while let Some(row) = rows.next()? {
            look(row.get::<_, i64>(0)? as u64, row.get_ref(1)?.as_blob()?)?;
        }
        Ok(left)
    }

    fn block(
        &self,
        plan: &BlockPlan,
        first_seq: u64,
        data: &[u8],
        found: &mut impl FnMut(&LogBatch, &Bits),
    ) -> Result<(), BlockError> {
        let to_decide = self.matcher.wants();
        let node = self.matcher.node();
        let is_probed = node.is_probed() && Probe::fits(data);
        // The head is small: it may rule the block out, or show that another plan has had it.
        let looks_first = to_decide.columns != Columns::HEAD && (self.claims.is_some() || is_probed || has_head_conditions(node));
        // Single attributes are read at once with those that decide.
        let reads_at_once = self.wants.keys.is_some() && (to_decide.columns != Columns::HEAD || matches!(node, Node::All));
        let at_once = if reads_at_once { &to_decide.or(self.wants) } else { to_decide };
        let mut batch = if looks_first {
            block::decode(data, first_seq, Columns::HEAD)?
        } else {
            block::decode_wanted(data, first_seq, at_once)?
        };
        self.control.blocks.fetch_add(1, Ordering::Relaxed);
        self.control.records.fetch_add(batch.len() as u64, Ordering::Relaxed);
        let range = plan.first_seq..=plan.last_seq;
        // The range of a merged block may hold a larger one, which has a plan of its own: what is newer than this plan's newest belongs
        // there, and may have been given out already.
        let until = self.within.1.min(plan.max_time.saturating_add(1));
        let mut rows = Bits::all(batch.len())
            .filter(|row| range.contains(&batch.seq[row]) && (self.within.0..until).contains(&batch.time[row]));
        if looks_first {
            rows = head_rows(node, &batch, &rows);
        }
        if let Some(claims) = self.claims {
            rows = claims.take(&batch.seq, &rows);
        }
        if rows.is_empty() {
            return Ok(());
        }
        if is_probed {
            let mut probe = Probe::new(data, &batch)?;
            if let Some(mut candidates) = node.candidates(&mut probe, batch.len() / FEW)? {
                candidates.keep(&rows);
                if candidates.is_empty() {
                    return Ok(());
                }
                let wants = to_decide.or(self.wants);
                let few = probe.take(&candidates, wants.columns, wants.keys.as_deref())?;
                let rows = self.matcher.rows(&few, &Bits::all(few.len()));
                if !rows.is_empty() {
                    found(&few, &rows);
                }
                return Ok(());
            }
        }
        if looks_first {
            batch = block::decode_wanted(data, first_seq, at_once)?;
        }
        rows = self.matcher.rows(&batch, &rows);
        if rows.is_empty() {
            return Ok(());
        }
        let missing = at_once.lacks(self.wants);
        if missing != Columns::HEAD && rows.count() <= rows.rows() / FEW && Probe::fits(data) {
            let few = Probe::new(data, &batch)?.take(&rows, self.wants.columns, self.wants.keys.as_deref())?;
            found(&few, &Bits::all(few.len()));
            return Ok(());
        }
        if missing != Columns::HEAD {
            let rest = block::decode_wanted(data, first_seq, &Wants { columns: missing, keys: self.wants.keys.clone() })?;
            add_columns(&mut batch, rest, missing);
        }
        found(&batch, &rows);
        Ok(())
    }

    /// Reads all of `plans` on as many threads as pay, in their order as far as possible, each with a `T` of its own; returns those.
    pub(in crate::logs) fn all<T: Send>(
        &self,
        plans: &[BlockPlan],
        new: impl Fn() -> T + Sync,
        found: impl Fn(&mut T, &LogBatch, &Bits) + Sync,
    ) -> Result<Vec<T>, StoreError> {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut own = new();
            while let Some(plan) = plans.get(next.fetch_add(1, Ordering::Relaxed)).filter(|_| !self.control.is_over()) {
                self.read(plan, |batch, rows| found(&mut own, batch, rows))?;
            }
            Ok(own)
        };
        let helpers = Helpers::take(plans.len().saturating_sub(1));
        std::thread::scope(|scope| {
            let others: Vec<_> = (0..helpers.0).map(|_| scope.spawn(work)).collect();
            let mut all = vec![work()?];
            for other in others {
                all.push(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
            }
            Ok(all)
        })
    }
}

/// Threads that a query has beside its own.
pub(in crate::logs) struct Helpers(pub(in crate::logs) usize);

impl Helpers {
    /// Takes at most `wanted`, as many as there are cores left.
    pub(in crate::logs) fn take(wanted: usize) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(MAX_THREADS);
        let mut taken = 0;
        let _ = HELPERS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            // Two queries at once have all cores busy; more helpers would only wait for each other.
            taken = wanted.min(cores - 1).min((2 * (cores - 1)).saturating_sub(used));
            Some(used + taken)
        });
        Self(taken)
    }
}

impl Drop for Helpers {
    fn drop(&mut self) {
        HELPERS.fetch_sub(self.0, Ordering::Relaxed);
    }
}

fn has_head_conditions(node: &Node) -> bool {
    match node {
        Node::And(parts) => parts.iter().any(|part| part.columns() == Columns::HEAD),
        _ => false,
    }
}

/// Returns the rows of `among` that meet those conditions which need nothing but the head.
fn head_rows(node: &Node, batch: &LogBatch, among: &Bits) -> Bits {
    let Node::And(parts) = node else { return among.clone() };
    let of_head = parts.iter().filter(|part| part.columns() == Columns::HEAD);
    of_head.fold(among.clone(), |rows, part| part.rows(batch, &rows))
}

/// Moves the `columns` of `rest` into `batch`, which is of the same block.
fn add_columns(batch: &mut LogBatch, rest: LogBatch, columns: Columns) {
    if columns.ids {
        batch.trace_id = rest.trace_id;
        batch.span_id = rest.span_id;
    }
    if columns.body {
        batch.body = rest.body;
    }
    if columns.attributes {
        batch.attribute_ends = rest.attribute_ends;
        batch.attribute_key = rest.attribute_key;
        batch.attribute_value = rest.attribute_value;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_record_is_had_once(blocks in proptest::collection::vec(proptest::collection::btree_set(0..60_u64, 0..20), 1..8)) {
            let claims = Claims::default();
            let mut seen = std::collections::BTreeSet::new();
            for block in blocks {
                let seqs: Vec<u64> = block.into_iter().collect();
                let fresh = claims.take(&seqs, &Bits::all(seqs.len()));
                for (row, seq) in seqs.iter().enumerate() {
                    prop_assert_eq!(fresh.has(row), seen.insert(*seq));
                }
            }
            let ranges: Vec<(u64, u64)> = claims.0.into_inner().into_iter().collect();
            prop_assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{:?}", ranges);
        }
    }
}
