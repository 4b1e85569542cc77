//! A rule fires, people are told once; it is over, people are told once.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use watchfire::config::FileInput;
use watchfire_tests::payload::{PROTOBUF, gauge_request};
use watchfire_tests::{Reply, SmtpServer, TestHost, WebhookReceiver, error_burst_rule, webhook_receiver};

const STEP: Duration = Duration::from_secs(5);

/// Returns a host that tells a webhook and a mailbox, by STARTTLS and login.
fn host_with_both(webhook: &WebhookReceiver, smtp: &SmtpServer) -> TestHost {
    TestHost::start_with(|config, folder| {
        config.server.ca_file = Some(smtp.ca_file());
        config.alerting.receivers = vec![webhook_receiver("pager", webhook.url()), smtp.receiver("mail")];
        let file = FileInput { service: Some("shop".into()), from_beginning: true, ..FileInput::at(folder.join("app.log")) };
        config.inputs.files.push(file);
    })
}

fn append_errors(path: &Path, count: usize) {
    let mut file = OpenOptions::new().append(true).create(true).open(path).expect("a temporary folder can be written");
    for number in 0..count {
        writeln!(file, "ERROR payment {number} failed: connection refused").expect("a temporary folder can be written");
    }
}

async fn send_cpu(host: &TestHost, value: f64) {
    let request = gauge_request("machine", "machine.cpu_percent", host.clock().now(), value);
    host.client().post("/v1/metrics", PROTOBUF, request).await.ok();
}

/// Waits until webhook and mailbox have each been told `count` times, moving the clock.
async fn told(host: &TestHost, webhook: &WebhookReceiver, smtp: &SmtpServer, count: usize) {
    host.advance_until(&format!("{count} notifications by each way"), STEP, async || {
        (webhook.deliveries().len() >= count && smtp.mails().len() >= count).then_some(())
    })
    .await;
}

/// Moves the clock on for `duration`, in steps, giving the host a turn after each.
async fn pass(host: &TestHost, duration: Duration) {
    for _ in 0..duration.as_secs() / STEP.as_secs() {
        host.clock().advance(STEP);
        host.client().get("/-/healthy").await.ok();
    }
}

#[tokio::test]
async fn a_cpu_rule_notifies_once_by_webhook_and_mail_and_resolves_once() {
    let (webhook, smtp) = (WebhookReceiver::start(), SmtpServer::start_with_tls());
    let host = host_with_both(&webhook, &smtp);
    host.add_rule(&json!({
        "name": "CPU使用率过高", "metric": "machine.cpu_percent", "comparison": ">", "threshold": 80,
        "for": "20s", "level": "WARNING", "annotations": {"summary": "CPU at {{value}} %"},
    }))
    .await;
    send_cpu(&host, 91.0).await;
    host.advance_until("the alert fires", STEP, async || {
        send_cpu(&host, 91.0).await;
        (!host.client().alerts("CPU使用率过高", "firing").await.is_empty()).then_some(())
    })
    .await;
    told(&host, &webhook, &smtp, 1).await;
    for _ in 0..10 {
        send_cpu(&host, 92.0).await;
        pass(&host, Duration::from_secs(10)).await;
    }
    assert_eq!((webhook.deliveries().len(), smtp.mails().len()), (1, 1), "still firing is no news");

    send_cpu(&host, 12.0).await;
    told(&host, &webhook, &smtp, 2).await;
    pass(&host, Duration::from_secs(120)).await;
    let statuses: Vec<Value> = webhook.deliveries().iter().map(|delivery| delivery.json()["status"].clone()).collect();
    assert_eq!(statuses, ["firing", "resolved"]);
    let alert = &webhook.accepted("firing")[0]["alerts"][0];
    assert_eq!(alert["annotations"]["summary"], "CPU at 91 %");
    let mails = smtp.mails();
    assert_eq!(mails.len(), 2);
    assert!(mails.iter().all(|mail| mail.0["tls"] == true && mail.0["authenticated"] == true), "{mails:?}");
    assert!(mails[0].text("subject").contains("CPU使用率过高"), "{mails:?}");
    assert!(mails[0].text("text").contains("CPU at 91 %") && mails[0].text("html").contains("CPU at 91 %"), "{mails:?}");
    assert_ne!(mails[0].text("message_id"), mails[1].text("message_id"));
}

#[tokio::test]
async fn a_burst_of_error_lines_in_a_file_notifies_once_and_resolves_once() {
    let (webhook, smtp) = (WebhookReceiver::start(), SmtpServer::start_with_tls());
    let host = host_with_both(&webhook, &smtp);
    host.add_rule(&error_burst_rule(10)).await;
    append_errors(&host.path("app.log"), 9);
    host.client().records_until(9, &[("level", "ERROR")]).await;
    pass(&host, Duration::from_secs(20)).await;
    assert!(webhook.deliveries().is_empty(), "nine are not ten");

    append_errors(&host.path("app.log"), 3);
    // The last line is held for a moment of real time, since a stack trace may follow: the clock must not run away meanwhile.
    host.client().records_until(12, &[("level", "ERROR")]).await;
    told(&host, &webhook, &smtp, 1).await;
    // The window of a minute runs out, and with it the burst.
    told(&host, &webhook, &smtp, 2).await;
    pass(&host, Duration::from_secs(120)).await;
    assert_eq!((webhook.deliveries().len(), smtp.mails().len()), (2, 2));
    assert_eq!((webhook.accepted("firing").len(), webhook.accepted("resolved").len()), (1, 1));
    assert_eq!(webhook.accepted("firing")[0]["alerts"][0]["labels"]["service.name"], "shop");
}

#[tokio::test]
async fn a_receiver_in_trouble_is_tried_again_and_obeyed() {
    let webhook = WebhookReceiver::with_script([Reply::Status(500), Reply::RetryAfter(429, 90), Reply::Status(200)]);
    let host = TestHost::start_with(|config, _| config.alerting.receivers = vec![webhook_receiver("pager", webhook.url())]);
    host.add_rule(&error_burst_rule(1)).await;
    host.client().ingest(&[json!({"level": "ERROR", "service": "api", "message": "boom"})]).await;
    let tried = async |count: usize| {
        let what = format!("try {count}");
        host.advance_until(&what, STEP, async || (webhook.deliveries().len() >= count).then_some(())).await;
        host.clock().now()
    };
    tried(1).await;
    let refused = tried(2).await;
    let taken = tried(3).await;
    assert!(taken.since(refused) >= Duration::from_secs(85), "Retry-After was 90 s: {:?}", taken.since(refused));
    let deliveries = webhook.deliveries();
    assert!(!deliveries[0].key().is_empty());
    assert!(
        deliveries.iter().all(|delivery| delivery.key() == deliveries[0].key()),
        "a retry is the same notification: {deliveries:#?}"
    );
    let told = host.advance_until("the receipt", STEP, async || host.client().outbox("delivered").await.pop()).await;
    assert_eq!(told["attempts"], 3, "{told:#}");
}

#[tokio::test]
async fn a_connection_that_breaks_is_tried_again() {
    let webhook = WebhookReceiver::with_script([Reply::Reset, Reply::Reset]);
    let host = TestHost::start_with(|config, _| config.alerting.receivers = vec![webhook_receiver("pager", webhook.url())]);
    host.add_rule(&error_burst_rule(1)).await;
    host.client().ingest(&[json!({"level": "ERROR", "service": "api", "message": "boom"})]).await;
    host.advance_until("a third try", STEP, async || (!webhook.accepted("firing").is_empty()).then_some(())).await;
    host.advance_until("the receipt", STEP, async || host.client().outbox("delivered").await.pop()).await;
    assert_eq!(webhook.deliveries().len(), 3);
}

#[tokio::test]
async fn a_firing_alert_survives_a_restart_without_being_told_again() {
    let webhook = WebhookReceiver::start();
    let mut host = TestHost::start_with(|config, _| config.alerting.receivers = vec![webhook_receiver("pager", webhook.url())]);
    host.add_rule(&error_burst_rule(1)).await;
    host.client().ingest(&[json!({"level": "ERROR", "service": "api", "message": "boom"})]).await;
    host.advance_until("the notification", STEP, async || (!webhook.deliveries().is_empty()).then_some(())).await;
    host.advance_until("the receipt", STEP, async || host.client().outbox("delivered").await.pop()).await;
    host.restart();
    assert_eq!(host.client().alerts("error burst", "firing").await.len(), 1);
    host.advance_until("the end of it", STEP, async || (!webhook.accepted("resolved").is_empty()).then_some(())).await;
    host.advance_until("the receipt", STEP, async || (host.client().outbox("delivered").await.len() == 2).then_some(())).await;
    assert_eq!((webhook.accepted("firing").len(), webhook.deliveries().len()), (1, 2));
}

#[tokio::test]
async fn an_alert_tells_its_history() {
    let webhook = WebhookReceiver::start();
    let host = TestHost::start_with(|config, _| config.alerting.receivers = vec![webhook_receiver("pager", webhook.url())]);
    host.add_rule(&error_burst_rule(1)).await;
    host.client().ingest(&[json!({"level": "ERROR", "service": "api", "message": "boom"})]).await;
    host.advance_until("the receipt", STEP, async || host.client().outbox("delivered").await.pop()).await;
    let alerts = host.client().alerts("error burst", "firing").await;
    let fingerprint = alerts[0]["fingerprint"].as_str().expect("an alert has a fingerprint");
    let alert = host.client().get_json(&format!("/api/v1/alerts/{fingerprint}")).await;
    for list in ["history", "notifications"] {
        assert!(alert[list].as_array().is_some_and(|list| !list.is_empty()), "{list}: {alert:#}");
    }
    assert!(alert.to_string().contains("pager"), "{alert:#}");
}

#[tokio::test]
async fn plain_smtp_on_loopback_needs_no_login() {
    let smtp = SmtpServer::start_plain();
    let host = TestHost::start_with(|config, _| config.alerting.receivers = vec![smtp.receiver("mail")]);
    let answer = host.client().post_json("/api/v1/receivers/mail/test", &json!({})).await.ok().json();
    assert_eq!(answer["delivered"], true, "{answer}");
    assert_eq!(smtp.wait_for(1).await.len(), 1);
}

#[tokio::test]
async fn a_mail_server_with_an_unknown_authority_is_not_trusted() {
    let smtp = SmtpServer::start_with_tls();
    let host = TestHost::start_with(|config, _| config.alerting.receivers = vec![smtp.receiver("mail")]);
    let answer = host.client().post_json("/api/v1/receivers/mail/test", &json!({})).await.json();
    assert_eq!(answer["delivered"], false, "{answer}");
    assert!(smtp.mails().is_empty());
}

#[tokio::test]
async fn a_rule_of_the_api_can_be_removed_and_a_clash_is_refused() {
    let host = TestHost::start();
    host.add_rule(&error_burst_rule(1)).await;
    let clash = host.client().post_json("/api/v1/rules", &error_burst_rule(2)).await;
    assert_eq!((clash.status, clash.json()["error"]["code"].as_str()), (409, Some("conflict")));
    let remove = || host.client().request(reqwest::Method::DELETE, "/api/v1/rules/error%20burst");
    host.client().send(remove()).await.ok();
    assert_eq!(host.client().send(remove()).await.status, 404);
    let broken = host.client().post_json("/api/v1/rules", &json!({"name": "x", "metric": "m", "logs": {}, "threshold": 1})).await;
    assert_eq!(broken.status, 400, "exactly one of `metric` and `logs`: {}", broken.body);
}
