//! The log over HTTP: search, live tail, export.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures::stream;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use watchfire_types::{LogBatch, LogRecord, Severity, Timestamp};

use super::matcher::Matcher;
use super::types::MAX_TEXT_BYTES;
use super::{LogFilter, Logs};
use crate::clock::Clock;
use crate::http::{ApiError, Params, stream as lines};
use crate::nearest::suggestion;
use crate::store::StoreError;

/// Records of a search when no limit is given.
const DEFAULT_LIMIT: usize = 100;
/// Most records in one JSON answer; newline-delimited JSON has [`MAX_STREAMED`].
const MAX_LIMIT: usize = 10_000;
/// Most records of a streamed search. An export has no limit.
const MAX_STREAMED: usize = 1_000_000;
/// Records read at a time by exports and live tails.
const PAGE: usize = 5_000;

const FILTER_PARAMS: &[&str] = &["q", "level", "service", "attribute", "since", "until", "limit", "after"];

/// Documentation of these paths.
#[derive(utoipa::OpenApi)]
#[openapi(paths(search, tail, export), components(schemas(LogRecord)))]
pub struct ApiDoc;

#[derive(Clone)]
struct LogsApi {
    logs: Logs,
    clock: Clock,
    shutdown: CancellationToken,
}

/// What a search found.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SearchAnswer {
    /// Newest first.
    pub records: Vec<LogRecord>,
    /// Whether there are more than `limit` allowed.
    pub truncated: bool,
    /// When nothing was found: where to look instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Returns the routes of the log. Live tails end when `shutdown` is cancelled.
pub fn routes(logs: Logs, clock: Clock, shutdown: CancellationToken) -> Router {
    Router::new()
        .route("/api/v1/logs", get(search))
        .route("/api/v1/logs/tail", get(tail))
        .route("/api/v1/export/logs", get(export))
        .with_state(LogsApi { logs, clock, shutdown })
}

fn filter(params: &Params, now: Timestamp) -> Result<LogFilter, ApiError> {
    params.only(FILTER_PARAMS)?;
    if params.one("q").is_some_and(|text| text.len() > MAX_TEXT_BYTES) {
        return Err(ApiError::bad_request(format!("`q`: expected at most {MAX_TEXT_BYTES} bytes")));
    }
    let level = |text: &str| {
        let number = text.parse().ok().filter(|number| *number <= 24).map(Severity);
        number.or_else(|| Severity::from_text(text)).ok_or_else(|| {
            ApiError::bad_request(format!("`level`: `{text}` is none of trace, debug, info, warn, error, fatal, or 1 to 24"))
        })
    };
    Ok(LogFilter {
        text: params.one("q").unwrap_or("").to_owned(),
        level: params.one("level").map(level).transpose()?,
        services: params.many("service").map(str::to_owned).collect(),
        attributes: params.pairs("attribute")?,
        since: params.moment("since", now)?,
        until: params.moment("until", now)?,
    })
}

/// Searches the log, newest first.
#[utoipa::path(get, path = "/api/v1/logs", tag = "logs",
    params(
        ("q" = Option<String>, Query, description = "words and \"quoted phrases\", all of which must be in the body or an attribute value, as whole words, in any case; `word*` matches a beginning"),
        ("level" = Option<String>, Query, description = "least severity: a word or a number from 1 to 24"),
        ("service" = Option<Vec<String>>, Query, description = "service.name; repeat for any of several"),
        ("attribute" = Option<Vec<String>>, Query, description = "key=value; repeat, all must hold"),
        ("since" = Option<String>, Query, description = "RFC 3339, Unix time, or how long ago (`15m`)"),
        ("until" = Option<String>, Query, description = "as `since`, exclusive"),
        ("limit" = Option<usize>, Query, description = "most records: 100 if not given, up to 10,000, up to 1,000,000 as application/x-ndjson"),
    ),
    responses((status = 200, body = SearchAnswer, description = "JSON, or one LogRecord a line with `Accept: application/x-ndjson`"), (status = 400, body = crate::http::error::ErrorBody)))]
async fn search(State(api): State<LogsApi>, headers: HeaderMap, params: Params) -> Result<Response, ApiError> {
    let filter = filter(&params, api.clock.now())?;
    let streamed = headers.get(header::ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(b"application/x-ndjson"));
    let limit = params.number("limit", DEFAULT_LIMIT, if streamed { MAX_STREAMED } else { MAX_LIMIT })?;
    if streamed {
        return Ok(lines::ndjson(move |lines| {
            let mut search = api.logs.search(&filter, limit)?;
            while let Some(records) = search.step()? {
                if !records.iter().all(|record| lines.push(record)) || !lines.flush() {
                    break;
                }
            }
            Ok(())
        }));
    }
    let answer = blocking(move || {
        // One more than asked tells whether there are more.
        let mut records = api.logs.search(&filter, limit + 1)?.all()?;
        let truncated = records.len() > limit;
        records.truncate(limit);
        let hint = if records.is_empty() && !truncated { Some(hint(&api.logs, &filter)?) } else { None };
        Ok(SearchAnswer { records, truncated, hint })
    });
    Ok(Json(answer.await?).into_response())
}

/// Returns why a search may have found nothing.
fn hint(logs: &Logs, filter: &LogFilter) -> Result<String, StoreError> {
    let Some((first, last)) = logs.time_range()? else {
        return Ok("the log is empty: send OTLP to /v1/logs, lines to /api/v1/logs, or follow a file with inputs.files".into());
    };
    if filter.since.is_some_and(|since| since > last) || filter.until.is_some_and(|until| until <= first) {
        return Ok(format!("nothing in this time range; there are records from {first} to {last}"));
    }
    let services = logs.services()?;
    for wanted in &filter.services {
        if !services.contains(wanted) {
            let hint = suggestion(wanted, services.iter().map(String::as_str));
            return Ok(format!("no record has the service `{wanted}`{hint}"));
        }
    }
    Ok(format!("no record matches; there are records from {first} to {last}"))
}

/// Follows the log: each new record that matches, as a server-sent event whose id is its `seq`.
#[utoipa::path(get, path = "/api/v1/logs/tail", tag = "logs",
    params(
        ("q" = Option<String>, Query, description = "as for a search, like the other filters"),
        ("level" = Option<String>, Query), ("service" = Option<Vec<String>>, Query), ("attribute" = Option<Vec<String>>, Query),
        ("after" = Option<u64>, Query, description = "begin after this `seq`; the header Last-Event-ID does the same. Default: what comes from now on"),
    ),
    responses((status = 200, content_type = "text/event-stream", description = "`id`: seq, `data`: a LogRecord"), (status = 400, body = crate::http::error::ErrorBody)))]
async fn tail(State(api): State<LogsApi>, headers: HeaderMap, params: Params) -> Result<Response, ApiError> {
    let matcher = Matcher::new(&filter(&params, api.clock.now())?);
    let resumed = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let committed = api.logs.committed();
    let newest = *committed.borrow();
    let cursor = resumed.map_or_else(|| params.number("after", newest, u64::MAX), Ok)?;
    let tail = Tail { api, matcher, committed, cursor, batch: LogBatch::default(), rows: Vec::new().into_iter() };
    let events = stream::unfold(tail, |mut tail| async move { tail.next().await.map(|event| (Ok::<_, Infallible>(event), tail)) });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))).into_response())
}

/// A live tail: reads the store behind its cursor whenever something has been committed, so that a slow reader loses nothing.
struct Tail {
    api: LogsApi,
    matcher: Matcher,
    committed: watch::Receiver<u64>,
    cursor: u64,
    /// What was read last, and the rows of it that are yet to be sent: columns take a fraction of what records do.
    batch: LogBatch,
    rows: std::vec::IntoIter<usize>,
}

impl Tail {
    async fn next(&mut self) -> Option<Event> {
        while self.rows.len() == 0 {
            // A quiet log must not hold on to what has been sent.
            self.batch = LogBatch::default();
            let shutdown = self.api.shutdown.clone();
            let cursor = self.cursor;
            tokio::select! {
                () = shutdown.cancelled() => return None,
                newest = self.committed.wait_for(|newest| *newest > cursor) => { newest.ok()?; }
            }
            let logs = self.api.logs.clone();
            let batch = tokio::task::spawn_blocking(move || logs.read_after(cursor, PAGE)).await.ok()?.ok()?;
            // A damaged end of the log must not make this spin.
            self.cursor = batch.seq.last().copied().unwrap_or_else(|| *self.committed.borrow());
            self.rows = self.matcher.matching_rows(&batch).into_iter();
            self.batch = batch;
        }
        let record = self.batch.record(self.rows.next()?);
        Event::default().id(&record.seq).json_data(&record).ok()
    }
}

/// Streams all records of a time range, oldest first by arrival, without a cap.
#[utoipa::path(get, path = "/api/v1/export/logs", tag = "logs",
    params(("since" = Option<String>, Query, description = "event time, as for a search"), ("until" = Option<String>, Query, description = "as `since`, exclusive"),
        ("q" = Option<String>, Query), ("level" = Option<String>, Query), ("service" = Option<Vec<String>>, Query), ("attribute" = Option<Vec<String>>, Query),
        ("after" = Option<u64>, Query, description = "begin after this `seq`")),
    responses((status = 200, content_type = "application/x-ndjson", description = "one LogRecord a line"), (status = 400, body = crate::http::error::ErrorBody)))]
async fn export(State(api): State<LogsApi>, params: Params) -> Result<Response, ApiError> {
    let matcher = Matcher::new(&filter(&params, api.clock.now())?);
    let mut cursor = params.number("after", 0, u64::MAX)?;
    // What arrives while the export runs is not part of it.
    let end = *api.logs.committed().borrow();
    Ok(lines::ndjson(move |lines| {
        while cursor < end {
            let batch = api.logs.read_after(cursor, PAGE)?;
            let Some(last) = batch.seq.last() else { break };
            cursor = *last;
            let rows = matcher.matching_rows(&batch).into_iter().filter(|row| batch.seq[*row] <= end);
            if !rows.map(|row| batch.record(row)).all(|record| lines.push(&record)) {
                break;
            }
        }
        Ok(())
    }))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, StoreError> + Send + 'static) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|error| ApiError::internal(&error))?;
    Ok(done?)
}
