//! `kill -9` while patterns are learnt: the same line has the same id before and after, and every id has its template.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use watchfire_tests::{Client, Installation};

use crate::crash_ingest::{ROUNDS_PER_INSTALLATION, rounds};

/// The steps of a commit that stores patterns.
const POINTS: [&str; 3] = ["logs.patterns_written", "logs.before_commit", "logs.after_commit"];
const WORDS: [&str; 12] =
    ["opened", "closed", "lost", "renewed", "locked", "moved", "copied", "denied", "queued", "sealed", "parked", "merged"];

/// Returns a line of form `kind`; forms differ in their words and in how many there are.
fn line(kind: usize, number: usize) -> String {
    let words: Vec<&str> = (0..=kind % 5).map(|place| WORDS[(kind / 5 + place * 7) % WORDS.len()]).collect();
    format!("{} unit{} number {number} at 10.0.0.{}", words.join(" and "), ["", " of", " for"][kind % 3], number % 250)
}

/// Sends batches, each with one form that is new in this round, until the host is gone.
async fn send(client: &Client, round: usize) {
    for batch in 0.. {
        let kinds = (0..=(round * 3 + batch) % 60).chain([round % 60]);
        let lines: Vec<String> = kinds
            .map(|kind| json!({"service": (["api", "web"][kind % 2]), "kind": kind, "message": line(kind, batch)}).to_string())
            .collect();
        let request = client.request(reqwest::Method::POST, "/api/v1/logs").header("content-type", "application/x-ndjson");
        if client.try_send(request.body(lines.join("\n"))).await.is_none_or(|answer| answer.status != 200) {
            return;
        }
    }
}

/// Checks that all records of a form have one pattern, merged ones resolved, and that it has a template.
async fn check(client: &Client, round: usize) {
    let mut of_kind: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for record in client.get("/api/v1/export/logs").await.ok().json_lines() {
        let id = record["pattern"].as_str().unwrap_or_default().to_owned();
        assert!(!id.is_empty(), "round {round}: {record}");
        ids.insert(id.clone());
        of_kind.entry(record["attributes"]["kind"].as_u64().expect("a kind")).or_default().insert(id);
    }
    let mut resolved: BTreeMap<String, String> = BTreeMap::new();
    for id in ids {
        let shown: Value = client.get_json(&format!("/api/v1/patterns/{id}?read=1")).await;
        let template = shown["pattern"]["template"].as_str().unwrap_or_default();
        assert!(!template.is_empty(), "round {round}: pattern {id} has no template");
        resolved.insert(id, shown["pattern"]["id"].as_str().expect("an id").to_owned());
    }
    for (kind, ids) in of_kind {
        let now: BTreeSet<&String> = ids.iter().map(|id| &resolved[id]).collect();
        assert_eq!(now.len(), 1, "round {round}: lines of form {kind} have the patterns {ids:?}, which are {now:?}");
    }
}

#[tokio::test]
async fn the_same_line_has_the_same_pattern_after_a_kill_at_every_step() {
    let mut installation = Installation::new(json!({}));
    for round in 0..rounds() {
        if round % ROUNDS_PER_INSTALLATION == 0 {
            installation = Installation::new(json!({}));
        }
        let point = format!("{}:{}", POINTS[round % POINTS.len()], fastrand::usize(1..8));
        let mut host = installation.spawn(&[("WATCHFIRE_CRASH_AT", &point)]);
        if let Some(client) = host.wait_ready().await {
            send(&client, round).await;
        }
        host.kill9();
        let mut host = installation.start().await;
        check(host.client(), round).await;
        host.kill9();
    }
}
