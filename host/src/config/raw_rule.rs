//! One alerting rule as written, in the configuration file and in the API alike.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::duration::HumanDuration;
use super::raw::LogLevel;
use super::shape::Shape;
use crate::alerts::types::{Aggregate, Comparison, Condition, Level, NoData, Rule, RuleOrigin};
use crate::logs::LogFilter;
use crate::logs::types::MAX_TEXT_BYTES;
use crate::nearest::suggestion;

/// The longest window: what a rule looks at is read on each evaluation.
const MAX_WINDOW: Duration = Duration::from_secs(7 * 86_400);

/// The longest name.
const MAX_NAME_BYTES: usize = 200;

/// Most attributes in `group_by`.
const MAX_GROUP_BY: usize = 8;

/// The specification's gauges that never leave 0 to 100.
const PERCENTAGES: [&str; 3] = ["system_cpu_percent", "system_memory_percent", "system_disk_usage_percent"];

/// One alerting rule: a metric or a number of log records, compared with a threshold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["name", "threshold"]))]
pub struct RawRule {
    /// Unique name. Required.
    #[schema(required)]
    pub name: String,
    /// Name of the metric, with dots or underscores: one alert per series. Either this or `logs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// Labels that the series must have, with `metric`. Default: any.
    #[serde(rename = "match", skip_serializing_if = "BTreeMap::is_empty")]
    pub matching: BTreeMap<String, String>,
    /// The log records to count. Either this or `metric`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logs: Option<RawLogCondition>,
    /// Attributes whose values make separate alerts, with `logs`. Default: none, one alert.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub group_by: Vec<String>,
    /// How the value is compared with the threshold. Default: `>`.
    pub comparison: Comparison,
    /// What the value is compared with. Required.
    #[schema(required)]
    pub threshold: Option<f64>,
    /// What the samples of the window become, with `metric`. Default: `last`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aggregate: Option<Aggregate>,
    /// How far back the condition looks. Log records count by their arrival here; those whose event is more than an hour older than the window do not count. Default: `5m`.
    pub window: HumanDuration,
    /// How long it must hold before the alert fires. Default: `0s`.
    #[serde(rename = "for")]
    pub hold_for: HumanDuration,
    /// How long the alert goes on firing after the condition last held. Default: `0s`.
    pub keep_firing_for: HumanDuration,
    /// How serious it is. Default: `WARNING`.
    pub level: Level,
    /// Overrides `alerting.cooldown`. Default: that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cooldown: Option<HumanDuration>,
    /// The only receiver told. Default: every enabled one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receiver: Option<String>,
    /// What holds when data stop coming. Default: `keep`.
    pub no_data: NoData,
    /// Labels added to each of its alerts. Default: none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// `summary`, `description`, `runbook_url`; `{{value}}` and `{{labels.x}}` are filled in. Default: none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Which log records a rule counts. All that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawLogCondition {
    /// Words and `"quoted phrases"` in the body or an attribute, in any case. Default: any.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// Least level. Default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<LogLevel>,
    /// `service.name`, exactly. Default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Attributes and their values as text, exactly. Default: any.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

impl Default for RawRule {
    fn default() -> Self {
        Self {
            name: String::new(),
            metric: None,
            matching: BTreeMap::new(),
            logs: None,
            group_by: Vec::new(),
            comparison: Comparison::default(),
            threshold: None,
            aggregate: None,
            window: HumanDuration::from_secs(300),
            hold_for: HumanDuration::default(),
            keep_firing_for: HumanDuration::default(),
            level: Level::default(),
            cooldown: None,
            receiver: None,
            no_data: NoData::default(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
        }
    }
}

/// What is wrong with a rule: a key of it (empty for the rule as a whole) and the reason.
pub(super) type Fault = (&'static str, String);

impl RawRule {
    /// Reads a rule from JSON, saying all that is wrong with its shape at once, and taking enumerated words in any case.
    ///
    /// # Errors
    /// One `key: reason` per problem.
    pub fn from_json(mut json: Value) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        Shape::of::<Self>().clean(&mut json, "", &mut problems);
        if !problems.is_empty() {
            return Err(problems.iter().map(|(path, reason)| join(path, reason)).collect());
        }
        serde_json::from_value(json).map_err(|error| vec![error.to_string()])
    }

    /// Checks the rule against the names of all `receivers` and returns it as the engine takes it.
    ///
    /// # Errors
    /// One `key: reason` per problem.
    pub fn check(self, receivers: &[String], origin: RuleOrigin) -> Result<Rule, Vec<String>> {
        self.into_rule(receivers, origin).map_err(|faults| faults.iter().map(|(key, reason)| join(key, reason)).collect())
    }

    pub(super) fn into_rule(self, receivers: &[String], origin: RuleOrigin) -> Result<Rule, Vec<Fault>> {
        let faults = self.faults(receivers);
        let (Some(threshold), true) = (self.threshold, faults.is_empty()) else { return Err(faults) };
        let condition = match (self.metric, self.logs) {
            (Some(name), _) => Condition::Metric {
                name,
                labels: self.matching.into_iter().collect(),
                aggregate: self.aggregate.unwrap_or_default(),
            },
            (None, logs) => Condition::LogCount { filter: logs.unwrap_or_default().filter(), group_by: self.group_by },
        };
        Ok(Rule {
            name: self.name,
            condition,
            comparison: self.comparison,
            threshold,
            window: self.window.0,
            hold_for: self.hold_for.0,
            keep_firing_for: self.keep_firing_for.0,
            level: self.level,
            cooldown: self.cooldown.map(|cooldown| cooldown.0),
            receiver: self.receiver,
            no_data: self.no_data,
            labels: self.labels.into_iter().collect(),
            annotations: self.annotations.into_iter().collect(),
            origin,
        })
    }

    fn faults(&self, receivers: &[String]) -> Vec<Fault> {
        let mut faults = self.faults_of_condition();
        if self.name.trim().is_empty() {
            faults.push(("name", "expected a name".into()));
        } else if self.name.len() > MAX_NAME_BYTES {
            faults.push(("name", format!("expected a name of at most {MAX_NAME_BYTES} bytes")));
        }
        match self.threshold {
            None => faults.push(("threshold", "expected a number".into())),
            Some(number) if !number.is_finite() => faults.push(("threshold", "expected a finite number".into())),
            Some(number) => faults.extend(self.never_holds(number).map(|reason| ("threshold", reason))),
        }
        if self.window.0.is_zero() || self.window.0 > MAX_WINDOW {
            faults.push(("window", format!("expected a duration above 0 and at most {}", HumanDuration(MAX_WINDOW))));
        }
        if let Some(receiver) = &self.receiver
            && !receivers.contains(receiver)
        {
            let hint = suggestion(receiver, receivers.iter().map(String::as_str));
            faults.push(("receiver", format!("no receiver named `{receiver}`{hint}")));
        }
        for (key, labels) in [("labels", &self.labels), ("match", &self.matching), ("annotations", &self.annotations)] {
            if labels.keys().any(String::is_empty) {
                faults.push((key, "expected names that are not empty".into()));
            }
        }
        faults
    }

    fn faults_of_condition(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        match (&self.metric, &self.logs) {
            (Some(_), Some(_)) => faults.push(("", "expected either `metric` or `logs`, found both".into())),
            (None, None) => faults.push(("", "expected `metric` (a metric's name) or `logs` (which records to count)".into())),
            (Some(name), None) => {
                if name.trim().is_empty() {
                    faults.push(("metric", "expected a metric's name".into()));
                }
                if !self.group_by.is_empty() {
                    faults.push(("group_by", "goes with `logs`; a metric has one alert per series as it is".into()));
                }
            }
            (None, Some(logs)) => {
                if logs.text.len() > MAX_TEXT_BYTES {
                    faults.push(("logs", format!("expected a `text` of at most {MAX_TEXT_BYTES} bytes")));
                }
                if !self.matching.is_empty() {
                    faults.push(("match", "goes with `metric`; for logs use `logs.attributes`".into()));
                }
                if self.aggregate.is_some() {
                    faults.push(("aggregate", "goes with `metric`; log records are counted".into()));
                }
                if self.group_by.len() > MAX_GROUP_BY {
                    faults.push(("group_by", format!("expected at most {MAX_GROUP_BY} names of attributes")));
                }
                if self.group_by.iter().any(String::is_empty) {
                    faults.push(("group_by", "expected names of attributes, found an empty one".into()));
                }
            }
        }
        faults
    }

    /// Returns why no value can ever break the rule, if so.
    fn never_holds(&self, threshold: f64) -> Option<String> {
        let is_level =
            matches!(self.aggregate.unwrap_or_default(), Aggregate::Last | Aggregate::Avg | Aggregate::Min | Aggregate::Max);
        let metric = self.metric.as_deref().map(|name| name.replace('.', "_"));
        let greatest = match &metric {
            Some(name) if is_level && PERCENTAGES.contains(&name.as_str()) => 100.0,
            Some(_) => return None,
            None => f64::INFINITY,
        };
        let possible = match self.comparison {
            Comparison::Greater => threshold < greatest,
            Comparison::GreaterOrEqual => threshold <= greatest,
            Comparison::Less => threshold > 0.0,
            Comparison::LessOrEqual => threshold >= 0.0,
            Comparison::Equal => (0.0..=greatest).contains(&threshold),
            Comparison::NotEqual => true,
        };
        let range = if greatest.is_finite() { "a percentage lies between 0 and 100" } else { "a count is never below 0" };
        (!possible).then(|| format!("{range}, so this never holds"))
    }
}

fn join(path: &str, reason: &str) -> String {
    if path.is_empty() { reason.to_owned() } else { format!("{path}: {reason}") }
}

impl RawLogCondition {
    fn filter(self) -> LogFilter {
        LogFilter {
            text: self.text,
            level: self.level.map(LogLevel::severity),
            services: self.service.into_iter().collect(),
            attributes: self.attributes.into_iter().collect(),
            ..LogFilter::default()
        }
    }
}

impl From<&LogFilter> for RawLogCondition {
    fn from(filter: &LogFilter) -> Self {
        Self {
            text: filter.text.clone(),
            level: filter.level.map(LogLevel::of),
            service: filter.services.first().cloned(),
            attributes: filter.attributes.iter().cloned().collect(),
        }
    }
}

impl From<&Rule> for RawRule {
    /// Writes a checked rule as a file would.
    fn from(rule: &Rule) -> Self {
        let mut raw = Self {
            name: rule.name.clone(),
            comparison: rule.comparison,
            threshold: Some(rule.threshold),
            window: HumanDuration(rule.window),
            hold_for: HumanDuration(rule.hold_for),
            keep_firing_for: HumanDuration(rule.keep_firing_for),
            level: rule.level,
            cooldown: rule.cooldown.map(HumanDuration),
            receiver: rule.receiver.clone(),
            no_data: rule.no_data,
            labels: rule.labels.iter().cloned().collect(),
            annotations: rule.annotations.iter().cloned().collect(),
            ..Self::default()
        };
        match &rule.condition {
            Condition::Metric { name, labels, aggregate } => {
                raw.metric = Some(name.clone());
                raw.matching = labels.iter().cloned().collect();
                raw.aggregate = Some(*aggregate);
            }
            Condition::LogCount { filter, group_by } => {
                raw.logs = Some(filter.into());
                raw.group_by.clone_from(group_by);
            }
        }
        raw
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn faults(json: Value) -> String {
        let rule = RawRule::from_json(json).and_then(|rule| rule.check(&["pager".into()], RuleOrigin::Api));
        rule.map_or_else(|faults| faults.join("\n"), |rule| format!("fine: {}", rule.name))
    }

    #[test]
    fn a_metric_rule_is_read_in_full_and_written_back_equal() {
        let json = json!({
            "name": "CPU使用率过高", "metric": "system.cpu_percent", "match": {"device": "sda"}, "comparison": ">", "threshold": 80.0,
            "aggregate": "avg", "window": "5m", "for": "2m", "keep_firing_for": "0s", "level": "warning", "receiver": "pager",
            "no_data": "keep", "labels": {"team": "ops"}, "annotations": {"summary": "CPU at {{value}} %"}
        });
        let rule = RawRule::from_json(json.clone()).unwrap().check(&["pager".into()], RuleOrigin::File).unwrap();
        assert_eq!(rule.hold_for, Duration::from_secs(120));
        let mut expected = json;
        expected["level"] = "WARNING".into();
        assert_eq!(serde_json::to_value(RawRule::from(&rule)).unwrap(), expected);
    }

    #[test]
    fn a_log_rule_is_read_and_written_back_equal() {
        let json = json!({"name": "error burst", "logs": {"text": "\"disk full\"", "level": "error", "service": "api", "attributes": {"k": "v"}},
            "group_by": ["service.name"], "window": 300, "comparison": ">=", "threshold": 10});
        let rule = RawRule::from_json(json).unwrap().check(&[], RuleOrigin::Api).unwrap();
        let again = RawRule::from(&rule).check(&[], RuleOrigin::Api).unwrap();
        assert_eq!(rule, again);
    }

    #[test]
    fn everything_wrong_with_the_shape_is_said_at_once() {
        insta::assert_snapshot!(faults(json!({"name": 5, "metrik": "x", "threshold": "80", "level": "WARNNG", "for": "2 minutes"})), @r"
        name: expected text, found a number
        metrik: unknown key; did you mean `metric`?
        threshold: expected a number, found text
        level: expected one of `INFO`, `WARNING`, `ERROR`, `CRITICAL`, found `WARNNG`; did you mean `WARNING`?
        for: expected a duration: whole seconds, or text such as `90s`, `5m`, `1h30m`, `250ms`
        ");
    }

    #[test]
    fn everything_wrong_with_the_meaning_is_said_at_once() {
        insta::assert_snapshot!(
            faults(json!({"name": " ", "metric": "x", "logs": {}, "window": 0, "receiver": "pagr"})), @r"
        expected either `metric` or `logs`, found both
        name: expected a name
        threshold: expected a number
        window: expected a duration above 0 and at most 7d
        receiver: no receiver named `pagr`; did you mean `pager`?
        ");
        insta::assert_snapshot!(faults(json!({"name": "a".repeat(201), "logs": {}, "threshold": 1, "group_by": ["a", "b", "c", "d", "e", "f", "g", "h", "i"]})), @r"
        group_by: expected at most 8 names of attributes
        name: expected a name of at most 200 bytes
        ");
        insta::assert_snapshot!(faults(json!({"name": "a", "threshold": 1})), @"expected `metric` (a metric's name) or `logs` (which records to count)");
        insta::assert_snapshot!(faults(json!({"name": "a", "threshold": 1, "logs": {}, "aggregate": "avg", "match": {"a": "b"}})), @r"
        match: goes with `metric`; for logs use `logs.attributes`
        aggregate: goes with `metric`; log records are counted
        ");
        insta::assert_snapshot!(faults(json!({"name": "a", "threshold": 1, "logs": {"text": "a".repeat(5000)}})), @"logs: expected a `text` of at most 4096 bytes");
        insta::assert_snapshot!(faults(json!({"name": "a", "threshold": 1, "metric": "m", "group_by": ["a"]})), @"group_by: goes with `logs`; a metric has one alert per series as it is");
    }

    #[test]
    fn a_threshold_that_nothing_can_break_is_refused() {
        insta::assert_snapshot!(faults(json!({"name": "a", "metric": "system.cpu_percent", "threshold": 100})), @"threshold: a percentage lies between 0 and 100, so this never holds");
        insta::assert_snapshot!(faults(json!({"name": "a", "logs": {}, "comparison": "<", "threshold": 0})), @"threshold: a count is never below 0, so this never holds");
        assert_eq!(faults(json!({"name": "a", "metric": "system_cpu_percent", "threshold": -1})), "fine: a");
        assert_eq!(faults(json!({"name": "a", "metric": "process_cpu_percent", "threshold": 350})), "fine: a");
    }
}
