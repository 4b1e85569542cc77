//! How unlikely a count is: Poisson, and negative binomial where counts scatter more than that.

use super::gamma::{ln_gamma, regularized_beta, regularized_gamma_p, regularized_gamma_q};

/// A distribution of counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Distribution {
    /// Its variance is its mean.
    Poisson {
        /// The mean.
        mean: f64,
    },
    /// Its variance is larger: mean + mean² / r.
    NegativeBinomial {
        /// The mean.
        mean: f64,
        /// The smaller, the more it scatters.
        r: f64,
    },
}

impl Distribution {
    /// Returns the distribution of this mean and variance, by the method of moments; Poisson's if the variance is not greater.
    #[must_use]
    pub fn of(mean: f64, variance: f64) -> Self {
        let mean = mean.max(1e-12);
        let excess = variance - mean;
        // Beyond this the two are the same to all digits that matter, and r² would lose them.
        if excess <= mean * 1e-9 { Self::Poisson { mean } } else { Self::NegativeBinomial { mean, r: mean * mean / excess } }
    }

    /// Returns its mean.
    #[must_use]
    pub const fn mean(&self) -> f64 {
        match self {
            Self::Poisson { mean } | Self::NegativeBinomial { mean, .. } => *mean,
        }
    }

    /// Returns its name, in words.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Poisson { .. } => "Poisson",
            Self::NegativeBinomial { .. } => "negative binomial",
        }
    }

    /// Returns the probability of `count` or more.
    #[must_use]
    pub fn at_least(&self, count: u64) -> f64 {
        let x = count as f64;
        match *self {
            _ if count == 0 => 1.0,
            Self::Poisson { mean } => regularized_gamma_p(x, mean),
            Self::NegativeBinomial { mean, r } => regularized_beta(mean / (mean + r), x, r),
        }
    }

    /// Returns the probability of `count` or fewer.
    #[must_use]
    pub fn at_most(&self, count: u64) -> f64 {
        let x = count as f64;
        match *self {
            Self::Poisson { mean } => regularized_gamma_q(x + 1.0, mean),
            Self::NegativeBinomial { mean, r } => regularized_beta(r / (mean + r), r, x + 1.0),
        }
    }

    /// Returns the logarithm of the probability of exactly `count`.
    #[must_use]
    pub fn ln_exactly(&self, count: u64) -> f64 {
        let x = count as f64;
        match *self {
            Self::Poisson { mean } => x * mean.ln() - mean - ln_gamma(x + 1.0),
            Self::NegativeBinomial { mean, r } => {
                ln_gamma(x + r) - ln_gamma(r) - ln_gamma(x + 1.0) - r * (mean / r).ln_1p() + x * (mean / (mean + r)).ln()
            }
        }
    }

    /// Returns this with its mean `factor` times as large, scattering as much in proportion.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        match *self {
            Self::Poisson { mean } => Self::Poisson { mean: mean * factor },
            Self::NegativeBinomial { mean, r } => Self::NegativeBinomial { mean: mean * factor, r },
        }
    }

    /// Returns the least and greatest count of the middle `share` of it: what is usual.
    #[must_use]
    pub fn interval(&self, share: f64) -> (u64, u64) {
        let tail = (1.0 - share.clamp(0.0, 1.0)) / 2.0;
        // The greatest count with less than the tail below it, and the least one with less than the tail above it.
        let low = search(|count| self.at_most(count) > tail);
        let high = search(|count| self.at_least(count + 1) < tail);
        (low, high.max(low))
    }
}

/// Returns the least count for which `holds`, which holds from there on.
fn search(holds: impl Fn(u64) -> bool) -> u64 {
    if holds(0) {
        return 0;
    }
    let mut high = 1_u64;
    while !holds(high) && high < 1 << 52 {
        high *= 2;
    }
    let mut low = high / 2;
    while low + 1 < high {
        let middle = low + (high - low) / 2;
        if holds(middle) { high = middle } else { low = middle }
    }
    high
}

/// Returns the probability of `hits` or more in `tries`, each a hit with probability `p`.
#[must_use]
pub fn binomial_at_least(hits: u64, tries: u64, p: f64) -> f64 {
    if hits == 0 {
        return 1.0;
    }
    if hits > tries { 0.0 } else { regularized_beta(p, hits as f64, (tries - hits) as f64 + 1.0) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() <= expected.abs() * 1e-8, "{found} is not {expected}");
    }

    #[test]
    fn tails_are_scipys() {
        // from scipy.stats import *: poisson.sf(9, 1), (29, 8.5), (499, 300); poisson.cdf(0, 14), (2, 25), (200, 300);
        // binom.sf(29, 100, .1), (4, 2000, .0001)
        let poisson = |mean| Distribution::of(mean, mean);
        near(poisson(1.0).at_least(10), 1.114_254_783_387_207_1e-7);
        near(poisson(8.5).at_least(30), 8.030_584_314_477_685e-9);
        near(poisson(300.0).at_least(500), 3.807_423_416_288_127e-26);
        near(poisson(14.0).at_most(0), 8.315_287_191_035_68e-7);
        near(poisson(25.0).at_most(2), 4.701_068_998_290_324e-9);
        near(poisson(300.0).at_most(200), 5.104_978_048_629_88e-10);
        near(binomial_at_least(30, 100, 0.1), 2.445_112_239_390_972e-8);
        near(binomial_at_least(5, 2_000, 0.000_1), 2.247_835_345_653_065_5e-6);
        // r = mean² / (variance - mean), p = r / (mean + r): nbinom.sf(x - 1, r, p), .cdf(x // 10, r, p), .logpmf(x, r, p),
        // .ppf(.005, r, p), .ppf(.995, r, p)
        for (count, mean, variance, above, below, exactly, interval) in [
            (10, 1.0, 3.0, 0.004_899_976_849_549_488, 0.769_800_358_919_501, -6.340_109_522_012_15, (0, 9)),
            (60, 20.0, 60.0, 0.000_108_994_392_833_870_38, 0.015_945_488_623_860_575, -10.553_481_953_196_425, (5, 45)),
            (400, 100.0, 2_000.0, 1.530_092_125_342_359e-5, 0.056_459_787_579_126_355, -14.295_753_990_236_735, (21, 251)),
        ] {
            let it = Distribution::of(mean, variance);
            near(it.at_least(count), above);
            near(it.at_most(count / 10), below);
            near(it.ln_exactly(count), exactly);
            assert_eq!(it.interval(0.99), interval);
        }
    }

    proptest! {
        #[test]
        fn tails_add_up_and_fall(mean in 0.01..2_000.0_f64, scatter in 1.0..50.0_f64, count in 0..4_000_u64) {
            let it = Distribution::of(mean, mean * scatter);
            prop_assert!((it.at_least(count + 1) + it.at_most(count) - 1.0).abs() < 1e-8);
            prop_assert!(it.at_least(count + 1) <= it.at_least(count) + 1e-12);
            let (low, high) = it.interval(0.99);
            prop_assert!(it.at_least(high + 1) < 0.005 && it.at_most(low) >= 0.005 && low <= high);
        }

        #[test]
        fn exact_probabilities_are_the_steps_of_the_tail(mean in 0.1..50.0_f64, scatter in 1.0..10.0_f64, count in 0..60_u64) {
            let it = Distribution::of(mean, mean * scatter);
            let step = it.at_least(count) - it.at_least(count + 1);
            prop_assert!((step - it.ln_exactly(count).exp()).abs() < 1e-9);
        }

        #[test]
        fn more_scatter_makes_the_unlikely_likelier(mean in 1.0..100.0_f64, scatter in 1.1..10.0_f64) {
            let far = (mean * 4.0) as u64 + 10;
            let (calm, wild) = (Distribution::of(mean, mean), Distribution::of(mean, mean * scatter));
            prop_assert!(wild.at_least(far) >= calm.at_least(far));
        }
    }
}
