//! A greater share of errors than usual.

use super::{Answer, LEAST_WINDOWS, Test, span};
use crate::found::{Direction, Evidence, Expected};
use crate::past::{Past, Reader};
use crate::settings::{ErrorRatio, Rate};
use crate::stats::{binomial_at_least, quantile, wilson};
use crate::window::{DAY, WINDOW_SECONDS, Window};

/// Windows whose records are taken together.
const TOGETHER: usize = 3;
/// Days that the usual share is taken from.
const DAYS: u64 = 7;
/// Standard deviations of the intervals: what was seen is given little, what is usual is given much.
const Z_ACTUAL: f64 = 4.9;
const Z_USUAL: f64 = 2.0;
/// Quarters of an hour beyond this quantile do not tell what is usual.
const QUANTILE: f64 = 0.99;

/// Judges the share of errors of a source in the quarter of an hour that ends with `window`: `errors` and `all` read its counts.
///
/// # Errors
/// The past's.
pub fn judge<P: Past>(
    errors: &mut Reader<'_, P>,
    all: &mut Reader<'_, P>,
    first: Window,
    window: Window,
    settings: &ErrorRatio,
    rate: &Rate,
) -> Result<Answer, P::Error> {
    let (mut hits, mut tries) = (0_u64, 0_u64);
    for back in 0..TOGETHER as u64 {
        hits += u64::from(errors.count(window.back(back))?);
        tries += u64::from(all.count(window.back(back))?);
    }
    let mut test = Test {
        p: 1.0,
        passes: false,
        direction: Direction::Up,
        evidence: Evidence { actual: hits as f64 / tries.max(1) as f64, unit: "share of errors".to_owned(), ..Evidence::default() },
    };
    if hits < settings.min_count || tries < settings.min_total {
        return Ok(Answer::Tested(test));
    }
    let age = window.0.saturating_sub(first.0);
    let least = rate.min_history.as_secs().min(DAYS * DAY * WINDOW_SECONDS) / WINDOW_SECONDS;
    if age < least {
        let (age, least) = (span(age * WINDOW_SECONDS), span(least * WINDOW_SECONDS));
        return Ok(Answer::NotEnoughHistory(format!("counted for {age}, of {least}")));
    }
    let (of_errors, of_all) = (errors.lately(window, DAYS)?, all.lately(window, DAYS)?);
    // Each quarter of an hour has a say: shares move together within one, and a hundred errors at once are one event.
    let quarter = |(errors, all): (&[Option<u32>], &[Option<u32>])| {
        let sum = |part: &[Option<u32>]| part.iter().flatten().map(|count| u64::from(*count)).sum::<u64>();
        (sum(errors), sum(all))
    };
    let quarters = of_errors.chunks(TOGETHER).zip(of_all.chunks(TOGETHER)).map(quarter);
    let quarters: Vec<(u64, u64)> = quarters.filter(|(_, all)| *all * 2 >= settings.min_total).collect();
    if quarters.len() < LEAST_WINDOWS as usize {
        let why = format!("{} quarters of an hour with enough records, of {LEAST_WINDOWS}", quarters.len());
        return Ok(Answer::NotEnoughHistory(why));
    }
    let usual = quarters.iter().fold((0, 0), |sum, quarter| (sum.0 + quarter.0, sum.1 + quarter.1));
    let (_, usual_high) = wilson(usual.0, usual.1, Z_USUAL);
    let shares: Vec<f64> = quarters.iter().map(|(errors, all)| *errors as f64 / *all as f64).collect();
    let high = quantile(&shares, QUANTILE).unwrap_or(1.0).max(usual_high);
    let (actual_low, _) = wilson(hits, tries, Z_ACTUAL);
    test.p = binomial_at_least(hits, tries, high);
    test.passes = test.p < rate.max_p && actual_low > usual_high * settings.min_ratio && actual_low > high;
    test.evidence.p = Some(test.p);
    test.evidence.samples = quarters.len() as u32;
    "quarters of an hour of the last 7 days".clone_into(&mut test.evidence.history);
    test.evidence.expected =
        Some(Expected { mean: usual.0 as f64 / usual.1.max(1) as f64, low: quantile(&shares, 0.005).unwrap_or(0.0), high });
    test.evidence.method = format!(
        "Wilson's interval: {hits} errors of {tries} records are at least {:.1} %, usual are at most {:.1} %",
        actual_low * 100.0,
        usual_high * 100.0
    );
    Ok(Answer::Tested(test))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::past::{Left, Memory};
    use crate::settings::Settings;
    use crate::window::{Key, Series, WEEK};

    const NOW: Window = Window(3_000 * DAY + 150);

    fn passes(usual: impl Fn(u64) -> (u32, u32), actual: (u32, u32)) -> bool {
        let (all, errors) = (Series::all(1), Series { source: 1, key: Key::ERRORS });
        let mut memory = Memory::default();
        let mut add = |window: Window, counts: (u32, u32)| {
            memory.add(errors, window, counts.0);
            memory.add(all, window, counts.1);
        };
        (NOW.0 - 2 * WEEK..NOW.0 - 2).for_each(|window| add(Window(window), usual(window)));
        (NOW.0 - 2..=NOW.0).for_each(|window| add(Window(window), actual));
        let (left, settings) = (Left::default(), Settings::default());
        let first = NOW.back(2 * WEEK);
        let mut of_errors = Reader::new(&memory, &left, errors, first);
        let mut of_all = Reader::new(&memory, &left, all, first);
        match judge(&mut of_errors, &mut of_all, first, NOW, &settings.error_ratio, &settings.rate).unwrap() {
            Answer::Tested(test) => test.passes,
            Answer::NotEnoughHistory(why) => panic!("{why}"),
        }
    }

    #[test]
    fn a_tenth_of_errors_instead_of_a_hundredth_is_unusual() {
        assert!(passes(|_| (1, 100), (12, 100)));
        assert!(!passes(|_| (1, 100), (2, 100)));
        assert!(!passes(|_| (1, 100), (2, 4)), "too few to tell");
    }

    #[test]
    fn a_source_whose_errors_come_in_lots_is_usual() {
        assert!(!passes(|window| if window.is_multiple_of(90) { (60, 120) } else { (0, 100) }, (20, 100)));
    }
}
