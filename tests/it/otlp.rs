//! What unmodified OpenTelemetry SDKs send is stored as it was sent.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use watchfire_tests::otel::{self, Wire};
use watchfire_tests::payload::{PROTOBUF, log_record, logs_request, text_attribute};
use watchfire_tests::{Client, TestHost};
use watchfire_types::{LogRecord, Timestamp};

#[tokio::test]
async fn logs_of_the_python_sdk_are_stored_as_sent_in_every_encoding() {
    let host = TestHost::start();
    for wire in Wire::ALL {
        let service = format!("shop-{}-{}", wire.encoding, wire.compression);
        let sent = otel::send_logs(host.client().url(), wire, &service, 60);
        let mut stored = host.client().records_until(60, &[("service", &service), ("limit", "100")]).await;
        // Newest first, and of the same moment the last to come first; the SDK's batch is in its own order.
        stored.sort_by_key(|record| record.timestamp.max(record.observed_timestamp));
        let mut sent = sent;
        sent.sort_by_key(|record| record["timestamp_nanos"].as_u64().max(record["observed_nanos"].as_u64()));
        for (sent, stored) in sent.iter().zip(&stored) {
            assert_eq!(&as_sent(stored), sent, "{wire:?}");
        }
    }
}

/// Returns a stored record under the names that the Python program prints.
fn as_sent(record: &LogRecord) -> Value {
    let mut json = serde_json::to_value(record).expect("a record is JSON");
    let object = json.as_object_mut().expect("a record is an object");
    for name in ["seq", "pattern", "timestamp", "observed_timestamp"] {
        object.remove(name);
    }
    object.insert("timestamp_nanos".into(), record.timestamp.as_nanos().into());
    object.insert("observed_nanos".into(), record.observed_timestamp.as_nanos().into());
    // What is empty is left out of the API's JSON.
    for name in ["severity_text", "scope", "event_name", "trace_id", "span_id"] {
        object.entry(name).or_insert_with(|| "".into());
    }
    object.entry("flags").or_insert_with(|| 0.into());
    json
}

#[tokio::test]
async fn metrics_of_the_python_sdk_are_stored_as_sent_in_every_encoding_and_temporality() {
    let host = TestHost::start();
    for (number, wire) in Wire::ALL.into_iter().enumerate() {
        for temporality in ["cumulative", "delta"] {
            let expected = otel::send_metrics(host.client().url(), wire, temporality, &format!("shop{number}.{temporality}"));
            for series in expected {
                assert_eq!(last_value(host.client(), &series).await, series["value"].as_f64(), "{wire:?} {temporality} {series}");
            }
        }
    }
}

/// Returns the newest value of the one series that has the name and the labels of `expected`.
async fn last_value(client: &Client, expected: &Value) -> Option<f64> {
    let labels = expected["labels"].as_object().expect("the program prints an object");
    let labels: Vec<_> = labels.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default())).collect();
    let series = client.series(expected["name"].as_str().expect("the program prints a name"), &labels).await;
    assert_eq!(series.len(), 1, "{expected}: {series:?}");
    series[0]["samples"].as_array()?.last()?["value"].as_f64()
}

#[tokio::test]
async fn the_example_for_python_runs_as_it_is() {
    let host = TestHost::start();
    otel::run_example(host.client().url());
    host.client().records_until(100, &[("service", "shop"), ("limit", "200")]).await;
    assert!(!host.client().series("shop.orders", &[("result", "placed")]).await.is_empty());
}

#[tokio::test]
async fn an_answer_speaks_the_encoding_of_its_request() {
    let host = TestHost::start();
    let now = host.clock().now();
    let request = logs_request("api", vec![log_record(now, 9, "hello".into(), Vec::new())]);
    let answer = host.client().post("/v1/logs", PROTOBUF, request).await.ok();
    assert_eq!((answer.header("content-type"), answer.body.as_str()), (PROTOBUF, ""));
    let answer = host.client().post("/v1/logs", "application/json", r#"{"resourceLogs": []}"#).await.ok();
    assert!(answer.header("content-type").starts_with("application/json"));
    assert!(answer.json().is_object());
}

#[tokio::test]
async fn records_that_are_too_old_are_refused_and_the_rest_is_stored() {
    let host = TestHost::start();
    let now = host.clock().now();
    let records = vec![
        log_record(now, 9, "fresh".into(), Vec::new()),
        log_record(Timestamp::from_seconds(1_000_000), 9, "from 1970".into(), Vec::new()),
    ];
    let json = format!(
        r#"{{"resourceLogs": [{{"scopeLogs": [{{"logRecords": [
            {{"timeUnixNano": "{}", "body": {{"stringValue": "fresh"}}}},
            {{"timeUnixNano": "1000000000000000", "body": {{"stringValue": "from 1970"}}}}]}}]}}]}}"#,
        now.as_nanos()
    );
    host.client().post("/v1/logs", PROTOBUF, logs_request("api", records)).await.ok();
    let answer = host.client().post("/v1/logs", "application/json", json).await.ok().json();
    assert_eq!(answer["partialSuccess"]["rejectedLogRecords"], "1", "{answer}");
    assert!(!answer["partialSuccess"]["errorMessage"].as_str().unwrap_or_default().is_empty(), "{answer}");
    host.client().records_until(2, &[("q", "fresh")]).await;
    assert!(host.client().records(&[("q", "1970")]).await.is_empty());
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_a_reason() {
    let host = TestHost::start();
    let post = async |content_type: &str, body: &[u8]| host.client().post("/v1/logs", content_type, body.to_vec()).await.status;
    assert_eq!(post(PROTOBUF, b"\xff\xff\xff").await, 400);
    assert_eq!(post("application/json", b"{").await, 400);
    assert_eq!(post("text/plain", b"hello").await, 415);
}

#[tokio::test]
async fn a_body_that_unpacks_to_more_than_the_limit_is_refused() {
    let host = TestHost::start_with(|config, _| config.server.max_request_bytes = 100_000);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&vec![b' '; 50_000_000]).expect("memory can be written");
    let body = gzip.finish().expect("memory can be written");
    assert!(body.len() < 100_000);
    let request = host.client().request(reqwest::Method::POST, "/v1/logs").header("content-type", "application/json");
    let answer = host.client().send(request.header("content-encoding", "gzip").body(body)).await;
    assert_eq!(answer.status, 413, "{}", answer.body);
}

#[tokio::test]
async fn a_record_without_a_time_gets_the_time_of_its_arrival() {
    let host = TestHost::start();
    let record = log_record(Timestamp::ZERO, 9, "timeless".into(), vec![text_attribute("k", "v")]);
    host.client().post("/v1/logs", PROTOBUF, logs_request("api", vec![record])).await.ok();
    let records = host.client().records_until(1, &[("q", "timeless")]).await;
    assert_eq!(records[0].timestamp, host.clock().now());
}

#[tokio::test]
async fn a_grpc_exporter_needs_the_token_from_elsewhere_and_sends_it_as_metadata() {
    let Some(address) = crate::guard::own_address() else { return };
    let installation =
        watchfire_tests::Installation::new(serde_json::json!({"server": {"listen": "0.0.0.0:0", "token": "sesame"}}));
    let host = installation.start().await;
    let port = host.client().url().rsplit(':').next().expect("an address has a port").to_owned();
    let elsewhere = format!("http://{address}:{port}");
    for (token, service, arrives) in [(None, "nameless", 0), (Some("wrong"), "mistaken", 0), (Some("sesame"), "welcome", 5)] {
        otel::try_grpc(&elsewhere, token, service, 5);
        assert_eq!(host.client().records(&[("service", service)]).await.len(), arrives, "{service}");
    }
}
