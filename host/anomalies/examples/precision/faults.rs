//! Faults, where and when they are put in, and whether they were found.

use std::fmt;

use watchfire_anomalies::found::{Detector, Direction};
use watchfire_anomalies::window::{DAY, HOUR, WEEK};

use crate::traffic::{self, Season};
use crate::world::{Found, World};

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    RateThree,
    RateFive,
    RateTen,
    Burst,
    Silence,
    Drop,
    NewError,
    ErrorsTen,
}

impl Fault {
    pub(crate) const ALL: [Self; 8] =
        [Self::RateThree, Self::RateFive, Self::RateTen, Self::Burst, Self::Silence, Self::Drop, Self::NewError, Self::ErrorsTen];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::RateThree => "one pattern × 3 for an hour",
            Self::RateFive => "one pattern × 5 for an hour",
            Self::RateTen => "one pattern × 10 for an hour",
            Self::Burst => "whole source × 20 for 5 minutes",
            Self::Silence => "source stops for 2 hours",
            Self::Drop => "one pattern stops for an hour",
            Self::NewError => "new error pattern",
            Self::ErrorsTen => "errors × 15 of a source for an hour",
        }
    }

    const fn windows(self) -> u64 {
        match self {
            Self::Burst => 1,
            Self::Silence => 2 * HOUR,
            _ => HOUR,
        }
    }
}

/// One fault.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Injection {
    pub(crate) fault: Fault,
    pub(crate) source: usize,
    /// Which of its patterns; of a new error its id.
    pub(crate) pattern: u64,
    pub(crate) start: u64,
    severe_from: usize,
}

impl fmt::Display for Injection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (source, hour) = (traffic::sources()[self.source].name, (self.start % DAY) as f64 / 12.0);
        write!(f, "{source} pattern {} at day {} {hour:.2}h", self.pattern, self.start / DAY)
    }
}

impl Injection {
    pub(crate) fn covers(&self, window: u64) -> bool {
        (self.start..self.start + self.fault.windows()).contains(&window)
    }

    /// Returns by how much the pattern of this rank is more.
    pub(crate) fn factor(&self, rank: usize) -> f64 {
        let this = rank as u64 == self.pattern;
        match self.fault {
            Fault::RateThree if this => 3.0,
            Fault::RateFive if this => 5.0,
            Fault::RateTen if this => 10.0,
            Fault::Drop if this => 0.0,
            Fault::Burst => 20.0,
            Fault::Silence => 0.0,
            Fault::ErrorsTen if rank >= self.severe_from => 15.0,
            _ => 1.0,
        }
    }
}

/// Plans two faults in three days, apart from each other, where they can be seen: of patterns and sources that have records then.
pub(crate) fn plan(fault: Fault, world: &mut World, weeks: u64) -> Vec<Injection> {
    let (begin, mut plan) = (world.now, Vec::new());
    for slot in (0..weeks * WEEK).step_by(36 * HOUR as usize) {
        for _ in 0..20 {
            let start = begin + slot + world.random.below(30 * HOUR);
            let source = world.random.below(world.sources.len() as u64) as usize;
            let kind = &world.sources[source];
            let steady = matches!(kind.season, Season::People | Season::Machine | Season::Office) && kind.name != "debug";
            let level = traffic::level(kind.season, start, false, 0);
            let pattern = world.random.below(kind.patterns.len() as u64);
            let mean = kind.patterns[pattern as usize].mean * level;
            let total: f64 = kind.patterns.iter().map(|pattern| pattern.mean * level).sum();
            let severe: f64 =
                kind.patterns.iter().filter(|pattern| pattern.severity >= 17).map(|pattern| pattern.mean * level).sum();
            let fits = match fault {
                Fault::RateThree | Fault::RateFive | Fault::RateTen => steady && mean >= 5.0,
                Fault::Drop => steady && mean >= 15.0,
                Fault::Burst => steady && total >= 10.0,
                Fault::Silence => {
                    let still = traffic::level(kind.season, start + 2 * HOUR, false, 0);
                    steady && total >= 5.0 && still > 0.0
                }
                Fault::NewError => kind.season != Season::Nightly,
                Fault::ErrorsTen => steady && severe >= 1.0,
            };
            if !fits {
                continue;
            }
            let pattern = if fault == Fault::NewError { 1_000_000 + plan.len() as u64 } else { pattern };
            let severe_from = kind.patterns.iter().position(|pattern| pattern.severity >= 13).unwrap_or(usize::MAX);
            plan.push(Injection { fault, source, pattern, start, severe_from });
            break;
        }
    }
    plan
}

/// How it went.
#[derive(Default)]
pub(crate) struct Score {
    pub(crate) injected: usize,
    pub(crate) right: usize,
    pub(crate) wrong: usize,
    pub(crate) missed: Vec<String>,
    pub(crate) wrongs: Vec<String>,
    /// Minutes until each was found.
    delays: Vec<u64>,
}

/// Compares what was found with what was put in. A finding is right if it is about the source of a fault that goes on or ended in
/// the half hour before, and says what happened.
impl Score {
    pub(crate) fn hits(&self) -> usize {
        self.delays.len()
    }

    pub(crate) fn median_delay_minutes(&self) -> u64 {
        let mut delays = self.delays.clone();
        delays.sort_unstable();
        delays.get(delays.len() / 2).copied().unwrap_or(0)
    }

    pub(crate) fn add(&mut self, plan: &[Injection], found: &[Found]) {
        self.injected += plan.len();
        for fault in plan {
            match found.iter().find(|found| explains(fault, found)) {
                // Five minutes of the window itself.
                Some(found) => self.delays.push((found.window - fault.start + 1) * 5),
                None => self.missed.push(fault.to_string()),
            }
        }
        for found in found.iter().filter(|found| !found.expected) {
            if plan.iter().any(|fault| explains(fault, found)) {
                self.right += 1;
            } else {
                self.wrong += 1;
                self.wrongs.push(found.to_string());
            }
        }
    }
}

fn explains(fault: &Injection, found: &Found) -> bool {
    let near = (fault.start..fault.start + fault.fault.windows() + 6).contains(&found.window);
    let apt = match fault.fault {
        Fault::Silence => found.detector == Detector::Silence || found.direction == Direction::Down,
        Fault::Drop => found.direction == Direction::Down,
        Fault::NewError => found.detector == Detector::NewPattern && found.pattern == Some(fault.pattern),
        _ => found.direction == Direction::Up,
    };
    near && apt && found.source == traffic::sources()[fault.source].name
}
