//! Typed column builders: what the open block of a chunk is made of, and what rows are decoded into.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder, FixedSizeBinaryArray, ListArray,
        PrimitiveArray, StringViewArray, StructArray,
    },
    buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer},
    datatypes::{
        ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type,
        Float64Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNano,
        IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType, ToByteSlice,
        UInt32Type, i256,
    },
};

use super::column::{Items, Layout, RowFields, Value};
use crate::{storage::StorageError, types::PgType};

/// Longest text that lies within its view.
const INLINE_BYTES_MAX: usize = 12;

/// Rows of one column, growing at the end.
#[derive(Clone, Debug)]
pub struct ColumnBuilder {
    data_type: DataType,
    data: Data,
    len: usize,
    /// Set bits are values; absent while there is no null.
    valid: Option<ValidityBuilder>,
}

/// Values, one per row, null rows included.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    Bool(Vec<bool>),
    I16(Vec<i16>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    D128(Vec<i128>),
    D256(Vec<i256>),
    /// Arrow views; longer texts lie in `bytes`, which becomes buffer 0.
    Text {
        views: Vec<u128>,
        bytes: Vec<u8>,
    },
    Bytes {
        /// End of each value in `bytes`.
        ends: Vec<i32>,
        bytes: Vec<u8>,
    },
    Interval(Vec<IntervalMonthDayNano>),
    Uuid(Vec<[u8; 16]>),
    U32(Vec<u32>),
    List {
        /// End of each array in `items`.
        ends: Vec<i32>,
        items: Box<ColumnBuilder>,
    },
    /// Records: a column for each field.
    Row(Vec<ColumnBuilder>),
}

#[derive(Debug)]
struct ValidityBuilder(BooleanBufferBuilder);

impl Clone for ValidityBuilder {
    fn clone(&self) -> Self {
        let mut copy = BooleanBufferBuilder::new(self.0.len());
        copy.append_packed_range(0..self.0.len(), self.0.as_slice());
        Self(copy)
    }
}

impl ColumnBuilder {
    /// Error: columns of this type cannot be stored.
    pub fn new(pg_type: &PgType, rows: usize) -> Result<Self, StorageError> {
        let layout = Layout::of(pg_type).ok_or_else(|| {
            StorageError::Invalid(format!(
                "columns of type {} cannot be stored",
                pg_type.sql_name()
            ))
        })?;
        let data = match layout {
            Layout::Bool => Data::Bool(Vec::with_capacity(rows)),
            Layout::I16 => Data::I16(Vec::with_capacity(rows)),
            Layout::I32 => Data::I32(Vec::with_capacity(rows)),
            Layout::I64 => Data::I64(Vec::with_capacity(rows)),
            Layout::F32 => Data::F32(Vec::with_capacity(rows)),
            Layout::F64 => Data::F64(Vec::with_capacity(rows)),
            Layout::D128 => Data::D128(Vec::with_capacity(rows)),
            Layout::D256 => Data::D256(Vec::with_capacity(rows)),
            Layout::Text => Data::Text { views: Vec::with_capacity(rows), bytes: Vec::new() },
            Layout::Bytes => Data::Bytes { ends: Vec::with_capacity(rows), bytes: Vec::new() },
            Layout::Interval => Data::Interval(Vec::with_capacity(rows)),
            Layout::Uuid => Data::Uuid(Vec::with_capacity(rows)),
            Layout::U32 => Data::U32(Vec::with_capacity(rows)),
            Layout::List => {
                let PgType::Array(of) = pg_type else { unreachable!("only arrays lie as lists") };
                let items = Box::new(Self::new(of, rows)?);
                Data::List { ends: Vec::with_capacity(rows), items }
            }
            Layout::Row => {
                let PgType::Record(record) = pg_type else {
                    unreachable!("only records lie as rows")
                };
                let fields = record.fields.iter().map(|field| Self::new(&field.ty, rows));
                Data::Row(fields.collect::<Result<_, _>>()?)
            }
        };
        Ok(Self { data_type: pg_type.arrow_type(), data, len: 0, valid: None })
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Values, for a decoder that pushes one and then calls [`Self::pushed`].
    pub(crate) fn data_mut(&mut self) -> &mut Data {
        &mut self.data
    }

    /// One value was added to `data_mut()`.
    pub(crate) fn pushed(&mut self) {
        self.len += 1;
        if let Some(valid) = &mut self.valid {
            valid.0.append(true);
        }
    }

    pub fn push_null(&mut self) {
        match &mut self.data {
            Data::Bool(v) => v.push(false),
            Data::I16(v) => v.push(0),
            Data::I32(v) => v.push(0),
            Data::I64(v) => v.push(0),
            Data::F32(v) => v.push(0.0),
            Data::F64(v) => v.push(0.0),
            Data::D128(v) => v.push(0),
            Data::D256(v) => v.push(i256::ZERO),
            Data::Text { views, .. } => views.push(0),
            Data::Bytes { ends, bytes } => ends.push(bytes.len() as i32),
            Data::Interval(v) => v.push(IntervalMonthDayNano::ZERO),
            Data::Uuid(v) => v.push([0; 16]),
            Data::U32(v) => v.push(0),
            Data::List { ends, items } => ends.push(items.len as i32),
            Data::Row(fields) => fields.iter_mut().for_each(Self::push_null),
        }
        let len = self.len;
        let valid = self.valid.get_or_insert_with(|| {
            let mut valid = BooleanBufferBuilder::new(len.max(1024));
            valid.append_n(len, true);
            ValidityBuilder(valid)
        });
        valid.0.append(false);
        self.len += 1;
    }

    /// Append one value; `None`: NULL.
    ///
    /// Panics if its layout is not the column's: both come from one schema.
    pub fn push(&mut self, value: Option<Value<'_>>) {
        let Some(value) = value else { return self.push_null() };
        match (&mut self.data, value) {
            (Data::Bool(v), Value::Bool(x)) => v.push(x),
            (Data::I16(v), Value::I16(x)) => v.push(x),
            (Data::I32(v), Value::I32(x)) => v.push(x),
            (Data::I64(v), Value::I64(x)) => v.push(x),
            (Data::F32(v), Value::F32(x)) => v.push(x),
            (Data::F64(v), Value::F64(x)) => v.push(x),
            (Data::D128(v), Value::D128(x)) => v.push(x),
            (Data::D256(v), Value::D256(x)) => v.push(x),
            (Data::Text { views, bytes }, Value::Text(x)) => push_text(x, views, bytes),
            (Data::Bytes { ends, bytes }, Value::Bytes(x)) => {
                bytes.extend_from_slice(x);
                ends.push(bytes.len() as i32);
            }
            (Data::Interval(v), Value::Interval(x)) => v.push(x),
            (Data::Uuid(v), Value::Uuid(x)) => {
                v.push(x.try_into().expect("uuid columns are 16 bytes wide"));
            }
            (Data::U32(v), Value::U32(x)) => v.push(x),
            (Data::List { ends, items }, Value::List(x)) => {
                (0..x.len()).for_each(|n| items.push(x.value(n)));
                ends.push(items.len as i32);
            }
            (Data::Row(fields), Value::Row(x)) => {
                fields.iter_mut().enumerate().for_each(|(n, field)| field.push(x.value(n)));
            }
            _ => unreachable!("columns of one schema have one layout"),
        }
        self.pushed();
    }

    /// The value of a row; `None`: NULL.
    #[must_use]
    pub fn value(&self, row: usize) -> Option<Value<'_>> {
        if self.is_null(row) {
            return None;
        }
        Some(match &self.data {
            Data::Bool(v) => Value::Bool(v[row]),
            Data::I16(v) => Value::I16(v[row]),
            Data::I32(v) => Value::I32(v[row]),
            Data::I64(v) => Value::I64(v[row]),
            Data::F32(v) => Value::F32(v[row]),
            Data::F64(v) => Value::F64(v[row]),
            Data::D128(v) => Value::D128(v[row]),
            Data::D256(v) => Value::D256(v[row]),
            Data::Text { views, bytes } => Value::Text(text_of(&views[row], bytes)),
            Data::Bytes { ends, bytes } => {
                let start = if row == 0 { 0 } else { ends[row - 1] as usize };
                Value::Bytes(&bytes[start..ends[row] as usize])
            }
            Data::Interval(v) => Value::Interval(v[row]),
            Data::Uuid(v) => Value::Uuid(&v[row]),
            Data::U32(v) => Value::U32(v[row]),
            Data::List { ends, items } => {
                let start = if row == 0 { 0 } else { ends[row - 1] as usize };
                Value::List(Items::of_builder(items, start..ends[row] as usize))
            }
            Data::Row(fields) => Value::Row(RowFields::of_builders(fields, row)),
        })
    }

    #[must_use]
    pub fn is_null(&self, row: usize) -> bool {
        self.valid.as_ref().is_some_and(|valid| !valid.0.get_bit(row))
    }

    /// Memory in use, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let data = match &self.data {
            Data::Bool(v) => v.capacity(),
            Data::I16(v) => v.capacity() * 2,
            Data::I32(v) => v.capacity() * 4,
            Data::I64(v) => v.capacity() * 8,
            Data::F32(v) => v.capacity() * 4,
            Data::F64(v) => v.capacity() * 8,
            Data::D128(v) => v.capacity() * 16,
            Data::D256(v) => v.capacity() * 32,
            Data::Text { views, bytes } => views.capacity() * 16 + bytes.capacity(),
            Data::Bytes { ends, bytes } => ends.capacity() * 4 + bytes.capacity(),
            Data::Interval(v) => v.capacity() * 16,
            Data::Uuid(v) => v.capacity() * 16,
            Data::U32(v) => v.capacity() * 4,
            Data::List { ends, items } => ends.capacity() * 4 + items.memory_bytes(),
            Data::Row(fields) => fields.iter().map(Self::memory_bytes).sum(),
        };
        data + self.valid.as_ref().map_or(0, |valid| valid.0.capacity() / 8)
    }

    /// The rows as an array.
    #[must_use]
    pub fn finish(self) -> ArrayRef {
        let nulls = self.valid.map(|mut valid| NullBuffer::new(valid.0.finish()));
        match self.data {
            Data::Bool(v) => Arc::new(BooleanArray::new(v.into(), nulls)),
            Data::I16(v) => primitive::<Int16Type>(v, nulls, self.data_type),
            Data::I32(v) if self.data_type == DataType::Date32 => {
                primitive::<Date32Type>(v, nulls, self.data_type)
            }
            Data::I32(v) => primitive::<Int32Type>(v, nulls, self.data_type),
            Data::I64(v) => match self.data_type {
                DataType::Timestamp(..) => {
                    primitive::<TimestampMicrosecondType>(v, nulls, self.data_type)
                }
                DataType::Time64(_) => primitive::<Time64MicrosecondType>(v, nulls, self.data_type),
                _ => primitive::<Int64Type>(v, nulls, self.data_type),
            },
            Data::F32(v) => primitive::<Float32Type>(v, nulls, self.data_type),
            Data::F64(v) => primitive::<Float64Type>(v, nulls, self.data_type),
            Data::D128(v) => primitive::<Decimal128Type>(v, nulls, self.data_type),
            Data::D256(v) => primitive::<Decimal256Type>(v, nulls, self.data_type),
            Data::Text { views, bytes } => {
                let buffers = if bytes.is_empty() { vec![] } else { vec![Buffer::from_vec(bytes)] };
                let array = StringViewArray::try_new(ScalarBuffer::from(views), buffers, nulls);
                Arc::new(array.expect("only text was pushed"))
            }
            Data::Bytes { ends, bytes } => {
                Arc::new(BinaryArray::new(offsets(&ends), Buffer::from_vec(bytes), nulls))
            }
            Data::Interval(v) => primitive::<IntervalMonthDayNanoType>(v, nulls, self.data_type),
            Data::Uuid(v) => {
                let bytes = Buffer::from_vec(v.into_flattened());
                Arc::new(FixedSizeBinaryArray::new(16, bytes, nulls))
            }
            Data::U32(v) => primitive::<UInt32Type>(v, nulls, self.data_type),
            Data::List { ends, items } => {
                let DataType::List(field) = self.data_type else {
                    unreachable!("only arrays lie as lists")
                };
                Arc::new(ListArray::new(field, offsets(&ends), items.finish(), nulls))
            }
            Data::Row(columns) => {
                let DataType::Struct(fields) = self.data_type else {
                    unreachable!("only records lie as rows")
                };
                let columns = columns.into_iter().map(Self::finish).collect();
                Arc::new(StructArray::new(fields, columns, nulls))
            }
        }
    }
}

fn offsets(ends: &[i32]) -> OffsetBuffer<i32> {
    let mut offsets = Vec::with_capacity(ends.len() + 1);
    offsets.push(0);
    offsets.extend_from_slice(ends);
    OffsetBuffer::new(ScalarBuffer::from(offsets))
}

/// An array with the exact data type (precision, time zone).
pub(crate) fn primitive<T: ArrowPrimitiveType>(
    values: Vec<T::Native>,
    nulls: Option<NullBuffer>,
    data_type: DataType,
) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::new(ScalarBuffer::from(values), nulls).with_data_type(data_type))
}

/// Append a text's view, and its bytes where they do not fit into it. `bytes` is buffer 0.
pub(crate) fn push_text(text: &[u8], views: &mut Vec<u128>, bytes: &mut Vec<u8>) {
    let offset = bytes.len() as u32;
    if text.len() > INLINE_BYTES_MAX {
        bytes.extend_from_slice(text);
    }
    views.push(arrow::array::make_view(text, 0, offset));
}

/// Bytes of a text, from its view or from the buffer.
fn text_of<'a>(view: &'a u128, buffer: &'a [u8]) -> &'a [u8] {
    let len = *view as u32 as usize;
    if len <= INLINE_BYTES_MAX {
        return &view.to_byte_slice()[4..4 + len];
    }
    let offset = (*view >> 96) as u32 as usize;
    &buffer[offset..offset + len]
}
