//! Status, health, and the page.

use std::time::Duration;

use watchfire_tests::TestHost;

#[tokio::test]
async fn the_status_names_every_part_and_what_to_do_about_it() {
    let host = TestHost::start();
    let status = host.client().get_json("/api/v1/status").await;
    for key in
        ["version", "pid", "started_at", "uptime_seconds", "data_dir", "listen", "state", "parts", "warnings", "logs", "metrics"]
    {
        assert!(status.get(key).is_some(), "{key} is missing: {status}");
    }
    assert_eq!(status["pid"], std::process::id());
    assert_eq!(status["state"], "ok", "{status}");
    for part in status["parts"].as_array().expect("parts are a list") {
        let state = part["state"].as_str().unwrap_or_default();
        assert!(["ok", "degraded", "inactive"].contains(&state), "{part}");
        assert!(state == "ok" || part["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "says what to do: {part}");
    }
}

#[tokio::test]
async fn the_status_counts_what_is_stored() {
    let host = TestHost::start();
    host.client().ingest(&[serde_json::json!({"message": "one"}), serde_json::json!({"message": "two"})]).await;
    let logs = host.client().get_json("/api/v1/status").await["logs"].clone();
    assert_eq!((&logs["records"], &logs["last_seq"]), (&2.into(), &"2".into()), "{logs}");
}

#[tokio::test]
async fn health_is_unknown_until_the_machine_has_been_measured() {
    let host = TestHost::start();
    assert_eq!(host.client().get_json("/api/v1/health").await["status"], "unknown");
}

#[tokio::test]
async fn health_sums_up_the_machine() {
    let host = TestHost::start_with(|config, _| config.performance.auto_start = true);
    let health = host
        .advance_until("a measured machine", Duration::from_secs(30), async || {
            let health = host.client().get_json("/api/v1/health").await;
            (health["status"] != "unknown").then_some(health)
        })
        .await;
    for key in ["cpu_percent", "memory_percent", "disk_usage_percent", "process_count", "alerts_firing"] {
        assert!(health[key].is_number(), "{key}: {health}");
    }
    for key in ["receive_bytes", "transmit_bytes"] {
        assert!(health["network_io"][key].is_number(), "{key}: {health}");
    }
}

#[tokio::test]
async fn probes_and_the_page_answer() {
    let host = TestHost::start();
    host.client().get("/-/healthy").await.ok();
    host.client().get("/-/ready").await.ok();
    let page = host.client().get("/").await.ok();
    assert!(page.header("content-type").starts_with("text/html"));
    // No request to any other origin.
    assert!(!page.body.contains("src=\"http") && !page.body.contains("href=\"http"), "{}", page.body);
}
