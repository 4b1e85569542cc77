//! Records as rows. They cross the boundary as columns, and nothing is copied to show them as rows. Whatever the columns hold, reading
//! them never panics: what is missing or does not fit is empty.

use crate::bindings::host::logs::{AttributeColumns, LogBatch, TextColumn};

/// Records of one call.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch(LogBatch);

impl Batch {
    /// Returns the batch with these columns.
    pub fn new(columns: LogBatch) -> Self {
        Self(columns)
    }

    /// Returns the columns themselves.
    pub fn columns(&self) -> &LogBatch {
        &self.0
    }

    /// Returns how many records there are.
    pub fn len(&self) -> usize {
        self.0.seq.len()
    }

    /// Returns whether there are none: then it only says how far the host has read.
    pub fn is_empty(&self) -> bool {
        self.0.seq.is_empty()
    }

    /// Returns the host's clock for this call, in nanoseconds since 1970.
    pub fn now(&self) -> u64 {
        self.0.now
    }

    /// Returns the time before which no record is expected, bar late ones.
    pub fn watermark(&self) -> u64 {
        self.0.watermark
    }

    /// Returns after and up to which positions the host has read to make it, records that nobody wanted included.
    pub fn scanned(&self) -> (u64, u64) {
        (self.0.scanned_from, self.0.scanned_to)
    }

    /// Returns how many records were left out since the last call.
    pub fn dropped(&self) -> u64 {
        self.0.dropped
    }

    /// Returns all records, in the order of their positions.
    pub fn rows(&self) -> Rows<'_> {
        Rows { batch: &self.0, range: 0..self.len() }
    }

    /// Returns record `index`.
    pub fn row(&self, index: usize) -> Option<Row<'_>> {
        (index < self.len()).then_some(Row { batch: &self.0, index })
    }
}

/// An iterator over records.
#[derive(Clone, Debug)]
pub struct Rows<'a> {
    batch: &'a LogBatch,
    range: std::ops::Range<usize>,
}

impl<'a> Iterator for Rows<'a> {
    type Item = Row<'a>;

    fn next(&mut self) -> Option<Row<'a>> {
        self.range.next().map(|index| Row { batch: self.batch, index })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.range.size_hint()
    }
}

impl ExactSizeIterator for Rows<'_> {}

/// One record.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    batch: &'a LogBatch,
    index: usize,
}

impl<'a> Row<'a> {
    /// Returns which record of the batch it is.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Returns its position in the log.
    pub fn seq(&self) -> u64 {
        self.number(&self.batch.seq)
    }

    /// Returns when it happened, in nanoseconds since 1970.
    pub fn time(&self) -> u64 {
        self.number(&self.batch.time)
    }

    /// Returns when it was observed. Needs `Columns::OBSERVED`.
    pub fn observed(&self) -> u64 {
        self.number(&self.batch.observed)
    }

    /// Returns OpenTelemetry's severity number; 0 when unset.
    pub fn severity(&self) -> u8 {
        self.batch.severity.get(self.index).copied().unwrap_or(0)
    }

    /// Returns `service.name`; empty when unset.
    pub fn service(&self) -> &'a str {
        self.batch.source.get(self.index).map_or("", |word| self.word(*word))
    }

    /// Returns the body. Needs `Columns::BODY`.
    pub fn body(&self) -> &'a str {
        text(&self.batch.body, self.index)
    }

    /// Returns the body without looking whether it is UTF-8: for scans.
    pub fn body_bytes(&self) -> &'a [u8] {
        bytes(&self.batch.body, self.index)
    }

    /// Returns the pattern it belongs to; 0 when none. Needs `Columns::PATTERN`.
    pub fn pattern(&self) -> u64 {
        self.number(&self.batch.pattern)
    }

    /// Returns attribute `key`. Needs `Columns::ATTRIBUTES`.
    pub fn attribute(&self, key: &str) -> Option<Value<'a>> {
        self.attributes().find_map(|(name, value)| (name == key).then_some(value))
    }

    /// Returns all attributes. Needs `Columns::ATTRIBUTES`.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::of(self.batch, &self.batch.attributes, self.index)
    }

    /// Returns attribute `key` of what produced the record, such as `host.name`. Needs `Columns::RESOURCES`.
    pub fn resource(&self, key: &str) -> Option<Value<'a>> {
        self.resources().find_map(|(name, value)| (name == key).then_some(value))
    }

    /// Returns all attributes of what produced the record but its service. Needs `Columns::RESOURCES`.
    pub fn resources(&self) -> Attributes<'a> {
        let row = self.batch.resource.get(self.index).map_or(usize::MAX, |row| *row as usize);
        Attributes::of(self.batch, &self.batch.resources, row)
    }

    /// Returns the trace it belongs to. Needs `Columns::TRACE`.
    pub fn trace_id(&self) -> Option<[u8; 16]> {
        fixed(&self.batch.trace, self.index)
    }

    /// Returns the span it belongs to. Needs `Columns::TRACE`.
    pub fn span_id(&self) -> Option<[u8; 8]> {
        fixed(&self.batch.span, self.index)
    }

    fn number(&self, column: &[u64]) -> u64 {
        column.get(self.index).copied().unwrap_or(0)
    }

    fn word(&self, index: u32) -> &'a str {
        self.batch.dict.get(index as usize).map_or("", String::as_str)
    }
}

fn bytes(column: &TextColumn, row: usize) -> &[u8] {
    let offset = |row: usize| column.offsets.get(row).map(|offset| *offset as usize);
    let range = offset(row).zip(row.checked_add(1).and_then(offset));
    range.and_then(|(start, end)| column.bytes.get(start..end)).unwrap_or_default()
}

/// Returns the text of row `row`, up to the first byte that is none.
fn text(column: &TextColumn, row: usize) -> &str {
    let bytes = bytes(column, row);
    match str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
    }
}

fn fixed<const N: usize>(column: &[u8], row: usize) -> Option<[u8; N]> {
    let start = row.checked_mul(N)?;
    let id: [u8; N] = column.get(start..start.checked_add(N)?)?.try_into().ok()?;
    (id != [0; N]).then_some(id)
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// Nothing.
    None,
    /// Text.
    Text,
    /// `true` or `false`.
    Boolean,
    /// A decimal integer.
    Integer,
    /// The shortest decimal that reads back equal.
    Float,
    /// Base64.
    Bytes,
    /// An array or a map as JSON.
    Json,
}

/// The value of an attribute: its text, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    /// What it is.
    pub kind: ValueKind,
    /// Its text.
    pub text: &'a str,
}

impl<'a> Value<'a> {
    /// Returns its text, whatever it is.
    pub fn as_str(&self) -> &'a str {
        self.text
    }

    /// Returns it as an integer, also if it is text that looks like one.
    pub fn as_i64(&self) -> Option<i64> {
        self.text.parse().ok()
    }

    /// Returns it as a number, also if it is text that looks like one.
    pub fn as_f64(&self) -> Option<f64> {
        self.text.parse().ok()
    }

    /// Returns it as a truth value.
    pub fn as_bool(&self) -> Option<bool> {
        self.text.parse().ok()
    }
}

/// An iterator over the attributes of a record: keys and values.
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    dict: &'a [String],
    columns: &'a AttributeColumns,
    range: std::ops::Range<usize>,
}

impl<'a> Attributes<'a> {
    fn of(batch: &'a LogBatch, columns: &'a AttributeColumns, row: usize) -> Self {
        let start = columns.row.partition_point(|other| (*other as usize) < row);
        let end = columns.row.partition_point(|other| (*other as usize) <= row);
        // Rows that are not sorted may end before they start.
        Self { dict: &batch.dict, columns, range: start..end.max(start) }
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (&'a str, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let index = self.range.next()?;
        let key = self.columns.key.get(index).and_then(|key| self.dict.get(*key as usize)).map_or("", String::as_str);
        let kind = match self.columns.kind.get(index) {
            Some(1) => ValueKind::Text,
            Some(2) => ValueKind::Boolean,
            Some(3) => ValueKind::Integer,
            Some(4) => ValueKind::Float,
            Some(5) => ValueKind::Bytes,
            Some(6) => ValueKind::Json,
            _ => ValueKind::None,
        };
        Some((key, Value { kind, text: text(&self.columns.data, index) }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{BatchBuilder, Record};

    #[test]
    fn rows_show_what_the_columns_hold() {
        let batch = BatchBuilder::new()
            .record(Record::new("first").service("shop").severity(17).attribute("user", "ann").resource("host.name", "web1"))
            .record(Record::new("zweite Zeile ä").time(7).attribute("n", 3).attribute("ok", true).trace([1; 16], [2; 8]))
            .build();
        let rows: Vec<_> = batch.rows().collect();
        assert_eq!((rows[0].body(), rows[0].service(), rows[0].severity()), ("first", "shop", 17));
        assert_eq!(rows[0].attribute("user").map(|value| value.text), Some("ann"));
        assert_eq!(rows[0].resource("host.name").map(|value| value.text), Some("web1"));
        assert_eq!((rows[1].body(), rows[1].time(), rows[1].service()), ("zweite Zeile ä", 7, ""));
        assert_eq!(rows[1].attribute("n").and_then(|value| value.as_i64()), Some(3));
        assert_eq!(rows[1].attribute("ok").and_then(|value| value.as_bool()), Some(true));
        assert_eq!((rows[1].attribute("user"), rows[1].resource("host.name")), (None, None));
        assert_eq!((rows[0].trace_id(), rows[1].trace_id(), rows[1].span_id()), (None, Some([1; 16]), Some([2; 8])));
        assert!(rows[0].seq() < rows[1].seq() && batch.row(2).is_none());
    }

    fn texts() -> impl Strategy<Value = TextColumn> {
        (proptest::collection::vec(0_u32..40, 0..8), proptest::collection::vec(any::<u8>(), 0..32))
            .prop_map(|(offsets, bytes)| TextColumn { offsets, bytes })
    }

    fn attributes() -> impl Strategy<Value = AttributeColumns> {
        let numbers = || proptest::collection::vec(0_u32..6, 0..8);
        (numbers(), numbers(), proptest::collection::vec(any::<u8>(), 0..8), texts())
            .prop_map(|(row, key, kind, data)| AttributeColumns { row, key, kind, data })
    }

    proptest! {
        #[test]
        fn no_columns_however_wrong_make_reading_panic(
            body in texts(), attributes in attributes(), resources in attributes(), rows in 0_u64..8,
            source in proptest::collection::vec(0_u32..5, 0..8), trace in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let mut columns = BatchBuilder::new().build().columns().clone();
            columns.seq = (0..rows).collect();
            (columns.body, columns.attributes, columns.resources) = (body, attributes, resources);
            (columns.resource, columns.source, columns.trace) = (source.clone(), source, trace);
            let batch = Batch::new(columns);
            for row in batch.rows() {
                let _ = (row.body(), row.service(), row.time(), row.severity(), row.trace_id(), row.span_id(), row.pattern());
                prop_assert!(row.attributes().count() <= 8 && row.resources().count() <= 8);
            }
        }
    }
}
