"""Requests to the host, over one connection that is kept."""

import contextlib
import gzip
import http.client
import json
import socket
import ssl
import threading
from urllib.parse import urlencode, urlsplit

# From this size on, a body for another machine is compressed.
COMPRESS_ABOVE = 1024
MAX_ANSWER = 64 << 20


class Refused(Exception):
    """The host answered, and not with success."""

    def __init__(self, status, message, retry_after=None):
        super().__init__(f"{status}: {message}")
        self.status, self.message, self.retry_after = status, message, retry_after

    @property
    def may_change(self):
        """Whether the same request may be taken later."""
        return self.status in (408, 425, 429) or self.status >= 500


class Unreachable(Exception):
    """The host did not answer."""


class Http:
    """One connection to the host; for one thread at a time, the others wait."""

    def __init__(self, settings, for_otlp=False):
        self._settings, self._lock, self._connection = settings, threading.Lock(), None
        self._aborted = False
        self._base = for_otlp and settings.otlp_endpoint or settings.url
        # Another program gets its own headers, and not our token.
        ours = self._base == settings.url
        self._headers = {"authorization": f"Bearer {settings.token}"} if ours and settings.token else {}
        if for_otlp:
            self._headers |= settings.otlp_headers
        parts = urlsplit(self._base)
        self._https, self._host, self._port = parts.scheme == "https", parts.hostname, parts.port
        self._prefix = parts.path.rstrip("/")

    def post(self, path, document, timeout=None):
        """Sends `document` as JSON and returns the answer's."""
        body = document if isinstance(document, bytes) else encode(document)
        headers = {"content-type": "application/json"}
        if len(body) > COMPRESS_ABOVE and not self._settings.is_loopback:
            body, headers["content-encoding"] = gzip.compress(body, 1), "gzip"
        return self._json(self._request("POST", path, body, headers, timeout))

    def get(self, path, parameters=None, timeout=None):
        """Returns the JSON at `path`."""
        return self._json(self.get_text(path, parameters, timeout))

    def get_text(self, path, parameters=None, timeout=None):
        """Returns the bytes at `path`."""
        query = urlencode([(key, value) for key, value in (parameters or {}).items() if value is not None], doseq=True)
        return self._request("GET", f"{path}?{query}" if query else path, None, {}, timeout)

    def delete(self, path, timeout=None):
        """Deletes what is at `path`."""
        return self._json(self._request("DELETE", path, None, {}, timeout))

    def close(self):
        """Ends the connection; the next request makes another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def abort(self):
        """Ends a request that another thread waits for, and lets no further one begin."""
        self._aborted = True
        sock = getattr(self._connection, "sock", None)
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def _json(body):
        try:
            return json.loads(body) if body.strip() else {}
        except ValueError as error:
            raise Unreachable(f"what answers there is no watchfire: {error}") from None

    def _request(self, method, path, body, headers, timeout):
        timeout = timeout or self._settings.timeout
        headers |= self._headers
        with self._lock:
            # A kept connection may have been closed by the host meanwhile: then once more, on a new one.
            for fresh in ([False, True] if self._connection is not None else [True]):
                if fresh:
                    self.close()
                if self._aborted:
                    raise Unreachable("the request was given up")
                try:
                    return self._once(method, path, body, headers, timeout)
                except (http.client.BadStatusLine, ConnectionError, BrokenPipeError) as error:
                    self.close()
                    if fresh:
                        raise Unreachable(f"{self._base}: {error or type(error).__name__}") from None
                except (OSError, http.client.HTTPException, ValueError) as error:
                    self.close()
                    raise Unreachable(f"{self._base}: {error or type(error).__name__}") from None
        raise AssertionError("the last round returns or raises")

    def _once(self, method, path, body, headers, timeout):
        if self._connection is None:
            self._connection = self._connect(timeout)
        connection = self._connection
        connection.timeout = timeout
        if connection.sock is not None:
            connection.sock.settimeout(timeout)
        connection.request(method, self._prefix + path, body, headers)
        response = connection.getresponse()
        answer = response.read(MAX_ANSWER)
        if response.will_close or not response.isclosed():
            self.close()
        if 200 <= response.status < 300:
            return answer
        after = response.getheader("retry-after")
        raise Refused(response.status, _reason(answer), float(after) if after and after.isdigit() else None)

    def _connect(self, timeout):
        if not self._https:
            return http.client.HTTPConnection(self._host, self._port, timeout=timeout)
        context = ssl.create_default_context(cafile=self._settings.ca_file or None)
        return http.client.HTTPSConnection(self._host, self._port, timeout=timeout, context=context)


def encode(document):
    """Returns `document` as JSON in UTF-8; halves of surrogate pairs become question marks."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _reason(answer):
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return json.loads(answer)["error"]["message"]
    return answer[:200].decode("utf-8", "replace").strip() or "no reason given"
