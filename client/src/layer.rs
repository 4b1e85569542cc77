//! Between `tracing` and the client: events of the program become records, spans become what surrounds them.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::context::{self, SpanContext};
use crate::errors::{Capturable as _, ErrorReport};
use crate::logger::TARGET;
use crate::record::{ErrorDetail, Record};
use crate::value::{Fields, Value};
use crate::{Level, global};

/// Most spans within each other of which fields go along.
const MAX_DEPTH: usize = 32;

/// A layer for `tracing_subscriber` that sends events, with the fields of the spans around them. [`init`](crate::init) installs one if the program has no
/// subscriber; a program that has its own adds this to it.
///
/// ```
/// use tracing_subscriber::prelude::*;
///
/// tracing_subscriber::registry().with(watchfire_client::layer()).init();
/// ```
#[must_use]
pub fn layer() -> MonitorLayer {
    MonitorLayer(())
}

/// See [`layer`].
#[derive(Debug)]
pub struct MonitorLayer(());

/// Installs a subscriber that sends and shows events of `level` and above, unless the program has one.
pub(crate) fn install(level: Level) {
    let filter = match level {
        Level::Trace => LevelFilter::TRACE,
        Level::Debug => LevelFilter::DEBUG,
        Level::Info => LevelFilter::INFO,
        Level::Warning => LevelFilter::WARN,
        Level::Error | Level::Critical => LevelFilter::ERROR,
    };
    let shown = tracing_subscriber::fmt::layer().with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr);
    // Fails if the program has its own.
    let _ = tracing_subscriber::registry().with(filter).with(layer()).with(shown).try_init();
}

macro_rules! by_level {
    ($level:expr, $each:ident $(, $more:expr)*) => {
        match $level {
            Level::Trace => $each!(tracing::Level::TRACE $(, $more)*),
            Level::Debug => $each!(tracing::Level::DEBUG $(, $more)*),
            Level::Info => $each!(tracing::Level::INFO $(, $more)*),
            Level::Warning => $each!(tracing::Level::WARN $(, $more)*),
            Level::Error | Level::Critical => $each!(tracing::Level::ERROR $(, $more)*),
        }
    };
}

/// Returns whether a subscriber wants what loggers say at `level`.
pub(crate) fn is_listened_to(level: Level) -> bool {
    macro_rules! enabled {
        ($level:expr) => {
            tracing::enabled!(target: TARGET, $level)
        };
    }
    by_level!(level, enabled)
}

/// Shows other subscribers what a logger says.
pub(crate) fn tell_others(level: Level, logger: &str, message: &str, fields: &Fields) {
    macro_rules! event {
        ($level:expr, $logger:expr, $message:expr, $fields:expr) => {
            tracing::event!(target: TARGET, $level, logger = $logger, fields = %$fields, "{}", $message)
        };
    }
    by_level!(level, event, logger, message, Shown(fields));
}

struct Shown<'a>(&'a Fields);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.0.0.iter().enumerate() {
            write!(f, "{}{name}={value}", if index > 0 { " " } else { "" })?;
        }
        Ok(())
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> tracing_subscriber::Layer<S> for MonitorLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let parent = span.parent().and_then(|parent| parent.extensions().get::<Arc<SpanContext>>().cloned());
        let mut visitor = Visitor::default();
        attributes.record(&mut visitor);
        let remote = visitor.take("traceparent").and_then(|text| context::read_traceparent(&text.to_string()));
        let random_trace = || u128::from(context::random()) << 64 | u128::from(context::random());
        let trace_id =
            parent.as_ref().map(|parent| parent.trace_id).or(remote.map(|(trace, _)| trace)).unwrap_or_else(random_trace);
        let parent = parent.filter(|parent| depth(parent) < MAX_DEPTH);
        let (name, fields) = (attributes.metadata().name(), Mutex::new(visitor.fields.0));
        span.extensions_mut().insert(Arc::new(SpanContext { trace_id, span_id: context::random(), name, parent, fields }));
    }

    fn on_record(&self, id: &Id, values: &tracing::span::Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(known) = span.extensions().get::<Arc<SpanContext>>()
        {
            let mut visitor = Visitor::default();
            values.record(&mut visitor);
            let mut fields = known.fields.lock().unwrap_or_else(PoisonError::into_inner);
            for (name, value) in visitor.fields.0 {
                match fields.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, known)) => *known = value,
                    None => fields.push((name, value)),
                }
            }
        }
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(known) = span.extensions().get::<Arc<SpanContext>>()
        {
            context::enter(Arc::clone(known));
        }
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(known) = span.extensions().get::<Arc<SpanContext>>()
        {
            context::exit(known.span_id);
        }
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let level = Level::from(*metadata.level());
        if metadata.target() == TARGET || context::is_quiet() || !global::is_enabled(level) {
            return;
        }
        let mut visitor = Visitor::default();
        event.record(&mut visitor);
        global::with(|shared| shared.queue.push(visitor.record(level, metadata)));
    }
}

fn depth(span: &SpanContext) -> usize {
    std::iter::successors(Some(span), |span| span.parent.as_deref()).take(MAX_DEPTH + 1).count()
}

#[derive(Default)]
struct Visitor {
    message: String,
    fields: Fields,
    error: Option<ErrorReport>,
}

impl Visitor {
    fn put(&mut self, field: &Field, value: Value) {
        if field.name() == "message" {
            self.message = value.to_string();
        } else {
            self.fields.push(field.name(), value);
        }
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        let index = self.fields.0.iter().position(|(known, _)| known == name)?;
        Some(self.fields.0.swap_remove(index).1)
    }

    fn record(mut self, level: Level, metadata: &'static Metadata<'static>) -> Record {
        if let Some(file) = metadata.file() {
            self.fields.push("code.file.path", Cow::Borrowed(file));
        }
        if let Some(line) = metadata.line() {
            self.fields.push("code.line.number", line);
        }
        let body = if self.message.is_empty() { Cow::Borrowed(metadata.name()) } else { Cow::Owned(self.message) };
        let mut record = Record::new(level, metadata.target().into(), body, self.fields);
        // An error that is told of at level `ERROR` is an event of an issue.
        if let Some(ErrorReport { kind, message, causes, .. }) = self.error.filter(|_| level >= Level::Error) {
            record.error = Some(Box::new(ErrorDetail { kind, message, causes, backtrace: None, own_trace: None, panic: None }));
        }
        record
    }
}

impl Visit for Visitor {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.put(field, Value::display(value));
        self.error.get_or_insert_with(|| value.report());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, Value::debug(value));
    }
}
