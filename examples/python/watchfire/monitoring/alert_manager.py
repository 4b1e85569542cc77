"""The specification's `src.monitoring.alert_manager`."""

from ..alerts import Alert, AlertLevel, AlertManager, AlertRule, alert_manager, create_error_rule, create_log_rule, create_metric_rule
from ..channels import NotificationChannel

__all__ = [
    "Alert",
    "AlertLevel",
    "AlertManager",
    "AlertRule",
    "NotificationChannel",
    "alert_manager",
    "create_error_rule",
    "create_log_rule",
    "create_metric_rule",
]
