//! Programs of `examples/`, as they are.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use watchfire_tasks::{root, target_directory};

/// Returns the binary of package `product-sync`, which is built if need be, without an environment that says anything about monitoring.
pub fn product_sync() -> Command {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    let mut command = Command::new(BINARY.get_or_init(build));
    let foreign = |name: &str| {
        ["WATCHFIRE_", "MONITORING_", "OTEL_"].iter().any(|begin| name.starts_with(begin))
            || name.to_lowercase().ends_with("_proxy")
    };
    for (name, _) in std::env::vars().filter(|(name, _)| foreign(name)) {
        command.env_remove(name);
    }
    command
}

fn build() -> PathBuf {
    let release = !cfg!(debug_assertions);
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--package", "product-sync"]).current_dir(root());
    cargo.args(release.then_some("--release")).env("CARGO_TARGET_DIR", target_directory());
    let status = cargo.status().expect("cargo runs: it ran this test");
    assert!(status.success(), "the example does not build");
    target_directory().join(if release { "release" } else { "debug" }).join("product-sync")
}
