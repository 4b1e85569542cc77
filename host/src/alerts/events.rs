//! What other engines find, one moment each, as rules see it.

use std::collections::BTreeMap;

use tokio::sync::watch;
use watchfire_types::{Severity, Timestamp};

use crate::store::StoreError;

/// Name of the source of findings.
pub const FINDINGS: &str = "findings";
/// Name of the source of new and returned issues.
pub const ISSUES: &str = "issues";

/// Something that was found at one moment: a finding of an analyzer, a new issue.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Strictly increasing per source, from 1.
    pub position: u64,
    /// When it was stored.
    pub at: Timestamp,
    /// How serious it is.
    pub severity: Severity,
    /// Who found it: an analyzer's name, or `errors`.
    pub source: String,
    /// What kind of thing: a finding's rule; for issues `new` or `regressed`.
    pub kind: String,
    /// Equal for what is one ongoing thing: a finding's dedupe key, an issue's id.
    pub key: String,
    /// In a few words.
    pub title: String,
    /// In some more.
    pub message: String,
    /// What tells it from others.
    pub labels: BTreeMap<String, String>,
    /// How often it was seen.
    pub count: u64,
}

/// Where rules read such events. Its calls may block on disk.
pub trait EventSource: Send + Sync {
    /// Returns at most `limit` events after `position`, in order. Those that retention took are left out.
    ///
    /// # Errors
    /// The store's.
    fn events_after(&self, position: u64, limit: usize) -> Result<Vec<Event>, StoreError>;
    /// Returns the position before the first event that was stored at `time` or later; the last position there ever was if there is
    /// none.
    ///
    /// # Errors
    /// The store's.
    fn position_at(&self, time: Timestamp) -> Result<u64, StoreError>;
    /// Returns a receiver of the last position there ever was, which it knows from the start. It grows when events can be read.
    fn stored(&self) -> watch::Receiver<u64>;
}

/// Which events a rule counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventFilter {
    /// Findings of analyzers.
    Finding {
        /// Of this analyzer only.
        analyzer: Option<String>,
        /// With this rule of the analyzer only.
        rule: Option<String>,
        /// Least severity.
        level: Option<Severity>,
        /// Labels that must be equal.
        labels: Vec<(String, String)>,
    },
    /// Issues that are new, or have come back.
    NewIssue {
        /// With this label `service` only.
        service: Option<String>,
        /// Least severity.
        level: Option<Severity>,
        /// Whether resolved issues that come back count too.
        regressions: bool,
    },
}

impl EventFilter {
    /// Returns the name of the source it reads.
    #[must_use]
    pub const fn source(&self) -> &'static str {
        match self {
            Self::Finding { .. } => FINDINGS,
            Self::NewIssue { .. } => ISSUES,
        }
    }

    /// Returns whether `event`, which is of the right source, counts.
    #[must_use]
    pub fn matches(&self, event: &Event) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        match self {
            Self::Finding { analyzer, rule, level, labels } => {
                is(analyzer, &event.source)
                    && is(rule, &event.kind)
                    && level.is_none_or(|level| event.severity >= level)
                    && labels.iter().all(|(name, value)| event.labels.get(name) == Some(value))
            }
            Self::NewIssue { service, level, regressions } => {
                is(service, event.labels.get("service").map_or("", String::as_str))
                    && level.is_none_or(|level| event.severity >= level)
                    && (*regressions || event.kind == "new")
            }
        }
    }

    /// Returns the names of what tells the alerts of a rule without `group_by` apart: who found it and its key.
    #[must_use]
    pub const fn identity(&self) -> &'static [&'static str] {
        match self {
            Self::Finding { .. } => &["analyzer", "key"],
            Self::NewIssue { .. } => &["issue"],
        }
    }

    /// Returns what `name` of `group_by` or of [`Self::identity`] is for `event`: one of its fields, or a label.
    #[must_use]
    pub fn value_of<'a>(&self, event: &'a Event, name: &str) -> &'a str {
        match (self, name) {
            (_, "key") | (Self::NewIssue { .. }, "issue") => &event.key,
            (Self::Finding { .. }, "analyzer") => &event.source,
            (Self::Finding { .. }, "rule") | (Self::NewIssue { .. }, "kind") => &event.kind,
            _ => event.labels.get(name).map_or("", String::as_str),
        }
    }

    /// Returns what counts, in words: `findings of ssh-brute-force (rule brute_force)`.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Finding { analyzer, rule, level, labels } => {
                let of = analyzer.as_ref().map(|name| format!(" of {name}")).unwrap_or_default();
                let rule = rule.as_ref().map(|rule| format!("rule {rule}"));
                let labels = labels.iter().map(|(name, value)| format!("{name}={value}"));
                format!("findings{of}{}", in_brackets(rule.into_iter().chain(level.map(level_word)).chain(labels)))
            }
            Self::NewIssue { service, level, regressions } => {
                let subject = if *regressions { "new and returned issues" } else { "new issues" };
                let service = service.as_ref().map(|name| format!("service {name}"));
                format!("{subject}{}", in_brackets(service.into_iter().chain(level.map(level_word))))
            }
        }
    }
}

fn level_word(level: Severity) -> String {
    format!("level {level}")
}

/// Returns ` (a, b)`, or nothing for no parts.
pub(super) fn in_brackets(parts: impl Iterator<Item = String>) -> String {
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}

#[cfg(test)]
pub(crate) mod testing {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use parking_lot::Mutex;

    use super::*;

    /// Events in memory, which outlive the host.
    #[derive(Clone)]
    pub(crate) struct TestEvents(Arc<Inner>);

    struct Inner {
        events: Mutex<Vec<Event>>,
        stored: watch::Sender<u64>,
        broken: AtomicBool,
    }

    impl TestEvents {
        pub(crate) fn new() -> Self {
            Self(Arc::new(Inner { events: Mutex::default(), stored: watch::Sender::new(0), broken: AtomicBool::new(false) }))
        }

        /// Stores an event about `key` at `at`, as `change` makes it.
        pub(crate) fn push_with(&self, key: &str, at: Timestamp, change: impl FnOnce(&mut Event)) {
            let position = *self.0.stored.borrow() + 1;
            let mut event = finding(key, position, at);
            change(&mut event);
            self.0.events.lock().push(event);
            self.0.stored.send_replace(position);
        }

        pub(crate) fn push(&self, key: &str, at: Timestamp) {
            self.push_with(key, at, |_| {});
        }

        /// Retention takes everything.
        pub(crate) fn forget(&self) {
            self.0.events.lock().clear();
        }

        pub(crate) fn set_broken(&self, broken: bool) {
            self.0.broken.store(broken, Ordering::Relaxed);
        }

        fn check(&self) -> Result<(), StoreError> {
            let broken = self.0.broken.load(Ordering::Relaxed);
            if broken { Err(StoreError::Damaged { place: "analysis.db".into(), what: "rust".into() }) } else { Ok(()) }
        }
    }

    impl EventSource for TestEvents {
        fn events_after(&self, position: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
            self.check()?;
            let events = self.0.events.lock();
            Ok(events.iter().filter(|event| event.position > position).take(limit).cloned().collect())
        }

        fn position_at(&self, time: Timestamp) -> Result<u64, StoreError> {
            self.check()?;
            let first = self.0.events.lock().iter().find(|event| event.at >= time).map(|event| event.position - 1);
            Ok(first.unwrap_or(*self.0.stored.borrow()))
        }

        fn stored(&self) -> watch::Receiver<u64> {
            self.0.stored.subscribe()
        }
    }

    /// A finding of `ssh` about `key`.
    pub(crate) fn finding(key: &str, position: u64, at: Timestamp) -> Event {
        Event {
            position,
            at,
            severity: Severity::WARN,
            source: "ssh".into(),
            kind: "brute_force".into(),
            key: key.into(),
            title: format!("attack from {key}"),
            message: format!("finding {position}"),
            labels: BTreeMap::from([("ip".to_owned(), key.to_owned())]),
            count: 1,
        }
    }

    /// Takes every finding.
    pub(crate) fn any_finding() -> EventFilter {
        EventFilter::Finding { analyzer: None, rule: None, level: None, labels: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::finding;
    use super::*;

    #[test]
    fn all_that_a_rule_names_must_hold() {
        let event = finding("10.0.0.1", 1, Timestamp::ZERO);
        let filter = |analyzer: &str, rule: &str, level, label: &str| EventFilter::Finding {
            analyzer: Some(analyzer.into()),
            rule: Some(rule.into()),
            level: Some(level),
            labels: vec![("ip".into(), label.into())],
        };
        assert!(filter("ssh", "brute_force", Severity::WARN, "10.0.0.1").matches(&event));
        for other in [
            filter("sshd", "brute_force", Severity::WARN, "10.0.0.1"),
            filter("ssh", "scan", Severity::WARN, "10.0.0.1"),
            filter("ssh", "brute_force", Severity::ERROR, "10.0.0.1"),
            filter("ssh", "brute_force", Severity::WARN, "10.0.0.2"),
        ] {
            assert!(!other.matches(&event), "{other:?}");
        }
    }

    #[test]
    fn issues_that_come_back_count_if_wanted() {
        let mut event = Event { kind: "new".into(), source: "errors".into(), ..finding("7", 1, Timestamp::ZERO) };
        event.labels.insert("service".into(), "shop".into());
        let filter = |service: &str, regressions| EventFilter::NewIssue { service: Some(service.into()), level: None, regressions };
        assert!(filter("shop", false).matches(&event) && !filter("api", false).matches(&event));
        event.kind = "regressed".into();
        assert!(filter("shop", true).matches(&event) && !filter("shop", false).matches(&event));
        let any = filter("shop", true);
        assert_eq!(
            [any.value_of(&event, "issue"), any.value_of(&event, "kind"), any.value_of(&event, "x")],
            ["7", "regressed", ""]
        );
    }
}
