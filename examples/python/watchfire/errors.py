"""Captures exceptions: by hand, by decorator, and those that nobody handles."""

import asyncio
import enum
import logging
import sys
import threading

from . import logs, otlp, remote, safe
from .client import client
from .wrap import name_of, wrap


class ErrorSeverity(enum.Enum):
    """How bad an error is. The values are the host's words."""

    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"
    CRITICAL = "CRITICAL"


# The specification's severities are INFO, WARNING, ERROR and CRITICAL of a log record.
_LEVELS = {"LOW": logging.INFO, "MEDIUM": logging.WARNING, "HIGH": logging.ERROR, "CRITICAL": logging.CRITICAL}
# How a program ends, or a task is told to: nothing that anybody must mend.
NOT_ERRORS = (KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError)


@safe.silent(default=False)
def capture_exception(error=None, severity=ErrorSeverity.HIGH, **fields):
    """Reports an exception, by default the one being handled; returns whether there was one. The same exception is reported once,
    however many decorators it passes on its way up."""
    error = sys.exc_info()[1] if error is None else error
    if not isinstance(error, BaseException) or isinstance(error, NOT_ERRORS):
        return False
    word = getattr(severity, "value", str(severity)).upper()
    level = _LEVELS.get(word, logging.ERROR)
    if getattr(error, "_watchfire_reported", False):
        return True
    name = logs.class_name(error)
    said = otlp.text(error)
    logs.emit("watchfire.errors", level, f"{name}: {said}" if said else name, {"error.severity": word, **fields}, error)
    return True


def track_errors(function=None, *, severity=ErrorSeverity.HIGH, reraise=True, **fields):
    """Captures what the function raises, and raises it on; with `reraise=False` the function returns `None` instead."""

    def decorate(function):
        def failed(_call, error):
            capture_exception(error, severity=severity, function=name_of(function), **fields)
            return not reraise and not isinstance(error, NOT_ERRORS)

        return wrap(function, failed=failed)

    return decorate(function) if callable(function) else decorate


class ErrorTracker:
    """Captures errors and asks the host what became of them."""

    capture_exception = staticmethod(capture_exception)

    def get_error_statistics(self, hours=24, top=10):
        """Returns how many errors there were: `total`, `issues`, `new_issues`, `by_type`, `by_service`, `by_level`, `hourly`,
        `top_issues`. Where the host cannot be asked, `error` says why."""
        return remote.ask_object("/api/v1/errors/statistics", {"hours": hours, "top": top})

    def get_issues(self, status="unresolved", limit=100):
        """Returns the issues in this status, the newest first."""
        return remote.ask_list("/api/v1/issues", {"status": status, "limit": limit}, "issues")


error_tracker = ErrorTracker()


# -- what nobody handles

_installed = []


def install_hooks():
    """Captures exceptions that end the program, a thread or a task of asyncio. What was there before runs on."""
    if _installed:
        return
    main, thread, task = sys.excepthook, threading.excepthook, _TaskFilter()

    def on_exit(kind, error, trace):
        capture_exception(error, severity=ErrorSeverity.CRITICAL, handled=False)
        main(kind, error, trace)

    def in_thread(arguments):
        capture_exception(arguments.exc_value, severity=ErrorSeverity.HIGH, handled=False, thread=getattr(arguments.thread, "name", ""))
        thread(arguments)

    sys.excepthook, threading.excepthook = on_exit, in_thread
    # A filter and not a handler: with a handler, the standard library would no longer print what nobody handles.
    logging.getLogger("asyncio").addFilter(task)
    _installed.append((on_exit, main, in_thread, thread, task))


def remove_hooks():
    """Puts back what was there, unless somebody else has put theirs on top."""
    while _installed:
        on_exit, main, in_thread, thread, task = _installed.pop()
        if sys.excepthook is on_exit:
            sys.excepthook = main
        if threading.excepthook is in_thread:
            threading.excepthook = thread
        logging.getLogger("asyncio").removeFilter(task)


class _TaskFilter(logging.Filter):
    """Sees what asyncio says of tasks whose exception nobody fetched."""

    def filter(self, record):
        if record.levelno >= logging.ERROR and record.exc_info:
            capture_exception(record.exc_info[1], severity=ErrorSeverity.HIGH, handled=False)
        return True
