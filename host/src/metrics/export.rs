//! All stored samples: day of arrival by day, series by series, each in order of time, so that memory stays bounded.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use watchfire_types::{MetricKind, Timestamp};

use super::{Metrics, SeriesData, query, store};

/// Series whose names are read at once.
const PAGE_SERIES: usize = 256;

/// One line of an export.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ExportedSample {
    /// Metric name as it came.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// What the value means.
    pub kind: MetricKind,
    /// UCUM unit; may be empty.
    pub unit: String,
    /// When it was measured.
    pub timestamp: Timestamp,
    /// The value; what is not finite is `null`.
    pub value: Option<f64>,
}

impl Metrics {
    /// Gives all samples from `since` on and before `until` to `push`, on the calling thread, until that returns `false`.
    pub fn export(&self, since: Timestamp, until: Timestamp, mut push: impl FnMut(&ExportedSample) -> bool) {
        let Some(until) = query::last_before(until) else { return };
        let shared = &self.shared;
        let today = shared.days.current().0;
        for (day, bounds) in shared.days.bounds() {
            // What is in memory only has no bounds yet.
            let overlaps = bounds.is_some_and(|(first, last)| first <= until && last >= since);
            if !overlaps && day < today {
                continue;
            }
            let mut after = 0;
            loop {
                let page = shared.days.read(day, |connection| store::series_after(connection, after, PAGE_SERIES));
                let Some(page) = page.filter(|page| !page.is_empty()) else { break };
                after = page.last().map_or(i64::MAX, |series| series.row);
                for series in page {
                    if !push_series(&shared.day_samples(day, series, since, until), &mut push) {
                        return;
                    }
                }
            }
        }
    }
}

fn push_series(data: &SeriesData, push: &mut impl FnMut(&ExportedSample) -> bool) -> bool {
    let mut line = ExportedSample {
        name: data.series.name.clone(),
        labels: data.series.labels.iter().cloned().collect(),
        kind: data.kind,
        unit: data.unit.clone(),
        timestamp: Timestamp::ZERO,
        value: None,
    };
    data.samples.iter().all(|sample| {
        line.timestamp = sample.timestamp;
        line.value = sample.value.is_finite().then_some(sample.value);
        push(&line)
    })
}
