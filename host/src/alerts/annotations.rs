//! Fills `{{value}}` and `{{labels.x}}` into annotations, for rules over events `{{title}}` and `{{message}}` too.
//!
//! Whoever may make a rule writes its templates, so they get little to work with: no functions, a handful of filters, and as much
//! fuel as filling in takes. A template that wants more stays as written.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use minijinja::{Environment, UndefinedBehavior, context, filters};

use super::counting;
use super::event_windows::Newest;
use super::identity::Labels;
use super::types::Rule;

/// Longest annotation and longest template, in bytes; what is longer is cut.
pub const MAX_BYTES: usize = 4 * 1024;
/// What one template may use up: one unit pays for an instruction, or for 64 bytes of text.
const FUEL: u64 = 2_000;

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.add_filter("upper", filters::upper);
    environment.add_filter("lower", filters::lower);
    environment.add_filter("trim", filters::trim);
    environment.add_filter("default", filters::default);
    environment.add_filter("float", filters::float);
    environment.add_filter("int", filters::int);
    environment.add_filter("round", filters::round);
    environment
});

/// Returns the annotations of `rule` for an alert, each cut to [`MAX_BYTES`]. A template with an error stays as written.
///
/// Of an alert about events, `summary` and `description` are the `newest` one's title and message if the rule has none.
#[must_use]
pub fn render(rule: &Rule, labels: &Labels, value: Option<f64>, newest: Option<&Newest>) -> BTreeMap<String, String> {
    let fill = |text: &String| cut(try_render(text, rule, labels, value, newest).unwrap_or_else(|| text.clone()));
    let mut annotations: BTreeMap<_, _> = rule.annotations.iter().map(|(name, text)| (name.clone(), fill(text))).collect();
    if let Some(newest) = newest {
        for (name, text) in [("summary", &newest.title), ("description", &newest.message)] {
            if !text.is_empty() {
                annotations.entry(name.to_owned()).or_insert_with(|| cut(text.clone()));
            }
        }
    }
    annotations
}

/// Returns what is wrong with the templates of `rule`, tried on made-up values.
#[must_use]
pub fn problems(rule: &Rule) -> Vec<String> {
    let broken = |(name, text): &(String, String)| {
        if text.len() > MAX_BYTES {
            return Some(format!("annotation `{name}` is cut: it is longer than {} KiB", MAX_BYTES / 1024));
        }
        let error = ENVIRONMENT.template_from_str(text).err()?;
        Some(format!("annotation `{name}` is shown as written: {error}"))
    };
    rule.annotations.iter().filter_map(broken).collect()
}

fn try_render(text: &str, rule: &Rule, labels: &Labels, value: Option<f64>, newest: Option<&Newest>) -> Option<String> {
    if text.len() > MAX_BYTES || !text.contains('{') {
        return None;
    }
    let value = value.map_or_else(|| "no data".to_owned(), number);
    let context = context! { value, labels, threshold => number(rule.threshold), level => rule.level.name(), rule => &rule.name };
    let context = match newest {
        Some(newest) => context! { title => &newest.title, message => &newest.message, ..context },
        None => context,
    };
    ENVIRONMENT.render_str(text, context).ok()
}

fn cut(text: String) -> String {
    counting::cut(text, MAX_BYTES)
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
        render(&rule, &labels, Some(91.234_567), None)["summary"].clone()
    }

    #[test]
    fn value_and_labels_are_filled_in() {
        assert_eq!(
            summary("{{value}} > {{ threshold }} on {{labels.device}} of {{labels['service.name']}}"),
            "91.23 > 80 on sda of api"
        );
    }

    #[test]
    fn the_newest_event_speaks_where_the_rule_does_not() {
        let mut rule = metric_rule("ssh", "", 1.0);
        rule.annotations = vec![("summary".into(), "{{title}}, {{value}} times: {{message|upper}}".into())];
        let newest = Newest { title: "ssh attack".into(), message: "from 10.0.0.1".into(), labels: Labels::new() };
        let filled = render(&rule, &Labels::new(), Some(3.0), Some(&newest));
        assert_eq!(filled["summary"], "ssh attack, 3 times: FROM 10.0.0.1");
        assert_eq!(filled["description"], "from 10.0.0.1");
        rule.annotations.clear();
        assert_eq!(render(&rule, &Labels::new(), None, Some(&newest))["summary"], "ssh attack");
        assert!(render(&rule, &Labels::new(), None, Some(&Newest::default())).is_empty());
    }

    #[test]
    fn a_broken_template_stays_as_written() {
        assert_eq!(summary("{{labels.nothing}} at {{value}}"), "{{labels.nothing}} at {{value}}");
        assert_eq!(summary("{{value"), "{{value");
    }

    #[test]
    fn a_template_cannot_keep_the_host_busy_or_fill_its_memory() {
        let bombs = [
            "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}",
            "{% for a in 'x' * 90000000 %}{{ a }}{% endfor %}",
            "{% for a in [1] * 9999 %}{% for b in [1] * 9999 %}x{% endfor %}{% endfor %}",
            "{{ 'a' * 10**9 }}",
            "{{ 'a' * 90000000 }}",
            "{{ [1] * 90000000 }}",
        ];
        for bomb in bombs {
            assert_eq!(summary(bomb), bomb);
        }
        let doubled = format!("{{% set a = 'xxxxxxxx' %}}{}{{{{ a }}}}", "{% set a = a ~ a %}".repeat(60));
        assert_eq!(summary(&doubled), doubled);
    }

    #[test]
    fn a_long_annotation_is_cut() {
        for long in ["ä".repeat(MAX_BYTES), "{{ 'ä' * 4000 }}".to_owned(), "{{value}}".repeat(MAX_BYTES)] {
            let filled = summary(&long);
            assert!(filled.len() <= MAX_BYTES + 3 && filled.ends_with('…'), "{} bytes", filled.len());
        }
    }

    #[test]
    fn a_few_filters_are_there() {
        assert_eq!(summary("{{ labels.device|upper }} {{ value|float|round(1) }} {{ labels.x|default('-') }}"), "SDA 91.2 -");
    }

    #[test]
    fn numbers_are_short() {
        let numbers = [0.0, 91.234_567, 1_234_567.8, 0.001_234_5, 100.0, 2.5].map(number);
        assert_eq!(numbers, ["0", "91.23", "1234568", "0.001234", "100", "2.5"]);
    }
}
