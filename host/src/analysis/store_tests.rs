//! What is stored, over a real database.

use std::sync::Arc;

use super::*;
use crate::analysis::types::Quarantined;
use crate::plugins::kv::KvChanges;

struct Shelf {
    _folder: tempfile::TempDir,
    database: Database,
}

impl Shelf {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("analysis.db"), MIGRATIONS).unwrap();
        Self { _folder: folder, database }
    }

    fn write<T: Send + 'static>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static) -> T {
        self.database.write_blocking(|transaction| work(transaction)).unwrap()
    }

    fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> T {
        self.database.read_blocking(work).unwrap()
    }

    /// Stores a finding of `plugin` with key `key`, at `seconds`.
    fn find(&self, plugin: &'static str, key: &str, seconds: u64) -> u64 {
        let finding = NewFinding {
            rule: "burst".to_owned(),
            severity: if key == "low" { 9 } else { 17 },
            title: format!("{key} at {seconds}"),
            dedupe_key: key.to_owned(),
            count: seconds,
            last_seq: 7,
            sample_seqs: vec![7],
            labels: BTreeMap::from([("key".to_owned(), key.to_owned())]),
            ..NewFinding::default()
        };
        self.commit(plugin, Commit { findings: vec![finding], ..Commit::default() }, seconds).last_position.unwrap()
    }

    fn commit(&self, plugin: &'static str, what: Commit, seconds: u64) -> Committed {
        self.write(move |connection| commit(connection, plugin, "hash", &what, Timestamp::from_seconds(seconds)))
    }

    fn listed(&self, filter: FindingFilter) -> Vec<String> {
        let filter = FindingFilter { until: Timestamp::MAX, ..filter };
        let views = self.read(|connection| findings(connection, &filter, 100));
        views.into_iter().map(|view| format!("{} {} {}x", view.plugin, view.title, view.findings)).collect()
    }
}

#[test]
fn findings_of_one_ongoing_thing_are_listed_as_one_and_each_has_its_position() {
    let shelf = Shelf::new();
    let positions = [
        shelf.find("a", "x", 1_000),
        shelf.find("b", "x", 1_500),
        shelf.find("a", "x", 4_000),
        shelf.find("a", "", 4_100),
        shelf.find("a", "", 4_200),
        // More than an hour after the last one.
        shelf.find("a", "x", 8_000),
        shelf.find("a", "low", 8_100),
    ];
    assert_eq!(positions, [1, 2, 3, 4, 5, 6, 7]);
    insta::assert_snapshot!(shelf.listed(FindingFilter::default()).join("\n"), @r"
    a low at 8100 1x
    a x at 8000 1x
    a  at 4200 1x
    a  at 4100 1x
    a x at 4000 2x
    b x at 1500 1x
    ");
    let of = |plugin: &str| Some(plugin.to_owned());
    assert_eq!(shelf.listed(FindingFilter { plugin: of("b"), ..FindingFilter::default() }), ["b x at 1500 1x"]);
    assert_eq!(shelf.listed(FindingFilter { rule: of("none"), ..FindingFilter::default() }), Vec::<String>::new());
    let late = FindingFilter { since: Timestamp::from_seconds(8_000), severity: 13, ..FindingFilter::default() };
    assert_eq!(shelf.listed(late), ["a x at 8000 1x"]);
}

#[test]
fn rules_read_findings_by_position_and_positions_are_never_used_twice() {
    let shelf = Shelf::new();
    for seconds in [100, 200, 300] {
        shelf.find("a", "x", seconds);
    }
    let events = shelf.read(|connection| events_after(connection, 1, 1));
    assert_eq!(
        (
            events.len(),
            events[0].position,
            events[0].at,
            events[0].source.as_str(),
            events[0].kind.as_str(),
            events[0].key.as_str()
        ),
        (1, 2, Timestamp::from_seconds(200), "a", "burst", "x")
    );
    assert_eq!(events[0].labels["key"], "x");
    let at = |seconds| shelf.read(|connection| position_at(connection, Timestamp::from_seconds(seconds)));
    assert_eq!([at(0), at(200), at(201), at(301)], [0, 1, 2, 3]);
    shelf.write(|connection| prune(connection, &[], Duration::from_secs(10), Timestamp::from_seconds(10_000)));
    assert_eq!(shelf.read(|connection| events_after(connection, 0, 10)), []);
    assert_eq!((shelf.read(last_position), at(0)), (3, 3));
    assert_eq!(shelf.find("a", "x", 10_001), 4);
}

#[test]
fn whoever_finds_too_much_loses_the_oldest_and_not_what_others_found() {
    let shelf = Shelf::new();
    shelf.find("quiet", "x", 1);
    let flood: Vec<NewFinding> = (0..100).map(|_| NewFinding { rule: "r".to_owned(), ..NewFinding::default() }).collect();
    shelf.commit("loud", Commit { findings: flood, ..Commit::default() }, 2);
    shelf.write(|connection| trim(connection, 40));
    let left = shelf.read(|connection| events_after(connection, 0, 1_000));
    assert_eq!((left.len(), left[0].source.as_str(), left[39].position), (40, "quiet", 101));
}

#[test]
fn a_commit_is_read_back_whole() {
    let shelf = Shelf::new();
    shelf.write(|connection| begin(connection, "a", 5, Timestamp::from_seconds(1)));
    let begun = Progress { began: 5, cursor: 5, watermark: 0, state: None };
    assert_eq!(shelf.read(|connection| progress(connection, "a")), Some(begun.clone()));
    let state = SavedState { version: 3, bytes: vec![1, 2] };
    let quarantined = Some(Quarantined { seq: 9, why: "it trapped".to_owned() });
    let first = Commit { cursor: 9, watermark: 77, state: Some(state.clone()), quarantined, ..Commit::default() };
    shelf.commit("a", first, 2);
    // A state that has not changed is not stored again, and stays.
    shelf.commit("a", Commit { cursor: 12, watermark: 78, ..Commit::default() }, 3);
    let stored = Progress { cursor: 12, watermark: 78, state: Some(state), ..begun };
    assert_eq!(shelf.read(|connection| progress(connection, "a")), Some(stored));
    let all = shelf.read(quarantined_rows);
    assert_eq!(
        all["a"],
        (1, vec![QuarantineView { seq: "9".to_owned(), why: "it trapped".to_owned(), at: Timestamp::from_seconds(2) }])
    );
    assert_eq!(shelf.read(cursors)["a"], (12, Timestamp::from_seconds(3)));
}

fn quarantined_rows(connection: &Connection) -> rusqlite::Result<BTreeMap<String, (u64, Vec<QuarantineView>)>> {
    quarantined(connection, 10)
}

#[test]
fn kept_values_are_apart_by_plugin_and_their_bytes_are_counted() {
    let shelf = Shelf::new();
    let kv = Arc::new(StoredKv::new(shelf.database.clone(), "a"));
    let entry = |value: &str| Some(KvEntry { value: value.into(), expires_at: Some(50_000_000_000) });
    let change = |pairs: &[(&str, Option<KvEntry>)]| {
        let kv: KvChanges = pairs.iter().map(|(key, entry)| ((*key).to_owned(), entry.clone())).collect();
        Commit { kv, ..Commit::default() }
    };
    let growth = |what| shelf.commit("a", what, 1).kv_growth;
    assert_eq!(growth(change(&[("kü/1", entry("four")), ("kü/2", entry("five5"))])), 9 + 10);
    assert_eq!(growth(change(&[("kü/1", entry("x"))])), -3);
    assert_eq!(growth(change(&[("kü/2", None), ("gone", None)])), -10);
    shelf.commit("b", change(&[("kü/1", entry("of b"))]), 1);
    kv.measure().unwrap();
    assert_eq!(kv.bytes().unwrap(), 6);
    kv.grown(-10);
    assert_eq!(kv.bytes().unwrap(), 0);
    assert_eq!((kv.get("kü/1").unwrap(), kv.get("kü/2").unwrap()), (entry("x"), None));
    assert_eq!(kv.keys("kü/").unwrap(), [("kü/1".to_owned(), Some(50_000_000_000))]);
    assert_eq!(kv.keys("kü/2").unwrap(), []);
    shelf.write(|connection| expire(connection, "a", Timestamp::from_seconds(50)));
    assert_eq!(kv.get("kü/1").unwrap(), None);
    let of_b = StoredKv::new(shelf.database.clone(), "b");
    assert_eq!(of_b.get("kü/1").unwrap(), entry("of b"));
}

#[test]
fn what_is_kept_for_an_analyzer_that_is_long_gone_is_dropped() {
    let shelf = Shelf::new();
    for (plugin, seconds) in [("gone", 1_000), ("idle", 1_000), ("recent", 9_500)] {
        shelf.write(move |connection| begin(connection, plugin, 5, Timestamp::from_seconds(seconds)));
        let kv = KvChanges::from([("k".to_owned(), Some(KvEntry { value: vec![1], expires_at: None }))]);
        shelf.commit(plugin, Commit { kv, ..Commit::default() }, seconds);
    }
    let running = ["idle".to_owned()];
    shelf.write(move |connection| prune(connection, &running, Duration::from_secs(1_000), Timestamp::from_seconds(10_000)));
    assert_eq!(shelf.read(cursors).into_keys().collect::<Vec<_>>(), ["idle", "recent"]);
    assert_eq!(StoredKv::new(shelf.database.clone(), "gone").get("k").unwrap(), None);
    assert!(StoredKv::new(shelf.database.clone(), "idle").get("k").unwrap().is_some());
}
