//! One module for each question. Each is put to one series and one window, and answers with its evidence; whether that is worth a
//! word is decided by [`crate::engine`].

pub mod burst;
pub mod novelty;
pub mod rate;
pub mod ratio;
pub mod silence;

use crate::found::{Direction, Evidence, Expected};
use crate::past::Sample;
use crate::stats::Distribution;

/// Share of the time that a count is within what is called expected.
const USUAL_SHARE: f64 = 0.99;
/// Windows that an expectation is made of, at least.
pub const LEAST_WINDOWS: u32 = 20;

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// It cannot be judged yet: why.
    NotEnoughHistory(String),
    /// It was judged.
    Tested(Test),
}

/// A judgement.
#[derive(Clone, Debug, PartialEq)]
pub struct Test {
    /// The probability of this if nothing has changed.
    pub p: f64,
    /// Whether it passes all thresholds but those over many tests and windows.
    pub passes: bool,
    /// Which way it went.
    pub direction: Direction,
    /// All the rest.
    pub evidence: Evidence,
}

impl Test {
    /// Returns the judgement that nothing is unusual.
    fn usual(direction: Direction, actual: u32) -> Self {
        let evidence = Evidence { actual: f64::from(actual), ..Evidence::default() };
        Self { p: 1.0, passes: false, direction, evidence }
    }
}

/// An expectation, and where it is from.
#[derive(Clone, Debug)]
struct Baseline {
    distribution: Distribution,
    windows: u32,
    history: String,
}

impl Baseline {
    fn of(sample: &Sample, history: String) -> Self {
        Self { distribution: sample.predicts(), windows: sample.windows, history }
    }

    fn evidence(&self, actual: f64, p: f64, method: &str) -> Evidence {
        let (low, high) = self.distribution.interval(USUAL_SHARE);
        Evidence {
            expected: Some(Expected { mean: self.distribution.mean(), low: low as f64, high: high as f64 }),
            actual,
            unit: "records in 5 minutes".to_owned(),
            samples: self.windows,
            history: self.history.clone(),
            method: method.to_owned(),
            p: Some(p),
        }
    }
}

fn weeks_text(weeks: u32) -> String {
    if weeks == 1 { "the same hour last week".to_owned() } else { format!("the same hour of the last {weeks} weeks") }
}

/// Returns a length of time in words: `3 days`, `5 hours`.
pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        0..3_600 => format!("{} minutes", seconds / 60),
        3_600..172_800 => format!("{} hours", seconds / 3_600),
        _ => format!("{:.1} days", seconds as f64 / 86_400.0),
    }
}
