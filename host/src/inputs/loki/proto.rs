//! Push requests in protobuf, read from their bytes: `PushRequest { streams: [{ labels, entries: [{ timestamp, line,
//! structured metadata }] }] }`.

use watchfire_types::Timestamp;

use super::labels;
use super::record::{Collector, Decoded, NotPush};
use crate::inputs::otlp::wire::{Depth, Reader, WireError};

/// Reads a `PushRequest` into at most about `budget` bytes of columns.
///
/// # Errors
/// See [`NotPush`].
pub(super) fn decode(bytes: &[u8], now: Timestamp, budget: usize) -> Result<Decoded, NotPush> {
    let mut collector = Collector::new(now, budget);
    let mut request = Reader::new(bytes, Depth::TOP);
    while let Some(field) = request.next()? {
        if field.number == 1 {
            stream(field.bytes()?, Depth::TOP.enter()?, &mut collector)?;
        }
    }
    Ok(collector.finish())
}

fn stream(bytes: &[u8], depth: Depth, collector: &mut Collector) -> Result<(), NotPush> {
    // The labels may follow the entries.
    let (mut labels, mut count) = ("", 0);
    let mut fields = Reader::new(bytes, depth);
    while let Some(field) = fields.next()? {
        match field.number {
            1 => labels = field.text()?,
            2 => count += 1,
            _ => {}
        }
    }
    match labels::parse(labels) {
        Ok(labels) => collector.stream(&labels),
        Err(reason) => {
            collector.refuse(count, || reason);
            return Ok(());
        }
    }
    let mut metadata = Vec::new();
    let mut fields = Reader::new(bytes, depth);
    while let Some(field) = fields.next()? {
        if field.number == 2 {
            metadata.clear();
            let (timestamp, line) = entry(field.bytes()?, depth.enter()?, &mut metadata)?;
            match timestamp {
                Some(timestamp) => collector.entry(timestamp, line, &metadata)?,
                None => collector.refuse(1, || "a line has no time, or one before 1970".to_owned()),
            }
        }
    }
    Ok(())
}

type Entry<'a> = (Option<Timestamp>, &'a str);

fn entry<'a>(bytes: &'a [u8], depth: Depth, metadata: &mut Vec<(&'a str, &'a str)>) -> Result<Entry<'a>, WireError> {
    let (mut timestamp, mut line) = (None, "");
    let mut fields = Reader::new(bytes, depth);
    while let Some(field) = fields.next()? {
        match field.number {
            1 => timestamp = read_timestamp(field.bytes()?, depth.enter()?)?,
            2 => line = field.text()?,
            3 => metadata.push(pair(field.bytes()?, depth.enter()?)?),
            _ => {}
        }
    }
    Ok((timestamp, line))
}

/// Reads a `google.protobuf.Timestamp`.
fn read_timestamp(bytes: &[u8], depth: Depth) -> Result<Option<Timestamp>, WireError> {
    let (mut seconds, mut nanos) = (0_i64, 0_i32);
    let mut fields = Reader::new(bytes, depth);
    while let Some(field) = fields.next()? {
        match field.number {
            1 => seconds = field.varint()? as i64,
            2 => nanos = field.varint()? as i32,
            _ => {}
        }
    }
    let total = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    Ok(u64::try_from(total).ok().map(Timestamp::from_nanos))
}

fn pair(bytes: &[u8], depth: Depth) -> Result<(&str, &str), WireError> {
    let mut pair = ("", "");
    let mut fields = Reader::new(bytes, depth);
    while let Some(field) = fields.next()? {
        match field.number {
            1 => pair.0 = field.text()?,
            2 => pair.1 = field.text()?,
            _ => {}
        }
    }
    Ok(pair)
}
