//! Gathers how each part is doing.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use watchfire_types::Timestamp;

use super::janitor::Findings;
use crate::alerts::Alerts;
use crate::analysis::Analysis;
use crate::clock::Clock;
use crate::config::Config;
use crate::delivery::Delivery;
use crate::errors::Errors;
use crate::http::status::{MetricStats, Part, PartState, Status, StatusSource};
use crate::inputs::files::{FileState, FileStatus, FileStatuses};
use crate::inputs::journald::{JournalState, JournalStatus};
use crate::inputs::syslog::{SyslogState, SyslogStatuses};
use crate::logs::Logs;
use crate::metrics::Metrics;
use crate::plugins::{PluginState, Plugins};
use crate::source_maps::SourceMaps;
use crate::store::StoreError;

/// Followed files that `status` shows one by one.
const MAX_LISTED_FILES: usize = 24;

/// The handles that `status` looks through.
#[derive(Clone)]
pub struct Parts {
    pub(super) started_at: Timestamp,
    pub(super) clock: Clock,
    pub(super) address: SocketAddr,
    pub(super) otlp_address: Option<SocketAddr>,
    pub(super) otlp_grpc_address: Option<SocketAddr>,
    pub(super) otlp_problems: Vec<String>,
    pub(super) logs: Logs,
    pub(super) metrics: Metrics,
    pub(super) errors: Errors,
    pub(super) source_maps: SourceMaps,
    pub(super) alerts: Alerts,
    pub(super) delivery: Delivery,
    pub(super) plugins: Plugins,
    pub(super) analysis: Analysis,
    pub(super) files: FileStatuses,
    pub(super) syslog: SyslogStatuses,
    pub(super) journal: JournalStatus,
    pub(super) ended: super::Ended,
    pub(super) janitor: Arc<Mutex<Findings>>,
    pub(super) config: Config,
}

impl Parts {
    /// Returns what makes the present status.
    pub(super) fn into_source(self) -> StatusSource {
        Arc::new(move || self.status())
    }

    fn status(&self) -> Result<Status, StoreError> {
        let now = self.clock.now();
        let metrics = self.metrics.stats();
        let logs = self.logs.stats()?;
        let mut parts = vec![self.server(), self.log_store(), Part::ok("metrics", format!("{} series", metrics.series))];
        parts.push(self.collector());
        parts.extend(self.followed_files());
        parts.extend(self.syslog_listeners());
        parts.extend(self.followed_journal());
        parts.push(self.error_tracking());
        parts.push(self.maps());
        parts.push(self.rules());
        parts.extend(self.receivers());
        parts.extend(self.components());
        parts.push(self.storage());
        parts.extend(self.ended.lock().iter().map(|name| {
            Part::new(name, PartState::Degraded, "it has ended by itself; the host's log says why", "restart the host")
        }));
        parts.push(self.analyzers());
        parts.extend(self.detectors());
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started_at: self.started_at,
            uptime_seconds: now.since(self.started_at).as_secs(),
            data_dir: self.config.storage.data_dir.display().to_string(),
            listen: self.address.to_string(),
            otlp_listen: self.otlp_address.map(|address| address.to_string()),
            otlp_grpc_listen: self.otlp_grpc_address.map(|address| address.to_string()),
            state: Status::worst(&parts),
            parts,
            warnings: self.warnings(),
            logs,
            metrics: MetricStats { series: metrics.series as u64, bytes: metrics.bytes },
            memory_bytes: resident_bytes(),
        })
    }

    fn server(&self) -> Part {
        let otlp = self.otlp_address.map_or_else(String::new, |otlp| format!(", {otlp} (OTLP)"));
        let grpc = self.otlp_grpc_address.map_or_else(String::new, |grpc| format!(", {grpc} (OTLP by gRPC)"));
        Part::ok("server", format!("{} (everything){otlp}{grpc}", self.address))
    }

    fn warnings(&self) -> Vec<String> {
        self.config.warnings.iter().chain(&self.otlp_problems).cloned().collect()
    }

    fn log_store(&self) -> Part {
        match self.logs.failure() {
            Some(error) => {
                let hint = "make room on the disk, mend its permissions, or restart the host, as the reason says; senders are told to try again meanwhile";
                Part::new("logs", PartState::Degraded, format!("records cannot be stored: {error}"), hint)
            }
            None => Part::ok("logs", format!("kept for {} days", self.config.logging.retention.as_secs() / 86_400)),
        }
    }

    fn collector(&self) -> Part {
        let performance = &self.config.performance;
        if performance.auto_start {
            Part::ok("performance", format!("this machine is measured every {:?}", performance.collection_interval))
        } else {
            Part::new("performance", PartState::Inactive, "this machine is not measured", "set performance.auto_start to true")
        }
    }

    fn followed_files(&self) -> Vec<Part> {
        let files = self.files.snapshot();
        let part = |file: &FileStatus| {
            let name = format!("inputs {}", file.path.display());
            let state = match file.state {
                FileState::Denied | FileState::Failed | FileState::Busy => PartState::Degraded,
                FileState::Missing | FileState::Skipped => PartState::Inactive,
                _ => PartState::Ok,
            };
            let detail = match (file.detail.is_empty(), file.behind()) {
                (false, _) => file.detail.clone(),
                (true, 0) => format!("{} of {} bytes read", file.offset, file.size),
                (true, behind) => format!("{} of {} bytes read, {behind} behind", file.offset, file.size),
            };
            let hint = match (state, file.state) {
                (PartState::Ok, _) => "",
                (_, FileState::Skipped) => "exclude it, if it is not meant",
                (PartState::Inactive, _) => "it is read from its beginning as soon as it is there",
                _ => "its lines wait in the file; they are read once this is mended",
            };
            Part::new(&name, state, detail, hint)
        };
        if files.len() <= MAX_LISTED_FILES {
            return files.iter().map(part).collect();
        }
        // Of thousands, those are of interest that something is wrong with.
        let behind: u64 = files.iter().map(FileStatus::behind).sum();
        let whole = Part::ok("inputs", format!("{} files followed, {behind} bytes behind", files.len()));
        let wrong = files.iter().map(part).filter(|part| part.state != PartState::Ok).take(MAX_LISTED_FILES);
        std::iter::once(whole).chain(wrong).collect()
    }

    fn followed_journal(&self) -> Option<Part> {
        let (state, detail, hint) = self.journal.get();
        let or = |hint: String, or: &str| if hint.is_empty() { or.to_owned() } else { hint };
        let part = match state {
            JournalState::Off => return None,
            JournalState::Following if hint.is_empty() => Part::ok("inputs journald", detail),
            JournalState::Following => Part::new("inputs journald", PartState::Degraded, detail, hint),
            JournalState::Waiting => {
                let hint = or(hint, "they are read once this is mended");
                Part::new("inputs journald", PartState::Degraded, detail, hint)
            }
            JournalState::Failed => {
                let hint = or(hint, "its entries wait in the journal; it is tried again every ten seconds");
                Part::new("inputs journald", PartState::Degraded, detail, hint)
            }
        };
        Some(part)
    }

    fn syslog_listeners(&self) -> Vec<Part> {
        let listeners = self.syslog.snapshot(self.clock.now()).into_iter();
        let part = |listener: crate::inputs::syslog::SyslogStatus| {
            let state = if listener.state == SyslogState::Listening { PartState::Ok } else { PartState::Degraded };
            Part::new(&format!("inputs.syslog {}", listener.listen), state, listener.detail, listener.hint)
        };
        listeners.map(part).collect()
    }

    fn error_tracking(&self) -> Part {
        let problems = self.errors.problems();
        if problems.is_empty() {
            Part::ok("error_tracking", format!("{} unresolved issues", self.errors.unresolved()))
        } else {
            let hint = "make room on the disk, or keep logs longer, as the reason says; errors themselves stay in the log";
            Part::new("error_tracking", PartState::Degraded, problems.join("; "), hint)
        }
    }

    fn maps(&self) -> Part {
        match self.source_maps.status() {
            Ok(detail) => Part::ok("source_maps", detail),
            Err(reason) => {
                let hint =
                    "make room on the disk or mend its permissions, as the reason says; errors keep their minified calls meanwhile";
                Part::new("source_maps", PartState::Degraded, reason, hint)
            }
        }
    }

    fn rules(&self) -> Part {
        let rules = self.alerts.rules().len();
        let failures = self.alerts.failures();
        let firing = self.alerts.firing().len();
        match failures.first() {
            None => Part::ok("alerting", format!("{rules} rules, {firing} firing")),
            Some(first) => {
                let detail = format!("{} of {rules} rules do not work; `{}`: {}", failures.len(), first.rule, first.problem);
                Part::new("alerting", PartState::Degraded, detail, "`watchfire rules` shows each with its reason")
            }
        }
    }

    fn receivers(&self) -> Vec<Part> {
        let problems = self.delivery.problems();
        let part = |receiver: &crate::delivery::types::Receiver| {
            let name = format!("receiver {}", receiver.name);
            match problems.iter().find(|problem| problem.receiver == receiver.name) {
                Some(problem) => Part::new(&name, PartState::Degraded, &problem.detail, &problem.hint),
                None => Part::ok(&name, "ready"),
            }
        };
        self.config.alerting.receivers.iter().map(part).collect()
    }

    fn components(&self) -> Vec<Part> {
        let part = |plugin: &crate::plugins::PluginView| {
            let name = format!("plugin {}", plugin.name);
            let kind = plugin.kind.map_or("component", crate::plugins::Kind::name);
            match plugin.state {
                PluginState::Ready => Part::ok(&name, format!("{kind}, {} calls, {} failures", plugin.calls, plugin.failures)),
                PluginState::Loading | PluginState::Disabled | PluginState::NotGranted => {
                    Part::new(&name, PartState::Inactive, plugin.state.to_string(), &plugin.reason)
                }
                PluginState::Waiting | PluginState::Failed => {
                    let hint = format!("`watchfire plugin show {}` says more", plugin.name);
                    Part::new(&name, PartState::Degraded, &plugin.reason, hint)
                }
            }
        };
        self.plugins.views().iter().map(part).collect()
    }

    fn analyzers(&self) -> Part {
        if !self.config.log_analysis.auto_start {
            return Part::new("log_analysis", PartState::Inactive, "analyzers do not run", "set log_analysis.auto_start to true");
        }
        let count = self.analysis.analyzers();
        let problems = self.analysis.problems();
        match problems.first() {
            None if count == 0 => Part::ok("log_analysis", "no analyzer is installed"),
            None => Part::ok("log_analysis", format!("{count} analyzers")),
            Some(first) => {
                let detail = format!("{} of {count} analyzers do not work; `{}`: {}", problems.len(), first.plugin, first.detail);
                Part::new("log_analysis", PartState::Degraded, detail, &first.hint)
            }
        }
    }

    /// Nothing if they do not run: the part before says so.
    fn detectors(&self) -> Option<Part> {
        if let Some(failure) = self.analysis.detectors().failure() {
            let hint = "it is tried again by itself; the records wait in the log";
            return Some(Part::new("anomalies", PartState::Degraded, failure, hint));
        }
        let state = self.analysis.detectors().state()?;
        let detail = format!("{} sources and {} patterns are watched, {} unusual", state.sources, state.patterns, state.open);
        Some(Part::ok("anomalies", detail))
    }

    fn storage(&self) -> Part {
        let findings = self.janitor.lock().clone();
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        let (used, most) = (megabytes(findings.telemetry_bytes), megabytes(self.config.storage.max_bytes));
        let ballast = match findings.ballast_bytes {
            0 => String::new(),
            bytes => format!(", and a ballast file of {:.0} MB", megabytes(bytes)),
        };
        let detail = format!("logs and metrics take {used:.1} of {most:.0} MB{ballast}");
        if let Some((_, trouble)) = self.logs.room_trouble() {
            let also = if findings.trouble.is_empty() { String::new() } else { format!("; {}", findings.trouble) };
            let hint =
                "make room on the disk, lower storage.max_bytes or the retention, or move storage.data_dir; it ends by itself";
            Part::new("storage", PartState::Degraded, format!("{trouble}{also}"), hint)
        } else if findings.trouble.is_empty() {
            Part::ok("storage", detail)
        } else {
            Part::new("storage", PartState::Degraded, findings.trouble, "make room, or lower storage.max_bytes or the retention")
        }
    }
}

/// Returns the resident memory of this process in bytes; 0 where the system does not tell.
fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1024
}
