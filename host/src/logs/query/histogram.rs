//! Counts over time, by level or by any field: what a chart above a search shows.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use watchfire_types::Timestamp;

use super::ast::{Aggregate, Function, Key};
use super::field::Field;
use super::run::{Question, RunError};
use super::scan::{Control, Stopped};
use super::table::Cell;
use crate::logs::Logs;

/// Series of one histogram; those with fewer records become one.
const MAX_SERIES: usize = 12;
/// Name of the series of all others.
const OTHERS: &str = "(others)";
/// Name of the series of records without the field.
const NONE: &str = "(none)";
/// Bars of one histogram at most.
pub const MAX_BARS: u64 = 2_000;

/// Lengths of a bar that people can read, in seconds.
const STEPS: [u64; 20] =
    [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800];

/// How wide the bars are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// So wide.
    Step(Duration),
    /// So that there are about as many.
    Bars(u64),
}

/// Counts over time. Every record that the query means within the range is in one of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Histogram {
    /// Where the first bar begins.
    pub since: Timestamp,
    /// Where the last bar ends.
    pub until: Timestamp,
    /// Length of a bar, in seconds.
    pub step_seconds: f64,
    /// Records in all.
    pub total: u64,
    /// One for each level or value, the most frequent first.
    pub series: Vec<Series>,
    /// Why it is not whole, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partial: Option<Stopped>,
}

/// Counts of one value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Series {
    /// The value; `(none)` for records without one, `(others)` for all that have no series of their own.
    pub name: String,
    /// Records of it.
    pub total: u64,
    /// Records in each bar.
    pub counts: Vec<u64>,
}

impl Logs {
    /// Counts what `question` means over time. Blocks on disk.
    ///
    /// # Errors
    /// [`RunError`]
    pub fn histogram(
        &self,
        question: &Question,
        width: Width,
        by: Option<&Field>,
        control: &Control,
    ) -> Result<Histogram, RunError> {
        let matcher = question.matcher(self);
        let nothing =
            Histogram { since: question.now, until: question.now, step_seconds: 60.0, total: 0, series: Vec::new(), partial: None };
        let Some((first, last)) = self.time_range()? else { return Ok(nothing) };
        let (since, until) = matcher.time_range();
        // Bars before the first record and after the last would only be empty, unless the range was asked for.
        let start = if since == 0 { first.as_nanos() } else { since };
        let end = if until == u64::MAX { last.as_nanos().saturating_add(1).max(start) } else { until };
        if start >= end {
            return Ok(nothing);
        }
        let step = step(width, end - start)?;
        let mut keys = vec![Key::Time(Duration::from_nanos(step))];
        keys.extend(by.cloned().map(Key::Field));
        let count = Aggregate { function: Function::Count, field: None, name: None };
        let table = self.count_groups(&matcher, &keys, &[count], control)?.into_table();
        let begin = start / step * step;
        let bars = usize::try_from((end - begin).div_ceil(step)).unwrap_or(usize::MAX);
        let counted = table.rows.iter().filter_map(|row| {
            let (Some(Cell::Time(time)), Some(Cell::Int(count))) = (row.first(), row.last()) else { return None };
            let name = match row.get(1).filter(|_| by.is_some()) {
                Some(Cell::None) => NONE.to_owned(),
                Some(cell) => cell.display(),
                None => "count".to_owned(),
            };
            Some((name, time.as_nanos().saturating_sub(begin) / step, *count as u64))
        });
        let mut series = the_largest(counted.clone().map(|(name, _, count)| (name, count)), bars);
        let place: BTreeMap<String, usize> =
            series.iter().enumerate().map(|(index, series)| (series.name.clone(), index)).collect();
        for (name, bar, count) in counted {
            let of_name = place.get(&name).or_else(|| place.get(OTHERS)).and_then(|index| series.get_mut(*index));
            if let Some(slot) = of_name.and_then(|series| series.counts.get_mut(bar as usize)) {
                *slot += count;
            }
        }
        Ok(Histogram {
            since: Timestamp::from_nanos(begin),
            until: Timestamp::from_nanos(begin + step * bars as u64),
            step_seconds: step as f64 / 1e9,
            total: series.iter().map(|series| series.total).sum(),
            series,
            partial: control.stopped(),
        })
    }
}

/// Returns the length of a bar in nanoseconds.
fn step(width: Width, range: u64) -> Result<u64, RunError> {
    let step = match width {
        Width::Step(step) => u64::try_from(step.as_nanos()).unwrap_or(u64::MAX).max(1_000_000),
        Width::Bars(bars) => {
            let least = range / bars.max(1);
            let nanos = |seconds: &u64| seconds * 1_000_000_000;
            STEPS.iter().map(nanos).find(|step| *step >= least).unwrap_or(least)
        }
    };
    if range / step > MAX_BARS {
        return Err(RunError::Asked(format!(
            "`step`: this range has more than {MAX_BARS} steps of {}: ask for longer ones, or for a shorter range",
            crate::config::HumanDuration(Duration::from_nanos(step))
        )));
    }
    Ok(step)
}

/// Returns empty series for the most frequent names, and one for all others if there are more.
fn the_largest(counted: impl Iterator<Item = (String, u64)>, bars: usize) -> Vec<Series> {
    let mut totals: BTreeMap<String, u64> = BTreeMap::new();
    counted.for_each(|(name, count)| *totals.entry(name).or_default() += count);
    let mut totals: Vec<(String, u64)> = totals.into_iter().collect();
    totals.sort_by(|left, right| right.1.cmp(&left.1).then_with(|| left.0.cmp(&right.0)));
    if totals.len() > MAX_SERIES {
        let others = totals.drain(MAX_SERIES - 1..).map(|(_, count)| count).sum();
        totals.push((OTHERS.into(), others));
    }
    totals.into_iter().map(|(name, total)| Series { name, total, counts: vec![0; bars] }).collect()
}
