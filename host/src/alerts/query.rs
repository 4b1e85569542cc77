//! What the API reads from the store.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use watchfire_types::Timestamp;

use super::view::{AlertDetail, AlertView, DecisionView, HistoryView, OutboxView, ReceiptView};
use crate::delivery::notification::{Notification, NotifyReason};
use crate::store::columns::{json, nanos, optional_time, time};

/// Rows of history, decisions and notifications shown of one alert.
const DETAIL_ROWS: u32 = 100;

fn alert(row: &Row<'_>) -> rusqlite::Result<AlertView> {
    Ok(AlertView {
        fingerprint: row.get("fingerprint")?,
        rule: row.get("rule")?,
        state: row.get("state")?,
        level: row.get("level")?,
        labels: json(row, "labels")?,
        annotations: json(row, "annotations")?,
        condition: row.get("condition")?,
        threshold: row.get("threshold")?,
        value: row.get("value")?,
        since: time(row, "since")?,
        fired_at: optional_time(row, "fired_at")?,
        resolved_at: optional_time(row, "resolved_at")?,
    })
}

fn history(row: &Row<'_>) -> rusqlite::Result<HistoryView> {
    Ok(HistoryView {
        at: time(row, "at")?,
        fingerprint: row.get("fingerprint")?,
        rule: row.get("rule")?,
        labels: json(row, "labels")?,
        level: row.get("level")?,
        state: row.get("state")?,
        value: row.get("value")?,
        reason: row.get("reason")?,
    })
}

/// Returns the alerts in `state` (all if `None`): firing first, then pending, then resolved, each newest first.
pub fn alerts(connection: &Connection, state: Option<&str>, limit: u32) -> rusqlite::Result<Vec<AlertView>> {
    connection
        .prepare_cached(
            "SELECT * FROM alerts WHERE ?1 IS NULL OR state = ?1
             ORDER BY CASE state WHEN 'firing' THEN 0 WHEN 'pending' THEN 1 ELSE 2 END, since DESC, fingerprint LIMIT ?2",
        )?
        .query_map(params![state, limit], alert)?
        .collect()
}

/// Returns all that is known of one alert.
pub fn detail(connection: &Connection, fingerprint: &str) -> rusqlite::Result<Option<AlertDetail>> {
    let found = connection.query_row("SELECT * FROM alerts WHERE fingerprint = ?1", [fingerprint], alert).optional()?;
    let Some(alert) = found else { return Ok(None) };
    let history = connection
        .prepare_cached("SELECT * FROM alert_history WHERE fingerprint = ?1 ORDER BY position DESC LIMIT ?2")?
        .query_map(params![fingerprint, DETAIL_ROWS], history)?
        .collect::<rusqlite::Result<_>>()?;
    let decisions = connection
        .prepare_cached("SELECT * FROM decisions WHERE fingerprint = ?1 ORDER BY position DESC LIMIT ?2")?
        .query_map(params![fingerprint, DETAIL_ROWS], |row| {
            Ok(DecisionView {
                at: time(row, "at")?,
                group_key: row.get("group_key")?,
                decision: row.get("decision")?,
                reason: row.get("reason")?,
                until: optional_time(row, "until")?,
                outbox_id: row.get("outbox_id")?,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let notifications = connection
        .prepare_cached(
            "SELECT outbox.* FROM outbox_alerts JOIN outbox ON outbox.id = outbox_id
             WHERE fingerprint = ?1 ORDER BY outbox.position DESC LIMIT ?2",
        )?
        .query_map(params![fingerprint, DETAIL_ROWS], |row| notification(connection, row))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Some(AlertDetail { alert, history, decisions, notifications }))
}

fn notification(connection: &Connection, row: &Row<'_>) -> rusqlite::Result<OutboxView> {
    let id: String = row.get("id")?;
    let state: String = row.get("state")?;
    let receipts = connection
        .prepare_cached("SELECT at, attempt, outcome, detail FROM receipts WHERE outbox_id = ?1 ORDER BY attempt")?
        .query_map([&id], |row| {
            Ok(ReceiptView {
                at: time(row, "at")?,
                attempt: row.get("attempt")?,
                outcome: row.get("outcome")?,
                detail: row.get("detail")?,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(OutboxView {
        id,
        receiver: row.get("receiver")?,
        attempts: row.get("attempts")?,
        next_attempt_at: if state == "queued" { optional_time(row, "next_attempt_at")? } else { None },
        state,
        expires_at: time(row, "expires_at")?,
        settled_at: optional_time(row, "settled_at")?,
        last_error: row.get("last_error")?,
        notification: payload(row)?,
        receipts,
    })
}

/// Returns what a row says; of one that a newer version wrote, to whom and when.
fn payload(row: &Row<'_>) -> rusqlite::Result<Notification> {
    if let Ok(notification) = json(row, "payload") {
        return Ok(notification);
    }
    Ok(Notification {
        id: row.get("id")?,
        receiver: row.get("receiver")?,
        group_key: row.get("group_key")?,
        group_labels: BTreeMap::new(),
        generation: row.get::<_, i64>("generation")? as u64,
        reason: NotifyReason::First,
        alerts: Vec::new(),
        truncated: 0,
        created_at: time(row, "created_at")?,
        first_queued_at: time(row, "first_queued_at")?,
        superseded: 0,
        external_url: String::new(),
    })
}

/// Returns notifications in `state` (all if `None`), newest first.
pub fn outbox(connection: &Connection, state: Option<&str>, limit: u32) -> rusqlite::Result<Vec<OutboxView>> {
    connection
        .prepare_cached("SELECT * FROM outbox WHERE ?1 IS NULL OR state = ?1 ORDER BY position DESC LIMIT ?2")?
        .query_map(params![state, limit], |row| notification(connection, row))?
        .collect()
}

/// Returns the changes of state after position `after`, oldest first, and the position of the last of them.
pub fn history_after(
    connection: &Connection,
    after: i64,
    since: Timestamp,
    until: Timestamp,
    limit: u32,
) -> rusqlite::Result<(Vec<HistoryView>, i64)> {
    let mut last = after;
    let rows = connection
        .prepare_cached("SELECT * FROM alert_history WHERE position > ?1 AND at >= ?2 AND at < ?3 ORDER BY position LIMIT ?4")?
        .query_map(params![after, nanos(since), nanos(until), limit], |row| {
            last = row.get("position")?;
            history(row)
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok((rows, last))
}
