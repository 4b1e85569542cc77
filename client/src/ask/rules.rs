//! Alert rules, as a program writes them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value as Json, json};

/// How serious an alert is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AlertLevel {
    /// Good to know.
    Info,
    /// Look at it today.
    #[default]
    Warning,
    /// Something is broken.
    Error,
    /// Somebody must get up.
    Critical,
}

impl AlertLevel {
    /// Returns its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
            Self::Critical => "CRITICAL",
        }
    }
}

/// How a value is compared with a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Greater.
    Greater,
    /// Greater or equal.
    GreaterOrEqual,
    /// Less.
    Less,
    /// Less or equal.
    LessOrEqual,
}

/// A rule that raises alerts. Made by [`create_metric_rule`] and [`create_error_rule`], added by [`add_rule`](crate::add_rule).
#[derive(Clone, Debug, PartialEq)]
pub struct AlertRule {
    name: String,
    json: serde_json::Map<String, Json>,
}

/// Returns a rule that fires while metric `metric_name` is above `threshold`: one alert per series.
#[must_use]
pub fn create_metric_rule(name: &str, metric_name: &str, threshold: f64, level: AlertLevel) -> AlertRule {
    AlertRule::new(name, level, threshold).with("metric", json!(metric_name))
}

/// Returns a rule that fires while there were more than `threshold` errors in its window (five minutes, unless [`AlertRule::window`] says otherwise).
#[must_use]
pub fn create_error_rule(name: &str, threshold: u32, level: AlertLevel) -> AlertRule {
    AlertRule::new(name, level, f64::from(threshold)).with("errors", json!({}))
}

impl AlertRule {
    fn new(name: &str, level: AlertLevel, threshold: f64) -> Self {
        let rule = Self { name: name.to_owned(), json: serde_json::Map::new() };
        rule.with("name", json!(name)).with("level", json!(level.name())).with("threshold", json!(threshold))
    }

    fn with(mut self, key: &str, value: Json) -> Self {
        self.json.insert(key.to_owned(), value);
        self
    }

    /// Returns its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Compares otherwise than by "greater".
    #[must_use]
    pub fn comparison(self, comparison: Comparison) -> Self {
        let sign = match comparison {
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
        };
        self.with("comparison", json!(sign))
    }

    /// Looks back so far.
    #[must_use]
    pub fn window(self, window: Duration) -> Self {
        self.with("window", seconds(window))
    }

    /// Fires only after it has held so long.
    #[must_use]
    pub fn hold_for(self, time: Duration) -> Self {
        self.with("for", seconds(time))
    }

    /// Tells nobody again within this time.
    #[must_use]
    pub fn cooldown(self, time: Duration) -> Self {
        self.with("cooldown", seconds(time))
    }

    /// Tells only this receiver.
    #[must_use]
    pub fn receiver(self, name: &str) -> Self {
        self.with("receiver", json!(name))
    }

    /// Looks at this service only. For a metric that is its label, for errors `service.name`.
    #[must_use]
    pub fn service(mut self, service: &str) -> Self {
        match self.json.get_mut("errors") {
            Some(errors) => errors["service"] = json!(service),
            None => self.json.entry("match").or_insert_with(|| json!({}))["service"] = json!(service),
        }
        self
    }

    /// Adds labels to its alerts.
    #[must_use]
    pub fn labels(self, labels: &[(&str, &str)]) -> Self {
        let labels: BTreeMap<_, _> = labels.iter().copied().collect();
        self.with("labels", json!(labels))
    }

    /// Says in words what it is about.
    #[must_use]
    pub fn summary(mut self, text: &str) -> Self {
        self.json.entry("annotations").or_insert_with(|| json!({}))["summary"] = json!(text);
        self
    }

    /// Returns it as the host takes it.
    pub(crate) fn to_json(&self) -> Json {
        Json::Object(self.json.clone())
    }
}

/// The host counts whole seconds; less than one would be none.
fn seconds(duration: Duration) -> Json {
    json!(duration.as_millis().div_ceil(1000) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_written_as_the_host_takes_them() {
        let rule = create_metric_rule("cpu", "system.cpu_percent", 80.0, AlertLevel::Warning)
            .window(Duration::from_millis(1500))
            .service("shop");
        assert_eq!(
            rule.to_json(),
            json!({"name": "cpu", "level": "WARNING", "threshold": 80.0, "metric": "system.cpu_percent", "window": 2, "match": {"service": "shop"}})
        );
        let rule = create_error_rule("errors", 10, AlertLevel::Error)
            .service("shop")
            .comparison(Comparison::GreaterOrEqual)
            .summary("too many");
        assert_eq!(
            rule.to_json(),
            json!({"name": "errors", "level": "ERROR", "threshold": 10.0, "errors": {"service": "shop"}, "comparison": ">=",
                "annotations": {"summary": "too many"}})
        );
    }
}
