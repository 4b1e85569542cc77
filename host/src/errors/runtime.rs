//! Reads the log from where it stopped, and keeps what it finds within bounds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use watchfire_types::Timestamp;

use super::bodies::Body;
use super::engine::{gather, merge};
use super::hashes::{self, Found as FoundIssue};
use super::{Errors, detect, store};
use crate::logs::Logs;
use crate::store::StoreError;
use crate::store::crash::crash_point;

/// Records read from the log at a time, and how many times before anything else is looked at.
const READ_RECORDS: usize = 16_384;
const READ_BATCHES: usize = 16;
/// Bytes of error events after which no more are read at a time.
const READ_BYTES: usize = 8 << 20;
/// Where nothing was found, the position is stored after so many records: reading them again costs little and changes nothing.
const SAVE_RECORDS: u64 = 1_000_000;
/// How far back the log is looked through when this is done for the first time.
const FIRST_LOOK: Duration = Duration::from_secs(86_400);
/// Least real time between two looks at the log, however fast records arrive.
const COALESCE: Duration = Duration::from_millis(100);
/// How long to wait after the store refused.
const RETRY: Duration = Duration::from_secs(1);

/// What a read of the log gave.
struct Found {
    issues: BTreeMap<String, FoundIssue>,
    bodies: Vec<Body>,
    /// Up to here.
    through: u64,
    /// Records that should have been there.
    missed: u64,
}

/// The consumer of the log, driven by [`Errors::run`] or, step by step, by a test.
pub struct Consumer {
    errors: Errors,
    logs: Logs,
    /// Up to where the log has been read, and up to where that is stored.
    cursor: u64,
    saved: u64,
    cleaned_at: Timestamp,
}

impl Consumer {
    /// Finds where the log was read to last.
    ///
    /// # Errors
    /// The stores'.
    pub async fn new(errors: Errors, logs: Logs) -> Result<Self, StoreError> {
        let (now, stored) = (errors.0.clock.now(), *logs.committed().borrow());
        let known = errors.0.database.read(store::cursor).await?;
        let cursor = match known {
            Some(cursor) if cursor <= stored => cursor,
            Some(cursor) => {
                warn!(cursor, stored, "the log has begun anew: errors are looked for from its beginning");
                errors.0.bodies.begin_anew().await?;
                errors.0.database.write(|transaction| store::begin_anew(transaction)).await?;
                0
            }
            None => {
                let logs = logs.clone();
                let first = move || logs.cursor_at_arrival(now.minus(FIRST_LOOK));
                let cursor = blocking(first).await?;
                errors.0.database.write(move |transaction| store::set_cursor(transaction, cursor)).await?;
                cursor
            }
        };
        Ok(Self { errors, logs, cursor, saved: cursor, cleaned_at: now })
    }

    /// Reads what is new and stores what it holds; returns whether there is more.
    ///
    /// # Errors
    /// The stores': then the next tick tries the same again.
    pub async fn tick(&mut self) -> Result<bool, StoreError> {
        let stored = *self.logs.committed().borrow();
        for _ in 0..READ_BATCHES {
            if self.cursor >= stored {
                break;
            }
            let found = self.read(stored).await?;
            self.store(found).await?;
            self.errors.0.meters.lag.set(stored.saturating_sub(self.cursor) as f64);
        }
        self.clean().await?;
        Ok(self.cursor < stored)
    }

    async fn read(&self, stored: u64) -> Result<Found, StoreError> {
        let (logs, cursor, inner) = (self.logs.clone(), self.cursor, Arc::clone(&self.errors.0));
        let work = move || {
            let auto_capture = inner.settings.auto_capture;
            let (mut groups, mut through, mut missed, mut bytes) = (BTreeMap::new(), cursor, 0, 0);
            // Many small commits of the log are one of ours: each of ours waits for the disk twice.
            while through < stored && through - cursor < READ_RECORDS as u64 && bytes < READ_BYTES {
                let skimmed = detect::skimming(auto_capture, |skim| logs.skim_after(through, READ_RECORDS, skim))?;
                // Stopping short for want of records means that retention took them.
                let last = skimmed.last.unwrap_or(stored);
                missed += (last - through).saturating_sub(skimmed.count);
                bytes += skimmed.batch.size_bytes();
                merge(&mut groups, gather(&skimmed.batch, auto_capture, &inner.settings.grouping, &*inner.originals));
                through = last;
            }
            let now = inner.clock.now();
            // Nobody else gives fingerprints to issues, so what is found here holds until it is stored.
            let issues = inner.database.read_blocking(|connection| hashes::resolve(connection, groups, now))?;
            let body = |(id, issue): (&String, &FoundIssue)| -> Vec<_> {
                issue.occurrences.kept().filter_map(|(seq, event)| Body::new(id, *seq, event).ok()).collect()
            };
            let bodies = issues.iter().flat_map(body).collect();
            Ok(Found { issues, bodies, through, missed })
        };
        blocking(work).await
    }

    async fn store(&mut self, found: Found) -> Result<(), StoreError> {
        let (inner, through) = (Arc::clone(&self.errors.0), found.through);
        if found.missed > 0 {
            warn!(
                missed = found.missed,
                "{} log records after {} were gone before errors were looked for in them", found.missed, self.cursor
            );
            let mut missed = inner.missed.lock();
            *missed = (missed.0 + found.missed, inner.clock.now());
        }
        if found.issues.is_empty() {
            if through - self.saved >= SAVE_RECORDS {
                inner.database.write(move |transaction| store::set_cursor(transaction, through)).await?;
                self.saved = through;
            }
        } else {
            let now = inner.clock.now();
            // The log has thought about a clock that stepped.
            let day = self.logs.days().last().map_or_else(|| now.day(), |(day, _)| *day);
            let events: u64 = found.issues.values().map(|issue| issue.occurrences.count).sum();
            inner.bodies.append(day, found.bodies, through).await?;
            crash_point("errors.between_files");
            let applied = inner.database.write(move |transaction| store::apply(transaction, &found.issues, through, now)).await?;
            crash_point("errors.after_commit");
            self.saved = through;
            inner.meters.events.add(events);
            if applied.new + applied.regressed > 0 {
                info!(
                    new = applied.new,
                    regressed = applied.regressed,
                    "{} new issues, {} came back",
                    applied.new,
                    applied.regressed
                );
                self.errors.count_issues().await?;
                inner.stored.send_replace(applied.position);
            }
        }
        self.cursor = through;
        Ok(())
    }

    /// Drops what is too much: once per `cleanup_interval`, and at once when it is a fifth too much.
    async fn clean(&mut self) -> Result<(), StoreError> {
        let (inner, now) = (Arc::clone(&self.errors.0), self.errors.0.clock.now());
        // A clock that stepped back must not put it off.
        self.cleaned_at = self.cleaned_at.min(now);
        let most = inner.settings.max_events;
        let due = now.since(self.cleaned_at) >= inner.settings.cleanup_interval;
        if !due && inner.bodies.kept() <= most + most / 5 {
            return Ok(());
        }
        self.cleaned_at = now;
        if due {
            inner.database.write(move |transaction| store::prune(transaction, now)).await?;
            // Retention, by age or by bytes, is that of the log.
            if let Some((oldest, _)) = self.logs.days().first().copied() {
                let errors = self.errors.clone();
                let dropped = blocking(move || Ok(errors.drop_before(oldest))).await?;
                if dropped > 0 {
                    info!(dropped, "dropped the error events of {dropped} days before {oldest}, as their logs are gone");
                }
            }
        }
        if inner.bodies.kept() > most {
            blocking(move || inner.bodies.thin(most)).await?;
        }
        Ok(())
    }

    /// Stores how far it has come.
    async fn finish(&self) {
        let cursor = self.cursor;
        if cursor > self.saved {
            // What fails here is read once more at the next start.
            let _ = self.errors.0.database.write(move |transaction| store::set_cursor(transaction, cursor)).await;
        }
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

impl Errors {
    /// Looks for errors in `logs` until `shutdown`: when records have been stored, at most every 100 ms.
    ///
    /// # Errors
    /// If what was stored cannot be read at the start. Later failures are logged and tried again.
    pub async fn run(&self, logs: Logs, shutdown: CancellationToken) -> Result<(), StoreError> {
        let mut committed = logs.committed();
        let mut consumer = Consumer::new(self.clone(), logs).await?;
        let interval = self.0.settings.cleanup_interval;
        loop {
            let began = Instant::now();
            committed.borrow_and_update();
            let outcome = consumer.tick().await;
            if shutdown.is_cancelled() {
                consumer.finish().await;
                return Ok(());
            }
            match outcome {
                Ok(backlog) => {
                    *self.0.failure.lock() = None;
                    if backlog {
                        continue;
                    }
                }
                Err(StoreError::Closed) => return Ok(()),
                Err(failed) => {
                    let cause = std::error::Error::source(&failed).map(|cause| format!(": {cause}")).unwrap_or_default();
                    let reason = format!("{failed}{cause}");
                    let before = self.0.failure.lock().replace(reason.clone());
                    if before.as_ref() != Some(&reason) {
                        error!(reason, "errors cannot be grouped; trying again every second: nothing is lost meanwhile");
                    }
                    tokio::select! {
                        () = shutdown.cancelled() => {}
                        () = tokio::time::sleep(RETRY) => {}
                    }
                    continue;
                }
            }
            let cleaning = consumer.cleaned_at.plus(interval.max(COALESCE));
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = self.0.clock.sleep_until(cleaning) => {}
                changed = committed.changed() => if changed.is_err() { shutdown.cancelled().await },
            }
            // Real time, not the clock's: this spares the processor and means nothing.
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep_until(began + COALESCE) => {}
            }
        }
    }
}

#[cfg(test)]
#[path = "runtime_tests.rs"]
mod tests;
