//! Every action of a bulk request is a record or refused, or the request is refused as a whole.
#![no_main]

use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;
use watchfire::inputs::elastic::bulk::decode;
use watchfire::inputs::ndjson::Defaults;
use watchfire_types::Timestamp;

fuzz_target!(|bytes: &[u8]| {
    let defaults = Defaults { service: None, host: None, now: Timestamp::from_seconds(1_795_392_600), zone: &TimeZone::UTC };
    if let Ok(decoded) = decode(bytes, Some("index"), &defaults, 64 << 20) {
        assert_eq!(decoded.batch.len() as u64 + decoded.refused(), decoded.items.len() as u64);
    }
});
