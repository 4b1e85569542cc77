//! Keeps the data directory within its bounds: retention by age, a cap by bytes, room on a full disk.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use watchfire_types::Day;

use crate::clock::Clock;
use crate::config::{Logging, Storage};
use crate::logs::Logs;
use crate::metrics::Metrics;
use crate::store::directory::tree_bytes;
use crate::telemetry::{Counter, Gauge, SelfMetrics};

/// How often bounds are looked at.
const INTERVAL: Duration = Duration::from_secs(60);

/// What the janitor did last, for `status`.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Bytes of the whole data directory.
    pub bytes: u64,
    /// Why room had to be made, or cannot be made; empty when all is well.
    pub trouble: String,
}

/// Drops what is too old or too much.
pub struct Janitor {
    logs: Logs,
    metrics: Metrics,
    storage: Storage,
    log_retention: Duration,
    ballast: PathBuf,
    clock: Clock,
    findings: Arc<Mutex<Findings>>,
    dropped_days: Counter,
    data_bytes: Gauge,
}

/// One file that may be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Droppable {
    day: Day,
    is_log: bool,
    bytes: u64,
}

impl Janitor {
    /// Returns a janitor, and where it writes what it finds.
    #[must_use]
    pub fn new(
        logs: Logs,
        metrics: Metrics,
        storage: &Storage,
        logging: &Logging,
        clock: Clock,
        own: &SelfMetrics,
    ) -> (Self, Arc<Mutex<Findings>>) {
        let findings = Arc::new(Mutex::new(Findings::default()));
        let janitor = Self {
            logs,
            metrics,
            storage: storage.clone(),
            log_retention: logging.retention,
            ballast: storage.data_dir.join("ballast"),
            clock,
            findings: Arc::clone(&findings),
            dropped_days: own.counter("watchfire_days_dropped_total", &[]),
            data_bytes: own.gauge("watchfire_data_bytes", &[]),
        };
        (janitor, findings)
    }

    /// Works once a minute until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        loop {
            self.work().await;
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.clock.sleep(INTERVAL) => {}
            }
        }
    }

    /// Looks at every bound once.
    pub async fn work(&self) {
        self.logs.roll().await;
        let mut trouble = String::new();
        self.drop_old();
        if self.logs.failure().is_some() && self.ballast.exists() {
            // A full disk cannot even take the transaction that makes room: the ballast gives it some.
            let _ = std::fs::remove_file(&self.ballast);
            self.drop_oldest();
            trouble = "the disk is full: the ballast file was given up and the oldest day dropped".into();
            tracing::error!("{trouble}");
        } else if self.logs.failure().is_none()
            && let Err(error) = keep_ballast(&self.ballast, self.storage.ballast_bytes)
        {
            trouble = format!("no room for the ballast file of {} bytes: {error}", self.storage.ballast_bytes);
        }
        let mut bytes = self.telemetry_bytes();
        while bytes > self.storage.max_bytes {
            if self.drop_oldest().is_none() {
                let excess = bytes - self.storage.max_bytes;
                let freed = self.logs.trim_current(excess + self.storage.max_bytes / 20).await;
                trouble = format!("today alone passes storage.max_bytes: {freed} bytes of the oldest logs were dropped");
                tracing::warn!("{trouble}");
                break;
            }
            bytes = self.telemetry_bytes();
        }
        let bytes = tree_bytes(&self.storage.data_dir);
        self.data_bytes.set(bytes as f64);
        *self.findings.lock() = Findings { bytes, trouble };
    }

    fn telemetry_bytes(&self) -> u64 {
        self.logs.used_bytes() + self.metrics.stats().bytes
    }

    fn drop_old(&self) {
        let now = self.clock.now();
        for (day, _) in self.logs.days() {
            // A file is as old as the last record that may have arrived in it.
            if now.since(day.next().start()) > self.log_retention {
                self.dropped(self.logs.drop_day(day), "logs", day);
            }
        }
        while let Some(oldest) = self.metrics.days().first()
            && now.since(oldest.day.next().start()) > self.storage.metrics_retention
            && self.drop_oldest_metrics(oldest.day)
        {}
    }

    /// Drops the oldest closed day of logs or metrics; `None` if there is none.
    fn drop_oldest(&self) -> Option<Day> {
        let days = self.logs.days();
        let logs = days.split_last().map_or(&[][..], |(_, closed)| closed).iter();
        let metrics = self.metrics.days();
        let closed_metrics = metrics.split_last().map_or(&[][..], |(_, closed)| closed).iter();
        let oldest = logs
            .map(|(day, bytes)| Droppable { day: *day, is_log: true, bytes: *bytes })
            .chain(closed_metrics.map(|info| Droppable { day: info.day, is_log: false, bytes: info.bytes }))
            .min()?;
        let done = if oldest.is_log {
            self.dropped(self.logs.drop_day(oldest.day), "logs", oldest.day)
        } else {
            self.drop_oldest_metrics(oldest.day)
        };
        done.then_some(oldest.day)
    }

    fn drop_oldest_metrics(&self, day: Day) -> bool {
        let result = self.metrics.drop_oldest_day();
        let found = matches!(result, Ok(Some(_)) | Err(_));
        self.dropped(result.map(|_| ()), "metrics", day) && found
    }

    fn dropped(&self, result: Result<(), crate::store::StoreError>, what: &str, day: Day) -> bool {
        match result {
            Ok(()) => {
                self.dropped_days.inc();
                tracing::info!(%day, "dropped the {what} that arrived on {day}, to stay within retention and bytes");
                true
            }
            Err(error) => {
                tracing::error!(%error, "cannot drop old {what}");
                false
            }
        }
    }
}

/// Makes sure of a file of `bytes` whose place can be given up.
fn keep_ballast(path: &Path, bytes: u64) -> std::io::Result<()> {
    if bytes == 0 {
        let _ = std::fs::remove_file(path);
        return Ok(());
    }
    if std::fs::metadata(path).is_ok_and(|metadata| metadata.len() == bytes) {
        return Ok(());
    }
    let file = File::create(path)?;
    let reserved = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes);
    if reserved.is_err() {
        let _ = std::fs::remove_file(path);
    }
    Ok(reserved?)
}
