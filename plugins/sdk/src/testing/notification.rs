//! A notification to change for a test.

use super::batch::START;
use crate::{Alert, Notification};

/// Returns a firing alert of `rule`, level ERROR, with a title, a body, a value and two labels.
pub fn alert(rule: &str) -> Alert {
    Alert {
        fingerprint: format!("{rule}-fingerprint"),
        rule: rule.to_owned(),
        state: 0,
        level: 3,
        title: format!("{rule} is firing"),
        body: format!("{rule} has gone over its threshold"),
        starts_at: START,
        ends_at: None,
        value: Some(97.5),
        threshold: Some(90.0),
        labels: vec![("alertname".to_owned(), rule.to_owned()), ("host".to_owned(), "web1".to_owned())],
        annotations: Vec::new(),
        links: Vec::new(),
        extra: Vec::new(),
    }
}

/// Returns the first notification of a group of `alerts`; its status is theirs.
pub fn notification(alerts: Vec<Alert>) -> Notification {
    let resolved = !alerts.is_empty() && alerts.iter().all(Alert::is_resolved);
    let rule = alerts.first().map(|alert| alert.rule.clone()).unwrap_or_default();
    Notification {
        id: "01980000-0000-7000-8000-000000000001".to_owned(),
        generation: 1,
        receiver: "operators".to_owned(),
        group_key: format!("{{alertname=\"{rule}\"}}"),
        group_labels: vec![("alertname".to_owned(), rule.clone())],
        common_labels: vec![("alertname".to_owned(), rule.clone())],
        common_annotations: Vec::new(),
        status: u8::from(resolved),
        reason: if resolved { "resolved" } else { "first" }.to_owned(),
        title: if resolved { format!("{rule} is resolved") } else { format!("{rule} is firing") },
        alerts,
        omitted: 0,
        superseded: 0,
        first_queued_at: START,
        previous_receipt: None,
        links: vec![("group".to_owned(), "https://watchfire.example/alerts".to_owned())],
        locale: "en".to_owned(),
        time_zone: "UTC".to_owned(),
        extra: Vec::new(),
    }
}
