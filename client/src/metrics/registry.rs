//! All series of the process, found by name and labels.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use super::series::{Kind, Point, Series};
use crate::clock;
use crate::value::cut;

/// Parts of the table, so that threads that make new series do not all wait for each other.
const SHARDS: usize = 8;
/// Longest name, key or value of a label, in bytes; what is longer is shortened.
const MAX_LABEL_BYTES: usize = 200;
/// Most labels of a series; what is more is left out.
const MAX_LABELS: usize = 16;
/// Most series before anybody has said how many there may be.
const DEFAULT_MAX_SERIES: usize = 2_000;

type Table = HashMap<u64, Vec<Arc<Series>>, BuildHasherDefault<DefaultHasher>>;

/// The series of a process.
#[derive(Debug)]
pub(crate) struct Registry {
    shards: [RwLock<Option<Table>>; SHARDS],
    count: AtomicUsize,
    most: AtomicUsize,
    pub(crate) refused: AtomicU64,
}

/// One series at one moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) series: Arc<Series>,
    pub(crate) point: Point,
}

impl Registry {
    pub(crate) const fn new() -> Self {
        Self {
            shards: [const { RwLock::new(None) }; SHARDS],
            count: AtomicUsize::new(0),
            most: AtomicUsize::new(DEFAULT_MAX_SERIES),
            refused: AtomicU64::new(0),
        }
    }

    /// Says how many series there may be.
    pub(crate) fn set_most(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// Returns how many there are.
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Returns the series, which is made if need be; `None` if there are too many: that is counted.
    pub(crate) fn series(&self, kind: Kind, name: &str, unit: &'static str, labels: &[(&str, &str)]) -> Option<Arc<Series>> {
        let is_long = |text: &str| text.len() > MAX_LABEL_BYTES;
        if is_long(name) || labels.len() > MAX_LABELS || labels.iter().any(|(key, value)| is_long(key) || is_long(value)) {
            let short = |text| cut(text, MAX_LABEL_BYTES - 3);
            let labels: Vec<_> = labels.iter().take(MAX_LABELS).map(|(key, value)| (short(key), short(value))).collect();
            let labels: Vec<_> = labels.iter().map(|(key, value)| (&**key, &**value)).collect();
            return self.find(kind, &short(name), unit, &labels);
        }
        self.find(kind, name, unit, labels)
    }

    fn find(&self, kind: Kind, name: &str, unit: &'static str, labels: &[(&str, &str)]) -> Option<Arc<Series>> {
        let hash = hash(kind, name, labels);
        let shard = &self.shards[hash as usize % SHARDS];
        let known =
            |table: &Option<Table>| table.as_ref()?.get(&hash)?.iter().find(|series| series.is(kind, name, labels)).cloned();
        if let Some(series) = known(&shard.read().unwrap_or_else(PoisonError::into_inner)) {
            return Some(series);
        }
        let mut table = shard.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = known(&table) {
            return Some(series);
        }
        // Whoever takes a place gives it back if there was none.
        if self.count.fetch_add(1, Ordering::Relaxed) >= self.most.load(Ordering::Relaxed) {
            self.count.fetch_sub(1, Ordering::Relaxed);
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let series = Arc::new(Series::new(kind, name, unit, labels, clock::now_nanos()));
        table.get_or_insert_default().entry(hash).or_default().push(Arc::clone(&series));
        Some(series)
    }

    /// Returns all series as they are now.
    pub(crate) fn snapshot(&self) -> Vec<Snapshot> {
        let mut all = Vec::with_capacity(self.len());
        for shard in &self.shards {
            let table = shard.read().unwrap_or_else(PoisonError::into_inner);
            all.extend(table.iter().flat_map(HashMap::values).flatten().cloned());
        }
        all.sort_by(|left, right| left.name.cmp(&right.name));
        all.into_iter().map(|series| Snapshot { point: series.point(), series }).collect()
    }
}

/// Hashes name and labels; the order of labels does not matter. Keyed by the system, as labels may come from outside.
fn hash(kind: Kind, name: &str, labels: &[(&str, &str)]) -> u64 {
    static STATE: LazyLock<std::hash::RandomState> = LazyLock::new(std::hash::RandomState::new);
    let state = &*STATE;
    let labels = labels.iter().fold(0_u64, |sum, label| sum.wrapping_add(state.hash_one(label)));
    state.hash_one((kind as u8, name, labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_may_come_in_any_order() {
        let registry = Registry::new();
        let one = registry.series(Kind::Counter, "a", "", &[("x", "1"), ("y", "2")]).unwrap();
        let same = registry.series(Kind::Counter, "a", "", &[("y", "2"), ("x", "1")]).unwrap();
        assert!(Arc::ptr_eq(&one, &same));
        registry.series(Kind::Counter, "a", "", &[("y", "1"), ("x", "2")]).unwrap();
        registry.series(Kind::Gauge, "a", "", &[("x", "1"), ("y", "2")]).unwrap();
        assert_eq!((registry.len(), registry.snapshot().len()), (3, 3));
    }

    #[test]
    fn there_are_never_more_series_than_allowed() {
        let registry = Registry::new();
        registry.set_most(3);
        let made = (0..10).filter(|index| registry.series(Kind::Counter, &format!("m{index}"), "", &[]).is_some()).count();
        assert_eq!((made, registry.len(), registry.refused.load(Ordering::Relaxed)), (3, 3, 7));
        assert!(registry.series(Kind::Counter, "m0", "", &[]).is_some());
    }

    #[test]
    fn what_is_too_long_is_shortened() {
        let registry = Registry::new();
        let long = "ä".repeat(500);
        let series = registry.series(Kind::Gauge, &long, "", &[("k", &long)]).unwrap();
        assert!(series.name.len() <= MAX_LABEL_BYTES && series.labels[0].1.len() <= MAX_LABEL_BYTES);
        assert_eq!(registry.series(Kind::Gauge, &long, "", &[("k", &long)]).map(|_| registry.len()), Some(1));
    }
}
