//! Remembers how far events have been read, and which of them count from another moment than the one at which they were stored.

use rusqlite::{Connection, OptionalExtension as _, params};
use watchfire_types::Timestamp;

use super::types::MAX_WINDOW;
use crate::store::columns::{nanos, time};

/// Most rows kept of arrivals, over all sources.
const KEEP_ARRIVALS: i64 = 10_000;

/// Events from `first` to `last` count from `at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrivals {
    /// Position of the first of them.
    pub first: u64,
    /// Position of the last.
    pub last: u64,
    /// When they arrived.
    pub at: Timestamp,
    /// The later of that and of when the last of them was stored: until then and a window more they matter.
    pub latest: Timestamp,
}

/// How far one source has been read, to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The source's name.
    pub source: &'static str,
    /// Events up to this one have had their effect.
    pub position: u64,
    /// What is new of arrivals.
    pub arrivals: Vec<Arrivals>,
    /// Whether the source is another one than before, so that what was known of arrivals is about others.
    pub replaced: bool,
}

/// Stores how far a source has been read.
pub fn save(connection: &Connection, progress: &Progress) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO event_cursors VALUES (?1, ?2) ON CONFLICT (source) DO UPDATE SET position = excluded.position",
        )?
        .execute(params![progress.source, progress.position as i64])?;
    if progress.replaced {
        connection.execute("DELETE FROM event_arrivals WHERE source = ?1", [progress.source])?;
    }
    for Arrivals { first, last, at, latest } in &progress.arrivals {
        connection
            .prepare_cached("INSERT INTO event_arrivals (source, first, last, arrived_at, latest) VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![progress.source, *first as i64, *last as i64, nanos(*at), nanos(*latest)])?;
    }
    Ok(())
}

/// Returns up to where `source` has been read, if ever, and the arrivals that may still count at `now`, oldest entry first.
pub fn load(connection: &Connection, source: &str, now: Timestamp) -> rusqlite::Result<(Option<u64>, Vec<Arrivals>)> {
    let position: Option<i64> = connection
        .prepare_cached("SELECT position FROM event_cursors WHERE source = ?1")?
        .query_row([source], |row| row.get(0))
        .optional()?;
    let arrivals = connection
        .prepare_cached("SELECT first, last, arrived_at, latest FROM event_arrivals WHERE source = ?1 AND latest > ?2 ORDER BY id")?
        .query_map(params![source, nanos(now.minus(2 * MAX_WINDOW))], |row| {
            let (first, last): (i64, i64) = (row.get("first")?, row.get("last")?);
            Ok(Arrivals { first: first as u64, last: last as u64, at: time(row, "arrived_at")?, latest: time(row, "latest")? })
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok((position.map(|position| position as u64), arrivals))
}

/// Drops arrivals that have left every window.
pub fn prune(connection: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    connection.execute(
        "DELETE FROM event_arrivals WHERE latest < ?1
           OR id <= (SELECT id FROM event_arrivals ORDER BY id DESC LIMIT 1 OFFSET ?2)",
        params![nanos(now.minus(2 * MAX_WINDOW)), KEEP_ARRIVALS],
    )?;
    Ok(())
}
