//! A summary of the machine's health, from the newest system metrics.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use watchfire_types::{SeriesKey, Timestamp};

use super::Metrics;

/// System metrics older than this say nothing about now, unless they come less often.
const STALE: Duration = Duration::from_secs(300);

/// How the machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// Nothing is near its limit.
    Healthy,
    /// Something is missing or too old to say.
    Unknown,
    /// Something is near its limit.
    Warning,
    /// Something is about to run out.
    Critical,
}

/// Bytes through all network devices since the machine started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NetworkIo {
    /// Received.
    pub receive_bytes: f64,
    /// Sent.
    pub transmit_bytes: f64,
}

/// The health summary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Health {
    /// The worst of what `reasons` says.
    pub status: HealthStatus,
    /// When it was made.
    pub timestamp: Timestamp,
    /// Share of all cores in use, 0 to 100.
    pub cpu_percent: Option<f64>,
    /// Share of memory in use, 0 to 100.
    pub memory_percent: Option<f64>,
    /// Share in use of the fullest file system, 0 to 100.
    pub disk_usage_percent: Option<f64>,
    /// Processes.
    pub process_count: Option<f64>,
    /// Network traffic.
    pub network_io: Option<NetworkIo>,
    /// Alerts that fire. They do not change `status`, which speaks of the machine.
    pub alerts_firing: usize,
    /// Why it is not healthy, worst first; empty if it is.
    pub reasons: Vec<String>,
}

/// Returns the health summary at `now`.
pub fn health(metrics: &Metrics, now: Timestamp, alerts_firing: usize) -> Health {
    let mut reasons: Vec<(HealthStatus, String)> = Vec::new();
    let mut read = |name: &str| {
        let (fresh, stale) = newest(metrics, name, now);
        if fresh.is_empty() {
            let why = match stale {
                Some(last) => format!("{name} is stale: its last sample is of {last}"),
                None => format!("{name} has no samples: is `performance.auto_start` on?"),
            };
            reasons.push((HealthStatus::Unknown, why));
        }
        fresh
    };
    let cpu = read("system.cpu_percent");
    let memory = read("system.memory_percent");
    let disks = read("system.disk_usage_percent");
    let processes = newest(metrics, "system.process_count", now).0;
    let network = newest(metrics, "system.network_io", now).0;
    judge(&mut reasons, "CPU", &cpu, 90.0, f64::INFINITY);
    judge(&mut reasons, "memory", &memory, 90.0, 97.0);
    judge(&mut reasons, "disk", &disks, 90.0, 97.0);
    reasons.sort_by_key(|(status, _)| std::cmp::Reverse(*status));
    let sum =
        |direction: &str| network.iter().filter(|(key, _)| key.label("direction") == Some(direction)).map(|(_, value)| value).sum();
    let worst = |values: &[(SeriesKey, f64)]| values.iter().map(|(_, value)| *value).reduce(f64::max);
    Health {
        status: reasons.first().map_or(HealthStatus::Healthy, |(status, _)| *status),
        timestamp: now,
        cpu_percent: worst(&cpu),
        memory_percent: worst(&memory),
        disk_usage_percent: worst(&disks),
        process_count: worst(&processes),
        network_io: (!network.is_empty()).then(|| NetworkIo { receive_bytes: sum("receive"), transmit_bytes: sum("transmit") }),
        alerts_firing,
        reasons: reasons.into_iter().map(|(_, reason)| reason).collect(),
    }
}

/// Returns the newest value of each series that still says something about `now`, and otherwise when the last one was.
fn newest(metrics: &Metrics, name: &str, now: Timestamp) -> (Vec<(SeriesKey, f64)>, Option<Timestamp>) {
    let (mut fresh, mut last) = (Vec::new(), None);
    // Two hours show how often samples come, for any sensible interval.
    for data in metrics.recent(name, &[], now.minus(Duration::from_secs(7200))) {
        let Some(sample) = data.samples.last() else { continue };
        let before = data.samples.iter().rev().nth(1);
        let allowed = before.map_or(STALE, |before| STALE.max(3 * sample.timestamp.since(before.timestamp)));
        if now.since(sample.timestamp) <= allowed && sample.value.is_finite() {
            fresh.push((data.series, sample.value));
        } else {
            last = last.max(Some(sample.timestamp));
        }
    }
    (fresh, last)
}

fn judge(reasons: &mut Vec<(HealthStatus, String)>, what: &str, values: &[(SeriesKey, f64)], warning: f64, critical: f64) {
    for (key, value) in values {
        let status = if *value > critical {
            HealthStatus::Critical
        } else if *value > warning {
            HealthStatus::Warning
        } else {
            continue;
        };
        let place = key.label("mountpoint").map_or_else(String::new, |mountpoint| format!(" of {mountpoint}"));
        reasons.push((status, format!("{what}{place} is {value:.1} % in use")));
    }
}
