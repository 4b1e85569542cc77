"""Sends metrics with an unmodified OpenTelemetry SDK and prints what the host should hold afterwards, one JSON object a line.

The SDK exports three times; with delta temporality the host must add up, so the expected totals are the same for both.
"""

import argparse
import json

from opentelemetry.exporter.otlp.common.http import Compression
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider, ObservableCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

BOUNDS = [5.0, 10.0, 25.0]
ROUNDS = 3


def exporter(options):
    """Returns the stock exporter for one encoding, compression and temporality."""
    chosen = AggregationTemporality.DELTA if options.temporality == "delta" else AggregationTemporality.CUMULATIVE
    # Up-down counters are cumulative either way, as the specification's "delta" preference has it.
    temporality = {Counter: chosen, ObservableCounter: chosen, Histogram: chosen}
    if options.encoding == "grpc":
        import grpc
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter

        compression = grpc.Compression.Gzip if options.compression == "gzip" else grpc.Compression.NoCompression
        return OTLPMetricExporter(endpoint=options.endpoint, insecure=True, compression=compression, preferred_temporality=temporality)
    if options.encoding == "json":
        from opentelemetry.exporter.otlp.json.http.metric_exporter import OTLPMetricExporter
    else:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    return OTLPMetricExporter(endpoint=options.endpoint, compression=Compression(options.compression), preferred_temporality=temporality)


def expect(name, value, **labels):
    """Prints one series with the value that the host should show last."""
    print(json.dumps({"name": name, "labels": labels, "value": value}))


def expect_histogram(name, values, **labels):
    """Prints the series of a histogram: cumulative buckets, sum and count."""
    for bound in BOUNDS:
        expect(f"{name}_bucket", sum(1 for value in values if value <= bound), le=f"{bound:g}", **labels)
    expect(f"{name}_bucket", len(values), le="+Inf", **labels)
    expect(f"{name}_sum", sum(values), **labels)
    expect(f"{name}_count", len(values), **labels)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--endpoint", required=True, help="full URL, with /v1/metrics unless it is for gRPC")
    parser.add_argument("--encoding", choices=["protobuf", "json", "grpc"], default="protobuf")
    parser.add_argument("--compression", choices=["gzip", "none"], default="none")
    parser.add_argument("--temporality", choices=["cumulative", "delta"], default="cumulative")
    parser.add_argument("--prefix", default="shop", help="what the metric names begin with")
    options = parser.parse_args()
    prefix = options.prefix

    resource = Resource.create({"service.name": "shop", "service.instance.id": "shop-1"})
    reader = PeriodicExportingMetricReader(exporter(options), export_interval_millis=3_600_000)
    view = View(instrument_name=f"{prefix}.request.duration", aggregation=ExplicitBucketHistogramAggregation(BOUNDS))
    provider = MeterProvider(resource=resource, metric_readers=[reader], views=[view])
    meter = provider.get_meter("shop.metrics")

    requests = meter.create_counter(f"{prefix}.requests", unit="1")
    connections = meter.create_up_down_counter(f"{prefix}.connections")
    temperature = meter.create_gauge(f"{prefix}.temperature", unit="Cel")
    duration = meter.create_histogram(f"{prefix}.request.duration", unit="ms")

    durations = []
    for number in range(ROUNDS):
        requests.add(2, {"route": "/buy"})
        requests.add(1, {"route": "/look"})
        connections.add(3 - 2 * number)
        temperature.set(20.5 + number, {"room": "a"})
        for value in (1.0, 7.5, 10.0, 100.0):
            duration.record(value, {"route": "/buy"})
            durations.append(value)
        provider.force_flush()
    provider.shutdown()

    expect(f"{prefix}.requests", 2 * ROUNDS, route="/buy")
    expect(f"{prefix}.requests", ROUNDS, route="/look")
    expect(f"{prefix}.connections", sum(3 - 2 * number for number in range(ROUNDS)))
    expect(f"{prefix}.temperature", 20.5 + ROUNDS - 1, room="a")
    expect_histogram(f"{prefix}.request.duration", durations, route="/buy")


if __name__ == "__main__":
    main()
