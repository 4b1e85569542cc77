//! The plain way to decode OTLP logs: prost's objects, copied into columns. Nothing in the host calls it.
//!
//! Tests and the fuzz target hold [`super::logs_proto`] to it, and the benchmark shows what that one saves.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Any};
use prost::Message as _;
use watchfire_types::attributes::base64;
use watchfire_types::log::RecordHead;
use watchfire_types::{Attributes, LogBatch, Timestamp, Value};

use super::json_text::{push_float, push_int, push_string};
use super::logs_proto::{severity, write_entries};
use crate::inputs::builder::keep_first;

/// Decodes with prost.
///
/// # Errors
/// Prost's.
pub fn decode(bytes: &[u8]) -> Result<LogBatch, prost::DecodeError> {
    Ok(columns(ExportLogsServiceRequest::decode(bytes)?))
}

/// Copies a request into columns.
#[must_use]
pub fn columns(request: ExportLogsServiceRequest) -> LogBatch {
    let mut batch = LogBatch::default();
    for logs in request.resource_logs {
        let mut attributes: Attributes = logs.resource.unwrap_or_default().attributes.into_iter().map(attribute).collect();
        keep_first(&mut attributes, |(key, _)| key);
        let resource = batch.resource(attributes);
        for logs in logs.scope_logs {
            let scope = logs.scope.unwrap_or_default().name;
            for record in logs.log_records {
                let head = RecordHead {
                    timestamp: Timestamp::from_nanos(record.time_unix_nano),
                    observed: Timestamp::from_nanos(record.observed_time_unix_nano),
                    severity: severity(record.severity_number),
                    severity_text: &record.severity_text,
                    resource,
                    scope: &scope,
                    event_name: &record.event_name,
                    trace_id: record.trace_id.try_into().unwrap_or_default(),
                    span_id: record.span_id.try_into().unwrap_or_default(),
                    flags: record.flags,
                };
                batch.push(&head, value(record.body).as_ref());
                for (key, value) in record.attributes.into_iter().map(attribute) {
                    batch.attribute(&key, value.as_ref());
                }
            }
        }
    }
    batch
}

/// Returns whether two batches are equal, `NaN` being equal to itself.
#[must_use]
pub fn same(left: &LogBatch, right: &LogBatch) -> bool {
    // Only in resources are floats kept as such.
    let without_resources = |batch: &LogBatch| LogBatch { resources: Vec::new(), ..batch.clone() };
    format!("{:?}", left.resources) == format!("{:?}", right.resources) && without_resources(left) == without_resources(right)
}

fn attribute(pair: KeyValue) -> (String, Value) {
    (pair.key, value(pair.value))
}

/// Returns an attribute value as the host keeps it.
#[must_use]
pub fn value(any: Option<AnyValue>) -> Value {
    match any.and_then(|any| any.value) {
        None | Some(Any::StringValueStrindex(_)) => Value::Null,
        Some(Any::StringValue(text)) => Value::Text(text),
        Some(Any::BoolValue(value)) => Value::Bool(value),
        Some(Any::IntValue(number)) => Value::Int(number),
        Some(Any::DoubleValue(number)) => Value::Float(number),
        Some(Any::BytesValue(bytes)) => Value::Bytes(bytes),
        nested @ Some(Any::ArrayValue(_) | Any::KvlistValue(_)) => {
            let mut json = String::new();
            write_json(nested, &mut json);
            Value::Json(json)
        }
    }
}

fn write_json(any: Option<Any>, out: &mut String) {
    match any {
        None | Some(Any::StringValueStrindex(_)) => out.push_str("null"),
        Some(Any::StringValue(text)) => push_string(out, &text),
        Some(Any::BoolValue(value)) => out.push_str(if value { "true" } else { "false" }),
        Some(Any::IntValue(number)) => push_int(out, number),
        Some(Any::DoubleValue(number)) => push_float(out, number),
        Some(Any::BytesValue(bytes)) => push_string(out, &base64(&bytes)),
        Some(Any::ArrayValue(array)) => {
            out.push('[');
            for (index, value) in array.values.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_json(value.value, out);
            }
            out.push(']');
        }
        Some(Any::KvlistValue(list)) => {
            let entries = list.values.into_iter().map(|pair| {
                let mut json = String::new();
                write_json(pair.value.and_then(|any| any.value), &mut json);
                (pair.key, json)
            });
            write_entries(entries.collect(), out);
        }
    }
}
