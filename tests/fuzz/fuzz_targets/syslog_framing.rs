//! A stream gives the same messages however it is split; a datagram gives them without a panic. The first byte says where to split.

#![no_main]

use libfuzzer_sys::fuzz_target;
use watchfire::inputs::syslog::framing::{Framing, Step, datagram};

fn read(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut framing = Framing::new(32);
    let (mut buffer, mut messages) = (Vec::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match framing.next(&buffer) {
                Step::More => break,
                Step::Skip(count) => drop(buffer.drain(..count)),
                Step::Message { bytes, consumed, .. } => {
                    messages.push(buffer[bytes].to_vec());
                    buffer.drain(..consumed);
                }
            }
        }
    }
    messages.extend(framing.finish(&buffer).map(|(range, _)| buffer[range].to_vec()));
    messages
}

fuzz_target!(|bytes: &[u8]| {
    let Some((first, stream)) = bytes.split_first() else { return };
    let (left, right) = stream.split_at(usize::from(*first).min(stream.len()));
    assert_eq!(read(&[left, right]), read(&[stream]));
    datagram(stream, 32, &mut |message, _| assert!(message.len() <= 32));
});
