"""A server that answers as a test says, and keeps what it was sent."""

import http.server
import json
import threading


class Stub:
    """`answers` are statuses, or pairs of a status and a body, for the next requests; then 200."""

    def __init__(self, answers=()):
        self.answers = list(answers)
        self.requests = []
        stub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                answer = stub.answers.pop(0) if stub.answers else 200
                if callable(answer):
                    answer = answer(body)
                status, text = answer if isinstance(answer, tuple) else (answer, "{}")
                stub.requests.append((self.path, dict(self.headers), json.loads(body), status))
                self.send_response(status)
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def bodies(self, accepted_only=True):
        """Returns the bodies of the log records that were sent, and by default taken."""
        return [record["body"]["stringValue"] for record in self.records(accepted_only)]

    def records(self, accepted_only=True):
        """Returns the log records."""
        return [
            record
            for path, _, document, status in list(self.requests)
            if path == "/v1/logs" and (status == 200 or not accepted_only)
            for resource in document["resourceLogs"]
            for scope in resource["scopeLogs"]
            for record in scope["logRecords"]
        ]

    def close(self):
        """Ends it."""
        self.server.shutdown()
        self.server.server_close()
