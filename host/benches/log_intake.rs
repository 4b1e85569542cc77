//! What patterns cost between queue and disk, and what they take of memory with few and with many services.
//!
//! `cargo bench -p watchfire --bench log_intake`

use std::path::PathBuf;
use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;
use tokio::runtime::Runtime;
use watchfire::alerts::store::MIGRATIONS;
use watchfire::clock::Clock;
use watchfire::logs::patterns::Settings;
use watchfire::logs::{LogSettings, Logs};
use watchfire::store::Database;
use watchfire::telemetry::SelfMetrics;
use watchfire_types::attributes::keys;
use watchfire_types::log::RecordHead;
use watchfire_types::{LogBatch, Severity, ValueRef};

/// Records handed in at a time, and how many senders do so.
const BATCH: usize = 1_000;
const SENDERS: usize = 8;
const BATCHES: usize = 8;

fn main() {
    for services in [1, 100, 10_000] {
        print_memory(services);
    }
    divan::main();
}

/// A store on disk, with or without patterns.
struct Store {
    logs: Logs,
    metrics: SelfMetrics,
    folder: PathBuf,
}

impl Store {
    fn open(with_patterns: bool) -> Self {
        let folder = std::env::temp_dir().join(format!("watchfire-intake-{}-{}", std::process::id(), fastrand::u32(..)));
        std::fs::create_dir_all(folder.join("logs")).expect("the temporary folder can be written");
        let metrics = SelfMetrics::default();
        let state = Database::open(&folder.join("state.db"), MIGRATIONS).expect("the state opens");
        let patterns = with_patterns.then_some(Settings { state, max_patterns: 1_000 });
        let settings = LogSettings { retention: Duration::from_secs(86_400), patterns, room: None };
        let logs = Logs::open_with(&folder, settings, &Clock::system(), &metrics).expect("the store opens");
        Self { logs, metrics, folder }
    }

    async fn put(&self, batches: &[LogBatch]) {
        let mut tasks = tokio::task::JoinSet::new();
        for sender in 0..SENDERS {
            let (logs, batches) = (self.logs.clone(), batches.to_vec());
            tasks.spawn(async move {
                for number in 0..BATCHES {
                    let batch = batches[(sender + number) % batches.len()].clone();
                    logs.ingest(batch, Vec::new()).await.expect("the batch is stored");
                }
            });
        }
        tasks.join_all().await;
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.logs.close();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Returns a batch of lines of forty forms, from service `service(row)` each.
fn batch(seed: u64, rows: usize, service: impl Fn(usize) -> String) -> LogBatch {
    let now = Clock::system().now();
    let mut random = fastrand::Rng::with_seed(seed);
    let mut batch = LogBatch::default();
    for row in 0..rows {
        let resource = batch.resource(vec![(keys::SERVICE_NAME.into(), service(row).as_str().into())]);
        let form = random.usize(..40);
        let body = match form % 4 {
            0 => format!(
                "request {:08x} from 10.0.{}.{} finished with status {} in {} ms in stage {}",
                random.u32(..),
                random.u8(..),
                random.u8(..),
                200 + form,
                random.u32(..500),
                ["parse", "plan", "run", "send"][form / 10]
            ),
            1 => format!(
                "cache {} evicted {} entries of {} bytes",
                ["users", "orders", "stock", "prices"][form / 10],
                random.u32(..1_000),
                random.u32(..)
            ),
            2 => format!(
                "{{\"msg\": \"job {} done\", \"queue\": \"{}\", \"took\": {}}}",
                random.u32(..),
                ["mail", "pdf", "sync", "audit"][form / 10],
                random.f32()
            ),
            _ => format!(
                "level=info msg=\"connection {}\" peer=10.1.{}.{}:{} id={}",
                ["opened", "closed", "lost", "reset"][form / 10],
                random.u8(..),
                random.u8(..),
                random.u16(..),
                random.u64(..)
            ),
        };
        let head = RecordHead { timestamp: now, observed: now, severity: Severity::INFO, resource, ..RecordHead::default() };
        batch.push(&head, ValueRef::Text(&body));
        batch.attribute("user.id", ValueRef::Int(random.i64(..1_000_000)));
        batch.attribute("http.request.method", ValueRef::Text("GET"));
    }
    batch
}

#[divan::bench(args = [false, true], sample_count = 20)]
fn store_durably(bencher: Bencher<'_, '_>, with_patterns: bool) {
    let runtime = Runtime::new().expect("a runtime can be made");
    let store = Store::open(with_patterns);
    let batches: Vec<LogBatch> = (0..8).map(|seed| batch(seed, BATCH, |row| format!("service{}", row % 3))).collect();
    bencher.counter(ItemsCount::new(BATCH * SENDERS * BATCHES)).bench(|| runtime.block_on(store.put(&batches)));
}

/// Prints what the patterns of so many services take of memory.
fn print_memory(services: usize) {
    let runtime = Runtime::new().expect("a runtime can be made");
    let mut resident = [0; 2];
    let mut held = 0.0;
    for with_patterns in [false, true] {
        let store = Store::open(with_patterns);
        let before = resident_bytes();
        for round in 0..40_u64 {
            let batch = batch(round, 5_000, |row| format!("service{}", (row + 5_000 * round as usize) % services));
            runtime.block_on(async { store.logs.ingest(batch, Vec::new()).await }).expect("the batch is stored");
        }
        resident[usize::from(with_patterns)] = resident_bytes().saturating_sub(before);
        held = store.metrics.gauge("watchfire_log_patterns_held", &[]).get();
    }
    let [without, with] = resident.map(|bytes| bytes as f64 / 1e6);
    eprintln!("{services} services: {held} patterns held; memory grew by {without:.1} MB without and {with:.1} MB with patterns");
}

fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1024
}
