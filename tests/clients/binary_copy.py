"""Binary COPY with the drivers that have it, for every type they have: psycopg both ways, asyncpg's
copy_records_to_table and copy_from_query. What a driver writes, the server shows as text, and what the
server writes, the driver reads. Argument: the port."""

import asyncio
import datetime
import decimal
import io
import math
import struct
import sys
import uuid

import asyncpg
import psycopg

PORT = int(sys.argv[1])
DSN = f"host=127.0.0.1 port={PORT} user=postgres dbname=postgres"
UTC = datetime.timezone.utc

# Type, value, and the text that the server shows of it.
VALUES = [
    ("bool", True, "true"),
    ("int2", -7, "-7"),
    ("int4", 2**31 - 1, "2147483647"),
    ("int8", -(2**63), "-9223372036854775808"),
    ("float4", 1.5, "1.5"),
    ("float8", -math.inf, "-Infinity"),
    ("numeric", decimal.Decimal("-12345678901234567890.000120"), "-12345678901234567890.000120"),
    ("numeric(10,2)", decimal.Decimal("12.34"), "12.34"),
    ("text", "tab\tand ü €", "tab\tand ü €"),
    ("varchar(5)", "fünf5", "fünf5"),
    ("char(4)", "ab", "ab  "),
    ("name", "n", "n"),
    ("bytea", b"\0\xff", "\\x00ff"),
    ("date", datetime.date(1999, 12, 31), "1999-12-31"),
    ("time", datetime.time(1, 2, 3, 4), "01:02:03.000004"),
    ("timestamp", datetime.datetime(2024, 2, 29, 1, 2, 3), "2024-02-29 01:02:03"),
    ("timestamptz", datetime.datetime(2024, 2, 29, 1, 2, 3, tzinfo=UTC), "2024-02-29 01:02:03+00"),
    ("interval", datetime.timedelta(days=-3, seconds=1), "-3 days +00:00:01"),
    ("uuid", uuid.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("int4[]", [1, None, 3], "{1,NULL,3}"),
    ("text[]", ["a b", "", None], '{"a b","",NULL}'),
    ("int8[]", [], "{}"),
]
JSON = [("json", '{"a" : 1}', '{"a" : 1}'), ("jsonb", '{"a" : [1]}', '{"a": [1]}')]
ROWS = 20_000


def columns(values):
    return ", ".join(f"c{i} {name}" for i, (name, _, _) in enumerate(values))


def shown(db, table, values):
    row = db.execute(f"select {', '.join(f'c{i}::text' for i in range(len(values)))} from {table} limit 1").fetchone()
    for (name, _, text), got in zip(values, row):
        # The text of char(n) has no blanks at its end.
        assert got == (text.rstrip(" ") if name.startswith("char") else text), (name, got, text)


def fails(sqlstate, message, act):
    try:
        act()
    except psycopg.Error as error:
        got = (error.sqlstate, error.diag.message_primary)
        assert got == (sqlstate, message), got
        return error
    raise AssertionError(f"no error, {message} expected")


def with_psycopg(db):
    from psycopg.types.json import Json, Jsonb

    values = VALUES + [("json", Json({"a": 1}), '{"a": 1}'), ("jsonb", Jsonb({"a": [1]}), '{"a": [1]}')]
    db.execute(f"create table p ({columns(values)})")
    names = ["text" if "char" in name else name.split("(")[0] for name, _, _ in values]
    with db.cursor().copy("copy p from stdin (format binary)") as copy:
        copy.set_types(names)
        for _ in range(100):
            copy.write_row([value for _, value, _ in values])
        copy.write_row([None] * len(values))
    shown(db, "p", values)
    assert db.execute("select count(*) from p where c0 is null and c23 is null").fetchone() == (1,)
    with db.cursor().copy("copy p to stdout (format binary)") as copy:
        copy.set_types(names)
        rows = list(copy.rows())
    assert len(rows) == 101 and rows[100] == (None,) * len(values), rows[100]
    for (name, value, _), got in zip(values, rows[0]):
        wanted = getattr(value, "obj", value)
        assert got == ("ab  " if name == "char(4)" else wanted), (name, got)
    # What one server wrote, it reads.
    with db.cursor().copy("copy (select * from p) to stdout with binary") as copy:
        data = b"".join(copy)
    db.execute(f"create table q ({columns(values)})")
    with db.cursor().copy("copy binary q from stdin") as copy:
        for at in range(0, len(data), 1000):
            copy.write(data[at:at + 1000])
    same = "select count(*) from p join q using (c3, c6, c10) where p.c12 = q.c12 and p.c19 = q.c19"
    assert db.execute(same).fetchone() == (10_000,)
    broken_files(db)
    db.execute("drop table p, q")


def broken_files(db):
    db.execute("create table b (a int4, t varchar(3))")
    head = b"PGCOPY\n\xff\r\n\0" + bytes(8)
    field = lambda value: struct.pack("!i", len(value)) + value
    row = lambda *fields: struct.pack("!h", len(fields)) + b"".join(fields)
    one, end = row(field(struct.pack("!i", 1)), field(b"abc")), b"\xff\xff"

    def send(data):
        with db.cursor().copy("copy b from stdin (format binary)") as copy:
            copy.write(data)

    for data, sqlstate, message in [
        (b"", "22P04", "COPY file signature not recognized"),
        (b"1\ta\n2\tb\n3\tc\n", "22P04", "COPY file signature not recognized"),
        (head[:13], "22P04", "invalid COPY file header (missing flags)"),
        (head[:17], "22P04", "invalid COPY file header (missing length)"),
        (head[:11] + b"\0\1\0\0\0\0\0\0", "22P04", "invalid COPY file header (WITH OIDS)"),
        (head[:11] + b"\0\2\0\0\0\0\0\0", "22P04", "unrecognized critical flags in COPY file header"),
        (head[:15] + b"\xff\xff\xff\xff", "22P04", "invalid COPY file header (missing length)"),
        (head[:15] + b"\0\0\0\5abc", "22P04", "invalid COPY file header (wrong length)"),
        (head + row(field(b"abcd")), "22P04", "row field count is 1, expected 2"),
        (head + b"\0\0", "22P04", "row field count is 0, expected 2"),
        (head + one + one[:5], "22P04", "unexpected EOF in COPY data"),
        (head + one + one[:-1], "22P04", "unexpected EOF in COPY data"),
        (head + b"\0\2\xff\xff\xff\xfe", "22P04", "invalid field size"),
        (head + one + end + b"x", "22P04", "received copy data after EOF marker"),
        (head + row(field(b"12345"), field(b"")), "22P03", "incorrect binary data format"),
        (head + row(field(bytes(4)), field(b"abcd")), "22001", "value too long for type character varying(3)"),
        (head + row(field(bytes(4)), field(b"\xff")), "22021", 'invalid byte sequence for encoding "UTF8": 0xff'),
    ]:
        error = fails(sqlstate, message, lambda: send(data))
        if message == "row field count is 1, expected 2":
            assert error.diag.context == "COPY b, line 1", error.diag.context
        if sqlstate == "22001":
            assert error.diag.context == "COPY b, line 1, column t", error.diag.context
    assert db.execute("select count(*) from b").fetchone() == (0,)
    # A trailer may be missing, and an extension of the header is skipped.
    send(head + one)
    send(head[:15] + b"\0\0\0\3abc" + one + end)
    assert db.execute("select a, t, count(*) from b group by 1, 2").fetchall() == [(1, "abc", 2)]
    db.execute("drop table b")


async def with_asyncpg():
    db = await asyncpg.connect(host="127.0.0.1", port=PORT, user="postgres", database="postgres")
    values = VALUES + JSON
    await db.execute(f"create table a (id int4, {columns(values)})")
    record = [value for _, value, _ in values]
    records = ((n, *record) for n in range(ROWS))
    assert await db.copy_records_to_table("a", records=records) == f"COPY {ROWS}"
    assert await db.fetchval("select sum(id) from a") == ROWS * (ROWS - 1) // 2
    row = await db.fetchrow("select * from a where id = 77")
    for (name, value, text), got in zip(values, row[1:]):
        wanted = {"char(4)": "ab  ", "jsonb": text}.get(name, value)
        assert got == wanted, (name, got)
    some = await db.copy_records_to_table("a", records=[(-1, "x")], columns=["id", "c8"])
    assert some == "COPY 1"
    file = io.BytesIO()
    assert await db.copy_from_query("select id from a where id < $1", 10, output=file, format="binary") == "COPY 11"
    assert file.getvalue()[:11] == b"PGCOPY\n\xff\r\n\0" and file.getvalue()[-2:] == b"\xff\xff"
    try:
        await db.copy_records_to_table("a", records=[("x",)], columns=["nowhere"])
        raise AssertionError("there is no such column")
    except asyncpg.UndefinedColumnError:
        pass
    await db.execute("drop table a")
    await db.close()


with psycopg.connect(DSN, autocommit=True) as db:
    db.execute("set intervalstyle = postgres")
    db.execute("set timezone = 'UTC'")
    with_psycopg(db)
asyncio.run(with_asyncpg())
print("done")
