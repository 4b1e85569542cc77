//! Formats 1 and 2: quick to write, for blocks that are soon merged.
//!
//! Layout, all integers little-endian: format version (1 byte), rows (u32), then for each of the five sections its raw length,
//! stored length and CRC-32 (u32 each), then the sections themselves, each a zstd frame (empty when there is nothing to say).

use rustc_hash::FxHashMap;
use watchfire_types::attributes::Attributes;
use watchfire_types::log::{Dictionary, LogBatch, TextColumn, ValueColumn};

use super::super::varint::{Reader, put, put_bytes, put_signed};
use super::{BlockError, Columns, compress, decompress, empty_values};

/// Format of what [`encode`] writes. Format 1 had no patterns.
const FORMAT: u8 = 2;
const SECTIONS: usize = 5;
const HEADER_BYTES: usize = 5 + SECTIONS * 12;

/// Encodes all rows of `batch` in format 2.
pub(super) fn encode(batch: &LogBatch, level: i32) -> Vec<u8> {
    let sections =
        [encode_dictionary(batch), encode_head(batch), encode_ids(batch), encode_values(&batch.body), encode_attributes(batch)];
    let mut block = vec![0; HEADER_BYTES];
    block[0] = FORMAT;
    block[1..5].copy_from_slice(&(batch.len() as u32).to_le_bytes());
    for (index, raw) in sections.iter().enumerate() {
        let start = block.len();
        if !raw.is_empty() {
            compress(raw, level, &mut block);
        }
        let stored = &block[start..];
        let entry = [raw.len() as u32, stored.len() as u32, crc32fast::hash(stored)];
        for (slot, number) in block[5 + index * 12..].chunks_mut(4).zip(entry) {
            slot.copy_from_slice(&number.to_le_bytes());
        }
    }
    block
}

/// Decodes a block of format 1 or 2.
pub(super) fn decode(block: &[u8], first_seq: u64, columns: Columns) -> Result<LogBatch, BlockError> {
    if block.len() < HEADER_BYTES {
        return Err(BlockError::Length);
    }
    let format = block[0];
    let number = |at: usize| u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]) as usize;
    let rows = number(1);
    let mut raw: [Vec<u8>; SECTIONS] = Default::default();
    let wanted = [true, true, columns.ids, columns.body, columns.attributes];
    let mut start = HEADER_BYTES;
    for index in 0..SECTIONS {
        let [raw_len, stored_len, checksum] = [0, 4, 8].map(|field| number(5 + index * 12 + field));
        let stored = block.get(start..start + stored_len).ok_or(BlockError::Length)?;
        start += stored_len;
        if !wanted[index] || raw_len == 0 {
            continue;
        }
        if crc32fast::hash(stored) as usize != checksum {
            return Err(BlockError::Checksum(index));
        }
        raw[index] = decompress(stored, raw_len).ok_or(BlockError::Compression(index))?;
    }
    let mut batch = LogBatch::default();
    decode_dictionary(&raw[0], &mut batch)?;
    // Every row takes at least three bytes of the head: a row count beyond that is not believed before memory is reserved for it.
    if rows > raw[1].len() {
        return Err(BlockError::Length);
    }
    decode_head(&raw[1], format, rows, first_seq, &mut batch)?;
    decode_ids(&raw[2], rows, &mut batch)?;
    batch.body = if columns.body { decode_values(&mut Reader(&raw[3]), rows)? } else { empty_values(rows) };
    if columns.attributes {
        decode_attributes(&raw[4], rows, &mut batch)?;
    } else {
        batch.attribute_ends = vec![0; rows];
    }
    Ok(batch)
}

pub(super) fn encode_dictionary(batch: &LogBatch) -> Vec<u8> {
    let mut section = Vec::new();
    let strings = &batch.dict.strings()[1..];
    put(&mut section, strings.len() as u64);
    for text in strings {
        put_bytes(&mut section, text.as_bytes());
    }
    put(&mut section, batch.resources.len() as u64);
    for resource in &batch.resources {
        let mut values = ValueColumn::default();
        put(&mut section, resource.len() as u64);
        for (key, value) in resource {
            put_bytes(&mut section, key.as_bytes());
            values.push(value.as_ref());
        }
        section.extend(encode_values(&values));
    }
    section
}

pub(super) fn decode_dictionary(section: &[u8], batch: &mut LogBatch) -> Result<(), BlockError> {
    let mut reader = Reader(section);
    let mut dict = Dictionary::default();
    for index in 1..=reader.count()? as u32 {
        if dict.intern(reader.text()?) != index {
            return Err(BlockError::Length);
        }
    }
    for _ in 0..reader.count()? {
        let count = reader.count()?;
        let keys: Vec<&str> = (0..count).map(|_| reader.text()).collect::<Result<_, _>>()?;
        let values = decode_values(&mut reader, count)?;
        let resource: Attributes =
            keys.into_iter().enumerate().map(|(row, key)| (key.to_owned(), values.get(row).to_value())).collect();
        batch.resources.push(resource);
    }
    batch.dict = dict;
    Ok(())
}

fn encode_head(batch: &LogBatch) -> Vec<u8> {
    let mut section = Vec::with_capacity(batch.len() * 12 + 16);
    let first = batch.seq.first().copied().unwrap_or(0);
    let contiguous = batch.seq.iter().enumerate().all(|(row, seq)| *seq == first + row as u64);
    section.push(u8::from(!contiguous));
    if !contiguous {
        let mut last = first;
        for seq in &batch.seq {
            put(&mut section, seq - last);
            last = *seq;
        }
    }
    let mut last = 0;
    for time in &batch.time {
        put_signed(&mut section, time.wrapping_sub(last) as i64);
        last = *time;
    }
    for (observed, time) in batch.observed.iter().zip(&batch.time) {
        put_signed(&mut section, observed.wrapping_sub(*time) as i64);
    }
    section.extend_from_slice(&batch.severity);
    for column in [&batch.severity_text, &batch.resource, &batch.scope, &batch.event_name, &batch.flags] {
        // One value for all rows, as in most batches, takes no place.
        let constant = column.first().is_none_or(|first| column.iter().all(|value| value == first));
        section.push(u8::from(!constant));
        let values = if constant { &column[..column.len().min(1)] } else { &column[..] };
        for value in values {
            put(&mut section, u64::from(*value));
        }
    }
    encode_patterns(&batch.pattern, &mut section);
    section
}

/// Patterns: 0 when none were looked for, else 1, the distinct ids in the order in which they come, and where in that list each row's is.
fn encode_patterns(patterns: &[u64], section: &mut Vec<u8>) {
    section.push(u8::from(!patterns.is_empty()));
    if patterns.is_empty() {
        return;
    }
    let mut places: FxHashMap<u64, u64> = FxHashMap::default();
    let mut ids = Vec::new();
    let rows: Vec<u64> = patterns
        .iter()
        .map(|id| {
            *places.entry(*id).or_insert_with(|| {
                ids.push(*id);
                ids.len() as u64 - 1
            })
        })
        .collect();
    put(section, ids.len() as u64);
    for number in ids.into_iter().chain(rows) {
        put(section, number);
    }
}

fn decode_patterns(reader: &mut Reader<'_>, rows: usize) -> Result<Vec<u64>, BlockError> {
    if reader.byte()? == 0 {
        return Ok(Vec::new());
    }
    let ids: Vec<u64> = (0..reader.count()?).map(|_| reader.number()).collect::<Result<_, _>>()?;
    let id = |place: u64| ids.get(place as usize).copied().ok_or(BlockError::Length);
    (0..rows).map(|_| id(reader.number()?)).collect()
}

fn decode_head(section: &[u8], format: u8, rows: usize, first_seq: u64, batch: &mut LogBatch) -> Result<(), BlockError> {
    let mut reader = Reader(section);
    if reader.byte()? == 0 {
        batch.seq = (0..rows as u64).map(|row| first_seq + row).collect();
    } else {
        let mut last = first_seq;
        for _ in 0..rows {
            last = last.checked_add(reader.number()?).ok_or(BlockError::Length)?;
            batch.seq.push(last);
        }
    }
    let mut last = 0_u64;
    batch.time.reserve(rows);
    for _ in 0..rows {
        last = last.wrapping_add(reader.signed()? as u64);
        batch.time.push(last);
    }
    batch.observed.reserve(rows);
    for row in 0..rows {
        batch.observed.push(batch.time[row].wrapping_add(reader.signed()? as u64));
    }
    batch.severity = reader.take(rows)?.to_vec();
    let strings = batch.dict.strings().len() as u64;
    let mut column = |bound: u64| -> Result<Vec<u32>, BlockError> {
        let checked = |number: u64| if number < bound { Ok(number as u32) } else { Err(BlockError::Length) };
        if reader.byte()? == 0 {
            return if rows == 0 { Ok(Vec::new()) } else { Ok(vec![checked(reader.number()?)?; rows]) };
        }
        (0..rows).map(|_| checked(reader.number()?)).collect()
    };
    batch.severity_text = column(strings)?;
    // A batch whose records have no resource at all still says index 0.
    batch.resource = column((batch.resources.len() as u64).max(1))?;
    batch.scope = column(strings)?;
    batch.event_name = column(strings)?;
    batch.flags = column(1 << 32)?;
    if format >= 2 {
        batch.pattern = decode_patterns(&mut reader, rows)?;
    }
    Ok(())
}

fn encode_ids(batch: &LogBatch) -> Vec<u8> {
    let mut section = Vec::new();
    if batch.trace_id.iter().any(|id| *id != [0; 16]) || batch.span_id.iter().any(|id| *id != [0; 8]) {
        section.extend(batch.trace_id.as_flattened());
        section.extend(batch.span_id.as_flattened());
    }
    section
}

fn decode_ids(section: &[u8], rows: usize, batch: &mut LogBatch) -> Result<(), BlockError> {
    if section.is_empty() {
        batch.trace_id = vec![[0; 16]; rows];
        batch.span_id = vec![[0; 8]; rows];
        return Ok(());
    }
    let (traces, spans) = section.split_at_checked(rows * 16).ok_or(BlockError::Length)?;
    batch.trace_id = traces.as_chunks().0.to_vec();
    batch.span_id = spans.as_chunks().0.to_vec();
    if batch.span_id.len() == rows { Ok(()) } else { Err(BlockError::Length) }
}

fn encode_values(values: &ValueColumn) -> Vec<u8> {
    let mut section = Vec::with_capacity(values.data.bytes.len() + values.kind.len() * 2 + 8);
    let constant = values.kind.first().is_none_or(|first| values.kind.iter().all(|kind| kind == first));
    section.push(u8::from(!constant));
    section.extend_from_slice(if constant { &values.kind[..values.kind.len().min(1)] } else { &values.kind });
    for row in 0..values.data.len() {
        put(&mut section, u64::from(values.data.offsets[row + 1] - values.data.offsets[row]));
    }
    section.extend_from_slice(&values.data.bytes);
    section
}

fn decode_values(reader: &mut Reader<'_>, rows: usize) -> Result<ValueColumn, BlockError> {
    let kind = match reader.byte()? {
        0 if rows == 0 => Vec::new(),
        0 => vec![reader.byte()?; rows],
        _ => reader.take(rows)?.to_vec(),
    };
    let mut offsets = Vec::with_capacity(rows.min(reader.0.len()) + 1);
    offsets.push(0_u32);
    let mut end = 0_u64;
    for _ in 0..rows {
        end = end.saturating_add(reader.number()?);
        offsets.push(u32::try_from(end).map_err(|_| BlockError::Length)?);
    }
    let bytes = reader.take(end as usize)?.to_vec();
    Ok(ValueColumn { kind, data: TextColumn { offsets, bytes } })
}

/// Attributes: how many each row has, their keys in order, and then the values key by key, because values of one key
/// resemble each other and compress together.
fn encode_attributes(batch: &LogBatch) -> Vec<u8> {
    let count = batch.attribute_key.len();
    let mut section = Vec::with_capacity(batch.attribute_value.data.bytes.len() + count * 3);
    if count == 0 {
        return section;
    }
    let mut start = 0;
    for end in &batch.attribute_ends {
        put(&mut section, u64::from(end - start));
        start = *end;
    }
    let mut by_key: Vec<(u32, ValueColumn)> = Vec::new();
    let mut slot_of_key = vec![u32::MAX; batch.dict.strings().len()];
    for (index, key) in batch.attribute_key.iter().enumerate() {
        put(&mut section, u64::from(*key));
        let slot = &mut slot_of_key[*key as usize];
        if *slot == u32::MAX {
            *slot = by_key.len() as u32;
            by_key.push((*key, ValueColumn::default()));
        }
        by_key[*slot as usize].1.push_raw(batch.attribute_value.kind[index], batch.attribute_value.data.get(index));
    }
    for (_, values) in &by_key {
        section.extend(encode_values(values));
    }
    section
}

fn decode_attributes(section: &[u8], rows: usize, batch: &mut LogBatch) -> Result<(), BlockError> {
    if section.is_empty() {
        batch.attribute_ends = vec![0; rows];
        return Ok(());
    }
    let mut reader = Reader(section);
    let mut end = 0_u64;
    for _ in 0..rows {
        end = end.saturating_add(reader.number()?);
        batch.attribute_ends.push(u32::try_from(end).map_err(|_| BlockError::Length)?);
    }
    if end as usize > section.len() {
        return Err(BlockError::Length);
    }
    let strings = batch.dict.strings().len();
    let mut counts: Vec<(u32, usize)> = Vec::new();
    let mut slot_of_key = vec![u32::MAX; strings];
    for _ in 0..end {
        let key = reader.number()?;
        let slot = slot_of_key.get_mut(key as usize).ok_or(BlockError::Length)?;
        if *slot == u32::MAX {
            *slot = counts.len() as u32;
            counts.push((key as u32, 0));
        }
        counts[*slot as usize].1 += 1;
        batch.attribute_key.push(key as u32);
    }
    let columns: Vec<ValueColumn> = counts.iter().map(|(_, count)| decode_values(&mut reader, *count)).collect::<Result<_, _>>()?;
    let mut next = vec![0; columns.len()];
    batch.attribute_value.data.bytes.reserve(columns.iter().map(|column| column.data.bytes.len()).sum());
    for key in &batch.attribute_key {
        let slot = slot_of_key[*key as usize] as usize;
        let row = next[slot];
        next[slot] += 1;
        batch.attribute_value.push_raw(columns[slot].kind[row], columns[slot].data.get(row));
    }
    Ok(())
}
