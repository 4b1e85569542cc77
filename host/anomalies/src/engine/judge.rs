//! Judges windows: what is silent, more or less than usual, or fails more often.

use std::collections::{BTreeMap, BTreeSet};

use super::{ERROR, Engine, FALSE_DISCOVERIES, MANY_PATTERNS, MAX_BACKLOG, MAX_LATE_SHARE, Source, Step, Templates, WARNING};
use crate::detect::{Answer, Test, burst, rate, ratio, silence};
use crate::found::{Anomaly, Detector, Direction};
use crate::ledger::Change;
use crate::past::{Past, Reader};
use crate::stats::benjamini_hochberg;
use crate::window::{DAY, DayCounts, HOUR, Key, Series, SourceId, WINDOW_SECONDS, Window};

impl Engine {
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

    pub(super) fn looks_at(&self, detector: Detector, series: Series) -> bool {
        let name = self.sources.get(&series.source).map_or("", |source| &source.name);
        let muted = self.muted.contains(&(detector, series)) || self.muted.contains(&(detector, Series::all(series.source)));
        !muted && self.settings.looks_at(detector, name)
    }

    /// Returns whether enough of a source is there in time that what is missing says something.
    pub(super) fn is_on_time(source: &Source) -> bool {
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
