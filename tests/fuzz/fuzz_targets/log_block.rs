//! A block of log records: no bytes make the decoder panic, and what it accepts is written and read back equal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use watchfire::logs::block::{Columns, decode, encode};

/// Sections of a block.
const SECTIONS: usize = 5;

/// Returns `bytes` in the frame of a block, with checksums that hold: without them hardly any bytes would get past the frame.
///
/// The first byte is the number of rows, then come the lengths of the first four sections, a byte each; the last one takes the rest.
fn framed(bytes: &[u8]) -> Option<Vec<u8>> {
    let (rows, rest) = bytes.split_first()?;
    let (lengths, mut rest) = rest.split_first_chunk::<{ SECTIONS - 1 }>()?;
    let (mut header, mut body) = (vec![1, *rows, 0, 0, 0], Vec::new());
    for index in 0..SECTIONS {
        let length = lengths.get(index).map_or(rest.len(), |length| usize::from(*length).min(rest.len()));
        let (raw, left) = rest.split_at(length);
        rest = left;
        let stored = if raw.is_empty() { Vec::new() } else { zstd::bulk::compress(raw, 1).expect("memory suffices") };
        for number in [raw.len() as u32, stored.len() as u32, crc32fast::hash(&stored)] {
            header.extend(number.to_le_bytes());
        }
        body.extend(stored);
    }
    header.extend(body);
    Some(header)
}

fuzz_target!(|bytes: &[u8]| {
    for block in [Some(bytes.to_vec()), framed(bytes)].into_iter().flatten() {
        // A search reads only some columns first.
        let head = decode(&block, 7, Columns::HEAD);
        let Ok(batch) = decode(&block, 7, Columns::ALL) else { continue };
        assert_eq!(head.expect("less is asked for").seq, batch.seq);
        for row in 0..batch.len() {
            serde_json::to_string(&batch.record(row)).expect("a record can be written");
        }
        // Blocks are decoded with the first `seq` that the store keeps beside them.
        let first = batch.seq.first().copied().unwrap_or(7);
        let again = decode(&encode(&batch, 1), first, Columns::ALL).expect("it was written here");
        assert_eq!(again, batch);
    }
});
