//! The whole engine against a plain scan over all records, before and after blocks are merged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use proptest::prelude::*;
use watchfire_types::{LogBatch, LogRecord, Severity};

use super::{expr, naive};
use crate::logs::query::ast::{Expr, Query};
use crate::logs::query::context::Same;
use crate::logs::query::field::Field;
use crate::logs::query::histogram::Width;
use crate::logs::query::node::{Meaning, number};
use crate::logs::query::run::{Outcome, Part, Question, RunError};
use crate::logs::query::scan::Control;
use crate::logs::query::table::Cell;
use crate::logs::tests::Store;
use crate::logs::types::LogFilter;

/// Rows of a table, records, and how the query ended.
type Asked = (Vec<Vec<Cell>>, Vec<LogRecord>, Outcome);

impl Store {
    fn question(&self, filter: &Expr, pipes: &str, limit: usize) -> Question {
        let query = Query { filter: filter.clone(), pipes: Query::parse(pipes).unwrap().pipes };
        Question { filter: LogFilter::default(), query, now: self.clock.now(), zone: TimeZone::UTC, limit }
    }

    fn ask(&self, question: &Question) -> Result<Asked, RunError> {
        let (mut rows, mut records) = (Vec::new(), Vec::new());
        let outcome = self.logs.run(question, &Arc::new(Control::new(None)), &mut |part| {
            match part {
                Part::Columns(_) => {}
                Part::Row(row) => rows.push(row),
                Part::Record(record) => records.push(*record),
            }
            true
        })?;
        Ok((rows, records, outcome))
    }

    fn table(&self, filter: &Expr, pipes: &str) -> Vec<Vec<Cell>> {
        self.ask(&self.question(filter, pipes, 10_000)).unwrap().0
    }
}

/// What a query must find: the records that a plain scan finds, the newest first.
fn expected(all: &[(LogBatch, usize)], filter: &Expr, store: &Store) -> Vec<LogRecord> {
    let meaning = Meaning { now: store.clock.now(), zone: &TimeZone::UTC, patterns: &|id| vec![id] };
    let found = all.iter().filter(|(batch, row)| naive::matches(filter, batch, *row, &meaning));
    let mut records: Vec<LogRecord> = found.map(|(batch, row)| batch.record(*row)).collect();
    records.sort_by_key(|record| std::cmp::Reverse((record.timestamp, record.seq.parse::<u64>().unwrap())));
    records
}

fn counts(records: &[LogRecord], key: impl Fn(&LogRecord) -> String) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    records.iter().for_each(|record| *counts.entry(key(record)).or_default() += 1);
    counts
}

fn shown(rows: &[Vec<Cell>]) -> BTreeMap<String, i64> {
    let count = |row: &[Cell]| if let Some(Cell::Int(count)) = row.last() { *count } else { panic!("{row:?}") };
    rows.iter().map(|row| (row[0].display(), count(row))).collect()
}

fn check(store: &Store, all: &[(LogBatch, usize)], filter: &Expr, limit: usize) {
    let found = expected(all, filter, store);

    let (_, records, outcome) = store.ask(&store.question(filter, "", limit)).unwrap();
    assert_eq!(records, found[..limit.min(found.len())], "{filter}");
    assert_eq!((outcome.truncated, outcome.stopped), (found.len() > limit, None), "{filter}");

    let level = |record: &LogRecord| Severity(record.severity_number).name().to_owned();
    assert_eq!(shown(&store.table(filter, "| stats count by level")), counts(&found, level), "{filter}");
    let a = |record: &LogRecord| {
        let value = record.attributes.iter().find(|(key, _)| key == "a");
        value.map(|(_, value)| value.as_ref().display()).unwrap_or_default()
    };
    assert_eq!(shown(&store.table(filter, "| stats count by a")), counts(&found, a), "{filter}");
    let top: Vec<i64> = store
        .table(filter, "| top 3 a | fields a, count")
        .iter()
        .map(|row| if let Cell::Int(count) = row[1] { count } else { 0 })
        .collect();
    let mut most: Vec<i64> = counts(&found, a).into_iter().filter(|(value, _)| !value.is_empty()).map(|(_, count)| count).collect();
    most.sort_unstable_by(|left, right| right.cmp(left));
    assert_eq!(top, most[..most.len().min(3)], "{filter}");

    let numbers: Vec<f64> = found.iter().filter_map(|record| number(a(record).as_bytes())).collect();
    let row = store.table(filter, "| stats count, max(a), count_distinct(a), min(seq)").remove(0);
    assert_eq!(row[0], Cell::Int(found.len() as i64), "{filter}");
    let greatest = numbers.iter().copied().reduce(f64::max).map_or(Cell::None, Cell::Float);
    assert_eq!(number(row[1].display().as_bytes()), number(greatest.display().as_bytes()), "{filter}");

    let by_length = store.ask(&store.question(filter, "| sort -seq", limit)).unwrap().1;
    let mut sorted = found.clone();
    sorted.sort_by_key(|record| std::cmp::Reverse(record.seq.parse::<u64>().unwrap()));
    assert_eq!(by_length, sorted[..limit.min(sorted.len())], "{filter}");

    let control = Control::new(None);
    let histogram = store
        .logs
        .histogram(&store.question(filter, "", 0), Width::Bars(20), Some(&Field::Attribute("a".into())), &control)
        .unwrap();
    assert_eq!(histogram.total, found.len() as u64, "{filter}");
    let in_bars: u64 = histogram.series.iter().flat_map(|series| &series.counts).sum();
    assert_eq!(in_bars, found.len() as u64, "{filter}");

    // Neighbours of the middle one, among all records.
    if let Some(middle) = found.get(found.len() / 2) {
        let seq = middle.seq.parse().unwrap();
        let mut every = expected(all, &Expr::All, store);
        every.reverse();
        let at = every.iter().position(|record| record.seq == middle.seq).unwrap();
        let context = store.logs.context(seq, 2, 3, Same::All, &control).unwrap().unwrap();
        assert_eq!(context.records, every[at.saturating_sub(2)..(at + 4).min(every.len())]);
        assert_eq!(&context.records[context.at], middle);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn answers_agree_with_a_plain_scan_before_and_after_merging(
        batches in proptest::collection::vec(crate::logs::block::tests::batches(), 1..5),
        filters in proptest::collection::vec(expr(), 3),
        limit in 1..30_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let store = Store::new();
        let mut all = Vec::new();
        for mut batch in batches {
            let base = store.clock.now().as_nanos() - 100_000_000_000_000;
            for (row, time) in batch.time.iter_mut().enumerate() {
                *time = base + *time % 150_000_000_000_000 + row as u64;
            }
            for observed in &mut batch.observed {
                *observed = base + *observed % 1_000;
            }
            batch.seq = (0..batch.len()).map(|row| (all.len() + row + 1) as u64).collect();
            all.extend((0..batch.len()).map(|row| (batch.clone(), row)));
            batch.seq = Vec::new();
            runtime.block_on(store.put(batch));
        }
        for filter in filters.iter().chain([&Expr::All]) {
            check(&store, &all, filter, limit);
        }
        let mut days: Vec<_> = all.iter().map(|(batch, row)| watchfire_types::Timestamp::from_nanos(batch.time[*row]).day()).collect();
        days.sort_unstable();
        days.dedup();
        store.compact_until(|blocks| blocks <= days.len());
        for filter in filters.iter().chain([&Expr::All]) {
            check(&store, &all, filter, limit);
        }
    }
}

#[tokio::test]
async fn a_query_stops_when_told_and_says_so() {
    let store = Store::new();
    for round in 0..20_u64 {
        store.put(crate::logs::tests::batch(&store.clock, &[format!("round {round}")], round)).await;
    }
    let question = store.question(&Expr::All, "| stats count by body", 10);
    let late = Arc::new(Control::new(Some(Duration::ZERO)));
    let outcome = store.logs.run(&question, &late, &mut |_| true).unwrap();
    assert_eq!(outcome.stopped, Some(crate::logs::query::scan::Stopped::Timeout));
    let cancelled = Arc::new(Control::new(None));
    cancelled.cancel();
    let mut records = 0;
    let outcome = store.logs.run(&store.question(&Expr::All, "", 10), &cancelled, &mut |_| {
        records += 1;
        true
    });
    assert_eq!((outcome.unwrap().stopped, records), (Some(crate::logs::query::scan::Stopped::Cancelled), 0));
}

#[tokio::test]
async fn values_are_computed_and_wrong_columns_are_named() {
    let store = Store::new();
    store.put(crate::logs::tests::batch(&store.clock, &["a".into(), "bb".into()], 5)).await;
    let error = |pipes: &str| store.ask(&store.question(&Expr::All, pipes, 10)).unwrap_err().to_string();
    assert_eq!(error("| stats count by service | sort -cuont"), "there is no column `cuont`; did you mean `count`?");
    let rows =
        store.table(&Expr::All, "| stats count, sum(length), avg(length), p50(length), min(timestamp) by service | where count>1");
    let shown: Vec<String> = rows[0].iter().map(Cell::display).collect();
    assert_eq!(shown[..5], ["api", "2", "3", "1.5", "1"]);
    assert!(store.table(&Expr::All, "| stats count by service | where count>2").is_empty());
    assert_eq!(
        store.table(&Expr::All, "| fields body, length | sort -length | limit 1"),
        [vec![Cell::Text("bb".into()), Cell::Int(2)]]
    );
}
