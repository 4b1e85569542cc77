//! What a sender sees.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, Response};
use jiff::tz::TimeZone;
use proptest::prelude::*;
use serde_json::{Value, json};
use watchfire_types::Timestamp;

use super::bulk;
use crate::inputs::ndjson::Defaults;
use crate::inputs::testing::Host;

async fn json_of(response: Response<Body>) -> (u16, Value) {
    assert_eq!(response.headers()["x-elastic-product"], "Elasticsearch");
    let status = response.status().as_u16();
    (status, serde_json::from_slice(&to_bytes(response.into_body(), 1 << 20).await.unwrap()).unwrap())
}

async fn bulk(host: &Host, path: &str, body: &str) -> (u16, Value) {
    json_of(host.post(path, &[("content-type", "application/x-ndjson")], body.as_bytes().to_vec()).await).await
}

fn statuses(answer: &Value) -> Vec<u64> {
    let items = answer["items"].as_array().unwrap().iter();
    items.map(|item| item.as_object().unwrap().values().next().unwrap()["status"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn documents_become_records_whose_ecs_fields_are_recognised() {
    let host = Host::new(1 << 20);
    let body = r#"{"create":{"_index":"filebeat-8.19.0-2026.11.24","_id":"a1"}}
{"@timestamp":"2026-11-22T22:44:07.250Z","message":"slow","log":{"level":"warn","logger":"db"},"service":{"name":"api"},"host":{"name":"web-1","ip":["10.0.0.1"]},"trace":{"id":"0af7651916cd43dd8448eb211c80319c"},"process.pid":7,"http":{"response":{"status_code":500}},"tags":["a"]}
{"index":{}}
{"message":"no time"}

{"index":{"_index":"syslog"}}
{"message":"hi","fromhost":"h","priority":"err","facility":"daemon","timereported":"2026-11-22T22:44:08Z","programname":"sshd"}
"#;
    let (status, answer) = bulk(&host, "/elasticsearch/app-2026.11.24/_bulk", body).await;
    assert_eq!((status, &answer["errors"], statuses(&answer)), (200, &json!(false), vec![201, 201, 201]), "{answer}");
    assert_eq!(
        (&answer["items"][0]["create"]["_id"], &answer["items"][1]["index"]["_index"]),
        (&json!("a1"), &json!("app-2026.11.24"))
    );
    assert_eq!(answer["items"][1]["index"]["_id"].as_str().unwrap().len(), 20);
    let records = host.records();
    let first = serde_json::to_value(&records[0]).unwrap();
    let expected = json!({
        "timestamp": "2026-11-22T22:44:07.25Z", "observed_timestamp": "2026-11-23T00:10:00Z", "severity_number": 13,
        "severity_text": "warn", "body": "slow", "scope": "db", "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "attributes": {"process.pid": 7, "host.ip": ["10.0.0.1"], "http.response.status_code": 500, "tags": ["a"]},
        "resource": {"service.name": "api", "host.name": "web-1", "elasticsearch.index": "filebeat-8.19.0-2026.11.24"},
    });
    assert_eq!(first, expected);
    assert_eq!((records[1].timestamp.to_string(), &records[1].resource[0].1), ("2026-11-23T00:10:00Z".into(), &"app".into()));
    let third = serde_json::to_value(&records[2]).unwrap();
    assert_eq!(
        (&third["severity_number"], &third["resource"]["service.name"], &third["resource"]["host.name"]),
        (&json!(17), &json!("sshd"), &json!("h"))
    );
    assert_eq!(host.count("watchfire_input_records_total", &[("input", "elasticsearch")]), 3);
}

#[tokio::test]
async fn each_document_that_is_refused_says_why_and_the_others_are_taken() {
    let host = Host::new(1 << 20);
    let body = "{\"index\":{\"_index\":\"a\"}}\n{\"message\":\"old\"}\n{\"delete\":{\"_index\":\"a\",\"_id\":\"1\"}}\n\
                {\"update\":{\"_index\":\"a\",\"_id\":\"1\"}}\n{\"doc\":{}}\n{\"index\":{\"_index\":\"a\"}}\nno json\n\
                {\"create\":{}}\n{\"message\":\"no index\"}\n{\"create\":{\"_index\":\"a\"}}\n{\"@timestamp\":\"soon\"}\n\
                {\"create\":{\"_index\":\"a\"}}\n{\"message\":\"good\"}";
    host.memory.0.lock().reject = 1;
    let (status, answer) = bulk(&host, "/elasticsearch/_bulk", body).await;
    assert_eq!((status, &answer["errors"]), (200, &json!(true)));
    assert_eq!(statuses(&answer), [400, 400, 400, 400, 400, 400, 201], "{answer}");
    let reason = |item: usize, action: &str| answer["items"][item][action]["error"]["reason"].as_str().unwrap_or("").to_owned();
    assert_eq!(reason(0, "index"), "the record is too old");
    assert!(reason(1, "delete").contains("does not change"));
    assert!(reason(4, "create").contains("names an index"));
    assert_eq!(reason(5, "create"), "@timestamp: \"soon\" is not a time");
}

#[tokio::test]
async fn a_busy_store_refuses_each_document_for_the_moment() {
    let host = Host::new(1 << 20);
    host.busy(Some(Duration::from_secs(3)));
    let body = "{\"index\":{\"_index\":\"a\"}}\n{\"message\":\"x\"}\n{\"index\":{\"_index\":\"a\"}}\nno json\n";
    let (status, answer) = bulk(&host, "/elasticsearch/_bulk?filter_path=errors,items.*.status,items.*.error.type", body).await;
    let expected = json!({"errors": true, "items": [
        {"index": {"status": 429, "error": {"type": "es_rejected_execution_exception", "reason": "the store is busy: the queue is full"}}},
        {"index": {"status": 400, "error": answer["items"][1]["index"]["error"]}},
    ]});
    assert_eq!((status, &answer), (200, &expected));
    let response = host.post("/elasticsearch/a/_doc", &[], b"{\"message\":\"x\"}".to_vec()).await;
    assert_eq!(json_of(response).await.0, 429);
    assert_eq!(host.count("watchfire_input_rejected_total", &[("input", "elasticsearch"), ("reason", "busy")]), 2);
}

#[tokio::test]
async fn what_is_no_bulk_request_is_refused_as_a_whole() {
    let host = Host::new(10_000);
    for body in [
        "",
        "\n\n",
        "{\"message\":\"x\"}\n",
        "{\"index\":{}}\n",
        "no json\n{}\n",
        "{\"index\":{\"_index\":\"a\"},\"create\":{}}\n{}\n",
    ] {
        let (status, answer) = bulk(&host, "/elasticsearch/_bulk", body).await;
        assert_eq!((status, &answer["status"]), (400, &json!(400)), "{body}: {answer}");
        assert!(answer["error"]["reason"].is_string());
    }
    let (status, _) = bulk(&host, "/elasticsearch/_bulk", &"x".repeat(20_000)).await;
    assert_eq!(status, 413);
    assert!(host.records().is_empty());
}

#[tokio::test]
async fn clients_are_told_what_they_ask_for_before_they_send() {
    let host = Host::new(1 << 20);
    let ask = async |method: &str, path: &str| {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let response = host.send(request).await;
        assert_eq!(response.headers()["x-elastic-product"], "Elasticsearch", "{path}");
        let status = response.status().as_u16();
        (status, String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap())
    };
    for path in ["/elasticsearch", "/elasticsearch/"] {
        let (status, body) = ask("GET", path).await;
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, body["version"]["number"].as_str()), (200, Some("8.19.0")));
        assert_eq!(ask("HEAD", path).await.0, 200);
    }
    for (method, path) in [
        ("GET", "_license"),
        ("GET", "_xpack"),
        ("GET", "_cluster/health"),
        ("GET", "_nodes/http"),
        ("GET", "_cat/indices"),
        ("HEAD", "_index_template/logs"),
        ("PUT", "_index_template/logs"),
        ("GET", "_ilm/policy/filebeat"),
        ("PUT", "_ilm/policy/filebeat"),
        ("GET", "_ingest/pipeline/x"),
        ("PUT", "_ingest/pipeline/x"),
        ("HEAD", "logs"),
        ("PUT", "logs"),
        ("POST", "logs/_refresh"),
        ("GET", "_data_stream/logs"),
        ("HEAD", "_template/logstash"),
        ("HEAD", "_alias/logs"),
    ] {
        assert_eq!(ask(method, &format!("/elasticsearch/{path}")).await.0, 200, "{method} {path}");
    }
    let (status, body) = ask("POST", "/elasticsearch/logs/_search").await;
    assert!(status == 404 && body.contains("/api/v1/logs"), "{body}");
    let response = host.post("/elasticsearch/logs/_doc/7", &[], b"{\"message\":\"one\"}".to_vec()).await;
    let (status, answer) = json_of(response).await;
    assert_eq!((status, &answer["_id"], host.records().len()), (201, &json!("7"), 1));
}

proptest! {
    #[test]
    fn any_request_is_read_or_refused(bytes: Vec<u8>, lines in proptest::collection::vec(0..7_usize, 0..12)) {
        const LINES: [&str; 7] = [
            "{\"index\":{}}", "{\"create\":{\"_index\":\"a\",\"_id\":7}}", "{\"delete\":{\"_id\":\"x\"}}", "{\"update\":{}}", "{\"message\":\"m\"}", "", "{\"a\":{\"b\":[1]}}",
        ];
        let text: String = lines.iter().flat_map(|line| [LINES[*line], "\n"]).collect();
        let defaults = Defaults { service: None, host: None, now: Timestamp::from_seconds(1_795_392_600), zone: &TimeZone::UTC };
        for bytes in [&bytes[..], text.as_bytes()] {
            if let Ok(decoded) = bulk::decode(bytes, None, &defaults, 1 << 20) {
                prop_assert_eq!(decoded.batch.len() as u64 + decoded.refused(), decoded.items.len() as u64);
                prop_assert!(decoded.items.iter().all(|item| (item.index as usize) < decoded.indices.len()));
            }
        }
    }
}
