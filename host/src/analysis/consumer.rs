//! One durable consumer: reads the log for one analyzer, and stores what it finds together with how far it has come.
//!
//! Whatever fails, everything since the last commit is forgotten, the component's memory included, and done again from the
//! committed cursor with the committed state: nothing is lost, and nothing is found twice.

mod surroundings;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};
use watchfire_types::{LogBatch, Severity, Timestamp};

use super::admit::{Admitted, Sample, admit, cut};
use super::engine::{self, LONGEST_WAIT, Portions, Unsaved, Verdict};
use super::filter::Filter;
use super::store::{self, StoredKv};
use super::types::{AnalyzerState, Commit, NewFinding, Progress, Quarantined, RECORDS_MISSED, SavedState};
use crate::plugins::{AnalyzerInput, CallError, OnFailure, wire};
use crate::store::StoreError;
use crate::store::crash::crash_point;

pub use surroundings::{Analyst, Component, Instants, Meters, Next, Records, Settings, Surroundings};

/// Records read from the log at a time, about.
const READ_RECORDS: usize = 4_096;
/// Most records of one call, whatever the component asks for.
const MAX_BATCH: usize = 4_096;
/// How long a record waits for others at least, which spares calls, and at most.
const LEAST_DELAY: Duration = Duration::from_millis(50);
const MAX_DELAY: Duration = Duration::from_secs(5);
/// The shortest time between two ticks.
const LEAST_TICK: Duration = Duration::from_millis(100);
/// Calls after which the component gets a new memory, and calls before which it does not, however much it has taken.
const RECYCLE_CALLS: u64 = 10_000;
const RECYCLE_NOT_BEFORE: u64 = 100;
/// So many failures in a row of what is not about a record hold the analyzer.
const MAX_FAILURES: u32 = 5;
/// So often a state is given back that the component traps on: it may have been the machine's fault.
const MAX_RESTORES: u32 = 3;
/// Most points of series that wait for a commit.
const MAX_WAITING_SAMPLES: usize = 10_000;
/// How often kept values that have expired are dropped.
const EXPIRE_INTERVAL: Duration = Duration::from_secs(600);
/// Longest reason stored with a record that was not taken, in bytes.
const MAX_REASON_BYTES: usize = 4 << 10;

/// Failures in a row, by what failed.
#[derive(Clone, Copy, Debug, Default)]
struct Failures {
    start: u32,
    restore: u32,
    analyze: u32,
    tick: u32,
    save: u32,
}

/// What a successful call has brought, to be stored.
#[derive(Default)]
struct Gathered {
    findings: Vec<NewFinding>,
    samples: Vec<Sample>,
    records: u64,
    /// Whether the component may have changed what it would save.
    touched: bool,
}

/// The consumer of one analyzer.
pub struct Consumer {
    settings: Settings,
    filter: Filter,
    component: Arc<dyn Component>,
    around: Surroundings,
    committed: watch::Receiver<u64>,
    kv: Arc<StoredKv>,
    meters: Meters,
    max_delay: Duration,
    tick_interval: Option<Duration>,
    analyst: Option<Box<dyn Analyst>>,
    /// What is stored.
    progress: Progress,
    /// Up to here has been read, and the watermark there.
    position: u64,
    watermark: u64,
    portions: Portions,
    unsaved: Unsaved,
    gathered: Gathered,
    /// What the store has not taken yet: stored before anything else happens.
    outgoing: Option<Commit>,
    /// Records that were gone, for the next call to know.
    missed: u64,
    /// The saved state was refused: it begins without.
    fresh: bool,
    failures: Failures,
    waits_until: Option<Timestamp>,
    ticked_at: Option<Timestamp>,
    noticed_at: Option<Instant>,
    expired_at: Option<Timestamp>,
}

impl Consumer {
    /// Makes a consumer ready to go on where it was. One that has never been begins at the end of the log.
    ///
    /// # Errors
    /// The inner one says why the analyzer's subscription cannot be used.
    pub fn open(
        settings: Settings,
        component: Arc<dyn Component>,
        around: Surroundings,
        meters: Meters,
    ) -> Result<Result<Self, String>, StoreError> {
        let filter = match Filter::new(&settings.subscription) {
            Ok(filter) => filter,
            Err(problem) => return Ok(Err(problem)),
        };
        let committed = around.records.committed();
        let end = *committed.borrow();
        let plugin = settings.plugin.clone();
        let known = around.database.read_blocking(|connection| store::progress(connection, &plugin))?;
        let progress = match known {
            Some(progress) if progress.cursor <= end => progress,
            other => {
                if let Some(progress) = &other {
                    let cursor = progress.cursor;
                    warn!(
                        plugin,
                        cursor, end, "analyzer `{plugin}` had read up to {cursor}, but the log ends at {end}: it goes on there"
                    );
                }
                let (name, now) = (plugin.clone(), around.clock.now());
                around.database.write_blocking(move |transaction| store::begin(transaction, &name, end, now))?;
                Progress { began: end, cursor: end, ..other.unwrap_or_default() }
            }
        };
        let subscription = &settings.subscription;
        let most = if subscription.max_batch == 0 { MAX_BATCH } else { (subscription.max_batch as usize).min(MAX_BATCH) };
        let millis = |millis: u32| Duration::from_millis(millis.into());
        Ok(Ok(Self {
            max_delay: millis(subscription.max_delay_ms).clamp(LEAST_DELAY, MAX_DELAY),
            tick_interval: (subscription.tick_interval_ms > 0).then(|| millis(subscription.tick_interval_ms).max(LEAST_TICK)),
            filter,
            component,
            committed,
            kv: Arc::new(StoredKv::new(around.database.clone(), &plugin)),
            around,
            meters,
            analyst: None,
            position: progress.cursor,
            watermark: progress.watermark,
            progress,
            portions: Portions::new(most),
            unsaved: Unsaved::default(),
            gathered: Gathered::default(),
            outgoing: None,
            missed: 0,
            fresh: false,
            failures: Failures::default(),
            waits_until: None,
            ticked_at: None,
            noticed_at: None,
            expired_at: None,
            settings,
        }))
    }

    /// Does what there is to do now, at most one read of the log; ends early if told to `stop`.
    ///
    /// # Errors
    /// The stores': nothing is lost, and the next step tries again.
    pub fn step(&mut self, stop: &CancellationToken) -> Result<Next, StoreError> {
        self.meters.lag.set(self.committed.borrow().saturating_sub(self.position) as f64);
        self.send()?;
        let now = self.now();
        if let Some(until) = self.waits_until {
            // A clock that stepped back must not stretch the wait.
            if now < until && until.since(now) <= LONGEST_WAIT {
                return Ok(Next { at: Some(until), ..Next::default() });
            }
            self.waits_until = None;
        }
        if self.ready()? {
            self.read(stop)?;
            self.tick();
            if self.unsaved.due().is_some_and(|due| due <= (self.around.instants)()) {
                self.commit()?;
            }
        }
        Ok(self.next())
    }

    /// Stores what has been found so far, for whoever goes on.
    ///
    /// # Errors
    /// The store's: then it is found again.
    pub fn finish(&mut self) -> Result<(), StoreError> {
        self.send()?;
        if self.unsaved.since.is_some() && self.analyst.is_some() {
            self.commit()?;
        }
        self.stand(AnalyzerState::Stopped, String::new());
        Ok(())
    }

    fn now(&self) -> Timestamp {
        self.around.clock.now()
    }

    fn stand(&self, state: AnalyzerState, detail: String) {
        let mut standing = self.around.standing.lock();
        (standing.state, standing.detail) = (state, detail);
        (standing.position, standing.cursor) = (self.position, self.progress.cursor);
    }

    /// Returns when there is something to do.
    fn next(&self) -> Next {
        let stored = *self.committed.borrow();
        self.meters.lag.set(stored.saturating_sub(self.position) as f64);
        if let Some(until) = self.waits_until {
            return Next { at: Some(until), ..Next::default() };
        }
        let instant = (self.around.instants)();
        let left = |deadline: Instant| deadline.saturating_duration_since(instant);
        if self.analyst.is_none() || self.outgoing.is_some() {
            return Next { within: Some(Duration::ZERO), ..Next::default() };
        }
        self.stand(AnalyzerState::Running, String::new());
        let read =
            (self.position < stored).then(|| self.noticed_at.map_or(Duration::ZERO, |noticed| left(noticed + self.max_delay)));
        let commit = self.unsaved.due().map(left);
        let tick = self.ticked_at.zip(self.tick_interval).map(|(last, interval)| last.plus(interval));
        Next { at: tick, within: read.into_iter().chain(commit).min(), records: true }
    }

    /// Makes sure that there is an analyst; returns whether there is.
    fn ready(&mut self) -> Result<bool, StoreError> {
        if self.analyst.is_some() {
            return Ok(true);
        }
        self.kv.measure()?;
        let now = self.now();
        let kv = Arc::clone(&self.kv);
        let mut analyst = match self.component.start(kv, now) {
            Ok(analyst) => analyst,
            Err(CallError::Backoff { until }) => {
                // Not the reason, which is known already.
                let reason = self.around.standing.lock().detail.clone();
                self.waits_until = Some(until);
                self.stand(AnalyzerState::Waiting, reason);
                return Ok(false);
            }
            Err(error) => {
                self.failures.start += 1;
                self.trouble(&error, self.failures.start);
                return Ok(false);
            }
        };
        self.failures.start = 0;
        if let Some(state) = self.progress.state.as_ref().filter(|_| !self.fresh) {
            if let Err(error) = analyst.restore(state.version, &state.bytes, now) {
                self.failures.restore += 1;
                if !error.poisons() || self.failures.restore >= MAX_RESTORES {
                    let (plugin, cursor) = (&self.settings.plugin, self.progress.cursor);
                    error!(plugin, reason = %error, "analyzer `{plugin}` did not take what it had saved: it begins anew after record {cursor}");
                    self.fresh = true;
                }
                self.trouble(&error, 1);
                return Ok(false);
            }
            debug!(plugin = self.settings.plugin, cursor = self.progress.cursor, "restored");
        }
        self.failures.restore = 0;
        self.analyst = Some(analyst);
        self.ticked_at = Some(now);
        Ok(true)
    }

    /// Reads once, if there is enough to read or it has waited long enough.
    fn read(&mut self, stop: &CancellationToken) -> Result<(), StoreError> {
        let stored = *self.committed.borrow();
        if self.position >= stored {
            self.noticed_at = None;
            return Ok(());
        }
        let instant = (self.around.instants)();
        let noticed = *self.noticed_at.get_or_insert(instant);
        let enough = stored - self.position >= self.portions.most() as u64 || self.portions.is_narrowing();
        if !enough && instant < noticed + self.max_delay {
            return Ok(());
        }
        let batch = self.around.records.read_after(self.position, READ_RECORDS)?;
        self.noticed_at = None;
        // Nothing though there should be something: retention, or damage, took all of it.
        let before_first = batch.seq.first().map_or(stored, |first| first - 1);
        self.note_missing(before_first);
        if batch.is_empty() { Ok(()) } else { self.analyze(&Arc::new(batch), stop) }
    }

    /// Passes over the records up to `end`, which were gone before they were read, and says so.
    fn note_missing(&mut self, end: u64) {
        let count = end.saturating_sub(self.position);
        if count == 0 {
            return;
        }
        let (plugin, from) = (&self.settings.plugin, self.position + 1);
        let message = format!(
            "the records {from} to {end} were gone before analyzer `{plugin}` had read them: they were older than the retention \
             allows, had to make room, or were damaged"
        );
        warn!(plugin, count, from, end, "{message}");
        self.position = end;
        self.missed += count;
        self.gathered.findings.push(NewFinding {
            rule: RECORDS_MISSED.to_owned(),
            severity: Severity::WARN.0,
            title: format!("{count} records were not analyzed by `{plugin}`"),
            message,
            dedupe_key: RECORDS_MISSED.to_owned(),
            score: 1.0,
            count,
            ..NewFinding::default()
        });
        self.unsaved.found = true;
        self.unsaved.touch((self.around.instants)());
    }

    /// Gives the wanted records of `batch` to the analyst, portion by portion.
    fn analyze(&mut self, batch: &Arc<LogBatch>, stop: &CancellationToken) -> Result<(), StoreError> {
        // What follows a gap is read next time.
        let whole = batch.seq.windows(2).position(|pair| pair[1] != pair[0] + 1).map_or(batch.len(), |row| row + 1);
        let mut rows = self.filter.rows(batch);
        rows.retain(|row| *row < whole);
        let mut next_row = 0;
        let mut left = &rows[..];
        while let Some(first_row) = left.first().copied() {
            let first = batch.seq[first_row];
            if self.portions.suspects(first) && (self.unsaved.analyzed || self.unsaved.found) {
                self.pass(batch, &mut next_row, first_row);
                self.commit()?;
            }
            if stop.is_cancelled() {
                return Ok(());
            }
            let now = self.now();
            let Some(analyst) = self.analyst.as_mut() else { return Ok(()) };
            let count = self.portions.take(left.iter().map(|row| batch.seq[*row]));
            let (portion, rest) = left.split_at(count);
            left = rest;
            let last_row = portion[count - 1];
            let end_row = if rest.is_empty() { whole } else { last_row + 1 };
            let input = AnalyzerInput {
                batch: Arc::clone(batch),
                rows: portion.to_vec(),
                scanned_from: self.position,
                scanned_to: batch.seq[end_row - 1],
                watermark: self.watermark,
                dropped: self.missed,
            };
            match analyst.analyze(&input, now) {
                Ok(analysis) => {
                    self.failures.analyze = 0;
                    self.missed = 0;
                    self.pass(batch, &mut next_row, end_row);
                    self.portions.taken(input.scanned_to);
                    self.gathered.records += count as u64;
                    self.unsaved.analyzed = true;
                    self.gather(analysis);
                    crash_point("analysis.after_analyze");
                }
                Err(error) => return self.failed(first, batch.seq[last_row], count, &error),
            }
            if self.unsaved.due().is_some_and(|due| due <= (self.around.instants)()) {
                self.commit()?;
            }
        }
        self.pass(batch, &mut next_row, whole);
        Ok(())
    }

    /// Moves on to before row `end`: all up to there was analyzed, or was not wanted.
    fn pass(&mut self, batch: &LogBatch, next_row: &mut usize, end: usize) {
        if *next_row >= end {
            return;
        }
        let latest = batch.time[*next_row..end].iter().copied().max().unwrap_or(0);
        self.watermark = engine::watermark(self.watermark, latest, self.now());
        self.position = batch.seq[end - 1];
        self.unsaved.touch((self.around.instants)());
        *next_row = end;
    }

    /// The positions of records that the analyzer may have seen.
    fn seen(&self) -> RangeInclusive<u64> {
        self.progress.began + 1..=self.position
    }

    /// Takes what a call has returned.
    fn gather(&mut self, analysis: wire::Analysis) {
        let Admitted { findings, mut samples, mut malformed } = admit(analysis, self.seen());
        let room = MAX_WAITING_SAMPLES.saturating_sub(self.gathered.samples.len());
        malformed += samples.len().saturating_sub(room) as u64;
        samples.truncate(room);
        self.meters.malformed.add(malformed);
        self.unsaved.found |= !findings.is_empty();
        self.unsaved.touch((self.around.instants)());
        self.gathered.findings.extend(findings);
        self.gathered.samples.extend(samples);
        self.gathered.touched = true;
    }

    fn tick(&mut self) {
        let now = self.now();
        let (Some(interval), Some(last)) = (self.tick_interval, self.ticked_at) else { return };
        if now < last {
            // The clock stepped back.
            self.ticked_at = Some(now);
        } else if now.since(last) >= interval
            && let Some(analyst) = self.analyst.as_mut()
        {
            self.ticked_at = Some(now);
            match analyst.tick(now, Timestamp::from_nanos(self.watermark)) {
                Ok(analysis) => {
                    self.failures.tick = 0;
                    self.gather(analysis);
                }
                Err(error) => {
                    self.failures.tick += 1;
                    self.trouble(&error, self.failures.tick);
                }
            }
        }
    }

    /// Stores what has been gathered, with the analyst's state and the cursor. If the analyst cannot say its state, all of it
    /// is forgotten and done again.
    fn commit(&mut self) -> Result<(), StoreError> {
        let now = self.now();
        let mut commit = Commit { cursor: self.position, watermark: self.watermark, ..Commit::default() };
        if let Some(analyst) = self.analyst.as_mut().filter(|_| self.gathered.touched) {
            match analyst.save(now) {
                Ok(bytes) => {
                    let state = SavedState { version: self.settings.state_version, bytes };
                    commit.state = Some(state).filter(|state| self.progress.state.as_ref() != Some(state));
                    commit.kv = analyst.take_kv();
                    self.failures.save = 0;
                    self.fresh = false;
                }
                Err(error) => {
                    self.failures.save += 1;
                    self.trouble(&error, self.failures.save);
                    return Ok(());
                }
            }
        }
        commit.findings = std::mem::take(&mut self.gathered.findings);
        self.outgoing = Some(commit);
        self.send()
    }

    /// Stores what waits for it.
    fn send(&mut self) -> Result<(), StoreError> {
        let Some(commit) = self.outgoing.clone() else { return Ok(()) };
        let now = self.now();
        let nothing_new =
            commit.findings.is_empty() && commit.kv.is_empty() && commit.state.is_none() && commit.quarantined.is_none();
        if !nothing_new || commit.cursor != self.progress.cursor || commit.watermark != self.progress.watermark {
            let (plugin, component) = (self.settings.plugin.clone(), self.settings.component.clone());
            // The clock may have stepped back.
            let expire = self.expired_at.is_none_or(|at| now < at || now.since(at) >= EXPIRE_INTERVAL);
            let stored = self.around.database.write_blocking(move |transaction| {
                if expire {
                    store::expire(transaction, &plugin, now)?;
                }
                let committed = store::commit(transaction, &plugin, &component, &commit, now)?;
                if committed.last_position.is_some() {
                    store::trim_if_needed(transaction)?;
                }
                Ok((committed, commit))
            });
            let (committed, commit) = stored?;
            crash_point("analysis.after_commit");
            // From here on nothing may fail: it would be stored twice.
            self.kv.grown(committed.kv_growth);
            if expire {
                self.expired_at = Some(now);
                if let Err(failed) = self.kv.measure() {
                    debug!(plugin = self.settings.plugin, reason = %failed, "kept values cannot be counted anew");
                }
            }
            if let Some(position) = committed.last_position {
                // Commits of several analyzers may be told of in another order than they were made.
                self.around.stored.send_if_modified(|last| std::mem::replace(last, position.max(*last)) < position);
            }
            self.meters.findings.add(commit.findings.len() as u64);
            self.meters.quarantined.add(u64::from(commit.quarantined.is_some()));
            (self.progress.cursor, self.progress.watermark) = (commit.cursor, commit.watermark);
            self.progress.state = commit.state.or(self.progress.state.take());
        }
        self.outgoing = None;
        let gathered = std::mem::take(&mut self.gathered);
        gathered.samples.iter().for_each(|sample| self.component.sample(sample));
        self.meters.records.add(gathered.records);
        self.unsaved = Unsaved::default();
        {
            let mut standing = self.around.standing.lock();
            standing.records += gathered.records;
            (standing.position, standing.cursor) = (self.position, self.progress.cursor);
            standing.committed_at = Some(now);
        }
        self.recycle();
        Ok(())
    }

    /// Drops an analyst that has grown or served long enough: with its saved state a new one goes on.
    fn recycle(&mut self) {
        let Some(analyst) = &self.analyst else { return };
        let (calls, bytes) = (analyst.calls(), analyst.memory_bytes());
        let large = bytes > self.settings.memory_bytes / 4 * 3 && calls >= RECYCLE_NOT_BEFORE;
        if calls >= RECYCLE_CALLS || large {
            debug!(plugin = self.settings.plugin, calls, bytes, "the component gets a new memory");
            self.analyst = None;
        }
    }

    /// Forgets everything since the last commit.
    fn discard(&mut self) {
        self.analyst = None;
        (self.position, self.watermark) = (self.progress.cursor, self.progress.watermark);
        self.gathered = Gathered::default();
        self.unsaved = Unsaved::default();
        self.missed = 0;
        self.noticed_at = None;
    }

    /// Deals with a failure that is not about a record, the `count`th of its kind in a row.
    fn trouble(&mut self, error: &CallError, count: u32) {
        self.discard();
        let plugin = &self.settings.plugin;
        if count >= MAX_FAILURES {
            if count == MAX_FAILURES {
                error!(plugin, reason = %error, "analyzer `{plugin}` fails again and again: its cursor waits, and it is tried every {LONGEST_WAIT:?}");
            }
            self.waits_until = Some(self.now().plus(LONGEST_WAIT));
            self.stand(AnalyzerState::Held, error.to_string());
            return;
        }
        warn!(plugin, reason = %error, "analyzer `{plugin}` failed; it goes on after a wait");
        // After what cost the component's memory, its supervisor says how long.
        self.waits_until = (!error.poisons()).then(|| self.now().plus(engine::wait(count)));
        self.stand(AnalyzerState::Waiting, error.to_string());
    }

    /// Deals with a failure on `count` records from `first` to `last`.
    fn failed(&mut self, first: u64, last: u64, count: usize, error: &CallError) -> Result<(), StoreError> {
        self.discard();
        self.failures.analyze += 1;
        let plugin = self.settings.plugin.clone();
        self.waits_until = (!error.poisons()).then(|| self.now().plus(engine::wait(self.failures.analyze)));
        self.stand(AnalyzerState::Waiting, error.to_string());
        match (self.portions.failed(first, last, count), self.settings.on_failure) {
            (Verdict::Again, _) => {
                info!(plugin, first, last, reason = %error, "analyzer `{plugin}` failed on the records {first} to {last}; they are given again, fewer at a time");
                Ok(())
            }
            (Verdict::Poison, OnFailure::Hold) => {
                error!(plugin, seq = first, reason = %error, "analyzer `{plugin}` cannot take record {first}; its cursor waits there, as `on_failure` says");
                self.waits_until = Some(self.now().plus(LONGEST_WAIT));
                self.stand(AnalyzerState::Held, format!("it cannot take record {first}, and `on_failure` is `hold`: {error}"));
                Ok(())
            }
            (Verdict::Poison, OnFailure::Skip) => {
                warn!(plugin, seq = first, reason = %error, "analyzer `{plugin}` cannot take record {first}; it is left out");
                self.portions.taken(first);
                self.position = first;
                let why = cut(error.to_string(), MAX_REASON_BYTES);
                let quarantined = Some(Quarantined { seq: first, why });
                // The state is that of before the record, and stays.
                self.outgoing = Some(Commit { cursor: first, watermark: self.watermark, quarantined, ..Commit::default() });
                self.send()
            }
        }
    }
}

#[cfg(test)]
#[path = "consumer_tests.rs"]
mod tests;
