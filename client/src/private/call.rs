//! One monitored call, from its beginning to its end, however it ends.

use std::borrow::Cow;
use std::future::Future;
use std::panic::Location;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use tracing::Span;

use crate::errors::{ErrorReport, capture_report};
use crate::logger::Logger;
use crate::metrics::{Kind, Series, registry};
use crate::{ErrorSeverity, Fields, Level, context, get_logger, increment_counter, record_timer};

/// What a macro watches.
#[derive(Debug)]
pub enum Monitor {
    /// How long a function takes and how it ends.
    Execution {
        /// Name of the metric; the function's name if not given.
        metric: Option<&'static str>,
        /// How serious its errors are.
        severity: ErrorSeverity,
    },
    /// How requests are answered.
    ApiRequest {
        /// Route.
        endpoint: &'static str,
        /// Method.
        method: &'static str,
    },
    /// What is done in a database.
    DatabaseOperation {
        /// `SELECT` and so on.
        operation: &'static str,
        /// Table.
        table: &'static str,
    },
    /// A task.
    TaskExecution {
        /// Its name.
        task: &'static str,
    },
    /// Only errors.
    Errors {
        /// How serious they are.
        severity: ErrorSeverity,
    },
}

/// A function with a macro on it. What it measures is looked up once.
#[derive(Debug)]
pub struct Site {
    monitor: Monitor,
    module: &'static str,
    function: &'static str,
    handles: OnceLock<Handles>,
}

#[derive(Debug, Default)]
struct Handles {
    success: Option<Arc<Series>>,
    error: Option<Arc<Series>>,
    active: Option<Arc<Series>>,
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Success,
    Error,
    Panic,
    Cancelled,
}

impl Outcome {
    const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Error => "error",
            Self::Panic => "panic",
            Self::Cancelled => "cancelled",
        }
    }
}

impl Site {
    /// Returns a site.
    #[must_use]
    pub const fn new(monitor: Monitor, module: &'static str, function: &'static str) -> Self {
        Self { monitor, module, function, handles: OnceLock::new() }
    }

    /// Returns whether anybody looks at the arguments of calls.
    #[must_use]
    pub fn shows_arguments(&self) -> bool {
        let logger = self.logger();
        logger.is_enabled(Level::Info) || crate::layer::is_listened_to(Level::Info)
    }

    fn logger(&self) -> Logger {
        get_logger(self.module)
    }

    /// Returns name and labels of its timer, for calls that end with `outcome`.
    fn timer(&self, outcome: Outcome) -> Option<Arc<Series>> {
        let outcome = ("outcome", outcome.name());
        let series = |name: &str, labels: &[(&str, &str)]| registry().series(Kind::Histogram, name, "ms", labels);
        match self.monitor {
            Monitor::Execution { metric: Some(metric), .. } => series(&format!("{metric}_duration"), &[outcome]),
            Monitor::Execution { metric: None, .. } => {
                series("function_duration", &[("function", &format!("{}::{}", self.module, self.function)), outcome])
            }
            Monitor::DatabaseOperation { operation, table } => {
                series("database_operation_duration", &[("operation", operation), ("table", table), outcome])
            }
            Monitor::TaskExecution { task } => series("task_duration", &[("task", task), outcome]),
            // These have a status instead.
            Monitor::ApiRequest { .. } | Monitor::Errors { .. } => None,
        }
    }

    fn handles(&self) -> &Handles {
        self.handles.get_or_init(|| Handles {
            success: self.timer(Outcome::Success),
            error: self.timer(Outcome::Error),
            active: match self.monitor {
                Monitor::ApiRequest { .. } => registry().series(Kind::Gauge, "active_requests", "", &[]),
                Monitor::TaskExecution { task } => registry().series(Kind::Gauge, "active_tasks", "", &[("task", task)]),
                _ => None,
            },
        })
    }

    /// Begins a call.
    fn begin(&'static self, arguments: Option<Fields>, task_id: Option<String>) -> Call {
        if let Some(active) = &self.handles().active {
            active.add(1.0);
        }
        let task_id = match self.monitor {
            Monitor::TaskExecution { task } => {
                let id = task_id.unwrap_or_else(|| task_id_of(task));
                self.logger().log_task_start(&id, task);
                id
            }
            _ => String::new(),
        };
        let outer = context::current_call();
        Call { site: self, start: Instant::now(), id: context::call_id(), outer, arguments, task_id, ended: false }
    }

    /// Returns the span of a call: requests and tasks have one, so that what is logged within them belongs together.
    fn span(&self, task_id: &str) -> Span {
        match self.monitor {
            Monitor::ApiRequest { endpoint, method } => {
                tracing::info_span!(target: "watchfire", "api_request", "http.route" = endpoint, "http.request.method" = method)
            }
            Monitor::TaskExecution { task } => {
                tracing::info_span!(target: "watchfire", "task", "task.name" = task, "task.id" = task_id)
            }
            _ => Span::none(),
        }
    }
}

fn task_id_of(task: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    format!("{task}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A call that has begun.
#[derive(Debug)]
pub struct Call {
    site: &'static Site,
    start: Instant,
    id: u64,
    outer: u64,
    arguments: Option<Fields>,
    task_id: String,
    ended: bool,
}

/// Makes a call the innermost one of its thread, until it is dropped.
struct Within(u64);

impl Within {
    fn enter(call: &Call) -> Self {
        Self(context::set_call(call.id))
    }
}

impl Drop for Within {
    fn drop(&mut self) {
        context::set_call(self.0);
    }
}

/// Calls `body` and returns what it returned, with the call, which is to be ended.
pub fn run<R>(site: &'static Site, arguments: Option<Fields>, task_id: Option<String>, body: impl FnOnce() -> R) -> (Call, R) {
    let call = site.begin(arguments, task_id);
    let span = site.span(&call.task_id).entered();
    let within = Within::enter(&call);
    let result = body();
    drop(within);
    drop(span);
    (call, result)
}

/// Awaits `body`, as [`run`] calls it. The future may move between threads while it waits.
pub async fn run_async<F: Future>(
    site: &'static Site,
    arguments: Option<Fields>,
    task_id: Option<String>,
    body: F,
) -> (Call, F::Output) {
    let call = site.begin(arguments, task_id);
    let span = site.span(&call.task_id);
    let mut body = pin!(body);
    let result = std::future::poll_fn(|context| {
        let _within = Within::enter(&call);
        let _span = span.enter();
        body.as_mut().poll(context)
    })
    .await;
    (call, result)
}

impl Call {
    /// Ends the call: `failure` is what went wrong, if anything did. For requests `status` counts, for databases `rows`.
    #[track_caller]
    pub fn end(mut self, failure: Option<ErrorReport>, status: u16, rows: Option<u64>) {
        self.ended = true;
        let outcome = if failure.is_some() { Outcome::Error } else { Outcome::Success };
        self.measure(outcome, status, rows, failure.as_ref());
        if let Some(report) = failure {
            self.capture(report, status, Location::caller());
        }
    }

    fn measure(&mut self, outcome: Outcome, status: u16, rows: Option<u64>, failure: Option<&ErrorReport>) {
        let milliseconds = self.start.elapsed().as_nanos() as f64 / 1e6;
        let handles = self.site.handles();
        if let Some(active) = &handles.active {
            active.add(-1.0);
        }
        match outcome {
            Outcome::Success => record(handles.success.as_deref(), milliseconds),
            Outcome::Error => record(handles.error.as_deref(), milliseconds),
            Outcome::Panic | Outcome::Cancelled => record(self.site.timer(outcome).as_deref(), milliseconds),
        }
        let logger = || self.site.logger();
        match self.site.monitor {
            Monitor::Execution { metric, .. } => {
                let level = if self.arguments.is_some() { Level::Info } else { Level::Debug };
                let logger = logger();
                if logger.is_enabled(level) || crate::layer::is_listened_to(level) {
                    let (name, word) = (metric.unwrap_or(self.site.function), outcome.name());
                    let mut fields = Fields::new().with("code.function.name", Cow::Borrowed(self.site.function));
                    fields.push("duration_ms", milliseconds);
                    fields.push("outcome", Cow::Borrowed(word));
                    fields.0.extend(self.arguments.take().unwrap_or_default().0);
                    logger.log(level, format!("{name}: {word} after {milliseconds:.3} ms"), fields);
                }
            }
            Monitor::ApiRequest { endpoint, method } => request_answered(&logger(), method, endpoint, status, milliseconds),
            Monitor::DatabaseOperation { operation, table } => {
                if outcome == Outcome::Success {
                    logger().log_database_operation(operation, table, milliseconds, rows.unwrap_or(0));
                }
            }
            Monitor::TaskExecution { task } => match (outcome, failure) {
                (Outcome::Success, _) => logger().log_task_complete(&self.task_id, task, milliseconds),
                (_, Some(report)) => logger().log_task_error(&self.task_id, task, milliseconds, &report.message),
                _ => logger().log_task_error(&self.task_id, task, milliseconds, outcome.name()),
            },
            Monitor::Errors { .. } => {}
        }
    }

    /// Captures an error, unless a call within this one has, and lets the call around this one know.
    fn capture(&self, report: ErrorReport, status: u16, at: &'static Location<'static>) {
        let mark = report.mark();
        if !context::was_captured(self.id, mark) {
            let (severity, mut fields) = match self.site.monitor {
                Monitor::Execution { severity, .. } | Monitor::Errors { severity } => (severity, Fields::new()),
                // What the other side did wrong is nothing to mend here.
                Monitor::ApiRequest { .. } if status < 500 => return,
                Monitor::ApiRequest { endpoint, method } => {
                    let fields = Fields::new().with("http.route", Cow::Borrowed(endpoint));
                    (ErrorSeverity::High, fields.with("http.request.method", Cow::Borrowed(method)))
                }
                Monitor::DatabaseOperation { operation, table } => {
                    let fields = Fields::new().with("db.operation.name", Cow::Borrowed(operation));
                    (ErrorSeverity::High, fields.with("db.collection.name", Cow::Borrowed(table)))
                }
                Monitor::TaskExecution { task } => {
                    let fields = Fields::new().with("task.name", Cow::Borrowed(task));
                    (ErrorSeverity::High, fields.with("task.id", self.task_id.as_str()))
                }
            };
            fields.push("code.function.name", format!("{}::{}", self.site.module, self.site.function));
            capture_report(report, severity, fields, at);
        }
        context::note_captured(self.outer, mark);
    }
}

impl Drop for Call {
    /// A call that did not come to its end: its code panicked, or nobody waited for its future any more.
    fn drop(&mut self) {
        if !self.ended {
            let outcome = if std::thread::panicking() { Outcome::Panic } else { Outcome::Cancelled };
            // As nginx calls it: whoever asked has gone.
            let status = if outcome == Outcome::Panic { 500 } else { 499 };
            self.measure(outcome, status, None, None);
        }
    }
}

fn record(series: Option<&Series>, milliseconds: f64) {
    if let Some(series) = series {
        series.record(milliseconds);
    }
}

/// Counts, times and logs an answered request.
pub(crate) fn request_answered(logger: &Logger, method: &str, route: &str, status: u16, milliseconds: f64) {
    let status_text = status.to_string();
    let labels = [("endpoint", route), ("method", method), ("status", status_text.as_str())];
    increment_counter("total_requests", 1, &labels);
    record_timer("api_request_duration", milliseconds, &labels);
    logger.log_api_request(method, route, status, milliseconds);
}
