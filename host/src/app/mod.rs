//! The whole host: builds every part in order, runs them, stops them in reverse.

pub mod adapters;
pub mod janitor;
pub mod report;
pub mod run;
mod sentry_events;
pub mod status;

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use futures::FutureExt as _;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi as _;

use crate::alerts::{self, Alerts};
use crate::analysis::detectors::DetectorSettings;
use crate::analysis::detectors::types::ANALYZER;
use crate::analysis::{self, Analysis};
use crate::clock::Clock;
use crate::config::Config;
use crate::delivery::{self, Delivery};
use crate::errors::{self, Errors};
use crate::http::guard::Guard;
use crate::http::{Connections, page, server, status as status_api};
use crate::inputs::files::FileStatuses;
use crate::inputs::journald::JournalStatus;
use crate::inputs::sentry::{SentryInput, auth::DsnKey, seen::Seen};
use crate::inputs::syslog::{self, Syslog};
use crate::inputs::{self, InputState, system};
use crate::logs::{self, LogSettings, Logs};
use crate::metrics::{self, Metrics, MetricsSettings};
use crate::plugins::{self, Plugins};
use crate::redaction::Redaction;
use crate::source_maps::{self, SourceMaps};
use crate::store::{DataDirectory, Database, StoreError};
use crate::telemetry::{SelfMetrics, own_log};
use janitor::Janitor;
pub use run::{Ready, Reload, RunOptions, run};
use status::Parts;

/// Tasks have this long to end before they are left behind.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// What outlives a reload of the configuration: the sockets, so that a client in between waits a moment instead of being
/// refused, and the queue of the own log.
#[derive(Default)]
pub struct Kept {
    /// Listens for everything.
    pub listener: Option<std::net::TcpListener>,
    /// Listens for OTLP.
    pub otlp_listener: Option<std::net::TcpListener>,
    /// Listen for syslog, with their connections.
    pub syslog: syslog::KeptSockets,
    /// Listens for OTLP by gRPC.
    pub otlp_grpc_listener: Option<std::net::TcpListener>,
    /// Where the own log comes out.
    pub own_log: Option<own_log::Queue>,
    /// Counters, so that totals go on.
    pub metrics: SelfMetrics,
}

/// Parts that have ended though nobody stopped them.
pub(crate) type Ended = Arc<Mutex<Vec<&'static str>>>;

/// A running host.
pub struct Host {
    address: SocketAddr,
    otlp_address: Option<SocketAddr>,
    syslog_addresses: Vec<SocketAddr>,
    otlp_grpc_address: Option<SocketAddr>,
    shutdown: CancellationToken,
    forwarded: CancellationToken,
    tasks: JoinSet<()>,
    forwarder: Option<tokio::task::JoinHandle<own_log::Queue>>,
    logs: Logs,
    metrics: Metrics,
    analysis: Analysis,
    errors: Errors,
    source_maps: SourceMaps,
    state: Database,
    directory: DataDirectory,
    kept: Kept,
}

impl Host {
    /// Starts every part and returns once all of them answer.
    ///
    /// # Errors
    /// When the data directory is in use or cannot be written, an address is taken, or a store cannot be opened.
    pub async fn start(config: Config, clock: Clock) -> anyhow::Result<Self> {
        Self::start_with(config, clock, &mut Kept::default()).await
    }

    /// As [`Self::start`], with what an earlier host of this process kept. It is taken only if the host starts.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_with(config: Config, clock: Clock, kept: &mut Kept) -> anyhow::Result<Self> {
        let own = kept.metrics.clone();
        let data = config.storage.data_dir.clone();
        let directory = DataDirectory::open(&data)?;
        let listener = bind(&mut kept.listener, config.server.listen).with_context(|| {
            format!("cannot listen on {}: choose another address with --listen or server.listen", config.server.listen)
        })?;
        let address = listener.local_addr()?;
        let (otlp_listener, otlp_problem) = bind_otlp(&mut kept.otlp_listener, config.server.otlp_listen, "otlp_listen");
        let otlp_address = otlp_listener.as_ref().and_then(|listener| listener.local_addr().ok());
        let (grpc_listener, grpc_problem) =
            bind_otlp(&mut kept.otlp_grpc_listener, config.server.otlp_grpc_listen, "otlp_grpc_listen");
        let otlp_grpc_address = grpc_listener.as_ref().and_then(|listener| listener.local_addr().ok());

        let syslog = Syslog::bind(&config.inputs.syslog, &kept.syslog)?;
        let dsn_key = DsnKey::open(&data).with_context(|| format!("cannot read or make {}", data.join("dsn.key").display()))?;

        let (logs, metrics, analysis, source_maps, state) = open_engines(&config, &clock, &own).await?;
        let originals = Arc::new(source_maps.clone());
        let errors = Errors::open(&data, state.clone(), config.error_tracking.clone(), originals, clock.clone(), &own).await?;
        let outbox = delivery::outbox::Outbox::new(state.clone());
        let external_url = config.server.external_url.clone().unwrap_or_else(|| format!("http://{}", reachable(address)));
        let settings = alerts::Settings {
            alerting: config.alerting.clone(),
            collection_interval: config.performance.collection_interval,
            external_url: external_url.clone(),
        };
        let alerts =
            Alerts::open(state.clone(), outbox.clone(), settings, clock.clone(), &own, adapters::matchers(logs.clone())).await?;
        let ca_file = config.server.ca_file.as_deref();
        let plugins = Plugins::new(config.plugins.clone(), &data, state.clone(), clock.clone(), own.clone());
        let delivery =
            Delivery::new(outbox, &config.alerting, &plugins, ca_file, external_url.clone(), clock.clone(), own.clone())?;

        // Nothing from here on can fail: no task is left behind, and what was kept is still there for whoever tries again.
        write_address(&data, address)?;
        let shutdown = CancellationToken::new();
        let files = FileStatuses::default();
        let syslog_statuses = syslog.statuses(&own);
        let journal = JournalStatus::default();
        let ended = Ended::default();
        let (janitor, findings) =
            Janitor::new(logs.clone(), metrics.clone(), &config.storage, &config.logging, clock.clone(), &own);
        let parts = Parts {
            started_at: clock.now(),
            clock: clock.clone(),
            address,
            otlp_address,
            otlp_grpc_address,
            otlp_problems: otlp_problem.into_iter().chain(grpc_problem).collect(),
            logs: logs.clone(),
            metrics: metrics.clone(),
            errors: errors.clone(),
            source_maps: source_maps.clone(),
            alerts: alerts.clone(),
            delivery: delivery.clone(),
            plugins: plugins.clone(),
            analysis: analysis.clone(),
            files: files.clone(),
            syslog: syslog_statuses.clone(),
            journal: journal.clone(),
            ended: ended.clone(),
            janitor: findings,
            config: config.clone(),
        };
        let input_state =
            InputState::new(logs.clone(), metrics.clone(), config.server.max_request_bytes, own.clone(), clock.clone());
        let guard = Guard::new(config.server.token.clone());
        let (seen, filling) = Seen::unfilled();
        let sentry = SentryInput {
            key: dsn_key,
            projects: Arc::new(config.error_tracking.projects.clone()),
            redacts: config.redaction.is_some(),
            guard: guard.clone(),
            patience: inputs::sentry::PATIENCE,
            external_url: external_url.clone(),
            seen,
        };
        let router = router(&parts, &input_state, &sentry, &own, &shutdown);

        let mut tasks = JoinSet::new();
        // Only events wait for this, and not for long.
        tasks.spawn_blocking({
            let (logs, since) = (logs.clone(), clock.now().minus(sentry_events::LOOKED_BACK));
            move || filling.fill(sentry_events::stored(&logs, since))
        });
        let connections = Connections::new(&own);
        for listener in otlp_listener.into_iter().chain(grpc_listener) {
            let routes = server::assemble(inputs::otlp_routes(input_state.clone()), &documentation(), guard.clone());
            spawn_server(&mut tasks, &connections, listener, routes, &shutdown);
        }
        let routes = server::assemble(router, &documentation(), guard);
        spawn_server(&mut tasks, &connections, listener, routes, &shutdown);
        let analyzers = plugins.clone();
        let parsers = plugins::Parsers::new(plugins.clone(), own.clone());
        // Compiling takes seconds: nobody waits for it.
        let room = plugins.clone();
        tasks.spawn(watched("plugins", ended.clone(), async move { room.look().await }));
        if config.log_analysis.auto_start {
            let settings = DetectorSettings {
                interval: config.log_analysis.analysis_interval,
                settings: config.log_analysis.detectors.clone(),
            };
            let (detecting, heads, stop) = (analysis.clone(), Arc::new(logs.clone()), shutdown.clone());
            let detect = async move { detecting.detect(heads, settings, stop).await };
            tasks.spawn(watched("anomalies", ended.clone(), detect));
            let (analysis, records, stop) = (analysis.clone(), Arc::new(logs.clone()), shutdown.clone());
            tasks.spawn(watched("log_analysis", ended.clone(), async move { analysis.run(plugins, records, stop).await }));
        }
        let parsers: Arc<dyn inputs::LineParser> = Arc::new(parsers);
        let follow = inputs::files::follow(
            config.inputs.files.clone(),
            inputs::files::Following {
                sink: Arc::new(logs.clone()),
                statuses: files,
                clock: clock.clone(),
                self_metrics: own.clone(),
                parsers: Arc::clone(&parsers),
                scratch: data.clone(),
                shutdown: shutdown.clone(),
            },
        );
        tasks.spawn(watched("inputs", ended.clone(), unfailing(follow)));
        let syslog_addresses = syslog.addresses();
        let listen = syslog.run(syslog_statuses, Arc::new(logs.clone()), clock.clone(), kept.syslog.clone(), shutdown.clone());
        tasks.spawn(watched("inputs.syslog", ended.clone(), listen));
        if let Some(input) = config.inputs.stdin.clone() {
            let reading = inputs::stdin::Reading {
                sink: Arc::new(logs.clone()),
                parsers,
                clock: clock.clone(),
                self_metrics: own.clone(),
                shutdown: shutdown.clone(),
            };
            let follow = inputs::stdin::follow(input, inputs::stdin::Lines::of_standard_input(), reading);
            tasks.spawn(watched("inputs.stdin", ended.clone(), unfailing(follow)));
        }
        if let Some(input) = config.inputs.journald.clone() {
            let (clock, own, stop) = (clock.clone(), own.clone(), shutdown.clone());
            let follow = inputs::journald::follow(input, Arc::new(logs.clone()), journal, clock, own, stop);
            tasks.spawn(watched("inputs.journald", ended.clone(), unfailing(follow)));
        }
        if config.performance.auto_start {
            let performance = config.performance.clone();
            let collect = system::collect(metrics.clone(), own.clone(), performance, data.clone(), clock.clone(), shutdown.clone());
            tasks.spawn(watched("performance", ended.clone(), unfailing(collect)));
        }
        tasks.spawn({
            let (errors, logs, stop) = (errors.clone(), logs.clone(), shutdown.clone());
            watched("error_tracking", ended.clone(), async move { errors.run(logs, stop).await })
        });
        let (maps, stop) = (source_maps.clone(), shutdown.clone());
        tasks.spawn(watched("source_maps", ended.clone(), async move { maps.run(stop).await }));
        tasks.spawn({
            let sources = alerts::runtime::Sources {
                samples: Arc::new(metrics.clone()),
                logs: Arc::new(logs.clone()),
                events: vec![
                    (alerts::events::FINDINGS, Arc::new(analysis.clone()) as Arc<dyn alerts::events::EventSource>),
                    (alerts::events::ISSUES, Arc::new(errors.clone())),
                ],
                analyzers: Arc::new(move || {
                    let may_find = |kind: Option<plugins::Kind>| kind.is_none_or(|kind| kind == plugins::Kind::Analyzer);
                    let plugins = analyzers.views().into_iter().filter(|view| may_find(view.kind)).map(|view| view.name);
                    plugins.chain([ANALYZER.to_owned()]).collect()
                }),
            };
            let (changed, stop) = (metrics.changed(), shutdown.clone());
            watched("alerting", ended.clone(), async move { alerts.run(sources, changed, stop).await })
        });
        tasks.spawn({
            let stop = shutdown.clone();
            watched("delivery", ended.clone(), async move { delivery.run(stop).await })
        });
        let room = janitor::watch_room(logs.clone(), metrics.clone(), clock.clone(), shutdown.clone());
        tasks.spawn(watched("storage", ended.clone(), unfailing(room)));
        tasks.spawn(watched("storage", ended.clone(), unfailing(janitor.run(shutdown.clone()))));
        let forwarded = CancellationToken::new();
        let own_queue = if config.inputs.own_log { kept.own_log.take() } else { None };
        let forwarder = own_queue.map(|queue| tokio::spawn(own_log::forward(queue, logs.clone(), forwarded.clone())));
        tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "watchfire is ready");
        Ok(Self {
            address,
            otlp_address,
            syslog_addresses,
            otlp_grpc_address,
            shutdown,
            forwarded,
            tasks,
            forwarder,
            logs,
            metrics,
            analysis,
            errors,
            source_maps,
            state,
            directory,
            kept: std::mem::take(kept),
        })
    }

    /// Returns the address that serves everything.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the address that serves OTLP alone, if there is one.
    #[must_use]
    pub fn otlp_address(&self) -> Option<SocketAddr> {
        self.otlp_address
    }

    /// Returns the address at which exporters look for gRPC, if there is one.
    #[must_use]
    pub fn otlp_grpc_address(&self) -> Option<SocketAddr> {
        self.otlp_grpc_address
    }

    /// Returns the addresses that take syslog, in the order of the configuration.
    #[must_use]
    pub fn syslog_addresses(&self) -> &[SocketAddr] {
        &self.syslog_addresses
    }

    /// Stops taking things in, lets what is under way end, closes the stores. Returns what a next host may use.
    pub async fn stop(mut self) -> Kept {
        self.shutdown.cancel();
        let ended = tokio::time::timeout(STOP_TIMEOUT, async { while self.tasks.join_next().await.is_some() {} }).await;
        if ended.is_err() {
            tracing::warn!("some tasks did not end within {STOP_TIMEOUT:?}; they are left behind");
            self.tasks.abort_all();
        }
        tracing::info!("watchfire stops");
        self.forwarded.cancel();
        if let Some(forwarder) = self.forwarder
            && let Ok(Ok(queue)) = tokio::time::timeout(STOP_TIMEOUT, forwarder).await
        {
            self.kept.own_log = Some(queue);
        }
        if let Err(error) = self.metrics.close().await {
            tracing::error!(%error, "metrics in memory could not be written out; their durable batches are read at the next start");
        }
        let (logs, analysis, errors, maps, state) = (self.logs, self.analysis, self.errors, self.source_maps, self.state);
        let _ = tokio::task::spawn_blocking(move || {
            logs.close();
            analysis.close();
            errors.close();
            maps.close();
            state.close();
        })
        .await;
        let _ = std::fs::remove_file(self.directory.path().join("address"));
        self.kept
    }
}

/// Opens the stores, which blocks on disk.
async fn open_engines(
    config: &Config,
    clock: &Clock,
    own: &SelfMetrics,
) -> anyhow::Result<(Logs, Metrics, Analysis, SourceMaps, Database)> {
    let (config, clock, own) = (config.clone(), clock.clone(), own.clone());
    let opened = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
        let data = &config.storage.data_dir;
        let state = Database::open(&data.join("state.db"), alerts::store::MIGRATIONS)?;
        // Patterns are part of what is stored, so they are mined whether or not analyzers run.
        let patterns = logs::patterns::Settings { state: state.clone(), max_patterns: config.log_analysis.max_patterns };
        let room = Some((config.storage.thresholds, config.storage.max_bytes));
        let settings = LogSettings { retention: config.logging.retention, patterns: Some(patterns), room };
        let logs = Logs::open_with(data, settings, &clock, &own)?;
        logs.keep_services(config.logging.retention_by_service.clone());
        if let Some(settings) = config.redaction.clone() {
            logs.redact_with(Redaction::open(settings, data, &own)?);
        }
        let settings = MetricsSettings {
            history_size: config.performance.history_size,
            retention: config.storage.metrics_retention,
            ..MetricsSettings::default()
        };
        let metrics = Metrics::open(data, settings, clock.clone(), own.clone())?;
        let maps = SourceMaps::open(data, config.error_tracking.source_maps.clone(), clock.clone(), &own)?;
        let analysis = Analysis::open(data, config.logging.retention, clock, own)?;
        Ok((logs, metrics, analysis, maps, state))
    });
    opened.await.context("opening the stores was interrupted")?
}

/// Puts every room's routes together.
fn router(parts: &Parts, inputs: &InputState, sentry: &SentryInput, own: &SelfMetrics, shutdown: &CancellationToken) -> Router {
    let alerts = parts.alerts.clone();
    let metrics_api = metrics::api::MetricsApi {
        metrics: parts.metrics.clone(),
        self_metrics: own.clone(),
        clock: parts.clock.clone(),
        alerts_firing: Arc::new(move || alerts.firing().len()),
    };
    let config = &parts.config;
    Router::new()
        .merge(alerts::api::routes(parts.alerts.clone()))
        .merge(delivery::api::routes(parts.delivery.clone()))
        .merge(delivery::pull_api::routes(parts.delivery.clone(), shutdown.clone()))
        .merge(plugins::api::routes(parts.plugins.clone()))
        .merge(analysis::api::routes(parts.analysis.clone(), parts.logs.committed()))
        .merge(analysis::pull::routes(parts.analysis.clone(), Arc::new(parts.logs.clone()), shutdown.clone()))
        .merge(analysis::detectors::api::routes(parts.analysis.clone()))
        .layer(DefaultBodyLimit::max(1 << 20))
        .merge(logs::api::routes(parts.logs.clone(), parts.clock.clone(), shutdown.clone()))
        .merge(logs::patterns::api::routes(parts.logs.clone(), parts.clock.clone()))
        .merge(metrics::api::routes(metrics_api))
        .merge(errors::api::routes(parts.errors.clone(), parts.logs.clone(), parts.clock.clone()))
        .merge(report::routes(report::Reporter {
            logs: parts.logs.clone(),
            metrics: parts.metrics.clone(),
            errors: parts.errors.clone(),
            alerts: parts.alerts.clone(),
            analysis: parts.analysis.clone(),
            clock: parts.clock.clone(),
        }))
        .merge(source_maps::api::routes(parts.source_maps.clone()))
        .merge(source_maps::upload::routes(parts.source_maps.clone(), config.server.max_request_bytes))
        .merge(inputs::routes(inputs.clone(), sentry.clone()))
        .merge(status_api::routes(parts.clone().into_source()))
        .merge(page::routes())
        .layer(DefaultBodyLimit::max(config.server.max_request_bytes))
}

/// Returns the documentation of the whole API.
#[must_use]
pub fn documentation() -> utoipa::openapi::OpenApi {
    server::documentation(vec![
        logs::api::ApiDoc::openapi(),
        logs::patterns::api::ApiDoc::openapi(),
        logs::query::api::ApiDoc::openapi(),
        logs::query::export::ApiDoc::openapi(),
        metrics::api::ApiDoc::openapi(),
        alerts::api::ApiDoc::openapi(),
        delivery::api::ApiDoc::openapi(),
        delivery::pull_api::ApiDoc::openapi(),
        plugins::api::ApiDoc::openapi(),
        analysis::api::ApiDoc::openapi(),
        analysis::pull::ApiDoc::openapi(),
        analysis::detectors::api::ApiDoc::openapi(),
        errors::api::ApiDoc::openapi(),
        source_maps::api::ApiDoc::openapi(),
        source_maps::upload::ApiDoc::openapi(),
        report::ApiDoc::openapi(),
        inputs::ApiDoc::openapi(),
        status_api::ApiDoc::openapi(),
    ])
}

async fn unfailing(work: impl Future<Output = ()>) -> Result<(), StoreError> {
    work.await;
    Ok(())
}

/// Does the work of a part that nobody waits for, and takes note if it fails or panics: `status` must not call it well then.
async fn watched(part: &'static str, ended: Ended, work: impl Future<Output = Result<(), StoreError>> + Send) {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            tracing::error!(part, "`{part}` has ended: {error}{cause}");
        }
        Err(_) => tracing::error!(part, "`{part}` has ended: it panicked"),
    }
    ended.lock().push(part);
}

fn spawn_server(
    tasks: &mut JoinSet<()>,
    connections: &Connections,
    listener: TcpListener,
    router: Router,
    shutdown: &CancellationToken,
) {
    let (connections, shutdown) = (connections.clone(), shutdown.clone());
    tasks.spawn(async move { connections.serve(listener, router, shutdown).await });
}

/// Returns a listener at `address`: the kept one if it is there, else a new one, which is then kept.
fn bind(kept: &mut Option<std::net::TcpListener>, address: SocketAddr) -> std::io::Result<TcpListener> {
    let fits = |listener: &std::net::TcpListener| {
        listener.local_addr().is_ok_and(|bound| bound == address || (address.port() == 0 && bound.ip() == address.ip()))
    };
    let listener = match kept.take().filter(fits) {
        Some(listener) => listener,
        None => std::net::TcpListener::bind(address)?,
    };
    listener.set_nonblocking(true)?;
    *kept = Some(listener.try_clone()?);
    TcpListener::from_std(listener)
}

/// Binds a port for OTLP if it is wanted; that it is taken is a warning, since the main port takes OTLP too. `key` is the one of
/// `server` that says otherwise.
fn bind_otlp(
    kept: &mut Option<std::net::TcpListener>,
    address: Option<SocketAddr>,
    key: &str,
) -> (Option<TcpListener>, Option<String>) {
    let Some(address) = address else {
        *kept = None;
        return (None, None);
    };
    match bind(kept, address) {
        Ok(listener) => (Some(listener), None),
        Err(error) => {
            tracing::warn!(%address, %error, "the OTLP port {address} is not served; OTLP goes to the main port");
            let problem = format!(
                "the OTLP port {address} is not served: {error}: end the other program, or set server.{key}; the main port takes OTLP, too"
            );
            (None, Some(problem))
        }
    }
}

/// Leaves the address where a script, or `watchfire status --data`, finds it.
fn write_address(data: &Path, address: SocketAddr) -> anyhow::Result<()> {
    let path = data.join("address");
    let temporary = data.join("address.new");
    std::fs::write(&temporary, format!("http://{}\n", reachable(address)))
        .and_then(|()| std::fs::rename(&temporary, &path))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Returns an address at which this machine reaches a listener: the loopback one for a listener on every address.
#[must_use]
pub fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        std::net::IpAddr::V4(ip) if ip.is_unspecified() => std::net::Ipv4Addr::LOCALHOST.into(),
        std::net::IpAddr::V6(ip) if ip.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_ends_by_itself_is_taken_note_of() {
        let ended = Ended::default();
        watched("well", ended.clone(), unfailing(async {})).await;
        watched("refused", ended.clone(), async { Err(StoreError::Closed) }).await;
        watched("broken", ended.clone(), unfailing(async { panic!("a bug in a part") })).await;
        assert_eq!(*ended.lock(), ["refused", "broken"]);
    }
}
