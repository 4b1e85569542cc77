//! A query is read or refused with its place; what is read prints as something that reads back equal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use watchfire::logs::query::Query;

fuzz_target!(|text: &str| {
    match Query::parse(text) {
        Ok(query) => {
            let printed = query.to_string();
            // Quotes make it longer, and what is too long is refused.
            if printed.len() <= 4096 {
                assert_eq!(Query::parse(&printed).as_ref(), Ok(&query), "{printed}");
            }
        }
        Err(error) => assert!(error.at.end <= text.len() && text.is_char_boundary(error.at.start), "{error}"),
    }
});
