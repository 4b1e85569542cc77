"""Measures this process: the specification's `process_memory_mb` and `process_cpu_percent`, and what tells a leak."""

import os
import sys
import threading
import time


class Meter:
    """Measures, each time from the last time on."""

    def __init__(self):
        self._last = None

    def measure(self, metrics):
        """Sets the gauges. The specification's names are there from the beginning."""
        for name in ("total_requests", "error_count"):
            metrics.add(name, 0)
        metrics.change("active_requests", 0)
        memory = memory_bytes()
        if memory is not None:
            metrics.set("process_memory_mb", round(memory / 2**20, 3))
        used, now = sum(os.times()[:2]), time.monotonic()
        if self._last is not None and now > self._last[1]:
            metrics.set("process_cpu_percent", round(100 * (used - self._last[0]) / (now - self._last[1]), 2))
        self._last = (used, now)
        metrics.set("process_threads", threading.active_count())


def memory_bytes():
    """Returns the memory that this process holds; its peak where nothing better is known; `None` where nothing is."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        pass
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
