//! An analyzer reads the log, and what it finds is there at once, once.

use std::time::Duration;

use serde_json::{Value, json};
use watchfire_tests::{TestHost, eventually, plugin};

const STEP: Duration = Duration::from_millis(500);

/// Returns a host with analyzer `watcher`, which finds every record, and misbehaves as `config` says.
fn host(config: Value) -> TestHost {
    TestHost::start_with(|host, _| {
        host.plugins.components.insert("watcher".to_owned(), plugin("hostile-analyzer", config));
    })
}

async fn analyzer(host: &TestHost) -> Value {
    host.client().get_json("/api/v1/analyzers").await["analyzers"][0].clone()
}

/// Waits until the analyzer reads the log: a component is looked at in the background.
async fn running(host: &TestHost) {
    eventually("the analyzer runs", async || (analyzer(host).await["state"] == "running").then_some(())).await;
}

async fn put(host: &TestHost, bodies: &[&str]) {
    let lines: Vec<Value> = bodies.iter().map(|body| json!({"service": "shop", "message": body})).collect();
    host.client().ingest(&lines).await;
}

/// Returns titles of what was found, oldest first, each with how many findings it stands for.
async fn found(host: &TestHost) -> Vec<String> {
    let list = host.client().get_json("/api/v1/findings").await;
    let line = |finding: &Value| format!("{} {}x", finding["title"].as_str().unwrap_or("?"), finding["findings"]);
    list["findings"].as_array().into_iter().flatten().rev().map(line).collect()
}

async fn found_until(host: &TestHost, expected: &[&str]) {
    eventually(&format!("these findings: {expected:?}"), async || (found(host).await == expected).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_analyzer_finds_is_there_at_once_and_once_also_after_a_restart() {
    let mut host = host(json!({}));
    running(&host).await;
    put(&host, &["one", "two"]).await;
    found_until(&host, &["one 1x", "two 1x"]).await;
    host.restart();
    running(&host).await;
    put(&host, &["three"]).await;
    found_until(&host, &["one 1x", "two 1x", "three 1x"]).await;
    let client = host.client();
    let first = &client.get_json("/api/v1/findings?limit=1&plugin=watcher&rule=seen").await["findings"][0];
    assert_eq!((&first["position"], &first["first_seq"], &first["dedupe_key"]), (&json!("3"), &json!("3"), &json!("3")));
    assert_eq!(client.get_json("/api/v1/findings?plugin=other").await["findings"], json!([]));
    assert_eq!(client.get("/api/v1/findings?severity=loud").await.status, 400);
    let state = eventually("all is stored", async || {
        let analyzer = analyzer(&host).await;
        (analyzer["cursor"] == "3").then_some(analyzer)
    })
    .await;
    assert_eq!((&state["lag_records"], &state["records"], &state["quarantined"]), (&json!(0), &json!(1), &json!(0)));
    let part = client.get_json("/api/v1/status").await["parts"]
        .as_array()
        .and_then(|parts| parts.iter().find(|part| part["name"] == "log_analysis").cloned());
    assert_eq!(part.map(|part| part["state"].clone()), Some(json!("ok")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_traps_is_set_aside_and_all_others_are_analyzed() {
    let host = host(json!({"where": "analyze", "mode": "panic", "body": "poison"}));
    running(&host).await;
    let bodies: Vec<String> =
        (0..200).map(|number| if number == 77 { "poison".to_owned() } else { format!("n{number}") }).collect();
    put(&host, &bodies.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let expected: Vec<String> = bodies.iter().filter(|body| *body != "poison").map(|body| format!("{body} 1x")).collect();
    host.advance_until("all others are found", STEP, async || (found(&host).await == expected).then_some(())).await;
    let state = analyzer(&host).await;
    assert_eq!((&state["quarantined"], &state["quarantine"][0]["seq"]), (&json!(1), &json!("78")));
    let why = state["quarantine"][0]["why"].as_str().unwrap_or_default();
    assert!(why.contains("the plugin has a bug at row 17"), "{why}");
    // The rest of the host never noticed.
    assert_eq!(host.client().records(&[("limit", "1000")]).await.len(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_analyzer_that_cannot_save_is_held_while_the_host_goes_on() {
    let host = host(json!({"where": "save", "mode": "exit"}));
    running(&host).await;
    put(&host, &["one"]).await;
    let state = host
        .advance_until("it is held", STEP, async || {
            let state = analyzer(&host).await;
            (state["state"] == "held").then_some(state)
        })
        .await;
    assert!(state["detail"].as_str().is_some_and(|detail| detail.contains("`save` trapped")), "{state}");
    assert_eq!((&state["lag_records"], &state["cursor"]), (&json!(1), &json!("0")));
    assert_eq!(found(&host).await, Vec::<String>::new());
    assert_eq!(host.client().records(&[]).await.len(), 1);
    let status = host.client().get_json("/api/v1/status").await;
    let part = status["parts"].as_array().and_then(|parts| parts.iter().find(|part| part["name"] == "log_analysis"));
    assert_eq!(part.map(|part| &part["state"]), Some(&json!("degraded")), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_dropped_and_the_good_part_of_an_answer_is_kept() {
    let host = host(json!({"where": "analyze", "mode": "wild"}));
    running(&host).await;
    put(&host, &["x"]).await;
    found_until(&host, &["a good one 1x"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_analyzer_that_was_off_goes_on_where_it_was() {
    let host = host(json!({}));
    running(&host).await;
    put(&host, &["one"]).await;
    found_until(&host, &["one 1x"]).await;
    let client = host.client();
    client.post_json("/api/v1/plugins/watcher/disable", &json!({})).await.ok();
    eventually("it has stopped", async || (analyzer(&host).await["state"] == "stopped").then_some(())).await;
    put(&host, &["two", "three"]).await;
    client.post_json("/api/v1/plugins/watcher/enable", &json!({})).await.ok();
    put(&host, &["four"]).await;
    found_until(&host, &["one 1x", "two 1x", "three 1x", "four 1x"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_auto_start_nothing_is_analyzed_and_status_says_so() {
    let host = TestHost::start_with(|host, _| {
        host.log_analysis.auto_start = false;
        host.plugins.components.insert("watcher".to_owned(), plugin("hostile-analyzer", json!({})));
    });
    eventually("the plugin is ready", async || {
        (host.client().get_json("/api/v1/plugins").await["plugins"][0]["state"] == "ready").then_some(())
    })
    .await;
    let status = host.client().get_json("/api/v1/status").await;
    let part = status["parts"].as_array().and_then(|parts| parts.iter().find(|part| part["name"] == "log_analysis"));
    assert_eq!(part.map(|part| (&part["state"], &part["detail"])), Some((&json!("inactive"), &json!("analyzers do not run"))));
    assert_eq!(host.client().get_json("/api/v1/analyzers").await["analyzers"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_analyzer_that_spins_holds_up_no_other() {
    let host = TestHost::start_with(|host, _| {
        let spins = plugin("hostile-analyzer", json!({"where": "analyze", "mode": "spin"}));
        host.plugins.components.insert("spins".to_owned(), spins);
        host.plugins.components.insert("watcher".to_owned(), plugin("hostile-analyzer", json!({})));
    });
    eventually("both run", async || {
        let list = host.client().get_json("/api/v1/analyzers").await;
        let states = list["analyzers"].as_array().cloned().unwrap_or_default();
        (states.len() == 2 && states.iter().all(|one| one["state"] == "running")).then_some(())
    })
    .await;
    put(&host, &["one"]).await;
    found_until(&host, &["one 1x"]).await;
    let spins = host
        .advance_until("the other is given up on that record", STEP, async || {
            let list = host.client().get_json("/api/v1/analyzers").await;
            let spins = list["analyzers"][0].clone();
            (spins["quarantined"] == 1).then_some(spins)
        })
        .await;
    assert_eq!(spins["quarantine"][0]["why"], "`analyze` ran longer than 300ms");
}
