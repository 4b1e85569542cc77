//! A server in Python, in a process of its own.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use watchfire_tasks::python;

use crate::Lines;

/// A program of `tests/python` that prints its port, then what arrives, a JSON object a line. Dropping it ends it.
pub(crate) struct PythonServer {
    child: Child,
    lines: Lines,
    folder: TempDir,
    port: u16,
}

impl PythonServer {
    /// Starts `program`; `tls` is whether it is given a folder for the certificate of its authority.
    pub(crate) fn start(program: &str, tls: bool, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut command = Command::new(python::ensure().unwrap_or_else(|failed| panic!("{failed}")));
        command.arg(python::programs().join(program)).args(arguments);
        if tls {
            command.arg("--tls").arg(folder.path());
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("Python runs");
        let lines = Lines::read(child.stdout.take().expect("it is piped"));
        let port = lines.wait_for(&format!("the port of {program}"), |line| {
            let value: Value = serde_json::from_str(line).ok()?;
            value["port"].as_u64()?.try_into().ok()
        });
        Self { child, lines, folder, port }
    }

    /// Returns the certificate authority to trust.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Returns its port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns what has arrived so far: everything after its port.
    pub(crate) fn arrived(&self) -> Vec<Value> {
        self.lines.all().iter().skip(1).filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

impl Drop for PythonServer {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
