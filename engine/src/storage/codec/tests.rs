pub(in crate::storage) mod arrays;
pub(in crate::storage) mod records;

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array,
        FixedSizeBinaryArray, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array,
        IntervalMonthDayNanoArray, StringViewArray, Time64MicrosecondArray,
        TimestampMicrosecondArray, UInt32Array,
    },
    datatypes::{IntervalMonthDayNano, i256},
};
use glaredb_txn::codec::{Reader, Writer};

use super::{batch, builder::ColumnBuilder, row};
use crate::{
    storage::{
        schema::ColumnSchema,
        testing::{Seeded, golden},
    },
    types::{NumericShape, PgType},
};

pub(in crate::storage) fn schema() -> Vec<ColumnSchema> {
    let numeric = |precision, scale| PgType::Numeric(Some(NumericShape { precision, scale }));
    let types = [
        PgType::Bool,
        PgType::Int2,
        PgType::Int4,
        PgType::Int8,
        PgType::Float4,
        PgType::Float8,
        numeric(15, 2),
        numeric(60, 10),
        PgType::Numeric(None),
        PgType::Text,
        PgType::Bpchar(Some(10)),
        PgType::Bytea,
        PgType::Date,
        PgType::Time(None),
        PgType::Timestamp(None),
        PgType::Timestamptz(None),
        PgType::Interval(None),
        PgType::Uuid,
        PgType::Oid,
    ];
    let column = |(n, pg_type): (usize, PgType)| {
        ColumnSchema::new(n as u32 + 1, &format!("c{n}"), pg_type, false)
    };
    types.into_iter().enumerate().map(column).collect()
}

/// Values of all widths and signs, every fourth NULL, the same for the same seed.
pub(in crate::storage) fn columns(rows: usize, seed: u64) -> Vec<ArrayRef> {
    let mut random = Seeded(seed);
    let mut values = |n: usize| -> Vec<Option<u64>> {
        (0..n)
            .map(|_| {
                let shift = random.below(64);
                (random.below(4) > 0).then(|| random.next() >> shift)
            })
            .collect()
    };
    macro_rules! column {
        ($array:ty, $map:expr) => {{
            let map = $map;
            values(rows).into_iter().map(|v| v.map(&map)).collect::<$array>()
        }};
    }
    let signed = |v: u64| if v.is_multiple_of(2) { v as i64 / 2 } else { -(v as i64 / 2) };
    let word = |v: u64| match v % 3 {
        0 => format!("w{}", v % 7),
        1 => format!("a text too long for its view, {v}"),
        _ => "grüße, 漢字".repeat((v % 5) as usize),
    };
    let uuids = values(rows).into_iter().map(|v| v.map(|v| u128::from(v).to_be_bytes()));
    let decimals = column!(Decimal128Array, |v| i128::from(signed(v)) % 10_i128.pow(15));
    let wide = column!(Decimal256Array, |v| {
        i256::from_i128(i128::from(signed(v))).wrapping_mul(i256::from_i128(i128::MAX / 5))
    });
    let stamps = column!(TimestampMicrosecondArray, signed);
    vec![
        Arc::new(column!(BooleanArray, |v: u64| v.is_multiple_of(2))),
        Arc::new(column!(Int16Array, |v| v as i16)),
        Arc::new(column!(Int32Array, |v| v as i32)),
        Arc::new(column!(Int64Array, signed)),
        Arc::new(column!(Float32Array, |v| f32::from_bits(v as u32 & 0xff7f_ffff))),
        Arc::new(column!(Float64Array, |v| v as f64 / -7.0)),
        Arc::new(decimals.with_precision_and_scale(15, 2).unwrap()),
        Arc::new(wide.with_precision_and_scale(60, 10).unwrap()),
        Arc::new(column!(StringViewArray, |v| format!("{}.{}", signed(v), v % 100))),
        Arc::new(column!(StringViewArray, word)),
        Arc::new(column!(StringViewArray, |v| format!("{:<10}", v % 1000))),
        Arc::new(column!(BinaryArray, |v: u64| v.to_be_bytes()[(v % 8) as usize..].to_vec())),
        Arc::new(column!(Date32Array, |v| v as i32)),
        Arc::new(column!(Time64MicrosecondArray, |v| (v % 86_400_000_000) as i64)),
        Arc::new(stamps.clone()),
        Arc::new(stamps.with_timezone("UTC")),
        Arc::new(column!(IntervalMonthDayNanoArray, |v: u64| IntervalMonthDayNano {
            months: v as i32 % 1000,
            days: -(v as i32 % 100),
            nanoseconds: signed(v),
        })),
        Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(uuids, 16).unwrap()),
        Arc::new(column!(UInt32Array, |v| v as u32)),
    ]
}

fn encode_rows(schema: &[ColumnSchema], columns: &[ArrayRef]) -> Vec<Vec<u8>> {
    let encoder = row::RowEncoder::new(schema, columns).unwrap();
    (0..columns[0].len())
        .map(|row| {
            let mut out = Writer::new();
            encoder.encode(row, &mut out);
            out.into_vec()
        })
        .collect()
}

fn builders(schema: &[ColumnSchema]) -> Vec<ColumnBuilder> {
    schema.iter().map(|column| ColumnBuilder::new(&column.pg_type, 4).unwrap()).collect()
}

#[test]
fn rows_come_back_as_they_were() {
    let schema = schema();
    for (rows, seed) in [(1, 1), (2, 2), (1500, 3)] {
        let columns = columns(rows, seed);
        let mut builders = builders(&schema);
        for bytes in encode_rows(&schema, &columns) {
            let mut input = Reader::new(&bytes);
            row::decode(&mut input, &mut builders).unwrap();
            input.finish().unwrap();
        }
        for ((column, builder), expected) in schema.iter().zip(builders).zip(&columns) {
            let copy = builder.clone().finish();
            let array = builder.finish();
            assert_eq!(&array, expected, "{}", column.pg_type.sql_name());
            assert_eq!(&copy, expected);
            assert_eq!(array.data_type(), &column.pg_type.arrow_type());
        }
    }
}

#[test]
fn batches_come_back_as_they_were() {
    let schema = schema();
    for (rows, seed) in [(1, 1), (7, 2), (8, 3), (300, 4), (5000, 5)] {
        let columns = columns(rows, seed);
        assert_batch_comes_back(&schema, &columns, rows);
    }
}

/// A batch of all rows but the first third.
fn assert_batch_comes_back(schema: &[ColumnSchema], columns: &[ArrayRef], rows: usize) {
    let (first, count) = (rows / 3, rows - rows / 3);
    let mut out = Writer::new();
    batch::encode(schema, columns, first, count, &mut out).unwrap();
    let mut input = Reader::new(out.as_slice());
    let decoded = batch::decode(schema, count, &mut input).unwrap();
    input.finish().unwrap();
    for ((column, array), expected) in schema.iter().zip(&decoded).zip(columns) {
        let expected = expected.slice(first, count);
        assert_eq!(array, &expected, "{} of {rows}", column.pg_type.sql_name());
        assert_eq!(array.data_type(), &column.pg_type.arrow_type());
    }
}

/// Rows, decoded into builders and from these copied to others, as the rows of an open block are.
fn assert_rows_come_back(schema: &[ColumnSchema], columns: &[ArrayRef], rows: usize) {
    let mut builders = builders(schema);
    for bytes in encode_rows(schema, columns) {
        let mut input = Reader::new(&bytes);
        row::decode(&mut input, &mut builders).unwrap();
        input.finish().unwrap();
    }
    let mut copies = self::builders(schema);
    for (from, to) in builders.iter().zip(&mut copies) {
        (0..rows).for_each(|row| to.push(from.value(row)));
    }
    for ((builder, copy), expected) in builders.into_iter().zip(copies).zip(columns) {
        assert_eq!(&builder.finish(), expected);
        assert_eq!(&copy.finish(), expected);
    }
}

/// Rows as hex, then a batch of each column, after what `name` calls it.
fn golden_text(
    schema: &[ColumnSchema],
    columns: &[ArrayRef],
    name: impl Fn(&ColumnSchema) -> String,
) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let mut text = String::new();
    for bytes in encode_rows(schema, columns) {
        text.push_str(&format!("row {}\n", hex(&bytes)));
    }
    for (column, array) in schema.iter().zip(columns) {
        let mut out = Writer::new();
        let one = std::slice::from_ref(column);
        batch::encode(one, std::slice::from_ref(array), 0, array.len(), &mut out).unwrap();
        text.push_str(&format!("{} {}\n", name(column), hex(out.as_slice())));
    }
    text
}

#[test]
fn few_different_texts_make_a_dictionary() {
    let schema = vec![ColumnSchema::new(1, "mode", PgType::Text, true)];
    let modes = ["TRUCK", "REGULAR AIR WITH A LONG NAME", ""];
    let column: ArrayRef =
        Arc::new((0..1000).map(|n| Some(modes[n % 3])).collect::<StringViewArray>());
    let mut out = Writer::new();
    batch::encode(&schema, &[Arc::clone(&column)], 0, 1000, &mut out).unwrap();
    assert!(out.len() < 1100, "{} bytes", out.len());
    let decoded = batch::decode(&schema, 1000, &mut Reader::new(out.as_slice())).unwrap();
    assert_eq!(&decoded[0], &column);
}

/// Rows as hex, then a batch. Changing any of it needs a new record version.
#[test]
fn golden_rows() {
    let schema = schema();
    let text = golden_text(&schema, &columns(6, 42), |c| c.pg_type.sql_name());
    golden("storage/codec/golden_rows.txt", &text);
}

#[test]
fn damaged_rows_and_batches_never_panic() {
    let schema = schema();
    let columns = columns(40, 8);
    let rows = encode_rows(&schema, &columns);
    let mut whole = Writer::new();
    batch::encode(&schema, &columns, 0, 40, &mut whole).unwrap();
    let mut random = Seeded(5);
    for round in 0..6000 {
        let mut bytes =
            if round % 2 == 0 { whole.as_slice().to_vec() } else { rows[round % 40].clone() };
        for _ in 0..=random.below(2) {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] = random.next() as u8;
        }
        if random.below(3) == 0 {
            bytes.truncate(random.below(bytes.len() as u64) as usize);
        }
        if round % 2 == 0 {
            let _ = batch::decode(&schema, 40, &mut Reader::new(&bytes));
        } else {
            let _ = row::decode(&mut Reader::new(&bytes), &mut builders(&schema));
        }
    }
}
