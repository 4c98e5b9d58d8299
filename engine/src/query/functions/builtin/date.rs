//! Functions over dates, times and intervals.

use arrow::datatypes::IntervalMonthDayNano;

use super::{
    Builtin, Out,
    Type::{Bool, Date, Float8, Interval, Text, Timestamp, Timestamptz},
    Value, builtin,
    extract::{Unit, truncation_error, unit_of},
};
use crate::{
    error::{SqlError, sqlstate},
    query::functions::{
        calendar::Calendar,
        datetime::{self, DAY_US},
        datetime_format,
    },
    types::{
        TimeZone,
        text::{days_from_civil, days_in_month},
        timetz::TimeWithZone,
    },
};

pub(super) static TABLE: &[Builtin] = &[
    builtin("date_trunc", &[Text, Timestamp], Timestamp, |a, _| {
        let error = || truncation_error(a[0].text(), "timestamp without time zone");
        // Whatever the unit is called.
        if datetime::is_infinite(timestamp(&a[1])) {
            return Ok(Out::Timestamp(timestamp(&a[1])));
        }
        let unit = unit_of(a[0].text()).ok_or_else(error)?;
        truncate(unit, timestamp(&a[1])).ok_or_else(error)?.map(Out::Timestamp)
    }),
    builtin("date_trunc", &[Text, Timestamptz], Timestamptz, |a, s| {
        truncate_in(a[0].text(), timestamp(&a[1]), s.time_zone)
    }),
    builtin("date_trunc", &[Text, Timestamptz, Text], Timestamptz, |a, _| {
        let local = timestamp(&a[1]);
        let zone = datetime::named_zone(a[2].text())?;
        truncate_in(a[0].text(), local, zone.at_instant(local))
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
        if !us.is_finite() || !(-210_866_803_200_000_000.0..9.2e18).contains(&us) {
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
        let us = timestamp(&a[0]);
        if datetime::is_infinite(us) || a[1].text().is_empty() {
            return Ok(Out::Null);
        }
        datetime_format::moment(&Calendar::of(us), None, a[1].text()).map(Out::Text)
    }),
    builtin("to_char", &[Timestamptz, Text], Text, |a, s| {
        let us = timestamp(&a[0]);
        if datetime::is_infinite(us) || a[1].text().is_empty() {
            return Ok(Out::Null);
        }
        let local = datetime::to_local(us, s.time_zone)?;
        let zone = datetime_format::Zone {
            east: s.time_zone.offset_at_instant_us(us),
            abbreviation: s.time_zone.abbreviation_at_instant_us(us),
        };
        datetime_format::moment(&Calendar::of(local), Some(&zone), a[1].text()).map(Out::Text)
    }),
    builtin("to_char", &[Interval, Text], Text, |a, _| {
        if a[1].text().is_empty() {
            return Ok(Out::Null);
        }
        datetime_format::interval(interval(&a[0]), a[1].text()).map(Out::Text)
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

pub(super) fn timetz(value: &Value<'_>) -> TimeWithZone {
    match value {
        Value::Timetz(time) => *time,
        _ => TimeWithZone { us: 0, east: 0 },
    }
}

/// The start of the unit that a local time lies in; None for units that have none.
fn truncate(unit: Unit, us: i64) -> Option<Result<i64, SqlError>> {
    if datetime::is_infinite(us) {
        return Some(Ok(us));
    }
    let at = Calendar::of(us);
    let first = |year: i64, month: u32| days_from_civil(year, month, 1);
    let year = at.year;
    let days = match unit {
        Unit::Microseconds => return Some(Ok(us)),
        Unit::Milliseconds => return Some(Ok(us.div_euclid(1000) * 1000)),
        Unit::Second => return Some(Ok(us.div_euclid(1_000_000) * 1_000_000)),
        Unit::Minute => return Some(Ok(us.div_euclid(60_000_000) * 60_000_000)),
        Unit::Hour => return Some(Ok(us.div_euclid(3_600_000_000) * 3_600_000_000)),
        Unit::Day => at.days,
        Unit::Week => at.days - (at.iso_weekday() - 1),
        Unit::Month => first(year, at.month),
        Unit::Quarter => first(year, (at.month - 1) / 3 * 3 + 1),
        Unit::Year => first(year, 1),
        Unit::Decade => first(year.div_euclid(10) * 10, 1),
        Unit::Century => first((year - 1).div_euclid(100) * 100 + 1, 1),
        Unit::Millennium => first((year - 1).div_euclid(1000) * 1000 + 1, 1),
        _ => return None,
    };
    Some(datetime::in_range(days.checked_mul(DAY_US)))
}

/// An instant cut to a unit of a zone's local time.
fn truncate_in(name: &str, us: i64, zone: TimeZone) -> Result<Out, SqlError> {
    let error = || truncation_error(name, "timestamp with time zone");
    if datetime::is_infinite(us) {
        return Ok(Out::Timestamp(us));
    }
    let unit = unit_of(name).ok_or_else(error)?;
    let local = truncate(unit, datetime::to_local(us, zone)?).ok_or_else(error)??;
    // Within an hour the offset stays as it is, even if it is one of two.
    let within_hour = matches!(
        unit,
        Unit::Microseconds | Unit::Milliseconds | Unit::Second | Unit::Minute | Unit::Hour
    );
    if within_hour {
        let offset = i64::from(zone.offset_at_instant_us(us)) * 1_000_000;
        return datetime::in_range(local.checked_sub(offset)).map(Out::Timestamp);
    }
    datetime::from_local(local, zone).map(Out::Timestamp)
}

fn truncate_interval(unit: &Value<'_>, value: &Value<'_>) -> Result<Out, SqlError> {
    let v = interval(value);
    let us = v.nanoseconds / 1000;
    let error = || truncation_error(unit.text(), "interval");
    let (months, days, us) = match unit_of(unit.text()).ok_or_else(error)? {
        Unit::Millennium => (v.months / 12_000 * 12_000, 0, 0),
        Unit::Century => (v.months / 1200 * 1200, 0, 0),
        Unit::Decade => (v.months / 120 * 120, 0, 0),
        Unit::Year => (v.months / 12 * 12, 0, 0),
        Unit::Quarter => (v.months / 3 * 3, 0, 0),
        Unit::Month => (v.months, 0, 0),
        Unit::Day => (v.months, v.days, 0),
        Unit::Hour => (v.months, v.days, us / 3_600_000_000 * 3_600_000_000),
        Unit::Minute => (v.months, v.days, us / 60_000_000 * 60_000_000),
        Unit::Second => (v.months, v.days, us / 1_000_000 * 1_000_000),
        Unit::Milliseconds => (v.months, v.days, us / 1000 * 1000),
        Unit::Microseconds => (v.months, v.days, us),
        Unit::Week => return Err(error().detail("Months usually have fractional weeks.")),
        _ => return Err(error()),
    };
    Ok(Out::Interval(IntervalMonthDayNano::new(months, days, us * 1000)))
}

/// The difference in years, months, days and time, by the calendar.
fn age(later: i64, earlier: i64) -> Result<Out, SqlError> {
    if later == earlier {
        return Ok(Out::Interval(IntervalMonthDayNano::new(0, 0, 0)));
    }
    if datetime::is_infinite(later) || datetime::is_infinite(earlier) {
        return Err(SqlError::new(sqlstate::DATETIME_FIELD_OVERFLOW, "timestamp out of range"));
    }
    let negative = later < earlier;
    let (a, b) = if negative { (earlier, later) } else { (later, earlier) };
    let (a, b) = (Calendar::of(a), Calendar::of(b));
    let mut months = (a.year - b.year) * 12 + i64::from(a.month) - i64::from(b.month);
    let mut days = i64::from(a.day) - i64::from(b.day);
    let mut us = a.us - b.us;
    if us < 0 {
        us += DAY_US;
        days -= 1;
    }
    if days < 0 {
        // Days of the month that the earlier moment lies in.
        days += i64::from(days_in_month(b.year, b.month));
        months -= 1;
    }
    let sign = if negative { -1 } else { 1 };
    Ok(Out::Interval(IntervalMonthDayNano::new(
        months as i32 * sign,
        days as i32 * sign,
        us * 1000 * i64::from(sign),
    )))
}
