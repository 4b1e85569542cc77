//! `log_analysis.detectors`: from what is written to how the detectors judge.

use std::time::Duration;

use watchfire_anomalies::Settings;
use watchfire_anomalies::settings::{Burst, ErrorRatio, NewPattern, Rate, Silence};

use super::check::Checker;
use super::raw_detectors::RawDetectors;

impl Checker<'_> {
    pub(super) fn detectors(&mut self, raw: &RawDetectors, max_patterns: usize) -> Settings {
        let at = |key: &str| format!("log_analysis.detectors.{key}");
        let factors = [
            ("rate.min_ratio", raw.rate.min_ratio),
            ("burst.min_ratio", raw.burst.min_ratio),
            ("error_ratio.min_ratio", raw.error_ratio.min_ratio),
            ("silence.factor", raw.silence.factor),
        ];
        for (key, factor) in factors {
            if factor.is_nan() || factor < 1.1 {
                self.fault(at(key), format!("expected a factor of at least 1.1, found {factor}"));
            }
        }
        if !(raw.rate.max_p > 0.0 && raw.rate.max_p <= 0.01) {
            self.fault(at("rate.max_p"), format!("expected a probability above 0 and up to 0.01, found {}", raw.rate.max_p));
        }
        self.at_least(&at("rate.min_count"), raw.rate.min_count, 1);
        self.at_least(&at("silence.min_per_day"), raw.silence.min_per_day, 1);
        self.at_least(&at("new_pattern.max_per_hour"), raw.new_pattern.max_per_hour.into(), 1);
        let min_history = self.duration(&at("rate.min_history"), raw.rate.min_history, Duration::from_secs(86_400));
        let min_gap = self.duration(&at("silence.min_gap"), raw.silence.min_gap, Duration::from_secs(600));
        Settings {
            max_patterns,
            ignore_sources: raw.ignore_sources.clone(),
            new_pattern: NewPattern {
                enabled: raw.new_pattern.enabled,
                ignore_sources: raw.new_pattern.ignore_sources.clone(),
                severity: raw.new_pattern.level.severity().0,
                warm_up: raw.new_pattern.warm_up.0,
                max_per_hour: raw.new_pattern.max_per_hour as usize,
            },
            rate: Rate {
                enabled: raw.rate.enabled,
                ignore_sources: raw.rate.ignore_sources.clone(),
                max_p: raw.rate.max_p,
                min_ratio: raw.rate.min_ratio,
                min_count: raw.rate.min_count,
                min_history,
            },
            silence: Silence {
                enabled: raw.silence.enabled,
                ignore_sources: raw.silence.ignore_sources.clone(),
                factor: raw.silence.factor,
                min_per_day: raw.silence.min_per_day,
                min_gap,
            },
            burst: Burst {
                enabled: raw.burst.enabled,
                ignore_sources: raw.burst.ignore_sources.clone(),
                min_ratio: raw.burst.min_ratio,
                min_count: raw.burst.min_count,
            },
            error_ratio: ErrorRatio {
                enabled: raw.error_ratio.enabled,
                ignore_sources: raw.error_ratio.ignore_sources.clone(),
                min_ratio: raw.error_ratio.min_ratio,
                min_count: raw.error_ratio.min_count,
                min_total: raw.error_ratio.min_total,
            },
        }
    }
}
