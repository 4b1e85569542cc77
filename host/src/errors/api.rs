//! Issues and error events over HTTP.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use watchfire_types::Timestamp;

use super::Errors;
use super::capture::{self, Capture, MAX_BYTES};
use super::decisions::{self, Decision, MergeProblem};
use super::detect;
use super::search::Search;
use super::store::{self, IssueQuery, KEPT_HOURS};
use super::types::{ErrorEvent, ErrorStatistics, Issue, IssueDetail, IssueStatus};
use super::why::Why;
use crate::clock::Clock;
use crate::config::duration::HumanDuration;
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
/// Longest name of a person, and longest comment.
const MAX_NAME_BYTES: usize = 200;
const MAX_COMMENT_BYTES: usize = 16 << 10;

/// Documentation of these paths.
#[derive(utoipa::OpenApi)]
#[openapi(
    paths(list, show, why, resolve, ignore, unresolve, assign, comment, merge, unmerge, statistics, take, export),
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
        .route("/api/v1/issues/{id}/why", get(why))
        .route("/api/v1/issues/{id}/assign", post(assign))
        .route("/api/v1/issues/{id}/comments", post(comment))
        .route("/api/v1/issues/{id}/merge", post(merge))
        .route("/api/v1/issues/{id}/unmerge", post(unmerge))
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
        ("q" = Option<String>, Query, description = "only those that this means: words such as `is:unresolved`, `release:shop@1.2`, `route:/pay`, `!level:fatal`, and a text in title, class or culprit"),
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
        search: Search::parse(params.one("q").unwrap_or("")).map_err(|reason| ApiError::bad_request(format!("`q`: {reason}")))?,
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

async fn decide(api: &ErrorsApi, id: &str, decision: Decision) -> Result<Json<IssueDetail>, ApiError> {
    let stored = *api.logs.committed().borrow();
    if !api.errors.decide(id, decision, stored).await? {
        return Err(unknown(id));
    }
    detail(api, id).await
}

async fn detail(api: &ErrorsApi, id: &str) -> Result<Json<IssueDetail>, ApiError> {
    api.errors.issue(id).await?.map(Json).ok_or_else(|| unknown(id))
}

/// Reads what was sent, which may be nothing.
fn asked<T: Default + serde::de::DeserializeOwned>(body: &Bytes) -> Result<T, ApiError> {
    if body.trim_ascii().is_empty() {
        return Ok(T::default());
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| match error.path().to_string().as_str() {
        "." => ApiError::bad_request(error.inner().to_string()),
        path => ApiError::bad_request(format!("{path}: {}", error.inner())),
    })
}

/// How an issue is resolved.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ResolveRequest {
    /// Mended by this release: events of older ones do not bring it back.
    release: Option<String>,
    /// Mended by the release after the one that was seen first last: those up to it do not bring it back.
    in_next_release: bool,
}

/// Resolves an issue: if it occurs again, it has regressed.
#[utoipa::path(post, path = "/api/v1/issues/{id}/resolve", tag = "errors", params(("id" = String, Path,)), request_body = ResolveRequest, responses(
    (status = 200, body = IssueDetail), (status = 400, body = crate::http::error::ErrorBody), (status = 404, body = crate::http::error::ErrorBody)))]
async fn resolve(State(api): State<ErrorsApi>, Path(id): Path<String>, body: Bytes) -> Result<Json<IssueDetail>, ApiError> {
    let ResolveRequest { release, in_next_release: next } = asked(&body)?;
    let release = match (release, next) {
        (Some(_), true) => return Err(ApiError::bad_request("release: not beside `in_next_release`")),
        (Some(release), false) if release.trim().is_empty() => {
            return Err(ApiError::bad_request("release: expected the name of a release"));
        }
        (Some(release), false) => release.trim().to_owned(),
        (None, false) => String::new(),
        (None, true) => {
            let asked = id.clone();
            let latest = move |connection: &rusqlite::Connection| {
                let service = decisions::service_of(connection, &asked)?;
                service.map(|service| decisions::latest_release(connection, &service)).transpose()
            };
            let latest = api.errors.0.database.read(latest).await?.ok_or_else(|| unknown(&id))?;
            latest.ok_or_else(|| ApiError::bad_request("in_next_release: no event of this service has named its release yet"))?
        }
    };
    decide(&api, &id, Decision::Resolve { release, next }).await
}

/// Until when an issue is ignored.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IgnoreRequest {
    /// Until then: RFC 3339, or how long from now (`2h`, `7d`).
    until: Option<String>,
    /// Until it has occurred so often more.
    count: Option<u64>,
}

/// Ignores an issue: it is counted on, and nobody is told. What comes first, time or number, ends it.
#[utoipa::path(post, path = "/api/v1/issues/{id}/ignore", tag = "errors", params(("id" = String, Path,)), request_body = IgnoreRequest, responses(
    (status = 200, body = IssueDetail), (status = 400, body = crate::http::error::ErrorBody), (status = 404, body = crate::http::error::ErrorBody)))]
async fn ignore(State(api): State<ErrorsApi>, Path(id): Path<String>, body: Bytes) -> Result<Json<IssueDetail>, ApiError> {
    let IgnoreRequest { until, count } = asked(&body)?;
    let now = api.clock.now();
    let until = until.as_deref().map(|text| moment_ahead(text, now)).transpose()?;
    if count == Some(0) {
        return Err(ApiError::bad_request("count: expected at least 1"));
    }
    decide(&api, &id, Decision::Ignore { until, count }).await
}

/// Reads a time that lies ahead.
fn moment_ahead(text: &str, now: Timestamp) -> Result<Timestamp, ApiError> {
    let wrong = || ApiError::bad_request(format!("until: `{text}` is no time ahead: write `2h`, `7d` or `2026-11-22T08:30:00Z`"));
    let span = text.parse::<HumanDuration>().ok().map(|span| now.plus(span.0));
    let until = span.or_else(|| text.parse().ok()).ok_or_else(wrong)?;
    if until > now { Ok(until) } else { Err(wrong()) }
}

/// Says why events are taken for an issue: every part of its last one, and whether it counts.
#[utoipa::path(get, path = "/api/v1/issues/{id}/why", tag = "errors", params(("id" = String, Path,)), responses(
    (status = 200, body = Why), (status = 404, body = crate::http::error::ErrorBody)))]
async fn why(State(api): State<ErrorsApi>, Path(id): Path<String>) -> Result<Json<Why>, ApiError> {
    api.errors.why(&id).await?.map(Json).ok_or_else(|| unknown(&id))
}

/// Takes back what was decided about an issue.
#[utoipa::path(post, path = "/api/v1/issues/{id}/unresolve", tag = "errors", params(("id" = String, Path,)), responses(
    (status = 200, body = IssueDetail), (status = 404, body = crate::http::error::ErrorBody)))]
async fn unresolve(State(api): State<ErrorsApi>, Path(id): Path<String>) -> Result<Json<IssueDetail>, ApiError> {
    decide(&api, &id, Decision::Unresolve).await
}

/// Who sees to an issue.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AssignRequest {
    /// A name; nobody, if it is empty.
    to: String,
}

/// Says who sees to an issue.
#[utoipa::path(post, path = "/api/v1/issues/{id}/assign", tag = "errors", params(("id" = String, Path,)), request_body = AssignRequest, responses(
    (status = 200, body = IssueDetail), (status = 400, body = crate::http::error::ErrorBody), (status = 404, body = crate::http::error::ErrorBody)))]
async fn assign(State(api): State<ErrorsApi>, Path(id): Path<String>, body: Bytes) -> Result<Json<IssueDetail>, ApiError> {
    let AssignRequest { to } = asked(&body)?;
    let to = to.trim();
    if to.len() > MAX_NAME_BYTES {
        return Err(ApiError::bad_request(format!("to: a name may have {MAX_NAME_BYTES} bytes")));
    }
    if !api.errors.assign(&id, to).await? {
        return Err(unknown(&id));
    }
    detail(&api, &id).await
}

/// What somebody says of an issue.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CommentRequest {
    /// What.
    text: String,
    /// Who.
    author: String,
}

/// Adds a comment to an issue; of more than a thousand the oldest go.
#[utoipa::path(post, path = "/api/v1/issues/{id}/comments", tag = "errors", params(("id" = String, Path,)), request_body = CommentRequest, responses(
    (status = 200, body = IssueDetail), (status = 400, body = crate::http::error::ErrorBody), (status = 404, body = crate::http::error::ErrorBody)))]
async fn comment(State(api): State<ErrorsApi>, Path(id): Path<String>, body: Bytes) -> Result<Json<IssueDetail>, ApiError> {
    let CommentRequest { text, author } = asked(&body)?;
    let (text, author) = (text.trim(), author.trim());
    if text.is_empty() || text.len() > MAX_COMMENT_BYTES {
        return Err(ApiError::bad_request(format!("text: expected 1 to {MAX_COMMENT_BYTES} bytes, found {}", text.len())));
    }
    if author.len() > MAX_NAME_BYTES {
        return Err(ApiError::bad_request(format!("author: a name may have {MAX_NAME_BYTES} bytes")));
    }
    if !api.errors.comment(&id, author, text).await? {
        return Err(unknown(&id));
    }
    detail(&api, &id).await
}

/// What is merged into an issue.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MergeRequest {
    /// Their ids.
    issues: Vec<String>,
}

/// Merges issues into one: they are shown and decided about as one, and what comes later goes there. `unmerge` undoes it.
#[utoipa::path(post, path = "/api/v1/issues/{id}/merge", tag = "errors", params(("id" = String, Path,)), request_body = MergeRequest, responses(
    (status = 200, body = IssueDetail), (status = 400, body = crate::http::error::ErrorBody), (status = 404, body = crate::http::error::ErrorBody)))]
async fn merge(State(api): State<ErrorsApi>, Path(id): Path<String>, body: Bytes) -> Result<Json<IssueDetail>, ApiError> {
    let MergeRequest { issues } = asked(&body)?;
    if issues.is_empty() || issues.len() > MAX_ISSUES {
        return Err(ApiError::bad_request(format!("issues: expected 1 to {MAX_ISSUES} ids, found {}", issues.len())));
    }
    match api.errors.merge(&id, issues).await? {
        Ok(into) => detail(&api, &into).await,
        Err(MergeProblem::Unknown(id)) => Err(unknown(&id)),
        Err(MergeProblem::Same) => Err(ApiError::bad_request("issues: an issue cannot be merged into itself")),
    }
}

/// What was taken out of an issue.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct UnmergeAnswer {
    /// Issues that stand alone again.
    pub issues: Vec<String>,
}

/// Undoes a merge: takes this issue out of the one that it is shown in, or all that are merged into it out of it. Each is again what it would
/// be without, its counts included.
#[utoipa::path(post, path = "/api/v1/issues/{id}/unmerge", tag = "errors", params(("id" = String, Path,)), responses(
    (status = 200, body = UnmergeAnswer), (status = 404, body = crate::http::error::ErrorBody)))]
async fn unmerge(State(api): State<ErrorsApi>, Path(id): Path<String>) -> Result<Json<UnmergeAnswer>, ApiError> {
    let issues = api.errors.unmerge(&id).await?.ok_or_else(|| unknown(&id))?;
    Ok(Json(UnmergeAnswer { issues }))
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
    let issues = api.errors.issues_of(&batch).await?;
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
            let event = |row| {
                let mut event = ErrorEvent::of(batch, row)?;
                event.add_details(batch, row);
                Some(event)
            };
            let events = rows.filter_map(event);
            let mut wanted = events.filter(|event| since <= event.timestamp && event.timestamp < until);
            if !wanted.all(|event| lines.push(&event)) {
                break;
            }
        }
        Ok(())
    }))
}
