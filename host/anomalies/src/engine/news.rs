//! Which patterns that were never seen before are news.

use std::collections::BTreeMap;

use super::{Engine, SECONDS_PER_HOUR, Source, Step, Templates, WARNING};
use crate::detect::{novelty, span};
use crate::found::{Anomaly, Detector, Direction, Evidence};
use crate::window::{DAY, Series, SourceId, WINDOW_SECONDS, Window};

impl Engine {
    /// Decides which of the patterns that have been seen for the first time are news.
    pub(super) fn judge_news(&mut self, templates: &dyn Templates, window: Window, now: u64, steps: &mut Vec<Step>) {
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
}
