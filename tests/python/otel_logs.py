"""Sends log records with an unmodified OpenTelemetry SDK and prints what it sent, one JSON object a line.

What is printed comes from the SDK's own in-memory exporter, so it is the SDK's word for what went over the wire.
"""

import argparse
import base64
import json
import logging
import time

from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.common.http import Compression
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider


def exporter(encoding, endpoint, compression, headers=()):
    """Returns the stock exporter for one encoding."""
    if encoding == "grpc":
        import grpc
        from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter

        return OTLPLogExporter(
            endpoint=endpoint,
            insecure=True,
            headers=headers,
            compression=grpc.Compression.Gzip if compression == "gzip" else grpc.Compression.NoCompression,
        )
    if encoding == "json":
        from opentelemetry.exporter.otlp.json.http._log_exporter import OTLPLogExporter
    else:
        from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    return OTLPLogExporter(endpoint=endpoint, compression=Compression(compression))


def attributes(number):
    """Returns attributes of every kind that a log record can carry."""
    return {
        "number": number,
        "text": f"naïve – 日本語 {number}",
        "empty": "",
        "yes": True,
        "no": False,
        "negative": -(2**53) - 1,
        "ratio": number / 3,
        "whole": 2.0,
        "raw": bytes([0, 255, number % 256]),
        "list": ["a", "b"],
        "numbers": [1, 2, 3],
        "nested": {"user": {"id": number, "tags": ["x", "y"]}},
    }


def emit_direct(logger, number):
    """Emits through the Logs API: every severity, bodies of several kinds, an event name, an exception."""
    severity = list(SeverityNumber)[number % len(SeverityNumber)]
    bodies = [f"request {number} took {number * 7} ms", {"step": number, "ok": True}, ["one", number], number, f"line one\nline two {number}"]
    error = None
    if number % 4 == 0:
        try:
            raise ValueError(f"bad value {number}")
        except ValueError as caught:
            error = caught
    now = time.time_ns()
    logger.emit(
        LogRecord(
            timestamp=now,
            observed_timestamp=now + 1,
            severity_number=severity,
            severity_text=severity.name,
            body=bodies[number % len(bodies)],
            attributes=attributes(number),
            event_name="checkout.done" if number % 3 == 0 else None,
            exception=error,
        )
    )


def emit_standard(number):
    """Emits through Python's own logging, as most applications do."""
    log = logging.getLogger("shop.orders")
    if number % 5 == 0:
        try:
            {}["missing"]
        except KeyError:
            log.exception("order %d failed", number)
    else:
        log.warning("order %d is late", number, extra={"order.id": number})


def plain(value):
    """Returns a value as the host's API shows it: bytes as base64, tuples as lists."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict) or hasattr(value, "items"):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return value


def as_sent(readable):
    """Returns one record as the SDK holds it, under the host's names."""
    record = readable.log_record
    return {
        "timestamp_nanos": record.timestamp or 0,
        "observed_nanos": record.observed_timestamp,
        "severity_number": record.severity_number.value if record.severity_number else 0,
        "severity_text": record.severity_text or "",
        "body": plain(record.body),
        "attributes": plain(record.attributes or {}),
        "resource": plain(readable.resource.attributes),
        "scope": readable.instrumentation_scope.name,
        "event_name": record.event_name or "",
        "trace_id": f"{record.trace_id:032x}" if record.trace_id else "",
        "span_id": f"{record.span_id:016x}" if record.span_id else "",
        "flags": int(record.trace_flags or 0),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--endpoint", required=True, help="full URL, with /v1/logs unless it is for gRPC")
    parser.add_argument("--encoding", choices=["protobuf", "json", "grpc"], default="protobuf")
    parser.add_argument("--token", help="the host's token, for gRPC")
    parser.add_argument("--compression", choices=["gzip", "none"], default="none")
    parser.add_argument("--service", default="shop")
    parser.add_argument("--count", type=int, default=40)
    options = parser.parse_args()

    resource = Resource.create({"service.name": options.service, "service.instance.id": "shop-1", "deployment.environment.name": "test"})
    headers = (("authorization", f"Bearer {options.token}"),) if options.token else ()
    memory = InMemoryLogRecordExporter()
    provider = LoggerProvider(resource=resource)
    provider.add_log_record_processor(SimpleLogRecordProcessor(memory))
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter(options.encoding, options.endpoint, options.compression, headers)))
    logging.getLogger("shop").addHandler(LoggingHandler(logger_provider=provider))
    logging.getLogger("shop").setLevel(logging.DEBUG)

    logger = provider.get_logger("shop.direct", "1.2.3")
    tracer = TracerProvider(resource=resource).get_tracer("shop")
    for number in range(options.count):
        if number % 2 == 0:
            with tracer.start_as_current_span("work"):
                emit_direct(logger, number)
        else:
            emit_standard(number)
    provider.force_flush()
    provider.shutdown()
    for record in memory.get_finished_logs():
        print(json.dumps(as_sent(record), ensure_ascii=False))


if __name__ == "__main__":
    main()
