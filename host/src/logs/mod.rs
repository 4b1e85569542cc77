//! The log engine: blocks of records on disk, found again by text, level, service, attribute and time.

pub mod api;
pub mod block;
mod compact;
pub mod engine;
mod files;
mod filter_parts;
mod held;
mod intake;
pub mod matcher;
mod outlines;
pub mod patterns;
pub mod pressure;
pub mod query;
mod recent;
mod rewrite;
pub mod search;
mod summary;
pub mod tokens;
pub mod types;
mod varint;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use watchfire_types::{Day, LogBatch, Timestamp};

use crate::clock::Clock;
use crate::redaction::Redaction;
use crate::store::{Accepted, IngestError, StoreError};
use crate::telemetry::{Counter, SelfMetrics};
use files::{DayFile, Files, ignore_vanished};
pub use files::{Skim, Skimmed};
use intake::{Pending, Stages};
use matcher::Matcher;
pub use patterns::PatternInfo;
use pressure::{Pressure, Stage, Thresholds};
use query::scan::Control;
use recent::Recent;
use search::Search;
pub use summary::SummaryRow;
pub use types::{FileOffset, LogFilter};
use writer::{Job, Writer, WriterShared};

/// Bytes of records that may wait to be written; beyond that senders are told to come again.
const QUEUE_BYTES: usize = 64 << 20;
/// The queue's share is counted in units of this many bytes.
const PERMIT_BYTES: usize = 1024;
/// Batches that may wait to be written.
const QUEUE_BATCHES: usize = 4096;

/// The log engine's handle. Cheap to clone.
#[derive(Clone)]
pub struct Logs(Arc<Inner>);

struct Inner {
    files: Arc<Files>,
    shared: Arc<WriterShared>,
    clock: Clock,
    retention: Duration,
    queue: Mutex<Option<mpsc::Sender<Pending>>>,
    jobs: Mutex<Option<SyncSender<Job>>>,
    room: Arc<Semaphore>,
    committed: watch::Receiver<u64>,
    redaction: OnceLock<Redaction>,
    rejected_old: Counter,
    rejected_new: Counter,
    busy: Counter,
    damaged: Counter,
    pressure: Option<Pressure>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// How the log is kept.
pub struct LogSettings {
    /// Older records are refused, and patterns that were not used for as long are forgotten.
    pub retention: Duration,
    /// How patterns are mined; `None` for not at all.
    pub patterns: Option<patterns::Settings>,
    /// When less is taken in because the disk is almost full, and most bytes of all telemetry; `None` for never.
    pub room: Option<(Thresholds, u64)>,
}

/// How much the log holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct LogStats {
    /// Records stored.
    pub records: u64,
    /// Position of the last one, as a decimal string.
    pub last_seq: String,
    /// Bytes on disk.
    pub bytes: u64,
}

impl Logs {
    /// Opens the log in `<data>/logs`, without patterns, and starts its threads. Records older than `retention` are refused.
    ///
    /// # Errors
    /// [`StoreError`] when a file cannot be opened.
    pub fn open(data: &Path, retention: Duration, clock: &Clock, metrics: &SelfMetrics) -> Result<Self, StoreError> {
        Self::open_with(data, LogSettings { retention, patterns: None, room: None }, clock, metrics)
    }

    /// As [`Self::open`], with all that happens between queue and block.
    ///
    /// # Errors
    /// [`StoreError`] when a file cannot be opened.
    pub fn open_with(data: &Path, settings: LogSettings, clock: &Clock, metrics: &SelfMetrics) -> Result<Self, StoreError> {
        let LogSettings { retention, patterns, room } = settings;
        let files = Arc::new(Files::find(&data.join("logs"))?);
        let (committed, watch_committed) = watch::channel(0);
        let (wake_compactor, compactor_bell) = sync_channel(1);
        let (wake_checkpointer, checkpointer_bell) = sync_channel(1);
        let shared = Arc::new(WriterShared {
            files: Arc::clone(&files),
            clock: clock.clone(),
            committed,
            records: metrics.counter("watchfire_log_records_total", &[]),
            commits: metrics.counter("watchfire_log_commits_total", &[]),
            wal_bytes: metrics.gauge("watchfire_log_wal_bytes", &[]),
            failure: Mutex::new(None),
            disk_full: AtomicBool::new(false),
            wake_compactor,
            wake_checkpointer,
            small_blocks: AtomicUsize::new(1),
            unsynced_bytes: AtomicU64::new(0),
            service_retention: Mutex::default(),
            recent: Recent::default(),
            closing: AtomicBool::new(false),
            patterns: Arc::default(),
            retention,
        });
        let damaged = metrics.counter("watchfire_log_blocks_damaged_total", &[]);
        let writer = Writer::open(Arc::clone(&shared))?;
        let (queue, pending) = mpsc::channel(QUEUE_BATCHES);
        // One group is committed, one is ready, one is being encoded; one more waits for that, and one is on its way through the stages.
        let (jobs, do_jobs) = sync_channel(1);
        let (encode, to_encode) = sync_channel(1);
        let open_stage = |settings| patterns::Stage::open(settings, Arc::clone(&files), Arc::clone(&shared.patterns), metrics);
        let stages = Stages { patterns: patterns.map(open_stage).transpose()? };
        let compactor = compact::Compactor {
            shared: Arc::clone(&shared),
            jobs: jobs.clone(),
            merges: metrics.counter("watchfire_log_merges_total", &[]),
            damaged: damaged.clone(),
            skipped: HashSet::new(),
            finished: HashMap::new(),
            rewrites: metrics.counter("watchfire_log_rewrites_total", &[]),
            expired: metrics.counter("watchfire_log_records_expired_total", &[]),
            stale: Vec::new(),
        };
        let encoder_jobs = jobs.clone();
        let checkpointer = Arc::clone(&shared);
        let threads = vec![
            spawn("log-intake", move || intake::run(pending, &encode, stages))?,
            spawn("log-encode", move || writer::run_encoder(&to_encode, &encoder_jobs))?,
            spawn("log-write", move || writer.run(&do_jobs))?,
            spawn("log-compact", move || compactor.run(&compactor_bell))?,
            spawn("log-checkpoint", move || writer::run_checkpointer(&checkpointer, &checkpointer_bell))?,
        ];
        // What a crash left unmerged is merged now.
        let _ = shared.wake_compactor.try_send(());
        Ok(Self(Arc::new(Inner {
            files,
            shared,
            clock: clock.clone(),
            retention,
            queue: Mutex::new(Some(queue)),
            jobs: Mutex::new(Some(jobs)),
            room: Arc::new(Semaphore::new(QUEUE_BYTES / PERMIT_BYTES)),
            committed: watch_committed,
            redaction: OnceLock::new(),
            rejected_old: metrics.counter("watchfire_log_records_rejected_total", &[("reason", "too_old")]),
            rejected_new: metrics.counter("watchfire_log_records_rejected_total", &[("reason", "too_new")]),
            busy: metrics.counter("watchfire_log_batches_busy_total", &[]),
            damaged,
            pressure: room.map(|(thresholds, most)| Pressure::new(data, thresholds, most, metrics)),
            threads: Mutex::new(threads),
        })))
    }

    /// Stores `batch` and returns once it is durable and searchable. `offsets` of tailed files are stored in the same transaction.
    /// Records outside the retention are refused one by one, and so are the least important ones while the disk is almost full.
    ///
    /// # Errors
    /// [`IngestError::Busy`] when the queue or the disk is full: nothing of the batch is stored.
    pub async fn ingest(&self, mut batch: LogBatch, offsets: Vec<FileOffset>) -> Result<Accepted, IngestError> {
        let inner = &self.0;
        let stage = inner.pressure.as_ref().map_or(Stage::All, Pressure::stage);
        if let (Stage::Nothing, Some(pressure)) = (stage, &inner.pressure) {
            inner.busy.inc();
            let (reason, retry_after) = pressure.refusal();
            return Err(IngestError::Busy { reason, retry_after });
        }
        let now = inner.clock.now();
        engine::fill_times(&mut batch, now);
        let (old, new) = engine::count_refused(&batch, now, inner.retention);
        let mut refused = Vec::new();
        if old + new > 0 {
            refused = engine::refused_rows(&batch, now, inner.retention);
            batch = engine::without_refused(&batch, now, inner.retention);
            inner.rejected_old.add(old as u64);
            inner.rejected_new.add(new as u64);
        }
        let shed = inner.pressure.as_ref().map_or_else(Vec::new, |pressure| pressure.shed(&mut batch, stage));
        if !shed.is_empty() {
            let rows = engine::original_rows(&shed, &refused);
            refused.extend(rows.into_iter().map(|row| (row, engine::SHED)));
            refused.sort_unstable();
        }
        let shed = shed.len();
        let mut reasons = Vec::new();
        reasons.extend((old > 0).then(|| format!("{old} records are {}", engine::TOO_OLD)));
        reasons.extend((new > 0).then(|| format!("{new} records are {}", engine::TOO_NEW)));
        reasons.extend((shed > 0).then(|| format!("{shed} records were dropped, as there is little room left: {}", stage.sheds())));
        let rejected = (old + new + shed) as u64;
        let accepted = Accepted { accepted: batch.len() as u64, rejected, reason: reasons.join(", "), refused };
        if batch.is_empty() && offsets.is_empty() {
            return Ok(accepted);
        }
        self.enqueue(batch, offsets).await?;
        Ok(accepted)
    }

    /// Redacts every batch from now on, before it is queued: so nothing that reads the log, patterns and the live tail included, sees
    /// what is taken out, and senders' threads do the work side by side.
    pub fn redact_with(&self, redaction: Redaction) {
        // Set once, where the host is put together.
        let _ = self.0.redaction.set(redaction);
    }

    /// Takes out of `batch` what [`Self::ingest`] would take out: for whoever must know before that what will be stored.
    pub fn redact(&self, batch: &mut LogBatch) {
        if let Some(redaction) = self.0.redaction.get() {
            redaction.apply(batch);
        }
    }

    async fn enqueue(&self, mut batch: LogBatch, offsets: Vec<FileOffset>) -> Result<(), IngestError> {
        let inner = &self.0;
        let busy = || {
            inner.busy.inc();
            let reason = format!("more than {} MiB of logs wait to be written", QUEUE_BYTES >> 20);
            IngestError::Busy { reason, retry_after: Duration::from_secs(1) }
        };
        self.redact(&mut batch);
        // A batch larger than the whole queue passes when the queue is empty.
        let permits = batch.memory_bytes().div_ceil(PERMIT_BYTES).clamp(1, QUEUE_BYTES / PERMIT_BYTES) as u32;
        let permit = Arc::clone(&inner.room).try_acquire_many_owned(permits).map_err(|_| busy())?;
        let queue = inner.queue.lock().clone().ok_or(StoreError::Closed)?;
        let (answer, done) = oneshot::channel();
        queue.try_send(Pending { batch, offsets, answer, permit }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => busy(),
            mpsc::error::TrySendError::Closed(_) => StoreError::Closed.into(),
        })?;
        done.await.map_err(|_| StoreError::Closed)?
    }

    /// Returns the offsets of all tailed files, as last stored.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read.
    pub fn file_offsets(&self) -> Result<Vec<FileOffset>, StoreError> {
        let Some(file) = self.0.files.newest() else { return Ok(Vec::new()) };
        Ok(file.readers.read(DayFile::offsets)?.into_iter().map(|(offset, _)| offset).collect())
    }

    /// Returns a receiver of the last committed `seq`.
    #[must_use]
    pub fn committed(&self) -> watch::Receiver<u64> {
        self.0.committed.clone()
    }

    /// Returns about `limit` records after `cursor` in order of `seq`: fewer if they are large, or if there are no more in that day's file.
    /// Empty at the end. Blocks on disk.
    ///
    /// # Errors
    /// [`StoreError`] when a file cannot be read; a damaged block is reported and skipped.
    pub fn read_after(&self, cursor: u64, limit: usize) -> Result<LogBatch, StoreError> {
        Ok(self.skim(cursor, limit, None)?.batch)
    }

    /// As [`Self::read_after`], but returns only the records that `skim` asks for, and how many there are in all. Blocks on disk.
    ///
    /// # Errors
    /// As [`Self::read_after`].
    pub fn skim_after(&self, cursor: u64, limit: usize, skim: &Skim<'_>) -> Result<Skimmed, StoreError> {
        self.skim(cursor, limit, Some(skim))
    }

    fn skim(&self, cursor: u64, limit: usize, skim: Option<&Skim<'_>>) -> Result<Skimmed, StoreError> {
        if cursor >= *self.0.committed.borrow() {
            return Ok(Skimmed::default());
        }
        if let Some(skimmed) = self.0.shared.recent.read_after(cursor, skim) {
            return Ok(skimmed);
        }
        let mut report = |error: StoreError| {
            self.0.damaged.inc();
            tracing::error!(%error, "a log block cannot be read; it is skipped, the rest is read");
        };
        for file in self.0.files.all() {
            let skimmed = ignore_vanished(file.read_after(cursor, limit, skim, &mut report))?.unwrap_or_default();
            if skimmed.last.is_some() {
                return Ok(skimmed);
            }
        }
        Ok(Skimmed::default())
    }

    /// Returns the `seq` before the first block that holds a record which arrived at `moment` or later.
    ///
    /// # Errors
    /// [`StoreError`] when a file cannot be read.
    pub fn cursor_at_arrival(&self, moment: Timestamp) -> Result<u64, StoreError> {
        let before = *self.0.committed.borrow();
        Ok(self.0.files.cursor_at(moment)?.unwrap_or(before))
    }

    /// Begins a search for at most `limit` records, the newest event time first. Blocks on disk.
    ///
    /// # Errors
    /// [`StoreError`] when a file cannot be read.
    pub fn search(&self, filter: &LogFilter, limit: usize) -> Result<Search, StoreError> {
        let matcher = Matcher::knowing(filter, &|id| self.resolve_patterns(id));
        self.search_with(matcher, limit, Arc::new(Control::new(None)))
    }

    /// Begins a search for at most `limit` records that `matcher` means, which `control` may stop. Blocks on disk.
    ///
    /// # Errors
    /// [`StoreError`] when a file cannot be read.
    pub fn search_with(&self, matcher: Matcher, limit: usize, control: Arc<Control>) -> Result<Search, StoreError> {
        Search::new(&self.0.files, matcher, limit, control, self.0.damaged.clone())
    }

    /// Returns every pattern id that is the same pattern as `id`, because they were merged; the one that stands for all is first.
    #[must_use]
    pub fn resolve_patterns(&self, id: u64) -> Vec<u64> {
        self.0.shared.patterns.merges.read().family(id)
    }

    /// Returns how many patterns have been merged into others: what [`Self::resolve_patterns`] says stays the same as long as this does.
    #[must_use]
    pub fn pattern_merges(&self) -> u64 {
        self.0.shared.patterns.merge_count.load(std::sync::atomic::Ordering::Acquire)
    }

    /// Returns what is remembered of the patterns `ids`. Blocks on disk.
    ///
    /// # Errors
    /// [`StoreError`] when a file cannot be read.
    pub fn patterns(&self, ids: &[u64]) -> Result<FxHashMap<u64, PatternInfo>, StoreError> {
        let mut found = FxHashMap::default();
        for file in self.0.files.all().iter().rev() {
            if found.len() >= ids.len() {
                break;
            }
            let look_up = |connection: &rusqlite::Connection| patterns::table::look_up(connection, ids, &mut found);
            ignore_vanished(file.readers.read(look_up))?;
        }
        Ok(found)
    }

    /// Calls `each` with how many records each block holds of each minute, severity, service and pattern, for all minutes that begin at
    /// `since` or later and before `until`. Exact; what belongs together may come in several rows, since blocks overlap. Blocks on disk.
    ///
    /// # Errors
    /// [`StoreError`] when a file cannot be read. A damaged summary is reported and its block read instead; a damaged block is skipped.
    pub fn summaries(&self, since: Timestamp, until: Timestamp, each: &mut dyn FnMut(&SummaryRow<'_>)) -> Result<(), StoreError> {
        let mut report = |error: StoreError| {
            self.0.damaged.inc();
            tracing::error!(%error, "a log block or its summary cannot be read; the rest is");
        };
        for file in self.0.files.all() {
            ignore_vanished(file.summaries(since, until, each, &mut report))?;
        }
        Ok(())
    }

    /// Returns the least and greatest event time stored, if there are records. Blocks on disk.
    ///
    /// # Errors
    /// [`StoreError`] when a file cannot be read.
    pub fn time_range(&self) -> Result<Option<(Timestamp, Timestamp)>, StoreError> {
        self.0.files.time_range()
    }

    /// Returns all `service.name`s, sorted; empty for records without one. Blocks on disk.
    ///
    /// # Errors
    /// [`StoreError`] when a file cannot be read.
    pub fn services(&self) -> Result<Vec<String>, StoreError> {
        self.0.files.services()
    }

    /// Returns how much is stored. Blocks on disk.
    ///
    /// # Errors
    /// [`StoreError`] when a file cannot be read.
    pub fn stats(&self) -> Result<LogStats, StoreError> {
        Ok(LogStats {
            records: self.0.files.count()?,
            last_seq: self.0.committed.borrow().to_string(),
            bytes: self.days().iter().map(|(_, bytes)| bytes).sum(),
        })
    }

    /// Returns why commits fail at present, or which thread has ended by itself.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        let ended = || {
            let threads = self.0.threads.lock();
            let is_ended = |thread: &&JoinHandle<()>| thread.is_finished() && !self.0.shared.is_closing();
            let names: Vec<&str> = threads.iter().filter(is_ended).filter_map(|thread| thread.thread().name()).collect();
            (!names.is_empty()).then(|| format!("ended by themselves: {}; restart the host", names.join(", ")))
        };
        self.0.shared.failure.lock().clone().or_else(ended)
    }

    /// Tries what failed once more, without records: when it works, [`Self::failure`] is over.
    pub async fn probe(&self) {
        let (answer, done) = oneshot::channel();
        if self.send_job(Job::Probe { answer }).await {
            let _ = done.await;
        }
    }

    /// Runs `work` in the writer's thread.
    #[cfg(test)]
    pub(crate) async fn in_writer(&self, work: impl FnOnce(&mut rusqlite::Connection) + Send + 'static) {
        self.send_job(Job::Test(Box::new(work))).await;
    }

    /// Returns whether commits fail at present because the disk is full.
    #[must_use]
    pub fn disk_is_full(&self) -> bool {
        self.0.shared.disk_full.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Returns the arrival days that have a file, oldest first, with their bytes on disk.
    #[must_use]
    pub fn days(&self) -> Vec<(Day, u64)> {
        self.0.files.all().iter().map(|file| (file.day, file.size_bytes())).collect()
    }

    /// Returns the bytes that count against a bound: whole files, but of the current one only what is in use, because what
    /// [`Self::trim_current`] frees in it does not make the file smaller and is filled again.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        let mut files = self.0.files.all();
        let current = files.pop().map_or(0, |file| file.readers.read(DayFile::used_bytes).unwrap_or_else(|_| file.size_bytes()));
        files.iter().map(|file| file.size_bytes()).sum::<u64>() + current
    }

    /// Looks at how much room there is; returns how much is taken in. Ingest does so too, but not while nothing comes in.
    pub fn look_at_room(&self) -> Stage {
        let Some(pressure) = &self.0.pressure else { return Stage::All };
        let used = |file: Arc<DayFile>| file.readers.read(DayFile::used_bytes).unwrap_or_else(|_| file.size_bytes());
        pressure.set_today(self.0.files.newest().map_or(0, used));
        pressure.look()
    }

    /// Returns what is not taken in at present and why, if anything is not.
    #[must_use]
    pub fn room_trouble(&self) -> Option<(Stage, String)> {
        self.0.pressure.as_ref().and_then(Pressure::trouble)
    }

    /// Drops the file of `day`; the current day's file stays.
    ///
    /// # Errors
    /// [`StoreError::Io`] when it cannot be deleted.
    pub fn drop_day(&self, day: Day) -> Result<(), StoreError> {
        let is_current = self.0.files.newest().is_none_or(|newest| newest.day <= day);
        if is_current {
            return Ok(());
        }
        self.0.files.remove(day)?;
        // Whoever reads behind gets what is stored, and nothing that is not.
        self.0.shared.recent.forget();
        Ok(())
    }

    /// Deletes the oldest blocks of the current day's file until about `bytes` of it can be used again; returns how many.
    pub async fn trim_current(&self, bytes: u64) -> u64 {
        let (answer, freed) = oneshot::channel();
        if self.send_job(Job::Trim { bytes, answer }).await { freed.await.unwrap_or(0) } else { 0 }
    }

    /// Keeps the records of some services for less time than others: when a day is closed and they have expired, its file is written
    /// anew without them, in the background.
    pub fn keep_services(&self, retention: BTreeMap<String, Duration>) {
        *self.0.shared.service_retention.lock() = retention;
        let _ = self.0.shared.wake_compactor.try_send(());
    }

    /// Starts the day's file if the day has changed, so that a quiet night leaves no gap in the files. To be called once a
    /// minute: a clock that is days ahead is believed after [`engine::PATIENT_ROUNDS`] calls.
    pub async fn roll(&self) {
        self.send_job(Job::Roll).await;
    }

    async fn send_job(&self, job: Job) -> bool {
        let Some(jobs) = self.0.jobs.lock().clone() else { return false };
        tokio::task::spawn_blocking(move || jobs.send(job).is_ok()).await.unwrap_or(false)
    }

    /// Ends the threads once everything handed in is stored. Blocks; later calls fail as closed.
    pub fn close(&self) {
        self.0.close();
    }
}

impl Inner {
    fn close(&self) {
        self.queue.lock().take();
        self.jobs.lock().take();
        self.shared.stop();
        for thread in std::mem::take(&mut *self.threads.lock()) {
            let _ = thread.join();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(|| {
        // What these threads say about storing must not be stored by them.
        crate::telemetry::own_log::mute_this_thread();
        work();
    });
    thread.map_err(|source| StoreError::Io { path: format!("thread {name}").into(), source })
}
