"""A program that sends its logs and metrics to watchfire with the stock OpenTelemetry SDK.

    pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-http
    python send_logs.py
    watchfire search --service shop

OTEL_EXPORTER_OTLP_ENDPOINT names another host than http://127.0.0.1:4318.
"""

import logging
import random
import time

from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

resource = Resource.create({"service.name": "shop"})

logs = LoggerProvider(resource=resource)
logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[logging.StreamHandler(), LoggingHandler(logger_provider=logs)])
log = logging.getLogger("shop.orders")

metrics = MeterProvider(resource=resource, metric_readers=[PeriodicExportingMetricReader(OTLPMetricExporter(), export_interval_millis=5_000)])
meter = metrics.get_meter("shop")
orders = meter.create_counter("shop.orders", description="Orders, by how they ended")
duration = meter.create_histogram("shop.order.duration", unit="ms")


def place_order(number):
    """Takes a moment, and sometimes fails."""
    started = time.perf_counter()
    time.sleep(random.uniform(0.01, 0.1))
    if random.random() < 0.1:
        raise ConnectionError("the payment service does not answer")
    duration.record((time.perf_counter() - started) * 1000)
    log.info("order %d is placed", number, extra={"order.id": number})


for number in range(1, 101):
    try:
        place_order(number)
        orders.add(1, {"result": "placed"})
    except ConnectionError:
        log.exception("order %d failed", number, extra={"order.id": number})
        orders.add(1, {"result": "failed"})

# What is still in memory is sent now.
logs.shutdown()
metrics.shutdown()
