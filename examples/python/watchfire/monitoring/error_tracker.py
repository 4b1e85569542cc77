"""The specification's `src.monitoring.error_tracker`."""

from ..errors import ErrorSeverity, ErrorTracker, capture_exception, error_tracker, track_errors

__all__ = ["ErrorSeverity", "ErrorTracker", "capture_exception", "error_tracker", "track_errors"]
