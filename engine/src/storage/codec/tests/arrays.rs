//! Arrays, json and jsonb in rows and batches.

use std::sync::Arc;

use arrow::array::ArrayRef;
use glaredb_txn::codec::{Reader, Writer};

use super::{
    assert_batch_comes_back, assert_rows_come_back, batch, builders, encode_rows, golden_text, row,
};
use crate::{
    storage::{
        codec::key::KeyEncoder,
        schema::ColumnSchema,
        testing::{Seeded, golden},
    },
    types::{
        NumericShape, PgType,
        text::{ColumnBuilder, FormatSettings},
    },
};

fn array(of: PgType) -> PgType {
    PgType::Array(Arc::new(of))
}

fn types() -> Vec<(PgType, &'static [Option<&'static str>])> {
    let numeric = PgType::Numeric(Some(NumericShape { precision: 8, scale: 2 }));
    vec![
        (array(PgType::Int4), &[Some("{1,-2,NULL}"), None, Some("{}"), Some("{70000}")]),
        (array(PgType::Bool), &[Some("{t,NULL,f}"), Some("{}"), Some("{t}"), None]),
        (
            array(PgType::Text),
            &[
                Some("{a,\"a text that is too long for its view\",NULL,\"\"}"),
                None,
                None,
                Some("{}"),
            ],
        ),
        (array(numeric), &[Some("{1.25,-3}"), Some("{NULL,NULL}"), None, Some("{0}")]),
        (array(PgType::Numeric(None)), &[None, Some("{1.10,NaN}"), Some("{}"), Some("{5}")]),
        (array(PgType::Bytea), &[Some("{\"\\\\x0001\"}"), Some("{}"), None, Some("{NULL}")]),
        (array(PgType::Date), &[Some("{2020-01-01}"), None, None, Some("{infinity,NULL}")]),
        (PgType::Json, &[Some("{\"a\" : 1}"), None, Some("[ ]"), Some("\"\"")]),
        (PgType::Jsonb, &[Some("{\"a\" : [1.50, {}]}"), None, Some("[]"), Some("null")]),
        (array(PgType::Jsonb), &[Some("{1,NULL,\"{\\\"k\\\": true}\"}"), Some("{}"), None, None]),
    ]
}

pub(in crate::storage) fn schema() -> Vec<ColumnSchema> {
    let column = |(n, (pg_type, _)): (usize, (PgType, _))| {
        ColumnSchema::new(n as u32 + 1, &format!("c{n}"), pg_type, false)
    };
    types().into_iter().enumerate().map(column).collect()
}

/// The values in turn, from another one on in each column.
pub(in crate::storage) fn columns(rows: usize) -> Vec<ArrayRef> {
    let settings = FormatSettings::default();
    let column = |(n, (pg_type, texts)): (usize, (PgType, &[Option<&str>]))| {
        let mut builder = ColumnBuilder::new(&pg_type, rows).unwrap();
        for row in 0..rows {
            match texts[(row + n * (rows / 4)) % 4] {
                Some(text) => builder.append(text, &settings).unwrap(),
                None => builder.append_null(),
            }
        }
        builder.finish()
    };
    types().into_iter().enumerate().map(column).collect()
}

#[test]
fn rows_come_back_as_they_were() {
    let schema = schema();
    for rows in [4, 1500] {
        assert_rows_come_back(&schema, &columns(rows), rows);
    }
}

#[test]
fn batches_come_back_as_they_were() {
    let schema = schema();
    for rows in [4, 300] {
        let columns = columns(rows);
        assert_batch_comes_back(&schema, &columns, rows);
    }
}

/// Changing any of it needs a new record version.
#[test]
fn golden_arrays() {
    let schema = schema();
    let text = golden_text(&schema, &columns(4), |c| c.pg_type.sql_name());
    golden("storage/codec/golden_arrays.txt", &text);
}

#[test]
fn damaged_bytes_never_panic() {
    let (schema, columns) = (schema(), columns(40));
    let rows = encode_rows(&schema, &columns);
    let mut whole = Writer::new();
    batch::encode(&schema, &columns, 0, 40, &mut whole).unwrap();
    let mut random = Seeded(7);
    for round in 0..3000 {
        let mut bytes =
            if round % 2 == 0 { whole.as_slice().to_vec() } else { rows[round % 40].clone() };
        let at = random.below(bytes.len() as u64) as usize;
        bytes[at] ^= 1 << random.below(7);
        if round % 2 == 0 {
            let _ = batch::decode(&schema, 40, &mut Reader::new(&bytes));
        } else {
            let _ = row::decode(&mut Reader::new(&bytes), &mut builders(&schema));
        }
    }
}

#[test]
fn equal_values_have_equal_keys() {
    let settings = FormatSettings::default();
    let key = |pg_type: &PgType, text: &str| {
        let mut builder = ColumnBuilder::new(pg_type, 1).unwrap();
        builder.append(text, &settings).unwrap();
        KeyEncoder::comparing(pg_type).encode(&[builder.finish()], 0).unwrap()
    };
    let numbers = array(PgType::Numeric(None));
    assert_eq!(key(&numbers, "{1.0,2}"), key(&numbers, "{1.00,2.0}"));
    assert!(key(&numbers, "{1}") < key(&numbers, "{1,-5}"));
    assert!(key(&numbers, "{2}") > key(&numbers, "{1,9}"));
    let json = PgType::Jsonb;
    assert_eq!(key(&json, "{\"a\":1,\"b\":[]}"), key(&json, "{\"b\":[],\"a\":1.0}"));
    let ordered = ["[]", "null", "\"a\"", "\"b\"", "2", "10", "false", "true", "[null]", "[1]"];
    for pair in ordered.windows(2) {
        assert!(key(&json, pair[0]) < key(&json, pair[1]), "{pair:?}");
    }
}
