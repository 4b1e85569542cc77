//! OTLP over HTTP: `/v1/logs`, `/v1/metrics`, and `/v1/traces`, of which only the exceptions are stored yet; and over gRPC.
//!
//! Source: OpenTelemetry protocol specification, "OTLP/HTTP". The answer is in the encoding of the request; records that are
//! refused for good are a partial success with status 200; only 429, 502, 503 and 504 are tried again by senders.

pub mod answer;
pub mod grpc;
pub mod json;
mod json_text;
pub mod logs_proto;
pub mod metrics;
#[doc(hidden)]
pub mod reference;
pub mod spans;
#[cfg(test)]
mod tests;
pub mod wire;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::post;
use axum::{Router, body::Bytes};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use watchfire_types::LogBatch;

use super::{InputState, body};
use crate::http::ApiError;
use answer::{Encoding, Partial};
use spans::Spans;

pub use super::builder::OverBudget;

/// Why a request cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not the protobuf message it should be.
    #[error("not an OTLP message in protobuf: {0}")]
    Wire(#[from] wire::WireError),
    /// The same, found by prost.
    #[error("not an OTLP message in protobuf: {0}")]
    Prost(#[from] prost::DecodeError),
    /// Not the JSON it should be.
    #[error("{path}: {message}")]
    Json {
        /// Where, such as `resourceLogs[0].scopeLogs[0].logRecords[2].traceId`.
        path: String,
        /// What is wrong there.
        message: String,
    },
    /// It would take too much memory.
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
}

impl From<DecodeError> for ApiError {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::OverBudget(_) => Self::too_large(error.to_string()),
            _ => Self::bad_request(error.to_string()),
        }
    }
}

/// Returns the paths of OTLP, for its own port and for the common one.
pub fn routes(state: InputState) -> Router {
    Router::new()
        .route("/v1/logs", post(export_logs))
        .route("/v1/metrics", post(export_metrics))
        .route("/v1/traces", post(export_traces))
        .merge(grpc::routes())
        .with_state(state)
}

/// Takes log records: an `ExportLogsServiceRequest`.
#[utoipa::path(
    post, path = "/v1/logs", tag = "ingest",
    request_body(description = "`ExportLogsServiceRequest`, compressed or not", content((serde_json::Value = "application/json"), (Vec<u8> = "application/x-protobuf"))),
    responses(
        (status = 200, description = "`ExportLogsServiceResponse`: durable, apart from what `partialSuccess` counts"),
        (status = 400, description = "not OTLP; a `google.rpc.Status` says where"), (status = 413, description = "too large"),
        (status = 415, description = "neither protobuf nor JSON, or an unknown compression"), (status = 503, description = "busy; see Retry-After"),
    ),
)]
pub async fn export_logs(State(state): State<InputState>, headers: HeaderMap, body: Body) -> Response {
    answer::respond(&state, "otlp_logs", &headers, async |encoding| {
        let budget = state.decode_budget();
        let decode = move |bytes: &[u8]| decode_logs(bytes, encoding, budget);
        store_logs(&state, body::read(&state, "otlp_logs", &headers, body, decode).await??).await
    })
    .await
}

async fn store_logs(state: &InputState, batch: LogBatch) -> Result<Partial, ApiError> {
    if batch.is_empty() {
        return Ok(Partial::default());
    }
    let accepted = state.logs.ingest(batch, Vec::new()).await.map_err(super::refused)?;
    Ok(Partial { accepted: accepted.accepted, rejected: accepted.rejected, message: accepted.reason })
}

/// Takes metrics: an `ExportMetricsServiceRequest`.
#[utoipa::path(
    post, path = "/v1/metrics", tag = "ingest",
    request_body(description = "`ExportMetricsServiceRequest`, compressed or not", content((serde_json::Value = "application/json"), (Vec<u8> = "application/x-protobuf"))),
    responses(
        (status = 200, description = "`ExportMetricsServiceResponse`: durable, apart from what `partialSuccess` counts"),
        (status = 400, description = "not OTLP; a `google.rpc.Status` says where"), (status = 413, description = "too large"),
        (status = 415, description = "neither protobuf nor JSON, or an unknown compression"), (status = 503, description = "busy; see Retry-After"),
    ),
)]
pub async fn export_metrics(State(state): State<InputState>, headers: HeaderMap, body: Body) -> Response {
    answer::respond(&state, "otlp_metrics", &headers, async |encoding| {
        let budget = state.decode_budget();
        let decode = move |bytes: &[u8]| match encoding {
            Encoding::Protobuf => metrics::decode(bytes, budget),
            Encoding::Json => json::metrics(bytes, budget),
        };
        store_metrics(&state, body::read(&state, "otlp_metrics", &headers, body, decode).await??).await
    })
    .await
}

async fn store_metrics(state: &InputState, decoded: metrics::Decoded) -> Result<Partial, ApiError> {
    let mut partial = Partial { accepted: 0, rejected: decoded.rejected, message: decoded.reason };
    if !decoded.points.is_empty() {
        let accepted = state.metrics.ingest(decoded.points).await.map_err(super::refused)?;
        partial.accepted = accepted.accepted;
        partial.rejected += accepted.rejected;
        if partial.message.is_empty() {
            partial.message = accepted.reason;
        }
    }
    Ok(partial)
}

/// Takes the exceptions in traces, which become log records, and says that the spans are not stored: an exporter of all three signals
/// keeps running.
#[utoipa::path(
    post, path = "/v1/traces", tag = "ingest",
    request_body(description = "`ExportTraceServiceRequest`", content((serde_json::Value = "application/json"), (Vec<u8> = "application/x-protobuf"))),
    responses((status = 200, description = "`ExportTraceServiceResponse` whose `partialSuccess` counts every span as rejected")),
)]
pub async fn export_traces(State(state): State<InputState>, headers: HeaderMap, body: Body) -> Response {
    answer::respond(&state, "otlp_traces", &headers, async |encoding| {
        let budget = state.decode_budget();
        let decode = move |bytes: &[u8]| match encoding {
            Encoding::Protobuf => decode_spans(bytes, budget),
            Encoding::Json => decode_json_spans(bytes, budget),
        };
        store_exceptions(&state, body::read(&state, "otlp_traces", &headers, body, decode).await??).await
    })
    .await
}

/// Stores the exceptions in spans, and says that the spans are not stored.
async fn store_exceptions(state: &InputState, spans: Spans) -> Result<Partial, ApiError> {
    let stored = store_logs(state, spans.exceptions).await?;
    let message = match (spans.count, stored.accepted) {
        (0, _) => String::new(),
        (_, 0) => "traces are not stored yet".to_owned(),
        (_, exceptions) => format!("traces are not stored yet; {exceptions} exceptions in them are"),
    };
    Ok(Partial { accepted: stored.accepted, rejected: spans.count, message })
}

/// Reads logs in either encoding.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode_logs(bytes: &[u8], encoding: Encoding, budget: usize) -> Result<LogBatch, DecodeError> {
    match encoding {
        Encoding::Protobuf => logs_proto::decode(bytes, budget),
        Encoding::Json => json::logs(bytes, budget),
    }
}

fn decode_spans(bytes: &[u8], budget: usize) -> Result<Spans, DecodeError> {
    let request = ExportTraceServiceRequest::decode(Bytes::copy_from_slice(bytes))?;
    Ok(spans::read(request, budget)?)
}

/// Longest request in JSON whose spans are looked into, in bytes: as objects they take a hundred times as much memory.
const MAX_JSON_SPANS_BYTES: usize = 4 << 20;

/// The cheap reader says what is wrong and counts; only where an exception may be, the other one makes objects.
fn decode_json_spans(bytes: &[u8], budget: usize) -> Result<Spans, DecodeError> {
    let count = json::count_spans(bytes, budget)?;
    let may_have_one = bytes.len() <= MAX_JSON_SPANS_BYTES && memchr::memmem::find(bytes, b"\"exception\"").is_some();
    if !may_have_one {
        return Ok(Spans { count, ..Spans::default() });
    }
    match serde_json::from_slice::<ExportTraceServiceRequest>(bytes) {
        Ok(request) => Ok(Spans { count, ..spans::read(request, budget)? }),
        // What one reader takes and the other does not is at least counted.
        Err(_) => Ok(Spans { count, ..Spans::default() }),
    }
}
