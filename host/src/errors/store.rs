//! Remembers issues: the engine's SQL. All functions run inside a transaction of their caller.

use std::collections::BTreeMap;

use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};
use watchfire_types::{Severity, Timestamp};

use super::decisions::{self, Decision};
use super::engine::{Occurrences, hour};
use super::fingerprint::Grouping;
use super::hashes::{self, Found};
use super::search::Search;
use super::tags;
use super::types::{ErrorEvent, ErrorStatistics, Issue, IssueChange, IssueDetail, IssueStatus, MergedIssue, Share, TopIssue};
use super::users::Users;
use crate::alerts::events::Event;
use crate::store::columns::{json, nanos, optional_time, time, to_json};

/// Most issues: beyond, those that are longest silent are forgotten, ignored ones last.
const MAX_ISSUES: i64 = 20_000;
/// How many are forgotten at a time.
const FORGET: i64 = 1_000;
/// Most rows of what happened to issues.
const MAX_EVENTS: i64 = 50_000;
/// Hours of counts that are kept.
pub const KEPT_HOURS: u64 = 30 * 24;
/// Most entries of a list of shares, without the one for all others.
const MAX_SHARES: usize = 20;
/// Hours that a list shows of each issue.
const SHOWN_HOURS: u64 = 24;

/// What a batch has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Issues that are new.
    pub new: u64,
    /// Resolved ones that have come back.
    pub regressed: u64,
    /// Position of the last event.
    pub position: u64,
}

/// Returns up to where the log has been read; `None` before the first time.
pub fn cursor(connection: &Connection) -> rusqlite::Result<Option<u64>> {
    let seq: Option<i64> = connection.query_row("SELECT seq FROM errors_cursor", [], |row| row.get(0)).optional()?;
    Ok(seq.map(|seq| seq as u64))
}

/// Stores up to where the log has been read.
pub fn set_cursor(connection: &Connection, seq: u64) -> rusqlite::Result<()> {
    connection.prepare_cached("INSERT OR REPLACE INTO errors_cursor VALUES (1, ?1)")?.execute([seq as i64])?;
    Ok(())
}

/// Forgets positions in a log that has begun anew.
pub fn begin_anew(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("UPDATE issues SET resolved_seq = 0 WHERE resolved_seq IS NOT NULL", [])?;
    set_cursor(connection, 0)
}

/// Counts what the log has up to record `through`, and stores that it is counted.
pub fn apply(connection: &Connection, issues: &BTreeMap<String, Found>, through: u64, now: Timestamp) -> rusqlite::Result<Applied> {
    let mut applied = Applied::default();
    // What is told of them is told in the order of the log.
    let mut issues: Vec<_> = issues.iter().collect();
    issues.sort_by_key(|(_, found)| found.occurrences.seqs.0);
    for (id, found) in issues {
        match count(connection, id, &found.occurrences, now)? {
            Some("new") => applied.new += 1,
            Some(_) => applied.regressed += 1,
            None => {}
        }
        hashes::note(connection, id, &found.hashes, now)?;
        for (hour, count) in &found.occurrences.hours {
            connection
                .prepare_cached(
                    "INSERT INTO issue_hours VALUES (?1, ?2, ?3) ON CONFLICT (issue, hour) DO UPDATE SET count = count + excluded.count",
                )?
                .execute(params![id, *hour as i64, *count as i64])?;
        }
        tags::add(connection, id, &found.occurrences)?;
    }
    set_cursor(connection, through)?;
    if applied.new + applied.regressed > 0 {
        forget(connection)?;
    }
    applied.position = last_position(connection)?;
    Ok(applied)
}

/// What decides whether an event brings an issue back.
struct Standing {
    /// The issue as which it is shown.
    shown: String,
    status: String,
    resolved_seq: i64,
    resolved_release: String,
    resolved_next: bool,
    ignored_until: Option<i64>,
    ignored_count: Option<i64>,
}

fn standing(connection: &Connection, id: &str) -> rusqlite::Result<Option<Standing>> {
    connection
        .prepare_cached(
            "SELECT i.id, i.status, i.resolved_seq, i.resolved_release, i.resolved_next, i.ignored_until, i.ignored_count
             FROM issues own JOIN issues i ON i.id = coalesce(own.merged_into, own.id) WHERE own.id = ?1",
        )?
        .query_row([id], |row| {
            Ok(Standing {
                shown: row.get(0)?,
                status: row.get(1)?,
                resolved_seq: row.get::<_, Option<i64>>(2)?.unwrap_or(0),
                resolved_release: row.get(3)?,
                resolved_next: row.get(4)?,
                ignored_until: row.get(5)?,
                ignored_count: row.get(6)?,
            })
        })
        .optional()
}

/// Adds to one issue; returns what happened to it, as far as that is an event.
fn count(connection: &Connection, id: &str, issue: &Occurrences, now: Timestamp) -> rusqlite::Result<Option<&'static str>> {
    let known = standing(connection, id)?;
    let grouped = &issue.grouped;
    let service = &grouped.grouping.service;
    tags::note_releases(connection, service, issue)?;
    let (first_seen, last_seen) = issue.seen;
    let sample = issue.sample().map(|event| ErrorEvent { details: None, ..event.clone() });
    let users = if issue.users == Users::default() { None } else { Some(&issue.users) };
    let users = users.map(|users| {
        let stored: Option<Vec<u8>> =
            connection.prepare_cached("SELECT users FROM issues WHERE id = ?1")?.query_row([id], |row| row.get(0)).optional()?;
        let mut all = Users::from_bytes(&stored.unwrap_or_default());
        all.merge(users);
        Ok::<_, rusqlite::Error>(all.to_bytes())
    });
    connection
        .prepare_cached(
            "INSERT INTO issues (id, fingerprint, service, kind, title, culprit, severity, status, first_seen, last_seen, count,
                                 first_seq, last_seq, grouping, sample, users)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'unresolved', ?8, ?9, ?10, ?11, ?12, ?13, ?14, coalesce(?15, x''))
             ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, title = excluded.title, culprit = excluded.culprit,
                 severity = excluded.severity, first_seen = min(first_seen, excluded.first_seen),
                 last_seen = max(last_seen, excluded.last_seen), count = count + excluded.count, last_seq = excluded.last_seq,
                 grouping = excluded.grouping, sample = excluded.sample, users = coalesce(?15, users)",
        )?
        .execute(params![
            id,
            grouped.fingerprint,
            service,
            issue.kind,
            grouped.title,
            grouped.culprit,
            issue.severity,
            nanos(first_seen),
            nanos(last_seen),
            issue.count as i64,
            issue.seqs.0 as i64,
            issue.seqs.1 as i64,
            to_json(&grouped.grouping)?,
            sample.as_ref().map_or_else(|| Ok(String::new()), to_json)?,
            users.transpose()?,
        ])?;
    let kind = match &known {
        None => Some("new"),
        Some(standing) => came_back(connection, standing, service, issue, now)?,
    };
    let shown = known.as_ref().map_or(id, |standing| standing.shown.as_str());
    if kind.is_some_and(|kind| kind != "new") {
        decisions::decide(connection, shown, &Decision::Unresolve, 0, now)?;
    }
    if let Some(kind) = kind {
        connection
            .prepare_cached(
                "INSERT INTO issue_events (issue, at, kind, severity, service, type, title, culprit, count)
                 SELECT id, ?2, ?3, severity, service, kind, title, culprit,
                     (SELECT sum(count) FROM issues m WHERE m.id = i.id OR m.merged_into = i.id)
                 FROM issues i WHERE id = ?1",
            )?
            .execute(params![shown, nanos(now), kind])?;
    }
    Ok(kind)
}

/// Returns what happens to an issue because of `issue`'s events: it was resolved and has regressed, or has been ignored for long enough.
fn came_back(
    connection: &Connection,
    standing: &Standing,
    service: &str,
    issue: &Occurrences,
    now: Timestamp,
) -> rusqlite::Result<Option<&'static str>> {
    match standing.status.as_str() {
        "resolved" => {
            let first_seen = |release: &str| tags::first_seen(connection, service, release).ok().flatten();
            let later = issue.releases.iter().filter(|(_, (seq, ..))| *seq as i64 > standing.resolved_seq);
            let back = later.into_iter().any(|(release, _)| {
                decisions::brings_back(&standing.resolved_release, standing.resolved_next, release, first_seen)
            });
            Ok(back.then_some("regressed"))
        }
        "ignored" => {
            let is_over = standing.ignored_until.is_some_and(|until| nanos(now) >= until)
                || match standing.ignored_count {
                    Some(most) => decisions::family_count(connection, &standing.shown)? >= most,
                    None => false,
                };
            Ok(is_over.then_some("unignored"))
        }
        _ => Ok(None),
    }
}

/// Keeps the tables bounded, whatever is sent.
fn forget(connection: &Connection) -> rusqlite::Result<()> {
    let count: i64 = connection.query_row("SELECT count(*) FROM issues", [], |row| row.get(0))?;
    if count > MAX_ISSUES {
        connection.execute(
            "DELETE FROM issues WHERE id IN (SELECT id FROM issues WHERE id NOT IN (SELECT merged_into FROM issues WHERE merged_into IS NOT NULL)
                 ORDER BY status = 'ignored', last_seen, id LIMIT ?1)",
            [count - MAX_ISSUES + FORGET],
        )?;
    }
    connection.execute("DELETE FROM issue_events WHERE position <= (SELECT max(position) FROM issue_events) - ?1", [MAX_EVENTS])?;
    Ok(())
}

/// Drops counts of hours that nobody asks for any more.
pub fn prune(connection: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM issue_hours WHERE hour < ?1", [hour(now).saturating_sub(KEPT_HOURS) as i64])?;
    hashes::prune(connection, now)?;
    tags::prune(connection)?;
    Ok(())
}

/// Returns how many issues have each status.
pub fn statuses(connection: &Connection) -> rusqlite::Result<Vec<(IssueStatus, u64)>> {
    let mut statement = connection.prepare_cached("SELECT count(*) FROM issues WHERE status = ?1 AND merged_into IS NULL")?;
    IssueStatus::ALL
        .iter()
        .map(|status| Ok((*status, statement.query_row([status.name()], |row| row.get::<_, i64>(0))? as u64)))
        .collect()
}

/// What a list of issues is asked for.
#[derive(Clone, Debug)]
pub struct IssueQuery {
    /// Only those with this status.
    pub status: Option<&'static str>,
    /// Only those of one of these services, if any is named.
    pub services: Vec<String>,
    /// Only those that this means.
    pub search: Search,
    /// Only those that occurred then or later.
    pub since: Option<Timestamp>,
    /// `last_seen`, `first_seen` or `count`: the greatest first.
    pub sort: &'static str,
    /// Most rows.
    pub limit: usize,
}

/// Issues `i` with what is merged into them summed up.
const FAMILIES: &str = "WITH families AS (
    SELECT coalesce(merged_into, id) AS root, sum(count) AS total, min(first_seen) AS began, max(last_seen) AS ended,
           min(first_seq) AS lowest, max(last_seq) AS highest, count(*) - 1 AS merged
    FROM issues GROUP BY root)
 SELECT i.*, total, began, ended, lowest, highest, merged FROM issues i JOIN families ON root = i.id";

/// Returns issues.
pub fn issues(connection: &Connection, query: &IssueQuery, now: Timestamp) -> rusqlite::Result<Vec<Issue>> {
    let mut sql = format!("{FAMILIES} WHERE 1");
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    if let Some(status) = query.status {
        sql.push_str(" AND i.status = ?");
        values.push(Box::new(status));
    }
    if !query.services.is_empty() {
        sql.push_str(" AND i.service IN (SELECT value FROM json_each(?))");
        values.push(Box::new(to_json(&query.services)?));
    }
    query.search.conditions(&mut sql, &mut values);
    if let Some(since) = query.since {
        sql.push_str(" AND ended >= ?");
        values.push(Box::new(nanos(since)));
    }
    let order = match query.sort {
        "first_seen" => "began",
        "count" => "total",
        _ => "ended",
    };
    sql.extend([" ORDER BY ", order, " DESC, i.id LIMIT ?"]);
    values.push(Box::new(query.limit as i64));
    let mut statement = connection.prepare(&sql)?;
    let rows = statement.query_map(params_from_iter(values.iter()), issue)?;
    let mut issues = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    for issue in &mut issues {
        complete(connection, issue, now)?;
    }
    Ok(issues)
}

/// Adds what lies in other tables, or in the rows of what is merged into it.
fn complete(connection: &Connection, issue: &mut Issue, now: Timestamp) -> rusqlite::Result<()> {
    issue.hourly = hourly(connection, &issue.id, now)?;
    let mut users = Users::default();
    let mut statement = connection.prepare_cached("SELECT users FROM issues WHERE id = ?1 OR merged_into = ?1")?;
    let mut rows = statement.query([&issue.id])?;
    while let Some(row) = rows.next()? {
        users.merge(&Users::from_bytes(row.get_ref(0)?.as_blob()?));
    }
    (issue.users, issue.users_exact) = users.count();
    (issue.first_release, issue.last_release) = tags::releases(connection, &issue.id)?;
    Ok(())
}

/// Returns the ids of an issue and of what is merged into it; empty if there is none.
pub fn family(connection: &Connection, id: &str) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare_cached("SELECT id FROM issues WHERE id = ?1 OR merged_into = ?1 ORDER BY id <> ?1, id")?
        .query_map([id], |row| row.get(0))?
        .collect()
}

/// Returns one issue, without the events that are kept of it, and its last occurrence. One that is merged is shown as what it is merged into.
pub fn detail(connection: &Connection, id: &str, now: Timestamp) -> rusqlite::Result<Option<(IssueDetail, Option<ErrorEvent>)>> {
    let Some(shown) = decisions::shown_as(connection, id)? else { return Ok(None) };
    let found = connection
        .prepare_cached(&format!("{FAMILIES} WHERE i.id = ?1"))?
        .query_row([&shown], |row| {
            let sample = row.get_ref("sample")?.as_str()?;
            Ok((issue(row)?, json::<Grouping>(row, "grouping")?, serde_json::from_str(sample).ok()))
        })
        .optional()?;
    let Some((mut issue, grouping, sample)) = found else { return Ok(None) };
    complete(connection, &mut issue, now)?;
    let history = connection
        .prepare_cached(
            "SELECT at, kind, count FROM issue_events WHERE issue IN (SELECT id FROM issues WHERE id = ?1 OR merged_into = ?1)
             ORDER BY position DESC LIMIT 100",
        )?
        .query_map([&shown], |row| {
            Ok(IssueChange { at: time(row, "at")?, kind: row.get("kind")?, count: row.get::<_, i64>("count")? as u64 })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let merged = connection
        .prepare_cached("SELECT id, title, count FROM issues WHERE merged_into = ?1 ORDER BY count DESC, id")?
        .query_map([&shown], |row| Ok(MergedIssue { id: row.get(0)?, title: row.get(1)?, count: row.get::<_, i64>(2)? as u64 }))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let detail = IssueDetail {
        tags: tags::of_issue(connection, &shown)?,
        comments: decisions::comments(connection, &shown)?,
        issue,
        grouping,
        events: Vec::new(),
        history,
        merged,
    };
    Ok(Some((detail, sample)))
}

fn issue(row: &Row<'_>) -> rusqlite::Result<Issue> {
    let status: String = row.get("status")?;
    Ok(Issue {
        id: row.get("id")?,
        service: row.get("service")?,
        kind: row.get("kind")?,
        title: row.get("title")?,
        culprit: row.get("culprit")?,
        level: level(row.get("severity")?),
        status: IssueStatus::from_name(&status).unwrap_or(IssueStatus::Unresolved),
        first_seen: time(row, "began")?,
        last_seen: time(row, "ended")?,
        count: row.get::<_, i64>("total")? as u64,
        first_seq: row.get::<_, i64>("lowest")?.to_string(),
        last_seq: row.get::<_, i64>("highest")?.to_string(),
        resolved_at: optional_time(row, "resolved_at")?,
        resolved_in: row.get("resolved_release")?,
        ignored_until: optional_time(row, "ignored_until")?,
        ignored_until_count: row.get::<_, Option<i64>>("ignored_count")?.map(|count| count as u64),
        assigned_to: row.get("assigned_to")?,
        merged: row.get::<_, i64>("merged")? as u64,
        users: 0,
        users_exact: true,
        first_release: String::new(),
        last_release: String::new(),
        hourly: Vec::new(),
    })
}

fn level(severity: u8) -> String {
    Severity(severity).name().to_owned()
}

fn hourly(connection: &Connection, id: &str, now: Timestamp) -> rusqlite::Result<Vec<u64>> {
    let first = (hour(now) + 1).saturating_sub(SHOWN_HOURS);
    let mut counts = vec![0; SHOWN_HOURS as usize];
    let mut statement = connection.prepare_cached(
        "SELECT hour, count FROM issue_hours WHERE issue IN (SELECT id FROM issues WHERE id = ?1 OR merged_into = ?1) AND hour >= ?2",
    )?;
    for row in statement.query_map(params![id, first as i64], hour_and_count)? {
        let (hour, count) = row?;
        if let Some(place) = counts.get_mut((hour - first) as usize) {
            *place += count;
        }
    }
    Ok(counts)
}

fn hour_and_count(row: &Row<'_>) -> rusqlite::Result<(u64, u64)> {
    Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64))
}

/// Returns how many errors there were in the last `hours` hours, the present one included.
pub fn statistics(connection: &Connection, hours: u64, top: usize, now: Timestamp) -> rusqlite::Result<ErrorStatistics> {
    let first = (hour(now) + 1).saturating_sub(hours);
    let since = Timestamp::from_seconds(first * 3600);
    let mut statement = connection.prepare_cached(
        "SELECT i.id AS id, i.title AS title, i.service AS service, i.kind AS kind, i.severity AS severity, i.status AS status,
             min(own.first_seen) AS first_seen, sum(h.count) AS occurred
         FROM issue_hours h JOIN issues own ON own.id = h.issue JOIN issues i ON i.id = coalesce(own.merged_into, own.id)
         WHERE hour >= ?1 GROUP BY i.id ORDER BY occurred DESC, i.id",
    )?;
    let (mut by_type, mut by_service, mut by_level) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut statistics = ErrorStatistics {
        hours,
        since,
        total: 0,
        issues: 0,
        new_issues: 0,
        by_type: Vec::new(),
        by_service: Vec::new(),
        by_level: Vec::new(),
        hourly: vec![0; hours as usize],
        top_issues: Vec::new(),
    };
    let mut rows = statement.query([first as i64])?;
    while let Some(row) = rows.next()? {
        let count = row.get::<_, i64>("occurred")? as u64;
        let (service, status): (String, String) = (row.get("service")?, row.get("status")?);
        statistics.total += count;
        statistics.issues += 1;
        statistics.new_issues += u64::from(time(row, "first_seen")? >= since);
        *by_type.entry(row.get::<_, String>("kind")?).or_insert(0) += count;
        *by_service.entry(service.clone()).or_insert(0) += count;
        *by_level.entry(level(row.get("severity")?)).or_insert(0) += count;
        if statistics.top_issues.len() < top {
            let status = IssueStatus::from_name(&status).unwrap_or(IssueStatus::Unresolved);
            statistics.top_issues.push(TopIssue { id: row.get("id")?, title: row.get("title")?, service, status, count });
        }
    }
    let mut statement = connection.prepare_cached("SELECT hour, sum(count) FROM issue_hours WHERE hour >= ?1 GROUP BY hour")?;
    for row in statement.query_map([first as i64], hour_and_count)? {
        let (hour, count) = row?;
        if let Some(place) = statistics.hourly.get_mut((hour - first) as usize) {
            *place = count;
        }
    }
    (statistics.by_type, statistics.by_service, statistics.by_level) = (shares(by_type), shares(by_service), shares(by_level));
    Ok(statistics)
}

/// Returns the greatest parts first, and all that are small as one.
fn shares(parts: BTreeMap<String, u64>) -> Vec<Share> {
    let mut shares: Vec<Share> = parts.into_iter().map(|(name, count)| Share { name, count }).collect();
    shares.sort_by_key(|share| std::cmp::Reverse(share.count));
    if shares.len() > MAX_SHARES {
        let others = shares.split_off(MAX_SHARES).iter().map(|share| share.count).sum();
        shares.push(Share { name: "(others)".to_owned(), count: others });
    }
    shares
}

/// Returns the position of the last event; 0 if there is none.
pub fn last_position(connection: &Connection) -> rusqlite::Result<u64> {
    let last: Option<i64> =
        connection.query_row("SELECT seq FROM sqlite_sequence WHERE name = 'issue_events'", [], |row| row.get(0)).optional()?;
    Ok(last.unwrap_or(0) as u64)
}

/// Returns at most `limit` events after `position`.
pub fn events_after(connection: &Connection, position: u64, limit: usize) -> rusqlite::Result<Vec<Event>> {
    connection
        .prepare_cached("SELECT * FROM issue_events WHERE position > ?1 ORDER BY position LIMIT ?2")?
        .query_map(params![position as i64, limit as i64], event)?
        .collect()
}

fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
    let (issue, title, culprit): (String, String, String) = (row.get("issue")?, row.get("title")?, row.get("culprit")?);
    let labels = [("service", row.get("service")?), ("type", row.get("type")?), ("issue", issue.clone())];
    let message = if culprit.is_empty() { title.clone() } else { format!("{title} (at {culprit})") };
    Ok(Event {
        position: row.get::<_, i64>("position")? as u64,
        at: time(row, "at")?,
        severity: Severity(row.get("severity")?),
        source: "errors".to_owned(),
        kind: row.get("kind")?,
        key: issue,
        title,
        message,
        labels: labels.into_iter().map(|(key, value): (&str, String)| (key.to_owned(), value)).collect(),
        count: row.get::<_, i64>("count")? as u64,
    })
}

/// Returns the position before the first event that was stored at `at` or later.
pub fn position_at(connection: &Connection, at: Timestamp) -> rusqlite::Result<u64> {
    let first: Option<i64> =
        connection.query_row("SELECT min(position) FROM issue_events WHERE at >= ?1", [nanos(at)], |row| row.get(0))?;
    first.map_or_else(|| last_position(connection), |first| Ok(first as u64 - 1))
}
