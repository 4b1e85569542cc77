//! Whatever a Sentry SDK or somebody else sends: it is read in any of its forms, and an envelope's items lie within it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use watchfire::inputs::sentry::auth::DsnKey;
use watchfire::inputs::sentry::{Form, decode_for_tests, envelope};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(envelope) = envelope::parse(bytes) {
        let sum: usize = envelope.items.iter().map(|item| item.payload.len()).sum();
        assert!(sum <= bytes.len());
    }
    let key = DsnKey::new("0123456789abcdef0123456789abcdef");
    for form in [Form::Envelope, Form::Event, Form::Report, Form::Dump] {
        if let Some(batch) = decode_for_tests(form, bytes, &key) {
            for row in 0..batch.len() {
                // What is stored of an event is JSON.
                if let Some(watchfire_types::ValueRef::Json(json)) = batch.find_attribute(row, "sentry.event") {
                    assert!(serde_json::from_str::<serde_json::Value>(json).is_ok());
                }
            }
        }
    }
});
