//! Checks what a parser returned, and makes records of it. Nothing that a component says is believed.

use std::borrow::Cow;

use watchfire_types::attributes::keys;
use watchfire_types::columns::{TextColumn, ValueColumn};
use watchfire_types::log::RecordHead;
use watchfire_types::{LogBatch, Severity, Timestamp, Value, ValueRef};

use super::parsers::ParserLine;
use super::wire;

/// Most attributes of one record.
const MAX_ATTRIBUTES: usize = 256;
/// Most bytes of one text.
const MAX_TEXT_BYTES: usize = 1 << 20;

/// What the status of a line means.
const RECORD: u8 = 0;
const DROPPED: u8 = 1;
const CONTINUES: u8 = 2;
const RAW: u8 = 3;

/// Attribute that says why a line was stored as it is.
pub(super) const PARSER_ERROR: &str = "parser.error";

/// What lines became.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ParsedBatch {
    /// The records.
    pub batch: LogBatch,
    /// Lines that the parser left out on purpose.
    pub dropped: u64,
    /// Lines that it did not understand, or that could not be given to it: stored as they are.
    pub raw: u64,
}

/// What is the same for all lines of a source.
pub(super) struct Source<'a> {
    pub(super) service: &'a str,
    pub(super) resource: &'a [(String, Value)],
    pub(super) now: Timestamp,
}

/// Appends the records of `lines`, as `parsed` has them.
///
/// # Errors
/// Says which column is wrong, and how; nothing has been appended then.
pub(super) fn append(
    target: &mut ParsedBatch,
    parsed: &wire::Parsed,
    lines: &[ParserLine],
    source: &Source<'_>,
) -> Result<(), String> {
    check(parsed, lines.len())?;
    let mut next_row = 0;
    let mut attribute = 0;
    // The texts of the lines that go on with a record, until it is complete.
    let mut open: Option<Open<'_>> = None;
    let mut dropped_before = false;
    for (line, status) in lines.iter().zip(&parsed.status) {
        if *status == CONTINUES {
            match &mut open {
                Some(open) if open.body.len() + line.text.len() < MAX_TEXT_BYTES => {
                    let body = open.body.to_mut();
                    body.push('\n');
                    body.push_str(&line.text);
                }
                _ if dropped_before => target.dropped += 1,
                // It begins the batch, and what it goes on with has been stored.
                _ => push_raw(target, line, None, source),
            }
            continue;
        }
        if let Some(open) = open.take() {
            push(target, parsed, &open, source);
        }
        dropped_before = *status == DROPPED;
        match *status {
            DROPPED => target.dropped += 1,
            RECORD => {
                let from = attribute;
                while parsed.attributes.row.get(attribute).is_some_and(|row| *row as usize == next_row) {
                    attribute += 1;
                }
                open = Some(Open {
                    line,
                    row: Some(next_row),
                    attributes: from..attribute,
                    body: Cow::Borrowed(text(&parsed.body, next_row)),
                });
                next_row += 1;
            }
            _ => {
                target.raw += 1;
                open = Some(Open { line, row: None, attributes: 0..0, body: Cow::Borrowed(&line.text) });
            }
        }
    }
    if let Some(open) = open {
        push(target, parsed, &open, source);
    }
    Ok(())
}

/// A record of which more lines may come.
struct Open<'a> {
    line: &'a ParserLine,
    /// Its row in the columns; `None` for a line that was not understood.
    row: Option<usize>,
    attributes: std::ops::Range<usize>,
    body: Cow<'a, str>,
}

/// Appends a line as it is, with what was wrong.
pub(super) fn push_raw(target: &mut ParsedBatch, line: &ParserLine, reason: Option<&str>, source: &Source<'_>) {
    let resource = resource(target, source, None, None);
    let head = RecordHead { timestamp: line.time.unwrap_or(source.now), observed: source.now, resource, ..RecordHead::default() };
    target.batch.push(&head, ValueRef::Text(&line.text));
    target.raw += 1;
    if let Some(reason) = reason {
        target.batch.attribute(PARSER_ERROR, ValueRef::Text(reason));
    }
    stream(target, line);
}

fn stream(target: &mut ParsedBatch, line: &ParserLine) {
    if !line.stream.is_empty() {
        target.batch.attribute("log.iostream", ValueRef::Text(line.stream));
    }
}

fn resource(target: &mut ParsedBatch, source: &Source<'_>, service: Option<&str>, host: Option<&str>) -> u32 {
    let mut resource = vec![(keys::SERVICE_NAME.to_owned(), Value::from(service.unwrap_or(source.service)))];
    resource.extend(host.map(|host| (keys::HOST_NAME.to_owned(), Value::from(host))));
    let more =
        source.resource.iter().filter(|(key, _)| !resource.iter().any(|(known, _)| known == key)).cloned().collect::<Vec<_>>();
    resource.extend(more);
    target.batch.resource(resource)
}

fn push(target: &mut ParsedBatch, parsed: &wire::Parsed, open: &Open<'_>, source: &Source<'_>) {
    let named = |wanted: &str| {
        let mut attributes = open.attributes.clone();
        attributes.find(|index| key(parsed, *index) == wanted).map(|index| text(&parsed.attributes.data, index))
    };
    let resource = resource(target, source, named(keys::SERVICE_NAME), named(keys::HOST_NAME));
    let mut head = RecordHead { observed: source.now, resource, ..RecordHead::default() };
    head.timestamp = open.line.time.unwrap_or(source.now);
    if let Some(row) = open.row {
        if parsed.time[row] != 0 {
            head.timestamp = Timestamp::from_nanos(parsed.time[row]);
        }
        head.severity = Severity(parsed.severity[row]);
        head.trace_id = bytes(&parsed.trace, row);
        head.span_id = bytes(&parsed.span, row);
    }
    target.batch.push(&head, ValueRef::Text(&open.body));
    for index in open.attributes.clone() {
        let key = key(parsed, index);
        if key != keys::SERVICE_NAME && key != keys::HOST_NAME && !key.is_empty() {
            value(parsed.attributes.kind[index], text(&parsed.attributes.data, index), |value| target.batch.attribute(key, value));
        }
    }
    stream(target, open.line);
}

fn key(parsed: &wire::Parsed, index: usize) -> &str {
    &parsed.dict[parsed.attributes.key[index] as usize]
}

/// Reads a value as its kind promises; as text if it does not say that.
fn value(kind: u8, text: &str, then: impl FnOnce(ValueRef<'_>)) {
    let mut column = ValueColumn { kind: vec![kind], data: TextColumn::default() };
    column.data.push(text.as_bytes());
    match (kind, column.get(0)) {
        (2, _) if !matches!(text, "true" | "false") => then(ValueRef::Text(text)),
        // Bytes come as base64, JSON must be JSON.
        (5, _) => {
            use base64::Engine as _;
            match base64::engine::general_purpose::STANDARD.decode(text) {
                Ok(bytes) => then(ValueRef::Bytes(&bytes)),
                Err(_) => then(ValueRef::Text(text)),
            }
        }
        (6, _) if serde_json::from_str::<serde::de::IgnoredAny>(text).is_err() => then(ValueRef::Text(text)),
        (_, value) => then(value),
    }
}

fn text(column: &wire::TextColumn, row: usize) -> &str {
    let bytes = &column.bytes[column.offsets[row] as usize..column.offsets[row + 1] as usize];
    // It has been checked.
    str::from_utf8(bytes).unwrap_or("")
}

fn bytes<const N: usize>(column: &[u8], row: usize) -> [u8; N] {
    column.get(row * N..(row + 1) * N).and_then(|bytes| bytes.try_into().ok()).unwrap_or([0; N])
}

/// Checks all columns against each other.
fn check(parsed: &wire::Parsed, lines: usize) -> Result<(), String> {
    let count = |what: &str, found: usize, wanted: usize| {
        if found == wanted { Ok(()) } else { Err(format!("`{what}` has {found} entries, and {wanted} are needed")) }
    };
    count("status", parsed.status.len(), lines)?;
    if let Some(status) = parsed.status.iter().find(|status| **status > RAW) {
        return Err(format!("`status` holds {status}, and knows 0 to 3"));
    }
    let records = parsed.status.iter().filter(|status| **status == RECORD).count();
    count("time", parsed.time.len(), records)?;
    count("severity", parsed.severity.len(), records)?;
    if let Some(severity) = parsed.severity.iter().find(|severity| **severity > 24) {
        return Err(format!("`severity` holds {severity}, and knows 0 to 24"));
    }
    texts("body", &parsed.body, records)?;
    let attributes = &parsed.attributes;
    count("attributes.key", attributes.key.len(), attributes.row.len())?;
    count("attributes.kind", attributes.kind.len(), attributes.row.len())?;
    texts("attributes.data", &attributes.data, attributes.row.len())?;
    if !attributes.row.is_sorted() || attributes.row.last().is_some_and(|row| *row as usize >= records) {
        return Err("`attributes.row` is not sorted, or names a record that is not there".to_owned());
    }
    if attributes.row.chunk_by(|left, right| left == right).any(|of_record| of_record.len() > MAX_ATTRIBUTES) {
        return Err(format!("a record has more than {MAX_ATTRIBUTES} attributes"));
    }
    if attributes.key.iter().any(|key| *key as usize >= parsed.dict.len()) {
        return Err("`attributes.key` names an entry of `dict` that is not there".to_owned());
    }
    if attributes.kind.iter().any(|kind| *kind > 6) {
        return Err("`attributes.kind` holds a number above 6".to_owned());
    }
    for (what, column, width) in [("trace", &parsed.trace, 16), ("span", &parsed.span, 8)] {
        if !column.is_empty() {
            count(what, column.len(), records * width)?;
        }
    }
    Ok(())
}

/// Checks a column of texts.
fn texts(what: &str, column: &wire::TextColumn, rows: usize) -> Result<(), String> {
    if column.offsets.len() != rows + 1 {
        return Err(format!("`{what}.offsets` has {} entries, and {} are needed", column.offsets.len(), rows + 1));
    }
    let ends = (column.offsets[0], column.offsets[rows] as usize);
    if !column.offsets.is_sorted() || ends != (0, column.bytes.len()) {
        return Err(format!("`{what}.offsets` does not go from 0 up to the {} bytes that there are", column.bytes.len()));
    }
    let whole = str::from_utf8(&column.bytes).map_err(|error| format!("`{what}` is not UTF-8: {error}"))?;
    if column.offsets.iter().any(|offset| !whole.is_char_boundary(*offset as usize)) {
        return Err(format!("`{what}.offsets` cuts a character"));
    }
    if column.offsets.windows(2).any(|pair| (pair[1] - pair[0]) as usize > MAX_TEXT_BYTES) {
        return Err(format!("`{what}` holds a text of more than {MAX_TEXT_BYTES} bytes"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(texts: &[&str]) -> Vec<ParserLine> {
        texts.iter().map(|text| ParserLine { text: (*text).to_owned(), time: None, stream: "" }).collect()
    }

    fn column(texts: &[&str]) -> wire::TextColumn {
        let mut column = TextColumn::default();
        texts.iter().for_each(|text| column.push(text.as_bytes()));
        wire::TextColumn { offsets: column.offsets, bytes: column.bytes }
    }

    fn source() -> Source<'static> {
        Source { service: "shop", resource: &[], now: Timestamp::from_seconds(9) }
    }

    fn good() -> wire::Parsed {
        wire::Parsed {
            status: vec![0, 2, 1, 3, 0],
            time: vec![1_000_000_000, 0],
            severity: vec![9, 17],
            body: column(&["first", "second"]),
            attributes: wire::AttributeColumns {
                row: vec![0, 0, 1],
                key: vec![0, 1, 2],
                kind: vec![3, 2, 1],
                data: column(&["7", "maybe", "other"]),
            },
            trace: Vec::new(),
            span: vec![1; 16],
            dict: vec!["n".to_owned(), "ok".to_owned(), "service.name".to_owned()],
        }
    }

    #[test]
    fn lines_become_what_the_parser_says() {
        let mut parsed = ParsedBatch::default();
        append(&mut parsed, &good(), &lines(&["1", "more", "left out", "raw", "2"]), &source()).unwrap();
        let shown: Vec<String> = (0..parsed.batch.len())
            .map(|row| {
                let record = parsed.batch.record(row);
                let attributes: Vec<String> = record
                    .attributes
                    .iter()
                    .map(|(key, value)| format!("{key}={}", serde_json::to_string(value).unwrap()))
                    .collect();
                format!(
                    "{} {} {} {:?} {}",
                    record.timestamp,
                    record.severity_number,
                    parsed.batch.service(row),
                    record.body.as_text().unwrap(),
                    attributes.join(" ")
                )
            })
            .collect();
        insta::assert_snapshot!(shown.join("\n"), @r#"
        1970-01-01T00:00:01Z 9 shop "first\nmore" n=7 ok="maybe"
        1970-01-01T00:00:09Z 0 shop "raw" 
        1970-01-01T00:00:09Z 17 other "second" 
        "#);
        assert_eq!((parsed.dropped, parsed.raw), (1, 1));
    }

    #[test]
    fn columns_that_do_not_fit_are_refused_and_named() {
        let spoiled = |spoil: &dyn Fn(&mut wire::Parsed)| {
            let mut parsed = good();
            spoil(&mut parsed);
            append(&mut ParsedBatch::default(), &parsed, &lines(&["1", "2", "3", "4", "5"]), &source()).unwrap_err()
        };
        let reasons = [
            spoiled(&|parsed| parsed.status.truncate(4)),
            spoiled(&|parsed| parsed.status[0] = 9),
            spoiled(&|parsed| parsed.time.truncate(1)),
            spoiled(&|parsed| parsed.severity[0] = 25),
            spoiled(&|parsed| parsed.body.offsets[1] = 99),
            spoiled(&|parsed| parsed.body.bytes[0] = 0xff),
            spoiled(&|parsed| parsed.attributes.row = vec![1, 0, 0]),
            spoiled(&|parsed| parsed.attributes.row = vec![0, 0, 2]),
            spoiled(&|parsed| parsed.attributes.key[0] = 3),
            spoiled(&|parsed| parsed.attributes.kind[0] = 7),
            spoiled(&|parsed| parsed.span = vec![1; 15]),
        ];
        insta::assert_snapshot!(reasons.join("\n"), @r"
        `status` has 4 entries, and 5 are needed
        `status` holds 9, and knows 0 to 3
        `time` has 1 entries, and 2 are needed
        `severity` holds 25, and knows 0 to 24
        `body.offsets` does not go from 0 up to the 11 bytes that there are
        `body` is not UTF-8: invalid utf-8 sequence of 1 bytes from index 0
        `attributes.row` is not sorted, or names a record that is not there
        `attributes.row` is not sorted, or names a record that is not there
        `attributes.key` names an entry of `dict` that is not there
        `attributes.kind` holds a number above 6
        `span` has 15 entries, and 16 are needed
        ");
    }

    proptest! {
        #[test]
        fn whatever_comes_back_makes_nothing_panic(
            status in proptest::collection::vec(0_u8..5, 0..6),
            time in proptest::collection::vec(any::<u64>(), 0..6),
            offsets in proptest::collection::vec(0_u32..12, 0..7),
            body in proptest::collection::vec(any::<u8>(), 0..12),
            row in proptest::collection::vec(0_u32..6, 0..6),
            kind in proptest::collection::vec(0_u8..9, 0..6),
        ) {
            let parsed = wire::Parsed {
                severity: vec![9; time.len()],
                body: wire::TextColumn { offsets: offsets.clone(), bytes: body.clone() },
                attributes: wire::AttributeColumns { key: row.clone(), row, kind, data: wire::TextColumn { offsets, bytes: body } },
                trace: Vec::new(),
                span: Vec::new(),
                dict: vec!["a".to_owned(); 5],
                status,
                time,
            };
            let lines = lines(&["1", "2", "3", "4"]);
            let mut batch = ParsedBatch::default();
            if append(&mut batch, &parsed, &lines, &source()).is_err() {
                prop_assert_eq!(batch, ParsedBatch::default());
            }
        }
    }
}
