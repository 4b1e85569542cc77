//! One event as one line: text for people, logfmt, or JSON in the names of a log record.

use std::fmt::Write as _;

use serde_json::json;
use watchfire_types::{Severity, Timestamp};

use super::OwnRecord;
use crate::config::LogFormat;

/// Returns `record` as a line, with its newline.
#[must_use]
pub fn line(record: &OwnRecord, format: LogFormat, colour: bool) -> String {
    let mut line = match format {
        LogFormat::Text => text(record, colour),
        LogFormat::Logfmt => logfmt(record),
        LogFormat::Json => json(record),
    };
    line.push('\n');
    line
}

fn text(record: &OwnRecord, colour: bool) -> String {
    let (start, end) = if colour { (colour_of(record.severity), "\x1b[0m") } else { ("", "") };
    let target = record.target.strip_prefix("watchfire::").unwrap_or(&record.target);
    let mut line = format!("{} {start}{:<5}{end} {target}: ", time(record.timestamp), record.severity);
    push_visible(&mut line, &record.message);
    for (key, value) in &record.attributes {
        let _ = write!(line, " {key}=");
        push_value(&mut line, &value.as_ref().display());
    }
    line
}

fn logfmt(record: &OwnRecord) -> String {
    let level = record.severity.name().to_lowercase();
    let mut line = format!("time={} level={level} target={} msg=", time(record.timestamp), record.target);
    push_value(&mut line, &record.message);
    for (key, value) in &record.attributes {
        let _ = write!(line, " {}=", key.replace([' ', '=', '"'], "_"));
        push_value(&mut line, &value.as_ref().display());
    }
    line
}

fn json(record: &OwnRecord) -> String {
    let attributes: serde_json::Map<_, _> =
        record.attributes.iter().map(|(key, value)| (key.clone(), value.as_ref().to_json())).collect();
    json!({
        "timestamp": record.timestamp,
        "observed_timestamp": record.timestamp,
        "severity_number": record.severity.0,
        "severity_text": record.severity.name(),
        "scope": record.target,
        "body": record.message,
        "attributes": attributes,
        "resource": { "service.name": "watchfire" },
    })
    .to_string()
}

/// RFC 3339 to the millisecond, always as wide, so that lines stand under each other.
fn time(timestamp: Timestamp) -> String {
    let seconds = Timestamp::from_seconds(timestamp.as_millis() / 1000).to_string();
    format!("{}.{:03}Z", seconds.trim_end_matches('Z'), timestamp.as_millis() % 1000)
}

fn colour_of(severity: Severity) -> &'static str {
    match severity.0 {
        17.. => "\x1b[31m",
        13..=16 => "\x1b[33m",
        9..=12 => "\x1b[32m",
        _ => "\x1b[2m",
    }
}

/// Writes a value, quoted if it would not be read back as one word.
fn push_value(line: &mut String, value: &str) {
    let plain = !value.is_empty() && !value.contains([' ', '"', '=']) && !value.contains(char::is_control);
    if plain {
        line.push_str(value);
    } else {
        line.push('"');
        push_visible(line, &value.replace('\\', "\\\\").replace('"', "\\\""));
        line.push('"');
    }
}

/// Writes text without control characters: what comes from outside must not forge a line or steer a terminal.
fn push_visible(line: &mut String, text: &str) {
    for character in text.chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
}
