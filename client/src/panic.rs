//! Captures panics.

use std::backtrace::Backtrace;
use std::panic::{PanicHookInfo, set_hook, take_hook};
use std::sync::Once;
use std::time::Duration;

use crate::record::{ErrorDetail, Record};
use crate::value::bounded;
use crate::{ErrorSeverity, Fields, context, global};

/// How long the end of the program may wait for its last words.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Adds to the panic hook, once a process. Whatever hook there was is called first.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            before(panic);
            capture(panic);
        }));
    });
}

fn capture(panic: &PanicHookInfo<'_>) {
    let Some(shared) = global::active().filter(|shared| shared.config.auto_capture && !context::is_quiet()) else { return };
    let payload = panic.payload_as_str().unwrap_or("a value that is no text");
    let message = bounded(format_args!("{payload}"), 16 << 10);
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("<unnamed>");
    let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let text = format!("thread '{name}' panicked at {place}:\n{message}\n");
    shared.error_count.add(1.0);
    let mut fields = Fields::new().with("thread.name", name);
    if let Some(location) = panic.location() {
        fields.push("code.file.path", location.file());
        fields.push("code.line.number", location.line());
    }
    let backtrace = shared.config.include_stack_trace.then(Backtrace::force_capture);
    let detail =
        ErrorDetail { kind: "panic".to_owned(), message, causes: Vec::new(), backtrace, own_trace: None, panic: Some(text) };
    shared.queue.push(Record::of_error(ErrorSeverity::Critical, "watchfire_client::panic".into(), detail, fields));
    // Usually the program goes on. When it ends, its last words have to leave before it does.
    if name == "main" || cfg!(panic = "abort") {
        global::flush(LAST_WORDS);
    }
}
