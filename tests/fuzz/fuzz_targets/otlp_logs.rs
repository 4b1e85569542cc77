//! The decoder that skips prost's objects refuses nothing that prost takes, and gives the same records.
#![no_main]

use libfuzzer_sys::fuzz_target;
use watchfire::inputs::otlp::{logs_proto, reference};

fuzz_target!(|bytes: &[u8]| {
    match (logs_proto::decode(bytes, usize::MAX), reference::decode(bytes)) {
        (Ok(own), Ok(expected)) => assert!(reference::same(&own, &expected)),
        (Err(error), Ok(_)) => panic!("prost takes what is refused here: {error}"),
        // Prost also checks what is not kept.
        (_, Err(_)) => {}
    }
});
