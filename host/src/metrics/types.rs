//! What the engine is told and what it answers.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use watchfire_types::{Day, MetricKind, Sample, SeriesKey, Timestamp};

/// A series and some of its samples, oldest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SeriesData {
    /// Name and labels.
    pub series: SeriesKey,
    /// What its values mean.
    pub kind: MetricKind,
    /// UCUM unit; may be empty.
    pub unit: String,
    /// In order of time, one per moment.
    pub samples: Vec<Sample>,
}

/// How the engine is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsSettings {
    /// Samples per series held in memory.
    pub history_size: usize,
    /// How long day files are kept; older points are refused.
    pub retention: Duration,
    /// Series held in memory; points of further ones are refused.
    pub max_series: usize,
}

impl Default for MetricsSettings {
    fn default() -> Self {
        Self { history_size: 1000, retention: Duration::from_secs(90 * 86_400), max_series: 200_000 }
    }
}

/// A metric name and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MetricInfo {
    /// Name as it came.
    pub name: String,
    /// What its values mean.
    pub kind: MetricKind,
    /// UCUM unit; may be empty.
    pub unit: String,
    /// Series of that name: those in memory, or of the newest day that has it.
    pub series: usize,
}

/// How much the engine holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MetricsStats {
    /// Series in memory.
    pub series: usize,
    /// Samples in memory.
    pub points_in_memory: usize,
    /// Bytes of all day files.
    pub bytes: u64,
    /// Day files.
    pub days: usize,
}

/// One day file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayInfo {
    /// UTC day on which its points arrived.
    pub day: Day,
    /// Bytes on disk, write-ahead log included.
    pub bytes: u64,
}

/// Why a point was refused, for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// Its time is before what retention keeps.
    TooOld,
    /// Its time is more than two days ahead.
    TooFarAhead,
    /// It would begin a series beyond the cap.
    SeriesLimit,
    /// Its metric has no name.
    NoName,
    /// Its name and labels together are longer than [`Refusal::MAX_KEY_BYTES`].
    KeyTooLong,
}

impl Refusal {
    /// Most bytes of a series' name and labels together.
    pub const MAX_KEY_BYTES: usize = 16 << 10;
    /// How far ahead of the host's clock a point may be.
    pub const MAX_AHEAD: Duration = Duration::from_secs(2 * 86_400);

    /// Returns the value of the label `reason` in `watchfire_metrics_rejected_total`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::TooOld => "too_old",
            Self::TooFarAhead => "too_far_ahead",
            Self::SeriesLimit => "series_limit",
            Self::NoName => "no_name",
            Self::KeyTooLong => "key_too_long",
        }
    }

    /// Returns a sentence for the sender about `series` at `timestamp`.
    #[must_use]
    pub fn explain(self, series: &SeriesKey, timestamp: Timestamp, settings: &MetricsSettings) -> String {
        match self {
            Self::TooOld => {
                let days = settings.retention.as_secs() / 86_400;
                format!("`{}` at {timestamp} is older than retention ({days} days)", series.name)
            }
            Self::TooFarAhead => format!("`{}` at {timestamp} is more than two days ahead of this host's clock", series.name),
            Self::SeriesLimit => {
                format!(
                    "`{}` would begin a series beyond the cap of {}: use fewer distinct label values",
                    series.name, settings.max_series
                )
            }
            Self::NoName => "a point has no metric name".to_owned(),
            Self::KeyTooLong => "name and labels of a series are longer than 16 KiB together".to_owned(),
        }
    }
}
