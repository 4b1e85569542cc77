//! What the client takes from `monitoring_config.json`, the specification's file, which the host reads as well.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::environment::{Variables, of_process};
use super::{Config, ConfigError};

impl Config {
    /// Returns the settings of the JSON file at `path`, over which the environment goes. It is the file of the host; of it, the client takes
    /// `logging.level`, `logging.include_stack_trace`, `performance.collection_interval`, `performance.auto_start` (whether the process is
    /// measured) and `error_tracking.auto_capture`.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), watchfire_client::InitError> {
    /// use watchfire_client::{Config, init_with};
    ///
    /// init_with(Config { service: "shop".into(), ..Config::from_file("monitoring_config.json")? })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the file cannot be read, or something in it or in the environment makes no sense: all that does.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        Self::from_file_and(path.as_ref(), &of_process)
    }

    fn from_file_and(path: &Path, variables: Variables<'_>) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        let mut problems = match read(path) {
            Ok(document) => config.take_document(&document),
            Err(problem) => vec![problem],
        };
        for problem in &mut problems {
            *problem = format!("{}: {problem}", path.display());
        }
        problems.extend(config.take_variables(variables));
        if problems.is_empty() { Ok(config) } else { Err(ConfigError { problems }) }
    }

    /// Takes over what `document` says, and returns what is wrong with it. What is the host's alone is the host's to check.
    fn take_document(&mut self, document: &Value) -> Vec<String> {
        let mut problems = Vec::new();
        if !document.is_object() {
            return vec!["expected an object, with `logging`, `performance` and others in it".to_owned()];
        }
        for section in ["logging", "performance", "error_tracking"] {
            if document.get(section).is_some_and(|section| !section.is_object()) {
                problems.push(format!("{section}: expected an object"));
            }
        }
        let mut take = |section: &str, key: &str, set: &mut dyn FnMut(&Value) -> Result<(), String>| {
            if let Some(value) = document.get(section).and_then(|section| section.get(key))
                && let Err(reason) = set(value)
            {
                problems.push(format!("{section}.{key}: {reason}"));
            }
        };
        take("logging", "level", &mut |value| {
            self.level = value.as_str().ok_or_else(|| format!("expected the name of a level, found {value}"))?.parse()?;
            Ok(())
        });
        take("performance", "collection_interval", &mut |value| {
            self.collection_interval = duration(value)?;
            Ok(())
        });
        for (section, key, target) in [
            ("logging", "include_stack_trace", &mut self.include_stack_trace),
            ("performance", "auto_start", &mut self.process_metrics),
            ("error_tracking", "auto_capture", &mut self.auto_capture),
        ] {
            take(section, key, &mut |value| {
                *target = value.as_bool().ok_or_else(|| format!("expected true or false, found {value}"))?;
                Ok(())
            });
        }
        problems
    }
}

fn read(path: &Path) -> Result<Value, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    let is_toml = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("toml"));
    let why = |error: serde_json::Error| {
        if is_toml { "the client reads JSON only; the host reads TOML, too".to_owned() } else { format!("is no JSON: {error}") }
    };
    serde_json::from_str(&text).map_err(why)
}

/// Reads a duration as the host does: whole seconds, or numbers with a unit each, such as `90s` and `1h30m`.
fn duration(value: &Value) -> Result<Duration, String> {
    const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    /// A hundred years, in milliseconds.
    const LONGEST: u64 = 100 * 365 * 86_400_000;
    let wrong = || format!("expected whole seconds, or text such as `90s` or `1h30m`, found {value}");
    let milliseconds = match value {
        Value::Number(number) => number.as_u64().and_then(|seconds| seconds.checked_mul(1_000)),
        Value::String(text) => {
            let (mut sum, mut rest) = (Some(0_u64), text.trim());
            while !rest.is_empty() && sum.is_some() {
                let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
                let (unit, after) = after.split_at(after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len()));
                // A number alone is one of seconds.
                let unit = if unit.is_empty() && number.len() == text.trim().len() { "s" } else { unit };
                let unit = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, milliseconds)| *milliseconds);
                let part = number.parse::<u64>().ok().zip(unit).and_then(|(number, unit)| number.checked_mul(unit));
                sum = sum.zip(part).and_then(|(sum, part)| sum.checked_add(part));
                rest = after;
            }
            sum
        }
        _ => None,
    };
    match milliseconds.filter(|milliseconds| *milliseconds <= LONGEST) {
        Some(0) => Err("expected more than nothing".to_owned()),
        Some(milliseconds) => Ok(Duration::from_millis(milliseconds)),
        None => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::Level;

    fn read(text: &str, variables: &[(&str, &str)]) -> Result<Config, Vec<String>> {
        let file = tempfile::Builder::new().suffix(".json").tempfile().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let find = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| Ok((*value).to_owned()));
        let of_file = |problem: String| problem.replace(&file.path().display().to_string(), "FILE");
        Config::from_file_and(file.path(), &find).map_err(|error| error.problems.into_iter().map(of_file).collect())
    }

    #[test]
    fn the_file_says_something_and_the_environment_more() {
        let text = json!({
            "logging": {"level": "WARNING", "structured_format": true, "include_stack_trace": false, "retention_days": 30},
            "performance": {"collection_interval": 15, "history_size": 1000, "auto_start": false},
            "error_tracking": {"max_events": 10_000, "auto_capture": false},
            "alerting": {"notifications": {"email": {"enabled": false}}},
        })
        .to_string();
        let config = read(&text, &[]).unwrap();
        assert_eq!((config.level, config.collection_interval), (Level::Warning, Duration::from_secs(15)));
        assert!(!config.include_stack_trace && !config.process_metrics && !config.auto_capture);
        let config = read(&text, &[("MONITORING_LOG_LEVEL", "debug"), ("MONITORING_COLLECTION_INTERVAL", "5")]).unwrap();
        assert_eq!((config.level, config.collection_interval), (Level::Debug, Duration::from_secs(5)));
        assert_eq!(read("{}", &[]).unwrap().level, Level::Info);
    }

    #[test]
    fn everything_that_is_wrong_is_said_with_its_place() {
        let text = json!({"logging": {"level": "LOUD", "include_stack_trace": "no"}, "performance": 5, "error_tracking": {"auto_capture": 1}}).to_string();
        assert_eq!(
            read(&text, &[("OTEL_EXPORTER_OTLP_TIMEOUT", "x")]).unwrap_err(),
            [
                "FILE: performance: expected an object",
                "FILE: logging.level: `LOUD` is none of TRACE, DEBUG, INFO, WARNING, ERROR, CRITICAL",
                "FILE: logging.include_stack_trace: expected true or false, found \"no\"",
                "FILE: error_tracking.auto_capture: expected true or false, found 1",
                "OTEL_EXPORTER_OTLP_TIMEOUT: `x` is no number of milliseconds",
            ]
        );
        assert!(read("[logging]", &[]).unwrap_err()[0].starts_with("FILE: is no JSON: "));
        assert_eq!(read("[]", &[]).unwrap_err().len(), 1);
        let none = Config::from_file("/does/not/exist.json").unwrap_err().to_string();
        assert!(none.contains("/does/not/exist.json: cannot be read"), "{none}");
    }

    #[test]
    fn durations_are_written_as_for_the_host() {
        let read = |value: Value| duration(&value).map(|duration| duration.as_millis());
        for (value, milliseconds) in
            [(json!(30), 30_000), (json!("30"), 30_000), (json!("250ms"), 250), (json!("1h30m"), 5_400_000)]
        {
            assert_eq!(read(value.clone()), Ok(milliseconds), "{value}");
        }
        for value in [
            json!(0),
            json!("0s"),
            json!(""),
            json!("5 minutes"),
            json!("1h30"),
            json!(-1),
            json!(1.5),
            json!("99999999999d"),
            json!(null),
        ] {
            assert!(read(value.clone()).is_err(), "{value}");
        }
    }

    proptest! {
        #[test]
        fn no_document_makes_it_panic(text in "[\\[\\]{}\",:a-z0-9 ]{0,60}", section in "logging|performance|error_tracking", key in "level|collection_interval|auto_start") {
            let value: Value = serde_json::from_str(&text).unwrap_or(Value::String(text));
            let _ = Config::default().take_document(&value);
            let _ = Config::default().take_document(&json!({ section: { key: value } }));
        }
    }
}
