//! One alerting rule as written, in the configuration file and in the API alike.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::duration::HumanDuration;
use super::raw::LogLevel;
use super::raw_conditions::{RawErrorCondition, RawFindingCondition, RawIssueCondition, RawLogCondition};
use super::shape::Shape;
use crate::alerts::events::EventFilter;
use crate::alerts::types::{Aggregate, Comparison, Condition, Level, MAX_WINDOW, NoData, Rule, RuleOrigin};
use crate::logs::matcher::Matcher;
use crate::nearest::suggestion;

/// What a rule can look at.
const KINDS: &str = "`metric` (a metric's name), `logs`, `errors`, `finding` and `new_issue` (what to count)";

/// The longest name.
const MAX_NAME_BYTES: usize = 200;

/// Most attributes in `group_by`.
const MAX_GROUP_BY: usize = 8;

/// The specification's gauges that never leave 0 to 100.
const PERCENTAGES: [&str; 3] = ["system_cpu_percent", "system_memory_percent", "system_disk_usage_percent"];

/// One alerting rule: a metric, or a number of log records, error events, findings or new issues, compared with a threshold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["name"]))]
pub struct RawRule {
    /// Unique name. Required.
    #[schema(required)]
    pub name: String,
    /// Name of the metric, with dots or underscores: one alert per series. Either this or one of `logs`, `errors`, `finding` and `new_issue`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// Labels that the series must have, with `metric`. Default: any.
    #[serde(rename = "match", skip_serializing_if = "BTreeMap::is_empty")]
    pub matching: BTreeMap<String, String>,
    /// The log records to count. Either this or another of the five.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logs: Option<RawLogCondition>,
    /// The error events to count: log records with an exception. Either this or another of the five.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<RawErrorCondition>,
    /// The findings of analyzers to count. Either this or another of the five.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finding: Option<RawFindingCondition>,
    /// The new issues to count. Either this or another of the five.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_issue: Option<RawIssueCondition>,
    /// Names whose values make separate alerts: attributes with `logs` and `errors`, labels with `finding` and `new_issue` (or `key`; `analyzer` and `rule` of a finding). Default: none, one alert; with `finding` and `new_issue` one per ongoing finding, per issue.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub group_by: Vec<String>,
    /// How the value is compared with the threshold. Default: `>`; with `finding` and `new_issue` `>=`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
    /// What the value is compared with. Required; with `finding` and `new_issue` default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// What the samples of the window become, with `metric`. Default: `last`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aggregate: Option<Aggregate>,
    /// How far back the condition looks. Log records count by their arrival here; those whose event is more than an hour older than the window do not count. Findings and issues count from when they were stored. Default: `5m`.
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
    /// `summary`, `description`, `runbook_url`; `{{value}}` and `{{labels.x}}` are filled in, with `finding` and `new_issue` `{{title}}` and `{{message}}` too. Default: none; with `finding` and `new_issue` the newest one's title is the summary and its message the description.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Default for RawRule {
    fn default() -> Self {
        Self {
            name: String::new(),
            metric: None,
            matching: BTreeMap::new(),
            logs: None,
            errors: None,
            finding: None,
            new_issue: None,
            group_by: Vec::new(),
            comparison: None,
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
        let (comparison, threshold) = (self.comparison(), self.threshold());
        let (Some(threshold), true) = (threshold, faults.is_empty()) else { return Err(faults) };
        let group_by = self.group_by;
        let condition = match (self.metric, self.logs, self.errors, self.finding, self.new_issue) {
            (Some(name), ..) => Condition::Metric {
                name,
                labels: self.matching.into_iter().collect(),
                aggregate: self.aggregate.unwrap_or_default(),
            },
            (_, _, Some(errors), ..) => Condition::LogCount { filter: errors.into(), group_by },
            (_, _, _, Some(finding), _) => Condition::Events { filter: finding.into(), group_by },
            (.., Some(issue)) => Condition::Events { filter: issue.into(), group_by },
            (_, logs, ..) => Condition::LogCount { filter: logs.unwrap_or_default().into(), group_by },
        };
        Ok(Rule {
            name: self.name,
            condition,
            comparison,
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
        match self.threshold() {
            None => faults.push(("threshold", "expected a number".into())),
            Some(number) if !number.is_finite() => faults.push(("threshold", "expected a finite number".into())),
            Some(number) => faults.extend(self.senseless(number).map(|reason| ("threshold", reason))),
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

    /// Returns whether it is about events: findings or new issues.
    fn is_about_events(&self) -> bool {
        self.finding.is_some() || self.new_issue.is_some()
    }

    fn comparison(&self) -> Comparison {
        let default = if self.is_about_events() { Comparison::GreaterOrEqual } else { Comparison::Greater };
        self.comparison.unwrap_or(default)
    }

    fn threshold(&self) -> Option<f64> {
        self.threshold.or(self.is_about_events().then_some(1.0))
    }

    fn faults_of_condition(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let given = [
            ("metric", self.metric.is_some()),
            ("logs", self.logs.is_some()),
            ("errors", self.errors.is_some()),
            ("finding", self.finding.is_some()),
            ("new_issue", self.new_issue.is_some()),
        ];
        let given: Vec<&'static str> = given.into_iter().filter(|(_, given)| *given).map(|(key, _)| key).collect();
        match *given {
            [] => faults.push(("", format!("expected one of {KINDS}"))),
            ["metric"] => faults.extend(self.faults_of_metric()),
            [kind] => faults.extend(self.faults_of_count(kind)),
            _ => faults.push(("", format!("expected only one of {KINDS}, found `{}`", given.join("` and `")))),
        }
        faults
    }

    fn faults_of_metric(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        if self.metric.as_ref().is_some_and(|name| name.trim().is_empty()) {
            faults.push(("metric", "expected a metric's name".into()));
        }
        if !self.group_by.is_empty() {
            faults.push(("group_by", "goes with what is counted; a metric has one alert per series as it is".into()));
        }
        faults
    }

    fn faults_of_count(&self, kind: &'static str) -> Vec<Fault> {
        let mut faults = Vec::new();
        let texts = [self.logs.as_ref().map(|logs| &logs.text), self.errors.as_ref().map(|errors| &errors.text)];
        for error in texts.into_iter().flatten().filter_map(|text| Matcher::check(text).err()) {
            faults.push((kind, format!("`text`: {} (character {})", error.message, error.column())));
        }
        if !self.matching.is_empty() {
            let instead = match kind {
                "logs" => "; for logs use `logs.attributes`",
                "finding" => "; for findings use `finding.labels`",
                _ => "",
            };
            faults.push(("match", format!("goes with `metric`{instead}")));
        }
        if self.aggregate.is_some() {
            faults.push((
                "aggregate",
                format!("goes with `metric`; `{kind}` {}", if kind.ends_with('s') { "are counted" } else { "is counted" }),
            ));
        }
        if self.group_by.len() > MAX_GROUP_BY {
            faults.push(("group_by", format!("expected at most {MAX_GROUP_BY} names")));
        }
        if self.group_by.iter().any(String::is_empty) {
            faults.push(("group_by", "expected names, found an empty one".into()));
        }
        let empty = |name: &Option<String>| name.as_ref().is_some_and(|name| name.trim().is_empty());
        if let Some(finding) = &self.finding {
            for (key, name) in [("analyzer", &finding.analyzer), ("rule", &finding.rule)] {
                if empty(name) {
                    faults.push((kind, format!("expected a name as `{key}`, or no `{key}`")));
                }
            }
            if finding.labels.keys().any(String::is_empty) {
                faults.push((kind, "expected `labels` whose names are not empty".into()));
            }
        }
        if self.errors.as_ref().is_some_and(|errors| empty(&errors.kind)) {
            faults.push((kind, "expected the class of an exception as `type`, or no `type`".into()));
        }
        faults
    }

    /// Returns why the rule makes no sense whatever the value, if so: nothing can ever break it, or nothing at all does.
    fn senseless(&self, threshold: f64) -> Option<String> {
        let is_level =
            matches!(self.aggregate.unwrap_or_default(), Aggregate::Last | Aggregate::Avg | Aggregate::Min | Aggregate::Max);
        let metric = self.metric.as_deref().map(|name| name.replace('.', "_"));
        let greatest = match &metric {
            Some(name) if is_level && PERCENTAGES.contains(&name.as_str()) => 100.0,
            Some(_) => return None,
            None => f64::INFINITY,
        };
        let comparison = self.comparison();
        let possible = match comparison {
            Comparison::Greater => threshold < greatest,
            Comparison::GreaterOrEqual => threshold <= greatest,
            Comparison::Less => threshold > 0.0,
            Comparison::LessOrEqual => threshold >= 0.0,
            Comparison::Equal => (0.0..=greatest).contains(&threshold),
            Comparison::NotEqual => true,
        };
        if self.is_about_events() && possible && comparison.holds(0.0, threshold) {
            return Some("this holds when nothing is found, and then there is nothing to alert about".to_owned());
        }
        let range = if greatest.is_finite() { "a percentage lies between 0 and 100" } else { "a count is never below 0" };
        (!possible).then(|| format!("{range}, so this never holds"))
    }
}

fn join(path: &str, reason: &str) -> String {
    if path.is_empty() { reason.to_owned() } else { format!("{path}: {reason}") }
}

impl From<&Rule> for RawRule {
    /// Writes a checked rule as a file would.
    fn from(rule: &Rule) -> Self {
        let mut raw = Self {
            name: rule.name.clone(),
            comparison: Some(rule.comparison),
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
                match &filter.errors {
                    Some(errors) => raw.errors = Some(RawErrorCondition::of(&filter.log, errors)),
                    None => raw.logs = Some((&filter.log).into()),
                }
                raw.group_by.clone_from(group_by);
            }
            Condition::Events { filter, group_by } => {
                match filter {
                    EventFilter::Finding { analyzer, rule, level, labels } => {
                        raw.finding = Some(RawFindingCondition {
                            analyzer: analyzer.clone(),
                            rule: rule.clone(),
                            level: level.map(LogLevel::of),
                            labels: labels.iter().cloned().collect(),
                        });
                    }
                    EventFilter::NewIssue { service, level, regressions } => {
                        raw.new_issue = Some(RawIssueCondition {
                            service: service.clone(),
                            level: level.map(LogLevel::of),
                            regressions: *regressions,
                        });
                    }
                }
                raw.group_by.clone_from(group_by);
            }
        }
        raw
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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

    fn twice(json: Value) -> (Rule, Value) {
        let rule = RawRule::from_json(json).unwrap().check(&[], RuleOrigin::Api).unwrap();
        let written = serde_json::to_value(RawRule::from(&rule)).unwrap();
        assert_eq!(RawRule::from_json(written.clone()).unwrap().check(&[], RuleOrigin::Api).unwrap(), rule);
        (rule, written)
    }

    #[test]
    fn a_rule_over_findings_is_read_and_written_back_equal() {
        let finding = json!({"analyzer": "ssh-brute-force", "rule": "brute_force", "level": "warning", "labels": {"host": "a"}});
        let (rule, written) = twice(json!({"name": "ssh attack", "finding": finding, "window": "10m", "group_by": ["ip"]}));
        assert_eq!(rule.describe(), "findings of ssh-brute-force (rule brute_force, level WARN, host=a) in 10m >= 1");
        assert_eq!((&written["comparison"], &written["threshold"]), (&json!(">="), &json!(1.0)));
        let (rule, _) = twice(json!({"name": "many", "finding": {}, "comparison": ">", "threshold": 3}));
        assert_eq!(rule.describe(), "findings in 5m > 3");
    }

    #[test]
    fn a_rule_over_new_issues_is_read_and_written_back_equal() {
        let (rule, written) = twice(json!({"name": "new error", "new_issue": {"service": "shop", "level": "ERROR"}}));
        assert_eq!(rule.describe(), "new and returned issues (service shop, level ERROR) in 5m >= 1");
        assert_eq!(written["new_issue"]["regressions"], true);
        twice(json!({"name": "new error", "new_issue": {"regressions": false}}));
    }

    #[test]
    fn a_rule_over_errors_is_read_and_written_back_equal() {
        let errors = json!({"service": "shop", "type": "ValueError", "level": "error", "text": "refused"});
        let (rule, written) =
            twice(json!({"name": "错误数量异常", "errors": errors, "group_by": ["service.name"], "threshold": 10}));
        assert_eq!(rule.describe(), "error events (type ValueError, level ERROR, service shop, refused) in 5m > 10");
        assert_eq!((&written["errors"]["type"], &written["logs"]), (&json!("ValueError"), &Value::Null));
        assert_eq!(faults(json!({"name": "a", "errors": {}})), "threshold: expected a number");
    }

    #[test]
    fn what_makes_no_sense_for_findings_is_refused() {
        let more = json!({"name": "a", "finding": {"analyzr": "x"}});
        insta::assert_snapshot!(faults(more), @"finding.analyzr: unknown key; did you mean `analyzer`?");
        let empty = json!({"name": "a", "finding": {"analyzer": "", "labels": {"": "x"}}, "match": {"a": "b"}, "aggregate": "avg"});
        insta::assert_snapshot!(faults(empty), @r"
        match: goes with `metric`; for findings use `finding.labels`
        aggregate: goes with `metric`; `finding` is counted
        finding: expected a name as `analyzer`, or no `analyzer`
        finding: expected `labels` whose names are not empty
        ");
        for (comparison, threshold) in [(">=", 0), ("<", 3), ("!=", 2), ("==", 0)] {
            let rule = json!({"name": "a", "new_issue": {}, "comparison": comparison, "threshold": threshold});
            assert_eq!(faults(rule), "threshold: this holds when nothing is found, and then there is nothing to alert about");
        }
        insta::assert_snapshot!(faults(json!({"name": "a", "errors": {"type": " "}, "finding": {}, "threshold": 1})), @"expected only one of `metric` (a metric's name), `logs`, `errors`, `finding` and `new_issue` (what to count), found `errors` and `finding`");
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
        expected only one of `metric` (a metric's name), `logs`, `errors`, `finding` and `new_issue` (what to count), found `metric` and `logs`
        name: expected a name
        threshold: expected a number
        window: expected a duration above 0 and at most 7d
        receiver: no receiver named `pagr`; did you mean `pager`?
        ");
        insta::assert_snapshot!(faults(json!({"name": "a".repeat(201), "logs": {}, "threshold": 1, "group_by": ["a", "b", "c", "d", "e", "f", "g", "h", "i"]})), @r"
        group_by: expected at most 8 names
        name: expected a name of at most 200 bytes
        ");
        insta::assert_snapshot!(faults(json!({"name": "a", "threshold": 1})), @"expected one of `metric` (a metric's name), `logs`, `errors`, `finding` and `new_issue` (what to count)");
        insta::assert_snapshot!(faults(json!({"name": "a", "threshold": 1, "logs": {}, "aggregate": "avg", "match": {"a": "b"}})), @r"
        match: goes with `metric`; for logs use `logs.attributes`
        aggregate: goes with `metric`; `logs` are counted
        ");
        insta::assert_snapshot!(faults(json!({"name": "a", "threshold": 1, "logs": {"text": "a".repeat(5000)}})), @"logs: `text`: a query has at most 4096 bytes, this one has 5000 (character 1)");
        insta::assert_snapshot!(faults(json!({"name": "a", "threshold": 1, "logs": {"text": "level>=wran"}})), @"logs: `text`: `wran` is no level; did you mean `warn`? (character 8)");
        insta::assert_snapshot!(faults(json!({"name": "a", "threshold": 1, "logs": {"text": "a | stats count"}})), @"logs: `text`: pipes have no meaning here: leave everything from the first `|` away (character 1)");
        insta::assert_snapshot!(faults(json!({"name": "a", "threshold": 1, "metric": "m", "group_by": ["a"]})), @"group_by: goes with what is counted; a metric has one alert per series as it is");
    }

    #[test]
    fn a_threshold_that_nothing_can_break_is_refused() {
        insta::assert_snapshot!(faults(json!({"name": "a", "metric": "system.cpu_percent", "threshold": 100})), @"threshold: a percentage lies between 0 and 100, so this never holds");
        insta::assert_snapshot!(faults(json!({"name": "a", "logs": {}, "comparison": "<", "threshold": 0})), @"threshold: a count is never below 0, so this never holds");
        assert_eq!(faults(json!({"name": "a", "metric": "system_cpu_percent", "threshold": -1})), "fine: a");
        assert_eq!(faults(json!({"name": "a", "metric": "process_cpu_percent", "threshold": 350})), "fine: a");
    }
}
