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
