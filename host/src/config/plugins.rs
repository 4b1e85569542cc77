//! `plugins`: from what is written to what each plugin may do.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use url::Url;

use super::check::Checker;
use super::raw_plugins::{RawPlugin, RawPlugins};
use super::secrets;
use crate::plugins::{Compiler, PluginConfig, PluginsConfig};

/// Bounds of a plugin's memory, in bytes, and of its calls.
const LEAST_MEMORY: u64 = 1 << 20;
const MOST_MEMORY: u64 = 1 << 30;
const LEAST_TIMEOUT: Duration = Duration::from_millis(10);
const MOST_TIMEOUT: Duration = Duration::from_secs(60);

impl Checker<'_> {
    pub(super) fn plugins(&mut self, raw: RawPlugins) -> PluginsConfig {
        for folder in raw.directories.iter().filter(|folder| !folder.is_dir()) {
            self.warnings.push(format!("plugins.directories: there is no folder `{}`", folder.display()));
        }
        let components = raw.components.into_iter().map(|(name, raw)| {
            let plugin = self.plugin(&name, raw);
            (name, plugin)
        });
        let components = components.collect();
        // What `cargo up` has built comes last, so that a folder of the operator's own wins.
        let built = self.environment.get("WATCHFIRE_COMPONENTS").filter(|folder| !folder.is_empty()).map(PathBuf::from);
        let directories = raw.directories.into_iter().chain(built);
        let directories = directories.map(|folder| std::path::absolute(&folder).unwrap_or(folder)).collect();
        PluginsConfig { directories, components, compiler: Compiler::default() }
    }

    fn plugin(&mut self, name: &str, raw: RawPlugin) -> PluginConfig {
        let path = format!("plugins.components.{name}");
        let well_formed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > 100 || !name.chars().all(well_formed) {
            self.fault(path.as_str(), "expected a name of at most 100 letters, digits, `-`, `_` and `.`");
        }
        for (index, pattern) in raw.outbound.iter().enumerate() {
            if let Err(reason) = check_pattern(pattern) {
                self.fault(format!("{path}.outbound[{index}]"), reason);
            }
        }
        if !(LEAST_MEMORY..=MOST_MEMORY).contains(&raw.memory_bytes) {
            self.fault(format!("{path}.memory_bytes"), format!("expected {LEAST_MEMORY} to {MOST_MEMORY}"));
        }
        if !(LEAST_TIMEOUT..=MOST_TIMEOUT).contains(&raw.timeout.0) {
            self.fault(format!("{path}.timeout"), "expected a duration from 10ms to 1m");
        }
        let mut values = Vec::new();
        for (secret, value) in raw.secrets {
            let at = format!("{path}.secrets.{secret}");
            if raw.secret_files.contains_key(&secret) {
                self.fault(at.as_str(), "expected it either here or under `secret_files`, found both");
            }
            values.extend(secrets::read(self, &at, Some(value), None).map(|value| (secret, value)));
        }
        for (secret, file) in raw.secret_files {
            let at = format!("{path}.secret_files.{secret}");
            let value = secrets::read(self, at.trim_end_matches("_file"), None, Some(&file));
            values.extend(value.map(|value| (secret, value)));
        }
        PluginConfig {
            component: raw.component.unwrap_or_else(|| name.to_owned()),
            enabled: raw.enabled,
            capabilities: raw.capabilities.into_iter().collect(),
            outbound: raw.outbound,
            private_addresses: raw.private_addresses,
            config: Value::Object(raw.config),
            secrets: values,
            on_failure: raw.on_failure,
            memory_bytes: usize::try_from(raw.memory_bytes).unwrap_or(usize::MAX),
            timeout: raw.timeout.0,
        }
    }
}

/// Says what is wrong with a pattern of where a plugin may send.
pub(crate) fn check_pattern(pattern: &str) -> Result<(), String> {
    let plain = pattern.replacen("://*.", "://any.", 1);
    let origin = Url::parse(&plain).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let whole = origin.filter(|url| {
        !plain.contains('*') && url.path() == "/" && url.query().is_none() && url.username().is_empty() && !plain.ends_with('/')
    });
    whole.map(drop).ok_or_else(|| {
        format!("expected `https://host`, `https://host:port` or `https://*.host`, without a path, found `{pattern}`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_scheme_and_host() {
        for good in ["https://oapi.dingtalk.com", "http://127.0.0.1:8080", "https://*.example.com", "https://[::1]:9"] {
            assert_eq!(check_pattern(good), Ok(()), "{good}");
        }
        for bad in ["oapi.dingtalk.com", "ftp://a", "https://a/b", "https://a/", "https://*", "https://a.*.b", "https://u@a", "*"] {
            assert!(check_pattern(bad).is_err(), "{bad}");
        }
    }
}
