//! `kill -9` while the detectors count: every record is counted once.

use reqwest::Method;
use rusqlite::{Connection, OpenFlags};
use serde_json::json;
use watchfire_tests::{Client, Installation, Process, eventually};

use crate::crash_ingest::rounds;

/// The steps of a commit of counts.
const POINTS: [&str; 2] = ["anomalies.before_commit", "anomalies.after_commit"];
/// Counts are stored every ten seconds: a round takes as long as half a minute elsewhere.
const ROUNDS_OF_OTHERS: usize = 10;

/// Sends records of two services until the host is gone.
async fn send(client: &Client) {
    for number in 0.. {
        let lines = (0..20).map(|row| {
            let service = ["shop", "mail"][usize::from(row % 5 == 0)];
            json!({"service": service, "message": format!("{} number {number}", ["opened", "closed by", "lost"][row % 3])})
                .to_string()
        });
        let body = lines.collect::<Vec<_>>().join("\n");
        let request = client.request(Method::POST, "/api/v1/logs").header("content-type", "application/x-ndjson");
        if client.try_send(request.body(body)).await.is_none_or(|answer| answer.status != 200) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// Waits until all that is stored has been counted, and returns how many records of `service` were.
async fn counted(installation: &Installation, host: &Process, service: &str) -> u64 {
    let last = host.client().get_json("/api/v1/status").await["logs"]["last_seq"].as_str().and_then(|seq| seq.parse::<i64>().ok());
    let last = last.expect("status tells the last position");
    let path = installation.data().join("analysis.db");
    eventually("all of the log is counted", async || {
        let database = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
        let cursor: i64 = database.query_row("SELECT cursor FROM anomaly_progress", [], |row| row.get(0)).ok()?;
        let total = "SELECT sum(total) FROM anomaly_series JOIN anomaly_sources ON id = source WHERE name = ?1";
        let total: i64 = database.query_row(total, [service], |row| row.get(0)).ok()?;
        (cursor >= last).then_some(total as u64)
    })
    .await
}

#[tokio::test]
async fn records_are_counted_once_though_the_host_is_killed_at_every_step() {
    let installation = Installation::new(json!({}));
    for round in 0..rounds().div_ceil(ROUNDS_OF_OTHERS) {
        let mut host = installation.spawn(&[("WATCHFIRE_CRASH_AT", POINTS[round % POINTS.len()])]);
        if let Some(client) = host.wait_ready().await {
            send(&client).await;
        }
        host.kill9();
    }
    let mut host = installation.start().await;
    let records = host.client().get("/api/v1/export/logs").await.ok().json_lines();
    for service in ["shop", "mail"] {
        let stored = records.iter().filter(|record| record["resource"]["service.name"] == service).count() as u64;
        assert!(stored > 0, "something was stored");
        assert_eq!(counted(&installation, &host, service).await, stored, "{service}");
    }
    host.kill9();
}
