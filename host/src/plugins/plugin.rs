//! One plugin that can run: a component, what it was granted, and calls into it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use watchfire_types::Timestamp;

use super::bindings::analyzer as analyzer_world;
use super::bindings::analyzer::exports::watchfire::plugin::analyzer as analyzer_export;
use super::bindings::channel::exports::watchfire::plugin::channel as channel_export;
use super::bindings::common::PluginError;
use super::columns;
use super::guest::Given;
use super::instance::{Exports, Instance, Linked, Machinery};
use super::kernels::KernelBatch;
use super::kv::{Kv, KvBackend, KvChanges};
use super::log::PluginLog;
use super::secrets::{BoundSecret, SecretBox};
use super::series::PluginSeries;
use super::supervise::Supervisor;
use super::threads::Threads;
use super::types::{CallError, Capabilities, Capability, ChannelLimits, Descriptor, Kind, PluginConfig, Subscription};
use crate::telemetry::Counter;

/// How long a component may take to be made, described, set up, restored: an interpreter starts slowly.
pub(super) const SETUP_LIMIT: Duration = Duration::from_secs(10);

/// What a component may reach over HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EgressPolicy {
    /// `scheme://host[:port]` patterns, `https://*.example.com` for all names below one.
    pub outbound: Vec<String>,
    /// Whether those names may stand for addresses of this machine or its network.
    pub private_addresses: bool,
    /// HTTP methods that it said it uses; empty for GET and POST.
    pub methods: Vec<String>,
}

/// A plugin that can run.
pub struct Plugin {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) descriptor: Descriptor,
    pub(super) settings: PluginConfig,
    pub(super) capabilities: Arc<Capabilities>,
    pub(super) policy: EgressPolicy,
    pub(super) secrets: Arc<Vec<BoundSecret>>,
    pub(super) linked: Linked,
    pub(super) machinery: Machinery,
    pub(super) threads: Threads,
    pub(super) log: PluginLog,
    pub(super) series: PluginSeries,
    pub(super) refusals: Counter,
    pub(super) supervisor: Arc<Supervisor>,
}

impl Plugin {
    /// Returns the operator's name for it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what it is for.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns what it says of itself.
    #[must_use]
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// Returns what the operator says of it.
    #[must_use]
    pub fn settings(&self) -> &PluginConfig {
        &self.settings
    }

    /// Returns its supervisor.
    #[must_use]
    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    /// Returns its log.
    #[must_use]
    pub fn log(&self) -> &PluginLog {
        &self.log
    }

    /// Returns what it may reach.
    #[must_use]
    pub fn policy(&self) -> &EgressPolicy {
        &self.policy
    }

    /// Returns what its service accepts.
    #[must_use]
    pub fn limits(&self) -> ChannelLimits {
        self.descriptor.limits.clone().unwrap_or_default()
    }

    /// Returns which records it wants.
    #[must_use]
    pub fn subscription(&self) -> Subscription {
        self.descriptor.subscription.clone().unwrap_or_default()
    }

    /// Takes a point of one of its own series; without the grant for that it is refused. `kind`: 0 gauge, 1 counter, 2 observation.
    pub fn sample(&self, kind: u8, name: &str, value: f64, labels: &[(String, String)]) {
        if !self.capabilities.contains(&Capability::Metrics) {
            return self.refused();
        }
        match kind {
            0 => self.series.set(name, value, labels),
            1 => self.series.add(name, value, labels),
            _ => self.series.record(name, value, labels),
        }
    }

    /// Notes that the host refused something the plugin asked for.
    pub fn refused(&self) {
        self.refusals.inc();
    }

    /// Returns its configuration with a placeholder for each secret that its schema names.
    fn config(&self, secrets: &SecretBox) -> Value {
        let mut config = self.settings.config.clone();
        let properties = self.descriptor.config_schema["properties"].as_object();
        let secret = properties.into_iter().flatten().filter(|(_, schema)| schema["x-secret"] == true);
        if let Value::Object(config) = &mut config {
            for (name, _) in secret {
                if let Some(placeholder) = secrets.placeholder(name, "raw") {
                    config.insert(name.clone(), placeholder.into());
                }
            }
        }
        config
    }

    fn given(&self, secrets: &SecretBox) -> Given {
        Given {
            log: self.log.clone(),
            series: self.series.clone(),
            capabilities: Arc::clone(&self.capabilities),
            config: Arc::new(self.config(secrets)),
            secrets: Some(secrets.clone()),
            refusals: self.refusals.clone(),
            memory_bytes: self.settings.memory_bytes,
        }
    }

    /// Makes a store of it and sets it up. Blocks.
    fn start(&self, kv: Option<Kv>, secrets: &SecretBox, now: Timestamp) -> Result<Instance, CallError> {
        self.supervisor.admit(now)?;
        let began = Instant::now();
        let started = self.set_up(kv, secrets, self.settings.timeout, now);
        self.supervisor.called(began.elapsed(), started.as_ref().map_or(0, Instance::memory_bytes));
        if let Err(error) = &started {
            self.supervisor.failed(error, now);
        }
        started
    }

    pub(super) fn set_up(
        &self,
        kv: Option<Kv>,
        secrets: &SecretBox,
        limit: Duration,
        now: Timestamp,
    ) -> Result<Instance, CallError> {
        let Machinery { runtime, handle, .. } = &self.machinery;
        let given = self.given(secrets);
        let config = given.config.to_string();
        let mut instance = Instance::new(runtime, handle, &self.linked, given, kv, limit)?;
        instance.store.data().set_now(now.as_nanos());
        let set_up = instance.call("init", limit, async |store, exports| match exports {
            Exports::Channel(world) => world.watchfire_plugin_plugin().call_init(store, &config).await,
            Exports::Analyzer(world) => world.watchfire_plugin_plugin().call_init(store, &config).await,
            Exports::Parser(world) => world.watchfire_plugin_plugin().call_init(store, &config).await,
        })?;
        set_up.map_err(refused)?;
        Ok(instance)
    }

    /// Returns what a person should read after trying it. Blocks.
    ///
    /// # Errors
    /// What keeps it from working.
    pub fn self_test(&self, now: Timestamp) -> Result<String, CallError> {
        let mut instance = self.start(None, &SecretBox::new(Arc::clone(&self.secrets)), now)?;
        let text = instance.call("self-test", SETUP_LIMIT, async |store, exports| match exports {
            Exports::Channel(world) => world.watchfire_plugin_plugin().call_self_test(store).await,
            Exports::Analyzer(world) => world.watchfire_plugin_plugin().call_self_test(store).await,
            Exports::Parser(world) => world.watchfire_plugin_plugin().call_self_test(store).await,
        })?;
        text.map_err(refused)
    }

    /// Makes a store for one delivery.
    ///
    /// # Errors
    /// If it is no channel, failed lately, or cannot be set up.
    pub async fn open_channel(self: &Arc<Self>, now: Timestamp) -> Result<ChannelSession, CallError> {
        let (plugin, secrets) = (Arc::clone(self), SecretBox::new(Arc::clone(&self.secrets)));
        let mine = secrets.clone();
        let started = self.threads.run(move || plugin.start(None, &mine, now)).await;
        let instance = started.unwrap_or_else(|| Err(host_panicked("init")))?;
        Ok(ChannelSession { plugin: Arc::clone(self), instance: Some(instance), secrets })
    }

    /// Makes the store of an analyzer. Blocks, and all its calls do.
    ///
    /// # Errors
    /// If it is no analyzer, failed lately, or cannot be set up.
    pub fn start_analyzer(self: &Arc<Self>, kv: Arc<dyn KvBackend>, now: Timestamp) -> Result<AnalyzerInstance, CallError> {
        let secrets = SecretBox::new(Arc::clone(&self.secrets));
        let instance = self.start(Some(Kv::new(kv)), &secrets, now)?;
        Ok(AnalyzerInstance { plugin: Arc::clone(self), instance, calls: 0 })
    }

    /// Makes a store of a parser. Blocks.
    pub(super) fn start_instance(&self, now: Timestamp) -> Result<Instance, CallError> {
        self.start(None, &SecretBox::new(Arc::clone(&self.secrets)), now)
    }

    /// Calls into `instance`, counts it, and takes note of a failure.
    pub(super) fn call<T>(
        &self,
        instance: &mut Instance,
        function: &'static str,
        now: Timestamp,
        call: impl AsyncFnOnce(&mut wasmtime::Store<super::guest::Guest>, &Exports) -> wasmtime::Result<Result<T, PluginError>>,
    ) -> Result<T, CallError> {
        instance.store.data().set_now(now.as_nanos());
        let began = Instant::now();
        let result = instance.call(function, self.settings.timeout, call);
        self.supervisor.called(began.elapsed(), instance.memory_bytes());
        let result = result.and_then(|answer| answer.map_err(refused));
        if let Err(error) = &result {
            self.supervisor.failed(error, now);
        }
        result
    }
}

fn refused(error: PluginError) -> CallError {
    let mut message = error.message;
    message.truncate(message.floor_char_boundary(4096));
    CallError::Refused { code: error.code, message }
}

pub(super) fn host_panicked(function: &'static str) -> CallError {
    CallError::Trap { function, message: "the host itself failed; its log says how".to_owned() }
}

pub(super) fn wrong_kind(function: &'static str) -> CallError {
    CallError::Malformed { function, problem: "it is no component of that kind".to_owned() }
}

/// A channel's store for the length of one delivery. A failure ends it.
pub struct ChannelSession {
    plugin: Arc<Plugin>,
    instance: Option<Instance>,
    secrets: SecretBox,
}

impl ChannelSession {
    /// Returns the secrets of this delivery: what replaces the placeholders in its requests.
    #[must_use]
    pub fn secrets(&self) -> &SecretBox {
        &self.secrets
    }

    /// Turns a notification into requests. `progress` is the state kept from an earlier try.
    ///
    /// # Errors
    /// As any call.
    pub async fn plan(
        &mut self,
        notification: Arc<channel_export::Notification>,
        progress: Option<Vec<u8>>,
        now: Timestamp,
    ) -> Result<channel_export::Step, CallError> {
        self.step("plan", now, async move |store, world| {
            let channel = world.watchfire_plugin_channel();
            channel.call_plan(store, &notification, progress.as_deref(), now.as_nanos()).await
        })
        .await
    }

    /// Reads the replies to the last batch, in its order.
    ///
    /// # Errors
    /// As any call.
    pub async fn next(
        &mut self,
        notification: Arc<channel_export::Notification>,
        state: Vec<u8>,
        exchanges: Vec<channel_export::Exchange>,
        now: Timestamp,
    ) -> Result<channel_export::Step, CallError> {
        self.step("next", now, async move |store, world| {
            let channel = world.watchfire_plugin_channel();
            channel.call_next(store, &notification, &state, &exchanges, now.as_nanos()).await
        })
        .await
    }

    async fn step(
        &mut self,
        function: &'static str,
        now: Timestamp,
        call: impl AsyncFnOnce(
            &mut wasmtime::Store<super::guest::Guest>,
            &super::bindings::channel::ChannelPlugin,
        ) -> wasmtime::Result<Result<channel_export::Step, PluginError>>
        + Send
        + 'static,
    ) -> Result<channel_export::Step, CallError> {
        let unavailable = || CallError::Unavailable { problem: "this delivery has failed already".to_owned() };
        let mut instance = self.instance.take().ok_or_else(unavailable)?;
        let plugin = Arc::clone(&self.plugin);
        let work = move || {
            let result = plugin.call(&mut instance, function, now, async |store, exports| match exports {
                Exports::Channel(world) => call(store, world).await,
                Exports::Analyzer(_) | Exports::Parser(_) => Err(wasmtime::format_err!("{}", wrong_kind(function))),
            });
            (result, instance)
        };
        let Some((result, instance)) = self.plugin.threads.run(work).await else { return Err(host_panicked(function)) };
        if !result.as_ref().is_err_and(CallError::poisons) {
            self.instance = Some(instance);
        }
        result
    }
}

/// What an analyzer is given to look at.
#[derive(Clone)]
pub struct AnalyzerInput {
    /// What was read.
    pub batch: Arc<watchfire_types::LogBatch>,
    /// Which of its rows the analyzer wants, in order.
    pub rows: Vec<usize>,
    /// Everything after this position was read for this call,
    pub scanned_from: u64,
    /// up to and including this one.
    pub scanned_to: u64,
    /// No earlier event time is expected, bar late ones; nanoseconds.
    pub watermark: u64,
    /// Records that were left out since the last call.
    pub dropped: u64,
}

/// An analyzer's store: it lives on from call to call, and a trap ends it. All calls block.
pub struct AnalyzerInstance {
    plugin: Arc<Plugin>,
    instance: Instance,
    calls: u64,
}

impl AnalyzerInstance {
    /// Returns the plugin.
    #[must_use]
    pub fn plugin(&self) -> &Arc<Plugin> {
        &self.plugin
    }

    /// Gives back what [`Self::save`] returned, before the first batch.
    ///
    /// # Errors
    /// As any call.
    pub fn restore(&mut self, from_version: u32, data: &[u8], now: Timestamp) -> Result<(), CallError> {
        self.call("restore", now, async |store, world| {
            world.watchfire_plugin_analyzer().call_restore(store, from_version, data).await
        })
    }

    /// Shows it records. What it did to its kept values counts only if the call succeeds.
    ///
    /// # Errors
    /// As any call.
    pub fn analyze(&mut self, input: &AnalyzerInput, now: Timestamp) -> Result<analyzer_export::Analysis, CallError> {
        let columns = self.plugin.subscription().columns;
        let batch = columns::wire_batch(input, columns, now);
        self.instance.store.data_mut().batch = Some(KernelBatch { batch: Arc::clone(&input.batch), rows: input.rows.clone() });
        let result =
            self.call("analyze", now, async |store, world| world.watchfire_plugin_analyzer().call_analyze(store, &batch).await);
        self.instance.store.data_mut().batch = None;
        result
    }

    /// Tells it that time has passed.
    ///
    /// # Errors
    /// As any call.
    pub fn tick(&mut self, now: Timestamp, watermark: Timestamp) -> Result<analyzer_export::Analysis, CallError> {
        self.call("tick", now, async |store, world| {
            world.watchfire_plugin_analyzer().call_tick(store, now.as_nanos(), watermark.as_nanos()).await
        })
    }

    /// Returns what it wants to be given back after a restart.
    ///
    /// # Errors
    /// As any call.
    pub fn save(&mut self, now: Timestamp) -> Result<Vec<u8>, CallError> {
        self.call("save", now, async |store, world| world.watchfire_plugin_analyzer().call_save(store).await)
    }

    /// Returns what its calls have changed among its kept values since this was last asked: to be committed with its cursor.
    pub fn take_kv(&mut self) -> KvChanges {
        self.instance.store.data_mut().kv.as_mut().map(Kv::take).unwrap_or_default()
    }

    /// Returns how many calls this store has answered.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// Returns the bytes of memory that the store has taken: it only grows.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.instance.memory_bytes()
    }

    fn call<T>(
        &mut self,
        function: &'static str,
        now: Timestamp,
        call: impl AsyncFnOnce(
            &mut wasmtime::Store<super::guest::Guest>,
            &analyzer_world::AnalyzerPlugin,
        ) -> wasmtime::Result<Result<T, PluginError>>,
    ) -> Result<T, CallError> {
        self.calls += 1;
        let result = self.plugin.call(&mut self.instance, function, now, async |store, exports| match exports {
            Exports::Analyzer(world) => call(store, world).await,
            Exports::Channel(_) | Exports::Parser(_) => Err(wasmtime::format_err!("{}", wrong_kind(function))),
        });
        if let Some(kv) = self.instance.store.data_mut().kv.as_mut() {
            if result.is_ok() { kv.keep() } else { kv.discard() }
        }
        result
    }
}
