"""The specification's `src.monitoring.monitor`."""

from ..monitor import PerformanceMonitor, increment_counter, performance_monitor, record_histogram, record_timer, set_gauge

__all__ = ["PerformanceMonitor", "increment_counter", "performance_monitor", "record_histogram", "record_timer", "set_gauge"]
