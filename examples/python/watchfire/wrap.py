"""Puts code around a function of any kind: plain, `async`, a generator, an asynchronous generator."""

import functools
import inspect

from . import safe


def wrap(function, begin=None, done=None, failed=None):
    """Returns `function` with `call = begin(arguments, named)` before, `done(call, result)` after, or `failed(call, error)`, which
    may return true to swallow the error. What these raise is ours, and never the application's."""
    if isinstance(function, (staticmethod, classmethod)):
        return type(function)(wrap(function.__func__, begin, done, failed))
    begin = safe.silent()(begin) if begin else _nothing
    done = safe.silent()(done) if done else _nothing
    failed = safe.silent(default=False)(failed) if failed else _nothing

    def around(arguments, named):
        return _Around(begin(arguments, named), done, failed)

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def wrapper(*arguments, **named):
            with around(arguments, named) as call:
                call.result = await function(*arguments, **named)
                return call.result

    elif inspect.isasyncgenfunction(function):

        @functools.wraps(function)
        async def wrapper(*arguments, **named):
            with around(arguments, named) as call:
                items, call.result = function(*arguments, **named), Yielded(0)
                try:
                    item = await items.__anext__()
                    while True:
                        call.result.count += 1
                        try:
                            given = yield item
                        except GeneratorExit:
                            await items.aclose()
                            raise
                        except BaseException as error:
                            item = await items.athrow(error)
                        else:
                            item = await items.asend(given)
                except StopAsyncIteration:
                    pass

    elif inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def wrapper(*arguments, **named):
            with around(arguments, named) as call:
                call.result = Yielded(None)
                return (yield from function(*arguments, **named))

    else:

        @functools.wraps(function)
        def wrapper(*arguments, **named):
            with around(arguments, named) as call:
                call.result = function(*arguments, **named)
                return call.result

    return wrapper


class _Around:
    """One call: what is done after it, and if it fails."""

    __slots__ = ("result", "_call", "_done", "_failed")

    def __init__(self, call, done, failed):
        self.result, self._call, self._done, self._failed = None, call, done, failed

    def __enter__(self):
        return self

    def __exit__(self, _kind, error, _trace):
        if error is not None:
            return bool(self._failed(self._call, error))
        self._done(self._call, self.result)
        return False


def inner(function):
    """Returns the function within a static or class method or a `partial`."""
    while True:
        next_one = getattr(function, "__func__", None) or getattr(function, "func", None)
        if next_one is None:
            return function
        function = next_one


def name_of(function):
    """Returns the function's name with that of its class."""
    function = inner(function)
    return getattr(function, "__qualname__", type(function).__qualname__).replace(".<locals>", "")


def module_of(function):
    """Returns the name of the function's module."""
    return getattr(inner(function), "__module__", None) or "python"


def parameters_of(function):
    """Returns the function's signature, or `None` if it has none."""
    try:
        return inspect.signature(inner(function))
    except (TypeError, ValueError):
        return None


class Yielded:
    """What a generator gave: how many items, where that is known."""

    def __init__(self, count):
        self.count = count


def _nothing(*_):
    return None
