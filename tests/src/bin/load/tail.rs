//! Lines in a file that the host follows.

use std::fs::File;
use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::json;
use watchfire::clock::Clock;

use crate::Target;
use crate::corpus::Corpus;
use crate::host::Host;
use crate::report::{Report, megabytes, thousands};

/// Lines of one write: what a busy program buffers.
const CHUNK: usize = 1000;

/// Measures lines per second, from the first one written to the last one searchable.
pub(crate) fn measure(records: usize, target: &Target) -> anyhow::Result<Report> {
    ensure!(target.url.is_none(), "`tail` starts a host of its own: leave `--url` away");
    let folder = tempfile::Builder::new().prefix("watchfire-load-").tempdir_in(crate::host::folder(target))?;
    let path = folder.path().join("shop.log");
    let mut file = File::create(&path)?;
    let host = Host::with(target, json!({"inputs": {"files": [{"path": path, "from_beginning": true}]}}))?;
    // Made ahead, so that writing costs next to nothing; they repeat after a while.
    let mut corpus = Corpus::new(1, 0);
    let now = Clock::system().now();
    let chunks: Vec<String> = (0..240).map(|_| (0..CHUNK).map(|_| corpus.line().text(now)).collect()).collect();
    let word = format!("marker{:016x}", fastrand::u64(..));

    let started = Instant::now();
    let mut bytes = 0;
    for number in 0..records.div_ceil(CHUNK) {
        let chunk = &chunks[number % chunks.len()];
        file.write_all(chunk.as_bytes())?;
        bytes += chunk.len() as u64;
    }
    writeln!(file, "{} shop-1 shop[4711]: INFO the last line is {word}", Clock::system().now())?;
    let written = started.elapsed();
    let expected = (records.div_ceil(CHUNK) * CHUNK) as u64 + 1;
    while host.records()? < expected {
        ensure!(started.elapsed() < Duration::from_secs(600), "only {} of {expected} lines after ten minutes", host.records()?);
        std::thread::sleep(Duration::from_millis(5));
    }
    host.find(&word)?;
    let elapsed = started.elapsed();
    ensure!(host.records()? == expected, "{expected} lines were written, but {} are stored", host.records()?);
    Ok(Report::new("tail: one followed file")
        .line("figure", format!("{} lines/s, durable and searchable", thousands(expected as f64 / elapsed.as_secs_f64())))
        .line("configuration", format!("{} lines with an ISO syslog prefix, {CHUNK} a write", thousands(expected as f64)))
        .line("written", format!("{} in {written:.2?}; all searchable after {elapsed:.2?}", megabytes(bytes)))
        .line("host: most memory", megabytes(host.memory("VmHWM")?)))
}
