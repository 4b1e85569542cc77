//! One source map, read: from a place in a minified file to the place in what was written.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use sourcemap::{DecodedMap, SourceView, Token};

use super::{names, shape, urls};
use crate::errors::originals::{Call, Context, Original};

/// Lines of source shown before and after a call.
const CONTEXT_LINES: u32 = 5;
/// Longest line of source that is shown, in bytes.
const MAX_LINE_BYTES: usize = 300;
/// Calls that are remembered with what they were found to be.
const MAX_REMEMBERED: usize = 2_048;
/// Names of at most so many characters are a minifier's, if the map does not say what they were.
const MINIFIED_NAME: usize = 2;
/// Folders of what a bundler brings along itself.
const BUNDLERS: [&str; 4] = ["webpack/bootstrap", "webpack/runtime/", "node_modules/", "(webpack)"];

/// A source map and the file that it is of. Never panics, whatever it holds.
pub struct ReadMap {
    map: DecodedMap,
    minified: Option<Minified>,
    /// How it is called: a debug id, or where it was found.
    name: String,
    bytes: usize,
    remembered: Mutex<HashMap<Place, Option<Arc<Original>>>>,
}

/// The minified file.
struct Minified {
    text: String,
    is_ascii: bool,
    /// Where each line begins.
    lines: Vec<u32>,
}

/// What tells a call from others of the same map.
#[derive(PartialEq, Eq, Hash)]
struct Place {
    line: u32,
    column: u32,
    function: String,
    file: String,
}

impl ReadMap {
    /// Reads `json`, the map of `minified`, which is called `name`.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn read(json: &[u8], minified: Option<Vec<u8>>, name: &str) -> Result<Self, String> {
        let json = without_guard(json);
        shape::check(json)?;
        let minified_bytes = minified.as_ref().map_or(0, Vec::len);
        // Sums of a hostile map may overflow; that is nobody's concern but its own.
        let read = std::panic::catch_unwind(|| match sourcemap::decode_slice(json) {
            Ok(DecodedMap::Index(index)) => index.flatten().map(DecodedMap::Regular),
            other => other,
        });
        let map = match read {
            Ok(Ok(map)) => map,
            Ok(Err(error)) => return Err(format!("it is no source map: {error}")),
            Err(_) => return Err("it is no source map: its numbers are out of bounds".to_owned()),
        };
        let tokens = match &map {
            DecodedMap::Regular(map) => map.get_token_count(),
            DecodedMap::Hermes(map) => map.get_token_count(),
            DecodedMap::Index(_) => 0,
        };
        // Its texts, and 28 bytes a token.
        let bytes = json.len() + minified_bytes + tokens as usize * 28;
        let minified = minified.and_then(|bytes| String::from_utf8(bytes).ok()).map(Minified::new);
        Ok(Self { map, minified, name: name.to_owned(), bytes, remembered: Mutex::default() })
    }

    /// Returns about how much memory it takes.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.bytes
    }

    /// Returns what `call` was before it was minified; `None` if the map does not say.
    #[must_use]
    pub fn original(&self, call: &Call<'_>) -> Option<Arc<Original>> {
        let place = Place { line: call.line, column: call.column, function: call.function.to_owned(), file: call.file.to_owned() };
        if let Some(known) = self.remembered.lock().get(&place) {
            return known.clone();
        }
        let find = std::panic::AssertUnwindSafe(|| self.find(call));
        let found = std::panic::catch_unwind(find).unwrap_or_default().map(Arc::new);
        let mut remembered = self.remembered.lock();
        if remembered.len() >= MAX_REMEMBERED {
            remembered.clear();
        }
        remembered.insert(place, found.clone());
        found
    }

    fn find(&self, call: &Call<'_>) -> Option<Original> {
        // Programs count lines and columns from one, maps from zero.
        let (line, column) = (call.line.checked_sub(1)?, call.column.saturating_sub(1));
        let token = self.map.lookup_token(line, column).filter(|token| token.get_dst_line() == line)?;
        let source = token.get_source().filter(|source| !source.is_empty())?;
        let path = urls::join(call.file, source);
        let file = urls::shown(source);
        let is_ignored = token.sourcemap().ignore_list().any(|ignored| *ignored == token.get_src_id());
        let in_app = !is_ignored && !BUNDLERS.iter().any(|folder| path.contains(folder));
        let function = self.function(call, line, column);
        Some(Original {
            function,
            file: if file.is_empty() { path.clone() } else { file },
            path,
            line: token.get_src_line().saturating_add(1),
            column: token.get_src_col().saturating_add(1),
            context: token.get_source_view().and_then(|view| context(view, token.get_src_line())),
            in_app,
            map: self.name.clone(),
        })
    }

    /// Returns what the function was called; empty if that is not known.
    fn function(&self, call: &Call<'_>, line: u32, column: u32) -> String {
        if let DecodedMap::Hermes(map) = &self.map {
            return map.get_original_function_name(column).unwrap_or_default().to_owned();
        }
        let name = call.function.trim();
        let name = name.split_once(" [as ").map_or(name, |(name, _)| name);
        let name = ["async ", "new ", "get ", "set "].iter().fold(name, |name, word| name.strip_prefix(word).unwrap_or(name));
        if matches!(name, "" | "?" | "<anonymous>") {
            return String::new();
        }
        let mut parts: Vec<String> = Vec::new();
        let written: Vec<&str> = name.split('.').take(8).collect();
        let last = written.len() - 1;
        for (index, part) in written.into_iter().enumerate() {
            match self.declared(part, line, column) {
                Some(name) => parts.push(name),
                None if part.chars().count() > MINIFIED_NAME => parts.push(part.to_owned()),
                // A function of which only a letter is known is one without a name.
                None if index == last => return String::new(),
                None => {}
            }
        }
        parts.join(".")
    }

    /// Returns what the minified `name` around a place was called.
    fn declared(&self, name: &str, line: u32, column: u32) -> Option<String> {
        let minified = self.minified.as_ref()?;
        let at = minified.offset(line, column)?;
        let found = names::declaration(&minified.text, at, name)?;
        let (line, column) = minified.place(found);
        // A name that is not its own entry of the map is the same as before, or the map does not know.
        let token = self.map.lookup_token(line, column).filter(|token| token.get_dst() == (line, column))?;
        token.get_name().map(str::to_owned).or_else(|| written(&token)).filter(|name| !name.is_empty())
    }
}

/// Returns the name that stands where `token` leads.
fn written(token: &Token<'_>) -> Option<String> {
    let (line, column) = token.get_src();
    let text = token.get_source_view()?.get_line(line)?;
    let at = byte_of(text, column as usize);
    names::identifier(&text[at..]).map(str::to_owned)
}

/// Returns the lines around line `line` of a source.
fn context(view: &SourceView, line: u32) -> Option<Context> {
    let get = |line: u32| view.get_line(line).map(shortened);
    let line_itself = get(line)?;
    let before = (line.saturating_sub(CONTEXT_LINES)..line).filter_map(get).collect();
    let after = (line + 1..=line.saturating_add(CONTEXT_LINES)).map_while(get).collect();
    Some(Context { before, line: line_itself, after })
}

fn shortened(line: &str) -> String {
    line[..line.floor_char_boundary(MAX_LINE_BYTES)].to_owned()
}

/// Returns where UTF-16 column `column` of `line` begins, in bytes.
fn byte_of(line: &str, column: usize) -> usize {
    let mut units = 0;
    for (at, c) in line.char_indices() {
        if units >= column {
            return at;
        }
        units += c.len_utf16();
    }
    line.len()
}

/// Returns a map without what keeps browsers from running it as a script: `)]}'` and the rest of that line.
fn without_guard(json: &[u8]) -> &[u8] {
    let json = json.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(json);
    if !json.starts_with(b")]}") {
        return json;
    }
    memchr::memchr(b'\n', json).map_or(json, |end| &json[end + 1..])
}

impl Minified {
    fn new(text: String) -> Self {
        let starts = memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at as u32 + 1);
        let lines = std::iter::once(0).chain(starts).collect();
        Self { is_ascii: text.is_ascii(), lines, text }
    }

    /// Returns where UTF-16 column `column` of line `line` begins, in bytes.
    fn offset(&self, line: u32, column: u32) -> Option<usize> {
        let begin = *self.lines.get(line as usize)? as usize;
        let end = self.lines.get(line as usize + 1).map_or(self.text.len(), |next| *next as usize);
        let text = &self.text[begin..end];
        let at = if self.is_ascii { (column as usize).min(text.len()) } else { byte_of(text, column as usize) };
        Some(begin + at)
    }

    /// Returns line and UTF-16 column of a byte.
    fn place(&self, at: usize) -> (u32, u32) {
        let line = self.lines.partition_point(|begin| *begin as usize <= at).saturating_sub(1);
        let text = &self.text[self.lines[line] as usize..at];
        let column = if self.is_ascii { text.len() } else { text.chars().map(char::len_utf16).sum() };
        (line as u32, column as u32)
    }
}

/// Returns the last `//# sourceMappingURL=` of a minified file.
#[must_use]
pub fn reference(minified: &[u8]) -> Option<&str> {
    let marks = [&b"//# sourceMappingURL="[..], b"//@ sourceMappingURL="];
    let at = marks.iter().filter_map(|mark| Some(memchr::memmem::rfind(minified, mark)? + mark.len())).max()?;
    let rest = &minified[at..];
    let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
    std::str::from_utf8(&rest[..end]).ok().filter(|url| !url.is_empty())
}

/// Returns the map that an address itself holds: `data:application/json;base64,…`. `None` if it is none.
#[must_use]
pub fn inline(reference: &str) -> Option<Result<Vec<u8>, String>> {
    use base64::Engine as _;
    let (head, data) = reference.strip_prefix("data:")?.split_once(',')?;
    if !head.trim_end().ends_with(";base64") {
        return Some(Err("the map within the file is not in base64".to_owned()));
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(data.trim());
    Some(decoded.map_err(|error| format!("the map within the file is not in base64: {error}")))
}

#[cfg(test)]
#[path = "map_tests.rs"]
mod tests;
