"""What the host finds in the log, and analyzers of the application's own."""

import logging

from . import remote, safe
from .client import client
from .pull import WAIT, Puller


class LogAnalyzer:
    """Asks for patterns, anomalies, records and reports. A subclass that has `_custom_analysis` is an analyzer: after `start` it is
    called with `self.records` set to the next records of the log, each of them once, and calls `report_finding` for what it finds."""

    # Which records it is shown: words and conditions of a search, least level, services; and whether from the log's beginning.
    query = ""
    level = None
    services = ()
    from_start = False

    def __init__(self, name=None):
        self.name = name or type(self).__name__
        self.records = []
        self._findings = []
        self._runner = None

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

    def get_findings(self, limit=100):
        """Returns what this analyzer has found, the newest first."""
        return remote.ask_list("/api/v1/findings", {"plugin": f"pull:{self.name}", "limit": limit}, "findings")

    def generate_analysis_report(self, hours=24, format="json", lang="en"):
        """Returns a report of the last hours: an object, or text with `format="markdown"` or `"html"`."""
        parameters = {"hours": hours, "format": format, "lang": lang}
        return remote.ask_object("/api/v1/report", parameters) if format == "json" else remote.ask_text("/api/v1/report", parameters)

    # -- analyzers of the application's own

    def _custom_analysis(self):
        """Looks at `self.records`. What it raises is logged; the same records come again then."""

    def report_finding(self, rule, title="", message="", level="warning", key="", records=(), labels=None, score=1.0, count=1):
        """Notes what was found; it is stored together with how far the log has been read. `key` is equal for what is one ongoing thing,
        and `records` are those that it is about."""
        finding = {"rule": rule, "title": title, "message": message, "level": level, "dedupe_key": key, "score": score, "count": count}
        seqs, labels = [record["seq"] for record in records], {str(name): str(value) for name, value in (labels or {}).items()}
        self._findings.append({**finding, "seqs": seqs, "labels": labels})

    @safe.silent(default=False)
    def start(self):
        """Begins to read the log where this analyzer, by its name, has stopped; returns whether there is something to call."""
        if type(self)._custom_analysis is LogAnalyzer._custom_analysis:
            safe.say(logging.WARNING, f"start {self.name}", "`%s` has no `_custom_analysis`: there is nothing to start", self.name)
            return False
        if self._runner is None:
            self._runner = _AnalyzerRunner(self)
            client.companions.append(self._runner)
            self._runner.start()
        return True

    @safe.silent()
    def stop(self):
        """Ends."""
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.stop()
            if runner in client.companions:
                client.companions.remove(runner)

    def view(self):
        """Returns how it does."""
        return self._runner.view() if self._runner else {"running": False}


class _AnalyzerRunner(Puller):
    """Fetches records for an analyzer."""

    kind = "consumers"

    def __init__(self, analyzer):
        super().__init__(analyzer.name)
        self._analyzer = analyzer

    def once(self, post):
        """Waits for records, shows them, and stores what was found together with the cursor."""
        analyzer = self._analyzer
        wanted = {"q": analyzer.query, "level": analyzer.level, "service": list(analyzer.services) or None}
        parameters = remote.encoded({**wanted, "from": "start" if analyzer.from_start else "end", "wait": WAIT})
        batch = post("poll", {}, parameters, timeout=WAIT + 10)
        if batch["cursor"] == batch["after"]:
            return
        analyzer.records, analyzer._findings = batch["records"], []
        try:
            if batch["records"]:
                analyzer._custom_analysis()
            findings = analyzer._findings[:1000]
        finally:
            analyzer.records, analyzer._findings = [], []
        post("acknowledge", {"after": batch["after"], "cursor": batch["cursor"], "findings": findings})
        self.done += len(batch["records"])


log_analyzer = LogAnalyzer()
