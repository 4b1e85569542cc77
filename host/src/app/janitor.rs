//! Keeps the data directory within its bounds: retention by age, a cap by bytes, room on a full disk.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use watchfire_types::{Day, MetricKind, MetricPoint, SeriesKey};

use crate::clock::Clock;
use crate::config::{Logging, Storage};
use crate::logs::Logs;
use crate::logs::engine::PATIENT_ROUNDS;
use crate::logs::pressure::Stage;
use crate::metrics::Metrics;
use crate::store::directory::tree_bytes;
use crate::telemetry::{Counter, Gauge, SelfMetrics};

/// How often bounds are looked at.
const INTERVAL: Duration = Duration::from_secs(60);

/// How often the room on the disk is looked at while nothing comes in.
const ROOM_INTERVAL: Duration = Duration::from_secs(5);
/// While something is not stored, that is measured again after so many looks, whoever else measures.
const ROOM_LOOKS: u32 = 6;

/// With less than this free, in bytes, the disk is full: not only logs are stored there.
const LEAST_FREE_BYTES: u64 = 1 << 20;
/// What stays free when the ballast file is made, in bytes.
const FREE_BESIDE_BALLAST_BYTES: u64 = 16 << 20;

/// What the janitor did last, for `status`.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Bytes of logs and metrics, which `storage.max_bytes` bounds.
    pub telemetry_bytes: u64,
    /// Bytes of the ballast file, which is apart from that.
    pub ballast_bytes: u64,
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
    /// Rounds in a row that found more than one day too old.
    rounds_ahead: AtomicU32,
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
            rounds_ahead: AtomicU32::new(0),
            dropped_days: own.counter("watchfire_day_files_dropped_total", &[]),
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
        if self.logs.failure().is_some() {
            self.logs.probe().await;
        }
        let free = free_bytes(&self.storage.data_dir);
        // Only a full disk: what else keeps logs from being stored is not mended by dropping what is there.
        if self.logs.disk_is_full() || free < LEAST_FREE_BYTES {
            trouble = self.make_room().await;
            tracing::error!("{trouble}");
        } else if !self.ballast.exists() && free < self.storage.ballast_bytes.saturating_add(FREE_BESIDE_BALLAST_BYTES) {
            // Made now, it would fill the disk itself, and the next day would be dropped for it.
            trouble = format!("no room for the ballast file of {} bytes: {free} bytes are free", self.storage.ballast_bytes);
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
        self.data_bytes.set(tree_bytes(&self.storage.data_dir) as f64);
        let ballast_bytes = std::fs::metadata(&self.ballast).map_or(0, |metadata| metadata.len());
        *self.findings.lock() = Findings { telemetry_bytes: self.telemetry_bytes(), ballast_bytes, trouble };
    }

    /// Makes some room on a full disk: each round the ballast, if it is still there, and the oldest day. Returns what it did.
    async fn make_room(&self) -> String {
        // A full disk cannot even take the transaction that makes room: the ballast gives it some.
        let ballast = if std::fs::remove_file(&self.ballast).is_ok() { "the ballast file was given up, " } else { "" };
        let days = match self.drop_oldest_day() {
            Some(day) => format!("the data of {day} was dropped"),
            None if self.logs.disk_is_full() => {
                let freed = self.logs.trim_current(self.storage.ballast_bytes.max(1 << 20)).await;
                format!("{freed} bytes of today's oldest logs were dropped")
            }
            None => "there is no closed day left to drop".to_owned(),
        };
        // Status and senders need not wait for the next record to learn that there is room again.
        self.logs.probe().await;
        format!("the disk is full: {ballast}{days}")
    }

    fn telemetry_bytes(&self) -> u64 {
        self.logs.used_bytes() + self.metrics.stats().bytes
    }

    fn drop_old(&self) {
        let now = self.clock.now();
        // A file is as old as the last record that may have arrived in it.
        let is_old = |day: Day, retention| now.since(day.next().start()) > retention;
        let metrics = self.metrics.days().iter().filter(|info| is_old(info.day, self.storage.metrics_retention)).count();
        let logs: Vec<Day> =
            self.logs.days().into_iter().map(|(day, _)| day).filter(|day| is_old(*day, self.log_retention)).collect();
        // Days pass one by one. When several are too old at once, the host was off for long, or its clock is wrong: which one
        // is seen by waiting.
        if logs.len().max(metrics) > 1 {
            let rounds = self.rounds_ahead.fetch_add(1, Ordering::Relaxed);
            if rounds == 0 {
                tracing::warn!(
                    "{} days of logs and {metrics} of metrics are too old at once: if the clock stays as it is, they are dropped in ten minutes",
                    logs.len()
                );
            }
            if rounds < PATIENT_ROUNDS {
                return;
            }
        } else {
            self.rounds_ahead.store(0, Ordering::Relaxed);
        }
        for day in logs {
            self.dropped(self.logs.drop_day(day), "logs", day);
        }
        while let Some(oldest) = self.metrics.days().first()
            && now.since(oldest.day.next().start()) > self.storage.metrics_retention
            && self.drop_oldest_metrics(oldest.day)
        {}
    }

    /// Returns the oldest closed file of logs or metrics.
    fn oldest(&self) -> Option<Droppable> {
        let days = self.logs.days();
        let logs = days.split_last().map_or(&[][..], |(_, closed)| closed).iter();
        let metrics = self.metrics.days();
        let closed_metrics = metrics.split_last().map_or(&[][..], |(_, closed)| closed).iter();
        logs.map(|(day, bytes)| Droppable { day: *day, is_log: true, bytes: *bytes })
            .chain(closed_metrics.map(|info| Droppable { day: info.day, is_log: false, bytes: info.bytes }))
            .min()
    }

    /// Drops the oldest closed file; `None` if there is none.
    fn drop_oldest(&self) -> Option<Day> {
        let oldest = self.oldest()?;
        let done = if oldest.is_log {
            self.dropped(self.logs.drop_day(oldest.day), "logs", oldest.day)
        } else {
            self.drop_oldest_metrics(oldest.day)
        };
        done.then_some(oldest.day)
    }

    /// Drops both files of the oldest closed day: one of metrics alone is small.
    fn drop_oldest_day(&self) -> Option<Day> {
        let day = self.drop_oldest()?;
        while self.oldest().is_some_and(|next| next.day == day) && self.drop_oldest().is_some() {}
        Some(day)
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

/// Looks at the room on the disk until `shutdown`. A change is a point of `watchfire_storage_state` at once, so that rules need not wait
/// for the next collection, and see it even if nothing is collected.
pub async fn watch_room(logs: Logs, metrics: Metrics, clock: Clock, shutdown: CancellationToken) {
    let (mut told, mut looks) = (Stage::All, 0);
    loop {
        let stage = logs.look_at_room();
        looks += 1;
        if stage != told || (stage != Stage::All && looks >= ROOM_LOOKS) {
            let point = MetricPoint {
                series: SeriesKey::new("watchfire_storage_state", []),
                kind: MetricKind::Gauge,
                unit: String::new(),
                timestamp: clock.now(),
                value: f64::from(stage as u8),
                delta: false,
            };
            // One that cannot be stored is tried again at the next look.
            if metrics.ingest(vec![point]).await.is_ok() {
                (told, looks) = (stage, 0);
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = clock.sleep(ROOM_INTERVAL) => {}
        }
    }
}

/// Returns the bytes that we may still use of the disk of `path`; all if the system does not tell.
fn free_bytes(path: &Path) -> u64 {
    rustix::fs::statvfs(path).map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize))
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

#[cfg(test)]
mod tests {
    use watchfire_types::log::RecordHead;
    use watchfire_types::{LogBatch, Timestamp, ValueRef};

    use super::*;
    use crate::config::Config;
    use crate::metrics::MetricsSettings;
    use crate::store::DataDirectory;

    struct House {
        folder: tempfile::TempDir,
        _directory: DataDirectory,
        clock: Clock,
        logs: Logs,
        janitor: Janitor,
    }

    impl House {
        fn new(max_bytes: u64) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let clock = Clock::manual(Timestamp::from_seconds(20_000 * 86_400 + 43_200));
            let own = SelfMetrics::default();
            let directory = DataDirectory::open(folder.path()).unwrap();
            let config = Config::default();
            let storage = Storage { data_dir: folder.path().to_owned(), max_bytes, ballast_bytes: 4096, ..config.storage };
            let logs = Logs::open(folder.path(), config.logging.retention, &clock, &own).unwrap();
            let metrics = Metrics::open(folder.path(), MetricsSettings::default(), clock.clone(), own.clone()).unwrap();
            let (janitor, _) = Janitor::new(logs.clone(), metrics, &storage, &config.logging, clock.clone(), &own);
            Self { folder, _directory: directory, clock, logs, janitor }
        }

        async fn put(&self, body: &str) -> bool {
            let mut batch = LogBatch::default();
            batch.push(&RecordHead::default(), ValueRef::Text(body));
            self.logs.ingest(batch, Vec::new()).await.is_ok()
        }

        fn records(&self) -> u64 {
            self.logs.stats().unwrap().records
        }
    }

    /// Text that does not compress.
    fn noise(mut seed: u64, bytes: usize) -> String {
        let next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b'0' + (seed >> 58) as u8)
        };
        std::iter::repeat_with(next).take(bytes).collect()
    }

    #[tokio::test]
    async fn a_day_that_passes_the_cap_is_trimmed_once() {
        let house = House::new(4 << 20);
        for seed in 1..=8 {
            assert!(house.put(&noise(seed, 1 << 20)).await);
        }
        house.janitor.work().await;
        let kept = house.records();
        assert!((1..8).contains(&kept), "{kept}");
        // What was trimmed does not make the file smaller; it must not be trimmed again for that.
        house.janitor.work().await;
        house.janitor.work().await;
        assert_eq!(house.records(), kept);
    }

    #[tokio::test]
    async fn a_failure_other_than_a_full_disk_costs_no_day() {
        let house = House::new(1 << 30);
        assert!(house.put("yesterday").await);
        house.clock.advance(Duration::from_secs(86_400));
        assert!(house.put("today").await);
        house.janitor.work().await;
        let path = house.folder.path().join(format!("logs/{}.db", house.clock.now().day()));
        let break_it = rusqlite::Connection::open(path).unwrap().execute("ALTER TABLE blocks RENAME TO gone", []);
        break_it.unwrap();
        assert!(!house.put("lost").await);
        house.janitor.work().await;
        assert!(house.logs.failure().is_some());
        assert_eq!(house.logs.days().len(), 2);
        assert!(house.folder.path().join("ballast").exists());
    }

    /// Makes `count` days with a record each, of which the last is the present one.
    async fn fill_days(house: &House, count: u32) {
        for day in 0..count {
            if day > 0 {
                house.clock.advance(Duration::from_secs(86_400));
            }
            assert!(house.put("x").await);
            // The writer of metrics begins its file by itself, in its own time.
            while house.janitor.metrics.days().last().is_some_and(|info| info.day < house.clock.now().day()) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }

    #[tokio::test]
    async fn a_disk_that_stays_full_costs_a_day_a_round_until_it_has_room() {
        let house = House::new(1 << 30);
        fill_days(&house, 4).await;
        house.janitor.work().await;
        let limit = |pages: i64| {
            move |connection: &mut rusqlite::Connection| {
                connection.pragma_update(None, "max_page_count", pages).unwrap();
            }
        };
        house.logs.in_writer(limit(1)).await;
        assert!(!house.put(&noise(1, 1 << 20)).await);
        assert!(house.logs.disk_is_full());
        for left in [3, 2, 1] {
            house.janitor.work().await;
            assert_eq!(house.logs.days().len(), left);
            assert!(!house.folder.path().join("ballast").exists());
        }
        assert!(house.janitor.findings.lock().trouble.contains("the disk is full"));
        house.logs.in_writer(limit(1 << 20)).await;
        house.janitor.work().await;
        assert_eq!(house.logs.failure(), None);
        assert_eq!(house.logs.days().len(), 1);
        assert_eq!(house.janitor.findings.lock().trouble, "");
        assert!(house.folder.path().join("ballast").exists());
    }

    #[tokio::test]
    async fn several_days_too_old_at_once_are_dropped_only_if_the_clock_stays() {
        let house = House::new(1 << 30);
        fill_days(&house, 4).await;
        house.janitor.work().await;
        let present: Vec<Day> = house.logs.days().into_iter().map(|(day, _)| day).collect();
        assert_eq!(present.len(), 4);
        house.clock.advance(Duration::from_secs(400 * 86_400));
        for _ in 0..PATIENT_ROUNDS {
            house.janitor.work().await;
            // The writer may have begun the new day's file after the last of them.
            let kept: Vec<Day> = house.logs.days().into_iter().map(|(day, _)| day).take(4).collect();
            assert_eq!(kept, present);
        }
        // Then the clock is believed: a new file begins, and what is too old goes.
        for _ in 0..3 {
            house.janitor.work().await;
        }
        assert!(house.put("now").await);
        assert_eq!(house.logs.days().len(), 1);
        assert_eq!(house.records(), 1);
    }

    #[tokio::test]
    async fn a_thread_that_ended_is_a_failure() {
        let house = House::new(1 << 30);
        house.logs.in_writer(|_| panic!("a bug in the writer")).await;
        assert!(!house.put("lost").await);
        while house.logs.failure().is_none() {
            tokio::task::yield_now().await;
        }
        assert!(house.logs.failure().unwrap().contains("log-write"));
    }
}
