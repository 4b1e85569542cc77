//! How many records each pattern has, from counts by minute: exact, and adding up to the total.

use std::cmp::Reverse;

use rustc_hash::FxHashMap;
use watchfire_types::{Severity, Timestamp};

use super::Merges;
use crate::logs::SummaryRow;

pub(super) const MINUTE: u64 = 60;
const MINUTE_NANOS: u64 = MINUTE * 1_000_000_000;
/// Lengths of a step, in minutes.
const STEPS: [u64; 14] = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10_080];

/// Which records are counted: whole minutes, so that what is known of them adds up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range {
    /// First minute.
    pub(super) since: u64,
    /// The minute after the last one.
    pub(super) until: u64,
    /// Minutes of a step.
    pub(super) step: u64,
}

/// Which of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Narrow {
    pub(super) services: Vec<String>,
    pub(super) level: Option<Severity>,
    /// Only these patterns, merged ones by the id that stands for them.
    pub(super) patterns: Option<Vec<u64>>,
}

/// Counts of one pattern.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) records: u64,
    /// Of the equally long time before.
    pub(super) previous: u64,
    pub(super) first_minute: u64,
    pub(super) last_minute: u64,
    /// Greatest severity.
    pub(super) worst: u8,
}

/// Counts of all patterns.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) by_pattern: FxHashMap<u64, Count>,
    pub(super) total: u64,
    /// Records without a pattern.
    pub(super) without: u64,
}

/// What the list is sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Count,
    Rare,
    New,
    Change,
    Level,
    Last,
}

impl Sort {
    pub(super) const WORDS: &[&'static str] = &["count", "rare", "new", "change", "level", "last"];

    pub(super) fn from_word(word: &str) -> Self {
        match word {
            "rare" => Self::Rare,
            "new" => Self::New,
            "change" => Self::Change,
            "level" => Self::Level,
            "last" => Self::Last,
            _ => Self::Count,
        }
    }
}

impl Range {
    /// Returns the minutes from that of `since` to that of the last moment before `until`, in at most `steps` steps.
    pub(super) fn new(since: Timestamp, until: Timestamp, steps: u64) -> Self {
        let since = since.as_nanos() / MINUTE_NANOS;
        let until = until.as_nanos().div_ceil(MINUTE_NANOS).max(since + 1);
        let fits = |step: &&u64| (until - since).div_ceil(**step) <= steps;
        let step = STEPS.iter().find(fits).copied().unwrap_or_else(|| (until - since).div_ceil(steps));
        Self { since, until, step }
    }

    pub(super) fn minutes(&self) -> u64 {
        self.until - self.since
    }

    pub(super) fn steps(&self) -> usize {
        self.minutes().div_ceil(self.step) as usize
    }

    pub(super) fn place(&self, minute: u64) -> usize {
        ((minute - self.since) / self.step) as usize
    }

    pub(super) fn has(&self, minute: u64) -> bool {
        (self.since..self.until).contains(&minute)
    }

    /// Returns the first minute of the equally long time before.
    pub(super) fn before(&self) -> u64 {
        self.since.saturating_sub(self.minutes())
    }
}

pub(super) fn moment(minute: u64) -> Timestamp {
    Timestamp::from_nanos(minute.saturating_mul(MINUTE_NANOS))
}

impl Narrow {
    pub(super) fn takes(&self, row: &SummaryRow<'_>, pattern: u64) -> bool {
        self.level.is_none_or(|level| row.severity >= level.0)
            && (self.services.is_empty() || self.services.iter().any(|service| service == row.service))
            && self.patterns.as_ref().is_none_or(|patterns| patterns.contains(&pattern))
    }
}

impl Counts {
    /// Counts what a row says, in `range` or in the equally long time before it.
    pub(super) fn add(&mut self, row: &SummaryRow<'_>, range: &Range, narrow: &Narrow, merges: &Merges) {
        let pattern = merges.resolve(row.pattern);
        if !narrow.takes(row, pattern) {
            return;
        }
        if !range.has(row.minute) {
            if pattern != 0 && (range.before()..range.since).contains(&row.minute) {
                self.by_pattern.entry(pattern).or_default().previous += row.count;
            }
            return;
        }
        self.total += row.count;
        if pattern == 0 {
            self.without += row.count;
            return;
        }
        let count = self.by_pattern.entry(pattern).or_default();
        let is_first = count.records == 0;
        count.records += row.count;
        count.first_minute = if is_first { row.minute } else { count.first_minute.min(row.minute) };
        count.last_minute = count.last_minute.max(row.minute);
        count.worst = count.worst.max(row.severity);
    }

    /// Returns the patterns that have records in the range, sorted. `first_seen` says when a pattern was new.
    pub(super) fn sorted(&self, sort: Sort, first_seen: impl Fn(u64) -> u64) -> Vec<(u64, Count)> {
        let mut list: Vec<(u64, Count)> =
            self.by_pattern.iter().filter(|(_, count)| count.records > 0).map(|(id, count)| (*id, count.clone())).collect();
        // Where that does not decide, the more frequent one is first, then the older one.
        list.sort_unstable_by_key(|(id, count)| (Reverse(count.records), *id));
        match sort {
            Sort::Count => {}
            Sort::Rare => list.sort_by_key(|(_, count)| count.records),
            Sort::New => list.sort_by_key(|(id, _)| Reverse(first_seen(*id))),
            Sort::Change => list.sort_by(|(_, left), (_, right)| right.change().abs().total_cmp(&left.change().abs())),
            Sort::Level => list.sort_by_key(|(_, count)| Reverse(count.worst)),
            Sort::Last => list.sort_by_key(|(_, count)| Reverse(count.last_minute)),
        }
        list
    }
}

impl Count {
    /// Returns how far the count is from the one before: positive for more, the logarithm of how many times as much. One record
    /// is added to both, so that a pattern that was not there before is not infinitely more.
    pub(super) fn change(&self) -> f64 {
        ((self.records + 1) as f64 / (self.previous + 1) as f64).ln()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(minute: u64, severity: u8, pattern: u64, count: u64) -> SummaryRow<'static> {
        SummaryRow { minute, severity, service: "api", pattern, count }
    }

    #[test]
    fn a_range_is_whole_minutes_in_few_steps() {
        let range = Range::new(Timestamp::from_seconds(61), Timestamp::from_seconds(3_601), 30);
        assert_eq!(range, Range { since: 1, until: 61, step: 2 });
        assert_eq!((range.steps(), range.place(1), range.place(60)), (30, 0, 29));
        let long = Range::new(Timestamp::ZERO, Timestamp::from_seconds(86_400 * 3650), 30);
        assert!(long.steps() <= 30);
    }

    #[test]
    fn patterns_are_sorted_as_asked() {
        let range = Range { since: 100, until: 200, step: 10 };
        let mut counts = Counts::default();
        let mut merges = Merges::default();
        merges.add(9, 1);
        for row in
            [row(100, 9, 1, 5), row(150, 17, 2, 1), row(199, 9, 9, 2), row(120, 9, 3, 3), row(50, 9, 3, 40), row(160, 5, 0, 4)]
        {
            counts.add(&row, &range, &Narrow::default(), &merges);
        }
        assert_eq!((counts.total, counts.without), (15, 4));
        let ids = |sort| counts.sorted(sort, |id| id).into_iter().map(|(id, _)| id).collect::<Vec<_>>();
        assert_eq!(ids(Sort::Count), [1, 3, 2]);
        assert_eq!(ids(Sort::Rare), [2, 3, 1]);
        assert_eq!(ids(Sort::New), [3, 2, 1]);
        assert_eq!(ids(Sort::Change), [3, 1, 2]);
        assert_eq!(ids(Sort::Level), [2, 1, 3]);
        assert_eq!(ids(Sort::Last), [1, 2, 3]);
    }

    proptest! {
        #[test]
        fn patterns_and_records_without_one_add_up_to_the_total(
            rows in prop::collection::vec((90_u64..220, 0_u8..25, 0_u64..12, 1_u64..50), 0..60),
            pairs in prop::collection::vec((1_u64..12, 1_u64..12), 0..6),
            level in prop::option::of(0_u8..25),
        ) {
            let range = Range { since: 100, until: 200, step: 10 };
            let mut merges = Merges::default();
            pairs.into_iter().for_each(|(from, into)| merges.add(from, into));
            let narrow = Narrow { level: level.map(Severity), ..Narrow::default() };
            let mut counts = Counts::default();
            let mut expected = 0;
            for (minute, severity, pattern, count) in rows {
                counts.add(&row(minute, severity, pattern, count), &range, &narrow, &merges);
                if (100..200).contains(&minute) && level.is_none_or(|level| severity >= level) {
                    expected += count;
                }
            }
            let listed: u64 = counts.sorted(Sort::Count, |_| 0).iter().map(|(_, count)| count.records).sum();
            prop_assert_eq!(listed + counts.without, counts.total);
            prop_assert_eq!(counts.total, expected);
        }
    }
}
