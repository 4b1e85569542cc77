//! The configuration file, exactly as written. Nothing here is checked beyond its shape; [`super::Config`] is what has been checked.
//!
//! Every key is documented where it is declared, with its default; the published JSON Schema is made of these comments.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use watchfire_types::Severity;

use super::duration::HumanDuration;
use super::{Config, LogFormat};
use crate::delivery::types::{SmtpTls, WebhookBody};
use crate::errors::rules::FingerprintRule;

pub use super::raw_conditions::{RawErrorCondition, RawFindingCondition, RawIssueCondition, RawLogCondition};
pub use super::raw_detectors::RawDetectors;
pub use super::raw_plugins::{RawPlugin, RawPlugins};
pub use super::raw_rule::RawRule;
pub use super::raw_syslog::{RawSyslogInput, RawSyslogTls};
pub use super::redaction::{RawCustomRule, RawRedaction};

/// Text that is a secret: a value, or `${NAME}` for an environment variable's. Neither printed nor written out again.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct RawSecret(pub(super) String);

impl fmt::Debug for RawSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Serialize for RawSecret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("[redacted]")
    }
}

/// watchfire's configuration. Every key has a default; an empty file is a valid one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawConfig {
    /// Where editors find this schema. Not used by the host. Default: none.
    #[serde(rename = "$schema", skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// How the host is reached.
    pub server: RawServer,
    /// Where and how much is kept.
    pub storage: RawStorage,
    /// What is read without being sent.
    pub inputs: RawInputs,
    /// Secrets and personal data, which are taken out of logs before they are stored.
    pub redaction: RawRedaction,
    /// The host's own log, and how long all logs are kept.
    pub logging: RawLogging,
    /// How the machine is measured.
    pub performance: RawPerformance,
    /// Errors in the log, grouped into issues.
    pub error_tracking: RawErrorTracking,
    /// Rules, and who is told.
    pub alerting: RawAlerting,
    /// Analyzers, patterns in logs, and what is unusual in them.
    pub log_analysis: RawLogAnalysis,
    /// WebAssembly components: where they lie, and what each may do.
    pub plugins: RawPlugins,
}

/// How the host is reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawServer {
    /// Address and port that serve everything. Anything but loopback needs a token. Default: `127.0.0.1:3473`.
    pub listen: String,
    /// Address and port that serve OTLP only; empty switches it off. Default: `127.0.0.1:4318`.
    pub otlp_listen: String,
    /// Address and port that serve OTLP by gRPC; empty switches it off. The other two take gRPC, too. Default: `127.0.0.1:4317`.
    pub otlp_grpc_listen: String,
    /// What callers from other machines must send as `Authorization: Bearer …`. `WATCHFIRE_TOKEN` sets it too. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<RawSecret>,
    /// File that holds the token, instead of `token`. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// What links in notifications begin with. Default: `http://` and `listen`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_url: Option<String>,
    /// Largest request body after decompression, in bytes. Default: 67108864 (64 MiB).
    pub max_request_bytes: u64,
    /// PEM file of certificate authorities trusted beside the system's, for everything that goes out. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

/// Where and how much is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawStorage {
    /// The data directory. Default: `$STATE_DIRECTORY`, else `/var/lib/watchfire` for root, else `$XDG_STATE_HOME/watchfire` or `~/.local/state/watchfire`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// Most bytes of all telemetry files together; the oldest day goes first. Default: 10000000000 (10 GB).
    pub max_bytes: u64,
    /// How long metrics are kept. Default: `90d`.
    pub metrics_retention: HumanDuration,
    /// Size in bytes of a file that is deleted to make room when the disk is full; 0 for none. Default: 67108864 (64 MiB).
    pub ballast_bytes: u64,
    /// With fewer bytes free on the disk, debug and trace records are not stored; 0 for never. At most a tenth of the disk counts.
    /// Default: 536870912 (512 MiB).
    pub shed_debug_below_bytes: u64,
    /// With fewer bytes free, only warnings and worse are stored; 0 for never. At most a twentieth of the disk counts.
    /// Default: 268435456 (256 MiB).
    pub shed_info_below_bytes: u64,
    /// With fewer bytes free, no records are stored: senders are told to try again, and files wait; 0 for never. At most a hundredth
    /// of the disk counts. Default: 33554432 (32 MiB).
    pub refuse_below_bytes: u64,
}

/// What is read without being sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawInputs {
    /// Whether the host's own log is stored with the others. Default: true.
    pub own_log: bool,
    /// Files to follow. Default: the readable ones of `/var/log/syslog`, `messages`, `auth.log`, `secure`, `kern.log`, from their end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<RawFileInput>>,
    /// Addresses at which syslog is taken. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub syslog: Vec<RawSyslogInput>,
    /// The systemd journal to follow; `{}` means this machine's. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub journald: Option<RawJournald>,
    /// Whether standard input is read, and how; `{}` means with defaults. `watchfire start --stdin` does so too. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdin: Option<RawStdin>,
}

/// How standard input is read: as the lines of a file are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawStdin {
    /// `service.name` for lines that do not say theirs. Default: what a syslog prefix says, else `stdin`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// What its lines are, as `format` of a file: a format's name, or `parser:NAME` for a component. Default: `auto`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Which lines are one record. Default: stack traces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multiline: Option<RawMultiline>,
}

/// The systemd journal to follow, through `journalctl`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawJournald {
    /// Units to follow, such as `nginx.service`; patterns such as `app-*` too. Default: all.
    pub units: Vec<String>,
    /// Folder of journal files to read instead of the machine's own. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
    /// Whether a journal that is new to the host is read from its beginning. Default: false, from its end.
    pub from_beginning: bool,
}

/// Files to follow: one, or all that patterns mean.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawFileInput {
    /// A path, or a pattern such as `/var/log/**/*.log`: `*` within a name, `**` for any folders, `?`, `[a-z]`, `{a,b}`. Either this or `paths` must be given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Several paths or patterns. Default: none but `path`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<PathBuf>,
    /// Patterns of files that are left out; one without a slash means names. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// `service.name` for its lines. Default: what a line says, else the file's name without extension.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Attributes of what produced the lines, such as `deployment.environment.name`. Default: none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// Whether a file that is new to the host is read from its beginning. Files that appear later always are. Default: false, from its end.
    pub from_beginning: bool,
    /// `auto`, `raw`, `text`, `json`, `logfmt`, `syslog`, `cri`, `docker`, `klog`, `access`, `nginx_error`, `apache_error`, `postgres`, or `parser:NAME` for a component. Default: `auto`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Character encoding, by its WHATWG name: `gbk`, `gb18030`, `big5`, `shift_jis`, `utf-16le`, `windows-1252`. Default: UTF-8, or UTF-16 where the file says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// Which lines are one record. Default: stack traces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multiline: Option<RawMultiline>,
}

/// Which lines are one record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawMultiline {
    /// Whether lines are put together at all. Default: true.
    pub enabled: bool,
    /// Regular expression of the lines that begin a record; all others go on with it. Default: none, stack traces are found out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// Regular expression of the lines that go on with the record before. Default: none.
    #[serde(rename = "continue", skip_serializing_if = "Option::is_none")]
    pub continues: Option<String>,
    /// How long a record waits for more of its lines. Default: `1s` with patterns, `200ms` for stack traces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<HumanDuration>,
    /// Most lines of a record with patterns. Default: 1000.
    pub max_lines: u32,
}

impl Default for RawMultiline {
    fn default() -> Self {
        Self { enabled: true, start: None, continues: None, timeout: None, max_lines: 1000 }
    }
}

/// The host's own log, and how long all logs are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawLogging {
    /// Least level of the host's own log. Default: `INFO`.
    pub level: LogLevel,
    /// `true` means JSON lines, `false` text for people. `format` says more. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub structured_format: Option<bool>,
    /// Whether errors in the own log carry their chain of causes. Default: true.
    pub include_stack_trace: bool,
    /// How many days logs are kept. Default: 30.
    pub retention_days: u32,
    /// Services whose logs are kept for less time, by `service.name`, such as `{"debug-app": "3d"}`: counted from the end of the day on
    /// which a record arrived, at most `retention_days`. Default: none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub retention_by_service: BTreeMap<String, HumanDuration>,
    /// Shape of the host's own log lines. Default: `json` with `structured_format`, `text` otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<LogFormat>,
    /// File of the host's own log. Default: standard error; with `--daemon`, `watchfire.log` in the data directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// The own log file is rotated daily, and at this many bytes. Default: 10485760 (10 MiB).
    pub rotate_bytes: u64,
    /// Rotated files kept. Default: 5.
    pub rotate_keep: u32,
}

/// A log level, in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, utoipa::ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum LogLevel {
    /// Everything.
    #[serde(alias = "trace")]
    Trace,
    /// What helps to find a fault.
    #[serde(alias = "debug")]
    Debug,
    /// Life as usual.
    #[default]
    #[serde(alias = "info")]
    Info,
    /// Degraded.
    #[serde(alias = "warning", alias = "WARN", alias = "warn")]
    Warning,
    /// Someone must act.
    #[serde(alias = "error")]
    Error,
    /// Someone must act now.
    #[serde(alias = "critical", alias = "FATAL", alias = "fatal")]
    Critical,
}

impl LogLevel {
    /// Returns the severity it begins at.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Self::Trace => Severity::TRACE,
            Self::Debug => Severity::DEBUG,
            Self::Info => Severity::INFO,
            Self::Warning => Severity::WARN,
            Self::Error => Severity::ERROR,
            Self::Critical => Severity::FATAL,
        }
    }

    /// Returns the level whose range holds `severity`.
    #[must_use]
    pub const fn of(severity: Severity) -> Self {
        match severity.0 {
            0..=4 => Self::Trace,
            5..=8 => Self::Debug,
            9..=12 => Self::Info,
            13..=16 => Self::Warning,
            17..=20 => Self::Error,
            _ => Self::Critical,
        }
    }
}

/// How the machine is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawPerformance {
    /// How often the machine is measured. Default: 30 seconds.
    pub collection_interval: HumanDuration,
    /// Points per series held in memory. Default: 1000.
    pub history_size: u32,
    /// Whether the machine is measured at all. Default: true.
    pub auto_start: bool,
}

/// Errors in the log, grouped into issues.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawErrorTracking {
    /// Error events kept with their stack traces; repeats of frequent issues go first. Counts stay exact. Default: 10000.
    pub max_events: u64,
    /// How often those beyond are dropped. Default: 1 hour.
    pub cleanup_interval: HumanDuration,
    /// Whether log records of level error or above, or of none, that carry a stack trace in their text become error events, too.
    /// Records with `exception.*` attributes always do. Default: true.
    pub auto_capture: bool,
    /// `service.name` of what Sentry SDKs send, by the number of the project in their DSN: `{"1": "shop"}`. Default: none; then a service
    /// is what an event's tag `service` says, or what stands in front of `@` in its release, or `project-1`.
    pub projects: BTreeMap<String, String>,
    /// Calls that are the application's own, whatever the SDK says: modules, packages or files, with `*` for any text. Default: none.
    pub in_app_include: Vec<String>,
    /// Calls that are a library's. What `in_app_include` names stays the application's. Default: none.
    pub in_app_exclude: Vec<String>,
    /// What errors are grouped by instead of what the host finds: the first rule that fits holds. Default: none.
    pub fingerprint_rules: Vec<FingerprintRule>,
    /// Source maps of minified JavaScript, which sentry-cli uploads. Default: all that is uploaded is kept, within bounds.
    pub source_maps: RawSourceMaps,
}

/// How much is kept of source maps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawSourceMaps {
    /// Most bytes of source maps and minified files, as they are stored: about a quarter of their size. Those that were not used for
    /// longest go first. Default: 536870912 (512 MiB).
    pub max_bytes: u64,
    /// How long a bundle is kept after it was uploaded or used last. Default: 90 days.
    pub max_age: HumanDuration,
}

/// Rules, and who is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawAlerting {
    /// Resolved alerts kept. Default: 10000.
    pub max_alerts: u64,
    /// Longest time between two evaluations of a rule; what new data break is seen at once. Default: 60 seconds.
    pub evaluation_interval: HumanDuration,
    /// Mutes a fresh firing of the same alert after a notification. Default: `5m`.
    pub cooldown: HumanDuration,
    /// How long a new group waits for more alerts. Default: `10s`.
    pub group_wait: HumanDuration,
    /// Least time between two notifications of one group. Default: `5m`.
    pub group_interval: HumanDuration,
    /// When a group that is still firing is told again. Default: `4h`.
    pub repeat_interval: HumanDuration,
    /// How long an undelivered notification is tried. Default: `1d`.
    pub delivery_timeout: HumanDuration,
    /// Whether the three rules that come with the host (processor, memory, disk) are on. Default: true.
    pub starter_rules: bool,
    /// The two receivers that have places of their own, `email` and `webhook`.
    pub notifications: RawNotifications,
    /// Rules. Default: none but the starter rules.
    pub rules: Vec<RawRule>,
    /// Further receivers. Without a `receiver` in the rule, every enabled receiver is told. Default: none.
    pub receivers: Vec<RawReceiver>,
}

/// The receivers called `email` and `webhook`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawNotifications {
    /// The receiver `email`. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<RawEmail>,
    /// The receiver `webhook`. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<RawWebhook>,
}

/// Someone who is told: a name, and one of `webhook`, `email`, `component` and `pull`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["name"]))]
pub struct RawReceiver {
    /// The name that rules use. Required, unique.
    pub name: String,
    /// An HTTP endpoint. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<RawWebhook>,
    /// A mailbox. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<RawEmail>,
    /// A plugin. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component: Option<RawComponent>,
    /// An application that asks for its notifications. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pull: Option<RawPull>,
}

/// An application that asks for its notifications: `POST /api/v1/pull/channels/NAME/poll`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawPull {
    /// Whether it is used. Default: true.
    pub enabled: bool,
    /// Whether it is told when an alert is over. Default: true.
    pub send_resolved: bool,
}

impl Default for RawPull {
    fn default() -> Self {
        Self { enabled: true, send_resolved: true }
    }
}

/// A plugin that delivers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["plugin"]))]
pub struct RawComponent {
    /// Whether it is used. Default: true.
    pub enabled: bool,
    /// Name of the plugin, as under `plugins.components`. Required.
    pub plugin: String,
    /// Whether it is told when an alert is over. Default: true.
    pub send_resolved: bool,
}

impl Default for RawComponent {
    fn default() -> Self {
        Self { enabled: true, plugin: String::new(), send_resolved: true }
    }
}

/// A mailbox reached over SMTP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawEmail {
    /// Whether it is used. Default: false under `notifications`, true under `receivers`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Server name or address. Required when enabled.
    pub smtp_host: String,
    /// Server port. Default: 587.
    pub smtp_port: u16,
    /// How the connection is protected. Default: `tls` for port 465, `starttls` otherwise; `none` only towards this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<SmtpTls>,
    /// Login, if the server wants one. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Password of the login. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<RawSecret>,
    /// File that holds the password, instead of `password`. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// Sender. Required when enabled.
    pub from_email: String,
    /// Recipients, at least one when enabled.
    pub to_emails: Vec<String>,
    /// Whether it is told when an alert is over. Default: true.
    pub send_resolved: bool,
}

/// An HTTP endpoint that notifications are posted to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawWebhook {
    /// Whether it is used. Default: false under `notifications`, true under `receivers`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Where to post; a secret, since such URLs often hold one. Required when enabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<RawSecret>,
    /// File that holds the URL, instead of `url`. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_file: Option<PathBuf>,
    /// Further request headers, such as `Authorization`; their values are secrets. Default: none.
    pub headers: BTreeMap<String, RawSecret>,
    /// What the body looks like. Default: `auto`, which is `slack` for hosts that end in `slack.com` and `json` otherwise.
    pub body: WebhookBody,
    /// Whether it is told when an alert is over. Default: true.
    pub send_resolved: bool,
}

/// Patterns, which every record gets as it is stored, analyzers, which read the log, and the detectors of what is unusual in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawLogAnalysis {
    /// How often is looked for what is unusual; windows of five minutes are judged when they are over. Default: 300 seconds.
    pub analysis_interval: HumanDuration,
    /// Patterns held in memory per source (`service.name`): those used last. Default: 1000.
    pub max_patterns: u32,
    /// How the built-in detectors judge. Default: all of them on.
    pub detectors: RawDetectors,
    /// Whether analyzers and detectors run. Default: true.
    pub auto_start: bool,
}

impl Default for RawServer {
    fn default() -> Self {
        let server = Config::default().server;
        Self {
            listen: server.listen.to_string(),
            otlp_listen: server.otlp_listen.map(|address| address.to_string()).unwrap_or_default(),
            otlp_grpc_listen: server.otlp_grpc_listen.map(|address| address.to_string()).unwrap_or_default(),
            token: None,
            token_file: None,
            external_url: None,
            max_request_bytes: server.max_request_bytes as u64,
            ca_file: None,
        }
    }
}

impl Default for RawStorage {
    fn default() -> Self {
        let storage = Config::default().storage;
        Self {
            data_dir: None,
            max_bytes: storage.max_bytes,
            metrics_retention: HumanDuration(storage.metrics_retention),
            ballast_bytes: storage.ballast_bytes,
            shed_debug_below_bytes: storage.thresholds.shed_debug,
            shed_info_below_bytes: storage.thresholds.shed_info,
            refuse_below_bytes: storage.thresholds.refuse,
        }
    }
}

impl Default for RawInputs {
    fn default() -> Self {
        Self { own_log: Config::default().inputs.own_log, files: None, journald: None, stdin: None, syslog: Vec::new() }
    }
}

impl Default for RawLogging {
    fn default() -> Self {
        let logging = Config::default().logging;
        Self {
            level: LogLevel::of(logging.level),
            structured_format: None,
            include_stack_trace: logging.include_stack_trace,
            retention_days: (logging.retention.as_secs() / 86_400) as u32,
            retention_by_service: BTreeMap::new(),
            format: None,
            file: None,
            rotate_bytes: logging.rotate_bytes,
            rotate_keep: logging.rotate_keep as u32,
        }
    }
}

impl Default for RawPerformance {
    fn default() -> Self {
        let performance = Config::default().performance;
        Self {
            collection_interval: HumanDuration(performance.collection_interval),
            history_size: performance.history_size as u32,
            auto_start: performance.auto_start,
        }
    }
}

impl Default for RawErrorTracking {
    fn default() -> Self {
        let errors = Config::default().error_tracking;
        Self {
            max_events: errors.max_events,
            cleanup_interval: HumanDuration(errors.cleanup_interval),
            auto_capture: errors.auto_capture,
            projects: BTreeMap::new(),
            in_app_include: Vec::new(),
            in_app_exclude: Vec::new(),
            fingerprint_rules: Vec::new(),
            source_maps: RawSourceMaps::default(),
        }
    }
}

impl Default for RawSourceMaps {
    fn default() -> Self {
        let maps = Config::default().error_tracking.source_maps;
        Self { max_bytes: maps.max_bytes, max_age: HumanDuration(maps.max_age) }
    }
}

impl Default for RawAlerting {
    fn default() -> Self {
        let alerting = Config::default().alerting;
        Self {
            max_alerts: alerting.max_alerts,
            evaluation_interval: HumanDuration(alerting.evaluation_interval),
            cooldown: HumanDuration(alerting.cooldown),
            group_wait: HumanDuration(alerting.group_wait),
            group_interval: HumanDuration(alerting.group_interval),
            repeat_interval: HumanDuration(alerting.repeat_interval),
            delivery_timeout: HumanDuration(alerting.delivery_timeout),
            starter_rules: true,
            notifications: RawNotifications::default(),
            rules: Vec::new(),
            receivers: Vec::new(),
        }
    }
}

impl Default for RawEmail {
    fn default() -> Self {
        Self {
            enabled: None,
            smtp_host: String::new(),
            smtp_port: 587,
            tls: None,
            username: None,
            password: None,
            password_file: None,
            from_email: String::new(),
            to_emails: Vec::new(),
            send_resolved: true,
        }
    }
}

impl Default for RawWebhook {
    fn default() -> Self {
        Self {
            enabled: None,
            url: None,
            url_file: None,
            headers: BTreeMap::new(),
            body: WebhookBody::default(),
            send_resolved: true,
        }
    }
}

impl Default for RawLogAnalysis {
    fn default() -> Self {
        let analysis = Config::default().log_analysis;
        Self {
            analysis_interval: HumanDuration(analysis.analysis_interval),
            max_patterns: analysis.max_patterns as u32,
            detectors: RawDetectors::default(),
            auto_start: analysis.auto_start,
        }
    }
}
