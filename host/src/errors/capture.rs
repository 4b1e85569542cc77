//! Takes errors that a program reports by itself, and makes log records of them.

use serde::Deserialize;
use serde_json::Value as JsonValue;
use watchfire_types::attributes::keys;
use watchfire_types::log::{RecordHead, unhex};
use watchfire_types::{Attributes, LogBatch, Severity, Timestamp, Value, ValueRef};

/// Most errors of one request, and most bytes of it.
pub const MAX_CAPTURES: usize = 1_000;
/// Most bytes of a request.
pub const MAX_BYTES: usize = 4 << 20;
const MAX_TYPE_BYTES: usize = 1_000;
const MAX_MESSAGE_BYTES: usize = 64 << 10;
const MAX_TRACE_BYTES: usize = 512 << 10;
const MAX_ATTRIBUTES: usize = 64;
const MAX_ATTRIBUTE_BYTES: usize = 16 << 10;

/// An error as a program reports it. At least one of `type`, `message` and `stacktrace` is given.
#[derive(Clone, Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Capture {
    /// Class of the exception.
    #[serde(rename = "type", default)]
    pub kind: Option<String>,
    /// What it said.
    #[serde(default)]
    pub message: Option<String>,
    /// Its stack trace as text.
    #[serde(default)]
    pub stacktrace: Option<String>,
    /// `service.name`.
    #[serde(default)]
    pub service: Option<String>,
    /// LOW, MEDIUM, HIGH or CRITICAL. Not beside `level`. Default: an error, as HIGH.
    #[serde(default)]
    pub severity: Option<String>,
    /// A level: warning, error, critical and others.
    #[serde(default)]
    pub level: Option<String>,
    /// What else there is to say.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, serde_json::Value>)]
    pub attributes: serde_json::Map<String, JsonValue>,
    /// When it happened: RFC 3339, or a number since 1970. Default: now.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub timestamp: Option<JsonValue>,
    /// 32 hexadecimal digits.
    #[serde(default)]
    pub trace_id: Option<String>,
}

/// Reads one error or a list of them.
///
/// # Errors
/// What is wrong, and where: nothing is taken then.
pub fn read(body: &[u8], now: Timestamp) -> Result<LogBatch, String> {
    let json: JsonValue =
        serde_json::from_slice(body).map_err(|error| format!("expected an error, or a list of errors, in JSON: {error}"))?;
    let (items, is_list) = match json {
        JsonValue::Array(items) => (items, true),
        object => (vec![object], false),
    };
    if items.is_empty() || items.len() > MAX_CAPTURES {
        return Err(format!("expected 1 to {MAX_CAPTURES} errors, found {}", items.len()));
    }
    let mut batch = LogBatch::default();
    for (index, item) in items.into_iter().enumerate() {
        let place = |path: &str| match (is_list, path.is_empty()) {
            (true, true) => format!("[{index}]: "),
            (true, false) => format!("[{index}].{path}: "),
            (false, true) => String::new(),
            (false, false) => format!("{path}: "),
        };
        let capture: Capture = serde_path_to_error::deserialize(item).map_err(|error| {
            let path = error.path().to_string();
            format!("{}{}", place(if path == "." { "" } else { &path }), error.inner())
        })?;
        capture.push(&mut batch, now).map_err(|(path, reason)| format!("{}{reason}", place(path)))?;
    }
    Ok(batch)
}

impl Capture {
    /// Appends it to `batch`.
    fn push(self, batch: &mut LogBatch, now: Timestamp) -> Result<(), (&'static str, String)> {
        let text = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
        let (kind, message, trace) = (text(&self.kind), text(&self.message), text(&self.stacktrace));
        for (key, text, most) in [
            ("type", &kind, MAX_TYPE_BYTES),
            ("message", &message, MAX_MESSAGE_BYTES),
            ("stacktrace", &trace, MAX_TRACE_BYTES),
            ("service", &self.service, MAX_TYPE_BYTES),
        ] {
            if let Some(length) = text.as_ref().map(String::len).filter(|length| *length > most) {
                return Err((key, format!("may have {most} bytes, not {length}")));
            }
        }
        let body = match (&kind, &message) {
            (Some(kind), Some(message)) => format!("{kind}: {message}"),
            (Some(text), None) | (None, Some(text)) => text.clone(),
            // The trace says it.
            (None, None) => {
                trace.as_ref().and_then(|trace| trace.lines().rfind(|line| !line.trim().is_empty())).unwrap_or("").to_owned()
            }
        };
        if body.is_empty() {
            return Err(("", "expected at least one of `type`, `message` and `stacktrace`".to_owned()));
        }
        let (severity, severity_text) = self.severity()?;
        let timestamp = self.timestamp.as_ref().map_or(Ok(now), |value| {
            let time = match value {
                JsonValue::String(text) => text.trim().parse().ok(),
                JsonValue::Number(number) => crate::inputs::time::from_number(number),
                _ => None,
            };
            time.ok_or_else(|| ("timestamp", format!("{value} is not a time: write `2026-11-22T08:30:00Z` or seconds since 1970")))
        })?;
        let trace_id = match self.trace_id.as_deref().filter(|id| !id.is_empty()) {
            Some(id) => unhex(id).ok_or_else(|| ("trace_id", format!("`{id}` is not 32 hexadecimal digits")))?,
            None => [0; 16],
        };
        let attributes = self.attributes()?;
        let service = self.service.filter(|service| !service.is_empty());
        let resource: Attributes = service.into_iter().map(|service| (keys::SERVICE_NAME.to_owned(), service.into())).collect();
        let resource = batch.resource(resource);
        let head = RecordHead { timestamp, observed: now, severity, severity_text, resource, trace_id, ..RecordHead::default() };
        batch.push(&head, ValueRef::Text(&body));
        for (key, text) in
            [(keys::EXCEPTION_TYPE, &kind), (keys::EXCEPTION_MESSAGE, &message), (keys::EXCEPTION_STACKTRACE, &trace)]
        {
            if let Some(text) = text {
                batch.attribute(key, ValueRef::Text(text));
            }
        }
        for (key, value) in &attributes {
            batch.attribute(key, value.as_ref());
        }
        Ok(())
    }

    fn severity(&self) -> Result<(Severity, &'static str), (&'static str, String)> {
        match (&self.severity, &self.level) {
            (Some(_), Some(_)) => Err(("level", "expected either `severity` or `level`, found both".to_owned())),
            (None, None) => Ok((Severity::ERROR, "ERROR")),
            (Some(word), None) => match word.to_ascii_uppercase().as_str() {
                "LOW" => Ok((Severity::INFO, "LOW")),
                "MEDIUM" => Ok((Severity::WARN, "MEDIUM")),
                "HIGH" => Ok((Severity::ERROR, "HIGH")),
                "CRITICAL" => Ok((Severity::FATAL, "CRITICAL")),
                _ => Err(("severity", format!("`{word}` is none of LOW, MEDIUM, HIGH, CRITICAL"))),
            },
            (None, Some(word)) => {
                let level = Severity::from_text(word.trim());
                level
                    .map(|level| (level, level.name()))
                    .ok_or_else(|| ("level", format!("`{word}` is none of debug, info, warning, error, critical")))
            }
        }
    }

    fn attributes(&self) -> Result<Attributes, (&'static str, String)> {
        if self.attributes.len() > MAX_ATTRIBUTES {
            return Err(("attributes", format!("there may be {MAX_ATTRIBUTES}, not {}", self.attributes.len())));
        }
        let attribute = |(key, value): (&String, &JsonValue)| {
            let length = key.len() + value.as_str().map_or_else(|| value.to_string().len(), str::len);
            if length > MAX_ATTRIBUTE_BYTES {
                return Err((
                    "attributes",
                    format!("`{}` has {length} bytes; {MAX_ATTRIBUTE_BYTES} are allowed", super::stack::cut(key, 100)),
                ));
            }
            Ok((key.clone(), Value::from(value.clone())))
        };
        self.attributes.iter().map(attribute).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_795_392_600);

    #[test]
    fn an_error_becomes_a_record_with_an_exception() {
        let batch = read(br#"{"type": "ValueError", "message": "bad", "stacktrace": "Traceback", "service": "shop", "severity": "critical",
            "attributes": {"user": 7, "exception.type": "kept as it was"}, "timestamp": 1795392000, "trace_id": "0af7651916cd43dd8448eb211c80319c"}"#, NOW)
        .unwrap();
        let record = batch.record(0);
        assert_eq!(
            (record.body.as_text(), record.severity_number, record.severity_text.as_str()),
            (Some("ValueError: bad"), 21, "CRITICAL")
        );
        assert_eq!((record.timestamp, batch.service(0)), (Timestamp::from_seconds(1_795_392_000), "shop"));
        assert_eq!(record.trace_id, "0af7651916cd43dd8448eb211c80319c");
        let keys: Vec<&str> = record.attributes.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, [keys::EXCEPTION_TYPE, keys::EXCEPTION_MESSAGE, keys::EXCEPTION_STACKTRACE, "user"]);
        assert_eq!(record.attributes[0].1.as_text(), Some("ValueError"));
        let batch = read(br#"[{"message": "only this"}, {"stacktrace": "Traceback\nKeyError: 1\n"}]"#, NOW).unwrap();
        assert_eq!((batch.len(), batch.record(1).body.as_text()), (2, Some("KeyError: 1")));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let said = |body: &str| read(body.as_bytes(), NOW).unwrap_err();
        insta::assert_snapshot!(said("{"), @"expected an error, or a list of errors, in JSON: EOF while parsing an object at line 1 column 1");
        insta::assert_snapshot!(said("[]"), @"expected 1 to 1000 errors, found 0");
        insta::assert_snapshot!(said("{}"), @"expected at least one of `type`, `message` and `stacktrace`");
        insta::assert_snapshot!(said(r#"[{"type": "a"}, {"type": 5}]"#), @"[1].type: invalid type: integer `5`, expected a string");
        insta::assert_snapshot!(said(r#"{"typ": "a"}"#), @"typ: unknown field `typ`, expected one of `type`, `message`, `stacktrace`, `service`, `severity`, `level`, `attributes`, `timestamp`, `trace_id`");
        insta::assert_snapshot!(said(r#"{"type": "a", "severity": "BAD"}"#), @"severity: `BAD` is none of LOW, MEDIUM, HIGH, CRITICAL");
        insta::assert_snapshot!(said(r#"{"type": "a", "severity": "LOW", "level": "error"}"#), @"level: expected either `severity` or `level`, found both");
        insta::assert_snapshot!(said(r#"{"type": "a", "timestamp": "soon"}"#), @r#"timestamp: "soon" is not a time: write `2026-11-22T08:30:00Z` or seconds since 1970"#);
        insta::assert_snapshot!(said(r#"{"type": "a", "trace_id": "1"}"#), @"trace_id: `1` is not 32 hexadecimal digits");
        let long = format!(r#"{{"type": "{}"}}"#, "a".repeat(2000));
        insta::assert_snapshot!(said(&long), @"type: may have 1000 bytes, not 2000");
    }
}
