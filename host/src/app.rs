//! Builds every part in order, runs them, and stops them in reverse.

use std::net::SocketAddr;

use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::telemetry::SelfMetrics;
use crate::telemetry::own_log;

/// Called once, with the address that is served, when the host is ready.
pub type Ready = Box<dyn FnOnce(SocketAddr) + Send>;

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
}

/// Runs the host until `options.shutdown`.
pub async fn run(config: Config, options: RunOptions) -> anyhow::Result<()> {
    let _held = crate::store::DataDirectory::open(&config.storage.data_dir)?;
    let listener = tokio::net::TcpListener::bind(config.server.listen).await?;
    if let Some(ready) = options.ready {
        ready(listener.local_addr()?);
    }
    options.shutdown.cancelled().await;
    Ok(())
}
