//! The host is killed between the steps of an analyzer's commit: every record is analyzed, and what was found is there once.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use watchfire_tasks::components;
use watchfire_tests::{Client, Installation, Process, eventually};

use crate::crash_ingest::{ROUNDS_PER_INSTALLATION, rounds};

/// The steps of a commit.
const POINTS: [&str; 3] = ["analysis.after_analyze", "analysis.before_commit", "analysis.after_commit"];

/// Records of one request.
const BATCH: usize = 7;

/// Returns an installation with an analyzer that finds every record and traps on those that hold `poison`. It has begun.
async fn installation() -> Installation {
    let component = components::find("hostile-analyzer");
    let config = json!({"where": "analyze", "mode": "panic", "body": "poison"});
    let installation = Installation::new(json!({"plugins": {"components": {"watcher": {
        "component": component, "capabilities": ["kv", "metrics"], "config": config, "timeout": "5s"}}}}));
    let mut host = installation.start().await;
    settled(&mut host).await;
    host.kill9();
    installation
}

/// Waits until the analyzer has stored what it found in the whole log; returns how it stands.
async fn settled(host: &mut Process) -> Value {
    eventually("the analyzer has read all of the log", async || {
        let analyzer = host.client().get_json("/api/v1/analyzers").await["analyzers"][0].clone();
        let last = host.client().get_json("/api/v1/status").await["logs"]["last_seq"].clone();
        (analyzer["state"] == "running" && analyzer["cursor"] == last).then_some(analyzer)
    })
    .await
}

/// Sends records to a host that may die of it, one of which is poison if `poison` says so.
async fn send(client: &Client, number: &mut usize, poison: bool) {
    let line = |index: usize| {
        let body = if poison && index == BATCH / 2 { "poison" } else { "fine" };
        json!({"service": "shop", "message": body, "number": *number + index}).to_string()
    };
    let body: Vec<String> = (0..BATCH).map(line).collect();
    *number += BATCH;
    let request = client.request(Method::POST, "/api/v1/logs").header("content-type", "application/x-ndjson").body(body.join("\n"));
    client.try_send(request).await;
}

/// Asserts that what was found is every stored record but the poison ones, each once, and that those were set aside.
async fn check(host: &mut Process, round: &str) {
    let analyzer = settled(host).await;
    let records = host.client().get("/api/v1/export/logs").await.ok().json_lines();
    let seqs = |poison: bool| -> BTreeSet<String> {
        let of_kind = records.iter().filter(|record| (record["body"] == "poison") == poison);
        of_kind.filter_map(|record| record["seq"].as_str().map(str::to_owned)).collect()
    };
    let list = host.client().get_json("/api/v1/findings?limit=10000").await;
    let findings = list["findings"].as_array().cloned().unwrap_or_default();
    let twice: Vec<&Value> = findings.iter().filter(|finding| finding["findings"] != 1).collect();
    assert!(twice.is_empty(), "{round}: found more than once: {twice:?}");
    let found: BTreeSet<String> = findings.iter().filter_map(|finding| finding["dedupe_key"].as_str().map(str::to_owned)).collect();
    assert_eq!(found.len(), findings.len(), "{round}: two findings of one record");
    let expected = seqs(false);
    assert!(found == expected, "{round}: lost {:?}, made up {:?}", &expected - &found, &found - &expected);
    let set_aside = analyzer["quarantine"].as_array().cloned().unwrap_or_default();
    let set_aside: BTreeSet<String> = set_aside.iter().filter_map(|one| one["seq"].as_str().map(str::to_owned)).collect();
    assert_eq!(set_aside, seqs(true), "{round}: set aside");
}

#[tokio::test(flavor = "multi_thread")]
async fn findings_survive_a_kill_at_every_step_once() {
    let (mut installation_, mut number) = (installation().await, 0);
    for round in 0..rounds() {
        if round > 0 && round % ROUNDS_PER_INSTALLATION == 0 {
            (installation_, number) = (installation().await, 0);
        }
        let point = format!("{}:{}", POINTS[round % POINTS.len()], fastrand::usize(1..=6));
        let mut host = installation_.spawn(&[("WATCHFIRE_CRASH_AT", &point)]);
        let client = host.wait_ready().await.expect("it has nothing to die of yet");
        // One poison record in some rounds, since finding it takes seconds.
        let mut poison = round % 4 == 0;
        eventually(&format!("{point} is passed"), async || {
            if host.exited().is_some() {
                return Some(());
            }
            send(&client, &mut number, std::mem::take(&mut poison)).await;
            None
        })
        .await;
        let mut host = installation_.start().await;
        check(&mut host, &format!("round {round}, {point}")).await;
        host.kill9();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn findings_survive_kills_at_any_moment_once() {
    let (installation, mut number) = (installation().await, 0);
    for round in 0..rounds().min(ROUNDS_PER_INSTALLATION) {
        let mut host = installation.start().await;
        let client = host.client().clone();
        for _ in 0..fastrand::usize(1..60) {
            send(&client, &mut number, false).await;
        }
        host.kill9();
        let mut host = installation.start().await;
        check(&mut host, &format!("round {round}")).await;
        host.kill9();
    }
}
