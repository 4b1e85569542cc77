//! Loki's push API: `/loki/api/v1/push` in JSON and in protobuf with snappy, `/loki/otlp/v1/logs`, and `/loki/ready`.
//!
//! Labels say where lines come from, so they become attributes of the resource; structured metadata become attributes of the record.
//! `record` says which of them mean more.
//!
//! Sources: Loki's documentation, "Ingest logs" (HTTP API); `pkg/logproto/logproto.proto` and `push.proto` of its protocol.

mod json;
pub mod labels;
mod proto;
mod record;
#[cfg(test)]
mod tests;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use watchfire_types::Timestamp;

use super::body::{self, Compression};
use super::{InputState, otlp};
use crate::http::ApiError;
use record::{Decoded, NotPush};

/// How this input is called in metrics.
const INPUT: &str = "loki";

/// Returns the paths.
pub fn routes(state: InputState) -> Router {
    Router::new()
        .route("/loki/api/v1/push", post(push))
        .route("/loki/otlp/v1/logs", post(otlp::export_logs))
        .route("/loki/ready", get(ready))
        .with_state(state)
}

/// Takes lines as Promtail, Alloy, Fluent Bit, Vector and the logging libraries push them to Loki.
#[utoipa::path(
    post, path = "/loki/api/v1/push", tag = "ingest",
    request_body(description = "Loki's push request", content((serde_json::Value = "application/json"), (Vec<u8> = "application/x-protobuf"))),
    responses(
        (status = 204, description = "durable"), (status = 400, description = "what could be read is durable; the text says what could not"),
        (status = 413, description = "too large"), (status = 503, description = "busy; see Retry-After"),
    ),
)]
pub async fn push(State(state): State<InputState>, headers: HeaderMap, body: Body) -> Response {
    match take(&state, &headers, body).await {
        Ok(None) => StatusCode::NO_CONTENT.into_response(),
        Ok(Some(refused)) => (StatusCode::BAD_REQUEST, refused).into_response(),
        Err(error) => {
            state.count_refusal(INPUT, &error);
            refusal(&error)
        }
    }
}

/// Says that the host is ready, as Loki does.
#[utoipa::path(get, path = "/loki/ready", tag = "ingest", responses((status = 200, description = "`ready`")))]
pub async fn ready() -> &'static str {
    "ready\n"
}

/// Stores what a request holds; returns what is to be said of lines that were refused.
async fn take(state: &InputState, headers: &HeaderMap, body: Body) -> Result<Option<String>, ApiError> {
    let (now, budget) = (state.clock.now(), state.decode_budget());
    let decoded = if is_json(headers) {
        body::read(state, INPUT, headers, body, move |bytes: &[u8]| json::decode(bytes, now, budget)).await?
    } else {
        // One block of snappy whatever the header says: clients leave it away. gzip around protobuf is not Loki's, but harmless.
        let compression = Compression::of(headers)?;
        let open = |_: &[u8]| Ok((if compression == Compression::Identity { Compression::Snappy } else { compression }, 0));
        body::read_opened(state, INPUT, headers, body, open, move |bytes: &[u8]| proto::decode(bytes, now, budget)).await?
    };
    let Decoded { batch, refused, mut reason } = decoded?;
    let (mut accepted, mut rejected) = (0, refused);
    if !batch.is_empty() {
        let stored = state.logs.ingest(batch, Vec::new()).await.map_err(super::refused)?;
        accepted = stored.accepted;
        rejected += stored.rejected;
        if reason.is_empty() {
            reason = stored.reason;
        }
    }
    state.count(INPUT, accepted, rejected);
    Ok((rejected > 0)
        .then(|| format!("{rejected} of {} lines were refused, the others are stored: {reason}\n", accepted + rejected)))
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    content_type.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("application/json")
}

/// Returns a failure as Loki writes it: its reason as text.
fn refusal(error: &ApiError) -> Response {
    let mut response = (error.status(), format!("{}\n", error.message())).into_response();
    if let Some(after) = error.retry_after() {
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    response
}

/// Reads a push request in protobuf, without its compression. For tests and fuzzing.
///
/// # Errors
/// Why it is none.
#[doc(hidden)]
pub fn decode_protobuf(bytes: &[u8], now: Timestamp, budget: usize) -> Result<(watchfire_types::LogBatch, u64), String> {
    proto::decode(bytes, now, budget).map(|decoded| (decoded.batch, decoded.refused)).map_err(|error: NotPush| error.to_string())
}

/// The same in JSON.
///
/// # Errors
/// Why it is none.
#[doc(hidden)]
pub fn decode_json(bytes: &[u8], now: Timestamp, budget: usize) -> Result<(watchfire_types::LogBatch, u64), String> {
    json::decode(bytes, now, budget).map(|decoded| (decoded.batch, decoded.refused)).map_err(|error: NotPush| error.to_string())
}

/// The documentation of these paths.
#[derive(utoipa::OpenApi)]
#[openapi(paths(push, ready))]
pub struct ApiDoc;
