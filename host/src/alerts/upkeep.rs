//! Keeps the store in line with configuration and clock, and bounded.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, params};
use watchfire_types::Timestamp;

use super::identity::{ALERT_NAME, Labels};
use super::store::{self, Policy, join_groups};
use super::{cursors, pipeline};
use crate::delivery::outbox;
use crate::store::columns::{json, nanos, to_json};

/// What is kept of history, decisions and settled notifications: this many rows each, and this long.
const KEEP_ROWS: u64 = 10_000;
const KEEP_FOR: Duration = Duration::from_secs(30 * 86_400);

/// Brings groups in line with a configuration that may have changed, and with a clock that may have stepped back: firing alerts
/// reach receivers that are new, receivers that are gone are forgotten, those to whom a rule no longer speaks are told that its alerts
/// are over, far deadlines are cut.
pub fn reconcile(connection: &Connection, policy: &Policy, now: Timestamp) -> rusqlite::Result<()> {
    let names = to_json(&policy.targets.iter().map(|target| target.name.as_str()).collect::<Vec<_>>())?;
    let gone = "SELECT key FROM groups WHERE receiver NOT IN (SELECT value FROM json_each(?1))";
    connection.execute(&format!("DELETE FROM group_alerts WHERE group_key IN ({gone})"), [&names])?;
    connection.execute("DELETE FROM groups WHERE receiver NOT IN (SELECT value FROM json_each(?1))", [&names])?;
    clamp(connection, policy, now)?;
    let firing: Vec<(String, Labels)> = connection
        .prepare("SELECT fingerprint, labels FROM alerts WHERE state = 'firing'")?
        .query_map([], |row| Ok((row.get(0)?, json(row, "labels")?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (fingerprint, labels) in firing {
        let rule = labels.get(ALERT_NAME).cloned().unwrap_or_default();
        leave_groups(connection, policy, &rule, &fingerprint, now)?;
        // The alerts of a rule that is gone end at once: that is for those to hear who knew of them.
        let Some((_, receiver)) = policy.rules.get(&rule) else { continue };
        for target in pipeline::route(receiver.as_deref(), &policy.targets) {
            let key = pipeline::group_key(&target.name, &pipeline::group_labels(&labels));
            let member: Option<()> = connection
                .query_row("SELECT 1 FROM group_alerts WHERE group_key = ?1 AND fingerprint = ?2", [&key, &fingerprint], |_| Ok(()))
                .optional()?;
            if member.is_none() {
                let only = Policy { targets: vec![target.clone()], ..policy.clone() };
                join_groups(connection, &only, &fingerprint, &labels, now)?;
            }
        }
    }
    Ok(())
}

/// Ends what receivers to whom `rule` no longer speaks believe of an alert.
fn leave_groups(connection: &Connection, policy: &Policy, rule: &str, fingerprint: &str, now: Timestamp) -> rusqlite::Result<()> {
    let groups: Vec<(String, String, bool)> = connection
        .prepare_cached("SELECT key, receiver, open FROM group_alerts JOIN groups ON key = group_key WHERE fingerprint = ?1")?
        .query_map([fingerprint], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (key, _, open) in groups.iter().filter(|(_, receiver, _)| !policy.tells(rule, receiver)) {
        if *open {
            store::schedule(connection, policy, key, now)?;
        } else {
            connection
                .execute("DELETE FROM group_alerts WHERE group_key = ?1 AND fingerprint = ?2", [key.as_str(), fingerprint])?;
        }
    }
    Ok(())
}

/// Cuts what lies ahead of a clock that stepped back.
pub fn clamp(connection: &Connection, policy: &Policy, now: Timestamp) -> rusqlite::Result<()> {
    let longest = policy.timing.repeat_interval.max(policy.timing.group_interval).max(policy.timing.group_wait);
    connection.execute("UPDATE groups SET flush_at = ?1 WHERE flush_at > ?1", [nanos(now.plus(longest.max(policy.cooldown)))])?;
    connection.execute("UPDATE groups SET last_notified_at = ?1 WHERE last_notified_at > ?1", [nanos(now)])?;
    connection.execute("UPDATE group_alerts SET told_at = ?1 WHERE told_at > ?1", [nanos(now)])?;
    outbox::clamp(connection, now)
}

/// Drops what is no longer kept: resolved alerts beyond `max_alerts`, old history, decisions and settled notifications.
pub fn prune(connection: &Connection, policy: &Policy, now: Timestamp) -> rusqlite::Result<()> {
    let before = now.minus(KEEP_FOR);
    // A resolution that is still to be told, and a cooldown that still runs, outlive the cap.
    let mut longest = policy.cooldown;
    longest = policy.rules.values().filter_map(|(cooldown, _)| *cooldown).fold(longest, Duration::max);
    connection.execute("DELETE FROM group_alerts WHERE open = 0 AND coalesce(told_at, 0) < ?1 AND fingerprint NOT IN (SELECT fingerprint FROM alerts WHERE state <> 'resolved')", [nanos(now.minus(longest))])?;
    connection.execute(
        "DELETE FROM alerts WHERE state = 'resolved' AND fingerprint NOT IN (SELECT fingerprint FROM group_alerts WHERE open = 1)
           AND fingerprint NOT IN (SELECT fingerprint FROM alerts WHERE state = 'resolved' ORDER BY resolved_at DESC, fingerprint LIMIT ?1)",
        [policy.max_alerts as i64],
    )?;
    connection.execute(
        "DELETE FROM groups WHERE flush_at IS NULL AND NOT EXISTS (SELECT 1 FROM group_alerts WHERE group_key = key)
           AND NOT EXISTS (SELECT 1 FROM outbox WHERE group_key = key AND state = 'queued')",
        [],
    )?;
    for (table, rows) in [("alert_history", KEEP_ROWS.max(policy.max_alerts)), ("decisions", 10 * KEEP_ROWS)] {
        connection.execute(
            &format!(
                "DELETE FROM {table} WHERE at < ?1 OR position <= (SELECT position FROM {table} ORDER BY position DESC LIMIT 1 OFFSET ?2)"
            ),
            params![nanos(before), rows as i64],
        )?;
    }
    cursors::prune(connection, now)?;
    outbox::prune(connection, before, KEEP_ROWS)
}
