//! Rules and alerts as the API shows and takes them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use watchfire_types::{Severity, Timestamp};

use super::types::{Aggregate, Comparison, Condition, Level, NoData, Rule, RuleOrigin};
use super::{annotations, duration};
use crate::delivery::notification::Notification;
use crate::logs::LogFilter;
use crate::logs::types::MAX_TEXT_BYTES;

/// The longest window of a rule.
const MAX_WINDOW: Duration = Duration::from_secs(7 * 86_400);

/// A rule, as in the configuration file. Exactly one of `metric` and `logs` is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleBody {
    /// Unique.
    pub name: String,
    /// Name of a metric, in either spelling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// Labels that the series must have.
    #[serde(rename = "match", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub matching: BTreeMap<String, String>,
    /// Log records that are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs: Option<LogsBody>,
    /// Attributes whose values make separate alerts; for `logs`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub group_by: Vec<String>,
    /// How the value is compared. Default `>`.
    #[serde(default)]
    pub comparison: Comparison,
    /// What it is compared with.
    pub threshold: f64,
    /// How samples become one value; for `metric`. Default `last`.
    #[serde(default)]
    pub aggregate: Aggregate,
    /// How far back the rule looks. Default 5 min.
    #[serde(with = "duration::human", default = "five_minutes")]
    #[schema(value_type = String)]
    pub window: Duration,
    /// How long the condition must hold before the alert fires. Default 0.
    #[serde(rename = "for", with = "duration::human", default)]
    #[schema(value_type = String)]
    pub hold_for: Duration,
    /// How long the alert goes on firing after the condition last held. Default 0.
    #[serde(with = "duration::human", default)]
    #[schema(value_type = String)]
    pub keep_firing_for: Duration,
    /// How serious it is. Default `WARNING`.
    #[serde(default)]
    pub level: Level,
    /// Overrides `alerting.cooldown`.
    #[serde(with = "duration::optional", default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub cooldown: Option<Duration>,
    /// The only receiver told; by default all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiver: Option<String>,
    /// When data stop coming. Default `keep`.
    #[serde(default)]
    pub no_data: NoData,
    /// Added to each alert.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// For people; `{{value}}` and `{{labels.x}}` are filled in.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Which log records a rule counts: all conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogsBody {
    /// Words and quoted phrases.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// Least level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// `service.name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Attributes and their values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

fn five_minutes() -> Duration {
    Duration::from_secs(300)
}

/// A rule as it is listed.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct RuleView {
    /// The rule.
    #[serde(flatten)]
    pub rule: RuleBody,
    /// Where it was made; only those of the API can be deleted here.
    pub origin: RuleOrigin,
    /// `inactive`, `pending` or `firing`: the worst of its alerts.
    pub state: String,
    /// Its alerts that are pending or firing.
    pub alerts: usize,
    /// What keeps it from working, with the nearest name of a metric that does not exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

impl RuleBody {
    /// Returns `rule` as it stands in a configuration.
    #[must_use]
    pub fn of(rule: &Rule) -> Self {
        let mut body = Self {
            name: rule.name.clone(),
            metric: None,
            matching: BTreeMap::new(),
            logs: None,
            group_by: Vec::new(),
            comparison: rule.comparison,
            threshold: rule.threshold,
            aggregate: Aggregate::default(),
            window: rule.window,
            hold_for: rule.hold_for,
            keep_firing_for: rule.keep_firing_for,
            level: rule.level,
            cooldown: rule.cooldown,
            receiver: rule.receiver.clone(),
            no_data: rule.no_data,
            labels: rule.labels.iter().cloned().collect(),
            annotations: rule.annotations.iter().cloned().collect(),
        };
        match &rule.condition {
            Condition::Metric { name, labels, aggregate } => {
                body.metric = Some(name.clone());
                body.matching = labels.iter().cloned().collect();
                body.aggregate = *aggregate;
            }
            Condition::LogCount { filter, group_by } => {
                body.logs = Some(LogsBody {
                    text: filter.text.clone(),
                    level: filter.level.map(|level| level.name().to_owned()),
                    service: filter.services.first().cloned(),
                    attributes: filter.attributes.iter().cloned().collect(),
                });
                body.group_by.clone_from(group_by);
            }
        }
        body
    }

    /// Returns the checked rule.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn check(self, origin: RuleOrigin) -> Result<Rule, Vec<String>> {
        let mut wrong = Vec::new();
        let mut require = |holds: bool, text: &str| {
            if !holds {
                wrong.push(text.to_owned());
            }
        };
        require(!self.name.trim().is_empty() && self.name.len() <= 200, "name: expected 1 to 200 bytes");
        require(self.threshold.is_finite(), "threshold: expected a finite number");
        require(!self.window.is_zero() && self.window <= MAX_WINDOW, "window: expected more than 0 and at most 7 days");
        require(self.metric.is_some() != self.logs.is_some(), "expected exactly one of `metric` and `logs`");
        require(
            self.metric.is_none() || self.group_by.is_empty(),
            "group_by: only for `logs`; a metric makes one alert per series",
        );
        require(self.logs.is_none() || self.matching.is_empty(), "match: only for `metric`; use `logs.attributes`");
        require(
            self.group_by.len() <= 8 && !self.group_by.iter().any(String::is_empty),
            "group_by: expected at most 8 attribute names",
        );
        let condition = match (self.metric, self.logs) {
            (Some(name), _) => {
                require(!name.is_empty(), "metric: expected a name");
                Condition::Metric { name, labels: self.matching.into_iter().collect(), aggregate: self.aggregate }
            }
            (None, logs) => {
                let logs = logs.unwrap_or_default();
                let level = logs.level.as_deref().map(Severity::from_text);
                require(logs.text.len() <= MAX_TEXT_BYTES, "logs.text: expected at most 4096 bytes");
                require(level != Some(None), "logs.level: expected TRACE, DEBUG, INFO, WARNING, ERROR or CRITICAL");
                let filter = LogFilter {
                    text: logs.text,
                    level: level.flatten(),
                    services: logs.service.into_iter().collect(),
                    attributes: logs.attributes.into_iter().collect(),
                    ..LogFilter::default()
                };
                Condition::LogCount { filter, group_by: self.group_by }
            }
        };
        if !wrong.is_empty() {
            return Err(wrong);
        }
        Ok(Rule {
            name: self.name,
            condition,
            comparison: self.comparison,
            threshold: self.threshold,
            window: self.window,
            hold_for: self.hold_for,
            keep_firing_for: self.keep_firing_for,
            level: self.level,
            cooldown: self.cooldown,
            receiver: self.receiver,
            no_data: self.no_data,
            labels: self.labels.into_iter().collect(),
            annotations: self.annotations.into_iter().collect(),
            origin,
        })
    }
}

/// Returns what people should know of a rule that is accepted nevertheless.
#[must_use]
pub fn warnings(rule: &Rule) -> Vec<String> {
    annotations::problems(rule)
}

/// Returns the rule made through the API that is stored as `body`.
///
/// # Errors
/// What is wrong with it.
pub fn rule_from_json(body: &str) -> Result<Rule, String> {
    let mut deserializer = serde_json::Deserializer::from_str(body);
    let body: RuleBody = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| error.to_string())?;
    body.check(RuleOrigin::Api).map_err(|wrong| wrong.join("; "))
}

/// An alert as it is listed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AlertView {
    /// Its identity: 16 hexadecimal digits.
    pub fingerprint: String,
    /// Name of its rule.
    pub rule: String,
    /// `pending`, `firing` or `resolved`.
    pub state: String,
    /// `INFO`, `WARNING`, `ERROR` or `CRITICAL`.
    pub level: String,
    /// What tells it from other alerts.
    pub labels: BTreeMap<String, String>,
    /// For people.
    pub annotations: BTreeMap<String, String>,
    /// The rule's condition in words.
    pub condition: String,
    /// What the value is compared with.
    pub threshold: f64,
    /// The value last seen.
    pub value: Option<f64>,
    /// Since when it is in this state.
    pub since: Timestamp,
    /// When it last began to fire.
    pub fired_at: Option<Timestamp>,
    /// When it last resolved.
    pub resolved_at: Option<Timestamp>,
}

/// A change of state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct HistoryView {
    /// When.
    pub at: Timestamp,
    /// Which alert.
    pub fingerprint: String,
    /// Name of its rule.
    pub rule: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// How serious it is.
    pub level: String,
    /// The state it changed to: `pending`, `firing`, `resolved`, or `inactive` if it had not fired.
    pub state: String,
    /// The value that made it so.
    pub value: Option<f64>,
    /// Why, in words.
    pub reason: String,
}

/// Why somebody was told, or not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DecisionView {
    /// When it was decided.
    pub at: Timestamp,
    /// The group: receiver and group labels. Empty if nobody is configured to be told.
    pub group_key: String,
    /// `notify` or `suppress`.
    pub decision: String,
    /// `first`, `new_alerts`, `resolved`, `repeat`; or `cooldown`, `already_notified`, `never_notified`, `resolved_not_wanted`, `no_receiver`.
    pub reason: String,
    /// When a suppression ends by itself.
    pub until: Option<Timestamp>,
    /// The notification that lists the alert.
    pub outbox_id: Option<String>,
}

/// A notification in the outbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OutboxView {
    /// Idempotency key.
    pub id: String,
    /// To whom.
    pub receiver: String,
    /// `queued`, `delivered`, `dead`, or `superseded` by a newer one.
    pub state: String,
    /// Attempts so far.
    pub attempts: u32,
    /// When it is tried next, if it is queued.
    pub next_attempt_at: Option<Timestamp>,
    /// When trying ends.
    pub expires_at: Timestamp,
    /// When it was delivered, given up or replaced.
    pub settled_at: Option<Timestamp>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// What it says.
    pub notification: Notification,
    /// What became of each attempt.
    pub receipts: Vec<ReceiptView>,
}

/// What became of an attempt to deliver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReceiptView {
    /// When.
    pub at: Timestamp,
    /// Counts from 1.
    pub attempt: u32,
    /// `delivered`, `retry`, `credentials` or `dead`.
    pub outcome: String,
    /// What the other side said.
    pub detail: String,
}

/// An alert with all that is known of it: why was I told, and why not.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct AlertDetail {
    /// The alert.
    pub alert: AlertView,
    /// Its changes of state, newest first.
    pub history: Vec<HistoryView>,
    /// Who was told of it and who was not, newest first.
    pub decisions: Vec<DecisionView>,
    /// The notifications that list it, newest first, with their receipts.
    pub notifications: Vec<OutboxView>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_reads_back_as_it_is_shown() {
        let metric = r#"{"name": "CPU使用率过高", "metric": "system.cpu_percent", "match": {"device": "sda"}, "comparison": ">",
            "threshold": 80, "aggregate": "avg", "window": "5m", "for": 120, "level": "WARNING", "receiver": "webhook",
            "labels": {"team": "ops"}, "annotations": {"summary": "CPU at {{value}} %"}}"#;
        let logs = r#"{"name": "error burst", "logs": {"level": "ERROR", "service": "api", "attributes": {"k": "v"}},
            "group_by": ["service.name"], "window": "5m", "comparison": ">=", "threshold": 10, "cooldown": "1m"}"#;
        for text in [metric, logs] {
            let rule = rule_from_json(text).unwrap();
            let shown = serde_json::to_string(&RuleBody::of(&rule)).unwrap();
            assert_eq!(rule_from_json(&shown).unwrap(), rule, "{shown}");
        }
        assert_eq!(rule_from_json(metric).unwrap().hold_for, Duration::from_secs(120));
        assert_eq!(rule_from_json(logs).unwrap().cooldown, Some(Duration::from_secs(60)));
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let text = r#"{"name": "", "metric": "a", "logs": {"level": "loud"}, "threshold": 1, "window": 0}"#;
        insta::assert_snapshot!(
            rule_from_json(text).unwrap_err(),
            @"name: expected 1 to 200 bytes; window: expected more than 0 and at most 7 days; expected exactly one of `metric` and `logs`"
        );
        insta::assert_snapshot!(rule_from_json(r#"{"name": "a", "treshold": 1}"#).unwrap_err(), @"treshold: unknown field `treshold`, expected one of `name`, `metric`, `match`, `logs`, `group_by`, `comparison`, `threshold`, `aggregate`, `window`, `for`, `keep_firing_for`, `level`, `cooldown`, `receiver`, `no_data`, `labels`, `annotations` at line 1 column 24");
    }
}
