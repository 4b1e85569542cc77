//! Speed of what stands between the log and an analyzer: which records it wants, and the columns that cross to it.
//!
//! `cargo bench -p watchfire --bench analysis`

use std::sync::Arc;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use watchfire::analysis::filter::Filter;
use watchfire::plugins::{ATTRIBUTES, AnalyzerInput, BODY, RESOURCES, Subscription, wire_batch};
use watchfire_types::attributes::keys;
use watchfire_types::log::RecordHead;
use watchfire_types::{LogBatch, Severity, Timestamp, ValueRef};

const ROWS: usize = 4_096;

fn main() {
    divan::main();
}

/// Records of about 120 bytes with four attributes, from three services; one in fifty is about a failed password.
fn records() -> LogBatch {
    let mut random = fastrand::Rng::with_seed(7);
    let mut batch = LogBatch::default();
    let resources: Vec<u32> =
        ["sshd", "shop-api", "cron"].iter().map(|name| batch.resource(vec![(keys::SERVICE_NAME.into(), (*name).into())])).collect();
    for index in 0..ROWS {
        let time = Timestamp::from_seconds(1_700_000_000 + index as u64);
        let resource = resources[random.usize(..resources.len())];
        let head = RecordHead { timestamp: time, observed: time, severity: Severity::INFO, resource, ..RecordHead::default() };
        let body = if random.u8(..50) == 0 {
            format!("Failed password for invalid user admin from 203.0.113.{} port {} ssh2", random.u8(..), random.u16(..))
        } else {
            format!(
                "request {:08x} from 10.0.0.{} finished with status 200 in {} ms, cache miss, and so on, and on, and on",
                random.u32(..),
                random.u8(..),
                random.u16(..)
            )
        };
        batch.push(&head, ValueRef::Text(&body));
        batch.seq.push(index as u64 + 1);
        batch.attribute("http.request.method", ValueRef::Text("GET"));
        batch.attribute("http.response.status_code", ValueRef::Int(200));
        batch.attribute("user.id", ValueRef::Int(random.i64(..1_000_000)));
        batch.attribute("cache.hit", ValueRef::Bool(false));
    }
    batch
}

fn filtered(bencher: Bencher<'_, '_>, subscription: &Subscription) {
    let (batch, filter) = (records(), Filter::new(subscription).expect("a subscription of ours"));
    let bytes = BytesCount::new(batch.body.data.bytes.len());
    bencher.counter(ItemsCount::new(ROWS)).counter(bytes).bench(|| filter.rows(black_box(&batch)));
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[divan::bench]
fn filter_nothing(bencher: Bencher<'_, '_>) {
    filtered(bencher, &Subscription::default());
}

#[divan::bench]
fn filter_by_severity_and_source(bencher: Bencher<'_, '_>) {
    filtered(bencher, &Subscription { min_severity: 9, sources: texts(&["sshd"]), ..Subscription::default() });
}

#[divan::bench]
fn filter_by_one_text(bencher: Bencher<'_, '_>) {
    filtered(bencher, &Subscription { any_substring: texts(&["Failed password"]), ..Subscription::default() });
}

#[divan::bench]
fn filter_by_six_texts(bencher: Bencher<'_, '_>) {
    let needles = [
        "Failed password",
        "Invalid user",
        "authentication failure",
        "Accepted password",
        "Connection closed by",
        "maximum authentication",
    ];
    filtered(bencher, &Subscription { any_substring: texts(&needles), ..Subscription::default() });
}

#[divan::bench]
fn filter_by_a_pattern(bencher: Bencher<'_, '_>) {
    filtered(bencher, &Subscription { any_regex: texts(&[r"Failed \w+ for (invalid user )?\w+ from"]), ..Subscription::default() });
}

fn crossed(bencher: Bencher<'_, '_>, columns: u32, every: usize) {
    let rows: Vec<usize> = (0..ROWS).step_by(every).collect();
    let input =
        AnalyzerInput { batch: Arc::new(records()), rows, scanned_from: 0, scanned_to: ROWS as u64, watermark: 0, dropped: 0 };
    let count = ItemsCount::new(input.rows.len());
    bencher.counter(count).bench(|| wire_batch(black_box(&input), columns, Timestamp::ZERO));
}

#[divan::bench(args = [1, 50])]
fn columns_with_bodies(bencher: Bencher<'_, '_>, every: usize) {
    crossed(bencher, BODY, every);
}

#[divan::bench(args = [1, 50])]
fn columns_with_bodies_and_attributes(bencher: Bencher<'_, '_>, every: usize) {
    crossed(bencher, BODY | ATTRIBUTES | RESOURCES, every);
}
