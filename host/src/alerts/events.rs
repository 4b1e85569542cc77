//! What other engines find, one moment each, as rules see it.

use std::collections::BTreeMap;

use tokio::sync::watch;
use watchfire_types::attributes::keys;
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
        /// Of this `service.name` only.
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
                is(service, event.labels.get(keys::SERVICE_NAME).map_or("", String::as_str))
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
