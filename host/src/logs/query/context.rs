//! What was logged around a record: its neighbours in time, of the same service, host or file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use watchfire_types::LogRecord;

use super::ast::{Expr, Moment, Test};
use super::bits::Bits;
use super::field::Field;
use super::node::Meaning;
use super::run::RunError;
use super::scan::{ALWAYS, Control, Reading};
use crate::logs::Logs;
use crate::logs::block::Wants;
use crate::logs::files::BlockPlan;
use crate::logs::matcher::Matcher;
use crate::store::StoreError;

/// Neighbours on one side at most.
pub const MAX_NEIGHBOURS: usize = 1_000;

/// Which records are neighbours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Same {
    /// Those of the same service.
    #[default]
    Service,
    /// Those of the same host.
    Host,
    /// Those of the same file.
    File,
    /// All.
    All,
}

/// A record and its neighbours.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Context {
    /// Oldest first, the record itself among them.
    pub records: Vec<LogRecord>,
    /// Where in `records` it is.
    pub at: usize,
}

impl Logs {
    /// Returns the record at `seq`, if it is stored. Blocks on disk.
    ///
    /// # Errors
    /// [`StoreError`] when a file cannot be read.
    pub fn record(&self, seq: u64) -> Result<Option<LogRecord>, StoreError> {
        let at = Expr::Field { field: Field::Seq, test: Test::Is(seq.to_string()) };
        let utc = jiff::tz::TimeZone::UTC;
        let meaning = Meaning { now: watchfire_types::Timestamp::MAX, zone: &utc, patterns: &|id| vec![id] };
        let matcher = Matcher::of(&at, &meaning);
        let control = Control::new(None);
        let reading = Reading {
            matcher: &matcher,
            within: ALWAYS,
            wants: &Wants::ALL,
            claims: None,
            control: &control,
            damaged: &self.0.damaged,
        };
        for plan in self.0.files.plan(&matcher)? {
            let mut found = None;
            reading.read(&plan, |batch, rows| found = rows.iter().next().map(|row| batch.record(row)))?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Returns the record at `seq` with the `before` records before it in time and the `after` ones behind. Blocks on disk.
    ///
    /// # Errors
    /// [`RunError`]
    pub fn context(
        &self,
        seq: u64,
        before: usize,
        after: usize,
        same: Same,
        control: &Control,
    ) -> Result<Option<Context>, RunError> {
        let Some(record) = self.record(seq)? else { return Ok(None) };
        let kin = kin(&record, same)?;
        let mut records = self.neighbours(&record, seq, &kin, Side::Before(before), control)?;
        let at = records.len();
        let behind = self.neighbours(&record, seq, &kin, Side::After(after), control)?;
        records.push(record);
        records.extend(behind);
        Ok(Some(Context { records, at }))
    }

    /// Returns the nearest neighbours on one side, oldest first.
    fn neighbours(
        &self,
        record: &LogRecord,
        seq: u64,
        kin: &Expr,
        side: Side,
        control: &Control,
    ) -> Result<Vec<LogRecord>, RunError> {
        let time = record.timestamp;
        // Records of the same moment are told apart by `seq`.
        let (range, most) = match side {
            Side::Before(most) => {
                (Expr::Until(Moment::At(watchfire_types::Timestamp::from_nanos(time.as_nanos().saturating_add(1)))), most)
            }
            Side::After(most) => (Expr::Since(Moment::At(time)), most),
        };
        let utc = jiff::tz::TimeZone::UTC;
        let meaning = Meaning { now: watchfire_types::Timestamp::MAX, zone: &utc, patterns: &|id| vec![id] };
        let matcher = Matcher::of(&Expr::and(vec![kin.clone(), range]), &meaning);
        let reading =
            Reading { matcher: &matcher, within: ALWAYS, wants: &Wants::ALL, claims: None, control, damaged: &self.0.damaged };
        let mut plans = self.0.files.plan(&matcher)?;
        plans.sort_by_key(|plan| side.distance_of(plan));
        let own = (time.as_nanos(), seq);
        let mut nearest: BTreeMap<(u64, u64), LogRecord> = BTreeMap::new();
        for plan in plans {
            let is_full = nearest.len() >= most;
            let farthest = if side.is_before() { nearest.first_key_value() } else { nearest.last_key_value() };
            if most == 0 || control.is_over() || is_full && farthest.is_some_and(|((time, _), _)| side.is_beyond(&plan, *time)) {
                break;
            }
            reading.read(&plan, |batch, rows| {
                let mut places: Vec<(u64, u64, usize)> = Bits::iter(rows)
                    .map(|row| (batch.time[row], batch.seq[row], row))
                    .filter(|(time, seq, _)| if side.is_before() { (*time, *seq) < own } else { (*time, *seq) > own })
                    .collect();
                places.sort_unstable();
                if side.is_before() {
                    places.reverse();
                }
                for (time, seq, row) in places.into_iter().take(most) {
                    nearest.entry((time, seq)).or_insert_with(|| batch.record(row));
                }
                while nearest.len() > most {
                    let _ = if side.is_before() { nearest.pop_first() } else { nearest.pop_last() };
                }
            })?;
        }
        Ok(nearest.into_values().collect())
    }
}

/// Which neighbours are looked for.
#[derive(Clone, Copy, Debug)]
enum Side {
    Before(usize),
    After(usize),
}

impl Side {
    fn is_before(self) -> bool {
        matches!(self, Self::Before(_))
    }

    /// The nearer a block can be, the earlier it is read.
    fn distance_of(self, plan: &BlockPlan) -> u64 {
        if self.is_before() { u64::MAX - plan.max_time } else { plan.min_time }
    }

    /// Returns whether nothing of `plan` is nearer than `farthest`.
    fn is_beyond(self, plan: &BlockPlan, farthest: u64) -> bool {
        if self.is_before() { plan.max_time < farthest } else { plan.min_time > farthest }
    }
}

/// Returns what neighbours of `record` have in common with it.
fn kin(record: &LogRecord, same: Same) -> Result<Expr, RunError> {
    let (field, what) = match same {
        Same::All => return Ok(Expr::All),
        Same::Service => (Field::Service, "service"),
        Same::Host => (Field::Attribute("host.name".into()), "host"),
        Same::File => (Field::Attribute("log.file.path".into()), "file"),
    };
    let value = super::table::Cell::of_record(&field, record).display();
    if value.is_empty() && same != Same::Service {
        return Err(RunError::Asked(format!("`same`: the record has no {what}: it has no `{}`", field.name())));
    }
    Ok(Expr::Field { field, test: Test::Is(value) })
}
