//! How a metric goes: level against the days before, slope, when a disk is full.

use std::collections::BTreeMap;
use std::time::Duration;

use watchfire_anomalies::stats::{mad, median, theil_sen};
use watchfire_types::Timestamp;

use crate::types::{FullIn, MetricTrend, OddHour, Point};

const HOUR: u64 = 3_600;
const DAY: f64 = 86_400.0;
/// Robust deviations from which on an hour is odd, if more than this many of five are.
const ODD_Z: f64 = 6.0;
const ODD_OF_FIVE: usize = 3;
/// Days at this hour that an hour is compared with, at least.
const LEAST_DAYS: usize = 3;
/// A deviation is never less than this share of the usual value.
const LEAST_DEVIATION: f64 = 0.01;
/// Hours that a slope is taken from, at least.
const LEAST_HOURS: usize = 12;
/// A change in a day of less than this share of the level is no trend, however sure.
const LEAST_CHANGE: f64 = 0.002;
/// What is full later than that nobody need know.
const FAR_DAYS: f64 = 90.0;

/// What is known of a metric before its trend.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// What tells it from others of that name.
    pub what: String,
    /// `%`, `By/s`, or empty.
    pub unit: String,
    /// Whether it is full at 100 %.
    pub fills: bool,
    /// Samples, the days before included.
    pub samples: Vec<Point>,
}

/// Returns how `series` went from `since` to `until`; `None` if it has no sample there.
#[must_use]
pub fn trend(series: Series, since: Timestamp, until: Timestamp) -> Option<MetricTrend> {
    let within: Vec<f64> =
        series.samples.iter().filter(|point| (since..until).contains(&point.at)).map(|point| point.value).collect();
    let last = *within.last()?;
    let mean = within.iter().sum::<f64>() / within.len() as f64;
    let max = within.iter().copied().fold(f64::MIN, f64::max);
    let hourly = hourly(&series.samples, until);
    let before: Vec<f64> =
        hourly.iter().filter(|point| point.at.plus(Duration::from_secs(HOUR)) <= since).map(|point| point.value).collect();
    let points: Vec<(f64, f64)> =
        hourly.iter().map(|point| ((point.at.as_seconds_f64() - until.as_seconds_f64()) / DAY, point.value)).collect();
    let level = median(&points.iter().map(|point| point.1.abs()).collect::<Vec<_>>()).unwrap_or(0.0);
    let line = theil_sen(&points)
        .filter(|line| hourly.len() >= LEAST_HOURS && line.is_sure() && line.slope.abs() >= (level * LEAST_CHANGE).max(1e-9));
    let full_in_days = line.filter(|line| series.fills && line.low > 0.0 && last < 100.0).and_then(|line| {
        let days = |slope: f64| ((100.0 - last) / slope).max(0.0);
        let likely = days(line.slope);
        (likely <= FAR_DAYS).then(|| FullIn { likely, earliest: days(line.high), latest: days(line.low) })
    });
    Some(MetricTrend {
        mean,
        max,
        last,
        before: (!before.is_empty()).then(|| before.iter().sum::<f64>() / before.len() as f64),
        before_days: before.len() as f64 / 24.0,
        per_day: line.map(|line| line.slope),
        per_day_low: line.map(|line| line.low),
        per_day_high: line.map(|line| line.high),
        full_in_days,
        odd_hours: odd_hours(&hourly, since),
        hourly,
        name: series.name,
        what: series.what,
        unit: series.unit,
    })
}

/// Returns the mean of each hour that has samples before `until`.
fn hourly(samples: &[Point], until: Timestamp) -> Vec<Point> {
    let mut hours: BTreeMap<u64, (f64, u32)> = BTreeMap::new();
    for point in samples.iter().filter(|point| point.at < until && point.value.is_finite()) {
        let hour = hours.entry(point.at.as_nanos() / (HOUR * 1_000_000_000)).or_default();
        hour.0 += point.value;
        hour.1 += 1;
    }
    let mean =
        |(hour, (sum, count)): (u64, (f64, u32))| Point { at: Timestamp::from_seconds(hour * HOUR), value: sum / f64::from(count) };
    hours.into_iter().map(mean).collect()
}

/// Returns the hours from `since` on that are far from the same hour of the days before: three of five at least, since one is
/// an accident.
fn odd_hours(hourly: &[Point], since: Timestamp) -> Vec<OddHour> {
    let hour_of = |point: &Point| point.at.as_nanos() / (HOUR * 1_000_000_000);
    let judged = hourly.iter().filter(|point| point.at >= since).map(|point| {
        let same: Vec<f64> = hourly
            .iter()
            .filter(|other| other.at < since && (hour_of(other) % 24).abs_diff(hour_of(point) % 24) <= 1)
            .map(|other| other.value)
            .collect();
        if same.len() < LEAST_DAYS * 3 {
            return None;
        }
        let usual = median(&same)?;
        let deviation = mad(&same)?.max(usual.abs() * LEAST_DEVIATION).max(1e-9);
        Some(OddHour { start: point.at, value: point.value, usual, z: (point.value - usual) / deviation })
    });
    let judged: Vec<Option<OddHour>> = judged.collect();
    let is_odd = |hour: &Option<OddHour>| hour.is_some_and(|hour| hour.z.abs() > ODD_Z);
    let confirmed = |place: usize| {
        let around = &judged[place.saturating_sub(2)..(place + 3).min(judged.len())];
        around.iter().filter(|hour| is_odd(hour)).count() >= ODD_OF_FIVE
    };
    (0..judged.len()).filter(|place| is_odd(&judged[*place]) && confirmed(*place)).filter_map(|place| judged[place]).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UNTIL: Timestamp = Timestamp::from_seconds(20_000 * 86_400);

    fn series(value: impl Fn(f64) -> f64) -> Series {
        let samples = (0..8 * 24 * 4).map(|quarter| {
            let at = UNTIL.minus(Duration::from_secs((8 * 24 * 4 - quarter) * 900));
            Point { at, value: value(quarter as f64 / 96.0) }
        });
        Series {
            name: "system.disk_usage_percent".into(),
            unit: "%".into(),
            fills: true,
            samples: samples.collect(),
            ..Series::default()
        }
    }

    fn day_before() -> Timestamp {
        UNTIL.minus(Duration::from_secs(86_400))
    }

    #[test]
    fn a_disk_that_fills_says_when() {
        let it = trend(series(|day| 60.0 + day * 2.0), day_before(), UNTIL).unwrap();
        let full = it.full_in_days.unwrap();
        assert!((11.9..12.2).contains(&full.likely), "{full:?}");
        assert!(full.earliest <= full.likely && full.likely <= full.latest);
        assert!((it.per_day.unwrap() - 2.0).abs() < 1e-6 && (it.before.unwrap() - 67.0).abs() < 0.1, "{it:?}");
    }

    #[test]
    fn a_season_is_no_trend() {
        let wave = |day: f64| 40.0 + 20.0 * (day * 2.0 * std::f64::consts::PI).sin();
        let it = trend(series(wave), day_before(), UNTIL).unwrap();
        assert_eq!((it.per_day, it.full_in_days), (None, None));
        assert_eq!(it.odd_hours, []);
    }

    #[test]
    fn hours_unlike_those_of_other_days_are_odd_if_they_are_several() {
        let odd = |hours: f64| {
            let value = move |day: f64| if day >= 7.5 && day < 7.5 + hours / 24.0 { 90.0 } else { 40.0 + (day * 1_000.0).sin() };
            trend(series(value), day_before(), UNTIL).unwrap().odd_hours.len()
        };
        assert_eq!((odd(1.0), odd(4.0)), (0, 4));
    }

    #[test]
    fn a_metric_without_a_past_has_a_level_only() {
        let mut young = series(|_| 5.0);
        young.samples.drain(..7 * 96);
        let it = trend(young, day_before(), UNTIL).unwrap();
        assert_eq!((it.mean, it.before, it.per_day), (5.0, None, None));
        assert_eq!(trend(Series::default(), day_before(), UNTIL), None);
    }

    proptest! {
        #[test]
        fn nothing_is_full_that_does_not_grow(slope in -3.0..3.0_f64, noise in 0.0..5.0_f64, seed: u64) {
            let random = std::cell::RefCell::new(fastrand::Rng::with_seed(seed));
            let value = |day: f64| 50.0 + slope * day + noise * (random.borrow_mut().f64() - 0.5);
            let it = trend(series(value), day_before(), UNTIL).unwrap();
            prop_assert!(it.full_in_days.is_none() || it.per_day.unwrap() > 0.0);
            if let Some(full) = it.full_in_days {
                prop_assert!(full.earliest <= full.likely && full.likely <= full.latest);
            }
        }
    }
}
