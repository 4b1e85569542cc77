"""The specification's `src.monitoring.initializer`."""

from ..initializer import flush, get_monitoring_components, initialize_monitoring, shutdown_monitoring

__all__ = ["flush", "get_monitoring_components", "initialize_monitoring", "shutdown_monitoring"]
