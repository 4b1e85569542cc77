//! Gives every record the id of its pattern, between the queue and the block.
//!
//! There is one miner for each source (`service.name`). What a miner learns is stored in the transaction of the block for which it
//! learnt it, so that after a crash the same line has the same id and every id in a block has its template.

pub mod api;
mod counts;
mod merges;
mod sources;
pub(super) mod table;
#[cfg(test)]
mod tests;
mod values;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use parking_lot::RwLock;
use rustc_hash::{FxHashMap, FxHashSet};
use watchfire_types::log::service_of;
use watchfire_types::{Day, LogBatch};

use super::files::Files;
use crate::store::ids::Ids;
use crate::store::{Database, StoreError};
use crate::telemetry::{Counter, Gauge, SelfMetrics};
pub(super) use merges::Merges;
use sources::Sources;
pub(super) use table::Changes;
pub use table::PatternInfo;
use table::{PatternRow, Unsaved};

/// Kinds of bodies that have a pattern: text and JSON.
const MINED_KINDS: [u8; 2] = [1, 6];
/// Longest sample line that is remembered, in bytes.
const SAMPLE_BYTES: usize = 1024;
/// Ids noted as used today; beyond that they are noted anew, which costs a row each and changes nothing.
const MAX_NOTED: usize = 1_000_000;

/// How patterns are mined.
#[derive(Clone)]
pub struct Settings {
    /// Where ids are reserved.
    pub state: Database,
    /// Patterns that one source has in memory at most.
    pub max_patterns: usize,
}

/// What writer, readers and the stage tell each other.
#[derive(Default)]
pub(super) struct Shared {
    /// What has been merged and stored.
    pub(super) merges: RwLock<Merges>,
    /// How often something was added to them.
    pub(super) merge_count: AtomicU64,
    /// Up to which generation changes are stored.
    pub(super) stored: AtomicU64,
    /// Whether so many changes wait to be stored that no more should come.
    pub(super) is_full: AtomicBool,
    /// The day whose file is the current one.
    pub(super) day: AtomicU32,
}

impl Shared {
    /// Says that all of `unsaved` is stored.
    pub(super) fn committed(&self, unsaved: &mut Unsaved) {
        let (merged, generation) = unsaved.committed();
        if !merged.is_empty() {
            let mut merges = self.merges.write();
            merged.into_iter().for_each(|(from, into)| merges.add(from, into));
            self.merge_count.fetch_add(1, Ordering::Release);
        }
        self.stored.store(generation, Ordering::Release);
    }
}

/// Mines the patterns of what passes.
pub(super) struct Stage {
    sources: Sources,
    ids: Ids,
    shared: Arc<Shared>,
    /// Ids of which the current file says that they were used today.
    noted: FxHashSet<u64>,
    noted_day: Day,
    generation: u64,
    skipped_full: Counter,
    skipped_ids: Counter,
    new: Counter,
    merged: Counter,
    held: Gauge,
    sources_held: Gauge,
}

impl Stage {
    /// Returns the stage for what `files` know already. Blocks on disk.
    pub(super) fn open(
        settings: Settings,
        files: Arc<Files>,
        shared: Arc<Shared>,
        metrics: &SelfMetrics,
    ) -> Result<Self, StoreError> {
        // Whatever became of the database that counts them, no id is given out that is in use: the newest file has all that are.
        let least = files.newest().map_or(Ok(1), |file| file.readers.read(table::next_id))?;
        let ids = Ids::open(settings.state, "log_pattern", least)?;
        let unmined = |reason| metrics.counter("watchfire_log_records_without_pattern_total", &[("reason", reason)]);
        Ok(Self {
            sources: Sources::open(files, settings.max_patterns)?,
            ids,
            shared,
            noted: FxHashSet::default(),
            noted_day: Day(0),
            generation: 0,
            skipped_full: unmined("unsaved_full"),
            skipped_ids: unmined("no_ids"),
            new: metrics.counter("watchfire_log_patterns_new_total", &[]),
            merged: metrics.counter("watchfire_log_patterns_merged_total", &[]),
            held: metrics.gauge("watchfire_log_patterns_held", &[]),
            sources_held: metrics.gauge("watchfire_log_pattern_sources_held", &[]),
        })
    }

    /// Fills in `batch.pattern`; returns what the transaction that stores the batch must store beside it.
    pub(super) fn run(&mut self, batch: &mut LogBatch) -> Changes {
        if batch.is_empty() {
            return Changes::default();
        }
        if self.shared.is_full.load(Ordering::Relaxed) {
            self.skipped_full.add(batch.len() as u64);
            return Changes::default();
        }
        // A miner that was promised an id must get one: they are there before the first line is looked at.
        if let Err(error) = self.ids.ensure(batch.len() as u64) {
            self.skipped_ids.add(batch.len() as u64);
            tracing::warn!(%error, "no ids for new patterns: records are stored without them");
            return Changes::default();
        }
        let mut changes = self.mine(batch);
        self.note(batch, &mut changes);
        if !changes.rows.is_empty() || !changes.merges.is_empty() {
            self.generation += 1;
            self.sources.changed(self.generation);
        }
        changes.generation = self.generation;
        self.sources.shrink(self.shared.stored.load(Ordering::Acquire));
        self.held.set(self.sources.patterns() as f64);
        self.sources_held.set(self.sources.len() as f64);
        changes
    }

    /// Gives back the ids that were reserved and not used.
    pub(super) fn close(&mut self) {
        self.ids.give_back();
    }

    fn mine(&mut self, batch: &mut LogBatch) -> Changes {
        let mut places: FxHashMap<&str, u32> = FxHashMap::default();
        let services = || batch.resources.iter().map(|resource| service_of(resource).unwrap_or(""));
        let of_resource: Vec<u32> =
            services().map(|service| *places.entry(service).or_insert_with(|| self.sources.place(service))).collect();
        let without = if of_resource.is_empty() { self.sources.place("") } else { 0 };
        let mut patterns = Vec::with_capacity(batch.len());
        let mut given = 0;
        for row in 0..batch.len() {
            let text = batch.body.data.get(row);
            if text.is_empty() || !MINED_KINDS.contains(&batch.body.kind[row]) {
                patterns.push(0);
                continue;
            }
            let place = of_resource.get(batch.resource[row] as usize).copied().unwrap_or(without);
            let ids = &mut self.ids;
            let mut next_id = || {
                given += 1;
                // Never absent: as many as there are rows were made sure of. 0 is no pattern.
                ids.take().unwrap_or(0)
            };
            patterns.push(self.sources.miner(place).assign(text, &mut next_id));
        }
        self.new.add(given);
        batch.pattern = patterns;
        let mut changes = Changes::default();
        self.sources.take_changes(&mut changes);
        self.merged.add(changes.merges.len() as u64);
        if !changes.merges.is_empty() {
            // What was given before a merge in this batch is what it is after it.
            let mut merges = Merges::default();
            changes.merges.iter().for_each(|(from, into)| merges.add(*from, *into));
            batch.pattern.iter_mut().for_each(|id| *id = merges.resolve(*id));
        }
        changes
    }

    /// Adds a row for each pattern that is used for the first time today, with that line as a sample.
    fn note(&mut self, batch: &LogBatch, changes: &mut Changes) {
        let day = Day(self.shared.day.load(Ordering::Relaxed));
        if self.noted_day != day || self.noted.len() > MAX_NOTED {
            self.noted.clear();
            self.noted_day = day;
        }
        let mut rows: FxHashMap<u64, usize> = FxHashMap::default();
        let mut last = 0;
        for (row, id) in batch.pattern.iter().enumerate() {
            if *id == last || *id == 0 || !self.noted.insert(*id) {
                continue;
            }
            last = *id;
            if rows.is_empty() {
                rows = changes.rows.iter().enumerate().map(|(place, row)| (row.id, place)).collect();
            }
            let (sample, time) = (Some(sample(batch.body.data.get(row))), batch.time[row]);
            if let Some(place) = rows.get(id) {
                let known = &mut changes.rows[*place];
                (known.sample, known.time) = (sample, time);
            } else if let Some((service, template)) = self.sources.template(batch.service(row), *id) {
                rows.insert(*id, changes.rows.len());
                changes.rows.push(PatternRow { id: *id, service, template, state: None, sample, time });
            }
        }
        // A pattern that changed without a line of its own in this batch, as merges do, has no time of its own either.
        let first = batch.time[0];
        changes.rows.iter_mut().filter(|row| row.time == 0).for_each(|row| row.time = first);
    }
}

/// Returns the beginning of a line as text.
fn sample(line: &[u8]) -> String {
    let end = if line.len() <= SAMPLE_BYTES {
        line.len()
    } else {
        // Not within a character.
        (SAMPLE_BYTES - 3..=SAMPLE_BYTES).rev().find(|end| line[*end] & 0xc0 != 0x80).unwrap_or(SAMPLE_BYTES)
    };
    String::from_utf8_lossy(&line[..end]).into_owned()
}
