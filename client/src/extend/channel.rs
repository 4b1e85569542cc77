//! A notification channel of the application's own.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::{Registration, WAIT_SECONDS, guarded, keep_at, quietly};
use crate::ask::{AskError, Connection, escaped, with_query};

/// Seconds within which a notification is acknowledged; afterwards the host hands it out again.
const LEASE_SECONDS: u64 = 60;

/// Most causes of an error that are told.
const MAX_CAUSES: usize = 16;

/// What is to be told: the alerts of one group.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    /// The same each time this notification is handed out: for whoever must not tell it twice.
    pub id: String,
    /// `firing` or `resolved`.
    pub status: String,
    /// In a few words.
    #[serde(default)]
    pub title: String,
    /// Firing ones first.
    #[serde(default)]
    pub alerts: Vec<NotifiedAlert>,
    /// Alerts beyond those that are listed.
    #[serde(default)]
    pub truncated_alerts: u64,
    /// What all alerts have in common.
    #[serde(default)]
    pub common_labels: BTreeMap<String, String>,
    /// What all alerts say alike.
    #[serde(default)]
    pub common_annotations: BTreeMap<String, String>,
    /// Everything else that the host says of it.
    #[serde(flatten)]
    pub other: BTreeMap<String, Json>,
}

/// One alert of a notification.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NotifiedAlert {
    /// `firing` or `resolved`.
    pub status: String,
    /// What tells it from other alerts; `alertname` is its rule.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// For people: `summary`, `description`.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Since when it fires, RFC 3339.
    #[serde(default)]
    pub starts_at: String,
    /// Its identity.
    #[serde(default)]
    pub fingerprint: String,
    /// Everything else that the host says of it: rule, level, value, threshold.
    #[serde(flatten)]
    pub other: BTreeMap<String, Json>,
}

/// Why a channel did not take a notification. Every error is one, with `?`: it is tried again later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    reason: String,
    after: Option<Duration>,
    never: bool,
}

impl Refused {
    /// It is tried again: after a wait that grows, until the host's `delivery_timeout`.
    pub fn later(reason: impl fmt::Display) -> Self {
        Self { reason: reason.to_string(), after: None, never: false }
    }

    /// It is tried again after this long.
    pub fn after(wait: Duration, reason: impl fmt::Display) -> Self {
        Self { after: Some(wait), ..Self::later(reason) }
    }

    /// It is not tried again: the notification is given up, which the host shows.
    pub fn never(reason: impl fmt::Display) -> Self {
        Self { never: true, ..Self::later(reason) }
    }
}

impl<E: std::error::Error> From<E> for Refused {
    fn from(error: E) -> Self {
        let (mut whole, mut cause) = (error.to_string(), error.source());
        for _ in 0..MAX_CAUSES {
            let Some(found) = cause else { break };
            whole = format!("{whole}: {found}");
            cause = found.source();
        }
        Self::later(whole)
    }
}

/// A channel of the application's own.
///
/// ```
/// use watchfire_client::{Notification, NotificationChannel, Refused, add_notification_channel};
///
/// struct Siren;
///
/// impl NotificationChannel for Siren {
///     fn send(&self, notification: &Notification) -> Result<(), Refused> {
///         for alert in &notification.alerts {
///             println!("{}: {:?}", alert.status, alert.annotations.get("summary"));
///         }
///         Ok(())
///     }
///
///     fn test(&self) -> Result<(), Refused> {
///         Ok(())
///     }
/// }
///
/// add_notification_channel("siren", Siren);
/// ```
pub trait NotificationChannel: Send + Sync + 'static {
    /// Tells somebody. It may take a minute. Delivered at least once: after a crash the same notification may come again, with the same `id`.
    ///
    /// # Errors
    /// If nobody was told, and whether to try again.
    fn send(&self, notification: &Notification) -> Result<(), Refused>;

    /// Says whether it works, for `watchfire test`: without telling anybody, if it can.
    ///
    /// # Errors
    /// If it does not.
    fn test(&self) -> Result<(), Refused>;
}

/// Makes `channel` what delivers for the host's receiver `name`, which is `{"name": …, "pull": {}}` in its `alerting.receivers`. It has a thread of its own, which asks the
/// host for notifications as long as monitoring runs.
pub fn add_notification_channel(name: &str, channel: impl NotificationChannel) -> Registration {
    let path = format!("/api/v1/pull/channels/{}", escaped(name));
    let polled = with_query(&format!("{path}/poll"), &[("wait", &WAIT_SECONDS.to_string()), ("lease", &LEASE_SECONDS.to_string())]);
    let acknowledged = format!("{path}/acknowledge");
    keep_at(format!("channel {name}"), move |connection| turn(connection, &polled, &acknowledged, &channel))
}

#[derive(Deserialize)]
struct PollAnswer {
    notification: Option<Handed>,
}

#[derive(Deserialize)]
struct Handed {
    lease: String,
    test: bool,
    notification: Notification,
}

fn turn(connection: &Connection, poll: &str, acknowledge: &str, channel: &impl NotificationChannel) -> Result<(), AskError> {
    let answer: PollAnswer = quietly(|| connection.json("POST", poll, None))?;
    let Some(handed) = answer.notification else { return Ok(()) };
    let told = guarded(|| if handed.test { channel.test() } else { channel.send(&handed.notification) });
    let said = match told.unwrap_or_else(|panic| Err(Refused::later(panic))) {
        Ok(()) => json!({ "lease": handed.lease, "delivered": true, "detail": "taken by the application" }),
        Err(refused) => {
            let after = refused.after.map(|after| after.as_millis().div_ceil(1_000) as u64);
            json!({ "lease": handed.lease, "delivered": false, "detail": refused.reason, "retry_after": after, "never": refused.never })
        }
    };
    match quietly(|| connection.send("POST", acknowledge, Some(&said))) {
        // It took too long: it comes again.
        Err(AskError::Refused { status: 409, .. }) => Ok(()),
        other => other.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_is_a_refusal_with_its_causes() {
        fn send() -> Result<(), Refused> {
            Err(std::io::Error::other("the siren is broken"))?;
            Ok(())
        }
        assert_eq!(send(), Err(Refused::later("the siren is broken")));
        assert!(Refused::never("x").never);
    }
}
