//! Runs the consumers: one thread for each analyzer that can run, from when it can to when it no longer can.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};
use watchfire_types::Timestamp;

use super::Analysis;
use super::admit::{Sample, SampleKind};
use super::consumer::{Analyst, Component, Consumer, Meters, Next, Records, Settings, Surroundings};
use super::types::{AnalyzerState, Standing};
use crate::plugins::kv::{KvBackend, KvChanges};
use crate::plugins::{self, AnalyzerInput, AnalyzerInstance, CallError, OnFailure, Plugin, Plugins, wire};
use crate::store::StoreError;

/// How long to wait after a store refused.
const RETRY: Duration = Duration::from_secs(1);
/// How long a consumer that ended by itself, which is a bug, stays ended.
const RESTART_AFTER: Duration = Duration::from_secs(60);
/// How often old rows are dropped.
const PRUNE_INTERVAL: Duration = Duration::from_secs(3_600);

impl Analyst for AnalyzerInstance {
    fn restore(&mut self, from_version: u32, state: &[u8], now: Timestamp) -> Result<(), CallError> {
        Self::restore(self, from_version, state, now)
    }

    fn analyze(&mut self, input: &AnalyzerInput, now: Timestamp) -> Result<wire::Analysis, CallError> {
        Self::analyze(self, input, now)
    }

    fn tick(&mut self, now: Timestamp, watermark: Timestamp) -> Result<wire::Analysis, CallError> {
        Self::tick(self, now, watermark)
    }

    fn save(&mut self, now: Timestamp) -> Result<Vec<u8>, CallError> {
        Self::save(self, now)
    }

    fn take_kv(&mut self) -> KvChanges {
        Self::take_kv(self)
    }

    fn memory_bytes(&self) -> usize {
        Self::memory_bytes(self)
    }

    fn calls(&self) -> u64 {
        Self::calls(self)
    }
}

/// A plugin as what makes analysts.
struct OfPlugin(Arc<Plugin>);

impl Component for OfPlugin {
    fn start(&self, kv: Arc<dyn KvBackend>, now: Timestamp) -> Result<Box<dyn Analyst>, CallError> {
        Ok(Box::new(self.0.start_analyzer(kv, now)?))
    }

    fn sample(&self, sample: &Sample) {
        let kind = match sample.kind {
            SampleKind::Gauge => 0,
            SampleKind::Counter => 1,
            SampleKind::Observation => 2,
        };
        self.0.sample(kind, &sample.name, sample.value, &sample.labels);
    }
}

/// A consumer that runs.
struct Running {
    plugin: Arc<Plugin>,
    stop: CancellationToken,
    thread: JoinHandle<()>,
    ended: oneshot::Receiver<()>,
}

impl Running {
    /// Ends it once what it is at is done and stored.
    async fn end(self) {
        self.stop.cancel();
        let _ = self.ended.await;
    }
}

impl Analysis {
    /// Keeps a consumer running for each analyzer that can run, until `shutdown`.
    ///
    /// # Errors
    /// Never: what goes wrong with one analyzer is its own.
    pub async fn run(&self, plugins: Plugins, records: Arc<dyn Records>, shutdown: CancellationToken) -> Result<(), StoreError> {
        let mut changes = plugins.changes();
        let mut running: BTreeMap<String, Running> = BTreeMap::new();
        let mut prune_at = self.0.clock.now();
        loop {
            changes.borrow_and_update();
            let wanted: BTreeMap<String, Arc<Plugin>> =
                plugins.analyzers().into_iter().map(|plugin| (plugin.name().to_owned(), plugin)).collect();
            let over = |name: &String, old: &Running| {
                // One that ended by itself is begun anew, too.
                old.thread.is_finished() || !wanted.get(name).is_some_and(|new| Arc::ptr_eq(new, &old.plugin))
            };
            let gone: Vec<String> = running.iter().filter(|(name, old)| over(name, old)).map(|(name, _)| name.clone()).collect();
            for name in gone {
                if let Some(old) = running.remove(&name) {
                    old.end().await;
                }
                if !wanted.contains_key(&name) {
                    self.0.standings.lock().remove(&name);
                }
            }
            for (name, plugin) in wanted {
                if !running.contains_key(&name) {
                    let component = plugins.view(&name).map(|view| view.sha256).unwrap_or_default();
                    let started = self.start(plugin, component, Arc::clone(&records), shutdown.child_token());
                    running.extend(started.map(|started| (name, started)));
                }
            }
            if self.0.clock.now() >= prune_at {
                self.prune(running.keys().cloned().collect()).await;
                prune_at = self.0.clock.now().plus(PRUNE_INTERVAL);
            }
            tokio::select! {
                () = shutdown.cancelled() => break,
                changed = changes.changed() => if changed.is_err() { shutdown.cancelled().await },
                () = tokio::time::sleep(RESTART_AFTER) => {}
                () = self.0.clock.sleep_until(prune_at) => {}
            }
        }
        for (_, old) in running {
            old.end().await;
        }
        Ok(())
    }

    async fn prune(&self, running: Vec<String>) {
        let (retention, now) = (self.0.retention, self.0.clock.now());
        let pruned = self.0.database.write(move |transaction| super::store::prune(transaction, &running, retention, now)).await;
        if let Err(failed) = pruned {
            error!(reason = %failed, "old findings cannot be dropped; it is tried again in an hour");
        }
    }

    /// Starts the thread of one analyzer.
    fn start(&self, plugin: Arc<Plugin>, component: String, records: Arc<dyn Records>, stop: CancellationToken) -> Option<Running> {
        let name = plugin.name().to_owned();
        let standing = Arc::new(Mutex::new(Standing::default()));
        self.0.standings.lock().insert(name.clone(), Arc::clone(&standing));
        let settings = Settings {
            plugin: name.clone(),
            component,
            state_version: plugin.descriptor().state_version,
            subscription: plugin.subscription(),
            memory_bytes: plugin.settings().memory_bytes,
            on_failure: plugin.settings().on_failure.unwrap_or(OnFailure::Skip),
        };
        let around = Surroundings {
            records,
            database: self.0.database.clone(),
            stored: Arc::clone(&self.0.stored),
            clock: self.0.clock.clone(),
            instants: Box::new(Instant::now),
            standing: Arc::clone(&standing),
        };
        let (meters, handle) = (Meters::new(&name, &self.0.metrics), Handle::current());
        let (alive, ended) = oneshot::channel::<()>();
        let (of_plugin, stopped, clock) = (OfPlugin(Arc::clone(&plugin)), stop.clone(), self.0.clock.clone());
        let (named, shown) = (name.clone(), Arc::clone(&standing));
        let work = move || {
            plugins::give_way();
            let work = || drive(settings, Arc::new(of_plugin), around, meters, &handle, &clock, &stopped);
            if catch_unwind(AssertUnwindSafe(work)).is_err() {
                let problem = "the host itself failed at it, which its log explains; it is started again in a minute";
                error!(plugin = named, "analyzer `{named}`: {problem}");
                let mut standing = shown.lock();
                (standing.state, standing.detail) = (AnalyzerState::Failed, problem.to_owned());
            }
            drop(alive);
        };
        let problem = match std::thread::Builder::new().name(format!("analyzer-{name}")).spawn(work) {
            Ok(thread) => return Some(Running { plugin, stop, thread, ended }),
            Err(problem) => problem,
        };
        error!(plugin = name, %problem, "analyzer `{name}` has no thread");
        let mut standing = standing.lock();
        (standing.state, standing.detail) = (AnalyzerState::Failed, format!("no thread can be started: {problem}"));
        None
    }
}

/// Runs one consumer until it is stopped.
fn drive(
    settings: Settings,
    component: Arc<dyn Component>,
    around: Surroundings,
    meters: Meters,
    handle: &Handle,
    clock: &crate::clock::Clock,
    stop: &CancellationToken,
) {
    let (plugin, standing) = (settings.plugin.clone(), Arc::clone(&around.standing));
    let mut committed = around.records.committed();
    let fail = |problem: String| {
        error!(plugin, problem, "analyzer `{plugin}` cannot run: {problem}");
        let mut standing = standing.lock();
        (standing.state, standing.detail) = (AnalyzerState::Failed, problem);
    };
    let mut consumer = match Consumer::open(settings, component, around, meters) {
        Ok(Ok(consumer)) => consumer,
        Ok(Err(problem)) => {
            fail(problem);
            // It stays failed until its plugin is changed.
            return handle.block_on(stop.cancelled());
        }
        // It is tried again in a minute.
        Err(problem) => return fail(text_of(&problem)),
    };
    info!(plugin, "analyzer `{plugin}` reads the log");
    let mut failing = false;
    while !stop.is_cancelled() {
        committed.borrow_and_update();
        let next = match consumer.step(stop) {
            Ok(next) => {
                failing = false;
                next
            }
            Err(StoreError::Closed) => return,
            Err(failed) => {
                let reason = text_of(&failed);
                if !failing {
                    error!(plugin, reason, "analyzer `{plugin}` waits for the store: {reason}");
                    failing = true;
                }
                let mut standing = standing.lock();
                (standing.state, standing.detail) = (AnalyzerState::Waiting, reason);
                Next { within: Some(RETRY), ..Next::default() }
            }
        };
        if next.within != Some(Duration::ZERO) {
            handle.block_on(wait(next, clock, &mut committed, stop));
        }
    }
    if let Err(failed) = consumer.finish() {
        info!(plugin, reason = %failed, "what analyzer `{plugin}` did last is not stored; it is done again");
    }
}

async fn wait(next: Next, clock: &crate::clock::Clock, committed: &mut watch::Receiver<u64>, stop: &CancellationToken) {
    let at = async {
        match next.at {
            Some(at) => clock.sleep_until(at).await,
            None => std::future::pending().await,
        }
    };
    let within = async {
        match next.within {
            Some(within) => tokio::time::sleep(within).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = at => {}
        () = within => {}
        changed = committed.changed(), if next.records => if changed.is_err() { stop.cancelled().await },
    }
}

fn text_of(error: &StoreError) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}
