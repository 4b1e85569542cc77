//! The quiet rules that come with the host: a machine in trouble, logs that find no room, and nothing that a busy one does every day.

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
        Rule {
            // What is not stored is lost at once.
            hold_for: Duration::ZERO,
            level: Level::Warning,
            ..rule(
                "logs-shed",
                "watchfire_storage_state",
                Aggregate::Last,
                0.0,
                [
                    ("summary", "Logs are not all stored: the disk is almost full"),
                    (
                        "description",
                        "So that there is room for what matters, debug and trace records are not stored, from state 2 on only warnings and worse; it is {{value}}. It ends by itself when there is room again: `watchfire status` says how much there is. Make some, lower storage.max_bytes or logging.retention_days, or move storage.data_dir.",
                    ),
                ],
            )
        },
        Rule {
            hold_for: Duration::ZERO,
            level: Level::Critical,
            ..rule(
                "logs-refused",
                "watchfire_storage_state",
                Aggregate::Last,
                2.0,
                [
                    ("summary", "No logs are stored: the disk is full"),
                    (
                        "description",
                        "Senders are told to try again, and followed files wait. It ends by itself when there is room again: make some, or move storage.data_dir.",
                    ),
                ],
            )
        },
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
