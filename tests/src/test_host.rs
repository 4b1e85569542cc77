//! A whole host inside the test.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use watchfire::clock::Clock;
use watchfire::config::Config;
use watchfire::logs::pressure::Thresholds;

use crate::host::RunningHost;
use crate::{Client, background, eventually};

/// A host in this process, on port 0, with its own folder and a clock that only the test moves.
///
/// Dropping it stops it, and fails the test if a notification is still queued, unless [`Self::allow_queued`] was called.
pub struct TestHost {
    // `None` only while stopping.
    running: Option<RunningHost>,
    config: Config,
    clock: Clock,
    client: Client,
    folder: TempDir,
    allow_queued: bool,
}

impl TestHost {
    /// Starts a host that does nothing by itself: no own log, no collector, no rules, no receivers.
    pub fn start() -> Self {
        Self::start_with(|_, _| ())
    }

    /// Starts such a host after `change` has changed its configuration; it is given the test's folder, too.
    pub fn start_with(change: impl FnOnce(&mut Config, &Path)) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut config = quiet_config(folder.path());
        change(&mut config, folder.path());
        // Starts now, because SDKs stamp records with the machine's time; from here on only the test moves it.
        let clock = Clock::manual(Clock::system().now());
        let running = start(&config, &clock);
        let client = Client::new(format!("http://{}", running.address()));
        Self { running: Some(running), config, clock, client, folder, allow_queued: false }
    }

    /// Stops the host cleanly and starts it again on the same data.
    pub fn restart(&mut self) {
        self.stop();
        let running = start(&self.config, &self.clock);
        self.client = Client::new(format!("http://{}", running.address()));
        self.running = Some(running);
    }

    /// Returns a client of it.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the addresses that take syslog, in the order of the configuration.
    pub fn syslog_addresses(&self) -> Vec<SocketAddr> {
        self.running.as_ref().map(RunningHost::syslog_addresses).unwrap_or_default()
    }

    /// Returns its clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Returns the path of `name` in the test's own folder, beside the data.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Lets the host end with notifications that are not delivered.
    pub fn allow_queued(&mut self) {
        self.allow_queued = true;
    }

    /// Adds a rule through the API.
    pub async fn add_rule(&self, rule: &Value) {
        self.client.post_json("/api/v1/rules", rule).await.ok();
    }

    /// Moves the clock by `step` and asks, again and again, until `attempt` answers.
    ///
    /// In steps, because what waits inside the host sets its next deadline only after the last one has passed.
    pub async fn advance_until<T>(&self, what: &str, step: Duration, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
        eventually(what, async || {
            let answer = attempt().await;
            if answer.is_none() {
                self.clock.advance(step);
            }
            answer
        })
        .await
    }

    fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            background::block_on(|| running.stop());
        }
    }
}

impl Drop for TestHost {
    fn drop(&mut self) {
        let check = !self.allow_queued && !std::thread::panicking() && self.running.is_some();
        // A client of its own: connections of the test's client live on the test's runtime, which waits for us here.
        let client = self.client.anew();
        let queued = if check { background::block_on(|| still_queued(client)) } else { Vec::new() };
        self.stop();
        assert!(queued.is_empty(), "the test ends with notifications that nobody received: {queued:#?}");
    }
}

/// Returns what is queued and stays so: a receiver may have answered while the receipt is not stored yet.
async fn still_queued(client: Client) -> Vec<Value> {
    for _ in 0..100 {
        if client.outbox("queued").await.is_empty() {
            return Vec::new();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    client.outbox("queued").await
}

fn start(config: &Config, clock: &Clock) -> RunningHost {
    let (config, clock) = (config.clone(), clock.clone());
    background::block_on(|| RunningHost::start(config, clock)).unwrap_or_else(|error| panic!("the host does not start: {error:#}"))
}

fn quiet_config(folder: &Path) -> Config {
    let mut config = Config::default();
    config.server.listen = ([127, 0, 0, 1], 0).into();
    config.server.otlp_listen = None;
    config.server.otlp_grpc_listen = None;
    config.storage.data_dir = folder.join("data");
    config.storage.ballast_bytes = 0;
    // However full the disk is on which the tests run.
    config.storage.thresholds = Thresholds { shed_debug: 0, shed_info: 0, refuse: 0 };
    config.inputs.own_log = false;
    config.performance.auto_start = false;
    config
}
