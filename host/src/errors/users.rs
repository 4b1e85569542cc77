//! How many users an issue has: exactly as long as they are few, then within 2.3 percent (one standard deviation), in 2 KiB.
//!
//! Beyond 256 it is a `HyperLogLog` of 2,048 registers: Flajolet, Fusy, Gandouet, Meunier, "`HyperLogLog`", 2007, with linear counting
//! where registers are still empty.

use std::collections::BTreeSet;
use std::hash::Hasher as _;

use rustc_hash::FxHasher;

/// Users that are known one by one.
const EXACT: usize = 256;
/// Bits of a hash that choose the register.
const BITS: u32 = 11;
const REGISTERS: usize = 1 << BITS;

/// A set of users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Users {
    /// All of them, by their hashes.
    Exact(BTreeSet<u64>),
    /// For each register, the longest run of zeros.
    Sketch(Vec<u8>),
}

impl Default for Users {
    fn default() -> Self {
        Self::Exact(BTreeSet::new())
    }
}

impl Users {
    /// Adds a user; one who is there already changes nothing.
    pub fn insert(&mut self, user: &str) {
        let mut hasher = FxHasher::default();
        hasher.write(user.as_bytes());
        self.insert_hash(mixed(hasher.finish()));
    }

    fn insert_hash(&mut self, hash: u64) {
        match self {
            Self::Exact(hashes) => {
                hashes.insert(hash);
                if hashes.len() > EXACT {
                    let mut sketch = vec![0; REGISTERS];
                    hashes.iter().for_each(|hash| note(&mut sketch, *hash));
                    *self = Self::Sketch(sketch);
                }
            }
            Self::Sketch(sketch) => note(sketch, hash),
        }
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        match other {
            Self::Exact(hashes) => hashes.iter().for_each(|hash| self.insert_hash(*hash)),
            Self::Sketch(theirs) => {
                let mut ours = match std::mem::take(self) {
                    Self::Exact(hashes) => {
                        let mut sketch = vec![0; REGISTERS];
                        hashes.iter().for_each(|hash| note(&mut sketch, *hash));
                        sketch
                    }
                    Self::Sketch(sketch) => sketch,
                };
                ours.iter_mut().zip(theirs).for_each(|(ours, theirs)| *ours = (*ours).max(*theirs));
                *self = Self::Sketch(ours);
            }
        }
    }

    /// Returns how many there are, and whether that is exact.
    #[must_use]
    pub fn count(&self) -> (u64, bool) {
        match self {
            Self::Exact(hashes) => (hashes.len() as u64, true),
            Self::Sketch(registers) => {
                let number = REGISTERS as f64;
                let sum: f64 = registers.iter().map(|register| 2_f64.powi(-i32::from(*register))).sum();
                let estimate = 0.7213 / (1.0 + 1.079 / number) * number * number / sum;
                let empty = registers.iter().filter(|register| **register == 0).count();
                let linear = estimate <= 2.5 * number && empty > 0;
                let count = if linear { number * (number / empty as f64).ln() } else { estimate };
                (count.round() as u64, false)
            }
        }
    }

    /// Returns it as it is stored.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Exact(hashes) => hashes.iter().flat_map(|hash| hash.to_le_bytes()).collect(),
            Self::Sketch(registers) => std::iter::once(1).chain(registers.iter().copied()).collect(),
        }
    }

    /// Reads what [`Self::to_bytes`] has written; what it has not is taken for nobody.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        if bytes.len() == REGISTERS + 1 {
            return Self::Sketch(bytes[1..].to_vec());
        }
        let hashes = bytes.chunks_exact(8).map(|chunk| chunk.iter().rev().fold(0, |hash, byte| hash << 8 | u64::from(*byte)));
        Self::Exact(hashes.take(EXACT).collect())
    }
}

/// The finaliser of `SplitMix64`: every bit of the result depends on every bit.
fn mixed(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

fn note(registers: &mut [u8], hash: u64) {
    let register = (hash >> (64 - BITS)) as usize;
    let run = (hash << BITS | 1 << (BITS - 1)).leading_zeros() as u8 + 1;
    registers[register] = registers[register].max(run);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(range: std::ops::Range<u32>) -> Users {
        let mut users = Users::default();
        range.for_each(|user| users.insert(&format!("user-{user}")));
        users
    }

    #[test]
    fn few_are_counted_and_many_are_estimated_within_the_bound() {
        assert_eq!(of(0..256).count(), (256, true));
        for number in [257, 1_000, 20_000, 300_000] {
            let (count, exact) = of(0..number).count();
            let error = (count as f64 / f64::from(number) - 1.0).abs();
            assert!(!exact && error < 0.07, "{number}: {count}");
        }
    }

    proptest! {
        #[test]
        fn what_is_merged_or_stored_is_the_same_set(one in 0_u32..600, other in 0_u32..600, size in 1_u32..500) {
            let mut all = of(one..one + size);
            let second = of(other..other + size);
            all.merge(&second);
            let mut direct = of(one..one + size);
            (other..other + size).for_each(|user| direct.insert(&format!("user-{user}")));
            prop_assert_eq!(all.count().0, direct.count().0);
            prop_assert_eq!(&Users::from_bytes(&all.to_bytes()), &all);
        }
    }
}
