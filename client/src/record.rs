//! One log record on its way out.

use std::backtrace::Backtrace;
use std::borrow::Cow;
use std::sync::Arc;

use crate::context::{self, SpanContext};
use crate::value::{Fields, Value};
use crate::{ErrorSeverity, Level, clock};

/// Longest text of a record, in bytes.
pub(crate) const MAX_BODY_BYTES: usize = 64 << 10;
/// Most fields of a record.
const MAX_FIELDS: usize = 128;

/// A log record, as it waits for the exporter.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) time: u64,
    pub(crate) severity_number: u8,
    pub(crate) severity_text: &'static str,
    /// Who speaks: the logger's name, or the module.
    pub(crate) scope: Cow<'static, str>,
    pub(crate) body: Cow<'static, str>,
    pub(crate) fields: Vec<(Cow<'static, str>, Value)>,
    pub(crate) span: Option<Arc<SpanContext>>,
    /// Number of the thread, which tells whose breadcrumbs belong together.
    pub(crate) thread: u64,
    pub(crate) error: Option<Box<ErrorDetail>>,
}

/// What only an error has. The exporter makes text of it: the application does not wait for that.
#[derive(Debug)]
pub(crate) struct ErrorDetail {
    pub(crate) kind: String,
    pub(crate) message: String,
    /// Its causes, the nearest first: type and text.
    pub(crate) causes: Vec<(String, String)>,
    /// Where it was captured.
    pub(crate) backtrace: Option<Backtrace>,
    /// A stack trace that the error brings along.
    pub(crate) own_trace: Option<String>,
    /// Thread, place and message of a panic.
    pub(crate) panic: Option<String>,
}

impl Record {
    /// Returns a record of this moment, within the current span.
    pub(crate) fn new(level: Level, scope: Cow<'static, str>, body: Cow<'static, str>, fields: Fields) -> Self {
        let mut fields = fields.0;
        fields.truncate(MAX_FIELDS);
        Self {
            time: clock::now_nanos(),
            severity_number: level.severity_number(),
            severity_text: level.name(),
            scope,
            body: if body.len() > MAX_BODY_BYTES { crate::value::cut(&body, MAX_BODY_BYTES).into_owned().into() } else { body },
            fields,
            span: context::current_span(),
            thread: context::thread_number(),
            error: None,
        }
    }

    /// Returns a record of an error.
    pub(crate) fn of_error(severity: ErrorSeverity, scope: Cow<'static, str>, detail: ErrorDetail, fields: Fields) -> Self {
        let body = format!("{}: {}", detail.kind, detail.message);
        let mut record = Self::new(Level::Error, scope, body.into(), fields);
        (record.severity_number, record.severity_text) = (severity.severity_number(), severity.name());
        record.error = Some(Box::new(detail));
        record
    }

    /// Returns roughly how many bytes it takes.
    pub(crate) fn size(&self) -> usize {
        let fields: usize = self.fields.iter().map(|(name, value)| name.len() + value.size() + 56).sum();
        let error = self.error.as_ref().map_or(0, |error| {
            let causes: usize = error.causes.iter().map(|(kind, text)| kind.len() + text.len() + 48).sum();
            let texts = error.message.len() + error.own_trace.as_ref().map_or(0, String::len);
            // Of frames that are not resolved yet.
            causes + texts + if error.backtrace.is_some() { 8 << 10 } else { 0 }
        });
        size_of::<Self>() + self.body.len() + fields + error
    }
}
