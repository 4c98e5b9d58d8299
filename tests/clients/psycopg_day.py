"""What somebody does with psycopg on the first day. Argument: the port."""

import datetime
import decimal
import sys
import uuid

import psycopg

DSN = f"host=127.0.0.1 port={sys.argv[1]} user=postgres dbname=postgres"
UTC = datetime.timezone.utc


def fails(sqlstate, act):
    try:
        act()
    except psycopg.Error as error:
        assert error.sqlstate == sqlstate, (sqlstate, error.sqlstate, str(error))
        return error
    raise AssertionError(f"no error, {sqlstate} expected")


with psycopg.connect(DSN, autocommit=True) as db:
    assert db.info.parameter_status("server_encoding") == "UTF8"
    db.execute(
        """create table day (id int primary key, small smallint, big bigint, price numeric(12,3),
           exact numeric, name text, code varchar(10), raw bytea, born date, at time, seen timestamp,
           known timestamptz, took interval, key uuid, single real, double double precision, ok bool)"""
    )
    row = (
        1, 2, 3, decimal.Decimal("4.500"), decimal.Decimal("123.4567890"), "täxt", "vc", b"\x00\xff",
        datetime.date(2020, 2, 29), datetime.time(12, 34, 56, 789),
        datetime.datetime(2020, 1, 1, 12, 0, 0, 123456), datetime.datetime(2020, 1, 1, tzinfo=UTC),
        datetime.timedelta(days=3, seconds=4, microseconds=5), uuid.UUID(int=5), 1.5, 2.5, True,
    )
    for kind, key in (("%s", 1), ("%b", 2)):
        marks = ",".join([kind] * len(row))
        db.execute(f"insert into day values ({marks})", (key, *row[1:]))
    db.execute("insert into day (id, name) values (%s, %s)", (3, None))
    for binary in (False, True):
        rows = db.execute("select * from day order by id", binary=binary).fetchall()
        assert rows == [row, (2, *row[1:]), (3, *[None] * (len(row) - 1))], rows

    # Parameters in every place, prepared by the sixth time at the latest.
    for turn in range(8):
        query = "select id from day where id between %s and %s + 1 and name like %s order by id limit %s"
        assert db.execute(query, (1, 1, "t%", 1)).fetchall() == [(1,)], turn
    assert db.execute("select coalesce(%s, name) from day where id = 3", ("x",)).fetchone() == ("x",)
    assert db.execute("select id from day where id in (%s, %s) order by 1", (1, 3)).fetchall() == [(1,), (3,)]
    assert db.execute("select id from day where id = any(%s) order by 1", ([1, 3],)).fetchall() == [(1,), (3,)]
    listed = "select relname from pg_class where relname = any(%s) order by 1"
    assert db.execute(listed, (["day", "day_pkey", "nothing"],)).fetchall() == [("day",), ("day_pkey",)]
    # Names of objects are text to a client that knows no more of them.
    assert db.execute("select %s::regclass, pg_typeof(1)", ("day",)).fetchone() == ("day", "integer")
    assert db.execute("select seen + %s from day where id = 1", (datetime.timedelta(days=1),)).fetchone() == (
        datetime.datetime(2020, 1, 2, 12, 0, 0, 123456),
    )

    with db.cursor() as cursor:
        cursor.executemany("insert into day (id, name) values (%s, %s)", [(n, str(n)) for n in range(100, 200)])
        assert cursor.rowcount == 100
        with cursor.copy("copy day (id, name, price) from stdin") as copy:
            for n in range(300, 310):
                copy.write_row((n, f"a\t{n}", decimal.Decimal(n)))
        assert cursor.rowcount == 10
        with cursor.copy("copy (select id, name from day where id in (300, 301) order by id) to stdout") as copy:
            assert list(copy.rows()) == [("300", "a\t300"), ("301", "a\t301")]

        def broken_copy():
            with cursor.copy("copy day (id, name) from stdin") as copy:
                copy.write("500\tx\n501\ty\nabc\tz\n")

        error = fails("22P02", broken_copy)
        assert error.diag.context == 'COPY day, line 3, column id: "abc"', error.diag.context

    error = fails("23505", lambda: db.execute("insert into day (id) values (1)"))
    diag = error.diag
    assert (diag.schema_name, diag.table_name, diag.constraint_name) == ("public", "day", "day_pkey")
    assert diag.message_detail == "Key (id)=(1) already exists."
    assert error.diag.severity_nonlocalized == "ERROR"
    fails("22012", lambda: db.execute("select 1 / %s", (0,)))
    assert sum(1 for _ in db.cursor().stream("select generate_series(1, 10000)")) == 10000
    # One notice for the table that is not there.
    notices = []
    db.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    db.execute("drop table if exists nowhere")
    assert notices == ['table "nowhere" does not exist, skipping'], notices

with psycopg.connect(DSN) as db:
    try:
        with db.transaction():
            db.execute("insert into day (id) values (600)")
            raise psycopg.Rollback()
    except psycopg.Rollback:
        pass
    assert db.execute("select count(*) from day where id >= 500").fetchone() == (0,)
    fails("22012", lambda: db.execute("select 1/0"))
    fails("25P02", lambda: db.execute("select 1"))
    db.rollback()
    # Transactions in one another are savepoints.
    with db.transaction():
        db.execute("insert into day (id) values (700)")
        for _ in range(3):
            try:
                with db.transaction():
                    db.execute("insert into day (id) values (701)")
                    with db.transaction():
                        db.execute("insert into day (id) values (700)")
            except psycopg.errors.UniqueViolation:
                pass
        with db.transaction():
            db.execute("insert into day (id) values (702)")
    kept = db.execute("select id from day where id >= 700 order by id").fetchall()
    assert kept == [(700,), (702,)], kept
    # Cursors of the server.
    numbers = "select n, n::text from generate_series(1, %s) n order by 1"
    for binary in (False, True):
        with db.cursor("some of them", binary=binary) as cursor:
            cursor.execute(numbers, (1000,))
            assert [column.name for column in cursor.description] == ["n", "n"], cursor.description
            cursor.itersize = 7
            assert cursor.fetchone() == (1, "1")
            assert cursor.fetchmany(3) == [(2, "2"), (3, "3"), (4, "4")]
            assert sum(row[0] for row in cursor) == 500500 - 10
        with db.cursor("both ways", scrollable=True) as cursor:
            cursor.execute(numbers, (10,), binary=binary)
            cursor.scroll(8)
            assert cursor.fetchall() == [(9, "9"), (10, "10")]
            cursor.scroll(-3)
            assert cursor.fetchone() == (9, "9")
            cursor.scroll(2, mode="absolute")
            assert cursor.fetchone() == (3, "3")
    held = db.cursor("held", withhold=True)
    held.execute(numbers, (5,))
    db.commit()
    assert held.fetchmany(2) == [(1, "1"), (2, "2")]
    db.commit()
    assert len(held.fetchall()) == 3
    held.close()
    assert db.execute("select count(*) from pg_cursors").fetchone() == (0,)
    db.commit()
    db.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    assert db.execute("show transaction_isolation").fetchone() == ("repeatable read",)
    db.rollback()
    db.read_only = True
    fails("25006", lambda: db.execute("delete from day"))
    db.rollback()
    db.read_only = None
    with db.pipeline():
        first, second = db.execute("select 1"), db.execute("select %s::int", (2,))
        assert (first.fetchone(), second.fetchone()) == ((1,), (2,))
    db.execute("drop table day")
print("done")
