//! What an error event is, and what an issue is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use watchfire_types::attributes::keys;
use watchfire_types::{LogBatch, Severity, Timestamp, ValueRef};

use super::around;
use super::detect::Detector;
use super::fingerprint::{Grouped, Grouping, group};
use super::links::EventLinks;
use super::originals::{self, NoOriginals, Originals, SourceMapUse};
use super::rules::GroupingRules;
use super::stack::{self, cut};
use super::structured::SentryEvent;

/// Bytes kept of a stack trace: half from its beginning, half from its end. The log has all of it.
const MAX_TRACE_BYTES: usize = 32 << 10;
/// Bytes kept of a message and of a body.
const MAX_TEXT_BYTES: usize = 4 << 10;
/// Bytes kept of what an event is found by.
const MAX_TAG_BYTES: usize = 200;
/// Bytes of a text in which a stack trace is looked for.
const MAX_PARSED_BYTES: usize = 256 << 10;

/// One occurrence of an error: a log record with `exception.type`, `exception.message` or `exception.stacktrace` (OpenTelemetry's
/// semantic conventions), or one that carries a stack trace in its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ErrorEvent {
    /// Position of its log record.
    pub seq: String,
    /// When it happened.
    pub timestamp: Timestamp,
    /// `service.name`; empty if not given.
    pub service: String,
    /// OpenTelemetry severity number of the record.
    pub severity_number: u8,
    /// Class of the exception; empty if not given.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it said.
    pub message: String,
    /// Its stack trace as text; empty if not given.
    pub stacktrace: String,
    /// The record's own text; empty if that is the stack trace.
    pub body: String,
    /// 32 hexadecimal digits, or empty.
    pub trace_id: String,
    /// Id that the SDK gave it; empty if there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub event_id: String,
    /// `service.version`: the release; empty if not given.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub release: String,
    /// `deployment.environment.name`; empty if not given.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub environment: String,
    /// `host.name`; empty if not given.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub server: String,
    /// What tells the user from others and does not say who it is; empty if not given.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// What the program was about; empty if not given.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub transaction: String,
    /// What it is found by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// What the SDK asks to group it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fingerprint: Vec<String>,
    /// The event as a Sentry SDK sent it, tidied: breadcrumbs, contexts, the request, calls with lines of their source. Of a log record,
    /// its `breadcrumbs` in the same shape, and its other attributes as `extra`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub details: Option<Details>,
    /// The trace as it was sent, if source maps have changed it. Calls of `details` have theirs below `raw`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub raw_stacktrace: String,
    /// What source maps did for it; only where a file is minified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_maps: Option<SourceMapUse>,
    /// What happened around it; only where an issue is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub links: Option<EventLinks>,
}

/// JSON that is handed on as it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Details(Box<RawValue>);

impl Details {
    /// Returns `json`; `None` if it is none.
    #[must_use]
    pub fn new(json: &str) -> Option<Self> {
        RawValue::from_string(json.to_owned()).ok().map(Self)
    }

    /// Returns its text.
    #[must_use]
    pub fn text(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for Details {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Details {}

impl ErrorEvent {
    /// Returns the error event that row `row` of `batch` is, if it is one.
    #[must_use]
    pub fn of(batch: &LogBatch, row: usize) -> Option<Self> {
        Detector::new(batch, true).is_error(row).then(|| Self::read(batch, row, &GroupingRules::default(), &NoOriginals).0)
    }

    /// Returns row `row`, which is an error event, with its place among the issues. Its details are left to [`Self::add_details`], unless
    /// `originals` has changed them.
    #[must_use]
    pub fn grouped(batch: &LogBatch, row: usize, rules: &GroupingRules, originals: &dyn Originals) -> (Self, Grouped) {
        let (event, trace) = Self::read(batch, row, rules, originals);
        let grouped = group(&event, trace.as_ref(), rules);
        (event.shortened(), grouped)
    }

    /// Adds what row `row` of `batch` says of it beyond what it is grouped by.
    pub fn add_details(&mut self, batch: &LogBatch, row: usize) {
        if self.details.is_some() {
            return;
        }
        self.details = match batch.find_attribute(row, keys::SENTRY_EVENT) {
            Some(ValueRef::Json(json)) => Details::new(json),
            _ => around::details(batch, row),
        };
    }

    /// Returns the trace that it was read with: from its details, if it has such, else from its text.
    #[must_use]
    pub fn trace(&self, rules: &GroupingRules) -> Option<stack::StackTrace> {
        let of_details = self.details.as_ref().and_then(|details| SentryEvent::read(details.text())?.trace(rules));
        of_details.or_else(|| parse(&self.stacktrace, rules))
    }

    fn read(batch: &LogBatch, row: usize, rules: &GroupingRules, originals: &dyn Originals) -> (Self, Option<stack::StackTrace>) {
        let text = |key| batch.find_attribute(row, key).map(ValueRef::display).unwrap_or_default();
        let resource = batch.resources.get(batch.resource[row] as usize);
        let of_resource = |wanted: &str| {
            let found = resource.and_then(|resource| resource.iter().find(|(key, _)| key == wanted));
            found.map(|(_, value)| cut(&value.as_ref().display(), MAX_TAG_BYTES).to_owned()).unwrap_or_default()
        };
        let or = |first: String, second: &dyn Fn() -> String| if first.is_empty() { second() } else { first };
        let mut event = Self {
            seq: batch.seq.get(row).map_or_else(String::new, u64::to_string),
            timestamp: Timestamp::from_nanos(batch.time[row]),
            service: batch.service(row).to_owned(),
            severity_number: batch.severity[row],
            kind: text(keys::EXCEPTION_TYPE),
            message: text(keys::EXCEPTION_MESSAGE),
            stacktrace: text(keys::EXCEPTION_STACKTRACE),
            body: batch.body.get(row).display(),
            trace_id: watchfire_types::log::hex(&batch.trace_id[row]),
            event_id: text(keys::SENTRY_EVENT_ID),
            release: of_resource(keys::SERVICE_VERSION),
            environment: or(of_resource(keys::DEPLOYMENT_ENVIRONMENT), &|| of_resource("deployment.environment")),
            server: of_resource(keys::HOST_NAME),
            user: or(text(keys::USER_HASH), &|| or(text("user.id"), &|| text("enduser.id"))),
            transaction: String::new(),
            tags: BTreeMap::new(),
            fingerprint: Vec::new(),
            details: None,
            raw_stacktrace: String::new(),
            source_maps: None,
            links: None,
        };
        let sent = match batch.find_attribute(row, keys::SENTRY_EVENT) {
            Some(ValueRef::Json(json)) => Some(json),
            _ => None,
        };
        let mut written = None;
        if let Some((changed, used)) = sent.and_then(|json| originals::of_event(json, &event.release, originals)) {
            event.details = changed.as_deref().and_then(Details::new);
            event.source_maps = Some(used);
            written = changed;
        }
        let sent = written.as_deref().or(sent).and_then(SentryEvent::read);
        let trace = if let Some(sent) = sent {
            if event.stacktrace.is_empty() && sent.has_calls() {
                event.stacktrace = sent.text();
            }
            let trace = sent.trace(rules);
            sent.transaction.as_ref().clone_into(&mut event.transaction);
            event.tags = sent.tags;
            event.fingerprint = sent.fingerprint;
            trace
        } else {
            if event.stacktrace.is_empty() && stack::is_in(&event.body) {
                event.stacktrace = std::mem::take(&mut event.body);
            }
            if let Some((changed, used)) = originals::of_text(&event.stacktrace, &event.release, originals) {
                event.source_maps = Some(used);
                if let Some(changed) = changed {
                    event.raw_stacktrace = std::mem::replace(&mut event.stacktrace, changed);
                }
            }
            parse(&event.stacktrace, rules)
        };
        if let Some(reported) = trace.as_ref().and_then(|trace| trace.exceptions.first()) {
            if event.kind.is_empty() {
                event.kind.clone_from(&reported.kind);
            }
            if event.message.is_empty() {
                event.message.clone_from(&reported.message);
            }
        }
        (event, trace)
    }

    /// Returns it as it is kept.
    fn shortened(mut self) -> Self {
        for trace in [&mut self.stacktrace, &mut self.raw_stacktrace] {
            if trace.len() > MAX_TRACE_BYTES {
                let half = MAX_TRACE_BYTES / 2;
                let tail = trace.ceil_char_boundary(trace.len() - half);
                *trace = format!("{}\n…\n{}", cut(trace, half), &trace[tail..]);
            }
        }
        for text in [&mut self.message, &mut self.body, &mut self.kind, &mut self.service, &mut self.transaction] {
            text.truncate(cut(text, MAX_TEXT_BYTES).len());
        }
        self
    }

    /// Returns how serious it is: an error, if nobody said.
    #[must_use]
    pub fn severity(&self) -> Severity {
        if self.severity_number == 0 { Severity::ERROR } else { Severity(self.severity_number) }
    }
}

/// Reads a trace as text, and says whose its calls are.
fn parse(text: &str, rules: &GroupingRules) -> Option<stack::StackTrace> {
    let mut trace = stack::parse(cut(text, MAX_PARSED_BYTES))?;
    for frame in trace.exceptions.iter_mut().flat_map(|exception| &mut exception.frames) {
        if let Some(in_app) = rules.in_app(&frame.module, &frame.module) {
            frame.in_app = in_app;
        }
    }
    Some(trace)
}

/// What has been decided about an issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum IssueStatus {
    /// Nothing yet; or it was resolved and has occurred again.
    Unresolved,
    /// It is mended: the next occurrence is a regression.
    Resolved,
    /// It is counted, and nobody is told.
    Ignored,
}

impl IssueStatus {
    /// Every status.
    pub const ALL: [Self; 3] = [Self::Unresolved, Self::Resolved, Self::Ignored];

    /// Returns its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unresolved => "unresolved",
            Self::Resolved => "resolved",
            Self::Ignored => "ignored",
        }
    }

    /// Returns the status of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

/// All error events of one fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Issue {
    /// 16 hexadecimal digits.
    pub id: String,
    /// `service.name`; empty if not given.
    pub service: String,
    /// Class of the exception; empty if not given.
    #[serde(rename = "type")]
    pub kind: String,
    /// The exception and what it said the last time.
    pub title: String,
    /// The application's call in which it came about; empty if that is not known.
    pub culprit: String,
    /// The severity of the last occurrence, as a word.
    pub level: String,
    /// What has been decided about it.
    pub status: IssueStatus,
    /// Event time of the first occurrence.
    pub first_seen: Timestamp,
    /// Event time of the last one.
    pub last_seen: Timestamp,
    /// How often it has occurred.
    pub count: u64,
    /// The log record of the occurrence that came first.
    pub first_seq: String,
    /// That of the one that came last.
    pub last_seq: String,
    /// When it was resolved; `null` if it is not.
    pub resolved_at: Option<Timestamp>,
    /// The release by which it was resolved: older ones do not bring it back. Empty if all do.
    pub resolved_in: String,
    /// Until when it is ignored; `null` if for good, or if it is not.
    pub ignored_until: Option<Timestamp>,
    /// It is ignored until it has occurred so often; `null` if for good, or if it is not.
    pub ignored_until_count: Option<u64>,
    /// Who sees to it; empty if nobody does.
    pub assigned_to: String,
    /// How many users met it: exact up to 256, beyond that with a standard error of 2.3 percent.
    pub users: u64,
    /// Whether that number is exact.
    pub users_exact: bool,
    /// The release in which it was seen first; empty if none was named.
    pub first_release: String,
    /// The one in which it was seen last.
    pub last_release: String,
    /// How many other issues are merged into it.
    pub merged: u64,
    /// Occurrences in each of the last 24 hours, the present one last.
    pub hourly: Vec<u64>,
}

/// One issue with all that is known of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct IssueDetail {
    /// The issue.
    pub issue: Issue,
    /// Why events are taken for this issue.
    pub grouping: Grouping,
    /// Kept occurrences, the newest first. `GET /api/v1/export/logs?after=` (one less than a `seq`) begins with its log record.
    pub events: Vec<ErrorEvent>,
    /// When it was new, and when it came back, the newest first.
    pub history: Vec<IssueChange>,
    /// What its events are found by: releases, environments, servers and tags, each with its most frequent values.
    pub tags: Vec<TagSummary>,
    /// What people said, the oldest first.
    pub comments: Vec<Comment>,
    /// Issues that are merged into it.
    pub merged: Vec<MergedIssue>,
}

/// One tag of an issue's events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct TagSummary {
    /// Its name.
    pub key: String,
    /// Events that have it.
    pub count: u64,
    /// The most frequent values, at most ten.
    pub values: Vec<TagValue>,
}

/// One value of a tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct TagValue {
    /// The value; `(others)` stands for those beyond the first hundred of an issue.
    pub value: String,
    /// Events that have it.
    pub count: u64,
    /// When it was seen first.
    pub first_seen: Timestamp,
    /// When it was seen last.
    pub last_seen: Timestamp,
}

/// What somebody said of an issue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Comment {
    /// When.
    pub at: Timestamp,
    /// Who; empty if not given.
    pub author: String,
    /// What.
    pub text: String,
}

/// An issue that is shown as a part of another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct MergedIssue {
    /// Its id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// How often it has occurred itself.
    pub count: u64,
}

/// Something that happened to an issue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct IssueChange {
    /// When it was stored.
    pub at: Timestamp,
    /// `new`, `regressed`, or `unignored`: it was ignored until now.
    pub kind: String,
    /// How often the issue had occurred then.
    pub count: u64,
}

/// How many errors there were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ErrorStatistics {
    /// The hours that were counted, the present one included.
    pub hours: u64,
    /// Since then.
    pub since: Timestamp,
    /// Error events.
    pub total: u64,
    /// Issues that occurred.
    pub issues: u64,
    /// Of those, the ones that occurred for the first time.
    pub new_issues: u64,
    /// Error events per class, the most frequent first.
    pub by_type: Vec<Share>,
    /// Error events per service, the most frequent first.
    pub by_service: Vec<Share>,
    /// Error events per level of their issue, the most frequent first.
    pub by_level: Vec<Share>,
    /// Error events per hour, the present one last.
    pub hourly: Vec<u64>,
    /// The issues that occurred most often.
    pub top_issues: Vec<TopIssue>,
}

/// One part of a total.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Share {
    /// Of what.
    pub name: String,
    /// How many.
    pub count: u64,
}

/// An issue among the most frequent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct TopIssue {
    /// Its id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// `service.name`.
    pub service: String,
    /// What has been decided about it.
    pub status: IssueStatus,
    /// How often it occurred in these hours.
    pub count: u64,
}

#[cfg(test)]
mod tests {
    use watchfire_types::log::RecordHead;

    use super::*;

    #[test]
    fn only_a_record_with_an_exception_is_an_error_event() {
        let mut batch = LogBatch::default();
        batch.push(&RecordHead::default(), ValueRef::Text("plain"));
        batch.push(&RecordHead::default(), ValueRef::Text("sync failed"));
        batch.attribute(keys::EXCEPTION_TYPE, ValueRef::Text("ValueError"));
        batch.attribute(keys::EXCEPTION_STACKTRACE, ValueRef::Text("Traceback …"));
        assert_eq!(ErrorEvent::of(&batch, 0), None);
        let event = ErrorEvent::of(&batch, 1).unwrap();
        assert_eq!((event.kind.as_str(), event.body.as_str(), event.message.as_str()), ("ValueError", "sync failed", ""));
    }

    #[test]
    fn a_long_trace_keeps_its_ends() {
        let mut batch = LogBatch::default();
        batch.push(&RecordHead::default(), ValueRef::Text("x"));
        let text = format!("begin{}é{}end", "a".repeat(MAX_TRACE_BYTES / 2), "b".repeat(MAX_TRACE_BYTES / 2));
        batch.attribute(keys::EXCEPTION_STACKTRACE, ValueRef::Text(&text));
        let (event, _) = ErrorEvent::grouped(&batch, 0, &GroupingRules::default(), &NoOriginals);
        assert!(event.stacktrace.starts_with("begin") && event.stacktrace.ends_with("end"));
        assert!(event.stacktrace.len() <= MAX_TRACE_BYTES + 10);
    }
}
