//! How columns of a table lie in a Parquet file.
//!
//! Three forms of a column: the *table's* (what [`PgType::arrow_type`] says), the *file's* (what
//! Parquet can say and other readers understand), and the *narrow* one, in which columns are kept
//! decoded: the table's, but numerics of up to 18 digits are 64-bit decimals.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryBuilder, Decimal128Array, Int32Array, Int64Array,
        IntervalMonthDayNanoArray, ListArray, StringViewBuilder, StructArray, UInt32Array,
    },
    buffer::OffsetBuffer,
    datatypes::{
        DataType, Decimal64Type, Field, Fields, Int32Type, Int64Type, IntervalMonthDayNano,
        IntervalMonthDayNanoType, TimeUnit, UInt32Type,
    },
};
use parquet::{
    basic::{LogicalType, Repetition, TimeUnit as ParquetTimeUnit, Type as Physical},
    errors::ParquetError,
    schema::types::{Type, TypePtr},
};

use crate::{
    storage::StorageError,
    types::{
        NumericShape, PgType,
        jsonb::{self, Jsonb},
        record::arrow_field_name,
    },
};

/// Numerics of at most so many digits fit 64 bits.
const NARROW_DIGITS_MAX: u8 = 18;
/// Field ids of what lies within columns begin here.
const NESTED_ID_FIRST: i32 = 1 << 30;
/// Field ids there are for the inside of one column.
const NESTED_IDS: u32 = 1024;
/// Ids of columns whose inside has field ids are below.
const NESTED_COLUMN_ID_END: u32 = (1 << 20) - 1;

/// Gives field ids to the inside of one column, in preorder.
struct NestedIds {
    column: u32,
    given: u32,
}

impl NestedIds {
    /// `None`: more fields than there are ids for.
    fn next(&mut self) -> Option<i32> {
        self.given += 1;
        let known = self.column < NESTED_COLUMN_ID_END && self.given < NESTED_IDS;
        known.then(|| NESTED_ID_FIRST + (self.column * NESTED_IDS + self.given) as i32)
    }
}

/// The Parquet type of a column. `id`: the column's, which is its field id.
pub(super) fn parquet_type(name: &str, id: u32, of: &PgType) -> Result<TypePtr, ParquetError> {
    let field_id = i32::try_from(id)
        .ok()
        .filter(|id| *id < NESTED_ID_FIRST)
        .ok_or_else(|| ParquetError::General(format!("column id {id} exceeds 2^30")))?;
    node(name, of, Some(field_id), &mut NestedIds { column: id, given: 0 })
}

fn node(
    name: &str,
    of: &PgType,
    id: Option<i32>,
    ids: &mut NestedIds,
) -> Result<TypePtr, ParquetError> {
    let leaf = |physical, logical| leaf(name, physical, logical, id);
    let text = Some(LogicalType::String);
    let micros = ParquetTimeUnit::MICROS;
    match of {
        PgType::Interval(_) => {
            let mut part = |name, physical| self::leaf(name, physical, None, ids.next());
            let fields = vec![
                part("months", Physical::INT32)?,
                part("days", Physical::INT32)?,
                part("nanoseconds", Physical::INT64)?,
            ];
            group(name, fields, None, Repetition::OPTIONAL, id)
        }
        PgType::Jsonb => leaf(Physical::BYTE_ARRAY, text),
        PgType::Uuid => fixed(name, 16, Some(LogicalType::Uuid), None, id),
        PgType::Timetz(_) => fixed(name, 16, None, None, id),
        PgType::Numeric(Some(shape)) if shape.decimal().is_some() => decimal(name, *shape, id),
        PgType::Array(of) => {
            let element_id = ids.next();
            let element = node("element", of, element_id, ids)?;
            let list = group("list", vec![element], None, Repetition::REPEATED, None)?;
            group(name, vec![list], Some(LogicalType::List), Repetition::OPTIONAL, id)
        }
        PgType::Record(record) => {
            let mut fields = Vec::with_capacity(record.fields.len());
            for (n, field) in record.fields.iter().enumerate() {
                let field_id = ids.next();
                fields.push(node(&arrow_field_name(n), &field.ty, field_id, ids)?);
            }
            group(name, fields, None, Repetition::OPTIONAL, id)
        }
        _ => match of.arrow_type() {
            DataType::Boolean => leaf(Physical::BOOLEAN, None),
            DataType::Int16 => leaf(Physical::INT32, Some(LogicalType::integer(16, true))),
            DataType::Int32 => leaf(Physical::INT32, None),
            DataType::Int64 | DataType::UInt32 => leaf(Physical::INT64, None),
            DataType::Float32 => leaf(Physical::FLOAT, None),
            DataType::Float64 => leaf(Physical::DOUBLE, None),
            DataType::Utf8View => leaf(Physical::BYTE_ARRAY, text),
            DataType::Binary => leaf(Physical::BYTE_ARRAY, None),
            DataType::Date32 => leaf(Physical::INT32, Some(LogicalType::Date)),
            DataType::Time64(_) => leaf(Physical::INT64, Some(LogicalType::time(false, micros))),
            DataType::Timestamp(_, zone) => {
                let moment = LogicalType::timestamp(zone.is_some(), micros);
                leaf(Physical::INT64, Some(moment))
            }
            other => Err(ParquetError::NYI(format!("columns of Arrow type {other}"))),
        },
    }
}

fn leaf(
    name: &str,
    physical: Physical,
    logical: Option<LogicalType>,
    id: Option<i32>,
) -> Result<TypePtr, ParquetError> {
    Type::primitive_type_builder(name, physical)
        .with_repetition(Repetition::OPTIONAL)
        .with_logical_type(logical)
        .with_id(id)
        .build()
        .map(Arc::new)
}

fn fixed(
    name: &str,
    bytes: i32,
    logical: Option<LogicalType>,
    decimal: Option<(i32, i32)>,
    id: Option<i32>,
) -> Result<TypePtr, ParquetError> {
    let (precision, scale) = decimal.unwrap_or((-1, -1));
    Type::primitive_type_builder(name, Physical::FIXED_LEN_BYTE_ARRAY)
        .with_repetition(Repetition::OPTIONAL)
        .with_logical_type(logical)
        .with_length(bytes)
        .with_precision(precision)
        .with_scale(scale)
        .with_id(id)
        .build()
        .map(Arc::new)
}

fn decimal(name: &str, shape: NumericShape, id: Option<i32>) -> Result<TypePtr, ParquetError> {
    let (precision, scale) = shape.decimal().expect("the caller looked");
    let (digits, scale) = (i32::from(precision), i32::from(scale));
    let logical = Some(LogicalType::decimal(scale, digits));
    let physical = match precision {
        0..=9 => Physical::INT32,
        10..=NARROW_DIGITS_MAX => Physical::INT64,
        _ => {
            // As many bytes as the largest value needs with its sign.
            let bits = (10_f64.powi(digits) + 1.0).log2() + 1.0;
            let bytes = (bits / 8.0).ceil() as i32;
            return fixed(name, bytes, logical, Some((digits, scale)), id);
        }
    };
    Type::primitive_type_builder(name, physical)
        .with_repetition(Repetition::OPTIONAL)
        .with_logical_type(logical)
        .with_precision(digits)
        .with_scale(scale)
        .with_id(id)
        .build()
        .map(Arc::new)
}

fn group(
    name: &str,
    fields: Vec<TypePtr>,
    logical: Option<LogicalType>,
    repetition: Repetition,
    id: Option<i32>,
) -> Result<TypePtr, ParquetError> {
    Type::group_type_builder(name)
        .with_repetition(repetition)
        .with_logical_type(logical)
        .with_fields(fields)
        .with_id(id)
        .build()
        .map(Arc::new)
}

/// The Arrow type that a column is given to Parquet in.
pub(super) fn written_type(of: &PgType) -> DataType {
    match of {
        PgType::Interval(_) => DataType::Struct(interval_fields()),
        PgType::Jsonb => DataType::Utf8View,
        PgType::Array(of) => DataType::List(Arc::new(element_field(of))),
        PgType::Record(record) => {
            let fields = record.fields.iter().enumerate();
            let fields = fields
                .map(|(n, field)| Field::new(arrow_field_name(n), written_type(&field.ty), true));
            DataType::Struct(fields.collect())
        }
        _ => match of.arrow_type() {
            DataType::UInt32 => DataType::Int64,
            DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => {
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
            }
            other => other,
        },
    }
}

/// The Arrow type that a column is read from Parquet in.
pub(super) fn read_type(of: &PgType) -> DataType {
    narrow_decimal(of)
        .map_or_else(|| written_type(of), |(digits, scale)| DataType::Decimal64(digits, scale))
}

/// The Arrow type of a column in its narrow form.
pub(super) fn narrow_type(of: &PgType) -> DataType {
    narrow_decimal(of)
        .map_or_else(|| of.arrow_type(), |(digits, scale)| DataType::Decimal64(digits, scale))
}

fn narrow_decimal(of: &PgType) -> Option<(u8, i8)> {
    let PgType::Numeric(Some(shape)) = of else { return None };
    shape.decimal().filter(|(digits, _)| *digits <= NARROW_DIGITS_MAX)
}

fn element_field(of: &PgType) -> Field {
    Field::new("element", written_type(of), true)
}

fn interval_fields() -> Fields {
    Fields::from(vec![
        Field::new("months", DataType::Int32, true),
        Field::new("days", DataType::Int32, true),
        Field::new("nanoseconds", DataType::Int64, true),
    ])
}

/// Has the file the very arrays of the table?
fn lies_alike(of: &PgType) -> bool {
    match of {
        PgType::Interval(_) | PgType::Jsonb | PgType::Array(_) | PgType::Record(_) => false,
        _ => of.arrow_type() != DataType::UInt32,
    }
}

/// A column of the table as the file has it. Errors: an array of another Arrow type, jsonb that is
/// none.
pub(super) fn to_file(of: &PgType, array: &ArrayRef) -> Result<ArrayRef, StorageError> {
    let expected = of.arrow_type();
    if *array.data_type() != expected {
        return Err(StorageError::Invalid(format!(
            "a column of type {} has Arrow type {expected}, not {}",
            of.sql_name(),
            array.data_type()
        )));
    }
    if lies_alike(of) {
        return Ok(Arc::clone(array));
    }
    Ok(match of {
        PgType::Interval(_) => {
            let intervals = array.as_primitive::<IntervalMonthDayNanoType>();
            let values = intervals.values();
            let months = Int32Array::from_iter_values(values.iter().map(|v| v.months));
            let days = Int32Array::from_iter_values(values.iter().map(|v| v.days));
            let nanoseconds = Int64Array::from_iter_values(values.iter().map(|v| v.nanoseconds));
            let parts: Vec<ArrayRef> =
                vec![Arc::new(months), Arc::new(days), Arc::new(nanoseconds)];
            Arc::new(StructArray::new(interval_fields(), parts, array.nulls().cloned()))
        }
        PgType::Jsonb => {
            let values = array.as_binary::<i32>();
            let mut texts = StringViewBuilder::with_capacity(values.len());
            let mut text = Vec::new();
            for value in values {
                let Some(value) = value else {
                    texts.append_null();
                    continue;
                };
                text.clear();
                jsonb::write(Jsonb::new(value), &mut text);
                let text = std::str::from_utf8(&text)
                    .map_err(|e| StorageError::corrupt("jsonb", e.to_string()))?;
                texts.append_value(text);
            }
            Arc::new(texts.finish())
        }
        PgType::Array(item) => {
            let list = array.as_list::<i32>();
            let (items, offsets) = used_items(list);
            let items = to_file(item, &items)?;
            let field = Arc::new(element_field(item));
            Arc::new(ListArray::new(field, offsets, items, list.nulls().cloned()))
        }
        PgType::Record(record) => {
            let DataType::Struct(fields) = written_type(of) else {
                unreachable!("records are structs")
            };
            let rows = array.as_struct();
            let columns = record.fields.iter().zip(rows.columns());
            let columns = columns.map(|(field, column)| to_file(&field.ty, column));
            let columns = columns.collect::<Result<_, _>>()?;
            Arc::new(StructArray::new(fields, columns, rows.nulls().cloned()))
        }
        _ => {
            let wide = array.as_primitive::<UInt32Type>().unary::<_, Int64Type>(i64::from);
            Arc::new(wide)
        }
    })
}

/// A column of the file in its narrow form. Errors: values that the table's type does not have.
pub(super) fn from_file(of: &PgType, array: &ArrayRef) -> Result<ArrayRef, StorageError> {
    if lies_alike(of) {
        return Ok(Arc::clone(array));
    }
    Ok(match of {
        PgType::Interval(_) => {
            let parts = array.as_struct();
            let months = parts.column(0).as_primitive::<Int32Type>();
            let days = parts.column(1).as_primitive::<Int32Type>();
            let nanoseconds = parts.column(2).as_primitive::<Int64Type>();
            let values = (0..parts.len()).map(|row| IntervalMonthDayNano {
                months: months.value(row),
                days: days.value(row),
                nanoseconds: nanoseconds.value(row),
            });
            let values = IntervalMonthDayNanoArray::from_iter_values(values);
            let (_, values, _) = values.into_parts();
            Arc::new(IntervalMonthDayNanoArray::new(values, parts.nulls().cloned()))
        }
        PgType::Jsonb => {
            let texts = array.as_string_view();
            let mut values = BinaryBuilder::with_capacity(texts.len(), texts.len() * 32);
            for text in texts {
                let Some(text) = text else {
                    values.append_null();
                    continue;
                };
                let value = jsonb::from_json(text)
                    .map_err(|e| StorageError::corrupt("jsonb", e.message.clone()))?;
                values.append_value(value);
            }
            Arc::new(values.finish())
        }
        PgType::Array(item) => {
            let list = array.as_list::<i32>();
            let (items, offsets) = used_items(list);
            let items = from_file(item, &items)?;
            let DataType::List(field) = of.arrow_type() else { unreachable!("arrays are lists") };
            Arc::new(ListArray::new(field, offsets, items, list.nulls().cloned()))
        }
        PgType::Record(record) => {
            let DataType::Struct(fields) = of.arrow_type() else {
                unreachable!("records are structs")
            };
            let rows = array.as_struct();
            let columns = record.fields.iter().zip(rows.columns());
            let columns = columns.map(|(field, column)| from_file(&field.ty, column));
            let columns = columns.collect::<Result<_, _>>()?;
            Arc::new(StructArray::new(fields, columns, rows.nulls().cloned()))
        }
        _ => {
            let wide = array.as_primitive::<Int64Type>();
            let narrowed = wide.iter().map(|value| value.map(u32::try_from).transpose());
            let narrowed = narrowed.collect::<Result<UInt32Array, _>>();
            Arc::new(narrowed.map_err(|e| StorageError::corrupt("oid", e.to_string()))?)
        }
    })
}

/// A column in its narrow form as the table has it.
#[must_use]
pub fn widened(of: &PgType, array: &ArrayRef) -> ArrayRef {
    let Some((digits, scale)) = narrow_decimal(of) else { return Arc::clone(array) };
    if array.data_type() == &of.arrow_type() {
        return Arc::clone(array);
    }
    let narrow = array.as_primitive::<Decimal64Type>();
    let values: Vec<i128> = narrow.values().iter().map(|value| i128::from(*value)).collect();
    let wide = Decimal128Array::new(values.into(), narrow.nulls().cloned());
    Arc::new(wide.with_precision_and_scale(digits, scale).expect("they are the column's"))
}

/// The reverse: only where every value fits, as all do that a column may have.
pub(super) fn narrowed(of: &PgType, array: &ArrayRef) -> Result<ArrayRef, StorageError> {
    let DataType::Decimal64(digits, scale) = narrow_type(of) else { return Ok(Arc::clone(array)) };
    let wide = array.as_primitive::<arrow::datatypes::Decimal128Type>();
    let values = wide.iter().map(|value| value.map_or(Ok(0), i64::try_from));
    let values: Vec<i64> = values
        .collect::<Result<_, _>>()
        .map_err(|e| StorageError::corrupt("missing value", e.to_string()))?;
    let narrow = arrow::array::Decimal64Array::new(values.into(), wide.nulls().cloned());
    Ok(Arc::new(narrow.with_precision_and_scale(digits, scale).expect("they are the column's")))
}

/// The items that a list's rows have, and where these begin among them.
fn used_items(list: &ListArray) -> (ArrayRef, OffsetBuffer<i32>) {
    let offsets = list.value_offsets();
    let (first, end) = (offsets[0], offsets[list.len()]);
    let items = list.values().slice(first as usize, (end - first) as usize);
    let offsets = offsets.iter().map(|offset| offset - first).collect();
    (items, OffsetBuffer::new(offsets))
}

/// The Parquet type of a hidden column.
pub(super) fn hidden_type(name: &str, field_id: u32) -> Result<TypePtr, ParquetError> {
    leaf(name, Physical::INT64, None, i32::try_from(field_id).ok())
}

/// Leaves of a column in the file.
pub(super) fn leaf_count(of: &PgType) -> usize {
    match of {
        PgType::Interval(_) => 3,
        PgType::Array(item) => leaf_count(item),
        PgType::Record(record) => record.fields.iter().map(|field| leaf_count(&field.ty)).sum(),
        _ => 1,
    }
}

/// Is the order of encoded keys that of the values as Parquet compares them?
pub(super) fn sorts_as_parquet(of: &PgType) -> bool {
    match of {
        PgType::Float4 | PgType::Float8 | PgType::Interval(_) | PgType::Bpchar(None) => false,
        PgType::Numeric(shape) => shape.and_then(NumericShape::decimal).is_some(),
        _ => leaf_count(of) == 1,
    }
}
