//! All plugins of the host: found in folders and in the configuration, loaded, granted, switched on and off.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::watch;
use watchfire_types::Timestamp;

use super::cache::{self, Cache};
use super::engine::Runtime;
use super::grants;
use super::guest::Given;
use super::instance::{Linkers, Machinery};
use super::load::{self, Loaded};
use super::log::PluginLog;
use super::plugin::Plugin;
use super::secrets::SecretBox;
use super::series::PluginSeries;
use super::store::{self, Decision, Grant};
use super::supervise::Supervisor;
use super::threads::Threads;
use super::types::{Capabilities, Capability, Kind, PluginConfig, PluginState, PluginsConfig};
use crate::clock::Clock;
use crate::nearest::did_you_mean;
use crate::store::{Database, StoreError};
use crate::telemetry::SelfMetrics;

/// All plugins. Cheap to clone.
#[derive(Clone)]
pub struct Plugins(Arc<Inner>);

struct Inner {
    config: PluginsConfig,
    /// Our own folder first: only in it is anything deleted.
    folders: Vec<PathBuf>,
    state: Database,
    clock: Clock,
    metrics: SelfMetrics,
    threads: Threads,
    cache: Cache,
    handle: Handle,
    /// Made when the first component is looked at: a host without plugins pays nothing.
    machinery: Mutex<Option<Machinery>>,
    entries: RwLock<BTreeMap<String, Entry>>,
    /// One look at the folders at a time.
    looking: tokio::sync::Mutex<()>,
    changed: watch::Sender<u64>,
}

/// One plugin, whether it runs or not.
#[derive(Clone)]
struct Entry {
    file: Option<File>,
    /// Whether it stands in the configuration.
    configured: bool,
    settings: PluginConfig,
    decision: Decision,
    state: PluginState,
    /// Why it is in that state, and what to do.
    reason: String,
    loaded: Option<Loaded>,
    plugin: Option<Arc<Plugin>>,
    log: PluginLog,
    supervisor: Arc<Supervisor>,
    compiled_in: Option<Duration>,
}

/// A file as it was when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct File {
    path: PathBuf,
    size: u64,
    modified: Option<SystemTime>,
    hash: String,
}

/// A plugin as people see it.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PluginView {
    /// Its name.
    pub name: String,
    /// `channel`, `analyzer` or `parser`; nothing if that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Where it stands.
    pub state: PluginState,
    /// Why, and what to do.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub reason: String,
    /// Whether it stands in the configuration file, which then decides about its grants.
    pub configured: bool,
    /// File of the component.
    pub file: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// SHA-256 of the component.
    pub sha256: String,
    /// Version that it gives itself.
    pub version: String,
    /// What it does, in its own words.
    pub summary: String,
    /// All interfaces it imports.
    pub imports: Vec<String>,
    /// What it asks for.
    pub asks: Grant,
    /// What it was granted.
    pub grants: Grant,
    /// Names of the secrets it was given.
    pub secrets: Vec<String>,
    /// Calls since the start.
    pub calls: u64,
    /// Failures that cost its memory: traps, calls that ran too long, answers that cannot be used.
    pub failures: u64,
    /// Seconds spent in calls.
    pub busy_seconds: f64,
    /// Most memory it took, in bytes.
    pub memory_bytes: u64,
    /// What went wrong last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<String>,
    /// When that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure_at: Option<Timestamp>,
    /// Seconds that compiling took, if it was compiled at this start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compiled_seconds: Option<f64>,
}

/// Why something cannot be done to a plugin.
#[derive(Debug, thiserror::Error)]
pub enum RoomError {
    /// There is none of that name.
    #[error("no plugin is called `{name}`{hint}")]
    Unknown {
        /// As asked.
        name: String,
        /// What was perhaps meant.
        hint: String,
    },
    /// It is not for the caller to do.
    #[error("{0}")]
    Refused(String),
    /// The store's.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Plugins {
    /// Returns the room with nothing in it yet; [`Self::look`] fills it.
    #[must_use]
    pub fn new(config: PluginsConfig, data: &Path, state: Database, clock: Clock, metrics: SelfMetrics) -> Self {
        let mut folders = vec![data.join("plugins")];
        folders.extend(config.directories.iter().cloned());
        let cache = Cache::new(data.join("compiled"), config.compiler.clone());
        Self(Arc::new(Inner {
            config,
            folders,
            state,
            clock,
            metrics,
            threads: Threads::default(),
            cache,
            handle: Handle::current(),
            machinery: Mutex::new(None),
            entries: RwLock::default(),
            looking: tokio::sync::Mutex::new(()),
            changed: watch::Sender::new(0),
        }))
    }

    /// Returns a receiver that changes when plugins come, go or change.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// Returns plugin `name`, if it can run.
    ///
    /// # Errors
    /// Says why it cannot, and what to do.
    pub fn get(&self, name: &str) -> Result<Arc<Plugin>, String> {
        let entries = self.0.entries.read();
        let Some(entry) = entries.get(name) else {
            return Err(format!("no plugin is called `{name}`{}", did_you_mean(name, entries.keys().map(String::as_str))));
        };
        entry.plugin.clone().ok_or_else(|| format!("plugin `{name}` is {}: {}", entry.state, entry.reason))
    }

    /// Returns all analyzers that can run.
    #[must_use]
    pub fn analyzers(&self) -> Vec<Arc<Plugin>> {
        let entries = self.0.entries.read();
        let plugins = entries.values().filter_map(|entry| entry.plugin.clone());
        plugins.filter(|plugin| plugin.kind() == Kind::Analyzer).collect()
    }

    /// Looks at the folders and the configuration: loads what is new or changed, forgets what is gone.
    ///
    /// # Errors
    /// The store's.
    pub async fn look(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.0.looking.lock().await;
        let decisions = self.0.state.read(store::decisions).await?;
        let room = self.clone();
        let changed = self.0.threads.run(move || room.look_now(&decisions)).await.unwrap_or(false);
        // The first look is news even if there is nothing: whoever waits for a plugin need not wait longer.
        if changed || *self.0.changed.borrow() == 0 {
            self.0.changed.send_modify(|count| *count += 1);
        }
        Ok(())
    }

    /// Switches plugin `name` on. With `grant` it gets what stands there; without, what it had.
    ///
    /// # Errors
    /// If there is no such plugin, or the configuration decides.
    pub async fn enable(&self, name: &str, grant: Option<Grant>) -> Result<PluginView, RoomError> {
        let entry = self.entry(name)?;
        if entry.configured && grant.is_some() {
            return Err(RoomError::Refused(format!(
                "`{name}` stands in the configuration: change its grants there, under plugins.components.{name}"
            )));
        }
        let grant = grant.or(entry.decision.grant);
        if !entry.configured && grant.is_none() {
            return Err(RoomError::Refused(format!(
                "nothing has been granted to `{name}`: say what it may have, `watchfire plugin enable {name} --grant-all` for all it asks for"
            )));
        }
        self.decide(name, Decision { enabled: Some(true), grant }).await
    }

    /// Switches plugin `name` off. What it keeps stays.
    ///
    /// # Errors
    /// If there is no such plugin.
    pub async fn disable(&self, name: &str) -> Result<PluginView, RoomError> {
        let entry = self.entry(name)?;
        self.decide(name, Decision { enabled: Some(false), grant: entry.decision.grant }).await
    }

    async fn decide(&self, name: &str, decision: Decision) -> Result<PluginView, RoomError> {
        let (owned, now) = (name.to_owned(), self.0.clock.now());
        self.0.state.write(move |transaction| store::decide(transaction, &owned, &decision, now)).await?;
        self.look().await?;
        self.view(name).ok_or_else(|| self.unknown(name))
    }

    /// Deletes the file of plugin `name` from the host's own folder, and forgets what was decided about it.
    ///
    /// # Errors
    /// If it stands in the configuration, or its file lies elsewhere: then it is not ours to delete.
    pub async fn remove(&self, name: &str) -> Result<(), RoomError> {
        let entry = self.entry(name)?;
        if entry.configured {
            return Err(RoomError::Refused(format!(
                "`{name}` stands in the configuration: take it out there, under plugins.components.{name}, and restart; `watchfire plugin disable {name}` switches it off now"
            )));
        }
        if let Some(file) = &entry.file {
            if !file.path.starts_with(&self.0.folders[0]) {
                return Err(RoomError::Refused(format!(
                    "`{}` does not lie in the host's own folder: delete it there; `watchfire plugin disable {name}` switches it off now",
                    file.path.display()
                )));
            }
            let path = file.path.clone();
            std::fs::remove_file(&path).map_err(|source| StoreError::Io { path, source })?;
        }
        let owned = name.to_owned();
        self.0.state.write(move |transaction| store::forget(transaction, &owned)).await?;
        self.look().await?;
        Ok(())
    }

    /// Returns what a person should read after trying plugin `name`.
    ///
    /// # Errors
    /// If there is no such plugin. What keeps it from working is in the inner result.
    pub async fn self_test(&self, name: &str) -> Result<Result<String, String>, RoomError> {
        self.entry(name)?;
        let plugin = match self.get(name) {
            Ok(plugin) => plugin,
            Err(problem) => return Ok(Err(problem)),
        };
        let now = self.0.clock.now();
        let tested = self.0.threads.run(move || plugin.self_test(now)).await;
        Ok(tested.map_or_else(
            || Err("the host itself failed; its log says how".to_owned()),
            |result| result.map_err(|error| error.to_string()),
        ))
    }

    /// Returns all plugins as people see them, by name.
    #[must_use]
    pub fn views(&self) -> Vec<PluginView> {
        let now = self.0.clock.now();
        self.0.entries.read().iter().map(|(name, entry)| entry.view(name, now)).collect()
    }

    /// Returns plugin `name` as people see it.
    #[must_use]
    pub fn view(&self, name: &str) -> Option<PluginView> {
        let now = self.0.clock.now();
        self.0.entries.read().get(name).map(|entry| entry.view(name, now))
    }

    /// Returns the last lines of plugin `name`.
    #[must_use]
    pub fn lines(&self, name: &str) -> Option<Vec<super::log::PluginLine>> {
        self.0.entries.read().get(name).map(|entry| entry.log.lines())
    }

    fn entry(&self, name: &str) -> Result<Entry, RoomError> {
        self.0.entries.read().get(name).cloned().ok_or_else(|| self.unknown(name))
    }

    fn unknown(&self, name: &str) -> RoomError {
        let entries = self.0.entries.read();
        RoomError::Unknown { name: name.to_owned(), hint: did_you_mean(name, entries.keys().map(String::as_str)) }
    }

    /// Does the work of [`Self::look`] on this thread; returns whether anything changed.
    fn look_now(&self, decisions: &BTreeMap<String, Decision>) -> bool {
        let mut wanted: BTreeMap<String, (PluginConfig, Option<PathBuf>, bool)> = BTreeMap::new();
        let files = self.files();
        let mut taken: BTreeSet<PathBuf> = BTreeSet::new();
        for (name, settings) in &self.0.config.components {
            let path = find(&settings.component, &files);
            taken.extend(path.clone());
            wanted.insert(name.clone(), (settings.clone(), path, true));
        }
        for path in files.into_iter().filter(|path| !taken.contains(path)) {
            let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            // The first folder wins.
            wanted.entry(stem).or_insert_with(|| (PluginConfig::new(path.display().to_string()), Some(path), false));
        }
        let mut changed = false;
        let gone: Vec<String> = self.0.entries.read().keys().filter(|name| !wanted.contains_key(*name)).cloned().collect();
        for name in gone {
            self.0.entries.write().remove(&name);
            changed = true;
        }
        for (name, (settings, path, configured)) in wanted {
            let decision = decisions.get(&name).cloned().unwrap_or_default();
            changed |= self.look_at(&name, settings, path.as_deref(), configured, decision);
        }
        let entries = self.0.entries.read();
        let hashes: Vec<String> = entries.values().filter_map(|entry| Some(entry.file.as_ref()?.hash.clone())).collect();
        drop(entries);
        self.0.cache.tidy(&hashes);
        changed
    }

    /// Loads one plugin, unless nothing about it has changed.
    fn look_at(&self, name: &str, mut settings: PluginConfig, path: Option<&Path>, configured: bool, decision: Decision) -> bool {
        if !configured && let Some(grant) = &decision.grant {
            settings.capabilities = grant.capabilities.iter().copied().collect();
            settings.outbound.clone_from(&grant.outbound);
            if grant.config.is_object() {
                settings.config.clone_from(&grant.config);
            }
        }
        let known = self.0.entries.read().get(name).cloned();
        let stat = path.and_then(|path| std::fs::metadata(path).ok());
        let same_file = |file: &File, stat: &std::fs::Metadata| {
            Some(file.path.as_path()) == path && file.size == stat.len() && file.modified == stat.modified().ok()
        };
        if let Some(known) = &known
            && known.state != PluginState::Loading
            && known.decision == decision
            && known.settings == settings
            && match (&known.file, &stat) {
                (Some(file), Some(stat)) => same_file(file, stat),
                (None, None) => true,
                _ => false,
            }
        {
            return false;
        }
        let dropped = self.0.metrics.counter("watchfire_plugin_lines_dropped_total", &[("plugin", name)]);
        let (log, supervisor) = match &known {
            Some(known) => (known.log.clone(), Arc::clone(&known.supervisor)),
            None => (PluginLog::new(name, self.0.clock.clone(), dropped), Arc::new(Supervisor::new(name, &self.0.metrics))),
        };
        let mut entry = Entry {
            file: None,
            configured,
            settings,
            decision,
            state: PluginState::Loading,
            reason: "it is being compiled and looked at".to_owned(),
            loaded: None,
            plugin: None,
            log,
            supervisor,
            compiled_in: None,
        };
        // What ran goes on running until the new one can.
        entry.plugin = known.as_ref().and_then(|known| known.plugin.clone());
        entry.loaded = known.as_ref().and_then(|known| known.loaded.clone());
        self.0.entries.write().insert(name.to_owned(), entry.clone());
        entry.plugin = None;
        if let Err((state, reason)) = self.bring_up(name, &mut entry, path) {
            if state == PluginState::Failed {
                tracing::error!(target: super::LOG_TARGET, plugin = name, "plugin `{name}` does not run: {reason}");
            }
            entry.state = state;
            entry.reason = reason;
            // A file that was replaced by one which cannot run does not stop what ran.
            let before = known.filter(|known| known.decision == entry.decision && known.settings == entry.settings);
            if let Some(plugin) = before.and_then(|known| known.plugin) {
                entry.plugin = Some(plugin);
                entry.reason.push_str("; the component that was there before runs on until the next start");
            }
        }
        self.0.entries.write().insert(name.to_owned(), entry);
        true
    }

    /// Reads, compiles, inspects, checks grants and configuration, tries it once.
    fn bring_up(&self, name: &str, entry: &mut Entry, path: Option<&Path>) -> Result<(), (PluginState, String)> {
        let failed = |reason: String| (PluginState::Failed, reason);
        let path = path.ok_or_else(|| {
            let folders: Vec<String> = self.0.folders.iter().map(|folder| format!("`{}`", folder.display())).collect();
            failed(format!("there is no component `{}` in {}", entry.settings.component, folders.join(", ")))
        })?;
        let (bytes, file) = read(path).map_err(failed)?;
        let hash = file.hash.clone();
        entry.file = Some(file);
        load::refuse_foreign(&bytes).map_err(failed)?;
        let machinery = self.machinery().map_err(failed)?;
        let began = std::time::Instant::now();
        let (component, compiled) =
            self.0.cache.load(&machinery.runtime, &bytes, &hash).map_err(|error| failed(error.to_string()))?;
        entry.compiled_in = compiled.then(|| began.elapsed());
        let given = self.given(name, entry);
        let series = given.series.clone();
        let refusals = given.refusals.clone();
        let loaded = load::inspect(&machinery, &component, given).map_err(failed)?;
        entry.loaded = Some(loaded.clone());
        let linked = loaded.linked.clone();
        if !(entry.configured || entry.decision.grant.is_some()) {
            return Err((
                PluginState::NotGranted,
                format!("nobody has granted what it asks for: `watchfire plugin enable {name} --grant-all` does"),
            ));
        }
        if !entry.decision.enabled.unwrap_or(entry.settings.enabled) {
            let by = if entry.decision.enabled.is_some() { "at run time" } else { "in the configuration" };
            return Err((
                PluginState::Disabled,
                format!("it was switched off {by}: `watchfire plugin enable {name}` switches it on"),
            ));
        }
        let missing: Vec<&str> = grants::missing(&loaded.asks, &entry.settings.capabilities).iter().map(|one| one.name()).collect();
        if !missing.is_empty() {
            let what = missing.join("`, `");
            let how = if entry.configured {
                format!("name it under plugins.components.{name}.capabilities")
            } else {
                format!("`watchfire plugin enable {name} --grant-all` grants it")
            };
            return Err((PluginState::NotGranted, format!("it asks for `{what}`, which is not granted: {how}")));
        }
        grants::check_config(&loaded.descriptor, &entry.settings).map_err(failed)?;
        let (policy, secrets) = grants::policy(&loaded.descriptor, &entry.settings).map_err(failed)?;
        if policy.outbound.is_empty() && !grants::asked(&loaded.descriptor, &entry.settings).is_empty() {
            let what = grants::asked(&loaded.descriptor, &entry.settings).join("`, `");
            return Err((
                PluginState::NotGranted,
                format!(
                    "it asks to reach `{what}`: grant that under plugins.components.{name}.outbound, or with `watchfire plugin enable {name} --grant-all`"
                ),
            ));
        }
        let capabilities: Capabilities = entry
            .settings
            .capabilities
            .iter()
            .copied()
            .chain(Capability::ALL.into_iter().filter(|capability| capability.is_harmless()))
            .collect();
        let plugin = Plugin {
            name: name.to_owned(),
            kind: loaded.kind,
            descriptor: loaded.descriptor.clone(),
            settings: entry.settings.clone(),
            capabilities: Arc::new(capabilities),
            policy,
            secrets: Arc::new(secrets),
            linked,
            machinery,
            threads: self.0.threads.clone(),
            log: entry.log.clone(),
            series,
            refusals,
            supervisor: Arc::clone(&entry.supervisor),
        };
        plugin.try_once(self.0.clock.now()).map_err(|error| failed(error.to_string()))?;
        entry.plugin = Some(Arc::new(plugin));
        entry.state = PluginState::Ready;
        entry.reason = String::new();
        tracing::info!(target: super::LOG_TARGET, plugin = name, "plugin `{name}` is ready");
        Ok(())
    }

    fn machinery(&self) -> Result<Machinery, String> {
        let mut machinery = self.0.machinery.lock();
        if let Some(machinery) = &*machinery {
            return Ok(machinery.clone());
        }
        let problem = |error: wasmtime::Error| format!("this machine cannot run components: {error:#}");
        let runtime = Runtime::new().map_err(problem)?;
        let linkers = Arc::new(Linkers::new(&runtime).map_err(problem)?);
        let made = Machinery { runtime, linkers, handle: self.0.handle.clone() };
        *machinery = Some(made.clone());
        Ok(made)
    }

    fn given(&self, name: &str, entry: &Entry) -> Given {
        let labels = [("plugin", name)];
        let dropped = self.0.metrics.counter("watchfire_plugin_series_dropped_total", &labels);
        Given {
            log: entry.log.clone(),
            series: PluginSeries::new(name, self.0.metrics.clone(), dropped),
            capabilities: Arc::default(),
            config: Arc::new(entry.settings.config.clone()),
            secrets: None,
            refusals: self.0.metrics.counter("watchfire_plugin_refusals_total", &labels),
            memory_bytes: entry.settings.memory_bytes,
        }
    }

    /// Returns the components in all folders, in their order and sorted by name in each.
    fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for folder in &self.0.folders {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
            let mut found: Vec<PathBuf> =
                entries.filter(|path| path.extension().is_some_and(|extension| extension == "wasm")).collect();
            found.sort();
            files.extend(found);
        }
        files
    }
}

/// Returns the file that `component` names: a path, or one of `files` by its name.
fn find(component: &str, files: &[PathBuf]) -> Option<PathBuf> {
    let path = Path::new(component);
    if path.components().count() > 1 {
        return path.is_file().then(|| path.to_owned());
    }
    let named = |file: &&PathBuf| file.file_name() == path.file_name() || file.file_stem() == path.file_name();
    files.iter().find(named).cloned()
}

impl Plugin {
    /// Makes a store of it and throws it away: what is wrong with its configuration is said now.
    fn try_once(&self, now: Timestamp) -> Result<(), super::types::CallError> {
        self.set_up(None, &SecretBox::new(Arc::clone(&self.secrets)), super::plugin::SETUP_LIMIT, now).map(drop)
    }
}

fn read(path: &Path) -> Result<(Vec<u8>, File), String> {
    let cannot = |error: std::io::Error| format!("cannot read `{}`: {error}", path.display());
    let stat = std::fs::metadata(path).map_err(cannot)?;
    if stat.len() > load::MAX_COMPONENT_BYTES {
        let (size, most) = (stat.len() >> 20, load::MAX_COMPONENT_BYTES >> 20);
        return Err(format!("`{}` has {size} MiB, and a component at most {most}", path.display()));
    }
    let bytes = std::fs::read(path).map_err(cannot)?;
    let hash = cache::hash(&bytes);
    Ok((bytes, File { path: path.to_owned(), size: stat.len(), modified: stat.modified().ok(), hash }))
}

impl Entry {
    fn view(&self, name: &str, now: Timestamp) -> PluginView {
        let record = self.supervisor.record();
        let descriptor = self.loaded.as_ref().map(|loaded| loaded.descriptor.clone()).unwrap_or_default();
        let waiting = record.waits_until.filter(|until| self.state == PluginState::Ready && now < *until);
        let (state, reason) = match (waiting, &record.last_failure) {
            (Some(until), Some((_, failure))) => (PluginState::Waiting, format!("{failure}; it is called again at {until}")),
            _ => (self.state, self.reason.clone()),
        };
        let asks = self.loaded.as_ref().map(|loaded| loaded.asks.clone()).unwrap_or_default();
        PluginView {
            name: name.to_owned(),
            kind: self.loaded.as_ref().map(|loaded| loaded.kind),
            state,
            reason,
            configured: self.configured,
            file: self.file.as_ref().map_or_else(|| self.settings.component.clone(), |file| file.path.display().to_string()),
            size_bytes: self.file.as_ref().map_or(0, |file| file.size),
            sha256: self.file.as_ref().map(|file| file.hash.clone()).unwrap_or_default(),
            version: descriptor.version.clone(),
            summary: descriptor.summary.clone(),
            imports: self.loaded.as_ref().map(|loaded| loaded.imports.clone()).unwrap_or_default(),
            asks: Grant {
                capabilities: asks.into_iter().collect(),
                outbound: grants::asked(&descriptor, &self.settings),
                config: serde_json::Value::Null,
            },
            grants: Grant {
                capabilities: self.settings.capabilities.iter().copied().collect(),
                outbound: self.settings.outbound.clone(),
                config: self.settings.config.clone(),
            },
            secrets: self.settings.secrets.iter().map(|(name, _)| name.clone()).collect(),
            calls: record.calls,
            failures: record.failures,
            busy_seconds: record.busy.as_secs_f64(),
            memory_bytes: record.memory_bytes as u64,
            last_failure: record.last_failure.as_ref().map(|(_, text)| text.clone()),
            last_failure_at: record.last_failure.as_ref().map(|(at, _)| *at),
            compiled_seconds: self.compiled_in.map(|took| took.as_secs_f64()),
        }
    }
}
