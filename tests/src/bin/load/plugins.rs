//! What components cost: loading, calls, records that cross the boundary, memory.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use serde_json::json;
use watchfire::alerts::store::MIGRATIONS;
use watchfire::clock::Clock;
use watchfire::plugins::{AnalyzerInput, Plugin, PluginConfig, Plugins, PluginsConfig};
use watchfire::store::Database;
use watchfire::telemetry::SelfMetrics;
use watchfire_plugin::Analyzer as _;
use watchfire_plugin::testing::{AnalyzerTester, BatchBuilder, Record};
use watchfire_tasks::components;
use watchfire_tests::{MemoryKv, plugin_notification};
use watchfire_types::log::RecordHead;
use watchfire_types::{LogBatch, Severity, ValueRef};

use crate::Target;
use crate::host::Host;
use crate::report::{Report, megabytes, thousands};

/// Records of one call, and calls that are timed.
const BATCH: usize = 1000;
const CALLS: usize = 500;

/// Measures in this process, but for the memory, which is a host's.
pub(crate) fn measure(target: &Target) -> anyhow::Result<Report> {
    components::ensure_all().map_err(|failed| anyhow!("{failed}"))?;
    let folder = tempfile::Builder::new().prefix("watchfire-load-").tempdir_in(crate::host::folder(target))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let cold = runtime.block_on(load(folder.path()))?;
    let warm = runtime.block_on(load(folder.path()))?;
    let channel = warm.plugins.get("dingtalk").map_err(|problem| anyhow!(problem))?;
    let (mut plans, mut fresh) = (Vec::new(), Vec::new());
    for _ in 0..CALLS {
        let (open, plan) = runtime.block_on(plan(&channel))?;
        fresh.push(open + plan);
        plans.push(plan);
    }
    let idle = analyze(&warm.plugins, "idle-analyzer", 4)?;
    let mut report = Report::new("plugins: components in WebAssembly")
        .line("figure", format!("`plan` with a fresh store in {:.0?}, {:.0} ns a record across the boundary", median(fresh), idle))
        .line("configuration", format!("{BATCH} records a call, 4 attributes, every column; medians of {CALLS} calls"))
        .line("plan alone", format!("{:.0?} (both with the way to the plugins' threads and back)", median(plans)));
    for (name, (cold, warm)) in cold.loaded.iter().zip(&warm.loaded).map(|((name, cold), (_, warm))| (name, (cold, warm))) {
        report = report.line(&format!("load {name}"), format!("{cold:.1?} cold, {warm:.1?} from the cache"));
    }
    let (native, component) = (native_ssh()?, analyze(&warm.plugins, "ssh-brute-force", 0)?);
    let rate = |nanos: f64| thousands(1e9 / nanos);
    report = report.line(
        "ssh-brute-force",
        format!("{} records/s native, {} as a component ({:.0} %)", rate(native), rate(component), 100.0 * native / component),
    );
    let (without, with) = (rest(target, 0)?, rest(target, 3)?);
    Ok(report
        .line("host at rest", format!("{} without components, {} with three idle analyzers", megabytes(without), megabytes(with))))
}

struct Room {
    plugins: Plugins,
    /// How long each took to be ready.
    loaded: Vec<(&'static str, Duration)>,
    _state: Database,
}

/// Loads each component in a room of its own, and then all of them in one.
async fn load(data: &std::path::Path) -> anyhow::Result<Room> {
    let mut loaded = Vec::new();
    for name in ["dingtalk", "ssh-brute-force", "idle-analyzer"] {
        let state = Database::open(&data.join(format!("{name}.db")), MIGRATIONS)?;
        let plugins = room(&[name], &data.join(name), state)?;
        let started = Instant::now();
        plugins.look().await?;
        loaded.push((name, started.elapsed()));
    }
    let state = Database::open(&data.join("state.db"), MIGRATIONS)?;
    let plugins = room(&["dingtalk", "ssh-brute-force", "idle-analyzer"], data, state.clone())?;
    plugins.look().await?;
    Ok(Room { plugins, loaded, _state: state })
}

fn room(names: &[&str], data: &std::path::Path, state: Database) -> anyhow::Result<Plugins> {
    std::fs::create_dir_all(data)?;
    let file = |name: &str| -> PathBuf { components::find(name) };
    let all = names.iter().map(|name| {
        let mut plugin = PluginConfig::new(file(name).display().to_string());
        if *name == "dingtalk" {
            plugin.capabilities = [watchfire::plugins::Capability::Secrets].into();
            plugin.outbound = vec!["https://oapi.dingtalk.com".to_owned()];
            plugin.secrets = ["access_token", "sign_secret"]
                .map(|name| (name.to_owned(), watchfire::config::Secret::new("a secret of the usual length")))
                .to_vec();
        }
        ((*name).to_owned(), plugin)
    });
    let config = PluginsConfig { components: all.collect(), ..PluginsConfig::default() };
    Ok(Plugins::new(config, data, state, Clock::system(), SelfMetrics::default()))
}

/// Returns how long a fresh store took to be made and set up, and how long the plan took.
async fn plan(channel: &Arc<Plugin>) -> anyhow::Result<(Duration, Duration)> {
    let now = Clock::system().now();
    let notification = plugin_notification(now);
    let started = Instant::now();
    let mut session = channel.open_channel(now).await?;
    let opened = started.elapsed();
    session.plan(notification, None, now).await?;
    Ok((opened, started.elapsed().saturating_sub(opened)))
}

/// Returns the lines that `sshd` writes under attack, a hundred addresses in turn.
fn line(row: usize) -> String {
    let (user, address) = (["root", "admin", "postgres", "git"][row % 4], row % 100);
    match row % 10 {
        0..=7 => format!("Failed password for {user} from 203.0.113.{address} port {} ssh2", 1024 + row),
        8 => format!("Invalid user {user}{row} from 203.0.113.{address} port {}", 1024 + row),
        _ => format!("Accepted publickey for deploy from 198.51.100.{address} port {} ssh2: ED25519 SHA256:abc", 1024 + row),
    }
}

fn batch(attributes: usize) -> LogBatch {
    let mut batch = LogBatch::default();
    let resource = batch.resource(vec![("service.name".into(), watchfire_types::Value::Text("sshd".into()))]);
    let now = Clock::system().now();
    for row in 0..BATCH {
        let head = RecordHead { timestamp: now, observed: now, severity: Severity::INFO, resource, ..RecordHead::default() };
        batch.push(&head, ValueRef::Text(&line(row)));
        for number in 0..attributes {
            batch.attribute(["http.route", "user.id", "net.peer", "code"][number % 4], ValueRef::Int((row * number) as i64));
        }
        batch.seq.push(row as u64 + 1);
    }
    batch
}

/// Returns nanoseconds a record for `analyze` of `name`.
fn analyze(plugins: &Plugins, name: &str, attributes: usize) -> anyhow::Result<f64> {
    let plugin = plugins.get(name).map_err(|problem| anyhow!(problem))?;
    let now = Clock::system().now();
    let input = AnalyzerInput {
        batch: Arc::new(batch(attributes)),
        rows: (0..BATCH).collect(),
        scanned_from: 0,
        scanned_to: BATCH as u64,
        watermark: 0,
        dropped: 0,
    };
    let work = move || -> anyhow::Result<f64> {
        let mut analyzer = plugin.start_analyzer(Arc::new(MemoryKv::default()), now)?;
        let mut times = Vec::new();
        for _ in 0..CALLS {
            let started = Instant::now();
            analyzer.analyze(&input, now)?;
            times.push(started.elapsed());
        }
        Ok(median(times).as_nanos() as f64 / BATCH as f64)
    };
    std::thread::spawn(work).join().map_err(|_| anyhow!("the measurement panicked"))?
}

/// Returns nanoseconds a record for the same analyzer, built for this machine.
fn native_ssh() -> anyhow::Result<f64> {
    let problem = |error: watchfire_plugin::Error| anyhow!(error.message);
    let mut tester = AnalyzerTester::<ssh_brute_force::SshBruteForce>::new(json!({})).map_err(problem)?;
    let batch = BatchBuilder::new().records((0..BATCH).map(|row| Record::new(line(row)).service("sshd"))).build();
    let mut times = Vec::new();
    for _ in 0..CALLS {
        let started = Instant::now();
        let analysis = tester.analyzer().analyze(&batch).map_err(problem)?;
        times.push(started.elapsed());
        std::hint::black_box(analysis);
    }
    Ok(median(times).as_nanos() as f64 / BATCH as f64)
}

/// Returns the memory of a quiet host with `count` idle analyzers.
fn rest(target: &Target, count: usize) -> anyhow::Result<u64> {
    let file = components::find("idle-analyzer").display().to_string();
    let all: serde_json::Map<_, _> = (0..count).map(|number| (format!("idle-{number}"), json!({"component": file}))).collect();
    let host = Host::with(target, json!({"plugins": {"components": all}}))?;
    let deadline = Instant::now() + Duration::from_secs(30);
    let ready = || -> anyhow::Result<bool> {
        let answer = host.connect()?.get("/api/v1/plugins")?;
        let plugins = answer["plugins"].as_array().context("the plugins are listed")?;
        Ok(plugins.len() == count && plugins.iter().all(|plugin| plugin["state"] == "ready"))
    };
    while !ready()? && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_secs(5));
    host.memory("VmRSS")
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
