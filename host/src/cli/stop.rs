//! `stop`: ends the host that holds a data directory.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};

use super::args::StopArgs;
use super::output::say;
use super::{Answer, Exit};
use crate::config::{CliOverrides, Config, Environment};
use crate::store::DataDirectory;

/// How long a host may take to stop.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn stop(args: &StopArgs) -> Answer {
    let folder = data_dir(args)?;
    let path = folder.display();
    let Some(holder) = DataDirectory::holder(&folder) else {
        if folder.join("watchfire.pid").exists() && std::fs::File::open(folder.join("watchfire.pid")).is_err() {
            anyhow::bail!("`{path}` cannot be read by this user, so the host that holds it cannot be found");
        }
        say(format_args!("no host is running on {path}"));
        say("hint: name its data directory with --data, or its configuration with --config");
        return Ok(Exit::Failed);
    };
    let pid = i32::try_from(holder).ok().and_then(Pid::from_raw).context("the pid file holds no pid")?;
    kill_process(pid, Signal::TERM).with_context(|| format!("cannot stop the host with pid {holder}"))?;
    if wait_until(PATIENCE, || DataDirectory::holder(&folder) != Some(holder)) {
        say(format_args!("stopped the host with pid {holder} on {path}"));
        Ok(Exit::Done)
    } else {
        say(format_args!("the host with pid {holder} is still busy after {} s; it will stop when it is done", PATIENCE.as_secs()));
        Ok(Exit::Failed)
    }
}

fn data_dir(args: &StopArgs) -> anyhow::Result<PathBuf> {
    // With --data nothing else of a configuration matters, not even whether it is right.
    if let Some(folder) = &args.data {
        return Ok(std::path::absolute(folder)?);
    }
    let config: Option<&Path> = args.config.as_deref();
    let config = Config::load(config, &Environment::of_process(), &CliOverrides::default()).context("cannot load configuration")?;
    Ok(config.storage.data_dir)
}

/// Looks every tenth of a second whether `done`; returns false when `patience` has run out.
pub(super) fn wait_until(patience: Duration, mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    while !done() {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    true
}
