//! The records of the last commits, in memory: whoever follows the log as it comes need not read and decode what was just encoded.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use watchfire_types::LogBatch;

use super::files::{Skim, Skimmed};

/// Most bytes of records held. Who falls further behind reads from disk.
const MOST_BYTES: usize = 16 << 20;
/// Records are held no longer than this, give or take the minute after which it is looked at: by then they have been read.
const MOST_AGE: Duration = Duration::from_secs(20);

/// The last commits.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    commits: VecDeque<Commit>,
    bytes: usize,
}

#[derive(Clone, Debug)]
struct Commit {
    /// With their `seq`s, which have no gap, neither within nor between commits.
    records: Arc<LogBatch>,
    bytes: usize,
    at: Instant,
}

impl Recent {
    /// Adds what has just been committed; its `seq`s begin with `first_seq`.
    pub(super) fn add(&self, mut records: LogBatch, first_seq: u64) {
        let bytes = records.size_bytes();
        if records.is_empty() || bytes > MOST_BYTES {
            // A gap would be read over.
            if !records.is_empty() {
                self.forget();
            }
            return;
        }
        records.seq = (first_seq..first_seq + records.len() as u64).collect();
        let mut held = self.0.lock();
        if held.commits.back().is_some_and(|last| last.records.seq.last().is_none_or(|seq| seq + 1 != first_seq)) {
            *held = Held::default();
        }
        held.bytes += bytes;
        held.commits.push_back(Commit { records: Arc::new(records), bytes, at: Instant::now() });
        while held.bytes > MOST_BYTES {
            held.pop();
        }
    }

    /// Forgets everything: some of it may have been deleted.
    pub(super) fn forget(&self) {
        *self.0.lock() = Held::default();
    }

    /// Forgets what has been held for long.
    pub(super) fn forget_old(&self) {
        let mut held = self.0.lock();
        while held.commits.front().is_some_and(|commit| commit.at.elapsed() > MOST_AGE) {
            held.pop();
        }
    }

    /// Returns records after `cursor`, those of one commit, if they are held; with `skim` only those that it asks for.
    pub(super) fn read_after(&self, cursor: u64, skim: Option<&Skim<'_>>) -> Option<Skimmed> {
        let commit = {
            let held = self.0.lock();
            let first = held.commits.front()?.records.seq.first().copied()?;
            if cursor + 1 < first {
                return None;
            }
            let place = held.commits.partition_point(|commit| commit.records.seq.last().is_none_or(|last| *last <= cursor));
            held.commits.get(place)?.clone()
        };
        let records = &*commit.records;
        let start = records.seq.partition_point(|seq| *seq <= cursor);
        let mut batch = LogBatch::default();
        match skim {
            None if start == 0 => batch = records.clone(),
            None => batch.append(records, start..records.len()),
            Some(skim) if (skim.columns)(records).is_some() => {
                batch.append(records, (skim.rows)(records).into_iter().filter(|row| *row >= start));
            }
            Some(_) => {}
        }
        Some(Skimmed { batch, count: (records.len() - start) as u64, last: records.seq.last().copied() })
    }
}

impl Held {
    fn pop(&mut self) {
        if let Some(commit) = self.commits.pop_front() {
            self.bytes -= commit.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use watchfire_types::ValueRef;
    use watchfire_types::log::RecordHead;

    use super::*;

    fn batch(count: usize, body: &str) -> LogBatch {
        let mut batch = LogBatch::default();
        (0..count).for_each(|_| batch.push(&RecordHead::default(), ValueRef::Text(body)));
        batch
    }

    fn seqs(recent: &Recent, cursor: u64) -> Option<Vec<u64>> {
        recent.read_after(cursor, None).map(|skimmed| skimmed.batch.seq)
    }

    #[test]
    fn what_is_held_is_read_without_a_gap() {
        let recent = Recent::default();
        assert_eq!(seqs(&recent, 0), None);
        recent.add(batch(3, "a"), 5);
        recent.add(batch(0, ""), 8);
        recent.add(batch(2, "b"), 8);
        assert_eq!((seqs(&recent, 3), seqs(&recent, 4)), (None, Some(vec![5, 6, 7])));
        assert_eq!((seqs(&recent, 6), seqs(&recent, 7)), (Some(vec![7]), Some(vec![8, 9])));
        assert_eq!(seqs(&recent, 9), None);
        // What does not follow begins anew.
        recent.add(batch(1, "c"), 20);
        assert_eq!((seqs(&recent, 4), seqs(&recent, 19)), (None, Some(vec![20])));
        recent.forget();
        assert_eq!(seqs(&recent, 19), None);
    }

    #[test]
    fn what_is_held_is_bounded() {
        let recent = Recent::default();
        for number in 0..100 {
            recent.add(batch(1, &"x".repeat(1 << 20)), number + 1);
        }
        assert!(recent.0.lock().bytes <= MOST_BYTES);
        assert_eq!((seqs(&recent, 1), seqs(&recent, 99)), (None, Some(vec![100])));
        recent.add(batch(1, &"x".repeat(MOST_BYTES)), 101);
        assert_eq!(seqs(&recent, 99), None);
    }
}
