//! The one task that changes the head and the files: commits what has arrived together, flushes, changes the day, drops old files.
//!
//! A flush runs beside commits: it encodes what was pending when it began, outside any transaction, and deletes only the batches
//! up to that moment. Commits meanwhile are later batches and stay pending.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};
use watchfire_types::{Day, MetricBatch, Timestamp};

use super::days::chain;
use super::engine::{Pending, Plan, Slot};
use super::{Shared, chunk, store};
use crate::store::crash::crash_point;
use crate::store::{Accepted, Database, IngestError, StoreError};

/// How often the head goes to chunks.
const FLUSH_INTERVAL: Duration = Duration::from_secs(600);
/// Points outside chunks at which the head is flushed early: what a start has to replay.
const FLUSH_POINTS: usize = 200_000;
/// Points outside chunks at which commits wait for the flush under way, which bounds memory (16 MB).
const MAX_PENDING_POINTS: usize = 1_000_000;
/// Points of one commit, unless one batch alone is larger.
const COMMIT_POINTS: usize = 100_000;
/// Work on fewer points is done in place: handing it to another thread would take longer.
const INLINE_POINTS: usize = 1000;
/// When to try again what failed, such as a flush on a full disk.
const RETRY: Duration = Duration::from_secs(30);

/// What the task is asked to do.
pub(super) enum Request {
    /// Store these points.
    Ingest {
        batch: MetricBatch,
        /// Room in the queue, given back once the points are durable.
        room: OwnedSemaphorePermit,
        answer: oneshot::Sender<Result<Accepted, IngestError>>,
    },
    /// Flush now.
    Flush(oneshot::Sender<Result<(), StoreError>>),
    /// Flush and end.
    Close(oneshot::Sender<Result<(), StoreError>>),
}

type Waiting = (OwnedSemaphorePermit, oneshot::Sender<Result<Accepted, IngestError>>);

pub(super) struct Writer {
    shared: Arc<Shared>,
    next_flush: Timestamp,
    next_roll: Timestamp,
    /// A change of day that has begun and must be finished before anything else is written.
    rolling: Option<Day>,
    /// The flush under way, if any; it is given up when the writer goes.
    flush: JoinSet<Result<store::Damage, StoreError>>,
    /// What the flush under way takes of each series.
    taken: Vec<(Slot, usize)>,
}

/// What was pending when a flush began.
struct Snapshot {
    pending: Vec<Pending>,
    totals: Vec<(i64, f64)>,
    /// The newest batch whose points are in it.
    last_batch: i64,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let now = shared.clock.now();
        let next_roll = shared.days.current().0.next().start();
        let next_flush = now.plus(FLUSH_INTERVAL);
        Self { shared, next_flush, next_roll, rolling: None, flush: JoinSet::new(), taken: Vec::new() }
    }

    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let clock = self.shared.clock.clone();
        loop {
            let deadline = self.next_flush.min(self.next_roll);
            let mut next = tokio::select! {
                biased;
                Some(ended) = self.flush.join_next() => {
                    report_flush(self.flush_ended(ended));
                    None
                }
                request = requests.recv() => {
                    let Some(request) = request else { break };
                    Some(request)
                }
                () = clock.sleep_until(deadline) => {
                    self.tick().await;
                    None
                }
            };
            while let Some(request) = next.take() {
                match request {
                    Request::Ingest { batch, room, answer } => {
                        let mut points = batch.len();
                        let (mut batches, mut waiting) = (vec![batch], vec![(room, answer)]);
                        while points < COMMIT_POINTS {
                            match requests.try_recv() {
                                Ok(Request::Ingest { batch, room, answer }) => {
                                    points += batch.len();
                                    batches.push(batch);
                                    waiting.push((room, answer));
                                }
                                Ok(other) => {
                                    next = Some(other);
                                    break;
                                }
                                Err(_) => break,
                            }
                        }
                        self.commit(batches, waiting).await;
                    }
                    Request::Flush(answer) => {
                        let _ = answer.send(self.flush_all().await);
                    }
                    Request::Close(answer) => {
                        let result = self.flush_all().await;
                        let (_, database) = self.shared.days.current();
                        let _ = tokio::task::spawn_blocking(move || database.close()).await;
                        let _ = answer.send(result);
                        return;
                    }
                }
            }
        }
        // Whoever held the handle has gone without closing; nothing would be lost, but the next start is quicker.
        let _ = self.flush_all().await;
    }

    async fn commit(&mut self, batches: Vec<MetricBatch>, waiting: Vec<Waiting>) {
        match self.try_commit(batches).await {
            Ok(plan) => {
                for ((room, answer), accepted) in waiting.into_iter().zip(&plan.accepted) {
                    drop(room);
                    let _ = answer.send(Ok(accepted.clone()));
                }
            }
            Err(error) => {
                tracing::error!(detail = %chain(&error), "metrics could not be stored");
                for (_, answer) in waiting {
                    let _ = answer.send(Err(ingest_error(&error)));
                }
            }
        }
        let pending = self.shared.engine.read().pending_points();
        if pending >= MAX_PENDING_POINTS {
            report_flush(self.end_flush().await);
        }
        if pending >= FLUSH_POINTS {
            report_flush(self.begin_flush().await);
        }
    }

    async fn try_commit(&mut self, batches: Vec<MetricBatch>) -> Result<Arc<Plan>, StoreError> {
        let now = self.shared.clock.now();
        self.roll_if_due(now).await?;
        let shared = Arc::clone(&self.shared);
        let count = batches.iter().map(Vec::len).sum();
        let (plan, bytes) = in_place_or_aside(count, move || {
            let plan = shared.engine.write().plan(batches, now);
            let bytes = chunk::encode_batch(&plan.points);
            (Arc::new(plan), bytes)
        })
        .await?;
        for (refusal, count) in &plan.refused {
            self.shared.self_metrics.counter("watchfire_metrics_rejected_total", &[("reason", refusal.label())]).add(*count);
        }
        if plan.points.is_empty() {
            return Ok(plan);
        }
        let (_, database) = self.shared.days.current();
        let written = Arc::clone(&plan);
        database
            .write(move |transaction| {
                store::commit(transaction, &written.rows, &written.new_totals, written.points.len(), &bytes)?;
                crash_point("metrics.before_commit");
                Ok(())
            })
            .await?;
        crash_point("metrics.after_commit");
        let (shared, applied) = (Arc::clone(&self.shared), Arc::clone(&plan));
        in_place_or_aside(plan.points.len(), move || shared.engine.write().apply(&applied, now)).await?;
        self.shared.stored.add(plan.points.len() as u64);
        self.shared.show_size();
        self.shared.changed.send_modify(|commits| *commits += 1);
        Ok(plan)
    }

    /// Begins to move the head into chunks, unless that is under way already or there is nothing to move.
    async fn begin_flush(&mut self) -> Result<(), StoreError> {
        let now = self.shared.clock.now();
        self.next_flush = now.plus(RETRY);
        if !self.flush.is_empty() {
            return Ok(());
        }
        if self.shared.engine.read().pending_points() == 0 {
            self.next_flush = now.plus(FLUSH_INTERVAL);
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        let snapshot = aside(move || -> Result<_, StoreError> {
            // Nobody commits meanwhile: the writer waits here. So both speak of the same batches.
            let last_batch = shared.days.current().1.read_blocking(store::last_batch)?;
            let engine = shared.engine.read();
            Ok(Snapshot { pending: engine.pending(), totals: engine.totals(), last_batch })
        })
        .await??;
        self.taken = snapshot.pending.iter().map(|pending| (pending.slot, pending.samples.len())).collect();
        self.flush.spawn(move_to_chunks(Arc::clone(&self.shared), snapshot));
        Ok(())
    }

    /// Waits for the flush under way, if any.
    async fn end_flush(&mut self) -> Result<(), StoreError> {
        match self.flush.join_next().await {
            Some(ended) => self.flush_ended(ended),
            None => Ok(()),
        }
    }

    fn flush_ended(&mut self, ended: Result<Result<store::Damage, StoreError>, JoinError>) -> Result<(), StoreError> {
        let taken = std::mem::take(&mut self.taken);
        let damage = ended.map_err(|_| StoreError::Closed)??;
        self.shared.engine.write().flushed(&taken);
        self.shared.show_size();
        self.shared.days.report(self.shared.days.current().0, &damage);
        self.next_flush = self.shared.clock.now().plus(FLUSH_INTERVAL);
        Ok(())
    }

    /// Moves all of the head into chunks. Commits wait for it.
    async fn flush_all(&mut self) -> Result<(), StoreError> {
        // If the one under way fails, its points are still pending, and the next says why it fails too.
        let _ = self.end_flush().await;
        self.begin_flush().await?;
        self.end_flush().await
    }

    async fn tick(&mut self) {
        let now = self.shared.clock.now();
        let rolled = self.roll_if_due(now).await;
        let flushed = if now >= self.next_flush { self.begin_flush().await } else { Ok(()) };
        report_flush(rolled);
        report_flush(flushed);
        self.drop_old(now).await;
    }

    async fn drop_old(&self, now: Timestamp) {
        let shared = Arc::clone(&self.shared);
        let oldest = now.minus(shared.settings.retention);
        let dropped = tokio::task::spawn_blocking(move || shared.days.drop_before(oldest)).await;
        match dropped {
            Ok(Ok(days)) => {
                for day in days {
                    tracing::info!(%day, "a day of metrics is past retention and was dropped");
                }
            }
            Ok(Err(error)) => tracing::error!(detail = %chain(&error), "a day of metrics past retention could not be dropped"),
            Err(_) => {}
        }
    }

    /// Changes the day if a new one has begun. A clock that steps back stays in the day that is open.
    async fn roll_if_due(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let present = self.shared.days.current().0;
        let Some(day) = self.rolling.or_else(|| (now.day() > present).then(|| now.day())) else { return Ok(()) };
        self.next_roll = now.plus(RETRY);
        if self.rolling.is_none() {
            self.flush_all().await?;
        }
        let shared = Arc::clone(&self.shared);
        let prepare = move || -> Result<_, StoreError> {
            let database = shared.days.prepare(day)?;
            let existing = database.read_blocking(|connection| store::series_after(connection, 0, usize::MAX >> 1))?;
            Ok((database, existing))
        };
        let (database, existing): (Database, _) = aside(prepare).await??;
        // From here on the rows of the engine belong to the new file.
        self.rolling = Some(day);
        let existing: Vec<_> = existing.into_iter().map(|series| (series.key, series.row)).collect();
        let (rows, totals) = self.shared.engine.write().roll(now, &existing);
        database.write(move |transaction| store::begin_day(transaction, &rows, &totals)).await?;
        let shared = Arc::clone(&self.shared);
        aside(move || shared.days.switch(day, database)).await?;
        self.rolling = None;
        self.next_roll = day.next().start();
        self.drop_old(now).await;
        Ok(())
    }
}

/// Writes `snapshot` into chunks of the present day, in the place of its batches.
async fn move_to_chunks(shared: Arc<Shared>, snapshot: Snapshot) -> Result<store::Damage, StoreError> {
    let Snapshot { pending, totals, last_batch } = snapshot;
    let (_, database) = shared.days.current();
    let mut chunks = database.read(move |connection| store::encode(connection, pending)).await?;
    let damage = std::mem::take(&mut chunks.damage);
    #[cfg(test)]
    shared.gate.pass().await;
    database
        .write(move |transaction| {
            store::flush(transaction, &chunks, &totals, last_batch)?;
            crash_point("metrics.before_flush_commit");
            Ok(())
        })
        .await?;
    crash_point("metrics.after_flush_commit");
    Ok(damage)
}

fn report_flush(result: Result<(), StoreError>) {
    if let Err(error) = result {
        tracing::error!(detail = %chain(&error), "metrics could not be moved into chunks");
    }
}

async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| StoreError::Closed)
}

async fn in_place_or_aside<T: Send + 'static>(points: usize, work: impl FnOnce() -> T + Send + 'static) -> Result<T, StoreError> {
    if points <= INLINE_POINTS { Ok(work()) } else { aside(work).await }
}

/// Returns `error` for one of the several senders that wait for the same commit.
fn ingest_error(error: &StoreError) -> IngestError {
    let full = |reason: &str| IngestError::Busy { reason: reason.to_owned(), retry_after: RETRY };
    match error {
        StoreError::Sqlite { source: rusqlite::Error::SqliteFailure(failure, _), .. }
            if failure.code == rusqlite::ErrorCode::DiskFull =>
        {
            full("the disk is full")
        }
        StoreError::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => full("the disk is full"),
        StoreError::Sqlite { path, source } => {
            let source = match source {
                rusqlite::Error::SqliteFailure(failure, text) => rusqlite::Error::SqliteFailure(*failure, text.clone()),
                other => rusqlite::Error::ToSqlConversionFailure(other.to_string().into()),
            };
            StoreError::Sqlite { path: path.clone(), source }.into()
        }
        StoreError::Io { path, source } => {
            StoreError::Io { path: path.clone(), source: std::io::Error::new(source.kind(), source.to_string()) }.into()
        }
        StoreError::Damaged { place, what } => StoreError::Damaged { place: place.clone(), what: what.clone() }.into(),
        _ => StoreError::Closed.into(),
    }
}
