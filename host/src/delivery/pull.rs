//! The pull channel: an application asks for notifications, and says of each whether it took it.
//!
//! A notification stays in the outbox meanwhile: what is offered here is only which one it is the turn of. An application that asks gets it for the time of a lease; if it
//! says nothing by then, whoever asks next gets it. Nothing here survives the process, and nothing needs to: the outbox offers it again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::{Notify, oneshot};
use watchfire_types::Timestamp;

use super::channel::{Outcome, Receipt};
use super::notification::{Notification, NotifyReason};
use super::outbox::new_id;
use super::{render, retry};
use crate::clock::Clock;

/// How long a notification waits for somebody to ask for it before the attempt counts as failed. A test waits less: somebody looks on.
const PATIENCE: Duration = Duration::from_secs(30);
const TEST_PATIENCE: Duration = Duration::from_secs(10);
/// How long it takes at most until it is offered again.
const OFFER_AGAIN: Duration = Duration::from_secs(1);
/// Longest lease.
pub const MAX_LEASE: Duration = Duration::from_secs(60);
/// Longest text that an application may say, in bytes.
const MAX_DETAIL_BYTES: usize = 2_000;

/// The channel of one receiver.
pub struct PullChannel {
    mailbox: Arc<Mailbox>,
    clock: Clock,
}

/// Where notifications of one receiver wait for whoever asks.
#[derive(Default)]
pub struct Mailbox {
    offers: Mutex<Offers>,
    /// Something has changed for those who wait.
    changed: Notify,
}

#[derive(Default)]
struct Offers {
    next: u64,
    waiting: BTreeMap<u64, Offer>,
    /// Whoever asks at present.
    asking: usize,
    /// When somebody asked last.
    asked_at: Option<Timestamp>,
}

struct Offer {
    body: Value,
    test: bool,
    lease: Option<Lease>,
    attempt: u32,
    verdict: oneshot::Sender<Verdict>,
}

struct Lease {
    id: String,
    until: Timestamp,
}

/// What an application says of a notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It took it.
    Taken(String),
    /// It may take it later.
    Later(Option<Duration>, String),
    /// It will never take it.
    Never(String),
}

/// A notification for whoever asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Handed {
    /// What to acknowledge it with.
    pub lease: String,
    /// Until when.
    pub until: Timestamp,
    /// Whether somebody only tries the channel.
    pub test: bool,
    /// How often it has been handed out since it was offered.
    pub attempt: u32,
    /// The notification.
    pub body: Value,
}

impl PullChannel {
    /// Returns a channel that nobody has asked yet.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { mailbox: Arc::default(), clock }
    }

    /// Returns where its notifications wait.
    #[must_use]
    pub fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }

    /// Offers `notification` and waits for what is said of it, for a minute and a half at most.
    pub async fn send(&self, notification: &Notification, now: Timestamp) -> Outcome {
        let test = notification.reason == NotifyReason::Test;
        let (verdict, mut answer) = oneshot::channel();
        let offered = self.mailbox.offer(render::alertmanager(notification, now), test, verdict);
        let mut patient_until = now.plus(if test { TEST_PATIENCE } else { PATIENCE });
        loop {
            tokio::select! {
                biased;
                verdict = &mut answer => return verdict.map_or_else(|_| self.unclaimed(), outcome),
                () = self.clock.sleep_until(patient_until) => {}
            }
            // Whoever has it may still say so.
            match offered.leased_until() {
                Some(until) if until > self.clock.now() => patient_until = until,
                _ => return self.unclaimed(),
            }
        }
    }

    fn unclaimed(&self) -> Outcome {
        let asked = self.mailbox.offers.lock().asked_at;
        let reason = match asked {
            None => "no application has asked for it: is one running that calls `add_notification_channel`?".to_owned(),
            Some(at) => format!("no application has taken it; one asked last at {}", render::to_second(at)),
        };
        Outcome::Unclaimed { after: OFFER_AGAIN, reason }
    }

    /// Returns whether a notification is with an application just now.
    #[must_use]
    pub fn is_out(&self) -> bool {
        let now = self.clock.now();
        self.mailbox.offers.lock().waiting.values().any(|offer| offer.lease.as_ref().is_some_and(|lease| lease.until > now))
    }

    /// Returns whether an application asks at present, in words.
    #[must_use]
    pub fn address(&self) -> String {
        if self.mailbox.offers.lock().asking > 0 { "an application that asks now" } else { "an application that asks" }.to_owned()
    }
}

fn outcome(verdict: Verdict) -> Outcome {
    match verdict {
        Verdict::Taken(detail) => Outcome::Delivered { receipt: Receipt::from(detail) },
        Verdict::Later(after, reason) => {
            Outcome::Retry { after: after.map(|after| after.min(retry::MAX_RETRY_AFTER)), class: "application", reason }
        }
        Verdict::Never(reason) => Outcome::Never { reason },
    }
}

/// An offer that is taken back when it is dropped.
struct Offered {
    mailbox: Arc<Mailbox>,
    number: u64,
}

impl Offered {
    fn leased_until(&self) -> Option<Timestamp> {
        let offers = self.mailbox.offers.lock();
        offers.waiting.get(&self.number).and_then(|offer| offer.lease.as_ref()).map(|lease| lease.until)
    }
}

impl Drop for Offered {
    fn drop(&mut self) {
        self.mailbox.offers.lock().waiting.remove(&self.number);
    }
}

/// Counts whoever asks as long as they do.
struct Asking<'a>(&'a Mailbox);

impl<'a> Asking<'a> {
    fn begin(mailbox: &'a Mailbox, now: Timestamp) -> Self {
        let mut offers = mailbox.offers.lock();
        offers.asking += 1;
        offers.asked_at = Some(now);
        Self(mailbox)
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.offers.lock().asking -= 1;
    }
}

impl Mailbox {
    fn offer(self: &Arc<Self>, body: Value, test: bool, verdict: oneshot::Sender<Verdict>) -> Offered {
        let mut offers = self.offers.lock();
        offers.next += 1;
        let number = offers.next;
        offers.waiting.insert(number, Offer { body, test, lease: None, attempt: 0, verdict });
        drop(offers);
        self.changed.notify_waiters();
        Offered { mailbox: Arc::clone(self), number }
    }

    /// Hands out the oldest notification that nobody has, for `lease`; waits for one for `wait` at most.
    pub async fn ask(&self, wait: Duration, lease: Duration, clock: &Clock) -> Option<Handed> {
        let begin = clock.now();
        let _asking = Asking::begin(self, begin);
        let deadline = tokio::time::Instant::now() + wait;
        loop {
            // Before looking, or what comes in between is missed.
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let again = match self.take(clock.now(), lease.min(MAX_LEASE)) {
                Ok(handed) => return Some(handed),
                Err(again) => again,
            };
            let lease_over = async {
                match again {
                    Some(again) => clock.sleep_until(again).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = changed => {}
                () = lease_over => {}
                () = tokio::time::sleep_until(deadline) => return None,
            }
        }
    }

    /// Returns the oldest that nobody has, or when the first lease ends.
    fn take(&self, now: Timestamp, lease: Duration) -> Result<Handed, Option<Timestamp>> {
        let mut offers = self.offers.lock();
        let free = |offer: &&mut Offer| offer.lease.as_ref().is_none_or(|lease| lease.until <= now);
        let Some(offer) = offers.waiting.values_mut().find(free) else {
            return Err(offers.waiting.values().filter_map(|offer| offer.lease.as_ref()).map(|lease| lease.until).min());
        };
        let (id, until) = (new_id(now), now.plus(lease));
        offer.lease = Some(Lease { id: id.clone(), until });
        offer.attempt += 1;
        Ok(Handed { lease: id, until, test: offer.test, attempt: offer.attempt, body: offer.body.clone() })
    }

    /// Takes what is said of the notification that was handed out with `lease`. Returns whether it was still out: a lease that is over can be used until somebody
    /// else has one.
    pub fn acknowledge(&self, lease: &str, verdict: Verdict) -> bool {
        let mut offers = self.offers.lock();
        let has = |offer: &Offer| offer.lease.as_ref().is_some_and(|known| known.id == lease);
        let Some(number) = offers.waiting.iter().find(|(_, offer)| has(offer)).map(|(number, _)| *number) else { return false };
        let offer = offers.waiting.remove(&number).expect("it was found just now");
        drop(offers);
        offer.verdict.send(verdict.shortened()).is_ok()
    }
}

impl Verdict {
    fn shortened(self) -> Self {
        let cut = |text: String| render::cut(&text, MAX_DETAIL_BYTES);
        match self {
            Self::Taken(text) => Self::Taken(cut(text)),
            Self::Later(after, text) => Self::Later(after, cut(text)),
            Self::Never(text) => Self::Never(cut(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_seconds(1_795_392_600);
    const LEASE: Duration = Duration::from_secs(20);

    fn channel() -> (PullChannel, Clock) {
        let clock = Clock::manual(START);
        (PullChannel::new(clock.clone()), clock)
    }

    fn notification(test: bool) -> Notification {
        let mut notification = render::test_notification(new_id(START), "app", "http://localhost", START);
        if !test {
            notification.reason = NotifyReason::First;
        }
        notification
    }

    #[tokio::test]
    async fn what_is_acknowledged_is_delivered() {
        let (channel, clock) = channel();
        let (notification, mailbox) = (notification(false), Arc::clone(channel.mailbox()));
        let asked = async {
            let handed = mailbox.ask(Duration::from_secs(5), LEASE, &clock).await.expect("it is offered");
            assert!(!mailbox.acknowledge("another", Verdict::Taken(String::new())));
            assert!(mailbox.acknowledge(&handed.lease, Verdict::Taken("in the book".into())));
            assert!(!mailbox.acknowledge(&handed.lease, Verdict::Taken(String::new())), "once is enough");
            handed
        };
        let (outcome, handed) = tokio::join!(channel.send(&notification, START), asked);
        assert_eq!(outcome, Outcome::Delivered { receipt: "in the book".into() });
        assert_eq!((handed.attempt, handed.test, handed.until), (1, false, START.plus(LEASE)));
        assert!(handed.body["alerts"].is_array(), "{}", handed.body);
    }

    #[tokio::test]
    async fn what_is_not_acknowledged_comes_back_after_its_lease() {
        let (channel, clock) = channel();
        let (notification, mailbox) = (notification(false), Arc::clone(channel.mailbox()));
        let asked = async {
            let first = mailbox.ask(Duration::from_secs(5), LEASE, &clock).await.expect("it is offered");
            assert_eq!(mailbox.ask(Duration::ZERO, LEASE, &clock).await, None, "somebody has it");
            clock.advance(LEASE);
            let second = mailbox.ask(Duration::from_secs(5), LEASE, &clock).await.expect("it is back");
            assert_eq!((second.attempt, &second.body), (2, &first.body));
            assert!(!mailbox.acknowledge(&first.lease, Verdict::Taken(String::new())), "somebody else has it now");
            assert!(mailbox.acknowledge(&second.lease, Verdict::Later(Some(Duration::from_secs(7)), "not now".into())));
        };
        let (outcome, ()) = tokio::join!(channel.send(&notification, START), asked);
        let after = Some(Duration::from_secs(7));
        assert_eq!(outcome, Outcome::Retry { after, class: "application", reason: "not now".into() });
    }

    #[tokio::test]
    async fn nobody_waits_for_ever_for_an_application() {
        let (channel, clock) = channel();
        let (notification, mailbox) = (notification(true), Arc::clone(channel.mailbox()));
        let time = async {
            while mailbox.offers.lock().waiting.is_empty() {
                tokio::task::yield_now().await;
            }
            clock.advance(TEST_PATIENCE);
        };
        let (outcome, ()) = tokio::join!(channel.send(&notification, START), time);
        assert!(
            matches!(&outcome, Outcome::Unclaimed { reason, .. } if reason.contains("add_notification_channel")),
            "{outcome:?}"
        );
        assert!(mailbox.offers.lock().waiting.is_empty(), "it is taken back");
        assert_eq!(mailbox.ask(Duration::ZERO, LEASE, &clock).await, None);
    }

    #[tokio::test]
    async fn a_send_that_is_given_up_leaves_nothing_behind() {
        let (channel, clock) = channel();
        let notification = notification(false);
        let given_up = tokio::time::timeout(Duration::from_millis(20), channel.send(&notification, START)).await;
        assert!(given_up.is_err());
        assert_eq!(channel.mailbox().ask(Duration::ZERO, LEASE, &clock).await, None);
    }
}
