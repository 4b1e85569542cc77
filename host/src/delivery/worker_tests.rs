//! Cases for the worker against scripted channels and a small HTTP server.

use std::collections::VecDeque;

use super::*;
use crate::delivery::channel::Receipt;
use crate::delivery::notification::{Notification, Status};
use crate::delivery::progress::Saved;

/// A channel that answers from a list, and remembers what it was sent. After the list: delivered.
#[derive(Clone, Default)]
pub struct Script {
    answers: Arc<Mutex<VecDeque<Outcome>>>,
    pub sent: Arc<Mutex<Vec<Notification>>>,
}

impl Script {
    pub fn send(&self, notification: &Notification) -> Outcome {
        self.sent.lock().push(notification.clone());
        self.answers.lock().pop_front().unwrap_or(Outcome::Delivered { receipt: "ok".into() })
    }
}

use std::collections::BTreeMap;

use axum::http::StatusCode;
use axum::routing::post;

use crate::alerts::store::MIGRATIONS;
use crate::config::Secret;
use crate::delivery::channel::Ways;
use crate::delivery::outbox::{self, OutboxCounts, new_id};
use crate::delivery::render::test_notification;
use crate::delivery::types::{Channel, Receiver, Webhook, WebhookBody};
use crate::plugins::{Plugins, PluginsConfig};
use crate::store::Database;

struct Bench {
    _folder: tempfile::TempDir,
    database: Database,
    outbox: Outbox,
    clock: Clock,
    metrics: SelfMetrics,
    health: Arc<Mutex<Health>>,
    worker: Worker,
}

/// The ways of a host without plugins, and its folder.
fn ways() -> (Ways, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(&folder.path().join("state.db"), MIGRATIONS).unwrap();
    let clock = Clock::manual(Timestamp::from_seconds(1_795_000_000));
    let plugins = Plugins::new(PluginsConfig::default(), folder.path(), database, clock.clone(), SelfMetrics::default());
    (Ways::new(plugins, None, clock).unwrap(), folder)
}

fn bench(sender: Sender) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(&folder.path().join("state.db"), MIGRATIONS).unwrap();
    let outbox = Outbox::new(database.clone());
    let clock = Clock::manual(Timestamp::from_seconds(1_795_000_000));
    let (metrics, health) = (SelfMetrics::default(), Arc::new(Mutex::new(Health::default())));
    let worker = worker("chat", sender, &outbox, &clock, &metrics, &health);
    Bench { _folder: folder, database, outbox, clock, metrics, health, worker }
}

fn worker(
    receiver: &str,
    sender: Sender,
    outbox: &Outbox,
    clock: &Clock,
    metrics: &SelfMetrics,
    health: &Arc<Mutex<Health>>,
) -> Worker {
    let repeat = Duration::from_secs(14_400);
    Worker::new(receiver.into(), Arc::new(sender), outbox.clone(), clock.clone(), metrics.clone(), Arc::clone(health), repeat)
}

impl Bench {
    /// Queues a notification for `receiver`, of a group of its own, tried for a day.
    async fn queue(&self, receiver: &str) -> String {
        let now = self.clock.now();
        let mut notification = test_notification(new_id(now), receiver, "", now);
        notification.group_key = format!("{receiver}:{}", notification.id);
        notification.group_labels = BTreeMap::from([("alertname".into(), "disk".into())]);
        let (id, leases) = (notification.id.clone(), self.outbox.leases().clone());
        let expires = now.plus(Duration::from_secs(86_400));
        self.database.write(move |transaction| outbox::enqueue(transaction, &leases, notification, expires)).await.unwrap();
        self.outbox.notify();
        id
    }

    async fn counts(&self) -> OutboxCounts {
        self.outbox.counts().await.unwrap()
    }

    /// Moves the clock to when the worker wants to go on, and returns how long that took.
    async fn wait(&mut self) -> Duration {
        match self.worker.step().await.unwrap() {
            Step::Wait(Some(until)) => {
                let wait = until.since(self.clock.now());
                self.clock.advance(wait);
                wait
            }
            other => panic!("expected a wait, got {other:?}"),
        }
    }

    fn counter(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.metrics.counter(name, labels).get()
    }
}

fn script(answers: impl IntoIterator<Item = Outcome>) -> Script {
    Script { answers: Arc::new(Mutex::new(answers.into_iter().collect())), ..Script::default() }
}

fn retry(after: Option<u64>) -> Outcome {
    Outcome::Retry { after: after.map(Duration::from_secs), class: "server", reason: "HTTP 503".into() }
}

#[tokio::test]
async fn a_server_that_answers_500_then_429_then_200_gets_it_once() {
    // A real server: answers as scripted, and remembers keys and bodies.
    let seen: Arc<Mutex<Vec<(String, serde_json::Value)>>> = Arc::default();
    let handler = {
        let seen = Arc::clone(&seen);
        move |headers: axum::http::HeaderMap, body: axum::Json<serde_json::Value>| async move {
            let mut seen = seen.lock();
            seen.push((headers["idempotency-key"].to_str().unwrap().to_owned(), body.0));
            match seen.len() {
                1 => (StatusCode::INTERNAL_SERVER_ERROR, [("x-nothing", "0")], "oops"),
                2 => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "120")], "slow down"),
                _ => (StatusCode::OK, [("x-nothing", "0")], "thanks"),
            }
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        axum::serve(listener, axum::Router::new().route("/hook", post(handler))).await.unwrap();
    });
    let webhook = Webhook { url: Secret::new(format!("http://{address}/hook")), headers: Vec::new(), body: WebhookBody::Auto };
    let receiver = Receiver { name: "chat".into(), channel: Channel::Webhook(webhook), send_resolved: true };
    let mut bench = bench(Sender::new(&receiver, &ways().0).unwrap());
    let id = bench.queue("chat").await;

    assert_eq!(bench.worker.step().await.unwrap(), Step::Worked);
    let first = bench.wait().await;
    assert!(first >= Duration::from_millis(250) && first <= Duration::from_secs(1), "{first:?}");
    assert_eq!(bench.worker.step().await.unwrap(), Step::Worked);
    assert_eq!(bench.wait().await, Duration::from_secs(120));
    assert_eq!(bench.worker.step().await.unwrap(), Step::Worked);
    assert_eq!(bench.worker.step().await.unwrap(), Step::Wait(None));

    let seen = seen.lock();
    assert_eq!(seen.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), [&id; 3]);
    assert_eq!(seen[2].1["version"], "4");
    let id = id.clone();
    let receipts: Vec<String> = bench
        .database
        .read_blocking(|connection| {
            connection
                .prepare("SELECT outcome || ' ' || detail FROM receipts WHERE outbox_id = ?1 ORDER BY attempt")?
                .query_map([id], |row| row.get(0))?
                .collect()
        })
        .unwrap();
    assert_eq!(receipts, ["retry HTTP 500: oops", "retry HTTP 429: slow down", "delivered HTTP 200: thanks"]);
    assert_eq!(bench.counter("watchfire_notifications_total", &[("receiver", "chat")]), 1);
    assert_eq!(bench.counter("watchfire_notifications_failed_total", &[("receiver", "chat"), ("reason", "rate_limited")]), 1);
    server.abort();
}

#[tokio::test]
async fn a_receiver_that_cannot_be_reached_is_tried_again() {
    // A port on which nobody listens: bound, and freed at once.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = Secret::new(format!("http://{address}/secret-path"));
    let webhook = Webhook { url, headers: Vec::new(), body: WebhookBody::Slack };
    let receiver = Receiver { name: "chat".into(), channel: Channel::Webhook(webhook), send_resolved: true };
    let mut bench = bench(Sender::new(&receiver, &ways().0).unwrap());
    bench.queue("chat").await;
    assert_eq!(bench.worker.step().await.unwrap(), Step::Worked);
    assert_eq!(bench.counts().await.queued, 1);
    let error = bench.health.lock().last_error.clone().unwrap();
    assert!(error.starts_with("network: ") && !error.contains("secret-path"), "{error}");
}

#[tokio::test]
async fn a_refusal_for_good_is_a_dead_letter_at_once() {
    let script = script([Outcome::Never { reason: "HTTP 404".into() }]);
    let mut bench = bench(Sender::Scripted(script.clone()));
    bench.queue("chat").await;
    assert_eq!(bench.worker.step().await.unwrap(), Step::Worked);
    assert_eq!(bench.worker.step().await.unwrap(), Step::Wait(None));
    assert_eq!((bench.counts().await.dead, script.sent.lock().len()), (1, 1));
    assert_eq!(bench.counter("watchfire_notifications_dead_total", &[("receiver", "chat")]), 1);
}

#[tokio::test]
async fn refused_credentials_pause_the_receiver_and_keep_its_notifications() {
    let script = script([Outcome::Credentials { reason: "HTTP 401".into() }]);
    let mut bench = bench(Sender::Scripted(script.clone()));
    bench.queue("chat").await;
    bench.queue("chat").await;
    assert_eq!(bench.worker.step().await.unwrap(), Step::Worked);
    assert!(bench.health.lock().credentials);
    assert_eq!(bench.wait().await, Duration::from_secs(300));
    assert_eq!(bench.worker.step().await.unwrap(), Step::Worked);
    assert_eq!(bench.worker.step().await.unwrap(), Step::Worked);
    assert_eq!((bench.counts().await.delivered, script.sent.lock().len()), (2, 3));
    assert_eq!(*bench.health.lock(), Health { delivered_at: Some(bench.clock.now()), ..Health::default() });
}

#[tokio::test]
async fn an_outage_of_a_day_ends_in_a_dead_letter_not_earlier() {
    let script = script(std::iter::repeat_n(retry(None), 10_000));
    let mut bench = bench(Sender::Scripted(script.clone()));
    let start = bench.clock.now();
    bench.queue("chat").await;
    while bench.counts().await.queued == 1 {
        assert_eq!(bench.worker.step().await.unwrap(), Step::Worked);
        if bench.counts().await.queued == 1 {
            bench.wait().await;
        }
    }
    let tried = bench.clock.now().since(start);
    assert!(tried > Duration::from_secs(86_400 - 300) && tried <= Duration::from_secs(86_400), "{tried:?}");
    let attempts = script.sent.lock().len();
    assert!((300..1_500).contains(&attempts), "{attempts}");
}

#[tokio::test]
async fn what_expired_while_the_host_was_off_is_tried_once_more() {
    let script = script([]);
    let mut bench = bench(Sender::Scripted(script.clone()));
    bench.queue("chat").await;
    bench.clock.advance(Duration::from_secs(10 * 86_400));
    assert_eq!(bench.worker.step().await.unwrap(), Step::Worked);
    assert_eq!(bench.counts().await.delivered, 1);
}

#[tokio::test]
async fn a_slow_receiver_delays_no_other() {
    let bench = bench(Sender::Scripted(script([retry(Some(3_600))])));
    let fast = script([]);
    let mut other = worker("mail", Sender::Scripted(fast.clone()), &bench.outbox, &bench.clock, &bench.metrics, &Arc::default());
    bench.queue("chat").await;
    bench.queue("mail").await;
    let mut slow = bench.worker;
    assert_eq!(slow.step().await.unwrap(), Step::Worked);
    assert_eq!(other.step().await.unwrap(), Step::Worked);
    assert_eq!(fast.sent.lock().len(), 1);
    assert!(matches!(slow.step().await.unwrap(), Step::Wait(Some(_))));
}

#[tokio::test]
async fn a_worker_wakes_for_new_rows_and_ends_on_shutdown() {
    let script = script([]);
    let bench = bench(Sender::Scripted(script.clone()));
    let shutdown = CancellationToken::new();
    let another = worker("chat", Sender::Scripted(script.clone()), &bench.outbox, &bench.clock, &bench.metrics, &bench.health);
    let running = tokio::spawn(another.run(shutdown.clone()));
    tokio::task::yield_now().await;
    bench.queue("chat").await;
    while bench.counts().await.delivered == 0 {
        tokio::task::yield_now().await;
    }
    shutdown.cancel();
    running.await.unwrap();
    assert_eq!(script.sent.lock().len(), 1);
}

#[tokio::test]
async fn a_process_killed_between_any_two_steps_delivers_at_least_once_and_at_most_once_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let clock = Clock::manual(Timestamp::from_seconds(1_795_000_000));
    for killed_after in ["lease", "send", "nothing"] {
        let arrived = script([]);
        let now = clock.now();
        let mut notification = test_notification(new_id(now), "chat", "", now);
        notification.group_key = killed_after.into();
        {
            let database = Database::open(&path, MIGRATIONS).unwrap();
            let outbox = Outbox::new(database.clone());
            let (copy, leases) = (notification.clone(), outbox.leases().clone());
            let expires = now.plus(Duration::from_secs(60));
            database.write(move |transaction| outbox::enqueue(transaction, &leases, copy, expires)).await.unwrap();
            let Next::Leased(leased) = outbox.lease("chat", now).await.unwrap() else { panic!("nothing to send") };
            if killed_after == "send" {
                arrived.send(&leased.notification);
            }
            // The process ends here: leases are gone, the file stays.
            database.close();
        }
        let database = Database::open(&path, MIGRATIONS).unwrap();
        let outbox = Outbox::new(database.clone());
        let mut worker =
            worker("chat", Sender::Scripted(arrived.clone()), &outbox, &clock, &SelfMetrics::default(), &Arc::default());
        assert_eq!(worker.step().await.unwrap(), Step::Worked);
        assert_eq!(worker.step().await.unwrap(), Step::Wait(None));
        let ids: Vec<String> = arrived.sent.lock().iter().map(|sent| sent.id.clone()).collect();
        let expected = if killed_after == "send" { 2 } else { 1 };
        assert_eq!(ids, vec![notification.id.clone(); expected], "killed after {killed_after}");
        database.close();
    }
}

#[tokio::test]
async fn notifications_to_a_receiver_that_is_gone_are_given_up() {
    let bench = bench(Sender::Scripted(script([])));
    bench.queue("chat").await;
    bench.queue("gone").await;
    let gone = bench.outbox.tidy(vec!["chat".into()], bench.clock.now()).await.unwrap();
    assert_eq!(gone, ["gone"]);
    assert_eq!((bench.counts().await.queued, bench.counts().await.dead), (1, 1));
}

fn saved(by: &str) -> Saved {
    Saved { by: by.into(), state: vec![1, 2, 3] }
}

impl Bench {
    async fn leased(&self) -> Leased {
        let Next::Leased(leased) = self.outbox.lease("chat", self.clock.now()).await.unwrap() else { panic!("nothing to send") };
        *leased
    }

    async fn settle(&self, leased: &Leased, settled: Settled) {
        self.outbox.settle(&leased.notification, settled, self.clock.now(), Duration::from_secs(60)).await.unwrap();
    }

    fn again(&self) -> Settled {
        Settled::Retry { at: self.clock.now(), error: "HTTP 503".into(), credentials: false }
    }
}

#[tokio::test]
async fn how_far_an_attempt_came_is_known_to_the_next_one_of_the_same_plugin() {
    let bench = bench(Sender::Scripted(script([])));
    let id = bench.queue("chat").await;
    let leased = bench.leased().await;
    assert_eq!((leased.progress.clone(), leased.previous_receipt.clone()), (None, None));
    Progress::of_row(&bench.outbox, &id, None, None).keep("ding 1", vec![1, 2, 3]).await.unwrap();
    bench.settle(&leased, bench.again()).await;
    let leased = bench.leased().await;
    assert_eq!(leased.progress, Some(saved("ding 1")));
    let progress = Progress::of_row(&bench.outbox, &id, leased.progress.clone(), None);
    assert_eq!((progress.saved_by("ding 1"), progress.saved_by("ding 2")), (Some(vec![1, 2, 3]), None));
    bench.settle(&leased, Settled::Delivered { receipt: "ok".into() }).await;
    let left: Option<Vec<u8>> = bench
        .database
        .read_blocking(|connection| connection.query_row("SELECT progress FROM outbox", [], |row| row.get(0)))
        .unwrap();
    assert_eq!(left, None);
}

#[tokio::test]
async fn what_replaces_a_notification_begins_at_its_beginning() {
    let bench = bench(Sender::Scripted(script([])));
    let first = bench.queue("chat").await;
    let leased = bench.leased().await;
    bench.outbox.keep_progress(&first, saved("ding 1")).await.unwrap();
    // Queued while the first is being sent, and then while it waits.
    for _ in 0..2 {
        let mut newer = leased.notification.clone();
        newer.id = new_id(bench.clock.now());
        let (leases, expires) = (bench.outbox.leases().clone(), bench.clock.now().plus(Duration::from_secs(600)));
        bench.database.write(move |transaction| outbox::enqueue(transaction, &leases, newer, expires)).await.unwrap();
        if bench.outbox.leases().holds(&first) {
            bench.settle(&leased, bench.again()).await;
        }
    }
    let newest = bench.leased().await;
    assert_ne!(newest.notification.id, first);
    assert_eq!((newest.progress, newest.notification.superseded), (None, 2));
}

#[tokio::test]
async fn a_groups_last_receipt_is_given_to_its_next_notification_until_all_is_over() {
    let bench = bench(Sender::Scripted(script([])));
    bench.queue("chat").await;
    let first = bench.leased().await;
    let receipt = |reference: &str| Receipt { text: "ok".into(), reference: Some(reference.into()) };
    bench.settle(&first, Settled::Delivered { receipt: receipt("message 7") }).await;
    for (status, expected) in [(Status::Firing, Some("message 7")), (Status::Resolved, Some("message 8")), (Status::Firing, None)] {
        let mut next = first.notification.clone();
        next.id = new_id(bench.clock.now());
        next.alerts[0].status = status;
        let (leases, expires) = (bench.outbox.leases().clone(), bench.clock.now().plus(Duration::from_secs(600)));
        bench.database.write(move |transaction| outbox::enqueue(transaction, &leases, next, expires)).await.unwrap();
        let leased = bench.leased().await;
        assert_eq!(leased.previous_receipt.as_deref(), expected);
        bench.settle(&leased, Settled::Delivered { receipt: receipt("message 8") }).await;
    }
}

#[tokio::test]
async fn a_receiver_whose_turn_it_is_not_waits_without_being_called_broken() {
    let after = Duration::from_secs(40);
    let mut bench = bench(Sender::Scripted(script([Outcome::Paced { after }])));
    bench.queue("chat").await;
    assert_eq!(bench.worker.step().await.unwrap(), Step::Worked);
    assert_eq!(*bench.health.lock(), Health::default());
    assert_eq!(bench.wait().await, after);
    assert_eq!(bench.worker.step().await.unwrap(), Step::Worked);
    assert_eq!(bench.counts().await.delivered, 1);
}

#[tokio::test]
async fn a_plugin_that_is_not_there_is_tried_again_and_named() {
    let receiver = Receiver { name: "chat".into(), channel: Channel::Component("ding".into()), send_resolved: true };
    let (ways, _folder) = ways();
    let mut bench = bench(Sender::new(&receiver, &ways).unwrap());
    ways.plugins.look().await.unwrap();
    bench.queue("chat").await;
    assert_eq!(bench.worker.step().await.unwrap(), Step::Worked);
    assert_eq!(bench.counts().await.queued, 1);
    assert_eq!(bench.health.lock().last_error.as_deref(), Some("no plugin is called `ding`"));
    assert_eq!(bench.counter("watchfire_notifications_failed_total", &[("receiver", "chat"), ("reason", "plugin")]), 1);
}
