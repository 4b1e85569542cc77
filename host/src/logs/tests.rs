//! Laws of the log store, over real files.

use proptest::prelude::*;
use tempfile::TempDir;
use watchfire_types::attributes::keys;
use watchfire_types::log::RecordHead;
use watchfire_types::{LogRecord, Severity, ValueRef};

use super::block::Columns;
use super::files::MIGRATIONS;
use super::outlines::Outlines;
use super::*;

const RETENTION: Duration = Duration::from_secs(30 * 86_400);

pub(super) struct Store {
    folder: TempDir,
    pub(super) clock: Clock,
    pub(super) logs: Logs,
}

impl Store {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("logs")).unwrap();
        // Noon, so that a few hours either way are the same day.
        let clock = Clock::manual(Timestamp::from_seconds(20_000 * 86_400 + 43_200));
        let logs = open(&folder, &clock);
        Self { folder, clock, logs }
    }

    fn restart(self) -> Self {
        self.logs.close();
        let logs = open(&self.folder, &self.clock);
        Self { logs, ..self }
    }

    pub(super) async fn put(&self, batch: LogBatch) -> Accepted {
        self.logs.ingest(batch, Vec::new()).await.unwrap()
    }

    /// Returns all records, as they are remembered and then as they are on disk.
    fn all(&self) -> Vec<LogRecord> {
        let remembered = self.read_all();
        self.logs.0.shared.recent.forget();
        let stored = self.read_all();
        assert_eq!(remembered, stored);
        stored
    }

    fn read_all(&self) -> Vec<LogRecord> {
        let mut records = Vec::new();
        let mut cursor = 0;
        loop {
            let batch = self.logs.read_after(cursor, 7).unwrap();
            let Some(last) = batch.seq.last() else { break };
            cursor = *last;
            records.extend((0..batch.len()).map(|row| batch.record(row)));
        }
        let severe = |record: &&LogRecord| record.severity_number >= 17;
        assert_eq!(self.skimmed(), records.iter().filter(severe).cloned().collect::<Vec<_>>());
        records
    }

    /// Returns the severe records, without reading the others.
    fn skimmed(&self) -> Vec<LogRecord> {
        let skim = Skim {
            columns: &|head| head.severity.iter().any(|number| *number >= 17).then_some(Columns::HEAD),
            rows: &|batch| (0..batch.len()).filter(|row| batch.severity[*row] >= 17).collect(),
        };
        let mut records = Vec::new();
        let mut cursor = 0;
        while let Skimmed { batch, last: Some(last), .. } = self.logs.skim_after(cursor, 7, &skim).unwrap() {
            cursor = last;
            records.extend((0..batch.len()).map(|row| batch.record(row)));
        }
        records
    }

    /// What is remembered of the blocks must be what the files say.
    fn check_outlines(&self) {
        for file in self.logs.0.files.all() {
            let copy = |outlines: &Outlines| outlines.blocks().map(|(seq, outline)| (seq, outline.clone())).collect::<Vec<_>>();
            let remembered = file.with_outlines(copy).unwrap();
            assert_eq!(remembered, copy(&file.readers.read(Outlines::load).unwrap()));
        }
    }

    fn find(&self, filter: &LogFilter, limit: usize) -> Vec<LogRecord> {
        self.logs.search(filter, limit).unwrap().all().unwrap()
    }

    /// Rings the compactor until `blocks` of the newest file satisfies the caller.
    pub(super) fn compact_until(&self, fits: impl Fn(usize) -> bool) {
        self.clock.advance(Duration::from_secs(61));
        let file = self.logs.0.files.newest().unwrap();
        for _ in 0..2_000 {
            let _ = self.logs.0.shared.wake_compactor.try_send(());
            if fits(file.readers.read(DayFile::infos).unwrap().len()) {
                return;
            }
            std::thread::yield_now();
            std::thread::park_timeout(Duration::from_millis(1));
        }
        panic!("the compactor did not get there");
    }
}

/// Minute, severity, service and pattern, with how many records have them.
type Counts = std::collections::BTreeMap<(u64, u8, String, u64), u64>;

impl Store {
    fn counts(&self, since: u64, until: u64) -> Counts {
        let mut counts = Counts::new();
        let (since, until) = (Timestamp::from_nanos(since), Timestamp::from_nanos(until));
        let mut add = |row: &SummaryRow<'_>| {
            *counts.entry((row.minute, row.severity, row.service.to_owned(), row.pattern)).or_default() += row.count;
        };
        self.logs.summaries(since, until, &mut add).unwrap();
        counts
    }

    /// Returns the same by looking at every record.
    fn scanned(&self, since: u64, until: u64) -> Counts {
        let mut counts = Counts::new();
        for record in self.all() {
            let minute = record.timestamp.as_nanos() / 60_000_000_000;
            if (since..until).contains(&(minute * 60_000_000_000)) {
                let service = record.resource.iter().find(|(key, _)| key == keys::SERVICE_NAME);
                let service = service.and_then(|(_, value)| value.as_text()).unwrap_or("").to_owned();
                *counts.entry((minute, record.severity_number, service, record.pattern.parse().unwrap_or(0))).or_default() += 1;
            }
        }
        counts
    }

    /// Runs `sql` in the newest file, from outside.
    fn execute(&self, sql: &str) -> usize {
        let path = self.logs.0.files.newest().unwrap().readers.path().clone();
        rusqlite::Connection::open(path).unwrap().execute(sql, []).unwrap()
    }
}

fn open(folder: &TempDir, clock: &Clock) -> Logs {
    Logs::open(folder.path(), RETENTION, clock, &SelfMetrics::default()).unwrap()
}

pub(super) fn batch(clock: &Clock, bodies: &[String], seconds_ago: u64) -> LogBatch {
    batch_of("api", clock, bodies, seconds_ago)
}

fn batch_of(service: &str, clock: &Clock, bodies: &[String], seconds_ago: u64) -> LogBatch {
    let mut batch = LogBatch::default();
    for body in bodies {
        let resource = batch.resource(vec![(keys::SERVICE_NAME.into(), service.into())]);
        let timestamp = clock.now().minus(Duration::from_secs(seconds_ago));
        batch.push(&RecordHead { timestamp, severity: Severity::INFO, resource, ..RecordHead::default() }, ValueRef::Text(body));
        batch.attribute("length", ValueRef::Int(body.len() as i64));
    }
    batch
}

fn seqs(records: &[LogRecord]) -> Vec<u64> {
    records.iter().map(|record| record.seq.parse().unwrap()).collect()
}

fn text(filter: &str) -> LogFilter {
    LogFilter { text: filter.into(), ..LogFilter::default() }
}

#[tokio::test]
async fn what_is_stored_is_there_after_a_restart_and_the_sequence_goes_on() {
    let store = Store::new();
    store.put(batch(&store.clock, &["one".into(), "two".into()], 5)).await;
    let store = store.restart();
    store.put(batch(&store.clock, &["three".into()], 5)).await;
    let bodies: Vec<_> = store.all().into_iter().map(|record| (record.seq, record.body)).collect();
    assert_eq!(bodies, [("1".into(), "one".into()), ("2".into(), "two".into()), ("3".into(), "three".into())]);
}

#[tokio::test]
async fn merging_changes_no_answer() {
    let store = Store::new();
    for round in 0..40_u64 {
        // Every third batch reaches back a day, so that blocks of two event days interleave.
        let ago = if round % 3 == 0 { 86_400 + round } else { round };
        store.put(batch(&store.clock, &[format!("round {round}"), "same".into()], ago)).await;
    }
    let (before, found) = (store.all(), store.find(&text("same"), 50));
    let counts = store.scanned(0, u64::MAX);
    assert_eq!(store.counts(0, u64::MAX), counts);
    store.compact_until(|blocks| blocks <= 6);
    assert_eq!(store.all(), before);
    assert_eq!(store.counts(0, u64::MAX), counts);
    assert_eq!(store.find(&text("same"), 50), found);
    assert_eq!(seqs(&before), (1..=80).collect::<Vec<_>>());
    assert_eq!(store.find(&text("\"round 17\""), 9).len(), 1);
}

#[tokio::test]
async fn at_midnight_a_new_file_begins_and_offsets_are_copied_forward() {
    let store = Store::new();
    let offset =
        FileOffset { path: "/var/log/a".into(), device: 1, inode: 2, offset: 3, fingerprint: u64::MAX, ..FileOffset::default() };
    store.logs.ingest(batch(&store.clock, &["before".into()], 0), vec![offset.clone()]).await.unwrap();
    store.clock.advance(Duration::from_secs(86_400));
    store.put(batch(&store.clock, &["after".into()], 86_400)).await;
    assert_eq!(store.logs.days().len(), 2);
    assert_eq!(store.logs.file_offsets().unwrap(), [offset]);
    assert_eq!(seqs(&store.all()), [1, 2]);
    let first = store.logs.days()[0].0;
    store.logs.drop_day(first).unwrap();
    let store = store.restart();
    store.put(batch(&store.clock, &["more".into()], 0)).await;
    assert_eq!(seqs(&store.all()), [2, 3]);
}

#[tokio::test]
async fn offsets_of_files_long_gone_are_not_copied_forward() {
    use std::os::unix::fs::MetadataExt as _;
    let store = Store::new();
    let path = store.folder.path().join("rotated.1");
    std::fs::write(&path, "x").unwrap();
    let metadata = std::fs::metadata(&path).unwrap();
    let offset = |name: &str, inode| FileOffset {
        path: store.folder.path().join(name).display().to_string(),
        device: metadata.dev(),
        inode,
        offset: 1,
        fingerprint: 1,
        ..FileOffset::default()
    };
    // What is no file cannot be gone.
    let journal = FileOffset { path: "journald".into(), cursor: "s=1;i=2".into(), ..FileOffset::default() };
    let (gone, rotated, fresh) = (offset("gone", u64::MAX), offset("rotated", metadata.ino()), offset("fresh", u64::MAX - 1));
    store.logs.ingest(LogBatch::default(), vec![gone, rotated.clone(), journal.clone()]).await.unwrap();
    for _ in 0..15 {
        store.clock.advance(Duration::from_secs(86_400));
        store.logs.ingest(batch(&store.clock, &["x".into()], 0), vec![fresh.clone()]).await.unwrap();
    }
    assert_eq!(store.logs.file_offsets().unwrap(), [rotated, journal, fresh]);
}

#[tokio::test]
async fn a_clock_that_steps_days_ahead_and_back_begins_no_file() {
    let store = Store::new();
    store.put(batch(&store.clock, &["before".into()], 0)).await;
    store.clock.advance(Duration::from_secs(20 * 86_400));
    for _ in 1..engine::PATIENT_ROUNDS {
        store.logs.roll().await;
        store.put(batch(&store.clock, &["ahead".into()], 0)).await;
    }
    assert_eq!(store.logs.days().len(), 1);
    store.logs.roll().await;
    store.put(batch(&store.clock, &["it stays ahead".into()], 0)).await;
    assert_eq!(store.logs.days().len(), 2);
}

#[tokio::test]
async fn the_sequence_survives_the_loss_of_every_earlier_file() {
    let store = Store::new();
    store.put(batch(&store.clock, &["gone".into()], 0)).await;
    store.clock.advance(Duration::from_secs(86_400));
    store.logs.roll().await;
    while store.logs.days().len() < 2 {
        tokio::task::yield_now().await;
    }
    let first = store.logs.days()[0].0;
    store.logs.drop_day(first).unwrap();
    let store = store.restart();
    store.put(batch(&store.clock, &["here".into()], 0)).await;
    assert_eq!(seqs(&store.all()), [2]);
}

#[tokio::test]
async fn records_outside_the_retention_are_refused_one_by_one() {
    let store = Store::new();
    let mut mixed = batch(&store.clock, &["fine".into()], 0);
    mixed.append(&batch(&store.clock, &["old".into()], 31 * 86_400), [0]);
    let accepted = store.put(mixed).await;
    assert_eq!((accepted.accepted, accepted.rejected), (1, 1));
    assert_eq!(accepted.reason, "1 records are older than the retention of logs");
}

#[tokio::test]
async fn a_damaged_block_is_reported_and_the_rest_is_read() {
    let store = Store::new();
    for body in ["one", "two", "three"] {
        store.put(batch(&store.clock, &[body.into()], 0)).await;
    }
    store.logs.close();
    let path = store.logs.0.files.newest().unwrap().readers.path().clone();
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.execute("UPDATE blocks SET data = CAST(substr(data, 1, 80) || 'x' AS BLOB) WHERE first_seq = 2", []).unwrap();
    drop(connection);
    let store = store.restart();
    assert_eq!(seqs(&store.all()), [1, 3]);
    assert_eq!(store.find(&LogFilter::default(), 9).len(), 2);
    assert!(store.logs.0.damaged.get() > 0);
}

#[tokio::test]
async fn a_limit_keeps_the_newest() {
    let store = Store::new();
    for ago in [50, 10, 40, 20, 30] {
        store.put(batch(&store.clock, &[format!("ago {ago}")], ago)).await;
    }
    let bodies: Vec<_> = store.find(&text("ago"), 3).into_iter().map(|record| record.body.as_text().unwrap().to_owned()).collect();
    assert_eq!(bodies, ["ago 10", "ago 20", "ago 30"]);
}

#[tokio::test]
async fn a_day_file_that_was_never_finished_does_not_restart_the_sequence() {
    for migrations in [MIGRATIONS, &[]] {
        let store = Store::new();
        let offset =
            FileOffset { path: "/var/log/a".into(), device: 1, inode: 2, offset: 3, fingerprint: 4, ..FileOffset::default() };
        store.logs.ingest(batch(&store.clock, &["before".into()], 0), vec![offset.clone()]).await.unwrap();
        store.logs.close();
        store.clock.advance(Duration::from_secs(86_400));
        // What a crash, or a disk that is full at midnight, leaves: the next day's file without its first transaction.
        let path = store.logs.0.files.path(store.clock.now().day());
        drop(crate::store::database::open_writer(&path, migrations).unwrap());
        let store = store.restart();
        store.put(batch(&store.clock, &["after".into()], 0)).await;
        assert_eq!(seqs(&store.all()), [1, 2]);
        assert_eq!(store.logs.file_offsets().unwrap(), [offset]);
    }
}

#[tokio::test]
async fn the_sequence_survives_a_trim_of_everything() {
    let store = Store::new();
    store.put(batch(&store.clock, &["one".into(), "two".into()], 0)).await;
    assert!(store.logs.trim_current(u64::MAX).await > 0);
    let store = store.restart();
    store.put(batch(&store.clock, &["three".into()], 0)).await;
    assert_eq!(seqs(&store.all()), [3]);
}

#[tokio::test]
async fn a_block_within_the_range_of_a_merged_one_is_found_once() {
    let store = Store::new();
    store.put(batch(&store.clock, &["first".into()], 100)).await;
    // Too large to be merged, and later in event time than what arrives after it.
    store.put(batch(&store.clock, &["x".repeat(17 << 20)], 10)).await;
    store.put(batch(&store.clock, &["third".into()], 50)).await;
    store.compact_until(|blocks| blocks == 2);
    assert_eq!(seqs(&store.find(&LogFilter::default(), 9)), [2, 3, 1]);
}

#[tokio::test]
async fn small_commits_too_have_their_write_ahead_log_copied() {
    let store = Store::new();
    for round in 0..250 {
        store.put(batch(&store.clock, &[format!("round {round}")], 0)).await;
    }
    let copied = || store.logs.0.shared.wal_bytes.get() > 0.0;
    for _ in 0..2_000 {
        if copied() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    panic!("the checkpointer was never rung");
}

#[tokio::test]
async fn what_is_remembered_of_blocks_follows_every_change_of_the_files() {
    let store = Store::new();
    let count = || store.logs.stats().unwrap().records;
    assert_eq!(count(), 0);
    for round in 0..40_u64 {
        store.put(batch(&store.clock, &[format!("round {round}")], round)).await;
        assert_eq!(count(), round + 1);
    }
    store.check_outlines();
    store.compact_until(|blocks| blocks <= 6);
    while store.logs.0.files.newest().unwrap().with_outlines(|outlines| outlines.blocks().count()).unwrap() > 6 {
        tokio::task::yield_now().await;
    }
    store.check_outlines();
    assert_eq!(count(), 40);
    assert_eq!(store.logs.services().unwrap(), ["api"]);
    store.clock.advance(Duration::from_secs(86_400));
    store.put(batch(&store.clock, &["after".into()], 0)).await;
    assert_eq!(count(), 41);
    store.logs.trim_current(1).await;
    store.check_outlines();
    assert_eq!(count(), 40);
    store.logs.drop_day(store.logs.days()[0].0).unwrap();
    assert_eq!(count(), 0);
}

#[tokio::test]
async fn a_search_over_interleaved_blocks_holds_few_of_them_and_finds_all() {
    let store = Store::new();
    for round in 0..12_u64 {
        let mut mixed = LogBatch::default();
        for row in 0..50 {
            mixed.append(&batch(&store.clock, &["x".repeat(100)], 12 * row + round), [0]);
        }
        store.put(mixed).await;
    }
    let bound = 40_000;
    let mut search = store.logs.search(&LogFilter::default(), 1_000_000).unwrap().holding(bound);
    let mut records = Vec::new();
    while let Some(more) = search.step().unwrap() {
        assert!(search.held_bytes() <= bound, "{}", search.held_bytes());
        records.extend(more);
    }
    assert_eq!(records.len(), 600);
    assert!(records.is_sorted_by_key(|record| std::cmp::Reverse(record.timestamp)));
    assert_eq!(records, store.find(&LogFilter::default(), 1_000_000));
}

#[tokio::test]
async fn a_block_of_more_services_than_are_remembered_is_searched_for_each() {
    let store = Store::new();
    let mut many = LogBatch::default();
    for number in 0..400 {
        let resource = many.resource(vec![(keys::SERVICE_NAME.into(), format!("service {number:03}").as_str().into())]);
        many.push(&RecordHead { resource, ..RecordHead::default() }, ValueRef::Text("one"));
    }
    store.put(many).await;
    let filter = LogFilter { services: vec!["service 399".into()], ..LogFilter::default() };
    assert_eq!(store.find(&filter, 9).len(), 1);
    assert_eq!(store.logs.services().unwrap().len(), 400);
    store.check_outlines();
}

#[tokio::test]
async fn a_closed_day_keeps_one_reader_open() {
    let store = Store::new();
    for _ in 0..3 {
        store.put(batch(&store.clock, &["x".into()], 0)).await;
        store.clock.advance(Duration::from_secs(86_400));
    }
    let files = store.logs.0.files.all();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| files.iter().for_each(|file| drop(file.readers.read(DayFile::infos).unwrap())));
        }
    });
    assert!(files[..2].iter().all(|file| file.readers.idle() <= 1));
    assert_eq!(store.restart().find(&text("x"), 9).len(), 3);
}

/// Changes a byte of what `sql` selects, in the newest file itself.
fn damage_on_disk(store: &Store, sql: &str) {
    let path = store.logs.0.files.newest().unwrap().readers.path();
    let connection = rusqlite::Connection::open(&path).unwrap();
    let stored: Vec<u8> = connection.query_row(sql, [], |row| row.get(0)).unwrap();
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(connection);
    let mut file = std::fs::read(&path).unwrap();
    let places = file.windows(stored.len()).enumerate().filter(|(_, window)| *window == stored).map(|(place, _)| place);
    for place in places.collect::<Vec<_>>() {
        file[place + stored.len() - 3] ^= 4;
    }
    std::fs::write(&path, file).unwrap();
}

#[tokio::test]
async fn bytes_that_have_changed_on_disk_are_noticed_and_the_rest_is_read() {
    let store = Store::new();
    for (body, ago) in [("one", 300), ("two", 200), ("three", 100)] {
        store.put(batch(&store.clock, &[body.into()], ago)).await;
    }
    let counts = store.scanned(0, u64::MAX);
    store.logs.close();
    damage_on_disk(&store, "SELECT data FROM blocks WHERE first_seq = 2");
    damage_on_disk(&store, "SELECT data FROM summaries WHERE first_seq = 3");
    let store = store.restart();
    assert_eq!(seqs(&store.all()), [1, 3]);
    // One is counted by its summary, the other by its block.
    let damaged = store.logs.0.damaged.get();
    assert_eq!(store.counts(0, u64::MAX), counts);
    assert_eq!(store.logs.0.damaged.get(), damaged + 1);
    // Merging leaves the damaged block where it is, and everything else as it was.
    for round in 0..20 {
        store.put(batch(&store.clock, &[format!("round {round}")], round)).await;
    }
    let before = store.all();
    store.compact_until(|blocks| blocks <= 5);
    assert_eq!(store.all(), before);
}

/// Stores records of two services on one day, and one of each on the next two; of `debug`, those of the first day have then expired.
async fn with_expired_records(store: &Store) -> Vec<LogRecord> {
    store.logs.keep_services(BTreeMap::from([("debug".to_owned(), Duration::from_secs(86_400))]));
    for round in 0..30 {
        store.put(batch(&store.clock, &[format!("kept {round}")], round)).await;
        store.put(batch_of("debug", &store.clock, &[format!("expired {round}"), "x".repeat(100)], round)).await;
    }
    for _ in 0..2 {
        store.clock.advance(Duration::from_secs(86_400));
        store.put(batch(&store.clock, &["kept".into()], 0)).await;
        store.put(batch_of("debug", &store.clock, &["recent".into()], 0)).await;
    }
    store.read_all().into_iter().filter(|record| !(record.seq.parse::<u64>().unwrap() <= 90 && is_of(record, "debug"))).collect()
}

fn is_of(record: &LogRecord, service: &str) -> bool {
    record.resource.iter().any(|(_, value)| value.as_text() == Some(service))
}

/// Rings the compactor until the oldest file has been written anew.
fn until_rewritten(store: &Store) {
    let file = store.logs.0.files.all().swap_remove(0);
    for _ in 0..5_000 {
        let _ = store.logs.0.shared.wake_compactor.try_send(());
        if file.readers.path().to_string_lossy().ends_with(".1.db") {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    panic!("the file was not written anew");
}

#[tokio::test]
async fn records_of_a_service_expire_when_their_day_is_closed() {
    let store = Store::new();
    let expected = with_expired_records(&store).await;
    until_rewritten(&store);
    store.logs.0.shared.recent.forget();
    assert_eq!((expected.len(), store.all()), (34, expected.clone()));
    assert_eq!(store.find(&text("recent"), 99).len(), 2);
    assert!(store.find(&text("expired"), 99).is_empty());
    assert_eq!(store.counts(0, u64::MAX), store.scanned(0, u64::MAX));
    assert_eq!(store.logs.stats().unwrap().records, 34);
    store.check_outlines();
    let names = |store: &Store| {
        let files = std::fs::read_dir(store.folder.path().join("logs")).unwrap();
        let names = files.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names
            .filter(|name| std::path::Path::new(name).extension().is_some_and(|extension| extension == "db"))
            .collect::<std::collections::BTreeSet<_>>()
            .len()
    };
    assert_eq!(names(&store), 4);
    // The old file is left for those who had just begun to read it; the next start deletes it at the latest.
    let store = store.restart();
    assert_eq!((names(&store), store.all()), (3, expected));
    let first = store.logs.days()[0].0;
    store.logs.drop_day(first).unwrap();
    assert_eq!((names(&store), store.all().len()), (2, 4));
}

#[tokio::test]
async fn a_search_goes_on_while_a_file_is_written_anew() {
    let store = Store::new();
    let expected = with_expired_records(&store).await;
    let mut search = store.logs.search(&text("kept"), 99).unwrap();
    let mut found = search.step().unwrap().unwrap();
    until_rewritten(&store);
    while let Some(more) = search.step().unwrap() {
        found.extend(more);
    }
    assert_eq!(found.len(), expected.iter().filter(|record| is_of(record, "api")).count());
}

#[tokio::test]
async fn the_sequence_survives_the_expiry_of_the_last_records() {
    let store = Store::new();
    store.logs.keep_services(BTreeMap::from([("debug".to_owned(), Duration::from_secs(86_400))]));
    store.put(batch(&store.clock, &["kept".into()], 0)).await;
    store.put(batch_of("debug", &store.clock, &["expired".into(), "too".into()], 0)).await;
    store.clock.advance(Duration::from_secs(2 * 86_400));
    // What a crash at midnight leaves: a file without its first transaction, so that the one before it counts.
    for _ in 0..engine::PATIENT_ROUNDS {
        store.logs.roll().await;
    }
    store.put(LogBatch::default()).await;
    until_rewritten(&store);
    let newest = store.logs.0.files.newest().unwrap().readers.path();
    store.logs.close();
    rusqlite::Connection::open(newest).unwrap().execute("DELETE FROM start", []).unwrap();
    let store = store.restart();
    store.put(batch(&store.clock, &["next".into()], 0)).await;
    assert_eq!(seqs(&store.all()), [1, 4]);
}

#[tokio::test]
async fn a_summary_that_is_damaged_or_missing_is_counted_from_its_block() {
    let store = Store::new();
    for (body, ago) in [("one", 300), ("two", 200), ("three", 100)] {
        store.put(batch(&store.clock, &[body.into()], ago)).await;
    }
    let expected = store.scanned(0, u64::MAX);
    assert_eq!((expected.len(), &store.counts(0, u64::MAX)), (3, &expected));
    assert_eq!(store.execute("UPDATE summaries SET data = CAST(data || 'x' AS BLOB) WHERE first_seq = 2"), 1);
    assert_eq!(store.counts(0, u64::MAX), expected);
    assert_eq!(store.logs.0.damaged.get(), 1);
    assert_eq!(store.execute("DELETE FROM summaries WHERE first_seq = 1"), 1);
    assert_eq!(store.counts(0, u64::MAX), expected);
    assert_eq!(store.logs.0.damaged.get(), 2);
}

#[tokio::test]
async fn a_closed_file_of_a_version_without_summaries_is_counted_all_the_same() {
    let store = Store::new();
    store.put(batch(&store.clock, &["one".into(), "two".into()], 0)).await;
    let before = store.clock.now();
    store.execute("DROP TABLE summaries");
    store.execute("PRAGMA user_version = 3");
    store.clock.advance(Duration::from_secs(86_400));
    store.put(batch(&store.clock, &["three".into()], 0)).await;
    assert_eq!(store.logs.days().len(), 2);
    assert_eq!(store.counts(0, u64::MAX).into_values().sum::<u64>(), 3);
    assert_eq!(store.counts(before.as_nanos() + 60_000_000_000, u64::MAX).into_values().sum::<u64>(), 1);
}

#[tokio::test]
async fn a_block_that_is_deleted_takes_its_summary_along() {
    let store = Store::new();
    for round in 0..20 {
        store.put(batch(&store.clock, &[format!("round {round}")], round)).await;
    }
    store.compact_until(|blocks| blocks <= 4);
    store.logs.trim_current(u64::MAX).await;
    let left =
        |connection: &rusqlite::Connection| connection.query_row("SELECT count(*) FROM summaries", [], |row| row.get::<_, i64>(0));
    assert_eq!(store.logs.0.files.newest().unwrap().readers.read(left).unwrap(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn stored_records_read_back_equal_and_search_agrees_with_a_plain_scan(
        batches in proptest::collection::vec(super::block::tests::batches(), 1..5),
        word in "[a-dX0-9]{1,2}",
        limit in 1..30_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let store = Store::new();
        let mut expected = Vec::new();
        for mut batch in batches {
            let base = store.clock.now().as_nanos() - 100_000_000_000_000;
            for (row, time) in batch.time.iter_mut().enumerate() {
                *time = base + *time % 150_000_000_000_000 + row as u64;
            }
            for observed in &mut batch.observed {
                *observed = base + *observed % 1_000;
            }
            for row in 0..batch.len() {
                expected.push(LogRecord { seq: (expected.len() + 1).to_string(), ..batch.record(row) });
            }
            runtime.block_on(store.put(batch));
        }
        let base = store.clock.now().as_nanos();
        for (since, until) in [(0, u64::MAX), (base - 50_000_000_000_000, base), (base, 0)] {
            prop_assert_eq!(store.counts(since, until), store.scanned(since, until));
        }
        prop_assert_eq!(store.all(), expected.clone());
        let filter = LogFilter { text: word, level: Some(Severity(3)), ..LogFilter::default() };
        let matcher = matcher::Matcher::new(&filter);
        let mut found: Vec<_> = expected
            .into_iter()
            .filter(|record| {
                let mut one = LogBatch::default();
                one.push_record(record);
                matcher.matches(&one, 0)
            })
            .collect();
        found.sort_by_key(|record| std::cmp::Reverse((record.timestamp, record.seq.parse::<u64>().unwrap())));
        found.truncate(limit);
        prop_assert_eq!(&store.find(&filter, limit), &found);
        for bytes in [0, 1_000] {
            prop_assert_eq!(&store.logs.search(&filter, limit).unwrap().holding(bytes).all().unwrap(), &found);
        }
    }
}
