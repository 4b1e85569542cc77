"""Sends with an unmodified Sentry SDK for Python all that it can send, and prints the ids of the events, one JSON object a line."""

import argparse
import json
import logging
import uuid

import sentry_sdk
from sentry_sdk import logger as sentry_logger
from sentry_sdk.crons import monitor
from sentry_sdk.integrations.logging import LoggingIntegration

# Not as it stands: lines of source come with every event, and are what a program says in the open.
SECRET = "".join(("hunt", "er2"))


class OrderError(Exception):
    """An error of the application's own."""


def load(order):
    """Fails at the bottom of a chain."""
    return {"1": "one"}[order]


def charge(order, password):
    """Fails with a cause; the SDK sends local variables too."""
    card = "4111 1111 1111 1111"
    try:
        return load(order), card, password
    except KeyError as error:
        raise OrderError(f"order {order} cannot be charged") from error


@monitor(monitor_slug="nightly-import")
def nightly(fails):
    """Checks in, and out."""
    if fails:
        raise TimeoutError("the import took too long")


def handled():
    """A call site of its own for the same class and the same message."""
    try:
        charge("17", SECRET)
    except OrderError as error:
        return sentry_sdk.capture_exception(error)
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--dsn", required=True)
    parser.add_argument("--release", default="shop@1.2.3")
    parser.add_argument("--repeat", type=int, default=3, help="how often the chained error occurs")
    options = parser.parse_args()
    sentry_sdk.init(
        dsn=options.dsn,
        release=options.release,
        environment="production",
        server_name="web-1",
        traces_sample_rate=1.0,
        profiles_sample_rate=1.0,
        enable_logs=True,
        send_default_pii=True,
        attach_stacktrace=True,
        integrations=[LoggingIntegration(level=logging.INFO, event_level=logging.ERROR)],
    )
    sentry_sdk.set_tag("team", "checkout")
    sentry_sdk.set_user({"id": "42", "email": "ann@shop.example", "ip_address": "203.0.113.7"})
    sentry_sdk.set_context("order", {"id": 17, "lines": [1, 2, 3]})
    sent = {}

    with sentry_sdk.start_transaction(op="task", name="checkout") as transaction:
        logging.getLogger("shop").warning("a breadcrumb of the log")
        sentry_sdk.add_breadcrumb(category="cart", message="put into the cart", level="info", data={"product": "p-1"})
        sent["chained"] = [handled() for _ in range(options.repeat)]
        sent["trace"] = transaction.trace_id
    sent["message"] = [sentry_sdk.capture_message("disk of web-1 is 91 % full", level="warning")]

    with sentry_sdk.new_scope() as scope:
        scope.fingerprint = ["my-own", "group"]
        scope.set_level("fatal")
        sent["fingerprint"] = [sentry_sdk.capture_exception(ValueError("one")), sentry_sdk.capture_exception(TypeError("another"))]
    with sentry_sdk.new_scope() as scope:
        scope.add_attachment(bytes=b"the whole configuration \xff\x00", filename="config.bin", content_type="application/octet-stream")
        sent["attachment"] = [sentry_sdk.capture_message("with an attachment")]

    # One event twice, as if the answer to the first had been lost.
    again = {"event_id": uuid.uuid4().hex, "message": "sent again", "level": "error"}
    sent["repeated"] = [sentry_sdk.capture_event(dict(again)) for _ in range(2)]

    # An error record of the standard library becomes an event by itself.
    logging.getLogger("shop.stock").error("stock of %s is negative: %d", "p-9", -3)
    sentry_logger.warning("payment {number} is slow", number=7, attributes={"duration_ms": 1250.5})
    sentry_logger.error("payment {number} failed", number=8)

    nightly(False)
    try:
        nightly(True)
    except TimeoutError as error:
        sent["monitored"] = [sentry_sdk.capture_exception(error)]

    # A session that ends well, and one in which something was not handled.
    scope = sentry_sdk.get_isolation_scope()
    scope.start_session()
    scope.end_session()
    scope.start_session()
    try:
        charge("99", SECRET)
    except OrderError as error:
        event, hint = sentry_sdk.utils.event_from_exception(error, client_options=sentry_sdk.get_client().options, mechanism={"type": "excepthook", "handled": False})
        sent["unhandled"] = [sentry_sdk.capture_event(event, hint=hint)]
    scope.end_session()

    feedback = {"contexts": {"feedback": {"message": "it does not work", "contact_email": "bob@shop.example", "associated_event_id": sent["chained"][0]}}, "type": "feedback"}
    sentry_sdk.capture_event(feedback)
    sentry_sdk.flush(10)
    print(json.dumps(sent))


main()
