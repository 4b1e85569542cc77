//! Programs that use other people's clients, and what they print.

use std::process::{Command, Stdio};

use watchfire_tasks::{node, python};

/// Runs `program` of `tests/python`; returns what it prints.
pub fn run_python(program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(python::ensure().unwrap_or_else(|failed| panic!("{failed}")));
    command.arg(python::programs().join(program)).args(arguments);
    output(&mut command)
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
