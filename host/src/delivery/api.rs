//! Receivers over HTTP.

use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use watchfire_types::Timestamp;

use super::channel::{Outcome, Sender};
use super::outbox::new_id;
use super::progress::Progress;
use super::{Delivery, render};
use crate::http::ApiError;
use crate::nearest::suggestion;

/// Returns the routes of receivers.
pub fn routes(delivery: Delivery) -> Router {
    Router::new()
        .route("/api/v1/receivers", get(list_receivers))
        .route("/api/v1/receivers/{name}/test", post(test_receiver))
        .with_state(delivery)
}

/// Documentation of these paths.
#[derive(utoipa::OpenApi)]
#[openapi(paths(list_receivers, test_receiver))]
pub struct ApiDoc;

/// All receivers.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReceiverList {
    /// By name.
    pub receivers: Vec<ReceiverView>,
}

/// A receiver and how it does.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReceiverView {
    /// Its name in the configuration.
    pub name: String,
    /// `webhook`, `email`, `component` or `pull`.
    pub kind: String,
    /// Where it sends, without secrets.
    pub address: String,
    /// Whether it is told when an alert is over.
    pub send_resolved: bool,
    /// `ok` or `degraded`.
    pub state: String,
    /// What went wrong last, if it is degraded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Failures since the last success.
    pub failures: u32,
    /// The last success since the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivered_at: Option<Timestamp>,
}

/// How a test went.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TestResult {
    /// Which receiver.
    pub receiver: String,
    /// Whether it took the notification.
    pub delivered: bool,
    /// What it answered, or what went wrong.
    pub detail: String,
}

impl Delivery {
    /// Returns all receivers.
    #[must_use]
    pub fn receivers(&self) -> Vec<ReceiverView> {
        let view = |(name, entry): (&String, &super::Entry)| {
            let health = entry.health.lock().clone();
            let sender = entry.sender.as_ref().ok();
            let last_error = sender.and_then(|sender| sender.problem()).or(health.last_error);
            ReceiverView {
                name: name.clone(),
                kind: sender.map_or("unusable", |sender| sender.kind()).to_owned(),
                address: sender.map(|sender: &std::sync::Arc<Sender>| sender.address()).unwrap_or_default(),
                send_resolved: entry.receiver.send_resolved,
                state: if last_error.is_some() { "degraded" } else { "ok" }.to_owned(),
                last_error,
                failures: health.failures,
                delivered_at: health.delivered_at,
            }
        };
        self.0.receivers.iter().map(view).collect()
    }

    /// Sends a test notification to `name` at once, past the outbox. `None` if there is no such receiver.
    pub async fn test(&self, name: &str) -> Option<TestResult> {
        let entry = self.0.receivers.get(name)?;
        let (delivered, detail) = match &entry.sender {
            Err(problem) => (false, problem.clone()),
            Ok(sender) => {
                let now = self.0.clock.now();
                let notification = render::test_notification(new_id(now), name, &self.0.external_url, now);
                match sender.send(&notification, &Progress::default(), now).await {
                    Outcome::Delivered { receipt } => (true, receipt.text),
                    Outcome::Paced { after } => {
                        let seconds = after.as_secs() + 1;
                        (false, format!("the service takes no more requests at present: try again in {seconds} s"))
                    }
                    Outcome::Retry { reason, .. }
                    | Outcome::Unclaimed { reason, .. }
                    | Outcome::Credentials { reason }
                    | Outcome::Never { reason } => (false, reason),
                }
            }
        };
        Some(TestResult { receiver: name.to_owned(), delivered, detail })
    }
}

/// Lists receivers and how they do.
#[utoipa::path(get, path = "/api/v1/receivers", tag = "alerts", responses((status = 200, body = ReceiverList)))]
async fn list_receivers(State(delivery): State<Delivery>) -> Json<ReceiverList> {
    Json(ReceiverList { receivers: delivery.receivers() })
}

/// Sends a test notification to a receiver, at once, and answers what it said.
#[utoipa::path(post, path = "/api/v1/receivers/{name}/test", tag = "alerts", params(("name" = String, Path,)), responses(
    (status = 200, body = TestResult),
    (status = 404, body = crate::http::error::ErrorBody)))]
async fn test_receiver(State(delivery): State<Delivery>, Path(name): Path<String>) -> Result<Json<TestResult>, ApiError> {
    if let Some(result) = delivery.test(&name).await {
        return Ok(Json(result));
    }
    let receivers = delivery.receivers();
    let hint = suggestion(&name, receivers.iter().map(|receiver| receiver.name.as_str()));
    Err(ApiError::not_found(format!("no enabled receiver named `{name}`{hint}")))
}
