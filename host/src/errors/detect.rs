//! Finds the error events of a batch by its columns, without looking at the records one by one.

use watchfire_types::attributes::keys;
use watchfire_types::{LogBatch, Severity};

use super::stack;
use crate::logs::Skim;
use crate::logs::block::Columns;

/// Attributes that make a record an error event.
const KEYS: [&str; 4] = [keys::EXCEPTION_TYPE, keys::EXCEPTION_MESSAGE, keys::EXCEPTION_STACKTRACE, keys::SENTRY_EVENT];

/// Parts of the host that report what went wrong with what errors lead to: their errors would lead to more of them.
const FEEDBACK: [&str; 3] = ["watchfire::delivery", "watchfire::plugins", "watchfire::errors"];

/// Returns whether row `row` of `batch` is an error event: it has an exception, or is an error and carries a stack trace.
#[must_use]
pub fn is_error(batch: &LogBatch, row: usize) -> bool {
    Detector::new(batch, true).is_error(row)
}

/// Returns which columns tell error events from other records in a batch of which only dictionary and severities are known; `None` if
/// it cannot hold any. Without an exception among its attributes, only a stack trace in a body makes one.
#[must_use]
pub fn telling_columns(head: &LogBatch, auto_capture: bool) -> Option<Columns> {
    if KEYS.iter().any(|key| head.dict.find(key).is_some()) {
        return Some(Columns::ALL);
    }
    let severe = auto_capture && head.severity.iter().any(|number| is_severe(*number));
    severe.then_some(Columns { body: true, ..Columns::HEAD })
}

/// A level that a stack trace goes with. Who gives none does not say that it is harmless.
fn is_severe(number: u8) -> bool {
    number >= Severity::ERROR.0 || number == Severity::UNSET.0
}

/// Calls `work` with what to ask the log for, to get its error events and nothing else.
pub fn skimming<T>(auto_capture: bool, work: impl FnOnce(&Skim<'_>) -> T) -> T {
    work(&Skim { columns: &|head| telling_columns(head, auto_capture), rows: &|batch| Detector::new(batch, auto_capture).rows() })
}

/// Looks for error events in one batch.
#[derive(Clone, Copy, Debug)]
pub struct Detector<'a> {
    batch: &'a LogBatch,
    /// Where the dictionary has the attributes' keys.
    keys: [Option<u32>; 4],
    auto_capture: bool,
}

impl<'a> Detector<'a> {
    /// Returns a detector; without `auto_capture` only attributes make an error event.
    #[must_use]
    pub fn new(batch: &'a LogBatch, auto_capture: bool) -> Self {
        Self { batch, keys: KEYS.map(|key| batch.dict.find(key)), auto_capture }
    }

    /// Returns whether row `row` is an error event.
    #[must_use]
    pub fn is_error(&self, row: usize) -> bool {
        (self.has_exception(row) || (self.auto_capture && is_severe(self.batch.severity[row]) && self.has_trace(row)))
            && !self.is_feedback(row)
    }

    /// Returns all rows that are error events, in their order.
    #[must_use]
    pub fn rows(&self) -> Vec<usize> {
        let has_keys = self.keys.iter().any(Option::is_some);
        // A stack trace has several lines: where no body has two, there is none.
        let has_lines = self.auto_capture && memchr::memchr(b'\n', &self.batch.body.data.bytes).is_some();
        if has_keys || has_lines { (0..self.batch.len()).filter(|row| self.is_error(*row)).collect() } else { Vec::new() }
    }

    fn has_exception(&self, row: usize) -> bool {
        self.keys.iter().any(Option::is_some)
            && self.batch.attribute_key[self.batch.attribute_range(row)].iter().any(|key| self.keys.contains(&Some(*key)))
    }

    fn has_trace(&self, row: usize) -> bool {
        str::from_utf8(self.batch.body.data.get(row)).is_ok_and(stack::is_in)
    }

    fn is_feedback(&self, row: usize) -> bool {
        let scope = self.batch.dict.get(self.batch.scope[row]);
        scope.starts_with("watchfire::") && FEEDBACK.iter().any(|part| scope.starts_with(part))
    }
}

#[cfg(test)]
mod tests {
    use watchfire_types::ValueRef;
    use watchfire_types::log::RecordHead;

    use super::*;

    const TRACE: &str = "sync failed\nTraceback (most recent call last):\n  File \"/app/a.py\", line 1, in f\nValueError: x";

    #[test]
    fn attributes_or_a_stack_trace_make_an_error_event() {
        let mut batch = LogBatch::default();
        let head = |severity, scope| RecordHead { severity, scope, ..RecordHead::default() };
        batch.push(&head(Severity::INFO, ""), ValueRef::Text("plain"));
        batch.push(&head(Severity::INFO, ""), ValueRef::Text("has an exception"));
        batch.attribute(keys::EXCEPTION_MESSAGE, ValueRef::Text("no"));
        batch.push(&head(Severity::ERROR, ""), ValueRef::Text(TRACE));
        batch.push(&head(Severity::INFO, ""), ValueRef::Text(TRACE));
        batch.push(&head(Severity::UNSET, ""), ValueRef::Text(TRACE));
        batch.push(&head(Severity::ERROR, ""), ValueRef::Text("an error\nin two lines"));
        batch.push(&head(Severity::ERROR, "watchfire::delivery::worker"), ValueRef::Text(TRACE));
        assert_eq!(Detector::new(&batch, true).rows(), [1, 2, 4]);
        assert_eq!(Detector::new(&batch, false).rows(), [1]);
        assert_eq!((0..batch.len()).filter(|row| is_error(&batch, *row)).collect::<Vec<_>>(), [1, 2, 4]);
        assert_eq!(telling_columns(&batch, false), Some(Columns::ALL));
    }
}
