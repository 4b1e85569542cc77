//! What Loki's clients push is stored.

use watchfire_tests::{TestHost, run_node, run_python};
use watchfire_types::{LogRecord, Value};

fn attribute<'a>(record: &'a LogRecord, key: &str) -> Option<&'a Value> {
    record.attributes.iter().chain(&record.resource).find(|(name, _)| name == key).map(|(_, value)| value)
}

#[tokio::test]
async fn lines_of_the_python_handler_and_snappy_of_googles_protobuf_are_stored() {
    let host = TestHost::start();
    run_python("loki_push.py", &["--url", host.client().url(), "--count", "20"]);
    let records = host.client().records_until(20, &[("service", "logging-loki"), ("limit", "100")]).await;
    assert!(records.iter().all(|record| attribute(record, "component") == Some(&"orders".into())));
    assert!(records.iter().all(|record| attribute(record, "host.name") == Some(&"web-1".into())));
    assert_eq!(records.iter().filter(|record| record.severity_number == 17).count(), 10, "the handler sends its level as a label");
    assert!(records.iter().any(|record| record.body.as_text() == Some("order 7 – 日本語")));

    let records = host.client().records_until(20, &[("service", "snappy"), ("limit", "100")]).await;
    for (number, record) in records.iter().rev().enumerate() {
        assert_eq!(record.body.as_text(), Some(format!("line {number} – 日本語").as_str()));
        assert_eq!(attribute(record, "number"), Some(&number.to_string().into()));
        assert_eq!(attribute(record, "path"), Some(&"C:\\logs\\\"a\"".into()));
        assert_eq!((record.severity_number, record.trace_id.as_str()), (13, "0af7651916cd43dd8448eb211c80319c"));
    }
}

#[tokio::test]
async fn lines_of_winston_are_stored_in_both_encodings() {
    let host = TestHost::start();
    for encoding in ["json", "snappy"] {
        if run_node("loki.mjs", &[host.client().url(), encoding, "40"]).is_none() {
            return;
        }
        let service = format!("winston-{encoding}");
        let records = host.client().records_until(40, &[("service", &service), ("limit", "100")]).await;
        let levels = [17, 13, 9, 5].map(|level| records.iter().filter(|record| record.severity_number == level).count());
        assert_eq!(levels, [10; 4], "{encoding}");
        assert!(records.iter().all(|record| attribute(record, "component") == Some(&"orders".into())), "{encoding}");
        let text = records[0].body.as_text().unwrap_or_default();
        assert!(text.starts_with("order ") && text.contains("\"quoted\" – 日本語"), "{text}");
    }
}

#[tokio::test]
async fn otlp_under_lokis_path_is_taken_and_readiness_is_told() {
    let host = TestHost::start();
    let body = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"by way of loki"}}]}]}]}"#;
    host.client().post("/loki/otlp/v1/logs", "application/json", body).await.ok();
    host.client().records_until(1, &[("q", "loki")]).await;
    assert_eq!(host.client().get("/loki/ready").await.ok().body, "ready\n");
}

#[tokio::test]
async fn a_line_older_than_the_retention_is_refused_and_the_others_are_stored() {
    let host = TestHost::start();
    let now = host.clock().now().as_nanos().to_string();
    let push =
        serde_json::json!({"streams": [{"stream": {"app": "shop"}, "values": [["1000000000000000000", "old"], [now, "new"]]}]});
    let answer = host.client().post_json("/loki/api/v1/push", &push).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.body, "1 of 2 lines were refused, the others are stored: 1 records are older than the retention of logs\n");
    host.client().records_until(1, &[("service", "shop")]).await;
}
