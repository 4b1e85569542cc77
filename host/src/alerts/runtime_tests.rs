//! The engine from data to outbox, over a real database and a clock that only the test moves; and its API.

use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use axum::http::{Request, StatusCode};
use parking_lot::Mutex;
use tower::ServiceExt as _;

use super::*;
use crate::alerts::engine::testing::{TestSamples, log_rule, metric_rule};
use crate::alerts::events::testing::TestEvents;
use crate::alerts::events::{FINDINGS, ISSUES};
use crate::alerts::log_windows::testing::{errors, factory};
use crate::alerts::types::RuleOrigin;
use crate::alerts::{Settings, api, query};
use crate::clock::Clock;
use crate::config::{Config, Secret};
use crate::delivery::notification::Status;
use crate::delivery::outbox::Outbox;
use crate::delivery::types::{Channel, Receiver, Webhook, WebhookBody};
use crate::store::Database;
use crate::telemetry::SelfMetrics;

#[path = "runtime_event_tests.rs"]
mod events;

const START: u64 = 1_795_000_000;

/// A log in memory.
#[derive(Clone)]
struct TestLog(Arc<(Mutex<LogBatch>, watch::Sender<u64>, AtomicBool)>);

impl TestLog {
    fn new() -> Self {
        Self(Arc::new((Mutex::default(), watch::Sender::new(0), AtomicBool::new(false))))
    }

    fn push(&self, batch: &LogBatch) {
        let mut log = self.0.0.lock();
        log.append(batch, 0..batch.len());
        let len = log.len() as u64;
        log.seq = (1..=len).collect();
        self.0.1.send_replace(len);
    }
}

impl LogSource for TestLog {
    fn cursor_at_arrival(&self, time: Timestamp) -> Result<u64, StoreError> {
        let log = self.0.0.lock();
        Ok(log.observed.iter().position(|observed| *observed >= time.as_nanos()).unwrap_or(log.len()) as u64)
    }

    fn read_after(&self, cursor: u64, limit: usize) -> Result<LogBatch, StoreError> {
        if self.0.2.load(Ordering::Relaxed) {
            return Err(StoreError::Damaged { place: "day file".into(), what: "rust".into() });
        }
        let log = self.0.0.lock();
        let mut batch = LogBatch::default();
        batch.append(&log, (cursor as usize..log.len()).take(limit));
        Ok(batch)
    }

    fn committed(&self) -> watch::Receiver<u64> {
        self.0.1.subscribe()
    }
}

struct Bench {
    folder: tempfile::TempDir,
    rules: Vec<Rule>,
    clock: Clock,
    samples: Arc<TestSamples>,
    log: TestLog,
    findings: TestEvents,
    issues: TestEvents,
    database: Database,
    alerts: Alerts,
    runner: Runner,
}

fn sources(samples: &Arc<TestSamples>, log: &TestLog, findings: &TestEvents, issues: &TestEvents) -> Sources {
    Sources {
        samples: Arc::clone(samples) as _,
        logs: Arc::new(log.clone()),
        events: vec![(FINDINGS, Arc::new(findings.clone()) as _), (ISSUES, Arc::new(issues.clone()) as _)],
        analyzers: Arc::new(|| vec!["ssh-brute-force".to_owned()]),
    }
}

async fn open(folder: &tempfile::TempDir, rules: &[Rule], clock: &Clock) -> (Database, Alerts) {
    let database = Database::open(&folder.path().join("state.db"), store::MIGRATIONS).unwrap();
    let webhook = Webhook { url: Secret::new("http://127.0.0.1:9/"), headers: Vec::new(), body: WebhookBody::Json };
    let receiver = Receiver { name: "chat".into(), channel: Channel::Webhook(webhook), send_resolved: true };
    let mut alerting = Config::default().alerting;
    alerting.rules = rules.to_vec();
    alerting.receivers = vec![receiver];
    alerting.disabled_receivers = vec!["mail".into()];
    let settings =
        Settings { alerting, collection_interval: Duration::from_secs(30), external_url: "http://localhost:3473".into() };
    let outbox = Outbox::new(database.clone());
    let metrics = SelfMetrics::default();
    let alerts = Alerts::open(database.clone(), outbox, settings, clock.clone(), &metrics, factory()).await.unwrap();
    (database, alerts)
}

impl Bench {
    async fn new(rules: Vec<Rule>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::manual(Timestamp::from_seconds(START));
        let (samples, log) = (Arc::new(TestSamples::default()), TestLog::new());
        let (findings, issues) = (TestEvents::new(), TestEvents::new());
        let (database, alerts) = open(&folder, &rules, &clock).await;
        let runner = Runner::new(alerts.clone(), sources(&samples, &log, &findings, &issues)).await.unwrap();
        Self { folder, rules, clock, samples, log, findings, issues, database, alerts, runner }
    }

    /// The process ends and another one begins.
    async fn restart(self) -> Self {
        let Self { folder, rules, clock, samples, log, findings, issues, database, alerts, runner } = self;
        database.close();
        drop((alerts, runner));
        let (database, alerts) = open(&folder, &rules, &clock).await;
        let runner = Runner::new(alerts.clone(), sources(&samples, &log, &findings, &issues)).await.unwrap();
        Self { folder, rules, clock, samples, log, findings, issues, database, alerts, runner }
    }

    fn errors(&self, count: usize) {
        let now = self.clock.now().as_millis() / 1000;
        self.log.push(&errors("api", &vec![now; count]));
    }

    async fn at(&mut self, second: u64) -> Tick {
        let now = self.clock.now().as_millis() / 1000 - START;
        self.clock.advance(Duration::from_secs(second - now));
        self.runner.tick().await.unwrap()
    }

    /// What is in the outbox, oldest first.
    fn story(&self) -> String {
        let rows = self.database.read_blocking(|connection| query::outbox(connection, None, 100)).unwrap();
        let line = |row: &crate::alerts::view::OutboxView| {
            let at = row.notification.created_at.since(Timestamp::from_seconds(START)).as_secs();
            let firing = row.notification.count(Status::Firing);
            format!("{at}s {} +{firing} -{}", row.notification.reason.name(), row.notification.alerts.len() - firing)
        };
        rows.iter().rev().map(line).collect::<Vec<_>>().join(", ")
    }

    fn states(&self) -> String {
        let alerts = self.database.read_blocking(|connection| query::alerts(connection, None, 100)).unwrap();
        alerts.iter().map(|alert| format!("{} {}", alert.rule, alert.state)).collect::<Vec<_>>().join(", ")
    }
}

#[tokio::test]
async fn a_burst_of_errors_is_told_once_and_resolves_once_on_time() {
    let mut bench = Bench::new(vec![log_rule("burst", 60, 10.0, &[])]).await;
    bench.errors(9);
    assert_eq!(bench.at(0).await.next, None);
    bench.errors(1);
    let tick = bench.at(1).await;
    assert_eq!(bench.states(), "burst firing");
    assert_eq!(tick.next, Some(Timestamp::from_seconds(START + 11)), "group_wait");
    let tick = bench.at(11).await;
    assert_eq!(tick.next, Some(Timestamp::from_seconds(START + 61)), "the first nine leave the window");
    bench.at(61).await;
    assert_eq!(bench.states(), "burst resolved");
    bench.at(311).await;
    insta::assert_snapshot!(bench.story(), @"11s first +1 -0, 311s resolved +0 -1");
}

#[tokio::test]
async fn a_restart_keeps_firing_pending_and_windows() {
    let pending = Rule { hold_for: Duration::from_secs(100), ..metric_rule("disk", "disk", 80.0) };
    let mut bench = Bench::new(vec![log_rule("burst", 60, 10.0, &[]), pending]).await;
    bench.samples.set("disk", "sda", &[(START, 90.0)]);
    bench.errors(10);
    bench.at(0).await;
    assert_eq!(bench.states(), "burst firing, disk pending");
    bench.at(20).await;
    let mut bench = bench.restart().await;
    bench.at(40).await;
    assert_eq!(bench.states(), "burst firing, disk pending");
    bench.at(100).await;
    assert_eq!(bench.states(), "disk firing, burst resolved");
    bench.at(400).await;
    insta::assert_snapshot!(bench.story(), @"20s first +1 -0, 400s first +1 -0, 400s resolved +0 -1");
}

#[tokio::test]
async fn what_happened_while_the_host_was_off_is_seen() {
    let mut bench = Bench::new(vec![log_rule("burst", 60, 10.0, &[])]).await;
    bench.at(0).await;
    bench.clock.advance(Duration::from_secs(5));
    bench.errors(10);
    let mut bench = bench.restart().await;
    bench.at(6).await;
    assert_eq!(bench.states(), "burst firing");
}

#[tokio::test]
async fn a_log_that_cannot_be_read_resolves_nothing_and_stops_nothing_else() {
    let mut bench = Bench::new(vec![log_rule("burst", 60, 10.0, &[]), metric_rule("disk", "disk", 80.0)]).await;
    bench.errors(10);
    bench.at(0).await;
    bench.log.0.2.store(true, Ordering::Relaxed);
    let mut bench = bench.restart().await;
    bench.samples.set("disk", "sda", &[(START + 30, 90.0)]);
    bench.at(30).await;
    assert_eq!(bench.states(), "disk firing, burst firing");
    bench.log.0.2.store(false, Ordering::Relaxed);
    bench.at(61).await;
    assert_eq!(bench.states(), "disk firing, burst resolved");
}

#[tokio::test]
async fn a_sender_whose_clock_is_behind_fires_a_rule_and_a_new_rule_does_not_resolve_it() {
    let mut bench = Bench::new(vec![log_rule("burst", 60, 10.0, &[])]).await;
    bench.at(0).await;
    bench.log.push(&errors("api", &[START - 600; 10]));
    bench.at(1).await;
    assert_eq!(bench.states(), "burst firing");
    bench.alerts.add_rule(Rule { origin: RuleOrigin::Api, ..log_rule("other", 60, 11.0, &[]) }).await.unwrap();
    bench.log.push(&errors("api", &[START - 600; 10]));
    bench.at(2).await;
    assert_eq!(bench.states(), "burst firing");
    assert_eq!(bench.runner.windows.lock().logs.groups("burst", crate::alerts::types::Comparison::Greater, 0.0)[0].count, 20);
    bench.at(63).await;
    assert_eq!(bench.states(), "burst resolved");
}

/// Matches only after somebody else on the runtime has had a turn.
struct Patient(Mutex<std::sync::mpsc::Receiver<()>>);

impl crate::alerts::log_windows::RecordMatcher for Patient {
    fn matches(&self, _: &LogBatch, _: usize) -> bool {
        self.0.lock().recv_timeout(Duration::from_secs(20)).is_ok()
    }
}

#[tokio::test]
async fn counting_does_not_hold_up_the_threads_that_serve_requests() {
    let mut bench = Bench::new(vec![log_rule("burst", 60, 1.0, &[])]).await;
    let (sender, receiver) = std::sync::mpsc::channel();
    let receiver = Mutex::new(Some(receiver));
    let factory: crate::alerts::log_windows::MatcherFactory =
        Arc::new(move |_| Box::new(Patient(Mutex::new(receiver.lock().take().unwrap()))));
    *bench.runner.windows.lock() = Windows::new(&bench.rules, &factory, 0);
    bench.errors(1);
    let other = async {
        tokio::task::yield_now().await;
        sender.send(()).unwrap();
    };
    tokio::join!(bench.at(0), other);
    assert_eq!(bench.states(), "burst firing");
}

#[tokio::test]
async fn with_no_group_wait_the_notification_is_queued_with_the_transition() {
    let mut bench = Bench::new(vec![metric_rule("disk", "disk", 80.0)]).await;
    let policy = Policy {
        timing: crate::alerts::pipeline::Timing { group_wait: Duration::ZERO, ..bench.runner.policy.timing },
        ..(*bench.runner.policy).clone()
    };
    bench.runner.policy = Arc::new(policy);
    bench.samples.set("disk", "sda", &[(START, 90.0)]);
    bench.at(0).await;
    insta::assert_snapshot!(bench.story(), @"0s first +1 -0");
}

#[tokio::test]
async fn a_repeated_notification_shows_the_present_value() {
    let mut rule = metric_rule("disk", "disk", 80.0);
    rule.annotations = vec![("summary".into(), "disk at {{value}} %".into())];
    let mut bench = Bench::new(vec![rule]).await;
    bench.samples.set("disk", "sda", &[(START, 90.0)]);
    bench.at(0).await;
    bench.at(10).await;
    bench.samples.set("disk", "sda", &[(START + 14_400, 97.0)]);
    bench.at(14_410).await;
    insta::assert_snapshot!(bench.story(), @"10s first +1 -0, 14410s repeat +1 -0");
    let rows = bench.database.read_blocking(|connection| query::outbox(connection, Some("queued"), 1)).unwrap();
    assert_eq!(rows[0].notification.alerts[0].annotations["summary"], "disk at 97 %");
}

#[tokio::test]
async fn the_loop_notices_data_and_deadlines_by_itself() {
    let bench = Bench::new(vec![log_rule("burst", 60, 10.0, &[])]).await;
    let shutdown = CancellationToken::new();
    let (_sender, metrics_changed) = watch::channel(0);
    let running = tokio::spawn({
        let alerts = bench.alerts.clone();
        let sources = sources(&bench.samples, &bench.log, &bench.findings, &bench.issues);
        let shutdown = shutdown.clone();
        async move { alerts.run(sources, metrics_changed, shutdown).await }
    });
    let mut queued = bench.alerts.0.outbox.changes();
    bench.errors(10);
    while bench.alerts.firing().is_empty() {
        tokio::task::yield_now().await;
    }
    bench.clock.advance(Duration::from_secs(10));
    queued.changed().await.unwrap();
    insta::assert_snapshot!(bench.story(), @"10s first +1 -0");
    shutdown.cancel();
    running.await.unwrap().unwrap();
}

async fn request(bench: &Bench, method: &str, path: &str, body: &str) -> (StatusCode, serde_json::Value) {
    let request = Request::builder().method(method).uri(path).body(Body::from(body.to_owned())).unwrap();
    let response = api::routes(bench.alerts.clone()).oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into_owned().into()))
}

#[tokio::test]
async fn a_rule_made_through_the_api_works_at_once_survives_and_can_be_deleted() {
    let mut bench = Bench::new(vec![metric_rule("disk", "disk", 80.0)]).await;
    bench.samples.set("memory", "a", &[(START, 95.0)]);
    bench.at(0).await;
    let body = r#"{"name": "内存", "metric": "memory", "threshold": 90}"#;
    assert_eq!(request(&bench, "POST", "/api/v1/rules", body).await.0, StatusCode::CREATED);
    assert_eq!(request(&bench, "POST", "/api/v1/rules", body).await.0, StatusCode::CONFLICT);
    bench.at(1).await;
    assert_eq!(bench.states(), "内存 firing");
    bench.at(11).await;

    let bench = bench.restart().await;
    let (_, rules) = request(&bench, "GET", "/api/v1/rules", "").await;
    assert_eq!((&rules["rules"][1]["name"], &rules["rules"][1]["state"]), (&"内存".into(), &"firing".into()));
    assert_eq!(rules["rules"][1]["origin"], "api");
    let (status, refused) = request(&bench, "DELETE", "/api/v1/rules/disk", "").await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(refused["error"]["message"].as_str().unwrap().contains("configuration file"), "{refused}");

    let path = "/api/v1/rules/%E5%86%85%E5%AD%98";
    assert_eq!(request(&bench, "DELETE", path, "").await.0, StatusCode::NO_CONTENT);
    assert_eq!(request(&bench, "DELETE", path, "").await.0, StatusCode::NOT_FOUND);
    let mut bench = bench;
    bench.at(400).await;
    insta::assert_snapshot!(bench.story(), @"11s first +1 -0, 400s resolved +0 -1");
}

#[tokio::test]
async fn a_wrong_rule_is_refused_with_all_that_is_wrong() {
    let bench = Bench::new(Vec::new()).await;
    let message = |answer: (StatusCode, serde_json::Value)| {
        assert_eq!(answer.0, StatusCode::BAD_REQUEST);
        answer.1["error"]["message"].as_str().unwrap().to_owned()
    };
    let body = r#"{"name": "x", "metric": "m", "threshold": 1, "receiver": "cat"}"#;
    insta::assert_snapshot!(message(request(&bench, "POST", "/api/v1/rules", body).await), @"receiver: no receiver named `cat`; did you mean `chat`?");
    let body = r#"{"name": "x", "metric": "m", "threshold": 1, "window": "soon"}"#;
    insta::assert_snapshot!(message(request(&bench, "POST", "/api/v1/rules", body).await), @"window: expected a duration: whole seconds, or text such as `90s`, `5m`, `1h30m`, `250ms`");
    insta::assert_snapshot!(message(request(&bench, "GET", "/api/v1/alerts?state=burning", "").await), @"`state`: `burning` is none of pending, firing, resolved");
}

#[tokio::test]
async fn a_rule_for_a_receiver_that_is_not_enabled_is_accepted_with_a_warning_and_outlives_the_receiver() {
    let bench = Bench::new(Vec::new()).await;
    let body = r#"{"name": "x", "metric": "m", "threshold": 1, "receiver": "mail"}"#;
    let (status, rule) = request(&bench, "POST", "/api/v1/rules", body).await;
    assert_eq!(status, StatusCode::CREATED);
    insta::assert_snapshot!(rule["warning"].as_str().unwrap(), @"receiver `mail` is not enabled, so this rule tells nobody");
    let gone = Rule { name: "y".into(), receiver: Some("gone".into()), ..bench.alerts.rules()[0].clone() };
    bench.alerts.add_rule(gone).await.unwrap();
    let before = bench.alerts.rules();
    assert_eq!(before.len(), 2);
    let bench = bench.restart().await;
    assert_eq!(bench.alerts.rules(), before);
    let (_, rules) = request(&bench, "GET", "/api/v1/rules", "").await;
    insta::assert_snapshot!(rules["rules"][1]["warning"].as_str().unwrap(), @"receiver `gone` is no longer in the configuration, so this rule tells nobody");
    let failures = bench.alerts.failures();
    assert_eq!(failures.iter().map(|failure| failure.rule.as_str()).collect::<Vec<_>>(), ["y"], "`mail` is only switched off");
}

#[tokio::test]
async fn there_is_an_end_to_rules_made_through_the_api() {
    let bench = Bench::new(Vec::new()).await;
    let rule = |index: usize| Rule { origin: RuleOrigin::Api, ..metric_rule(&format!("r{index}"), "m", 1.0) };
    bench.alerts.0.rules.send_replace(Arc::new((0..api::MAX_API_RULES).map(rule).collect()));
    let (status, refused) = request(&bench, "POST", "/api/v1/rules", r#"{"name": "x", "metric": "m", "threshold": 1}"#).await;
    assert_eq!(status, StatusCode::CONFLICT);
    insta::assert_snapshot!(refused["error"]["message"].as_str().unwrap(), @"there are 1000 rules made through the API, and there may be no more: delete some, or write rules into the configuration file");
    let long = format!(r#"{{"name": "x", "metric": "m", "threshold": 1, "annotations": {{"a": "{}"}}}}"#, "x".repeat(1 << 16));
    assert_eq!(request(&bench, "POST", "/api/v1/rules", &long).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn lists_and_the_export_refuse_what_they_do_not_know() {
    let bench = Bench::new(Vec::new()).await;
    let message = async |path: &str| request(&bench, "GET", path, "").await.1["error"]["message"].as_str().unwrap().to_owned();
    insta::assert_snapshot!(message("/api/v1/outbox?sate=dead").await, @"unknown parameter `sate`; did you mean `state`?");
    insta::assert_snapshot!(message("/api/v1/alerts?limit=10001").await, @"`limit`: `10001` is not a whole number up to 10000");
    insta::assert_snapshot!(message("/api/v1/export/alerts?since=soon").await, @"`since`: `soon` is not a time: write `2026-11-22T08:30:00Z`, seconds since 1970, or how long ago, such as `15m`, `1h` or `7d`");
}

#[tokio::test]
async fn a_rule_on_an_unknown_metric_is_shown_with_the_nearest_name() {
    let mut bench = Bench::new(vec![metric_rule("disk", "disc", 80.0)]).await;
    bench.samples.set("disk", "sda", &[(START, 1.0)]);
    bench.at(0).await;
    let (_, rules) = request(&bench, "GET", "/api/v1/rules", "").await;
    assert_eq!(rules["rules"][0]["warning"], "no metric is called `disc`; did you mean `disk`?");
    assert_eq!(rules["rules"][0]["origin"], serde_json::to_value(RuleOrigin::File).unwrap());
}

#[tokio::test]
async fn why_was_i_paged_has_an_answer() {
    let mut bench = Bench::new(vec![metric_rule("disk", "disk", 80.0)]).await;
    bench.samples.set("disk", "sda", &[(START, 90.0)]);
    bench.at(0).await;
    bench.at(10).await;
    let (_, alerts) = request(&bench, "GET", "/api/v1/alerts?state=firing", "").await;
    let fingerprint = alerts["alerts"][0]["fingerprint"].as_str().unwrap();
    let (_, detail) = request(&bench, "GET", &format!("/api/v1/alerts/{fingerprint}"), "").await;
    assert_eq!(detail["history"][0]["reason"], "disk > 80: the value is 90");
    assert_eq!((&detail["decisions"][0]["decision"], &detail["decisions"][0]["reason"]), (&"notify".into(), &"first".into()));
    assert_eq!(detail["decisions"][0]["outbox_id"], detail["notifications"][0]["id"]);
    assert_eq!(request(&bench, "GET", "/api/v1/alerts/0", "").await.0, StatusCode::NOT_FOUND);
    let (_, export) = request(&bench, "GET", "/api/v1/export/alerts?since=1h", "").await;
    assert_eq!(export["state"], "firing");
    let (_, outbox) = request(&bench, "GET", "/api/v1/outbox", "").await;
    assert_eq!(outbox["notifications"][0]["state"], "queued");
}

#[test]
fn every_path_is_documented() {
    use utoipa::OpenApi as _;
    let mut document = api::ApiDoc::openapi();
    document.merge(crate::delivery::api::ApiDoc::openapi());
    let paths: Vec<&str> = document.paths.paths.keys().map(String::as_str).collect();
    insta::assert_snapshot!(paths.join("\n"), @"
        /api/v1/alerts
        /api/v1/alerts/{fingerprint}
        /api/v1/export/alerts
        /api/v1/outbox
        /api/v1/receivers
        /api/v1/receivers/{name}/test
        /api/v1/rule-groups/{name}
        /api/v1/rules
        /api/v1/rules/{name}
        ");
    let json = document.to_json().unwrap();
    for schema in ["RawRule", "AlertDetail", "OutboxView", "Notification", "ReceiverView", "TestResult"] {
        assert!(json.contains(&format!("#/components/schemas/{schema}\"")), "{schema}");
    }
}
