//! Notifications through the DingTalk component, on a whole host, to a server that plays DingTalk.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Value, json};
use watchfire_tasks::{components, python};
use watchfire_tests::{Installation, Process, Reply, WebhookReceiver, eventually};

const TOKEN: &str = "0123abc/def+456";
const SECRET: &str = "SEC9f8e7d6c5b4a";
const OK: Reply = Reply::Body(200, r#"{"errcode":0,"errmsg":"ok"}"#);

fn dingtalk(script: impl IntoIterator<Item = Reply>) -> WebhookReceiver {
    WebhookReceiver::answering(script, OK)
}

fn installation(service: &WebhookReceiver) -> Installation {
    Installation::new(json!({
        "plugins": {"components": {"ding": {
            "component": components::find("dingtalk"), "capabilities": ["secrets"],
            "config": {"url": service.url()}, "secrets": {"access_token": TOKEN, "sign_secret": SECRET},
        }}},
        "alerting": {
            "evaluation_interval": 1, "group_wait": 0, "group_interval": 1, "cooldown": 0,
            "receivers": [{"name": "team", "component": {"plugin": "ding"}}],
            "rules": [{
                "name": "boom", "logs": {"text": "boom"}, "group_by": ["service.name"], "window": "1h", "comparison": ">=", "threshold": 1,
                "annotations": {"summary": "x".repeat(290), "description": "y".repeat(290)},
            }],
        },
    }))
}

/// Raises an alert for each of `count` services at once.
async fn raise(host: &Process, count: usize) {
    let line = |number: usize| json!({"service": format!("service{number:03}"), "level": "ERROR", "message": "boom"}).to_string();
    let lines: Vec<String> = (0..count).map(line).collect();
    host.client().post("/api/v1/logs", "application/x-ndjson", lines.join("\n")).await.ok();
}

/// Returns the notifications in the outbox once there is one and none is queued; `None` if the host is gone before.
async fn settled(host: &mut Process) -> Option<Vec<Value>> {
    eventually("an empty queue", async || {
        if host.exited().is_some() {
            return Some(None);
        }
        let request = host.client().request(reqwest::Method::GET, "/api/v1/outbox");
        let rows = host.client().try_send(request).await?.json()["notifications"].as_array().cloned().unwrap_or_default();
        (!rows.is_empty() && rows.iter().all(|row| row["state"] != "queued")).then_some(Some(rows))
    })
    .await
}

/// Returns every file below the data directory that holds `text`.
fn files_with(installation: &Installation, text: &str) -> Vec<String> {
    let mut folders = vec![installation.data()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if std::fs::read(&path).is_ok_and(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes())) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

#[tokio::test]
async fn a_notification_arrives_signed_and_leaves_no_secret_behind() {
    // It shows the token to whoever asks, as a service that is not well might.
    let leak = Reply::Body(200, r#"{"errcode":-1,"errmsg":"busy, you are 0123abc/def+456 or 0123abc%2Fdef%2B456"}"#);
    let service = dingtalk([leak]);
    let installation = installation(&service);
    let mut host = installation.start().await;
    raise(&host, 1).await;
    let rows = settled(&mut host).await.unwrap();
    let receipts = &rows[0]["receipts"];
    assert_eq!(receipts[0]["detail"], "errcode -1: busy, you are [secret] or [secret]");
    assert_eq!((&receipts[1]["outcome"], &receipts[1]["detail"]), (&json!("delivered"), &json!("delivered")));

    let deliveries = service.deliveries();
    assert_eq!(deliveries.len(), 2);
    for delivery in &deliveries {
        let query = delivery.path.strip_prefix("/hook?").unwrap();
        let mut check = Command::new(python::ensure().unwrap());
        check.arg(python::programs().join("dingtalk_signature.py")).args([query, SECRET]);
        let said = String::from_utf8(check.output().unwrap().stdout).unwrap();
        assert!(said.ends_with(&format!(" {TOKEN} True\n")), "{said}: {query}");
    }
    let message = deliveries[1].json();
    assert_eq!((&message["msgtype"], &message["markdown"]["title"]), (&json!("markdown"), &json!("[FIRING:1] boom")));
    assert!(message["markdown"]["text"].as_str().unwrap().contains("service.name=service000"), "{message}");

    // Tried by hand, as an operator does.
    let tried = installation.run_against(&host, &["test", "channel", "team"]).expect(0);
    assert!(tried.stdout.contains("team"), "{}", tried.stdout);
    let receivers = host.client().get("/api/v1/receivers").await.ok().json();
    let origin = service.url().trim_end_matches("/hook");
    assert_eq!((&receivers["receivers"][0]["kind"], &receivers["receivers"][0]["address"]), (&json!("component"), &json!(origin)));

    let mut shown = format!("{:?}{}{}", host.log(), tried.stdout, tried.stderr);
    for path in ["receivers", "plugins", "plugins/ding", "outbox", "alerts", "status", "config", "plugins/ding/log"] {
        shown.push_str(&host.client().get(&format!("/api/v1/{path}")).await.body);
    }
    host.kill9();
    for secret in [TOKEN, SECRET, "0123abc%2Fdef%2B456"] {
        assert!(!shown.contains(secret), "{shown}");
        assert_eq!(files_with(&installation, secret), Vec::<String>::new());
    }
}

#[tokio::test]
async fn an_error_behind_a_status_of_200_is_an_error() {
    let busy = Reply::Body(200, r#"{"errcode":-1,"errmsg":"busy"}"#);
    for (script, outcomes) in [
        (vec![busy, Reply::Status(503)], vec!["retry", "retry", "delivered"]),
        (vec![Reply::Body(200, r#"{"errcode":430101,"errmsg":"unsafe outer link"}"#)], vec!["dead"]),
    ] {
        let service = dingtalk(script);
        let mut host = installation(&service).start().await;
        raise(&host, 1).await;
        let rows = settled(&mut host).await.unwrap();
        let receipts = rows[0]["receipts"].as_array().unwrap();
        let seen: Vec<&str> = receipts.iter().map(|receipt| receipt["outcome"].as_str().unwrap()).collect();
        assert_eq!(seen, outcomes, "{receipts:?}");
    }
}

#[tokio::test]
async fn refused_credentials_are_said_and_the_notification_is_kept() {
    let service = dingtalk([Reply::Body(200, r#"{"errcode":310000,"errmsg":"sign not match"}"#)]);
    let host = installation(&service).start().await;
    raise(&host, 1).await;
    let problem = eventually("a receiver that says what is wrong", async || {
        let receivers = host.client().get("/api/v1/receivers").await.ok().json();
        receivers["receivers"][0]["last_error"].as_str().map(ToOwned::to_owned)
    })
    .await;
    assert_eq!(problem, "errcode 310000: sign not match (is sign_secret the robot's, and the clock right?)");
    let rows = host.client().get("/api/v1/outbox").await.ok().json();
    assert_eq!(rows["notifications"][0]["state"], "queued");
    assert_eq!(rows["notifications"][0]["receipts"][0]["outcome"], "credentials");
}

/// Alerts that need four parts.
const MANY: usize = 60;

/// Every step of a delivery in parts: where it is killed, and at which passing.
fn steps() -> Vec<String> {
    let once = ["delivery.after_lease", "delivery.before_send", "delivery.after_send", "delivery.before_receipt_commit"];
    let mut steps: Vec<String> = once.iter().map(|step| format!("{step}:1")).collect();
    steps.push("delivery.after_receipt_commit:1".to_owned());
    for part in 1..=3 {
        steps.push(format!("delivery.before_progress_commit:{part}"));
        steps.push(format!("delivery.after_progress_commit:{part}"));
    }
    steps
}

#[tokio::test]
async fn a_message_in_parts_survives_a_kill_at_every_step_and_repeats_none_that_was_noted() {
    for step in steps() {
        let service = dingtalk([]);
        let installation = installation(&service);
        let mut host = installation.spawn(&[("WATCHFIRE_CRASH_AT", &step)]);
        assert!(host.wait_ready().await.is_some(), "{step}: {:#?}", host.log());
        raise(&host, MANY).await;
        // Killed behind the last step, it may first be seen to have settled.
        settled(&mut host).await;
        host.wait_exit().await;
        host = installation.start().await;
        let rows = settled(&mut host).await.unwrap();
        assert!(rows.iter().all(|row| row["state"] == "delivered"), "{step}: {rows:#?}");

        let deliveries = service.deliveries();
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        for delivery in &deliveries {
            *times.entry(delivery.json()["markdown"]["title"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
        }
        let parts: Vec<String> = (1..=4).map(|part| format!("[FIRING:{MANY}] boom ({part}/4)")).collect();
        assert_eq!(times.keys().cloned().collect::<Vec<_>>(), parts, "{step}");
        // Between the reply and what is noted of it, one part may come again, and it is the one that was being noted.
        let repeated = match step.split_once(':').unwrap() {
            ("delivery.before_progress_commit", part) => Some(part.parse::<usize>().unwrap()),
            ("delivery.after_send" | "delivery.before_receipt_commit", _) => Some(4),
            _ => None,
        };
        for (number, part) in (1..).zip(&parts) {
            let expected = if repeated == Some(number) { 2 } else { 1 };
            assert_eq!(times[part], expected, "{step}: {part}: {times:?}");
        }
    }
}
