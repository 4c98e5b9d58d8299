//! Dates and times as text.
//!
//! Days and microseconds count from 1970-01-01, as in Arrow. The extreme values of the integer are
//! `infinity` and `-infinity`.

use super::{FormatSettings, zone_offset};
use crate::{
    error::{SqlError, sqlstate},
    types::TimeZone,
};

mod fields;
mod write;

use fields::Fields;
pub(super) use write::{
    push_padded, write_clock, write_date, write_time, write_timestamp, write_timestamptz,
};

/// Order of day, month and year in input that does not tell by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DateOrder {
    Mdy,
    Dmy,
    Ymd,
}

/// Names of months, January first. Input may shorten them to three letters and ignores case.
pub const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// Names of days, Sunday first; the same holds for them.
pub const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

pub(super) const US_PER_SECOND: i64 = 1_000_000;
pub(super) const US_PER_DAY: i64 = 86_400 * US_PER_SECOND;
/// First and last day PostgreSQL's `date` reaches: 4714-11-24 BC and the end of 5874897.
const DATE_MIN: i64 = -2_440_588;
const DATE_MAX: i64 = 2_145_042_905;
/// The same for timestamps; what is beyond the µs since 1970 is refused.
const TIMESTAMP_MIN: i128 = DATE_MIN as i128 * US_PER_DAY as i128;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wrong {
    Syntax,
    Range,
}

/// Days since 1970-01-01 of a day of the proleptic Gregorian calendar (Howard Hinnant,
/// "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`). Year 0 is 1 BC.
#[must_use]
pub(super) fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let year_of_era = y.rem_euclid(400);
    let month_from_march = i64::from((month + 9) % 12);
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day: the inverse of [`days_from_civil`].
#[must_use]
pub(super) fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = (doy - (153 * mp + 2) / 5 + 1) as u32;
    let month = if mp < 10 { mp + 3 } else { mp - 9 } as u32;
    (yoe + era * 400 + i64::from(month <= 2), month, day)
}

pub(super) fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970-01-01.
///
/// # Errors
/// 22007 for what is no date, 22008 for one that does not exist or cannot be kept.
pub fn parse_date(text: &str, settings: &FormatSettings) -> Result<i32, SqlError> {
    if let Some(days) = plain_date(text.as_bytes()) {
        return Ok(days as i32);
    }
    match special(text) {
        Some(Special::Infinity) => return Ok(i32::MAX),
        Some(Special::MinusInfinity) => return Ok(i32::MIN),
        Some(Special::Epoch) => return Ok(0),
        Some(Special::Relative) => return Err(relative(text)),
        None => {}
    }
    Fields::parse(text, settings.date_style.order)
        .and_then(|fields| fields.days().ok_or(Wrong::Syntax))
        .and_then(|days| {
            if (DATE_MIN..=DATE_MAX).contains(&days) { Ok(days as i32) } else { Err(Wrong::Range) }
        })
        .map_err(|wrong| error(wrong, "date", text))
}

/// Microseconds since midnight; 24:00:00 is allowed.
///
/// # Errors
/// 22007, 22008.
pub fn parse_time(text: &str, settings: &FormatSettings) -> Result<i64, SqlError> {
    if text.trim().eq_ignore_ascii_case("allballs") {
        return Ok(0);
    }
    Fields::parse(text, settings.date_style.order)
        .and_then(|fields| fields.time_us.ok_or(Wrong::Syntax))
        .map_err(|wrong| error(wrong, "time", text))
}

/// Microseconds since 1970-01-01 00:00; a zone in the text is ignored.
///
/// # Errors
/// 22007, 22008.
pub fn parse_timestamp(text: &str, settings: &FormatSettings) -> Result<i64, SqlError> {
    moment(text, settings, "timestamp").map(|moment| match moment {
        Moment::Special(us) => us,
        Moment::Local(us, _) => us,
    })
}

/// Microseconds since 1970-01-01 00:00 UTC; without a zone in the text it is in the session's.
///
/// # Errors
/// 22007, 22008.
pub fn parse_timestamptz(text: &str, settings: &FormatSettings) -> Result<i64, SqlError> {
    let (local, zone) = match moment(text, settings, "timestamp with time zone")? {
        Moment::Special(us) => return Ok(us),
        Moment::Local(local, zone) => (local, zone),
    };
    let offset = zone_offset::at_local(&zone.unwrap_or(settings.time_zone), local);
    local
        .checked_sub(i64::from(offset) * US_PER_SECOND)
        .ok_or_else(|| error(Wrong::Range, "timestamp with time zone", text))
}

enum Moment {
    /// Of every zone.
    Special(i64),
    Local(i64, Option<TimeZone>),
}

fn moment(text: &str, settings: &FormatSettings, type_name: &str) -> Result<Moment, SqlError> {
    if let Some(us) = plain_moment(text.as_bytes()) {
        return Ok(Moment::Local(us, None));
    }
    match special(text) {
        Some(Special::Infinity) => return Ok(Moment::Special(i64::MAX)),
        Some(Special::MinusInfinity) => return Ok(Moment::Special(i64::MIN)),
        Some(Special::Epoch) => return Ok(Moment::Special(0)),
        Some(Special::Relative) => return Err(relative(text)),
        None => {}
    }
    Fields::parse(text, settings.date_style.order)
        .and_then(|fields| {
            let days = fields.days().ok_or(Wrong::Syntax)?;
            let us =
                i128::from(days) * i128::from(US_PER_DAY) + i128::from(fields.time_us.unwrap_or(0));
            // The two extreme values are the infinities.
            if us < TIMESTAMP_MIN || us >= i128::from(i64::MAX) {
                return Err(Wrong::Range);
            }
            Ok(Moment::Local(us as i64, fields.zone))
        })
        .map_err(|wrong| error(wrong, type_name, text))
}

enum Special {
    Infinity,
    MinusInfinity,
    Epoch,
    Relative,
}

fn special(text: &str) -> Option<Special> {
    let text = text.trim();
    if !text.as_bytes().last()?.is_ascii_alphabetic() {
        return None;
    }
    Some(match text.to_ascii_lowercase().as_str() {
        "infinity" | "+infinity" | "inf" => Special::Infinity,
        "-infinity" | "-inf" => Special::MinusInfinity,
        "epoch" => Special::Epoch,
        "now" | "today" | "tomorrow" | "yesterday" => Special::Relative,
        _ => return None,
    })
}

fn relative(text: &str) -> SqlError {
    SqlError::not_supported(format!("date/time input \"{}\"", text.trim()))
        .hint("Use now() or current_date.")
}

fn error(wrong: Wrong, type_name: &str, text: &str) -> SqlError {
    match wrong {
        Wrong::Syntax => SqlError::new(
            sqlstate::INVALID_DATETIME_FORMAT,
            format!("invalid input syntax for type {type_name}: \"{text}\""),
        ),
        Wrong::Range => SqlError::new(
            sqlstate::DATETIME_FIELD_OVERFLOW,
            format!("date/time field value out of range: \"{text}\""),
        ),
    }
}

fn two(bytes: &[u8]) -> Option<u32> {
    match bytes {
        [a @ b'0'..=b'9', b @ b'0'..=b'9'] => Some(u32::from(a - b'0') * 10 + u32::from(b - b'0')),
        _ => None,
    }
}

/// The common `YYYY-MM-DD` at once.
fn plain_date(bytes: &[u8]) -> Option<i64> {
    let [a, b, c, d, b'-', e, f, b'-', g, h] = *bytes else { return None };
    let year = two(&[a, b])? * 100 + two(&[c, d])?;
    let (month, day) = (two(&[e, f])?, two(&[g, h])?);
    let year = i64::from(year);
    if year == 0 || !(1..=12).contains(&month) || day == 0 || day > days_in_month(year, month) {
        return None;
    }
    Some(days_from_civil(year, month, day))
}

/// The common `YYYY-MM-DD HH:MM:SS[.ffffff]` at once.
fn plain_moment(bytes: &[u8]) -> Option<i64> {
    let days = plain_date(bytes.get(..10)?)?;
    let clock = &bytes[10..];
    let [b' ' | b'T', a, b, b':', c, d, b':', e, f, ..] = *clock else { return None };
    let (hours, minutes, seconds) = (two(&[a, b])?, two(&[c, d])?, two(&[e, f])?);
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    let mut us = i64::from(hours * 3600 + minutes * 60 + seconds) * US_PER_SECOND;
    if let [b'.', fraction @ ..] = &clock[9..] {
        if fraction.is_empty() || fraction.len() > 6 {
            return None;
        }
        let mut unit = US_PER_SECOND / 10;
        for digit in fraction {
            if !digit.is_ascii_digit() {
                return None;
            }
            us += i64::from(digit - b'0') * unit;
            unit /= 10;
        }
    } else if clock.len() > 9 {
        return None;
    }
    Some(days * US_PER_DAY + us)
}

#[cfg(test)]
mod tests;
