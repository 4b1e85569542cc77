//! Metric points and series, in Prometheus's terms.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// What the values of a series mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MetricKind {
    /// A value that goes up and down.
    #[default]
    Gauge,
    /// A total that only grows, until it is reset.
    Counter,
    /// Part of a histogram: a `_bucket`, `_sum` or `_count` series.
    Histogram,
    /// Part of a summary: a quantile, `_sum` or `_count` series.
    Summary,
}

/// What identifies a series: its name and its labels.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SeriesKey {
    /// Metric name as it came, such as `system.cpu_percent`.
    pub name: String,
    /// Label names and values, sorted by name, names unique.
    pub labels: Vec<(String, String)>,
}

impl SeriesKey {
    /// Returns the series `name` with `labels`, sorted; of two labels with one name the first is kept.
    #[must_use]
    pub fn new(name: &str, labels: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut labels: Vec<_> = labels.into_iter().collect();
        labels.sort_by(|left, right| left.0.cmp(&right.0));
        labels.dedup_by(|later, first| later.0 == first.0);
        Self { name: name.to_owned(), labels }
    }

    /// Returns the value of label `name`.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find_map(|(key, value)| (key == name).then_some(value.as_str()))
    }
}

impl fmt::Display for SeriesKey {
    /// Writes `name{label="value"}`, the name as it came.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        for (index, (name, value)) in self.labels.iter().enumerate() {
            write!(f, "{}{name}={value:?}", if index == 0 { '{' } else { ',' })?;
        }
        if self.labels.is_empty() { Ok(()) } else { f.write_str("}") }
    }
}

/// Returns `name` with everything outside `[A-Za-z0-9_:]` replaced by `_`: how two spellings of one metric are compared.
#[must_use]
pub fn normalized_name(name: &str) -> String {
    name.chars().map(|char| if char.is_ascii_alphanumeric() || char == '_' || char == ':' { char } else { '_' }).collect()
}

/// A value at a time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Sample {
    /// When it was measured.
    pub timestamp: Timestamp,
    /// The value. In JSON, what is not finite is `null`.
    pub value: f64,
}

/// One point on its way into the store.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricPoint {
    /// The series it belongs to.
    pub series: SeriesKey,
    /// What the series means.
    pub kind: MetricKind,
    /// UCUM unit as the source gave it; may be empty.
    pub unit: String,
    /// When it was measured; zero to let the store take its arrival.
    pub timestamp: Timestamp,
    /// The value, or what to add to the series' last one.
    pub value: f64,
    /// Whether `value` is a delta, to be added to the series' last value (OpenTelemetry's delta temporality).
    pub delta: bool,
}

/// Points that are stored together or not at all.
pub type MetricBatch = Vec<MetricPoint>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_order_does_not_matter() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let left = SeriesKey::new("up", [pair("b", "2"), pair("a", "1")]);
        assert_eq!(left, SeriesKey::new("up", [pair("a", "1"), pair("b", "2"), pair("a", "3")]));
        assert_eq!(left.to_string(), r#"up{a="1",b="2"}"#);
        assert_eq!(normalized_name("system.cpu_percent"), "system_cpu_percent");
    }
}
