//! How each syslog listener stands: for `status`, and counted.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use watchfire_types::Timestamp;

use super::listen::{Listen, Transport};
use super::records::Built;
use crate::store::Accepted;
use crate::telemetry::{Counter, Gauge, SelfMetrics};

/// Trouble is shown for this long after it was seen last.
const REMEMBER_TROUBLE: Duration = Duration::from_secs(300);

/// What is happening with a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyslogState {
    /// It takes messages.
    Listening,
    /// The store does not take its messages at present.
    Busy,
    /// Messages were lost in the last minutes.
    Losing,
}

/// How one listener stands.
#[derive(Clone, Debug)]
pub struct SyslogStatus {
    /// Its address as it is bound.
    pub listen: Listen,
    /// What is happening.
    pub state: SyslogState,
    /// What it has done, or what is wrong.
    pub detail: String,
    /// What to do; empty if nothing.
    pub hint: &'static str,
}

/// What went wrong with messages or those who send them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Datagrams that the kernel had no room for.
    KernelDrops(u64),
    /// Messages that were still waiting when the host stopped.
    Unstored(u64),
    /// Messages or connections from an address that is not allowed.
    NotAllowed,
    /// A connection beyond the allowed number.
    TooManyConnections,
    /// A connection that did not become TLS.
    Handshake,
}

impl Trouble {
    /// Returns whether it costs messages that should have been taken. Of what strangers try, a listener is not worse.
    const fn is_loss(self) -> bool {
        matches!(self, Self::KernelDrops(_) | Self::Unstored(_) | Self::TooManyConnections)
    }

    const fn hint(self) -> &'static str {
        match self {
            Self::KernelDrops(_) => {
                "raise receive_buffer_bytes (and sysctl net.core.rmem_max unless the host runs as root), or send over tcp"
            }
            Self::Unstored(_) => "nothing, if the host was stopped while its store could not take more",
            Self::NotAllowed => "add the sender's address to `allow`, or find out what it is",
            Self::TooManyConnections => "raise max_connections, or let a relay gather what the senders send",
            Self::Handshake => {
                "see that the sender speaks TLS, trusts our certificate, and shows one of its own if client_ca_file is set"
            }
        }
    }
}

/// One listener's counters and troubles. Shared by all that works for it.
pub(super) struct Watch {
    pub(super) listen: Listen,
    messages: Counter,
    connections: AtomicUsize,
    lost: Counter,
    busy: Mutex<Option<String>>,
    trouble: Mutex<Option<(Timestamp, Trouble, String)>>,
    all: Totals,
}

/// The host's own counters for this transport.
struct Totals {
    records: Counter,
    bytes: Counter,
    invalid: Counter,
    unparsed: Counter,
    truncated: Counter,
    connections: Gauge,
    metrics: SelfMetrics,
    input: &'static str,
}

impl Watch {
    pub(super) fn new(transport: Transport, address: SocketAddr, metrics: &SelfMetrics) -> Self {
        let input = transport.input();
        let by_input = [("input", input)];
        let all = Totals {
            records: metrics.counter("watchfire_input_records_total", &by_input),
            bytes: metrics.counter("watchfire_input_bytes_total", &by_input),
            invalid: metrics.counter("watchfire_input_rejected_total", &[("input", input), ("reason", "invalid_record")]),
            unparsed: metrics.counter("watchfire_syslog_unparsed_total", &by_input),
            truncated: metrics.counter("watchfire_syslog_truncated_total", &by_input),
            connections: metrics.gauge("watchfire_syslog_connections", &[("listener", &Listen { transport, address }.to_string())]),
            metrics: metrics.clone(),
            input,
        };
        Self {
            listen: Listen { transport, address },
            messages: Counter::default(),
            connections: AtomicUsize::new(0),
            lost: Counter::default(),
            busy: Mutex::default(),
            trouble: Mutex::default(),
            all,
        }
    }

    /// Counts what has been stored.
    pub(super) fn stored(&self, accepted: &Accepted, unparsed: u64, truncated: u64) {
        self.messages.add(accepted.accepted);
        self.all.records.add(accepted.accepted);
        self.all.invalid.add(accepted.rejected);
        self.all.unparsed.add(unparsed);
        self.all.truncated.add(truncated);
        *self.busy.lock() = None;
    }

    pub(super) fn counts(built: &Built) -> (u64, u64) {
        (built.unparsed, built.truncated)
    }

    /// Counts bytes read.
    pub(super) fn read(&self, bytes: usize) {
        self.all.bytes.add(bytes as u64);
    }

    /// Takes note that the store does not take messages.
    pub(super) fn busy(&self, reason: String) {
        *self.busy.lock() = Some(reason);
    }

    /// Takes note of trouble, and counts it. The first of its kind in five minutes is a warning in the host's log.
    pub(super) fn trouble(&self, now: Timestamp, trouble: Trouble, detail: String) {
        let dropped = |reason, count| {
            self.lost.add(count);
            self.all.metrics.counter("watchfire_syslog_dropped_total", &[("input", self.all.input), ("reason", reason)]).add(count);
        };
        let rejected = |reason| {
            self.all.metrics.counter("watchfire_input_rejected_total", &[("input", self.all.input), ("reason", reason)]).inc();
        };
        match trouble {
            Trouble::KernelDrops(count) => dropped("kernel", count),
            Trouble::Unstored(count) => dropped("stopped", count),
            Trouble::NotAllowed => rejected("not_allowed"),
            Trouble::TooManyConnections => rejected("too_many_connections"),
            Trouble::Handshake => rejected("tls"),
        }
        let mut last = self.trouble.lock();
        let is_new = last.as_ref().is_none_or(|(at, known, _)| {
            std::mem::discriminant(known) != std::mem::discriminant(&trouble) || now.since(*at) > REMEMBER_TROUBLE
        });
        if is_new {
            tracing::warn!(listener = %self.listen, "syslog at {}: {detail}: {}", self.listen, trouble.hint());
        }
        *last = Some((now, trouble, detail));
    }

    /// Counts a connection until what it returns is dropped; `None` if there are `most` already.
    pub(super) fn connect(self: &Arc<Self>, most: usize) -> Option<Connected> {
        let count = self.connections.fetch_add(1, Ordering::Relaxed) + 1;
        let connected = Connected(Arc::clone(self));
        self.all.connections.set(count as f64);
        (count <= most).then_some(connected)
    }

    fn status(&self, now: Timestamp) -> SyslogStatus {
        // Writing to a `String` cannot fail.
        let mut detail = format!("{} messages", self.messages.get());
        if self.listen.transport != Transport::Udp {
            let _ = write!(detail, ", {} connections", self.connections.load(Ordering::Relaxed));
        }
        if self.lost.get() > 0 {
            let _ = write!(detail, ", {} lost", self.lost.get());
        }
        let trouble = self.trouble.lock().clone().filter(|(at, ..)| now.since(*at) <= REMEMBER_TROUBLE);
        let (state, hint) = match (&*self.busy.lock(), trouble) {
            (Some(reason), _) => {
                let _ = write!(detail, "; the store does not take more at present: {reason}");
                let hint = if self.listen.transport == Transport::Udp {
                    "mend the store; what does not fit into the buffers meanwhile is lost and counted"
                } else {
                    "mend the store; senders wait meanwhile"
                };
                (SyslogState::Busy, hint)
            }
            (None, Some((_, trouble, last))) => {
                let _ = write!(detail, "; {last}");
                (if trouble.is_loss() { SyslogState::Losing } else { SyslogState::Listening }, trouble.hint())
            }
            (None, None) => (SyslogState::Listening, ""),
        };
        SyslogStatus { listen: self.listen, state, detail, hint }
    }
}

/// A counted connection.
pub(super) struct Connected(Arc<Watch>);

impl Drop for Connected {
    fn drop(&mut self) {
        let count = self.0.connections.fetch_sub(1, Ordering::Relaxed) - 1;
        self.0.all.connections.set(count as f64);
    }
}

/// The status of every listener. Cheap to clone.
#[derive(Clone, Default)]
pub struct SyslogStatuses(pub(super) Arc<[Arc<Watch>]>);

impl SyslogStatuses {
    /// Returns all of them, in the order of the configuration.
    #[must_use]
    pub fn snapshot(&self, now: Timestamp) -> Vec<SyslogStatus> {
        self.0.iter().map(|watch| watch.status(now)).collect()
    }
}
