//! No line makes the parser panic, and the message is always the end of the line.
#![no_main]

use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;
use watchfire::inputs::syslog_prefix::parse;
use watchfire_types::Timestamp;

fuzz_target!(|line: &str| {
    let parsed = parse(line, Timestamp::from_seconds(1_795_392_600), &TimeZone::UTC);
    assert!(line.ends_with(parsed.message));
});
