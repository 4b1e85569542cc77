//! Any body is redacted without a panic, stays UTF-8, and is not changed by redacting it again.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use watchfire_redact::{Action, Redactor, Rule, Settings};

static REDACTOR: LazyLock<Redactor> = LazyLock::new(|| {
    let rules = Rule::ALL.map(|rule| (rule, Action::Mask));
    Redactor::new(Settings { rules: rules.into(), ..Settings::default() }).expect("the settings are right")
});

fuzz_target!(|text: &str| {
    let once = REDACTOR.redact_text(text).into_owned();
    assert_eq!(REDACTOR.redact_text(&once), once);
});
