//! The head: all live series with their newest samples, what is not yet flushed, and running totals of deltas.
//!
//! **Invariant**: sees neither SQL, HTTP, files nor a clock. What a commit would change is planned first and applied only once it is durable.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashMap;
use watchfire_types::metric::normalized_name;
use watchfire_types::{MetricBatch, MetricKind, Sample, SeriesKey, Timestamp};

use super::types::{MetricInfo, MetricsSettings, Refusal, SeriesData};
use crate::store::Accepted;

/// Samples that all rings together may hold (64 MiB); with more series each ring becomes shorter.
const MAX_RING_POINTS: usize = 4 << 20;
/// What each ring may hold however many series there are.
const MIN_RING: usize = 16;
/// A series that got nothing for so long is forgotten when the day changes; its samples stay on disk.
const IDLE: Duration = Duration::from_secs(86_400);
/// Running totals are remembered longer: a slow source must not see its total begin at zero again.
const IDLE_TOTAL: Duration = Duration::from_secs(14 * 86_400);

/// Place of a series in memory.
pub type Slot = u32;

#[derive(Debug)]
struct Series {
    key: Arc<SeriesKey>,
    kind: MetricKind,
    unit: String,
    /// Its number in the present day file; 0 if it is not there.
    row: i64,
    ring: VecDeque<Sample>,
    /// Committed and not yet in a chunk, in order of arrival.
    pending: Vec<Sample>,
    /// Last value of a series that has had a delta.
    total: Option<f64>,
    last_arrival: Timestamp,
}

impl Series {
    /// Returns whether there are samples of it: those that came late are in the present file, and after a restart not in the ring.
    fn has_samples(&self) -> bool {
        !self.ring.is_empty() || self.row != 0
    }
}

/// The head. See the module.
#[derive(Debug)]
pub struct Engine {
    settings: MetricsSettings,
    series: Vec<Option<Series>>,
    free: Vec<Slot>,
    by_key: FxHashMap<Arc<SeriesKey>, Slot>,
    by_name: BTreeMap<String, Vec<Slot>>,
    next_row: i64,
    ring_points: usize,
    pending_points: usize,
}

/// A row for the table `series` of the present day file.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesRow {
    /// Where it lies in memory.
    pub slot: Slot,
    /// Its number in the day file.
    pub row: i64,
    /// Name and labels.
    pub key: Arc<SeriesKey>,
    /// What its values mean.
    pub kind: MetricKind,
    /// UCUM unit.
    pub unit: String,
}

/// What one commit will change.
#[derive(Debug, Default)]
pub struct Plan {
    /// Rows that are new or changed in the day file.
    pub rows: Vec<SeriesRow>,
    /// Number in the day file and sample, in order of arrival.
    pub points: Vec<(i64, Sample)>,
    /// Series that get a running total with this commit, and its value before it.
    pub new_totals: Vec<(i64, f64)>,
    /// What became of each batch.
    pub accepted: Vec<Accepted>,
    /// Refused points by reason.
    pub refused: BTreeMap<Refusal, u64>,
    slots: Vec<Slot>,
    totals: FxHashMap<Slot, f64>,
    next_row: i64,
}

/// Samples of one series on their way into chunks.
#[derive(Clone, Debug, PartialEq)]
pub struct Pending {
    /// Where it lies in memory.
    pub slot: Slot,
    /// Its number in the day file.
    pub row: i64,
    /// In order of arrival.
    pub samples: Vec<Sample>,
}

impl Engine {
    /// Returns an empty head.
    #[must_use]
    pub fn new(settings: MetricsSettings) -> Self {
        Self {
            settings,
            series: Vec::new(),
            free: Vec::new(),
            by_key: FxHashMap::default(),
            by_name: BTreeMap::new(),
            next_row: 1,
            ring_points: 0,
            pending_points: 0,
        }
    }

    /// Decides what storing `batches` at `now` means: which points are refused, which series are new, what deltas add up to.
    /// Nothing of it can be read before [`Self::apply`].
    pub fn plan(&mut self, batches: Vec<MetricBatch>, now: Timestamp) -> Plan {
        let mut plan = Plan { next_row: self.next_row, ..Plan::default() };
        let mut rows: FxHashMap<Slot, i64> = FxHashMap::default();
        let oldest = now.minus(self.settings.retention);
        let newest = now.plus(Refusal::MAX_AHEAD);
        for batch in batches {
            let mut accepted = Accepted::default();
            for point in batch {
                let timestamp = if point.timestamp == Timestamp::ZERO { now } else { point.timestamp };
                let slot = if let Some(refusal) = check(&point.series, timestamp, oldest, newest) {
                    Err((refusal, point.series))
                } else {
                    let room = self.has_room();
                    self.slot(point.series, room).map_err(|key| (Refusal::SeriesLimit, key))
                };
                let slot = match slot {
                    Ok(slot) => slot,
                    Err((refusal, key)) => {
                        accepted.rejected += 1;
                        if accepted.reason.is_empty() {
                            accepted.reason = refusal.explain(&key, timestamp, &self.settings);
                        }
                        *plan.refused.entry(refusal).or_default() += 1;
                        continue;
                    }
                };
                let series = self.series[slot as usize].as_mut().expect("a slot that was just found");
                let changed = series.row != 0 && (series.kind != point.kind || series.unit != point.unit);
                if series.row == 0 || changed {
                    series.kind = point.kind;
                    series.unit.clone_from(&point.unit);
                }
                let known = if series.row == 0 { rows.get(&slot).copied() } else { Some(series.row) };
                let row = known.unwrap_or_else(|| {
                    plan.next_row += 1;
                    plan.next_row - 1
                });
                if known.is_none() || changed {
                    rows.insert(slot, row);
                    let (key, kind, unit) = (Arc::clone(&series.key), point.kind, point.unit);
                    plan.rows.push(SeriesRow { slot, row, key, kind, unit });
                }
                let before = plan.totals.get(&slot).copied().or(series.total);
                let mut value = point.value;
                if point.delta {
                    let start = before.unwrap_or_else(|| {
                        let start = series.ring.back().map(|sample| sample.value).filter(|value| value.is_finite()).unwrap_or(0.0);
                        plan.new_totals.push((row, start));
                        start
                    });
                    value += start;
                    plan.totals.entry(slot).or_insert(start);
                }
                if value.is_finite() && (point.delta || before.is_some()) {
                    plan.totals.insert(slot, value);
                }
                plan.points.push((row, Sample { timestamp, value }));
                plan.slots.push(slot);
                accepted.accepted += 1;
            }
            plan.accepted.push(accepted);
        }
        plan
    }

    /// Makes a plan's points readable: call it once they are durable.
    pub fn apply(&mut self, plan: &Plan, now: Timestamp) {
        for row in &plan.rows {
            if let Some(series) = self.series[row.slot as usize].as_mut() {
                series.row = row.row;
            }
        }
        for (slot, total) in &plan.totals {
            if let Some(series) = self.series[*slot as usize].as_mut() {
                series.total = Some(*total);
            }
        }
        for (slot, (_, sample)) in plan.slots.iter().zip(&plan.points) {
            self.push(*slot, *sample, now);
        }
        self.next_row = plan.next_row;
    }

    /// Returns what is not in chunks yet, by row.
    #[must_use]
    pub fn pending(&self) -> Vec<Pending> {
        let slots = self.series.iter().zip(0..).filter_map(|(series, slot)| Some((series.as_ref()?, slot)));
        let with_samples = slots.filter(|(series, _)| !series.pending.is_empty());
        let mut all: Vec<Pending> =
            with_samples.map(|(series, slot)| Pending { slot, row: series.row, samples: series.pending.clone() }).collect();
        all.sort_unstable_by_key(|pending| pending.row);
        all
    }

    /// Returns the running totals, by row.
    #[must_use]
    pub fn totals(&self) -> Vec<(i64, f64)> {
        self.live().filter_map(|series| series.total.filter(|_| series.row != 0).map(|total| (series.row, total))).collect()
    }

    /// Forgets the oldest so many pending samples of each series: they lie in chunks now.
    pub fn flushed(&mut self, counts: &[(Slot, usize)]) {
        for (slot, count) in counts {
            let Some(series) = self.series[*slot as usize].as_mut() else { continue };
            series.pending = series.pending.split_off(*count);
            self.pending_points -= count;
        }
    }

    /// Begins a day file at `now`, which holds the series `existing` already (usually none): idle series are forgotten. Returns the
    /// rows and totals that the new file must hold from its beginning.
    pub fn roll(&mut self, now: Timestamp, existing: &[(SeriesKey, i64)]) -> (Vec<SeriesRow>, Vec<(i64, f64)>) {
        self.next_row = existing.iter().map(|(_, row)| row + 1).max().unwrap_or(1);
        for series in self.series.iter_mut().flatten() {
            series.row = 0;
        }
        for (key, row) in existing {
            if let Some(series) = self.by_key.get(key).and_then(|slot| self.series[*slot as usize].as_mut()) {
                series.row = *row;
            }
        }
        for slot in 0..self.series.len() {
            let Some(series) = self.series[slot].as_ref() else { continue };
            if now.since(series.last_arrival) > if series.total.is_some() { IDLE_TOTAL } else { IDLE } {
                self.forget(slot as Slot);
            }
        }
        self.carry_totals()
    }

    /// Gives each series with a running total a row, and returns these rows and all totals: what a day file begins with.
    pub fn carry_totals(&mut self) -> (Vec<SeriesRow>, Vec<(i64, f64)>) {
        let (mut rows, mut totals) = (Vec::new(), Vec::new());
        for (slot, series) in self.series.iter_mut().enumerate() {
            let Some(series) = series else { continue };
            let Some(total) = series.total else { continue };
            if series.row == 0 {
                series.row = self.next_row;
                self.next_row += 1;
            }
            totals.push((series.row, total));
            let (key, kind, unit) = (Arc::clone(&series.key), series.kind, series.unit.clone());
            rows.push(SeriesRow { slot: slot as Slot, row: series.row, key, kind, unit });
        }
        (rows, totals)
    }

    /// Takes in a series as it was stored; `row` is its number if the file is the present one, and then it is taken in beyond the
    /// cap too, because it may have points that are not in chunks. `None` beyond the cap.
    pub fn restore_series(&mut self, key: SeriesKey, kind: MetricKind, unit: String, row: Option<i64>) -> Option<Slot> {
        let room = row.is_some() || self.has_room();
        let slot = self.slot(key, room).ok()?;
        let series = self.series[slot as usize].as_mut()?;
        (series.kind, series.unit) = (kind, unit);
        if let Some(row) = row {
            series.row = row;
            self.next_row = self.next_row.max(row + 1);
        }
        Some(slot)
    }

    /// Takes in samples from chunks, for the ring only.
    pub fn restore_ring(&mut self, slot: Slot, samples: &[Sample]) {
        for sample in samples {
            self.push_ring(slot, *sample);
        }
        if let (Some(series), Some(last)) = (self.series[slot as usize].as_mut(), samples.last()) {
            series.last_arrival = series.last_arrival.max(last.timestamp);
        }
    }

    /// Takes in a running total.
    pub fn restore_total(&mut self, slot: Slot, total: f64, day_start: Timestamp) {
        if let Some(series) = self.series[slot as usize].as_mut() {
            series.total = Some(total);
            series.last_arrival = series.last_arrival.max(day_start);
        }
    }

    /// Takes in a point that was committed and not flushed.
    pub fn restore_pending(&mut self, slot: Slot, sample: Sample) {
        self.push(slot, sample, sample.timestamp);
        if let Some(series) = self.series[slot as usize].as_mut()
            && series.total.is_some()
            && sample.value.is_finite()
        {
            series.total = Some(sample.value);
        }
    }

    /// Returns the samples in memory from `since` on, of the series called `name` whose labels include `labels`.
    #[must_use]
    pub fn recent(&self, name: &str, labels: &[(String, String)], since: Timestamp) -> Vec<SeriesData> {
        let data = |series: &Series| {
            let from = series.ring.partition_point(|sample| sample.timestamp < since);
            SeriesData {
                series: (*series.key).clone(),
                kind: series.kind,
                unit: series.unit.clone(),
                samples: series.ring.range(from..).copied().collect(),
            }
        };
        self.matching(name, labels).filter(|series| !series.ring.is_empty()).map(data).collect()
    }

    /// Returns what is not in chunks yet of the series called `name` whose labels include `labels`, in order of arrival.
    #[must_use]
    pub fn unflushed(&self, name: &str, labels: &[(String, String)]) -> Vec<SeriesData> {
        let data = |series: &Series| SeriesData {
            series: (*series.key).clone(),
            kind: series.kind,
            unit: series.unit.clone(),
            samples: series.pending.clone(),
        };
        self.matching(name, labels).filter(|series| !series.pending.is_empty()).map(data).collect()
    }

    /// Returns the newest sample of each series that has one at or after `since`.
    #[must_use]
    pub fn latest(&self, since: Timestamp) -> Vec<(Arc<SeriesKey>, MetricKind, String, Sample)> {
        let newest = |series: &Series| {
            let sample = *series.ring.back()?;
            (sample.timestamp >= since).then(|| (Arc::clone(&series.key), series.kind, series.unit.clone(), sample))
        };
        self.live().filter_map(newest).collect()
    }

    /// Returns all names with samples in memory or in the present file, by name.
    #[must_use]
    pub fn names(&self) -> BTreeMap<String, MetricInfo> {
        let mut names: BTreeMap<String, MetricInfo> = BTreeMap::new();
        for series in self.live().filter(|series| series.has_samples()) {
            if let Some(info) = names.get_mut(&series.key.name) {
                info.series += 1;
            } else {
                let (name, kind, unit) = (series.key.name.clone(), series.kind, series.unit.clone());
                names.insert(name.clone(), MetricInfo { name, kind, unit, series: 1 });
            }
        }
        names
    }

    /// Returns the samples per series that memory holds at most.
    #[must_use]
    pub fn history_size(&self) -> usize {
        self.settings.history_size
    }

    /// Returns whether there are samples of a metric called `name`, in either spelling.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        self.matching(name, &[]).any(Series::has_samples)
    }

    /// Returns the number of series in memory.
    #[must_use]
    pub fn series_count(&self) -> usize {
        self.by_key.len()
    }

    /// Returns the number of samples in memory.
    #[must_use]
    pub fn points_in_memory(&self) -> usize {
        self.ring_points + self.pending_points
    }

    /// Returns the number of samples that are not in chunks yet.
    #[must_use]
    pub fn pending_points(&self) -> usize {
        self.pending_points
    }

    fn live(&self) -> impl Iterator<Item = &Series> {
        self.series.iter().flatten()
    }

    fn matching(&self, name: &str, labels: &[(String, String)]) -> impl Iterator<Item = &Series> {
        let slots = self.by_name.get(&normalized_name(name)).map_or(&[][..], Vec::as_slice);
        let series = slots.iter().filter_map(|slot| self.series[*slot as usize].as_ref());
        series.filter(move |series| has_labels(&series.key, labels))
    }

    fn has_room(&self) -> bool {
        self.by_key.len() < self.settings.max_series
    }

    /// Returns the slot of `key`, a new one if need be and if there is `room`; otherwise the key itself.
    fn slot(&mut self, key: SeriesKey, room: bool) -> Result<Slot, SeriesKey> {
        if let Some(slot) = self.by_key.get(&key) {
            return Ok(*slot);
        }
        if !room {
            return Err(key);
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.series.push(None);
            (self.series.len() - 1) as Slot
        });
        let key = Arc::new(key);
        self.by_name.entry(normalized_name(&key.name)).or_default().push(slot);
        self.by_key.insert(Arc::clone(&key), slot);
        self.series[slot as usize] = Some(Series {
            key,
            kind: MetricKind::default(),
            unit: String::new(),
            row: 0,
            ring: VecDeque::new(),
            pending: Vec::new(),
            total: None,
            last_arrival: Timestamp::ZERO,
        });
        Ok(slot)
    }

    fn forget(&mut self, slot: Slot) {
        let Some(series) = self.series[slot as usize].take() else { return };
        self.ring_points -= series.ring.len();
        self.pending_points -= series.pending.len();
        self.by_key.remove(&series.key);
        let name = normalized_name(&series.key.name);
        if let Some(slots) = self.by_name.get_mut(&name) {
            slots.retain(|other| *other != slot);
            if slots.is_empty() {
                self.by_name.remove(&name);
            }
        }
        self.free.push(slot);
    }

    fn push(&mut self, slot: Slot, sample: Sample, arrival: Timestamp) {
        if let Some(series) = self.series[slot as usize].as_mut() {
            series.pending.push(sample);
            series.last_arrival = series.last_arrival.max(arrival);
            self.pending_points += 1;
        }
        self.push_ring(slot, sample);
    }

    fn push_ring(&mut self, slot: Slot, sample: Sample) {
        let fair_share = (MAX_RING_POINTS / self.by_key.len().max(1)).max(MIN_RING);
        let limit = self.settings.history_size.clamp(1, fair_share);
        let Some(series) = self.series[slot as usize].as_mut() else { return };
        let ring = &mut series.ring;
        let before = ring.len();
        if ring.back().is_none_or(|last| last.timestamp < sample.timestamp) {
            ring.push_back(sample);
        } else {
            let place = ring.partition_point(|other| other.timestamp < sample.timestamp);
            if ring[place].timestamp == sample.timestamp {
                ring[place] = sample;
            } else if place > 0 || before < limit {
                ring.insert(place, sample);
            }
        }
        while ring.len() > limit {
            ring.pop_front();
        }
        self.ring_points = self.ring_points + ring.len() - before;
    }
}

fn check(key: &SeriesKey, timestamp: Timestamp, oldest: Timestamp, newest: Timestamp) -> Option<Refusal> {
    if key.name.is_empty() {
        Some(Refusal::NoName)
    } else if timestamp < oldest {
        Some(Refusal::TooOld)
    } else if timestamp > newest {
        Some(Refusal::TooFarAhead)
    } else if key.name.len() + key.labels.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
        > Refusal::MAX_KEY_BYTES
    {
        Some(Refusal::KeyTooLong)
    } else {
        None
    }
}

/// Returns whether the labels of `key` include `labels`; label names match in either spelling.
#[must_use]
pub fn has_labels(key: &SeriesKey, labels: &[(String, String)]) -> bool {
    labels.iter().all(|(name, value)| {
        let same = |other: &str| other == name || normalized_name(other) == normalized_name(name);
        key.labels.iter().any(|(other, found)| found == value && same(other))
    })
}

/// Returns `samples` in order of time, one per moment; of several the one that comes last in the list.
#[must_use]
pub fn merged(mut samples: Vec<Sample>) -> Vec<Sample> {
    let steady = samples.is_sorted_by(|left, right| left.timestamp < right.timestamp);
    if !steady {
        samples.sort_by_key(|sample| sample.timestamp);
        samples.dedup_by(|later, kept| {
            let same = later.timestamp == kept.timestamp;
            if same {
                *kept = *later;
            }
            same
        });
    }
    samples
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
