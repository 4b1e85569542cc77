"""The specification's decorators: durations, outcomes, log lines, and errors, around any function."""

import itertools
import os
import re
import time

from . import logs, otlp
from .client import client
from .errors import NOT_ERRORS, ErrorSeverity, capture_exception
from .wrap import Yielded, module_of, name_of, parameters_of, wrap

# Arguments of these names are not shown.
SECRET = re.compile(r"pass(word|wd|phrase)?$|passw|pwd|secret|token|api_?key|private_?key|access_?key|authori[sz]ation|^auth$|cookie|credential|session", re.I)
MAX_ARGUMENT = 200
_tasks = itertools.count(1)


def monitor_execution(function=None, *, metric_name=None, log_args=False, skip=()):
    """Measures a function: timer `<metric_name>_duration` by outcome. With `log_args` its arguments are logged, except those in
    `skip`; values of arguments that are named like secrets are replaced."""

    def decorate(function):
        name = metric_name or f"{module_of(function)}.{name_of(function)}"
        log = logs.get_logger(module_of(function))
        shown = _shown(function, skip) if log_args else None

        def begin(arguments, named):
            fields = {"args": shown(arguments, named)} if shown else {}
            log.debug(f"{name} started", function=name_of(function), **fields)
            return time.perf_counter(), fields

        def end(call, outcome):
            milliseconds = _since(call[0])
            client.metrics.record(f"{name}_duration", milliseconds, {"outcome": outcome})
            return {"function": name_of(function), "duration_ms": milliseconds, "outcome": outcome, **call[1]}

        def done(call, _result):
            log.info(f"{name} completed", **end(call, "success"))

        def failed(call, error):
            fields = end(call, _outcome(error))
            if not isinstance(error, NOT_ERRORS):
                capture_exception(error, **fields)

        return wrap(function, begin, done, failed)

    return decorate(function) if callable(function) else decorate


def monitor_api_request(endpoint, method="GET"):
    """Measures what answers requests: `active_requests`, `total_requests`, timer `api_request_duration`, one log line each."""

    def decorate(function):
        log = logs.get_logger(module_of(function))
        labels = {"endpoint": endpoint, "method": method}

        def begin(_arguments, _named):
            client.metrics.change("active_requests", 1)
            return time.perf_counter()

        def end(began, status):
            milliseconds = _since(began)
            client.metrics.change("active_requests", -1)
            client.metrics.add("total_requests", 1, {**labels, "status": status})
            client.metrics.record("api_request_duration", milliseconds, {**labels, "status": status})
            log.log_api_request(method, endpoint, status, milliseconds, function=name_of(function))

        def done(began, result):
            end(began, _status(result, 200))

        def failed(began, error):
            if not isinstance(error, NOT_ERRORS):
                # Frameworks raise what becomes a 404: nothing to mend.
                if _status(error, 500) >= 500:
                    capture_exception(error, **labels)
                end(began, _status(error, 500))
            else:
                # As nginx calls it: whoever asked has gone.
                end(began, 499)

        return wrap(function, begin, done, failed)

    return decorate


def monitor_database_operation(operation, table):
    """Measures what asks a database: timer `database_operation_duration`, one log line each with the number of rows."""

    def decorate(function):
        log = logs.get_logger(module_of(function))
        labels = {"operation": operation, "table": table}

        def end(began, outcome):
            milliseconds = _since(began)
            client.metrics.record("database_operation_duration", milliseconds, {**labels, "outcome": outcome})
            return milliseconds

        def done(began, result):
            log.log_database_operation(operation, table, end(began, "success"), _rows(result), function=name_of(function))

        def failed(began, error):
            milliseconds = end(began, _outcome(error))
            if not isinstance(error, NOT_ERRORS):
                capture_exception(error, duration_ms=milliseconds, **{"db.operation.name": operation, "db.collection.name": table})

        return wrap(function, lambda *_: time.perf_counter(), done, failed)

    return decorate


def monitor_task_execution(task_name):
    """Measures a task: `active_tasks`, timer `task_duration` by outcome, and log lines when it begins and ends. An argument
    `task_id` names the run; otherwise it gets an id."""

    def decorate(function):
        log = logs.get_logger(module_of(function))
        signature = parameters_of(function)
        parameters = list(signature.parameters) if signature else []
        place = parameters.index("task_id") if "task_id" in parameters else None
        labels = {"task": task_name}

        def begin(arguments, named):
            task_id = named.get("task_id") if place is None or place >= len(arguments) else arguments[place]
            task_id = task_id if task_id is not None else f"{task_name}-{os.getpid()}-{next(_tasks)}"
            client.metrics.change("active_tasks", 1, labels)
            log.log_task_start(task_id, task_name, function=name_of(function))
            return task_id, time.perf_counter()

        def end(began, outcome):
            milliseconds = _since(began)
            client.metrics.change("active_tasks", -1, labels)
            client.metrics.record("task_duration", milliseconds, {**labels, "outcome": outcome})
            return milliseconds

        def done(call, _result):
            log.log_task_complete(call[0], task_name, end(call[1], "success"), function=name_of(function))

        def failed(call, error):
            milliseconds = end(call[1], _outcome(error))
            if isinstance(error, NOT_ERRORS):
                log.warning(f"task cancelled: {task_name}", **{"task.id": call[0], "task.name": task_name, "duration_ms": milliseconds})
            else:
                about = {"event.name": "task.error", "task.id": call[0], "task.name": task_name, "duration_ms": milliseconds}
                capture_exception(error, severity=ErrorSeverity.HIGH, **about)

        return wrap(function, begin, done, failed)

    return decorate


def _since(began):
    return round((time.perf_counter() - began) * 1000, 3)


def _outcome(error):
    return "cancelled" if isinstance(error, NOT_ERRORS) else "error"


def _status(result, default):
    """Returns the status that an answer has: of an object, or the second of a pair as Flask takes it."""
    if isinstance(result, tuple) and len(result) > 1:
        result = result[1]
    for value in (getattr(result, "status_code", None), getattr(result, "status", None), getattr(result, "code", None), result):
        if type(value) is int and 100 <= value <= 599:
            return value
    return default


def _rows(result):
    """Returns how many rows came back, or were changed."""
    if isinstance(result, Yielded):
        return result.count
    count = getattr(result, "rowcount", None)
    if type(count) is int and count >= 0:
        return count
    if type(result) is int:
        return result
    if isinstance(result, (list, tuple, set, frozenset)):
        return len(result)
    return None


def _shown(function, skip):
    """Returns what makes text of a call's arguments."""
    signature = parameters_of(function)
    skipped = {"self", "cls", *([skip] if isinstance(skip, str) else skip)}

    def shown(arguments, named):
        if signature is None:
            return {"args": [_argument("", value) for value in arguments], **{key: _argument(key, value) for key, value in named.items()}}
        bound = signature.bind_partial(*arguments, **named).arguments
        return {name: _argument(name, value) for name, value in bound.items() if name not in skipped}

    return shown


def _argument(name, value):
    if SECRET.search(name):
        return "[redacted]"
    if isinstance(value, dict):
        return {otlp.text(key): _argument(otlp.text(key), item) for key, item in list(value.items())[:20]}
    if value is None or isinstance(value, (bool, int, float)):
        return value
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= MAX_ARGUMENT else f"{text[:MAX_ARGUMENT]}…"
