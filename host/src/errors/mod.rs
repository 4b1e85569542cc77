//! The error engine: errors in the log become issues, each with its count, its occurrences and what was decided about it.
//!
//! [`detect`] finds error events in the log, [`stack`] and [`template`] read them, [`originals`] undoes what a minifier did, [`fingerprint`] says which are the same error,
//! [`engine`] gathers, [`store`] and [`bodies`] remember, [`runtime`] reads the log, [`api`] speaks HTTP.
//!
//! **Invariant**: errors come from the log alone, in the order of their arrival; what is sent to [`capture`] goes through the log too.

pub mod api;
mod around;
pub mod bodies;
pub mod capture;
pub mod decisions;
pub mod detect;
pub mod engine;
pub mod fingerprint;
pub mod hashes;
pub mod links;
pub mod originals;
pub mod rules;
pub mod runtime;
pub mod search;
pub mod stack;
pub mod store;
pub mod structured;
pub mod tags;
pub mod template;
pub mod types;
pub mod users;
pub mod why;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use watchfire_types::{Day, Timestamp};

use crate::alerts::events::Event;
use crate::clock::Clock;
use crate::config::ErrorTracking;
use crate::store::crash::crash_point;
use crate::store::{Database, StoreError};
use crate::telemetry::{Counter, Gauge, SelfMetrics};
use bodies::Bodies;
use decisions::{Decision, MergeProblem};
pub use detect::is_error;
use originals::Originals;
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
    originals: Arc<dyn Originals>,
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
        originals: Arc<dyn Originals>,
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
            originals,
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
            let read = |connection: &rusqlite::Connection| {
                let found = store::detail(connection, &id, now)?;
                found.map(|(detail, sample)| Ok((store::family(connection, &detail.issue.id)?, detail, sample))).transpose()
            };
            let found = inner.database.read_blocking(read)?;
            Ok(found.map(|(family, mut detail, sample)| {
                detail.events = inner.bodies.newest(&family, SHOWN_EVENTS);
                if detail.events.is_empty() {
                    // They went with their day.
                    detail.events.extend(sample);
                }
                for event in &mut detail.events {
                    event.links = Some(links::of(event));
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
    pub async fn decide(&self, id: &str, decision: Decision, stored: u64) -> Result<bool, StoreError> {
        let (id, now) = (id.to_owned(), self.0.clock.now());
        let decide = move |transaction: &rusqlite::Transaction<'_>| {
            let decided = decisions::decide(transaction, &id, &decision, stored, now)?;
            crash_point("errors.decided");
            Ok(decided)
        };
        let found = self.0.database.write(decide).await?;
        self.count_issues().await?;
        Ok(found)
    }

    /// Returns why events are taken for an issue; `None` if there is none of this id.
    ///
    /// # Errors
    /// The database's.
    pub async fn why(&self, id: &str) -> Result<Option<why::Why>, StoreError> {
        let Some(detail) = self.issue(id).await? else { return Ok(None) };
        let rules = &self.0.settings.grouping;
        let components =
            detail.events.first().map_or_else(Vec::new, |event| why::components(event, event.trace(rules).as_ref(), rules));
        let issue = detail.issue.id.clone();
        let hashes = self.0.database.read(move |connection| hashes::of_issue(connection, &issue)).await?;
        Ok(Some(why::Why { issue: detail.issue.id, grouping: detail.grouping, components, hashes, merged: detail.merged }))
    }

    /// Says who sees to an issue; nobody, if `who` is empty. Returns whether there is such an issue.
    ///
    /// # Errors
    /// The database's.
    pub async fn assign(&self, id: &str, who: &str) -> Result<bool, StoreError> {
        let (id, who) = (id.to_owned(), who.to_owned());
        self.0.database.write(move |transaction| decisions::assign(transaction, &id, &who)).await
    }

    /// Adds a comment to an issue. Returns whether there is such an issue.
    ///
    /// # Errors
    /// The database's.
    pub async fn comment(&self, id: &str, author: &str, text: &str) -> Result<bool, StoreError> {
        let (id, author, text, now) = (id.to_owned(), author.to_owned(), text.to_owned(), self.0.clock.now());
        self.0.database.write(move |transaction| decisions::comment(transaction, &id, &author, &text, now)).await
    }

    /// Merges `others` into `id`; returns the issue as which all are shown, or why that cannot be.
    ///
    /// # Errors
    /// The database's.
    pub async fn merge(&self, id: &str, others: Vec<String>) -> Result<Result<String, MergeProblem>, StoreError> {
        let id = id.to_owned();
        let merge = move |transaction: &rusqlite::Transaction<'_>| {
            let merged = decisions::merge(transaction, &id, &others)?;
            crash_point("errors.merged");
            Ok(merged)
        };
        let merged = self.0.database.write(merge).await?;
        self.count_issues().await?;
        Ok(merged)
    }

    /// Takes an issue out of what it is merged into, or all that is merged into it out of it. Returns what stands alone again; `None` if
    /// there is no such issue.
    ///
    /// # Errors
    /// The database's.
    pub async fn unmerge(&self, id: &str) -> Result<Option<Vec<String>>, StoreError> {
        let id = id.to_owned();
        let unmerge = move |transaction: &rusqlite::Transaction<'_>| {
            let out = decisions::unmerge(transaction, &id)?;
            crash_point("errors.unmerged");
            Ok(out)
        };
        let out = self.0.database.write(unmerge).await?;
        self.count_issues().await?;
        Ok(out)
    }

    /// Returns the issues that the rows of `batch` belong to, as far as they are known; a new one has the id that it will get.
    ///
    /// # Errors
    /// The database's.
    pub async fn issues_of(&self, batch: &watchfire_types::LogBatch) -> Result<Vec<String>, StoreError> {
        let (inner, batch, now) = (Arc::clone(&self.0), batch.clone(), self.0.clock.now());
        let find = move |connection: &rusqlite::Connection| {
            let (rules, originals) = (&inner.settings.grouping, &*inner.originals);
            let grouped: Vec<_> = (0..batch.len()).map(|row| types::ErrorEvent::grouped(&batch, row, rules, originals).1).collect();
            let one = |grouped: &fingerprint::Grouped| match hashes::find(connection, grouped, now)? {
                Some((issue, _)) => Ok(decisions::shown_as(connection, &issue)?.unwrap_or(issue)),
                None => Ok(grouped.id().to_owned()),
            };
            grouped.iter().map(one).collect()
        };
        self.0.database.read(find).await
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
