//! A notification as components are given it. Pure.

use std::collections::BTreeMap;

use watchfire_types::Timestamp;

use super::notification::{Notification, NotifiedAlert, NotifyReason, Status};
use super::render;
use crate::plugins::secrets::break_up;
use crate::plugins::wire;

/// Returns `notification` with at most `max_alerts` alerts (all if 0); nothing in it looks like a placeholder of a secret.
#[must_use]
pub fn notification(
    notification: &Notification,
    max_alerts: u32,
    previous_receipt: Option<&str>,
    now: Timestamp,
) -> wire::Notification {
    let most = if max_alerts == 0 { usize::MAX } else { max_alerts as usize };
    let told = notification.alerts.len().min(most);
    let mut extra = vec![("level".to_owned(), text(render::level(notification)))];
    extra.extend(render::late(notification, now).map(|late| ("delayed".to_owned(), late)));
    wire::Notification {
        id: notification.id.clone(),
        generation: notification.generation,
        receiver: text(&notification.receiver),
        group_key: text(&notification.group_key),
        group_labels: labels(&notification.group_labels),
        common_labels: labels(&notification.common_labels()),
        common_annotations: labels(&notification.common_annotations()),
        status: status(notification.status()),
        reason: match notification.reason {
            NotifyReason::NewAlerts => "new-alerts",
            reason => reason.name(),
        }
        .to_owned(),
        title: text(&render::title(notification)),
        alerts: notification.alerts[..told].iter().map(alert).collect(),
        omitted: u32::try_from(notification.truncated + notification.alerts.len() - told).unwrap_or(u32::MAX),
        superseded: notification.superseded,
        first_queued_at: notification.first_queued_at.as_nanos(),
        previous_receipt: previous_receipt.map(text),
        links: link("group", Some(&notification.external_url)),
        locale: "en".to_owned(),
        time_zone: "UTC".to_owned(),
        extra,
    }
}

fn alert(alert: &NotifiedAlert) -> wire::Alert {
    let title = alert.annotations.get("summary").unwrap_or(&alert.rule);
    let body = alert.annotations.get("description").unwrap_or(&alert.condition);
    wire::Alert {
        fingerprint: text(&alert.fingerprint),
        rule: text(&alert.rule),
        state: status(alert.status),
        level: match alert.level.as_str() {
            "CRITICAL" => 4,
            "ERROR" => 3,
            "WARNING" => 2,
            _ => 1,
        },
        title: text(title),
        body: text(body),
        starts_at: alert.starts_at.as_nanos(),
        ends_at: alert.ends_at.map(Timestamp::as_nanos),
        value: alert.value,
        threshold: Some(alert.threshold),
        labels: labels(&alert.labels),
        annotations: labels(&alert.annotations),
        links: link("runbook", alert.annotations.get("runbook_url")),
        extra: vec![("condition".to_owned(), text(&alert.condition))],
    }
}

fn status(status: Status) -> u8 {
    match status {
        Status::Firing => 0,
        Status::Resolved => 1,
    }
}

fn text(text: &str) -> String {
    break_up(text).into_owned()
}

fn labels(labels: &BTreeMap<String, String>) -> Vec<(String, String)> {
    labels.iter().map(|(name, value)| (text(name), text(value))).collect()
}

fn link(name: &str, url: Option<&String>) -> Vec<(String, String)> {
    let url = url.filter(|url| url.starts_with("http://") || url.starts_with("https://"));
    url.map(|url| (name.to_owned(), text(url))).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::render::tests::{resolved, sample};

    #[test]
    fn everything_that_is_known_crosses_over() {
        let now = Timestamp::from_seconds(1_795_000_010);
        let mut firing = sample();
        firing.alerts[0].annotations.insert("runbook_url".into(), "https://wiki.example.com/cpu".into());
        firing.alerts[0].annotations.insert("description".into(), "Too much to do".into());
        let told = notification(&firing, 0, Some("message 7"), now);
        assert_eq!((told.title.as_str(), told.status, told.reason.as_str()), ("[FIRING:1] CPU使用率过高", 0, "new-alerts"));
        assert_eq!((told.alerts[0].title.as_str(), told.alerts[0].body.as_str()), ("CPU at 91.23 % <now>", "Too much to do"));
        assert_eq!((told.alerts[0].level, told.alerts[0].state, told.alerts[0].value), (3, 0, Some(91.234_567)));
        assert_eq!(told.alerts[0].links, [("runbook".into(), "https://wiki.example.com/cpu".into())]);
        assert_eq!(told.links, [("group".into(), "http://127.0.0.1:3473".into())]);
        assert_eq!((told.previous_receipt.as_deref(), told.omitted), (Some("message 7"), 0));
        assert_eq!(told.extra, [("level".to_owned(), "ERROR".to_owned())]);
        let over = notification(&resolved(), 0, None, Timestamp::from_seconds(1_795_001_800));
        assert_eq!((over.status, over.alerts[0].state, over.superseded), (1, 1, 1));
        assert_eq!(over.alerts[0].ends_at, Some(1_795_001_740_000_000_000));
        assert_eq!(over.extra[1], ("delayed".into(), "delayed by 30 min, in place of 1 earlier".into()));
    }

    #[test]
    fn no_more_alerts_than_the_service_accepts_and_the_others_are_counted() {
        let mut many = sample();
        many.alerts = vec![many.alerts[0].clone(); 30];
        many.truncated = 5;
        let told = notification(&many, 10, None, Timestamp::ZERO);
        assert_eq!((told.alerts.len(), told.omitted), (10, 25));
    }

    #[test]
    fn nothing_from_outside_looks_like_a_placeholder() {
        let mut sly = sample();
        let trick = "wfsecret_00112233445566778899aabbccddeeff_0000r";
        sly.alerts[0].rule = trick.into();
        sly.alerts[0].condition = trick.into();
        let alert = &mut sly.alerts[0];
        for map in [&mut alert.annotations, &mut alert.labels, &mut sly.group_labels] {
            for name in ["summary", "description", "alertname", trick] {
                map.insert(name.into(), trick.into());
            }
        }
        sly.alerts[0].annotations.insert("runbook_url".into(), format!("https://{trick}"));
        sly.group_key = trick.into();
        sly.external_url = format!("http://{trick}");
        let told = notification(&sly, 0, Some(trick), Timestamp::ZERO);
        assert!(!format!("{told:?}").contains("wfsecret"), "{told:?}");
    }
}
