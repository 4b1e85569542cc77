"""Stock."""

import sqlite3


class Stock:
    def __init__(self):
        self.connection = sqlite3.connect(":memory:")
        self.cache = {}

    def reserve(self, product, count):
        left = self.load(product) - count
        if left < 0:
            raise ValueError(f"{product}: {-left} too few in stock")
        return left

    def load(self, product):
        return self.connection.execute("SELECT count FROM stock WHERE product = ?", (product,)).fetchone()[0]

    def average(self, counts):
        return sum(counts) / len(counts)

    def depth(self, tree):
        return 1 + max(self.depth(child) for child in tree["children"])


class Warehouse(Stock):
    def load(self, product):
        return self.cache[product]
