//! `GET /api/v1/status`: each part of the host, whether it works, and what to do if it does not.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use watchfire_types::Timestamp;

use super::ApiError;
use crate::logs::LogStats;

/// Documentation of these paths.
#[derive(utoipa::OpenApi)]
#[openapi(paths(status, healthy, ready))]
pub struct ApiDoc;

/// The host at this moment.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// When it started.
    pub started_at: Timestamp,
    /// Whole seconds since then.
    pub uptime_seconds: u64,
    /// The data directory.
    pub data_dir: String,
    /// Where everything is served.
    pub listen: String,
    /// Where OTLP alone is served, if it is.
    pub otlp_listen: Option<String>,
    /// Where exporters find OTLP by gRPC, if they do.
    pub otlp_grpc_listen: Option<String>,
    /// The worst of all parts.
    pub state: PartState,
    /// Every part.
    pub parts: Vec<Part>,
    /// What the configuration has that is worth a word.
    pub warnings: Vec<String>,
    /// How much log there is.
    pub logs: LogStats,
    /// How many metrics there are.
    pub metrics: MetricStats,
    /// Resident memory of the process, in bytes.
    pub memory_bytes: u64,
}

/// How many metrics there are.
#[derive(Clone, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MetricStats {
    /// Series known.
    pub series: u64,
    /// Bytes on disk.
    pub bytes: u64,
}

/// Whether a part works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PartState {
    /// As it should be.
    Ok,
    /// Switched off, or not built yet.
    Inactive,
    /// Working badly or not at all.
    Degraded,
}

/// A part of the host.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Part {
    /// Its name, as in the configuration where it has a section.
    pub name: String,
    /// Whether it works.
    pub state: PartState,
    /// What it is doing, or what is wrong.
    pub detail: String,
    /// What to do; empty if nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
}

impl Part {
    /// Returns a part in `state`.
    #[must_use]
    pub fn new(name: &str, state: PartState, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { name: name.to_owned(), state, detail: detail.into(), hint: hint.into() }
    }

    /// Returns a part that works.
    #[must_use]
    pub fn ok(name: &str, detail: impl Into<String>) -> Self {
        Self::new(name, PartState::Ok, detail, "")
    }
}

impl Status {
    /// Returns the worst state of `parts`; what is inactive is not bad.
    #[must_use]
    pub fn worst(parts: &[Part]) -> PartState {
        let degraded = parts.iter().any(|part| part.state == PartState::Degraded);
        if degraded { PartState::Degraded } else { PartState::Ok }
    }
}

/// Makes the present status; may block on disk.
pub type StatusSource = Arc<dyn Fn() -> Result<Status, crate::store::StoreError> + Send + Sync>;

/// Returns the routes of status and health probes.
pub fn routes(source: StatusSource) -> Router {
    Router::new()
        .route("/api/v1/status", get(status))
        .route("/-/healthy", get(healthy))
        .route("/-/ready", get(ready))
        .with_state(source)
}

/// Tells how each part of the host is doing.
#[utoipa::path(get, path = "/api/v1/status", tag = "host", responses((status = 200, body = Status)))]
async fn status(State(source): State<StatusSource>) -> Result<Json<Status>, ApiError> {
    let made = tokio::task::spawn_blocking(move || source()).await.map_err(|error| ApiError::internal(&error))?;
    Ok(Json(made?))
}

/// Answers while the process is alive.
#[utoipa::path(get, path = "/-/healthy", tag = "host", responses((status = 200, description = "alive")))]
async fn healthy() -> &'static str {
    "watchfire is alive\n"
}

/// Answers once everything has started.
#[utoipa::path(get, path = "/-/ready", tag = "host", responses((status = 200, description = "ready")))]
async fn ready() -> &'static str {
    "watchfire is ready\n"
}
