//! Counters, gauges and histograms. They add up here and are sent as totals, so that an export that is lost loses nothing.

mod registry;
mod series;

pub(crate) use registry::{Registry, Snapshot};
pub(crate) use series::{BOUNDS, Kind, Point, Series};

use std::sync::Arc;

use crate::value::Number;

/// Returns the metrics of this process.
pub(crate) fn registry() -> &'static Registry {
    static REGISTRY: Registry = Registry::new();
    &REGISTRY
}

/// Adds `value` to counter `name`. What is negative or no number is not counted.
///
/// ```
/// watchfire_client::increment_counter("api_requests", 1, &[("endpoint", "/api/products"), ("method", "GET")]);
/// ```
pub fn increment_counter(name: &str, value: impl Number, labels: &[(&str, &str)]) {
    if let Some(series) = registry().series(Kind::Counter, name, "", labels) {
        series.add(value.as_f64());
    }
}

/// Sets gauge `name` to `value`. What is no number changes nothing.
///
/// ```
/// watchfire_client::set_gauge("active_connections", 150, &[]);
/// ```
pub fn set_gauge(name: &str, value: impl Number, labels: &[(&str, &str)]) {
    if let Some(series) = registry().series(Kind::Gauge, name, "", labels) {
        series.set(value.as_f64());
    }
}

/// Adds `delta`, which may be negative, to gauge `name`.
pub fn add_to_gauge(name: &str, delta: impl Number, labels: &[(&str, &str)]) {
    if let Some(series) = registry().series(Kind::Gauge, name, "", labels) {
        series.add(delta.as_f64());
    }
}

/// Records that something took `milliseconds`, a number or a [`Duration`](std::time::Duration), as a histogram.
///
/// ```
/// watchfire_client::record_timer("response_time", 250.5, &[("endpoint", "/api/products")]);
/// watchfire_client::record_timer("response_time", std::time::Duration::from_micros(740), &[]);
/// ```
pub fn record_timer(name: &str, milliseconds: impl Number, labels: &[(&str, &str)]) {
    if let Some(series) = registry().series(Kind::Histogram, name, "ms", labels) {
        series.record(milliseconds.as_f64());
    }
}

/// Records `value`, in `unit` (`By`, `1`, …), in a histogram.
pub fn record_histogram(name: &str, value: impl Number, unit: &'static str, labels: &[(&str, &str)]) {
    if let Some(series) = registry().series(Kind::Histogram, name, unit, labels) {
        series.record(value.as_f64());
    }
}

/// A counter of fixed labels, looked up once: counting with it is one addition. See [`counter`].
#[derive(Clone, Debug)]
pub struct Counter(Option<Arc<Series>>);

/// A gauge of fixed labels, looked up once. See [`gauge`].
#[derive(Clone, Debug)]
pub struct Gauge(Option<Arc<Series>>);

/// A histogram of milliseconds of fixed labels, looked up once. See [`timer`].
#[derive(Clone, Debug)]
pub struct Timer(Option<Arc<Series>>);

/// Returns counter `name` with `labels`.
#[must_use]
pub fn counter(name: &str, labels: &[(&str, &str)]) -> Counter {
    Counter(registry().series(Kind::Counter, name, "", labels))
}

/// Returns gauge `name` with `labels`.
#[must_use]
pub fn gauge(name: &str, labels: &[(&str, &str)]) -> Gauge {
    Gauge(registry().series(Kind::Gauge, name, "", labels))
}

/// Returns timer `name` with `labels`.
#[must_use]
pub fn timer(name: &str, labels: &[(&str, &str)]) -> Timer {
    Timer(registry().series(Kind::Histogram, name, "ms", labels))
}

impl Counter {
    /// Adds `value`.
    pub fn add(&self, value: impl Number) {
        if let Some(series) = &self.0 {
            series.add(value.as_f64());
        }
    }
}

impl Gauge {
    /// Sets it to `value`.
    pub fn set(&self, value: impl Number) {
        if let Some(series) = &self.0 {
            series.set(value.as_f64());
        }
    }

    /// Adds `delta`, which may be negative.
    pub fn add(&self, delta: impl Number) {
        if let Some(series) = &self.0 {
            series.add(delta.as_f64());
        }
    }
}

impl Timer {
    /// Records that something took `milliseconds`.
    pub fn record(&self, milliseconds: impl Number) {
        if let Some(series) = &self.0 {
            series.record(milliseconds.as_f64());
        }
    }
}
