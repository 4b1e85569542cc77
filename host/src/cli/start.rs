//! `start`: loads the configuration, sets up the own log, runs the host until it is told to stop.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use super::args::StartArgs;
use super::check::join;
use super::output::say;
use super::{Answer, Exit, daemon};
use crate::app::{self, RunOptions};
use crate::config::{CliOverrides, Config, Environment, HumanDuration};
use crate::plugins::Compiler;
use crate::telemetry::SelfMetrics;
use crate::telemetry::own_log::{self, LogTarget};

pub(super) fn start(args: &StartArgs) -> Answer {
    if args.detached {
        daemon::detach();
    }
    let config = load(args).context("cannot load configuration")?;
    if args.daemon {
        return daemon::launch(args, &config);
    }
    for warning in &config.warnings {
        say(format_args!("warning: {warning}"));
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let metrics = SelfMetrics::default();
    let (forward, queue) = own_log::channel(&metrics);
    own_log::install(&config.logging, log_target(args, &config), config.inputs.own_log.then_some(forward))?;
    let shutdown = CancellationToken::new();
    let ready = announcement(args, &config);
    let again = args.clone();
    let reload = Box::new(move || load(&again).context("cannot load configuration"));
    let options = RunOptions {
        shutdown: shutdown.clone(),
        metrics,
        own_log: config.inputs.own_log.then_some(queue),
        ready: Some(ready),
        reload: Some(reload),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let signals = stop_on_signals(shutdown)?;
        let result = app::run(config, options).await;
        signals.abort();
        result
    })?;
    Ok(Exit::Done)
}

fn load(args: &StartArgs) -> Result<Config, crate::config::ConfigErrors> {
    let overrides = CliOverrides { data_dir: args.data.clone(), listen: args.listen.clone(), log_level: args.log_level.clone() };
    let mut config = Config::load(args.config.as_deref(), &Environment::of_process(), &overrides)?;
    if args.stdin {
        config.inputs.stdin.get_or_insert_default();
    }
    // Compiling takes much memory for a moment: it is a process of its own that pays it back.
    config.plugins.compiler = std::env::current_exe().map_or(Compiler::Here, Compiler::Child);
    Ok(config)
}

fn log_target(args: &StartArgs, config: &Config) -> LogTarget {
    match &config.logging.file {
        Some(path) => LogTarget::File(path.clone()),
        None if args.detached => LogTarget::File(daemon::log_file(config)),
        None => LogTarget::Stderr,
    }
}

/// The first SIGTERM or SIGINT stops cleanly; a second one ends at once.
fn stop_on_signals(shutdown: CancellationToken) -> std::io::Result<tokio::task::JoinHandle<()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(tokio::spawn(async move {
        for is_second in [false, true] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if is_second {
                std::process::exit(1);
            }
            tracing::info!("stopping");
            shutdown.cancel();
        }
    }))
}

/// Returns what is done once the host is ready: friendly lines for who started it, one line for a waiting `--daemon`.
fn announcement(args: &StartArgs, config: &Config) -> app::Ready {
    let text = describe(config, args.config.as_deref());
    if args.detached {
        return Box::new(move |listen| {
            // The parent waits for this line, and is gone after it.
            let _ = writeln!(std::io::stdout(), "{}", url(listen));
            let _ = std::io::stdout().flush();
        });
    }
    Box::new(move |listen| {
        say(format_args!("watchfire is running: {}", url(listen)));
        say(text);
        say("  stop      Ctrl-C");
    })
}

/// Returns the address to open: an unspecified address is reached on loopback.
fn url(listen: SocketAddr) -> String {
    let mut listen = listen;
    if listen.ip().is_unspecified() {
        listen.set_ip(if listen.is_ipv4() { std::net::Ipv4Addr::LOCALHOST.into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
    }
    format!("http://{listen}/")
}

/// Returns what the host keeps, reads and tells, and what to do next.
pub(super) fn describe(config: &Config, file: Option<&Path>) -> String {
    let machine = config
        .performance
        .auto_start
        .then(|| format!("this machine every {}", HumanDuration(config.performance.collection_interval)));
    let files = config.inputs.files.iter().flat_map(|file| &file.paths).map(|path| path.display().to_string());
    let own_log = config.inputs.own_log.then(|| "its own log".to_owned());
    let journal = config.inputs.journald.as_ref().map(|_| "the systemd journal".to_owned());
    let stdin = config.inputs.stdin.as_ref().map(|_| "standard input".to_owned());
    let reads = join(machine.into_iter().chain(files).chain(journal).chain(stdin).chain(own_log), "nothing by itself");
    let tells = join(config.alerting.receivers.iter().map(|receiver| receiver.name.clone()), "nobody yet: no receiver is enabled");
    let mut lines = vec![
        format!("  data      {}", config.storage.data_dir.display()),
        format!("  reads     {reads}"),
        format!("  tells     {tells}"),
    ];
    match file {
        Some(file) => lines.insert(0, format!("  config    {}", file.display())),
        None => lines.push(
            "  next      `watchfire create-config` writes a configuration to start from; none was named, so defaults hold"
                .to_owned(),
        ),
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_is_described_in_a_few_lines() {
        let environment = Environment::of([("HOME", "/home/u")]).with_system_logs(vec!["/var/log/syslog".into()]);
        let config = Config::load(None, &environment, &CliOverrides::default()).unwrap();
        insta::assert_snapshot!(describe(&config, None), @r"
        data      /home/u/.local/state/watchfire
        reads     this machine every 30s, /var/log/syslog, its own log
        tells     nobody yet: no receiver is enabled
        next      `watchfire create-config` writes a configuration to start from; none was named, so defaults hold
        ");
    }

    #[test]
    fn an_unspecified_address_is_opened_on_loopback() {
        assert_eq!(url("0.0.0.0:3473".parse().unwrap()), "http://127.0.0.1:3473/");
        assert_eq!(url("[::]:80".parse().unwrap()), "http://[::1]:80/");
        assert_eq!(url("10.0.0.7:80".parse().unwrap()), "http://10.0.0.7:80/");
    }
}
