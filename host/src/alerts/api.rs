//! Rules, alerts and the outbox over HTTP.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use watchfire_types::Timestamp;

use super::types::{AlertState, Rule, RuleOrigin};
use super::view::{self, AlertDetail, AlertView, OutboxView, RuleBody, RuleView};
use super::{Alerts, duration, query, store};
use crate::http::ApiError;

/// Most rows of a list, and how many are given when nobody asks.
const MAX_ROWS: u32 = 10_000;
const DEFAULT_ROWS: u32 = 1_000;
/// Rows read at a time by an export.
const PAGE: u32 = 1_000;

/// Returns the routes of rules, alerts, outbox and export.
pub fn routes(alerts: Alerts) -> Router {
    Router::new()
        .route("/api/v1/rules", get(list_rules).post(create_rule))
        .route("/api/v1/rules/{name}", delete(delete_rule))
        .route("/api/v1/alerts", get(list_alerts))
        .route("/api/v1/alerts/{fingerprint}", get(show_alert))
        .route("/api/v1/export/alerts", get(export_alerts))
        .route("/api/v1/outbox", get(list_outbox))
        .with_state(alerts)
}

/// Documentation of these paths.
#[derive(utoipa::OpenApi)]
#[openapi(paths(list_rules, create_rule, delete_rule, list_alerts, show_alert, export_alerts, list_outbox))]
pub struct ApiDoc;

/// All rules.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct RuleList {
    /// In the order of the configuration, those of the API last.
    pub rules: Vec<RuleView>,
}

/// Alerts.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct AlertList {
    /// Firing ones first, then pending, then resolved.
    pub alerts: Vec<AlertView>,
}

/// Notifications.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct OutboxList {
    /// Newest first.
    pub notifications: Vec<OutboxView>,
}

/// Which rows of a list.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// Only those in this state.
    pub state: Option<String>,
    /// At most so many.
    pub limit: Option<u32>,
}

/// A range of time.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub struct RangeQuery {
    /// From then on: RFC 3339, seconds since 1970, or a duration back from now.
    pub since: Option<String>,
    /// Until then, exclusive.
    pub until: Option<String>,
}

impl ListQuery {
    /// Returns the state, which must be one of `states`.
    fn state(&self, states: &[&str]) -> Result<Option<String>, ApiError> {
        match &self.state {
            Some(state) if !states.contains(&state.as_str()) => {
                Err(ApiError::bad_request(format!("state: `{state}` is not one of {}", states.join(", "))))
            }
            state => Ok(state.clone()),
        }
    }

    fn limit(&self) -> u32 {
        self.limit.unwrap_or(DEFAULT_ROWS).min(MAX_ROWS)
    }
}

/// Reads a point in time, or a duration back from `now`.
fn moment(name: &str, text: &str, now: Timestamp) -> Result<Timestamp, ApiError> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let back = duration::parse(text);
    let expected = "expected RFC 3339, seconds since 1970, or a duration back from now such as `15m`";
    back.map(|back| now.minus(back)).map_err(|_| ApiError::bad_request(format!("{name}: `{text}` is not a time: {expected}")))
}

impl Alerts {
    fn view(&self, rule: &Rule) -> RuleView {
        let live = self.0.live.read();
        let alerts: Vec<_> = live.alerts.values().filter(|alert| alert.rule == rule.name).collect();
        let firing = alerts.iter().any(|alert| matches!(alert.state, AlertState::Firing { .. }));
        let state = match (firing, alerts.is_empty()) {
            (true, _) => "firing",
            (_, false) => "pending",
            _ => "inactive",
        };
        let failures = live.failures.iter().filter(|failure| failure.rule == rule.name);
        let mut warnings: Vec<String> = failures.map(|failure| failure.problem.to_string()).collect();
        warnings.extend(view::warnings(rule));
        RuleView {
            rule: RuleBody::of(rule),
            origin: rule.origin,
            state: state.to_owned(),
            alerts: alerts.len(),
            warning: (!warnings.is_empty()).then(|| warnings.join("; ")),
        }
    }

    /// Takes a rule made through the API.
    ///
    /// # Errors
    /// 409 if the name is taken, or the store's.
    pub async fn add_rule(&self, rule: Rule) -> Result<(), ApiError> {
        if let Some(known) = self.rules().iter().find(|known| known.name == rule.name) {
            return Err(ApiError::conflict(format!("rule `{}` exists already: it {}", rule.name, place(known.origin))));
        }
        let body = serde_json::to_string(&RuleBody::of(&rule)).map_err(|error| ApiError::internal(&error))?;
        let (name, now) = (rule.name.clone(), self.0.clock.now());
        if !self.0.database.write(move |transaction| store::insert_rule(transaction, &name, &body, now)).await? {
            return Err(ApiError::conflict(format!("rule `{}` exists already", rule.name)));
        }
        self.0.rules.send_modify(|rules| {
            let mut all = rules.as_ref().clone();
            all.push(rule);
            *rules = Arc::new(all);
        });
        Ok(())
    }

    /// Deletes a rule made through the API. Its alerts resolve.
    ///
    /// # Errors
    /// 404 if there is none, 409 if it was not made through the API.
    pub async fn remove_rule(&self, name: &str) -> Result<(), ApiError> {
        let Some(origin) = self.rules().iter().find(|rule| rule.name == name).map(|rule| rule.origin) else {
            return Err(ApiError::not_found(format!("there is no rule `{name}`")));
        };
        if origin != RuleOrigin::Api {
            return Err(ApiError::conflict(format!("rule `{name}` cannot be deleted here: it {}", place(origin))));
        }
        let owned = name.to_owned();
        self.0.database.write(move |transaction| store::delete_rule(transaction, &owned)).await?;
        self.0.rules.send_modify(|rules| {
            *rules = Arc::new(rules.iter().filter(|rule| rule.name != name).cloned().collect());
        });
        Ok(())
    }
}

fn place(origin: RuleOrigin) -> &'static str {
    match origin {
        RuleOrigin::Starter => "is a starter rule (`alerting.starter_rules: false` switches them off)",
        RuleOrigin::File => "stands in the configuration file, under `alerting.rules`",
        RuleOrigin::Api => "was made through the API",
    }
}

/// Lists all rules.
#[utoipa::path(get, path = "/api/v1/rules", tag = "alerts", responses((status = 200, body = RuleList)))]
async fn list_rules(State(alerts): State<Alerts>) -> Json<RuleList> {
    let rules = alerts.rules();
    Json(RuleList { rules: rules.iter().map(|rule| alerts.view(rule)).collect() })
}

/// Makes a rule. It is evaluated at once.
#[utoipa::path(post, path = "/api/v1/rules", tag = "alerts", request_body = RuleBody, responses(
    (status = 201, body = RuleView),
    (status = 400, body = crate::http::error::ErrorBody, description = "The rule is wrong."),
    (status = 409, body = crate::http::error::ErrorBody, description = "There is a rule of this name.")))]
async fn create_rule(State(alerts): State<Alerts>, body: Bytes) -> Result<Response, ApiError> {
    let text = std::str::from_utf8(&body).map_err(|_| ApiError::bad_request("expected JSON in UTF-8"))?;
    let rule = view::rule_from_json(text).map_err(ApiError::bad_request)?;
    if let Some(receiver) = &rule.receiver {
        let names: Vec<&str> = alerts.0.settings.alerting.receivers.iter().map(|receiver| receiver.name.as_str()).collect();
        if !names.contains(&receiver.as_str()) {
            let nearest = names.iter().min_by_key(|name| strsim::levenshtein(name, receiver));
            let hint = nearest.map(|name| format!(": did you mean `{name}`?")).unwrap_or_default();
            return Err(ApiError::bad_request(format!("receiver: no receiver is named `{receiver}`{hint}")));
        }
    }
    alerts.add_rule(rule.clone()).await?;
    Ok((StatusCode::CREATED, Json(alerts.view(&rule))).into_response())
}

/// Deletes a rule that was made through the API. Its alerts resolve.
#[utoipa::path(delete, path = "/api/v1/rules/{name}", tag = "alerts", params(("name" = String, Path,)), responses(
    (status = 204),
    (status = 404, body = crate::http::error::ErrorBody),
    (status = 409, body = crate::http::error::ErrorBody, description = "It was not made through the API.")))]
async fn delete_rule(State(alerts): State<Alerts>, Path(name): Path<String>) -> Result<StatusCode, ApiError> {
    alerts.remove_rule(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists alerts.
#[utoipa::path(get, path = "/api/v1/alerts", tag = "alerts", params(ListQuery), responses((status = 200, body = AlertList)))]
async fn list_alerts(State(alerts): State<Alerts>, Query(list): Query<ListQuery>) -> Result<Json<AlertList>, ApiError> {
    let state = list.state(&["pending", "firing", "resolved"])?;
    let limit = list.limit();
    let alerts = alerts.0.database.read(move |connection| query::alerts(connection, state.as_deref(), limit)).await?;
    Ok(Json(AlertList { alerts }))
}

/// Shows one alert: its history, who was told of it and why, who was not and why not, and what became of each notification.
#[utoipa::path(get, path = "/api/v1/alerts/{fingerprint}", tag = "alerts", params(("fingerprint" = String, Path,)), responses(
    (status = 200, body = AlertDetail),
    (status = 404, body = crate::http::error::ErrorBody)))]
async fn show_alert(State(alerts): State<Alerts>, Path(fingerprint): Path<String>) -> Result<Json<AlertDetail>, ApiError> {
    let wanted = fingerprint.clone();
    let detail = alerts.0.database.read(move |connection| query::detail(connection, &wanted)).await?;
    detail
        .map(Json)
        .ok_or_else(|| ApiError::not_found(format!("there is no alert `{fingerprint}`; `GET /api/v1/alerts` lists them")))
}

/// Lists notifications: queued, delivered, dead and superseded.
#[utoipa::path(get, path = "/api/v1/outbox", tag = "alerts", params(ListQuery), responses((status = 200, body = OutboxList)))]
async fn list_outbox(State(alerts): State<Alerts>, Query(list): Query<ListQuery>) -> Result<Json<OutboxList>, ApiError> {
    let state = list.state(&["queued", "delivered", "dead", "superseded"])?;
    let limit = list.limit();
    let notifications = alerts.0.database.read(move |connection| query::outbox(connection, state.as_deref(), limit)).await?;
    Ok(Json(OutboxList { notifications }))
}

/// Streams the changes of state of all alerts as NDJSON, oldest first.
#[utoipa::path(get, path = "/api/v1/export/alerts", tag = "export", params(RangeQuery), responses(
    (status = 200, content_type = "application/x-ndjson", body = view::HistoryView)))]
async fn export_alerts(State(alerts): State<Alerts>, Query(range): Query<RangeQuery>) -> Result<Response, ApiError> {
    let now = alerts.0.clock.now();
    let since = range.since.as_deref().map(|text| moment("since", text, now)).transpose()?.unwrap_or_default();
    let until = range.until.as_deref().map(|text| moment("until", text, now)).transpose()?.unwrap_or(Timestamp::MAX);
    let database = alerts.0.database.clone();
    let pages = futures::stream::try_unfold(Some(0_i64), move |after| {
        let database = database.clone();
        async move {
            let Some(after) = after else { return Ok(None) };
            let (rows, last) = database.read(move |connection| query::history_after(connection, after, since, until, PAGE)).await?;
            let mut text = String::new();
            for row in &rows {
                text.push_str(&serde_json::to_string(row).map_err(std::io::Error::other)?);
                text.push('\n');
            }
            let next = (rows.len() == PAGE as usize).then_some(last);
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(Some((Bytes::from(text), next)))
        }
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(pages)).into_response())
}
