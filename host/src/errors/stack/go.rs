//! What Go prints of a panic, and what `debug.Stack()` returns: the goroutine that failed comes first.

use super::{Exception, Frame, lines, without_brackets};

/// First parts of import paths of the standard library.
const STANDARD: [&str; 40] = [
    "archive",
    "bufio",
    "bytes",
    "cmp",
    "compress",
    "container",
    "context",
    "crypto",
    "database",
    "debug",
    "embed",
    "encoding",
    "errors",
    "expvar",
    "flag",
    "fmt",
    "go",
    "hash",
    "html",
    "image",
    "internal",
    "io",
    "iter",
    "log",
    "maps",
    "math",
    "mime",
    "net",
    "os",
    "path",
    "reflect",
    "regexp",
    "runtime",
    "slices",
    "sort",
    "strconv",
    "strings",
    "sync",
    "syscall",
    "testing",
];

/// Where libraries lie.
const LIBRARIES: [&str; 4] = ["/pkg/mod/", "/vendor/", "/usr/local/go/src/", "/libexec/src/"];

pub(super) fn is_one(text: &str) -> bool {
    let bytes = text.as_bytes();
    memchr::memmem::find_iter(bytes, "goroutine ").any(|at| {
        let rest = &text[at + "goroutine ".len()..];
        let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        rest.strip_prefix(" [").is_some_and(|rest| rest.lines().next().is_some_and(|line| line.trim_end().ends_with("]:")))
    })
}

pub(super) fn parse(text: &str) -> Vec<Exception> {
    let mut exception = Exception::new("panic", "");
    let mut rest = lines(text).peekable();
    while let Some(line) = rest.peek() {
        if line.starts_with("goroutine ") || (line.contains("goroutine ") && line.trim_end().ends_with("]:")) {
            break;
        }
        if let Some((kind, message)) = said(line) {
            exception = Exception::new(kind, message);
        }
        rest.next();
    }
    rest.next();
    while let Some(line) = rest.next() {
        // A blank line ends the goroutine; the next one is of no interest.
        if line.trim().is_empty() || line.starts_with("created by ") || line.starts_with("goroutine ") {
            break;
        }
        let place = rest.next_if(|next| next.starts_with(['\t', ' '])).unwrap_or("");
        let Some(call) = call(line.trim(), place.trim()) else { continue };
        if call.module.is_empty() && call.function == "panic" || call.module == "runtime" && call.function == "gopanic" {
            // What stands above is how the panic was caught, not how it came about.
            exception.frames.clear();
        } else {
            exception.frames.push(call);
        }
    }
    vec![exception]
}

/// Reads `panic: …`, `fatal error: …` or `http: panic serving 10.0.0.1:555: …`.
fn said(line: &str) -> Option<(&'static str, &str)> {
    let line = line.trim();
    if let Some((_, rest)) = line.split_once("panic serving ") {
        return rest.split_once(": ").map(|(_, message)| ("panic", message));
    }
    let after = |begin: &str| line.find(begin).map(|at| &line[at + begin.len()..]);
    let message = after("panic: ")
        .map(|message| ("panic", message))
        .or_else(|| after("fatal error: ").map(|message| ("fatal error", message)));
    message.map(|(kind, message)| (kind, message.trim_end_matches(" [recovered]")))
}

/// Reads `shop/orders.(*Service).Charge(0xc000010000, 0x1)` and the line below it.
pub(super) fn call(line: &str, place: &str) -> Option<Frame> {
    let name = &line[..line.rfind('(')?];
    let name = without_brackets(name, '[', ']');
    let folder = name.rfind('/').map_or(0, |at| at + 1);
    let Some(dot) = name[folder..].find('.') else { return Some(Frame::new("", &name, false)) };
    let (package, function) = (&name[..folder + dot], &name[folder + dot + 1..]);
    let first = package.split('/').next().unwrap_or("");
    let in_app = !STANDARD.contains(&first) && !LIBRARIES.iter().any(|library| place.contains(library));
    let function: Vec<&str> = function.split('.').filter(|part| !is_closure(part)).collect();
    Some(Frame::new(package, function.join(".").trim_end_matches("-fm"), in_app))
}

/// Returns whether this is `func1`, the `2` of `func1.2`, `gowrap1`, `deferwrap2` or `init`'s number.
fn is_closure(part: &str) -> bool {
    let rest = ["func", "gowrap", "deferwrap"].iter().find_map(|begin| part.strip_prefix(begin)).unwrap_or(part);
    let rest = rest.split("-range").next().unwrap_or(rest);
    !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit())
}
