//! `start --daemon`: starts the same program again, detached, and waits until it is ready.
//!
//! The child's standard output is a pipe to here, on which it says its address once it is ready; if it ends first, so does the pipe.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context as _;

use super::args::StartArgs;
use super::output::say;
use super::start::describe;
use super::{Answer, Exit};
use crate::config::Config;
use crate::store::{DataDirectory, StoreError};

/// How long the host may take to get ready before we stop waiting; it goes on.
const PATIENCE: Duration = Duration::from_secs(60);
/// How much of the log is shown when the host does not start.
const LOG_END_BYTES: u64 = 4096;
const LOG_END_LINES: usize = 15;

/// Returns where a detached host writes its log, unless the configuration says.
pub(super) fn log_file(config: &Config) -> PathBuf {
    config.logging.file.clone().unwrap_or_else(|| config.storage.data_dir.join("watchfire.log"))
}

/// Leaves the terminal and the session of who started us.
pub(super) fn detach() {
    // It fails only for a process that leads its group already, which is as good.
    let _ = rustix::process::setsid();
}

pub(super) fn launch(args: &StartArgs, config: &Config) -> Answer {
    let folder = &config.storage.data_dir;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("cannot make the data directory `{}`", folder.display()))?;
    if let Some(pid) = DataDirectory::holder(folder) {
        return Err(StoreError::Locked { path: folder.clone(), pid: pid.to_string() }.into());
    }
    for warning in &config.warnings {
        say(format_args!("warning: {warning}"));
    }
    let log = log_file(config);
    let begin = std::fs::metadata(&log).map_or(0, |metadata| metadata.len());
    let mut child = spawn(args, &log)?;
    match wait_for(&mut child) {
        Beginning::Ready(url) => {
            say(format_args!("watchfire is running: {url} (pid {})", child.id()));
            say(describe(config, args.config.as_deref()));
            say(format_args!("  log       {}", log.display()));
            say(format_args!("  stop      watchfire stop --data {}", folder.display()));
            Ok(Exit::Done)
        }
        Beginning::Ended => {
            let status = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
            say(format_args!("the end of {}:", log.display()));
            for line in log_end(&log, begin) {
                say(format_args!("  {line}"));
            }
            anyhow::bail!("the host did not start ({status})")
        }
        Beginning::Slow => {
            anyhow::bail!("the host (pid {}) is not ready after {} s; see {}", child.id(), PATIENCE.as_secs(), log.display())
        }
    }
}

fn spawn(args: &StartArgs, log: &Path) -> anyhow::Result<Child> {
    let cannot_log = || format!("cannot write the log file `{}`", log.display());
    if let Some(folder) = log.parent() {
        std::fs::create_dir_all(folder).with_context(cannot_log)?;
    }
    // Panics and errors before the own log is set up go to the same file.
    let stderr = OpenOptions::new().create(true).append(true).mode(0o600).open(log).with_context(cannot_log)?;
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let child = Command::new(program).args(arguments(args)).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr).spawn();
    child.context("cannot start the host")
}

/// Returns the arguments that start the same host as `args`, detached.
fn arguments(args: &StartArgs) -> Vec<std::ffi::OsString> {
    let mut arguments = vec!["start".into(), "--detached".into()];
    let paths = [("--config", &args.config), ("--data", &args.data)];
    let texts = [("--listen", &args.listen), ("--log-level", &args.log_level)];
    let paths = paths.into_iter().filter_map(|(name, value)| Some((name, value.clone()?.into_os_string())));
    let texts = texts.into_iter().filter_map(|(name, value)| Some((name, value.clone()?.into())));
    for (name, value) in paths.chain(texts) {
        arguments.extend([name.into(), value]);
    }
    arguments
}

/// What became of the child.
enum Beginning {
    /// It serves this address.
    Ready(String),
    /// It ended.
    Ended,
    /// It is still on its way.
    Slow,
}

/// Waits for the line that the child says when it is ready.
fn wait_for(child: &mut Child) -> Beginning {
    let Some(stdout) = child.stdout.take() else { return Beginning::Slow };
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = BufReader::new(stdout).read_line(&mut line);
        let is_ready = read.is_ok_and(|bytes| bytes > 0);
        let _ = sender.send(if is_ready { Beginning::Ready(line.trim().to_owned()) } else { Beginning::Ended });
    });
    receiver.recv_timeout(PATIENCE).unwrap_or(Beginning::Slow)
}

/// Returns the last lines of the log that were written after `begin`.
fn log_end(path: &Path, begin: u64) -> Vec<String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|mut file| {
        let length = file.metadata()?.len();
        // A log that was rotated meanwhile is shorter than where it stood.
        let begin = if begin > length { 0 } else { begin };
        file.seek(SeekFrom::Start(begin.max(length.saturating_sub(LOG_END_BYTES))))?;
        file.read_to_end(&mut bytes)
    });
    if read.is_err() {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_END_LINES)..].iter().map(|line| (*line).to_owned()).collect()
}
