//! Laws of patterns in the store, over real files.

use std::collections::BTreeMap;
use std::time::Duration;

use watchfire_types::attributes::keys;
use watchfire_types::log::RecordHead;
use watchfire_types::{Timestamp, ValueRef};

use super::*;
use crate::alerts::types::RecordFilter;
use crate::app::adapters::matchers;
use crate::clock::Clock;
use crate::logs::types::LogFilter;
use crate::logs::{LogSettings, Logs};
use crate::store::Database;

const DAY: Duration = Duration::from_secs(86_400);

struct Store {
    folder: tempfile::TempDir,
    clock: Clock,
    metrics: SelfMetrics,
    logs: Logs,
    state: Database,
}

impl Store {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("logs")).unwrap();
        let clock = Clock::manual(Timestamp::from_seconds(20_000 * 86_400 + 43_200));
        Self::open(folder, clock)
    }

    fn open(folder: tempfile::TempDir, clock: Clock) -> Self {
        let metrics = SelfMetrics::default();
        let state = Database::open(&folder.path().join("state.db"), crate::alerts::store::MIGRATIONS).unwrap();
        let patterns = Some(Settings { state: state.clone(), max_patterns: 100 });
        let settings = LogSettings { retention: 5 * DAY, patterns, room: None };
        // It waits for the disk, which a thread of the runtime must not.
        let open = || Logs::open_with(folder.path(), settings, &clock, &metrics).unwrap();
        let logs = std::thread::scope(|scope| scope.spawn(open).join().unwrap());
        Self { folder, clock, metrics, logs, state }
    }

    fn restart(self) -> Self {
        let Self { folder, clock, logs, state, .. } = self;
        logs.close();
        state.close();
        drop((logs, state));
        Self::open(folder, clock)
    }

    async fn put(&self, service: &str, lines: &[&str]) {
        self.logs.ingest(batch(&self.clock, service, lines), Vec::new()).await.unwrap();
    }

    /// Returns the id of each line that is stored.
    fn ids(&self) -> BTreeMap<String, u64> {
        let (mut ids, mut cursor) = (BTreeMap::new(), 0);
        loop {
            let batch = self.logs.read_after(cursor, 100_000).unwrap();
            let Some(last) = batch.seq.last() else { return ids };
            cursor = *last;
            let text = |row: usize| String::from_utf8(batch.body.data.get(row).to_vec()).unwrap();
            ids.extend((0..batch.len()).map(|row| (text(row), batch.pattern[row])));
        }
    }

    /// Checks that every id in every block of every file has its template in that file.
    fn check(&self) {
        for file in self.logs.0.files.all() {
            let batch = file.read_after(0, usize::MAX, None, &mut |error| panic!("{error}")).unwrap().batch;
            for id in batch.pattern {
                let mut found = FxHashMap::default();
                file.readers.read(|connection| table::look_up(connection, &[id], &mut found)).unwrap();
                assert!(id == 0 || !found[&id].template.is_empty(), "{id} in {}", file.day);
            }
        }
    }
}

fn batch(clock: &Clock, service: &str, lines: &[&str]) -> LogBatch {
    let mut batch = LogBatch::default();
    let resource = batch.resource(vec![(keys::SERVICE_NAME.into(), service.into())]);
    for line in lines {
        batch.push(&RecordHead { timestamp: clock.now(), resource, ..RecordHead::default() }, ValueRef::Text(line));
    }
    batch
}

#[tokio::test]
async fn the_same_line_has_the_same_id_after_a_restart_and_in_another_service_another() {
    let store = Store::new();
    store.put("api", &["user 1 logged in", "user 2 logged in", "disk is full", ""]).await;
    let ids = store.ids();
    assert_eq!(ids["user 1 logged in"], ids["user 2 logged in"]);
    assert_ne!(ids["user 1 logged in"], ids["disk is full"]);
    assert_eq!((ids[""], ids["user 1 logged in"]), (0, 1));
    store.check();
    let store = store.restart();
    store.put("api", &["user 3 logged in", "disk is full"]).await;
    store.put("other", &["user 4 logged in"]).await;
    let now = store.ids();
    assert_eq!((now["user 3 logged in"], now["disk is full"]), (ids["user 1 logged in"], ids["disk is full"]));
    // Ids go on where they ended.
    assert_eq!(now["user 4 logged in"], 3);
    let infos = store.logs.patterns(&[1, 2, 3, 4]).unwrap();
    assert_eq!(infos.len(), 3);
    assert_eq!(infos[&1].template, "user <*> logged in");
    assert_eq!((infos[&1].sample.as_str(), infos[&1].service.as_deref()), ("user 3 logged in", Some("api")));
    assert_eq!(infos[&1].first_seen, store.clock.now().as_nanos());
    store.check();
}

#[tokio::test]
async fn templates_outlive_the_files_that_they_came_with_as_long_as_they_are_used() {
    let store = Store::new();
    store.put("api", &["often 1", "once upon a time"]).await;
    let first = store.ids();
    let first_day = store.clock.now().day();
    for day in 1..8 {
        store.clock.advance(DAY);
        store.logs.roll().await;
        store.put("api", &[&format!("often {day}")]).await;
    }
    store.logs.drop_day(first_day).unwrap();
    store.check();
    let infos = store.logs.patterns(&[first["often 1"], first["once upon a time"]]).unwrap();
    assert_eq!(infos[&first["often 1"]].template, "often <*>");
    assert_eq!(infos[&first["often 1"]].sample, "often 7");
    // Not for six days, with five of retention.
    let newest = store.logs.0.files.newest().unwrap();
    let mut found = FxHashMap::default();
    newest.readers.read(|connection| table::look_up(connection, &[first["once upon a time"]], &mut found)).unwrap();
    assert!(found.is_empty());
    // A miner that still knows it brings its template back with the line.
    store.put("api", &["once upon a time"]).await;
    assert_eq!(store.ids()["once upon a time"], first["once upon a time"]);
    store.check();
}

#[tokio::test]
async fn what_a_failed_commit_learnt_is_stored_with_the_next_one() {
    let store = Store::new();
    store.put("api", &["before"]).await;
    let trigger = "CREATE TRIGGER broken BEFORE INSERT ON blocks BEGIN SELECT raise(ABORT, 'a test'); END";
    store.logs.in_writer(move |connection| connection.execute_batch(trigger).unwrap()).await;
    let lost = store.logs.ingest(batch(&store.clock, "api", &["a line that is lost"]), Vec::new()).await;
    assert!(lost.is_err());
    store.logs.in_writer(|connection| connection.execute_batch("DROP TRIGGER broken").unwrap()).await;
    store.put("api", &["a line that is lost"]).await;
    store.check();
    let id = store.ids()["a line that is lost"];
    let store = store.restart();
    store.put("api", &["a line that is lost"]).await;
    assert_eq!(store.ids()["a line that is lost"], id);
}

#[tokio::test]
async fn merged_patterns_stay_one_across_a_restart_and_a_new_day() {
    let store = Store::new();
    let users = ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"];
    for user in users {
        store.put("sshd", &[&format!("session opened for user {user} by uid 0")]).await;
    }
    let ids = store.ids();
    let family = |store: &Store| store.logs.resolve_patterns(ids["session opened for user alice by uid 0"]);
    let before = family(&store);
    assert!(ids.values().all(|id| before.contains(id)), "{ids:?} {before:?}");
    assert!(before.len() > 1, "{before:?}");
    store.check();
    let store = store.restart();
    assert_eq!(family(&store), before);
    store.clock.advance(DAY);
    store.logs.roll().await;
    store.put("sshd", &["session opened for user mallory by uid 0"]).await;
    assert_eq!(store.ids()["session opened for user mallory by uid 0"], before[0]);
    let store = store.restart();
    assert_eq!(family(&store), before);
    store.check();
}

#[tokio::test]
async fn a_rule_over_a_pattern_follows_it_when_it_is_merged() {
    let store = Store::new();
    store.put("sshd", &["a line"]).await;
    let line = store.logs.read_after(0, 1).unwrap();
    let id = line.pattern[0];
    let filter = LogFilter { text: "pattern:4711".into(), ..LogFilter::default() };
    let matcher = matchers(store.logs.clone())(&RecordFilter { log: filter, errors: None });
    assert!(!matcher.matches(&line, 0));
    let mut unsaved = Unsaved::default();
    unsaved.add(&mut Changes { merges: vec![(4_711, id)], ..Changes::default() });
    store.logs.0.shared.patterns.committed(&mut unsaved);
    assert!(matcher.matches(&line, 0));
}

#[tokio::test]
async fn sources_and_patterns_in_memory_are_bounded_and_nothing_is_forgotten_for_good() {
    let store = Store::new();
    for round in 0..2 {
        for service in 0..30 {
            let lines: Vec<String> =
                (0..60).map(|word| format!("{round}{service}{word} {}", "word ".repeat(word % 20 + 1))).collect();
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            store.put(&format!("service{service}"), &lines).await;
        }
    }
    let held = |name| store.metrics.gauge(name, &[]).get();
    assert!(held("watchfire_log_patterns_held") > 0.0);
    assert!((held("watchfire_log_pattern_sources_held") - 30.0).abs() < 0.1);
    store.check();
}
