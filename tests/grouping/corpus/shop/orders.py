"""Orders."""

import json
from decimal import Decimal


class OrderError(Exception):
    """An error of the application's own."""


PRICES = {"p-1": "9.50", "p-2": "n/a"}


def price(product):
    return Decimal(PRICES[product])


def total(lines):
    return sum(price(line["product"]) * line["count"] for line in lines)


def validate(order):
    if "customer" not in order:
        raise OrderError(f"order {order['id']} has no customer")
    if not order["lines"]:
        raise OrderError(f"order {order['id']} is empty")
    return order


def parse(text):
    return validate(json.loads(text))


def charge(order):
    try:
        return total(order["lines"])
    except KeyError as error:
        raise OrderError(f"order {order['id']} cannot be charged") from error


def ship(order):
    return order["address"]["street"].upper()
