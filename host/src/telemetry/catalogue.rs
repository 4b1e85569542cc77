//! Every metric that the host makes: its own, and those of the machine it measures.
//!
//! `/metrics` takes its help texts from here and `METRICS.md` is written from here; a name that begins with `watchfire_` and is
//! missing here fails the first test that counts under it.

use std::fmt::Write as _;

use watchfire_types::MetricKind::{self, Counter, Gauge};

/// What is known of one metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Name, as it is stored.
    pub name: &'static str,
    /// What its values mean.
    pub kind: MetricKind,
    /// Names of its labels, sorted.
    pub labels: &'static [&'static str],
    /// One line for whoever reads the value.
    pub help: &'static str,
}

const fn entry(name: &'static str, kind: MetricKind, labels: &'static [&'static str], help: &'static str) -> Entry {
    Entry { name, kind, labels, help }
}

const FILE_SYSTEM: &[&str] = &["device", "fstype", "mountpoint"];

/// What the collector measures: first the names of the specification, then those of `node_exporter`.
pub const MACHINE: &[Entry] = &[
    entry("system.cpu_percent", Gauge, &[], "Share of all cores in use, 0 to 100."),
    entry("system.memory_percent", Gauge, &[], "Share of memory in use, 0 to 100."),
    entry("system.disk_usage_percent", Gauge, FILE_SYSTEM, "Share of the file system in use, 0 to 100."),
    entry("system.process_count", Gauge, &[], "Processes of the machine."),
    entry("system.network_io", Counter, &["device", "direction"], "Bytes through the device since it came up."),
    entry("process_memory_mb", Gauge, &["service"], "Resident memory of the process, in MiB."),
    entry("process_cpu_percent", Gauge, &["service"], "CPU time of the process, in percent of one core."),
    entry("node_load1", Gauge, &[], "1m load average."),
    entry("node_load5", Gauge, &[], "5m load average."),
    entry("node_load15", Gauge, &[], "15m load average."),
    entry("node_memory_MemTotal_bytes", Gauge, &[], "Memory information field MemTotal_bytes."),
    entry("node_memory_MemAvailable_bytes", Gauge, &[], "Memory information field MemAvailable_bytes."),
    entry("node_filesystem_size_bytes", Gauge, FILE_SYSTEM, "Filesystem size in bytes."),
    entry("node_filesystem_avail_bytes", Gauge, FILE_SYSTEM, "Filesystem space available to non-root users in bytes."),
    entry("node_network_receive_bytes_total", Counter, &["device"], "Network device statistic receive_bytes."),
    entry("node_network_transmit_bytes_total", Counter, &["device"], "Network device statistic transmit_bytes."),
    entry("node_cpu_seconds_total", Counter, &["cpu", "mode"], "Seconds the CPUs spent in each mode."),
    entry("node_boot_time_seconds", Gauge, &[], "Node boot time, in unixtime."),
    entry("node_time_seconds", Gauge, &[], "System time in seconds since epoch (1970)."),
];

/// What the host counts about itself, by name.
pub const OWN: &[Entry] = &[
    entry("watchfire_alerts", Gauge, &["state"], "Alerts that are pending or firing."),
    entry("watchfire_analyzer_lag_records", Gauge, &["plugin"], "Log records that the analyzer has not read yet."),
    entry(
        "watchfire_analyzer_malformed_total",
        Counter,
        &["plugin"],
        "Findings, points, labels and positions of the analyzer that could not be used.",
    ),
    entry("watchfire_analyzer_quarantined_total", Counter, &["plugin"], "Records that the analyzer could not take, left out."),
    entry("watchfire_analyzer_records_total", Counter, &["plugin"], "Records that the analyzer was given."),
    entry("watchfire_anomalies_open", Gauge, &[], "Unusual things in the log that go on."),
    entry("watchfire_anomalies_total", Counter, &["detector"], "Unusual things that a detector found in the log."),
    entry("watchfire_anomaly_lag_records", Gauge, &[], "Log records that the detectors have not counted yet."),
    entry("watchfire_anomaly_late_records_total", Counter, &[], "Log records that came after the time they are of was judged."),
    entry("watchfire_data_available_bytes", Gauge, &[], "Space left on the file system of the data directory."),
    entry("watchfire_data_bytes", Gauge, &[], "Bytes of the whole data directory, the ballast file included."),
    entry(
        "watchfire_day_files_dropped_total",
        Counter,
        &[],
        "Days of logs or metrics deleted to stay within retention and storage.max_bytes.",
    ),
    entry("watchfire_error_events_total", Counter, &[], "Error events found in the log."),
    entry("watchfire_errors_lag_records", Gauge, &[], "Log records in which errors have not been looked for yet."),
    entry("watchfire_findings_total", Counter, &["plugin"], "Findings of the analyzer."),
    entry(
        "watchfire_http_connections_full_total",
        Counter,
        &[],
        "Times that a new connection had to wait because as many as allowed were open.",
    ),
    entry("watchfire_input_bytes_total", Counter, &["input"], "Bytes read by an input, after decompression."),
    entry(
        "watchfire_input_file_behind_bytes",
        Gauge,
        &[],
        "Bytes of followed files that are not stored yet, as of the last look through the folders.",
    ),
    entry("watchfire_input_files", Gauge, &[], "Files that are followed."),
    entry("watchfire_input_records_total", Counter, &["input"], "Records and points that an input took in."),
    entry(
        "watchfire_input_rejected_total",
        Counter,
        &["input", "reason"],
        "Records (reason invalid_record) and whole requests, datagrams or connections (any other reason) that an input refused.",
    ),
    entry(
        "watchfire_input_truncated_lines_total",
        Counter,
        &[],
        "Lines of followed files that were longer than a line may be, or pieces of such lines.",
    ),
    entry("watchfire_issues", Gauge, &["status"], "Issues: unresolved, resolved or ignored."),
    entry("watchfire_log_batches_busy_total", Counter, &[], "Batches of logs whose sender was told to try again later."),
    entry("watchfire_log_blocks_damaged_total", Counter, &[], "Stored blocks of logs that could not be read and were left out."),
    entry("watchfire_log_commits_total", Counter, &[], "Transactions that stored logs."),
    entry("watchfire_log_merges_total", Counter, &[], "Times small blocks of logs were merged into a large one."),
    entry("watchfire_log_pattern_sources_held", Gauge, &[], "Sources of logs (service.name) whose patterns are in memory."),
    entry("watchfire_log_patterns_held", Gauge, &[], "Patterns of log lines in memory, of all sources together."),
    entry("watchfire_log_patterns_merged_total", Counter, &[], "Patterns of log lines that turned out to be another one."),
    entry("watchfire_log_patterns_new_total", Counter, &[], "Patterns of log lines that were new."),
    entry("watchfire_log_records_expired_total", Counter, &[], "Log records deleted because `retention_by_service` says so."),
    entry("watchfire_log_records_rejected_total", Counter, &["reason"], "Log records refused because of their time."),
    entry(
        "watchfire_log_records_shed_total",
        Counter,
        &["level"],
        "Log records not stored because there was little room left: levels trace, debug, info and unset.",
    ),
    entry("watchfire_log_records_total", Counter, &[], "Log records stored."),
    entry(
        "watchfire_log_records_without_pattern_total",
        Counter,
        &["reason"],
        "Log records stored without a pattern because none could be stored: reasons no_ids and unsaved_full.",
    ),
    entry("watchfire_log_rewrites_total", Counter, &[], "Times the log file of a closed day was written anew."),
    entry("watchfire_log_wal_bytes", Gauge, &[], "Write-ahead log of the present day's logs."),
    entry("watchfire_metrics_busy_total", Counter, &[], "Batches of points whose sender was told to try again later."),
    entry("watchfire_metrics_damaged_total", Counter, &[], "Pieces of stored metrics that could not be read and were left out."),
    entry("watchfire_metrics_points_in_memory", Gauge, &[], "Samples held in memory, for rules and until they are in chunks."),
    entry("watchfire_metrics_points_total", Counter, &[], "Points stored."),
    entry("watchfire_metrics_rejected_total", Counter, &["reason"], "Points refused for good."),
    entry("watchfire_metrics_series", Gauge, &[], "Series held in memory."),
    entry("watchfire_notifications_dead_total", Counter, &["receiver"], "Notifications given up: refused for good, or too late."),
    entry("watchfire_notifications_failed_total", Counter, &["reason", "receiver"], "Attempts that did not deliver."),
    entry("watchfire_notifications_total", Counter, &["receiver"], "Notifications that a receiver took."),
    entry("watchfire_outbox_oldest_age_seconds", Gauge, &[], "Age of the oldest notification that waits; 0 if none does."),
    entry("watchfire_outbox_rows", Gauge, &["state"], "Notifications in the outbox: queued, delivered or dead."),
    entry("watchfire_own_log_dropped_total", Counter, &[], "Records of the host's own log dropped because its queue was full."),
    entry("watchfire_parser_dropped_lines_total", Counter, &["plugin"], "Lines that the parser left out on purpose."),
    entry(
        "watchfire_parser_raw_lines_total",
        Counter,
        &["plugin"],
        "Lines that the parser did not understand or that it failed on: stored as they are.",
    ),
    entry("watchfire_parser_records_total", Counter, &["plugin"], "Records that the parser made of lines."),
    entry("watchfire_plugin_busy_seconds", Gauge, &["plugin"], "Time spent in calls into the plugin since the start."),
    entry("watchfire_plugin_calls_total", Counter, &["plugin"], "Calls into the plugin."),
    entry(
        "watchfire_plugin_failures_total",
        Counter,
        &["plugin", "reason"],
        "Calls that failed: reasons deadline, trap, malformed, refused.",
    ),
    entry(
        "watchfire_plugin_lines_dropped_total",
        Counter,
        &["plugin"],
        "Lines of the plugin that were too many for the host's log.",
    ),
    entry("watchfire_plugin_memory_bytes", Gauge, &["plugin"], "Memory of the plugin's last store."),
    entry("watchfire_plugin_refusals_total", Counter, &["plugin"], "Times the host refused what the plugin asked for."),
    entry(
        "watchfire_plugin_series_dropped_total",
        Counter,
        &["plugin"],
        "Points of the plugin's own series that were too many or not well formed.",
    ),
    entry("watchfire_redacted_total", Counter, &["rule"], "Secrets and personal data taken out of log records."),
    entry("watchfire_rule_evaluation_duration_seconds", Gauge, &[], "How long the last evaluation of all rules took."),
    entry("watchfire_rule_evaluations_total", Counter, &[], "Evaluations of all rules."),
    entry(
        "watchfire_rule_records_dropped_total",
        Counter,
        &["reason"],
        "Log records, findings and issues that rules could not count.",
    ),
    entry("watchfire_rules_failing", Gauge, &[], "Rules that could not be evaluated the last time."),
    entry("watchfire_sentry_items_total", Counter, &["type"], "Items that Sentry SDKs sent, those included that are only counted."),
    entry(
        "watchfire_sentry_lost_by_client_total",
        Counter,
        &["category", "reason"],
        "What Sentry SDKs say that they did not send, by category and reason.",
    ),
    entry(
        "watchfire_sentry_repeated_events_total",
        Counter,
        &[],
        "Events of Sentry SDKs that were stored already, as their SDK got no answer, and were dropped with what came with them.",
    ),
    entry("watchfire_source_map_bundles", Gauge, &[], "Bundles of source maps that are kept."),
    entry(
        "watchfire_source_map_bytes",
        Gauge,
        &[],
        "Bytes of source maps, minified files and parts of bundles, as they are stored.",
    ),
    entry(
        "watchfire_source_map_calls_total",
        Counter,
        &["outcome"],
        "Calls of JavaScript that were looked up in source maps: resolved, unknown to the map, or without one.",
    ),
    entry(
        "watchfire_source_map_removals_total",
        Counter,
        &["reason"],
        "Bundles deleted for their age or for want of bytes, and parts of bundles that were never completed.",
    ),
    entry("watchfire_source_map_uploads_total", Counter, &["outcome"], "Bundles of source maps that were uploaded, by outcome."),
    entry(
        "watchfire_storage_state",
        Gauge,
        &[],
        "What logs are stored: 0 all, 1 no debug and trace, 2 warnings and worse, 3 none, as the disk is almost full.",
    ),
    entry("watchfire_syslog_connections", Gauge, &["listener"], "Open syslog connections of the listener."),
    entry(
        "watchfire_syslog_dropped_total",
        Counter,
        &["input", "reason"],
        "Syslog lost: datagrams for which the kernel had no room (kernel), messages that waited when the host stopped (stopped).",
    ),
    entry("watchfire_syslog_truncated_total", Counter, &["input"], "Syslog messages that were cut, or ended early."),
    entry(
        "watchfire_syslog_unparsed_total",
        Counter,
        &["input"],
        "Syslog messages stored as text, with the reason in syslog.error.",
    ),
];

/// Returns what is known of the metric stored as `name`.
#[must_use]
pub fn find(name: &str) -> Option<&'static Entry> {
    OWN.iter().chain(MACHINE).find(|entry| entry.name == name)
}

/// Returns whether the host may count under `name` with `labels`: any name but one of its own that is not listed here as such.
#[must_use]
pub fn allows(name: &str, kind: MetricKind, labels: &[(&str, &str)]) -> bool {
    let listed = |entry: &Entry| {
        let mut names: Vec<_> = labels.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        entry.kind == kind && names == entry.labels
    };
    // What plugins count about themselves is named by them.
    let of_plugin = || name.starts_with("watchfire_plugin_") && labels.iter().any(|(name, _)| *name == "plugin");
    !name.starts_with("watchfire_") || find(name).map_or_else(of_plugin, listed)
}

/// Returns all metrics as the document `METRICS.md`.
#[must_use]
pub fn reference() -> String {
    let mut text =
        "# Metrics\n\nWhat the host stores without being sent anything, and shows at `/metrics` (there with every `.` as `_`).\n\
        Written from `src/telemetry/catalogue.rs`, which a test holds equal to this.\n"
            .to_owned();
    let about = "The first are named by the specification, the others as `node_exporter` names them. \
        They are measured while `performance.auto_start` is on.";
    for (title, about, entries) in
        [("The host itself", "Counters begin at zero with each start.", OWN), ("The machine", about, MACHINE)]
    {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "\n## {title}\n\n{about}\n\n| name | kind | labels | what it says |\n|---|---|---|---|");
        for Entry { name, kind, labels, help } in entries {
            let kind = if *kind == Counter { "counter" } else { "gauge" };
            let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
            let _ = writeln!(text, "| `{name}` | {kind} | {} | {help} |", labels.join(", "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_help_texts_are_well_formed() {
        for Entry { name, kind, labels, help } in OWN {
            assert!(name.starts_with("watchfire_"), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}: lower case and `_` only");
            assert_eq!(name.ends_with("_total"), *kind == Counter, "{name}: a counter, and nothing else, ends in `_total`");
            let derived =
                ["_milliseconds", "_ms", "_minutes", "_hours", "_days", "_kb", "_mb", "_percent", "_kilobytes", "_megabytes"];
            assert!(!derived.iter().any(|unit| name.contains(unit)), "{name}: base units are seconds and bytes");
            assert!(labels.is_sorted() && !labels.contains(&"le"), "{name}: {labels:?}");
            assert!(!help.contains('|'), "{name}: breaks the table");
        }
        assert!(OWN.is_sorted_by(|left, right| left.name < right.name), "by name, each once");
        for Entry { name, help, .. } in OWN.iter().chain(MACHINE) {
            assert!(help.ends_with('.') && !help.contains('\n') && help.len() > 10, "{name}: `{help}`");
        }
    }

    #[test]
    fn a_name_of_our_own_needs_an_entry() {
        assert!(allows("watchfire_alerts", Gauge, &[("state", "firing")]));
        assert!(allows("anything", Counter, &[]));
        assert!(!allows("watchfire_alerts", Gauge, &[]) && !allows("watchfire_alerts", Counter, &[("state", "firing")]));
        assert!(!allows("watchfire_no_such_total", Counter, &[]));
    }

    #[test]
    fn the_reference_is_up_to_date() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("METRICS.md");
        if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
            std::fs::write(&path, reference()).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(written == reference(), "METRICS.md is out of date: run this test with INSTA_UPDATE=always");
    }
}
