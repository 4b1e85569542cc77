//! Programs that use other people's clients, and what they print.

use std::process::{Command, Stdio};

use watchfire_tasks::{node, python};

use crate::binary;

/// Runs `program` of `tests/python`; returns what it prints.
pub fn run_python(program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(python::ensure().unwrap_or_else(|failed| panic!("{failed}")));
    command.arg(python::programs().join(program)).args(arguments);
    output(&mut command)
}

/// Runs the tests in `module` of `examples/python/tests`, which start hosts of their own; returns what they say.
pub fn run_python_tests(module: &str) -> String {
    let mut command = Command::new(python::ensure().unwrap_or_else(|failed| panic!("{failed}")));
    command.current_dir(watchfire_tasks::root().join("examples/python/tests")).args(["-B", "-m", "unittest", module]);
    for (name, _) in std::env::vars() {
        if ["WATCHFIRE_", "MONITORING_", "OTEL_"].iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    let output = command.env("WATCHFIRE_BINARY", binary::host()).stdin(Stdio::null()).output().expect("Python runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

/// Runs `program` of `tests/node`; `None` if there is no Node, which has been said then.
pub fn run_node(program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = node::command(program)?;
    command.args(arguments);
    Some(output(&mut command))
}

/// Returns what a program prints, which must succeed.
pub fn output(command: &mut Command) -> String {
    for (name, _) in std::env::vars().filter(|(name, _)| name.to_lowercase().ends_with("_proxy")) {
        command.env_remove(name);
    }
    let output = command.stdin(Stdio::null()).output().expect("the program runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
