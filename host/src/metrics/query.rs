//! Reading across day files and the head.

use std::collections::BTreeMap;
use std::time::Duration;

use watchfire_types::metric::normalized_name;
use watchfire_types::{Day, MetricKind, Sample, SeriesKey, Timestamp};

use super::engine::{has_labels, merged};
use super::store::{self, Damage, StoredSeries};
use super::{Metrics, SeriesData, Shared};
use crate::store::StoreError;

/// Samples that one answer may hold, over all its series (16 MB); with more series each gets fewer.
const MAX_ANSWER_POINTS: usize = 1_000_000;

#[derive(Default)]
struct Found {
    kind: MetricKind,
    unit: String,
    /// Newest writing first.
    parts: Vec<Vec<Sample>>,
}

impl Metrics {
    /// Returns the series of metric `name` (either spelling) whose labels include `labels`, with at most the newest
    /// `limit_points` samples each from `since` on and before `until`. Series without a sample there are left out;
    /// `None` if there is no metric of that name at all.
    ///
    /// # Errors
    /// [`StoreError::Closed`] if the host is shutting down. A day that cannot be read is reported, and left out.
    pub async fn query(
        &self,
        name: &str,
        labels: &[(String, String)],
        since: Timestamp,
        until: Timestamp,
        limit_points: usize,
    ) -> Result<Option<Vec<SeriesData>>, StoreError> {
        let (metrics, name, labels) = (self.clone(), name.to_owned(), labels.to_vec());
        tokio::task::spawn_blocking(move || metrics.query_blocking(&name, &labels, since, until, limit_points))
            .await
            .map_err(|_| StoreError::Closed)
    }

    /// As [`Self::query`], on the calling thread.
    pub fn query_blocking(
        &self,
        name: &str,
        labels: &[(String, String)],
        since: Timestamp,
        until: Timestamp,
        limit_points: usize,
    ) -> Option<Vec<SeriesData>> {
        if !self.is_known(name) {
            return None;
        }
        let Some(until) = last_before(until) else { return Some(Vec::new()) };
        let mut found = self.shared.head(name, labels, since, until);
        for (day, bounds) in self.shared.days.bounds().into_iter().rev() {
            let Some((first, last)) = bounds.filter(|(first, last)| *first <= until && *last >= since) else { continue };
            let skip = |found: &Found| newer_than(found, last) >= limit_points;
            let read = |connection: &rusqlite::Connection| {
                let mut damage = Damage::new();
                for series in store::series_named(connection, name)? {
                    if !has_labels(&series.key, labels) || found.get(&series.key).is_some_and(skip) {
                        continue;
                    }
                    let (samples, mut damaged) = store::read_chunks(connection, series.row, since.max(first), until.min(last))?;
                    damage.append(&mut damaged);
                    if !samples.is_empty() {
                        entry(&mut found, series).parts.push(samples);
                    }
                }
                Ok(damage)
            };
            if let Some(damage) = self.shared.days.read(day, read) {
                self.shared.days.report(day, &damage);
            }
        }
        let limit = limit_points.min((MAX_ANSWER_POINTS / found.len().max(1)).max(1));
        Some(found.into_iter().map(|(key, found)| found.into_data(key, limit)).collect())
    }

    /// Returns the range of time from which there are samples on disk or in memory, of all metrics together.
    pub fn time_range(&self) -> Option<(Timestamp, Timestamp)> {
        let stored = self.shared.days.bounds().into_iter().filter_map(|(_, bounds)| bounds);
        let latest = self.latest(Timestamp::ZERO).into_iter().map(|(_, _, _, sample)| (sample.timestamp, sample.timestamp));
        stored.chain(latest).reduce(|left, right| (left.0.min(right.0), left.1.max(right.1)))
    }

    /// Returns whether there is a metric of that name, in either spelling.
    pub fn is_known(&self, name: &str) -> bool {
        let name = normalized_name(name);
        let closed = self.shared.days.closed();
        self.shared.engine.read().knows(&name)
            || closed.iter().any(|(_, day)| day.names.iter().any(|info| normalized_name(&info.name) == name))
    }
}

impl Shared {
    /// Returns what is not in chunks yet. To be called before files are read: a flush in between then shows a sample twice,
    /// which merging undoes, and never not at all.
    fn head(&self, name: &str, labels: &[(String, String)], since: Timestamp, until: Timestamp) -> BTreeMap<SeriesKey, Found> {
        let mut found = BTreeMap::new();
        for mut data in self.engine.read().unflushed(name, labels) {
            data.samples.retain(|sample| sample.timestamp >= since && sample.timestamp <= until);
            if !data.samples.is_empty() {
                found.insert(data.series, Found { kind: data.kind, unit: data.unit, parts: vec![data.samples] });
            }
        }
        found
    }

    /// Returns one series' samples of `day` in order of time, without those that were written again later. Blocks.
    pub(super) fn day_samples(&self, day: Day, series: StoredSeries, since: Timestamp, until: Timestamp) -> SeriesData {
        let days = self.days.bounds();
        let bounds = days.iter().find(|(other, _)| *other == day).and_then(|(_, bounds)| *bounds);
        let mut later = Vec::new();
        let is_today = self.days.current().0 == day;
        let head = self.engine.read().unflushed(&series.key.name, &[]);
        let head = head.into_iter().find(|data| data.series == series.key).map(|data| data.samples).unwrap_or_default();
        let within = |sample: &Sample| sample.timestamp >= since && sample.timestamp <= until;
        let mut samples = self.chunks_of(day, &series, since, until);
        if is_today {
            samples.extend(head.iter().copied().filter(within));
        } else {
            later.extend(head.into_iter().map(|sample| sample.timestamp));
        }
        if let Some((first, last)) = bounds {
            for (other, bounds) in &days {
                let overlaps = bounds.is_some_and(|(from, to)| from <= last && to >= first);
                if *other > day && overlaps {
                    later.extend(self.chunks_of(*other, &series, first, last).into_iter().map(|sample| sample.timestamp));
                }
            }
        }
        later.sort_unstable();
        samples.retain(|sample| later.binary_search(&sample.timestamp).is_err());
        SeriesData { series: series.key, kind: series.kind, unit: series.unit, samples: merged(samples) }
    }

    fn chunks_of(&self, day: Day, series: &StoredSeries, since: Timestamp, until: Timestamp) -> Vec<Sample> {
        let read = |connection: &rusqlite::Connection| {
            let same = store::series_named(connection, &series.key.name)?.into_iter().find(|other| other.key == series.key);
            same.map_or(Ok((Vec::new(), Damage::new())), |same| store::read_chunks(connection, same.row, since, until))
        };
        let (samples, damage) = self.days.read(day, read).unwrap_or_default();
        self.days.report(day, &damage);
        samples
    }
}

/// Returns the last moment before `until`: inside, ranges have both ends, as chunks have.
pub(super) fn last_before(until: Timestamp) -> Option<Timestamp> {
    (until > Timestamp::ZERO).then(|| until.minus(Duration::from_nanos(1)))
}

fn entry(found: &mut BTreeMap<SeriesKey, Found>, series: StoredSeries) -> &mut Found {
    found.entry(series.key).or_insert_with(|| Found { kind: series.kind, unit: series.unit, parts: Vec::new() })
}

fn newer_than(found: &Found, time: Timestamp) -> usize {
    found.parts.iter().flatten().filter(|sample| sample.timestamp > time).count()
}

impl Found {
    fn into_data(self, series: SeriesKey, limit: usize) -> SeriesData {
        let mut samples = merged(self.parts.into_iter().rev().flatten().collect());
        samples.drain(..samples.len().saturating_sub(limit));
        SeriesData { series, kind: self.kind, unit: self.unit, samples }
    }
}
