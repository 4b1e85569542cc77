//! Bytes of samples: a chunk holds many samples of one series, a batch one commit's points of many series.
//!
//! Both begin with a format version and end with a CRC-32 of all before it, little-endian.
//! Timestamps and values of a chunk are compressed with `pco`; a batch is written once and soon flushed, so it is only packed.

use pco::standalone::{simple_compress_into, simple_decompress};
use pco::{ChunkConfig, DeltaSpec};
use watchfire_types::{Sample, Timestamp};

/// First byte of a chunk and of a batch.
const VERSION: u8 = 1;
/// Samples of a full chunk: two hours at 30 s.
pub const CHUNK_SAMPLES: usize = 240;
/// Most samples that a chunk may claim to hold.
const MAX_SAMPLES: u64 = 1 << 20;

/// Why bytes are not a chunk or a batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// Written by a newer program, or not a chunk at all.
    #[error("unknown format version {0}")]
    Version(u8),
    /// Shorter than it says.
    #[error("cut short")]
    Short,
    /// The checksum differs.
    #[error("checksum differs")]
    Checksum,
    /// The checksum holds, but the content does not decode.
    #[error("does not decode: {0}")]
    Content(String),
}

/// Returns `samples` as a chunk. Every bit of every value comes back.
#[must_use]
pub fn encode(samples: &[Sample]) -> Vec<u8> {
    let times: Vec<u64> = samples.iter().map(|sample| sample.timestamp.as_nanos()).collect();
    let values: Vec<f64> = samples.iter().map(|sample| sample.value).collect();
    // Naming the order of differences spares the search for it; a steady interval is two.
    let by_time = ChunkConfig::default().with_delta_spec(DeltaSpec::TryConsecutive(1));
    let times = simple_compress_into(&times, &by_time, Vec::new()).expect("a vector takes all, and the settings are valid");
    let mut bytes = vec![VERSION];
    push_varint(&mut bytes, samples.len() as u64);
    push_varint(&mut bytes, times.len() as u64);
    bytes.extend_from_slice(&times);
    let mut bytes = simple_compress_into(&values, &ChunkConfig::default(), bytes).expect("a vector takes all");
    seal(&mut bytes);
    bytes
}

/// Returns the samples of a chunk, in the order in which they were given to [`encode`].
///
/// # Errors
/// [`ChunkError`] when the bytes are not what was written.
pub fn decode(bytes: &[u8]) -> Result<Vec<Sample>, ChunkError> {
    let mut content = unseal(bytes)?;
    let count = read_varint(&mut content)?;
    let length = read_varint(&mut content)? as usize;
    if count > MAX_SAMPLES || length > content.len() {
        return Err(ChunkError::Short);
    }
    let (times, values) = content.split_at(length);
    let wrong = |error: pco::errors::PcoError| ChunkError::Content(error.to_string());
    let times: Vec<u64> = simple_decompress(times).map_err(wrong)?;
    let values: Vec<f64> = simple_decompress(values).map_err(wrong)?;
    if times.len() as u64 != count || values.len() as u64 != count {
        return Err(ChunkError::Content(format!("{count} samples, {} times, {} values", times.len(), values.len())));
    }
    let sample = |(time, value)| Sample { timestamp: Timestamp::from_nanos(time), value };
    Ok(times.into_iter().zip(values).map(sample).collect())
}

/// One point of a batch: the series' number in the day file, and the sample.
pub type BatchPoint = (i64, Sample);

/// Returns `points` as a batch.
#[must_use]
pub fn encode_batch(points: &[BatchPoint]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16 + points.len() * 12);
    bytes.push(VERSION);
    push_varint(&mut bytes, points.len() as u64);
    let (mut last_id, mut last_time) = (0_i64, 0_i64);
    for (id, sample) in points {
        let time = sample.timestamp.as_nanos() as i64;
        push_varint(&mut bytes, zigzag(id.wrapping_sub(last_id)));
        push_varint(&mut bytes, zigzag(time.wrapping_sub(last_time)));
        bytes.extend_from_slice(&sample.value.to_bits().to_le_bytes());
        (last_id, last_time) = (*id, time);
    }
    seal(&mut bytes);
    bytes
}

/// Returns the points of a batch, in order of arrival.
///
/// # Errors
/// [`ChunkError`] when the bytes are not what was written.
pub fn decode_batch(bytes: &[u8]) -> Result<Vec<BatchPoint>, ChunkError> {
    let mut content = unseal(bytes)?;
    let count = read_varint(&mut content)?;
    // The shortest point takes ten bytes.
    if count > content.len() as u64 / 10 {
        return Err(ChunkError::Short);
    }
    let mut points = Vec::with_capacity(count as usize);
    let (mut id, mut time) = (0_i64, 0_i64);
    for _ in 0..count {
        id = id.wrapping_add(unzigzag(read_varint(&mut content)?));
        time = time.wrapping_add(unzigzag(read_varint(&mut content)?));
        let (value, rest) = content.split_first_chunk::<8>().ok_or(ChunkError::Short)?;
        content = rest;
        let value = f64::from_bits(u64::from_le_bytes(*value));
        points.push((id, Sample { timestamp: Timestamp::from_nanos(time as u64), value }));
    }
    Ok(points)
}

fn seal(bytes: &mut Vec<u8>) {
    let checksum = crc32fast::hash(bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
}

fn unseal(bytes: &[u8]) -> Result<&[u8], ChunkError> {
    let (content, checksum) = bytes.split_last_chunk::<4>().ok_or(ChunkError::Short)?;
    let (version, rest) = content.split_first().ok_or(ChunkError::Short)?;
    if crc32fast::hash(content) != u32::from_le_bytes(*checksum) {
        return Err(ChunkError::Checksum);
    }
    if *version == VERSION { Ok(rest) } else { Err(ChunkError::Version(*version)) }
}

fn push_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn read_varint(bytes: &mut &[u8]) -> Result<u64, ChunkError> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(ChunkError::Short)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(ChunkError::Content("a number is too long".to_owned()))
}

const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bits(samples: &[Sample]) -> Vec<(u64, u64)> {
        samples.iter().map(|sample| (sample.timestamp.as_nanos(), sample.value.to_bits())).collect()
    }

    /// Any bits at all, and more often what real series hold.
    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<u64>().prop_map(f64::from_bits),
            (0_i64..1_000_000).prop_map(|count| count as f64),
            (0_i64..10_000).prop_map(|cents| cents as f64 / 100.0),
            prop::sample::select(vec![f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 0.0, f64::MIN_POSITIVE]),
        ]
    }

    fn samples() -> impl Strategy<Value = Vec<Sample>> {
        let time = prop_oneof![
            0..=Timestamp::MAX.as_nanos(),
            (0_u64..50).prop_map(|step| 1_795_391_047_000_000_000 + step * 30_000_000_000)
        ];
        let sample = (time, value()).prop_map(|(time, value)| Sample { timestamp: Timestamp::from_nanos(time), value });
        prop::collection::vec(sample, 0..600)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn a_chunk_reads_back_equal_bit_for_bit(samples in samples()) {
            let read = decode(&encode(&samples)).unwrap();
            prop_assert_eq!(bits(&read), bits(&samples));
        }

        #[test]
        fn a_batch_reads_back_equal_bit_for_bit(samples in samples(), ids in prop::collection::vec(any::<i64>(), 600)) {
            let points: Vec<BatchPoint> = ids.into_iter().zip(samples).collect();
            let read = decode_batch(&encode_batch(&points)).unwrap();
            let bits = |points: &[BatchPoint]| -> Vec<_> {
                points.iter().map(|(id, sample)| (*id, sample.timestamp, sample.value.to_bits())).collect()
            };
            prop_assert_eq!(bits(&read), bits(&points));
        }

        #[test]
        fn a_changed_byte_is_noticed(samples in samples(), place in any::<prop::sample::Index>(), change in 1_u8..) {
            let mut bytes = encode(&samples);
            let place = place.index(bytes.len());
            bytes[place] ^= change;
            prop_assert_eq!(decode(&bytes), Err(ChunkError::Checksum));
        }

        #[test]
        fn any_bytes_at_all_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(decode(&bytes).is_err());
            prop_assert!(decode_batch(&bytes).is_err());
        }
    }

    #[test]
    fn a_newer_version_is_named() {
        let mut bytes = vec![9, 0];
        seal(&mut bytes);
        assert_eq!(decode(&bytes), Err(ChunkError::Version(9)));
    }
}
