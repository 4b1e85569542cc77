//! The target that components are built for.

use crate::{loudly, step};

const TARGET: &str = "wasm32-wasip2";

/// Makes sure that components can be built. Nothing needs one yet, so a failure is only said.
///
/// `rust-toolchain.toml` names the target too, but that is ignored where rustup's automatic installs are switched off.
pub fn ensure() {
    let installed = step::output(&mut step::command("rustup", ["target", "list", "--installed"]));
    if installed.is_some_and(|list| list.lines().any(|line| line == TARGET)) {
        return;
    }
    let mut add = step::command("rustup", ["target", "add", TARGET]);
    if step::run(&format!("rustup target add {TARGET}"), &mut add, "").is_err() {
        loudly(&format!("the Rust target {TARGET} could not be added; nothing needs it yet, so this goes on without it"));
    }
}
