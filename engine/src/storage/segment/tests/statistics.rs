//! What is known of columns without reading them.

use arrow::array::{Float64Array, Int32Array, StringViewArray};

use super::{super::statistics::Gatherer, round_trip::every_type, *};
use crate::{
    storage::{codec::key::KeyEncoder, segment::ColumnStatistics},
    types::text::{ColumnBuilder, FormatSettings},
};

fn gathered(pg_type: &PgType, arrays: &[ArrayRef]) -> ColumnStatistics {
    let mut gatherer = Gatherer::new(&ColumnSchema::new(1, "c", pg_type.clone(), false));
    arrays.iter().for_each(|array| gatherer.add(array).expect("values"));
    gatherer.finish().expect("statistics")
}

fn texts(pg_type: &PgType, values: &[&str]) -> ArrayRef {
    let mut builder = ColumnBuilder::new(pg_type, values.len()).expect("a type");
    let settings = FormatSettings::default();
    values.iter().for_each(|text| builder.append(text, &settings).expect("a value"));
    builder.finish()
}

/// Against the encoded keys, which have SQL's order and equality.
#[test]
fn statistics_are_those_of_the_values() {
    let (columns, arrays) = every_type(4_000, 21);
    for (column, array) in columns.iter().zip(&arrays) {
        let name = column.pg_type.sql_name();
        let halves = [array.slice(0, 1_999), array.slice(1_999, 2_001)];
        let found = gathered(&column.pg_type, &halves);
        assert_eq!(found.nulls, array.null_count() as u64, "{name}");
        let encoder = KeyEncoder::comparing(&column.pg_type);
        let keys: Vec<Bytes> = (0..array.len())
            .filter(|row| array.is_valid(*row))
            .map(|row| encoder.encode(std::slice::from_ref(array), row).expect("a key"))
            .collect();
        let mut distinct = keys.clone();
        distinct.sort();
        distinct.dedup();
        let (found_distinct, expected) = (found.distinct.distinct() as f64, distinct.len() as f64);
        let wrong = (found_distinct / expected - 1.0).abs();
        assert!(wrong < 0.12, "{name}: {found_distinct} of {expected}");
        assert!(!found.distinct.is_exact() || wrong == 0.0, "{name}");
        let unordered = matches!(
            column.pg_type,
            PgType::Json | PgType::Jsonb | PgType::Array(_) | PgType::Record(_)
        );
        assert_eq!(found.bounds.is_none(), unordered, "{name}");
        if let Some(bounds) = found.bounds {
            for (bound, expected) in
                [(bounds.min, &distinct[0]), (bounds.max, &distinct[distinct.len() - 1])]
            {
                let value = bound.to_array(&column.pg_type).expect("a value");
                assert!(bound.exact, "{name}");
                assert_eq!(&encoder.encode(&[value], 0).expect("a key"), expected, "{name}");
            }
        }
    }
}

#[test]
fn long_texts_are_cut_to_bounds() {
    let long = "ä".repeat(100);
    let array: ArrayRef = Arc::new(StringViewArray::from(vec!["ö", long.as_str()]));
    let bounds = gathered(&PgType::Text, &[array]).bounds.expect("bounds");
    assert!(!bounds.min.exact && bounds.max.exact);
    let min = bounds.min.to_array(&PgType::Text).expect("a text");
    assert_eq!(min.as_ref(), &StringViewArray::from(vec!["ä".repeat(32)]));
    let highest = format!("{}{}", "a".repeat(60), char::MAX.to_string().repeat(5));
    let array: ArrayRef = Arc::new(StringViewArray::from(vec![highest]));
    let bounds = gathered(&PgType::Text, &[array]).bounds.expect("bounds");
    let max = bounds.max.to_array(&PgType::Text).expect("a text");
    assert_eq!(max.as_ref(), &StringViewArray::from(vec!["a".repeat(59) + "b"]));
    // Nothing is as short and beyond it.
    let array: ArrayRef = Arc::new(arrow::array::BinaryArray::from(vec![&[0xff_u8; 90][..]]));
    assert_eq!(gathered(&PgType::Bytea, &[array]).bounds, None);
}

#[test]
fn equal_values_count_once() {
    let floats: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0, f64::NAN, -f64::NAN, 1.0]));
    let found = gathered(&PgType::Float8, &[floats]);
    assert_eq!(found.distinct.distinct(), 3);
    let bounds = found.bounds.expect("bounds");
    let max = bounds.max.to_array(&PgType::Float8).expect("a float");
    assert!(
        arrow::array::AsArray::as_primitive::<arrow::datatypes::Float64Type>(&max)
            .value(0)
            .is_nan()
    );
    for (pg_type, values) in [
        (PgType::Numeric(None), ["1.0", "1.00", "1"]),
        (PgType::Interval(None), ["1 mon", "30 days", "720:00:00"]),
        (PgType::Jsonb, ["{\"a\":1.0,\"b\":2}", "{\"b\":2,\"a\":1}", "{\"b\":2.0,\"a\":1}"]),
    ] {
        let found = gathered(&pg_type, &[texts(&pg_type, &values)]);
        assert_eq!(found.distinct.distinct(), 1, "{}", pg_type.sql_name());
    }
}

#[test]
fn the_description_has_ranges_and_widths() {
    let schema = table(columns_of([PgType::Int4, PgType::Text]), Some(vec![0]));
    let texts = (0..4_000).map(|n| (n % 4 > 0).then(|| "x".repeat(n % 4 * 10)));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from_iter_values(-2_000..2_000)),
        Arc::new(texts.collect::<StringViewArray>()),
    ];
    let memory = Memory::default();
    let meta = write(&memory, &schema, &columns);
    let body = memory.body(&meta.name);
    assert_eq!((meta.bytes, meta.rows), (body.len() as u64, 4_000));
    assert_eq!(meta.tail.range().end, meta.bytes);
    let encoder = schema.key_encoder().expect("a key");
    let key = |row| encoder.encode(&columns[..1], row).expect("a key");
    assert_eq!(meta.keys, (key(0), key(3_999)));
    assert!(meta.in_key_range(&key(7)) && !meta.in_key_range(&[0]));
    assert!(!meta.in_key_range(&[0xff]));
    assert_eq!(meta.row_ids, (RowId(1_000), RowId(4_999)));
    let widths: Vec<f64> = [1, 2]
        .map(|id| meta.column(id).expect("a column").average_width(meta.rows.into()))
        .to_vec();
    assert_eq!(widths, [4.0, 20.0]);
    assert_eq!(meta.column(3), None);
    let (text, number) = (&meta.columns[1], &meta.columns[0]);
    assert_eq!((text.nulls, text.distinct.distinct(), number.nulls), (1_000, 3, 0));
}
