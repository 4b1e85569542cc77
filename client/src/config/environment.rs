//! What environment variables say.

use std::env::VarError;
use std::str::FromStr;
use std::time::Duration;

use super::{Config, ConfigError};

/// Where variables are looked up: a value, or why it is none.
pub(super) type Variables<'a> = &'a dyn Fn(&str) -> Option<Result<String, String>>;

/// Looks variables up in the environment of the process.
pub(super) fn of_process(name: &str) -> Option<Result<String, String>> {
    match std::env::var(name) {
        Ok(value) => Some(Ok(value)),
        Err(VarError::NotPresent) => None,
        Err(VarError::NotUnicode(_)) => Some(Err("is not UTF-8".to_owned())),
    }
}

impl Config {
    /// Returns the settings of the environment.
    ///
    /// # Errors
    /// If variables have values that make no sense: all of them.
    pub fn from_env() -> Result<Self, ConfigError> {
        let mut config = Self::default();
        match config.take_variables(&of_process) {
            problems if problems.is_empty() => Ok(config),
            problems => Err(ConfigError { problems }),
        }
    }

    /// Takes over what these variables say, and returns what is wrong with them; empty ones count as absent, as OpenTelemetry wants it.
    pub(super) fn take_variables(&mut self, variable: Variables<'_>) -> Vec<String> {
        let config = self;
        let mut reader = Reader { variable, problems: Vec::new() };
        let resource = reader.read("OTEL_RESOURCE_ATTRIBUTES", pairs);
        for (key, value) in resource.unwrap_or_default() {
            match key.as_str() {
                "service.name" => config.service = value,
                "service.version" => config.version = Some(value),
                "deployment.environment.name" => config.environment = Some(value),
                _ => _ = config.resource.insert(key, value),
            }
        }
        reader.set(&mut config.service, "OTEL_SERVICE_NAME", text);
        reader.set_some(&mut config.version, "WATCHFIRE_SERVICE_VERSION", text);
        reader.set_some(&mut config.environment, "WATCHFIRE_ENVIRONMENT", text);
        reader.set(&mut config.url, "WATCHFIRE_URL", text);
        reader.set_some(&mut config.token, "WATCHFIRE_TOKEN", text);
        reader.set_some(&mut config.endpoint, "OTEL_EXPORTER_OTLP_ENDPOINT", text);
        reader.set_some(&mut config.logs_endpoint, "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", text);
        reader.set_some(&mut config.metrics_endpoint, "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", text);
        reader.set(&mut config.headers, "OTEL_EXPORTER_OTLP_HEADERS", pairs);
        reader.set_some(&mut config.ca_file, "OTEL_EXPORTER_OTLP_CERTIFICATE", |text| Ok(text.into()));
        reader.set(&mut config.gzip, "OTEL_EXPORTER_OTLP_COMPRESSION", compression);
        reader.set(&mut config.timeout, "OTEL_EXPORTER_OTLP_TIMEOUT", milliseconds);
        reader.read("OTEL_EXPORTER_OTLP_PROTOCOL", protocol);
        reader.set(&mut config.level, "MONITORING_LOG_LEVEL", parsed);
        reader.set(&mut config.export_interval, "OTEL_BLRP_SCHEDULE_DELAY", milliseconds);
        reader.set(&mut config.collection_interval, "OTEL_METRIC_EXPORT_INTERVAL", milliseconds);
        reader.set(&mut config.collection_interval, "MONITORING_COLLECTION_INTERVAL", seconds);
        reader.set(&mut config.queue_records, "OTEL_BLRP_MAX_QUEUE_SIZE", parsed);
        reader.set(&mut config.queue_bytes, "WATCHFIRE_QUEUE_BYTES", parsed);
        reader.set(&mut config.max_series, "WATCHFIRE_MAX_SERIES", parsed);
        reader.set_some(&mut config.spool_dir, "WATCHFIRE_SPOOL_DIR", |text| Ok(text.into()));
        reader.set(&mut config.spool_bytes, "WATCHFIRE_SPOOL_BYTES", parsed);
        reader.set(&mut config.auto_capture, "WATCHFIRE_AUTO_CAPTURE", switch);
        reader.set(&mut config.include_stack_trace, "WATCHFIRE_INCLUDE_STACK_TRACE", switch);
        reader.set(&mut config.breadcrumbs, "WATCHFIRE_BREADCRUMBS", parsed);
        reader.set(&mut config.process_metrics, "WATCHFIRE_PROCESS_METRICS", switch);
        reader.set(&mut config.install_subscriber, "WATCHFIRE_INSTALL_SUBSCRIBER", switch);
        reader.set(&mut config.shutdown_timeout, "WATCHFIRE_SHUTDOWN_TIMEOUT", seconds);
        // Anything but `true` leaves it on, as OpenTelemetry says.
        reader.set(&mut config.disabled, "OTEL_SDK_DISABLED", |text| Ok(text.eq_ignore_ascii_case("true")));
        reader.problems
    }
}

struct Reader<'a> {
    variable: Variables<'a>,
    problems: Vec<String>,
}

impl Reader<'_> {
    fn read<T>(&mut self, name: &str, read: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let value = match (self.variable)(name)? {
            Ok(value) if value.trim().is_empty() => return None,
            Ok(value) => read(value.trim()),
            Err(reason) => Err(reason),
        };
        value.map_err(|reason| self.problems.push(format!("{name}: {reason}"))).ok()
    }

    fn set<T>(&mut self, target: &mut T, name: &str, read: impl Fn(&str) -> Result<T, String>) {
        if let Some(value) = self.read(name, read) {
            *target = value;
        }
    }

    fn set_some<T>(&mut self, target: &mut Option<T>, name: &str, read: impl Fn(&str) -> Result<T, String>) {
        *target = self.read(name, read).or(target.take());
    }
}

#[expect(clippy::unnecessary_wraps, reason = "one shape for all that read a variable")]
fn text(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

fn parsed<T: FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("`{text}`: {error}"))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.strip_suffix('s').unwrap_or(text).parse().map_err(|_| format!("`{text}` is no number of seconds"))?;
    Duration::try_from_secs_f64(number).map_err(|error| format!("`{text}`: {error}"))
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    text.parse().map(Duration::from_millis).map_err(|_| format!("`{text}` is no number of milliseconds"))
}

fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(format!("`{text}` is neither true nor false")),
    }
}

fn compression(text: &str) -> Result<bool, String> {
    match text {
        "gzip" => Ok(true),
        "none" => Ok(false),
        _ => Err(format!("`{text}` is neither gzip nor none")),
    }
}

fn protocol(text: &str) -> Result<(), String> {
    if text == "http/protobuf" { Ok(()) } else { Err(format!("`{text}` is not spoken here, only http/protobuf is")) }
}

/// Reads `key=value,key=value` with percent encoding, as OpenTelemetry's variables have it.
fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    for part in text.split(',').filter(|part| !part.trim().is_empty()) {
        // The value may be a secret, so it is not shown.
        let (key, value) = part.split_once('=').ok_or("expected `key=value,key=value`")?;
        let (key, value) = (decoded(key.trim()), decoded(value.trim()));
        if key.is_empty() {
            return Err("a key is empty: expected `key=value,key=value`".to_owned());
        }
        pairs.push((key, value));
    }
    Ok(pairs)
}

/// Decodes `%2C` and its like; what is no such thing stays as it is.
fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let [first, left @ ..] = rest {
        let digits = left.get(..2).filter(|_| *first == b'%').and_then(|digits| str::from_utf8(digits).ok());
        if let Some(byte) = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit())) {
            bytes.extend(u8::from_str_radix(byte, 16));
            rest = &left[2..];
        } else {
            bytes.push(*first);
            rest = left;
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Level;

    fn read(variables: &[(&str, &str)]) -> Result<Config, Vec<String>> {
        let mut config = Config::default();
        let find = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| Ok((*value).to_owned()));
        let problems = config.take_variables(&find);
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }

    #[test]
    fn the_environment_fills_in_what_it_says() {
        let config = read(&[
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=shop,service.version=1.2,team=a%2Cb"),
            ("MONITORING_LOG_LEVEL", "warn"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "5000"),
            ("MONITORING_COLLECTION_INTERVAL", "15"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b"),
            ("WATCHFIRE_AUTO_CAPTURE", "off"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", ""),
        ])
        .unwrap();
        assert_eq!((config.service.as_str(), config.version.as_deref()), ("shop", Some("1.2")));
        assert_eq!(config.resource.get("team").map(String::as_str), Some("a,b"));
        assert_eq!(
            (config.level, config.collection_interval, config.auto_capture),
            (Level::Warning, Duration::from_secs(15), false)
        );
        assert_eq!(config.headers, [("x-key".to_owned(), "a b".to_owned())]);
        assert_eq!(config.address("logs"), "http://collector:4318/v1/logs");
        config.check().unwrap();
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let error =
            read(&[("MONITORING_LOG_LEVEL", "loud"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"), ("WATCHFIRE_MAX_SERIES", "-1")]);
        assert_eq!(
            error.unwrap_err(),
            [
                "OTEL_EXPORTER_OTLP_TIMEOUT: `10s` is no number of milliseconds",
                "MONITORING_LOG_LEVEL: `loud`: `loud` is none of TRACE, DEBUG, INFO, WARNING, ERROR, CRITICAL",
                "WATCHFIRE_MAX_SERIES: `-1`: invalid digit found in string",
            ]
        );
    }
}
