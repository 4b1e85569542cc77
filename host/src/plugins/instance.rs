//! One store with one component in it, and calls into it: each has a deadline, and a failure says why.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use wasmtime::component::{Component, Linker};
use wasmtime::{Store, Trap};
use wasmtime_wasi::I32Exit;

use super::bindings::{analyzer, channel, parser};
use super::engine::{Runtime, TICK};
use super::guest::{Given, Guest};
use super::kv::Kv;
use super::types::CallError;

/// Most bytes that a component may hand over in one go.
const MAX_TRANSFER_BYTES: usize = 16 << 20;
/// Most component resources a store may hold.
const MAX_COMPONENT_HANDLES: usize = 10_000;

/// A component, linked to the world that it was made for.
#[derive(Clone)]
pub(super) enum Linked {
    /// A channel.
    Channel(channel::ChannelPluginPre<Guest>),
    /// An analyzer.
    Analyzer(analyzer::AnalyzerPluginPre<Guest>),
    /// A parser.
    Parser(parser::ParserPluginPre<Guest>),
}

/// What links components to the host, one a world.
pub(super) struct Linkers {
    channel: Linker<Guest>,
    analyzer: Linker<Guest>,
    parser: Linker<Guest>,
}

/// Gives a linker access to the whole of a guest's state.
struct Whole;

impl wasmtime::component::HasData for Whole {
    type Data<'a> = &'a mut Guest;
}

impl Linkers {
    /// Returns the linkers.
    ///
    /// # Errors
    /// Never, unless an interface is defined twice.
    pub(super) fn new(runtime: &Runtime) -> wasmtime::Result<Self> {
        let mut channel = Linker::new(runtime.engine());
        wasmtime_wasi::p2::add_to_linker_async(&mut channel)?;
        let mut analyzer = Linker::new(runtime.engine());
        wasmtime_wasi::p2::add_to_linker_async(&mut analyzer)?;
        let mut parser = Linker::new(runtime.engine());
        wasmtime_wasi::p2::add_to_linker_async(&mut parser)?;
        parser::ParserPlugin::add_to_linker::<_, Whole>(&mut parser, |guest| guest)?;
        channel::ChannelPlugin::add_to_linker::<_, Whole>(&mut channel, |guest| guest)?;
        analyzer::AnalyzerPlugin::add_to_linker::<_, Whole>(&mut analyzer, |guest| guest)?;
        Ok(Self { channel, analyzer, parser })
    }

    /// Links `component` as a channel.
    ///
    /// # Errors
    /// If it imports what this world does not have.
    pub(super) fn channel(&self, component: &Component) -> wasmtime::Result<Linked> {
        Ok(Linked::Channel(channel::ChannelPluginPre::new(self.channel.instantiate_pre(component)?)?))
    }

    /// Links `component` as an analyzer.
    ///
    /// # Errors
    /// If it imports what this world does not have.
    pub(super) fn analyzer(&self, component: &Component) -> wasmtime::Result<Linked> {
        Ok(Linked::Analyzer(analyzer::AnalyzerPluginPre::new(self.analyzer.instantiate_pre(component)?)?))
    }

    /// Links `component` as a parser.
    ///
    /// # Errors
    /// If it imports what this world does not have.
    pub(super) fn parser(&self, component: &Component) -> wasmtime::Result<Linked> {
        Ok(Linked::Parser(parser::ParserPluginPre::new(self.parser.instantiate_pre(component)?)?))
    }
}

/// The exports of an instance.
pub(super) enum Exports {
    /// A channel's.
    Channel(channel::ChannelPlugin),
    /// An analyzer's.
    Analyzer(analyzer::AnalyzerPlugin),
    /// A parser's.
    Parser(parser::ParserPlugin),
}

/// A store with an instance in it. After a failure it is of no more use.
pub(super) struct Instance {
    pub(super) store: Store<Guest>,
    pub(super) exports: Exports,
    runtime: Runtime,
    handle: Handle,
}

impl Instance {
    /// Makes a store and instantiates. Blocks for at most about `limit`.
    ///
    /// # Errors
    /// As any call.
    pub(super) fn new(
        runtime: &Runtime,
        handle: &Handle,
        linked: &Linked,
        given: Given,
        kv: Option<Kv>,
        limit: Duration,
    ) -> Result<Self, CallError> {
        let mut store = Store::new(runtime.engine(), Guest::new(given, kv));
        store.limiter(|guest| &mut guest.memory);
        store.set_hostcall_fuel(MAX_TRANSFER_BYTES);
        store.set_max_component_handles(MAX_COMPONENT_HANDLES);
        let linked = linked.clone();
        let exports = run(runtime, handle, &mut store, "instantiate", limit, async |store| match linked {
            Linked::Channel(pre) => pre.instantiate_async(store).await.map(Exports::Channel),
            Linked::Analyzer(pre) => pre.instantiate_async(store).await.map(Exports::Analyzer),
            Linked::Parser(pre) => pre.instantiate_async(store).await.map(Exports::Parser),
        })?;
        Ok(Self { store, exports, runtime: runtime.clone(), handle: handle.clone() })
    }

    /// Calls into the instance. Blocks for at most about `limit`.
    ///
    /// # Errors
    /// [`CallError::Deadline`] and [`CallError::Trap`].
    pub(super) fn call<T>(
        &mut self,
        function: &'static str,
        limit: Duration,
        call: impl AsyncFnOnce(&mut Store<Guest>, &Exports) -> wasmtime::Result<T>,
    ) -> Result<T, CallError> {
        let exports = &self.exports;
        run(&self.runtime, &self.handle, &mut self.store, function, limit, async |store| call(store, exports).await)
    }

    /// Returns the bytes of memory that the instance has taken.
    pub(super) fn memory_bytes(&self) -> usize {
        self.store.data().memory.bytes()
    }
}

/// Runs `call` on this thread, which is none of the server's.
fn run<T>(
    runtime: &Runtime,
    handle: &Handle,
    store: &mut Store<Guest>,
    function: &'static str,
    limit: Duration,
    call: impl AsyncFnOnce(&mut Store<Guest>) -> wasmtime::Result<T>,
) -> Result<T, CallError> {
    store.set_epoch_deadline(Runtime::ticks(limit));
    let _running = runtime.running();
    // The epoch ends what computes; the timeout ends what sleeps in a call of the host.
    let result = handle.block_on(async { tokio::time::timeout(limit + 4 * TICK, call(store)).await });
    match result {
        Ok(Ok(value)) => Ok(value),
        Err(_) => Err(CallError::Deadline { function, limit }),
        Ok(Err(error)) => Err(explain(&error, store, function, limit)),
    }
}

/// Returns what an error of the runtime means.
fn explain(error: &wasmtime::Error, store: &Store<Guest>, function: &'static str, limit: Duration) -> CallError {
    if matches!(error.downcast_ref::<Trap>(), Some(Trap::Interrupt)) {
        return CallError::Deadline { function, limit };
    }
    let stderr = store.data().stderr.last();
    let memory = store.data().memory.refused().map(|bytes| format!("it asked for {bytes} bytes of memory, more than it may have"));
    let what = match (error.downcast_ref::<I32Exit>(), error.downcast_ref::<Trap>()) {
        (Some(exit), _) => format!("it ended itself with status {}", exit.0),
        (_, Some(trap)) => trap.to_string(),
        _ => error.root_cause().to_string(),
    };
    let said = if stderr.is_empty() { String::new() } else { format!("; it said: {stderr}") };
    let what = memory.unwrap_or(what);
    CallError::Trap { function, message: format!("{what}{said}") }
}

/// What many calls share: the runtime, where they run, and what links them.
#[derive(Clone)]
pub(super) struct Machinery {
    pub(super) runtime: Runtime,
    pub(super) linkers: Arc<Linkers>,
    pub(super) handle: Handle,
}
