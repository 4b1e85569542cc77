//! What was found unusual, and all that is known of how sure that is.

use serde::{Deserialize, Serialize};

use crate::window::{Series, Window};

/// Who found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Detector {
    /// A pattern that was never seen before.
    NewPattern,
    /// Many such at once.
    FormatChanged,
    /// More or less of something than usual at this hour of the week.
    Rate,
    /// A source that stopped.
    Silence,
    /// Very many records for a short time.
    Burst,
    /// A greater share of errors.
    ErrorRatio,
}

impl Detector {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::NewPattern, Self::FormatChanged, Self::Rate, Self::Silence, Self::Burst, Self::ErrorRatio];

    /// Returns its name, as in `log_analysis.detectors` and as the rule of its findings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NewPattern => "new_pattern",
            Self::FormatChanged => "format_changed",
            Self::Rate => "rate",
            Self::Silence => "silence",
            Self::Burst => "burst",
            Self::ErrorRatio => "error_ratio",
        }
    }

    /// Returns the detector of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|detector| detector.name() == name)
    }
}

/// Which way it went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// More than usual.
    #[default]
    Up,
    /// Less.
    Down,
}

impl Direction {
    /// Returns its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// What was to be expected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    /// The mean.
    pub mean: f64,
    /// Ninety-nine of a hundred times it is at least this,
    pub low: f64,
    /// and at most this.
    pub high: f64,
}

/// How sure it is, and why.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// What was to be expected; `None` where nothing is: of a new pattern.
    pub expected: Option<Expected>,
    /// What was seen instead.
    pub actual: f64,
    /// What both are numbers of: `records in 5 minutes`, `minutes without a record`, `share of errors`.
    pub unit: String,
    /// Windows that the expectation is made of.
    pub samples: u32,
    /// Where they are from, in words.
    pub history: String,
    /// How it was judged, in words.
    pub method: String,
    /// The probability of this, or of something as extreme, if nothing has changed; `None` where that cannot be said.
    pub p: Option<f64>,
}

impl Evidence {
    /// Returns how sure it is, 0 to 1: one in a million is 0.6, one in 10^10 and less is 1.
    #[must_use]
    pub fn score(&self) -> f64 {
        self.p.map_or(0.5, |p| (-p.max(1e-300).log10() / 10.0).clamp(0.0, 1.0))
    }
}

/// Something unusual.
#[derive(Clone, Debug, PartialEq)]
pub struct Anomaly {
    /// Who found it.
    pub detector: Detector,
    /// Which way it went.
    pub direction: Direction,
    /// What it is about.
    pub series: Series,
    /// The first window of it.
    pub since: Window,
    /// The last one so far.
    pub last: Window,
    /// OpenTelemetry severity number.
    pub severity: u8,
    /// How sure it is.
    pub evidence: Evidence,
    /// Positions of the first and the last record that it is about, as far as known; 0 if not.
    pub seqs: (u64, u64),
    /// Records that it is about.
    pub count: u64,
    /// Further patterns that it stands for, the most frequent first.
    pub patterns: Vec<u64>,
}

/// Whether something is judged at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "why")]
pub enum Readiness {
    /// It is.
    Ready,
    /// Not yet, or not now: why.
    NotEnoughHistory(String),
    /// Never: why.
    Off(String),
}
