//! What all rules that count have counted.

use std::sync::Arc;

use watchfire_types::Timestamp;

use super::counting::Count;
use super::event_windows::{EventWindows, Newest};
use super::log_windows::{LogWindows, MatcherFactory};
use super::types::{Condition, Rule};

/// The windows of all rules that count.
#[derive(Default)]
pub struct Windows {
    /// Those that count log records.
    pub logs: LogWindows,
    /// Those that count what others find.
    pub events: EventWindows,
}

/// One group of a rule as it stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleGroup<'a> {
    /// Names and values of what is grouped by.
    pub labels: Vec<(&'a str, &'a str)>,
    /// Records or events within the window.
    pub count: u64,
    /// When the comparison changes its outcome if nothing more arrives.
    pub flips_at: Option<Timestamp>,
    /// The newest event of the group, if these are events.
    pub newest: Option<&'a Arc<Newest>>,
}

impl<'a> RuleGroup<'a> {
    /// Returns the group of `count`, with the names of what is grouped by.
    #[must_use]
    pub fn new<N>(names: &'a [impl AsRef<str>], count: &Count<'a, N>, newest: Option<&'a Arc<Newest>>) -> Self {
        let values = count.values.iter().map(String::as_str);
        Self { labels: names.iter().map(AsRef::as_ref).zip(values).collect(), count: count.count, flips_at: count.flips_at, newest }
    }
}

impl Windows {
    /// Returns empty windows for those of `rules` that count. Log records after `stored` are read live.
    #[must_use]
    pub fn new(rules: &[Rule], factory: &MatcherFactory, stored: u64) -> Self {
        Self { logs: LogWindows::new(rules, factory, stored), events: EventWindows::new(rules) }
    }

    /// Takes over what `older` windows have counted for rules that are the same still.
    pub fn keep(&mut self, older: Self) {
        self.logs.keep(older.logs);
        self.events.keep(older.events);
    }

    /// Forgets what has left its window.
    pub fn advance(&mut self, now: Timestamp) {
        self.logs.advance(now);
        self.events.advance(now);
    }

    /// Returns the groups of `rule` as of the last [`Self::advance`]; `None` while its counts are not complete yet.
    #[must_use]
    pub fn groups(&self, rule: &Rule) -> Option<Vec<RuleGroup<'_>>> {
        match &rule.condition {
            Condition::Metric { .. } => None,
            Condition::LogCount { .. } => self.logs.ready.then(|| self.logs.groups(&rule.name, rule.comparison, rule.threshold)),
            Condition::Events { filter, .. } => {
                let ready = self.events.is_ready(filter.source());
                ready.then(|| self.events.groups(&rule.name, rule.comparison, rule.threshold))
            }
        }
    }
}
