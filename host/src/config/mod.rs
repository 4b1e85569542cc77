//! The configuration: the file as written (`raw`), and what has been checked and is used (`Config`).
//!
//! `load` lays file, environment and command line over each other; `shape` says what does not fit the schema; `check` says what
//! makes no sense. All of it is said at once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use watchfire_types::Severity;

use crate::alerts::types::Rule;
use crate::delivery::types::Receiver;
use crate::errors::rules::GroupingRules;
use crate::inputs::formats::Format;
use crate::inputs::syslog::SyslogInput;
use crate::logs::pressure::Thresholds;
use crate::plugins::PluginsConfig;

mod check;
mod detectors;
pub mod duration;
pub mod environment;
pub mod error;
pub mod example;
mod files;
pub mod load;
pub(crate) mod plugins;
pub mod raw;
pub mod raw_conditions;
pub mod raw_detectors;
pub mod raw_plugins;
mod raw_rule;
pub mod raw_syslog;
mod receivers;
pub mod redaction;
pub mod secret;
mod secrets;
pub mod shape;
pub mod starter;
mod syslog;

pub use duration::HumanDuration;
pub use environment::Environment;
pub use error::{ConfigErrors, Problem};
pub use load::CliOverrides;
pub use raw::RawConfig;
pub use raw_rule::RawRule;
pub use secret::Secret;

/// The checked configuration: names unique, references resolved, secrets read, defaults applied.
#[derive(Clone, Debug)]
pub struct Config {
    /// `server`.
    pub server: Server,
    /// `storage`.
    pub storage: Storage,
    /// `inputs`.
    pub inputs: Inputs,
    /// `redaction`, without its key; `None` when it is switched off.
    pub redaction: Option<watchfire_redact::Settings>,
    /// `logging`: the host's own log.
    pub logging: Logging,
    /// `performance`: the system collector and the metric head.
    pub performance: Performance,
    /// `error_tracking`.
    pub error_tracking: ErrorTracking,
    /// `alerting`.
    pub alerting: Alerting,
    /// `log_analysis`.
    pub log_analysis: LogAnalysis,
    /// `plugins`.
    pub plugins: PluginsConfig,
    /// What is accepted but worth a word: placeholders left in place, keys whose part is not built yet. For `check` and `status`.
    pub warnings: Vec<String>,
}

/// How the host is reached.
#[derive(Clone, Debug)]
pub struct Server {
    /// Serves everything. Default 127.0.0.1:3473.
    pub listen: SocketAddr,
    /// Serves OTLP only; a busy port is a warning. Default 127.0.0.1:4318; `None` when switched off.
    pub otlp_listen: Option<SocketAddr>,
    /// The port at which exporters look for gRPC; a busy one is a warning. Default 127.0.0.1:4317; `None` when switched off.
    pub otlp_grpc_listen: Option<SocketAddr>,
    /// Required from whoever does not call from loopback.
    pub token: Option<Secret>,
    /// What links in notifications begin with. Default `http://<listen>`.
    pub external_url: Option<String>,
    /// Largest request body after decompression, in bytes. Default 64 MiB.
    pub max_request_bytes: usize,
    /// PEM file of certificate authorities trusted beside the system's, for everything that goes out.
    pub ca_file: Option<PathBuf>,
}

/// Where and how much is kept.
#[derive(Clone, Debug)]
pub struct Storage {
    /// The data directory.
    pub data_dir: PathBuf,
    /// Most bytes of all telemetry files together; the oldest day goes first. Default 10 GB.
    pub max_bytes: u64,
    /// How long metrics are kept. Default 90 days.
    pub metrics_retention: Duration,
    /// File that is deleted to make room when the disk is full, in bytes. Default 64 MiB; 0 for none.
    pub ballast_bytes: u64,
    /// When less is stored because the disk is almost full. Default 512, 256 and 32 MiB.
    pub thresholds: Thresholds,
}

/// What is read without being sent.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// Whether the host's own log is stored with the others. Default true.
    pub own_log: bool,
    /// Files to follow.
    pub files: Vec<FileInput>,
    /// Addresses at which syslog is taken.
    pub syslog: Vec<SyslogInput>,
    /// The systemd journal to follow, if it is.
    pub journald: Option<JournaldInput>,
    /// How standard input is read, if it is: as a file without a path.
    pub stdin: Option<FileInput>,
}

/// The systemd journal to follow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournaldInput {
    /// Units; all if there are none.
    pub units: Vec<String>,
    /// Folder of journal files; the machine's own if there is none.
    pub directory: Option<PathBuf>,
    /// Whether a journal that is new to the host is read from its beginning. Default false: from its end.
    pub from_beginning: bool,
}

/// Files to follow.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FileInput {
    /// Paths, and patterns of paths.
    pub paths: Vec<PathBuf>,
    /// Patterns of files that are left out.
    pub exclude: Vec<String>,
    /// `service.name` for its lines; by default what a line says, else the file's name without extension.
    pub service: Option<String>,
    /// Attributes of what produced the lines.
    pub attributes: Vec<(String, String)>,
    /// Whether a file that is new to the host is read from its beginning. Default false: from its end.
    pub from_beginning: bool,
    /// What its lines are. Default: found out.
    pub format: Format,
    /// Its characters. Default: UTF-8.
    pub encoding: Option<&'static encoding_rs::Encoding>,
    /// Which lines are one record.
    pub multiline: Multiline,
}

impl FileInput {
    /// Returns the input of one file, or of a pattern, with the defaults for all else.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { paths: vec![path.into()], ..Self::default() }
    }
}

/// Which lines are one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Multiline {
    /// Whether any are put together.
    pub enabled: bool,
    /// Regular expression of lines that begin a record.
    pub start: Option<String>,
    /// Regular expression of lines that go on with the one before.
    pub continues: Option<String>,
    /// How long a record waits for more of its lines.
    pub timeout: Duration,
    /// Most lines of a record with patterns.
    pub max_lines: usize,
}

impl Default for Multiline {
    fn default() -> Self {
        Self { enabled: true, start: None, continues: None, timeout: Self::TRACE_TIMEOUT, max_lines: 1000 }
    }
}

impl Multiline {
    /// How long a stack trace waits: programs write one in one go.
    pub const TRACE_TIMEOUT: Duration = Duration::from_millis(200);
    /// How long a record waits whose lines are found by patterns.
    pub const PATTERN_TIMEOUT: Duration = Duration::from_secs(1);
}

/// `logging`.
#[derive(Clone, Debug)]
pub struct Logging {
    /// Least severity of the host's own log.
    pub level: Severity,
    /// JSON (true) or text lines (false) in the host's own log file.
    pub format: LogFormat,
    /// Whether errors in the own log carry their chain of causes.
    pub include_stack_trace: bool,
    /// How long logs are kept. Default 30 days.
    pub retention: Duration,
    /// How long the logs of some services are kept, by `service.name`; less than `retention`.
    pub retention_by_service: BTreeMap<String, Duration>,
    /// Own log file; default `<data>/watchfire.log` with `--daemon`, standard error otherwise.
    pub file: Option<PathBuf>,
    /// The own log file is rotated at this many bytes. Default 10 MiB.
    pub rotate_bytes: u64,
    /// Rotated files kept. Default 5.
    pub rotate_keep: usize,
}

/// Shape of the host's own log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// `key=value`.
    Logfmt,
    /// One JSON object a line.
    Json,
}

/// `performance`.
#[derive(Clone, Debug)]
pub struct Performance {
    /// How often the machine is measured. Default 30 s.
    pub collection_interval: Duration,
    /// Points per series held in memory. Default 1000.
    pub history_size: usize,
    /// Whether the machine is measured at all. Default true.
    pub auto_start: bool,
}

/// `error_tracking`.
#[derive(Clone, Debug)]
pub struct ErrorTracking {
    /// Error events kept, repeats thinned first.
    pub max_events: u64,
    /// How often those beyond are dropped.
    pub cleanup_interval: Duration,
    /// Whether log records with a stack trace in their text become error events.
    pub auto_capture: bool,
    /// `service.name` of the projects of Sentry SDKs, by their numbers.
    pub projects: BTreeMap<u64, String>,
    /// How error events are grouped.
    pub grouping: GroupingRules,
    /// Source maps.
    pub source_maps: SourceMapSettings,
}

/// `error_tracking.source_maps`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceMapSettings {
    /// Most bytes as they are stored. Default 512 MiB.
    pub max_bytes: u64,
    /// How long a bundle is kept after its last use. Default 90 days.
    pub max_age: Duration,
}

impl Default for SourceMapSettings {
    fn default() -> Self {
        Self { max_bytes: 512 << 20, max_age: Duration::from_secs(90 * 86_400) }
    }
}

/// `alerting`.
#[derive(Clone, Debug)]
pub struct Alerting {
    /// Resolved alerts kept. Default 10000.
    pub max_alerts: u64,
    /// Longest time between two evaluations; what new data breaks is seen at once. Default 60 s.
    pub evaluation_interval: Duration,
    /// Mutes a fresh firing of the same alert after a notification. Default 300 s.
    pub cooldown: Duration,
    /// How long a new group waits for more alerts. Default 10 s.
    pub group_wait: Duration,
    /// Least time between two notifications of one group. Default 5 min.
    pub group_interval: Duration,
    /// When a firing group is told again. Default 4 h.
    pub repeat_interval: Duration,
    /// How long an undelivered notification is tried. Default 24 h.
    pub delivery_timeout: Duration,
    /// Rules of the file, and the starter rules if they are on (the default).
    pub rules: Vec<Rule>,
    /// `notifications.email`, `notifications.webhook` and `receivers`; disabled ones are not in the list.
    pub receivers: Vec<Receiver>,
    /// Names of the disabled ones, which a rule may name too.
    pub disabled_receivers: Vec<String>,
}

impl Alerting {
    /// Returns the names of all receivers, which a rule may name.
    #[must_use]
    pub fn receiver_names(&self) -> Vec<String> {
        self.receivers.iter().map(|receiver| receiver.name.clone()).chain(self.disabled_receivers.iter().cloned()).collect()
    }

    /// Says so if `rule` names a receiver that is not enabled.
    #[must_use]
    pub fn tells_nobody(&self, rule: &Rule) -> Option<String> {
        let name = rule.receiver.as_ref().filter(|name| !self.receivers.iter().any(|receiver| receiver.name == **name))?;
        Some(format!("receiver `{name}` is not enabled, so this rule tells nobody"))
    }
}

/// `log_analysis`.
#[derive(Clone, Debug)]
pub struct LogAnalysis {
    /// How often is looked for what is unusual.
    pub analysis_interval: Duration,
    /// Patterns held in memory per source.
    pub max_patterns: usize,
    /// How the built-in detectors judge.
    pub detectors: watchfire_anomalies::Settings,
    /// Whether analyzers and detectors run.
    pub auto_start: bool,
}

impl Default for Config {
    /// What holds with no file and no environment variable: see each field.
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(86_400);
        Self {
            server: Server {
                listen: SocketAddr::from(([127, 0, 0, 1], 3473)),
                otlp_listen: Some(SocketAddr::from(([127, 0, 0, 1], 4318))),
                otlp_grpc_listen: Some(SocketAddr::from(([127, 0, 0, 1], 4317))),
                token: None,
                external_url: None,
                max_request_bytes: 64 << 20,
                ca_file: None,
            },
            storage: Storage {
                data_dir: PathBuf::from("watchfire-data"),
                max_bytes: 10_000_000_000,
                metrics_retention: 90 * DAY,
                ballast_bytes: 64 << 20,
                thresholds: Thresholds { shed_debug: 512 << 20, shed_info: 256 << 20, refuse: 32 << 20 },
            },
            inputs: Inputs { own_log: true, files: Vec::new(), journald: None, stdin: None, syslog: Vec::new() },
            redaction: Some(watchfire_redact::Settings::default()),
            logging: Logging {
                level: Severity::INFO,
                format: LogFormat::Text,
                include_stack_trace: true,
                retention: 30 * DAY,
                retention_by_service: BTreeMap::new(),
                file: None,
                rotate_bytes: 10 << 20,
                rotate_keep: 5,
            },
            performance: Performance { collection_interval: Duration::from_secs(30), history_size: 1000, auto_start: true },
            error_tracking: ErrorTracking {
                max_events: 10_000,
                cleanup_interval: Duration::from_secs(3600),
                auto_capture: true,
                projects: BTreeMap::new(),
                grouping: GroupingRules::default(),
                source_maps: SourceMapSettings::default(),
            },
            alerting: Alerting {
                max_alerts: 10_000,
                evaluation_interval: Duration::from_secs(60),
                cooldown: Duration::from_secs(300),
                group_wait: Duration::from_secs(10),
                group_interval: Duration::from_secs(300),
                repeat_interval: Duration::from_secs(4 * 3600),
                delivery_timeout: DAY,
                rules: Vec::new(),
                receivers: Vec::new(),
                disabled_receivers: Vec::new(),
            },
            log_analysis: LogAnalysis {
                analysis_interval: Duration::from_secs(300),
                max_patterns: 1000,
                detectors: watchfire_anomalies::Settings::default(),
                auto_start: true,
            },
            plugins: PluginsConfig::default(),
            warnings: Vec::new(),
        }
    }
}
