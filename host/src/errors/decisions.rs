//! What people decide about issues: the SQL of resolving, ignoring, assigning, commenting, merging.

use rusqlite::{Connection, OptionalExtension as _, params};
use watchfire_types::Timestamp;

use super::types::{Comment, IssueStatus};
use crate::store::columns::{nanos, time};

/// Most comments on one issue.
const MAX_COMMENTS: i64 = 1_000;

/// A decision about whether an issue is to be dealt with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing is decided any more.
    Unresolve,
    /// It is mended.
    Resolve {
        /// By this release; empty if in all. Events of older ones do not bring it back.
        release: String,
        /// Whether it is mended in the release after that one.
        next: bool,
    },
    /// It is counted, and nobody is told.
    Ignore {
        /// Until then.
        until: Option<Timestamp>,
        /// Until it has occurred so often from now on.
        count: Option<u64>,
    },
}

impl Decision {
    /// Returns the status that comes of it.
    #[must_use]
    pub const fn status(&self) -> IssueStatus {
        match self {
            Self::Unresolve => IssueStatus::Unresolved,
            Self::Resolve { .. } => IssueStatus::Resolved,
            Self::Ignore { .. } => IssueStatus::Ignored,
        }
    }
}

/// Returns the issue that `id` is shown as: itself, or what it is merged into; `None` if there is none.
pub fn shown_as(connection: &Connection, id: &str) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached("SELECT coalesce(merged_into, id) FROM issues WHERE id = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()
}

/// Decides about an issue; `stored` is the last log record that is stored. Returns whether there is such an issue.
pub fn decide(connection: &Connection, id: &str, decision: &Decision, stored: u64, now: Timestamp) -> rusqlite::Result<bool> {
    let Some(id) = shown_as(connection, id)? else { return Ok(false) };
    let resolved = matches!(decision, Decision::Resolve { .. }).then(|| (nanos(now), stored as i64)).unzip();
    let (release, next) = match decision {
        Decision::Resolve { release, next } => (release.as_str(), *next),
        _ => ("", false),
    };
    let (until, count) = match decision {
        Decision::Ignore { until, count } => (*until, *count),
        _ => (None, None),
    };
    let occurred = family_count(connection, &id)?;
    connection
        .prepare_cached(
            "UPDATE issues SET status = ?2, resolved_at = ?3, resolved_seq = ?4, resolved_release = ?5, resolved_next = ?6,
                 ignored_until = ?7, ignored_count = ?8 WHERE id = ?1",
        )?
        .execute(params![
            id,
            decision.status().name(),
            resolved.0,
            resolved.1,
            release,
            next,
            until.map(nanos),
            count.map(|count| occurred.saturating_add(count as i64)),
        ])?;
    Ok(true)
}

/// Returns how often an issue has occurred, with what is merged into it.
pub fn family_count(connection: &Connection, id: &str) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("SELECT coalesce(sum(count), 0) FROM issues WHERE id = ?1 OR merged_into = ?1")?
        .query_row([id], |row| row.get(0))
}

/// Returns the release of `service` that was seen first last; `None` if none was seen.
pub fn latest_release(connection: &Connection, service: &str) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached("SELECT release FROM issue_releases WHERE service = ?1 ORDER BY first_seen DESC, release DESC LIMIT 1")?
        .query_row([service], |row| row.get(0))
        .optional()
}

/// Returns the service of an issue.
pub fn service_of(connection: &Connection, id: &str) -> rusqlite::Result<Option<String>> {
    connection.prepare_cached("SELECT service FROM issues WHERE id = ?1")?.query_row([id], |row| row.get(0)).optional()
}

/// Says who sees to an issue; nobody, if `who` is empty. Returns whether there is such an issue.
pub fn assign(connection: &Connection, id: &str, who: &str) -> rusqlite::Result<bool> {
    let Some(id) = shown_as(connection, id)? else { return Ok(false) };
    connection.execute("UPDATE issues SET assigned_to = ?2 WHERE id = ?1", [id.as_str(), who])?;
    Ok(true)
}

/// Adds a comment. Returns whether there is such an issue.
pub fn comment(connection: &Connection, id: &str, author: &str, text: &str, now: Timestamp) -> rusqlite::Result<bool> {
    let Some(id) = shown_as(connection, id)? else { return Ok(false) };
    connection.execute(
        "INSERT INTO issue_comments (issue, at, author, text) VALUES (?1, ?2, ?3, ?4)",
        params![id, nanos(now), author, text],
    )?;
    connection.execute(
        "DELETE FROM issue_comments WHERE issue = ?1 AND id <= (SELECT id FROM issue_comments WHERE issue = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
        params![id, MAX_COMMENTS],
    )?;
    Ok(true)
}

/// Returns the comments on an issue and on what is merged into it, the oldest first.
pub fn comments(connection: &Connection, id: &str) -> rusqlite::Result<Vec<Comment>> {
    connection
        .prepare_cached(
            "SELECT at, author, text FROM issue_comments WHERE issue IN (SELECT id FROM issues WHERE id = ?1 OR merged_into = ?1) ORDER BY at, id",
        )?
        .query_map([id], |row| Ok(Comment { at: time(row, "at")?, author: row.get("author")?, text: row.get("text")? }))?
        .collect()
}

/// Why issues cannot be merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MergeProblem {
    /// There is none of this id.
    Unknown(String),
    /// It cannot be merged into itself.
    Same,
}

/// Merges `others` into `id`: they are shown as one, and decided about as one. Each counts on by itself, so that it can be taken out again.
pub fn merge(connection: &Connection, id: &str, others: &[String]) -> rusqlite::Result<Result<String, MergeProblem>> {
    let Some(into) = shown_as(connection, id)? else { return Ok(Err(MergeProblem::Unknown(id.to_owned()))) };
    for other in others {
        let Some(shown) = shown_as(connection, other)? else { return Ok(Err(MergeProblem::Unknown(other.clone()))) };
        if shown == into {
            if *other == into {
                return Ok(Err(MergeProblem::Same));
            }
            continue;
        }
        // What had been merged into the other one comes along.
        connection.execute("UPDATE issues SET merged_into = ?2 WHERE id = ?1 OR merged_into = ?1", [&shown, &into])?;
    }
    Ok(Ok(into))
}

/// Takes `id` out of what it is merged into, or, if others are merged into it, takes all of these out. Returns the issues that stand alone
/// again; `None` if there is no such issue.
pub fn unmerge(connection: &Connection, id: &str) -> rusqlite::Result<Option<Vec<String>>> {
    if shown_as(connection, id)?.is_none() {
        return Ok(None);
    }
    let out: Vec<String> = connection
        .prepare_cached("SELECT id FROM issues WHERE merged_into IS NOT NULL AND (id = ?1 OR merged_into = ?1) ORDER BY id")?
        .query_map([id], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for id in &out {
        connection.execute("UPDATE issues SET merged_into = NULL WHERE id = ?1", [id])?;
    }
    Ok(Some(out))
}

/// Whether an event of `release` brings back what is resolved by `resolved`. `first_seen` says when a release was seen first.
///
/// Releases with numbers are compared by these; others, such as commits, by when they were seen first. Who names no release runs
/// something, and it fails.
#[must_use]
pub fn brings_back(resolved: &str, next: bool, release: &str, first_seen: impl Fn(&str) -> Option<i64>) -> bool {
    use std::cmp::Ordering;
    if resolved.is_empty() || release.is_empty() {
        return true;
    }
    let order = if release == resolved {
        Ordering::Equal
    } else {
        match (version(resolved), version(release)) {
            (Some((one, old)), Some((other, new))) if one == other => new.cmp(&old),
            _ => match (first_seen(release), first_seen(resolved)) {
                (Some(new), Some(old)) => new.cmp(&old),
                // What was resolved by a release that has not been seen is not in any that has.
                (_, None) => Ordering::Less,
                (None, _) => Ordering::Greater,
            },
        }
    };
    match order {
        Ordering::Less => false,
        Ordering::Equal => !next,
        Ordering::Greater => true,
    }
}

/// What a version is ordered by: its numbers, whether it is final, and what it is before that.
type Version = (Vec<u64>, bool, String);

/// Returns the package of a release and what its version is ordered by: `shop@1.10.0-rc.1+17`. `None` if it has no number with a point.
fn version(release: &str) -> Option<(&str, Version)> {
    let (package, version) = release.rsplit_once('@').unwrap_or(("", release));
    let version = version.strip_prefix('v').unwrap_or(version);
    let version = version.split('+').next().unwrap_or(version);
    let (numbers, before) = version.split_once('-').unwrap_or((version, ""));
    let numbers: Vec<u64> = numbers.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    // Semantic versioning: one with a hyphen comes before the one without.
    (numbers.len() >= 2).then(|| (package, (numbers, before.is_empty(), before.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_release_that_should_have_it_mended_brings_an_issue_back() {
        let seen = |release: &str| ["aaa", "bbb", "ccc"].iter().position(|known| *known == release).map(|at| at as i64);
        let back = |resolved: &str, next: bool, release: &str| brings_back(resolved, next, release, seen);
        for (resolved, next, release, expected) in [
            ("", false, "shop@1.0", true),
            ("shop@1.2.0", false, "", true),
            ("shop@1.2.0", false, "shop@1.2.0", true),
            ("shop@1.2.0", true, "shop@1.2.0", false),
            ("shop@1.2.0", false, "shop@1.1.9", false),
            ("shop@1.2.0", false, "shop@1.10.0", true),
            ("shop@1.2.0", false, "shop@1.2.0-rc.1", false),
            ("shop@1.2.0", true, "shop@1.2.1+7", true),
            ("v1.2", false, "1.1", false),
            ("bbb", false, "aaa", false),
            ("bbb", false, "bbb", true),
            ("bbb", true, "bbb", false),
            ("bbb", false, "ccc", true),
            ("bbb", false, "unseen", true),
            ("unseen", false, "aaa", false),
        ] {
            assert_eq!(back(resolved, next, release), expected, "{resolved} {next} {release}");
        }
    }
}
