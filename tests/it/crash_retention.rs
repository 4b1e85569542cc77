//! The host is killed while it writes the file of a closed day anew, while it merges in it, and while it begins a new day's: what has not
//! expired is there, once.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use watchfire::clock::Clock;
use watchfire::logs::{FileOffset, Logs};
use watchfire::telemetry::SelfMetrics;
use watchfire_tests::{Installation, Process, eventually};
use watchfire_types::attributes::keys;
use watchfire_types::log::RecordHead;
use watchfire_types::{LogBatch, ValueRef};

use crate::crash_ingest::rounds;

/// The steps of a merge in a closed file and of its rewriting.
const POINTS: [&str; 5] = [
    "logs.before_merge_commit",
    "logs.after_merge_commit",
    "logs.during_rewrite",
    "logs.before_rewrite_rename",
    "logs.after_rewrite_rename",
];
/// Commits of the closed day; every second one is of a service that expires.
const COMMITS: usize = 40;
const BATCH: usize = 5;

/// Stores records of two services four days ago.
async fn fill(installation: &Installation) {
    fill_at(installation, 4, &[]).await;
}

/// Stores them `days` days ago, with the positions `offsets` in files.
async fn fill_at(installation: &Installation, days: u64, offsets: &[FileOffset]) {
    std::fs::create_dir_all(installation.data().join("logs")).expect("a temporary folder can be written");
    let clock = Clock::manual(Clock::system().now().minus(Duration::from_secs(days * 86_400)));
    let logs = open(installation, &clock);
    for commit in 0..COMMITS {
        let mut batch = LogBatch::default();
        let service = ["kept", "debug-app"][commit % 2];
        let resource = batch.resource(vec![(keys::SERVICE_NAME.into(), service.into())]);
        for number in 0..BATCH {
            let head = RecordHead { timestamp: clock.now(), resource, ..RecordHead::default() };
            batch.push(&head, ValueRef::Text("numbered"));
            batch.attribute("number", ValueRef::Int((commit * BATCH + number) as i64));
        }
        logs.ingest(batch, offsets.to_vec()).await.expect("the batch is stored");
    }
    logs.close();
}

fn open(installation: &Installation, clock: &Clock) -> Logs {
    Logs::open(&installation.data(), Duration::from_secs(30 * 86_400), clock, &SelfMetrics::default()).expect("the log opens")
}

/// Returns the numbers of the records of `service`, each with its `seq`, in the order of the export.
async fn numbers(host: &Process, service: &str) -> Vec<(u64, u64)> {
    let records = host.client().query("/api/v1/export/logs", &[("service", service)]).await.ok().json_lines();
    let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
    records.iter().filter_map(|record| Some((number(&record["seq"])?, number(&record["attributes"]["number"])?))).collect()
}

#[tokio::test]
async fn what_has_not_expired_survives_a_kill_at_every_step_of_a_rewrite() {
    let config = json!({"logging": {"retention_by_service": {"debug-app": "2d"}}});
    let expected: BTreeMap<u64, u64> = (0..COMMITS * BATCH)
        .filter(|number| (number / BATCH).is_multiple_of(2))
        .map(|number| (number as u64 + 1, number as u64))
        .collect();
    for round in 0..rounds() {
        let installation = Installation::new(config.clone());
        fill(&installation).await;
        let point = POINTS[round % POINTS.len()];
        let mut host = installation.spawn(&[("WATCHFIRE_CRASH_AT", point)]);
        host.wait_exit().await;
        let mut host = installation.start().await;
        let kept = numbers(&host, "kept").await;
        assert_eq!(kept.iter().copied().collect::<BTreeMap<_, _>>(), expected, "round {round}, {point}");
        assert_eq!(kept.len(), expected.len(), "round {round}, {point}: a record is there twice");
        eventually(&format!("round {round}, {point}: the others expire"), async || {
            numbers(&host, "debug-app").await.is_empty().then_some(())
        })
        .await;
        assert_eq!(numbers(&host, "kept").await, kept, "round {round}, {point}: after the rewrite");
        host.kill9();
    }
}

#[tokio::test]
async fn a_kill_while_a_new_day_begins_loses_neither_records_nor_positions_nor_numbers() {
    let installation = Installation::new(json!({}));
    let position = FileOffset { path: "/var/log/app.log".into(), inode: 7, offset: 4_711, fingerprint: 9, ..FileOffset::default() };
    fill_at(&installation, 1, std::slice::from_ref(&position)).await;
    for _ in 0..3 {
        let mut host = installation.spawn(&[("WATCHFIRE_CRASH_AT", "logs.before_roll_commit")]);
        host.wait_exit().await;
    }
    let logs = open(&installation, &Clock::system());
    assert_eq!(logs.file_offsets().expect("positions can be read"), [position]);
    logs.close();
    let mut host = installation.start().await;
    let line = json!({"message": "numbered", "service": "kept", "number": COMMITS * BATCH}).to_string();
    host.client().post("/api/v1/logs", "application/x-ndjson", line).await.ok();
    let found = eventually("the new record", async || {
        let found = numbers(&host, "kept").await;
        found.iter().any(|(_, number)| *number == (COMMITS * BATCH) as u64).then_some(found)
    })
    .await;
    let expected: Vec<(u64, u64)> = (0..=(COMMITS * BATCH) as u64)
        .filter(|number| (number / BATCH as u64).is_multiple_of(2))
        .map(|number| (number + 1, number))
        .collect();
    assert_eq!(
        found.iter().map(|(_, number)| *number).collect::<Vec<_>>(),
        expected.iter().map(|(_, number)| *number).collect::<Vec<_>>()
    );
    assert_eq!(found[..found.len() - 1], expected[..expected.len() - 1]);
    assert!(found.windows(2).all(|pair| pair[0].0 < pair[1].0), "a number was given twice");
    host.kill9();
}
