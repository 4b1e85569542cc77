"""Channels of the application's own: the host's notifications, fetched, delivered by `send`, and acknowledged."""

import abc


class NotificationChannel(abc.ABC):
    """Delivers alerts in a way of the application's own."""

    @abc.abstractmethod
    def send(self, alert):
        """Delivers one alert; returns whether it was taken. What was not is tried again."""

    def test(self):
        """Returns whether the channel works."""
        return True


class ChannelRunner:
    def __init__(self, *a): raise NotImplementedError
