//! `kill -9` while errors are counted: each is counted once, and its stack trace is kept once.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use watchfire_tests::{Client, Installation, eventually};

use crate::crash_ingest::rounds;

/// The steps of a commit to two files, and how often each is passed at most before the kill.
const POINTS: [(&str, usize); 3] = [("errors.before_commit", 6), ("errors.between_files", 6), ("errors.after_commit", 6)];
const KINDS: [&str; 3] = ["KeyError", "TimeoutError", "ValueError"];

/// Sends errors, some in one request, until the host is gone.
async fn send_until_gone(client: &Client) {
    loop {
        let one = || json!({"type": KINDS[fastrand::usize(0..KINDS.len())], "message": "it failed", "service": "shop"});
        let captures: Vec<Value> = (0..fastrand::usize(1..20)).map(|_| one()).collect();
        let request = client.request(reqwest::Method::POST, "/api/v1/errors").json(&captures);
        match client.try_send(request).await {
            Some(answer) if answer.status == 200 => {}
            _ => return,
        }
    }
}

/// Returns how often each class stands in the log.
async fn logged(client: &Client) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for record in client.get("/api/v1/export/logs").await.ok().json_lines() {
        let kind = record["attributes"]["exception.type"].as_str().expect("every record is an error").to_owned();
        *counts.entry(kind).or_default() += 1;
    }
    counts
}

/// Returns how often each class is counted.
async fn counted(client: &Client) -> BTreeMap<String, u64> {
    let issues = client.get_json("/api/v1/issues").await["issues"].as_array().cloned().expect("a list");
    let count = |issue: &Value| Some((issue["type"].as_str()?.to_owned(), issue["count"].as_u64()?));
    issues.iter().map(|issue| count(issue).expect("an issue has a type and a count")).collect()
}

/// Returns how often each log record has a stack trace kept, and how many there are.
fn bodies(installation: &Installation) -> (i64, i64) {
    let mut sums = (0, 0);
    for entry in std::fs::read_dir(installation.data().join("errors")).expect("the folder is there") {
        let path = entry.expect("the folder can be read").path();
        if path.extension().is_some_and(|extension| extension == "db") {
            let connection = rusqlite::Connection::open(path).expect("the file can be opened");
            let counts = connection.query_row("SELECT count(*), count(DISTINCT seq) FROM events", [], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
            });
            let (all, distinct) = counts.expect("the file has events");
            sums = (sums.0 + all, sums.1 + distinct);
        }
    }
    sums
}

#[tokio::test]
async fn counts_survive_a_kill_at_every_step_of_a_commit() {
    let installation = Installation::new(json!({"error_tracking": {"max_events": 1_000_000}}));
    for round in 0..rounds() {
        let (point, most) = POINTS[round % POINTS.len()];
        let point = format!("{point}:{}", fastrand::usize(1..=most));
        let mut host = installation.spawn(&[("WATCHFIRE_CRASH_AT", &point)]);
        // What the round before left uncounted may bring the end before the host is asked whether it is ready.
        if let Some(client) = host.wait_ready().await {
            send_until_gone(&client).await;
            host.wait_exit().await;
        }
        let host = installation.start().await;
        let logged = logged(host.client()).await;
        eventually(&format!("round {round}, {point}: every error is counted"), async || {
            let counted = counted(host.client()).await;
            let too_many = counted.iter().find(|(kind, count)| **count > logged.get(*kind).copied().unwrap_or(0));
            assert_eq!(too_many, None, "round {round}, {point}: counted twice; the log has {logged:?}");
            (counted == logged).then_some(())
        })
        .await;
        let (all, distinct) = bodies(&installation);
        assert_eq!(all, distinct, "round {round}, {point}: an event is kept twice");
    }
}

/// Returns an envelope with one event of `kind`.
fn envelope(kind: &str) -> String {
    let event = json!({"exception": {"values": [{"type": kind, "value": "it failed"}]}, "tags": {"service": "shop"}}).to_string();
    format!("{{}}\n{{\"type\":\"event\",\"length\":{}}}\n{event}\n", event.len())
}

/// Sends events of an SDK until the host is gone; returns how many of each class were acknowledged.
async fn send_events_until_gone(client: &Client) -> BTreeMap<String, u64> {
    let mut acknowledged = BTreeMap::new();
    loop {
        let kind = KINDS[fastrand::usize(0..KINDS.len())];
        let request = client.request(reqwest::Method::POST, "/api/1/envelope/?sentry_key=any").body(envelope(kind));
        match client.try_send(request).await {
            Some(answer) if answer.status == 200 => *acknowledged.entry(kind.to_owned()).or_default() += 1,
            _ => return acknowledged,
        }
    }
}

#[tokio::test]
async fn an_event_that_was_acknowledged_is_counted_whenever_the_host_is_killed() {
    let installation = Installation::new(json!({"error_tracking": {"max_events": 1_000_000}}));
    let mut sent: BTreeMap<String, u64> = BTreeMap::new();
    for round in 0..rounds() {
        let (point, most) = POINTS[round % POINTS.len()];
        let point = format!("{point}:{}", fastrand::usize(1..=most));
        let mut host = installation.spawn(&[("WATCHFIRE_CRASH_AT", &point)]);
        if let Some(client) = host.wait_ready().await {
            for (kind, count) in send_events_until_gone(&client).await {
                *sent.entry(kind).or_default() += count;
            }
            host.wait_exit().await;
        }
        let host = installation.start().await;
        let logged = logged(host.client()).await;
        let lost = sent.iter().find(|(kind, count)| logged.get(*kind).copied().unwrap_or(0) < **count);
        assert_eq!(lost, None, "round {round}, {point}: acknowledged and not in the log: {logged:?}");
        eventually(&format!("round {round}, {point}: every event is counted"), async || {
            (counted(host.client()).await == logged).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_merge_is_whole_or_has_not_happened_and_so_is_what_undoes_it() {
    let installation = Installation::new(json!({}));
    let host = installation.start().await;
    let captures: Vec<Value> = KINDS.iter().map(|kind| json!({"type": kind, "message": "it failed", "service": "shop"})).collect();
    let answer = host.client().post_json("/api/v1/errors", &json!(captures)).await.ok().json();
    let ids: Vec<String> =
        answer["issues"].as_array().expect("a list").iter().filter_map(|id| id.as_str().map(str::to_owned)).collect();
    eventually("all are counted", async || (counted(host.client()).await.len() == KINDS.len()).then_some(())).await;
    drop(host);
    for (verb, point, body) in [
        ("merge", "errors.merged", json!({"issues": &ids[1..]})),
        ("unmerge", "errors.unmerged", json!({})),
        ("resolve", "errors.decided", json!({})),
    ] {
        for is_killed in [true, false] {
            let environment = [("WATCHFIRE_CRASH_AT", point)];
            let mut host = installation.spawn(if is_killed { &environment[..] } else { &[] });
            let client = host.wait_ready().await.expect("it starts");
            let request = client.request(reqwest::Method::POST, &format!("/api/v1/issues/{}/{verb}", ids[0])).json(&body);
            let answer = client.try_send(request).await;
            assert_eq!(answer.is_some_and(|answer| answer.status == 200), !is_killed, "{verb}");
            if is_killed {
                host.wait_exit().await;
            }
            drop(host);
            let host = installation.start().await;
            let issues = host.client().get_json("/api/v1/issues").await["issues"].as_array().cloned().expect("a list");
            let sum: u64 = issues.iter().filter_map(|issue| issue["count"].as_u64()).sum();
            let is_merged = if verb == "merge" { !is_killed } else { verb == "unmerge" && is_killed };
            assert_eq!((issues.len(), sum), (if is_merged { 1 } else { 3 }, 3), "{verb}, killed: {is_killed}: {issues:#?}");
            let first = issues.iter().find(|issue| issue["id"] == ids[0].as_str()).expect("it is there");
            assert_eq!(first["status"] == "resolved", verb == "resolve" && !is_killed);
        }
    }
}
