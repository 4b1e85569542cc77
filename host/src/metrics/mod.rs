//! The metrics engine: series of samples, recent ones in memory, all of them on disk.
//!
//! A batch is durable (one row of `batches` per commit) before it is acknowledged; the head keeps what is not yet in chunks, and the
//! newest samples of each series for rules. Every ten minutes the head becomes chunks. One SQLite file per UTC day of arrival.

pub mod api;
pub mod chunk;
pub mod days;
pub mod engine;
pub mod export;
pub mod exposition;
pub mod health;
pub mod query;
pub mod store;
pub mod types;
mod writer;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use rustc_hash::FxHashMap;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use watchfire_types::metric::normalized_name;
use watchfire_types::{Day, MetricBatch, MetricKind, Sample, SeriesKey, Timestamp};

use crate::clock::Clock;
use crate::nearest::nearest;
use crate::store::{Accepted, IngestError, StoreError};
use crate::telemetry::{Counter, Gauge, SelfMetrics};
use days::Days;
use engine::Engine;
pub use types::{DayInfo, MetricInfo, MetricsSettings, MetricsStats, SeriesData};
use writer::{Request, Writer};

/// Points that may wait for the writer; further ones are answered as busy.
const QUEUE_POINTS: usize = 500_000;
/// Batches that may wait for the writer.
const QUEUE_BATCHES: usize = 4096;
/// How far back samples are read into memory at start, beside the present day.
const RESTORE: Duration = Duration::from_secs(86_400);

/// The metrics engine's handle. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    shared: Arc<Shared>,
    requests: mpsc::Sender<Request>,
    room: Arc<Semaphore>,
    /// Lets a test end the task where it stands.
    #[cfg_attr(not(test), expect(dead_code, reason = "only a test crashes it"))]
    task: tokio::task::AbortHandle,
}

pub(crate) struct Shared {
    engine: RwLock<Engine>,
    days: Days,
    settings: MetricsSettings,
    clock: Clock,
    self_metrics: SelfMetrics,
    stored: Counter,
    series: Gauge,
    points: Gauge,
    changed: watch::Sender<u64>,
    /// Where a flush that has encoded waits, if a test wants it to.
    #[cfg(test)]
    gate: tests::Gate,
}

impl Metrics {
    /// Opens the engine on `<directory>/metrics`, reads back what is needed in memory, and starts its task on the present runtime.
    /// Blocks on disk.
    ///
    /// # Errors
    /// [`StoreError`] if the folder or the file of the present day cannot be used.
    pub fn open(directory: &Path, settings: MetricsSettings, clock: Clock, self_metrics: SelfMetrics) -> Result<Self, StoreError> {
        let folder = directory.join("metrics");
        std::fs::create_dir_all(&folder).map_err(|source| StoreError::Io { path: folder.clone(), source })?;
        let now = clock.now();
        let days = Days::open(folder, now.day(), &self_metrics)?;
        days.drop_before(now.minus(settings.retention))?;
        let mut engine = Engine::new(settings.clone());
        restore(&mut engine, &days, now)?;
        let stored = self_metrics.counter("watchfire_metrics_points_total", &[]);
        let series = self_metrics.gauge("watchfire_metrics_series", &[]);
        let points = self_metrics.gauge("watchfire_metrics_points_in_memory", &[]);
        let changed = watch::Sender::new(0);
        let engine = RwLock::new(engine);
        let shared = Arc::new(Shared {
            engine,
            days,
            settings,
            clock,
            self_metrics,
            stored,
            series,
            points,
            changed,
            #[cfg(test)]
            gate: tests::Gate::default(),
        });
        shared.show_size();
        let (requests, inbox) = mpsc::channel(QUEUE_BATCHES);
        let task = tokio::spawn(Writer::new(Arc::clone(&shared)).run(inbox)).abort_handle();
        let room = Arc::new(Semaphore::new(QUEUE_POINTS));
        Ok(Self { shared, requests, room, task })
    }

    /// Stores `batch` and returns once it is durable.
    ///
    /// # Errors
    /// [`IngestError::Busy`] when the queue or the disk is full.
    pub async fn ingest(&self, batch: MetricBatch) -> Result<Accepted, IngestError> {
        if batch.is_empty() {
            return Ok(Accepted::default());
        }
        let busy = || {
            self.shared.self_metrics.counter("watchfire_metrics_busy_total", &[]).inc();
            let reason = format!("more than {QUEUE_POINTS} points wait to be stored");
            IngestError::Busy { reason, retry_after: Duration::from_secs(1) }
        };
        let points = batch.len().min(QUEUE_POINTS) as u32;
        let room = Arc::clone(&self.room).try_acquire_many_owned(points).map_err(|_| busy())?;
        let (answer, result) = oneshot::channel();
        self.requests.try_send(Request::Ingest { batch, room, answer }).map_err(|error| match error {
            TrySendError::Full(_) => busy(),
            TrySendError::Closed(_) => StoreError::Closed.into(),
        })?;
        result.await.map_err(|_| StoreError::Closed)?
    }

    /// Returns a receiver that changes with each committed batch.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.shared.changed.subscribe()
    }

    /// Returns the series of metric `name` (either spelling) whose labels include `labels`, with the samples held in memory
    /// (`history_size` per series) from `since` on. Never blocks on disk: for rules.
    pub fn recent(&self, name: &str, labels: &[(String, String)], since: Timestamp) -> Vec<SeriesData> {
        self.shared.engine.read().recent(name, labels, since)
    }

    /// Returns the newest sample of each series that has one at or after `since`. Never blocks on disk.
    pub fn latest(&self, since: Timestamp) -> Vec<(Arc<SeriesKey>, MetricKind, String, Sample)> {
        self.shared.engine.read().latest(since)
    }

    /// Returns all metric names, sorted.
    pub fn names(&self) -> Vec<String> {
        self.names_with_info().into_iter().map(|info| info.name).collect()
    }

    /// Returns all metric names with what is known of them, sorted by name.
    pub fn names_with_info(&self) -> Vec<MetricInfo> {
        let mut names: BTreeMap<String, MetricInfo> = BTreeMap::new();
        for (_, closed) in self.shared.days.closed() {
            names.extend(closed.names.iter().map(|info| (info.name.clone(), info.clone())));
        }
        names.append(&mut self.shared.engine.read().names());
        names.into_values().collect()
    }

    /// Returns the known name that is most like `name`, if one is alike at all.
    pub fn nearest_name(&self, name: &str) -> Option<String> {
        let mut names: Vec<(String, String)> = self.names().into_iter().map(|known| (normalized_name(&known), known)).collect();
        let nearest = nearest(&normalized_name(name), names.iter().map(|(normalized, _)| normalized.as_str()))?;
        let at = names.iter().position(|(normalized, _)| normalized == nearest)?;
        Some(names.swap_remove(at).1)
    }

    /// Moves what is in memory only as batches into chunks, now.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be written; it stays durable as it is.
    pub async fn flush(&self) -> Result<(), StoreError> {
        self.ask(Request::Flush).await
    }

    /// Flushes, ends the engine's task and closes the present file. Later ingests fail as closed.
    ///
    /// # Errors
    /// [`StoreError`] if the flush failed; nothing acknowledged is lost.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.ask(Request::Close).await
    }

    /// Returns how much the engine holds.
    pub fn stats(&self) -> MetricsStats {
        let days = self.shared.days.sizes();
        let engine = self.shared.engine.read();
        let bytes = days.iter().map(|day| day.bytes).sum();
        MetricsStats { series: engine.series_count(), points_in_memory: engine.points_in_memory(), bytes, days: days.len() }
    }

    /// Returns the day files with their sizes, oldest first; the last one is being written.
    pub fn days(&self) -> Vec<DayInfo> {
        self.shared.days.sizes()
    }

    /// Deletes the oldest day file, to keep a byte cap; `None` if only the present day is left. Blocks on disk.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn drop_oldest_day(&self) -> Result<Option<Day>, StoreError> {
        self.shared.days.drop_oldest()
    }

    async fn ask(&self, request: impl FnOnce(oneshot::Sender<Result<(), StoreError>>) -> Request) -> Result<(), StoreError> {
        let (answer, result) = oneshot::channel();
        self.requests.send(request(answer)).await.map_err(|_| StoreError::Closed)?;
        result.await.map_err(|_| StoreError::Closed)?
    }
}

impl Shared {
    /// Shows how much is in memory in the host's own metrics.
    fn show_size(&self) {
        let engine = self.engine.read();
        self.series.set(engine.series_count() as f64);
        self.points.set(engine.points_in_memory() as f64);
    }
}

/// Reads back what the head holds: series and newest samples of the last two files, totals, and today's unflushed batches.
fn restore(engine: &mut Engine, days: &Days, now: Timestamp) -> Result<(), StoreError> {
    let (today, database) = days.current();
    let carried = database.read_blocking(store::day_state)?.carried;
    let before = days.closed().into_iter().map(|(day, _)| day).rfind(|day| *day < today);
    let since = now.minus(RESTORE);
    if let Some(day) = before {
        let damage = days.read(day, |connection| store_to_engine(connection, engine, day, false, since, !carried));
        days.report(day, &damage.unwrap_or_default());
    }
    let damage = database.read_blocking(|connection| store_to_engine(connection, engine, today, true, since, true))?;
    days.report(today, &damage);
    if !carried {
        // A day that begins with a restart, or whose beginning was cut off: its file must hold the totals of before.
        let (rows, totals) = engine.carry_totals();
        let mut connection = crate::store::database::open_writer(database.path(), store::MIGRATIONS)?;
        let begin = |connection: &mut rusqlite::Connection| {
            let transaction = connection.transaction()?;
            store::begin_day(&transaction, &rows, &totals)?;
            transaction.commit()
        };
        begin(&mut connection).map_err(|source| StoreError::Sqlite { path: database.path().to_owned(), source })?;
    }
    Ok(())
}

fn store_to_engine(
    connection: &rusqlite::Connection,
    engine: &mut Engine,
    day: Day,
    present: bool,
    since: Timestamp,
    with_totals: bool,
) -> rusqlite::Result<store::Damage> {
    let mut damage = store::Damage::new();
    let mut slots = FxHashMap::default();
    let totals: FxHashMap<i64, f64> =
        if with_totals { store::read_totals(connection)?.into_iter().collect() } else { FxHashMap::default() };
    for series in store::series_after(connection, 0, usize::MAX >> 1)? {
        let (samples, mut damaged) = store::newest_samples(connection, series.row, since, engine.history_size())?;
        damage.append(&mut damaged);
        let total = totals.get(&series.row).copied();
        if samples.is_empty() && total.is_none() && !present {
            continue;
        }
        let row = present.then_some(series.row);
        if let Some(slot) = engine.restore_series(series.key, series.kind, series.unit, row) {
            engine.restore_ring(slot, &samples);
            slots.insert(series.row, slot);
            if let Some(total) = total {
                engine.restore_total(slot, total, day.start());
            }
        }
    }
    if present {
        let (points, mut damaged) = store::read_batches(connection)?;
        damage.append(&mut damaged);
        for (row, sample) in points {
            if let Some(slot) = slots.get(&row) {
                engine.restore_pending(*slot, sample);
            }
        }
    }
    Ok(damage)
}

#[cfg(test)]
mod tests;
