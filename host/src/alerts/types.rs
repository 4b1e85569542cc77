//! Rules, levels and states, in the terms of Prometheus and Alertmanager.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use watchfire_types::{Severity, Timestamp};

use crate::logs::LogFilter;

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
    LogCount {
        /// Which records count. Its times are not used.
        filter: LogFilter,
        /// Attributes (`service.name` or any other) whose values make separate alerts.
        group_by: Vec<String>,
    },
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
    },
}
