"""The structured logger of the specification, and a handler for the standard library's records."""

import contextlib
import logging
import os
import sys
import threading
import time
import traceback

from . import otlp, safe
from .client import client

_HERE = os.path.dirname(__file__) + os.sep
_loggers = {}
_standard_keys = set(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "watchfire_sent"}


def get_logger(name="app"):
    """Returns the logger of this name."""
    return _loggers.setdefault(str(name), StructuredLogger(str(name)))


class StructuredLogger:
    """Logs messages with fields. Each goes to the host and to the standard library's logger of the same name, so that an
    application's own handlers show it as they show everything."""

    def __init__(self, name, fields=None):
        self.name = name
        self._fields = fields or {}
        self._standard = logging.getLogger(name)

    def bind(self, **fields):
        """Returns a logger that adds `fields` to everything."""
        return StructuredLogger(self.name, {**self._fields, **fields})

    @safe.silent()
    def debug(self, message, /, *arguments, **fields):
        """Says what only whoever looks for a fault wants to know."""
        self._log(logging.DEBUG, message, arguments, fields)

    @safe.silent()
    def info(self, message, /, *arguments, **fields):
        """Says what happened."""
        self._log(logging.INFO, message, arguments, fields)

    @safe.silent()
    def warning(self, message, /, *arguments, **fields):
        """Says what may become a problem."""
        self._log(logging.WARNING, message, arguments, fields)

    warn = warning

    @safe.silent()
    def error(self, message, /, *arguments, **fields):
        """Says what failed. Within `except`, the exception goes along."""
        self._log(logging.ERROR, message, arguments, fields, current_exception=True)

    @safe.silent()
    def critical(self, message, /, *arguments, **fields):
        """Says what must be looked at now. Within `except`, the exception goes along."""
        self._log(logging.CRITICAL, message, arguments, fields, current_exception=True)

    @safe.silent()
    def exception(self, message, /, *arguments, **fields):
        """Says what failed, with the exception being handled."""
        self._log(logging.ERROR, message, arguments, {"exc_info": True, **fields})

    @safe.silent()
    def log(self, level, message, /, *arguments, **fields):
        """Logs at a level of the standard library."""
        self._log(int(level), message, arguments, fields)

    @safe.silent()
    def log_task_start(self, task_id, task_name, /, **fields):
        """Says that a task begins."""
        about = {"event.name": "task.start", "task.id": task_id, "task.name": task_name}
        self._log(logging.INFO, f"task started: {task_name}", (), {**about, **fields})

    @safe.silent()
    def log_task_complete(self, task_id, task_name, duration_ms, /, **fields):
        """Says that a task is done, and how many milliseconds it took."""
        about = {"event.name": "task.complete", "task.id": task_id, "task.name": task_name, "duration_ms": duration_ms}
        self._log(logging.INFO, f"task completed: {task_name}", (), {**about, **fields})

    @safe.silent()
    def log_task_error(self, task_id, task_name, error, duration_ms=None, /, **fields):
        """Says that a task failed."""
        about = {"event.name": "task.error", "task.id": task_id, "task.name": task_name}
        if duration_ms is not None:
            about["duration_ms"] = duration_ms
        self._log(logging.ERROR, f"task failed: {task_name}", (), {**about, "exc_info": error, **fields})

    @safe.silent()
    def log_api_request(self, method, path, status_code, duration_ms, /, **fields):
        """Says how a request was answered, and in how many milliseconds: 4xx is a warning, 5xx an error."""
        about = {"http.request.method": method, "url.path": path, "http.response.status_code": status_code, "duration_ms": duration_ms}
        code = status_code if isinstance(status_code, int) else 0
        level = logging.ERROR if code >= 500 else logging.WARNING if code >= 400 else logging.INFO
        self._log(level, f"{method} {path} {status_code}", (), {**about, **fields})

    @safe.silent()
    def log_database_operation(self, operation, table, duration_ms, rows=None, /, **fields):
        """Says what was done to a table, in how many milliseconds, to how many rows."""
        about = {"db.operation.name": operation, "db.collection.name": table, "duration_ms": duration_ms}
        if rows is not None:
            about["db.response.returned_rows"] = rows
        self._log(logging.INFO, f"{operation} {table}", (), {**about, **fields})

    @safe.silent()
    def log_business_event(self, event_name, /, **fields):
        """Says that something happened that the business counts."""
        self._log(logging.INFO, f"business event: {event_name}", (), {"event.name": event_name, **fields})

    def _log(self, level, message, arguments, fields, current_exception=False):
        exc_info = _exception(fields.pop("exc_info", None))
        if current_exception and exc_info is None and client.settings.include_stack_trace:
            exc_info = sys.exc_info()[1]
        fields = {**self._fields, **fields}
        message = otlp.text(message)
        if arguments:
            try:
                message %= arguments
            except (TypeError, ValueError):
                message = f"{message} {arguments!r}"
        sent = level >= client.settings.level
        if sent:
            emit(self.name, level, message, fields, exc_info)
        if self._standard.isEnabledFor(level):
            self._to_standard(level, message, fields, exc_info, sent)

    def _to_standard(self, level, message, fields, exc_info, sent):
        if fields and client.settings.structured_format:
            message = " ".join([message, *(f"{key}={otlp.text(value)}" for key, value in fields.items())])
        # The line of the application, not ours: out of the method, and of what keeps its failures in.
        frame, place = sys._getframe(1), None
        while frame is not None and frame.f_globals.get("__package__") == __package__:
            frame = frame.f_back
        place = (frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name) if frame is not None else ("", 0, "")
        info = (type(exc_info), exc_info, exc_info.__traceback__) if exc_info is not None else None
        record = self._standard.makeRecord(self.name, level, *place[:2], message, (), info, place[2])
        record.watchfire_sent = sent
        record.watchfire_fields = fields
        self._standard.handle(record)


def emit(scope, level, message, fields, error=None, timestamp=None, more=None):
    """Queues one record for the host."""
    number, name = otlp.severity(level)
    now = time.time_ns()
    attributes = otlp.attributes(fields)
    if threading.current_thread() is not threading.main_thread():
        attributes.append({"key": "thread.name", "value": {"stringValue": threading.current_thread().name}})
    if error is not None:
        attributes += otlp.attributes(_once(error))
    if more:
        attributes += otlp.attributes(more)
    record = {
        "timeUnixNano": str(timestamp or now),
        "observedTimeUnixNano": str(now),
        "severityNumber": number,
        "severityText": name,
        "body": {"stringValue": message},
        "attributes": attributes,
        **_trace(),
    }
    # What it takes in memory, roughly: each attribute is three small dictionaries.
    client.emit(scope, record, 600 + len(message) + sum(300 + len(one["value"].get("stringValue", "")) for one in attributes))


def _once(error):
    """Returns what is said of an exception: all of it the first time, its class when it has been reported before on its way up."""
    if getattr(error, "_watchfire_reported", False):
        return {"error.type": class_name(error)}
    with contextlib.suppress(Exception):
        error._watchfire_reported = True
    client.metrics.add("error_count", 1)
    return exception_attributes(error)


def class_name(error):
    """Returns the name of an exception's class."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"


def exception_attributes(error):
    """Returns OpenTelemetry's attributes of an exception; its stack trace tells of its causes too."""
    try:
        told = traceback.TracebackException.from_exception(error)
        _without_us(told, depth=0)
        lines = "".join(told.format())
    except Exception:
        lines = "".join(traceback.format_tb(error.__traceback__))
    # From both ends: the beginning has the cause, the end what became of it.
    if len(lines) > otlp.MAX_TEXT:
        lines = f"{lines[: otlp.MAX_TEXT // 2]}\n…\n{lines[-otlp.MAX_TEXT // 2 :]}"
    return {"exception.type": class_name(error), "exception.message": otlp.text(error), "exception.stacktrace": lines}


def _without_us(told, depth):
    """Takes the decorators' frames out: they are in no one's code that must be mended."""
    told.stack = traceback.StackSummary.from_list([frame for frame in told.stack if not frame.filename.startswith(_HERE)])
    for inner in (told.__cause__, told.__context__, *(getattr(told, "exceptions", None) or ())):
        if inner is not None and depth < 50:
            _without_us(inner, depth + 1)


def _exception(given):
    if given is True:
        return sys.exc_info()[1]
    if isinstance(given, tuple):
        return given[1] if len(given) > 1 else None
    return given if isinstance(given, BaseException) else None


def _trace():
    """Returns the ids of OpenTelemetry's current span, if the application uses OpenTelemetry."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return {}
    context = trace.get_current_span().get_span_context()
    return {"traceId": f"{context.trace_id:032x}", "spanId": f"{context.span_id:016x}"} if context.is_valid else {}


class WatchfireHandler(logging.Handler):
    """Sends records of the standard library's `logging` to the host; what `extra` adds becomes attributes."""

    @safe.silent()
    def emit(self, record):
        """Queues a record."""
        # What was sent already, and what the client says about itself.
        if getattr(record, "watchfire_sent", False) or record.name == "watchfire" or record.name.startswith("watchfire."):
            return
        if record.levelno < client.settings.level:
            return
        fields = {key: value for key, value in record.__dict__.items() if key not in _standard_keys}
        fields |= {"code.file.path": record.pathname, "code.line.number": record.lineno, "code.function.name": record.funcName}
        error = record.exc_info[1] if record.exc_info else None
        emit(record.name, record.levelno, otlp.text(record.getMessage()), fields, error, int(record.created * 1e9))
