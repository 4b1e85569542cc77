//! Finds attempts to guess passwords of SSH servers, in the lines that OpenSSH writes about logins.
//!
//! `parse` reads lines, `engine` counts, `state` is what is saved; here they are put together as a component.

pub mod engine;
pub mod origin;
pub mod parse;
pub mod state;

use std::time::Duration;

use engine::{Detection, Engine, MAX_DISTINCT, MAX_FAILURES, Rule, Settings, Source};
use origin::Network;
use serde::Deserialize;
use watchfire_plugin::{Analysis, Analyzer, Batch, Columns, Descriptor, Error, Finding, Result, Row, Subscription, severity};

/// The analyzer.
pub struct SshBruteForce {
    engine: Engine,
    services: Vec<String>,
}

/// Its section of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Failed logins from one address, within the window, that are too many.
    pub threshold: usize,
    /// How long a failed login counts, in seconds.
    pub window_seconds: u64,
    /// Failed logins of one user, within the window, that are too many
    pub user_threshold: usize,
    /// if they come from so many addresses.
    pub user_addresses: usize,
    /// Users that one address may not try within the window.
    pub spray_users: usize,
    /// Failed logins from one address after which a successful one is alarming.
    pub success_after: u64,
    /// Whether keys that do not fit count as failures.
    pub count_keys: bool,
    /// Addresses, networks and names that are trusted.
    pub ignore: Vec<String>,
    /// Services whose records are looked at; all if empty.
    pub services: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            threshold: 5,
            window_seconds: 600,
            user_threshold: 10,
            user_addresses: 3,
            spray_users: 10,
            success_after: 5,
            count_keys: false,
            ignore: Vec::new(),
            services: Vec::new(),
        }
    }
}

/// The same for the host, which checks it, and for people.
const SCHEMA: &str = r#"{
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "threshold": {"type": "integer", "minimum": 2, "maximum": 100, "default": 5,
      "description": "Failed logins from one address, within the window, that are too many."},
    "window_seconds": {"type": "integer", "minimum": 10, "maximum": 86400, "default": 600,
      "description": "How long a failed login counts."},
    "user_threshold": {"type": "integer", "minimum": 2, "maximum": 100, "default": 10,
      "description": "Failed logins of one user, within the window, that are too many if they come from several addresses."},
    "user_addresses": {"type": "integer", "minimum": 2, "maximum": 64, "default": 3,
      "description": "From how many addresses."},
    "spray_users": {"type": "integer", "minimum": 2, "maximum": 64, "default": 10,
      "description": "Users that one address may not try within the window."},
    "success_after": {"type": "integer", "minimum": 1, "maximum": 1000000, "default": 5,
      "description": "Failed logins from one address after which a successful one, with a password, is critical."},
    "count_keys": {"type": "boolean", "default": false,
      "description": "Whether keys that do not fit count as failures: a client with many keys fails with most of them."},
    "ignore": {"type": "array", "items": {"type": "string"}, "default": [],
      "description": "Addresses, networks such as 10.0.0.0/8, and names that are trusted."},
    "services": {"type": "array", "items": {"type": "string"}, "default": [],
      "description": "Services whose records are looked at; all if empty."}
  }
}"#;

impl Config {
    /// Returns when it is too many.
    ///
    /// # Errors
    /// Names the key that makes no sense.
    pub fn settings(&self) -> Result<Settings> {
        let within = |key: &str, value: u64, least: u64, most: u64| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            Err(Error::configuration(format!("config.{key}: expected {least} to {most}, found {value}")))
        };
        within("threshold", self.threshold as u64, 2, MAX_FAILURES as u64)?;
        within("window_seconds", self.window_seconds, 10, 86_400)?;
        within("user_threshold", self.user_threshold as u64, 2, MAX_FAILURES as u64)?;
        within("user_addresses", self.user_addresses as u64, 2, MAX_DISTINCT as u64)?;
        within("spray_users", self.spray_users as u64, 2, MAX_DISTINCT as u64)?;
        within("success_after", self.success_after, 1, 1_000_000)?;
        let ignore = self.ignore.iter().zip(0..).map(|(text, index)| {
            Network::read(text).map_err(|problem| Error::configuration(format!("config.ignore[{index}]: {problem}")))
        });
        Ok(Settings {
            threshold: self.threshold,
            window: self.window_seconds * 1_000_000_000,
            user_threshold: self.user_threshold,
            user_addresses: self.user_addresses,
            spray_users: self.spray_users,
            success_after: self.success_after,
            count_keys: self.count_keys,
            ignore: ignore.collect::<Result<_>>()?,
        })
    }
}

impl Analyzer for SshBruteForce {
    type Config = Config;

    fn descriptor() -> Descriptor {
        let wanted = Subscription::to(Columns::BODY | Columns::RESOURCES)
            .any_substring(parse::SUBSTRINGS)
            .batches(4096, Duration::from_millis(500))
            .tick_every(Duration::from_secs(10));
        Descriptor::new("ssh-brute-force", env!("CARGO_PKG_VERSION"), "Finds attempts to guess passwords of SSH servers")
            .config_schema(SCHEMA)
            .state_version(state::VERSION)
            .subscription(wanted)
    }

    fn init(config: Config) -> Result<Self> {
        Ok(Self { engine: Engine::new(config.settings()?), services: config.services })
    }

    fn analyze(&mut self, batch: &Batch) -> Result<Analysis> {
        let wanted = |row: &Row<'_>| self.services.is_empty() || self.services.iter().any(|service| service == row.service());
        let mut events: Vec<_> =
            batch.rows().filter(wanted).filter_map(|row| Some((row.time(), row.seq(), row, parse::parse(row.body())?))).collect();
        // Files of several machines arrive side by side: a success should not be seen before the failures that led to it.
        events.sort_by_key(|(time, seq, ..)| (*time, *seq));
        let mut found = Vec::new();
        for (time, seq, row, event) in &events {
            let machine = row.resource("host.name").map_or("", |value| value.text);
            self.engine.observe(event, Source { seq: *seq, time: *time, machine }, &mut found);
        }
        Ok(found.iter().map(finding).collect())
    }

    fn tick(&mut self, _now: u64, watermark: u64) -> Result<Analysis> {
        Ok(self.engine.expire(watermark).iter().map(finding).collect())
    }

    fn save(&mut self) -> Result<Vec<u8>> {
        Ok(state::save(&self.engine))
    }

    fn restore(&mut self, from_version: u32, data: &[u8]) -> Result<()> {
        self.engine = state::restore(self.engine.settings.clone(), from_version, data).map_err(Error::input)?;
        Ok(())
    }

    fn self_test(&mut self) -> Result<String> {
        let line = "Nov 24 00:10:41 host sshd[1]: Failed password for invalid user admin from 203.0.113.7 port 40022 ssh2";
        parse::parse(line).ok_or_else(|| Error::internal("a line of OpenSSH is not understood"))?;
        let settings = &self.engine.settings;
        let (origins, users) = self.engine.size();
        Ok(format!(
            "{} failed logins from one address within {} s are too many; {origins} addresses and {users} users are remembered",
            settings.threshold,
            settings.window / 1_000_000_000,
        ))
    }
}

/// Returns what people read.
fn finding(found: &Detection) -> Finding {
    let address = found.origin.as_ref().map(ToString::to_string).unwrap_or_default();
    let user = shown(&found.user);
    let (failures, distinct) = (found.failures, found.distinct);
    let seconds = found.times.1.saturating_sub(found.times.0) / 1_000_000_000;
    let on = if found.machine.is_empty() { String::new() } else { format!(" on {}", found.machine) };
    let (rule, severity, title, message, key) = match found.rule {
        Rule::BruteForce => (
            "brute_force",
            severity::WARN,
            format!("SSH brute force from {address}"),
            match distinct {
                0 | 1 => format!("{failures} failed logins{on} from {address} within {seconds} s"),
                _ => format!("{failures} failed logins{on} from {address} within {seconds} s, for {distinct} different users"),
            },
            address.clone(),
        ),
        Rule::PasswordSpraying => (
            "password_spraying",
            severity::WARN,
            format!("SSH password spraying from {address}"),
            format!("{address} tried {distinct} or more different users{on}, with {failures} failed logins within {seconds} s"),
            address.clone(),
        ),
        Rule::Distributed => (
            "distributed",
            severity::WARN,
            format!("Distributed SSH brute force against {user}"),
            format!("{failures} failed logins{on} for {user} from {distinct} or more addresses within {seconds} s"),
            user.clone(),
        ),
        Rule::SuccessAfterFailures => (
            "success_after_failures",
            severity::FATAL,
            format!("SSH login of {user} from {address} after {failures} failures"),
            format!(
                "{address} failed to log in {failures} times{on} and then got in as {user} with a password: it was perhaps guessed"
            ),
            format!("{address} {user}"),
        ),
    };
    let mut finding = Finding::new(rule, severity, title).message(message).key(format!("{rule}:{key}")).count(failures);
    (finding.first_seq, finding.last_seq) = found.seqs;
    (finding.first_time, finding.last_time) = found.times;
    finding.sample_seqs.clone_from(&found.samples);
    let labels = [("address", &address), ("user", &user), ("host", &found.machine)];
    finding.labels =
        labels.into_iter().filter(|(_, value)| !value.is_empty()).map(|(key, value)| (key.to_owned(), value.clone())).collect();
    finding
}

/// Returns a name that somebody typed as it may be shown: without what moves a terminal's cursor.
fn shown(user: &str) -> String {
    user.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}

watchfire_plugin::export_analyzer!(SshBruteForce);
