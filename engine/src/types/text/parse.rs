//! Text to values of Arrow columns.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayBuilder, ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder,
        Decimal256Builder, FixedSizeBinaryBuilder, Float32Builder, Float64Builder, Int16Builder,
        Int32Builder, Int64Builder, IntervalMonthDayNanoBuilder, ListArray, StringViewBuilder,
        StructArray, Time64MicrosecondBuilder, TimestampMicrosecondBuilder, UInt32Builder,
    },
    buffer::{NullBuffer, OffsetBuffer, ScalarBuffer},
    datatypes::DataType,
};
use datafusion::scalar::ScalarValue;

use super::{
    FormatSettings, array_elements, canonical_numeric, datetime, fit, fit_numeric,
    interval::parse_interval, numeric, parse_decimal, record_fields, round_timestamp, round_us,
};
use crate::{
    error::{SqlError, sqlstate},
    types::{NumericShape, PgType, json, jsonb, jsonpath},
};

/// One value from text.
///
/// # Errors
/// 22P02, 22003, 22007, 22008, 22001 as PostgreSQL words them; 0A000 for arrays with bounds or more
/// dimensions than one.
pub fn parse_text(
    text: &str,
    pg_type: &PgType,
    settings: &FormatSettings,
) -> Result<ScalarValue, SqlError> {
    let mut builder = ColumnBuilder::new(pg_type, 1)?;
    builder.append(text, settings)?;
    ScalarValue::try_from_array(&builder.finish(), 0)
        .map_err(|error| SqlError::internal(error.to_string()))
}

/// Builds a column of a type from texts.
pub struct ColumnBuilder {
    pg_type: PgType,
    values: Values,
    /// Bytes of texts and byte strings appended since the last `finish`.
    bytes: usize,
}

enum Values {
    Bool(BooleanBuilder),
    Int2(Int16Builder),
    Int4(Int32Builder),
    Int8(Int64Builder),
    Float4(Float32Builder),
    Float8(Float64Builder),
    Decimal128(Decimal128Builder, NumericShape),
    Decimal256(Decimal256Builder, NumericShape),
    /// Canonical text, rounded to a shape if there is one.
    Numeric(StringViewBuilder, Option<NumericShape>),
    Text(StringViewBuilder),
    Bytea(BinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timetz(FixedSizeBinaryBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Timestamptz(TimestampMicrosecondBuilder),
    Interval(IntervalMonthDayNanoBuilder),
    Uuid(FixedSizeBinaryBuilder),
    Oid(UInt32Builder),
    Json(StringViewBuilder),
    Jsonpath(StringViewBuilder),
    Jsonb(BinaryBuilder),
    Array(Lists),
    Record(Rows),
}

/// Rows: their fields, column by column.
struct Rows {
    fields: Vec<ColumnBuilder>,
    valid: Vec<bool>,
    /// Of `record`, whose fields no text can know.
    anonymous: bool,
}

impl Rows {
    fn append(&mut self, text: &str, settings: &FormatSettings) -> Result<(), SqlError> {
        if self.anonymous {
            let message = "input of anonymous composite types is not implemented";
            return Err(SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
        }
        let texts = record_fields(text, self.fields.len())?;
        for (field, text) in self.fields.iter_mut().zip(texts) {
            match text {
                Some(text) => field.append(&text, settings)?,
                None => field.append_null(),
            }
        }
        self.valid.push(true);
        Ok(())
    }

    fn append_null(&mut self) {
        self.fields.iter_mut().for_each(ColumnBuilder::append_null);
        self.valid.push(false);
    }

    fn finish(&mut self, data_type: &DataType) -> ArrayRef {
        let DataType::Struct(fields) = data_type else { unreachable!("only records are structs") };
        let valid = std::mem::take(&mut self.valid);
        let rows = valid.len();
        let nulls = valid.contains(&false).then(|| NullBuffer::from(valid));
        let columns: Vec<ArrayRef> = self.fields.iter_mut().map(ColumnBuilder::finish).collect();
        if columns.is_empty() {
            return Arc::new(StructArray::new_empty_fields(rows, nulls));
        }
        Arc::new(StructArray::new(fields.clone(), columns, nulls))
    }
}

/// Arrays: their elements, one after the other.
struct Lists {
    items: Box<ColumnBuilder>,
    /// End of each array in `items`.
    ends: Vec<i32>,
    valid: Vec<bool>,
}

impl Lists {
    fn close(&mut self, valid: bool) -> Result<(), SqlError> {
        let end = i32::try_from(self.items.len()).map_err(|_| {
            let message = "too many elements in the arrays of a column";
            SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message)
        })?;
        self.ends.push(end);
        self.valid.push(valid);
        Ok(())
    }

    fn append(&mut self, text: &str, settings: &FormatSettings) -> Result<(), SqlError> {
        for element in array_elements(text)? {
            match element {
                Some(text) => self.items.append(&text, settings)?,
                None => self.items.append_null(),
            }
        }
        self.close(true)
    }

    fn finish(&mut self, data_type: &DataType) -> ArrayRef {
        let DataType::List(field) = data_type else { unreachable!("only arrays are lists") };
        let mut offsets = vec![0];
        offsets.append(&mut self.ends);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        let valid = std::mem::take(&mut self.valid);
        let nulls = valid.contains(&false).then(|| NullBuffer::from(valid));
        Arc::new(ListArray::new(field.clone(), offsets, self.items.finish(), nulls))
    }
}

impl ColumnBuilder {
    /// # Errors
    /// None so far.
    pub fn new(pg_type: &PgType, capacity: usize) -> Result<Self, SqlError> {
        let strings = || StringViewBuilder::with_capacity(capacity).with_fixed_block_size(1 << 20);
        let values = match pg_type {
            PgType::Bool => Values::Bool(BooleanBuilder::with_capacity(capacity)),
            PgType::Int2 => Values::Int2(Int16Builder::with_capacity(capacity)),
            PgType::Int4 => Values::Int4(Int32Builder::with_capacity(capacity)),
            PgType::Int8 => Values::Int8(Int64Builder::with_capacity(capacity)),
            PgType::Float4 => Values::Float4(Float32Builder::with_capacity(capacity)),
            PgType::Float8 => Values::Float8(Float64Builder::with_capacity(capacity)),
            PgType::Numeric(None) => Values::Numeric(strings(), None),
            PgType::Numeric(Some(shape)) => match shape.decimal() {
                None => Values::Numeric(strings(), Some(*shape)),
                Some((..=38, _)) => Values::Decimal128(
                    Decimal128Builder::with_capacity(capacity).with_data_type(pg_type.arrow_type()),
                    *shape,
                ),
                Some(_) => Values::Decimal256(
                    Decimal256Builder::with_capacity(capacity).with_data_type(pg_type.arrow_type()),
                    *shape,
                ),
            },
            PgType::Text
            | PgType::Varchar(_)
            | PgType::Bpchar(_)
            | PgType::Char
            | PgType::Name
            | PgType::Unknown
            | PgType::Void => Values::Text(strings()),
            PgType::Bytea => Values::Bytea(BinaryBuilder::with_capacity(capacity, 0)),
            PgType::Date => Values::Date(Date32Builder::with_capacity(capacity)),
            PgType::Timetz(_) => {
                Values::Timetz(FixedSizeBinaryBuilder::with_capacity(capacity, 16))
            }
            PgType::Time(_) => Values::Time(Time64MicrosecondBuilder::with_capacity(capacity)),
            PgType::Timestamp(_) => {
                Values::Timestamp(TimestampMicrosecondBuilder::with_capacity(capacity))
            }
            PgType::Timestamptz(_) => Values::Timestamptz(
                TimestampMicrosecondBuilder::with_capacity(capacity).with_timezone("UTC"),
            ),
            PgType::Interval(_) => {
                Values::Interval(IntervalMonthDayNanoBuilder::with_capacity(capacity))
            }
            PgType::Uuid => Values::Uuid(FixedSizeBinaryBuilder::with_capacity(capacity, 16)),
            PgType::Oid
            | PgType::Regclass
            | PgType::Regtype
            | PgType::Regproc
            | PgType::Regprocedure
            | PgType::Regoper
            | PgType::Regoperator
            | PgType::Regcollation
            | PgType::Regnamespace
            | PgType::Regrole => Values::Oid(UInt32Builder::with_capacity(capacity)),
            PgType::Json => Values::Json(strings()),
            PgType::Jsonpath => Values::Jsonpath(strings()),
            PgType::Jsonb => Values::Jsonb(BinaryBuilder::with_capacity(capacity, 0)),
            PgType::Array(of) => Values::Array(Lists {
                items: Box::new(Self::new(of, 0)?),
                ends: Vec::with_capacity(capacity),
                valid: Vec::with_capacity(capacity),
            }),
            PgType::Record(record) => Values::Record(Rows {
                fields: record
                    .fields
                    .iter()
                    .map(|field| Self::new(&field.ty, capacity))
                    .collect::<Result<_, _>>()?,
                valid: Vec::with_capacity(capacity),
                anonymous: record.is_anonymous(),
            }),
            PgType::Int2vector | PgType::Oidvector => {
                let item = if *pg_type == PgType::Int2vector { PgType::Int2 } else { PgType::Oid };
                Values::Array(Lists {
                    items: Box::new(Self::new(&item, 0)?),
                    ends: Vec::with_capacity(capacity),
                    valid: Vec::with_capacity(capacity),
                })
            }
        };
        Ok(Self { pg_type: pg_type.clone(), values, bytes: 0 })
    }

    /// Number of values so far.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.values {
            Values::Bool(b) => b.len(),
            Values::Int2(b) => b.len(),
            Values::Int4(b) => b.len(),
            Values::Int8(b) => b.len(),
            Values::Float4(b) => b.len(),
            Values::Float8(b) => b.len(),
            Values::Decimal128(b, _) => b.len(),
            Values::Decimal256(b, _) => b.len(),
            Values::Numeric(b, _) | Values::Text(b) | Values::Json(b) | Values::Jsonpath(b) => {
                b.len()
            }
            Values::Bytea(b) | Values::Jsonb(b) => b.len(),
            Values::Array(lists) => lists.ends.len(),
            Values::Record(rows) => rows.valid.len(),
            Values::Date(b) => b.len(),
            Values::Time(b) => b.len(),
            Values::Timestamp(b) | Values::Timestamptz(b) => b.len(),
            Values::Interval(b) => b.len(),
            Values::Uuid(b) | Values::Timetz(b) => b.len(),
            Values::Oid(b) => b.len(),
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn append_null(&mut self) {
        match &mut self.values {
            Values::Bool(b) => b.append_null(),
            Values::Int2(b) => b.append_null(),
            Values::Int4(b) => b.append_null(),
            Values::Int8(b) => b.append_null(),
            Values::Float4(b) => b.append_null(),
            Values::Float8(b) => b.append_null(),
            Values::Decimal128(b, _) => b.append_null(),
            Values::Decimal256(b, _) => b.append_null(),
            Values::Numeric(b, _) | Values::Text(b) | Values::Json(b) | Values::Jsonpath(b) => {
                b.append_null()
            }
            Values::Bytea(b) | Values::Jsonb(b) => b.append_null(),
            Values::Array(lists) => {
                let end = lists.ends.last().copied().unwrap_or(0);
                lists.ends.push(end);
                lists.valid.push(false);
            }
            Values::Record(rows) => rows.append_null(),
            Values::Date(b) => b.append_null(),
            Values::Time(b) => b.append_null(),
            Values::Timestamp(b) | Values::Timestamptz(b) => b.append_null(),
            Values::Interval(b) => b.append_null(),
            Values::Uuid(b) | Values::Timetz(b) => b.append_null(),
            Values::Oid(b) => b.append_null(),
        }
    }

    /// Appends a record of fields that [`field_mut`](Self::field_mut) has been given a value each for.
    pub fn end_record(&mut self) {
        if let Values::Record(rows) = &mut self.values {
            rows.valid.push(true);
        }
    }

    /// The fields of a record, to be given one value each before [`end_record`](Self::end_record); empty
    /// for another type.
    pub fn fields_mut(&mut self) -> &mut [Self] {
        match &mut self.values {
            Values::Record(rows) => &mut rows.fields,
            _ => &mut [],
        }
    }

    /// Appends the value that `text` writes. After an error the column holds a part of it: throw it
    /// away.
    pub fn append(&mut self, text: &str, settings: &FormatSettings) -> Result<(), SqlError> {
        match &mut self.values {
            Values::Bool(b) => b.append_value(boolean(text)?),
            Values::Int2(b) => {
                let value = integer(text, "smallint")?;
                b.append_value(i16::try_from(value).map_err(|_| out_of_range(text, "smallint"))?);
            }
            Values::Int4(b) => {
                let value = integer(text, "integer")?;
                b.append_value(i32::try_from(value).map_err(|_| out_of_range(text, "integer"))?);
            }
            Values::Int8(b) => b.append_value(integer(text, "bigint")?),
            Values::Float4(b) => b.append_value(float4(text)?),
            Values::Float8(b) => b.append_value(float8(text)?),
            Values::Decimal128(b, shape) => {
                let fast = numeric::parse_decimal_fast(text.as_bytes(), *shape);
                let value = match fast {
                    Some(value) => value,
                    None => parse_decimal(text, *shape)?
                        .to_i128()
                        .ok_or_else(|| numeric::overflow(*shape))?,
                };
                b.append_value(value);
            }
            Values::Decimal256(b, shape) => b.append_value(parse_decimal(text, *shape)?),
            Values::Numeric(b, shape) => {
                let canonical = canonical_numeric(text)?;
                let canonical = match shape {
                    None => canonical,
                    Some(shape) => fit_numeric(&canonical, *shape)?,
                };
                self.bytes += canonical.len();
                b.append_value(canonical);
            }
            Values::Text(b) => {
                let text = fit(text, &self.pg_type, false)?;
                self.bytes += text.len();
                b.append_value(text);
            }
            Values::Bytea(b) => {
                let bytes = bytea(text)?;
                self.bytes += bytes.len();
                b.append_value(bytes);
            }
            Values::Date(b) => b.append_value(datetime::parse_date(text, settings)?),
            Values::Time(b) => {
                let us = datetime::parse_time(text, settings)?;
                let digits = self.pg_type.second_digits();
                b.append_value(digits.and_then(|d| round_us(us, d)).unwrap_or(us));
            }
            Values::Timetz(b) => {
                let mut time = datetime::parse_timetz(text, settings)?;
                if let Some(digits) = self.pg_type.second_digits() {
                    time.us = round_us(time.us, digits).unwrap_or(time.us);
                }
                b.append_value(time.to_bytes())
                    .map_err(|error| SqlError::internal(error.to_string()))?;
            }
            Values::Timestamp(b) => {
                let us = datetime::parse_timestamp(text, settings)?;
                let digits = self.pg_type.second_digits();
                b.append_value(digits.map_or(us, |digits| round_timestamp(us, digits)));
            }
            Values::Timestamptz(b) => {
                let us = datetime::parse_timestamptz(text, settings)?;
                let digits = self.pg_type.second_digits();
                b.append_value(digits.map_or(us, |digits| round_timestamp(us, digits)));
            }
            Values::Interval(b) => {
                let fields = match self.pg_type {
                    PgType::Interval(fields) => fields,
                    _ => None,
                };
                b.append_value(parse_interval(text, settings.interval_style, fields)?);
            }
            Values::Uuid(b) => b
                .append_value(uuid(text)?)
                .map_err(|error| SqlError::internal(error.to_string()))?,
            Values::Jsonpath(b) => {
                b.append_value(jsonpath::normal_form(&jsonpath::parse(text)?));
            }
            Values::Json(b) => {
                json::validate(text)?;
                self.bytes += text.len();
                b.append_value(text);
            }
            Values::Jsonb(b) => {
                let bytes = jsonb::from_json(text)?;
                self.bytes += bytes.len();
                b.append_value(bytes);
            }
            Values::Array(lists) if self.pg_type.vector_item().is_some() => {
                for item in text.split_ascii_whitespace() {
                    lists.items.append(item, settings)?;
                }
                lists.close(true)?;
            }
            Values::Array(lists) => lists.append(text, settings)?,
            Values::Record(rows) => rows.append(text, settings)?,
            Values::Oid(b) if self.pg_type.is_object_name() => {
                b.append_value(settings.names.oid(&self.pg_type, text)?);
            }
            Values::Oid(b) => {
                let value = integer(text, "oid")?;
                // PostgreSQL takes negative OIDs as their two's complement.
                let value = u32::try_from(value)
                    .or_else(|_| i32::try_from(value).map(i32::cast_unsigned))
                    .map_err(|_| out_of_range(text, "oid"))?;
                b.append_value(value);
            }
        }
        Ok(())
    }

    /// Rough size of the column so far.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let width = self.pg_type.arrow_type().primitive_width().unwrap_or(16);
        let items = match &self.values {
            Values::Array(lists) => lists.items.memory_bytes(),
            Values::Record(rows) => rows.fields.iter().map(Self::memory_bytes).sum(),
            _ => 0,
        };
        self.len() * width + self.bytes + items
    }

    /// The column, of the type's Arrow type; the builder is empty again.
    pub fn finish(&mut self) -> ArrayRef {
        self.bytes = 0;
        match &mut self.values {
            Values::Bool(b) => Arc::new(b.finish()),
            Values::Int2(b) => Arc::new(b.finish()),
            Values::Int4(b) => Arc::new(b.finish()),
            Values::Int8(b) => Arc::new(b.finish()),
            Values::Float4(b) => Arc::new(b.finish()),
            Values::Float8(b) => Arc::new(b.finish()),
            Values::Decimal128(b, _) => Arc::new(b.finish()),
            Values::Decimal256(b, _) => Arc::new(b.finish()),
            Values::Numeric(b, _) | Values::Text(b) | Values::Json(b) | Values::Jsonpath(b) => {
                Arc::new(b.finish())
            }
            Values::Bytea(b) | Values::Jsonb(b) => Arc::new(b.finish()),
            Values::Array(lists) => lists.finish(&self.pg_type.arrow_type()),
            Values::Record(rows) => rows.finish(&self.pg_type.arrow_type()),
            Values::Date(b) => Arc::new(b.finish()),
            Values::Time(b) => Arc::new(b.finish()),
            Values::Timestamp(b) | Values::Timestamptz(b) => Arc::new(b.finish()),
            Values::Interval(b) => Arc::new(b.finish()),
            Values::Uuid(b) | Values::Timetz(b) => Arc::new(b.finish()),
            Values::Oid(b) => Arc::new(b.finish()),
        }
    }

    /// Arrow type of what [`finish`](Self::finish) gives.
    #[must_use]
    pub fn data_type(&self) -> DataType {
        self.pg_type.arrow_type()
    }
}

fn invalid(text: &str, type_name: &str) -> SqlError {
    SqlError::new(
        sqlstate::INVALID_TEXT_REPRESENTATION,
        format!("invalid input syntax for type {type_name}: \"{text}\""),
    )
}

fn out_of_range(text: &str, type_name: &str) -> SqlError {
    SqlError::new(
        sqlstate::NUMERIC_VALUE_OUT_OF_RANGE,
        format!("value \"{text}\" is out of range for type {type_name}"),
    )
}

/// Unique prefixes of true, false, yes, no, on, off, and 1 and 0.
pub fn boolean(text: &str) -> Result<bool, SqlError> {
    match text {
        "t" | "true" => return Ok(true),
        "f" | "false" => return Ok(false),
        _ => {}
    }
    let word = text.trim().to_ascii_lowercase();
    let prefix_of = |whole: &str, least: usize| word.len() >= least && whole.starts_with(&word);
    if word == "1" || prefix_of("true", 1) || prefix_of("yes", 1) || word == "on" {
        Ok(true)
    } else if word == "0" || prefix_of("false", 1) || prefix_of("no", 1) || prefix_of("off", 2) {
        Ok(false)
    } else {
        Err(invalid(text, "boolean"))
    }
}

fn integer(text: &str, type_name: &str) -> Result<i64, SqlError> {
    let bytes = text.as_bytes();
    // At most 18 digits cannot overflow.
    let (negative, digits) = match bytes.first() {
        Some(b'-') => (true, &bytes[1..]),
        _ => (false, bytes),
    };
    if (1..=18).contains(&digits.len()) {
        let mut value = 0i64;
        let mut plain = true;
        for byte in digits {
            plain &= byte.is_ascii_digit();
            value = value.wrapping_mul(10).wrapping_add(i64::from(byte.wrapping_sub(b'0')));
        }
        if plain {
            return Ok(if negative { -value } else { value });
        }
    }
    let trimmed = text.trim();
    trimmed.parse::<i64>().map_err(|_| {
        let digits = trimmed.strip_prefix(['-', '+']).unwrap_or(trimmed);
        if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
            out_of_range(text, type_name)
        } else {
            invalid(text, type_name)
        }
    })
}

/// Rust's syntax of numbers is PostgreSQL's but for the names of what is no number.
fn special_float(text: &str) -> Option<f64> {
    Some(match text.to_ascii_lowercase().as_str() {
        "nan" => f64::NAN,
        "infinity" | "+infinity" | "inf" | "+inf" => f64::INFINITY,
        "-infinity" | "-inf" => f64::NEG_INFINITY,
        _ => return None,
    })
}

fn float8(text: &str) -> Result<f64, SqlError> {
    const NAME: &str = "double precision";
    let trimmed = text.trim();
    if let Some(value) = special_float(trimmed) {
        return Ok(value);
    }
    let value: f64 = trimmed.parse().map_err(|_| invalid(text, NAME))?;
    if value.is_nan() {
        return Err(invalid(text, NAME));
    }
    if value.is_infinite() || (value == 0.0 && has_nonzero_digit(trimmed)) {
        return Err(SqlError::new(
            sqlstate::NUMERIC_VALUE_OUT_OF_RANGE,
            format!("\"{trimmed}\" is out of range for type double precision"),
        ));
    }
    Ok(value)
}

fn float4(text: &str) -> Result<f32, SqlError> {
    const NAME: &str = "real";
    let trimmed = text.trim();
    if let Some(value) = special_float(trimmed) {
        return Ok(value as f32);
    }
    let value: f32 = trimmed.parse().map_err(|_| invalid(text, NAME))?;
    if value.is_infinite() || (value == 0.0 && has_nonzero_digit(trimmed)) {
        return Err(SqlError::new(
            sqlstate::NUMERIC_VALUE_OUT_OF_RANGE,
            format!("\"{trimmed}\" is out of range for type real"),
        ));
    }
    Ok(value)
}

/// In the mantissa: a number that became zero though it is none underflowed.
fn has_nonzero_digit(text: &str) -> bool {
    text.bytes().take_while(|b| !matches!(b, b'e' | b'E')).any(|b| matches!(b, b'1'..=b'9'))
}

pub(crate) fn bytea(text: &str) -> Result<Vec<u8>, SqlError> {
    let Some(hex) = text.strip_prefix("\\x").or_else(|| text.strip_prefix("\\X")) else {
        return bytea_escaped(text);
    };
    let mut bytes = Vec::with_capacity(hex.len() / 2);
    let mut high: Option<u8> = None;
    for symbol in hex.chars() {
        if symbol.is_ascii_whitespace() && high.is_none() {
            continue;
        }
        let digit = symbol.to_digit(16).ok_or_else(|| {
            SqlError::new(
                sqlstate::INVALID_PARAMETER_VALUE,
                format!("invalid hexadecimal digit: \"{symbol}\""),
            )
        })? as u8;
        match high.take() {
            Some(high) => bytes.push(high << 4 | digit),
            None => high = Some(digit),
        }
    }
    if high.is_some() {
        return Err(SqlError::new(
            sqlstate::INVALID_PARAMETER_VALUE,
            "invalid hexadecimal data: odd number of digits",
        ));
    }
    Ok(bytes)
}

fn bytea_escaped(text: &str) -> Result<Vec<u8>, SqlError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first != b'\\' {
            bytes.push(first);
            rest = after;
            continue;
        }
        match after {
            [b'\\', ..] => {
                bytes.push(b'\\');
                rest = &after[1..];
            }
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = &after[3..];
            }
            // PostgreSQL does not repeat the bytes.
            _ => {
                let message = "invalid input syntax for type bytea";
                return Err(SqlError::new(sqlstate::INVALID_TEXT_REPRESENTATION, message));
            }
        }
    }
    Ok(bytes)
}

fn uuid(text: &str) -> Result<[u8; 16], SqlError> {
    let trimmed = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')).unwrap_or(text);
    let mut bytes = [0u8; 16];
    let mut digits = 0;
    let mut after_hyphen = true;
    for symbol in trimmed.chars() {
        if symbol == '-' {
            // A hyphen after any group of four digits.
            if after_hyphen || digits % 4 != 0 {
                return Err(invalid(text, "uuid"));
            }
            after_hyphen = true;
            continue;
        }
        let digit = symbol.to_digit(16).filter(|_| digits < 32);
        let digit = digit.ok_or_else(|| invalid(text, "uuid"))? as u8;
        bytes[digits / 2] = bytes[digits / 2] << 4 | digit;
        digits += 1;
        after_hyphen = false;
    }
    if digits == 32 && !after_hyphen { Ok(bytes) } else { Err(invalid(text, "uuid")) }
}

#[cfg(test)]
mod tests;
