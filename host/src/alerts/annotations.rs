//! Fills `{{value}}` and `{{labels.x}}` into annotations.

use std::collections::BTreeMap;

use minijinja::{Environment, UndefinedBehavior, context};

use super::identity::Labels;
use super::types::Rule;

/// Returns the annotations of `rule` for an alert. A template with an error stays as written.
#[must_use]
pub fn render(rule: &Rule, labels: &Labels, value: Option<f64>) -> BTreeMap<String, String> {
    let fill = |text: &String| try_render(text, rule, labels, value).unwrap_or_else(|_| text.clone());
    rule.annotations.iter().map(|(name, text)| (name.clone(), fill(text))).collect()
}

/// Returns what is wrong with the templates of `rule`, tried on made-up values.
#[must_use]
pub fn problems(rule: &Rule) -> Vec<String> {
    let environment = Environment::new();
    let broken = |(name, text): &(String, String)| {
        environment.template_from_str(text).err().map(|error| format!("annotation `{name}` is shown as written: {error}"))
    };
    rule.annotations.iter().filter_map(broken).collect()
}

fn try_render(text: &str, rule: &Rule, labels: &Labels, value: Option<f64>) -> Result<String, minijinja::Error> {
    if !text.contains('{') {
        return Ok(text.to_owned());
    }
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let value = value.map_or_else(|| "no data".to_owned(), number);
    environment.render_str(
        text,
        context! { value, labels, threshold => number(rule.threshold), level => rule.level.name(), rule => &rule.name },
    )
}

/// Returns `value` for people: at most four significant decimals, no trailing zeros.
#[must_use]
pub fn number(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    let decimals = (3 - value.abs().log10().floor() as i32).clamp(0, 9) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::engine::testing::metric_rule;

    fn summary(text: &str) -> String {
        let mut rule = metric_rule("cpu", "system.cpu_percent", 80.0);
        rule.annotations = vec![("summary".into(), text.into())];
        let labels = Labels::from([("device".into(), "sda".into()), ("service.name".into(), "api".into())]);
        render(&rule, &labels, Some(91.234_567))["summary"].clone()
    }

    #[test]
    fn value_and_labels_are_filled_in() {
        assert_eq!(
            summary("{{value}} > {{ threshold }} on {{labels.device}} of {{labels['service.name']}}"),
            "91.23 > 80 on sda of api"
        );
    }

    #[test]
    fn a_broken_template_stays_as_written() {
        assert_eq!(summary("{{labels.nothing}} at {{value}}"), "{{labels.nothing}} at {{value}}");
        assert_eq!(summary("{{value"), "{{value");
    }

    #[test]
    fn numbers_are_short() {
        let numbers = [0.0, 91.234_567, 1_234_567.8, 0.001_234_5, 100.0, 2.5].map(number);
        assert_eq!(numbers, ["0", "91.23", "1234568", "0.001234", "100", "2.5"]);
    }
}
