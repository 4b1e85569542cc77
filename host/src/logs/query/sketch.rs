//! Percentiles and distinct counts in bounded memory: exact while there are few values, close when there are many.

use std::collections::BTreeMap;

use rustc_hash::FxHashSet;

/// Values kept as they are; beyond that they are counted in buckets.
const EXACT_VALUES: usize = 512;
/// Neighbouring buckets differ by this factor: what is read from one is within one per cent.
const GAMMA: f64 = 1.02;
/// Smaller numbers count as zero.
const SMALLEST: f64 = 1e-9;
/// Buckets on each side of zero; the lowest become one beyond that.
const MAX_BUCKETS: usize = 2048;

/// Percentiles of numbers, as in `DDSketch` (Masson, Rim, Lee 2019).
#[derive(Clone, Debug, Default)]
pub struct Quantiles {
    exact: Vec<f64>,
    buckets: Option<Box<Buckets>>,
}

#[derive(Clone, Debug, Default)]
struct Buckets {
    below: BTreeMap<i32, u64>,
    zeros: u64,
    above: BTreeMap<i32, u64>,
    least: f64,
    greatest: f64,
}

impl Quantiles {
    /// Adds a number.
    pub fn add(&mut self, number: f64) {
        if let Some(buckets) = &mut self.buckets {
            buckets.add(number, 1);
            return;
        }
        self.exact.push(number);
        if self.exact.len() > EXACT_VALUES {
            let mut buckets = Box::new(Buckets { least: f64::INFINITY, greatest: f64::NEG_INFINITY, ..Buckets::default() });
            std::mem::take(&mut self.exact).into_iter().for_each(|number| buckets.add(number, 1));
            self.buckets = Some(buckets);
        }
    }

    /// Adds the numbers of `other`.
    pub fn merge(&mut self, other: Self) {
        other.exact.into_iter().for_each(|number| self.add(number));
        let Some(theirs) = other.buckets else { return };
        if let Some(buckets) = &mut self.buckets {
            buckets.merge(*theirs);
        } else {
            let own = std::mem::take(&mut self.exact);
            self.buckets = Some(theirs);
            own.into_iter().for_each(|number| self.add(number));
        }
    }

    /// Returns about how many bytes it takes beside itself.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.exact.capacity() * 8 + self.buckets.as_ref().map_or(0, |buckets| (buckets.above.len() + buckets.below.len()) * 24)
    }

    /// Returns the number below which `share` (0 to 1) of all lie; none if there are none.
    #[must_use]
    pub fn at(&self, share: f64) -> Option<f64> {
        if let Some(buckets) = &self.buckets {
            return Some(buckets.at(share));
        }
        let mut sorted = self.exact.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        // The nearest rank: a number that was there, never one between two.
        let rank = ((share * sorted.len() as f64).ceil() as usize).saturating_sub(1);
        sorted.get(rank.min(last)).copied()
    }
}

impl Buckets {
    fn add(&mut self, number: f64, count: u64) {
        self.least = self.least.min(number);
        self.greatest = self.greatest.max(number);
        let index = || (number.abs().ln() / GAMMA.ln()).ceil() as i32;
        let side = match number {
            _ if number.abs() < SMALLEST => {
                self.zeros += count;
                return;
            }
            _ if number > 0.0 => &mut self.above,
            _ => &mut self.below,
        };
        *side.entry(index()).or_default() += count;
        shrink(side);
    }

    fn merge(&mut self, other: Self) {
        self.least = self.least.min(other.least);
        self.greatest = self.greatest.max(other.greatest);
        self.zeros += other.zeros;
        for (own, theirs) in [(&mut self.above, other.above), (&mut self.below, other.below)] {
            theirs.into_iter().for_each(|(index, count)| *own.entry(index).or_default() += count);
            shrink(own);
        }
    }

    fn at(&self, share: f64) -> f64 {
        let total = self.zeros + self.above.values().chain(self.below.values()).sum::<u64>();
        let rank = ((share * total as f64).ceil() as u64).clamp(1, total.max(1));
        let middle = |index: i32| 2.0 * GAMMA.powi(index) / (GAMMA + 1.0);
        let below = self.below.iter().rev().map(|(index, count)| (-middle(*index), *count));
        let above = self.above.iter().map(|(index, count)| (middle(*index), *count));
        let mut seen = 0;
        for (number, count) in below.chain([(0.0, self.zeros)]).chain(above) {
            seen += count;
            if seen >= rank {
                return number.clamp(self.least, self.greatest);
            }
        }
        self.greatest
    }
}

/// Makes one bucket of the two nearest to zero while there are too many.
fn shrink(buckets: &mut BTreeMap<i32, u64>) {
    while buckets.len() > MAX_BUCKETS
        && let Some((_, count)) = buckets.pop_first()
        && let Some(mut next) = buckets.first_entry()
    {
        *next.get_mut() += count;
    }
}

/// Distinct values kept by their hash; beyond that they are estimated.
const EXACT_HASHES: usize = 1024;
/// Bits of a hash that choose its register: 16,384 registers, a standard error of 0.8 %.
const PRECISION: u32 = 14;

/// Distinct values, exactly or by `HyperLogLog` (Flajolet and others 2007).
#[derive(Clone, Debug, Default)]
pub struct Distinct {
    exact: FxHashSet<u64>,
    registers: Option<Box<[u8]>>,
}

impl Distinct {
    /// Adds a value by its hash, all bits of which must be as good as random.
    pub fn add(&mut self, hash: u64) {
        if let Some(registers) = &mut self.registers {
            raise(registers, hash);
            return;
        }
        self.exact.insert(hash);
        if self.exact.len() > EXACT_HASHES {
            let mut registers = vec![0; 1 << PRECISION].into_boxed_slice();
            std::mem::take(&mut self.exact).into_iter().for_each(|hash| raise(&mut registers, hash));
            self.registers = Some(registers);
        }
    }

    /// Adds the values of `other`.
    pub fn merge(&mut self, other: Self) {
        other.exact.into_iter().for_each(|hash| self.add(hash));
        let Some(theirs) = other.registers else { return };
        if let Some(own) = &mut self.registers {
            own.iter_mut().zip(&theirs).for_each(|(own, theirs)| *own = (*own).max(*theirs));
        } else {
            let own = std::mem::take(&mut self.exact);
            self.registers = Some(theirs);
            own.into_iter().for_each(|hash| self.add(hash));
        }
    }

    /// Returns about how many bytes it takes beside itself.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.exact.capacity() * 9 + self.registers.as_ref().map_or(0, |registers| registers.len())
    }

    /// Returns how many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        let Some(registers) = &self.registers else { return self.exact.len() as u64 };
        let size = registers.len() as f64;
        let sum: f64 = registers.iter().map(|rank| 2_f64.powi(-i32::from(*rank))).sum();
        let estimate = 0.7213 / (1.0 + 1.079 / size) * size * size / sum;
        let zeros = registers.iter().filter(|rank| **rank == 0).count();
        // Few values for so many registers: the empty ones tell better.
        let estimate = if estimate <= 2.5 * size && zeros > 0 { size * (size / zeros as f64).ln() } else { estimate };
        estimate.round() as u64
    }
}

fn raise(registers: &mut [u8], hash: u64) {
    let register = &mut registers[(hash >> (64 - PRECISION)) as usize];
    let rank = ((hash << PRECISION) | 1 << (PRECISION - 1)).leading_zeros() as u8 + 1;
    *register = (*register).max(rank);
}

/// Returns a hash of `bytes` whose bits are all as good as random.
#[must_use]
pub fn hash(bytes: &[u8]) -> u64 {
    use std::hash::Hasher as _;
    let mut hasher = rustc_hash::FxHasher::default();
    hasher.write(bytes);
    let mut hash = hasher.finish();
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn distinct_values_are_exact_while_few_and_close_when_many() {
        for (count, error) in [(1_000_u64, 0), (50_000, 1_250), (300_000, 7_500)] {
            let mut halves = [Distinct::default(), Distinct::default()];
            for number in 0..count {
                halves[(number % 2) as usize].add(hash(format!("user-{number}").as_bytes()));
                halves[0].add(hash(b"user-0"));
            }
            let [mut all, rest] = halves;
            all.merge(rest);
            assert!(all.count().abs_diff(count) <= error, "{} of {count}", all.count());
        }
    }

    proptest! {
        #[test]
        fn percentiles_are_within_one_per_cent(numbers in proptest::collection::vec(-1e6..1e6_f64, 1..1500), split in 0..1500_usize, share in 0.0..1.0_f64) {
            let (left, right) = numbers.split_at(split.min(numbers.len()));
            let mut sketch = Quantiles::default();
            left.iter().for_each(|number| sketch.add(*number));
            let mut other = Quantiles::default();
            right.iter().for_each(|number| other.add(*number));
            sketch.merge(other);
            let mut sorted = numbers.clone();
            sorted.sort_by(f64::total_cmp);
            let exact = sorted[((share * sorted.len() as f64).ceil() as usize).saturating_sub(1)];
            let found = sketch.at(share).unwrap();
            prop_assert!((found - exact).abs() <= exact.abs() * 0.0101 + 1e-9, "{} instead of {}", found, exact);
        }
    }
}
