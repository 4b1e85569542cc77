"""Asks the host. An answer is always a list or an object; where there is none, its `error` says why."""

import logging
from urllib.parse import urlencode

from . import safe
from .client import client
from .http import Refused, Unreachable


def encoded(parameters):
    """Returns the parameters of a question, without those that are `None` or empty."""
    return urlencode([(key, value) for key, value in parameters.items() if value not in (None, "")], doseq=True)


class Rows(list):
    """A list from the host; `error` says why it is empty if the host could not be asked, `truncated` that there are more."""

    error = None
    truncated = False


class Facts(dict):
    """An object from the host; `error` says why it is empty if the host could not be asked."""

    error = None


def ask(path, parameters=None, timeout=None):
    """Returns the answer and why there is none."""
    try:
        return client.request("get", path, parameters, timeout), None
    except (Refused, Unreachable) as error:
        safe.say(logging.WARNING, f"ask {path}", "cannot ask the host for %s: %s", path, error)
        return {}, str(error)
    except Exception as error:
        safe.failures["ask"] += 1
        return {}, f"{type(error).__name__}: {error}"


def ask_list(path, parameters, key, make=None):
    """Returns the list under `key` of the answer."""
    answer, error = ask(path, parameters)
    items = answer.get(key, []) if isinstance(answer, dict) else []
    rows = Rows(make(item) for item in items) if make else Rows(items)
    rows.error, rows.truncated = error, bool(isinstance(answer, dict) and answer.get("truncated"))
    return rows


def ask_object(path, parameters=None):
    """Returns the answer."""
    answer, error = ask(path, parameters)
    facts = Facts(answer if isinstance(answer, dict) else {})
    facts.error = error
    return facts


def ask_text(path, parameters=None):
    """Returns the answer as text; empty if the host cannot be asked, which is logged."""
    try:
        return client.request("get_text", path, parameters).decode("utf-8", "replace")
    except (Refused, Unreachable) as error:
        safe.say(logging.WARNING, f"ask {path}", "cannot ask the host for %s: %s", path, error)
        return ""
