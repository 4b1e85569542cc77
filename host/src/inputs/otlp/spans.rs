//! Spans are not stored, but what failed in them is: a span's event `exception` becomes a log record, and so an error event.
//!
//! Source: OpenTelemetry semantic conventions, "Exceptions on spans".

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use watchfire_types::attributes::keys;
use watchfire_types::log::RecordHead;
use watchfire_types::{LogBatch, Severity, Timestamp, Value, ValueRef};

use super::reference::value;
use crate::inputs::builder::{BatchBuilder, OverBudget};

/// The name of the events that are read.
const EXCEPTION: &str = "exception";
/// Most attributes that are kept of one event.
const MAX_ATTRIBUTES: usize = 64;

/// What a request of traces holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spans {
    /// All spans.
    pub count: u64,
    /// One record for each exception in them.
    pub exceptions: LogBatch,
}

/// Returns what `request` holds.
///
/// # Errors
/// If the records would take too much memory.
pub fn read(request: ExportTraceServiceRequest, budget: usize) -> Result<Spans, OverBudget> {
    let mut builder = BatchBuilder::new(budget);
    let mut count = 0;
    for spans in request.resource_spans {
        let has_one = spans
            .scope_spans
            .iter()
            .flat_map(|scope| &scope.spans)
            .any(|span| span.events.iter().any(|event| event.name == EXCEPTION));
        let attributes = if has_one { spans.resource.unwrap_or_default().attributes } else { Vec::new() };
        let resource = builder.resource(attributes.into_iter().map(|pair| (pair.key, value(pair.value))).collect());
        for scope in spans.scope_spans {
            let name = scope.scope.unwrap_or_default().name;
            count += scope.spans.len() as u64;
            for span in scope.spans {
                push(&mut builder, span, resource, &name)?;
            }
        }
    }
    Ok(Spans { count, exceptions: builder.finish() })
}

fn push(builder: &mut BatchBuilder, span: Span, resource: u32, scope: &str) -> Result<(), OverBudget> {
    let trace_id = <[u8; 16]>::try_from(span.trace_id).unwrap_or_default();
    let span_id = <[u8; 8]>::try_from(span.span_id).unwrap_or_default();
    for event in span.events.into_iter().filter(|event| event.name == EXCEPTION) {
        let attributes: Vec<(String, Value)> =
            event.attributes.into_iter().map(|pair| (pair.key, value(pair.value))).take(MAX_ATTRIBUTES).collect();
        let text = |key: &str| attributes.iter().find(|(name, _)| name == key).and_then(|(_, value)| value.as_text()).unwrap_or("");
        let body = match (text(keys::EXCEPTION_TYPE), text(keys::EXCEPTION_MESSAGE)) {
            ("", "") => format!("an exception in the span `{}`", span.name),
            (kind, "") => kind.to_owned(),
            ("", said) => said.to_owned(),
            (kind, said) => format!("{kind}: {said}"),
        };
        let head = RecordHead {
            timestamp: Timestamp::from_nanos(event.time_unix_nano),
            severity: Severity::ERROR,
            severity_text: Severity::ERROR.name(),
            resource,
            scope,
            event_name: EXCEPTION,
            trace_id,
            span_id,
            ..RecordHead::default()
        };
        builder.push(&head, ValueRef::Text(&body))?;
        for (key, value) in &attributes {
            builder.attribute(key, value.as_ref());
        }
        builder.attribute("span.name", ValueRef::Text(&span.name));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Any};
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, span::Event};

    use super::*;

    #[test]
    fn an_exception_in_a_span_becomes_a_record() {
        let text = |key: &str, text: &str| KeyValue {
            key: key.to_owned(),
            value: Some(AnyValue { value: Some(Any::StringValue(text.to_owned())) }),
            ..KeyValue::default()
        };
        let event = |name: &str| Event {
            time_unix_nano: 1_795_392_600_000_000_000,
            name: name.to_owned(),
            attributes: vec![text("exception.type", "ValueError"), text("exception.message", "bad")],
            ..Event::default()
        };
        let span = Span {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            name: "GET /".into(),
            events: vec![event("exception"), event("retry")],
            ..Span::default()
        };
        let scope = ScopeSpans { spans: vec![span, Span::default()], ..ScopeSpans::default() };
        let spans = read(
            ExportTraceServiceRequest {
                resource_spans: vec![ResourceSpans { scope_spans: vec![scope], ..ResourceSpans::default() }],
            },
            1 << 20,
        )
        .unwrap();
        assert_eq!((spans.count, spans.exceptions.len()), (2, 1));
        let record = spans.exceptions.record(0);
        assert_eq!(
            (record.body.as_text(), record.severity_number, record.trace_id.as_str()),
            (Some("ValueError: bad"), 17, "01".repeat(16).as_str())
        );
        assert_eq!(record.attributes.len(), 3);
    }
}
