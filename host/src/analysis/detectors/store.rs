//! The detectors' SQL. Counts, sources, patterns, what is unusual, and how far the log has been counted are one transaction.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use watchfire_anomalies::engine::{Kept, Known, Source};
use watchfire_anomalies::ledger::{Entry, Ledger};
use watchfire_anomalies::past::KEPT_DAYS;
use watchfire_anomalies::{
    Anomaly, DayCounts, Detector, Direction, Engine, Evidence, Key, Past, Series, Settings, SourceId, Window,
};
use watchfire_types::Timestamp;

use super::types::Told;
use crate::store::columns::{json, nanos, to_json};

/// Windows of closed anomalies that the ledger must know: five weeks.
const REMEMBERED_WINDOWS: u64 = 35 * 288;

/// How far the log has been counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Everything up to here.
    pub cursor: u64,
    /// No record that arrived later.
    pub time: u64,
    /// When windows were judged last, in seconds since 1970.
    pub judged_at: u64,
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(row: &Row<'_>, column: &str) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)?.max(0) as u64)
}

fn window(row: &Row<'_>, column: &str) -> rusqlite::Result<Window> {
    unsigned(row, column).map(Window)
}

/// Counts on disk.
pub struct StoredPast<'a>(pub &'a Connection);

impl Past for StoredPast<'_> {
    type Error = rusqlite::Error;

    fn day(&self, series: Series, day: u32) -> rusqlite::Result<Option<DayCounts>> {
        let bytes: Option<Vec<u8>> = self
            .0
            .prepare_cached("SELECT counts FROM anomaly_days WHERE day = ?1 AND source = ?2 AND key = ?3")?
            .query_row(params![day, series.source, series.key.0], |row| row.get(0))
            .optional()?;
        // Counts that cannot be read are as good as none.
        Ok(bytes.and_then(|bytes| DayCounts::from_bytes(&bytes)))
    }

    fn all(&self, day: u32) -> rusqlite::Result<Vec<(Series, DayCounts)>> {
        self.0
            .prepare_cached("SELECT source, key, counts FROM anomaly_days WHERE day = ?1 ORDER BY source, key")?
            .query_map([day], |row| {
                let series = Series { source: row.get(0)?, key: Key(row.get(1)?) };
                Ok((series, DayCounts::from_bytes(row.get_ref(2)?.as_blob()?).unwrap_or_default()))
            })?
            .collect()
    }
}

/// Reads back an engine, and how far it is; `None` if it never began.
pub fn load(connection: &Connection, settings: Settings) -> rusqlite::Result<Option<(Engine, Progress)>> {
    let found: Option<(Progress, Kept)> = connection
        .query_row("SELECT * FROM anomaly_progress", [], |row| {
            let progress =
                Progress { cursor: unsigned(row, "cursor")?, time: unsigned(row, "time")?, judged_at: unsigned(row, "judged_at")? };
            Ok((progress, json(row, "kept")?))
        })
        .optional()?;
    let Some((progress, kept)) = found else { return Ok(None) };
    let sources: BTreeMap<SourceId, Source> = connection
        .prepare("SELECT * FROM anomaly_sources")?
        .query_map([], |row| {
            let source = Source {
                name: row.get("name")?,
                first: window(row, "first")?,
                last: window(row, "last")?,
                seq: unsigned(row, "seq")?,
                recent: row.get("recent")?,
                late: row.get("late")?,
                tracked: unsigned(row, "tracked")? as usize,
                known_below: unsigned(row, "known_below")?,
                crowded: row.get("crowded")?,
            };
            Ok((row.get("id")?, source))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let known: Vec<(Series, Known)> = connection
        .prepare("SELECT * FROM anomaly_series")?
        .query_map([], |row| {
            let known = Known {
                first: window(row, "first")?,
                last: window(row, "last")?,
                severity: row.get("severity")?,
                seqs: (unsigned(row, "first_seq")?, unsigned(row, "last_seq")?),
                total: unsigned(row, "total")?,
                looked_at: row.get("looked_at")?,
            };
            Ok((Series { source: row.get("source")?, key: Key(row.get("pattern")?) }, known))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let last_id: Option<i64> = connection.query_row("SELECT max(id) FROM anomalies", [], |row| row.get(0))?;
    let oldest = kept.judged.saturating_sub(REMEMBERED_WINDOWS);
    let entries: Vec<Entry> = connection
        .prepare("SELECT * FROM anomalies WHERE until IS NULL OR until > ?1")?
        .query_map([signed(oldest)], entry)?
        .collect::<rusqlite::Result<_>>()?;
    let mut engine = Engine::restore(settings, kept, sources, known, Ledger::restore(entries, last_id.unwrap_or(0) as u64));
    engine.set_muted(mutes(connection)?);
    Ok(Some((engine, progress)))
}

/// Reads an entry.
pub fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let (detector, direction): (String, String) = (row.get("detector")?, row.get("direction")?);
    let evidence: Evidence = json(row, "evidence")?;
    let until: Option<i64> = row.get("until")?;
    Ok(Entry {
        id: unsigned(row, "id")?,
        anomaly: Anomaly {
            detector: Detector::from_name(&detector).unwrap_or(Detector::Rate),
            direction: if direction == "down" { Direction::Down } else { Direction::Up },
            series: Series { source: row.get("source")?, key: Key(row.get("key")?) },
            since: window(row, "since")?,
            last: window(row, "last")?,
            severity: row.get("severity")?,
            evidence,
            seqs: (unsigned(row, "first_seq")?, unsigned(row, "last_seq")?),
            count: unsigned(row, "count")?,
            patterns: json(row, "patterns")?,
        },
        until: until.map(|window| Window(window.max(0) as u64)),
        told: window(row, "told")?,
    })
}

/// What is muted.
pub fn mutes(connection: &Connection) -> rusqlite::Result<Vec<(Detector, Series)>> {
    let rows: Vec<(String, SourceId, i64)> = connection
        .prepare_cached("SELECT detector, source, key FROM anomaly_mutes")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let known = |(detector, source, key): (String, SourceId, i64)| {
        Some((Detector::from_name(&detector)?, Series { source, key: Key(key) }))
    };
    Ok(rows.into_iter().filter_map(known).collect())
}

/// Mutes what the anomaly `id` is about, or hears of it again; returns whether there is such an anomaly.
pub fn mute(connection: &Connection, id: u64, muted: bool, now: Timestamp) -> rusqlite::Result<bool> {
    let found: Option<(String, SourceId, i64)> = connection
        .query_row("SELECT detector, source, key FROM anomalies WHERE id = ?1", [signed(id)], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    let Some((detector, source, key)) = found else { return Ok(false) };
    if muted {
        connection
            .execute("INSERT OR REPLACE INTO anomaly_mutes VALUES (?1, ?2, ?3, ?4)", params![detector, source, key, nanos(now)])?;
    } else {
        connection.execute(
            "DELETE FROM anomaly_mutes WHERE detector = ?1 AND source = ?2 AND key = ?3",
            params![detector, source, key],
        )?;
    }
    Ok(true)
}

/// What is stored at once.
#[derive(Clone, Debug, Default)]
pub struct Write {
    /// Counts to add.
    pub counts: Vec<((Series, Window), u32)>,
    /// Sources that have changed.
    pub sources: Vec<(SourceId, Source)>,
    /// Patterns that have changed.
    pub series: Vec<(Series, Known)>,
    /// Patterns that are not counted any more.
    pub dropped: Vec<Series>,
    /// What has changed of what is unusual.
    pub told: Vec<Told>,
    /// How far it has come.
    pub progress: Progress,
    /// What the detectors remember.
    pub kept: Kept,
}

/// Stores it.
pub fn write(connection: &Connection, write: &Write) -> rusqlite::Result<()> {
    let mut days: BTreeMap<(u32, Series), Vec<(usize, u32)>> = BTreeMap::new();
    for ((series, window), count) in &write.counts {
        let (day, place) = window.place();
        days.entry((day, *series)).or_default().push((place, *count));
    }
    let past = StoredPast(connection);
    for ((day, series), added) in days {
        let mut counts = past.day(series, day)?.unwrap_or_default();
        added.into_iter().for_each(|(place, count)| counts.add(place, count));
        connection.prepare_cached("INSERT OR REPLACE INTO anomaly_days VALUES (?1, ?2, ?3, ?4)")?.execute(params![
            day,
            series.source,
            series.key.0,
            counts.to_bytes()
        ])?;
    }
    for (id, source) in &write.sources {
        connection
            .prepare_cached("INSERT OR REPLACE INTO anomaly_sources VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")?
            .execute(params![
                id,
                source.name,
                signed(source.first.0),
                signed(source.last.0),
                signed(source.seq),
                source.recent,
                source.late,
                signed(source.tracked as u64),
                signed(source.known_below),
                source.crowded
            ])?;
    }
    for (series, known) in &write.series {
        connection.prepare_cached("INSERT OR REPLACE INTO anomaly_series VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?.execute(
            params![
                series.source,
                series.key.0,
                signed(known.first.0),
                signed(known.last.0),
                known.severity,
                signed(known.seqs.0),
                signed(known.seqs.1),
                signed(known.total),
                known.looked_at
            ],
        )?;
    }
    for series in &write.dropped {
        connection
            .prepare_cached("DELETE FROM anomaly_series WHERE source = ?1 AND pattern = ?2")?
            .execute(params![series.source, series.key.0])?;
    }
    for told in &write.told {
        put_entry(connection, told)?;
    }
    let progress = &write.progress;
    connection.prepare_cached("INSERT OR REPLACE INTO anomaly_progress VALUES (1, ?1, ?2, ?3, ?4)")?.execute(params![
        signed(progress.cursor),
        signed(progress.time),
        signed(progress.judged_at),
        to_json(&write.kept)?
    ])?;
    Ok(())
}

fn put_entry(connection: &Connection, told: &Told) -> rusqlite::Result<()> {
    let (entry, anomaly) = (&told.entry, &told.entry.anomaly);
    connection
        .prepare_cached(
            "INSERT INTO anomalies VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)
             ON CONFLICT (id) DO UPDATE SET last = ?7, until = ?8, told = ?9, evidence = ?11, last_seq = ?13, count = ?14, patterns = ?15",
        )?
        .execute(params![
            signed(entry.id),
            anomaly.detector.name(),
            anomaly.direction.name(),
            anomaly.series.source,
            anomaly.series.key.0,
            signed(anomaly.since.0),
            signed(anomaly.last.0),
            entry.until.map(|window| signed(window.0)),
            signed(entry.told.0),
            anomaly.severity,
            to_json(&anomaly.evidence)?,
            signed(anomaly.seqs.0),
            signed(anomaly.seqs.1),
            signed(anomaly.count),
            to_json(&anomaly.patterns)?,
            told.template,
            told.line
        ])?;
    Ok(())
}

/// Drops counts that are no longer looked back on, and anomalies that were over before `oldest`.
pub fn prune(connection: &Connection, today: u32, oldest: Window) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM anomaly_days WHERE day < ?1", [today.saturating_sub(KEPT_DAYS)])?;
    connection.execute("DELETE FROM anomalies WHERE until IS NOT NULL AND until < ?1", [signed(oldest.0)])?;
    Ok(())
}

/// An anomaly as it is stored, with what goes with it.
#[derive(Clone, Debug)]
pub struct StoredAnomaly {
    /// The entry.
    pub entry: Entry,
    /// `service.name`.
    pub source: String,
    /// Template of its pattern.
    pub template: String,
    /// A sample line.
    pub line: String,
    /// Whether nobody wants to hear of its like.
    pub muted: bool,
}

/// Returns at most `limit` anomalies that went on in window `since` or later and began before `until`, the newest first.
pub fn anomalies(connection: &Connection, since: Window, until: Window, limit: u32) -> rusqlite::Result<Vec<StoredAnomaly>> {
    connection
        .prepare_cached(
            "SELECT anomalies.*, coalesce(name, '') AS name, muted_at IS NOT NULL AS muted FROM anomalies
             LEFT JOIN anomaly_sources ON anomaly_sources.id = anomalies.source
             LEFT JOIN anomaly_mutes USING (detector, source, key)
             WHERE (until IS NULL OR anomalies.last >= ?1) AND since < ?2 ORDER BY anomalies.id DESC LIMIT ?3",
        )?
        .query_map(params![signed(since.0), signed(until.0), limit], stored)?
        .collect()
}

fn stored(row: &Row<'_>) -> rusqlite::Result<StoredAnomaly> {
    Ok(StoredAnomaly {
        entry: entry(row)?,
        source: row.get("name")?,
        template: row.get("template")?,
        line: row.get("line")?,
        muted: row.get("muted")?,
    })
}

/// Returns anomaly `id`.
pub fn anomaly(connection: &Connection, id: u64) -> rusqlite::Result<Option<StoredAnomaly>> {
    connection
        .prepare_cached(
            "SELECT anomalies.*, coalesce(name, '') AS name, muted_at IS NOT NULL AS muted FROM anomalies
             LEFT JOIN anomaly_sources ON anomaly_sources.id = anomalies.source
             LEFT JOIN anomaly_mutes USING (detector, source, key) WHERE anomalies.id = ?1",
        )?
        .query_row([signed(id)], stored)
        .optional()
}
