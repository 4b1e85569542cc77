//! Batches from rows, as the host makes them.

use std::collections::HashMap;

use crate::bindings::host::logs::{AttributeColumns, LogBatch, TextColumn};
use crate::{Batch, Columns};

/// One record to be.
#[derive(Clone, Debug, Default)]
pub struct Record {
    body: String,
    seq: Option<u64>,
    time: Option<u64>,
    severity: u8,
    service: String,
    attributes: Vec<(String, serde_json::Value)>,
    resource: Vec<(String, serde_json::Value)>,
    trace: [u8; 16],
    span: [u8; 8],
}

impl Record {
    /// Returns a record of severity INFO with this body.
    pub fn new(body: impl Into<String>) -> Self {
        Self { body: body.into(), severity: crate::severity::INFO, ..Self::default() }
    }

    /// Sets its position; otherwise the one after the last.
    pub fn seq(mut self, seq: u64) -> Self {
        self.seq = Some(seq);
        self
    }

    /// Sets its time, in nanoseconds since 1970; otherwise a second after the last.
    pub fn time(mut self, time: u64) -> Self {
        self.time = Some(time);
        self
    }

    /// Sets its severity number.
    pub fn severity(mut self, severity: u8) -> Self {
        self.severity = severity;
        self
    }

    /// Sets `service.name`.
    pub fn service(mut self, service: impl Into<String>) -> Self {
        self.service = service.into();
        self
    }

    /// Adds an attribute.
    pub fn attribute(mut self, key: impl Into<String>, value: impl Into<serde_json::Value>) -> Self {
        self.attributes.push((key.into(), value.into()));
        self
    }

    /// Adds an attribute of what produced the record, such as `host.name`.
    pub fn resource(mut self, key: impl Into<String>, value: impl Into<serde_json::Value>) -> Self {
        self.resource.push((key.into(), value.into()));
        self
    }

    /// Sets trace and span.
    pub fn trace(mut self, trace: [u8; 16], span: [u8; 8]) -> Self {
        (self.trace, self.span) = (trace, span);
        self
    }

    pub(super) fn position(&self) -> Option<u64> {
        self.seq
    }

    pub(super) fn stamp(&self) -> Option<u64> {
        self.time
    }

    pub(super) fn severity_number(&self) -> u8 {
        self.severity
    }

    pub(super) fn text(&self) -> &str {
        &self.body
    }

    pub(super) fn source(&self) -> &str {
        &self.service
    }
}

impl From<&str> for Record {
    fn from(body: &str) -> Self {
        Self::new(body)
    }
}

/// Makes batches.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    records: Vec<Record>,
    columns: Columns,
    now: Option<u64>,
    watermark: Option<u64>,
    first_seq: u64,
    first_time: u64,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self::new()
    }
}

/// The first second of 2026.
pub(super) const START: u64 = 1_767_225_600_000_000_000;
const SECOND: u64 = 1_000_000_000;

impl BatchBuilder {
    /// Returns one without records. Positions begin with 1, times with 2026.
    pub fn new() -> Self {
        Self {
            records: Vec::new(),
            columns: Columns::from_bits(u32::MAX),
            now: None,
            watermark: None,
            first_seq: 1,
            first_time: START,
        }
    }

    /// Adds a record.
    pub fn record(mut self, record: impl Into<Record>) -> Self {
        self.records.push(record.into());
        self
    }

    /// Adds records.
    pub fn records(mut self, records: impl IntoIterator<Item = impl Into<Record>>) -> Self {
        self.records.extend(records.into_iter().map(Into::into));
        self
    }

    /// Leaves out the columns that are not among `columns`.
    pub fn columns(mut self, columns: Columns) -> Self {
        self.columns = columns;
        self
    }

    /// Sets the host's clock; otherwise it is the time of the last record.
    pub fn now(mut self, now: u64) -> Self {
        self.now = Some(now);
        self
    }

    /// Sets the watermark; otherwise it is the latest time of a record.
    pub fn watermark(mut self, watermark: u64) -> Self {
        self.watermark = Some(watermark);
        self
    }

    pub(super) fn first(mut self, seq: u64, time: u64) -> Self {
        (self.first_seq, self.first_time) = (seq, time);
        self
    }

    /// Returns the batch.
    pub fn build(self) -> Batch {
        let wants = |column: Columns| self.columns.contains(column);
        let mut dict = Dict::default();
        dict.word("");
        let mut wire = LogBatch {
            now: 0,
            scanned_from: self.first_seq.saturating_sub(1),
            scanned_to: 0,
            watermark: 0,
            seq: Vec::new(),
            time: Vec::new(),
            observed: Vec::new(),
            severity: Vec::new(),
            source: Vec::new(),
            resource: Vec::new(),
            resources: no_attributes(),
            pattern: Vec::new(),
            body: no_text(),
            attributes: no_attributes(),
            trace: Vec::new(),
            span: Vec::new(),
            dict: Vec::new(),
            dropped: 0,
            extra: Vec::new(),
        };
        let (mut seq, mut time) = (self.first_seq, self.first_time);
        for (row, record) in (0_u32..).zip(&self.records) {
            seq = record.seq.unwrap_or(seq);
            time = record.time.unwrap_or(time);
            wire.seq.push(seq);
            wire.time.push(time);
            wire.severity.push(record.severity);
            wire.source.push(dict.word(&record.service));
            if wants(Columns::OBSERVED) {
                wire.observed.push(time);
            }
            if wants(Columns::BODY) {
                push(&mut wire.body, &record.body);
            }
            if wants(Columns::ATTRIBUTES) {
                push_attributes(&mut wire.attributes, row, &record.attributes, &mut dict);
            }
            if wants(Columns::RESOURCES) {
                wire.resource.push(row);
                push_attributes(&mut wire.resources, row, &record.resource, &mut dict);
            }
            if wants(Columns::PATTERN) {
                wire.pattern.push(0);
            }
            if wants(Columns::TRACE) {
                wire.trace.extend_from_slice(&record.trace);
                wire.span.extend_from_slice(&record.span);
            }
            wire.scanned_to = seq;
            seq += 1;
            time += SECOND;
        }
        wire.scanned_to = wire.scanned_to.max(wire.scanned_from);
        wire.now = self.now.unwrap_or_else(|| wire.time.last().copied().unwrap_or(self.first_time));
        wire.watermark = self.watermark.unwrap_or_else(|| wire.time.iter().max().copied().unwrap_or(self.first_time));
        wire.dict = dict.words;
        Batch::new(wire)
    }
}

#[derive(Default)]
struct Dict {
    words: Vec<String>,
    index: HashMap<String, u32>,
}

impl Dict {
    fn word(&mut self, word: &str) -> u32 {
        *self.index.entry(word.to_owned()).or_insert_with(|| {
            self.words.push(word.to_owned());
            (self.words.len() - 1) as u32
        })
    }
}

fn no_text() -> TextColumn {
    TextColumn { offsets: vec![0], bytes: Vec::new() }
}

fn no_attributes() -> AttributeColumns {
    AttributeColumns { row: Vec::new(), key: Vec::new(), kind: Vec::new(), data: no_text() }
}

fn push(column: &mut TextColumn, text: &str) {
    column.bytes.extend_from_slice(text.as_bytes());
    column.offsets.push(column.bytes.len() as u32);
}

fn push_attributes(columns: &mut AttributeColumns, row: u32, attributes: &[(String, serde_json::Value)], dict: &mut Dict) {
    use serde_json::Value;
    for (key, value) in attributes {
        let (kind, text) = match value {
            Value::Null => (0, String::new()),
            Value::String(text) => (1, text.clone()),
            Value::Bool(value) => (2, value.to_string()),
            Value::Number(number) => (if number.is_f64() { 4 } else { 3 }, number.to_string()),
            Value::Array(_) | Value::Object(_) => (6, value.to_string()),
        };
        columns.row.push(row);
        columns.key.push(dict.word(key));
        columns.kind.push(kind);
        push(&mut columns.data, &text);
    }
}
