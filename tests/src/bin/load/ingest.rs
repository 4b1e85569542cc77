//! Records over HTTP, as fast as the host takes them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::json;
use watchfire::clock::Clock;
use watchfire_tests::payload::{PROTOBUF, log_record, logs_request};
use watchfire_types::Timestamp;

use crate::corpus::Corpus;
use crate::grpc;
use crate::host::Host;
use crate::payloads;
use crate::report::{Report, megabytes, thousands};
use crate::wire::Connection;
use crate::{Load, Target};

/// How many different requests there are. They repeat, but their times do not, and no block is as long as all of them together.
const POOL: usize = 240;

/// Stands where a time will be; no other eight bytes of a request are the same.
const PLACEHOLDER: u64 = 0x7e57_ab1e_0ddb_a115;

/// How records are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Otlp,
    Grpc,
    Ndjson,
    LokiJson,
    LokiSnappy,
    Bulk,
}

impl Protocol {
    fn name(self) -> &'static str {
        match self {
            Self::Otlp => "logs: OTLP/HTTP, protobuf",
            Self::Grpc => "grpc: OTLP/gRPC",
            Self::Ndjson => "ndjson",
            Self::LokiJson => "loki-json: Loki push, JSON",
            Self::LokiSnappy => "loki: Loki push, protobuf with snappy",
            Self::Bulk => "bulk: Elasticsearch",
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::Otlp => "/v1/logs",
            Self::Grpc => grpc::LOGS,
            Self::Ndjson => "/api/v1/logs",
            Self::LokiJson | Self::LokiSnappy => "/loki/api/v1/push",
            // What Filebeat asks for.
            Self::Bulk => "/elasticsearch/_bulk?filter_path=errors,items.*.error,items.*.status",
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Otlp | Self::Grpc | Self::LokiSnappy => PROTOBUF,
            Self::LokiJson => "application/json",
            Self::Ndjson | Self::Bulk => "application/x-ndjson",
        }
    }
}

/// A connection that speaks it.
enum Sender {
    Http(Connection),
    Grpc(Box<grpc::Connection>),
}

/// A request encoded ahead of time, and where its times stand.
struct Request {
    bytes: Vec<u8>,
    times: Vec<usize>,
}

impl Request {
    fn new(protocol: Protocol, corpus: &mut Corpus, batch: usize) -> Self {
        let lines = (0..batch).map(|_| corpus.line());
        let now = Clock::system().now();
        // Times that are text or compressed stay what they were when the load began.
        let fixed = |bytes| Self { bytes, times: Vec::new() };
        match protocol {
            Protocol::Ndjson => return fixed(lines.map(|line| line.json(now, "shop")).collect::<String>().into_bytes()),
            Protocol::LokiJson => return fixed(payloads::loki_json(lines.collect(), now)),
            Protocol::LokiSnappy => return fixed(payloads::loki_snappy(lines.collect(), now)),
            Protocol::Bulk => return fixed(payloads::bulk(lines.collect(), now)),
            Protocol::Otlp | Protocol::Grpc => {}
        }
        let records = lines.map(|line| line.otlp(Timestamp::from_nanos(PLACEHOLDER))).collect();
        let bytes = logs_request("shop", records);
        let placeholder = PLACEHOLDER.to_le_bytes();
        let times = (0..bytes.len().saturating_sub(7)).filter(|at| bytes[*at..*at + 8] == placeholder).collect();
        Self { bytes, times }
    }

    /// Writes `now` wherever a time stands.
    fn stamp(&mut self, now: Timestamp) {
        let now = now.as_nanos().to_le_bytes();
        for at in &self.times {
            self.bytes[*at..*at + 8].copy_from_slice(&now);
        }
    }
}

/// What one load came to.
pub(crate) struct Outcome {
    pub(crate) records: usize,
    pub(crate) sent_bytes: u64,
    pub(crate) elapsed: Duration,
    latencies: Vec<Duration>,
    until_found: Duration,
}

/// Measures records per second.
pub(crate) fn measure(protocol: Protocol, load: &Load, target: &Target) -> anyhow::Result<Report> {
    let host = Host::with(target, json!({"storage": {"max_bytes": 100_000_000_000_u64}}))?;
    let before = host.processor_time().unwrap_or_default();
    let outcome = send(&host, protocol, load)?;
    let used = host.processor_time().unwrap_or_default().saturating_sub(before);
    let rate = outcome.records as f64 / outcome.elapsed.as_secs_f64();
    Ok(Report::new(protocol.name())
        .line("figure", format!("{} records/s, acknowledged durable, the last one searchable", thousands(rate)))
        .line(
            "configuration",
            format!("batches of {}, {} attributes, {} connections, no compression", load.batch, load.attributes, load.connections),
        )
        .line(
            "sent",
            format!("{} records, {} in {:.2?}", thousands(outcome.records as f64), megabytes(outcome.sent_bytes), outcome.elapsed),
        )
        .line("request p50, p99", format!("{:.2?}, {:.2?}", percentile(&outcome.latencies, 50), percentile(&outcome.latencies, 99)))
        .line("last record found", format!("{:.2?} after its acknowledgement", outcome.until_found))
        .line("host: processor", format!("{:.2?} ({:.2} cores)", used, used.as_secs_f64() / outcome.elapsed.as_secs_f64()))
        .line("host: most memory", host.memory("VmHWM").map_or_else(|error| error.to_string(), megabytes)))
}

/// Sends the whole load, then makes sure that it is there.
pub(crate) fn send(host: &Host, protocol: Protocol, load: &Load) -> anyhow::Result<Outcome> {
    let stored_before = host.records()?;
    let connections = load.connections.max(1);
    let per_connection = load.records.div_ceil(load.batch).div_ceil(connections);
    let mut senders = Vec::new();
    for number in 0..connections {
        let mut corpus = Corpus::new(number as u64, load.attributes);
        let pool: Vec<_> = (0..(POOL / connections).max(1)).map(|_| Request::new(protocol, &mut corpus, load.batch)).collect();
        let sender = match protocol {
            Protocol::Grpc => Sender::Grpc(Box::new(grpc::Connection::open(host.address())?)),
            _ => Sender::Http(host.connect()?),
        };
        senders.push((sender, pool));
    }
    let started = Instant::now();
    let results = std::thread::scope(|scope| {
        let threads: Vec<_> = senders
            .into_iter()
            .map(|(connection, pool)| scope.spawn(move || send_all(connection, pool, protocol, per_connection)))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect::<Vec<_>>()
    });
    let elapsed = started.elapsed();
    let (mut latencies, mut sent_bytes) = (Vec::new(), 0);
    for result in results {
        let (times, bytes) = result?;
        latencies.extend(times);
        sent_bytes += bytes;
    }
    latencies.sort_unstable();
    let records = per_connection * connections * load.batch;
    let until_found = send_last(host)?;
    let stored = host.records()? - stored_before;
    ensure!(stored == records as u64 + 1, "{records} records and one were acknowledged, but {stored} are stored");
    Ok(Outcome { records, sent_bytes, elapsed, latencies, until_found })
}

fn send_all(
    mut connection: Sender,
    mut pool: Vec<Request>,
    protocol: Protocol,
    requests: usize,
) -> anyhow::Result<(Vec<Duration>, u64)> {
    let clock = Clock::system();
    let (mut latencies, mut bytes) = (Vec::with_capacity(requests), 0);
    let size = pool.len();
    for number in 0..requests {
        let request = &mut pool[number % size];
        request.stamp(clock.now());
        let asked = Instant::now();
        // A busy host says so, and is asked again; the waiting counts.
        while post(&mut connection, protocol, &request.bytes)? == 503 {
            std::thread::sleep(Duration::from_millis(10));
        }
        latencies.push(asked.elapsed());
        bytes += request.bytes.len() as u64;
    }
    Ok((latencies, bytes))
}

fn post(sender: &mut Sender, protocol: Protocol, body: &[u8]) -> anyhow::Result<u16> {
    let connection = match sender {
        Sender::Grpc(connection) => return grpc::as_http(connection.call(protocol.path(), body)?),
        Sender::Http(connection) => connection,
    };
    let (status, answer) = connection.post_for(protocol.path(), protocol.content_type(), body)?;
    ensure!(matches!(status, 200 | 204 | 429 | 503), "the host answers {status}: {}", String::from_utf8_lossy(&answer));
    // A bulk request says of each document whether it was taken; a busy store takes none.
    let is_busy = protocol == Protocol::Bulk && answer.windows(13).any(|part| part == b"\"errors\":true");
    ensure!(!is_busy || answer.windows(12).any(|part| part == b"\"status\":429"), "{}", String::from_utf8_lossy(&answer));
    Ok(if is_busy || status == 429 { 503 } else { status })
}

/// Sends one record that is like no other and waits until a search finds it.
fn send_last(host: &Host) -> anyhow::Result<Duration> {
    let word = format!("marker{:016x}", fastrand::u64(..));
    let record = log_record(Clock::system().now(), 9, format!("the last record is {word}"), Vec::new());
    let status = host.connect()?.post("/v1/logs", PROTOBUF, &logs_request("load", vec![record]))?;
    ensure!(status == 200, "the host answers {status}");
    let acknowledged = Instant::now();
    host.find(&word).context("an acknowledged record must be searchable")?;
    Ok(acknowledged.elapsed())
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_of_a_request_is_found_and_replaced() {
        let mut request = Request::new(Protocol::Otlp, &mut Corpus::new(7, 4), 50);
        // Event time and observed time of each record.
        assert_eq!(request.times.len(), 100);
        request.stamp(Timestamp::from_seconds(5));
        let placeholder = PLACEHOLDER.to_le_bytes();
        assert!(!request.bytes.windows(8).any(|bytes| bytes == placeholder));
    }

    #[test]
    fn bodies_are_of_the_promised_length_and_vary() {
        let mut corpus = Corpus::new(7, 0);
        let bodies: Vec<_> = (0..1000).map(|_| corpus.line().body).collect();
        let mean = bodies.iter().map(String::len).sum::<usize>() / bodies.len();
        assert!((90..150).contains(&mean), "{mean}");
        assert!(bodies.iter().all(|body| !body.contains('{')), "a placeholder is left");
        assert_eq!(bodies.iter().collect::<std::collections::HashSet<_>>().len(), 1000);
    }
}
