//! The log over HTTP: search and live tail. Queries with pipes are in `query::api`, exports in `query::export`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures::stream;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use watchfire_types::{LogBatch, LogRecord, Severity, Timestamp};

use super::matcher::Matcher;
use super::query::api::{Queries, blocking, is_of_records, timeout};
use super::query::ast::{Expr, Query, Test};
use super::query::field::{BUILT_IN, Field};
use super::query::run::{DEFAULT_TIMEOUT, Part, Question, RunError};
use super::query::scan::Stopped;
use super::query::{api as query_api, export};
use super::{LogFilter, Logs};
use crate::clock::Clock;
use crate::http::{ApiError, Params, stream as lines};
use crate::nearest::{nearest, suggestion};
use crate::store::StoreError;

/// Records of a search when no limit is given.
const DEFAULT_LIMIT: usize = 100;
/// Most records in one JSON answer; newline-delimited JSON has [`MAX_STREAMED`].
const MAX_LIMIT: usize = 10_000;
/// Most records of a streamed search. An export has no limit.
const MAX_STREAMED: usize = 1_000_000;
/// Records read at a time by live tails.
const PAGE: usize = 5_000;
/// A tail that finds nothing says at least so often how far it is.
const POSITION_EVERY: u64 = 50_000;

/// What tells which records are meant.
pub const FILTER_PARAMS: &[&str] = &["q", "level", "service", "attribute", "since", "until", "zone"];

/// Documentation of these paths.
#[derive(utoipa::OpenApi)]
#[openapi(paths(search, tail), components(schemas(LogRecord)))]
pub struct ApiDoc;

/// What the routes of the log share.
#[derive(Clone)]
pub struct LogsApi {
    /// The log.
    pub logs: Logs,
    /// The time.
    pub clock: Clock,
    /// The queries that are running.
    pub queries: Queries,
    shutdown: CancellationToken,
}

/// What a search found.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SearchAnswer {
    /// Newest first.
    pub records: Vec<LogRecord>,
    /// Whether there are more than `limit` allowed.
    pub truncated: bool,
    /// Why it is not whole, if it is not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub partial: Option<Stopped>,
    /// When nothing was found: where to look instead.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hint: Option<String>,
}

/// Returns the routes of the log. Live tails end when `shutdown` is cancelled.
pub fn routes(logs: Logs, clock: Clock, shutdown: CancellationToken) -> Router {
    Router::new()
        .route("/api/v1/logs", get(search))
        .route("/api/v1/logs/tail", get(tail))
        .merge(query_api::routes())
        .merge(export::routes())
        .with_state(LogsApi { logs, clock, queries: Queries::default(), shutdown })
}

/// Returns what `params` ask of the log.
///
/// # Errors
/// 400, naming the parameter, and for `q` the place in it.
pub fn question(params: &Params, now: Timestamp, limit: usize) -> Result<Question, ApiError> {
    let query = Query::parse(params.one("q").unwrap_or("")).map_err(|error| ApiError::bad_request(format!("`q`: {error}")))?;
    let level = |text: &str| {
        let number = text.parse().ok().filter(|number| *number <= 24).map(Severity);
        number.or_else(|| Severity::from_text(text)).ok_or_else(|| {
            ApiError::bad_request(format!("`level`: `{text}` is none of trace, debug, info, warn, error, fatal, or 1 to 24"))
        })
    };
    let filter = LogFilter {
        text: String::new(),
        level: params.one("level").map(level).transpose()?,
        services: params.many("service").map(str::to_owned).collect(),
        attributes: params.pairs("attribute")?,
        since: params.moment("since", now)?,
        until: params.moment("until", now)?,
    };
    Ok(Question { filter, query, now, zone: zone(params)?, limit })
}

/// Returns the zone that `zone` names: `Europe/Berlin`, or an offset such as `+02:00`.
fn zone(params: &Params) -> Result<TimeZone, ApiError> {
    let Some(name) = params.one("zone") else { return Ok(TimeZone::UTC) };
    let offset = || jiff::fmt::strtime::parse("%:z", name).ok()?.offset().map(TimeZone::fixed);
    let wrong = || ApiError::bad_request(format!("`zone`: `{name}` is no time zone: write `Europe/Berlin` or `+02:00`"));
    TimeZone::get(name).ok().or_else(offset).ok_or_else(wrong)
}

/// Searches the log, newest first.
#[utoipa::path(get, path = "/api/v1/logs", tag = "logs",
    params(
        ("q" = Option<String>, Query, description = "words, \"phrases\" and conditions such as `level>=warn service:api -path:/health*`; the language is described in docs/search.md. Of pipes, only `sort` and `limit`"),
        ("level" = Option<String>, Query, description = "least severity: a word or a number from 1 to 24"),
        ("service" = Option<Vec<String>>, Query, description = "service.name; repeat for any of several"),
        ("attribute" = Option<Vec<String>>, Query, description = "key=value; repeat, all must hold"),
        ("since" = Option<String>, Query, description = "RFC 3339, Unix time, or how long ago (`15m`)"),
        ("until" = Option<String>, Query, description = "as `since`, exclusive"),
        ("limit" = Option<usize>, Query, description = "most records: 100 if not given, up to 10,000, up to 1,000,000 as application/x-ndjson"),
        ("timeout" = Option<String>, Query, description = "what has been found by then is answered, with `partial`: 30s if not given, up to an hour. Lines end at `limit` alone if it is not given, and break off when it is over"),
        ("zone" = Option<String>, Query, description = "time zone of `today` and of times without one in `q`: UTC if not given"),
    ),
    responses((status = 200, body = SearchAnswer, description = "JSON, or one LogRecord a line with `Accept: application/x-ndjson`"), (status = 400, body = crate::http::error::ErrorBody)))]
async fn search(State(api): State<LogsApi>, headers: HeaderMap, params: Params) -> Result<Response, ApiError> {
    let known: Vec<&str> = FILTER_PARAMS.iter().copied().chain(["limit", "timeout"]).collect();
    params.only(&known)?;
    let streamed = headers.get(header::ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(b"application/x-ndjson"));
    let limit = params.number("limit", DEFAULT_LIMIT, if streamed { MAX_STREAMED } else { MAX_LIMIT })?;
    let question = question(&params, api.clock.now(), limit)?;
    if !is_of_records(&question) {
        super::query::plan::Plan::new(&question.query).map_err(ApiError::bad_request)?;
        return Err(ApiError::bad_request("`q`: these pipes make a table, and here are records: ask /api/v1/logs/query"));
    }
    let timeout = timeout(&params)?;
    let timeout = if streamed { timeout } else { Some(timeout.unwrap_or(DEFAULT_TIMEOUT)) };
    let ticket = api.queries.enter(params.one("q").unwrap_or("*"), api.clock.now(), timeout)?;
    if streamed {
        return Ok(lines::ndjson(move |lines| {
            let outcome = api.logs.run(&question, &ticket.control, &mut |part| match part {
                Part::Record(record) => lines.push(&record),
                Part::Columns(_) | Part::Row(_) => true,
            });
            match outcome {
                Ok(outcome) if outcome.stopped.is_none() => Ok(()),
                // Nobody may take a part for the whole.
                Ok(_) => Err(broken_off("the search was stopped before its end")),
                Err(RunError::Store(error)) => Err(error),
                Err(RunError::Asked(message)) => Err(broken_off(&message)),
            }
        }));
    }
    let answer = blocking(ticket, move |control| {
        let mut records = Vec::new();
        let outcome = api.logs.run(&question, control, &mut |part| {
            if let Part::Record(record) = part {
                records.push(*record);
            }
            true
        })?;
        let is_empty = records.is_empty() && outcome.stopped.is_none() && !outcome.truncated;
        let hint = if is_empty { hint(&api.logs, &question)? } else { None };
        Ok(SearchAnswer { records, truncated: outcome.truncated, partial: outcome.stopped, hint })
    });
    Ok(Json(answer.await?).into_response())
}

/// Returns the error that ends a stream of lines before its end.
pub(super) fn broken_off(reason: &str) -> StoreError {
    StoreError::Io { path: "search".into(), source: std::io::Error::other(reason.to_owned()) }
}

/// Returns why a search may have found nothing.
///
/// # Errors
/// [`StoreError`] when a file cannot be read.
pub(super) fn hint(logs: &Logs, question: &Question) -> Result<Option<String>, StoreError> {
    if question.limit == 0 {
        return Ok(None);
    }
    let Some((first, last)) = logs.time_range()? else {
        return Ok(Some(
            "the log is empty: send OTLP to /v1/logs, lines to /api/v1/logs, or follow a file with inputs.files".into(),
        ));
    };
    let (since, until) = question.matcher(logs).time_range();
    if since > last.as_nanos() || until <= first.as_nanos() {
        return Ok(Some(format!("nothing in this time range; there are records from {first} to {last}")));
    }
    let expr = question.expr();
    let (mut services, mut fields, mut words) = (Vec::new(), Vec::new(), Vec::new());
    expr.walk(&mut |expr| match expr {
        Expr::Field { field: Field::Service, test: Test::Is(name) } => services.push(name.as_str()),
        Expr::Field { field: Field::Attribute(name), .. } => fields.push(name.as_str()),
        Expr::Text { text, .. } => words.push(text.as_str()),
        _ => {}
    });
    let known = logs.services()?;
    if let Some(wanted) = services.into_iter().find(|wanted| !known.iter().any(|known| known == wanted)) {
        let hint = suggestion(wanted, known.iter().map(String::as_str));
        return Ok(Some(format!("no record has the service `{wanted}`{hint}")));
    }
    let names = if fields.is_empty() && words.is_empty() { Vec::new() } else { logs.field_names()? };
    let is_known =
        |name: &str| names.iter().any(|known| known == name) || name.starts_with("attributes.") || name.starts_with("resource.");
    if let Some(wanted) = fields.iter().find(|name| !is_known(name)) {
        let others = names.iter().map(String::as_str).filter(|name| !BUILT_IN.contains(name));
        let hint = nearest(wanted, others).map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
        return Ok(Some(format!("no recent record has the field `{wanted}`{hint} (quote a text that has a `:`)")));
    }
    if let Some(word) = words.iter().find(|word| matches!(word.to_lowercase().as_str(), "and" | "or" | "not")) {
        return Ok(Some(format!("`{word}` is looked for as a word: write `{}` between conditions", word.to_uppercase())));
    }
    let compared = |word: &&&str| word.split_once('=').is_some_and(|(name, value)| is_known(name) && !value.is_empty());
    if let Some((name, value)) = words.iter().find(compared).and_then(|word| word.split_once('=')) {
        return Ok(Some(format!("`{name}={value}` is looked for as text: write `{name}:{value}` to compare the field")));
    }
    Ok(Some(format!("no record matches; there are records from {first} to {last}")))
}

/// Follows the log: each new record that matches, as a server-sent event whose id is its `seq`.
///
/// An event with an id and no data says how far the log has been looked at: the first comes at once, so that whoever comes again with it loses
/// nothing.
#[utoipa::path(get, path = "/api/v1/logs/tail", tag = "logs",
    params(
        ("q" = Option<String>, Query, description = "as for a search, without pipes, like the other filters"),
        ("level" = Option<String>, Query), ("service" = Option<Vec<String>>, Query), ("attribute" = Option<Vec<String>>, Query), ("zone" = Option<String>, Query),
        ("after" = Option<u64>, Query, description = "begin after this `seq`; the header Last-Event-ID does the same. Default: what comes from now on"),
    ),
    responses((status = 200, content_type = "text/event-stream", description = "`id`: seq, `data`: a LogRecord"), (status = 400, body = crate::http::error::ErrorBody)))]
async fn tail(State(api): State<LogsApi>, headers: HeaderMap, params: Params) -> Result<Response, ApiError> {
    let known: Vec<&str> = FILTER_PARAMS.iter().copied().chain(["after"]).collect();
    params.only(&known)?;
    let question = question(&params, api.clock.now(), 0)?;
    if !question.query.pipes.is_empty() {
        return Err(ApiError::bad_request("`q`: a live tail shows records as they come: leave everything from the first `|` away"));
    }
    let matcher = question.matcher(&api.logs);
    let resumed = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let committed = api.logs.committed();
    let newest = *committed.borrow();
    let cursor = resumed.map_or_else(|| params.number("after", newest, u64::MAX), Ok)?;
    let tail = Tail {
        api,
        matcher: Arc::new(matcher),
        committed,
        cursor,
        told: None,
        batch: LogBatch::default(),
        rows: Vec::new().into_iter(),
    };
    let events = stream::unfold(tail, |mut tail| async move { tail.next().await.map(|event| (Ok::<_, Infallible>(event), tail)) });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))).into_response())
}

/// A live tail: reads the store behind its cursor whenever something has been committed, so that a slow reader loses nothing.
struct Tail {
    api: LogsApi,
    matcher: Arc<Matcher>,
    committed: watch::Receiver<u64>,
    cursor: u64,
    /// The position that the reader knows of.
    told: Option<u64>,
    /// What was read last, and the rows of it that are yet to be sent: columns take a fraction of what records do.
    batch: LogBatch,
    rows: std::vec::IntoIter<usize>,
}

impl Tail {
    async fn next(&mut self) -> Option<Event> {
        while self.rows.len() == 0 {
            // A quiet log must not hold on to what has been sent.
            self.batch = LogBatch::default();
            if self.told.is_none_or(|told| told + POSITION_EVERY <= self.cursor) {
                self.told = Some(self.cursor);
                return Some(Event::default().id(self.cursor.to_string()));
            }
            let shutdown = self.api.shutdown.clone();
            let cursor = self.cursor;
            tokio::select! {
                () = shutdown.cancelled() => return None,
                newest = self.committed.wait_for(|newest| *newest > cursor) => { newest.ok()?; }
            }
            let (logs, matcher) = (self.api.logs.clone(), Arc::clone(&self.matcher));
            let read = move || {
                let batch = logs.read_after(cursor, PAGE).ok()?;
                let rows = matcher.matching_rows(&batch);
                Some((batch, rows))
            };
            let (batch, rows) = tokio::task::spawn_blocking(read).await.ok()??;
            // A damaged end of the log must not make this spin.
            self.cursor = batch.seq.last().copied().unwrap_or_else(|| *self.committed.borrow());
            self.rows = rows.into_iter();
            self.batch = batch;
        }
        let record = self.batch.record(self.rows.next()?);
        self.told = record.seq.parse().ok();
        Event::default().id(&record.seq).json_data(&record).ok()
    }
}
