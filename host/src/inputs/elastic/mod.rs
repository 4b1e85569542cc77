//! Elasticsearch's `_bulk`, under `/elasticsearch`, with as much of its API beside it as its clients ask for before they send.
//!
//! Sources: Elasticsearch reference, "Bulk API" and "Create or index a document"; what Filebeat, Logstash, rsyslog, syslog-ng,
//! Vector, Fluent Bit and the official clients were seen to ask.

mod answer;
pub mod bulk;
mod fields;
mod probes;
#[cfg(test)]
mod tests;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use jiff::tz::TimeZone;
use tower_http::set_header::SetResponseHeaderLayer;

use super::ndjson::Defaults;
use super::{InputState, body};
use crate::http::ApiError;
use crate::store::{Accepted, IngestError};
use answer::{Filter, Outcome};
use bulk::{Decoded, Kind};

/// How this input is called in metrics.
const INPUT: &str = "elasticsearch";

/// Returns the paths.
pub fn routes(state: InputState) -> Router {
    // Without this header the official clients refuse to talk.
    let product =
        SetResponseHeaderLayer::overriding(HeaderName::from_static("x-elastic-product"), HeaderValue::from_static("Elasticsearch"));
    Router::new()
        .route("/elasticsearch", any(root))
        .route("/elasticsearch/", any(root))
        .route("/elasticsearch/{*path}", any(serve))
        .layer(product)
        .with_state(state)
}

async fn root(method: Method) -> Response {
    probes::answer(&method, &[])
}

async fn serve(
    State(state): State<InputState>,
    method: Method,
    Path(path): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let filter = Filter::of(query.as_deref().unwrap_or(""));
    let is_sent = method == Method::POST || method == Method::PUT;
    // A type between the two, as before version 8, means nothing.
    match segments[..] {
        ["_bulk"] if is_sent => take_bulk(&state, None, &filter, &headers, body).await,
        [index, "_bulk"] | [index, _, "_bulk"] if is_sent => take_bulk(&state, Some(index), &filter, &headers, body).await,
        [index, "_doc"] if is_sent => take_one(&state, Kind::Index, index, None, &headers, body).await,
        [index, "_doc", id] if is_sent => take_one(&state, Kind::Index, index, Some(id), &headers, body).await,
        [index, "_create", id] if is_sent => take_one(&state, Kind::Create, index, Some(id), &headers, body).await,
        _ => probes::answer(&method, &segments),
    }
}

/// Takes documents as log records: Elasticsearch's bulk API. `create` and `index` append; `update` and `delete` are refused.
#[utoipa::path(
    post, path = "/elasticsearch/_bulk", tag = "ingest",
    params(("filter_path" = Option<String>, Query, description = "which parts of the answer are wanted")),
    request_body(content = String, content_type = "application/x-ndjson", description = "an action and a document, each on a line"),
    responses(
        (status = 200, description = "what became of each document; status 201: durable, 429: send it again later, 400: refused for good"),
        (status = 400, description = "not a bulk request"), (status = 413, description = "too large"), (status = 429, description = "busy; see Retry-After"),
    ),
)]
#[expect(dead_code, reason = "documents what `serve` does")]
fn document_bulk() {}

/// As `/elasticsearch/_bulk`, for documents that do not name their index. An index becomes `service.name` where nothing better does.
#[utoipa::path(
    post, path = "/elasticsearch/{index}/_bulk", tag = "ingest",
    params(("index" = String, Path, description = "the index of documents that name none")),
    request_body(content = String, content_type = "application/x-ndjson", description = "an action and a document, each on a line"),
    responses((status = 200, description = "as for `/elasticsearch/_bulk`")),
)]
#[expect(dead_code, reason = "documents what `serve` does")]
fn document_index_bulk() {}

/// Takes one document as a log record.
#[utoipa::path(
    post, path = "/elasticsearch/{index}/_doc", tag = "ingest",
    params(("index" = String, Path, description = "its index")),
    request_body(content = serde_json::Value, description = "the document"),
    responses((status = 201, description = "durable"), (status = 400, description = "refused for good"), (status = 429, description = "busy; see Retry-After")),
)]
#[expect(dead_code, reason = "documents what `serve` does")]
fn document_one() {}

/// Answers what clients ask before they send: name and version; license, templates, policies and pipelines, which are taken for there.
#[utoipa::path(
    get, path = "/elasticsearch/", tag = "ingest",
    responses((status = 200, description = "name and version, as Elasticsearch 8 answers")),
)]
#[expect(dead_code, reason = "documents what `root` does")]
fn document_root() {}

/// The documentation of these paths.
#[derive(utoipa::OpenApi)]
#[openapi(paths(document_bulk, document_index_bulk, document_one, document_root))]
pub struct ApiDoc;

async fn take_bulk(state: &InputState, index: Option<&str>, filter: &Filter, headers: &HeaderMap, body: Body) -> Response {
    let started = std::time::Instant::now();
    let index = index.map(str::to_owned);
    let (now, budget) = (state.clock.now(), state.decode_budget());
    let decode = move |bytes: &[u8]| {
        let defaults = Defaults { service: None, host: None, now, zone: &TimeZone::system() };
        bulk::decode(bytes, index.as_deref(), &defaults, budget)
    };
    match read(state, headers, body, decode).await {
        Ok((decoded, outcome)) => answer::bulk(&decoded, &outcome, filter, started.elapsed()).into_response(),
        Err(error) => answer::failure(&error),
    }
}

async fn take_one(state: &InputState, kind: Kind, index: &str, id: Option<&str>, headers: &HeaderMap, body: Body) -> Response {
    let (index, id) = (index.to_owned(), id.map(str::to_owned));
    let (now, budget) = (state.clock.now(), state.decode_budget());
    let decode = move |bytes: &[u8]| {
        let defaults = Defaults { service: None, host: None, now, zone: &TimeZone::system() };
        bulk::decode_one(bytes, kind, &index, id, &defaults, budget)
    };
    match read(state, headers, body, decode).await {
        Ok((decoded, outcome)) => answer::one(&decoded, &outcome),
        Err(error) => answer::failure(&error),
    }
}

/// Reads, decodes and stores; counts what came of it.
async fn read(
    state: &InputState,
    headers: &HeaderMap,
    body: Body,
    decode: impl FnOnce(&[u8]) -> Result<Decoded, ApiError> + Send + 'static,
) -> Result<(Decoded, Outcome), ApiError> {
    let work = async {
        let mut decoded = body::read(state, INPUT, headers, body, decode).await??;
        let batch = std::mem::take(&mut decoded.batch);
        if batch.is_empty() {
            return Ok((decoded, Outcome::Stored(Accepted::default())));
        }
        let rows = batch.len() as u64;
        let outcome = match state.logs.ingest(batch, Vec::new()).await {
            Ok(accepted) => Outcome::Stored(accepted),
            Err(error) => {
                if matches!(error, IngestError::Store(_)) {
                    // Told apart in the log, and said to the sender in the same way.
                    return Err(super::refused(error));
                }
                Outcome::Busy { reason: error.to_string(), rows }
            }
        };
        Ok((decoded, outcome))
    };
    let result: Result<(Decoded, Outcome), ApiError> = work.await;
    match &result {
        Ok((decoded, outcome)) => {
            let refused = decoded.refused();
            match outcome {
                Outcome::Stored(accepted) => state.count(INPUT, accepted.accepted, refused + accepted.rejected),
                Outcome::Busy { rows, .. } => {
                    state.count(INPUT, 0, refused);
                    state
                        .self_metrics
                        .counter("watchfire_input_rejected_total", &[("input", INPUT), ("reason", "busy")])
                        .add(*rows);
                }
            }
        }
        Err(error) => state.count_refusal(INPUT, error),
    }
    result
}
