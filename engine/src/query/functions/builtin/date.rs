//! Functions over dates, times and intervals.

use arrow::datatypes::IntervalMonthDayNano;
use chrono::{Datelike, NaiveDate, NaiveDateTime, Timelike};

use super::{
    Builtin, Out, Session,
    Type::{Bool, Date, Float8, Interval, Numeric, Text, Time, Timestamp, Timestamptz},
    Value, builtin,
};
use crate::{
    error::{SqlError, sqlstate},
    query::functions::{
        datetime::{self, DAY_US, naive},
        decimal::Decimal,
        to_char,
    },
};

pub(super) static TABLE: &[Builtin] = &[
    builtin("extract", &[Text, Date], Numeric, |a, _| extract(&a[0], &Moment::date(&a[1])?, false)),
    builtin("extract", &[Text, Timestamp], Numeric, |a, _| {
        extract(&a[0], &Moment::timestamp(&a[1])?, false)
    }),
    builtin("extract", &[Text, Timestamptz], Numeric, |a, s| {
        extract(&a[0], &Moment::timestamptz(&a[1], s)?, false)
    }),
    builtin("extract", &[Text, Time], Numeric, |a, _| extract_time(&a[0], &a[1], false)),
    builtin("extract", &[Text, Interval], Numeric, |a, _| extract_interval(&a[0], &a[1], false)),
    builtin("date_part", &[Text, Timestamp], Float8, |a, _| {
        extract(&a[0], &Moment::timestamp(&a[1])?, true)
    }),
    builtin("date_part", &[Text, Date], Float8, |a, _| extract(&a[0], &Moment::date(&a[1])?, true)),
    builtin("date_part", &[Text, Timestamptz], Float8, |a, s| {
        extract(&a[0], &Moment::timestamptz(&a[1], s)?, true)
    }),
    builtin("date_part", &[Text, Time], Float8, |a, _| extract_time(&a[0], &a[1], true)),
    builtin("date_part", &[Text, Interval], Float8, |a, _| extract_interval(&a[0], &a[1], true)),
    builtin("date_trunc", &[Text, Timestamp], Timestamp, |a, _| {
        let us = timestamp(&a[1]);
        if datetime::is_infinite(us) {
            return Ok(Out::Timestamp(us));
        }
        Ok(Out::Timestamp(truncate(a[0].text(), us)?))
    }),
    builtin("date_trunc", &[Text, Timestamptz], Timestamptz, |a, s| {
        if datetime::is_infinite(timestamp(&a[1])) {
            return Ok(Out::Timestamp(timestamp(&a[1])));
        }
        let local = datetime::to_local(timestamp(&a[1]), s.time_zone)?;
        let truncated = truncate(a[0].text(), local)?;
        Ok(Out::Timestamp(datetime::from_local(truncated, s.time_zone)?))
    }),
    builtin("date_trunc", &[Text, Interval], Interval, |a, _| truncate_interval(&a[0], &a[1])),
    builtin("to_timestamp", &[Float8], Timestamptz, |a, _| {
        match a[0].float() {
            f64::INFINITY => return Ok(Out::Timestamp(i64::MAX)),
            f64::NEG_INFINITY => return Ok(Out::Timestamp(i64::MIN)),
            value if value.is_nan() => {
                return Err(SqlError::new(
                    sqlstate::DATETIME_FIELD_OVERFLOW,
                    "timestamp cannot be NaN",
                ));
            }
            _ => {}
        }
        let us = (a[0].float() * 1e6).round_ties_even();
        if !us.is_finite() || us.abs() > 8.0e18 {
            return Err(SqlError::new(
                sqlstate::DATETIME_FIELD_OVERFLOW,
                format!("timestamp out of range: \"{}\"", a[0].float()),
            ));
        }
        Ok(Out::Timestamp(us as i64))
    }),
    builtin("age", &[Timestamp, Timestamp], Interval, |a, _| {
        age(timestamp(&a[0]), timestamp(&a[1]))
    }),
    builtin("age", &[Timestamptz, Timestamptz], Interval, |a, s| {
        age(
            datetime::to_local(timestamp(&a[0]), s.time_zone)?,
            datetime::to_local(timestamp(&a[1]), s.time_zone)?,
        )
    }),
    builtin("to_char", &[Timestamp, Text], Text, |a, _| {
        if datetime::is_infinite(timestamp(&a[0])) {
            return Ok(Out::Null);
        }
        to_char::timestamp(&naive(timestamp(&a[0]))?, a[1].text()).map(Out::Text)
    }),
    builtin("to_char", &[Timestamptz, Text], Text, |a, s| {
        if datetime::is_infinite(timestamp(&a[0])) {
            return Ok(Out::Null);
        }
        let local = datetime::to_local(timestamp(&a[0]), s.time_zone)?;
        to_char::timestamp(&naive(local)?, a[1].text()).map(Out::Text)
    }),
    builtin("isfinite", &[Date], Bool, |a, _| {
        Ok(Out::Bool(!matches!(a[0], Value::Date(i32::MAX | i32::MIN))))
    }),
    builtin("isfinite", &[Timestamp], Bool, |a, _| {
        Ok(Out::Bool(!datetime::is_infinite(timestamp(&a[0]))))
    }),
    builtin("isfinite", &[Timestamptz], Bool, |a, _| {
        Ok(Out::Bool(!datetime::is_infinite(timestamp(&a[0]))))
    }),
    builtin("isfinite", &[Interval], Bool, |_, _| Ok(Out::Bool(true))),
];

pub(super) fn timestamp(value: &Value<'_>) -> i64 {
    match value {
        Value::Timestamp(us) => *us,
        _ => 0,
    }
}

pub(super) fn interval(value: &Value<'_>) -> IntervalMonthDayNano {
    match value {
        Value::Interval(interval) => *interval,
        _ => IntervalMonthDayNano::new(0, 0, 0),
    }
}

/// What `extract` looks at.
struct Moment {
    local: NaiveDateTime,
    /// Microseconds since 1970 UTC.
    epoch_us: i64,
    /// Seconds east of UTC, for `timestamptz`.
    offset: Option<i32>,
    type_name: &'static str,
    is_date: bool,
    /// Infinite; the rest means nothing then. Whether it is the later infinity.
    infinite: Option<bool>,
}

impl Moment {
    fn infinite(later: bool, offset: Option<i32>, type_name: &'static str, is_date: bool) -> Self {
        let local = NaiveDateTime::default();
        Self { local, epoch_us: 0, offset, type_name, is_date, infinite: Some(later) }
    }

    fn date(value: &Value<'_>) -> Result<Self, SqlError> {
        let days = match value {
            Value::Date(days) => *days,
            _ => 0,
        };
        if matches!(days, i32::MAX | i32::MIN) {
            return Ok(Self::infinite(days > 0, None, "date", true));
        }
        let us = i64::from(days).saturating_mul(DAY_US);
        let local = naive(us)?;
        let type_name = "date";
        Ok(Self { local, epoch_us: us, offset: None, type_name, is_date: true, infinite: None })
    }

    fn timestamp(value: &Value<'_>) -> Result<Self, SqlError> {
        let us = timestamp(value);
        let type_name = "timestamp without time zone";
        if datetime::is_infinite(us) {
            return Ok(Self::infinite(us > 0, None, type_name, false));
        }
        let local = naive(us)?;
        Ok(Self { local, epoch_us: us, offset: None, type_name, is_date: false, infinite: None })
    }

    fn timestamptz(value: &Value<'_>, session: &Session<'_>) -> Result<Self, SqlError> {
        let us = timestamp(value);
        if datetime::is_infinite(us) {
            return Ok(Self::infinite(us > 0, Some(0), "timestamp with time zone", false));
        }
        let utc = naive(us)?;
        let local = naive(datetime::to_local(us, session.time_zone)?)?;
        Ok(Self {
            local,
            epoch_us: us,
            offset: Some(session.time_zone.offset_at_utc(&utc)),
            type_name: "timestamp with time zone",
            is_date: false,
            infinite: None,
        })
    }
}

/// A result as numeric, or as double for `date_part`.
fn result(value: Decimal, float: bool) -> Result<Out, SqlError> {
    Ok(if float { Out::Float(value.to_f64()) } else { Out::Numeric(value.into()) })
}

fn whole(value: i64, float: bool) -> Result<Out, SqlError> {
    result(Decimal::new(value, 0), float)
}

fn micros(value: i64, float: bool) -> Result<Out, SqlError> {
    result(Decimal::new(value, 6), float)
}

fn unit_error(unit: &str, type_name: &str, known: bool) -> SqlError {
    if known {
        let message = format!("unit \"{unit}\" not supported for type {type_name}");
        return SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message);
    }
    SqlError::new(
        sqlstate::INVALID_PARAMETER_VALUE,
        format!("unit \"{unit}\" not recognized for type {type_name}"),
    )
}

fn singular(unit: &str) -> String {
    let unit = unit.trim().to_lowercase();
    match unit.as_str() {
        "years" | "y" | "yr" | "yrs" => "year".to_owned(),
        "months" | "mon" | "mons" => "month".to_owned(),
        "weeks" | "w" => "week".to_owned(),
        "days" | "d" => "day".to_owned(),
        "hours" | "h" | "hr" | "hrs" => "hour".to_owned(),
        "minutes" | "m" | "min" | "mins" => "minute".to_owned(),
        "seconds" | "s" | "sec" | "secs" => "second".to_owned(),
        "milliseconds" | "ms" | "msec" => "milliseconds".to_owned(),
        "millisecond" => "milliseconds".to_owned(),
        "microsecond" | "us" | "usec" => "microseconds".to_owned(),
        "decades" => "decade".to_owned(),
        "centuries" => "century".to_owned(),
        "millennia" | "millenniums" => "millennium".to_owned(),
        _ => unit,
    }
}

/// Years as people count them: there is no year zero.
fn display_year(year: i32) -> i64 {
    if year > 0 { i64::from(year) } else { i64::from(year) - 1 }
}

fn century(year: i64, length: i64) -> i64 {
    if year > 0 { (year + length - 1) / length } else { -((length - 1 - year) / length) }
}

fn extract(unit: &Value<'_>, moment: &Moment, float: bool) -> Result<Out, SqlError> {
    let unit = singular(unit.text());
    let time = &moment.local;
    let second_us = i64::from(time.second()) * 1_000_000 + i64::from(time.nanosecond() / 1000);
    let clock = matches!(
        unit.as_str(),
        "hour" | "minute" | "second" | "milliseconds" | "microseconds" | "timezone"
    );
    if moment.is_date && clock {
        return Err(unit_error(&unit, "date", true));
    }
    if let Some(later) = moment.infinite {
        return extract_infinite(&unit, later, moment, float);
    }
    let year = display_year(time.year());
    match unit.as_str() {
        "year" => whole(year, float),
        "month" => whole(i64::from(time.month()), float),
        "day" => whole(i64::from(time.day()), float),
        "hour" => whole(i64::from(time.hour()), float),
        "minute" => whole(i64::from(time.minute()), float),
        "second" => micros(second_us, float),
        "milliseconds" => result(Decimal::new(second_us, 3), float),
        "microseconds" => whole(second_us, float),
        "quarter" => whole(i64::from(time.month0() / 3 + 1), float),
        "week" => whole(i64::from(time.iso_week().week()), float),
        "isoyear" => whole(display_year(time.iso_week().year()), float),
        "dow" => whole(i64::from(time.weekday().num_days_from_sunday()), float),
        "isodow" => whole(i64::from(time.weekday().number_from_monday()), float),
        "doy" => whole(i64::from(time.ordinal()), float),
        "decade" => whole(i64::from(time.year()).div_euclid(10), float),
        "century" => whole(century(year, 100), float),
        "millennium" => whole(century(year, 1000), float),
        "epoch" if moment.is_date => whole(moment.epoch_us / 1_000_000, float),
        "epoch" => micros(moment.epoch_us, float),
        "julian" if moment.is_date => whole(moment.epoch_us / DAY_US + 2_440_588, float),
        "timezone" | "timezone_hour" | "timezone_minute" if moment.offset.is_some() => {
            let offset = i64::from(moment.offset.unwrap_or(0));
            match unit.as_str() {
                "timezone" => whole(offset, float),
                "timezone_hour" => whole(offset / 3600, float),
                _ => whole(offset % 3600 / 60, float),
            }
        }
        "julian" => Err(SqlError::not_supported("extract(julian) from a timestamp")),
        other => Err(unit_error(other, moment.type_name, false)),
    }
}

/// What only grows is infinite, what comes again is NULL.
fn extract_infinite(
    unit: &str,
    later: bool,
    moment: &Moment,
    float: bool,
) -> Result<Out, SqlError> {
    match unit {
        "year" | "isoyear" | "decade" | "century" | "millennium" | "julian" | "epoch" => {
            let value = if later { f64::INFINITY } else { f64::NEG_INFINITY };
            let text = if later { "Infinity" } else { "-Infinity" };
            Ok(if float { Out::Float(value) } else { Out::Text(text.to_owned()) })
        }
        "month" | "day" | "hour" | "minute" | "second" | "milliseconds" | "microseconds"
        | "quarter" | "week" | "dow" | "isodow" | "doy" => Ok(Out::Null),
        "timezone" | "timezone_hour" | "timezone_minute" if moment.offset.is_some() => {
            Ok(Out::Null)
        }
        other => Err(unit_error(other, moment.type_name, false)),
    }
}

fn extract_time(unit: &Value<'_>, value: &Value<'_>, float: bool) -> Result<Out, SqlError> {
    let us = match value {
        Value::Time(us) => *us,
        _ => 0,
    };
    let unit = singular(unit.text());
    match unit.as_str() {
        "hour" => whole(us / 3_600_000_000, float),
        "minute" => whole(us / 60_000_000 % 60, float),
        "second" => micros(us % 60_000_000, float),
        "milliseconds" => result(Decimal::new(us % 60_000_000, 3), float),
        "microseconds" => whole(us % 60_000_000, float),
        "epoch" => micros(us, float),
        other => Err(unit_error(other, "time without time zone", false)),
    }
}

fn extract_interval(unit: &Value<'_>, value: &Value<'_>, float: bool) -> Result<Out, SqlError> {
    let v = interval(value);
    let us = v.nanoseconds / 1000;
    let unit = singular(unit.text());
    let years = i64::from(v.months / 12);
    match unit.as_str() {
        "year" => whole(years, float),
        "month" => whole(i64::from(v.months % 12), float),
        "quarter" => whole(i64::from(v.months % 12 / 3 + 1), float),
        "day" => whole(i64::from(v.days), float),
        "hour" => whole(us / 3_600_000_000, float),
        "minute" => whole(us / 60_000_000 % 60, float),
        "second" => micros(us % 60_000_000, float),
        "milliseconds" => result(Decimal::new(us % 60_000_000, 3), float),
        "microseconds" => whole(us % 60_000_000, float),
        "decade" => whole(years / 10, float),
        "century" => whole(years / 100, float),
        "millennium" => whole(years / 1000, float),
        "epoch" => {
            // A year counts 365.25 days, a month 30.
            let months = i128::from(v.months % 12) * 30 * 4 + i128::from(years) * 1461;
            let quarter_days = months + i128::from(v.days) * 4;
            let total = quarter_days * i128::from(DAY_US) / 4 + i128::from(us);
            result(Decimal::new(total, 6), float)
        }
        other => Err(unit_error(other, "interval", false)),
    }
}

fn truncate(unit: &str, us: i64) -> Result<i64, SqlError> {
    let unit = singular(unit);
    let time = naive(us)?;
    let year = time.year();
    let first = |year: i32, month: u32, day: u32| {
        NaiveDate::from_ymd_opt(year, month, day)
            .map(|d| i64::from(datetime::days_of(d)) * DAY_US)
            .ok_or_else(|| {
                SqlError::new(sqlstate::DATETIME_FIELD_OVERFLOW, "timestamp out of range")
            })
    };
    let step = match unit.as_str() {
        "microseconds" => 1,
        "milliseconds" => 1000,
        "second" => 1_000_000,
        "minute" => 60_000_000,
        "hour" => 3_600_000_000,
        "day" => DAY_US,
        "week" => {
            let monday = i64::from(time.weekday().num_days_from_monday());
            return Ok(us.div_euclid(DAY_US) * DAY_US - monday * DAY_US);
        }
        "month" => return first(year, time.month(), 1),
        "quarter" => return first(year, time.month0() / 3 * 3 + 1, 1),
        "year" => return first(year, 1, 1),
        "decade" => return first(year.div_euclid(10) * 10, 1, 1),
        "century" => return first((year - 1).div_euclid(100) * 100 + 1, 1, 1),
        "millennium" => return first((year - 1).div_euclid(1000) * 1000 + 1, 1, 1),
        other => return Err(unit_error(other, "timestamp without time zone", false)),
    };
    Ok(us.div_euclid(step) * step)
}

fn truncate_interval(unit: &Value<'_>, value: &Value<'_>) -> Result<Out, SqlError> {
    let v = interval(value);
    let us = v.nanoseconds / 1000;
    let unit = singular(unit.text());
    let (months, days, us) = match unit.as_str() {
        "year" => (v.months / 12 * 12, 0, 0),
        "quarter" => (v.months / 3 * 3, 0, 0),
        "month" => (v.months, 0, 0),
        "day" => (v.months, v.days, 0),
        "hour" => (v.months, v.days, us / 3_600_000_000 * 3_600_000_000),
        "minute" => (v.months, v.days, us / 60_000_000 * 60_000_000),
        "second" => (v.months, v.days, us / 1_000_000 * 1_000_000),
        "milliseconds" => (v.months, v.days, us / 1000 * 1000),
        "microseconds" => (v.months, v.days, us),
        "decade" => (v.months / 120 * 120, 0, 0),
        other => return Err(unit_error(other, "interval", false)),
    };
    Ok(Out::Interval(IntervalMonthDayNano::new(months, days, us * 1000)))
}

/// The difference in years, months, days and time, by the calendar.
fn age(later: i64, earlier: i64) -> Result<Out, SqlError> {
    if later == earlier {
        return Ok(Out::Interval(IntervalMonthDayNano::new(0, 0, 0)));
    }
    let negative = later < earlier;
    let (a, b) = if negative { (earlier, later) } else { (later, earlier) };
    let (a, b) = (naive(a)?, naive(b)?);
    let mut months = (a.year() - b.year()) * 12 + a.month() as i32 - b.month() as i32;
    let mut days = a.day() as i32 - b.day() as i32;
    let of_day = |t: &NaiveDateTime| {
        i64::from(t.num_seconds_from_midnight()) * 1_000_000 + i64::from(t.nanosecond() / 1000)
    };
    let mut us = of_day(&a) - of_day(&b);
    if us < 0 {
        us += DAY_US;
        days -= 1;
    }
    if days < 0 {
        // Days of the month that the earlier moment lies in; of the later one going backwards.
        let month = if negative { &a } else { &b };
        let start = month.date().with_day(1);
        let next = start.and_then(|d| d.checked_add_months(chrono::Months::new(1)));
        days += match (start, next) {
            (Some(start), Some(next)) => (next - start).num_days() as i32,
            _ => 30,
        };
        months -= 1;
    }
    let sign = if negative { -1 } else { 1 };
    Ok(Out::Interval(IntervalMonthDayNano::new(
        months * sign,
        days * sign,
        us * 1000 * i64::from(sign),
    )))
}
