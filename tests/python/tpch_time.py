"""Times the 22 TPC-H queries in DuckDB on Parquet files.

  tpch_time.py FOLDER THREADS ROUNDS          {"1": median seconds, …} on standard output
  tpch_time.py FOLDER THREADS ROUNDS MEMORY   {"1": [first, last], …}: each query in an engine of its
                                              own with so much memory, the page cache dropped before
"""
import glob
import json
import site
import statistics
import sys
import time

import duckdb


def connect(folder, config):
    extension = glob.glob(
        site.getsitepackages()[0] + "/duckdb_extension_tpch/extensions/*/tpch.duckdb_extension"
    )[0]
    connection = duckdb.connect(config={"allow_unsigned_extensions": True, **config})
    connection.execute(f"LOAD '{extension}'")
    for file in glob.glob(folder + "/*.parquet"):
        table = file.rsplit("/", 1)[1].removesuffix(".parquet")
        connection.execute(f"CREATE VIEW {table} AS SELECT * FROM read_parquet('{file}')")
    return connection


def run(connection, query, rounds):
    taken = []
    for _ in range(rounds):
        begin = time.perf_counter()
        connection.execute(query).fetchall()
        taken.append(time.perf_counter() - begin)
    return taken


def drop_page_cache():
    try:
        with open("/proc/sys/vm/drop_caches", "w") as file:
            file.write("1")
    except OSError as error:
        print("the page cache stays:", error, file=sys.stderr)


def main():
    folder, threads, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    config = {"threads": threads}
    connection = connect(folder, config)
    queries = connection.execute("SELECT query_nr, query FROM tpch_queries()").fetchall()
    times = {}
    if len(sys.argv) == 4:
        for number, query in queries:
            times[number] = statistics.median(run(connection, query, rounds))
    else:
        connection.close()
        config["memory_limit"] = sys.argv[4]
        for number, query in queries:
            connection = connect(folder, config)
            drop_page_cache()
            taken = run(connection, query, rounds)
            times[number] = [taken[0], taken[-1]]
            connection.close()
    json.dump(times, sys.stdout)


main()
