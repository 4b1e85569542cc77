//! What a consumer works with: the analyst that it calls, the records, the clocks, its own series.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;
use watchfire_types::{LogBatch, Timestamp};

use crate::analysis::admit::Sample;
use crate::analysis::types::Standing;
use crate::clock::Clock;
use crate::plugins::kv::{KvBackend, KvChanges};
use crate::plugins::{AnalyzerInput, CallError, OnFailure, Subscription, wire};
use crate::store::{Database, StoreError};
use crate::telemetry::{Counter, Gauge, SelfMetrics};

/// What looks at records. All calls may block.
pub trait Analyst {
    /// Takes back what [`Self::save`] returned.
    ///
    /// # Errors
    /// As any call into a component.
    fn restore(&mut self, from_version: u32, state: &[u8], now: Timestamp) -> Result<(), CallError>;
    /// Looks at records.
    ///
    /// # Errors
    /// As any call into a component.
    fn analyze(&mut self, input: &AnalyzerInput, now: Timestamp) -> Result<wire::Analysis, CallError>;
    /// Is told that time has passed.
    ///
    /// # Errors
    /// As any call into a component.
    fn tick(&mut self, now: Timestamp, watermark: Timestamp) -> Result<wire::Analysis, CallError>;
    /// Returns what it wants to be given back.
    ///
    /// # Errors
    /// As any call into a component.
    fn save(&mut self, now: Timestamp) -> Result<Vec<u8>, CallError>;
    /// Returns what its successful calls have changed among its kept values since this was last asked.
    fn take_kv(&mut self) -> KvChanges;
    /// Returns the bytes of memory that it has taken.
    fn memory_bytes(&self) -> usize;
    /// Returns how many calls it has answered.
    fn calls(&self) -> u64;
}

/// What makes analysts: a component.
pub trait Component: Send + Sync {
    /// Makes one that has seen nothing yet.
    ///
    /// # Errors
    /// As any call into a component; [`CallError::Backoff`] if it failed lately.
    fn start(&self, kv: Arc<dyn KvBackend>, now: Timestamp) -> Result<Box<dyn Analyst>, CallError>;
    /// Takes a point of one of its own series.
    fn sample(&self, sample: &Sample);
}

/// Where the records are. Reading may block on disk.
pub trait Records: Send + Sync {
    /// Returns about `limit` records after `cursor`, in order; none if there are none.
    ///
    /// # Errors
    /// The store's.
    fn read_after(&self, cursor: u64, limit: usize) -> Result<LogBatch, StoreError>;
    /// Returns a receiver of the last stored position.
    fn committed(&self) -> watch::Receiver<u64>;
}

/// What is known of an analyzer before it runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The plugin's name.
    pub plugin: String,
    /// SHA-256 of its component.
    pub component: String,
    /// Version of what it saves.
    pub state_version: u32,
    /// Which records it wants.
    pub subscription: Subscription,
    /// Most bytes of memory that it may take.
    pub memory_bytes: usize,
    /// What happens to a record that it cannot take.
    pub on_failure: OnFailure,
}

/// Tells how much real time passes, in which nobody sees a clock.
pub type Instants = Box<dyn Fn() -> Instant + Send>;

/// What a consumer needs of the host.
pub struct Surroundings {
    /// The log.
    pub records: Arc<dyn Records>,
    /// `analysis.db`.
    pub database: Database,
    /// Told the position of each last finding.
    pub stored: Arc<watch::Sender<u64>>,
    /// The host's clock.
    pub clock: Clock,
    /// Real time.
    pub instants: Instants,
    /// Where it says how it is doing.
    pub standing: Arc<Mutex<Standing>>,
}

/// When to look again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Next {
    /// At this time of the host's clock,
    pub at: Option<Timestamp>,
    /// or after so much real time,
    pub within: Option<Duration>,
    /// or when there are new records.
    pub records: bool,
}

/// The analyzer's own series.
pub struct Meters {
    pub(super) lag: Gauge,
    pub(super) findings: Counter,
    pub(super) records: Counter,
    pub(super) quarantined: Counter,
    pub(super) malformed: Counter,
}

impl Meters {
    /// Returns the series of `plugin`.
    #[must_use]
    pub fn new(plugin: &str, metrics: &SelfMetrics) -> Self {
        let labels = [("plugin", plugin)];
        Self {
            lag: metrics.gauge("watchfire_analyzer_lag_records", &labels),
            findings: metrics.counter("watchfire_findings_total", &labels),
            records: metrics.counter("watchfire_analyzer_records_total", &labels),
            quarantined: metrics.counter("watchfire_analyzer_quarantined_total", &labels),
            malformed: metrics.counter("watchfire_analyzer_malformed_total", &labels),
        }
    }
}
