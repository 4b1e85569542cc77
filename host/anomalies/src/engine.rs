//! Takes counts in, and says for each window what is unusual in it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rustc_hash::FxHashMap;

use crate::detect::{Answer, Test, burst, novelty, rate, ratio, silence, span};
use crate::found::{Anomaly, Detector, Direction, Evidence, Readiness};
use crate::ledger::{Change, Entry, Ledger};
use crate::past::{Left, Past, Reader};
use crate::settings::Settings;
use crate::stats::benjamini_hochberg;
use crate::window::{DAY, DayCounts, HOUR, Key, Series, SourceId, WINDOW_SECONDS, Window};

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

    /// Judges all windows up to `until` that have not been judged, and what is new. All counts must have been taken and be in `past`.
    /// `now` is in seconds since 1970.
    ///
    /// # Errors
    /// The past's: then this engine is to be given up, and restored as it was before.
    pub fn judge<P: Past>(&mut self, past: &P, templates: &dyn Templates, until: Window, now: u64) -> Result<Vec<Step>, P::Error> {
        let mut steps = Vec::new();
        let first = (self.judged.0 + 1).max((until.0 + 1).saturating_sub(MAX_BACKLOG));
        for window in first..=until.0 {
            self.judge_window(past, Window(window), &mut steps)?;
            self.judged = Window(window);
        }
        self.judged = self.judged.max(until);
        self.judge_news(templates, until, now, &mut steps);
        Ok(steps)
    }

    fn judge_window<P: Past>(&mut self, past: &P, window: Window, steps: &mut Vec<Step>) -> Result<(), P::Error> {
        if !self.left.is_watched(window) {
            return Ok(());
        }
        self.ledger.odd(&mut self.left);
        let silent = self.silences(past, window, steps)?;
        self.rates(past, window, &silent, steps)?;
        self.totals(past, window, steps)?;
        let sources = &self.sources;
        let spoke = |anomaly: &Anomaly| {
            // Records of the time of silence may also have come late.
            anomaly.detector == Detector::Silence
                && sources.get(&anomaly.series.source).is_none_or(|source| source.last >= anomaly.since)
        };
        let closed = self.ledger.close(window, spoke);
        steps.extend(closed.into_iter().map(|entry| Step { change: Change::Closed, entry }));
        self.suspects.retain(|_, windows| {
            windows.retain(|known| known + 3 > window.0);
            !windows.is_empty()
        });
        Ok(())
    }

    fn looks_at(&self, detector: Detector, series: Series) -> bool {
        let name = self.sources.get(&series.source).map_or("", |source| &source.name);
        let muted = self.muted.contains(&(detector, series)) || self.muted.contains(&(detector, Series::all(series.source)));
        !muted && self.settings.looks_at(detector, name)
    }

    /// Returns whether enough of a source is there in time that what is missing says something.
    fn is_on_time(source: &Source) -> bool {
        source.late <= source.recent * MAX_LATE_SHARE
    }

    fn silences<P: Past>(&mut self, past: &P, window: Window, steps: &mut Vec<Step>) -> Result<BTreeSet<SourceId>, P::Error> {
        let mut silent = BTreeSet::new();
        let gap = self.settings.silence.min_gap.as_secs() / WINDOW_SECONDS;
        let candidates: Vec<(SourceId, Window, Window)> = self
            .sources
            .iter()
            .filter(|(_, source)| source.last.0 + gap.max(1) <= window.0 && Self::is_on_time(source))
            // What has been silent for weeks is gone.
            .filter(|(_, source)| source.last.0 + 14 * DAY > window.0)
            .map(|(id, source)| (*id, source.first, source.last))
            .collect();
        for (id, first, last) in candidates {
            let series = Series::all(id);
            // A host that did not watch did not hear either.
            if !self.looks_at(Detector::Silence, series) || (last.0..=window.0).any(|window| !self.left.is_watched(Window(window)))
            {
                continue;
            }
            let known = self.ledger.find(|anomaly| anomaly.detector == Detector::Silence && anomaly.series == series);
            if known.is_some() {
                silent.insert(id);
                continue;
            }
            let mut reader = Reader::new(past, &self.left, series, first);
            let Answer::Tested(test) = silence::judge(&mut reader, first, last, window, &self.settings.silence)? else { continue };
            if test.passes {
                silent.insert(id);
                let since = Window(last.0 + 1);
                self.enter(Detector::Silence, series, since, window, ERROR, test, 0, Vec::new(), steps);
            }
        }
        Ok(silent)
    }

    /// Judges patterns, and sources as a whole, against the same hour of earlier weeks.
    fn rates<P: Past>(
        &mut self,
        past: &P,
        window: Window,
        silent: &BTreeSet<SourceId>,
        steps: &mut Vec<Step>,
    ) -> Result<(), P::Error> {
        let mut tested: Vec<(Series, Test)> = Vec::new();
        let mut tests = 0;
        for (series, today, yesterday) in candidates(past, window)? {
            let Some(source) = self.sources.get(&series.source) else { continue };
            let known = self.known.get(&series);
            if matches!(series.key, Key::ERRORS | Key::OTHERS) || !self.looks_at(Detector::Rate, series) {
                continue;
            }
            let (_, place) = window.place();
            let settings = &self.settings.rate;
            let count = u64::from(today.get(place));
            let worth = count * rate::TOGETHER >= settings.min_count || yesterday >= settings.min_count * HOUR / rate::TOGETHER;
            if !worth {
                continue;
            }
            let first = known.map_or(source.first, |known| known.first);
            let mut reader = Reader::new(past, &self.left, series, first);
            let Answer::Tested(test) = rate::judge(&mut reader, first, window, settings)? else { continue };
            tests += 1;
            let said = test.direction == Direction::Up || (Self::is_on_time(source) && !silent.contains(&series.source));
            if test.passes && said {
                tested.push((series, test));
            }
        }
        let p_values: Vec<f64> = tested.iter().map(|(_, test)| test.p).collect();
        let rejected = benjamini_hochberg(&p_values, tests, FALSE_DISCOVERIES);
        let mut by_source: BTreeMap<(SourceId, Direction), Vec<(Series, Test)>> = BTreeMap::new();
        for ((series, test), rejected) in tested.into_iter().zip(rejected) {
            if rejected {
                by_source.entry((series.source, test.direction)).or_default().push((series, test));
            }
        }
        for ((id, _), mut found) in by_source {
            // The most unlikely first; the source as a whole only if it is not one or the other pattern.
            found.sort_by(|a, b| a.1.p.total_cmp(&b.1.p).then(a.0.cmp(&b.0)));
            let patterns: Vec<u64> = found.iter().filter_map(|(series, _)| series.key.as_pattern()).collect();
            if !patterns.is_empty() && patterns.len() <= MANY_PATTERNS {
                found.retain(|(series, _)| *series != Series::all(id));
            } else if let Some(whole) = found.iter().position(|(series, _)| *series == Series::all(id)) {
                let (series, test) = found.swap_remove(whole);
                let severity = patterns.iter().map(|pattern| self.severity(Series { source: id, key: Key::pattern(*pattern) }));
                let severity = severity.max().unwrap_or(WARNING).clamp(WARNING, ERROR);
                let count = test.evidence.actual as u64;
                self.enter(Detector::Rate, series, window.back(rate::TOGETHER - 1), window, severity, test, count, patterns, steps);
                continue;
            }
            for (series, test) in found {
                let (severity, count) = (self.severity(series), test.evidence.actual as u64);
                self.enter(
                    Detector::Rate,
                    series,
                    window.back(rate::TOGETHER - 1),
                    window,
                    severity,
                    test,
                    count,
                    Vec::new(),
                    steps,
                );
            }
        }
        Ok(())
    }

    /// Returns how serious it is if there is more or less of a series.
    fn severity(&self, series: Series) -> u8 {
        let of_pattern = self.known.get(&series).map_or(0, |known| known.severity);
        if of_pattern >= ERROR { ERROR } else { WARNING }
    }

    /// Judges bursts and shares of errors of whole sources.
    fn totals<P: Past>(&mut self, past: &P, window: Window, steps: &mut Vec<Step>) -> Result<(), P::Error> {
        let current: Vec<(SourceId, Window)> =
            self.sources.iter().filter(|(_, source)| source.last >= window).map(|(id, source)| (*id, source.first)).collect();
        for (id, first) in current {
            let all = Series::all(id);
            let mut of_all = Reader::new(past, &self.left, all, first);
            let rising = |anomaly: &Anomaly| {
                anomaly.detector == Detector::Rate && anomaly.series.source == id && anomaly.direction == Direction::Up
            };
            if self.looks_at(Detector::Burst, all)
                && u64::from(of_all.count(window)?) >= self.settings.burst.min_count
                && !self.ledger.burst_lately(all, window)
                && self.ledger.find(rising).is_none()
                && let Answer::Tested(test) = burst::judge(&mut of_all, first, window, &self.settings.burst, &self.settings.rate)?
                && test.passes
            {
                let count = test.evidence.actual as u64;
                self.enter(Detector::Burst, all, window, window, WARNING, test, count, Vec::new(), steps);
            }
            let errors = Series { source: id, key: Key::ERRORS };
            if self.looks_at(Detector::ErrorRatio, all) {
                let mut of_errors = Reader::new(past, &self.left, errors, first);
                if of_errors.count(window)? == 0 {
                    continue;
                }
                let mut of_all = Reader::new(past, &self.left, all, first);
                let (settings, rate) = (&self.settings.error_ratio, &self.settings.rate);
                if let Answer::Tested(test) = ratio::judge(&mut of_errors, &mut of_all, first, window, settings, rate)?
                    && test.passes
                    && self.is_confirmed(Detector::ErrorRatio, errors, Direction::Up, window)
                {
                    self.enter(Detector::ErrorRatio, errors, window, window, ERROR, test, 0, Vec::new(), steps);
                }
            }
        }
        Ok(())
    }

    /// Notes that something is unusual in `window`; returns whether it is so in two of the last three.
    fn is_confirmed(&mut self, detector: Detector, series: Series, direction: Direction, window: Window) -> bool {
        let windows = self.suspects.entry((detector, series, direction)).or_default();
        windows.retain(|known| *known + 3 > window.0 && *known < window.0);
        let confirmed = !windows.is_empty();
        windows.push(window.0);
        confirmed
    }

    #[expect(clippy::too_many_arguments, reason = "an anomaly is made of these, and only here")]
    fn enter(
        &mut self,
        detector: Detector,
        series: Series,
        since: Window,
        window: Window,
        severity: u8,
        test: Test,
        count: u64,
        patterns: Vec<u64>,
        steps: &mut Vec<Step>,
    ) {
        // Two of three were unusual: it began with the earlier one.
        let began = self.suspects.get(&(detector, series, test.direction)).and_then(|windows| windows.first().copied());
        let of_source = self.sources.get(&series.source).map_or(0, |source| source.seq);
        let seqs = self.known.get(&series).map_or((0, of_source), |known| (0, known.seqs.1));
        let anomaly = Anomaly {
            detector,
            direction: test.direction,
            series,
            since: Window(began.unwrap_or(since.0).min(since.0)),
            last: window,
            severity,
            evidence: test.evidence,
            seqs,
            count,
            patterns,
        };
        let (change, entry) = self.ledger.enter(anomaly, window);
        steps.push(Step { change, entry });
    }

    /// Decides which of the patterns that have been seen for the first time are news.
    fn judge_news(&mut self, templates: &dyn Templates, window: Window, now: u64, steps: &mut Vec<Step>) {
        let fresh = std::mem::take(&mut self.fresh);
        let mut by_source: BTreeMap<SourceId, Vec<Series>> = BTreeMap::new();
        for series in fresh {
            by_source.entry(series.source).or_default().push(series);
        }
        for times in self.news.values_mut() {
            while times.front().is_some_and(|time| time + SECONDS_PER_HOUR <= now) {
                times.pop_front();
            }
        }
        self.news.retain(|_, times| !times.is_empty());
        for (id, fresh) in by_source {
            for series in &fresh {
                if let Some(known) = self.known.get_mut(series) {
                    known.looked_at = true;
                    self.changed_series.insert(*series);
                }
            }
            let Some(source) = self.sources.get(&id).cloned() else { continue };
            let warm_up = self.settings.new_pattern.warm_up.as_secs();
            if source.crowded || window.0.saturating_sub(source.first.0) * WINDOW_SECONDS < warm_up {
                continue;
            }
            // What happened long ago and came in late is no news.
            let recent = |series: &Series| self.known.get(series).is_some_and(|known| known.last.0 + DAY > window.0);
            let fresh: Vec<Series> = fresh.into_iter().filter(recent).collect();
            let most = self.settings.new_pattern.max_per_hour;
            let times = self.news.entry(id).or_default();
            let before = times.len();
            times.extend(std::iter::repeat_n(now, fresh.len().min(most + 1)));
            if times.len() > most {
                if before <= most && self.looks_at(Detector::FormatChanged, Series::all(id)) {
                    self.enter_flood(id, &fresh, before, window, steps);
                }
                continue;
            }
            self.enter_news(&source, id, &fresh, templates, window, steps);
        }
    }

    fn enter_flood(&mut self, id: SourceId, fresh: &[Series], before: usize, window: Window, steps: &mut Vec<Step>) {
        let patterns: Vec<u64> = fresh.iter().filter_map(|series| series.key.as_pattern()).take(20).collect();
        let seqs = fresh.first().and_then(|series| self.known.get(series)).map_or((0, 0), |known| known.seqs);
        let count = (before + fresh.len()) as u64;
        let evidence = Evidence {
            actual: count as f64,
            unit: "new patterns in an hour".to_owned(),
            method: format!("more than {} new patterns in an hour", self.settings.new_pattern.max_per_hour),
            ..Evidence::default()
        };
        let series = Series::all(id);
        let detector = Detector::FormatChanged;
        let anomaly = Anomaly {
            detector,
            direction: Direction::Up,
            series,
            since: window,
            last: window,
            severity: WARNING,
            evidence,
            seqs,
            count,
            patterns,
        };
        let (change, entry) = self.ledger.enter(anomaly, window);
        steps.push(Step { change, entry });
    }

    fn enter_news(
        &mut self,
        source: &Source,
        id: SourceId,
        fresh: &[Series],
        templates: &dyn Templates,
        window: Window,
        steps: &mut Vec<Step>,
    ) {
        let mut others: Option<Vec<String>> = None;
        for series in fresh {
            let (Some(known), Some(pattern)) = (self.known.get(series).copied(), series.key.as_pattern()) else { continue };
            if !self.looks_at(Detector::NewPattern, *series) {
                continue;
            }
            let least = self.settings.new_pattern.severity;
            let severity = if known.severity == 0 {
                templates.line(known.seqs.0).map_or(0, |line| novelty::severity_of(&line))
            } else {
                known.severity
            };
            if severity < least {
                continue;
            }
            let template = templates.template(&source.name, pattern).or_else(|| templates.line(known.seqs.0)).unwrap_or_default();
            let others = others.get_or_insert_with(|| self.templates_of(source, id, fresh, templates));
            if novelty::is_near(&template, others.iter().map(String::as_str)) {
                continue;
            }
            // Two that are alike and new are one piece of news.
            others.push(template);
            let watched = window.0.saturating_sub(source.first.0) * WINDOW_SECONDS;
            let evidence = Evidence {
                actual: known.total as f64,
                unit: "records".to_owned(),
                samples: source.tracked as u32,
                history: format!("{} patterns in {}", source.tracked, span(watched)),
                method: "never seen before, and not like one that was".to_owned(),
                ..Evidence::default()
            };
            let anomaly = Anomaly {
                detector: Detector::NewPattern,
                direction: Direction::Up,
                series: *series,
                since: known.first.min(window),
                last: window,
                severity,
                evidence,
                seqs: known.seqs,
                count: known.total,
                patterns: Vec::new(),
            };
            let (change, entry) = self.ledger.enter(anomaly, window);
            steps.push(Step { change, entry });
        }
    }

    /// Returns the templates of a source that are not among `fresh`.
    fn templates_of(&self, source: &Source, id: SourceId, fresh: &[Series], templates: &dyn Templates) -> Vec<String> {
        let old = self.known.keys().filter(|series| series.source == id && !fresh.contains(series));
        old.filter_map(|series| templates.template(&source.name, series.key.as_pattern()?)).collect()
    }

    /// Returns whether the detectors judge the source as a whole.
    ///
    /// # Errors
    /// The past's.
    pub fn readiness<P: Past>(&self, past: &P, id: SourceId) -> Result<Vec<(Detector, Readiness)>, P::Error> {
        let Some(source) = self.sources.get(&id) else { return Ok(Vec::new()) };
        let (window, all, first) = (self.judged, Series::all(id), source.first);
        let of = |answer: Answer| match answer {
            Answer::Tested(_) => Readiness::Ready,
            Answer::NotEnoughHistory(why) => Readiness::NotEnoughHistory(why),
        };
        let mut left = self.left.clone();
        self.ledger.odd(&mut left);
        let mut states = Vec::new();
        for detector in [Detector::NewPattern, Detector::Rate, Detector::Silence, Detector::Burst, Detector::ErrorRatio] {
            let mut reader = Reader::new(past, &left, all, first);
            let settings = &self.settings;
            let state = match detector {
                _ if !self.looks_at(detector, all) => Readiness::Off("switched off, or ignored for this source".to_owned()),
                Detector::NewPattern | Detector::FormatChanged => {
                    let (age, least) = (window.0.saturating_sub(first.0) * WINDOW_SECONDS, settings.new_pattern.warm_up.as_secs());
                    if source.crowded {
                        Readiness::Off("it has more patterns than log_analysis.max_patterns".to_owned())
                    } else if age < least {
                        Readiness::NotEnoughHistory(format!("counted for {}, of {}", span(age), span(least)))
                    } else {
                        Readiness::Ready
                    }
                }
                Detector::Rate => of(rate::judge(&mut reader, first, window, &settings.rate)?),
                Detector::Silence if !Self::is_on_time(source) => {
                    Readiness::NotEnoughHistory("its records arrive too late to tell in time".to_owned())
                }
                Detector::Silence => {
                    // As if it had stopped just long enough ago to be judged.
                    let gap = settings.silence.min_gap.as_secs().div_ceil(WINDOW_SECONDS);
                    of(silence::judge(&mut reader, first, window.back(gap), window, &settings.silence)?)
                }
                Detector::Burst => of(burst::judge(&mut reader, first, window, &settings.burst, &settings.rate)?),
                Detector::ErrorRatio => {
                    let age = window.0.saturating_sub(first.0) * WINDOW_SECONDS;
                    let least = settings.rate.min_history.as_secs().min(7 * 86_400);
                    if age < least {
                        Readiness::NotEnoughHistory(format!("counted for {}, of {}", span(age), span(least)))
                    } else {
                        Readiness::Ready
                    }
                }
            };
            states.push((detector, state));
        }
        Ok(states)
    }
}

/// Returns all series of the day of `window` and the day before it, with today's counts and yesterday's total.
fn candidates<P: Past>(past: &P, window: Window) -> Result<Vec<(Series, DayCounts, u64)>, P::Error> {
    let (day, _) = window.place();
    let mut all: BTreeMap<Series, (DayCounts, u64)> = BTreeMap::new();
    for (series, counts) in past.all(day)? {
        all.insert(series, (counts, 0));
    }
    for (series, counts) in past.all(day.saturating_sub(1))? {
        all.entry(series).or_default().1 = counts.total();
    }
    Ok(all.into_iter().map(|(series, (today, yesterday))| (series, today, yesterday)).collect())
}
