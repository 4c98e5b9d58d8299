use datafusion::scalar::ScalarValue;
use glaredb_engine::types::{NumericShape, PgType, text::FormatSettings};

use super::*;

fn read(pg_type: &PgType, bytes: &[u8], format: Format) -> Result<ScalarValue, SqlError> {
    parameter(pg_type, Some(bytes), format, 3, &FormatSettings::default())
}

#[test]
fn binary_of_a_wrong_length_names_the_parameter() {
    for pg_type in [
        PgType::Bool,
        PgType::Int2,
        PgType::Int4,
        PgType::Int8,
        PgType::Float4,
        PgType::Float8,
        PgType::Numeric(None),
        PgType::Date,
        PgType::Time(None),
        PgType::Timestamp(None),
        PgType::Timestamptz(None),
        PgType::Interval(None),
        PgType::Uuid,
        PgType::Oid,
    ] {
        let error = read(&pg_type, &[1, 2, 3], Format::Binary).expect_err("three bytes");
        assert_eq!(error.sqlstate, "22P03", "{pg_type:?}");
        assert_eq!(error.message, "incorrect binary data format in bind parameter 3");
    }
}

#[test]
fn text_holds_no_zero_byte() {
    for format in [Format::Text, Format::Binary] {
        let error = read(&PgType::Text, b"a\0b", format).expect_err("a zero");
        assert_eq!(error.sqlstate, "22021");
        assert_eq!(error.message, "invalid byte sequence for encoding \"UTF8\": 0x00");
    }
}

#[test]
fn text_that_is_no_value_is_refused_with_its_words() {
    let error = read(&PgType::Int4, b"abc", Format::Text).expect_err("no number");
    assert_eq!(error.sqlstate, "22P02");
    assert_eq!(error.message, "invalid input syntax for type integer: \"abc\"");
    let error = read(&PgType::Int2, b"70000", Format::Text).expect_err("too large");
    assert_eq!(error.sqlstate, "22003");
    let error = read(&PgType::Text, &[b'a', 0xff], Format::Text).expect_err("not UTF-8");
    assert_eq!(error.sqlstate, "22021");
    assert!(error.message.ends_with("0xff"), "{}", error.message);
    let error = read(&PgType::Text, b"a\0b", Format::Binary).expect_err("a zero byte");
    assert_eq!(error.sqlstate, "22021");
}

#[test]
fn a_string_longer_than_the_column_is_still_a_parameter() {
    let long = ScalarValue::Utf8View(Some("abcdef".to_owned()));
    assert_eq!(read(&PgType::Varchar(Some(3)), b"abcdef", Format::Text).expect("text"), long);
    assert_eq!(read(&PgType::Bpchar(Some(3)), b"abcdef  ", Format::Binary).expect("text"), long);
}

#[test]
fn binary_numbers_with_nonsense_inside_are_refused() {
    let numeric = PgType::Numeric(None);
    // Count, weight, sign, scale, digits.
    for bytes in [
        &[0, 1, 0, 0, 0, 0, 0, 0][..],         // a digit is missing
        &[0, 1, 0, 0, 0, 0, 0, 0, 0x27, 0x10], // digit 10000
        &[0, 1, 0, 0, 0x12, 0x34, 0, 0, 0, 1], // no such sign
        &[0, 1, 0, 0, 0, 0, 0xff, 0xff, 0, 1], // scale
        &[0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0],    // half a digit
    ] {
        assert!(read(&numeric, bytes, Format::Binary).is_err(), "{bytes:?}");
    }
    // Digits beyond the scale are cut, as PostgreSQL does.
    let value = read(&numeric, &[0, 2, 0, 0, 0, 0, 0, 1, 0, 1, 0x04, 0xd2], Format::Binary);
    assert_eq!(value.expect("1.1"), ScalarValue::Utf8View(Some("1.1".to_owned())));
    let shape = PgType::Numeric(Some(NumericShape { precision: 3, scale: 1 }));
    let error = read(&shape, &[0, 1, 0, 1, 0, 0, 0, 0, 0, 1], Format::Binary);
    assert_eq!(error.expect_err("10000 does not fit").sqlstate, "22003");
}

#[test]
fn moments_out_of_range_are_refused() {
    for (pg_type, value) in [
        (PgType::Time(None), (-1i64).to_be_bytes()),
        (PgType::Time(None), 86_400_000_001i64.to_be_bytes()),
        (PgType::Timestamp(None), (i64::MAX - 1).to_be_bytes()),
        (PgType::Timestamptz(None), (i64::MIN + 1).to_be_bytes()),
    ] {
        let error = read(&pg_type, &value, Format::Binary).expect_err("out of range");
        assert_eq!(error.sqlstate, "22008", "{pg_type:?}");
    }
    let error = read(&PgType::Date, &(i32::MAX - 1).to_be_bytes(), Format::Binary);
    assert_eq!(error.expect_err("out of range").sqlstate, "22008");
}

#[test]
fn arrays_are_read_up_to_their_last_byte() {
    let array = PgType::Array(std::sync::Arc::new(PgType::Int4));
    let mut bytes = Vec::new();
    for field in [1i32, 0, 23, 2, 1, 4, 7, 4, 8] {
        bytes.extend_from_slice(&field.to_be_bytes());
    }
    assert!(read(&array, &bytes, Format::Binary).is_ok());
    for length in 0..bytes.len() {
        assert!(read(&array, &bytes[..length], Format::Binary).is_err(), "{length} bytes");
    }
    bytes.push(0);
    assert!(read(&array, &bytes, Format::Binary).is_err(), "a byte too many");
    // A count that no message could hold.
    bytes.truncate(12);
    bytes.extend_from_slice(&i32::MAX.to_be_bytes());
    bytes.extend_from_slice(&1i32.to_be_bytes());
    assert!(read(&array, &bytes, Format::Binary).is_err());
}

#[test]
fn jsonb_has_a_version_and_json_has_none() {
    let text = |version: u8, text: &[u8]| [&[version], text].concat();
    assert!(read(&PgType::Jsonb, &text(1, b"[1]"), Format::Binary).is_ok());
    let error = read(&PgType::Jsonb, &text(2, b"[1]"), Format::Binary).expect_err("version 2");
    assert_eq!(error.message, "unsupported jsonb version number 2");
    assert!(read(&PgType::Jsonb, &[], Format::Binary).is_err());
    for (pg_type, bytes) in [(PgType::Jsonb, text(1, b"[1")), (PgType::Json, b"[1".to_vec())] {
        let error = read(&pg_type, &bytes, Format::Binary).expect_err("an open bracket");
        assert_eq!(error.sqlstate, "22P02");
        assert_eq!(error.detail.as_deref(), Some("The input string ended unexpectedly."));
    }
}
