//! The three quiet rules that come with the host: a machine in trouble, and nothing that a busy one does every day.

use std::time::Duration;

use crate::alerts::types::{Aggregate, Comparison, Condition, Level, NoData, Rule, RuleOrigin};

const TEN_MINUTES: Duration = Duration::from_secs(600);

/// Returns the starter rules.
#[must_use]
pub fn rules() -> Vec<Rule> {
    vec![
        Rule {
            level: Level::Warning,
            ..rule(
                "machine-cpu-high",
                "system.cpu_percent",
                Aggregate::Avg,
                90.0,
                [
                    ("summary", "Processors busy: {{value}} % on average over the last 10 minutes"),
                    (
                        "description",
                        "The processors of this machine have been above 90 % for 10 minutes. `top` shows which process it is.",
                    ),
                ],
            )
        },
        rule(
            "machine-memory-full",
            "system.memory_percent",
            Aggregate::Last,
            95.0,
            [
                ("summary", "Memory almost full: {{value}} % in use"),
                (
                    "description",
                    "More than 95 % of this machine's memory has been in use for 10 minutes; soon the kernel will end processes.",
                ),
            ],
        ),
        rule(
            "machine-disk-full",
            "system.disk_usage_percent",
            Aggregate::Last,
            90.0,
            [
                ("summary", "Disk almost full: {{value}} % of {{labels.mountpoint}} in use"),
                (
                    "description",
                    "More than 90 % of the file system at {{labels.mountpoint}} has been in use for 10 minutes. `du -xh --max-depth=2` shows by what.",
                ),
            ],
        ),
    ]
}

fn rule(name: &str, metric: &str, aggregate: Aggregate, threshold: f64, annotations: [(&str, &str); 2]) -> Rule {
    Rule {
        name: name.to_owned(),
        condition: Condition::Metric { name: metric.to_owned(), labels: Vec::new(), aggregate },
        comparison: Comparison::Greater,
        threshold,
        window: TEN_MINUTES,
        hold_for: TEN_MINUTES,
        keep_firing_for: Duration::ZERO,
        level: Level::Error,
        cooldown: None,
        receiver: None,
        no_data: NoData::Keep,
        labels: Vec::new(),
        annotations: annotations.map(|(key, text)| (key.to_owned(), text.to_owned())).to_vec(),
        origin: RuleOrigin::Starter,
    }
}
