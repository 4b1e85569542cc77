//! Whatever is uploaded as a bundle of source maps: it is read within its bounds or refused, and its maps are asked.
#![no_main]

use libfuzzer_sys::fuzz_target;
use watchfire::source_maps::map::{self, ReadMap};
use watchfire::source_maps::read_for_tests;

fuzz_target!(|bytes: &[u8]| {
    let _ = read_for_tests(bytes);
    // A map by itself, for archives keep a fuzzer from it.
    if let Ok(map) = ReadMap::read(bytes, Some(bytes.to_vec()), "fuzz") {
        let call = watchfire::errors::originals::Call { file: "~/app.js", line: 1, column: 9, function: "a.b" };
        let _ = map.original(&call);
    }
    if let Some(reference) = map::reference(bytes) {
        let _ = map::inline(reference);
    }
});
