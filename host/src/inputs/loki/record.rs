//! From a stream and its entries to records.
//!
//! | of these, the first that is there | becomes |
//! |---|---|
//! | labels `service_name`, `service`, `app`, `application`, `app_name`, `name`, `app_kubernetes_io_name`, `container`, `container_name`, `k8s_container_name`, `component`, `workload`, `job`, `k8s_job_name` (Loki's own order) | `service.name` |
//! | labels `host`, `hostname`, `node_name`, `nodename`, `instance` | `host.name` |
//! | structured metadata, then labels `level`, `detected_level`, `severity`, `severity_text`, `lvl`, `log_level`; then a level early in the line | the level |
//! | structured metadata `trace_id`, `traceID`, `traceid`; `span_id`, `spanID`, `spanid` | the same, if hexadecimal |
//!
//! Every label is an attribute of the resource under its own name, too.

use watchfire_types::attributes::keys;
use watchfire_types::log::{RecordHead, unhex};
use watchfire_types::{LogBatch, Severity, Timestamp, ValueRef};

use crate::http::ApiError;
use crate::inputs::builder::{BatchBuilder, OverBudget};
use crate::inputs::ndjson::MAX_LINE_BYTES;
use crate::inputs::otlp::wire::WireError;
use crate::inputs::syslog_prefix::find_level;

const SERVICES: [&str; 14] = [
    "service_name",
    "service",
    "app",
    "application",
    "app_name",
    "name",
    "app_kubernetes_io_name",
    "container",
    "container_name",
    "k8s_container_name",
    "component",
    "workload",
    "job",
    "k8s_job_name",
];
const HOSTS: [&str; 5] = ["host", "hostname", "node_name", "nodename", "instance"];
const LEVELS: [&str; 6] = ["level", "detected_level", "severity", "severity_text", "lvl", "log_level"];

/// Why a request is no push request.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotPush {
    #[error("not a push request in protobuf: {0}")]
    Wire(#[from] WireError),
    #[error("not a push request in JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
}

impl From<NotPush> for ApiError {
    fn from(error: NotPush) -> Self {
        match error {
            NotPush::OverBudget(_) => Self::too_large(error.to_string()),
            _ => Self::bad_request(error.to_string()),
        }
    }
}

/// What a request holds.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    pub(super) batch: LogBatch,
    /// Lines that could not be taken.
    pub(super) refused: u64,
    /// Why, for the first of them.
    pub(super) reason: String,
}

/// Takes streams and their entries.
pub(super) struct Collector {
    builder: BatchBuilder,
    now: Timestamp,
    refused: u64,
    reason: String,
    resource: u32,
    level: (Severity, String),
}

impl Collector {
    pub(super) fn new(now: Timestamp, budget: usize) -> Self {
        Self {
            builder: BatchBuilder::new(budget),
            now,
            refused: 0,
            reason: String::new(),
            resource: 0,
            level: (Severity::UNSET, String::new()),
        }
    }

    pub(super) fn finish(self) -> Decoded {
        Decoded { batch: self.builder.finish(), refused: self.refused, reason: self.reason }
    }

    /// Begins a stream: the entries that follow are of it.
    pub(super) fn stream<T: AsRef<str>, U: AsRef<str>>(&mut self, labels: &[(T, U)]) {
        let find = |names: &[&str]| {
            let mut values = names.iter().filter_map(|name| labels.iter().find(|(label, _)| label.as_ref() == *name));
            values.find(|(_, value)| !value.as_ref().is_empty()).map(|(_, value)| value.as_ref())
        };
        self.level = find(&LEVELS).and_then(|text| Some((Severity::from_text(text)?, text.to_owned()))).unwrap_or_default();
        let named = [(keys::SERVICE_NAME, find(&SERVICES)), (keys::HOST_NAME, find(&HOSTS))];
        let named = named.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?.into())));
        let labels = labels.iter().filter(|(name, _)| name.as_ref() != SERVICES[0]);
        let labels = labels.map(|(name, value)| (name.as_ref().to_owned(), value.as_ref().into()));
        self.resource = self.builder.resource(named.chain(labels).collect());
    }

    /// Takes note of `count` lines that cannot be taken.
    pub(super) fn refuse(&mut self, count: u64, reason: impl FnOnce() -> String) {
        if self.refused == 0 && count > 0 {
            self.reason = reason();
        }
        self.refused += count;
    }

    /// Adds an entry to the present stream.
    pub(super) fn entry<T: AsRef<str>, U: AsRef<str>>(
        &mut self,
        timestamp: Timestamp,
        line: &str,
        metadata: &[(T, U)],
    ) -> Result<(), OverBudget> {
        if line.len() > MAX_LINE_BYTES {
            self.refuse(1, || format!("a line is longer than {MAX_LINE_BYTES} bytes"));
            return Ok(());
        }
        let line = line.strip_suffix('\n').unwrap_or(line);
        let (mut severity, mut severity_text) = (self.level.0, self.level.1.as_str());
        let mut head = RecordHead { timestamp, observed: self.now, resource: self.resource, ..RecordHead::default() };
        let mut is_read = [false; 3];
        for (name, value) in metadata {
            let (name, value) = (name.as_ref(), value.as_ref());
            match name {
                "trace_id" | "traceID" | "traceid" => {
                    if let Some(id) = unhex(value) {
                        head.trace_id = id;
                        is_read[0] = true;
                    }
                }
                "span_id" | "spanID" | "spanid" => {
                    if let Some(id) = unhex(value) {
                        head.span_id = id;
                        is_read[1] = true;
                    }
                }
                _ if LEVELS.contains(&name) && !is_read[2] => {
                    if let Some(level) = Severity::from_text(value) {
                        (severity, severity_text) = (level, value);
                        is_read[2] = true;
                    }
                }
                _ => {}
            }
        }
        if severity == Severity::UNSET {
            (severity, severity_text) = find_level(line).unwrap_or_default();
        }
        head.severity = severity;
        head.severity_text = severity_text;
        self.builder.push(&head, ValueRef::Text(line))?;
        for (name, value) in metadata {
            let (name, value) = (name.as_ref(), value.as_ref());
            let is_id = match name {
                "trace_id" | "traceID" | "traceid" => is_read[0],
                "span_id" | "spanID" | "spanid" => is_read[1],
                _ => false,
            };
            if !is_id {
                self.builder.attribute(name, ValueRef::Text(value));
            }
        }
        Ok(())
    }
}
