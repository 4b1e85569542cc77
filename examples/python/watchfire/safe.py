"""Keeps our failures out of the application: they are counted, and said once in a while."""

import collections
import functools
import inspect
import logging
import threading
import time

# What the client says about itself. It is never sent to the host.
log = logging.getLogger("watchfire")
failures = collections.Counter()
_said = {}
_inside = threading.local()
# Seconds in which the same thing is said once.
SAY_EVERY = 60.0


def say(level, key, message, *arguments):
    """Logs `message`, at most once a minute for the same `key`."""
    now = time.monotonic()
    if now - _said.get(key, -SAY_EVERY) < SAY_EVERY:
        return
    if len(_said) > 1000:
        _said.clear()
    _said[key] = now
    try:
        log.log(level, message, *arguments)
    except Exception:
        failures["logging"] += 1


def silent(default=None):
    """Lets a function return `default()` or `default` instead of raising, and ignores calls from within itself."""

    def decorate(function):
        @functools.wraps(function)
        def wrapper(*arguments, **named):
            # A value's `__str__` may log, and a handler of `logging` may be ours.
            depth = getattr(_inside, "depth", 0)
            if depth > 4:
                failures["recursion"] += 1
                return default() if callable(default) else default
            _inside.depth = depth + 1
            try:
                return function(*arguments, **named)
            except Exception as error:
                failures[function.__qualname__] += 1
                say(logging.WARNING, function.__qualname__, "%s failed, the application goes on: %r", function.__qualname__, error)
                return default() if callable(default) else default
            finally:
                _inside.depth = depth

        wrapper.__signature__ = inspect.signature(function)
        return wrapper

    return decorate
