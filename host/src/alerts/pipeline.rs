//! Notification as a list of stages: who is told of what, and why not.
//!
//! Pure: a group and its alerts go in, a decision about each comes out. The store does as it says.

use std::time::Duration;

use watchfire_types::Timestamp;

use super::identity::{ALERT_NAME, Labels};
use crate::delivery::notification::NotifyReason;

/// What routing needs to know of a receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// Whether it is told when an alert is over.
    pub send_resolved: bool,
}

/// The times of grouping.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// How long a new group waits for more alerts.
    pub group_wait: Duration,
    /// Least time between two notifications of one group.
    pub group_interval: Duration,
    /// When a firing group is told again.
    pub repeat_interval: Duration,
}

/// One alert of a group: where it stands, and what the receiver has been told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Which alert.
    pub fingerprint: String,
    /// Whether it fires now.
    pub firing: bool,
    /// For how long a fresh firing is muted after the last notification of it.
    pub cooldown: Duration,
    /// What the receiver was told.
    pub told: Told,
}

/// What a receiver has been told of one alert: its line in the notification log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Told, or queued to be told, that it fires, and not yet that it has resolved.
    pub open: bool,
    /// When it was last told that it fires.
    pub at: Option<Timestamp>,
}

/// Why somebody is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SuppressedReason {
    /// It resolved before anybody was told that it fires.
    NeverNotified,
    /// The receiver does not want resolutions.
    ResolvedNotWanted,
    /// It fires again too soon after the last notification.
    Cooldown {
        /// When it is told after all, if it still fires.
        until: Timestamp,
    },
    /// The receiver knows already.
    AlreadyNotified,
    /// Nobody is configured to be told.
    NoReceiver,
}

impl SuppressedReason {
    /// Returns its name as stored and shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NeverNotified => "never_notified",
            Self::ResolvedNotWanted => "resolved_not_wanted",
            Self::Cooldown { .. } => "cooldown",
            Self::AlreadyNotified => "already_notified",
            Self::NoReceiver => "no_receiver",
        }
    }
}

/// What the stages know of the group beside the alert they look at.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// The present.
    pub now: Timestamp,
    /// Whether the receiver wants resolutions.
    pub send_resolved: bool,
    /// Whether `repeat_interval` has passed since the group's last notification.
    pub repeat_due: bool,
}

/// A stage: holds an alert back for a reason, or lets it pass.
pub type Stage = fn(&Member, &Context) -> Option<SuppressedReason>;

/// Returns the stages that a flushed group passes, in order. Route and group come before ([`route`], [`group_key`]), enqueue after.
#[must_use]
pub fn stages() -> [Stage; 4] {
    [untold, unwanted, cooldown, dedup]
}

/// The end of what nobody was told of is no news.
fn untold(member: &Member, _: &Context) -> Option<SuppressedReason> {
    (!member.firing && !member.told.open).then_some(SuppressedReason::NeverNotified)
}

fn unwanted(member: &Member, context: &Context) -> Option<SuppressedReason> {
    (!member.firing && !context.send_resolved).then_some(SuppressedReason::ResolvedNotWanted)
}

/// Mutes a fresh firing, never a resolution.
fn cooldown(member: &Member, context: &Context) -> Option<SuppressedReason> {
    let until = member.told.at?.min(context.now).plus(member.cooldown);
    (member.firing && !member.told.open && context.now < until).then_some(SuppressedReason::Cooldown { until })
}

fn dedup(member: &Member, context: &Context) -> Option<SuppressedReason> {
    (member.firing && member.told.open && !context.repeat_due).then_some(SuppressedReason::AlreadyNotified)
}

/// Returns who is told of an alert: the rule's own receiver, or all.
pub fn route<'a>(receiver: Option<&str>, targets: &'a [Target]) -> impl Iterator<Item = &'a Target> {
    targets.iter().filter(move |target| receiver.is_none_or(|name| name == target.name))
}

/// Returns the labels by which alerts are grouped: the rule's name.
#[must_use]
pub fn group_labels(labels: &Labels) -> Labels {
    labels.get_key_value(ALERT_NAME).map(|(name, value)| (name.clone(), value.clone())).into_iter().collect()
}

/// Returns the key of the group with `labels` at `receiver`, in Alertmanager's spelling.
#[must_use]
pub fn group_key(receiver: &str, labels: &Labels) -> String {
    let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{receiver}:{{{}}}", labels.join(", "))
}

/// Returns when a group is to be looked at after one of its alerts changed at `now`.
///
/// `any_open` tells whether the receiver has been told of anything that it believes to be still firing.
#[must_use]
pub fn schedule(
    flush_at: Option<Timestamp>,
    any_open: bool,
    last_notified_at: Option<Timestamp>,
    timing: &Timing,
    now: Timestamp,
) -> Timestamp {
    let due = match last_notified_at {
        Some(last) if any_open => last.min(now).plus(timing.group_interval).max(now),
        _ => now.plus(timing.group_wait),
    };
    flush_at.map_or(due, |earlier| earlier.min(due))
}

/// The decision about one alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Held back, and why; `None` when it is news.
    pub suppressed: Option<SuppressedReason>,
    /// Whether the notification, if there is one, lists it.
    pub listed: bool,
    /// What the receiver has been told of it afterwards.
    pub told: Told,
}

/// What a flush decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flush {
    /// Whether a notification is sent, and why.
    pub notify: Option<NotifyReason>,
    /// One per alert, in their order.
    pub verdicts: Vec<Verdict>,
    /// The next look at the group.
    pub next: Option<Timestamp>,
}

/// Looks at a group at `now`: lets each alert pass the stages, and decides.
#[must_use]
pub fn flush(
    members: &[Member],
    last_notified_at: Option<Timestamp>,
    send_resolved: bool,
    timing: &Timing,
    now: Timestamp,
) -> Flush {
    let known_firing = members.iter().any(|member| member.firing && member.told.open);
    let repeat_due = known_firing && last_notified_at.is_none_or(|last| last.min(now).plus(timing.repeat_interval) <= now);
    let context = Context { now, send_resolved, repeat_due };
    let held: Vec<Option<SuppressedReason>> =
        members.iter().map(|member| stages().iter().find_map(|stage| stage(member, &context))).collect();

    let passes = |wanted: fn(&Member) -> bool| members.iter().zip(&held).any(|(member, held)| held.is_none() && wanted(member));
    let notify = if passes(|member| member.firing && !member.told.open) {
        let first = last_notified_at.is_none() || !members.iter().any(|member| member.told.open);
        Some(if first { NotifyReason::First } else { NotifyReason::NewAlerts })
    } else if passes(|member| !member.firing) {
        Some(NotifyReason::Resolved)
    } else {
        repeat_due.then_some(NotifyReason::Repeat)
    };

    let mut next: Option<Timestamp> = None;
    let mut sooner = |at: Timestamp| next = Some(next.map_or(at, |earlier| earlier.min(at)));
    let last_notified_at = if notify.is_some() { Some(now) } else { last_notified_at };
    let verdicts: Vec<Verdict> = members
        .iter()
        .zip(held)
        .map(|(member, suppressed)| {
            let cooling = matches!(suppressed, Some(SuppressedReason::Cooldown { .. }));
            // A notification shows the whole group, what is known included; only what cools down waits.
            let listed = notify.is_some() && if member.firing { !cooling } else { suppressed.is_none() };
            let told = match (member.firing, listed) {
                (true, true) => Told { open: true, at: Some(now) },
                (true, false) => member.told,
                (false, _) => Told { open: false, at: member.told.at },
            };
            if let Some(SuppressedReason::Cooldown { until }) = suppressed {
                sooner(until);
            }
            Verdict { suppressed, listed, told }
        })
        .collect();
    let any_open = verdicts.iter().any(|verdict| verdict.told.open);
    if any_open && let Some(last) = last_notified_at {
        sooner(last.min(now).plus(timing.repeat_interval));
        next = next.map(|at| at.max(last.min(now).plus(timing.group_interval)));
    }
    Flush { notify, verdicts, next }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMING: Timing = Timing {
        group_wait: Duration::from_secs(10),
        group_interval: Duration::from_secs(300),
        repeat_interval: Duration::from_secs(14_400),
    };

    fn seconds(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    /// A group of one or more alerts, played by a script.
    struct Play {
        members: Vec<Member>,
        last: Option<Timestamp>,
        next: Option<Timestamp>,
        send_resolved: bool,
        seen: Vec<String>,
    }

    impl Play {
        fn new(alerts: usize) -> Self {
            let member = |index| Member {
                fingerprint: format!("{index}"),
                firing: false,
                cooldown: Duration::from_secs(300),
                told: Told::default(),
            };
            Self { members: (0..alerts).map(member).collect(), last: None, next: None, send_resolved: true, seen: Vec::new() }
        }

        /// At second `at`, alert `index` begins or ceases to fire; flushes that are due before come first.
        fn change(mut self, at: u64, index: usize, firing: bool) -> Self {
            self = self.until(at);
            self.members[index].firing = firing;
            let any_open = self.members.iter().any(|member| member.told.open);
            self.next = Some(schedule(self.next, any_open, self.last, &TIMING, seconds(at)));
            self
        }

        fn until(mut self, end: u64) -> Self {
            while let Some(at) = self.next.filter(|next| *next <= seconds(end)) {
                let flush = flush(&self.members, self.last, self.send_resolved, &TIMING, at);
                if let Some(reason) = flush.notify {
                    let listed = self.members.iter().zip(&flush.verdicts).filter(|(_, verdict)| verdict.listed);
                    let listed: Vec<_> = listed
                        .map(|(member, _)| format!("{}{}", if member.firing { '+' } else { '-' }, member.fingerprint))
                        .collect();
                    self.seen.push(format!("{}s {} {}", at.as_millis() / 1000, reason.name(), listed.join(" ")));
                    self.last = Some(at);
                }
                for (member, verdict) in self.members.iter_mut().zip(flush.verdicts) {
                    member.told = verdict.told;
                }
                self.next = flush.next;
                assert!(self.next.is_none_or(|next| next > at), "a flush must not ask to be repeated at once");
            }
            self
        }

        fn seen(self, end: u64) -> String {
            self.until(end).seen.join(", ")
        }
    }

    #[test]
    fn alerts_within_group_wait_are_told_together() {
        let play = Play::new(2).change(0, 0, true).change(5, 1, true);
        insta::assert_snapshot!(play.seen(3600), @"10s first +0 +1");
    }

    #[test]
    fn a_later_alert_waits_for_group_interval() {
        let play = Play::new(2).change(0, 0, true).change(20, 1, true);
        insta::assert_snapshot!(play.seen(3600), @"10s first +0, 310s new_alerts +0 +1");
    }

    #[test]
    fn a_resolution_is_told_once() {
        let play = Play::new(1).change(0, 0, true).change(400, 0, false);
        insta::assert_snapshot!(play.seen(100_000), @"10s first +0, 400s resolved -0");
    }

    #[test]
    fn what_ends_within_group_wait_is_never_told() {
        let play = Play::new(1).change(0, 0, true).change(5, 0, false);
        insta::assert_snapshot!(play.seen(100_000), @"");
    }

    #[test]
    fn a_firing_group_is_told_again_after_repeat_interval() {
        let play = Play::new(1).change(0, 0, true);
        insta::assert_snapshot!(play.seen(30_000), @"10s first +0, 14410s repeat +0, 28810s repeat +0");
    }

    #[test]
    fn cooldown_mutes_a_fresh_firing_until_it_ends() {
        let play = Play::new(1).change(0, 0, true).change(305, 0, false).change(306, 0, true).change(312, 0, false);
        insta::assert_snapshot!(play.seen(100_000), @"10s first +0, 312s resolved -0");
        let mut play = Play::new(1).change(0, 0, true);
        play.members[0].cooldown = Duration::from_secs(600);
        let play = play.change(311, 0, false).change(320, 0, true);
        insta::assert_snapshot!(play.seen(10_000), @"10s first +0, 311s resolved -0, 610s first +0");
    }

    #[test]
    fn what_resolves_while_it_is_muted_is_not_told() {
        let mut play = Play::new(1).change(0, 0, true);
        play.members[0].cooldown = Duration::from_secs(600);
        let play = play.change(311, 0, false).change(320, 0, true).change(500, 0, false);
        insta::assert_snapshot!(play.seen(10_000), @"10s first +0, 311s resolved -0");
    }

    #[test]
    fn a_receiver_that_does_not_want_resolutions_gets_none() {
        let mut play = Play::new(1);
        play.send_resolved = false;
        let play = play.change(0, 0, true).change(400, 0, false).change(1000, 0, true);
        insta::assert_snapshot!(play.seen(10_000), @"10s first +0, 1010s first +0");
    }

    #[test]
    fn a_rule_with_a_receiver_is_told_only_there() {
        let target = |name: &str| Target { name: name.into(), send_resolved: true };
        let targets = [target("mail"), target("chat")];
        assert_eq!(route(None, &targets).count(), 2);
        assert_eq!(route(Some("chat"), &targets).map(|target| target.name.as_str()).collect::<Vec<_>>(), ["chat"]);
        let labels = Labels::from([("alertname".into(), "CPU \"x\"".into()), ("device".into(), "sda".into())]);
        assert_eq!(group_key("chat", &group_labels(&labels)), r#"chat:{alertname="CPU \"x\""}"#);
    }
}
