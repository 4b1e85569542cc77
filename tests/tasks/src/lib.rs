//! What `cargo up` and `cargo verify` do, and where tests find the components and tools that are put under `target/`.

pub mod chromium;
pub mod components;
pub mod debian;
pub mod node;
pub mod python;
pub mod step;
pub mod wasm;

use std::path::{Path, PathBuf};

/// Returns the root of the workspace.
#[must_use]
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("tests/tasks lies two folders below the root").to_owned()
}

/// Returns the target directory: the one this program was built into, so that there is only ever one.
#[must_use]
pub fn target_directory() -> PathBuf {
    let built_into = std::env::current_exe().ok().and_then(|program| {
        // target/debug/program, or target/debug/deps/test
        let folder = program.parent()?;
        let profile = if folder.ends_with("deps") { folder.parent()? } else { folder };
        profile.parent().map(Path::to_owned)
    });
    built_into.unwrap_or_else(|| root().join("target"))
}

/// Returns whether this runs for nobody in particular, so that a missing tool must fail rather than be skipped.
#[must_use]
pub fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false")
}

/// Says something that must not be overlooked.
pub fn loudly(text: &str) {
    eprintln!("\n*** {text}\n");
}
