"""TPC-H through DuckDB, as JSON on standard output.

  tpch.py queries            {"1": "select …", …}: the 22 queries
  tpch.py answers FOLDER [STATEMENT …]
                             {"1": [[value, …], …], …}: DuckDB's answers on FOLDER/*.csv, after
                             the statements
"""
import datetime
import decimal
import glob
import json
import site
import sys

import duckdb


def connect():
    folder = site.getsitepackages()[0]
    extension = glob.glob(folder + "/duckdb_extension_tpch/extensions/*/tpch.duckdb_extension")[0]
    connection = duckdb.connect(config={"allow_unsigned_extensions": True})
    connection.execute(f"LOAD '{extension}'")
    return connection


def queries(connection):
    return dict(connection.execute("SELECT query_nr, query FROM tpch_queries()").fetchall())


def text(value):
    if value is None:
        return None
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat(sep=" ") if isinstance(value, datetime.datetime) else value.isoformat()
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    return str(value)


def main():
    connection = connect()
    if sys.argv[1] == "queries":
        json.dump(queries(connection), sys.stdout)
        return
    folder = sys.argv[2]
    # CALL dbgen(sf = 0) makes the tables with their types, empty.
    connection.execute("CALL dbgen(sf = 0)")
    for (table,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall():
        connection.execute(f"COPY {table} FROM '{folder}/{table}.csv' (HEADER)")
    for statement in sys.argv[3:]:
        connection.execute(statement)
    answers = {}
    for number, query in queries(connection).items():
        rows = connection.execute(query).fetchall()
        answers[number] = [[text(value) for value in row] for row in rows]
    json.dump(answers, sys.stdout)


main()
