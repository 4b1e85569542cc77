//! Events as a Sentry SDK sends them: how many are taken durably per second, and how many grouped.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::Args;
use serde_json::{Value, json};

use crate::Target;
use crate::host::Host;
use crate::report::{Report, megabytes, thousands};
use crate::wire::Connection;

/// Different events of one connection; they repeat, each time with an id of its own.
const POOL: usize = 60;
const PATH: &str = "/api/1/envelope/?sentry_key=load";

/// What is sent.
#[derive(Clone, Debug, Args)]
pub(crate) struct SentryLoad {
    /// Events in all.
    #[arg(long, default_value_t = 60_000)]
    events: usize,
    /// Bytes of one event, about.
    #[arg(long, default_value_t = 20_000)]
    bytes: usize,
    /// Different errors.
    #[arg(long, default_value_t = 200)]
    issues: usize,
    /// Connections that send at the same time.
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// Compresses what is sent, as SDKs do.
    #[arg(long)]
    gzip: bool,
}

impl SentryLoad {
    /// What `all` measures.
    pub(crate) fn usual() -> Self {
        Self { events: 60_000, bytes: 20_000, issues: 200, connections: 8, gzip: false }
    }
}

/// Measures events per second: acknowledged, and from the first one sent to the last one counted.
pub(crate) fn measure(load: &SentryLoad, target: &Target) -> anyhow::Result<Report> {
    let host = Host::with(target, json!({"storage": {"max_bytes": 100_000_000_000_u64}}))?;
    let connections = load.connections.max(1);
    let each = load.events.div_ceil(connections);
    let mut senders = Vec::new();
    for number in 0..connections {
        let pool = (0..POOL).map(|place| item(load, number * POOL + place)).collect::<anyhow::Result<Vec<_>>>()?;
        senders.push((host.connect()?, pool));
    }
    let before = host.processor_time().unwrap_or_default();
    let started = Instant::now();
    let results = std::thread::scope(|scope| {
        let threads: Vec<_> =
            senders.into_iter().map(|(connection, pool)| scope.spawn(move || send(connection, &pool, each, load.gzip))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect::<Vec<_>>()
    });
    let accepted = started.elapsed();
    let (mut latencies, mut bytes, mut refused) = (Vec::new(), 0, 0);
    for result in results {
        let (times, sent, limited) = result?;
        latencies.extend(times);
        bytes += sent;
        refused += limited;
    }
    latencies.sort_unstable();
    let events = (each * connections) as u64;
    let issues = drained(&host, events, started)?;
    let drained = started.elapsed();
    let used = host.processor_time().unwrap_or_default().saturating_sub(before);
    let rate = |elapsed: Duration| thousands(events as f64 / elapsed.as_secs_f64());
    let percentile = |percent: usize| {
        latencies.get((latencies.len() * percent / 100).min(latencies.len().saturating_sub(1))).copied().unwrap_or_default()
    };
    Ok(Report::new("sentry: events of an SDK")
        .line("figure", format!("{} events/s accepted durably, {} events/s grouped and counted", rate(accepted), rate(drained)))
        .line(
            "configuration",
            format!(
                "{} bytes an event, {} errors, {connections} connections, {}",
                load.bytes,
                load.issues,
                if load.gzip { "gzip" } else { "no compression" }
            ),
        )
        .line(
            "sent",
            format!("{} events, {} in {accepted:.2?}; all counted after {drained:.2?}", thousands(events as f64), megabytes(bytes)),
        )
        .line("answers of 429", refused)
        .line("request p50, p99", format!("{:.2?}, {:.2?}", percentile(50), percentile(99)))
        .line("issues", issues)
        .line("host: processor", format!("{used:.2?} ({:.2} cores)", used.as_secs_f64() / drained.as_secs_f64()))
        .line("host: most memory", host.memory("VmHWM").map_or_else(|error| error.to_string(), megabytes)))
}

fn send(mut connection: Connection, pool: &[Vec<u8>], events: usize, gzip: bool) -> anyhow::Result<(Vec<Duration>, u64, u64)> {
    let (mut latencies, mut bytes, mut refused) = (Vec::with_capacity(events), 0, 0);
    let content_type =
        if gzip { "application/x-sentry-envelope\r\nContent-Encoding: gzip" } else { "application/x-sentry-envelope" };
    let mut body = Vec::new();
    for number in 0..events {
        body.clear();
        headers(&mut body, gzip)?;
        body.extend_from_slice(&pool[number % pool.len()]);
        let asked = Instant::now();
        loop {
            let (status, answer) = connection.post_for(PATH, content_type, &body)?;
            ensure!(status == 200 || status == 429, "the host answers {status}: {}", String::from_utf8_lossy(&answer));
            if status == 200 {
                break;
            }
            // An SDK would have thrown it away.
            refused += 1;
            std::thread::sleep(Duration::from_millis(10));
        }
        latencies.push(asked.elapsed());
        bytes += body.len() as u64;
    }
    Ok((latencies, bytes, refused))
}

/// Waits until all events are counted; returns the number of issues.
fn drained(host: &Host, events: u64, started: Instant) -> anyhow::Result<u64> {
    let mut connection = host.connect()?;
    loop {
        let statistics = connection.get("/api/v1/errors/statistics?hours=24&top=1")?;
        let total = statistics["total"].as_u64().unwrap_or(0);
        ensure!(total <= events, "{events} events were sent, but {total} are counted");
        if total == events {
            return Ok(statistics["issues"].as_u64().unwrap_or(0));
        }
        ensure!(started.elapsed() < Duration::from_secs(900), "only {total} of {events} events are counted after 15 minutes");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Appends the headers of an envelope, with a new id, which goes before the event's own: a second event of the same id is dropped.
fn headers(body: &mut Vec<u8>, gzip: bool) -> anyhow::Result<()> {
    let line = format!("{{\"event_id\":\"{:032x}\"}}\n", fastrand::u128(..));
    if gzip {
        // What follows is a member of its own, as gzip allows, so that it is compressed once.
        let mut encoder = flate2::write::GzEncoder::new(body, flate2::Compression::fast());
        encoder.write_all(line.as_bytes())?;
        encoder.finish()?;
    } else {
        body.extend_from_slice(line.as_bytes());
    }
    Ok(())
}

/// Returns what follows in an envelope with one event such as Python's SDK sends it.
fn item(load: &SentryLoad, number: usize) -> anyhow::Result<Vec<u8>> {
    let error = number % load.issues.max(1);
    let id = format!("{:032x}", fastrand::u128(..));
    let frame = |depth: usize| {
        json!({
            "abs_path": format!("/srv/shop/app/part{depth}.py"), "filename": format!("app/part{depth}.py"), "module": format!("app.part{depth}"),
            "function": format!("step_{error}_{depth}"), "lineno": 10 + number % 90, "in_app": true,
            "pre_context": ["def step(order):", "    for line in order.lines:", "        total = total + line.price"],
            "context_line": format!("        check_{error}(line, total)"),
            "post_context": ["    return total", "", "def after(order):"],
            "vars": {"order": format!("<Order {number}>"), "total": "17.50", "line": "<Line 3>"},
        })
    };
    let mut crumbs: Vec<Value> = Vec::new();
    let mut event = json!({
        "event_id": id, "platform": "python", "level": "error", "release": format!("shop@1.{}.0", number % 5), "environment": "production",
        "server_name": "web-1", "transaction": "/orders/{id}", "sdk": {"name": "sentry.python", "version": "2.40.0"},
        "user": {"id": number.to_string()}, "tags": {"route": "/orders", "region": "eu"},
        "request": {"url": "https://shop.example/orders/17", "method": "POST", "headers": {"User-Agent": "Mozilla/5.0", "Accept": "*/*"}},
        "contexts": {"trace": {"trace_id": id, "span_id": "b7ad6b7169203331"}, "runtime": {"name": "CPython", "version": "3.12.3"}},
        "exception": {"values": [{"type": format!("OrderError{error}"), "value": format!("order {number} has no open position"), "module": "app.errors",
            "stacktrace": {"frames": (0..20).map(frame).collect::<Vec<_>>()}}]},
    });
    while event.to_string().len() + crumbs.len() * 190 < load.bytes {
        crumbs.push(json!({"type": "http", "category": "httplib", "level": "info", "timestamp": "2026-11-22T08:30:00Z",
            "data": {"url": format!("https://stock.example/items/{}", fastrand::u32(..)), "method": "GET", "status_code": 200}}));
    }
    event["breadcrumbs"] = json!({"values": crumbs});
    let event = event.to_string();
    let bytes = format!("{{\"type\":\"event\",\"length\":{}}}\n{event}\n", event.len()).into_bytes();
    if !load.gzip {
        return Ok(bytes);
    }
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(&bytes)?;
    Ok(encoder.finish()?)
}
