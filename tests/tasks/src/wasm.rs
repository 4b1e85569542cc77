//! The target that components are built for.

use crate::step::{self, Failed};

/// The target that components are built for.
pub(crate) const TARGET: &str = "wasm32-wasip2";

/// Makes sure that components can be built.
///
/// `rust-toolchain.toml` names the target too, but that is ignored where rustup's automatic installs are switched off.
///
/// # Errors
/// If the target is not there and cannot be added.
pub fn ensure() -> Result<(), Failed> {
    if is_installed() {
        return Ok(());
    }
    let hint = "see rustup's message above; a distribution's own Rust has the target in a package such as libstd-rust-dev-wasm32";
    step::run(&format!("rustup target add {TARGET}"), &mut step::command("rustup", ["target", "add", TARGET]), hint)
}

/// Returns whether the compiler has the target's standard library, wherever the compiler came from.
fn is_installed() -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let libraries = step::output(&mut step::command(rustc, ["--print", "target-libdir", "--target", TARGET]));
    let has_std = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with("libstd-");
    libraries.is_some_and(|path| std::fs::read_dir(path.trim()).into_iter().flatten().flatten().any(has_std))
}
