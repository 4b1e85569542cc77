//! How many log records of which kind arrived lately: what log rules compare with their threshold.
//!
//! A record counts from its arrival for the rule's window. What is read live arrives when it is read, whatever the sender's clock
//! says; what had been stored before (a restart, a new rule) arrived when its sender observed it, as there is nothing better. What
//! happened more than the window and an hour before it arrived is the import of something old, and does not count.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use watchfire_types::attributes::keys;
use watchfire_types::{LogBatch, Timestamp};

use super::counting::{Counting, MAX_VALUE_BYTES, cut};
use super::types::{Comparison, Condition, RecordFilter, Rule};
use super::windows::RuleGroup;

/// How much older than its window an event may be and still count: senders catch up after an outage, but imports raise no alert.
pub const LATE: Duration = Duration::from_secs(3600);

/// Tells whether a record is meant by a rule's filter.
pub trait RecordMatcher: Send + Sync {
    /// Returns whether row `row` of `batch` matches.
    fn matches(&self, batch: &LogBatch, row: usize) -> bool;
}

/// Makes the matcher of a filter.
pub type MatcherFactory = Arc<dyn Fn(&RecordFilter) -> Box<dyn RecordMatcher> + Send + Sync>;

/// The windows of all log rules.
#[derive(Default)]
pub struct LogWindows {
    rules: HashMap<String, RuleWindow>,
    /// Whether every record of the longest window has been seen since the start; before that, counts are too low.
    pub ready: bool,
    dropped: u64,
}

struct RuleWindow {
    /// What it was made for: a changed rule gets a new one.
    condition: Condition,
    /// Records up to this one had been stored when the rule was first seen.
    stored: u64,
    /// The last record seen; when the log is read again, those up to it have been counted.
    seen: u64,
    matcher: Box<dyn RecordMatcher>,
    group_by: Vec<String>,
    counting: Counting,
}

impl LogWindows {
    /// Returns empty windows for the log rules among `rules`. Records after `stored` are read live.
    #[must_use]
    pub fn new(rules: &[Rule], factory: &MatcherFactory, stored: u64) -> Self {
        let windows = rules.iter().filter_map(|rule| {
            let Condition::LogCount { filter, group_by } = &rule.condition else { return None };
            let window = RuleWindow {
                condition: rule.condition.clone(),
                stored,
                seen: 0,
                matcher: factory(filter),
                group_by: group_by.clone(),
                counting: Counting::new(rule.window),
            };
            Some((rule.name.clone(), window))
        });
        Self { rules: windows.collect(), ready: false, dropped: 0 }
    }

    /// Takes over what `older` windows have counted for rules that are the same still.
    pub fn keep(&mut self, mut older: Self) {
        for (name, window) in &mut self.rules {
            let same = |old: &RuleWindow| old.condition == window.condition && old.counting.window() == window.counting.window();
            if older.rules.get(name).is_some_and(same) {
                *window = older.rules.remove(name).expect("was just found");
            }
        }
        self.dropped += older.dropped;
    }

    /// Returns whether there is no log rule, so that nobody need read the log.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Returns the longest window: how far back the log is read after a start.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.rules.values().map(|rule| rule.counting.span()).max().unwrap_or_default()
    }

    /// Counts the records of `batch`, which is read at `now`, but for what has been counted and what delivery itself logged.
    ///
    /// Records without a position in the log have been stored before.
    pub fn observe(&mut self, batch: &LogBatch, now: Timestamp) {
        // A failing channel must not raise alerts that go out through itself.
        let deliveries = batch.dict.find(crate::delivery::LOG_TARGET);
        for rule in self.rules.values_mut() {
            for row in 0..batch.len() {
                let seq = batch.seq.get(row).copied().unwrap_or(0);
                if Some(batch.scope[row]) == deliveries || (seq > 0 && seq <= rule.seen) {
                    continue;
                }
                let observed = Timestamp::from_nanos(batch.observed[row]);
                let arrival = if seq > rule.stored { now } else { observed.min(now) };
                if rule.matcher.matches(batch, row) && !rule.count(batch, row, arrival, now) {
                    self.dropped += 1;
                }
            }
            rule.seen = rule.seen.max(batch.seq.last().copied().unwrap_or(0));
        }
    }

    /// Forgets what has left its window.
    pub fn advance(&mut self, now: Timestamp) {
        self.rules.values_mut().for_each(|rule| rule.counting.advance(now));
    }

    /// Returns the groups of rule `rule` that have a record in the window, as of the last [`Self::advance`].
    ///
    /// Without `group_by` there is always exactly one.
    #[must_use]
    pub fn groups(&self, rule: &str, comparison: Comparison, threshold: f64) -> Vec<RuleGroup<'_>> {
        let Some(window) = self.rules.get(rule) else { return Vec::new() };
        let counts = window.counting.groups(comparison, threshold);
        let mut groups: Vec<_> = counts.map(|count| RuleGroup::new(&window.group_by, &count, None)).collect();
        if window.group_by.is_empty() && groups.is_empty() {
            groups.push(RuleGroup::default());
        }
        groups
    }

    /// Returns how many matching records were not counted since the last call, because their rule has too many groups.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}

impl RuleWindow {
    /// Counts one record that came at `arrival`; returns false if it would be one group too many.
    fn count(&mut self, batch: &LogBatch, row: usize, arrival: Timestamp, now: Timestamp) -> bool {
        let event = Timestamp::from_nanos(batch.time[row]);
        if self.counting.is_over(arrival, now) || event.plus(self.counting.window()).plus(LATE) <= arrival {
            return true;
        }
        let values = self.group_by.iter().map(|key| cut(value_of(batch, row, key), MAX_VALUE_BYTES)).collect();
        self.counting.count(values, arrival).is_some()
    }
}

/// Returns the value by which row `row` is grouped.
fn value_of(batch: &LogBatch, row: usize, key: &str) -> String {
    if key == keys::SERVICE_NAME {
        return batch.service(row).to_owned();
    }
    if let Some(value) = batch.find_attribute(row, key) {
        return value.display();
    }
    let resource = batch.resources.get(batch.resource[row] as usize);
    let value = resource.and_then(|resource| resource.iter().find(|(name, _)| name == key));
    value.map_or_else(String::new, |(_, value)| value.as_ref().display())
}

#[cfg(test)]
pub(crate) mod testing {
    use watchfire_types::log::RecordHead;
    use watchfire_types::{Severity, ValueRef};

    use super::*;

    /// Matches level and services; enough for tests.
    pub(crate) struct ByLevel(RecordFilter);

    impl RecordMatcher for ByLevel {
        fn matches(&self, batch: &LogBatch, row: usize) -> bool {
            let filter = &self.0.log;
            filter.level.is_none_or(|level| batch.severity[row] >= level.0)
                && (filter.services.is_empty() || filter.services.iter().any(|service| service == batch.service(row)))
        }
    }

    pub(crate) fn factory() -> MatcherFactory {
        Arc::new(|filter| Box::new(ByLevel(filter.clone())))
    }

    /// Returns a batch of errors of `service` that happened, and by the sender's clock arrived, at the given seconds.
    pub(crate) fn errors(service: &str, seconds: &[u64]) -> LogBatch {
        let mut batch = LogBatch::default();
        let resource = batch.resource(vec![(keys::SERVICE_NAME.into(), service.into())]);
        for second in seconds {
            let observed = Timestamp::from_seconds(*second);
            let head = RecordHead { timestamp: observed, observed, severity: Severity::ERROR, resource, ..RecordHead::default() };
            batch.push(&head, ValueRef::Text("boom"));
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{errors, factory};
    use super::*;
    use crate::alerts::counting::MAX_GROUPS;
    use crate::alerts::engine::testing::{log_rule, seconds};

    fn windows(rule: &Rule) -> LogWindows {
        LogWindows::new(std::slice::from_ref(rule), &factory(), 0)
    }

    #[test]
    fn records_out_of_order_and_too_old_ones_count_rightly() {
        let rule = log_rule("burst", 60, 3.0, &[]);
        let mut windows = windows(&rule);
        windows.observe(&errors("api", &[120, 30, 110, 100, 110]), seconds(125));
        assert_eq!(windows.groups("burst", Comparison::Greater, 0.0)[0].count, 4);
        windows.advance(seconds(161));
        assert_eq!(windows.groups("burst", Comparison::Greater, 0.0)[0].count, 3);
    }

    fn with_seqs(mut batch: LogBatch, first: u64) -> LogBatch {
        batch.seq = (first..).take(batch.len()).collect();
        batch
    }

    fn count(windows: &LogWindows) -> u64 {
        windows.groups("burst", Comparison::Greater, 0.0)[0].count
    }

    #[test]
    fn what_is_read_live_counts_from_now_on_whatever_the_senders_clock_says() {
        let rule = log_rule("burst", 60, 1.0, &[]);
        let mut windows = LogWindows::new(std::slice::from_ref(&rule), &factory(), 10);
        let (behind, ahead) = (1_000, 900_000);
        windows.observe(&with_seqs(errors("api", &[behind, ahead]), 11), seconds(4_000));
        assert_eq!(count(&windows), 2);
        windows.advance(seconds(4_060));
        assert_eq!(count(&windows), 2, "at most one bucket too long");
        windows.advance(seconds(4_061));
        assert_eq!(count(&windows), 0);
    }

    #[test]
    fn what_was_stored_before_counts_from_when_it_was_observed() {
        let rule = log_rule("burst", 60, 1.0, &[]);
        let mut windows = LogWindows::new(std::slice::from_ref(&rule), &factory(), 10);
        windows.observe(&with_seqs(errors("api", &[1_000, 3_950, 900_000]), 8), seconds(4_000));
        assert_eq!(count(&windows), 2);
        windows.advance(seconds(4_011));
        assert_eq!(count(&windows), 1);
        windows.advance(seconds(4_061));
        assert_eq!(count(&windows), 0);
    }

    #[test]
    fn the_import_of_old_records_raises_no_alert() {
        let rule = log_rule("burst", 60, 1.0, &[]);
        let mut windows = LogWindows::new(std::slice::from_ref(&rule), &factory(), 0);
        let now = 100_000;
        let edge = now - 60 - LATE.as_secs();
        let mut batch = with_seqs(errors("api", &[edge, edge + 1]), 1);
        // An importer may give the present as the time of observation.
        batch.observed.fill(seconds(now).as_nanos());
        windows.observe(&batch, seconds(now));
        assert_eq!(count(&windows), 1);
    }

    #[test]
    fn a_rule_that_stays_keeps_its_count_when_others_change() {
        let rule = log_rule("burst", 60, 1.0, &[]);
        let mut windows = LogWindows::new(std::slice::from_ref(&rule), &factory(), 0);
        let behind = with_seqs(errors("api", &[1_000, 1_000]), 1);
        windows.observe(&behind, seconds(4_000));
        let rules = [Rule { threshold: 5.0, ..rule.clone() }, log_rule("other", 60, 1.0, &[])];
        let older = std::mem::replace(&mut windows, LogWindows::new(&rules, &factory(), 2));
        windows.keep(older);
        windows.observe(&behind, seconds(4_010));
        assert_eq!(count(&windows), 2, "counted once");
        assert_eq!(windows.groups("other", Comparison::Greater, 0.0)[0].count, 0, "a new rule sees no more than the stored times");
        let changed = Rule { window: Duration::from_secs(90), ..rule };
        let older = std::mem::replace(&mut windows, LogWindows::new(&[changed], &factory(), 2));
        windows.keep(older);
        assert_eq!(count(&windows), 0);
    }

    #[test]
    fn groups_are_counted_apart_and_bounded() {
        let rule = log_rule("burst", 60, 1.0, &["service.name"]);
        let mut windows = windows(&rule);
        assert!(windows.groups("burst", Comparison::GreaterOrEqual, 1.0).is_empty());
        for service in 0..MAX_GROUPS + 5 {
            windows.observe(&errors(&format!("s{service}"), &[100]), seconds(100));
        }
        assert_eq!(windows.groups("burst", Comparison::GreaterOrEqual, 1.0).len(), MAX_GROUPS);
        assert_eq!(windows.take_dropped(), 5);
    }

    #[test]
    fn what_delivery_logs_about_its_failures_raises_no_alert() {
        let rule = log_rule("burst", 60, 1.0, &[]);
        let mut windows = windows(&rule);
        let mut batch = LogBatch::default();
        let mut record = errors("watchfire", &[100]).record(0);
        for scope in ["watchfire::alerts", crate::delivery::LOG_TARGET] {
            record.scope = scope.to_owned();
            batch.push_record(&record);
        }
        windows.observe(&batch, seconds(100));
        assert_eq!(windows.groups("burst", Comparison::Greater, 0.0)[0].count, 1);
    }

    #[test]
    fn a_long_value_is_cut_before_it_becomes_a_label() {
        let batch = errors(&"ä".repeat(1 << 20), &[1]);
        let value = cut(value_of(&batch, 0, keys::SERVICE_NAME), MAX_VALUE_BYTES);
        assert!(value.len() < 2 * MAX_VALUE_BYTES && value.ends_with("ä…"), "{}", value.len());
    }
}
