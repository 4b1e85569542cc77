//! The real binary, built with the kill points.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use watchfire_tasks::{root, target_directory};

/// Returns the path of the host's binary, building it first unless `cargo verify` has (and says so in `WATCHFIRE_TEST_BINARY`).
pub(crate) fn host() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| std::env::var_os("WATCHFIRE_TEST_BINARY").map_or_else(build, PathBuf::from))
}

fn build() -> PathBuf {
    let release = !cfg!(debug_assertions);
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--package", "watchfire", "--features", "crash-points"]).current_dir(root());
    cargo.args(release.then_some("--release")).env("CARGO_TARGET_DIR", target_directory());
    let status = cargo.status().expect("cargo runs: it ran this test");
    assert!(status.success(), "the host does not build");
    target_directory().join(if release { "release" } else { "debug" }).join("watchfire")
}
