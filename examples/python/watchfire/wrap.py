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

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def wrapper(*arguments, **named):
            call = begin(arguments, named)
            try:
                result = await function(*arguments, **named)
            except BaseException as error:
                if failed(call, error):
                    return None
                raise
            done(call, result)
            return result

    elif inspect.isasyncgenfunction(function):

        @functools.wraps(function)
        async def wrapper(*arguments, **named):
            call, inner, count = begin(arguments, named), function(*arguments, **named), 0
            try:
                item = await inner.__anext__()
                while True:
                    count += 1
                    try:
                        given = yield item
                    except GeneratorExit:
                        await inner.aclose()
                        raise
                    except BaseException as error:
                        item = await inner.athrow(error)
                    else:
                        item = await inner.asend(given)
            except StopAsyncIteration:
                done(call, Yielded(count))
            except BaseException as error:
                if not failed(call, error):
                    raise

    elif inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def wrapper(*arguments, **named):
            call = begin(arguments, named)
            try:
                result = yield from function(*arguments, **named)
            except BaseException as error:
                if failed(call, error):
                    return None
                raise
            done(call, Yielded(None))
            return result

    else:

        @functools.wraps(function)
        def wrapper(*arguments, **named):
            call = begin(arguments, named)
            try:
                result = function(*arguments, **named)
            except BaseException as error:
                if failed(call, error):
                    return None
                raise
            done(call, result)
            return result

    return wrapper


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
