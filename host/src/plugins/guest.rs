//! What a component sees of the host: the imports of its world. Nothing a component passes can make the host panic, and what is
//! refused is an error value or without effect, and counted.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::Value;
use wasmtime::ResourceLimiter;
use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError};
use wasmtime_wasi::{Deterministic, HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxView, WasiView};

use super::bindings::{common, config, kernels, kv, logging, metrics, secrets};
use super::kernels::{CompiledSet, KernelBatch};
use super::kv::{Kv, KvRefusal};
use super::log::PluginLog;
use super::secrets::SecretBox;
use super::series::PluginSeries;
use super::types::{Capabilities, Capability};
use crate::telemetry::Counter;

/// Most resources a component may hold.
const MAX_HANDLES: usize = 1024;
/// Most elements of one table.
const MAX_TABLE_ELEMENTS: usize = 100_000;
/// Last bytes of standard error that are kept.
const STDERR_BYTES: usize = 4 << 10;

/// What one component is given.
#[derive(Clone)]
pub(super) struct Given {
    pub(super) log: PluginLog,
    pub(super) series: PluginSeries,
    pub(super) capabilities: Arc<Capabilities>,
    /// Its section of the configuration, secrets as placeholders.
    pub(super) config: Arc<Value>,
    pub(super) secrets: Option<SecretBox>,
    pub(super) refusals: Counter,
    pub(super) memory_bytes: usize,
}

/// The state of one store.
pub(super) struct Guest {
    given: Given,
    wasi: WasiCtx,
    table: ResourceTable,
    pub(super) memory: Memory,
    pub(super) stderr: Stderr,
    now: Arc<AtomicU64>,
    pub(super) kv: Option<Kv>,
    pub(super) batch: Option<KernelBatch>,
}

impl Guest {
    pub(super) fn new(given: Given, kv: Option<Kv>) -> Self {
        let now = Arc::new(AtomicU64::new(0));
        let stderr = Stderr { tail: Arc::default(), log: given.log.clone() };
        let seed: Vec<u8> = (0_u8..64).map(|byte| byte.wrapping_mul(167).wrapping_add(13)).collect();
        let wasi = WasiCtx::builder()
            .stderr(stderr.clone())
            .stdout(stderr.clone())
            .wall_clock(Fixed(Arc::clone(&now)))
            .monotonic_clock(Fixed(Arc::clone(&now)))
            .secure_random(Deterministic::new(seed.clone()))
            .insecure_random(Deterministic::new(seed))
            .insecure_random_seed(0)
            .max_random_size(1 << 16)
            .allow_tcp(false)
            .allow_udp(false)
            .build();
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_HANDLES);
        let memory = Memory { limit: given.memory_bytes, used: 0, refused: None };
        Self { given, wasi, table, memory, stderr, now, kv, batch: None }
    }

    /// Sets the time that the component sees until it is set again.
    pub(super) fn set_now(&self, now: u64) {
        self.now.store(now, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    fn may(&self, capability: Capability) -> bool {
        let may = self.given.capabilities.contains(&capability);
        if !may {
            self.given.refusals.inc();
        }
        may
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl common::Host for Guest {}
impl super::bindings::logs::Host for Guest {}
impl super::bindings::alerting::Host for Guest {}

impl logging::Host for Guest {
    fn log(&mut self, level: u8, message: String, fields: Vec<(String, String)>) -> wasmtime::Result<()> {
        if self.may(Capability::Logging) {
            let fields = fields.iter().take(32).map(|(key, value)| format!(" {key}={value}"));
            self.given.log.write(level.min(24), &format!("{message}{}", fields.collect::<String>()));
        }
        Ok(())
    }
}

impl config::Host for Guest {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<String>> {
        if !self.may(Capability::Config) {
            return Ok(None);
        }
        let value = self.given.config.get(&key);
        Ok(value.map(|value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)))
    }

    fn all_json(&mut self) -> wasmtime::Result<String> {
        Ok(if self.may(Capability::Config) { self.given.config.to_string() } else { "{}".to_owned() })
    }
}

impl metrics::Host for Guest {
    fn counter_add(&mut self, name: String, delta: f64, labels: Vec<(String, String)>) -> wasmtime::Result<()> {
        if self.may(Capability::Metrics) {
            self.given.series.add(&name, delta, &labels);
        }
        Ok(())
    }

    fn gauge_set(&mut self, name: String, value: f64, labels: Vec<(String, String)>) -> wasmtime::Result<()> {
        if self.may(Capability::Metrics) {
            self.given.series.set(&name, value, &labels);
        }
        Ok(())
    }

    fn histogram_record(&mut self, name: String, value: f64, labels: Vec<(String, String)>) -> wasmtime::Result<()> {
        if self.may(Capability::Metrics) {
            self.given.series.record(&name, value, &labels);
        }
        Ok(())
    }
}

impl Guest {
    fn kv(&mut self) -> Result<&mut Kv, kv::KvError> {
        if !self.may(Capability::Kv) {
            return Err(kv::KvError::Denied);
        }
        self.kv.as_mut().ok_or(kv::KvError::Denied)
    }
}

fn refusal(refusal: KvRefusal) -> kv::KvError {
    match refusal {
        KvRefusal::Quota => kv::KvError::Quota,
        KvRefusal::Conflict => kv::KvError::Conflict,
        KvRefusal::Other(what) => kv::KvError::Other(what),
    }
}

type KvResult<T> = wasmtime::Result<Result<T, kv::KvError>>;

impl kv::Host for Guest {
    fn get(&mut self, key: String) -> KvResult<Option<Vec<u8>>> {
        let now = self.now();
        Ok(self.kv().and_then(|kv| kv.get(&key, now).map_err(refusal)))
    }

    fn get_many(&mut self, keys: Vec<String>) -> KvResult<Vec<Option<Vec<u8>>>> {
        let now = self.now();
        Ok(self.kv().and_then(|kv| keys.iter().map(|key| kv.get(key, now).map_err(refusal)).collect()))
    }

    fn set(&mut self, key: String, value: Vec<u8>, ttl_ms: Option<u64>) -> KvResult<()> {
        let expires_at = expiry(self.now(), ttl_ms);
        Ok(self.kv().and_then(|kv| kv.set(&key, value, expires_at).map_err(refusal)))
    }

    fn delete(&mut self, key: String) -> KvResult<bool> {
        let now = self.now();
        Ok(self.kv().and_then(|kv| kv.delete(&key, now).map_err(refusal)))
    }

    fn increment(&mut self, key: String, delta: i64, ttl_ms: Option<u64>) -> KvResult<i64> {
        let (now, expires_at) = (self.now(), expiry(self.now(), ttl_ms));
        Ok(self.kv().and_then(|kv| kv.increment(&key, delta, now, expires_at).map_err(refusal)))
    }

    fn keys(&mut self, prefix: String, after: Option<String>, limit: u32) -> KvResult<Vec<String>> {
        let now = self.now();
        let limit = limit.min(10_000) as usize;
        Ok(self.kv().and_then(|kv| kv.keys(&prefix, after.as_deref(), limit, now).map_err(refusal)))
    }
}

fn expiry(now: u64, ttl_ms: Option<u64>) -> Option<u64> {
    ttl_ms.map(|ttl| now.saturating_add(ttl.saturating_mul(1_000_000)))
}

fn plugin_error(code: u16, message: String) -> common::PluginError {
    common::PluginError { code, message, extra: Vec::new() }
}

impl secrets::Host for Guest {
    fn placeholder(&mut self, name: String, encoding: String) -> wasmtime::Result<Option<String>> {
        let may = self.may(Capability::Secrets);
        Ok(self.given.secrets.as_ref().filter(|_| may).and_then(|secrets| secrets.placeholder(&name, &encoding)))
    }

    fn basic(&mut self, user: String, secret: String) -> wasmtime::Result<Option<String>> {
        let may = self.may(Capability::Secrets);
        Ok(self.given.secrets.as_ref().filter(|_| may).and_then(|secrets| secrets.basic(&user, &secret)))
    }

    fn sign(
        &mut self,
        algorithm: String,
        key: Vec<u8>,
        message: Vec<u8>,
    ) -> wasmtime::Result<Result<Vec<u8>, common::PluginError>> {
        let may = self.may(Capability::Secrets);
        let Some(secrets) = self.given.secrets.as_ref().filter(|_| may) else {
            return Ok(Err(plugin_error(3, "secrets are not granted, or not used here".to_owned())));
        };
        Ok(secrets.sign(&algorithm, &key, &message).map_err(|problem| plugin_error(2, problem)))
    }
}

impl kernels::Host for Guest {
    fn pattern_text(&mut self, _id: u64) -> wasmtime::Result<Option<String>> {
        // There are no patterns yet.
        Ok(None)
    }
}

type KernelResult<T> = wasmtime::Result<Result<T, common::PluginError>>;

impl Guest {
    fn matches(&self, set: &Resource<CompiledSet>, key: Option<&str>) -> KernelResult<Vec<u64>> {
        if !self.may(Capability::Kernels) {
            return Ok(Err(plugin_error(3, "kernels are not granted".to_owned())));
        }
        let Some(batch) = &self.batch else {
            return Ok(Err(plugin_error(2, "there is a batch only within `analyze`".to_owned())));
        };
        let set = self.table.get(set)?;
        Ok(Ok(match key {
            None => batch.match_body(set),
            Some(key) => batch.match_attribute(set, key),
        }))
    }
}

impl kernels::HostRegexSet for Guest {
    fn compile(&mut self, patterns: Vec<String>) -> KernelResult<Resource<CompiledSet>> {
        if !self.may(Capability::Kernels) {
            return Ok(Err(plugin_error(3, "kernels are not granted".to_owned())));
        }
        match CompiledSet::new(&patterns) {
            Ok(set) => Ok(self.table.push(set).map_err(|error| plugin_error(4, error.to_string()))),
            Err(problem) => Ok(Err(plugin_error(2, problem))),
        }
    }

    fn match_body(&mut self, set: Resource<CompiledSet>) -> KernelResult<Vec<u64>> {
        self.matches(&set, None)
    }

    fn match_attribute(&mut self, set: Resource<CompiledSet>, key: String) -> KernelResult<Vec<u64>> {
        self.matches(&set, Some(&key))
    }

    fn drop(&mut self, set: Resource<CompiledSet>) -> wasmtime::Result<()> {
        self.table.delete(set)?;
        Ok(())
    }
}

/// Bounds what the memories and tables of a store take together.
pub(super) struct Memory {
    limit: usize,
    used: usize,
    refused: Option<usize>,
}

impl Memory {
    /// Returns the bytes of linear memory taken.
    pub(super) fn bytes(&self) -> usize {
        self.used
    }

    /// Returns how many bytes were asked for in vain, if so.
    pub(super) fn refused(&self) -> Option<usize> {
        self.refused
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.used - current.min(self.used) + desired;
        if total > self.limit {
            self.refused = Some(total);
            return Err(wasmtime::format_err!("more memory than allowed"));
        }
        self.used = total;
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        if desired > MAX_TABLE_ELEMENTS {
            return Err(wasmtime::format_err!("a table of {desired} elements is more than allowed"));
        }
        Ok(true)
    }

    fn instances(&self) -> usize {
        200
    }

    fn tables(&self) -> usize {
        200
    }

    fn memories(&self) -> usize {
        16
    }
}

/// A clock that stands still during a call, so that a call can be played again.
struct Fixed(Arc<AtomicU64>);

impl HostWallClock for Fixed {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

impl HostMonotonicClock for Fixed {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Standard output and error of a component: its lines go to the plugin's log, and the last bytes explain a trap.
#[derive(Clone)]
pub(super) struct Stderr {
    tail: Arc<Mutex<VecDeque<u8>>>,
    log: PluginLog,
}

impl Stderr {
    /// Returns the last that was written, on one line.
    pub(super) fn last(&self) -> String {
        let bytes: Vec<u8> = self.tail.lock().iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" | ")
    }

    fn take(&self, bytes: &[u8]) {
        {
            let mut tail = self.tail.lock();
            let kept = &bytes[bytes.len().saturating_sub(STDERR_BYTES)..];
            tail.extend(kept);
            let excess = tail.len().saturating_sub(STDERR_BYTES);
            tail.drain(..excess);
        }
        for line in String::from_utf8_lossy(bytes).lines().filter(|line| !line.trim().is_empty()) {
            self.log.write(9, line);
        }
    }
}

impl IsTerminal for Stderr {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stderr {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Stderr {
    async fn ready(&mut self) {}
}

impl OutputStream for Stderr {
    fn write(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        self.take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StreamError> {
        Ok(())
    }

    fn check_write(&mut self) -> Result<usize, StreamError> {
        Ok(STDERR_BYTES)
    }
}

impl tokio::io::AsyncWrite for Stderr {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
