//! From a batch of the log to the columns that cross the boundary.

use std::collections::HashMap;

use watchfire_types::attributes::{Attributes, keys};
use watchfire_types::columns::ValueColumn;
use watchfire_types::{LogBatch, Timestamp};

use super::bindings::logs::{AttributeColumns, LogBatch as WireBatch, TextColumn};
use super::plugin::AnalyzerInput;

/// Bits of `subscription.columns`.
pub const BODY: u32 = 1;
/// Attributes of the records.
pub const ATTRIBUTES: u32 = 1 << 1;
/// Patterns.
pub const PATTERN: u32 = 1 << 2;
/// Attributes of what produced the records.
pub const RESOURCES: u32 = 1 << 3;
/// Trace and span.
pub const TRACE: u32 = 1 << 4;
/// When records were observed.
pub const OBSERVED: u32 = 1 << 5;

/// Returns the rows of `input` as a component gets them, with the columns that it asked for.
#[must_use]
pub fn wire_batch(input: &AnalyzerInput, columns: u32, now: Timestamp) -> WireBatch {
    let (batch, rows) = (&*input.batch, &input.rows);
    let wants = |column: u32| columns & column != 0;
    let pick = |column: &[u64]| rows.iter().map(|row| column.get(*row).copied().unwrap_or(0)).collect();
    let mut dict = Words::default();
    // Index 0 stands for "none".
    dict.intern("");
    let services: Vec<u32> =
        batch.resources.iter().map(|resource| dict.intern(watchfire_types::log::service_of(resource).unwrap_or(""))).collect();
    let mut wire = WireBatch {
        now: now.as_nanos(),
        scanned_from: input.scanned_from,
        scanned_to: input.scanned_to,
        watermark: input.watermark,
        seq: pick(&batch.seq),
        time: pick(&batch.time),
        observed: if wants(OBSERVED) { pick(&batch.observed) } else { Vec::new() },
        severity: rows.iter().map(|row| batch.severity[*row]).collect(),
        source: rows.iter().map(|row| services.get(batch.resource[*row] as usize).copied().unwrap_or(0)).collect(),
        resource: if wants(RESOURCES) { rows.iter().map(|row| batch.resource[*row]).collect() } else { Vec::new() },
        resources: if wants(RESOURCES) { resources(&batch.resources, &mut dict) } else { empty_attributes() },
        pattern: if wants(PATTERN) { pick(&batch.pattern) } else { Vec::new() },
        body: if wants(BODY) { texts(&batch.body, rows) } else { empty_text() },
        attributes: if wants(ATTRIBUTES) { attributes(batch, rows, &mut dict) } else { empty_attributes() },
        trace: Vec::new(),
        span: Vec::new(),
        dict: Vec::new(),
        dropped: input.dropped,
        extra: Vec::new(),
    };
    if wants(TRACE) {
        wire.trace = rows.iter().flat_map(|row| batch.trace_id[*row]).collect();
        wire.span = rows.iter().flat_map(|row| batch.span_id[*row]).collect();
    }
    wire.dict = dict.words;
    wire
}

/// Strings that repeat, in the order in which they came.
#[derive(Default)]
struct Words {
    words: Vec<String>,
    index: HashMap<String, u32>,
}

impl Words {
    fn intern(&mut self, word: &str) -> u32 {
        if let Some(index) = self.index.get(word) {
            return *index;
        }
        let index = self.words.len() as u32;
        self.words.push(word.to_owned());
        self.index.insert(word.to_owned(), index);
        index
    }
}

fn empty_text() -> TextColumn {
    TextColumn { offsets: vec![0], bytes: Vec::new() }
}

fn empty_attributes() -> AttributeColumns {
    AttributeColumns { row: Vec::new(), key: Vec::new(), kind: Vec::new(), data: empty_text() }
}

/// Returns the texts of `rows`, end to end.
fn texts(column: &ValueColumn, rows: &[usize]) -> TextColumn {
    // Most often all rows are wanted: then the column is copied as it is.
    let whole = rows.len() == column.kind.len() && !column.kind.contains(&BYTES);
    if whole {
        return TextColumn { offsets: column.data.offsets.clone(), bytes: column.data.bytes.clone() };
    }
    let mut text = empty_text();
    for row in rows {
        push(&mut text, column.kind[*row], column.data.get(*row));
    }
    text
}

/// The kind of values that are bytes, which cross as base64.
const BYTES: u8 = 5;

fn push(text: &mut TextColumn, kind: u8, bytes: &[u8]) {
    if kind == BYTES {
        use base64::Engine as _;
        text.bytes.extend_from_slice(base64::engine::general_purpose::STANDARD.encode(bytes).as_bytes());
    } else {
        text.bytes.extend_from_slice(bytes);
    }
    text.offsets.push(text.bytes.len() as u32);
}

fn attributes(batch: &LogBatch, rows: &[usize], dict: &mut Words) -> AttributeColumns {
    let mut columns = empty_attributes();
    let mut keys: Vec<Option<u32>> = vec![None; batch.dict.strings().len()];
    for (row, index) in rows.iter().enumerate() {
        for attribute in batch.attribute_range(*index) {
            let key = batch.attribute_key[attribute];
            let key = *keys[key as usize].get_or_insert_with(|| dict.intern(batch.dict.get(key)));
            let kind = batch.attribute_value.kind[attribute];
            columns.row.push(row as u32);
            columns.key.push(key);
            columns.kind.push(kind);
            push(&mut columns.data, kind, batch.attribute_value.data.get(attribute));
        }
    }
    columns
}

fn resources(resources: &[Attributes], dict: &mut Words) -> AttributeColumns {
    let mut columns = empty_attributes();
    let mut values = ValueColumn::default();
    for (row, resource) in resources.iter().enumerate() {
        for (key, value) in resource.iter().filter(|(key, _)| key != keys::SERVICE_NAME) {
            values.push(value.as_ref());
            columns.row.push(row as u32);
            columns.key.push(dict.intern(key));
        }
    }
    for (kind, row) in values.kind.iter().zip(0..) {
        push(&mut columns.data, *kind, values.data.get(row));
    }
    columns.kind = values.kind;
    columns
}
