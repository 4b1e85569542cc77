//! An SDK that gets no answer sends its event again: it is one event all the same.

use serde_json::{Value, json};
use watchfire_tests::{Answer, Client, Installation, TestHost, eventually};

const ID: &str = "9ec79c33ec9942ab8353589fcb2e04dc";

/// Returns an envelope with event `id`, a session that crashed, and a report of 3 lost events.
fn envelope(id: &str) -> String {
    let items = [
        ("event", json!({"exception": {"values": [{"type": "ValueError", "value": "bad order"}]}, "tags": {"service": "shop"}})),
        ("sessions", json!({"aggregates": [{"started": "2026-11-24T08:00:00Z", "crashed": 1}], "attrs": {"release": "shop@1"}})),
        ("client_report", json!({"discarded_events": [{"reason": "network_error", "category": "error", "quantity": 3}]})),
    ];
    let mut text = json!({"event_id": id}).to_string() + "\n";
    for (kind, payload) in items {
        let payload = payload.to_string();
        text.extend([json!({"type": kind, "length": payload.len()}).to_string().as_str(), "\n", &payload, "\n"]);
    }
    text
}

async fn send(client: &Client, project: u32, id: &str) -> Answer {
    client.post(&format!("/api/{project}/envelope/?sentry_key=any"), "application/x-sentry-envelope", envelope(id)).await
}

async fn issues_until(client: &Client, count: u64) -> Vec<Value> {
    eventually(&format!("{count} errors are counted"), async || {
        let issues = client.get_json("/api/v1/issues").await["issues"].as_array().cloned().expect("a list");
        let sum: u64 = issues.iter().filter_map(|issue| issue["count"].as_u64()).sum();
        assert!(sum <= count, "{issues:#?}");
        (sum == count).then_some(issues)
    })
    .await
}

#[tokio::test]
async fn an_event_that_is_sent_again_is_counted_once_with_all_that_came_with_it() {
    let mut host = TestHost::start();
    for _ in 0..3 {
        assert_eq!(send(host.client(), 1, ID).await.ok().json(), json!({"id": ID}));
    }
    // As old SDKs send it, and with its id written in another way.
    let alone = json!({"event_id": "9EC79C33-EC99-42AB-8353-589FCB2E04DC", "message": "bad order"});
    assert_eq!(host.client().post_json("/api/1/store/?sentry_key=any", &alone).await.ok().json(), json!({"id": ID}));
    // At the same time, from two connections.
    let other = ID.replace('9', "8");
    let (left, right) = tokio::join!(send(host.client(), 1, &other), send(host.client(), 1, &other));
    assert_eq!((left.status, right.status), (200, 200));
    // The ids of another project are its own.
    send(host.client(), 2, ID).await.ok();
    issues_until(host.client(), 3).await;
    host.client().records_until(3, &[("q", "\"bad order\"")]).await;
    let own = host.client().get("/metrics").await.ok().body;
    for line in [
        "watchfire_sentry_repeated_events_total 4",
        r#"watchfire_sentry_items_total{type="event"} 3"#,
        r#"watchfire_sentry_lost_by_client_total{category="error",reason="network_error"} 9"#,
    ] {
        assert!(own.contains(line), "{line} is not in {own}");
    }
    let sessions = host.client().series("sentry.sessions", &[("status", "crashed")]).await;
    let last = |series: &Value| series["samples"].as_array().and_then(|samples| samples.last()?["value"].as_f64());
    let sum: f64 = sessions.iter().filter_map(last).sum();
    assert!((sum - 3.0).abs() < 1e-9, "{sessions:#?}");
    // What was sent before the restart is in the log.
    host.restart();
    send(host.client(), 1, ID).await.ok();
    send(host.client(), 2, &other).await.ok();
    issues_until(host.client(), 4).await;
    let events = host.client().get("/api/v1/export/errors").await.ok().json_lines();
    assert_eq!(events.iter().filter(|event| event["event_id"] == ID).count(), 2, "one of each project");
}

#[tokio::test]
async fn an_event_whose_answer_was_lost_as_the_host_was_killed_is_counted_once() {
    let installation = Installation::new(json!({}));
    for (round, point) in ["logs.before_commit:1", "logs.after_commit:1", "errors.between_files:1"].into_iter().enumerate() {
        let id = format!("{round:032x}");
        let mut host = installation.spawn(&[("WATCHFIRE_CRASH_AT", point)]);
        if let Some(client) = host.wait_ready().await {
            let path = "/api/1/envelope/?sentry_key=any";
            let _ = client.try_send(client.request(reqwest::Method::POST, path).body(envelope(&id))).await;
            host.wait_exit().await;
        }
        let host = installation.start().await;
        send(host.client(), 1, &id).await.ok();
        issues_until(host.client(), round as u64 + 1).await;
        let records = host.client().records(&[("q", "\"bad order\"")]).await;
        assert_eq!(records.len(), round + 1, "{point}: the log has an event twice");
    }
}
