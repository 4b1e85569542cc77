//! `kill -9` while records come in: what was acknowledged is there, once and in order.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use watchfire_tests::{Client, Installation};

const SENDERS: usize = 3;
pub(crate) const BATCH: u64 = 20;

/// After so many rounds the data are begun anew: each round reads all of them.
pub(crate) const ROUNDS_PER_INSTALLATION: usize = 20;

/// The steps of a commit and of a merge, and how often each is passed at most before the kill.
const POINTS: [(&str, usize); 4] =
    [("logs.before_commit", 40), ("logs.after_commit", 40), ("logs.before_merge_commit", 5), ("logs.after_merge_commit", 5)];

/// Returns how many times the host is killed: 20, or what `WATCHFIRE_KILL_ROUNDS` says.
pub(crate) fn rounds() -> usize {
    std::env::var("WATCHFIRE_KILL_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(20)
}

/// One stream of numbered records. A number is sent once; after a failure the next ones are used.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    name: String,
    next: u64,
    acknowledged: Vec<u64>,
}

impl Sender {
    /// Returns senders that have sent nothing yet.
    pub(crate) fn several() -> Vec<Self> {
        (0..SENDERS).map(|number| Self { name: format!("sender{number}"), next: 0, acknowledged: vec![] }).collect()
    }

    /// Sends batches until the host is gone or `batches` are acknowledged.
    pub(crate) async fn run(mut self, client: Client, batches: usize) -> Self {
        for _ in 0..batches {
            let numbers = self.next..self.next + BATCH;
            self.next = numbers.end;
            let lines =
                numbers.clone().map(|number| json!({"service": self.name, "message": "numbered", "number": number}).to_string());
            let body = lines.collect::<Vec<_>>().join("\n");
            let request =
                client.request(reqwest::Method::POST, "/api/v1/logs").header("content-type", "application/x-ndjson").body(body);
            match client.try_send(request).await {
                Some(answer) if answer.status == 200 => self.acknowledged.extend(numbers),
                // Refused or unanswered: it may be stored or not, but never twice.
                _ => break,
            }
        }
        self
    }
}

/// Lets all `senders` send until the host is gone, which `end` brings about.
pub(crate) async fn run_until_gone(senders: &mut Vec<Sender>, client: &Client, end: impl AsyncFnOnce()) {
    let running: Vec<_> = senders.drain(..).map(|sender| tokio::spawn(sender.run(client.clone(), usize::MAX))).collect();
    end().await;
    for sender in running {
        senders.push(sender.await.expect("a sender does not panic"));
    }
}

#[tokio::test]
async fn acknowledged_records_survive_kill_nine_once_and_in_order() {
    let (mut installation, mut senders) = (Installation::new(json!({})), Sender::several());
    for round in 0..rounds() {
        if round % ROUNDS_PER_INSTALLATION == 0 {
            (installation, senders) = (Installation::new(json!({})), Sender::several());
        }
        let mut host = installation.start().await;
        let client = host.client().clone();
        // The first sender ends the host after some batches; the others are in the middle of theirs.
        let until_death = fastrand::usize(1..40);
        let mut first = senders.remove(0);
        run_until_gone(&mut senders, &client, async || {
            first = first.clone().run(client.clone(), until_death).await;
            host.kill9();
        })
        .await;
        senders.push(first);
        let host = installation.start().await;
        check(&senders, &host.client().get("/api/v1/export/logs").await.ok().json_lines(), round);
    }
}

#[tokio::test]
async fn acknowledged_records_survive_a_kill_at_every_step_of_a_commit_and_of_a_merge() {
    let (mut installation, mut senders) = (Installation::new(json!({})), Sender::several());
    for round in 0..rounds() {
        if round % ROUNDS_PER_INSTALLATION == 0 {
            (installation, senders) = (Installation::new(json!({})), Sender::several());
        }
        let (point, most) = POINTS[round % POINTS.len()];
        let point = format!("{point}:{}", fastrand::usize(1..=most));
        let mut host = installation.spawn(&[("WATCHFIRE_CRASH_AT", &point)]);
        // A merge of what earlier rounds left may come, and with it the end, before the host is asked whether it is ready.
        if let Some(client) = host.wait_ready().await {
            run_until_gone(&mut senders, &client, async || {
                host.wait_exit().await;
            })
            .await;
        }
        let host = installation.start().await;
        check(&senders, &host.client().get("/api/v1/export/logs").await.ok().json_lines(), round);
    }
}

/// Asserts that `stored`, a whole export, has all that the senders were told is stored, once and in order, and no part of a batch.
pub(crate) fn check(senders: &[Sender], stored: &[Value], round: usize) {
    let mut numbers: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (position, record) in stored.iter().enumerate() {
        let seq: u64 = record["seq"].as_str().and_then(|seq| seq.parse().ok()).expect("a record has a seq");
        assert_eq!(seq, position as u64 + 1, "round {round}: seqs count up from one without a gap");
        let service = record["resource"]["service.name"].as_str().expect("a record has a service");
        numbers.entry(service).or_default().extend(record["attributes"]["number"].as_u64());
    }
    for sender in senders {
        let stored = numbers.remove(sender.name.as_str()).unwrap_or_default();
        assert!(stored.is_sorted_by(|left, right| left < right), "round {round}, {}: doubled or out of order", sender.name);
        let lost: Vec<_> = sender.acknowledged.iter().filter(|number| stored.binary_search(number).is_err()).collect();
        assert!(lost.is_empty(), "round {round}, {}: acknowledged and lost: {lost:?}", sender.name);
        let is_whole = |batch: &[u64]| batch.len() as u64 == BATCH && batch[0].is_multiple_of(BATCH);
        let batches = stored.chunk_by(|left, right| left / BATCH == right / BATCH);
        assert!(batches.into_iter().all(is_whole), "round {round}, {}: half a batch is stored", sender.name);
    }
}
