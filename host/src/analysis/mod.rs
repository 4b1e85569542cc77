//! The analysis engine: analyzers that read the log, and what they find.
//!
//! [`consumer`] reads the log for one analyzer, [`engine`] decides how much at a time and when to store, [`filter`] says which
//! records it gets, [`admit`] checks what it returns, [`store`] remembers, [`runtime`] keeps one consumer running for each
//! analyzer, [`pull`] lets applications be analyzers, [`api`] speaks HTTP. [`detectors`] are built in: they find what is unusual without a component.

pub mod admit;
pub mod api;
pub mod consumer;
pub mod detectors;
pub mod engine;
pub mod filter;
pub mod pull;
pub mod runtime;
pub mod store;
pub mod types;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use watchfire_types::Timestamp;

use crate::alerts::events::Event;
use crate::clock::Clock;
use crate::store::{Database, StoreError};
use crate::telemetry::SelfMetrics;
use types::{AnalyzerState, AnalyzerView, Standing};

/// Records shown of those that an analyzer could not take.
const SHOWN_QUARANTINE: u32 = 20;

/// The analysis engine's handle. Cheap to clone.
#[derive(Clone)]
pub struct Analysis(Arc<Inner>);

struct Inner {
    database: Database,
    retention: Duration,
    clock: Clock,
    metrics: SelfMetrics,
    stored: Arc<watch::Sender<u64>>,
    /// What finds the unusual.
    detectors: detectors::Detectors,
    /// How each analyzer that can run is doing.
    standings: Mutex<BTreeMap<String, Arc<Mutex<Standing>>>>,
}

/// What is wrong with an analyzer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The plugin's name.
    pub plugin: String,
    /// What is wrong.
    pub detail: String,
    /// What to do.
    pub hint: String,
}

impl Analysis {
    /// Opens `analysis.db` in `data`. Findings are kept for `retention`. Blocks on disk.
    ///
    /// # Errors
    /// The database's.
    pub fn open(data: &Path, retention: Duration, clock: Clock, metrics: SelfMetrics) -> Result<Self, StoreError> {
        let database = Database::open(&data.join("analysis.db"), store::MIGRATIONS)?;
        let last = database.read_blocking(store::last_position)?;
        let stored = Arc::new(watch::Sender::new(last));
        Ok(Self(Arc::new(Inner {
            database,
            retention,
            clock,
            metrics,
            stored,
            detectors: detectors::Detectors::default(),
            standings: Mutex::default(),
        })))
    }

    /// Returns at most `limit` findings after `position`, in order. Blocks on disk.
    ///
    /// # Errors
    /// The store's.
    pub fn events_after(&self, position: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.0.database.read_blocking(|connection| store::events_after(connection, position, limit))
    }

    /// Returns the position before the first finding that was stored at `time` or later. Blocks on disk.
    ///
    /// # Errors
    /// The store's.
    pub fn position_at(&self, time: Timestamp) -> Result<u64, StoreError> {
        self.0.database.read_blocking(|connection| store::position_at(connection, time))
    }

    /// Returns a receiver of the last finding's position.
    #[must_use]
    pub fn stored(&self) -> watch::Receiver<u64> {
        self.0.stored.subscribe()
    }

    /// Returns how many analyzers can run.
    #[must_use]
    pub fn analyzers(&self) -> usize {
        self.0.standings.lock().len()
    }

    /// Returns what is wrong with analyzers.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let standings = self.0.standings.lock();
        let problem = |(plugin, standing): (&String, &Arc<Mutex<Standing>>)| {
            let standing = standing.lock();
            let hint = match standing.state {
                AnalyzerState::Waiting => "it is tried again by itself; the records wait in the log".to_owned(),
                AnalyzerState::Held => {
                    format!("`watchfire plugin show {plugin}` says more; mend or replace the component, or disable it")
                }
                AnalyzerState::Failed => format!("mend or replace the component, or `watchfire plugin disable {plugin}`"),
                AnalyzerState::Starting | AnalyzerState::Running | AnalyzerState::Stopped => return None,
            };
            Some(Problem { plugin: plugin.clone(), detail: standing.detail.clone(), hint })
        };
        standings.iter().filter_map(problem).collect()
    }

    /// Returns every analyzer that runs or ever ran, as people see it; `end` is the last position of the log. Blocks on disk.
    ///
    /// # Errors
    /// The store's.
    pub fn views(&self, end: u64) -> Result<Vec<AnalyzerView>, StoreError> {
        let (cursors, mut quarantined) = self
            .0
            .database
            .read_blocking(|connection| Ok((store::cursors(connection)?, store::quarantined(connection, SHOWN_QUARANTINE)?)))?;
        let standings: BTreeMap<String, Standing> =
            self.0.standings.lock().iter().map(|(plugin, standing)| (plugin.clone(), standing.lock().clone())).collect();
        let names: std::collections::BTreeSet<&String> = cursors.keys().chain(standings.keys()).collect();
        let view = |plugin: &String| {
            let (cursor, stored_at) = cursors.get(plugin).copied().unzip();
            let standing = standings.get(plugin);
            let stopped =
                || Standing { state: AnalyzerState::Stopped, detail: "its plugin does not run".to_owned(), ..Standing::default() };
            let pulled =
                || Standing { state: AnalyzerState::Running, detail: "an application asks".to_owned(), ..Standing::default() };
            let standing = standing.cloned().unwrap_or_else(|| if plugin.starts_with(pull::PREFIX) { pulled() } else { stopped() });
            let cursor = cursor.unwrap_or(0);
            let (count, last) = quarantined.remove(plugin).unwrap_or_default();
            AnalyzerView {
                plugin: plugin.clone(),
                state: standing.state,
                detail: standing.detail,
                cursor: cursor.to_string(),
                lag_records: end.saturating_sub(standing.position.max(cursor)),
                committed_at: stored_at,
                records: standing.records,
                quarantined: count,
                quarantine: last,
            }
        };
        Ok(names.into_iter().map(view).collect())
    }

    /// Closes the database, once all consumers have ended. Blocks; later calls fail as closed.
    pub fn close(&self) {
        self.0.database.close();
    }
}
