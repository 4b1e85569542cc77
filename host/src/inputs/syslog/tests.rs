//! Listeners on loopback with a store that may be busy, and senders that stop at awkward moments.

use std::io::Write as _;
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use watchfire_types::LogBatch;

use super::*;
use crate::logs::FileOffset;
use crate::store::{Accepted, IngestError};

/// Keeps bodies, unless it is busy.
#[derive(Default)]
struct Sink {
    bodies: Mutex<Vec<String>>,
    is_busy: AtomicBool,
    tries: AtomicBool,
}

impl LogSink for Sink {
    fn ingest(&self, batch: LogBatch, _: Vec<FileOffset>) -> BoxFuture<'_, Result<Accepted, IngestError>> {
        Box::pin(async move {
            self.tries.store(true, Ordering::SeqCst);
            if self.is_busy.load(Ordering::SeqCst) {
                return Err(IngestError::Busy { reason: "a test".to_owned(), retry_after: Duration::from_millis(1) });
            }
            let accepted = batch.len() as u64;
            self.bodies.lock().extend((0..batch.len()).map(|row| batch.record(row).body.as_ref().display()));
            Ok(Accepted { accepted, ..Accepted::default() })
        })
    }

    fn file_offsets(&self) -> Result<Vec<FileOffset>, StoreError> {
        Ok(Vec::new())
    }
}

fn input(listen: &str) -> SyslogInput {
    SyslogInput {
        listen: listen.parse().unwrap(),
        tls: None,
        zone: TimeZone::UTC,
        service: None,
        max_message_bytes: 1000,
        receive_buffer_bytes: 1 << 20,
        max_connections: 3,
        allow: Vec::new(),
    }
}

/// A host's syslog part, which can be stopped and started again with what it kept.
struct Stage {
    inputs: Vec<SyslogInput>,
    sink: Arc<Sink>,
    kept: KeptSockets,
    metrics: SelfMetrics,
    running: Option<(CancellationToken, tokio::task::JoinHandle<Result<(), StoreError>>)>,
    addresses: Vec<SocketAddr>,
    statuses: SyslogStatuses,
}

impl Stage {
    fn start(inputs: Vec<SyslogInput>) -> Self {
        let mut stage = Self {
            inputs,
            sink: Arc::default(),
            kept: KeptSockets::default(),
            metrics: SelfMetrics::default(),
            running: None,
            addresses: Vec::new(),
            statuses: SyslogStatuses::default(),
        };
        stage.resume();
        stage
    }

    fn resume(&mut self) {
        let syslog = Syslog::bind(&self.inputs, &self.kept).unwrap();
        self.addresses = syslog.addresses();
        self.statuses = syslog.statuses(&self.metrics);
        let stop = CancellationToken::new();
        let run = syslog.run(self.statuses.clone(), Arc::clone(&self.sink) as _, Clock::system(), self.kept.clone(), stop.clone());
        self.running = Some((stop, tokio::spawn(run)));
    }

    async fn stop(&mut self) {
        let (stop, task) = self.running.take().unwrap();
        stop.cancel();
        task.await.unwrap().unwrap();
    }

    /// Waits until there are `count` records; returns their bodies, sorted, for datagrams and connections keep no order.
    async fn bodies(&self, count: usize) -> Vec<String> {
        for _ in 0..1000 {
            if self.sink.bodies.lock().len() >= count {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let mut bodies = self.sink.bodies.lock().clone();
        bodies.sort();
        bodies
    }

    async fn until(&self, what: &str, holds: impl Fn(&SyslogStatus) -> bool) {
        for _ in 0..1000 {
            if self.statuses.snapshot(Clock::system().now()).iter().any(&holds) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{what} never came: {:?}", self.statuses.snapshot(Clock::system().now()));
    }

    fn counter(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.metrics.counter(name, labels).get()
    }
}

fn datagrams(to: SocketAddr, texts: &[&str]) {
    let socket = UdpSocket::bind(if to.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" }).unwrap();
    for text in texts {
        socket.send_to(text.as_bytes(), to).unwrap();
    }
}

#[tokio::test]
async fn datagrams_are_taken_whatever_they_hold() {
    let stage = Stage::start(vec![input("udp://127.0.0.1:0"), input("udp://[::1]:0")]);
    datagrams(stage.addresses[0], &["<13>one", "<13>two\n<13>three", "", "plain", "<13>with\n\ta second line"]);
    datagrams(stage.addresses[1], &["<13>by IPv6"]);
    let expected = ["by IPv6", "one", "plain", "three", "two", "with\n\ta second line"];
    assert_eq!(stage.bodies(6).await, expected);
    assert_eq!(stage.counter("watchfire_syslog_unparsed_total", &[("input", "syslog_udp")]), 1);
}

#[tokio::test]
async fn a_burst_of_datagrams_is_taken_whole() {
    let stage = Stage::start(vec![SyslogInput { receive_buffer_bytes: 8 << 20, ..input("udp://127.0.0.1:0") }]);
    let texts: Vec<String> = (0..3000).map(|number| format!("<13>number {number:04}")).collect();
    datagrams(stage.addresses[0], &texts.iter().map(String::as_str).collect::<Vec<_>>());
    let expected: Vec<_> = texts.iter().map(|text| text[4..].to_owned()).collect();
    assert_eq!(stage.bodies(3000).await, expected);
}

#[tokio::test]
async fn who_is_not_allowed_is_not_heard_and_counted() {
    let allow = vec!["10.0.0.0/8".parse().unwrap()];
    let inputs = ["udp://127.0.0.1:0", "tcp://127.0.0.1:0"].map(|listen| SyslogInput { allow: allow.clone(), ..input(listen) });
    let stage = Stage::start(inputs.to_vec());
    datagrams(stage.addresses[0], &["<13>one"]);
    let _connection = TcpStream::connect(stage.addresses[1]).unwrap();
    for _ in 0..2 {
        stage.until("a note", |status| status.detail.contains("127.0.0.1 is not allowed to send")).await;
    }
    for name in ["syslog_udp", "syslog_tcp"] {
        let labels = [("input", name), ("reason", "not_allowed")];
        for _ in 0..500 {
            if stage.counter("watchfire_input_rejected_total", &labels) == 1 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(stage.counter("watchfire_input_rejected_total", &labels), 1);
    }
    assert_eq!(stage.bodies(0).await, Vec::<String>::new());
    // A stranger does not make the listener ill.
    assert!(stage.statuses.snapshot(Clock::system().now()).iter().all(|status| status.state == SyslogState::Listening));
}

#[tokio::test]
async fn a_connection_may_mix_framings_and_end_without_one() {
    let stage = Stage::start(vec![input("tcp://127.0.0.1:0")]);
    let mut connection = TcpStream::connect(stage.addresses[0]).unwrap();
    for piece in ["<13>o", "ne\n7", " <13>t\nw<1", "3>three\0<13>fo"] {
        connection.write_all(piece.as_bytes()).unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    connection.shutdown(Shutdown::Write).unwrap();
    assert_eq!(stage.bodies(4).await, ["fo", "one", "t\nw", "three"]);
}

#[tokio::test]
async fn long_messages_are_cut_marked_and_counted() {
    let stage = Stage::start(vec![input("tcp://127.0.0.1:0"), input("udp://127.0.0.1:0")]);
    let long = format!("<13>{}", "x".repeat(5000));
    TcpStream::connect(stage.addresses[0]).unwrap().write_all(format!("{long}\n<13>next\n").as_bytes()).unwrap();
    datagrams(stage.addresses[1], &[&long]);
    let bodies = stage.bodies(3).await;
    assert_eq!(bodies.iter().map(String::len).collect::<Vec<_>>(), [4, 996, 996]);
    assert_eq!(stage.counter("watchfire_syslog_truncated_total", &[("input", "syslog_tcp")]), 1);
    assert_eq!(stage.counter("watchfire_syslog_truncated_total", &[("input", "syslog_udp")]), 1);
}

#[tokio::test]
async fn while_the_store_is_busy_senders_of_streams_wait_and_nothing_is_lost() {
    let stage = Stage::start(vec![input("tcp://127.0.0.1:0"), input("udp://127.0.0.1:0")]);
    stage.sink.is_busy.store(true, Ordering::SeqCst);
    datagrams(stage.addresses[1], &["<13>datagram"]);
    let mut connection = TcpStream::connect(stage.addresses[0]).unwrap();
    connection.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let line = format!("<13>{}\n", "x".repeat(900));
    // It goes on until nobody takes more: what the kernel's buffers hold, and one turn of ours.
    let mut bytes = 0;
    while let Ok(count @ 1..) = connection.write(&line.as_bytes()[bytes % line.len()..]) {
        bytes += count;
        assert!(bytes < 200 << 20, "the sender never had to wait");
    }
    stage.until("a word about the store", |status| status.state == SyslogState::Busy).await;
    assert!(stage.sink.bodies.lock().is_empty());
    stage.sink.is_busy.store(false, Ordering::SeqCst);
    connection.shutdown(Shutdown::Write).unwrap();
    let lines = bytes.div_ceil(line.len());
    let bodies = stage.bodies(lines + 1).await;
    assert_eq!(bodies.len(), lines + 1);
    assert_eq!(bodies[0], "datagram");
    stage.until("all is well again", |status| status.state == SyslogState::Listening).await;
}

#[tokio::test]
async fn one_connection_too_many_is_turned_away() {
    let stage = Stage::start(vec![input("tcp://127.0.0.1:0")]);
    let mut connections: Vec<_> = (0..3).map(|_| TcpStream::connect(stage.addresses[0]).unwrap()).collect();
    stage.until("three connections", |status| status.detail.contains("3 connections")).await;
    let _fourth = TcpStream::connect(stage.addresses[0]).unwrap();
    stage.until("a word about it", |status| status.state == SyslogState::Losing).await;
    connections.pop();
    stage.until("there is room", |status| status.detail.contains("2 connections")).await;
    TcpStream::connect(stage.addresses[0]).unwrap().write_all(b"<13>welcome\n").unwrap();
    assert_eq!(stage.bodies(1).await, ["welcome"]);
}

#[tokio::test]
async fn a_reload_keeps_sockets_connections_and_half_messages() {
    let mut stage = Stage::start(vec![input("udp://127.0.0.1:0"), input("tcp://127.0.0.1:0")]);
    let before = stage.addresses.clone();
    let mut connection = TcpStream::connect(before[1]).unwrap();
    connection.write_all(b"<13>whole\n<13>ha").unwrap();
    assert_eq!(stage.bodies(1).await, ["whole"]);
    stage.stop().await;
    connection.write_all(b"lf\n").unwrap();
    datagrams(before[0], &["<13>meanwhile"]);
    // The order of the listeners may change, too.
    stage.inputs.reverse();
    stage.resume();
    assert_eq!(stage.addresses, [before[1], before[0]]);
    assert_eq!(stage.bodies(3).await, ["half", "meanwhile", "whole"]);
    // A listener that is gone lets its address go.
    stage.stop().await;
    stage.inputs.pop();
    stage.resume();
    assert!(UdpSocket::bind(before[0]).is_ok());
}

#[tokio::test]
async fn what_arrived_before_the_end_is_stored() {
    let mut stage = Stage::start(vec![input("udp://127.0.0.1:0"), input("tcp://127.0.0.1:0")]);
    let mut connection = TcpStream::connect(stage.addresses[1]).unwrap();
    stage.until("a connection", |status| status.detail.contains("1 connections")).await;
    for number in 0..100 {
        datagrams(stage.addresses[0], &[&format!("<13>{number}")]);
        connection.write_all(format!("<13>{number}\n").as_bytes()).unwrap();
    }
    stage.stop().await;
    assert_eq!(stage.sink.bodies.lock().len(), 200);
}

#[tokio::test]
async fn a_busy_store_does_not_keep_the_host_from_stopping_or_lose_what_waits() {
    let mut stage = Stage::start(vec![input("udp://127.0.0.1:0"), input("tcp://127.0.0.1:0")]);
    stage.sink.is_busy.store(true, Ordering::SeqCst);
    datagrams(stage.addresses[0], &["<13>datagram"]);
    TcpStream::connect(stage.addresses[1]).unwrap().write_all(b"<13>line\n").unwrap();
    while !stage.sink.tries.load(Ordering::SeqCst) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stage.stop().await;
    stage.sink.is_busy.store(false, Ordering::SeqCst);
    stage.resume();
    let bodies = stage.bodies(1).await;
    assert!(bodies.contains(&"datagram".to_owned()), "{bodies:?}");
}

#[test]
fn an_address_in_use_says_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("tcp://{}", taken.local_addr().unwrap());
    let error = Syslog::bind(&[input(&listen)], &KeptSockets::default()).err().unwrap().to_string();
    assert!(error.starts_with(&format!("cannot listen for syslog on {listen}: another program")), "{error}");
}
