//! Binary to values.

use std::{borrow::Cow, sync::Arc};

use arrow::{array::StructArray, datatypes::IntervalMonthDayNano};
use datafusion::scalar::ScalarValue;

use super::numeric_read;
use crate::{
    error::{SqlError, sqlstate},
    types::{
        PgType, RecordType,
        encoding::invalid_utf8,
        text::{
            FormatSettings, canonical_numeric, char_of_byte, parse_text, round_timestamp, round_us,
        },
        timetz::TimeWithZone,
    },
};

/// What is said of bytes that are no value of the type (22P03).
pub const WRONG_FORMAT: &str = "incorrect binary data format";

/// Days and microseconds between 1970-01-01 and 2000-01-01, where PostgreSQL counts from.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_US: i64 = EPOCH_DAYS as i64 * 86_400_000_000;
const DAY_US: i64 = 86_400_000_000;
/// Range of PostgreSQL's dates and timestamps, counted from 2000-01-01.
const DATES: std::ops::Range<i32> = -2_451_545..2_145_031_949;
const TIMESTAMPS: std::ops::Range<i64> = -211_813_488_000_000_000..9_223_371_331_200_000_000;

/// One value from binary. The length of `varchar(n)` and `char(n)` belongs to columns and is not looked
/// at: a value too long to be stored is still fit to be compared.
///
/// # Errors
/// 22P03 ([`WRONG_FORMAT`]) for bytes that are no value of the type, and what their text would give.
pub fn read_value(
    pg_type: &PgType,
    value: &[u8],
    settings: &FormatSettings,
) -> Result<ScalarValue, SqlError> {
    let wrong = || {
        SqlError::new(sqlstate::INVALID_BINARY_REPRESENTATION, WRONG_FORMAT).detail(format!(
            "{} bytes for type {}",
            value.len(),
            pg_type.sql_name()
        ))
    };
    Ok(match pg_type {
        PgType::Bool => match value {
            [byte] => ScalarValue::Boolean(Some(*byte != 0)),
            _ => return Err(wrong()),
        },
        PgType::Int2 => {
            ScalarValue::Int16(Some(i16::from_be_bytes(fixed(value).ok_or_else(wrong)?)))
        }
        PgType::Int4 => {
            ScalarValue::Int32(Some(i32::from_be_bytes(fixed(value).ok_or_else(wrong)?)))
        }
        PgType::Int8 => {
            ScalarValue::Int64(Some(i64::from_be_bytes(fixed(value).ok_or_else(wrong)?)))
        }
        PgType::Oid
        | PgType::Regclass
        | PgType::Regtype
        | PgType::Regproc
        | PgType::Regprocedure
        | PgType::Regoper
        | PgType::Regoperator
        | PgType::Regcollation
        | PgType::Regnamespace
        | PgType::Regrole => {
            ScalarValue::UInt32(Some(u32::from_be_bytes(fixed(value).ok_or_else(wrong)?)))
        }
        PgType::Float4 => {
            ScalarValue::Float32(Some(f32::from_be_bytes(fixed(value).ok_or_else(wrong)?)))
        }
        PgType::Float8 => {
            ScalarValue::Float64(Some(f64::from_be_bytes(fixed(value).ok_or_else(wrong)?)))
        }
        PgType::Text | PgType::Varchar(_) | PgType::Bpchar(_) | PgType::Name | PgType::Unknown => {
            ScalarValue::Utf8View(Some(match pg_type {
                PgType::Bpchar(Some(_)) => {
                    client_text(value, settings)?.trim_end_matches(' ').to_owned()
                }
                _ => client_text(value, settings)?.into_owned(),
            }))
        }
        PgType::Char => {
            let [byte] = fixed(value).ok_or_else(wrong)?;
            ScalarValue::Utf8View(Some(char_of_byte(byte).to_owned()))
        }
        PgType::Bytea => ScalarValue::Binary(Some(value.to_vec())),
        PgType::Json => parse_text(&client_text(value, settings)?, pg_type, settings)?,
        PgType::Jsonb | PgType::Jsonpath => match value {
            [1, text @ ..] => parse_text(&client_text(text, settings)?, pg_type, settings)?,
            [version, ..] => {
                let message =
                    format!("unsupported {} version number {version}", pg_type.sql_name());
                return Err(SqlError::internal(message));
            }
            [] => return Err(wrong()),
        },
        PgType::Uuid if value.len() == 16 => ScalarValue::FixedSizeBinary(16, Some(value.to_vec())),
        PgType::Date => ScalarValue::Date32(Some(date(fixed(value).ok_or_else(wrong)?)?)),
        PgType::Time(digits) => {
            let us = i64::from_be_bytes(fixed(value).ok_or_else(wrong)?);
            if !(0..=DAY_US).contains(&us) {
                return Err(out_of_range("time", us));
            }
            let us = digits.and_then(|digits| round_us(us, digits)).unwrap_or(us);
            ScalarValue::Time64Microsecond(Some(us))
        }
        PgType::Timetz(digits) => {
            let [us @ .., a, b, c, d]: [u8; 12] = fixed(value).ok_or_else(wrong)?;
            let (us, west) = (i64::from_be_bytes(us), i32::from_be_bytes([a, b, c, d]));
            if !(0..=DAY_US).contains(&us) {
                return Err(out_of_range("time", us));
            }
            if !(-57_599..=57_599).contains(&west) {
                return Err(SqlError::new(
                    sqlstate::INVALID_TIME_ZONE_DISPLACEMENT_VALUE,
                    "time zone displacement out of range",
                ));
            }
            let us = digits.and_then(|digits| round_us(us, digits)).unwrap_or(us);
            let time = TimeWithZone { us, east: -west };
            ScalarValue::FixedSizeBinary(16, Some(time.to_bytes().to_vec()))
        }
        PgType::Timestamp(digits) => {
            let us = timestamp(fixed(value).ok_or_else(wrong)?)?;
            let us = digits.map_or(us, |digits| round_timestamp(us, digits));
            ScalarValue::TimestampMicrosecond(Some(us), None)
        }
        PgType::Timestamptz(digits) => {
            let us = timestamp(fixed(value).ok_or_else(wrong)?)?;
            let us = digits.map_or(us, |digits| round_timestamp(us, digits));
            ScalarValue::TimestampMicrosecond(Some(us), Some("UTC".into()))
        }
        PgType::Interval(fields) => {
            let value = interval(fixed(value).ok_or_else(wrong)?)?;
            let fitted = match fields {
                None => Some(value),
                Some(fields) => fields.fit(value),
            };
            let out_of_range =
                || SqlError::new(sqlstate::DATETIME_FIELD_OVERFLOW, "interval out of range");
            ScalarValue::IntervalMonthDayNano(Some(fitted.ok_or_else(out_of_range)?))
        }
        PgType::Numeric(shape) => {
            let text = numeric_read::read_binary(value).ok_or_else(wrong)?;
            match shape {
                None => ScalarValue::Utf8View(Some(canonical_numeric(&text)?)),
                Some(_) => parse_text(&text, pg_type, settings)?,
            }
        }
        PgType::Array(of) => return array(of, value, settings),
        PgType::Record(of) => return record(of, value, settings),
        PgType::Uuid | PgType::Void | PgType::Int2vector | PgType::Oidvector => {
            return Err(wrong());
        }
    })
}

/// Text as the client sent it.
///
/// # Errors
/// 22021, 22P05.
pub fn client_text<'a>(
    value: &'a [u8],
    settings: &FormatSettings,
) -> Result<Cow<'a, str>, SqlError> {
    let text = match settings.encoding.decode(value)? {
        Cow::Borrowed(bytes) => str::from_utf8(bytes)
            .map(Cow::Borrowed)
            .map_err(|error| invalid_utf8(&bytes[error.valid_up_to()..]))?,
        Cow::Owned(bytes) => String::from_utf8(bytes)
            .map(Cow::Owned)
            .map_err(|error| invalid_utf8(&error.as_bytes()[error.utf8_error().valid_up_to()..]))?,
    };
    if value.contains(&0) {
        return Err(invalid_utf8(&[0]));
    }
    Ok(text)
}

fn fixed<const N: usize>(value: &[u8]) -> Option<[u8; N]> {
    value.try_into().ok()
}

fn out_of_range(type_name: &str, value: i64) -> SqlError {
    SqlError::new(
        sqlstate::DATETIME_FIELD_OVERFLOW,
        format!("{type_name} out of range: binary value {value}"),
    )
}

/// The infinities are the same in both countings.
fn date(value: [u8; 4]) -> Result<i32, SqlError> {
    match i32::from_be_bytes(value) {
        infinite @ (i32::MIN | i32::MAX) => Ok(infinite),
        days if DATES.contains(&days) => Ok(days + EPOCH_DAYS),
        days => Err(out_of_range("date", days.into())),
    }
}

fn timestamp(value: [u8; 8]) -> Result<i64, SqlError> {
    match i64::from_be_bytes(value) {
        infinite @ (i64::MIN | i64::MAX) => Ok(infinite),
        us if TIMESTAMPS.contains(&us) => us
            .checked_add(EPOCH_US)
            .filter(|us| *us != i64::MAX)
            .ok_or_else(|| out_of_range("timestamp", us)),
        us => Err(out_of_range("timestamp", us)),
    }
}

fn interval(value: [u8; 16]) -> Result<IntervalMonthDayNano, SqlError> {
    let (us, rest) = value.split_at(8);
    let (days, months) = rest.split_at(4);
    let us = i64::from_be_bytes(us.try_into().expect("eight bytes"));
    Ok(IntervalMonthDayNano {
        months: i32::from_be_bytes(months.try_into().expect("four bytes")),
        days: i32::from_be_bytes(days.try_into().expect("four bytes")),
        nanoseconds: us.checked_mul(1000).ok_or_else(|| out_of_range("interval", us))?,
    })
}

/// A row of a type with a name.
fn record(
    of: &RecordType,
    bytes: &[u8],
    settings: &FormatSettings,
) -> Result<ScalarValue, SqlError> {
    let wrong = || SqlError::new(sqlstate::INVALID_BINARY_REPRESENTATION, WRONG_FORMAT);
    let mismatch = |message: String| SqlError::new(sqlstate::DATATYPE_MISMATCH, message);
    if of.is_anonymous() {
        let message = "input of anonymous composite types is not implemented";
        return Err(SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
    }
    let mut rest = bytes;
    let next = |rest: &mut &[u8]| -> Result<i32, SqlError> {
        let (field, after) = rest.split_first_chunk::<4>().ok_or_else(wrong)?;
        *rest = after;
        Ok(i32::from_be_bytes(*field))
    };
    let count = next(&mut rest)?;
    if usize::try_from(count) != Ok(of.fields.len()) {
        let expected = of.fields.len();
        return Err(mismatch(format!("wrong number of columns: {count}, expected {expected}")));
    }
    let mut columns = Vec::with_capacity(of.fields.len());
    for (n, field) in of.fields.iter().enumerate() {
        let oid = next(&mut rest)?.cast_unsigned();
        if oid != field.ty.oid() {
            return Err(mismatch(format!(
                "binary data has type {oid} instead of expected {} ({}) in record column {}",
                field.ty.oid(),
                field.ty.without_modifier().sql_name(),
                n + 1
            )));
        }
        let value = match next(&mut rest)? {
            -1 => ScalarValue::try_new_null(&field.ty.arrow_type()).map_err(internal)?,
            length => {
                let length = usize::try_from(length).map_err(|_| wrong())?;
                let (value, after) = rest.split_at_checked(length).ok_or_else(wrong)?;
                rest = after;
                read_value(&field.ty, value, settings)?
            }
        };
        columns.push(value.to_array().map_err(internal)?);
    }
    if !rest.is_empty() {
        return Err(wrong());
    }
    let row = StructArray::try_new(of.arrow_fields(), columns, None).map_err(internal)?;
    Ok(ScalarValue::Struct(Arc::new(row)))
}

fn internal(error: impl std::fmt::Display) -> SqlError {
    SqlError::internal(error.to_string())
}

/// An array of one dimension.
fn array(of: &PgType, bytes: &[u8], settings: &FormatSettings) -> Result<ScalarValue, SqlError> {
    let wrong = || SqlError::new(sqlstate::INVALID_BINARY_REPRESENTATION, WRONG_FORMAT);
    let mut rest = bytes;
    let mut next = || -> Option<i32> {
        let (field, after) = rest.split_first_chunk::<4>()?;
        rest = after;
        Some(i32::from_be_bytes(*field))
    };
    let (dimensions, _nulls, element) = (
        next().ok_or_else(wrong)?,
        next().ok_or_else(wrong)?,
        next().ok_or_else(wrong)?.cast_unsigned(),
    );
    if element != of.oid() {
        return Err(SqlError::new(
            sqlstate::DATATYPE_MISMATCH,
            format!(
                "binary data has array element type {element} instead of expected {} ({})",
                of.oid(),
                of.sql_name()
            ),
        ));
    }
    let count = match dimensions {
        0 => 0,
        1 => {
            let (count, _lower_bound) = (next().ok_or_else(wrong)?, next().ok_or_else(wrong)?);
            usize::try_from(count).map_err(|_| wrong())?
        }
        more => return Err(SqlError::not_supported(format!("an array of {more} dimensions"))),
    };
    // Every value takes at least its length.
    if count > rest.len() / 4 {
        return Err(wrong());
    }
    let mut values = Vec::with_capacity(count);
    for _ in 0..count {
        let (length, after) = rest.split_first_chunk::<4>().ok_or_else(wrong)?;
        rest = after;
        match i32::from_be_bytes(*length) {
            -1 => values.push(
                ScalarValue::try_new_null(&of.arrow_type())
                    .map_err(|error| SqlError::internal(error.to_string()))?,
            ),
            length => {
                let length = usize::try_from(length).map_err(|_| wrong())?;
                let (element, after) = rest.split_at_checked(length).ok_or_else(wrong)?;
                rest = after;
                values.push(read_value(of, element, settings)?);
            }
        }
    }
    if !rest.is_empty() {
        return Err(wrong());
    }
    Ok(ScalarValue::List(ScalarValue::new_list_nullable(&values, &of.arrow_type())))
}
