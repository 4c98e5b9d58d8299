//! Records in rows, batches and keys.

use std::sync::Arc;

use arrow::array::ArrayRef;
use glaredb_txn::codec::{Reader, Writer};

use super::{
    assert_batch_comes_back, assert_rows_come_back, batch, builders, encode_rows, golden_text, row,
};
use crate::{
    storage::{
        codec::{column::Layout, key::KeyEncoder},
        schema::ColumnSchema,
        testing::{Seeded, golden},
    },
    types::{
        PgType, RecordType,
        text::{ColumnBuilder, FormatSettings},
    },
};

/// A row type with a name, whose values can be read from text.
fn record(types: Vec<PgType>) -> PgType {
    let named = RecordType { oid: 16_400, array_oid: 16_401, ..RecordType::of_values(types) };
    PgType::Record(Arc::new(named))
}

fn types() -> Vec<(PgType, &'static [Option<&'static str>])> {
    let pair = record(vec![PgType::Int4, PgType::Text]);
    let nested = record(vec![pair.clone(), PgType::Array(Arc::new(PgType::Int8)), PgType::Bool]);
    vec![
        (
            pair.clone(),
            &[Some("(1,a)"), None, Some("(,)"), Some("(-70000,a text beyond its view)")],
        ),
        (nested, &[Some("(\"(1,b)\",\"{1,NULL}\",t)"), Some("(,{},)"), None, Some("(\"(,)\",,f)")]),
        (
            PgType::Array(Arc::new(pair)),
            &[Some("{\"(1,a)\",NULL,\"(2,)\"}"), Some("{}"), None, Some("{\"(,)\"}")],
        ),
    ]
}

pub(in crate::storage) fn schema() -> Vec<ColumnSchema> {
    let column = |(n, (pg_type, _)): (usize, (PgType, _))| {
        ColumnSchema::new(n as u32 + 1, &format!("c{n}"), pg_type, false)
    };
    types().into_iter().enumerate().map(column).collect()
}

fn values(pg_type: &PgType, texts: impl IntoIterator<Item = Option<&'static str>>) -> ArrayRef {
    let settings = FormatSettings::default();
    let mut builder = ColumnBuilder::new(pg_type, 0).unwrap();
    for text in texts {
        match text {
            Some(text) => builder.append(text, &settings).unwrap(),
            None => builder.append_null(),
        }
    }
    builder.finish()
}

/// The values in turn, from another one on in each column.
pub(in crate::storage) fn columns(rows: usize) -> Vec<ArrayRef> {
    let column = |(n, (pg_type, texts)): (usize, (PgType, &[Option<&'static str>]))| {
        values(&pg_type, (0..rows).map(|row| texts[(row + n) % 4]))
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
        assert_batch_comes_back(&schema, &columns(rows), rows);
    }
}

/// Changing any of it needs a new record version.
#[test]
fn golden_records() {
    let schema = schema();
    let text = golden_text(&schema, &columns(4), |c| c.name.clone());
    golden("storage/codec/golden_records.txt", &text);
}

#[test]
fn damaged_bytes_never_panic() {
    let (schema, columns) = (schema(), columns(40));
    let rows = encode_rows(&schema, &columns);
    let mut whole = Writer::new();
    batch::encode(&schema, &columns, 0, 40, &mut whole).unwrap();
    let mut random = Seeded(11);
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

/// Field by field; NULLs are equal, and after all values.
#[test]
fn keys_compare_as_rows_do() {
    let of = record(vec![PgType::Numeric(None), PgType::Text]);
    let key = |text: &'static str| {
        let column = values(&of, [Some(text)]);
        KeyEncoder::comparing(&of).encode(&[column], 0).unwrap()
    };
    assert_eq!(key("(1.0,a)"), key("(1.00,a)"));
    assert_eq!(key("(,a)"), key("(,a)"));
    let ordered = ["(-1,z)", "(1,)", "(2,a)", "(2,ab)", "(2,b)", "(2,)", "(,a)", "(,)"];
    for pair in ordered[2..].windows(2) {
        assert!(key(pair[0]) < key(pair[1]), "{pair:?}");
    }
    assert!(key(ordered[0]) < key(ordered[1]) && key(ordered[1]) < key(ordered[2]));
}

#[test]
fn rows_without_fields_are_not_stored() {
    assert_eq!(Layout::of(&record(Vec::new())), None);
    assert_eq!(Layout::of(&record(vec![PgType::Int4])), Some(Layout::Row));
}
