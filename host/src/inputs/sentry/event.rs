//! A Sentry event becomes one log record: its essentials as OpenTelemetry's attributes, the whole of it, tidied, as one more.
//!
//! What SDKs write in several ways is written in one here: exceptions as a list below `values`, tags as an object, a fingerprint as
//! texts. Who reads the log need not know the ways of the SDKs.

use serde_json::{Map, Value as JsonValue, json};
use watchfire_types::attributes::keys;
use watchfire_types::log::{RecordHead, unhex};
use watchfire_types::{Severity, Timestamp, ValueRef};

use super::auth::DsnKey;
use super::envelope::text;
use super::scrub::{clean, shorten};
use crate::errors::structured::qualified;
use crate::inputs::builder::{BatchBuilder, OverBudget};

/// Bytes of an event as it is stored; beyond, what says least goes first.
const MAX_EVENT_BYTES: usize = 256 << 10;
/// Frames kept of a stack trace: from where it came about, and from where it began.
const MAX_FRAMES: (usize, usize) = (150, 50);
const MAX_EXCEPTIONS: usize = 32;
const MAX_BREADCRUMBS: usize = 100;
const MAX_TAGS: usize = 64;
const MAX_TAG_BYTES: usize = 200;
const MAX_TYPE_BYTES: usize = 1_000;
const MAX_MESSAGE_BYTES: usize = 8 << 10;
/// Files of which the debug id is kept.
const MAX_DEBUG_IDS: usize = 100;
/// What nobody looks at of an event: lists of all packages, and notes of the SDK about itself.
const DROPPED: [&str; 4] = ["modules", "_meta", "threads", "event_id"];

/// Where events come from.
#[derive(Clone, Debug)]
pub(super) struct Source {
    /// Number of the project in the DSN.
    pub(super) project: u64,
    /// `service.name` of that project, if the configuration names one.
    pub(super) service: Option<String>,
    /// When it arrived.
    pub(super) now: Timestamp,
    /// What to add to the sender's clock, in nanoseconds.
    pub(super) drift: i128,
    pub(super) key: DsnKey,
    /// Whether secrets are taken out.
    pub(super) redacts: bool,
}

impl Source {
    /// Returns when something happened, by our clock: now, if the sender does not say or cannot be right.
    pub(super) fn time(&self, value: Option<&JsonValue>) -> Timestamp {
        let sent = match value {
            Some(JsonValue::String(text)) => crate::inputs::time::parse(text.trim(), &jiff::tz::TimeZone::UTC),
            Some(JsonValue::Number(number)) => crate::inputs::time::from_number(number),
            _ => None,
        };
        let Some(sent) = sent else { return self.now };
        let ours = i128::from(sent.as_nanos()) + self.drift;
        let time = u64::try_from(ours).map_or(self.now, Timestamp::from_nanos);
        let (hour, week) = (std::time::Duration::from_secs(3600), std::time::Duration::from_secs(7 * 86_400));
        // The log refuses what is far off; an error is told of all the same.
        if time > self.now.plus(hour) || time < self.now.minus(week) { self.now } else { time }
    }

    /// Returns whose record it is: what it says itself, else what the configuration says of the project, else what stands in front of
    /// the release's version.
    pub(super) fn service(&self, named: Option<&str>, release: &str) -> String {
        let of_release = || release.split_once('@').map(|(package, _)| package).filter(|package| !package.is_empty());
        let named = named.filter(|name| !name.is_empty()).or(self.service.as_deref()).or_else(of_release);
        named.map_or_else(|| format!("project-{}", self.project), |name| super::cut(name, MAX_TAG_BYTES).to_owned())
    }

    /// Returns the resource of a record.
    pub(super) fn resource(builder: &mut BatchBuilder, service: &str, event: &Of<'_>) -> u32 {
        let named = [
            (keys::SERVICE_NAME, service),
            (keys::SERVICE_VERSION, event.release),
            (keys::DEPLOYMENT_ENVIRONMENT, event.environment),
            (keys::HOST_NAME, event.server),
        ];
        let known = named.into_iter().filter(|(_, value)| !value.is_empty());
        builder.resource(known.map(|(key, value)| (key.to_owned(), super::cut(value, MAX_TAG_BYTES).into())).collect())
    }
}

/// What a record is of.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Of<'a> {
    pub(super) release: &'a str,
    pub(super) environment: &'a str,
    pub(super) server: &'a str,
}

/// Reads `payload` and appends its record to `builder`; returns the event's id.
///
/// # Errors
/// What is wrong with it: then there is no record of it.
pub(super) fn push(
    builder: &mut BatchBuilder,
    payload: &[u8],
    id: &str,
    source: &Source,
) -> Result<Result<String, String>, OverBudget> {
    match serde_json::from_slice(payload) {
        Ok(JsonValue::Object(event)) => push_object(builder, event, id, source).map(Ok),
        Ok(_) => Ok(Err("an event is a JSON object".to_owned())),
        Err(error) => Ok(Err(format!("an event is a JSON object: {error}"))),
    }
}

/// Appends the record of `event` to `builder`; returns the event's id: `id`, if the envelope has said one.
pub(super) fn push_object(
    builder: &mut BatchBuilder,
    mut event: Map<String, JsonValue>,
    id: &str,
    source: &Source,
) -> Result<String, OverBudget> {
    let id = event_id(id).or_else(|| event_id(text(&event, "event_id"))).unwrap_or_else(new_id);
    tidy(&mut event);
    let user = user(&event).map(|user| source.key.pseudonym(&user));
    let mut event = JsonValue::Object(event);
    clean(&mut event, source.redacts);
    let JsonValue::Object(mut event) = event else { return Ok(id) };

    let (kind, said) = exception(&event);
    let message = message(&event);
    let level = text(&event, "level").to_owned();
    let has_exception = !kind.is_empty() || event.contains_key("exception");
    let severity = Severity::from_text(&level).unwrap_or(if has_exception { Severity::ERROR } else { Severity::INFO });
    let timestamp = source.time(event.get("timestamp"));
    let trace = event.get("contexts").and_then(|contexts| contexts.get("trace"));
    let trace_text = |key: &str| trace.and_then(|trace| trace.get(key)).and_then(JsonValue::as_str).unwrap_or("").replace('-', "");
    let (trace_id, span_id) =
        (unhex(&trace_text("trace_id")).unwrap_or_default(), unhex(&trace_text("span_id")).unwrap_or_default());
    let body = match (kind.is_empty(), said.is_empty(), message.is_empty()) {
        (_, _, false) => message.clone(),
        (false, false, _) => format!("{kind}: {said}"),
        (false, true, _) => kind.clone(),
        (true, false, _) => said.clone(),
        _ => {
            Some(text(&event, "transaction")).filter(|place| !place.is_empty()).unwrap_or("(an event without a message)").to_owned()
        }
    };
    let tag = |key: &str| event.get("tags").and_then(|tags| tags.get(key)).and_then(JsonValue::as_str);
    let named = tag(keys::SERVICE_NAME).or_else(|| tag("service"));
    let of = Of { release: text(&event, "release"), environment: text(&event, "environment"), server: text(&event, "server_name") };
    let service = source.service(named, of.release);
    let resource = Source::resource(builder, &service, &of);
    let scope = text(&event, "logger").to_owned();
    event.insert("event_id".to_owned(), id.clone().into());
    let stored = fitting(event);

    let head = RecordHead {
        timestamp,
        observed: source.now,
        severity,
        severity_text: if level.is_empty() { severity.name() } else { super::cut(&level, 32) },
        resource,
        scope: super::cut(&scope, MAX_TAG_BYTES),
        trace_id,
        span_id,
        ..RecordHead::default()
    };
    builder.push(&head, ValueRef::Text(&body))?;
    for (key, value) in [
        (keys::EXCEPTION_TYPE, kind.as_str()),
        (keys::EXCEPTION_MESSAGE, said.as_str()),
        (keys::SENTRY_EVENT_ID, id.as_str()),
        (keys::USER_HASH, user.as_deref().unwrap_or("")),
    ] {
        if !value.is_empty() {
            builder.attribute(key, ValueRef::Text(value));
        }
    }
    builder.attribute(keys::SENTRY_PROJECT, ValueRef::Int(i64::try_from(source.project).unwrap_or(i64::MAX)));
    builder.attribute(keys::SENTRY_EVENT, ValueRef::Json(&stored));
    Ok(id)
}

/// Writes in one way what SDKs write in several.
fn tidy(event: &mut Map<String, JsonValue>) {
    // Before the 1.0 of their protocol, interfaces were named by their classes.
    for (old, new) in [
        ("sentry.interfaces.Exception", "exception"),
        ("sentry.interfaces.Message", "logentry"),
        ("sentry.interfaces.Stacktrace", "stacktrace"),
        ("sentry.interfaces.Http", "request"),
        ("sentry.interfaces.User", "user"),
        ("sentry.interfaces.Breadcrumbs", "breadcrumbs"),
    ] {
        if let Some(value) = event.remove(old) {
            event.entry(new).or_insert(value);
        }
    }
    let stacktrace = event.remove("stacktrace").filter(JsonValue::is_object);
    let mut exceptions = values(event.remove("exception"));
    exceptions.retain(JsonValue::is_object);
    if exceptions.len() > MAX_EXCEPTIONS {
        // The reported one is the last, its root cause the first.
        exceptions.drain(1..=exceptions.len() - MAX_EXCEPTIONS);
    }
    // A stack trace without an exception: of the message, or of the only thread there is.
    let mut threads = values(event.remove("threads"));
    let of_thread = if exceptions.is_empty() && threads.len() == 1 {
        threads.pop().and_then(|mut thread| thread.get_mut("stacktrace").map(JsonValue::take))
    } else {
        None
    };
    if let Some(stacktrace) = stacktrace.or(of_thread).filter(JsonValue::is_object) {
        match exceptions.last_mut().and_then(JsonValue::as_object_mut) {
            Some(last) => {
                last.entry("stacktrace").or_insert(stacktrace);
            }
            None => exceptions.push(json!({"type": "", "value": "", "stacktrace": stacktrace})),
        }
    }
    for exception in &mut exceptions {
        tidy_exception(exception);
    }
    if !exceptions.is_empty() {
        event.insert("exception".to_owned(), json!({ "values": exceptions }));
    }
    let mut crumbs = values(event.remove("breadcrumbs"));
    crumbs.drain(..crumbs.len().saturating_sub(MAX_BREADCRUMBS));
    if !crumbs.is_empty() {
        event.insert("breadcrumbs".to_owned(), json!({ "values": crumbs }));
    }
    for key in DROPPED {
        event.remove(key);
    }
    if let Some(images) = debug_ids(event.remove("debug_meta")) {
        event.insert("debug_meta".to_owned(), images);
    }
    let tags = tags(event.remove("tags"));
    if !tags.is_empty() {
        event.insert("tags".to_owned(), tags.into());
    }
    if let Some(list) = event.remove("fingerprint").and_then(|value| value.as_array().cloned()) {
        let texts: Vec<JsonValue> = list.iter().take(32).filter_map(scalar).map(JsonValue::String).collect();
        event.insert("fingerprint".to_owned(), texts.into());
    }
    if let Some(JsonValue::Object(sdk)) = event.get_mut("sdk") {
        sdk.retain(|key, _| key == "name" || key == "version");
    }
    if let Some(JsonValue::Object(user)) = event.get_mut("user")
        && user.get("ip_address").is_some_and(|address| address == "{{auto}}")
    {
        user.remove("ip_address");
    }
}

fn tidy_exception(exception: &mut JsonValue) {
    let Some(exception) = exception.as_object_mut() else { return };
    for key in ["type", "value", "module"] {
        if let Some(mut text) = exception.remove(key).as_ref().and_then(scalar) {
            shorten(&mut text, if key == "value" { MAX_MESSAGE_BYTES } else { MAX_TYPE_BYTES });
            exception.insert(key.to_owned(), text.into());
        }
    }
    exception.remove("raw_stacktrace");
    // What has another shape than it should is not there: whoever reads the event may rely on that.
    if exception.get("stacktrace").is_some_and(|stacktrace| !stacktrace.get("frames").is_some_and(JsonValue::is_array)) {
        exception.remove("stacktrace");
    }
    if exception.get("mechanism").is_some_and(|mechanism| !mechanism.is_object()) {
        exception.remove("mechanism");
    }
    let frames =
        exception.get_mut("stacktrace").and_then(|stacktrace| stacktrace.get_mut("frames")).and_then(JsonValue::as_array_mut);
    let Some(frames) = frames else { return };
    frames.retain(JsonValue::is_object);
    let (near, far) = MAX_FRAMES;
    if frames.len() > near + far {
        frames.drain(far..frames.len() - near);
    }
}

/// Returns of `debug_meta` what says which source map a file has.
fn debug_ids(debug_meta: Option<JsonValue>) -> Option<JsonValue> {
    let images = debug_meta?.get_mut("images")?.take();
    let image = |image: &JsonValue| {
        let text = |key: &str| image.get(key)?.as_str().filter(|text| text.len() <= MAX_TYPE_BYTES);
        let (kind, file, id) = (text("type")?, text("code_file")?, text("debug_id")?);
        (kind == "sourcemap").then(|| json!({"type": kind, "code_file": file, "debug_id": id}))
    };
    let kept: Vec<JsonValue> = images.as_array()?.iter().filter_map(image).take(MAX_DEBUG_IDS).collect();
    (!kept.is_empty()).then(|| json!({ "images": kept }))
}

/// Returns the entries of `{"values": […]}`, of a list, or the one thing that stands there.
fn values(value: Option<JsonValue>) -> Vec<JsonValue> {
    match value {
        Some(JsonValue::Object(mut object)) => match object.remove("values") {
            Some(JsonValue::Array(list)) => list,
            Some(_) => Vec::new(),
            None => vec![JsonValue::Object(object)],
        },
        Some(JsonValue::Array(list)) => list,
        _ => Vec::new(),
    }
}

/// Returns tags, which are an object or a list of pairs, as an object of texts.
fn tags(value: Option<JsonValue>) -> Map<String, JsonValue> {
    let pairs: Vec<(String, String)> = match value {
        Some(JsonValue::Object(map)) => map.iter().filter_map(|(key, value)| Some((key.clone(), scalar(value)?))).collect(),
        Some(JsonValue::Array(list)) => {
            let pair = |entry: &JsonValue| match entry.as_array().map(Vec::as_slice) {
                Some([key, value]) => Some((scalar(key)?, scalar(value)?)),
                _ => Some((scalar(entry.get("key")?)?, scalar(entry.get("value")?)?)),
            };
            list.iter().filter_map(pair).collect()
        }
        _ => Vec::new(),
    };
    let mut tags = Map::new();
    for (mut key, mut value) in pairs.into_iter().take(MAX_TAGS) {
        shorten(&mut key, MAX_TAG_BYTES);
        shorten(&mut value, MAX_TAG_BYTES);
        if !key.is_empty() && !value.is_empty() {
            tags.entry(key).or_insert(value.into());
        }
    }
    tags
}

/// Returns a text, a number or a truth value as text.
fn scalar(value: &JsonValue) -> Option<String> {
    match value {
        JsonValue::String(text) => Some(text.clone()),
        JsonValue::Number(number) => Some(number.to_string()),
        JsonValue::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

/// Returns type and value of the reported exception, which is the last one. A type that a tool made up is none.
fn exception(event: &Map<String, JsonValue>) -> (String, String) {
    let last = event.get("exception").and_then(|exception| exception.get("values")?.as_array()?.last());
    let Some(last) = last.and_then(JsonValue::as_object) else { return Default::default() };
    let synthetic = last.get("mechanism").and_then(|mechanism| mechanism.get("synthetic")) == Some(&JsonValue::Bool(true));
    let kind = if synthetic { "" } else { text(last, "type") };
    (qualified(text(event, "platform"), text(last, "module"), kind), text(last, "value").to_owned())
}

/// Returns what a message says: formatted, or as it was written.
fn message(event: &Map<String, JsonValue>) -> String {
    let of = |value: &JsonValue| match value {
        JsonValue::String(text) => Some(text.clone()),
        JsonValue::Object(object) => {
            let said = ["formatted", "message"].iter().map(|key| text(object, key)).find(|said| !said.is_empty());
            said.map(str::to_owned)
        }
        _ => None,
    };
    let mut message = ["logentry", "message"].iter().find_map(|key| event.get(*key).and_then(of)).unwrap_or_default();
    shorten(&mut message, MAX_MESSAGE_BYTES);
    message
}

/// Returns what tells the user from others.
fn user(event: &Map<String, JsonValue>) -> Option<String> {
    let user = event.get("user")?.as_object()?;
    ["id", "username", "email", "ip_address"]
        .iter()
        .find_map(|key| user.get(*key).and_then(scalar).filter(|value| !value.is_empty()))
}

/// Returns an event's id as 32 digits; `None` if it is none.
pub(super) fn event_id(text: &str) -> Option<String> {
    let id = text.replace('-', "").to_ascii_lowercase();
    (id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
}

/// Returns a new id.
pub(super) fn new_id() -> String {
    uuid::Uuid::now_v7().simple().to_string()
}

/// Returns an event as text of at most [`MAX_EVENT_BYTES`].
fn fitting(event: Map<String, JsonValue>) -> String {
    let mut event = JsonValue::Object(event);
    let write = |event: &JsonValue| event.to_string();
    let mut text = write(&event);
    for step in 0..4 {
        if text.len() <= MAX_EVENT_BYTES {
            return text;
        }
        match step {
            0 => for_each_frame(&mut event, |frame| {
                frame.remove("vars");
            }),
            1 => remove(&mut event, &["extra", "attachments"]),
            2 => for_each_frame(&mut event, |frame| {
                frame.remove("pre_context");
                frame.remove("post_context");
            }),
            _ => remove(&mut event, &["breadcrumbs", "contexts", "request", "user"]),
        }
        text = write(&event);
    }
    if text.len() > MAX_EVENT_BYTES {
        // Hundreds of exceptions with hundreds of frames each: the reported one says most.
        if let Some(list) = event.pointer_mut("/exception/values").and_then(JsonValue::as_array_mut) {
            list.drain(..list.len().saturating_sub(1));
        }
        text = write(&event);
    }
    if text.len() > MAX_EVENT_BYTES {
        for_each_frame(&mut event, |frame| {
            frame.retain(|key, of| {
                matches!(key.as_str(), "module" | "function" | "lineno" | "in_app") && of.to_string().len() < 500
            });
        });
        let essentials = ["event_id", "exception", "level", "platform", "release", "environment", "timestamp", "cut"];
        if let Some(event) = event.as_object_mut() {
            event.retain(|key, of| essentials.contains(&key.as_str()) && (key == "exception" || of.to_string().len() < 2_000));
        }
        text = write(&event);
    }
    text
}

fn remove(event: &mut JsonValue, names: &[&str]) {
    if let Some(event) = event.as_object_mut() {
        for name in names {
            event.remove(*name);
        }
        event.insert("cut".to_owned(), true.into());
    }
}

fn for_each_frame(event: &mut JsonValue, mut change: impl FnMut(&mut Map<String, JsonValue>)) {
    let exceptions = event.pointer_mut("/exception/values").and_then(JsonValue::as_array_mut);
    for exception in exceptions.into_iter().flatten() {
        let frames = exception.pointer_mut("/stacktrace/frames").and_then(JsonValue::as_array_mut);
        frames.into_iter().flatten().filter_map(JsonValue::as_object_mut).for_each(&mut change);
    }
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
