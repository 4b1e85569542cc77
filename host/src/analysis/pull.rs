//! The pull consumer: an application reads the log as an analyzer does, and says what it found.
//!
//! It asks for records after its cursor, and acknowledges them with its findings: both are one transaction. The cursor moves only then, so what is not acknowledged comes back,
//! and what is acknowledged twice is refused the second time: nothing is lost, nothing is found twice, whoever crashes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tracing::info;
use watchfire_types::{LogRecord, Severity};

use super::Analysis;
use super::admit::admit;
use super::consumer::Records;
use super::filter::Filter;
use super::store;
use super::types::{Commit, Progress};
use crate::http::{ApiError, Params};
use crate::logs::LogFilter;
use crate::logs::matcher::Matcher;
use crate::plugins::{Subscription, wire};
use crate::store::StoreError;
use crate::store::crash::crash_point;

/// Seconds that a question waits for records if it does not say, and at most.
const DEFAULT_WAIT: u64 = 25;
const MAX_WAIT: u64 = 55;
/// Records of one answer if it does not say, and at most.
const DEFAULT_RECORDS: usize = 500;
const MAX_RECORDS: usize = 4_096;
/// Records read from the log at a time, about.
const READ_RECORDS: usize = 4_096;
/// So many records that the filter leaves out end an answer without one: the cursor gets on.
const MAX_LEFT_OUT: u64 = 500_000;
const MAX_NAME_BYTES: usize = 100;
/// Most consumers: each is kept as long as logs are.
const MAX_CONSUMERS: usize = 256;
/// What is put before the name, so that no plugin has it.
pub(super) const PREFIX: &str = "pull:";

#[derive(Clone)]
struct PullApi {
    analysis: Analysis,
    records: Arc<dyn Records>,
    shutdown: CancellationToken,
}

/// Returns the routes of pull consumers. Questions that wait end when `shutdown` is cancelled.
pub fn routes(analysis: Analysis, records: Arc<dyn Records>, shutdown: CancellationToken) -> Router {
    Router::new()
        .route("/api/v1/pull/consumers/{name}/poll", post(poll))
        .route("/api/v1/pull/consumers/{name}/acknowledge", post(acknowledge))
        .with_state(PullApi { analysis, records, shutdown })
}

/// Documentation of these paths.
#[derive(utoipa::OpenApi)]
#[openapi(paths(poll, acknowledge))]
pub struct ApiDoc;

/// Records for an application.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct PulledBatch {
    /// The consumer's cursor: everything up to there is acknowledged. To be sent back.
    pub after: String,
    /// Where the cursor will be. To be sent back. The same as `after` if there was nothing within the time: then there is nothing to acknowledge.
    pub cursor: String,
    /// The records, oldest first.
    pub records: Vec<LogRecord>,
    /// Records after the cursor that retention removed before they were read.
    pub missed: u64,
}

/// What an application has found.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PulledFindings {
    /// As it came.
    pub after: String,
    /// As it came.
    pub cursor: String,
    /// What was found: up to 1,000.
    #[serde(default)]
    pub findings: Vec<PulledFinding>,
}

/// One thing that an application has found.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PulledFinding {
    /// The application's own name for what this is about.
    pub rule: String,
    /// A level: debug, info, warning, error, critical. Default: warning.
    #[serde(default)]
    pub level: Option<String>,
    /// In a few words. Default: the rule.
    #[serde(default)]
    pub title: String,
    /// In some more.
    #[serde(default)]
    pub message: String,
    /// Equal for what is one ongoing thing; empty if it stands alone.
    #[serde(default)]
    pub dedupe_key: String,
    /// 0 to 1: how sure the application is. Default: 1.
    #[serde(default)]
    pub score: Option<f64>,
    /// How often it was seen. Default: 1.
    #[serde(default)]
    pub count: Option<u64>,
    /// Positions (`seq`) of records that it is about, of this answer.
    #[serde(default)]
    pub seqs: Vec<String>,
    /// What tells it from others.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// What became of findings.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct FindingsAnswer {
    /// Findings that are stored.
    pub stored: usize,
    /// Findings, labels and positions that were dropped because they cannot be right.
    pub malformed: u64,
}

fn checked_name(name: &str) -> Result<String, ApiError> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
        return Err(ApiError::bad_request(format!("expected a name of 1 to {MAX_NAME_BYTES} bytes")));
    }
    Ok(format!("{PREFIX}{name}"))
}

fn filter(params: &Params) -> Result<Matcher, ApiError> {
    let text = params.one("q").unwrap_or("").to_owned();
    Matcher::check(&text)
        .map_err(|error| ApiError::bad_request(format!("`q`: {} (character {})", error.message, error.column())))?;
    let level = params.one("level").map(level).transpose().map_err(|reason| ApiError::bad_request(format!("`level`: {reason}")))?;
    let services = params.many("service").map(str::to_owned).collect();
    Ok(Matcher::new(&LogFilter { text, level, services, ..LogFilter::default() }))
}

fn level(text: &str) -> Result<Severity, String> {
    Severity::from_text(text).ok_or_else(|| format!("`{text}` is none of debug, info, warning, error, critical"))
}

impl PullApi {
    /// Returns how far the consumer has come; a new one begins at the end of the log, or at its beginning if it asks for that. There are only so many.
    async fn progress(&self, name: &str, from_start: bool) -> Result<Progress, ApiError> {
        let (wanted, database) = (name.to_owned(), &self.analysis.0.database);
        let end = *self.records.committed().borrow();
        let known = database.read(move |connection| store::progress(connection, &wanted)).await?;
        if let Some(progress) = known.filter(|progress| progress.cursor <= end) {
            return Ok(progress);
        }
        let cursor = if from_start { 0 } else { end };
        let (wanted, now) = (name.to_owned(), self.analysis.0.clock.now());
        // Of two that begin at once the second one finds what the first one stored.
        let begun = database.write(move |transaction| {
            if let Some(progress) = store::progress(transaction, &wanted)?.filter(|progress| progress.cursor <= end) {
                return Ok(Some(progress));
            }
            let consumers = store::cursors(transaction)?;
            if !consumers.contains_key(&wanted) && consumers.keys().filter(|name| name.starts_with(PREFIX)).count() >= MAX_CONSUMERS
            {
                return Ok(None);
            }
            store::begin(transaction, &wanted, cursor, now)?;
            Ok(Some(Progress { began: cursor, cursor, ..Progress::default() }))
        });
        let progress = begun.await?.ok_or_else(|| {
            ApiError::conflict(format!(
                "there are {MAX_CONSUMERS} consumers already: use the name of one that is no longer needed, or wait until it is forgotten, as long as logs are kept"
            ))
        })?;
        info!(consumer = name, cursor, "application `{name}` reads the log");
        Ok(progress)
    }

    /// Reads on after `position`; returns the records that match, how far that was, and what was gone. Blocks on disk.
    fn read(&self, matcher: &Matcher, position: u64, most: usize) -> Result<Read, StoreError> {
        let others = Filter::new(&Subscription::default()).expect("a filter for everything is right");
        let mut read = Read { position, ..Read::default() };
        while read.records.len() < most && read.position - position < MAX_LEFT_OUT {
            let batch = self.records.read_after(read.position, READ_RECORDS)?;
            let (Some(first), Some(last)) = (batch.seq.first(), batch.seq.last()) else { break };
            read.missed += first.saturating_sub(read.position + 1);
            read.position = *last;
            for row in others.rows(&batch) {
                if !matcher.matches(&batch, row) {
                    continue;
                }
                if read.records.len() == most {
                    // The next answer begins with this one.
                    read.position = batch.seq[row] - 1;
                    break;
                }
                read.records.push(batch.record(row));
            }
        }
        Ok(read)
    }
}

#[derive(Default)]
struct Read {
    records: Vec<LogRecord>,
    position: u64,
    missed: u64,
}

/// Asks for the next records after a consumer's cursor, and waits for some. A name that is new begins at the end of the log.
#[utoipa::path(post, path = "/api/v1/pull/consumers/{name}/poll", tag = "analysis", params(
    ("name" = String, Path, description = "the application's name for its analyzer; its findings are those of plugin `pull:NAME`"),
    ("q" = Option<String>, Query, description = "only records that match: words, \"phrases\" and conditions, as a search takes them, without times and pipes"),
    ("level" = Option<String>, Query, description = "least level"),
    ("service" = Option<Vec<String>>, Query, description = "service.name; repeat for any of several"),
    ("limit" = Option<usize>, Query, description = "most records: 500 if not given, up to 4,096"),
    ("wait" = Option<u64>, Query, description = "seconds to wait for records: 25 if not given, up to 55"),
    ("from" = Option<String>, Query, description = "where a new consumer begins: `end` (default) or `start`")),
    responses((status = 200, body = PulledBatch), (status = 400, body = crate::http::error::ErrorBody)))]
async fn poll(State(api): State<PullApi>, Path(name): Path<String>, params: Params) -> Result<Json<PulledBatch>, ApiError> {
    params.only(&["q", "level", "service", "limit", "wait", "from"])?;
    let name = checked_name(&name)?;
    let matcher = Arc::new(filter(&params)?);
    let most = params.number("limit", DEFAULT_RECORDS, MAX_RECORDS)?.max(1);
    let wait = params.number("wait", DEFAULT_WAIT, MAX_WAIT)?;
    let from_start = params.word("from", &["end", "start"])? == Some("start");
    let after = api.progress(&name, from_start).await?.cursor;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(wait);
    let mut committed = api.records.committed();
    let (mut position, mut missed) = (after, 0);
    loop {
        committed.borrow_and_update();
        let (reader, matching) = (api.clone(), Arc::clone(&matcher));
        let reading = tokio::task::spawn_blocking(move || reader.read(&matching, position, most));
        let read = reading.await.map_err(|error| ApiError::internal(&error))??;
        missed += read.missed;
        position = read.position;
        let over = tokio::time::Instant::now() >= deadline || position - after >= MAX_LEFT_OUT || api.shutdown.is_cancelled();
        if !read.records.is_empty() || missed > 0 || over {
            let (after, cursor) = (after.to_string(), position.to_string());
            return Ok(Json(PulledBatch { after, cursor, records: read.records, missed }));
        }
        tokio::select! {
            _ = committed.changed() => {}
            () = tokio::time::sleep_until(deadline) => {}
            () = api.shutdown.cancelled() => {}
        }
    }
}

/// Says what was found in records, and that they need not come again: findings and cursor are stored together.
#[utoipa::path(post, path = "/api/v1/pull/consumers/{name}/acknowledge", tag = "analysis",
    params(("name" = String, Path, description = "the application's name for its analyzer")), request_body = PulledFindings,
    responses(
        (status = 200, body = FindingsAnswer),
        (status = 400, body = crate::http::error::ErrorBody),
        (status = 409, body = crate::http::error::ErrorBody, description = "The cursor is elsewhere by now: these records are acknowledged already, or somebody else has this name.")))]
async fn acknowledge(State(api): State<PullApi>, Path(name): Path<String>, body: Bytes) -> Result<Json<FindingsAnswer>, ApiError> {
    let name = checked_name(&name)?;
    let said: PulledFindings =
        serde_json::from_slice(&body).map_err(|error| ApiError::bad_request(format!("expected findings in JSON: {error}")))?;
    let number = |key: &str, text: &str| {
        text.parse::<u64>()
            .map_err(|_| ApiError::bad_request(format!("`{key}`: expected the number that came with the records, found `{text}`")))
    };
    let (after, cursor) = (number("after", &said.after)?, number("cursor", &said.cursor)?);
    let end = *api.records.committed().borrow();
    if cursor < after || cursor > end {
        return Err(ApiError::bad_request(format!("`cursor`: expected {after} to {end}, found {cursor}")));
    }
    let findings = said.findings.into_iter().enumerate();
    let findings: Result<Vec<wire::Finding>, ApiError> = findings
        .map(|(index, finding)| finding.into_wire().map_err(|reason| ApiError::bad_request(format!("findings[{index}].{reason}"))))
        .collect();
    let analysis = wire::Analysis { findings: findings?, metrics: Vec::new(), extra: Vec::new() };
    let admitted = admit(analysis, after + 1..=cursor);
    let (stored, malformed, now) = (admitted.findings.len(), admitted.malformed, api.analysis.0.clock.now());
    let plugin = name.clone();
    let written = api.analysis.0.database.write(move |transaction| {
        let Some(progress) = store::progress(transaction, &plugin)?.filter(|progress| progress.cursor == after) else {
            return Ok(None);
        };
        let commit = Commit { cursor, watermark: progress.watermark, findings: admitted.findings, ..Commit::default() };
        let committed = store::commit(transaction, &plugin, "", &commit, now)?;
        if committed.last_position.is_some() {
            store::trim_if_needed(transaction)?;
        }
        Ok(Some(committed))
    });
    let Some(committed) = written.await? else {
        return Err(ApiError::conflict(format!(
            "the cursor of `{name}` is not at {after}: these records are acknowledged already, or somebody else has this name"
        )));
    };
    crash_point("analysis.after_commit");
    if let Some(position) = committed.last_position {
        api.analysis.0.stored.send_if_modified(|last| std::mem::replace(last, position.max(*last)) < position);
    }
    let labels = [("plugin", name.as_str())];
    api.analysis.0.metrics.counter("watchfire_findings_total", &labels).add(stored as u64);
    api.analysis.0.metrics.counter("watchfire_analyzer_malformed_total", &labels).add(malformed);
    api.analysis.0.metrics.gauge("watchfire_analyzer_lag_records", &labels).set(end.saturating_sub(cursor) as f64);
    Ok(Json(FindingsAnswer { stored, malformed }))
}

impl PulledFinding {
    /// Returns it as a component would say it.
    fn into_wire(self) -> Result<wire::Finding, String> {
        let severity = self.level.as_deref().map_or(Ok(Severity::WARN), level).map_err(|reason| format!("level: {reason}"))?;
        let seq = |text: &String| text.parse::<u64>().map_err(|_| format!("seqs: `{text}` is no position"));
        let seqs: Vec<u64> = self.seqs.iter().map(seq).collect::<Result<_, _>>()?;
        Ok(wire::Finding {
            rule: self.rule,
            severity: severity.0,
            title: self.title,
            message: self.message,
            dedupe_key: self.dedupe_key,
            score: self.score.unwrap_or(1.0),
            count: self.count.unwrap_or(1),
            first_seq: seqs.iter().min().copied().unwrap_or(0),
            last_seq: seqs.iter().max().copied().unwrap_or(0),
            first_time: 0,
            last_time: 0,
            sample_seqs: seqs,
            labels: self.labels.into_iter().collect(),
            extra: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(json: serde_json::Value) -> Result<wire::Finding, String> {
        serde_json::from_value::<PulledFinding>(json).map_err(|error| error.to_string())?.into_wire()
    }

    #[test]
    fn a_finding_needs_a_rule_and_nothing_else() {
        let finding = said(serde_json::json!({ "rule": "burst" })).unwrap();
        assert_eq!((finding.severity, finding.count, finding.first_seq), (13, 1, 0));
        let finding =
            said(serde_json::json!({ "rule": "burst", "level": "critical", "seqs": ["7", "5"], "labels": { "ip": "1" } })).unwrap();
        assert_eq!((finding.severity, finding.first_seq, finding.last_seq), (21, 5, 7));
        assert_eq!(
            said(serde_json::json!({ "rule": "x", "level": "loud" })).unwrap_err(),
            "level: `loud` is none of debug, info, warning, error, critical"
        );
        assert_eq!(said(serde_json::json!({ "rule": "x", "seqs": ["a"] })).unwrap_err(), "seqs: `a` is no position");
        assert!(said(serde_json::json!({})).is_err());
    }

    #[test]
    fn names_are_bounded() {
        assert_eq!(checked_name("shop").unwrap(), "pull:shop");
        assert!(checked_name("").is_err() && checked_name(&"x".repeat(101)).is_err());
    }
}
