//! Unmodified OpenTelemetry SDKs for Python, and their word for what they sent.

use std::process::{Command, Stdio};

use serde_json::Value;
use watchfire_tasks::python;

/// How an exporter puts it on the wire.
#[derive(Clone, Copy, Debug)]
pub struct Wire {
    /// `protobuf` or `json`.
    pub encoding: &'static str,
    /// `gzip` or `none`.
    pub compression: &'static str,
}

impl Wire {
    /// Every combination that the exporters know.
    pub const ALL: [Self; 4] = [
        Self { encoding: "protobuf", compression: "none" },
        Self { encoding: "protobuf", compression: "gzip" },
        Self { encoding: "json", compression: "none" },
        Self { encoding: "json", compression: "gzip" },
    ];
}

/// Sends `count` log records of `service` to the host at `base`; returns what the SDK says it sent.
pub fn send_logs(base: &str, wire: Wire, service: &str, count: usize) -> Vec<Value> {
    let count = count.to_string();
    run("otel_logs.py", &format!("{base}/v1/logs"), wire, &["--service", service, "--count", &count])
}

/// Sends metrics whose names begin with `prefix` in `temporality` (`cumulative` or `delta`); returns the series that must come of it.
pub fn send_metrics(base: &str, wire: Wire, temporality: &str, prefix: &str) -> Vec<Value> {
    run("otel_metrics.py", &format!("{base}/v1/metrics"), wire, &["--temporality", temporality, "--prefix", prefix])
}

fn run(program: &str, endpoint: &str, wire: Wire, more: &[&str]) -> Vec<Value> {
    let python = python::ensure().unwrap_or_else(|failed| panic!("{failed}"));
    let mut command = Command::new(python);
    command.arg(python::programs().join(program)).args(["--endpoint", endpoint]);
    command.args(["--encoding", wire.encoding, "--compression", wire.compression]).args(more);
    // The exporters would take an endpoint or a proxy from there.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("OTEL_") || name.to_lowercase().ends_with("_proxy")) {
        command.env_remove(name);
    }
    let output = command.stdin(Stdio::null()).output().expect("Python runs");
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // An exporter that was refused says so on standard error, and goes on.
    assert!(output.status.success() && !errors.contains("Failed to export"), "{program}: {errors}");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}
