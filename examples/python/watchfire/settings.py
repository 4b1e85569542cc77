"""What the client needs to know: from arguments, the environment, a configuration file, and defaults, in this order.

The file is the specification's `monitoring_config.json`, the same that the host reads; of it, the client takes `logging`,
`performance` and `error_tracking`.
"""

import json
import os
import pathlib
import socket
import sys
from dataclasses import dataclass, field, fields
from urllib.parse import unquote, urlsplit

LEVELS = {"DEBUG": 10, "INFO": 20, "WARN": 30, "WARNING": 30, "ERROR": 40, "CRITICAL": 50, "FATAL": 50}


class SettingsError(Exception):
    """A setting is wrong: says which, where it was given, and what to do."""


@dataclass
class Settings:
    """All settings with their defaults."""

    # Where the host is. It takes everything on one port.
    url: str = "http://127.0.0.1:3473"
    # Where logs and metrics go, if that is another program that takes OTLP; empty: the host.
    otlp_endpoint: str = ""
    # Headers for it.
    otlp_headers: dict = field(default_factory=dict)
    # Needed by a host that listens beyond loopback.
    token: str = ""
    # A file with the certificates to trust, for `https`; empty: the machine's.
    ca_file: str = ""
    # `service.name` of all that is sent.
    service: str = ""
    # Further attributes of the process, such as `deployment.environment`.
    resource: dict = field(default_factory=dict)
    # Least level that is sent.
    level: int = LEVELS["INFO"]
    # Whether fields are appended to the message that the standard library's handlers are given.
    structured_format: bool = True
    # Whether error records carry the stack trace of the exception being handled.
    include_stack_trace: bool = True
    # Seconds between two measurements of this process.
    collection_interval: float = 30.0
    # Whether the process is measured at all.
    auto_start: bool = True
    # Whether exceptions that nobody handles are captured.
    auto_capture: bool = True
    # Whether records of the standard library's `logging` are sent too. It adds a handler to the root logger, after which
    # `logging.basicConfig` does nothing; therefore off.
    capture_logging: bool = False
    # Most records that wait, and most bytes.
    queue_records: int = 10_000
    queue_bytes: int = 32 << 20
    # Most series of metrics that are kept.
    max_series: int = 2_000
    # Seconds after which what waits is sent, at the latest; for logs and for metrics.
    flush_interval: float = 1.0
    metrics_interval: float = 10.0
    # Seconds that one request may take, and that everything may take at exit.
    timeout: float = 10.0
    shutdown_timeout: float = 5.0

    @property
    def is_loopback(self):
        """Whether the host is on this machine: then nothing is compressed."""
        return (urlsplit(self.otlp_endpoint or self.url).hostname or "") in ("127.0.0.1", "localhost", "::1")


# Keys of the specification's file: section, key, ours.
_FILE_KEYS = [
    ("logging", "level", "level"),
    ("logging", "structured_format", "structured_format"),
    ("logging", "include_stack_trace", "include_stack_trace"),
    ("performance", "collection_interval", "collection_interval"),
    ("performance", "auto_start", "auto_start"),
    ("error_tracking", "auto_capture", "auto_capture"),
]

_ENVIRONMENT = [
    ("WATCHFIRE_URL", "url"),
    ("WATCHFIRE_TOKEN", "token"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "otlp_endpoint"),
    ("OTEL_EXPORTER_OTLP_CERTIFICATE", "ca_file"),
    ("OTEL_SERVICE_NAME", "service"),
    ("MONITORING_LOG_LEVEL", "level"),
    ("MONITORING_COLLECTION_INTERVAL", "collection_interval"),
]


def load(config_file=None, **arguments):
    """Returns the settings; raises `SettingsError`, which says everything that is wrong."""
    values, problems = {}, []
    if config_file is not None:
        _take_file(pathlib.Path(config_file), values, problems)
    for name, key in _ENVIRONMENT:
        if os.environ.get(name):
            _take(values, problems, key, os.environ[name], name)
    resource = _pairs("OTEL_RESOURCE_ATTRIBUTES")
    values["otlp_headers"] = _pairs("OTEL_EXPORTER_OTLP_HEADERS")
    for key, value in arguments.items():
        _take(values, problems, key, value, f"initialize_monitoring({key}=…)")
    values["resource"] = {**resource, **values.get("resource", {})}
    values["service"] = values.get("service") or values["resource"].get("service.name") or _program()
    values["resource"].pop("service.name", None)
    for key in ("url", "otlp_endpoint"):
        address = values.get(key)
        if address and not _is_url(address):
            problems.append(f"{key}: `{address}` is no http or https URL; write for example {Settings.url}")
    if problems:
        raise SettingsError("; ".join(problems))
    return Settings(**values)


def _take_file(path, values, problems):
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}")
        return
    try:
        document = json.loads(text)
    except ValueError as error:
        problems.append(f"{path}: is no JSON: {error}")
        return
    for section, key, ours in _FILE_KEYS:
        table = document.get(section, {}) if isinstance(document, dict) else None
        if not isinstance(table, dict):
            problems.append(f"{path}: {section if isinstance(document, dict) else 'the whole'}: expected an object")
            return
        if key in table:
            _take(values, problems, ours, table[key], f"{path}: {section}.{key}")


def _take(values, problems, key, value, place):
    kinds = {one.name: one for one in fields(Settings)}
    if key not in kinds:
        problems.append(f"{place}: there is no such setting; there are {', '.join(sorted(kinds))}")
        return
    try:
        values[key] = _converted(key, value, type(getattr(Settings(), key)))
    except ValueError as error:
        problems.append(f"{place}: {error}")


def _converted(key, value, kind):
    if key == "level":
        level = LEVELS.get(str(value).strip().upper()) or (value if value in LEVELS.values() else None)
        if level is None:
            raise ValueError(f"`{value}` is none of DEBUG, INFO, WARNING, ERROR, CRITICAL")
        return level
    if kind is bool:
        word = str(value).strip().lower()
        if word not in ("true", "false", "1", "0", "yes", "no"):
            raise ValueError(f"expected true or false, found `{value}`")
        return word in ("true", "1", "yes")
    if kind in (int, float):
        number = seconds(value)
        if not 0 < number < 1e12:
            raise ValueError(f"expected a number above 0, found `{value}`")
        return kind(number)
    if not isinstance(value, kind):
        raise ValueError(f"expected {kind.__name__}, found `{value}`")
    return value


def seconds(value):
    """Returns a number, or the seconds of a duration as the host writes them: 30, "30", "30s", "5m"."""
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
    text = str(value).strip().lower()
    for unit in ("ms", "s", "m", "h", "d"):
        if text.endswith(unit):
            return float(text[: -len(unit)]) * units[unit]
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"expected a number of seconds or a duration such as 5m, found `{value}`") from None


def _is_url(text):
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _pairs(variable):
    pairs = (pair.partition("=") for pair in os.environ.get(variable, "").split(","))
    return {key.strip(): unquote(value.strip()) for key, _, value in pairs if key.strip() and value.strip()}


def _program():
    main = getattr(sys.modules.get("__main__"), "__spec__", None)
    if main is not None and main.name:
        return main.name.removesuffix(".__main__").rpartition(".")[2]
    return pathlib.Path(sys.argv[0] if sys.argv else "").stem or "python"


def hostname():
    """Returns the name of this machine."""
    try:
        return socket.gethostname()
    except OSError:
        return ""
