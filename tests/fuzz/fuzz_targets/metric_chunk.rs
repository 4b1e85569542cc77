//! Chunks and batches of metrics: no bytes make the decoders panic, and what is written reads back bit for bit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use watchfire::metrics::chunk::{BatchPoint, decode, decode_batch, encode, encode_batch};
use watchfire_types::{Sample, Timestamp};

/// Returns `content` with a version before and a checksum behind it that hold: without them nothing would get past them.
fn sealed(content: &[u8]) -> Vec<u8> {
    let mut bytes = [&[1], content].concat();
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

/// Equal numbers, and the same bits: `NaN` is not equal to itself.
fn bits(samples: &[Sample]) -> Vec<(u64, u64)> {
    samples.iter().map(|sample| (sample.timestamp.as_nanos(), sample.value.to_bits())).collect()
}

fn point(bytes: &[u8]) -> BatchPoint {
    let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]));
    (i64::from(bytes[16]), Sample { timestamp: Timestamp::from_nanos(number(0)), value: f64::from_bits(number(8)) })
}

fn parts(points: &[BatchPoint]) -> (Vec<i64>, Vec<Sample>) {
    points.iter().copied().unzip()
}

fuzz_target!(|bytes: &[u8]| {
    for outside in [bytes.to_vec(), sealed(bytes)] {
        if let Ok(samples) = decode(&outside) {
            assert_eq!(bits(&decode(&encode(&samples)).expect("it was written here")), bits(&samples));
        }
        let _ = decode_batch(&outside);
    }
    let points: Vec<BatchPoint> = bytes.chunks_exact(17).map(point).collect();
    let (ids, samples) = parts(&points);
    assert_eq!(bits(&decode(&encode(&samples)).expect("it was written here")), bits(&samples));
    let (ids_again, samples_again) = parts(&decode_batch(&encode_batch(&points)).expect("it was written here"));
    assert_eq!((ids_again, bits(&samples_again)), (ids, bits(&samples)));
});
