//! Values as text, exactly as PostgreSQL prints and reads them: the wire's text format, COPY, casts
//! between text and other types.

mod array;
mod datetime;
mod float;
mod interval;
mod length;
mod names;
mod numeric;
mod parse;
mod write;
mod zone_offset;

pub use array::array_elements;
pub use datetime::{
    DAYS, DateOrder, MONTHS, parse_date, parse_time, parse_timestamp, parse_timestamptz,
};
pub use float::{write_float4, write_float8};
pub use interval::{IntervalFields, parse_interval, write_interval};
pub use length::fit;
pub use names::{Names, ObjectNames};
pub use numeric::{
    canonical_numeric, fit_numeric, infinite_overflow, nan_in_decimal,
    overflow as numeric_overflow, parse_decimal, write_decimal128, write_decimal256,
};
pub use parse::{ColumnBuilder, boolean as parse_boolean, parse_text};
pub use write::{TextEncoder, write_integer, write_text};

use crate::types::{TimeZone, encoding::Encoding};

/// What the text of a value depends on beside its type: settings of the session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FormatSettings {
    pub time_zone: TimeZone,
    pub date_style: DateStyle,
    pub interval_style: IntervalStyle,
    /// Positive: shortest text that reads back as the same number; else that many digits fewer.
    pub extra_float_digits: i32,
    pub bytea_output: ByteaOutput,
    /// What `regclass` and kin are called; a session's settings have none.
    pub names: Names,
    /// Of the text that comes from the client and goes there; what stays here is UTF-8.
    pub encoding: Encoding,
}

impl FormatSettings {
    /// The same with names.
    #[must_use]
    pub fn with_names(&self, names: Names) -> Self {
        Self { names, ..self.clone() }
    }
}

impl Default for FormatSettings {
    fn default() -> Self {
        Self {
            time_zone: TimeZone::UTC,
            date_style: DateStyle { format: DateFormat::Iso, order: DateOrder::Mdy },
            interval_style: IntervalStyle::Postgres,
            extra_float_digits: 1,
            bytea_output: ByteaOutput::Hex,
            names: Names::default(),
            encoding: Encoding::Utf8,
        }
    }
}

/// The setting `DateStyle`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DateStyle {
    pub format: DateFormat,
    /// Order of day, month and year in ambiguous input, and in output that is not ISO.
    pub order: DateOrder,
}

/// How dates and times are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DateFormat {
    /// `1997-12-17 07:37:16-08`
    Iso,
    /// `12/17/1997 07:37:16.00 PST`
    Sql,
    /// `Wed Dec 17 07:37:16 1997 PST`
    Postgres,
    /// `17.12.1997 07:37:16.00 PST`
    German,
}

/// The setting `IntervalStyle`: how intervals are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IntervalStyle {
    /// `1 year 2 mons 3 days 04:05:06`
    Postgres,
    /// `@ 1 year 2 mons 3 days 4 hours 5 mins 6 secs`
    PostgresVerbose,
    /// `+1-2 +3 +4:05:06`; a sign before the first number of an input counts for all of it.
    SqlStandard,
    /// `P1Y2M3DT4H5M6S`
    Iso8601,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ByteaOutput {
    Hex,
    Escape,
}
