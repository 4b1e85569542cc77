"""The specification's `src.monitoring.integration`."""

from ..decorators import monitor_api_request, monitor_database_operation, monitor_execution, monitor_task_execution

__all__ = ["monitor_api_request", "monitor_database_operation", "monitor_execution", "monitor_task_execution"]
