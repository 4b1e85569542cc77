//! What a report tells, as data.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use watchfire_types::Timestamp;

/// What happened from `since` to `until`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Report {
    /// When it was made.
    pub generated_at: Timestamp,
    /// Its beginning, inclusive.
    pub since: Timestamp,
    /// Its end, exclusive.
    pub until: Timestamp,
    /// How many hours that is.
    pub hours: u64,
    /// The host's own version.
    pub version: String,
    /// How many log records there were.
    pub volume: Volume,
    /// The most frequent patterns.
    pub top_patterns: Vec<PatternLine>,
    /// Patterns that were seen for the first time, the newest first.
    pub new_patterns: Vec<NewPatternLine>,
    /// What was unusual, the most serious first.
    pub anomalies: Vec<AnomalyLine>,
    /// Errors and their issues.
    pub errors: Errors,
    /// Alerts that fired, the newest first.
    pub alerts: Vec<AlertLine>,
    /// How the machine's metrics went, against the days before.
    pub metrics: Vec<MetricTrend>,
    /// What the report could not tell, and why.
    pub notes: Vec<Note>,
}

/// Something that a report could not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    /// Records of the period before are not kept any more, or the host did not run then.
    NoPreviousPeriod,
    /// Patterns have not been looked for.
    NoPatterns,
    /// The detectors do not run.
    NoDetectors,
}

/// How many log records there were.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Volume {
    /// In all.
    pub total: u64,
    /// In the period of the same length before; `null` if that is not known.
    pub previous: Option<u64>,
    /// By level, the most serious first.
    pub by_level: Vec<LevelCount>,
    /// By source, the most frequent first.
    pub by_source: Vec<SourceCount>,
    /// Over time.
    pub over_time: Vec<Bin>,
}

/// Records of one level.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LevelCount {
    /// `FATAL`, `ERROR`, `WARN`, `INFO`, `DEBUG`, `TRACE`, or empty for none.
    pub level: String,
    /// How many.
    pub count: u64,
    /// In the period before.
    pub previous: Option<u64>,
}

/// Records of one source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SourceCount {
    /// `service.name`; empty for none.
    pub source: String,
    /// How many.
    pub count: u64,
    /// Of those, level error and above.
    pub errors: u64,
    /// In the period before.
    pub previous: Option<u64>,
    /// In the period before, level error and above.
    pub previous_errors: Option<u64>,
}

/// Records of some minutes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Bin {
    /// Its beginning.
    pub start: Timestamp,
    /// Level error and above.
    pub errors: u64,
    /// Level warning.
    pub warnings: u64,
    /// All others.
    pub others: u64,
}

/// A pattern and how often it was seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PatternLine {
    /// Its id, as a decimal string.
    pub pattern: String,
    /// Its source.
    pub source: String,
    /// The greatest level.
    pub level: String,
    /// Its template, or a sample line.
    pub template: String,
    /// How often.
    pub count: u64,
    /// In the period before.
    pub previous: Option<u64>,
}

/// A pattern that was seen for the first time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NewPatternLine {
    /// Its id, as a decimal string.
    pub pattern: String,
    /// Its source.
    pub source: String,
    /// The greatest level.
    pub level: String,
    /// Its template, or a sample line.
    pub template: String,
    /// When it was seen first.
    pub first_seen: Timestamp,
    /// How often since then.
    pub count: u64,
}

/// Something unusual.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AnomalyLine {
    /// Its id, as a decimal string.
    pub id: String,
    /// `new_pattern`, `format_changed`, `rate`, `silence`, `burst` or `error_ratio`.
    pub detector: String,
    /// `up` or `down`.
    pub direction: String,
    /// The source.
    pub source: String,
    /// The pattern's id; empty if it is about the whole source.
    pub pattern: String,
    /// The pattern's template, or a sample line.
    pub template: String,
    /// OpenTelemetry severity number.
    pub severity_number: u8,
    /// When it began.
    pub since: Timestamp,
    /// When it was over; `null` if it goes on.
    pub until: Option<Timestamp>,
    /// The least that was to be expected,
    pub low: Option<f64>,
    /// and the most.
    pub high: Option<f64>,
    /// What was seen instead.
    pub actual: f64,
    /// The probability of that if nothing had changed.
    pub p: Option<f64>,
    /// Windows that the expectation is made of.
    pub samples: u32,
}

/// Errors and their issues.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Errors {
    /// Error events.
    pub total: u64,
    /// Issues that occurred.
    pub issues: u64,
    /// Of those, the ones that occurred for the first time.
    pub new_issues: u64,
    /// The issues that occurred most often.
    pub top: Vec<IssueLine>,
}

/// An issue.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct IssueLine {
    /// Its id.
    pub id: String,
    /// The exception and what it said.
    pub title: String,
    /// `service.name`.
    pub service: String,
    /// `unresolved`, `resolved` or `ignored`.
    pub status: String,
    /// How often it occurred.
    pub count: u64,
}

/// An alert that fired.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AlertLine {
    /// The rule.
    pub rule: String,
    /// Its level.
    pub level: String,
    /// In a few words.
    pub title: String,
    /// When it began to fire.
    pub started_at: Timestamp,
    /// When it was over; `null` if it fires still.
    pub ended_at: Option<Timestamp>,
}

/// How a metric went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MetricTrend {
    /// Its name.
    pub name: String,
    /// What tells it from others of that name, such as a mount point; empty if nothing does.
    pub what: String,
    /// `%`, `By/s`, or empty for a number.
    pub unit: String,
    /// The mean of these hours,
    pub mean: f64,
    /// their greatest value,
    pub max: f64,
    /// and the last one.
    pub last: f64,
    /// The mean of the days before; `null` if there are none.
    pub before: Option<f64>,
    /// How many days that is.
    pub before_days: f64,
    /// By how much it grows in a day, as Theil and Sen find it over all of these days; `null` if that is not sure.
    pub per_day: Option<f64>,
    /// Nineteen of twenty times it grows by no less,
    pub per_day_low: Option<f64>,
    /// and no more.
    pub per_day_high: Option<f64>,
    /// When a share reaches 100 % if it goes on, in days: likely, at the earliest, at the latest. `null` if it does not.
    pub full_in_days: Option<FullIn>,
    /// Hours that were unlike the same hours of the days before.
    pub odd_hours: Vec<OddHour>,
    /// Means of each hour, the days before included.
    pub hourly: Vec<Point>,
}

/// When something is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FullIn {
    /// Likely.
    pub likely: f64,
    /// At the earliest.
    pub earliest: f64,
    /// At the latest.
    pub latest: f64,
}

/// An hour that was unlike others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OddHour {
    /// Its beginning.
    pub start: Timestamp,
    /// The value.
    pub value: f64,
    /// The usual value at that time of day.
    pub usual: f64,
    /// How many robust deviations they are apart.
    pub z: f64,
}

/// A value at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Point {
    /// When.
    pub at: Timestamp,
    /// What.
    pub value: f64,
}
