//! What the host answers. What is not said here is in `other`, so that a newer host can say more.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value as Json;

/// How the machine is.
#[derive(Clone, Debug, Deserialize)]
pub struct Health {
    /// The worst of what `reasons` says, in a word.
    pub status: String,
    /// When it was measured, RFC 3339.
    pub timestamp: String,
    /// Share of all cores in use, 0 to 100.
    pub cpu_percent: Option<f64>,
    /// Share of memory in use, 0 to 100.
    pub memory_percent: Option<f64>,
    /// Share in use of the fullest file system, 0 to 100.
    pub disk_usage_percent: Option<f64>,
    /// Processes.
    pub process_count: Option<f64>,
    /// Network traffic.
    pub network_io: Option<NetworkIo>,
    /// Alerts that fire.
    #[serde(default)]
    pub alerts_firing: u64,
    /// Why it is not healthy, worst first.
    #[serde(default)]
    pub reasons: Vec<String>,
}

/// Network traffic.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct NetworkIo {
    /// Everything that the host says of it.
    #[serde(flatten)]
    pub other: BTreeMap<String, Json>,
}

/// How many errors there were.
#[derive(Clone, Debug, Deserialize)]
pub struct ErrorStatistics {
    /// The hours that were counted.
    pub hours: u64,
    /// Errors.
    pub total: u64,
    /// Issues that occurred.
    pub issues: u64,
    /// Of those, the ones that occurred for the first time.
    pub new_issues: u64,
    /// Errors by type, the most frequent first.
    pub by_type: Vec<Share>,
    /// Errors by service.
    pub by_service: Vec<Share>,
    /// Errors by level.
    pub by_level: Vec<Share>,
    /// Errors per hour, the present one last.
    pub hourly: Vec<u64>,
    /// The issues that occurred most often.
    pub top_issues: Vec<TopIssue>,
}

/// One part of a total.
#[derive(Clone, Debug, Deserialize)]
pub struct Share {
    /// Of what.
    pub name: String,
    /// How many.
    pub count: u64,
}

/// An issue among the most frequent.
#[derive(Clone, Debug, Deserialize)]
pub struct TopIssue {
    /// Its id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// `service.name`.
    pub service: String,
    /// How often it occurred.
    pub count: u64,
}

/// An alert.
#[derive(Clone, Debug, Deserialize)]
pub struct Alert {
    /// Its identity.
    pub fingerprint: String,
    /// Name of its rule.
    pub rule: String,
    /// `pending`, `firing` or `resolved`.
    pub state: String,
    /// `INFO`, `WARNING`, `ERROR` or `CRITICAL`.
    pub level: String,
    /// What tells it from other alerts.
    pub labels: BTreeMap<String, String>,
    /// For people.
    pub annotations: BTreeMap<String, String>,
    /// The rule's condition in words.
    #[serde(default)]
    pub condition: String,
    /// What the value is compared with.
    pub threshold: f64,
    /// The value last seen.
    pub value: Option<f64>,
    /// Since when it is in this state, RFC 3339.
    pub since: String,
}

/// A rule as the host has it.
#[derive(Clone, Debug, Deserialize)]
pub struct RuleState {
    /// Its name.
    pub name: String,
    /// `inactive`, `pending` or `firing`.
    pub state: String,
    /// What keeps it from working, if anything does.
    #[serde(default)]
    pub warning: Option<String>,
    /// The rule.
    #[serde(flatten)]
    pub other: BTreeMap<String, Json>,
}

/// A log record.
#[derive(Clone, Debug, Deserialize)]
pub struct LogEntry {
    /// When it happened, RFC 3339.
    pub timestamp: String,
    /// OpenTelemetry severity number, 0 to 24.
    #[serde(default)]
    pub severity_number: u8,
    /// The level in its sender's words.
    #[serde(default)]
    pub severity_text: String,
    /// What it says: text, or any JSON.
    #[serde(default)]
    pub body: Json,
    /// Its fields.
    #[serde(default)]
    pub attributes: BTreeMap<String, Json>,
    /// Who sent it.
    #[serde(default)]
    pub resource: BTreeMap<String, Json>,
    /// Its trace, or empty.
    #[serde(default)]
    pub trace_id: String,
    /// Its position in the log.
    #[serde(default)]
    pub seq: String,
}

/// Patterns of the log.
#[derive(Clone, Debug, Deserialize)]
pub struct PatternList {
    /// Records in the range.
    pub total: u64,
    /// The patterns, the most frequent first.
    pub patterns: Vec<Pattern>,
}

/// One pattern.
#[derive(Clone, Debug, Deserialize)]
pub struct Pattern {
    /// Its id; searching for `pattern:ID` finds its records.
    pub id: String,
    /// Its text, with `<*>` for what varies.
    pub template: String,
    /// Records.
    pub count: u64,
    /// Their share of all, 0 to 1.
    pub share: f64,
    /// Whether it occurred for the first time.
    #[serde(default)]
    pub new: bool,
    /// One of its lines.
    #[serde(default)]
    pub sample: String,
}

/// What was unusual.
#[derive(Clone, Debug, Deserialize)]
pub struct AnomalyList {
    /// The newest first.
    pub anomalies: Vec<Anomaly>,
    /// Whether the detectors run.
    #[serde(default)]
    pub running: bool,
}

/// Something unusual.
#[derive(Clone, Debug, Deserialize)]
pub struct Anomaly {
    /// Its id.
    pub id: String,
    /// Which detector found it.
    pub detector: String,
    /// `service.name` of the source.
    pub source: String,
    /// In a few words.
    pub title: String,
    /// Everything else that the host says of it: pattern, expected and actual.
    #[serde(flatten)]
    pub other: BTreeMap<String, Json>,
}
