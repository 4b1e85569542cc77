//! No JSON makes a decoder panic, or take much more memory than allowed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use watchfire::inputs::otlp::json;

fuzz_target!(|bytes: &[u8]| {
    let _ = json::logs(bytes, 16 << 20);
    let _ = json::metrics(bytes, 16 << 20);
    let _ = json::count_spans(bytes, 16 << 20);
});
