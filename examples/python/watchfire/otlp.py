"""Records and metrics as OTLP has them, in its JSON."""

import math
import os
import sys

from .settings import hostname

# Bytes kept of a text; a longer one is cut and says so.
MAX_TEXT = 64 << 10
# Attributes of a record, members of a list or an object, and how deep they may lie.
MAX_ITEMS = 128
MAX_DEPTH = 6
# OpenTelemetry's severity numbers of the standard library's levels.
SEVERITIES = [(50, 21, "CRITICAL"), (40, 17, "ERROR"), (30, 13, "WARNING"), (20, 9, "INFO"), (10, 5, "DEBUG")]


def severity(level):
    """Returns number and name of a level of the standard library."""
    for least, number, name in SEVERITIES:
        if level >= least:
            return number, name
    return 1, "TRACE"


def text(value):
    """Returns any object as text, whatever its `__str__` does."""
    try:
        value = value if type(value) is str else str(value)
    except Exception:
        value = f"<{type(value).__name__} whose text cannot be had>"
    return value if len(value) <= MAX_TEXT else f"{value[:MAX_TEXT]}… ({len(value)} characters)"


def any_value(value, depth=0):
    """Returns an `AnyValue` that holds a copy of `value`."""
    kind = type(value)
    if kind is str:
        return {"stringValue": text(value)}
    if kind is bool:
        return {"boolValue": value}
    if kind is int and -(2**63) <= value < 2**63:
        return {"intValue": str(value)}
    if kind is float and math.isfinite(value):
        return {"doubleValue": value}
    if value is None:
        return {}
    if depth < MAX_DEPTH:
        if isinstance(value, dict):
            return {"kvlistValue": {"values": attributes(value, depth + 1)}}
        if isinstance(value, (list, tuple, set, frozenset)):
            return {"arrayValue": {"values": [any_value(item, depth + 1) for item in list(value)[:MAX_ITEMS]]}}
    return {"stringValue": text(value)}


def attributes(mapping, depth=0):
    """Returns a list of `KeyValue`."""
    return [{"key": text(key), "value": any_value(value, depth)} for key, value in list(mapping.items())[:MAX_ITEMS]]


def resource(settings):
    """Returns the resource of this process."""
    host = hostname()
    about = {
        "service.name": settings.service,
        # Tells the processes of a service apart, and stays the same in a container that is started again.
        "service.instance.id": f"{host}:{os.getpid()}",
        "host.name": host,
        "process.pid": os.getpid(),
        "process.runtime.name": sys.implementation.name,
        "process.runtime.version": ".".join(map(str, sys.version_info[:3])),
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "watchfire",
    }
    return {"attributes": attributes({**about, **settings.resource})}


def logs(about, records):
    """Returns an `ExportLogsServiceRequest`; `records` are pairs of a scope (the logger's name) and a record."""
    scopes = {}
    for scope, record in records:
        scopes.setdefault(scope, []).append(record)
    scope_logs = [{"scope": {"name": name}, "logRecords": some} for name, some in scopes.items()]
    return {"resourceLogs": [{"resource": about, "scopeLogs": scope_logs}]}


def metrics(about, all_metrics):
    """Returns an `ExportMetricsServiceRequest`."""
    return {"resourceMetrics": [{"resource": about, "scopeMetrics": [{"scope": {"name": "watchfire"}, "metrics": all_metrics}]}]}
