//! Where to look on from an error event: the log around it, and how the machine was.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use watchfire_types::Timestamp;

use super::types::ErrorEvent;

/// What belongs to one trace lies no further away.
const OF_TRACE: Duration = Duration::from_secs(600);
/// Without a trace: what the same service said just before and after.
const OF_SERVICE: Duration = Duration::from_secs(30);
/// How much of a metric is of interest.
const OF_METRIC: Duration = Duration::from_secs(900);
/// Metrics that are offered with every event.
const METRICS: [&str; 4] = ["system.cpu_percent", "system.memory_percent", "system.disk_usage_percent", "error_count"];

/// Paths of this API that show what happened around an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EventLinks {
    /// Log lines of the same trace; without a trace, of the same service half a minute around.
    pub logs: String,
    /// What `logs` goes by: `trace`, or `service and time`.
    pub logs_by: String,
    /// How the machine was a quarter of an hour around, one metric each.
    pub metrics: Vec<String>,
}

/// Returns the links of `event`.
#[must_use]
pub fn of(event: &ErrorEvent) -> EventLinks {
    let at = event.timestamp;
    let path = |path: &str, what: &[(&str, &str)], span: Duration| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(what);
        query.append_pair("since", &at.minus(span).to_string());
        // The end is exclusive.
        query.append_pair("until", &at.plus(span).plus(Duration::from_nanos(1)).min(Timestamp::MAX).to_string());
        format!("{path}?{}", query.finish())
    };
    let (logs, logs_by) = if event.trace_id.is_empty() {
        let service: &[_] = if event.service.is_empty() { &[] } else { &[("service", event.service.as_str())] };
        (path("/api/v1/logs", service, OF_SERVICE), "service and time")
    } else {
        (path("/api/v1/logs", &[("q", &format!("trace_id:{}", event.trace_id))], OF_TRACE), "trace")
    };
    let metrics = METRICS.iter().map(|name| path("/api/v1/metrics/query", &[("name", name)], OF_METRIC)).collect();
    EventLinks { logs, logs_by: logs_by.to_owned(), metrics }
}
