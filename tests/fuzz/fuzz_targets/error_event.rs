//! Whatever stands in a record's breadcrumbs, or as a Sentry event in the log: it is grouped and explained, and what is kept of it is JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use watchfire::errors::originals::NoOriginals;
use watchfire::errors::rules::GroupingRules;
use watchfire::errors::types::ErrorEvent;
use watchfire::errors::why;
use watchfire_types::log::RecordHead;
use watchfire_types::{LogBatch, ValueRef};

fuzz_target!(|text: &str| {
    let mut batch = LogBatch::default();
    batch.push(&RecordHead::default(), ValueRef::Text("it failed"));
    batch.attribute("exception.type", ValueRef::Text("ValueError"));
    batch.attribute("breadcrumbs", ValueRef::Text(text));
    if serde_json::from_str::<serde_json::Value>(text).is_ok() {
        batch.push(&RecordHead::default(), ValueRef::Text("it failed"));
        batch.attribute("sentry.event", ValueRef::Json(text));
    }
    let rules = GroupingRules::default();
    for row in 0..batch.len() {
        let (mut event, grouped) = ErrorEvent::grouped(&batch, row, &rules, &NoOriginals);
        assert_eq!(grouped.fingerprint.len(), 64);
        event.add_details(&batch, row);
        if let Some(details) = &event.details {
            assert!(serde_json::from_str::<serde_json::Value>(details.text()).is_ok());
        }
        let trace = event.trace(&rules);
        assert!(!why::components(&event, trace.as_ref(), &rules).is_empty());
    }
});
