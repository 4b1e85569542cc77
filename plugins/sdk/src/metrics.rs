//! Series of the host named `watchfire_plugin_<name>`, with the plugin's name as a label. Names and labels are letters, digits and `_`.
//!
//! A plugin that uses this asks for the capability `metrics`.

use crate::imports::metrics;

/// Adds to a counter.
pub fn add(name: &str, delta: f64, labels: &[(&str, &str)]) {
    metrics::counter_add(name, delta, &owned(labels));
}

/// Sets a gauge.
pub fn set(name: &str, value: f64, labels: &[(&str, &str)]) {
    metrics::gauge_set(name, value, &owned(labels));
}

/// Records an observation: its count and its sum.
pub fn record(name: &str, value: f64, labels: &[(&str, &str)]) {
    metrics::histogram_record(name, value, &owned(labels));
}

fn owned(labels: &[(&str, &str)]) -> crate::Labels {
    labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
