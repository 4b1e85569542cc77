//! How small logs become.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::json;
use watchfire::store::directory::tree_bytes;

use crate::host::Host;
use crate::ingest::{self, Protocol};
use crate::report::{Report, megabytes};
use crate::{Load, Target};

/// Merging is over when the files have not changed for this long, and is waited for no longer than `PATIENCE`.
const QUIET: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(180);

/// Measures bytes on disk per byte sent.
pub(crate) fn measure(load: &Load, target: &Target) -> anyhow::Result<Report> {
    let host = Host::with(target, json!({"storage": {"max_bytes": 100_000_000_000_u64}}))?;
    let logs = host.folder().context("`disk` starts a host of its own: leave `--url` away")?.join("data/logs");
    let outcome = ingest::send(&host, Protocol::Ndjson, load)?;
    let at_once = tree_bytes(&logs);
    let waited = settle(&logs);
    // A clean stop folds the write-ahead log into the file.
    let folder = host.stop()?;
    let bytes = tree_bytes(&folder.path().join("data/logs"));
    let ratio = outcome.sent_bytes as f64 / bytes as f64;
    Ok(Report::new("disk")
        .line("figure", format!("{:.3} bytes on disk per raw byte (1/{ratio:.1}), with all indexes", 1.0 / ratio))
        .line("raw", format!("{}: NDJSON lines with {} attributes, as sent", megabytes(outcome.sent_bytes), load.attributes))
        .line("on disk", format!("{} (write-ahead log included, right after the load: {})", megabytes(bytes), megabytes(at_once)))
        .line(
            "per record",
            format!(
                "{:.1} bytes of {:.1}",
                bytes as f64 / outcome.records as f64,
                outcome.sent_bytes as f64 / outcome.records as f64
            ),
        )
        .line("merging", format!("waited {waited:.0?}")))
}

fn settle(logs: &Path) -> Duration {
    let started = Instant::now();
    let (mut last, mut since) = (tree_bytes(logs), Instant::now());
    while since.elapsed() < QUIET && started.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(500));
        let now = tree_bytes(logs);
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    started.elapsed()
}
