//! Clients for Node that tests talk to the host with, under `target/`, as `tests/node/package-lock.json` pins them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::step::{self, Failed};
use crate::{is_ci, loudly, root, target_directory};

/// Returns the folder of the programs for Node that tests run.
#[must_use]
pub fn programs() -> PathBuf {
    root().join("tests/node")
}

/// Returns a command that runs `program` of [`programs`] with the clients; `None` if there is no Node, which has been said then.
///
/// # Panics
/// Under CI, where nothing may be skipped, and if the clients cannot be installed there.
#[must_use]
pub fn command(program: &str) -> Option<Command> {
    match install() {
        Ok(folder) => {
            let mut command = Command::new("node");
            command.arg(programs().join(program)).env("CLIENTS", folder);
            Some(command)
        }
        Err(failed) => {
            assert!(!is_ci(), "{failed}");
            loudly(&format!("skipped: {failed}"));
            None
        }
    }
}

/// Returns the path of a program that comes with a package, `@sentry/cli-linux-x64/bin/sentry-cli` for example; `None` if there is no Node,
/// or none of it for this machine, which has been said then.
///
/// # Panics
/// Under CI, where nothing may be skipped, and if the clients cannot be installed there.
#[must_use]
pub fn binary(path: &str) -> Option<PathBuf> {
    let found = install().and_then(|folder| {
        let program = folder.join("node_modules").join(path);
        let missing = || Failed::new(format!("npm has no `{path}` for this machine"), "run the tests on Linux on x86-64");
        program.is_file().then_some(program).ok_or_else(missing)
    });
    match found {
        Ok(program) => Some(program),
        Err(failed) => {
            assert!(!is_ci(), "{failed}");
            loudly(&format!("skipped: {failed}"));
            None
        }
    }
}

/// Makes sure that the clients are there, if there is a Node.
///
/// # Errors
/// Only under CI; elsewhere their tests are skipped, loudly.
pub fn ensure() -> Result<(), Failed> {
    match install() {
        Err(failed) if is_ci() => Err(failed),
        Err(failed) => {
            loudly(&format!("tests of clients for Node will be skipped: {failed}"));
            Ok(())
        }
        Ok(_) => Ok(()),
    }
}

/// Returns the folder that holds `node_modules`.
fn install() -> Result<PathBuf, Failed> {
    const FILES: [&str; 2] = ["package.json", "package-lock.json"];
    if step::output(&mut step::command("node", ["--version"])).is_none() {
        return Err(Failed::new("there is no Node", "install Node 18 or newer with npm"));
    }
    let read = |name: &&str| fs::read(programs().join(name));
    let pinned: Vec<u8> = FILES.iter().map(read).collect::<Result<Vec<_>, _>>().map_err(cannot("tests/node"))?.concat();
    let folder = target_directory().join(format!("node-{:016x}", crate::python::fnv1a(&pinned)));
    let _one_at_a_time = lock(&folder)?;
    // Written last, so that an interrupted installation is not taken for a whole one.
    let complete = folder.join("complete");
    if complete.exists() {
        return Ok(folder);
    }
    fs::create_dir_all(&folder).map_err(cannot("the folder for Node's clients"))?;
    for name in FILES {
        fs::copy(programs().join(name), folder.join(name)).map_err(cannot(name))?;
    }
    let mut npm = step::command("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
    step::run(
        &format!("clients for Node, in {}", folder.display()),
        npm.current_dir(&folder),
        "see npm's message above; a registry must be reachable (NPM_CONFIG_REGISTRY names another one)",
    )?;
    fs::write(&complete, "").map_err(cannot("the folder for Node's clients"))?;
    Ok(folder)
}

fn cannot(what: &str) -> impl Fn(std::io::Error) -> Failed + '_ {
    move |error| Failed::new(format!("{what}: {error}"), "is the target directory writable, and the checkout whole?")
}

/// Holds a lock beside `folder` until dropped: tests run in many processes at once.
fn lock(folder: &Path) -> Result<File, Failed> {
    let open = || {
        fs::create_dir_all(target_directory())?;
        let file = File::create(folder.with_extension("lock"))?;
        file.lock()?;
        Ok(file)
    };
    open().map_err(cannot("the lock of Node's clients"))
}
