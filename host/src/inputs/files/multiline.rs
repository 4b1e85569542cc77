//! Puts the lines of a stack trace together, with the line of the log that announces it, so that they are one record.
//!
//! Only what is plainly a stack trace is joined: any other line is a record of its own, indented or not.

use std::ops::Range;

use crate::errors::stack;

/// Most lines of one record, and most bytes.
const MAX_LINES: usize = 1_000;
const MAX_BYTES: usize = 256 << 10;
/// A goroutine begins at most so many lines after its panic.
const GO_PREAMBLE: usize = 8;

/// Lines that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Joined {
    /// Which ones.
    pub(super) lines: Range<usize>,
    /// Whether more lines of it may come.
    pub(super) open: bool,
}

/// Returns whether there may be a stack trace in `bytes`: a quick look that spares the lines of most files a closer one.
pub(super) fn may_hold_trace(bytes: &[u8]) -> bool {
    let signs = [stack::PYTHON_HEADER, "\tat ", "    at ", "goroutine ", "panicked at "];
    signs.iter().any(|sign| memchr::memmem::find(bytes, sign.as_bytes()).is_some())
}

/// Finds the stack traces among `lines`, in their order. `announces` says whether a line is one of a log, and an error: if it stands
/// right before a stack trace it belongs to it.
pub(super) fn join(lines: &[&str], announces: impl Fn(&str) -> bool) -> Vec<Joined> {
    let mut found = Vec::new();
    let mut at = 0;
    // The first line that is not part of a record yet.
    let mut free = 0;
    while at < lines.len() {
        let Some((end, finished)) = trace(&lines[at..]).map(|(length, finished)| (at + length, finished)) else {
            at += 1;
            continue;
        };
        let begin = if at > free && announces(lines[at - 1]) { at - 1 } else { at };
        let end = end.min(begin + within_bytes(&lines[begin..end]));
        found.push(Joined { lines: begin..end, open: end == lines.len() && !finished });
        (at, free) = (end, end);
    }
    found
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
fn trace(lines: &[&str]) -> Option<(usize, bool)> {
    // An object in JSON has all of its record in one line.
    let first = lines.first().filter(|line| !line.trim().is_empty() && !line.starts_with('{'))?;
    if first.trim_end().ends_with(stack::PYTHON_HEADER) {
        return Some(python(lines));
    }
    if first.contains("panicked at ") && first.contains("thread '") {
        return Some(rust(lines));
    }
    if is_goroutine(first) || is_go_panic(first, lines) {
        return Some((run(lines, 1, is_go), false));
    }
    let has_calls = lines.get(1).is_some_and(|next| is_indented(next) && stack::is_call(next));
    (has_calls && !is_indented(first)).then(|| (run(lines, 1, is_at), false))
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
        let next = lines[at..].iter().position(|line| !line.trim().is_empty()).map(|skip| at + skip);
        let Some(next) = next.filter(|next| lines.get(*next).as_ref().is_some_and(chained)) else { return (at, true) };
        let header = run(lines, next + 1, |line| line.trim_end().ends_with(stack::PYTHON_HEADER));
        if header == next + 1 {
            return (header, header < lines.len());
        }
        at = header;
    }
}

fn rust(lines: &[&str]) -> (usize, bool) {
    // The message stands on the next line, except in what older compilers print.
    let from = if lines[0].trim_end().ends_with(':') { 2 } else { 1 };
    let is_part = |line: &str| is_indented(line) || line.contains("stack backtrace:") || line.starts_with("note: ");
    let end = run(lines, from, is_part);
    (end, lines[end - 1].starts_with("note: "))
}

fn is_goroutine(line: &str) -> bool {
    line.starts_with("goroutine ") && line.trim_end().ends_with("]:")
}

fn is_go_panic(first: &str, lines: &[&str]) -> bool {
    (first.contains("panic: ") || first.starts_with("fatal error: ") || first.contains("panic serving "))
        && lines.iter().take(GO_PREAMBLE).any(|line| is_goroutine(line))
}

fn is_go(line: &str) -> bool {
    let is_function = || line.ends_with(')') && line.contains('(') && !line.contains(' ');
    let begins =
        ["\t", "[signal ", "goroutine ", "created by ", "exit status ", "panic: "].iter().any(|begin| line.starts_with(begin));
    begins || is_function() || (line.ends_with(')') && line.contains("(0x"))
}

fn is_at(line: &str) -> bool {
    let text = line.trim_start();
    let begins = ["Caused by: ", "[cause]: "].iter().any(|begin| text.starts_with(begin));
    begins || (is_indented(line) && (stack::is_call(line) || text.starts_with("... ") || text.starts_with("Suppressed: ")))
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
        for joined in join(&lines, |line| line.contains("ERROR")) {
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
        assert_eq!(join(&lines, |_| false), [Joined { lines: 0..MAX_LINES, open: false }]);
    }

    proptest! {
        #[test]
        fn what_is_joined_is_in_order_and_apart(picks in proptest::collection::vec(0_usize..14, 0..40)) {
            let pieces = ["Traceback (most recent call last):", "  File \"a.py\", line 1, in f", "KeyError: 1", "", "ERROR x", "\tat a.B.c(D.java:1)",
                "During handling of the above exception, another exception occurred:", "panic: x", "goroutine 1 [running]:", "main.f(0x1)",
                "thread 'main' panicked at a.rs:1:", "stack backtrace:", "note: x", "  + Exception Group Traceback (most recent call last):"];
            let lines: Vec<&str> = picks.iter().map(|pick| pieces[*pick]).collect();
            let mut at = 0;
            for joined in join(&lines, |line| line.starts_with("ERROR")) {
                prop_assert!(at <= joined.lines.start && joined.lines.start < joined.lines.end && joined.lines.end <= lines.len());
                at = joined.lines.end;
            }
        }
    }
}
