//! Logs in JSON.

use serde::Deserialize;
use watchfire_types::log::RecordHead;
use watchfire_types::{LogBatch, Timestamp};

use super::super::logs_proto::severity;
use super::any::{Any, KeyValue};
use super::scalars::{Hex, List, Small, Text, U64};
use crate::inputs::builder::BatchBuilder;
use crate::inputs::otlp::DecodeError;

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct Request<'a> {
    resource_logs: List<ResourceLogs<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct ResourceLogs<'a> {
    resource: Option<Resource<'a>>,
    scope_logs: List<ScopeLogs<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
struct Resource<'a> {
    attributes: List<KeyValue<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct ScopeLogs<'a> {
    scope: Option<Scope<'a>>,
    log_records: List<Record<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
struct Scope<'a> {
    name: Text<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct Record<'a> {
    time_unix_nano: U64,
    observed_time_unix_nano: U64,
    severity_number: Small,
    severity_text: Text<'a>,
    body: Any<'a>,
    attributes: List<KeyValue<'a>>,
    flags: Small,
    trace_id: Hex<16>,
    span_id: Hex<8>,
    event_name: Text<'a>,
}

/// Reads an `ExportLogsServiceRequest` into at most about `budget` bytes of columns.
///
/// # Errors
/// [`DecodeError::Json`] with the path of what is wrong, [`DecodeError::OverBudget`] when it says too much.
pub fn decode(bytes: &[u8], budget: usize) -> Result<LogBatch, DecodeError> {
    let request: Request<'_> = super::read(bytes, budget)?;
    let mut builder = BatchBuilder::new(budget);
    let mut json = String::new();
    for logs in request.resource_logs.0 {
        let attributes = logs.resource.unwrap_or_default().attributes.0.into_iter();
        let attributes = attributes.map(|pair| {
            let value = pair.value.to_value(&mut json).to_value();
            (pair.key.0.into_owned(), value)
        });
        let attributes = attributes.collect();
        let resource = builder.resource(attributes);
        for logs in logs.scope_logs.0 {
            let scope = logs.scope.unwrap_or_default().name;
            for record in logs.log_records.0 {
                let head = RecordHead {
                    timestamp: Timestamp::from_nanos(record.time_unix_nano.0),
                    observed: Timestamp::from_nanos(record.observed_time_unix_nano.0),
                    severity: severity(record.severity_number.0 as i32),
                    severity_text: &record.severity_text.0,
                    resource,
                    scope: &scope.0,
                    event_name: &record.event_name.0,
                    trace_id: record.trace_id.0,
                    span_id: record.span_id.0,
                    flags: record.flags.0 as u32,
                };
                builder.push(&head, record.body.to_value(&mut json))?;
                for pair in &record.attributes.0 {
                    builder.attribute(&pair.key.0, pair.value.to_value(&mut json));
                }
            }
        }
    }
    Ok(builder.finish())
}
