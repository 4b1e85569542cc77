//! Counters and gauges about the host itself, read by the collector and by `/metrics`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use watchfire_types::{MetricKind, SeriesKey};

use super::catalogue;

/// All of the host's own series. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct SelfMetrics(Arc<Mutex<BTreeMap<SeriesKey, Slot>>>);

#[derive(Clone, Debug)]
enum Slot {
    Counter(Counter),
    Gauge(Gauge),
}

/// A total that only grows. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `count`.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Returns the total since start.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A value that goes up and down. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicU64>);

impl Gauge {
    /// Sets the value.
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    /// Returns the value last set; 0 before that.
    #[must_use]
    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

impl SelfMetrics {
    /// Returns counter `name` with `labels`; the same one for the same name and labels. A name that begins with `watchfire_` stands in
    /// the [`catalogue`].
    #[must_use]
    pub fn counter(&self, name: &str, labels: &[(&str, &str)]) -> Counter {
        debug_assert!(catalogue::allows(name, MetricKind::Counter, labels), "{name}, a counter, is not in the catalogue");
        let mut slots = self.0.lock();
        match slots.entry(key(name, labels)).or_insert_with(|| Slot::Counter(Counter::default())) {
            Slot::Counter(counter) => counter.clone(),
            Slot::Gauge(_) => Counter::default(),
        }
    }

    /// Returns gauge `name` with `labels`; the same one for the same name and labels. A name that begins with `watchfire_` stands in
    /// the [`catalogue`].
    #[must_use]
    pub fn gauge(&self, name: &str, labels: &[(&str, &str)]) -> Gauge {
        debug_assert!(catalogue::allows(name, MetricKind::Gauge, labels), "{name}, a gauge, is not in the catalogue");
        let mut slots = self.0.lock();
        match slots.entry(key(name, labels)).or_insert_with(|| Slot::Gauge(Gauge::default())) {
            Slot::Gauge(gauge) => gauge.clone(),
            Slot::Counter(_) => Gauge::default(),
        }
    }

    /// Returns every series with its present value, sorted.
    #[must_use]
    pub fn snapshot(&self) -> Vec<(SeriesKey, MetricKind, f64)> {
        let slots = self.0.lock();
        let value = |slot: &Slot| match slot {
            Slot::Counter(counter) => (MetricKind::Counter, counter.get() as f64),
            Slot::Gauge(gauge) => (MetricKind::Gauge, gauge.get()),
        };
        slots.iter().map(|(key, slot)| (key.clone(), value(slot).0, value(slot).1)).collect()
    }
}

fn key(name: &str, labels: &[(&str, &str)]) -> SeriesKey {
    SeriesKey::new(name, labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_found_again_by_its_labels() {
        let metrics = SelfMetrics::default();
        metrics.counter("x_total", &[("a", "1"), ("b", "2")]).add(2);
        metrics.counter("x_total", &[("b", "2"), ("a", "1")]).inc();
        metrics.gauge("y", &[]).set(0.5);
        let values: Vec<_> = metrics.snapshot().into_iter().map(|(_, kind, value)| (kind, value)).collect();
        assert_eq!(values, [(MetricKind::Counter, 3.0), (MetricKind::Gauge, 0.5)]);
    }
}
