//! Rules, levels and states, in the terms of Prometheus and Alertmanager.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use watchfire_types::{Severity, Timestamp};

use super::events::{EventFilter, in_brackets};
use crate::config::HumanDuration;
use crate::logs::LogFilter;

/// The longest window of a rule: what it looks at is read again after a restart.
pub const MAX_WINDOW: Duration = Duration::from_secs(7 * 86_400);

/// How serious an alert is. Maps to severity numbers 9, 13, 17, 21.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
    utoipa::ToSchema,
)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// Good to know.
    Info,
    /// Look at it today.
    #[default]
    Warning,
    /// Something is broken.
    Error,
    /// Somebody must get up.
    Critical,
}

impl Level {
    /// Returns its OpenTelemetry severity number.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Self::Info => Severity::INFO,
            Self::Warning => Severity::WARN,
            Self::Error => Severity::ERROR,
            Self::Critical => Severity::FATAL,
        }
    }
}

/// How a value is compared with a threshold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
pub enum Comparison {
    /// Greater.
    #[default]
    #[serde(rename = ">")]
    Greater,
    /// Greater or equal.
    #[serde(rename = ">=")]
    GreaterOrEqual,
    /// Less.
    #[serde(rename = "<")]
    Less,
    /// Less or equal.
    #[serde(rename = "<=")]
    LessOrEqual,
    /// Equal.
    #[serde(rename = "==")]
    Equal,
    /// Not equal.
    #[serde(rename = "!=")]
    NotEqual,
}

/// What a series is reduced to before it is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Aggregate {
    /// Its newest sample.
    #[default]
    Last,
    /// Mean over the window.
    Avg,
    /// Least over the window.
    Min,
    /// Greatest over the window.
    Max,
    /// Increase of a counter over the window, resets taken into account.
    Increase,
    /// The same per second.
    Rate,
}

/// What a rule looks at. The one place that grows when rules learn something new.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// A metric: one alert per series.
    Metric {
        /// Metric name in either spelling.
        name: String,
        /// Labels that must be equal.
        labels: Vec<(String, String)>,
        /// How samples become one value.
        aggregate: Aggregate,
    },
    /// The number of log records that arrived within the window: one alert per value of `group_by`.
    ///
    /// Arrival is when the host got them, so a sender's wrong clock does not matter. Only what happened more than the window and an
    /// hour before does not count: the import of an old log raises no alert.
    LogCount {
        /// Which records count.
        filter: RecordFilter,
        /// Attributes (`service.name` or any other) whose values make separate alerts.
        group_by: Vec<String>,
    },
    /// The number of findings or new issues within the window.
    ///
    /// Each counts from when it was stored; one that the host could not look at then (it was down), from when it is first read.
    Events {
        /// Which events count.
        filter: EventFilter,
        /// Labels whose values make separate alerts; empty: one alert per dedupe key.
        group_by: Vec<String>,
    },
}

/// Which log records a rule counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecordFilter {
    /// What must hold of the record. Its times are not used.
    pub log: LogFilter,
    /// Whether only error events count, and which.
    pub errors: Option<ErrorFilter>,
}

/// Which error events a rule counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorFilter {
    /// Class of the exception, exactly.
    pub kind: Option<String>,
}

/// What to do when a rule's data stop coming.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum NoData {
    /// Pending starts again; firing stays.
    #[default]
    Keep,
    /// Counts as fine: firing resolves.
    Ok,
    /// Counts as broken.
    Alert,
}

/// Where a rule was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RuleOrigin {
    /// Comes with the host.
    Starter,
    /// Stands in the configuration file: read-only through the API.
    File,
    /// Made through the API.
    Api,
}

/// A checked alerting rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Unique.
    pub name: String,
    /// What it looks at.
    pub condition: Condition,
    /// How the value is compared.
    pub comparison: Comparison,
    /// What it is compared with.
    pub threshold: f64,
    /// How far back the condition looks. Default 5 min.
    pub window: Duration,
    /// How long it must hold before the alert fires (`for`). Default 0.
    pub hold_for: Duration,
    /// How long an alert goes on firing after the condition last held. Default 0.
    pub keep_firing_for: Duration,
    /// How serious it is.
    pub level: Level,
    /// Overrides `alerting.cooldown`.
    pub cooldown: Option<Duration>,
    /// The only receiver told; by default all of them.
    pub receiver: Option<String>,
    /// When data stop coming.
    pub no_data: NoData,
    /// Added to each of its alerts.
    pub labels: Vec<(String, String)>,
    /// `summary`, `description`, `runbook_url`; `{{value}}` and `{{labels.x}}` are filled in.
    pub annotations: Vec<(String, String)>,
    /// Where it was made.
    pub origin: RuleOrigin,
}

/// Where one alert stands, in Prometheus's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertState {
    /// The condition does not hold.
    Inactive,
    /// It holds, but not yet for the rule's `for`.
    Pending {
        /// Since when it has held.
        since: Timestamp,
    },
    /// It has held long enough; receivers are told.
    Firing {
        /// Since when it has been firing.
        since: Timestamp,
        /// When the condition was last seen to hold.
        held: Timestamp,
    },
}

/// What one look at the data says about a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observation {
    /// It holds.
    Holds,
    /// It does not.
    Fine,
    /// There are no data to tell.
    Gap,
}

impl AlertState {
    /// Returns the next state, given what was `seen` at `now`. A time that lies ahead (the clock stepped back) counts as now.
    #[must_use]
    pub fn step(self, seen: Observation, hold_for: Duration, keep_firing_for: Duration, now: Timestamp) -> Self {
        use Observation::{Fine, Gap, Holds};
        match (self, seen) {
            // Passes through `Pending`, so that `for = "0s"` fires on the first evaluation.
            (Self::Inactive, Holds) => Self::Pending { since: now }.step(seen, hold_for, keep_firing_for, now),
            (Self::Pending { since }, Holds) if now.since(since) >= hold_for => Self::Firing { since: now, held: now },
            (Self::Pending { since }, Holds) => Self::Pending { since: since.min(now) },
            (Self::Firing { since, .. }, Holds) => Self::Firing { since, held: now },
            (Self::Firing { since, held }, Fine) if now.since(held) < keep_firing_for => {
                Self::Firing { since, held: held.min(now) }
            }
            // An alert must not end because its exporter died.
            (Self::Firing { .. }, Gap) => self,
            (_, Fine | Gap) => Self::Inactive,
        }
    }

    /// Returns whether both are the same kind of state, whatever their times.
    #[must_use]
    pub fn same_kind(self, other: Self) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }

    /// Returns its name: `inactive`, `pending`, `firing`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Pending { .. } => "pending",
            Self::Firing { .. } => "firing",
        }
    }
}

impl Level {
    /// Returns its name as it stands in configurations: `WARNING`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
            Self::Critical => "CRITICAL",
        }
    }

    /// Returns the level called `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Info, Self::Warning, Self::Error, Self::Critical].into_iter().find(|level| level.name() == name)
    }
}

impl Comparison {
    /// Returns whether `value` stands in this relation to `threshold`.
    #[must_use]
    #[expect(clippy::float_cmp, reason = "`==` in a rule means exactly that")]
    pub fn holds(self, value: f64, threshold: f64) -> bool {
        match self {
            Self::Greater => value > threshold,
            Self::GreaterOrEqual => value >= threshold,
            Self::Less => value < threshold,
            Self::LessOrEqual => value <= threshold,
            Self::Equal => value == threshold,
            Self::NotEqual => value != threshold,
        }
    }

    /// Returns the sign as it stands in configurations.
    #[must_use]
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Equal => "==",
            Self::NotEqual => "!=",
        }
    }
}

impl Aggregate {
    /// Returns its name as it stands in configurations.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Last => "last",
            Self::Avg => "avg",
            Self::Min => "min",
            Self::Max => "max",
            Self::Increase => "increase",
            Self::Rate => "rate",
        }
    }
}

impl Rule {
    /// Returns the condition in one line: `avg(system.cpu_percent) over 5m > 80`, `log records (level ERROR) in 5m >= 10`.
    #[must_use]
    pub fn describe(&self) -> String {
        let window = HumanDuration(self.window);
        let subject = match &self.condition {
            Condition::Metric { name, aggregate: Aggregate::Last, .. } => name.clone(),
            Condition::Metric { name, aggregate, .. } => format!("{}({name}) over {window}", aggregate.name()),
            Condition::LogCount { filter, .. } => format!("{} in {window}", filter.describe()),
            Condition::Events { filter, .. } => format!("{} in {window}", filter.describe()),
        };
        format!("{subject} {} {}", self.comparison.symbol(), self.threshold)
    }
}

impl RecordFilter {
    /// Returns what counts, in words: `error events (type ValueError, service shop)`.
    #[must_use]
    pub fn describe(&self) -> String {
        let subject = if self.errors.is_some() { "error events" } else { "log records" };
        let kind = self.errors.iter().filter_map(|errors| errors.kind.as_ref()).map(|kind| format!("type {kind}"));
        let level = self.log.level.map(|level| format!("level {level}"));
        let services = self.log.services.iter().map(|name| format!("service {name}"));
        let attributes = self.log.attributes.iter().map(|(key, value)| format!("{key}={value}"));
        let text = (!self.log.text.is_empty()).then(|| self.log.text.clone());
        format!("{subject}{}", in_brackets(kind.chain(level).chain(services).chain(attributes).chain(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_says_what_counts() {
        let log = LogFilter {
            text: "refused".into(),
            level: Some(Severity::ERROR),
            services: vec!["shop".into()],
            ..LogFilter::default()
        };
        let records = |errors| RecordFilter { log: log.clone(), errors }.describe();
        assert_eq!(records(None), "log records (level ERROR, service shop, refused)");
        let errors = ErrorFilter { kind: Some("ValueError".into()) };
        assert_eq!(records(Some(errors)), "error events (type ValueError, level ERROR, service shop, refused)");
        assert_eq!(RecordFilter::default().describe(), "log records");
        let finding = EventFilter::Finding {
            analyzer: Some("ssh-brute-force".into()),
            rule: Some("brute_force".into()),
            level: Some(Severity::WARN),
            labels: vec![("host".into(), "a".into())],
        };
        assert_eq!(finding.describe(), "findings of ssh-brute-force (rule brute_force, level WARN, host=a)");
        let issue = |regressions| EventFilter::NewIssue { service: Some("shop".into()), level: None, regressions };
        assert_eq!(issue(true).describe(), "new and returned issues (service shop)");
        assert_eq!(issue(false).describe(), "new issues (service shop)");
    }

    /// Plays `script` (`MINUTEm:yes|no|gap` …) and returns what was seen to change, and when.
    fn play(hold_minutes: u64, keep_minutes: u64, script: &str) -> String {
        let minutes = |count: u64| Duration::from_secs(60 * count);
        let mut state = AlertState::Inactive;
        let mut changes = Vec::new();
        for moment in script.split_whitespace() {
            let (minute, seen) = moment.split_once("m:").unwrap();
            let seen = match seen {
                "yes" => Observation::Holds,
                "no" => Observation::Fine,
                _ => Observation::Gap,
            };
            let now = Timestamp::ZERO.plus(minutes(minute.parse().unwrap()));
            let next = state.step(seen, minutes(hold_minutes), minutes(keep_minutes), now);
            if !next.same_kind(state) {
                changes.push(format!("{minute}m {}", next.name()));
            }
            state = next;
        }
        changes.join(", ")
    }

    #[test]
    fn a_gap_in_the_series_resets_pending() {
        insta::assert_snapshot!(play(2, 0, "0m:yes 1m:gap 2m:yes 4m:yes"), @"0m pending, 1m inactive, 2m pending, 4m firing");
    }

    #[test]
    fn a_gap_leaves_firing_as_it_is() {
        insta::assert_snapshot!(play(0, 0, "0m:yes 1m:gap 2m:gap 3m:no"), @"0m firing, 3m inactive");
    }

    #[test]
    fn a_rule_without_for_fires_at_once_and_resolves_at_once() {
        insta::assert_snapshot!(play(0, 0, "0m:no 1m:yes 2m:yes 3m:no 4m:yes"), @"1m firing, 3m inactive, 4m firing");
    }

    #[test]
    fn keep_firing_for_bridges_a_short_calm() {
        insta::assert_snapshot!(play(1, 3, "0m:yes 1m:yes 2m:no 3m:yes 5m:no 6m:no 7m:no"), @"0m pending, 1m firing, 6m inactive");
    }

    #[test]
    fn a_clock_that_stepped_back_does_not_stretch_for() {
        let state = AlertState::Pending { since: Timestamp::from_seconds(1000) };
        let hold = Duration::from_secs(60);
        let state = state.step(Observation::Holds, hold, Duration::ZERO, Timestamp::from_seconds(500));
        assert_eq!(state, AlertState::Pending { since: Timestamp::from_seconds(500) });
    }
}
