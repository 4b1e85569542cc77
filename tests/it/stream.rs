//! The live tail over server-sent events.

use reqwest::Method;
use serde_json::json;
use watchfire_tests::TestHost;
use watchfire_types::Value;

#[tokio::test]
async fn new_records_arrive_in_order_and_only_those_that_match() {
    let host = TestHost::start();
    host.client().ingest(&[json!({"level": "ERROR", "message": "before"})]).await;
    let request = host.client().request(Method::GET, "/api/v1/logs/tail").query(&[("level", "ERROR")]);
    let mut stream = host.client().events(request).await;
    host.client().ingest(&[json!({"level": "INFO", "message": "quiet"}), json!({"level": "ERROR", "message": "one"})]).await;
    host.client().ingest(&[json!({"level": "ERROR", "message": "two"})]).await;
    assert_eq!(stream.next().await.record.body, Value::Text("one".into()));
    assert_eq!(stream.next().await.record.body, Value::Text("two".into()));
}

#[tokio::test]
async fn a_stream_resumes_after_the_last_event_that_came() {
    let host = TestHost::start();
    let lines: Vec<_> = (1..=6).map(|number| json!({"message": format!("number {number}")})).collect();
    host.client().ingest(&lines[..3]).await;
    let tail = || host.client().request(Method::GET, "/api/v1/logs/tail");

    let mut stream = host.client().events(tail().query(&[("after", "0")])).await;
    let mut seen = vec![stream.next().await, stream.next().await];
    drop(stream);
    host.client().ingest(&lines[3..]).await;

    let mut stream = host.client().events(tail().header("last-event-id", &seen[1].id)).await;
    for _ in 0..4 {
        seen.push(stream.next().await);
    }
    let ids: Vec<_> = seen.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(ids, ["1", "2", "3", "4", "5", "6"]);
    assert!(seen.iter().all(|event| event.id == event.record.seq));
}
