//! Decides: what a batch of the log adds to which issue, and which events are kept. Pure.

use std::collections::{BTreeMap, HashMap, VecDeque};

use watchfire_types::{LogBatch, Timestamp};

use super::detect::Detector;
use super::fingerprint::Grouped;
use super::types::ErrorEvent;

/// Events of one issue and one batch that are kept, from its beginning and from its end: a storm says the same again and again.
const KEPT_OF_A_BATCH: usize = 50;
const NANOS_PER_HOUR: u64 = 3_600_000_000_000;

/// What one batch has of one issue.
#[derive(Clone, Debug, PartialEq)]
pub struct Occurrences {
    /// The issue, as its last occurrence shows it.
    pub grouped: Grouped,
    /// Class of the exception.
    pub kind: String,
    /// The last occurrence's severity.
    pub severity: u8,
    /// How many.
    pub count: u64,
    /// Least and greatest event time.
    pub seen: (Timestamp, Timestamp),
    /// First and last log record.
    pub seqs: (u64, u64),
    /// How many in each hour.
    pub hours: BTreeMap<u64, u64>,
    /// The first events.
    pub first: Vec<(u64, ErrorEvent)>,
    /// The last events after those.
    pub last: VecDeque<(u64, ErrorEvent)>,
}

impl Occurrences {
    /// Returns the events to keep, oldest first.
    pub fn kept(&self) -> impl Iterator<Item = &(u64, ErrorEvent)> {
        self.first.iter().chain(&self.last)
    }

    /// Returns the last event.
    #[must_use]
    pub fn sample(&self) -> Option<&ErrorEvent> {
        self.last.back().or(self.first.last()).map(|(_, event)| event)
    }
}

/// Returns the hour since 1970 in which `time` lies.
#[must_use]
pub fn hour(time: Timestamp) -> u64 {
    time.as_nanos() / NANOS_PER_HOUR
}

/// Finds the error events of `batch` and gathers them by issue.
#[must_use]
pub fn gather(batch: &LogBatch, auto_capture: bool) -> BTreeMap<String, Occurrences> {
    let mut issues: BTreeMap<String, Occurrences> = BTreeMap::new();
    for row in Detector::new(batch, auto_capture).rows() {
        let (event, grouped) = ErrorEvent::grouped(batch, row);
        let (seq, time) = (batch.seq.get(row).copied().unwrap_or(0), event.timestamp);
        let issue = issues.entry(grouped.id().to_owned()).or_insert_with(|| Occurrences {
            grouped: grouped.clone(),
            kind: String::new(),
            severity: 0,
            count: 0,
            seen: (time, time),
            seqs: (seq, seq),
            hours: BTreeMap::new(),
            first: Vec::new(),
            last: VecDeque::new(),
        });
        issue.kind.clone_from(&event.kind);
        issue.severity = event.severity().0;
        issue.count += 1;
        issue.seen = (issue.seen.0.min(time), issue.seen.1.max(time));
        issue.seqs.1 = seq;
        *issue.hours.entry(hour(time)).or_default() += 1;
        issue.grouped = grouped;
        if issue.first.len() < KEPT_OF_A_BATCH {
            issue.first.push((seq, event));
        } else {
            if issue.last.len() == KEPT_OF_A_BATCH {
                issue.last.pop_front();
            }
            issue.last.push_back((seq, event));
        }
    }
    issues
}

/// Says which of `events`, given by their issue and oldest first, to drop so that `most` are left: repeats of frequent issues first;
/// the first and the last of an issue only when there are more issues than that, those that are longest silent first.
#[must_use]
pub fn thin<K: Eq + std::hash::Hash>(events: &[K], most: usize) -> Vec<usize> {
    if events.len() <= most {
        return Vec::new();
    }
    let mut issues: HashMap<&K, Vec<usize>> = HashMap::new();
    for (index, issue) in events.iter().enumerate() {
        issues.entry(issue).or_default().push(index);
    }
    let left = |cap: usize| issues.values().map(|of| of.len().min(cap)).sum::<usize>();
    // The largest number per issue that fits: at least the first and the last.
    let (mut fits, mut too_many) = (2, events.len() + 1);
    while too_many - fits > 1 {
        let middle = usize::midpoint(fits, too_many);
        if left(middle) <= most { fits = middle } else { too_many = middle }
    }
    let mut dropped: Vec<usize> =
        issues.values().filter(|of| of.len() > fits).flat_map(|of| of[1..=of.len() - fits].iter().copied()).collect();
    let excess = (events.len() - dropped.len()).saturating_sub(most);
    if excess > 0 {
        let mut silent: Vec<&Vec<usize>> = issues.values().collect();
        silent.sort_unstable_by_key(|of| of.last());
        let ends = silent.iter().flat_map(|of| [of.first(), of.last()].into_iter().flatten().copied().take(of.len().min(2)));
        dropped.extend(ends.take(excess));
    }
    dropped.sort_unstable();
    dropped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn repeats_go_first_and_the_ends_of_an_issue_stay() {
        let events = ["often", "often", "rare", "often", "often", "often"];
        assert_eq!(thin(&events, 6), [] as [usize; 0]);
        assert_eq!(thin(&events, 4), [1, 3]);
        assert_eq!(thin(&events, 3), [1, 3, 4]);
        // No room for the ends of every issue: the one that is longest silent goes.
        assert_eq!(thin(&events, 2), [1, 2, 3, 4]);
        assert_eq!(thin(&events, 0).len(), 6);
    }

    proptest! {
        #[test]
        fn no_more_than_allowed_are_left(events in proptest::collection::vec(0_u8..6, 0..60), most in 0_usize..40) {
            let dropped = thin(&events, most);
            prop_assert!(dropped.is_sorted_by(|left, right| left < right));
            prop_assert_eq!(events.len() - dropped.len(), events.len().min(most).min(events.len() - dropped.len()));
            let issues: std::collections::HashSet<_> = events.iter().collect();
            if issues.len() * 2 <= most {
                for issue in issues {
                    let first = events.iter().position(|event| event == issue).unwrap();
                    let last = events.iter().rposition(|event| event == issue).unwrap();
                    prop_assert!(!dropped.contains(&first) && !dropped.contains(&last));
                }
            }
        }
    }
}
