//! Searching: by text, level, service, attribute, time; as JSON and as a stream of lines.

use std::time::Duration;

use serde_json::{Value, json};
use watchfire_tests::TestHost;

/// Returns a host with six records, one a minute, the newest now.
async fn host_with_records() -> TestHost {
    let host = TestHost::start();
    let now = host.clock().now();
    let at = |minutes: u64| now.minus(Duration::from_secs(60 * minutes)).to_string();
    host.client()
        .ingest(&[
            json!({"timestamp": at(5), "level": "DEBUG", "service": "api", "message": "cache warmed in 12 ms"}),
            json!({"timestamp": at(4), "level": "INFO", "service": "api", "message": "GET /api/products 200", "user": "ann"}),
            json!({"timestamp": at(3), "level": "WARN", "service": "worker", "message": "connection to 10.0.0.7 is slow"}),
            json!({"timestamp": at(2), "level": "ERROR", "service": "worker", "message": "Connection refused", "user": "bob"}),
            json!({"timestamp": at(1), "level": "ERROR", "service": "db", "message": "deadlock detected", "table": "products"}),
            json!({"timestamp": at(0), "level": "FATAL", "service": "db", "message": "数据库已停止 out of disk"}),
        ])
        .await;
    host
}

/// Returns the bodies that a search finds, newest first, each cut to its first word.
async fn found(host: &TestHost, query: &[(&str, &str)]) -> Vec<String> {
    let records = host.client().records(query).await;
    let body = |value: &Value| value.as_str().unwrap_or_default().split(' ').next().unwrap_or_default().to_owned();
    records.iter().map(|record| body(&serde_json::to_value(record).expect("a record is JSON")["body"])).collect()
}

#[tokio::test]
async fn words_are_found_whole_and_in_any_case() {
    let host = host_with_records().await;
    assert_eq!(found(&host, &[("q", "connection")]).await, ["Connection", "connection"]);
    assert_eq!(found(&host, &[("q", "connect")]).await, [""; 0]);
    assert_eq!(found(&host, &[("q", "connect*")]).await, ["Connection", "connection"]);
    assert_eq!(found(&host, &[("q", "connection refused")]).await, ["Connection"]);
    assert_eq!(found(&host, &[("q", r#""is slow""#)]).await, ["connection"]);
    assert_eq!(found(&host, &[("q", "10.0.0.7")]).await, ["connection"]);
    assert_eq!(found(&host, &[("q", "数据库已停止")]).await, ["数据库已停止"]);
}

#[tokio::test]
async fn words_are_found_in_attribute_values_too() {
    let host = host_with_records().await;
    assert_eq!(found(&host, &[("q", "products")]).await, ["deadlock", "GET"]);
    assert_eq!(found(&host, &[("q", "bob")]).await, ["Connection"]);
}

#[tokio::test]
async fn a_level_means_at_least() {
    let host = host_with_records().await;
    assert_eq!(found(&host, &[("level", "ERROR")]).await, ["数据库已停止", "deadlock", "Connection"]);
    assert_eq!(found(&host, &[("level", "critical")]).await, ["数据库已停止"]);
}

#[tokio::test]
async fn services_are_alternatives_and_attributes_must_all_hold() {
    let host = host_with_records().await;
    assert_eq!(
        found(&host, &[("service", "db"), ("service", "api"), ("level", "INFO")]).await,
        ["数据库已停止", "deadlock", "GET"]
    );
    assert_eq!(found(&host, &[("attribute", "user=bob")]).await, ["Connection"]);
    assert_eq!(found(&host, &[("attribute", "user=bob"), ("attribute", "table=products")]).await, [""; 0]);
    assert_eq!(found(&host, &[("attribute", "service.name=db"), ("level", "FATAL")]).await, ["数据库已停止"]);
}

#[tokio::test]
async fn a_time_range_takes_its_beginning_and_leaves_its_end() {
    let host = host_with_records().await;
    let now = host.clock().now();
    let at = |minutes: u64| now.minus(Duration::from_secs(60 * minutes)).to_string();
    assert_eq!(found(&host, &[("since", &at(3)), ("until", &at(2))]).await, ["connection"]);
    assert_eq!(found(&host, &[("since", "90s")]).await, ["数据库已停止", "deadlock"]);
    let unix = now.minus(Duration::from_secs(61)).as_millis() / 1000;
    assert_eq!(found(&host, &[("since", &unix.to_string())]).await, ["数据库已停止", "deadlock"]);
}

#[tokio::test]
async fn a_limit_keeps_the_newest_and_says_that_there_is_more() {
    let host = host_with_records().await;
    let answer = host.client().query("/api/v1/logs", &[("limit", "2")]).await.ok().json();
    assert_eq!(answer["truncated"], true);
    assert_eq!(answer["records"].as_array().map(Vec::len), Some(2));
    assert_eq!(answer["records"][1]["body"], "deadlock detected");
    let answer = host.client().query("/api/v1/logs", &[("limit", "6")]).await.ok().json();
    assert_eq!(answer["truncated"], false);
}

#[tokio::test]
async fn an_empty_search_says_where_data_are() {
    let host = host_with_records().await;
    let answer = host.client().query("/api/v1/logs", &[("q", "nothing-of-this-kind")]).await.ok().json();
    assert!(!answer["hint"].as_str().unwrap_or_default().is_empty(), "{answer}");
}

#[tokio::test]
async fn a_query_that_cannot_be_read_is_refused_by_name() {
    let host = host_with_records().await;
    for (name, value) in [("level", "loud"), ("since", "yesterday-ish"), ("limit", "many"), ("attribute", "no-equals-sign")] {
        let answer = host.client().query("/api/v1/logs", &[(name, value)]).await;
        assert_eq!(answer.status, 400, "{name}={value}");
        assert_eq!(answer.json()["error"]["code"], "bad_request");
        assert!(answer.json()["error"]["message"].as_str().unwrap_or_default().contains(name), "{}", answer.body);
    }
}

#[tokio::test]
async fn the_same_search_streams_lines_when_asked_to() {
    let host = host_with_records().await;
    let request = host.client().request(reqwest::Method::GET, "/api/v1/logs").query(&[("level", "ERROR")]);
    let answer = host.client().send(request.header("accept", "application/x-ndjson")).await.ok();
    assert!(answer.header("content-type").starts_with("application/x-ndjson"));
    assert_eq!(answer.json_lines().len(), 3);
}

#[tokio::test]
async fn an_export_runs_oldest_first_and_within_its_range() {
    let host = host_with_records().await;
    let bodies =
        |lines: Vec<Value>| lines.iter().map(|line| line["seq"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>();
    let all = host.client().get("/api/v1/export/logs").await.ok().json_lines();
    assert_eq!(bodies(all), ["1", "2", "3", "4", "5", "6"]);
    let some = host.client().query("/api/v1/export/logs", &[("since", "90s")]).await.ok().json_lines();
    assert_eq!(bodies(some), ["5", "6"]);
}
