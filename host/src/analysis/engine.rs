//! Decides what an analyzer is given at a time, when what it found is stored, and what time it may count on. Pure.

use std::time::{Duration, Instant};

use watchfire_types::Timestamp;

/// How much smaller portions become when one was not taken. More than half as small, since each further failure costs a wait, and
/// each success almost nothing.
const SHRINK: usize = 16;

/// How long what was analyzed may wait to be stored with other things.
const COMMIT_AFTER: Duration = Duration::from_secs(1);
/// How long a cursor may wait that only passed over records, or a tick without consequence: to do it again costs little.
const COMMIT_IDLE_AFTER: Duration = Duration::from_secs(10);

/// How much later than others a record may come and still not be late.
const LATENESS: Duration = Duration::from_secs(2);

/// Waits after a failure that the component's supervisor does not wait for.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// The longest wait.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Decides how many records a call gets, so that one that the analyzer cannot take is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Portions {
    most: usize,
    size: usize,
    suspect: Option<Suspect>,
}

/// Records among which one was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Suspect {
    first: u64,
    last: u64,
}

/// What follows from a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The records are given again, fewer at a time.
    Again,
    /// It is this one, alone and for the second time.
    Poison,
}

impl Portions {
    /// Returns portions of at most `most` records.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most, size: most, suspect: None }
    }

    /// Returns the most records of a call.
    #[must_use]
    pub fn most(&self) -> usize {
        self.most
    }

    /// Returns whether a record is being looked for that was not taken.
    #[must_use]
    pub fn is_narrowing(&self) -> bool {
        self.suspect.is_some()
    }

    /// Returns how many of the records at positions `seqs`, of which there is at least one, the next call gets.
    #[must_use]
    pub fn take(&self, seqs: impl Iterator<Item = u64>) -> usize {
        let mut seqs = seqs.peekable();
        let first = seqs.peek().copied().unwrap_or(0);
        let (end, most) = match self.suspect {
            Some(suspect) if first < suspect.first => (suspect.first - 1, self.most),
            Some(suspect) if first <= suspect.last => (suspect.last, self.size),
            _ => (u64::MAX, self.size),
        };
        seqs.take(most).take_while(|seq| *seq <= end).count().max(1)
    }

    /// Returns whether the record at `seq` is among those of which one was not taken: then what came before is to be stored
    /// first, and what comes of it at once, so that a failure costs no more than its own call.
    #[must_use]
    pub fn suspects(&self, seq: u64) -> bool {
        self.suspect.is_some_and(|suspect| (suspect.first..=suspect.last).contains(&seq))
    }

    /// Notes that the analyzer took all records up to `seq`.
    pub fn taken(&mut self, seq: u64) {
        match &mut self.suspect {
            Some(suspect) if seq < suspect.last => suspect.first = suspect.first.max(seq + 1),
            _ => {
                self.suspect = None;
                self.size = self.size.saturating_mul(2).min(self.most);
            }
        }
    }

    /// Notes that a call with `count` records from `first` to `last` failed.
    pub fn failed(&mut self, first: u64, last: u64, count: usize) -> Verdict {
        if count <= 1 && self.suspect == Some(Suspect { first, last }) {
            return Verdict::Poison;
        }
        self.suspect = Some(Suspect { first, last });
        self.size = count.div_ceil(SHRINK).max(1);
        Verdict::Again
    }
}

/// What is waiting to be stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unsaved {
    /// Since when.
    pub since: Option<Instant>,
    /// Whether records were analyzed.
    pub analyzed: bool,
    /// Whether something was found.
    pub found: bool,
}

impl Unsaved {
    /// Notes that there is something to store, be it only that records were passed over.
    pub fn touch(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// Returns when it is to be stored.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let wait = match (self.found, self.analyzed) {
            (true, _) => Duration::ZERO,
            (_, true) => COMMIT_AFTER,
            _ => COMMIT_IDLE_AFTER,
        };
        self.since.map(|since| since + wait)
    }
}

/// Returns the watermark after records of which `latest` is the greatest event time, in nanoseconds. It never goes back, and one
/// record that claims to be of tomorrow does not make those of today late.
#[must_use]
pub fn watermark(before: u64, latest: u64, now: Timestamp) -> u64 {
    before.max(Timestamp::from_nanos(latest).min(now).minus(LATENESS).as_nanos())
}

/// Returns how long to wait after the `count`th failure in a row.
#[must_use]
pub fn wait(count: u32) -> Duration {
    FIRST_WAIT.saturating_mul(1 << count.saturating_sub(1).min(12)).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Plays an analyzer that cannot take `poison`; returns which records were given up, and how many calls failed.
    fn play(most: usize, count: u64, poison: &[u64]) -> (Vec<u64>, usize) {
        let (mut portions, mut given_up, mut failures, mut next) = (Portions::new(most), Vec::new(), 0, 1);
        while next <= count {
            let taken = portions.take(next..=count) as u64;
            let last = next + taken - 1;
            if poison.iter().any(|seq| (next..=last).contains(seq) && !given_up.contains(seq)) {
                failures += 1;
                if portions.failed(next, last, taken as usize) == Verdict::Poison {
                    given_up.push(next);
                    portions.taken(next);
                    next += 1;
                }
            } else {
                portions.taken(last);
                next = last + 1;
            }
        }
        (given_up, failures)
    }

    #[test]
    fn a_poison_record_is_found_with_five_failures_among_thousands() {
        let (given_up, failures) = play(4_096, 20_000, &[7_777]);
        assert_eq!((given_up, failures), (vec![7_777], 5));
    }

    #[test]
    fn one_failure_of_a_single_record_does_not_condemn_it() {
        let mut portions = Portions::new(100);
        assert_eq!(portions.failed(5, 5, 1), Verdict::Again);
        portions.taken(5);
        assert_eq!(portions.failed(5, 5, 1), Verdict::Again);
        assert_eq!(portions.failed(5, 5, 1), Verdict::Poison);
    }

    #[test]
    fn portions_grow_again_after_trouble() {
        let mut portions = Portions::new(64);
        portions.failed(1, 64, 64);
        assert_eq!(portions.take(1..=64), 4);
        portions.taken(60);
        assert_eq!((portions.take(61..=200), portions.suspects(61), portions.suspects(65)), (4, true, false));
        portions.taken(64);
        for expected in [8, 16, 32, 64, 64] {
            assert_eq!(portions.take(65..=400), expected);
            portions.taken(400);
        }
    }

    #[test]
    fn what_was_taken_before_the_failure_is_given_whole_again() {
        let mut portions = Portions::new(64);
        portions.failed(65, 128, 64);
        assert_eq!(portions.take(1..=128), 64);
        assert_eq!(portions.take(33..=128), 32);
    }

    #[test]
    fn findings_are_stored_at_once_and_idling_seldom() {
        let now = Instant::now();
        let mut unsaved = Unsaved::default();
        assert_eq!(unsaved.due(), None);
        unsaved.touch(now);
        assert_eq!(unsaved.due(), Some(now + Duration::from_secs(10)));
        unsaved.analyzed = true;
        unsaved.touch(now + Duration::from_secs(1));
        assert_eq!(unsaved.due(), Some(now + Duration::from_secs(1)));
        unsaved.found = true;
        assert_eq!(unsaved.due(), Some(now));
    }

    #[test]
    fn the_watermark_never_goes_back_nor_beyond_the_clock() {
        let now = Timestamp::from_seconds(1_000);
        let seconds = |seconds| Timestamp::from_seconds(seconds).as_nanos();
        assert_eq!(watermark(0, seconds(100), now), seconds(98));
        assert_eq!(watermark(seconds(98), seconds(50), now), seconds(98));
        assert_eq!(watermark(seconds(98), seconds(90_000), now), seconds(998));
    }

    proptest! {
        #[test]
        fn exactly_the_poison_records_are_given_up(
            most in 1..200_usize,
            count in 1..600_u64,
            poison in prop::collection::btree_set(1..600_u64, 0..6),
        ) {
            let poison: Vec<u64> = poison.into_iter().filter(|seq| *seq <= count).collect();
            let (given_up, failures) = play(most, count, &poison);
            prop_assert!(failures <= poison.len() * 5);
            prop_assert_eq!(given_up, poison);
        }
    }
}
