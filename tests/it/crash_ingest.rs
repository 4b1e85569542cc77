//! `kill -9` while records come in: what was acknowledged is there, once and in order.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use watchfire_tests::{Client, Installation};

const SENDERS: usize = 3;
const BATCH: u64 = 20;

/// Returns how many times the host is killed: 20, or what `WATCHFIRE_KILL_ROUNDS` says.
pub(crate) fn rounds() -> usize {
    std::env::var("WATCHFIRE_KILL_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(20)
}

/// One stream of numbered records. A number is sent once; after a failure the next ones are used.
#[derive(Clone, Debug)]
struct Sender {
    name: String,
    next: u64,
    acknowledged: Vec<u64>,
}

impl Sender {
    /// Sends batches until the host is gone or `batches` are acknowledged.
    async fn run(mut self, client: Client, batches: usize) -> Self {
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

#[tokio::test]
async fn acknowledged_records_survive_kill_nine_once_and_in_order() {
    let installation = Installation::new(json!({}));
    let mut senders: Vec<_> =
        (0..SENDERS).map(|number| Sender { name: format!("sender{number}"), next: 0, acknowledged: vec![] }).collect();
    for round in 0..rounds() {
        let mut host = installation.start().await;
        let client = host.client().clone();
        // The first sender ends the host after some batches; the others are in the middle of theirs.
        let until_death = fastrand::usize(1..40);
        let mut running: Vec<_> = senders.drain(1..).map(|sender| tokio::spawn(sender.run(client.clone(), usize::MAX))).collect();
        let first = senders.remove(0).run(client.clone(), until_death).await;
        host.kill9();
        senders.push(first);
        for sender in running.drain(..) {
            senders.push(sender.await.expect("a sender does not panic"));
        }
        let host = installation.start().await;
        check(&senders, &host.client().get("/api/v1/export/logs").await.ok().json_lines(), round);
    }
}

fn check(senders: &[Sender], stored: &[Value], round: usize) {
    let mut numbers: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    let mut last_seq = 0;
    for record in stored {
        let seq: u64 = record["seq"].as_str().and_then(|seq| seq.parse().ok()).expect("a record has a seq");
        assert!(seq > last_seq, "round {round}: seq {seq} comes after {last_seq}");
        last_seq = seq;
        let service = record["resource"]["service.name"].as_str().expect("a record has a service");
        numbers.entry(service).or_default().push(record["attributes"]["number"].as_u64().expect("a record has a number"));
    }
    for sender in senders {
        let stored = numbers.remove(sender.name.as_str()).unwrap_or_default();
        assert!(stored.is_sorted_by(|left, right| left < right), "round {round}, {}: doubled or out of order", sender.name);
        let lost: Vec<_> = sender.acknowledged.iter().filter(|number| stored.binary_search(number).is_err()).collect();
        assert!(lost.is_empty(), "round {round}, {}: acknowledged and lost: {lost:?}", sender.name);
    }
}

#[tokio::test]
async fn tailed_lines_survive_kill_nine_once_and_in_order() {
    use std::io::Write as _;
    let mut installation = Installation::new(json!({}));
    let path = installation.path("app.log");
    installation.configure(json!({"inputs": {"files": [{"path": path, "from_beginning": true}]}}));
    let mut file = std::fs::File::create(&path).expect("a temporary folder can be written");
    let mut written = 0;
    for _ in 0..rounds().div_ceil(2) {
        let mut host = installation.start().await;
        for _ in 0..500 {
            writeln!(file, "line {written}").expect("a temporary folder can be written");
            written += 1;
        }
        // Somewhere in the middle of reading them.
        let seen = fastrand::usize(0..500);
        watchfire_tests::eventually("some lines are read", async || {
            let status = host.client().get_json("/api/v1/status").await;
            (status["logs"]["records"].as_u64()? as usize + 500 >= written + seen).then_some(())
        })
        .await;
        host.kill9();
    }
    let host = installation.start().await;
    let bodies = watchfire_tests::eventually("every line is stored", async || {
        let lines = host.client().get("/api/v1/export/logs").await.ok().json_lines();
        (lines.len() >= written)
            .then(|| lines.iter().map(|line| line["body"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>())
    })
    .await;
    let expected: Vec<_> = (0..written).map(|number| format!("line {number}")).collect();
    assert_eq!(bodies, expected);
}
