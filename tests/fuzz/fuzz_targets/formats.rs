//! Every line is one record, in any format, and reading it twice gives the same.
#![no_main]

use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;
use watchfire::inputs::builder::BatchBuilder;
use watchfire::inputs::formats::{Defaults, Detected, Format, parse_line};
use watchfire_types::Timestamp;

fuzz_target!(|input: (u8, &str)| {
    let (number, line) = input;
    let name = Format::NAMES[number as usize % Format::NAMES.len()];
    let defaults = Defaults { service: None, host: None, now: Timestamp::from_seconds(1_795_392_600), zone: &TimeZone::UTC };
    let mut detected = Detected::new(Format::from_name(name).expect("it is one of the names"));
    let mut builder = BatchBuilder::new(usize::MAX);
    for _ in 0..2 {
        parse_line(&mut builder, line, &defaults, &mut detected).expect("it fits");
    }
    let batch = builder.finish();
    assert_eq!(batch.len(), 2);
    assert_eq!(batch.record(0), batch.record(1));
});
