//! Dates and times of jsonpath: what `.datetime()` makes of a string.

use std::{cmp::Ordering, fmt};

use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike};

use super::template;
use crate::{
    error::{SqlError, sqlstate},
    types::TimeZone,
};

/// Offsets are in seconds east of UTC.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Moment {
    Date(NaiveDate),
    Time(NaiveTime),
    TimeTz(NaiveTime, i32),
    Timestamp(NaiveDateTime),
    /// In UTC, and the offset it is shown with.
    TimestampTz(NaiveDateTime, i32),
}

/// Why two values have no order.
#[derive(Debug)]
pub(super) enum Uncomparable {
    Types,
    /// 0A000: one of them would have to be moved to a zone.
    NeedsZone(SqlError),
}

/// The formats that are tried without a template.
const FORMATS: [&str; 15] = [
    "yyyy-mm-dd",
    "HH24:MI:SS.USTZH:TZM",
    "HH24:MI:SS.USTZH",
    "HH24:MI:SS.US",
    "HH24:MI:SSTZH:TZM",
    "HH24:MI:SSTZH",
    "HH24:MI:SS",
    "yyyy-mm-dd HH24:MI:SS.USTZH:TZM",
    "yyyy-mm-dd HH24:MI:SS.USTZH",
    "yyyy-mm-dd HH24:MI:SS.US",
    "yyyy-mm-dd HH24:MI:SSTZH:TZM",
    "yyyy-mm-dd HH24:MI:SSTZH",
    "yyyy-mm-dd HH24:MI:SS",
    "yyyy-mm-dd\"T\"HH24:MI:SSTZH:TZM",
    "yyyy-mm-dd\"T\"HH24:MI:SS",
];

/// More of them, which PostgreSQL tries last.
const FORMATS_REST: [&str; 4] = [
    "yyyy-mm-dd\"T\"HH24:MI:SS.USTZH:TZM",
    "yyyy-mm-dd\"T\"HH24:MI:SS.USTZH",
    "yyyy-mm-dd\"T\"HH24:MI:SS.US",
    "yyyy-mm-dd\"T\"HH24:MI:SSTZH",
];

impl Moment {
    /// # Errors
    /// 22007 for a text that does not fit the template, 22008 for a date there is none of, 22031 for
    /// one that fits none of the formats of ISO 8601.
    pub(super) fn read(text: &str, template: Option<&str>) -> Result<Self, SqlError> {
        if let Some(template) = template {
            return template::read(text, template);
        }
        for format in FORMATS.iter().chain(&FORMATS_REST) {
            match template::read(text, format) {
                Err(error) if error.sqlstate != sqlstate::FEATURE_NOT_SUPPORTED => {}
                result => return result,
            }
        }
        let message = format!("datetime format is not recognized: \"{text}\"");
        Err(SqlError::new(sqlstate::INVALID_ARGUMENT_FOR_JSON_DATETIME, message)
            .hint("Use a datetime template argument to specify the input data format."))
    }

    /// As `.type()` calls it.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Date(_) => "date",
            Self::Time(_) => "time without time zone",
            Self::TimeTz(..) => "time with time zone",
            Self::Timestamp(_) => "timestamp without time zone",
            Self::TimestampTz(..) => "timestamp with time zone",
        }
    }

    fn short_name(&self) -> &'static str {
        match self {
            Self::Date(_) => "date",
            Self::Time(_) => "time",
            Self::TimeTz(..) => "timetz",
            Self::Timestamp(_) => "timestamp",
            Self::TimestampTz(..) => "timestamptz",
        }
    }

    fn is_date(&self) -> bool {
        !matches!(self, Self::Time(_) | Self::TimeTz(..))
    }

    /// The local time of a date or timestamp.
    fn local(&self) -> NaiveDateTime {
        match self {
            Self::Date(date) => date.and_time(NaiveTime::MIN),
            Self::Timestamp(at) | Self::TimestampTz(at, _) => *at,
            Self::Time(_) | Self::TimeTz(..) => NaiveDateTime::default(),
        }
    }

    pub(super) fn compare(
        &self,
        other: &Self,
        zone: Option<TimeZone>,
    ) -> Result<Ordering, Uncomparable> {
        use Moment::{Time, TimeTz, TimestampTz};
        if self.is_date() != other.is_date() {
            return Err(Uncomparable::Types);
        }
        let zone_of = |from: &Self, to: &Self| {
            zone.ok_or_else(|| {
                let message = format!(
                    "cannot convert value from {} to {} without time zone usage",
                    from.short_name(),
                    to.short_name()
                );
                Uncomparable::NeedsZone(
                    SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message)
                        .hint("Use *_tz() function for time zone support."),
                )
            })
        };
        match (self, other) {
            (Time(a), Time(b)) => Ok(a.cmp(b)),
            (TimeTz(a, x), TimeTz(b, y)) => Ok(compare_times((*a, *x), (*b, *y))),
            (Time(a), TimeTz(b, y)) => {
                let x = now_offset(&zone_of(self, other)?);
                Ok(compare_times((*a, x), (*b, *y)))
            }
            (TimeTz(..), Time(_)) => other.compare(self, zone).map(Ordering::reverse),
            (TimestampTz(a, _), TimestampTz(b, _)) => Ok(a.cmp(b)),
            (TimestampTz(..), _) => other.compare(self, zone).map(Ordering::reverse),
            (_, TimestampTz(b, _)) => {
                let zone = zone_of(self, other)?;
                let local = self.local();
                let offset = TimeDelta::seconds(i64::from(
                    zone.offset_at_local_us(local.and_utc().timestamp_micros()),
                ));
                Ok((local - offset).cmp(b))
            }
            _ => Ok(self.local().cmp(&other.local())),
        }
    }
}

/// The offset of a zone that a time of no day is taken to be in.
fn now_offset(zone: &TimeZone) -> i32 {
    zone.offset_at_instant_us(0)
}

/// By the instant, then by the zone, the western one first.
fn compare_times(a: (NaiveTime, i32), b: (NaiveTime, i32)) -> Ordering {
    let instant = |(time, offset): (NaiveTime, i32)| {
        let seconds = i64::from(time.num_seconds_from_midnight()) - i64::from(offset);
        (seconds, time.nanosecond())
    };
    instant(a).cmp(&instant(b)).then((-a.1).cmp(&-b.1))
}

fn write_date(date: NaiveDate, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let year = date.year();
    let shown = if year > 0 { year } else { 1 - year };
    write!(f, "{shown:04}-{:02}-{:02}", date.month(), date.day())
}

fn write_time(time: NaiveTime, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second())?;
    let us = time.nanosecond() / 1_000;
    if us > 0 {
        let digits = format!("{us:06}");
        write!(f, ".{}", digits.trim_end_matches('0'))?;
    }
    Ok(())
}

fn write_offset(offset: i32, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let sign = if offset < 0 { '-' } else { '+' };
    let minutes = offset.abs() / 60;
    write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let era = |date: NaiveDate| if date.year() > 0 { "" } else { " BC" };
        match self {
            Self::Date(date) => {
                write_date(*date, f)?;
                f.write_str(era(*date))
            }
            Self::Time(time) => write_time(*time, f),
            Self::TimeTz(time, offset) => {
                write_time(*time, f)?;
                write_offset(*offset, f)
            }
            Self::Timestamp(at) => {
                write_date(at.date(), f)?;
                f.write_str("T")?;
                write_time(at.time(), f)?;
                f.write_str(era(at.date()))
            }
            Self::TimestampTz(utc, offset) => {
                let at = *utc + TimeDelta::seconds(i64::from(*offset));
                write_date(at.date(), f)?;
                f.write_str("T")?;
                write_time(at.time(), f)?;
                write_offset(*offset, f)?;
                f.write_str(era(at.date()))
            }
        }
    }
}
