//! The fields of a record by the names under which a query knows them.

use std::borrow::Cow;

use watchfire_types::attributes::keys;
use watchfire_types::log::{hex, service_of};
use watchfire_types::{LogBatch, Severity, Timestamp, Value};

use crate::logs::block::Columns;

/// A field of a record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// What was logged.
    Body,
    /// The severity, by the name of its range.
    Level,
    /// The level as the source wrote it.
    SeverityText,
    /// `service.name`.
    Service,
    /// Id of the pattern of the body.
    Pattern,
    /// Trace id, in hexadecimal digits.
    TraceId,
    /// Span id, in hexadecimal digits.
    SpanId,
    /// Name of the logger.
    Scope,
    /// Name of the event.
    EventName,
    /// Position in the log.
    Seq,
    /// Event time.
    Timestamp,
    /// An attribute of the record, or else of its resource.
    Attribute(String),
}

/// What every record has, whatever its attributes, with the names of the fields.
pub const BUILT_IN: [&str; 11] =
    ["body", "event_name", "level", "pattern", "scope", "seq", "service", "severity_text", "span_id", "timestamp", "trace_id"];

impl Field {
    /// Returns the field called `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        match name {
            "body" => Self::Body,
            "level" | "severity" => Self::Level,
            "severity_text" => Self::SeverityText,
            "service" | keys::SERVICE_NAME => Self::Service,
            "pattern" => Self::Pattern,
            "trace_id" => Self::TraceId,
            "span_id" => Self::SpanId,
            "scope" => Self::Scope,
            "event_name" => Self::EventName,
            "seq" => Self::Seq,
            "timestamp" | "time" => Self::Timestamp,
            name => Self::Attribute(name.to_owned()),
        }
    }

    /// Returns its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Body => "body",
            Self::Level => "level",
            Self::SeverityText => "severity_text",
            Self::Service => "service",
            Self::Pattern => "pattern",
            Self::TraceId => "trace_id",
            Self::SpanId => "span_id",
            Self::Scope => "scope",
            Self::EventName => "event_name",
            Self::Seq => "seq",
            Self::Timestamp => "timestamp",
            Self::Attribute(name) => name,
        }
    }

    /// Returns what of a block must be read to know it.
    #[must_use]
    pub fn columns(&self) -> Columns {
        match self {
            Self::Body => Columns { body: true, ..Columns::HEAD },
            Self::TraceId | Self::SpanId => Columns { ids: true, ..Columns::HEAD },
            Self::Attribute(_) => Columns { attributes: true, ..Columns::HEAD },
            _ => Columns::HEAD,
        }
    }

    /// Returns the keys of a record's attributes that must be read to know it.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        let Self::Attribute(name) = self else { return Vec::new() };
        let inner = name.strip_prefix("attributes.").map(str::to_owned);
        std::iter::once(name.clone()).chain(inner).collect()
    }

    /// Returns the text of row `row` of `batch`: nothing if the record does not have it. Slow; what runs over many rows goes by column.
    #[must_use]
    pub fn text<'a>(&self, batch: &'a LogBatch, row: usize) -> Option<Cow<'a, [u8]>> {
        let some = |text: String| (!text.is_empty()).then(|| Cow::Owned(text.into_bytes()));
        let from = |text: &'a str| (!text.is_empty()).then_some(Cow::Borrowed(text.as_bytes()));
        match self {
            Self::Body => Some(batch.body.data.get(row)).filter(|_| batch.body.kind[row] != 0).map(Cow::Borrowed),
            Self::Level => from(Severity(batch.severity[row]).name()),
            Self::SeverityText => from(batch.dict.get(batch.severity_text[row])),
            Self::Service => from(batch.service(row)),
            Self::Pattern => batch.pattern.get(row).filter(|id| **id != 0).and_then(|id| some(id.to_string())),
            Self::TraceId => some(hex(&batch.trace_id[row])),
            Self::SpanId => some(hex(&batch.span_id[row])),
            Self::Scope => from(batch.dict.get(batch.scope[row])),
            Self::EventName => from(batch.dict.get(batch.event_name[row])),
            Self::Seq => batch.seq.get(row).and_then(|seq| some(seq.to_string())),
            Self::Timestamp => some(Timestamp::from_nanos(batch.time[row]).to_string()),
            Self::Attribute(name) => Attribute::find(batch, name).get(batch, row),
        }
    }
}

/// Where one batch has the values of an attribute: looked up once, then read row by row.
#[derive(Debug)]
pub struct Attribute {
    /// Its index in the dictionary.
    key: Option<u32>,
    /// Its text in each resource.
    resources: Vec<Option<Vec<u8>>>,
}

impl Attribute {
    /// Finds the attribute called `name`. `attributes.x` means an attribute of the record, `resource.x` one of its resource, even
    /// where the other has it too.
    #[must_use]
    pub fn find(batch: &LogBatch, name: &str) -> Self {
        let in_resources = |name: &str| -> Vec<Option<Vec<u8>>> {
            let of = |value: &Value| value.as_ref().display().into_bytes();
            let find = |resource: &Vec<(String, Value)>| resource.iter().find(|(key, _)| key == name).map(|(_, value)| of(value));
            batch.resources.iter().map(find).collect()
        };
        let found = Self { key: batch.dict.find(name), resources: in_resources(name) };
        if found.key.is_some() || found.resources.iter().any(Option::is_some) {
            return found;
        }
        match name.split_once('.') {
            Some(("attributes", rest)) => Self { key: batch.dict.find(rest), resources: Vec::new() },
            Some(("resource", rest)) => Self { key: None, resources: in_resources(rest) },
            _ => found,
        }
    }

    /// Returns whether no record of the batch can have it.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.key.is_none() && self.resources.iter().all(Option::is_none)
    }

    /// Returns its text in row `row`.
    #[must_use]
    pub fn get<'a>(&self, batch: &'a LogBatch, row: usize) -> Option<Cow<'a, [u8]>> {
        if let Some(key) = self.key
            && let Some(index) = batch.attribute_range(row).find(|index| batch.attribute_key[*index] == key)
        {
            return Some(match batch.attribute_value.kind[index] {
                // What other programs see of bytes is base64.
                5 => Cow::Owned(batch.attribute_value.get(index).display().into_bytes()),
                _ => Cow::Borrowed(batch.attribute_value.data.get(index)),
            });
        }
        let text = self.resources.get(batch.resource[row] as usize)?.as_ref()?;
        Some(Cow::Owned(text.clone()))
    }

    /// Calls `test` with its bytes in row `row`; `None` if the record does not have it.
    pub fn with<T>(&self, batch: &LogBatch, row: usize, test: impl FnOnce(Option<&[u8]>) -> T) -> T {
        if let Some(key) = self.key
            && let Some(index) = batch.attribute_range(row).find(|index| batch.attribute_key[*index] == key)
        {
            if batch.attribute_value.kind[index] == 5 {
                return test(Some(batch.attribute_value.get(index).display().as_bytes()));
            }
            return test(Some(batch.attribute_value.data.get(index)));
        }
        test(self.resources.get(batch.resource[row] as usize).and_then(Option::as_deref))
    }
}

/// Returns the services of the resources of `batch`.
#[must_use]
pub fn services(batch: &LogBatch) -> Vec<&str> {
    batch.resources.iter().map(|resource| service_of(resource).unwrap_or("")).collect()
}

impl Columns {
    /// Returns what is in either.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self { ids: self.ids || other.ids, body: self.body || other.body, attributes: self.attributes || other.attributes }
    }

    /// Returns what is in it and not in `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self { ids: self.ids && !other.ids, body: self.body && !other.body, attributes: self.attributes && !other.attributes }
    }
}
