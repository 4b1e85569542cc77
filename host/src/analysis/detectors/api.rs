//! What is unusual, over HTTP.

use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use std::sync::atomic::Ordering;
use std::time::Duration;
use watchfire_anomalies::Detector;
use watchfire_types::Timestamp;

use super::types::{AnomalyView, EvidenceView, ExpectedView, SourceView};
use super::{store, texts};
use crate::analysis::Analysis;
use crate::http::{ApiError, Params};

/// Hours that are shown if nobody says how many.
const DEFAULT_HOURS: u64 = 24;
/// Most of them.
const MAX_HOURS: u64 = 24 * 366;
const MAX_ROWS: u32 = 10_000;
const DEFAULT_ROWS: u32 = 1_000;
/// Sources whose readiness is told.
const MAX_SOURCES: usize = 200;

/// Returns the routes of what is unusual.
pub fn routes(analysis: Analysis) -> Router {
    Router::new()
        .route("/api/v1/anomalies", get(list))
        .route("/api/v1/anomalies/{id}", get(show))
        .route("/api/v1/anomalies/{id}/ignore", post(ignore))
        .route("/api/v1/anomalies/{id}/unignore", post(unignore))
        .with_state(analysis)
}

/// Documentation of these paths.
#[derive(utoipa::OpenApi)]
#[openapi(paths(list, show, ignore, unignore), components(schemas(EvidenceView, ExpectedView)))]
pub struct ApiDoc;

/// What is unusual.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AnomalyList {
    /// The newest first.
    pub anomalies: Vec<AnomalyView>,
    /// Whether the detectors run.
    pub running: bool,
    /// Up to here windows are judged; `null` while the detectors do not run.
    pub judged_until: Option<Timestamp>,
    /// What is known of each source, and which detectors judge it.
    pub sources: Vec<SourceView>,
}

/// Lists what was unusual in the last hours, and which sources are judged.
#[utoipa::path(get, path = "/api/v1/anomalies", tag = "analysis", params(
    ("hours" = Option<u64>, Query, description = "how many hours back: 24 if not given"),
    ("detector" = Option<String>, Query, description = "only of this one: new_pattern, format_changed, rate, silence, burst, error_ratio"),
    ("source" = Option<String>, Query, description = "only of this service.name"),
    ("ignored" = Option<bool>, Query, description = "whether ignored ones are listed, too; default false"),
    ("limit" = Option<u32>, Query, description = "most rows: 1000 if not given, up to 10,000")),
    responses((status = 200, body = AnomalyList), (status = 400, body = crate::http::error::ErrorBody)))]
async fn list(State(analysis): State<Analysis>, params: Params) -> Result<Json<AnomalyList>, ApiError> {
    params.only(&["hours", "detector", "source", "ignored", "limit"])?;
    let hours = params.number("hours", DEFAULT_HOURS, MAX_HOURS)?;
    let limit = params.number("limit", DEFAULT_ROWS, MAX_ROWS)?;
    let detector = match params.one("detector") {
        None => None,
        Some(name) => Some(Detector::from_name(name).ok_or_else(|| {
            let names: Vec<&str> = Detector::ALL.iter().map(|detector| detector.name()).collect();
            ApiError::bad_request(format!("`detector`: `{name}` is none of {}", names.join(", ")))
        })?),
    };
    let ignored = match params.one("ignored") {
        None | Some("false") => false,
        Some("true") => true,
        Some(other) => return Err(ApiError::bad_request(format!("`ignored`: expected true or false, found `{other}`"))),
    };
    let source = params.one("source").map(ToOwned::to_owned);
    let now = analysis.0.clock.now();
    let since = now.minus(Duration::from_secs(hours * 3_600));
    let work = move || {
        let found = analysis.anomalies(since, Timestamp::MAX, MAX_ROWS)?;
        let wanted = |found: &store::StoredAnomaly| {
            detector.is_none_or(|detector| found.entry.anomaly.detector == detector)
                && source.as_ref().is_none_or(|source| *source == found.source)
                && (ignored || !found.muted)
        };
        let anomalies = found.into_iter().filter(wanted).take(limit as usize).map(texts::view).collect();
        let state = analysis.detectors().state();
        let sources = analysis.sources(MAX_SOURCES)?;
        Ok::<_, crate::store::StoreError>(AnomalyList {
            anomalies,
            running: state.is_some(),
            judged_until: state.map(|state| state.judged),
            sources,
        })
    };
    let list = tokio::task::spawn_blocking(work).await.map_err(|error| ApiError::internal(&error))?;
    Ok(Json(list?))
}

/// Shows one.
#[utoipa::path(get, path = "/api/v1/anomalies/{id}", tag = "analysis", params(("id" = String, Path, description = "its id")),
    responses((status = 200, body = AnomalyView), (status = 404, body = crate::http::error::ErrorBody)))]
async fn show(State(analysis): State<Analysis>, Path(id): Path<String>) -> Result<Json<AnomalyView>, ApiError> {
    let number = number(&id)?;
    let found = analysis.0.database.read(move |connection| store::anomaly(connection, number)).await?;
    found.map(|found| Json(texts::view(found))).ok_or_else(|| unknown(&id))
}

/// Lets nothing of this kind be found any more: of this detector, about this pattern or source.
#[utoipa::path(post, path = "/api/v1/anomalies/{id}/ignore", tag = "analysis", params(("id" = String, Path, description = "its id")),
    responses((status = 200, body = AnomalyView), (status = 404, body = crate::http::error::ErrorBody)))]
async fn ignore(State(analysis): State<Analysis>, Path(id): Path<String>) -> Result<Json<AnomalyView>, ApiError> {
    mute(&analysis, &id, true).await
}

/// Takes back that it is ignored.
#[utoipa::path(post, path = "/api/v1/anomalies/{id}/unignore", tag = "analysis", params(("id" = String, Path, description = "its id")),
    responses((status = 200, body = AnomalyView), (status = 404, body = crate::http::error::ErrorBody)))]
async fn unignore(State(analysis): State<Analysis>, Path(id): Path<String>) -> Result<Json<AnomalyView>, ApiError> {
    mute(&analysis, &id, false).await
}

async fn mute(analysis: &Analysis, id: &str, muted: bool) -> Result<Json<AnomalyView>, ApiError> {
    let (number, now) = (number(id)?, analysis.0.clock.now());
    let found = analysis
        .0
        .database
        .write(move |transaction| {
            let known = store::mute(transaction, number, muted, now)?;
            if known { store::anomaly(transaction, number) } else { Ok(None) }
        })
        .await?;
    analysis.0.detectors.0.mutes_changed.store(true, Ordering::Relaxed);
    found.map(|found| Json(texts::view(found))).ok_or_else(|| unknown(id))
}

fn number(id: &str) -> Result<u64, ApiError> {
    id.parse().map_err(|_| unknown(id))
}

fn unknown(id: &str) -> ApiError {
    let shown: String = id.chars().take(40).collect();
    ApiError::not_found(format!("there is no anomaly `{shown}`; `/api/v1/anomalies` lists those there are"))
}
