//! Lines of JSON as log libraries write them, each with its own names for the same things.
//!
//! zap, zerolog, logrus, slog, bunyan, pino, winston, structlog, python-json-logger, Log4j and Logback, Serilog and .NET, Monolog, ECS,
//! GELF, systemd, MongoDB. Values stay slices of the line; only what is escaped is copied.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use watchfire_types::attributes::keys;
use watchfire_types::log::unhex;
use watchfire_types::{Severity, Timestamp};

use super::parsed::{Field, Parsed};
use super::times::{self, Around};

/// What a key stands for. Of several for one thing, the one with the least number counts; the others stay attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Time(u8),
    Level(u8),
    Body(u8),
    Service,
    Logger,
    Thread,
    Trace,
    Span,
    Host,
    Pid,
    Stack,
    /// An exception, as an object.
    Exception,
    /// Its entries belong to the record.
    Spread,
    /// Its entries belong to the resource.
    Resource,
    /// An object of ECS.
    Nested,
    Other,
}

/// Key and value of one entry, the value as it stands there.
type Entry<'a> = (Cow<'a, str>, &'a str);

/// Keeps what the keys of the last line stood for, since the next one mostly has the same.
#[derive(Clone, Debug, Default)]
pub struct KnownKeys(Vec<(Box<str>, Role)>);

impl KnownKeys {
    fn role(&mut self, position: usize, key: &str) -> Role {
        match self.0.get(position) {
            Some((known, role)) if **known == *key => *role,
            found => {
                let role = role(key);
                // Hostile keys are not kept.
                if position < 64 && key.len() <= 64 {
                    if found.is_some() {
                        self.0[position] = (key.into(), role);
                    } else if position == self.0.len() {
                        self.0.push((key.into(), role));
                    }
                }
                role
            }
        }
    }
}

fn role(key: &str) -> Role {
    match key {
        "timestamp" => Role::Time(0),
        "time" => Role::Time(1),
        "@timestamp" => Role::Time(2),
        "ts" => Role::Time(3),
        "_time" => Role::Time(4),
        "@t" => Role::Time(5),
        "Timestamp" => Role::Time(6),
        "datetime" | "asctime" => Role::Time(7),
        "timeMillis" | "instant" => Role::Time(8),
        "__REALTIME_TIMESTAMP" | "_SOURCE_REALTIME_TIMESTAMP" => Role::Time(9),
        "t" => Role::Time(10),
        "date" | "eventTime" => Role::Time(11),
        "level_name" | "levelname" => Role::Level(0),
        "level" => Role::Level(1),
        "severity" => Role::Level(2),
        "severity_text" => Role::Level(3),
        "lvl" => Role::Level(4),
        "log.level" | "loglevel" | "log_level" => Role::Level(5),
        "@l" | "Level" | "LogLevel" => Role::Level(6),
        "PRIORITY" => Role::Level(7),
        "s" => Role::Level(8),
        "message" => Role::Body(0),
        "msg" => Role::Body(1),
        "body" => Role::Body(2),
        "_msg" => Role::Body(3),
        "@m" => Role::Body(4),
        "MESSAGE" => Role::Body(5),
        "Message" | "RenderedMessage" => Role::Body(6),
        "short_message" => Role::Body(7),
        "log" => Role::Body(8),
        "event" => Role::Body(9),
        "@mt" | "MessageTemplate" => Role::Body(10),
        "service" | "service.name" | "service_name" | "SYSLOG_IDENTIFIER" => Role::Service,
        "logger" | "logger_name" | "loggerName" | "log.logger" | "SourceContext" | "Category" | "channel" | "component" => {
            Role::Logger
        }
        "thread" | "thread_name" | "threadName" | "process.thread.name" | "thread.name" => Role::Thread,
        "trace_id" | "traceId" | "traceID" | "trace.id" | "@tr" | "TraceId" => Role::Trace,
        "span_id" | "spanId" | "spanID" | "span.id" | "@sp" | "SpanId" => Role::Span,
        "hostname" | "host.name" | "_HOSTNAME" => Role::Host,
        "pid" | "process.pid" | "_PID" => Role::Pid,
        "stack_trace" | "stackTrace" | "error.stack_trace" | "stacktrace" | "exception" | "exc_info" | "stack" | "@x"
        | "Exception" => Role::Stack,
        "err" | "error" | "thrown" => Role::Exception,
        "attributes" | "Properties" | "State" | "attr" => Role::Spread,
        "resource" => Role::Resource,
        "process" | "host" | "trace" | "span" => Role::Nested,
        _ => Role::Other,
    }
}

/// Reads a line; `None` if it is not one JSON object.
#[must_use]
pub fn parse<'a>(line: &'a str, known: &mut KnownKeys, around: &mut Around<'_>) -> Option<Parsed<'a>> {
    let entries = entries(line)?;
    let mut roles = Vec::with_capacity(entries.len());
    // Where time, level and body stand, each with its rank.
    let (mut time, mut level, mut body) = (None, None, None);
    for (index, (key, value)) in entries.iter().enumerate() {
        let role = known.role(index, key);
        roles.push(role);
        match role {
            Role::Time(rank) => better(&mut time, rank, index),
            Role::Level(rank) if is_scalar(value) => better(&mut level, rank, index),
            Role::Body(rank) if *value != "null" && !(rank >= 8 && value.starts_with('{')) => better(&mut body, rank, index),
            _ => {}
        }
    }
    let has = |name: &str| entries.iter().any(|(key, _)| key == name);
    let is_gelf = has("short_message");
    // pino and bunyan give the program's name, Python the logger's.
    let name = if has("hostname") && has("pid") {
        Role::Service
    } else if has("levelname") {
        Role::Logger
    } else {
        Role::Other
    };
    for ((key, _), role) in entries.iter().zip(&mut roles) {
        match &**key {
            "name" => *role = name,
            "host" if is_gelf => *role = Role::Host,
            _ => {}
        }
    }
    let mut parsed = Parsed { attributes: Vec::with_capacity(entries.len()), ..Parsed::default() };
    for (index, ((key, value), role)) in entries.into_iter().zip(roles).enumerate() {
        let is = |best: Option<(u8, usize)>| best.is_some_and(|(_, at)| at == index);
        if is(time)
            && let Some(moment) = moment(value, around)
        {
            parsed.timestamp = Some(moment);
        } else if is(level)
            && let Some((severity, text)) = severity(value, is_gelf || key == "PRIORITY")
        {
            (parsed.severity, parsed.severity_text) = (severity, text);
        } else if is(body) {
            parsed.body = field(value);
        } else {
            entry(&mut parsed, key, value, role, 0);
        }
    }
    exception_type(&mut parsed);
    Some(parsed)
}

fn better(best: &mut Option<(u8, usize)>, rank: u8, index: usize) {
    if best.is_none_or(|(other, _)| rank < other) {
        *best = Some((rank, index));
    }
}

fn is_scalar(value: &str) -> bool {
    !value.starts_with(['{', '['])
}

/// Puts an entry where it belongs.
fn entry<'a>(parsed: &mut Parsed<'a>, key: Cow<'a, str>, value: &'a str, role: Role, depth: u8) {
    let is_object = value.starts_with('{');
    let taken = match role {
        Role::Service if !is_object => text(value).filter(|_| parsed.service.is_none()).map(|name| parsed.service = Some(name)),
        Role::Logger if parsed.scope.is_empty() => text(value).map(|name| parsed.scope = name),
        Role::Thread => text(value).map(|name| parsed.attributes.push((Cow::Borrowed("thread.name"), Field::Text(name)))),
        Role::Trace => text(value).and_then(|id| unhex(&id)).map(|id| parsed.trace_id = id),
        Role::Span => text(value).and_then(|id| unhex(&id)).map(|id| parsed.span_id = id),
        Role::Host if !is_object => text(value).map(|name| parsed.host = Some(name)),
        Role::Pid => match field(value) {
            Field::Int(id) => {
                parsed.attribute(keys::PROCESS_PID, Field::Int(id));
                Some(())
            }
            Field::Text(id) => id.parse().ok().map(|id| parsed.attribute(keys::PROCESS_PID, Field::Int(id))),
            _ => None,
        },
        Role::Stack if !is_object => text(value)
            // A name may be called a stack as well.
            .filter(|text| text.contains('\n'))
            .map(|text| parsed.attributes.push((Cow::Borrowed(keys::EXCEPTION_STACKTRACE), Field::Text(text)))),
        Role::Exception | Role::Stack if is_object => exception(parsed, value),
        Role::Spread if is_object && depth == 0 => spread(parsed, "", value, depth),
        Role::Resource if is_object => entries(value).map(|entries| {
            parsed.resource.extend(entries.into_iter().map(|(key, value)| (key, field(value))));
        }),
        Role::Nested | Role::Service | Role::Host | Role::Body(8) if is_object && depth == 0 => spread(parsed, &key, value, depth),
        _ => None,
    };
    if taken.is_none() && value != "null" {
        parsed.attributes.push((key, field(value)));
    }
}

/// Takes the entries of an object, each as if it stood outside with the object's key before its own.
fn spread<'a>(parsed: &mut Parsed<'a>, prefix: &str, value: &'a str, depth: u8) -> Option<()> {
    for (key, value) in entries(value)? {
        let key = if prefix.is_empty() { key } else { Cow::Owned(format!("{prefix}.{key}")) };
        match role(&key) {
            Role::Level(_) if parsed.severity == Severity::UNSET => match severity(value, false) {
                Some((number, text)) => (parsed.severity, parsed.severity_text) = (number, text),
                None => parsed.attributes.push((key, field(value))),
            },
            Role::Time(_) | Role::Level(_) | Role::Body(_) => parsed.attributes.push((key, field(value))),
            role => entry(parsed, key, value, role, depth + 1),
        }
    }
    Some(())
}

/// Reads an exception: `{"type": …, "message": …, "stack": …}` in the names of pino, bunyan, Log4j, ECS.
fn exception<'a>(parsed: &mut Parsed<'a>, value: &'a str) -> Option<()> {
    for (key, value) in entries(value)? {
        let target = match &*key {
            "type" | "name" | "class" | "kind" | "className" => keys::EXCEPTION_TYPE,
            "message" | "msg" | "localizedMessage" => keys::EXCEPTION_MESSAGE,
            "stack" | "stack_trace" | "stackTrace" | "stacktrace" | "extendedStackTrace" | "trace" => keys::EXCEPTION_STACKTRACE,
            _ => "",
        };
        if target.is_empty() || parsed.attributes.iter().any(|(known, _)| known == target) {
            parsed.attributes.push((Cow::Owned(format!("error.{key}")), field(value)));
        } else if value != "null" {
            parsed.attributes.push((Cow::Borrowed(target), field(value)));
        }
    }
    Some(())
}

/// Turns ECS's names of an exception into OpenTelemetry's, which it has taken over since.
fn exception_type(parsed: &mut Parsed<'_>) {
    let has_stack = parsed.attributes.iter().any(|(key, _)| key == keys::EXCEPTION_STACKTRACE);
    if has_stack {
        for (key, _) in &mut parsed.attributes {
            if key == "error.type" {
                *key = Cow::Borrowed(keys::EXCEPTION_TYPE);
            } else if key == "error.message" {
                *key = Cow::Borrowed(keys::EXCEPTION_MESSAGE);
            }
        }
    }
}

/// Reads a time: text, a number since 1970, Log4j's `instant`, MongoDB's `{"$date": …}`.
fn moment(value: &str, around: &mut Around<'_>) -> Option<Timestamp> {
    match value.as_bytes().first()? {
        b'"' => {
            let text = text(value)?;
            let time = times::whole(text.trim(), around)?;
            (time != Timestamp::ZERO).then_some(time)
        }
        b'{' => {
            let entries = entries(value)?;
            let find = |name: &str| entries.iter().find(|(key, _)| key == name).map(|(_, value)| *value);
            if let Some(date) = find("$date") {
                return date.starts_with('"').then(|| moment(date, around))?;
            }
            let seconds: u64 = find("epochSecond")?.parse().ok()?;
            let nanos: u64 = find("nanoOfSecond").unwrap_or("0").parse().ok()?;
            Some(Timestamp::from_nanos(seconds.checked_mul(1_000_000_000)?.checked_add(nanos)?))
        }
        b'0'..=b'9' => crate::inputs::time::from_number(&serde_json::from_str(value).ok()?),
        _ => None,
    }
}

/// Reads a level: a word, a number of OpenTelemetry, pino, bunyan or Monolog, or of syslog where that `is_syslog`.
fn severity(value: &str, is_syslog: bool) -> Option<(Severity, Cow<'_, str>)> {
    let level = text(value).unwrap_or(Cow::Borrowed(value));
    if let Some(severity) = Severity::from_text(level.trim()) {
        return Some((severity, level));
    }
    let number: u64 = level.parse().ok()?;
    let severity = match number {
        0..=7 if is_syslog => Severity::from_syslog(number as u8),
        1..=9 | 11..=19 | 21..=24 => Severity(number as u8),
        10 => Severity::TRACE,
        20 | 100..=199 => Severity::DEBUG,
        25..=39 | 200..=249 => Severity::INFO,
        250..=299 => Severity(10),
        40..=49 | 300..=399 => Severity::WARN,
        50..=59 | 400..=499 => Severity::ERROR,
        60..=99 | 500..=600 => Severity::FATAL,
        _ => return None,
    };
    Some((severity, level))
}

/// Returns the text of a JSON string.
fn text(value: &str) -> Option<Cow<'_, str>> {
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str(value).ok().map(Cow::Owned)
}

/// Returns a JSON value.
fn field(value: &str) -> Field<'_> {
    match value.as_bytes().first() {
        Some(b'"') => text(value).map_or(Field::Null, Field::Text),
        Some(b'{' | b'[') => Field::Json(value),
        Some(b't') => Field::Bool(true),
        Some(b'f') => Field::Bool(false),
        Some(b'n') | None => Field::Null,
        Some(_) => match value.parse() {
            Ok(number) => Field::Int(number),
            Err(_) => Field::Float(value.parse().unwrap_or(f64::NAN)),
        },
    }
}

/// Returns the entries of an object, in their order.
fn entries(text: &str) -> Option<Vec<Entry<'_>>> {
    serde_json::from_str::<Object<'_>>(text).ok().map(|object| object.0)
}

struct Object<'a>(Vec<Entry<'a>>);

struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Keys)
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Objects;
        impl<'de> Visitor<'de> for Objects {
            type Value = Object<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::with_capacity(12);
                while let Some((Key(key), value)) = map.next_entry::<Key<'de>, &'de RawValue>()? {
                    entries.push((key, value.get()));
                }
                Ok(Object(entries))
            }
        }
        deserializer.deserialize_map(Objects)
    }
}
