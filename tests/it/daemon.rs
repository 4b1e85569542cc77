//! Starting, stopping, and being the only one.

use std::fs;

use serde_json::json;
use watchfire_tests::{Client, Installation, eventually};

#[tokio::test]
async fn a_daemon_starts_answers_and_stops_on_command() {
    let installation = Installation::new(json!({}));
    // Returns only once the host is ready, or says why it is not.
    installation.run(&["start", "--daemon", "--config", "config.json"]).expect(0);
    let client = Client::new(fs::read_to_string(installation.data().join("address")).expect("a ready host wrote its address"));
    let pid = client.get_json("/api/v1/status").await["pid"].as_u64().expect("a pid is a number");
    let pid_file = fs::read_to_string(installation.data().join("watchfire.pid")).expect("the pid file is there");
    assert_eq!(pid_file.trim(), pid.to_string());
    assert!(installation.data().join("watchfire.log").is_file());

    let data = installation.data().display().to_string();
    installation.run(&["stop", "--data", &data]).expect(0);
    let request = || client.request(reqwest::Method::GET, "/-/healthy");
    eventually("the daemon is gone", async || client.try_send(request()).await.is_none().then_some(())).await;
    installation.run(&["stop", "--data", &data]).expect(1);
}

#[tokio::test]
async fn a_second_host_on_the_same_data_is_refused_and_told_the_pid() {
    let installation = Installation::new(json!({}));
    let host = installation.start().await;
    let refused = installation.run(&["start", "--config", "config.json"]).expect(1);
    assert!(refused.stderr.contains(&host.pid().to_string()), "{}", refused.stderr);
    host.client().get("/-/healthy").await.ok();
}

#[tokio::test]
async fn a_host_ends_cleanly_on_sigterm_and_starts_where_it_was() {
    let installation = Installation::new(json!({}));
    let mut host = installation.start().await;
    host.client().ingest(&[json!({"message": "kept"})]).await;
    host.terminate();
    assert!(host.wait_exit().await.success(), "{:?}", host.log());
    let host = installation.start().await;
    host.client().records_until(1, &[("q", "kept")]).await;
}

#[tokio::test]
async fn an_open_stream_does_not_hold_up_the_end() {
    let installation = Installation::new(json!({}));
    let mut host = installation.start().await;
    let request = host.client().request(reqwest::Method::GET, "/api/v1/logs/tail");
    let _stream = host.client().events(request).await;
    host.terminate();
    assert!(host.wait_exit().await.success(), "{:?}", host.log());
}

#[tokio::test]
async fn the_data_directory_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let installation = Installation::new(json!({}));
    let _host = installation.start().await;
    let mode = fs::metadata(installation.data()).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}
