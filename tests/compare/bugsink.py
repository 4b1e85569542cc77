"""Sends the same Sentry events to watchfire and to Bugsink, and prints a table: accepted and drained per second, memory, issues.

    python3 tests/compare/bugsink.py --watchfire target/release/watchfire --events 5000

Bugsink (PyPI `bugsink`, pinned below) is installed into a virtual environment under `target/`, and runs as its documentation has it for one
server: gunicorn and its task runner, SQLite. Both run alone, one after the other, on loopback. The events are those of
`tests/grouping/generate.py`, again and again, each with an id of its own. A client has `--connections` connections, which are kept.

*Accepted* is until the last answer with success; *drained* until the last event is counted on its issue. *Memory* is the most that all
processes of the product hold at a time (PSS). *Errors* is how many different errors the events are, by their labels.
"""

import argparse
import concurrent.futures
import gzip
import http.client
import json
import os
import pathlib
import re
import secrets
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUGSINK = "bugsink==2.6.1"


# -- events


def labelled():
    """Returns the labelled events that an SDK can send."""
    out = subprocess.run([sys.executable, "-B", str(ROOT / "tests/grouping/generate.py")], check=True, capture_output=True, text=True).stdout
    return [event for event in map(json.loads, out.splitlines()) if "event" in event]


def envelopes(count):
    """Returns `count` envelopes in gzip as SDKs send them, and how many errors they are of."""
    known, made = labelled(), []
    for number in range(count):
        event = dict(known[number % len(known)]["event"], event_id=secrets.token_hex(16), timestamp=time.time())
        body = json.dumps(event).encode()
        header = json.dumps({"event_id": event["event_id"]}).encode()
        made.append(gzip.compress(b"%s\n%s\n%s\n" % (header, json.dumps({"type": "event", "length": len(body)}).encode(), body), 6))
    return made, len({event["label"] for event in known[:count]})


# -- sending


def send_all(port, project, key, bodies, connections):
    """Sends `bodies`; returns how many were taken, and the seconds."""
    headers = {
        "Content-Type": "application/x-sentry-envelope",
        "Content-Encoding": "gzip",
        "X-Sentry-Auth": f"Sentry sentry_key={key}, sentry_version=7, sentry_client=compare/1",
        # Bugsink's configuration for one server stands behind a proxy that ends TLS, and redirects whoever does not come through one.
        "X-Forwarded-Proto": "https",
    }

    def send(part):
        connection, taken = http.client.HTTPConnection("127.0.0.1", port, timeout=60), 0
        for body in part:
            for attempt in range(1000):
                try:
                    connection.request("POST", f"/api/{project}/envelope/", body, headers)
                    response = connection.getresponse()
                    answer = response.read()
                except (ConnectionError, http.client.HTTPException):
                    connection.close()
                    continue
                if response.status == 429 or response.status == 503:
                    time.sleep(min(0.05, float(response.headers.get("Retry-After") or 1)))
                    continue
                if response.status != 200:
                    raise SystemExit(f"error: refused with {response.status}: {answer[:300]}")
                taken += 1
                break
        connection.close()
        return taken

    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(connections) as pool:
        taken = sum(pool.map(send, [bodies[start::connections] for start in range(connections)]))
    return taken, time.monotonic() - began


class Memory:
    """Watches what a process and its children hold, in megabytes."""

    def __init__(self, pids):
        self.pids, self.most, self.stop = pids, 0.0, threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def now(self):
        total = 0
        for pid in self.family():
            try:
                text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:
                continue
            total += int(re.search(r"^Pss:\s+(\d+)", text, re.M)[1])
        return total / 1024

    def family(self):
        found, waiting = set(), list(self.pids)
        while waiting:
            pid = waiting.pop()
            found.add(pid)
            for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
                try:
                    waiting += [int(child) for child in task.read_text().split()]
                except OSError:
                    continue
        return found

    def watch(self):
        while not self.stop.wait(0.1):
            self.most = max(self.most, self.now())

    def end(self):
        self.stop.set()
        self.thread.join()
        return self.most


def eventually(attempt, seconds, what):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = attempt()
        if answer:
            return answer
        time.sleep(0.05)
    raise SystemExit(f"error: not within {seconds} s: {what}")


def free_port():
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def stop(processes):
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


def measure(processes, port, project, key, bodies, connections, counted, issues):
    """Sends and waits until all is counted."""
    idle_memory = Memory([process.pid for process in processes])
    time.sleep(0.5)
    idle = idle_memory.end()
    memory = Memory([process.pid for process in processes])
    began = time.monotonic()
    taken, seconds = send_all(port, project, key, bodies, connections)
    eventually(lambda: counted() >= taken, 1800, "every event is counted")
    drained = time.monotonic() - began
    return {
        "events": taken,
        "accepted_per_second": round(taken / seconds, 1),
        "drained_per_second": round(taken / drained, 1),
        "idle_mb": round(idle, 1),
        "most_mb": round(memory.end(), 1),
        "issues": issues(),
    }


# -- the two


def watchfire(binary, bodies, connections):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="compare-watchfire-"))
    port = free_port()
    config = {
        "server": {"listen": f"127.0.0.1:{port}", "otlp_listen": "", "otlp_grpc_listen": ""},
        "storage": {"data_dir": str(folder / "data")},
        "inputs": {"own_log": False, "files": []},
    }
    (folder / "config.json").write_text(json.dumps(config))
    process = subprocess.Popen([binary, "start", "--config", str(folder / "config.json")], stdout=subprocess.DEVNULL, stderr=open(folder / "log", "wb"))
    try:

        def get(path):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
                return json.load(answer)

        def ready():
            try:
                return get("/api/v1/status")
            except OSError:
                return None

        eventually(ready, 30, "watchfire starts")
        dsn = get("/api/v1/errors/dsn")
        key, project = dsn["key"], dsn["project"]
        statistics = lambda: get("/api/v1/errors/statistics?hours=24")
        return measure([process], port, project, key, bodies, connections, lambda: statistics()["total"], lambda: statistics()["issues"])
    finally:
        stop([process])
        shutil.rmtree(folder, ignore_errors=True)


CONF = """
from bugsink_conf_made import *
ALLOWED_HOSTS = ["*"]
BUGSINK = {**BUGSINK, "BASE_URL": "http://127.0.0.1", "MAX_EVENTS_PER_PROJECT_PER_5_MINUTES": 10_000_000,
    "MAX_EVENTS_PER_PROJECT_PER_HOUR": 10_000_000, "MAX_EVENTS_PER_PROJECT_PER_MONTH": 100_000_000,
    "MAX_EVENTS_PER_5_MINUTES": 10_000_000, "MAX_EVENTS_PER_HOUR": 10_000_000, "MAX_EVENTS_PER_MONTH": 100_000_000}
"""

PROJECT = """
from django.db import transaction
from projects.models import Project
from bugsink.transaction import immediate_atomic
with immediate_atomic():
    project = Project.objects.create(name="compare", retention_max_event_count=10_000_000)
print("KEY", project.id, project.sentry_key.hex)
"""


def bugsink(bodies, connections):
    environment_folder = ROOT / "target" / f"compare-{BUGSINK.replace('==', '-')}"
    if not (environment_folder / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(environment_folder)], check=True)
        subprocess.run([str(environment_folder / "bin/python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", BUGSINK], check=True)
        (environment_folder / "complete").write_text("")
    bin_folder, folder = environment_folder / "bin", pathlib.Path(tempfile.mkdtemp(prefix="compare-bugsink-"))
    environment = {**os.environ, "PYTHONPATH": str(folder), "DJANGO_SETTINGS_MODULE": "bugsink_conf", "PATH": f"{bin_folder}:{os.environ['PATH']}"}
    run = lambda *command, **more: subprocess.run([str(bin_folder / command[0]), *command[1:]], cwd=folder, env=environment, check=True, capture_output=True, text=True, **more)
    try:
        made = ["--template=singleserver", "--host=127.0.0.1", f"--base-dir={folder}", f"--output-file={folder}/bugsink_conf_made.py"]
        run("bugsink-create-conf", *made)
        (folder / "bugsink_conf.py").write_text(CONF)
        run("bugsink-manage", "migrate")
        run("bugsink-manage", "migrate", "snappea", "--database=snappea")
        told = run("bugsink-manage", "shell", "-c", PROJECT).stdout
        _, project, key = next(line for line in told.splitlines() if line.startswith("KEY")).split()
        (folder / "snappea/wakeup").mkdir(parents=True, exist_ok=True)
        port, log = free_port(), open(folder / "log", "wb")
        web = [str(bin_folder / "gunicorn"), "--workers=4", "--bind", f"127.0.0.1:{port}", "--timeout=120", "bugsink.wsgi"]
        processes = [
            subprocess.Popen(web, cwd=folder, env=environment, stdout=log, stderr=log),
            subprocess.Popen([str(bin_folder / "bugsink-runsnappea")], cwd=folder, env=environment, stdout=log, stderr=log),
        ]
        try:
            database = sqlite3.connect(f"file:{folder}/db.sqlite3?mode=ro", uri=True)
            ask = lambda query: database.execute(query).fetchone()[0]

            def ready():
                try:
                    http.client.HTTPConnection("127.0.0.1", port, timeout=2).connect()
                    return True
                except OSError:
                    return False

            eventually(ready, 60, "Bugsink starts")
            counted = lambda: ask("SELECT coalesce(sum(digested_event_count), 0) FROM issues_issue")
            return measure(processes, port, project, key, bodies, connections, counted, lambda: ask("SELECT count(*) FROM issues_issue"))
        finally:
            stop(processes)
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"error: {error.cmd}: {error.stderr}") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--watchfire", help="the host's binary; without it only Bugsink is measured")
    parser.add_argument("--without-bugsink", action="store_true")
    parser.add_argument("--events", type=int, default=5000)
    parser.add_argument("--connections", type=int, default=4)
    options = parser.parse_args()
    bodies, errors = envelopes(options.events)
    results = {}
    if options.watchfire:
        results["watchfire"] = watchfire(options.watchfire, bodies, options.connections)
    if not options.without_bugsink:
        results["Bugsink " + BUGSINK.partition("==")[2]] = bugsink(bodies, options.connections)
    print(f"{options.events} events of {errors} errors, {options.connections} connections\n")
    print("| | accepted/s | drained/s | memory idle | memory at most | issues |")
    print("|---|---|---|---|---|---|")
    for name, found in results.items():
        numbers = f"{found['accepted_per_second']:,.0f} | {found['drained_per_second']:,.0f} | {found['idle_mb']:.0f} MB | {found['most_mb']:.0f} MB"
        print(f"| {name} | {numbers} | {found['issues']} |")


if __name__ == "__main__":
    main()
