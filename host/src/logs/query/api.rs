//! Queries over HTTP: tables, counts over time, context, completion, and what is running.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use axum::{Json, Router};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use watchfire_types::{LogRecord, Timestamp};

use super::complete::Completion;
use super::context::{Context, MAX_NEIGHBOURS, Same};
use super::field::Field;
use super::histogram::{Histogram, MAX_BARS, Width};
use super::run::{DEFAULT_TIMEOUT, Part, Question, RunError};
use super::scan::{Control, Stopped};
use super::table::Cell;
use crate::http::time_range::parse_duration;
use crate::http::{ApiError, Params, stream as lines};
use crate::logs::api::{FILTER_PARAMS, LogsApi, hint, question};

/// Rows of an answer when no limit is given.
const DEFAULT_LIMIT: usize = 1_000;
/// Most rows of one JSON answer.
const MAX_LIMIT: usize = 10_000;
/// Most rows of one answer as lines.
const MAX_STREAMED: usize = 1_000_000;
/// Nobody waits longer than this for one answer.
const MAX_TIMEOUT: Duration = Duration::from_secs(3_600);
/// Queries that run at the same time at most.
const MAX_RUNNING: usize = 64;

/// Documentation of these paths.
#[derive(utoipa::OpenApi)]
#[openapi(
    paths(query, query_posted, histogram, context, complete, running, cancel),
    components(schemas(QueryAnswer, Histogram, Context, Completion, Running))
)]
pub struct ApiDoc;

/// What a query found: rows of a table, or records.
#[derive(Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct QueryAnswer {
    /// Names of the columns, when the answer is a table.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub columns: Vec<String>,
    /// Rows of the table, with a value for each column.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    #[schema(value_type = Vec<Vec<serde_json::Value>>)]
    pub rows: Vec<Vec<serde_json::Value>>,
    /// The records, when the answer is no table.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub records: Vec<LogRecord>,
    /// How it ended.
    #[serde(flatten)]
    pub end: End,
}

/// How a query ended.
#[derive(Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct End {
    /// Whether there are more than `limit` allowed.
    pub truncated: bool,
    /// Why it is not whole, if it is not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub partial: Option<Stopped>,
    /// When nothing was found: where to look instead.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hint: Option<String>,
    /// Records that were looked at.
    pub records_read: u64,
    /// Blocks that they were in.
    pub blocks_read: u64,
    /// How long it took.
    pub elapsed_ms: f64,
}

/// A query that is running.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Running {
    /// Cancels it: `DELETE /api/v1/logs/queries/{id}`.
    pub id: String,
    /// The query.
    pub q: String,
    /// When it began.
    pub since: Timestamp,
    /// Records looked at so far.
    pub records_read: u64,
}

/// The queries that are running.
#[derive(Clone, Debug, Default)]
pub struct Queries(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    last: u64,
    running: BTreeMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    q: String,
    since: Timestamp,
    control: Arc<Control>,
}

/// A query's place among those that run. When it is dropped, the query stops: whoever asked has gone away.
#[derive(Debug)]
pub struct Ticket {
    queries: Queries,
    id: u64,
    /// What stops it.
    pub control: Arc<Control>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.control.cancel();
        self.queries.0.lock().running.remove(&self.id);
    }
}

impl Queries {
    /// Takes a query in, which stops after `timeout`.
    ///
    /// # Errors
    /// 503 when too many run already.
    pub fn enter(&self, q: &str, now: Timestamp, timeout: Option<Duration>) -> Result<Ticket, ApiError> {
        let control = Arc::new(Control::new(timeout));
        let mut entries = self.0.lock();
        if entries.running.len() >= MAX_RUNNING {
            return Err(ApiError::busy(format!("{MAX_RUNNING} queries run already"), Duration::from_secs(1)));
        }
        entries.last += 1;
        let id = entries.last;
        entries.running.insert(id, Entry { q: q.to_owned(), since: now, control: Arc::clone(&control) });
        Ok(Ticket { queries: self.clone(), id, control })
    }
}

/// Returns the routes of queries.
pub fn routes() -> Router<LogsApi> {
    Router::new()
        .route("/api/v1/logs/query", get(query).post(query_posted))
        .route("/api/v1/logs/histogram", get(histogram))
        .route("/api/v1/logs/context", get(context))
        .route("/api/v1/logs/complete", get(complete))
        .route("/api/v1/logs/queries", get(running))
        .route("/api/v1/logs/queries/{id}", delete(cancel))
}

/// Returns how long a query may take.
///
/// # Errors
/// 400 when it is no duration, or too long.
pub fn timeout(params: &Params) -> Result<Option<Duration>, ApiError> {
    let Some(text) = params.one("timeout") else { return Ok(None) };
    let timeout =
        parse_duration(text).or_else(|| text.parse().ok().map(Duration::from_secs)).filter(|timeout| *timeout <= MAX_TIMEOUT);
    let wrong = || ApiError::bad_request(format!("`timeout`: `{text}` is no duration up to an hour: write `30s`, `500ms` or `5m`"));
    timeout.map(Some).ok_or_else(wrong)
}

impl From<RunError> for ApiError {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Store(error) => error.into(),
            RunError::Asked(message) => Self::bad_request(message),
        }
    }
}

/// Runs `work` where it may block. When the caller goes away, `ticket` stops it.
///
/// # Errors
/// What `work` says.
pub async fn blocking<T: Send + 'static>(
    ticket: Ticket,
    work: impl FnOnce(&Arc<Control>) -> Result<T, RunError> + Send + 'static,
) -> Result<T, ApiError> {
    let control = Arc::clone(&ticket.control);
    let done = tokio::task::spawn_blocking(move || work(&control)).await.map_err(|error| ApiError::internal(&error))?;
    drop(ticket);
    Ok(done?)
}

/// Runs a query and answers a table or records.
#[utoipa::path(get, path = "/api/v1/logs/query", tag = "logs",
    params(
        ("q" = Option<String>, Query, description = "conditions and pipes, as in `level>=warn service:api | stats count by time(5m)`; the language is described in docs/search.md"),
        ("level" = Option<String>, Query, description = "least severity, beside what `q` says"),
        ("service" = Option<Vec<String>>, Query, description = "service.name; repeat for any of several"),
        ("attribute" = Option<Vec<String>>, Query, description = "key=value; repeat, all must hold"),
        ("since" = Option<String>, Query, description = "RFC 3339, Unix time, or how long ago (`15m`)"),
        ("until" = Option<String>, Query, description = "as `since`, exclusive"),
        ("limit" = Option<usize>, Query, description = "most rows: 1,000 if not given, up to 10,000, up to 1,000,000 as application/x-ndjson"),
        ("timeout" = Option<String>, Query, description = "what has been found by then is answered, with `partial`: 30s if not given, up to an hour"),
        ("zone" = Option<String>, Query, description = "time zone of `today` and of times without one in `q`, such as `Europe/Berlin`: UTC if not given"),
    ),
    responses((status = 200, body = QueryAnswer, description = "JSON; with `Accept: application/x-ndjson` one object a line: `{\"columns\": …}` and `{\"row\": …}`, or `{\"record\": …}`, and `{\"end\": …}` as the last"),
        (status = 400, body = crate::http::error::ErrorBody)))]
async fn query(State(api): State<LogsApi>, headers: HeaderMap, params: Params) -> Result<Response, ApiError> {
    answer(api, &headers, &params).await
}

/// Runs a query that is given as JSON: an object with the parameters of the same question asked by GET.
#[utoipa::path(post, path = "/api/v1/logs/query", tag = "logs",
    request_body(content = serde_json::Value, description = "`{\"q\": \"…\", \"since\": \"1h\", \"limit\": 100}`"),
    responses((status = 200, body = QueryAnswer), (status = 400, body = crate::http::error::ErrorBody)))]
async fn query_posted(State(api): State<LogsApi>, headers: HeaderMap, body: Bytes) -> Result<Response, ApiError> {
    let body = serde_json::from_slice(&body).map_err(|error| ApiError::bad_request(format!("the body is no JSON: {error}")))?;
    answer(api, &headers, &Params::from_json(&body)?).await
}

async fn answer(api: LogsApi, headers: &HeaderMap, params: &Params) -> Result<Response, ApiError> {
    let known: Vec<&str> = FILTER_PARAMS.iter().copied().chain(["limit", "timeout"]).collect();
    params.only(&known)?;
    let started = Instant::now();
    let streamed = headers.get(header::ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(b"application/x-ndjson"));
    let limit = params.number("limit", DEFAULT_LIMIT, if streamed { MAX_STREAMED } else { MAX_LIMIT })?;
    let question = question(params, api.clock.now(), limit)?;
    super::plan::Plan::new(&question.query).map_err(ApiError::bad_request)?;
    let timeout = timeout(params)?.unwrap_or(DEFAULT_TIMEOUT);
    let ticket = api.queries.enter(params.one("q").unwrap_or("*"), api.clock.now(), Some(timeout))?;
    if streamed {
        return Ok(lines::ndjson(move |lines| {
            let control = Arc::clone(&ticket.control);
            let mut last = Instant::now();
            let result = api.logs.run(&question, &control, &mut |part| {
                let is_open = match part {
                    Part::Columns(columns) => lines.push(&serde_json::json!({ "columns": columns })),
                    Part::Row(row) => lines.push(&Line { row: &row }),
                    Part::Record(record) => lines.push(&RecordLine { record: &record }),
                };
                // What has been found is shown at once, even while the rest is long in coming.
                if last.elapsed() > Duration::from_millis(50) {
                    last = Instant::now();
                    return is_open && lines.flush();
                }
                is_open
            });
            drop(ticket);
            match result {
                Ok(outcome) => {
                    let is_empty = outcome.rows == 0 && outcome.stopped.is_none();
                    let hint = if is_empty { hint(&api.logs, &question)? } else { None };
                    let end = end(&control, outcome.truncated, outcome.stopped, hint, started);
                    lines.push(&serde_json::json!({ "end": end }));
                    Ok(())
                }
                Err(RunError::Store(error)) => Err(error),
                Err(RunError::Asked(message)) => {
                    lines.push(&serde_json::json!({ "error": { "code": "bad_request", "message": message } }));
                    Ok(())
                }
            }
        }));
    }
    let answer = blocking(ticket, move |control| {
        let mut answer = QueryAnswer::default();
        let outcome = api.logs.run(&question, control, &mut |part| {
            match part {
                Part::Columns(columns) => answer.columns = columns,
                Part::Row(row) => answer.rows.push(row.iter().map(|cell| serde_json::to_value(cell).unwrap_or_default()).collect()),
                Part::Record(record) => answer.records.push(*record),
            }
            true
        })?;
        let is_empty = outcome.rows == 0 && outcome.stopped.is_none();
        let hint = if is_empty { hint(&api.logs, &question)? } else { None };
        answer.end = end(control, outcome.truncated, outcome.stopped, hint, started);
        Ok(answer)
    });
    Ok(Json(answer.await?).into_response())
}

#[derive(Serialize)]
struct Line<'a> {
    row: &'a [Cell],
}

#[derive(Serialize)]
struct RecordLine<'a> {
    record: &'a LogRecord,
}

fn end(control: &Control, truncated: bool, partial: Option<Stopped>, hint: Option<String>, started: Instant) -> End {
    use std::sync::atomic::Ordering;
    End {
        truncated,
        partial,
        hint,
        records_read: control.records.load(Ordering::Relaxed),
        blocks_read: control.blocks.load(Ordering::Relaxed),
        elapsed_ms: (started.elapsed().as_secs_f64() * 1e5).round() / 100.0,
    }
}

/// Counts records over time. The counts add up to `total`, which is every record that the query means.
#[utoipa::path(get, path = "/api/v1/logs/histogram", tag = "logs",
    params(
        ("q" = Option<String>, Query, description = "conditions, without pipes"),
        ("level" = Option<String>, Query), ("service" = Option<Vec<String>>, Query), ("attribute" = Option<Vec<String>>, Query),
        ("since" = Option<String>, Query, description = "default: the first record"), ("until" = Option<String>, Query, description = "default: the last record"),
        ("step" = Option<String>, Query, description = "length of a bar, such as `1m`"),
        ("buckets" = Option<u64>, Query, description = "instead of `step`: about how many bars, 60 if nothing is said"),
        ("by" = Option<String>, Query, description = "`level` (default), `none`, or any field: one series for each value"),
        ("timeout" = Option<String>, Query), ("zone" = Option<String>, Query),
    ),
    responses((status = 200, body = Histogram), (status = 400, body = crate::http::error::ErrorBody)))]
async fn histogram(State(api): State<LogsApi>, params: Params) -> Result<Json<Histogram>, ApiError> {
    let known: Vec<&str> = FILTER_PARAMS.iter().copied().chain(["step", "buckets", "by", "timeout"]).collect();
    params.only(&known)?;
    let question = question(&params, api.clock.now(), 0)?;
    if !question.query.pipes.is_empty() {
        return Err(ApiError::bad_request("`q`: a histogram counts records: leave everything from the first `|` away"));
    }
    let wrong = |text: &str| ApiError::bad_request(format!("`step`: `{text}` is no length of time: write `10s`, `1m` or `1h`"));
    let width = match params.one("step") {
        Some(text) => Width::Step(parse_duration(text).filter(|step| !step.is_zero()).ok_or_else(|| wrong(text))?),
        None => Width::Bars(params.number("buckets", 60, MAX_BARS)?.max(1)),
    };
    let by = match params.one("by").unwrap_or("level") {
        "none" => None,
        name => Some(Field::from_name(name)),
    };
    let timeout = timeout(&params)?.unwrap_or(DEFAULT_TIMEOUT);
    let ticket = api.queries.enter(params.one("q").unwrap_or("*"), api.clock.now(), Some(timeout))?;
    let logs = api.logs.clone();
    Ok(Json(blocking(ticket, move |control| logs.histogram(&question, width, by.as_ref(), control)).await?))
}

/// Answers a record with its neighbours in time.
#[utoipa::path(get, path = "/api/v1/logs/context", tag = "logs",
    params(
        ("seq" = u64, Query, description = "the record"),
        ("before" = Option<usize>, Query, description = "records before it: 10 if not given, up to 1,000"),
        ("after" = Option<usize>, Query, description = "records behind it: 10 if not given, up to 1,000"),
        ("same" = Option<String>, Query, description = "what neighbours have in common with it: `service` (default), `host`, `file` or `all` for nothing"),
    ),
    responses((status = 200, body = Context), (status = 400, body = crate::http::error::ErrorBody), (status = 404, body = crate::http::error::ErrorBody)))]
async fn context(State(api): State<LogsApi>, params: Params) -> Result<Json<Context>, ApiError> {
    params.only(&["seq", "before", "after", "same"])?;
    if params.one("seq").is_none() {
        return Err(ApiError::bad_request("`seq`: say which record is meant: every record has its `seq`"));
    }
    let seq = params.number("seq", 0, u64::MAX)?;
    let (before, after) = (params.number("before", 10, MAX_NEIGHBOURS)?, params.number("after", 10, MAX_NEIGHBOURS)?);
    let same = match params.word("same", &["service", "host", "file", "all"])? {
        Some("host") => Same::Host,
        Some("file") => Same::File,
        Some("all") => Same::All,
        _ => Same::Service,
    };
    let ticket = api.queries.enter(&format!("context of {seq}"), api.clock.now(), Some(DEFAULT_TIMEOUT))?;
    let logs = api.logs.clone();
    let context = blocking(ticket, move |control| logs.context(seq, before, after, same, control)).await?;
    context.map(Json).ok_or_else(|| ApiError::not_found(format!("there is no record with the seq {seq}")))
}

/// Says what may stand at a place of a query.
#[utoipa::path(get, path = "/api/v1/logs/complete", tag = "logs",
    params(("q" = Option<String>, Query, description = "the query as far as it is written"), ("cursor" = Option<usize>, Query, description = "where in it, in bytes; its end if not given")),
    responses((status = 200, body = Completion), (status = 400, body = crate::http::error::ErrorBody)))]
async fn complete(State(api): State<LogsApi>, params: Params) -> Result<Json<Completion>, ApiError> {
    params.only(&["q", "cursor"])?;
    let text = params.one("q").unwrap_or("").to_owned();
    if text.len() > crate::logs::types::MAX_TEXT_BYTES {
        return Err(ApiError::bad_request("`q`: this is too long to be completed"));
    }
    let cursor = params.number("cursor", text.len(), usize::MAX)?;
    let ticket = api.queries.enter("completion", api.clock.now(), Some(DEFAULT_TIMEOUT))?;
    let logs = api.logs.clone();
    Ok(Json(blocking(ticket, move |_| Ok(logs.complete(&text, cursor)?)).await?))
}

/// Lists the queries that are running.
#[utoipa::path(get, path = "/api/v1/logs/queries", tag = "logs", responses((status = 200, body = Vec<Running>)))]
async fn running(State(api): State<LogsApi>) -> Json<Vec<Running>> {
    let entries = api.queries.0.lock();
    let running = entries.running.iter().map(|(id, entry)| Running {
        id: id.to_string(),
        q: entry.q.clone(),
        since: entry.since,
        records_read: entry.control.records.load(std::sync::atomic::Ordering::Relaxed),
    });
    Json(running.collect())
}

/// Cancels a query: its asker gets what has been found so far, marked as partial.
#[utoipa::path(delete, path = "/api/v1/logs/queries/{id}", tag = "logs", params(("id" = String, Path)),
    responses((status = 204), (status = 404, body = crate::http::error::ErrorBody)))]
async fn cancel(State(api): State<LogsApi>, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    let entries = api.queries.0.lock();
    let entry = id.parse().ok().and_then(|id: u64| entries.running.get(&id));
    let entry = entry.ok_or_else(|| ApiError::not_found(format!("no query `{id}` is running")))?;
    entry.control.cancel();
    Ok(StatusCode::NO_CONTENT)
}

/// Returns the question of `params` as a search asks it.
#[must_use]
pub fn is_of_records(question: &Question) -> bool {
    super::plan::Plan::new(&question.query).is_ok_and(|plan| plan.is_of_records())
}
