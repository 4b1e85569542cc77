//! Several senders at once, while searches, exports and live tails run: counts add up, nothing is missed and nothing comes twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::Method;
use watchfire_tests::payload::{PROTOBUF, int_attribute, log_record, logs_request};
use watchfire_tests::{Client, TestHost};
use watchfire_types::{LogRecord, Timestamp, Value};

const SENDERS: usize = 4;
const BATCHES: usize = 40;
const BATCH: usize = 50;
const TOTAL: usize = SENDERS * BATCHES * BATCH;
const ERROR: i32 = 17;
const INFO: i32 = 9;

/// Returns whether the record with this number is an error: every seventh.
fn is_error(number: usize) -> bool {
    number.is_multiple_of(7)
}

async fn send(client: Client, sender: usize, now: Timestamp) {
    let service = format!("sender{sender}");
    for batch in 0..BATCHES {
        let record = |number: usize| {
            let severity = if is_error(number) { ERROR } else { INFO };
            log_record(now, severity, format!("record {number}"), vec![int_attribute("number", number as i64)])
        };
        let records = (batch * BATCH..(batch + 1) * BATCH).map(record).collect();
        client.post("/v1/logs", PROTOBUF, logs_request(&service, records)).await.ok();
    }
}

/// Returns service and number of a record.
fn origin(record: &LogRecord) -> (String, usize) {
    let find = |list: &[(String, Value)], name: &str| list.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    match (find(&record.resource, "service.name"), find(&record.attributes, "number")) {
        (Some(Value::Text(service)), Some(Value::Int(number))) => (service, number as usize),
        other => panic!("not ours: {other:?}"),
    }
}

fn seq(record: &LogRecord) -> u64 {
    record.seq.parse().expect("seqs are numbers")
}

/// Asserts that `records`, oldest first, come in the order of their seqs and of each sender.
fn assert_in_order(records: &[LogRecord], of: &str) {
    assert!(records.is_sorted_by(|left, right| seq(left) < seq(right)), "{of}: seqs do not increase strictly");
    let mut numbers: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for record in records {
        let (service, number) = origin(record);
        numbers.entry(service).or_default().push(number);
    }
    for (service, numbers) in numbers {
        assert!(numbers.is_sorted_by(|left, right| left < right), "{of}, {service}: out of order");
    }
}

/// Returns the first `count` records of a tail that goes through everything that matches `query`, hanging up again and again.
async fn tail(client: Client, query: &'static [(&str, &str)], count: usize, hang_up_after: usize) -> Vec<LogRecord> {
    let (mut records, mut last) = (Vec::new(), "0".to_owned());
    while records.len() < count {
        let request = client.request(Method::GET, "/api/v1/logs/tail").query(query).header("last-event-id", &last);
        let mut stream = client.events(request).await;
        for _ in 0..hang_up_after.min(count - records.len()) {
            let event = stream.next().await;
            last = event.id;
            records.push(event.record);
        }
    }
    records
}

/// Searches and exports until `done`: each answer is a whole beginning of the log, and never less than the one before.
async fn ask(client: Client, done: Arc<AtomicBool>) -> usize {
    let (mut asked, mut exported, mut found) = (0, 0, 0);
    while !done.load(Ordering::SeqCst) {
        let lines = client.get("/api/v1/export/logs").await.ok().json_lines();
        let records: Vec<LogRecord> = lines.into_iter().map(|line| serde_json::from_value(line).expect("a record")).collect();
        assert!(records.iter().zip(1..).all(|(record, expected)| seq(record) == expected), "an export has a gap");
        assert_in_order(&records, "an export");
        assert!(records.len() >= exported, "an export has lost records: {exported}, now {}", records.len());
        exported = records.len();

        let mut errors = client.records(&[("level", "ERROR"), ("service", "sender1"), ("limit", "10000")]).await;
        errors.reverse();
        let numbers: Vec<_> = errors.iter().map(|record| origin(record).1).collect();
        let expected: Vec<_> = (0..).filter(|number| is_error(*number)).take(numbers.len()).collect();
        assert_eq!(numbers, expected, "a search misses or repeats records");
        assert!(numbers.len() >= found, "a search has lost records: {found}, now {}", numbers.len());
        found = numbers.len();
        asked += 1;
    }
    asked
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn senders_searches_exports_and_tails_at_once_agree() {
    let host = TestHost::start();
    let client = || host.client().clone();
    let now = host.clock().now();
    let errors = SENDERS * (0..BATCHES * BATCH).filter(|number| is_error(*number)).count();

    let whole = tokio::spawn(tail(client(), &[], TOTAL, usize::MAX));
    let broken = tokio::spawn(tail(client(), &[], TOTAL, 333));
    let only_errors = tokio::spawn(tail(client(), &[("level", "ERROR")], errors, usize::MAX));
    let done = Arc::new(AtomicBool::new(false));
    let asking = tokio::spawn(ask(client(), done.clone()));
    let sending: Vec<_> = (0..SENDERS).map(|sender| tokio::spawn(send(client(), sender, now))).collect();
    for sender in sending {
        sender.await.expect("every batch is taken");
    }
    done.store(true, Ordering::SeqCst);
    assert!(asking.await.expect("no question goes wrong") > 0);

    let logs = host.client().get_json("/api/v1/status").await["logs"].clone();
    assert_eq!((&logs["records"], &logs["last_seq"]), (&TOTAL.into(), &TOTAL.to_string().into()), "{logs}");
    let lines = host.client().get("/api/v1/export/logs").await.ok().json_lines();
    let exported: Vec<LogRecord> = lines.into_iter().map(|line| serde_json::from_value(line).expect("a record")).collect();
    assert_eq!(exported.len(), TOTAL);
    assert_in_order(&exported, "the export");
    assert_eq!(whole.await.expect("the tail goes on"), exported, "the tail that stays");
    assert_eq!(broken.await.expect("the tail goes on"), exported, "the tail that hangs up and resumes");
    let expected: Vec<_> = exported.into_iter().filter(|record| is_error(origin(record).1)).collect();
    assert_eq!(expected.len(), errors);
    assert_eq!(only_errors.await.expect("the tail goes on"), expected, "the tail of errors");
}
