//! Calls that an SDK sends as data get the names that the same calls have in a stack trace as text.

use super::{Frame, at, base_name, go, python, rust};

/// Longest line of source that stands for a function without a name.
const MAX_CONTEXT_BYTES: usize = 120;

/// One call.
#[derive(Clone, Copy, Debug)]
pub(in crate::errors) struct Call<'a> {
    /// Path of the source, or address of the script.
    pub(in crate::errors) file: &'a str,
    /// Module, package or class.
    pub(in crate::errors) module: &'a str,
    /// Function or method.
    pub(in crate::errors) function: &'a str,
    /// The line of the source.
    pub(in crate::errors) context: &'a str,
}

/// Returns `call` as a program of `platform` would print it; `None` if nothing is known of it.
pub(in crate::errors) fn frame(platform: &str, call: &Call<'_>) -> Option<Frame> {
    let Call { file, module, function, context } = *call;
    if file.is_empty() && module.is_empty() && function.is_empty() {
        return None;
    }
    Some(match platform {
        "python" => {
            if matches!(function, "<listcomp>" | "<dictcomp>" | "<setcomp>") {
                return None;
            }
            let path = if file.is_empty() { module.rsplit('.').next().unwrap_or(module) } else { file };
            python::frame(path, function)
        }
        "java" | "kotlin" | "scala" => at::java(&format!("{module}.{function}")),
        "javascript" | "node" => {
            // What a minifier leaves of a name says less than the line.
            let is_minified = platform == "javascript" && function.rsplit('.').next().is_none_or(|name| name.len() <= 2);
            let context = context.trim();
            let named = matches!(function, "" | "?" | "<anonymous>") || is_minified;
            let mut frame = at::javascript(if named { "" } else { function }, file);
            if named && !context.is_empty() && context.len() <= MAX_CONTEXT_BYTES {
                context.clone_into(&mut frame.function);
            }
            frame
        }
        "native" | "rust" if function.contains("::") => rust::call(function, file),
        "go" => {
            let joined = if module.is_empty() { function.to_owned() } else { format!("{module}.{function}") };
            return go::call(&format!("{joined}("), file);
        }
        _ => {
            let base = base_name(file.split(['?', '#']).next().unwrap_or(file));
            let base = base.rsplit_once('.').map_or(base, |(base, _)| base);
            Frame::new(if module.is_empty() { base } else { module }, function, true)
        }
    })
}

/// Returns whether an SDK that calls this the application's own is believed against what the names say: only what was configured so.
pub(in crate::errors) fn may_overrule(platform: &str, file: &str) -> bool {
    platform == "python" && file.contains("-packages")
}
