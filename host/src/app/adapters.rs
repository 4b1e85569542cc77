//! Where engines meet: each asks for what it needs through a trait of its own, and here is who answers.

use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::sync::watch;
use watchfire_types::{LogBatch, Timestamp};

use crate::alerts::events::{Event, EventSource};
use crate::alerts::log_windows::{MatcherFactory, RecordMatcher};
use crate::alerts::runtime::LogSource;
use crate::alerts::types::{ErrorFilter, RecordFilter};
use crate::analysis::Analysis;
use crate::analysis::consumer::Records;
use crate::errors::Errors;
use crate::errors::types::ErrorEvent;
use crate::inputs::{LineParser, LineSource, RawLine};
use crate::logs::Logs;
use crate::logs::matcher::Matcher;
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
    log: Matcher,
    errors: Option<ErrorFilter>,
}

impl RecordMatcher for RuleMatcher {
    fn matches(&self, batch: &LogBatch, row: usize) -> bool {
        self.log.matches(batch, row) && self.errors.as_ref().is_none_or(|filter| is_error(filter, batch, row))
    }
}

/// Returns whether row `row` of `batch` is an error event that `filter` means.
fn is_error(filter: &ErrorFilter, batch: &LogBatch, row: usize) -> bool {
    ErrorEvent::of(batch, row).is_some_and(|event| filter.kind.as_ref().is_none_or(|kind| *kind == event.kind))
}

/// Returns what makes the matchers of rules.
#[must_use]
pub fn matchers() -> MatcherFactory {
    Arc::new(|filter: &RecordFilter| Box::new(RuleMatcher { log: Matcher::new(&filter.log), errors: filter.errors.clone() }))
}

impl LineParser for Parsers {
    fn parse<'a>(&'a self, name: &'a str, source: &'a LineSource, lines: Vec<RawLine>, now: Timestamp) -> BoxFuture<'a, LogBatch> {
        let line = |line: RawLine| ParserLine { text: line.text, time: line.given.time, stream: line.given.stream.name() };
        let source = ParserSource { name: source.name.clone(), service: source.service.clone(), resource: source.resource.clone() };
        Box::pin(async move { Self::parse(self, name, source, lines.into_iter().map(line).collect(), now).await.batch })
    }
}
