//! Reads the log for the detectors, and stores what they find together with how far they have come.
//!
//! Counts are stored with the cursor; then the windows that are over are judged on what is stored, and what follows is stored with the
//! note that they are judged. Whatever fails, all is read back from the store and done again from there: nothing is counted twice,
//! lost, or found twice.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use watchfire_anomalies::engine::Templates;
use watchfire_anomalies::ledger::Change;
use watchfire_anomalies::{Engine, Step, Window};
use watchfire_types::Timestamp;

use super::store::{self, Progress, StoredPast, Write};
use super::tally::Tally;
use super::types::{ANALYZER, HeadSource, Told};
use super::{DetectorSettings, Detectors, texts};
use crate::analysis::Analysis;
use crate::analysis::types::Commit;
use crate::clock::Clock;
use crate::store::crash::crash_point;
use crate::store::{Database, StoreError};
use crate::telemetry::{Counter, Gauge, SelfMetrics};

/// Records read at a time.
const READ_RECORDS: usize = 32_768;
/// What has been counted is stored at the latest after so long, or so many records.
const STORE_AFTER: Duration = Duration::from_secs(10);
const STORE_RECORDS: u64 = 1_000_000;
/// How long to wait after a store refused.
const RETRY: Duration = Duration::from_secs(1);
/// Least time between two looks at the log: nobody waits for a count.
const COALESCE: Duration = Duration::from_millis(500);
/// A clock that is behind by this is not just set right by a little.
const BEHIND_NANOS: u64 = 600 * 1_000_000_000;
/// It is believed after so long.
const PATIENCE: Duration = Duration::from_secs(600);
const SECONDS_PER_DAY: u64 = 86_400;

struct Meters {
    lag: Gauge,
    open: Gauge,
    late: Counter,
    metrics: SelfMetrics,
}

/// The consumer.
struct Watcher {
    source: Arc<dyn HeadSource>,
    database: Database,
    stored: Arc<watch::Sender<u64>>,
    clock: Clock,
    retention: Duration,
    settings: DetectorSettings,
    shared: Detectors,
    meters: Meters,
    cursor: u64,
    tally: Tally,
    /// Since when something waits to be stored, and how many records.
    unsaved: Option<(Instant, u64)>,
    behind_since: Option<Instant>,
    pruned_day: u64,
}

/// Texts of the log for the engine.
struct OfLog<'a>(&'a dyn HeadSource);

impl Templates for OfLog<'_> {
    fn template(&self, source: &str, pattern: u64) -> Option<String> {
        self.0.template(source, pattern)
    }

    fn line(&self, seq: u64) -> Option<String> {
        self.0.line(seq)
    }
}

impl Watcher {
    /// Goes on where it was; at first, with all that the log has as history.
    fn open(analysis: &Analysis, source: Arc<dyn HeadSource>, settings: DetectorSettings) -> Result<Self, StoreError> {
        let inner = &analysis.0;
        let metrics = inner.metrics.clone();
        let meters = Meters {
            lag: metrics.gauge("watchfire_anomaly_lag_records", &[]),
            open: metrics.gauge("watchfire_anomalies_open", &[]),
            late: metrics.counter("watchfire_anomaly_late_records_total", &[]),
            metrics,
        };
        let mut watcher = Self {
            source,
            database: inner.database.clone(),
            stored: Arc::clone(&inner.stored),
            clock: inner.clock.clone(),
            retention: inner.retention,
            tally: Tally::new(settings.interval, 0, 0),
            settings,
            shared: inner.detectors.clone(),
            meters,
            cursor: 0,
            unsaved: None,
            behind_since: None,
            pruned_day: 0,
        };
        watcher.restore()?;
        Ok(watcher)
    }

    fn now(&self) -> u64 {
        self.clock.now().as_nanos()
    }

    /// Reads back what is stored, and forgets everything else.
    fn restore(&mut self) -> Result<(), StoreError> {
        let (settings, end) = (self.settings.settings.clone(), *self.source.committed().borrow());
        let now = self.now();
        let found = self.database.read_blocking(|connection| store::load(connection, settings.clone()))?;
        let (mut engine, mut progress) = found.unwrap_or_else(|| {
            let judged_at = Tally::moment(self.settings.interval, now);
            let judged = Window::of_nanos(now).back(1);
            (Engine::new(settings, judged), Progress { cursor: 0, time: now, judged_at })
        });
        if progress.cursor > end {
            warn!(cursor = progress.cursor, end, "the log has begun anew: it is counted from its beginning");
            progress.cursor = 0;
        }
        if now + BEHIND_NANOS < progress.time {
            self.rewind(&mut engine, &mut progress, now);
        }
        self.cursor = progress.cursor;
        self.tally = Tally::new(self.settings.interval, progress.time, progress.judged_at);
        self.unsaved = None;
        *self.shared.0.engine.lock() = Some(engine);
        Ok(())
    }

    /// Believes a clock that has stepped back.
    fn rewind(&self, engine: &mut Engine, progress: &mut Progress, now: u64) {
        let (from, to) = (Timestamp::from_nanos(progress.time), Timestamp::from_nanos(now));
        warn!("the clock has stepped back from {from} to {to}: windows are judged from there on");
        progress.time = now;
        progress.judged_at = Tally::moment(self.settings.interval, now);
        engine.rewind(Window::of_nanos(now).back(1));
    }

    /// Runs `work` on the engine.
    fn with_engine<T>(&self, work: impl FnOnce(&mut Engine) -> T) -> Result<T, StoreError> {
        self.shared.0.engine.lock().as_mut().map(work).ok_or(StoreError::Closed)
    }

    /// Does what there is to do; returns whether there is more at once.
    fn step(&mut self) -> Result<bool, StoreError> {
        if self.shared.0.mutes_changed.swap(false, Ordering::Relaxed) {
            let muted = self.database.read_blocking(store::mutes)?;
            self.with_engine(|engine| engine.set_muted(muted))?;
        }
        if self.tally.is_due() {
            self.judge()?;
        }
        let end = *self.source.committed().borrow();
        let now = self.now();
        let heads = if self.cursor < end { self.source.heads(self.cursor, READ_RECORDS)? } else { super::types::Heads::default() };
        let mut place = 0;
        while place < heads.rows.len() {
            let (tally, shared) = (&mut self.tally, &self.shared);
            let next = match shared.0.engine.lock().as_mut() {
                Some(engine) => tally.count(engine, &heads, place, now),
                None => return Err(StoreError::Closed),
            };
            if next > place {
                self.cursor = heads.rows[next - 1].seq;
                self.touch((next - place) as u64);
            }
            place = next;
            if self.tally.is_due() {
                self.judge()?;
            }
        }
        // Nothing though there should be something: retention, or damage, took all of it.
        let through = if self.cursor < end { heads.last.unwrap_or(end) } else { self.cursor };
        if through > self.cursor {
            self.cursor = through;
            self.touch(0);
        }
        self.meters.lag.set(end.saturating_sub(self.cursor) as f64);
        let caught_up = self.cursor >= end;
        if caught_up {
            self.follow_clock()?;
        }
        let waits = |(since, records): (Instant, u64)| since.elapsed() >= STORE_AFTER || records >= STORE_RECORDS;
        if self.unsaved.is_some_and(waits) {
            self.save(Vec::new())?;
        }
        Ok(!caught_up)
    }

    /// At the end of the log the clock tells the time.
    fn follow_clock(&mut self) -> Result<(), StoreError> {
        let now = self.now();
        if now + BEHIND_NANOS < self.tally.time {
            let since = *self.behind_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= PATIENCE {
                self.behind_since = None;
                self.save(Vec::new())?;
                let mut progress = Progress { cursor: self.cursor, time: self.tally.time, judged_at: self.tally.judged_at };
                if let Some(engine) = self.shared.0.engine.lock().as_mut() {
                    self.rewind(engine, &mut progress, now);
                }
                self.tally = Tally::new(self.settings.interval, progress.time, progress.judged_at);
            }
            return Ok(());
        }
        self.behind_since = None;
        if let Some((start, end)) = self.tally.pass(now) {
            self.with_engine(|engine| engine.unwatched(start, end))?;
        }
        if self.tally.is_due() {
            self.judge()?;
        }
        Ok(())
    }

    fn touch(&mut self, records: u64) {
        let unsaved = self.unsaved.get_or_insert_with(|| (Instant::now(), 0));
        unsaved.1 += records;
    }

    /// Judges the windows that are over.
    fn judge(&mut self) -> Result<(), StoreError> {
        // What is judged is what is stored.
        self.save(Vec::new())?;
        crash_point("anomalies.before_judge");
        let until = self.tally.judge();
        let (seconds, source) = (self.tally.judged_at, Arc::clone(&self.source));
        let day = seconds / SECONDS_PER_DAY;
        let new_day = std::mem::replace(&mut self.pruned_day, day) != day;
        let judged = self.database.read_blocking(|connection| {
            let mut engine = self.shared.0.engine.lock();
            let Some(engine) = engine.as_mut() else { return Ok(Vec::new()) };
            let steps = engine.judge(&StoredPast(connection), &OfLog(&*source), until, seconds)?;
            if new_day {
                engine.make_room();
            }
            Ok(steps)
        })?;
        let told: Vec<Told> = judged.into_iter().map(|step| self.tell(step)).collect::<Result<_, _>>()?;
        for told in told.iter().filter(|told| told.change == Change::Opened) {
            let anomaly = &told.entry.anomaly;
            let title = texts::title(anomaly, &told.source, &told.template);
            info!(id = told.entry.id, detector = anomaly.detector.name(), "unusual: {title}");
            self.meters.metrics.counter("watchfire_anomalies_total", &[("detector", anomaly.detector.name())]).inc();
        }
        self.save(told)?;
        if new_day {
            let oldest = Window::of_nanos(self.tally.time.saturating_sub(self.retention.as_nanos() as u64));
            self.database.write_blocking(move |transaction| store::prune(transaction, day as u32, oldest))?;
        }
        Ok(())
    }

    /// Adds texts of the log to a change.
    fn tell(&self, step: Step) -> Result<Told, StoreError> {
        let anomaly = &step.entry.anomaly;
        let name = self.with_engine(|engine| engine.source(anomaly.series.source).map(|source| source.name.clone()))?;
        let source = name.unwrap_or_default();
        let pattern = anomaly.series.key.as_pattern();
        let template = pattern.and_then(|pattern| self.source.template(&source, pattern)).unwrap_or_default();
        let seq = if anomaly.seqs.1 > 0 { anomaly.seqs.1 } else { anomaly.seqs.0 };
        let line = if seq > 0 && step.change != Change::Grew { self.source.line(seq).unwrap_or_default() } else { String::new() };
        Ok(Told { change: step.change, entry: step.entry, source, template, line })
    }

    /// Stores what has been counted and `told`, with how far that is. If that fails, all is read back.
    fn save(&mut self, told: Vec<Told>) -> Result<(), StoreError> {
        let progress = Progress { cursor: self.cursor, time: self.tally.time, judged_at: self.tally.judged_at };
        let (write, late, open) = self.with_engine(|engine| {
            let (series, dropped) = engine.take_changed_series();
            let write = Write {
                counts: engine.take_counts().into_iter().collect(),
                sources: engine.take_changed_sources(),
                series,
                dropped,
                told,
                progress,
                kept: engine.kept(),
            };
            (write, engine.take_late(), engine.open().count())
        })?;
        let now = self.clock.now();
        let stored = self.database.write_blocking(move |transaction| {
            store::write(transaction, &write)?;
            let new = write.told.iter().filter(|told| matches!(told.change, Change::Opened | Change::Again));
            let findings: Vec<_> = new.map(texts::finding).collect();
            let mut last = None;
            if !findings.is_empty() {
                let commit = Commit { findings, ..Commit::default() };
                last = crate::analysis::store::insert_all(transaction, ANALYZER, &commit, now)?;
                crate::analysis::store::trim_if_needed(transaction)?;
            }
            crash_point("anomalies.before_commit");
            Ok(last)
        });
        match stored {
            Ok(last) => {
                crash_point("anomalies.after_commit");
                if let Some(position) = last {
                    self.stored.send_if_modified(|known| std::mem::replace(known, position.max(*known)) < position);
                }
                self.meters.late.add(late);
                self.meters.open.set(open as f64);
                self.unsaved = None;
                Ok(())
            }
            Err(failed) => {
                if !matches!(failed, StoreError::Closed) {
                    self.restore()?;
                }
                Err(failed)
            }
        }
    }
}

impl Analysis {
    /// Looks for what is unusual in the log of `source` until `stop`, on a thread of its own.
    ///
    /// # Errors
    /// That no thread can be started.
    pub async fn detect(
        &self,
        source: Arc<dyn HeadSource>,
        settings: DetectorSettings,
        stop: CancellationToken,
    ) -> Result<(), StoreError> {
        let (done, ended) = oneshot::channel();
        let (analysis, handle) = (self.clone(), Handle::current());
        let work = move || {
            crate::plugins::give_way();
            drive(&analysis, &source, &settings, &handle, &stop);
            *analysis.0.detectors.0.engine.lock() = None;
            let _ = done.send(());
        };
        std::thread::Builder::new()
            .name("anomalies".to_owned())
            .spawn(work)
            .map_err(|problem| StoreError::Io { path: "anomalies".into(), source: problem })?;
        // A thread that panics drops its end.
        ended.await.map_err(|_| StoreError::Damaged { place: "the detectors".to_owned(), what: "they panicked".to_owned() })
    }
}

fn drive(
    analysis: &Analysis,
    source: &Arc<dyn HeadSource>,
    settings: &DetectorSettings,
    handle: &Handle,
    stop: &CancellationToken,
) {
    let mut committed = source.committed();
    let mut watcher: Option<Watcher> = None;
    while !stop.is_cancelled() {
        committed.borrow_and_update();
        let stepped = match &mut watcher {
            Some(watcher) => watcher.step(),
            None => Watcher::open(analysis, Arc::clone(source), settings.clone()).map(|opened| {
                watcher = Some(opened);
                true
            }),
        };
        match stepped {
            Ok(more) => {
                *analysis.0.detectors.0.failure.lock() = None;
                if more {
                    continue;
                }
            }
            Err(StoreError::Closed) => return,
            Err(failed) => {
                let cause = std::error::Error::source(&failed).map(|cause| format!(": {cause}")).unwrap_or_default();
                let reason = format!("{failed}{cause}");
                let before = analysis.0.detectors.0.failure.lock().replace(reason.clone());
                if before.as_ref() != Some(&reason) {
                    error!(
                        reason,
                        "what is unusual cannot be looked for; it is tried again every second, and nothing is lost meanwhile"
                    );
                }
                // Whatever is in memory may not be what is stored.
                watcher = None;
                handle.block_on(pause(RETRY, stop));
                continue;
            }
        }
        let next = watcher.as_ref().map(|watcher| Timestamp::from_seconds(watcher.tally.next()));
        let save = watcher.as_ref().and_then(|watcher| watcher.unsaved).map(|_| STORE_AFTER);
        handle.block_on(async {
            let clock = &analysis.0.clock;
            let judge = async {
                match next {
                    Some(next) => clock.sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            let save = async {
                match save {
                    Some(save) => tokio::time::sleep(save).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = judge => {}
                () = save => {}
                changed = committed.changed() => if changed.is_err() { stop.cancelled().await },
            }
        });
        handle.block_on(pause(COALESCE, stop));
    }
    if let Some(mut watcher) = watcher
        && watcher.unsaved.is_some()
        && let Err(failed) = watcher.save(Vec::new())
    {
        info!(reason = %failed, "what was counted last is not stored; it is counted again");
    }
}

async fn pause(length: Duration, stop: &CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(length) => {}
    }
}
