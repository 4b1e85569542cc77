//! The runtime: how components are compiled and run, and the ticker that ends calls which run too long.

use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use wasmtime::{Config, Engine};

/// How often the epoch moves on while a call runs: calls end at most this long after their deadline.
pub(super) const TICK: Duration = Duration::from_millis(5);
/// Most bytes of stack that a component's code may use.
const MAX_STACK_BYTES: usize = 512 << 10;

/// Returns the settings that compiled code depends on: the same in the host and in the process that compiles for it.
fn settings() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(MAX_STACK_BYTES)
        .async_stack_size(2 * MAX_STACK_BYTES)
        // The same call gives the same result everywhere.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true);
    config
}

/// The engine with its ticker. Cheap to clone; the ticker ends with the last clone.
#[derive(Clone)]
pub(super) struct Runtime {
    engine: Engine,
    ticker: Arc<Ticker>,
}

struct Ticker {
    state: Arc<(Mutex<TickerState>, Condvar)>,
}

#[derive(Default)]
struct TickerState {
    running: usize,
    closed: bool,
}

/// Keeps the ticker going while it lives.
pub(super) struct Running(Arc<(Mutex<TickerState>, Condvar)>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.0.lock().running -= 1;
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.state.0.lock().closed = true;
        self.state.1.notify_all();
    }
}

impl Runtime {
    /// Returns the runtime; its ticker sleeps until something runs.
    ///
    /// # Errors
    /// If this machine cannot run compiled code.
    pub(super) fn new() -> wasmtime::Result<Self> {
        let engine = Engine::new(&settings())?;
        let state = Arc::new((Mutex::new(TickerState::default()), Condvar::new()));
        let (ticking, shared) = (engine.clone(), Arc::clone(&state));
        std::thread::Builder::new().name("plugin-ticker".to_owned()).spawn(move || {
            loop {
                {
                    let mut state = shared.0.lock();
                    while state.running == 0 && !state.closed {
                        shared.1.wait(&mut state);
                    }
                    if state.closed {
                        return;
                    }
                }
                std::thread::sleep(TICK);
                ticking.increment_epoch();
            }
        })?;
        Ok(Self { engine, ticker: Arc::new(Ticker { state }) })
    }

    /// Returns the engine itself.
    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Lets the ticker tick until what it returns is dropped.
    pub(super) fn running(&self) -> Running {
        self.ticker.state.0.lock().running += 1;
        self.ticker.state.1.notify_one();
        Running(Arc::clone(&self.ticker.state))
    }

    /// Returns how many ticks last at least `limit`.
    pub(super) fn ticks(limit: Duration) -> u64 {
        (limit.as_micros().div_ceil(TICK.as_micros()) as u64).max(1) + 1
    }

    /// Returns what tells code compiled by one version and for one machine from another's.
    pub(super) fn compatibility(&self) -> u64 {
        let mut hasher = std::hash::DefaultHasher::new();
        self.engine.precompile_compatibility_hash().hash(&mut hasher);
        hasher.finish()
    }
}

/// Compiles a component to native code.
///
/// # Errors
/// If the bytes are no component that this version can run.
pub(super) fn compile(component: &[u8]) -> wasmtime::Result<Vec<u8>> {
    Engine::new(&settings())?.precompile_component(component)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ticker_sleeps_while_nothing_runs() {
        let runtime = Runtime::new().unwrap();
        assert_eq!(runtime.ticker.state.0.lock().running, 0);
        let running = runtime.running();
        assert_eq!(runtime.ticker.state.0.lock().running, 1);
        drop(running);
        assert_eq!(runtime.ticker.state.0.lock().running, 0);
    }

    #[test]
    fn a_deadline_is_never_too_short() {
        let ticks = |millis| Runtime::ticks(Duration::from_millis(millis));
        assert_eq!([0, 1, 5, 6, 200].map(ticks), [2, 2, 2, 3, 41]);
    }
}
