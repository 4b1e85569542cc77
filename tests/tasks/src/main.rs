//! `cargo up` builds and starts a host; `cargo verify` passes every test. Each brings along what it needs.

use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;

use watchfire_tasks::step::{self, Failed, cargo, run};
use watchfire_tasks::{promtool, python, target_directory, wasm};

const USAGE: &str = "usage: cargo up [-- ARGUMENTS OF `watchfire start`]
       cargo verify";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let result = match arguments.next().as_deref() {
        Some("up") => up(arguments.skip_while(|argument| argument == "--").collect()),
        Some("verify") => verify(),
        _ => Err(Failed::new("which task?", USAGE)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            eprintln!("\n{failed}");
            ExitCode::FAILURE
        }
    }
}

/// Builds the host as it is released, and becomes it.
fn up(arguments: Vec<String>) -> Result<(), Failed> {
    wasm::ensure();
    run("build the host", &mut cargo(&["build", "--release", "--package", "watchfire"]), "see the compiler's message above")?;
    step::announce("watchfire start");
    let program = target_directory().join("release/watchfire");
    // Not at the root of the workspace but where the user stands, so that paths among the arguments mean what they say.
    let error = std::process::Command::new(&program).arg("start").args(arguments).exec();
    Err(Failed::new(format!("cannot run {}: {error}", program.display()), "is the target directory mounted noexec?"))
}

/// Gathers what the tests need, and runs them all.
fn verify() -> Result<(), Failed> {
    wasm::ensure();
    python::ensure()?;
    promtool::ensure()?;
    // One build for everything: with the test targets in it, features are resolved as for the tests, and nothing is built twice.
    run("build", &mut cargo(&["build", "--workspace", "--bins", "--tests"]), "see the compiler's message above")?;
    let host = target_directory().join("debug/watchfire");
    let has_nextest = step::output(&mut cargo(&["nextest", "--version"])).is_some();
    let tests: &[&str] =
        if has_nextest { &["nextest", "run", "--workspace"] } else { &["test", "--workspace", "--lib", "--bins", "--tests"] };
    run("tests", cargo(tests).env("WATCHFIRE_TEST_BINARY", host), "a failed test says what it expected; run it alone by its name")?;
    run("examples in the documentation", &mut cargo(&["test", "--workspace", "--doc"]), "the comment above names the item")?;
    step::announce("all tests pass");
    Ok(())
}
