//! A block of log records: no bytes make the decoder panic, and what it accepts is written and read back equal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use watchfire::logs::block::probe::{Probe, Run};
use watchfire::logs::block::{Columns, Wants, decode, decode_wanted, encode, pack};
use watchfire::logs::query::bits::Bits;

/// Sections of a block of format 1 or 2, and the least number of those of format 3.
const SECTIONS: usize = 5;

/// Returns `bytes` in the frame of a block of formats 1 and 3, with checksums that hold: without them hardly any bytes would get past
/// the frame.
///
/// The first byte is the number of rows, then come the lengths of the first four sections, a byte each; the last one takes the rest.
fn framed(bytes: &[u8]) -> Option<[Vec<u8>; 2]> {
    let (rows, rest) = bytes.split_first()?;
    let (lengths, mut rest) = rest.split_first_chunk::<{ SECTIONS - 1 }>()?;
    let mut sections = Vec::new();
    for index in 0..SECTIONS {
        let length = lengths.get(index).map_or(rest.len(), |length| usize::from(*length).min(rest.len()));
        let (section, left) = rest.split_at(length);
        rest = left;
        sections.push(section);
    }
    Some([rows_frame(*rows, &sections), packed_frame(*rows, &sections)])
}

fn rows_frame(rows: u8, sections: &[&[u8]]) -> Vec<u8> {
    let (mut header, mut body) = (vec![1, rows, 0, 0, 0], Vec::new());
    for raw in sections {
        let stored = if raw.is_empty() { Vec::new() } else { zstd::bulk::compress(raw, 1).expect("memory suffices") };
        for number in [raw.len() as u32, stored.len() as u32, crc32fast::hash(&stored)] {
            header.extend(number.to_le_bytes());
        }
        body.extend(stored);
    }
    header.extend(body);
    header
}

fn packed_frame(rows: u8, sections: &[&[u8]]) -> Vec<u8> {
    let mut block = vec![3, rows, 0, 0, 0, sections.len() as u8, 0, 0, 0];
    let directory: Vec<u8> = sections
        .iter()
        .flat_map(|section| [section.len() as u32, crc32fast::hash(section)])
        .flat_map(u32::to_le_bytes)
        .collect();
    let checksum = crc32fast::hash(&[block.as_slice(), &directory].concat());
    block.extend(checksum.to_le_bytes());
    block.extend(directory);
    sections.iter().for_each(|section| block.extend_from_slice(section));
    block
}

/// Looks through a block, and takes every second row of it.
fn probe(block: &[u8], head: &watchfire_types::LogBatch) {
    if !Probe::fits(block) {
        return;
    }
    let Ok(mut probe) = Probe::new(block, head) else { return };
    let run = Run::of(b"abc").expect("it is long enough");
    let _ = probe.rows_with(&run, true, usize::MAX);
    let wanted = Bits::all(head.len()).filter(|row| row % 2 == 0);
    if let Ok(taken) = probe.take(&wanted, Columns::ALL, None) {
        assert_eq!(taken.len(), wanted.count());
        (0..taken.len()).for_each(|row| drop(taken.record(row)));
    }
}

fuzz_target!(|bytes: &[u8]| {
    for block in std::iter::once(bytes.to_vec()).chain(framed(bytes).into_iter().flatten()) {
        // A search reads only some columns first.
        let head = decode(&block, 7, Columns::HEAD);
        if let Ok(head) = &head {
            probe(&block, head);
        }
        let Ok(batch) = decode(&block, 7, Columns::ALL) else { continue };
        assert_eq!(head.expect("less is asked for").seq, batch.seq);
        let keys = batch.dict.strings().iter().skip(1).step_by(2).cloned().collect();
        let wants = Wants { columns: Columns { attributes: true, ..Columns::HEAD }, keys: Some(keys) };
        assert_eq!(decode_wanted(&block, 7, &wants).expect("less is asked for").len(), batch.len());
        for row in 0..batch.len() {
            serde_json::to_string(&batch.record(row)).expect("a record can be written");
        }
        // Blocks are decoded with the first `seq` that the store keeps beside them.
        let first = batch.seq.first().copied().unwrap_or(7);
        for written in [encode(&batch, 1), pack(&batch, 1)] {
            assert_eq!(decode(&written, first, Columns::ALL).expect("it was written here"), batch);
        }
    }
});
