"""The specification's `src.monitoring.logger`."""

from ..logs import StructuredLogger, WatchfireHandler, get_logger

__all__ = ["StructuredLogger", "WatchfireHandler", "get_logger"]
