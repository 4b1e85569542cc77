//! OTLP logs in protobuf, read straight into columns: what most records come through.
//!
//! Equal to decoding with prost and copying from its objects ([`super::reference`]), which tests and a fuzz target hold it to;
//! it allocates per batch instead of per field. Where protobuf lets a field occur twice, the parts are merged as prost merges
//! them: by reading their bytes one after the other.

use std::borrow::Cow;

use watchfire_types::attributes::base64;
use watchfire_types::log::RecordHead;
use watchfire_types::{Attributes, LogBatch, Severity, Timestamp, ValueRef};

use super::DecodeError;
use super::json_text::{push_float, push_int, push_string};
use super::wire::{Depth, Reader, WireError};
use crate::inputs::builder::{BatchBuilder, keep_first};

/// Reads an `ExportLogsServiceRequest` into at most about `budget` bytes of columns.
///
/// # Errors
/// [`DecodeError::Wire`] when `bytes` are not such a message, [`DecodeError::OverBudget`] when it says too much.
pub fn decode(bytes: &[u8], budget: usize) -> Result<LogBatch, DecodeError> {
    let mut decoder = Decoder { builder: BatchBuilder::new(budget), json: String::new(), attributes: Vec::new() };
    let mut request = Reader::new(bytes, Depth::TOP);
    while let Some(field) = request.next()? {
        if field.number == 1 {
            decoder.resource_logs(field.bytes()?, Depth::TOP.enter()?)?;
        }
    }
    Ok(decoder.builder.finish())
}

struct Decoder<'a> {
    builder: BatchBuilder,
    /// Reused for the JSON text of nested values.
    json: String,
    /// Reused for the attributes of one record, which may come before its body.
    attributes: Vec<&'a [u8]>,
}

impl<'a> Decoder<'a> {
    fn resource_logs(&mut self, bytes: &'a [u8], depth: Depth) -> Result<(), DecodeError> {
        // The resource may follow its records, so it is looked for first; that only hops from length to length.
        let mut attributes = Attributes::new();
        let mut fields = Reader::new(bytes, depth);
        while let Some(field) = fields.next()? {
            if field.number == 1 {
                read_resource(field.bytes()?, depth.enter()?, &mut attributes)?;
            }
        }
        let resource = self.builder.resource(attributes);
        let mut fields = Reader::new(bytes, depth);
        while let Some(field) = fields.next()? {
            if field.number == 2 {
                self.scope_logs(field.bytes()?, depth.enter()?, resource)?;
            }
        }
        Ok(())
    }

    fn scope_logs(&mut self, bytes: &'a [u8], depth: Depth, resource: u32) -> Result<(), DecodeError> {
        let mut scope = "";
        let mut fields = Reader::new(bytes, depth);
        while let Some(field) = fields.next()? {
            if field.number == 1 {
                let mut fields = Reader::new(field.bytes()?, depth.enter()?);
                while let Some(field) = fields.next()? {
                    if field.number == 1 {
                        scope = field.text()?;
                    }
                }
            }
        }
        let mut fields = Reader::new(bytes, depth);
        while let Some(field) = fields.next()? {
            if field.number == 2 {
                self.record(field.bytes()?, depth.enter()?, resource, scope)?;
            }
        }
        Ok(())
    }

    fn record(&mut self, bytes: &'a [u8], depth: Depth, resource: u32, scope: &str) -> Result<(), DecodeError> {
        let mut head = RecordHead { resource, scope, ..RecordHead::default() };
        let mut body: Cow<'a, [u8]> = Cow::Borrowed(&[]);
        self.attributes.clear();
        let mut fields = Reader::new(bytes, depth);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => head.timestamp = Timestamp::from_nanos(field.fixed64()?),
                2 => head.severity = severity(field.varint()? as i32),
                3 => head.severity_text = field.text()?,
                5 => append(&mut body, field.bytes()?),
                6 => self.attributes.push(field.bytes()?),
                8 => head.flags = field.fixed32()?,
                9 => head.trace_id = field.bytes()?.try_into().unwrap_or_default(),
                10 => head.span_id = field.bytes()?.try_into().unwrap_or_default(),
                11 => head.observed = Timestamp::from_nanos(field.fixed64()?),
                12 => head.event_name = field.text()?,
                _ => {}
            }
        }
        let value_depth = depth.enter()?;
        let body = read_any(&body, value_depth)?;
        self.builder.push(&head, body.to_value(value_depth, &mut self.json)?)?;
        for bytes in &self.attributes {
            let (key, value) = read_key_value(bytes, value_depth)?;
            let value_depth = value_depth.enter()?;
            let value = read_any(&value, value_depth)?;
            self.builder.attribute(key, value.to_value(value_depth, &mut self.json)?);
        }
        Ok(())
    }
}

/// Returns the severity with this number; unset if there is none.
pub(super) fn severity(number: i32) -> Severity {
    Severity(u8::try_from(number).ok().filter(|number| *number <= 24).unwrap_or(0))
}

fn read_resource(bytes: &[u8], depth: Depth, attributes: &mut Attributes) -> Result<(), WireError> {
    let mut json = String::new();
    let mut fields = Reader::new(bytes, depth);
    while let Some(field) = fields.next()? {
        if field.number == 1 {
            let (key, value) = read_key_value(field.bytes()?, depth.enter()?)?;
            let depth = depth.enter()?.enter()?;
            attributes.push((key.to_owned(), read_any(&value, depth)?.to_value(depth, &mut json)?.to_value()));
        }
    }
    Ok(())
}

/// An `AnyValue` whose nested parts have not been read yet.
enum Any<'a> {
    Plain(ValueRef<'a>),
    Array(Cow<'a, [u8]>),
    Map(Cow<'a, [u8]>),
}

fn append<'a>(whole: &mut Cow<'a, [u8]>, part: &'a [u8]) {
    if whole.is_empty() {
        *whole = Cow::Borrowed(part);
    } else {
        whole.to_mut().extend_from_slice(part);
    }
}

/// Reads a `KeyValue`: its key, and the bytes of its `AnyValue`.
fn read_key_value(bytes: &[u8], depth: Depth) -> Result<(&str, Cow<'_, [u8]>), WireError> {
    let (mut key, mut value) = ("", Cow::Borrowed(&[][..]));
    let mut fields = Reader::new(bytes, depth);
    while let Some(field) = fields.next()? {
        match field.number {
            1 => key = field.text()?,
            2 => append(&mut value, field.bytes()?),
            _ => {}
        }
    }
    Ok((key, value))
}

fn read_any(bytes: &[u8], depth: Depth) -> Result<Any<'_>, WireError> {
    let mut any = Any::Plain(ValueRef::Null);
    let mut fields = Reader::new(bytes, depth);
    while let Some(field) = fields.next()? {
        let next = match field.number {
            1 => Any::Plain(ValueRef::Text(field.text()?)),
            2 => Any::Plain(ValueRef::Bool(field.varint()? != 0)),
            3 => Any::Plain(ValueRef::Int(field.varint()? as i64)),
            4 => Any::Plain(ValueRef::Float(f64::from_bits(field.fixed64()?))),
            5 | 6 => {
                let (part, is_array) = (field.bytes()?, field.number == 5);
                match &mut any {
                    // Only a value of the same kind is merged into; another one is replaced.
                    Any::Array(whole) if is_array => append(whole, part),
                    Any::Map(whole) if !is_array => append(whole, part),
                    _ => {
                        any.check(depth)?;
                        any = if is_array { Any::Array(Cow::Borrowed(part)) } else { Any::Map(Cow::Borrowed(part)) };
                    }
                }
                continue;
            }
            7 => Any::Plain(ValueRef::Bytes(field.bytes()?)),
            // An index into a table of strings that only profiles have.
            8 => field.varint().map(|_| Any::Plain(ValueRef::Null))?,
            _ => continue,
        };
        any.check(depth)?;
        any = next;
    }
    Ok(any)
}

impl Any<'_> {
    /// Reads nested parts that are about to be replaced, so that what is wrong in them is still refused.
    fn check(&self, depth: Depth) -> Result<(), WireError> {
        if matches!(self, Self::Plain(_)) { Ok(()) } else { self.write_json(depth, &mut String::new()) }
    }

    /// Returns it as a value; `json` is overwritten and holds the text of a nested one.
    fn to_value<'v>(&'v self, depth: Depth, json: &'v mut String) -> Result<ValueRef<'v>, WireError> {
        if let Self::Plain(value) = self {
            return Ok(*value);
        }
        json.clear();
        self.write_json(depth, json)?;
        Ok(ValueRef::Json(json))
    }

    fn write_json(&self, depth: Depth, out: &mut String) -> Result<(), WireError> {
        match self {
            Self::Plain(value) => match value {
                ValueRef::Null => out.push_str("null"),
                ValueRef::Text(text) => push_string(out, text),
                ValueRef::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
                ValueRef::Int(number) => push_int(out, *number),
                ValueRef::Float(number) => push_float(out, *number),
                ValueRef::Bytes(bytes) => push_string(out, &base64(bytes)),
                ValueRef::Json(json) => out.push_str(json),
            },
            Self::Array(bytes) => {
                let depth = depth.enter()?;
                let mut separator = '[';
                let mut fields = Reader::new(bytes, depth);
                while let Some(field) = fields.next()? {
                    if field.number == 1 {
                        out.push(separator);
                        separator = ',';
                        read_any(field.bytes()?, depth.enter()?)?.write_json(depth.enter()?, out)?;
                    }
                }
                out.push_str(if separator == '[' { "[]" } else { "]" });
            }
            Self::Map(bytes) => {
                let depth = depth.enter()?;
                let mut entries = Vec::new();
                let mut fields = Reader::new(bytes, depth);
                while let Some(field) = fields.next()? {
                    if field.number == 1 {
                        let entry = read_key_value(field.bytes()?, depth.enter()?)?;
                        let value_depth = depth.enter()?.enter()?;
                        let mut json = String::new();
                        read_any(&entry.1, value_depth)?.write_json(value_depth, &mut json)?;
                        entries.push((entry.0, json));
                    }
                }
                write_entries(entries, out);
            }
        }
        Ok(())
    }
}

/// Appends a JSON object of keys and the JSON text of their values; of two equal keys the first is kept.
pub(super) fn write_entries<K: AsRef<str>>(mut entries: Vec<(K, String)>, out: &mut String) {
    keep_first(&mut entries, |(key, _)| key.as_ref());
    let mut separator = '{';
    for (key, json) in entries {
        out.push(separator);
        separator = ',';
        push_string(out, key.as_ref());
        out.push(':');
        out.push_str(&json);
    }
    out.push_str(if separator == '{' { "{}" } else { "}" });
}
