//! The host's own log: to the terminal or a file, and into the log engine.
//!
//! **Invariant**: storing a record of the own log never makes another one. What the forwarder does, and what a thread that
//! called [`mute_this_thread`] does, is written but not forwarded; neither is what the store says below `WARN`.

pub mod format;
pub mod forward;
pub mod rotate;

use std::cell::Cell;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;

use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber, span};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use watchfire_types::{Attributes, Severity, Timestamp, Value};

use crate::clock::Clock;
use crate::config::{LogFormat, Logging};

pub use forward::{Forward, Queue, channel, forward};
use rotate::RotatingFile;

/// Parts that store what is forwarded: what they do for every batch must not become part of the next.
const STORING: [&str; 2] = ["watchfire::logs", "watchfire::store"];

/// One event of the own log.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnRecord {
    /// When it happened.
    pub timestamp: Timestamp,
    /// How serious it is.
    pub severity: Severity,
    /// The module it comes from.
    pub target: String,
    /// What happened.
    pub message: String,
    /// Its fields, and those of the spans around it.
    pub attributes: Attributes,
}

/// Where the own log is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard error.
    Stderr,
    /// A file, rotated.
    File(PathBuf),
}

/// Why the own log cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum OwnLogError {
    /// The file cannot be opened.
    #[error("cannot write the log file `{}`", .path.display())]
    Open {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is a subscriber already.
    #[error("the log has been set up before")]
    Twice,
}

/// Installs the subscriber of this process. Only `main` does this.
///
/// # Errors
/// [`OwnLogError`].
pub fn install(logging: &Logging, target: LogTarget, forward: Option<Forward>) -> Result<(), OwnLogError> {
    let layer = OwnLog::new(logging, target, forward, Clock::system())?;
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer)).map_err(|_| OwnLogError::Twice)
}

thread_local! {
    static MUTED: Cell<bool> = const { Cell::new(false) };
}

/// Keeps what this thread logs out of the log engine, for good. For the threads of the log engine itself.
pub fn mute_this_thread() {
    MUTED.set(true);
}

fn is_muted() -> bool {
    MUTED.get() || forward::is_forwarding()
}

/// The layer that writes and forwards events.
struct OwnLog {
    level: Level,
    format: LogFormat,
    colour: bool,
    with_causes: bool,
    output: Output,
    forward: Option<Forward>,
    clock: Clock,
}

enum Output {
    Stderr,
    File(Mutex<RotatingFile>),
}

impl OwnLog {
    fn new(logging: &Logging, target: LogTarget, forward: Option<Forward>, clock: Clock) -> Result<Self, OwnLogError> {
        let output = match target {
            LogTarget::Stderr => Output::Stderr,
            LogTarget::File(path) => {
                let file = RotatingFile::open(&path, logging.rotate_bytes, logging.rotate_keep, clock.now());
                Output::File(Mutex::new(file.map_err(|source| OwnLogError::Open { path, source })?))
            }
        };
        // https://no-color.org
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let colour = wanted && matches!(output, Output::Stderr) && io::stderr().is_terminal();
        let (format, with_causes) = (logging.format, logging.include_stack_trace);
        Ok(Self { level: level(logging.level), format, colour, with_causes, output, forward, clock })
    }

    /// Ours as configured; of the libraries we use, what is wrong.
    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        let most = if metadata.target().starts_with("watchfire") { self.level } else { self.level.min(Level::WARN) };
        *metadata.level() <= most
    }

    fn write(&self, record: &OwnRecord) {
        let line = format::line(record, self.format, self.colour);
        // A log that cannot be written has nowhere to say so.
        let _ = match &self.output {
            Output::Stderr => io::stderr().lock().write_all(line.as_bytes()),
            Output::File(file) => file.lock().write(line.as_bytes(), record.timestamp),
        };
    }

    fn forward(&self, record: OwnRecord) {
        let Some(forward) = &self.forward else { return };
        let ours = record.target.starts_with("watchfire");
        let of_the_store = STORING.iter().any(|part| record.target.starts_with(part)) && record.severity < Severity::WARN;
        if ours && !of_the_store && !is_muted() {
            forward.send(record);
        }
    }

    fn fields(&self) -> Fields {
        Fields { with_causes: self.with_causes, message: String::new(), attributes: Vec::new() }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for OwnLog {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.wants(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::from_level(self.level))
    }

    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        let mut fields = self.fields();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = self.fields();
        event.record(&mut fields);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(around) = span.extensions().get::<Fields>() {
                around.attributes.iter().for_each(|(key, value)| fields.add(key, value.clone()));
            }
        }
        let record = OwnRecord {
            timestamp: self.clock.now(),
            severity: severity(*event.metadata().level()),
            target: event.metadata().target().to_owned(),
            message: fields.message,
            attributes: fields.attributes,
        };
        self.write(&record);
        self.forward(record);
    }
}

/// Collects the fields of an event or a span.
struct Fields {
    with_causes: bool,
    message: String,
    attributes: Attributes,
}

impl Fields {
    /// Adds a field; the innermost of one name stays.
    fn add(&mut self, name: &str, value: Value) {
        if name == "message" {
            self.message = value.as_ref().display();
        } else if !self.attributes.iter().any(|(known, _)| known == name) {
            self.attributes.push((name.to_owned(), value));
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.add(field.name(), Value::Text(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field.name(), i64::try_from(value).map_or_else(|_| value.to_string().into(), Value::Int));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field.name(), Value::Float(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field.name(), Value::Bool(value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let depth = if self.with_causes { usize::MAX } else { 1 };
        let chain = std::iter::successors(Some(value), |error| error.source()).take(depth);
        self.add(field.name(), chain.map(ToString::to_string).collect::<Vec<_>>().join(": ").into());
    }
}

fn severity(level: Level) -> Severity {
    match level {
        Level::TRACE => Severity::TRACE,
        Level::DEBUG => Severity::DEBUG,
        Level::INFO => Severity::INFO,
        Level::WARN => Severity::WARN,
        Level::ERROR => Severity::ERROR,
    }
}

/// `tracing` has nothing above errors, so `CRITICAL` shows errors too: silence would hide that data are lost.
fn level(severity: Severity) -> Level {
    match severity.0 {
        0..=4 => Level::TRACE,
        5..=8 => Level::DEBUG,
        9..=12 => Level::INFO,
        13..=16 => Level::WARN,
        _ => Level::ERROR,
    }
}

#[cfg(test)]
mod tests;
