//! A column of texts, in the way that suits what they look like. Every text reads back byte for byte.

use std::borrow::Cow;

use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet};
use watchfire_types::log::TextColumn;

use super::super::varint::{Reader, put, put_bytes};
use super::numbers::{self, Order};
use super::probe::Run;
use super::templates::{self, Templates};
use super::{BlockError, MAX_SECTION_BYTES, put_packed, take_packed};
use crate::logs::query::bits::Bits;

/// All are equal: the text.
const EQUAL: u8 = 0;
/// Decimal numbers without needless zeros.
const NUMBERS: u8 = 1;
/// Decimal numbers, all with the same count of digits: the count first.
const PADDED: u8 = 2;
/// Decimal numbers with zeros in front of some: the counts of digits after the numbers.
const SIZED: u8 = 3;
/// Hexadecimal digits, the same count in each: 1 if they are upper-case, the count, and the bytes.
const HEX: u8 = 4;
/// Few texts that repeat: how many, those, and which one each row has.
const DICTIONARY: u8 = 5;
/// Templates and variables.
const TEMPLATES: u8 = 6;
/// Lengths, then all bytes, compressed.
const PLAIN: u8 = 7;

/// IPv4 addresses as usually written: as 32-bit numbers.
const ADDRESSES: u8 = 8;

/// More decimal digits than this may not fit 64 bits.
const MAX_DIGITS: usize = 18;
/// Rows looked at before a way is tried that may not pay.
const SAMPLE: usize = 1024;
/// Columns within columns, at most: the variables of templates of texts in a dictionary may have one of their own.
const MAX_DEPTH: usize = 3;
/// Hexadecimal digits of one text, at most.
const MAX_HEX: usize = 128;

/// Which ways are open to a column: each may be nested once in another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ways {
    pub(super) dictionary: bool,
    pub(super) templates: bool,
}

impl Ways {
    pub(super) const ALL: Self = Self { dictionary: true, templates: true };
    pub(super) const VARIABLES: Self = Self { dictionary: true, templates: false };
    const LEAVES: Self = Self { dictionary: false, templates: false };
}

/// Appends `rows`; the reader must know how many there are.
pub(super) fn encode(rows: &[&[u8]], ways: Ways, level: i32, out: &mut Vec<u8>) {
    let Some(first) = rows.first() else { return };
    if rows.iter().all(|row| row == first) {
        out.push(EQUAL);
        put_bytes(out, first);
        return;
    }
    if encode_decimals(rows, level, out) {
        return;
    }
    if ways.dictionary && encode_dictionary(rows, ways, level, out) {
        return;
    }
    if encode_addresses(rows, level, out) || encode_hex(rows, level, out) {
        return;
    }
    if ways.templates
        && let Some(encoded) = templates::encode(rows, level)
    {
        out.push(TEMPLATES);
        out.extend(encoded);
        return;
    }
    encode_plain(rows, level, out);
}

/// Appends `rows` as they are.
pub(super) fn encode_plain(rows: &[&[u8]], level: i32, out: &mut Vec<u8>) {
    out.push(PLAIN);
    let lengths: Vec<u64> = rows.iter().map(|row| row.len() as u64).collect();
    numbers::encode(&lengths, Order::Free, level, out);
    put_packed(out, &rows.concat(), level);
}

fn encode_decimals(rows: &[&[u8]], level: i32, out: &mut Vec<u8>) -> bool {
    let is_decimal = |row: &&[u8]| (1..=MAX_DIGITS).contains(&row.len()) && row.iter().all(u8::is_ascii_digit);
    if !rows.iter().all(is_decimal) {
        return false;
    }
    let value = |row: &&[u8]| row.iter().fold(0, |value, digit| value * 10 + u64::from(digit - b'0'));
    let values: Vec<u64> = rows.iter().map(value).collect();
    if !rows.iter().any(|row| row.len() > 1 && row[0] == b'0') {
        out.push(NUMBERS);
        numbers::encode(&values, Order::Free, level, out);
    } else if rows.iter().all(|row| row.len() == rows[0].len()) {
        out.extend([PADDED, rows[0].len() as u8]);
        numbers::encode(&values, Order::Free, level, out);
    } else {
        out.push(SIZED);
        numbers::encode(&values, Order::Free, level, out);
        let lengths: Vec<u64> = rows.iter().map(|row| row.len() as u64).collect();
        numbers::encode(&lengths, Order::Free, level, out);
    }
    true
}

fn encode_addresses(rows: &[&[u8]], level: i32, out: &mut Vec<u8>) -> bool {
    let Some(values) = rows.iter().map(|row| address(row)).collect::<Option<Vec<u64>>>() else { return false };
    out.push(ADDRESSES);
    numbers::encode(&values, Order::Free, level, out);
    true
}

/// Returns the IPv4 address that `text` is, if it is written without needless zeros.
fn address(text: &[u8]) -> Option<u64> {
    let (mut value, mut parts) = (0, 0);
    for part in text.split(|byte| *byte == b'.') {
        let plain = (1..=3).contains(&part.len()) && part.iter().all(u8::is_ascii_digit) && (part.len() == 1 || part[0] != b'0');
        if !plain {
            return None;
        }
        let number = part.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
        if number > 255 {
            return None;
        }
        value = value << 8 | number;
        parts += 1;
    }
    (parts == 4).then_some(value)
}

fn encode_hex(rows: &[&[u8]], level: i32, out: &mut Vec<u8>) -> bool {
    let length = rows[0].len();
    let digit = |upper: bool| {
        move |byte: &u8| byte.is_ascii_digit() || if upper { (b'A'..=b'F').contains(byte) } else { (b'a'..=b'f').contains(byte) }
    };
    let fits =
        |upper| (2..=MAX_HEX).contains(&length) && rows.iter().all(|row| row.len() == length && row.iter().all(digit(upper)));
    let Some(upper) = [false, true].into_iter().find(|upper| fits(*upper)) else { return false };
    let nibble = |byte: u8| if byte.is_ascii_digit() { byte - b'0' } else { (byte | 0x20) - b'a' + 10 };
    let mut bytes = Vec::with_capacity(rows.len() * length.div_ceil(2));
    for row in rows {
        let (odd, pairs) = row.split_at(length % 2);
        bytes.extend(odd.iter().map(|digit| nibble(*digit)));
        bytes.extend(pairs.as_chunks::<2>().0.iter().map(|[high, low]| nibble(*high) << 4 | nibble(*low)));
    }
    out.extend([HEX, u8::from(upper), length as u8]);
    put_packed(out, &bytes, level);
    true
}

/// Encodes a column in which texts repeat; returns whether they do.
fn encode_dictionary(rows: &[&[u8]], ways: Ways, level: i32, out: &mut Vec<u8>) -> bool {
    let step = rows.len().div_ceil(SAMPLE);
    let sample: FxHashSet<&[u8]> = rows.iter().step_by(step).copied().collect();
    if rows.len() > SAMPLE && sample.len() > SAMPLE * 3 / 4 {
        return false;
    }
    let most = rows.len() / 2;
    let mut places: FxHashMap<&[u8], u64> = FxHashMap::with_hasher(FxBuildHasher);
    let mut values: Vec<&[u8]> = Vec::new();
    let mut index = Vec::with_capacity(rows.len());
    for row in rows {
        let place = *places.entry(row).or_insert_with(|| {
            values.push(row);
            values.len() as u64 - 1
        });
        if values.len() > most {
            return false;
        }
        index.push(place);
    }
    out.push(DICTIONARY);
    put(out, values.len() as u64);
    // Few values are not worth a look at what they have in common.
    let nested = Ways { dictionary: false, templates: ways.templates && values.len() >= SAMPLE };
    encode(&values, if ways.templates { nested } else { Ways::LEAVES }, level, out);
    numbers::encode(&index, Order::Free, level, out);
    true
}

/// A column that has been read: the text of any row can be appended to another.
pub(super) enum Column<'a> {
    Equal(&'a [u8]),
    Numbers(Vec<u64>),
    Padded(Vec<u64>, usize),
    Sized(Vec<u64>, Vec<u64>),
    Addresses(Vec<u64>),
    Hex { bytes: Cow<'a, [u8]>, digits: usize, upper: bool },
    Dictionary(TextColumn, Vec<u64>),
    Templates(Box<Templates<'a>>),
    Whole(TextColumn),
}

impl<'a> Column<'a> {
    /// Reads what [`encode`] has written, `depth` columns within another. The caller bounds `count`.
    pub(super) fn decode(reader: &mut Reader<'a>, count: usize, depth: usize) -> Result<Self, BlockError> {
        if count == 0 {
            return Ok(Self::Whole(TextColumn::default()));
        }
        Ok(match reader.byte()? {
            EQUAL => Self::Equal(reader.bytes()?),
            NUMBERS => Self::Numbers(numbers::decode(reader, count)?),
            PADDED => {
                let digits = usize::from(reader.byte()?);
                Self::Padded(numbers::decode(reader, count)?, digits.min(MAX_DIGITS))
            }
            SIZED => {
                let values = numbers::decode(reader, count)?;
                let lengths = numbers::decode(reader, count)?;
                if lengths.iter().any(|length| *length > MAX_DIGITS as u64) {
                    return Err(BlockError::Length);
                }
                Self::Sized(values, lengths)
            }
            ADDRESSES => Self::Addresses(numbers::decode(reader, count)?),
            HEX => {
                let (upper, digits) = (reader.byte()? != 0, usize::from(reader.byte()?));
                let bytes = take_packed(reader)?;
                if bytes.len() != count * digits.div_ceil(2) || digits > MAX_HEX {
                    return Err(BlockError::Length);
                }
                Self::Hex { bytes, digits, upper }
            }
            DICTIONARY if depth < MAX_DEPTH => {
                let distinct = reader.number()? as usize;
                if distinct > count {
                    return Err(BlockError::Length);
                }
                let values = Self::decode(reader, distinct, depth + 1)?.into_texts(distinct)?;
                let index = numbers::decode(reader, count)?;
                if index.iter().any(|place| *place >= distinct as u64) {
                    return Err(BlockError::Length);
                }
                Self::Dictionary(values, index)
            }
            TEMPLATES if depth < MAX_DEPTH => Self::Templates(Box::new(Templates::read(reader, count, depth + 1)?)),
            PLAIN => {
                let lengths = numbers::decode(reader, count)?;
                let bytes = take_packed(reader)?.into_owned();
                let mut offsets = Vec::with_capacity(count + 1);
                offsets.push(0);
                let mut end = 0_u64;
                for length in lengths {
                    end = end.saturating_add(length);
                    offsets.push(u32::try_from(end).map_err(|_| BlockError::Length)?);
                }
                if end != bytes.len() as u64 {
                    return Err(BlockError::Length);
                }
                Self::Whole(TextColumn { offsets, bytes })
            }
            _ => return Err(BlockError::Length),
        })
    }

    /// Appends the text of row `row`, which must be one of those read.
    #[inline]
    pub(super) fn append(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            Self::Equal(text) => out.extend_from_slice(text),
            Self::Numbers(values) => append_decimal(values[row], 1, out),
            Self::Padded(values, digits) => append_decimal(values[row], *digits, out),
            Self::Sized(values, lengths) => append_decimal(values[row], lengths[row] as usize, out),
            Self::Addresses(values) => {
                for (place, part) in (values[row] as u32).to_be_bytes().into_iter().enumerate() {
                    if place > 0 {
                        out.push(b'.');
                    }
                    append_decimal(u64::from(part), 1, out);
                }
            }
            Self::Hex { bytes, digits, upper } => {
                let stored = digits.div_ceil(2);
                append_hex(&bytes[row * stored..(row + 1) * stored], digits % 2, *upper, out);
            }
            Self::Dictionary(values, index) => out.extend_from_slice(values.get(index[row] as usize)),
            Self::Templates(templates) => templates.append(row, out),
            Self::Whole(texts) => out.extend_from_slice(texts.get(row)),
        }
    }

    /// Returns those of all `count` rows that may have `run`; `None` if there is none.
    pub(super) fn rows_with(&self, run: &Run, count: usize) -> Option<Bits> {
        match self {
            // These have no letters.
            Self::Numbers(_) | Self::Padded(..) | Self::Sized(..) | Self::Addresses(_) => None,
            Self::Equal(text) => run.is_in(text).then(|| Bits::all(count)),
            Self::Hex { .. } if !run.is_hexadecimal() => None,
            Self::Hex { .. } => {
                let mut texts = TextColumn::default();
                for row in 0..count {
                    self.append(row, &mut texts.bytes);
                    texts.offsets.push(texts.bytes.len() as u32);
                }
                run.rows_of(&texts)
            }
            Self::Dictionary(values, index) => {
                let of_values = run.rows_of(values)?;
                let mut rows = Bits::none(index.len());
                let found = index.iter().enumerate().filter(|(_, place)| of_values.has(**place as usize));
                found.for_each(|(row, _)| rows.set(row));
                Some(rows)
            }
            Self::Templates(templates) => templates.rows_with(run),
            Self::Whole(texts) => run.rows_of(texts),
        }
    }

    /// Returns all `count` rows, unless they are too large.
    pub(super) fn into_texts(self, count: usize) -> Result<TextColumn, BlockError> {
        if let Self::Whole(texts) = self {
            return if texts.len() == count { Ok(texts) } else { Err(BlockError::Length) };
        }
        let bytes = match &self {
            Self::Templates(templates) if templates.len() != count => return Err(BlockError::Length),
            Self::Templates(templates) => templates.all_bytes(),
            _ => count * 8,
        };
        let mut texts = TextColumn { offsets: Vec::with_capacity(count + 1), bytes: Vec::with_capacity(bytes) };
        texts.offsets.push(0);
        for row in 0..count {
            self.append(row, &mut texts.bytes);
            if texts.bytes.len() > MAX_SECTION_BYTES {
                return Err(BlockError::Length);
            }
            texts.offsets.push(texts.bytes.len() as u32);
        }
        Ok(texts)
    }
}

/// Appends `value` with at least `digits` digits.
#[inline]
fn append_decimal(mut value: u64, digits: usize, out: &mut Vec<u8>) {
    let mut text = [b'0'; 20];
    let mut start = text.len();
    while value >= 100 {
        start -= 2;
        text[start..start + 2].copy_from_slice(&PAIRS[(value % 100) as usize]);
        value /= 100;
    }
    if value >= 10 {
        start -= 2;
        text[start..start + 2].copy_from_slice(&PAIRS[value as usize]);
    } else if value > 0 {
        start -= 1;
        text[start] = b'0' + value as u8;
    }
    // What is in front is zeros already.
    out.extend_from_slice(&text[start.min(text.len() - digits.min(text.len()))..]);
}

#[inline]
fn append_hex(bytes: &[u8], odd: usize, upper: bool, out: &mut Vec<u8>) {
    let digits: &[u8; 16] = if upper { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
    let mut skip = odd;
    for byte in bytes {
        if skip == 0 {
            out.push(digits[usize::from(byte >> 4)]);
        }
        skip = 0;
        out.push(digits[usize::from(byte & 15)]);
    }
}

const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut value = 0;
    while value < 100 {
        pairs[value] = [b'0' + (value / 10) as u8, b'0' + (value % 10) as u8];
        value += 1;
    }
    pairs
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(rows: &[Vec<u8>]) -> u8 {
        let slices: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
        let mut out = Vec::new();
        encode(&slices, Ways::ALL, 1, &mut out);
        let mut reader = Reader(&out);
        let read = Column::decode(&mut reader, rows.len(), 0).unwrap().into_texts(rows.len()).unwrap();
        assert!(reader.0.is_empty());
        assert_eq!((0..rows.len()).map(|row| read.get(row).to_vec()).collect::<Vec<_>>(), rows);
        out[0]
    }

    fn column(count: u64, row: impl Fn(u64) -> String) -> Vec<Vec<u8>> {
        (0..count).map(|number| row(number * 7_919 % 10_007).into_bytes()).collect()
    }

    #[test]
    fn each_kind_of_text_has_its_way() {
        assert_eq!(check(&column(9, |_| "same".into())), EQUAL);
        assert_eq!(check(&column(500, |number| number.to_string())), NUMBERS);
        assert_eq!(check(&column(500, |number| format!("{number:05}"))), PADDED);
        assert_eq!(check(&column(500, |number| format!("0{number}"))), SIZED);
        assert_eq!(check(&column(500, |number| format!("10.{}.{}.7", number % 7, number % 256))), ADDRESSES);
        assert_eq!(check(&column(500, |number| format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)))), HEX);
        assert_eq!(check(&column(500, |number| format!("{:07X}a", number << 9).to_uppercase())), HEX);
        assert_eq!(check(&column(500, |number| format!("word{}", number % 3))), DICTIONARY);
        assert_eq!(check(&column(500, |number| format!("took {number}.{:03} ms", number % 1000))), TEMPLATES);
        assert_eq!(check(&[b"a".to_vec(), b"b\x11".to_vec(), vec![0xff]]), PLAIN);
    }

    proptest! {
        #[test]
        fn texts_read_back_equal(rows in proptest::collection::vec("(0{0,3}[0-9]{0,20}|[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}|[a-f0-9]{0,9}|user [0-9]{1,3}|[ab\u{11}é]{0,3})", 1..300)) {
            check(&rows.into_iter().map(String::into_bytes).collect::<Vec<_>>());
        }

        #[test]
        fn a_few_texts_many_times_read_back_equal(
            few in proptest::collection::vec("(id [0-9a-f]{8} of [0-9]{1,2}ms|[0-9]{3}|x [a-c]{0,2}[0-9]|[1-9]\\.[0-9]\\.12\\.250)", 1..6),
            picks in proptest::collection::vec(any::<prop::sample::Index>(), 1..400),
        ) {
            check(&picks.iter().map(|pick| pick.get(&few).clone().into_bytes()).collect::<Vec<_>>());
        }

        #[test]
        fn any_bytes_are_refused_calmly(tag in 0..10_u8, bytes in proptest::collection::vec(any::<u8>(), 0..200), count in 0..300_usize) {
            let bytes: Vec<u8> = std::iter::once(tag).chain(bytes).collect();
            if let Ok(column) = Column::decode(&mut Reader(&bytes), count, 0) {
                let _ = column.into_texts(count);
            }
        }
    }
}
