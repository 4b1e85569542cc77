//! OTLP requests made by hand, where a test wants exact times and values.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use watchfire_types::Timestamp;

/// Content type of OTLP in protobuf.
pub const PROTOBUF: &str = "application/x-protobuf";

/// Returns attribute `key` with a text.
pub fn text_attribute(key: &str, value: impl Into<String>) -> KeyValue {
    attribute(key, any_value::Value::StringValue(value.into()))
}

/// Returns attribute `key` with a number.
pub fn int_attribute(key: &str, value: i64) -> KeyValue {
    attribute(key, any_value::Value::IntValue(value))
}

fn attribute(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// Returns a log record with a text body.
pub fn log_record(at: Timestamp, severity: i32, body: String, attributes: Vec<KeyValue>) -> LogRecord {
    let body = AnyValue { value: Some(any_value::Value::StringValue(body)) };
    LogRecord {
        time_unix_nano: at.as_nanos(),
        observed_time_unix_nano: at.as_nanos(),
        severity_number: severity,
        body: Some(body),
        attributes,
        ..LogRecord::default()
    }
}

/// Returns an encoded request with records of one service.
pub fn logs_request(service: &str, records: Vec<LogRecord>) -> Vec<u8> {
    let scope_logs = vec![ScopeLogs { log_records: records, ..ScopeLogs::default() }];
    let resource = Some(resource(service));
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { resource, scope_logs, ..ResourceLogs::default() }] }
        .encode_to_vec()
}

/// Returns an encoded request with one value of a gauge.
pub fn gauge_request(service: &str, name: &str, at: Timestamp, value: f64) -> Vec<u8> {
    metric_request(service, name, metric::Data::Gauge(Gauge { data_points: vec![number_point(at, value)] }))
}

/// Returns an encoded request that counts further events, one at each of these moments.
pub fn delta_request(service: &str, name: &str, ats: impl IntoIterator<Item = Timestamp>) -> Vec<u8> {
    let sum = Sum {
        data_points: ats.into_iter().map(|at| number_point(at, 1.0)).collect(),
        aggregation_temporality: AggregationTemporality::Delta.into(),
        is_monotonic: true,
    };
    metric_request(service, name, metric::Data::Sum(sum))
}

fn number_point(at: Timestamp, value: f64) -> NumberDataPoint {
    let value = Some(number_data_point::Value::AsDouble(value));
    NumberDataPoint { time_unix_nano: at.as_nanos(), value, ..NumberDataPoint::default() }
}

fn metric_request(service: &str, name: &str, data: metric::Data) -> Vec<u8> {
    let data = Some(data);
    let metrics = vec![Metric { name: name.into(), data, ..Metric::default() }];
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    let resource = Some(resource(service));
    let resource_metrics = vec![ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() }];
    ExportMetricsServiceRequest { resource_metrics }.encode_to_vec()
}

fn resource(service: &str) -> Resource {
    Resource { attributes: vec![text_attribute("service.name", service)], ..Resource::default() }
}
