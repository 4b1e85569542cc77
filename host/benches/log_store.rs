//! Speed of the log store's parts: encode and decode a block, match words and conditions, group, commit and search.
//!
//! `cargo bench -p watchfire --bench log_store`

use std::time::Duration;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use watchfire::clock::Clock;
use watchfire::logs::block::probe::{Probe, Run};
use watchfire::logs::block::{self, Columns, Wants};
use watchfire::logs::matcher::Matcher;
use watchfire::logs::query::Query;
use watchfire::logs::query::ast::Pipe;
use watchfire::logs::query::bits::Bits;
use watchfire::logs::query::group::Groups;
use watchfire::logs::tokens::TokenFilter;
use watchfire::logs::{LogFilter, Logs};
use watchfire::telemetry::SelfMetrics;
use watchfire_types::attributes::keys;
use watchfire_types::log::RecordHead;
use watchfire_types::{LogBatch, Severity, ValueRef};

fn main() {
    divan::main();
}

/// Records of about 120 bytes with four attributes.
fn records(count: usize) -> LogBatch {
    let now = Clock::system().now();
    let mut random = fastrand::Rng::with_seed(7);
    let mut batch = LogBatch::default();
    let resource = batch.resource(vec![(keys::SERVICE_NAME.into(), "shop-api".into())]);
    for index in 0..count {
        let timestamp = now.plus(Duration::from_micros(index as u64));
        let severity = if random.u8(..) < 20 { Severity::ERROR } else { Severity::INFO };
        let head =
            RecordHead { timestamp, observed: now, severity, severity_text: severity.name(), resource, ..RecordHead::default() };
        let body = format!(
            "request {:08x} from 10.{}.{}.{} GET /api/products/{} finished with status 200 in {}.{} ms, cache miss",
            random.u32(..),
            random.u8(..),
            random.u8(..),
            random.u8(..),
            random.u32(..100_000),
            random.u32(..500),
            random.u32(..100)
        );
        batch.push(&head, ValueRef::Text(&body));
        batch.attribute("http.request.method", ValueRef::Text("GET"));
        batch.attribute("http.response.status_code", ValueRef::Int(200));
        batch.attribute("user.id", ValueRef::Int(random.i64(..1_000_000)));
        batch.attribute("cache.hit", ValueRef::Bool(false));
    }
    batch
}

#[divan::bench(args = [1_000, 50_000])]
fn encode_block(bencher: Bencher<'_, '_>, rows: usize) {
    let batch = records(rows);
    bencher.counter(ItemsCount::new(rows)).bench(|| block::encode(black_box(&batch), 1));
}

#[divan::bench(args = [1_000, 50_000])]
fn pack_block(bencher: Bencher<'_, '_>, rows: usize) {
    let batch = records(rows);
    bencher.counter(ItemsCount::new(rows)).bench(|| block::pack(black_box(&batch), 3));
}

#[divan::bench(args = [1_000, 50_000])]
fn decode_packed(bencher: Bencher<'_, '_>, rows: usize) {
    let block = block::pack(&records(rows), 3);
    bencher.counter(ItemsCount::new(rows)).bench(|| block::decode(black_box(&block), 1, Columns::ALL));
}

#[divan::bench]
fn decode_one_key(bencher: Bencher<'_, '_>) {
    let block = block::pack(&records(50_000), 3);
    let columns = Columns { attributes: true, ..Columns::HEAD };
    let wants = Wants { columns, keys: Some(vec!["http.response.status_code".to_owned()]) };
    bencher.counter(ItemsCount::new(50_000_usize)).bench(|| block::decode_wanted(black_box(&block), 1, &wants));
}

#[divan::bench]
fn probe_rare_word(bencher: Bencher<'_, '_>) {
    let mut batch = records(50_000);
    batch.push(&RecordHead::default(), ValueRef::Text("found the needle"));
    let block = block::pack(&batch, 3);
    let run = Run::of(b"needle").expect("it is long enough");
    bencher.counter(ItemsCount::new(50_000_usize)).bench(|| {
        let head = block::decode(black_box(&block), 1, Columns::HEAD).expect("it has just been written");
        let mut probe = Probe::new(&block, &head).expect("it has just been written");
        let rows = probe.rows_with(&run, true, 1_000).expect("it has just been written").expect("there is one");
        probe.take(&rows, Columns::ALL, None)
    });
}

#[divan::bench(args = [1_000, 50_000])]
fn decode_block(bencher: Bencher<'_, '_>, rows: usize) {
    let block = block::encode(&records(rows), 3);
    bencher.counter(ItemsCount::new(rows)).bench(|| block::decode(black_box(&block), 1, Columns::ALL));
}

#[divan::bench]
fn build_token_filter(bencher: Bencher<'_, '_>) {
    let batch = records(50_000);
    bencher.counter(ItemsCount::new(50_000_usize)).bench(|| TokenFilter::build(black_box(&batch)));
}

#[divan::bench(args = ["absent", "\"cache miss\"", "products timeout"])]
fn match_words(bencher: Bencher<'_, '_>, text: &str) {
    let batch = records(50_000);
    let matcher = Matcher::new(&LogFilter { text: text.to_owned(), ..LogFilter::default() });
    bencher.counter(ItemsCount::new(50_000_usize)).bench(|| matcher.matching_rows(black_box(&batch)));
}

/// Conditions that are looked for in whole columns, or row by row.
#[divan::bench(args = ["body~\"status [45]..\"", "body~\"[0-9]{9,}\"", "http.response.status_code:500", "user.id>999000", "NOT level:error"])]
fn match_conditions(bencher: Bencher<'_, '_>, text: &str) {
    let batch = records(50_000);
    let matcher = Matcher::new(&LogFilter { text: text.to_owned(), ..LogFilter::default() });
    bencher.counter(ItemsCount::new(50_000_usize)).bench(|| matcher.matching_rows(black_box(&batch)));
}

#[divan::bench(args = ["stats count by level", "stats count by user.id", "stats p99(user.id), count_distinct(user.id) by level"])]
fn group_records(bencher: Bencher<'_, '_>, pipe: &str) {
    let batch = records(50_000);
    let rows = Bits::all(batch.len());
    let query = Query::parse(&format!("| {pipe}")).expect("it is a query");
    let Some(Pipe::Stats { columns, by }) = query.pipes.first() else { return };
    bencher.counter(ItemsCount::new(50_000_usize)).bench(|| {
        let mut groups = Groups::new(by, columns);
        groups.add(black_box(&batch), &rows).expect("they fit");
        groups.into_table()
    });
}

/// Batches of 1,000 handed in eight at a time; each is acknowledged when it is on disk.
#[divan::bench(sample_count = 20)]
fn store_durably(bencher: Bencher<'_, '_>) {
    let folder = std::env::temp_dir().join(format!("watchfire-bench-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("logs")).expect("the temporary folder can be written");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    let logs =
        Logs::open(&folder, Duration::from_secs(86_400), &Clock::system(), &SelfMetrics::default()).expect("the store opens");
    let batch = records(1_000);
    bencher.counter(ItemsCount::new(64_000_usize)).bench(|| {
        runtime.block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            for _ in 0..8 {
                let (logs, batch) = (logs.clone(), batch.clone());
                tasks.spawn(async move {
                    for _ in 0..8 {
                        logs.ingest(batch.clone(), Vec::new()).await.expect("the batch is stored");
                    }
                });
            }
            tasks.join_all().await
        })
    });
    logs.close();
    let _ = std::fs::remove_dir_all(folder);
}
