//! Values as text, exactly as PostgreSQL prints and reads them: the wire's text format, COPY, casts
//! between text and other types.

mod array;
mod datetime;
mod float;
mod interval;
mod length;
mod numeric;
mod parse;
mod write;
mod zone_offset;

pub use array::array_elements;
pub use datetime::{
    DAYS, DateOrder, MONTHS, parse_date, parse_time, parse_timestamp, parse_timestamptz,
};
pub use float::{write_float4, write_float8};
pub use interval::{parse_interval, write_interval};
pub use length::fit;
pub use numeric::{
    canonical_numeric, overflow as numeric_overflow, parse_decimal, write_decimal128,
    write_decimal256,
};
pub use parse::{ColumnBuilder, boolean as parse_boolean, parse_text};
pub use write::{TextEncoder, write_integer, write_text};

use crate::types::TimeZone;

/// What the text of a value depends on beside its type: settings of the session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FormatSettings {
    pub time_zone: TimeZone,
    /// Order of day, month and year in ambiguous input. Output is always ISO.
    pub date_order: DateOrder,
    /// Positive: shortest text that reads back as the same number; else that many digits fewer.
    pub extra_float_digits: i32,
    pub bytea_output: ByteaOutput,
}

impl Default for FormatSettings {
    fn default() -> Self {
        Self {
            time_zone: TimeZone::UTC,
            date_order: DateOrder::Mdy,
            extra_float_digits: 1,
            bytea_output: ByteaOutput::Hex,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ByteaOutput {
    Hex,
    Escape,
}
