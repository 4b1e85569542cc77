//! What feeds the engines: OTLP and NDJSON over HTTP, syslog, followed files. An input decodes bytes and hands over a batch.
//!
//! **Invariant**: an input stores nothing, and answers only when the engine says that the batch is durable.

pub mod body;
pub mod builder;
pub mod elastic;
pub mod files;
pub mod formats;
pub mod journald;
mod json_fields;
pub mod loki;
pub mod ndjson;
mod object_record;
pub mod otlp;
pub mod sentry;
pub mod stdin;
pub mod syslog;
pub mod syslog_prefix;
pub mod system;
#[cfg(test)]
mod testing;
pub mod time;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures::future::BoxFuture;
use watchfire_types::{Attributes, LogBatch, MetricBatch, Timestamp};

use self::formats::Given;
use crate::clock::Clock;
use crate::http::ApiError;
use crate::logs::{FileOffset, Logs};
use crate::metrics::Metrics;
use crate::store::{Accepted, IngestError, StoreError};
use crate::telemetry::SelfMetrics;

/// Takes log records; the log engine, or a test.
pub trait LogSink: Send + Sync + 'static {
    /// Stores `batch` and the offsets of tailed files together, and returns once both are durable.
    fn ingest(&self, batch: LogBatch, offsets: Vec<FileOffset>) -> BoxFuture<'_, Result<Accepted, IngestError>>;

    /// Returns the offsets last stored. May block on disk.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn file_offsets(&self) -> Result<Vec<FileOffset>, StoreError>;
}

impl LogSink for Logs {
    fn ingest(&self, batch: LogBatch, offsets: Vec<FileOffset>) -> BoxFuture<'_, Result<Accepted, IngestError>> {
        Box::pin(Self::ingest(self, batch, offsets))
    }

    fn file_offsets(&self) -> Result<Vec<FileOffset>, StoreError> {
        Self::file_offsets(self)
    }
}

/// Reads lines in formats that the host does not know: the parser components, or a test.
pub trait LineParser: Send + Sync + 'static {
    /// Returns the records that parser `name` makes of `lines`. What it cannot read is a record of its own, with the reason.
    fn parse<'a>(&'a self, name: &'a str, source: &'a LineSource, lines: Vec<RawLine>, now: Timestamp) -> BoxFuture<'a, LogBatch>;
}

/// Where lines for a parser come from.
#[derive(Clone, Debug, Default)]
pub struct LineSource {
    /// A file's path, or the input's name.
    pub name: String,
    /// `service.name` of records that name none.
    pub service: String,
    /// Other attributes of what produced them.
    pub resource: Attributes,
}

/// A line for a parser.
#[derive(Clone, Debug)]
pub struct RawLine {
    /// Its text.
    pub text: String,
    /// What its envelope said.
    pub given: Given,
}

/// Takes points; the metrics engine, or a test.
pub trait MetricSink: Send + Sync + 'static {
    /// Stores `batch` and returns once it is durable.
    fn ingest(&self, batch: MetricBatch) -> BoxFuture<'_, Result<Accepted, IngestError>>;
}

impl MetricSink for Metrics {
    fn ingest(&self, batch: MetricBatch) -> BoxFuture<'_, Result<Accepted, IngestError>> {
        Box::pin(Self::ingest(self, batch))
    }
}

/// What the inputs over HTTP need. Cheap to clone.
#[derive(Clone)]
pub struct InputState {
    logs: Arc<dyn LogSink>,
    metrics: Arc<dyn MetricSink>,
    max_request_bytes: usize,
    self_metrics: SelfMetrics,
    clock: Clock,
    limits: body::Limits,
    uploads: journald::Uploads,
}

impl InputState {
    /// Returns the state for bodies of at most `max_request_bytes` after decompression.
    pub fn new(
        logs: impl LogSink,
        metrics: impl MetricSink,
        max_request_bytes: usize,
        self_metrics: SelfMetrics,
        clock: Clock,
    ) -> Self {
        let limits = body::Limits::new(max_request_bytes);
        Self {
            logs: Arc::new(logs),
            metrics: Arc::new(metrics),
            max_request_bytes,
            self_metrics,
            clock,
            limits,
            uploads: journald::Uploads::default(),
        }
    }

    /// Bytes of memory that the decoded records of one request may take: a body of ordinary records takes about twice its size.
    fn decode_budget(&self) -> usize {
        self.max_request_bytes.saturating_mul(4).max(1 << 20)
    }

    fn count(&self, input: &str, accepted: u64, rejected: u64) {
        self.self_metrics.counter("watchfire_input_records_total", &[("input", input)]).add(accepted);
        if rejected > 0 {
            let labels = [("input", input), ("reason", "invalid_record")];
            self.self_metrics.counter("watchfire_input_rejected_total", &labels).add(rejected);
        }
    }

    /// Counts a request that was refused as a whole.
    fn count_refusal(&self, input: &str, error: &ApiError) {
        let reason = match error.status().as_u16() {
            400 => "bad_request",
            408 => "timeout",
            413 => "too_large",
            415 => "unsupported",
            503 => "busy",
            _ => "internal",
        };
        self.self_metrics.counter("watchfire_input_rejected_total", &[("input", input), ("reason", reason)]).inc();
    }
}

/// Returns every path that takes records.
pub fn routes(state: InputState, sentry: sentry::SentryInput) -> Router {
    ndjson::routes(state.clone())
        .merge(sentry::routes(state.clone(), sentry))
        .merge(elastic::routes(state.clone()))
        .merge(loki::routes(state.clone()))
        .merge(journald::routes(state.clone()))
        .merge(otlp::routes(state))
}

/// Returns the paths of OTLP only, for its own port.
pub fn otlp_routes(state: InputState) -> Router {
    otlp::routes(state)
}

#[derive(utoipa::OpenApi)]
#[openapi(paths(ndjson::ingest, otlp::export_logs, otlp::export_metrics, otlp::export_traces))]
struct OwnDoc;

/// The documentation of these paths.
pub struct ApiDoc;

impl utoipa::OpenApi for ApiDoc {
    fn openapi() -> utoipa::openapi::OpenApi {
        let mut whole = OwnDoc::openapi();
        whole.merge(elastic::ApiDoc::openapi());
        whole.merge(loki::ApiDoc::openapi());
        whole.merge(journald::ApiDoc::openapi());
        whole.merge(sentry::ApiDoc::openapi());
        whole
    }
}

/// Returns what a sender is told whose batch was not taken.
pub(crate) fn refused(error: IngestError) -> ApiError {
    match error {
        IngestError::Busy { reason, retry_after } => ApiError::busy(format!("the store is busy: {reason}"), retry_after),
        IngestError::Store(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "records could not be stored; their sender was told to try again"
            );
            // Not 500: senders give records up that are answered so, and a store may come back.
            ApiError::busy("the records could not be stored; the host's log says why", Duration::from_secs(10))
        }
    }
}

#[cfg(test)]
mod tests {
    use utoipa::OpenApi as _;

    #[test]
    fn every_path_is_documented() {
        let paths: Vec<String> = super::ApiDoc::openapi().paths.paths.into_keys().collect();
        assert_eq!(
            paths,
            [
                "/api/v1/errors/dsn",
                "/api/v1/logs",
                "/api/{project}/envelope/",
                "/api/{project}/minidump/",
                "/api/{project}/security/",
                "/api/{project}/store/",
                "/elasticsearch/",
                "/elasticsearch/_bulk",
                "/elasticsearch/{index}/_bulk",
                "/elasticsearch/{index}/_doc",
                "/loki/api/v1/push",
                "/loki/ready",
                "/upload",
                "/v1/logs",
                "/v1/metrics",
                "/v1/traces",
            ]
        );
    }
}
