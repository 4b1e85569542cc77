//! One series: numbers that are added to without a lock.

use std::sync::atomic::{AtomicU64, Ordering};

/// Upper bounds of a histogram's buckets. From ten microseconds to a minute, if they are milliseconds: calls of functions are there as well as
/// downloads.
pub(crate) const BOUNDS: [f64; 21] = [
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10_000.0,
    30_000.0, 60_000.0,
];

/// What a series is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// One series and its numbers. Every thread of a program writes into the same ones, so each has a line of the cache to itself.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Series {
    /// Bits of a float: the counter, the gauge, or the histogram's sum.
    value: AtomicU64,
    buckets: Option<Box<[AtomicU64; BOUNDS.len() + 1]>>,
    pub(crate) kind: Kind,
    pub(crate) name: Box<str>,
    pub(crate) unit: &'static str,
    pub(crate) labels: Vec<(Box<str>, Box<str>)>,
    /// When it began, in nanoseconds since 1970.
    pub(crate) start: u64,
}

/// A series' numbers at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Point {
    Number(f64),
    Histogram { sum: f64, counts: [u64; BOUNDS.len() + 1] },
}

impl Series {
    pub(crate) fn new(kind: Kind, name: &str, unit: &'static str, labels: &[(&str, &str)], start: u64) -> Self {
        let buckets = (kind == Kind::Histogram).then(|| Box::new(std::array::from_fn(|_| AtomicU64::new(0))));
        let labels = labels.iter().map(|(key, value)| (Box::from(*key), Box::from(*value))).collect();
        Self { value: AtomicU64::new(0), buckets, kind, name: name.into(), unit, labels, start }
    }

    /// Adds `delta`; to a counter only what is a number and not negative.
    pub(crate) fn add(&self, delta: f64) {
        let wrong = !delta.is_finite() || (self.kind == Kind::Counter && delta < 0.0);
        if !wrong && self.kind != Kind::Histogram {
            self.add_bits(delta);
        }
    }

    /// Sets a gauge.
    pub(crate) fn set(&self, value: f64) {
        if self.kind == Kind::Gauge && value.is_finite() {
            self.value.store(value.to_bits(), Ordering::Relaxed);
        }
    }

    /// Sets a counter to a total that is counted elsewhere.
    pub(crate) fn set_total(&self, total: f64) {
        self.value.store(total.to_bits(), Ordering::Relaxed);
    }

    /// Records a value in a histogram.
    pub(crate) fn record(&self, value: f64) {
        if let Some(buckets) = &self.buckets
            && value.is_finite()
        {
            let bucket = BOUNDS.partition_point(|bound| *bound < value);
            buckets[bucket].fetch_add(1, Ordering::Relaxed);
            self.add_bits(value);
        }
    }

    fn add_bits(&self, delta: f64) {
        let mut known = self.value.load(Ordering::Relaxed);
        loop {
            let next = (f64::from_bits(known) + delta).to_bits();
            match self.value.compare_exchange_weak(known, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(other) => known = other,
            }
        }
    }

    pub(crate) fn point(&self) -> Point {
        let number = f64::from_bits(self.value.load(Ordering::Relaxed));
        match &self.buckets {
            None => Point::Number(number),
            Some(buckets) => {
                Point::Histogram { sum: number, counts: std::array::from_fn(|index| buckets[index].load(Ordering::Relaxed)) }
            }
        }
    }

    /// Returns whether it is this series; `labels` in any order.
    pub(crate) fn is(&self, kind: Kind, name: &str, labels: &[(&str, &str)]) -> bool {
        let has = |key: &str, value: &str| self.labels.iter().any(|(k, v)| **k == *key && **v == *value);
        self.kind == kind
            && *self.name == *name
            && self.labels.len() == labels.len()
            && labels.iter().all(|(key, value)| has(key, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_none_change_nothing() {
        let counter = Series::new(Kind::Counter, "c", "", &[], 0);
        [2.5, -1.0, f64::NAN, f64::INFINITY, 1.0].into_iter().for_each(|value| counter.add(value));
        assert_eq!(counter.point(), Point::Number(3.5));
        let gauge = Series::new(Kind::Gauge, "g", "", &[], 0);
        gauge.set(5.0);
        gauge.add(-2.0);
        gauge.set(f64::NAN);
        assert_eq!(gauge.point(), Point::Number(3.0));
    }

    #[test]
    fn a_histogram_counts_up_to_and_with_its_bounds() {
        let histogram = Series::new(Kind::Histogram, "h", "ms", &[], 0);
        [0.0, 0.01, 0.011, 250.5, 1e9, f64::NAN].into_iter().for_each(|value| histogram.record(value));
        let Point::Histogram { sum, counts } = histogram.point() else { panic!("a histogram") };
        assert!((sum - 1_000_000_250.521).abs() < 1e-6);
        assert_eq!((counts[0], counts[1], counts[14], counts[21], counts.iter().sum::<u64>()), (2, 1, 1, 1, 5));
    }
}
