//! Remembers: the engine's only SQL.
//!
//! Transitions, the deadlines of groups, flushes, decisions and outbox rows of one evaluation are one transaction, so that a crash
//! never keeps half of it. All functions run inside a transaction of their caller.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use rusqlite::{Connection, named_params, params};
use watchfire_types::Timestamp;

use super::cursors::{self, Progress};
use super::engine::{Alert, Known, Transition};
use super::identity::Labels;
use super::pipeline::{self, Member, SuppressedReason, Target, Timing, Told};
use super::types::AlertState;
use crate::delivery::notification::{Notification, NotifiedAlert, NotifyReason, Status};
use crate::delivery::outbox::{self, Leases};
use crate::store::Migration;
use crate::store::columns::{json, nanos, optional_time, time, timestamp, to_json};
use crate::store::crash::crash_point;

/// The schema of `state.db`.
pub const MIGRATIONS: &[Migration] = &[
    include_str!("../../migrations/state/0001_alerts.sql"),
    include_str!("../../migrations/state/0002_plugins.sql"),
    include_str!("../../migrations/state/0003_delivery_progress.sql"),
    include_str!("../../migrations/state/0004_errors.sql"),
    include_str!("../../migrations/state/0005_alert_cursors.sql"),
    include_str!("../../migrations/state/0006_id_ranges.sql"),
    include_str!("../../migrations/state/0007_issue_details.sql"),
];

/// How alerts become notifications: the checked configuration, as far as it concerns that.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Who can be told.
    pub targets: Vec<Target>,
    /// Waits and intervals.
    pub timing: Timing,
    /// Default cooldown.
    pub cooldown: Duration,
    /// Cooldown and receiver of each rule that has its own.
    pub rules: HashMap<String, (Option<Duration>, Option<String>)>,
    /// How long a notification is tried.
    pub delivery_timeout: Duration,
    /// What links begin with.
    pub external_url: String,
    /// Resolved alerts kept.
    pub max_alerts: u64,
}

impl Policy {
    /// Returns whether the alerts of rule `rule` are told to `receiver`. Those of a rule that is gone stay where they were.
    #[must_use]
    pub fn tells(&self, rule: &str, receiver: &str) -> bool {
        self.rules.get(rule).is_none_or(|(_, own)| own.as_deref().is_none_or(|own| own == receiver))
    }
}

/// What an evaluation wants stored.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// Changes of state.
    pub transitions: Vec<Transition>,
    /// When the condition of firing alerts last held; `None`: it holds.
    pub touched: Vec<(String, Option<Timestamp>)>,
    /// Present values and annotations of firing alerts, so that a repeated notification is not stale.
    pub refreshed: Vec<Refreshed>,
    /// How far sources of events have been read for it.
    pub progress: Vec<Progress>,
}

/// A firing alert as it is now.
#[derive(Clone, Debug)]
pub struct Refreshed {
    /// Which alert.
    pub fingerprint: String,
    /// Its value.
    pub value: Option<f64>,
    /// Its annotations; `None`: as they are.
    pub annotations: Option<BTreeMap<String, String>>,
}

/// What was stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Notifications queued.
    pub queued: usize,
    /// The next moment at which a group is to be looked at.
    pub next_flush: Option<Timestamp>,
}

/// Stores an evaluation and flushes the groups that are due.
///
/// # Errors
/// SQLite's; nothing is stored then.
pub fn apply(connection: &Connection, leases: &Leases, policy: &Policy, step: &Step, now: Timestamp) -> rusqlite::Result<Applied> {
    for transition in &step.transitions {
        store_transition(connection, transition, now)?;
        match transition.to {
            AlertState::Firing { .. } => join_groups(connection, policy, &transition.fingerprint, &transition.labels, now)?,
            AlertState::Inactive if transition.from.name() == "firing" => {
                wake_groups(connection, policy, &transition.fingerprint, now)?;
            }
            _ => {}
        }
    }
    for (fingerprint, last_held_at) in &step.touched {
        connection
            .prepare_cached("UPDATE alerts SET last_held_at = ?2 WHERE fingerprint = ?1 AND state = 'firing'")?
            .execute(params![fingerprint, last_held_at.map(nanos)])?;
    }
    for Refreshed { fingerprint, value, annotations } in &step.refreshed {
        let annotations = annotations.as_ref().map(to_json).transpose()?;
        connection
            .prepare_cached(
                "UPDATE alerts SET value = ?2, annotations = coalesce(?3, annotations) WHERE fingerprint = ?1 AND state = 'firing'",
            )?
            .execute(params![fingerprint, value, annotations])?;
    }
    for progress in &step.progress {
        cursors::save(connection, progress, now)?;
    }
    if !step.transitions.is_empty() {
        crash_point("alerts.before_transition_commit");
    }
    let queued = flush_due(connection, leases, policy, now)?;
    if queued > 0 {
        crash_point("alerts.before_flush_commit");
    }
    Ok(Applied { queued, next_flush: next_flush(connection)? })
}

fn store_transition(connection: &Connection, transition: &Transition, now: Timestamp) -> rusqlite::Result<()> {
    let fingerprint = &transition.fingerprint;
    let state = match (transition.to, transition.from) {
        (AlertState::Inactive, AlertState::Firing { .. }) => "resolved",
        (state, _) => state.name(),
    };
    match transition.to {
        AlertState::Inactive => {
            // What was pending goes back to what it was: resolved if it ever fired, else nothing.
            connection
                .prepare_cached(
                    "UPDATE alerts SET since = CASE state WHEN 'firing' THEN ?2 ELSE coalesce(resolved_at, ?2) END,
                                       resolved_at = CASE state WHEN 'firing' THEN ?2 ELSE resolved_at END,
                                       value = coalesce(?3, value), state = 'resolved' WHERE fingerprint = ?1",
                )?
                .execute(params![fingerprint, nanos(now), transition.value])?;
            connection
                .prepare_cached("DELETE FROM alerts WHERE fingerprint = ?1 AND resolved_at IS NULL")?
                .execute([fingerprint])?;
        }
        AlertState::Pending { since } | AlertState::Firing { since, .. } => {
            let fired_at = matches!(transition.to, AlertState::Firing { .. }).then(|| nanos(since));
            connection
                .prepare_cached(
                    "INSERT INTO alerts (fingerprint, rule, labels, annotations, level, condition, threshold, state, since, fired_at, value)
                     VALUES (:fingerprint, :rule, :labels, :annotations, :level, :condition, :threshold, :state, :since, :fired_at, :value)
                     ON CONFLICT (fingerprint) DO UPDATE SET rule = excluded.rule, labels = excluded.labels,
                         annotations = excluded.annotations, level = excluded.level, condition = excluded.condition,
                         threshold = excluded.threshold, state = excluded.state, since = excluded.since,
                         fired_at = coalesce(excluded.fired_at, fired_at), last_held_at = NULL, value = excluded.value",
                )?
                .execute(named_params! {
                    ":fingerprint": fingerprint,
                    ":rule": transition.rule,
                    ":labels": to_json(&transition.labels)?,
                    ":annotations": to_json(&transition.annotations)?,
                    ":level": transition.level.name(),
                    ":condition": transition.condition,
                    ":threshold": transition.threshold,
                    ":state": state,
                    ":since": nanos(since),
                    ":fired_at": fired_at,
                    ":value": transition.value,
                })?;
        }
    }
    connection
        .prepare_cached(
            "INSERT INTO alert_history (fingerprint, rule, labels, level, at, state, value, reason)
             VALUES (?1, ?2, ?3, coalesce((SELECT level FROM alerts WHERE fingerprint = ?1), ?4), ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            fingerprint,
            transition.rule,
            to_json(&transition.labels)?,
            transition.level.name(),
            nanos(now),
            state,
            transition.value,
            transition.reason
        ])?;
    Ok(())
}

/// Puts a firing alert into the groups of all receivers it is routed to, and sets their deadlines.
pub(crate) fn join_groups(
    connection: &Connection,
    policy: &Policy,
    fingerprint: &str,
    labels: &Labels,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let rule = labels.get(super::identity::ALERT_NAME).map_or("", String::as_str);
    let receiver = policy.rules.get(rule).and_then(|(_, receiver)| receiver.as_deref());
    let group_labels = pipeline::group_labels(labels);
    let mut nobody = true;
    for target in pipeline::route(receiver, &policy.targets) {
        nobody = false;
        let key = pipeline::group_key(&target.name, &group_labels);
        connection
            .prepare_cached("INSERT INTO groups VALUES (?1, ?2, ?3, 0, NULL, NULL) ON CONFLICT (key) DO NOTHING")?
            .execute(params![key, target.name, to_json(&group_labels)?])?;
        connection
            .prepare_cached("INSERT INTO group_alerts VALUES (?1, ?2, 0, 0, NULL, NULL) ON CONFLICT DO NOTHING")?
            .execute([key.as_str(), fingerprint])?;
        schedule(connection, policy, &key, now)?;
    }
    if nobody {
        let held = SuppressedReason::NoReceiver;
        decide(connection, "", fingerprint, now, Some(held), None, None)?;
    }
    Ok(())
}

/// Sets the deadlines of the groups that hold an alert which is over.
fn wake_groups(connection: &Connection, policy: &Policy, fingerprint: &str, now: Timestamp) -> rusqlite::Result<()> {
    let keys: Vec<String> = connection
        .prepare_cached("SELECT group_key FROM group_alerts WHERE fingerprint = ?1")?
        .query_map([fingerprint], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    keys.iter().try_for_each(|key| schedule(connection, policy, key, now))
}

/// Sets the deadline of a group of which an alert has changed.
pub(crate) fn schedule(connection: &Connection, policy: &Policy, key: &str, now: Timestamp) -> rusqlite::Result<()> {
    let any_open: bool = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM group_alerts WHERE group_key = ?1 AND open = 1)")?
        .query_row([key], |row| row.get(0))?;
    let (flush_at, last) = connection
        .prepare_cached("SELECT flush_at, last_notified_at FROM groups WHERE key = ?1")?
        .query_row([key], |row| Ok((optional_time(row, "flush_at")?, optional_time(row, "last_notified_at")?)))?;
    let flush_at = pipeline::schedule(flush_at, any_open, last, &policy.timing, now);
    connection.prepare_cached("UPDATE groups SET flush_at = ?2 WHERE key = ?1")?.execute(params![key, nanos(flush_at)])?;
    Ok(())
}

struct GroupRow {
    key: String,
    receiver: String,
    labels: Labels,
    generation: u64,
    last_notified_at: Option<Timestamp>,
}

/// Flushes every group whose deadline has passed; returns how many notifications were queued.
fn flush_due(connection: &Connection, leases: &Leases, policy: &Policy, now: Timestamp) -> rusqlite::Result<usize> {
    let groups: Vec<GroupRow> = connection
        .prepare_cached("SELECT * FROM groups WHERE flush_at <= ?1 ORDER BY flush_at, key")?
        .query_map([nanos(now)], |row| {
            Ok(GroupRow {
                key: row.get("key")?,
                receiver: row.get("receiver")?,
                labels: json(row, "labels")?,
                generation: row.get::<_, i64>("generation")? as u64,
                last_notified_at: optional_time(row, "last_notified_at")?,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let mut queued = 0;
    for group in &groups {
        queued += usize::from(flush(connection, leases, policy, group, now)?);
    }
    Ok(queued)
}

/// Flushes one group; returns whether a notification was queued.
fn flush(connection: &Connection, leases: &Leases, policy: &Policy, group: &GroupRow, now: Timestamp) -> rusqlite::Result<bool> {
    let Some(target) = policy.targets.iter().find(|target| target.name == group.receiver) else {
        connection.execute("DELETE FROM group_alerts WHERE group_key = ?1", [&group.key])?;
        connection.execute("DELETE FROM groups WHERE key = ?1", [&group.key])?;
        return Ok(false);
    };
    let (members, mut alerts): (Vec<Member>, Vec<NotifiedAlert>) = members(connection, policy, group, now)?.into_iter().unzip();
    let flush = pipeline::flush(&members, group.last_notified_at, target.send_resolved, &policy.timing, now);
    let id = outbox::new_id(now);
    for ((member, alert), verdict) in members.iter().zip(&mut alerts).zip(&flush.verdicts) {
        let notified = verdict.listed.then_some(id.as_str());
        decide(
            connection,
            &group.key,
            &member.fingerprint,
            now,
            verdict.suppressed,
            flush.notify.map(NotifyReason::name),
            notified,
        )?;
        if verdict.told == member.told {
            continue;
        }
        // The receiver was told of one long firing, whatever it looked like in between.
        let since = if verdict.told.open { Some(nanos(alert.starts_at)) } else { None };
        connection
            .prepare_cached(
                "UPDATE group_alerts SET open = ?3, told_at = ?4, since = ?5, delivered = delivered AND ?6
                 WHERE group_key = ?1 AND fingerprint = ?2",
            )?
            .execute(params![
                group.key,
                member.fingerprint,
                verdict.told.open,
                verdict.told.at.map(nanos),
                since,
                member.told.open && verdict.told.open
            ])?;
    }
    for alert in alerts.iter().filter(|alert| !policy.tells(&alert.rule, &group.receiver)) {
        connection
            .prepare_cached("DELETE FROM group_alerts WHERE group_key = ?1 AND fingerprint = ?2 AND open = 0")?
            .execute([&group.key, &alert.fingerprint])?;
    }
    let generation = group.generation + u64::from(flush.notify.is_some());
    let last_notified_at = if flush.notify.is_some() { Some(now) } else { group.last_notified_at };
    connection
        .prepare_cached("UPDATE groups SET generation = ?2, flush_at = ?3, last_notified_at = ?4 WHERE key = ?1")?
        .execute(params![group.key, generation as i64, flush.next.map(nanos), last_notified_at.map(nanos)])?;
    let Some(reason) = flush.notify else { return Ok(false) };
    let listed = alerts.into_iter().zip(&flush.verdicts).filter(|(_, verdict)| verdict.listed).map(|(alert, _)| alert);
    let notification = Notification {
        id,
        receiver: group.receiver.clone(),
        group_key: group.key.clone(),
        group_labels: group.labels.clone(),
        generation,
        reason,
        alerts: listed.collect(),
        truncated: 0,
        created_at: now,
        first_queued_at: now,
        superseded: 0,
        external_url: policy.external_url.clone(),
    };
    outbox::enqueue(connection, leases, notification, now.plus(policy.delivery_timeout))?;
    Ok(true)
}

/// Returns the alerts of a group, as the pipeline and as a notification see them.
///
/// For a receiver to whom their rule no longer speaks they are over: it would never hear of their end.
fn members(
    connection: &Connection,
    policy: &Policy,
    group: &GroupRow,
    now: Timestamp,
) -> rusqlite::Result<Vec<(Member, NotifiedAlert)>> {
    connection
        .prepare_cached(
            "SELECT alerts.*, told.open, told.told_at, told.since AS told_since
             FROM group_alerts AS told JOIN alerts USING (fingerprint) WHERE group_key = ?1 ORDER BY fingerprint",
        )?
        .query_map([&group.key], |row| {
            let rule: String = row.get("rule")?;
            let still = row.get_ref("state")?.as_str()? == "firing";
            let firing = still && policy.tells(&rule, &group.receiver);
            let fingerprint: String = row.get("fingerprint")?;
            let told = Told { open: row.get("open")?, at: optional_time(row, "told_at")? };
            let fired_at = optional_time(row, "fired_at")?.unwrap_or_default();
            let member = Member {
                fingerprint: fingerprint.clone(),
                firing,
                cooldown: policy.rules.get(&rule).and_then(|(cooldown, _)| *cooldown).unwrap_or(policy.cooldown),
                told,
            };
            let alert = NotifiedAlert {
                fingerprint,
                status: if firing { Status::Firing } else { Status::Resolved },
                rule,
                level: row.get("level")?,
                labels: json(row, "labels")?,
                annotations: json(row, "annotations")?,
                condition: row.get("condition")?,
                threshold: row.get("threshold")?,
                value: row.get("value")?,
                starts_at: optional_time(row, "told_since")?.filter(|_| told.open).unwrap_or(fired_at),
                ends_at: match (firing, still) {
                    (true, _) => None,
                    (false, true) => Some(now),
                    (false, false) => optional_time(row, "resolved_at")?,
                },
            };
            Ok((member, alert))
        })?
        .collect()
}

fn decide(
    connection: &Connection,
    group_key: &str,
    fingerprint: &str,
    now: Timestamp,
    suppressed: Option<SuppressedReason>,
    notify: Option<&str>,
    outbox_id: Option<&str>,
) -> rusqlite::Result<()> {
    let until = match suppressed {
        Some(SuppressedReason::Cooldown { until }) => Some(nanos(until)),
        _ => None,
    };
    let (decision, reason) = match suppressed {
        Some(reason) => ("suppress", reason.name()),
        None => ("notify", notify.unwrap_or("first")),
    };
    connection
        .prepare_cached("INSERT INTO decisions (group_key, fingerprint, at, decision, reason, until, outbox_id) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?
        .execute(params![group_key, fingerprint, nanos(now), decision, reason, until, outbox_id])?;
    Ok(())
}

/// Returns the earliest deadline of all groups.
pub fn next_flush(connection: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    let nanos: Option<i64> = connection
        .prepare_cached("SELECT min(flush_at) FROM groups WHERE flush_at IS NOT NULL")?
        .query_row([], |row| row.get(0))?;
    Ok(nanos.map(timestamp))
}

/// Returns the pending and firing alerts, as they were stored.
///
/// A firing alert whose condition held when it was last stored counts as holding until `now`.
pub fn load(connection: &Connection, now: Timestamp) -> rusqlite::Result<Known> {
    connection
        .prepare(
            "SELECT fingerprint, rule, labels, state, since, last_held_at, value FROM alerts WHERE state IN ('pending', 'firing')",
        )?
        .query_map([], |row| {
            let since = time(row, "since")?;
            let held = optional_time(row, "last_held_at")?;
            let state = match row.get_ref("state")?.as_str()? {
                "firing" => AlertState::Firing { since, held: held.unwrap_or(now) },
                _ => AlertState::Pending { since },
            };
            let fingerprint: String = row.get("fingerprint")?;
            let alert = Alert {
                fingerprint: fingerprint.clone(),
                rule: row.get("rule")?,
                labels: json(row, "labels")?,
                state,
                holding: held.is_none(),
                value: row.get("value")?,
                newest: None,
            };
            Ok((fingerprint, alert))
        })?
        .collect()
}

/// Stores a rule made through the API; false if there is one of this name.
pub fn insert_rule(connection: &Connection, name: &str, body: &str, now: Timestamp) -> rusqlite::Result<bool> {
    let inserted =
        connection.execute("INSERT INTO rules VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING", params![name, body, nanos(now)])?;
    Ok(inserted == 1)
}

/// Deletes a rule made through the API; false if there is none of this name.
pub fn delete_rule(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    Ok(connection.execute("DELETE FROM rules WHERE name = ?1", [name])? == 1)
}

/// Returns the names and bodies of the rules made through the API.
pub fn rules(connection: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    connection
        .prepare("SELECT name, body FROM rules ORDER BY created_at, name")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

#[cfg(test)]
#[path = "store_tests.rs"]
pub(crate) mod testing;
