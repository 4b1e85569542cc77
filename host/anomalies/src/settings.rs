//! What may be tuned, with what holds if nobody does.

use std::time::Duration;

use crate::found::Detector;

/// How the detectors judge. `source` names may end in `*`.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Patterns counted of one source; the rest is counted together.
    pub max_patterns: usize,
    /// Sources of which nothing is ever found.
    pub ignore_sources: Vec<String>,
    /// New patterns.
    pub new_pattern: NewPattern,
    /// Rates of patterns and of whole sources.
    pub rate: Rate,
    /// Sources that stopped.
    pub silence: Silence,
    /// Short bursts.
    pub burst: Burst,
    /// Shares of errors.
    pub error_ratio: ErrorRatio,
}

/// `new_pattern`.
#[derive(Clone, Debug, PartialEq)]
pub struct NewPattern {
    /// Whether it is looked for,
    pub enabled: bool,
    /// and in which sources not.
    pub ignore_sources: Vec<String>,
    /// Least severity number of a record whose pattern is worth a word.
    pub severity: u8,
    /// How long a source is watched before its patterns are known.
    pub warm_up: Duration,
    /// With more new ones in an hour, the format has changed.
    pub max_per_hour: usize,
}

/// `rate`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rate {
    /// Whether it is looked for,
    pub enabled: bool,
    /// and in which sources not.
    pub ignore_sources: Vec<String>,
    /// Greatest probability by chance.
    pub max_p: f64,
    /// Least factor up, or down.
    pub min_ratio: f64,
    /// Least count in the window for up, least expected one for down.
    pub min_count: u64,
    /// How long something is counted before it is judged.
    pub min_history: Duration,
}

/// `silence`.
#[derive(Clone, Debug, PartialEq)]
pub struct Silence {
    /// Whether it is looked for,
    pub enabled: bool,
    /// and in which sources not.
    pub ignore_sources: Vec<String>,
    /// How many times the longest usual gap it must last.
    pub factor: f64,
    /// Least records a day of a source that can fall silent.
    pub min_per_day: u64,
    /// It lasts at least this.
    pub min_gap: Duration,
}

/// `burst`.
#[derive(Clone, Debug, PartialEq)]
pub struct Burst {
    /// Whether it is looked for,
    pub enabled: bool,
    /// and in which sources not.
    pub ignore_sources: Vec<String>,
    /// Least factor over the usual.
    pub min_ratio: f64,
    /// Least records in the window.
    pub min_count: u64,
}

/// `error_ratio`.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorRatio {
    /// Whether it is looked for,
    pub enabled: bool,
    /// and in which sources not.
    pub ignore_sources: Vec<String>,
    /// Least factor over the usual share.
    pub min_ratio: f64,
    /// Least errors in a quarter of an hour.
    pub min_count: u64,
    /// Least records in a quarter of an hour.
    pub min_total: u64,
}

impl Default for Settings {
    fn default() -> Self {
        let hours = |hours: u64| Duration::from_secs(hours * 3_600);
        Self {
            max_patterns: 1_000,
            ignore_sources: Vec::new(),
            new_pattern: NewPattern {
                enabled: true,
                ignore_sources: Vec::new(),
                severity: 13,
                warm_up: hours(24),
                max_per_hour: 20,
            },
            rate: Rate {
                enabled: true,
                ignore_sources: Vec::new(),
                max_p: 1e-6,
                min_ratio: 3.0,
                min_count: 10,
                min_history: hours(7 * 24),
            },
            silence: Silence {
                enabled: true,
                ignore_sources: Vec::new(),
                factor: 3.0,
                min_per_day: 50,
                min_gap: Duration::from_secs(900),
            },
            burst: Burst { enabled: true, ignore_sources: Vec::new(), min_ratio: 5.0, min_count: 50 },
            error_ratio: ErrorRatio { enabled: true, ignore_sources: Vec::new(), min_ratio: 3.0, min_count: 10, min_total: 50 },
        }
    }
}

impl Settings {
    /// Returns whether `detector` looks at the source called `name`.
    #[must_use]
    pub fn looks_at(&self, detector: Detector, name: &str) -> bool {
        let (enabled, ignored) = match detector {
            Detector::NewPattern | Detector::FormatChanged => (self.new_pattern.enabled, &self.new_pattern.ignore_sources),
            Detector::Rate => (self.rate.enabled, &self.rate.ignore_sources),
            Detector::Silence => (self.silence.enabled, &self.silence.ignore_sources),
            Detector::Burst => (self.burst.enabled, &self.burst.ignore_sources),
            Detector::ErrorRatio => (self.error_ratio.enabled, &self.error_ratio.ignore_sources),
        };
        enabled && !self.ignore_sources.iter().chain(ignored).any(|ignored| is_named(name, ignored))
    }
}

/// Returns whether `name` is `wanted`, or begins with it if that ends in `*`.
fn is_named(name: &str, wanted: &str) -> bool {
    wanted.strip_suffix('*').map_or(name == wanted, |beginning| name.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_ignored_by_one_detector_or_by_all() {
        let mut settings = Settings { ignore_sources: vec!["debug-*".into()], ..Settings::default() };
        settings.burst.ignore_sources = vec!["batch".into()];
        settings.silence.enabled = false;
        let looks = |detector, name| settings.looks_at(detector, name);
        assert!(looks(Detector::Rate, "batch") && !looks(Detector::Burst, "batch") && looks(Detector::Burst, "batches"));
        assert!(!looks(Detector::Rate, "debug-7") && !looks(Detector::Silence, "batch"));
    }
}
