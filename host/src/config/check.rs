//! From the file as written to a configuration that can be run: names unique, references resolved, secrets read, defaults applied.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::duration::HumanDuration;
use super::environment::Environment;
use super::raw::{
    RawAlerting, RawConfig, RawErrorTracking, RawInputs, RawJournald, RawLogAnalysis, RawLogging, RawPerformance, RawServer,
    RawStorage,
};
use super::shape::join;
use super::{
    Alerting, Config, ErrorTracking, FileInput, Inputs, JournaldInput, LogAnalysis, LogFormat, Logging, Performance, Secret,
    Server, SourceMapSettings, Storage, files, receivers, redaction, secrets, starter, syslog,
};
use crate::alerts::types::{Rule, RuleOrigin};
use crate::errors::rules::GroupingRules;
use crate::logs::pressure::Thresholds;

/// A configuration and all that is wrong with it; it may be used only if that is nothing.
pub(super) struct Checked {
    pub(super) config: Config,
    /// Path and reason.
    pub(super) faults: Vec<(String, String)>,
}

/// Collects what is wrong, and what is worth a word.
pub(super) struct Checker<'a> {
    pub(super) environment: &'a Environment,
    pub(super) faults: Vec<(String, String)>,
    pub(super) warnings: Vec<String>,
}

/// Checks `raw`.
pub(super) fn check(raw: RawConfig, environment: &Environment) -> Checked {
    let mut checker = Checker { environment, faults: Vec::new(), warnings: Vec::new() };
    let mut config = Config {
        server: checker.server(raw.server),
        storage: checker.storage(raw.storage),
        inputs: checker.inputs(raw.inputs),
        redaction: redaction::check(&mut checker, raw.redaction),
        logging: checker.logging(raw.logging),
        performance: checker.performance(&raw.performance),
        error_tracking: checker.error_tracking(&raw.error_tracking),
        alerting: checker.alerting(raw.alerting),
        log_analysis: checker.log_analysis(&raw.log_analysis),
        plugins: checker.plugins(raw.plugins),
        warnings: Vec::new(),
    };
    config.warnings = checker.warnings;
    Checked { config, faults: checker.faults }
}

impl Checker<'_> {
    pub(super) fn fault(&mut self, path: impl Into<String>, reason: impl Into<String>) {
        self.faults.push((path.into(), reason.into()));
    }

    fn server(&mut self, raw: RawServer) -> Server {
        let token = secrets::read(self, "server.token", raw.token, raw.token_file.as_deref());
        if token.as_ref().is_some_and(|token| token.reveal().is_empty()) {
            self.fault("server.token", "expected a token that is not empty");
        }
        let listen = self.address("server.listen", &raw.listen, token.as_ref());
        let otlp_listen =
            (!raw.otlp_listen.is_empty()).then(|| self.address("server.otlp_listen", &raw.otlp_listen, token.as_ref()));
        let otlp_grpc_listen = (!raw.otlp_grpc_listen.is_empty())
            .then(|| self.address("server.otlp_grpc_listen", &raw.otlp_grpc_listen, token.as_ref()));
        if let Some(url) = &raw.external_url
            && !url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
        {
            self.fault("server.external_url", "expected a URL such as `https://watchfire.example.com`");
        }
        self.at_least("server.max_request_bytes", raw.max_request_bytes, 1024);
        if let Some(path) = &raw.ca_file {
            self.ca_file(path);
        }
        Server {
            listen,
            otlp_listen,
            otlp_grpc_listen,
            token,
            external_url: raw.external_url.map(|url| url.trim_end_matches('/').to_owned()),
            max_request_bytes: usize::try_from(raw.max_request_bytes).unwrap_or(usize::MAX),
            ca_file: raw.ca_file,
        }
    }

    fn address(&mut self, path: &str, text: &str, token: Option<&Secret>) -> SocketAddr {
        let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        let Ok(address) = numeric.as_deref().unwrap_or(text).parse::<SocketAddr>() else {
            self.fault(path, format!("expected an address and a port such as `127.0.0.1:3473`, found `{text}`"));
            return Config::default().server.listen;
        };
        if !address.ip().is_loopback() && token.is_none() {
            self.fault(
                path,
                format!("`{address}` can be reached from other machines, so a token is needed: set `server.token`, `server.token_file` or WATCHFIRE_TOKEN"),
            );
        }
        address
    }

    fn ca_file(&mut self, path: &Path) {
        match std::fs::read_to_string(path) {
            Ok(text) if text.contains("-----BEGIN CERTIFICATE-----") => {}
            Ok(_) => self.fault("server.ca_file", format!("expected PEM certificates in `{}`", path.display())),
            Err(error) => self.fault("server.ca_file", format!("cannot read `{}`: {error}", path.display())),
        }
    }

    fn storage(&mut self, raw: RawStorage) -> Storage {
        self.at_least("storage.max_bytes", raw.max_bytes, 1 << 20);
        let thresholds = Thresholds {
            shed_debug: raw.shed_debug_below_bytes,
            shed_info: raw.shed_info_below_bytes,
            refuse: raw.refuse_below_bytes,
        };
        for (path, number, other, least) in [
            ("storage.shed_debug_below_bytes", thresholds.shed_debug, "shed_info_below_bytes", thresholds.shed_info),
            ("storage.shed_info_below_bytes", thresholds.shed_info, "refuse_below_bytes", thresholds.refuse),
        ] {
            if number < least && number != 0 {
                self.fault(path, format!("expected at least storage.{other}, which is {least}, or 0 for never; found {number}"));
            }
        }
        let data_dir = raw.data_dir.filter(|path| !path.as_os_str().is_empty()).or_else(|| self.environment.data_dir());
        if data_dir.is_none() {
            self.fault(
                "storage.data_dir",
                "expected a folder, as neither HOME nor STATE_DIRECTORY says where one could be: set it, or give --data",
            );
        }
        let data_dir = data_dir.unwrap_or_default();
        Storage {
            data_dir: std::path::absolute(&data_dir).unwrap_or(data_dir),
            max_bytes: raw.max_bytes,
            metrics_retention: self.duration("storage.metrics_retention", raw.metrics_retention, Duration::from_secs(3600)),
            ballast_bytes: raw.ballast_bytes,
            thresholds,
        }
    }

    fn inputs(&mut self, raw: RawInputs) -> Inputs {
        let journald = raw.journald.map(|journald| self.journald(journald));
        let stdin = raw.stdin.map(|stdin| files::of_stdin(self, stdin));
        let syslog = syslog::check(self, raw.syslog);
        let Some(files) = raw.files else {
            let system = self.environment.system_logs().iter();
            let files = system.map(FileInput::at);
            return Inputs { own_log: raw.own_log, files: files.collect(), journald, stdin, syslog };
        };
        let files = files::check(self, files);
        Inputs { own_log: raw.own_log, files, journald, stdin, syslog }
    }

    fn journald(&mut self, raw: RawJournald) -> JournaldInput {
        for (index, unit) in raw.units.iter().enumerate() {
            if unit.trim().is_empty() {
                self.fault(format!("inputs.journald.units[{index}]"), "expected the name of a unit such as `nginx.service`");
            }
        }
        if let Some(path) = raw.directory.as_ref().filter(|path| !path.is_dir()) {
            self.fault(
                "inputs.journald.directory",
                format!("expected a folder of journal files, and `{}` is none", path.display()),
            );
        }
        let directory = raw.directory.map(|path| std::path::absolute(&path).unwrap_or(path));
        JournaldInput { units: raw.units, directory, from_beginning: raw.from_beginning }
    }

    fn logging(&mut self, raw: RawLogging) -> Logging {
        self.at_least("logging.retention_days", raw.retention_days.into(), 1);
        self.at_least("logging.rotate_bytes", raw.rotate_bytes, 1024);
        let retention = Duration::from_secs(u64::from(raw.retention_days) * 86_400);
        for (service, kept) in &raw.retention_by_service {
            let path = format!("logging.retention_by_service.{service}");
            if self.duration(&path, *kept, Duration::from_secs(3600)) > retention {
                let days = raw.retention_days;
                self.fault(
                    path,
                    format!("expected at most `retention_days` ({days} days), found {kept}: whole days are dropped after that"),
                );
            }
        }
        let format = raw.format.unwrap_or(if raw.structured_format == Some(true) { LogFormat::Json } else { LogFormat::Text });
        match (raw.structured_format, format) {
            (Some(true), LogFormat::Text) => {
                self.fault("logging.format", "`text` contradicts `structured_format: true`: leave one of them out");
            }
            (Some(false), LogFormat::Json) => {
                self.fault("logging.format", "`json` contradicts `structured_format: false`: leave one of them out");
            }
            _ => {}
        }
        Logging {
            level: raw.level.severity(),
            format,
            include_stack_trace: raw.include_stack_trace,
            retention,
            retention_by_service: raw.retention_by_service.into_iter().map(|(service, kept)| (service, kept.0)).collect(),
            file: raw.file,
            rotate_bytes: raw.rotate_bytes,
            rotate_keep: raw.rotate_keep as usize,
        }
    }

    fn performance(&mut self, raw: &RawPerformance) -> Performance {
        self.at_least("performance.history_size", raw.history_size.into(), 1);
        Performance {
            collection_interval: self.duration(
                "performance.collection_interval",
                raw.collection_interval,
                Duration::from_millis(100),
            ),
            history_size: raw.history_size as usize,
            auto_start: raw.auto_start,
        }
    }

    fn error_tracking(&mut self, raw: &RawErrorTracking) -> ErrorTracking {
        let mut projects = BTreeMap::new();
        for (number, service) in &raw.projects {
            let place = format!("error_tracking.projects.{number}");
            match number.parse::<u64>() {
                Ok(_) if service.trim().is_empty() => self.fault(place.as_str(), "expected the name of a service"),
                Ok(number) => {
                    projects.insert(number, service.trim().to_owned());
                }
                Err(_) => self.fault(place.as_str(), "a project is a number, as it stands at the end of a DSN"),
            }
        }
        for (index, rule) in raw.fingerprint_rules.iter().enumerate() {
            for (key, reason) in rule.problems() {
                self.fault(format!("error_tracking.fingerprint_rules[{index}]{key}"), reason);
            }
        }
        self.at_least("error_tracking.source_maps.max_bytes", raw.source_maps.max_bytes, 1 << 20);
        ErrorTracking {
            max_events: raw.max_events,
            cleanup_interval: raw.cleanup_interval.0,
            auto_capture: raw.auto_capture,
            projects,
            grouping: GroupingRules {
                include: raw.in_app_include.clone(),
                exclude: raw.in_app_exclude.clone(),
                rules: raw.fingerprint_rules.clone(),
            },
            source_maps: SourceMapSettings {
                max_bytes: raw.source_maps.max_bytes,
                max_age: self.duration("error_tracking.source_maps.max_age", raw.source_maps.max_age, Duration::from_secs(3_600)),
            },
        }
    }

    fn log_analysis(&mut self, raw: &RawLogAnalysis) -> LogAnalysis {
        self.at_least("log_analysis.max_patterns", u64::from(raw.max_patterns), 1);
        LogAnalysis {
            analysis_interval: self.duration("log_analysis.analysis_interval", raw.analysis_interval, Duration::from_secs(10)),
            max_patterns: raw.max_patterns as usize,
            detectors: self.detectors(&raw.detectors, raw.max_patterns as usize),
            auto_start: raw.auto_start,
        }
    }

    fn alerting(&mut self, raw: RawAlerting) -> Alerting {
        let tenth = Duration::from_millis(100);
        let evaluation_interval = self.duration("alerting.evaluation_interval", raw.evaluation_interval, tenth);
        let repeat_interval = self.duration("alerting.repeat_interval", raw.repeat_interval, Duration::from_secs(1));
        let delivery_timeout = self.duration("alerting.delivery_timeout", raw.delivery_timeout, Duration::from_secs(1));
        let (receivers, names) = receivers::check(self, raw.notifications, raw.receivers);
        let disabled = names.iter().filter(|name| !receivers.iter().any(|known| known.name == **name)).cloned().collect();
        let starters = if raw.starter_rules { starter::rules() } else { Vec::new() };
        let mut alerting = Alerting {
            max_alerts: raw.max_alerts,
            evaluation_interval,
            cooldown: raw.cooldown.0,
            group_wait: raw.group_wait.0,
            group_interval: raw.group_interval.0,
            repeat_interval,
            delivery_timeout,
            rules: starters.clone(),
            receivers,
            disabled_receivers: disabled,
        };
        let mut taken: Vec<String> = Vec::new();
        for (index, rule) in raw.rules.into_iter().enumerate() {
            let path = format!("alerting.rules[{index}]");
            self.rule_name(&path, &rule.name, &taken, &starters);
            taken.push(rule.name.clone());
            match rule.into_rule(&names, RuleOrigin::File) {
                Ok(rule) => {
                    self.warnings.extend(alerting.tells_nobody(&rule).map(|warning| format!("{path}.receiver: {warning}")));
                    alerting.rules.push(rule);
                }
                Err(faults) => faults
                    .into_iter()
                    .for_each(|(key, reason)| self.fault(if key.is_empty() { path.clone() } else { join(&path, key) }, reason)),
            }
        }
        alerting
    }

    /// Refuses a name that an earlier rule has, whatever else is wrong with that one, or a starter rule.
    fn rule_name(&mut self, path: &str, name: &str, taken: &[String], starters: &[Rule]) {
        if name.is_empty() {
            return;
        }
        if let Some(twin) = taken.iter().position(|known| known == name) {
            self.fault(format!("{path}.name"), format!("`{name}` is the name of rules[{twin}] already"));
        }
        if starters.iter().any(|starter| starter.name == name) {
            let reason =
                format!("`{name}` is the name of a starter rule: choose another, or set `alerting.starter_rules` to false");
            self.fault(format!("{path}.name"), reason);
        }
    }

    pub(super) fn duration(&mut self, path: &str, duration: HumanDuration, least: Duration) -> Duration {
        if duration.0 < least {
            self.fault(path, format!("expected a duration of at least {}, found {duration}", HumanDuration(least)));
        }
        duration.0
    }

    pub(super) fn at_least(&mut self, path: &str, number: u64, least: u64) {
        if number < least {
            self.fault(path, format!("expected at least {least}, found {number}"));
        }
    }
}
