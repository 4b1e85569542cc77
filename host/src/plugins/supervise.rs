//! Watches over one plugin: counts its calls, and after a failure waits a while before the next, longer each time.

use std::time::Duration;

use parking_lot::Mutex;
use watchfire_types::Timestamp;

use super::types::CallError;
use crate::telemetry::{Counter, Gauge, SelfMetrics};

/// The first wait after a failure, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// After this long without a failure the next wait is the first again.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);

/// How often a plugin was called, and how it went.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// Calls since the start.
    pub calls: u64,
    /// Failures that cost a store: traps, deadlines, answers that cannot be used.
    pub failures: u64,
    /// Time spent in calls.
    pub busy: Duration,
    /// Most memory of a store, in bytes.
    pub memory_bytes: usize,
    /// What went wrong last, and when.
    pub last_failure: Option<(Timestamp, String)>,
    /// Not called before then.
    pub waits_until: Option<Timestamp>,
}

/// The supervisor of one plugin.
pub struct Supervisor {
    state: Mutex<State>,
    metrics: SelfMetrics,
    plugin: String,
    calls: Counter,
    busy: Gauge,
    memory: Gauge,
}

#[derive(Default)]
struct State {
    record: Record,
    /// Failures without a healthy minute between them.
    streak: u32,
}

impl Supervisor {
    /// Returns the supervisor of `plugin`.
    #[must_use]
    pub fn new(plugin: &str, metrics: &SelfMetrics) -> Self {
        let labels = [("plugin", plugin)];
        Self {
            state: Mutex::default(),
            calls: metrics.counter("watchfire_plugin_calls_total", &labels),
            busy: metrics.gauge("watchfire_plugin_busy_seconds", &labels),
            memory: metrics.gauge("watchfire_plugin_memory_bytes", &labels),
            plugin: plugin.to_owned(),
            metrics: metrics.clone(),
        }
    }

    /// Says whether the plugin may be called at `now`.
    ///
    /// # Errors
    /// [`CallError::Backoff`] if it failed lately.
    pub fn admit(&self, now: Timestamp) -> Result<(), CallError> {
        let mut state = self.state.lock();
        match state.record.waits_until {
            // A clock that stepped back must not stretch the wait.
            Some(until) if now < until && until.since(now) <= LONGEST_WAIT => Err(CallError::Backoff { until }),
            _ => {
                state.record.waits_until = None;
                Ok(())
            }
        }
    }

    /// Counts a call that took `took`.
    pub fn called(&self, took: Duration, memory_bytes: usize) {
        let mut state = self.state.lock();
        state.record.calls += 1;
        state.record.busy += took;
        state.record.memory_bytes = state.record.memory_bytes.max(memory_bytes);
        self.calls.inc();
        self.busy.set(state.record.busy.as_secs_f64());
        self.memory.set(memory_bytes as f64);
    }

    /// Counts a failure; if it cost the store, the plugin waits.
    pub fn failed(&self, error: &CallError, now: Timestamp) {
        self.metrics.counter("watchfire_plugin_failures_total", &[("plugin", &self.plugin), ("reason", error.class())]).inc();
        let mut state = self.state.lock();
        let since = state.record.last_failure.as_ref().map(|(at, _)| now.since(*at));
        state.record.last_failure = Some((now, error.to_string()));
        if !error.poisons() {
            return;
        }
        state.record.failures += 1;
        state.streak = if since.is_none_or(|since| since < HEALTHY_AFTER + LONGEST_WAIT) { state.streak + 1 } else { 1 };
        let wait = FIRST_WAIT.saturating_mul(1 << (state.streak - 1).min(12)).min(LONGEST_WAIT);
        state.record.waits_until = Some(now.plus(wait.mul_f64(0.5 + fastrand::f64() / 2.0)));
    }

    /// Returns how it did so far.
    #[must_use]
    pub fn record(&self) -> Record {
        self.state.lock().record.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_with_each_failure_and_begin_anew_after_health() {
        let supervisor = Supervisor::new("x", &SelfMetrics::default());
        let trap = CallError::Trap { function: "plan", message: "unreachable".to_owned() };
        let mut now = Timestamp::from_seconds(1000);
        let mut waits = Vec::new();
        for _ in 0..12 {
            supervisor.failed(&trap, now);
            let until = supervisor.record().waits_until.unwrap();
            assert_eq!(supervisor.admit(now), Err(CallError::Backoff { until }));
            waits.push(until.since(now));
            now = until;
            assert_eq!(supervisor.admit(now), Ok(()));
        }
        assert!(waits[0] <= FIRST_WAIT && waits[11] > LONGEST_WAIT / 3 && waits.iter().all(|wait| *wait <= LONGEST_WAIT));
        now = now.plus(Duration::from_secs(300));
        supervisor.failed(&trap, now);
        assert!(supervisor.record().waits_until.unwrap().since(now) <= FIRST_WAIT);
        assert_eq!(supervisor.admit(Timestamp::from_seconds(1)), Ok(()), "the clock stepped back");
    }

    #[test]
    fn an_error_value_is_no_reason_to_wait() {
        let supervisor = Supervisor::new("x", &SelfMetrics::default());
        supervisor.failed(&CallError::Refused { code: 2, message: "no".to_owned() }, Timestamp::from_seconds(5));
        assert_eq!((supervisor.record().failures, supervisor.record().waits_until), (0, None));
    }
}
