//! Syslog over UDP, TCP and TLS, in both its forms.
//!
//! There is no acknowledgement in syslog. What can be done instead: a stream is not read while the store does not take its messages, so
//! its sender waits; datagrams are read as fast as they come, and those that are lost are counted; and sockets, connections and what
//! they hold outlive a reload of the configuration.
//!
//! **Invariant**: every message that is read becomes a record. What is not understood of it is its text, and an attribute says why.

mod bsd;
pub mod framing;
pub mod listen;
pub mod message;
pub mod records;
mod sockets;
pub mod status;
mod storing;
mod tcp;
#[cfg(test)]
mod tests;
pub mod times;
pub mod tls;
mod udp;

use std::net::SocketAddr;
use std::sync::Arc;

pub use jiff::tz::TimeZone;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::LogSink;
use crate::clock::Clock;
use crate::store::StoreError;
use crate::telemetry::SelfMetrics;

pub use listen::{Listen, Network, Transport};
use records::Records;
pub use sockets::{BindError, KeptSockets};
use sockets::{Parked, Socket};
use status::Watch;
pub use status::{SyslogState, SyslogStatus, SyslogStatuses};
use storing::Store;
pub use tls::TlsFiles;

/// One entry of `inputs.syslog`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyslogInput {
    /// Where to listen, and how.
    pub listen: Listen,
    /// Certificate and key; there if and only if the transport is TLS.
    pub tls: Option<TlsFiles>,
    /// In which zone times are meant that name none.
    pub zone: TimeZone,
    /// `service.name` of all its messages; by default what each names as its program.
    pub service: Option<String>,
    /// Longer messages are cut.
    pub max_message_bytes: usize,
    /// What the kernel may hold for a UDP socket.
    pub receive_buffer_bytes: usize,
    /// Most connections at a time.
    pub max_connections: usize,
    /// Who may send; everybody if it is empty.
    pub allow: Vec<Network>,
}

impl SyslogInput {
    /// Longer messages are cut.
    pub const MAX_MESSAGE_BYTES: u64 = 64 << 10;
    /// A second of what a busy network sends: 8 MiB are about ten thousand datagrams, since the kernel counts its own overhead too.
    pub const RECEIVE_BUFFER_BYTES: u64 = 8 << 20;
    /// Most connections at a time.
    pub const MAX_CONNECTIONS: u32 = 1000;
}

/// Listeners whose sockets are bound.
pub struct Syslog {
    bound: Vec<Bound>,
}

struct Bound {
    input: SyslogInput,
    socket: Socket,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
}

impl Syslog {
    /// Binds every listener, to the socket that an earlier host kept if there is one.
    ///
    /// # Errors
    /// When an address is taken or may not be used, or a certificate cannot be read.
    pub fn bind(inputs: &[SyslogInput], kept: &KeptSockets) -> Result<Self, BindError> {
        let sockets = kept.bind(inputs)?;
        let bound = inputs.iter().zip(sockets).map(|(input, (socket, address))| {
            let tls = input.tls.as_ref().map(tls::server_config).transpose();
            let tls = tls.map_err(|source| BindError::Tls { listen: input.listen, source })?.map(TlsAcceptor::from);
            Ok(Bound { input: input.clone(), socket, address, tls })
        });
        Ok(Self { bound: bound.collect::<Result<_, _>>()? })
    }

    /// Returns the addresses as they are bound, in the order of the configuration.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.bound.iter().map(|bound| bound.address).collect()
    }

    /// Begins to count, and returns how the listeners stand from now on.
    #[must_use]
    pub fn statuses(&self, metrics: &SelfMetrics) -> SyslogStatuses {
        let watch = |bound: &Bound| Arc::new(Watch::new(bound.input.listen.transport, bound.address, metrics));
        SyslogStatuses(self.bound.iter().map(watch).collect())
    }

    /// Takes messages until `shutdown`, and leaves sockets and connections in `kept`.
    ///
    /// # Errors
    /// When a listener ends by itself.
    pub async fn run(
        self,
        statuses: SyslogStatuses,
        sink: Arc<dyn LogSink>,
        clock: Clock,
        kept: KeptSockets,
        shutdown: CancellationToken,
    ) -> Result<(), StoreError> {
        let own_host = sysinfo::System::host_name().ok();
        let mut tasks = tokio::task::JoinSet::new();
        for (index, (bound, watch)) in self.bound.into_iter().zip(statuses.0.iter()).enumerate() {
            let parked = kept.take(index);
            let store =
                Store { sink: Arc::clone(&sink), clock: clock.clone(), watch: Arc::clone(watch), shutdown: shutdown.clone() };
            let (kept, own_host) = (kept.clone(), own_host.clone());
            tasks.spawn(async move {
                let listen = store.watch.listen;
                let result = bound.run(parked, store, own_host).await.map(|parked| kept.park(index, parked));
                result.map_err(|source| StoreError::Io { path: listen.to_string().into(), source })
            });
        }
        let mut result = Ok(());
        while let Some(ended) = tasks.join_next().await {
            match ended {
                Ok(ended) => result = result.and(ended),
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
        result
    }
}

impl Bound {
    async fn run(self, parked: Parked, store: Store, own_host: Option<String>) -> std::io::Result<Parked> {
        let Self { input, socket, tls, .. } = self;
        let records = || Records::new(input.zone.clone(), input.service.clone(), own_host.clone());
        let allow = input.allow.clone();
        match socket {
            Socket::Udp(socket) => {
                let settings = udp::Settings { max_message_bytes: input.max_message_bytes, allow };
                Ok(Parked::Udp(udp::receive(socket, parked.udp(), settings, store, records()).await?))
            }
            Socket::Tcp(listener) => {
                let (max_message_bytes, max_connections) = (input.max_message_bytes, input.max_connections);
                let settings = tcp::Settings { max_message_bytes, max_connections, allow, tls };
                let listener = TcpListener::from_std(listener)?;
                Ok(Parked::Tcp(tcp::serve(listener, parked.tcp(), settings, store, records).await))
            }
        }
    }
}
