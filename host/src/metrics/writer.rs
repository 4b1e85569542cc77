//! The one task that changes the head and the files: commits what has arrived together, flushes, changes the day, drops old files.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use watchfire_types::{Day, MetricBatch, Timestamp};

use super::days::chain;
use super::engine::Plan;
use super::{Shared, chunk, store};
use crate::store::crash::crash_point;
use crate::store::{Accepted, Database, IngestError, StoreError};

/// How often the head goes to chunks.
const FLUSH_INTERVAL: Duration = Duration::from_secs(600);
/// Points outside chunks at which the head is flushed early: what a start has to replay.
const FLUSH_POINTS: usize = 200_000;
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
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let now = shared.clock.now();
        let next_roll = shared.days.current().0.next().start();
        Self { shared, next_flush: now.plus(FLUSH_INTERVAL), next_roll, rolling: None }
    }

    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let clock = self.shared.clock.clone();
        loop {
            let deadline = self.next_flush.min(self.next_roll);
            let mut next = tokio::select! {
                biased;
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
                        let _ = answer.send(self.flush().await);
                    }
                    Request::Close(answer) => {
                        let result = self.flush().await;
                        let (_, database) = self.shared.days.current();
                        let _ = tokio::task::spawn_blocking(move || database.close()).await;
                        let _ = answer.send(result);
                        return;
                    }
                }
            }
        }
        // Whoever held the handle has gone without closing; nothing would be lost, but the next start is quicker.
        let _ = self.flush().await;
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
        if self.shared.engine.read().pending_points() >= FLUSH_POINTS
            && let Err(error) = self.flush().await
        {
            tracing::error!(detail = %chain(&error), "metrics could not be moved into chunks");
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

    /// Moves the head into chunks.
    async fn flush(&mut self) -> Result<(), StoreError> {
        self.next_flush = self.shared.clock.now().plus(RETRY);
        let shared = Arc::clone(&self.shared);
        let points = shared.engine.read().pending_points();
        if points > 0 {
            let (pending, totals) = in_place_or_aside(points, move || {
                let engine = shared.engine.read();
                (engine.pending(), engine.totals())
            })
            .await?;
            let (day, database) = self.shared.days.current();
            let damage = database
                .write(move |transaction| {
                    let damage = store::flush(transaction, &pending, &totals)?;
                    crash_point("metrics.before_flush_commit");
                    Ok(damage)
                })
                .await?;
            crash_point("metrics.after_flush_commit");
            self.shared.engine.write().flushed();
            self.shared.show_size();
            self.shared.days.report(day, &damage);
        }
        self.next_flush = self.shared.clock.now().plus(FLUSH_INTERVAL);
        Ok(())
    }

    async fn tick(&mut self) {
        let now = self.shared.clock.now();
        let rolled = self.roll_if_due(now).await;
        let flushed = if now >= self.next_flush { self.flush().await } else { Ok(()) };
        for error in [rolled.err(), flushed.err()].into_iter().flatten() {
            tracing::error!(detail = %chain(&error), "metrics could not be moved into chunks");
        }
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
            self.flush().await?;
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
