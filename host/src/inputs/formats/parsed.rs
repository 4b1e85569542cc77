//! What a format finds in a line, before it is put into a batch.

use std::borrow::Cow;

use watchfire_types::{Severity, Timestamp, ValueRef};

/// One value: borrowed from the line wherever the line holds it as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Field<'a> {
    /// No value.
    #[default]
    Null,
    /// Text.
    Text(Cow<'a, str>),
    /// True or false.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// JSON text of an array or an object.
    Json(&'a str),
}

impl<'a> Field<'a> {
    /// Returns text.
    #[must_use]
    pub fn text(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    /// Reads a value that has no quotes: an integer or a boolean if it is written as we would write it, otherwise text.
    #[must_use]
    pub fn bare(text: &'a str) -> Self {
        match text {
            "true" => Self::Bool(true),
            "false" => Self::Bool(false),
            _ => match integer(text) {
                Some(number) => Self::Int(number),
                None => Self::text(text),
            },
        }
    }

    /// Returns it as batches take it.
    #[must_use]
    pub fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Self::Null => ValueRef::Null,
            Self::Text(text) => ValueRef::Text(text),
            Self::Bool(value) => ValueRef::Bool(*value),
            Self::Int(value) => ValueRef::Int(*value),
            Self::Float(value) => ValueRef::Float(*value),
            Self::Json(json) => ValueRef::Json(json),
        }
    }

    /// Returns the text of a text.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Reads an integer that has no sign but a minus, no leading zeros, and at most eighteen digits.
#[must_use]
pub fn integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
    let canonical = matches!(digits.len(), 1..=18) && (digits[0] != b'0' || text == "0") && digits.iter().all(u8::is_ascii_digit);
    if canonical { text.parse().ok() } else { None }
}

/// A line taken apart. What it does not say is `None`, empty or unset.
#[derive(Clone, Debug, Default)]
pub struct Parsed<'a> {
    /// When it was written.
    pub timestamp: Option<Timestamp>,
    /// Level as a number.
    pub severity: Severity,
    /// Level as written.
    pub severity_text: Cow<'a, str>,
    /// The message.
    pub body: Field<'a>,
    /// The program.
    pub service: Option<Cow<'a, str>>,
    /// The machine.
    pub host: Option<Cow<'a, str>>,
    /// Name of the logger.
    pub scope: Cow<'a, str>,
    /// Zero when absent.
    pub trace_id: [u8; 16],
    /// Zero when absent.
    pub span_id: [u8; 8],
    /// Attributes of the record.
    pub attributes: Vec<(Cow<'a, str>, Field<'a>)>,
    /// Attributes of what produced it, beside service and host.
    pub resource: Vec<(Cow<'a, str>, Field<'a>)>,
}

impl<'a> Parsed<'a> {
    /// Returns a line of which only the message is known.
    #[must_use]
    pub fn message(text: &'a str) -> Self {
        Self { body: Field::text(text), ..Self::default() }
    }

    /// Sets the level from how it is written, if that is one.
    pub fn level(&mut self, text: &'a str) {
        if let Some(severity) = Severity::from_text(text) {
            self.severity = severity;
            self.severity_text = Cow::Borrowed(text);
        }
    }

    /// Adds an attribute.
    pub fn attribute(&mut self, key: &'a str, value: Field<'a>) {
        self.attributes.push((Cow::Borrowed(key), value));
    }

    /// Adds a text attribute, unless it is empty or the dash that stands for "none".
    pub fn text(&mut self, key: &'a str, value: &'a str) {
        if !value.is_empty() && value != "-" {
            self.attribute(key, Field::text(value));
        }
    }

    /// Adds an integer attribute, if it is one.
    pub fn number(&mut self, key: &'a str, value: &str) {
        if let Some(value) = integer(value) {
            self.attribute(key, Field::Int(value));
        }
    }
}
