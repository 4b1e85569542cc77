//! Series as they are read back.

use serde::{Deserialize, Serialize};
use watchfire_types::{MetricKind, Sample, SeriesKey};

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
