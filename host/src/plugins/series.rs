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

    /// Adds `delta` to a counter, whose name ends in `_total` whether or not the plugin says so.
    pub(super) fn add(&self, name: &str, delta: f64, labels: &[(String, String)]) {
        if !(delta.is_finite() && delta >= 0.0) {
            return self.dropped.inc();
        }
        let total = if name.ends_with("_total") { name.to_owned() } else { format!("{name}_total") };
        self.with(&total, labels, |metrics, name, labels, rest| {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_carry_the_plugins_name_and_are_bounded() {
        let (metrics, dropped) = (SelfMetrics::default(), Counter::default());
        let series = PluginSeries::new("ssh", metrics.clone(), dropped.clone());
        let label = |value: &str| vec![("kind".to_owned(), value.to_owned())];
        for _ in 0..4 {
            series.add("seen", 0.75, &label("a"));
        }
        series.set("open", 7.0, &[]);
        series.record("took", 0.5, &[]);
        let text: Vec<String> =
            metrics.snapshot().iter().map(|(key, _, value)| format!("{} {:?} {value}", key.name, key.labels)).collect();
        insta::assert_snapshot!(text.join("\n"), @r#"
        watchfire_plugin_open [("plugin", "ssh")] 7
        watchfire_plugin_seen_total [("kind", "a"), ("plugin", "ssh")] 3
        watchfire_plugin_took_count_total [("plugin", "ssh")] 1
        watchfire_plugin_took_sum [("plugin", "ssh")] 0.5
        "#);
        // A name of the host's own, names and values that are none, and more series than may be.
        series.set("memory_bytes", 1.0, &[]);
        series.set("with space", 1.0, &[]);
        series.add("negative", -1.0, &[]);
        series.set("labelled", 1.0, &[("plugin".to_owned(), "other".to_owned())]);
        assert_eq!(dropped.get(), 4);
        for number in 0..2 * MAX_SERIES {
            series.set("many", 1.0, &label(&number.to_string()));
        }
        assert_eq!(metrics.snapshot().len(), MAX_SERIES);
    }
}
