//! Calls in minified JavaScript become the calls that were written, before an error is grouped.
//!
//! Whoever has source maps answers through [`Originals`]. What is found takes the place of what was sent, which is kept beside it; what
//! cannot be found stays as it was sent, and the event says for which file there is no map.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as JsonValue, json};

/// Calls of one event that are looked up.
const MAX_CALLS: usize = 500;
/// Bytes of source that one event gets.
const MAX_CONTEXT_BYTES: usize = 128 << 10;
/// Files without a map that are told of.
const MAX_MISSING: usize = 10;
/// A call so far to the right is in a minified file: nobody writes such lines.
const MINIFIED_COLUMN: u64 = 400;

/// One call in a minified file; lines and columns count from one.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The file's address or path.
    pub file: &'a str,
    /// The line.
    pub line: u32,
    /// The column, in UTF-16 units.
    pub column: u32,
    /// The function's name, as the program tells it; may be empty.
    pub function: &'a str,
}

/// What says which map a file has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Build<'a> {
    /// The release; may be empty.
    pub release: &'a str,
    /// The distribution of the release; may be empty.
    pub dist: &'a str,
    /// The file's debug id; may be empty.
    pub debug_id: &'a str,
}

/// A call as it was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Original {
    /// The function; empty if it has no name, or none that is known.
    pub function: String,
    /// The file, as the project names it.
    pub file: String,
    /// The file, seen from where the minified one lies.
    pub path: String,
    /// The line, from one.
    pub line: u32,
    /// The column, from one.
    pub column: u32,
    /// The lines around it.
    pub context: Option<Context>,
    /// Whether it is neither a library's nor a bundler's.
    pub in_app: bool,
    /// The map that says so.
    pub map: String,
}

/// Lines of source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// Those before.
    pub before: Vec<String>,
    /// The line itself.
    pub line: String,
    /// Those after.
    pub after: Vec<String>,
}

impl Context {
    fn size_bytes(&self) -> usize {
        self.before.iter().chain(&self.after).map(String::len).sum::<usize>() + self.line.len()
    }
}

/// What is known of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// What was written.
    Original(Arc<Original>),
    /// There is a map, and it says nothing of this place.
    Unknown,
    /// There is no map, or none that can be read; and why.
    NoMap(String),
}

/// Knows what was written.
pub trait Originals: Send + Sync {
    /// Returns whether it knows of no map at all.
    fn is_empty(&self) -> bool;

    /// Returns what `call` of `build` was before it was minified. May block on disk.
    fn find(&self, build: &Build<'_>, call: &Call<'_>) -> Found;
}

/// Has no map.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoOriginals;

impl Originals for NoOriginals {
    fn is_empty(&self) -> bool {
        true
    }

    fn find(&self, _: &Build<'_>, _: &Call<'_>) -> Found {
        Found::NoMap("no source map has been uploaded".to_owned())
    }
}

/// What source maps did for an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SourceMapUse {
    /// Calls that are shown as they were written.
    pub resolved: u64,
    /// Minified files whose calls are shown as they were sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<MissingMap>,
}

/// A minified file without a source map.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MissingMap {
    /// The file.
    pub file: String,
    /// Its debug id; empty if it has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub debug_id: String,
    /// Why there is none.
    pub reason: String,
}

impl SourceMapUse {
    fn known(self) -> Option<Self> {
        (self.resolved > 0 || !self.missing.is_empty()).then_some(self)
    }

    fn lacks(&mut self, file: &str, debug_id: &str, reason: String) {
        let is_new = self.missing.iter().all(|missing| missing.file != file);
        if is_new && self.missing.len() < MAX_MISSING {
            let file = super::stack::cut(file, 500).to_owned();
            self.missing.push(MissingMap { file, debug_id: debug_id.to_owned(), reason });
        }
    }
}

/// Returns the Sentry event `json` of `release` with the calls that were written, if there is something to say of them.
#[must_use]
pub fn of_event(json: &str, release: &str, originals: &dyn Originals) -> Option<(Option<String>, SourceMapUse)> {
    let names_script = || json.contains("\"javascript\"") || json.contains("\"node\"");
    let expects = || json.contains("\"debug_meta\"") || json.contains(".min.");
    if !names_script() || (originals.is_empty() && !expects()) {
        return None;
    }
    let mut event: JsonValue = serde_json::from_str(json).ok()?;
    let debug_ids = debug_ids(&event);
    let text = |key: &str| event.get(key).and_then(JsonValue::as_str).unwrap_or_default().to_owned();
    let (platform, dist, named) = (text("platform"), text("dist"), text("release"));
    let build = Build { release: if release.is_empty() { &named } else { release }, dist: &dist, debug_id: "" };
    let mut used = SourceMapUse::default();
    let (mut calls, mut room) = (0, MAX_CONTEXT_BYTES);
    let exceptions = event.pointer_mut("/exception/values").and_then(JsonValue::as_array_mut);
    for exception in exceptions.into_iter().flatten() {
        let frames = exception.pointer_mut("/stacktrace/frames").and_then(JsonValue::as_array_mut);
        // The call nearest to the error stands last.
        for frame in frames.into_iter().flatten().rev().filter_map(JsonValue::as_object_mut) {
            calls += 1;
            let of = frame.get("platform").and_then(JsonValue::as_str).unwrap_or(&platform);
            if calls > MAX_CALLS || !matches!(of, "javascript" | "node") {
                continue;
            }
            look_up(frame, &build, &debug_ids, originals, &mut used, &mut room);
        }
    }
    let changed = (used.resolved > 0).then(|| event.to_string());
    used.known().map(|used| (changed, used))
}

/// Puts what was written in the place of what was sent, if that is known.
fn look_up(
    frame: &mut Map<String, JsonValue>,
    build: &Build<'_>,
    debug_ids: &BTreeMap<String, String>,
    originals: &dyn Originals,
    used: &mut SourceMapUse,
    room: &mut usize,
) {
    let text = |key: &str| frame.get(key).and_then(JsonValue::as_str).unwrap_or_default();
    let number = |key: &str| frame.get(key).and_then(JsonValue::as_u64).unwrap_or(0);
    let names = [text("abs_path"), text("filename")];
    let Some(file) = names.iter().copied().find(|name| is_script(name)) else { return };
    let (line, column, function) = (number("lineno"), number("colno"), text("function"));
    let debug_id = names.iter().find_map(|name| debug_ids.get(*name)).map_or("", String::as_str);
    let build = Build { debug_id, ..*build };
    let call = Call { file, line: line as u32, column: column as u32, function };
    if line == 0 || line > u64::from(u32::MAX) || column > u64::from(u32::MAX) {
        return;
    }
    let original = match originals.find(&build, &call) {
        Found::Original(original) => original,
        Found::Unknown => {
            return used.lacks(file, debug_id, format!("its source map says nothing of line {line}, column {column}"));
        }
        Found::NoMap(reason) => {
            if !debug_id.is_empty() || is_minified(file, column) {
                used.lacks(file, debug_id, reason);
            }
            return;
        }
    };
    used.resolved += 1;
    let mut raw = Map::new();
    for key in ["function", "module", "filename", "abs_path", "lineno", "colno", "in_app"] {
        if let Some(value) = frame.remove(key) {
            raw.insert(key.to_owned(), value);
        }
    }
    for key in ["pre_context", "context_line", "post_context"] {
        frame.remove(key);
    }
    if !original.function.is_empty() {
        frame.insert("function".to_owned(), original.function.as_str().into());
    }
    frame.insert("filename".to_owned(), original.file.as_str().into());
    frame.insert("abs_path".to_owned(), original.path.as_str().into());
    frame.insert("lineno".to_owned(), original.line.into());
    frame.insert("colno".to_owned(), original.column.into());
    // What the SDK knows to be a library's stays one.
    let was_in_app = raw.get("in_app").and_then(JsonValue::as_bool).unwrap_or(true);
    frame.insert("in_app".to_owned(), (original.in_app && was_in_app).into());
    if let Some(context) = original.context.as_ref().filter(|context| context.size_bytes() <= *room) {
        *room -= context.size_bytes();
        frame.insert("pre_context".to_owned(), json!(context.before));
        frame.insert("context_line".to_owned(), context.line.as_str().into());
        frame.insert("post_context".to_owned(), json!(context.after));
    }
    frame.insert("source_map".to_owned(), original.map.as_str().into());
    frame.insert("raw".to_owned(), raw.into());
}

/// Returns the debug ids of an event's files.
fn debug_ids(event: &JsonValue) -> BTreeMap<String, String> {
    let images = event.pointer("/debug_meta/images").and_then(JsonValue::as_array);
    let image = |image: &JsonValue| {
        let text = |key: &str| image.get(key).and_then(JsonValue::as_str).map(str::to_owned);
        (text("type")? == "sourcemap").then_some((text("code_file")?, text("debug_id")?))
    };
    images.into_iter().flatten().filter_map(image).take(MAX_CALLS).collect()
}

/// Returns a JavaScript stack trace with the calls that were written, if there is something to say of them.
#[must_use]
pub fn of_text(text: &str, release: &str, originals: &dyn Originals) -> Option<(Option<String>, SourceMapUse)> {
    if release.is_empty() || originals.is_empty() || !text.contains("js:") {
        return None;
    }
    let build = Build { release, ..Build::default() };
    let mut used = SourceMapUse::default();
    let mut written = String::with_capacity(text.len());
    let mut calls = 0;
    for line in text.split_inclusive('\n') {
        let Some((indent, call, is_v8)) = call_of(line).filter(|_| calls < MAX_CALLS) else {
            written.push_str(line);
            continue;
        };
        calls += 1;
        match originals.find(&build, &call) {
            Found::Original(original) => {
                used.resolved += 1;
                let place = format!("{}:{}:{}", original.file, original.line, original.column);
                // Writing to a `String` cannot fail.
                let _ = match (is_v8, original.function.as_str()) {
                    (true, "") => write!(written, "{indent}at {place}"),
                    (true, function) => write!(written, "{indent}at {function} ({place})"),
                    (false, function) => write!(written, "{indent}{function}@{place}"),
                };
                if line.ends_with('\n') {
                    written.push('\n');
                }
            }
            Found::NoMap(reason) => {
                if is_minified(call.file, u64::from(call.column)) {
                    used.lacks(call.file, "", reason);
                }
                written.push_str(line);
            }
            Found::Unknown => written.push_str(line),
        }
    }
    let changed = (used.resolved > 0).then_some(written);
    used.known().map(|used| (changed, used))
}

/// Reads `at f (file:1:2)`, `at file:1:2` and `f@file:1:2`; returns what stands before it, too, and whether it begins with `at`.
fn call_of(line: &str) -> Option<(&str, Call<'_>, bool)> {
    let body = line.trim();
    let indent = &line[..line.len() - line.trim_start().len()];
    let (function, location, is_v8) = match body.strip_prefix("at ") {
        Some(rest) => match rest.strip_suffix(')').and_then(|rest| rest.rsplit_once(" (")) {
            Some((function, location)) => (function, location, true),
            None => ("", rest.strip_prefix("async ").unwrap_or(rest), true),
        },
        None => {
            let (function, location) = body.split_once('@')?;
            (function, location, false)
        }
    };
    let (rest, column) = location.rsplit_once(':')?;
    let (file, line) = rest.rsplit_once(':')?;
    let call = Call { file, line: line.parse().ok()?, column: column.parse().ok()?, function };
    is_script(file).then_some((indent, call, is_v8))
}

/// Whether a file can be a minified one: not Node's own, nor a text that is evaluated.
fn is_script(file: &str) -> bool {
    !file.is_empty()
        && !["node:", "internal/", "<anonymous>", "native", "[native", "eval at "].iter().any(|begin| file.starts_with(begin))
}

/// Whether a file is surely a minified one.
fn is_minified(file: &str, column: u64) -> bool {
    column >= MINIFIED_COLUMN || file.contains(".min.")
}

#[cfg(test)]
#[path = "originals_tests.rs"]
mod tests;
