//! Source maps, as sentry-cli uploads them: what a minified call was before it was minified.
//!
//! [`upload`] speaks with sentry-cli, `multipart`, `zip` and [`bundle`] read what it sends, `assemble` makes files of it, `store`
//! remembers them, [`map`], `names` and `urls` read them, `resolve` answers the error engine, [`api`] shows what there is.
//!
//! **Invariant**: nothing that is uploaded is believed: everything has a bound before it is unpacked or read, and a map that cannot be
//! read is one that is not there.

pub mod api;
mod assemble;
pub mod bundle;
mod cache;
pub mod map;
mod multipart;
mod names;
mod resolve;
mod shape;
mod store;
pub mod upload;
mod urls;
mod zip;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::SourceMapSettings;
use crate::store::{Database, StoreError};
use crate::telemetry::{Counter, Gauge, SelfMetrics};
pub use assemble::{Assembled, Wanted};
use cache::Cache;
pub use store::BundleView;
use store::Totals;

/// Longest bundle, in bytes as it is uploaded: it is put together in memory.
pub const MAX_BUNDLE_BYTES: u64 = 64 << 20;
/// Parts that are on their way, in bytes: enough for two bundles.
const MAX_PENDING_BYTES: u64 = 2 * MAX_BUNDLE_BYTES;
/// How long parts wait for the rest of their bundle.
const PENDING_AGE: Duration = Duration::from_secs(3_600);
/// How often what is too old is looked for.
const CLEAN_EVERY: Duration = Duration::from_secs(3_600);
/// Maps that have been read, in bytes.
const CACHE_BYTES: usize = 64 << 20;
/// Bundles that are listed at most.
const MAX_LISTED: usize = 1_000;

/// The source maps' handle. Cheap to clone.
#[derive(Clone)]
pub struct SourceMaps(Arc<Inner>);

struct Inner {
    database: Database,
    settings: SourceMapSettings,
    clock: Clock,
    cache: Cache,
    /// Bundles that were used since that was stored last.
    used: Mutex<BTreeSet<i64>>,
    totals: Mutex<Totals>,
    /// Why they cannot be stored or read at present.
    failure: Mutex<Option<String>>,
    /// One bundle is put together at a time: each may take much memory.
    assembling: Semaphore,
    meters: Meters,
}

struct Meters {
    bundles: Gauge,
    bytes: Gauge,
    /// By outcome.
    uploads: [(&'static str, Counter); 2],
    /// By reason.
    removed: [(&'static str, Counter); 3],
    /// By outcome.
    calls: [(&'static str, Counter); 3],
}

impl Meters {
    fn new(metrics: &SelfMetrics) -> Self {
        let removed = |reason| (reason, metrics.counter("watchfire_source_map_removals_total", &[("reason", reason)]));
        let uploads = |outcome| (outcome, metrics.counter("watchfire_source_map_uploads_total", &[("outcome", outcome)]));
        let calls = |outcome| (outcome, metrics.counter("watchfire_source_map_calls_total", &[("outcome", outcome)]));
        Self {
            bundles: metrics.gauge("watchfire_source_map_bundles", &[]),
            bytes: metrics.gauge("watchfire_source_map_bytes", &[]),
            uploads: ["ok", "refused"].map(uploads),
            removed: ["age", "bytes", "incomplete"].map(removed),
            calls: ["resolved", "unknown", "no_map"].map(calls),
        }
    }
}

/// Counts `by` under `name`.
fn count(counters: &[(&'static str, Counter)], name: &str, by: u64) {
    if let Some((_, counter)) = counters.iter().find(|(known, _)| *known == name) {
        counter.add(by);
    }
}

impl SourceMaps {
    /// Opens `<data>/source_maps.db`. Blocks on disk.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be opened.
    pub fn open(data: &Path, settings: SourceMapSettings, clock: Clock, metrics: &SelfMetrics) -> Result<Self, StoreError> {
        let database = Database::open(&data.join("source_maps.db"), store::MIGRATIONS)?;
        let totals = database.read_blocking(store::totals)?;
        let maps = Self(Arc::new(Inner {
            database,
            settings,
            clock,
            cache: Cache::new(CACHE_BYTES),
            used: Mutex::default(),
            totals: Mutex::default(),
            failure: Mutex::default(),
            assembling: Semaphore::new(1),
            meters: Meters::new(metrics),
        }));
        maps.set_totals(totals);
        Ok(maps)
    }

    fn set_totals(&self, totals: Totals) {
        self.0.meters.bundles.set(totals.bundles as f64);
        self.0.meters.bytes.set(totals.bytes as f64);
        *self.0.totals.lock() = totals;
    }

    /// Returns what there is, in words, or why it does not work.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn status(&self) -> Result<String, String> {
        if let Some(failure) = self.0.failure.lock().clone() {
            return Err(failure);
        }
        let Totals { bundles, files, bytes } = *self.0.totals.lock();
        let most = self.0.settings.max_bytes;
        Ok(format!("{bundles} bundles with {files} files, {bytes} of {most} bytes"))
    }

    /// Returns the bundles, of `release` if one is named, those uploaded last first: a thousand at most.
    ///
    /// # Errors
    /// The database's.
    pub async fn list(&self, release: Option<String>) -> Result<Vec<BundleView>, StoreError> {
        self.store_used().await?;
        self.0.database.read(move |connection| store::list(connection, release.as_deref(), MAX_LISTED)).await
    }

    /// Deletes a bundle; returns whether there was one. What it has resolved stays resolved.
    ///
    /// # Errors
    /// The database's.
    pub async fn remove(&self, id: i64) -> Result<bool, StoreError> {
        let work =
            move |transaction: &rusqlite::Transaction<'_>| Ok((store::remove(transaction, id)?, store::totals(transaction)?));
        let (found, totals) = self.0.database.write(work).await?;
        self.0.cache.clear();
        self.set_totals(totals);
        Ok(found)
    }

    /// Keeps parts of a bundle that is on its way, each by its SHA-1.
    ///
    /// # Errors
    /// The database's.
    async fn add_chunks(&self, chunks: Vec<(String, Vec<u8>)>) -> Result<(), StoreError> {
        let now = self.0.clock.now();
        let work = move |transaction: &rusqlite::Transaction<'_>| {
            store::add_chunks(transaction, &chunks, now)?;
            let dropped = store::collect_chunks(transaction, now.minus(PENDING_AGE), MAX_PENDING_BYTES)?;
            Ok((dropped, store::totals(transaction)?))
        };
        let (dropped, totals) = self.0.database.write(work).await?;
        count(&self.0.meters.removed, "incomplete", dropped);
        self.set_totals(totals);
        Ok(())
    }

    /// Stores which bundles were used.
    async fn store_used(&self) -> Result<(), StoreError> {
        let used: Vec<i64> = std::mem::take(&mut *self.0.used.lock()).into_iter().collect();
        if used.is_empty() {
            return Ok(());
        }
        let now = self.0.clock.now();
        self.0.database.write(move |transaction| store::used(transaction, &used, now)).await
    }

    /// Drops what is too old, too much, or was never finished.
    ///
    /// # Errors
    /// The database's.
    pub async fn clean(&self) -> Result<(), StoreError> {
        self.store_used().await?;
        let (settings, now) = (self.0.settings.clone(), self.0.clock.now());
        let work = move |transaction: &rusqlite::Transaction<'_>| {
            let incomplete = store::collect_chunks(transaction, now.minus(PENDING_AGE), MAX_PENDING_BYTES)?;
            let old = store::remove_unused(transaction, now.minus(settings.max_age))?;
            let beyond = store::remove_beyond(transaction, settings.max_bytes)?;
            Ok((incomplete, old, beyond, store::totals(transaction)?))
        };
        let (incomplete, old, beyond, totals) = self.0.database.write(work).await?;
        count(&self.0.meters.removed, "incomplete", incomplete);
        count(&self.0.meters.removed, "age", old);
        count(&self.0.meters.removed, "bytes", beyond);
        if old + beyond > 0 {
            tracing::info!(old, beyond, "deleted source maps: {old} bundles too long unused, {beyond} beyond the limit of bytes");
            self.0.cache.clear();
        }
        self.set_totals(totals);
        Ok(())
    }

    /// Cleans once an hour until `shutdown`.
    ///
    /// # Errors
    /// Never: failures are logged, shown by `status`, and tried again.
    pub async fn run(&self, shutdown: CancellationToken) -> Result<(), StoreError> {
        loop {
            let outcome = self.clean().await;
            if let Err(StoreError::Closed) = outcome {
                return Ok(());
            }
            self.note(outcome.as_ref().err());
            let next = self.0.clock.now().plus(CLEAN_EVERY);
            tokio::select! {
                () = shutdown.cancelled() => {
                    // What fails here makes a bundle look older than it is, no more.
                    let _ = self.store_used().await;
                    return Ok(());
                }
                () = self.0.clock.sleep_until(next) => {}
            }
        }
    }

    /// Notes whether the store works.
    fn note(&self, error: Option<&StoreError>) {
        let reason = error.map(|error| {
            let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
            format!("{error}{cause}")
        });
        let before = std::mem::replace(&mut *self.0.failure.lock(), reason.clone());
        if let Some(reason) = reason
            && before.as_ref() != Some(&reason)
        {
            tracing::warn!(reason, "source maps cannot be read or stored; errors keep their minified calls meanwhile");
        }
    }

    /// Closes its file. Blocks.
    pub fn close(&self) {
        self.0.database.close();
    }
}

/// Reads a bundle and every map in it, whatever it is: for fuzzing.
#[doc(hidden)]
pub fn read_for_tests(bytes: &[u8]) -> bool {
    let call =
        crate::errors::originals::Call { file: "https://shop.example/static/app.min.js", line: 1, column: 40, function: "e.pay" };
    bundle::read(bytes, |file| {
        if file.kind == bundle::Kind::SourceMap
            && let Ok(map) = map::ReadMap::read(&file.content, Some(b"var e=class{pay(){o()}}".to_vec()), "fuzz")
        {
            let _ = map.original(&call);
        }
        Ok(())
    })
    .is_ok()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
