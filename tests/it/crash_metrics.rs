//! `kill -9` while metrics come in and are moved into chunks: what was acknowledged is counted, once.

use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use watchfire::clock::Clock;
use watchfire_tests::payload::{PROTOBUF, delta_request};
use watchfire_tests::{Client, Installation};
use watchfire_types::Timestamp;

use crate::crash_ingest::{ROUNDS_PER_INSTALLATION, rounds};

/// The steps of a commit, which every request passes, and those of a flush, which a clean end passes.
const POINTS: [&str; 4] =
    ["metrics.before_commit", "metrics.after_commit", "metrics.before_flush_commit", "metrics.after_flush_commit"];

/// Events in one request.
const BATCH: u64 = 5;
const SENDERS: usize = 3;
const SIGKILL: i32 = 9;

/// Counts events, each at a moment of its own, so that a total tells how many of them were stored.
#[derive(Clone, Debug)]
struct Counter {
    name: String,
    start: Timestamp,
    sent: u64,
    acknowledged: u64,
}

impl Counter {
    fn several() -> Vec<Self> {
        let start = Clock::system().now().minus(Duration::from_secs(60));
        (0..SENDERS).map(|number| Self { name: format!("events{number}"), start, sent: 0, acknowledged: 0 }).collect()
    }

    /// Sends requests until the host is gone or `requests` are acknowledged.
    async fn run(mut self, client: Client, requests: usize) -> Self {
        for _ in 0..requests {
            let ats = (self.sent..self.sent + BATCH).map(|number| self.start.plus(Duration::from_millis(number)));
            let body = delta_request("counter", &self.name, ats);
            self.sent += BATCH;
            let request = client.request(Method::POST, "/v1/metrics").header("content-type", PROTOBUF).body(body);
            match client.try_send(request).await {
                Some(answer) if answer.status == 200 => self.acknowledged += BATCH,
                _ => break,
            }
        }
        self
    }
}

#[tokio::test]
async fn acknowledged_metrics_survive_a_kill_at_every_step_of_a_commit_and_of_a_flush() {
    let (mut installation, mut counters) = (Installation::new(json!({})), Counter::several());
    for round in 0..rounds() {
        if round % ROUNDS_PER_INSTALLATION == 0 {
            (installation, counters) = (Installation::new(json!({})), Counter::several());
        }
        let point = POINTS[round % POINTS.len()];
        let flushes = point.contains("flush");
        let passing = if flushes { 1 } else { fastrand::usize(1..60) };
        let mut host = installation.spawn(&[("WATCHFIRE_CRASH_AT", &format!("{point}:{passing}"))]);
        let client = host.wait_ready().await.expect("nothing is passed before the first request");
        let running: Vec<_> = counters
            .drain(..)
            .map(|counter| {
                let requests = if flushes { fastrand::usize(1..30) } else { usize::MAX };
                tokio::spawn(counter.run(client.clone(), requests))
            })
            .collect();
        for counter in running {
            counters.push(counter.await.expect("a sender does not panic"));
        }
        if flushes {
            host.terminate();
        }
        assert_eq!(host.wait_exit().await.signal(), Some(SIGKILL), "{point} was not passed {passing} times");
        let host = installation.start().await;
        for counter in &counters {
            check(counter, host.client(), &format!("round {round}, {point}:{passing}")).await;
        }
        // `host` is killed here, in the middle of nothing.
    }
}

/// Asserts that the stored total counts up by one from sample to sample: none lost, none twice, no part of a request.
async fn check(counter: &Counter, client: &Client, round: &str) {
    let query = [("name", counter.name.as_str()), ("limit", "100000")];
    let answer = client.query("/api/v1/metrics/query", &query).await;
    let series = if answer.status == 404 { json!([]) } else { answer.ok().json()["series"].clone() };
    let samples = series[0]["samples"].as_array().cloned().unwrap_or_default();
    let totals: Vec<_> = samples.iter().filter_map(|sample| sample["value"].as_f64()).collect();
    let expected: Vec<_> = (1..=totals.len()).map(|total| total as f64).collect();
    assert_eq!(totals, expected, "{round}, {}", counter.name);
    let stored = totals.len() as u64;
    assert!(
        (counter.acknowledged..=counter.sent).contains(&stored) && stored.is_multiple_of(BATCH),
        "{round}, {}: {stored} are stored; {} were acknowledged, {} sent",
        counter.name,
        counter.acknowledged,
        counter.sent
    );
}
