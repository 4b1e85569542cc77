//! What redaction costs: nanoseconds for each record, by how much there is to find. Compare with `log_store`'s `encode`, of the same
//! records: redaction must cost less than 15 % of what a host does for each.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use watchfire_redact::{Action, Redactor, Rule, Settings};
use watchfire_types::log::RecordHead;
use watchfire_types::{LogBatch, Timestamp, ValueRef};

fn main() {
    divan::main();
}

const RECORDS: usize = 1000;

/// Lines of real programs that hold no secret, but much that looks a little like one.
const CLEAN: [&str; 12] = [
    "10.3.17.201 - - \"GET /api/v1/products/48213?page=7&sort=price HTTP/1.1\" 200 48213 \"https://shop.example.com/list\" 12.250 ms",
    "10.0.4.9 - - \"POST /api/v1/orders HTTP/1.1\" 201 512 \"-\" \"okhttp/4.12.0\" request_id=00f067aa0ba902b7 upstream=3.125 ms",
    "Accepted publickey for deploy from 10.1.2.3 port 52144 ssh2: ED25519 SHA256:4bf92f3577b34da6a3ce929d0e0e4736",
    "order 4711 of customer 99123 paid with card ending 42: total 17.95 EUR, transaction 00f067aa0ba902b7, took 18.750 ms",
    "cache miss for key product:48213:image:3, loaded from replica db-2 in 1.500 ms, 48213 bytes",
    "SELECT id, title, price FROM products WHERE category_id = 77 ORDER BY updated_at DESC LIMIT 20 took 3.250 ms, 20 rows",
    "worker 7 finished job 4bf92f3577b34da6 (image_sync): 12 images uploaded, 3 skipped, 81234 bytes in 250.500 ms",
    "retrying request 00f067aa0ba902b7 to payment gateway 10.7.7.7:443 after 500.250 ms: connection reset by peer (attempt 2 of 5)",
    "session 4bf92f3577b34da6 of user 1234 expired after 1800 s of inactivity; last seen from 10.6.1.2 with agent build 5512",
    "kafka consumer group=orders partition=12 offset=9913245 lag=3 committed in 2.125 ms on broker 10.0.0.12:9092",
    "connection from 10.4.5.6:52144 closed: sent 48213 bytes, received 512 bytes, duration 1.250 ms, cipher TLS_AES_256_GCM_SHA384",
    "scheduled job cleanup_12 removed 512 expired carts older than 30 days in 45.500 ms, next run in 3600 s",
];

/// Lines that hold one each.
const DIRTY: [&str; 6] = [
    "login of bob failed: password=hunter2 from 10.0.4.9 after 3 attempts, next try allowed in 30 s",
    "GET /callback?code=abc&access_token=0123456789abcdef0123456789abcdef&state=7 HTTP/1.1 302 in 4.250 ms",
    "connecting to postgres://app:s3cr3t@db.internal:5432/shop with pool of 20 connections, timeout 5 s",
    "upstream request with Authorization: Bearer 9f8e7d6c5b4a39281706f5e4d3c2b1a0 answered 401 in 12.125 ms",
    "payment of order 4711 with card 4111111111111111 declined by issuer, code 51, retry not allowed",
    "{\"level\":\"info\",\"msg\":\"created\",\"api_key\":\"sk-proj-4bf92f3577b34da6a3ce929d0e0e4736\",\"user\":17}",
];

/// Returns records with the four attributes of the load tool, of which every `dirty_every`th holds a secret.
fn batch(dirty_every: usize) -> LogBatch {
    let mut batch = LogBatch::default();
    let resource = batch.resource(vec![("service.name".to_owned(), "shop".into()), ("host.name".to_owned(), "shop-1".into())]);
    for row in 0..RECORDS {
        let body =
            if row % dirty_every == 0 && dirty_every <= RECORDS { DIRTY[row % DIRTY.len()] } else { CLEAN[row % CLEAN.len()] };
        let head = RecordHead { timestamp: Timestamp::from_seconds(row as u64), resource, ..RecordHead::default() };
        batch.push(&head, ValueRef::Text(body));
        batch.attribute("http.request.method", ValueRef::Text("GET"));
        batch.attribute("http.response.status_code", ValueRef::Int(200));
        batch.attribute("request.id", ValueRef::Text("00f067aa0ba902b7"));
        batch.attribute("user.id", ValueRef::Int(row as i64 * 37));
    }
    batch
}

fn run(bencher: Bencher<'_, '_>, settings: Settings, dirty_every: usize) {
    let redactor = Redactor::new(settings).expect("the settings are right");
    let clean = batch(dirty_every);
    bencher.counter(ItemsCount::new(RECORDS)).with_inputs(|| clean.clone()).bench_local_values(|mut batch| {
        black_box(redactor.redact(&mut batch));
        batch
    });
}

/// The default rules; the argument is how many records there are for each that holds a secret.
#[divan::bench(args = [usize::MAX, 1000, 100, 10, 1])]
fn defaults(bencher: Bencher<'_, '_>, dirty_every: usize) {
    run(bencher, Settings::default(), dirty_every);
}

/// Every rule there is, over records that hold no secret, but addresses.
#[divan::bench]
fn every_rule(bencher: Bencher<'_, '_>) {
    let rules = Rule::ALL.map(|rule| (rule, Action::Hash));
    run(bencher, Settings { rules: rules.into(), ..Settings::default() }, usize::MAX);
}
