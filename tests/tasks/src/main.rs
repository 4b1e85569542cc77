//! `cargo up` builds and starts a host; `cargo verify` passes every test; `components` only builds those, and `debian` only fetches the
//! programs that tests run. Each brings along what it needs.

use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;

use watchfire_tasks::step::{self, Failed, cargo, run};
use watchfire_tasks::{components, debian, node, python, target_directory};

const USAGE: &str = "usage: cargo up [-- ARGUMENTS OF `watchfire start`]
       cargo verify
       cargo run --package watchfire-tasks -- components|debian";

/// Where the host looks for components beside the folders that its configuration names.
const COMPONENTS: &str = "WATCHFIRE_COMPONENTS";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let result = match arguments.next().as_deref() {
        Some("up") => up(arguments.skip_while(|argument| argument == "--").collect()),
        Some("verify") => verify(),
        Some("components") => build_components(),
        Some("debian") => debian::ensure(),
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
    components::ensure()?;
    run("build the host", &mut cargo(&["build", "--release", "--package", "watchfire"]), "see the compiler's message above")?;
    step::announce("watchfire start");
    let program = target_directory().join("release/watchfire");
    // Not at the root of the workspace but where the user stands, so that paths among the arguments mean what they say.
    let mut start = std::process::Command::new(&program);
    // Beside the folders that the user's configuration names, which it must not replace.
    if std::env::var_os(COMPONENTS).is_none() {
        start.env(COMPONENTS, components::folder());
    }
    let error = start.arg("start").args(arguments).exec();
    Err(Failed::new(format!("cannot run {}: {error}", program.display()), "is the target directory mounted noexec?"))
}

/// Builds our components and says where they lie.
fn build_components() -> Result<(), Failed> {
    components::ensure()?;
    for file in components::list(&components::folder()) {
        eprintln!("{file}");
    }
    Ok(())
}

/// Gathers what the tests need, and runs them all.
fn verify() -> Result<(), Failed> {
    components::ensure_all()?;
    python::ensure()?;
    node::ensure()?;
    debian::ensure()?;
    // One build for everything: with the test targets in it, features are resolved as for the tests, and nothing is built twice.
    run("build", &mut cargo(&["build", "--workspace", "--bins", "--tests"]), "see the compiler's message above")?;
    let host = target_directory().join("debug/watchfire");
    let has_nextest = step::output(&mut cargo(&["nextest", "--version"])).is_some();
    let tests: &[&str] =
        if has_nextest { &["nextest", "run", "--workspace"] } else { &["test", "--workspace", "--lib", "--bins", "--tests"] };
    let mut tests = cargo(tests);
    tests.env("WATCHFIRE_TEST_BINARY", host).env(components::BUILT, "1");
    run("tests", &mut tests, "a failed test says what it expected; run it alone by its name")?;
    run("examples in the documentation", &mut cargo(&["test", "--workspace", "--doc"]), "the comment above names the item")?;
    step::announce("all tests pass");
    Ok(())
}
