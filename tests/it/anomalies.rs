//! What is unusual in the log is found, with numbers that are right, told by a rule, and in the report.

use std::time::Duration;

use serde_json::{Value, json};
use watchfire_tests::{TestHost, eventually};
use watchfire_types::Timestamp;

const WINDOW: u64 = 300;
/// Records of a window in the weeks before.
const USUAL: u64 = 4;

/// Sends `count` records of `service` of the time `at`.
fn lines(service: &str, at: Timestamp, count: u64) -> impl Iterator<Item = Value> {
    let line = move |number: u64| json!({"service": service, "level": "INFO", "message": format!("order {number} <script> | shipped"), "timestamp": at.plus(Duration::from_secs(number)).to_string()});
    (0..count).map(line)
}

/// Fills in three weeks in which the shop says the same all the time.
async fn remember(host: &TestHost) {
    let now = host.clock().now();
    let windows = 21 * 86_400 / WINDOW;
    let history: Vec<Value> =
        (2..windows).flat_map(|back| lines("shop", now.minus(Duration::from_secs(back * WINDOW)), USUAL)).collect();
    for chunk in history.chunks(5_000) {
        host.client().ingest(chunk).await;
    }
    eventually("three weeks are counted", async || {
        let list = host.client().get_json("/api/v1/anomalies").await;
        let source = list["sources"].as_array()?.iter().find(|source| source["source"] == "shop")?.clone();
        let ready = |one: &Value| one["detector"] == "rate" && one["state"] == "ready";
        let all = source["detectors"].as_array()?.iter().any(ready);
        let last: Timestamp = source["last_seen"].as_str()?.parse().ok()?;
        (all && now.since(last) < Duration::from_secs(3 * WINDOW)).then_some(())
    })
    .await;
}

/// Lets a window pass, in which the shop says `count` things, and waits until it is judged.
async fn pass(host: &TestHost, count: u64) {
    let now = host.clock().now();
    if count > 0 {
        host.client().ingest(&lines("shop", now, count).collect::<Vec<_>>()).await;
    }
    host.clock().advance(Duration::from_secs(WINDOW));
    let wanted = host.clock().now().minus(Duration::from_secs(WINDOW + 30));
    eventually("the window is judged", async || {
        let list = host.client().get_json("/api/v1/anomalies").await;
        let judged: Timestamp = list["judged_until"].as_str()?.parse().ok()?;
        (judged >= wanted).then_some(())
    })
    .await;
}

async fn found(host: &TestHost, detector: &str) -> Vec<Value> {
    let list = host.client().get_json(&format!("/api/v1/anomalies?detector={detector}")).await;
    list["anomalies"].as_array().cloned().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_usual_and_silence_are_found_with_the_right_numbers_told_and_reported() {
    let mut host = TestHost::start();
    host.add_rule(
        &json!({"name": "unusual", "finding": {"analyzer": "watchfire", "rule": "rate"}, "window": "1h", "level": "WARNING"}),
    )
    .await;
    remember(&host).await;
    for _ in 0..3 {
        pass(&host, USUAL).await;
    }
    assert_eq!(found(&host, "rate").await, Vec::<Value>::new(), "as always");

    for _ in 0..4 {
        pass(&host, 6 * USUAL).await;
    }
    let rates = found(&host, "rate").await;
    let [rate] = &rates[..] else { panic!("{rates:#?}") };
    assert_eq!((&rate["source"], &rate["direction"], &rate["until"]), (&json!("shop"), &json!("up"), &Value::Null));
    let evidence = &rate["evidence"];
    let mean = evidence["expected"]["mean"].as_f64().unwrap_or(0.0);
    assert!((11.0..13.5).contains(&mean), "twelve in a quarter of an hour: {evidence}");
    let actual = evidence["actual"].as_f64().unwrap_or(0.0);
    assert!((36.0..=72.0).contains(&actual), "{evidence}");
    assert!(evidence["p"].as_f64().is_some_and(|p| p < 1e-6), "{evidence}");
    assert!(rate["message"].as_str().is_some_and(|message| message.contains("records in 15 minutes")), "{rate}");
    assert_eq!(rate["search"]["q"], format!("pattern:{} service:shop", rate["pattern"].as_str().unwrap_or("none")));
    let findings = host.client().get_json("/api/v1/findings?plugin=watchfire&rule=rate").await;
    assert_eq!(findings["findings"][0]["labels"]["service"], "shop", "{findings}");
    eventually("the rule fires", async || (!host.client().alerts("unusual", "firing").await.is_empty()).then_some(())).await;

    for _ in 0..6 {
        pass(&host, 0).await;
    }
    let silences = found(&host, "silence").await;
    let [silence] = &silences[..] else { panic!("{silences:#?}") };
    assert_eq!((&silence["source"], &silence["until"]), (&json!("shop"), &Value::Null));
    host.restart();
    eventually("the detectors run again", async || {
        let list = host.client().get_json("/api/v1/anomalies").await;
        (list["running"] == true).then_some(())
    })
    .await;
    // What is said in a window is judged when the window after it is over.
    for _ in 0..3 {
        pass(&host, USUAL).await;
    }
    let silences = found(&host, "silence").await;
    assert!(silences.len() == 1 && silences[0]["until"].is_string(), "it is over: {silences:#?}");
    assert_eq!(found(&host, "rate").await.len(), 1, "and found once");

    let id = rates[0]["id"].as_str().unwrap_or_default();
    host.client().post_json(&format!("/api/v1/anomalies/{id}/ignore"), &json!({})).await.ok();
    assert_eq!(found(&host, "rate").await, Vec::<Value>::new(), "ignored");
    host.client().post_json(&format!("/api/v1/anomalies/{id}/unignore"), &json!({})).await.ok();
    assert_eq!(host.client().post_json("/api/v1/anomalies/999/ignore", &json!({})).await.status, 404);

    let report = host.client().get_json("/api/v1/report?hours=24").await;
    assert_eq!(report["volume"]["by_source"][0]["source"], "shop", "{report}");
    let total = report["volume"]["total"].as_u64().unwrap_or(0);
    let bars = report["volume"]["over_time"].as_array().into_iter().flatten();
    assert_eq!(bars.map(|bar| bar["others"].as_u64().unwrap_or(0)).sum::<u64>(), total, "the chart adds up");
    assert_eq!(report["anomalies"].as_array().map(Vec::len), Some(2), "{report}");
    assert_eq!(report["alerts"][0]["rule"], "unusual", "{report}");
    let html = host.client().get("/api/v1/report?format=html&lang=zh").await.ok().body;
    assert!(html.contains("shop 停止输出日志") && !html.contains("<script"), "{html}");
    let text = host.client().get("/api/v1/report?format=markdown").await.ok().body;
    assert!(text.contains("shop has fallen silent") && text.contains("| shop"), "{text}");
    assert_eq!(host.client().get("/api/v1/report?format=pdf").await.status, 400);
    assert_eq!(host.client().get("/api/v1/report?hours=0").await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_history_nothing_is_found_and_it_is_said_why() {
    let host = TestHost::start();
    host.client().ingest(&lines("new", host.clock().now(), 50).collect::<Vec<_>>()).await;
    let source = eventually("the source is counted", async || {
        let list = host.client().get_json("/api/v1/anomalies").await;
        list["sources"].as_array()?.iter().find(|source| source["source"] == "new").cloned()
    })
    .await;
    for one in source["detectors"].as_array().into_iter().flatten() {
        let why = one["why"].as_str().unwrap_or_default();
        assert!(one["state"] == "not_enough_history" && why.contains(", of "), "{one}");
    }
    host.clock().advance(Duration::from_secs(WINDOW));
    let status = host.client().get_json("/api/v1/status").await;
    let part = status["parts"].as_array().and_then(|parts| parts.iter().find(|part| part["name"] == "anomalies"));
    assert_eq!(part.map(|part| &part["state"]), Some(&json!("ok")), "{status}");
}
