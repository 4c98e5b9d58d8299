"""What pyarrow and DuckDB find in a segment, as JSON on standard output.

  segment.py FILE
"""
import json
import sys

import duckdb
import pyarrow.parquet


def field(of):
    inner = {}
    if hasattr(of.type, "num_fields") and of.type.num_fields:
        inner = {"fields": [field(of.type.field(n)) for n in range(of.type.num_fields)]}
    field_id = (of.metadata or {}).get(b"PARQUET:field_id", b"none").decode()
    return {"name": of.name, "type": str(of.type), "id": field_id, **inner}


def main(path):
    file = pyarrow.parquet.ParquetFile(path)
    group = file.metadata.row_group(0)
    key = group.column(0)
    pairs = file.schema_arrow.metadata or {}
    table = file.read()
    table.validate(full=True)
    duck = duckdb.connect()
    rows = duck.execute("SELECT c0, c1, c8, c9 FROM read_parquet(?) ORDER BY file_row_number", [path])
    rows = [[str(value) for value in row] for row in rows.fetchall()]
    columns = duck.execute("DESCRIBE SELECT * FROM read_parquet(?)", [path]).fetchall()
    # Every column, every value.
    whole = duck.execute("SELECT * FROM read_parquet(?)", [path]).to_arrow_table()
    print(json.dumps({
        "fields": [field(of) for of in file.schema_arrow],
        "rows": table.num_rows,
        "key": table.column(0).to_pylist(),
        "properties": {k.decode(): v.decode() for k, v in pairs.items()},
        "sorting": [[c.column_index, c.descending, c.nulls_first] for c in group.sorting_columns],
        "key_bounds": [key.statistics.min, key.statistics.max, key.statistics.null_count],
        "indexes": [key.has_column_index, key.has_offset_index],
        "duck_columns": {row[0]: row[1] for row in columns},
        "duck_rows": rows,
        "duck_count": whole.num_rows,
    }))


main(*sys.argv[1:])
