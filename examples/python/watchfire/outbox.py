"""The queue between the application and the sender. It never waits: what does not fit is dropped, and counted."""

import collections
import threading

# Above this share of the bounds only warnings and worse are taken, so that an incident's errors find room.
SHED_ABOVE = 0.75
WARNING = 13


class Outbox:
    """Records that wait, bounded in number and bytes."""

    def __init__(self, max_records, max_bytes):
        # Reentrant: a signal handler may log while the thread that it interrupts holds it.
        self._lock = threading.RLock()
        self._items = collections.deque()
        self._bytes = 0
        self.bound(max_records, max_bytes)
        self.dropped = collections.Counter()

    def bound(self, max_records, max_bytes):
        """Sets the bounds; what waits already stays."""
        self.max_records, self.max_bytes = max_records, max_bytes

    def push(self, item, size, severity=0):
        """Appends `item` of about `size` bytes; returns whether there was room."""
        with self._lock:
            share = SHED_ABOVE if severity < WARNING else 1.0
            if len(self._items) >= self.max_records * share or self._bytes + size > self.max_bytes * share:
                self.dropped["queue_full"] += 1
                return False
            self._items.append((item, size))
            self._bytes += size
            return True

    def pop(self, most):
        """Takes up to `most` items out, the oldest first."""
        with self._lock:
            taken = [self._items.popleft() for _ in range(min(most, len(self._items)))]
            self._bytes -= sum(size for _, size in taken)
        return taken

    def put_back(self, taken):
        """Puts back at the front what could not be sent; the bounds were kept when it came."""
        with self._lock:
            self._items.extendleft(reversed(taken))
            self._bytes += sum(size for _, size in taken)

    def drop(self, count, reason):
        """Counts what is lost otherwise."""
        with self._lock:
            self.dropped[reason] += count

    def clear(self):
        """Forgets everything: in a child process, whose parent sends what was waiting."""
        self._lock = threading.RLock()
        self._items.clear()
        self._bytes = 0
        self.dropped.clear()

    def __len__(self):
        return len(self._items)
