//! Other readers open our segments: pyarrow and DuckDB on the file that the engine's tests pin.

use std::path::Path;

use glaredb_tests::duck;
use serde_json::{Value, json};

#[test]
fn pyarrow_and_duckdb_read_a_segment() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let path = root.join("engine/src/storage/segment/golden/segment.parquet");
    let found = duck::python("segment.py", &[path.to_str().expect("a path")]);
    let found: Value = serde_json::from_str(&found).expect("JSON");

    // Columns have the table's ids; the hidden ones Iceberg's and ours.
    let fields = found["fields"].as_array().expect("fields");
    let count = fields.len() - 2;
    for (n, field) in fields[..count].iter().enumerate() {
        assert_eq!(field["id"], json!((n + 1).to_string()), "{field}");
        assert_eq!(field["name"], json!(format!("c{n}")));
    }
    let hidden = |n: usize| (fields[n]["name"].clone(), fields[n]["id"].clone());
    assert_eq!(hidden(count), (json!("_row_id"), json!("2147483540")));
    assert_eq!(hidden(count + 1), (json!("_commit_timestamp"), json!("2147483448")));
    let types: Vec<&str> =
        fields[..21].iter().map(|field| field["type"].as_str().expect("a type")).collect();
    assert_eq!(
        types,
        [
            "int64",
            "string",
            "bool",
            "int16",
            "int32",
            "int64",
            "float",
            "double",
            "decimal128(15, 2)",
            "decimal256(60, 10)",
            "string",
            "string",
            "string",
            "binary",
            "date32[day]",
            "time64[us]",
            "timestamp[us]",
            "timestamp[us, tz=UTC]",
            "struct<months: int32, days: int32, nanoseconds: int64>",
            "extension<arrow.uuid>",
            "int64",
        ]
    );
    // The inside of column 19, the interval, and of column 22, an array.
    let inner = fields[18]["fields"].as_array().expect("fields");
    let ids: Vec<&Value> = inner.iter().map(|field| &field["id"]).collect();
    let first = (1_i64 << 30) + 19 * 1024;
    assert_eq!(ids, [1, 2, 3].map(|n| json!((first + n).to_string())).iter().collect::<Vec<_>>());
    let element = &fields[21]["fields"][0];
    assert_eq!(element["name"], json!("element"));
    assert_eq!(element["id"], json!(((1_i64 << 30) + 22 * 1024 + 1).to_string()));

    // Rows lie in the order that the footer says.
    let keys: Vec<i64> = (0..40).map(|n| n / 4).collect();
    assert_eq!((&found["rows"], &found["key"]), (&json!(40), &json!(keys)));
    assert_eq!(found["sorting"], json!([[0, false, false], [1, false, false]]));
    assert_eq!(found["properties"]["glaredb.sort_order"], json!("1,2"));
    assert_eq!(found["properties"]["glaredb.table_id"], json!("7"));
    assert_eq!(found["properties"]["glaredb.format_version"], json!("1"));
    assert_eq!(found["key_bounds"], json!([0, 9, 0]));
    assert_eq!(found["indexes"], json!([true, true]));

    // DuckDB reads every value of every type.
    assert_eq!(found["duck_count"], json!(40));
    let row = &found["duck_rows"][39];
    assert_eq!((&row[0], &row[1]), (&json!("9"), &json!("key 39")));
    let duck = |name: &str| found["duck_columns"][name].as_str().expect("a type").to_owned();
    assert_eq!(duck("c8"), "DECIMAL(15,2)");
    assert_eq!(duck("c19"), "UUID");
    assert_eq!(duck("c17"), "TIMESTAMP WITH TIME ZONE");
}
