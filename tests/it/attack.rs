//! The whole way: an attack in an authentication log is found by one component, and told by another, by mail and by webhook.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::process::Command;

use serde_json::{Value, json};
use watchfire::clock::Clock;
use watchfire_tasks::{components, python};
use watchfire_tests::{Installation, Process, Reply, SmtpServer, WebhookReceiver, eventually};

const TOKEN: &str = "the-token-of-a-robot";
const SECRET: &str = "SEC0a1b2c3d4e5f";

fn installation(dingtalk: &WebhookReceiver, webhook: &WebhookReceiver, mail: &SmtpServer) -> Installation {
    let mut installation = Installation::new(json!({
        "plugins": {"components": {
            "ssh": {"component": components::find("ssh-brute-force")},
            "dingtalk": {
                "component": components::find("dingtalk"), "capabilities": ["secrets"], "config": {"url": dingtalk.url()},
                "secrets": {"access_token": TOKEN, "sign_secret": SECRET},
            },
        }},
        "alerting": {
            "group_wait": 0, "group_interval": 1,
            "receivers": [
                {"name": "ops", "component": {"plugin": "dingtalk"}},
                {"name": "hook", "webhook": {"url": webhook.url(), "body": "json"}},
                {"name": "mail", "email": {"smtp_host": "127.0.0.1", "smtp_port": mail.port(), "tls": "none",
                    "from_email": "watchfire@example.org", "to_emails": ["ops@example.org"]}},
            ],
            "rules": [{
                "name": "break-in", "level": "CRITICAL", "window": "5s",
                "finding": {"analyzer": "ssh", "rule": "success_after_failures"},
            }],
        },
    }));
    let log = installation.path("auth.log");
    std::fs::write(&log, "").expect("a temporary folder can be written");
    installation.configure(json!({"inputs": {"files": [{"path": log}]}}));
    installation
}

/// Writes what `sshd` writes while somebody guesses a password, and gets in.
fn attack(installation: &Installation) {
    let mut log = OpenOptions::new().append(true).open(installation.path("auth.log")).expect("it is there");
    let mut line = |text: &str| writeln!(log, "{} bastion sshd[4711]: {text}", Clock::system().now()).expect("it can be written");
    line("Accepted publickey for deploy from 198.51.100.7 port 50022 ssh2: ED25519 SHA256:abc");
    for port in 0..6 {
        line(&format!("Failed password for root from 203.0.113.9 port {} ssh2", 40_000 + port));
    }
    line("message repeated 3 times: [ Failed password for root from 203.0.113.9 port 40009 ssh2]");
    line("Accepted password for root from 203.0.113.9 port 40010 ssh2");
}

async fn all_analyzers_run(host: &Process) {
    eventually("the analyzer runs", async || {
        let analyzers = host.client().get_json("/api/v1/analyzers").await["analyzers"].clone();
        (analyzers[0]["state"] == "running").then_some(())
    })
    .await;
}

/// Returns the titles of the robot's messages.
fn titles(dingtalk: &WebhookReceiver) -> Vec<String> {
    dingtalk.deliveries().iter().map(|one| one.json()["markdown"]["title"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn an_attack_in_a_log_is_told_once_by_each_way_and_resolved_once() {
    let dingtalk = WebhookReceiver::answering([], Reply::Body(200, r#"{"errcode":0,"errmsg":"ok"}"#));
    let (webhook, mail) = (WebhookReceiver::start(), SmtpServer::start_plain());
    let installation = installation(&dingtalk, &webhook, &mail);
    let host = installation.start().await;
    all_analyzers_run(&host).await;
    attack(&installation);

    eventually("everybody has heard of it, and of its end", async || {
        let all = [dingtalk.deliveries().len(), webhook.deliveries().len(), mail.mails().len()];
        all.iter().all(|count| *count >= 2).then_some(())
    })
    .await;
    assert_eq!(titles(&dingtalk), ["[FIRING:1] break-in", "[RESOLVED] break-in"]);
    for delivery in dingtalk.deliveries() {
        let query = delivery.path.strip_prefix("/hook?").expect("it has parameters").to_owned();
        let mut check = Command::new(python::ensure().expect("there is a Python"));
        check.arg(python::programs().join("dingtalk_signature.py")).args([query.as_str(), SECRET]);
        let said = String::from_utf8(check.output().expect("it runs").stdout).expect("it is text");
        assert!(said.ends_with(&format!(" {TOKEN} True\n")), "{said}: {query}");
    }
    let told: Vec<Value> = webhook.deliveries().iter().map(watchfire_tests::Delivery::json).collect();
    let statuses: Vec<&Value> = told.iter().map(|one| &one["status"]).collect();
    assert_eq!(statuses, ["firing", "resolved"]);
    let labels = &told[0]["alerts"][0]["labels"];
    assert_eq!((&labels["address"], &labels["user"]), (&json!("203.0.113.9"), &json!("root")), "{labels}");
    let subjects: Vec<String> = mail.mails().iter().map(|mail| mail.text("subject").to_owned()).collect();
    assert_eq!(subjects.len(), 2, "{subjects:?}");
    assert!(subjects[0].contains("FIRING") && subjects[1].contains("RESOLVED"), "{subjects:?}");

    // Why, in one place: what happened, what was decided, who was told.
    let alerts = host.client().get_json("/api/v1/alerts").await;
    let fingerprint = alerts["alerts"][0]["fingerprint"].as_str().expect("it has one").to_owned();
    let story = installation.run_against(&host, &["alerts", &fingerprint]).expect(0).stdout;
    for word in ["break-in", "203.0.113.9", "FIRING", "RESOLVED", "ops", "hook", "mail", "delivered"] {
        assert!(story.contains(word), "{word}: {story}");
    }
    let findings = installation.run_against(&host, &["findings"]).expect(0).stdout;
    assert!(findings.contains("success_after_failures") && findings.contains("brute_force"), "{findings}");
}
