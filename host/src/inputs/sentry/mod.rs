//! What Sentry's SDKs send: envelopes, single events, reports of browsers and crash dumps.
//!
//! Everything becomes log records (and sessions a metric), so an event is durable with the commit of its record and before it is
//! grouped: the log is the spool, with its bounds, its retention and its redaction. The error engine reads it from there like any other
//! error.
//!
//! Sources: develop.sentry.dev, "Envelopes", "Rate limiting", "Authentication". SDKs throw away what is answered with anything but 200
//! and, while they are told to wait, all that comes: so a full queue is waited for, and an unknown item is never an error.

pub mod auth;
mod decode;
pub mod envelope;
mod event;
mod items;
mod scrub;
pub mod seen;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;
use watchfire_types::LogBatch;

use super::{InputState, body, refused};
use crate::http::guard::Guard;
use crate::http::{ApiError, Params};
use crate::store::{IngestError, StoreError};
use auth::DsnKey;
use decode::Decoded;
pub use decode::{Form, decode_for_tests};
use seen::Seen;

/// The input's name among the counters.
const INPUT: &str = "sentry";
/// How long a full queue is waited for: an SDK that is sent away loses its events.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// Longest envelope, in bytes, that is looked into for its key; with a key beside it, it may be as long as any request.
const MAX_UNKNOWN_BYTES: usize = 2 << 20;
const PAUSE: Duration = Duration::from_millis(50);
/// Last parts of the paths that take something.
const ENDPOINTS: [&str; 4] = ["envelope", "store", "security", "minidump"];

/// Documentation of these paths.
#[derive(utoipa::OpenApi)]
#[openapi(paths(take_envelope, take_event, take_report, take_dump, dsn))]
pub(super) struct ApiDoc;

/// What these paths need beside what every input needs. Cheap to clone.
#[derive(Clone)]
pub struct SentryInput {
    /// The key of the DSN.
    pub key: DsnKey,
    /// `service.name` of projects, by their numbers.
    pub projects: Arc<BTreeMap<u64, String>>,
    /// Whether secrets are taken out.
    pub redacts: bool,
    /// Who may send without the key.
    pub guard: Guard,
    /// How long a full queue is waited for.
    pub patience: Duration,
    /// Under which address others reach this host.
    pub external_url: String,
    /// Events that are stored already.
    pub seen: Seen,
}

#[derive(Clone)]
struct SentryApi {
    inputs: InputState,
    own: SentryInput,
}

/// What an SDK is answered.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SentryAnswer {
    /// The event's id; empty if there was no event.
    pub id: String,
}

/// Returns the paths.
pub(super) fn routes(inputs: InputState, own: SentryInput) -> Router {
    let mut router = Router::new();
    for end in ["", "/"] {
        router = router
            .route(&format!("/api/{{project}}/envelope{end}"), post(take_envelope).options(preflight))
            .route(&format!("/api/{{project}}/store{end}"), post(take_event).options(preflight))
            .route(&format!("/api/{{project}}/security{end}"), post(take_report).options(preflight))
            .route(&format!("/api/{{project}}/minidump{end}"), post(take_dump).options(preflight));
    }
    router.route("/api/v1/errors/dsn", get(dsn)).with_state(SentryApi { inputs, own })
}

/// Returns whether `path` is one of these: they look at their callers themselves, as a DSN's key is not the host's token.
#[must_use]
pub fn is_endpoint(path: &str) -> bool {
    let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or("");
    auth::project_of(path).is_some() && ENDPOINTS.contains(&last)
}

/// Returns at most `most` bytes of `text`, ending between characters.
fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

type Caller = ConnectInfo<SocketAddr>;

/// Takes an envelope of Sentry's protocol: events, logs, check-ins, sessions, feedback, attachments; what else it carries is counted.
#[utoipa::path(
    post, path = "/api/{project}/envelope/", tag = "sentry",
    params(("project" = u64, Path, description = "any number; `error_tracking.projects` gives it a service"),
        ("sentry_key" = Option<String>, Query, description = "the DSN's key, if neither `X-Sentry-Auth` nor the envelope's `dsn` says it")),
    request_body(content = String, content_type = "application/x-sentry-envelope", description = "an envelope; gzip, deflate, br, zstd or as it is"),
    responses((status = 200, body = SentryAnswer, description = "durable"),
        (status = 400, body = crate::http::error::ErrorBody), (status = 403, body = crate::http::error::ErrorBody),
        (status = 413, body = crate::http::error::ErrorBody),
        (status = 429, body = crate::http::error::ErrorBody, description = "nothing can be stored at present; see `X-Sentry-Rate-Limits` and `Retry-After`")),
)]
async fn take_envelope(
    State(api): State<SentryApi>,
    ConnectInfo(peer): Caller,
    Path(project): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    api.answer(Form::Envelope, peer, &project, &uri, &headers, body).await
}

/// Takes one event, as SDKs of before 2020 send it.
#[utoipa::path(
    post, path = "/api/{project}/store/", tag = "sentry", params(("project" = u64, Path,), ("sentry_key" = Option<String>, Query,)),
    request_body(content = serde_json::Value, description = "an event in JSON, compressed or not"),
    responses((status = 200, body = SentryAnswer, description = "durable"), (status = 400, body = crate::http::error::ErrorBody),
        (status = 403, body = crate::http::error::ErrorBody), (status = 413, body = crate::http::error::ErrorBody),
        (status = 429, body = crate::http::error::ErrorBody)),
)]
async fn take_event(
    State(api): State<SentryApi>,
    ConnectInfo(peer): Caller,
    Path(project): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    api.answer(Form::Event, peer, &project, &uri, &headers, body).await
}

/// Takes what browsers report: a violated content security policy and its like (`report-uri` and `report-to`).
#[utoipa::path(
    post, path = "/api/{project}/security/", tag = "sentry", params(("project" = u64, Path,), ("sentry_key" = Option<String>, Query,)),
    request_body(content = serde_json::Value, content_type = "application/csp-report", description = "a report, or a list of reports"),
    responses((status = 200, body = SentryAnswer, description = "durable"), (status = 400, body = crate::http::error::ErrorBody),
        (status = 403, body = crate::http::error::ErrorBody), (status = 429, body = crate::http::error::ErrorBody)),
)]
async fn take_report(
    State(api): State<SentryApi>,
    ConnectInfo(peer): Caller,
    Path(project): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    api.answer(Form::Report, peer, &project, &uri, &headers, body).await
}

/// Takes note of a native crash. The event beside the dump is stored; the dump itself is not read, and not kept.
#[utoipa::path(
    post, path = "/api/{project}/minidump/", tag = "sentry", params(("project" = u64, Path,), ("sentry_key" = Option<String>, Query,)),
    request_body(content = Vec<u8>, content_type = "multipart/form-data", description = "a minidump, with the event in the field `sentry`"),
    responses((status = 200, body = SentryAnswer, description = "durable"), (status = 403, body = crate::http::error::ErrorBody),
        (status = 429, body = crate::http::error::ErrorBody)),
)]
async fn take_dump(
    State(api): State<SentryApi>,
    ConnectInfo(peer): Caller,
    Path(project): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    api.answer(Form::Dump, peer, &project, &uri, &headers, body).await
}

/// What a program gives to its Sentry SDK.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Dsn {
    /// `http://KEY@host/1`.
    pub dsn: String,
    /// The project at its end.
    pub project: u64,
    /// `service.name` of what comes with it; empty if the events say it themselves.
    pub service: String,
    /// The key: it lets events in, and reads nothing.
    pub key: String,
}

/// Says which DSN a program gives to its Sentry SDK.
#[utoipa::path(get, path = "/api/v1/errors/dsn", tag = "errors",
    params(("service" = Option<String>, Query, description = "the service, as `error_tracking.projects` names it"),
        ("project" = Option<u64>, Query, description = "the number of the project: 1 if neither is given")),
    responses((status = 200, body = Dsn), (status = 400, body = crate::http::error::ErrorBody), (status = 404, body = crate::http::error::ErrorBody)))]
async fn dsn(State(api): State<SentryApi>, params: Params) -> Result<axum::Json<Dsn>, ApiError> {
    params.only(&["service", "project"])?;
    let projects = &api.own.projects;
    let project = match (params.one("service"), params.one("project")) {
        (Some(_), Some(_)) => return Err(ApiError::bad_request("`service`: not beside `project`")),
        (Some(service), None) => {
            let found = projects.iter().find(|(_, name)| *name == service).map(|(project, _)| *project);
            let free = (1..=projects.len() as u64 + 1).find(|number| !projects.contains_key(number)).unwrap_or(1);
            found.ok_or_else(|| {
                let add = format!("add `\"{free}\": \"{service}\"` to `error_tracking.projects` of the configuration");
                ApiError::not_found(format!(
                    "no project belongs to `{service}`: {add}, or use any project and send the tag `service`"
                ))
            })?
        }
        (None, _) => params.number("project", 1, u64::MAX)?,
    };
    let address = url::Url::parse(&api.own.external_url).ok();
    let mut address = address.ok_or_else(|| ApiError::bad_request("server.external_url is no address that a DSN can have"))?;
    // What it is given is 32 hexadecimal digits, and http takes a user.
    let _ = address.set_username(api.own.key.as_str());
    let dsn = format!("{}/{project}", address.as_str().trim_end_matches('/'));
    let service = projects.get(&project).cloned().unwrap_or_default();
    Ok(axum::Json(Dsn { dsn, project, service, key: api.own.key.as_str().to_owned() }))
}

/// Tells a browser that any page may send here: what a page knows is the DSN's key, which is looked at with what it sends.
async fn preflight(headers: HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let allowed = HeaderValue::from_static(
        "content-type, content-encoding, x-sentry-auth, authorization, sentry-trace, baggage, traceparent",
    );
    let answer = response.headers_mut();
    answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST, OPTIONS"));
    // What a page wants to send is of no consequence here.
    let asked = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.unwrap_or(allowed));
    answer.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("3600"));
    if headers.contains_key("access-control-request-private-network") {
        answer.insert(HeaderName::from_static("access-control-allow-private-network"), HeaderValue::from_static("true"));
    }
    with_cors(response)
}

fn with_cors(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("x-sentry-error, x-sentry-rate-limits, retry-after"),
    );
    response
}

impl SentryApi {
    async fn answer(&self, form: Form, peer: SocketAddr, project: &str, uri: &Uri, headers: &HeaderMap, body: Body) -> Response {
        match self.take(form, peer, project, uri, headers, body).await {
            Ok(id) => with_cors(axum::Json(SentryAnswer { id }).into_response()),
            Err(error) => {
                self.inputs.count_refusal(INPUT, &error);
                with_cors(refusal(error))
            }
        }
    }

    async fn take(
        &self,
        form: Form,
        peer: SocketAddr,
        project: &str,
        uri: &Uri,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<String, ApiError> {
        let project = project
            .parse::<u64>()
            .map_err(|_| ApiError::not_found("a project is a number, such as the 1 of `/api/1/envelope/`"))?;
        let named = auth::key_of(headers, uri);
        // A wrong key is told before its body is read; without one, an envelope may say it in its headers.
        let is_let_in = named.as_deref().is_some_and(|key| self.own.key.is(key));
        let own_rights = if is_let_in { Ok(()) } else { self.own.guard.check(peer.ip(), headers) };
        if let Err(error) = &own_rights
            && (named.is_some() || form != Form::Envelope)
        {
            return Err(forbidden(error, named.is_some()));
        }
        let mut inputs = self.inputs.clone();
        if own_rights.is_err() {
            // Whoever has not said a key yet is not read for long.
            inputs.max_request_bytes = inputs.max_request_bytes.min(MAX_UNKNOWN_BYTES);
        }
        let source = decode::source(project, &self.own, self.inputs.clock.now());
        let budget = inputs.decode_budget();
        let decode = move |bytes: &[u8]| decode::decode(form, bytes, source, budget);
        let decoded = body::read(&inputs, INPUT, headers, body, decode).await?.map_err(|error| match error {
            decode::Refused::OverBudget(error) => ApiError::too_large(error.to_string()),
            decode::Refused::Malformed(reason) => ApiError::bad_request(reason),
        })?;
        if let Err(error) = own_rights
            && !decoded.key.as_deref().is_some_and(|key| self.own.key.is(key))
        {
            return Err(forbidden(&error, decoded.key.is_some()));
        }
        // A task of its own: whoever hangs up meanwhile sends the same again, and by then it must be known whether it is stored.
        let api = self.clone();
        match tokio::spawn(async move { api.store_once(project, decoded).await }).await {
            Ok(outcome) => outcome,
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(refused(StoreError::Closed.into())),
            },
        }
    }

    /// Stores what a request holds, unless its event is stored already: then all of it came before.
    async fn store_once(&self, project: u64, decoded: Decoded) -> Result<String, ApiError> {
        let Some(id) = decoded.event.clone() else { return self.store(decoded).await };
        let Some(claim) = self.own.seen.claim(project, &id).await else {
            self.inputs.self_metrics.counter("watchfire_sentry_repeated_events_total", &[]).inc();
            return Ok(id);
        };
        let outcome = self.store(decoded).await;
        if outcome.is_ok() {
            claim.stored();
        }
        outcome
    }

    async fn store(&self, decoded: Decoded) -> Result<String, ApiError> {
        let (mut accepted, mut rejected) = (0, decoded.refused);
        if !decoded.batch.is_empty() {
            let stored = self.store_patiently(decoded.batch).await.map_err(refused)?;
            accepted += stored.accepted;
            rejected += stored.rejected;
        }
        if !decoded.points.is_empty() {
            // Sessions are counts beside errors: what cannot be counted at present must not cost an event.
            match self.inputs.metrics.ingest(decoded.points).await {
                Ok(stored) => rejected += stored.rejected,
                Err(_) => rejected += 1,
            }
        }
        self.inputs.count(INPUT, accepted, rejected);
        let metrics = &self.inputs.self_metrics;
        for (kind, count) in decoded.kinds {
            metrics.counter("watchfire_sentry_items_total", &[("type", kind)]).add(count);
        }
        for (reason, category, count) in decoded.losses {
            metrics.counter("watchfire_sentry_lost_by_client_total", &[("category", category), ("reason", reason)]).add(count);
        }
        if !decoded.reason.is_empty() {
            tracing::debug!(reason = %decoded.reason, "part of an envelope could not be read");
        }
        Ok(decoded.id)
    }

    /// Stores `batch`; waits a while for a queue that is full.
    async fn store_patiently(&self, batch: LogBatch) -> Result<crate::store::Accepted, IngestError> {
        let end = tokio::time::Instant::now() + self.own.patience;
        loop {
            match self.inputs.logs.ingest(batch.clone(), Vec::new()).await {
                Err(IngestError::Busy { retry_after, reason }) if tokio::time::Instant::now() < end => {
                    tracing::debug!(?retry_after, reason, "an event waits for the store");
                    tokio::time::sleep(PAUSE).await;
                }
                outcome => return outcome,
            }
        }
    }
}

/// What somebody without the right key is told.
fn forbidden(error: &ApiError, has_key: bool) -> ApiError {
    let what = if has_key { "the key of the DSN is wrong" } else { "the request names no key" };
    ApiError::forbidden(format!("{what}: `watchfire errors dsn` prints the DSN ({})", error.message()))
}

/// Returns `error` as SDKs understand it: they know 429 and its headers where others know 503.
fn refusal(error: ApiError) -> Response {
    let said: String = error.message().chars().filter(char::is_ascii).take(300).collect();
    let after = error.retry_after().map(|after| after.as_secs().max(1));
    let mut response = error.into_response();
    if let Ok(said) = HeaderValue::from_str(&said) {
        response.headers_mut().insert("x-sentry-error", said);
    }
    if let Some(seconds) = after {
        *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        // All categories, everything of this host.
        if let Ok(limits) = HeaderValue::from_str(&format!("{seconds}::organization:busy")) {
            response.headers_mut().insert("x-sentry-rate-limits", limits);
        }
    }
    response
}

/// Returns whether a request is one that the guard leaves to these paths.
#[must_use]
pub fn is_left_to_us(method: &Method, path: &str) -> bool {
    (method == Method::POST || method == Method::OPTIONS) && is_endpoint(path)
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;
    use crate::inputs::testing::Host;

    const EVENT: &str = "{}\n{\"type\":\"event\"}\n{\"message\":\"it failed\"}";

    async fn send(host: &Host, path: &str, peer: [u8; 4], body: &str) -> Response {
        let mut request = Request::post(path).header(header::HOST, "localhost:3473").body(Body::from(body.to_owned())).unwrap();
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from((peer, 5))));
        host.send(request).await
    }

    fn header<'a>(response: &'a Response, name: &str) -> &'a str {
        response.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }

    #[tokio::test]
    async fn a_full_store_is_waited_for_and_then_told_in_the_words_of_sdks() {
        let host = Host::new(1 << 20);
        host.busy(Some(Duration::from_secs(7)));
        let refused = send(&host, "/api/1/envelope/", [127, 0, 0, 1], EVENT).await;
        assert_eq!(refused.status().as_u16(), 429);
        assert_eq!((header(&refused, "retry-after"), header(&refused, "x-sentry-rate-limits")), ("7", "7::organization:busy"));
        assert_eq!(host.records().len(), 0);
        host.busy(None);
        assert_eq!(send(&host, "/api/1/envelope/", [127, 0, 0, 1], EVENT).await.status(), 200);
        assert_eq!(host.records().len(), 1);
    }

    #[tokio::test]
    async fn another_machine_needs_the_key() {
        let host = Host::new(1 << 20);
        let from = [10, 0, 0, 9];
        assert_eq!(send(&host, "/api/1/envelope/", from, EVENT).await.status(), 403);
        assert_eq!(send(&host, "/api/1/store/?sentry_key=x", from, "{}").await.status(), 403);
        let key = crate::inputs::testing::sentry().key;
        assert_eq!(send(&host, &format!("/api/1/envelope/?sentry_key={}", key.as_str()), from, EVENT).await.status(), 200);
        let dsn = EVENT.replacen("{}", &format!("{{\"dsn\":\"https://{}@mon.example/1\"}}", key.as_str()), 1);
        assert_eq!(send(&host, "/api/1/envelope/", from, &dsn).await.status(), 200);
        assert_eq!(host.records().len(), 2);
    }

    #[test]
    fn only_what_takes_events_looks_at_its_callers_itself() {
        let is_left = |method: &Method, path: &str| is_left_to_us(method, path);
        assert!(is_left(&Method::POST, "/api/1/envelope/") && is_left(&Method::OPTIONS, "/api/12/store"));
        for path in
            ["/api/v1/issues", "/api/1/issues/", "/api/1/envelope/x", "/api/0/organizations/", "/api/v1/errors/dsn", "/api/1/"]
        {
            assert!(!is_left(&Method::POST, path), "{path}");
        }
        assert!(!is_left(&Method::GET, "/api/1/envelope/"));
    }
}
