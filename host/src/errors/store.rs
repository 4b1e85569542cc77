//! Remembers issues: the engine's SQL. All functions run inside a transaction of their caller.

use std::collections::BTreeMap;

use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};
use watchfire_types::{Severity, Timestamp};

use super::engine::{Occurrences, hour};
use super::fingerprint::Grouping;
use super::types::{ErrorEvent, ErrorStatistics, Issue, IssueChange, IssueDetail, IssueStatus, Share, TopIssue};
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
pub fn apply(
    connection: &Connection,
    issues: &BTreeMap<String, Occurrences>,
    through: u64,
    now: Timestamp,
) -> rusqlite::Result<Applied> {
    let mut applied = Applied::default();
    for (id, issue) in issues {
        match count(connection, id, issue, now)? {
            Some("new") => applied.new += 1,
            Some(_) => applied.regressed += 1,
            None => {}
        }
        for (hour, count) in &issue.hours {
            connection
                .prepare_cached(
                    "INSERT INTO issue_hours VALUES (?1, ?2, ?3) ON CONFLICT (issue, hour) DO UPDATE SET count = count + excluded.count",
                )?
                .execute(params![id, *hour as i64, *count as i64])?;
        }
    }
    set_cursor(connection, through)?;
    if applied.new + applied.regressed > 0 {
        forget(connection)?;
    }
    applied.position = last_position(connection)?;
    Ok(applied)
}

/// Adds to one issue; returns what happened to it, if that is an event.
fn count(connection: &Connection, id: &str, issue: &Occurrences, now: Timestamp) -> rusqlite::Result<Option<&'static str>> {
    let known: Option<(String, Option<i64>)> = connection
        .prepare_cached("SELECT status, resolved_seq FROM issues WHERE id = ?1")?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let regressed = known.as_ref().is_some_and(|(status, seq)| status == "resolved" && issue.seqs.1 as i64 > seq.unwrap_or(0));
    let kind = match known {
        None => Some("new"),
        Some(_) => regressed.then_some("regressed"),
    };
    let grouped = &issue.grouped;
    let (first_seen, last_seen) = issue.seen;
    connection
        .prepare_cached(
            "INSERT INTO issues (id, fingerprint, service, kind, title, culprit, severity, status, first_seen, last_seen, count,
                                 first_seq, last_seq, grouping, sample)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'unresolved', ?8, ?9, ?10, ?11, ?12, ?13, ?14)
             ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, title = excluded.title, culprit = excluded.culprit,
                 severity = excluded.severity, first_seen = min(first_seen, excluded.first_seen),
                 last_seen = max(last_seen, excluded.last_seen), count = count + excluded.count, last_seq = excluded.last_seq,
                 sample = excluded.sample",
        )?
        .execute(params![
            id,
            grouped.fingerprint,
            grouped.grouping.service,
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
            issue.sample().map_or_else(|| Ok(String::new()), to_json)?,
        ])?;
    if regressed {
        set_status(connection, id, IssueStatus::Unresolved, 0, now)?;
    }
    if let Some(kind) = kind {
        connection
            .prepare_cached(
                "INSERT INTO issue_events (issue, at, kind, severity, service, type, title, culprit, count)
                 SELECT id, ?2, ?3, severity, service, kind, title, culprit, count FROM issues WHERE id = ?1",
            )?
            .execute(params![id, nanos(now), kind])?;
    }
    Ok(kind)
}

/// Keeps the tables bounded, whatever is sent.
fn forget(connection: &Connection) -> rusqlite::Result<()> {
    let count: i64 = connection.query_row("SELECT count(*) FROM issues", [], |row| row.get(0))?;
    if count > MAX_ISSUES {
        connection.execute(
            "DELETE FROM issues WHERE id IN (SELECT id FROM issues ORDER BY status = 'ignored', last_seen, id LIMIT ?1)",
            [count - MAX_ISSUES + FORGET],
        )?;
    }
    connection.execute("DELETE FROM issue_events WHERE position <= (SELECT max(position) FROM issue_events) - ?1", [MAX_EVENTS])?;
    Ok(())
}

/// Drops counts of hours that nobody asks for any more.
pub fn prune(connection: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM issue_hours WHERE hour < ?1", [hour(now).saturating_sub(KEPT_HOURS) as i64])?;
    Ok(())
}

/// Decides about an issue; `stored` is the last log record that is stored. Returns whether there is such an issue.
pub fn set_status(connection: &Connection, id: &str, status: IssueStatus, stored: u64, now: Timestamp) -> rusqlite::Result<bool> {
    let resolved = (status == IssueStatus::Resolved).then(|| (nanos(now), stored as i64)).unzip();
    let changed = connection
        .prepare_cached("UPDATE issues SET status = ?2, resolved_at = ?3, resolved_seq = ?4 WHERE id = ?1")?
        .execute(params![id, status.name(), resolved.0, resolved.1])?;
    Ok(changed > 0)
}

/// Returns how many issues have each status.
pub fn statuses(connection: &Connection) -> rusqlite::Result<Vec<(IssueStatus, u64)>> {
    let mut statement = connection.prepare_cached("SELECT count(*) FROM issues WHERE status = ?1")?;
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
    /// Only those with this in title, class or culprit, in any case.
    pub text: Option<String>,
    /// Only those that occurred then or later.
    pub since: Option<Timestamp>,
    /// `last_seen`, `first_seen` or `count`: the greatest first.
    pub sort: &'static str,
    /// Most rows.
    pub limit: usize,
}

/// Returns issues.
pub fn issues(connection: &Connection, query: &IssueQuery, now: Timestamp) -> rusqlite::Result<Vec<Issue>> {
    let mut sql = "SELECT * FROM issues WHERE 1".to_owned();
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    if let Some(status) = query.status {
        sql.push_str(" AND status = ?");
        values.push(Box::new(status));
    }
    if !query.services.is_empty() {
        sql.push_str(" AND service IN (SELECT value FROM json_each(?))");
        values.push(Box::new(to_json(&query.services)?));
    }
    if let Some(text) = &query.text {
        sql.push_str(" AND instr(lower(title || ' ' || kind || ' ' || culprit), lower(?)) > 0");
        values.push(Box::new(text.clone()));
    }
    if let Some(since) = query.since {
        sql.push_str(" AND last_seen >= ?");
        values.push(Box::new(nanos(since)));
    }
    // One of three words, never what somebody sent.
    sql.extend([" ORDER BY ", query.sort, " DESC, id LIMIT ?"]);
    values.push(Box::new(query.limit as i64));
    let mut statement = connection.prepare(&sql)?;
    let rows = statement.query_map(params_from_iter(values.iter()), issue)?;
    let mut issues = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    for issue in &mut issues {
        issue.hourly = hourly(connection, &issue.id, now)?;
    }
    Ok(issues)
}

/// Returns one issue, without the events that are kept of it, and its last occurrence.
pub fn detail(connection: &Connection, id: &str, now: Timestamp) -> rusqlite::Result<Option<(IssueDetail, Option<ErrorEvent>)>> {
    let found = connection
        .prepare_cached("SELECT * FROM issues WHERE id = ?1")?
        .query_row([id], |row| {
            let sample = row.get_ref("sample")?.as_str()?;
            Ok((issue(row)?, json::<Grouping>(row, "grouping")?, serde_json::from_str(sample).ok()))
        })
        .optional()?;
    let Some((mut issue, grouping, sample)) = found else { return Ok(None) };
    issue.hourly = hourly(connection, id, now)?;
    let history = connection
        .prepare_cached("SELECT at, kind, count FROM issue_events WHERE issue = ?1 ORDER BY position DESC LIMIT 100")?
        .query_map([id], |row| {
            Ok(IssueChange { at: time(row, "at")?, kind: row.get("kind")?, count: row.get::<_, i64>("count")? as u64 })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(Some((IssueDetail { issue, grouping, events: Vec::new(), history }, sample)))
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
        first_seen: time(row, "first_seen")?,
        last_seen: time(row, "last_seen")?,
        count: row.get::<_, i64>("count")? as u64,
        first_seq: row.get::<_, i64>("first_seq")?.to_string(),
        last_seq: row.get::<_, i64>("last_seq")?.to_string(),
        resolved_at: optional_time(row, "resolved_at")?,
        hourly: Vec::new(),
    })
}

fn level(severity: u8) -> String {
    Severity(severity).name().to_owned()
}

fn hourly(connection: &Connection, id: &str, now: Timestamp) -> rusqlite::Result<Vec<u64>> {
    let first = (hour(now) + 1).saturating_sub(SHOWN_HOURS);
    let mut counts = vec![0; SHOWN_HOURS as usize];
    let mut statement = connection.prepare_cached("SELECT hour, count FROM issue_hours WHERE issue = ?1 AND hour >= ?2")?;
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
        "SELECT id, title, service, kind, severity, status, first_seen, sum(h.count) AS occurred FROM issue_hours h JOIN issues ON id = h.issue
         WHERE hour >= ?1 GROUP BY id ORDER BY occurred DESC, id",
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
