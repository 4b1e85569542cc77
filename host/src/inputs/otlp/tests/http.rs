//! What a sender sees.

use std::io::Write as _;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Response, StatusCode};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use serde_json::{Value, json};
use watchfire_types::LogBatch;

use crate::inputs::testing::{Host, Inner};

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");

fn logs(count: usize) -> ExportLogsServiceRequest {
    let log_records = vec![LogRecord { severity_number: 9, ..LogRecord::default() }; count];
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }] }
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

async fn text(response: Response<Body>) -> (u16, String, Vec<u8>) {
    let content_type = response.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    let status = response.status().as_u16();
    (status, content_type, to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec())
}

async fn json_of(response: Response<Body>) -> (u16, Value) {
    let (status, content_type, bytes) = text(response).await;
    assert_eq!(content_type, "application/json");
    (status, serde_json::from_slice(&bytes).unwrap())
}

#[tokio::test]
async fn a_request_is_answered_in_its_own_encoding() {
    let host = Host::new(1 << 20);
    let (status, content_type, body) = text(host.post("/v1/logs", &[PROTOBUF], logs(3).encode_to_vec()).await).await;
    assert_eq!((status, content_type.as_str(), body.len()), (200, "application/x-protobuf", 0));
    let request = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": "x"}}]}]}]});
    assert_eq!(json_of(host.post("/v1/logs", &[JSON], request.to_string().into_bytes()).await).await, (200, json!({})));
    let taken: Vec<usize> = host.memory.0.lock().logs.iter().map(LogBatch::len).collect();
    assert_eq!(taken, [3, 1]);
    assert_eq!(host.count("watchfire_input_records_total", &[("input", "otlp_logs")]), 4);
}

#[tokio::test]
async fn large_and_compressed_bodies_are_the_same() {
    let host = Host::new(8 << 20);
    let bytes = logs(20_000).encode_to_vec();
    assert!(bytes.len() > 64 << 10);
    for (headers, body) in [(vec![PROTOBUF], bytes.clone()), (vec![PROTOBUF, ("content-encoding", "gzip")], gzip(&bytes))] {
        assert_eq!(host.post("/v1/logs", &headers, body).await.status(), StatusCode::OK);
    }
    let inner = host.memory.0.lock();
    assert_eq!(inner.logs[0].len(), 20_000);
    assert_eq!(inner.logs[0], inner.logs[1]);
}

#[tokio::test]
async fn an_empty_request_is_a_success_and_stores_nothing() {
    let host = Host::new(1 << 20);
    for path in ["/v1/logs", "/v1/metrics", "/v1/traces"] {
        assert_eq!(host.post(path, &[PROTOBUF], Vec::new()).await.status(), StatusCode::OK);
        assert_eq!(json_of(host.post(path, &[JSON], b"{}".to_vec()).await).await, (200, json!({})));
    }
    assert!(host.memory.0.lock().logs.is_empty() && host.memory.0.lock().metrics.is_empty());
}

#[tokio::test]
async fn what_was_refused_for_good_is_a_partial_success() {
    let host = Host::new(1 << 20);
    host.memory.0.lock().reject = 2;
    let (status, _, body) = text(host.post("/v1/logs", &[PROTOBUF], logs(3).encode_to_vec()).await).await;
    let partial = ExportLogsServiceResponse::decode(&body[..]).unwrap().partial_success.unwrap();
    assert_eq!((status, partial.rejected_log_records, partial.error_message.as_str()), (200, 2, "too old"));
    let request = json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "g", "gauge": {"dataPoints": [{}, {"asInt": 1}, {"asInt": 2}]}}]}]}]});
    let answer = json_of(host.post("/v1/metrics", &[JSON], request.to_string().into_bytes()).await).await;
    let expected = json!({"partialSuccess": {"rejectedDataPoints": "3", "errorMessage": "a data point of `g` has no value"}});
    assert_eq!(answer, (200, expected));
    assert_eq!(host.count("watchfire_input_rejected_total", &[("input", "otlp_logs"), ("reason", "invalid_record")]), 2);
}

#[tokio::test]
async fn traces_are_counted_and_not_kept() {
    let host = Host::new(1 << 20);
    let scope_spans = vec![ScopeSpans { spans: vec![Span::default(); 5], ..ScopeSpans::default() }];
    let request = ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }] };
    let (_, _, body) = text(host.post("/v1/traces", &[PROTOBUF], request.encode_to_vec()).await).await;
    let partial = ExportTraceServiceResponse::decode(&body[..]).unwrap().partial_success.unwrap();
    assert_eq!((partial.rejected_spans, partial.error_message.as_str()), (5, "traces are not stored yet"));
    let request = json!({"resourceSpans": [{"scopeSpans": [{"spans": [{}, {"name": "x"}]}]}]});
    let (_, answer) = json_of(host.post("/v1/traces", &[JSON], request.to_string().into_bytes()).await).await;
    assert_eq!(answer["partialSuccess"]["rejectedSpans"], "2");
}

#[tokio::test]
async fn refusals_say_what_is_wrong_in_the_encoding_of_the_request() {
    let host = Host::new(1_000);
    let (status, content_type, body) = text(host.post("/v1/logs", &[PROTOBUF], vec![0xff; 10]).await).await;
    assert_eq!((status, content_type.as_str()), (400, "application/x-protobuf"));
    assert!(String::from_utf8_lossy(&body).contains("not an OTLP message in protobuf"));
    assert_eq!(body[..2], [0x08, 3]);

    let wrong = br#"{"resourceLogs": [{"scopeLogs": 3}]}"#.to_vec();
    let (status, answer) = json_of(host.post("/v1/logs", &[JSON], wrong).await).await;
    assert_eq!((status, &answer["code"]), (400, &json!(3)));
    assert!(answer["message"].as_str().unwrap().starts_with("resourceLogs[0].scopeLogs: "), "{answer}");

    let bomb = gzip(&vec![0; 1 << 20]);
    for (headers, body, expected) in [
        (vec![JSON], vec![b' '; 1_001], 413),
        (vec![PROTOBUF, ("content-encoding", "gzip")], bomb, 413),
        (vec![JSON, ("content-encoding", "lzma")], Vec::new(), 415),
        (vec![("content-type", "text/plain")], Vec::new(), 415),
        (vec![], Vec::new(), 415),
        (vec![JSON, ("content-encoding", "gzip")], b"not gzip".to_vec(), 400),
    ] {
        assert_eq!(host.post("/v1/logs", &headers, body).await.status().as_u16(), expected, "{headers:?}");
    }
    assert_eq!(host.count("watchfire_input_rejected_total", &[("input", "otlp_logs"), ("reason", "too_large")]), 2);
}

#[tokio::test]
async fn a_busy_or_broken_store_asks_to_try_again() {
    let host = Host::new(1 << 20);
    host.memory.0.lock().busy = Some(Duration::from_millis(1_500));
    let response = host.post("/v1/logs", &[JSON], br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{}]}]}]}"#.to_vec()).await;
    assert_eq!(response.headers()["retry-after"], "2");
    let (status, answer) = json_of(response).await;
    assert_eq!((status, &answer["code"]), (503, &json!(14)));
    *host.memory.0.lock() = Inner { fails: true, ..Inner::default() };
    let response = host.post("/v1/logs", &[PROTOBUF], logs(1).encode_to_vec()).await;
    assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (503, &"10".parse().unwrap()));
}

#[tokio::test]
async fn lines_are_taken_too() {
    let host = Host::new(1 << 20);
    let body = b"{\"msg\":\"one\",\"service\":\"own\"}\nplain\n{broken\n".to_vec();
    let (status, answer) = json_of(host.post("/api/v1/logs?service=api", &[], body).await).await;
    assert_eq!(
        (status, &answer["accepted"], &answer["rejected"], &answer["errors"][0]["line"]),
        (200, &json!(2), &json!(1), &json!(3))
    );
    {
        let inner = host.memory.0.lock();
        assert_eq!((inner.logs[0].service(0), inner.logs[0].service(1)), ("own", "api"));
    }
    let (status, answer) = json_of(host.post("/api/v1/logs", &[("content-encoding", "lzma")], Vec::new()).await).await;
    assert_eq!((status, &answer["error"]["code"]), (415, &json!("unsupported")));
}
