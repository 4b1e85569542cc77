//! Breadcrumbs: the records before an error, found by the exporter, so that the application does nothing for them.

use std::collections::VecDeque;

use crate::record::Record;
use crate::value::cut;

/// Records that are remembered, of all threads and traces.
const REMEMBERED: usize = 512;
/// Longest text of one, in bytes.
const MAX_TEXT_BYTES: usize = 300;

#[derive(Debug)]
struct Crumb {
    time: u64,
    level: &'static str,
    scope: String,
    text: String,
    trace: u128,
    thread: u64,
}

/// The last records.
#[derive(Debug, Default)]
pub(crate) struct Crumbs(VecDeque<Crumb>);

fn trace(record: &Record) -> u128 {
    record.span.as_ref().map_or(0, |span| span.trace_id)
}

impl Crumbs {
    /// Remembers a record.
    pub(crate) fn note(&mut self, record: &Record) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(Crumb {
            time: record.time,
            level: record.severity_text,
            scope: record.scope.clone().into_owned(),
            text: cut(&record.body, MAX_TEXT_BYTES).into_owned(),
            trace: trace(record),
            thread: record.thread,
        });
    }

    /// Returns at most `most` records before `record`, as a JSON list, oldest first: those of its trace, or without one those of its thread.
    pub(crate) fn before(&self, record: &Record, most: usize) -> Option<String> {
        let of = trace(record);
        let belongs = |crumb: &&Crumb| if of == 0 { crumb.thread == record.thread } else { crumb.trace == of };
        let mut found: Vec<&Crumb> = self.0.iter().rev().filter(belongs).take(most).collect();
        found.reverse();
        let crumbs: Vec<_> = found
            .iter()
            .map(|crumb| {
                serde_json::json!({
                    "timestamp": crumb.time as f64 / 1e9,
                    "level": crumb.level.to_ascii_lowercase(),
                    "category": crumb.scope,
                    "message": crumb.text,
                })
            })
            .collect();
        (!crumbs.is_empty()).then(|| serde_json::Value::from(crumbs).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fields, Level};

    #[test]
    fn an_error_gets_what_its_own_thread_said_before() {
        let mut crumbs = Crumbs::default();
        let record =
            |text: &'static str, thread| Record { thread, ..Record::new(Level::Info, "shop".into(), text.into(), Fields::new()) };
        for (text, thread) in [("one", 1), ("other", 2), ("two", 1), ("three", 1)] {
            crumbs.note(&record(text, thread));
        }
        let list: serde_json::Value = serde_json::from_str(&crumbs.before(&record("bang", 1), 2).unwrap()).unwrap();
        assert_eq!((&list[0]["message"], &list[1]["message"], list.as_array().unwrap().len()), (&"two".into(), &"three".into(), 2));
        assert_eq!(crumbs.before(&record("bang", 3), 2), None);
        (0..2_000).for_each(|_| crumbs.note(&record("x", 4)));
        assert_eq!(crumbs.before(&record("bang", 1), 2), None);
    }
}
