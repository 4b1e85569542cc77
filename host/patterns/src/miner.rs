//! Gives each line the id of its pattern.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::align::{describes, generalise};
use crate::coarse::coarse;
use crate::index::Index;
use crate::line;
use crate::settle;
use crate::shape::{Collect, Kind, Shape, Signature};
use crate::stored::{State, StoredPattern};
use crate::variables;

/// Signatures that are remembered besides those that patterns keep.
const MAX_REMEMBERED: usize = 1 << 15;
/// Signatures, and coarse hashes, that one pattern keeps.
const MAX_MEMBERS: usize = 48;
/// Merges that [`Miner::resolve`] knows. Whoever stores them knows all.
const MAX_MERGES: usize = 1 << 16;
/// New patterns after which the second stage runs, at least.
const MIN_UNSETTLED: usize = 32;
/// How often the second stage looks again at what it has merged.
const MAX_ROUNDS: usize = 12;

/// What a [`Miner`] is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Most patterns held in memory; those that no line has had for longest are forgotten first.
    pub max_patterns: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { max_patterns: 10_000 }
    }
}

/// What must be stored together with the lines that have been given ids since the last time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Patterns that are new or have changed.
    pub patterns: Vec<StoredPattern>,
    /// Patterns that are another one from now on: from the younger id into the older.
    pub merges: Vec<(u64, u64)>,
}

/// Mines the lines of one source.
#[derive(Debug)]
pub struct Miner {
    settings: Settings,
    slots: Vec<Option<Pattern>>,
    free: Vec<u32>,
    /// Slots by signature: those that patterns keep, and others that need not be looked for again.
    known: FxHashMap<u64, u32>,
    kept: usize,
    /// Slots by coarse hash.
    coarse: FxHashMap<u64, u32>,
    by_id: FxHashMap<u64, u32>,
    index: Index,
    merged: FxHashMap<u64, u64>,
    /// Ids by coarse hash, of patterns that were forgotten.
    forgotten: FxHashMap<u64, u64>,
    changed: FxHashSet<u64>,
    changes: Changes,
    /// Lines so far.
    clock: u64,
    unsettled: usize,
}

#[derive(Debug)]
struct Pattern {
    id: u64,
    /// When a line had it last.
    used: u64,
    state: State,
}

impl Miner {
    /// Returns a miner that knows nothing yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            slots: Vec::new(),
            free: Vec::new(),
            known: FxHashMap::default(),
            kept: 0,
            coarse: FxHashMap::default(),
            by_id: FxHashMap::default(),
            index: Index::default(),
            merged: FxHashMap::default(),
            forgotten: FxHashMap::default(),
            changed: FxHashSet::default(),
            changes: Changes::default(),
            clock: 0,
            unsettled: 0,
        }
    }

    /// Returns the id of the pattern of a line. `next_id` is asked for one when the pattern is new; ids must grow.
    pub fn assign(&mut self, text: &[u8], next_id: &mut dyn FnMut() -> u64) -> u64 {
        let mut signature = Signature::new();
        line::read(text, &mut signature);
        self.clock += 1;
        let slot = match self.known.get(&signature.hash) {
            Some(slot) => *slot,
            None => self.learn(text, signature.hash, next_id),
        };
        let pattern = self.slots[slot as usize].as_mut().expect("what is known is there");
        pattern.used = self.clock;
        pattern.id
    }

    /// Looks closely at a message whose signature is not known.
    #[cold]
    fn learn(&mut self, text: &[u8], signature: u64, next_id: &mut dyn FnMut() -> u64) -> u32 {
        let mut collect = Collect::default();
        line::read(text, &mut collect);
        let shape = collect.shape;
        let codes = shape.codes();
        if let Some(slot) = self.index.find(&shape, &codes, None) {
            self.remember(signature, slot);
            return slot;
        }
        let key = coarse(&shape);
        if let Some(&slot) = self.coarse.get(&key) {
            self.widen(slot, signature, &shape, &codes);
            return slot;
        }
        let id = self.forgotten.remove(&key).unwrap_or_else(next_id);
        let words = shape.words().min(255) as u8;
        let state = State { general: false, shape, words, members: vec![signature], coarse: vec![key] };
        self.insert(Pattern { id, used: self.clock, state });
        self.changed.insert(id);
        self.unsettled += 1;
        if self.by_id.len() > self.settings.max_patterns {
            self.forget();
        }
        if self.unsettled >= MIN_UNSETTLED.max(self.by_id.len() / 4) {
            self.settle();
        }
        self.by_id[&self.resolve(id)]
    }

    /// Remembers a signature that is found again if it is forgotten.
    fn remember(&mut self, signature: u64, slot: u32) {
        if self.known.len() >= self.kept + MAX_REMEMBERED {
            self.recall();
        }
        self.known.insert(signature, slot);
    }

    /// Forgets all signatures but those that patterns keep.
    fn recall(&mut self) {
        self.known.clear();
        for (slot, pattern) in self.slots.iter().enumerate() {
            if let Some(pattern) = pattern {
                self.known.extend(pattern.state.members.iter().map(|signature| (*signature, slot as u32)));
            }
        }
        self.kept = self.known.len();
    }

    /// Gives a pattern one more signature, of a message with the same coarse hash.
    fn widen(&mut self, slot: u32, signature: u64, shape: &Shape, codes: &[u64]) {
        let pattern = self.slots[slot as usize].as_mut().expect("coarse hashes are those of patterns");
        let state = &mut pattern.state;
        let mut changed = false;
        if !describes(&state.shape, &state.shape.codes(), shape, codes) {
            state.shape = generalise(&state.shape, shape);
            changed = true;
        }
        state.words = state.words.max(shape.words().min(255) as u8);
        let general = state.general;
        if state.members.len() < MAX_MEMBERS {
            state.members.push(signature);
            self.known.insert(signature, slot);
            self.kept += 1;
            changed = true;
        } else {
            self.remember(signature, slot);
        }
        if changed {
            let id = self.slots[slot as usize].as_ref().map(|pattern| pattern.id);
            self.changed.extend(id);
            if general {
                self.reindex();
                self.recall();
            }
        }
    }

    fn insert(&mut self, pattern: Pattern) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.by_id.insert(pattern.id, slot);
        for signature in &pattern.state.members {
            self.known.insert(*signature, slot);
        }
        self.kept += pattern.state.members.len();
        for key in &pattern.state.coarse {
            self.coarse.insert(*key, slot);
        }
        if pattern.state.general {
            self.index.insert(slot, pattern.id, &pattern.state);
        }
        self.slots[slot as usize] = Some(pattern);
        slot
    }

    fn remove(&mut self, slot: u32) -> Option<Pattern> {
        let pattern = self.slots[slot as usize].take()?;
        self.free.push(slot);
        self.by_id.remove(&pattern.id);
        for key in &pattern.state.coarse {
            self.coarse.remove(key);
        }
        Some(pattern)
    }

    fn reindex(&mut self) {
        self.index.clear();
        let mut ordered: Vec<_> = self.by_id.iter().map(|(id, slot)| (*id, *slot)).collect();
        ordered.sort_unstable();
        for (id, slot) in ordered {
            if let Some(pattern) = &self.slots[slot as usize]
                && pattern.state.general
            {
                self.index.insert(slot, id, &pattern.state);
            }
        }
    }

    /// Forgets the eighth of all patterns that no line has had for longest. Their ids are known a while longer.
    fn forget(&mut self) {
        let mut by_use: Vec<_> = self.by_id.values().map(|slot| (self.used(*slot), *slot)).collect();
        let count = (by_use.len() / 8).max(1).min(by_use.len() - 1);
        by_use.select_nth_unstable(count);
        by_use.truncate(count);
        by_use.sort_unstable();
        for (_, slot) in by_use {
            let Some(pattern) = self.remove(slot) else { continue };
            if self.changed.remove(&pattern.id) {
                self.changes.patterns.push(stored(&pattern));
            }
            if self.forgotten.len() >= 4 * self.settings.max_patterns {
                self.forgotten.clear();
            }
            for key in pattern.state.coarse {
                self.forgotten.insert(key, pattern.id);
            }
        }
        self.reindex();
        self.recall();
    }

    fn used(&self, slot: u32) -> u64 {
        self.slots[slot as usize].as_ref().map_or(0, |pattern| pattern.used)
    }

    /// Runs the second stage over all patterns, if any are new: those that differ only in variables become one. It runs by itself
    /// whenever a quarter of the patterns are new; calling it makes the last ones final, as before a report.
    pub fn settle(&mut self) {
        if self.unsettled == 0 {
            return;
        }
        self.unsettled = 0;
        let mut settled = false;
        for _ in 0..MAX_ROUNDS {
            let mut ordered: Vec<_> = self.by_id.iter().map(|(id, slot)| (*id, *slot)).collect();
            ordered.sort_unstable();
            let shapes: Vec<_> = ordered
                .iter()
                .filter_map(|(_, slot)| self.slots[*slot as usize].as_ref())
                .map(|pattern| &pattern.state.shape)
                .collect();
            let groups = settle::same(&shapes);
            if groups.is_empty() {
                break;
            }
            settled = true;
            for group in groups {
                let slots: Vec<_> = group.iter().map(|index| ordered[*index as usize].1).collect();
                self.merge(&slots);
            }
            self.reindex();
            self.absorb();
        }
        if settled {
            self.recall();
        }
    }

    /// Merges patterns into the first of them, which is the oldest.
    fn merge(&mut self, slots: &[u32]) {
        let Some((&first, others)) = slots.split_first() else { return };
        for &slot in others {
            let Some(other) = self.remove(slot) else { continue };
            let Some(kept) = self.slots[first as usize].as_mut() else { continue };
            let codes = other.state.shape.codes();
            if !describes(&kept.state.shape, &kept.state.shape.codes(), &other.state.shape, &codes) {
                kept.state.shape = generalise(&kept.state.shape, &other.state.shape);
            }
            join(kept, &other);
            self.note_merge(other.id, first);
        }
        self.keep_coarse(first);
    }

    /// Merges patterns that another one describes.
    fn absorb(&mut self) {
        let mut ordered: Vec<_> = self.by_id.iter().map(|(id, slot)| (*id, *slot)).collect();
        ordered.sort_unstable();
        let mut any = false;
        for (_, slot) in ordered {
            let Some(pattern) = &self.slots[slot as usize] else { continue };
            let shape = &pattern.state.shape;
            let Some(wide) = self.index.find(shape, &shape.codes(), Some(slot)) else { continue };
            let Some(wide_id) = self.slots[wide as usize].as_ref().map(|pattern| pattern.id) else { continue };
            let (kept, lost) = if wide_id < pattern.id { (wide, slot) } else { (slot, wide) };
            let wide_shape = self.slots[wide as usize].as_ref().map(|pattern| pattern.state.shape.clone());
            let Some(other) = self.remove(lost) else { continue };
            if let (Some(pattern), Some(shape)) = (self.slots[kept as usize].as_mut(), wide_shape) {
                pattern.state.shape = shape;
                join(pattern, &other);
            }
            self.note_merge(other.id, kept);
            self.keep_coarse(kept);
            if lost == wide {
                self.reindex();
            }
            any = true;
        }
        if any {
            self.reindex();
        }
    }

    fn note_merge(&mut self, from: u64, slot: u32) {
        let Some(kept) = &self.slots[slot as usize] else { return };
        let into = kept.id;
        self.changed.remove(&from);
        self.changed.insert(into);
        self.changes.merges.push((from, into));
        self.remember_merge(from, into);
    }

    fn keep_coarse(&mut self, slot: u32) {
        if let Some(pattern) = &self.slots[slot as usize] {
            for key in &pattern.state.coarse {
                self.coarse.insert(*key, slot);
            }
        }
    }

    /// Returns what must be stored since the last time it was called.
    pub fn take_changes(&mut self) -> Changes {
        let mut changes = std::mem::take(&mut self.changes);
        let mut ids: Vec<_> = self.changed.drain().collect();
        ids.sort_unstable();
        for id in ids {
            if let Some(pattern) = self.by_id.get(&id).and_then(|slot| self.slots[*slot as usize].as_ref()) {
                changes.patterns.push(stored(pattern));
            }
        }
        changes
    }

    /// Puts back a pattern that was stored, if its id is not there.
    pub fn restore(&mut self, pattern: StoredPattern) {
        let StoredPattern { id, template, state } = pattern;
        if self.by_id.contains_key(&id) || self.merged.contains_key(&id) {
            return;
        }
        let state = State::decode(&state).unwrap_or_else(|| State {
            general: true,
            words: u8::MAX,
            shape: variables::parse(&template, Kind::Many),
            ..State::default()
        });
        self.insert(Pattern { id, used: self.clock, state });
        if self.by_id.len() > self.settings.max_patterns {
            self.forget();
        }
    }

    /// Puts back a merge that was stored, in any order with the patterns.
    pub fn restore_merge(&mut self, from: u64, into: u64) {
        if into >= from {
            return;
        }
        if let Some(&slot) = self.by_id.get(&from) {
            self.remove(slot);
            self.reindex();
            self.recall();
        }
        self.remember_merge(from, into);
    }

    fn remember_merge(&mut self, from: u64, into: u64) {
        if self.merged.len() >= MAX_MERGES {
            // The oldest half; what is asked for are recent ids.
            let mut ids: Vec<_> = self.merged.keys().copied().collect();
            let middle = ids.len() / 2;
            let (_, &mut limit, _) = ids.select_nth_unstable(middle);
            self.merged.retain(|from, _| *from >= limit);
        }
        self.merged.insert(from, into);
    }

    /// Returns the id that stands for `id` after all merges.
    #[must_use]
    pub fn resolve(&self, mut id: u64) -> u64 {
        // Ids only ever go down, so this ends, whatever was restored.
        while let Some(&into) = self.merged.get(&id) {
            if into >= id {
                break;
            }
            id = into;
        }
        id
    }

    /// Returns the text of the pattern that has, or had, this id, with `<*>` where values stand.
    #[must_use]
    pub fn template(&self, id: u64) -> Option<String> {
        let slot = *self.by_id.get(&self.resolve(id))?;
        Some(self.slots[slot as usize].as_ref()?.state.shape.render())
    }

    /// Returns how many patterns are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Returns whether no pattern is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}

/// Gives `kept` what `other` knew.
fn join(kept: &mut Pattern, other: &Pattern) {
    let state = &mut kept.state;
    state.general = true;
    state.words = state.words.max(other.state.words);
    kept.used = kept.used.max(other.used);
    for (mine, theirs) in [(&mut state.members, &other.state.members), (&mut state.coarse, &other.state.coarse)] {
        let room = MAX_MEMBERS.saturating_sub(mine.len());
        mine.extend(theirs.iter().take(room));
    }
}

fn stored(pattern: &Pattern) -> StoredPattern {
    StoredPattern { id: pattern.id, template: pattern.state.shape.render(), state: pattern.state.encode() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::{SEED, then};

    fn mine(lines: &[&str]) -> (Miner, Vec<u64>) {
        let mut miner = Miner::new(Settings::default());
        let mut last = 0;
        let mut next_id = || {
            last += 1;
            last
        };
        let mut ids: Vec<_> = lines.iter().map(|line| miner.assign(line.as_bytes(), &mut next_id)).collect();
        miner.settle();
        for id in &mut ids {
            *id = miner.resolve(*id);
        }
        (miner, ids)
    }

    #[test]
    fn both_readers_of_a_line_see_the_same() {
        for line in [
            "a 1 b",
            "x=\"y z\" 5",
            "{\"msg\": \"a 1\", \"n\": [1, 2]}",
            "level=info msg=\"up 5\" a=b c=d",
            "12:30:01,123 [x] 1 2 3",
            "é ü",
        ] {
            let mut signature = Signature::new();
            line::read(line.as_bytes(), &mut signature);
            let mut collect = Collect::default();
            line::read(line.as_bytes(), &mut collect);
            assert_eq!(collect.shape.codes().into_iter().fold(SEED, then), signature.hash, "{line}");
        }
    }

    #[test]
    fn names_are_variables_and_few_words_are_not() {
        let (miner, ids) = mine(&[
            "session opened for user alice by uid 0",
            "session opened for user bob by uid 0",
            "session closed for user bob by uid 0",
            "session closed for user carol by uid 0",
        ]);
        assert_eq!(ids, [1, 1, 3, 3]);
        assert_eq!(miner.template(1).as_deref(), Some("session opened for user <*> by uid <*>"));
    }

    #[test]
    fn lists_of_different_lengths_are_one() {
        let (miner, ids) = mine(&["peers are [1, 2, 3] now", "peers are [1] now", "peers are [] now"]);
        assert_eq!(ids, [1, 1, 1]);
        assert_eq!(miner.template(1).as_deref(), Some("peers are [<*>] now"));
    }

    #[test]
    fn what_is_forgotten_keeps_its_id() {
        let mut miner = Miner::new(Settings { max_patterns: 8 });
        let mut last = 0;
        let mut next_id = || {
            last += 1;
            last
        };
        let first = miner.assign(b"the first line of all", &mut next_id);
        for word in
            ["opening", "closing", "reading", "writing", "starting", "stopping", "waiting", "sleeping", "running", "failing"]
        {
            miner.assign(format!("{word} at {word} of {word}").as_bytes(), &mut next_id);
        }
        assert!(miner.len() <= 8);
        assert_eq!(miner.template(first), None);
        assert_eq!(miner.assign(b"the first line of all", &mut next_id), first);
    }
}
