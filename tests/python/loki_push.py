"""Pushes lines to Loki's API: through `python-logging-loki`, and in protobuf with snappy, put together by Google's own library."""

import argparse
import logging
import time

import cramjam
import logging_loki
import requests
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

parser = argparse.ArgumentParser()
parser.add_argument("--url", required=True, help="of the host")
parser.add_argument("--count", type=int, default=20)
options = parser.parse_args()
url = f"{options.url}/loki/api/v1/push"

handler = logging_loki.LokiHandler(url=url, tags={"app": "logging-loki", "host": "web-1"}, version="1")
logger = logging.getLogger("shop.orders")
logger.addHandler(handler)
logger.setLevel(logging.DEBUG)
for number in range(options.count):
    logger.log(logging.WARNING if number % 2 else logging.ERROR, "order %d – 日本語", number, extra={"tags": {"component": "orders"}})


def push_request():
    """Returns the class of `logproto.PushRequest`, from its definition in Loki's documentation."""
    file = descriptor_pb2.FileDescriptorProto(name="push.proto", package="logproto", syntax="proto3")
    kinds = {"int64": 3, "uint64": 4, "int32": 5, "string": 9, "message": 11}

    def message(name, *fields):
        made = file.message_type.add(name=name)
        for number, (field, kind, repeated, of) in enumerate(fields, 1):
            made.field.add(name=field, number=number, type=kinds[kind], label=3 if repeated else 1, type_name=of and f".logproto.{of}")

    message("Time", ("seconds", "int64", False, None), ("nanos", "int32", False, None))
    message("Pair", ("name", "string", False, None), ("value", "string", False, None))
    message("Entry", ("timestamp", "message", False, "Time"), ("line", "string", False, None), ("structuredMetadata", "message", True, "Pair"))
    message("Stream", ("labels", "string", False, None), ("entries", "message", True, "Entry"), ("hash", "uint64", False, None))
    message("PushRequest", ("streams", "message", True, "Stream"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("logproto.PushRequest"))


request = push_request()()
stream = request.streams.add(labels='{service_name="snappy", level="warn", path="C:\\\\logs\\\\\\"a\\""}')
now = time.time_ns()
for number in range(options.count):
    entry = stream.entries.add(line=f"line {number} – 日本語")
    entry.timestamp.seconds, entry.timestamp.nanos = divmod(now + number, 10**9)
    entry.structuredMetadata.add(name="trace_id", value="0af7651916cd43dd8448eb211c80319c")
    entry.structuredMetadata.add(name="number", value=str(number))
body = bytes(cramjam.snappy.compress_raw(request.SerializeToString()))
answer = requests.post(url, data=body, headers={"Content-Type": "application/x-protobuf"})
assert answer.status_code == 204, (answer.status_code, answer.text)
