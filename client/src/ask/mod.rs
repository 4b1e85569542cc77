//! Asks the host: health, statistics, alerts, rules, logs, patterns, anomalies, reports.
//!
//! Every question is a value of its own: `.await` it, or call [`Asked::wait`] where nothing is async. The request is made by a thread of the client, so it needs no
//! async runtime and blocks none.

mod answers;
mod asked;
mod http;
mod rules;

use std::fmt::Write as _;

pub use answers::{
    Alert, Anomaly, AnomalyList, ErrorStatistics, Health, LogEntry, NetworkIo, Pattern, PatternList, RuleState, Share, TopIssue,
};
pub(crate) use asked::forget_workers;
pub use asked::{AskError, Asked};
pub(crate) use http::Connection;
pub use rules::{AlertLevel, AlertRule, Comparison, create_error_rule, create_metric_rule};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::Level;

/// Appends `name=value` to a path.
pub(crate) fn with_query(path: &str, query: &[(&str, &str)]) -> String {
    let mut whole = path.to_owned();
    for (index, (name, value)) in query.iter().enumerate() {
        let _ = write!(whole, "{}{name}={}", if index == 0 { '?' } else { '&' }, escaped(value));
    }
    whole
}

/// Escapes all but what RFC 3986 calls unreserved.
pub(crate) fn escaped(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
        escaped
    })
}

fn get<T: DeserializeOwned + Send + 'static>(path: &str, query: &[(&str, &str)]) -> Asked<T> {
    let path = with_query(path, query);
    Asked::new(move |connection| connection.json("GET", &path, None))
}

/// Asks how the machine is: processor, memory, disks, network, and why it is not healthy.
///
/// ```no_run
/// # fn main() -> Result<(), watchfire_client::AskError> {
/// let health = watchfire_client::get_system_health().wait()?;
/// println!("{}: processor {:?} %", health.status, health.cpu_percent);
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is asked before it is awaited, or waited for"]
pub fn get_system_health() -> Asked<Health> {
    get("/api/v1/health", &[])
}

/// Asks how many errors there were in the last `hours`, of which kinds, and which issues occurred most often.
#[must_use = "nothing is asked before it is awaited, or waited for"]
pub fn get_error_statistics(hours: u32) -> Asked<ErrorStatistics> {
    get("/api/v1/errors/statistics", &[("hours", &hours.to_string())])
}

/// Asks which alerts fire now.
#[must_use = "nothing is asked before it is awaited, or waited for"]
pub fn get_active_alerts() -> Asked<Vec<Alert>> {
    #[derive(Deserialize)]
    struct Answer {
        alerts: Vec<Alert>,
    }
    Asked::new(|connection| Ok(connection.json::<Answer>("GET", "/api/v1/alerts?state=firing", None)?.alerts))
}

/// Adds a rule to the host. If it has one of this name already that was made this way, the new one takes its place: a program says at each start which rules it
/// wants.
///
/// ```no_run
/// use watchfire_client::{AlertLevel, add_rule, create_metric_rule};
///
/// # async fn rules() -> Result<(), watchfire_client::AskError> {
/// add_rule(create_metric_rule("CPU使用率过高", "system.cpu_percent", 80.0, AlertLevel::Warning)).await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is added before it is awaited, or waited for"]
pub fn add_rule(rule: AlertRule) -> Asked<RuleState> {
    Asked::new(move |connection| {
        let body = rule.to_json();
        match connection.json("POST", "/api/v1/rules", Some(&body)) {
            Err(AskError::Refused { status: 409, message, .. }) => {
                // Only a rule of the API can be removed; another one keeps its place, and that is what the host's answer says.
                match connection.send("DELETE", &format!("/api/v1/rules/{}", escaped(rule.name())), None) {
                    Ok(_) => connection.json("POST", "/api/v1/rules", Some(&body)),
                    Err(AskError::Refused { status, .. }) => {
                        Err(AskError::Refused { status, code: "conflict".to_owned(), message })
                    }
                    Err(error) => Err(error),
                }
            }
            answer => answer,
        }
    })
}

/// Removes a rule that was added with [`add_rule`].
#[must_use = "nothing is removed before it is awaited, or waited for"]
pub fn remove_rule(name: &str) -> Asked<()> {
    let path = format!("/api/v1/rules/{}", escaped(name));
    Asked::new(move |connection| connection.send("DELETE", &path, None).map(drop))
}

/// Searches the log of the last `hours`, newest first, in the host's search language: words, `"phrases"`, `status>=500`. `level` is the least level.
#[must_use = "nothing is asked before it is awaited, or waited for"]
pub fn search_logs(query: &str, level: Option<Level>, hours: u32) -> Asked<Vec<LogEntry>> {
    #[derive(Deserialize)]
    struct Answer {
        records: Vec<LogEntry>,
    }
    let (since, number) = (format!("{hours}h"), level.map(|level| level.severity_number().to_string()));
    let mut parameters = vec![("q", query), ("since", since.as_str()), ("limit", "1000")];
    parameters.extend(number.as_deref().map(|number| ("level", number)));
    let path = with_query("/api/v1/logs", &parameters);
    Asked::new(move |connection| Ok(connection.json::<Answer>("GET", &path, None)?.records))
}

/// Asks for the most frequent patterns of the last hour's log.
#[must_use = "nothing is asked before it is awaited, or waited for"]
pub fn get_top_patterns(limit: u32) -> Asked<PatternList> {
    get("/api/v1/patterns", &[("limit", &limit.to_string())])
}

/// Asks what was unusual in the last `hours`.
#[must_use = "nothing is asked before it is awaited, or waited for"]
pub fn get_recent_anomalies(hours: u32) -> Asked<AnomalyList> {
    get("/api/v1/anomalies", &[("hours", &hours.to_string())])
}

/// Asks for a report of the last `hours` in Markdown.
#[must_use = "nothing is asked before it is awaited, or waited for"]
pub fn generate_analysis_report(hours: u32) -> Asked<String> {
    let path = with_query("/api/v1/report", &[("hours", &hours.to_string()), ("format", "markdown")]);
    Asked::new(move |connection| connection.send("GET", &path, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_escaped() {
        assert_eq!(with_query("/a", &[("q", "level:error a&b"), ("x", "内")]), "/a?q=level%3Aerror%20a%26b&x=%E5%86%85");
    }
}
