//! What it costs to read a batch of a thousand log records with four attributes each: `cargo bench -p watchfire --bench otlp_decode`.

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use jiff::tz::TimeZone;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use watchfire::inputs::ndjson::{self, Defaults};
use watchfire::inputs::otlp::{json, logs_proto, reference};
use watchfire_types::Timestamp;

const RECORDS: usize = 1_000;

fn main() {
    divan::main();
}

fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn request() -> ExportLogsServiceRequest {
    let record = |index: usize| {
        let body = format!(
            "GET /api/v1/orders/{index:06} answered 200 in {} ms for a customer who had {} items in the cart at that moment",
            index % 300,
            index % 17
        );
        LogRecord {
            time_unix_nano: 1_795_392_600_000_000_000 + index as u64 * 1_000_000,
            severity_number: 9,
            severity_text: "INFO".to_owned(),
            body: Some(AnyValue { value: Some(Value::StringValue(body)) }),
            attributes: vec![
                pair("http.request.method", Value::StringValue("GET".to_owned())),
                pair("http.response.status_code", Value::IntValue(200)),
                pair("url.path", Value::StringValue(format!("/api/v1/orders/{index:06}"))),
                pair("duration_ms", Value::DoubleValue(index as f64 / 7.0)),
            ],
            trace_id: vec![7; 16],
            span_id: vec![9; 8],
            ..LogRecord::default()
        }
    };
    let scope = Some(InstrumentationScope { name: "shop.http".to_owned(), ..InstrumentationScope::default() });
    let scope_logs = vec![ScopeLogs { scope, log_records: (0..RECORDS).map(record).collect(), ..ScopeLogs::default() }];
    let attributes = vec![pair("service.name", Value::StringValue("shop".to_owned()))];
    let resource = Some(Resource { attributes, ..Resource::default() });
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { resource, scope_logs, ..ResourceLogs::default() }] }
}

fn bench<T>(bencher: Bencher<'_, '_>, bytes: &[u8], decode: impl Fn(&[u8]) -> T + Sync) {
    bencher.counter(ItemsCount::new(RECORDS)).counter(BytesCount::new(bytes.len())).bench(|| decode(divan::black_box(bytes)));
}

#[divan::bench]
fn protobuf(bencher: Bencher<'_, '_>) {
    bench(bencher, &request().encode_to_vec(), |bytes| logs_proto::decode(bytes, usize::MAX).expect("it is OTLP"));
}

#[divan::bench]
fn protobuf_through_prost(bencher: Bencher<'_, '_>) {
    bench(bencher, &request().encode_to_vec(), |bytes| reference::decode(bytes).expect("it is OTLP"));
}

#[divan::bench]
fn otlp_json(bencher: Bencher<'_, '_>) {
    let text = serde_json::to_vec(&request()).expect("it can be written");
    bench(bencher, &text, |bytes| json::logs(bytes, usize::MAX).expect("it is OTLP"));
}

#[divan::bench]
fn newline_delimited_json(bencher: Bencher<'_, '_>) {
    let batch = reference::columns(request());
    let line = |row: usize| {
        let record = batch.record(row);
        let mut object = serde_json::json!({
            "timestamp": record.timestamp, "level": "INFO", "message": record.body, "service": "shop", "trace_id": record.trace_id,
        });
        for (key, value) in record.attributes {
            object[key] = value.as_ref().to_json();
        }
        object.to_string() + "\n"
    };
    let text: String = (0..RECORDS).map(line).collect();
    let defaults = Defaults { service: None, host: None, now: Timestamp::from_seconds(1_795_392_600), zone: &TimeZone::UTC };
    bench(bencher, text.as_bytes(), |bytes| ndjson::decode(bytes, &defaults, usize::MAX).expect("it fits"));
}

#[divan::bench]
fn syslog_lines(bencher: Bencher<'_, '_>) {
    let line = |index: usize| {
        format!("Nov 22 23:44:07 web1 sshd[{index}]: Failed password for root from 10.0.0.{} port 22 ssh2", index % 250)
    };
    let text = (0..RECORDS).map(line).collect::<Vec<_>>().join("\n");
    let defaults = Defaults { service: None, host: None, now: Timestamp::from_seconds(1_795_392_600), zone: &TimeZone::UTC };
    bench(bencher, text.as_bytes(), |bytes| ndjson::decode(bytes, &defaults, usize::MAX).expect("it fits"));
}
