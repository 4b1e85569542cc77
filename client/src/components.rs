//! What monitoring consists of, and how each part does.

use std::fmt;
use std::sync::atomic::Ordering;

use crate::{global, metrics};

/// One part of monitoring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// `logger`, `metrics`, `errors`, `exporter` or `process`.
    pub name: &'static str,
    /// Whether it works.
    pub running: bool,
    /// How it does, for people.
    pub detail: String,
}

/// All parts of monitoring.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Components {
    /// The parts.
    pub parts: Vec<Component>,
    /// Log records that were handed over since the start.
    pub accepted: u64,
    /// Records that arrived.
    pub sent: u64,
    /// Records that wait, in the queue or for the host.
    pub waiting: u64,
    /// Records that were dropped: the queue was full, the host away for too long, or it refused them.
    pub dropped: u64,
    /// What went wrong with the last request, if it did.
    pub last_error: Option<String>,
}

impl Components {
    /// Returns the part of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Component> {
        self.parts.iter().find(|part| part.name == name)
    }
}

impl fmt::Display for Components {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            writeln!(f, "{:<9} {:<8} {}", part.name, if part.running { "running" } else { "stopped" }, part.detail)?;
        }
        Ok(())
    }
}

/// Returns how the parts of monitoring do; none runs before [`init`](crate::init).
#[must_use]
pub fn components() -> Components {
    let series = metrics::registry().len();
    let Some(shared) = global::active() else {
        let names = ["logger", "metrics", "errors", "exporter", "process"];
        let part = |name| Component { name, running: false, detail: "monitoring does not run: call `init`".to_owned() };
        return Components { parts: names.map(part).to_vec(), ..Components::default() };
    };
    let (config, queue, counters) = (&shared.config, &shared.queue, &shared.control.counters);
    let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let (reached, last_error, ended) = shared.control.health();
    let dropped = read(&queue.dropped) + read(&counters.lost) + read(&counters.refused);
    let waiting = queue.len() as u64 + read(&counters.waiting);
    let exporter = match (&last_error, ended) {
        (_, true) => "has ended".to_owned(),
        (Some(reason), _) => format!("{waiting} records wait: {reason}"),
        (None, _) => format!("{} of {} records sent to {}", read(&counters.sent), read(&queue.accepted), config.address("logs")),
    };
    let part = |name, running, detail| Component { name, running, detail };
    let capture = if config.auto_capture { "panics are captured" } else { "panics are not captured (`auto_capture`)" };
    Components {
        parts: vec![
            part("logger", true, format!("level {}, {dropped} records dropped", config.level)),
            part("metrics", true, format!("{series} series, sent every {:?}", config.collection_interval)),
            part("errors", true, format!("{capture}, {} breadcrumbs", config.breadcrumbs)),
            part("exporter", !ended && (reached || last_error.is_none()), exporter),
            part("process", config.process_metrics, format!("measured every {:?}", config.collection_interval)),
        ],
        accepted: read(&queue.accepted),
        sent: read(&counters.sent),
        waiting,
        dropped,
        last_error,
    }
}
