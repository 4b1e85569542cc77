//! One step of a task: a line that says what happens, a command, and what to do if it fails.

use std::ffi::OsStr;
use std::fmt;
use std::process::{Command, Stdio};

/// A step that failed, and what to do about it.
#[derive(Debug)]
pub struct Failed {
    what: String,
    hint: String,
}

impl Failed {
    /// Returns the failure of `what`, with a `hint` for whoever reads it.
    pub fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: hint.into() }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}\nhint: {}", self.what, self.hint)
    }
}

impl std::error::Error for Failed {}

/// Announces a step.
pub fn announce(what: &str) {
    eprintln!("\n==> {what}");
}

/// Returns a command for `program`, which runs at the root of the workspace.
pub fn command<S: AsRef<OsStr>>(program: impl AsRef<OsStr>, arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(crate::root());
    command
}

/// Returns the cargo that runs us, with `arguments`.
pub fn cargo(arguments: &[&str]) -> Command {
    command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), arguments)
}

/// Announces `what`, runs `command` with our own output, and fails with `hint`.
pub fn run(what: &str, command: &mut Command, hint: &str) -> Result<(), Failed> {
    announce(what);
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failed::new(format!("{what}: {status}"), hint)),
        Err(error) => Err(Failed::new(format!("{what}: cannot run {}: {error}", command.get_program().display()), hint)),
    }
}

/// Returns what `command` prints on standard output, if it succeeds.
pub fn output(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
