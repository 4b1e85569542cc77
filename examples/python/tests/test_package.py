"""The package by itself: nothing it does reaches the application, and nothing is lost uncounted."""

import asyncio
import contextlib
import io
import json
import logging
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
import watchfire
from watchfire import otlp, safe, settings, wrap
from watchfire.client import client as the_client
from watchfire.metrics import Registry
from watchfire.outbox import Outbox

from host import eventually
from stub import Stub

# A port of loopback on which nobody listens.
NOWHERE = "http://127.0.0.1:9"
ROOT = str(pathlib.Path(__file__).parent.parent)


def attributes(record):
    """Returns a record's attributes with plain values."""
    return {one["key"]: next(iter(one["value"].values()), None) for one in record["attributes"]}


class Quiet(unittest.TestCase):
    """Begins each test with an empty client."""

    def setUp(self):
        watchfire.shutdown_monitoring(0.1)
        the_client.outbox.clear()
        the_client.metrics.clear()
        the_client.counts.clear()
        safe.failures.clear()
        safe._said.clear()
        safe.log.setLevel(logging.CRITICAL)
        # What applications would see on standard error.
        logging.getLogger().addHandler(logging.NullHandler())

    def stub(self, answers=(), **arguments):
        """Starts a server and monitoring with it."""
        stub = Stub(answers)
        self.addCleanup(stub.close)
        self.addCleanup(watchfire.shutdown_monitoring, 0.5)
        chosen = {"service": "test", "flush_interval": 0.02, "auto_capture": False, **arguments}
        started = watchfire.initialize_monitoring(url=stub.url, **chosen)
        self.assertTrue(started)
        return stub


class TheQueue(unittest.TestCase):
    def test_what_does_not_fit_is_counted_and_warnings_find_room_longer(self):
        outbox = Outbox(8, 1000)
        taken = [outbox.push(number, 1, 9) for number in range(8)]
        self.assertEqual(taken, [True] * 6 + [False] * 2)
        self.assertTrue(outbox.push("a", 1, 17))
        self.assertTrue(outbox.push("b", 1, 13))
        self.assertFalse(outbox.push("c", 1, 17))
        self.assertEqual((len(outbox), outbox.dropped), (8, {"queue_full": 3}))

    def test_bytes_are_bounded_too_and_come_back_when_taken(self):
        outbox = Outbox(100, 100)
        self.assertTrue(outbox.push("a", 90, 17))
        self.assertFalse(outbox.push("b", 20, 17))
        taken = outbox.pop(10)
        self.assertTrue(outbox.push("b", 20, 17))
        outbox.put_back(taken)
        self.assertEqual([item for item, _ in outbox.pop(10)], ["a", "b"])
        self.assertTrue(outbox.push("c", 90, 17))

    def test_many_threads_lose_nothing(self):
        outbox, out = Outbox(100_000, 1 << 30), []
        threads = [threading.Thread(target=lambda at=at: [outbox.push((at, number), 1) for number in range(2000)]) for at in range(8)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads) or len(outbox):
            out += [item for item, _ in outbox.pop(100)]
        self.assertEqual(len(out), 16_000)
        for at in range(8):
            self.assertEqual([number for thread, number in out if thread == at], list(range(2000)))


class Values(unittest.TestCase):
    def test_every_value_becomes_one_of_otlp(self):
        class Bad:
            def __str__(self):
                raise RuntimeError("no")

        values = {
            "text": "a",
            "big": 2**70,
            "nan": float("nan"),
            "list": [1, None, {"a": True}],
            "bad": Bad(),
            "half": "\ud800",
            "bytes": b"\xff",
            3: "a key that is no text",
        }
        deep = values
        for _ in range(50):
            deep = {"deeper": deep}
        values["deep"] = deep
        told = otlp.attributes(values)
        from watchfire.http import encode

        again = json.loads(encode(told))
        self.assertEqual(again[0], {"key": "text", "value": {"stringValue": "a"}})
        self.assertEqual(again[1]["value"], {"stringValue": str(2**70)})
        self.assertEqual(again[2]["value"], {"stringValue": "nan"})
        self.assertEqual(again[4]["value"]["stringValue"], "<Bad whose text cannot be had>")
        self.assertEqual(again[7]["key"], "3")

    def test_a_value_that_contains_itself_ends(self):
        value = []
        value.append(value)
        self.assertLess(len(json.dumps(otlp.any_value(value))), 1000)

    def test_long_texts_are_cut_and_say_so(self):
        self.assertIn("(100000 characters)", otlp.text("a" * 100_000))


class Metrics(unittest.TestCase):
    def test_counters_add_gauges_stay_and_timers_have_buckets(self):
        registry = Registry(100)
        registry.add("a", 2, {"x": 1})
        registry.add("a", 3, {"x": "1"})
        registry.set("b", 2.5)
        registry.change("c", 2)
        registry.change("c", -1)
        for value in (0.5, 1, 3, 70_000):
            registry.record("d", value)
        told = {metric["name"]: metric for metric in registry.snapshot()}
        self.assertEqual(told["a"]["sum"]["dataPoints"][0]["asInt"], "5")
        self.assertEqual(told["b"]["gauge"]["dataPoints"][0]["asDouble"], 2.5)
        self.assertEqual(told["c"]["gauge"]["dataPoints"][0]["asInt"], "1")
        point = told["d"]["histogram"]["dataPoints"][0]
        self.assertEqual((point["count"], point["sum"], point["min"], point["max"]), ("4", 70_004.5, 0.5, 70_000))
        self.assertEqual(point["bucketCounts"][0], "2")
        self.assertEqual(point["bucketCounts"][-1], "1")
        self.assertEqual(len(point["bucketCounts"]), len(point["explicitBounds"]) + 1)

    def test_series_are_bounded_and_nonsense_is_refused(self):
        registry = Registry(3)
        for number in range(10):
            registry.add("a", 1, {"user": number})
        self.assertEqual((len(registry), registry.dropped), (3, 7))
        for wrong in (lambda: registry.add("a", -1), lambda: registry.set("a", 1), lambda: registry.set("b", float("inf"))):
            self.assertRaises(ValueError, wrong)


class Configuration(unittest.TestCase):
    def load(self, document=None, environment=None, **arguments):
        with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, environment or {}):
            path = pathlib.Path(folder) / "c.json"
            if document is not None:
                path.write_text(document if isinstance(document, str) else json.dumps(document))
                return settings.load(path, **arguments)
            return settings.load(**arguments)

    def test_arguments_come_before_the_environment_and_that_before_the_file(self):
        file = {"logging": {"level": "ERROR"}, "performance": {"collection_interval": "5m"}, "alerting": {"max_alerts": 1}}
        chosen = self.load(file, {"MONITORING_LOG_LEVEL": "warning", "OTEL_RESOURCE_ATTRIBUTES": "service.name=a%20b,x=1"}, token="t")
        self.assertEqual((chosen.level, chosen.collection_interval, chosen.token, chosen.service), (30, 300, "t", "a b"))
        self.assertEqual(chosen.resource, {"x": "1"})
        self.assertEqual(self.load(file, {"MONITORING_LOG_LEVEL": "warning"}, level="DEBUG").level, 10)

    def test_all_that_is_wrong_is_said_with_its_place(self):
        file = {"logging": {"level": "LOUD"}, "performance": {"collection_interval": -1}}
        with self.assertRaises(settings.SettingsError) as caught:
            self.load(file, {"MONITORING_COLLECTION_INTERVAL": "often"}, url="host:3473", colour="red")
        told = str(caught.exception)
        for piece in (
            "c.json: logging.level: `LOUD` is none of DEBUG, INFO, WARNING, ERROR, CRITICAL",
            "c.json: performance.collection_interval: expected a number above 0, found `-1`",
            "MONITORING_COLLECTION_INTERVAL: expected a number of seconds or a duration such as 5m, found `often`",
            "url: `host:3473` is no http or https URL; write for example http://127.0.0.1:3473",
            "initialize_monitoring(colour=…): there is no such setting",
        ):
            self.assertIn(piece, told)
        for broken in ("{", "[]", '{"logging": 3}'):
            self.assertRaises(settings.SettingsError, self.load, broken)

    def test_a_wrong_file_starts_nothing_and_raises_nothing(self):
        with self.assertLogs("watchfire", "ERROR") as said:
            safe.log.setLevel(logging.NOTSET)
            self.assertFalse(watchfire.initialize_monitoring(config_file="/nowhere/monitoring_config.json"))
        self.assertIn("/nowhere/monitoring_config.json: cannot be read: No such file or directory", said.output[0])


class Wrapping(unittest.TestCase):
    def wrapped(self, function):
        seen = []
        return seen, wrap.wrap(
            function, lambda *_: "call", lambda call, result: seen.append((call, result)), lambda call, error: seen.append((call, repr(error)))
        )

    def test_functions_of_every_kind_do_what_they_did(self):
        def plain(x):
            return 10 / x

        async def later(x):
            return 10 / x

        def many(x):
            given = yield 1
            yield given
            return 10 / x

        async def many_later(x):
            given = yield 1
            yield given
            10 / x

        async def take(generator):
            return [await generator.asend(None), await generator.asend("given"), [item async for item in generator]]

        for function, run, wanted in (
            (plain, lambda f, x: f(x), 2),
            (later, lambda f, x: asyncio.run(f(x)), 2),
            (many, lambda f, x: (lambda g: [next(g), g.send("given"), list(g)])(f(x)), [1, "given", []]),
            (many_later, lambda f, x: asyncio.run(take(f(x))), [1, "given", []]),
        ):
            seen, wrapper = self.wrapped(function)
            self.assertEqual(run(wrapper, 5), wanted, function)
            self.assertEqual((len(seen), seen[0][0]), (1, "call"), function)
            self.assertRaises(ZeroDivisionError, run, wrapper, 0)
            self.assertIn("ZeroDivisionError", seen[1][1])
            self.assertEqual(wrapper.__name__, function.__name__)

    def test_methods_of_every_kind_can_be_decorated(self):
        class Shop:
            @watchfire.monitor_execution(metric_name="a")
            def plain(self):
                return self

            @watchfire.monitor_execution(metric_name="b")
            @classmethod
            def of_class(cls):
                return cls

            @watchfire.monitor_execution(metric_name="c", log_args=True)
            @staticmethod
            def static(x):
                return x

        shop = Shop()
        self.assertEqual((shop.plain(), shop.of_class(), shop.static(3)), (shop, Shop, 3))

    def test_what_the_wrapping_raises_is_not_the_applications(self):
        def fails(*_):
            raise RuntimeError("ours")

        self.assertEqual(wrap.wrap(lambda: 3, fails, fails, fails)(), 3)
        self.assertRaises(KeyError, wrap.wrap(lambda: {}["x"], fails, fails, fails))


class Sending(Quiet):
    def test_what_is_logged_arrives_in_order_once_and_after_what_the_host_refused_for_now(self):
        stub = self.stub([503, 429, 500], metrics_interval=1000)
        log = watchfire.get_logger("shop")
        for number in range(2500):
            log.info("number %d", number)
        self.assertTrue(eventually("all are sent", lambda: watchfire.flush(5)))
        self.assertEqual(stub.bodies(), [f"number {number}" for number in range(2500)])
        self.assertEqual(the_client.view()["dropped"], {})

    def test_what_is_too_large_goes_in_halves_and_what_is_refused_for_good_is_counted(self):
        stub = self.stub(metrics_interval=1000)
        limit = lambda body: 413 if body.count(b"severityNumber") > 100 else 400 if b"poison" in body else 200
        stub.answers = [limit] * 1000
        log = watchfire.get_logger("shop")
        for number in range(500):
            log.info("poison" if number == 77 else "fine")
        self.assertTrue(eventually("all are sent", lambda: watchfire.flush(5)))
        dropped = the_client.view()["dropped"]["refused"]
        self.assertEqual(len(stub.bodies()) + dropped, 500)
        self.assertLessEqual(dropped, 100)

    def test_rejected_records_are_counted(self):
        self.stub([(200, json.dumps({"partialSuccess": {"rejectedLogRecords": "2", "errorMessage": "too old"}}))], metrics_interval=1000)
        for _ in range(3):
            watchfire.get_logger("shop").info("x")
        self.assertTrue(eventually("all are sent", lambda: watchfire.flush(5)))
        view = the_client.view()
        self.assertEqual((view["sent"], view["dropped"]), (1, {"rejected": 2}))

    def test_a_wrong_token_loses_nothing_while_there_is_room(self):
        stub = self.stub([401, 401], metrics_interval=1000, token="secret")
        watchfire.get_logger("shop").info("kept")
        self.assertTrue(eventually("it is sent", lambda: watchfire.flush(5)))
        self.assertEqual(stub.bodies(), ["kept"])
        self.assertEqual(stub.requests[0][1]["authorization"], "Bearer secret")

    def test_the_token_is_for_the_host_only(self):
        other = Stub()
        self.addCleanup(other.close)
        self.stub(token="secret", otlp_endpoint=other.url)
        watchfire.get_logger("shop").info("x")
        self.assertTrue(watchfire.flush(5))
        self.assertEqual(other.bodies(), ["x"])
        self.assertNotIn("authorization", other.requests[0][1])

    def test_while_the_host_is_away_memory_is_bounded_and_drops_are_counted(self):
        started = watchfire.initialize_monitoring(url=NOWHERE, queue_records=100, flush_interval=0.02, auto_capture=False)
        self.assertTrue(started)
        log = watchfire.get_logger("shop")
        for _ in range(1000):
            log.info("x" * 1000)
        for _ in range(1000):
            log.error("y")
        view = eventually("the host is known to be away", lambda: (view := the_client.view())["host_error"] and view)
        self.assertEqual(view["queued"] + view["dropped"]["queue_full"], 2000)
        self.assertLessEqual(view["queued"], 100)
        self.assertFalse(watchfire.flush(0.1))

    def test_what_was_said_before_the_start_is_sent_after_it(self):
        watchfire.get_logger("early").info("before")
        stub = self.stub()
        self.assertTrue(watchfire.flush(5))
        self.assertIn("before", stub.bodies())

    def test_a_child_process_sends_its_own_and_not_its_parents(self):
        stub = self.stub(flush_interval=5)
        watchfire.get_logger("shop").info("of the parent")
        child = os.fork()
        if child == 0:
            watchfire.get_logger("shop").info("of the child")
            os._exit(0 if watchfire.flush(5) else 1)
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        self.assertTrue(watchfire.flush(5))
        self.assertEqual(sorted(stub.bodies()), ["of the child", "of the parent"])

    def test_a_signal_handler_may_log_while_the_queue_is_used(self):
        stub = self.stub(queue_records=100_000)
        log, seen = watchfire.get_logger("shop"), []

        def handler(*_):
            seen.append(1)
            log.info("signal")

        before = signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        try:
            while len(seen) < 100:
                log.info("usual")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        self.assertTrue(eventually("all are sent", lambda: watchfire.flush(10)))
        self.assertEqual(stub.bodies().count("signal"), len(seen))


class Logging(Quiet):
    def test_the_methods_of_the_specification_have_fields_of_opentelemetrys_names(self):
        stub = self.stub()
        log = watchfire.get_logger("shop").bind(tenant="a")
        log.log_api_request("GET", "/api", 503, 250.3)
        log.log_database_operation("SELECT", "products", 120.5, 25)
        log.log_task_error("t1", "sync", ValueError("x"), 3)
        log.info("a message", message="a field", level="too", self=1)
        self.assertTrue(watchfire.flush(5))
        api, database, task, plain = stub.records()
        self.assertEqual((api["severityNumber"], attributes(api)["http.response.status_code"]), (17, "503"))
        self.assertEqual(attributes(database)["db.response.returned_rows"], "25")
        self.assertEqual(attributes(task)["exception.type"], "ValueError")
        self.assertEqual((attributes(plain)["message"], attributes(plain)["tenant"]), ("a field", "a"))

    def test_handlers_of_the_standard_library_get_it_once_with_the_callers_line(self):
        stub = self.stub(capture_logging=True, level="DEBUG")
        seen = []
        handler = logging.Handler()
        handler.emit = seen.append
        logging.getLogger("shop").addHandler(handler)
        self.addCleanup(logging.getLogger("shop").removeHandler, handler)
        watchfire.get_logger("shop").warning("hello %s", "you", user=3)
        logging.getLogger("other").warning("plain %d", 3, extra={"order": 7})
        self.assertTrue(watchfire.flush(5))
        self.assertEqual((seen[0].getMessage(), pathlib.Path(seen[0].pathname).name), ("hello you user=3", "test_package.py"))
        self.assertEqual(stub.bodies(), ["hello you", "plain 3"])
        self.assertEqual(attributes(stub.records()[1])["order"], "7")

    def test_nothing_that_is_passed_makes_it_raise(self):
        class Bad:
            def __str__(self):
                raise SystemError("no")

            __repr__ = __str__

        stub, log = self.stub(), watchfire.get_logger("shop")
        log.info(Bad(), field=Bad())
        log.info("%d", "text")
        log.info()
        log.info("x", exc_info=3)
        watchfire.increment_counter("a", "many")
        watchfire.increment_counter("a", -1)
        watchfire.record_timer(None, None, 3)
        watchfire.capture_exception("no exception")
        watchfire.alert_manager.add_rule(None)
        self.assertTrue(watchfire.flush(5))
        self.assertEqual(len(stub.bodies()), 3)
        self.assertGreaterEqual(sum(safe.failures.values()), 4)


class Errors(Quiet):
    def test_an_exception_is_reported_once_on_its_way_up_with_its_causes_and_without_our_frames(self):
        stub = self.stub()

        @watchfire.track_errors(severity=watchfire.ErrorSeverity.MEDIUM)
        def inner():
            try:
                {}["x"]
            except KeyError as error:
                raise ValueError("outer") from error

        @watchfire.monitor_task_execution(task_name="t")
        @watchfire.monitor_execution(metric_name="m")
        def outer():
            inner()

        with self.assertRaises(ValueError):
            outer()
        self.assertTrue(watchfire.flush(5))
        told = [record for record in stub.records() if "exception.type" in attributes(record)]
        self.assertEqual(len(told), 1)
        trace = attributes(told[0])["exception.stacktrace"]
        self.assertEqual((told[0]["severityNumber"], attributes(told[0])["exception.type"]), (13, "ValueError"))
        self.assertIn("KeyError: 'x'", trace)
        self.assertIn("in inner", trace)
        self.assertNotIn("wrap.py", trace)

    def test_the_end_of_a_task_is_no_error(self):
        stub = self.stub()

        @watchfire.monitor_task_execution(task_name="long")
        async def long():
            await asyncio.sleep(60)

        async def main():
            task = asyncio.create_task(long())
            await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

        asyncio.run(main())
        self.assertTrue(watchfire.flush(5))
        self.assertEqual([body for body in stub.bodies() if "cancelled" in body], ["task cancelled: long"])
        self.assertFalse(any("exception.type" in attributes(record) for record in stub.records()))

    def test_arguments_are_shown_without_secrets(self):
        stub = self.stub(level="DEBUG")

        @watchfire.monitor_execution(metric_name="login", log_args=True, skip=["payload"])
        def login(user, password, payload, options=None, **more):
            return user

        login("ann", "hunter2", "x" * 10_000, {"api_key": "k", "page": 3}, auth_token="t", keyboard="qwerty")
        self.assertTrue(watchfire.flush(5))
        told = json.dumps(stub.records())
        for secret in ("hunter2", '"k"', '"t"', "xxxx"):
            self.assertNotIn(secret, told)
        for shown in ("ann", "qwerty", "[redacted]"):
            self.assertIn(shown, told)

    def test_requests_are_counted_and_active_ones_come_back_to_none(self):
        self.stub()

        class NotFound(Exception):
            code = 404

        @watchfire.monitor_api_request(endpoint="/x", method="POST")
        def answer(how):
            if isinstance(how, Exception):
                raise how
            return how

        for how in ({}, ({}, 201), 404):
            answer(how)
        for how in (NotFound(), ValueError()):
            with self.assertRaises(type(how)):
                answer(how)
        told = {metric["name"]: metric for metric in the_client.metrics.snapshot()}
        by_status = {
            next(one["value"]["stringValue"] for one in point["attributes"] if one["key"] == "status"): point["asInt"]
            for point in told["total_requests"]["sum"]["dataPoints"]
            if point["attributes"]
        }
        self.assertEqual(by_status, {"200": "1", "201": "1", "404": "2", "500": "1"})
        self.assertEqual(told["active_requests"]["gauge"]["dataPoints"][0]["asInt"], "0")
        self.assertEqual(told["error_count"]["sum"]["dataPoints"][0]["asInt"], "1")

    def run_program(self, program, stub, timeout=30):
        environment = {**os.environ, "PYTHONPATH": ROOT, "WATCHFIRE_URL": stub.url, "OTEL_SERVICE_NAME": "program"}
        return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=timeout)

    def test_what_nobody_handles_is_captured_and_still_printed_and_the_end_flushes(self):
        stub = Stub()
        self.addCleanup(stub.close)
        ended = self.run_program(
            "import asyncio, threading, watchfire\n"
            "assert watchfire.initialize_monitoring()\n"
            "watchfire.get_logger('p').info('said')\n"
            "def worker(): raise KeyError('in a thread')\n"
            "thread = threading.Thread(target=worker); thread.start(); thread.join()\n"
            "async def lost(): raise OSError('in a task')\n"
            "async def main():\n"
            "    task = asyncio.ensure_future(lost()); await asyncio.sleep(0.01); del task\n"
            "asyncio.run(main())\n"
            "raise ValueError('at the end')\n",
            stub,
        )
        self.assertEqual(ended.returncode, 1)
        for printed in ("in a thread", "in a task", "at the end"):
            self.assertIn(printed, ended.stderr)
        told = {attributes(record).get("exception.type"): record for record in stub.records()}
        self.assertEqual(set(told), {None, "KeyError", "OSError", "ValueError"})
        self.assertEqual((told["ValueError"]["severityNumber"], told[None]["body"]["stringValue"]), (21, "said"))

    def test_a_program_ends_in_time_when_the_host_is_away_or_hangs(self):
        program = "import watchfire\nwatchfire.initialize_monitoring(shutdown_timeout=1)\nwatchfire.get_logger('p').info('x')\n"
        stub = Stub([lambda _: (time.sleep(20), 200)[1]])
        self.addCleanup(stub.close)
        for url in (stub.url, NOWHERE):
            stub.url = url
            self.assertIn("1 log records could not be sent and are lost", self.run_program(program, stub, timeout=15).stderr)

    def test_it_imports_nothing_but_the_standard_library(self):
        listed = "import watchfire, sys; print('\\n'.join(sorted({name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names))))"
        ended = subprocess.run([sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {ROOT!r}); {listed}"], capture_output=True, text=True)
        self.assertEqual(set(ended.stdout.split()) - {"__main__"}, {"watchfire"}, ended.stderr)


class Asking(Quiet):
    def test_where_nobody_answers_every_question_has_an_answer_that_says_so(self):
        watchfire.initialize_monitoring(url=NOWHERE, auto_capture=False)
        self.assertEqual(watchfire.get_system_health()["status"], "unknown")
        for answer in (
            watchfire.get_error_statistics(hours=24),
            watchfire.get_active_alerts(),
            watchfire.get_top_patterns(limit=10),
            watchfire.get_recent_anomalies(hours=24),
            watchfire.search_logs("error", level="ERROR", hours=1),
            watchfire.generate_analysis_report(hours=24),
        ):
            self.assertEqual(len(answer), 0)
            self.assertIn("127.0.0.1:9", answer.error)
        self.assertEqual(watchfire.generate_analysis_report(format="markdown"), "")
        components = watchfire.get_monitoring_components()
        self.assertEqual((components["host"]["state"], components["client"]["running"]), ("unreachable", True))

    def test_a_host_that_speaks_something_else_is_no_host(self):
        stub = self.stub()
        self.assertIn("501", watchfire.get_active_alerts().error)
        self.assertTrue(stub.url)


class Pulling(Quiet):
    def polled(self, *answers):
        """Starts a server that answers questions with `answers`, then with nothing; returns what is acknowledged to it."""
        waiting, acknowledged = [json.dumps(answer) for answer in answers], []

        def answer(body):
            if body == b"{}":
                if waiting:
                    return 200, waiting.pop(0)
                time.sleep(0.05)
                return 200, json.dumps({"notification": None, "after": "9", "cursor": "9", "records": [], "missed": 0})
            document = json.loads(body)
            if "lease" in document or "cursor" in document:
                acknowledged.append(document)
            return 200

        stub = self.stub(metrics_interval=1000)
        stub.answers = [answer] * 100_000
        return acknowledged

    def test_an_alert_that_was_taken_is_not_sent_again_when_the_others_were_not(self):
        alert = {"status": "firing", "labels": {"alertname": "a"}, "annotations": {}, "startsAt": "s", "endsAt": "0001-01-01T00:00:00Z"}
        alerts = [{**alert, "fingerprint": "1", "rule": "a", "level": "ERROR"}, {**alert, "fingerprint": "2", "rule": "b", "level": "WARNING"}]
        handed = {"lease": "l1", "test": False, "attempt": 1, "notification": {"id": "n", "alerts": alerts}}
        test = {"lease": "l3", "test": True, "attempt": 1, "notification": {"id": "t", "alerts": alerts}}
        acknowledged = self.polled({"notification": handed}, {"notification": {**handed, "lease": "l2"}}, {"notification": test})
        sent = []

        class Channel(watchfire.NotificationChannel):
            def send(self, alert):
                sent.append((alert.name, alert.level.value, alert.state, alert.resolved_at))
                if len(sent) == 2:
                    raise RuntimeError("busy")
                return True

            def test(self):
                return False

        watchfire.alert_manager.add_notification_channel("mine", Channel())
        self.addCleanup(watchfire.alert_manager.remove_notification_channel, "mine")
        eventually("all is acknowledged", lambda: len(acknowledged) == 3)
        self.assertEqual(sent, [("a", "ERROR", "firing", None), ("b", "WARNING", "firing", None), ("b", "WARNING", "firing", None)])
        self.assertEqual([(one["lease"], one["delivered"]) for one in acknowledged], [("l1", False), ("l2", True), ("l3", False)])
        self.assertIn("busy", acknowledged[0]["detail"])

    def test_records_come_again_after_an_exception_and_findings_go_with_the_cursor(self):
        batch = {"after": "1", "cursor": "5", "missed": 0, "records": [{"seq": "4", "body": "x", "attributes": {}}]}
        acknowledged = self.polled(batch, batch)

        class Analyzer(watchfire.LogAnalyzer):
            calls = 0

            def _custom_analysis(self):
                Analyzer.calls += 1
                self.report_finding("r", records=self.records, labels={"n": 1})
                if Analyzer.calls == 1:
                    raise RuntimeError("once")

        analyzer = Analyzer()
        self.addCleanup(analyzer.stop)
        self.assertTrue(analyzer.start())
        eventually("it is acknowledged", lambda: acknowledged)
        finding = acknowledged[0]["findings"][0]
        self.assertEqual((acknowledged[0]["after"], acknowledged[0]["cursor"], len(acknowledged[0]["findings"])), ("1", "5", 1))
        self.assertEqual((finding["rule"], finding["seqs"], finding["labels"]), ("r", ["4"], {"n": "1"}))
        self.assertEqual(Analyzer.calls, 2)

    def test_the_end_does_not_wait_for_an_open_question(self):
        stub = self.stub(metrics_interval=1000)
        asked = threading.Event()

        def hang(body):
            asked.set()
            time.sleep(30)
            return 200

        stub.answers = [hang]
        watchfire.alert_manager.add_notification_channel("slow", type("C", (watchfire.NotificationChannel,), {"send": lambda *_: True})())
        self.assertTrue(asked.wait(10))
        runner = watchfire.alert_manager._channels["slow"]
        watchfire.alert_manager.remove_notification_channel("slow")
        eventually("its thread has ended", lambda: not runner._thread.is_alive(), seconds=5)


class Command(unittest.TestCase):
    def test_without_a_binary_it_says_what_to_do(self):
        from watchfire import startup

        with mock.patch.dict(os.environ, {"PATH": ""}), mock.patch("sys.stderr", io.StringIO()) as said:
            os.environ.pop("WATCHFIRE_BINARY", None)
            self.assertEqual(startup.main(["status"]), 2)
        self.assertIn("WATCHFIRE_BINARY", said.getvalue())


if __name__ == "__main__":
    unittest.main()
