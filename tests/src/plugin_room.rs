//! The host's plugins without the rest of the host.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use watchfire::alerts::store::MIGRATIONS;
use watchfire::clock::Clock;
use watchfire::plugins::kv::{KvBackend, KvChanges, KvEntry};
use watchfire::plugins::{AnalyzerInput, Capability, PluginConfig, PluginView, Plugins, PluginsConfig, wire};
use watchfire::store::{Database, StoreError};
use watchfire::telemetry::SelfMetrics;
use watchfire_tasks::components;
use watchfire_types::{LogBatch, LogRecord, Timestamp};

/// A plugin room on a folder of its own, with a clock that only the test moves.
pub struct PluginRoom {
    plugins: Plugins,
    clock: Clock,
    config: PluginsConfig,
    folder: TempDir,
}

impl PluginRoom {
    /// Makes a room with these plugins in its configuration, and looks at them.
    pub async fn start(plugins: impl IntoIterator<Item = (&str, PluginConfig)>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        std::fs::create_dir_all(folder.path().join("plugins")).expect("a temporary folder can be written");
        let clock = Clock::manual(Clock::system().now());
        let components = plugins.into_iter().map(|(name, plugin)| (name.to_owned(), plugin)).collect();
        let config = PluginsConfig { components, ..PluginsConfig::default() };
        let plugins = open(&config, &folder, &clock);
        plugins.look().await.expect("the store works");
        Self { plugins, clock, config, folder }
    }

    /// Makes another room on the same folder: what a restart does.
    pub async fn restart(&mut self) {
        self.plugins = open(&self.config, &self.folder, &self.clock);
        self.plugins.look().await.expect("the store works");
    }

    /// Returns the plugins.
    pub fn plugins(&self) -> &Plugins {
        &self.plugins
    }

    /// Returns the clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Returns plugin `name` as people see it.
    ///
    /// # Panics
    /// If there is none.
    pub fn view(&self, name: &str) -> PluginView {
        self.plugins.view(name).unwrap_or_else(|| panic!("there is no plugin `{name}`"))
    }

    /// Puts a file into the room's folder, and looks.
    pub async fn drop_in(&self, file: &str, bytes: &[u8]) {
        std::fs::write(self.folder.path().join("plugins").join(file), bytes).expect("a temporary folder can be written");
        self.plugins.look().await.expect("the store works");
    }

    /// Returns whether a file lies in the room's folder.
    pub fn has_file(&self, file: &str) -> bool {
        self.folder.path().join("plugins").join(file).exists()
    }

    /// Lets every wait after a failure pass.
    pub fn let_waits_pass(&self) {
        self.clock.advance(Duration::from_secs(120));
    }
}

fn open(config: &PluginsConfig, folder: &TempDir, clock: &Clock) -> Plugins {
    let state = Database::open(&folder.path().join("state.db"), MIGRATIONS).expect("a temporary folder can be written");
    Plugins::new(config.clone(), folder.path(), state, clock.clone(), SelfMetrics::default())
}

/// Returns the settings of component `component`, one of ours or of the tests' own, with its section of the configuration. It has every
/// capability, and its calls may take 300 ms.
pub fn plugin(component: &str, config: Value) -> PluginConfig {
    let path = components::find(component).display().to_string();
    let capabilities = Capability::ALL.into();
    PluginConfig { config, capabilities, timeout: Duration::from_millis(300), ..PluginConfig::new(path) }
}

/// Returns a notification of one alert.
pub fn plugin_notification(now: Timestamp) -> Arc<wire::Notification> {
    let labels = vec![("alertname".to_owned(), "cpu".to_owned())];
    let alert = wire::Alert {
        fingerprint: "f1".to_owned(),
        rule: "cpu".to_owned(),
        state: 0,
        level: 3,
        title: "cpu is firing".to_owned(),
        body: "97 %".to_owned(),
        starts_at: now.as_nanos(),
        ends_at: None,
        value: Some(97.0),
        threshold: Some(90.0),
        labels: labels.clone(),
        annotations: Vec::new(),
        links: Vec::new(),
        extra: Vec::new(),
    };
    Arc::new(wire::Notification {
        id: "n1".to_owned(),
        generation: 1,
        receiver: "operators".to_owned(),
        group_key: "{}".to_owned(),
        group_labels: labels.clone(),
        common_labels: labels,
        common_annotations: Vec::new(),
        status: 0,
        reason: "first".to_owned(),
        title: "cpu is firing".to_owned(),
        alerts: vec![alert],
        omitted: 0,
        superseded: 0,
        first_queued_at: now.as_nanos(),
        previous_receipt: None,
        links: Vec::new(),
        locale: "en".to_owned(),
        time_zone: "UTC".to_owned(),
        extra: Vec::new(),
    })
}

/// Returns a batch of records with these bodies, all of which the analyzer wants; positions begin after `after`.
pub fn analyzer_input(bodies: &[&str], after: u64, now: Timestamp) -> AnalyzerInput {
    let mut batch = LogBatch::default();
    for body in bodies {
        batch.push_record(&LogRecord {
            timestamp: now,
            observed_timestamp: now,
            severity_number: 9,
            body: watchfire_types::Value::Text((*body).to_owned()),
            ..LogRecord::default()
        });
    }
    let count = bodies.len() as u64;
    batch.seq = (after + 1..=after + count).collect();
    AnalyzerInput {
        batch: Arc::new(batch),
        rows: (0..bodies.len()).collect(),
        scanned_from: after,
        scanned_to: after + count,
        watermark: now.as_nanos(),
        dropped: 0,
    }
}

/// What an analyzer keeps, in memory.
#[derive(Default)]
pub struct MemoryKv(BTreeMap<String, KvEntry>);

impl MemoryKv {
    /// Returns it with `changes`.
    pub fn with(mut self, changes: KvChanges) -> Self {
        for (key, entry) in changes {
            match entry {
                Some(entry) => self.0.insert(key, entry),
                None => self.0.remove(&key),
            };
        }
        self
    }
}

impl KvBackend for MemoryKv {
    fn get(&self, key: &str) -> Result<Option<KvEntry>, StoreError> {
        Ok(self.0.get(key).cloned())
    }

    fn keys(&self, prefix: &str) -> Result<Vec<(String, Option<u64>)>, StoreError> {
        let wanted = self.0.iter().filter(|(key, _)| key.starts_with(prefix));
        Ok(wanted.map(|(key, entry)| (key.clone(), entry.expires_at)).collect())
    }

    fn bytes(&self) -> Result<u64, StoreError> {
        Ok(self.0.iter().map(|(key, entry)| (key.len() + entry.value.len()) as u64).sum())
    }
}
