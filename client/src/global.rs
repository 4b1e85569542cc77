//! The one running client of the process.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::config::{Config, ConfigError};
use crate::export::{Control, Exporter};
use crate::metrics::{self, Kind, Series};
use crate::queue::Queue;
use crate::{Level, ask, layer, panic};

/// What a running client consists of.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) queue: Queue,
    pub(crate) control: Arc<Control>,
    pub(crate) error_count: Arc<Series>,
    pub(crate) agent: ureq::Agent,
}

static ACTIVE: RwLock<Option<Arc<Shared>>> = RwLock::new(None);
static RUNNING: Mutex<Option<JoinHandle<()>>> = Mutex::new(None);
/// The least severity number that is sent; above every one while nothing runs.
static THRESHOLD: AtomicU8 = AtomicU8::new(OFF);
const OFF: u8 = u8::MAX;

/// Returns the running client. Whoever works for it gets none.
pub(crate) fn active() -> Option<Arc<Shared>> {
    ACTIVE.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Returns whether a record of this level is sent.
pub(crate) fn is_enabled(level: Level) -> bool {
    level.severity_number() >= THRESHOLD.load(Ordering::Relaxed)
}

/// Hands `work` the running client, if there is one.
pub(crate) fn with(work: impl FnOnce(&Shared)) {
    if let Some(shared) = &*ACTIVE.read().unwrap_or_else(PoisonError::into_inner) {
        work(shared);
    }
}

/// Starts monitoring as the environment says; see [`Config`] for the variables.
///
/// ```
/// # fn main() -> Result<(), watchfire_client::InitError> {
/// watchfire_client::init()?;
/// let _guard = watchfire_client::guard();
/// watchfire_client::get_logger("shop").info("open");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// If a variable makes no sense, or monitoring runs already.
pub fn init() -> Result<(), InitError> {
    init_with(Config::from_env()?)
}

/// Why monitoring does not start.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// Settings make no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It runs already.
    #[error("monitoring runs already: call `shutdown` first")]
    Running,
    /// There is no thread for the exporter.
    #[error("cannot start the exporter's thread")]
    Thread(#[source] std::io::Error),
}

/// Starts monitoring with `config`, which asks the environment for nothing.
///
/// # Errors
/// If settings make no sense, or monitoring runs already.
pub fn init_with(config: Config) -> Result<(), InitError> {
    config.check()?;
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    if active().is_some() {
        return Err(InitError::Running);
    }
    if config.disabled {
        return Ok(());
    }
    let agent = crate::export::agent(&config).map_err(|problem| ConfigError { problems: vec![problem] })?;
    let registry = metrics::registry();
    registry.set_most(config.max_series);
    let error_count = || Arc::new(Series::new(Kind::Counter, "error_count", "", &[], crate::clock::now_nanos()));
    let shared = Arc::new(Shared {
        queue: Queue::new(config.queue_records, config.queue_bytes),
        control: Arc::default(),
        error_count: registry.series(Kind::Counter, "error_count", "", &[]).unwrap_or_else(error_count),
        agent: agent.clone(),
        config,
    });
    // The specification's names exist from the beginning.
    registry.series(Kind::Gauge, "active_requests", "", &[]);
    registry.series(Kind::Counter, "total_requests", "", &[]);
    let exporter = Exporter::new(Arc::clone(&shared), agent).map_err(|problem| ConfigError { problems: vec![problem] })?;
    let thread =
        std::thread::Builder::new().name("watchfire-export".to_owned()).spawn(move || exporter.run()).map_err(InitError::Thread)?;
    shared.queue.set_exporter(thread.thread().clone());
    *running = Some(thread);
    THRESHOLD.store(shared.config.level.severity_number(), Ordering::Relaxed);
    if shared.config.auto_capture {
        panic::install();
    }
    if shared.config.install_subscriber {
        layer::install(shared.config.level);
    }
    tracing::callsite::rebuild_interest_cache();
    *ACTIVE.write().unwrap_or_else(PoisonError::into_inner) = Some(shared);
    Ok(())
}

/// Sends what waits, and ends monitoring. Returns whether everything arrived: what did not within
/// [`shutdown_timeout`](Config::shutdown_timeout) is in the spool, or lost.
///
/// Metrics and loggers can be used on, without effect; [`init_with`] starts anew.
pub fn shutdown() -> bool {
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(shared) = ACTIVE.write().unwrap_or_else(PoisonError::into_inner).take() else { return true };
    THRESHOLD.store(OFF, Ordering::Relaxed);
    shared.queue.close();
    let deadline = Instant::now() + shared.config.shutdown_timeout;
    shared.control.stop(deadline);
    shared.queue.wake();
    let clean = shared.control.wait_stopped(deadline + Duration::from_millis(200));
    if let Some(thread) = running.take()
        && clean.is_some()
    {
        // It has ended; if it panicked, that is said by `clean` already.
        let _ = thread.join();
    }
    ask::forget_workers();
    clean.unwrap_or(false)
}

/// Sends what waits now, and waits for that at most `timeout`. Returns whether everything has arrived.
pub fn flush(timeout: Duration) -> bool {
    let Some(shared) = active() else { return true };
    let wanted = shared.control.want_flush();
    shared.queue.wake();
    shared.control.wait_flushed(wanted, Instant::now() + timeout)
}

/// Returns a value that calls [`shutdown`] when it is dropped: hold it in `main`.
#[must_use = "monitoring ends when it is dropped"]
pub fn guard() -> Guard {
    Guard(())
}

/// Ends monitoring when it is dropped. See [`guard`].
#[derive(Debug)]
pub struct Guard(());

impl Drop for Guard {
    fn drop(&mut self) {
        shutdown();
    }
}
