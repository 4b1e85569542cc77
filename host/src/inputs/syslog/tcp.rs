//! Syslog in streams, plain or in TLS. A sender whose messages the store does not take is not read, so it waits.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures::FutureExt as _;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::framing::{Framing, Step};
use super::listen::Network;
use super::records::Records;
use super::status::{Connected, Trouble};
use super::storing::{MAX_MESSAGES, Raw, Store};
use super::udp::is_allowed;

/// Bytes that are read at a time: at first, and at most from a busy sender.
const READ_BYTES: std::ops::RangeInclusive<usize> = 16 << 10..=256 << 10;

/// A client has this long to finish its handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait after the system refused to hand out a connection, which it does when there are too many files open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// A connection is asked whether it is still there after so much silence.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// How long the last look for bytes takes when the host stops: whether some are there is told a moment later.
const LAST_LOOK: Duration = Duration::from_millis(10);

type Stream = Box<dyn AsyncRead + Send + Unpin>;

/// What a stream listener goes by.
pub(super) struct Settings {
    pub(super) max_message_bytes: usize,
    pub(super) max_connections: usize,
    pub(super) allow: Vec<Network>,
    pub(super) tls: Option<TlsAcceptor>,
}

/// A connection that a next host goes on with: no message of it is lost by reading the configuration again.
pub(super) struct Parked {
    stream: Stream,
    peer: IpAddr,
    framing: Framing,
    buffer: Vec<u8>,
}

/// Serves connections until the host stops; returns those that are open then.
pub(super) async fn serve(
    listener: TcpListener,
    parked: Vec<Parked>,
    settings: Settings,
    store: Store,
    make_records: impl Fn() -> Records,
) -> Vec<Parked> {
    let mut tasks: JoinSet<Option<Parked>> = JoinSet::new();
    for parked in parked {
        if let Some(connected) = store.watch.connect(usize::MAX) {
            let connection = Connection::of(parked, store.clone(), make_records(), connected);
            tasks.spawn(connection.run());
        }
    }
    loop {
        tokio::select! {
            () = store.shutdown.cancelled() => break,
            // Ended ones; the last of them must not be waited for again and again.
            Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    if let Some(connected) = admit(peer, &settings, &store) {
                        let (tls, max, store, records) = (settings.tls.clone(), settings.max_message_bytes, store.clone(), make_records());
                        tasks.spawn(async move { begin(stream, peer, tls, max, store, records, connected).await });
                    }
                }
                Err(error) => {
                    tracing::warn!(listener = %store.watch.listen, %error, "a syslog connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    let mut open = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        open.extend(ended.ok().flatten());
    }
    open
}

fn admit(peer: SocketAddr, settings: &Settings, store: &Store) -> Option<Connected> {
    let peer = peer.ip().to_canonical();
    if !is_allowed(&settings.allow, peer) {
        store.watch.trouble(store.clock.now(), Trouble::NotAllowed, format!("{peer} is not allowed to send"));
        return None;
    }
    let connected = store.watch.connect(settings.max_connections);
    if connected.is_none() {
        let detail = format!("{peer} was turned away: {} connections are open", settings.max_connections);
        store.watch.trouble(store.clock.now(), Trouble::TooManyConnections, detail);
    }
    connected
}

async fn begin(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    max_message_bytes: usize,
    store: Store,
    records: Records,
    connected: Connected,
) -> Option<Parked> {
    let peer = peer.ip().to_canonical();
    // Without it a sender that lost its power would count as a connection for ever.
    let _ = rustix::net::sockopt::set_socket_keepalive(&stream, true);
    let _ = rustix::net::sockopt::set_tcp_keepidle(&stream, KEEPALIVE);
    let stream: Stream = match tls {
        None => Box::new(stream),
        Some(tls) => {
            let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream));
            let result = tokio::select! {
                () = store.shutdown.cancelled() => return None,
                result = handshake => result,
            };
            let problem = match result {
                Ok(Ok(stream)) => Ok(Box::new(stream)),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err(format!("it took longer than {HANDSHAKE_TIMEOUT:?}")),
            };
            match problem {
                Ok(stream) => stream,
                Err(problem) => {
                    store.watch.trouble(
                        store.clock.now(),
                        Trouble::Handshake,
                        format!("the TLS handshake with {peer} failed: {problem}"),
                    );
                    return None;
                }
            }
        }
    };
    let parked = Parked { stream, peer, framing: Framing::new(max_message_bytes), buffer: Vec::new() };
    Connection::of(parked, store, records, connected).run().await
}

struct Connection {
    stream: Stream,
    peer: IpAddr,
    framing: Framing,
    buffer: Vec<u8>,
    read_bytes: usize,
    store: Store,
    records: Records,
    connected: Connected,
}

impl Connection {
    fn of(parked: Parked, store: Store, records: Records, connected: Connected) -> Self {
        let Parked { stream, peer, framing, buffer } = parked;
        Self { stream, peer, framing, buffer, read_bytes: *READ_BYTES.start(), store, records, connected }
    }

    /// Reads and stores until the sender is done, or the host stops.
    async fn run(mut self) -> Option<Parked> {
        let shutdown = self.store.shutdown.clone();
        let mut is_last = false;
        while self.store_whole().await && !is_last {
            // What has arrived when the host stops is still taken.
            is_last = shutdown.is_cancelled();
            let read = tokio::select! {
                biased;
                read = fill(&mut self.stream, &mut self.buffer, &mut self.read_bytes) => read,
                () = async {
                    shutdown.cancelled().await;
                    tokio::time::sleep(LAST_LOOK).await;
                } => break,
            };
            if let Ok(count @ 1..) = read {
                self.store.watch.read(count);
            } else {
                // An end without TLS's farewell is an end.
                self.store_whole().await;
                self.store_rest().await;
                return None;
            }
        }
        let Self { stream, peer, framing, buffer, connected, .. } = self;
        drop(connected);
        Some(Parked { stream, peer, framing, buffer })
    }

    /// Stores every message that is there as a whole. Returns false, with all of it still there, if the host stops before.
    async fn store_whole(&mut self) -> bool {
        loop {
            let before = self.framing.clone();
            let (mut messages, mut position) = (Vec::new(), 0);
            while messages.len() < MAX_MESSAGES {
                match self.framing.next(&self.buffer[position..]) {
                    Step::More => break,
                    Step::Skip(count) => position += count,
                    Step::Message { bytes, consumed, is_cut } => {
                        if !bytes.is_empty() {
                            messages.push((position + bytes.start..position + bytes.end, is_cut));
                        }
                        position += consumed;
                    }
                }
            }
            let is_full = messages.len() == MAX_MESSAGES;
            let (buffer, peer) = (&self.buffer, self.peer);
            let raw = || messages.iter().map(|(range, is_cut)| Raw { bytes: &buffer[range.clone()], peer, is_cut: *is_cut });
            if !self.store.store(&mut self.records, raw).await {
                self.framing = before;
                return false;
            }
            self.buffer.drain(..position);
            if !is_full {
                return true;
            }
        }
    }

    /// Stores what is left when the sender is done: a last line without its end.
    async fn store_rest(&mut self) {
        let Some((range, is_cut)) = self.framing.finish(&self.buffer) else { return };
        let raw = || std::iter::once(Raw { bytes: &self.buffer[range.clone()], peer: self.peer, is_cut });
        if !self.store.store(&mut self.records, raw).await {
            self.store.watch.trouble(
                self.store.clock.now(),
                Trouble::Unstored(1),
                "the host stopped before it was stored".to_owned(),
            );
        }
    }
}

/// Waits for bytes, and takes whatever else has arrived by then. Returns their number, 0 at the end. Nothing is lost when it is dropped.
async fn fill(stream: &mut Stream, buffer: &mut Vec<u8>, read_bytes: &mut usize) -> std::io::Result<usize> {
    if buffer.is_empty() {
        // A silent connection holds no memory.
        *buffer = Vec::new();
    }
    buffer.reserve(*READ_BYTES.start());
    let mut count = stream.read_buf(buffer).await?;
    while count > 0 && count < *read_bytes {
        buffer.reserve(*READ_BYTES.start());
        match stream.read_buf(buffer).now_or_never() {
            Some(Ok(more @ 1..)) => count += more,
            // An end or an error shows again at the next read.
            _ => break,
        }
    }
    let is_busy = count >= *read_bytes;
    *read_bytes = if is_busy { (*read_bytes * 2).min(*READ_BYTES.end()) } else { (*read_bytes / 2).max(*READ_BYTES.start()) };
    Ok(count)
}
