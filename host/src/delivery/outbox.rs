//! The outbox: notifications from the moment they are decided until a receipt or a dead letter.
//!
//! All functions on a connection run inside a transaction of their caller, on the one writer thread of `state.db`. That makes them
//! take turns: while a notification is being replaced nobody takes it to send it, and the other way round.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension as _, named_params, params};
use tokio::sync::watch;
use watchfire_types::Timestamp;

use super::channel::Receipt;
use super::notification::{Notification, NotifiedAlert, Status};
use super::progress::Saved;
use crate::store::columns::{nanos, time, timestamp, to_json};
use crate::store::crash::crash_point;
use crate::store::{Database, StoreError};

/// Most time that a stored deadline of an attempt may lie ahead: what a clock that stepped back leaves is cut to this.
pub const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// The rows that are being sent at this moment. In memory: a restart frees them.
#[derive(Clone, Debug, Default)]
pub struct Leases(Arc<Mutex<HashSet<String>>>);

impl Leases {
    /// Returns whether row `id` is being sent.
    #[must_use]
    pub fn holds(&self, id: &str) -> bool {
        self.0.lock().contains(id)
    }

    /// Frees row `id`.
    pub fn free(&self, id: &str) {
        self.0.lock().remove(id);
    }

    fn take(&self, id: &str) -> bool {
        self.0.lock().insert(id.to_owned())
    }
}

/// A row taken to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Leased {
    /// What to send.
    pub notification: Notification,
    /// Failed attempts so far.
    pub attempts: u32,
    /// When trying ends.
    pub expires_at: Timestamp,
    /// How far an earlier attempt came.
    pub progress: Option<Saved>,
    /// What the last delivery for its group returned.
    pub previous_receipt: Option<String>,
}

/// What a worker finds.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Send this.
    Leased(Box<Leased>),
    /// Nothing is due before this moment.
    Later(Timestamp),
    /// Nothing is queued.
    Empty,
}

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It arrived.
    Delivered {
        /// What the other side answered.
        receipt: Receipt,
    },
    /// It is tried again.
    Retry {
        /// When.
        at: Timestamp,
        /// What went wrong.
        error: String,
        /// Whether the other side refused our credentials.
        credentials: bool,
    },
    /// It is given up.
    Dead {
        /// Why.
        error: String,
    },
}

/// Returns a new idempotency key: a UUID of version 7.
#[must_use]
pub fn new_id(now: Timestamp) -> String {
    let seconds = now.as_nanos() / 1_000_000_000;
    let subsec = (now.as_nanos() % 1_000_000_000) as u32;
    uuid::Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, subsec)).to_string()
}

/// Queues `notification`. Older undelivered ones of its group are replaced by it, unless they are being sent just now.
pub fn enqueue(
    connection: &Connection,
    leases: &Leases,
    mut notification: Notification,
    expires_at: Timestamp,
) -> rusqlite::Result<()> {
    let mut next_attempt_at = notification.created_at;
    let mut attempts = 0_u32;
    for row in queued_of_group(connection, &notification.group_key, notification.created_at)? {
        if leases.holds(&row.id) {
            continue;
        }
        // Whoever does not answer is not asked sooner because there is more to say.
        next_attempt_at = next_attempt_at.max(row.next_attempt_at);
        attempts = attempts.max(row.attempts);
        supersede(connection, &row.id, &notification)?;
        notification.absorb(row.notification);
    }
    notification.limit();
    connection
        .prepare_cached(
            "INSERT INTO outbox (id, receiver, group_key, generation, payload, state, attempts, next_attempt_at, created_at,
                                 first_queued_at, expires_at)
             VALUES (:id, :receiver, :group_key, :generation, :payload, 'queued', :attempts, :next_attempt_at, :created_at,
                     :first_queued_at, :expires_at)",
        )?
        .execute(named_params! {
            ":id": notification.id,
            ":receiver": notification.receiver,
            ":group_key": notification.group_key,
            ":generation": notification.generation as i64,
            ":payload": to_json(&notification)?,
            ":attempts": attempts,
            ":next_attempt_at": nanos(next_attempt_at),
            ":created_at": nanos(notification.created_at),
            ":first_queued_at": nanos(notification.first_queued_at),
            ":expires_at": nanos(expires_at),
        })?;
    link_alerts(connection, &notification)
}

struct Queued {
    id: String,
    notification: Notification,
    attempts: u32,
    next_attempt_at: Timestamp,
}

/// Returns the undelivered notifications of a group, oldest first. What cannot be read is given up.
fn queued_of_group(connection: &Connection, group_key: &str, now: Timestamp) -> rusqlite::Result<Vec<Queued>> {
    let rows: Vec<(String, String, u32, Timestamp)> = connection
        .prepare_cached(
            "SELECT id, payload, attempts, next_attempt_at FROM outbox WHERE group_key = ?1 AND state = 'queued' ORDER BY position",
        )?
        .query_map([group_key], |row| {
            Ok((row.get("id")?, row.get("payload")?, row.get("attempts")?, time(row, "next_attempt_at")?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let mut queued = Vec::with_capacity(rows.len());
    for (id, payload, attempts, next_attempt_at) in rows {
        match serde_json::from_str(&payload) {
            Ok(notification) => queued.push(Queued { id, notification, attempts, next_attempt_at }),
            Err(error) => bury_unreadable(connection, &id, group_key, &error, now)?,
        }
    }
    Ok(queued)
}

/// Makes a row that this version cannot read a dead letter: it must not stand in the way of what can be sent.
fn bury_unreadable(
    connection: &Connection,
    id: &str,
    group_key: &str,
    error: &serde_json::Error,
    now: Timestamp,
) -> rusqlite::Result<()> {
    bury(connection, id, &format!("this version cannot read it; was it queued by a newer one? {error}"), now)?;
    // Its alerts are told anew, in words of this version.
    connection
        .prepare_cached(
            "UPDATE group_alerts SET open = 0 WHERE group_key = ?1 AND open = 1 AND delivered = 0
               AND fingerprint IN (SELECT fingerprint FROM outbox_alerts WHERE outbox_id = ?2)",
        )?
        .execute([group_key, id])?;
    connection
        .prepare_cached("UPDATE groups SET flush_at = min(coalesce(flush_at, ?2), ?2) WHERE key = ?1")?
        .execute(params![group_key, nanos(now)])?;
    Ok(())
}

/// Gives up a row that was not even tried, and leaves a receipt that says why.
fn bury(connection: &Connection, id: &str, reason: &str, now: Timestamp) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO receipts SELECT id, attempts + 1, ?2, 'dead', ?3 FROM outbox WHERE id = ?1")?
        .execute(params![id, nanos(now), reason])?;
    connection
        .prepare_cached(
            "UPDATE outbox SET state = 'dead', settled_at = ?2, last_error = ?3, progress = NULL, progress_by = NULL WHERE id = ?1",
        )?
        .execute(params![id, nanos(now), reason])?;
    Ok(())
}

fn supersede(connection: &Connection, id: &str, by: &Notification) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE outbox SET state = 'superseded', settled_at = ?2, last_error = ?3, progress = NULL, progress_by = NULL WHERE id = ?1")?
        .execute(params![id, nanos(by.created_at), format!("replaced by {}", by.id)])?;
    Ok(())
}

fn link_alerts(connection: &Connection, notification: &Notification) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached("INSERT OR IGNORE INTO outbox_alerts VALUES (?1, ?2)")?;
    for alert in &notification.alerts {
        insert.execute([&alert.fingerprint, &notification.id])?;
    }
    Ok(())
}

/// Takes the oldest row of `receiver` that is due and has no older one of its group before it.
pub fn lease(connection: &Connection, leases: &Leases, receiver: &str, now: Timestamp) -> rusqlite::Result<Next> {
    loop {
        let (id, group_key, error) = match try_lease(connection, leases, receiver, now)? {
            Ok(next) => return Ok(next),
            Err(unreadable) => unreadable,
        };
        bury_unreadable(connection, &id, &group_key, &error, now)?;
    }
}

type Unreadable = (String, String, serde_json::Error);

fn try_lease(
    connection: &Connection,
    leases: &Leases,
    receiver: &str,
    now: Timestamp,
) -> rusqlite::Result<Result<Next, Unreadable>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, group_key, payload, attempts, next_attempt_at, expires_at, progress, progress_by,
                (SELECT receipt FROM group_receipts WHERE group_key = row.group_key) AS previous_receipt
         FROM outbox AS row
         WHERE receiver = ?1 AND state = 'queued' AND NOT EXISTS (
             SELECT 1 FROM outbox WHERE group_key = row.group_key AND state = 'queued' AND position < row.position)
         ORDER BY position",
    )?;
    let mut rows = statement.query([receiver])?;
    let mut later: Option<Timestamp> = None;
    while let Some(row) = rows.next()? {
        let id: String = row.get("id")?;
        if leases.holds(&id) {
            continue;
        }
        let due = time(row, "next_attempt_at")?;
        if due > now {
            later = Some(later.map_or(due, |earlier| earlier.min(due)));
            continue;
        }
        let notification = match serde_json::from_str(row.get_ref("payload")?.as_str()?) {
            Ok(notification) => notification,
            Err(error) => return Ok(Err((id, row.get("group_key")?, error))),
        };
        let state: Option<Vec<u8>> = row.get("progress")?;
        let by: Option<String> = row.get("progress_by")?;
        let leased = Leased {
            notification,
            attempts: row.get("attempts")?,
            expires_at: time(row, "expires_at")?,
            progress: by.zip(state).map(|(by, state)| Saved { by, state }),
            previous_receipt: row.get("previous_receipt")?,
        };
        leases.take(&id);
        return Ok(Ok(Next::Leased(Box::new(leased))));
    }
    Ok(Ok(later.map_or(Next::Empty, Next::Later)))
}

/// Stores what became of an attempt, with its receipt. The lease is freed by the caller once this is durable.
///
/// `repeat` is when a group whose alerts nobody got to know is looked at again.
pub fn settle(
    connection: &Connection,
    notification: &Notification,
    settled: &Settled,
    now: Timestamp,
    repeat: Duration,
) -> rusqlite::Result<()> {
    let id = &notification.id;
    let attempt = connection.query_row("SELECT attempts FROM outbox WHERE id = ?1", [id], |row| row.get::<_, u32>(0)).optional()?;
    let Some(attempt) = attempt.map(|attempts| attempts + 1) else { return Ok(()) };
    let (outcome, detail) = match settled {
        Settled::Delivered { receipt } => ("delivered", &receipt.text),
        Settled::Retry { error, credentials: false, .. } => ("retry", error),
        Settled::Retry { error, credentials: true, .. } => ("credentials", error),
        Settled::Dead { error } => ("dead", error),
    };
    connection.prepare_cached("INSERT OR REPLACE INTO receipts VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(params![
        id,
        attempt,
        nanos(now),
        outcome,
        detail
    ])?;
    match settled {
        Settled::Delivered { receipt } => {
            keep_reference(connection, notification, receipt)?;
            connection
                .prepare_cached(
                    "UPDATE outbox SET state = 'delivered', attempts = ?2, settled_at = ?3, last_error = NULL, progress = NULL, progress_by = NULL WHERE id = ?1",
                )?
                .execute(params![id, attempt, nanos(now)])?;
            let mut update = connection
                .prepare_cached("UPDATE group_alerts SET delivered = 1 WHERE group_key = ?1 AND fingerprint = ?2 AND open = 1")?;
            for alert in notification.alerts.iter().filter(|alert| alert.status == Status::Firing) {
                update.execute([&notification.group_key, &alert.fingerprint])?;
            }
        }
        Settled::Retry { at, error, .. } => {
            connection
                .prepare_cached("UPDATE outbox SET attempts = ?2, next_attempt_at = ?3, last_error = ?4 WHERE id = ?1")?
                .execute(params![id, attempt, nanos(*at), error])?;
            replace_by_newest(connection, &notification.group_key, now, *at, attempt)?;
        }
        Settled::Dead { error } => {
            connection
                .prepare_cached("UPDATE outbox SET state = 'dead', attempts = ?2, settled_at = ?3, last_error = ?4, progress = NULL, progress_by = NULL WHERE id = ?1")?
                .execute(params![id, attempt, nanos(now), error])?;
            forget_untold(connection, notification, now, repeat)?;
        }
    }
    Ok(())
}

/// Keeps what the channel wants to be given with the group's next notification. What has ended is not gone on with.
fn keep_reference(connection: &Connection, notification: &Notification, receipt: &Receipt) -> rusqlite::Result<()> {
    let key = &notification.group_key;
    match receipt.reference.as_ref().filter(|_| notification.status() == Status::Firing) {
        Some(reference) => {
            connection.prepare_cached("INSERT OR REPLACE INTO group_receipts VALUES (?1, ?2)")?.execute([key, reference])?
        }
        None => connection.prepare_cached("DELETE FROM group_receipts WHERE group_key = ?1")?.execute([key])?,
    };
    Ok(())
}

/// Folds what could not be sent into a newer notification of the same group that was queued meanwhile.
fn replace_by_newest(
    connection: &Connection,
    group_key: &str,
    now: Timestamp,
    at: Timestamp,
    attempts: u32,
) -> rusqlite::Result<()> {
    let mut rows = queued_of_group(connection, group_key, now)?;
    let Some(newest) = rows.pop() else { return Ok(()) };
    if rows.is_empty() {
        return Ok(());
    }
    let mut notification = newest.notification;
    for row in rows.into_iter().rev() {
        supersede(connection, &row.id, &notification)?;
        notification.absorb(row.notification);
    }
    connection
        .prepare_cached(
            "UPDATE outbox SET payload = ?2, first_queued_at = ?3, next_attempt_at = max(next_attempt_at, ?4), attempts = ?5,
                               progress = NULL, progress_by = NULL
             WHERE id = ?1",
        )?
        .execute(params![newest.id, to_json(&notification)?, nanos(notification.first_queued_at), nanos(at), attempts])?;
    link_alerts(connection, &notification)
}

/// After a dead letter: alerts that nobody got to know count as not told, so that no resolution follows, and are told again later.
fn forget_untold(connection: &Connection, notification: &Notification, now: Timestamp, repeat: Duration) -> rusqlite::Result<()> {
    let queued = queued_of_group(connection, &notification.group_key, now)?;
    if !queued.is_empty() {
        // What still fires is told by what is queued; only the end of what nobody heard of must not go out.
        return queued.into_iter().try_for_each(|row| withdraw_untold(connection, notification, row, now));
    }
    let mut update = connection.prepare_cached(
        "UPDATE group_alerts SET open = 0 WHERE group_key = ?1 AND fingerprint = ?2 AND open = 1 AND delivered = 0",
    )?;
    for alert in notification.alerts.iter().filter(|alert| alert.status == Status::Firing) {
        update.execute([&notification.group_key, &alert.fingerprint])?;
    }
    connection
        .prepare_cached("UPDATE groups SET flush_at = min(coalesce(flush_at, ?2), ?2) WHERE key = ?1")?
        .execute(params![notification.group_key, nanos(now.plus(repeat))])?;
    Ok(())
}

/// Takes out of a queued notification the resolutions of what `dead` would have told first.
fn withdraw_untold(connection: &Connection, dead: &Notification, mut row: Queued, now: Timestamp) -> rusqlite::Result<()> {
    let mut told = connection.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM outbox JOIN outbox_alerts ON outbox_id = id
                        WHERE group_key = ?1 AND fingerprint = ?2 AND state = 'delivered' AND created_at >= ?3)",
    )?;
    let mut kept = Vec::with_capacity(row.notification.alerts.len());
    for alert in std::mem::take(&mut row.notification.alerts) {
        let was_fresh = |lost: &&NotifiedAlert| lost.fingerprint == alert.fingerprint && lost.status == Status::Firing;
        let untold = match dead.alerts.iter().find(was_fresh).filter(|_| alert.status == Status::Resolved) {
            // An earlier notification of the same firing may have arrived, and this was its repetition.
            Some(lost) => {
                !told.query_row(params![dead.group_key, lost.fingerprint, nanos(lost.starts_at)], |row| row.get::<_, bool>(0))?
            }
            None => false,
        };
        if !untold {
            kept.push(alert);
        }
    }
    row.notification.alerts = kept;
    if row.notification.alerts.is_empty() && row.notification.truncated == 0 {
        connection
            .prepare_cached("UPDATE outbox SET state = 'superseded', settled_at = ?2, last_error = ?3 WHERE id = ?1")?
            .execute(params![row.id, nanos(now), format!("nobody got to know what it ends: {} was given up", dead.id)])?;
    } else {
        connection
            .prepare_cached("UPDATE outbox SET payload = ?2 WHERE id = ?1")?
            .execute([&row.id, &to_json(&row.notification)?])?;
    }
    Ok(())
}

/// Cuts deadlines that a clock which stepped back left far ahead.
pub fn clamp(connection: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    connection.execute(
        "UPDATE outbox SET next_attempt_at = ?1 WHERE state = 'queued' AND next_attempt_at > ?1",
        [nanos(now.plus(LONGEST_WAIT))],
    )?;
    Ok(())
}

/// Gives up what is queued for receivers that are no longer configured; returns their names.
pub fn bury_orphans(connection: &Connection, receivers: &[String], now: Timestamp) -> rusqlite::Result<Vec<String>> {
    let queued: Vec<String> = connection
        .prepare("SELECT DISTINCT receiver FROM outbox WHERE state = 'queued'")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let gone: Vec<String> = queued.into_iter().filter(|name| !receivers.contains(name)).collect();
    for receiver in &gone {
        let ids: Vec<String> = connection
            .prepare_cached("SELECT id FROM outbox WHERE receiver = ?1 AND state = 'queued'")?
            .query_map([receiver], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for id in ids {
            bury(connection, &id, &format!("receiver `{receiver}` is no longer configured"), now)?;
        }
    }
    Ok(gone)
}

/// Counts of rows by state, and the creation of the oldest queued one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxCounts {
    /// Waiting or being sent.
    pub queued: u64,
    /// Arrived.
    pub delivered: u64,
    /// Given up.
    pub dead: u64,
    /// When the oldest queued one was first queued.
    pub oldest: Option<Timestamp>,
}

/// Returns the counts.
pub fn counts(connection: &Connection) -> rusqlite::Result<OutboxCounts> {
    let mut counts = OutboxCounts::default();
    let mut statement = connection.prepare_cached("SELECT state, count(*), min(first_queued_at) FROM outbox GROUP BY state")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let count = row.get::<_, i64>(1)? as u64;
        match row.get_ref(0)?.as_str()? {
            "queued" => {
                counts.queued = count;
                counts.oldest = Some(timestamp(row.get(2)?));
            }
            "delivered" => counts.delivered = count,
            "dead" => counts.dead = count,
            _ => {}
        }
    }
    Ok(counts)
}

/// Drops settled rows that are older than `before` or beyond the newest `keep`, with their receipts.
pub fn prune(connection: &Connection, before: Timestamp, keep: u64) -> rusqlite::Result<()> {
    connection.execute(
        "DELETE FROM outbox WHERE state <> 'queued' AND (settled_at < ?1 OR position <= (
             SELECT position FROM outbox WHERE state <> 'queued' ORDER BY position DESC LIMIT 1 OFFSET ?2))",
        params![nanos(before), keep as i64],
    )?;
    connection.execute(
        "DELETE FROM group_receipts WHERE group_key NOT IN (SELECT key FROM groups) AND group_key NOT IN (SELECT group_key FROM outbox)",
        [],
    )?;
    connection.execute("DELETE FROM receipts WHERE outbox_id NOT IN (SELECT id FROM outbox)", [])?;
    connection.execute("DELETE FROM outbox_alerts WHERE outbox_id NOT IN (SELECT id FROM outbox)", [])?;
    Ok(())
}

/// The outbox as alerts and delivery share it. Cheap to clone.
#[derive(Clone)]
pub struct Outbox {
    database: Database,
    leases: Leases,
    changed: Arc<watch::Sender<u64>>,
}

impl Outbox {
    /// Returns the outbox in `database`, which has the tables of [`crate::alerts::store::MIGRATIONS`].
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database, leases: Leases::default(), changed: Arc::new(watch::Sender::new(0)) }
    }

    /// Returns the rows being sent.
    #[must_use]
    pub fn leases(&self) -> &Leases {
        &self.leases
    }

    /// Returns a receiver that changes when rows were queued or settled.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Tells whoever waits that rows were queued or settled.
    pub fn notify(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    /// Takes what is to be sent next to `receiver`.
    ///
    /// # Errors
    /// The database's.
    pub async fn lease(&self, receiver: &str, now: Timestamp) -> Result<Next, StoreError> {
        let (leases, receiver) = (self.leases.clone(), receiver.to_owned());
        let next = self.database.write(move |transaction| lease(transaction, &leases, &receiver, now)).await?;
        crash_point("delivery.after_lease");
        Ok(next)
    }

    /// Stores how far the attempt for row `id` came.
    ///
    /// # Errors
    /// The database's.
    pub async fn keep_progress(&self, id: &str, progress: Saved) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.database
            .write(move |transaction| {
                transaction
                    .prepare_cached("UPDATE outbox SET progress = ?2, progress_by = ?3 WHERE id = ?1 AND state = 'queued'")?
                    .execute(params![id, progress.state, progress.by])?;
                crash_point("delivery.before_progress_commit");
                Ok(())
            })
            .await?;
        crash_point("delivery.after_progress_commit");
        Ok(())
    }

    /// Stores what became of an attempt and frees the row.
    ///
    /// # Errors
    /// The database's; the row then stays leased, so that it is not sent again before somebody frees it.
    pub async fn settle(
        &self,
        notification: &Notification,
        settled: Settled,
        now: Timestamp,
        repeat: Duration,
    ) -> Result<(), StoreError> {
        let copy = notification.clone();
        self.database
            .write(move |transaction| {
                settle(transaction, &copy, &settled, now, repeat)?;
                crash_point("delivery.before_receipt_commit");
                Ok(())
            })
            .await?;
        crash_point("delivery.after_receipt_commit");
        self.leases.free(&notification.id);
        self.notify();
        Ok(())
    }

    /// Returns the counts.
    ///
    /// # Errors
    /// The database's.
    pub async fn counts(&self) -> Result<OutboxCounts, StoreError> {
        self.database.read(counts).await
    }

    /// Cuts far deadlines and gives up what is queued for receivers other than `receivers`; returns the names of those.
    ///
    /// # Errors
    /// The database's.
    pub async fn tidy(&self, receivers: Vec<String>, now: Timestamp) -> Result<Vec<String>, StoreError> {
        self.database
            .write(move |transaction| {
                clamp(transaction, now)?;
                bury_orphans(transaction, &receivers, now)
            })
            .await
    }
}
