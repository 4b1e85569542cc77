//! From the bytes of a request to what is stored. Pure.

use std::collections::BTreeMap;

use serde_json::{Map, Value as JsonValue, json};
use watchfire_types::{LogBatch, MetricBatch, Timestamp};

use super::auth::{DsnKey, key_in_dsn};
use super::envelope::{self, text};
use super::event::{self, Source};
use super::{SentryInput, cut, items};
use crate::inputs::builder::{BatchBuilder, OverBudget};

/// A sender's clock that differs by less is taken to be right: the request has been on its way.
const LEAST_DRIFT_NANOS: u128 = 60_000_000_000;

/// Types of items that are counted by their names; all others are `other`.
const KINDS: [&str; 22] = [
    "event",
    "log",
    "check_in",
    "session",
    "sessions",
    "client_report",
    "feedback",
    "user_report",
    "user_report_v2",
    "attachment",
    "transaction",
    "span",
    "profile",
    "profile_chunk",
    "replay_event",
    "replay_recording",
    "replay_video",
    "statsd",
    "metric_buckets",
    "trace_metric",
    "security",
    "minidump",
];

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// An envelope.
    Envelope,
    /// One event.
    Event,
    /// What a browser reports.
    Report,
    /// A crash dump.
    Dump,
}

/// What a request holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Decoded {
    /// Events, logs, check-ins, feedback.
    pub(super) batch: LogBatch,
    /// Sessions.
    pub(super) points: MetricBatch,
    /// Id of the event, or of the envelope.
    pub(super) id: String,
    /// Id of the first event; a second request with the same is the same request again.
    pub(super) event: Option<String>,
    /// The key of the envelope's own `dsn`.
    pub(super) key: Option<String>,
    /// How many items of each type.
    pub(super) kinds: BTreeMap<&'static str, u64>,
    /// What the SDK says that it did not send.
    pub(super) losses: Vec<(&'static str, &'static str, u64)>,
    /// Items that could not be read.
    pub(super) refused: u64,
    /// Why.
    pub(super) reason: String,
}

/// Why nothing of a request is taken.
#[derive(Debug)]
pub(super) enum Refused {
    OverBudget(OverBudget),
    Malformed(String),
}

impl From<OverBudget> for Refused {
    fn from(error: OverBudget) -> Self {
        Self::OverBudget(error)
    }
}

pub(super) fn source(project: u64, own: &SentryInput, now: Timestamp) -> Source {
    let service = own.projects.get(&project).cloned();
    Source { project, service, now, drift: 0, key: own.key.clone(), redacts: own.redacts }
}

/// Reads `bytes`, whatever they are: for fuzzing.
#[doc(hidden)]
pub fn decode_for_tests(form: Form, bytes: &[u8], key: &DsnKey) -> Option<LogBatch> {
    let source = Source {
        project: 1,
        service: None,
        now: Timestamp::from_seconds(1_795_392_600),
        drift: 0,
        key: key.clone(),
        redacts: true,
    };
    decode(form, bytes, source, 64 << 20).ok().map(|decoded| decoded.batch)
}

pub(super) fn decode(form: Form, bytes: &[u8], source: Source, budget: usize) -> Result<Decoded, Refused> {
    let mut builder = BatchBuilder::new(budget);
    let mut decoded = Decoded::default();
    match form {
        Form::Envelope => envelope(bytes, source, &mut builder, &mut decoded)?,
        Form::Event => {
            let unpacked = unpacked(bytes, budget);
            let pushed = event::push(&mut builder, unpacked.as_deref().unwrap_or(bytes), "", &source)?;
            decoded.id = pushed.map_err(Refused::Malformed)?;
            decoded.event = Some(decoded.id.clone());
            *decoded.kinds.entry("event").or_default() += 1;
        }
        Form::Report => reports(bytes, &source, &mut builder, &mut decoded)?,
        Form::Dump => {
            decoded.id = event::push_object(&mut builder, of_dump(bytes), "", &source)?;
            decoded.event = Some(decoded.id.clone());
            *decoded.kinds.entry("minidump").or_default() += 1;
        }
    }
    decoded.batch = builder.finish();
    Ok(decoded)
}

/// Returns an event of before 2014 as JSON: base64 around zlib. `None` if it is not packed so.
fn unpacked(bytes: &[u8], most: usize) -> Option<Vec<u8>> {
    use base64::Engine as _;
    let bytes = bytes.trim_ascii();
    if matches!(bytes.first(), None | Some(b'{')) {
        return None;
    }
    let packed = base64::engine::general_purpose::STANDARD.decode(bytes).ok()?;
    crate::inputs::body::Compression::Deflate.decompress(&packed, most).ok()
}

fn envelope(bytes: &[u8], mut source: Source, builder: &mut BatchBuilder, decoded: &mut Decoded) -> Result<(), Refused> {
    let envelope = envelope::parse(bytes).map_err(Refused::Malformed)?;
    decoded.key = key_in_dsn(text(&envelope.headers, "dsn")).map(str::to_owned);
    if let Some(sent) = envelope.headers.get("sent_at").and_then(JsonValue::as_str).and_then(|sent| sent.parse::<Timestamp>().ok())
    {
        let drift = i128::from(source.now.as_nanos()) - i128::from(sent.as_nanos());
        if drift.unsigned_abs() >= LEAST_DRIFT_NANOS {
            source.drift = drift;
        }
    }
    let id = text(&envelope.headers, "event_id");
    decoded.id = event::event_id(id).unwrap_or_default();
    decoded.reason.clone_from(&envelope.rest);
    decoded.refused += u64::from(!envelope.rest.is_empty());
    let attachments = items::attachments(&envelope.items);
    for item in &envelope.items {
        let kind = item.kind();
        *decoded.kinds.entry(KINDS.iter().copied().find(|known| *known == kind).unwrap_or("other")).or_default() += 1;
        let is_read = match kind {
            "event" => match serde_json::from_slice::<Map<String, JsonValue>>(item.payload) {
                Ok(mut event) => {
                    if !attachments.is_empty() {
                        event.insert("attachments".to_owned(), attachments.clone().into());
                    }
                    // The envelope's id is that of one event: there should be no second one.
                    let id = if decoded.event.is_none() { id } else { "" };
                    decoded.id = event::push_object(builder, event, id, &source)?;
                    decoded.event.get_or_insert_with(|| decoded.id.clone());
                    true
                }
                Err(error) => {
                    decoded.reason = format!("an event is a JSON object: {error}");
                    false
                }
            },
            "log" => {
                let refused = items::logs(builder, item.payload, &source)?;
                decoded.refused += refused;
                true
            }
            "check_in" => items::check_in(builder, item.payload, &source)?,
            "feedback" | "user_report" | "user_report_v2" => items::feedback(builder, item.payload, &source)?,
            "session" | "sessions" => items::sessions(item.payload, &source).map(|points| decoded.points.extend(points)).is_some(),
            "client_report" => {
                decoded.losses.extend(items::losses(item.payload));
                true
            }
            // Attachments lie with their event; the rest is counted, and nothing is kept of it.
            _ => true,
        };
        decoded.refused += u64::from(!is_read);
    }
    if decoded.id.is_empty() && builder.is_empty() && decoded.refused > 0 && decoded.kinds.is_empty() {
        return Err(Refused::Malformed(decoded.reason.clone()));
    }
    Ok(())
}

/// Reads a report as browsers send it: `{"csp-report": {…}}` and its like, or a list of `{"type": …, "body": {…}}`.
fn reports(bytes: &[u8], source: &Source, builder: &mut BatchBuilder, decoded: &mut Decoded) -> Result<(), Refused> {
    let json: JsonValue =
        serde_json::from_slice(bytes).map_err(|error| Refused::Malformed(format!("a report is JSON: {error}")))?;
    let list = match json {
        JsonValue::Array(list) => list,
        object => vec![object],
    };
    for report in list.iter().take(100) {
        let Some(event) = of_report(report) else {
            decoded.refused += 1;
            continue;
        };
        decoded.id = event::push_object(builder, event, "", source)?;
        *decoded.kinds.entry("security").or_default() += 1;
    }
    if builder.is_empty() {
        return Err(Refused::Malformed(
            "expected `csp-report`, `expect-ct-report`, `expect-staple-report`, or a list of reports".to_owned(),
        ));
    }
    Ok(())
}

fn of_report(report: &JsonValue) -> Option<Map<String, JsonValue>> {
    let object = report.as_object()?;
    let named =
        ["csp-report", "expect-ct-report", "expect-staple-report"].iter().find_map(|name| Some((*name, object.get(*name)?)));
    let (kind, body) = match named {
        Some((name, body)) => (name.trim_end_matches("-report"), body),
        None => (object.get("type")?.as_str()?, object.get("body")?),
    };
    let body = body.as_object()?;
    let first = |names: &[&str]| names.iter().map(|name| text(body, name)).find(|found| !found.is_empty()).unwrap_or("");
    let page = Some(first(&["document-uri", "documentURL", "url"])).filter(|page| !page.is_empty()).unwrap_or(text(object, "url"));
    let event = if kind.starts_with("csp") {
        let directive = first(&["effective-directive", "effectiveDirective", "violated-directive"]);
        let directive = cut(directive.split(' ').next().unwrap_or(directive), 100);
        let blocked = first(&["blocked-uri", "blockedURL"]);
        let blocked = url::Url::parse(blocked)
            .ok()
            .and_then(|url| url.host_str().map(str::to_owned))
            .unwrap_or_else(|| cut(blocked, 100).to_owned());
        json!({
            "logger": "csp", "level": "error", "platform": "javascript", "message": format!("blocked by `{directive}`: {blocked}"),
            "fingerprint": ["csp", directive, blocked], "request": {"url": page}, "extra": body,
        })
    } else {
        let host = first(&["hostname", "host"]);
        json!({
            "logger": kind, "level": "error", "platform": "javascript", "message": format!("{kind}: {host}"),
            "fingerprint": [kind, host], "request": {"url": page}, "extra": body,
        })
    };
    event.as_object().cloned()
}

/// Returns the event of a crash dump: what stands in the form beside it, and that there was one.
fn of_dump(bytes: &[u8]) -> Map<String, JsonValue> {
    let field = || {
        let name = memchr::memmem::find(bytes, b"name=\"sentry\"")?;
        let start = name + memchr::memmem::find(&bytes[name..], b"\r\n\r\n")? + 4;
        let end = start + memchr::memmem::find(&bytes[start..], b"\r\n--")?;
        serde_json::from_slice::<Map<String, JsonValue>>(&bytes[start..end]).ok()
    };
    let mut event = field().unwrap_or_default();
    event.entry("platform").or_insert("native".into());
    event.entry("level").or_insert("fatal".into());
    if !event.contains_key("exception") {
        let said = format!("the program crashed; its minidump ({} bytes with the form) is not read here", bytes.len());
        event.insert("exception".to_owned(), json!({"values": [{"type": "Minidump", "value": said}]}));
    }
    event
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
