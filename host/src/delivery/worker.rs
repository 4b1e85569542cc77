//! Takes rows from the outbox, one at a time per receiver, sends them, and stores what became of it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};
use watchfire_types::Timestamp;

use super::channel::{Outcome, Sender};
use super::outbox::{Leased, Next, Outbox, Settled};
use super::progress::Progress;
use super::{render, retry};
use crate::clock::Clock;
use crate::store::StoreError;
use crate::store::crash::crash_point;
use crate::telemetry::SelfMetrics;

/// How long an attempt may go on after the host was told to stop. What is cut off is sent again after the next start.
const GRACE: Duration = Duration::from_secs(5);
/// How long to wait after the store refused.
const STORE_RETRY: Duration = Duration::from_secs(1);
/// The target of events about deliveries that failed: rules must not alert on them through the channel that fails.
pub const LOG_TARGET: &str = "watchfire::delivery";

/// How a receiver does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// What went wrong last; `None` after a success.
    pub last_error: Option<String>,
    /// Whether our credentials are refused.
    pub credentials: bool,
    /// Failures since the last success.
    pub failures: u32,
    /// The last success.
    pub delivered_at: Option<Timestamp>,
    /// Notifications given up since the start.
    pub dead: u64,
}

/// Sends for one receiver.
pub struct Worker {
    receiver: String,
    sender: Arc<Sender>,
    outbox: Outbox,
    clock: Clock,
    metrics: SelfMetrics,
    health: Arc<Mutex<Health>>,
    /// How long after a dead letter its alerts are told again.
    repeat: Duration,
    /// The whole receiver waits until then: it said so, or it refused our credentials.
    blocked_until: Timestamp,
}

impl Worker {
    /// Returns a worker for `receiver`.
    #[must_use]
    pub fn new(
        receiver: String,
        sender: Arc<Sender>,
        outbox: Outbox,
        clock: Clock,
        metrics: SelfMetrics,
        health: Arc<Mutex<Health>>,
        repeat: Duration,
    ) -> Self {
        Self { receiver, sender, outbox, clock, metrics, health, repeat, blocked_until: Timestamp::ZERO }
    }

    /// Sends until `shutdown`. What is being sent then may take five seconds more.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut changes = self.outbox.changes();
        while !shutdown.is_cancelled() {
            changes.borrow_and_update();
            let sender = Arc::clone(&self.sender);
            let grace = async {
                shutdown.cancelled().await;
                // For an application that nobody knows whether it comes, a stop does not wait.
                if !matches!(&*sender, Sender::Pull(channel) if !channel.is_out()) {
                    tokio::time::sleep(GRACE).await;
                }
            };
            let step = tokio::select! {
                step = self.step() => step,
                () = grace => {
                    warn!(target: LOG_TARGET, receiver = self.receiver, "stopped while a notification was being sent; it is sent again");
                    return;
                }
            };
            match step {
                Ok(Step::Worked) => {}
                Ok(Step::Wait(until)) => {
                    let sleep = async {
                        match until {
                            Some(until) => self.clock.sleep_until(until).await,
                            None => std::future::pending().await,
                        }
                    };
                    tokio::select! {
                        () = shutdown.cancelled() => {}
                        () = sleep => {}
                        changed = changes.changed() => if changed.is_err() { return },
                    }
                }
                Err(StoreError::Closed) => return,
                Err(failed) => {
                    error!(target: LOG_TARGET, reason = %failed, "the outbox cannot be used; trying again");
                    tokio::select! {
                        () = shutdown.cancelled() => {}
                        () = tokio::time::sleep(STORE_RETRY) => {}
                    }
                }
            }
        }
    }

    /// Takes and sends one row, or says how long there is nothing to do.
    ///
    /// # Errors
    /// The store's.
    pub async fn step(&mut self) -> Result<Step, StoreError> {
        let now = self.clock.now();
        // A clock that stepped back must not stretch the wait.
        self.blocked_until = self.blocked_until.min(now.plus(retry::MAX_RETRY_AFTER));
        if now < self.blocked_until {
            return Ok(Step::Wait(Some(self.blocked_until)));
        }
        match self.outbox.lease(&self.receiver, now).await? {
            Next::Leased(leased) => {
                self.deliver(&leased).await?;
                Ok(Step::Worked)
            }
            Next::Later(at) => Ok(Step::Wait(Some(at))),
            Next::Empty => Ok(Step::Wait(None)),
        }
    }

    async fn deliver(&mut self, leased: &Leased) -> Result<(), StoreError> {
        let (saved, previous) = (leased.progress.clone(), leased.previous_receipt.clone());
        let progress = Progress::of_row(&self.outbox, &leased.notification.id, saved, previous);
        crash_point("delivery.before_send");
        let outcome = self.sender.send(&leased.notification, &progress, self.clock.now()).await;
        crash_point("delivery.after_send");
        let now = self.clock.now();
        let settled = self.decide(leased, outcome, now);
        loop {
            match self.outbox.settle(&leased.notification, settled.clone(), now, self.repeat).await {
                // Sent, but not written down: keep the row until it is, or it is sent twice.
                Err(failed @ StoreError::Sqlite { .. }) => {
                    error!(target: LOG_TARGET, reason = %failed, "a receipt cannot be stored; trying again");
                    tokio::time::sleep(STORE_RETRY).await;
                }
                other => return other,
            }
        }
    }

    /// Decides what follows from `outcome`, counts it and remembers it.
    fn decide(&mut self, leased: &Leased, outcome: Outcome, now: Timestamp) -> Settled {
        let attempt = leased.attempts + 1;
        let (receiver, id) = (&self.receiver, &leased.notification.id);
        let jittered = now.plus(retry::backoff(attempt, fastrand::f64()));
        let (at, class, reason) = match outcome {
            Outcome::Delivered { receipt } => {
                self.metrics.counter("watchfire_notifications_total", &[("receiver", receiver)]).inc();
                let mut health = self.health.lock();
                if health.last_error.is_some() {
                    info!(target: LOG_TARGET, receiver, "receiver `{receiver}` takes notifications again");
                }
                *health = Health { delivered_at: Some(now), dead: health.dead, ..Health::default() };
                debug!(target: LOG_TARGET, receiver, id, "delivered");
                return Settled::Delivered { receipt };
            }
            Outcome::Retry { after: Some(after), class, reason } => {
                let at = now.plus(after.min(retry::MAX_RETRY_AFTER)).max(jittered);
                self.blocked_until = at;
                (Some(at), class, reason)
            }
            Outcome::Retry { after: None, class, reason } => (Some(jittered), class, reason),
            Outcome::Paced { after } => {
                let at = now.plus(after);
                self.blocked_until = at;
                let error = format!("the service takes only so many requests a minute: it is sent at {}", render::to_second(at));
                if at < leased.expires_at {
                    return Settled::Retry { at, error, credentials: false };
                }
                (Some(at), "paced", error)
            }
            Outcome::Unclaimed { after, reason } => {
                let at = now.plus(after);
                self.blocked_until = at;
                (Some(at), "unclaimed", reason)
            }
            Outcome::Credentials { reason } => {
                let at = now.plus(retry::CREDENTIALS_WAIT);
                self.blocked_until = at;
                (Some(at), "credentials", reason)
            }
            Outcome::Never { reason } => (None, "refused", reason),
        };
        self.metrics.counter("watchfire_notifications_failed_total", &[("receiver", receiver), ("reason", class)]).inc();
        let mut health = self.health.lock();
        health.failures += 1;
        health.credentials = class == "credentials";
        health.last_error = Some(reason.clone());
        if let Some(at) = at.filter(|at| *at < leased.expires_at) {
            // Once per outage: the receipts hold every attempt.
            if health.failures == 1 {
                warn!(target: LOG_TARGET, receiver, reason, "receiver `{receiver}` did not take a notification: {reason}");
            }
            return Settled::Retry { at, error: reason, credentials: class == "credentials" };
        }
        health.dead += 1;
        let why = if at.is_some() { "gave up after the delivery timeout" } else { "refused for good" };
        self.metrics.counter("watchfire_notifications_dead_total", &[("receiver", receiver)]).inc();
        error!(target: LOG_TARGET, receiver, id, reason, "a notification to `{receiver}` is lost, {why}: {reason}");
        Settled::Dead { error: format!("{why}: {reason}") }
    }
}

/// What a step of a worker did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A row was sent, or at least tried.
    Worked,
    /// Nothing is to be done before then, or before rows are queued.
    Wait(Option<Timestamp>),
}

#[cfg(test)]
#[path = "worker_tests.rs"]
pub mod testing;
