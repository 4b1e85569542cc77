//! `log_analysis.detectors`, as written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use watchfire_anomalies::Settings;
use watchfire_types::Severity;

use super::duration::HumanDuration;
use super::raw::LogLevel;

/// The built-in detectors of what is unusual in the log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawDetectors {
    /// Sources (`service.name`) of which nothing is ever found; a name may end in `*`. Default: none.
    pub ignore_sources: Vec<String>,
    /// Patterns that were never seen before. Default: on, from level warning.
    pub new_pattern: RawNewPattern,
    /// More or less of a pattern, or of a source, than usual at this hour of the week. Default: on.
    pub rate: RawRate,
    /// Sources that stopped. Default: on.
    pub silence: RawSilence,
    /// Very many records of a source for a short time. Default: on.
    pub burst: RawBurst,
    /// A greater share of errors in a source than usual. Default: on.
    pub error_ratio: RawErrorRatio,
}

/// Patterns that were never seen before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawNewPattern {
    /// Whether they are looked for. Default: true.
    pub enabled: bool,
    /// Sources in which they are not; a name may end in `*`. Default: none.
    pub ignore_sources: Vec<String>,
    /// Least level of a record whose pattern is told of. Default: `WARNING`.
    pub level: LogLevel,
    /// How long a source is watched before its patterns are taken for known. Default: `1d`.
    pub warm_up: HumanDuration,
    /// With more new ones in an hour one finding says that the format has changed. Default: 20.
    pub max_per_hour: u32,
}

/// Rates of patterns and sources.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawRate {
    /// Whether they are looked at. Default: true.
    pub enabled: bool,
    /// Sources in which they are not; a name may end in `*`. Default: none.
    pub ignore_sources: Vec<String>,
    /// Least factor up or down. Default: 3.
    pub min_ratio: f64,
    /// Least records in a quarter of an hour for more, least expected ones for fewer. Default: 10.
    pub min_count: u64,
    /// Greatest probability that it came about by chance. Also holds for `burst` and `error_ratio`. Default: 0.000001.
    pub max_p: f64,
    /// How long something is counted before it is judged; with less than a week, hours of the week cannot be told apart and there is
    /// more false alarm. Also holds for `burst` and `error_ratio`. Default: `7d`.
    pub min_history: HumanDuration,
}

/// Sources that stopped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawSilence {
    /// Whether they are looked for. Default: true.
    pub enabled: bool,
    /// Sources that may stop; a name may end in `*`. Default: none.
    pub ignore_sources: Vec<String>,
    /// How many times the longest usual gap at this hour of the week it lasts. Default: 3.
    pub factor: f64,
    /// It lasts at least this. Default: `15m`.
    pub min_gap: HumanDuration,
    /// Least records a day of a source that can fall silent. Default: 50.
    pub min_per_day: u64,
}

/// Bursts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawBurst {
    /// Whether they are looked for. Default: true.
    pub enabled: bool,
    /// Sources that may burst; a name may end in `*`. Default: none.
    pub ignore_sources: Vec<String>,
    /// Least factor over the usual. Default: 5.
    pub min_ratio: f64,
    /// Least records in five minutes. Default: 50.
    pub min_count: u64,
}

/// Shares of errors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawErrorRatio {
    /// Whether they are looked at. Default: true.
    pub enabled: bool,
    /// Sources in which they are not; a name may end in `*`. Default: none.
    pub ignore_sources: Vec<String>,
    /// Least factor over the usual share. Default: 3.
    pub min_ratio: f64,
    /// Least errors in a quarter of an hour. Default: 10.
    pub min_count: u64,
    /// Least records in a quarter of an hour. Default: 50.
    pub min_total: u64,
}

impl Default for RawNewPattern {
    fn default() -> Self {
        let it = Settings::default().new_pattern;
        Self {
            enabled: it.enabled,
            ignore_sources: it.ignore_sources,
            level: LogLevel::of(Severity(it.severity)),
            warm_up: HumanDuration(it.warm_up),
            max_per_hour: it.max_per_hour as u32,
        }
    }
}

impl Default for RawRate {
    fn default() -> Self {
        let it = Settings::default().rate;
        Self {
            enabled: it.enabled,
            ignore_sources: it.ignore_sources,
            min_ratio: it.min_ratio,
            min_count: it.min_count,
            max_p: it.max_p,
            min_history: HumanDuration(it.min_history),
        }
    }
}

impl Default for RawSilence {
    fn default() -> Self {
        let it = Settings::default().silence;
        Self {
            enabled: it.enabled,
            ignore_sources: it.ignore_sources,
            factor: it.factor,
            min_gap: HumanDuration(it.min_gap),
            min_per_day: it.min_per_day,
        }
    }
}

impl Default for RawBurst {
    fn default() -> Self {
        let it = Settings::default().burst;
        Self { enabled: it.enabled, ignore_sources: it.ignore_sources, min_ratio: it.min_ratio, min_count: it.min_count }
    }
}

impl Default for RawErrorRatio {
    fn default() -> Self {
        let it = Settings::default().error_ratio;
        Self {
            enabled: it.enabled,
            ignore_sources: it.ignore_sources,
            min_ratio: it.min_ratio,
            min_count: it.min_count,
            min_total: it.min_total,
        }
    }
}
