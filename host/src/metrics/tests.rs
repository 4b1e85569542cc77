use proptest::prelude::*;
use rusqlite::params;
use watchfire_types::MetricPoint;

use super::*;

const START: Timestamp = Timestamp::from_seconds(1_795_391_047);

/// Holds a flush between encoding and writing.
pub(super) struct Gate {
    arrived: tokio::sync::Notify,
    open: Arc<Semaphore>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { arrived: tokio::sync::Notify::new(), open: Arc::new(Semaphore::new(1)) }
    }
}

impl Gate {
    pub(super) async fn pass(&self) {
        self.arrived.notify_one();
        drop(self.open.acquire().await);
    }
}

struct Host {
    folder: tempfile::TempDir,
    clock: Clock,
    own: SelfMetrics,
}

impl Host {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), clock: Clock::manual(START), own: SelfMetrics::default() }
    }

    fn open(&self) -> Metrics {
        self.open_with(MetricsSettings::default())
    }

    fn open_with(&self, settings: MetricsSettings) -> Metrics {
        Metrics::open(self.folder.path(), settings, self.clock.clone(), self.own.clone()).unwrap()
    }

    fn database(&self, day: Day) -> rusqlite::Connection {
        rusqlite::Connection::open(self.folder.path().join(format!("metrics/{day}.db"))).unwrap()
    }
}

fn point(name: &str, time: Timestamp, value: f64) -> MetricPoint {
    let (series, kind) = (SeriesKey::new(name, [("host".to_owned(), "a".to_owned())]), MetricKind::Gauge);
    MetricPoint { series, kind, unit: "%".to_owned(), timestamp: time, value, delta: false }
}

fn delta(name: &str, value: f64) -> MetricPoint {
    MetricPoint { delta: true, kind: MetricKind::Counter, ..point(name, Timestamp::ZERO, value) }
}

async fn stored(metrics: &Metrics, name: &str) -> Vec<f64> {
    let found = metrics.query(name, &[], Timestamp::ZERO, Timestamp::MAX, usize::MAX).await.unwrap();
    found.unwrap_or_default().into_iter().flat_map(|data| data.samples).map(|sample| sample.value).collect()
}

fn in_memory(metrics: &Metrics, name: &str) -> Vec<f64> {
    metrics.recent(name, &[], Timestamp::ZERO).into_iter().flat_map(|data| data.samples).map(|sample| sample.value).collect()
}

/// Leaves the files as a crash would: nothing is flushed or closed.
#[expect(clippy::needless_pass_by_value, reason = "nobody can use it afterwards")]
fn crash(metrics: Metrics) {
    metrics.task.abort();
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_crash_and_after_a_stop() {
    let host = Host::new();
    let metrics = host.open();
    metrics.ingest(vec![point("system.cpu_percent", START, 1.0), point("b", START, 7.0)]).await.unwrap();
    metrics.flush().await.unwrap();
    metrics.ingest(vec![point("system.cpu_percent", START.plus(seconds(30)), 2.0)]).await.unwrap();
    crash(metrics);
    let again = host.open();
    assert_eq!(stored(&again, "system_cpu_percent").await, [1.0, 2.0]);
    assert_eq!(in_memory(&again, "system.cpu_percent"), [1.0, 2.0]);
    again.ingest(vec![point("system.cpu_percent", START.plus(seconds(60)), 3.0)]).await.unwrap();
    again.close().await.unwrap();
    let again = host.open();
    assert_eq!(stored(&again, "system.cpu_percent").await, [1.0, 2.0, 3.0]);
    assert_eq!(in_memory(&again, "system.cpu_percent"), [1.0, 2.0, 3.0]);
    assert_eq!(again.names(), ["b", "system.cpu_percent"]);
    assert_eq!(again.nearest_name("sytem.cpu_percent").as_deref(), Some("system.cpu_percent"));
    assert_eq!(again.query("no.such", &[], Timestamp::ZERO, Timestamp::MAX, 1).await.unwrap(), None);
}

#[tokio::test]
async fn deltas_go_on_where_they_were_after_a_crash_a_flush_and_a_new_day() {
    let host = Host::new();
    let metrics = host.open();
    metrics.ingest(vec![delta("hits", 5.0)]).await.unwrap();
    crash(metrics);
    let metrics = host.open();
    host.clock.advance(seconds(10));
    metrics.ingest(vec![delta("hits", 2.0)]).await.unwrap();
    metrics.close().await.unwrap();
    // Started again on a later day: the total lies in a file of before.
    host.clock.advance(seconds(3 * 86_400));
    let metrics = host.open();
    metrics.ingest(vec![delta("hits", 3.0)]).await.unwrap();
    // The day changes while it runs, twice, and the series is silent on one of the days.
    for _ in 0..2 {
        host.clock.advance(seconds(86_400));
        metrics.ingest(vec![point("other", Timestamp::ZERO, 1.0)]).await.unwrap();
    }
    metrics.close().await.unwrap();
    let metrics = host.open();
    metrics.ingest(vec![delta("hits", 1.0)]).await.unwrap();
    assert_eq!(stored(&metrics, "hits").await, [5.0, 7.0, 10.0, 11.0]);
}

#[tokio::test]
async fn midnight_begins_a_new_file_and_loses_nothing() {
    let host = Host::new();
    let metrics = host.open();
    // START is 23:44:07.
    let mut expected = Vec::new();
    for step in 0..120 {
        let value = f64::from(step);
        metrics.ingest(vec![point("a", Timestamp::ZERO, value)]).await.unwrap();
        expected.push(value);
        host.clock.advance(seconds(30));
    }
    assert_eq!(metrics.days().len(), 2);
    assert_eq!(stored(&metrics, "a").await, expected);
    assert_eq!(in_memory(&metrics, "a"), expected);
    let state = |day| host.database(day).query_row("SELECT count(*) FROM batches", [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(state(START.day()), 0);
    metrics.close().await.unwrap();
    let metrics = host.open();
    assert_eq!((stored(&metrics, "a").await, in_memory(&metrics, "a")), (expected.clone(), expected));
}

#[tokio::test]
async fn a_crash_before_midnight_is_put_in_order_the_next_day() {
    let host = Host::new();
    let metrics = host.open();
    metrics.ingest(vec![point("a", START, 1.0), delta("hits", 2.0)]).await.unwrap();
    crash(metrics);
    host.clock.advance(seconds(3600));
    let metrics = host.open();
    assert_eq!((stored(&metrics, "a").await, in_memory(&metrics, "a")), (vec![1.0], vec![1.0]));
    metrics.ingest(vec![delta("hits", 2.0)]).await.unwrap();
    assert_eq!(stored(&metrics, "hits").await, [2.0, 4.0]);
}

#[tokio::test]
async fn the_last_value_of_a_moment_wins_wherever_it_lies() {
    let host = Host::new();
    let metrics = host.open();
    metrics.ingest(vec![point("a", START, 1.0)]).await.unwrap();
    metrics.flush().await.unwrap();
    metrics.ingest(vec![point("a", START, 2.0)]).await.unwrap();
    assert_eq!(stored(&metrics, "a").await, [2.0]);
    host.clock.advance(seconds(3600));
    metrics.ingest(vec![point("a", START, 3.0)]).await.unwrap();
    assert_eq!(stored(&metrics, "a").await, [3.0]);
    let exported = export(&metrics);
    assert_eq!(exported.len(), 1, "{exported:?}");
    metrics.flush().await.unwrap();
    assert_eq!(stored(&metrics, "a").await, [3.0]);
    assert_eq!(export(&metrics), exported);
}

fn export(metrics: &Metrics) -> Vec<export::ExportedSample> {
    let mut samples = Vec::new();
    metrics.export(Timestamp::ZERO, Timestamp::MAX, |sample| {
        samples.push(sample.clone());
        true
    });
    samples
}

#[tokio::test]
async fn a_damaged_chunk_is_reported_and_the_rest_is_read() {
    let host = Host::new();
    let metrics = host.open();
    for step in 0..600 {
        metrics.ingest(vec![point("a", START.plus(seconds(step)), step as f64)]).await.unwrap();
    }
    metrics.close().await.unwrap();
    let file = host.database(START.day());
    let mut data: Vec<u8> = file.query_row("SELECT data FROM chunks WHERE id = 2", [], |row| row.get(0)).unwrap();
    data[40] ^= 1;
    file.execute("UPDATE chunks SET data = ?1 WHERE id = 2", params![data]).unwrap();
    drop(file);
    let metrics = host.open();
    let left = stored(&metrics, "a").await;
    assert_eq!((left.len(), left[239], left[240]), (360, 239.0, 480.0));
    assert!(host.own.counter("watchfire_metrics_damaged_total", &[]).get() > 0);
}

#[tokio::test]
async fn small_flushes_fill_one_chunk() {
    let host = Host::new();
    let metrics = host.open();
    for step in 0..50 {
        metrics.ingest(vec![point("a", START.plus(seconds(step)), step as f64)]).await.unwrap();
        metrics.flush().await.unwrap();
    }
    let (chunks, count): (i64, i64) = host
        .database(START.day())
        .query_row("SELECT count(*), sum(count) FROM chunks", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    assert_eq!((chunks, count), (1, 50));
}

#[tokio::test]
async fn retention_drops_whole_days_and_never_the_present_one() {
    let host = Host::new();
    let settings = MetricsSettings { retention: seconds(2 * 86_400), ..MetricsSettings::default() };
    let metrics = host.open_with(settings.clone());
    for _ in 0..5 {
        host.clock.advance(seconds(86_400));
        metrics.ingest(vec![point("a", Timestamp::ZERO, 1.0)]).await.unwrap();
    }
    let days: Vec<_> = metrics.days().into_iter().map(|info| info.day.0 - START.day().0).collect();
    assert_eq!(days, [3, 4, 5]);
    metrics.drop_oldest_day().unwrap();
    assert_eq!(stored(&metrics, "a").await.len(), 2);
    let refused = metrics.ingest(vec![point("a", START, 1.0)]).await.unwrap();
    assert_eq!((refused.accepted, refused.rejected), (0, 1));
    assert!(refused.reason.contains("older than retention (2 days)"), "{}", refused.reason);
    assert_eq!(host.own.counter("watchfire_metrics_rejected_total", &[("reason", "too_old")]).get(), 1);
    while metrics.drop_oldest_day().unwrap().is_some() {}
    assert_eq!(metrics.days().len(), 1);
}

#[tokio::test]
async fn a_query_gives_the_newest_samples_of_the_range() {
    let host = Host::new();
    let metrics = host.open();
    for step in 0..100 {
        metrics.ingest(vec![point("a", START.plus(seconds(step)), step as f64)]).await.unwrap();
    }
    let labels = [("host".to_owned(), "a".to_owned())];
    let query = metrics.query("a", &labels, START.plus(seconds(10)), START.plus(seconds(20)), 3).await.unwrap().unwrap();
    assert_eq!(query[0].samples.iter().map(|sample| sample.value).collect::<Vec<_>>(), [17.0, 18.0, 19.0]);
    let other = [("host".to_owned(), "b".to_owned())];
    assert_eq!(metrics.query("a", &other, START, Timestamp::MAX, 3).await.unwrap(), Some(Vec::new()));
}

#[tokio::test]
async fn a_lower_cap_on_series_loses_no_point_of_before() {
    let host = Host::new();
    let metrics = host.open();
    metrics.ingest(vec![point("a", START, 1.0), point("b", START, 2.0)]).await.unwrap();
    crash(metrics);
    let metrics = host.open_with(MetricsSettings { max_series: 1, ..MetricsSettings::default() });
    metrics.flush().await.unwrap();
    let accepted = metrics.ingest(vec![point("c", START, 3.0), point("b", START.plus(seconds(1)), 4.0)]).await.unwrap();
    assert_eq!((accepted.accepted, accepted.rejected), (1, 1));
    assert_eq!((stored(&metrics, "a").await, stored(&metrics, "b").await), (vec![1.0], vec![2.0, 4.0]));
}

#[tokio::test]
async fn health_names_what_is_wrong_and_what_is_missing() {
    let host = Host::new();
    let metrics = host.open();
    let unknown = health::health(&metrics, START, 0);
    assert_eq!((unknown.status, unknown.reasons.len()), (health::HealthStatus::Unknown, 3));
    let names = [("system.cpu_percent", 50.0), ("system.memory_percent", 98.0), ("system.disk_usage_percent", 91.0)];
    metrics.ingest(names.map(|(name, value)| point(name, START, value)).to_vec()).await.unwrap();
    let critical = health::health(&metrics, START, 2);
    assert_eq!((critical.status, critical.alerts_firing), (health::HealthStatus::Critical, 2));
    assert_eq!(critical.reasons, ["memory is 98.0 % in use", "disk is 91.0 % in use"]);
    let stale = health::health(&metrics, START.plus(seconds(600)), 0);
    assert_eq!(stale.status, health::HealthStatus::Unknown);
    assert!(stale.reasons[0].contains("stale"), "{:?}", stale.reasons);
}

#[tokio::test]
async fn many_senders_at_once_are_committed_together_and_all_are_told() {
    let host = Host::new();
    let metrics = host.open();
    let senders =
        (0..64).map(|sender| {
            let metrics = metrics.clone();
            async move {
                metrics.ingest((0..20).map(|step| point(&format!("m{sender}"), START.plus(seconds(step)), 1.0)).collect()).await
            }
        });
    for accepted in futures::future::join_all(senders).await {
        assert_eq!(accepted.unwrap().accepted, 20);
    }
    assert!(*metrics.changed().borrow() < 64, "{} commits", *metrics.changed().borrow());
    assert_eq!(metrics.stats().series, 64);
}

#[tokio::test]
async fn ingest_goes_on_during_a_flush_of_many_series() {
    let host = Host::new();
    let metrics = host.open();
    let later = START.plus(seconds(30));
    metrics.ingest((0..20_000).map(|series| point(&format!("m{series}"), START, 1.0)).collect()).await.unwrap();
    metrics.ingest(vec![delta("hits", 1.0)]).await.unwrap();
    let closed = Arc::clone(&metrics.shared.gate.open).acquire_owned().await.unwrap();
    host.clock.advance(seconds(601));
    metrics.shared.gate.arrived.notified().await;
    // Everything is encoded and nothing written: whoever sends now is not kept waiting, and reads what there is.
    metrics.ingest((0..20_000).map(|series| point(&format!("m{series}"), later, 2.0)).collect()).await.unwrap();
    metrics.ingest(vec![delta("hits", 1.0)]).await.unwrap();
    assert_eq!(stored(&metrics, "m7").await, [1.0, 2.0]);
    let batches = || {
        let query = "SELECT (SELECT count(*) FROM batches), (SELECT count(*) FROM chunks)";
        host.database(START.day()).query_row(query, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))).unwrap()
    };
    assert_eq!(batches(), (4, 0));
    drop(closed);
    while batches().1 == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(batches(), (2, 20_001), "what came meanwhile is only in batches, and stays");
    crash(metrics);
    let metrics = host.open();
    assert_eq!((stored(&metrics, "m7").await, stored(&metrics, "hits").await), (vec![1.0, 2.0], vec![1.0, 2.0]));
    assert_eq!(metrics.stats().points_in_memory, 2 * 20_001 + 20_001);
    metrics.close().await.unwrap();
    assert_eq!(batches(), (0, 20_001));
}

#[tokio::test]
async fn a_crash_during_a_flush_and_a_new_day_during_one_lose_nothing() {
    let host = Host::new();
    let metrics = host.open();
    metrics.ingest(vec![point("a", START, 1.0)]).await.unwrap();
    let closed = Arc::clone(&metrics.shared.gate.open).acquire_owned().await.unwrap();
    host.clock.advance(seconds(601));
    metrics.shared.gate.arrived.notified().await;
    metrics.ingest(vec![point("a", START.plus(seconds(1)), 2.0)]).await.unwrap();
    crash(metrics);
    drop(closed);
    let metrics = host.open();
    assert_eq!(stored(&metrics, "a").await, [1.0, 2.0]);
    let closed = Arc::clone(&metrics.shared.gate.open).acquire_owned().await.unwrap();
    host.clock.advance(seconds(301));
    metrics.ingest(vec![point("a", START.plus(seconds(2)), 3.0)]).await.unwrap();
    host.clock.advance(seconds(300));
    metrics.shared.gate.arrived.notified().await;
    // 23:44:07 and 1202 seconds: past midnight. The new day waits for the flush of the old one.
    let next = tokio::spawn({
        let metrics = metrics.clone();
        async move { metrics.ingest(vec![point("a", START.plus(seconds(3)), 4.0)]).await }
    });
    drop(closed);
    next.await.unwrap().unwrap();
    assert_eq!((metrics.days().len(), stored(&metrics, "a").await), (2, vec![1.0, 2.0, 3.0, 4.0]));
}

#[tokio::test]
async fn a_metric_that_came_days_late_is_known_after_a_restart() {
    let host = Host::new();
    let metrics = host.open();
    metrics.ingest(vec![point("late", START.minus(seconds(86_401)), 1.0)]).await.unwrap();
    metrics.close().await.unwrap();
    let metrics = host.open();
    assert_eq!((metrics.names(), stored(&metrics, "late").await), (vec!["late".to_owned()], vec![1.0]));
}

#[derive(Clone, Debug)]
enum Step {
    Store(Vec<(u8, u32, i16)>),
    Flush,
    Wait(u32),
    Stop,
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let points = prop::collection::vec((0_u8..3, 0_u32..200_000, any::<i16>()), 1..40);
    let step = prop_oneof![
        6 => points.prop_map(Step::Store),
        1 => Just(Step::Flush),
        2 => (0_u32..40_000).prop_map(Step::Wait),
        1 => Just(Step::Stop),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Whatever happens in between: late points, the same moment twice, flushes, new days, stops and crashes.
    #[test]
    fn what_was_stored_is_read_back_equal_and_once(steps in steps()) {
        let host = Host::new();
        let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut life = runtime();
        let mut metrics = life.block_on(async { host.open() });
        let mut expected: BTreeMap<(String, Timestamp), f64> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Store(points) => {
                    let now = host.clock.now();
                    let batch: Vec<_> = points
                        .into_iter()
                        .map(|(name, back, value)| point(&format!("m{name}"), now.minus(seconds(u64::from(back))), f64::from(value)))
                        .collect();
                    expected.extend(batch.iter().map(|point| ((point.series.name.clone(), point.timestamp), point.value)));
                    prop_assert_eq!(life.block_on(metrics.ingest(batch)).unwrap().rejected, 0);
                }
                Step::Flush => life.block_on(metrics.flush()).unwrap(),
                Step::Wait(time) => host.clock.advance(seconds(u64::from(time))),
                Step::Stop | Step::Crash => {
                    if matches!(step, Step::Stop) {
                        life.block_on(metrics.close()).unwrap();
                    }
                    // The engine's task ends with its runtime, in the middle of whatever it does.
                    life = runtime();
                    metrics = life.block_on(async { host.open() });
                }
            }
        }
        let exported = export(&metrics);
        prop_assert_eq!(exported.len(), expected.len());
        for sample in exported {
            prop_assert_eq!(expected.get(&(sample.name, sample.timestamp)).copied(), sample.value);
        }
        for name in ["m0", "m1", "m2"] {
            let values: Vec<f64> = expected.iter().filter(|((other, _), _)| other == name).map(|(_, value)| *value).collect();
            prop_assert_eq!(life.block_on(stored(&metrics, name)), values);
        }
    }
}
