//! The one place that knows how a host is started inside a process.

use std::net::SocketAddr;

use watchfire::clock::Clock;
use watchfire::config::Config;

/// A host running in this process.
pub(crate) struct RunningHost {
    // integrator: `inner: watchfire::app::Host`
}

impl RunningHost {
    /// Starts a host and returns once it answers.
    #[expect(clippy::unused_async, reason = "integrator: awaits `Host::start`")]
    pub(crate) async fn start(config: Config, clock: Clock) -> anyhow::Result<Self> {
        // integrator: `Ok(Self { inner: watchfire::app::Host::start(config, clock).await? })`
        drop((config, clock));
        anyhow::bail!("the host cannot be started in this process yet")
    }

    /// Returns the address of everything.
    #[expect(clippy::unused_self, reason = "integrator: `self.inner.address()`")]
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    /// Stops it cleanly.
    #[expect(clippy::unused_async, reason = "integrator: `self.inner.stop().await`")]
    pub(crate) async fn stop(self) {}
}
