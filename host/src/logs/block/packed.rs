//! Format 3: small, and read by the column.
//!
//! Layout, integers little-endian: format version (1 byte), rows (u32), sections (u32), CRC-32 of all up to the first section but itself
//! (u32), then stored length and CRC-32 of each section (u32 each), then the sections:
//! 0. dictionary and resources as in format 2, and the keys that have a section of their own;
//! 1. seqs, times, severities and all else that a record has but few values of;
//! 2. trace and span ids;
//! 3. bodies;
//! 4. which keys each record has, and the values of rare keys;
//! 5. and on: the values of one key each, in the order of the list in section 0.

use rustc_hash::{FxBuildHasher, FxHashMap};
use watchfire_types::log::{LogBatch, TextColumn, ValueColumn};

use super::super::varint::{Reader, put};
use super::numbers::{self, Order};
use super::texts::{self, Column, Ways};
use super::{BlockError, Columns, MAX_SECTION_BYTES, empty_values, put_packed, rows, take_packed};
use crate::logs::query::bits::Bits;

pub(super) const FORMAT: u8 = 3;
const HEADER_BYTES: usize = 13;
/// Sections before those of single keys.
const FIXED: usize = 5;
/// A key of so many values has a section of its own.
const COMMON_VALUES: usize = 64;
/// Most rows and most attributes: what is constant takes no place, so the bytes do not bound what a reader must hold.
const MAX_ROWS: usize = 1 << 20;
const MAX_ATTRIBUTES: usize = 1 << 24;

/// Encodes all rows of `batch`, or returns nothing if there are more than this format takes.
pub(super) fn encode(batch: &LogBatch, level: i32) -> Option<Vec<u8>> {
    if batch.len() > MAX_ROWS || batch.attribute_key.len() > MAX_ATTRIBUTES {
        return None;
    }
    let keys = Keys::of(batch);
    let mut names = Vec::new();
    put_packed(&mut names, &rows::encode_dictionary(batch), level);
    let common: Vec<u64> = keys.common.iter().map(|key| u64::from(*key)).collect();
    put(&mut names, common.len() as u64);
    numbers::encode(&common, Order::Free, level, &mut names);
    let mut sections = vec![
        names,
        encode_head(batch, level),
        encode_ids(batch, level),
        encode_values(&batch.body, level),
        encode_shapes(batch, &keys, level),
    ];
    sections.extend(keys.common.iter().map(|key| encode_values(&keys.values[key], level)));

    if sections.iter().any(|section| u32::try_from(section.len()).is_err()) {
        return None;
    }
    let sections: Vec<&[u8]> = sections.iter().map(Vec::as_slice).collect();
    Some(framed(batch.len() as u32, &sections))
}

/// Returns `sections` in the frame of a block.
pub(super) fn framed(rows: u32, sections: &[&[u8]]) -> Vec<u8> {
    let mut block = vec![FORMAT];
    block.extend(rows.to_le_bytes());
    block.extend((sections.len() as u32).to_le_bytes());
    block.extend([0; 4]);
    for section in sections {
        block.extend((section.len() as u32).to_le_bytes());
        block.extend(crc32fast::hash(section).to_le_bytes());
    }
    let checksum = checksum(&block[..9], &block[HEADER_BYTES..]);
    block[9..HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
    for section in sections {
        block.extend_from_slice(section);
    }
    block
}

fn checksum(header: &[u8], directory: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    hasher.update(directory);
    hasher.finalize()
}

/// Decodes a block of this format; of the attributes, with `keys`, only those.
pub(super) fn decode(block: &[u8], first_seq: u64, columns: Columns, keys: Option<&[String]>) -> Result<LogBatch, BlockError> {
    let sections = Sections::new(block)?;
    let rows = sections.rows;
    let mut batch = LogBatch::default();
    rows::decode_dictionary(&take_packed(&mut Reader(sections.get(0)?))?, &mut batch)?;
    decode_head(sections.get(1)?, rows, first_seq, &mut batch)?;
    if columns.ids {
        (batch.trace_id, batch.span_id) = ids(&sections, None)?;
    } else {
        batch.trace_id = vec![[0; 16]; rows];
        batch.span_id = vec![[0; 8]; rows];
    }
    batch.body = if columns.body {
        let (kinds, texts) = body(&sections)?;
        ValueColumn { kind: kinds.into_iter().map(|kind| kind as u8).collect(), data: texts.into_texts(rows)? }
    } else {
        empty_values(rows)
    };
    if columns.attributes {
        let is_wanted = |key: &str| keys.is_none_or(|keys| keys.iter().any(|wanted| wanted == key));
        let attributes = attributes(&sections, batch.dict.strings(), &is_wanted)?;
        attributes.append(&Bits::all(rows), None, &mut batch)?;
    } else {
        batch.attribute_ends = vec![0; rows];
    }
    Ok(batch)
}

/// Trace and span ids.
type Ids = (Vec<[u8; 16]>, Vec<[u8; 8]>);

/// Returns the trace and span ids, of some rows or of all.
pub(super) fn ids(sections: &Sections<'_>, wanted: Option<&[usize]>) -> Result<Ids, BlockError> {
    let mut reader = Reader(sections.get(2)?);
    Ok((decode_id(&mut reader, sections.rows, wanted)?, decode_id(&mut reader, sections.rows, wanted)?))
}

/// Returns the kinds and texts of the bodies.
pub(super) fn body<'a>(sections: &Sections<'a>) -> Result<(Vec<u64>, Column<'a>), BlockError> {
    let mut reader = Reader(sections.get(3)?);
    Ok((numbers::decode(&mut reader, sections.rows)?, Column::decode(&mut reader, sections.rows, 0)?))
}

/// The frame of a block: where each section lies.
pub(super) struct Sections<'a> {
    pub(super) rows: usize,
    entries: Vec<(&'a [u8], u32)>,
}

impl<'a> Sections<'a> {
    pub(super) fn new(block: &'a [u8]) -> Result<Self, BlockError> {
        let number = |bytes: &[u8]| bytes.first_chunk().map(|bytes| u32::from_le_bytes(*bytes)).ok_or(BlockError::Length);
        let (header, rest) = block.split_at_checked(HEADER_BYTES).ok_or(BlockError::Length)?;
        let (rows, count) = (number(&header[1..])? as usize, number(&header[5..])? as usize);
        let (directory, mut rest) =
            count.checked_mul(8).and_then(|bytes| rest.split_at_checked(bytes)).ok_or(BlockError::Length)?;
        if checksum(&header[..9], directory) != number(&header[9..])? {
            return Err(BlockError::Directory);
        }
        if rows > MAX_ROWS || count < FIXED {
            return Err(BlockError::Length);
        }
        let mut entries = Vec::with_capacity(count);
        for entry in directory.chunks(8) {
            let (section, left) = rest.split_at_checked(number(entry)? as usize).ok_or(BlockError::Length)?;
            entries.push((section, number(&entry[4..])?));
            rest = left;
        }
        Ok(Self { rows, entries })
    }

    fn get(&self, index: usize) -> Result<&'a [u8], BlockError> {
        let (section, checksum) = self.entries[index];
        if crc32fast::hash(section) == checksum { Ok(section) } else { Err(BlockError::Checksum(index)) }
    }
}

fn encode_head(batch: &LogBatch, level: i32) -> Vec<u8> {
    let mut out = Vec::new();
    let first = batch.seq.first().copied().unwrap_or(0);
    let contiguous = batch.seq.iter().enumerate().all(|(row, seq)| *seq == first + row as u64);
    out.push(u8::from(!contiguous));
    if !contiguous {
        let relative: Vec<u64> = batch.seq.iter().map(|seq| seq - first).collect();
        numbers::encode(&relative, Order::Rising, level, &mut out);
    }
    numbers::encode(&batch.time, Order::Rising, level, &mut out);
    // Read together, records share the moment; or each is observed as it happens.
    let (mut apart, mut lag) = (Vec::new(), Vec::new());
    numbers::encode(&batch.observed, Order::Rising, level, &mut apart);
    let lags: Vec<i64> =
        batch.observed.iter().zip(&batch.time).map(|(observed, time)| observed.wrapping_sub(*time) as i64).collect();
    numbers::encode_signed(&lags, level, &mut lag);
    out.push(u8::from(lag.len() < apart.len()));
    out.extend(if lag.len() < apart.len() { lag } else { apart });
    let severities: Vec<u64> = batch.severity.iter().map(|severity| u64::from(*severity)).collect();
    numbers::encode(&severities, Order::Free, level, &mut out);
    for column in [&batch.severity_text, &batch.resource, &batch.scope, &batch.event_name, &batch.flags] {
        let column: Vec<u64> = column.iter().map(|value| u64::from(*value)).collect();
        numbers::encode(&column, Order::Free, level, &mut out);
    }
    out.push(u8::from(!batch.pattern.is_empty()));
    if !batch.pattern.is_empty() {
        let (ids, places) = distinct(&batch.pattern);
        put(&mut out, ids.len() as u64);
        numbers::encode(&ids, Order::Free, level, &mut out);
        numbers::encode(&places, Order::Free, level, &mut out);
    }
    out
}

fn decode_head(section: &[u8], rows: usize, first_seq: u64, batch: &mut LogBatch) -> Result<(), BlockError> {
    let mut reader = Reader(section);
    batch.seq = if reader.byte()? == 0 {
        (0..rows as u64).map(|row| first_seq.wrapping_add(row)).collect()
    } else {
        let relative = numbers::decode(&mut reader, rows)?;
        if !relative.is_sorted() {
            return Err(BlockError::Length);
        }
        relative.into_iter().map(|seq| first_seq.checked_add(seq).ok_or(BlockError::Length)).collect::<Result<_, _>>()?
    };
    batch.time = numbers::decode(&mut reader, rows)?;
    batch.observed = if reader.byte()? == 0 {
        numbers::decode(&mut reader, rows)?
    } else {
        let lags = numbers::decode_signed(&mut reader, rows)?;
        batch.time.iter().zip(lags).map(|(time, lag)| time.wrapping_add(lag as u64)).collect()
    };
    let severities = numbers::decode(&mut reader, rows)?;
    batch.severity = severities.into_iter().map(|severity| severity as u8).collect();
    let strings = batch.dict.strings().len() as u64;
    let mut column = |bound: u64| -> Result<Vec<u32>, BlockError> {
        let column = numbers::decode(&mut reader, rows)?;
        let checked = |number: u64| if number < bound { Ok(number as u32) } else { Err(BlockError::Length) };
        column.into_iter().map(checked).collect()
    };
    batch.severity_text = column(strings)?;
    // A batch whose records have no resource at all still says index 0.
    batch.resource = column((batch.resources.len() as u64).max(1))?;
    batch.scope = column(strings)?;
    batch.event_name = column(strings)?;
    batch.flags = column(1 << 32)?;
    if reader.byte()? != 0 {
        let ids = reader.count_of(rows)?;
        let ids = numbers::decode(&mut reader, ids)?;
        batch.pattern = looked_up(&numbers::decode(&mut reader, rows)?, &ids)?;
    }
    Ok(())
}

/// Returns the distinct values in the order in which they come, and where in that list each row's is.
fn distinct<T: Copy + Eq + std::hash::Hash>(values: &[T]) -> (Vec<T>, Vec<u64>) {
    let mut places: FxHashMap<T, u64> = FxHashMap::with_hasher(FxBuildHasher);
    let mut list = Vec::new();
    let place = |value: &T| {
        *places.entry(*value).or_insert_with(|| {
            list.push(*value);
            list.len() as u64 - 1
        })
    };
    let rows = values.iter().map(place).collect();
    (list, rows)
}

fn looked_up<T: Copy>(places: &[u64], list: &[T]) -> Result<Vec<T>, BlockError> {
    places.iter().map(|place| list.get(*place as usize).copied().ok_or(BlockError::Length)).collect()
}

fn encode_ids(batch: &LogBatch, level: i32) -> Vec<u8> {
    let mut out = Vec::new();
    encode_id(&batch.trace_id, level, &mut out);
    encode_id(&batch.span_id, level, &mut out);
    out
}

/// Ids: how many distinct ones there are, those, and which one each row has unless every row has its own.
fn encode_id<const N: usize>(ids: &[[u8; N]], level: i32, out: &mut Vec<u8>) {
    let (list, places) = distinct(ids);
    put(out, list.len() as u64);
    put_packed(out, list.as_flattened(), level);
    if list.len() < ids.len() {
        numbers::encode(&places, Order::Free, level, out);
    }
}

fn decode_id<const N: usize>(reader: &mut Reader<'_>, rows: usize, wanted: Option<&[usize]>) -> Result<Vec<[u8; N]>, BlockError> {
    let count = reader.count_of(rows)?;
    let bytes = take_packed(reader)?;
    let (list, rest) = bytes.as_chunks::<N>();
    if list.len() != count || !rest.is_empty() {
        return Err(BlockError::Length);
    }
    let places = if count == rows { None } else { Some(numbers::decode(reader, rows)?) };
    match (places, wanted) {
        (None, None) => Ok(list.to_vec()),
        (None, Some(wanted)) => Ok(wanted.iter().map(|row| list[*row]).collect()),
        (Some(places), None) => looked_up(&places, list),
        (Some(places), Some(wanted)) => looked_up(&wanted.iter().map(|row| places[*row]).collect::<Vec<_>>(), list),
    }
}

fn encode_values(values: &ValueColumn, level: i32) -> Vec<u8> {
    let mut out = Vec::new();
    let kinds: Vec<u64> = values.kind.iter().map(|kind| u64::from(*kind)).collect();
    numbers::encode(&kinds, Order::Free, level, &mut out);
    let rows: Vec<&[u8]> = (0..values.kind.len()).map(|row| values.data.get(row)).collect();
    texts::encode(&rows, Ways::ALL, level, &mut out);
    out
}

/// The attributes of a batch by key.
struct Keys {
    /// Keys in the order in which they first come, and the values of each.
    all: Vec<u32>,
    common: Vec<u32>,
    values: FxHashMap<u32, ValueColumn>,
}

impl Keys {
    fn of(batch: &LogBatch) -> Self {
        let mut all = Vec::new();
        let mut slots = vec![usize::MAX; batch.dict.strings().len()];
        let mut columns: Vec<ValueColumn> = Vec::new();
        for (index, key) in batch.attribute_key.iter().enumerate() {
            let slot = &mut slots[*key as usize];
            if *slot == usize::MAX {
                *slot = columns.len();
                all.push(*key);
                columns.push(ValueColumn::default());
            }
            columns[*slot].push_raw(batch.attribute_value.kind[index], batch.attribute_value.data.get(index));
        }
        let values: FxHashMap<u32, ValueColumn> = all.iter().copied().zip(columns).collect();
        let common = all.iter().filter(|key| values[key].kind.len() >= COMMON_VALUES).copied().collect();
        Self { all, common, values }
    }
}

/// Which keys each record has: the distinct lists of keys, and which one each row has. Then the values of each rare key, by key.
fn encode_shapes(batch: &LogBatch, keys: &Keys, level: i32) -> Vec<u8> {
    let lists: Vec<&[u32]> = (0..batch.len()).map(|row| &batch.attribute_key[batch.attribute_range(row)]).collect();
    let (shapes, places) = distinct(&lists);
    let mut out = Vec::new();
    put(&mut out, shapes.len() as u64);
    let lengths: Vec<u64> = shapes.iter().map(|shape| shape.len() as u64).collect();
    numbers::encode(&lengths, Order::Free, level, &mut out);
    let members: Vec<u64> = shapes.iter().flat_map(|shape| shape.iter().map(|key| u64::from(*key))).collect();
    numbers::encode(&members, Order::Free, level, &mut out);
    numbers::encode(&places, Order::Free, level, &mut out);
    let rare = keys.all.iter().filter(|key| keys.values[key].kind.len() < COMMON_VALUES);
    rare.for_each(|key| out.extend(encode_values(&keys.values[key], level)));
    out
}

/// Which keys each record has.
pub(super) struct Shapes {
    /// The distinct lists of keys.
    pub(super) keys: Vec<Vec<u64>>,
    /// Which one each row has.
    pub(super) places: Vec<u64>,
}

/// The attributes of a block, by key.
pub(super) struct Attributes<'a> {
    pub(super) shapes: Shapes,
    /// Each key and how many values it has, in the order in which they first come.
    pub(super) keys: Vec<(u64, usize)>,
    /// Kinds and texts of each; `None` of keys that nobody wants.
    pub(super) columns: Vec<Option<(Vec<u64>, Column<'a>)>>,
    /// Where each string of the dictionary stands among the keys.
    slots: Vec<usize>,
}

/// Reads the attributes whose keys are wanted. `strings` is the dictionary.
pub(super) fn attributes<'a>(
    sections: &Sections<'a>,
    strings: &[String],
    is_wanted: &dyn Fn(&str) -> bool,
) -> Result<Attributes<'a>, BlockError> {
    let mut names = Reader(sections.get(0)?);
    take_packed(&mut names)?;
    let common = names.count_of(sections.entries.len() - FIXED)?;
    let common = numbers::decode(&mut names, common)?;
    let rows = sections.rows;
    let mut reader = Reader(sections.get(4)?);
    let shapes = decode_shapes(&mut reader, rows, strings.len())?;
    // Keys in the order in which they first come, as they were written.
    let mut slots = vec![usize::MAX; strings.len()];
    let mut keys: Vec<(u64, usize)> = Vec::new();
    let mut rows_of_shape = vec![0_usize; shapes.keys.len()];
    for place in &shapes.places {
        rows_of_shape[*place as usize] += 1;
    }
    let mut total = 0_usize;
    for (shape, count) in shapes.keys.iter().zip(&rows_of_shape) {
        total = total.saturating_add(shape.len().saturating_mul(*count));
        for key in shape {
            let slot = &mut slots[*key as usize];
            if *slot == usize::MAX {
                *slot = keys.len();
                keys.push((*key, 0));
            }
            keys[*slot].1 += count;
        }
    }
    if total > MAX_ATTRIBUTES {
        return Err(BlockError::Length);
    }
    let mut own_sections = vec![None; strings.len()];
    for (place, key) in common.iter().enumerate() {
        *own_sections.get_mut(*key as usize).ok_or(BlockError::Length)? = Some(FIXED + place);
    }
    let mut columns = Vec::with_capacity(keys.len());
    for (key, count) in &keys {
        let own = own_sections[*key as usize];
        let is_wanted = is_wanted(&strings[*key as usize]);
        let mut section = match own {
            Some(_) if !is_wanted => {
                columns.push(None);
                continue;
            }
            Some(section) => Reader(sections.get(section)?),
            // Values of rare keys must be read to know where the next one's begin.
            None => Reader(reader.0),
        };
        let kinds = numbers::decode(&mut section, *count)?;
        let column = Column::decode(&mut section, *count, 0)?;
        if own.is_none() {
            reader.0 = section.0;
        }
        columns.push(is_wanted.then_some((kinds, column)));
    }
    Ok(Attributes { shapes, keys, columns, slots })
}

fn decode_shapes(reader: &mut Reader<'_>, rows: usize, strings: usize) -> Result<Shapes, BlockError> {
    let shapes = reader.count_of(rows)?;
    let lengths = numbers::decode(reader, shapes)?;
    let members = lengths.iter().fold(0_u64, |sum, length| sum.saturating_add(*length)) as usize;
    if members > MAX_ATTRIBUTES {
        return Err(BlockError::Length);
    }
    let members = numbers::decode(reader, members)?;
    let places = numbers::decode(reader, rows)?;
    if members.iter().any(|key| *key >= strings as u64) || places.iter().any(|place| *place >= shapes as u64) {
        return Err(BlockError::Length);
    }
    let mut keys = Vec::with_capacity(shapes);
    let mut rest = members.as_slice();
    for length in &lengths {
        let (shape, left) = rest.split_at_checked(*length as usize).ok_or(BlockError::Length)?;
        keys.push(shape.to_vec());
        rest = left;
    }
    Ok(Shapes { keys, places })
}

impl Attributes<'_> {
    /// Appends those of `wanted` rows to `batch`, with `keys` only these.
    pub(super) fn append(&self, wanted: &Bits, keys: Option<&[String]>, batch: &mut LogBatch) -> Result<(), BlockError> {
        let is_wanted = |key: u64| keys.is_none_or(|keys| keys.iter().any(|name| name == batch.dict.get(key as u32)));
        let columns: Vec<_> =
            self.keys.iter().zip(&self.columns).map(|((key, _), column)| column.as_ref().filter(|_| is_wanted(*key))).collect();
        let mut next = vec![0_usize; self.keys.len()];
        batch.attribute_ends.reserve(wanted.rows());
        let values = &mut batch.attribute_value;
        for (row, place) in self.shapes.places.iter().enumerate() {
            let is_wanted = wanted.has(row);
            for key in &self.shapes.keys[*place as usize] {
                let slot = self.slots[*key as usize];
                let index = next[slot];
                next[slot] += 1;
                let Some((kinds, texts)) = columns[slot].filter(|_| is_wanted) else { continue };
                batch.attribute_key.push(*key as u32);
                values.kind.push(kinds[index] as u8);
                texts.append(index, &mut values.data.bytes);
                end_row(&mut values.data)?;
            }
            if is_wanted {
                batch.attribute_ends.push(batch.attribute_key.len() as u32);
            }
        }
        Ok(())
    }
}

/// Ends a row whose bytes have been appended.
pub(super) fn end_row(texts: &mut TextColumn) -> Result<(), BlockError> {
    if texts.bytes.len() > MAX_SECTION_BYTES {
        return Err(BlockError::Length);
    }
    texts.offsets.push(texts.bytes.len() as u32);
    Ok(())
}
