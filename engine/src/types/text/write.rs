//! Values of Arrow columns as text.

use arrow::{
    array::{Array, ArrayRef, AsArray},
    datatypes::{
        DataType, Date32Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
        Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
        IntervalMonthDayNanoType, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
        UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    },
};

use super::{ByteaOutput, FormatSettings, datetime, float, interval, numeric};
use crate::types::{
    PgType,
    jsonb::{self, Jsonb},
    timetz::TimeWithZone,
};

/// Writes one value; NULL writes nothing. For many rows, keep a [`TextEncoder`].
pub fn write_text(
    array: &ArrayRef,
    row: usize,
    pg_type: &PgType,
    settings: &FormatSettings,
    out: &mut Vec<u8>,
) {
    TextEncoder::new(array, pg_type, settings).write(row, out);
}

/// Writes the values of one column.
pub struct TextEncoder<'a> {
    array: &'a ArrayRef,
    pg_type: &'a PgType,
    settings: &'a FormatSettings,
    /// A column of another Arrow type than its `PgType` has, cast.
    cast: Option<ArrayRef>,
    /// Of a record.
    fields: Vec<TextEncoder<'a>>,
}

impl<'a> TextEncoder<'a> {
    #[must_use]
    pub fn new(array: &'a ArrayRef, pg_type: &'a PgType, settings: &'a FormatSettings) -> Self {
        let cast = needs_cast(array.data_type())
            .and_then(|to| arrow::compute::cast(array.as_ref(), &to).ok());
        let fields = match (pg_type, array.as_struct_opt()) {
            (PgType::Record(record), Some(rows)) => {
                let columns = rows.columns().iter().zip(&record.fields);
                columns.map(|(column, field)| Self::new(column, &field.ty, settings)).collect()
            }
            _ => Vec::new(),
        };
        Self { array, pg_type, settings, cast, fields }
    }

    /// Whether the value is NULL, for which [`write`](Self::write) writes nothing.
    #[must_use]
    pub fn is_null(&self, row: usize) -> bool {
        self.array.is_null(row)
    }

    /// Appends the text of the value in `row`.
    pub fn write(&self, row: usize, out: &mut Vec<u8>) {
        let array = self.cast.as_ref().unwrap_or(self.array);
        if array.is_null(row) {
            return;
        }
        match array.data_type() {
            DataType::Boolean => out.push(if array.as_boolean().value(row) { b't' } else { b'f' }),
            DataType::Int8 => {
                write_integer(i64::from(array.as_primitive::<Int8Type>().value(row)), out)
            }
            DataType::Int16 => {
                write_integer(i64::from(array.as_primitive::<Int16Type>().value(row)), out)
            }
            DataType::Int32 => {
                write_integer(i64::from(array.as_primitive::<Int32Type>().value(row)), out)
            }
            DataType::Int64 => write_integer(array.as_primitive::<Int64Type>().value(row), out),
            DataType::UInt8 => {
                write_integer(i64::from(array.as_primitive::<UInt8Type>().value(row)), out)
            }
            DataType::UInt16 => {
                write_integer(i64::from(array.as_primitive::<UInt16Type>().value(row)), out);
            }
            DataType::UInt32 if self.pg_type.is_object_name() => {
                let oid = array.as_primitive::<UInt32Type>().value(row);
                self.settings.names.write(self.pg_type, oid, out);
            }
            DataType::UInt32 => {
                write_integer(i64::from(array.as_primitive::<UInt32Type>().value(row)), out);
            }
            DataType::UInt64 => {
                let value = array.as_primitive::<UInt64Type>().value(row);
                numeric::write_decimal128(i128::from(value), 0, out);
            }
            DataType::Float32 => {
                let digits = self.settings.extra_float_digits;
                float::write_float4(array.as_primitive::<Float32Type>().value(row), digits, out);
            }
            DataType::Float64 => {
                let digits = self.settings.extra_float_digits;
                float::write_float8(array.as_primitive::<Float64Type>().value(row), digits, out);
            }
            DataType::Decimal32(_, scale) => {
                let value = array.as_primitive::<Decimal32Type>().value(row);
                numeric::write_decimal128(i128::from(value), *scale, out);
            }
            DataType::Decimal64(_, scale) => {
                let value = array.as_primitive::<Decimal64Type>().value(row);
                numeric::write_decimal128(i128::from(value), *scale, out);
            }
            DataType::Decimal128(_, scale) => {
                let value = array.as_primitive::<Decimal128Type>().value(row);
                numeric::write_decimal128(value, *scale, out);
            }
            DataType::Decimal256(_, scale) => {
                let value = array.as_primitive::<Decimal256Type>().value(row);
                numeric::write_decimal256(value, *scale, out);
            }
            DataType::Utf8View => self.string(array.as_string_view().value(row), out),
            DataType::Utf8 => self.string(array.as_string::<i32>().value(row), out),
            DataType::LargeUtf8 => self.string(array.as_string::<i64>().value(row), out),
            DataType::Binary if *self.pg_type == PgType::Jsonb => {
                jsonb::write(Jsonb::new(array.as_binary::<i32>().value(row)), out);
            }
            DataType::Binary => self.bytes(array.as_binary::<i32>().value(row), out),
            DataType::LargeBinary => self.bytes(array.as_binary::<i64>().value(row), out),
            DataType::BinaryView => self.bytes(array.as_binary_view().value(row), out),
            DataType::FixedSizeBinary(16) if *self.pg_type == PgType::Uuid => {
                uuid(array.as_fixed_size_binary().value(row), out);
            }
            DataType::FixedSizeBinary(16) if matches!(self.pg_type, PgType::Timetz(_)) => {
                let bytes = array.as_fixed_size_binary().value(row);
                datetime::write_timetz(TimeWithZone::from_bytes(bytes), out);
            }
            DataType::FixedSizeBinary(_) => {
                self.bytes(array.as_fixed_size_binary().value(row), out);
            }
            DataType::List(_) if self.pg_type.vector_item().is_some() => {
                self.vector(&array.as_list::<i32>().value(row), out);
            }
            DataType::List(_) => self.list(&array.as_list::<i32>().value(row), out),
            DataType::LargeList(_) => self.list(&array.as_list::<i64>().value(row), out),
            DataType::FixedSizeList(..) => {
                self.list(&array.as_fixed_size_list().value(row), out);
            }
            DataType::Struct(_) if matches!(self.pg_type, PgType::Record(_)) => {
                self.record(row, out);
            }
            other => self.moment(array, other, row, out),
        }
    }

    /// `(1,"a b",)`: the fields in parentheses, nothing for NULL.
    fn record(&self, row: usize, out: &mut Vec<u8>) {
        let mut text = Vec::new();
        out.push(b'(');
        for (n, field) in self.fields.iter().enumerate() {
            if n > 0 {
                out.push(b',');
            }
            if field.is_null(row) {
                continue;
            }
            text.clear();
            field.write(row, &mut text);
            write_field(&text, out);
        }
        out.push(b')');
    }

    fn moment(&self, array: &ArrayRef, data_type: &DataType, row: usize, out: &mut Vec<u8>) {
        let style = self.settings.date_style;
        match data_type {
            DataType::Date32 => {
                datetime::write_date(array.as_primitive::<Date32Type>().value(row), style, out);
            }
            DataType::Time64(TimeUnit::Microsecond) => {
                datetime::write_time(array.as_primitive::<Time64MicrosecondType>().value(row), out);
            }
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                let value = array.as_primitive::<TimestampMicrosecondType>().value(row);
                if zone.is_some() {
                    datetime::write_timestamptz(value, &self.settings.time_zone, style, out);
                } else {
                    datetime::write_timestamp(value, style, out);
                }
            }
            DataType::Interval(_) => {
                let value = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
                interval::write_interval(value, self.settings.interval_style, out);
            }
            // What no PgType maps to; only expressions of DataFusion's own bring it.
            _ => {
                let shown = arrow::util::display::array_value_to_string(array.as_ref(), row);
                out.extend_from_slice(shown.unwrap_or_default().as_bytes());
            }
        }
    }

    fn string(&self, value: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(value.as_bytes());
        // char(n) is kept without trailing blanks.
        if let PgType::Bpchar(Some(length)) = self.pg_type {
            let missing = (*length as usize).saturating_sub(value.chars().count());
            out.resize(out.len() + missing, b' ');
        }
    }

    fn bytes(&self, value: &[u8], out: &mut Vec<u8>) {
        match self.settings.bytea_output {
            ByteaOutput::Hex => {
                out.extend_from_slice(b"\\x");
                hex(value, out);
            }
            ByteaOutput::Escape => {
                for byte in value {
                    match byte {
                        b'\\' => out.extend_from_slice(b"\\\\"),
                        0x20..=0x7e => out.push(*byte),
                        _ => out.extend_from_slice(format!("\\{byte:03o}").as_bytes()),
                    }
                }
            }
        }
    }

    /// Items with blanks between them.
    fn vector(&self, values: &ArrayRef, out: &mut Vec<u8>) {
        let item = PgType::from_arrow(values.data_type());
        let encoder = TextEncoder::new(values, &item, self.settings);
        for row in 0..values.len() {
            if row > 0 {
                out.push(b' ');
            }
            encoder.write(row, out);
        }
    }

    fn list(&self, values: &ArrayRef, out: &mut Vec<u8>) {
        let element = match self.pg_type {
            PgType::Array(of) => of.as_ref().clone(),
            _ => PgType::from_arrow(values.data_type()),
        };
        let encoder = TextEncoder::new(values, &element, self.settings);
        let nested = matches!(element, PgType::Array(_));
        let mut text = Vec::new();
        out.push(b'{');
        for row in 0..values.len() {
            if row > 0 {
                out.push(b',');
            }
            if values.is_null(row) {
                out.extend_from_slice(b"NULL");
                continue;
            }
            text.clear();
            encoder.write(row, &mut text);
            if nested || !quotes_needed(&text) {
                out.extend_from_slice(&text);
                continue;
            }
            out.push(b'"');
            for byte in &text {
                if matches!(byte, b'"' | b'\\') {
                    out.push(b'\\');
                }
                out.push(*byte);
            }
            out.push(b'"');
        }
        out.push(b'}');
    }
}

fn quotes_needed(text: &[u8]) -> bool {
    text.is_empty()
        || text.eq_ignore_ascii_case(b"null")
        || text.iter().any(|b| {
            b.is_ascii_whitespace() || matches!(b, b'"' | b'\\' | b'{' | b'}' | b',' | 0x0b)
        })
}

/// The text of a field as it stands in the text of its record: in quotes where it has to be, with quotes
/// and backslashes twice.
fn write_field(text: &[u8], out: &mut Vec<u8>) {
    let special =
        |b: &u8| b.is_ascii_whitespace() || matches!(b, b'"' | b'\\' | b'(' | b')' | b',' | 0x0b);
    if !text.is_empty() && !text.iter().any(special) {
        return out.extend_from_slice(text);
    }
    out.push(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(*byte);
        }
        out.push(*byte);
    }
    out.push(b'"');
}

/// Arrow types that expressions may yield though no PgType lies so in memory.
fn needs_cast(data_type: &DataType) -> Option<DataType> {
    Some(match data_type {
        DataType::Dictionary(_, value) => value.as_ref().clone(),
        DataType::Date64 => DataType::Date32,
        DataType::Time32(_) | DataType::Time64(TimeUnit::Nanosecond) => {
            DataType::Time64(TimeUnit::Microsecond)
        }
        DataType::Timestamp(unit, zone) if *unit != TimeUnit::Microsecond => {
            DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
        }
        DataType::Float16 => DataType::Float32,
        DataType::Interval(unit) if *unit != arrow::datatypes::IntervalUnit::MonthDayNano => {
            DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano)
        }
        DataType::Duration(_) => DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano),
        _ => return None,
    })
}

const HEX: &[u8; 16] = b"0123456789abcdef";

fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len() * 2);
    for byte in bytes {
        out.push(HEX[usize::from(byte >> 4)]);
        out.push(HEX[usize::from(byte & 15)]);
    }
}

fn uuid(bytes: &[u8], out: &mut Vec<u8>) {
    for (at, part) in [&bytes[..4], &bytes[4..6], &bytes[6..8], &bytes[8..10], &bytes[10..]]
        .into_iter()
        .enumerate()
    {
        if at > 0 {
            out.push(b'-');
        }
        hex(part, out);
    }
}

/// A whole number in decimal digits.
pub fn write_integer(value: i64, out: &mut Vec<u8>) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        at -= 1;
        digits[at] = b'-';
    }
    out.extend_from_slice(&digits[at..]);
}
