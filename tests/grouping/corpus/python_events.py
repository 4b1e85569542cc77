"""Raises the errors of `shop` and prints what an unmodified Sentry SDK makes of them: one JSON object a line, with the error's name."""

import asyncio
import json
import sys

import sentry_sdk
from sentry_sdk.transport import Transport
from shop import images, orders, stock

shop = stock.Stock()
warehouse = stock.Warehouse()

# One name for each error: what somebody would mend at one place.
ERRORS = {
    "unknown product": lambda: orders.charge({"id": 17, "lines": [{"product": "p-9", "count": 1}]}),
    "price is no number": lambda: orders.charge({"id": 18, "lines": [{"product": "p-2", "count": 1}]}),
    "no customer": lambda: orders.parse('{"id": 19, "lines": []}'),
    "no lines": lambda: orders.parse('{"id": 20, "customer": "ann", "lines": []}'),
    "order is no json": lambda: orders.parse("{'id': 21}"),
    "no address": lambda: orders.ship({"id": 22, "address": None}),
    "no street": lambda: orders.ship({"id": 23, "address": {}}),
    "no table": lambda: shop.reserve("p-1", 2),
    "not cached": lambda: warehouse.reserve("p-1", 2),
    "no counts": lambda: shop.average([]),
    "counts of text": lambda: shop.average(["1"]),
    "leaf without children": lambda: shop.depth({"children": [{"children": [{}]}]}),
    "image server away": lambda: asyncio.run(images.sync("p-1")),
    "no image": lambda: images.thumbnail("/var/lib/shop/p-1.png"),
    "image is no text": lambda: images.decode(b"\x89PNG\xff"),
    "image is empty": lambda: images.decode(b""),
    "size is no number": lambda: images.resize("large"),
}


class Printer(Transport):
    def __init__(self, options=None):
        super().__init__(options)
        self.name = ""

    def capture_envelope(self, envelope):
        event = envelope.get_event()
        if event is not None:
            print(json.dumps({"label": self.name, "event": event}))


def handle(name):
    try:
        ERRORS[name]()
    except Exception as error:
        sentry_sdk.capture_exception(error)


def main():
    printer = Printer()
    sentry_sdk.init(dsn="http://key@127.0.0.1:9/1", transport=printer, project_root=sys.path[0], include_local_variables=False)
    for name in ERRORS:
        printer.name = name
        handle(name)


if __name__ == "__main__":
    main()
