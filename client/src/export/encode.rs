//! Makes OTLP requests of records and series.

use std::borrow::Cow;
use std::collections::HashMap;

use super::proto::Message;
use crate::config::Config;
use crate::context::SpanContext;
use crate::metrics::{Kind, Point, Snapshot};
use crate::record::Record;
use crate::value::Value;

const CUMULATIVE: u64 = 2;

/// Who sends: the resource, encoded once.
#[derive(Debug)]
pub(crate) struct Resource(Vec<u8>);

impl Resource {
    pub(crate) fn new(config: &Config) -> Self {
        let mut message = Message::default();
        let mut put = |key: &str, value: &str| message.message(1, |pair| text_pair(pair, key, value));
        put("service.name", &config.service);
        let optional = [("service.version", &config.version), ("deployment.environment.name", &config.environment)];
        for (key, value) in optional {
            if let Some(value) = value {
                put(key, value);
            }
        }
        for (key, value) in &config.resource {
            put(key, value);
        }
        for (key, value) in [
            ("telemetry.sdk.name", "watchfire"),
            ("telemetry.sdk.language", "rust"),
            ("telemetry.sdk.version", env!("CARGO_PKG_VERSION")),
        ] {
            if !config.resource.contains_key(key) {
                put(key, value);
            }
        }
        for (key, value) in
            [("host.name", super::super::process::host_name()), ("process.pid", Some(std::process::id().to_string()))]
        {
            if let Some(value) = value
                && !config.resource.contains_key(key)
            {
                put(key, &value);
            }
        }
        Self(message.0)
    }
}

/// Returns a request with these records, gathered by who speaks.
pub(crate) fn logs(resource: &Resource, records: &[Record], extras: &[Vec<(&'static str, Value)>]) -> Vec<u8> {
    let mut scopes: Vec<(&str, Vec<usize>)> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (index, record) in records.iter().enumerate() {
        let place = *places.entry(&record.scope).or_insert_with(|| {
            scopes.push((&record.scope, Vec::new()));
            scopes.len() - 1
        });
        scopes[place].1.push(index);
    }
    let mut request = Message(Vec::with_capacity(records.len() * 256));
    request.message(1, |of_resource| {
        of_resource.always_bytes(1, &resource.0);
        for (scope, indices) in &scopes {
            of_resource.message(2, |of_scope| {
                of_scope.message(1, |named| named.bytes(1, scope.as_bytes()));
                for index in indices {
                    let extra = extras.get(*index).map_or(&[][..], Vec::as_slice);
                    of_scope.message(2, |message| log_record(message, &records[*index], extra));
                }
            });
        }
    });
    request.0
}

fn log_record(message: &mut Message, record: &Record, extra: &[(&'static str, Value)]) {
    message.fixed64(1, record.time);
    message.varint(2, u64::from(record.severity_number));
    message.bytes(3, record.severity_text.as_bytes());
    message.message(5, |body| body.always_bytes(1, record.body.as_bytes()));
    // A key is there once: what a record says itself goes before what its spans say.
    let mut keys: Vec<Cow<'_, str>> = Vec::with_capacity(record.fields.len() + extra.len() + 4);
    let mut put = |message: &mut Message, key: &str, value: &Value| {
        if !keys.iter().any(|known| known == key) {
            message.message(6, |pair| self::pair(pair, key, value));
            keys.push(Cow::Owned(key.to_owned()));
        }
    };
    extra.iter().for_each(|(key, value)| put(message, key, value));
    record.fields.iter().for_each(|(key, value)| put(message, key, value));
    let mut span = record.span.as_deref();
    while let Some(context) = span {
        let fields = context.fields.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        fields.iter().for_each(|(key, value)| put(message, key, value));
        span = context.parent.as_deref();
    }
    if let Some(context) = &record.span {
        message.message(6, |pair| text_pair(pair, "span", &path(context)));
        message.fixed32(8, 1);
        message.bytes(9, &context.trace_id.to_be_bytes());
        message.bytes(10, &context.span_id.to_be_bytes());
    }
    message.fixed64(11, record.time);
}

/// Returns the names of a span and of those around it, the outermost first: `request:load`.
fn path(context: &SpanContext) -> String {
    let mut names = vec![context.name];
    let mut parent = context.parent.as_deref();
    while let Some(context) = parent.filter(|_| names.len() < 16) {
        names.push(context.name);
        parent = context.parent.as_deref();
    }
    names.reverse();
    names.join(":")
}

/// Returns a request with these series as they are at `now`.
pub(crate) fn metrics(resource: &Resource, snapshots: &[Snapshot], now: u64) -> Vec<u8> {
    let mut request = Message(Vec::with_capacity(snapshots.len() * 128));
    request.message(1, |of_resource| {
        of_resource.always_bytes(1, &resource.0);
        of_resource.message(2, |of_scope| {
            of_scope.message(1, |scope| scope.bytes(1, b"watchfire-client"));
            for group in
                snapshots.chunk_by(|left, right| left.series.name == right.series.name && left.series.kind == right.series.kind)
            {
                of_scope.message(2, |metric| metric_of(metric, group, now));
            }
        });
    });
    request.0
}

fn metric_of(metric: &mut Message, group: &[Snapshot], now: u64) {
    let first = &group[0].series;
    metric.bytes(1, first.name.as_bytes());
    metric.bytes(3, first.unit.as_bytes());
    let data = match first.kind {
        Kind::Gauge => 5,
        Kind::Counter => 7,
        Kind::Histogram => 9,
    };
    metric.message(data, |data| {
        for snapshot in group {
            data.message(1, |point| data_point(point, snapshot, now));
        }
        if first.kind != Kind::Gauge {
            data.varint(2, CUMULATIVE);
        }
        data.varint(3, u64::from(first.kind == Kind::Counter));
    });
}

fn data_point(message: &mut Message, snapshot: &Snapshot, now: u64) {
    let series = &snapshot.series;
    // A clock that was set back does not make a series begin after its point.
    message.fixed64(2, series.start.min(now));
    message.fixed64(3, now);
    match &snapshot.point {
        Point::Number(number) => {
            message.double(4, *number);
            labels(message, 7, series);
        }
        Point::Histogram { sum, counts } => {
            message.fixed64(4, counts.iter().sum());
            message.double(5, *sum);
            message.packed64(6, counts.iter().copied());
            message.packed64(7, crate::metrics::BOUNDS.iter().map(|bound| bound.to_bits()));
            labels(message, 9, series);
        }
    }
}

fn labels(message: &mut Message, field: u64, series: &crate::metrics::Series) {
    for (key, value) in &series.labels {
        message.message(field, |pair| text_pair(pair, key, value));
    }
}

fn text_pair(message: &mut Message, key: &str, value: &str) {
    message.bytes(1, key.as_bytes());
    message.message(2, |any| any.always_bytes(1, value.as_bytes()));
}

fn pair(message: &mut Message, key: &str, value: &Value) {
    message.bytes(1, key.as_bytes());
    message.message(2, |any| match value {
        Value::Text(text) => any.always_bytes(1, text.as_bytes()),
        Value::Bool(value) => any.always_varint(2, u64::from(*value)),
        Value::Int(number) => any.always_varint(3, *number as u64),
        Value::Float(number) => any.double(4, *number),
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
    use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
    use opentelemetry_proto::tonic::metrics::v1::metric::Data;
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::metrics::Registry;
    use crate::{Fields, Level};

    fn resource() -> Resource {
        Resource::new(&Config { version: Some("1.2".into()), ..Config::new("shop") })
    }

    fn told(attributes: &[KeyValue]) -> Vec<(String, Option<any_value::Value>)> {
        attributes.iter().map(|pair| (pair.key.clone(), pair.value.clone().and_then(|value| value.value))).collect()
    }

    fn value_of(value: &Value) -> any_value::Value {
        match value {
            Value::Text(text) => any_value::Value::StringValue(text.to_string()),
            Value::Int(number) => any_value::Value::IntValue(*number),
            Value::Float(number) => any_value::Value::DoubleValue(*number),
            Value::Bool(value) => any_value::Value::BoolValue(*value),
        }
    }

    fn any_field() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<String>().prop_map(Value::from),
            any::<i64>().prop_map(Value::Int),
            any::<bool>().prop_map(Value::Bool),
            any::<i32>().prop_map(|number| Value::Float(f64::from(number) / 8.0)),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_by_others(bodies in proptest::collection::vec((any::<String>(), any_field(), 0..3_u8), 0..20)) {
            let record = |(body, value, scope): &(String, Value, u8)| {
                let fields = Fields::new().with("field", 7).with("value", 0);
                let mut record = Record::new(Level::Warning, format!("scope{scope}").into(), body.clone().into(), fields);
                record.fields[1].1 = value.clone();
                record
            };
            let records: Vec<Record> = bodies.iter().map(record).collect();
            let bytes = logs(&resource(), &records, &[]);
            let request = ExportLogsServiceRequest::decode(&bytes[..]).unwrap();
            let scopes = request.resource_logs.iter().flat_map(|resource| &resource.scope_logs);
            let read: usize = scopes.clone().map(|scope| scope.log_records.len()).sum();
            prop_assert_eq!(read, records.len());
            for scope in scopes {
                let name = &scope.scope.as_ref().unwrap().name;
                let own: Vec<&Record> = records.iter().filter(|record| record.scope == *name).collect();
                for (known, read) in own.iter().zip(&scope.log_records) {
                    prop_assert_eq!(read.time_unix_nano, known.time);
                    prop_assert_eq!(read.severity_number, 13);
                    let body = read.body.clone().unwrap().value.unwrap();
                    prop_assert_eq!(body, any_value::Value::StringValue(known.body.to_string()));
                    prop_assert_eq!(told(&read.attributes), vec![
                        ("field".to_owned(), Some(any_value::Value::IntValue(7))),
                        ("value".to_owned(), Some(value_of(&known.fields[1].1))),
                    ]);
                }
            }
        }
    }

    #[test]
    fn a_record_takes_trace_and_fields_of_its_spans() {
        let span = |span_id, name, parent, fields| {
            Arc::new(SpanContext { trace_id: 5, span_id, name, parent, fields: std::sync::Mutex::new(fields) })
        };
        let outer = span(1, "request", None, vec![("route".into(), "/a".into()), ("id".into(), 1.into())]);
        let inner = span(2, "load", Some(outer), vec![("id".into(), 2.into())]);
        let record =
            Record { span: Some(inner), ..Record::new(Level::Info, "shop".into(), "x".into(), Fields::new().with("own", true)) };
        let bytes = logs(&resource(), &[record], &[vec![("extra", Value::from("first"))]]);
        let request = ExportLogsServiceRequest::decode(&bytes[..]).unwrap();
        let read = &request.resource_logs[0].scope_logs[0].log_records[0];
        let keys: Vec<&str> = read.attributes.iter().map(|pair| pair.key.as_str()).collect();
        assert_eq!(keys, ["extra", "own", "id", "route", "span"]);
        assert_eq!(read.attributes[2].value.clone().unwrap().value, Some(any_value::Value::IntValue(2)));
        assert_eq!(read.attributes[4].value.clone().unwrap().value, Some(any_value::Value::StringValue("request:load".into())));
        assert_eq!((read.trace_id.len(), read.trace_id[15], read.span_id[7]), (16, 5, 2));
        let resource = told(&request.resource_logs[0].resource.as_ref().unwrap().attributes);
        assert!(resource.contains(&("service.version".into(), Some(any_value::Value::StringValue("1.2".into())))));
    }

    #[test]
    fn metrics_are_totals_since_their_start() {
        let registry = Registry::new();
        registry.series(Kind::Counter, "c", "", &[("a", "1")]).unwrap().add(2.0);
        registry.series(Kind::Counter, "c", "", &[("a", "2")]).unwrap().add(3.0);
        registry.series(Kind::Gauge, "g", "", &[]).unwrap().set(0.0);
        let timer = registry.series(Kind::Histogram, "t", "ms", &[("k", "v")]).unwrap();
        [0.2, 250.5, 99_999.0].into_iter().for_each(|value| timer.record(value));
        let bytes = metrics(&resource(), &registry.snapshot(), u64::MAX);
        let request = ExportMetricsServiceRequest::decode(&bytes[..]).unwrap();
        let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
        assert_eq!(metrics.len(), 3);
        let Some(Data::Sum(sum)) = &metrics[0].data else { panic!("a sum: {metrics:?}") };
        assert_eq!((sum.data_points.len(), sum.aggregation_temporality, sum.is_monotonic), (2, 2, true));
        let Some(Data::Gauge(gauge)) = &metrics[1].data else { panic!("a gauge") };
        assert!(gauge.data_points[0].value.is_some() && gauge.data_points[0].start_time_unix_nano > 0);
        let Some(Data::Histogram(histogram)) = &metrics[2].data else { panic!("a histogram") };
        let point = &histogram.data_points[0];
        assert_eq!(
            (metrics[2].unit.as_str(), point.count, point.bucket_counts.len(), point.explicit_bounds.len()),
            ("ms", 3, 22, 21)
        );
        assert_eq!((point.sum, point.bucket_counts[21], point.attributes[0].key.as_str()), (Some(100_249.7), 1, "k"));
    }
}
