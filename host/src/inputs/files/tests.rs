//! Scripts that do to a file what loggers and logrotate do, and look at what comes out. No sleeping: every look is a call.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::tz::TimeZone;
use parking_lot::Mutex;
use proptest::prelude::*;
use tempfile::TempDir;
use watchfire_types::{LogBatch, LogRecord, Timestamp};

use super::tail::{LINGER, Step, Tail};
use super::*;
use crate::logs::FileOffset;
use crate::store::{Accepted, StoreError};

/// A file, whoever follows it, and what has been stored.
struct Stage {
    folder: TempDir,
    tail: Tail,
    now: Timestamp,
    stored: Vec<FileOffset>,
    lines: Vec<String>,
    records: Vec<LogRecord>,
    from_beginning: bool,
}

impl Stage {
    fn new(from_beginning: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut stage = Self {
            tail: Tail::new(FileInput { path: PathBuf::new(), service: None, from_beginning }, None, TimeZone::UTC, &[]),
            folder,
            now: Timestamp::from_seconds(1_795_392_600),
            stored: Vec::new(),
            lines: Vec::new(),
            records: Vec::new(),
            from_beginning,
        };
        stage.restart();
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn append(&self, name: &str, text: &str) {
        OpenOptions::new().create(true).append(true).open(self.path(name)).unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    /// What `kill -9` and a new start do: only what was stored is left.
    fn restart(&mut self) {
        let input = FileInput { path: self.path("log"), service: None, from_beginning: self.from_beginning };
        self.tail = Tail::new(input, None, TimeZone::UTC, &self.stored);
    }

    fn store(&mut self, pending: &super::tail::Pending) {
        for row in 0..pending.batch.len() {
            let record = pending.batch.record(row);
            self.lines.push(record.body.as_ref().display());
            self.records.push(record);
        }
        for offset in &pending.offsets {
            self.stored.retain(|known| (known.device, known.inode) != (offset.device, offset.inode));
            self.stored.push(offset.clone());
        }
    }

    fn look(&mut self) -> &mut Self {
        for _ in 0..1_000 {
            let Step::Batch(pending) = self.tail.step(self.now) else { return self };
            self.store(&pending);
            self.tail.commit(&pending);
        }
        panic!("it never comes to rest");
    }

    fn wait(&mut self, duration: Duration) -> &mut Self {
        self.now = self.now.plus(duration);
        self
    }
}

#[test]
fn a_file_that_is_there_is_followed_from_its_end_and_a_new_one_from_its_beginning() {
    let mut stage = Stage::new(false);
    stage.append("log", "old\n");
    stage.look().append("log", "new\n");
    assert_eq!(stage.look().lines, ["new"]);

    let mut stage = Stage::new(false);
    stage.look();
    assert_eq!(stage.tail.status().state, FileState::Missing);
    stage.append("log", "first\n");
    assert_eq!(stage.look().lines, ["first"]);
    assert_eq!(stage.tail.status().state, FileState::Following);
    assert_eq!((stage.tail.status().offset, stage.tail.status().size), (6, 6));
}

#[test]
fn a_line_waits_for_its_end() {
    let mut stage = Stage::new(true);
    stage.append("log", "one\r\n\n\ntw");
    assert_eq!(stage.look().lines, ["one"]);
    stage.append("log", "o\nthree");
    assert_eq!(stage.wait(Duration::from_secs(600)).look().lines, ["one", "two"]);
}

#[test]
fn what_is_written_while_the_host_is_down_is_read_though_no_line_was_ever_stored() {
    let mut stage = Stage::new(false);
    stage.append("log", "old\n");
    stage.look().restart();
    stage.append("log", "meanwhile\n");
    assert_eq!(stage.look().lines, ["meanwhile"]);
}

#[test]
fn a_refused_batch_is_read_again() {
    let mut stage = Stage::new(true);
    stage.append("log", "one\ntwo\n");
    for _ in 0..3 {
        assert!(matches!(stage.tail.step(stage.now), Step::Batch(_)));
    }
    assert_eq!(stage.look().lines, ["one", "two"]);
}

#[test]
fn a_batch_that_was_stored_but_not_noted_is_not_read_twice_after_a_restart() {
    let mut stage = Stage::new(true);
    stage.append("log", "one\n");
    let Step::Batch(pending) = stage.tail.step(stage.now) else { panic!("there is a line") };
    stage.store(&pending);
    stage.restart();
    stage.append("log", "two\n");
    assert_eq!(stage.look().lines, ["one", "two"]);
}

#[test]
fn a_renamed_file_is_read_to_its_end_before_the_new_one() {
    let mut stage = Stage::new(true);
    stage.append("log", "1\n");
    stage.look().append("log", "2\n");
    stage.rename("log", "log.1");
    stage.append("log.1", "3\n");
    stage.append("log", "4\n");
    assert_eq!(stage.look().lines, ["1", "2", "3", "4"]);
    // Its writer has not noticed yet.
    stage.append("log.1", "5\n6 without an end");
    assert_eq!(stage.wait(Duration::from_secs(5)).look().lines[4..], ["5"]);
    stage.wait(LINGER * 2).look().append("log.1", "too late\n");
    assert_eq!(stage.wait(LINGER * 2).look().lines[5..], ["6 without an end", "too late"]);
    assert_eq!(stage.wait(LINGER * 4).look().lines.len(), 7);
    stage.append("log.1", "nobody listens\n");
    assert_eq!(stage.look().lines.len(), 7);
}

#[test]
fn a_file_that_was_rotated_while_the_host_was_down_is_found_by_its_inode() {
    let mut stage = Stage::new(true);
    stage.append("log", "1\n2\n");
    stage.look().append("log", "3\n");
    stage.rename("log", "log.1");
    stage.append("log", "4\n");
    stage.rename("log", "log.0");
    stage.rename("log.1", "log.2");
    stage.append("log", "5\n");
    stage.restart();
    // `log.0` came and went unseen; nothing says that it belongs here.
    assert_eq!(stage.look().lines, ["1", "2", "3", "5"]);
}

#[test]
fn a_restart_between_rotation_and_the_end_of_the_old_file_loses_nothing() {
    let mut stage = Stage::new(true);
    stage.append("log", "1\n");
    stage.look().rename("log", "log.1");
    stage.append("log", "2\n");
    stage.look().append("log.1", "late\n");
    stage.restart();
    stage.append("log", "3\n");
    assert_eq!(stage.look().lines, ["1", "2", "late", "3"]);
}

#[test]
fn a_truncated_file_is_read_from_its_beginning_and_its_copy_to_the_end() {
    let long = "x".repeat(100);
    let mut stage = Stage::new(true);
    stage.append("log", &format!("{long}\n1\n"));
    stage.look().append("log", "2\n");
    // logrotate's copytruncate.
    fs::copy(stage.path("log"), stage.path("log.1")).unwrap();
    fs::write(stage.path("log"), "").unwrap();
    stage.append("log", "3\n");
    assert_eq!(stage.look().lines, [&long, "1", "2", "3"]);
    stage.restart();
    stage.append("log", "4\n");
    assert_eq!(stage.look().lines[4..], ["4"]);
}

#[test]
fn a_file_written_anew_beyond_its_old_length_is_noticed() {
    let mut stage = Stage::new(true);
    stage.append("log", "aaaa\n");
    stage.look();
    fs::write(stage.path("log"), "bbbb\ncccc\n").unwrap();
    assert_eq!(stage.look().lines, ["aaaa", "bbbb", "cccc"]);
    fs::write(stage.path("log"), "dddd\neeee\nffff\n").unwrap();
    stage.restart();
    assert_eq!(stage.look().lines[3..], ["dddd", "eeee", "ffff"]);
}

#[test]
fn a_deleted_file_is_followed_again_when_it_is_back() {
    let mut stage = Stage::new(false);
    stage.append("log", "");
    stage.look().append("log", "1\n");
    stage.look();
    fs::remove_file(stage.path("log")).unwrap();
    stage.look().append("log", "2\n");
    assert_eq!(stage.look().lines, ["1", "2"]);
}

#[test]
fn what_is_not_a_regular_file_is_refused_with_a_reason() {
    let mut stage = Stage::new(true);
    fs::create_dir(stage.path("log")).unwrap();
    stage.look();
    assert_eq!(stage.tail.status().state, FileState::Failed);
    assert!(stage.tail.status().detail.contains("not a regular file"), "{}", stage.tail.status().detail);
    fs::remove_dir(stage.path("log")).unwrap();
    stage.append("log", "1\n");
    assert_eq!(stage.look().lines, ["1"]);
}

const TRACEBACK: &str = "Traceback (most recent call last):\n  File \"/app/a.py\", line 1, in f\n    g()\nKeyError: 1\n";

#[test]
fn a_stack_trace_is_one_record_with_the_line_that_announces_it() {
    let mut stage = Stage::new(true);
    stage.append("log", &format!("INFO start\nERROR sync failed\n{TRACEBACK}INFO go on\n"));
    assert_eq!(
        stage.look().lines,
        ["INFO start".to_owned(), format!("ERROR sync failed\n{}", TRACEBACK.trim_end()), "INFO go on".to_owned()]
    );
    assert_eq!(stage.records[1].severity_number, 17);
}

#[test]
fn half_a_stack_trace_waits_for_the_rest_and_not_for_ever() {
    let mut stage = Stage::new(true);
    let (head, rest) = TRACEBACK.split_at(TRACEBACK.find("    g()").unwrap());
    stage.append("log", &format!("INFO start\n{head}"));
    assert_eq!(stage.look().lines, ["INFO start"]);
    stage.append("log", rest);
    assert_eq!(stage.look().lines, ["INFO start", TRACEBACK.trim_end()]);
    stage.append("log", head);
    assert_eq!(stage.look().lines.len(), 2);
    assert_eq!(stage.look().lines.last().unwrap(), head.trim_end());
    assert_eq!(stage.tail.status().offset, stage.tail.status().size);
}

#[test]
fn a_line_that_is_too_long_comes_in_pieces() {
    let mut stage = Stage::new(true);
    let long = "é".repeat(300_000);
    stage.append("log", &format!("{long}\nnext\n"));
    stage.look();
    assert_eq!(stage.lines[..stage.lines.len() - 1].concat(), long);
    assert_eq!(stage.lines.len(), 4);
    let marked: Vec<bool> =
        stage.records.iter().map(|record| record.attributes.iter().any(|(key, _)| key == "truncated")).collect();
    assert_eq!(marked, [true, true, true, false]);
}

#[test]
fn lines_become_records_with_their_prefix_their_file_and_their_service() {
    let mut stage = Stage::new(true);
    fs::write(
        stage.path("log"),
        b"Nov 22 23:44:07 web1 sshd[7]: error: no\n{\"level\":\"warn\",\"msg\":\"json\",\"k\":1}\n{not json}\n\0\0\0bytes \xff\n",
    )
    .unwrap();
    stage.look();
    assert_eq!(stage.lines, ["error: no", "json", "{not json}", "bytes \u{fffd}"]);
    let first = serde_json::to_value(&stage.records[0]).unwrap();
    assert_eq!(first["resource"], serde_json::json!({"service.name": "sshd", "host.name": "web1"}));
    assert_eq!(first["severity_number"], 17);
    assert_eq!(first["timestamp"], "2026-11-22T23:44:07Z");
    assert_eq!(first["attributes"]["process.pid"], 7);
    assert_eq!(first["attributes"]["log.file.path"], stage.path("log").to_string_lossy().as_ref());
    let second = serde_json::to_value(&stage.records[1]).unwrap();
    assert_eq!(second["resource"], serde_json::json!({"service.name": "log"}));
    assert_eq!(second["attributes"]["k"], 1);
}

/// What happens to a file in the law below.
#[derive(Clone, Debug)]
enum Event {
    Lines(usize),
    Half,
    Look,
    Rotate,
    Restart,
    Crash,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0_usize..4).prop_map(Event::Lines),
        1 => Just(Event::Half),
        3 => Just(Event::Look),
        1 => Just(Event::Rotate),
        1 => Just(Event::Restart),
        1 => Just(Event::Crash),
    ]
}

/// Lines of logs and of stack traces, in any order and in pieces.
fn scraps() -> impl Strategy<Value = Vec<Vec<&'static str>>> {
    let line = prop_oneof![
        Just("INFO fine"),
        Just("ERROR failed"),
        Just("Traceback (most recent call last):"),
        Just("  File \"/app/a.py\", line 1, in f"),
        Just("KeyError: 1"),
        Just("java.io.IOException: x"),
        Just("\tat a.B.c(D.java:1)"),
        Just("panic: x"),
        Just("goroutine 1 [running]:"),
        Just("main.f(0x1)"),
    ];
    proptest::collection::vec(proptest::collection::vec(line, 1..8), 1..8)
}

proptest! {
    #[test]
    fn lines_that_are_joined_are_there_once_and_in_order(pieces in scraps(), restarts in proptest::collection::vec(any::<bool>(), 8)) {
        let mut stage = Stage::new(true);
        for (piece, restart) in pieces.iter().zip(restarts) {
            stage.append("log", &(piece.join("\n") + "\n"));
            stage.look();
            if restart {
                stage.restart();
            }
        }
        stage.look().look();
        let written: Vec<&str> = pieces.iter().flatten().copied().collect();
        let stored: Vec<&str> = stage.lines.iter().flat_map(|record| record.lines()).collect();
        prop_assert_eq!(stored, written);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn whatever_happens_each_line_is_there_once_and_in_order(events in proptest::collection::vec(event(), 1..40)) {
        let mut stage = Stage::new(true);
        stage.append("log", "");
        stage.look();
        let mut written = 0;
        let mut rotations = 0;
        for event in events {
            match event {
                Event::Lines(count) => for _ in 0..count {
                    stage.append("log", &format!("line {written}\n"));
                    written += 1;
                },
                Event::Half => {
                    stage.append("log", "line ");
                    stage.look();
                    stage.append("log", &format!("{written}\n"));
                    written += 1;
                }
                Event::Look => { stage.look(); }
                Event::Rotate => {
                    // A file that comes and goes between two looks cannot be known; each is seen once.
                    stage.look();
                    rotations += 1;
                    stage.rename("log", &format!("log.{rotations}"));
                    stage.append("log", "");
                }
                Event::Restart => {
                    stage.restart();
                    stage.look();
                }
                Event::Crash => {
                    if let Step::Batch(pending) = stage.tail.step(stage.now) {
                        stage.store(&pending);
                    }
                    stage.restart();
                    stage.look();
                }
            }
        }
        stage.look();
        let expected: Vec<String> = (0..written).map(|number| format!("line {number}")).collect();
        prop_assert_eq!(&stage.lines, &expected);
    }
}

/// A sink that is busy the first time.
#[derive(Default)]
struct Sink {
    lines: Mutex<Vec<String>>,
    refused: Mutex<bool>,
    arrived: Notify,
}

struct Shared(Arc<Sink>);

impl LogSink for Shared {
    fn ingest(&self, batch: LogBatch, offsets: Vec<FileOffset>) -> BoxFuture<'_, Result<Accepted, IngestError>> {
        Box::pin(async move {
            assert_eq!(offsets.len(), 1);
            if !std::mem::replace(&mut *self.0.refused.lock(), true) {
                return Err(IngestError::Busy { reason: "a test".to_owned(), retry_after: Duration::ZERO });
            }
            self.0.lines.lock().extend((0..batch.len()).map(|row| batch.record(row).body.as_ref().display()));
            self.0.arrived.notify_one();
            Ok(Accepted { accepted: batch.len() as u64, ..Accepted::default() })
        })
    }

    fn file_offsets(&self) -> Result<Vec<FileOffset>, StoreError> {
        Ok(Vec::new())
    }
}

#[tokio::test]
async fn a_followed_file_arrives_and_a_busy_store_only_delays_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    fs::write(&path, "one\ntwo\n").unwrap();
    let sink = Arc::new(Sink::default());
    let (statuses, self_metrics, shutdown) = (FileStatuses::default(), SelfMetrics::default(), CancellationToken::new());
    let input = FileInput { path: path.clone(), service: None, from_beginning: true };
    let following = tokio::spawn(follow(
        vec![input],
        Arc::new(Shared(Arc::clone(&sink))),
        statuses.clone(),
        Clock::system(),
        self_metrics.clone(),
        shutdown.clone(),
    ));
    sink.arrived.notified().await;
    assert_eq!(*sink.lines.lock(), ["one", "two"]);
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"three\n").unwrap();
    sink.arrived.notified().await;
    assert_eq!(*sink.lines.lock(), ["one", "two", "three"]);
    shutdown.cancel();
    following.await.unwrap();
    assert_eq!(self_metrics.counter("watchfire_input_bytes_total", &[("input", "file")]).get(), 14);
    assert_eq!(statuses.snapshot().len(), 1);
}
