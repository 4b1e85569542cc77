//! What surrounds the process and shapes its configuration: environment variables, who runs it, which log files it may read.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;

/// Log files that most systems have, followed when the configuration names none.
const SYSTEM_LOGS: [&str; 5] =
    ["/var/log/syslog", "/var/log/messages", "/var/log/auth.log", "/var/log/secure", "/var/log/kern.log"];

/// The specification's variables and the keys they set.
pub(super) const SPECIFIED: [(&str, &str); 8] = [
    ("MONITORING_LOG_LEVEL", "logging.level"),
    ("MONITORING_COLLECTION_INTERVAL", "performance.collection_interval"),
    ("MONITORING_EVALUATION_INTERVAL", "alerting.evaluation_interval"),
    ("MONITORING_SMTP_HOST", "alerting.notifications.email.smtp_host"),
    ("MONITORING_SMTP_PORT", "alerting.notifications.email.smtp_port"),
    ("MONITORING_SMTP_USERNAME", "alerting.notifications.email.username"),
    ("MONITORING_SMTP_PASSWORD", "alerting.notifications.email.password"),
    ("MONITORING_FROM_EMAIL", "alerting.notifications.email.from_email"),
];

/// What surrounds the process. A value, so that a test can say what it is. Without `Debug`: variables may hold secrets.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    root: bool,
    system_logs: Vec<PathBuf>,
}

impl Environment {
    /// Returns that of this process.
    #[must_use]
    pub fn of_process() -> Self {
        // A variable that is not UTF-8 is none of ours.
        let variables = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self {
            variables: variables.collect(),
            root: rustix::process::geteuid().is_root(),
            system_logs: SYSTEM_LOGS.iter().map(PathBuf::from).filter(|path| File::open(path).is_ok()).collect(),
        }
    }

    /// Returns one in which only `variables` are set, nobody is root and no log file can be read.
    #[must_use]
    pub fn of<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { variables: variables.collect(), ..Self::default() }
    }

    /// Returns it with these log files to read.
    #[must_use]
    pub fn with_system_logs(self, system_logs: Vec<PathBuf>) -> Self {
        Self { system_logs, ..self }
    }

    /// Returns it as root sees it.
    #[must_use]
    pub fn as_root(self) -> Self {
        Self { root: true, ..self }
    }

    /// Returns variable `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// Returns the log files that are followed when the configuration names none.
    #[must_use]
    pub fn system_logs(&self) -> &[PathBuf] {
        &self.system_logs
    }

    /// Returns the data directory where the configuration names none: systemd's, root's, else the user's (XDG base directories).
    #[must_use]
    pub fn data_dir(&self) -> Option<PathBuf> {
        let set = |name: &str| self.get(name).filter(|value| !value.is_empty());
        if let Some(folders) = set("STATE_DIRECTORY") {
            // systemd separates several by colons.
            return folders.split(':').next().map(PathBuf::from);
        }
        if self.root {
            return Some(PathBuf::from("/var/lib/watchfire"));
        }
        let state = set("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let state = state.or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".local/state")));
        state.map(|state| state.join("watchfire"))
    }

    /// Returns the variables that set keys, as name, keys and value: the specification's first, so that the more precise
    /// `WATCHFIRE_…` wins.
    pub(super) fn settings(&self) -> Vec<(&str, Vec<String>, &str)> {
        let specified = SPECIFIED.iter().filter_map(|(name, path)| {
            // Compose files leave variables empty that nobody set.
            let value = self.get(name).filter(|value| !value.is_empty())?;
            Some((*name, path.split('.').map(str::to_owned).collect(), value))
        });
        let ours = self.variables.iter().filter_map(|(name, value)| {
            if name == "WATCHFIRE_TOKEN" && !value.is_empty() {
                return Some((name.as_str(), vec!["server".to_owned(), "token".to_owned()], value.as_str()));
            }
            // One word after the prefix is no key: WATCHFIRE_URL, and what container platforms make of a service's name.
            let path = name.strip_prefix("WATCHFIRE_").filter(|path| path.contains("__"))?;
            Some((name.as_str(), path.split("__").map(str::to_lowercase).collect(), value.as_str()))
        });
        specified.chain(ours).collect()
    }
}

/// Returns the name of the variable that sets the key at `path`.
pub(super) fn variable_for(path: &str) -> String {
    format!("WATCHFIRE_{}", path.replace('.', "__").to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_directory_is_systemds_then_roots_then_the_users() {
        let path = |environment: Environment| environment.data_dir().map(|path| path.display().to_string());
        let all = [("STATE_DIRECTORY", "/var/lib/a:/var/lib/b"), ("XDG_STATE_HOME", "/x"), ("HOME", "/home/u")];
        assert_eq!(path(Environment::of(all).as_root()).as_deref(), Some("/var/lib/a"));
        assert_eq!(path(Environment::of(all[1..].to_vec()).as_root()).as_deref(), Some("/var/lib/watchfire"));
        assert_eq!(path(Environment::of(all[1..].to_vec())).as_deref(), Some("/x/watchfire"));
        assert_eq!(path(Environment::of(all[2..].to_vec())).as_deref(), Some("/home/u/.local/state/watchfire"));
        assert_eq!(path(Environment::default()), None);
    }

    #[test]
    fn only_names_with_a_section_are_keys() {
        let environment = Environment::of([
            ("WATCHFIRE_ALERTING__COOLDOWN", "60"),
            ("WATCHFIRE_URL", "http://x"),
            ("WATCHFIRE_CRASH_AT", "x"),
            ("WATCHFIRE_SERVICE_PORT", "80"),
            ("MONITORING_LOG_LEVEL", ""),
            ("MONITORING_SMTP_PORT", "25"),
        ]);
        let paths: Vec<String> = environment.settings().iter().map(|(_, keys, _)| keys.join(".")).collect();
        assert_eq!(paths, ["alerting.notifications.email.smtp_port", "alerting.cooldown"]);
    }
}
