//! Series that plugins make: `watchfire_plugin_<name>` with the label `plugin`.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::telemetry::{Counter, SelfMetrics, catalogue};

/// Most series of one plugin.
const MAX_SERIES: usize = 200;

/// The series of one plugin. Cheap to clone.
#[derive(Clone)]
pub(super) struct PluginSeries {
    plugin: String,
    metrics: SelfMetrics,
    /// What of each counter has not made a whole number yet, by name and labels.
    known: Arc<Mutex<HashMap<String, f64>>>,
    dropped: Counter,
}

impl PluginSeries {
    /// Returns the series of `plugin`; `dropped` counts what was too much or not well formed.
    #[must_use]
    pub(super) fn new(plugin: &str, metrics: SelfMetrics, dropped: Counter) -> Self {
        Self { plugin: plugin.to_owned(), metrics, known: Arc::default(), dropped }
    }

    /// Adds `delta` to a counter.
    pub(super) fn add(&self, name: &str, delta: f64, labels: &[(String, String)]) {
        if !(delta.is_finite() && delta >= 0.0) {
            return self.dropped.inc();
        }
        self.with(name, labels, |metrics, name, labels, rest| {
            *rest += delta;
            let whole = rest.trunc();
            *rest -= whole;
            metrics.counter(name, labels).add(whole as u64);
        });
    }

    /// Sets a gauge.
    pub(super) fn set(&self, name: &str, value: f64, labels: &[(String, String)]) {
        self.with(name, labels, |metrics, name, labels, _| metrics.gauge(name, labels).set(value));
    }

    /// Records an observation: its count and sum.
    pub(super) fn record(&self, name: &str, value: f64, labels: &[(String, String)]) {
        self.add(&format!("{name}_count"), 1.0, labels);
        self.with(&format!("{name}_sum"), labels, |metrics, name, labels, sum| {
            *sum += value;
            metrics.gauge(name, labels).set(*sum);
        });
    }

    fn with(&self, name: &str, labels: &[(String, String)], change: impl FnOnce(&SelfMetrics, &str, &[(&str, &str)], &mut f64)) {
        let well_formed = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let full = format!("watchfire_plugin_{name}");
        let named = well_formed(name) && !catalogue::OWN.iter().any(|entry| entry.name == full);
        let labelled =
            labels.len() <= 8 && labels.iter().all(|(key, value)| well_formed(key) && key != "plugin" && value.len() <= 256);
        if !named || !labelled {
            return self.dropped.inc();
        }
        let mut all: Vec<(&str, &str)> = labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        all.push(("plugin", &self.plugin));
        all.sort_unstable();
        let mut known = self.known.lock();
        let key = format!("{full} {all:?}");
        if known.len() >= MAX_SERIES && !known.contains_key(&key) {
            return self.dropped.inc();
        }
        change(&self.metrics, &full, &all, known.entry(key).or_default());
    }
}
