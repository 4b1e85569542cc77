//! The report: gathers what the engines know of a number of hours. How it reads is `watchfire-report`'s.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use tokio::sync::Semaphore;
use watchfire_report::html::{self, CONTENT_SECURITY_POLICY};
use watchfire_report::trend::{self, Series};
use watchfire_report::types::{
    AlertLine, AnomalyLine, Bin, Errors as ErrorsPart, IssueLine, LevelCount, MetricTrend, NewPatternLine, Note, PatternLine,
    Point, SourceCount, Volume,
};
use watchfire_report::{Lang, Report, TimeZone, markdown};
use watchfire_types::{MetricKind, Severity, Timestamp};

use crate::alerts::Alerts;
use crate::analysis::Analysis;
use crate::analysis::detectors::texts;
use crate::analysis::detectors::types::HeadSource as _;
use crate::clock::Clock;
use crate::errors::Errors;
use crate::http::{ApiError, Params};
use crate::logs::Logs;
use crate::metrics::Metrics;
use crate::store::StoreError;

/// Hours of a report that does not say, and most of them.
const DEFAULT_HOURS: u64 = 24;
const MAX_HOURS: u64 = 31 * 24;
/// Bars of the chart, about.
const BINS: u64 = 96;
/// Rows of each list.
const MAX_SOURCES: usize = 30;
const MAX_PATTERNS: usize = 20;
const MAX_ANOMALIES: u32 = 200;
const MAX_ALERTS: u32 = 1_000;
const SHOWN_ALERTS: usize = 100;
const MAX_ISSUES: usize = 15;
const MAX_SERIES: usize = 12;
/// Days before that metrics are compared with.
const DAYS_BEFORE: u64 = 7;
/// Samples of one series that a trend is made of, at most.
const MAX_SAMPLES: usize = 40_000;
/// Reports made at a time; others wait.
const AT_ONCE: usize = 2;

/// What a report is made from.
#[derive(Clone)]
pub struct Reporter {
    /// The log.
    pub logs: Logs,
    /// Metrics.
    pub metrics: Metrics,
    /// Issues.
    pub errors: Errors,
    /// Alerts.
    pub alerts: Alerts,
    /// What is unusual.
    pub analysis: Analysis,
    /// The clock.
    pub clock: Clock,
}

/// Documentation of these paths.
#[derive(utoipa::OpenApi)]
#[openapi(paths(report))]
pub struct ApiDoc;

#[derive(Clone)]
struct ReportApi {
    reporter: Reporter,
    room: Arc<Semaphore>,
}

/// Returns the route of the report.
pub fn routes(reporter: Reporter) -> Router {
    Router::new().route("/api/v1/report", get(report)).with_state(ReportApi { reporter, room: Arc::new(Semaphore::new(AT_ONCE)) })
}

/// Reports what happened in the last hours: volumes, patterns, what was unusual, errors, alerts, and how the machine's metrics go.
#[utoipa::path(get, path = "/api/v1/report", tag = "analysis", params(
    ("hours" = Option<u64>, Query, description = "how many hours: 24 if not given, up to 744"),
    ("format" = Option<String>, Query, description = "`json` (default), `markdown` or `html`: one file, without scripts"),
    ("lang" = Option<String>, Query, description = "`en` (default) or `zh`")),
    responses(
        (status = 200, body = Report, description = "JSON, text/markdown or text/html"),
        (status = 400, body = crate::http::error::ErrorBody)))]
async fn report(State(api): State<ReportApi>, params: Params) -> Result<Response, ApiError> {
    params.only(&["hours", "format", "lang"])?;
    let hours = params.number("hours", DEFAULT_HOURS, MAX_HOURS)?;
    if hours == 0 {
        return Err(ApiError::bad_request("`hours`: a report of no hours? at least 1"));
    }
    let format = params.word("format", &["json", "markdown", "html"])?.unwrap_or("json");
    let lang = match params.one("lang") {
        None => Lang::En,
        Some(name) => Lang::from_name(name).ok_or_else(|| ApiError::bad_request(format!("`lang`: `{name}` is none of en, zh")))?,
    };
    let _room = api.room.acquire().await.map_err(|error| ApiError::internal(&error))?;
    let made = tokio::task::spawn_blocking(move || {
        let report = api.reporter.gather(hours)?;
        let zone = TimeZone::system();
        Ok::<_, StoreError>(match format {
            "html" => Made::Text("text/html; charset=utf-8", html::render(&report, lang, &zone)),
            "markdown" => Made::Text("text/markdown; charset=utf-8", markdown::render(&report, lang, &zone)),
            _ => Made::Data(Box::new(report)),
        })
    });
    Ok(match made.await.map_err(|error| ApiError::internal(&error))?? {
        Made::Data(report) => Json(report).into_response(),
        Made::Text(kind, text) => {
            let headers = [
                (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
                (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY)),
                (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            ];
            (headers, text).into_response()
        }
    })
}

enum Made {
    Data(Box<Report>),
    Text(&'static str, String),
}

/// Records counted over one period.
#[derive(Default)]
struct Counted {
    total: u64,
    /// By severity number.
    levels: BTreeMap<u8, u64>,
    /// All, and errors.
    sources: BTreeMap<String, (u64, u64)>,
    /// All, and the greatest severity number.
    patterns: BTreeMap<(String, u64), (u64, u8)>,
}

impl Reporter {
    /// Gathers a report of the last `hours`. Blocks on disk.
    ///
    /// # Errors
    /// The stores'.
    pub fn gather(&self, hours: u64) -> Result<Report, StoreError> {
        let now = self.clock.now();
        // Whole minutes, the present one included.
        let until = Timestamp::from_seconds((now.as_nanos() / 60_000_000_000 + 1) * 60);
        let span = Duration::from_secs(hours * 3_600);
        let since = until.minus(span);
        let mut notes = Vec::new();
        let bin_minutes = (hours * 60).div_ceil(BINS).max(1);
        let (counted, over_time) = self.count(since, until, Some(bin_minutes))?;
        let (before, _) = self.count(since.minus(span), since, None)?;
        let before = (before.total > 0).then_some(before);
        if before.is_none() {
            notes.push(Note::NoPreviousPeriod);
        }
        let top_patterns = self.top_patterns(&counted, before.as_ref());
        if top_patterns.is_empty() && counted.total > 0 {
            notes.push(Note::NoPatterns);
        }
        if self.analysis.detectors().state().is_none() {
            notes.push(Note::NoDetectors);
        }
        let found = self.analysis.anomalies(since, until, MAX_ANOMALIES)?;
        let mut anomalies: Vec<AnomalyLine> =
            found.into_iter().filter(|found| !found.muted).map(|found| anomaly_line(texts::view(found))).collect();
        anomalies.sort_by_key(|line| (line.until.is_some(), std::cmp::Reverse((line.severity_number, line.since))));
        Ok(Report {
            generated_at: now,
            since,
            until,
            hours,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            volume: volume(&counted, before.as_ref(), over_time),
            top_patterns,
            new_patterns: self.new_patterns(since),
            anomalies,
            errors: self.errors(hours)?,
            alerts: self.alerts(since, until)?,
            metrics: self.trends(since, until),
            notes,
        })
    }

    fn count(&self, since: Timestamp, until: Timestamp, bin_minutes: Option<u64>) -> Result<(Counted, Vec<Bin>), StoreError> {
        let first = since.as_nanos() / 60_000_000_000;
        let minutes = until.since(since).as_secs() / 60;
        let width = bin_minutes.unwrap_or(minutes.max(1));
        let start = |bin: u64| Timestamp::from_seconds((first + bin * width) * 60);
        let mut bins: Vec<Bin> = (0..minutes.div_ceil(width)).map(|bin| Bin { start: start(bin), ..Bin::default() }).collect();
        let mut counted = Counted::default();
        self.logs.summaries(since, until, &mut |row| {
            counted.total += row.count;
            *counted.levels.entry(row.severity).or_default() += row.count;
            let is_error = row.severity >= Severity::ERROR.0;
            if !counted.sources.contains_key(row.service) {
                counted.sources.insert(row.service.to_owned(), (0, 0));
            }
            if let Some(source) = counted.sources.get_mut(row.service) {
                source.0 += row.count;
                source.1 += if is_error { row.count } else { 0 };
            }
            if row.pattern != 0 {
                let pattern = counted.patterns.entry((row.service.to_owned(), row.pattern)).or_default();
                *pattern = (pattern.0 + row.count, pattern.1.max(row.severity));
            }
            if let Some(bin) = bins.get_mut((row.minute.saturating_sub(first) / width) as usize) {
                match row.severity {
                    severity if severity >= Severity::ERROR.0 => bin.errors += row.count,
                    severity if severity >= Severity::WARN.0 => bin.warnings += row.count,
                    _ => bin.others += row.count,
                }
            }
        })?;
        Ok((counted, bins))
    }

    /// Returns the template of a pattern, or else a line of it.
    fn template(&self, source: &str, pattern: u64) -> String {
        let line = || {
            let known = self.analysis.known_pattern(source, pattern)?;
            self.logs.line(known.seqs.1).or_else(|| self.logs.line(known.seqs.0))
        };
        self.logs.template(source, pattern).or_else(line).unwrap_or_default()
    }

    fn top_patterns(&self, counted: &Counted, before: Option<&Counted>) -> Vec<PatternLine> {
        let mut top: Vec<_> = counted.patterns.iter().collect();
        top.sort_by_key(|(key, (count, _))| (std::cmp::Reverse(*count), (*key).clone()));
        let line = |((source, pattern), (count, severity)): (&(String, u64), &(u64, u8))| PatternLine {
            pattern: pattern.to_string(),
            level: Severity(*severity).name().to_owned(),
            template: self.template(source, *pattern),
            count: *count,
            previous: before.map(|before| before.patterns.get(&(source.clone(), *pattern)).map_or(0, |known| known.0)),
            source: source.clone(),
        };
        top.into_iter().take(MAX_PATTERNS).map(line).collect()
    }

    fn new_patterns(&self, since: Timestamp) -> Vec<NewPatternLine> {
        let new = self.analysis.new_patterns(since, MAX_PATTERNS);
        let line = |(source, pattern, known): (String, u64, watchfire_anomalies::engine::Known)| NewPatternLine {
            pattern: pattern.to_string(),
            level: Severity(known.severity).name().to_owned(),
            template: self.template(&source, pattern),
            first_seen: texts::start(known.first),
            count: known.total,
            source,
        };
        new.into_iter().map(line).collect()
    }

    fn errors(&self, hours: u64) -> Result<ErrorsPart, StoreError> {
        let statistics = self.errors.statistics(hours, MAX_ISSUES)?;
        let line = |issue: &crate::errors::types::TopIssue| IssueLine {
            id: issue.id.clone(),
            title: issue.title.clone(),
            service: issue.service.clone(),
            status: issue.status.name().to_owned(),
            count: issue.count,
        };
        Ok(ErrorsPart {
            total: statistics.total,
            issues: statistics.issues,
            new_issues: statistics.new_issues,
            top: statistics.top_issues.iter().map(line).collect(),
        })
    }

    fn alerts(&self, since: Timestamp, until: Timestamp) -> Result<Vec<AlertLine>, StoreError> {
        let mut lines: Vec<AlertLine> = Vec::new();
        for alert in self.alerts.list(MAX_ALERTS)? {
            let Some(fired) = alert.fired_at.filter(|fired| *fired < until) else { continue };
            let ended = alert.resolved_at.filter(|resolved| *resolved >= fired && alert.state != "firing");
            if ended.is_some_and(|ended| ended < since) || (alert.state != "firing" && ended.is_none()) {
                continue;
            }
            let title = alert.annotations.get("summary").or_else(|| alert.annotations.get("title")).cloned();
            lines.push(AlertLine {
                rule: alert.rule,
                level: alert.level,
                title: title.unwrap_or(alert.condition),
                started_at: fired,
                ended_at: ended,
            });
        }
        lines.sort_by_key(|line| std::cmp::Reverse(line.started_at));
        lines.truncate(SHOWN_ALERTS);
        Ok(lines)
    }

    fn trends(&self, since: Timestamp, until: Timestamp) -> Vec<MetricTrend> {
        let from = since.minus(Duration::from_secs(DAYS_BEFORE * 86_400));
        let mut trends = Vec::new();
        let percents = ["system.cpu_percent", "system.memory_percent", "system.disk_usage_percent"];
        for name in percents.into_iter().chain(["system.process_count", "system.network_io"]) {
            let found = self.metrics.query_blocking(name, &[], from, until, MAX_SAMPLES).unwrap_or_default();
            let mut of_name = Vec::new();
            for data in found {
                let label = |name: &str| {
                    data.series.labels.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str()).to_owned()
                };
                let is_rate = data.kind == MetricKind::Counter;
                if label("device") == "lo" {
                    continue;
                }
                let what = match name {
                    "system.disk_usage_percent" => label("mountpoint"),
                    "system.network_io" => format!("{} {}", label("device"), label("direction")),
                    _ => String::new(),
                };
                let samples = if is_rate { rates(&data.samples) } else { points(&data.samples) };
                let unit = if percents.contains(&name) {
                    "%"
                } else if is_rate {
                    "By/s"
                } else {
                    ""
                };
                let fills = name == "system.disk_usage_percent";
                let series = Series { name: name.to_owned(), what, unit: unit.to_owned(), fills, samples };
                of_name.extend(trend::trend(series, since, until));
            }
            // Of many, the fullest, or those with most traffic.
            of_name.sort_by(|a, b| b.max.total_cmp(&a.max));
            of_name.truncate(MAX_SERIES);
            trends.append(&mut of_name);
        }
        trends
    }
}

fn points(samples: &[watchfire_types::Sample]) -> Vec<Point> {
    samples.iter().map(|sample| Point { at: sample.timestamp, value: sample.value }).collect()
}

/// Returns how fast a counter grew; where it began anew, nothing.
fn rates(samples: &[watchfire_types::Sample]) -> Vec<Point> {
    let rate = |pair: &[watchfire_types::Sample]| {
        let (before, after) = (&pair[0], &pair[1]);
        let seconds = after.timestamp.since(before.timestamp).as_secs_f64();
        (after.value >= before.value && seconds > 0.0)
            .then(|| Point { at: after.timestamp, value: (after.value - before.value) / seconds })
    };
    samples.windows(2).filter_map(rate).collect()
}

fn volume(counted: &Counted, before: Option<&Counted>, over_time: Vec<Bin>) -> Volume {
    let mut levels: BTreeMap<&str, (u64, u64, u8)> = BTreeMap::new();
    for (severity, count) in &counted.levels {
        let level = levels.entry(Severity(*severity).name()).or_default();
        *level = (level.0 + count, level.1, level.2.max(*severity));
    }
    for (severity, count) in before.iter().flat_map(|before| &before.levels) {
        let level = levels.entry(Severity(*severity).name()).or_default();
        *level = (level.0, level.1 + count, level.2.max(*severity));
    }
    let mut by_level: Vec<_> = levels.into_iter().collect();
    by_level.sort_by_key(|(_, (_, _, severity))| std::cmp::Reverse(*severity));
    let level = |(level, (count, previous, _)): (&str, (u64, u64, u8))| LevelCount {
        level: level.to_owned(),
        count,
        previous: before.map(|_| previous),
    };
    // A source that has stopped is told of, too.
    let mut names: Vec<&String> = counted.sources.keys().collect();
    names.extend(before.iter().flat_map(|before| before.sources.keys()).filter(|name| !counted.sources.contains_key(*name)));
    let source = |name: &String| {
        let (count, errors) = counted.sources.get(name).copied().unwrap_or_default();
        let earlier = before.map(|before| before.sources.get(name).copied().unwrap_or_default());
        SourceCount {
            source: name.clone(),
            count,
            errors,
            previous: earlier.map(|earlier| earlier.0),
            previous_errors: earlier.map(|earlier| earlier.1),
        }
    };
    let mut by_source: Vec<SourceCount> = names.into_iter().map(source).collect();
    by_source.sort_by_key(|line| std::cmp::Reverse((line.count, line.previous)));
    by_source.truncate(MAX_SOURCES);
    Volume {
        total: counted.total,
        previous: before.map(|before| before.total),
        by_level: by_level.into_iter().map(level).collect(),
        by_source,
        over_time,
    }
}

fn anomaly_line(view: crate::analysis::detectors::types::AnomalyView) -> AnomalyLine {
    let expected = view.evidence.expected;
    AnomalyLine {
        id: view.id,
        detector: view.detector.name().to_owned(),
        direction: view.direction,
        source: view.source,
        pattern: view.pattern.unwrap_or_default(),
        template: if view.template.is_empty() { view.line } else { view.template },
        severity_number: view.severity_number,
        since: view.since,
        until: view.until,
        low: expected.map(|expected| expected.low),
        high: expected.map(|expected| expected.high),
        actual: view.evidence.actual,
        p: view.evidence.p,
        samples: view.evidence.samples,
    }
}
