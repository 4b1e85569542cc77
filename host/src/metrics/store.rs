//! What lies in a day file, and the engine's only SQL.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, Row, params};
use watchfire_types::metric::normalized_name;
use watchfire_types::{Day, MetricKind, Sample, SeriesKey, Timestamp};

use super::chunk::{self, BatchPoint, CHUNK_SAMPLES};
use super::engine::{Pending, SeriesRow, merged};
use super::types::MetricInfo;
use crate::store::columns::{json, timestamp};
use crate::store::{Migration, StoreError};

/// Schema of a day file.
pub const MIGRATIONS: &[Migration] = &[include_str!("../../migrations/metrics/0001_metrics.sql")];

/// What was found damaged and left out, one text each.
pub type Damage = Vec<String>;

/// A series as a day file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSeries {
    /// Its number there.
    pub row: i64,
    /// Name and labels.
    pub key: SeriesKey,
    /// What its values mean.
    pub kind: MetricKind,
    /// UCUM unit.
    pub unit: String,
}

/// The one row of `state`, and whether there is something to flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayState {
    /// Whether the totals of the day before were carried over.
    pub carried: bool,
    /// Least and greatest event time in chunks; `None` without chunks.
    pub bounds: Option<(Timestamp, Timestamp)>,
    /// Commits that are not in chunks.
    pub batches: u64,
}

/// Returns the path of a day's file in `directory`.
#[must_use]
pub fn day_path(directory: &Path, day: Day) -> PathBuf {
    directory.join(format!("{day}.db"))
}

/// Returns the days that have a file in `directory`.
///
/// # Errors
/// [`StoreError::Io`] if it cannot be read.
pub fn list_days(directory: &Path) -> Result<Vec<Day>, StoreError> {
    let error = |source| StoreError::Io { path: directory.to_owned(), source };
    let mut days = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(error)? {
        let name = entry.map_err(error)?.file_name();
        let day: Option<Day> = name.to_str().and_then(|name| name.strip_suffix(".db")).and_then(|day| day.parse().ok());
        days.extend(day);
    }
    days.sort_unstable();
    Ok(days)
}

/// Writes what one commit brings.
pub fn commit(
    connection: &Connection,
    rows: &[SeriesRow],
    new_totals: &[(i64, f64)],
    points: usize,
    batch: &[u8],
) -> rusqlite::Result<()> {
    put_series(connection, rows)?;
    put_totals(connection, new_totals)?;
    connection.prepare_cached("INSERT INTO batches (points, data) VALUES (?1, ?2)")?.execute(params![points as i64, batch])?;
    Ok(())
}

/// Writes what a new day's file begins with.
pub fn begin_day(connection: &Connection, rows: &[SeriesRow], totals: &[(i64, f64)]) -> rusqlite::Result<()> {
    put_series(connection, rows)?;
    put_totals(connection, totals)?;
    connection.execute("UPDATE state SET carried = 1", [])?;
    Ok(())
}

/// A chunk as it will be written.
#[derive(Debug)]
struct NewChunk {
    series: i64,
    /// The chunk whose place it takes, because it holds that one's samples too.
    replaces: Option<i64>,
    first: i64,
    last: i64,
    count: i64,
    data: Vec<u8>,
}

/// What a flush will write, encoded.
#[derive(Debug, Default)]
pub struct Chunks {
    chunks: Vec<NewChunk>,
    /// What was found damaged meanwhile.
    pub damage: Damage,
}

/// Returns the number of the newest batch; 0 without any.
pub fn last_batch(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT coalesce(max(id), 0) FROM batches", [], |row| row.get(0))
}

/// Encodes samples into chunks, and writes nothing. A series' last chunk is filled up before a new one begins; only
/// [`flush`] changes chunks, so what is read here still holds when it runs.
pub fn encode(connection: &Connection, pending: Vec<Pending>) -> rusqlite::Result<Chunks> {
    let mut found = Chunks::default();
    let mut last = connection.prepare_cached("SELECT id, count, data FROM chunks WHERE series = ?1 ORDER BY id DESC LIMIT 1")?;
    for Pending { row: series, samples, .. } in pending {
        let mut samples = merged(samples);
        let mut replaces = None;
        let mut rows = last.query([series])?;
        if let Some(open) = rows.next()?
            && open.get::<_, i64>(1)? as usize + samples.len() <= CHUNK_SAMPLES
        {
            let id = open.get(0)?;
            match chunk::decode(open.get_ref(2)?.as_blob()?) {
                Ok(mut older) => {
                    older.append(&mut samples);
                    samples = merged(older);
                    replaces = Some(id);
                }
                Err(error) => found.damage.push(format!("chunk {id}: {error}")),
            }
        }
        for part in samples.chunks(CHUNK_SAMPLES) {
            let (first, last) = (part[0].timestamp.as_nanos() as i64, part[part.len() - 1].timestamp.as_nanos() as i64);
            let (count, data) = (part.len() as i64, chunk::encode(part));
            found.chunks.push(NewChunk { series, replaces: replaces.take(), first, last, count, data });
        }
    }
    Ok(found)
}

/// Writes chunks in the place of all batches up to `last_batch`, with the totals as of that batch.
pub fn flush(connection: &Connection, chunks: &Chunks, totals: &[(i64, f64)], last_batch: i64) -> rusqlite::Result<()> {
    let mut delete = connection.prepare_cached("DELETE FROM chunks WHERE id = ?1")?;
    let mut insert =
        connection.prepare_cached("INSERT INTO chunks (series, min_time, max_time, count, data) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    let mut bounds = (i64::MAX, 0_i64);
    for chunk in &chunks.chunks {
        bounds = (bounds.0.min(chunk.first), bounds.1.max(chunk.last));
        if let Some(replaced) = chunk.replaces {
            delete.execute([replaced])?;
        }
        insert.execute(params![chunk.series, chunk.first, chunk.last, chunk.count, chunk.data])?;
    }
    put_totals(connection, totals)?;
    connection.execute("DELETE FROM batches WHERE id <= ?1", [last_batch])?;
    connection.execute("UPDATE state SET min_time = min(min_time, ?1), max_time = max(max_time, ?2)", [bounds.0, bounds.1])?;
    Ok(())
}

/// Flushes the batches of a file that is no longer written to, as a crash just before midnight leaves it.
pub fn settle(connection: &Connection) -> rusqlite::Result<Damage> {
    let (batches, mut damage) = read_batches(connection)?;
    let mut totals: BTreeMap<i64, f64> = read_totals(connection)?.into_iter().collect();
    let mut samples: BTreeMap<i64, Vec<Sample>> = BTreeMap::new();
    for (row, sample) in batches {
        samples.entry(row).or_default().push(sample);
        if let Some(total) = totals.get_mut(&row)
            && sample.value.is_finite()
        {
            *total = sample.value;
        }
    }
    let pending = samples.into_iter().map(|(row, samples)| Pending { slot: 0, row, samples }).collect();
    let totals: Vec<_> = totals.into_iter().collect();
    let mut chunks = encode(connection, pending)?;
    flush(connection, &chunks, &totals, i64::MAX)?;
    damage.append(&mut chunks.damage);
    Ok(damage)
}

/// Returns the state of a file.
pub fn day_state(connection: &Connection) -> rusqlite::Result<DayState> {
    let query = "SELECT carried, min_time, max_time, (SELECT count(*) FROM batches) FROM state";
    connection.query_row(query, [], |row| {
        let (first, last): (i64, i64) = (row.get(1)?, row.get(2)?);
        let bounds = (first <= last).then(|| (timestamp(first), timestamp(last)));
        Ok(DayState { carried: row.get(0)?, bounds, batches: row.get::<_, i64>(3)? as u64 })
    })
}

/// Returns all names of a file.
pub fn names(connection: &Connection) -> rusqlite::Result<Vec<MetricInfo>> {
    let mut query = connection.prepare("SELECT name, kind, unit, count(*) FROM series GROUP BY name")?;
    let info = |row: &Row<'_>| {
        let kind = kind_from(&row.get::<_, String>(1)?);
        Ok(MetricInfo { name: row.get(0)?, kind, unit: row.get(2)?, series: row.get::<_, i64>(3)? as usize })
    };
    query.query_map([], info)?.collect()
}

/// Returns at most `limit` series with a number above `after`, by number.
pub fn series_after(connection: &Connection, after: i64, limit: usize) -> rusqlite::Result<Vec<StoredSeries>> {
    let mut query =
        connection.prepare_cached("SELECT id, name, labels, kind, unit FROM series WHERE id > ?1 ORDER BY id LIMIT ?2")?;
    query.query_map(params![after, limit as i64], stored_series)?.collect()
}

/// Returns the series called `name`, in either spelling.
pub fn series_named(connection: &Connection, name: &str) -> rusqlite::Result<Vec<StoredSeries>> {
    let mut query = connection.prepare_cached("SELECT id, name, labels, kind, unit FROM series WHERE normalized = ?1")?;
    query.query_map([normalized_name(name)], stored_series)?.collect()
}

/// Returns the samples of one series from `since` to `until`, both included, in order of writing; damaged chunks are left out.
pub fn read_chunks(
    connection: &Connection,
    series: i64,
    since: Timestamp,
    until: Timestamp,
) -> rusqlite::Result<(Vec<Sample>, Damage)> {
    let sql = "SELECT id, data FROM chunks WHERE series = ?1 AND max_time >= ?2 AND min_time <= ?3 ORDER BY id";
    let mut query = connection.prepare_cached(sql)?;
    let (mut samples, mut damage) = (Vec::new(), Damage::new());
    let until_nanos = until.min(Timestamp::MAX).as_nanos() as i64;
    let mut rows = query.query(params![series, since.min(Timestamp::MAX).as_nanos() as i64, until_nanos])?;
    while let Some(row) = rows.next()? {
        match chunk::decode(row.get_ref(1)?.as_blob()?) {
            Ok(part) => samples.extend(part.into_iter().filter(|sample| sample.timestamp >= since && sample.timestamp <= until)),
            Err(error) => damage.push(format!("chunk {}: {error}", row.get::<_, i64>(0)?)),
        }
    }
    Ok((samples, damage))
}

/// Returns about the newest `limit` samples of one series from `since` on, as whole chunks, in order of writing; damaged chunks are
/// left out.
pub fn newest_samples(
    connection: &Connection,
    series: i64,
    since: Timestamp,
    limit: usize,
) -> rusqlite::Result<(Vec<Sample>, Damage)> {
    let sql = "SELECT id, data FROM chunks WHERE series = ?1 AND max_time >= ?2 ORDER BY id DESC";
    let mut query = connection.prepare_cached(sql)?;
    let (mut parts, mut count, mut damage) = (Vec::new(), 0, Damage::new());
    let mut rows = query.query(params![series, since.as_nanos() as i64])?;
    while count < limit
        && let Some(row) = rows.next()?
    {
        match chunk::decode(row.get_ref(1)?.as_blob()?) {
            Ok(part) => {
                count += part.len();
                parts.push(part);
            }
            Err(error) => damage.push(format!("chunk {}: {error}", row.get::<_, i64>(0)?)),
        }
    }
    Ok((parts.into_iter().rev().flatten().collect(), damage))
}

/// Returns what was committed since the last flush, in order of arrival; damaged batches are left out.
pub fn read_batches(connection: &Connection) -> rusqlite::Result<(Vec<BatchPoint>, Damage)> {
    let mut query = connection.prepare("SELECT id, data FROM batches ORDER BY id")?;
    let (mut points, mut damage) = (Vec::new(), Damage::new());
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        match chunk::decode_batch(row.get_ref(1)?.as_blob()?) {
            Ok(mut batch) => points.append(&mut batch),
            Err(error) => damage.push(format!("batch {}: {error}", row.get::<_, i64>(0)?)),
        }
    }
    Ok((points, damage))
}

/// Returns the running totals as of the last flush.
pub fn read_totals(connection: &Connection) -> rusqlite::Result<Vec<(i64, f64)>> {
    let mut query = connection.prepare("SELECT series, value FROM totals")?;
    query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

fn put_series(connection: &Connection, rows: &[SeriesRow]) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO series (id, name, normalized, labels, kind, unit) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, unit = excluded.unit",
    )?;
    for row in rows {
        let labels = serde_json::to_string(&row.key.labels).expect("pairs of texts are JSON");
        let name = &row.key.name;
        insert.execute(params![row.row, name, normalized_name(name), labels, kind_text(row.kind), row.unit])?;
    }
    Ok(())
}

fn put_totals(connection: &Connection, totals: &[(i64, f64)]) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached("INSERT OR REPLACE INTO totals (series, value) VALUES (?1, ?2)")?;
    for (row, value) in totals {
        insert.execute(params![row, value])?;
    }
    Ok(())
}

fn stored_series(row: &Row<'_>) -> rusqlite::Result<StoredSeries> {
    let key = SeriesKey { name: row.get(1)?, labels: json(row, 2)? };
    Ok(StoredSeries { row: row.get(0)?, key, kind: kind_from(row.get_ref(3)?.as_str()?), unit: row.get(4)? })
}

const fn kind_text(kind: MetricKind) -> &'static str {
    match kind {
        MetricKind::Gauge => "gauge",
        MetricKind::Counter => "counter",
        MetricKind::Histogram => "histogram",
        MetricKind::Summary => "summary",
    }
}

fn kind_from(text: &str) -> MetricKind {
    match text {
        "counter" => MetricKind::Counter,
        "histogram" => MetricKind::Histogram,
        "summary" => MetricKind::Summary,
        _ => MetricKind::Gauge,
    }
}
