//! Pull channels and pull consumers, by requests made by hand: what is offered, leased, acknowledged, and that nothing is lost or doubled when the host is killed.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use watchfire::delivery::types::{Channel, Receiver};
use watchfire_tests::{Client, Installation, Process, TestHost, error_burst_rule, eventually};

use crate::crash_ingest::rounds;

async fn ask(client: &Client, path: &str) -> Value {
    client.post(&format!("/api/v1/pull/{path}"), "application/json", "").await.ok().json()
}

fn line(number: usize) -> Value {
    json!({"service": "shop", "level": "ERROR", "message": format!("record {number}")})
}

#[tokio::test]
async fn a_notification_is_handed_out_until_it_is_acknowledged() {
    let host = TestHost::start_with(|config, _| {
        config.alerting.receivers.push(Receiver { name: "app".into(), channel: Channel::Pull, send_resolved: false });
        config.alerting.group_wait = Duration::ZERO;
    });
    let client = host.client();
    host.add_rule(&error_burst_rule(1)).await;
    client.ingest(&[line(1)]).await;
    let first = host
        .advance_until("a notification is offered", Duration::from_secs(1), async || {
            let answer = ask(client, "channels/app/poll?wait=0&lease=20").await;
            (!answer["notification"].is_null()).then(|| answer["notification"].clone())
        })
        .await;
    assert_eq!((&first["test"], &first["notification"]["alerts"][0]["rule"]), (&json!(false), &json!("error burst")));
    assert_eq!(ask(client, "channels/app/poll?wait=0").await["notification"], Value::Null, "somebody has it");
    host.clock().advance(Duration::from_secs(20));
    let second = eventually("it comes back", async || {
        let answer = ask(client, "channels/app/poll?wait=0").await;
        (!answer["notification"].is_null()).then(|| answer["notification"].clone())
    })
    .await;
    assert_eq!(second["notification"]["id"], first["notification"]["id"]);
    let acknowledge = async |lease: &Value| {
        client
            .post_json(
                "/api/v1/pull/channels/app/acknowledge",
                &json!({"lease": lease, "delivered": true, "detail": "in the book"}),
            )
            .await
    };
    assert_eq!(acknowledge(&first["lease"]).await.status, 409);
    assert_eq!(acknowledge(&second["lease"]).await.status, 204);
    let receipts = eventually("the receipt is stored", async || {
        let delivered = client.outbox("delivered").await;
        (delivered.len() == 1).then_some(delivered)
    })
    .await;
    assert!(receipts[0].to_string().contains("in the book"), "{receipts:#?}");
    let receivers = client.get_json("/api/v1/receivers").await;
    assert_eq!((&receivers["receivers"][0]["kind"], &receivers["receivers"][0]["state"]), (&json!("pull"), &json!("ok")));
}

#[tokio::test]
async fn what_is_asked_wrongly_is_told_what_to_do() {
    let host = TestHost::start_with(|config, _| {
        config.alerting.receivers.push(Receiver { name: "app".into(), channel: Channel::Pull, send_resolved: false });
    });
    let client = host.client();
    let said = async |path: &str, body: &str| {
        let answer = client.post(&format!("/api/v1/pull/{path}"), "application/json", body.to_owned()).await;
        (answer.status, answer.json()["error"]["message"].as_str().unwrap_or_default().to_owned())
    };
    let (status, message) = said("channels/ap/poll", "").await;
    assert_eq!(status, 404);
    assert!(message.contains("did you mean `app`?") && message.contains("\"pull\": {}"), "{message}");
    assert_eq!(said("channels/app/poll?wait=100", "").await.0, 400);
    assert_eq!(said("channels/app/acknowledge", "{}").await.0, 400);
    assert_eq!(said("channels/app/acknowledge", r#"{"lease": "x", "delivered": true}"#).await.0, 409);
    assert_eq!(said("consumers/app/poll?q=%28", "").await.0, 400);
    assert_eq!(said("consumers/app/acknowledge", r#"{"after": "0", "cursor": "7"}"#).await.0, 400);
    let (status, message) =
        said("consumers/app/acknowledge", r#"{"after": "0", "cursor": "0", "findings": [{"rule": "x", "level": "loud"}]}"#).await;
    assert!(status == 400 && message.contains("findings[0].level"), "{message}");
}

#[tokio::test]
async fn a_test_goes_through_the_application() {
    let host = TestHost::start_with(|config, _| {
        config.alerting.receivers.push(Receiver { name: "app".into(), channel: Channel::Pull, send_resolved: false });
    });
    let client = host.client();
    let application = async {
        let answer = eventually("the test is offered", async || {
            let answer = ask(client, "channels/app/poll?wait=1").await;
            (!answer["notification"].is_null()).then_some(answer)
        })
        .await;
        assert_eq!(answer["notification"]["test"], true);
        let said = json!({"lease": answer["notification"]["lease"], "delivered": false, "detail": "the siren is broken"});
        client.post_json("/api/v1/pull/channels/app/acknowledge", &said).await.ok();
    };
    let (tested, ()) = tokio::join!(client.post("/api/v1/receivers/app/test", "application/json", ""), application);
    let tested = tested.ok().json();
    assert_eq!((&tested["delivered"], &tested["detail"]), (&json!(false), &json!("the siren is broken")));
}

#[tokio::test]
async fn a_consumer_sees_what_matches_after_its_cursor() {
    let host = TestHost::start();
    let client = host.client();
    client.ingest(&[line(0)]).await;
    let poll = "consumers/app/poll?wait=0&q=record&limit=2";
    let empty = ask(client, poll).await;
    assert_eq!((&empty["after"], &empty["cursor"]), (&json!("1"), &json!("1")), "a new one begins at the end");
    client.ingest(&[line(1), json!({"message": "something else"}), line(2), line(3)]).await;
    let batch = ask(client, poll).await;
    let bodies = |batch: &Value| -> Vec<String> {
        let records = batch["records"].as_array().cloned().unwrap_or_default();
        records.iter().filter_map(|record| record["body"].as_str().map(str::to_owned)).collect()
    };
    assert_eq!(bodies(&batch), ["record 1", "record 2"]);
    assert_eq!(ask(client, poll).await, batch, "what is not acknowledged comes back");
    let finding = json!({"rule": "seen", "level": "error", "title": "two records", "seqs": [batch["records"][0]["seq"]], "labels": {"shop": "a"}});
    let said = json!({"after": batch["after"], "cursor": batch["cursor"], "findings": [finding, {"rule": ""}]});
    let acknowledge = "/api/v1/pull/consumers/app/acknowledge";
    assert_eq!(client.post_json(acknowledge, &said).await.ok().json(), json!({"stored": 1, "malformed": 1}));
    assert_eq!(client.post_json(acknowledge, &said).await.status, 409, "nothing is found twice");
    let last = ask(client, poll).await;
    assert_eq!(bodies(&last), ["record 3"]);
    let findings = client.get_json("/api/v1/findings?plugin=pull:app").await;
    let finding = &findings["findings"][0];
    assert_eq!(
        (&finding["title"], &finding["severity_number"], &finding["first_seq"]),
        (&json!("two records"), &json!(17), &json!("2"))
    );
    let analyzer = &client.get_json("/api/v1/analyzers").await["analyzers"][0];
    assert_eq!(
        (&analyzer["plugin"], &analyzer["state"], &analyzer["cursor"]),
        (&json!("pull:app"), &json!("running"), &said["cursor"])
    );
    assert_eq!(bodies(&ask(client, "consumers/other/poll?wait=0&from=start&level=error").await).len(), 4);
}

/// Reads and acknowledges as an application does, one finding a record, until the host is gone or everything is read.
async fn analyze(client: &Client, until: &str) -> Option<bool> {
    let request = |path: &str, body: String| {
        client
            .request(Method::POST, &format!("/api/v1/pull/consumers/app/{path}"))
            .header("content-type", "application/json")
            .body(body)
    };
    let batch = client.try_send(request("poll?wait=0&limit=7&from=start", String::new())).await?.ok().json();
    let records = batch["records"].as_array().cloned().unwrap_or_default();
    let findings: Vec<Value> =
        records.iter().map(|record| json!({"rule": "seen", "dedupe_key": record["seq"], "seqs": [record["seq"]]})).collect();
    if batch["cursor"] != batch["after"] {
        let said = json!({"after": batch["after"], "cursor": batch["cursor"], "findings": findings});
        let answer = client.try_send(request("acknowledge", said.to_string())).await?;
        assert!(matches!(answer.status, 200 | 409), "{}", answer.body);
    }
    Some(batch["cursor"] == until)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_consumer_finds_survives_a_kill_at_every_step_once() {
    const POINTS: [&str; 2] = ["analysis.before_commit", "analysis.after_commit"];
    const RECORDS: usize = 60;
    for round in 0..rounds() {
        let installation = Installation::new(json!({}));
        let point = format!("{}:{}", POINTS[round % POINTS.len()], fastrand::usize(1..=6));
        let mut host = installation.spawn(&[("WATCHFIRE_CRASH_AT", &point)]);
        let client = host.wait_ready().await.expect("it has nothing to die of yet");
        client.ingest(&(0..RECORDS).map(line).collect::<Vec<_>>()).await;
        let last = RECORDS.to_string();
        eventually(&format!("{point} is passed"), async || match analyze(&client, &last).await {
            None => Some(()),
            Some(done) => {
                assert!(!done, "{point} was not passed");
                None
            }
        })
        .await;
        // It has died, or is dying: what it holds is free once it has ended.
        host.kill9();
        let mut host = installation.start().await;
        let client = host.client().clone();
        eventually("everything is read", async || analyze(&client, &last).await.filter(|done| *done)).await;
        let list = client.get_json("/api/v1/findings?limit=1000&plugin=pull:app").await;
        let findings = list["findings"].as_array().cloned().unwrap_or_default();
        assert_eq!(findings.len(), RECORDS, "round {round}, {point}");
        assert!(findings.iter().all(|finding| finding["findings"] == 1), "round {round}, {point}: found twice");
        host.kill9();
    }
}

/// Takes notifications as an application does; returns how often each was taken, by its id.
async fn take(host: &Process, taken: &mut BTreeMap<String, usize>) -> Option<()> {
    let client = host.client();
    let request = |path: &str, body: String| {
        client
            .request(Method::POST, &format!("/api/v1/pull/channels/app/{path}"))
            .header("content-type", "application/json")
            .body(body)
    };
    let answer = client.try_send(request("poll?wait=1", String::new())).await?.ok().json();
    let handed = &answer["notification"];
    if !handed.is_null() {
        *taken.entry(handed["notification"]["id"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
        let said = json!({"lease": handed["lease"], "delivered": true});
        client.try_send(request("acknowledge", said.to_string())).await?;
    }
    Some(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pulled_notification_survives_a_kill_at_every_step() {
    const POINTS: [&str; 5] = [
        "delivery.after_lease",
        "delivery.before_send",
        "delivery.after_send",
        "delivery.before_receipt_commit",
        "delivery.after_receipt_commit",
    ];
    for round in 0..rounds().div_ceil(2).max(POINTS.len()) {
        let point = POINTS[round % POINTS.len()];
        let installation = Installation::new(json!({"alerting": {
            "evaluation_interval": 1, "group_wait": 0, "group_interval": 1, "cooldown": 0,
            "receivers": [{"name": "app", "pull": {}}],
            "rules": [{"name": "boom", "logs": {"text": "record"}, "window": "1h", "comparison": ">=", "threshold": 1}],
        }}));
        // A worker that begins looks for a row before there is one.
        let mut host =
            installation.spawn(&[("WATCHFIRE_CRASH_AT", &format!("{point}:{}", if point == POINTS[0] { 2 } else { 1 }))]);
        let client = host.wait_ready().await.expect("it has nothing to die of yet");
        // It may die before it has answered.
        let request =
            client.request(Method::POST, "/api/v1/logs").header("content-type", "application/x-ndjson").body(line(1).to_string());
        client.try_send(request).await;
        let mut taken = BTreeMap::new();
        eventually(&format!("{point} is passed"), async || {
            take(&host, &mut taken).await;
            host.exited().is_some().then_some(())
        })
        .await;
        let mut host = installation.start().await;
        let delivered = eventually(&format!("{point}: the receipt is stored"), async || {
            take(&host, &mut taken).await;
            let delivered = host.client().outbox("delivered").await;
            (!delivered.is_empty()).then_some(delivered)
        })
        .await;
        assert_eq!((delivered.len(), taken.len()), (1, 1), "{point}: {taken:?}");
        let times = taken.values().sum::<usize>();
        let may_repeat = matches!(point, "delivery.after_send" | "delivery.before_receipt_commit");
        assert!(times == 1 || (may_repeat && times == 2), "{point}: taken {times} times");
        host.kill9();
    }
}
