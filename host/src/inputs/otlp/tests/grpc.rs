//! Calls of gRPC as they come off the wire.

use std::time::Duration;

use axum::body::Body;
use axum::http::Response;
use base64::Engine as _;
use http_body_util::BodyExt as _;
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use proptest::prelude::*;
use prost::Message as _;

use crate::inputs::body::Compression;
use crate::inputs::testing::Host;

const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
const GRPC: (&str, &str) = ("content-type", "application/grpc+proto");

fn logs(count: usize) -> Vec<u8> {
    let log_records = vec![LogRecord { severity_number: 9, ..LogRecord::default() }; count];
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }] }.encode_to_vec()
}

fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    [&[flag][..], &(message.len() as u32).to_be_bytes(), message].concat()
}

/// Returns the status, wherever it stands, the message that goes with it, and the framed answer.
async fn outcome(response: Response<Body>) -> (i32, String, Vec<u8>) {
    assert_eq!((response.status().as_u16(), &response.headers()["content-type"]), (200, &"application/grpc".parse().unwrap()));
    let mut headers = response.headers().clone();
    let body = response.into_body().collect().await.unwrap();
    headers.extend(body.trailers().cloned().unwrap_or_default());
    let text = |name: &str| headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    (text("grpc-status").parse().unwrap(), text("grpc-message"), body.to_bytes().to_vec())
}

#[tokio::test]
async fn a_call_is_answered_with_a_message_and_a_status_in_the_trailers() {
    let host = Host::new(1 << 20);
    let (status, message, body) = outcome(host.post(LOGS, &[GRPC], framed(0, &logs(3))).await).await;
    assert_eq!((status, message.as_str(), body), (0, "", framed(0, &[])));
    host.memory.0.lock().reject = 2;
    let (status, _, body) = outcome(host.post(LOGS, &[GRPC], framed(0, &logs(5))).await).await;
    let partial = ExportLogsServiceResponse::decode(&body[5..]).unwrap().partial_success.unwrap();
    assert_eq!((status, partial.rejected_log_records, partial.error_message.as_str()), (0, 2, "too old"));
    assert_eq!(host.count("watchfire_input_records_total", &[("input", "otlp_grpc_logs")]), 6);
}

#[tokio::test]
async fn every_compression_that_is_offered_is_read() {
    let host = Host::new(1 << 20);
    let message = logs(4);
    let zstd = zstd::bulk::compress(&message, 3).unwrap();
    let snappy = snap::raw::Encoder::new().compress_vec(&message).unwrap();
    for (name, bytes) in [("gzip", super::http::gzip(&message)), ("zstd", zstd), ("snappy", snappy)] {
        let (status, text, _) = outcome(host.post(LOGS, &[GRPC, ("grpc-encoding", name)], framed(1, &bytes)).await).await;
        assert_eq!((status, text.as_str()), (0, ""), "{name}");
    }
    // One that is named need not be used.
    assert_eq!(outcome(host.post(LOGS, &[GRPC, ("grpc-encoding", "gzip")], framed(0, &message)).await).await.0, 0);
    assert_eq!(host.records().len(), 16);
    let (status, text, _) = outcome(host.post(LOGS, &[GRPC, ("grpc-encoding", "br")], framed(1, b"x")).await).await;
    assert_eq!(status, 12, "{text}");
}

#[tokio::test]
async fn what_cannot_be_read_is_an_invalid_argument_and_what_is_too_large_exhausts() {
    let host = Host::new(10_000);
    for body in [vec![], vec![0, 0, 0], framed(0, b"\xff\xff"), framed(1, b"x"), framed(7, b""), [framed(0, b""), vec![0]].concat()]
    {
        let (status, text, _) = outcome(host.post(LOGS, &[GRPC], body.clone()).await).await;
        assert_eq!(status, 3, "{body:?}: {text}");
    }
    assert_eq!(outcome(host.post(LOGS, &[GRPC], framed(0, &vec![0; 20_000])).await).await.0, 8);
    let bomb = super::http::gzip(&vec![0; 5_000_000]);
    assert_eq!(outcome(host.post(LOGS, &[GRPC, ("grpc-encoding", "gzip")], framed(1, &bomb)).await).await.0, 8);
    assert_eq!(outcome(host.post(LOGS, &[("content-type", "application/json")], b"{}".to_vec()).await).await.0, 12);
    assert!(host.count("watchfire_input_rejected_total", &[("input", "otlp_grpc_logs"), ("reason", "bad_request")]) >= 6);
}

#[tokio::test]
async fn a_busy_store_is_unavailable_and_says_when_to_come_again() {
    let host = Host::new(1 << 20);
    host.busy(Some(Duration::from_millis(1500)));
    let response = host.post(LOGS, &[GRPC], framed(0, &logs(1))).await;
    let details = response.headers()["grpc-status-details-bin"].clone();
    let (status, text, body) = outcome(response).await;
    assert_eq!((status, text.as_str(), body.len()), (14, "the store is busy: the queue is full", 0));
    let details = base64::engine::general_purpose::STANDARD_NO_PAD.decode(details).unwrap();
    // google.rpc.RetryInfo with 1 s and 500,000,000 ns at its end.
    let retry_info = b"type.googleapis.com/google.rpc.RetryInfo\x12\x0a\x0a\x08\x08\x01\x10\x80\xca\xb5\xee\x01";
    assert!(details.ends_with(retry_info), "{details:?}");
}

#[tokio::test]
async fn spans_are_counted_and_the_health_check_answers() {
    let host = Host::new(1 << 20);
    let traces = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    assert_eq!(outcome(host.post(traces, &[GRPC], framed(0, &[])).await).await.0, 0);
    let check = async |service: &str| {
        let message = [&[0x0a, service.len() as u8], service.as_bytes()].concat();
        outcome(host.post("/grpc.health.v1.Health/Check", &[GRPC], framed(0, &message)).await).await
    };
    assert_eq!(check("opentelemetry.proto.collector.logs.v1.LogsService").await, (0, String::new(), framed(0, &[8, 1])));
    assert_eq!(check("").await.0, 0);
    assert_eq!(check("other").await.0, 5);
}

proptest! {
    #[test]
    fn a_message_is_found_only_where_it_is_whole(bytes: Vec<u8>, message: Vec<u8>) {
        let _ = super::super::grpc::message(&bytes, Compression::Gzip);
        let framed = framed(0, &message);
        prop_assert_eq!(super::super::grpc::message(&framed, Compression::Gzip).unwrap(), (Compression::Identity, 5));
        prop_assert!(super::super::grpc::message(&framed[..framed.len() - 1], Compression::Gzip).is_err());
    }
}
