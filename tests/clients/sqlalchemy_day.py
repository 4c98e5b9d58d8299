"""What somebody does with SQLAlchemy core (over psycopg) on the first day. Argument: the port."""

import datetime
import decimal
import sys
import uuid

from sqlalchemy import (
    BigInteger, Boolean, Column, Date, DateTime, Float, Integer, Interval, LargeBinary, MetaData, Numeric,
    String, Table, Text, Uuid, bindparam, case, create_engine, exists, func, insert, inspect, select, text, update,
)
from sqlalchemy.exc import IntegrityError

engine = create_engine(f"postgresql+psycopg://postgres@127.0.0.1:{sys.argv[1]}/postgres")
metadata = MetaData()
person = Table(
    "person", metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("name", String(30), nullable=False),
    Column("balance", Numeric(10, 2), server_default=text("0")),
    Column("born", Date), Column("seen", DateTime(timezone=True), server_default=func.now()),
    Column("data", LargeBinary), Column("key", Uuid), Column("ok", Boolean), Column("score", Float),
    Column("took", Interval), Column("big", BigInteger),
)
purchase = Table(
    "purchase", metadata,
    Column("person", Integer, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("note", Text),
)
metadata.create_all(engine)
metadata.create_all(engine)  # finds them there

people = [
    dict(id=n, name=f"n{n}", balance=decimal.Decimal(n), born=datetime.date(2020, 1, n), data=b"\x00",
         key=uuid.UUID(int=n), ok=True, score=1.5, took=datetime.timedelta(days=n), big=2**40)
    for n in range(1, 10)
]
with engine.begin() as db:
    db.execute(insert(person), people)
    db.execute(insert(purchase), [dict(person=p, number=n, note="x") for p in range(1, 4) for n in range(3)])


with engine.begin() as db:
    try:
        with db.begin_nested():
            db.execute(insert(person), [dict(id=50, name="nobody"), dict(id=1, name="twice")])
    except IntegrityError:
        pass
    with db.begin_nested() as nested:
        db.execute(insert(person), [dict(id=51, name="undone")])
        nested.rollback()
    assert db.scalar(select(func.count()).where(person.c.id >= 50)) == 0
    streamed = db.execution_options(yield_per=4).execute(select(person.c.id).order_by(person.c.id))
    assert [row.id for row in streamed] == list(range(1, 10))


def rows(statement, *parameters):
    with engine.begin() as db:
        return [tuple(row) for row in db.execute(statement, *parameters)]


found = rows(select(person).where(person.c.id < 3).order_by(person.c.id))
assert [row[:4] for row in found] == [
    (n, f"n{n}", decimal.Decimal(n), datetime.date(2020, 1, n)) for n in (1, 2)
], found
assert found[0][5:] == (b"\x00", uuid.UUID(int=1), True, 1.5, datetime.timedelta(days=1), 2**40), found
joined = (
    select(person.c.name, func.count(purchase.c.number))
    .join(purchase, purchase.c.person == person.c.id, isouter=True)
    .group_by(person.c.name).order_by(person.c.name).limit(2).offset(2)
)
assert rows(joined) == [("n3", 3), ("n4", 0)]
assert rows(select(person.c.id).where(person.c.id.in_([1, 2])).order_by(person.c.id)) == [(1,), (2,)]
assert rows(select(person.c.id).where(person.c.id.in_([]))) == []
bought = exists().where(purchase.c.person == person.c.id)
assert rows(select(func.count()).select_from(person).where(bought)) == [(3,)]
level = case((person.c.id < 3, "low"), else_="high")
assert rows(select(level).order_by(person.c.id).limit(3)) == [("low",), ("low",), ("high",)]
changed = update(person).where(person.c.id == 1).values(balance=person.c.balance + 5).returning(person.c.balance)
assert rows(changed) == [(decimal.Decimal("6.00"),)]
with engine.begin() as db:
    renamed = update(person).where(person.c.id == bindparam("which")).values(name=bindparam("to"))
    result = db.execute(renamed, [dict(which=1, to="z"), dict(which=2, to="y")])
    assert result.rowcount == 2
added = insert(person).values(id=50, name="d").returning(person.c.balance, person.c.seen)
(row,) = rows(added)
assert row[0] == 0 and row[1].tzinfo is not None, row
try:
    rows(insert(person).values(id=50, name="d"))
    raise AssertionError("a key twice")
except IntegrityError as error:
    assert error.orig.sqlstate == "23505"

inspector = inspect(engine)
assert set(inspector.get_table_names()) == {"person", "purchase"}
assert inspector.has_table("person") and not inspector.has_table("nowhere")
assert inspector.get_view_names() == [] and "public" in inspector.get_schema_names()
assert inspector.get_pk_constraint("purchase")["constrained_columns"] == ["person", "number"]
assert inspector.get_foreign_keys("purchase") == inspector.get_indexes("purchase") == []
assert inspector.get_unique_constraints("person") == inspector.get_check_constraints("person") == []
columns = {column["name"]: column for column in inspector.get_columns("person")}
assert str(columns["balance"]["type"]) == "NUMERIC(10, 2)" and columns["balance"]["default"] == "0", columns
assert not columns["name"]["nullable"] and str(columns["name"]["type"]) == "VARCHAR(30)", columns
with engine.begin() as db:
    db.execute(text("create view rich as select id, name from person where balance > 5"))
    db.execute(text("comment on table person is 'who buys'"))
inspector = inspect(engine)  # the other one remembers
assert inspector.get_view_names() == ["rich"] and "FROM person" in inspector.get_view_definition("rich")
assert inspector.get_table_comment("person") == {"text": "who buys"}
reflected = MetaData()
reflected.reflect(engine, views=True)
assert sorted(reflected.tables) == ["person", "purchase", "rich"], sorted(reflected.tables)
with engine.begin() as db:
    db.execute(text("drop view rich"))
with engine.connect().execution_options(isolation_level="REPEATABLE READ") as db:
    assert db.execute(text("show transaction_isolation")).scalar() == "repeatable read"
metadata.drop_all(engine)
print("done")
