"""What somebody does with asyncpg, which sends and reads binary only, on the first day. Argument: the port."""

import asyncio
import datetime
import decimal
import sys
import uuid

import asyncpg

UTC = datetime.timezone.utc


async def main():
    at = dict(host="127.0.0.1", port=int(sys.argv[1]), user="postgres", database="postgres")
    db = await asyncpg.connect(**at)
    await db.execute(
        """create table async_day (id int primary key, small smallint, big bigint, price numeric(12,3),
           exact numeric, name text, code varchar(10), raw bytea, born date, at time, seen timestamp,
           known timestamptz, took interval, key uuid, single real, double double precision, ok bool)"""
    )
    row = (
        1, 2, 3, decimal.Decimal("4.500"), decimal.Decimal("-0.00123456789"), "täxt", "vc", b"\x00\xff",
        datetime.date(2020, 2, 29), datetime.time(12, 34, 56, 789),
        datetime.datetime(2020, 1, 1, 12, 0, 0, 123456), datetime.datetime(2020, 1, 1, tzinfo=UTC),
        datetime.timedelta(days=3, seconds=4, microseconds=5), uuid.UUID(int=5), 1.5, 2.5, True,
    )
    marks = ",".join(f"${n + 1}" for n in range(len(row)))
    await db.execute(f"insert into async_day values ({marks})", *row)
    await db.executemany(f"insert into async_day values ({marks})", [(n, *row[1:]) for n in range(2, 50)])
    await db.execute(f"insert into async_day values ({marks})", 100, *[None] * (len(row) - 1))
    found = await db.fetch("select * from async_day where id in (1, 100) order by id")
    assert [tuple(r) for r in found] == [row, (100, *[None] * (len(row) - 1))], found
    assert await db.fetch("select id from async_day order by id limit $1 offset $2", 2, 1) == [(2,), (3,)]
    assert await db.fetchval("select $1::interval + seen from async_day where id = 1", datetime.timedelta(hours=1)) == (
        datetime.datetime(2020, 1, 1, 13, 0, 0, 123456)
    )
    prepared = await db.prepare("select id, price from async_day where id = $1 and name like $2")
    assert [t.name for t in prepared.get_parameters()] == ["int4", "text"]
    assert [(a.name, a.type.name) for a in prepared.get_attributes()] == [("id", "int4"), ("price", "numeric")]
    async with db.transaction():
        # A portal that is read in parts.
        seen = [r[0] async for r in db.cursor("select id from async_day order by id", prefetch=7)]
    assert seen == [*range(1, 50), 100], seen
    try:
        async with db.transaction():
            await db.execute("insert into async_day (id) values (60)")
            await db.execute("insert into async_day (id) values (1)")
        raise AssertionError("a key twice")
    except asyncpg.UniqueViolationError as error:
        assert error.constraint_name == "async_day_pkey"
    assert await db.fetchval("select count(*) from async_day where id = 60") == 0
    await db.execute("drop table async_day")
    await db.close()

    # A pool resets every connection that comes back to it.
    pool = await asyncpg.create_pool(**at, min_size=1, max_size=3)
    assert await asyncio.gather(*(pool.fetchval("select $1::int + 1", n) for n in range(20))) == list(range(1, 21))
    await pool.close()
    print("done")


asyncio.run(main())
