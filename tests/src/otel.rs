//! Unmodified OpenTelemetry SDKs for Python, and their word for what they sent.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use watchfire_tasks::python;

/// How an exporter puts it on the wire.
#[derive(Clone, Copy, Debug)]
pub struct Wire {
    /// `protobuf` or `json` over HTTP, or `grpc`.
    pub encoding: &'static str,
    /// `gzip` or `none`.
    pub compression: &'static str,
}

impl Wire {
    /// Every combination that the exporters know.
    pub const ALL: [Self; 6] = [
        Self { encoding: "protobuf", compression: "none" },
        Self { encoding: "protobuf", compression: "gzip" },
        Self { encoding: "json", compression: "none" },
        Self { encoding: "json", compression: "gzip" },
        Self { encoding: "grpc", compression: "none" },
        Self { encoding: "grpc", compression: "gzip" },
    ];

    /// Returns where the exporter of `signal` (`logs` or `metrics`) sends to at a host.
    fn endpoint(self, base: &str, signal: &str) -> String {
        if self.encoding == "grpc" { base.to_owned() } else { format!("{base}/v1/{signal}") }
    }
}

/// Sends `count` log records of `service` to the host at `base`; returns what the SDK says it sent.
pub fn send_logs(base: &str, wire: Wire, service: &str, count: usize) -> Vec<Value> {
    let count = count.to_string();
    run("otel_logs.py", &wire.endpoint(base, "logs"), wire, &["--service", service, "--count", &count])
}

/// Sends `count` log records by gRPC with `token`, or without one; returns what the SDK says it sent. Whether they arrived it does
/// not say.
pub fn try_grpc(base: &str, token: Option<&str>, service: &str, count: usize) -> Vec<Value> {
    let mut command = python(&python::programs().join("otel_logs.py"));
    command.args(["--endpoint", base, "--encoding", "grpc", "--service", service, "--count", &count.to_string()]);
    command.args(token.iter().flat_map(|token| ["--token", token]));
    let output = command.output().expect("Python runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// Sends metrics whose names begin with `prefix` in `temporality` (`cumulative` or `delta`); returns the series that must come of it.
pub fn send_metrics(base: &str, wire: Wire, temporality: &str, prefix: &str) -> Vec<Value> {
    run("otel_metrics.py", &wire.endpoint(base, "metrics"), wire, &["--temporality", temporality, "--prefix", prefix])
}

/// Runs the example for Python as it is, against the host at `base`.
pub fn run_example(base: &str) {
    let mut command = python(&watchfire_tasks::root().join("examples/python/send_logs.py"));
    output(command.env("OTEL_EXPORTER_OTLP_ENDPOINT", base));
}

fn run(program: &str, endpoint: &str, wire: Wire, more: &[&str]) -> Vec<Value> {
    let mut command = python(&python::programs().join(program));
    command.args(["--endpoint", endpoint, "--encoding", wire.encoding, "--compression", wire.compression]).args(more);
    let text = output(&mut command);
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// Returns our Python with `program`, in an environment from which exporters take neither an endpoint nor a proxy.
fn python(program: &Path) -> Command {
    let mut command = Command::new(python::ensure().unwrap_or_else(|failed| panic!("{failed}")));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("OTEL_") || name.to_lowercase().ends_with("_proxy")) {
        command.env_remove(name);
    }
    command.arg(program).stdin(Stdio::null());
    command
}

/// Returns what a program prints.
fn output(command: &mut Command) -> String {
    let output = command.output().expect("Python runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    // An exporter that was refused says so on standard error, and goes on.
    assert!(output.status.success() && !errors.contains("Failed to export"), "{command:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
