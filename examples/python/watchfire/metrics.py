"""Counters, gauges and timers of this process, cumulative, as they are exported."""

import bisect
import math
import threading
import time

from . import otlp

# Milliseconds: OpenTelemetry's default bounds, with two more above for tasks.
BOUNDS = [1, 2.5, 5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10000, 30000, 60000]
COUNTER, GAUGE, TIMER = "counter", "gauge", "timer"


class _Timer:
    __slots__ = ("buckets", "count", "greatest", "least", "sum")

    def __init__(self):
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.count, self.sum, self.least, self.greatest = 0, 0.0, math.inf, -math.inf

    def record(self, value):
        self.buckets[bisect.bisect_left(BOUNDS, value)] += 1
        self.count += 1
        self.sum += value
        self.least, self.greatest = min(self.least, value), max(self.greatest, value)


class Registry:
    """All series, bounded in number; what would be one more is dropped and counted."""

    def __init__(self, max_series):
        self.max_series = max_series
        self.clear()

    def clear(self):
        """Begins anew: in a child process."""
        self._lock = threading.RLock()
        self._series = {}
        self._kinds = {}
        self._units = {}
        self._started = time.time_ns()
        self.dropped = 0

    def add(self, name, value=1, labels=None):
        """Adds to a counter."""
        self._change(COUNTER, name, value, labels)

    def set(self, name, value, labels=None):
        """Sets a gauge."""
        self._change(GAUGE, name, value, labels)

    def change(self, name, by, labels=None):
        """Moves a gauge."""
        self._change(GAUGE, name, by, labels, moves=True)

    def record(self, name, milliseconds, labels=None, unit="ms"):
        """Records one value of a histogram."""
        self._change(TIMER, name, milliseconds, labels, unit=unit)

    def _change(self, kind, name, value, labels, moves=False, unit=""):
        value, name = value if type(value) is int else float(value), str(name)
        if not math.isfinite(value) or (kind == COUNTER and value < 0):
            raise ValueError(f"metric `{name}`: {value} cannot be counted")
        key = (name, tuple(sorted((otlp.text(k), otlp.text(v)) for k, v in labels.items())) if labels else ())
        with self._lock:
            if self._kinds.get(name, kind) != kind:
                raise ValueError(f"metric `{name}` is a {self._kinds[name]}, and cannot be a {kind} too")
            series = self._series.get(key)
            if series is None:
                if len(self._series) >= self.max_series:
                    self.dropped += 1
                    return
                series = self._series[key] = _Timer() if kind == TIMER else [0]
                self._kinds[name], self._units[name] = kind, unit
            if kind == TIMER:
                series.record(value)
            elif kind == COUNTER or moves:
                series[0] += value
            else:
                series[0] = value

    def __len__(self):
        return len(self._series)

    def snapshot(self):
        """Returns the metrics as OTLP has them."""
        now, started = str(time.time_ns()), str(self._started)
        grouped = {}
        with self._lock:
            for (name, labels), series in self._series.items():
                kind = self._kinds[name]
                point = {"timeUnixNano": now, "attributes": otlp.attributes(dict(labels))}
                if kind != GAUGE:
                    point["startTimeUnixNano"] = started
                if kind == TIMER:
                    point |= {"count": str(series.count), "sum": series.sum, "min": series.least, "max": series.greatest}
                    point |= {"bucketCounts": [str(count) for count in series.buckets], "explicitBounds": BOUNDS}
                elif type(series[0]) is int and abs(series[0]) < 2**63:
                    point["asInt"] = str(series[0])
                else:
                    point["asDouble"] = float(series[0])
                grouped.setdefault((name, kind), []).append(point)
        return [self._metric(name, kind, points) for (name, kind), points in grouped.items()]

    def _metric(self, name, kind, points):
        if kind == GAUGE:
            return {"name": name, "gauge": {"dataPoints": points}}
        if kind == COUNTER:
            return {"name": name, "sum": {"dataPoints": points, "aggregationTemporality": 2, "isMonotonic": True}}
        return {"name": name, "unit": self._units[name], "histogram": {"dataPoints": points, "aggregationTemporality": 2}}
