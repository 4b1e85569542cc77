"""What the host finds in the log. Analyzers of the application's own are subclasses of `LogAnalyzer`."""

from . import logs, remote, safe


class LogAnalyzer:
    """Asks for patterns, anomalies, records and reports."""

    def get_top_patterns(self, limit=10, hours=24, service=None):
        """Returns the most frequent patterns of log lines: `template`, `count`, `share`, `service`, `sample` and others."""
        return remote.ask_list("/api/v1/patterns", {"limit": limit, "since": f"{hours}h", "service": service}, "patterns")

    def get_recent_anomalies(self, hours=24, limit=None):
        """Returns what was unusual: `title`, `message`, `since`, `until`, `evidence` with what was expected, and others."""
        return remote.ask_list("/api/v1/anomalies", {"hours": hours, "limit": limit}, "anomalies")

    def search_logs(self, query="", level=None, hours=1, limit=100, service=None):
        """Returns log records, the newest first. `query` is words, phrases and conditions such as `duration_ms>250`."""
        parameters = {"q": query, "level": level, "since": f"{hours}h", "limit": limit, "service": service}
        return remote.ask_list("/api/v1/logs", parameters, "records")

    def generate_analysis_report(self, hours=24, format="json", lang="en"):
        """Returns a report of the last hours: an object, or text with `format="markdown"` or `"html"`."""
        parameters = {"hours": hours, "format": format, "lang": lang}
        return remote.ask_object("/api/v1/report", parameters) if format == "json" else remote.ask_text("/api/v1/report", parameters)


log_analyzer = LogAnalyzer()
