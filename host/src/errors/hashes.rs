//! Which issue the events of a fingerprint belong to.
//!
//! A known fingerprint says it. A new one is looked for by what earlier ways of grouping make of the event, and then by the secondary
//! hash, as long as the issue is young; what is found is noted, so that it is found at once from then on. What was found, and how, is
//! part of "why".

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, params};
use watchfire_types::Timestamp;

use super::engine::Occurrences;
use super::fingerprint::VERSION;
use crate::store::columns::{nanos, time};

/// How long what an earlier way of grouping has found is still looked for.
const TRANSITION: Duration = Duration::from_secs(30 * 86_400);
/// An issue older than this is found by its fingerprint alone.
const YOUNG: Duration = Duration::from_secs(14 * 86_400);
/// Most hashes of one issue.
const MAX_HASHES: i64 = 1_000;

/// A hash that leads to an issue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewHash {
    /// The hash.
    pub hash: String,
    /// `primary` or `secondary`.
    pub kind: &'static str,
    /// How the issue was found.
    pub found: &'static str,
}

/// What a batch has of one issue, with the hashes that led to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Its events.
    pub occurrences: Occurrences,
    /// What leads to it from now on.
    pub hashes: Vec<NewHash>,
}

/// Returns `groups`, which are by fingerprint, by issue. Reads and writes nothing else, so that a replay finds the same.
pub fn resolve(
    connection: &Connection,
    groups: BTreeMap<String, Occurrences>,
    now: Timestamp,
) -> rusqlite::Result<BTreeMap<String, Found>> {
    let mut groups: Vec<Occurrences> = groups.into_values().collect();
    // In the order of the log, however it was cut into batches.
    groups.sort_by_key(|group| group.seqs.0);
    let mut found: BTreeMap<String, Found> = BTreeMap::new();
    // Secondary hashes of issues that are new in this batch.
    let mut fresh: HashMap<String, String> = HashMap::new();
    for group in groups {
        let grouped = &group.grouped;
        let (issue, how) = match find(connection, grouped, now)? {
            Some(known) => known,
            None => match fresh.get(&grouped.secondary) {
                Some(issue) => (issue.clone(), "secondary"),
                None => (grouped.id().to_owned(), "new"),
            },
        };
        let mut hashes = vec![NewHash { hash: grouped.fingerprint.clone(), kind: "primary", found: how }];
        if !grouped.secondary.is_empty() {
            fresh.entry(grouped.secondary.clone()).or_insert_with(|| issue.clone());
            hashes.push(NewHash { hash: grouped.secondary.clone(), kind: "secondary", found: how });
        }
        match found.get_mut(&issue) {
            Some(known) => {
                known.occurrences.merge(group);
                known.hashes.extend(hashes);
            }
            None => {
                found.insert(issue, Found { occurrences: group, hashes });
            }
        }
    }
    Ok(found)
}

/// Returns the issue of one event, and how it was found; `None` if there is none yet.
pub fn find(
    connection: &Connection,
    grouped: &super::fingerprint::Grouped,
    now: Timestamp,
) -> rusqlite::Result<Option<(String, &'static str)>> {
    let by = |hash: &str| {
        connection
            .prepare_cached("SELECT issue, h.seen_at, first_seen FROM issue_hashes h JOIN issues ON id = issue WHERE hash = ?1")?
            .query_row([hash], |row| Ok((row.get::<_, String>(0)?, time(row, "seen_at")?, time(row, "first_seen")?)))
            .optional()
    };
    if let Some((issue, ..)) = by(&grouped.fingerprint)? {
        return Ok(Some((issue, "primary")));
    }
    for older in &grouped.older {
        if let Some((issue, seen, _)) = by(&older.hash)?
            && now.since(seen) < TRANSITION
        {
            return Ok(Some((issue, "older version")));
        }
    }
    if !grouped.secondary.is_empty()
        && let Some((issue, _, first)) = by(&grouped.secondary)?
        && now.since(first) < YOUNG
    {
        return Ok(Some((issue, "secondary")));
    }
    Ok(None)
}

/// Notes what leads to `issue`.
pub fn note(connection: &Connection, issue: &str, hashes: &[NewHash], now: Timestamp) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        // A fingerprint is not taken from the issue that has it; and a busy one is not written again and again.
        "INSERT INTO issue_hashes (hash, issue, kind, version, found, seen_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (hash) DO UPDATE SET seen_at = excluded.seen_at WHERE excluded.seen_at - seen_at > 60000000000",
    )?;
    for hash in hashes {
        let known: bool = connection
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM issue_hashes WHERE hash = ?1)")?
            .query_row([&hash.hash], |row| row.get(0))?;
        let room = known || {
            let count: i64 = connection
                .prepare_cached("SELECT count(*) FROM issue_hashes WHERE issue = ?1")?
                .query_row([issue], |row| row.get(0))?;
            count < MAX_HASHES
        };
        if room {
            statement.execute(params![hash.hash, issue, hash.kind, VERSION, hash.found, nanos(now)])?;
        }
    }
    Ok(())
}

/// A hash that leads to an issue, for whoever asks why.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct IssueHash {
    /// 64 hexadecimal digits.
    pub hash: String,
    /// `primary`: classes and calls, or the message; `secondary`: classes, the nearest call and the message.
    pub kind: String,
    /// The way of grouping.
    pub version: String,
    /// How the issue was found when the hash was new: `new`, `primary`, `secondary` or `older version`.
    pub found: String,
    /// When an event had it last, to the minute.
    pub seen_at: Timestamp,
}

/// Returns what leads to `issue`, the latest first.
pub fn of_issue(connection: &Connection, issue: &str) -> rusqlite::Result<Vec<IssueHash>> {
    connection
        .prepare_cached(
            "SELECT hash, kind, version, found, seen_at FROM issue_hashes WHERE issue = ?1 ORDER BY seen_at DESC, hash LIMIT 100",
        )?
        .query_map([issue], |row| {
            Ok(IssueHash {
                hash: row.get("hash")?,
                kind: row.get("kind")?,
                version: row.get("version")?,
                found: row.get("found")?,
                seen_at: time(row, "seen_at")?,
            })
        })?
        .collect()
}

/// Forgets hashes of earlier ways of grouping that no event has had for a while.
pub fn prune(connection: &Connection, now: Timestamp) -> rusqlite::Result<usize> {
    connection
        .execute("DELETE FROM issue_hashes WHERE version <> ?1 AND seen_at < ?2", params![VERSION, nanos(now.minus(TRANSITION))])
}

#[cfg(test)]
#[path = "hashes_tests.rs"]
mod tests;
