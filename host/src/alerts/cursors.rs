//! Remembers how far events have been read, and which of them count from another moment than the one at which they were stored.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, params};
use watchfire_types::Timestamp;

use super::types::MAX_WINDOW;
use crate::store::columns::{nanos, optional_time, time};

/// Most rows kept of arrivals, over all sources.
const KEEP_ARRIVALS: i64 = 10_000;

/// Events that count from another moment than the one at which they were stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrivals {
    /// Position of the first of them.
    pub first: u64,
    /// Position of the last.
    pub last: u64,
    /// From when they count.
    pub moment: Moment,
    /// Until then and a window more this matters.
    pub latest: Timestamp,
}

/// From when an event counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// From when it was read.
    At(Timestamp),
    /// From so much earlier than was thought: the clock was ahead, and has stepped back.
    Earlier(Duration),
}

impl Moment {
    /// Returns from when an event counts that would count from `arrival`.
    #[must_use]
    pub fn apply(self, arrival: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Earlier(by) => arrival.minus(by),
        }
    }
}

/// What is stored of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    /// Events up to this one have had their effect; `None` if it was never read.
    pub position: Option<u64>,
    /// When that was stored.
    pub at: Timestamp,
    /// Arrivals that may still count, to be applied in this order.
    pub arrivals: Vec<Arrivals>,
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
pub fn save(connection: &Connection, progress: &Progress, now: Timestamp) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO event_cursors VALUES (?1, ?2, ?3)
             ON CONFLICT (source) DO UPDATE SET position = excluded.position, saved_at = excluded.saved_at",
        )?
        .execute(params![progress.source, progress.position as i64, nanos(now)])?;
    if progress.replaced {
        connection.execute("DELETE FROM event_arrivals WHERE source = ?1", [progress.source])?;
    }
    for Arrivals { first, last, moment, latest } in &progress.arrivals {
        let (arrived_at, ahead) = match moment {
            Moment::At(at) => (Some(nanos(*at)), None),
            Moment::Earlier(by) => (None, Some(i64::try_from(by.as_nanos()).unwrap_or(i64::MAX))),
        };
        connection
            .prepare_cached(
                "INSERT INTO event_arrivals (source, first, last, arrived_at, ahead, latest) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![progress.source, *first as i64, *last as i64, arrived_at, ahead, nanos(*latest)])?;
    }
    Ok(())
}

/// Returns what is stored of `source`.
pub fn load(connection: &Connection, source: &str, now: Timestamp) -> rusqlite::Result<Saved> {
    let saved: Option<(i64, Timestamp)> = connection
        .prepare_cached("SELECT position, saved_at FROM event_cursors WHERE source = ?1")?
        .query_row([source], |row| Ok((row.get("position")?, time(row, "saved_at")?)))
        .optional()?;
    let arrivals = connection
        .prepare_cached(
            "SELECT first, last, arrived_at, ahead, latest FROM event_arrivals WHERE source = ?1 AND latest > ?2 ORDER BY id",
        )?
        .query_map(params![source, nanos(now.minus(2 * MAX_WINDOW))], |row| {
            let (first, last): (i64, i64) = (row.get("first")?, row.get("last")?);
            let moment = match optional_time(row, "arrived_at")? {
                Some(at) => Moment::At(at),
                None => Moment::Earlier(Duration::from_nanos(row.get::<_, i64>("ahead")?.unsigned_abs())),
            };
            Ok(Arrivals { first: first as u64, last: last as u64, moment, latest: time(row, "latest")? })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let position = saved.map(|(position, _)| position as u64);
    Ok(Saved { position, at: saved.map_or(now, |(_, at)| at), arrivals })
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
