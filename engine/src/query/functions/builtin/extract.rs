//! `extract` and `date_part`.

use super::{
    Builtin, Out, Session,
    Type::{Date, Float8, Interval, Numeric, Text, Time, Timestamp, Timestamptz, Timetz},
    Value, builtin,
    date::{interval, timestamp, timetz},
};
use crate::{
    error::{SqlError, sqlstate},
    query::functions::{
        calendar::{Calendar, display_year, period},
        datetime::{self, DAY_US},
        decimal::Decimal,
    },
};

pub(super) static TABLE: &[Builtin] = &[
    builtin("extract", &[Text, Date], Numeric, |a, _| extract_date(&a[0], &a[1])),
    builtin("extract", &[Text, Timestamp], Numeric, |a, _| {
        extract(a[0].text(), &Moment::timestamp(timestamp(&a[1])), false)
    }),
    builtin("extract", &[Text, Timestamptz], Numeric, |a, s| {
        extract(a[0].text(), &Moment::timestamptz(&a[1], s)?, false)
    }),
    builtin("extract", &[Text, Time], Numeric, |a, _| extract_time(&a[0], &a[1], false)),
    builtin("extract", &[Text, Timetz], Numeric, |a, _| extract_timetz(&a[0], &a[1], false)),
    builtin("extract", &[Text, Interval], Numeric, |a, _| extract_interval(&a[0], &a[1], false)),
    builtin("date_part", &[Text, Date], Float8, |a, _| {
        let us = datetime::midnight(date(&a[1]))?;
        extract(a[0].text(), &Moment::timestamp(us), true)
    }),
    builtin("date_part", &[Text, Timestamp], Float8, |a, _| {
        extract(a[0].text(), &Moment::timestamp(timestamp(&a[1])), true)
    }),
    builtin("date_part", &[Text, Timestamptz], Float8, |a, s| {
        extract(a[0].text(), &Moment::timestamptz(&a[1], s)?, true)
    }),
    builtin("date_part", &[Text, Time], Float8, |a, _| extract_time(&a[0], &a[1], true)),
    builtin("date_part", &[Text, Timetz], Float8, |a, _| extract_timetz(&a[0], &a[1], true)),
    builtin("date_part", &[Text, Interval], Float8, |a, _| extract_interval(&a[0], &a[1], true)),
];

/// What dates and times consist of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unit {
    Microseconds,
    Milliseconds,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    Decade,
    Century,
    Millennium,
    Dow,
    Isodow,
    Doy,
    Isoyear,
    Julian,
    Epoch,
    Timezone,
    TimezoneHour,
    TimezoneMinute,
}

/// The unit of a name. Only the first ten bytes of a name count.
pub(super) fn unit_of(name: &str) -> Option<Unit> {
    let name = name.to_lowercase();
    let short: String = name.chars().take(10).collect();
    Some(match short.as_str() {
        "microsecon" | "us" | "usec" | "usecs" | "usecond" | "useconds" => Unit::Microseconds,
        "millisecon" | "ms" | "msec" | "msecs" | "msecond" | "mseconds" => Unit::Milliseconds,
        "second" | "seconds" | "sec" | "secs" | "s" => Unit::Second,
        "minute" | "minutes" | "min" | "mins" | "m" | "mm" => Unit::Minute,
        "hour" | "hours" | "hr" | "hrs" | "h" => Unit::Hour,
        "day" | "days" | "d" => Unit::Day,
        "week" | "weeks" | "w" => Unit::Week,
        "month" | "months" | "mon" | "mons" => Unit::Month,
        "quarter" | "qtr" => Unit::Quarter,
        "year" | "years" | "yr" | "yrs" | "y" => Unit::Year,
        "decade" | "decades" | "dec" | "decs" => Unit::Decade,
        "century" | "centuries" | "cent" | "c" => Unit::Century,
        "millennium" | "millennia" | "mil" | "mils" => Unit::Millennium,
        "dow" => Unit::Dow,
        "isodow" => Unit::Isodow,
        "doy" => Unit::Doy,
        "isoyear" => Unit::Isoyear,
        "julian" | "j" | "jd" => Unit::Julian,
        "epoch" => Unit::Epoch,
        "timezone" => Unit::Timezone,
        "timezone_h" => Unit::TimezoneHour,
        "timezone_m" => Unit::TimezoneMinute,
        _ => return None,
    })
}

/// A unit that a type does not have, or that there is none of.
pub(super) fn unit_error(unit: &str, type_name: &str) -> SqlError {
    let shown = unit.to_lowercase();
    if unit_of(unit).is_some() {
        let message = format!("unit \"{shown}\" not supported for type {type_name}");
        return SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message);
    }
    let message = format!("unit \"{shown}\" not recognized for type {type_name}");
    SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message)
}

/// What `date_trunc` says of a unit that it cannot cut to: it does not know those that only
/// `extract` has.
pub(super) fn truncation_error(unit: &str, type_name: &str) -> SqlError {
    let extracted = matches!(
        unit_of(unit),
        Some(Unit::Dow | Unit::Isodow | Unit::Doy | Unit::Isoyear | Unit::Julian | Unit::Epoch)
    );
    if extracted {
        let message =
            format!("unit \"{}\" not recognized for type {type_name}", unit.to_lowercase());
        return SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message);
    }
    unit_error(unit, type_name)
}

/// What is looked at.
struct Moment {
    /// None: infinite.
    calendar: Option<Calendar>,
    /// Microseconds since 1970 UTC.
    epoch_us: i64,
    /// Seconds east of UTC, for `timestamptz`.
    offset: Option<i32>,
    type_name: &'static str,
}

impl Moment {
    fn timestamp(us: i64) -> Self {
        let calendar = (!datetime::is_infinite(us)).then(|| Calendar::of(us));
        Self { calendar, epoch_us: us, offset: None, type_name: "timestamp without time zone" }
    }

    fn timestamptz(value: &Value<'_>, session: &Session<'_>) -> Result<Self, SqlError> {
        let us = timestamp(value);
        let local = datetime::to_local(us, session.time_zone)?;
        Ok(Self {
            offset: Some(session.time_zone.offset_at_instant_us(us)),
            epoch_us: us,
            type_name: "timestamp with time zone",
            ..Self::timestamp(local)
        })
    }
}

fn date(value: &Value<'_>) -> i32 {
    match value {
        Value::Date(days) => *days,
        _ => 0,
    }
}

/// A result as numeric, or as double for `date_part`.
fn result(value: Decimal, float: bool) -> Result<Out, SqlError> {
    Ok(if float { Out::Float(value.to_f64()) } else { Out::Numeric(value.into()) })
}

fn whole(value: i64, float: bool) -> Result<Out, SqlError> {
    result(Decimal::new(value, 0), float)
}

fn scaled(value: i64, scale: u32, float: bool) -> Result<Out, SqlError> {
    result(Decimal::new(value, scale), float)
}

/// Parts of the calendar; None for units that are none.
fn calendar_part(unit: Unit, at: &Calendar) -> Option<i64> {
    let year = display_year(at.year);
    Some(match unit {
        Unit::Year => year,
        Unit::Month => i64::from(at.month),
        Unit::Day => i64::from(at.day),
        Unit::Quarter => at.quarter(),
        Unit::Week => at.iso_week().1,
        Unit::Isoyear => display_year(at.iso_week().0),
        Unit::Dow => at.weekday(),
        Unit::Isodow => at.iso_weekday(),
        Unit::Doy => at.day_of_year(),
        Unit::Decade => at.year.div_euclid(10),
        Unit::Century => period(year, 100),
        Unit::Millennium => period(year, 1000),
        _ => return None,
    })
}

fn extract_date(unit: &Value<'_>, value: &Value<'_>) -> Result<Out, SqlError> {
    let name = unit.text();
    let error = || unit_error(name, "date");
    let unit = unit_of(name).ok_or_else(error)?;
    let days = date(value);
    if matches!(days, i32::MAX | i32::MIN) {
        let oscillates = calendar_part(unit, &Calendar::of_days(0)).is_some();
        if !oscillates && !matches!(unit, Unit::Julian | Unit::Epoch) {
            return Err(error());
        }
        return Ok(infinite(unit, days > 0, false));
    }
    let at = Calendar::of_days(i64::from(days));
    match unit {
        Unit::Julian => whole(at.julian(), false),
        Unit::Epoch => whole(at.days * 86_400, false),
        unit => calendar_part(unit, &at).map_or_else(|| Err(error()), |part| whole(part, false)),
    }
}

fn extract(name: &str, moment: &Moment, float: bool) -> Result<Out, SqlError> {
    let error = || unit_error(name, moment.type_name);
    let unit = unit_of(name).ok_or_else(error)?;
    let Some(at) = &moment.calendar else {
        return Ok(infinite(unit, moment.epoch_us > 0, float));
    };
    let second_us = at.us % 60_000_000;
    match unit {
        Unit::Hour => whole(at.hour(), float),
        Unit::Minute => whole(at.minute(), float),
        Unit::Second => scaled(second_us, 6, float),
        Unit::Milliseconds => scaled(second_us, 3, float),
        Unit::Microseconds => whole(second_us, float),
        Unit::Epoch => scaled(moment.epoch_us, 6, float),
        Unit::Julian if float => Ok(Out::Float(at.julian() as f64 + at.us as f64 / DAY_US as f64)),
        Unit::Julian => {
            let part = Decimal::new(at.us, 0).divide(&Decimal::new(DAY_US, 0))?;
            result(Decimal::new(at.julian(), 0).add(&part), false)
        }
        Unit::Timezone | Unit::TimezoneHour | Unit::TimezoneMinute => {
            let offset = moment.offset.ok_or_else(error)?;
            whole(zone_part(unit, offset), float)
        }
        unit => calendar_part(unit, at).map_or_else(|| Err(error()), |part| whole(part, float)),
    }
}

fn zone_part(unit: Unit, offset: i32) -> i64 {
    let offset = i64::from(offset);
    match unit {
        Unit::TimezoneHour => offset / 3600,
        Unit::TimezoneMinute => offset % 3600 / 60,
        _ => offset,
    }
}

/// What only grows is infinite, what comes again is NULL.
fn infinite(unit: Unit, later: bool, float: bool) -> Out {
    match unit {
        Unit::Year
        | Unit::Isoyear
        | Unit::Decade
        | Unit::Century
        | Unit::Millennium
        | Unit::Julian
        | Unit::Epoch => {
            let value = if later { f64::INFINITY } else { f64::NEG_INFINITY };
            let text = if later { "Infinity" } else { "-Infinity" };
            if float { Out::Float(value) } else { Out::Text(text.to_owned()) }
        }
        _ => Out::Null,
    }
}

/// Parts of a time of the day; None for units that are none.
fn clock_part(unit: Unit, us: i64, float: bool) -> Option<Result<Out, SqlError>> {
    Some(match unit {
        Unit::Hour => whole(us / 3_600_000_000, float),
        Unit::Minute => whole(us / 60_000_000 % 60, float),
        Unit::Second => scaled(us % 60_000_000, 6, float),
        Unit::Milliseconds => scaled(us % 60_000_000, 3, float),
        Unit::Microseconds => whole(us % 60_000_000, float),
        _ => return None,
    })
}

fn extract_time(unit: &Value<'_>, value: &Value<'_>, float: bool) -> Result<Out, SqlError> {
    let us = match value {
        Value::Time(us) => *us,
        _ => 0,
    };
    let error = || unit_error(unit.text(), "time without time zone");
    match unit_of(unit.text()).ok_or_else(error)? {
        Unit::Epoch => scaled(us, 6, float),
        known => clock_part(known, us, float).unwrap_or_else(|| Err(error())),
    }
}

fn extract_timetz(unit: &Value<'_>, value: &Value<'_>, float: bool) -> Result<Out, SqlError> {
    let time = timetz(value);
    let error = || unit_error(unit.text(), "time with time zone");
    match unit_of(unit.text()).ok_or_else(error)? {
        Unit::Epoch => scaled(time.us - i64::from(time.east) * 1_000_000, 6, float),
        zone @ (Unit::Timezone | Unit::TimezoneHour | Unit::TimezoneMinute) => {
            whole(zone_part(zone, time.east), float)
        }
        known => clock_part(known, time.us, float).unwrap_or_else(|| Err(error())),
    }
}

fn extract_interval(unit: &Value<'_>, value: &Value<'_>, float: bool) -> Result<Out, SqlError> {
    let v = interval(value);
    let us = v.nanoseconds / 1000;
    let years = i64::from(v.months / 12);
    let error = || unit_error(unit.text(), "interval");
    match unit_of(unit.text()).ok_or_else(error)? {
        Unit::Year => whole(years, float),
        Unit::Month => whole(i64::from(v.months % 12), float),
        Unit::Quarter => whole(i64::from(v.months % 12 / 3 + 1), float),
        Unit::Day => whole(i64::from(v.days), float),
        Unit::Decade => whole(years / 10, float),
        Unit::Century => whole(years / 100, float),
        Unit::Millennium => whole(years / 1000, float),
        Unit::Epoch => {
            // A year counts 365.25 days, a month 30.
            let months = i128::from(v.months % 12) * 30 * 4 + i128::from(years) * 1461;
            let quarter_days = months + i128::from(v.days) * 4;
            let total = quarter_days * i128::from(DAY_US) / 4 + i128::from(us);
            result(Decimal::new(total, 6), float)
        }
        known => clock_part(known, us, float).unwrap_or_else(|| Err(error())),
    }
}
