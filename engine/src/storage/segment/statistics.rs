//! What is known of a column's values without reading them.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef};
use bytes::Bytes;
use glaredb_txn::codec::{DecodeError, Reader, Writer};

use super::{key_hash, sketch::Sketch};
use crate::{
    storage::{
        StorageError,
        codec::{
            builder::ColumnBuilder,
            column::{ColumnRef, Layout, Value},
            corrupt,
            key::KeyEncoder,
            row::{self, RowEncoder},
        },
        schema::ColumnSchema,
    },
    types::PgType,
};

/// Longer bounds of texts and byte strings are cut.
const BOUND_BYTES_MAX: usize = 64;

/// Statistics of one column of a segment.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ColumnStatistics {
    /// The column's id.
    pub id: u32,
    /// Rows in which it is NULL.
    pub nulls: u64,
    /// Bytes of all values: as they lie in memory for fixed width, their own for others.
    pub bytes: u64,
    /// How many different values there are. Equal values count once, as `=` has it.
    pub distinct: Sketch,
    /// `None`: no value is there, or the type has no order that is recorded (json, jsonb, arrays,
    /// records).
    pub bounds: Option<Bounds>,
}

/// The least and the greatest value. Of floats NaN is the greatest, as in SQL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bounds {
    pub min: Bound,
    pub max: Bound,
}

/// One of them: a row of one column (`docs/formats/rows.md`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bound {
    pub value: Bytes,
    /// It is a value of the column, not only a bound of them: a long text is cut.
    pub exact: bool,
}

impl Bound {
    /// As an array of one row, of the type's Arrow type.
    pub fn to_array(&self, pg_type: &PgType) -> Result<ArrayRef, StorageError> {
        let mut builders = [ColumnBuilder::new(pg_type, 1)?];
        let mut input = Reader::new(&self.value);
        row::decode(&mut input, &mut builders)?;
        input.finish().map_err(corrupt("bound of a column"))?;
        let [builder] = builders;
        Ok(builder.finish())
    }

    fn encode(&self, out: &mut Writer) {
        out.bool(self.exact).bytes(&self.value);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { exact: input.bool()?, value: input.shared()? })
    }
}

impl ColumnStatistics {
    /// Average width of a value in bytes; 0 where there is none. `rows`: of the segment.
    #[must_use]
    pub fn average_width(&self, rows: u64) -> f64 {
        match rows.saturating_sub(self.nulls) {
            0 => 0.0,
            values => self.bytes as f64 / values as f64,
        }
    }

    pub(super) fn encode(&self, out: &mut Writer) {
        out.varint(self.id.into()).varint(self.nulls).varint(self.bytes);
        self.distinct.encode(out);
        out.bool(self.bounds.is_some());
        if let Some(Bounds { min, max }) = &self.bounds {
            min.encode(out);
            max.encode(out);
        }
    }

    pub(super) fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let id = input.varint_u32("column id")?;
        let (nulls, bytes) = (input.varint()?, input.varint()?);
        let distinct = Sketch::decode(input)?;
        let bounds = match input.bool()? {
            false => None,
            true => Some(Bounds { min: Bound::decode(input)?, max: Bound::decode(input)? }),
        };
        Ok(Self { id, nulls, bytes, distinct, bounds })
    }
}

/// Gathers the statistics of one column, batch by batch.
#[derive(Debug)]
pub(super) struct Gatherer {
    column: ColumnSchema,
    kind: Kind,
    statistics: ColumnStatistics,
    /// The last value's hash: sorted columns repeat.
    last_hash: Option<u64>,
    key: Vec<u8>,
}

/// How the column's values compare.
#[derive(Debug)]
enum Kind {
    /// As integers, floats or bytes: the least and the greatest so far.
    Native(Option<(Native, Native)>),
    /// By their encoded keys; these and the values, as rows, of the two so far.
    Keys { encoder: KeyEncoder, bounds: Option<[(Vec<u8>, Bytes); 2]> },
    /// Nobody asks for the order; equality is that of encoded keys, or of the bytes.
    Unordered(Option<KeyEncoder>),
}

#[derive(Clone, PartialEq, Debug)]
enum Native {
    Int(i128),
    Float(f64),
    Bytes(Vec<u8>),
}

impl Gatherer {
    pub(super) fn new(column: &ColumnSchema) -> Self {
        let encoder = || KeyEncoder::comparing(&column.pg_type);
        let kind = match &column.pg_type {
            PgType::Json | PgType::Jsonpath => Kind::Unordered(None),
            PgType::Jsonb | PgType::Array(_) | PgType::Record(_) => {
                Kind::Unordered(Some(encoder()))
            }
            PgType::Numeric(shape)
                if shape.and_then(|s| s.decimal()).is_none_or(|(digits, _)| digits > 38) =>
            {
                Kind::Keys { encoder: encoder(), bounds: None }
            }
            PgType::Interval(_) | PgType::Bpchar(None) => {
                Kind::Keys { encoder: encoder(), bounds: None }
            }
            _ => Kind::Native(None),
        };
        let statistics = ColumnStatistics { id: column.id, ..ColumnStatistics::default() };
        Self { column: column.clone(), kind, statistics, last_hash: None, key: Vec::new() }
    }

    /// Error: values that are none of their type.
    pub(super) fn add(&mut self, array: &ArrayRef) -> Result<(), StorageError> {
        self.statistics.nulls += array.null_count() as u64;
        let values = ColumnRef::new(&self.column.pg_type, array)?;
        if let Some(layout) = Layout::of(&self.column.pg_type)
            && !matches!(layout, Layout::Text | Layout::Bytes | Layout::List | Layout::Row)
        {
            let count = array.len() - array.null_count();
            self.statistics.bytes += (count * layout.width()) as u64;
        }
        for row in 0..array.len() {
            let Some(value) = values.value(row) else { continue };
            if let Value::Text(bytes) | Value::Bytes(bytes) = value {
                self.statistics.bytes += bytes.len() as u64;
            }
            self.add_value(value, array, row)?;
        }
        Ok(())
    }

    fn add_value(
        &mut self,
        value: Value<'_>,
        array: &ArrayRef,
        row: usize,
    ) -> Result<(), StorageError> {
        let hash = match &mut self.kind {
            Kind::Native(bounds) => {
                let value = NativeRef::of(value);
                value.widen(bounds);
                value.hash()
            }
            Kind::Unordered(None) => match value {
                Value::Text(bytes) | Value::Bytes(bytes) => key_hash(bytes),
                _ => unreachable!("json lies as text"),
            },
            Kind::Unordered(Some(encoder)) => {
                self.key.clear();
                encoder.encode_values(|_| Some(value), &mut self.key)?;
                if matches!(value, Value::List(_) | Value::Row(_)) {
                    self.statistics.bytes += self.key.len() as u64;
                }
                key_hash(&self.key)
            }
            Kind::Keys { encoder, bounds } => {
                self.key.clear();
                encoder.encode_values(|_| Some(value), &mut self.key)?;
                let found = || one_row(&self.column, array, row).map(|row| (self.key.clone(), row));
                match bounds {
                    None => *bounds = Some([found()?, found()?]),
                    Some([min, _]) if self.key < min.0 => *min = found()?,
                    Some([_, max]) if self.key > max.0 => *max = found()?,
                    Some(_) => {}
                }
                key_hash(&self.key)
            }
        };
        if self.last_hash != Some(hash) {
            self.last_hash = Some(hash);
            self.statistics.distinct.insert(hash);
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<ColumnStatistics, StorageError> {
        let Self { column, kind, mut statistics, .. } = self;
        statistics.bounds = match kind {
            Kind::Unordered(_) | Kind::Native(None) | Kind::Keys { bounds: None, .. } => None,
            Kind::Keys { bounds: Some([min, max]), .. } => {
                let exact = |(_, value): (_, Bytes)| Bound { value, exact: true };
                // A number of many digits is not worth its place in every list of segments.
                let short = min.1.len().max(max.1.len()) <= BOUND_BYTES_MAX;
                short.then(|| Bounds { min: exact(min), max: exact(max) })
            }
            Kind::Native(Some((min, max))) => bounds(&column.pg_type, min, max)?,
        };
        Ok(statistics)
    }
}

/// The value at `row` as a row of one column.
fn one_row(column: &ColumnSchema, array: &ArrayRef, row: usize) -> Result<Bytes, StorageError> {
    let mut out = Writer::new();
    let columns = std::slice::from_ref(array);
    RowEncoder::new(std::slice::from_ref(column), columns)?.encode(row, &mut out);
    Ok(out.into_bytes())
}

fn bounds(pg_type: &PgType, min: Native, max: Native) -> Result<Option<Bounds>, StorageError> {
    let is_text = matches!(Layout::of(pg_type), Some(Layout::Text));
    let (min, min_exact) = cut(min, is_text);
    let Some((max, max_exact)) = cut_up(max, is_text) else { return Ok(None) };
    let bound = |value: &Native, exact| {
        let mut builder = ColumnBuilder::new(pg_type, 1)?;
        builder.push(Some(value.as_value(pg_type)));
        let column = ColumnSchema::new(0, "bound", pg_type.clone(), false);
        let value = one_row(&column, &builder.finish(), 0)?;
        Ok::<_, StorageError>(Bound { value, exact })
    };
    Ok(Some(Bounds { min: bound(&min, min_exact)?, max: bound(&max, max_exact)? }))
}

/// A prefix of a long value, which is at most the value.
fn cut(value: Native, is_text: bool) -> (Native, bool) {
    match value {
        Native::Bytes(mut bytes) if bytes.len() > BOUND_BYTES_MAX => {
            bytes.truncate(prefix_len(&bytes, is_text));
            (Native::Bytes(bytes), false)
        }
        short => (short, true),
    }
}

/// Something short that is at least the value; `None`: there is none.
fn cut_up(value: Native, is_text: bool) -> Option<(Native, bool)> {
    let Native::Bytes(mut bytes) = value else { return Some((value, true)) };
    if bytes.len() <= BOUND_BYTES_MAX {
        return Some((Native::Bytes(bytes), true));
    }
    bytes.truncate(prefix_len(&bytes, is_text));
    if !is_text {
        while let Some(last) = bytes.pop() {
            if last < 0xff {
                bytes.push(last + 1);
                return Some((Native::Bytes(bytes), false));
            }
        }
        return None;
    }
    let mut text = String::from_utf8(bytes).ok()?;
    while let Some(last) = text.pop() {
        // UTF-8 is in the order of its characters.
        let after = (u32::from(last) + 1..=u32::from(char::MAX)).find_map(char::from_u32);
        if let Some(after) = after {
            text.push(after);
            return Some((Native::Bytes(text.into_bytes()), false));
        }
    }
    None
}

fn prefix_len(bytes: &[u8], is_text: bool) -> usize {
    let mut len = BOUND_BYTES_MAX;
    // Not within a character.
    while is_text && len > 0 && bytes[len] & 0xc0 == 0x80 {
        len -= 1;
    }
    len
}

/// A value that compares by itself.
#[derive(Clone, Copy)]
enum NativeRef<'a> {
    Int(i128),
    Float(f64),
    Bytes(&'a [u8]),
}

impl<'a> NativeRef<'a> {
    fn of(value: Value<'a>) -> Self {
        match value {
            Value::Bool(x) => Self::Int(x.into()),
            Value::I16(x) => Self::Int(x.into()),
            Value::I32(x) => Self::Int(x.into()),
            Value::I64(x) => Self::Int(x.into()),
            Value::U32(x) => Self::Int(x.into()),
            Value::D128(x) => Self::Int(x),
            Value::F32(x) => Self::Float(x.into()),
            Value::F64(x) => Self::Float(x),
            Value::Text(x) | Value::Bytes(x) | Value::Uuid(x) => Self::Bytes(x),
            Value::D256(_) | Value::Interval(_) | Value::List(_) | Value::Row(_) => {
                unreachable!("these compare by their keys")
            }
        }
    }

    fn compare(self, other: &Native) -> Ordering {
        match (self, other) {
            (Self::Int(a), Native::Int(b)) => a.cmp(b),
            (Self::Float(a), Native::Float(b)) => float_order(a, *b),
            (Self::Bytes(a), Native::Bytes(b)) => a.cmp(b),
            _ => unreachable!("a column's values are of one kind"),
        }
    }

    fn widen(self, bounds: &mut Option<(Native, Native)>) {
        match bounds {
            None => *bounds = Some((self.to_owned(), self.to_owned())),
            Some((min, max)) => {
                if self.compare(min) == Ordering::Less {
                    *min = self.to_owned();
                } else if self.compare(max) == Ordering::Greater {
                    *max = self.to_owned();
                }
            }
        }
    }

    fn to_owned(self) -> Native {
        match self {
            Self::Int(x) => Native::Int(x),
            Self::Float(x) => Native::Float(x),
            Self::Bytes(x) => Native::Bytes(x.to_vec()),
        }
    }

    fn hash(self) -> u64 {
        match self {
            Self::Int(x) => match i64::try_from(x) {
                Ok(x) => mix(x as u64),
                Err(_) => key_hash(&x.to_le_bytes()),
            },
            Self::Float(x) if x.is_nan() => mix(f64::NAN.abs().to_bits()),
            // -0 is 0.
            Self::Float(x) => mix((x + 0.0).to_bits()),
            Self::Bytes(x) => key_hash(x),
        }
    }
}

impl Native {
    fn as_value(&self, pg_type: &PgType) -> Value<'_> {
        let layout = Layout::of(pg_type).expect("a stored column has a layout");
        match self {
            Self::Float(x) if layout == Layout::F32 => Value::F32(*x as f32),
            Self::Float(x) => Value::F64(*x),
            Self::Bytes(x) => match layout {
                Layout::Text => Value::Text(x),
                Layout::Uuid => Value::Uuid(x),
                _ => Value::Bytes(x),
            },
            // They came from such values.
            Self::Int(x) => match layout {
                Layout::Bool => Value::Bool(*x != 0),
                Layout::I16 => Value::I16(*x as i16),
                Layout::I32 => Value::I32(*x as i32),
                Layout::U32 => Value::U32(*x as u32),
                Layout::D128 => Value::D128(*x),
                _ => Value::I64(*x as i64),
            },
        }
    }
}

/// The order of SQL: NaN is after all numbers, and equal to itself.
fn float_order(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// A hash of 64 bits by one value (the finalizer of SplitMix64).
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
