//! Every line is either a record or refused, and what is exported of a record reads back.
#![no_main]

use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;
use watchfire::inputs::ndjson::{Defaults, decode};
use watchfire_types::Timestamp;

fuzz_target!(|bytes: &[u8]| {
    let defaults = Defaults { service: None, host: None, now: Timestamp::from_seconds(1_795_392_600), zone: &TimeZone::UTC };
    let (batch, answer) = decode(bytes, &defaults, usize::MAX).expect("it fits");
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.iter().all(u8::is_ascii_whitespace)).count();
    assert_eq!(batch.len() as u64 + answer.rejected, lines as u64);
    for row in 0..batch.len() {
        let record = batch.record(row);
        // Later moments cannot be stored, or written as RFC 3339.
        if record.timestamp <= Timestamp::MAX && record.observed_timestamp <= Timestamp::MAX {
            let line = serde_json::to_string(&record).expect("a record can be written");
            let (again, answer) = decode(line.as_bytes(), &defaults, usize::MAX).expect("it fits");
            assert_eq!(answer.rejected, 0, "{line}: {answer:?}");
            assert_eq!(again.record(0), record);
        }
    }
});
