//! Patterns in the day files: each file has the template of every id that its blocks name, and those of earlier days that are
//! still in use, so that dropping a file never takes away what another one needs.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params, params_from_iter};
use rustc_hash::FxHashMap;
use watchfire_types::Day;

use super::merges::Merges;
use crate::logs::files::stored_time;

/// Most patterns that a new day begins with, those used last first.
pub(in crate::logs) const MAX_CARRIED: i64 = 200_000;
/// All patterns, for who writes a file anew.
pub(in crate::logs) const ALL: i64 = -1;
/// Most uncommitted patterns that are kept while commits fail.
const MAX_UNSAVED: usize = 100_000;

/// What is to be stored of one pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::logs) struct PatternRow {
    pub(in crate::logs) id: u64,
    /// `service.name`, empty for none; `None` for what the sources beyond the bound share.
    pub(in crate::logs) service: Option<Arc<str>>,
    pub(in crate::logs) template: String,
    /// What the miner needs to know its lines again; `None` if that has not changed.
    pub(in crate::logs) state: Option<Vec<u8>>,
    /// One of its lines; `None` if this day has one already.
    pub(in crate::logs) sample: Option<String>,
    /// Event time of that line, nanoseconds.
    pub(in crate::logs) time: u64,
}

/// What the transaction of a group of blocks says about patterns.
#[derive(Debug, Default)]
pub(in crate::logs) struct Changes {
    pub(in crate::logs) rows: Vec<PatternRow>,
    /// Younger and older id of what turned out to be one pattern.
    pub(in crate::logs) merges: Vec<(u64, u64)>,
    /// Counts the groups that had changes, to tell what has been stored.
    pub(in crate::logs) generation: u64,
}

/// Changes that no transaction has taken yet: those of a group whose commit failed are stored with the next one, for the miners
/// know these patterns already and will not tell of them again.
#[derive(Debug, Default)]
pub(in crate::logs) struct Unsaved {
    rows: FxHashMap<u64, PatternRow>,
    merges: Vec<(u64, u64)>,
    generation: u64,
}

impl Unsaved {
    pub(in crate::logs) fn add(&mut self, changes: &mut Changes) {
        self.generation = self.generation.max(changes.generation);
        self.merges.append(&mut changes.merges);
        for row in changes.rows.drain(..) {
            match self.rows.entry(row.id) {
                Entry::Vacant(entry) => drop(entry.insert(row)),
                Entry::Occupied(mut entry) => {
                    let before = entry.get_mut();
                    before.template = row.template;
                    before.state = row.state.or_else(|| before.state.take());
                    before.sample = before.sample.take().or(row.sample);
                }
            }
        }
    }

    pub(in crate::logs) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.merges.is_empty()
    }

    /// Returns whether there are so many that no more should come.
    pub(in crate::logs) fn is_full(&self) -> bool {
        self.rows.len() + self.merges.len() > MAX_UNSAVED
    }

    /// Writes all, as used on `day`.
    pub(in crate::logs) fn write(&self, transaction: &Transaction<'_>, day: Day) -> rusqlite::Result<()> {
        if !self.rows.is_empty() {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO patterns VALUES (?1, ?2, ?3, coalesce(?4, x''), coalesce(?5, ''), ?6, ?7) ON CONFLICT (id) DO UPDATE SET \
                 template = excluded.template, state = coalesce(?4, state), sample = coalesce(?5, sample), used = max(used, ?7)",
            )?;
            for row in self.rows.values() {
                let PatternRow { id, service, template, state, sample, time } = row;
                insert.execute(params![*id as i64, service.as_deref(), template, state, sample, stored_time(*time), day.0])?;
            }
        }
        let mut insert = transaction.prepare_cached("INSERT OR IGNORE INTO pattern_merges VALUES (?1, ?2, ?3)")?;
        for (from, into) in &self.merges {
            insert.execute(params![*from as i64, *into as i64, day.0])?;
        }
        Ok(())
    }

    /// Forgets everything, which is committed now; returns the merges, and up to which generation all is stored.
    pub(in crate::logs) fn committed(&mut self) -> (Vec<(u64, u64)>, u64) {
        self.rows = FxHashMap::default();
        (std::mem::take(&mut self.merges), self.generation)
    }
}

/// Copies what is in use into the file of a new day: patterns that were used on `since` or later, at most `limit`, and merges as young
/// as that.
pub(in crate::logs) fn carry(from: &Connection, to: &Transaction<'_>, since: Day, limit: i64) -> rusqlite::Result<()> {
    if is_missing(from)? {
        return Ok(());
    }
    let mut insert = to.prepare("INSERT OR IGNORE INTO patterns VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
    let mut select = from.prepare(
        "SELECT id, service, template, state, sample, first_seen, used FROM patterns WHERE used >= ?1 ORDER BY used DESC, id LIMIT ?2",
    )?;
    let mut rows = select.query(params![since.0, limit])?;
    while let Some(row) = rows.next()? {
        let values = (0..7).map(|index| row.get::<_, Value>(index)).collect::<rusqlite::Result<Vec<_>>>()?;
        insert.execute(params_from_iter(values))?;
    }
    let mut insert = to.prepare("INSERT OR IGNORE INTO pattern_merges VALUES (?1, ?2, ?3)")?;
    let mut select = from.prepare("SELECT from_id, into_id, day FROM pattern_merges WHERE day >= ?1")?;
    let mut rows = select.query([since.0])?;
    while let Some(row) = rows.next()? {
        insert.execute(params![row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, u32>(2)?])?;
    }
    Ok(())
}

/// Returns the merges that a file knows of.
pub(in crate::logs) fn merges(connection: &Connection) -> rusqlite::Result<Merges> {
    let mut merges = Merges::default();
    let mut select = connection.prepare("SELECT from_id, into_id FROM pattern_merges")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        merges.add(row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64);
    }
    Ok(merges)
}

/// Returns the id that follows the greatest one known to a file.
pub(in crate::logs) fn next_id(connection: &Connection) -> rusqlite::Result<u64> {
    connection.query_row("SELECT coalesce(max(id), 0) + 1 FROM patterns", [], |row| row.get::<_, i64>(0).map(|id| id as u64))
}

/// Returns every source that has patterns in a file.
pub(in crate::logs) fn sources(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut select = connection.prepare("SELECT DISTINCT service FROM patterns WHERE service IS NOT NULL")?;
    select.query_map([], |row| row.get(0))?.collect()
}

/// What a file knows of a source: its patterns as `(id, template, state)`, the oldest first, so that a miner restores them as they came.
pub(in crate::logs) fn of_source(connection: &Connection, service: Option<&str>) -> rusqlite::Result<Vec<(u64, String, Vec<u8>)>> {
    let sql = "SELECT id, template, state FROM patterns WHERE service IS ?1 AND length(state) > 0 ORDER BY used, id";
    let row = |row: &Row<'_>| Ok((row.get::<_, i64>(0)? as u64, row.get(1)?, row.get(2)?));
    connection.prepare_cached(sql)?.query_map([service], row)?.collect()
}

/// Returns the merges that `ids` have part in, as `(from, into)`.
pub(in crate::logs) fn merges_of(connection: &Connection, ids: impl Iterator<Item = u64>) -> rusqlite::Result<Vec<(u64, u64)>> {
    let mut select = connection.prepare_cached("SELECT into_id FROM pattern_merges WHERE from_id = ?1")?;
    let mut merges = Vec::new();
    for id in ids {
        if let Some(into) = select.query_row([id as i64], |row| row.get::<_, i64>(0)).optional()? {
            merges.push((id, into as u64));
        }
    }
    Ok(merges)
}

/// What is remembered of a pattern beside its counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternInfo {
    /// Its text, with `<*>` for what varies.
    pub template: String,
    /// `service.name`; `None` if several services share it.
    pub service: Option<String>,
    /// One of its lines, shortened; empty if none is remembered.
    pub sample: String,
    /// Event time of the first line ever seen, nanoseconds.
    pub first_seen: u64,
}

/// Adds what a file knows of `ids` to `found`, where that does not have them yet.
pub(in crate::logs) fn look_up(
    connection: &Connection,
    ids: &[u64],
    found: &mut FxHashMap<u64, PatternInfo>,
) -> rusqlite::Result<()> {
    if is_missing(connection)? {
        return Ok(());
    }
    let mut select = connection.prepare_cached("SELECT template, service, sample, first_seen FROM patterns WHERE id = ?1")?;
    for id in ids {
        let Entry::Vacant(entry) = found.entry(*id) else { continue };
        let mut rows = select.query([*id as i64])?;
        if let Some(row) = rows.next()? {
            entry.insert(PatternInfo {
                template: row.get(0)?,
                service: row.get(1)?,
                sample: row.get(2)?,
                first_seen: row.get::<_, i64>(3)? as u64,
            });
        }
    }
    Ok(())
}

/// Returns whether the file was made before there were patterns.
pub(in crate::logs) fn is_missing(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT count(*) = 0 FROM sqlite_schema WHERE name = 'patterns'", [], |row| row.get(0))
}
