//! Stack traces as text, of Python, Java (and .NET), JavaScript, Go and Rust.
//!
//! What is read is normalised: no line numbers, no folders, no addresses, none of the numbers that compilers give to closures and
//! classes, so that two runs, two builds and two machines give the same frames.

mod at;
mod go;
pub(super) mod python;
mod rust;
pub(super) mod structured;

/// What Python's tracebacks begin with.
pub const PYTHON_HEADER: &str = python::HEADER;

/// Lines of a text that are looked at.
const MAX_LINES: usize = 5_000;
/// Exceptions of a chain that are kept.
const MAX_EXCEPTIONS: usize = 16;
/// Longest line of source that is looked at: a longer one is a minifier's, or changes too often.
const MAX_SOURCE_BYTES: usize = 120;
/// Bytes kept of a name.
const MAX_NAME_BYTES: usize = 300;

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Class, package, module, or the file's name without folders and ending. May be empty.
    pub module: String,
    /// Function or method. May be empty.
    pub function: String,
    /// Whether it is the application's own and not of a library or of the language.
    pub in_app: bool,
    /// The line of the source, if it is told and short: it tells two errors of one function apart. May be empty.
    pub source: String,
}

impl Frame {
    fn new(module: &str, function: &str, in_app: bool) -> Self {
        let (module, function) = (cut(module, MAX_NAME_BYTES).to_owned(), cut(function, MAX_NAME_BYTES).to_owned());
        Self { module, function, in_app, source: String::new() }
    }

    /// Returns whether both are calls of one function, of whichever line.
    #[must_use]
    pub fn is_same_call(&self, other: &Self) -> bool {
        (&self.module, &self.function, self.in_app) == (&other.module, &other.function, other.in_app)
    }

    /// Notes the line of the source.
    fn set_source(&mut self, line: &str) {
        let line = line.trim();
        if line.len() <= MAX_SOURCE_BYTES {
            line.clone_into(&mut self.source);
        }
    }
}

impl std::fmt::Display for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.module.as_str(), self.function.as_str()) {
            (module, "") => f.write_str(module),
            ("", function) => f.write_str(function),
            (module, function) => write!(f, "{module} in {function}"),
        }
    }
}

/// What an exception is to the one that was reported instead of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// It is its cause, and the program says so: `raise … from …`, `{ cause }`.
    Cause,
    /// It was being handled when the other one came about.
    Handled,
    /// It is one of several that the other one gathers.
    Member,
}

/// One exception with its calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exception {
    /// Its class; empty if the text does not say.
    pub kind: String,
    /// The first line of what it said.
    pub message: String,
    /// The call that raised it first.
    pub frames: Vec<Frame>,
    /// What it is to the one before it in the list; `None` if that is not known, and for the first one.
    pub relation: Option<Relation>,
}

impl Exception {
    fn new(kind: &str, message: &str) -> Self {
        let (kind, message) = (cut(kind, MAX_NAME_BYTES).to_owned(), cut(message, 1_000).to_owned());
        Self { kind, message, ..Self::default() }
    }
}

/// What a text says. There is at least one exception.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackTrace {
    /// The one that was reported first, its root cause last.
    pub exceptions: Vec<Exception>,
}

/// Reads a stack trace, which may stand anywhere in `text`. Never panics, and takes time in proportion to the text.
#[must_use]
pub fn parse(text: &str) -> Option<StackTrace> {
    let mut exceptions = if text.contains(python::HEADER) {
        python::parse(text)
    } else if go::is_one(text) {
        go::parse(text)
    } else if rust::is_one(text) {
        rust::parse(text)
    } else {
        at::parse(text)
    };
    if exceptions.len() > MAX_EXCEPTIONS {
        // The reported one and the deepest causes.
        exceptions.drain(1..=exceptions.len() - MAX_EXCEPTIONS);
    }
    (!exceptions.is_empty()).then_some(StackTrace { exceptions })
}

/// Returns whether `text` holds a stack trace. Allocates nothing, and is quick on a text without line breaks.
#[must_use]
pub fn is_in(text: &str) -> bool {
    let Some(first) = memchr::memchr(b'\n', text.as_bytes()) else { return false };
    let has = |needle: &str| memchr::memmem::find(text.as_bytes(), needle.as_bytes()).is_some();
    has(python::HEADER) || go::is_one(text) || rust::is_one(text) || at::is_one(&text[first..])
}

/// Returns whether `line` is a call as Java, .NET and JavaScript write it: `at …`.
#[must_use]
pub fn is_call(line: &str) -> bool {
    let line = line.trim();
    line.starts_with("at ") && at::is_call(line)
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().take(MAX_LINES)
}

/// Returns at most `most` bytes of `text`, ending between characters.
pub(super) fn cut(text: &str, most: usize) -> &str {
    if text.len() <= most { text } else { &text[..text.floor_char_boundary(most)] }
}

/// Splits `module.Type: message`; `None` if it does not begin with the name of a class.
fn header(line: &str) -> Option<(&str, &str)> {
    let (kind, message) = match line.split_once(": ") {
        Some((kind, message)) => (kind, message),
        None => (line.strip_suffix(':').unwrap_or(line), ""),
    };
    // Node writes its code between the two: `TypeError [ERR_INVALID_ARG_TYPE]: …`.
    let kind = match kind.split_once(" [") {
        Some((kind, code)) if code.ends_with(']') => kind,
        _ => kind,
    };
    is_class(kind).then_some((kind, message))
}

fn is_class(name: &str) -> bool {
    let last = name.rsplit(['.', '$', '/']).next().unwrap_or("");
    name.len() <= MAX_NAME_BYTES
        && last.starts_with(char::is_uppercase)
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '$' | '_' | '/' | '`'))
        && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// Returns the file's name without folders.
fn base_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

/// Removes numbers that a compiler appended: `lambda$run$0`, `Outer$1`, `$Proxy12`.
fn without_trailing_digits(text: &str) -> &str {
    text.trim_end_matches(|c: char| c.is_ascii_digit())
}

/// Removes what stands between `open` and its `close`, both included, nested ones too. Unbalanced text stays as it is from there.
fn without_brackets(text: &str, open: char, close: char) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut depth = 0_usize;
    let mut arrow = false;
    for c in text.chars() {
        if c == open {
            depth += 1;
        } else if c == close && depth > 0 && !arrow {
            depth -= 1;
        } else if depth == 0 {
            kept.push(c);
        }
        arrow = c == '-';
    }
    kept
}

#[cfg(test)]
mod tests;
