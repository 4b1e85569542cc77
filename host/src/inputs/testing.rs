//! What the tests of inputs share: a store that keeps what it is given in memory, and answers as it is told.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tower::ServiceExt as _;
use watchfire_types::{LogBatch, LogRecord, MetricBatch, Timestamp};

use super::{InputState, LineParser, LineSource, LogSink, MetricSink, RawLine, routes};
use crate::clock::Clock;
use crate::logs::FileOffset;
use crate::store::{Accepted, IngestError, StoreError};
use crate::telemetry::SelfMetrics;

/// What has been taken, and what to answer next.
#[derive(Clone, Default)]
pub(super) struct Memory(pub(super) Arc<Mutex<Inner>>);

#[derive(Default)]
pub(super) struct Inner {
    pub(super) logs: Vec<LogBatch>,
    /// Positions that came with the last batch.
    pub(super) offsets: Vec<FileOffset>,
    pub(super) metrics: Vec<MetricBatch>,
    pub(super) reject: u64,
    pub(super) busy: Option<Duration>,
    pub(super) fails: bool,
}

impl Memory {
    fn answer(&self, count: usize) -> Result<Accepted, IngestError> {
        let inner = self.0.lock();
        if let Some(retry_after) = inner.busy {
            return Err(IngestError::Busy { reason: "the queue is full".to_owned(), retry_after });
        }
        if inner.fails {
            return Err(StoreError::Closed.into());
        }
        let reason = if inner.reject > 0 { "too old".to_owned() } else { String::new() };
        let refused = (0..inner.reject as u32).map(|row| (row, "too old")).collect();
        Ok(Accepted { accepted: count as u64 - inner.reject, rejected: inner.reject, reason, refused })
    }
}

impl LogSink for Memory {
    fn ingest(&self, batch: LogBatch, offsets: Vec<FileOffset>) -> BoxFuture<'_, Result<Accepted, IngestError>> {
        let answer = self.answer(batch.len());
        if answer.is_ok() {
            let mut inner = self.0.lock();
            inner.logs.push(batch);
            inner.offsets = offsets;
        }
        Box::pin(async { answer })
    }

    fn file_offsets(&self) -> Result<Vec<FileOffset>, StoreError> {
        Ok(self.0.lock().offsets.clone())
    }
}

impl MetricSink for Memory {
    fn ingest(&self, batch: MetricBatch) -> BoxFuture<'_, Result<Accepted, IngestError>> {
        let answer = self.answer(batch.len());
        self.0.lock().metrics.push(batch);
        Box::pin(async { answer })
    }
}

/// The inputs over HTTP before such a store.
pub(super) struct Host {
    pub(super) memory: Memory,
    pub(super) self_metrics: SelfMetrics,
    pub(super) state: InputState,
}

impl Host {
    pub(super) fn new(max_request_bytes: usize) -> Self {
        let (memory, self_metrics) = (Memory::default(), SelfMetrics::default());
        let clock = Clock::manual(Timestamp::from_seconds(1_795_392_600));
        let state = InputState::new(memory.clone(), memory.clone(), max_request_bytes, self_metrics.clone(), clock);
        Self { memory, self_metrics, state }
    }

    pub(super) async fn post(&self, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Response<Body> {
        let mut request = Request::post(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::from(body)).unwrap()).await
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Response<Body> {
        routes(self.state.clone(), sentry()).oneshot(request).await.unwrap()
    }

    /// Returns every record that was taken, in its order.
    pub(super) fn records(&self) -> Vec<LogRecord> {
        self.memory.0.lock().logs.iter().flat_map(|batch| (0..batch.len()).map(|row| batch.record(row))).collect()
    }

    /// Makes the store busy, or not.
    pub(super) fn busy(&self, retry_after: Option<Duration>) {
        self.memory.0.lock().busy = retry_after;
    }

    pub(super) fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.self_metrics.counter(name, labels).get()
    }
}

/// Whoever sends is let in with this key, and from this machine without.
pub(crate) fn sentry() -> super::sentry::SentryInput {
    super::sentry::SentryInput {
        key: super::sentry::auth::DsnKey::new("0123456789abcdef0123456789abcdef"),
        projects: std::sync::Arc::default(),
        redacts: true,
        guard: crate::http::guard::Guard::new(None),
        patience: Duration::from_millis(60),
        external_url: "http://localhost:3473".to_owned(),
        seen: super::sentry::seen::Seen::default(),
    }
}

/// A parser for which every line is a record in capitals.
#[derive(Debug)]
pub(super) struct Shouting;

impl LineParser for Shouting {
    fn parse<'a>(&'a self, name: &'a str, source: &'a LineSource, lines: Vec<RawLine>, now: Timestamp) -> BoxFuture<'a, LogBatch> {
        let mut batch = LogBatch::default();
        for line in lines {
            let head = watchfire_types::log::RecordHead { timestamp: now, ..Default::default() };
            batch.push(&head, watchfire_types::ValueRef::Text(&line.text.to_uppercase()));
            batch.attribute(name, watchfire_types::ValueRef::Text(&source.service));
        }
        Box::pin(async move { batch })
    }
}
