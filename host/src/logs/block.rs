//! A block: some records, column by column, compressed, checked.
//!
//! Its first byte is its format. Small blocks, as a commit writes them, have format 2 (`rows`), which is quick; what is merged of
//! them has format 3 (`packed`), which is small. Whatever was once written can be read.
//! Numbers are LEB128 varints where nothing else is said; signed ones are zigzag-coded first. A block does not know its first `seq`:
//! the store keeps it beside the block, so that a block can be encoded before the writer assigns it.

mod numbers;
mod packed;
pub mod probe;
mod rows;
mod template;
mod templates;
mod texts;

use std::borrow::Cow;
use std::cell::RefCell;

use watchfire_types::log::{LogBatch, TextColumn, ValueColumn};

use super::varint::{Cut, Reader, put};

/// The newest format.
const FORMAT: u8 = 3;
/// Fewer bytes are not worth a frame of zstd's.
const LEAST_FRAME_BYTES: usize = 64;
/// No section is larger when decompressed: a commit holds at most 8 MB, a merged block about four times that.
const MAX_SECTION_BYTES: usize = 256 << 20;

/// Which of the costly columns a reader wants; the others come back as empty rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Columns {
    /// Trace and span ids.
    pub ids: bool,
    /// Bodies.
    pub body: bool,
    /// Attributes.
    pub attributes: bool,
}

impl Columns {
    /// Everything.
    pub const ALL: Self = Self { ids: true, body: true, attributes: true };
    /// Time, severity and resource only.
    pub const HEAD: Self = Self { ids: false, body: false, attributes: false };
}

/// What a reader wants of a block, beside the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wants {
    /// The columns.
    pub columns: Columns,
    /// Keys of the attributes that are enough; `None` for all.
    pub keys: Option<Vec<String>>,
}

impl Wants {
    /// Everything.
    pub const ALL: Self = Self { columns: Columns::ALL, keys: None };

    /// Returns the columns that `other` has and it has not, or not with all keys.
    #[must_use]
    pub fn lacks(&self, other: &Self) -> Columns {
        let has_keys = match (&self.keys, &other.keys) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(others)) => others.iter().all(|key| own.contains(key)),
        };
        let attributes = other.columns.attributes && !(self.columns.attributes && has_keys);
        Columns { attributes, ..other.columns.without(self.columns) }
    }

    /// Returns what is in either.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        let keys = match (self.columns.attributes, other.columns.attributes) {
            (true, true) => self.keys.as_ref().zip(other.keys.as_ref()).map(|(own, others)| [&own[..], others].concat()),
            (true, false) => self.keys.clone(),
            (false, _) => other.keys.clone(),
        };
        Self { columns: self.columns.or(other.columns), keys }
    }
}

/// Why a block cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// It ends too early, or a length does not fit.
    #[error("the block is cut short or a length is wrong")]
    Length,
    /// A newer program wrote it.
    #[error("the block has format {0}, this program knows format {FORMAT}")]
    Format(u8),
    /// The stored bytes are not those that were written.
    #[error("the checksum of section {0} does not match")]
    Checksum(usize),
    /// The list of sections is not the one that was written.
    #[error("the checksum of the list of sections does not match")]
    Directory,
    /// zstd cannot read it.
    #[error("section {0} does not decompress")]
    Compression(usize),
}

impl From<Cut> for BlockError {
    fn from(_: Cut) -> Self {
        Self::Length
    }
}

thread_local! {
    static COMPRESSOR: RefCell<Option<(i32, zstd::bulk::Compressor<'static>)>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Encodes all rows of `batch` quickly, compressed at zstd `level`. `seq` must be empty (rows then count up from the block's first)
/// or ascending.
#[must_use]
pub fn encode(batch: &LogBatch, level: i32) -> Vec<u8> {
    rows::encode(batch, level)
}

/// Encodes all rows of `batch` small: takes about three times as long as [`encode`], with the same conditions.
#[must_use]
pub fn pack(batch: &LogBatch, level: i32) -> Vec<u8> {
    packed::encode(batch, level).unwrap_or_else(|| rows::encode(batch, level))
}

/// Decodes a block whose first record has `first_seq`.
///
/// # Errors
/// [`BlockError`] if anything about it is not as it was written. Never panics, whatever the bytes.
pub fn decode(block: &[u8], first_seq: u64, columns: Columns) -> Result<LogBatch, BlockError> {
    match block.first() {
        None => Err(BlockError::Length),
        Some(1 | 2) => rows::decode(block, first_seq, columns),
        Some(&packed::FORMAT) => packed::decode(block, first_seq, columns, None),
        Some(newer) => Err(BlockError::Format(*newer)),
    }
}

/// As [`decode`], but of the attributes only those that are wanted, if the format allows it; others may be there, too.
///
/// # Errors
/// As [`decode`].
pub fn decode_wanted(block: &[u8], first_seq: u64, wants: &Wants) -> Result<LogBatch, BlockError> {
    match block.first() {
        Some(&packed::FORMAT) => packed::decode(block, first_seq, wants.columns, wants.keys.as_deref()),
        _ => decode(block, first_seq, wants.columns),
    }
}

/// Appends `raw` so that it can be read without its length being known, compressed if that is smaller.
fn put_packed(out: &mut Vec<u8>, raw: &[u8], level: i32) {
    if raw.len() >= LEAST_FRAME_BYTES {
        let mut stored = Vec::new();
        compress(raw, level, &mut stored);
        if stored.len() < raw.len() - raw.len() / 64 {
            put(out, (raw.len() as u64) << 1 | 1);
            put(out, stored.len() as u64);
            out.extend(stored);
            return;
        }
    }
    put(out, (raw.len() as u64) << 1);
    out.extend_from_slice(raw);
}

/// Reads what [`put_packed`] has written.
fn take_packed<'a>(reader: &mut Reader<'a>) -> Result<Cow<'a, [u8]>, BlockError> {
    let length = reader.number()?;
    let raw_len = (length >> 1) as usize;
    if length & 1 == 0 {
        return Ok(Cow::Borrowed(reader.take(raw_len)?));
    }
    decompress(reader.bytes()?, raw_len).map(Cow::Owned).ok_or(BlockError::Length)
}

fn compress(raw: &[u8], level: i32, block: &mut Vec<u8>) {
    COMPRESSOR.with_borrow_mut(|slot| {
        if slot.as_ref().is_none_or(|(known, _)| *known != level) {
            *slot = zstd::bulk::Compressor::new(level).ok().map(|compressor| (level, compressor));
        }
        let (_, compressor) = slot.as_mut().expect("zstd makes a context unless memory has run out");
        let start = block.len();
        block.resize(start + zstd::zstd_safe::compress_bound(raw.len()), 0);
        let written = compressor.compress_to_buffer(raw, &mut block[start..]).expect("the buffer has zstd's own bound");
        block.truncate(start + written);
    });
}

fn decompress(stored: &[u8], raw_len: usize) -> Option<Vec<u8>> {
    if raw_len > MAX_SECTION_BYTES {
        return None;
    }
    DECOMPRESSOR.with_borrow_mut(|slot| {
        let decompressor = match slot {
            Some(decompressor) => decompressor,
            None => slot.insert(zstd::bulk::Decompressor::new().ok()?),
        };
        let raw = decompressor.decompress(stored, raw_len).ok()?;
        (raw.len() == raw_len).then_some(raw)
    })
}

fn empty_values(rows: usize) -> ValueColumn {
    ValueColumn { kind: vec![0; rows], data: TextColumn { offsets: vec![0; rows + 1], bytes: Vec::new() } }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;
    use watchfire_types::attributes::keys;
    use watchfire_types::log::RecordHead;
    use watchfire_types::{Severity, Timestamp, Value, ValueRef};

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            ".{0,12}".prop_map(Value::Text),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            any::<f64>().prop_filter("NaN is not equal to itself", |number| !number.is_nan()).prop_map(Value::Float),
            proptest::collection::vec(any::<u8>(), 0..9).prop_map(Value::Bytes),
            Just(Value::Json(r#"{"a":[1,null]}"#.into())),
        ]
    }

    /// Batches of any shape, as a law of the store sees them.
    pub(crate) fn batches() -> impl Strategy<Value = LogBatch> {
        let attributes = || proptest::collection::vec(("[a-d]", value()), 0..4);
        let record = (any::<[u64; 2]>(), 0..25_u8, "[A-Z]{0,3}", value(), attributes(), any::<([u8; 16], [u8; 8], u32)>(), 0..3_u8);
        let patterns = proptest::option::of(proptest::collection::vec(any::<u64>(), 3));
        (proptest::collection::vec(record, 0..20), patterns).prop_map(|(records, patterns)| {
            let mut batch = LogBatch::default();
            if let Some(ids) = patterns {
                batch.pattern = ids.iter().copied().cycle().take(records.len()).collect();
            }
            for (times, severity, text, body, attributes, (trace_id, span_id, flags), service) in records {
                let resource = batch.resource(vec![(keys::SERVICE_NAME.into(), format!("service-{service}").into())]);
                let head = RecordHead {
                    timestamp: Timestamp::from_nanos(times[0]),
                    observed: Timestamp::from_nanos(times[1]),
                    severity: Severity(severity),
                    severity_text: &text,
                    resource,
                    scope: "scope",
                    event_name: "",
                    trace_id,
                    span_id,
                    flags,
                };
                batch.push(&head, body.as_ref());
                for (key, value) in &attributes {
                    batch.attribute(key, value.as_ref());
                }
            }
            batch
        })
    }

    proptest! {
        #[test]
        fn a_block_reads_back_equal(mut batch in batches(), first in 1..1_000_000_u64, gap in 1..5_u64) {
            batch.seq = (0..batch.len() as u64).map(|row| first + row * gap).collect();
            prop_assert_eq!(&decode(&encode(&batch, 1), first, Columns::ALL).unwrap(), &batch);
            prop_assert_eq!(&decode(&pack(&batch, 1), first, Columns::ALL).unwrap(), &batch);
        }

        #[test]
        fn damage_is_noticed_and_never_panics(batch in batches(), position in any::<prop::sample::Index>(), bit in 0..8_u8) {
            let mut packed = pack(&batch, 1);
            let at = position.index(packed.len());
            packed[at] ^= 1 << bit;
            // All of it is under a checksum.
            prop_assert!(decode(&packed, 0, Columns::ALL).is_err());
            prop_assert!(decode(&packed[..at], 0, Columns::ALL).is_err());
            let mut block = encode(&batch, 1);
            let position = position.index(block.len());
            block[position] ^= 1 << bit;
            // A flipped bit in the header may happen to mean the same (a length of an empty section); then nothing is lost.
            if let Ok(read) = decode(&block, 0, Columns::ALL) {
                prop_assert_eq!(read.len(), batch.len());
            }
            let _ = decode(&block[..position], 0, Columns::ALL);
        }

        #[test]
        fn any_bytes_are_refused_calmly(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&bytes, 0, Columns::ALL);
        }

        #[test]
        fn any_sections_are_refused_calmly(rows in 0..400_u32, sections in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 5..8)) {
            let sections: Vec<&[u8]> = sections.iter().map(Vec::as_slice).collect();
            let _ = decode(&packed::framed(rows, &sections), 0, Columns::ALL);
        }
    }

    #[test]
    fn columns_that_are_not_wanted_are_empty_rows() {
        let mut batch = LogBatch::default();
        batch.push(&RecordHead::default(), ValueRef::Text("body"));
        batch.attribute("key", ValueRef::Int(1));
        let head = decode(&encode(&batch, 1), 7, Columns::HEAD).unwrap();
        assert_eq!((head.seq[0], head.body.get(0), head.attributes(0).count()), (7, ValueRef::Null, 0));
    }

    /// Records of every kind of column, the same for ever: the fixtures hold them as each format wrote them.
    fn fixture() -> LogBatch {
        let mut batch = LogBatch::default();
        for row in 0..200_u64 {
            let mixed = row.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let resource = batch
                .resource(vec![(keys::SERVICE_NAME.into(), format!("service-{}", row % 3).into()), ("n".into(), 7_i64.into())]);
            let mut trace_id = [0; 16];
            trace_id[..8].copy_from_slice(&(mixed / 4).to_le_bytes());
            let head = RecordHead {
                timestamp: Timestamp::from_nanos(1_760_000_000_000_000_000 + row * 1_000_003),
                observed: Timestamp::from_nanos(1_760_000_001_000_000_000 + row / 10),
                severity: Severity((row % 25) as u8),
                severity_text: ["info", "", "WARN"][(row % 3) as usize],
                resource,
                scope: "scope",
                event_name: if row == 17 { "event" } else { "" },
                trace_id: if row % 5 == 0 { [0; 16] } else { trace_id },
                span_id: (mixed >> 3).to_le_bytes(),
                flags: (row % 2) as u32,
            };
            let body = format!("request {row} from 10.1.2.{} took {}.{:03} ms, id {mixed:016x}", row % 200, row % 17, mixed % 1000);
            let json = Value::Json(r#"{"a":[1,null]}"#.into());
            batch.push(&head, if row % 50 == 49 { json.as_ref() } else { ValueRef::Text(&body) });
            batch.attribute("method", ValueRef::Text(["GET", "POST"][(row % 2) as usize]));
            batch.attribute("status", ValueRef::Int(200 + (row % 4) as i64));
            batch.attribute("path", ValueRef::Text(&format!("/items/{}?page={}", mixed % 5000, row % 9)));
            if row % 3 == 0 {
                batch.attribute("ratio", ValueRef::Float(mixed as f64 / 3.0));
            }
            if row % 90 == 0 {
                batch.attribute("rare", ValueRef::Bytes(&[0xff, row as u8]));
                batch.attribute("flag", ValueRef::Bool(row % 2 == 0));
            }
            batch.seq.push(1_000 + row + row / 100);
            batch.pattern.push([40, 41, 1 << 40][(row % 3) as usize]);
        }
        batch
    }

    #[test]
    fn blocks_of_every_format_ever_written_are_read() {
        let blocks: [&[u8]; 3] = [
            include_bytes!("block/fixtures/format_1.block"),
            include_bytes!("block/fixtures/format_2.block"),
            include_bytes!("block/fixtures/format_3.block"),
        ];
        for (index, block) in blocks.into_iter().enumerate() {
            let mut expected = fixture();
            if index == 0 {
                expected.pattern.clear();
            }
            assert_eq!(usize::from(block[0]), index + 1);
            assert_eq!(decode(block, 1_000, Columns::ALL).unwrap(), expected);
        }
        assert_eq!(decode(&[FORMAT + 1; 100], 1, Columns::ALL), Err(BlockError::Format(FORMAT + 1)));
    }

    #[test]
    fn one_key_is_read_without_the_others() {
        let whole = fixture();
        let block = pack(&whole, 3);
        for keys in [&["status"][..], &["rare", "path"], &["absent"]] {
            let wants = |keys: &[&str]| Wants {
                columns: Columns { attributes: true, ..Columns::HEAD },
                keys: Some(keys.iter().map(|key| (*key).to_owned()).collect()),
            };
            let read = decode_wanted(&block, 1_000, &wants(keys)).unwrap();
            for row in 0..whole.len() {
                let wanted: Vec<_> = whole.attributes(row).filter(|(key, _)| keys.contains(key)).collect();
                assert_eq!(read.attributes(row).collect::<Vec<_>>(), wanted);
            }
        }
        // What is not asked for is not even looked at: here it is damaged.
        let mut broken = block.clone();
        let last = broken.len() - 1;
        broken[last] ^= 1;
        assert!(matches!(decode(&broken, 1_000, Columns::ALL), Err(BlockError::Checksum(_))));
        let wants = Wants { columns: Columns { attributes: true, ..Columns::HEAD }, keys: Some(vec!["status".into()]) };
        decode_wanted(&broken, 1_000, &wants).unwrap();
    }
}
