//! The statistics, short enough to own: tails of count distributions, robust location and slope, decisions over many tests.
//!
//! Values in the tests come from scipy 1.x; each test names the call.

mod decide;
mod gamma;
mod robust;
mod tails;

pub use decide::{Cusum, benjamini_hochberg, wilson};
pub use gamma::{ln_gamma, regularized_beta, regularized_gamma_p, regularized_gamma_q};
pub use robust::{Slope, mad, median, quantile, theil_sen};
pub use tails::{Distribution, binomial_at_least};
