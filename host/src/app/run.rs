//! Runs a host until it is told to stop, and starts it anew behind the same sockets when its configuration is to be read again.

use std::net::SocketAddr;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{Host, Kept};
use crate::clock::Clock;
use crate::config::Config;
use crate::telemetry::SelfMetrics;
use crate::telemetry::own_log;

/// Called once, with the address that is served, when the host is ready.
pub type Ready = Box<dyn FnOnce(SocketAddr) + Send>;

/// Reads the configuration again.
pub type Reload = Box<dyn Fn() -> anyhow::Result<Config> + Send>;

/// What the caller of [`run`] brings along.
pub struct RunOptions {
    /// Stops the host.
    pub shutdown: CancellationToken,
    /// The host's own metrics, of which the own log keeps some already.
    pub metrics: SelfMetrics,
    /// What the own log wants stored.
    pub own_log: Option<own_log::Queue>,
    /// Told when the host is ready.
    pub ready: Option<Ready>,
    /// Asked for the configuration at each SIGHUP.
    pub reload: Option<Reload>,
}

/// Runs the host until `options.shutdown`. At SIGHUP the configuration is read again; one that is wrong is reported, and the
/// host goes on as it was. Nothing is lost or sent twice by that: what was taken is stored, and so is what was sent.
///
/// # Errors
/// When the host cannot be started.
pub async fn run(config: Config, options: RunOptions) -> anyhow::Result<()> {
    let mut hangup = signal(SignalKind::hangup()).context("cannot wait for SIGHUP")?;
    let mut kept = Kept { own_log: options.own_log, metrics: options.metrics, ..Kept::default() };
    let mut config = config;
    let mut host = Host::start_with(config.clone(), Clock::system(), &mut kept).await?;
    if let Some(ready) = options.ready {
        ready(host.address());
    }
    loop {
        tokio::select! {
            () = options.shutdown.cancelled() => break,
            _ = hangup.recv() => {}
        }
        match options.reload.as_ref().map(|reload| reload()) {
            None => {}
            Some(Err(error)) => tracing::error!("the configuration is not read again: {error:#}"),
            Some(Ok(changed)) => {
                let kept = host.stop().await;
                host = restart(&mut config, changed, kept).await?;
                tracing::info!("the configuration has been read again");
            }
        }
    }
    host.stop().await;
    Ok(())
}

/// Starts with the changed configuration, or with the one before if that cannot be done.
async fn restart(config: &mut Config, changed: Config, mut kept: Kept) -> anyhow::Result<Host> {
    match Host::start_with(changed.clone(), Clock::system(), &mut kept).await {
        Ok(host) => {
            *config = changed;
            Ok(host)
        }
        Err(error) => {
            tracing::error!("the changed configuration does not start: {error:#}; the one before holds");
            Host::start_with(config.clone(), Clock::system(), &mut kept).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_configuration_that_does_not_start_leaves_the_one_before_and_its_own_log() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.storage.data_dir = folder.path().join("data");
        config.storage.ballast_bytes = 0;
        config.server.listen.set_port(0);
        config.server.otlp_listen = None;
        config.server.otlp_grpc_listen = None;
        config.performance.auto_start = false;
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let mut changed = config.clone();
        changed.storage.data_dir = file.join("data");

        let metrics = SelfMetrics::default();
        let (_forward, queue) = own_log::channel(&metrics);
        let mut kept = Kept { own_log: Some(queue), metrics, ..Kept::default() };
        let host = Host::start_with(config.clone(), Clock::system(), &mut kept).await.unwrap();
        let address = host.address();
        let kept = host.stop().await;
        let host = restart(&mut config, changed, kept).await.unwrap();
        assert_eq!((host.address(), &config.storage.data_dir), (address, &folder.path().join("data")));
        assert!(host.stop().await.own_log.is_some());
    }
}
