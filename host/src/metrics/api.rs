//! Metrics over HTTP: names, samples, the text exposition, the export, the health summary.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use watchfire_types::Timestamp;

use super::exposition::{self, Exposed};
use super::health::{self, Health};
use super::{MetricInfo, Metrics, SeriesData};
use crate::clock::Clock;
use crate::http::ApiError;
use crate::http::Params;
use crate::http::error::ErrorBody;
use crate::telemetry::SelfMetrics;

/// A series that got nothing for so long is not exposed, as Prometheus forgets it after as long.
const EXPOSED_FOR: Duration = Duration::from_secs(300);
/// Where a query begins that does not say.
const DEFAULT_RANGE: Duration = Duration::from_secs(3600);
/// Samples per series of a query that does not say.
const DEFAULT_LIMIT: usize = 1000;
/// Most samples per series of one query.
const MAX_LIMIT: usize = 100_000;

/// What the handlers need.
#[derive(Clone)]
pub struct MetricsApi {
    /// The engine.
    pub metrics: Metrics,
    /// The host's own series, for `/metrics`.
    pub self_metrics: SelfMetrics,
    /// The clock.
    pub clock: Clock,
    /// Returns the number of alerts that fire, for the health summary.
    pub alerts_firing: Arc<dyn Fn() -> usize + Send + Sync>,
}

/// The documentation of this module's paths.
#[derive(utoipa::OpenApi)]
#[openapi(
    paths(list, query, expose, export, show_health),
    components(schemas(super::export::ExportedSample, health::HealthStatus, health::NetworkIo))
)]
pub struct ApiDoc;

/// Returns the routes.
pub fn routes(state: MetricsApi) -> Router {
    Router::new()
        .route("/api/v1/metrics", get(list))
        .route("/api/v1/metrics/query", get(query))
        .route("/api/v1/health", get(show_health))
        .route("/api/v1/export/metrics", get(export))
        .route("/metrics", get(expose))
        .with_state(state)
}

/// All metric names.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MetricList {
    /// By name.
    pub metrics: Vec<MetricInfo>,
}

/// The samples of a query.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct QueryAnswer {
    /// The series that have samples in the range.
    pub series: Vec<SeriesData>,
    /// Whether older samples of the range were left out because of `limit`.
    pub truncated: bool,
    /// Why there is nothing, if so.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hint: Option<String>,
}

/// Lists all metrics.
#[utoipa::path(get, path = "/api/v1/metrics", tag = "metrics", responses((status = 200, body = MetricList)))]
async fn list(State(state): State<MetricsApi>) -> Json<MetricList> {
    Json(MetricList { metrics: state.metrics.names_with_info() })
}

/// Returns samples of one metric.
#[utoipa::path(
    get,
    path = "/api/v1/metrics/query",
    tag = "metrics",
    params(
        ("name" = String, Query, description = "Metric name, in either spelling"),
        ("label" = Option<Vec<String>>, Query, description = "`key=value`; may be repeated"),
        ("since" = Option<String>, Query, description = "RFC 3339, Unix time, or a duration back from now; default `1h`"),
        ("until" = Option<String>, Query, description = "As `since`; default now"),
        ("limit" = Option<usize>, Query, description = "Newest samples per series; default 1000, at most 100000"),
    ),
    responses(
        (status = 200, body = QueryAnswer),
        (status = 400, body = ErrorBody),
        (status = 404, description = "No such metric; the message names the nearest", body = ErrorBody),
    )
)]
async fn query(State(state): State<MetricsApi>, params: Params) -> Result<Json<QueryAnswer>, ApiError> {
    params.only(&["name", "label", "since", "until", "limit"])?;
    let name = params.one("name").ok_or_else(|| ApiError::bad_request("`name` is missing: which metric?"))?;
    let labels = params.pairs("label")?;
    let (since, until) = params.range(Some(DEFAULT_RANGE), state.clock.now())?;
    let limit = params.number("limit", DEFAULT_LIMIT, MAX_LIMIT)?;
    if limit == 0 {
        return Err(ApiError::bad_request("`limit`: expected at least 1"));
    }
    let found = state.metrics.query(name, &labels, since, until, limit + 1).await?;
    let mut series = found.ok_or_else(|| unknown(&state.metrics, name))?;
    let mut truncated = false;
    for data in &mut series {
        let excess = data.samples.len().saturating_sub(limit);
        truncated |= excess > 0;
        data.samples.drain(..excess);
    }
    let hint = if series.is_empty() { Some(why_empty(&state.metrics, name, &labels).await?) } else { None };
    Ok(Json(QueryAnswer { series, truncated, hint }))
}

fn unknown(metrics: &Metrics, name: &str) -> ApiError {
    let shown: String = name.chars().take(200).collect();
    ApiError::not_found(match metrics.nearest_name(name) {
        Some(nearest) => format!("there is no metric `{shown}`: did you mean `{nearest}`?"),
        None => format!("there is no metric `{shown}`; `/api/v1/metrics` lists all"),
    })
}

/// Says which time range has data, or which labels there are.
async fn why_empty(metrics: &Metrics, name: &str, labels: &[(String, String)]) -> Result<String, ApiError> {
    let all = metrics.query(name, &[], Timestamp::ZERO, Timestamp::MAX, MAX_LIMIT).await?.unwrap_or_default();
    let matching: Vec<&SeriesData> = all.iter().filter(|data| super::engine::has_labels(&data.series, labels)).collect();
    if let Some(other) = all.first().filter(|_| matching.is_empty()) {
        let series = if all.len() == 1 { "the only one is".to_owned() } else { format!("one of {} is", all.len()) };
        return Ok(format!("no series of `{name}` has these labels; {series} {}", other.series));
    }
    let first = matching.iter().filter_map(|data| data.samples.first()).map(|sample| sample.timestamp).min();
    let last = matching.iter().filter_map(|data| data.samples.last()).map(|sample| sample.timestamp).max();
    Ok(match (first, last) {
        (Some(first), Some(last)) => format!("there are samples from {first} to {last}, none in the range asked for"),
        _ => format!("`{name}` has no samples any more"),
    })
}

/// Exposes the newest value of every live series to Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "metrics",
    responses((status = 200, description = "Prometheus text format 0.0.4", content_type = "text/plain", body = String))
)]
async fn expose(State(state): State<MetricsApi>) -> Response {
    let own = state.self_metrics.snapshot();
    let mut series: Vec<Exposed> =
        own.into_iter().map(|(key, kind, value)| Exposed { key, kind, unit: String::new(), value }).collect();
    // Newest first: where two spellings meet in one name, the one still written to stands.
    let mut latest = state.metrics.latest(state.clock.now().minus(EXPOSED_FOR));
    latest.sort_by_key(|(_, _, _, sample)| std::cmp::Reverse(sample.timestamp));
    series.extend(latest.into_iter().map(|(key, kind, unit, sample)| Exposed {
        key: Arc::unwrap_or_clone(key),
        kind,
        unit,
        value: sample.value,
    }));
    ([(header::CONTENT_TYPE, exposition::CONTENT_TYPE)], exposition::render(&series)).into_response()
}

/// Streams all samples: day of arrival by day, oldest first, within a day series by series.
#[utoipa::path(
    get,
    path = "/api/v1/export/metrics",
    tag = "metrics",
    params(
        ("since" = Option<String>, Query, description = "RFC 3339, Unix time, or a duration back from now; default all"),
        ("until" = Option<String>, Query, description = "As `since`; default all"),
    ),
    responses(
        (status = 200, description = "One sample a line", content_type = "application/x-ndjson", body = super::export::ExportedSample),
        (status = 400, body = ErrorBody),
    )
)]
async fn export(State(state): State<MetricsApi>, params: Params) -> Result<Response, ApiError> {
    let (since, until) = params.only(&["since", "until"])?.range(None, state.clock.now())?;
    let body = Body::from_stream(state.metrics.export(since, until));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

/// Summarises the machine's health.
#[utoipa::path(get, path = "/api/v1/health", tag = "metrics", responses((status = 200, body = Health)))]
async fn show_health(State(state): State<MetricsApi>) -> Json<Health> {
    Json(health::health(&state.metrics, state.clock.now(), (state.alerts_firing)()))
}

#[cfg(test)]
#[path = "api_tests.rs"]
mod tests;
