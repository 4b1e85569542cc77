//! Delivery: takes notifications from the outbox, sends them through channels, stores the receipts.
//!
//! [`outbox`] keeps what is to be sent, [`worker`] sends it, [`channel`] says what a channel is, [`pull`] is the one that applications ask, [`render`] what it sends.

pub mod api;
pub mod channel;
pub mod component;
pub mod egress;
pub mod email;
pub mod notification;
pub mod outbox;
pub mod pacer;
pub mod progress;
pub mod pull;
pub mod pull_api;
pub mod render;
pub mod retry;
pub mod types;
pub mod webhook;
pub mod wire;
pub mod worker;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::clock::Clock;
use crate::config::Alerting;
use crate::plugins::Plugins;
use crate::store::StoreError;
use crate::telemetry::SelfMetrics;
use channel::{ChannelError, Sender, Ways};
use outbox::Outbox;
use types::Receiver;
pub use worker::LOG_TARGET;
use worker::{Health, Worker};

/// How often the outbox is counted when nothing happens.
const COUNT_INTERVAL: Duration = Duration::from_secs(15);

/// Delivery's handle. Cheap to clone.
#[derive(Clone)]
pub struct Delivery(Arc<Inner>);

struct Inner {
    outbox: Outbox,
    receivers: BTreeMap<String, Entry>,
    clock: Clock,
    metrics: SelfMetrics,
    repeat: Duration,
    external_url: String,
}

struct Entry {
    receiver: Receiver,
    /// The channel, or why it cannot be used.
    sender: Result<Arc<Sender>, String>,
    health: Arc<Mutex<Health>>,
}

impl Delivery {
    /// Returns delivery for the receivers of `alerting`.
    ///
    /// # Errors
    /// If certificates cannot be read. A receiver that cannot work is listed as degraded instead.
    pub fn new(
        outbox: Outbox,
        alerting: &Alerting,
        plugins: &Plugins,
        ca_file: Option<&Path>,
        external_url: String,
        clock: Clock,
        metrics: SelfMetrics,
    ) -> Result<Self, ChannelError> {
        let ways = Ways::new(plugins.clone(), ca_file, clock.clone())?;
        let entry = |receiver: &Receiver| {
            let sender = Sender::new(receiver, &ways).map(Arc::new).map_err(|failed| failed.to_string());
            let health = Health { last_error: sender.as_ref().err().cloned(), ..Health::default() };
            let entry = Entry { receiver: receiver.clone(), sender, health: Arc::new(Mutex::new(health)) };
            (receiver.name.clone(), entry)
        };
        let receivers = alerting.receivers.iter().map(entry).collect();
        Ok(Self(Arc::new(Inner { outbox, receivers, clock, metrics, repeat: alerting.repeat_interval, external_url })))
    }

    /// Sends what is in the outbox until `shutdown`, each receiver on its own: a slow one delays no other.
    ///
    /// # Errors
    /// If the outbox cannot be read at the start.
    pub async fn run(&self, shutdown: CancellationToken) -> Result<(), StoreError> {
        let names = self.0.receivers.keys().cloned().collect();
        for receiver in self.0.outbox.tidy(names, self.0.clock.now()).await? {
            warn!(target: LOG_TARGET, receiver, "notifications to `{receiver}` are given up: it is no longer configured");
        }
        let mut workers = JoinSet::new();
        for (name, entry) in &self.0.receivers {
            let sender = match &entry.sender {
                Ok(sender) => Arc::clone(sender),
                Err(problem) => {
                    error!(target: LOG_TARGET, receiver = name, problem, "{problem}; its notifications wait in the outbox");
                    continue;
                }
            };
            let worker = Worker::new(
                name.clone(),
                sender,
                self.0.outbox.clone(),
                self.0.clock.clone(),
                self.0.metrics.clone(),
                Arc::clone(&entry.health),
                self.0.repeat,
            );
            workers.spawn(worker.run(shutdown.clone()));
        }
        self.count(&shutdown).await;
        while workers.join_next().await.is_some() {}
        Ok(())
    }

    /// Keeps the gauges of the outbox true until `shutdown`.
    async fn count(&self, shutdown: &CancellationToken) {
        let mut changes = self.0.outbox.changes();
        loop {
            if let Ok(counts) = self.0.outbox.counts().await {
                let rows = |state, count: u64| self.0.metrics.gauge("watchfire_outbox_rows", &[("state", state)]).set(count as f64);
                rows("queued", counts.queued);
                rows("delivered", counts.delivered);
                rows("dead", counts.dead);
                let age = counts.oldest.map(|oldest| self.0.clock.now().since(oldest)).unwrap_or_default();
                self.0.metrics.gauge("watchfire_outbox_oldest_age_seconds", &[]).set(age.as_secs_f64());
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.0.clock.sleep(COUNT_INTERVAL) => {}
                _ = changes.changed() => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    }

    /// Returns, for each receiver that does not work: its name, what is wrong, and what to do.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let problem = |(name, entry): (&String, &Entry)| {
            let health = entry.health.lock();
            let unusable = entry.sender.as_ref().ok().and_then(|sender| sender.problem());
            let detail = unusable.or_else(|| health.last_error.clone())?;
            let hint = if health.credentials {
                "the receiver refuses the credentials: check its password, token or URL, then restart"
            } else if entry.sender.is_err() {
                "correct the receiver in the configuration, then restart"
            } else {
                "notifications are kept and tried again; `watchfire test` tries the receiver now"
            };
            Some(Problem { receiver: name.clone(), detail, hint: hint.to_owned() })
        };
        self.0.receivers.iter().filter_map(problem).collect()
    }
}

/// A receiver that does not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its name.
    pub receiver: String,
    /// What is wrong.
    pub detail: String,
    /// What to do.
    pub hint: String,
}
