//! The host is killed between every two steps of its work: each notification arrives, and twice only where that cannot be helped.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};
use watchfire::clock::Clock;
use watchfire_tests::payload::{PROTOBUF, gauge_request};
use watchfire_tests::{Client, Installation, Process, WebhookReceiver, eventually};

use crate::crash_ingest::{self, ROUNDS_PER_INSTALLATION, Sender, rounds, run_until_gone};

/// Every kill point that the scenario must pass.
const POINTS: [&str; 13] = [
    "alerts.before_transition_commit",
    "alerts.after_transition_commit",
    "alerts.before_flush_commit",
    "alerts.after_flush_commit",
    "delivery.after_lease",
    "delivery.before_send",
    "delivery.after_send",
    "delivery.before_receipt_commit",
    "delivery.after_receipt_commit",
    "logs.before_commit",
    "logs.after_commit",
    "metrics.before_commit",
    "metrics.after_commit",
];

/// Kill points that depend on how much has come in: passed or not, nothing may be lost.
const POINTS_UNDER_LOAD: [&str; 3] = ["logs.before_merge_commit", "logs.after_merge_commit", "metrics.before_flush_commit"];

/// Between the receiver's answer and the receipt: only here may a notification arrive twice.
const MAY_REPEAT: [&str; 2] = ["delivery.after_send", "delivery.before_receipt_commit"];

/// How many alerts one run raises, one after the other.
const ALERTS: usize = 3;

fn installation(receiver: &WebhookReceiver) -> Installation {
    Installation::new(json!({"alerting": {
        "evaluation_interval": 1, "group_wait": 0, "group_interval": 1, "cooldown": 0,
        "receivers": [{"name": "pager", "webhook": {"url": receiver.url(), "body": "json"}}],
        "rules": [{"name": "boom", "logs": {"text": "boom"}, "group_by": ["service.name"], "window": "1h", "comparison": ">=", "threshold": 1}],
    }}))
}

#[tokio::test]
async fn each_notification_survives_a_kill_at_every_step() {
    for round in 0..rounds() {
        let point = POINTS[round % POINTS.len()];
        // The second time around, the second alert is hit, and so on.
        let passing = 1 + round / POINTS.len() % ALERTS;
        let was_killed = kill_at(&format!("{point}:{passing}"), MAY_REPEAT.contains(&point)).await;
        assert!(was_killed, "{point} was never passed {passing} times");
    }
}

#[tokio::test]
async fn nothing_is_lost_when_merging_or_flushing_is_interrupted() {
    for point in POINTS_UNDER_LOAD {
        kill_at(point, false).await;
    }
}

/// The steps by which one notification comes about and is delivered.
const POINTS_OF_ONE: [&str; 9] = [
    "alerts.before_transition_commit",
    "alerts.after_transition_commit",
    "alerts.before_flush_commit",
    "alerts.after_flush_commit",
    "delivery.after_lease",
    "delivery.before_send",
    "delivery.after_send",
    "delivery.before_receipt_commit",
    "delivery.after_receipt_commit",
];

#[tokio::test]
async fn the_end_of_an_alert_is_told_though_the_host_is_killed_at_every_step() {
    for round in 0..rounds().div_ceil(2) {
        let point = POINTS_OF_ONE[round % POINTS_OF_ONE.len()];
        // Its first passing is for the beginning of the alert, which the other cases are about.
        kill_while_resolving(&format!("{point}:2"), MAY_REPEAT.contains(&point)).await;
    }
}

/// Lets an alert begin and end on a host that dies at `point`, and checks that each was told.
async fn kill_while_resolving(point: &str, may_repeat: bool) {
    let receiver = WebhookReceiver::start();
    let mut installation = installation(&receiver);
    installation.configure(json!({"alerting": {
        "rules": [{"name": "deep", "metric": "queue.depth", "comparison": ">", "threshold": 0.5}],
    }}));
    let mut host = installation.spawn(&[("WATCHFIRE_CRASH_AT", point)]);
    let mut deaths = 0;
    host.wait_ready().await;
    for (status, depth) in [("firing", 1.0), ("resolved", 0.0)] {
        let mut told = false;
        while !told {
            if host.exited().is_some() {
                deaths += 1;
                assert_eq!(deaths, 1, "{point}: the host ended without being asked to: {:#?}", host.log());
                host = installation.start().await;
            }
            told = eventually(&format!("{point}: `{status}` is told"), async || {
                if host.exited().is_some() || !receiver.accepted(status).is_empty() {
                    return Some(!receiver.accepted(status).is_empty());
                }
                let request = gauge_request("worker", "queue.depth", Clock::system().now(), depth);
                post(host.client(), "/v1/metrics", PROTOBUF, request).await;
                None
            })
            .await;
        }
    }
    // Told, and then killed: what follows from that is seen after the next start.
    if host.exited().is_some() {
        deaths += 1;
        host = installation.start().await;
    }
    settled(&mut host, point, &installation, &mut deaths).await;
    if deaths == 0 {
        // What was committed is seen before the host has come to the point behind it.
        host.wait_exit().await;
        host = installation.start().await;
        settled(&mut host, point, &installation, &mut 1).await;
    }
    for status in ["firing", "resolved"] {
        let keys: Vec<_> =
            receiver.deliveries().iter().filter(|one| one.json()["status"] == status).map(|one| one.key().to_owned()).collect();
        assert!(keys.iter().all(|key| *key == keys[0]), "{point}: `{status}` was decided twice: {keys:?}");
        let most = if may_repeat && status == "resolved" { 2 } else { 1 };
        assert!((1..=most).contains(&keys.len()), "{point}: `{status}` arrived {} times", keys.len());
    }
}

/// Kills the host at any moment, again and again, while several senders keep it busy and one alert after the other is raised.
#[tokio::test]
async fn notifications_and_records_survive_kills_at_any_moment_under_load() {
    let mut left = rounds();
    while left > 0 {
        let now = left.min(ROUNDS_PER_INSTALLATION);
        kill_at_any_moment(now).await;
        left -= now;
    }
}

async fn kill_at_any_moment(rounds: usize) {
    let receiver = WebhookReceiver::start();
    let installation = installation(&receiver);
    let (mut senders, mut raised) = (Sender::several(), 0);
    for round in 0..rounds {
        let mut host = installation.start().await;
        let client = host.client().clone();
        let looks = fastrand::usize(0..60);
        run_until_gone(&mut senders, &client, async || {
            let line = json!({"service": format!("service{round}"), "level": "ERROR", "message": "boom"}).to_string();
            client.post("/api/v1/logs", "application/x-ndjson", line).await.ok();
            raised += 1;
            // An evaluation comes each second: so many answers later it may be over, under way or still to come.
            for _ in 0..looks {
                client.get("/api/v1/outbox").await.ok();
            }
            host.kill9();
        })
        .await;
    }
    let mut host = installation.start().await;
    eventually("every alert is told", async || {
        (0..raised).all(|number| arrived(&receiver, &format!("service{number}"))).then_some(())
    })
    .await;
    settled(&mut host, "any moment", &installation, &mut 0).await;
    // Between answer and receipt, each kill may have made one of them come again; none comes a third time.
    let keys: Vec<_> = receiver.deliveries().iter().map(|delivery| delivery.key().to_owned()).collect();
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for key in &keys {
        *times.entry(key).or_default() += 1;
    }
    let again = keys.len() - times.len();
    assert!(again <= rounds, "{again} of {} came again after {rounds} kills", keys.len());
    check_decided_once(&receiver, "any moment");
    let stored = host.client().get("/api/v1/export/logs").await.ok().json_lines();
    crash_ingest::check(&senders, &stored, rounds);
}

/// Raises alerts on a host that dies at `point`, restarts it, and checks what arrived. Returns whether it died there.
async fn kill_at(point: &str, may_repeat: bool) -> bool {
    let receiver = WebhookReceiver::start();
    let installation = installation(&receiver);
    let mut host = installation.spawn(&[("WATCHFIRE_CRASH_AT", point)]);
    let mut deaths = 0;
    host.wait_ready().await;
    for number in 0..ALERTS {
        let service = format!("service{number}");
        while !raise(&mut host, &receiver, &service).await {
            deaths += 1;
            assert_eq!(deaths, 1, "{point}: the host ended without being asked to: {:#?}", host.log());
            host = installation.start().await;
        }
    }
    // Killed after the last answer, the host still owes nothing; alive, it must come to rest.
    if host.exited().is_some() {
        deaths += 1;
        host = installation.start().await;
    }
    settled(&mut host, point, &installation, &mut deaths).await;
    if deaths == 0 && point.starts_with("delivery.after_receipt_commit") {
        // What was committed is seen before the host has come to the point behind it.
        host.wait_exit().await;
        deaths += 1;
        host = installation.start().await;
        settled(&mut host, point, &installation, &mut deaths).await;
    }
    check(&receiver, point, may_repeat && deaths > 0);
    deaths > 0
}

/// Makes one alert fire and waits until its notification was accepted. Returns false if the host died on the way.
async fn raise(host: &mut Process, receiver: &WebhookReceiver, service: &str) -> bool {
    eventually(&format!("the notification for {service}"), async || {
        if host.exited().is_some() {
            return Some(false);
        }
        if arrived(receiver, service) {
            return Some(true);
        }
        // Again and again, as a program in trouble does; small commits are what merging is about.
        let client = host.client();
        let line = json!({"service": service, "level": "ERROR", "message": "boom"}).to_string();
        post(client, "/api/v1/logs", "application/x-ndjson", line.into_bytes()).await;
        post(client, "/v1/metrics", PROTOBUF, gauge_request(service, "queue.depth", Clock::system().now(), 1.0)).await;
        None
    })
    .await
}

/// Posts to a host that may die of it.
async fn post(client: &Client, path: &str, content_type: &str, body: Vec<u8>) {
    let request = client.request(Method::POST, path).header("content-type", content_type).body(body);
    client.try_send(request).await;
}

fn arrived(receiver: &WebhookReceiver, service: &str) -> bool {
    receiver.accepted("firing").iter().any(|body| firing_services(body).contains(&service.to_owned()))
}

/// Waits until nothing is queued; a kill on the way is answered with a start.
async fn settled(host: &mut Process, point: &str, installation: &Installation, deaths: &mut usize) {
    loop {
        let quiet = eventually("an empty queue", async || {
            if host.exited().is_some() {
                return Some(false);
            }
            let request = host.client().request(Method::GET, "/api/v1/outbox");
            let answer = host.client().try_send(request).await?.json();
            let states = answer["notifications"].as_array().cloned().unwrap_or_default();
            (!states.is_empty() && states.iter().all(|one| one["state"] != "queued")).then_some(true)
        });
        if quiet.await {
            return;
        }
        *deaths += 1;
        assert_eq!(*deaths, 1, "{point}: the host ended without being asked to: {:#?}", host.log());
        *host = installation.start().await;
    }
}

fn firing_services(body: &Value) -> Vec<String> {
    let alerts = body["alerts"].as_array().cloned().unwrap_or_default();
    let mut services: Vec<_> = alerts
        .iter()
        .filter(|alert| alert["status"] == "firing")
        .filter_map(|alert| alert["labels"]["service.name"].as_str().map(str::to_owned))
        .collect();
    services.sort();
    services
}

/// Returns the lists of services that were told as firing, and the keys under which each was told.
fn told(receiver: &WebhookReceiver) -> BTreeMap<Vec<String>, Vec<String>> {
    let mut told: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for delivery in receiver.deliveries().iter().filter(|delivery| delivery.accepted()) {
        told.entry(firing_services(&delivery.json())).or_default().push(delivery.key().to_owned());
    }
    told
}

fn check_decided_once(receiver: &WebhookReceiver, point: &str) {
    let told = told(receiver);
    let is_one = |keys: &Vec<String>| keys.iter().all(|key| *key == keys[0]);
    assert!(told.values().all(is_one), "{point}: the same was decided twice: {told:#?}");
}

fn check(receiver: &WebhookReceiver, point: &str, may_repeat: bool) {
    let told = told(receiver);
    for number in 0..ALERTS {
        let service = format!("service{number}");
        assert!(told.keys().any(|services| services.contains(&service)), "{point}: {service} never arrived: {told:#?}");
    }
    check_decided_once(receiver, point);
    let repeats: usize = told.values().map(|keys| keys.len() - 1).sum();
    assert!(repeats <= usize::from(may_repeat), "{point}: {repeats} arrived again: {told:#?}");
}
