//! `POST /api/v1/logs`: one JSON object or one line of text per line.
//!
//! | of these keys, the first that is there | becomes |
//! |---|---|
//! | `timestamp`, `time`, `@timestamp`, `ts`, `_time` | the time: RFC 3339, or a number since 1970 in s, ms, µs or ns |
//! | `level`, `severity`, `severity_text`, `lvl`, `log.level` | the level; `severity_number` wins if it is there too |
//! | `message`, `msg`, `body`, `_msg`, `log` | the body |
//! | `service`, `service.name` | `service.name` of the resource |
//! | `trace_id`, `span_id` | the same |
//! | `attributes`, `resource`, if objects | their entries |
//!
//! All other keys become attributes; an array or object is kept as JSON text. An object as the API exports it is read back as it was.
//! Plain text goes through [`super::syslog_prefix`].

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use axum::{Json, Router};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::Value as JsonValue;
use watchfire_types::attributes::keys;
use watchfire_types::log::RecordHead;
use watchfire_types::{LogBatch, LogRecord, Timestamp, ValueRef};

use super::builder::{BatchBuilder, OverBudget};
use super::json_fields::{Nested, Object};
use super::object_record::{self, Meaning};
use super::{InputState, body, syslog_prefix};
use crate::http::{ApiError, Params};

/// Longest line, in bytes.
pub const MAX_LINE_BYTES: usize = 1 << 20;

/// Most refused lines that an answer lists.
const MAX_LISTED_ERRORS: usize = 20;

/// The keys of a record as the API writes it.
const RECORD_KEYS: [&str; 14] = [
    "seq",
    "pattern",
    "timestamp",
    "observed_timestamp",
    "severity_number",
    "severity_text",
    "body",
    "attributes",
    "resource",
    "scope",
    "event_name",
    "trace_id",
    "span_id",
    "flags",
];

/// What became of the lines of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct IngestAnswer {
    /// Records that are now durable.
    pub accepted: u64,
    /// Lines refused.
    pub rejected: u64,
    /// The first of them, at most twenty.
    pub errors: Vec<LineError>,
}

/// Why a line was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LineError {
    /// Its number in the request, from 1; 0 when it is not known.
    pub line: u64,
    /// Why.
    pub reason: String,
}

/// Returns the path.
pub fn routes(state: InputState) -> Router {
    Router::new().route("/api/v1/logs", post(ingest)).with_state(state)
}

/// Takes log records: one JSON object or one line of text per line.
#[utoipa::path(
    post, path = "/api/v1/logs", tag = "ingest",
    params(("service" = Option<String>, Query, description = "`service.name` for lines that do not say theirs")),
    request_body(content = String, content_type = "application/x-ndjson", description = "one record per line, compressed or not"),
    responses(
        (status = 200, body = IngestAnswer, description = "durable, apart from the lines that `errors` names"),
        (status = 400, body = crate::http::error::ErrorBody), (status = 413, body = crate::http::error::ErrorBody),
        (status = 415, body = crate::http::error::ErrorBody), (status = 503, body = crate::http::error::ErrorBody),
    ),
)]
pub async fn ingest(
    State(state): State<InputState>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<IngestAnswer>, ApiError> {
    let result = take(&state, &params, &headers, body).await;
    match &result {
        Ok(answer) => state.count("ndjson", answer.accepted, answer.rejected),
        Err(error) => state.count_refusal("ndjson", error),
    }
    result.map(Json)
}

async fn take(state: &InputState, params: &Params, headers: &HeaderMap, body: Body) -> Result<IngestAnswer, ApiError> {
    let service = params.only(&["service"])?.one("service").map(str::to_owned);
    let (now, budget) = (state.clock.now(), state.decode_budget());
    let decode = move |bytes: &[u8]| {
        let defaults = Defaults { service: service.as_deref(), host: None, now, zone: &TimeZone::system() };
        decode_lines(bytes, &defaults, None, budget)
    };
    let (batch, mut answer, lines) = body::read(state, "ndjson", headers, body, decode)
        .await?
        .map_err(|error: OverBudget| ApiError::too_large(error.to_string()))?;
    if batch.is_empty() {
        return Ok(answer);
    }
    let accepted = state.logs.ingest(batch, Vec::new()).await.map_err(super::refused)?;
    answer.accepted = accepted.accepted;
    answer.rejected += accepted.rejected;
    let room = MAX_LISTED_ERRORS.saturating_sub(answer.errors.len());
    let refused = accepted.refused.iter().take(room);
    let named = refused.filter_map(|(row, reason)| Some((*lines.get(*row as usize)?, (*reason).to_owned())));
    answer
        .errors
        .extend(named.map(|(line, reason)| LineError { line: u64::from(line), reason: format!("the record is {reason}") }));
    answer.errors.sort_by_key(|error| error.line);
    if accepted.rejected > accepted.refused.len() as u64 && answer.errors.len() < MAX_LISTED_ERRORS {
        answer.errors.push(LineError { line: 0, reason: accepted.reason });
    }
    Ok(answer)
}

/// What holds for lines that do not say otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Defaults<'a> {
    /// `service.name`.
    pub service: Option<&'a str>,
    /// `host.name`.
    pub host: Option<&'a str>,
    /// The present time.
    pub now: Timestamp,
    /// Zone of times that name none.
    pub zone: &'a TimeZone,
}

/// Reads all lines; those that are refused are in the answer.
///
/// # Errors
/// [`OverBudget`] when they take too much memory together.
pub fn decode(bytes: &[u8], defaults: &Defaults<'_>, budget: usize) -> Result<(LogBatch, IngestAnswer), OverBudget> {
    decode_lines(bytes, defaults, None, budget).map(|(batch, answer, _)| (batch, answer))
}

/// The same, and the line of each row of the batch. `unnamed` is the service of plain lines for which nothing else names one.
pub(super) fn decode_lines(
    bytes: &[u8],
    defaults: &Defaults<'_>,
    unnamed: Option<&str>,
    budget: usize,
) -> Result<(LogBatch, IngestAnswer, Vec<u32>), OverBudget> {
    let mut lines = Vec::new();
    let mut builder = BatchBuilder::new(budget);
    let mut answer = IngestAnswer::default();
    let mut object = Object::default();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let refused = if line.len() > MAX_LINE_BYTES {
            Err(LineRefused::Reason(format!("the line is longer than {MAX_LINE_BYTES} bytes")))
        } else {
            match str::from_utf8(line) {
                Ok(text) if text.trim_start().starts_with('{') => push_object(&mut builder, text, defaults, &mut object),
                Ok(text) => push_text(&mut builder, text, defaults, unnamed).map_err(Into::into),
                Err(_) => Err(LineRefused::Reason("the line is not UTF-8".to_owned())),
            }
        };
        match refused {
            Ok(()) => lines.push(index as u32 + 1),
            Err(LineRefused::OverBudget(error)) => return Err(error),
            Err(LineRefused::Reason(reason)) => {
                answer.rejected += 1;
                if answer.errors.len() < MAX_LISTED_ERRORS {
                    answer.errors.push(LineError { line: index as u64 + 1, reason });
                }
            }
        }
    }
    Ok((builder.finish(), answer, lines))
}

/// Why a line did not become a record.
#[derive(Debug)]
pub(super) enum LineRefused {
    /// The whole batch is too large.
    OverBudget(OverBudget),
    /// What is wrong with the line.
    Reason(String),
}

impl From<OverBudget> for LineRefused {
    fn from(error: OverBudget) -> Self {
        Self::OverBudget(error)
    }
}

/// Appends a line of text. `unnamed` is the service of lines for which neither the defaults nor their prefix name one.
pub(super) fn push_text(
    builder: &mut BatchBuilder,
    text: &str,
    defaults: &Defaults<'_>,
    unnamed: Option<&str>,
) -> Result<(), OverBudget> {
    push_line(builder, &syslog_prefix::parse(text, defaults.now, defaults.zone), defaults, unnamed)
}

fn push_line(
    builder: &mut BatchBuilder,
    line: &syslog_prefix::Line<'_>,
    defaults: &Defaults<'_>,
    unnamed: Option<&str>,
) -> Result<(), OverBudget> {
    let service = defaults.service.or(line.program).or(unnamed);
    let host = line.host.or(defaults.host).map(|host| (keys::HOST_NAME, host));
    let resource = builder.text_resource([service.map(|service| (keys::SERVICE_NAME, service)), host, None]);
    let head = RecordHead {
        timestamp: line.timestamp.unwrap_or(defaults.now),
        observed: defaults.now,
        severity: line.severity,
        severity_text: line.severity_text,
        resource,
        ..RecordHead::default()
    };
    builder.push(&head, ValueRef::Text(line.message))?;
    if let Some(id) = line.process_id {
        builder.attribute(keys::PROCESS_PID, ValueRef::Int(id));
    }
    Ok(())
}

/// Appends a line that is a JSON object.
pub(super) fn push_json(builder: &mut BatchBuilder, text: &str, defaults: &Defaults<'_>) -> Result<(), LineRefused> {
    push_object(builder, text, defaults, &mut Object::default())
}

/// The same with an `object` that is used again and again.
fn push_object<'a>(
    builder: &mut BatchBuilder,
    text: &'a str,
    defaults: &Defaults<'_>,
    object: &mut Object<'a>,
) -> Result<(), LineRefused> {
    object.read(text, Nested::Text).map_err(|error| LineRefused::Reason(error.to_string()))?;
    if is_record(object) {
        return push_record(builder, text, defaults);
    }
    object_record::push(builder, object, meaning, defaults, None)
}

/// Appends a record as the API writes it.
fn push_record(builder: &mut BatchBuilder, text: &str, defaults: &Defaults<'_>) -> Result<(), LineRefused> {
    let value: JsonValue = serde_json::from_str(text).map_err(|error| LineRefused::Reason(error.to_string()))?;
    let mut record: LogRecord = serde_path_to_error::deserialize(value)
        .map_err(|error| LineRefused::Reason(format!("{}: {}", error.path(), error.inner())))?;
    if let Some(service) = defaults.service
        && !record.resource.iter().any(|(key, _)| key == keys::SERVICE_NAME)
    {
        record.resource.push((keys::SERVICE_NAME.to_owned(), service.into()));
    }
    record.severity_number = if record.severity_number > 24 { 0 } else { record.severity_number };
    Ok(builder.push_record(record)?)
}

/// Returns whether this is a record as the API writes it: nothing else, and what it always writes.
fn is_record(object: &Object<'_>) -> bool {
    let fields = &object.fields.list;
    ["observed_timestamp", "severity_number", "timestamp", "body"].iter().all(|key| fields.iter().any(|field| field.key == *key))
        && fields.iter().all(|field| RECORD_KEYS.contains(&&*field.key))
}

/// Says what a key stands for: the table at the head of this page.
fn meaning(key: &str) -> Option<(Meaning, u8)> {
    Some(match key {
        "timestamp" => (Meaning::Time, 0),
        "time" => (Meaning::Time, 1),
        "@timestamp" => (Meaning::Time, 2),
        "ts" => (Meaning::Time, 3),
        "_time" => (Meaning::Time, 4),
        "observed_timestamp" => (Meaning::Observed, 0),
        "level" => (Meaning::Level, 0),
        "severity" => (Meaning::Level, 1),
        "severity_text" => (Meaning::Level, 2),
        "lvl" => (Meaning::Level, 3),
        "log.level" => (Meaning::Level, 4),
        "severity_number" => (Meaning::SeverityNumber, 0),
        "message" => (Meaning::Body, 0),
        "msg" => (Meaning::Body, 1),
        "body" => (Meaning::Body, 2),
        "_msg" => (Meaning::Body, 3),
        "log" => (Meaning::Body, 4),
        "service" => (Meaning::Service, 0),
        "service.name" => (Meaning::Service, 1),
        "trace_id" => (Meaning::TraceId, 0),
        "span_id" => (Meaning::SpanId, 0),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use watchfire_types::{Attributes, Value};

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_795_392_600);

    fn read(text: &str) -> (Vec<LogRecord>, IngestAnswer) {
        let defaults = Defaults { service: Some("fallback"), host: None, now: NOW, zone: &TimeZone::UTC };
        let (batch, answer) = decode(text.as_bytes(), &defaults, usize::MAX).unwrap();
        ((0..batch.len()).map(|row| batch.record(row)).collect(), answer)
    }

    #[test]
    fn the_usual_keys_are_recognised_and_the_rest_are_attributes() {
        let (records, answer) = read(
            r#"{"@timestamp":"2026-11-22T22:44:07Z","level":"warn","msg":"slow","service":"api","trace_id":"0af7651916cd43dd8448eb211c80319c","user":7,"nested":{"a":[1]},"ok":true,"attributes":{"k":"v"}}"#,
        );
        assert_eq!(answer, IngestAnswer::default());
        let exported: JsonValue = serde_json::to_value(&records[0]).unwrap();
        let expected = serde_json::json!({
            "timestamp": "2026-11-22T22:44:07Z",
            "observed_timestamp": NOW.to_string(),
            "severity_number": 13,
            "severity_text": "warn",
            "body": "slow",
            "attributes": {"user": 7, "nested": {"a": [1]}, "ok": true, "k": "v"},
            "resource": {"service.name": "api"},
            "trace_id": "0af7651916cd43dd8448eb211c80319c",
        });
        assert_eq!(exported, expected);
    }

    #[test]
    fn a_wrong_line_is_named_and_the_others_are_kept() {
        let long = "x".repeat(MAX_LINE_BYTES + 1);
        let (records, answer) =
            read(&format!("plain text\n\n{{\"msg\":\n{{\"ts\":\"soon\",\"msg\":\"a\"}}\r\n{long}\n[error] last"));
        assert_eq!(records.iter().map(|record| record.body.as_text().unwrap()).collect::<Vec<_>>(), ["plain text", "[error] last"]);
        assert_eq!(records[1].severity_number, 17);
        assert_eq!(answer.rejected, 3);
        let lines: Vec<u64> = answer.errors.iter().map(|error| error.line).collect();
        assert_eq!(lines, [3, 4, 5]);
        assert_eq!(answer.errors[1].reason, "ts: \"soon\" is not a time");
    }

    #[test]
    fn times_may_be_numbers_of_any_size() {
        for time in ["1795392600", "1795392600000", "1795392600000000", "1795392600000000000", "1795392600.0", "\"1795392600\""] {
            assert_eq!(read(&format!(r#"{{"time":{time},"log":"x"}}"#)).0[0].timestamp, NOW, "{time}");
        }
    }

    #[test]
    fn numeric_levels_of_either_scale_are_read() {
        for (level, number) in [(9, 9), (30, 9), (40, 13), (50, 17), (60, 21), (17, 17)] {
            assert_eq!(read(&format!(r#"{{"level":{level},"msg":"x"}}"#)).0[0].severity_number, number);
        }
    }

    /// Values that JSON can say: what is exported of others is their text.
    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<String>().prop_map(Value::Text),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            proptest::num::f64::NORMAL.prop_map(Value::Float),
            proptest::collection::vec(any::<i32>(), 0..4).prop_map(|list| Value::Json(serde_json::to_string(&list).unwrap())),
            proptest::collection::btree_map(any::<String>(), any::<f64>(), 0..4)
                .prop_map(|map| Value::Json(serde_json::to_string(&map).unwrap())),
        ]
    }

    fn attributes() -> impl Strategy<Value = Attributes> {
        proptest::collection::btree_map(any::<String>(), value(), 0..5).prop_map(|map| map.into_iter().collect())
    }

    prop_compose! {
        fn record()(
            timestamp in 0..=Timestamp::MAX.as_nanos(), observed in 0..=Timestamp::MAX.as_nanos(), severity_number in 0_u8..=24,
            severity_text: String, body in value(), attributes in attributes(), resource in attributes(), scope: String,
            event_name: String, trace_id: [u8; 16], span_id: [u8; 8], flags: u32,
        ) -> LogRecord {
            LogRecord {
                seq: "17".to_owned(), pattern: "5".to_owned(), timestamp: Timestamp::from_nanos(timestamp), observed_timestamp: Timestamp::from_nanos(observed),
                severity_number, severity_text, body, attributes, resource, scope, event_name,
                trace_id: watchfire_types::log::hex(&trace_id), span_id: watchfire_types::log::hex(&span_id), flags,
            }
        }
    }

    proptest! {
        #[test]
        fn an_exported_record_reads_back_equal(record in record()) {
            let defaults = Defaults { service: None, host: None, now: NOW, zone: &TimeZone::UTC };
            let line = serde_json::to_string(&record).unwrap();
            let (batch, answer) = decode(line.as_bytes(), &defaults, usize::MAX).unwrap();
            prop_assert_eq!(answer, IngestAnswer::default());
            prop_assert_eq!(batch.record(0), LogRecord { seq: String::new(), pattern: String::new(), ..record });
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, json in "[{}\\[\\]\":,a-z0-9@_ \n]{0,200}") {
            let defaults = Defaults { service: None, host: None, now: NOW, zone: &TimeZone::UTC };
            for bytes in [&bytes[..], json.as_bytes()] {
                let (batch, answer) = decode(bytes, &defaults, usize::MAX).unwrap();
                let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.iter().all(u8::is_ascii_whitespace)).count();
                prop_assert_eq!(batch.len() as u64 + answer.rejected, lines as u64);
            }
        }
    }
}
