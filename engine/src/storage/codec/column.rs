//! Columns by the way their values lie in memory, resolved once per batch.

use arrow::{
    array::{
        Array, ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, ListArray,
        StringViewArray, StructArray, cast::AsArray,
    },
    buffer::NullBuffer,
    datatypes::{
        DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type,
        Int32Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
        Time64MicrosecondType, TimeUnit, TimestampMicrosecondType, UInt32Type, i256,
    },
};

use super::builder::ColumnBuilder;
use crate::{storage::StorageError, types::PgType};

/// How values of a type lie in memory. Several types share one: a date is an `I32`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layout {
    Bool,
    I16,
    I32,
    I64,
    F32,
    F64,
    D128,
    D256,
    Text,
    Bytes,
    Interval,
    Uuid,
    U32,
    /// An array of one dimension.
    List,
    /// A record.
    Row,
}

impl Layout {
    /// `None`: columns of this type cannot be stored.
    #[must_use]
    pub fn of(pg_type: &PgType) -> Option<Self> {
        Some(match pg_type.arrow_type() {
            DataType::Boolean => Self::Bool,
            DataType::Int16 => Self::I16,
            DataType::Int32 | DataType::Date32 => Self::I32,
            DataType::Int64
            | DataType::Time64(TimeUnit::Microsecond)
            | DataType::Timestamp(TimeUnit::Microsecond, _) => Self::I64,
            DataType::Float32 => Self::F32,
            DataType::Float64 => Self::F64,
            DataType::Decimal128(..) => Self::D128,
            DataType::Decimal256(..) => Self::D256,
            DataType::Utf8View => Self::Text,
            DataType::Binary => Self::Bytes,
            DataType::Interval(IntervalUnit::MonthDayNano) => Self::Interval,
            DataType::FixedSizeBinary(16) => Self::Uuid,
            DataType::UInt32 => Self::U32,
            DataType::Struct(_) => match pg_type {
                PgType::Record(record) if !record.fields.is_empty() => {
                    let storable = record.fields.iter().all(|field| Self::of(&field.ty).is_some());
                    storable.then_some(Self::Row)?
                }
                _ => return None,
            },
            DataType::List(_) => match pg_type {
                PgType::Array(of) if !matches!(**of, PgType::Array(_)) => {
                    Self::of(of).map(|_| Self::List)?
                }
                _ => return None,
            },
            _ => return None,
        })
    }

    /// Bytes of one value in memory; for text, bytea, arrays and records without what lies outside.
    #[must_use]
    pub fn width(self) -> usize {
        match self {
            Self::Bool | Self::Row => 1,
            Self::I16 => 2,
            Self::I32 | Self::F32 | Self::U32 | Self::Bytes | Self::List => 4,
            Self::I64 | Self::F64 => 8,
            Self::D128 | Self::Text | Self::Interval | Self::Uuid => 16,
            Self::D256 => 32,
        }
    }
}

/// A column of a batch, ready for access by row.
#[derive(Clone, Debug)]
pub struct ColumnRef<'a> {
    pub nulls: Option<&'a NullBuffer>,
    pub values: Values<'a>,
}

/// Values of a column. Slices have one element per row; those of null rows mean nothing.
#[derive(Clone, Debug)]
pub enum Values<'a> {
    Bool(&'a BooleanArray),
    I16(&'a [i16]),
    I32(&'a [i32]),
    I64(&'a [i64]),
    F32(&'a [f32]),
    F64(&'a [f64]),
    D128(&'a [i128]),
    D256(&'a [i256]),
    Text(&'a StringViewArray),
    Bytes(&'a BinaryArray),
    Interval(&'a [IntervalMonthDayNano]),
    Uuid(&'a FixedSizeBinaryArray),
    U32(&'a [u32]),
    List(ListColumn<'a>),
    Row(RowColumn<'a>),
}

/// A column of records.
#[derive(Clone, Debug)]
pub struct RowColumn<'a> {
    /// The fields' types.
    pub types: Vec<PgType>,
    pub rows: &'a StructArray,
    pub fields: Vec<ColumnRef<'a>>,
}

/// A column of arrays.
#[derive(Clone, Debug)]
pub struct ListColumn<'a> {
    /// The elements' type.
    pub of: PgType,
    pub list: &'a ListArray,
    /// Elements of all rows, in whole.
    pub items: Box<ColumnRef<'a>>,
}

impl<'a> ColumnRef<'a> {
    /// Error: `array` is not of the Arrow type of `pg_type`, or the type cannot be stored.
    pub fn new(pg_type: &PgType, array: &'a ArrayRef) -> Result<Self, StorageError> {
        let expected = pg_type.arrow_type();
        if *array.data_type() != expected {
            return Err(StorageError::Invalid(format!(
                "a column of type {} has Arrow type {expected}, not {}",
                pg_type.sql_name(),
                array.data_type()
            )));
        }
        let values = match array.data_type() {
            DataType::Boolean => Values::Bool(array.as_boolean()),
            DataType::Int16 => Values::I16(array.as_primitive::<Int16Type>().values()),
            DataType::Int32 => Values::I32(array.as_primitive::<Int32Type>().values()),
            DataType::Date32 => Values::I32(array.as_primitive::<Date32Type>().values()),
            DataType::Int64 => Values::I64(array.as_primitive::<Int64Type>().values()),
            DataType::Time64(_) => {
                Values::I64(array.as_primitive::<Time64MicrosecondType>().values())
            }
            DataType::Timestamp(..) => {
                Values::I64(array.as_primitive::<TimestampMicrosecondType>().values())
            }
            DataType::Float32 => Values::F32(array.as_primitive::<Float32Type>().values()),
            DataType::Float64 => Values::F64(array.as_primitive::<Float64Type>().values()),
            DataType::Decimal128(..) => {
                Values::D128(array.as_primitive::<Decimal128Type>().values())
            }
            DataType::Decimal256(..) => {
                Values::D256(array.as_primitive::<Decimal256Type>().values())
            }
            DataType::Utf8View => Values::Text(array.as_string_view()),
            DataType::Binary => Values::Bytes(array.as_binary::<i32>()),
            DataType::Interval(_) => {
                Values::Interval(array.as_primitive::<IntervalMonthDayNanoType>().values())
            }
            DataType::FixedSizeBinary(_) => Values::Uuid(array.as_fixed_size_binary()),
            DataType::UInt32 => Values::U32(array.as_primitive::<UInt32Type>().values()),
            DataType::List(_) => {
                let PgType::Array(of) = pg_type else { unreachable!("only arrays are lists") };
                let list = array.as_list::<i32>();
                let items = Box::new(Self::new(of, list.values())?);
                Values::List(ListColumn { of: of.as_ref().clone(), list, items })
            }
            DataType::Struct(_) => {
                let PgType::Record(record) = pg_type else {
                    unreachable!("only records are structs")
                };
                let rows = array.as_struct();
                let types: Vec<PgType> = record.fields.iter().map(|f| f.ty.clone()).collect();
                let columns = types.iter().zip(rows.columns());
                let fields = columns.map(|(ty, column)| Self::new(ty, column));
                let fields = fields.collect::<Result<_, _>>()?;
                Values::Row(RowColumn { types, rows, fields })
            }
            _ => {
                return Err(StorageError::Invalid(format!(
                    "columns of type {} cannot be stored",
                    pg_type.sql_name()
                )));
            }
        };
        Ok(Self { nulls: array.nulls().filter(|n| n.null_count() > 0), values })
    }

    #[must_use]
    pub fn is_null(&self, row: usize) -> bool {
        self.nulls.is_some_and(|nulls| nulls.is_null(row))
    }
}

/// One value, not NULL. Types that lie alike share a variant.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Value<'a> {
    Bool(bool),
    I16(i16),
    I32(i32),
    I64(i64),
    F32(f32),
    F64(f64),
    D128(i128),
    D256(i256),
    /// UTF-8.
    Text(&'a [u8]),
    Bytes(&'a [u8]),
    Interval(IntervalMonthDayNano),
    Uuid(&'a [u8]),
    U32(u32),
    List(Items<'a>),
    Row(RowFields<'a>),
}

/// The fields of a record.
#[derive(Clone, Copy, Debug)]
pub struct RowFields<'a> {
    of: RowOf<'a>,
    row: usize,
}

#[derive(Clone, Copy, Debug)]
enum RowOf<'a> {
    Columns(&'a [ColumnRef<'a>]),
    Builders(&'a [ColumnBuilder]),
}

impl<'a> RowFields<'a> {
    /// A row of columns that are still built.
    pub(super) fn of_builders(fields: &'a [ColumnBuilder], row: usize) -> Self {
        Self { of: RowOf::Builders(fields), row }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        match self.of {
            RowOf::Columns(columns) => columns.len(),
            RowOf::Builders(columns) => columns.len(),
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Field `n`, counted from 0; `None`: NULL.
    #[must_use]
    pub fn value(&self, n: usize) -> Option<Value<'a>> {
        match self.of {
            RowOf::Columns(columns) => columns[n].value(self.row),
            RowOf::Builders(columns) => columns[n].value(self.row),
        }
    }
}

impl PartialEq for RowFields<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && (0..self.len()).all(|n| self.value(n) == other.value(n))
    }
}

/// The elements of an array.
#[derive(Clone, Copy, Debug)]
pub struct Items<'a> {
    of: ItemsOf<'a>,
    first: usize,
    len: usize,
}

#[derive(Clone, Copy, Debug)]
enum ItemsOf<'a> {
    Column(&'a ColumnRef<'a>),
    Builder(&'a ColumnBuilder),
}

impl<'a> Items<'a> {
    /// Elements `range` of a column that is still built.
    pub(super) fn of_builder(items: &'a ColumnBuilder, range: std::ops::Range<usize>) -> Self {
        Self { of: ItemsOf::Builder(items), first: range.start, len: range.len() }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Element `n`, counted from 0; `None`: NULL.
    #[must_use]
    pub fn value(&self, n: usize) -> Option<Value<'a>> {
        match self.of {
            ItemsOf::Column(column) => column.value(self.first + n),
            ItemsOf::Builder(column) => column.value(self.first + n),
        }
    }
}

impl PartialEq for Items<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && (0..self.len).all(|n| self.value(n) == other.value(n))
    }
}

impl ColumnRef<'_> {
    /// The value of a row; `None`: NULL.
    #[must_use]
    pub fn value(&self, row: usize) -> Option<Value<'_>> {
        if self.is_null(row) {
            return None;
        }
        Some(match &self.values {
            Values::Bool(a) => Value::Bool(a.value(row)),
            Values::I16(v) => Value::I16(v[row]),
            Values::I32(v) => Value::I32(v[row]),
            Values::I64(v) => Value::I64(v[row]),
            Values::F32(v) => Value::F32(v[row]),
            Values::F64(v) => Value::F64(v[row]),
            Values::D128(v) => Value::D128(v[row]),
            Values::D256(v) => Value::D256(v[row]),
            Values::Text(a) => Value::Text(a.value(row).as_bytes()),
            Values::Bytes(a) => Value::Bytes(a.value(row)),
            Values::Interval(v) => Value::Interval(v[row]),
            Values::Uuid(a) => Value::Uuid(a.value(row)),
            Values::U32(v) => Value::U32(v[row]),
            Values::Row(v) => Value::Row(RowFields { of: RowOf::Columns(&v.fields), row }),
            Values::List(v) => {
                let offsets = v.list.value_offsets();
                let (first, end) = (offsets[row] as usize, offsets[row + 1] as usize);
                Value::List(Items { of: ItemsOf::Column(&v.items), first, len: end - first })
            }
        })
    }
}
