//! Takes counts in, and says for each window what is unusual in it.

mod judge;
mod news;
mod readiness;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rustc_hash::FxHashMap;

use crate::found::{Detector, Direction};
use crate::ledger::{Change, Entry, Ledger};
use crate::past::Left;
use crate::settings::Settings;
use crate::window::{DAY, HOUR, Key, Series, SourceId, WINDOW_SECONDS, Window};

/// Sources that are told apart; all others are one.
pub const MAX_SOURCES: usize = 1_000;
/// Patterns that are counted each, of all sources together.
pub const MAX_SERIES: usize = 50_000;
/// The one that all others are.
pub const OTHER_SOURCES: &str = "(others)";
/// Share of the findings of one window that may be wrong.
const FALSE_DISCOVERIES: f64 = 1e-3;
/// With more patterns of one source unusual at once, it is the source that is.
const MANY_PATTERNS: usize = 3;
/// Of a source that arrives late more often than this, what is missing says nothing.
const MAX_LATE_SHARE: f64 = 0.05;
const SECONDS_PER_HOUR: u64 = 3_600;
/// Records of the last so many judged windows are late; older ones are imported.
const LATE_WINDOWS: u64 = 2 * HOUR;
/// Windows judged at once, at most: what lies further back is history.
const MAX_BACKLOG: u64 = DAY;
/// A series without a record for so long gives its place to another.
const IDLE_WINDOWS: u64 = 14 * DAY;
/// Severity number of errors.
const ERROR: u8 = 17;
const WARNING: u8 = 13;

/// Records of one source, pattern, level and window that were read together.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// `service.name`.
    pub source: &'a str,
    /// Id of the pattern; 0 for none.
    pub pattern: u64,
    /// OpenTelemetry severity number; 0 for none.
    pub severity: u8,
    /// When they happened.
    pub window: Window,
    /// How many.
    pub count: u32,
    /// Positions of the first and the last of them.
    pub seqs: (u64, u64),
}

/// A source.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// `service.name`.
    pub name: String,
    /// The first window it was counted in,
    pub first: Window,
    /// and the last one.
    pub last: Window,
    /// Position of its last record.
    pub seq: u64,
    /// Records of the last day or so, and how many of them came after their window was judged; both are halved each day.
    pub recent: f64,
    /// See `recent`.
    pub late: f64,
    /// Patterns that have a series.
    pub tracked: usize,
    /// Patterns with lower ids than this are not new, even if they are not tracked any more.
    pub known_below: u64,
    /// Whether it has more patterns than can be tracked.
    pub crowded: bool,
}

/// A pattern of a source.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Known {
    /// The first window it was counted in,
    pub first: Window,
    /// and the last one.
    pub last: Window,
    /// The greatest severity number.
    pub severity: u8,
    /// The first and the last position.
    pub seqs: (u64, u64),
    /// Records.
    pub total: u64,
    /// Whether it has been decided whether it is news.
    pub looked_at: bool,
}

/// What is known of patterns.
pub trait Templates {
    /// Returns the template of a pattern.
    fn template(&self, source: &str, pattern: u64) -> Option<String>;
    /// Returns the text of the record at `seq`.
    fn line(&self, seq: u64) -> Option<String>;
}

/// What follows from a judgement, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What happened to it.
    pub change: Change,
    /// The entry as it is now.
    pub entry: Entry,
}

/// What must be kept beside sources, patterns and entries to go on after a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Kept {
    /// Up to here windows are judged.
    pub judged: u64,
    /// Unusual ones of the last windows: detector, source, key, direction, windows.
    pub suspects: Vec<(String, SourceId, i64, bool, Vec<u64>)>,
    /// When new patterns were seen, per source, in seconds since 1970.
    pub news: Vec<(SourceId, Vec<u64>)>,
    /// Windows in which nobody watched.
    pub unwatched: Vec<(u64, u64)>,
}

/// Counts and judges.
#[derive(Clone, Debug, Default)]
pub struct Engine {
    settings: Settings,
    sources: BTreeMap<SourceId, Source>,
    ids: FxHashMap<String, SourceId>,
    known: FxHashMap<Series, Known>,
    fresh: BTreeSet<Series>,
    counts: FxHashMap<(Series, Window), u32>,
    changed_sources: BTreeSet<SourceId>,
    changed_series: BTreeSet<Series>,
    dropped_series: Vec<Series>,
    judged: Window,
    suspects: BTreeMap<(Detector, Series, Direction), Vec<u64>>,
    news: BTreeMap<SourceId, VecDeque<u64>>,
    ledger: Ledger,
    left: Left,
    muted: BTreeSet<(Detector, Series)>,
    late: u64,
}

impl Engine {
    /// Returns an engine that has seen nothing, and judges windows after `judged`.
    #[must_use]
    pub fn new(settings: Settings, judged: Window) -> Self {
        Self { settings, judged, ..Self::default() }
    }

    /// Returns an engine that goes on where another stopped.
    #[must_use]
    pub fn restore(
        settings: Settings,
        kept: Kept,
        sources: impl IntoIterator<Item = (SourceId, Source)>,
        known: impl IntoIterator<Item = (Series, Known)>,
        ledger: Ledger,
    ) -> Self {
        let mut engine = Self::new(settings, Window(kept.judged));
        engine.sources = sources.into_iter().collect();
        engine.ids = engine.sources.iter().map(|(id, source)| (source.name.clone(), *id)).collect();
        engine.known = known.into_iter().collect();
        engine.fresh = engine.known.iter().filter(|(_, known)| !known.looked_at).map(|(series, _)| *series).collect();
        for (detector, source, key, down, windows) in kept.suspects {
            let direction = if down { Direction::Down } else { Direction::Up };
            if let Some(detector) = Detector::from_name(&detector) {
                engine.suspects.insert((detector, Series { source, key: Key(key) }, direction), windows);
            }
        }
        engine.news = kept.news.into_iter().map(|(source, times)| (source, times.into())).collect();
        engine.left.unwatched = kept.unwatched.into_iter().map(|(start, end)| start..end).collect();
        engine.ledger = ledger;
        engine
    }

    /// Returns what must be kept of it.
    #[must_use]
    pub fn kept(&self) -> Kept {
        let suspect = |((detector, series, direction), windows): (&(Detector, Series, Direction), &Vec<u64>)| {
            (detector.name().to_owned(), series.source, series.key.0, *direction == Direction::Down, windows.clone())
        };
        Kept {
            judged: self.judged.0,
            suspects: self.suspects.iter().map(suspect).collect(),
            news: self.news.iter().map(|(source, times)| (*source, times.iter().copied().collect())).collect(),
            unwatched: self.left.unwatched.iter().map(|range| (range.start, range.end)).collect(),
        }
    }

    /// Sets what nothing is to be found of any more.
    pub fn set_muted(&mut self, muted: impl IntoIterator<Item = (Detector, Series)>) {
        self.muted = muted.into_iter().collect();
    }

    /// Returns the source of this number.
    #[must_use]
    pub fn source(&self, id: SourceId) -> Option<&Source> {
        self.sources.get(&id)
    }

    /// Returns the number of the source called `name`.
    #[must_use]
    pub fn source_id(&self, name: &str) -> Option<SourceId> {
        self.ids.get(name).copied()
    }

    /// Returns all sources.
    pub fn sources(&self) -> impl Iterator<Item = (SourceId, &Source)> {
        self.sources.iter().map(|(id, source)| (*id, source))
    }

    /// Returns what is known of a pattern.
    #[must_use]
    pub fn known(&self, series: Series) -> Option<&Known> {
        self.known.get(&series)
    }

    /// Returns all patterns that are counted, in no order.
    pub fn patterns(&self) -> impl Iterator<Item = (Series, &Known)> {
        self.known.iter().map(|(series, known)| (*series, known))
    }

    /// Returns the last window that was judged.
    #[must_use]
    pub fn judged(&self) -> Window {
        self.judged
    }

    /// Returns all that goes on.
    pub fn open(&self) -> impl Iterator<Item = &Entry> {
        self.ledger.open()
    }

    /// Returns how many records came after their window had been judged, since this was last asked.
    pub fn take_late(&mut self) -> u64 {
        std::mem::take(&mut self.late)
    }

    /// Returns what was counted since this was last asked.
    pub fn take_counts(&mut self) -> FxHashMap<(Series, Window), u32> {
        std::mem::take(&mut self.counts)
    }

    /// Returns sources that have changed since this was last asked.
    pub fn take_changed_sources(&mut self) -> Vec<(SourceId, Source)> {
        let changed = std::mem::take(&mut self.changed_sources);
        changed.into_iter().filter_map(|id| Some((id, self.sources.get(&id)?.clone()))).collect()
    }

    /// Returns patterns that have changed since this was last asked, and those that are not counted any more.
    pub fn take_changed_series(&mut self) -> (Vec<(Series, Known)>, Vec<Series>) {
        let changed = std::mem::take(&mut self.changed_series);
        let changed = changed.into_iter().filter_map(|series| Some((series, *self.known.get(&series)?))).collect();
        (changed, std::mem::take(&mut self.dropped_series))
    }

    /// Notes that nobody watched from `start` to before `end`, in seconds since 1970: the windows of that time say nothing.
    pub fn unwatched(&mut self, start: u64, end: u64) {
        let range = start / WINDOW_SECONDS..end.div_ceil(WINDOW_SECONDS);
        let oldest = range.end.saturating_sub(35 * DAY);
        self.left.unwatched.retain(|known| known.end > oldest);
        if range.end > range.start {
            self.left.unwatched.push(range.start.max(oldest)..range.end);
        }
    }

    /// Begins anew after `window`: the clock has stepped back.
    pub fn rewind(&mut self, window: Window) {
        self.judged = window;
        self.suspects.clear();
        self.left.unwatched.retain_mut(|range| {
            range.end = range.end.min(window.0 + 1);
            range.start < range.end
        });
    }

    fn source_for(&mut self, name: &str, window: Window) -> SourceId {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let name = if self.sources.len() >= MAX_SOURCES { OTHER_SOURCES } else { name };
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let id = self.sources.last_key_value().map_or(1, |(last, _)| last + 1);
        let source = Source {
            name: name.to_owned(),
            first: window,
            last: window,
            seq: 0,
            recent: 0.0,
            late: 0.0,
            tracked: 0,
            known_below: 0,
            crowded: false,
        };
        self.sources.insert(id, source);
        self.ids.insert(name.to_owned(), id);
        id
    }

    /// Counts records.
    pub fn observe(&mut self, observed: &Observed<'_>) {
        let id = self.source_for(observed.source, observed.window);
        // What is older still was imported.
        let late = observed.window <= self.judged && observed.window.0 + LATE_WINDOWS > self.judged.0;
        let Some(source) = self.sources.get_mut(&id) else { return };
        source.first = source.first.min(observed.window);
        source.last = source.last.max(observed.window);
        source.seq = source.seq.max(observed.seqs.1);
        source.recent += f64::from(observed.count);
        if late {
            source.late += f64::from(observed.count);
            self.late += u64::from(observed.count);
        }
        self.changed_sources.insert(id);
        self.count(Series::all(id), observed);
        if observed.severity >= ERROR {
            self.count(Series { source: id, key: Key::ERRORS }, observed);
        }
        if observed.pattern != 0 {
            let series = self.track(id, observed);
            self.count(series, observed);
        }
    }

    fn count(&mut self, series: Series, observed: &Observed<'_>) {
        let count = self.counts.entry((series, observed.window)).or_default();
        *count = count.saturating_add(observed.count);
    }

    /// Returns the series that records of a pattern are counted in: its own, or that of all patterns that are too many.
    fn track(&mut self, id: SourceId, observed: &Observed<'_>) -> Series {
        let series = Series { source: id, key: Key::pattern(observed.pattern) };
        if let Some(known) = self.known.get_mut(&series) {
            known.first = known.first.min(observed.window);
            known.last = known.last.max(observed.window);
            known.severity = known.severity.max(observed.severity);
            known.seqs = (known.seqs.0.min(observed.seqs.0), known.seqs.1.max(observed.seqs.1));
            known.total += u64::from(observed.count);
            self.changed_series.insert(series);
            return series;
        }
        let Some(source) = self.sources.get_mut(&id) else { return series };
        if source.tracked >= self.settings.max_patterns || self.known.len() >= MAX_SERIES {
            source.crowded = true;
            return Series { source: id, key: Key::OTHERS };
        }
        source.tracked += 1;
        // One that was counted before, and gave up its place, is no news. Ids ascend.
        let looked_at = observed.pattern < source.known_below;
        let known = Known {
            first: observed.window,
            last: observed.window,
            severity: observed.severity,
            seqs: observed.seqs,
            total: observed.count.into(),
            looked_at,
        };
        self.known.insert(series, known);
        self.changed_series.insert(series);
        if !looked_at {
            self.fresh.insert(series);
        }
        series
    }

    /// Gives the places of patterns that are idle, or, of a crowded source, rare, to others. To be called once a day.
    pub fn make_room(&mut self) {
        let now = self.judged;
        let mut of_source: BTreeMap<SourceId, Vec<(Series, Known)>> = BTreeMap::new();
        for (series, known) in &self.known {
            of_source.entry(series.source).or_default().push((*series, *known));
        }
        for (id, mut all) in of_source {
            let Some(source) = self.sources.get_mut(&id) else { continue };
            source.recent /= 2.0;
            source.late /= 2.0;
            // The most frequent per day first.
            let rate = |known: &Known| known.total as f64 / (now.0.saturating_sub(known.first.0) + DAY) as f64;
            all.sort_unstable_by(|a, b| rate(&b.1).total_cmp(&rate(&a.1)).then(a.0.cmp(&b.0)));
            let keep = if source.crowded { self.settings.max_patterns * 9 / 10 } else { self.settings.max_patterns };
            for (place, (series, known)) in all.iter().enumerate() {
                let idle = known.last.0 + IDLE_WINDOWS < now.0;
                if (place >= keep || idle) && known.looked_at {
                    self.known.remove(series);
                    self.changed_series.remove(series);
                    self.dropped_series.push(*series);
                    source.tracked = source.tracked.saturating_sub(1);
                    source.known_below = source.known_below.max(series.key.0 as u64 + 1);
                }
            }
            source.crowded = false;
            self.changed_sources.insert(id);
        }
    }
}
