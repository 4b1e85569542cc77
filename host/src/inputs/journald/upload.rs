//! `POST /upload`: what `systemd-journal-upload` sends, entry by entry, for as long as it likes.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use futures::StreamExt as _;
use tokio::time::{Instant, timeout};

use super::{Gathered, Gatherer};
use crate::http::ApiError;
use crate::inputs::body::Compression;
use crate::inputs::{InputState, refused};
use crate::store::IngestError;

/// How this input is called in metrics.
const INPUT: &str = "journald_upload";

/// The type of a body in the export format.
const CONTENT_TYPE: &str = "application/vnd.fdo.journal";

/// How long to gather entries before they are stored.
const GATHER: Duration = Duration::from_millis(100);

/// A sender from which nothing comes for this long has gone: one that has no more entries ends its request.
const STALL: Duration = Duration::from_secs(600);

/// How long a busy store is waited for. The sender does not notice, as long as it is not answered.
const BUSY: Duration = Duration::from_secs(300);

/// Returns the path.
pub fn routes(state: InputState) -> Router {
    Router::new().route("/upload", post(upload)).with_state(state)
}

/// Takes entries of a journal, as `systemd-journal-upload` sends them. They are stored as they come; a request need not end.
#[utoipa::path(
    post, path = "/upload", tag = "ingest",
    request_body(content = String, content_type = "application/vnd.fdo.journal", description = "entries in the journal's export format"),
    responses(
        (status = 200, description = "all entries are durable"), (status = 400, description = "not the export format; what came before is durable"),
        (status = 415, description = "not `application/vnd.fdo.journal`"), (status = 503, description = "busy for five minutes"),
    ),
)]
pub async fn upload(State(state): State<InputState>, headers: HeaderMap, body: Body) -> Response {
    match take(&state, &headers, body).await {
        Ok(entries) => (StatusCode::OK, format!("OK: {entries} entries are stored\n")).into_response(),
        Err(error) => {
            state.count_refusal(INPUT, &error);
            error.into_response()
        }
    }
}

async fn take(state: &InputState, headers: &HeaderMap, body: Body) -> Result<u64, ApiError> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    if content_type.split(';').next().unwrap_or("").trim() != CONTENT_TYPE {
        return Err(ApiError::unsupported(format!("Content-Type must be `{CONTENT_TYPE}`")));
    }
    if Compression::of(headers)? != Compression::Identity {
        return Err(ApiError::unsupported(
            "a journal is taken without compression: leave `Compression=` out of journal-upload.conf",
        ));
    }
    let malformed = |error: super::ExportError| ApiError::bad_request(format!("not the journal's export format: {error}"));
    let (mut gatherer, mut stored) = (Gatherer::new(), 0);
    let mut chunks = body.into_data_stream();
    loop {
        let wait = if gatherer.is_empty() { STALL } else { GATHER };
        let next = timeout(wait, chunks.next()).await;
        let is_idle = next.is_err();
        if is_idle && gatherer.is_empty() {
            return Err(ApiError::timeout(format!("no entry came for {} minutes; {stored} are stored", STALL.as_secs() / 60)));
        }
        let mut is_end = false;
        match next {
            Ok(Some(Ok(chunk))) => gatherer.feed(&chunk),
            Ok(Some(Err(error))) => {
                // The connection broke off: what came whole is stored, and the sender will begin with what it was not answered for.
                store(state, &mut gatherer, &mut stored).await?;
                return Err(ApiError::bad_request(format!("the body could not be read to its end: {error}")));
            }
            Ok(None) => is_end = true,
            Err(_) => {}
        }
        let gathered = loop {
            match gatherer.gather(state.clock.now()) {
                Ok(true) => store(state, &mut gatherer, &mut stored).await?,
                Ok(false) if is_end => break gatherer.end(state.clock.now()),
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        // What came before something that cannot be read is stored all the same.
        if is_end || is_idle || gathered.is_err() {
            store(state, &mut gatherer, &mut stored).await?;
        }
        gathered.map_err(malformed)?;
        if is_end {
            return Ok(stored);
        }
    }
}

/// Stores what has been gathered, and waits for a store that is busy: nothing more is read meanwhile.
async fn store(state: &InputState, gatherer: &mut Gatherer, stored: &mut u64) -> Result<(), ApiError> {
    let Gathered { batch, bytes, .. } = gatherer.take();
    if batch.is_empty() {
        return Ok(());
    }
    let deadline = Instant::now() + BUSY;
    loop {
        match state.logs.ingest(batch.clone(), Vec::new()).await {
            Ok(accepted) => {
                *stored += accepted.accepted;
                state.count(INPUT, accepted.accepted, accepted.rejected);
                state.self_metrics.counter("watchfire_input_bytes_total", &[("input", INPUT)]).add(bytes as u64);
                return Ok(());
            }
            Err(IngestError::Busy { retry_after, .. }) if Instant::now() < deadline => {
                tokio::time::sleep(retry_after.clamp(Duration::from_millis(50), Duration::from_secs(10))).await;
            }
            Err(error) => return Err(refused(error)),
        }
    }
}

/// The documentation of this path.
#[derive(utoipa::OpenApi)]
#[openapi(paths(upload))]
pub struct ApiDoc;
