//! A source that stopped.

use super::{Answer, LEAST_WINDOWS, Test, span, weeks_text};
use crate::found::{Direction, Evidence, Expected};
use crate::past::{Past, Reader, Sample};
use crate::settings::Silence;
use crate::stats::{median, quantile};
use crate::window::{DAY, HOUR, WEEK, WINDOW_SECONDS, Window};

/// Windows of a gap whose improbability is counted: after half a day it is beyond doubt, or will never be.
const COUNTED: u64 = 12 * HOUR;
/// Greatest probability by chance.
const MAX_P: f64 = 1e-6;
/// Days in which gaps are looked for.
const GAP_DAYS: u64 = 28;
/// Of the longest gaps at this hour of other weeks, this quantile is the longest usual one.
const GAP_QUANTILE: f64 = 0.8;
/// A source is watched for so long, at least.
const LEAST_AGE: u64 = DAY;

/// Judges the gap from window `last`, the last one with a record, to `window`, of a source first counted in window `first`.
///
/// # Errors
/// The past's.
pub fn judge<P: Past>(
    reader: &mut Reader<'_, P>,
    first: Window,
    last: Window,
    window: Window,
    settings: &Silence,
) -> Result<Answer, P::Error> {
    let age = window.0.saturating_sub(first.0);
    if age < LEAST_AGE {
        let (age, least) = (span(age * WINDOW_SECONDS), span(LEAST_AGE * WINDOW_SECONDS));
        return Ok(Answer::NotEnoughHistory(format!("counted for {age}, of {least}")));
    }
    let gap = window.0.saturating_sub(last.0);
    let usual = |longest: f64| Expected { mean: 0.0, low: 0.0, high: longest * WINDOW_SECONDS as f64 / 60.0 };
    let mut test = Test {
        p: 1.0,
        passes: false,
        direction: Direction::Down,
        evidence: Evidence {
            actual: (gap * WINDOW_SECONDS) as f64 / 60.0,
            unit: "minutes without a record".to_owned(),
            ..Evidence::default()
        },
    };
    if gap * WINDOW_SECONDS < settings.min_gap.as_secs() {
        return Ok(Answer::Tested(test));
    }
    // What is usual is what was before it stopped.
    let before = last.back(1);
    let lately = reader.lately(Window(before.0 + 2 * HOUR), GAP_DAYS)?;
    let per_day = median(&daily(&lately)).unwrap_or(0.0);
    if per_day < settings.min_per_day as f64 {
        return Ok(Answer::NotEnoughHistory(format!("{per_day:.0} records a day, of {}", settings.min_per_day)));
    }
    let (mut ln_p, mut windows, mut weeks) = (0.0, 0, 0);
    for silent in (last.0 + 1..=window.0).take(COUNTED as usize) {
        let (sample, of_weeks) = reader.same_hour_of_week(Window(silent), 1)?;
        if sample.windows < LEAST_WINDOWS {
            weeks = 0;
            break;
        }
        ln_p += nothing(&sample).ln();
        (windows, weeks) = (sample.windows, of_weeks);
    }
    let longest = if weeks > 0 {
        test.evidence.history = weeks_text(weeks);
        longest_usual(&lately, before, window)
    } else {
        // No whole week yet: only of what never pauses is it known that it should not.
        let Some(longest) = without_pause(&lately) else {
            let why = "it pauses at times, and no week of it is known yet";
            return Ok(Answer::NotEnoughHistory(why.to_owned()));
        };
        let mut sample = Sample::default();
        lately.iter().flatten().for_each(|count| sample.add(*count));
        ln_p = nothing(&sample).ln() * gap.min(COUNTED) as f64;
        windows = sample.windows;
        test.evidence.history = format!("the last {}", span(u64::from(windows) * WINDOW_SECONDS));
        longest
    };
    test.p = ln_p.exp();
    test.passes = test.p < MAX_P && gap as f64 > settings.factor * longest.max(1.0);
    test.evidence.p = Some(test.p);
    test.evidence.samples = windows;
    test.evidence.expected = Some(usual(longest));
    test.evidence.method = format!(
        "longer than {} times the longest usual gap at this hour ({:.0} minutes), and improbable at {per_day:.0} records a day",
        settings.factor,
        longest * WINDOW_SECONDS as f64 / 60.0
    );
    Ok(Answer::Tested(test))
}

/// Returns the probability of a window without a record: as the distribution says, or as often as it was so, whichever is more.
fn nothing(sample: &Sample) -> f64 {
    let empty = f64::from(sample.windows - sample.filled) + 0.5;
    (empty / (f64::from(sample.windows) + 1.0)).max(sample.predicts().at_most(0)).clamp(1e-12, 1.0)
}

/// Returns the records of each whole day, the newest first.
fn daily(lately: &[Option<u32>]) -> Vec<f64> {
    let known = |day: &&[Option<u32>]| day.iter().flatten().count() * 2 > day.len();
    let total = |day: &[Option<u32>]| {
        let counted = day.iter().flatten().count() as f64;
        day.iter().flatten().map(|count| f64::from(*count)).sum::<f64>() * DAY as f64 / counted
    };
    lately.rchunks(DAY as usize).filter(|day| day.len() == DAY as usize).filter(known).map(total).collect()
}

/// Returns for each window how many without a record end with it; one that says nothing begins anew.
fn runs(lately: &[Option<u32>]) -> Vec<u32> {
    let mut run = 0;
    let step = |count: &Option<u32>| {
        run = if *count == Some(0) { run + 1 } else { 0 };
        run
    };
    lately.iter().map(step).collect()
}

/// Returns the longest gap, in windows, that is usual at the hour of `window`: of each such hour of the last weeks the
/// longest, and of those an upper quantile. `lately` ends before window `end`.
fn longest_usual(lately: &[Option<u32>], end: Window, window: Window) -> f64 {
    let runs = runs(lately);
    let start = end.0.saturating_sub(lately.len() as u64);
    let at_hour = |center: u64| {
        let place = |window: u64| (window.saturating_sub(start) as usize).min(runs.len());
        let hour = &runs[place(center.saturating_sub(HOUR))..place(center + HOUR + 1)];
        hour.iter().max().map(|run| f64::from(*run))
    };
    let weeks = (1..=4).map(|week| window.0.saturating_sub(week * WEEK));
    let longest: Vec<f64> = weeks.filter(|center| *center >= start).filter_map(at_hour).collect();
    quantile(&longest, GAP_QUANTILE).unwrap_or(0.0)
}

/// Returns the longest gap of a source that had a record in each hour; `None` if there is an hour without.
fn without_pause(lately: &[Option<u32>]) -> Option<f64> {
    let longest = runs(lately).into_iter().max().unwrap_or(0);
    (u64::from(longest) < HOUR).then_some(f64::from(longest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::past::{Left, Memory};
    use crate::settings::Settings;
    use crate::window::Series;

    /// Monday at noon.
    const NOON: u64 = 2_989 * WEEK + 4 * DAY + 144;

    /// `weeks` of `usual(window)` until the source stops `gap` windows before `now`; whether that is silence.
    fn silent(usual: impl Fn(u64) -> u32, age: u64, now: u64, gap: u64) -> Result<bool, String> {
        let series = Series::all(1);
        let mut memory = Memory::default();
        (now - age..=now - gap).for_each(|window| memory.add(series, Window(window), usual(window)));
        let last = (now - age..=now - gap).rev().find(|window| usual(*window) > 0).unwrap();
        let (left, first) = (Left::default(), Window(now - age));
        let mut reader = Reader::new(&memory, &left, series, first);
        match judge(&mut reader, first, Window(last), Window(now), &Settings::default().silence).unwrap() {
            Answer::Tested(test) => Ok(test.passes),
            Answer::NotEnoughHistory(why) => Err(why),
        }
    }

    fn office(window: u64) -> u32 {
        let (day, hour) = ((window / DAY + 3) % 7, window % DAY / HOUR);
        if day < 5 && (8..18).contains(&hour) { 20 } else { 0 }
    }

    #[test]
    fn a_source_that_never_pauses_is_missed_within_minutes() {
        let steady = |_: u64| 10;
        assert_eq!(silent(steady, 3 * WEEK, NOON, 4), Ok(true));
        assert_eq!(silent(steady, 3 * WEEK, NOON, 2), Ok(false));
        assert_eq!(silent(steady, 2 * DAY, NOON, 4), Ok(true), "also before a week is over");
    }

    #[test]
    fn nights_and_weekends_are_no_silence() {
        let midnight = NOON + DAY / 2;
        assert_eq!(silent(office, 3 * WEEK, midnight, 1), Ok(false));
        assert_eq!(silent(office, 3 * WEEK, NOON + 5 * DAY, 1), Ok(false), "Saturday");
        assert_eq!(silent(office, 3 * WEEK, NOON, 12), Ok(true), "an hour on Monday at noon");
        assert!(silent(office, 4 * DAY, midnight, 1).is_err(), "no week is known yet");
    }

    #[test]
    fn a_source_that_says_little_cannot_fall_silent() {
        let rare = |window: u64| u32::from(window.is_multiple_of(48));
        assert!(silent(rare, 3 * WEEK, NOON, 96).unwrap_err().contains("6 records a day"));
    }

    #[test]
    fn a_source_that_speaks_every_half_hour_has_long_gaps() {
        let seldom = |window: u64| if window.is_multiple_of(6) { 40 } else { 0 };
        assert_eq!(silent(seldom, 3 * WEEK, NOON, 9), Ok(false));
        assert_eq!(silent(seldom, 3 * WEEK, NOON, 120), Ok(true));
    }
}
