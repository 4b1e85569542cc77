//! Very many records of a source for a short time.

use super::{Answer, Baseline, LEAST_WINDOWS, Test, span, weeks_text};
use crate::found::Direction;
use crate::past::{Past, Reader};
use crate::settings::{Burst, Rate};
use crate::stats::Cusum;
use crate::window::{WINDOW_SECONDS, Window};

/// Evidence that is enough: a million to one.
const ENOUGH: f64 = 13.815_510_557_964_274;
/// Windows over which evidence is summed.
const WINDOWS: u64 = 3;
/// Days in which earlier spikes are looked for.
const SPIKE_DAYS: u64 = 28;
/// A burst stands out so many times as far as any spike of those days.
const OVER_SPIKES: f64 = 1.2;

/// Judges the count of `window` of a source that was first counted in window `first`.
///
/// Evidence is Page's cumulative sum of how much likelier a mean `min_ratio` times the usual makes the counts of the last windows.
/// A source that is bursty by nature must burst as never before.
///
/// # Errors
/// The past's.
pub fn judge<P: Past>(
    reader: &mut Reader<'_, P>,
    first: Window,
    window: Window,
    settings: &Burst,
    rate: &Rate,
) -> Result<Answer, P::Error> {
    let age = window.0.saturating_sub(first.0) * WINDOW_SECONDS;
    if age < rate.min_history.as_secs() {
        return Ok(Answer::NotEnoughHistory(format!("counted for {}, of {}", span(age), span(rate.min_history.as_secs()))));
    }
    let (sample, weeks) = reader.same_hour_of_week(window, 1)?;
    let recent = reader.recently(window, 1)?;
    if sample.windows < LEAST_WINDOWS || recent.windows < LEAST_WINDOWS {
        let windows = sample.windows.min(recent.windows);
        return Ok(Answer::NotEnoughHistory(format!("{windows} windows of this hour, of {LEAST_WINDOWS}")));
    }
    let actual = reader.count(window)?;
    let count = u64::from(actual);
    let seasonal = Baseline::of(&sample, weeks_text(weeks));
    let recently = Baseline::of(&recent, "this hour of the last 3 days, and the last 3 hours".to_owned());
    let baseline = if seasonal.distribution.mean() >= recently.distribution.mean() { seasonal } else { recently };
    let (usual, mean) = (baseline.distribution, baseline.distribution.mean());
    if count < settings.min_count || (count as f64) < mean * settings.min_ratio {
        return Ok(Answer::Tested(Test::usual(Direction::Up, actual)));
    }
    let raised = usual.scaled(settings.min_ratio);
    let mut evidence = Cusum::default();
    let mut sum = 0.0;
    for back in (0..WINDOWS).rev() {
        let count = u64::from(reader.count(window.back(back))?);
        sum = evidence.add(raised.ln_exactly(count) - usual.ln_exactly(count));
    }
    let p = usual.at_least(count);
    let passes = sum >= ENOUGH
        && p < rate.max_p
        && (count as f64 + 1.0) / (mean + 1.0) > OVER_SPIKES * reader.greatest_contrast(window, SPIKE_DAYS, 1)?;
    let method = format!("cumulative sum {sum:.1} of the evidence for {} times the usual, of {ENOUGH:.1}", settings.min_ratio);
    Ok(Answer::Tested(Test { p, passes, direction: Direction::Up, evidence: baseline.evidence(f64::from(actual), p, &method) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::past::{Left, Memory};
    use crate::settings::Settings;
    use crate::window::{DAY, Series, WEEK};

    const NOW: Window = Window(3_000 * DAY + 150);

    fn bursts(usual: impl Fn(u64) -> u32, actual: u32) -> bool {
        let series = Series::all(1);
        let mut memory = Memory::default();
        for window in NOW.0 - 2 * WEEK..NOW.0 {
            memory.add(series, Window(window), usual(window));
        }
        memory.add(series, NOW, actual);
        let (left, settings) = (Left::default(), Settings::default());
        let first = NOW.back(2 * WEEK);
        let mut reader = Reader::new(&memory, &left, series, first);
        match judge(&mut reader, first, NOW, &settings.burst, &settings.rate).unwrap() {
            Answer::Tested(test) => test.passes,
            Answer::NotEnoughHistory(why) => panic!("{why}"),
        }
    }

    #[test]
    fn ten_times_as_many_at_once_is_a_burst_and_three_times_is_not() {
        let steady = |window: u64| 50 + (window * 7_919 % 21) as u32;
        assert!(bursts(steady, 600));
        assert!(!bursts(steady, 180));
    }

    #[test]
    fn a_bursty_source_must_burst_as_never_before() {
        let bursty = |window: u64| if window.is_multiple_of(131) { 90 } else { 5 };
        assert!(!bursts(bursty, 90));
        assert!(bursts(bursty, 9_000));
    }
}
