//! Any message becomes a record, and its text is the end of it.

#![no_main]

use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;
use watchfire::inputs::syslog::message::{parameters, parse};
use watchfire::inputs::syslog::records::Records;
use watchfire::inputs::syslog::times::Times;
use watchfire_types::Timestamp;

fuzz_target!(|bytes: &[u8]| {
    let now = Timestamp::from_seconds(1_795_392_600);
    if let Ok(text) = str::from_utf8(bytes) {
        let message = parse(text, &mut Times::new(TimeZone::UTC, now));
        assert!(text.ends_with(message.text));
        parameters(message.structured, &mut |_, _| {});
    }
    let mut records = Records::new(TimeZone::UTC, None, None);
    records.begin(now);
    records.push(bytes, [127, 0, 0, 1].into(), false);
    assert_eq!(records.finish().batch.len(), 1);
});
