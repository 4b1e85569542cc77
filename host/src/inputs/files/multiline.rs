//! Puts the lines of a stack trace together, with the line of the log that announces it, so that they are one record.
//!
//! Only what is plainly a stack trace is joined: any other line is a record of its own, indented or not.

use std::ops::Range;

use regex::Regex;

use crate::errors::stack;

/// Most lines of one record, and most bytes.
const MAX_LINES: usize = 1_000;
const MAX_BYTES: usize = 256 << 10;
/// A goroutine begins at most so many lines after its panic.
const GO_PREAMBLE: usize = 8;
/// So many of the last lines are looked at even where nothing hints at a stack trace.
pub(super) const RECENT: usize = GO_PREAMBLE + 1;
/// What Node shows of the code that threw has at most so many lines.
const NODE_PREAMBLE: usize = 6;
/// Most lines of the fields of an error that Node prints.
const MAX_FIELDS: usize = 64;

/// Lines that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Joined {
    /// Which ones.
    pub(super) lines: Range<usize>,
    /// Whether more lines of it may come.
    pub(super) open: bool,
}

/// What belongs together, as configured.
#[derive(Clone, Debug, Default)]
pub(super) enum Rules {
    /// Every line is a record.
    Off,
    /// Stack traces.
    #[default]
    Traces,
    /// Patterns of the operator's.
    Custom {
        /// What a record begins with.
        start: Option<Regex>,
        /// What goes on with the record before.
        continues: Option<Regex>,
        /// Most lines of a record.
        max_lines: usize,
    },
}

impl Rules {
    /// Finds what belongs together among `lines`, which are all that there is at present. `is_error` says whether a line of a log is one.
    pub(super) fn join(&self, lines: &[&str], is_error: &mut dyn FnMut(&str) -> bool) -> Vec<Joined> {
        match self {
            Self::Off => Vec::new(),
            Self::Traces => join(lines, is_error),
            Self::Custom { start, continues, max_lines } => custom(lines, start.as_ref(), continues.as_ref(), *max_lines),
        }
    }
}

/// Returns whether a stack trace may begin or go on with this line: a quick look that spares most lines a closer one.
#[must_use]
pub(super) fn is_suspicious(line: &str) -> bool {
    match line.as_bytes().first() {
        Some(b' ' | b'\t') => true,
        Some(b'g') => line.starts_with("goroutine "),
        Some(b't') => line.starts_with("thread '"),
        Some(b'S') => line.starts_with("Stack trace:"),
        _ => false,
    }
}

/// Joins lines by patterns. Without `start`, any line that does not go on with the one before begins a record.
fn custom(lines: &[&str], start: Option<&Regex>, continues: Option<&Regex>, max_lines: usize) -> Vec<Joined> {
    let goes_on = |line: &str| match (start, continues) {
        (Some(start), Some(continues)) => !start.is_match(line) && continues.is_match(line),
        (Some(start), None) => !start.is_match(line),
        (None, Some(continues)) => continues.is_match(line),
        (None, None) => false,
    };
    let mut found = Vec::new();
    let mut begin = 0;
    let mut bytes = 0;
    for (index, line) in lines.iter().enumerate() {
        let fits = index - begin < max_lines && bytes + line.len() < MAX_BYTES;
        if index > begin && !(fits && goes_on(line)) {
            found.push(Joined { lines: begin..index, open: false });
            (begin, bytes) = (index, 0);
        }
        bytes += line.len() + 1;
    }
    if begin < lines.len() {
        // What is full takes no more.
        let open = lines.len() - begin < max_lines && bytes < MAX_BYTES;
        found.push(Joined { lines: begin..lines.len(), open });
    }
    found.retain(|joined| joined.lines.len() > 1 || joined.open);
    found
}

/// Finds the stack traces among `lines`, in their order. A line of a log that is an error belongs to the stack trace right after it.
/// The last one may be open; so may a line that is none yet but with which one may begin.
fn join(lines: &[&str], is_error: &mut dyn FnMut(&str) -> bool) -> Vec<Joined> {
    let mut found: Vec<Joined> = Vec::new();
    let mut at = 0;
    // The first line that is not part of a record yet.
    let mut free = 0;
    while at < lines.len() {
        let Some((end, finished)) = trace(&lines[at..], is_error).map(|(length, finished)| (at + length, finished)) else {
            at += 1;
            continue;
        };
        let begin = announced(lines, at, free, is_error);
        let whole = end;
        let end = end.min(begin + within_bytes(&lines[begin..end]));
        let open = end == whole && !finished && lines[end..].iter().all(|line| line.trim().is_empty());
        found.push(Joined { lines: begin..end, open });
        (at, free) = (end, end);
    }
    if !found.last().is_some_and(|joined| joined.open) {
        let from = lines.len().saturating_sub(GO_PREAMBLE).max(free);
        if let Some(at) = (from..lines.len()).find(|at| may_begin(&lines[*at..], is_error)) {
            let begin = announced(lines, at, free, is_error);
            found.push(Joined { lines: begin..at + 1, open: true });
        }
    }
    found
}

/// Returns where the record of a trace begins that begins at `at`: with the line before, if that is an error of a log.
fn announced(lines: &[&str], at: usize, free: usize, is_error: &mut dyn FnMut(&str) -> bool) -> usize {
    let before = |at: usize| lines[at - 1];
    let is_log =
        |line: &str, is_error: &mut dyn FnMut(&str) -> bool| !line.starts_with('{') && !is_indented(line) && is_error(line);
    if at > free && is_log(before(at), is_error) && !is_log(lines[at], is_error) { at - 1 } else { at }
}

/// Returns whether `lines`, to the last, may be how a stack trace begins.
fn may_begin(lines: &[&str], is_error: &mut dyn FnMut(&str) -> bool) -> bool {
    let Some((first, rest)) = lines.split_first() else { return false };
    if rest.is_empty() {
        return may_head(first, is_error) || is_node_place(first);
    }
    (is_go_head(first) && rest.iter().all(|line| is_go_preamble(line))) || (is_node_place(first) && rest.len() < NODE_PREAMBLE)
}

/// Returns whether a line may say what the calls after it were about.
fn may_head(line: &str, is_error: &mut dyn FnMut(&str) -> bool) -> bool {
    const WORDS: [&str; 7] = ["Exception", "Error", "Throwable", "panic", "Uncaught", "fatal error", "Traceback"];
    if line.trim().is_empty() || is_indented(line) || line.starts_with('{') {
        return false;
    }
    let class = line.split(": ").next().unwrap_or(line);
    let is_class = !class.contains(' ')
        && class.rsplit(['.', '$']).next().is_some_and(|last| last.starts_with(char::is_uppercase))
        && class.contains('.');
    is_class || WORDS.iter().any(|word| memchr::memmem::find(line.as_bytes(), word.as_bytes()).is_some()) || is_error(line)
}

/// Returns how many of `lines` make one record that is not too large: at least one.
fn within_bytes(lines: &[&str]) -> usize {
    let mut bytes = 0;
    let fits = |line: &&&str| {
        bytes += line.len() + 1;
        bytes <= MAX_BYTES
    };
    lines.iter().take(MAX_LINES).take_while(fits).count().max(1)
}

/// Returns how many lines from the first on are a stack trace, and whether that was all of it; `None` if it does not begin there.
fn trace(lines: &[&str], is_error: &mut dyn FnMut(&str) -> bool) -> Option<(usize, bool)> {
    // An object in JSON has all of its record in one line.
    let first = lines.first().filter(|line| !line.trim().is_empty() && !line.starts_with('{'))?;
    if first.trim_end().ends_with(stack::PYTHON_HEADER) {
        return Some(python(lines));
    }
    if first.contains("panicked at ") && first.contains("thread '") {
        return Some(rust(lines));
    }
    if is_goroutine(first) || is_go_panic(lines) {
        return Some((run(lines, 1, is_go), false));
    }
    if is_node_place(first)
        && let Some(at) = node_preamble(lines)
    {
        return Some((at_calls(lines, at + 1), false));
    }
    if is_indented(first) {
        // Calls whose head was stored already.
        return is_at_call(first).then(|| (at_calls(lines, 1), false));
    }
    let next = lines.get(1)?;
    if *next == "Stack trace:" && first.contains("Uncaught ") {
        return Some((run(lines, 2, is_php), false));
    }
    (is_indented(next) && is_at_call(next) && may_head(first, is_error)).then(|| (at_calls(lines, 1), false))
}

/// Returns how many lines follow for which `is_part` holds, blank ones between them included; beginning with `from`.
fn run(lines: &[&str], from: usize, is_part: impl Fn(&str) -> bool) -> usize {
    let mut end = from.min(lines.len());
    for (index, line) in lines.iter().enumerate().skip(from) {
        if is_part(line) {
            end = index + 1;
        } else if !line.trim().is_empty() {
            break;
        }
    }
    end
}

fn is_indented(line: &str) -> bool {
    line.starts_with([' ', '\t'])
}

fn python(lines: &[&str]) -> (usize, bool) {
    let mut at = 1;
    loop {
        at = run(lines, at, is_indented);
        if is_indented(lines[0]) {
            // The members of a group are drawn in a frame, their exceptions too.
            return (at, false);
        }
        if at >= lines.len() {
            return (at, false);
        }
        if lines[at].trim().is_empty() {
            return (at, true);
        }
        // What it was, in one line.
        at += 1;
        let chained = |line: &&&str| {
            line.contains("another exception occurred:") || line.contains("direct cause of the following exception:")
        };
        let Some(next) = lines[at..].iter().position(|line| !line.trim().is_empty()).map(|skip| at + skip) else {
            // Another one may follow that it was the cause of.
            return (at, false);
        };
        if !lines.get(next).as_ref().is_some_and(chained) {
            return (at, true);
        }
        let header = run(lines, next + 1, |line| line.trim_end().ends_with(stack::PYTHON_HEADER));
        if header == next + 1 {
            let more = lines[header..].iter().any(|line| !line.trim().is_empty());
            return (header, more);
        }
        at = header;
    }
}

fn rust(lines: &[&str]) -> (usize, bool) {
    // The message stands on the next line, except in what older compilers print.
    let from = if lines[0].trim_end().ends_with(':') { 2 } else { 1 };
    let is_part = |line: &str| is_indented(line) || line.contains("stack backtrace:") || line.starts_with("note: ");
    let end = run(lines, from, is_part);
    // A note is the last of it.
    let note = lines[from.min(end)..end].iter().position(|line| line.starts_with("note: "));
    note.map_or((end, false), |note| (from + note + 1, true))
}

fn is_goroutine(line: &str) -> bool {
    line.starts_with("goroutine ") && line.trim_end().ends_with("]:")
}

fn is_go_head(line: &str) -> bool {
    line.contains("panic: ") || line.starts_with("fatal error: ") || line.contains("panic serving ")
}

/// Returns whether a line may stand between a panic of Go and its goroutine.
fn is_go_preamble(line: &str) -> bool {
    line.trim().is_empty()
        || ["[signal ", "panic: ", "\t", "runtime stack:", "runtime."].iter().any(|begin| line.starts_with(begin))
}

fn is_go_panic(lines: &[&str]) -> bool {
    is_go_head(lines[0])
        && lines[1..].iter().take(GO_PREAMBLE - 1).find(|line| !is_go_preamble(line)).is_some_and(|line| is_goroutine(line))
}

/// Returns whether a line is where Node says that nobody caught an exception: `/app/cart.js:10`.
fn is_node_place(line: &str) -> bool {
    (line.starts_with('/') || line.starts_with("file://") || line.starts_with("node:"))
        && !line.contains(' ')
        && line.rsplit_once(':').is_some_and(|(_, number)| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Returns at which line the exception stands that Node shows the place of, after the code and a mark under it.
fn node_preamble(lines: &[&str]) -> Option<usize> {
    let mark = lines.iter().take(NODE_PREAMBLE).position(|line| line.trim_start().starts_with('^'))?;
    let head = mark + 1 + lines[mark + 1..].iter().take(2).position(|line| !line.trim().is_empty())?;
    (head < NODE_PREAMBLE && lines.get(head + 1).is_some_and(|line| is_indented(line) && is_at_call(line))).then_some(head)
}

/// Returns how many lines there are up to the end of the calls that begin at `from`, with what Node prints of an error's own fields.
fn at_calls(lines: &[&str], from: usize) -> usize {
    let end = run(lines, from, is_at);
    if lines[end - 1].ends_with(" {")
        && let Some(close) = lines[end..].iter().take(MAX_FIELDS).position(|line| *line == "}")
        && lines[end..end + close].iter().all(|line| is_indented(line))
    {
        return end + close + 1;
    }
    end
}

fn is_php(line: &str) -> bool {
    (line.starts_with('#') && line.as_bytes().get(1).is_some_and(u8::is_ascii_digit))
        || line.starts_with("  thrown in ")
        || line.starts_with("Next ")
        || line == "Stack trace:"
}

fn is_go(line: &str) -> bool {
    let is_function = || line.ends_with(')') && line.contains('(') && !line.contains(' ');
    let begins =
        ["\t", "[signal ", "goroutine ", "created by ", "exit status ", "panic: "].iter().any(|begin| line.starts_with(begin));
    begins || is_function() || (line.ends_with(')') && line.contains("(0x"))
}

/// Returns whether a line is a call of Java, .NET, JavaScript or Ruby, or stands where one does.
fn is_at_call(line: &str) -> bool {
    let text = line.trim_start();
    stack::is_call(line)
        || text.starts_with("---> ")
        || (text.contains(":in ") && (text.starts_with("from ") || text.contains(".rb:")))
}

fn is_at(line: &str) -> bool {
    let text = line.trim_start();
    if ["Caused by: ", "[cause]: ", "--- End of "].iter().any(|begin| text.starts_with(begin)) {
        return true;
    }
    is_indented(line)
        && (is_at_call(line) || ["... ", "Suppressed: ", "[CIRCULAR REFERENCE"].iter().any(|begin| text.starts_with(begin)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns each record in one line; `…` where more may come.
    fn shown(text: &str) -> String {
        let lines: Vec<&str> = text.lines().collect();
        let mut shown = Vec::new();
        let mut at = 0;
        for joined in join(&lines, &mut |line| line.contains("ERROR")) {
            shown.extend(lines[at..joined.lines.start].iter().map(|line| (*line).to_owned()));
            let open = if joined.open { " …" } else { "" };
            shown.push(lines[joined.lines.clone()].iter().map(|line| line.trim()).collect::<Vec<_>>().join(" / ") + open);
            at = joined.lines.end;
        }
        shown.extend(lines[at..].iter().map(|line| (*line).to_owned()));
        shown.retain(|line| !line.is_empty());
        shown.join("\n")
    }

    #[test]
    fn python_with_the_line_that_announces_it() {
        let text = "INFO start\nERROR sync failed\nTraceback (most recent call last):\n  File \"a.py\", line 1, in f\n    g()\nKeyError: 1\n\nDuring handling of the above exception, another exception occurred:\n\nTraceback (most recent call last):\n  File \"a.py\", line 2, in f\nValueError: 2\nINFO go on\n  indented and of its own";
        insta::assert_snapshot!(shown(text), @r#"
        INFO start
        ERROR sync failed / Traceback (most recent call last): / File "a.py", line 1, in f / g() / KeyError: 1 /  / During handling of the above exception, another exception occurred: /  / Traceback (most recent call last): / File "a.py", line 2, in f / ValueError: 2
        INFO go on
          indented and of its own
        "#);
        insta::assert_snapshot!(shown("INFO start\nTraceback (most recent call last):\n  File \"a.py\", line 1, in f"), @r#"
        INFO start
        Traceback (most recent call last): / File "a.py", line 1, in f …
        "#);
    }

    #[test]
    fn java_and_javascript() {
        let text = "ERROR cannot pay\njava.lang.IllegalStateException: no\n\tat com.shop.A.b(A.java:1)\n\t... 2 more\nCaused by: java.io.IOException: x\n\tat com.shop.C.d(C.java:2)\nINFO go on\nTypeError: x\n    at f (/app/a.js:1:2)\n    at g (/app/a.js:3:4)";
        insta::assert_snapshot!(shown(text), @r"
        ERROR cannot pay / java.lang.IllegalStateException: no / at com.shop.A.b(A.java:1) / ... 2 more / Caused by: java.io.IOException: x / at com.shop.C.d(C.java:2)
        INFO go on
        TypeError: x / at f (/app/a.js:1:2) / at g (/app/a.js:3:4) …
        ");
    }

    #[test]
    fn go_and_rust() {
        let text = "panic: no\n\ngoroutine 1 [running]:\nmain.f(0x1)\n\t/a.go:1 +0x1\nexit status 2\n2026/11/22 go on\nthread 'main' panicked at src/a.rs:1:2:\nboom\nstack backtrace:\n   0: a::b\n             at ./a.rs:1\nnote: x\nINFO go on";
        insta::assert_snapshot!(shown(text), @r"
        panic: no /  / goroutine 1 [running]: / main.f(0x1) / /a.go:1 +0x1 / exit status 2
        2026/11/22 go on
        thread 'main' panicked at src/a.rs:1:2: / boom / stack backtrace: / 0: a::b / at ./a.rs:1 / note: x
        INFO go on
        ");
    }

    #[test]
    fn a_record_is_bounded() {
        let text = format!("Traceback (most recent call last):\n{}ValueError: x", "  File \"a.py\", line 1, in f\n".repeat(3000));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(join(&lines, &mut |_| false)[0], Joined { lines: 0..MAX_LINES, open: false });
    }

    proptest! {
        #[test]
        fn what_is_joined_is_in_order_and_apart(picks in proptest::collection::vec(0_usize..14, 0..40)) {
            let pieces = ["Traceback (most recent call last):", "  File \"a.py\", line 1, in f", "KeyError: 1", "", "ERROR x", "\tat a.B.c(D.java:1)",
                "During handling of the above exception, another exception occurred:", "panic: x", "goroutine 1 [running]:", "main.f(0x1)",
                "thread 'main' panicked at a.rs:1:", "stack backtrace:", "note: x", "  + Exception Group Traceback (most recent call last):"];
            let lines: Vec<&str> = picks.iter().map(|pick| pieces[*pick]).collect();
            let mut at = 0;
            for joined in join(&lines, &mut |line| line.starts_with("ERROR")) {
                prop_assert!(at <= joined.lines.start && joined.lines.start < joined.lines.end && joined.lines.end <= lines.len());
                at = joined.lines.end;
            }
        }
    }
}
