"""Rules, which the host evaluates, and alerts. Channels of the application's own are in `channels`."""

import enum
import logging
import threading
from dataclasses import dataclass, field
from urllib.parse import quote

from . import remote, safe
from .channels import ChannelRunner
from .client import client
from .http import Refused, Unreachable
from .settings import seconds


class AlertLevel(enum.Enum):
    """How serious an alert is."""

    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"
    CRITICAL = "CRITICAL"


@dataclass(frozen=True)
class Alert:
    """An alert as the host tells of it."""

    name: str
    level: AlertLevel
    # `pending`, `firing` or `resolved`.
    state: str
    message: str
    condition: str
    value: float | None
    threshold: float
    labels: dict
    annotations: dict
    fingerprint: str
    since: str
    resolved_at: str | None = None
    # All that the host said.
    raw: dict = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def read(cls, raw):
        """Returns the alert that is meant by an object of the API or of a notification."""
        annotations = raw.get("annotations") or {}
        level = str(raw.get("level", "WARNING")).upper()
        return cls(
            name=raw.get("rule", ""),
            level=AlertLevel(level) if level in AlertLevel.__members__ else AlertLevel.WARNING,
            state=raw.get("state") or raw.get("status") or "firing",
            message=annotations.get("summary") or annotations.get("description") or f"{raw.get('rule', '')}: {raw.get('condition', '')}",
            condition=raw.get("condition", ""),
            value=raw.get("value"),
            threshold=raw.get("threshold", 0.0),
            labels=raw.get("labels") or {},
            annotations=annotations,
            fingerprint=raw.get("fingerprint", ""),
            since=raw.get("since") or raw.get("starts_at") or "",
            resolved_at=raw.get("resolved_at") or raw.get("ends_at"),
            raw=raw,
        )


    @classmethod
    def of_notification(cls, raw):
        """Returns the alert that a notification tells of: in Alertmanager's shape, with the host's fields beside."""
        labels, ended = raw.get("labels") or {}, raw.get("endsAt")
        firing = raw.get("status") == "firing"
        about = {"rule": raw.get("rule") or labels.get("alertname", ""), "state": raw.get("status"), "since": raw.get("startsAt")}
        return cls.read({**raw, **about, "resolved_at": None if firing else ended})


@dataclass
class AlertRule:
    """A rule in the host's terms; `definition` is what `POST /api/v1/rules` takes."""

    definition: dict
    # `new`, `queued`, `added`, `refused`.
    state: str = "new"
    # Why it was refused.
    error: str | None = None
    _settled: threading.Event = field(default_factory=threading.Event, repr=False, compare=False)

    @property
    def name(self):
        """The rule's name."""
        return self.definition["name"]


def create_metric_rule(name, metric_name, threshold, level=AlertLevel.WARNING, comparison=">", labels=None, **more):
    """Returns a rule that holds while a metric is above `threshold`: of every series whose labels are `labels`. `more` are keys of the
    host's rules: `window`, `aggregate`, `cooldown`, `receiver`, `annotations` and others; `for_` is its `for`."""
    condition = {"metric": metric_name, "comparison": comparison, "threshold": threshold}
    return _rule(name, level, condition | ({"match": labels} if labels else {}), more)


def create_error_rule(name, threshold, level=AlertLevel.ERROR, service=None, error_type=None, window=300, **more):
    """Returns a rule that holds while there were more than `threshold` errors of this service within `window` seconds; of every service
    with `service="*"`."""
    service = client.settings.service if service is None else service
    errors = {} if service == "*" else {"service": service}
    condition = {"errors": errors | ({"type": error_type} if error_type else {}), "threshold": threshold, "window": window}
    return _rule(name, level, condition, more)


def create_log_rule(name, text, threshold=0, level=AlertLevel.WARNING, service=None, window=300, **more):
    """Returns a rule that holds while more than `threshold` records match `text`, which is a query, within `window` seconds."""
    logs = {"text": text} | ({"service": service} if service else {})
    return _rule(name, level, {"logs": logs, "threshold": threshold, "window": window}, more)


def _rule(name, level, condition, more):
    more = {key.removesuffix("_"): value for key, value in more.items()}
    return AlertRule({"name": name, "level": getattr(level, "value", str(level)), **condition, **more})


class AlertManager:
    """Adds rules, asks for alerts, and lets the application itself be told of them."""

    def __init__(self):
        self._rules = {}
        self._channels = {}

    @safe.silent(default=False)
    def add_rule(self, rule, wait=0.0):
        """Hands a rule to the host, in the background: it is tried until the host takes it or refuses it for good, which is logged.
        A rule of the same name from an earlier run is replaced. With `wait` seconds, returns whether it was taken by then."""
        self._rules[rule.name] = rule
        rule.state = "queued"
        rule._settled.clear()
        client.later(lambda: self._rules.get(rule.name) is not rule or _post(rule))
        if wait:
            rule._settled.wait(wait)
            return rule.state == "added"
        return True

    @safe.silent(default=False)
    def remove_rule(self, name):
        """Deletes a rule; its alerts resolve."""
        self._rules.pop(name, None)
        client.request("delete", f"/api/v1/rules/{quote(name, safe='')}")
        return True

    @property
    def rules(self):
        """The rules that this process has added, by name."""
        return dict(self._rules)

    def get_active_alerts(self):
        """Returns the alerts that fire."""
        return remote.ask_list("/api/v1/alerts", {"state": "firing"}, "alerts", Alert.read)

    def get_alerts(self, state=None, limit=100):
        """Returns alerts, also those that have resolved."""
        return remote.ask_list("/api/v1/alerts", {"state": state, "limit": limit}, "alerts", Alert.read)

    @safe.silent()
    def add_notification_channel(self, name, channel):
        """Lets `channel` deliver the notifications of the host's pull channel `name`, until the process ends."""
        self.remove_notification_channel(name)
        runner = self._channels[name] = ChannelRunner(name, channel, Alert.of_notification)
        client.companions.append(runner)
        runner.start()

    @safe.silent()
    def remove_notification_channel(self, name):
        """Stops a channel; what it has not delivered waits at the host."""
        runner = self._channels.pop(name, None)
        if runner is not None:
            runner.stop()
            if runner in client.companions:
                client.companions.remove(runner)

    @safe.silent(default=dict)
    def test_channels(self):
        """Calls `test` of every channel of this process; returns by name whether it works."""
        return {name: runner.try_it() for name, runner in list(self._channels.items())}

    def view(self):
        """Returns how rules and channels are doing."""
        rules = {name: {"state": rule.state, "error": rule.error} for name, rule in self.rules.items()}
        return {"rules": rules, "channels": {name: runner.view() for name, runner in list(self._channels.items())}}


def _post(rule):
    """Returns whether there is nothing more to do."""
    path = f"/api/v1/rules/{quote(rule.name, safe='')}"
    try:
        try:
            client.request("post", "/api/v1/rules", rule.definition)
        except Refused as refused:
            if refused.status != 409:
                raise
            # From an earlier run of this program. If it has changed, it is replaced; one from the host's own files cannot be, and that is
            # the answer then.
            known = next((one for one in client.request("get", "/api/v1/rules")["rules"] if one["name"] == rule.name), {})
            if not _says(known, rule.definition):
                client.request("delete", path)
                client.request("post", "/api/v1/rules", rule.definition)
        rule.state, rule.error = "added", None
    except Unreachable:
        return False
    except Refused as refused:
        if refused.may_change or refused.status in (401, 403):
            return False
        rule.state, rule.error = "refused", refused.message
        safe.say(logging.ERROR, f"rule {rule.name}", "the host refuses the rule `%s`: %s", rule.name, refused.message)
    rule._settled.set()
    return True


def _says(known, definition):
    """Returns whether all that is wanted is what the host has."""
    if isinstance(definition, dict):
        return isinstance(known, dict) and all(_says(known.get(key), value) for key, value in definition.items())
    return _plain(known) == _plain(definition)


def _plain(value):
    """Returns a duration or a number as seconds, and anything else as text."""
    try:
        return seconds(value)
    except ValueError:
        return str(value)


alert_manager = AlertManager()
