//! Maps that have been read, within bounds: those that were not asked for for longest go.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::map::ReadMap;

/// Files without a map, or maps, that are remembered.
const MAX_ENTRIES: usize = 4_096;

/// Which map is looked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// That of a debug id.
    DebugId(String),
    /// That of a file of a release.
    File { release: String, dist: String, file: String },
}

/// What is known of one.
#[derive(Clone)]
pub(super) enum Slot {
    /// The map, and the bundles that it is of.
    Map(Arc<ReadMap>, Vec<i64>),
    /// Why there is none.
    None(Arc<str>),
}

impl Slot {
    fn size_bytes(&self) -> usize {
        match self {
            Self::Map(map, _) => map.size_bytes(),
            Self::None(_) => 0,
        }
    }
}

/// The cache.
pub(super) struct Cache {
    most_bytes: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    slots: HashMap<Key, (Slot, u64)>,
    bytes: usize,
    /// Counts uses, to know the oldest.
    clock: u64,
    /// Counts changes of what is stored: what was read before one is not kept after it.
    generation: u64,
}

impl Cache {
    pub(super) fn new(most_bytes: usize) -> Self {
        Self { most_bytes, state: Mutex::default() }
    }

    /// Returns what is known, or the generation that an answer is of.
    pub(super) fn get(&self, key: &Key) -> Result<Slot, u64> {
        let state = &mut *self.state.lock();
        state.clock += 1;
        match state.slots.get_mut(key) {
            Some((slot, used)) => {
                *used = state.clock;
                Ok(slot.clone())
            }
            None => Err(state.generation),
        }
    }

    /// Keeps what was read in `generation`. The last one stays, however large it is: the next call of the same file needs it.
    pub(super) fn put(&self, key: Key, slot: Slot, generation: u64) {
        let state = &mut *self.state.lock();
        if state.generation != generation {
            return;
        }
        state.clock += 1;
        state.bytes += slot.size_bytes();
        if let Some((old, _)) = state.slots.insert(key.clone(), (slot, state.clock)) {
            state.bytes -= old.size_bytes();
        }
        while state.bytes > self.most_bytes || state.slots.len() > MAX_ENTRIES {
            let is_wanted = |slot: &Slot| state.bytes <= self.most_bytes || slot.size_bytes() > 0;
            let others = state.slots.iter().filter(|(other, (slot, _))| **other != key && is_wanted(slot));
            let Some(oldest) = others.min_by_key(|(_, (_, used))| *used).map(|(other, _)| other.clone()) else { return };
            if let Some((gone, _)) = state.slots.remove(&oldest) {
                state.bytes -= gone.size_bytes();
            }
        }
    }

    /// Forgets everything: something else is stored now.
    pub(super) fn clear(&self) {
        let state = &mut *self.state.lock();
        state.slots.clear();
        state.bytes = 0;
        state.generation += 1;
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.slots.len(), state.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(bytes: usize) -> Slot {
        let json = format!(r#"{{"version":3,"sources":["a"],"names":[],"mappings":"AAAA","x":"{}"}}"#, "x".repeat(bytes));
        Slot::Map(Arc::new(ReadMap::read(json.as_bytes(), None, "x").unwrap()), vec![1])
    }

    fn key(name: &str) -> Key {
        Key::DebugId(name.to_owned())
    }

    #[test]
    fn the_least_used_maps_go_and_the_last_one_stays() {
        let cache = Cache::new(2_500);
        let put = |name: &str, bytes: usize| {
            let generation = cache.get(&key(name)).err().unwrap();
            cache.put(key(name), map(bytes), generation);
        };
        put("a", 1_000);
        put("b", 1_000);
        assert!(cache.get(&key("a")).is_ok());
        put("c", 1_000);
        assert!(cache.get(&key("b")).is_err(), "it was not used for longest");
        assert!(cache.get(&key("a")).is_ok() && cache.get(&key("c")).is_ok());
        put("large", 10_000);
        assert_eq!(cache.size().0, 1);
        let generation = cache.get(&key("d")).err().unwrap();
        cache.clear();
        cache.put(key("d"), map(1), generation);
        assert_eq!(cache.size(), (0, 0), "it was read before something else was stored");
    }
}
