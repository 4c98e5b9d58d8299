//! Memcomparable keys: the bytes of two keys compare as their values do, and equal bytes mean SQL
//! equality (1.0 = 1.00, -0 = 0, all NaN equal, blanks at the end of a char(n) ignored).
//!
//! The format stands in `docs/formats/keys.md`. It is our own and not arrow-row's, whose bytes are
//! not a format.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef},
    datatypes::IntervalMonthDayNano,
};
use bytes::Bytes;

use super::column::{ColumnRef, Value};
use crate::{
    storage::StorageError,
    types::{NumericShape, PgType},
};

mod display;
mod json;
mod numeric;
#[cfg(test)]
mod tests;

/// Version of the encoding; stored with each index, since an index lives with the bytes it was
/// built from.
pub const KEY_FORMAT_VERSION: u8 = 1;

/// The longest key, in encoded bytes.
pub const KEY_BYTES_MAX: usize = 8192;

/// Stands before a value that is not NULL; numerics have their sign class there.
const VALUE: u8 = 0x01;
/// After the elements of an array: sorts before every element.
const LIST_END: u8 = 0x00;
/// NULL sorts after every value.
const NULL: u8 = 0xff;

/// Encodes the key columns of batches.
#[derive(Clone, Debug)]
pub struct KeyEncoder {
    types: Arc<[PgType]>,
}

/// The keys of the rows of one batch, in one buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncodedKeys {
    bytes: Bytes,
    /// End of each key in `bytes`.
    ends: Vec<u32>,
}

fn within_limit(bytes: usize) -> Result<(), StorageError> {
    if bytes > KEY_BYTES_MAX {
        return Err(StorageError::KeyTooLarge { bytes, bytes_max: KEY_BYTES_MAX });
    }
    Ok(())
}

impl KeyEncoder {
    /// Types of the key columns in key order. Error: a type that cannot be part of a key.
    pub fn new(types: &[PgType]) -> Result<Self, StorageError> {
        for pg_type in types {
            if matches!(
                pg_type,
                PgType::Void
                    | PgType::Unknown
                    | PgType::Array(_)
                    | PgType::Record(_)
                    | PgType::Json
                    | PgType::Jsonb
                    | PgType::Jsonpath
            ) {
                return Err(StorageError::NotAKeyType(pg_type.clone()));
            }
        }
        Ok(Self { types: types.into() })
    }

    /// For keys that only compare values of one type in memory; arrays, records and jsonb, too.
    #[must_use]
    pub fn comparing(pg_type: &PgType) -> Self {
        Self { types: Arc::new([pg_type.clone()]) }
    }

    #[must_use]
    pub fn types(&self) -> &[PgType] {
        &self.types
    }

    /// Keys of all rows. `columns`: the key columns in key order, of equal length. Errors: a column
    /// of another Arrow type, a key that is too long.
    pub fn encode_all(&self, columns: &[ArrayRef]) -> Result<EncodedKeys, StorageError> {
        let keys = self.encode_stored(columns)?;
        (0..keys.len()).try_for_each(|n| within_limit(keys.get(n).len()))?;
        Ok(keys)
    }

    /// Keys of rows that the log holds, of any length: a row deleted or not yet public when the key
    /// came was never checked, and `apply` must not fail on what users wrote.
    pub(crate) fn encode_stored(&self, columns: &[ArrayRef]) -> Result<EncodedKeys, StorageError> {
        let rows = columns.first().map_or(0, |c| c.len());
        self.encode_rows(columns, 0..rows)
    }

    /// As `encode_stored`, of some rows, by their place in the arrays.
    pub(crate) fn encode_places(
        &self,
        columns: &[ArrayRef],
        places: &[usize],
    ) -> Result<EncodedKeys, StorageError> {
        self.encode_rows(columns, places.iter().copied())
    }

    fn encode_rows(
        &self,
        columns: &[ArrayRef],
        rows: impl ExactSizeIterator<Item = usize>,
    ) -> Result<EncodedKeys, StorageError> {
        let columns = self.resolve(columns)?;
        let count = rows.len();
        let mut out = Vec::with_capacity(count * columns.len() * 9);
        let mut ends = Vec::with_capacity(count);
        for row in rows {
            self.encode_values(|column| columns[column].value(row), &mut out)?;
            let end = u32::try_from(out.len()).map_err(|_| {
                StorageError::Invalid(format!("keys of a batch of {count} rows exceed 4 GiB"))
            })?;
            ends.push(end);
        }
        Ok(EncodedKeys { bytes: out.into(), ends })
    }

    /// Key of one row.
    pub fn encode(&self, columns: &[ArrayRef], row: usize) -> Result<Bytes, StorageError> {
        let mut out = Vec::new();
        self.encode_into(columns, row, &mut out)?;
        Ok(out.into())
    }

    /// Key of one row, appended to `out`.
    pub fn encode_into(
        &self,
        columns: &[ArrayRef],
        row: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), StorageError> {
        let columns = self.resolve(columns)?;
        let start = out.len();
        self.encode_values(|column| columns[column].value(row), out)?;
        within_limit(out.len() - start)
    }

    /// A key from its values, given by place in the key; `None`: NULL. Of any length, see
    /// `encode_stored`.
    pub(crate) fn encode_values<'v>(
        &self,
        value: impl Fn(usize) -> Option<Value<'v>>,
        out: &mut Vec<u8>,
    ) -> Result<(), StorageError> {
        for (column, pg_type) in self.types.iter().enumerate() {
            push_value(pg_type, value(column), out)?;
        }
        Ok(())
    }

    /// The part of a key that one column makes, appended to `out`: keys begin with the parts of their
    /// first columns, and no part is the beginning of another.
    pub(crate) fn encode_part(
        &self,
        column: usize,
        value: &ArrayRef,
        out: &mut Vec<u8>,
    ) -> Result<(), StorageError> {
        let pg_type = &self.types[column];
        push_value(pg_type, ColumnRef::new(pg_type, value)?.value(0), out)?;
        within_limit(out.len())
    }

    /// The values of a key as text, `None` for NULL: for messages such as
    /// `Key (id)=(1) already exists.` An interval comes back as days and time.
    pub fn decode(&self, key: &[u8]) -> Result<Vec<Option<String>>, StorageError> {
        display::decode(&self.types, key)
    }

    fn resolve<'a>(&self, columns: &'a [ArrayRef]) -> Result<Vec<ColumnRef<'a>>, StorageError> {
        if columns.len() != self.types.len() {
            return Err(StorageError::Invalid(format!(
                "a key of {} columns, given {}",
                self.types.len(),
                columns.len()
            )));
        }
        self.types
            .iter()
            .zip(columns)
            .map(|(pg_type, array)| ColumnRef::new(pg_type, array))
            .collect()
    }
}

fn push_value(
    pg_type: &PgType,
    value: Option<Value<'_>>,
    out: &mut Vec<u8>,
) -> Result<(), StorageError> {
    let Some(value) = value else {
        out.push(NULL);
        return Ok(());
    };
    if let PgType::Numeric(shape) = pg_type {
        let decimal = shape.and_then(NumericShape::decimal);
        return push_numeric(decimal.map_or(0, |(_, scale)| scale), value, out);
    }
    out.push(VALUE);
    match value {
        Value::Bytes(x) if *pg_type == PgType::Jsonb => json::push(x, out)?,
        Value::List(items) => {
            let PgType::Array(of) = pg_type else { unreachable!("only arrays lie as lists") };
            (0..items.len()).try_for_each(|n| push_value(of, items.value(n), out))?;
            out.push(LIST_END);
        }
        Value::Row(fields) => {
            let PgType::Record(of) = pg_type else { unreachable!("only records lie as rows") };
            let mut types = of.fields.iter().enumerate();
            types.try_for_each(|(n, field)| push_value(&field.ty, fields.value(n), out))?;
        }
        Value::Bool(x) => out.push(u8::from(x)),
        Value::I16(x) => out.extend_from_slice(&(x ^ i16::MIN).to_be_bytes()),
        Value::I32(x) => out.extend_from_slice(&(x ^ i32::MIN).to_be_bytes()),
        Value::I64(x) => out.extend_from_slice(&(x ^ i64::MIN).to_be_bytes()),
        Value::F32(x) => out.extend_from_slice(&ordered_f32(x).to_be_bytes()),
        Value::F64(x) => out.extend_from_slice(&ordered_f64(x).to_be_bytes()),
        Value::Text(x) if matches!(pg_type, PgType::Bpchar(_)) => {
            let end = x.iter().rposition(|b| *b != b' ').map_or(0, |last| last + 1);
            push_escaped(&x[..end], out);
        }
        Value::Text(x) | Value::Bytes(x) => push_escaped(x, out),
        Value::Interval(x) => {
            let nanos = interval_nanos(x) ^ (1 << 95);
            out.extend_from_slice(&nanos.to_be_bytes()[4..]);
        }
        Value::Uuid(x) => out.extend_from_slice(x),
        Value::U32(x) => out.extend_from_slice(&x.to_be_bytes()),
        Value::D128(_) | Value::D256(_) => unreachable!("decimals are numerics"),
    }
    Ok(())
}

fn push_numeric(scale: i8, value: Value<'_>, out: &mut Vec<u8>) -> Result<(), StorageError> {
    match value {
        Value::D128(x) => numeric::encode_i128(x, scale, out),
        Value::D256(x) => match x.to_i128() {
            Some(small) => numeric::encode_i128(small, scale, out),
            None => numeric::encode_text(&wide_text(x, scale), out)?,
        },
        Value::Text(x) => match std::str::from_utf8(x) {
            Ok(text) => numeric::encode_text(text, out)?,
            Err(_) => return Err(StorageError::NotANumber(String::from_utf8_lossy(x).into())),
        },
        _ => unreachable!("a numeric lies as a decimal or as text"),
    }
    Ok(())
}

/// Text of a wide decimal with its point.
fn wide_text(unscaled: arrow::datatypes::i256, scale: i8) -> String {
    let text = unscaled.to_string();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.as_str()),
    };
    match usize::try_from(scale) {
        Ok(0) => text,
        Ok(scale) => {
            let digits = format!("{digits:0>width$}", width = scale + 1);
            let (whole, fraction) = digits.split_at(digits.len() - scale);
            format!("{sign}{whole}.{fraction}")
        }
        Err(_) => format!("{text}{}", "0".repeat(usize::from(scale.unsigned_abs()))),
    }
}

/// Bits that compare as unsigned integers the way the floats do: -0 as 0, every NaN alike and last.
fn ordered_f32(value: f32) -> u32 {
    let value = if value.is_nan() {
        f32::NAN.abs()
    } else if value == 0.0 {
        0.0
    } else {
        value
    };
    let bits = value.to_bits();
    if bits >> 31 == 0 { bits ^ (1 << 31) } else { !bits }
}

fn ordered_f64(value: f64) -> u64 {
    let value = if value.is_nan() {
        f64::NAN.abs()
    } else if value == 0.0 {
        0.0
    } else {
        value
    };
    let bits = value.to_bits();
    if bits >> 63 == 0 { bits ^ (1 << 63) } else { !bits }
}

/// Length of an interval as PostgreSQL compares it: a month is 30 days, a day 24 hours.
fn interval_nanos(value: IntervalMonthDayNano) -> i128 {
    let days = i128::from(value.months) * 30 + i128::from(value.days);
    days * 86_400_000_000_000 + i128::from(value.nanoseconds)
}

/// Zero bytes become `00 FF`, the end is `00 01`: a prefix sorts before what it begins.
fn push_escaped(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    while let Some(zero) = rest.iter().position(|b| *b == 0) {
        out.extend_from_slice(&rest[..=zero]);
        out.push(0xff);
        rest = &rest[zero + 1..];
    }
    out.extend_from_slice(rest);
    out.extend_from_slice(&[0, 1]);
}

impl EncodedKeys {
    /// Keys made elsewhere.
    pub fn from_keys<K: AsRef<[u8]>>(keys: impl IntoIterator<Item = K>) -> Self {
        let mut bytes = Vec::new();
        let mut ends = Vec::new();
        for key in keys {
            bytes.extend_from_slice(key.as_ref());
            ends.push(u32::try_from(bytes.len()).expect("keys of a batch stay below 4 GiB"));
        }
        Self { bytes: bytes.into(), ends }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Key of row `row`. Panics beyond `len()`.
    #[must_use]
    pub fn get(&self, row: usize) -> &[u8] {
        &self.bytes[self.start(row)..self.ends[row] as usize]
    }

    /// Key of row `row` as a share of the common buffer.
    #[must_use]
    pub fn get_bytes(&self, row: usize) -> Bytes {
        self.bytes.slice(self.start(row)..self.ends[row] as usize)
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.len()).map(|row| self.get(row))
    }

    fn start(&self, row: usize) -> usize {
        if row == 0 { 0 } else { self.ends[row - 1] as usize }
    }
}
