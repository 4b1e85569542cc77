//! Decides: what a batch of the log adds to which issue, and which events are kept. Pure.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};

use watchfire_types::{LogBatch, Timestamp};

use super::detect::Detector;
use super::fingerprint::Grouped;
use super::originals::Originals;
use super::rules::GroupingRules;
use super::types::ErrorEvent;
use super::users::Users;

/// Events of one issue and one batch that are kept, from its beginning and from its end: a storm says the same again and again.
const KEPT_OF_A_BATCH: usize = 50;
/// Stands for values of a tag beyond those that are told apart.
pub const OTHERS: &str = "(others)";
const NANOS_PER_HOUR: u64 = 3_600_000_000_000;

/// Different values of a tag of one issue that are told apart in one batch.
const MAX_VALUES_OF_A_BATCH: usize = 100;

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
    /// Releases, an empty one where none was named, with the last log record and the least and greatest event time of each.
    pub releases: BTreeMap<String, (u64, Timestamp, Timestamp)>,
    /// How often each tag had each value.
    pub tags: BTreeMap<(String, String), u64>,
    /// Who met it.
    pub users: Users,
    /// The first events.
    pub first: Vec<(u64, ErrorEvent)>,
    /// The last events after those.
    pub last: VecDeque<(u64, ErrorEvent)>,
}

impl Occurrences {
    fn new(grouped: &Grouped, seq: u64, time: Timestamp) -> Self {
        Self {
            grouped: grouped.clone(),
            kind: String::new(),
            severity: 0,
            count: 0,
            seen: (time, time),
            seqs: (seq, seq),
            hours: BTreeMap::new(),
            releases: BTreeMap::new(),
            tags: BTreeMap::new(),
            users: Users::default(),
            first: Vec::new(),
            last: VecDeque::new(),
        }
    }

    /// Counts `event`, which comes after all others.
    fn add(&mut self, event: &ErrorEvent, grouped: Grouped, seq: u64) {
        let time = event.timestamp;
        self.kind.clone_from(&event.kind);
        self.severity = event.severity().0;
        self.count += 1;
        self.seen = (self.seen.0.min(time), self.seen.1.max(time));
        self.seqs.1 = seq;
        *self.hours.entry(hour(time)).or_default() += 1;
        self.grouped = grouped;
        let seen = self.releases.entry(event.release.clone()).or_insert((seq, time, time));
        *seen = (seq, seen.1.min(time), seen.2.max(time));
        if !event.user.is_empty() {
            self.users.insert(&event.user);
        }
        let own = [
            ("release", &event.release),
            ("environment", &event.environment),
            ("server", &event.server),
            ("transaction", &event.transaction),
        ];
        let tags =
            event.tags.iter().filter(|(key, _)| own.iter().all(|(own, _)| own != key)).map(|(key, value)| (key.as_str(), value));
        for (key, value) in own.into_iter().filter(|(_, value)| !value.is_empty()).chain(tags) {
            let known = self.tags.len();
            match self.tags.get_mut(&(key.to_owned(), value.clone())) {
                Some(count) => *count += 1,
                None if known < MAX_VALUES_OF_A_BATCH * 10 => {
                    self.tags.insert((key.to_owned(), value.clone()), 1);
                }
                None => *self.tags.entry((key.to_owned(), OTHERS.to_owned())).or_default() += 1,
            }
        }
    }

    /// Keeps `event`, if it is among the first, or until it is no longer among the last.
    fn keep(&mut self, seq: u64, event: ErrorEvent) {
        if self.first.len() < KEPT_OF_A_BATCH {
            self.first.push((seq, event));
            return;
        }
        if self.last.len() == KEPT_OF_A_BATCH {
            self.last.pop_front();
        }
        self.last.push_back((seq, event));
    }

    /// Adds `other`, which is the same issue by another fingerprint.
    pub fn merge(&mut self, other: Self) {
        if other.seqs.1 >= self.seqs.1 {
            (self.kind, self.severity, self.grouped) = (other.kind, other.severity, other.grouped);
        }
        self.count += other.count;
        self.seen = (self.seen.0.min(other.seen.0), self.seen.1.max(other.seen.1));
        self.seqs = (self.seqs.0.min(other.seqs.0), self.seqs.1.max(other.seqs.1));
        for (hour, count) in other.hours {
            *self.hours.entry(hour).or_default() += count;
        }
        for (release, (seq, first, last)) in other.releases {
            let seen = self.releases.entry(release).or_insert((seq, first, last));
            *seen = (seen.0.max(seq), seen.1.min(first), seen.2.max(last));
        }
        for (tag, count) in other.tags {
            *self.tags.entry(tag).or_default() += count;
        }
        self.users.merge(&other.users);
        let mut events: Vec<_> = std::mem::take(&mut self.first).into_iter().chain(std::mem::take(&mut self.last)).collect();
        events.extend(other.first.into_iter().chain(other.last));
        events.sort_by_key(|(seq, _)| *seq);
        events.into_iter().for_each(|(seq, event)| self.keep(seq, event));
    }

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

/// Finds the error events of `batch` and gathers them by fingerprint.
#[must_use]
pub fn gather(
    batch: &LogBatch,
    auto_capture: bool,
    rules: &GroupingRules,
    originals: &dyn Originals,
) -> BTreeMap<String, Occurrences> {
    let mut issues: BTreeMap<String, Occurrences> = BTreeMap::new();
    for row in Detector::new(batch, auto_capture).rows() {
        let (event, grouped) = ErrorEvent::grouped(batch, row, rules, originals);
        let seq = batch.seq.get(row).copied().unwrap_or(0);
        let known = issues.get_mut(&grouped.fingerprint);
        let issue = match known {
            Some(issue) => issue,
            None => issues.entry(grouped.fingerprint.clone()).or_insert_with(|| Occurrences::new(&grouped, seq, event.timestamp)),
        };
        issue.add(&event, grouped, seq);
        issue.keep(seq, event);
    }
    // Only what is kept is copied as a whole.
    for (seq, event) in issues.values_mut().flat_map(|issue| issue.first.iter_mut().chain(&mut issue.last)) {
        if let Ok(row) = batch.seq.binary_search(seq) {
            event.add_details(batch, row);
        }
    }
    issues
}

/// Adds `later`, what comes after it in the log, to `groups`.
pub fn merge(groups: &mut BTreeMap<String, Occurrences>, later: BTreeMap<String, Occurrences>) {
    for (fingerprint, occurrences) in later {
        match groups.entry(fingerprint) {
            Entry::Occupied(mut known) => known.get_mut().merge(occurrences),
            Entry::Vacant(free) => {
                free.insert(occurrences);
            }
        }
    }
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
