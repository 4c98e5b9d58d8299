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
mod record;
mod write;

pub use array::array_elements;
pub use datetime::{
    DAYS, DateOrder, MONTHS, civil_from_days, days_from_civil, days_in_month, parse_date,
    parse_time, parse_timestamp, parse_timestamptz, parse_timetz, parse_zone_offset,
};
pub use float::{write_float4, write_float8};
pub use interval::{IntervalFields, parse_interval, write_interval};
pub use length::{char_byte, char_of_byte, fit};
pub use names::{Names, ObjectNames};
pub use numeric::{
    canonical_numeric, fit_numeric, infinite_overflow, nan_in_decimal,
    overflow as numeric_overflow, parse_decimal, write_decimal128, write_decimal256,
};
pub use parse::{ColumnBuilder, boolean as parse_boolean, parse_text};
pub use record::record_fields;
pub use write::{TextEncoder, write_integer, write_text};

use crate::types::{TimeZone, encoding::Encoding};

/// What the text of a value depends on beside its type: settings of the session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FormatSettings {
    pub time_zone: TimeZone,
    pub date_style: DateStyle,
    pub interval_style: IntervalStyle,
    /// What `now` and `today` mean in a literal, in microseconds since 1970; None where they are
    /// refused.
    pub now_us: Option<i64>,
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
            now_us: None,
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

/// Microseconds rounded to `digits` after the point of the seconds, half away from zero; None if
/// they become too many.
#[must_use]
pub fn round_us(us: i64, digits: u8) -> Option<i64> {
    let unit = 10_i64.pow(6_u32.saturating_sub(u32::from(digits)));
    let half = if us < 0 { -(unit / 2) } else { unit / 2 };
    let us = us.checked_add(half)?;
    Some(us - us % unit)
}

/// A timestamp in microseconds since 1970, rounded like [`round_us`]. Halves go away from
/// 2000-01-01, where PostgreSQL counts from. The infinities stay.
#[must_use]
pub fn round_timestamp(us: i64, digits: u8) -> i64 {
    const EPOCH_US: i64 = 946_684_800_000_000;
    let rounded = || round_us(us.checked_sub(EPOCH_US)?, digits)?.checked_add(EPOCH_US);
    if us == i64::MAX || us == i64::MIN { us } else { rounded().unwrap_or(us) }
}

/// What `timeofday()` says at an instant in microseconds since 1970:
/// `Sun Nov 22 17:29:24.123456 2026 UTC`.
#[must_use]
pub fn time_of_day(us: i64, zone: &TimeZone) -> String {
    let local = us.saturating_add(i64::from(zone.offset_at_instant_us(us)) * 1_000_000);
    let days = local.div_euclid(datetime::US_PER_DAY);
    let (year, month, day) = civil_from_days(days);
    let weekday = &DAYS[(days + 4).rem_euclid(7) as usize][..3];
    let month = &MONTHS[month as usize - 1][..3];
    let second = local.rem_euclid(datetime::US_PER_DAY) / 1_000_000;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let fraction = local.rem_euclid(1_000_000);
    let zone = zone.abbreviation_at_instant_us(us).unwrap_or_default();
    format!(
        "{weekday} {month} {day:02} {hour:02}:{minute:02}:{second:02}.{fraction:06} {year} {zone}"
    )
}
