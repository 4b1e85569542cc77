//! A consumer over a real database, with a log and an analyzer that do what they are told.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;
use proptest::prelude::*;
use tempfile::TempDir;
use watchfire_types::ValueRef;
use watchfire_types::log::RecordHead;

use super::*;
use crate::alerts::events::Event;
use crate::analysis::types::Standing;
use crate::clock::Clock;
use crate::plugins::Subscription;
use crate::plugins::kv::{Kv, KvBackend, KvChanges};
use crate::store::Database;
use crate::telemetry::SelfMetrics;

/// Every so many records the scripted analyzer finds something.
const WINDOW: u64 = 3;

/// What the scripted analyzer is to do, and what it did.
#[derive(Default)]
struct Script {
    /// Records that it traps on.
    poison: BTreeSet<u64>,
    /// Records that it refuses.
    refused: BTreeSet<u64>,
    /// Calls, counted over all its lives, that trap whatever they are given.
    trapping_calls: BTreeSet<u64>,
    /// Functions that trap always.
    broken: BTreeSet<&'static str>,
    restore_refused: bool,
    restore_trapped: bool,
    memory_bytes: usize,
    calls: u64,
    starts: u64,
    restores: u64,
    saves: u64,
    ticks: Vec<(Timestamp, Timestamp)>,
    /// Size of each portion.
    portions: Vec<usize>,
    dropped: u64,
}

impl Script {
    fn call(&mut self, function: &'static str) -> Result<(), CallError> {
        self.calls += 1;
        if self.broken.contains(function) || self.trapping_calls.contains(&self.calls) {
            return Err(trap(function));
        }
        Ok(())
    }
}

fn trap(function: &'static str) -> CallError {
    CallError::Trap { function, message: "unreachable; it said: oh".to_owned() }
}

/// Counts records, in its memory and among its kept values, and finds each full window.
struct Scripted {
    script: Arc<Mutex<Script>>,
    kv: Kv,
    counted: u64,
    window_began: u64,
    calls: u64,
}

impl Scripted {
    fn answer<T>(&mut self, result: Result<T, CallError>) -> Result<T, CallError> {
        self.calls += 1;
        match result {
            Ok(_) => self.kv.keep(),
            Err(_) => self.kv.discard(),
        }
        result
    }

    fn count(&mut self, seq: u64, analysis: &mut wire::Analysis) {
        let kept = self.kv.increment("counted", 1, 0, None).unwrap();
        self.counted += 1;
        assert_eq!(kept as u64, self.counted, "memory and kept values are of the same commit");
        if self.counted % WINDOW == 1 {
            self.window_began = seq;
        }
        if self.counted.is_multiple_of(WINDOW) {
            analysis.findings.push(wire::Finding {
                rule: "window".to_owned(),
                severity: 13,
                title: format!("window {}", self.counted / WINDOW),
                message: String::new(),
                dedupe_key: format!("w{}", self.counted / WINDOW),
                score: 1.0,
                count: self.counted,
                first_seq: self.window_began,
                last_seq: seq,
                first_time: 0,
                last_time: 0,
                sample_seqs: vec![seq],
                labels: Vec::new(),
                extra: Vec::new(),
            });
        }
    }
}

fn nothing() -> wire::Analysis {
    wire::Analysis { findings: Vec::new(), metrics: Vec::new(), extra: Vec::new() }
}

impl Analyst for Scripted {
    fn restore(&mut self, _: u32, state: &[u8], _: Timestamp) -> Result<(), CallError> {
        let mut script = self.script.lock();
        script.restores += 1;
        if script.restore_refused {
            return Err(CallError::Refused { code: 2, message: "not my state".to_owned() });
        }
        let mut called = script.call("restore");
        // Three traps in a row make it begin anew, which is another case.
        if std::mem::replace(&mut script.restore_trapped, called.is_err()) && !script.broken.contains("restore") {
            called = Ok(());
        }
        drop(script);
        if called.is_ok() {
            (self.counted, self.window_began) = serde_json::from_slice(state).unwrap();
        }
        self.answer(called)
    }

    fn analyze(&mut self, input: &AnalyzerInput, _: Timestamp) -> Result<wire::Analysis, CallError> {
        let script = Arc::clone(&self.script);
        let mut script = script.lock();
        script.portions.push(input.rows.len());
        script.dropped += input.dropped;
        let called = script.call("analyze");
        let mut analysis = nothing();
        for row in &input.rows {
            let seq = input.batch.seq[*row];
            assert!(seq > input.scanned_from && seq <= input.scanned_to);
            if script.poison.contains(&seq) {
                return self.answer(Err(trap("analyze")));
            }
            if script.refused.contains(&seq) {
                return self.answer(Err(CallError::Refused { code: 5, message: "no".to_owned() }));
            }
            self.count(seq, &mut analysis);
        }
        self.answer(called.map(|()| analysis))
    }

    fn tick(&mut self, now: Timestamp, watermark: Timestamp) -> Result<wire::Analysis, CallError> {
        let mut script = self.script.lock();
        script.ticks.push((now, watermark));
        let called = script.call("tick");
        drop(script);
        self.answer(called.map(|()| nothing()))
    }

    fn save(&mut self, _: Timestamp) -> Result<Vec<u8>, CallError> {
        let mut script = self.script.lock();
        script.saves += 1;
        let called = script.call("save");
        drop(script);
        let state = serde_json::to_vec(&(self.counted, self.window_began)).unwrap();
        self.answer(called.map(|()| state))
    }

    fn take_kv(&mut self) -> KvChanges {
        self.kv.take()
    }

    fn memory_bytes(&self) -> usize {
        self.script.lock().memory_bytes
    }

    fn calls(&self) -> u64 {
        self.calls
    }
}

struct Maker(Arc<Mutex<Script>>);

impl Component for Maker {
    fn start(&self, kv: Arc<dyn KvBackend>, _: Timestamp) -> Result<Box<dyn Analyst>, CallError> {
        let mut script = self.0.lock();
        script.starts += 1;
        script.call("instantiate")?;
        Ok(Box::new(Scripted { script: Arc::clone(&self.0), kv: Kv::new(kv), counted: 0, window_began: 0, calls: 0 }))
    }

    fn sample(&self, _: &Sample) {}
}

/// A log in memory.
struct Memory {
    rows: Mutex<BTreeMap<u64, String>>,
    committed: watch::Sender<u64>,
    read_limit: usize,
}

impl Records for Memory {
    fn read_after(&self, cursor: u64, _: usize) -> Result<LogBatch, StoreError> {
        let mut batch = LogBatch::default();
        for (seq, body) in self.rows.lock().range(cursor + 1..).take(self.read_limit) {
            let time = Timestamp::from_seconds(1_000_000 + seq);
            let head = RecordHead { timestamp: time, observed: time, severity: Severity::INFO, ..RecordHead::default() };
            batch.push(&head, ValueRef::Text(body));
            batch.seq.push(*seq);
        }
        Ok(batch)
    }

    fn committed(&self) -> watch::Receiver<u64> {
        self.committed.subscribe()
    }
}

struct Bench {
    folder: TempDir,
    clock: Clock,
    log: Arc<Memory>,
    script: Arc<Mutex<Script>>,
    subscription: Subscription,
    on_failure: OnFailure,
    metrics: SelfMetrics,
    standing: Arc<Mutex<Standing>>,
    database: Database,
}

impl Bench {
    fn new() -> Self {
        Self::reading(usize::MAX)
    }

    fn reading(read_limit: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("analysis.db"), store::MIGRATIONS).unwrap();
        let log = Memory { rows: Mutex::default(), committed: watch::Sender::new(0), read_limit };
        Self {
            folder,
            clock: Clock::manual(Timestamp::from_seconds(2_000_000)),
            log: Arc::new(log),
            script: Arc::default(),
            subscription: Subscription { max_batch: 64, max_delay_ms: 50, ..Subscription::default() },
            on_failure: OnFailure::Skip,
            metrics: SelfMetrics::default(),
            standing: Arc::default(),
            database,
        }
    }

    fn put(&self, count: u64) {
        let mut rows = self.log.rows.lock();
        let last = *self.log.committed.borrow();
        rows.extend((last + 1..=last + count).map(|seq| (seq, format!("record {seq}"))));
        drop(rows);
        self.log.committed.send_replace(last + count);
    }

    fn forget(&self, seqs: RangeInclusive<u64>) {
        self.log.rows.lock().retain(|seq, _| !seqs.contains(seq));
    }

    fn try_consumer(&self) -> Result<Consumer, String> {
        let settings = Settings {
            plugin: "counter".to_owned(),
            component: "hash".to_owned(),
            state_version: 1,
            subscription: self.subscription.clone(),
            memory_bytes: 1_000,
            on_failure: self.on_failure,
        };
        let (clock, base, start) = (self.clock.clone(), Instant::now(), self.clock.now());
        let around = Surroundings {
            records: Arc::clone(&self.log) as Arc<dyn Records>,
            database: self.database.clone(),
            stored: Arc::new(watch::Sender::new(0)),
            clock: self.clock.clone(),
            instants: Box::new(move || base + clock.now().since(start)),
            standing: Arc::clone(&self.standing),
        };
        let component = Arc::new(Maker(Arc::clone(&self.script)));
        Consumer::open(settings, component, around, Meters::new("counter", &self.metrics)).unwrap()
    }

    fn consumer(&self) -> Consumer {
        self.try_consumer().unwrap()
    }

    /// Moves the clock to where `next` says that there is something to do; false if only new records are.
    fn wait(&self, next: Next) -> bool {
        let until = next.at.filter(|_| !next.records).map(|at| at.since(self.clock.now()));
        let Some(wait) = next.within.into_iter().chain(until).min() else { return false };
        self.clock.advance(wait);
        true
    }

    /// Steps until there is nothing left to do.
    fn drain(&self, consumer: &mut Consumer) {
        for _ in 0..20_000 {
            if !self.wait(consumer.step(&CancellationToken::new()).unwrap()) {
                return;
            }
        }
        panic!("there is always something left to do: {:?}", self.standing.lock());
    }

    fn steps(&self, consumer: &mut Consumer, count: usize) {
        for _ in 0..count {
            self.wait(consumer.step(&CancellationToken::new()).unwrap());
        }
    }

    fn events(&self) -> Vec<Event> {
        self.database.read_blocking(|connection| store::events_after(connection, 0, usize::MAX)).unwrap()
    }

    /// What was found, in short.
    fn found(&self) -> Vec<(String, u64)> {
        self.events().into_iter().map(|event| (event.key, event.count)).collect()
    }

    fn given_up(&self) -> Vec<u64> {
        let all = self.database.read_blocking(|connection| store::quarantined(connection, 1_000)).unwrap();
        let mut seqs: Vec<u64> = all.into_values().flat_map(|(_, rows)| rows).map(|row| row.seq.parse().unwrap()).collect();
        seqs.sort_unstable();
        seqs
    }

    fn stored(&self) -> Progress {
        self.database.read_blocking(|connection| store::progress(connection, "counter")).unwrap().unwrap()
    }
}

/// What a run without any trouble over `count` records finds.
fn windows(count: u64) -> Vec<(String, u64)> {
    (1..=count / WINDOW).map(|window| (format!("w{window}"), window * WINDOW)).collect()
}

#[test]
fn a_new_analyzer_begins_at_the_end_of_the_log_and_goes_on_where_it_was() {
    let bench = Bench::new();
    bench.put(10);
    let mut consumer = bench.consumer();
    bench.drain(&mut consumer);
    assert_eq!((bench.found(), bench.stored().cursor), (vec![], 10));
    bench.put(4);
    bench.drain(&mut consumer);
    consumer.finish().unwrap();
    assert_eq!((bench.found(), bench.stored().cursor), (windows(4), 14));
    bench.put(2);
    bench.drain(&mut bench.consumer());
    assert_eq!(bench.found(), windows(6));
    assert_eq!(bench.events()[1].position, 2);
}

#[test]
fn a_finding_is_stored_at_once_and_what_found_nothing_within_a_second() {
    let bench = Bench::new();
    let mut consumer = bench.consumer();
    bench.drain(&mut consumer);
    let began = bench.clock.now();
    bench.put(3);
    while bench.found().is_empty() {
        bench.steps(&mut consumer, 1);
    }
    assert!(bench.clock.now().since(began) <= Duration::from_millis(50), "it waited for other records only");
    bench.put(1);
    while bench.stored().cursor < 4 {
        bench.steps(&mut consumer, 1);
    }
    assert!(bench.clock.now().since(began) <= Duration::from_millis(1_200));
}

#[test]
fn idling_stores_nothing() {
    let mut bench = Bench::new();
    bench.subscription.tick_interval_ms = 1_000;
    let mut consumer = bench.consumer();
    bench.put(4);
    bench.drain(&mut consumer);
    let stored_at = bench.standing.lock().committed_at;
    let before = std::fs::metadata(crate::store::database::wal_path(bench.database.path())).unwrap().len();
    for _ in 0..60 {
        bench.clock.advance(Duration::from_secs(1));
        consumer.step(&CancellationToken::new()).unwrap();
    }
    let after = std::fs::metadata(crate::store::database::wal_path(bench.database.path())).unwrap().len();
    assert_eq!(before, after, "ticks without consequence are not worth a write");
    assert!(bench.standing.lock().committed_at >= stored_at);
    let ticks = &bench.script.lock().ticks;
    assert!(ticks.len() >= 60, "{}", ticks.len());
    assert_eq!(ticks.last().unwrap().1, Timestamp::from_seconds(1_000_004 - 2));
}

#[test]
fn a_crash_anywhere_between_two_commits_neither_loses_nor_doubles() {
    let bench = Bench::reading(2);
    let mut consumer = bench.consumer();
    bench.put(20);
    for steps in (0..60).map(|round| round % 12) {
        bench.steps(&mut consumer, steps);
        // Killed: what is in memory is gone.
        consumer = bench.consumer();
    }
    assert!(bench.stored().cursor > 6, "some of it was stored");
    bench.drain(&mut consumer);
    assert_eq!(bench.found(), windows(20));
}

#[test]
fn a_trap_discards_what_was_not_stored_and_the_poison_record_alone_is_left_out() {
    let mut bench = Bench::new();
    bench.subscription.max_batch = 4_096;
    let mut consumer = bench.consumer();
    bench.script.lock().poison = BTreeSet::from([777]);
    bench.put(4_000);
    bench.drain(&mut consumer);
    assert_eq!((bench.given_up(), bench.found()), (vec![777], windows(3_999)));
    let view = bench.database.read_blocking(|connection| store::quarantined(connection, 5)).unwrap();
    assert_eq!(view["counter"].1[0].why, "`analyze` trapped: unreachable; it said: oh");
    assert_eq!(bench.script.lock().starts, 6, "five failures find it");
    assert_eq!(bench.metrics.counter("watchfire_analyzer_quarantined_total", &[("plugin", "counter")]).get(), 1);
    assert_eq!(bench.metrics.counter("watchfire_analyzer_records_total", &[("plugin", "counter")]).get(), 3_999);
}

#[test]
fn what_an_analyzer_refuses_is_left_out_after_waits() {
    let bench = Bench::new();
    let mut consumer = bench.consumer();
    bench.script.lock().refused = BTreeSet::from([5]);
    bench.put(10);
    let began = bench.clock.now();
    bench.drain(&mut consumer);
    assert_eq!((bench.given_up(), bench.found()), (vec![5], windows(9)));
    assert!(bench.clock.now().since(began) >= Duration::from_millis(200 + 400));
}

#[test]
fn with_hold_the_cursor_waits_until_the_component_is_mended() {
    let mut bench = Bench::new();
    bench.on_failure = OnFailure::Hold;
    let mut consumer = bench.consumer();
    bench.script.lock().poison = BTreeSet::from([8]);
    bench.put(20);
    bench.steps(&mut consumer, 50);
    assert_eq!((bench.given_up(), bench.stored().cursor), (vec![], 7));
    let standing = bench.standing.lock().clone();
    assert_eq!(standing.state, AnalyzerState::Held);
    assert!(
        standing.detail.starts_with("it cannot take record 8, and `on_failure` is `hold`: `analyze` trapped"),
        "{}",
        standing.detail
    );
    bench.script.lock().poison.clear();
    bench.drain(&mut consumer);
    assert_eq!((bench.found(), bench.standing.lock().state), (windows(20), AnalyzerState::Running));
}

#[test]
fn a_component_whose_tick_or_save_fails_always_is_held_and_loses_nothing() {
    for function in ["tick", "save", "instantiate"] {
        let mut bench = Bench::new();
        bench.subscription.tick_interval_ms = 100;
        let mut consumer = bench.consumer();
        bench.put(7);
        bench.script.lock().broken = BTreeSet::from([function]);
        let began = bench.clock.now();
        for _ in 0..200 {
            bench.steps(&mut consumer, 1);
            bench.clock.advance(Duration::from_millis(100));
        }
        assert_eq!(bench.standing.lock().state, AnalyzerState::Held, "{function}");
        assert!(bench.standing.lock().detail.contains(function), "{}", bench.standing.lock().detail);
        let (starts, took) = (bench.script.lock().starts, bench.clock.now().since(began));
        assert!(starts < 10 + took.as_secs() / 60, "{function}: {starts} starts within {took:?}");
        bench.script.lock().broken.clear();
        bench.clock.advance(LONGEST_WAIT);
        bench.drain(&mut consumer);
        assert_eq!(bench.found(), windows(7), "{function}");
        assert_eq!(bench.given_up(), Vec::<u64>::new(), "{function}");
    }
}

#[test]
fn a_state_that_is_refused_is_given_up_and_the_cursor_is_kept() {
    let bench = Bench::new();
    let mut consumer = bench.consumer();
    bench.put(4);
    bench.drain(&mut consumer);
    bench.script.lock().restore_refused = true;
    let mut consumer = bench.consumer();
    bench.put(3);
    // What it keeps besides its state goes on; the scripted analyzer wants both to agree.
    bench.database.write_blocking(|transaction| transaction.execute("DELETE FROM kv", [])).unwrap();
    bench.drain(&mut consumer);
    assert_eq!(bench.found(), [("w1".to_owned(), 3), ("w1".to_owned(), 3)]);
    let last = bench.events().pop().unwrap();
    assert_eq!((last.position, bench.stored().cursor), (2, 7));
}

#[test]
fn a_state_that_is_trapped_on_three_times_is_given_up() {
    let bench = Bench::new();
    bench.put(4);
    let mut consumer = bench.consumer();
    bench.put(4);
    bench.drain(&mut consumer);
    bench.script.lock().broken = BTreeSet::from(["restore"]);
    let mut consumer = bench.consumer();
    bench.drain(&mut consumer);
    assert_eq!(bench.script.lock().restores, 3);
    assert_eq!(bench.standing.lock().state, AnalyzerState::Running);
}

#[test]
fn a_component_that_has_grown_gets_a_new_memory_and_goes_on() {
    let bench = Bench::reading(1);
    let mut consumer = bench.consumer();
    bench.script.lock().memory_bytes = 751;
    bench.put(300);
    bench.drain(&mut consumer);
    assert_eq!(bench.found(), windows(300));
    let starts = bench.script.lock().starts;
    assert!((3..=8).contains(&starts), "{starts}");
    assert_eq!(bench.script.lock().restores, starts - 1);
}

#[test]
fn records_that_retention_took_are_said_and_passed_over() {
    let bench = Bench::new();
    let mut consumer = bench.consumer();
    bench.put(30);
    bench.forget(1..=10);
    bench.forget(15..=20);
    bench.drain(&mut consumer);
    let missed: Vec<(u64, String)> =
        bench.events().into_iter().filter(|event| event.kind == RECORDS_MISSED).map(|event| (event.count, event.title)).collect();
    let title = |count: u64| format!("{count} records were not analyzed by `counter`");
    assert_eq!(missed, [(10, title(10)), (6, title(6))]);
    assert_eq!((bench.stored().cursor, bench.script.lock().dropped), (30, 16));
    // All of it gone.
    bench.put(5);
    bench.forget(31..=35);
    bench.drain(&mut consumer);
    assert_eq!((bench.events().last().unwrap().count, bench.stored().cursor), (5, 35));
}

#[test]
fn a_gap_before_a_poison_record_is_said_once() {
    let bench = Bench::new();
    let mut consumer = bench.consumer();
    bench.put(30);
    bench.forget(1..=10);
    bench.script.lock().poison = BTreeSet::from([11]);
    bench.drain(&mut consumer);
    assert_eq!(bench.events().iter().filter(|event| event.kind == RECORDS_MISSED).count(), 1);
    assert_eq!(bench.given_up(), [11]);
}

#[test]
fn a_log_that_was_begun_anew_does_not_stop_the_analyzer_for_ever() {
    let bench = Bench::new();
    let mut consumer = bench.consumer();
    bench.put(30);
    bench.drain(&mut consumer);
    drop(consumer);
    bench.log.rows.lock().clear();
    bench.log.committed.send_replace(0);
    let mut consumer = bench.consumer();
    bench.put(3);
    bench.drain(&mut consumer);
    assert_eq!(bench.found(), windows(33));
}

#[test]
fn only_wanted_records_cross_and_the_cursor_passes_the_others() {
    let mut bench = Bench::new();
    bench.subscription.any_substring = vec!["record 7".to_owned()];
    let mut consumer = bench.consumer();
    bench.put(60);
    bench.drain(&mut consumer);
    assert_eq!(bench.script.lock().portions, [1]);
    assert_eq!(bench.stored().cursor, 60);
}

#[test]
fn a_subscription_that_cannot_be_used_is_an_answer() {
    let mut bench = Bench::new();
    bench.subscription.any_regex = vec!["(".to_owned()];
    assert!(bench.try_consumer().err().unwrap().contains('('));
}

#[test]
fn a_store_that_refuses_loses_nothing() {
    let bench = Bench::new();
    let mut consumer = bench.consumer();
    bench.put(3);
    bench
        .database
        .write_blocking(|transaction| {
            transaction.execute_batch("CREATE TRIGGER no BEFORE INSERT ON findings BEGIN SELECT RAISE(ABORT, 'full'); END")
        })
        .unwrap();
    let stop = CancellationToken::new();
    let mut failures = 0;
    for _ in 0..10 {
        match consumer.step(&stop) {
            Ok(next) => drop(bench.wait(next)),
            Err(_) => failures += 1,
        }
    }
    assert!(failures >= 5);
    assert_eq!(bench.stored().cursor, 0, "nothing of it is stored");
    bench.put(3);
    bench.database.write_blocking(|transaction| transaction.execute_batch("DROP TRIGGER no")).unwrap();
    bench.drain(&mut consumer);
    assert_eq!((bench.found(), bench.script.lock().starts), (windows(6), 1));
}

/// One thing that happens to a consumer.
#[derive(Clone, Debug)]
enum Happening {
    Records(u64),
    Steps(usize),
    Crash,
    Stop,
    TrapSoon(u64),
    Seconds(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (1..40_u64).prop_map(Happening::Records),
        4 => (1..6_usize).prop_map(Happening::Steps),
        2 => Just(Happening::Crash),
        1 => Just(Happening::Stop),
        1 => (1..8_u64).prop_map(Happening::TrapSoon),
        1 => (1..12_u64).prop_map(Happening::Seconds),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_findings_are_those_of_one_clean_run_over_the_records_that_could_be_taken(
        happenings in prop::collection::vec(happening(), 1..30),
        poison in prop::collection::btree_set(1..400_u64, 0..5),
        read_limit in 1..50_usize,
        max_batch in 1..40_u32,
        tick in prop_oneof![Just(0_u32), Just(500)],
    ) {
        let mut bench = Bench::reading(read_limit);
        bench.subscription.max_batch = max_batch;
        bench.subscription.tick_interval_ms = tick;
        bench.script.lock().poison = poison.clone();
        let mut consumer = bench.consumer();
        for happening in happenings {
            match happening {
                Happening::Records(count) => bench.put(count),
                Happening::Steps(count) => bench.steps(&mut consumer, count),
                Happening::Crash => consumer = bench.consumer(),
                Happening::Stop => {
                    consumer.finish().unwrap();
                    consumer = bench.consumer();
                }
                Happening::TrapSoon(calls) => {
                    let mut script = bench.script.lock();
                    let call = script.calls + calls;
                    script.trapping_calls.insert(call);
                }
                Happening::Seconds(seconds) => bench.clock.advance(Duration::from_secs(seconds)),
            }
        }
        bench.drain(&mut consumer);
        let end = *bench.log.committed.borrow();
        let given_up = bench.given_up();
        for seq in poison.iter().filter(|seq| **seq <= end) {
            prop_assert!(given_up.contains(seq));
        }
        let taken: Vec<u64> = (1..=end).filter(|seq| !given_up.contains(seq)).collect();
        let expected: Vec<(String, u64)> = windows(taken.len() as u64);
        prop_assert_eq!(bench.found(), expected);
        let views = bench.database.read_blocking(|connection| {
            let all = store::FindingFilter { until: Timestamp::MAX, ..store::FindingFilter::default() };
            store::findings(connection, &all, 10_000)
        }).unwrap();
        let ranges: Vec<(u64, u64)> = views.iter().rev().map(|view| {
            let seq = |text: &Option<String>| text.as_ref().unwrap().parse().unwrap();
            (seq(&view.first_seq), seq(&view.last_seq))
        }).collect();
        let expected: Vec<(u64, u64)> = taken.chunks_exact(WINDOW as usize).map(|window| (window[0], window[2])).collect();
        prop_assert_eq!(ranges, expected);
        drop(bench.folder);
    }
}
