//! The pull channel over HTTP.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use watchfire_types::Timestamp;

use super::Delivery;
use super::channel::Sender;
use super::pull::{MAX_LEASE, Mailbox, Verdict};
use crate::http::{ApiError, Params};
use crate::nearest::suggestion;

/// How long a question waits for a notification if it does not say, and at most: less than what proxies allow.
const DEFAULT_WAIT: u64 = 25;
const MAX_WAIT: u64 = 55;
const DEFAULT_LEASE: u64 = 30;

#[derive(Clone)]
struct PullApi {
    delivery: Delivery,
    shutdown: CancellationToken,
}

/// Returns the routes of pull channels. Questions that wait end when `shutdown` is cancelled.
pub fn routes(delivery: Delivery, shutdown: CancellationToken) -> Router {
    Router::new()
        .route("/api/v1/pull/channels/{name}/poll", post(poll))
        .route("/api/v1/pull/channels/{name}/acknowledge", post(acknowledge))
        .with_state(PullApi { delivery, shutdown })
}

/// Documentation of these paths.
#[derive(utoipa::OpenApi)]
#[openapi(paths(poll, acknowledge))]
pub struct ApiDoc;

/// What there is for an application that asks.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct PollAnswer {
    /// A notification; `null` if there was none within the time. Ask again at once.
    pub notification: Option<HandedNotification>,
}

/// A notification that was handed out.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct HandedNotification {
    /// What to acknowledge it with.
    pub lease: String,
    /// Until then nobody else gets it; RFC 3339.
    pub leased_until: Timestamp,
    /// Whether somebody only tries the channel.
    pub test: bool,
    /// How often it has been handed out.
    pub attempt: u32,
    /// The notification, in Alertmanager's webhook shape (version 4) with our fields beside. Its `id` is the same each time.
    pub notification: serde_json::Value,
}

/// What an application says of a notification.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Acknowledgement {
    /// With which it was handed out.
    pub lease: String,
    /// Whether the application took it.
    pub delivered: bool,
    /// For the receipt, or what went wrong.
    #[serde(default)]
    pub detail: String,
    /// Not delivered: seconds after which to try again.
    #[serde(default)]
    pub retry_after: Option<u64>,
    /// Not delivered: it will never be.
    #[serde(default)]
    pub never: bool,
}

impl PullApi {
    fn mailbox(&self, name: &str) -> Result<Arc<Mailbox>, ApiError> {
        let pulled = |entry: &super::Entry| match entry.sender.as_deref() {
            Ok(Sender::Pull(channel)) => Some(Arc::clone(channel.mailbox())),
            _ => None,
        };
        let receivers = &self.delivery.0.receivers;
        if let Some(entry) = receivers.get(name) {
            return pulled(entry)
                .ok_or_else(|| ApiError::conflict(format!("receiver `{name}` is no pull channel: it sends by itself")));
        }
        let hint = suggestion(name, receivers.iter().filter(|(_, entry)| pulled(entry).is_some()).map(|(name, _)| name.as_str()));
        Err(ApiError::not_found(format!(
            "there is no receiver `{name}`{hint}: add {{\"name\": \"{name}\", \"pull\": {{}}}} to alerting.receivers"
        )))
    }
}

/// Asks for the next notification of a pull channel, and waits for one.
#[utoipa::path(post, path = "/api/v1/pull/channels/{name}/poll", tag = "alerts", params(
    ("name" = String, Path, description = "the receiver"),
    ("wait" = Option<u64>, Query, description = "seconds to wait for one: 25 if not given, up to 55"),
    ("lease" = Option<u64>, Query, description = "seconds within which it is acknowledged: 30 if not given, 1 to 60")),
    responses(
        (status = 200, body = PollAnswer),
        (status = 404, body = crate::http::error::ErrorBody),
        (status = 409, body = crate::http::error::ErrorBody, description = "The receiver is no pull channel.")))]
async fn poll(State(api): State<PullApi>, Path(name): Path<String>, params: Params) -> Result<Json<PollAnswer>, ApiError> {
    params.only(&["wait", "lease"])?;
    let wait = params.number("wait", DEFAULT_WAIT, MAX_WAIT)?;
    let lease = params.number("lease", DEFAULT_LEASE, MAX_LEASE.as_secs())?.max(1);
    let mailbox = api.mailbox(&name)?;
    let ask = mailbox.ask(Duration::from_secs(wait), Duration::from_secs(lease), &api.delivery.0.clock);
    let handed = tokio::select! {
        handed = ask => handed,
        () = api.shutdown.cancelled() => None,
    };
    let notification = handed.map(|handed| HandedNotification {
        lease: handed.lease,
        leased_until: handed.until,
        test: handed.test,
        attempt: handed.attempt,
        notification: handed.body,
    });
    Ok(Json(PollAnswer { notification }))
}

/// Says what became of a notification that was handed out.
#[utoipa::path(post, path = "/api/v1/pull/channels/{name}/acknowledge", tag = "alerts",
    params(("name" = String, Path, description = "the receiver")), request_body = Acknowledgement,
    responses(
        (status = 204, description = "It is noted."),
        (status = 404, body = crate::http::error::ErrorBody),
        (status = 409, body = crate::http::error::ErrorBody, description = "The lease is over: the notification is handed out again.")))]
async fn acknowledge(State(api): State<PullApi>, Path(name): Path<String>, body: Bytes) -> Result<StatusCode, ApiError> {
    let said: Acknowledgement = serde_json::from_slice(&body)
        .map_err(|error| ApiError::bad_request(format!("expected an acknowledgement in JSON: {error}")))?;
    let mailbox = api.mailbox(&name)?;
    let detail = |default: &str| if said.detail.trim().is_empty() { default.to_owned() } else { said.detail.clone() };
    let verdict = match (said.delivered, said.never) {
        (true, _) => Verdict::Taken(detail("taken by the application")),
        (false, true) => Verdict::Never(detail("refused by the application")),
        (false, false) => Verdict::Later(said.retry_after.map(Duration::from_secs), detail("not taken by the application")),
    };
    if mailbox.acknowledge(&said.lease, verdict) {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(ApiError::conflict("this lease is over: the notification is handed out again, or has been taken"))
}
