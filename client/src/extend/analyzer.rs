//! An analyzer of the application's own.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Registration, WAIT_SECONDS, guarded, keep_at, quietly};
use crate::ask::{AskError, Connection, LogEntry, escaped, with_query};
use crate::{ErrorSeverity, Level, capture_message};

/// So often records are shown to an analyzer that panics on them; then they are passed over.
const MAX_FAILURES: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);

/// Which records an analyzer sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Words, `"phrases"` and conditions such as `status>=500`, as a search takes them; empty for all.
    pub query: String,
    /// The least level; `None` for all.
    pub level: Option<Level>,
    /// `service.name`s; empty for all.
    pub services: Vec<String>,
    /// Most records at a time, up to 4,096.
    pub batch: usize,
    /// Whether an analyzer that has never run begins with the oldest record that there is, and not with the next one.
    pub from_start: bool,
}

impl Default for Selection {
    fn default() -> Self {
        Self { query: String::new(), level: None, services: Vec::new(), batch: 500, from_start: false }
    }
}

/// Something that an analyzer has found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Finding {
    rule: String,
    title: String,
    message: String,
    level: &'static str,
    dedupe_key: String,
    count: u64,
    score: f64,
    seqs: Vec<String>,
    labels: BTreeMap<String, String>,
}

impl Finding {
    /// Returns a finding of the analyzer's rule `rule`, as a warning.
    #[must_use]
    pub fn new(rule: impl Into<String>, title: impl Into<String>) -> Self {
        Self { rule: rule.into(), title: title.into(), level: "warning", count: 1, score: 1.0, ..Self::default() }
    }

    /// Says it in some more words.
    #[must_use]
    pub fn message(self, message: impl Into<String>) -> Self {
        Self { message: message.into(), ..self }
    }

    /// Says how serious it is.
    #[must_use]
    pub fn level(self, level: Level) -> Self {
        let level = match level {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warning => "warning",
            Level::Error => "error",
            Level::Critical => "critical",
        };
        Self { level, ..self }
    }

    /// Says what it is an instance of: findings with the same key, within an hour, are one ongoing thing.
    #[must_use]
    pub fn dedupe_key(self, key: impl Into<String>) -> Self {
        Self { dedupe_key: key.into(), ..self }
    }

    /// Says how often it was seen.
    #[must_use]
    pub fn count(self, count: u64) -> Self {
        Self { count, ..self }
    }

    /// Says how sure the analyzer is, 0 to 1.
    #[must_use]
    pub fn score(self, score: f64) -> Self {
        Self { score, ..self }
    }

    /// Adds a record that it is about.
    #[must_use]
    pub fn about(mut self, record: &LogEntry) -> Self {
        self.seqs.push(record.seq.clone());
        self
    }

    /// Adds a label.
    #[must_use]
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }
}

/// An analyzer of the application's own.
///
/// ```
/// use watchfire_client::{Finding, Level, LogAnalyzer, LogEntry, Selection, add_analyzer};
///
/// struct SlowRequests;
///
/// impl LogAnalyzer for SlowRequests {
///     fn selection(&self) -> Selection {
///         Selection { query: "duration_ms>1000".into(), ..Selection::default() }
///     }
///
///     fn analyze(&mut self, records: &[LogEntry]) -> Vec<Finding> {
///         let finding = |record: &LogEntry| Finding::new("slow", "a slow request").about(record).dedupe_key("slow");
///         records.iter().map(finding).collect()
///     }
/// }
///
/// add_analyzer("slow-requests", SlowRequests);
/// ```
pub trait LogAnalyzer: Send + 'static {
    /// Says which records it wants; asked once.
    fn selection(&self) -> Selection {
        Selection::default()
    }

    /// Looks at records, in their order. What it returns is stored together with how far it has come: after a crash of the program or the host it sees again what was not
    /// stored, and nothing else. What it remembers itself is lost with the program.
    fn analyze(&mut self, records: &[LogEntry]) -> Vec<Finding>;
}

/// Lets `analyzer` read the host's log, as `pull:NAME` among the host's analyzers. It has a thread of its own, which asks the host for records as long as monitoring runs.
/// Of programs that add an analyzer of the same name, one goes on at a time.
pub fn add_analyzer(name: &str, mut analyzer: impl LogAnalyzer) -> Registration {
    let path = format!("/api/v1/pull/consumers/{}", escaped(name));
    let selection = guarded(|| analyzer.selection()).unwrap_or_default();
    let (polled, acknowledged) = (selection.path(&format!("{path}/poll")), format!("{path}/acknowledge"));
    let (named, mut failures) = (name.to_owned(), 0);
    keep_at(format!("analyzer {name}"), move |connection| {
        let batch: Batch = quietly(|| connection.json("POST", &polled, None))?;
        if batch.cursor == batch.after {
            return Ok(());
        }
        let findings = if batch.records.is_empty() { Ok(Vec::new()) } else { guarded(|| analyzer.analyze(&batch.records)) };
        let findings = match findings {
            Ok(findings) => findings,
            Err(panic) => {
                failures += 1;
                if failures < MAX_FAILURES {
                    // Not acknowledged, so they come again.
                    std::thread::sleep(PAUSE);
                    return Ok(());
                }
                let (first, last) = (&batch.after, &batch.cursor);
                let text = format!("analyzer {named} passes over records {first} to {last}: {panic}");
                capture_message(&text, ErrorSeverity::High);
                Vec::new()
            }
        };
        failures = 0;
        batch.acknowledge(connection, &acknowledged, &findings)
    })
}

#[derive(Deserialize)]
struct Batch {
    after: String,
    cursor: String,
    records: Vec<LogEntry>,
}

impl Batch {
    fn acknowledge(&self, connection: &Connection, path: &str, findings: &[Finding]) -> Result<(), AskError> {
        let said = json!({ "after": self.after, "cursor": self.cursor, "findings": findings });
        match quietly(|| connection.send("POST", path, Some(&said))) {
            // An answer that was lost, or another program of this name: the cursor is where it should be.
            Err(AskError::Refused { status: 409, .. }) => Ok(()),
            other => other.map(drop),
        }
    }
}

impl Selection {
    fn path(&self, path: &str) -> String {
        let (wait, limit) = (WAIT_SECONDS.to_string(), self.batch.clamp(1, 4_096).to_string());
        let level = self.level.map(|level| level.name().to_ascii_lowercase());
        let mut query = vec![("wait", wait.as_str()), ("limit", limit.as_str())];
        query.push(("from", if self.from_start { "start" } else { "end" }));
        query.extend((!self.query.is_empty()).then_some(("q", self.query.as_str())));
        query.extend(level.as_deref().map(|level| ("level", level)));
        query.extend(self.services.iter().map(|service| ("service", service.as_str())));
        with_query(path, &query)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_is_asked_for_in_the_hosts_words() {
        let selection = Selection {
            query: "a b".into(),
            level: Some(Level::Error),
            services: vec!["x".into(), "y".into()],
            ..Selection::default()
        };
        assert_eq!(selection.path("/p"), "/p?wait=25&limit=500&from=end&q=a%20b&level=error&service=x&service=y");
    }
}
