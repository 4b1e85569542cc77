//! The error engine: errors in the log become issues, each with its count, its occurrences and what was decided about it.
//!
//! [`detect`] finds error events in the log, [`stack`] and [`template`] read them, [`fingerprint`] says which are the same error,
//! [`engine`] gathers, [`store`] and [`bodies`] remember, [`runtime`] reads the log, [`api`] speaks HTTP.
//!
//! **Invariant**: errors come from the log alone, in the order of their arrival; what is sent to [`capture`] goes through the log too.

pub mod api;
pub mod bodies;
pub mod capture;
pub mod detect;
pub mod engine;
pub mod fingerprint;
pub mod runtime;
pub mod stack;
pub mod store;
pub mod template;
pub mod types;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use watchfire_types::{Day, Timestamp};

use crate::alerts::events::Event;
use crate::clock::Clock;
use crate::config::ErrorTracking;
use crate::store::{Database, StoreError};
use crate::telemetry::{Counter, Gauge, SelfMetrics};
use bodies::Bodies;
pub use detect::is_error;
use types::{IssueDetail, IssueStatus};

/// Occurrences that are shown with an issue.
const SHOWN_EVENTS: usize = 10;
/// How long a gap in what was read is a problem: it cannot be mended.
const GAP_SHOWN: Duration = Duration::from_secs(86_400);

/// The error engine's handle. Cheap to clone.
#[derive(Clone)]
pub struct Errors(Arc<Inner>);

struct Inner {
    database: Database,
    bodies: Bodies,
    settings: ErrorTracking,
    clock: Clock,
    stored: watch::Sender<u64>,
    /// Why errors cannot be stored or read at present.
    failure: Mutex<Option<String>>,
    /// Log records that were gone before errors were looked for in them, and when that was seen last.
    missed: Mutex<(u64, Timestamp)>,
    meters: Meters,
}

/// The engine's own series.
struct Meters {
    events: Counter,
    captured: Counter,
    issues: Vec<(IssueStatus, Gauge)>,
    lag: Gauge,
}

impl Errors {
    /// Opens the engine on `database`, which has the tables of `state.db`, and the files in `<data>/errors`.
    ///
    /// # Errors
    /// [`StoreError`] when a file cannot be opened.
    pub async fn open(
        data: &Path,
        database: Database,
        settings: ErrorTracking,
        clock: Clock,
        metrics: &SelfMetrics,
    ) -> Result<Self, StoreError> {
        let folder = data.join("errors");
        let bodies = tokio::task::spawn_blocking(move || Bodies::open(&folder)).await.map_err(|_| StoreError::Closed)??;
        let position = database.read(store::last_position).await?;
        let issues = |status: &IssueStatus| (*status, metrics.gauge("watchfire_issues", &[("status", status.name())]));
        let errors = Self(Arc::new(Inner {
            database,
            bodies,
            settings,
            clock,
            stored: watch::Sender::new(position),
            failure: Mutex::new(None),
            missed: Mutex::new((0, Timestamp::ZERO)),
            meters: Meters {
                events: metrics.counter("watchfire_error_events_total", &[]),
                captured: metrics.counter("watchfire_input_records_total", &[("input", "errors")]),
                issues: IssueStatus::ALL.iter().map(issues).collect(),
                lag: metrics.gauge("watchfire_errors_lag_records", &[]),
            },
        }));
        errors.count_issues().await?;
        Ok(errors)
    }

    /// Brings the gauges in line with what is stored.
    async fn count_issues(&self) -> Result<(), StoreError> {
        let statuses = self.0.database.read(store::statuses).await?;
        for ((_, count), (_, gauge)) in statuses.iter().zip(&self.0.meters.issues) {
            gauge.set(*count as f64);
        }
        Ok(())
    }

    /// Returns what is wrong, in words; empty when all is well.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let (missed, at) = *self.0.missed.lock();
        let gap = (missed > 0 && self.0.clock.now().since(at) < GAP_SHOWN)
            .then(|| format!("{missed} log records were dropped or damaged before errors were looked for in them"));
        self.0.failure.lock().clone().into_iter().chain(gap).collect()
    }

    /// Returns how many issues are unresolved.
    #[must_use]
    pub fn unresolved(&self) -> u64 {
        let gauge = self.0.meters.issues.iter().find(|(status, _)| *status == IssueStatus::Unresolved);
        gauge.map_or(0, |(_, gauge)| gauge.get() as u64)
    }

    /// Returns at most `limit` events after `position`, in order: new issues, and resolved ones that came back. Blocks on disk.
    ///
    /// # Errors
    /// The database's.
    pub fn events_after(&self, position: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.0.database.read_blocking(|connection| store::events_after(connection, position, limit))
    }

    /// Returns the position before the first event that was stored at `time` or later. Blocks on disk.
    ///
    /// # Errors
    /// The database's.
    pub fn position_at(&self, time: Timestamp) -> Result<u64, StoreError> {
        self.0.database.read_blocking(|connection| store::position_at(connection, time))
    }

    /// Returns a receiver of the last event's position.
    #[must_use]
    pub fn stored(&self) -> watch::Receiver<u64> {
        self.0.stored.subscribe()
    }

    /// Returns how many errors there were in the last `hours`, and the `top` most frequent issues. Blocks on disk.
    ///
    /// # Errors
    /// The database's.
    pub fn statistics(&self, hours: u64, top: usize) -> Result<types::ErrorStatistics, StoreError> {
        let now = self.0.clock.now();
        self.0.database.read_blocking(|connection| store::statistics(connection, hours, top, now))
    }

    /// Returns an issue with all that is known of it; `None` if there is none of this id.
    ///
    /// # Errors
    /// The database's.
    pub async fn issue(&self, id: &str) -> Result<Option<IssueDetail>, StoreError> {
        let (inner, id) = (Arc::clone(&self.0), id.to_owned());
        let read = move || {
            let now = inner.clock.now();
            let found = inner.database.read_blocking(|connection| store::detail(connection, &id, now))?;
            Ok(found.map(|(mut detail, sample)| {
                detail.events = inner.bodies.newest(&id, SHOWN_EVENTS);
                if detail.events.is_empty() {
                    // They went with their day.
                    detail.events.extend(sample);
                }
                detail
            }))
        };
        tokio::task::spawn_blocking(read).await.map_err(|_| StoreError::Closed)?
    }

    /// Decides about an issue; `stored` is the last log record stored, and only what comes after it brings a resolved issue back.
    /// Returns whether there is such an issue.
    ///
    /// # Errors
    /// The database's.
    pub async fn set_status(&self, id: &str, status: IssueStatus, stored: u64) -> Result<bool, StoreError> {
        let (id, now) = (id.to_owned(), self.0.clock.now());
        let found = self.0.database.write(move |transaction| store::set_status(transaction, &id, status, stored, now)).await?;
        self.count_issues().await?;
        Ok(found)
    }

    /// Drops the bodies of events of days before `day`; issues and counts stay. Blocks.
    pub fn drop_before(&self, day: Day) -> usize {
        self.0.bodies.drop_before(day)
    }

    /// Closes its files. Blocks.
    pub fn close(&self) {
        self.0.bodies.close();
    }
}
