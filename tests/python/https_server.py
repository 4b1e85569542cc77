"""An HTTPS server for tests: prints its port, then each POST, one JSON object a line, until its input closes.

Its certificate is of an authority of its own, written to FOLDER/ca.pem.
"""

import argparse
import http.server
import json
import pathlib
import sys
import threading

import authority


class Printer(http.server.BaseHTTPRequestHandler):
    """Prints what arrives."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        say({"path": self.path, "headers": {name.lower(): value for name, value in self.headers.items()}, "body": body})
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        """Says nothing: standard output is for what arrives."""


def say(what):
    print(json.dumps(what), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tls", type=pathlib.Path, required=True, help="folder for the authority's certificate")
    options = parser.parse_args()
    server = http.server.HTTPServer(("127.0.0.1", 0), Printer)
    server.socket = authority.server_context(options.tls).wrap_socket(server.socket, server_side=True)
    say({"port": server.server_port})
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
