//! Scalar functions computed value by value: a table of name, argument types, result type and code.

mod bytes;
mod construct;
mod date;
mod degrees;
mod extract;
mod json;
mod math;
mod regex;
mod text;

pub use self::bytes::BYTES_AS_TEXT;
use std::sync::{Arc, LazyLock};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryBuilder, BooleanBuilder, Date32Builder,
        FixedSizeBinaryBuilder, Float64Builder, Int32Builder, Int64Builder,
        IntervalMonthDayNanoBuilder, ListArray, ListBuilder, StringViewArray, StringViewBuilder,
        Time64MicrosecondBuilder, TimestampMicrosecondBuilder,
    },
    datatypes::{
        DataType, Date32Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
        IntervalMonthDayNano, IntervalMonthDayNanoType, Time64MicrosecondType,
        TimestampMicrosecondType, UInt32Type,
    },
};
use datafusion::logical_expr::{ScalarUDF, Volatility};
use hashbrown::HashMap;

use super::{
    given_up,
    memory::Memory,
    numeric::{Numeric, NumericColumn},
    scalar::{function, infallible, internal, strict_charged},
};
use crate::{
    error::SqlError,
    types::{PgType, TimeZone, jsonb::Jsonb, timetz::TimeWithZone},
};

/// Types of the table, without modifiers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Type {
    Bool,
    Int4,
    Int8,
    Float8,
    Numeric,
    Text,
    Bytea,
    Date,
    Time,
    Timetz,
    Timestamp,
    Timestamptz,
    Interval,
    /// `text[]`.
    Texts,
    Json,
    Jsonb,
    /// `json[]`, as a result only.
    Jsons,
    /// `jsonb[]`, as a result only.
    Jsonbs,
}

impl Type {
    #[must_use]
    pub fn pg_type(self) -> PgType {
        match self {
            Self::Bool => PgType::Bool,
            Self::Int4 => PgType::Int4,
            Self::Int8 => PgType::Int8,
            Self::Float8 => PgType::Float8,
            Self::Numeric => PgType::Numeric(None),
            Self::Text => PgType::Text,
            Self::Bytea => PgType::Bytea,
            Self::Date => PgType::Date,
            Self::Time => PgType::Time(None),
            Self::Timetz => PgType::Timetz(None),
            Self::Timestamp => PgType::Timestamp(None),
            Self::Timestamptz => PgType::Timestamptz(None),
            Self::Interval => PgType::Interval(None),
            Self::Texts => PgType::Array(Arc::new(PgType::Text)),
            Self::Json => PgType::Json,
            Self::Jsonb => PgType::Jsonb,
            Self::Jsons => PgType::Array(Arc::new(PgType::Json)),
            Self::Jsonbs => PgType::Array(Arc::new(PgType::Jsonb)),
        }
    }
}

/// A value of one row.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    Bool(bool),
    Int(i64),
    Float(f64),
    Numeric(Numeric),
    Text(&'a str),
    Bytes(&'a [u8]),
    /// Days.
    Date(i32),
    /// Microseconds of the day.
    Time(i64),
    Timetz(TimeWithZone),
    /// Microseconds; local time for `timestamp`.
    Timestamp(i64),
    Interval(IntervalMonthDayNano),
    Texts(Vec<Option<&'a str>>),
}

impl<'a> Value<'a> {
    pub fn jsonb(&self) -> Jsonb<'a> {
        match self {
            Self::Bytes(bytes) => Jsonb::new(bytes),
            _ => Jsonb::new(&[]),
        }
    }

    pub fn texts(&self) -> &[Option<&'a str>] {
        match self {
            Self::Texts(texts) => texts,
            _ => &[],
        }
    }

    pub fn boolean(&self) -> bool {
        matches!(self, Self::Bool(true))
    }

    pub fn text(&self) -> &'a str {
        match self {
            Self::Text(text) => text,
            _ => "",
        }
    }

    pub fn int(&self) -> i64 {
        match self {
            Self::Int(value) => *value,
            _ => 0,
        }
    }

    pub fn float(&self) -> f64 {
        match self {
            Self::Float(value) => *value,
            _ => 0.0,
        }
    }
}

/// The result of one row.
#[derive(Clone, Debug)]
pub enum Out {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Numeric(Numeric),
    Text(String),
    Bytes(Vec<u8>),
    Date(i32),
    Time(i64),
    Timetz(TimeWithZone),
    Timestamp(i64),
    Interval(IntervalMonthDayNano),
    Texts(Vec<Option<String>>),
    Blobs(Vec<Vec<u8>>),
}

/// Functions that have a result for every argument.
const NEVER_FAIL: [&str; 20] = [
    "ascii",
    "bit_length",
    "btrim",
    "ceil",
    "char_length",
    "character_length",
    "floor",
    "initcap",
    "left",
    "length",
    "lower",
    "ltrim",
    "octet_length",
    "position",
    "reverse",
    "right",
    "rtrim",
    "starts_with",
    "strpos",
    "upper",
];

/// What a function may know beside its arguments.
#[derive(Clone, Copy, Debug)]
pub struct Session<'a> {
    pub time_zone: TimeZone,
    pub memory: Memory<'a>,
}

type Code = fn(&[Value<'_>], &Session<'_>) -> Result<Out, SqlError>;

/// One function: strict, and immutable given the session's time zone.
pub struct Builtin {
    pub name: &'static str,
    pub arguments: &'static [Type],
    pub returns: Type,
    code: Code,
}

const fn builtin(
    name: &'static str,
    arguments: &'static [Type],
    returns: Type,
    code: Code,
) -> Builtin {
    Builtin { name, arguments, returns, code }
}

static TABLE: LazyLock<HashMap<&'static str, Vec<&'static Builtin>>> = LazyLock::new(|| {
    let mut table: HashMap<&'static str, Vec<&'static Builtin>> = HashMap::new();
    for function in text::TABLE
        .iter()
        .chain(bytes::TABLE)
        .chain(math::TABLE)
        .chain(degrees::TABLE)
        .chain(date::TABLE)
        .chain(extract::TABLE)
        .chain(construct::TABLE)
        .chain(regex::TABLE)
        .chain(json::TABLE)
    {
        table.entry(function.name).or_default().push(function);
    }
    table
});

/// The functions of a name.
#[must_use]
pub fn lookup(name: &str) -> &'static [&'static Builtin] {
    TABLE.get(name).map_or(&[], Vec::as_slice)
}

impl Builtin {
    /// The function for DataFusion; arguments come in the table's types, numerics in any form.
    #[must_use]
    pub fn udf(&self, time_zone: TimeZone) -> Arc<ScalarUDF> {
        let returns = self.returns.pg_type().arrow_type();
        let (arguments, result, code) = (self.arguments, self.returns, self.code);
        let data_type = returns.clone();
        let compute = strict_charged(returns.clone(), move |args, memory| {
            let session = Session { time_zone, memory };
            evaluate(args, arguments, result, &data_type, code, &session)
        });
        let variant = format!("{arguments:?} {time_zone:?}");
        if NEVER_FAIL.contains(&self.name) {
            return infallible(self.name, variant, returns, compute);
        }
        function(self.name, variant, returns, Volatility::Immutable, compute)
    }
}

fn evaluate(
    args: &[ArrayRef],
    types: &[Type],
    returns: Type,
    data_type: &DataType,
    code: Code,
    session: &Session<'_>,
) -> Result<ArrayRef, SqlError> {
    let rows = args.first().map_or(1, |a| a.len());
    let readers = args
        .iter()
        .zip(types)
        .map(|(array, ty)| Reader::new(array, *ty))
        .collect::<Result<Vec<_>, _>>()?;
    let mut out = Writer::new(returns, rows);
    let mut values = Vec::with_capacity(args.len());
    let mut charge = session.memory.charge();
    for row in 0..rows {
        if args.iter().any(|a| a.is_null(row)) {
            out.push(Out::Null)?;
            continue;
        }
        given_up::check()?;
        values.clear();
        for reader in &readers {
            values.push(reader.value(row)?);
        }
        let value = code(&values, session)?;
        match &value {
            Out::Text(text) => charge.add(text.len())?,
            Out::Bytes(bytes) => charge.add(bytes.len())?,
            Out::Texts(items) => charge.add(list_bytes(items))?,
            Out::Blobs(items) => charge.add(items.iter().map(|item| item.len() + 4).sum())?,
            _ => {}
        }
        out.push(value)?;
    }
    charge.attach(out.finish(data_type))
}

/// What a list of texts takes in a column.
fn list_bytes(items: &[Option<String>]) -> usize {
    /// Of the view of one text.
    const VIEW_BYTES: usize = 16;
    items.iter().map(|item| VIEW_BYTES + item.as_ref().map_or(0, String::len)).sum()
}

enum Reader<'a> {
    Bool(&'a arrow::array::BooleanArray),
    Int16(&'a arrow::array::Int16Array),
    Int32(&'a arrow::array::Int32Array),
    Int64(&'a arrow::array::Int64Array),
    UInt32(&'a arrow::array::UInt32Array),
    Float32(&'a arrow::array::Float32Array),
    Float64(&'a arrow::array::Float64Array),
    Numeric(NumericColumn<'a>),
    Text(&'a arrow::array::StringViewArray),
    Bytes(&'a arrow::array::BinaryArray),
    Date(&'a arrow::array::Date32Array),
    Time(&'a arrow::array::Time64MicrosecondArray),
    Timetz(&'a arrow::array::FixedSizeBinaryArray),
    Timestamp(&'a arrow::array::TimestampMicrosecondArray),
    Interval(&'a arrow::array::IntervalMonthDayNanoArray),
    Texts(&'a ListArray, &'a StringViewArray),
}

impl<'a> Reader<'a> {
    fn new(array: &'a ArrayRef, ty: Type) -> Result<Self, SqlError> {
        if ty == Type::Numeric {
            return NumericColumn::new(array).map(Self::Numeric);
        }
        Ok(match array.data_type() {
            DataType::Boolean => Self::Bool(array.as_boolean()),
            DataType::Int16 => Self::Int16(array.as_primitive::<Int16Type>()),
            DataType::Int32 => Self::Int32(array.as_primitive::<Int32Type>()),
            DataType::Int64 => Self::Int64(array.as_primitive::<Int64Type>()),
            DataType::UInt32 => Self::UInt32(array.as_primitive::<UInt32Type>()),
            DataType::Float32 => Self::Float32(array.as_primitive::<Float32Type>()),
            DataType::Float64 => Self::Float64(array.as_primitive::<Float64Type>()),
            DataType::Utf8View => Self::Text(array.as_string_view()),
            DataType::Binary => Self::Bytes(array.as_binary::<i32>()),
            DataType::Date32 => Self::Date(array.as_primitive::<Date32Type>()),
            DataType::Time64(_) => Self::Time(array.as_primitive::<Time64MicrosecondType>()),
            DataType::FixedSizeBinary(16) if ty == Type::Timetz => {
                Self::Timetz(array.as_fixed_size_binary())
            }
            DataType::Timestamp(..) => {
                Self::Timestamp(array.as_primitive::<TimestampMicrosecondType>())
            }
            DataType::Interval(_) => {
                Self::Interval(array.as_primitive::<IntervalMonthDayNanoType>())
            }
            DataType::List(item) if *item.data_type() == DataType::Utf8View => {
                let list = array.as_list::<i32>();
                Self::Texts(list, list.values().as_string_view())
            }
            other => return Err(internal(format!("an argument of type {other}"))),
        })
    }

    fn value(&self, row: usize) -> Result<Value<'a>, SqlError> {
        Ok(match self {
            Self::Bool(a) => Value::Bool(a.value(row)),
            Self::Int16(a) => Value::Int(i64::from(a.value(row))),
            Self::Int32(a) => Value::Int(i64::from(a.value(row))),
            Self::Int64(a) => Value::Int(a.value(row)),
            Self::UInt32(a) => Value::Int(i64::from(a.value(row))),
            Self::Float32(a) => Value::Float(f64::from(a.value(row))),
            Self::Float64(a) => Value::Float(a.value(row)),
            Self::Numeric(a) => Value::Numeric(a.value(row)?),
            Self::Text(a) => Value::Text(a.value(row)),
            Self::Bytes(a) => Value::Bytes(a.value(row)),
            Self::Date(a) => Value::Date(a.value(row)),
            Self::Time(a) => Value::Time(a.value(row)),
            Self::Timetz(a) => Value::Timetz(TimeWithZone::from_bytes(a.value(row))),
            Self::Timestamp(a) => Value::Timestamp(a.value(row)),
            Self::Interval(a) => Value::Interval(a.value(row)),
            Self::Texts(list, texts) => {
                let offsets = list.value_offsets();
                let range = offsets[row] as usize..offsets[row + 1] as usize;
                let text = |n: usize| texts.is_valid(n).then(|| texts.value(n));
                Value::Texts(range.map(text).collect())
            }
        })
    }
}

enum Writer {
    Bool(BooleanBuilder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float64(Float64Builder),
    /// Texts, and numerics as canonical text.
    Text(StringViewBuilder),
    Bytes(BinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timetz(FixedSizeBinaryBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Interval(IntervalMonthDayNanoBuilder),
    Texts(Box<ListBuilder<StringViewBuilder>>),
    Blobs(Box<ListBuilder<BinaryBuilder>>),
}

impl Writer {
    fn new(ty: Type, rows: usize) -> Self {
        match ty {
            Type::Bool => Self::Bool(BooleanBuilder::with_capacity(rows)),
            Type::Int4 => Self::Int32(Int32Builder::with_capacity(rows)),
            Type::Int8 => Self::Int64(Int64Builder::with_capacity(rows)),
            Type::Float8 => Self::Float64(Float64Builder::with_capacity(rows)),
            Type::Numeric | Type::Text | Type::Json => {
                Self::Text(StringViewBuilder::with_capacity(rows))
            }
            Type::Bytea | Type::Jsonb => Self::Bytes(BinaryBuilder::new()),
            Type::Date => Self::Date(Date32Builder::with_capacity(rows)),
            Type::Time => Self::Time(Time64MicrosecondBuilder::with_capacity(rows)),
            Type::Timetz => Self::Timetz(FixedSizeBinaryBuilder::with_capacity(rows, 16)),
            Type::Timestamp | Type::Timestamptz => {
                Self::Timestamp(TimestampMicrosecondBuilder::with_capacity(rows))
            }
            Type::Interval => Self::Interval(IntervalMonthDayNanoBuilder::with_capacity(rows)),
            Type::Texts | Type::Jsons => {
                Self::Texts(Box::new(ListBuilder::new(StringViewBuilder::new())))
            }
            Type::Jsonbs => Self::Blobs(Box::new(ListBuilder::new(BinaryBuilder::new()))),
        }
    }

    fn push(&mut self, value: Out) -> Result<(), SqlError> {
        match (self, value) {
            (Self::Bool(b), Out::Bool(v)) => b.append_value(v),
            (Self::Bool(b), Out::Null) => b.append_null(),
            (Self::Int32(b), Out::Int(v)) => b.append_value(i32::try_from(v).map_err(|_| {
                SqlError::new(
                    crate::error::sqlstate::NUMERIC_VALUE_OUT_OF_RANGE,
                    "integer out of range",
                )
            })?),
            (Self::Int32(b), Out::Null) => b.append_null(),
            (Self::Int64(b), Out::Int(v)) => b.append_value(v),
            (Self::Int64(b), Out::Null) => b.append_null(),
            (Self::Float64(b), Out::Float(v)) => b.append_value(v),
            (Self::Float64(b), Out::Null) => b.append_null(),
            (Self::Text(b), Out::Text(v)) => b.append_value(v),
            (Self::Text(b), Out::Numeric(v)) => b.append_value(v.to_string()),
            (Self::Text(b), Out::Null) => b.append_null(),
            (Self::Bytes(b), Out::Bytes(v)) => b.append_value(v),
            (Self::Bytes(b), Out::Null) => b.append_null(),
            (Self::Date(b), Out::Date(v)) => b.append_value(v),
            (Self::Date(b), Out::Null) => b.append_null(),
            (Self::Time(b), Out::Time(v)) => b.append_value(v),
            (Self::Time(b), Out::Null) => b.append_null(),
            (Self::Timetz(b), Out::Timetz(v)) => {
                b.append_value(v.to_bytes()).map_err(internal)?;
            }
            (Self::Timetz(b), Out::Null) => b.append_null(),
            (Self::Timestamp(b), Out::Timestamp(v)) => b.append_value(v),
            (Self::Timestamp(b), Out::Null) => b.append_null(),
            (Self::Interval(b), Out::Interval(v)) => b.append_value(v),
            (Self::Interval(b), Out::Null) => b.append_null(),
            (Self::Texts(b), Out::Texts(items)) => {
                items.iter().for_each(|item| b.values().append_option(item.as_deref()));
                b.append(true);
            }
            (Self::Texts(b), Out::Null) => b.append_null(),
            (Self::Blobs(b), Out::Blobs(items)) => {
                items.iter().for_each(|item| b.values().append_value(item));
                b.append(true);
            }
            (Self::Blobs(b), Out::Null) => b.append_null(),
            (_, other) => return Err(internal(format!("a result {other:?}"))),
        }
        Ok(())
    }

    fn finish(self, data_type: &DataType) -> ArrayRef {
        match self {
            Self::Bool(mut b) => Arc::new(b.finish()),
            Self::Int32(mut b) => Arc::new(b.finish()),
            Self::Int64(mut b) => Arc::new(b.finish()),
            Self::Float64(mut b) => Arc::new(b.finish()),
            Self::Text(mut b) => Arc::new(b.finish()),
            Self::Bytes(mut b) => Arc::new(b.finish()),
            Self::Date(mut b) => Arc::new(b.finish()),
            Self::Time(mut b) => Arc::new(b.finish()),
            Self::Timetz(mut b) => Arc::new(b.finish()),
            Self::Timestamp(mut b) => Arc::new(b.finish().with_data_type(data_type.clone())),
            Self::Interval(mut b) => Arc::new(b.finish()),
            Self::Texts(mut b) => Arc::new(b.finish()),
            Self::Blobs(mut b) => Arc::new(b.finish()),
        }
    }
}
