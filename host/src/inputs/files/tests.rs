//! Scripts that do to a file what loggers and logrotate do, and look at what comes out. No sleeping: every look is a call.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::tz::TimeZone;
use parking_lot::Mutex;
use proptest::prelude::*;
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use watchfire_types::{LogBatch, LogRecord, Timestamp};

use super::follow::{Following, follow};
use super::positions::Positions;
use super::tail::{Step, Tail, World};
use super::*;
use crate::clock::Clock;
use crate::config::Multiline;
use crate::inputs::LogSink;
use crate::inputs::formats::Format;
use crate::inputs::testing::Shouting;
use crate::logs::FileOffset;
use crate::store::{Accepted, IngestError, StoreError};
use crate::telemetry::SelfMetrics;

/// A file, whoever follows it, and what has been stored.
pub(super) struct Stage {
    folder: TempDir,
    pub(super) tail: Tail,
    pub(super) now: Timestamp,
    stored: Vec<FileOffset>,
    pub(super) lines: Vec<String>,
    records: Vec<LogRecord>,
    input: FileInput,
    ticks: std::sync::atomic::AtomicU64,
}

/// Returns a tail of `path` that goes on from `stored`.
fn tail(input: FileInput, path: PathBuf, stored: &[FileOffset]) -> Tail {
    let world = World { host: None, zone: TimeZone::UTC, positions: Positions::new(stored), scratch: std::env::temp_dir() };
    let from_beginning = input.from_beginning;
    Tail::new(path, Arc::new(Input::new(input).unwrap()), world, stored, from_beginning)
}

impl Stage {
    pub(super) fn new(from_beginning: bool) -> Self {
        Self::with(FileInput { from_beginning, ..FileInput::default() })
    }

    fn with(input: FileInput) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut stage = Self {
            tail: tail(FileInput::at("/nowhere"), PathBuf::new(), &[]),
            folder,
            now: Timestamp::from_seconds(1_795_392_600),
            stored: Vec::new(),
            lines: Vec::new(),
            records: Vec::new(),
            input,
            ticks: std::sync::atomic::AtomicU64::new(0),
        };
        stage.restart();
        stage
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn append(&self, name: &str, text: &str) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.path(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        // Later than the last one, as it is where writing takes longer than in a test.
        let ticks = self.ticks.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1_795_392_600 + ticks)).unwrap();
    }

    pub(super) fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    /// What `kill -9` and a new start do: only what was stored is left.
    pub(super) fn restart(&mut self) {
        let input = FileInput { paths: vec![self.path("log")], ..self.input.clone() };
        self.tail = tail(input, self.path("log"), &self.stored);
    }

    pub(super) fn store(&mut self, pending: &super::tail::Pending) {
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

    pub(super) fn look(&mut self) -> &mut Self {
        for _ in 0..1_000 {
            let Step::Batch(pending) = self.tail.step(self.now, self.elapsed()) else { return self };
            self.store(&pending);
            self.tail.commit(&pending);
        }
        panic!("it never comes to rest");
    }

    /// Waits until nothing may grow any more.
    fn finish(&mut self) -> &mut Self {
        for _ in 0..100 {
            let before = self.lines.len();
            if self.look().wait(Duration::from_secs(2)).look().lines.len() == before {
                break;
            }
        }
        self
    }

    pub(super) fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.now.as_nanos())
    }

    pub(super) fn wait(&mut self, duration: Duration) -> &mut Self {
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
        let Step::Batch(pending) = stage.tail.step(stage.now, stage.elapsed()) else { panic!("there are lines") };
        assert_eq!(pending.batch.len(), 2);
        // The next one is read before it is known that this one is lost.
        assert!(matches!(stage.tail.step(stage.now, stage.elapsed()), Step::Idle));
        stage.tail.rewind(&pending);
    }
    assert_eq!(stage.look().lines, ["one", "two"]);
}

#[test]
fn a_batch_that_was_stored_but_not_noted_is_not_read_twice_after_a_restart() {
    let mut stage = Stage::new(true);
    stage.append("log", "one\n");
    let Step::Batch(pending) = stage.tail.step(stage.now, stage.elapsed()) else { panic!("there is a line") };
    stage.store(&pending);
    stage.restart();
    stage.append("log", "two\n");
    assert_eq!(stage.look().lines, ["one", "two"]);
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
    // Another one may follow that this was the cause of.
    assert_eq!(stage.look().lines.len(), 1);
    assert_eq!(stage.wait(Multiline::TRACE_TIMEOUT).look().lines, ["INFO start", TRACEBACK.trim_end()]);
    stage.append("log", head);
    assert_eq!(stage.look().lines.len(), 2);
    assert_eq!(stage.wait(Multiline::TRACE_TIMEOUT).look().lines.last().unwrap(), head.trim_end());
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
    let path = stage.path("log").to_string_lossy().into_owned();
    assert_eq!(first["resource"], serde_json::json!({"service.name": "sshd", "host.name": "web1", "log.file.path": path}));
    assert_eq!(first["severity_number"], 17);
    assert_eq!(first["timestamp"], "2026-11-22T23:44:07Z");
    assert_eq!(first["attributes"]["process.pid"], 7);
    let second = serde_json::to_value(&stage.records[1]).unwrap();
    assert_eq!(second["resource"], serde_json::json!({"service.name": "log", "log.file.path": path}));
    assert_eq!(second["attributes"]["k"], 1);
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
        stage.look().finish();
        let written: Vec<&str> = pieces.iter().flatten().copied().collect();
        let stored: Vec<&str> = stage.lines.iter().flat_map(|record| record.lines()).collect();
        prop_assert_eq!(stored, written);
    }
}

#[test]
fn a_file_at_rest_is_opened_again_when_it_changes() {
    let mut stage = Stage::new(true);
    stage.append("log", "1\nhalf");
    stage.look().tail.rest();
    assert_eq!(stage.tail.open_files(), 0);
    assert_eq!(stage.look().tail.open_files(), 0);
    stage.append("log", " a line\n");
    assert_eq!(stage.look().lines, ["1", "half a line"]);
    stage.tail.rest();
    stage.rename("log", "log.1");
    stage.append("log", "2\n");
    stage.append("log.1", "late\n");
    assert_eq!(stage.look().lines[2..], ["late", "2"]);
}

#[test]
fn what_is_compressed_is_left_alone() {
    let mut stage = Stage::new(true);
    fs::write(stage.path("log"), b"\x1f\x8b\x08\0\0\n\n").unwrap();
    assert!(stage.look().lines.is_empty());
    assert_eq!(stage.tail.status().state, FileState::Skipped);
    assert!(stage.tail.status().detail.contains("gzip"));
}

#[test]
fn lines_of_containers_are_put_together_stream_by_stream() {
    let mut stage = Stage::new(true);
    let at = "2026-11-24T05:37:20.123456789Z";
    let lines = [
        format!("{at} stderr F ERROR cannot pay"),
        format!("{at} stdout P half a"),
        format!("{at} stderr F java.io.IOException: closed"),
        format!("{at} stdout F  line"),
        format!("{at} stderr F \tat a.B.c(D.java:1)"),
        format!("{at} stdout F {{\"level\":\"warn\",\"msg\":\"nested\"}}"),
        format!("{at} stderr F \t... 12 more"),
        format!("{at} stdout F after"),
        format!("{at} stderr F INFO all is well"),
    ];
    for line in &lines {
        stage.append("log", &format!("{line}\n"));
        stage.look();
    }
    let trace = "ERROR cannot pay\njava.io.IOException: closed\n\tat a.B.c(D.java:1)\n\t... 12 more";
    assert_eq!(stage.finish().lines, [trace, "half a line", "nested", "after", "INFO all is well"]);
    let record = serde_json::to_value(&stage.records[0]).unwrap();
    assert_eq!((&record["attributes"]["log.iostream"], &record["timestamp"]), (&"stderr".into(), &at.into()));
    assert_eq!(stage.records[2].severity_number, 13);
}

#[test]
fn lines_of_docker_are_put_together_too() {
    let mut stage = Stage::new(true);
    let line = |text: &str, stream: &str| {
        let text = serde_json::to_string(text).unwrap();
        format!("{{\"log\":{text},\"stream\":\"{stream}\",\"time\":\"2026-11-24T05:37:20.5Z\"}}\n")
    };
    stage.append("log", &(line("long ", "stdout") + &line("e\"r\n", "stderr") + &line("li", "stdout") + &line("ne\n", "stdout")));
    assert_eq!(stage.finish().lines, ["long line", "e\"r"]);
}

#[test]
fn patterns_of_ones_own_say_what_is_one_record() {
    let multiline =
        Multiline { start: Some("^\\d{4}-".to_owned()), timeout: Multiline::PATTERN_TIMEOUT, max_lines: 3, ..Multiline::default() };
    let mut stage = Stage::with(FileInput { from_beginning: true, multiline, ..FileInput::default() });
    stage.append("log", "before\n2026-1 a\nb\n2026-2 c\nd\ne\nf\n");
    assert_eq!(stage.look().lines, ["before", "2026-1 a\nb", "2026-2 c\nd\ne"]);
    stage.append("log", "g\n");
    assert_eq!(stage.look().wait(Multiline::PATTERN_TIMEOUT).look().lines[3..], ["f\ng"]);
    let multiline = Multiline { continues: Some("^ ".to_owned()), ..Multiline::default() };
    let mut stage = Stage::with(FileInput { from_beginning: true, multiline, ..FileInput::default() });
    stage.append("log", "a\n  b\n\tc\nd\n");
    assert_eq!(stage.finish().lines, ["a\n  b", "\tc", "d"]);
    let multiline = Multiline { enabled: false, ..Multiline::default() };
    let mut stage = Stage::with(FileInput { from_beginning: true, multiline, ..FileInput::default() });
    stage.append("log", TRACEBACK);
    assert_eq!(stage.look().lines.len(), 4);
}

#[test]
fn other_characters_than_those_of_utf_8_are_read() {
    let mut stage = Stage::with(FileInput { from_beginning: true, encoding: Some(encoding_rs::GBK), ..FileInput::default() });
    fs::write(stage.path("log"), encoding_rs::GBK.encode("错误: 磁盘已满\n第二行\n").0).unwrap();
    assert_eq!(stage.look().lines, ["错误: 磁盘已满", "第二行"]);
    let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let mut stage = Stage::new(true);
    let mut bytes = b"\xff\xfe".to_vec();
    bytes.extend(wide("eins\r\nzwei \u{a0a}\r\n"));
    fs::write(stage.path("log"), &bytes).unwrap();
    assert_eq!(stage.look().lines, ["eins", "zwei \u{a0a}"]);
    let mut file = OpenOptions::new().append(true).open(stage.path("log")).unwrap();
    file.write_all(&wide("drei\n")).unwrap();
    assert_eq!(stage.look().lines[2..], ["drei"]);
    let mut stage = Stage::new(true);
    fs::write(stage.path("log"), "\u{feff}marked\n").unwrap();
    assert_eq!(stage.look().lines, ["marked"]);
}

#[test]
fn attributes_of_the_input_are_those_of_what_produced_its_lines() {
    let attributes = vec![("deployment.environment.name".to_owned(), "test".to_owned())];
    let mut stage =
        Stage::with(FileInput { from_beginning: true, attributes, service: Some("shop".to_owned()), ..FileInput::default() });
    stage.append("log", "a\n");
    let record = serde_json::to_value(&stage.look().records[0]).unwrap();
    assert_eq!(record["resource"]["deployment.environment.name"], "test");
    assert_eq!(record["resource"]["service.name"], "shop");
}

/// Whole traces and lines of all kinds, which a file holds one after the other.
fn texts() -> impl Strategy<Value = String> {
    let piece = proptest::sample::select(vec![
        "INFO fine\n",
        "ERROR failed\n",
        "ERROR sync failed\nTraceback (most recent call last):\n  File \"a.py\", line 1, in f\nKeyError: 1\n\nDuring handling of the above exception, another exception occurred:\n\nTraceback (most recent call last):\n  File \"a.py\", line 2, in f\nValueError: 2\n",
        "java.io.IOException: x\n\tat a.B.c(D.java:1)\n\tSuppressed: java.io.IOException: y\n\t\tat a.B.d(D.java:2)\nCaused by: a.B: z\n\t... 12 more\n",
        "panic: x\n[signal SIGSEGV]\n\ngoroutine 1 [running]:\nmain.f(0x1)\n\t/a.go:1 +0x1\nexit status 2\n",
        "thread 'main' panicked at a.rs:1:2:\nboom\nstack backtrace:\n   0: a::b\nnote: x\n",
        "/app/cart.js:10\n    throw new TypeError('x')\n    ^\n\nTypeError: x\n    at f (/app/cart.js:10:5) {\n  code: 1\n}\n",
        "Unhandled exception. System.A: x\n ---> System.B: y\n   at Shop.C.D()\n   --- End of inner exception stack trace ---\n   at Shop.E.F()\n",
        "app.rb:1:in 'pay': no (RuntimeError)\n\tfrom app.rb:5:in 'main'\n",
        "PHP Fatal error:  Uncaught Exception: x in /a.php:3\nStack trace:\n#0 /a.php(5): f()\n#1 {main}\n  thrown in /a.php on line 3\n",
        "\n",
        "é\r\n",
        "  indented\n",
        "{\"msg\":\"json Error\"}\n",
        "2026-11-24T05:37:20Z stdout P par\n",
        "2026-11-24T05:37:20Z stderr F java.io.IOException: q\n",
        "2026-11-24T05:37:20Z stderr F \tat a.B.c(D.java:1)\n",
        "2026-11-24T05:37:20Z stdout F tial\n",
    ]);
    proptest::collection::vec(piece, 1..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn where_the_bytes_are_cut_changes_no_record(text in texts(), cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..12)) {
        let mut whole = Stage::new(true);
        fs::write(whole.path("log"), &text).unwrap();
        whole.finish();
        let mut pieces = Stage::new(true);
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        places.sort_unstable();
        places.push(text.len());
        let mut from = 0;
        for place in places {
            let mut file = OpenOptions::new().create(true).append(true).open(pieces.path("log")).unwrap();
            file.write_all(&text.as_bytes()[from..place]).unwrap();
            pieces.look();
            from = place;
        }
        pieces.finish();
        prop_assert_eq!(&pieces.lines, &whole.lines);
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
            assert!(!offsets.is_empty());
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

/// Follows `input` until `check` is content with the lines that arrived.
async fn followed(
    input: FileInput,
    mut change: impl FnMut(usize),
    check: impl Fn(&[String]) -> bool,
) -> (Vec<String>, FileStatuses, SelfMetrics) {
    let sink = Arc::new(Sink::default());
    let (statuses, self_metrics, shutdown) = (FileStatuses::default(), SelfMetrics::default(), CancellationToken::new());
    let following = Following {
        sink: Arc::new(Shared(Arc::clone(&sink))),
        statuses: statuses.clone(),
        clock: Clock::system(),
        self_metrics: self_metrics.clone(),
        parsers: Arc::new(Shouting),
        scratch: std::env::temp_dir(),
        shutdown: shutdown.clone(),
    };
    let following = tokio::spawn(follow(vec![input], following));
    let waiting = async {
        for round in 0.. {
            sink.arrived.notified().await;
            if check(&sink.lines.lock()) {
                break;
            }
            change(round);
        }
    };
    let arrived = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    shutdown.cancel();
    following.await.unwrap();
    let lines = sink.lines.lock().clone();
    assert!(arrived.is_ok(), "after a minute there are only {lines:?}");
    (lines, statuses, self_metrics)
}

fn append_to(path: &Path, text: &str) {
    OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

#[tokio::test]
async fn lines_for_a_component_are_records_when_it_has_read_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    fs::write(&path, "one\ntwo\n").unwrap();
    let input = FileInput { from_beginning: true, format: Format::Parser("shouting".to_owned()), ..FileInput::at(&path) };
    let (lines, ..) = followed(input, |_| {}, |lines| lines.len() == 2).await;
    assert_eq!(lines, ["ONE", "TWO"]);
}

#[tokio::test]
async fn a_followed_file_arrives_and_a_busy_store_only_delays_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    fs::write(&path, "one\ntwo\n").unwrap();
    let input = FileInput { from_beginning: true, ..FileInput::at(&path) };
    let change = |round| {
        if round == 0 {
            append_to(&path, "three\n");
        }
    };
    let (lines, statuses, self_metrics) = followed(input, change, |lines| lines.len() == 3).await;
    assert_eq!(lines, ["one", "two", "three"]);
    assert_eq!(self_metrics.counter("watchfire_input_bytes_total", &[("input", "file")]).get(), 14);
    assert_eq!(statuses.snapshot().len(), 1);
}

#[tokio::test]
async fn a_pattern_means_files_that_appear_later_and_each_file_once() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("sub")).unwrap();
    fs::create_dir(at("pods")).unwrap();
    fs::write(at("a.log"), "a1\n").unwrap();
    fs::write(at("debug.log"), "no\n").unwrap();
    fs::write(at("pods/0.log"), "pod\n").unwrap();
    std::os::unix::fs::symlink(at("pods/0.log"), at("link.log")).unwrap();
    let pattern = folder.path().join("**/*.log*");
    let exclude = vec!["debug*".to_owned(), folder.path().join("pods/**").to_string_lossy().into_owned()];
    let input = FileInput { from_beginning: true, exclude, ..FileInput::at(pattern) };
    let mut steps = 0;
    let change = |_| {
        steps += 1;
        match steps {
            2 => append_to(&at("sub/b.log"), "b1\n"),
            // Its new name is meant, too.
            3 => {
                fs::rename(at("a.log"), at("a.log.1")).unwrap();
                append_to(&at("a.log"), "a2\n");
            }
            4 => {
                fs::create_dir_all(at("new/deep")).unwrap();
                append_to(&at("new/deep/c.log"), "c1\n");
            }
            5 => append_to(&at("pods/0.log"), "pod again\n"),
            _ => {}
        }
    };
    let (mut lines, ..) = followed(input, change, |lines| lines.len() >= 6).await;
    lines.sort();
    assert_eq!(lines, ["a1", "a2", "b1", "c1", "pod", "pod again"]);
}

#[tokio::test]
async fn many_files_are_followed_with_few_open() {
    let folder = tempfile::tempdir().unwrap();
    let path = |number: usize| folder.path().join(format!("{number}.log"));
    for number in 0..700 {
        fs::write(path(number), "first\n").unwrap();
    }
    let input = FileInput { from_beginning: true, ..FileInput::at(folder.path().join("*.log")) };
    let most = std::cell::Cell::new(0);
    let mut appended = false;
    let held = || {
        let links = fs::read_dir("/proc/self/fd").unwrap().flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
        links.filter(|link| link.starts_with(folder.path())).count()
    };
    let total = std::cell::Cell::new(0);
    let change = |_| {
        most.set(most.get().max(held()));
        if !appended && total.get() >= 700 {
            appended = true;
            (0..700).for_each(|number| append_to(&path(number), "second\n"));
        }
    };
    let check = |lines: &[String]| {
        total.set(lines.len());
        lines.len() >= 1400
    };
    let (lines, statuses, _) = followed(input, change, check).await;
    assert_eq!(lines.iter().filter(|line| *line == "second").count(), 700);
    assert_eq!(statuses.snapshot().len(), 700);
    assert!(most.get() <= 270, "{} files were open", most.get());
}
