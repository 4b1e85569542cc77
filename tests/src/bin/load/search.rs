//! Searching many records: how long each kind of question takes, on a quiet host and while it takes in more.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::json;
use watchfire::clock::Clock;
use watchfire_tests::payload::{PROTOBUF, log_record, logs_request, text_attribute};
use watchfire_types::Timestamp;

use crate::Target;
use crate::corpus::Corpus;
use crate::host::{Host, folder};
use crate::report::{Report, megabytes, thousands};

/// Records in one request.
const BATCH: usize = 1_000;
/// Connections that send.
const CONNECTIONS: usize = 4;
/// The records lie in so many hours before they are sent.
const HOURS: u64 = 20;
/// Records with a word that no other has, spread over all.
const NEEDLES: usize = 20;
/// Services that log.
const SERVICES: [&str; 5] = ["shop", "payment", "stock", "mail", "gateway"];

/// Questions, each with what it is about.
const QUESTIONS: [(&str, &str, &str); 12] = [
    ("rare word, newest 100", "/api/v1/logs", "needle"),
    ("absent word", "/api/v1/logs", "haystack"),
    ("common word, newest 100", "/api/v1/logs", "customer"),
    ("two words and a level, newest 100", "/api/v1/logs", "level>=warn retrying gateway"),
    ("field equality, newest 100", "/api/v1/logs", "http.response.status_code:500"),
    ("field with a value in one record", "/api/v1/logs", "request.id:needle-7"),
    ("trace id of one record", "/api/v1/logs", "trace_id:000000000000000000000000000000a7"),
    ("regular expression over everything", "/api/v1/logs/query", "body~\"card ending 9[0-9]: total .* USD\" | stats count"),
    ("regular expression without a fixed text", "/api/v1/logs/query", "body~\"[0-9]{9,}\" | stats count"),
    ("count by minute and level over everything", "/api/v1/logs/query", "| stats count by time(1m), level"),
    ("top values of a field over everything", "/api/v1/logs/query", "| top 10 http.response.status_code"),
    ("percentile of a field by service", "/api/v1/logs/query", "| stats p99(user.id) by service"),
];

/// Measures searches over `records` records, which are kept for the next time.
pub(crate) fn measure(records: usize, fresh: bool, runs: usize, under_ingest: bool, target: &Target) -> anyhow::Result<Report> {
    let kept = folder(target).join(format!("watchfire-load-search-{records}"));
    if fresh {
        let _ = fs::remove_dir_all(&kept);
    }
    let host = Host::kept(target, &kept, &json!({"storage": {"max_bytes": 100_000_000_000_u64}}))?;
    let complete = kept.join("complete");
    let mut report = Report::new(format!("search: {} records", thousands(records as f64)));
    if complete.exists() {
        report = report.line("records", format!("those of an earlier run, in {}", kept.display()));
    } else {
        ensure!(host.records()? == 0, "{} holds an unfinished load: run this with --fresh", kept.display());
        let started = Instant::now();
        fill(&host, records)?;
        settle(&host)?;
        fs::write(&complete, "")?;
        report = report.line("records", format!("sent and merged in {:.1?}, kept in {}", started.elapsed(), kept.display()));
    }
    report = report.line("on disk", megabytes(size(&kept)?));
    for (what, path, q) in QUESTIONS {
        report = report.line(what, ask(&host, path, q, runs)?);
    }
    report = report.line("histogram by level", ask(&host, "/api/v1/logs/histogram", "", runs)?);
    if under_ingest {
        let stop = AtomicBool::new(false);
        let sent = AtomicUsize::new(0);
        report = std::thread::scope(|scope| -> anyhow::Result<Report> {
            let sender = scope.spawn(|| send_until(&host, &stop, &sent));
            let started = Instant::now();
            let mut measured: anyhow::Result<Report> = Ok(report);
            for (what, path, q) in QUESTIONS {
                measured =
                    measured.and_then(|report| Ok(report.line(&format!("{what}, under ingest"), ask(&host, path, q, runs)?)));
            }
            stop.store(true, Ordering::Relaxed);
            sender.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            let rate = sent.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64();
            measured.map(|report| report.line("ingest meanwhile", format!("{} records/s", thousands(rate))))
        })?;
        // What has been added is not part of the next run.
        fs::remove_file(&complete)?;
    }
    Ok(report.line("host: most memory", host.memory("VmHWM").map_or_else(|error| error.to_string(), megabytes)))
}

/// Sends all records, a record of a kind of its own now and then.
fn fill(host: &Host, records: usize) -> anyhow::Result<()> {
    let batches = records.div_ceil(BATCH);
    let next = AtomicUsize::new(0);
    let begin = Clock::system().now().minus(Duration::from_secs(HOURS * 3600));
    let at = |batch: usize| begin.plus(Duration::from_secs_f64(HOURS as f64 * 3600.0 * batch as f64 / batches as f64));
    let work = || -> anyhow::Result<()> {
        let mut connection = host.connect()?;
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= batches {
                return Ok(());
            }
            let mut lines: Vec<_> = {
                let mut corpus = Corpus::new(number as u64, 4);
                (0..BATCH).map(|row| corpus.line().otlp(at(number).plus(Duration::from_micros(row as u64)))).collect()
            };
            if number.is_multiple_of((batches / NEEDLES).max(1)) {
                let needle = number / (batches / NEEDLES).max(1);
                lines[0] = self::needle(at(number), needle);
            }
            let body = logs_request(SERVICES[number % SERVICES.len()], lines);
            while post(&mut connection, &body)? {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

fn needle(at: Timestamp, number: usize) -> opentelemetry_proto::tonic::logs::v1::LogRecord {
    let id = text_attribute("request.id", format!("needle-{number}"));
    let mut record = log_record(at, 13, format!("found the needle number {number}"), vec![id]);
    record.trace_id = (0xa0_u128 + number as u128).to_be_bytes().to_vec();
    record
}

/// Sends a batch; returns whether the host was too busy.
fn post(connection: &mut crate::wire::Connection, body: &[u8]) -> anyhow::Result<bool> {
    let status = connection.post("/v1/logs", PROTOBUF, body)?;
    ensure!(matches!(status, 200 | 429 | 503), "the host answers {status}");
    Ok(status != 200)
}

fn send_until(host: &Host, stop: &AtomicBool, sent: &AtomicUsize) -> anyhow::Result<()> {
    let mut connection = host.connect()?;
    let mut corpus = Corpus::new(4711, 4);
    let lines: Vec<_> = (0..BATCH).map(|_| corpus.line()).collect();
    let body = logs_request("shop", lines.into_iter().map(|line| line.otlp(Clock::system().now())).collect());
    while !stop.load(Ordering::Relaxed) {
        if post(&mut connection, &body)? {
            std::thread::sleep(Duration::from_millis(10));
        } else {
            sent.fetch_add(BATCH, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// Waits until merging has nothing left to do: the host's processor time stands still.
fn settle(host: &Host) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(300);
    let mut before = host.processor_time()?;
    while Instant::now() < deadline {
        std::thread::sleep(Duration::from_secs(5));
        let now = host.processor_time()?;
        if now.saturating_sub(before) < Duration::from_millis(150) {
            return Ok(());
        }
        before = now;
    }
    Ok(())
}

/// Asks `runs` times and returns the times.
fn ask(host: &Host, path: &str, q: &str, runs: usize) -> anyhow::Result<String> {
    let mut connection = host.connect()?;
    let mut times = Vec::new();
    let mut found = 0;
    for _ in 0..runs.max(1) {
        let asked = Instant::now();
        let answer = connection.get(&format!("{path}?timeout=120s&q={}", encoded(q)))?;
        times.push(asked.elapsed());
        ensure!(answer["partial"].is_null(), "{q}: the time was up");
        let rows = |name: &str| answer[name].as_array().map_or(0, Vec::len);
        found = answer["total"].as_u64().map_or_else(|| rows("records").max(rows("rows")), |total| total as usize);
    }
    let first = times[0];
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    Ok(format!("p50 {:.1?}, p95 {:.1?}, first {first:.1?} ({} found)", at(50), at(95), thousands(found as f64)))
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn size(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    let mut todo: Vec<PathBuf> = vec![folder.join("data/logs")];
    while let Some(path) = todo.pop() {
        for entry in fs::read_dir(&path).with_context(|| format!("cannot read {}", path.display()))? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() { todo.push(entry.path()) } else { bytes += metadata.len() }
        }
    }
    Ok(bytes)
}
