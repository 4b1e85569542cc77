"""Channels of the application's own: the host's notifications, fetched, delivered by `send`, and acknowledged."""

import abc
import logging

from . import safe
from .pull import WAIT, Puller

# Seconds within which `send` should be done; after that the host hands the notification out again.
LEASE = 60


class NotificationChannel(abc.ABC):
    """Delivers alerts in a way of the application's own."""

    @abc.abstractmethod
    def send(self, alert):
        """Delivers one alert; returns whether it was taken. What was not is tried again, later."""

    def test(self):
        """Returns whether the channel works. `watchfire test channel NAME` asks."""
        return True


class ChannelRunner(Puller):
    """Fetches the notifications of the host's receiver `name` for a channel."""

    kind = "channels"

    def __init__(self, name, channel, read):
        super().__init__(name)
        self._channel, self._read = channel, read
        # Alerts of the notification that is being delivered that were taken: they are not sent twice when it comes again.
        self._taken = (None, set())

    def try_it(self):
        """Returns whether the channel says that it works."""
        try:
            return bool(self._channel.test())
        except Exception as error:
            safe.say(logging.WARNING, f"test {self.name}", "the channel `%s` failed its test: %r", self.name, error)
            return False

    def once(self, post):
        """Waits for a notification, delivers it, and says how that went."""
        handed = post("poll", {}, f"wait={WAIT}&lease={LEASE}", timeout=WAIT + 10)["notification"]
        if handed is None:
            return
        delivered, detail = self._test() if handed["test"] else self._send(handed["notification"])
        if delivered:
            self.done += 1
        else:
            self.failed += 1
        post("acknowledge", {"lease": handed["lease"], "delivered": delivered, "detail": detail})

    def _test(self):
        works = self.try_it()
        return works, "the channel's own test passed" if works else "the channel's own test failed"

    def _send(self, notification):
        if self._taken[0] != notification.get("id"):
            self._taken = (notification.get("id"), set())
        taken = self._taken[1]
        for raw in notification.get("alerts", []):
            alert = self._read(raw)
            key = (alert.fingerprint, alert.state)
            if key in taken:
                continue
            try:
                if not self._channel.send(alert):
                    return False, f"`send` did not take the alert `{alert.name}`"
            except Exception as error:
                safe.say(logging.WARNING, f"send {self.name}", "the channel `%s` failed: %r", self.name, error)
                return False, f"`send` raised {error!r} for the alert `{alert.name}`"
            taken.add(key)
        return True, "taken by the application"
