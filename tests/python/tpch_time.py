"""Times the 22 TPC-H queries in DuckDB on Parquet files.

  tpch_time.py FOLDER THREADS ROUNDS     {"1": median seconds, …} on standard output
"""
import glob
import json
import site
import statistics
import sys
import time

import duckdb


def main():
    folder, threads, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    extension = glob.glob(
        site.getsitepackages()[0] + "/duckdb_extension_tpch/extensions/*/tpch.duckdb_extension"
    )[0]
    connection = duckdb.connect(config={"allow_unsigned_extensions": True, "threads": threads})
    connection.execute(f"LOAD '{extension}'")
    for file in glob.glob(folder + "/*.parquet"):
        table = file.rsplit("/", 1)[1].removesuffix(".parquet")
        connection.execute(f"CREATE VIEW {table} AS SELECT * FROM read_parquet('{file}')")
    times = {}
    queries = connection.execute("SELECT query_nr, query FROM tpch_queries()").fetchall()
    for number, query in queries:
        taken = []
        for _ in range(rounds):
            begin = time.perf_counter()
            connection.execute(query).fetchall()
            taken.append(time.perf_counter() - begin)
        times[number] = statistics.median(taken)
    json.dump(times, sys.stdout)


main()
