//! No text makes the parsers of stack traces panic, and what they read is bounded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use watchfire::errors::{stack, template};

fuzz_target!(|text: &str| {
    let _ = stack::is_in(text);
    if let Some(trace) = stack::parse(text) {
        assert!((1..=16).contains(&trace.exceptions.len()));
    }
    let _ = template::parametrise(text);
});
