//! Findings and analyzers over HTTP.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use watchfire_types::Severity;

use super::Analysis;
use super::store::{self, FindingFilter};
use super::types::{AnalyzerView, FindingView};
use crate::http::{ApiError, Params};

/// Most rows of a list, and how many are given when nobody asks.
const MAX_ROWS: u32 = 10_000;
const DEFAULT_ROWS: u32 = 1_000;

/// What these routes are answered from.
#[derive(Clone)]
struct AnalysisApi {
    analysis: Analysis,
    /// The last position of the log.
    committed: watch::Receiver<u64>,
}

/// Returns the routes of findings and analyzers; `committed` is the last position of the log.
pub fn routes(analysis: Analysis, committed: watch::Receiver<u64>) -> Router {
    Router::new()
        .route("/api/v1/findings", get(list_findings))
        .route("/api/v1/analyzers", get(list_analyzers))
        .with_state(AnalysisApi { analysis, committed })
}

/// Documentation of these paths.
#[derive(utoipa::OpenApi)]
#[openapi(paths(list_findings, list_analyzers))]
pub struct ApiDoc;

/// What analyzers found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FindingList {
    /// Newest first. Findings of one ongoing thing, of which no two are more than an hour apart, are one.
    pub findings: Vec<FindingView>,
}

/// All analyzers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AnalyzerList {
    /// By name.
    pub analyzers: Vec<AnalyzerView>,
}

/// Lists what analyzers found.
#[utoipa::path(get, path = "/api/v1/findings", tag = "analysis", params(
    ("plugin" = Option<String>, Query, description = "only those of this analyzer"),
    ("rule" = Option<String>, Query, description = "only those of this rule of an analyzer"),
    ("severity" = Option<String>, Query, description = "least level: debug, info, warning, error, critical"),
    ("since" = Option<String>, Query, description = "stored from then on: RFC 3339, Unix time, or how long ago (`15m`); default all"),
    ("until" = Option<String>, Query, description = "as `since`, exclusive"),
    ("limit" = Option<u32>, Query, description = "most rows: 1000 if not given, up to 10,000")),
    responses((status = 200, body = FindingList), (status = 400, body = crate::http::error::ErrorBody)))]
async fn list_findings(State(api): State<AnalysisApi>, params: Params) -> Result<Json<FindingList>, ApiError> {
    params.only(&["plugin", "rule", "severity", "since", "until", "limit"])?;
    let (since, until) = params.range(None, api.analysis.0.clock.now())?;
    let severity = match params.one("severity") {
        None => Severity::UNSET,
        Some(text) => Severity::from_text(text).ok_or_else(|| {
            ApiError::bad_request(format!("`severity`: `{text}` is none of debug, info, warning, error, critical"))
        })?,
    };
    let limit = params.number("limit", DEFAULT_ROWS, MAX_ROWS)?;
    let owned = |name: &str| params.one(name).map(ToOwned::to_owned);
    let filter = FindingFilter { plugin: owned("plugin"), rule: owned("rule"), severity: severity.0, since, until };
    let findings = api.analysis.0.database.read(move |connection| store::findings(connection, &filter, limit)).await?;
    Ok(Json(FindingList { findings }))
}

/// Lists analyzers: how far each has read the log, and what it could not take.
#[utoipa::path(get, path = "/api/v1/analyzers", tag = "analysis", responses((status = 200, body = AnalyzerList)))]
async fn list_analyzers(State(api): State<AnalysisApi>) -> Result<Json<AnalyzerList>, ApiError> {
    let end = *api.committed.borrow();
    let views = tokio::task::spawn_blocking(move || api.analysis.views(end)).await.map_err(|error| ApiError::internal(&error))?;
    Ok(Json(AnalyzerList { analyzers: views? }))
}
