//! Which patterns turned out to be one: every id that was ever given out keeps leading to the pattern that it is now.

use rustc_hash::FxHashMap;

/// Merged patterns. The older id stands for all of them.
#[derive(Clone, Debug, Default)]
pub(in crate::logs) struct Merges {
    into: FxHashMap<u64, u64>,
    members: FxHashMap<u64, Vec<u64>>,
}

impl Merges {
    /// Notes that `from` is `into` from now on. What would lead back to itself is not believed.
    pub(in crate::logs) fn add(&mut self, from: u64, into: u64) {
        let root = self.resolve(into);
        if self.into.contains_key(&from) || root == from {
            return;
        }
        self.into.insert(from, root);
        // Whoever was merged into `from` before leads to the root at once: a lookup is one step.
        let mut moved = self.members.remove(&from).unwrap_or_default();
        for id in &moved {
            self.into.insert(*id, root);
        }
        moved.push(from);
        self.members.entry(root).or_default().extend(moved);
    }

    /// Returns the pattern that `id` is now.
    pub(in crate::logs) fn resolve(&self, id: u64) -> u64 {
        self.into.get(&id).copied().unwrap_or(id)
    }

    /// Returns every id that is the same pattern as `id`, the one that stands for all of them first.
    pub(in crate::logs) fn family(&self, id: u64) -> Vec<u64> {
        let root = self.resolve(id);
        let mut family = vec![root];
        family.extend(self.members.get(&root).into_iter().flatten());
        family[1..].sort_unstable();
        family
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_family_is_what_resolves_to_one_pattern(pairs in prop::collection::vec((1_u64..20, 1_u64..20), 0..30)) {
            let mut merges = Merges::default();
            for (from, into) in pairs {
                merges.add(from, into);
            }
            for id in 1..20 {
                let root = merges.resolve(id);
                prop_assert_eq!(merges.resolve(root), root);
                let mut family = merges.family(id);
                prop_assert_eq!(family[0], root);
                family.sort_unstable();
                let same: Vec<u64> = (1..20).filter(|other| merges.resolve(*other) == root).collect();
                prop_assert_eq!(family, same);
            }
        }
    }
}
