"""Begins and ends monitoring."""

import logging

from . import errors, remote, safe, settings
from .alerts import alert_manager
from .client import client
from .logs import WatchfireHandler

_handler = WatchfireHandler()


@safe.silent(default=False)
def initialize_monitoring(config_file=None, **arguments):
    """Begins to send to the host; returns whether the settings were right. If not, says what is wrong, and the application goes on
    without monitoring. Whether the host is there does not matter: what is said meanwhile waits.

    `arguments` are `url`, `token`, `service` and the other settings; they come before the environment (`WATCHFIRE_URL`,
    `WATCHFIRE_TOKEN`, `OTEL_SERVICE_NAME`, `MONITORING_LOG_LEVEL`, `MONITORING_COLLECTION_INTERVAL`), and that before the file.
    """
    try:
        chosen = settings.load(config_file, **arguments)
    except settings.SettingsError as error:
        safe.log.error("monitoring does not start: %s", error)
        return False
    client.start(chosen)
    if chosen.auto_capture:
        errors.install_hooks()
    else:
        errors.remove_hooks()
    root = logging.getLogger()
    if chosen.capture_logging and _handler not in root.handlers:
        root.addHandler(_handler)
    elif not chosen.capture_logging:
        root.removeHandler(_handler)
    return True


@safe.silent(default=False)
def flush(timeout=None):
    """Sends what waits; returns whether all of it went within `timeout` seconds."""
    return client.flush(timeout)


@safe.silent(default=False)
def shutdown_monitoring(timeout=None):
    """Sends what waits and ends; runs by itself when the program ends. Returns whether all of it went."""
    errors.remove_hooks()
    logging.getLogger().removeHandler(_handler)
    return client.shutdown(timeout)


@safe.silent(default=dict)
def get_monitoring_components():
    """Returns how each part is doing: of the client in this process, and of the host (`host`, whose `error` says why it cannot be
    asked)."""
    host = remote.ask_object("/api/v1/status")
    about = {"state": host.get("state", "unreachable"), "error": host.error, "version": host.get("version"), "parts": host.get("parts", [])}
    return {"client": client.view(), "alert_manager": alert_manager.view(), "host": about}
