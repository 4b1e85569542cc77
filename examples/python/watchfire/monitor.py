"""Counters, gauges and timers, and how the machine is."""

from . import remote, safe
from .client import client


@safe.silent()
def increment_counter(name, value=1, labels=None):
    """Adds `value` to a counter."""
    client.metrics.add(name, value, labels)


@safe.silent()
def set_gauge(name, value, labels=None):
    """Sets a gauge."""
    client.metrics.set(name, value, labels)


@safe.silent()
def record_timer(name, milliseconds, labels=None):
    """Records how long something took, in milliseconds."""
    client.metrics.record(name, milliseconds, labels)


@safe.silent()
def record_histogram(name, value, labels=None, unit=""):
    """Records one value of a distribution."""
    client.metrics.record(name, value, labels, unit)


class PerformanceMonitor:
    """What this process measures, and how the machine is according to the host."""

    increment_counter = staticmethod(increment_counter)
    set_gauge = staticmethod(set_gauge)
    record_timer = staticmethod(record_timer)
    record_histogram = staticmethod(record_histogram)

    def get_system_health(self):
        """Returns how the machine is: `status` (`healthy`, `warning`, `critical`, `unknown`), `cpu_percent`, `memory_percent`,
        `disk_usage_percent`, `process_count`, `network_io`, `alerts_firing`, `reasons`. Where the host cannot be asked, `status` is
        `unknown`, and `reasons` say why."""
        health = remote.ask_object("/api/v1/health")
        if health.error:
            health.update(status="unknown", reasons=[health.error])
        return health

    def query(self, name, labels=None, since="1h", limit=None):
        """Returns the samples of a metric: of each series its labels and points."""
        pairs = [f"{key}={value}" for key, value in (labels or {}).items()]
        return remote.ask_object("/api/v1/metrics/query", {"name": name, "label": pairs or None, "since": since, "limit": limit})


performance_monitor = PerformanceMonitor()


def get_system_health():
    """Returns how the machine is."""
    return performance_monitor.get_system_health()
