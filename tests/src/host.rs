//! The one place that knows how a host is started inside a process.

use std::net::SocketAddr;

use watchfire::app::Host;
use watchfire::clock::Clock;
use watchfire::config::Config;

/// A host running in this process.
pub(crate) struct RunningHost {
    inner: Host,
}

impl RunningHost {
    /// Starts a host and returns once it answers.
    pub(crate) async fn start(config: Config, clock: Clock) -> anyhow::Result<Self> {
        Ok(Self { inner: Host::start(config, clock).await? })
    }

    /// Returns the address of everything.
    pub(crate) fn address(&self) -> SocketAddr {
        self.inner.address()
    }

    /// Returns the addresses that take syslog.
    pub(crate) fn syslog_addresses(&self) -> Vec<SocketAddr> {
        self.inner.syslog_addresses().to_vec()
    }

    /// Stops it cleanly.
    pub(crate) async fn stop(self) {
        self.inner.stop().await;
    }
}
