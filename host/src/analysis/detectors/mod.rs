//! The built-in detectors: what is unusual in the log, found by a durable consumer of their own.
//!
//! [`watch`] reads the log, [`tally`] says when what was read is judged, `watchfire-anomalies` judges, [`store`] remembers, [`texts`] says
//! it, [`api`] speaks HTTP.

pub mod api;
pub mod store;
pub mod tally;
pub mod texts;
pub mod types;
pub mod watch;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use watchfire_anomalies::{Engine, Settings, Window};
use watchfire_types::Timestamp;

use super::Analysis;
use crate::store::StoreError;
use store::{StoredAnomaly, StoredPast};
use types::{ReadinessView, SourceView};

/// What the detectors are run with.
#[derive(Clone, Debug)]
pub struct DetectorSettings {
    /// How often windows are judged.
    pub interval: Duration,
    /// How.
    pub settings: Settings,
}

/// The detectors as others see them.
#[derive(Clone, Default)]
pub struct Detectors(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// There while they run.
    engine: Mutex<Option<Engine>>,
    /// Why they do not get on, if so.
    failure: Mutex<Option<String>>,
    /// What is muted has changed.
    mutes_changed: std::sync::atomic::AtomicBool,
}

/// How the detectors are doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetectorsState {
    /// Sources that are counted.
    pub sources: usize,
    /// Patterns that are counted.
    pub patterns: usize,
    /// What goes on.
    pub open: usize,
    /// The end of the last window that was judged.
    pub judged: Timestamp,
}

impl Detectors {
    /// Returns how they are doing; `None` if they do not run.
    #[must_use]
    pub fn state(&self) -> Option<DetectorsState> {
        let engine = self.0.engine.lock();
        engine.as_ref().map(|engine| DetectorsState {
            sources: engine.sources().count(),
            patterns: engine.patterns().count(),
            open: engine.open().count(),
            judged: Timestamp::from_seconds(engine.judged().end_seconds()),
        })
    }

    /// Returns why they do not get on, if so.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.0.failure.lock().clone()
    }
}

impl Analysis {
    /// Returns the detectors.
    #[must_use]
    pub fn detectors(&self) -> &Detectors {
        &self.0.detectors
    }

    /// Returns at most `limit` anomalies that went on between `since` and `until`, the newest first. Blocks on disk.
    ///
    /// # Errors
    /// The store's.
    pub fn anomalies(&self, since: Timestamp, until: Timestamp, limit: u32) -> Result<Vec<StoredAnomaly>, StoreError> {
        let window = |time: Timestamp| Window::of_nanos(time.as_nanos());
        self.0.database.read_blocking(|connection| store::anomalies(connection, window(since), Window(window(until).0 + 1), limit))
    }

    /// Returns patterns that were counted for the first time at `since` or later, with their source, the newest first. Empty while the
    /// detectors do not run.
    #[must_use]
    pub fn new_patterns(&self, since: Timestamp, limit: usize) -> Vec<(String, u64, watchfire_anomalies::engine::Known)> {
        let engine = self.0.detectors.0.engine.lock();
        let Some(engine) = engine.as_ref() else { return Vec::new() };
        let first = Window::of_nanos(since.as_nanos());
        let of = |(series, known): (watchfire_anomalies::Series, &watchfire_anomalies::engine::Known)| {
            let source = engine.source(series.source)?;
            // All patterns of a source that is new itself are new: that is no news.
            let new = known.first >= first && source.first < first;
            new.then(|| Some((source.name.clone(), series.key.as_pattern()?, *known)))?
        };
        let mut found: Vec<_> = engine.patterns().filter_map(of).collect();
        found.sort_by_key(|(_, pattern, known)| (std::cmp::Reverse(known.first), *pattern));
        found.truncate(limit);
        found
    }

    /// Returns what is known of a pattern; nothing while the detectors do not run.
    #[must_use]
    pub fn known_pattern(&self, source: &str, pattern: u64) -> Option<watchfire_anomalies::engine::Known> {
        let engine = self.0.detectors.0.engine.lock();
        let engine = engine.as_ref()?;
        let series =
            watchfire_anomalies::Series { source: engine.source_id(source)?, key: watchfire_anomalies::Key::pattern(pattern) };
        engine.known(series).copied()
    }

    /// Returns what is known of each source, at most `limit` of them, and which detectors judge it. Blocks on disk.
    ///
    /// # Errors
    /// The store's.
    pub fn sources(&self, limit: usize) -> Result<Vec<SourceView>, StoreError> {
        self.0.database.read_blocking(|connection| {
            let engine = self.0.detectors.0.engine.lock();
            let Some(engine) = engine.as_ref() else { return Ok(Vec::new()) };
            let mut views = Vec::new();
            for (id, source) in engine.sources().take(limit) {
                let readiness = engine.readiness(&StoredPast(connection), id)?;
                views.push(SourceView {
                    source: source.name.clone(),
                    first_seen: texts::start(source.first),
                    last_seen: texts::start(source.last),
                    patterns: source.tracked as u64,
                    crowded: source.crowded,
                    late_share: source.late / source.recent.max(1.0),
                    detectors: readiness.into_iter().map(|(detector, state)| ReadinessView::new(detector, state)).collect(),
                });
            }
            Ok(views)
        })
    }
}
