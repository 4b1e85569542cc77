//! A column of numbers, in the smallest of a few ways.

use pco::standalone::{simple_compress_into, simple_decompress_into};
use pco::{ChunkConfig, DeltaSpec};

use super::super::varint::{Reader, put, put_signed};
use super::{BlockError, put_packed, take_packed};

/// All are equal: the value.
const EQUAL: u8 = 0;
/// The least, the bits of the greatest difference from it, and that many bits of each difference.
const BITS: u8 = 1;
/// pco's own format of 64-bit numbers, after its length.
const PCO_64: u8 = 2;
/// pco's own format of 32-bit numbers, after its length.
const PCO_32: u8 = 3;
/// The least, the bytes of a difference from it (one or two), and the differences, compressed: finds sequences that repeat.
const BYTES: u8 = 4;

/// Fewer numbers than this are not worth a header of pco's.
const LEAST_FOR_PCO: usize = 128;
/// Fewer bytes than this are not worth a frame of zstd's.
const LEAST_FOR_ZSTD: usize = 64;
/// pco's effort: beyond this it finds little more in logs.
const PCO_LEVEL: usize = 6;

/// Why compression cannot fail.
const EXPECT: &str = "a vector takes all, and the settings are valid";

/// How a column is expected to go on, which spares the search for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Mostly ascending, as times are.
    Rising,
    /// Any.
    Free,
}

/// Appends `values`; the reader must know how many there are.
pub(super) fn encode(values: &[u64], order: Order, level: i32, out: &mut Vec<u8>) {
    let (Some(least), Some(greatest)) = (values.iter().min().copied(), values.iter().max().copied()) else { return };
    if least == greatest {
        out.push(EQUAL);
        put(out, least);
        return;
    }
    let width = 64 - (greatest - least).leading_zeros();
    let mut best: Option<Vec<u8>> = None;
    let mut size = values.len() * width as usize / 8 + 4;
    let mut offer = |candidate: Vec<u8>| {
        if candidate.len() < size {
            size = candidate.len();
            best = Some(candidate);
        }
    };
    if values.len() >= LEAST_FOR_PCO {
        offer(pco(values, greatest, order));
    }
    if width <= 16 && values.len() >= LEAST_FOR_ZSTD && order == Order::Free {
        offer(bytes(values, least, width, level));
    }
    match best {
        Some(best) => out.extend(best),
        None => bits(values, least, width, out),
    }
}

/// Appends signed numbers.
pub(super) fn encode_signed(values: &[i64], level: i32, out: &mut Vec<u8>) {
    let least = values.iter().min().copied().unwrap_or(0);
    put_signed(out, least);
    let values: Vec<u64> = values.iter().map(|value| value.wrapping_sub(least) as u64).collect();
    encode(&values, Order::Free, level, out);
}

/// Reads what [`encode_signed`] has written.
pub(super) fn decode_signed(reader: &mut Reader<'_>, count: usize) -> Result<Vec<i64>, BlockError> {
    let least = reader.signed()?;
    Ok(decode(reader, count)?.into_iter().map(|value| (value as i64).wrapping_add(least)).collect())
}

fn pco(values: &[u64], greatest: u64, order: Order) -> Vec<u8> {
    let delta = match order {
        Order::Rising => DeltaSpec::TryConsecutive(1),
        Order::Free => DeltaSpec::NoOp,
    };
    let config = ChunkConfig::default().with_compression_level(PCO_LEVEL).with_delta_spec(delta);
    let (tag, stored) = if u32::try_from(greatest).is_ok() {
        let values: Vec<u32> = values.iter().map(|value| *value as u32).collect();
        (PCO_32, simple_compress_into(&values, &config, Vec::new()).expect(EXPECT))
    } else {
        (PCO_64, simple_compress_into(values, &config, Vec::new()).expect(EXPECT))
    };
    let mut out = Vec::with_capacity(stored.len() + 6);
    out.push(tag);
    put(&mut out, stored.len() as u64);
    out.extend(stored);
    out
}

fn bytes(values: &[u64], least: u64, width: u32, level: i32) -> Vec<u8> {
    let mut raw = Vec::with_capacity(values.len() * 2);
    if width <= 8 {
        raw.extend(values.iter().map(|value| (value - least) as u8));
    } else {
        raw.extend(values.iter().flat_map(|value| ((value - least) as u16).to_le_bytes()));
    }
    let mut out = vec![BYTES];
    put(&mut out, least);
    out.push(if width <= 8 { 1 } else { 2 });
    put_packed(&mut out, &raw, level);
    out
}

fn bits(values: &[u64], least: u64, width: u32, out: &mut Vec<u8>) {
    out.push(BITS);
    put(out, least);
    out.push(width as u8);
    let (mut held, mut count) = (0_u128, 0);
    for value in values {
        held |= u128::from(value - least) << count;
        count += width;
        while count >= 8 {
            out.push(held as u8);
            held >>= 8;
            count -= 8;
        }
    }
    if count > 0 {
        out.push(held as u8);
    }
}

/// Reads `count` numbers that [`encode`] has written. The caller bounds `count`.
pub(super) fn decode(reader: &mut Reader<'_>, count: usize) -> Result<Vec<u64>, BlockError> {
    if count == 0 {
        return Ok(Vec::new());
    }
    match reader.byte()? {
        EQUAL => Ok(vec![reader.number()?; count]),
        BITS => {
            let (least, width) = (reader.number()?, u32::from(reader.byte()?));
            if !(1..=64).contains(&width) {
                return Err(BlockError::Length);
            }
            let stored = reader.take((count * width as usize).div_ceil(8))?;
            Ok(unpack(stored, least, width, count))
        }
        PCO_64 => {
            let mut values = vec![0_u64; count];
            unpco(reader.bytes()?, &mut values)?;
            Ok(values)
        }
        PCO_32 => {
            let mut values = vec![0_u32; count];
            unpco(reader.bytes()?, &mut values)?;
            Ok(values.into_iter().map(u64::from).collect())
        }
        BYTES => {
            let (least, width) = (reader.number()?, usize::from(reader.byte()?));
            let raw = take_packed(reader)?;
            if !(1..=2).contains(&width) || raw.len() != count * width {
                return Err(BlockError::Length);
            }
            Ok(if width == 1 {
                raw.iter().map(|byte| least.wrapping_add(u64::from(*byte))).collect()
            } else {
                raw.as_chunks().0.iter().map(|pair| least.wrapping_add(u64::from(u16::from_le_bytes(*pair)))).collect()
            })
        }
        _ => Err(BlockError::Length),
    }
}

fn unpack(stored: &[u8], least: u64, width: u32, count: usize) -> Vec<u64> {
    let mask = u64::MAX >> (64 - width);
    let (mut held, mut bits, mut next) = (0_u128, 0, stored.iter());
    (0..count)
        .map(|_| {
            while bits < width {
                held |= u128::from(*next.next().unwrap_or(&0)) << bits;
                bits += 8;
            }
            let value = held as u64 & mask;
            held >>= width;
            bits -= width;
            least.wrapping_add(value)
        })
        .collect()
}

fn unpco<T: pco::data_types::Number>(stored: &[u8], values: &mut [T]) -> Result<(), BlockError> {
    let progress = simple_decompress_into(stored, values).map_err(|_| BlockError::Length)?;
    if progress.n_processed == values.len() && progress.finished { Ok(()) } else { Err(BlockError::Length) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn columns() -> impl Strategy<Value = Vec<u64>> {
        prop_oneof![
            proptest::collection::vec(any::<u64>(), 0..300),
            proptest::collection::vec(0..5_u64, 0..300),
            proptest::collection::vec(1_000_000..1_070_000_u64, 0..300),
            (any::<u64>(), 1..400_usize).prop_map(|(value, count)| vec![value; count]),
            proptest::collection::vec(0..1_000_000_u64, 0..300).prop_map(|mut column| {
                column.sort_unstable();
                column
            }),
        ]
    }

    proptest! {
        #[test]
        fn numbers_read_back_equal(values in columns(), rising in any::<bool>()) {
            let mut out = Vec::new();
            encode(&values, if rising { Order::Rising } else { Order::Free }, 1, &mut out);
            let mut reader = Reader(&out);
            prop_assert_eq!(decode(&mut reader, values.len()).unwrap(), values);
            prop_assert!(reader.0.is_empty());
        }

        #[test]
        fn signed_numbers_read_back_equal(values in proptest::collection::vec(any::<i64>(), 0..200)) {
            let mut out = Vec::new();
            encode_signed(&values, 1, &mut out);
            prop_assert_eq!(decode_signed(&mut Reader(&out), values.len()).unwrap(), values);
        }

        #[test]
        fn any_bytes_are_refused_calmly(tag in 0..6_u8, bytes in proptest::collection::vec(any::<u8>(), 0..100), count in 0..500_usize) {
            let bytes: Vec<u8> = std::iter::once(tag).chain(bytes).collect();
            let _ = decode(&mut Reader(&bytes), count);
        }
    }
}
