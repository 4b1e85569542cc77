//! `promtool`, the judge of our text exposition.

use std::fs;
use std::path::PathBuf;

use crate::step::{self, Failed};
use crate::{is_ci, loudly, target_directory};

/// Returns a `promtool`: of the machine, or the one that [`ensure`] fetched.
#[must_use]
pub fn find() -> Option<PathBuf> {
    let on_path = std::env::var_os("PATH").into_iter().flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    on_path.map(|folder| folder.join("promtool")).chain([fetched()]).find(|program| program.is_file())
}

/// Makes sure that there is a `promtool`, if that can be done without installing anything on the machine.
///
/// # Errors
/// Only under CI; elsewhere its test is skipped, loudly.
pub fn ensure() -> Result<(), Failed> {
    if find().is_none() {
        step::announce("promtool, from Debian's package of Prometheus");
        fetch();
    }
    match find() {
        Some(_) => Ok(()),
        None if is_ci() => Err(Failed::new("there is no promtool", "put it on the PATH: it comes with Prometheus")),
        None => {
            loudly("there is no promtool: the test of /metrics with it will be skipped");
            Ok(())
        }
    }
}

fn fetched() -> PathBuf {
    target_directory().join("promtool/usr/bin/promtool")
}

/// Downloads Debian's package and unpacks it under `target/`: installing it would start a server.
fn fetch() {
    let folder = target_directory().join("promtool");
    if fs::create_dir_all(&folder).is_err() {
        return;
    }
    let download = || step::output(step::command("apt-get", ["download", "--quiet", "prometheus"]).current_dir(&folder));
    if download().is_none() {
        // A fresh container has no package lists; without being root this fails, and then so does the second download.
        step::output(&mut step::command("apt-get", ["update", "--quiet"]));
        download();
    }
    let packages = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
    for package in packages.filter(|path| path.extension().is_some_and(|extension| extension == "deb")) {
        step::output(step::command("dpkg-deb", ["--extract"]).arg(package).arg(&folder));
    }
}
