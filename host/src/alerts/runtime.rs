//! Runs the engine: when to look, and what to do with what it found.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};
use watchfire_types::{LogBatch, Timestamp};

use super::cursors::{self, Progress};
use super::engine::{Data, Evaluation, Known, Options, SampleSource, evaluate};
use super::event_reader::EventReader;
use super::events::EventSource;
use super::store::{self, Policy, Refreshed, Step};
use super::types::{AlertState, Condition, Rule};
use super::windows::Windows;
use super::{Alerts, annotations, upkeep};
use crate::store::StoreError;
use crate::store::crash::crash_point;

/// Least real time between two evaluations, however fast data arrive.
const COALESCE: Duration = Duration::from_millis(100);
/// How long to wait after the store refused.
const RETRY: Duration = Duration::from_secs(1);
/// How often old rows are dropped.
const PRUNE_INTERVAL: Duration = Duration::from_secs(3600);
/// Records read from the log at a time, and how many times before rules are evaluated in between.
const READ_RECORDS: usize = 4_096;
const READ_BATCHES: usize = 16;

/// Where log rules get their records. Its calls may block on disk.
pub trait LogSource: Send + Sync {
    /// Returns a position such that every record that arrived at `time` or later comes after it.
    ///
    /// # Errors
    /// The store's.
    fn cursor_at_arrival(&self, time: Timestamp) -> Result<u64, StoreError>;
    /// Returns at most about `limit` records after `cursor`, in order.
    ///
    /// # Errors
    /// The store's.
    fn read_after(&self, cursor: u64, limit: usize) -> Result<LogBatch, StoreError>;
    /// Returns a receiver of the last stored position.
    fn committed(&self) -> watch::Receiver<u64>;
}

/// What rules look at, and where it comes from.
#[derive(Clone)]
pub struct Sources {
    /// For rules over metrics.
    pub samples: Arc<dyn SampleSource>,
    /// For rules over logs and errors.
    pub logs: Arc<dyn LogSource>,
    /// For rules over findings ([`super::events::FINDINGS`]) and issues ([`super::events::ISSUES`]).
    pub events: Vec<(&'static str, Arc<dyn EventSource>)>,
    /// Names the analyzers that there are.
    pub analyzers: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
}

/// What a look at the data leaves to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// When time alone changes something.
    pub next: Option<Timestamp>,
    /// Whether there is more of the log to read at once.
    pub backlog: bool,
}

/// The engine with its state, driven by [`Alerts::run`] or, step by step, by a test.
pub struct Runner {
    alerts: Alerts,
    sources: Sources,
    readers: Arc<Mutex<Vec<EventReader>>>,
    committed: watch::Receiver<u64>,
    rules: Arc<Vec<Rule>>,
    policy: Arc<Policy>,
    known: Arc<Known>,
    windows: Arc<Mutex<Windows>>,
    /// Where the log is read next; `None` before the first read and after a change of rules.
    cursor: Option<u64>,
    /// Up to where the log was read before the rules changed.
    read_to: Option<u64>,
    /// Whether groups are to be brought in line with changed rules.
    rerouted: bool,
    /// What had been stored when reading began: when it is reached, the windows are complete.
    complete_at: u64,
    started: Timestamp,
    next_flush: Option<Timestamp>,
    flush_read_at: Timestamp,
    pruned_at: Option<Timestamp>,
    last_now: Timestamp,
    log_error: Option<String>,
}

impl Runner {
    /// Loads what was stored.
    ///
    /// # Errors
    /// The database's.
    pub async fn new(alerts: Alerts, sources: Sources) -> Result<Self, StoreError> {
        let now = alerts.0.clock.now();
        let rules = alerts.rules();
        let policy = Arc::new(alerts.0.settings.policy(&rules));
        let committed = sources.logs.committed();
        let windows = Arc::clone(&alerts.0.windows);
        *windows.lock() = Windows::new(&rules, &alerts.0.factory, *committed.borrow());
        let copy = Arc::clone(&policy);
        let events = sources.events.clone();
        let (known, next_flush, readers) = alerts
            .0
            .database
            .write(move |transaction| {
                upkeep::reconcile(transaction, &copy, now)?;
                let readers = events
                    .into_iter()
                    .map(|(name, source)| Ok(EventReader::new(name, source, cursors::load(transaction, name, now)?, now)))
                    .collect::<rusqlite::Result<Vec<_>>>()?;
                Ok((store::load(transaction, now)?, store::next_flush(transaction)?, readers))
            })
            .await?;
        Ok(Self {
            alerts,
            sources,
            readers: Arc::new(Mutex::new(readers)),
            committed,
            rules,
            policy,
            known: Arc::new(known),
            windows,
            cursor: None,
            read_to: None,
            rerouted: false,
            complete_at: 0,
            started: now,
            next_flush,
            flush_read_at: now,
            pruned_at: None,
            last_now: now,
            log_error: None,
        })
    }

    /// Reads what is new, evaluates all rules, stores what changed, flushes the groups that are due.
    ///
    /// # Errors
    /// The database's: then nothing has changed, and the next tick tries again.
    pub async fn tick(&mut self) -> Result<Tick, StoreError> {
        self.take_rules();
        let log_backlog = self.read_logs().await;
        let event_backlog = self.read_events().await?;
        let now = self.alerts.0.clock.now();
        self.housekeeping(now).await?;
        let started = Instant::now();
        let options = Options { stale_after: 2 * self.alerts.0.settings.collection_interval, started: self.started };
        let (rules, sources) = (Arc::clone(&self.rules), self.sources.clone());
        let (windows, known) = (Arc::clone(&self.windows), Arc::clone(&self.known));
        let (evaluation, dropped) = blocking(move || {
            let mut windows = windows.lock();
            windows.advance(now);
            let names: Vec<&'static str> = sources.events.iter().map(|(name, _)| *name).collect();
            let data = Data { samples: &*sources.samples, windows: &windows, sources: &names, analyzers: &*sources.analyzers };
            let evaluation = evaluate(&rules, data, &known, options, now);
            Ok((evaluation, windows.logs.take_dropped() + windows.events.take_dropped()))
        })
        .await?;
        self.alerts.0.meters.evaluated(&evaluation, dropped, started.elapsed());
        let next_deadline = evaluation.next_deadline;
        self.store(evaluation, now).await?;
        let next = [next_deadline, self.next_flush, self.next_save()].into_iter().flatten().min();
        Ok(Tick { next, backlog: log_backlog || event_backlog })
    }

    /// Takes a changed list of rules: their windows are filled from the log.
    fn take_rules(&mut self) {
        let rules = self.alerts.rules();
        if Arc::ptr_eq(&rules, &self.rules) {
            return;
        }
        self.policy = Arc::new(self.alerts.0.settings.policy(&rules));
        let newer = Windows::new(&rules, &self.alerts.0.factory, *self.committed.borrow());
        let mut windows = self.windows.lock();
        let older = std::mem::replace(&mut *windows, newer);
        windows.keep(older);
        drop(windows);
        self.readers.lock().iter_mut().for_each(EventReader::begin_again);
        self.read_to = self.cursor.take().or(self.read_to);
        self.rerouted = true;
        self.rules = rules;
    }

    /// Counts new records; returns whether there are more.
    async fn read_logs(&mut self) -> bool {
        if !self.has_log_rules() {
            return false;
        }
        let stored = *self.committed.borrow_and_update();
        match self.read_up_to(stored).await {
            Ok(backlog) => {
                self.log_error = None;
                backlog
            }
            Err(failed) => {
                let text = failed.to_string();
                if self.log_error.as_ref() != Some(&text) {
                    warn!(reason = %text, "log rules wait: the log cannot be read");
                    self.log_error = Some(text);
                }
                false
            }
        }
    }

    async fn read_up_to(&mut self, stored: u64) -> Result<bool, StoreError> {
        let mut cursor = if let Some(cursor) = self.cursor {
            cursor
        } else {
            let since = self.alerts.0.clock.now().minus(self.windows.lock().logs.longest());
            let logs = Arc::clone(&self.sources.logs);
            self.complete_at = stored;
            let cursor = blocking(move || logs.cursor_at_arrival(since)).await?;
            // What has not been read yet is read, whatever times it has.
            self.read_to.map_or(cursor, |read_to| cursor.min(read_to))
        };
        let mut batches = 0;
        while cursor < stored && batches < READ_BATCHES {
            let (logs, windows, clock) = (Arc::clone(&self.sources.logs), Arc::clone(&self.windows), self.alerts.0.clock.clone());
            let last = blocking(move || {
                let batch = logs.read_after(cursor, READ_RECORDS)?;
                windows.lock().logs.observe(&batch, clock.now());
                Ok(batch.seq.last().copied())
            });
            let Some(last) = last.await? else { break };
            cursor = last;
            batches += 1;
            self.cursor = Some(cursor);
        }
        self.cursor = Some(cursor);
        // Stopping short for want of records means that retention took them.
        let backlog = cursor < stored && batches == READ_BATCHES;
        self.windows.lock().logs.ready |= cursor >= self.complete_at || !backlog;
        Ok(backlog)
    }

    /// Counts new events; returns whether there are more.
    async fn read_events(&mut self) -> Result<bool, StoreError> {
        let (readers, windows, clock) = (Arc::clone(&self.readers), Arc::clone(&self.windows), self.alerts.0.clock.clone());
        let last_now = self.last_now;
        blocking(move || {
            let mut readers = readers.lock();
            let now = clock.now();
            if now < last_now {
                windows.lock().events.shift_back(last_now.since(now));
                readers.iter_mut().for_each(|reader| reader.step_back(last_now, now));
            }
            let backlogs = readers.iter_mut().map(|reader| reader.read(&windows, &clock));
            // Every source is read, whether or not another has more.
            Ok(backlogs.collect::<Vec<_>>().contains(&true))
        })
        .await
    }

    /// Returns how far sources of events have been read since that was last stored.
    fn progress(&self) -> Vec<Progress> {
        let windows = self.windows.lock();
        self.readers.lock().iter().filter_map(|reader| reader.progress(&windows)).collect()
    }

    /// Returns how far sources of events have been read.
    fn state(&self) -> Vec<Progress> {
        let windows = self.windows.lock();
        self.readers.lock().iter().filter_map(|reader| reader.state(&windows)).collect()
    }

    /// Returns when the first of what is unsaved is to be stored.
    fn next_save(&self) -> Option<Timestamp> {
        let windows = self.windows.lock();
        let readers = self.readers.lock();
        readers.iter().filter(|reader| reader.progress(&windows).is_some()).map(EventReader::save_at).min()
    }

    fn saved(&self, progress: &[Progress], now: Timestamp) {
        let mut readers = self.readers.lock();
        for one in progress {
            readers.iter_mut().filter(|reader| reader.name() == one.source).for_each(|reader| reader.saved(one, now));
        }
    }

    /// Stores how far events have been read: the last thing before the end.
    ///
    /// # Errors
    /// The database's.
    pub async fn save(&self) -> Result<(), StoreError> {
        let progress = self.progress();
        if progress.is_empty() {
            return Ok(());
        }
        let now = self.alerts.0.clock.now();
        let write = move |transaction: &rusqlite::Transaction<'_>| {
            progress.iter().try_for_each(|one| cursors::save(transaction, one, now))?;
            Ok(progress)
        };
        let progress = self.alerts.0.database.write(write).await?;
        self.saved(&progress, now);
        Ok(())
    }

    fn has_log_rules(&self) -> bool {
        !self.windows.lock().logs.is_empty()
    }

    fn has_event_rules(&self) -> bool {
        self.rules.iter().any(|rule| matches!(rule.condition, Condition::Events { .. }))
    }

    async fn housekeeping(&mut self, now: Timestamp) -> Result<(), StoreError> {
        if now < self.last_now {
            let policy = Arc::clone(&self.policy);
            self.alerts.0.database.write(move |transaction| upkeep::clamp(transaction, &policy, now)).await?;
            self.flush_read_at = Timestamp::ZERO;
            self.started = self.started.min(now);
            self.pruned_at = self.pruned_at.map(|at| at.min(now));
        }
        self.last_now = now;
        if self.rerouted {
            let policy = Arc::clone(&self.policy);
            self.alerts.0.database.write(move |transaction| upkeep::reconcile(transaction, &policy, now)).await?;
            self.flush_read_at = Timestamp::ZERO;
            self.rerouted = false;
        }
        if self.pruned_at.is_none_or(|at| now.since(at) >= PRUNE_INTERVAL) {
            let policy = Arc::clone(&self.policy);
            self.alerts.0.database.write(move |transaction| upkeep::prune(transaction, &policy, now)).await?;
            self.pruned_at = Some(now);
        }
        // A dead letter moves the deadline of its group.
        if now.since(self.flush_read_at) >= self.alerts.0.settings.alerting.evaluation_interval {
            self.next_flush = self.alerts.0.database.read(store::next_flush).await?;
            self.flush_read_at = now;
        }
        Ok(())
    }

    async fn store(&mut self, evaluation: Evaluation, now: Timestamp) -> Result<(), StoreError> {
        let due = self.next_flush.is_some_and(|flush| flush <= now);
        let save = self.next_save().is_some_and(|at| at <= now);
        if !evaluation.transitions.is_empty() || !evaluation.touched.is_empty() || due || save {
            let refreshed = if due { self.refreshed(&evaluation.alerts) } else { Vec::new() };
            let changed = !evaluation.transitions.is_empty();
            let progress = self.state();
            let (transitions, touched) = (evaluation.transitions.clone(), evaluation.touched);
            let step = Step { transitions, touched, refreshed, progress: progress.clone() };
            let (policy, leases) = (Arc::clone(&self.policy), self.alerts.0.outbox.leases().clone());
            let applied =
                self.alerts.0.database.write(move |transaction| store::apply(transaction, &leases, &policy, &step, now)).await?;
            self.saved(&progress, now);
            if changed {
                crash_point("alerts.after_transition_commit");
            }
            if applied.queued > 0 {
                crash_point("alerts.after_flush_commit");
                self.alerts.0.outbox.notify();
            }
            self.next_flush = applied.next_flush;
            self.flush_read_at = now;
            for transition in &evaluation.transitions {
                let (rule, state, reason) = (&transition.rule, transition.to.name(), &transition.reason);
                match (transition.from, transition.to) {
                    (_, AlertState::Firing { .. }) => info!(rule, state, reason, "alert `{rule}` fires"),
                    (AlertState::Firing { .. }, _) => info!(rule, state, reason, "alert `{rule}` has resolved"),
                    _ => debug!(rule, state, reason, "alert `{rule}` is {state}"),
                }
            }
        }
        self.known = Arc::new(evaluation.alerts);
        self.alerts.publish(Arc::clone(&self.known), evaluation.failures, now);
        Ok(())
    }

    /// Returns present values and annotations of all firing alerts.
    fn refreshed(&self, alerts: &Known) -> Vec<Refreshed> {
        let firing = alerts.values().filter(|alert| matches!(alert.state, AlertState::Firing { .. }));
        firing
            .filter_map(|alert| {
                let rule = self.rules.iter().find(|rule| rule.name == alert.rule)?;
                // What an event said that has not been seen since the start stands in the store alone.
                let known = alert.newest.is_some() || !matches!(rule.condition, Condition::Events { .. });
                let render = || annotations::render(rule, &alert.labels, alert.value, alert.newest.as_deref());
                Some(Refreshed { fingerprint: alert.fingerprint.clone(), value: alert.value, annotations: known.then(render) })
            })
            .collect()
    }
}

/// Does `work` where it delays no request. A panic in it is one here.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, StoreError> + Send + 'static) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(StoreError::Closed),
        },
    }
}

/// Waits for a change of any of them; for ever if there can be none.
async fn any_changed<T>(receivers: &mut [watch::Receiver<T>]) {
    let changes = receivers.iter_mut().map(|receiver| Box::pin(changed(receiver)));
    let changes: Vec<_> = changes.collect();
    if changes.is_empty() {
        std::future::pending::<()>().await;
    }
    futures::future::select_all(changes).await;
}

/// Waits for a change; for ever if there can be none.
async fn changed<T>(receiver: &mut watch::Receiver<T>) {
    if receiver.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

impl Alerts {
    /// Evaluates rules until `shutdown`: when data arrive (at most every 100 ms), at the next deadline, and at least every
    /// `evaluation_interval`.
    ///
    /// # Errors
    /// If what was stored cannot be read at the start. Later failures are logged and tried again.
    pub async fn run(
        &self,
        sources: Sources,
        mut metrics_changed: watch::Receiver<u64>,
        shutdown: CancellationToken,
    ) -> Result<(), StoreError> {
        let mut committed = sources.logs.committed();
        let mut stored: Vec<_> = sources.events.iter().map(|(_, source)| source.stored()).collect();
        let mut rules_changed = self.0.rules.subscribe();
        let mut runner = Runner::new(self.clone(), sources).await?;
        let clock = self.0.clock.clone();
        let mut failing = false;
        loop {
            let began = Instant::now();
            // Whatever arrives from here on wakes the next round.
            rules_changed.borrow_and_update();
            metrics_changed.borrow_and_update();
            committed.borrow_and_update();
            for source in &mut stored {
                source.borrow_and_update();
            }
            let tick = match runner.tick().await {
                Ok(tick) => {
                    failing = false;
                    tick
                }
                Err(StoreError::Closed) => return Ok(()),
                Err(failed) => {
                    if !failing {
                        error!(reason = %failed, "alerts cannot be stored; trying again every second");
                        failing = true;
                    }
                    tokio::select! {
                        () = shutdown.cancelled() => return Ok(()),
                        () = tokio::time::sleep(RETRY) => continue,
                    }
                }
            };
            if shutdown.is_cancelled() {
                return runner.save().await;
            }
            if tick.backlog {
                continue;
            }
            let latest = clock.now().plus(self.0.settings.alerting.evaluation_interval);
            let deadline = tick.next.map_or(latest, |next| next.min(latest));
            let has_log_rules = runner.has_log_rules();
            let has_event_rules = runner.has_event_rules();
            tokio::select! {
                () = shutdown.cancelled() => return runner.save().await,
                () = clock.sleep_until(deadline) => {}
                () = changed(&mut metrics_changed) => {}
                () = changed(&mut committed), if has_log_rules => {}
                () = any_changed(&mut stored), if has_event_rules => {}
                () = changed(&mut rules_changed) => {}
            }
            // Real time, not the clock's: this spares the processor and means nothing.
            tokio::time::sleep_until(began + COALESCE).await;
        }
    }
}

#[cfg(test)]
#[path = "runtime_tests.rs"]
mod tests;
