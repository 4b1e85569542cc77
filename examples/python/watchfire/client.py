"""What holds everything together: the queue, the metrics, the connection, and the thread that sends.

There is one client in a process. Before `start` it only collects, within the bounds of its queue.
"""

import atexit
import collections
import contextlib
import logging
import os
import queue
import random
import threading
import time

from . import otlp, process, safe
from .http import Http, Refused, Unreachable, encode
from .metrics import Registry
from .outbox import Outbox
from .settings import Settings

# Most records of one request.
BATCH = 1000
# Seconds between two tries while the host is away: doubled from the first to the last.
FIRST_WAIT, LAST_WAIT = 0.5, 30.0
# Seconds between two tries of what failed otherwise, such as a rule.
CHORE_EVERY = 5.0


class Client:
    """Sends what the application says to one host."""

    def __init__(self):
        self.settings = Settings(service="python")
        self.outbox = Outbox(self.settings.queue_records, self.settings.queue_bytes)
        self.metrics = Registry(self.settings.max_series)
        self.process = process.Meter()
        # Set by whoever has something to stop before the sender does: channels and analyzers.
        self.companions = []
        # Called by the sender now and then, until they return true.
        self.chores = collections.deque()
        self.counts = collections.Counter()
        self.host_error = None
        self.last_contact = None
        self._reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)
        atexit.register(self.shutdown)

    def _reset(self):
        self._thread = None
        self._http, self._replaced = None, []
        # One for each thread: an old one that hangs in a request must still end when a new one runs.
        self._stop = threading.Event()
        self._in_flight = 0
        self._wake = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = threading.Event()

    # -- life

    def start(self, settings):
        """Begins to send. Once more: with other settings from now on."""
        with self._lock:
            self.settings = settings
            self.outbox.bound(settings.queue_records, settings.queue_bytes)
            self.metrics.max_series = settings.max_series
            self._about = otlp.resource(settings)
            # The connection before, if there was one, may be in use: the sender closes it.
            self._replaced.append(self._http)
            self._http = Http(settings, for_otlp=True)
            self._start_thread()

    def _start_thread(self):
        if not self.running:
            self._stop = threading.Event()
            self._thread = threading.Thread(target=self._run, args=(self._stop,), name="watchfire", daemon=True)
            self._thread.start()

    @property
    def running(self):
        """Whether it sends."""
        return self._thread is not None and self._thread.is_alive() and not self._stop.is_set()

    def _after_fork(self):
        running = self._thread is not None and not self._stop.is_set()
        self.outbox.clear()
        self.metrics.clear()
        self.counts.clear()
        self._reset()
        self.companions = []
        if running:
            self._about = otlp.resource(self.settings)
            self._http = Http(self.settings, for_otlp=True)
            with contextlib.suppress(RuntimeError):
                self._start_thread()

    def flush(self, timeout=None):
        """Sends what waits; returns whether all of it went within `timeout` seconds."""
        if not self.running:
            return len(self.outbox) == 0
        deadline = time.monotonic() + (self.settings.shutdown_timeout if timeout is None else timeout)
        self._idle.clear()
        self._wake.put("flush")
        self._idle.wait(max(0.0, deadline - time.monotonic()))
        return self._idle.is_set() and len(self.outbox) + self._in_flight == 0

    def shutdown(self, timeout=None):
        """Stops companions, sends what waits, and ends. What cannot be sent within `timeout` seconds is lost, which is said."""
        if not self.running:
            return True
        timeout = self.settings.shutdown_timeout if timeout is None else timeout
        deadline = time.monotonic() + timeout
        for companion in list(self.companions):
            with contextlib.suppress(Exception):
                companion.stop()
        flushed = self.flush(timeout)
        self._stop.set()
        self._wake.put("stop")
        thread = self._thread
        if thread is not threading.current_thread():
            thread.join(max(0.1, deadline - time.monotonic()))
        lost = len(self.outbox) + self._in_flight
        if lost:
            why = self.host_error or "the host did not answer in time"
            safe.say(logging.WARNING, "lost", "%d log records could not be sent and are lost: %s", lost, why)
        return flushed

    # -- what comes in

    def emit(self, scope, record, size):
        """Queues a log record."""
        if self.outbox.push((scope, record), size, record["severityNumber"]):
            self.counts["records"] += 1
            # One token is enough; the sender takes all that waits.
            if len(self.outbox) >= BATCH and self._wake.empty():
                self._wake.put("full")

    def request(self, method, path, *arguments, **named):
        """Asks the host, on a connection of its own: the sender's may be busy."""
        http = Http(self.settings)
        try:
            return getattr(http, method)(path, *arguments, **named)
        finally:
            http.close()

    def later(self, chore):
        """Lets the sender call `chore` until it returns true."""
        self.chores.append(chore)
        self._wake.put("chore")

    # -- the sender

    def _run(self, stop):
        wait, next_metrics, next_process, next_chore = 0.0, time.monotonic() + 1.0, 0.0, 0.0
        while not stop.is_set():
            asked = None
            with contextlib.suppress(queue.Empty):
                asked = self._wake.get(timeout=wait or self.settings.flush_interval)
            # While the host is away only a flush tries at once.
            if wait and asked == "full":
                time.sleep(min(wait, 0.2))
                continue
            now = time.monotonic()
            while self._replaced:
                if (old := self._replaced.pop()) is not None:
                    old.close()
            try:
                if self.settings.auto_start and (now >= next_process or asked == "flush"):
                    next_process = now + self.settings.collection_interval
                    self.process.measure(self.metrics)
                sent = self._send_logs()
                if sent and (now >= next_metrics or asked == "flush"):
                    next_metrics = now + self.settings.metrics_interval
                    sent = self._send_metrics()
                if sent and self.chores and (now >= next_chore or asked in ("flush", "chore")):
                    next_chore = now + CHORE_EVERY
                    self._do_chores()
                wait = 0.0 if sent else min(max(wait * 2, FIRST_WAIT), LAST_WAIT) * random.uniform(0.8, 1.2)
            except Exception as error:
                # Ours: the thread must not end.
                self.counts["sender_failures"] += 1
                safe.say(logging.WARNING, "sender", "the sender failed and goes on: %r", error)
                wait = FIRST_WAIT
            if asked == "flush":
                self._idle.set()
        self._http.close()

    def _send_logs(self):
        while len(self.outbox):
            taken = self.outbox.pop(BATCH)
            self._in_flight = len(taken)
            try:
                if not self._send_batch(taken):
                    return False
            finally:
                self._in_flight = 0
        return True

    def _send_batch(self, taken):
        """Returns whether the next batch may be tried at once."""
        try:
            body = encode(otlp.logs(self._about, [item for item, _ in taken]))
        except Exception:
            if len(taken) == 1:
                self.outbox.drop(1, "not_encoded")
                return True
            half = len(taken) // 2
            return self._send_batch(taken[:half]) and self._send_batch(taken[half:])
        answer = self._post("/v1/logs", body)
        if answer is None:
            self.outbox.put_back(taken)
            return False
        if isinstance(answer, Refused):
            if answer.status == 413 and len(taken) > 1:
                half = len(taken) // 2
                first = self._send_batch(taken[:half])
                if first:
                    return self._send_batch(taken[half:])
                self.outbox.put_back(taken[half:])
                return False
            self.outbox.drop(len(taken), "refused")
            return True
        partial = answer.get("partialSuccess") or {}
        rejected = int(partial.get("rejectedLogRecords") or 0)
        if rejected:
            self.outbox.drop(rejected, "rejected")
            safe.say(logging.WARNING, "rejected", "the host rejected %d records: %s", rejected, partial.get("errorMessage"))
        self.counts["sent"] += len(taken) - rejected
        return True

    def _send_metrics(self):
        all_metrics = self.metrics.snapshot()
        return not all_metrics or self._post("/v1/metrics", encode(otlp.metrics(self._about, all_metrics))) is not None

    def _post(self, path, body):
        """Returns the answer, a refusal for good, or `None` if it is to be tried again."""
        try:
            answer = self._http.post(path, body)
        except Unreachable as error:
            self.host_error = str(error)
            safe.say(logging.WARNING, "away", "the host is away, what is said waits: %s", error)
            return None
        except Refused as refused:
            self.host_error = str(refused)
            if refused.may_change or refused.status in (401, 403):
                # With a token that is wrong now, too: whoever runs the host may mend it.
                hint = "; set WATCHFIRE_TOKEN" if refused.status in (401, 403) else ""
                safe.say(logging.WARNING, f"refused{refused.status}", "the host refuses for now: %s%s", refused, hint)
                return None
            safe.say(logging.WARNING, f"refused{refused.status}", "the host refuses what is sent to %s: %s", path, refused)
            return refused
        self.host_error, self.last_contact = None, time.time()
        return answer

    def _do_chores(self):
        for _ in range(len(self.chores)):
            chore = self.chores.popleft()
            if not chore():
                self.chores.append(chore)

    # -- how it does

    def view(self):
        """Returns how the client is doing."""
        return {
            "running": self.running,
            "url": self.settings.url,
            "service": self.settings.service,
            "host_error": self.host_error,
            "last_contact": self.last_contact,
            "queued": len(self.outbox),
            "sent": self.counts["sent"],
            "dropped": dict(self.outbox.dropped),
            "series": len(self.metrics),
            "dropped_series": self.metrics.dropped,
            "failures": dict(safe.failures),
        }


client = Client()
