//! A push request of Loki is read or refused, in either encoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use watchfire::inputs::loki::{decode_json, decode_protobuf, labels};
use watchfire_types::Timestamp;

fuzz_target!(|bytes: &[u8]| {
    let now = Timestamp::from_seconds(1_795_392_600);
    let _ = decode_json(bytes, now, 64 << 20);
    let _ = decode_protobuf(bytes, now, 64 << 20);
    if let Ok(text) = str::from_utf8(bytes) {
        let _ = labels::parse(text);
    }
});
