//! Somebody is told of an issue that is new or that came back, and of errors that are too many.

use std::time::Duration;

use serde_json::{Value, json};
use watchfire_tests::{TestHost, WebhookReceiver, eventually, webhook_receiver};

const STEP: Duration = Duration::from_secs(5);

fn host(webhook: &WebhookReceiver) -> TestHost {
    TestHost::start_with(|config, _| config.alerting.receivers = vec![webhook_receiver("pager", webhook.url())])
}

/// Reports errors of `kind` and `service`; returns the issue.
async fn capture(host: &TestHost, kind: &str, service: &str, count: usize) -> String {
    let errors = vec![json!({"type": kind, "message": "it failed", "service": service}); count];
    let answer = host.client().post_json("/api/v1/errors", &errors.into()).await.ok().json();
    answer["issues"][0].as_str().expect("an id").to_owned()
}

/// Waits until the issue has been counted `count` times.
async fn counted(host: &TestHost, issue: &str, count: u64) {
    eventually(&format!("{count} errors are counted"), async || {
        let answer = host.client().get(&format!("/api/v1/issues/{issue}")).await;
        (answer.status == 200 && answer.json()["issue"]["count"] == count).then_some(())
    })
    .await;
}

/// Moves the clock until the webhook has been told `count` times of alerts in `status`; returns the last of these notifications.
async fn told(host: &TestHost, webhook: &WebhookReceiver, status: &str, count: usize) -> Value {
    let what = format!("{count} notifications: {status}");
    host.advance_until(&what, STEP, async || webhook.accepted(status).get(count - 1).cloned()).await
}

/// Moves the clock on for `duration`, in steps, giving the host a turn after each.
async fn pass(host: &TestHost, duration: Duration) {
    for _ in 0..duration.as_secs() / STEP.as_secs() {
        host.clock().advance(STEP);
        host.client().get("/-/healthy").await.ok();
    }
}

#[tokio::test]
async fn a_new_issue_is_told_once_and_again_when_it_comes_back_after_it_was_resolved() {
    let webhook = WebhookReceiver::start();
    let host = host(&webhook);
    host.add_rule(&json!({"name": "new error", "new_issue": {"service": "shop"}, "window": "1m", "cooldown": "0s"})).await;
    let issue = capture(&host, "ValueError", "shop", 1).await;
    let firing = told(&host, &webhook, "firing", 1).await;
    let alert = &firing["alerts"][0];
    assert_eq!((&alert["labels"]["issue"], &alert["labels"]["type"]), (&json!(issue), &json!("ValueError")), "{firing:#}");
    assert_eq!(alert["annotations"]["summary"], "ValueError: it failed");

    // More of the same is no news, nor is what the rule does not mean.
    capture(&host, "ValueError", "shop", 20).await;
    let other = capture(&host, "ValueError", "billing", 1).await;
    counted(&host, &issue, 21).await;
    counted(&host, &other, 1).await;
    told(&host, &webhook, "resolved", 1).await;
    pass(&host, Duration::from_secs(60)).await;
    assert_eq!(webhook.accepted("firing").len(), 1);

    host.client().post_json(&format!("/api/v1/issues/{issue}/resolve"), &json!({})).await.ok();
    capture(&host, "ValueError", "shop", 1).await;
    let again = told(&host, &webhook, "firing", 2).await;
    assert_eq!(again["alerts"][0]["labels"]["issue"], json!(issue), "{again:#}");
    told(&host, &webhook, "resolved", 2).await;

    // An issue that nobody wants to hear of comes back silently.
    host.client().post_json(&format!("/api/v1/issues/{issue}/ignore"), &json!({})).await.ok();
    capture(&host, "ValueError", "shop", 5).await;
    counted(&host, &issue, 27).await;
    pass(&host, Duration::from_secs(60)).await;
    assert_eq!(webhook.accepted("firing").len(), 2);
}

#[tokio::test]
async fn errors_of_a_class_that_are_too_many_within_the_window_are_told_until_they_are_fewer() {
    let webhook = WebhookReceiver::start();
    let host = host(&webhook);
    host.add_rule(&json!({
        "name": "many value errors", "errors": {"type": "ValueError", "service": "shop"}, "window": "5m", "comparison": ">=", "threshold": 3,
        "level": "ERROR", "annotations": {"summary": "{{value}} value errors"},
    }))
    .await;
    capture(&host, "ValueError", "shop", 2).await;
    for (kind, service) in [("KeyError", "shop"), ("ValueError", "billing")] {
        capture(&host, kind, service, 5).await;
    }
    pass(&host, Duration::from_secs(30)).await;
    assert!(webhook.deliveries().is_empty(), "two are not three, and the others are others");
    capture(&host, "ValueError", "shop", 1).await;
    let firing = told(&host, &webhook, "firing", 1).await;
    assert_eq!(firing["alerts"][0]["annotations"]["summary"], "3 value errors");
    told(&host, &webhook, "resolved", 1).await;
    assert_eq!(webhook.accepted("firing").len(), 1);
}
