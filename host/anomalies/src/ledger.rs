//! Account of what is unusual: since when, whether it goes on, when it was over.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::found::{Anomaly, Detector};
use crate::past::{Left, NEW_USUAL_AFTER};
use crate::window::{Series, WEEK, Window};

/// Something is over when it was not seen for so many windows: two of three must be unusual to begin.
const OVER_AFTER: u64 = 3;
/// How often what goes on is told of again.
const AGAIN_AFTER: u64 = 6;
/// How long what was unusual is left out of what is usual.
const REMEMBERED: u64 = 5 * WEEK;
/// Windows after a burst in which there is no other of the same source.
const BURST_PAUSE: u64 = 6;

/// One entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its number: ascending, never used twice.
    pub id: u64,
    /// What is unusual; its evidence is the strongest so far.
    pub anomaly: Anomaly,
    /// The window after the last unusual one, once it is over.
    pub until: Option<Window>,
    /// When it was told of last.
    pub told: Window,
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Opened,
    /// It goes on, and is to be told of again.
    Again,
    /// It goes on.
    Grew,
    /// It is over.
    Closed,
}

/// All entries that matter still: those that go on, and those that say which windows are not usual.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    next_id: u64,
    open: BTreeMap<u64, Entry>,
    /// The windows of closed ones.
    closed: Vec<(Series, Detector, Range<u64>)>,
}

impl Ledger {
    /// Returns a ledger with `entries`, which were kept elsewhere; ids go on after `last_id`.
    #[must_use]
    pub fn restore(entries: impl IntoIterator<Item = Entry>, last_id: u64) -> Self {
        let mut ledger = Self { next_id: last_id + 1, ..Self::default() };
        for entry in entries {
            if entry.until.is_some() { ledger.remember(&entry) } else { drop(ledger.open.insert(entry.id, entry)) }
        }
        ledger
    }

    /// Returns the entry that goes on for which `is` holds.
    pub fn find(&self, is: impl Fn(&Anomaly) -> bool) -> Option<&Entry> {
        self.open.values().find(|entry| is(&entry.anomaly))
    }

    /// Returns all that goes on.
    pub fn open(&self) -> impl Iterator<Item = &Entry> {
        self.open.values()
    }

    /// Returns whether there was a burst of `series` in the half hour before `window`.
    #[must_use]
    pub fn burst_lately(&self, series: Series, window: Window) -> bool {
        let of = |known: &Series, detector: &Detector| *known == series && *detector == Detector::Burst;
        self.open.values().any(|entry| of(&entry.anomaly.series, &entry.anomaly.detector))
            || self.closed.iter().any(|(known, detector, range)| of(known, detector) && range.end + BURST_PAUSE > window.0)
    }

    /// Enters `anomaly`, seen in `window`. What is known to go on, with the same detector, direction and source or series, grows by it.
    pub fn enter(&mut self, anomaly: Anomaly, window: Window) -> (Change, Entry) {
        let same = |known: &Anomaly| {
            known.detector == anomaly.detector
                && known.direction == anomaly.direction
                && known.series.source == anomaly.series.source
                && (known.series == anomaly.series || known.detector == Detector::Rate)
                && (known.severity >= 17) == (anomaly.severity >= 17)
        };
        let known = self.open.values_mut().find(|entry| same(&entry.anomaly));
        let Some(entry) = known else {
            let id = self.next_id.max(1);
            self.next_id = id + 1;
            let entry = Entry { id, anomaly, until: None, told: window };
            self.open.insert(id, entry.clone());
            return (Change::Opened, entry);
        };
        let known = &mut entry.anomaly;
        known.last = known.last.max(anomaly.last);
        known.count = known.count.saturating_add(anomaly.count);
        known.seqs.1 = known.seqs.1.max(anomaly.seqs.1);
        let others = anomaly.series.key.as_pattern().into_iter().chain(anomaly.patterns.iter().copied());
        for pattern in others.filter(|pattern| Some(*pattern) != known.series.key.as_pattern()) {
            if !known.patterns.contains(&pattern) && known.patterns.len() < 20 {
                known.patterns.push(pattern);
            }
        }
        let stronger = anomaly.evidence.p.unwrap_or(1.0) < known.evidence.p.unwrap_or(1.0);
        if stronger && anomaly.series == known.series {
            known.evidence = anomaly.evidence;
        }
        let again = window.0 >= entry.told.0 + AGAIN_AFTER;
        if again {
            entry.told = window;
        }
        (if again { Change::Again } else { Change::Grew }, entry.clone())
    }

    /// Closes what was not seen lately, and what has gone on for so long that it is the new usual. Returns what is closed.
    pub fn close(&mut self, window: Window, mut ended: impl FnMut(&Anomaly) -> bool) -> Vec<Entry> {
        let over = |entry: &Entry| {
            let quiet = window.0 >= entry.anomaly.last.0 + OVER_AFTER;
            match entry.anomaly.detector {
                Detector::NewPattern | Detector::FormatChanged | Detector::Burst => window > entry.anomaly.last,
                Detector::Silence => false,
                Detector::Rate | Detector::ErrorRatio => quiet,
            }
        };
        let lasting =
            |entry: &Entry| window.0 >= entry.anomaly.since.0 + NEW_USUAL_AFTER && entry.anomaly.detector == Detector::Rate;
        let done: Vec<u64> = self
            .open
            .values()
            .filter(|entry| over(entry) || lasting(entry) || ended(&entry.anomaly))
            .map(|entry| entry.id)
            .collect();
        for entry in self.open.values_mut().filter(|entry| entry.anomaly.detector == Detector::Silence && !done.contains(&entry.id))
        {
            entry.anomaly.last = window;
        }
        let mut closed = Vec::new();
        for id in done {
            let Some(mut entry) = self.open.remove(&id) else { continue };
            entry.until = Some(Window(entry.anomaly.last.0 + 1));
            self.remember(&entry);
            closed.push(entry);
        }
        self.closed.retain(|(_, _, range)| range.end + REMEMBERED > window.0);
        closed
    }

    fn remember(&mut self, entry: &Entry) {
        let until = entry.until.unwrap_or(entry.anomaly.last).0;
        self.closed.push((entry.anomaly.series, entry.anomaly.detector, entry.anomaly.since.0..until));
    }

    /// Fills in which windows are not usual: all of what was unusual for less than a day.
    pub fn odd(&self, left: &mut Left) {
        left.odd.clear();
        let mut add = |series: Series, detector: Detector, range: Range<u64>| {
            let counts = matches!(detector, Detector::Rate | Detector::Burst | Detector::Silence | Detector::ErrorRatio);
            if counts && range.end.saturating_sub(range.start) < NEW_USUAL_AFTER {
                left.odd.entry(series).or_default().push(range);
            }
        };
        for (series, detector, range) in &self.closed {
            add(*series, *detector, range.clone());
        }
        for entry in self.open.values() {
            let anomaly = &entry.anomaly;
            add(anomaly.series, anomaly.detector, anomaly.since.0..anomaly.last.0 + 1);
        }
    }

    /// Returns the number of the next entry.
    #[must_use]
    pub fn next_id(&self) -> u64 {
        self.next_id.max(1)
    }
}
