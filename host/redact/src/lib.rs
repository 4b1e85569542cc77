//! Takes secrets and personal data out of log records before they are stored.
//!
//! Most records hold none, and must cost next to nothing. So there are two steps: one pass over the text of a whole batch finds places
//! where something could be (`scan`: some sixty literals by SIMD, and runs of digits, eight bytes at a time), and only there a rule
//! looks closer (`rules`): it says which bytes are the secret. What is found is replaced (`replace`); a batch in which nothing is found
//! is not copied.
//!
//! ```
//! use watchfire_redact::{Redactor, Settings};
//! use watchfire_types::log::RecordHead;
//! use watchfire_types::{LogBatch, ValueRef};
//!
//! let redactor = Redactor::new(Settings::default())?;
//! let mut batch = LogBatch::default();
//! batch.push(&RecordHead::default(), ValueRef::Text("login password=hunter2 from 10.0.0.1"));
//! let counts = redactor.redact(&mut batch);
//! assert_eq!(batch.record(0).body.as_text(), Some("login password=[redacted:secret] from 10.0.0.1"));
//! assert_eq!(counts.total(), 1);
//! # Ok::<(), watchfire_redact::SettingsError>(())
//! ```
//!
//! **Invariant**: what has been redacted is not changed by redacting it again. **Invariant**: text stays UTF-8, JSON stays JSON, and no
//! row is added or taken away.

#![warn(missing_docs)]

mod batch;
mod digits;
mod keys;
mod marker;
mod network;
mod numbers;
mod rules;
mod scan;
mod secrets;
mod settings;
#[cfg(test)]
mod tests;

/// Returns whether what stands beside `name` is a secret: `db.password`, `x-api-key`, `Authorization`, `Set-Cookie`.
///
/// For whoever knows names and values apart, where no text says that they belong together.
#[must_use]
pub fn is_secret_name(name: &str) -> bool {
    keys::kind(name.as_bytes()).is_some_and(|kind| kind != keys::Kind::WorkingDirectory)
}

pub use batch::{Counts, Redactor};
pub use settings::{Action, Custom, Rule, Settings, SettingsError};
