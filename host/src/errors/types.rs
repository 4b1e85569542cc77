//! What an error event is.

use serde::{Deserialize, Serialize};
use watchfire_types::attributes::keys;
use watchfire_types::{LogBatch, Timestamp, ValueRef};

/// One occurrence of an error: a log record with `exception.type` or `exception.message` (OpenTelemetry's semantic conventions).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ErrorEvent {
    /// Position of its log record.
    pub seq: String,
    /// When it happened.
    pub timestamp: Timestamp,
    /// `service.name`; empty if not given.
    pub service: String,
    /// OpenTelemetry severity number of the record.
    pub severity_number: u8,
    /// Class of the exception; empty if not given.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it said.
    pub message: String,
    /// Its stack trace as text; empty if not given.
    pub stacktrace: String,
    /// The record's own text.
    pub body: String,
    /// 32 hexadecimal digits, or empty.
    pub trace_id: String,
}

impl ErrorEvent {
    /// Returns the error event that row `row` of `batch` is, if it is one.
    #[must_use]
    pub fn of(batch: &LogBatch, row: usize) -> Option<Self> {
        let text = |key| batch.find_attribute(row, key).map(ValueRef::display);
        let (kind, message) = (text(keys::EXCEPTION_TYPE), text(keys::EXCEPTION_MESSAGE));
        if kind.is_none() && message.is_none() {
            return None;
        }
        Some(Self {
            seq: batch.seq.get(row).map_or_else(String::new, u64::to_string),
            timestamp: Timestamp::from_nanos(batch.time[row]),
            service: batch.service(row).to_owned(),
            severity_number: batch.severity[row],
            kind: kind.unwrap_or_default(),
            message: message.unwrap_or_default(),
            stacktrace: text(keys::EXCEPTION_STACKTRACE).unwrap_or_default(),
            body: batch.body.get(row).display(),
            trace_id: watchfire_types::log::hex(&batch.trace_id[row]),
        })
    }
}

#[cfg(test)]
mod tests {
    use watchfire_types::log::RecordHead;

    use super::*;

    #[test]
    fn only_a_record_with_an_exception_is_an_error_event() {
        let mut batch = LogBatch::default();
        batch.push(&RecordHead::default(), ValueRef::Text("plain"));
        batch.push(&RecordHead::default(), ValueRef::Text("sync failed"));
        batch.attribute(keys::EXCEPTION_TYPE, ValueRef::Text("ValueError"));
        batch.attribute(keys::EXCEPTION_STACKTRACE, ValueRef::Text("Traceback …"));
        assert_eq!(ErrorEvent::of(&batch, 0), None);
        let event = ErrorEvent::of(&batch, 1).unwrap();
        assert_eq!((event.kind.as_str(), event.body.as_str(), event.message.as_str()), ("ValueError", "sync failed", ""));
    }
}
