//! How often something happened lately, group by group: the sliding window of every rule that counts.
//!
//! Arrivals are kept in buckets of a second (wider for windows over ten minutes), and a bucket counts until its last moment has left
//! the window: never too short, at most one bucket too long.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use watchfire_types::Timestamp;

use super::types::Comparison;

/// Most groups counted per rule; what belongs to further ones is counted as dropped.
pub const MAX_GROUPS: usize = 1_000;
/// Longest value by which is grouped, in bytes; whoever sends logs makes them as long as a request may be.
pub const MAX_VALUE_BYTES: usize = 1024;
/// Most buckets per group: bounds memory to about 10 MB per rule at its worst.
const MAX_BUCKETS: u64 = 600;

/// One rule's window: counts per group, and a note on each.
#[derive(Debug)]
pub struct Counting<N = ()> {
    window: Duration,
    bucket: Duration,
    groups: HashMap<Vec<String>, Group<N>>,
}

#[derive(Debug, Default)]
struct Group<N> {
    /// Start of each bucket and its count, oldest first.
    buckets: VecDeque<(Timestamp, u64)>,
    total: u64,
    note: N,
}

/// One group as it stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Count<'a, N> {
    /// What its members have in common.
    pub values: &'a [String],
    /// What was noted of it.
    pub note: &'a N,
    /// Arrivals within the window.
    pub count: u64,
    /// When the comparison changes its outcome if nothing more arrives.
    pub flips_at: Option<Timestamp>,
}

impl<N: Default> Counting<N> {
    /// Returns an empty window of length `window`.
    #[must_use]
    pub fn new(window: Duration) -> Self {
        let seconds = window.as_secs().div_ceil(MAX_BUCKETS).max(1);
        Self { window, bucket: Duration::from_secs(seconds), groups: HashMap::new() }
    }

    /// Returns its length.
    #[must_use]
    pub const fn window(&self) -> Duration {
        self.window
    }

    /// Returns how long an arrival may count: the window and a bucket.
    #[must_use]
    pub fn span(&self) -> Duration {
        self.window + self.bucket
    }

    /// Returns whether what came at `arrival` no longer counts at `now`.
    #[must_use]
    pub fn is_over(&self, arrival: Timestamp, now: Timestamp) -> bool {
        arrival.plus(self.window) <= now
    }

    /// Returns whether there are as many groups as there may be.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.groups.len() >= MAX_GROUPS
    }

    /// Counts one arrival in the group of `values` and returns the group's note; `None` if it would be one group too many.
    pub fn count(&mut self, values: Vec<String>, arrival: Timestamp) -> Option<&mut N> {
        if self.is_full() && !self.groups.contains_key(&values) {
            return None;
        }
        let start = self.start_of(arrival);
        let group = self.groups.entry(values).or_default();
        group.add(start, 1);
        Some(&mut group.note)
    }

    /// Makes everything older by `by`: the clock stepped back, and what was counted is as old as it was.
    pub fn shift_back(&mut self, by: Duration) {
        let width = self.bucket;
        for group in self.groups.values_mut() {
            for (start, _) in &mut group.buckets {
                // Upwards: never too short.
                let seconds = start.minus(by).as_nanos().div_ceil(1_000_000_000);
                *start = Timestamp::from_seconds(seconds.div_ceil(width.as_secs()) * width.as_secs());
            }
        }
    }

    /// Forgets what has left the window. What lies ahead of a clock that stepped back arrived now.
    pub fn advance(&mut self, now: Timestamp) {
        let (span, present) = (self.span(), self.start_of(now));
        self.groups.retain(|_, group| {
            let mut ahead = 0;
            while let Some((_, count)) = group.buckets.pop_back_if(|(start, _)| *start > present) {
                ahead += count;
            }
            if ahead > 0 {
                group.total -= ahead;
                group.add(present, ahead);
            }
            while let Some((_, count)) = group.buckets.pop_front_if(|(start, _)| start.plus(span) <= now) {
                group.total -= count;
            }
            !group.buckets.is_empty()
        });
    }

    /// Returns the groups that have an arrival in the window, as of the last [`Self::advance`].
    pub fn groups(&self, comparison: Comparison, threshold: f64) -> impl Iterator<Item = Count<'_, N>> {
        self.groups.iter().map(move |(values, group)| Count {
            values,
            note: &group.note,
            count: group.total,
            flips_at: group.flips_at(self.span(), comparison, threshold),
        })
    }

    fn start_of(&self, time: Timestamp) -> Timestamp {
        let width = self.bucket.as_secs();
        Timestamp::from_seconds(time.as_nanos() / 1_000_000_000 / width * width)
    }
}

impl<N> Group<N> {
    fn add(&mut self, start: Timestamp, count: u64) {
        self.total += count;
        // Arrivals come almost in order: the place is at the end or close to it.
        let place = self.buckets.iter().rposition(|(bucket, _)| *bucket <= start);
        match place {
            Some(index) if self.buckets[index].0 == start => self.buckets[index].1 += count,
            Some(index) => self.buckets.insert(index + 1, (start, count)),
            None => self.buckets.push_front((start, count)),
        }
    }

    fn flips_at(&self, span: Duration, comparison: Comparison, threshold: f64) -> Option<Timestamp> {
        let holds = comparison.holds(self.total as f64, threshold);
        // A falling count cannot make "more than" true: nothing to wait for.
        if !holds && matches!(comparison, Comparison::Greater | Comparison::GreaterOrEqual) {
            return None;
        }
        let mut left = self.total;
        self.buckets.iter().find_map(|(start, count)| {
            left -= count;
            let flips = comparison.holds(left as f64, threshold) != holds;
            flips.then(|| start.plus(span))
        })
    }
}

/// Cuts `text` to `most` bytes: it becomes part of an alert.
#[must_use]
pub fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::engine::testing::seconds;

    fn counting(window: u64, arrivals: &[u64]) -> Counting {
        let mut counting = Counting::new(Duration::from_secs(window));
        for arrival in arrivals {
            counting.count(Vec::new(), seconds(*arrival)).unwrap();
        }
        counting
    }

    fn one(counting: &Counting) -> (u64, Option<Timestamp>) {
        let count = counting.groups(Comparison::GreaterOrEqual, 3.0).next();
        count.map_or((0, None), |count| (count.count, count.flips_at))
    }

    #[test]
    fn a_count_drops_when_arrivals_leave_the_window() {
        let mut counting = counting(60, &[100, 101, 101, 130]);
        assert_eq!(one(&counting), (4, Some(seconds(162))));
        counting.advance(seconds(162));
        assert_eq!(one(&counting), (1, None));
        counting.advance(seconds(1000));
        assert_eq!(one(&counting).0, 0);
    }

    #[test]
    fn a_clock_that_steps_back_makes_nothing_count_longer_than_the_window() {
        let mut counting = counting(60, &[70, 1_000, 1_001, 1_001]);
        counting.advance(seconds(100));
        assert_eq!(one(&counting), (4, Some(seconds(161))), "those ahead count from now on");
        counting.advance(seconds(161));
        assert_eq!(one(&counting).0, 0);
    }

    #[test]
    fn long_windows_use_wider_buckets() {
        let mut counting = counting(86_400, &(0..86_400).step_by(10).collect::<Vec<_>>());
        counting.advance(seconds(86_400));
        let buckets = counting.groups.values().next().unwrap().buckets.len();
        assert!(buckets <= 601, "{buckets}");
    }
}
