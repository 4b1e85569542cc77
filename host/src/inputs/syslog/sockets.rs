//! The sockets, and what of them outlives a reload of the configuration.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::net::sockopt;

use super::listen::{Listen, Transport};
use super::tls::TlsError;
use super::{SyslogInput, tcp, udp};

/// Why a listener cannot be there.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Its address cannot be had.
    #[error("cannot listen for syslog on {listen}{}", hint(.source))]
    Address {
        listen: Listen,
        #[source]
        source: io::Error,
    },
    /// Its certificate cannot be used.
    #[error("cannot speak TLS on {listen}")]
    Tls {
        listen: Listen,
        #[source]
        source: TlsError,
    },
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => ": ports below 1024 need root or CAP_NET_BIND_SERVICE; choose another in inputs.syslog",
        io::ErrorKind::AddrInUse => {
            ": another program, perhaps the system's syslog daemon, has it; choose another in inputs.syslog"
        }
        _ => "",
    }
}

/// A bound socket.
pub(super) enum Socket {
    Udp(UdpSocket),
    Tcp(TcpListener),
}

impl Socket {
    fn bind(listen: Listen) -> io::Result<Self> {
        match listen.transport {
            Transport::Udp => UdpSocket::bind(listen.address).map(Self::Udp),
            Transport::Tcp | Transport::Tls => {
                let listener = TcpListener::bind(listen.address)?;
                listener.set_nonblocking(true)?;
                Ok(Self::Tcp(listener))
            }
        }
    }

    fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Udp(socket) => socket.try_clone().map(Self::Udp),
            Self::Tcp(listener) => listener.try_clone().map(Self::Tcp),
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Udp(socket) => socket.local_addr(),
            Self::Tcp(listener) => listener.local_addr(),
        }
    }
}

/// What a listener leaves to the next host of this process.
pub(super) enum Parked {
    Nothing,
    Udp(udp::Parked),
    Tcp(Vec<tcp::Parked>),
}

impl Parked {
    pub(super) fn udp(self) -> udp::Parked {
        if let Self::Udp(parked) = self { parked } else { udp::Parked::default() }
    }

    pub(super) fn tcp(self) -> Vec<tcp::Parked> {
        if let Self::Tcp(parked) = self { parked } else { Vec::new() }
    }
}

/// Sockets that stay bound from one host of this process to the next, with what they hold. Cheap to clone.
#[derive(Clone, Default)]
pub struct KeptSockets(Arc<Mutex<Vec<Kept>>>);

struct Kept {
    listen: Listen,
    socket: Socket,
    parked: Parked,
}

impl KeptSockets {
    /// Returns a socket for each of `inputs`, and its address: one that is kept, or a new one, which is kept then. Those that nobody
    /// wants any more are closed, and so are connections to what was TLS and is not, or the other way round.
    pub(super) fn bind(&self, inputs: &[SyslogInput]) -> Result<Vec<(Socket, SocketAddr)>, BindError> {
        let mut kept = self.0.lock();
        let mut before = std::mem::take(&mut *kept);
        let mut wanted: Vec<Option<Kept>> = inputs.iter().map(|input| take_fitting(&mut before, input.listen)).collect();
        // Their addresses may be among those that are bound next.
        drop(before);
        let mut sockets = Vec::new();
        let mut result = Ok(());
        for (input, kept) in inputs.iter().zip(&mut wanted) {
            match bind(input, kept) {
                Ok(socket) => sockets.push(socket),
                Err(source) if result.is_ok() => result = Err(BindError::Address { listen: input.listen, source }),
                Err(_) => {}
            }
        }
        // Also if it fails: the configuration before may want them.
        kept.extend(wanted.into_iter().flatten());
        result.map(|()| sockets)
    }

    /// Returns what listener `index` was left.
    pub(super) fn take(&self, index: usize) -> Parked {
        let mut kept = self.0.lock();
        kept.get_mut(index).map_or(Parked::Nothing, |kept| std::mem::replace(&mut kept.parked, Parked::Nothing))
    }

    /// Leaves something with listener `index`.
    pub(super) fn park(&self, index: usize, parked: Parked) {
        if let Some(kept) = self.0.lock().get_mut(index) {
            kept.parked = parked;
        }
    }
}

fn take_fitting(before: &mut Vec<Kept>, listen: Listen) -> Option<Kept> {
    let is_stream = |transport| transport != Transport::Udp;
    let fits =
        |kept: &Kept| kept.listen.address == listen.address && is_stream(kept.listen.transport) == is_stream(listen.transport);
    let mut kept = before.remove(before.iter().position(fits)?);
    if kept.listen.transport != listen.transport {
        kept.parked = Parked::Nothing;
        kept.listen = listen;
    }
    Some(kept)
}

fn bind(input: &SyslogInput, kept: &mut Option<Kept>) -> io::Result<(Socket, SocketAddr)> {
    let listen = input.listen;
    let kept = match kept {
        Some(kept) => kept,
        None => kept.insert(Kept { listen, socket: Socket::bind(listen)?, parked: Parked::Nothing }),
    };
    if let Socket::Udp(socket) = &kept.socket {
        enlarge(socket, input.receive_buffer_bytes);
    }
    Ok((kept.socket.try_clone()?, kept.socket.local_addr()?))
}

/// Asks for a buffer of `bytes`: beyond the system's limit if we are root, else as much as it allows.
fn enlarge(socket: &UdpSocket, bytes: usize) {
    let result =
        sockopt::set_socket_recv_buffer_size_force(socket, bytes).or_else(|_| sockopt::set_socket_recv_buffer_size(socket, bytes));
    // The kernel doubles what it is asked for, and says the double.
    let got = sockopt::socket_recv_buffer_size(socket).unwrap_or(0) / 2;
    if result.is_err() || got < bytes {
        tracing::warn!(
            "the kernel holds at most {got} bytes of syslog datagrams instead of {bytes}: raise sysctl net.core.rmem_max, or lower receive_buffer_bytes"
        );
    }
}
