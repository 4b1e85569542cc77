//! One miner for each source, as many as memory allows: the others are restored from disk when their source comes again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::{FxHashMap, FxHashSet};
use watchfire_patterns::{Miner, Settings, StoredPattern};

use super::table::{self, Changes, PatternRow};
use crate::logs::files::{DayFile, Files};
use crate::store::StoreError;

/// Sources that have a miner of their own; later ones share one. A source whose patterns are all forgotten makes room at the next start.
const MAX_OWN: usize = 10_000;
/// Patterns held in memory by all miners; beyond that the sources that were quiet for longest are put away.
const MAX_HELD: usize = 100_000;
/// Miners held in memory.
const MAX_MINERS: usize = 10_000;
/// The second stage looks at new patterns at once where there are at most so many, else so much later: it looks at all of a source.
const SETTLE_FEW: usize = 256;
const SETTLE_AFTER: Duration = Duration::from_secs(10);

/// Where a source's miner is.
struct Source {
    /// `None`: what the sources beyond the bound share.
    service: Option<Arc<str>>,
    miner: Miner,
    /// The last batch that had records of it.
    last_used: u64,
    /// The last generation of changes that came from it.
    changed: u64,
    /// Whether there is something that the second stage has not looked at.
    is_new: bool,
    settled: Instant,
}

/// All miners in memory.
pub(super) struct Sources {
    files: Arc<Files>,
    max_patterns: usize,
    /// Empty places are used again.
    slots: Vec<Option<Source>>,
    free: Vec<u32>,
    by_service: FxHashMap<Option<Arc<str>>, u32>,
    /// Sources with a miner of their own, in memory or not.
    own: FxHashSet<Arc<str>>,
    /// Counts batches.
    now: u64,
    /// Places of the sources in the present batch.
    touched: Vec<u32>,
    held: usize,
}

impl Sources {
    pub(super) fn open(files: Arc<Files>, max_patterns: usize) -> Result<Self, StoreError> {
        let own = match files.newest() {
            Some(file) => file.readers.read(table::sources)?.into_iter().map(Arc::from).collect(),
            None => FxHashSet::default(),
        };
        Ok(Self {
            files,
            max_patterns,
            slots: Vec::new(),
            free: Vec::new(),
            by_service: FxHashMap::default(),
            own,
            now: 1,
            touched: Vec::new(),
            held: 0,
        })
    }

    /// Returns the place of the miner for `service`, whose records are in the present batch.
    pub(super) fn place(&mut self, service: &str) -> u32 {
        let key = self.key(service);
        let place = match self.by_service.get(&key) {
            Some(place) => *place,
            None => self.restore(key),
        };
        if let Some(source) = &mut self.slots[place as usize]
            && source.last_used != self.now
        {
            source.last_used = self.now;
            self.touched.push(place);
        }
        place
    }

    /// Returns the miner at `place`, which [`Self::place`] gave for the present batch.
    pub(super) fn miner(&mut self, place: u32) -> &mut Miner {
        &mut self.slots[place as usize].as_mut().expect("nothing is put away within a batch").miner
    }

    /// Returns the template of pattern `id` of `service`, if it is in memory, and whose it is.
    pub(super) fn template(&self, service: &str, id: u64) -> Option<(Option<Arc<str>>, String)> {
        let own = self.by_service.get(&self.own.get(service).cloned());
        let source = self.slots[*own? as usize].as_ref()?;
        Some((source.service.clone(), source.miner.template(id)?))
    }

    /// Ends the present batch: lets the second stage look where there is enough new, and collects what is to be stored.
    pub(super) fn take_changes(&mut self, changes: &mut Changes) {
        for place in &self.touched {
            let source = self.slots[*place as usize].as_mut().expect("nothing is put away within a batch");
            let mut new = source.miner.take_changes();
            source.is_new |= !new.patterns.is_empty();
            if source.is_new && (source.miner.len() <= SETTLE_FEW || source.settled.elapsed() >= SETTLE_AFTER) {
                source.miner.settle();
                (source.is_new, source.settled) = (false, Instant::now());
                let settled = source.miner.take_changes();
                // How a pattern was before the second stage need not be stored, and nor need one that is another now.
                let later: FxHashSet<u64> = settled.patterns.iter().map(|pattern| pattern.id).collect();
                new.patterns.retain(|pattern| !later.contains(&pattern.id));
                new.patterns.extend(settled.patterns);
                new.merges.extend(settled.merges);
                let merged: FxHashSet<u64> = new.merges.iter().map(|(from, _)| *from).collect();
                new.patterns.retain(|pattern| !merged.contains(&pattern.id));
            }
            let row = |pattern: StoredPattern| PatternRow {
                id: pattern.id,
                service: source.service.clone(),
                template: pattern.template,
                state: Some(pattern.state),
                sample: None,
                time: 0,
            };
            if !new.patterns.is_empty() || !new.merges.is_empty() {
                // The generation is counted after this.
                source.changed = u64::MAX;
            }
            changes.rows.extend(new.patterns.into_iter().filter(|pattern| pattern.id != 0).map(row));
            changes.merges.extend(new.merges);
        }
        self.held = self.slots.iter().flatten().map(|source| source.miner.len()).sum();
    }

    /// Says which generation the changes of the present batch are.
    pub(super) fn changed(&mut self, generation: u64) {
        for place in &self.touched {
            if let Some(source) = &mut self.slots[*place as usize]
                && source.changed == u64::MAX
            {
                source.changed = generation;
            }
        }
    }

    /// Puts away the sources that were quiet for longest while there are too many, but none with changes that are not `stored`.
    pub(super) fn shrink(&mut self, stored: u64) {
        self.touched.clear();
        self.now += 1;
        if self.held <= MAX_HELD && self.by_service.len() <= MAX_MINERS {
            return;
        }
        let may_go = |source: &Source| source.changed <= stored && source.last_used + 1 < self.now;
        let mut quiet: Vec<(u64, u32)> = self
            .slots
            .iter()
            .enumerate()
            .filter_map(|(place, source)| {
                let source = source.as_ref().filter(|source| may_go(source))?;
                Some((source.last_used, place as u32))
            })
            .collect();
        quiet.sort_unstable();
        // A tenth more than needed, so that this is not done for every batch.
        for (_, place) in quiet {
            if self.held <= MAX_HELD / 10 * 9 && self.by_service.len() <= MAX_MINERS / 10 * 9 {
                break;
            }
            if let Some(source) = self.slots[place as usize].take() {
                self.held -= source.miner.len();
                self.by_service.remove(&source.service);
                self.free.push(place);
            }
        }
    }

    /// Returns how many patterns are in memory.
    pub(super) fn patterns(&self) -> usize {
        self.held
    }

    /// Returns how many miners are in memory.
    pub(super) fn len(&self) -> usize {
        self.by_service.len()
    }

    fn key(&mut self, service: &str) -> Option<Arc<str>> {
        if let Some(known) = self.own.get(service) {
            return Some(Arc::clone(known));
        }
        if self.own.len() >= MAX_OWN {
            return None;
        }
        let service: Arc<str> = service.into();
        self.own.insert(Arc::clone(&service));
        Some(service)
    }

    fn restore(&mut self, service: Option<Arc<str>>) -> u32 {
        let mut miner = Miner::new(Settings { max_patterns: self.max_patterns });
        // All of a source that is not in memory is stored: it is put away only then.
        if let Some(file) = &self.files.newest()
            && let Err(error) = restore_from(file, service.as_deref(), &mut miner)
        {
            tracing::warn!(%error, "known patterns cannot be read: their lines get new ones");
        }
        self.held += miner.len();
        let source = Source { service: service.clone(), miner, last_used: 0, changed: 0, is_new: false, settled: Instant::now() };
        let place = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.slots[place as usize] = Some(source);
        self.by_service.insert(service, place);
        place
    }
}

fn restore_from(file: &DayFile, service: Option<&str>, miner: &mut Miner) -> Result<(), StoreError> {
    let (patterns, merges) = file.readers.read(|connection| {
        let patterns = table::of_source(connection, service)?;
        let ids = patterns.iter().map(|(id, ..)| *id);
        Ok((patterns.clone(), table::merges_of(connection, ids)?))
    })?;
    for (id, template, state) in patterns {
        miner.restore(StoredPattern { id, template, state });
    }
    for (from, into) in merges {
        miner.restore_merge(from, into);
    }
    Ok(())
}
