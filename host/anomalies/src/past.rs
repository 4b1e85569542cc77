//! What was counted before, and what of that tells what is usual.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use rustc_hash::FxHashMap;

use crate::stats::{Distribution, median};
use crate::window::{DAY, DayCounts, HOUR, Key, Series, WEEK, Window};

/// Weeks that are looked back on.
pub const WEEKS: u64 = 4;
/// Days of counts that are needed for that.
pub const KEPT_DAYS: u32 = 30;
/// Days before that the present level is taken from.
const RECENT_DAYS: u64 = 3;
/// How far windows of the same time may be apart.
const NEIGHBOURS: u64 = HOUR;
/// What was unusual so many times in five weeks is so by nature.
const OFTEN: usize = 3;
/// What is unusual for so long is the new usual.
pub const NEW_USUAL_AFTER: u64 = DAY;

/// Where counts are kept.
pub trait Past {
    /// Why they cannot be read.
    type Error;
    /// Returns the counts of one day; `None` if there were none.
    ///
    /// # Errors
    /// That it cannot be read.
    fn day(&self, series: Series, day: u32) -> Result<Option<DayCounts>, Self::Error>;
    /// Returns the counts of everything counted on one day.
    ///
    /// # Errors
    /// As [`Self::day`].
    fn all(&self, day: u32) -> Result<Vec<(Series, DayCounts)>, Self::Error>;
}

/// Windows that say nothing of what is usual.
#[derive(Clone, Debug, Default)]
pub struct Left {
    /// Nobody was watching.
    pub unwatched: Vec<Range<u64>>,
    /// What was unusual, by what it was about.
    pub odd: FxHashMap<Series, Vec<Range<u64>>>,
}

impl Left {
    /// Returns the windows that are left out for `series`: nobody watched, or it was unusual itself, or its source was as a whole.
    #[must_use]
    pub fn out(&self, series: Series) -> Vec<Range<u64>> {
        let odd = |series: Series| self.odd.get(&series).into_iter().flatten();
        let of_source = odd(Series::all(series.source)).filter(|_| series.key != Key::ALL);
        self.unwatched.iter().chain(odd(series)).chain(of_source).cloned().collect()
    }

    /// Returns whether somebody watched all of `window`.
    #[must_use]
    pub fn is_watched(&self, window: Window) -> bool {
        !self.unwatched.iter().any(|range| range.contains(&window.0))
    }
}

/// Counts of many windows, put together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// How many windows.
    pub windows: u32,
    /// Their sum,
    pub sum: f64,
    /// and that of their squares.
    pub squares: f64,
    /// How many of them had any.
    pub filled: u32,
    /// The greatest.
    pub peak: u32,
}

impl Sample {
    /// Adds one window.
    pub fn add(&mut self, count: u32) {
        let value = f64::from(count);
        self.windows += 1;
        self.sum += value;
        self.squares += value * value;
        self.filled += u32::from(count > 0);
        self.peak = self.peak.max(count);
    }

    /// Returns what it says of a further window. Half a record is added, so that what was never seen is unlikely and not
    /// impossible; with few windows their scatter is not quite believed.
    #[must_use]
    pub fn predicts(&self) -> Distribution {
        let n = f64::from(self.windows.max(1));
        let mean = (self.sum + 0.5) / n;
        let raw = self.sum / n;
        let variance = if n > 1.0 { ((self.squares - self.sum * raw) / (n - 1.0)).max(0.0) } else { raw };
        Distribution::of(mean, variance * (1.0 + 2.0 / n.sqrt()))
    }
}

/// Reads the past of one series.
pub struct Reader<'a, P: Past> {
    past: &'a P,
    left_out: Vec<Range<u64>>,
    /// How often it was unusual.
    odd: usize,
    series: Series,
    /// The first window in which it, or its source, was counted.
    first: Window,
    /// A dozen of them, mostly.
    days: Vec<(u32, Option<DayCounts>)>,
}

impl<'a, P: Past> Reader<'a, P> {
    /// Returns a reader of `series`, which was first counted in window `first`.
    pub fn new(past: &'a P, left: &Left, series: Series, first: Window) -> Self {
        let odd = left.odd.get(&series).map_or(0, Vec::len);
        Self { past, left_out: left.out(series), odd, series, first, days: Vec::new() }
    }

    /// Returns the count of a window, whether it says anything or not.
    ///
    /// # Errors
    /// The past's.
    pub fn count(&mut self, window: Window) -> Result<u32, P::Error> {
        let (day, place) = window.place();
        // The last one is asked for again most often.
        let known = self.days.iter().rposition(|(known, _)| *known == day);
        let index = if let Some(index) = known {
            index
        } else {
            self.days.push((day, self.past.day(self.series, day)?));
            self.days.len() - 1
        };
        Ok(self.days[index].1.as_ref().map_or(0, |counts| counts.get(place)))
    }

    /// Returns the count of a window, if it says anything of what is usual.
    ///
    /// # Errors
    /// The past's.
    pub fn usual(&mut self, window: Window) -> Result<Option<u32>, P::Error> {
        if window < self.first || self.left_out.iter().any(|range| range.contains(&window.0)) {
            return Ok(None);
        }
        self.count(window).map(Some)
    }

    /// Adds the sums of `width` windows each that end in the windows from `first` to `last`.
    fn sums(&mut self, sample: &mut Sample, first: Window, last: Window, width: u64) -> Result<(), P::Error> {
        let (mut sum, mut known) = (VecDeque::new(), 0);
        for window in first.back(width - 1).0..=last.0 {
            let count = self.usual(Window(window))?;
            // One that says nothing breaks the row.
            known = if count.is_some() { known + 1 } else { 0 };
            sum.push_back(count.unwrap_or(0));
            if sum.len() as u64 > width {
                sum.pop_front();
            }
            if known >= width {
                sample.add(sum.iter().fold(0, |sum: u32, count| sum.saturating_add(*count)));
            }
        }
        Ok(())
    }

    fn around(&mut self, sample: &mut Sample, center: Window, width: u64) -> Result<(), P::Error> {
        self.sums(sample, center.back(NEIGHBOURS), Window(center.0 + NEIGHBOURS), width)
    }

    /// Returns the windows of the same time of the week in the weeks before `window`, an hour more and less; and in how many
    /// of the weeks there were any. Each is the sum of the `width` windows that end there.
    ///
    /// # Errors
    /// The past's.
    pub fn same_hour_of_week(&mut self, window: Window, width: u64) -> Result<(Sample, u32), P::Error> {
        let (mut sample, mut weeks) = (Sample::default(), 0);
        for week in 1..=WEEKS {
            let before = sample.windows;
            self.around(&mut sample, window.back(week * WEEK), width)?;
            weeks += u32::from(sample.windows > before);
        }
        Ok((sample, weeks))
    }

    /// Returns the windows of the same time of day in the last days, and those of the hours just before `window` that are not
    /// judged with it: what the level is at present. Each is the sum of the `width` windows that end there.
    ///
    /// # Errors
    /// The past's.
    pub fn recently(&mut self, window: Window, width: u64) -> Result<Sample, P::Error> {
        let mut sample = Sample::default();
        for day in 1..=RECENT_DAYS {
            self.around(&mut sample, window.back(day * DAY), width)?;
        }
        self.sums(&mut sample, window.back(2 + 3 * HOUR), window.back(3), width)?;
        Ok(sample)
    }

    /// Returns all windows of the last `days` before `window`, but for the last two hours.
    ///
    /// # Errors
    /// The past's.
    pub fn lately(&mut self, window: Window, days: u64) -> Result<Vec<Option<u32>>, P::Error> {
        let end = window.back(2 * HOUR);
        (end.back(days * DAY).0..end.0).map(|window| self.usual(Window(window))).collect()
    }

    /// Returns how many times the level around it the sum of `width` windows was at most, in the `days` before `window`. What was
    /// found unusual is left out, unless that has happened often: then it is its nature.
    ///
    /// # Errors
    /// The past's.
    pub fn greatest_contrast(&mut self, window: Window, days: u64, width: u64) -> Result<f64, P::Error> {
        let end = window.back(2 * HOUR);
        let restless = self.odd >= OFTEN;
        let mut counts = Vec::with_capacity((days * DAY) as usize);
        for window in end.back(days * DAY).0..end.0 {
            let window = Window(window);
            counts.push(if restless { Some(self.count(window)?).filter(|_| window >= self.first) } else { self.usual(window)? });
        }
        let sums: Vec<f64> =
            counts.windows(width as usize).map(|part| part.iter().flatten().map(|count| f64::from(*count)).sum()).collect();
        let mut greatest = 0.0_f64;
        for (place, sum) in sums.iter().enumerate() {
            let around = &sums[place.saturating_sub(HOUR as usize)..(place + HOUR as usize + 1).min(sums.len())];
            // The median is at least the least: most places need none.
            let least = around.iter().copied().fold(f64::MAX, f64::min);
            if (sum + 1.0) / (least + 1.0) > greatest {
                greatest = greatest.max((sum + 1.0) / (median(around).unwrap_or(0.0) + 1.0));
            }
        }
        Ok(greatest)
    }
}

/// Counts in memory, for tests and simulations.
#[derive(Clone, Debug, Default)]
pub struct Memory(BTreeMap<u32, FxHashMap<Series, DayCounts>>);

impl Memory {
    /// Adds `count` records to a window.
    pub fn add(&mut self, series: Series, window: Window, count: u32) {
        let (day, place) = window.place();
        self.0.entry(day).or_default().entry(series).or_default().add(place, count);
    }

    /// Forgets days before `day`.
    pub fn forget_before(&mut self, day: u32) {
        self.0 = self.0.split_off(&day);
    }
}

impl Past for Memory {
    type Error = std::convert::Infallible;

    fn day(&self, series: Series, day: u32) -> Result<Option<DayCounts>, Self::Error> {
        Ok(self.0.get(&day).and_then(|all| all.get(&series)).cloned())
    }

    fn all(&self, day: u32) -> Result<Vec<(Series, DayCounts)>, Self::Error> {
        let all = self.0.get(&day).into_iter().flatten();
        let mut all: Vec<_> = all.map(|(series, counts)| (*series, counts.clone())).collect();
        // A replay must meet them in the same order.
        all.sort_unstable_by_key(|(series, _)| *series);
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERIES: Series = Series { source: 1, key: Key(5) };

    #[test]
    fn the_same_hour_of_the_week_leaves_out_what_says_nothing() {
        let now = Window(10 * WEEK);
        let mut memory = Memory::default();
        for week in 1..=4 {
            memory.add(SERIES, now.back(week * WEEK), 100);
        }
        let mut left = Left::default();
        let sample = |left: &Left, first| Reader::new(&memory, left, SERIES, first).same_hour_of_week(now, 1).unwrap();
        let (all, weeks) = sample(&left, Window(0));
        assert_eq!((all.windows, all.sum, all.filled, all.peak, weeks), (100, 400.0, 4, 100, 4));
        // The two oldest weeks were before it began; one was odd, of another nobody saw.
        assert_eq!(sample(&left, now.back(2 * WEEK)).0.windows, 38);
        left.odd.entry(Series::all(1)).or_default().push(now.back(WEEK).0..now.back(WEEK).0 + 1);
        left.unwatched.push(now.back(2 * WEEK).0..now.back(2 * WEEK).0 + 3);
        assert_eq!((sample(&left, Window(0)).0.windows, sample(&left, Window(0)).0.sum), (96, 200.0));
    }

    #[test]
    fn what_was_never_seen_is_unlikely_and_not_impossible() {
        let mut sample = Sample::default();
        (0..100).for_each(|_| sample.add(0));
        let it = sample.predicts();
        assert!(it.at_least(1) > 1e-3 && it.at_least(10) < 1e-15);
        assert_eq!(it.name(), "Poisson");
    }
}
