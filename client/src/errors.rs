//! Captures errors: what they are, what caused them, and where.

use std::any::type_name;
use std::backtrace::Backtrace;
use std::borrow::Cow;
use std::error::Error;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::panic::Location;

use crate::record::{ErrorDetail, Record};
use crate::value::{Fields, bounded};
use crate::{ErrorSeverity, context, global};

/// Longest message of an error, in bytes.
const MAX_MESSAGE_BYTES: usize = 16 << 10;
/// Most causes that are looked at: a chain may be a ring.
const MAX_CAUSES: usize = 32;

/// What an error says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorReport {
    pub(crate) kind: String,
    pub(crate) message: String,
    pub(crate) causes: Vec<(String, String)>,
    pub(crate) own_trace: Option<String>,
}

/// Marks errors that are errors by themselves; see [`Capturable`].
#[derive(Debug)]
pub enum IsError {}
/// Marks errors that carry one, as `anyhow::Error` does; see [`Capturable`].
#[derive(Debug)]
pub enum CarriesError {}

/// What [`capture_error`] takes: every [`std::error::Error`], `dyn Error` too, and what carries one, such as `anyhow::Error` and
/// `Box<dyn Error + Send + Sync>`. `Marker` is inferred.
pub trait Capturable<Marker> {
    /// Returns what the error says of itself.
    fn report(&self) -> ErrorReport;
}

impl<E: Error + ?Sized> Capturable<IsError> for E {
    fn report(&self) -> ErrorReport {
        let mut report = ErrorReport { message: message(self), ..ErrorReport::default() };
        report.causes = chain(self.source());
        report.kind =
            static_name::<E>().or_else(|| debug_name(self)).or_else(|| root_name(&report)).unwrap_or_else(|| "Error".to_owned());
        report.message = joined(&report);
        report
    }
}

impl<E: AsRef<dyn Error + Send + Sync> + std::fmt::Debug + ?Sized> Capturable<CarriesError> for E {
    fn report(&self) -> ErrorReport {
        let error: &(dyn Error + 'static) = self.as_ref();
        let mut report = ErrorReport { message: message(error), causes: chain(error.source()), ..ErrorReport::default() };
        // Contexts are words; what they were said of is the last cause.
        let named = root_name(&report).or_else(|| name_of(error)).or_else(static_name::<E>);
        report.kind = named.unwrap_or_else(|| "Error".to_owned());
        report.own_trace = own_trace(self);
        report.message = joined(&report);
        report
    }
}

/// Captures an error: it becomes an event of an issue. Returns at once.
///
/// ```
/// use watchfire_client::{ErrorSeverity, capture_error};
///
/// if let Err(error) = std::fs::read("/does/not/exist") {
///     capture_error(&error, ErrorSeverity::High);
/// }
/// let error = anyhow::anyhow!("the image is broken").context("cannot sync product 7");
/// capture_error(&error, ErrorSeverity::Medium);
/// ```
#[track_caller]
pub fn capture_error<M>(error: &(impl Capturable<M> + ?Sized), severity: ErrorSeverity) {
    capture_report(error.report(), severity, Fields::new(), Location::caller());
}

/// Captures an error with fields.
///
/// ```
/// use watchfire_client::{ErrorSeverity, capture_error_with, fields};
///
/// let error = "x".parse::<u8>().unwrap_err();
/// capture_error_with(&error, ErrorSeverity::Low, fields! { product_id: 7 });
/// ```
#[track_caller]
pub fn capture_error_with<M>(error: &(impl Capturable<M> + ?Sized), severity: ErrorSeverity, fields: Fields) {
    capture_report(error.report(), severity, fields, Location::caller());
}

/// Captures something that went wrong without an error value.
#[track_caller]
pub fn capture_message(message: &str, severity: ErrorSeverity) {
    let report = ErrorReport {
        kind: "message".to_owned(),
        message: bounded(format_args!("{message}"), MAX_MESSAGE_BYTES),
        ..ErrorReport::default()
    };
    capture_report(report, severity, Fields::new(), Location::caller());
}

/// Sends a report, and notes it, so that calls which the error leaves on its way do not capture it again.
pub(crate) fn capture_report(report: ErrorReport, severity: ErrorSeverity, mut fields: Fields, at: &'static Location<'static>) {
    if let Some(shared) = global::active() {
        shared.error_count.add(1.0);
        context::note_captured(context::current_call(), report.mark());
        fields.push("code.file.path", at.file());
        fields.push("code.line.number", at.line());
        let backtrace = shared.config.include_stack_trace.then(Backtrace::force_capture);
        let ErrorReport { kind, message, causes, own_trace } = report;
        let detail = ErrorDetail { kind, message, causes, backtrace, own_trace, panic: None };
        let scope = Cow::Borrowed("watchfire_client::errors");
        shared.queue.push(Record::of_error(severity, scope, detail, fields));
    }
}

impl ErrorReport {
    /// Returns a report of something that is no error, but is shown as `text`.
    pub(crate) fn of_text(kind: &str, text: String) -> Self {
        Self { kind: kind.to_owned(), message: text, ..Self::default() }
    }

    /// Returns what stays the same while an error is wrapped on its way out: its first cause.
    pub(crate) fn mark(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.causes.last().map_or(&self.message, |(_, text)| text).hash(&mut hasher);
        hasher.finish()
    }
}

fn message(error: &(impl Error + ?Sized)) -> String {
    bounded(format_args!("{error}"), MAX_MESSAGE_BYTES)
}

/// Returns type and text of each cause.
fn chain<'a>(mut next: Option<&'a (dyn Error + 'static)>) -> Vec<(String, String)> {
    let causes = std::iter::from_fn(|| {
        let error: &'a (dyn Error + 'static) = next?;
        next = error.source();
        Some((name_of(error).unwrap_or_default(), message(error)))
    });
    causes.take(MAX_CAUSES).collect()
}

/// Returns the message with those of the causes, unless it has them already.
fn joined(report: &ErrorReport) -> String {
    let mut whole = report.message.clone();
    for (_, text) in &report.causes {
        if !whole.contains(text.as_str()) && whole.len() + text.len() < MAX_MESSAGE_BYTES {
            whole.push_str(": ");
            whole.push_str(text);
        }
    }
    whole
}

fn root_name(report: &ErrorReport) -> Option<String> {
    report.causes.last().map(|(kind, _)| kind.clone()).filter(|kind| !kind.is_empty())
}

/// Returns the name of a type, if it says something.
fn static_name<E: ?Sized>() -> Option<String> {
    let name = type_name::<E>();
    let name = name.split('<').next().unwrap_or(name).trim_start_matches('&');
    let says_nothing = name.starts_with("dyn ") || name.ends_with("::Box") || name.ends_with("::Arc") || name.is_empty();
    (!says_nothing).then(|| name.to_owned())
}

/// Returns the name of an error of which only the trait is known: of the standard library's by trying, of others from what `derive(Debug)`
/// writes.
fn name_of(error: &(dyn Error + 'static)) -> Option<String> {
    macro_rules! known {
        ($($kind:ty),* $(,)?) => { $(if error.is::<$kind>() { return Some(stringify!($kind).replace(' ', "")); })* };
    }
    known!(
        std::io::Error,
        std::num::ParseIntError,
        std::num::ParseFloatError,
        std::num::TryFromIntError,
        std::str::Utf8Error,
        std::string::FromUtf8Error,
        std::str::ParseBoolError,
        std::env::VarError,
        std::fmt::Error,
        std::net::AddrParseError,
        std::sync::mpsc::RecvError,
        std::time::SystemTimeError,
        serde_json::Error,
    );
    debug_name(error)
}

fn debug_name(error: &(impl Error + ?Sized)) -> Option<String> {
    let text = bounded(format_args!("{error:?}"), 80);
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let derived = rest.is_empty() || rest.starts_with(" {") || rest.starts_with('(');
    (derived && name.starts_with(char::is_uppercase)).then(|| name.to_owned())
}

/// Returns the stack trace that `anyhow` and its like add to what `{:?}` shows, if the program asked for it.
fn own_trace(error: &(impl std::fmt::Debug + ?Sized)) -> Option<String> {
    let asked = |name: &str| std::env::var_os(name).is_some_and(|value| value != "0");
    if !asked("RUST_LIB_BACKTRACE") && !asked("RUST_BACKTRACE") {
        return None;
    }
    let text = bounded(format_args!("{error:?}"), 256 << 10);
    text.find("tack backtrace:").is_some().then_some(text)
}

impl ErrorDetail {
    /// Returns the error as text with causes and frames, in the form that Rust's programs print. Takes a while: frames are looked up now.
    pub(crate) fn stack_text(&self) -> String {
        if let Some(own) = &self.own_trace {
            return if own.starts_with("Error: ") { own.clone() } else { format!("Error: {own}") };
        }
        let mut text = self.panic.clone().unwrap_or_else(|| format!("Error: {}\n", self.message));
        if !self.causes.is_empty() {
            text.push_str("\nCaused by:\n");
            for (index, (_, cause)) in self.causes.iter().enumerate() {
                let _ = writeln!(text, "    {index}: {cause}");
            }
        }
        if let Some(backtrace) = &self.backtrace {
            let frames = without_own_frames(&backtrace.to_string());
            if !frames.is_empty() {
                text.push_str(if self.panic.is_some() { "stack backtrace:\n" } else { "\nStack backtrace:\n" });
                text.push_str(&frames);
            }
        }
        text
    }
}

/// Frames in which the client looks at the stack; they are among the first ones.
const LOOKING: [&str; 3] = ["watchfire_client::errors::", "watchfire_client::__private::call::Call", "watchfire_client::panic"];
const LOOKED_FRAMES: usize = 20;
/// How a panic comes about, and how looking does.
const MACHINERY: [&str; 9] = [
    "std::backtrace",
    "std::panicking::",
    "core::panicking::",
    "std::sys::backtrace",
    "rust_begin_unwind",
    "__rustc::",
    "core::option::",
    "core::result::",
    "alloc::boxed::Box<dyn",
];

/// Leaves out the frames with which the client looked, and how a panic comes about, and numbers the others anew.
fn without_own_frames(backtrace: &str) -> String {
    let mut frames: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in backtrace.lines() {
        let trimmed = line.trim_start();
        let numbered =
            trimmed.split_once(": ").filter(|(number, _)| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()));
        match (numbered, frames.last_mut()) {
            (Some((_, name)), _) => frames.push((name, Vec::new())),
            (None, Some((_, places))) if trimmed.starts_with("at ") => places.push(trimmed),
            _ => {}
        }
    }
    // The outermost of those with which the client looked: what is above it is all about looking.
    let looked = frames.iter().take(LOOKED_FRAMES).rposition(|(name, _)| LOOKING.iter().any(|own| name.contains(own)));
    let machinery = |name: &str| MACHINERY.iter().any(|begin| name.trim_start_matches('<').starts_with(begin));
    let rest = frames.iter().skip(looked.map_or(0, |index| index + 1)).skip_while(|(name, _)| machinery(name));
    // Those around monitored calls, inlined ones too, and those that a stripped program has no name for.
    let is_ours = |name: &str, places: &[&str]| {
        name.contains("watchfire_client::") || (name.starts_with("run") && places.iter().any(|at| at.contains("private/call.rs:")))
    };
    let rest = rest.filter(|(name, places)| *name != "<unknown>" && !is_ours(name, places));
    let mut text = String::new();
    for (index, (name, places)) in rest.enumerate() {
        let _ = writeln!(text, "{index:>4}: {name}");
        for place in places {
            let _ = writeln!(text, "             {place}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum SyncError {
        #[error("cannot load image {0}")]
        Load(u32, #[source] std::io::Error),
        #[error("no product")]
        NoProduct,
    }

    fn missing() -> std::io::Error {
        std::io::Error::new(std::io::ErrorKind::NotFound, "no such image")
    }

    fn told<M>(error: &(impl Capturable<M> + ?Sized)) -> (String, String) {
        let report = error.report();
        (report.kind.rsplit("::").next().unwrap_or("").to_owned(), report.message)
    }

    #[test]
    fn every_kind_of_error_has_a_name_and_its_causes() {
        assert_eq!(told(&SyncError::Load(7, missing())), ("SyncError".into(), "cannot load image 7: no such image".into()));
        let dynamic: Box<dyn Error> = Box::new(SyncError::NoProduct);
        assert_eq!(told(dynamic.as_ref()), ("NoProduct".into(), "no product".into()));
        let sendable: Box<dyn Error + Send + Sync> = Box::new(missing());
        assert_eq!(told(&sendable).0, "Error");
        let error = anyhow::Error::new(missing()).context("cannot load").context("cannot sync product 7");
        assert_eq!(error.report().kind, "std::io::Error");
        assert_eq!(told(&error).1, "cannot sync product 7: cannot load: no such image");
        assert_eq!(anyhow::anyhow!("Product 7 is broken").report().kind, "anyhow::Error");
        assert_eq!(told(&missing()), ("Error".into(), "no such image".into()));
    }

    #[test]
    fn wrapping_an_error_keeps_its_mark() {
        let plain = missing().report().mark();
        assert_eq!(SyncError::Load(7, missing()).report().mark(), plain);
        assert_eq!(anyhow::Error::new(missing()).context("a").context("b").report().mark(), plain);
        assert_ne!(SyncError::NoProduct.report().mark(), plain);
    }

    #[test]
    fn frames_of_the_client_are_left_out() {
        let backtrace = "   0: core::bool::then\n   1: watchfire_client::errors::capture_report\n             at ./src/errors.rs:1:2\n   2: capture\n   \
            3: watchfire_client::__private::call::Call::end\n   4: shop::sync\n             at ./src/main.rs:5:6\n   \
            5: run<core::result::Result<()>>\n             at ./src/private/call.rs:204:18\n   6: shop::main\n   7: <unknown>\n";
        assert_eq!(without_own_frames(backtrace), "   0: shop::sync\n             at ./src/main.rs:5:6\n   1: shop::main\n");
        let panic = "   0: watchfire_client::panic::capture\n   1: std::panicking::panic_with_hook\n   2: __rustc::rust_begin_unwind\n   3: core::panicking::panic_fmt\n   4: shop::main\n";
        assert_eq!(without_own_frames(panic), "   0: shop::main\n");
        assert_eq!(without_own_frames("   0: <unknown>\n"), "");
    }

    #[test]
    fn a_stack_is_written_as_rust_programs_write_it() {
        let ErrorReport { kind, message, causes, .. } = SyncError::Load(7, missing()).report();
        let backtrace = Some(Backtrace::force_capture());
        let text = ErrorDetail { kind, message, causes, backtrace, own_trace: None, panic: None }.stack_text();
        assert!(
            text.starts_with(
                "Error: cannot load image 7: no such image\n\nCaused by:\n    0: no such image\n\nStack backtrace:\n   0: "
            ),
            "{text}"
        );
    }
}
