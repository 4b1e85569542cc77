//! Follows files: each line becomes a record once, across rotation, truncation, restarts and `kill -9`.
//!
//! **Invariant**: a position is stored in the transaction of the lines before it, and a file waits rather than drop a line.

mod multiline;
mod permission;
mod reader;
pub mod status;
pub mod tail;
#[cfg(test)]
mod tests;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::LogSink;
use crate::clock::Clock;
use crate::config::FileInput;
use crate::store::IngestError;
use crate::store::crash::crash_point;
use crate::telemetry::SelfMetrics;

pub use status::{FileState, FileStatus, FileStatuses};
use tail::{Step, Tail};

/// How long to gather lines after the system tells of a change, so that a busy writer does not cause a commit per line.
const GATHER: Duration = Duration::from_millis(20);

/// How often a file that changed in the last minute is looked at when nobody tells of changes.
const POLL_LIVELY: Duration = Duration::from_secs(1);

/// The same for a quiet one.
const POLL_QUIET: Duration = Duration::from_secs(10);

/// Follows `inputs` until `shutdown`. Positions of an earlier run are asked of `sink` first.
pub async fn follow(
    inputs: Vec<FileInput>,
    sink: Arc<dyn LogSink>,
    statuses: FileStatuses,
    clock: Clock,
    self_metrics: SelfMetrics,
    shutdown: CancellationToken,
) {
    if inputs.is_empty() {
        return;
    }
    let stored = {
        let sink = Arc::clone(&sink);
        tokio::task::spawn_blocking(move || sink.file_offsets()).await
    };
    let stored = match stored {
        Ok(Ok(stored)) => stored,
        Ok(Err(error)) => {
            // Without positions every line would be read twice or not at all.
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "files are not followed: their stored positions cannot be read"
            );
            for input in inputs {
                let detail = "the stored positions cannot be read; the host's log says why".to_owned();
                statuses.set(FileStatus { state: FileState::Failed, detail, ..FileStatus::new(&input.path) });
            }
            return;
        }
        Err(_) => return,
    };
    let host = sysinfo::System::host_name().ok();
    let zone = TimeZone::system();
    let wakes: Vec<(std::path::PathBuf, Arc<Notify>)> = inputs.iter().map(|input| (input.path.clone(), Arc::default())).collect();
    let watcher = watch::start(&wakes);
    let mut tasks = tokio::task::JoinSet::new();
    for (input, (_, wake)) in inputs.into_iter().zip(wakes) {
        let tail = Tail::new(input, host.clone(), zone.clone(), &stored);
        let follower = Follower {
            sink: Arc::clone(&sink),
            statuses: statuses.clone(),
            clock: clock.clone(),
            self_metrics: self_metrics.clone(),
            shutdown: shutdown.clone(),
            wake,
        };
        tasks.spawn(follower.run(tail));
    }
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "following a file ended unexpectedly");
        }
    }
    drop(watcher);
}

struct Follower {
    sink: Arc<dyn LogSink>,
    statuses: FileStatuses,
    clock: Clock,
    self_metrics: SelfMetrics,
    shutdown: CancellationToken,
    wake: Arc<Notify>,
}

impl Follower {
    async fn run(self, mut tail: Tail) {
        loop {
            let Some(back) = self.drain(tail).await else { return };
            tail = back;
            self.statuses.set(tail.status().clone());
            let poll = if tail.is_lively(self.clock.now()) { POLL_LIVELY } else { POLL_QUIET };
            tokio::select! {
                () = self.shutdown.cancelled() => return,
                () = self.wake.notified() => tokio::time::sleep(GATHER).await,
                () = tokio::time::sleep(poll) => {}
            }
        }
    }

    /// Stores all that there is; `None` at shutdown.
    async fn drain(&self, mut tail: Tail) -> Option<Tail> {
        while !self.shutdown.is_cancelled() {
            let now = self.clock.now();
            let (back, step) = tokio::task::spawn_blocking(move || {
                let step = tail.step(now);
                (tail, step)
            })
            .await
            .ok()?;
            tail = back;
            let Step::Batch(mut pending) = step else { return Some(tail) };
            let batch = std::mem::take(&mut pending.batch);
            let lines = batch.len() as u64;
            // The positions are kept for `commit`; the lines are read again if they are not taken.
            match self.sink.ingest(batch, pending.offsets.clone()).await {
                Ok(accepted) => {
                    crash_point("files.after_commit");
                    tail.commit(&pending);
                    self.count(lines.saturating_sub(accepted.rejected), accepted.rejected, pending.bytes);
                }
                Err(error) => self.wait_after(&error, &tail).await,
            }
        }
        None
    }

    async fn wait_after(&self, error: &IngestError, tail: &Tail) {
        let wait = match error {
            IngestError::Busy { retry_after, .. } => *retry_after,
            IngestError::Store(_) => POLL_QUIET,
        };
        let detail = format!("its lines wait in the file: {error}");
        tracing::debug!(path = %tail.path().display(), %error, "the store did not take lines of a file");
        self.statuses.set(FileStatus { state: FileState::Busy, detail, ..tail.status().clone() });
        tokio::select! {
            () = self.shutdown.cancelled() => {}
            () = tokio::time::sleep(wait.max(Duration::from_millis(50))) => {}
        }
    }

    fn count(&self, accepted: u64, rejected: u64, bytes: u64) {
        let input = [("input", "file")];
        self.self_metrics.counter("watchfire_input_records_total", &input).add(accepted);
        self.self_metrics.counter("watchfire_input_bytes_total", &input).add(bytes);
        if rejected > 0 {
            let labels = [("input", "file"), ("reason", "invalid_record")];
            self.self_metrics.counter("watchfire_input_rejected_total", &labels).add(rejected);
        }
    }
}
