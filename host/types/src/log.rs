//! Log records, one by one and column by column.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::attributes::{self, Attributes, Value, ValueRef, keys};
pub use crate::columns::{Dictionary, TextColumn, ValueColumn};
use crate::{Severity, Timestamp};

/// One log record in the terms of OpenTelemetry's logs data model, as the API shows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LogRecord {
    /// Position in the log: assigned when the record is stored, strictly increasing. A decimal string, because it may pass 2^53.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub seq: String,
    /// Id of the pattern that its body has, as a decimal string; empty when none was looked for.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub pattern: String,
    /// When it happened.
    pub timestamp: Timestamp,
    /// When it was read or received.
    pub observed_timestamp: Timestamp,
    /// 1 to 24; 0 when unset.
    pub severity_number: u8,
    /// The level as the source wrote it.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub severity_text: String,
    /// Usually text; any JSON value.
    #[schema(value_type = serde_json::Value)]
    pub body: Value,
    /// Attributes of the record.
    #[serde(serialize_with = "attributes::serialize_map", deserialize_with = "attributes::deserialize_map", default)]
    #[schema(value_type = std::collections::BTreeMap<String, serde_json::Value>)]
    pub attributes: Attributes,
    /// Attributes of what produced it: `service.name`, `host.name` and others.
    #[serde(serialize_with = "attributes::serialize_map", deserialize_with = "attributes::deserialize_map", default)]
    #[schema(value_type = std::collections::BTreeMap<String, serde_json::Value>)]
    pub resource: Attributes,
    /// Name of the instrumentation scope (the logger).
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub scope: String,
    /// Name of the event, when the record is one.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub event_name: String,
    /// 32 hexadecimal digits, or empty.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub trace_id: String,
    /// 16 hexadecimal digits, or empty.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub span_id: String,
    /// W3C trace flags.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub flags: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(flags: &u32) -> bool {
    *flags == 0
}

/// What one resource, attribute of it or string that repeats takes in memory beside its text, in bytes, roughly.
const ENTRY_BYTES: usize = 96;

/// What is not a value of a record but one of the few things that many records share, or one of its fixed fields.
#[derive(Clone, Copy, Debug, Default)]
pub struct RecordHead<'a> {
    /// When it happened; zero when unknown (the store then takes `observed`).
    pub timestamp: Timestamp,
    /// When it was read or received; zero to let the store fill in its arrival.
    pub observed: Timestamp,
    /// Level as a number.
    pub severity: Severity,
    /// Level as the source wrote it.
    pub severity_text: &'a str,
    /// From [`LogBatch::resource`].
    pub resource: u32,
    /// Name of the instrumentation scope.
    pub scope: &'a str,
    /// Name of the event.
    pub event_name: &'a str,
    /// Zero when absent.
    pub trace_id: [u8; 16],
    /// Zero when absent.
    pub span_id: [u8; 8],
    /// W3C trace flags.
    pub flags: u32,
}

impl LogRecord {
    /// Returns its head; `resource` is where the batch it goes to has its resource.
    #[must_use]
    pub fn head(&self, resource: u32) -> RecordHead<'_> {
        RecordHead {
            timestamp: self.timestamp,
            observed: self.observed_timestamp,
            severity: Severity(self.severity_number),
            severity_text: &self.severity_text,
            resource,
            scope: &self.scope,
            event_name: &self.event_name,
            trace_id: unhex(&self.trace_id).unwrap_or_default(),
            span_id: unhex(&self.span_id).unwrap_or_default(),
            flags: self.flags,
        }
    }
}

/// Log records column by column: what inputs hand over, what a block stores, what consumers read.
///
/// Every column has one entry per row; attributes of row `i` are `attribute_ends[i - 1]..attribute_ends[i]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogBatch {
    /// Position in the log. Empty until the batch is stored.
    pub seq: Vec<u64>,
    /// Id of each body's pattern; 0 for none. Empty until patterns have been looked for.
    pub pattern: Vec<u64>,
    /// When it happened, nanoseconds.
    pub time: Vec<u64>,
    /// When it was read or received, nanoseconds.
    pub observed: Vec<u64>,
    /// OpenTelemetry severity number.
    pub severity: Vec<u8>,
    /// Index into `dict`.
    pub severity_text: Vec<u32>,
    /// Index into `resources`.
    pub resource: Vec<u32>,
    /// Index into `dict`.
    pub scope: Vec<u32>,
    /// Index into `dict`.
    pub event_name: Vec<u32>,
    /// W3C trace flags.
    pub flags: Vec<u32>,
    /// Zero when absent.
    pub trace_id: Vec<[u8; 16]>,
    /// Zero when absent.
    pub span_id: Vec<[u8; 8]>,
    /// Bodies.
    pub body: ValueColumn,
    /// Where each row's attributes end.
    pub attribute_ends: Vec<u32>,
    /// Index into `dict`, one per attribute.
    pub attribute_key: Vec<u32>,
    /// One per attribute.
    pub attribute_value: ValueColumn,
    /// Attributes of what produced the records, each set once.
    pub resources: Vec<Attributes>,
    /// Strings that repeat.
    pub dict: Dictionary,
    /// Finds `resources`.
    pub resource_index: ResourceIndex,
}

/// Finds the resources of a batch by their hash, so that a hundred thousand of them take no time squared. What was put into
/// [`LogBatch::resources`] beside it is taken in at the next look.
#[derive(Clone, Debug, Default)]
pub struct ResourceIndex {
    by_hash: HashMap<u64, u32>,
    known: usize,
}

/// An index says nothing that the batch does not say.
impl PartialEq for ResourceIndex {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl ResourceIndex {
    fn find(&mut self, resources: &[Attributes], wanted: &Attributes) -> Option<u32> {
        if self.known > resources.len() {
            *self = Self::default();
        }
        for (index, resource) in resources.iter().enumerate().skip(self.known) {
            self.by_hash.insert(hash(resource), index as u32);
        }
        self.known = resources.len();
        let index = *self.by_hash.get(&hash(wanted))?;
        (resources[index as usize] == *wanted).then_some(index)
    }
}

fn hash(attributes: &Attributes) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (key, value) in attributes {
        key.hash(&mut hasher);
        match value {
            Value::Null => {}
            Value::Text(text) | Value::Json(text) => text.hash(&mut hasher),
            Value::Bool(value) => value.hash(&mut hasher),
            Value::Int(value) => value.hash(&mut hasher),
            // Adding zero makes both zeros one, as `==` does.
            Value::Float(value) => (value + 0.0).to_bits().hash(&mut hasher),
            Value::Bytes(bytes) => bytes.hash(&mut hasher),
        }
    }
    hasher.finish()
}

impl LogBatch {
    /// Returns the number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.time.len()
    }

    /// Returns whether it has no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.time.is_empty()
    }

    /// Returns about how many bytes of memory its records take, without what they share.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.len() * 80 + self.body.data.bytes.len() + self.attribute_value.data.bytes.len() + self.attribute_key.len() * 9
    }

    /// Returns about how many bytes of memory it takes, resources and strings included: looks at each of those.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let value = |value: &Value| match value {
            Value::Text(text) | Value::Json(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            _ => 0,
        };
        let resource = |attributes: &Attributes| {
            ENTRY_BYTES + attributes.iter().map(|(key, of)| ENTRY_BYTES + key.len() + value(of)).sum::<usize>()
        };
        let strings = self.dict.strings().iter().map(|text| ENTRY_BYTES + 2 * text.len()).sum::<usize>();
        self.size_bytes() + self.resources.iter().map(resource).sum::<usize>() + strings
    }

    /// Returns the index of a resource with these attributes, adding it if it is new.
    pub fn resource(&mut self, attributes: Attributes) -> u32 {
        self.resource_index.find(&self.resources, &attributes).unwrap_or_else(|| {
            self.resources.push(attributes);
            self.resources.len() as u32 - 1
        })
    }

    /// Appends a record. Its attributes follow, by [`Self::attribute`].
    pub fn push(&mut self, head: &RecordHead<'_>, body: ValueRef<'_>) {
        self.time.push(head.timestamp.as_nanos());
        self.observed.push(head.observed.as_nanos());
        self.severity.push(head.severity.0);
        self.resource.push(head.resource);
        // Neighbours mostly share these, and a comparison is cheaper than a hash.
        for (column, text) in
            [(&mut self.severity_text, head.severity_text), (&mut self.scope, head.scope), (&mut self.event_name, head.event_name)]
        {
            let last = column.last().copied().unwrap_or(0);
            column.push(if self.dict.get(last) == text { last } else { self.dict.intern(text) });
        }
        self.flags.push(head.flags);
        self.trace_id.push(head.trace_id);
        self.span_id.push(head.span_id);
        self.body.push(body);
        self.attribute_ends.push(self.attribute_key.len() as u32);
    }

    /// Adds an attribute to the last record. A key that it has already is kept as it was.
    pub fn attribute(&mut self, key: &str, value: ValueRef<'_>) {
        let Some(row) = self.len().checked_sub(1) else { return };
        let key = self.dict.intern(key);
        let range = self.attribute_range(row);
        if self.attribute_key[range].contains(&key) {
            return;
        }
        self.attribute_key.push(key);
        self.attribute_value.push(value);
        self.attribute_ends[row] = self.attribute_key.len() as u32;
    }

    /// Adds an attribute to the last record under a key from `dict`, for a caller that knows the record not to have that key.
    pub fn attribute_at(&mut self, key: u32, value: ValueRef<'_>) {
        let Some(end) = self.attribute_ends.last_mut() else { return };
        self.attribute_key.push(key);
        self.attribute_value.push(value);
        *end = self.attribute_key.len() as u32;
    }

    /// Appends a whole record, `seq` aside.
    pub fn push_record(&mut self, record: &LogRecord) {
        let resource = self.resource(record.resource.clone());
        self.push(&record.head(resource), record.body.as_ref());
        for (key, value) in &record.attributes {
            self.attribute(key, value.as_ref());
        }
    }

    /// Returns where the attributes of row `row` lie in the attribute columns.
    #[must_use]
    pub fn attribute_range(&self, row: usize) -> Range<usize> {
        let start = if row == 0 { 0 } else { self.attribute_ends[row - 1] as usize };
        start..self.attribute_ends[row] as usize
    }

    /// Returns the attributes of row `row`, in their order.
    pub fn attributes(&self, row: usize) -> impl Iterator<Item = (&str, ValueRef<'_>)> {
        self.attribute_range(row).map(|index| (self.dict.get(self.attribute_key[index]), self.attribute_value.get(index)))
    }

    /// Returns attribute `key` of row `row`.
    #[must_use]
    pub fn find_attribute(&self, row: usize, key: &str) -> Option<ValueRef<'_>> {
        self.attributes(row).find_map(|(name, value)| (name == key).then_some(value))
    }

    /// Returns `service.name` of row `row`; empty when it has none.
    #[must_use]
    pub fn service(&self, row: usize) -> &str {
        self.resources.get(self.resource[row] as usize).and_then(|resource| service_of(resource)).unwrap_or("")
    }

    /// Returns row `row` as a record.
    #[must_use]
    pub fn record(&self, row: usize) -> LogRecord {
        LogRecord {
            seq: self.seq.get(row).map_or_else(String::new, u64::to_string),
            pattern: self.pattern.get(row).filter(|id| **id != 0).map_or_else(String::new, u64::to_string),
            timestamp: Timestamp::from_nanos(self.time[row]),
            observed_timestamp: Timestamp::from_nanos(self.observed[row]),
            severity_number: self.severity[row],
            severity_text: self.dict.get(self.severity_text[row]).to_owned(),
            body: self.body.get(row).to_value(),
            attributes: self.attributes(row).map(|(key, value)| (key.to_owned(), value.to_value())).collect(),
            resource: self.resources.get(self.resource[row] as usize).cloned().unwrap_or_default(),
            scope: self.dict.get(self.scope[row]).to_owned(),
            event_name: self.dict.get(self.event_name[row]).to_owned(),
            trace_id: hex(&self.trace_id[row]),
            span_id: hex(&self.span_id[row]),
            flags: self.flags[row],
        }
    }

    /// Appends all rows of `other`, `seq` included where `other` has it: as [`Self::append`] does, column by column and so much quicker.
    pub fn append_all(&mut self, other: &Self) {
        if !self.pattern.is_empty() || !other.pattern.is_empty() {
            self.pattern.resize(self.len(), 0);
            self.pattern.extend_from_slice(&other.pattern);
            self.pattern.resize(self.len() + other.len(), 0);
        }
        let dict: Vec<u32> = other.dict.strings().iter().map(|text| self.dict.intern(text)).collect();
        let resources: Vec<u32> = other.resources.iter().map(|resource| self.resource(resource.clone())).collect();
        let interned = |column: &[u32]| column.iter().map(|index| dict[*index as usize]).collect::<Vec<_>>();
        self.seq.extend_from_slice(&other.seq);
        self.time.extend_from_slice(&other.time);
        self.observed.extend_from_slice(&other.observed);
        self.severity.extend_from_slice(&other.severity);
        self.severity_text.extend(interned(&other.severity_text));
        self.resource.extend(other.resource.iter().map(|index| resources.get(*index as usize).copied().unwrap_or(0)));
        self.scope.extend(interned(&other.scope));
        self.event_name.extend(interned(&other.event_name));
        self.flags.extend_from_slice(&other.flags);
        self.trace_id.extend_from_slice(&other.trace_id);
        self.span_id.extend_from_slice(&other.span_id);
        self.body.append_all(&other.body);
        let before = self.attribute_key.len() as u32;
        self.attribute_key.extend(interned(&other.attribute_key));
        self.attribute_value.append_all(&other.attribute_value);
        self.attribute_ends.extend(other.attribute_ends.iter().map(|end| before + end));
    }

    /// Appends rows `rows` of `other`, `seq` included where `other` has it.
    pub fn append(&mut self, other: &Self, rows: impl IntoIterator<Item = usize>) {
        // Either side may not have been looked at for patterns.
        let has_patterns = !self.pattern.is_empty() || !other.pattern.is_empty();
        if has_patterns {
            self.pattern.resize(self.len(), 0);
        }
        let dict: Vec<u32> = other.dict.strings().iter().map(|text| self.dict.intern(text)).collect();
        let mut resources = vec![u32::MAX; other.resources.len()];
        for row in rows {
            let theirs = other.resource[row] as usize;
            if resources.get(theirs) == Some(&u32::MAX) {
                resources[theirs] = self.resource(other.resources[theirs].clone());
            }
            self.resource.push(resources.get(theirs).copied().unwrap_or(0));
            self.seq.extend(other.seq.get(row));
            if has_patterns {
                self.pattern.push(other.pattern.get(row).copied().unwrap_or(0));
            }
            self.time.push(other.time[row]);
            self.observed.push(other.observed[row]);
            self.severity.push(other.severity[row]);
            self.severity_text.push(dict[other.severity_text[row] as usize]);
            self.scope.push(dict[other.scope[row] as usize]);
            self.event_name.push(dict[other.event_name[row] as usize]);
            self.flags.push(other.flags[row]);
            self.trace_id.push(other.trace_id[row]);
            self.span_id.push(other.span_id[row]);
            self.body.push_raw(other.body.kind[row], other.body.data.get(row));
            for index in other.attribute_range(row) {
                self.attribute_key.push(dict[other.attribute_key[index] as usize]);
                self.attribute_value.push_raw(other.attribute_value.kind[index], other.attribute_value.data.get(index));
            }
            self.attribute_ends.push(self.attribute_key.len() as u32);
        }
    }
}

/// Returns `service.name` among resource attributes.
#[must_use]
pub fn service_of(resource: &Attributes) -> Option<&str> {
    resource.iter().find(|(key, _)| key == keys::SERVICE_NAME).and_then(|(_, value)| value.as_text())
}

/// Returns lower-case hexadecimal digits, or nothing if every byte is zero.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    if bytes.iter().all(|byte| *byte == 0) {
        return String::new();
    }
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[digit as usize])).collect()
}

/// Reads exactly `2 * N` hexadecimal digits of either case.
#[must_use]
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        let digit = |index: usize| char::from(pair[index]).to_digit(16);
        *byte = (digit(0)? << 4 | digit(1)?) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_rows_are_appended_as_one_by_one() {
        let (one, mut two, mut first) = (sample(), LogBatch::default(), sample());
        two.resource(vec![("other".into(), "resource".into())]);
        two.push(&RecordHead { severity_text: "warn", scope: "scope", ..RecordHead::default() }, ValueRef::Text("three"));
        two.attribute("ratio", ValueRef::Bool(true));
        two.pattern.push(9);
        two.seq.push(4);
        first.seq.extend([1, 2]);
        for batches in [[&first, &two, &one], [&two, &first, &two], [&one, &one, &LogBatch::default()]] {
            let (mut rows, mut columns) = (LogBatch::default(), LogBatch::default());
            for batch in batches {
                rows.append(batch, 0..batch.len());
                columns.append_all(batch);
            }
            assert_eq!(rows.len(), columns.len());
            assert_eq!((&rows.seq, &rows.pattern), (&columns.seq, &columns.pattern));
            assert!((0..rows.len()).all(|row| rows.record(row) == columns.record(row)));
        }
    }

    fn sample() -> LogBatch {
        let mut batch = LogBatch::default();
        let resource = batch.resource(vec![(keys::SERVICE_NAME.into(), "api".into())]);
        let head = RecordHead { timestamp: Timestamp::from_seconds(5), resource, trace_id: [7; 16], ..RecordHead::default() };
        batch.push(&head, ValueRef::Text("one"));
        batch.attribute("user", ValueRef::Int(-4));
        batch.attribute("user", ValueRef::Text("a second value is not kept"));
        batch.push(&head, ValueRef::Json(r#"{"a":[1]}"#));
        batch.attribute("ratio", ValueRef::Float(0.1));
        batch.attribute("raw", ValueRef::Bytes(&[255, 0]));
        batch
    }

    #[test]
    fn a_record_reads_back_as_it_was_pushed() {
        let batch = sample();
        assert_eq!(batch.record(0).attributes, [("user".into(), Value::Int(-4))]);
        assert_eq!(batch.record(1).attributes, [("ratio".into(), Value::Float(0.1)), ("raw".into(), Value::Bytes(vec![255, 0]))]);
        assert_eq!(batch.service(1), "api");
        let mut copy = LogBatch::default();
        for row in 0..batch.len() {
            copy.push_record(&batch.record(row));
        }
        assert_eq!(copy, batch);
    }

    #[test]
    fn appending_keeps_every_field() {
        let batch = sample();
        let mut target = LogBatch::default();
        target.dict.intern("shifts the indices");
        target.append(&batch, [1, 0]);
        assert_eq!(target.record(0), batch.record(1));
        assert_eq!(target.record(1), batch.record(0));
    }

    #[test]
    fn a_hundred_thousand_resources_are_told_apart_in_no_time() {
        let resource = |number: i64| vec![("process.pid".to_owned(), Value::Int(number))];
        let mut batch = LogBatch::default();
        for number in 0..100_000 {
            let resource = batch.resource(resource(number));
            batch.push(&RecordHead { resource, ..RecordHead::default() }, ValueRef::Null);
        }
        let mut copy = LogBatch::default();
        copy.append(&batch, 0..batch.len());
        assert_eq!(copy.resources.len(), 100_000);
        assert_eq!(copy.resource(resource(77)), 77);
        copy.resources.truncate(50);
        assert_eq!((copy.resource(resource(7)), copy.resource(resource(77))), (7, 50));
        assert!(batch.memory_bytes() > batch.size_bytes() + 100_000 * "process.pid".len());
    }
}
