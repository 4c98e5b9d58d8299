//! Every type, both formats, both ways, against what PostgreSQL 15 wrote (`golden/values.tsv`).

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Int8Array, Int64Array, RecordBatch, StringArray, StringDictionaryBuilder},
    datatypes::{DataType, Field, Int32Type, Schema},
};
use datafusion::scalar::ScalarValue;
use glaredb_engine::{
    session::api::FieldDescription,
    types::{NumericShape, PgType, text::FormatSettings},
};

use super::*;
use crate::decode;

const GOLDEN: &str = include_str!("../../golden/values.tsv");

fn pg_type(name: &str) -> PgType {
    let numeric = |precision, scale| PgType::Numeric(Some(NumericShape { precision, scale }));
    match name {
        "boolean" => PgType::Bool,
        "smallint" => PgType::Int2,
        "integer" => PgType::Int4,
        "bigint" => PgType::Int8,
        "oid" => PgType::Oid,
        "real" => PgType::Float4,
        "double precision" => PgType::Float8,
        "numeric" => PgType::Numeric(None),
        "numeric(15,2)" => numeric(15, 2),
        "numeric(38,10)" => numeric(38, 10),
        "numeric(60,20)" => numeric(60, 20),
        "text" => PgType::Text,
        "character varying(10)" => PgType::Varchar(Some(10)),
        "character(5)" => PgType::Bpchar(Some(5)),
        "name" => PgType::Name,
        "bytea" => PgType::Bytea,
        "date" => PgType::Date,
        "time" => PgType::Time(None),
        "timestamp" => PgType::Timestamp(None),
        "timestamptz" => PgType::Timestamptz(None),
        "interval" => PgType::Interval(None),
        "uuid" => PgType::Uuid,
        "json" => PgType::Json,
        "jsonb" => PgType::Jsonb,
        array if array.ends_with("[]") => {
            PgType::Array(Arc::new(pg_type(&array[..array.len() - 2])))
        }
        other => panic!("type {other} in the golden file"),
    }
}

fn unhex(hex: &str) -> Vec<u8> {
    let digit = |c: u8| char::from(c).to_digit(16).expect("a hex digit") as u8;
    hex.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// The bytes of every value in a column of one type; `None` for NULL.
fn encode_column(array: &ArrayRef, pg_type: &PgType, format: Format) -> Vec<Option<Vec<u8>>> {
    let field = FieldDescription {
        name: "c".to_owned(),
        pg_type: pg_type.clone(),
        table_oid: 0,
        column_number: 0,
        shows_modifier: true,
    };
    let encoder = RowEncoder::new(&[field], |_| format).expect("one column");
    let schema = Arc::new(Schema::new(vec![Field::new("c", array.data_type().clone(), true)]));
    let batch = RecordBatch::try_new(schema, vec![array.clone()]).expect("one column");
    let columns = encoder.columns(&batch).expect("the right number of columns");
    let mut out = Vec::new();
    let settings = FormatSettings::default();
    let rows = encoder.encode(&columns, 0..array.len(), &settings, &mut out, usize::MAX);
    assert_eq!(rows.expect("encodes"), array.len());
    let mut values = Vec::new();
    let mut rest = &out[..];
    while let [b'D', l0, l1, l2, l3, 0, 1, v0, v1, v2, v3, after @ ..] = rest {
        let length = i32::from_be_bytes([*l0, *l1, *l2, *l3]);
        let value = i32::from_be_bytes([*v0, *v1, *v2, *v3]);
        assert_eq!(length, 4 + 2 + 4 + value.max(0));
        let (bytes, after) = after.split_at(value.max(0) as usize);
        values.push((value >= 0).then(|| bytes.to_vec()));
        rest = after;
    }
    assert!(rest.is_empty(), "{rest:?}");
    values
}

fn encode_one(value: &ScalarValue, pg_type: &PgType, format: Format) -> Vec<u8> {
    let array = value.to_array().expect("an array of one");
    let mut values = encode_column(&array, pg_type, format);
    values.pop().flatten().expect("one value, not NULL")
}

#[test]
fn every_type_reads_and_writes_what_postgresql_does() {
    let mut checked = 0;
    for line in GOLDEN.lines() {
        let mut fields = line.split('\t');
        let (name, text, hex) = (
            fields.next().expect("type"),
            fields.next().expect("text"),
            fields.next().expect("binary"),
        );
        let pg_type = pg_type(name);
        let sent = unhex(hex);
        let settings = FormatSettings::default();
        let read = |bytes: &[u8], format| {
            decode::parameter(&pg_type, Some(bytes), format, 1, &settings)
                .unwrap_or_else(|error| panic!("{line}: {error}"))
        };
        for value in [read(&sent, Format::Binary), read(text.as_bytes(), Format::Text)] {
            assert!(value.data_type().equals_datatype(&pg_type.arrow_type()), "{line}: {value:?}");
            let written = encode_one(&value, &pg_type, Format::Text);
            assert_eq!(String::from_utf8_lossy(&written), text, "{line}");
            assert_eq!(encode_one(&value, &pg_type, Format::Binary), sent, "{line}");
        }
        checked += 1;
    }
    assert!(checked > 100, "only {checked} values in the golden file");
}

#[test]
fn null_is_a_length_of_minus_one_in_every_type() {
    for line in GOLDEN.lines() {
        let pg_type = pg_type(line.split('\t').next().expect("type"));
        let null = decode::parameter(&pg_type, None, Format::Text, 1, &FormatSettings::default())
            .expect("NULL needs no reading");
        let array = null.to_array_of_size(2).expect("an array of two");
        for format in [Format::Text, Format::Binary] {
            assert_eq!(encode_column(&array, &pg_type, format), [None, None], "{line}");
        }
    }
}

#[test]
fn columns_of_other_arrow_types_are_cast() {
    let mut dictionary = StringDictionaryBuilder::<Int32Type>::new();
    dictionary.append_value("x");
    let cases: [(ArrayRef, PgType, &[u8]); 3] = [
        (Arc::new(Int8Array::from(vec![7])), PgType::Int2, &[0, 7]),
        (Arc::new(StringArray::from(vec!["x"])), PgType::Text, b"x"),
        (Arc::new(dictionary.finish()), PgType::Text, b"x"),
    ];
    for (array, pg_type, expected) in cases {
        assert_eq!(
            encode_column(&array, &pg_type, Format::Binary),
            [Some(expected.to_vec())],
            "{:?}",
            array.data_type()
        );
    }
}

#[test]
fn what_cannot_be_cast_is_shown_as_text_and_refused_in_binary() {
    let array: ArrayRef = Arc::new(arrow::array::new_null_array(
        &DataType::Struct(arrow::datatypes::Fields::empty()),
        1,
    ));
    let field = |format| {
        let field = FieldDescription {
            name: "c".to_owned(),
            pg_type: PgType::Uuid,
            table_oid: 0,
            column_number: 0,
            shows_modifier: true,
        };
        let encoder = RowEncoder::new(&[field], |_| format).expect("one column");
        let schema = Arc::new(Schema::new(vec![Field::new("c", array.data_type().clone(), true)]));
        let batch = RecordBatch::try_new(schema, vec![array.clone()]).expect("one column");
        encoder.columns(&batch).map(|columns| columns.rows())
    };
    assert_eq!(field(Format::Text).expect("shown"), 1);
    assert_eq!(field(Format::Binary).expect_err("refused").sqlstate, "0A000");
}

#[test]
fn encoding_stops_at_the_soft_limit() {
    let array: ArrayRef = Arc::new(Int64Array::from_iter_values(0..1000));
    let field = FieldDescription {
        name: "c".to_owned(),
        pg_type: PgType::Int8,
        table_oid: 0,
        column_number: 0,
        shows_modifier: true,
    };
    let encoder = RowEncoder::new(&[field], |_| Format::Binary).expect("one column");
    let schema = Arc::new(Schema::new(vec![Field::new("c", DataType::Int64, true)]));
    let batch = RecordBatch::try_new(schema, vec![array]).expect("one column");
    let columns = encoder.columns(&batch).expect("one column");
    let settings = FormatSettings::default();
    let mut out = Vec::new();
    // A row is 1 + 4 + 2 + 4 + 8 bytes.
    let sent = encoder.encode(&columns, 0..1000, &settings, &mut out, 100).expect("encodes");
    assert_eq!((sent, out.len()), (6, 6 * 19));
    let sent = encoder.encode(&columns, 6..1000, &settings, &mut out, 1).expect("encodes");
    assert_eq!((sent, out.len()), (1, 7 * 19));
}
