//! The engine's only SQL: findings, how far each analyzer is, what it keeps, what it could not take.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use watchfire_types::{Severity, Timestamp};

use super::types::{Commit, FindingView, NewFinding, Progress, QuarantineView, SavedState};
use crate::alerts::events::Event;
use crate::plugins::kv::{KvBackend, KvEntry};
use crate::store::columns::{json, nanos, time, to_json};
use crate::store::crash::crash_point;
use crate::store::{Database, Migration, StoreError};

/// Schema of `analysis.db`.
pub const MIGRATIONS: &[Migration] =
    &[include_str!("../../migrations/analysis/0001_analysis.sql"), include_str!("../../migrations/analysis/0002_anomalies.sql")];

/// Most findings kept.
pub const MAX_FINDINGS: u64 = 100_000;
/// How many more there may be before the oldest go.
const SLACK: u64 = 5_000;
/// Most records noted that an analyzer could not take.
const MAX_QUARANTINED: i64 = 10_000;
/// For so long a finding goes on without being found again.
pub const ONGOING: Duration = Duration::from_secs(3_600);

/// SQLite's integers are signed.
fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(row: &Row<'_>, column: &str) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)? as u64)
}

/// Returns how far analyzer `plugin` has come; `None` if it has never begun.
pub fn progress(connection: &Connection, plugin: &str) -> rusqlite::Result<Option<Progress>> {
    connection
        .prepare_cached("SELECT * FROM consumers WHERE plugin = ?1")?
        .query_row([plugin], |row| {
            let bytes: Option<Vec<u8>> = row.get("state")?;
            let version = row.get("state_version")?;
            Ok(Progress {
                began: unsigned(row, "began")?,
                cursor: unsigned(row, "cursor")?,
                watermark: unsigned(row, "watermark")?,
                state: bytes.map(|bytes| SavedState { version, bytes }),
            })
        })
        .optional()
}

/// Lets analyzer `plugin` begin at `cursor`. What it saved stays.
pub fn begin(connection: &Connection, plugin: &str, cursor: u64, now: Timestamp) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO consumers VALUES (?1, ?2, ?2, 0, NULL, 0, '', ?3)
             ON CONFLICT (plugin) DO UPDATE SET began = ?2, cursor = ?2, updated_at = ?3",
        )?
        .execute(params![plugin, stored(cursor), nanos(now)])?;
    Ok(())
}

/// What a commit did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Position of the last finding, if there were any.
    pub last_position: Option<u64>,
    /// By how many bytes the kept values have grown.
    pub kv_growth: i64,
}

/// Stores what analyzer `plugin`, whose component has the hash `component`, has done since its last commit.
pub fn commit(
    connection: &Connection,
    plugin: &str,
    component: &str,
    commit: &Commit,
    now: Timestamp,
) -> rusqlite::Result<Committed> {
    let mut done = Committed { last_position: insert_all(connection, plugin, commit, now)?, ..Committed::default() };
    for (key, entry) in &commit.kv {
        done.kv_growth += keep(connection, plugin, key, entry.as_ref())?;
    }
    if let Some(quarantined) = &commit.quarantined {
        connection.prepare_cached("INSERT OR REPLACE INTO quarantine VALUES (?1, ?2, ?3, ?4)")?.execute(params![
            plugin,
            stored(quarantined.seq),
            quarantined.why,
            nanos(now)
        ])?;
    }
    connection
        .prepare_cached("UPDATE consumers SET cursor = ?2, watermark = ?3, updated_at = ?4 WHERE plugin = ?1")?
        .execute(params![plugin, stored(commit.cursor), stored(commit.watermark), nanos(now)])?;
    if let Some(state) = &commit.state {
        connection
            .prepare_cached("UPDATE consumers SET state = ?2, state_version = ?3, component = ?4 WHERE plugin = ?1")?
            .execute(params![plugin, state.bytes, state.version, component])?;
    }
    crash_point("analysis.before_commit");
    Ok(done)
}

/// Stores the findings of `commit` as of `plugin`; returns the position of the last one.
pub fn insert_all(connection: &Connection, plugin: &str, commit: &Commit, now: Timestamp) -> rusqlite::Result<Option<u64>> {
    let mut last = None;
    for finding in &commit.findings {
        last = Some(insert(connection, plugin, finding, now)?);
    }
    Ok(last)
}

fn insert(connection: &Connection, plugin: &str, finding: &NewFinding, now: Timestamp) -> rusqlite::Result<u64> {
    let since = nanos(now.minus(ONGOING));
    let ongoing: Option<i64> = if finding.dedupe_key.is_empty() {
        None
    } else {
        connection
            .prepare_cached(
                "SELECT ongoing FROM (SELECT ongoing, at FROM findings WHERE plugin = ?1 AND rule = ?2 AND dedupe_key = ?3
                 ORDER BY position DESC LIMIT 1) WHERE at >= ?4",
            )?
            .query_row(params![plugin, finding.rule, finding.dedupe_key, since], |row| row.get(0))
            .optional()?
    };
    connection
        .prepare_cached(
            "INSERT INTO findings (ongoing, at, plugin, rule, severity, title, message, dedupe_key, score, count,
                 first_seq, last_seq, first_time, last_time, sample_seqs, labels)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        )?
        .execute(params![
            ongoing.unwrap_or(0),
            nanos(now),
            plugin,
            finding.rule,
            finding.severity,
            finding.title,
            finding.message,
            finding.dedupe_key,
            finding.score,
            stored(finding.count),
            stored(finding.first_seq),
            stored(finding.last_seq),
            nanos(finding.first_time),
            nanos(finding.last_time),
            to_json(&finding.sample_seqs)?,
            to_json(&finding.labels)?,
        ])?;
    let position = connection.last_insert_rowid();
    if ongoing.is_none() {
        connection.prepare_cached("UPDATE findings SET ongoing = position WHERE position = ?1")?.execute([position])?;
    }
    Ok(position as u64)
}

/// Stores one kept value; returns by how many bytes that grew what is kept.
fn keep(connection: &Connection, plugin: &str, key: &str, entry: Option<&KvEntry>) -> rusqlite::Result<i64> {
    let bytes = |length: i64| key.len() as i64 + length;
    let before: Option<i64> = connection
        .prepare_cached("SELECT length(value) FROM kv WHERE plugin = ?1 AND key = ?2")?
        .query_row([plugin, key], |row| row.get(0))
        .optional()?;
    let after = match entry {
        None => {
            connection.prepare_cached("DELETE FROM kv WHERE plugin = ?1 AND key = ?2")?.execute([plugin, key])?;
            0
        }
        Some(entry) => {
            connection.prepare_cached("INSERT OR REPLACE INTO kv VALUES (?1, ?2, ?3, ?4)")?.execute(params![
                plugin,
                key,
                entry.value,
                entry.expires_at.map(stored)
            ])?;
            bytes(entry.value.len() as i64)
        }
    };
    Ok(after - before.map_or(0, bytes))
}

/// The kept values of one analyzer.
pub struct StoredKv {
    database: Database,
    plugin: String,
    /// Bytes of keys and values. Counting them anew for every write would read all of them.
    bytes: AtomicU64,
}

impl StoredKv {
    /// Returns the values that `plugin` keeps in `database`.
    #[must_use]
    pub fn new(database: Database, plugin: &str) -> Self {
        Self { database, plugin: plugin.to_owned(), bytes: AtomicU64::new(0) }
    }

    /// Counts the bytes anew.
    ///
    /// # Errors
    /// The store's.
    pub fn measure(&self) -> Result<(), StoreError> {
        let bytes: i64 = self.database.read_blocking(|connection| {
            connection
                .prepare_cached("SELECT coalesce(sum(length(CAST(key AS BLOB)) + length(value)), 0) FROM kv WHERE plugin = ?1")?
                .query_row([&self.plugin], |row| row.get(0))
        })?;
        self.bytes.store(bytes as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Notes that a commit made them grow.
    pub fn grown(&self, growth: i64) {
        let bytes = self.bytes.load(Ordering::Relaxed).saturating_add_signed(growth);
        self.bytes.store(bytes, Ordering::Relaxed);
    }
}

impl KvBackend for StoredKv {
    fn get(&self, key: &str) -> Result<Option<KvEntry>, StoreError> {
        self.database.read_blocking(|connection| {
            connection
                .prepare_cached("SELECT value, expires_at FROM kv WHERE plugin = ?1 AND key = ?2")?
                .query_row([&self.plugin, key], |row| {
                    Ok(KvEntry { value: row.get(0)?, expires_at: row.get::<_, Option<i64>>(1)?.map(|at| at as u64) })
                })
                .optional()
        })
    }

    fn keys(&self, prefix: &str) -> Result<Vec<(String, Option<u64>)>, StoreError> {
        self.database.read_blocking(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT key, expires_at FROM kv WHERE plugin = ?1 AND key >= ?2 ORDER BY key")?;
            let mut rows = statement.query([&self.plugin, prefix])?;
            let mut keys = Vec::new();
            while let Some(row) = rows.next()? {
                let key: String = row.get(0)?;
                if !key.starts_with(prefix) {
                    break;
                }
                keys.push((key, row.get::<_, Option<i64>>(1)?.map(|at| at as u64)));
            }
            Ok(keys)
        })
    }

    fn bytes(&self) -> Result<u64, StoreError> {
        Ok(self.bytes.load(Ordering::Relaxed))
    }
}

/// Drops the values of `plugin` that have expired.
pub fn expire(connection: &Connection, plugin: &str, now: Timestamp) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM kv WHERE plugin = ?1 AND expires_at <= ?2")?.execute(params![plugin, nanos(now)])?;
    Ok(())
}

/// Drops what is older than `retention`, the oldest findings beyond [`MAX_FINDINGS`], and all that is kept for analyzers that are
/// not among `running` and have not run for so long: the records behind their cursors are gone, too.
pub fn prune(connection: &Connection, running: &[String], retention: Duration, now: Timestamp) -> rusqlite::Result<()> {
    let oldest = nanos(now.minus(retention));
    for (plugin, (_, updated_at)) in cursors(connection)? {
        if !running.contains(&plugin) && nanos(updated_at) < oldest {
            for table in ["kv", "quarantine", "consumers"] {
                connection.execute(&format!("DELETE FROM {table} WHERE plugin = ?1"), [&plugin])?;
            }
        }
    }
    connection.execute("DELETE FROM findings WHERE at < ?1", [oldest])?;
    connection.execute("DELETE FROM quarantine WHERE at < ?1", [oldest])?;
    connection.execute(
        "DELETE FROM quarantine WHERE at < (SELECT at FROM quarantine ORDER BY at DESC LIMIT 1 OFFSET ?1)",
        [MAX_QUARANTINED],
    )?;
    trim(connection, MAX_FINDINGS)
}

/// Drops findings, of those who have most of them the oldest, until at most `most` are left.
fn trim(connection: &Connection, most: u64) -> rusqlite::Result<()> {
    loop {
        let (total, plugin, of_plugin): (i64, Option<String>, i64) = connection
            .prepare_cached("SELECT coalesce(sum(count), 0), plugin, coalesce(max(count), 0) FROM (SELECT plugin, count(*) AS count FROM findings GROUP BY plugin)")?
            .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let excess = total - stored(most);
        let Some(plugin) = plugin.filter(|_| excess > 0) else { return Ok(()) };
        connection
            .prepare_cached("DELETE FROM findings WHERE position IN (SELECT position FROM findings WHERE plugin = ?1 ORDER BY position LIMIT ?2)")?
            .execute(params![plugin, excess.min((of_plugin / 2).max(1))])?;
    }
}

/// Drops findings if there are many too many: between two prunes nothing else bounds them.
pub fn trim_if_needed(connection: &Connection) -> rusqlite::Result<()> {
    // Positions have few gaps, so that this sees an excess in time; counting would read all of the table.
    let range: i64 = connection
        .prepare_cached("SELECT coalesce(max(position) - min(position), 0) FROM findings")?
        .query_row([], |row| row.get(0))?;
    if range as u64 <= MAX_FINDINGS + SLACK {
        return Ok(());
    }
    let count: i64 = connection.prepare_cached("SELECT count(*) FROM findings")?.query_row([], |row| row.get(0))?;
    if count as u64 > MAX_FINDINGS + SLACK { trim(connection, MAX_FINDINGS) } else { Ok(()) }
}

/// Returns the position of the last finding ever stored; 0 if there was none.
pub fn last_position(connection: &Connection) -> rusqlite::Result<u64> {
    let last: Option<i64> =
        connection.query_row("SELECT seq FROM sqlite_sequence WHERE name = 'findings'", [], |row| row.get(0)).optional()?;
    Ok(last.unwrap_or(0) as u64)
}

/// Returns at most `limit` findings after `position`, in order, as rules see them.
pub fn events_after(connection: &Connection, position: u64, limit: usize) -> rusqlite::Result<Vec<Event>> {
    connection
        .prepare_cached("SELECT * FROM findings WHERE position > ?1 ORDER BY position LIMIT ?2")?
        .query_map(params![stored(position), stored(limit as u64)], |row| {
            Ok(Event {
                position: unsigned(row, "position")?,
                at: time(row, "at")?,
                severity: Severity(row.get("severity")?),
                source: row.get("plugin")?,
                kind: row.get("rule")?,
                key: row.get("dedupe_key")?,
                title: row.get("title")?,
                message: row.get("message")?,
                labels: json(row, "labels")?,
                count: unsigned(row, "count")?,
            })
        })?
        .collect()
}

/// Returns the position before the first finding that was stored at `moment` or later.
pub fn position_at(connection: &Connection, moment: Timestamp) -> rusqlite::Result<u64> {
    let first: Option<i64> = connection
        .prepare_cached("SELECT min(position) FROM findings WHERE at >= ?1")?
        .query_row([nanos(moment)], |row| row.get(0))?;
    first.map_or_else(|| last_position(connection), |first| Ok(first as u64 - 1))
}

/// Which findings are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FindingFilter {
    /// The analyzer.
    pub plugin: Option<String>,
    /// Which of its rules.
    pub rule: Option<String>,
    /// Least severity number.
    pub severity: u8,
    /// Stored at this time or later.
    pub since: Timestamp,
    /// Stored before.
    pub until: Timestamp,
}

/// Returns at most `limit` findings, each with all of the same ongoing thing, newest first.
pub fn findings(connection: &Connection, filter: &FindingFilter, limit: u32) -> rusqlite::Result<Vec<FindingView>> {
    let number = |seq: u64| (seq > 0).then(|| seq.to_string());
    let moment = |time: Timestamp| (time > Timestamp::ZERO).then_some(time);
    connection
        .prepare_cached(
            "SELECT findings.*, times, first_at FROM (
                 SELECT max(position) AS last, count(*) AS times, min(at) AS first_at FROM findings
                 WHERE (?1 IS NULL OR plugin = ?1) AND (?2 IS NULL OR rule = ?2) AND severity >= ?3 AND at >= ?4 AND at < ?5
                 GROUP BY ongoing
             ) JOIN findings ON position = last ORDER BY position DESC LIMIT ?6",
        )?
        .query_map(params![filter.plugin, filter.rule, filter.severity, nanos(filter.since), nanos(filter.until), limit], |row| {
            let sample_seqs: Vec<u64> = json(row, "sample_seqs")?;
            Ok(FindingView {
                position: unsigned(row, "position")?.to_string(),
                plugin: row.get("plugin")?,
                rule: row.get("rule")?,
                severity_number: row.get("severity")?,
                title: row.get("title")?,
                message: row.get("message")?,
                dedupe_key: row.get("dedupe_key")?,
                score: row.get("score")?,
                count: unsigned(row, "count")?,
                findings: unsigned(row, "times")?,
                first_at: time(row, "first_at")?,
                last_at: time(row, "at")?,
                first_time: moment(time(row, "first_time")?),
                last_time: moment(time(row, "last_time")?),
                first_seq: number(unsigned(row, "first_seq")?),
                last_seq: number(unsigned(row, "last_seq")?),
                sample_seqs: sample_seqs.iter().map(u64::to_string).collect(),
                labels: json(row, "labels")?,
            })
        })?
        .collect()
}

/// Returns how many records each analyzer could not take, and the last `limit` of them.
pub fn quarantined(connection: &Connection, limit: u32) -> rusqlite::Result<BTreeMap<String, (u64, Vec<QuarantineView>)>> {
    let mut all: BTreeMap<String, (u64, Vec<QuarantineView>)> = connection
        .prepare_cached("SELECT plugin, count(*) FROM quarantine GROUP BY plugin")?
        .query_map([], |row| Ok((row.get(0)?, (row.get::<_, i64>(1)? as u64, Vec::new()))))?
        .collect::<rusqlite::Result<_>>()?;
    for (plugin, (_, last)) in &mut all {
        *last = connection
            .prepare_cached("SELECT * FROM quarantine WHERE plugin = ?1 ORDER BY seq DESC LIMIT ?2")?
            .query_map(params![plugin, limit], |row| {
                Ok(QuarantineView { seq: unsigned(row, "seq")?.to_string(), why: row.get("why")?, at: time(row, "at")? })
            })?
            .collect::<rusqlite::Result<_>>()?;
    }
    Ok(all)
}

/// Returns the cursor of every analyzer that ever began, and when it was stored.
pub fn cursors(connection: &Connection) -> rusqlite::Result<BTreeMap<String, (u64, Timestamp)>> {
    connection
        .prepare_cached("SELECT plugin, cursor, updated_at FROM consumers")?
        .query_map([], |row| Ok((row.get("plugin")?, (unsigned(row, "cursor")?, time(row, "updated_at")?))))?
        .collect()
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
