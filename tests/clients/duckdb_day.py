"""What somebody does with DuckDB's postgres attach on the first day: tables over there read and filled
as if they were here, through binary COPY both ways. Argument: the port."""

import glob
import site
import sys

import duckdb

port = int(sys.argv[1])
folders = [f for folder in site.getsitepackages() + sys.path
           for f in glob.glob(folder + "/duckdb_extension_postgres_scanner/extensions/*/*.duckdb_extension")]
db = duckdb.connect()
db.execute(f"load '{folders[0]}'")
# It would cut tables into ranges of ctid, a column that is not there.
db.execute("set pg_use_ctid_scan = false")
db.execute(f"attach 'host=127.0.0.1 port={port} user=postgres dbname=postgres' as pg (type postgres)")

# Made over there, filled from here.
db.execute("""create table pg.public.duck_day (id int, big bigint, small smallint, f double, r real, ok boolean,
              t varchar, b blob, d date, moment timestamp, n decimal(12, 3), u uuid, atz timestamptz)""")
db.execute("""create table here as select i::int as id, i * 1000000007 as big, (i % 100)::smallint as small,
              i / 8.0 as f, (i / 4.0)::real as r, i % 2 = 0 as ok,
              case when i % 7 = 0 then null else 'row ' || i end as t, ('b' || i)::blob as b,
              date '1999-12-31' + i::int as d, timestamp '2000-01-01 00:00:00' + interval (i) minute as moment,
              (i * 1.125)::decimal(12, 3) as n, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid as u,
              timestamptz '2000-01-01 00:00:00+00' + interval (i) second as atz
              from range(20000) r(i)""")
db.execute("insert into pg.public.duck_day select * from here")
assert db.execute("select count(*) from pg.public.duck_day").fetchall() == [(20000,)]
# And back: nothing is lost on the way.
back = "select * from pg.public.duck_day"
assert db.execute(f"select count(*) from (from here except {back})").fetchall() == [(0,)]
assert db.execute(f"select count(*) from ({back} except from here)").fetchall() == [(0,)]
filtered = db.execute("select t, n from pg.public.duck_day where id = 12345").fetchall()
assert [(t, str(n)) for t, n in filtered] == [("row 12345", "13888.125")], filtered
joined = db.execute("select count(*) from pg.public.duck_day p join here h using (id) where h.ok and p.small < 50")
assert joined.fetchall() == [(5000,)], joined.fetchall()

# A table of theirs.
db.execute("create table pg.public.duck_from as select id, t from here where id < 10")
assert db.execute("select sum(id) from pg.public.duck_from").fetchall() == [(45,)]
db.execute("call postgres_execute('pg', 'delete from duck_from where id = 9')")
assert db.execute("from postgres_query('pg', 'select count(*) from duck_from')").fetchall() == [(9,)]

db.execute("begin")
db.execute("insert into pg.public.duck_from values (100, 'x')")
db.execute("rollback")
assert db.execute("select count(*) from pg.public.duck_from").fetchall() == [(9,)]
# Its own UPDATE and DELETE would name rows by ctid.
db.execute("call postgres_execute('pg', 'update duck_from set t = ''y'' where id = 1')")
db.execute("call postgres_execute('pg', 'delete from duck_from where id = 2')")
assert db.execute("select id, t from pg.public.duck_from where id in (1, 2)").fetchall() == [(1, "y")]
tables = db.execute("select table_name from duckdb_tables() where database_name = 'pg' order by 1").fetchall()
assert [name for (name,) in tables if name.startswith("duck")] == ["duck_day", "duck_from"], tables
db.execute("drop table pg.public.duck_from")
db.execute("drop table pg.public.duck_day")
print("done")
