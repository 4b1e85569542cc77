"""Every snippet of the specification that this package was made for, with its import lines changed and nothing else, on a real host."""

import json
import logging
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
import watchfire
from watchfire.client import client

from host import BINARY, Host, eventually

TEXT = (pathlib.Path(__file__).parent / "specification.md").read_text(encoding="utf-8")


def snippets(language):
    """Returns the snippets of a language with the headings above them."""
    found, headings, inside, lines = [], [], None, []
    for line in TEXT.splitlines():
        if line.startswith("```"):
            if inside is None:
                inside, lines = line[3:].strip(), []
            else:
                if inside == language:
                    found.append((" / ".join(headings[1:]), "\n".join(lines)))
                inside = None
        elif inside is not None:
            lines.append(line)
        elif (match := re.match(r"(#+) (.*)", line)) is not None:
            headings = [*headings[: len(match[1]) - 1], match[2]]
    return found


def changed(code):
    """Returns a snippet with its import lines changed."""
    lines = code.splitlines()
    return "\n".join(line.replace("src.monitoring", "watchfire.monitoring") if re.match(r"\s*(from|import) ", line) else line for line in lines)


@unittest.skipUnless(BINARY, "there is no host: WATCHFIRE_BINARY names none, and there is no `watchfire` on the PATH")
class Snippets(unittest.TestCase):
    """Each test runs the snippets under one heading, in a module of its own, and looks at the host afterwards."""

    @classmethod
    def setUpClass(cls):
        cls.host = Host(alerting={"receivers": [{"name": "custom", "pull": {}}], "group_wait": 0, "group_interval": 1, "cooldown": 0})
        cls.folder = tempfile.TemporaryDirectory()
        example = next(code for heading, code in snippets("json") if "配置文件结构" in heading)
        cls.before = os.getcwd()
        os.chdir(cls.folder.name)
        pathlib.Path("monitoring_config.json").write_text(example, encoding="utf-8")
        os.environ["WATCHFIRE_URL"] = cls.host.url
        os.environ["OTEL_SERVICE_NAME"] = "product-sync"

    @classmethod
    def tearDownClass(cls):
        watchfire.shutdown_monitoring(5)
        os.chdir(cls.before)
        cls.folder.cleanup()
        cls.host.close()
        del os.environ["WATCHFIRE_URL"], os.environ["OTEL_SERVICE_NAME"]

    ran = set()

    def run_all(self, heading, **names):
        """Runs the Python snippets under `heading`; returns what they leave behind. `names` is what a snippet takes for there."""
        left = {"__name__": f"shop.{len(self.ran)}", **names}
        matching = [(index, code) for index, (where, code) in enumerate(snippets("python")) if heading in where]
        self.assertTrue(matching, heading)
        for index, code in matching:
            self.ran.add(index)
            exec(compile(changed(code), f"specification: {heading}", "exec"), left)
        return left

    def setUp(self):
        # Errors that are logged would otherwise be printed.
        logging.getLogger().addHandler(logging.NullHandler())
        self.assertTrue(watchfire.initialize_monitoring())

    def records(self, query, count=1):
        """Returns the records that `query` finds, as soon as there are so many."""
        return eventually(query, lambda: watchfire.flush(5) and len(found := watchfire.search_logs(query, hours=1)) >= count and found)

    def series(self, name, **labels):
        """Returns the newest value of a series that has `labels`, as soon as there is one."""

        def newest():
            watchfire.flush(5)
            for series in watchfire.performance_monitor.query(name, labels).get("series", []):
                return series
            return None

        return eventually(name, newest)

    def test_01_initialising(self):
        left = self.run_all("初始化监控系统")
        self.assertIs(left["success"], True)
        # The host takes the same file.
        subprocess.run([BINARY, "check", "--config", "monitoring_config.json"], check=True, capture_output=True)

    def test_02_basic_use(self):
        left = self.run_all("基本使用", processed_data=[1], products=["a"])
        self.assertEqual((left["process_data"]({}), left["get_products"]()), ([1], ["a"]))
        self.assertTrue(self.records('"开始处理数据" service:product-sync'))
        self.assertTrue(self.series("data_processing_duration_count", outcome="success"))
        self.assertTrue(self.series("total_requests", endpoint="/api/products", method="GET"))

    def test_03_the_logger(self):
        self.run_all("结构化日志记录器")
        login = self.records('"用户登录"')[0]
        self.assertEqual((login["attributes"]["user_id"], login["severity_text"]), ("12345", "INFO"))
        task = self.records("task.id:task_123", 2)
        self.assertEqual(sorted(record["body"] for record in task), ["task completed: 图片同步", "task started: 图片同步"])
        # Fields are searched as numbers.
        self.assertTrue(self.records("duration_ms>1500 task.id:task_123"))
        self.assertTrue(self.records("http.response.status_code:200 url.path:/api/products duration_ms>250"))
        self.assertTrue(self.records("db.collection.name:products db.response.returned_rows:25"))
        self.assertTrue(self.records("event.name:user_registered user_id:12345"))

    def test_04_the_monitor(self):
        left = self.run_all("性能监控器")
        self.assertTrue(self.series("api_requests", endpoint="/api/products", method="GET"))
        self.assertTrue(self.series("active_connections"))
        self.assertTrue(self.series("response_time_count", endpoint="/api/products"))
        self.assertIn(left["health"]["status"], ("healthy", "warning", "critical", "unknown"))
        for name in ("process_memory_mb", "error_count", "active_requests"):
            self.assertTrue(self.series(name))
        health = eventually("the machine is measured", lambda: (h := watchfire.get_system_health()).get("memory_percent") and h)
        self.assertIn("cpu_percent", health)

    def test_05_errors(self):
        def risky_operation():
            raise RuntimeError("risky")

        left = self.run_all("错误追踪器", risky_operation=risky_operation)
        left["risky_function"]()
        self.assertIn("total", left["stats"])

        def counted():
            watchfire.flush(5)
            kinds = watchfire.error_tracker.get_error_statistics(hours=24).get("by_type", [])
            return any(kind["name"] == "RuntimeError" for kind in kinds)

        eventually("the error is counted", counted)
        issue = next(issue for issue in watchfire.error_tracker.get_issues() if issue["type"] == "RuntimeError")
        self.assertEqual(issue["service"], "product-sync")

    def test_06_alerts(self):
        left = self.run_all("告警管理器")
        manager = left["alert_manager"]
        eventually("the host has both rules", lambda: {rule.state for rule in manager.rules.values()} == {"added"})
        self.assertIsInstance(left["active_alerts"], list)
        self.assertIsNone(left["active_alerts"].error)
        # Once more, as after a restart of the application: nothing changes, and what is fired stays.
        self.assertTrue(manager.add_rule(left["cpu_rule"], wait=10))
        for number in range(12):
            try:
                raise ConnectionError(f"no answer, try {number}")
            except ConnectionError as error:
                watchfire.capture_exception(error)
        watchfire.flush(5)
        alert = eventually("the rule fires", lambda: [one for one in manager.get_active_alerts() if one.name == "错误数量异常"])[0]
        self.assertIs(alert.level, watchfire.AlertLevel.ERROR)
        self.assertGreater(alert.value, 10)
        # What the host refuses is said.
        wrong = watchfire.create_metric_rule("wrong", "a.b", 1, window="often")
        self.assertFalse(manager.add_rule(wrong, wait=10))
        self.assertEqual(wrong.state, "refused")
        self.assertIn("window", wrong.error)

    def test_07_the_analyzer(self):
        logger = watchfire.get_logger("shop")
        for number in range(5):
            logger.error("error while storing product %d", number)
        self.records("storing product", 5)
        left = self.run_all("日志分析器")
        self.assertIsNone(left["anomalies"].error)
        self.assertTrue(any("storing product" in record["body"] for record in left["results"]))
        self.assertGreater(left["report"]["volume"]["total"], 0)
        patterns = eventually("patterns are counted", lambda: watchfire.get_top_patterns(limit=10))
        self.assertIn("template", patterns[0])
        self.assertIn("watchfire", watchfire.generate_analysis_report(hours=1, format="markdown"))

    def test_08_decorators(self):
        left = self.run_all("集成装饰器", result=[1], products=["a", "b"])
        self.assertEqual(left["process_data"](3), [1])
        self.assertEqual((left["get_products"](1, 10), left["fetch_products"]("books"), left["sync_images"](7)), (["a", "b"], ["a", "b"], True))
        self.assertTrue(self.records("task.name:image_sync", 2))
        self.assertTrue(self.records("db.operation.name:SELECT function:fetch_products db.response.returned_rows:2"))
        self.assertTrue(self.series("task_duration_count", task="image_sync", outcome="success"))
        self.assertTrue(self.series("database_operation_duration_count", table="products"))

    def test_09_metrics_of_ones_own(self):
        self.run_all("自定义指标")
        self.assertTrue(self.series("user_registrations", plan="premium"))
        self.assertTrue(self.series("queue_depth", queue="email"))

    def test_10_debugging(self):
        root = logging.getLogger()
        before = root.level, list(root.handlers)
        self.addCleanup(lambda: (root.setLevel(before[0]), setattr(root, "handlers", before[1])))
        left = self.run_all("调试模式")
        components = left["components"]
        self.assertEqual((components["host"]["error"], components["client"]["running"]), (None, True))
        self.assertIn("logs", [part["name"] for part in components["host"]["parts"]])

    def test_13_a_channel_of_ones_own(self):
        left = self.run_all("自定义通知渠道", alert_manager=watchfire.alert_manager)
        channel_class, manager = left["CustomNotificationChannel"], watchfire.alert_manager
        self.assertEqual(manager.test_channels()["custom"], True)
        # `watchfire test channel` goes through the application.
        tested = subprocess.run([BINARY, "test", "channel", "custom", "--url", self.host.url], capture_output=True, text=True, timeout=60)
        self.assertEqual(tested.returncode, 0, tested.stdout + tested.stderr)
        self.assertIn("the channel's own test passed", tested.stdout + tested.stderr)
        # One that remembers, refuses once, and fails once.
        sent, answers = [], [False, RuntimeError("no")]

        class Remembering(channel_class):
            def send(self, alert):
                answer = answers.pop(0) if answers else super().send(alert)
                if isinstance(answer, Exception):
                    raise answer
                if answer:
                    sent.append(alert)
                return answer

        manager.add_notification_channel("custom", Remembering())
        rule = watchfire.create_error_rule("channel under test", threshold=0, error_type="ChannelError", window=20)
        self.assertTrue(manager.add_rule(rule, wait=10))
        ChannelError = type("ChannelError", (Exception,), {"__module__": "builtins"})
        try:
            raise ChannelError("for the channel")
        except ChannelError as error:
            watchfire.capture_exception(error)
        watchfire.flush(5)

        def told(state):
            return [alert for alert in sent if (alert.name, alert.state) == ("channel under test", state)]

        firing = eventually("the application is told", lambda: told("firing"), seconds=90)
        self.assertEqual((firing[0].level, firing[0].value, firing[0].labels["alertname"]), (watchfire.AlertLevel.ERROR, 1.0, "channel under test"))
        eventually("and told that it is over", lambda: told("resolved"), seconds=90)
        self.assertEqual(len(told("firing")), 1)
        manager.remove_notification_channel("custom")

    def test_14_an_analyzer_of_ones_own(self):
        left = self.run_all("自定义分析器")

        class Slow(left["CustomLogAnalyzer"]):
            query = "duration_ms>1000"
            seen = []
            fails = True

            def _custom_analysis(self):
                if Slow.fails:
                    Slow.fails = False
                    raise RuntimeError("the first time it fails")
                for record in self.records:
                    Slow.seen.append(record["attributes"]["run"])
                    self.report_finding("slow", title="a run is slow", key="slow runs", records=[record], labels={"run": record["attributes"]["run"]})

        self.assertFalse(watchfire.LogAnalyzer().start())
        analyzer = Slow()
        self.addCleanup(analyzer.stop)
        self.assertTrue(analyzer.start())
        # It begins at the end of the log: until it has asked, what is said is before that.
        eventually("it has asked", lambda: self.analyzer_is_known("Slow"))
        logger = watchfire.get_logger("shop")
        for number in range(20):
            logger.info("a run", run=number, duration_ms=2000 if number % 2 else 10)
        watchfire.flush(5)
        eventually("it has seen them", lambda: len(Slow.seen) >= 10)
        self.assertEqual(sorted(map(int, Slow.seen)), list(range(1, 20, 2)))
        found = eventually("its findings are stored", lambda: analyzer.get_findings())
        self.assertEqual((found[0]["rule"], found[0]["title"]), ("slow", "a run is slow"))
        # The next one of this name goes on where this one stopped.
        analyzer.stop()
        logger.info("a run", run=99, duration_ms=3000)
        watchfire.flush(5)
        again = Slow()
        self.addCleanup(again.stop)
        again.start()
        eventually("it goes on", lambda: "99" in map(str, Slow.seen))
        self.assertEqual(len(Slow.seen), 11)

    def analyzer_is_known(self, name):
        known = watchfire.remote.ask_list("/api/v1/analyzers", {}, "analyzers")
        return any(name in json.dumps(one) for one in known)

    def test_11_environment(self):
        exports = dict(re.findall(r"^export (\w+)=(.*)$", "\n".join(code for _, code in snippets("bash")), re.M))
        self.assertEqual(len(exports), 8)
        program = "import watchfire; assert watchfire.initialize_monitoring(); print(watchfire.client.client.settings)"
        path = str(pathlib.Path(__file__).parent.parent)
        environment = {**os.environ, **exports, "PYTHONPATH": path, "MONITORING_LOG_LEVEL": "WARNING"}
        told = subprocess.run([sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True).stdout
        self.assertIn("level=30", told)
        self.assertIn("collection_interval=30", told)

    def test_12_command_line(self):
        """The host of these commands is one of their own, with data of its own; all else is as the specification has it."""
        commands = [line.strip() for _, code in snippets("bash") for line in code.splitlines() if line.startswith("python -m ")]
        self.assertEqual(len(commands), 5)
        data = pathlib.Path(self.folder.name) / "commands"
        environment = {
            **os.environ,
            "PYTHONPATH": str(pathlib.Path(__file__).parent.parent),
            "WATCHFIRE_BINARY": BINARY,
            "WATCHFIRE_SERVER__LISTEN": "127.0.0.1:0",
            "WATCHFIRE_SERVER__OTLP_LISTEN": "",
            "WATCHFIRE_SERVER__OTLP_GRPC_LISTEN": "",
            "WATCHFIRE_STORAGE__DATA_DIR": str(data),
            "WATCHFIRE_STORAGE__BALLAST_BYTES": "0",
        }
        environment.pop("WATCHFIRE_URL")

        def run(command):
            words = command.replace("src.monitoring", "watchfire.monitoring").split()
            return subprocess.run([sys.executable, *words[1:]], env=environment, capture_output=True, text=True, timeout=60)

        def named(verb):
            return next(command for command in commands if f"startup {verb}" in command)

        started = run(named("start "))
        self.assertEqual(started.returncode, 0, started.stderr)
        try:
            environment["WATCHFIRE_URL"] = (data / "address").read_text().strip()
            # It refuses to overwrite what is there.
            self.assertNotEqual(run(named("create-config")).returncode, 0)
            os.remove("monitoring_config.json")
            self.assertEqual(run(named("create-config")).returncode, 0)
            self.assertIn("error_tracking", json.loads(pathlib.Path("monitoring_config.json").read_text()))
            # Healthy as soon as the machine has been measured.
            eventually("the host is healthy", lambda: run(named("status")).returncode == 0)
            tested = run(named("test"))
            # No receiver is enabled in the example: there is nothing to test, which it says.
            self.assertIn("receiver", tested.stdout + tested.stderr)
            exported = run(named("export"))
            self.assertEqual(exported.returncode, 0, exported.stderr)
            self.assertIn("metrics", json.loads(pathlib.Path("monitoring_data.json").read_text()))
        finally:
            stopped = run(f"python -m src.monitoring.startup stop --data {data}")
        self.assertEqual(stopped.returncode, 0, stopped.stderr)

    def test_99_no_snippet_is_left_out(self):
        self.assertEqual([where for index, (where, _) in enumerate(snippets("python")) if index not in self.ran], [])


@unittest.skipUnless(BINARY, "there is no host")
class WhileTheHostIsAway(unittest.TestCase):
    def test_what_is_said_meanwhile_arrives_once(self):
        host = Host()
        self.addCleanup(host.close)
        self.addCleanup(watchfire.shutdown_monitoring, 1)
        watchfire.initialize_monitoring(url=host.url, service="patient", auto_capture=False, flush_interval=0.05)
        logger = watchfire.get_logger("patient")
        for number in range(300):
            if number == 100:
                host.stop()
            if number == 200:
                eventually("it is known to be away", lambda: client.view()["host_error"])
                host.start()
            logger.info("said", number=number)
            time.sleep(0.001)
        eventually("all is sent", lambda: watchfire.flush(5), seconds=60)
        records = watchfire.search_logs("service:patient", limit=1000)
        self.assertEqual(sorted(int(record["attributes"]["number"]) for record in records), list(range(300)))


if __name__ == "__main__":
    unittest.main()
