//! Loggers with a name, and the specification's ready-made records.

use std::borrow::Cow;

use crate::record::Record;
use crate::value::{Fields, Number};
use crate::{Level, global};

/// Target of the `tracing` events that loggers make for other subscribers; the client's own layer does not send them again.
pub(crate) const TARGET: &str = "watchfire::logger";

/// A logger. Cheap to clone; every method returns at once.
///
/// What it says is sent to the host, and is a `tracing` event as well, for whatever else listens there.
#[derive(Clone, Debug)]
pub struct Logger {
    name: Cow<'static, str>,
}

/// Returns the logger `name`, as `module_path!()` or a word.
///
/// ```
/// use watchfire_client::{fields, get_logger};
///
/// let logger = get_logger(module_path!());
/// logger.info_with("user logged in", fields! { user_id: "12345", session_id: "sess_abc" });
/// logger.log_task_complete("task_123", "image_sync", 1500.5);
/// ```
#[must_use]
pub fn get_logger(name: impl Into<Cow<'static, str>>) -> Logger {
    Logger { name: name.into() }
}

macro_rules! levels {
    ($($plain:ident $with:ident $level:ident $word:literal),*) => {$(
        #[doc = concat!("Says `message` ", $word, ".")]
        pub fn $plain(&self, message: impl Into<Cow<'static, str>>) {
            self.log(Level::$level, message, Fields::new());
        }

        #[doc = concat!("Says `message` ", $word, ", with fields.")]
        pub fn $with(&self, message: impl Into<Cow<'static, str>>, fields: Fields) {
            self.log(Level::$level, message, fields);
        }
    )*};
}

impl Logger {
    levels!(
        trace trace_with Trace "step by step",
        debug debug_with Debug "to whoever looks for a mistake",
        info info_with Info "as information",
        warning warning_with Warning "as a warning",
        error error_with Error "as an error",
        critical critical_with Critical "as something that somebody must act upon"
    );

    /// Returns its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns whether a record of this level is sent: worth asking before fields that are costly to make.
    #[must_use]
    pub fn is_enabled(&self, level: Level) -> bool {
        global::is_enabled(level)
    }

    /// Says `message` at `level`, with fields.
    pub fn log(&self, level: Level, message: impl Into<Cow<'static, str>>, fields: Fields) {
        let enabled = global::is_enabled(level);
        let listened = crate::layer::is_listened_to(level);
        if !enabled && !listened {
            return;
        }
        let message = message.into();
        if listened {
            crate::layer::tell_others(level, &self.name, &message, &fields);
        }
        if enabled {
            global::with(|shared| shared.queue.push(Record::new(level, self.name.clone(), message, fields)));
        }
    }

    /// Says that a task begins.
    pub fn log_task_start(&self, task_id: &str, task_name: &str) {
        let fields = || task(task_id, task_name, "task.start");
        self.event(Level::Info, || format!("task {task_name} started"), fields);
    }

    /// Says that a task is done, after `duration_ms` milliseconds or a `Duration`.
    pub fn log_task_complete(&self, task_id: &str, task_name: &str, duration_ms: impl Number) {
        let fields = || task(task_id, task_name, "task.complete").with("duration_ms", duration_ms.as_f64());
        self.event(Level::Info, || format!("task {task_name} completed in {:.1} ms", duration_ms.as_f64()), fields);
    }

    /// Says that a task failed, after `duration_ms` milliseconds or a `Duration`.
    pub fn log_task_error(&self, task_id: &str, task_name: &str, duration_ms: impl Number, error: &str) {
        let fields = || task(task_id, task_name, "task.error").with("duration_ms", duration_ms.as_f64()).with("error", error);
        self.event(Level::Error, || format!("task {task_name} failed after {:.1} ms", duration_ms.as_f64()), fields);
    }

    /// Says how a request to this program was answered: a warning from status 400 on, an error from 500 on.
    pub fn log_api_request(&self, method: &str, path: &str, status: u16, duration_ms: impl Number) {
        let level = match status {
            0..400 => Level::Info,
            400..500 => Level::Warning,
            _ => Level::Error,
        };
        let fields = || {
            Fields::new()
                .with("http.request.method", method)
                .with("url.path", path)
                .with("http.response.status_code", status)
                .with("duration_ms", duration_ms.as_f64())
        };
        self.event(level, || format!("{method} {path} {status} in {:.1} ms", duration_ms.as_f64()), fields);
    }

    /// Says what was done in a database, and how many rows it was about.
    pub fn log_database_operation(&self, operation: &str, table: &str, duration_ms: impl Number, rows: u64) {
        let fields = || {
            Fields::new()
                .with("db.operation.name", operation)
                .with("db.collection.name", table)
                .with("duration_ms", duration_ms.as_f64())
                .with("db.response.returned_rows", rows)
        };
        let message = || format!("{operation} {table}: {rows} rows in {:.1} ms", duration_ms.as_f64());
        self.event(Level::Info, message, fields);
    }

    /// Says that something happened that the business cares about.
    pub fn log_business_event(&self, event: &str, fields: Fields) {
        let named = || {
            let mut all = Fields::new().with("event.name", event);
            all.0.extend(fields.0);
            all
        };
        self.event(Level::Info, || format!("business event: {event}"), named);
    }

    /// Makes text and fields only if somebody wants them.
    fn event(&self, level: Level, message: impl FnOnce() -> String, fields: impl FnOnce() -> Fields) {
        if global::is_enabled(level) || crate::layer::is_listened_to(level) {
            self.log(level, message(), fields());
        }
    }
}

fn task(id: &str, name: &str, event: &'static str) -> Fields {
    Fields::new().with("event.name", Cow::Borrowed(event)).with("task.id", id).with("task.name", name)
}
