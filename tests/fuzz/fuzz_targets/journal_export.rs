//! The journal's export format is read alike in whatever pieces it comes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use watchfire::inputs::journald::export::read_all;

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, bytes) = input;
    assert_eq!(read_all(bytes, usize::from(piece)), read_all(bytes, usize::MAX));
});
