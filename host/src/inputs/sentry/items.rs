//! What an envelope carries beside events: logs, check-ins, sessions, reports of what the SDK lost, feedback, attachments.

use std::collections::BTreeMap;

use serde_json::{Map, Value as JsonValue, json};
use watchfire_types::attributes::keys;
use watchfire_types::log::{RecordHead, unhex};
use watchfire_types::{MetricBatch, MetricKind, MetricPoint, SeriesKey, Severity, Value, ValueRef};

use super::cut;
use super::envelope::{Item, text};
use super::event::{Of, Source};
use crate::inputs::builder::{BatchBuilder, OverBudget};

/// Longest attachment whose text is kept with its event, in bytes.
const MAX_ATTACHMENT_BYTES: usize = 16 << 10;
const MAX_ATTACHMENTS: usize = 10;
const MAX_LABEL_BYTES: usize = 120;
const MAX_ATTRIBUTES: usize = 128;
const MAX_ATTRIBUTE_BYTES: usize = 16 << 10;

/// Appends the log records of a `log` item; returns how many could not be read.
pub(super) fn logs(builder: &mut BatchBuilder, payload: &[u8], source: &Source) -> Result<u64, OverBudget> {
    let items = match serde_json::from_slice(payload) {
        Ok(JsonValue::Object(mut object)) => match object.remove("items") {
            Some(JsonValue::Array(items)) => items,
            _ => vec![JsonValue::Object(object)],
        },
        Ok(JsonValue::Array(items)) => items,
        _ => return Ok(1),
    };
    let mut refused = 0;
    for item in &items {
        match item.as_object() {
            Some(log) => push_log(builder, log, source)?,
            None => refused += 1,
        }
    }
    Ok(refused)
}

fn push_log(builder: &mut BatchBuilder, log: &Map<String, JsonValue>, source: &Source) -> Result<(), OverBudget> {
    // `{"value": …, "type": …}`, or the value itself.
    let attributes: Vec<(&str, Value)> = log
        .get("attributes")
        .and_then(JsonValue::as_object)
        .into_iter()
        .flatten()
        .map(|(key, entry)| (key.as_str(), Value::from(entry.get("value").unwrap_or(entry).clone())))
        .collect();
    let named = |key: &str| attributes.iter().find(|(name, _)| *name == key).and_then(|(_, value)| value.as_text()).unwrap_or("");
    let of = Of { release: named("sentry.release"), environment: named("sentry.environment"), server: named("server.address") };
    let service = source.service(Some(named(keys::SERVICE_NAME)), of.release);
    let level = text(log, "level");
    let number = log.get("severity_number").and_then(JsonValue::as_u64).filter(|number| (1..=24).contains(number));
    let severity = number.map(|number| Severity(number as u8)).or_else(|| Severity::from_text(level)).unwrap_or_default();
    let id = |key: &str| text(log, key).replace('-', "");
    let head = RecordHead {
        timestamp: source.time(log.get("timestamp")),
        observed: source.now,
        severity,
        severity_text: cut(level, 32),
        resource: Source::resource(builder, &service, &of),
        trace_id: unhex(&id("trace_id")).unwrap_or_default(),
        span_id: unhex(&id("span_id")).unwrap_or_default(),
        ..RecordHead::default()
    };
    let body = match log.get("body") {
        Some(JsonValue::String(text)) => text.clone(),
        Some(JsonValue::Object(object)) => text(object, "value").to_owned(),
        _ => String::new(),
    };
    builder.push(&head, ValueRef::Text(&body))?;
    let of_resource = ["sentry.release", "sentry.environment", "server.address", keys::SERVICE_NAME];
    for (key, value) in attributes.iter().filter(|(key, _)| !of_resource.contains(key)).take(MAX_ATTRIBUTES) {
        match value {
            Value::Text(text) => builder.attribute(key, ValueRef::Text(cut(text, MAX_ATTRIBUTE_BYTES))),
            Value::Json(json) if json.len() > MAX_ATTRIBUTE_BYTES => {
                builder.attribute(key, ValueRef::Text(cut(json, MAX_ATTRIBUTE_BYTES)));
            }
            value => builder.attribute(key, value.as_ref()),
        }
    }
    Ok(())
}

/// Appends the record of a `check_in` item; returns whether it could be read.
pub(super) fn check_in(builder: &mut BatchBuilder, payload: &[u8], source: &Source) -> Result<bool, OverBudget> {
    let Ok(JsonValue::Object(check_in)) = serde_json::from_slice(payload) else { return Ok(false) };
    let (slug, status) = (cut(text(&check_in, "monitor_slug"), MAX_LABEL_BYTES), cut(text(&check_in, "status"), MAX_LABEL_BYTES));
    if slug.is_empty() || status.is_empty() {
        return Ok(false);
    }
    let severity = if matches!(status, "error" | "missed" | "timeout") { Severity::ERROR } else { Severity::INFO };
    let of = Of { release: text(&check_in, "release"), environment: text(&check_in, "environment"), server: "" };
    let trace = check_in.get("contexts").and_then(|contexts| contexts.get("trace")?.get("trace_id")?.as_str()).unwrap_or("");
    let service = source.service(None, of.release);
    let head = RecordHead {
        timestamp: source.now,
        observed: source.now,
        severity,
        severity_text: severity.name(),
        resource: Source::resource(builder, &service, &of),
        event_name: "sentry.check_in",
        trace_id: unhex(&trace.replace('-', "")).unwrap_or_default(),
        ..RecordHead::default()
    };
    builder.push(&head, ValueRef::Text(&format!("check-in of monitor {slug}: {status}")))?;
    builder.attribute("monitor.slug", ValueRef::Text(slug));
    builder.attribute("monitor.status", ValueRef::Text(status));
    let id = cut(text(&check_in, "check_in_id"), MAX_LABEL_BYTES);
    if !id.is_empty() {
        builder.attribute("check_in.id", ValueRef::Text(id));
    }
    if let Some(seconds) = check_in.get("duration").and_then(JsonValue::as_f64) {
        builder.attribute("duration", ValueRef::Float(seconds));
    }
    Ok(true)
}

/// Appends the record of what a user said of an event: `feedback`, or the older `user_report`; returns whether it could be read.
pub(super) fn feedback(builder: &mut BatchBuilder, payload: &[u8], source: &Source) -> Result<bool, OverBudget> {
    let Ok(JsonValue::Object(object)) = serde_json::from_slice(payload) else { return Ok(false) };
    let context = object.get("contexts").and_then(|contexts| contexts.get("feedback")?.as_object());
    let inner = context.unwrap_or(&object);
    let first =
        |names: &[&str]| names.iter().map(|name| text(inner, name)).find(|found| !found.is_empty()).unwrap_or("").to_owned();
    let (said, name) = (first(&["message", "comments"]), first(&["name"]));
    if said.is_empty() {
        return Ok(false);
    }
    let of = Of { release: text(&object, "release"), environment: text(&object, "environment"), server: "" };
    let service = source.service(None, of.release);
    let head = RecordHead {
        timestamp: source.time(object.get("timestamp")),
        observed: source.now,
        severity: Severity::INFO,
        severity_text: "INFO",
        resource: Source::resource(builder, &service, &of),
        event_name: "sentry.feedback",
        ..RecordHead::default()
    };
    let who = if name.is_empty() { "a user".to_owned() } else { cut(&name, MAX_LABEL_BYTES).to_owned() };
    builder.push(&head, ValueRef::Text(&format!("{who} said: {}", cut(&said, 8 << 10))))?;
    for (key, value) in [
        ("user.name", name),
        ("user.email", first(&["contact_email", "email"])),
        ("url.full", first(&["url"])),
        // Of the error that it is about.
        (keys::SENTRY_EVENT_ID, super::event::event_id(&first(&["associated_event_id", "event_id"])).unwrap_or_default()),
    ] {
        if !value.is_empty() {
            builder.attribute(key, ValueRef::Text(cut(&value, 2_000)));
        }
    }
    Ok(true)
}

/// Returns the points of `session` and `sessions` items: how many sessions ended how, per release. `None` if it cannot be read.
pub(super) fn sessions(payload: &[u8], source: &Source) -> Option<MetricBatch> {
    let JsonValue::Object(object) = serde_json::from_slice(payload).ok()? else { return None };
    let attrs =
        object.get("attrs").or_else(|| object.get("attributes")).and_then(JsonValue::as_object).cloned().unwrap_or_default();
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let mut add = |status: &'static str, count: u64| {
        if count > 0 {
            *counts.entry(status).or_default() += count;
        }
    };
    if let Some(aggregates) = object.get("aggregates").and_then(JsonValue::as_array) {
        for aggregate in aggregates {
            let count = |key: &str| aggregate.get(key).and_then(JsonValue::as_u64).unwrap_or(0).min(1_000_000_000);
            for status in ["exited", "errored", "crashed", "abnormal"] {
                add(status, count(status));
            }
        }
    } else {
        let errors = object.get("errors").and_then(JsonValue::as_u64).unwrap_or(0);
        let status = match text(&object, "status") {
            "crashed" => "crashed",
            "abnormal" => "abnormal",
            "exited" if errors > 0 => "errored",
            "exited" => "exited",
            "ok" if object.get("init") == Some(&JsonValue::Bool(true)) => "started",
            // One that goes on is counted when it ends.
            _ => return Some(Vec::new()),
        };
        add(status, 1);
    }
    let release = text(&attrs, "release");
    let service = source.service(None, release);
    let label = |name: &str, value: &str| (name.to_owned(), cut(value, MAX_LABEL_BYTES).to_owned());
    let point = |(status, count): (&str, u64)| MetricPoint {
        series: SeriesKey::new(
            "sentry.sessions",
            [
                label("service", &service),
                label("release", release),
                label("environment", text(&attrs, "environment")),
                label("status", status),
            ]
            .into_iter()
            .filter(|(_, value)| !value.is_empty()),
        ),
        kind: MetricKind::Counter,
        unit: String::new(),
        timestamp: source.now,
        value: count as f64,
        delta: true,
    };
    Some(counts.into_iter().map(point).collect())
}

/// Returns what a `client_report` says the SDK did not send: reason, category, how many.
pub(super) fn losses(payload: &[u8]) -> Vec<(&'static str, &'static str, u64)> {
    const REASONS: [&str; 8] = [
        "queue_overflow",
        "cache_overflow",
        "ratelimit_backoff",
        "network_error",
        "sample_rate",
        "before_send",
        "event_processor",
        "send_error",
    ];
    const CATEGORIES: [&str; 9] =
        ["error", "transaction", "span", "session", "attachment", "monitor", "log_item", "replay", "feedback"];
    let known = |names: &[&'static str], name: &str| names.iter().copied().find(|known| *known == name).unwrap_or("other");
    let Ok(JsonValue::Object(report)) = serde_json::from_slice(payload) else { return Vec::new() };
    let lists = ["discarded_events", "rate_limited_events", "filtered_events"];
    let entries = lists.iter().filter_map(|list| report.get(*list)?.as_array()).flatten().filter_map(JsonValue::as_object);
    let loss = |entry: &Map<String, JsonValue>| {
        let quantity = entry.get("quantity").and_then(JsonValue::as_u64).unwrap_or(0);
        (known(&REASONS, text(entry, "reason")), known(&CATEGORIES, text(entry, "category")), quantity)
    };
    entries.map(loss).collect()
}

/// Returns what is kept of the attachments among `items`: name, type and size of each, and the text of those that are short texts.
pub(super) fn attachments(items: &[Item<'_>]) -> Vec<JsonValue> {
    let one = |item: &Item<'_>| {
        let mut kept = json!({
            "filename": cut(text(&item.headers, "filename"), MAX_LABEL_BYTES), "size_bytes": item.payload.len(),
            "content_type": cut(text(&item.headers, "content_type"), MAX_LABEL_BYTES),
        });
        let content = str::from_utf8(item.payload).ok().filter(|text| text.len() <= MAX_ATTACHMENT_BYTES && !text.contains('\0'));
        if let Some(content) = content {
            kept["text"] = content.into();
        }
        kept
    };
    items.iter().filter(|item| item.kind() == "attachment").take(MAX_ATTACHMENTS).map(one).collect()
}
