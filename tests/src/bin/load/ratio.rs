//! How small logs of common programs become, with all that belongs to them on disk, and how quickly blocks are written and read.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use watchfire::clock::Clock;
use watchfire::logs::Logs;
use watchfire::logs::block::{self, Columns};
use watchfire::telemetry::SelfMetrics;
use watchfire_types::attributes::{Attributes, keys};
use watchfire_types::log::RecordHead;
use watchfire_types::{LogBatch, Severity, Timestamp, ValueRef};

use crate::Target;
use crate::kinds::{Entry, Field, KINDS, Writer};
use crate::report::{Report, megabytes};

/// Records of one request.
const BATCH: usize = 1000;
/// Records of a full block.
const BLOCK: usize = 60_000;
/// Merging is over when what is in use has not changed for this long, and is waited for no longer than `PATIENCE`.
const QUIET: Duration = Duration::from_secs(4);
const PATIENCE: Duration = Duration::from_secs(300);
const RETENTION: Duration = Duration::from_secs(30 * 86_400);

/// What is measured: batches, and the bytes of the lines that they were.
struct Corpus {
    name: String,
    batches: Vec<LogBatch>,
    raw_bytes: u64,
}

/// Measures `records` of every kind, or the lines of `files`.
pub(crate) fn measure(records: usize, files: &[PathBuf], target: &Target) -> anyhow::Result<Report> {
    let now = Clock::system().now();
    let mut report = Report::new("ratio");
    let corpora: Vec<Corpus> = if files.is_empty() {
        KINDS.iter().map(|kind| generated(kind, records, now)).collect()
    } else {
        files.iter().map(|path| read(path, now)).collect::<anyhow::Result<_>>()?
    };
    let (mut raw, mut stored) = (0, 0);
    for corpus in corpora {
        let bytes = stored_bytes(&corpus, target)?;
        let [write, read] = block_speed(&corpus);
        let count: usize = corpus.batches.iter().map(LogBatch::len).sum();
        let line = format!(
            "1/{:.1} of the raw bytes: {:.1} bytes a record of {:.0} ({} of {}); a block: {write:.2} µs a record to pack, {read:.2} µs to read",
            corpus.raw_bytes as f64 / bytes as f64,
            bytes as f64 / count as f64,
            corpus.raw_bytes as f64 / count as f64,
            megabytes(bytes),
            megabytes(corpus.raw_bytes),
        );
        report = report.line(&corpus.name, line);
        raw += corpus.raw_bytes;
        stored += bytes;
    }
    Ok(report.line(
        "figure",
        format!("1/{:.1} over all, blocks with summaries, token filters and SQLite's pages", raw as f64 / stored as f64),
    ))
}

fn generated(kind: &str, records: usize, now: Timestamp) -> Corpus {
    let mut writer = Writer::new(5);
    let entries: Vec<Entry> = (0..records).map(|_| writer.entry(kind)).collect();
    let length: u64 = entries.iter().map(|entry| entry.after).sum();
    let mut at = now.minus(Duration::from_micros(length));
    let mut batches = Vec::new();
    for chunk in entries.chunks(BATCH) {
        let mut batch = LogBatch::default();
        let observed = at.plus(Duration::from_micros(chunk.iter().map(|entry| entry.after).sum()));
        for entry in chunk {
            at = at.plus(Duration::from_micros(entry.after));
            push(&mut batch, entry, at, observed);
        }
        batches.push(batch);
    }
    Corpus { name: kind.to_owned(), batches, raw_bytes: entries.iter().map(|entry| entry.raw_bytes as u64).sum() }
}

fn push(batch: &mut LogBatch, entry: &Entry, timestamp: Timestamp, observed: Timestamp) {
    let attributes: Attributes = vec![
        (keys::SERVICE_NAME.to_owned(), format!("service-{}", entry.service).into()),
        ("host.name".to_owned(), format!("host-{}", entry.service).into()),
    ];
    let resource = batch.resource(attributes);
    let head = RecordHead {
        timestamp,
        observed,
        severity: Severity(entry.severity.0),
        severity_text: entry.severity.1,
        resource,
        trace_id: entry.trace_id,
        span_id: entry.span_id,
        ..RecordHead::default()
    };
    batch.push(&head, ValueRef::Text(&entry.body));
    for (key, field) in &entry.fields {
        let value = match field {
            Field::Text(text) => ValueRef::Text(text),
            Field::Int(number) => ValueRef::Int(*number),
            Field::Float(number) => ValueRef::Float(*number),
        };
        batch.attribute(key, value);
    }
}

/// Lines of a file, a second for each ten thousand, each as a body.
fn read(path: &Path, now: Timestamp) -> anyhow::Result<Corpus> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    ensure!(!lines.is_empty(), "`{}` has no lines", path.display());
    let start = now.minus(Duration::from_secs(lines.len() as u64 / 10_000 + 1));
    let mut batches = Vec::new();
    for (number, chunk) in lines.chunks(BATCH).enumerate() {
        let mut batch = LogBatch::default();
        let resource = batch.resource(vec![(keys::SERVICE_NAME.to_owned(), "file".into())]);
        let at = start.plus(Duration::from_millis(number as u64 * 100));
        for line in chunk {
            batch.push(&RecordHead { timestamp: at, observed: at, resource, ..RecordHead::default() }, ValueRef::Text(line));
        }
        batches.push(batch);
    }
    Ok(Corpus { name: path.display().to_string(), batches, raw_bytes: bytes.len() as u64 })
}

/// Stores everything, waits for merging, and returns the bytes then in use.
fn stored_bytes(corpus: &Corpus, target: &Target) -> anyhow::Result<u64> {
    let folder = match &target.folder {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    std::fs::create_dir(folder.path().join("logs"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let logs = Logs::open(folder.path(), RETENTION, &Clock::system(), &SelfMetrics::default())?;
    runtime.block_on(async {
        // A little at a time, as it comes; each round is one commit.
        for round in corpus.batches.chunks(4) {
            let all = round.iter().map(|batch| logs.ingest(batch.clone(), Vec::new()));
            for done in futures(all).await {
                done?;
            }
        }
        anyhow::Ok(())
    })?;
    let started = Instant::now();
    let (mut last, mut since) = (logs.used_bytes(), Instant::now());
    while since.elapsed() < QUIET && started.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(200));
        let bytes = logs.used_bytes();
        if bytes != last {
            (last, since) = (bytes, Instant::now());
        }
    }
    logs.close();
    Ok(last)
}

/// Runs all of `work` at the same time, on this thread.
async fn futures<F: Future>(work: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut work: Vec<_> = work.map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(|context| {
        for (one, done) in &mut work {
            if done.is_none()
                && let std::task::Poll::Ready(value) = one.as_mut().poll(context)
            {
                *done = Some(value);
            }
        }
        if work.iter().all(|(_, done)| done.is_some()) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    work.into_iter().filter_map(|(_, done)| done).collect()
}

/// Returns microseconds a record for writing a full block and for reading it.
fn block_speed(corpus: &Corpus) -> [f64; 2] {
    let mut batch = LogBatch::default();
    for part in corpus.batches.iter().take(BLOCK / BATCH) {
        batch.append(part, 0..part.len());
    }
    let micros = |since: Instant| since.elapsed().as_secs_f64() * 1e6 / batch.len() as f64;
    let started = Instant::now();
    let block = block::pack(&batch, 3);
    let write = micros(started);
    let started = Instant::now();
    let read = block::decode(&block, 1, Columns::ALL);
    let read_micros = micros(started);
    assert!(read.is_ok_and(|read| read.len() == batch.len()), "a block reads back");
    [write, read_micros]
}
