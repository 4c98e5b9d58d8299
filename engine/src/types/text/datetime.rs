//! Dates and times as text.
//!
//! Days and microseconds count from 1970-01-01, as in Arrow. The extreme values of the integer are
//! `infinity` and `-infinity`.

use super::FormatSettings;
use crate::{
    error::{SqlError, sqlstate},
    types::timetz::TimeWithZone,
};

mod fields;
mod number;
mod tokens;
mod write;

use fields::{Moment, Named, Zone};
pub(super) use write::{
    push_padded, write_clock, write_date, write_time, write_timestamp, write_timestamptz,
    write_timetz,
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

pub(in crate::types) const US_PER_SECOND: i64 = 1_000_000;
pub(super) const US_PER_DAY: i64 = 86_400 * US_PER_SECOND;
/// First and last day PostgreSQL's `date` reaches: 4714-11-24 BC and the end of 5874897.
const DATE_MIN: i64 = -2_440_588;
const DATE_MAX: i64 = 2_145_042_905;
/// The same for timestamps; what is beyond the µs since 1970 is refused.
const TIMESTAMP_MIN: i128 = DATE_MIN as i128 * US_PER_DAY as i128;

/// Why a text is no date or time.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Wrong {
    Syntax,
    Range,
    /// Out of range, perhaps because day and month are in another order.
    Order,
    /// A zone too far from Greenwich.
    ZoneRange,
    /// No zone has this name.
    Zone(String),
    /// It counts from now, which is not known here.
    Relative,
    /// There is such a moment, but not in the type.
    Beyond,
}

/// Days since 1970-01-01 of a day of the proleptic Gregorian calendar (Howard Hinnant,
/// "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`). Year 0 is 1 BC.
#[must_use]
pub fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
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
pub fn civil_from_days(days: i64) -> (i64, u32, u32) {
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

/// Of the proleptic Gregorian calendar.
#[must_use]
pub fn days_in_month(year: i64, month: u32) -> u32 {
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
    let days = |named| match named {
        Named::Late => Ok(i32::MAX),
        Named::Early => Ok(i32::MIN),
        Named::Epoch => Ok(0),
        Named::Moment(moment) => {
            let days = moment.days.ok_or(Wrong::Syntax)?;
            if (DATE_MIN..=DATE_MAX).contains(&days) { Ok(days as i32) } else { Err(Wrong::Beyond) }
        }
    };
    fields::read(text, settings, false).and_then(days).map_err(|wrong| error(wrong, "date", text))
}

/// Microseconds since midnight; 24:00:00 is allowed. A zone in the text is ignored.
///
/// # Errors
/// 22007, 22008.
pub fn parse_time(text: &str, settings: &FormatSettings) -> Result<i64, SqlError> {
    let read = fields::read(text, settings, true).and_then(|named| match named {
        Named::Moment(moment) => Ok((moment.time_us, time_zone_of(&moment, settings)?)),
        _ => Err(Wrong::Syntax),
    });
    // A zone counts for nothing, but must be one.
    match read {
        Ok((us, _)) => Ok(us),
        Err(wrong) => Err(error(wrong, "time", text)),
    }
}

/// A time of the day and its zone; without one in the text, the session's today.
///
/// # Errors
/// 22007, 22008.
pub fn parse_timetz(text: &str, settings: &FormatSettings) -> Result<TimeWithZone, SqlError> {
    let time = |named| match named {
        Named::Moment(moment) => {
            let east = match time_zone_of(&moment, settings)? {
                Some(east) => east,
                None => {
                    let local = match moment.days {
                        Some(days) => days * US_PER_DAY,
                        None => today(settings)?,
                    };
                    settings.time_zone.offset_at_local_us(local + moment.time_us)
                }
            };
            Ok(TimeWithZone { us: moment.time_us, east })
        }
        _ => Err(Wrong::Syntax),
    };
    fields::read(text, settings, true)
        .and_then(time)
        .map_err(|wrong| error(wrong, "time with time zone", text))
}

/// The offset that the text of a time names, in seconds east; None if it names none.
fn time_zone_of(moment: &Moment, settings: &FormatSettings) -> Result<Option<i32>, Wrong> {
    let Some(zone) = &moment.zone else { return Ok(None) };
    if let Some(east) = zone.constant_offset() {
        return Ok(Some(east));
    }
    let midnight = match (moment.days, zone) {
        (Some(days), _) => days * US_PER_DAY,
        (None, Zone::Abbreviation(..)) => today(settings)?,
        // Its offset depends on the date.
        (None, _) => return Err(Wrong::Syntax),
    };
    Ok(Some(zone.offset_at_local(midnight + moment.time_us)))
}

/// The start of the session's day, in microseconds since 1970-01-01 local.
fn today(settings: &FormatSettings) -> Result<i64, Wrong> {
    if settings.time_zone.constant_offset().is_some() {
        return Ok(0);
    }
    let now = settings.now_us.ok_or(Wrong::Relative)?;
    let local = now + i64::from(settings.time_zone.offset_at_instant_us(now)) * US_PER_SECOND;
    Ok(local.div_euclid(US_PER_DAY) * US_PER_DAY)
}

/// Microseconds since 1970-01-01 00:00; a zone in the text is ignored.
///
/// # Errors
/// 22007, 22008.
pub fn parse_timestamp(text: &str, settings: &FormatSettings) -> Result<i64, SqlError> {
    if let Some(us) = plain_moment(text.as_bytes()) {
        return Ok(us);
    }
    let us = |named| match named {
        Named::Late => Ok(i64::MAX),
        Named::Early => Ok(i64::MIN),
        Named::Epoch => Ok(0),
        Named::Moment(moment) => bounded(local(&moment)?),
    };
    fields::read(text, settings, false)
        .and_then(us)
        .map_err(|wrong| error(wrong, "timestamp", text))
}

/// Microseconds since 1970-01-01 00:00 UTC; without a zone in the text it is in the session's.
///
/// # Errors
/// 22007, 22008.
pub fn parse_timestamptz(text: &str, settings: &FormatSettings) -> Result<i64, SqlError> {
    let instant = |local: i128, east: i32| bounded(local - i128::from(east) * 1_000_000);
    let in_session = |us: i64| instant(us.into(), settings.time_zone.offset_at_local_us(us));
    let us = |named| match named {
        Named::Late => Ok(i64::MAX),
        Named::Early => Ok(i64::MIN),
        Named::Epoch => Ok(0),
        Named::Moment(moment) => {
            let local = local(&moment)?;
            let near = local.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
            match &moment.zone {
                Some(zone) => instant(local, zone.offset_at_local(near)),
                None => instant(local, settings.time_zone.offset_at_local_us(near)),
            }
        }
    };
    let read = match plain_moment(text.as_bytes()) {
        Some(us) => in_session(us),
        None => fields::read(text, settings, false).and_then(us),
    };
    read.map_err(|wrong| error(wrong, "timestamp with time zone", text))
}

/// Microseconds since 1970-01-01 local.
fn local(moment: &Moment) -> Result<i128, Wrong> {
    let days = moment.days.ok_or(Wrong::Syntax)?;
    Ok(i128::from(days) * i128::from(US_PER_DAY) + i128::from(moment.time_us))
}

/// A timestamp, if it can be kept: the two extreme values are the infinities.
fn bounded(us: i128) -> Result<i64, Wrong> {
    let kept = (TIMESTAMP_MIN..i128::from(i64::MAX)).contains(&us);
    if kept { Ok(us as i64) } else { Err(Wrong::Beyond) }
}

/// Seconds east of an offset such as `+05:30`, as literals write it. None for what is none.
///
/// # Errors
/// 22009 for one of 16 hours or more.
pub fn parse_zone_offset(text: &str) -> Result<Option<i32>, SqlError> {
    match number::zone(text) {
        Ok(east) => Ok(Some(east)),
        Err(Wrong::ZoneRange) => Err(error(Wrong::ZoneRange, "", text)),
        Err(_) => Ok(None),
    }
}

fn error(wrong: Wrong, type_name: &str, text: &str) -> SqlError {
    let overflow = |message| SqlError::new(sqlstate::DATETIME_FIELD_OVERFLOW, message);
    match wrong {
        Wrong::Syntax => SqlError::new(
            sqlstate::INVALID_DATETIME_FORMAT,
            format!("invalid input syntax for type {type_name}: \"{text}\""),
        ),
        Wrong::Range => overflow(format!("date/time field value out of range: \"{text}\"")),
        Wrong::Order => overflow(format!("date/time field value out of range: \"{text}\""))
            .hint("Perhaps you need a different \"datestyle\" setting."),
        Wrong::ZoneRange => SqlError::new(
            sqlstate::INVALID_TIME_ZONE_DISPLACEMENT_VALUE,
            format!("time zone displacement out of range: \"{text}\""),
        ),
        Wrong::Zone(name) => SqlError::new(
            sqlstate::INVALID_PARAMETER_VALUE,
            format!("time zone \"{name}\" not recognized"),
        ),
        Wrong::Beyond => {
            let type_name = if type_name == "date" { "date" } else { "timestamp" };
            overflow(format!("{type_name} out of range: \"{text}\""))
        }
        Wrong::Relative => {
            SqlError::not_supported(format!("date/time input \"{}\" here", text.trim()))
                .hint("Use now() or current_date.")
        }
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
