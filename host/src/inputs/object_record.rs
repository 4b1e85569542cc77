//! From an object's fields to a record: which key means what is said by the input, the rest are attributes.

use jiff::tz::TimeZone;
use watchfire_types::attributes::keys::{HOST_NAME, PROCESS_PID, SERVICE_NAME};
use watchfire_types::log::{RecordHead, unhex};
use watchfire_types::{Attributes, Severity, Timestamp, ValueRef};

use super::builder::BatchBuilder;
use super::json_fields::{Field, FieldValue, Object};
use super::ndjson::{Defaults, LineRefused};
use super::time;

/// What a key stands for. Of several keys with one meaning the one with the least number is taken; the others are attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Time,
    Observed,
    /// The level as text, or as a number of OpenTelemetry's or pino's scale.
    Level,
    /// OpenTelemetry's number; wins over the level.
    SeverityNumber,
    Body,
    Service,
    Host,
    TraceId,
    SpanId,
    ProcessId,
    EventName,
    Scope,
}

/// Places of fields at which what a key stands for is remembered from one object to the next.
const MOST_REMEMBERED: usize = 64;

/// How many meanings there are.
const MEANINGS: usize = Meaning::Scope as usize + 1;

/// Says what a key stands for, and how much it is preferred.
pub(super) type Keys = fn(&str) -> Option<(Meaning, u8)>;

/// Appends the record that `object` is. `more` goes into its resource.
pub(super) fn push(
    builder: &mut BatchBuilder,
    object: &mut Object<'_>,
    keys: Keys,
    defaults: &Defaults<'_>,
    more: Option<(&'static str, &str)>,
) -> Result<(), LineRefused> {
    let Object { fields, meanings, attributes, resource: entries } = object;
    let mut chosen = Chosen::of(&fields.list, meanings, keys);
    let timestamp = match chosen.field(Meaning::Time) {
        None => defaults.now,
        Some(field) => time_of(&field.value, defaults.zone)
            .ok_or_else(|| LineRefused::Reason(format!("{}: {} is not a time", field.key, shown(&field.value))))?,
    };
    let observed = chosen.take(Meaning::Observed, |value| time_of(value, defaults.zone)).unwrap_or(defaults.now);
    let number = |value: &FieldValue<'_>| match value {
        FieldValue::Int(number @ 1..=24) => Some(Severity(*number as u8)),
        _ => None,
    };
    let severity_number = chosen.take(Meaning::SeverityNumber, number);
    let level =
        chosen.take_field(Meaning::Level, |value| matches!(value, FieldValue::Text(_) | FieldValue::Int(_) | FieldValue::Float(_)));
    let written;
    let (severity, severity_text) = match level.map(|field| &field.value) {
        Some(FieldValue::Text(text)) => (Severity::from_text(text.trim()).unwrap_or_default(), &**text),
        Some(value) => {
            written = shown(value);
            (level_of(if let FieldValue::Int(number) = value { u64::try_from(*number).unwrap_or(0) } else { 0 }), &*written)
        }
        None => (Severity::UNSET, ""),
    };
    let severity = severity_number.unwrap_or(severity);
    let text = |value: &FieldValue<'_>| matches!(value, FieldValue::Text(_));
    let service = chosen.take_field(Meaning::Service, text).and_then(|field| field.value.as_text()).or(defaults.service);
    let host = chosen.take_field(Meaning::Host, text).and_then(|field| field.value.as_text()).or(defaults.host);
    let scope = chosen.take_field(Meaning::Scope, text).and_then(|field| field.value.as_text()).unwrap_or("");
    let event_name = chosen.take_field(Meaning::EventName, text).and_then(|field| field.value.as_text()).unwrap_or("");
    let process_id = chosen.take(Meaning::ProcessId, integer);
    let trace_id = chosen.take(Meaning::TraceId, |value| unhex(value.as_text()?)).unwrap_or_default();
    let span_id = chosen.take(Meaning::SpanId, |value| unhex(value.as_text()?)).unwrap_or_default();
    let resource = resource(builder, &entries.list, service, host, more);
    let head =
        RecordHead { timestamp, observed, severity, severity_text, resource, scope, event_name, trace_id, span_id, flags: 0 };
    builder.push(&head, chosen.field(Meaning::Body).map_or(ValueRef::Null, |field| field.value.as_ref()))?;
    if let Some(id) = process_id {
        builder.attribute(PROCESS_PID, ValueRef::Int(id));
    }
    for (index, field) in fields.list.iter().enumerate() {
        if chosen.is_used(index) {
            continue;
        }
        match field.value {
            FieldValue::Entries if field.key == "attributes" => {
                for field in &attributes.list {
                    builder.attribute(&field.key, field.value.as_ref());
                }
            }
            // The resource, which has been read.
            FieldValue::Entries => {}
            _ => builder.attribute(&field.key, field.value.as_ref()),
        }
    }
    Ok(())
}

fn resource(
    builder: &mut BatchBuilder,
    entries: &[Field<'_>],
    service: Option<&str>,
    host: Option<&str>,
    more: Option<(&'static str, &str)>,
) -> u32 {
    let service = service.map(|service| (SERVICE_NAME, service));
    let host = host.map(|host| (HOST_NAME, host));
    if entries.is_empty() {
        return builder.text_resource([service, host, more]);
    }
    let mut resource: Attributes = entries.iter().map(|field| (field.key.to_string(), field.value.as_ref().to_value())).collect();
    for (key, value) in [service, host, more].into_iter().flatten() {
        if !resource.iter().any(|(known, _)| *known == key) {
            resource.push((key.to_owned(), value.into()));
        }
    }
    builder.resource(resource)
}

/// The fields that were chosen for each meaning, and which of them are used.
struct Chosen<'o, 'a> {
    fields: &'o [Field<'a>],
    places: [Option<(u8, usize)>; MEANINGS],
}

impl<'o, 'a> Chosen<'o, 'a> {
    fn of(fields: &'o [Field<'a>], meanings: &mut Vec<(String, Option<(Meaning, u8)>)>, keys: Keys) -> Self {
        let mut places: [Option<(u8, usize)>; MEANINGS] = [None; MEANINGS];
        for (index, field) in fields.iter().enumerate() {
            let meaning = match meanings.get(index) {
                Some((key, meaning)) if *key == field.key => *meaning,
                _ => {
                    let meaning = keys(&field.key);
                    match meanings.get_mut(index) {
                        Some(place) => *place = (field.key.to_string(), meaning),
                        None if index < MOST_REMEMBERED => meanings.push((field.key.to_string(), meaning)),
                        None => {}
                    }
                    meaning
                }
            };
            // What is null says nothing, and what has been read into a part of its own means nothing else.
            if let Some((meaning, rank)) = meaning
                && !matches!(field.value, FieldValue::Null | FieldValue::Entries)
            {
                let place = &mut places[meaning as usize];
                if place.is_none_or(|(other, _)| rank < other) {
                    *place = Some((rank, index));
                }
            }
        }
        Self { fields, places }
    }

    fn field(&self, meaning: Meaning) -> Option<&'o Field<'a>> {
        self.places[meaning as usize].map(|(_, index)| &self.fields[index])
    }

    /// Returns what `read` makes of the chosen field. If it makes nothing of it, the field stays an attribute.
    fn take<T>(&mut self, meaning: Meaning, read: impl FnOnce(&FieldValue<'a>) -> Option<T>) -> Option<T> {
        let value = self.field(meaning).and_then(|field| read(&field.value));
        if value.is_none() {
            self.places[meaning as usize] = None;
        }
        value
    }

    /// The same for a field that is used as it is.
    fn take_field(&mut self, meaning: Meaning, fits: impl FnOnce(&FieldValue<'a>) -> bool) -> Option<&'o Field<'a>> {
        let field = self.field(meaning).filter(|field| fits(&field.value));
        if field.is_none() {
            self.places[meaning as usize] = None;
        }
        field
    }

    fn is_used(&self, index: usize) -> bool {
        self.places.iter().flatten().any(|(_, used)| *used == index)
    }
}

fn integer(value: &FieldValue<'_>) -> Option<i64> {
    match value {
        FieldValue::Int(number) => Some(*number),
        FieldValue::Text(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn time_of(value: &FieldValue<'_>, zone: &TimeZone) -> Option<Timestamp> {
    match value {
        FieldValue::Text(text) => time::parse(text.trim(), zone),
        FieldValue::Int(number) => u64::try_from(*number).ok().map(Timestamp::from_epoch),
        FieldValue::Float(number) => time::from_float(*number),
        _ => None,
    }
}

/// Returns the severity of a numeric level: OpenTelemetry's up to 24, else that of bunyan and pino, in tens from 10 to 60.
fn level_of(number: u64) -> Severity {
    match number {
        0 => Severity::UNSET,
        1..=9 | 11..=19 | 21..=24 => Severity(number as u8),
        10 => Severity::TRACE,
        20 => Severity::DEBUG,
        25..=39 => Severity::INFO,
        40..=49 => Severity::WARN,
        50..=59 => Severity::ERROR,
        _ => Severity::FATAL,
    }
}

/// Returns the JSON text of a value, or the beginning of it.
fn shown(value: &FieldValue<'_>) -> String {
    value.as_ref().to_json().to_string().chars().take(80).collect()
}
