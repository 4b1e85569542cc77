//! From a journal entry to a record.
//!
//! | fields | become |
//! |---|---|
//! | `MESSAGE` | the body |
//! | `PRIORITY` | the level, in syslog's numbers |
//! | `_SOURCE_REALTIME_TIMESTAMP`, else `__REALTIME_TIMESTAMP` | the time |
//! | the first of `CONTAINER_NAME`, `SYSLOG_IDENTIFIER`, `_SYSTEMD_USER_UNIT`, `_SYSTEMD_UNIT` (without `.service`), `_COMM` | `service.name` |
//! | `_HOSTNAME`, `_MACHINE_ID` | `host.name`, `host.id` |
//! | those with a name in OpenTelemetry ([`NAMES`]) | attributes of that name |
//! | all others but `__…` | attributes of their own name |
//!
//! Source: systemd.journal-fields(7); OpenTelemetry's semantic conventions.

use watchfire_types::attributes::keys;
use watchfire_types::log::{RecordHead, unhex};
use watchfire_types::{Severity, Timestamp, ValueRef};

use super::export::Entry;
use crate::inputs::builder::{BatchBuilder, OverBudget};

/// Fields whose values OpenTelemetry has a name for, and whether they are numbers.
const NAMES: [(&str, &str, bool); 13] = [
    ("_PID", keys::PROCESS_PID, true),
    ("SYSLOG_PID", keys::PROCESS_PID, true),
    ("TID", "thread.id", true),
    ("_COMM", "process.executable.name", false),
    ("_EXE", "process.executable.path", false),
    ("_CMDLINE", "process.command_line", false),
    ("_UID", "process.user.id", true),
    ("CODE_FILE", "code.file.path", false),
    ("CODE_LINE", "code.line.number", true),
    ("CODE_FUNC", "code.function.name", false),
    ("CONTAINER_ID_FULL", "container.id", false),
    ("CONTAINER_NAME", "container.name", false),
    ("IMAGE_NAME", "container.image.name", false),
];

/// Fields that are elsewhere in the record.
const USED: [&str; 7] = ["MESSAGE", "PRIORITY", "_SOURCE_REALTIME_TIMESTAMP", "_HOSTNAME", "_MACHINE_ID", "TRACE_ID", "SPAN_ID"];

/// The levels, as syslog names them.
const LEVELS: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

/// Appends the record that `entry` is.
///
/// # Errors
/// [`OverBudget`] when the batch has grown too large.
pub(super) fn push(builder: &mut BatchBuilder, entry: &Entry, now: Timestamp) -> Result<(), OverBudget> {
    let text = |name: &str| entry.text(name).filter(|text| !text.is_empty());
    let micros = |name: &str| Some(Timestamp::from_nanos(text(name)?.parse::<u64>().ok()?.saturating_mul(1000)));
    let priority = text("PRIORITY").and_then(|text| text.parse::<u8>().ok()).filter(|priority| *priority < 8);
    let unit = |name: &str| text(name).map(|unit| unit.strip_suffix(".service").unwrap_or(unit));
    let service = text("CONTAINER_NAME")
        .or_else(|| text("SYSLOG_IDENTIFIER"))
        .or_else(|| unit("_SYSTEMD_USER_UNIT"))
        .or_else(|| unit("_SYSTEMD_UNIT"))
        .or_else(|| text("_COMM"));
    let resource = builder.text_resource([
        service.map(|service| (keys::SERVICE_NAME, service)),
        text("_HOSTNAME").map(|host| (keys::HOST_NAME, host)),
        text("_MACHINE_ID").map(|id| ("host.id", id)),
    ]);
    let (trace_id, span_id) = (text("TRACE_ID").and_then(unhex), text("SPAN_ID").and_then(unhex));
    let head = RecordHead {
        timestamp: micros("_SOURCE_REALTIME_TIMESTAMP").or_else(|| micros("__REALTIME_TIMESTAMP")).unwrap_or(now),
        observed: now,
        severity: priority.map_or(Severity::UNSET, Severity::from_syslog),
        severity_text: priority.map_or("", |priority| LEVELS[usize::from(priority)]),
        resource,
        trace_id: trace_id.unwrap_or_default(),
        span_id: span_id.unwrap_or_default(),
        ..RecordHead::default()
    };
    let message = entry.fields().find(|(name, _)| *name == "MESSAGE").map(|(_, value)| value);
    let (body, is_text) = match message.map(str::from_utf8) {
        Some(Ok(text)) => (ValueRef::Text(text), true),
        // Words in it are to be found all the same; the bytes themselves are an attribute.
        Some(Err(_)) => (ValueRef::Null, false),
        None => (ValueRef::Null, true),
    };
    let lossy = if is_text { None } else { message.map(String::from_utf8_lossy) };
    builder.push(&head, lossy.as_deref().map_or(body, ValueRef::Text))?;
    for (name, value) in entry.fields() {
        if name.starts_with("__") || (USED.contains(&name) && is_used(name, is_text, trace_id.is_some(), span_id.is_some())) {
            continue;
        }
        let known = NAMES.iter().find(|(field, _, _)| *field == name);
        let key = known.map_or(name, |(_, key, _)| *key);
        let value = match str::from_utf8(value) {
            Ok(text) => match known.filter(|(_, _, is_number)| *is_number).and_then(|_| text.parse().ok()) {
                Some(number) => ValueRef::Int(number),
                None => ValueRef::Text(text),
            },
            Err(_) => ValueRef::Bytes(value),
        };
        builder.attribute(key, value);
    }
    Ok(())
}

/// Returns whether all of a field is elsewhere in the record.
fn is_used(name: &str, message: bool, trace: bool, span: bool) -> bool {
    match name {
        "MESSAGE" => message,
        "TRACE_ID" => trace,
        "SPAN_ID" => span,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::export::read_all;
    use super::*;

    fn records(bytes: &[u8]) -> Vec<serde_json::Value> {
        let mut builder = BatchBuilder::new(usize::MAX);
        for entry in read_all(bytes, 100).unwrap() {
            push(&mut builder, &entry, Timestamp::from_seconds(1_795_392_600)).unwrap();
        }
        let batch = builder.finish();
        (0..batch.len()).map(|row| serde_json::to_value(batch.record(row)).unwrap()).collect()
    }

    #[test]
    fn fields_get_opentelemetrys_names_where_there_is_one() {
        let records = records(
            b"__CURSOR=s=1\n__REALTIME_TIMESTAMP=1795392000000001\n_SOURCE_REALTIME_TIMESTAMP=1795392000000000\n__MONOTONIC_TIMESTAMP=5\n\
              _HOSTNAME=web-1\n_MACHINE_ID=abc\nPRIORITY=3\nSYSLOG_IDENTIFIER=sshd\n_SYSTEMD_UNIT=ssh.service\n_PID=77\n_COMM=sshd\n\
              CODE_FILE=a.c\nCODE_LINE=12\nMESSAGE=Failed password\nMESSAGE_ID=ffff\n_TRANSPORT=syslog\nTRACE_ID=0af7651916cd43dd8448eb211c80319c\n\n",
        );
        let expected = json!({
            "timestamp": "2026-11-23T00:00:00Z", "observed_timestamp": "2026-11-23T00:10:00Z", "severity_number": 17,
            "severity_text": "err", "body": "Failed password", "trace_id": "0af7651916cd43dd8448eb211c80319c",
            "attributes": {
                "SYSLOG_IDENTIFIER": "sshd", "_SYSTEMD_UNIT": "ssh.service", "process.pid": 77, "process.executable.name": "sshd",
                "code.file.path": "a.c", "code.line.number": 12, "MESSAGE_ID": "ffff", "_TRANSPORT": "syslog",
            },
            "resource": {"service.name": "sshd", "host.name": "web-1", "host.id": "abc"},
        });
        assert_eq!(records, [expected]);
    }

    #[test]
    fn a_unit_names_the_service_where_nothing_better_does_and_bytes_stay_bytes() {
        let records = records(
            b"_SYSTEMD_UNIT=app.service\n_COMM=java\nMESSAGE\n\x03\0\0\0\0\0\0\0a\xffb\nBLOB\n\x02\0\0\0\0\0\0\0\x01\xff\n\n",
        );
        assert_eq!((&records[0]["body"], &records[0]["resource"]["service.name"]), (&json!("a\u{fffd}b"), &json!("app")));
        assert_eq!((&records[0]["attributes"]["MESSAGE"], &records[0]["attributes"]["BLOB"]), (&json!("Yf9i"), &json!("Af8=")));
        assert_eq!(records[0]["timestamp"], "2026-11-23T00:10:00Z");
    }
}
