//! A configuration file and a data directory, on which the real binary runs, once or again and again.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::{Process, binary, merge, minimal_configuration};

/// A folder with `config.json` and `data/`.
pub struct Installation {
    folder: TempDir,
    configuration: Value,
}

/// A command that has ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Exit code; -1 if a signal ended it.
    pub code: i32,
    /// Data.
    pub stdout: String,
    /// Talk.
    pub stderr: String,
}

impl Finished {
    /// Returns itself if the exit code is `code`.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// Returns standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.stdout))
    }

    /// Returns standard output as one JSON value a line.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    }
}

impl Installation {
    /// Makes one whose configuration is the quiet one of [`minimal_configuration`] with `changes`.
    pub fn new(changes: Value) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let configuration = minimal_configuration(&folder.path().join("data"));
        let mut installation = Self { folder, configuration };
        installation.configure(changes);
        installation
    }

    /// Changes the configuration for the next start.
    pub fn configure(&mut self, changes: Value) {
        merge(&mut self.configuration, changes);
        std::fs::write(self.path("config.json"), self.configuration.to_string()).expect("a temporary folder can be written");
    }

    /// Returns the path of `name` in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the data directory.
    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Starts the host with `environment` and returns at once.
    pub fn spawn(&self, environment: &[(&str, &str)]) -> Process {
        let address = self.data().join("address");
        // What a killed host has left behind would be taken for the new one's.
        let _ = std::fs::remove_file(&address);
        let mut command = self.command(&["start", "--config"]);
        command.arg(self.path("config.json")).envs(environment.iter().copied());
        Process::spawn(command, address)
    }

    /// Starts the host and waits until it is ready.
    pub async fn start(&self) -> Process {
        let mut process = self.spawn(&[]);
        assert!(process.wait_ready().await.is_some(), "the host ended at once: {:#?}", process.log());
        process
    }

    /// Runs a command of the binary to its end, in the installation's folder.
    pub fn run(&self, arguments: &[&str]) -> Finished {
        self.run_with(arguments, &[], "")
    }

    /// Runs a command against the host `process`.
    pub fn run_against(&self, process: &Process, arguments: &[&str]) -> Finished {
        self.run_with(arguments, &[("WATCHFIRE_URL", process.client().url())], "")
    }

    /// Runs a command with further environment variables and `input`.
    pub fn run_with(&self, arguments: &[&str], environment: &[(&str, &str)], input: &str) -> Finished {
        let mut command = self.command(arguments);
        command.envs(environment.iter().copied()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary runs");
        // A command that does not read its input may be gone already.
        let _ = child.stdin.take().expect("it is piped").write_all(input.as_bytes());
        let output = child.wait_with_output().expect("the binary ends");
        Finished {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Returns the binary with `arguments` and an environment that says nothing about watchfire but where state lies.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary::host());
        let foreign = |name: &str| name.starts_with("WATCHFIRE_") || name.starts_with("MONITORING_") || name.ends_with("_proxy");
        for (name, _) in std::env::vars().filter(|(name, _)| foreign(name)) {
            command.env_remove(name);
        }
        command.env("STATE_DIRECTORY", self.data()).env("NO_COLOR", "1").env("NO_PROXY", "*");
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }
}
