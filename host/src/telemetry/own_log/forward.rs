//! From the own log into the log engine: a bounded queue, and one task that empties it in batches.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use watchfire_types::attributes::keys;
use watchfire_types::log::RecordHead;
use watchfire_types::{Attributes, LogBatch, Value};

use super::OwnRecord;
use crate::logs::Logs;
use crate::store::IngestError;
use crate::telemetry::{Counter, SelfMetrics};

/// Records that wait for the store; beyond that they are dropped and counted, since logging must never wait.
const QUEUE_RECORDS: usize = 4096;
/// Most records of one batch.
const BATCH_RECORDS: usize = 500;
/// How long a batch waits for more records.
const BATCH_WAIT: Duration = Duration::from_millis(200);
/// How often a busy store is asked before a batch is dropped.
const TRIES: usize = 3;

tokio::task_local! {
    pub(super) static FORWARDING: ();
}

pub(super) fn is_forwarding() -> bool {
    FORWARDING.try_with(|()| ()).is_ok()
}

/// The end at which records go in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Forward {
    sender: mpsc::Sender<OwnRecord>,
    dropped: Counter,
}

/// The end at which they come out.
#[derive(Debug)]
pub struct Queue {
    pub(super) receiver: mpsc::Receiver<OwnRecord>,
    dropped: Counter,
}

/// Returns both ends of the queue. What is dropped is counted in `watchfire_own_log_dropped_total`.
#[must_use]
pub fn channel(metrics: &SelfMetrics) -> (Forward, Queue) {
    let (sender, receiver) = mpsc::channel(QUEUE_RECORDS);
    let dropped = metrics.counter("watchfire_own_log_dropped_total", &[]);
    (Forward { sender, dropped: dropped.clone() }, Queue { receiver, dropped })
}

impl Forward {
    pub(super) fn send(&self, record: OwnRecord) {
        if self.sender.try_send(record).is_err() {
            self.dropped.inc();
        }
    }
}

/// Stores what comes out of `queue` until `shutdown`, then what is left. Returns the queue, for the next host of this process.
pub async fn forward(mut queue: Queue, logs: Logs, shutdown: CancellationToken) -> Queue {
    run(&mut queue, shutdown, |batch| {
        let logs = logs.clone();
        async move { logs.ingest(batch, Vec::new()).await.map(drop) }
    })
    .await;
    queue
}

pub(super) async fn run<F>(queue: &mut Queue, shutdown: CancellationToken, ingest: impl Fn(LogBatch) -> F)
where
    F: Future<Output = Result<(), IngestError>>,
{
    let resource = resource();
    let work = async {
        loop {
            let records = next_batch(&mut queue.receiver, &shutdown).await;
            if records.is_empty() {
                return;
            }
            store(to_batch(&records, &resource), &ingest, &queue.dropped, &shutdown).await;
        }
    };
    FORWARDING.scope((), work).await;
}

/// Waits for records and returns at most [`BATCH_RECORDS`] of them; none when all is over.
async fn next_batch(receiver: &mut mpsc::Receiver<OwnRecord>, shutdown: &CancellationToken) -> Vec<OwnRecord> {
    let mut records = Vec::new();
    let mut deadline = None;
    while records.len() < BATCH_RECORDS {
        let wait = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let left = BATCH_RECORDS - records.len();
        tokio::select! {
            // In this order, what waits in the queue at the end is still stored.
            biased;
            received = receiver.recv_many(&mut records, left) => if received == 0 { break },
            () = wait => break,
            () = shutdown.cancelled() => break,
        }
        deadline.get_or_insert_with(|| tokio::time::Instant::now() + BATCH_WAIT);
    }
    records
}

async fn store<F>(batch: LogBatch, ingest: &impl Fn(LogBatch) -> F, dropped: &Counter, shutdown: &CancellationToken)
where
    F: Future<Output = Result<(), IngestError>>,
{
    for _ in 0..TRIES {
        match ingest(batch.clone()).await {
            Ok(()) => return,
            Err(IngestError::Busy { retry_after, .. }) => {
                tokio::select! {
                    () = tokio::time::sleep(retry_after) => {}
                    () = shutdown.cancelled() => {}
                }
            }
            Err(IngestError::Store(_)) => break,
        }
    }
    dropped.add(batch.len() as u64);
}

/// Who writes the own log.
fn resource() -> Attributes {
    let mut resource: Attributes = vec![
        (keys::SERVICE_NAME.to_owned(), "watchfire".into()),
        ("service.version".to_owned(), env!("CARGO_PKG_VERSION").into()),
        (keys::PROCESS_PID.to_owned(), Value::Int(std::process::id().into())),
    ];
    resource.extend(sysinfo::System::host_name().map(|name| (keys::HOST_NAME.to_owned(), name.into())));
    resource
}

fn to_batch(records: &[OwnRecord], resource: &Attributes) -> LogBatch {
    let mut batch = LogBatch::default();
    let resource = batch.resource(resource.clone());
    for record in records {
        let head = RecordHead {
            timestamp: record.timestamp,
            observed: record.timestamp,
            severity: record.severity,
            severity_text: record.severity.name(),
            resource,
            scope: &record.target,
            ..RecordHead::default()
        };
        batch.push(&head, watchfire_types::ValueRef::Text(&record.message));
        for (key, value) in &record.attributes {
            batch.attribute(key, value.as_ref());
        }
    }
    batch
}
