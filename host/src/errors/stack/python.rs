//! Python's tracebacks: calls from the outermost in, then the exception; a chain from the root cause out.

use super::{Exception, Frame, Relation, base_name, lines};

pub(super) const HEADER: &str = "Traceback (most recent call last):";
/// What Python writes between two exceptions.
const CAUSE: &str = "The above exception was the direct cause of the following exception:";
const HANDLED: &str = "During handling of the above exception, another exception occurred:";
const UNKNOWN: &str = "The above exception came before the following one:";
const MEMBER: &str = "The above exception is one of a group:";

/// Returns the line between an exception and the one that was reported instead of it.
pub(in crate::errors) fn between(relation: Option<Relation>) -> &'static str {
    match relation {
        Some(Relation::Cause) => CAUSE,
        Some(Relation::Handled) => HANDLED,
        Some(Relation::Member) => MEMBER,
        None => UNKNOWN,
    }
}

/// Returns whether `line` raises an exception from another one: `raise OrderError(order) from error`.
pub(in crate::errors) fn names_a_cause(line: &str) -> bool {
    let is_name = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.'));
    // What stands in quotes does not end the line.
    let raised = line.trim().strip_prefix("raise ").and_then(|raised| raised.rsplit_once(" from "));
    raised.is_some_and(|(_, cause)| is_name(cause.trim_end()) && cause.trim_end() != "None")
}

/// Where libraries and the language lie.
const LIBRARIES: [&str; 5] = ["site-packages", "dist-packages", "/lib/python", "\\lib\\", "<frozen "];

pub(super) fn parse(text: &str) -> Vec<Exception> {
    let mut exceptions = Vec::new();
    // Calls of the traceback that is being read, and how far it is indented.
    let mut open: Option<(Vec<Frame>, usize)> = None;
    // Whether the line before was a call: then this one may be its source.
    let mut after_call = false;
    let mut in_group = false;
    for line in lines(text) {
        let is_source = std::mem::take(&mut after_call);
        in_group |= is_number_of_member(line);
        let line = without_group(line);
        if let Some(at) = line.find(HEADER) {
            let indent = if line[..at].trim().is_empty() { at } else { 0 };
            open = Some((Vec::new(), indent));
            continue;
        }
        let Some((frames, indent)) = &mut open else {
            if let Some(last) = exceptions.last_mut() {
                note_relation(last, line.trim());
            }
            continue;
        };
        if let Some(call) = call(line) {
            // A comprehension is a call of its own in some versions and none in others.
            if !matches!(call.function.as_str(), "<listcomp>" | "<dictcomp>" | "<setcomp>") {
                frames.push(call);
                after_call = true;
            }
            continue;
        }
        let blanks = line.len() - line.trim_start().len();
        if line.trim().is_empty() || blanks > *indent {
            if let Some(frame) = frames.last_mut().filter(|_| is_source) {
                frame.set_source(line);
            }
            continue;
        }
        let mut exception = exception(line.trim());
        exception.frames = std::mem::take(frames);
        exception.frames.reverse();
        exception.relation = in_group.then_some(Relation::Member);
        exceptions.push(exception);
        open = None;
    }
    if let Some((mut frames, _)) = open.filter(|(frames, _)| !frames.is_empty()) {
        // Cut off before its end.
        frames.reverse();
        exceptions.push(Exception { frames, ..Exception::default() });
    }
    exceptions.reverse();
    if let Some(reported) = exceptions.first_mut() {
        reported.relation = None;
    }
    exceptions
}

/// Notes what a line that stands after an exception says of it.
fn note_relation(exception: &mut Exception, line: &str) {
    for relation in [Relation::Cause, Relation::Handled] {
        if line == between(Some(relation)) {
            exception.relation = Some(relation);
        }
    }
}

/// Returns whether a member of an exception group follows: `+---------------- 2 ----------------`.
fn is_number_of_member(line: &str) -> bool {
    let line = line.trim();
    line.starts_with("+-") && line.ends_with("--") && line.contains(|c: char| c.is_ascii_digit())
}

/// Removes the frame that is drawn around the members of an exception group.
fn without_group(line: &str) -> &str {
    let trimmed = line.trim_start();
    if trimmed.starts_with('|') || trimmed.starts_with("+ ") || trimmed.starts_with("+-") {
        let inner = trimmed.trim_start_matches(['|', '+', '-']);
        inner.strip_prefix(' ').unwrap_or(inner)
    } else {
        line
    }
}

/// Reads `  File "/app/shop/orders.py", line 10, in charge`.
fn call(line: &str) -> Option<Frame> {
    let rest = line.trim_start().strip_prefix("File \"")?;
    let (path, rest) = rest.split_once("\", line ")?;
    let function = rest.split_once(", in ").map_or("", |(_, function)| function.trim());
    Some(frame(path, function))
}

/// Returns the call of `function` in the file at `path`.
pub(super) fn frame(path: &str, function: &str) -> Frame {
    let in_app = !LIBRARIES.iter().any(|library| path.contains(library));
    let base = base_name(path);
    let base = base.strip_suffix(".py").or_else(|| base.strip_suffix(".pyc")).unwrap_or(base);
    Frame::new(base, function, in_app)
}

/// Reads `shop.errors.PaymentError: card refused`. The name may be in lower case, as that of `socket.timeout`.
fn exception(line: &str) -> Exception {
    let (kind, message) = line.split_once(": ").unwrap_or((line.strip_suffix(':').unwrap_or(line), ""));
    let is_name = !kind.is_empty() && kind.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '<' | '>'));
    if is_name { Exception::new(kind, message) } else { Exception::new("", line) }
}
