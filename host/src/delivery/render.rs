//! Turns a notification into what a webhook sends. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use watchfire_types::Timestamp;

use super::notification::{Notification, NotifiedAlert, NotifyReason, Status};
use crate::alerts::annotations::number;

/// Alerts shown one by one in a chat message; the rest is counted.
const MAX_SHOWN: usize = 20;
/// Longest text of a chat message and of one field, in characters.
const MAX_TEXT: usize = 3_000;
const MAX_FIELD: usize = 500;

/// Returns the first line: `[FIRING:2] CPU high`, `[RESOLVED] CPU high`, `[TEST] watchfire`.
#[must_use]
pub fn title(notification: &Notification) -> String {
    let name = match notification.group_labels.get("alertname") {
        // A title is one line, whatever a rule is called.
        Some(name) => cut(&name.replace(char::is_control, " "), 200),
        None => "watchfire".to_owned(),
    };
    match (notification.reason, notification.status()) {
        (NotifyReason::Test, _) => format!("[TEST] {name}"),
        (_, Status::Firing) => format!("[FIRING:{}] {name}", notification.count(Status::Firing) + notification.truncated),
        (_, Status::Resolved) => format!("[RESOLVED] {name}"),
    }
}

/// Returns what is to be said of a notification that comes late, if it does.
#[must_use]
pub fn late(notification: &Notification, now: Timestamp) -> Option<String> {
    let delay = notification.delay(now)?;
    let mut text = format!("delayed by {}", coarse(delay));
    if notification.superseded > 0 {
        let _ = write!(text, ", in place of {} earlier", notification.superseded);
    }
    Some(text)
}

/// Returns one alert in one or two lines: its summary, what tells it apart, its value and times.
#[must_use]
pub fn describe(alert: &NotifiedAlert) -> String {
    let mut text = match alert.annotations.get("summary").or_else(|| alert.annotations.get("description")) {
        Some(summary) => cut(summary, MAX_FIELD),
        None => alert.condition.clone(),
    };
    if let Some(value) = alert.value {
        let _ = write!(text, " (value {})", number(value));
    }
    let labels: Vec<String> = alert
        .labels
        .iter()
        .filter(|(name, _)| *name != "alertname")
        .map(|(name, value)| format!("{name}={}", cut(value, 100)))
        .collect();
    if !labels.is_empty() {
        let _ = write!(text, " {}", labels.join(" "));
    }
    match alert.ends_at {
        Some(end) => {
            let _ = write!(text, ", was firing {} .. {}", to_second(alert.starts_at), to_second(end));
        }
        None => {
            let _ = write!(text, ", since {}", to_second(alert.starts_at));
        }
    }
    text
}

/// Returns the worst level among the alerts that still fire, or among all.
#[must_use]
pub fn level(notification: &Notification) -> &str {
    const ORDER: [&str; 4] = ["INFO", "WARNING", "ERROR", "CRITICAL"];
    let status = notification.status();
    let levels = notification.alerts.iter().filter(|alert| alert.status == status).map(|alert| alert.level.as_str());
    levels.max_by_key(|level| ORDER.iter().position(|known| known == level)).unwrap_or("INFO")
}

/// Returns the body for Slack's incoming webhooks, which Mattermost and Rocket.Chat take too.
#[must_use]
pub fn slack(notification: &Notification, now: Timestamp) -> Value {
    let title = title(notification);
    let attachment = |alert: &NotifiedAlert| {
        let mut fields = vec![field("Level", &alert.level), field("Rule", &alert.rule)];
        if let Some(value) = alert.value {
            fields.push(field("Value", &number(value)));
        }
        fields.push(field("Condition", &alert.condition));
        let link = alert.annotations.get("runbook_url").filter(|url| url.starts_with("http"));
        let mut attachment = json!({
            "color": color(alert),
            "fallback": slack_text(&describe(alert)),
            "text": slack_text(&describe(alert)),
            "fields": fields,
            "ts": alert.ends_at.unwrap_or(alert.starts_at).as_millis() / 1000,
        });
        if let Some(link) = link {
            attachment["title"] = "Runbook".into();
            attachment["title_link"] = link.as_str().into();
        }
        attachment
    };
    let mut text = format!("*{}*", slack_text(&title));
    if let Some(late) = late(notification, now) {
        let _ = write!(text, "\n_{}_", slack_text(&late));
    }
    let more = notification.alerts.len().saturating_sub(MAX_SHOWN) + notification.truncated;
    if more > 0 {
        let _ = write!(text, "\nand {more} more");
    }
    if !notification.external_url.is_empty() {
        let _ = write!(text, "\n<{}|watchfire>", slack_text(&notification.external_url));
    }
    let attachments: Vec<Value> = notification.alerts.iter().take(MAX_SHOWN).map(attachment).collect();
    json!({ "text": text, "attachments": attachments })
}

/// Returns the body as Alertmanager's webhook of version 4, with our fields beside.
///
/// Source: Alertmanager, `notify/webhook/webhook.go` and `template/template.go`.
#[must_use]
pub fn alertmanager(notification: &Notification, now: Timestamp) -> Value {
    let alerts: Vec<Value> = notification
        .alerts
        .iter()
        .map(|alert| {
            json!({
                "status": alert.status,
                "labels": alert.labels,
                "annotations": alert.annotations,
                "startsAt": alert.starts_at,
                // Alertmanager's zero time for what has not ended.
                "endsAt": alert.ends_at.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |end| end.to_string()),
                "generatorURL": notification.external_url,
                "fingerprint": alert.fingerprint,
                "rule": alert.rule,
                "level": alert.level,
                "condition": alert.condition,
                "value": alert.value,
                "threshold": alert.threshold,
            })
        })
        .collect();
    json!({
        "version": "4",
        "groupKey": notification.group_key,
        "status": notification.status(),
        "receiver": notification.receiver,
        "groupLabels": notification.group_labels,
        "commonLabels": notification.common_labels(),
        "commonAnnotations": notification.common_annotations(),
        "externalURL": notification.external_url,
        "truncatedAlerts": notification.truncated,
        "alerts": alerts,
        "id": notification.id,
        "generation": notification.generation,
        "reason": notification.reason,
        "title": title(notification),
        "level": level(notification),
        "first_queued_at": notification.first_queued_at,
        "superseded": notification.superseded,
        "delayed": late(notification, now),
    })
}

/// Returns a made-up notification with which a receiver is tried.
#[must_use]
pub fn test_notification(id: String, receiver: &str, external_url: &str, now: Timestamp) -> Notification {
    let labels = BTreeMap::from([("alertname".to_owned(), "watchfire".to_owned())]);
    let summary = format!("This is a test of receiver {receiver}: nothing is wrong");
    Notification {
        id,
        receiver: receiver.to_owned(),
        group_key: format!("{receiver}:test"),
        group_labels: labels.clone(),
        generation: 0,
        reason: NotifyReason::Test,
        alerts: vec![NotifiedAlert {
            fingerprint: "0000000000000000".to_owned(),
            status: Status::Firing,
            rule: "watchfire".to_owned(),
            level: "INFO".to_owned(),
            labels,
            annotations: BTreeMap::from([("summary".to_owned(), summary)]),
            condition: "a test was asked for".to_owned(),
            threshold: 0.0,
            value: None,
            starts_at: now,
            ends_at: None,
        }],
        truncated: 0,
        created_at: now,
        first_queued_at: now,
        superseded: 0,
        external_url: external_url.to_owned(),
    }
}

fn field(title: &str, value: &str) -> Value {
    json!({ "title": title, "value": slack_text(&cut(value, MAX_FIELD)), "short": value.chars().count() < 40 })
}

fn color(alert: &NotifiedAlert) -> &'static str {
    match (alert.status, alert.level.as_str()) {
        (Status::Resolved, _) => "#2eb67d",
        (_, "CRITICAL" | "ERROR") => "#e01e5a",
        (_, "WARNING") => "#ecb22e",
        _ => "#36c5f0",
    }
}

/// Escapes the three characters that mean something to Slack. Source: Slack, "Formatting text for app surfaces".
fn slack_text(text: &str) -> String {
    cut(text, MAX_TEXT).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Returns `text` cut to `limit` characters.
#[must_use]
pub fn cut(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    text.chars().take(limit.saturating_sub(1)).chain(['…']).collect()
}

/// Returns `time` without fractions of a second.
#[must_use]
pub fn to_second(time: Timestamp) -> String {
    Timestamp::from_seconds(time.as_millis() / 1000).to_string()
}

/// Returns `duration` in its two greatest units.
fn coarse(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..=59 => format!("{seconds} s"),
        60..=3599 => format!("{} min", seconds / 60),
        3600..=86_399 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sample() -> Notification {
        let mut notification =
            test_notification("0194-id".into(), "chat", "http://127.0.0.1:3473", Timestamp::from_seconds(1_795_000_000));
        notification.reason = NotifyReason::NewAlerts;
        notification.group_key = r#"chat:{alertname="CPU使用率过高"}"#.into();
        notification.group_labels = BTreeMap::from([("alertname".into(), "CPU使用率过高".into())]);
        notification.generation = 3;
        let alert = &mut notification.alerts[0];
        alert.fingerprint = "00f1a2b3c4d5e6f7".into();
        alert.rule = "CPU使用率过高".into();
        alert.level = "ERROR".into();
        alert.condition = "avg(system.cpu_percent) over 5m > 80".into();
        alert.threshold = 80.0;
        alert.value = Some(91.234_567);
        alert.labels = BTreeMap::from([("alertname".into(), "CPU使用率过高".into()), ("host".into(), "a<b>&c".into())]);
        alert.annotations = BTreeMap::from([("summary".into(), "CPU at 91.23 % <now>".into())]);
        notification
    }

    pub(crate) fn resolved() -> Notification {
        let mut notification = sample();
        notification.reason = NotifyReason::Resolved;
        notification.superseded = 1;
        notification.alerts[0].status = Status::Resolved;
        notification.alerts[0].ends_at = Some(Timestamp::from_seconds(1_795_001_740));
        notification
    }

    fn pretty(value: &Value) -> String {
        serde_json::to_string_pretty(value).unwrap()
    }

    #[test]
    fn a_slack_message_escapes_and_says_everything() {
        insta::assert_snapshot!(pretty(&slack(&sample(), Timestamp::from_seconds(1_795_000_010))), @r##"
        {
          "text": "*[FIRING:1] CPU使用率过高*\n<http://127.0.0.1:3473|watchfire>",
          "attachments": [
            {
              "color": "#e01e5a",
              "fallback": "CPU at 91.23 % &lt;now&gt; (value 91.23) host=a&lt;b&gt;&amp;c, since 2026-11-18T11:06:40Z",
              "text": "CPU at 91.23 % &lt;now&gt; (value 91.23) host=a&lt;b&gt;&amp;c, since 2026-11-18T11:06:40Z",
              "fields": [
                {
                  "title": "Level",
                  "value": "ERROR",
                  "short": true
                },
                {
                  "title": "Rule",
                  "value": "CPU使用率过高",
                  "short": true
                },
                {
                  "title": "Value",
                  "value": "91.23",
                  "short": true
                },
                {
                  "title": "Condition",
                  "value": "avg(system.cpu_percent) over 5m &gt; 80",
                  "short": true
                }
              ],
              "ts": 1795000000
            }
          ]
        }
        "##);
    }

    #[test]
    fn a_resolution_that_comes_late_says_so() {
        insta::assert_snapshot!(pretty(&slack(&resolved(), Timestamp::from_seconds(1_795_001_800))["text"]), @r#""*[RESOLVED] CPU使用率过高*\n_delayed by 30 min, in place of 1 earlier_\n<http://127.0.0.1:3473|watchfire>""#);
        insta::assert_snapshot!(describe(&resolved().alerts[0]), @"CPU at 91.23 % <now> (value 91.23) host=a<b>&c, was firing 2026-11-18T11:06:40Z .. 2026-11-18T11:35:40Z");
    }

    #[test]
    fn json_is_what_alertmanager_sends() {
        insta::assert_snapshot!(pretty(&alertmanager(&sample(), Timestamp::from_seconds(1_795_000_010))), @r#"
        {
          "version": "4",
          "groupKey": "chat:{alertname=\"CPU使用率过高\"}",
          "status": "firing",
          "receiver": "chat",
          "groupLabels": {
            "alertname": "CPU使用率过高"
          },
          "commonLabels": {
            "alertname": "CPU使用率过高",
            "host": "a<b>&c"
          },
          "commonAnnotations": {
            "summary": "CPU at 91.23 % <now>"
          },
          "externalURL": "http://127.0.0.1:3473",
          "truncatedAlerts": 0,
          "alerts": [
            {
              "status": "firing",
              "labels": {
                "alertname": "CPU使用率过高",
                "host": "a<b>&c"
              },
              "annotations": {
                "summary": "CPU at 91.23 % <now>"
              },
              "startsAt": "2026-11-18T11:06:40Z",
              "endsAt": "0001-01-01T00:00:00Z",
              "generatorURL": "http://127.0.0.1:3473",
              "fingerprint": "00f1a2b3c4d5e6f7",
              "rule": "CPU使用率过高",
              "level": "ERROR",
              "condition": "avg(system.cpu_percent) over 5m > 80",
              "value": 91.234567,
              "threshold": 80.0
            }
          ],
          "id": "0194-id",
          "generation": 3,
          "reason": "new_alerts",
          "title": "[FIRING:1] CPU使用率过高",
          "level": "ERROR",
          "first_queued_at": "2026-11-18T11:06:40Z",
          "superseded": 0,
          "delayed": null
        }
        "#);
    }

    #[test]
    fn a_storm_is_cut_short() {
        let mut notification = sample();
        notification.alerts = vec![notification.alerts[0].clone(); 500];
        notification.alerts[0].annotations.insert("summary".into(), "x".repeat(10_000));
        let body = slack(&notification, Timestamp::from_seconds(1_795_000_010));
        assert_eq!(body["attachments"].as_array().unwrap().len(), MAX_SHOWN);
        assert!(body["text"].as_str().unwrap().contains("and 480 more"));
        assert!(body.to_string().len() < 40_000);
    }
}
