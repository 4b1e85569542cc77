//! What the events of an issue are found by, and how often each value occurred. Bounded: what is beyond is counted as `(others)`.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::engine::{OTHERS, Occurrences};
use super::types::{TagSummary, TagValue};
use crate::store::columns::{nanos, time};

/// Most values of one tag of one issue, and most tags of one issue.
const MAX_VALUES: i64 = 100;
const MAX_KEYS: i64 = 50;
/// Values that are shown.
const SHOWN: usize = 10;
/// Most releases that are remembered of all services.
const MAX_RELEASES: i64 = 20_000;

/// Adds what `issue`'s events have.
pub fn add(connection: &Connection, id: &str, issue: &Occurrences) -> rusqlite::Result<()> {
    let mut update = connection.prepare_cached(
        "UPDATE issue_tags SET count = count + ?4, first_seen = min(first_seen, ?5), last_seen = max(last_seen, ?6)
         WHERE issue = ?1 AND key = ?2 AND value = ?3",
    )?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO issue_tags VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT DO UPDATE SET count = count + excluded.count, last_seen = max(last_seen, excluded.last_seen)",
    )?;
    for ((key, value), count) in &issue.tags {
        let of_release = (key == "release").then(|| issue.releases.get(value)).flatten();
        let (first, last) = of_release.map_or(issue.seen, |(_, first, last)| (*first, *last));
        if update.execute(params![id, key, value, *count as i64, nanos(first), nanos(last)])? > 0 {
            continue;
        }
        let values: i64 = connection
            .prepare_cached("SELECT count(*) FROM issue_tags WHERE issue = ?1 AND key = ?2")?
            .query_row([id, key], |row| row.get(0))?;
        if values == 0 {
            let keys: i64 = connection
                .prepare_cached("SELECT count(DISTINCT key) FROM issue_tags WHERE issue = ?1")?
                .query_row([id], |row| row.get(0))?;
            if keys >= MAX_KEYS {
                continue;
            }
        }
        let value = if values >= MAX_VALUES { OTHERS } else { value };
        insert.execute(params![id, key, value, *count as i64, nanos(first), nanos(last)])?;
    }
    Ok(())
}

/// Remembers when a release of `service` was seen first.
pub fn note_releases(connection: &Connection, service: &str, issue: &Occurrences) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO issue_releases VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET first_seen = excluded.first_seen WHERE excluded.first_seen < first_seen",
    )?;
    for (release, (_, first, _)) in issue.releases.iter().filter(|(release, _)| !release.is_empty()) {
        statement.execute(params![service, release, nanos(*first)])?;
    }
    Ok(())
}

/// Returns when a release was seen first.
pub fn first_seen(connection: &Connection, service: &str, release: &str) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT first_seen FROM issue_releases WHERE service = ?1 AND release = ?2")?
        .query_row([service, release], |row| row.get(0))
        .optional()
}

/// Returns in which release an issue was seen first, and in which last.
pub fn releases(connection: &Connection, id: &str) -> rusqlite::Result<(String, String)> {
    let one = |order: &str| {
        let sql = format!(
            "SELECT value FROM issue_tags WHERE issue IN (SELECT id FROM issues WHERE id = ?1 OR merged_into = ?1) AND key = 'release'
                 AND value <> '{OTHERS}' ORDER BY {order}, value LIMIT 1"
        );
        Ok::<_, rusqlite::Error>(connection.prepare_cached(&sql)?.query_row([id], |row| row.get(0)).optional()?.unwrap_or_default())
    };
    Ok((one("first_seen")?, one("last_seen DESC")?))
}

/// Returns what an issue's events are found by, with what is merged into it.
pub fn of_issue(connection: &Connection, id: &str) -> rusqlite::Result<Vec<TagSummary>> {
    let mut statement = connection.prepare_cached(
        "SELECT key, value, sum(count) AS count, min(first_seen) AS first_seen, max(last_seen) AS last_seen FROM issue_tags
         WHERE issue IN (SELECT id FROM issues WHERE id = ?1 OR merged_into = ?1) GROUP BY key, value ORDER BY 3 DESC, value",
    )?;
    let mut rows = statement.query([id])?;
    let mut tags: BTreeMap<String, TagSummary> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let key: String = row.get("key")?;
        let tag = tags.entry(key.clone()).or_insert_with(|| TagSummary { key, count: 0, values: Vec::new() });
        let count = row.get::<_, i64>("count")? as u64;
        tag.count += count;
        if tag.values.len() < SHOWN {
            let (first_seen, last_seen) = (time(row, "first_seen")?, time(row, "last_seen")?);
            tag.values.push(TagValue { value: row.get("value")?, count, first_seen, last_seen });
        }
    }
    Ok(tags.into_values().collect())
}

/// Forgets the oldest releases beyond those that are remembered.
pub fn prune(connection: &Connection) -> rusqlite::Result<usize> {
    connection.execute(
        "DELETE FROM issue_releases WHERE (service, release) IN
             (SELECT service, release FROM issue_releases ORDER BY first_seen DESC LIMIT -1 OFFSET ?1)",
        [MAX_RELEASES],
    )
}
