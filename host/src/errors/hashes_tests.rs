use proptest::prelude::*;
use rusqlite::Connection;
use watchfire_types::attributes::keys;
use watchfire_types::log::RecordHead;
use watchfire_types::{LogBatch, ValueRef};

use super::*;
use crate::errors::engine::gather;
use crate::errors::fingerprint::OlderHash;
use crate::errors::originals::NoOriginals;
use crate::errors::rules::GroupingRules;
use crate::errors::store;

const NOW: Timestamp = Timestamp::from_seconds(1_795_392_600);

fn database() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    for migration in crate::alerts::store::MIGRATIONS {
        connection.execute_batch(migration).unwrap();
    }
    connection
}

/// Errors of `charge`, called by `caller`.
fn batch(first_seq: u64, callers: &[&str]) -> LogBatch {
    let mut batch = LogBatch::default();
    for (row, caller) in callers.iter().enumerate() {
        batch.push(&RecordHead { timestamp: NOW, ..RecordHead::default() }, ValueRef::Text("x"));
        let trace = format!(
            "Traceback (most recent call last):\n  File \"/app/{caller}.py\", line 3, in {caller}\n    x\n  File \"/app/orders.py\", line 9, in charge\n    x\nValueError: order 5 has no open position"
        );
        batch.attribute(keys::EXCEPTION_STACKTRACE, ValueRef::Text(&trace));
        batch.seq.push(first_seq + row as u64);
    }
    batch
}

fn groups(first_seq: u64, callers: &[&str]) -> BTreeMap<String, Occurrences> {
    gather(&batch(first_seq, callers), true, &GroupingRules::default(), &NoOriginals)
}

fn counts(connection: &Connection) -> Vec<i64> {
    let mut statement = connection.prepare("SELECT count FROM issues ORDER BY count").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<rusqlite::Result<_>>().unwrap()
}

#[test]
fn a_rewritten_caller_finds_the_young_issue_by_its_secondary_hash() {
    let connection = database();
    let first = resolve(&connection, groups(1, &["api"]), NOW).unwrap();
    store::apply(&connection, &first, 1, NOW).unwrap();
    let moved = resolve(&connection, groups(2, &["views"]), NOW).unwrap();
    assert_eq!(moved.keys().collect::<Vec<_>>(), first.keys().collect::<Vec<_>>());
    assert_eq!(moved.values().next().unwrap().hashes[0].found, "secondary");
    store::apply(&connection, &moved, 2, NOW).unwrap();
    assert_eq!(counts(&connection), [2]);
    let again = resolve(&connection, groups(3, &["views"]), NOW.plus(YOUNG * 2)).unwrap();
    assert_eq!(again.values().next().unwrap().hashes[0].found, "primary", "it has been noted");
    let late = resolve(&connection, groups(3, &["worker"]), NOW.plus(YOUNG * 2)).unwrap();
    assert_ne!(late.keys().next(), first.keys().next(), "an old issue is found by its fingerprint alone");
}

#[test]
fn what_an_earlier_way_of_grouping_found_is_found_for_a_while() {
    let connection = database();
    let found = resolve(&connection, groups(1, &["api"]), NOW).unwrap();
    store::apply(&connection, &found, 1, NOW).unwrap();
    let issue = found.keys().next().unwrap().clone();
    connection.execute("UPDATE issue_hashes SET version = 'watchfire-g0', hash = 'old' WHERE kind = 'primary'", []).unwrap();
    connection.execute("DELETE FROM issue_hashes WHERE kind = 'secondary'", []).unwrap();
    let moved = || {
        let mut moved = groups(2, &["api"]);
        for group in moved.values_mut() {
            group.grouped.older = vec![OlderHash { version: "watchfire-g0", hash: "old".into() }];
        }
        moved
    };
    let in_time = resolve(&connection, moved(), NOW.plus(TRANSITION / 2)).unwrap();
    assert_eq!((in_time.keys().next(), in_time.values().next().unwrap().hashes[0].found), (Some(&issue), "older version"));
    let too_late = resolve(&connection, moved(), NOW.plus(TRANSITION)).unwrap();
    assert_eq!(too_late.values().next().unwrap().hashes[0].found, "new");
    assert_eq!(prune(&connection, NOW.plus(TRANSITION * 2)).unwrap(), 1);
}

proptest! {
    #[test]
    fn issues_do_not_depend_on_how_the_log_is_cut(callers in proptest::collection::vec("[abc]", 1..12), cut in 0_usize..12) {
        let callers: Vec<&str> = callers.iter().map(String::as_str).collect();
        let cut = cut.min(callers.len());
        let whole = database();
        let found = resolve(&whole, groups(1, &callers), NOW).unwrap();
        store::apply(&whole, &found, callers.len() as u64, NOW).unwrap();
        let parts = database();
        for (first, part) in [(1, &callers[..cut]), (cut as u64 + 1, &callers[cut..])] {
            if !part.is_empty() {
                let found = resolve(&parts, groups(first, part), NOW).unwrap();
                store::apply(&parts, &found, first, NOW).unwrap();
            }
        }
        let rows = |connection: &Connection| {
            let mut statement = connection.prepare("SELECT id, count, first_seq, last_seq FROM issues ORDER BY id").unwrap();
            let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?, row.get::<_, i64>(3)?)));
            rows.unwrap().collect::<rusqlite::Result<Vec<_>>>().unwrap()
        };
        prop_assert_eq!(rows(&whole), rows(&parts));
    }
}
