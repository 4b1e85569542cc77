//! Errors over HTTP: their export.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;

use super::types::ErrorEvent;
use crate::clock::Clock;
use crate::http::{ApiError, Params, stream as lines};
use crate::logs::Logs;

/// Log records read at a time.
const PAGE: usize = 5_000;

/// Documentation of these paths.
#[derive(utoipa::OpenApi)]
#[openapi(paths(export), components(schemas(ErrorEvent)))]
pub struct ApiDoc;

/// Returns the routes of errors.
pub fn routes(logs: Logs, clock: Clock) -> Router {
    Router::new().route("/api/v1/export/errors", get(export)).with_state((logs, clock))
}

/// Streams all error events of a time range, oldest first by arrival: log records that carry an exception.
#[utoipa::path(get, path = "/api/v1/export/errors", tag = "errors",
    params(("since" = Option<String>, Query, description = "RFC 3339, Unix time, or how long ago (`15m`)"), ("until" = Option<String>, Query, description = "as `since`, exclusive")),
    responses((status = 200, content_type = "application/x-ndjson", body = ErrorEvent, description = "one error event a line"), (status = 400, body = crate::http::error::ErrorBody)))]
async fn export(State((logs, clock)): State<(Logs, Clock)>, params: Params) -> Result<Response, ApiError> {
    let (since, until) = params.only(&["since", "until"])?.range(None, clock.now())?;
    let end = *logs.committed().borrow();
    Ok(lines::ndjson(move |lines| {
        let mut cursor = 0;
        while cursor < end {
            let batch = logs.read_after(cursor, PAGE)?;
            let Some(last) = batch.seq.last() else { break };
            cursor = *last;
            let events = (0..batch.len()).filter(|row| batch.seq[*row] <= end).filter_map(|row| ErrorEvent::of(&batch, row));
            let mut wanted = events.filter(|event| since <= event.timestamp && event.timestamp < until);
            if !wanted.all(|event| lines.push(&event)) {
                break;
            }
        }
        Ok(())
    }))
}
