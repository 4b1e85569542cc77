//! What is told: the payload of an outbox row.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use watchfire_types::Timestamp;

/// Most alerts that one notification lists; the others are counted.
pub const MAX_ALERTS: usize = 1_000;
/// From this age on a notification says that it is late.
const LATE: Duration = Duration::from_secs(60);

/// Why somebody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NotifyReason {
    /// The first notification of its group.
    First,
    /// Further alerts of the group fire.
    NewAlerts,
    /// Alerts have resolved.
    Resolved,
    /// They still fire after `repeat_interval`.
    Repeat,
    /// Somebody tries the receiver.
    Test,
}

impl NotifyReason {
    /// Returns its name as stored and shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::NewAlerts => "new_alerts",
            Self::Resolved => "resolved",
            Self::Repeat => "repeat",
            Self::Test => "test",
        }
    }
}

/// Whether an alert, or any alert of a notification, fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It fires.
    Firing,
    /// It is over.
    Resolved,
}

impl Status {
    /// Returns its name as stored and shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

/// One alert within a notification.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NotifiedAlert {
    /// Its identity.
    pub fingerprint: String,
    /// Whether it fires.
    pub status: Status,
    /// Name of its rule.
    pub rule: String,
    /// How serious it is: `INFO`, `WARNING`, `ERROR`, `CRITICAL`.
    pub level: String,
    /// What tells it from other alerts.
    pub labels: BTreeMap<String, String>,
    /// For people.
    pub annotations: BTreeMap<String, String>,
    /// The rule's condition in words.
    pub condition: String,
    /// What the value was compared with.
    pub threshold: f64,
    /// The value last seen.
    pub value: Option<f64>,
    /// Since when it fires.
    pub starts_at: Timestamp,
    /// When it resolved.
    pub ends_at: Option<Timestamp>,
}

/// A notification to one receiver about one group of alerts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Notification {
    /// Idempotency key: the same for every attempt to deliver it.
    pub id: String,
    /// To whom.
    pub receiver: String,
    /// Which group.
    pub group_key: String,
    /// What the group's alerts have in common by definition.
    pub group_labels: BTreeMap<String, String>,
    /// Counts the notifications of the group.
    pub generation: u64,
    /// Why.
    pub reason: NotifyReason,
    /// Firing ones first.
    pub alerts: Vec<NotifiedAlert>,
    /// Alerts beyond the most that are listed.
    pub truncated: usize,
    /// When it was made.
    pub created_at: Timestamp,
    /// When the first undelivered notification that this one replaces was made; `created_at` if it replaces none.
    pub first_queued_at: Timestamp,
    /// How many undelivered notifications it replaces.
    pub superseded: u32,
    /// What links begin with.
    pub external_url: String,
}

impl Notification {
    /// Returns `Firing` if any of its alerts fires.
    #[must_use]
    pub fn status(&self) -> Status {
        if self.count(Status::Firing) > 0 { Status::Firing } else { Status::Resolved }
    }

    /// Returns how many of the listed alerts have `status`.
    #[must_use]
    pub fn count(&self, status: Status) -> usize {
        self.alerts.iter().filter(|alert| alert.status == status).count()
    }

    /// Returns the labels that all alerts share.
    #[must_use]
    pub fn common_labels(&self) -> BTreeMap<String, String> {
        common(self.alerts.iter().map(|alert| &alert.labels))
    }

    /// Returns the annotations that all alerts share.
    #[must_use]
    pub fn common_annotations(&self) -> BTreeMap<String, String> {
        common(self.alerts.iter().map(|alert| &alert.annotations))
    }

    /// Returns how late it is at `now`, if it is worth a word.
    #[must_use]
    pub fn delay(&self, now: Timestamp) -> Option<Duration> {
        Some(now.since(self.first_queued_at)).filter(|delay| *delay >= LATE)
    }

    /// Takes over what `older`, which will not be sent, would have told and this one does not.
    ///
    /// What fired in it and is not mentioned here has ended since; what had resolved in it was told as firing before.
    pub fn absorb(&mut self, older: Self) {
        self.first_queued_at = self.first_queued_at.min(older.first_queued_at);
        self.superseded += older.superseded + 1;
        self.truncated = self.truncated.max(older.truncated);
        for mut alert in older.alerts {
            match self.alerts.iter_mut().find(|known| known.fingerprint == alert.fingerprint) {
                Some(known) => {
                    if known.status == Status::Resolved || alert.status == Status::Firing {
                        known.starts_at = known.starts_at.min(alert.starts_at);
                    }
                }
                // It may well be among those that are only counted here.
                None if self.truncated > 0 && alert.status == Status::Firing => {}
                None => {
                    alert.ends_at = alert.ends_at.or(Some(self.created_at));
                    alert.status = Status::Resolved;
                    self.alerts.push(alert);
                }
            }
        }
        self.limit();
    }

    /// Puts firing alerts first and keeps the number of alerts bounded.
    pub fn limit(&mut self) {
        self.alerts.sort_by_key(|alert| (alert.status == Status::Resolved, alert.starts_at));
        if self.alerts.len() > MAX_ALERTS {
            self.truncated += self.alerts.len() - MAX_ALERTS;
            self.alerts.truncate(MAX_ALERTS);
        }
    }
}

fn common<'a>(mut maps: impl Iterator<Item = &'a BTreeMap<String, String>>) -> BTreeMap<String, String> {
    let mut shared = maps.next().cloned().unwrap_or_default();
    for map in maps {
        shared.retain(|name, value| map.get(name) == Some(value));
    }
    shared
}
