"""Logs, metrics, errors and alerts for a Python application, by way of a watchfire host.

Standard library only. Nothing here waits for the network or raises into the application. `watchfire.monitoring` has the same under
the module names of the specification.
"""

from .alerts import Alert, AlertLevel, AlertManager, AlertRule, alert_manager, create_error_rule, create_log_rule, create_metric_rule
from .analysis import LogAnalyzer, log_analyzer
from .channels import NotificationChannel
from .decorators import monitor_api_request, monitor_database_operation, monitor_execution, monitor_task_execution
from .errors import ErrorSeverity, ErrorTracker, capture_exception, error_tracker, track_errors
from .initializer import flush, get_monitoring_components, initialize_monitoring, shutdown_monitoring
from .logs import StructuredLogger, WatchfireHandler, get_logger
from .monitor import (
    PerformanceMonitor,
    get_system_health,
    increment_counter,
    performance_monitor,
    record_histogram,
    record_timer,
    set_gauge,
)

__version__ = "0.1.0"

# The specification has these as methods; as functions they are at hand, too.
get_error_statistics = error_tracker.get_error_statistics
add_rule = alert_manager.add_rule
get_active_alerts = alert_manager.get_active_alerts
add_notification_channel = alert_manager.add_notification_channel
get_top_patterns = log_analyzer.get_top_patterns
get_recent_anomalies = log_analyzer.get_recent_anomalies
search_logs = log_analyzer.search_logs
generate_analysis_report = log_analyzer.generate_analysis_report

__all__ = [name for name in dir() if not name.startswith("_")]
