//! How many events of which kind came lately: what rules over findings and issues compare with their threshold.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use watchfire_types::Timestamp;

use super::annotations;
use super::counting::{Counting, MAX_VALUE_BYTES, cut};
use super::events::{Event, EventFilter};
use super::identity::Labels;
use super::types::{Comparison, Condition, Rule};
use super::windows::RuleGroup;

/// Most labels of an event that become labels of its alert.
const MAX_LABELS: usize = 32;
/// Longest name of such a label, in bytes.
const MAX_NAME_BYTES: usize = 128;

/// The windows of all rules over events.
#[derive(Default)]
pub struct EventWindows {
    rules: HashMap<String, RuleWindow>,
    /// Sources of which every event of the longest window has been seen since the start.
    ready: BTreeSet<&'static str>,
    dropped: u64,
}

struct RuleWindow {
    filter: EventFilter,
    group_by: Vec<String>,
    /// The last event seen; when the source is read again, those up to it have been counted.
    seen: u64,
    /// Whether the analyzer that the rule names has found anything.
    met: bool,
    /// Whether events are left out since there are too many groups.
    full: bool,
    counting: Counting<Arc<Newest>>,
}

/// What the newest event of a group says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Newest {
    /// In a few words.
    pub title: String,
    /// In some more.
    pub message: String,
    /// Its labels, if each alert is about one key.
    pub labels: Labels,
}

impl Newest {
    fn of(event: &Event, by_key: bool) -> Self {
        let fits = |(name, _): &(&String, &String)| !name.is_empty() && name.len() <= MAX_NAME_BYTES;
        let labels = event.labels.iter().filter(fits).take(if by_key { MAX_LABELS } else { 0 });
        Self {
            title: cut(event.title.clone(), MAX_VALUE_BYTES),
            message: cut(event.message.clone(), annotations::MAX_BYTES),
            labels: labels.map(|(name, value)| (name.clone(), cut(value.clone(), MAX_VALUE_BYTES))).collect(),
        }
    }
}

impl EventWindows {
    /// Returns empty windows for the rules over events among `rules`.
    #[must_use]
    pub fn new(rules: &[Rule]) -> Self {
        let windows = rules.iter().filter_map(|rule| {
            let Condition::Events { filter, group_by } = &rule.condition else { return None };
            let window = RuleWindow {
                filter: filter.clone(),
                group_by: group_by.clone(),
                seen: 0,
                met: false,
                full: false,
                counting: Counting::new(rule.window),
            };
            Some((rule.name.clone(), window))
        });
        Self { rules: windows.collect(), ..Self::default() }
    }

    /// Takes over what `older` windows have counted for rules that are the same still.
    pub fn keep(&mut self, mut older: Self) {
        for (name, window) in &mut self.rules {
            let same = |old: &RuleWindow| {
                old.filter == window.filter && old.group_by == window.group_by && old.counting.window() == window.counting.window()
            };
            if older.rules.get(name).is_some_and(same) {
                *window = older.rules.remove(name).expect("was just found");
            }
        }
        self.dropped += older.dropped;
    }

    /// Returns how far back `source` is read after a start; `None` if no rule looks at it.
    #[must_use]
    pub fn longest(&self, source: &str) -> Option<Duration> {
        let rules = self.rules.values().filter(|rule| rule.filter.source() == source);
        rules.map(|rule| rule.counting.span()).max()
    }

    /// Returns whether every event of `source` that can count has been seen; before that, counts are too low.
    #[must_use]
    pub fn is_ready(&self, source: &str) -> bool {
        self.ready.contains(source)
    }

    /// Takes note that all of `source` has been seen.
    pub fn set_ready(&mut self, source: &'static str) {
        self.ready.insert(source);
    }

    /// Counts events of `source`, in order, each from its arrival, but for those that have been counted.
    pub fn observe(&mut self, source: &str, events: &[(Event, Timestamp)], now: Timestamp) {
        for rule in self.rules.values_mut().filter(|rule| rule.filter.source() == source) {
            let seen = rule.seen;
            for (event, arrival) in events.iter().filter(|(event, _)| event.position > seen) {
                rule.met |= matches!(&rule.filter, EventFilter::Finding { analyzer: Some(name), .. } if *name == event.source);
                if !rule.counting.is_over(*arrival, now) && rule.filter.matches(event) && !rule.count(event, *arrival) {
                    rule.full = true;
                    self.dropped += 1;
                }
            }
            rule.seen = rule.seen.max(events.last().map_or(0, |(event, _)| event.position));
        }
    }

    /// Makes everything older by `by`: the clock stepped back.
    pub fn shift_back(&mut self, by: Duration) {
        self.rules.values_mut().for_each(|rule| rule.counting.shift_back(by));
    }

    /// Forgets what has left its window.
    pub fn advance(&mut self, now: Timestamp) {
        for rule in self.rules.values_mut() {
            rule.counting.advance(now);
            rule.full &= rule.counting.is_full();
        }
    }

    /// Returns the groups of rule `rule` that have an event in the window, as of the last [`Self::advance`].
    #[must_use]
    pub fn groups(&self, rule: &str, comparison: Comparison, threshold: f64) -> Vec<RuleGroup<'_>> {
        let Some(window) = self.rules.get(rule) else { return Vec::new() };
        let counts = window.counting.groups(comparison, threshold);
        let group = |count| {
            if window.group_by.is_empty() {
                RuleGroup::new(window.filter.identity(), &count, Some(count.note))
            } else {
                RuleGroup::new(&window.group_by, &count, Some(count.note))
            }
        };
        counts.map(group).collect()
    }

    /// Returns the analyzer that rule `rule` names and that has found nothing as far as was read.
    #[must_use]
    pub fn unmet(&self, rule: &str) -> Option<&str> {
        match self.rules.get(rule) {
            Some(RuleWindow { filter: EventFilter::Finding { analyzer: Some(name), .. }, met: false, .. }) => Some(name.as_str()),
            _ => None,
        }
    }

    /// Returns whether events of rule `rule` were left out since it has too many groups.
    #[must_use]
    pub fn is_full(&self, rule: &str) -> bool {
        self.rules.get(rule).is_some_and(|rule| rule.full)
    }

    /// Returns how many matching events were not counted since the last call, because their rule has too many groups.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}

impl RuleWindow {
    /// Counts one event that came at `arrival`; returns false if it would be one group too many.
    fn count(&mut self, event: &Event, arrival: Timestamp) -> bool {
        let by_key = self.group_by.is_empty();
        let value = |name: &str| cut(self.filter.value_of(event, name).to_owned(), MAX_VALUE_BYTES);
        let values = if by_key {
            self.filter.identity().iter().map(|name| value(name)).collect()
        } else {
            self.group_by.iter().map(|name| value(name)).collect()
        };
        let Some(newest) = self.counting.count(values, arrival) else { return false };
        *newest = Arc::new(Newest::of(event, by_key));
        true
    }
}
