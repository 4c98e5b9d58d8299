use super::*;
use crate::types::text::write_text;

/// Text in, text out.
fn round(text: &str, pg_type: &PgType) -> Result<String, SqlError> {
    let settings = FormatSettings::default();
    let mut builder = ColumnBuilder::new(pg_type, 1)?;
    builder.append(text, &settings)?;
    let array = builder.finish();
    assert_eq!(array.data_type(), &pg_type.arrow_type());
    let mut out = Vec::new();
    write_text(&array, 0, pg_type, &settings, &mut out);
    Ok(String::from_utf8(out).expect("UTF-8"))
}

#[test]
fn values_go_round() {
    let numeric = PgType::Numeric(Some(NumericShape { precision: 15, scale: 2 }));
    let wide = PgType::Numeric(Some(NumericShape { precision: 60, scale: 3 }));
    for (text, pg_type, expected) in [
        ("TRUE", PgType::Bool, "t"),
        (" off ", PgType::Bool, "f"),
        ("-32768", PgType::Int2, "-32768"),
        (" 42 ", PgType::Int4, "42"),
        ("-9223372036854775808", PgType::Int8, "-9223372036854775808"),
        ("1.5e10", PgType::Float8, "15000000000"),
        ("-inf", PgType::Float4, "-Infinity"),
        ("3.10", numeric.clone(), "3.10"),
        ("-0.005", numeric, "-0.01"),
        (
            "123456789012345678901234567890123456789012345.5",
            wide,
            "123456789012345678901234567890123456789012345.500",
        ),
        ("1.10", PgType::Numeric(None), "1.10"),
        ("héllo", PgType::Text, "héllo"),
        ("abc  ", PgType::Varchar(Some(4)), "abc "),
        ("ab", PgType::Bpchar(Some(4)), "ab  "),
        ("\\xDEADbeef", PgType::Bytea, "\\xdeadbeef"),
        ("a\\\\b\\001", PgType::Bytea, "\\x615c6201"),
        ("1999-01-08", PgType::Date, "1999-01-08"),
        ("04:05", PgType::Time(None), "04:05:00"),
        ("1999-01-08 04:05:06.7", PgType::Timestamp(None), "1999-01-08 04:05:06.7"),
        ("1999-01-08 04:05:06+02", PgType::Timestamptz(None), "1999-01-08 02:05:06+00"),
        ("1 day 2 hours", PgType::Interval(None), "1 day 02:00:00"),
        (
            "{A0EEBC99-9C0B4EF8-BB6D6BB9-BD380A11}",
            PgType::Uuid,
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        ),
        ("26", PgType::Oid, "26"),
    ] {
        assert_eq!(round(text, &pg_type).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn wrong_texts_are_refused_by_name() {
    for (text, pg_type, state, message) in [
        ("x", PgType::Int4, "22P02", "invalid input syntax for type integer: \"x\""),
        ("", PgType::Int4, "22P02", "invalid input syntax for type integer: \"\""),
        (
            "3000000000",
            PgType::Int4,
            "22003",
            "value \"3000000000\" is out of range for type integer",
        ),
        (
            "9223372036854775808",
            PgType::Int8,
            "22003",
            "value \"9223372036854775808\" is out of range for type bigint",
        ),
        ("1e400", PgType::Float8, "22003", "\"1e400\" is out of range for type double precision"),
        ("o", PgType::Bool, "22P02", "invalid input syntax for type boolean: \"o\""),
        ("abcd", PgType::Varchar(Some(3)), "22001", "value too long for type character varying(3)"),
        ("ééé", PgType::Bpchar(Some(2)), "22001", "value too long for type character(2)"),
        ("\\xabc", PgType::Bytea, "22023", "invalid hexadecimal data: odd number of digits"),
        ("a0eebc99", PgType::Uuid, "22P02", "invalid input syntax for type uuid: \"a0eebc99\""),
    ] {
        let error = round(text, &pg_type).expect_err(text);
        assert_eq!((error.sqlstate, error.message.as_str()), (state, message));
    }
    let array = PgType::Array(Arc::new(PgType::Int4));
    for text in ["{", "1", "{1,}", "{1}2", "{\"1\"2}", "{x}"] {
        let error = parse_text(text, &array, &FormatSettings::default()).expect_err(text);
        assert_eq!(error.sqlstate, "22P02", "{text}");
    }
}

#[test]
fn a_failed_value_leaves_the_column_as_it_was() {
    let mut builder = ColumnBuilder::new(&PgType::Int4, 4).expect("int4 has input");
    builder.append("1", &FormatSettings::default()).expect("a number");
    builder.append("x", &FormatSettings::default()).expect_err("no number");
    builder.append_null();
    assert_eq!(builder.finish().len(), 2);
    assert!(builder.is_empty());
}
