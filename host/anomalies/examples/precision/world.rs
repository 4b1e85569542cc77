//! Lets time pass: traffic into counts, counts into the engine, what it says into a list.

use std::fmt;

use watchfire_anomalies::engine::Templates;
use watchfire_anomalies::found::{Detector, Direction};
use watchfire_anomalies::ledger::Change;
use watchfire_anomalies::window::{DAY, HOUR, WEEK};
use watchfire_anomalies::{Engine, Memory, Observed, Settings, Window};

use crate::faults::{Fault, Injection};
use crate::random::Random;
use crate::traffic::{self, Season, SourceKind};

/// A Thursday.
const BEGIN: u64 = 2_950 * WEEK;
/// Growth of all traffic in a day.
const GROWTH: f64 = 1.004;

/// Something the engine said.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) detector: Detector,
    pub(crate) direction: Direction,
    pub(crate) source: String,
    pub(crate) pattern: Option<u64>,
    pub(crate) window: u64,
    pub(crate) expected: bool,
    text: String,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (day, hour) = ((self.window - BEGIN) / DAY, (self.window % DAY) as f64 / 12.0);
        write!(f, "day {day} {hour:.2}h {} {} {}: {}", self.detector.name(), self.direction.name(), self.source, self.text)
    }
}

pub(crate) struct World {
    pub(crate) sources: Vec<SourceKind>,
    pub(crate) random: Random,
    pub(crate) now: u64,
    pub(crate) found: Vec<Found>,
    engine: Engine,
    memory: Memory,
    next_pattern: u64,
    shifts: Vec<i64>,
    /// Until when a format change is the expected answer, by source.
    formats: Vec<(usize, u64)>,
}

struct Texts;

impl Templates for Texts {
    /// Each pattern has words of its own.
    fn template(&self, source: &str, pattern: u64) -> Option<String> {
        let letters = |mut number: u64| {
            let mut word = String::new();
            while number > 0 {
                word.push(char::from(b'a' + (number % 26) as u8));
                number /= 26;
            }
            word
        };
        Some(format!("{source} says {} about {} and <*>", letters(pattern * 7_919), letters(pattern)))
    }

    fn line(&self, _: u64) -> Option<String> {
        None
    }
}

impl World {
    /// Lets `weeks` of clean traffic pass.
    pub(crate) fn new(seed: u64, weeks: u64) -> Self {
        let sources = traffic::sources();
        let mut world = Self {
            shifts: vec![0; sources.len()],
            sources,
            random: Random::new(seed),
            now: BEGIN,
            found: Vec::new(),
            engine: Engine::new(Settings::default(), Window(BEGIN - 1)),
            memory: Memory::default(),
            next_pattern: 10_000,
            formats: Vec::new(),
        };
        world.run(weeks, &[]);
        world.found.clear();
        world
    }

    /// Returns how many findings there were that no event of ordinary life explains.
    pub(crate) fn unexpected(&self) -> usize {
        self.found.iter().filter(|found| !found.expected).count()
    }

    /// Lets `weeks` pass, with faults as planned.
    pub(crate) fn run(&mut self, weeks: u64, plan: &[Injection]) {
        let end = self.now + weeks * WEEK;
        while self.now < end {
            self.window(plan);
            self.now += 1;
        }
    }

    fn window(&mut self, plan: &[Injection]) {
        let (now, day) = (self.now, (self.now - BEGIN) / DAY);
        if now.is_multiple_of(DAY) {
            for shift in &mut self.shifts {
                *shift = self.random.below(8) as i64 - 4;
            }
            self.memory.forget_before((now / DAY) as u32 - 31);
            self.engine.make_room();
        }
        // Every seventh week has a holiday, on a Tuesday.
        let quiet = day % 49 == 26;
        let growth = GROWTH.powi(day.min(60) as i32);
        for index in 0..self.sources.len() {
            self.source(index, plan, quiet, growth);
        }
        let until = Window(now);
        let judged = self.engine.judge(&self.memory, &Texts, until, until.end_seconds() + 30);
        let Ok(steps) = judged;
        for step in steps.into_iter().filter(|step| step.change == Change::Opened) {
            let anomaly = step.entry.anomaly;
            let name = self.engine.source(anomaly.series.source).map_or_else(String::new, |source| source.name.clone());
            let expected = self.formats.iter().any(|(index, until)| self.sources[*index].name == name && now < *until);
            let text = format!(
                "{:?} actual {} expected {:?} p {:?} {}{}",
                anomaly.series.key,
                anomaly.evidence.actual,
                anomaly.evidence.expected.map(|it| (it.mean.round(), it.low, it.high)),
                anomaly.evidence.p,
                anomaly.evidence.method,
                if expected { " (a new format, as it was)" } else { "" }
            );
            self.found.push(Found {
                detector: anomaly.detector,
                direction: anomaly.direction,
                source: name,
                pattern: anomaly.series.key.as_pattern(),
                window: now,
                expected: expected && matches!(anomaly.detector, Detector::FormatChanged),
                text,
            });
        }
    }

    fn source(&mut self, index: usize, plan: &[Injection], quiet: bool, growth: f64) {
        let (now, kind) = (self.now, self.sources[index].clone());
        let faults: Vec<&Injection> = plan.iter().filter(|fault| fault.source == index && fault.covers(now)).collect();
        let mut level =
            traffic::level(kind.season, now, quiet, self.shifts[index]) * if kind.season == Season::Nightly { 1.0 } else { growth };
        // Traffic as a whole swings, over minutes and from day to day.
        level *= 1.0 + 0.1 * ((now as f64 / 7.0).sin() + (now as f64 / 500.0).sin());
        if self.random.chance(kind.spikes) {
            level *= 4.0 + 16.0 * self.random.unit();
        }
        let minute = now % DAY;
        let deploy = kind.deployed && minute == 14 * HOUR + index as u64 && (now / DAY + 3) % 7 % 3 == 1;
        for (rank, pattern) in kind.patterns.iter().enumerate() {
            let mut mean = pattern.mean * level;
            for fault in &faults {
                mean *= fault.factor(rank);
            }
            let count = self.random.count(mean, kind.r);
            self.observe(kind.name, (index * 100 + rank + 1) as u64, pattern.severity, count);
        }
        if deploy {
            // A restart says what it always says, and the new version some new things.
            for line in 0..4 {
                let count = 10 + self.random.count(6.0, 5.0);
                self.observe(kind.name, (index * 100 + 60 + line) as u64, 9, count);
            }
            let many = (now / WEEK + index as u64).is_multiple_of(9);
            if many {
                self.formats.push((index, now + DAY));
            }
            for _ in 0..if many { 40 } else { self.random.below(3) } {
                let (pattern, count) = (self.next_pattern, 1 + self.random.count(5.0, 2.0));
                self.next_pattern += 1;
                self.observe(kind.name, pattern, if many && pattern.is_multiple_of(4) { 13 } else { 9 }, count);
            }
        }
        for fault in &faults {
            if fault.fault == Fault::NewError {
                let count = 1 + self.random.count(3.0, 1.0);
                self.observe(kind.name, fault.pattern, 17, count);
            }
        }
    }

    fn observe(&mut self, source: &str, pattern: u64, severity: u8, count: u32) {
        if count == 0 {
            return;
        }
        let window = Window(self.now);
        self.engine.observe(&Observed { source, pattern, severity, window, count, seqs: (1, 1) });
        for ((series, window), count) in self.engine.take_counts() {
            self.memory.add(series, window, count);
        }
    }
}
