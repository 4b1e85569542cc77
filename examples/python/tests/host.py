"""A whole host for the tests: the binary that WATCHFIRE_BINARY names, or `watchfire` on the PATH."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import_root = str(pathlib.Path(__file__).parent.parent)
if import_root not in sys.path:
    sys.path.insert(0, import_root)

BINARY = os.environ.get("WATCHFIRE_BINARY") or shutil.which("watchfire")


def eventually(what, attempt, seconds=20.0):
    """Returns what `attempt` returns, as soon as that is true."""
    deadline = time.monotonic() + seconds
    while True:
        answer = attempt()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)


class Host:
    """A host that does nothing by itself but measure the machine."""

    def __init__(self, port=0, **sections):
        self.folder = tempfile.TemporaryDirectory(prefix="watchfire-python-", ignore_cleanup_errors=True)
        self.data = pathlib.Path(self.folder.name) / "data"
        self.config = {
            "server": {"listen": f"127.0.0.1:{port}", "otlp_listen": "", "otlp_grpc_listen": ""},
            "storage": {
                "data_dir": str(self.data),
                "ballast_bytes": 0,
                "shed_debug_below_bytes": 0,
                "shed_info_below_bytes": 0,
                "refuse_below_bytes": 0,
            },
            "inputs": {"own_log": False, "files": []},
            "performance": {"collection_interval": 1},
            "alerting": {"starter_rules": False, "evaluation_interval": 1},
        }
        for name, section in sections.items():
            self.config.setdefault(name, {}).update(section)
        self.process = None
        self.start()

    def start(self):
        """Starts it, again on the same port if it ran before."""
        file = pathlib.Path(self.folder.name) / "config.json"
        file.write_text(json.dumps(self.config))
        address = self.data / "address"
        address.unlink(missing_ok=True)
        log = open(pathlib.Path(self.folder.name) / "host.log", "ab")
        self.process = subprocess.Popen([BINARY, "start", "--config", str(file)], stdout=log, stderr=log)
        log.close()
        self.url = eventually("the host starts", lambda: self.process.poll() is None and address.exists() and address.read_text().strip())
        self.config["server"]["listen"] = self.url.removeprefix("http://").rstrip("/")
        self.url = self.url.rstrip("/")

    def stop(self):
        """Stops it; its data stay."""
        self.process.terminate()
        self.process.wait(20)

    def close(self):
        """Stops it for good."""
        if self.process.poll() is None:
            self.stop()
        self.folder.cleanup()
