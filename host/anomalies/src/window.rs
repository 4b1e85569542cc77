//! Five minutes, and how many records each had.

use std::sync::Arc;

/// Seconds of a window.
pub const WINDOW_SECONDS: u64 = 300;
/// Windows of an hour, a day and a week.
pub const HOUR: u64 = 12;
pub const DAY: u64 = 288;
pub const WEEK: u64 = 7 * DAY;

/// Five minutes of event time, counted from 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window(pub u64);

impl Window {
    /// Returns the window that holds the moment `nanos` after 1970.
    #[must_use]
    pub const fn of_nanos(nanos: u64) -> Self {
        Self(nanos / (WINDOW_SECONDS * 1_000_000_000))
    }

    /// Returns its first moment, in seconds since 1970.
    #[must_use]
    pub const fn start_seconds(self) -> u64 {
        self.0 * WINDOW_SECONDS
    }

    /// Returns the first moment after it, in seconds since 1970.
    #[must_use]
    pub const fn end_seconds(self) -> u64 {
        (self.0 + 1) * WINDOW_SECONDS
    }

    /// Returns its day, counted from 1970-01-01, and which of that day's windows it is.
    #[must_use]
    pub const fn place(self) -> (u32, usize) {
        ((self.0 / DAY) as u32, (self.0 % DAY) as usize)
    }

    /// Returns the window `count` earlier.
    #[must_use]
    pub const fn back(self, count: u64) -> Self {
        Self(self.0.saturating_sub(count))
    }
}

/// A source's number.
pub type SourceId = u32;

/// What is counted of a source: a pattern, or one of the totals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub i64);

impl Key {
    /// All records.
    pub const ALL: Self = Self(-1);
    /// Those of level error and above.
    pub const ERRORS: Self = Self(-2);
    /// Those of patterns that are too many to be counted each.
    pub const OTHERS: Self = Self(-3);

    /// Returns the key of a pattern.
    #[must_use]
    pub const fn pattern(id: u64) -> Self {
        Self(id as i64 & i64::MAX)
    }

    /// Returns the pattern, if it is one.
    #[must_use]
    pub const fn as_pattern(self) -> Option<u64> {
        if self.0 > 0 { Some(self.0 as u64) } else { None }
    }
}

/// What is counted over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Series {
    /// Of which source.
    pub source: SourceId,
    /// What of it.
    pub key: Key,
}

impl Series {
    /// Returns all records of `source`.
    #[must_use]
    pub const fn all(source: SourceId) -> Self {
        Self { source, key: Key::ALL }
    }
}

/// The counts of one day. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayCounts(Arc<[u32; DAY as usize]>);

impl Default for DayCounts {
    fn default() -> Self {
        Self(Arc::new([0; DAY as usize]))
    }
}

impl DayCounts {
    /// Returns the count of the day's window number `place`.
    #[must_use]
    pub fn get(&self, place: usize) -> u32 {
        self.0.get(place).copied().unwrap_or(0)
    }

    /// Adds to the count of window number `place`.
    pub fn add(&mut self, place: usize, count: u32) {
        if let Some(slot) = Arc::make_mut(&mut self.0).get_mut(place) {
            *slot = slot.saturating_add(count);
        }
    }

    /// Returns the sum.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().map(|count| u64::from(*count)).sum()
    }

    /// Returns all counts in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.0.iter().copied()
    }

    /// Returns them as bytes: varints, of which 0 is followed by how many more zeros there are.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut place = 0;
        while place < self.0.len() {
            let count = self.0[place];
            put(&mut bytes, count);
            place += 1;
            if count == 0 {
                let run = self.0[place..].iter().take_while(|count| **count == 0).count();
                put(&mut bytes, run as u32);
                place += run;
            }
        }
        bytes
    }

    /// Reads what [`Self::to_bytes`] wrote; `None` if it is not that.
    #[must_use]
    pub fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let mut counts = [0; DAY as usize];
        let mut place = 0;
        while place < counts.len() {
            let count = take(&mut bytes)?;
            counts[place] = count;
            place += 1;
            if count == 0 {
                place = place.saturating_add(take(&mut bytes)? as usize);
            }
        }
        (bytes.is_empty() && place == counts.len()).then(|| Self(Arc::new(counts)))
    }
}

fn put(bytes: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take(bytes: &mut &[u8]) -> Option<u32> {
    let mut number = 0_u64;
    for shift in (0..35).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return u32::try_from(number).ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_window_knows_its_place() {
        let window = Window::of_nanos((86_400 + 301) * 1_000_000_000);
        assert_eq!((window.place(), window.start_seconds(), window.end_seconds()), ((1, 1), 86_700, 87_000));
    }

    #[test]
    fn a_quiet_day_takes_few_bytes() {
        let mut counts = DayCounts::default();
        assert_eq!(counts.to_bytes().len(), 3);
        counts.add(100, 7);
        assert!(counts.to_bytes().len() < 10);
    }

    proptest! {
        #[test]
        fn counts_read_back_as_they_were_written(places in prop::collection::vec((0..288_usize, any::<u32>()), 0..300)) {
            let mut counts = DayCounts::default();
            for (place, count) in places {
                counts.add(place, count);
            }
            prop_assert_eq!(DayCounts::from_bytes(&counts.to_bytes()), Some(counts));
        }

        #[test]
        fn foreign_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = DayCounts::from_bytes(&bytes);
        }
    }
}
