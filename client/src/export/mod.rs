//! Sends what the application has said. A thread of its own does everything that takes time.

mod backlog;
mod control;
mod crumbs;
mod encode;
mod proto;
mod send;
mod spool;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use backlog::{Backlog, Batch};
pub(crate) use control::Control;
use crumbs::Crumbs;
use encode::Resource;
pub(crate) use send::agent;
use send::{Outcome, Target};
use spool::Spool;

use crate::global::Shared;
use crate::metrics::{Kind, registry};
use crate::process::Process;
use crate::record::Record;
use crate::value::Value;
use crate::{clock, context};

/// Most records of one request.
const MAX_BATCH_RECORDS: usize = 1_000;
/// Most bytes of records of one request, as they are in memory.
const MAX_BATCH_BYTES: usize = 1 << 20;
/// First and longest wait after a failure.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// What the exporter has done.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Records that arrived.
    pub(crate) sent: AtomicU64,
    /// Records that were lost because the host was away for too long.
    pub(crate) lost: AtomicU64,
    /// Records that the other side refused for good.
    pub(crate) refused: AtomicU64,
    /// Requests that failed and may succeed later.
    pub(crate) failures: AtomicU64,
    /// Records that wait for the host.
    pub(crate) waiting: AtomicU64,
}

fn add(counter: &AtomicU64, number: u64) {
    counter.fetch_add(number, Ordering::Relaxed);
}

/// Takes records out of the queue and sends them.
#[derive(Debug)]
pub(crate) struct Exporter {
    shared: Arc<Shared>,
    resource: Resource,
    logs: Target,
    metrics: Target,
    backlog: Backlog,
    crumbs: Crumbs,
    process: Process,
    records: Vec<Record>,
    /// Not before then is anything sent again, and how long to wait after the next failure.
    again: Option<Instant>,
    backoff: Duration,
}

impl Exporter {
    pub(crate) fn new(shared: Arc<Shared>, agent: ureq::Agent) -> Result<Self, String> {
        let config = &shared.config;
        let open = |folder: &std::path::PathBuf| {
            Spool::open(folder, config.spool_bytes)
                .map_err(|error| format!("spool_dir: cannot use `{}`: {error}", folder.display()))
        };
        let spool = config.spool_dir.as_ref().map(open).transpose()?;
        Ok(Self {
            resource: Resource::new(config),
            logs: Target::new(agent.clone(), config, "logs"),
            metrics: Target::new(agent, config, "metrics"),
            backlog: Backlog::new(spool, config.queue_bytes),
            crumbs: Crumbs::default(),
            process: Process::default(),
            records: Vec::new(),
            again: None,
            backoff: BACKOFF.0,
            shared,
        })
    }

    /// Works until it is told to stop.
    pub(crate) fn run(mut self) {
        // What libraries say on this thread is about our own requests.
        context::be_quiet();
        let _ended = self.shared.control.ending();
        let (mut logs_due, mut metrics_due) = (Instant::now(), Instant::now());
        loop {
            let orders = self.shared.control.orders();
            let now = Instant::now();
            if let Some(deadline) = orders.stop {
                self.finish(deadline);
                return;
            }
            let flush = orders.flush > orders.flushed;
            if flush {
                self.again = None;
            }
            if flush || now >= logs_due || self.shared.queue.len() >= MAX_BATCH_RECORDS / 2 {
                self.send_logs(None);
                logs_due = now + self.shared.config.export_interval;
            }
            let mut arrived = true;
            if flush || now >= metrics_due {
                arrived = self.send_metrics(None);
                metrics_due = now + self.shared.config.collection_interval;
            }
            if flush {
                self.shared.control.flushed(orders.flush, arrived && self.backlog.is_empty());
            }
            let next = logs_due.min(metrics_due).saturating_duration_since(Instant::now());
            std::thread::park_timeout(next.max(Duration::from_millis(1)));
        }
    }

    /// Sends what is left until `deadline`; the rest stays in the spool, or is lost and counted.
    fn finish(&mut self, deadline: Instant) {
        self.again = None;
        self.send_logs(Some(deadline));
        let metrics = self.send_metrics(Some(deadline));
        add(&self.shared.control.counters.lost, self.backlog.in_memory());
        self.shared.control.stopped(metrics && self.backlog.is_empty());
    }

    /// Sends the backlog, then what has come since.
    fn send_logs(&mut self, deadline: Option<Instant>) {
        self.drain(deadline);
        let mut records = std::mem::take(&mut self.records);
        self.shared.queue.take(&mut records);
        let mut rest = records.as_slice();
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = rest.iter().take(MAX_BATCH_RECORDS).take_while(|record| {
                bytes += record.size();
                bytes <= MAX_BATCH_BYTES
            });
            let count = fits.count().max(1);
            let (now, later) = rest.split_at(count);
            let extras: Vec<_> = now.iter().map(|record| self.extras(record)).collect();
            self.send_batch(now, &extras, deadline);
            rest = later;
        }
        records.clear();
        self.records = records;
        self.shared.control.counters.waiting.store(self.backlog.records(), Ordering::Relaxed);
    }

    fn may_send(&self, deadline: Option<Instant>) -> bool {
        let now = Instant::now();
        self.again.is_none_or(|again| now >= again) && deadline.is_none_or(|deadline| now < deadline)
    }

    fn drain(&mut self, deadline: Option<Instant>) {
        while self.may_send(deadline) {
            let (batch, lost) = self.backlog.front();
            add(&self.shared.control.counters.lost, lost);
            let Some(batch) = batch else { return };
            match self.logs.send(&batch.body, deadline) {
                Outcome::Later { reason, after } => return self.wait(reason, after),
                outcome => {
                    self.backlog.pop();
                    self.count(&outcome, batch.records);
                }
            }
        }
    }

    fn send_batch(&mut self, records: &[Record], extras: &[Vec<(&'static str, Value)>], deadline: Option<Instant>) {
        let count = records.len() as u64;
        let body = encode::logs(&self.resource, records, extras);
        if self.backlog.is_empty() && self.may_send(deadline) {
            match self.logs.send(&body, deadline) {
                Outcome::TooLarge if records.len() > 1 => {
                    let half = records.len() / 2;
                    self.send_batch(&records[..half], &extras[..half], deadline);
                    self.send_batch(&records[half..], &extras[half..], deadline);
                    return;
                }
                Outcome::Later { reason, after } => self.wait(reason, after),
                outcome => return self.count(&outcome, count),
            }
        }
        let lost = self.backlog.push(Batch { body, records: count });
        add(&self.shared.control.counters.lost, lost);
    }

    fn count(&mut self, outcome: &Outcome, records: u64) {
        let counters = &self.shared.control.counters;
        match outcome {
            Outcome::Taken { rejected, reason } => {
                (self.again, self.backoff) = (None, BACKOFF.0);
                let rejected = (*rejected).min(records);
                add(&counters.sent, records - rejected);
                add(&counters.refused, rejected);
                self.shared.control.reached(if rejected > 0 { reason } else { "" });
            }
            Outcome::Never { reason } => {
                add(&counters.refused, records);
                self.shared.control.failed(reason.clone());
            }
            Outcome::TooLarge => {
                add(&counters.refused, records);
                self.shared.control.failed("a record is larger than the other side takes".to_owned());
            }
            Outcome::Later { .. } => {}
        }
    }

    fn wait(&mut self, reason: String, after: Option<Duration>) {
        add(&self.shared.control.counters.failures, 1);
        self.shared.control.failed(reason);
        // Between half and all of it, so that many clients do not come at once.
        let share = 0.5 + (context::random() >> 11) as f64 / (1_u64 << 54) as f64;
        self.again = Some(Instant::now() + after.unwrap_or_else(|| self.backoff.mul_f64(share)));
        self.backoff = (self.backoff * 2).min(BACKOFF.1);
    }

    /// Returns what a record gets on its way: an error's texts and breadcrumbs.
    fn extras(&mut self, record: &Record) -> Vec<(&'static str, Value)> {
        let mut extras: Vec<(&'static str, Value)> = vec![("thread.id", Value::Int(record.thread as i64))];
        if let Some(error) = &record.error {
            extras.push(("exception.type", Value::Text(error.kind.clone().into())));
            extras.push(("exception.message", Value::Text(error.message.clone().into())));
            extras.push(("exception.stacktrace", Value::Text(error.stack_text().into())));
            extras.push(("error.severity", Value::Text(record.severity_text.into())));
            let crumbs = self.crumbs.before(record, self.shared.config.breadcrumbs);
            extras.extend(crumbs.map(|crumbs| ("breadcrumbs", Value::Text(crumbs.into()))));
        }
        self.crumbs.note(record);
        extras
    }

    /// Sends all series as they are now. If that fails, the next time says the same and more.
    fn send_metrics(&mut self, deadline: Option<Instant>) -> bool {
        if self.shared.config.process_metrics {
            self.process.measure();
        }
        self.own_metrics();
        if !self.may_send(deadline) {
            return false;
        }
        let body = encode::metrics(&self.resource, &registry().snapshot(), clock::now_nanos());
        match self.metrics.send(&body, deadline) {
            Outcome::Taken { rejected, reason } => {
                self.shared.control.reached(if rejected > 0 { &reason } else { "" });
                true
            }
            Outcome::Later { reason, after } => {
                self.wait(reason, after);
                false
            }
            Outcome::Never { reason } => {
                self.shared.control.failed(reason);
                false
            }
            Outcome::TooLarge => {
                self.shared
                    .control
                    .failed("there are more metrics than the other side takes in one request: lower `max_series`".to_owned());
                false
            }
        }
    }

    /// Says how the client itself does.
    fn own_metrics(&self) {
        let (counters, queue) = (&self.shared.control.counters, &self.shared.queue);
        let total = |name: &str, labels: &[(&str, &str)], value: &AtomicU64| {
            if let Some(series) = registry().series(Kind::Counter, name, "", labels) {
                series.set_total(value.load(Ordering::Relaxed) as f64);
            }
        };
        let dropped = "watchfire_client_dropped";
        total(dropped, &[("reason", "queue_full")], &queue.dropped);
        total(dropped, &[("reason", "host_away")], &counters.lost);
        total(dropped, &[("reason", "refused")], &counters.refused);
        total(dropped, &[("reason", "too_many_series")], &registry().refused);
        total("watchfire_client_sent_records", &[], &counters.sent);
        total("watchfire_client_failed_exports", &[], &counters.failures);
        crate::set_gauge("watchfire_client_waiting_records", counters.waiting.load(Ordering::Relaxed) + queue.len() as u64, &[]);
    }
}
