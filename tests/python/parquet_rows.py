"""Prints what DuckDB answers to a query, as JSON rows."""

import json
import sys

import duckdb

print(json.dumps(duckdb.sql(sys.argv[1]).fetchall()))
