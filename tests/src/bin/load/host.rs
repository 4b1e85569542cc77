//! The host that is measured.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use watchfire_tests::{merge, minimal_configuration};

use crate::Target;
use crate::machine::first_value;
use crate::wire::Connection;

/// A host, started here or running already.
pub(crate) struct Host {
    address: SocketAddr,
    started: Option<Started>,
}

/// A host that was started here. Dropping it kills it.
struct Started {
    child: Child,
    folder: TempDir,
}

/// Returns `given`, or builds the host as it is released: without the kill points of the tests.
pub(crate) fn binary(given: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    if let Some(path) = given {
        return path.canonicalize().with_context(|| format!("cannot find {}", path.display()));
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--release", "--package", "watchfire"]).current_dir(watchfire_tasks::root());
    ensure!(build.status()?.success(), "the host does not build");
    Ok(watchfire_tasks::target_directory().join("release/watchfire"))
}

/// Returns the folder under which hosts keep their data.
pub(crate) fn folder(target: &Target) -> PathBuf {
    // Not the system's temporary folder, which is often in memory.
    target.folder.clone().unwrap_or_else(watchfire_tasks::target_directory)
}

impl Host {
    /// Takes the host at `--url`, or starts a quiet one with `changes` to its configuration.
    pub(crate) fn with(target: &Target, changes: Value) -> anyhow::Result<Self> {
        if let Some(url) = &target.url {
            let address = url.trim_start_matches("http://").trim_end_matches('/');
            let address = address.replace("localhost", "127.0.0.1").parse().with_context(|| format!("not an address: {url}"))?;
            return Ok(Self { address, started: None });
        }
        let folder = new_folder(target)?;
        let mut configuration = minimal_configuration(&folder.path().join("data"));
        merge(&mut configuration, changes);
        fs::write(folder.path().join("config.json"), configuration.to_string())?;
        Self::start(target, folder, &["--config", "config.json"])
    }

    /// Starts a host on the folder `kept`, which stays when it ends, with `changes` to its configuration.
    pub(crate) fn kept(target: &Target, kept: &Path, changes: &Value) -> anyhow::Result<Self> {
        fs::create_dir_all(kept)?;
        let data = kept.canonicalize()?.join("data");
        let folder = new_folder(target)?;
        let mut configuration = minimal_configuration(&data);
        merge(&mut configuration, changes.clone());
        fs::write(folder.path().join("config.json"), configuration.to_string())?;
        Self::start_on(target, folder, &data, &["--config", "config.json"])
    }

    /// Starts a host as it is without a configuration file.
    pub(crate) fn with_defaults(target: &Target) -> anyhow::Result<Self> {
        Self::start(target, new_folder(target)?, &["--listen", "127.0.0.1:0", "--data", "data"])
    }

    /// Starts a host again on the folder of one that has ended.
    pub(crate) fn again(target: &Target, folder: TempDir) -> anyhow::Result<Self> {
        Self::start(target, folder, &["--listen", "127.0.0.1:0", "--data", "data"])
    }

    fn start(target: &Target, folder: TempDir, arguments: &[&str]) -> anyhow::Result<Self> {
        let data = folder.path().join("data");
        Self::start_on(target, folder, &data, arguments)
    }

    fn start_on(target: &Target, folder: TempDir, data: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        let binary = target.host_binary.as_ref().context("this mode starts hosts of its own: leave `--url` away")?;
        let address_file = data.join("address");
        let _ = fs::remove_file(&address_file);
        let log = File::create(folder.path().join("log"))?;
        let mut command = Command::new(binary);
        command.arg("start").args(arguments).current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut started = Started { child: command.spawn()?, folder };
        let address = started.wait_ready(&address_file)?;
        Ok(Self { address, started: Some(started) })
    }

    /// Returns its address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns a new connection to it.
    pub(crate) fn connect(&self) -> anyhow::Result<Connection> {
        Connection::open(self.address)
    }

    /// Returns the folder of a host that was started here.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.started.as_ref().map(|started| started.folder.path())
    }

    /// Returns the number of records that it holds.
    pub(crate) fn records(&self) -> anyhow::Result<u64> {
        let status = self.connect()?.get("/api/v1/status")?;
        status["logs"]["records"].as_u64().with_context(|| format!("the status does not count records: {status}"))
    }

    /// Waits until a search finds `word`; returns how long the last search took.
    pub(crate) fn find(&self, word: &str) -> anyhow::Result<Duration> {
        let mut connection = self.connect()?;
        let deadline = Instant::now() + Duration::from_secs(120);
        while Instant::now() < deadline {
            let asked = Instant::now();
            let answer = connection.get(&format!("/api/v1/logs?q={word}&limit=1"))?;
            if answer["records"].as_array().is_some_and(|records| !records.is_empty()) {
                return Ok(asked.elapsed());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        bail!("the last record cannot be found after two minutes")
    }

    /// Returns its process id; for a host at `--url`, the one it tells.
    pub(crate) fn pid(&self) -> anyhow::Result<u32> {
        match &self.started {
            Some(started) => Ok(started.child.id()),
            None => Ok(self.connect()?.get("/api/v1/status")?["pid"].as_u64().context("the status has no pid")? as u32),
        }
    }

    /// Returns bytes of memory: `VmHWM` (the most so far) or `VmRSS` (now).
    pub(crate) fn memory(&self, name: &str) -> anyhow::Result<u64> {
        let value = first_value(&format!("/proc/{}/status", self.pid()?), name).context("the host runs on another machine")?;
        let kilobytes: u64 = value.trim_end_matches(" kB").parse()?;
        Ok(kilobytes * 1024)
    }

    /// Returns the processor time that it has used.
    pub(crate) fn processor_time(&self) -> anyhow::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid()?))?;
        // After the name, which may hold spaces, the fields are numbers: user and system time are the 12th and 13th.
        let (_, fields) = stat.rsplit_once(')').context("/proc/PID/stat has a name in brackets")?;
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
        Ok(Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second()))
    }

    /// Stops it cleanly; returns its folder.
    pub(crate) fn stop(mut self) -> anyhow::Result<TempDir> {
        let mut started = self.started.take().context("a host at `--url` is not stopped")?;
        let pid = Pid::from_raw(started.child.id().cast_signed()).context("a child's pid is not zero")?;
        kill_process(pid, Signal::TERM)?;
        let status = started.child.wait()?;
        ensure!(status.success(), "the host ended with {status}");
        let next = TempDir::new_in(started.folder.path().parent().context("a temporary folder has a parent")?)?;
        Ok(std::mem::replace(&mut started.folder, next))
    }
}

impl Started {
    fn wait_ready(&mut self, address_file: &Path) -> anyhow::Result<SocketAddr> {
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                bail!("the host ended with {status}:\n{log}");
            }
            // Without its line end the address may be half written.
            let url = fs::read_to_string(address_file).ok().filter(|text| text.ends_with('\n')).unwrap_or_default();
            let address = url.trim().trim_start_matches("http://").trim_end_matches('/').parse().ok();
            if let Some(address) = address.filter(|address| is_ready(*address)) {
                return Ok(address);
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        bail!("the host is not ready after 30 s")
    }
}

fn is_ready(address: SocketAddr) -> bool {
    Connection::open(address).and_then(|mut connection| connection.status_of("/-/ready")).is_ok_and(|status| status == 200)
}

fn new_folder(target: &Target) -> anyhow::Result<TempDir> {
    Ok(tempfile::Builder::new().prefix("watchfire-load-").tempdir_in(folder(target))?)
}

impl Drop for Started {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
