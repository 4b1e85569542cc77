//! Decisions: among many tests, over time, about shares.

/// Returns which of the hypotheses with these p-values are rejected if, of those rejected, a share of at most `rate` may be
/// true (Benjamini and Hochberg 1995). `tests` is how many were tested in all, if more than are listed.
#[must_use]
pub fn benjamini_hochberg(p_values: &[f64], tests: usize, rate: f64) -> Vec<bool> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_unstable_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let tests = tests.max(p_values.len()) as f64;
    let passes = |(rank, index): (usize, &usize)| p_values[*index] <= rate * (rank + 1) as f64 / tests;
    let rejected = order.iter().enumerate().rposition(passes).map_or(0, |last| last + 1);
    let mut decisions = vec![false; p_values.len()];
    order[..rejected].iter().for_each(|index| decisions[*index] = true);
    decisions
}

/// Returns Wilson's interval for a share of which `hits` in `tries` were seen, `z` standard deviations wide.
#[must_use]
pub fn wilson(hits: u64, tries: u64, z: f64) -> (f64, f64) {
    if tries == 0 {
        return (0.0, 1.0);
    }
    let n = tries as f64;
    let (p, z2) = (hits as f64 / n, z * z);
    let center = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let reach = z / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    ((center - reach).max(0.0), (center + reach).min(1.0))
}

/// Page's cumulative sum: how much evidence has come together since it last spoke for the usual.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cusum(f64);

impl Cusum {
    /// Adds the logarithm of how much likelier the unusual makes what was seen; returns the sum, never below zero.
    pub fn add(&mut self, ln_ratio: f64) -> f64 {
        self.0 = (self.0 + ln_ratio).max(0.0);
        self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_small_p_among_many_tests_is_not_small() {
        let p_values = [1e-7, 4e-4, 0.01, 0.5];
        assert_eq!(benjamini_hochberg(&p_values, 4, 1e-3), [true, true, false, false]);
        assert_eq!(benjamini_hochberg(&p_values, 10_000, 1e-3), [true, false, false, false]);
        assert_eq!(benjamini_hochberg(&[], 5, 0.1), Vec::<bool>::new());
    }

    #[test]
    fn the_interval_is_scipys() {
        // scipy.stats.binomtest(7, 50).proportion_ci(method="wilson")
        let (low, high) = wilson(7, 50, 1.959_963_984_540_054);
        assert!((low - 0.069_508_334_270_162_92).abs() < 1e-12 && (high - 0.261_861_937_105_855_37).abs() < 1e-12);
    }

    #[test]
    fn evidence_for_the_usual_is_forgotten() {
        let mut sum = Cusum::default();
        let sums = [-5.0, 2.0, 3.0, -1.0].map(|step| sum.add(step).round() as i64);
        assert_eq!(sums, [0, 2, 5, 4]);
    }

    proptest! {
        #[test]
        fn what_is_rejected_stays_so_when_more_may_be_wrong(p_values in prop::collection::vec(0.0..1.0_f64, 0..40), rate in 0.001..0.5_f64) {
            let (few, many) = (benjamini_hochberg(&p_values, 0, rate), benjamini_hochberg(&p_values, 0, rate * 1.5));
            prop_assert!(few.iter().zip(&many).all(|(few, many)| !few || *many));
            // Never fewer than Bonferroni.
            let bonferroni = |p: f64| p <= rate / p_values.len() as f64;
            prop_assert!(p_values.iter().zip(&few).all(|(p, few)| !bonferroni(*p) || *few));
        }

        #[test]
        fn the_interval_holds_the_share_that_was_seen(hits in 0..1_000_u64, more in 0..1_000_u64, z in 0.5..6.0_f64) {
            let tries = (hits + more).max(1);
            let (low, high) = wilson(hits, tries, z);
            let share = hits as f64 / tries as f64;
            prop_assert!(low <= share + 1e-12 && share <= high + 1e-12 && low >= 0.0 && high <= 1.0);
        }
    }
}
