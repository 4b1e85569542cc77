//! What Rust prints of a panic, with and without a backtrace, and the backtraces of `anyhow` and its like.

use super::{Exception, Frame, base_name, lines, without_brackets};

const BACKTRACE: &str = "tack backtrace:";
const PANICKED: &str = "panicked at ";

/// Crates of the language, and those that call an application.
const LIBRARIES: [&str; 16] = [
    "std",
    "core",
    "alloc",
    "test",
    "proc_macro",
    "tokio",
    "futures",
    "futures_util",
    "futures_core",
    "hyper",
    "tower",
    "axum",
    "actix_rt",
    "backtrace",
    "anyhow",
    "eyre",
];

/// How a panic comes about: its calls before the one that panicked.
const MACHINERY: [&str; 9] = [
    "rust_begin_unwind",
    "__rustc::",
    "core::panicking::",
    "std::panicking::",
    "core::option::",
    "core::result::",
    "core::slice::index::",
    "alloc::raw_vec::",
    "std::sys::backtrace::",
];

pub(super) fn is_one(text: &str) -> bool {
    let has = |needle: &str| memchr::memmem::find(text.as_bytes(), needle.as_bytes()).is_some();
    (has(PANICKED) && has("thread '")) || (has(BACKTRACE) && has(" 0: "))
}

pub(super) fn parse(text: &str) -> Vec<Exception> {
    let mut exception = Exception::new("panic", "");
    let mut place = None;
    let mut rest = lines(text).peekable();
    while let Some(line) = rest.next() {
        if let Some(at) = line.find(PANICKED) {
            let (said, file) = panicked(&line[at + PANICKED.len()..]);
            let said = said.or_else(|| rest.peek().map(|next| next.trim()).filter(|next| !next.contains(BACKTRACE)));
            exception = Exception::new("panic", said.unwrap_or_default());
            place = Some(Frame::new(file, "", true));
        } else if let Some(message) = line.strip_prefix("Error: ") {
            exception = Exception::new("Error", message);
        } else if line.contains(BACKTRACE) {
            break;
        }
    }
    while let Some(line) = rest.next() {
        let Some(name) = numbered(line) else {
            if exception.frames.is_empty() || line.trim().is_empty() {
                continue;
            }
            break;
        };
        let place = rest.next_if(|next| next.trim_start().starts_with("at ")).unwrap_or("");
        if MACHINERY.iter().any(|begin| name.starts_with(begin)) && exception.frames.iter().all(|frame| !frame.in_app) {
            exception.frames.clear();
        } else {
            exception.frames.push(call(name, place.trim()));
        }
    }
    if exception.frames.is_empty() {
        exception.frames.extend(place);
    }
    vec![exception]
}

/// Reads what follows `panicked at`: `src/main.rs:10:5:`, or `'message', src/main.rs:10:5` of older ones.
fn panicked(rest: &str) -> (Option<&str>, &str) {
    let (said, place) = match rest.rsplit_once("', ") {
        Some((said, place)) if rest.starts_with('\'') => (Some(said.trim_start_matches('\'')), place),
        _ => (None, rest),
    };
    let file = place.split(".rs:").next().unwrap_or(place);
    (said, base_name(file))
}

/// Reads `  12: shop::orders::charge`, or with an address `12: 0x55d0 - shop::orders::charge`.
fn numbered(line: &str) -> Option<&str> {
    let (number, name) = line.trim_start().split_once(": ")?;
    let is_number = !number.is_empty() && number.len() <= 5 && number.bytes().all(|byte| byte.is_ascii_digit());
    let name = name.trim();
    let name = match name.split_once(" - ") {
        Some((address, name)) if address.trim().starts_with("0x") => name,
        _ => name,
    };
    is_number.then_some(name)
}

pub(super) fn call(name: &str, place: &str) -> Frame {
    // `<shop::Cart as core::ops::Drop>::drop` is named by its type.
    let name = match name.strip_prefix('<').and_then(|rest| rest.split_once(" as ")) {
        Some((of, rest)) if !of.contains('<') => format!("{of}{}", rest.rfind(">::").map_or("", |at| &rest[at + 1..])),
        _ => name.to_owned(),
    };
    let plain = without_brackets(&without_brackets(&name, '<', '>'), '{', '}');
    let parts: Vec<&str> = plain.split("::").filter(|part| !part.is_empty() && !is_hash(part)).collect();
    let (function, module) = parts.split_last().map_or(("", &[][..]), |(last, rest)| (*last, rest));
    let first = parts.first().copied().unwrap_or("");
    let is_library = LIBRARIES.contains(&first)
        || first.starts_with("__")
        || parts.len() < 2
        || place.contains("/rustc/")
        || place.contains("/.cargo/")
        || place.contains("/registry/src/")
        || place.contains("/git/checkouts/");
    Frame::new(&module.join("::"), function, !is_library)
}

/// Returns whether this is the `h0123456789abcdef` that the compiler appends.
fn is_hash(part: &str) -> bool {
    part.len() == 17 && part.starts_with('h') && part[1..].bytes().all(|byte| byte.is_ascii_hexdigit())
}
