"""The thread of an application that is a channel or an analyzer itself: it asks the host, again and again, for what there is to do."""

import logging
import random
import threading
from urllib.parse import quote

from . import safe
from .client import client
from .http import Http, Refused, Unreachable

# Seconds that the host may keep a question open.
WAIT = 25
# Seconds after which it is asked again when it is away or refuses: doubled from the first to the last.
FIRST_PAUSE, LAST_PAUSE = 0.5, 30.0


class Puller:
    """Asks at `/api/v1/pull/{kind}/{name}` and lets a subclass do what there is."""

    kind = ""

    def __init__(self, name):
        self.name = name
        self.done = self.failed = 0
        self.error = None
        self._stop = threading.Event()
        self._thread = None
        self._http = None
        self._asking = False

    def start(self):
        """Begins to ask."""
        self._thread = threading.Thread(target=self._run, name=f"watchfire-{self.name}", daemon=True)
        self._thread.start()

    def stop(self):
        """Ends; what is being done is finished and acknowledged, up to a second of it."""
        self._stop.set()
        if self._asking and self._http is not None:
            self._http.abort()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(1.0)

    def view(self):
        """Returns how it does."""
        return {"running": self._thread is not None and self._thread.is_alive(), "done": self.done, "failed": self.failed, "error": self.error}

    def once(self, post):
        """Asks once, and does what there is; `post(verb, document, parameters)` asks."""
        raise NotImplementedError

    def _post(self, verb, document, parameters="", timeout=None):
        path = f"/api/v1/pull/{self.kind}/{quote(self.name, safe='')}/{verb}"
        self._asking = verb == "poll"
        try:
            return self._http.post(f"{path}?{parameters}" if parameters else path, document, timeout=timeout)
        finally:
            self._asking = False

    def _run(self):
        pause = 0.0
        self._http = Http(client.settings)
        used = client.settings
        while not self._stop.wait(pause):
            if used is not client.settings:
                # Monitoring was begun, or begun anew, with other settings.
                self._http.close()
                self._http, used = Http(client.settings), client.settings
            try:
                self.once(self._post)
                pause, self.error = 0.0, None
            except (Refused, Unreachable) as error:
                if self._stop.is_set():
                    break
                self.error = str(error)
                safe.say(logging.WARNING, f"pull {self.name}", "`%s` cannot ask the host, and goes on trying: %s", self.name, error)
                pause = min(max(pause * 2, FIRST_PAUSE), LAST_PAUSE) * random.uniform(0.8, 1.2)
            except Exception as error:
                self.error, self.failed = repr(error), self.failed + 1
                safe.say(logging.WARNING, f"pull {self.name}", "`%s` failed, and goes on: %r", self.name, error)
                pause = min(max(pause * 2, FIRST_PAUSE), LAST_PAUSE)
        self._http.close()
