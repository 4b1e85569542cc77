//! Syslog in datagrams. Nobody sends a lost one again, so a thread of its own does nothing but empty the kernel's buffer into ours.
//!
//! When ours is full, which takes a store that is busy for long, it stops reading: then the kernel drops what does not fit into its
//! buffer, and says how much that was.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use tokio::sync::Notify;

use super::framing;
use super::listen::Network;
use super::records::Records;
use super::status::{Trouble, Watch};
use super::storing::{MAX_MESSAGES, Raw, Store};
use crate::clock::Clock;

/// No datagram is larger.
const MAX_DATAGRAM_BYTES: usize = 65_536;

/// Bytes that are read at a time before they are handed over.
const MAX_TURN_BYTES: usize = 256 << 10;

/// Bytes that wait to be stored before the thread stops reading.
const MAX_PENDING_BYTES: usize = 16 << 20;

/// Datagrams in one turn from which on it is worth to let some gather: each turn costs three system calls beside one for each datagram.
const BUSY_TURN: usize = 8;

/// How long they may gather. At 200,000 a second that is a hundred of them, which any buffer holds.
const GATHER: Duration = Duration::from_micros(500);

/// Turns that are taken at most when the host stops: as much as the largest buffer holds.
const LAST_TURNS: usize = 64;

/// How often the kernel is asked what it has dropped: while datagrams come, and otherwise.
const LOOK: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];

/// Datagrams that wait to be stored.
#[derive(Debug, Default)]
pub(super) struct Pending {
    bytes: Vec<u8>,
    /// Where each ends, and who sent it.
    packets: Vec<(usize, IpAddr)>,
}

impl Pending {
    fn clear(&mut self) {
        self.bytes.clear();
        self.packets.clear();
    }

    /// Moves everything of `other` behind what is here.
    fn append(&mut self, other: &mut Self) {
        if self.packets.is_empty() {
            std::mem::swap(self, other);
            return other.clear();
        }
        let before = self.bytes.len();
        self.bytes.append(&mut other.bytes);
        self.packets.extend(other.packets.drain(..).map(|(end, from)| (before + end, from)));
    }

    /// Returns the messages of packets `range`.
    fn messages(&self, range: std::ops::Range<usize>, max_message_bytes: usize) -> Vec<Raw<'_>> {
        let mut messages = Vec::with_capacity(range.len());
        let mut start = range.start.checked_sub(1).map_or(0, |before| self.packets[before].0);
        for (end, peer) in &self.packets[range] {
            framing::datagram(&self.bytes[start..*end], max_message_bytes, &mut |bytes, is_cut| {
                messages.push(Raw { bytes, peer: *peer, is_cut });
            });
            start = *end;
        }
        messages
    }

    /// Removes the first `count` packets.
    fn remove(&mut self, count: usize) {
        if let Some(end) = count.checked_sub(1).map(|last| self.packets[last].0) {
            self.bytes.drain(..end);
            self.packets.drain(..count);
            self.packets.iter_mut().for_each(|(other, _)| *other -= end);
        }
    }
}

/// What the receiving thread and the storing task share.
#[derive(Default)]
struct Shared {
    pending: Mutex<Pending>,
    room: Condvar,
    filled: Notify,
    /// No one takes what is pending any more.
    is_closed: AtomicBool,
    /// The thread has ended.
    has_ended: AtomicBool,
}

/// What a UDP listener goes by.
pub(super) struct Settings {
    pub(super) max_message_bytes: usize,
    pub(super) allow: Vec<Network>,
}

/// What a next host goes on with.
#[derive(Default)]
pub(super) struct Parked {
    pub(super) pending: Pending,
    /// What the kernel had said it dropped.
    pub(super) drops: u64,
}

/// Receives until the host stops. Then what the kernel holds is read and stored, too.
///
/// # Errors
/// When the thread cannot be started.
pub(super) async fn receive(
    socket: UdpSocket,
    parked: Parked,
    settings: Settings,
    store: Store,
    mut records: Records,
) -> std::io::Result<Parked> {
    let socket = Arc::new(socket);
    let shared = Arc::new(Shared::default());
    let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
    // However this ends, the thread ends too.
    let _ended = Ending { shared: Arc::clone(&shared), wake: Arc::clone(&wake) };
    let receiver = Receiver {
        socket: Arc::clone(&socket),
        wake: Arc::clone(&wake),
        shared: Arc::clone(&shared),
        allow: settings.allow,
        watch: Arc::clone(&store.watch),
        clock: store.clock.clone(),
    };
    std::thread::Builder::new().name("syslog-udp".to_owned()).spawn(move || receiver.run())?;
    let mut drops = KernelDrops { socket: Arc::clone(&socket), seen: parked.drops };
    let mut pending = parked.pending;
    let mut look_at = tokio::time::Instant::now() + LOOK[0];
    loop {
        let is_last = shared.has_ended.load(Ordering::Acquire);
        pending.append(&mut std::mem::take(&mut *shared.pending.lock()));
        shared.room.notify_one();
        let had_some = !pending.packets.is_empty();
        let is_stored = store_all(&mut pending, settings.max_message_bytes, &store, &mut records).await;
        if is_last && !store.shutdown.is_cancelled() {
            return Err(std::io::Error::other("the receiving thread has ended by itself"));
        }
        if is_last || !is_stored {
            drops.count(&store).await;
            return Ok(Parked { pending, drops: drops.seen });
        }
        if had_some {
            look_at = look_at.min(tokio::time::Instant::now() + LOOK[0]);
        }
        tokio::select! {
            () = shared.filled.notified() => {}
            () = store.shutdown.cancelled(), if !is_last => {
                wake_up(&wake);
                shared.filled.notified().await;
            }
            () = tokio::time::sleep_until(look_at) => {
                drops.count(&store).await;
                look_at = tokio::time::Instant::now() + LOOK[1];
            }
        }
    }
}

/// Stores all of `pending`; returns false, with what is left in it, if the host stops before that is done.
async fn store_all(pending: &mut Pending, max_message_bytes: usize, store: &Store, records: &mut Records) -> bool {
    let mut stored = 0;
    while stored < pending.packets.len() {
        let end = (stored + MAX_MESSAGES).min(pending.packets.len());
        let messages = pending.messages(stored..end, max_message_bytes);
        if !store.store(records, || messages.iter().copied()).await {
            pending.remove(stored);
            return false;
        }
        stored = end;
    }
    pending.clear();
    true
}

struct Ending {
    shared: Arc<Shared>,
    wake: Arc<OwnedFd>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.shared.is_closed.store(true, Ordering::Release);
        self.shared.room.notify_one();
        wake_up(&self.wake);
    }
}

fn wake_up(wake: &OwnedFd) {
    // It can only fail by being full, and then it is awake.
    let _ = rustix::io::write(wake, &1_u64.to_ne_bytes());
}

struct Receiver {
    socket: Arc<UdpSocket>,
    wake: Arc<OwnedFd>,
    shared: Arc<Shared>,
    allow: Vec<Network>,
    watch: Arc<Watch>,
    clock: Clock,
}

impl Receiver {
    fn run(self) {
        let mut turn = Pending::default();
        let mut was_busy = false;
        loop {
            if was_busy {
                std::thread::sleep(GATHER);
            }
            let mut waits = [PollFd::new(&*self.socket, PollFlags::IN), PollFd::new(&*self.wake, PollFlags::IN)];
            let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
            match poll(&mut waits, was_busy.then_some(&at_once)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => {
                    tracing::error!(listener = %self.watch.listen, %error, "syslog at {} is no longer received", self.watch.listen);
                    break;
                }
            }
            if !waits[1].revents().is_empty() {
                // What has been sent until now is still taken, within reason.
                let _ = (0..LAST_TURNS).find(|_| self.turn(&mut turn) == 0);
                break;
            }
            was_busy = self.turn(&mut turn) >= BUSY_TURN;
        }
        self.shared.has_ended.store(true, Ordering::Release);
        self.shared.filled.notify_one();
    }

    /// Reads what there is, up to a bound, and hands it over. Returns the number of datagrams.
    fn turn(&self, turn: &mut Pending) -> usize {
        let mut count = 0;
        while turn.bytes.len() < MAX_TURN_BYTES {
            turn.bytes.reserve(MAX_DATAGRAM_BYTES);
            let before = turn.bytes.len();
            match rustix::net::recvfrom(&*self.socket, spare_capacity(&mut turn.bytes), RecvFlags::DONTWAIT) {
                Ok((_, _, from)) => {
                    count += 1;
                    let from = from.and_then(|from| SocketAddr::try_from(from).ok());
                    let from = from.map_or(IpAddr::from([0, 0, 0, 0]), |from| from.ip().to_canonical());
                    if is_allowed(&self.allow, from) {
                        turn.packets.push((turn.bytes.len(), from));
                    } else {
                        turn.bytes.truncate(before);
                        self.watch.trouble(self.clock.now(), Trouble::NotAllowed, format!("{from} is not allowed to send"));
                    }
                }
                Err(Errno::AGAIN) => break,
                // What an earlier datagram of ours would have caused; we send none, but the kernel may tell.
                Err(error) => {
                    tracing::debug!(listener = %self.watch.listen, %error, "a datagram could not be read");
                    break;
                }
            }
        }
        self.watch.read(turn.bytes.len());
        if !turn.packets.is_empty() {
            let mut pending = self.shared.pending.lock();
            while pending.bytes.len() > MAX_PENDING_BYTES && !self.shared.is_closed.load(Ordering::Acquire) {
                self.shared.room.wait(&mut pending);
            }
            pending.append(turn);
            drop(pending);
            self.shared.filled.notify_one();
        }
        turn.clear();
        count
    }
}

/// Returns whether `from` may send; everybody may if nobody is named.
pub(super) fn is_allowed(allow: &[Network], from: IpAddr) -> bool {
    allow.is_empty() || allow.iter().any(|network| network.contains(from))
}

/// What the kernel has dropped since the socket was made.
struct KernelDrops {
    socket: Arc<UdpSocket>,
    seen: u64,
}

impl KernelDrops {
    /// Counts what has been dropped since the last look.
    async fn count(&mut self, store: &Store) {
        let socket = Arc::clone(&self.socket);
        let Ok(Some(total)) = tokio::task::spawn_blocking(move || dropped(&socket)).await else { return };
        let new = total.saturating_sub(self.seen);
        self.seen = total;
        if new > 0 {
            let detail = format!("the kernel dropped {new} datagrams because they were not read fast enough");
            store.watch.trouble(store.clock.now(), Trouble::KernelDrops(new), detail);
        }
    }
}

/// Returns what the kernel says it dropped for `socket`: the last column of its line in `/proc/net/udp`, which is found by its inode.
fn dropped(socket: &UdpSocket) -> Option<u64> {
    let inode = rustix::fs::fstat(socket).ok()?.st_ino.to_string();
    let table = if socket.local_addr().ok()?.is_ipv4() { "/proc/net/udp" } else { "/proc/net/udp6" };
    drops_in(&std::fs::read_to_string(table).ok()?, &inode)
}

fn drops_in(table: &str, inode: &str) -> Option<u64> {
    let columns = |line: &str| {
        let columns: Vec<&str> = line.split_ascii_whitespace().collect();
        (columns.get(9) == Some(&inode)).then(|| columns.last()?.parse().ok())?
    };
    table.lines().skip(1).find_map(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_found_by_inode() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
                      1: 0100007F:158A 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 17 2 0000000000000000 3\n\
                      2: 0100007F:158B 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 18 2 0000000000000000 42\n";
        assert_eq!((drops_in(table, "18"), drops_in(table, "17"), drops_in(table, "7")), (Some(42), Some(3), None));
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(dropped(&socket), Some(0));
    }

    #[test]
    fn packets_are_appended_and_removed_whole() {
        let packet = |text: &str| Pending { bytes: text.into(), packets: vec![(text.len(), IpAddr::from([127, 0, 0, 1]))] };
        let mut pending = packet("<1>a");
        pending.append(&mut packet("<2>b\n<3>c"));
        pending.append(&mut packet("<4>d"));
        let texts = |pending: &Pending, range| {
            pending
                .messages(range, 10)
                .iter()
                .map(|message| String::from_utf8_lossy(message.bytes).into_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(texts(&pending, 1..3), ["<2>b", "<3>c", "<4>d"]);
        pending.remove(1);
        assert_eq!(texts(&pending, 0..2), ["<2>b", "<3>c", "<4>d"]);
        pending.remove(2);
        assert!(pending.bytes.is_empty());
    }
}
