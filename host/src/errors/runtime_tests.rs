use std::collections::BTreeMap;

use proptest::prelude::*;
use tempfile::TempDir;
use watchfire_types::attributes::keys;
use watchfire_types::log::RecordHead;
use watchfire_types::{LogBatch, Severity, Value, ValueRef};

use super::*;
use crate::alerts::store::MIGRATIONS;
use crate::clock::Clock;
use crate::config::ErrorTracking;
use crate::errors::decisions::Decision;
use crate::errors::originals::NoOriginals;
use crate::errors::store::IssueQuery;
use crate::errors::types::{Issue, IssueStatus};
use crate::store::{DataDirectory, Database};
use crate::telemetry::SelfMetrics;

const DAY: Duration = Duration::from_secs(86_400);

/// Stores and a consumer that a test drives step by step.
struct House {
    folder: TempDir,
    _directory: DataDirectory,
    clock: Clock,
    settings: ErrorTracking,
    own: SelfMetrics,
    logs: Logs,
    database: Database,
    errors: Errors,
    consumer: Consumer,
}

impl House {
    async fn new(max_events: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::manual(Timestamp::from_seconds(20_000 * 86_400 + 43_200));
        let directory = DataDirectory::open(folder.path()).unwrap();
        let settings = ErrorTracking {
            max_events,
            cleanup_interval: Duration::from_secs(3600),
            auto_capture: true,
            ..crate::config::Config::default().error_tracking
        };
        let own = SelfMetrics::default();
        let logs = Logs::open(folder.path(), 30 * DAY, &clock, &own).unwrap();
        let database = Database::open(&folder.path().join("state.db"), MIGRATIONS).unwrap();
        let errors = Errors::open(folder.path(), database.clone(), settings.clone(), Arc::new(NoOriginals), clock.clone(), &own)
            .await
            .unwrap();
        let consumer = Consumer::new(errors.clone(), logs.clone()).await.unwrap();
        Self { folder, _directory: directory, clock, settings, own, logs, database, errors, consumer }
    }

    /// Forgets what is in memory, as the end of the process does.
    async fn restart(&mut self) {
        self.errors.close();
        self.errors = Errors::open(
            self.folder.path(),
            self.database.clone(),
            self.settings.clone(),
            Arc::new(NoOriginals),
            self.clock.clone(),
            &self.own,
        )
        .await
        .unwrap();
        self.consumer = Consumer::new(self.errors.clone(), self.logs.clone()).await.unwrap();
    }

    /// Stores one record for each of `errors`: its class, or an ordinary line.
    async fn put(&self, errors: &[Option<&str>]) {
        let mut batch = LogBatch::default();
        let resource = batch.resource(vec![(keys::SERVICE_NAME.into(), Value::from("shop"))]);
        let head = RecordHead { severity: Severity::ERROR, resource, ..RecordHead::default() };
        for kind in errors {
            batch.push(&head, ValueRef::Text("something was done"));
            if let Some(kind) = kind {
                batch.attribute(keys::EXCEPTION_TYPE, ValueRef::Text(kind));
                batch.attribute(keys::EXCEPTION_MESSAGE, ValueRef::Text("it failed"));
            }
        }
        self.logs.ingest(batch, Vec::new()).await.unwrap();
    }

    async fn settle(&mut self) {
        while self.consumer.tick().await.unwrap() {}
    }

    async fn issues(&self) -> Vec<Issue> {
        let query = IssueQuery {
            status: None,
            services: Vec::new(),
            search: crate::errors::search::Search::default(),
            since: None,
            sort: "count",
            limit: 1000,
        };
        let now = self.clock.now();
        self.database.read(move |connection| store::issues(connection, &query, now)).await.unwrap()
    }

    async fn issue(&self, kind: &str) -> Issue {
        self.issues().await.into_iter().find(|issue| issue.kind == kind).unwrap()
    }

    fn kinds_of_events(&self) -> Vec<String> {
        let events = self.errors.events_after(0, 100).unwrap();
        events.iter().map(|event| format!("{} {}", event.kind, event.labels["type"])).collect()
    }
}

fn resolve() -> Decision {
    Decision::Resolve { release: String::new(), next: false }
}

fn ignore() -> Decision {
    Decision::Ignore { until: None, count: None }
}

#[tokio::test]
async fn errors_become_issues_with_counts_bodies_and_events() {
    let mut house = House::new(1000).await;
    house.put(&[Some("A"), None, Some("B"), Some("A")]).await;
    house.settle().await;
    let issue = house.issue("A").await;
    assert_eq!((issue.count, issue.first_seq.as_str(), issue.last_seq.as_str()), (2, "1", "4"));
    assert_eq!((issue.title.as_str(), issue.level.as_str(), issue.status), ("A: it failed", "ERROR", IssueStatus::Unresolved));
    assert_eq!(issue.hourly.iter().sum::<u64>(), 2);
    let detail = house.errors.issue(&issue.id).await.unwrap().unwrap();
    assert_eq!(detail.events.iter().map(|event| event.seq.as_str()).collect::<Vec<_>>(), ["4", "1"]);
    assert_eq!(detail.history.len(), 1);
    assert_eq!(house.kinds_of_events(), ["new A", "new B"]);
    assert_eq!(*house.errors.stored().borrow(), 2);
    assert_eq!((house.errors.position_at(house.clock.now()).unwrap(), house.errors.unresolved()), (0, 2));
    house.clock.advance(Duration::from_secs(1));
    assert_eq!(house.errors.position_at(house.clock.now()).unwrap(), 2);
    assert_eq!(house.errors.events_after(1, 100).unwrap()[0].key, house.issue("B").await.id);
}

#[tokio::test]
async fn a_resolved_issue_regresses_and_an_ignored_one_stays_ignored() {
    let mut house = House::new(1000).await;
    house.put(&[Some("A"), Some("B")]).await;
    house.settle().await;
    let (a, b) = (house.issue("A").await.id, house.issue("B").await.id);
    // What has been stored but not read when an issue is resolved is no regression.
    house.put(&[Some("A")]).await;
    let stored = *house.logs.committed().borrow();
    assert!(house.errors.decide(&a, resolve(), stored).await.unwrap());
    assert!(house.errors.decide(&b, ignore(), stored).await.unwrap());
    assert!(!house.errors.decide("none", ignore(), stored).await.unwrap());
    house.settle().await;
    assert_eq!((house.issue("A").await.status, house.issue("A").await.count), (IssueStatus::Resolved, 2));
    house.put(&[Some("A"), Some("B"), Some("A")]).await;
    house.settle().await;
    assert_eq!((house.issue("A").await.status, house.issue("A").await.resolved_at), (IssueStatus::Unresolved, None));
    assert_eq!((house.issue("B").await.status, house.issue("B").await.count), (IssueStatus::Ignored, 2));
    assert_eq!(house.kinds_of_events(), ["new A", "new B", "regressed A"]);
    assert_eq!(house.own.gauge("watchfire_issues", &[("status", "ignored")]).get() as u64, 1);
}

#[tokio::test]
async fn repeats_are_thinned_and_counts_stay() {
    let mut house = House::new(20).await;
    house.put(&[Some("rare")]).await;
    for _ in 0..5 {
        house.put(&[Some("often"); 30]).await;
        house.settle().await;
    }
    assert!(house.errors.0.bodies.kept() <= 24, "{}", house.errors.0.bodies.kept());
    assert_eq!((house.issue("often").await.count, house.issue("rare").await.count), (150, 1));
    let rare = house.errors.issue(&house.issue("rare").await.id).await.unwrap().unwrap();
    assert_eq!((rare.events.len(), rare.events[0].seq.as_str()), (1, "1"));
    let often = house.errors.0.bodies.newest(&[house.issue("often").await.id], 1000);
    assert_eq!((often[0].seq.as_str(), often.last().unwrap().seq.as_str()), ("151", "2"));
}

#[tokio::test]
async fn events_go_with_the_logs_of_their_day_and_issues_stay() {
    let mut house = House::new(1000).await;
    house.put(&[Some("A")]).await;
    house.settle().await;
    house.clock.advance(DAY);
    house.put(&[Some("B")]).await;
    house.settle().await;
    let day = house.logs.days()[0].0;
    house.logs.drop_day(day).unwrap();
    house.clock.advance(Duration::from_secs(3600));
    house.settle().await;
    assert!(!house.folder.path().join(format!("errors/{day}.db")).exists());
    let detail = house.errors.issue(&house.issue("A").await.id).await.unwrap().unwrap();
    assert_eq!((detail.issue.count, detail.events.len(), detail.events[0].kind.as_str()), (1, 1, "A"));
}

#[tokio::test]
async fn records_that_retention_took_first_are_a_gap_that_is_told() {
    let mut house = House::new(1000).await;
    house.put(&[Some("A"), None]).await;
    house.clock.advance(DAY);
    house.put(&[Some("B")]).await;
    house.logs.drop_day(house.logs.days()[0].0).unwrap();
    house.settle().await;
    assert_eq!(house.issues().await.len(), 1);
    insta::assert_snapshot!(house.errors.problems().join("\n"), @"2 log records were dropped or damaged before errors were looked for in them");
}

#[tokio::test]
async fn a_log_that_begins_anew_is_read_from_its_beginning() {
    let mut house = House::new(1000).await;
    house.put(&[Some("A"), Some("A")]).await;
    house.settle().await;
    let id = house.issue("A").await.id;
    house.errors.decide(&id, resolve(), 2).await.unwrap();
    house.logs.close();
    std::fs::remove_dir_all(house.folder.path().join("logs")).unwrap();
    std::fs::create_dir(house.folder.path().join("logs")).unwrap();
    house.logs = Logs::open(house.folder.path(), 30 * DAY, &house.clock, &house.own).unwrap();
    house.put(&[Some("A")]).await;
    house.restart().await;
    house.settle().await;
    let issue = house.issue("A").await;
    assert_eq!((issue.count, issue.status), (3, IssueStatus::Unresolved));
    assert_eq!(house.errors.0.bodies.kept(), 3);
}

#[tokio::test]
async fn statistics_tell_what_failed_how_often() {
    let mut house = House::new(1000).await;
    house.put(&[Some("old")]).await;
    house.clock.advance(30 * Duration::from_secs(3600));
    house.put(&[Some("A"), Some("B"), Some("A")]).await;
    house.settle().await;
    let now = house.clock.now();
    let statistics = house.database.read(move |connection| store::statistics(connection, 24, 1, now)).await.unwrap();
    let shares = |shares: &[crate::errors::types::Share]| {
        shares.iter().map(|share| format!("{} {}", share.name, share.count)).collect::<Vec<_>>().join(", ")
    };
    assert_eq!((statistics.total, statistics.issues, statistics.new_issues), (3, 2, 2));
    assert_eq!(shares(&statistics.by_type), "A 2, B 1");
    assert_eq!((shares(&statistics.by_service), shares(&statistics.by_level)), ("shop 3".into(), "ERROR 3".into()));
    assert_eq!(
        (statistics.top_issues.len(), statistics.top_issues[0].title.as_str(), statistics.top_issues[0].count),
        (1, "A: it failed", 2)
    );
    assert_eq!(statistics.hourly.last(), Some(&3));
    assert_eq!(statistics.hourly.iter().sum::<u64>(), 3);
}

/// What happens to a host.
#[derive(Clone, Debug)]
enum Step {
    /// Records are stored: 0 is an ordinary one, others are classes.
    Put(Vec<u8>),
    /// They are read.
    Tick,
    /// The process ends before anything of what it reads is stored.
    Restart,
    /// The process ends between the two files.
    CrashBetweenFiles,
    /// Night falls.
    NextDay,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => proptest::collection::vec(0_u8..4, 1..8).prop_map(Step::Put),
        3 => Just(Step::Tick),
        1 => Just(Step::Restart),
        2 => Just(Step::CrashBetweenFiles),
        1 => Just(Step::NextDay),
    ];
    proptest::collection::vec(step, 1..14)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn counts_and_bodies_are_exact_whatever_happens(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (counted, kept, expected) = runtime.block_on(async {
            let mut house = House::new(1000).await;
            let mut expected: BTreeMap<String, u64> = BTreeMap::new();
            for step in steps.into_iter().chain([Step::Tick]) {
                match step {
                    Step::Put(kinds) => {
                        let names: Vec<Option<String>> = kinds.iter().map(|kind| (*kind > 0).then(|| format!("E{}", char::from(b'A' + kind)))).collect();
                        house.put(&names.iter().map(Option::as_deref).collect::<Vec<_>>()).await;
                        for name in names.into_iter().flatten() {
                            *expected.entry(name).or_default() += 1;
                        }
                    }
                    Step::Tick => house.settle().await,
                    Step::Restart => house.restart().await,
                    Step::CrashBetweenFiles => {
                        let stored = *house.logs.committed().borrow();
                        if house.consumer.cursor < stored {
                            let found = house.consumer.read(stored).await.unwrap();
                            let day = house.logs.days().last().unwrap().0;
                            house.errors.0.bodies.append(day, found.bodies, found.through).await.unwrap();
                        }
                        house.restart().await;
                    }
                    Step::NextDay => house.clock.advance(DAY),
                }
            }
            let mut counted = BTreeMap::new();
            let mut kept = BTreeMap::new();
            for issue in house.issues().await {
                let mut bodies = house.errors.0.bodies.newest(std::slice::from_ref(&issue.id), 1000);
                bodies.dedup_by(|left, right| left.seq == right.seq);
                kept.insert(issue.kind.clone(), bodies.len() as u64);
                counted.insert(issue.kind, issue.count);
            }
            assert_eq!(house.errors.0.bodies.kept(), expected.values().sum::<u64>());
            (counted, kept, expected)
        });
        prop_assert_eq!(&counted, &expected);
        prop_assert_eq!(&kept, &expected);
    }
}
