//! Where engines meet: each asks for what it needs through a trait of its own, and here is who answers.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use futures::future::BoxFuture;
use parking_lot::RwLock;
use tokio::sync::watch;
use watchfire_types::log::service_of;
use watchfire_types::{LogBatch, Timestamp};

use crate::alerts::events::{Event, EventSource};
use crate::alerts::log_windows::{MatcherFactory, RecordMatcher};
use crate::alerts::runtime::LogSource;
use crate::alerts::types::{ErrorFilter, RecordFilter};
use crate::analysis::Analysis;
use crate::analysis::consumer::Records;
use crate::analysis::detectors::types::{Head, HeadSource, Heads};
use crate::analysis::filter::is_own;
use crate::errors::Errors;
use crate::errors::types::ErrorEvent;
use crate::inputs::{LineParser, LineSource, RawLine};
use crate::logs::block::Columns;
use crate::logs::matcher::Matcher;
use crate::logs::types::LogFilter;
use crate::logs::{Logs, Skim};
use crate::plugins::parsers::ParserSource;
use crate::plugins::{ParserLine, Parsers};
use crate::store::StoreError;

impl LogSource for Logs {
    fn cursor_at_arrival(&self, time: Timestamp) -> Result<u64, StoreError> {
        Self::cursor_at_arrival(self, time)
    }

    fn read_after(&self, cursor: u64, limit: usize) -> Result<LogBatch, StoreError> {
        Self::read_after(self, cursor, limit)
    }

    fn committed(&self) -> watch::Receiver<u64> {
        Self::committed(self)
    }
}

impl Records for Logs {
    fn read_after(&self, cursor: u64, limit: usize) -> Result<LogBatch, StoreError> {
        Self::read_after(self, cursor, limit)
    }

    fn committed(&self) -> watch::Receiver<u64> {
        Self::committed(self)
    }
}

impl HeadSource for Logs {
    fn heads(&self, cursor: u64, limit: usize) -> Result<Heads, StoreError> {
        let found: RefCell<Heads> = RefCell::default();
        // What tells records apart is in the head of a block: nothing else is even decompressed.
        let columns = |head: &LogBatch| {
            let heads = &mut *found.borrow_mut();
            let own: Vec<bool> = head.dict.strings().iter().map(|scope| is_own(scope)).collect();
            let sources: Vec<u32> =
                head.resources.iter().map(|resource| place_of(&mut heads.sources, service_of(resource).unwrap_or(""))).collect();
            let rows = (0..head.len())
                .filter(|row| head.seq[*row] > cursor && !own.get(head.scope[*row] as usize).is_some_and(|own| *own));
            let nobody = place_of(&mut heads.sources, "");
            heads.rows.extend(rows.map(|row| Head {
                seq: head.seq[row],
                time: head.time[row],
                arrived: head.observed[row],
                severity: head.severity[row],
                source: sources.get(head.resource[row] as usize).copied().unwrap_or(nobody),
                pattern: head.pattern.get(row).copied().unwrap_or(0),
            }));
            None::<Columns>
        };
        let skimmed = self.skim_after(cursor, limit, &Skim { columns: &columns, rows: &|_| Vec::new() })?;
        let mut heads = found.into_inner();
        heads.last = skimmed.last;
        heads.rows.retain(|head| skimmed.last.is_some_and(|last| head.seq <= last));
        heads.rows.sort_unstable_by_key(|head| head.seq);
        Ok(heads)
    }

    fn line(&self, seq: u64) -> Option<String> {
        let batch = Self::read_after(self, seq.checked_sub(1)?, 1).ok()?;
        (batch.seq.first() == Some(&seq)).then(|| batch.body.get(0).display())
    }

    fn template(&self, _: &str, pattern: u64) -> Option<String> {
        let pattern = *self.resolve_patterns(pattern).first()?;
        self.patterns(&[pattern]).ok()?.remove(&pattern).map(|info| info.template)
    }

    fn committed(&self) -> watch::Receiver<u64> {
        Self::committed(self)
    }
}

/// Returns the place of `name` in `names`, adding it if it is new.
fn place_of(names: &mut Vec<String>, name: &str) -> u32 {
    let known = names.iter().position(|known| known == name);
    let place = known.unwrap_or_else(|| {
        names.push(name.to_owned());
        names.len() - 1
    });
    place as u32
}

impl EventSource for Analysis {
    fn events_after(&self, position: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        Self::events_after(self, position, limit)
    }

    fn position_at(&self, time: Timestamp) -> Result<u64, StoreError> {
        Self::position_at(self, time)
    }

    fn stored(&self) -> watch::Receiver<u64> {
        Self::stored(self)
    }
}

impl EventSource for Errors {
    fn events_after(&self, position: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        Self::events_after(self, position, limit)
    }

    fn position_at(&self, time: Timestamp) -> Result<u64, StoreError> {
        Self::position_at(self, time)
    }

    fn stored(&self) -> watch::Receiver<u64> {
        Self::stored(self)
    }
}

/// The log engine's matcher, and for rules over errors what the error engine takes for one.
struct RuleMatcher {
    log: LogMatcher,
    errors: Option<ErrorFilter>,
}

impl RecordMatcher for RuleMatcher {
    fn matches(&self, batch: &LogBatch, row: usize) -> bool {
        self.log.matches(batch, row) && self.errors.as_ref().is_none_or(|filter| is_error(filter, batch, row))
    }
}

enum LogMatcher {
    Fixed(Matcher),
    /// Of a filter that names patterns: which ids they have changes whenever patterns are merged.
    ByPattern {
        filter: Box<LogFilter>,
        logs: Logs,
        made: RwLock<(u64, Matcher)>,
    },
}

impl LogMatcher {
    fn new(logs: &Logs, filter: &LogFilter) -> Self {
        let names_patterns = Cell::new(false);
        let resolve = |id| {
            names_patterns.set(true);
            logs.resolve_patterns(id)
        };
        let merges = logs.pattern_merges();
        let matcher = Matcher::knowing(filter, &resolve);
        if names_patterns.get() {
            Self::ByPattern { filter: Box::new(filter.clone()), logs: logs.clone(), made: RwLock::new((merges, matcher)) }
        } else {
            Self::Fixed(matcher)
        }
    }

    fn matches(&self, batch: &LogBatch, row: usize) -> bool {
        match self {
            Self::Fixed(matcher) => matcher.matches(batch, row),
            Self::ByPattern { filter, logs, made } => {
                let merges = logs.pattern_merges();
                if made.read().0 != merges {
                    *made.write() = (merges, Matcher::knowing(filter, &|id| logs.resolve_patterns(id)));
                }
                made.read().1.matches(batch, row)
            }
        }
    }
}

/// Returns whether row `row` of `batch` is an error event that `filter` means.
fn is_error(filter: &ErrorFilter, batch: &LogBatch, row: usize) -> bool {
    ErrorEvent::of(batch, row).is_some_and(|event| filter.kind.as_ref().is_none_or(|kind| *kind == event.kind))
}

/// Returns what makes the matchers of rules, which follow the patterns of `logs` as they are merged.
#[must_use]
pub fn matchers(logs: Logs) -> MatcherFactory {
    Arc::new(move |filter: &RecordFilter| {
        Box::new(RuleMatcher { log: LogMatcher::new(&logs, &filter.log), errors: filter.errors.clone() })
    })
}

impl LineParser for Parsers {
    fn parse<'a>(&'a self, name: &'a str, source: &'a LineSource, lines: Vec<RawLine>, now: Timestamp) -> BoxFuture<'a, LogBatch> {
        let line = |line: RawLine| ParserLine { text: line.text, time: line.given.time, stream: line.given.stream.name() };
        let source = ParserSource { name: source.name.clone(), service: source.service.clone(), resource: source.resource.clone() };
        Box::pin(async move { Self::parse(self, name, source, lines.into_iter().map(line).collect(), now).await.batch })
    }
}
