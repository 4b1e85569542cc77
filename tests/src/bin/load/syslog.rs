//! Syslog on loopback: datagrams at a given pace, of which none may be lost, or streams as fast as the host reads them.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};
use serde_json::json;
use watchfire::clock::Clock;

use crate::Target;
use crate::corpus::Corpus;
use crate::host::Host;
use crate::report::{Report, megabytes, thousands};

/// How many different messages there are.
const POOL: usize = 20_000;

/// How often a sender of datagrams wakes: each time it sends what is due.
const TICK: Duration = Duration::from_millis(1);

/// Nothing more is expected when nothing has come for so long.
const PATIENCE: Duration = Duration::from_secs(5);

/// How messages travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

/// What is sent.
#[derive(Clone, Debug, Args)]
pub(crate) struct SyslogLoad {
    /// Datagrams or streams.
    #[arg(long, value_enum, default_value = "udp")]
    transport: Transport,
    /// Datagrams in a second, which are sent evenly whether or not the host keeps up.
    #[arg(long, default_value_t = 200_000)]
    rate: u64,
    /// Connections of streams.
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Messages in all.
    #[arg(long, default_value_t = 2_000_000)]
    records: usize,
}

impl SyslogLoad {
    /// Returns what `all` measures.
    pub(crate) fn usual(transport: Transport) -> Self {
        Self { transport, rate: 200_000, connections: 4, records: 2_000_000 }
    }
}

/// Measures messages per second, and how many of them are lost.
pub(crate) fn measure(load: &SyslogLoad, target: &Target) -> anyhow::Result<Report> {
    let scheme = if load.transport == Transport::Udp { "udp" } else { "tcp" };
    let host = Host::with(
        target,
        json!({
            "storage": {"max_bytes": 100_000_000_000_u64},
            "inputs": {"syslog": [{"listen": format!("{scheme}://127.0.0.1:0")}]},
        }),
    )?;
    let address = listener(&host, scheme)?;
    let messages = pool();
    let before = host.processor_time().unwrap_or_default();
    let started = Instant::now();
    let sent_bytes = match load.transport {
        Transport::Udp => send_datagrams(address, &messages, load)?,
        Transport::Tcp => send_streams(address, &messages, load)?,
    };
    let sent_in = started.elapsed();
    let (stored, stored_in) = wait(&host, load.records as u64, started)?;
    let used = host.processor_time().unwrap_or_default().saturating_sub(before);
    let lost = load.records as u64 - stored;
    let rate = stored as f64 / stored_in.as_secs_f64();
    Ok(Report::new(format!("syslog over {}", scheme.to_uppercase()))
        .line("figure", format!("{} messages/s until all are searchable, {} lost", thousands(rate), thousands(lost as f64)))
        .line(
            "configuration",
            match load.transport {
                Transport::Udp => format!("RFC 5424, one message to a datagram, paced at {}/s", thousands(load.rate as f64)),
                Transport::Tcp => format!("RFC 5424, octet counting, {} connections", load.connections),
            },
        )
        .line("sent", format!("{} messages, {} in {sent_in:.2?}", thousands(load.records as f64), megabytes(sent_bytes)))
        .line("host: processor", format!("{used:.2?} ({:.2} cores)", used.as_secs_f64() / stored_in.as_secs_f64()))
        .line("host: most memory", host.memory("VmHWM").map_or_else(|error| error.to_string(), megabytes)))
}

/// Returns where the host listens, as its status says.
fn listener(host: &Host, scheme: &str) -> anyhow::Result<SocketAddr> {
    let status = host.connect()?.get("/api/v1/status")?;
    let prefix = format!("inputs.syslog {scheme}://");
    let names = status["parts"].as_array().into_iter().flatten().filter_map(|part| part["name"].as_str()?.strip_prefix(&prefix));
    names.last().context("the status names no syslog listener")?.parse().context("the status names no address")
}

fn pool() -> Vec<Vec<u8>> {
    let mut corpus = Corpus::new(7, 0);
    let message = |number: usize| {
        let now = Clock::system().now();
        format!("<134>1 {now} shop-1 shop {} - - {}", 4000 + number % 50, corpus.line().body).into_bytes()
    };
    (0..POOL).map(message).collect()
}

fn send_datagrams(to: SocketAddr, messages: &[Vec<u8>], load: &SyslogLoad) -> anyhow::Result<u64> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(to)?;
    let (mut sent, mut bytes, started) = (0, 0, Instant::now());
    while sent < load.records {
        let due = (started.elapsed().as_secs_f64() * load.rate as f64) as usize;
        while sent < due.min(load.records) {
            let message = &messages[sent % POOL];
            ensure!(socket.send(message)? == message.len(), "a datagram was cut");
            bytes += message.len() as u64;
            sent += 1;
        }
        std::thread::sleep(TICK);
    }
    Ok(bytes)
}

fn send_streams(to: SocketAddr, messages: &[Vec<u8>], load: &SyslogLoad) -> anyhow::Result<u64> {
    let share = |number: usize| load.records / load.connections + usize::from(number < load.records % load.connections);
    std::thread::scope(|scope| {
        let send = |count: usize| -> anyhow::Result<u64> {
            let mut stream = TcpStream::connect(to)?;
            let (mut bytes, mut buffer) = (0, Vec::with_capacity(64 << 10));
            for number in 0..count {
                let message = &messages[number % POOL];
                write!(buffer, "{} ", message.len())?;
                buffer.extend_from_slice(message);
                if buffer.len() > 48 << 10 || number + 1 == count {
                    stream.write_all(&buffer)?;
                    bytes += buffer.len() as u64;
                    buffer.clear();
                }
            }
            Ok(bytes)
        };
        let threads: Vec<_> = (0..load.connections).map(|number| scope.spawn(move || send(share(number)))).collect();
        let results = threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        results.sum()
    })
}

/// Waits until `expected` messages are stored, or no more come. Returns how many there are, and when the last one came.
fn wait(host: &Host, expected: u64, started: Instant) -> anyhow::Result<(u64, Duration)> {
    let (mut stored, mut last) = (0, started.elapsed());
    loop {
        let now = host.records()?;
        if now > stored {
            (stored, last) = (now, started.elapsed());
        }
        if stored >= expected || started.elapsed() - last > PATIENCE {
            return Ok((stored.min(expected), last));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
