//! What analyzers find, and where each of them stands.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use watchfire_types::Timestamp;

use crate::plugins::kv::KvChanges;

/// What rules of the host itself begin with; a component's may not.
pub const OWN_PREFIX: &str = "watchfire.";
/// The rule of the host's own finding that records were gone before an analyzer had read them.
pub const RECORDS_MISSED: &str = "watchfire.records_missed";

/// A finding as it will be stored: checked, and within bounds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewFinding {
    /// Which of the analyzer's rules it is about.
    pub rule: String,
    /// OpenTelemetry severity number.
    pub severity: u8,
    /// In a few words.
    pub title: String,
    /// In some more.
    pub message: String,
    /// Equal for what is one ongoing thing; empty if it stands alone.
    pub dedupe_key: String,
    /// 0 to 1: how sure the analyzer is.
    pub score: f64,
    /// How often it was seen.
    pub count: u64,
    /// The first record that it is about; 0 when unknown.
    pub first_seq: u64,
    /// The last one; 0 when unknown.
    pub last_seq: u64,
    /// Event time of the first one.
    pub first_time: Timestamp,
    /// Event time of the last one.
    pub last_time: Timestamp,
    /// Some of the records.
    pub sample_seqs: Vec<u64>,
    /// What tells it from others.
    pub labels: BTreeMap<String, String>,
}

/// A record that an analyzer could not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// Its position in the log.
    pub seq: u64,
    /// What went wrong, with the component's last words.
    pub why: String,
}

/// What an analyzer wants to be given back after a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedState {
    /// Version of the component's format.
    pub version: u32,
    /// The component's bytes.
    pub bytes: Vec<u8>,
}

/// How far an analyzer has come, as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The cursor that it began with.
    pub began: u64,
    /// Everything up to here has been analyzed, and what was found is stored.
    pub cursor: u64,
    /// No earlier event time is expected; nanoseconds.
    pub watermark: u64,
    /// What it saved there.
    pub state: Option<SavedState>,
}

/// What is committed at once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Commit {
    /// The new cursor.
    pub cursor: u64,
    /// The new watermark.
    pub watermark: u64,
    /// What was saved; `None` if that has not changed.
    pub state: Option<SavedState>,
    /// What was found.
    pub findings: Vec<NewFinding>,
    /// What was changed among the kept values.
    pub kv: KvChanges,
    /// What it could not take.
    pub quarantined: Option<Quarantined>,
}

/// How an analyzer is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnalyzerState {
    /// It is about to begin.
    #[default]
    Starting,
    /// It reads the log.
    Running,
    /// It failed and is called again soon.
    Waiting,
    /// It fails again and again; its cursor waits.
    Held,
    /// It cannot run.
    Failed,
    /// It was stopped.
    Stopped,
}

impl AnalyzerState {
    /// Returns its name as shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Held => "held",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }
}

/// Where an analyzer stands, for whoever asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// How it is doing.
    pub state: AnalyzerState,
    /// Why, and what happens next; empty if all is well.
    pub detail: String,
    /// Up to here it has read.
    pub position: u64,
    /// Up to here what it found is stored.
    pub cursor: u64,
    /// When its cursor was stored last.
    pub committed_at: Option<Timestamp>,
    /// Records that it was given since the start.
    pub records: u64,
}

/// An analyzer as people see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AnalyzerView {
    /// The plugin's name.
    pub plugin: String,
    /// How it is doing.
    pub state: AnalyzerState,
    /// Why, and what happens next.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub detail: String,
    /// Position in the log up to which what it found is stored, as a decimal string.
    pub cursor: String,
    /// Records that it has not read yet.
    pub lag_records: u64,
    /// When its cursor was stored last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub committed_at: Option<Timestamp>,
    /// Records that it was given since the start of the host.
    pub records: u64,
    /// Records that it could not take.
    pub quarantined: u64,
    /// The last of them.
    pub quarantine: Vec<QuarantineView>,
}

/// A record that an analyzer could not take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct QuarantineView {
    /// Its position in the log, as a decimal string.
    pub seq: String,
    /// What went wrong, with the component's last words.
    pub why: String,
    /// When it was set aside.
    pub at: Timestamp,
}

/// What was found, as people see it: all findings of one ongoing thing are one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FindingView {
    /// Position of the last finding, as a decimal string.
    pub position: String,
    /// The analyzer.
    pub plugin: String,
    /// Which of its rules.
    pub rule: String,
    /// OpenTelemetry severity number.
    pub severity_number: u8,
    /// In a few words.
    pub title: String,
    /// In some more.
    pub message: String,
    /// Equal for what is one ongoing thing.
    pub dedupe_key: String,
    /// 0 to 1: how sure the analyzer is.
    pub score: f64,
    /// How often it was seen, as the last finding says.
    pub count: u64,
    /// How many findings there were while it went on.
    pub findings: u64,
    /// When the first of them was stored.
    pub first_at: Timestamp,
    /// When the last of them was stored.
    pub last_at: Timestamp,
    /// Event time of the first record that the last finding is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_time: Option<Timestamp>,
    /// Event time of the last record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_time: Option<Timestamp>,
    /// Position in the log of the first record that the last finding is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_seq: Option<String>,
    /// Position of the last record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seq: Option<String>,
    /// Positions of some of the records.
    pub sample_seqs: Vec<String>,
    /// What tells it from others.
    pub labels: BTreeMap<String, String>,
}
