//! Batches as the log carries them: column by column, integers packed to the bytes their range
//! needs, repeated texts as a dictionary. Half to a third of the rows' size in memory, and many times
//! faster than row by row. Format: `docs/formats/rows.md`.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, ListArray,
        StringViewArray, StructArray,
    },
    buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer},
    datatypes::{
        DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type,
        Int32Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
        Time64MicrosecondType, TimestampMicrosecondType, UInt32Type, i256,
    },
};
use glaredb_txn::codec::{DecodeError, Reader, Writer};
use hashbrown::HashMap;

use super::{
    ARRAY_LEN_MAX,
    builder::{primitive, push_text},
    column::{ColumnRef, Layout, Values},
    corrupt,
};
use crate::{
    storage::{StorageError, schema::ColumnSchema},
    types::PgType,
};

const PLAIN: u8 = 0;
const DICTIONARY: u8 = 1;
/// Most entries of a dictionary: a code is one byte.
const DICTIONARY_ENTRIES_MAX: usize = 256;

/// Append the rows `first..first + rows` of all columns. Error: the arrays are not of the schema.
pub fn encode(
    schema: &[ColumnSchema],
    arrays: &[ArrayRef],
    first: usize,
    rows: usize,
    out: &mut Writer,
) -> Result<(), StorageError> {
    for (column, array) in schema.iter().zip(arrays) {
        encode_column(&column.pg_type, &array.slice(first, rows), out)?;
    }
    Ok(())
}

fn encode_column(pg_type: &PgType, array: &ArrayRef, out: &mut Writer) -> Result<(), StorageError> {
    let rows = array.len();
    let column = ColumnRef::new(pg_type, array)?;
    match column.nulls {
        None => {
            out.u8(0);
        }
        Some(nulls) => {
            out.u8(1);
            push_bits(rows, |row| nulls.is_null(row), out);
        }
    }
    encode_values(&column, rows, out)
}

fn encode_values(
    column: &ColumnRef<'_>,
    rows: usize,
    out: &mut Writer,
) -> Result<(), StorageError> {
    let is_null = |row: usize| column.is_null(row);
    match &column.values {
        Values::Bool(a) => push_bits(rows, |row| !is_null(row) && a.value(row), out),
        Values::I16(v) => push_packed(rows, |row| v[row].into(), is_null, out),
        Values::I32(v) => push_packed(rows, |row| v[row].into(), is_null, out),
        Values::I64(v) => push_packed(rows, |row| v[row], is_null, out),
        Values::U32(v) => push_packed(rows, |row| v[row].into(), is_null, out),
        Values::F32(v) => v.iter().for_each(|x| _ = out.u32(x.to_bits())),
        Values::F64(v) => v.iter().for_each(|x| _ = out.u64(x.to_bits())),
        Values::D128(v) => {
            let fits = (0..rows).all(|row| is_null(row) || i64::try_from(v[row]).is_ok());
            if fits {
                out.u8(NARROW);
                push_packed(rows, |row| v[row] as i64, is_null, out);
            } else {
                out.u8(WIDE);
                v.iter().for_each(|x| _ = out.raw(&x.to_le_bytes()));
            }
        }
        Values::D256(v) => v.iter().for_each(|x| _ = out.raw(&x.to_le_bytes())),
        Values::Text(a) => {
            push_strings(rows, |row| if is_null(row) { b"" } else { a.value(row).as_bytes() }, out);
        }
        Values::Bytes(a) => {
            push_strings(rows, |row| if is_null(row) { b"" } else { a.value(row) }, out);
        }
        Values::Interval(v) => {
            for x in *v {
                out.u32(x.months as u32).u32(x.days as u32).u64(x.nanoseconds as u64);
            }
        }
        Values::Uuid(a) => (0..rows).for_each(|row| _ = out.raw(a.value(row))),
        Values::List(column) => {
            let offsets = column.list.value_offsets();
            let length = |row: usize| i64::from(offsets[row + 1] - offsets[row]);
            push_packed(rows, length, |_| false, out);
            let (first, end) = (offsets[0] as usize, offsets[rows] as usize);
            let items = column.list.values().slice(first, end - first);
            encode_column(&column.of, &items, out)?;
        }
        Values::Row(column) => {
            for (ty, field) in column.types.iter().zip(column.rows.columns()) {
                encode_column(ty, field, out)?;
            }
        }
    }
    Ok(())
}

/// A decimal column whose values fit 64 bits, packed; or as they are.
const NARROW: u8 = 0;
const WIDE: u8 = 1;

/// One bit per row, lowest first.
fn push_bits(rows: usize, bit: impl Fn(usize) -> bool, out: &mut Writer) {
    for start in (0..rows).step_by(8) {
        let mut byte = 0;
        for row in start..rows.min(start + 8) {
            byte |= u8::from(bit(row)) << (row - start);
        }
        out.u8(byte);
    }
}

/// Least value, bytes per value, then the distance of each value from the least.
fn push_packed(
    rows: usize,
    value: impl Fn(usize) -> i64,
    is_null: impl Fn(usize) -> bool,
    out: &mut Writer,
) {
    let (mut min, mut max) = (i64::MAX, i64::MIN);
    for row in (0..rows).filter(|row| !is_null(*row)) {
        min = min.min(value(row));
        max = max.max(value(row));
    }
    if min > max {
        (min, max) = (0, 0);
    }
    let width = width_of(max.wrapping_sub(min) as u64);
    out.zigzag(min).u8(width as u8);
    let distance = |row| if is_null(row) { 0 } else { value(row).wrapping_sub(min) as u64 };
    match width {
        0 => {}
        1 => (0..rows).for_each(|row| _ = out.u8(distance(row) as u8)),
        2 => (0..rows).for_each(|row| _ = out.u16(distance(row) as u16)),
        4 => (0..rows).for_each(|row| _ = out.u32(distance(row) as u32)),
        8 => (0..rows).for_each(|row| _ = out.u64(distance(row))),
        _ => (0..rows).for_each(|row| _ = out.raw(&distance(row).to_le_bytes()[..width])),
    }
}

/// Bytes that hold every distance up to `range`.
fn width_of(range: u64) -> usize {
    (64 - range.leading_zeros() as usize).div_ceil(8)
}

/// Texts or byte strings: plain, or as codes into a dictionary where few values repeat.
fn push_strings<'a>(rows: usize, value: impl Fn(usize) -> &'a [u8], out: &mut Writer) {
    if let Some((entries, codes)) = dictionary(rows, &value) {
        out.u8(DICTIONARY).varint(entries.len() as u64);
        push_packed(entries.len(), |i| entries[i].len() as i64, |_| false, out);
        entries.iter().for_each(|entry| _ = out.raw(entry));
        out.raw(&codes);
        return;
    }
    out.u8(PLAIN);
    push_packed(rows, |row| value(row).len() as i64, |_| false, out);
    (0..rows).for_each(|row| _ = out.raw(value(row)));
}

/// The distinct values in order of appearance and one code per row; `None` where a dictionary would
/// not be smaller.
fn dictionary<'a>(
    rows: usize,
    value: &impl Fn(usize) -> &'a [u8],
) -> Option<(Vec<&'a [u8]>, Vec<u8>)> {
    const SAMPLE_ROWS: usize = 128;
    if rows < SAMPLE_ROWS {
        return None;
    }
    let mut entries = Vec::new();
    let mut codes = Vec::with_capacity(rows);
    let mut seen: HashMap<&[u8], u8, foldhash::fast::FixedState> = HashMap::default();
    for row in 0..rows {
        let text = value(row);
        let code = match seen.get(text) {
            Some(code) => *code,
            None => {
                if entries.len() == DICTIONARY_ENTRIES_MAX
                    || (row < SAMPLE_ROWS && entries.len() > SAMPLE_ROWS / 2)
                {
                    return None;
                }
                let code = entries.len() as u8;
                entries.push(text);
                seen.insert(text, code);
                code
            }
        };
        codes.push(code);
    }
    Some((entries, codes))
}

/// Read the columns of `rows` rows.
pub fn decode(
    schema: &[ColumnSchema],
    rows: usize,
    input: &mut Reader<'_>,
) -> Result<Vec<ArrayRef>, StorageError> {
    schema.iter().map(|column| decode_column(&column.pg_type, rows, input)).collect()
}

fn decode_column(
    pg_type: &PgType,
    rows: usize,
    input: &mut Reader<'_>,
) -> Result<ArrayRef, StorageError> {
    let err = corrupt("batch");
    let layout = Layout::of(pg_type).ok_or_else(|| {
        StorageError::corrupt("batch", format!("a column of type {}", pg_type.sql_name()))
    })?;
    let data_type = pg_type.arrow_type();
    let nulls = match input.u8().map_err(&err)? {
        0 => None,
        1 => {
            let bits = input.raw(rows.div_ceil(8)).map_err(&err)?;
            Some(NullBuffer::new(!&bit_buffer(bits, rows)))
        }
        other => return Err(err(input.invalid("null flag", other.into()))),
    };
    Ok(match layout {
        Layout::Bool => {
            let bits = input.raw(rows.div_ceil(8)).map_err(&err)?;
            Arc::new(BooleanArray::new(bit_buffer(bits, rows), nulls))
        }
        Layout::I16 => {
            let values = read_packed(rows, input).map_err(&err)?;
            primitive::<Int16Type>(narrowed(values, "int2")?, nulls, data_type)
        }
        Layout::I32 => {
            let values = narrowed(read_packed(rows, input).map_err(&err)?, "int4")?;
            match data_type {
                DataType::Date32 => primitive::<Date32Type>(values, nulls, data_type),
                _ => primitive::<Int32Type>(values, nulls, data_type),
            }
        }
        Layout::I64 => {
            let values = read_packed(rows, input).map_err(&err)?;
            match data_type {
                DataType::Timestamp(..) => {
                    primitive::<TimestampMicrosecondType>(values, nulls, data_type)
                }
                DataType::Time64(_) => primitive::<Time64MicrosecondType>(values, nulls, data_type),
                _ => primitive::<Int64Type>(values, nulls, data_type),
            }
        }
        Layout::U32 => {
            let values = narrowed(read_packed(rows, input).map_err(&err)?, "oid")?;
            primitive::<UInt32Type>(values, nulls, data_type)
        }
        Layout::F32 => {
            let bytes = read_fixed::<4>(rows, input).map_err(&err)?;
            let values = bytes.iter().map(|b| f32::from_le_bytes(*b)).collect();
            primitive::<Float32Type>(values, nulls, data_type)
        }
        Layout::F64 => {
            let bytes = read_fixed::<8>(rows, input).map_err(&err)?;
            let values = bytes.iter().map(|b| f64::from_le_bytes(*b)).collect();
            primitive::<Float64Type>(values, nulls, data_type)
        }
        Layout::D128 => {
            let values = match input.u8().map_err(&err)? {
                NARROW => {
                    read_packed(rows, input).map_err(&err)?.into_iter().map(i128::from).collect()
                }
                WIDE => {
                    let bytes = read_fixed::<16>(rows, input).map_err(&err)?;
                    bytes.iter().map(|b| i128::from_le_bytes(*b)).collect()
                }
                other => return Err(err(input.invalid("decimal encoding", other.into()))),
            };
            primitive::<Decimal128Type>(values, nulls, data_type)
        }
        Layout::D256 => {
            let bytes = read_fixed::<32>(rows, input).map_err(&err)?;
            let values = bytes.iter().map(|b| i256::from_le_bytes(*b)).collect();
            primitive::<Decimal256Type>(values, nulls, data_type)
        }
        Layout::Interval => {
            let bytes = read_fixed::<16>(rows, input).map_err(&err)?;
            primitive::<IntervalMonthDayNanoType>(
                bytes.iter().map(interval).collect(),
                nulls,
                data_type,
            )
        }
        Layout::Uuid => {
            let bytes = read_fixed::<16>(rows, input).map_err(&err)?;
            let buffer = Buffer::from_slice_ref(bytes.as_flattened());
            Arc::new(FixedSizeBinaryArray::new(16, buffer, nulls))
        }
        Layout::Text => decode_text(rows, nulls, input)?,
        Layout::Bytes => decode_bytes(rows, nulls, input)?,
        Layout::List => decode_lists(pg_type, rows, nulls, input)?,
        Layout::Row => decode_records(pg_type, rows, nulls, input)?,
    })
}

fn interval(bytes: &[u8; 16]) -> IntervalMonthDayNano {
    let part =
        |at: usize| i32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let low = u64::from(part(8) as u32);
    IntervalMonthDayNano {
        months: part(0),
        days: part(4),
        nanoseconds: (low | u64::from(part(12) as u32) << 32) as i64,
    }
}

fn bit_buffer(bits: &[u8], rows: usize) -> BooleanBuffer {
    BooleanBuffer::new(Buffer::from_slice_ref(bits), 0, rows)
}

fn read_fixed<'a, const N: usize>(
    rows: usize,
    input: &mut Reader<'a>,
) -> Result<&'a [[u8; N]], DecodeError> {
    let bytes = input.raw(rows.saturating_mul(N))?;
    Ok(bytes.as_chunks::<N>().0)
}

fn narrowed<T: TryFrom<i64>>(values: Vec<i64>, what: &'static str) -> Result<Vec<T>, StorageError> {
    values
        .into_iter()
        .map(|v| T::try_from(v).map_err(|_| v))
        .collect::<Result<_, _>>()
        .map_err(|v| StorageError::corrupt("batch", format!("{v} is not a valid {what}")))
}

fn read_packed(rows: usize, input: &mut Reader<'_>) -> Result<Vec<i64>, DecodeError> {
    let min = input.zigzag()?;
    let width = input.u8()? as usize;
    let add = |distance: u64| min.wrapping_add(distance as i64);
    Ok(match width {
        0 => vec![min; rows],
        1 => input.raw(rows)?.iter().map(|b| add(u64::from(*b))).collect(),
        2 => read_fixed::<2>(rows, input)?
            .iter()
            .map(|b| add(u64::from(u16::from_le_bytes(*b))))
            .collect(),
        3 => read_fixed::<3>(rows, input)?
            .iter()
            .map(|[a, b, c]| add(u64::from(u32::from_le_bytes([*a, *b, *c, 0]))))
            .collect(),
        4 => read_fixed::<4>(rows, input)?
            .iter()
            .map(|b| add(u64::from(u32::from_le_bytes(*b))))
            .collect(),
        8 => read_fixed::<8>(rows, input)?.iter().map(|b| add(u64::from_le_bytes(*b))).collect(),
        5..=7 => {
            let bytes = input.raw(rows.saturating_mul(width))?;
            let distance = |b: &[u8]| {
                let mut wide = [0; 8];
                wide[..width].copy_from_slice(b);
                u64::from_le_bytes(wide)
            };
            bytes.chunks_exact(width).map(|b| add(distance(b))).collect()
        }
        other => return Err(input.invalid("integer width", other as u64)),
    })
}

/// Lengths of `count` strings and all their bytes.
fn read_lengths<'a>(
    count: usize,
    input: &mut Reader<'a>,
) -> Result<(Vec<usize>, &'a [u8]), DecodeError> {
    let mut total = 0_u64;
    let mut lengths = Vec::with_capacity(count);
    for length in read_packed(count, input)? {
        let length = u32::try_from(length)
            .map_err(|_| input.invalid("length of a string", length as u64))?;
        total += u64::from(length);
        lengths.push(length as usize);
    }
    let bytes = input.raw(usize::try_from(total).unwrap_or(usize::MAX))?;
    Ok((lengths, bytes))
}

/// The strings of a column: each value once, and which of them each row has (`None`: row = value).
struct Strings<'a> {
    lengths: Vec<usize>,
    bytes: &'a [u8],
    codes: Option<&'a [u8]>,
}

fn read_strings<'a>(rows: usize, input: &mut Reader<'a>) -> Result<Strings<'a>, DecodeError> {
    match input.u8()? {
        PLAIN => {
            let (lengths, bytes) = read_lengths(rows, input)?;
            Ok(Strings { lengths, bytes, codes: None })
        }
        DICTIONARY => {
            let count = input.varint()?;
            if count > DICTIONARY_ENTRIES_MAX as u64 {
                return Err(input.invalid("dictionary size", count));
            }
            let (lengths, bytes) = read_lengths(count as usize, input)?;
            let codes = input.raw(rows)?;
            match codes.iter().find(|code| u64::from(**code) >= count) {
                Some(code) => Err(input.invalid("dictionary code", u64::from(*code))),
                None => Ok(Strings { lengths, bytes, codes: Some(codes) }),
            }
        }
        other => Err(input.invalid("string encoding", other.into())),
    }
}

fn decode_text(
    rows: usize,
    nulls: Option<NullBuffer>,
    input: &mut Reader<'_>,
) -> Result<ArrayRef, StorageError> {
    let strings = read_strings(rows, input).map_err(corrupt("batch"))?;
    let mut views = Vec::with_capacity(strings.lengths.len());
    let mut long = Vec::with_capacity(strings.bytes.len());
    let mut at = 0;
    for length in &strings.lengths {
        push_text(&strings.bytes[at..at + length], &mut views, &mut long);
        at += length;
    }
    long.shrink_to_fit();
    if let Some(codes) = strings.codes {
        views = codes.iter().map(|code| views[*code as usize]).collect();
    }
    let buffers = if long.is_empty() { vec![] } else { vec![Buffer::from_vec(long)] };
    let array = StringViewArray::try_new(ScalarBuffer::from(views), buffers, nulls)
        .map_err(|e| StorageError::corrupt("batch", e.to_string()))?;
    Ok(Arc::new(array))
}

/// Arrays: how long each is, then the elements of all as a column.
fn decode_lists(
    pg_type: &PgType,
    rows: usize,
    nulls: Option<NullBuffer>,
    input: &mut Reader<'_>,
) -> Result<ArrayRef, StorageError> {
    let err = corrupt("batch");
    let (PgType::Array(of), DataType::List(field)) = (pg_type, pg_type.arrow_type()) else {
        unreachable!("only arrays lie as lists")
    };
    let mut offsets = Vec::with_capacity(rows + 1);
    offsets.push(0_i32);
    let mut total = 0_usize;
    for length in read_packed(rows, input).map_err(&err)? {
        total = usize::try_from(length)
            .ok()
            .and_then(|length| total.checked_add(length))
            .filter(|total| *total <= ARRAY_LEN_MAX)
            .ok_or_else(|| err(input.invalid("length of an array", length as u64)))?;
        offsets.push(total as i32);
    }
    let items = decode_column(of, total, input)?;
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    Ok(Arc::new(ListArray::new(field, offsets, items, nulls)))
}

/// Records: each field as a column.
fn decode_records(
    pg_type: &PgType,
    rows: usize,
    nulls: Option<NullBuffer>,
    input: &mut Reader<'_>,
) -> Result<ArrayRef, StorageError> {
    let PgType::Record(record) = pg_type else { unreachable!("only records lie as rows") };
    let columns = record.fields.iter().map(|field| decode_column(&field.ty, rows, input));
    let columns = columns.collect::<Result<_, _>>()?;
    Ok(Arc::new(StructArray::new(record.arrow_fields(), columns, nulls)))
}

fn decode_bytes(
    rows: usize,
    nulls: Option<NullBuffer>,
    input: &mut Reader<'_>,
) -> Result<ArrayRef, StorageError> {
    let strings = read_strings(rows, input).map_err(corrupt("batch"))?;
    let mut starts = Vec::with_capacity(strings.lengths.len());
    let mut at = 0;
    for length in &strings.lengths {
        starts.push(at);
        at += length;
    }
    let mut bytes: Vec<u8> = Vec::new();
    let mut offsets = Vec::with_capacity(rows + 1);
    offsets.push(0_i32);
    for row in 0..rows {
        let value = strings.codes.map_or(row, |codes| codes[row] as usize);
        let start = starts[value];
        bytes.extend_from_slice(&strings.bytes[start..start + strings.lengths[value]]);
        let end = i32::try_from(bytes.len())
            .map_err(|_| StorageError::corrupt("batch", "a bytea column exceeds 2 GiB"))?;
        offsets.push(end);
    }
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    Ok(Arc::new(BinaryArray::new(offsets, Buffer::from_vec(bytes), nulls)))
}
