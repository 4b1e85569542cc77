//! Issues and error events over HTTP.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Serialize;

use super::Errors;
use super::capture::{self, Capture, MAX_BYTES};
use super::detect;
use super::store::{self, IssueQuery, KEPT_HOURS};
use super::types::{ErrorEvent, ErrorStatistics, Issue, IssueDetail, IssueStatus};
use crate::clock::Clock;
use crate::http::{ApiError, Params, stream as lines};
use crate::inputs;
use crate::logs::Logs;

/// Log records read at a time.
const PAGE: usize = 5_000;
/// Most issues of a list, and how many are given when nobody asks.
const MAX_ISSUES: usize = 1_000;
const DEFAULT_ISSUES: usize = 100;
/// Most top issues, and how many are given when nobody asks.
const MAX_TOP: usize = 100;
const DEFAULT_TOP: usize = 10;
const DEFAULT_HOURS: u64 = 24;

/// Documentation of these paths.
#[derive(utoipa::OpenApi)]
#[openapi(
    paths(list, show, resolve, ignore, unresolve, statistics, take, export),
    components(schemas(ErrorEvent, Issue, IssueDetail, ErrorStatistics, Capture))
)]
pub struct ApiDoc;

#[derive(Clone)]
struct ErrorsApi {
    errors: Errors,
    logs: Logs,
    clock: Clock,
}

/// Returns the routes of issues and error events.
pub fn routes(errors: Errors, logs: Logs, clock: Clock) -> Router {
    Router::new()
        .route("/api/v1/issues", get(list))
        .route("/api/v1/issues/{id}", get(show))
        .route("/api/v1/issues/{id}/resolve", post(resolve))
        .route("/api/v1/issues/{id}/ignore", post(ignore))
        .route("/api/v1/issues/{id}/unresolve", post(unresolve))
        .route("/api/v1/errors/statistics", get(statistics))
        .route("/api/v1/errors", post(take).layer(DefaultBodyLimit::max(MAX_BYTES)))
        .route("/api/v1/export/errors", get(export))
        .with_state(ErrorsApi { errors, logs, clock })
}

/// Issues.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct IssueList {
    /// In the order that was asked for.
    pub issues: Vec<Issue>,
    /// Whether there are more than `limit` allowed.
    pub truncated: bool,
}

/// What became of reported errors: they are in the log, and are counted within a moment.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct CaptureAnswer {
    /// Errors that are now durable.
    pub accepted: u64,
    /// Errors refused for good.
    pub rejected: u64,
    /// Why.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The issue of each error that was sent, in their order.
    pub issues: Vec<String>,
}

/// Lists issues.
#[utoipa::path(get, path = "/api/v1/issues", tag = "errors",
    params(
        ("status" = Option<String>, Query, description = "only those with this status: unresolved, resolved, ignored"),
        ("service" = Option<Vec<String>>, Query, description = "service.name; repeat for any of several"),
        ("q" = Option<String>, Query, description = "only those with this text in their title, class or culprit, in any case"),
        ("since" = Option<String>, Query, description = "only those that occurred then or later: RFC 3339, Unix time, or how long ago (`15m`)"),
        ("sort" = Option<String>, Query, description = "last_seen (default), first_seen or count, the greatest first"),
        ("limit" = Option<usize>, Query, description = "most issues: 100 if not given, up to 1,000"),
    ),
    responses((status = 200, body = IssueList), (status = 400, body = crate::http::error::ErrorBody)))]
async fn list(State(api): State<ErrorsApi>, params: Params) -> Result<Json<IssueList>, ApiError> {
    params.only(&["status", "service", "q", "since", "sort", "limit"])?;
    let (now, limit) = (api.clock.now(), params.number("limit", DEFAULT_ISSUES, MAX_ISSUES)?);
    let query = IssueQuery {
        status: params.word("status", &IssueStatus::ALL.map(IssueStatus::name))?,
        services: params.many("service").map(str::to_owned).collect(),
        text: params.one("q").map(str::to_owned),
        since: params.moment("since", now)?,
        sort: params.word("sort", &["last_seen", "first_seen", "count"])?.unwrap_or("last_seen"),
        // One more than asked tells whether there are more.
        limit: limit + 1,
    };
    let mut issues = api.errors.0.database.read(move |connection| store::issues(connection, &query, now)).await?;
    let truncated = issues.len() > limit;
    issues.truncate(limit);
    Ok(Json(IssueList { issues, truncated }))
}

fn unknown(id: &str) -> ApiError {
    ApiError::not_found(format!("there is no issue `{id}`; `GET /api/v1/issues` lists them"))
}

/// Shows one issue: why its events are taken for one, and the last of them with their stack traces.
#[utoipa::path(get, path = "/api/v1/issues/{id}", tag = "errors", params(("id" = String, Path,)), responses(
    (status = 200, body = IssueDetail), (status = 404, body = crate::http::error::ErrorBody)))]
async fn show(State(api): State<ErrorsApi>, Path(id): Path<String>) -> Result<Json<IssueDetail>, ApiError> {
    api.errors.issue(&id).await?.map(Json).ok_or_else(|| unknown(&id))
}

async fn decide(api: &ErrorsApi, id: &str, status: IssueStatus) -> Result<Json<IssueDetail>, ApiError> {
    let stored = *api.logs.committed().borrow();
    if !api.errors.set_status(id, status, stored).await? {
        return Err(unknown(id));
    }
    api.errors.issue(id).await?.map(Json).ok_or_else(|| unknown(id))
}

/// Resolves an issue: if it occurs again, it has regressed and is unresolved.
#[utoipa::path(post, path = "/api/v1/issues/{id}/resolve", tag = "errors", params(("id" = String, Path,)), responses(
    (status = 200, body = IssueDetail), (status = 404, body = crate::http::error::ErrorBody)))]
async fn resolve(State(api): State<ErrorsApi>, Path(id): Path<String>) -> Result<Json<IssueDetail>, ApiError> {
    decide(&api, &id, IssueStatus::Resolved).await
}

/// Ignores an issue: it is counted on, and nobody is told.
#[utoipa::path(post, path = "/api/v1/issues/{id}/ignore", tag = "errors", params(("id" = String, Path,)), responses(
    (status = 200, body = IssueDetail), (status = 404, body = crate::http::error::ErrorBody)))]
async fn ignore(State(api): State<ErrorsApi>, Path(id): Path<String>) -> Result<Json<IssueDetail>, ApiError> {
    decide(&api, &id, IssueStatus::Ignored).await
}

/// Takes back what was decided about an issue.
#[utoipa::path(post, path = "/api/v1/issues/{id}/unresolve", tag = "errors", params(("id" = String, Path,)), responses(
    (status = 200, body = IssueDetail), (status = 404, body = crate::http::error::ErrorBody)))]
async fn unresolve(State(api): State<ErrorsApi>, Path(id): Path<String>) -> Result<Json<IssueDetail>, ApiError> {
    decide(&api, &id, IssueStatus::Unresolved).await
}

/// Says how many errors there were, of which class, service and level, and which issues occurred most often.
#[utoipa::path(get, path = "/api/v1/errors/statistics", tag = "errors",
    params(
        ("hours" = Option<u64>, Query, description = "how many hours, the present one included: 24 if not given, up to 720"),
        ("top" = Option<usize>, Query, description = "most top issues: 10 if not given, up to 100"),
    ),
    responses((status = 200, body = ErrorStatistics), (status = 400, body = crate::http::error::ErrorBody)))]
async fn statistics(State(api): State<ErrorsApi>, params: Params) -> Result<Json<ErrorStatistics>, ApiError> {
    params.only(&["hours", "top"])?;
    let (hours, top) = (params.number("hours", DEFAULT_HOURS, KEPT_HOURS)?.max(1), params.number("top", DEFAULT_TOP, MAX_TOP)?);
    let now = api.clock.now();
    Ok(Json(api.errors.0.database.read(move |connection| store::statistics(connection, hours, top, now)).await?))
}

/// Takes errors that a program reports: one, or a list. They become log records with `exception.*`.
#[utoipa::path(post, path = "/api/v1/errors", tag = "ingest", request_body = Capture,
    responses(
        (status = 200, body = CaptureAnswer, description = "durable, apart from those whose time is too old or too new"),
        (status = 400, body = crate::http::error::ErrorBody, description = "One of them is wrong, and none is taken."),
        (status = 413, body = crate::http::error::ErrorBody), (status = 503, body = crate::http::error::ErrorBody)))]
async fn take(State(api): State<ErrorsApi>, body: Result<Bytes, BytesRejection>) -> Result<Json<CaptureAnswer>, ApiError> {
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            ApiError::too_large(format!("a request may have {} MiB: send fewer errors at a time", MAX_BYTES >> 20))
        }
        _ => ApiError::bad_request(format!("the body could not be read to its end: {rejection}")),
    })?;
    let mut batch = capture::read(&body, api.clock.now()).map_err(ApiError::bad_request)?;
    // Issues are told apart by what is stored.
    api.logs.redact(&mut batch);
    let issues = (0..batch.len()).map(|row| ErrorEvent::grouped(&batch, row).1.id().to_owned()).collect();
    let accepted = api.logs.ingest(batch, Vec::new()).await.map_err(inputs::refused)?;
    api.errors.0.meters.captured.add(accepted.accepted);
    if accepted.accepted == 0 {
        return Err(ApiError::bad_request(format!("timestamp: {}", accepted.reason)));
    }
    Ok(Json(CaptureAnswer { accepted: accepted.accepted, rejected: accepted.rejected, reason: accepted.reason, issues }))
}

/// Streams all error events of a time range, oldest first by arrival, as the log has them.
#[utoipa::path(get, path = "/api/v1/export/errors", tag = "errors",
    params(("since" = Option<String>, Query, description = "RFC 3339, Unix time, or how long ago (`15m`)"), ("until" = Option<String>, Query, description = "as `since`, exclusive")),
    responses((status = 200, content_type = "application/x-ndjson", body = ErrorEvent, description = "one error event a line"), (status = 400, body = crate::http::error::ErrorBody)))]
async fn export(State(api): State<ErrorsApi>, params: Params) -> Result<Response, ApiError> {
    let (since, until) = params.only(&["since", "until"])?.range(None, api.clock.now())?;
    let end = *api.logs.committed().borrow();
    let auto_capture = api.errors.0.settings.auto_capture;
    Ok(lines::ndjson(move |lines| {
        let mut cursor = 0;
        while cursor < end {
            let skimmed = detect::skimming(auto_capture, |skim| api.logs.skim_after(cursor, PAGE, skim))?;
            let Some(last) = skimmed.last else { break };
            cursor = last;
            let batch = &skimmed.batch;
            let rows = (0..batch.len()).filter(|row| batch.seq[*row] <= end);
            let events = rows.filter_map(|row| ErrorEvent::of(batch, row));
            let mut wanted = events.filter(|event| since <= event.timestamp && event.timestamp < until);
            if !wanted.all(|event| lines.push(&event)) {
                break;
            }
        }
        Ok(())
    }))
}
