//! What the sources of a small company's servers log: seasons, scatter, jobs at night, deploys, chatter.

use watchfire_anomalies::window::{DAY, HOUR};

/// How a source's traffic goes over the week.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Season {
    /// More by day than by night, less at weekends.
    People,
    /// The same at all times.
    Machine,
    /// Only on working days by day.
    Office,
    /// A job each night, some minutes early or late.
    Nightly,
    /// Now and then, at any time.
    Random,
}

/// A kind of record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pattern {
    /// Records of a window at the height of the season.
    pub(crate) mean: f64,
    pub(crate) severity: u8,
}

/// Who logs.
#[derive(Clone, Debug)]
pub(crate) struct SourceKind {
    pub(crate) name: &'static str,
    pub(crate) season: Season,
    /// How much counts scatter: small is much.
    pub(crate) r: f64,
    pub(crate) patterns: Vec<Pattern>,
    /// Whether it is deployed twice a week.
    pub(crate) deployed: bool,
    /// How often a window has many times the usual.
    pub(crate) spikes: f64,
}

/// Rates as they are: few patterns have most records.
fn zipf(count: usize, top: f64, severe: usize) -> Vec<Pattern> {
    let pattern = |rank: usize| Pattern {
        mean: top / (rank + 1) as f64,
        severity: if rank >= count - severe { if rank.is_multiple_of(2) { 17 } else { 13 } } else { 9 },
    };
    (0..count).map(pattern).collect()
}

/// All sources.
pub(crate) fn sources() -> Vec<SourceKind> {
    let source = |name, season, r, patterns, deployed, spikes| SourceKind { name, season, r, patterns, deployed, spikes };
    vec![
        source("web", Season::People, 8.0, zipf(15, 400.0, 4), true, 0.0),
        source("api", Season::People, 5.0, zipf(30, 250.0, 8), true, 0.0),
        source("payments", Season::People, 4.0, zipf(12, 40.0, 4), true, 0.0),
        source("db", Season::Machine, 20.0, zipf(12, 60.0, 3), false, 0.0005),
        source("queue", Season::Machine, 10.0, zipf(10, 90.0, 2), false, 0.0),
        source("proxy", Season::People, 10.0, zipf(8, 900.0, 3), false, 0.0),
        source("office", Season::Office, 4.0, zipf(8, 25.0, 2), false, 0.0),
        source("backup", Season::Nightly, 5.0, zipf(5, 300.0, 1), false, 0.0),
        source("reports", Season::Nightly, 3.0, zipf(6, 120.0, 1), false, 0.0),
        source("kernel", Season::Random, 0.5, zipf(20, 0.4, 6), false, 0.001),
        source("auth", Season::Random, 0.3, zipf(6, 6.0, 3), false, 0.004),
        source("debug", Season::People, 0.8, zipf(40, 150.0, 5), true, 0.003),
    ]
}

/// Returns how many patterns there are.
pub(crate) fn patterns() -> usize {
    sources().iter().map(|source| source.patterns.len()).sum()
}

/// Returns how much of its height a season has in `window`; `quiet` makes a holiday of the day. `shift` moves a job, in windows.
pub(crate) fn level(season: Season, window: u64, quiet: bool, shift: i64) -> f64 {
    // 1970 began on a Thursday.
    let weekday = (window / DAY + 3) % 7;
    let weekend = weekday >= 5 || quiet;
    let hour = (window % DAY) as f64 / HOUR as f64;
    let by_day = 0.5 - 0.5 * ((hour - 3.0) / 24.0 * 2.0 * std::f64::consts::PI).cos();
    match season {
        Season::People => (0.08 + 0.92 * by_day.powf(1.5)) * if weekend { 0.55 } else { 1.0 },
        Season::Machine | Season::Random => 1.0,
        Season::Office => f64::from(u8::from(!weekend && (8.0..18.0).contains(&hour))),
        Season::Nightly => {
            let place = (window % DAY) as i64 - (2 * HOUR as i64 + shift);
            match place {
                0..=2 => 1.0,
                3..=5 => 0.2,
                _ => 0.0,
            }
        }
    }
}
