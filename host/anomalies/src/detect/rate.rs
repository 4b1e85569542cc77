//! More or less than usual at this hour of the week: a quarter of an hour at a time, of which two thirds must be so.

use super::{Answer, Baseline, LEAST_WINDOWS, Test, span, weeks_text};
use crate::found::Direction;
use crate::past::{Past, Reader};
use crate::settings::Rate;
use crate::window::{WINDOW_SECONDS, Window};

/// Days in which is looked for how far it stood out of its surroundings at most: what is restless by nature must be so as never before.
const CONTRAST_DAYS: u64 = 28;
/// By this factor.
const OVER_CONTRAST: f64 = 1.2;
/// Windows that are judged together: counts of fifteen minutes scatter less than those of five.
pub const TOGETHER: u64 = 3;

/// Judges the count of `window` and the two before it, of something first counted in window `first`.
///
/// The count must be unlikely both at this hour of the week and at the level of the last days: a season is no anomaly, and what
/// has been so for days is the new usual.
///
/// # Errors
/// The past's.
pub fn judge<P: Past>(reader: &mut Reader<'_, P>, first: Window, window: Window, settings: &Rate) -> Result<Answer, P::Error> {
    let age = window.0.saturating_sub(first.0) * WINDOW_SECONDS;
    let least = settings.min_history.as_secs();
    if age < least {
        return Ok(Answer::NotEnoughHistory(format!("counted for {}, of {}", span(age), span(least))));
    }
    let mut baselines = Vec::new();
    let (sample, weeks) = reader.same_hour_of_week(window, TOGETHER)?;
    if sample.windows >= LEAST_WINDOWS {
        baselines.push(Baseline::of(&sample, weeks_text(weeks)));
    } else if least >= 7 * 86_400 {
        return Ok(Answer::NotEnoughHistory(format!("{} windows of this hour of the week, of {LEAST_WINDOWS}", sample.windows)));
    }
    let recent = reader.recently(window, TOGETHER)?;
    if recent.windows >= LEAST_WINDOWS {
        baselines.push(Baseline::of(&recent, "this hour of the last 3 days, and the last 3 hours".to_owned()));
    }
    if baselines.is_empty() {
        return Ok(Answer::NotEnoughHistory(format!("{} windows, of {LEAST_WINDOWS}", sample.windows)));
    }
    let mut counts = [0; TOGETHER as usize];
    for (back, count) in (0..TOGETHER).zip(&mut counts) {
        *count = reader.count(window.back(back))?;
    }
    let actual = counts.iter().fold(0_u32, |sum, count| sum.saturating_add(*count));
    let count = u64::from(actual);
    let means = baselines.iter().map(|baseline| baseline.distribution.mean());
    let highest = means.clone().fold(0.0, f64::max);
    let lowest = means.fold(f64::MAX, f64::min);
    let direction = if count >= settings.min_count && count as f64 >= highest * settings.min_ratio {
        Direction::Up
    } else if lowest >= settings.min_count as f64 && count as f64 * settings.min_ratio <= lowest {
        Direction::Down
    } else {
        // Nearly always: then nobody needs to know how far exactly.
        return Ok(Answer::Tested(Test::usual(Direction::Up, actual)));
    };
    // Two of three: the one that is furthest out counts no more than the next.
    counts.sort_unstable();
    let [least, middle, most] = counts;
    let count = match direction {
        Direction::Up => u64::from(least) + 2 * u64::from(middle),
        Direction::Down => 2 * u64::from(middle) + u64::from(most),
    };
    let unlikely = |baseline: &Baseline| match direction {
        Direction::Up => baseline.distribution.at_least(count),
        Direction::Down => baseline.distribution.at_most(count),
    };
    // The one that finds it least surprising has the word.
    let judged = baselines.iter().map(|baseline| (unlikely(baseline), baseline)).max_by(|a, b| a.0.total_cmp(&b.0));
    let Some((p, baseline)) = judged.filter(|(p, _)| *p < settings.max_p) else {
        return Ok(Answer::Tested(Test::usual(direction, actual)));
    };
    let mut passes = true;
    let mut method = format!("{} tail, mean {:.1}", baseline.distribution.name(), baseline.distribution.mean());
    if direction == Direction::Up {
        let stands_out = (f64::from(actual) + 1.0) / (highest + 1.0);
        let known = reader.greatest_contrast(window, CONTRAST_DAYS, TOGETHER)?;
        passes = stands_out > known * OVER_CONTRAST;
        method = format!("{method}; {stands_out:.1} times its surroundings, in {CONTRAST_DAYS} days at most {known:.1}");
    }
    let mut evidence = baseline.evidence(f64::from(actual), p, &method);
    "records in 15 minutes".clone_into(&mut evidence.unit);
    Ok(Answer::Tested(Test { p, passes, direction, evidence }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::past::{Left, Memory};
    use crate::settings::Settings;
    use crate::window::{DAY, Key, Series, WEEK};

    const SERIES: Series = Series { source: 1, key: Key(7) };
    const NOW: Window = Window(3_000 * DAY + 150);

    /// Three weeks of `usual(window)`, and `actual` now.
    fn judged(usual: impl Fn(u64) -> u32, actual: u32, age: u64) -> Answer {
        let mut memory = Memory::default();
        for window in NOW.0 - age..=NOW.0 - TOGETHER {
            memory.add(SERIES, Window(window), usual(window));
        }
        for back in 0..TOGETHER {
            memory.add(SERIES, NOW.back(back), actual);
        }
        let left = Left::default();
        let mut reader = Reader::new(&memory, &left, SERIES, NOW.back(age));
        judge(&mut reader, NOW.back(age), NOW, &Settings::default().rate).unwrap()
    }

    fn passes(answer: &Answer) -> Option<Direction> {
        match answer {
            Answer::Tested(test) => test.passes.then_some(test.direction),
            Answer::NotEnoughHistory(_) => None,
        }
    }

    /// A hundred, give or take twenty.
    fn steady(window: u64) -> u32 {
        100 + (window * 7_919 % 41) as u32 - 20
    }

    #[test]
    fn three_times_as_many_is_unusual_and_twice_as_many_is_not() {
        let up = judged(steady, 340, 3 * WEEK);
        assert_eq!(passes(&up), Some(Direction::Up));
        let Answer::Tested(test) = up else { panic!("{up:?}") };
        let expected = test.evidence.expected.unwrap();
        assert!((297.0..306.0).contains(&expected.mean) && expected.low > 220.0 && expected.high < 390.0, "{test:?}");
        assert_eq!((test.evidence.samples, test.evidence.actual as u64), (61, 1_020));
        assert_eq!(test.evidence.history, "the same hour of the last 3 weeks", "it finds it less surprising");
        assert_eq!(passes(&judged(steady, 200, 3 * WEEK)), None);
        assert_eq!(passes(&judged(steady, 20, 3 * WEEK)), Some(Direction::Down));
    }

    #[test]
    fn a_season_is_no_anomaly() {
        let is_peak = |window: u64| window % WEEK / 30 == NOW.0 % WEEK / 30;
        assert_eq!(passes(&judged(|window| if is_peak(window) { 900 } else { 30 }, 900, 3 * WEEK)), None);
    }

    #[test]
    fn what_has_been_so_for_days_is_usual() {
        assert_eq!(passes(&judged(|window| if window + 2 * DAY > NOW.0 { 900 } else { 100 }, 900, 3 * WEEK)), None);
    }

    #[test]
    fn a_young_pattern_is_not_judged() {
        let young = judged(steady, 900, 5 * DAY);
        assert_eq!(young, Answer::NotEnoughHistory("counted for 5.0 days, of 7.0 days".into()));
    }

    #[test]
    fn a_job_that_runs_at_odd_times_is_usual() {
        let job = |window: u64| if window % 277 < TOGETHER { 500 } else { 0 };
        assert_eq!(passes(&judged(job, 590, 3 * WEEK)), None);
        assert_eq!(passes(&judged(job, 60_000, 3 * WEEK)), Some(Direction::Up));
    }
}
