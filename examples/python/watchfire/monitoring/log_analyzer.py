"""The specification's `src.monitoring.log_analyzer`."""

from ..analysis import LogAnalyzer, log_analyzer

__all__ = ["LogAnalyzer", "log_analyzer"]
