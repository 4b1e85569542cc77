//! Runs a query over the log and hands out what it finds, row by row.

use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use parking_lot::Mutex;
use watchfire_types::{LogBatch, LogRecord, Severity, Timestamp};

use super::ast::{Aggregate, Expr, Key, Pipe, Query, SortKey};
use super::field::Field;
use super::group::{Groups, MAX_GROUP_BYTES, TooManyGroups};
use super::node::Meaning;
use super::plan::{Plan, Source};
use super::scan::{ALWAYS, Claims, Control, Reading, Stopped};
use super::sorted::{Best, TooLarge};
use super::table::{Cell, Table};
use crate::logs::Logs;
use crate::logs::block::Wants;
use crate::logs::matcher::Matcher;
use crate::logs::types::LogFilter;
use crate::store::StoreError;

/// A question to the log.
#[derive(Clone, Debug)]
pub struct Question {
    /// What must hold of the records beside what the query says.
    pub filter: LogFilter,
    /// The query.
    pub query: Query,
    /// Now.
    pub now: Timestamp,
    /// Where the asker's clocks are.
    pub zone: TimeZone,
    /// Rows or records at most.
    pub limit: usize,
}

/// A part of the answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// The names of the columns, before the first row.
    Columns(Vec<String>),
    /// A row of a table.
    Row(Vec<Cell>),
    /// A record, when the answer is records.
    Record(Box<LogRecord>),
}

/// How a query ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Rows or records handed out.
    pub rows: u64,
    /// There are more than the limit allowed.
    pub truncated: bool,
    /// It ended before its end.
    pub stopped: Option<Stopped>,
}

/// Why a query failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A file cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It asks for what there is not, or for too much.
    #[error("{0}")]
    Asked(String),
}

impl From<TooManyGroups> for RunError {
    fn from(error: TooManyGroups) -> Self {
        Self::Asked(error.to_string())
    }
}

impl From<TooLarge> for RunError {
    fn from(error: TooLarge) -> Self {
        Self::Asked(error.to_string())
    }
}

impl Question {
    /// Returns what makes its records.
    #[must_use]
    pub fn matcher(&self, logs: &Logs) -> Matcher {
        let meaning = Meaning { now: self.now, zone: &self.zone, patterns: &|id| logs.resolve_patterns(id) };
        Matcher::of(&self.expr(), &meaning)
    }

    /// Returns the whole condition.
    #[must_use]
    pub fn expr(&self) -> Expr {
        self.filter.and(self.query.filter.clone())
    }
}

impl Logs {
    /// Runs `question` and calls `emit` with each part of the answer, which returns whether it wants more. Blocks on disk; ends early when
    /// `control` says so.
    ///
    /// # Errors
    /// [`RunError`]
    pub fn run(
        &self,
        question: &Question,
        control: &Arc<Control>,
        emit: &mut dyn FnMut(Part) -> bool,
    ) -> Result<Outcome, RunError> {
        let plan = Plan::new(&question.query).map_err(RunError::Asked)?;
        let mut run = Run { logs: self, question, control, outcome: Outcome::default(), emit };
        match &plan.source {
            Source::Newest { limit } => run.newest(*limit, plan.fields.as_deref())?,
            Source::Sorted { keys, limit } => run.sorted(keys, *limit, plan.fields.as_deref())?,
            Source::Groups { by, columns, of_newest } => {
                let groups = match of_newest {
                    Some(count) => run.groups_of_newest(by, columns, *count)?,
                    None => run.groups(by, columns)?,
                };
                run.table(groups, &plan)?;
            }
        }
        run.outcome.stopped = control.stopped();
        Ok(run.outcome)
    }

    /// Groups all records of a time that `matcher` means, by reading them.
    fn group(
        &self,
        matcher: &Matcher,
        within: (u64, u64),
        by: &[Key],
        columns: &[Aggregate],
        control: &Control,
    ) -> Result<Groups, RunError> {
        let mut plans = self.0.files.plan(matcher)?;
        plans.retain(|plan| plan.max_time >= within.0 && plan.min_time < within.1);
        let claims = Claims::default();
        let needs = Groups::needs(by, columns);
        let reading = Reading { matcher, within, wants: &needs, claims: Some(&claims), control, damaged: &self.0.damaged };
        let failure: Mutex<Option<TooManyGroups>> = Mutex::new(None);
        let found = |groups: &mut Groups, batch: &LogBatch, rows: &super::bits::Bits| {
            if let Err(error) = groups.add(batch, rows) {
                *failure.lock() = Some(error);
                control.cancel();
            }
        };
        let mut all = reading.all(&plans, || Groups::new(by, columns), found)?.into_iter();
        if let Some(error) = failure.into_inner() {
            return Err(error.into());
        }
        let mut groups = all.next().unwrap_or_else(|| Groups::new(by, columns));
        all.try_for_each(|other| groups.merge(other))?;
        Ok(groups)
    }
}

/// One run.
struct Run<'a> {
    logs: &'a Logs,
    question: &'a Question,
    control: &'a Arc<Control>,
    outcome: Outcome,
    emit: &'a mut dyn FnMut(Part) -> bool,
}

impl Run<'_> {
    fn emit(&mut self, part: Part) -> bool {
        self.outcome.rows += u64::from(!matches!(part, Part::Columns(_)));
        (self.emit)(part)
    }

    fn record(&mut self, record: LogRecord, fields: Option<&[Field]>) -> bool {
        let part = match fields {
            Some(fields) => Part::Row(fields.iter().map(|field| Cell::of_record(field, &record)).collect()),
            None => Part::Record(Box::new(record)),
        };
        self.emit(part)
    }

    fn head(&mut self, fields: Option<&[Field]>) -> bool {
        fields.is_none_or(|fields| self.emit(Part::Columns(fields.iter().map(|field| field.name().to_owned()).collect())))
    }

    fn newest(&mut self, limit: Option<u64>, fields: Option<&[Field]>) -> Result<(), RunError> {
        let matcher = self.question.matcher(self.logs);
        let asked = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        // One more than is shown tells whether there are more.
        let shown = asked.min(self.question.limit);
        let mut search =
            self.logs.search_with(matcher, asked.min(self.question.limit.saturating_add(1)), Arc::clone(self.control))?;
        if !self.head(fields) {
            return Ok(());
        }
        let mut left = shown;
        while let Some(records) = search.step()? {
            for record in records {
                if left == 0 {
                    self.outcome.truncated = true;
                    return Ok(());
                }
                left -= 1;
                if !self.record(record, fields) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn sorted(&mut self, keys: &[SortKey], limit: Option<u64>, fields: Option<&[Field]>) -> Result<(), RunError> {
        let matcher = self.question.matcher(self.logs);
        let asked = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let shown = asked.min(self.question.limit);
        let claims = Claims::default();
        let reading = Reading {
            matcher: &matcher,
            within: ALWAYS,
            wants: &Wants::ALL,
            claims: Some(&claims),
            control: self.control,
            damaged: &self.logs.0.damaged,
        };
        let plans = self.logs.0.files.plan(&matcher)?;
        let failure: Mutex<Option<TooLarge>> = Mutex::new(None);
        let found = |best: &mut Best, batch: &LogBatch, rows: &super::bits::Bits| {
            if let Err(error) = best.add(batch, rows) {
                *failure.lock() = Some(error);
                self.control.cancel();
            }
        };
        let mut all = reading.all(&plans, || Best::new(keys, shown), found)?.into_iter();
        if let Some(error) = failure.into_inner() {
            return Err(error.into());
        }
        let mut best = all.next().unwrap_or_else(|| Best::new(keys, shown));
        all.for_each(|other| best.merge(other));
        self.outcome.truncated = asked > shown && best.dropped();
        if self.head(fields) {
            for record in best.into_records() {
                if !self.record(record, fields) {
                    break;
                }
            }
        }
        Ok(())
    }

    fn groups(&mut self, by: &[Key], columns: &[Aggregate]) -> Result<Groups, RunError> {
        let matcher = self.question.matcher(self.logs);
        self.logs.count_groups(&matcher, by, columns, self.control)
    }

    fn groups_of_newest(&mut self, by: &[Key], columns: &[Aggregate], count: u64) -> Result<Groups, RunError> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let mut search = self.logs.search_with(self.question.matcher(self.logs), count, Arc::clone(self.control))?;
        let mut groups = Groups::new(by, columns);
        while let Some(records) = search.step()? {
            let mut batch = LogBatch::default();
            for record in &records {
                batch.push_record(record);
            }
            batch.seq = records.iter().map(|record| record.seq.parse().unwrap_or_default()).collect();
            batch.pattern = records.iter().map(|record| record.pattern.parse().unwrap_or_default()).collect();
            groups.add(&batch, &super::bits::Bits::all(batch.len()))?;
        }
        Ok(groups)
    }

    fn table(&mut self, groups: Groups, plan: &Plan) -> Result<(), RunError> {
        let mut table = groups.into_table();
        if plan.only_present {
            let Source::Groups { by, .. } = &plan.source else { return Ok(()) };
            table.rows.retain(|row| row[..by.len()].iter().any(|cell| *cell != Cell::None));
        }
        if plan.with_share {
            add_share(&mut table);
        }
        for pipe in &plan.then {
            match pipe {
                Pipe::Sort(keys) => table.sort(keys),
                Pipe::Limit(count) => {
                    table.rows.truncate(usize::try_from(*count).unwrap_or(usize::MAX));
                    Ok(())
                }
                Pipe::Fields(fields) => table.select(fields),
                Pipe::Where(bounds) => table.keep(bounds),
                Pipe::Stats { .. } | Pipe::Top { .. } | Pipe::Uniq { .. } => Err(format!("`{pipe}` cannot stand here")),
            }
            .map_err(RunError::Asked)?;
        }
        if self.emit(Part::Columns(std::mem::take(&mut table.columns))) {
            self.outcome.truncated = table.rows.len() > self.question.limit;
            for row in table.rows.into_iter().take(self.question.limit) {
                if !self.emit(Part::Row(row)) {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// Adds a column that says which per cent of all records a row stands for.
fn add_share(table: &mut Table) {
    let count = |row: &Vec<Cell>| if let Some(Cell::Int(count)) = row.last() { *count } else { 0 };
    let total: i64 = table.rows.iter().map(count).sum();
    table.columns.push("percent".into());
    for row in &mut table.rows {
        let percent = (count(row) as f64 * 10_000.0 / total.max(1) as f64).round() / 100.0;
        row.push(Cell::number(percent));
    }
}

impl Cell {
    /// Returns field `field` of `record`.
    #[must_use]
    pub fn of_record(field: &Field, record: &LogRecord) -> Self {
        let text = |text: &str| if text.is_empty() { Self::None } else { Self::Text(text.to_owned()) };
        let id = |text: &str| text.parse().map_or(Self::None, Self::Id);
        let find = |attributes: &[(String, watchfire_types::Value)], name: &str| {
            attributes.iter().find(|(key, _)| key == name).map(|(_, value)| Self::from(value.as_ref()))
        };
        match field {
            Field::Body => Self::from(record.body.as_ref()),
            Field::Level => Self::level(Severity(record.severity_number).0),
            Field::SeverityText => text(&record.severity_text),
            Field::Service => find(&record.resource, watchfire_types::attributes::keys::SERVICE_NAME).unwrap_or(Self::None),
            Field::Pattern => id(&record.pattern),
            Field::Seq => id(&record.seq),
            Field::TraceId => text(&record.trace_id),
            Field::SpanId => text(&record.span_id),
            Field::Scope => text(&record.scope),
            Field::EventName => text(&record.event_name),
            Field::Timestamp => Self::Time(record.timestamp),
            Field::Attribute(name) => {
                let of_record = find(&record.attributes, name).or_else(|| find(&record.resource, name));
                let explicit = || match name.split_once('.')? {
                    ("attributes", rest) => find(&record.attributes, rest),
                    ("resource", rest) => find(&record.resource, rest),
                    _ => None,
                };
                of_record.or_else(explicit).unwrap_or(Self::None)
            }
        }
    }
}

impl Logs {
    /// Groups all records that `matcher` means, from the summaries of blocks where those tell it exactly.
    ///
    /// # Errors
    /// [`RunError`]
    pub(super) fn count_groups(
        &self,
        matcher: &Matcher,
        by: &[Key],
        columns: &[Aggregate],
        control: &Control,
    ) -> Result<Groups, RunError> {
        /// Summaries count by whole minutes.
        const MINUTE: u64 = 60_000_000_000;
        let (since, until) = matcher.time_range();
        let (first, last) =
            (since.div_ceil(MINUTE).saturating_mul(MINUTE), if until == u64::MAX { until } else { until / MINUTE * MINUTE });
        if !Groups::is_summarised(by, columns) || !matcher.node().is_summarised() || first >= last {
            return self.group(matcher, ALWAYS, by, columns, control);
        }
        let mut groups = Groups::new(by, columns);
        let mut is_full = false;
        self.summaries(Timestamp::from_nanos(first), Timestamp::from_nanos(last), &mut |row| {
            if !is_full && matcher.node().matches_summary(row) {
                groups.add_summary(row);
                is_full = groups.bytes() > MAX_GROUP_BYTES;
            }
        })?;
        if is_full {
            return Err(TooManyGroups.into());
        }
        // What is left of the minutes at both ends is read.
        for within in [(since, first), (last, until)] {
            if within.0 < within.1 {
                groups.merge(self.group(matcher, within, by, columns, control)?)?;
            }
        }
        Ok(groups)
    }
}

/// How long a query runs when nobody says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
