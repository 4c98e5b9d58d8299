//! Rows as the log carries them: a null bitmap and varints, tens of bytes for a small row. Which
//! columns there are says the schema version beside the rows. Format: `docs/formats/rows.md`.

use arrow::{
    array::ArrayRef,
    datatypes::{IntervalMonthDayNano, i256},
};
use bytes::Bytes;
use glaredb_txn::codec::{DecodeError, Reader, Writer};

use super::{
    ARRAY_LEN_MAX,
    builder::{ColumnBuilder, Data, push_text},
    column::{ColumnRef, Value},
    corrupt,
};
use crate::{
    storage::{StorageError, schema::ColumnSchema},
    types::PgType,
};

/// Encodes the rows of one batch.
#[derive(Debug)]
pub struct RowEncoder<'a> {
    columns: Vec<ColumnRef<'a>>,
}

impl<'a> RowEncoder<'a> {
    /// `arrays`: all columns of the table in its order. Error: they are not.
    pub fn new(schema: &[ColumnSchema], arrays: &'a [ArrayRef]) -> Result<Self, StorageError> {
        if schema.len() != arrays.len() {
            return Err(StorageError::Invalid(format!(
                "a row of {} columns, given {}",
                schema.len(),
                arrays.len()
            )));
        }
        let columns = schema
            .iter()
            .zip(arrays)
            .map(|(column, array)| ColumnRef::new(&column.pg_type, array))
            .collect::<Result<_, _>>()?;
        Ok(Self { columns })
    }

    /// Append row `row` to `out`.
    pub fn encode(&self, row: usize, out: &mut Writer) {
        encode_row(self.columns.len(), |column| self.columns[column].value(row), out);
    }
}

/// The value of `array`, of one row, as a row of one column.
pub fn encode_value(pg_type: &PgType, array: &ArrayRef) -> Result<Bytes, StorageError> {
    let column = ColumnRef::new(pg_type, array)?;
    let mut out = Writer::new();
    encode_row(1, |_| column.value(0), &mut out);
    Ok(out.into_bytes())
}

/// Append a row of `columns` columns, given its values; `None`: NULL.
pub(crate) fn encode_row<'v>(
    columns: usize,
    value: impl Fn(usize) -> Option<Value<'v>>,
    out: &mut Writer,
) {
    for first in (0..columns).step_by(8) {
        let mut nulls = 0_u8;
        for column in first..columns.min(first + 8) {
            nulls |= u8::from(value(column).is_none()) << (column - first);
        }
        out.u8(nulls);
    }
    for column in 0..columns {
        if let Some(value) = value(column) {
            push_value(value, out);
        }
    }
}

pub(crate) fn push_value(value: Value<'_>, out: &mut Writer) {
    match value {
        Value::Bool(x) => out.bool(x),
        Value::I16(x) => out.zigzag(x.into()),
        Value::I32(x) => out.zigzag(x.into()),
        Value::I64(x) => out.zigzag(x),
        Value::F32(x) => out.u32(x.to_bits()),
        Value::F64(x) => out.u64(x.to_bits()),
        Value::D128(x) => push_wide(x, out),
        Value::D256(x) => push_trimmed(&x.to_le_bytes(), out),
        Value::Text(x) | Value::Bytes(x) => out.bytes(x),
        Value::Interval(x) => {
            out.zigzag(x.months.into()).zigzag(x.days.into()).zigzag(x.nanoseconds)
        }
        Value::Uuid(x) => out.raw(x),
        Value::U32(x) => out.varint(x.into()),
        Value::List(items) => {
            out.varint(items.len() as u64);
            encode_row(items.len(), |n| items.value(n), out);
            out
        }
        Value::Row(fields) => {
            encode_row(fields.len(), |n| fields.value(n), out);
            out
        }
    };
}

/// A zigzag varint of up to 19 bytes.
fn push_wide(value: i128, out: &mut Writer) -> &mut Writer {
    let mut rest = ((value << 1) ^ (value >> 127)) as u128;
    while rest >= 0x80 {
        out.u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.u8(rest as u8)
}

fn read_wide(input: &mut Reader<'_>) -> Result<i128, DecodeError> {
    let mut value = 0_u128;
    for shift in (0..128).step_by(7) {
        let byte = input.u8()?;
        let bits = u128::from(byte & 0x7f);
        if (bits << shift) >> shift != bits || (byte == 0 && shift > 0) {
            break;
        }
        value |= bits << shift;
        if byte < 0x80 {
            return Ok((value >> 1) as i128 ^ -((value & 1) as i128));
        }
    }
    Err(input.invalid("128-bit varint", 0))
}

/// Two's complement, little-endian, without the bytes that only repeat the sign.
fn push_trimmed<'w>(bytes: &[u8; 32], out: &'w mut Writer) -> &'w mut Writer {
    let sign = if bytes[31] & 0x80 == 0 { 0 } else { 0xff };
    let mut len = 32;
    while len > 1 && bytes[len - 1] == sign && (bytes[len - 2] ^ sign) & 0x80 == 0 {
        len -= 1;
    }
    out.bytes(&bytes[..len])
}

fn read_trimmed(input: &mut Reader<'_>) -> Result<i256, DecodeError> {
    let bytes = input.bytes()?;
    let Some(&last) = bytes.last().filter(|_| bytes.len() <= 32) else {
        return Err(input.invalid("length of a wide decimal", bytes.len() as u64));
    };
    let mut wide = if last & 0x80 == 0 { [0; 32] } else { [0xff; 32] };
    wide[..bytes.len()].copy_from_slice(bytes);
    Ok(i256::from_le_bytes(wide))
}

/// Read one row into one builder per column. After an error the builders hold a part of the row:
/// throw them away.
pub fn decode(input: &mut Reader<'_>, columns: &mut [ColumnBuilder]) -> Result<(), StorageError> {
    decode_row(input, columns).map_err(corrupt("row"))
}

fn decode_row(input: &mut Reader<'_>, columns: &mut [ColumnBuilder]) -> Result<(), DecodeError> {
    let nulls = input.raw(columns.len().div_ceil(8))?;
    for (ordinal, column) in columns.iter_mut().enumerate() {
        if nulls[ordinal / 8] >> (ordinal % 8) & 1 == 1 {
            column.push_null();
            continue;
        }
        decode_value(input, column)?;
    }
    Ok(())
}

/// Elements of an array.
fn decode_items(input: &mut Reader<'_>, items: &mut ColumnBuilder) -> Result<(), DecodeError> {
    // Eight NULLs take one byte.
    let count = input.varint()?;
    let len = usize::try_from(count).ok().filter(|len| *len <= ARRAY_LEN_MAX);
    let len = len.ok_or_else(|| input.invalid("length of an array", count))?;
    let nulls = input.raw(len.div_ceil(8))?;
    for n in 0..len {
        if nulls[n / 8] >> (n % 8) & 1 == 1 {
            items.push_null();
        } else {
            decode_value(input, items)?;
        }
    }
    Ok(())
}

fn decode_value(input: &mut Reader<'_>, column: &mut ColumnBuilder) -> Result<(), DecodeError> {
    match column.data_mut() {
        Data::Bool(v) => v.push(input.bool()?),
        Data::I16(v) => v.push(narrow(input)?),
        Data::I32(v) => v.push(narrow(input)?),
        Data::I64(v) => v.push(input.zigzag()?),
        Data::F32(v) => v.push(f32::from_bits(input.u32()?)),
        Data::F64(v) => v.push(f64::from_bits(input.u64()?)),
        Data::D128(v) => v.push(read_wide(input)?),
        Data::D256(v) => v.push(read_trimmed(input)?),
        Data::Text { views, bytes } => push_text(input.str()?.as_bytes(), views, bytes),
        Data::Bytes { ends, bytes } => {
            bytes.extend_from_slice(input.bytes()?);
            ends.push(bytes.len() as i32);
        }
        Data::Interval(v) => v.push(IntervalMonthDayNano {
            months: narrow(input)?,
            days: narrow(input)?,
            nanoseconds: input.zigzag()?,
        }),
        Data::Uuid(v) => {
            v.push(input.raw(16)?.try_into().expect("raw gives as many bytes as asked for"));
        }
        Data::U32(v) => v.push(input.varint_u32("oid")?),
        Data::List { ends, items } => {
            decode_items(input, items)?;
            ends.push(items.len() as i32);
        }
        Data::Row(fields) => decode_row(input, fields)?,
    }
    column.pushed();
    Ok(())
}

fn narrow<T: TryFrom<i64>>(input: &mut Reader<'_>) -> Result<T, DecodeError> {
    let value = input.zigzag()?;
    T::try_from(value).map_err(|_| input.invalid("integer of this width", value as u64))
}
