//! What is put together is in order, apart, and not larger than a record may be.
#![no_main]

use libfuzzer_sys::fuzz_target;
use watchfire::inputs::files::traces;

fuzz_target!(|text: &str| {
    let lines: Vec<&str> = text.lines().collect();
    let mut at = 0;
    for trace in traces(&lines) {
        assert!(at <= trace.start && trace.start < trace.end && trace.end <= lines.len());
        assert!(trace.len() <= 1_000);
        at = trace.end;
    }
});
