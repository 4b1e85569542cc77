//! Rules and alerts as the API shows them.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use watchfire_types::Timestamp;

use super::types::RuleOrigin;
use super::windows::RuleGroup;
use crate::config::RawRule;
use crate::delivery::notification::Notification;

/// A rule as it is listed.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct RuleView {
    /// The rule.
    #[serde(flatten)]
    pub rule: RawRule,
    /// Where it was made; only those of the API can be deleted here.
    pub origin: RuleOrigin,
    /// `inactive`, `pending` or `firing`: the worst of its alerts.
    pub state: String,
    /// Its alerts that are pending or firing.
    pub alerts: usize,
    /// What keeps it from working, with the nearest name of a metric that does not exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// What a rule has counted.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct RuleGroups {
    /// The groups that have something in the window.
    pub groups: Vec<GroupView>,
    /// Whether everything within the window has been read since the start.
    pub complete: bool,
    /// What keeps the rule from working.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// One group of what a rule has counted.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct GroupView {
    /// What its members have in common.
    pub labels: BTreeMap<String, String>,
    /// Records or events within the window.
    pub count: u64,
    /// Title of the newest finding or issue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

impl GroupView {
    /// Returns `group` as it is shown.
    #[must_use]
    pub fn of(group: &RuleGroup<'_>) -> Self {
        Self {
            labels: group.labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            count: group.count,
            title: group.newest.map(|newest| newest.title.clone()),
        }
    }
}

/// An alert as it is listed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AlertView {
    /// Its identity: 16 hexadecimal digits.
    pub fingerprint: String,
    /// Name of its rule.
    pub rule: String,
    /// `pending`, `firing` or `resolved`.
    pub state: String,
    /// `INFO`, `WARNING`, `ERROR` or `CRITICAL`.
    pub level: String,
    /// What tells it from other alerts.
    pub labels: BTreeMap<String, String>,
    /// For people.
    pub annotations: BTreeMap<String, String>,
    /// The rule's condition in words.
    pub condition: String,
    /// What the value is compared with.
    pub threshold: f64,
    /// The value last seen.
    pub value: Option<f64>,
    /// Since when it is in this state.
    pub since: Timestamp,
    /// When it last began to fire.
    pub fired_at: Option<Timestamp>,
    /// When it last resolved.
    pub resolved_at: Option<Timestamp>,
}

/// A change of state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct HistoryView {
    /// When.
    pub at: Timestamp,
    /// Which alert.
    pub fingerprint: String,
    /// Name of its rule.
    pub rule: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// How serious it is.
    pub level: String,
    /// The state it changed to: `pending`, `firing`, `resolved`, or `inactive` if it had not fired.
    pub state: String,
    /// The value that made it so.
    pub value: Option<f64>,
    /// Why, in words.
    pub reason: String,
}

/// Why somebody was told, or not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DecisionView {
    /// When it was decided.
    pub at: Timestamp,
    /// The group: receiver and group labels. Empty if nobody is configured to be told.
    pub group_key: String,
    /// `notify` or `suppress`.
    pub decision: String,
    /// `first`, `new_alerts`, `resolved`, `repeat`; or `cooldown`, `already_notified`, `never_notified`, `resolved_not_wanted`, `no_receiver`.
    pub reason: String,
    /// When a suppression ends by itself.
    pub until: Option<Timestamp>,
    /// The notification that lists the alert.
    pub outbox_id: Option<String>,
}

/// A notification in the outbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OutboxView {
    /// Idempotency key.
    pub id: String,
    /// To whom.
    pub receiver: String,
    /// `queued`, `delivered`, `dead`, or `superseded` by a newer one.
    pub state: String,
    /// Attempts so far.
    pub attempts: u32,
    /// When it is tried next, if it is queued.
    pub next_attempt_at: Option<Timestamp>,
    /// When trying ends.
    pub expires_at: Timestamp,
    /// When it was delivered, given up or replaced.
    pub settled_at: Option<Timestamp>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// What it says.
    pub notification: Notification,
    /// What became of each attempt.
    pub receipts: Vec<ReceiptView>,
}

/// What became of an attempt to deliver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReceiptView {
    /// When.
    pub at: Timestamp,
    /// Counts from 1.
    pub attempt: u32,
    /// `delivered`, `retry`, `credentials` or `dead`.
    pub outcome: String,
    /// What the other side said.
    pub detail: String,
}

/// An alert with all that is known of it: why was I told, and why not.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct AlertDetail {
    /// The alert.
    pub alert: AlertView,
    /// Its changes of state, newest first.
    pub history: Vec<HistoryView>,
    /// Who was told of it and who was not, newest first.
    pub decisions: Vec<DecisionView>,
    /// The notifications that list it, newest first, with their receipts.
    pub notifications: Vec<OutboxView>,
}
