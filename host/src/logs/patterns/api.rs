//! Patterns over HTTP: what the log is made of, how often, and what varies.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use watchfire_types::{LogRecord, Severity, Timestamp};

use super::counts::{Count, Counts, MINUTE, Narrow, Range, Sort, moment};
use super::values::{PatternVariable, Values};
use super::{Merges, PatternInfo};
use crate::clock::Clock;
use crate::http::{ApiError, Params};
use crate::logs::types::MAX_TEXT_BYTES;
use crate::logs::{LogFilter, Logs, SummaryRow};
use crate::store::StoreError;

/// Time that is looked at when none is given.
const DEFAULT_RANGE: Duration = Duration::from_secs(3600);
/// Patterns listed when no number is given, and most of them.
const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 10_000;
/// Steps of a sparkline when no number is given, and most of them.
const DEFAULT_STEPS: u64 = 30;
const MAX_STEPS: u64 = 1_000;
/// Records of one pattern that are read for its variables when no number is given, and most of them.
const DEFAULT_READ: usize = 2_000;
const MAX_READ: usize = 20_000;
/// Newest records shown of one pattern.
const SHOWN: usize = 10;
/// Ids of a merged pattern whose records are searched for, the oldest first.
const SEARCHED: usize = 100;
/// Ids whose templates are looked up at a time.
const LOOK_UP: usize = 10_000;

const FILTER: &[&str] = &["since", "until", "service", "level", "q", "limit", "sort", "steps"];

/// Documentation of these paths.
#[derive(utoipa::OpenApi)]
#[openapi(paths(list, show))]
pub struct ApiDoc;

#[derive(Clone)]
struct PatternsApi {
    logs: Logs,
    clock: Clock,
}

/// Returns the routes of patterns.
pub fn routes(logs: Logs, clock: Clock) -> Router {
    Router::new()
        .route("/api/v1/patterns", get(list))
        .route("/api/v1/patterns/{id}", get(show))
        .with_state(PatternsApi { logs, clock })
}

/// Which patterns the log has in a time range, and how often. Counts are exact: those listed, `other` and `without_pattern` add up to
/// `total`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PatternList {
    /// First moment that is counted: the beginning of a minute.
    pub since: Timestamp,
    /// The moment after the last one: the end of a minute.
    pub until: Timestamp,
    /// Length of a step of `counts`, in seconds.
    pub step_seconds: u64,
    /// Records in the range.
    pub total: u64,
    /// Those whose body is no text, and those that were stored before patterns were.
    pub without_pattern: u64,
    /// Patterns that are not listed because of `limit`.
    pub other: OtherPatterns,
    /// In the order that was asked for.
    pub patterns: Vec<PatternView>,
}

/// What the list leaves out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OtherPatterns {
    /// How many patterns.
    pub patterns: u64,
    /// How many records they have.
    pub count: u64,
}

/// One pattern.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PatternView {
    /// Its id, a decimal string; `pattern:ID` finds its records.
    pub id: String,
    /// Its text, with `<*>` for what varies; empty if it is not known any more.
    pub template: String,
    /// `service.name` of its records; empty for none, absent if several services share it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub service: Option<String>,
    /// Records in the range.
    pub count: u64,
    /// Their share of all records in the range, 0 to 1.
    pub share: f64,
    /// Records in the equally long time before; absent where `q` was given.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub previous_count: Option<u64>,
    /// Event time of its first record ever; absent if that is not known any more.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub first_seen: Option<Timestamp>,
    /// Whether that lies in the range.
    pub new: bool,
    /// The minute of its last record in the range.
    pub last_seen: Timestamp,
    /// Greatest severity of its records in the range.
    pub severity_number: u8,
    /// Records in each step of the range.
    pub counts: Vec<u64>,
    /// One of its lines, shortened.
    pub sample: String,
}

/// All about one pattern.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PatternDetail {
    /// First moment that is counted.
    pub since: Timestamp,
    /// The moment after the last one.
    pub until: Timestamp,
    /// Length of a step of `counts`, in seconds.
    pub step_seconds: u64,
    /// Records of all patterns in the range.
    pub total: u64,
    /// The pattern as the list has it.
    pub pattern: PatternView,
    /// Ids that were given to records before they turned out to be this pattern.
    pub merged: Vec<String>,
    /// Records in the range by severity number.
    pub severities: BTreeMap<u8, u64>,
    /// Records in the range by service.
    pub services: BTreeMap<String, u64>,
    /// Newest records that were read for `variables`, and that the template describes.
    pub examined: u64,
    /// What stands in its holes.
    pub variables: Vec<PatternVariable>,
    /// Its newest records in the range.
    pub records: Vec<LogRecord>,
}

/// Lists patterns of log records with their counts.
#[utoipa::path(get, path = "/api/v1/patterns", tag = "logs",
    params(
        ("since" = Option<String>, Query, description = "RFC 3339, Unix time, or how long ago (`15m`), to the minute; default an hour before `until`"),
        ("until" = Option<String>, Query, description = "as `since`, exclusive; default now"),
        ("service" = Option<Vec<String>>, Query, description = "service.name; repeat for any of several"),
        ("level" = Option<String>, Query, description = "least severity: a word or a number from 1 to 24"),
        ("q" = Option<String>, Query, description = "only records that a search for this finds; they are read, which takes longer than counts by minute do"),
        ("sort" = Option<String>, Query, description = "`count` (default), `rare`, `new` (first seen last), `change` (against the equally long time before), `level`, `last`"),
        ("limit" = Option<usize>, Query, description = "most patterns: 50 if not given, up to 10,000"),
        ("steps" = Option<u64>, Query, description = "most steps of `counts`: 30 if not given, up to 1,000"),
    ),
    responses((status = 200, body = PatternList), (status = 400, body = crate::http::error::ErrorBody)))]
async fn list(State(api): State<PatternsApi>, params: Params) -> Result<Json<PatternList>, ApiError> {
    params.only(FILTER)?;
    let range = range(&params, api.clock.now())?;
    let sort = params.word("sort", Sort::WORDS)?.map_or(Sort::Count, Sort::from_word);
    let limit = params.number("limit", DEFAULT_LIMIT, MAX_LIMIT)?;
    let narrow = Narrow {
        services: params.many("service").map(str::to_owned).collect(),
        level: params.one("level").map(level).transpose()?,
        patterns: None,
    };
    let text = params.one("q").map(str::to_owned);
    if text.as_ref().is_some_and(|text| text.len() > MAX_TEXT_BYTES) {
        return Err(ApiError::bad_request(format!("`q`: expected at most {MAX_TEXT_BYTES} bytes")));
    }
    if sort == Sort::Change && text.is_some() {
        return Err(ApiError::bad_request("`sort`: `change` compares with the time before, which is not counted with `q`"));
    }
    Ok(Json(blocking(move || Asked { logs: &api.logs, range, narrow, text }.list(sort, limit)).await?))
}

/// Shows one pattern: its counts, what varies, its newest records.
#[utoipa::path(get, path = "/api/v1/patterns/{id}", tag = "logs",
    params(
        ("id" = u64, Path, description = "its id; one that was merged leads to the pattern that it is now"),
        ("since" = Option<String>, Query, description = "as for the list; default a day before `until`"),
        ("until" = Option<String>, Query, description = "as `since`, exclusive; default now"),
        ("read" = Option<usize>, Query, description = "newest records that are read for `variables`: 2,000 if not given, up to 20,000"),
        ("steps" = Option<u64>, Query, description = "most steps of `counts`: 30 if not given, up to 1,000"),
    ),
    responses((status = 200, body = PatternDetail), (status = 400, body = crate::http::error::ErrorBody), (status = 404, body = crate::http::error::ErrorBody)))]
async fn show(State(api): State<PatternsApi>, Path(id): Path<String>, params: Params) -> Result<Json<PatternDetail>, ApiError> {
    params.only(&["since", "until", "read", "steps"])?;
    let unknown = || ApiError::not_found(format!("no pattern has the id `{id}`; /api/v1/patterns lists those there are"));
    let id: u64 = id.parse().map_err(|_| unknown())?;
    let range = range(&params, api.clock.now())?;
    let read = params.number("read", DEFAULT_READ, MAX_READ)?;
    let asked = move || {
        let family = api.logs.resolve_patterns(id);
        let narrow = Narrow { patterns: Some(vec![family[0]]), ..Narrow::default() };
        Asked { logs: &api.logs, range, narrow, text: None }.show(&family, read)
    };
    Ok(Json(blocking(asked).await?.ok_or_else(unknown)?))
}

fn range(params: &Params, now: Timestamp) -> Result<Range, ApiError> {
    let until = params.moment("until", now)?.unwrap_or(now);
    let since = params.moment("since", now)?.unwrap_or_else(|| until.minus(DEFAULT_RANGE));
    if since >= until {
        return Err(ApiError::bad_request(format!("the range ends ({until}) before it begins ({since})")));
    }
    let steps = params.number("steps", DEFAULT_STEPS, MAX_STEPS)?;
    Ok(Range::new(since, until, steps.max(1)))
}

fn level(text: &str) -> Result<Severity, ApiError> {
    let number = text.parse().ok().filter(|number| *number <= 24).map(Severity);
    number.or_else(|| Severity::from_text(text)).ok_or_else(|| {
        ApiError::bad_request(format!("`level`: `{text}` is none of trace, debug, info, warn, error, fatal, or 1 to 24"))
    })
}

/// What is asked of the log.
struct Asked<'a> {
    logs: &'a Logs,
    range: Range,
    narrow: Narrow,
    /// A search that the records must match.
    text: Option<String>,
}

impl Asked<'_> {
    fn list(&self, sort: Sort, limit: usize) -> Result<PatternList, StoreError> {
        // A copy: nobody who stores patterns waits for this.
        let merges = self.logs.0.shared.patterns.merges.read().clone();
        let mut counts = Counts::default();
        let since = if self.text.is_none() { self.range.before() } else { self.range.since };
        self.each_row(since, &mut |row| counts.add(row, &self.range, &self.narrow, &merges))?;
        let mut infos = FxHashMap::default();
        if sort == Sort::New {
            let ids: Vec<u64> = counts.by_pattern.keys().copied().collect();
            infos = self.infos(&ids)?;
        }
        let first_seen = |id| infos.get(&id).map_or(0, |info: &PatternInfo| info.first_seen);
        let mut list = counts.sorted(sort, first_seen);
        let rest = list.split_off(limit.min(list.len()));
        let other = OtherPatterns { patterns: rest.len() as u64, count: rest.iter().map(|(_, count)| count.records).sum() };
        let ids: Vec<u64> = list.iter().map(|(id, _)| *id).collect();
        if sort != Sort::New {
            infos = self.infos(&ids)?;
        }
        let mut lines = self.sparklines(&ids, &merges)?;
        let patterns = list.iter().map(|(id, count)| {
            let line = lines.remove(id).unwrap_or_default();
            self.view(*id, count, counts.total, infos.get(id), line)
        });
        Ok(PatternList {
            since: moment(self.range.since),
            until: moment(self.range.until),
            step_seconds: self.range.step * MINUTE,
            total: counts.total,
            without_pattern: counts.without,
            other,
            patterns: patterns.collect(),
        })
    }

    fn show(&self, family: &[u64], read: usize) -> Result<Option<PatternDetail>, StoreError> {
        let id = family[0];
        let merges = self.logs.0.shared.patterns.merges.read().clone();
        let mut counts = Counts::default();
        let (mut total, mut line) = (0, vec![0; self.range.steps()]);
        let (mut severities, mut services) = (BTreeMap::new(), BTreeMap::new());
        self.each_row(self.range.before(), &mut |row| {
            counts.add(row, &self.range, &self.narrow, &merges);
            if !self.range.has(row.minute) {
                return;
            }
            total += row.count;
            if merges.resolve(row.pattern) == id {
                line[self.range.place(row.minute)] += row.count;
                *severities.entry(row.severity).or_default() += row.count;
                *services.entry(row.service.to_owned()).or_default() += row.count;
            }
        })?;
        let info = self.infos(family)?.remove(&id);
        if info.is_none() && counts.total == 0 {
            return Ok(None);
        }
        let any: Vec<String> = family.iter().take(SEARCHED).map(|id| format!("pattern:{id}")).collect();
        let filter = LogFilter {
            text: any.join(" OR "),
            since: Some(moment(self.range.since)),
            until: Some(moment(self.range.until)),
            ..LogFilter::default()
        };
        let mut records = self.logs.search(&filter, read.max(SHOWN))?.all()?;
        let template = info.as_ref().map_or("", |info| info.template.as_str());
        let mut values = Values::new(template);
        for record in records.iter().take(read) {
            if let Some(text) = record.body.as_text() {
                values.add(text.as_bytes());
            }
        }
        records.truncate(SHOWN);
        let examined = values.lines;
        let variables = values.finish();
        let count = counts.by_pattern.remove(&id).unwrap_or_default();
        Ok(Some(PatternDetail {
            since: moment(self.range.since),
            until: moment(self.range.until),
            step_seconds: self.range.step * MINUTE,
            total,
            pattern: self.view(id, &count, total, info.as_ref(), line),
            merged: family[1..].iter().map(u64::to_string).collect(),
            severities,
            services,
            examined,
            variables,
            records,
        }))
    }

    /// Calls `each` with counts from minute `since` on: those that are kept beside blocks, or, where a search says which records are
    /// meant, those of its records.
    fn each_row(&self, since: u64, each: &mut dyn FnMut(&SummaryRow<'_>)) -> Result<(), StoreError> {
        let (since, until) = (moment(since), moment(self.range.until));
        let Some(text) = &self.text else { return self.logs.summaries(since, until, each) };
        let filter = LogFilter {
            text: text.clone(),
            level: self.narrow.level,
            services: self.narrow.services.clone(),
            since: Some(since),
            until: Some(until),
            ..LogFilter::default()
        };
        let mut search = self.logs.search(&filter, usize::MAX)?;
        while let Some(records) = search.step()? {
            for record in records {
                let service = watchfire_types::log::service_of(&record.resource).unwrap_or("");
                each(&SummaryRow {
                    minute: record.timestamp.as_nanos() / 1_000_000_000 / MINUTE,
                    severity: record.severity_number,
                    service,
                    pattern: record.pattern.parse().unwrap_or(0),
                    count: 1,
                });
            }
        }
        Ok(())
    }

    /// Counts `ids` by step.
    fn sparklines(&self, ids: &[u64], merges: &Merges) -> Result<FxHashMap<u64, Vec<u64>>, StoreError> {
        let mut lines: FxHashMap<u64, Vec<u64>> = ids.iter().map(|id| (*id, vec![0; self.range.steps()])).collect();
        self.each_row(self.range.since, &mut |row| {
            let pattern = merges.resolve(row.pattern);
            if let Some(line) = lines.get_mut(&pattern)
                && self.range.has(row.minute)
                && self.narrow.takes(row, pattern)
            {
                line[self.range.place(row.minute)] += row.count;
            }
        })?;
        Ok(lines)
    }

    fn infos(&self, ids: &[u64]) -> Result<FxHashMap<u64, PatternInfo>, StoreError> {
        let mut infos = FxHashMap::default();
        for part in ids.chunks(LOOK_UP) {
            infos.extend(self.logs.patterns(part)?);
        }
        Ok(infos)
    }

    fn view(&self, id: u64, count: &Count, total: u64, info: Option<&PatternInfo>, counts: Vec<u64>) -> PatternView {
        let first_seen = info.map(|info| Timestamp::from_nanos(info.first_seen));
        PatternView {
            id: id.to_string(),
            template: info.map_or_else(String::new, |info| info.template.clone()),
            service: info.and_then(|info| info.service.clone()),
            count: count.records,
            share: if total == 0 { 0.0 } else { count.records as f64 / total as f64 },
            previous_count: self.text.is_none().then_some(count.previous),
            first_seen,
            new: first_seen.is_some_and(|first| (moment(self.range.since)..moment(self.range.until)).contains(&first)),
            last_seen: moment(count.last_minute),
            severity_number: count.worst,
            counts,
            sample: info.map_or_else(String::new, |info| info.sample.clone()),
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, StoreError> + Send + 'static) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|error| ApiError::internal(&error))?;
    Ok(done?)
}
