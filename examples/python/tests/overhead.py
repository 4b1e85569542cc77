"""Says what a call costs the application, in microseconds: the best of several rounds, with a stand-in for the host beside it.

    python3 overhead.py
"""

import logging
import pathlib
import sys
import timeit

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
import watchfire
from watchfire.client import client

from stub import Stub

ROUNDS, CALLS = 7, 2000


@watchfire.monitor_execution(metric_name="work")
def measured():
    pass


@watchfire.monitor_api_request(endpoint="/x", method="GET")
def request():
    pass


@watchfire.track_errors
def tracked():
    pass


def main():
    stub = Stub()
    watchfire.initialize_monitoring(url=stub.url, service="overhead", queue_records=1_000_000, auto_capture=False)
    logging.getLogger().addHandler(logging.NullHandler())
    logging.getLogger().setLevel(logging.CRITICAL)
    log, error = watchfire.get_logger("overhead"), ValueError("x")
    calls = {
        'logger.info("…", two fields)': lambda: log.info("user logged in", user_id="12345", session="abc"),
        "logger.debug, below the level": lambda: log.debug("user logged in", user_id="12345"),
        "increment_counter, two labels": lambda: watchfire.increment_counter("requests", 1, {"endpoint": "/x", "method": "GET"}),
        "set_gauge": lambda: watchfire.set_gauge("active", 3),
        "record_timer": lambda: watchfire.record_timer("time", 2.5),
        "@monitor_execution": measured,
        "@monitor_api_request": request,
        "@track_errors": tracked,
        "capture_exception": lambda: watchfire.capture_exception(type(error)("x")),
    }
    for name, call in calls.items():
        best = min(timeit.repeat(call, number=CALLS, repeat=ROUNDS)) / CALLS
        watchfire.flush(30)
        print(f"{name:32} {best * 1e6:8.2f} µs")
    print("dropped:", client.view()["dropped"] or "nothing")
    watchfire.shutdown_monitoring(5)
    stub.close()


main()
