//! One column of a batch, resolved to how its values are written behind their lengths.

use std::borrow::Cow;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryArray, BooleanArray, FixedSizeBinaryArray, ListArray,
        PrimitiveArray, StringViewArray, StructArray,
    },
    datatypes::{
        ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type,
        Float64Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNanoType,
        Time64MicrosecondType, TimestampMicrosecondType, UInt32Type,
    },
};

use super::{Format, numeric_write};
use crate::{
    error::{SqlError, sqlstate},
    types::{
        NumericShape, PgType,
        encoding::Encoding,
        jsonb::{self, Jsonb},
        text::{
            FormatSettings, TextEncoder, char_byte, write_decimal128, write_decimal256,
            write_integer,
        },
        timetz::TimeWithZone,
    },
};

/// Days and microseconds between 1970-01-01 and 2000-01-01, where PostgreSQL counts from.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_US: i64 = EPOCH_DAYS as i64 * 86_400_000_000;
/// Stands before the text of a jsonb in binary format.
const JSONB_VERSION: u8 = 1;
/// Stands before the text of a jsonpath in binary format.
const JSONPATH_VERSION: u8 = 1;

/// Writes the values of a column, text or binary, each behind its length.
pub struct FieldEncoder<'a> {
    column: Column<'a>,
    /// The client's, if values are text that is to be translated.
    encoding: Option<Encoding>,
}

impl<'a> FieldEncoder<'a> {
    /// `array` comes from [`as_stored`].
    ///
    /// # Errors
    /// 0A000 for a type without a binary format.
    pub fn new(
        array: &'a ArrayRef,
        pg_type: &'a PgType,
        format: Format,
        settings: &'a FormatSettings,
    ) -> Result<Self, SqlError> {
        let column = match format {
            Format::Text => Column::text(array, pg_type, settings),
            Format::Binary => Column::binary(array, pg_type, settings)?,
        };
        // Elements of binary arrays have encoders of their own.
        let is_text = format == Format::Text
            || matches!(column, Column::String(_) | Column::Bpchar(..) | Column::Jsonb(_));
        let encoding = (is_text && !settings.encoding.is_utf8()).then_some(settings.encoding);
        Ok(Self { column, encoding })
    }

    /// Appends the length and the bytes of the value in `row`; for NULL, the length -1.
    ///
    /// # Errors
    /// 22008, XX001 for values that the format cannot show. Part of the value may be appended then.
    #[inline]
    pub fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), SqlError> {
        match self.encoding {
            None => self.column.write(row, out),
            Some(encoding) => self.write_translated(encoding, row, out),
        }
    }

    fn write_translated(
        &self,
        encoding: Encoding,
        row: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), SqlError> {
        let start = out.len() + 4;
        self.column.write(row, out)?;
        // NULL is a length alone.
        let Some(value) = out.get(start..).filter(|value| !value.is_ascii()) else { return Ok(()) };
        let value = encoding.encode(value)?.into_owned();
        out.truncate(start);
        out.extend_from_slice(&value);
        end(start, out);
        Ok(())
    }
}

enum Column<'a> {
    Int2Text(&'a PrimitiveArray<Int16Type>),
    Int4Text(&'a PrimitiveArray<Int32Type>),
    Int8Text(&'a PrimitiveArray<Int64Type>),
    /// Strings that are the same in both formats.
    Char(&'a StringViewArray),
    String(&'a StringViewArray),
    Text(TextEncoder<'a>),
    Bool(&'a BooleanArray),
    Int2(&'a PrimitiveArray<Int16Type>),
    Int4(&'a PrimitiveArray<Int32Type>),
    Int8(&'a PrimitiveArray<Int64Type>),
    Oid(&'a PrimitiveArray<UInt32Type>),
    Float4(&'a PrimitiveArray<Float32Type>),
    Float8(&'a PrimitiveArray<Float64Type>),
    /// Blank-padded to so many characters; kept without the blanks.
    Bpchar(&'a StringViewArray, usize),
    Bytea(&'a BinaryArray),
    Jsonb(&'a BinaryArray),
    Jsonpath(&'a StringViewArray),
    Uuid(&'a FixedSizeBinaryArray),
    Timetz(&'a FixedSizeBinaryArray),
    Date(&'a PrimitiveArray<Date32Type>),
    Time(&'a PrimitiveArray<Time64MicrosecondType>),
    Timestamp(&'a PrimitiveArray<TimestampMicrosecondType>),
    Interval(&'a PrimitiveArray<IntervalMonthDayNanoType>),
    NumericText(&'a StringViewArray),
    Decimal128(&'a PrimitiveArray<Decimal128Type>, i8),
    Decimal256(&'a PrimitiveArray<Decimal256Type>, i8),
    Void,
    Array(&'a ListArray, &'a PgType, &'a FormatSettings),
    /// Each field with the OID of its type.
    Record(&'a StructArray, Vec<(u32, FieldEncoder<'a>)>),
    /// The same as an array, numbered from 0.
    Vector(&'a ListArray, PgType, &'a FormatSettings),
}

/// `array` in `stored`, the Arrow type of `pg_type`; cast if an expression gave another one.
///
/// # Errors
/// 0A000 where there is no cast and the format is binary.
pub fn as_stored(
    array: &ArrayRef,
    pg_type: &PgType,
    stored: &DataType,
    format: Format,
) -> Result<ArrayRef, SqlError> {
    if array.data_type().equals_datatype(stored) {
        return Ok(array.clone());
    }
    match arrow::compute::cast(array.as_ref(), stored) {
        Ok(cast) => Ok(cast),
        // As text, what Arrow shows is better than nothing.
        Err(_) if format == Format::Text => Ok(array.clone()),
        Err(error) => Err(SqlError::not_supported(format!(
            "the binary format of {} in a column of type {} ({error})",
            array.data_type(),
            pg_type.sql_name()
        ))),
    }
}

impl<'a> Column<'a> {
    fn text(array: &'a ArrayRef, pg_type: &'a PgType, settings: &'a FormatSettings) -> Self {
        match (array.data_type(), pg_type) {
            (DataType::Int16, _) => Self::Int2Text(array.as_primitive()),
            (DataType::Int32, _) => Self::Int4Text(array.as_primitive()),
            (DataType::Int64, _) => Self::Int8Text(array.as_primitive()),
            (DataType::Utf8View, PgType::Bpchar(Some(_))) => {
                Self::Text(TextEncoder::new(array, pg_type, settings))
            }
            (DataType::Utf8View, _) => Self::String(array.as_string_view()),
            _ => Self::Text(TextEncoder::new(array, pg_type, settings)),
        }
    }

    fn binary(
        array: &'a ArrayRef,
        pg_type: &'a PgType,
        settings: &'a FormatSettings,
    ) -> Result<Self, SqlError> {
        Ok(match pg_type {
            PgType::Bool => Self::Bool(array.as_boolean()),
            PgType::Int2 => Self::Int2(array.as_primitive()),
            PgType::Int4 => Self::Int4(array.as_primitive()),
            PgType::Int8 => Self::Int8(array.as_primitive()),
            PgType::Oid
            | PgType::Regclass
            | PgType::Regtype
            | PgType::Regproc
            | PgType::Regprocedure
            | PgType::Regoper
            | PgType::Regoperator
            | PgType::Regcollation
            | PgType::Regnamespace
            | PgType::Regrole => Self::Oid(array.as_primitive()),
            PgType::Float4 => Self::Float4(array.as_primitive()),
            PgType::Float8 => Self::Float8(array.as_primitive()),
            PgType::Text
            | PgType::Varchar(_)
            | PgType::Bpchar(None)
            | PgType::Name
            | PgType::Unknown
            | PgType::Json => Self::String(array.as_string_view()),
            PgType::Char => Self::Char(array.as_string_view()),
            PgType::Jsonb => Self::Jsonb(array.as_binary()),
            PgType::Jsonpath => Self::Jsonpath(array.as_string_view()),
            PgType::Bpchar(Some(n)) => Self::Bpchar(array.as_string_view(), *n as usize),
            PgType::Bytea => Self::Bytea(array.as_binary()),
            PgType::Uuid => Self::Uuid(array.as_fixed_size_binary()),
            PgType::Timetz(_) => Self::Timetz(array.as_fixed_size_binary()),
            PgType::Date => Self::Date(array.as_primitive()),
            PgType::Time(_) => Self::Time(array.as_primitive()),
            PgType::Timestamp(_) | PgType::Timestamptz(_) => Self::Timestamp(array.as_primitive()),
            PgType::Interval(_) => Self::Interval(array.as_primitive()),
            PgType::Numeric(shape) => match shape.and_then(NumericShape::decimal) {
                None => Self::NumericText(array.as_string_view()),
                Some((..=38, scale)) => Self::Decimal128(array.as_primitive(), scale),
                Some((_, scale)) => Self::Decimal256(array.as_primitive(), scale),
            },
            PgType::Void => Self::Void,
            PgType::Array(of) if matches!(**of, PgType::Array(_)) => {
                return Err(SqlError::not_supported("the binary format of nested arrays"));
            }
            PgType::Array(of) => Self::Array(array.as_list(), of, settings),
            PgType::Record(record) => {
                let rows = array.as_struct();
                let fields = rows.columns().iter().zip(&record.fields).map(|(column, field)| {
                    let encoder = FieldEncoder::new(column, &field.ty, Format::Binary, settings)?;
                    Ok((field.ty.oid(), encoder))
                });
                Self::Record(rows, fields.collect::<Result<_, SqlError>>()?)
            }
            PgType::Int2vector => Self::Vector(array.as_list(), PgType::Int2, settings),
            PgType::Oidvector => Self::Vector(array.as_list(), PgType::Oid, settings),
        })
    }

    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), SqlError> {
        match self {
            Self::Int2Text(a) => integer_text(a, row, out),
            Self::Int4Text(a) => integer_text(a, row, out),
            Self::Int8Text(a) => integer_text(a, row, out),
            Self::String(a) => bytes(a.is_null(row), || a.value(row).as_bytes(), out),
            Self::Char(a) if a.is_null(row) => null(out),
            Self::Char(a) => fixed([char_byte(a.value(row))], out),
            Self::Text(a) if a.is_null(row) => null(out),
            Self::Text(a) => counted(out, |out| a.write(row, out)),
            Self::Bool(a) if a.is_null(row) => null(out),
            Self::Bool(a) => fixed([u8::from(a.value(row))], out),
            Self::Int2(a) => primitive(a, row, out, |v| v.to_be_bytes()),
            Self::Int4(a) => primitive(a, row, out, |v| v.to_be_bytes()),
            Self::Int8(a) => primitive(a, row, out, |v| v.to_be_bytes()),
            Self::Oid(a) => primitive(a, row, out, |v| v.to_be_bytes()),
            Self::Float4(a) => primitive(a, row, out, |v| v.to_be_bytes()),
            Self::Float8(a) => primitive(a, row, out, |v| v.to_be_bytes()),
            Self::Date(a) => primitive(a, row, out, |v| date(v).to_be_bytes()),
            Self::Time(a) => primitive(a, row, out, |v| v.to_be_bytes()),
            Self::Timestamp(a) if a.is_null(row) => null(out),
            Self::Timestamp(a) => fixed(timestamp(a.value(row))?.to_be_bytes(), out),
            Self::Bpchar(a, _) if a.is_null(row) => null(out),
            Self::Bpchar(a, length) => counted(out, |out| {
                let value = a.value(row);
                out.extend_from_slice(value.as_bytes());
                let missing = length.saturating_sub(value.chars().count());
                out.resize(out.len() + missing, b' ');
            }),
            Self::Bytea(a) => bytes(a.is_null(row), || a.value(row), out),
            Self::Jsonpath(a) if a.is_null(row) => null(out),
            Self::Jsonpath(a) => counted(out, |out| {
                out.push(JSONPATH_VERSION);
                out.extend_from_slice(a.value(row).as_bytes());
            }),
            Self::Jsonb(a) if a.is_null(row) => null(out),
            Self::Jsonb(a) => counted(out, |out| {
                out.push(JSONB_VERSION);
                jsonb::write(Jsonb::new(a.value(row)), out);
            }),
            Self::Uuid(a) => bytes(a.is_null(row), || a.value(row), out),
            Self::Timetz(a) if a.is_null(row) => null(out),
            Self::Timetz(a) => {
                let time = TimeWithZone::from_bytes(a.value(row));
                let mut value = [0; 12];
                value[..8].copy_from_slice(&time.us.to_be_bytes());
                value[8..].copy_from_slice(&(-time.east).to_be_bytes());
                fixed(value, out);
            }
            Self::Interval(a) => primitive(a, row, out, |v| {
                let us = (v.nanoseconds / 1000).to_be_bytes();
                let (days, months) = (v.days.to_be_bytes(), v.months.to_be_bytes());
                let mut value = [0; 16];
                value[..8].copy_from_slice(&us);
                value[8..12].copy_from_slice(&days);
                value[12..].copy_from_slice(&months);
                value
            }),
            Self::NumericText(a) if a.is_null(row) => null(out),
            Self::NumericText(a) => return numeric_binary(a.value(row).as_bytes(), out),
            Self::Decimal128(a, _) if a.is_null(row) => null(out),
            Self::Decimal128(a, scale) => {
                let mut digits = Vec::with_capacity(48);
                write_decimal128(a.value(row), *scale, &mut digits);
                return numeric_binary(&digits, out);
            }
            Self::Decimal256(a, _) if a.is_null(row) => null(out),
            Self::Decimal256(a, scale) => {
                let mut digits = Vec::with_capacity(80);
                write_decimal256(a.value(row), *scale, &mut digits);
                return numeric_binary(&digits, out);
            }
            Self::Void => fixed([], out),
            Self::Array(a, _, _) if a.is_null(row) => null(out),
            Self::Array(a, of, settings) => {
                let start = begin(out);
                array(&a.value(row), of, 1, settings, out)?;
                end(start, out);
            }
            Self::Record(a, _) if a.is_null(row) => null(out),
            Self::Record(_, fields) => {
                let start = begin(out);
                out.extend_from_slice(&(fields.len() as u32).to_be_bytes());
                for (oid, field) in fields {
                    out.extend_from_slice(&oid.to_be_bytes());
                    field.write(row, out)?;
                }
                end(start, out);
            }
            Self::Vector(a, _, _) if a.is_null(row) => null(out),
            Self::Vector(a, of, settings) => {
                let start = begin(out);
                array(&a.value(row), of, 0, settings, out)?;
                end(start, out);
            }
        }
        Ok(())
    }
}

fn null(out: &mut Vec<u8>) {
    out.extend_from_slice(&(-1i32).to_be_bytes());
}

/// A value of known width.
fn fixed<const N: usize>(value: [u8; N], out: &mut Vec<u8>) {
    out.extend_from_slice(&(N as u32).to_be_bytes());
    out.extend_from_slice(&value);
}

fn primitive<T: ArrowPrimitiveType, const N: usize>(
    array: &PrimitiveArray<T>,
    row: usize,
    out: &mut Vec<u8>,
    encode: impl Fn(T::Native) -> [u8; N],
) {
    if array.is_null(row) {
        null(out);
    } else {
        fixed(encode(array.value(row)), out);
    }
}

fn bytes<'a>(is_null: bool, value: impl FnOnce() -> &'a [u8], out: &mut Vec<u8>) {
    if is_null {
        return null(out);
    }
    let value = value();
    // A value does not outgrow its array, whose offsets and views are 32-bit.
    out.extend_from_slice(&(value.len() as u32).to_be_bytes());
    out.extend_from_slice(value);
}

fn begin(out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&[0; 4]);
    out.len()
}

fn end(start: usize, out: &mut [u8]) {
    let length = (out.len() - start) as u32;
    out[start - 4..start].copy_from_slice(&length.to_be_bytes());
}

/// A value whose length is known after it is written.
fn counted(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = begin(out);
    write(out);
    end(start, out);
}

fn integer_text<T>(array: &PrimitiveArray<T>, row: usize, out: &mut Vec<u8>)
where
    T: ArrowPrimitiveType,
    T::Native: Into<i64>,
{
    if array.is_null(row) {
        return null(out);
    }
    let value: i64 = array.value(row).into();
    counted(out, |out| write_integer(value, out));
}

/// Days since 2000-01-01; the infinities are the same in both countings.
fn date(days: i32) -> i32 {
    if matches!(days, i32::MIN | i32::MAX) { days } else { days.wrapping_sub(EPOCH_DAYS) }
}

/// Microseconds since 2000-01-01; the infinities are the same in both countings.
fn timestamp(us: i64) -> Result<i64, SqlError> {
    if matches!(us, i64::MIN | i64::MAX) {
        return Ok(us);
    }
    us.checked_sub(EPOCH_US).ok_or_else(|| {
        SqlError::new(
            sqlstate::DATETIME_FIELD_OVERFLOW,
            format!("timestamp out of range: {us} microseconds from 1970"),
        )
    })
}

fn numeric_binary(text: &[u8], out: &mut Vec<u8>) -> Result<(), SqlError> {
    let start = begin(out);
    if !numeric_write::write_binary(text, out) {
        let shown: Cow<'_, str> = String::from_utf8_lossy(text);
        return Err(SqlError::new(
            sqlstate::DATA_CORRUPTED,
            format!("stored numeric value \"{shown}\" is not a number"),
        ));
    }
    end(start, out);
    Ok(())
}

/// One dimension, numbered from `lower`.
fn array(
    values: &ArrayRef,
    of: &PgType,
    lower: u32,
    settings: &FormatSettings,
    out: &mut Vec<u8>,
) -> Result<(), SqlError> {
    let values = as_stored(values, of, &of.arrow_type(), Format::Binary)?;
    let dimensions = u32::from(!values.is_empty());
    out.extend_from_slice(&dimensions.to_be_bytes());
    out.extend_from_slice(&u32::from(values.null_count() > 0).to_be_bytes());
    out.extend_from_slice(&of.oid().to_be_bytes());
    if dimensions == 0 {
        return Ok(());
    }
    out.extend_from_slice(&(values.len() as u32).to_be_bytes());
    out.extend_from_slice(&lower.to_be_bytes());
    let elements = FieldEncoder::new(&values, of, Format::Binary, settings)?;
    (0..values.len()).try_for_each(|row| elements.write(row, out))
}
