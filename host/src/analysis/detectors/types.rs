//! What the detectors read, and what they tell.

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use watchfire_anomalies::ledger::{Change, Entry};
use watchfire_anomalies::{Detector, Evidence, Readiness};
use watchfire_types::Timestamp;

use crate::store::StoreError;

/// What the findings of the detectors are said to be of, instead of a plugin.
pub const ANALYZER: &str = "watchfire";

/// What the detectors need of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its position.
    pub seq: u64,
    /// When it happened, in nanoseconds since 1970.
    pub time: u64,
    /// When it arrived.
    pub arrived: u64,
    /// OpenTelemetry severity number.
    pub severity: u8,
    /// Place of its source in [`Heads::sources`].
    pub source: u32,
    /// Its pattern; 0 for none.
    pub pattern: u64,
}

/// Some records, in order.
#[derive(Clone, Debug, Default)]
pub struct Heads {
    /// Those that count.
    pub rows: Vec<Head>,
    /// `service.name`s.
    pub sources: Vec<String>,
    /// The last position looked at; `None` if there was none.
    pub last: Option<u64>,
}

/// Where the detectors read. Calls may block on disk.
pub trait HeadSource: Send + Sync {
    /// Returns about `limit` records after `cursor`.
    ///
    /// # Errors
    /// The store's.
    fn heads(&self, cursor: u64, limit: usize) -> Result<Heads, StoreError>;
    /// Returns the text of the record at `seq`.
    fn line(&self, seq: u64) -> Option<String>;
    /// Returns the template of a pattern.
    fn template(&self, source: &str, pattern: u64) -> Option<String>;
    /// Returns a receiver of the last stored position.
    fn committed(&self) -> watch::Receiver<u64>;
}

/// A change of what is unusual, with texts from the log.
#[derive(Clone, Debug)]
pub struct Told {
    /// What happened.
    pub change: Change,
    /// To what.
    pub entry: Entry,
    /// `service.name`.
    pub source: String,
    /// Template of its pattern; empty if it is not known.
    pub template: String,
    /// A sample line; empty if there is none.
    pub line: String,
}

/// Something unusual, as people see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AnomalyView {
    /// Its id, as a decimal string.
    pub id: String,
    /// `new_pattern`, `format_changed`, `rate`, `silence`, `burst` or `error_ratio`.
    #[schema(value_type = String)]
    pub detector: Detector,
    /// `up` or `down`.
    pub direction: String,
    /// `service.name` of the source.
    pub source: String,
    /// Id of the pattern, as a decimal string; missing if it is about the whole source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// Further patterns that it stands for.
    pub patterns: Vec<String>,
    /// Template of the pattern.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub template: String,
    /// A sample line.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub line: String,
    /// OpenTelemetry severity number.
    pub severity_number: u8,
    /// In a few words.
    pub title: String,
    /// In some more.
    pub message: String,
    /// When it began.
    pub since: Timestamp,
    /// When it was over; `null` while it goes on.
    pub until: Option<Timestamp>,
    /// 0 to 1: how sure it is.
    pub score: f64,
    /// What was to be expected, what was seen, and how that was judged.
    #[schema(value_type = EvidenceView)]
    pub evidence: Evidence,
    /// Records that it is about, as far as they are counted.
    pub count: u64,
    /// Position of the last of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seq: Option<String>,
    /// How to search for the records.
    pub search: SearchLink,
    /// Whether nobody wants to hear of its like: it was ignored.
    pub ignored: bool,
}

/// [`Evidence`], for the documentation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EvidenceView {
    /// What was to be expected; `null` where nothing is: of a new pattern.
    pub expected: Option<ExpectedView>,
    /// What was seen instead.
    pub actual: f64,
    /// What both are numbers of.
    pub unit: String,
    /// Windows that the expectation is made of.
    pub samples: u32,
    /// Where they are from.
    pub history: String,
    /// How it was judged.
    pub method: String,
    /// The probability of this, or of something as extreme, if nothing has changed.
    pub p: Option<f64>,
}

/// What was to be expected.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ExpectedView {
    /// The mean.
    pub mean: f64,
    /// Ninety-nine of a hundred times it is at least this,
    pub low: f64,
    /// and at most this.
    pub high: f64,
}

/// A search of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SearchLink {
    /// The query, as for `/api/v1/logs`.
    pub q: String,
    /// Event time, inclusive.
    pub since: Timestamp,
    /// Event time, exclusive.
    pub until: Timestamp,
}

/// What is known of a source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SourceView {
    /// `service.name`.
    pub source: String,
    /// Event time of about its first record that is counted.
    pub first_seen: Timestamp,
    /// Event time of about its last record.
    pub last_seen: Timestamp,
    /// Patterns that are counted each.
    pub patterns: u64,
    /// Whether it has more patterns than `log_analysis.max_patterns`: the rest is counted together.
    pub crowded: bool,
    /// Share of its records that came after their time was judged.
    pub late_share: f64,
    /// What is judged of it, and what not: why.
    pub detectors: Vec<ReadinessView>,
}

/// Whether a detector judges a source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReadinessView {
    /// The detector.
    pub detector: String,
    /// `ready`, `not_enough_history` or `off`.
    pub state: String,
    /// Why it does not judge; empty if it does.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub why: String,
}

impl ReadinessView {
    /// Returns how `detector` stands.
    #[must_use]
    pub fn new(detector: Detector, readiness: Readiness) -> Self {
        let (state, why) = match readiness {
            Readiness::Ready => ("ready", String::new()),
            Readiness::NotEnoughHistory(why) => ("not_enough_history", why),
            Readiness::Off(why) => ("off", why),
        };
        Self { detector: detector.name().to_owned(), state: state.to_owned(), why }
    }
}
