//! NDJSON over HTTP.

use serde_json::json;
use watchfire_tests::{Installation, Process, TestHost};
use watchfire_types::{Timestamp, Value};

const NDJSON: &str = "application/x-ndjson";

#[tokio::test]
async fn good_lines_are_stored_and_bad_ones_are_named() {
    let host = TestHost::start();
    let body = "{\"message\": \"first\"}\n\n{\"message\": broken}\n{\"message\": \"second\"}\n";
    let answer = host.client().post("/api/v1/logs", NDJSON, body).await.ok().json();
    assert_eq!((&answer["accepted"], &answer["rejected"]), (&json!(2), &json!(1)), "{answer}");
    assert_eq!(answer["errors"][0]["line"], 3, "{answer}");
    assert!(!answer["errors"][0]["reason"].as_str().unwrap_or_default().is_empty(), "{answer}");
    host.client().records_until(2, &[]).await;
}

#[tokio::test]
async fn a_line_that_is_no_json_is_text() {
    let host = TestHost::start();
    host.client().post("/api/v1/logs?service=cron", NDJSON, "ERROR the job failed\n").await.ok();
    let record = host.client().records_until(1, &[("service", "cron")]).await.remove(0);
    assert_eq!((record.severity_number, record.body.as_text()), (17, Some("ERROR the job failed")));
}

#[tokio::test]
async fn a_line_may_use_the_usual_names_for_time_level_and_message() {
    let host = TestHost::start();
    let now = host.clock().now();
    host.client()
        .ingest(&[
            json!({"timestamp": now.to_string(), "level": "ERROR", "message": "one", "service": "api", "user_id": 42}),
            json!({"time": now.to_string(), "severity": "warning", "msg": "two", "nested": {"a": [1, 2]}}),
        ])
        .await;
    let one = &host.client().records_until(1, &[("q", "one")]).await[0];
    assert_eq!((one.timestamp, one.severity_number, &one.body), (now, 17, &Value::Text("one".into())));
    assert_eq!(one.attributes, [("user_id".to_owned(), Value::Int(42))]);
    assert_eq!(one.resource, [("service.name".to_owned(), Value::Text("api".into()))]);
    let two = &host.client().records_until(1, &[("q", "two")]).await[0];
    assert_eq!((two.severity_number, two.severity_text.as_str()), (13, "warning"));
}

#[tokio::test]
async fn what_the_api_prints_can_be_sent_back_and_is_equal() {
    let host = TestHost::start();
    host.client().ingest(&[json!({"message": "round trip", "level": "WARN", "service": "api", "pi": 3.25, "list": ["a"]})]).await;
    let first = host.client().records_until(1, &[]).await.remove(0);
    let mut line = serde_json::to_value(&first).expect("a record is JSON");
    line.as_object_mut().expect("a record is an object").remove("seq");
    host.client().ingest(&[line]).await;
    let mut second = host.client().records_until(2, &[]).await.remove(0);
    assert_ne!(second.seq, first.seq);
    second.seq.clone_from(&first.seq);
    assert_eq!(second, first);
}

#[tokio::test]
async fn sequence_numbers_begin_at_one_and_have_no_gap_across_a_restart() {
    let mut host = TestHost::start();
    for number in 0..3 {
        host.client().ingest(&[json!({"message": format!("before {number}")})]).await;
    }
    host.restart();
    host.client().ingest(&[json!({"message": "after"})]).await;
    let records = host.client().records_until(4, &[]).await;
    let seqs: Vec<_> = records.iter().map(|record| record.seq.as_str()).collect();
    assert_eq!(seqs, ["4", "3", "2", "1"]);
}

#[tokio::test]
async fn a_time_far_in_the_future_is_refused() {
    let host = TestHost::start();
    let line = json!({"timestamp": Timestamp::from_seconds(4_102_444_800).to_string(), "message": "from 2100"});
    let answer = host.client().post("/api/v1/logs", NDJSON, line.to_string()).await.ok().json();
    assert_eq!((&answer["accepted"], &answer["rejected"]), (&json!(0), &json!(1)), "{answer}");
}

#[tokio::test]
async fn a_host_reads_its_standard_input_if_it_is_told_to() {
    let installation = Installation::new(json!({}));
    std::fs::write(installation.path("input"), "plain text\n{\"message\":\"of json\",\"service\":\"api\"}\nlast")
        .expect("a folder can be written");
    let mut command = installation.command(&["start", "--stdin", "--config", "config.json"]);
    command.stdin(std::fs::File::open(installation.path("input")).expect("it was just written"));
    let mut host = Process::spawn(command, installation.data().join("address"));
    let client = host.wait_ready().await.expect("the host starts");
    client.records_until(2, &[("service", "stdin")]).await;
    client.records_until(1, &[("service", "api")]).await;
}
