//! What the client is told: by the program, by the environment, and by the file that the host reads.

mod environment;
mod file;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::Level;

/// Where a host listens if nobody says otherwise.
const DEFAULT_URL: &str = "http://127.0.0.1:3473";

/// Settings of the client. [`Config::default`] asks nobody, [`Config::from_env`] reads the environment, [`Config::from_file`] a
/// configuration file and the environment.
///
/// ```
/// use watchfire_client::Config;
///
/// let config = Config { collection_interval: std::time::Duration::from_secs(15), ..Config::new("shop") };
/// assert_eq!(config.url, "http://127.0.0.1:3473");
/// ```
#[derive(Clone)]
pub struct Config {
    /// `service.name` of everything that is sent. Default: the name of the executable. `OTEL_SERVICE_NAME`.
    pub service: String,
    /// `service.version`. Default: none. `WATCHFIRE_SERVICE_VERSION`.
    pub version: Option<String>,
    /// `deployment.environment.name`. Default: none. `WATCHFIRE_ENVIRONMENT`.
    pub environment: Option<String>,
    /// Further attributes of the resource. `OTEL_RESOURCE_ATTRIBUTES`.
    pub resource: BTreeMap<String, String>,
    /// The watchfire host, which is asked for health, alerts and the rest. Default: `http://127.0.0.1:3473`. `WATCHFIRE_URL`.
    pub url: String,
    /// Its token, if it asks for one; sent to `url` only, and to `endpoint` if that is the same. `WATCHFIRE_TOKEN`.
    pub token: Option<String>,
    /// Where OTLP goes, without `/v1/logs`. Default: `url`. `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub endpoint: Option<String>,
    /// Where logs go, the whole address. Default: `endpoint` and `/v1/logs`. `OTEL_EXPORTER_OTLP_LOGS_ENDPOINT`.
    pub logs_endpoint: Option<String>,
    /// Where metrics go, the whole address. Default: `endpoint` and `/v1/metrics`. `OTEL_EXPORTER_OTLP_METRICS_ENDPOINT`.
    pub metrics_endpoint: Option<String>,
    /// Headers of each export. `OTEL_EXPORTER_OTLP_HEADERS`.
    pub headers: Vec<(String, String)>,
    /// A file with the certificates to trust instead of the machine's. `OTEL_EXPORTER_OTLP_CERTIFICATE`.
    pub ca_file: Option<PathBuf>,
    /// Whether exports are compressed with gzip. Default: no. `OTEL_EXPORTER_OTLP_COMPRESSION=gzip`.
    pub gzip: bool,
    /// How long one request may take. Default: 10 s. `OTEL_EXPORTER_OTLP_TIMEOUT`, in milliseconds.
    pub timeout: Duration,
    /// The least level that is sent. Default: INFO. `MONITORING_LOG_LEVEL`.
    pub level: Level,
    /// How long a log record waits for company. Default: 1 s. `OTEL_BLRP_SCHEDULE_DELAY`, in milliseconds.
    pub export_interval: Duration,
    /// How often metrics are sent and the process is looked at. Default: 30 s. `MONITORING_COLLECTION_INTERVAL`, in seconds, or
    /// `OTEL_METRIC_EXPORT_INTERVAL`, in milliseconds.
    pub collection_interval: Duration,
    /// Most log records that wait in memory; what does not fit is dropped and counted. Default: 16,384. `OTEL_BLRP_MAX_QUEUE_SIZE`.
    pub queue_records: usize,
    /// Most bytes of log records that wait in memory, and most bytes of batches that wait for the host. Default: 16 MB each.
    /// `WATCHFIRE_QUEUE_BYTES`.
    pub queue_bytes: usize,
    /// Most series; what would make one more is dropped and counted. Default: 2,000. `WATCHFIRE_MAX_SERIES`.
    pub max_series: usize,
    /// A folder for batches that the host could not take, which are sent when it is back, by the next run if need be. Default: none.
    /// `WATCHFIRE_SPOOL_DIR`.
    pub spool_dir: Option<PathBuf>,
    /// Most bytes in that folder; the oldest make room. Default: 64 MB. `WATCHFIRE_SPOOL_BYTES`.
    pub spool_bytes: u64,
    /// Whether panics are captured as errors. Default: yes. `WATCHFIRE_AUTO_CAPTURE`.
    pub auto_capture: bool,
    /// Whether captured errors carry the stack of the place that captured them. Default: yes. `WATCHFIRE_INCLUDE_STACK_TRACE`.
    pub include_stack_trace: bool,
    /// How many of the records before an error go along with it. Default: 20. `WATCHFIRE_BREADCRUMBS`.
    pub breadcrumbs: usize,
    /// Whether `process_memory_mb` and `process_cpu_percent` are measured. Default: yes. `WATCHFIRE_PROCESS_METRICS`.
    pub process_metrics: bool,
    /// Whether [`init_with`](crate::init_with) installs a `tracing` subscriber, if the program has none: with it, `tracing` events are
    /// sent, too, and shown on standard error. Default: yes. `WATCHFIRE_INSTALL_SUBSCRIBER`.
    pub install_subscriber: bool,
    /// How long the end of the program may wait for what is not sent yet. Default: 5 s. `WATCHFIRE_SHUTDOWN_TIMEOUT`, in seconds.
    pub shutdown_timeout: Duration,
    /// Whether nothing is collected and sent at all. Default: no. `OTEL_SDK_DISABLED`.
    pub disabled: bool,
}

impl Default for Config {
    fn default() -> Self {
        let executable = std::env::current_exe().ok();
        let service = executable.as_ref().and_then(|path| path.file_stem()?.to_str()).unwrap_or("unknown_service");
        Self {
            service: service.to_owned(),
            version: None,
            environment: None,
            resource: BTreeMap::new(),
            url: DEFAULT_URL.to_owned(),
            token: None,
            endpoint: None,
            logs_endpoint: None,
            metrics_endpoint: None,
            headers: Vec::new(),
            ca_file: None,
            gzip: false,
            timeout: Duration::from_secs(10),
            level: Level::Info,
            export_interval: Duration::from_secs(1),
            collection_interval: Duration::from_secs(30),
            queue_records: 16_384,
            queue_bytes: 16 << 20,
            max_series: 2_000,
            spool_dir: None,
            spool_bytes: 64 << 20,
            auto_capture: true,
            include_stack_trace: true,
            breadcrumbs: 20,
            process_metrics: true,
            install_subscriber: true,
            shutdown_timeout: Duration::from_secs(5),
            disabled: false,
        }
    }
}

/// Shows neither token nor headers.
impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("service", &self.service)
            .field("url", &self.url)
            .field("endpoint", &self.endpoint)
            .field("level", &self.level)
            .field("spool_dir", &self.spool_dir)
            .finish_non_exhaustive()
    }
}

/// Why the client does not start: everything that is wrong, each with its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot start monitoring: {}", .problems.join("; "))]
pub struct ConfigError {
    /// One `NAME: reason` per problem.
    pub problems: Vec<String>,
}

impl Config {
    /// Returns settings for the service `service`, otherwise those of [`Config::default`].
    #[must_use]
    pub fn new(service: impl Into<String>) -> Self {
        Self { service: service.into(), ..Self::default() }
    }

    /// Checks what the program has set.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let mut problems = Vec::new();
        let mut address = |name: &str, url: &str| {
            let parsed = url.parse::<http::Uri>().ok();
            let scheme = parsed.as_ref().and_then(|uri| uri.scheme_str()).unwrap_or_default();
            if !matches!(scheme, "http" | "https") || parsed.as_ref().is_none_or(|uri| uri.host().is_none_or(str::is_empty)) {
                problems.push(format!("{name}: `{url}` is no address: write `http://127.0.0.1:3473` or `https://host:port`"));
            }
        };
        address("url", &self.url);
        for (name, url) in
            [("endpoint", &self.endpoint), ("logs_endpoint", &self.logs_endpoint), ("metrics_endpoint", &self.metrics_endpoint)]
        {
            if let Some(url) = url {
                address(name, url);
            }
        }
        for (name, value) in self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .chain(self.token.iter().map(|token| ("authorization", token.as_str())))
        {
            let name_is_right = http::HeaderName::from_bytes(name.as_bytes()).is_ok();
            if !name_is_right || http::HeaderValue::from_str(value).is_err() {
                // The value may be a secret.
                problems.push(format!("headers: `{name}` has a name or value that no HTTP header can have"));
            }
        }
        if self.service.trim().is_empty() {
            problems.push("service: expected a name".to_owned());
        }
        for (name, duration) in [
            ("timeout", self.timeout),
            ("export_interval", self.export_interval),
            ("collection_interval", self.collection_interval),
        ] {
            if duration.is_zero() {
                problems.push(format!("{name}: expected more than nothing"));
            }
        }
        for (name, number) in [("queue_records", self.queue_records), ("queue_bytes", self.queue_bytes)] {
            if number == 0 {
                problems.push(format!("{name}: expected at least 1"));
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(ConfigError { problems }) }
    }

    /// Returns where `signal` (`logs` or `metrics`) goes, the whole address.
    pub(crate) fn address(&self, signal: &str) -> String {
        let whole = if signal == "logs" { &self.logs_endpoint } else { &self.metrics_endpoint };
        whole.clone().unwrap_or_else(|| {
            let base = self.endpoint.as_ref().unwrap_or(&self.url);
            format!("{}/v1/{signal}", base.trim_end_matches('/'))
        })
    }

    /// Returns the token to send to `address`: only the host may see it.
    pub(crate) fn token_for(&self, address: &str) -> Option<&str> {
        let of = |url: &str| {
            let uri = url.parse::<http::Uri>().ok()?;
            Some((uri.scheme_str()?.to_owned(), uri.authority()?.as_str().to_owned()))
        };
        let token = self.token.as_deref()?;
        (of(address).is_some() && of(address) == of(&self.url)).then_some(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_program_sets_is_checked_as_well() {
        let config = Config { url: "127.0.0.1:3473".into(), service: " ".into(), queue_records: 0, ..Config::default() };
        assert_eq!(config.check().unwrap_err().problems.len(), 3);
    }

    #[test]
    fn only_the_host_sees_the_token() {
        let config = Config { token: Some("secret".into()), ..Config::default() };
        assert_eq!(config.token_for("http://127.0.0.1:3473/v1/logs"), Some("secret"));
        assert_eq!(config.token_for("http://127.0.0.1:4318/v1/logs"), None);
        assert_eq!(config.token_for("https://127.0.0.1:3473/v1/logs"), None);
    }
}
