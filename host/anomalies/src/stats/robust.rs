//! What a few wild values do not move: median, deviation, quantiles, slope.

/// Most pairs of points that a slope is taken from; beyond, points are thinned evenly.
const MAX_SLOPE_POINTS: usize = 600;

/// Returns the `q` quantile (0 to 1) of `values`, between neighbours in proportion (numpy's default); `None` of nothing.
#[must_use]
pub fn quantile(values: &[f64], q: f64) -> Option<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    let place = q.clamp(0.0, 1.0) * last as f64;
    let (below, share) = (place.floor() as usize, place.fract());
    let above = (below + 1).min(last);
    Some(sorted[below] + (sorted[above] - sorted[below]) * share)
}

/// Returns the middle of `values`; `None` of nothing.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    quantile(values, 0.5)
}

/// Returns the median absolute deviation from the median, scaled to a normal distribution's standard deviation.
#[must_use]
pub fn mad(values: &[f64]) -> Option<f64> {
    let middle = median(values)?;
    let distances: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
    median(&distances).map(|distance| distance * 1.482_602_218_505_602)
}

/// A straight line through points, and how sure its slope is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slope {
    /// Units of y for one of x.
    pub slope: f64,
    /// Where the line meets x = 0.
    pub intercept: f64,
    /// Nineteen of twenty times the slope is not below this,
    pub low: f64,
    /// and not above this.
    pub high: f64,
}

impl Slope {
    /// Returns whether rising or falling is beyond doubt.
    #[must_use]
    pub fn is_sure(&self) -> bool {
        (self.low > 0.0 && self.high > 0.0) || (self.low < 0.0 && self.high < 0.0)
    }
}

/// Returns the line of Theil and Sen: the median of the slopes of all pairs of points, with Kendall's 95 % interval (as
/// `scipy.stats.theilslopes`); `None` of fewer than three points, or if all have one x.
#[must_use]
pub fn theil_sen(points: &[(f64, f64)]) -> Option<Slope> {
    let step = points.len().div_ceil(MAX_SLOPE_POINTS).max(1);
    let points: Vec<(f64, f64)> = points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite()).step_by(step).collect();
    let n = points.len();
    if n < 3 {
        return None;
    }
    let pairs = points.iter().enumerate().flat_map(|(index, left)| points[index + 1..].iter().map(move |right| (left, right)));
    let mut slopes: Vec<f64> =
        pairs.filter(|(left, right)| left.0.total_cmp(&right.0).is_ne()).map(|(a, b)| (b.1 - a.1) / (b.0 - a.0)).collect();
    slopes.sort_unstable_by(f64::total_cmp);
    let slope = median(&slopes)?;
    let xs: Vec<f64> = points.iter().map(|point| point.0).collect();
    let ys: Vec<f64> = points.iter().map(|point| point.1).collect();
    let intercept = median(&ys)? - slope * median(&xs)?;
    // Kendall's variance, with ties: Sen 1968.
    let ties = |values: &[f64]| {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        sorted.chunk_by(|a, b| a.total_cmp(b).is_eq()).map(<[f64]>::len).filter(|run| *run > 1).map(kendall).sum::<f64>()
    };
    let variance = ((kendall(n) - ties(&xs) - ties(&ys)) / 18.0).max(0.0);
    let reach = 1.959_963_984_540_054 * variance.sqrt();
    let count = slopes.len() as f64;
    let at = |place: f64| slopes[(place.max(0.0) as usize).min(slopes.len() - 1)];
    let (low, high) = (at(((count - reach) / 2.0).round() - 1.0), at(f64::midpoint(count, reach).round()));
    Some(Slope { slope, intercept, low, high })
}

fn kendall(n: usize) -> f64 {
    let n = n as f64;
    n * (n - 1.0) * (2.0 * n + 5.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantiles_are_numpys() {
        // numpy.quantile([1, 2, 4, 8], [0.1, 0.5, 0.9])
        let values = [8.0, 1.0, 4.0, 2.0];
        let found = [0.1, 0.5, 0.9].map(|q| (quantile(&values, q).unwrap() * 1e9).round() as u64);
        assert_eq!(found, [1_300_000_000, 3_000_000_000, 6_800_000_000]);
        assert_eq!((quantile(&[], 0.5), mad(&[])), (None, None));
    }

    #[test]
    fn the_deviation_is_scipys() {
        // scipy.stats.median_abs_deviation([1, 2, 4, 8, 100], scale="normal")
        assert!((mad(&[1.0, 2.0, 4.0, 8.0, 100.0]).unwrap() - 4.447_806_655_516_806).abs() < 1e-9);
    }

    #[test]
    fn a_wild_value_moves_neither_middle_nor_deviation_far() {
        let mut values: Vec<f64> = (0..99).map(f64::from).collect();
        let before = (median(&values).unwrap(), mad(&values).unwrap());
        values.push(1e12);
        assert!((median(&values).unwrap() - before.0).abs() < 1.0 && (mad(&values).unwrap() - before.1).abs() < 1.5);
    }

    #[test]
    fn the_slope_is_scipys() {
        // scipy.stats.theilslopes([1, 3, 2, 7, 6, 9, 8, 40], range(8)); the same of [5, 5, 5, 4, 4, 3, 3, 1, 1, 1, 0, 0]
        let points = |ys: &[f64]| ys.iter().enumerate().map(|(x, y)| (x as f64, *y)).collect::<Vec<_>>();
        let near = |ys: &[f64], expected: [f64; 4]| {
            let line = theil_sen(&points(ys)).unwrap();
            let found = [line.slope, line.intercept, line.low, line.high];
            assert!(found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-9), "{found:?}");
            assert!(line.is_sure());
        };
        near(&[1.0, 3.0, 2.0, 7.0, 6.0, 9.0, 8.0, 40.0], [1.8, 0.2, 1.0, 37.0 / 6.0]);
        near(&[5.0, 5.0, 5.0, 4.0, 4.0, 3.0, 3.0, 1.0, 1.0, 1.0, 0.0, 0.0], [-0.5, 5.75, -0.6, -0.4]);
        let points = points(&[1.0, 3.0, 2.0]);
        assert_eq!(theil_sen(&points[..2]), None);
        assert_eq!(theil_sen(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)]), None);
    }

    proptest! {
        #[test]
        fn a_line_is_found_though_a_quarter_of_its_points_are_wild(
            slope in -5.0..5.0_f64, intercept in -100.0..100.0_f64, wild in prop::collection::vec(-1e6..1e6_f64, 10),
        ) {
            let points: Vec<(f64, f64)> = (0..40)
                .map(|x| (f64::from(x), if x % 4 == 0 { wild[x as usize / 4] } else { f64::from(x) * slope + intercept }))
                .collect();
            let line = theil_sen(&points).unwrap();
            prop_assert!((line.slope - slope).abs() < 1e-6, "{line:?}");
            prop_assert!(line.low <= line.slope && line.slope <= line.high);
        }

        #[test]
        fn a_quantile_lies_between_the_extremes_and_grows(values in prop::collection::vec(-1e9..1e9_f64, 1..50), q in 0.0..1.0_f64) {
            let at = |q| quantile(&values, q).unwrap();
            prop_assert!(at(0.0) <= at(q) && at(q) <= at(1.0) && at(q * 0.5) <= at(q));
        }
    }
}
