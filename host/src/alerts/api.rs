//! Rules, alerts and the outbox over HTTP.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get};
use axum::{Json, Router};
use serde::Serialize;

use super::types::{AlertState, Rule, RuleOrigin};
use super::view::{AlertDetail, AlertView, GroupView, HistoryView, OutboxView, RuleGroups, RuleView};
use super::{Alerts, annotations, query, store};
use crate::config::RawRule;
use crate::http::stream::ndjson;
use crate::http::{ApiError, Params};

/// Most rows of a list, and how many are given when nobody asks.
const MAX_ROWS: u32 = 10_000;
const DEFAULT_ROWS: u32 = 1_000;
/// Rows read at a time by an export.
const PAGE: u32 = 1_000;
/// Most rules made through the API: every one is evaluated every time.
pub const MAX_API_RULES: usize = 1_000;
/// Longest rule made through the API, in bytes of JSON.
const MAX_RULE_BYTES: usize = 64 * 1024;

/// Returns the routes of rules, alerts, outbox and export.
pub fn routes(alerts: Alerts) -> Router {
    Router::new()
        .route("/api/v1/rules", get(list_rules).post(create_rule))
        .route("/api/v1/rules/{name}", delete(delete_rule))
        .route("/api/v1/rule-groups/{name}", get(show_groups))
        .route("/api/v1/alerts", get(list_alerts))
        .route("/api/v1/alerts/{fingerprint}", get(show_alert))
        .route("/api/v1/export/alerts", get(export_alerts))
        .route("/api/v1/outbox", get(list_outbox))
        .with_state(alerts)
}

/// Documentation of these paths.
#[derive(utoipa::OpenApi)]
#[openapi(paths(list_rules, create_rule, delete_rule, show_groups, list_alerts, show_alert, export_alerts, list_outbox))]
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

/// What a list is asked for: the state its rows must have, and how many rows.
fn list_query(params: &Params, states: &[&'static str]) -> Result<(Option<&'static str>, u32), ApiError> {
    params.only(&["state", "limit"])?;
    Ok((params.word("state", states)?, params.number("limit", DEFAULT_ROWS, MAX_ROWS)?))
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
        let gone = self.receiver_gone(rule).map(|problem| problem.to_string());
        warnings.extend(gone.or_else(|| self.0.settings.alerting.tells_nobody(rule)));
        warnings.extend(annotations::problems(rule));
        RuleView {
            rule: RawRule::from(rule),
            origin: rule.origin,
            state: state.to_owned(),
            alerts: alerts.len(),
            warning: (!warnings.is_empty()).then(|| warnings.join("; ")),
        }
    }

    /// Takes a rule made through the API.
    ///
    /// # Errors
    /// 409 if the name is taken or there are too many, or the store's.
    pub async fn add_rule(&self, rule: Rule) -> Result<(), ApiError> {
        if let Some(known) = self.rules().iter().find(|known| known.name == rule.name) {
            return Err(ApiError::conflict(format!("rule `{}` exists already: it {}", rule.name, place(known.origin))));
        }
        if self.rules().iter().filter(|known| known.origin == RuleOrigin::Api).count() >= MAX_API_RULES {
            return Err(ApiError::conflict(format!(
                "there are {MAX_API_RULES} rules made through the API, and there may be no more: delete some, or write rules into the configuration file"
            )));
        }
        let body = serde_json::to_string(&RawRule::from(&rule)).map_err(|error| ApiError::internal(&error))?;
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
#[utoipa::path(post, path = "/api/v1/rules", tag = "alerts", request_body = RawRule, responses(
    (status = 201, body = RuleView),
    (status = 400, body = crate::http::error::ErrorBody, description = "The rule is wrong."),
    (status = 409, body = crate::http::error::ErrorBody, description = "There is a rule of this name, or there are too many.")))]
async fn create_rule(State(alerts): State<Alerts>, body: Bytes) -> Result<Response, ApiError> {
    if body.len() > MAX_RULE_BYTES {
        return Err(ApiError::bad_request(format!("a rule may have {} KiB, not {} bytes", MAX_RULE_BYTES / 1024, body.len())));
    }
    let json = serde_json::from_slice(&body).map_err(|error| ApiError::bad_request(format!("expected a rule in JSON: {error}")))?;
    let receivers = alerts.0.settings.alerting.receiver_names();
    let rule = RawRule::from_json(json).and_then(|rule| rule.check(&receivers, RuleOrigin::Api));
    let rule = rule.map_err(|problems| ApiError::bad_request(problems.join("; ")))?;
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

/// Shows what a rule that counts has counted within its window, group by group, the greatest first. Rules over metrics have no groups.
#[utoipa::path(get, path = "/api/v1/rule-groups/{name}", tag = "alerts", params(("name" = String, Path,)), responses(
    (status = 200, body = RuleGroups),
    (status = 404, body = crate::http::error::ErrorBody)))]
async fn show_groups(State(alerts): State<Alerts>, Path(name): Path<String>) -> Result<Json<RuleGroups>, ApiError> {
    let rules = alerts.rules();
    let Some(rule) = rules.iter().find(|rule| rule.name == name).cloned() else {
        return Err(ApiError::not_found(format!("there is no rule `{name}`")));
    };
    let warning = alerts.view(&rule).warning;
    // Whoever counts may hold the windows for a while.
    let look = move || {
        let mut windows = alerts.0.windows.lock();
        windows.advance(alerts.0.clock.now());
        let groups = windows.groups(&rule);
        let complete = groups.is_some();
        let mut groups: Vec<GroupView> = groups.unwrap_or_default().iter().map(GroupView::of).collect();
        groups.sort_by(|left, right| right.count.cmp(&left.count).then_with(|| left.labels.cmp(&right.labels)));
        RuleGroups { groups, complete, warning }
    };
    tokio::task::spawn_blocking(look).await.map(Json).map_err(|error| ApiError::internal(&error))
}

/// Lists alerts.
#[utoipa::path(get, path = "/api/v1/alerts", tag = "alerts", params(
    ("state" = Option<String>, Query, description = "only those in this state: pending, firing, resolved"),
    ("limit" = Option<u32>, Query, description = "most rows: 1000 if not given, up to 10,000")),
    responses((status = 200, body = AlertList), (status = 400, body = crate::http::error::ErrorBody)))]
async fn list_alerts(State(alerts): State<Alerts>, params: Params) -> Result<Json<AlertList>, ApiError> {
    let (state, limit) = list_query(&params, &["pending", "firing", "resolved"])?;
    let alerts = alerts.0.database.read(move |connection| query::alerts(connection, state, limit)).await?;
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
#[utoipa::path(get, path = "/api/v1/outbox", tag = "alerts", params(
    ("state" = Option<String>, Query, description = "only those in this state: queued, delivered, dead, superseded"),
    ("limit" = Option<u32>, Query, description = "most rows: 1000 if not given, up to 10,000")),
    responses((status = 200, body = OutboxList), (status = 400, body = crate::http::error::ErrorBody)))]
async fn list_outbox(State(alerts): State<Alerts>, params: Params) -> Result<Json<OutboxList>, ApiError> {
    let (state, limit) = list_query(&params, &["queued", "delivered", "dead", "superseded"])?;
    let notifications = alerts.0.database.read(move |connection| query::outbox(connection, state, limit)).await?;
    Ok(Json(OutboxList { notifications }))
}

/// Streams the changes of state of all alerts as NDJSON, oldest first.
#[utoipa::path(get, path = "/api/v1/export/alerts", tag = "export",
    params(
        ("since" = Option<String>, Query, description = "RFC 3339, Unix time, or how long ago (`15m`); default all"),
        ("until" = Option<String>, Query, description = "as `since`, exclusive")),
    responses(
        (status = 200, content_type = "application/x-ndjson", body = HistoryView, description = "one change a line"),
        (status = 400, body = crate::http::error::ErrorBody)))]
async fn export_alerts(State(alerts): State<Alerts>, params: Params) -> Result<Response, ApiError> {
    let (since, until) = params.only(&["since", "until"])?.range(None, alerts.0.clock.now())?;
    let database = alerts.0.database.clone();
    Ok(ndjson(move |lines| {
        let mut after = 0;
        loop {
            let page = database.read_blocking(move |connection| query::history_after(connection, after, since, until, PAGE))?;
            let (rows, last) = page;
            if rows.is_empty() || !rows.iter().all(|row| lines.push(row)) {
                return Ok(());
            }
            after = last;
        }
    }))
}
