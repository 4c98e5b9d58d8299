//! Functions that make dates, times and intervals of their parts, or bring them in order.

use arrow::datatypes::IntervalMonthDayNano;

use super::{
    Builtin, Out,
    Type::{
        Date, Float8, Int4, Int8, Interval, Numeric, Text, Time, Timestamp, Timestamptz, Timetz,
    },
    Value, builtin,
    date::{interval, timestamp, timetz},
};
use crate::{
    error::{SqlError, sqlstate},
    query::functions::{
        datetime::{self, DAY_US, interval_out_of_range},
        datetime_format,
        decimal::Decimal,
        given_up, number_format,
    },
    types::{
        TimeZone,
        text::{
            IntervalStyle, days_from_civil, days_in_month, parse_zone_offset, round_timestamp,
            write_interval,
        },
        timetz::TimeWithZone,
    },
};

/// Above this a factorial has more digits than a numeric holds.
const FACTORIAL_MAX: i64 = 32_177;

pub(super) static TABLE: &[Builtin] = &[
    builtin("make_date", &[Int4, Int4, Int4], Date, |a, _| days(a).map(Out::Date)),
    builtin("make_time", &[Int4, Int4, Float8], Time, |a, _| time_of_day(a).map(Out::Time)),
    builtin("make_timestamp", &[Int4, Int4, Int4, Int4, Int4, Float8], Timestamp, |a, _| {
        moment(a).map(Out::Timestamp)
    }),
    builtin("make_timestamptz", &[Int4, Int4, Int4, Int4, Int4, Float8], Timestamptz, |a, s| {
        datetime::from_local(moment(a)?, s.time_zone).map(Out::Timestamp)
    }),
    builtin(
        "make_timestamptz",
        &[Int4, Int4, Int4, Int4, Int4, Float8, Text],
        Timestamptz,
        |a, _| {
            let local = moment(a)?;
            datetime::from_local(local, zone_at_local(a[6].text(), local)?).map(Out::Timestamp)
        },
    ),
    builtin("make_interval", &[Int4, Int4, Int4, Int4, Int4, Int4, Float8], Interval, |a, _| {
        make_interval(a)
    }),
    builtin("timestamp", &[Date, Time], Timestamp, |a, _| date_and_time(a).map(Out::Timestamp)),
    builtin("timestamptz", &[Date, Time], Timestamptz, |a, s| {
        let local = date_and_time(a)?;
        datetime::from_local(local, s.time_zone).map(Out::Timestamp)
    }),
    builtin("timestamptz", &[Date, Timetz], Timestamptz, |a, _| {
        let (Value::Date(days), time) = (&a[0], timetz(&a[1])) else { return Ok(Out::Null) };
        let midnight = datetime::midnight(*days)?;
        if datetime::is_infinite(midnight) {
            return Ok(Out::Timestamp(midnight));
        }
        let greenwich = time.us - i64::from(time.east) * 1_000_000;
        datetime::in_range(midnight.checked_add(greenwich)).map(Out::Timestamp)
    }),
    builtin("timezone", &[Text, Timestamp], Timestamptz, |a, _| {
        let (zone, us) = (datetime::named_zone(a[0].text())?, timestamp(&a[1]));
        datetime::from_local(us, zone.at_local(us)).map(Out::Timestamp)
    }),
    builtin("timezone", &[Text, Timestamptz], Timestamp, |a, _| {
        let (zone, us) = (datetime::named_zone(a[0].text())?, timestamp(&a[1]));
        datetime::to_local(us, zone.at_instant(us)).map(Out::Timestamp)
    }),
    builtin("timezone", &[Text, Timetz, Timestamptz], Timetz, |a, _| {
        let now = timestamp(&a[2]);
        let zone = datetime::named_zone(a[0].text())?.at_instant(now);
        Ok(Out::Timetz(moved(timetz(&a[1]), zone.offset_at_instant_us(now))))
    }),
    builtin("timezone", &[Interval, Timestamp], Timestamptz, |a, _| {
        let east = i64::from(interval_zone(&a[0])?) * 1_000_000;
        let us = timestamp(&a[1]);
        if datetime::is_infinite(us) {
            return Ok(Out::Timestamp(us));
        }
        datetime::in_range(us.checked_sub(east)).map(Out::Timestamp)
    }),
    builtin("timezone", &[Interval, Timestamptz], Timestamp, |a, _| {
        let east = i64::from(interval_zone(&a[0])?) * 1_000_000;
        let us = timestamp(&a[1]);
        if datetime::is_infinite(us) {
            return Ok(Out::Timestamp(us));
        }
        datetime::in_range(us.checked_add(east)).map(Out::Timestamp)
    }),
    builtin("timezone", &[Interval, Timetz, Timestamptz], Timetz, |a, _| {
        Ok(Out::Timetz(moved(timetz(&a[1]), interval_zone(&a[0])?)))
    }),
    builtin("justify_days", &[Interval], Interval, |a, _| {
        let v = interval(&a[0]);
        let mut months = i64::from(v.months) + i64::from(v.days / 30);
        let mut days = i64::from(v.days % 30);
        borrow(&mut months, &mut days, 30);
        parts(months, days, v.nanoseconds / 1000)
    }),
    builtin("justify_hours", &[Interval], Interval, |a, _| {
        let v = interval(&a[0]);
        let mut us = v.nanoseconds / 1000;
        let mut days = i64::from(v.days) + us / DAY_US;
        us %= DAY_US;
        borrow(&mut days, &mut us, DAY_US);
        parts(i64::from(v.months), days, us)
    }),
    builtin("justify_interval", &[Interval], Interval, |a, _| justify(interval(&a[0]))),
    builtin("date_bin", &[Interval, Timestamp, Timestamp], Timestamp, |a, _| bin(a)),
    builtin("date_bin", &[Interval, Timestamptz, Timestamptz], Timestamptz, |a, _| bin(a)),
    builtin("factorial", &[Int8], Numeric, |a, _| {
        factorial(a[0].int()).map(|n| Out::Numeric(n.into()))
    }),
    builtin("to_date", &[Text, Text], Date, |a, _| {
        datetime_format::date(a[0].text(), a[1].text()).map(Out::Date)
    }),
    builtin("to_timestamp", &[Text, Text], Timestamptz, |a, s| {
        let parsed = datetime_format::timestamp(a[0].text(), a[1].text())?;
        let zone = parsed.east.and_then(TimeZone::fixed).unwrap_or(s.time_zone);
        let us = datetime::from_local(parsed.us, zone)?;
        let rounded = parsed.digits.map_or(us, |digits| round_timestamp(us, digits));
        Ok(Out::Timestamp(rounded))
    }),
    builtin("to_number", &[Text, Text], Numeric, |a, _| {
        let number = number_format::to_number(a[0].text(), a[1].text())?;
        Ok(number.map_or(Out::Null, Out::Numeric))
    }),
];

fn overflow(message: impl Into<String>) -> SqlError {
    SqlError::new(sqlstate::DATETIME_FIELD_OVERFLOW, message)
}

/// The zone of `make_timestamptz`: an offset with its sign, or a name.
fn zone_at_local(name: &str, local_us: i64) -> Result<TimeZone, SqlError> {
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        let message = format!("invalid input syntax for type numeric time zone: \"{name}\"");
        return Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message)
            .hint("Numeric time zones must have \"-\" or \"+\" as first character."));
    }
    match parse_zone_offset(name) {
        Ok(Some(east)) => TimeZone::fixed(east)
            .ok_or_else(|| SqlError::internal(format!("a zone {east} seconds from Greenwich"))),
        Ok(None) => datetime::named_zone(name).map(|zone| zone.at_local(local_us)),
        Err(_) => {
            let message = format!("numeric time zone \"{name}\" out of range");
            Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message))
        }
    }
}

/// A day's local time in microseconds since 1970.
fn date_and_time(args: &[Value<'_>]) -> Result<i64, SqlError> {
    let (days, us) = match args {
        [Value::Date(days), Value::Time(us), ..] => (*days, *us),
        _ => (0, 0),
    };
    let midnight = datetime::midnight(days)?;
    if datetime::is_infinite(midnight) {
        return Ok(midnight);
    }
    datetime::in_range(midnight.checked_add(us))
}

/// A time in another zone, given in seconds east.
fn moved(time: TimeWithZone, east: i32) -> TimeWithZone {
    let us = time.us + i64::from(east - time.east) * 1_000_000;
    TimeWithZone { us: us.rem_euclid(DAY_US), east }
}

/// Seconds east, as an interval.
fn interval_zone(value: &Value<'_>) -> Result<i32, SqlError> {
    let v = interval(value);
    if v.months != 0 || v.days != 0 {
        let mut text = Vec::new();
        write_interval(v, IntervalStyle::Postgres, &mut text);
        let text = String::from_utf8_lossy(&text);
        let message = format!("interval time zone \"{text}\" must not include months or days");
        return Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message));
    }
    i32::try_from(v.nanoseconds / 1_000_000_000).map_err(|_| interval_out_of_range())
}

/// Year, month and day as days.
fn days(args: &[Value<'_>]) -> Result<i32, SqlError> {
    let (year, month, day) = (args[0].int(), args[1].int(), args[2].int());
    // Negative years are BC, and there is no year zero.
    let astronomical = if year < 0 { year + 1 } else { year };
    let valid = year != 0
        && (1..=12).contains(&month)
        && (1..=i64::from(days_in_month(astronomical, month as u32))).contains(&day);
    if !valid {
        let message = format!("date field value out of range: {year}-{month:02}-{day:02}");
        return Err(overflow(message));
    }
    let days = days_from_civil(astronomical, month as u32, day as u32);
    if !(-2_440_588..=2_145_042_905).contains(&days) {
        return Err(overflow(format!("date out of range: {year}-{month:02}-{day:02}")));
    }
    Ok(days as i32)
}

/// Hour, minute and seconds as microseconds of the day.
fn time_of_day(args: &[Value<'_>]) -> Result<i64, SqlError> {
    let (hour, minute, seconds) = (args[0].int(), args[1].int(), args[2].float());
    let us = (seconds * 1e6).round_ties_even();
    let valid = (0..=24).contains(&hour)
        && (0..60).contains(&minute)
        && (0.0..=60.0).contains(&seconds)
        && (hour < 24 || minute == 0 && us == 0.0);
    if !valid {
        let shown = crate::types::text::write_float8;
        let mut text = Vec::new();
        shown(seconds, 1, &mut text);
        let text = String::from_utf8_lossy(&text);
        let message = format!("time field value out of range: {hour}:{minute:02}:{text:0>2}");
        return Err(overflow(message));
    }
    Ok((hour * 60 + minute) * 60_000_000 + us as i64)
}

fn moment(args: &[Value<'_>]) -> Result<i64, SqlError> {
    let days = i64::from(days(args)?);
    let time = time_of_day(&args[3..])?;
    days.checked_mul(DAY_US)
        .and_then(|us| us.checked_add(time))
        .ok_or_else(|| overflow("timestamp out of range"))
}

/// Takes one from `whole` where `rest`, which is less than `size`, has the other sign.
fn borrow(whole: &mut i64, rest: &mut i64, size: i64) {
    if *whole > 0 && *rest < 0 {
        *rest += size;
        *whole -= 1;
    } else if *whole < 0 && *rest > 0 {
        *rest -= size;
        *whole += 1;
    }
}

fn parts(months: i64, days: i64, us: i64) -> Result<Out, SqlError> {
    let months = i32::try_from(months).map_err(|_| interval_out_of_range())?;
    let days = i32::try_from(days).map_err(|_| interval_out_of_range())?;
    let ns = us.checked_mul(1000).ok_or_else(interval_out_of_range)?;
    Ok(Out::Interval(IntervalMonthDayNano::new(months, days, ns)))
}

/// Days of 24 hours and months of 30 days, all parts of one sign.
fn justify(v: IntervalMonthDayNano) -> Result<Out, SqlError> {
    let (mut months, mut days) = (i64::from(v.months), i64::from(v.days));
    let mut us = v.nanoseconds / 1000;
    days += us / DAY_US;
    us %= DAY_US;
    months += days / 30;
    days %= 30;
    if months > 0 && (days < 0 || days == 0 && us < 0) {
        days += 30;
        months -= 1;
    } else if months < 0 && (days > 0 || days == 0 && us > 0) {
        days -= 30;
        months += 1;
    }
    borrow(&mut days, &mut us, DAY_US);
    parts(months, days, us)
}

/// Years, months, weeks, days, hours, minutes and seconds.
fn make_interval(args: &[Value<'_>]) -> Result<Out, SqlError> {
    let seconds = args[6].float();
    if !seconds.is_finite() || (seconds * 1e6).abs() > 9.0e18 {
        return Err(interval_out_of_range());
    }
    let us = (args[4].int() * 60 + args[5].int())
        .checked_mul(60_000_000)
        .and_then(|us| us.checked_add((seconds * 1e6).round_ties_even() as i64))
        .ok_or_else(interval_out_of_range)?;
    parts(args[0].int() * 12 + args[1].int(), args[2].int() * 7 + args[3].int(), us)
}

/// The start of the stride a moment lies in, strides counted from an origin.
fn bin(args: &[Value<'_>]) -> Result<Out, SqlError> {
    let stride = interval(&args[0]);
    let (source, origin) = (timestamp(&args[1]), timestamp(&args[2]));
    if datetime::is_infinite(source) {
        return Ok(Out::Timestamp(source));
    }
    if datetime::is_infinite(origin) {
        return Err(overflow("origin out of range"));
    }
    if stride.months != 0 {
        return Err(SqlError::new(
            sqlstate::FEATURE_NOT_SUPPORTED,
            "timestamps cannot be binned into intervals containing months or years",
        ));
    }
    let stride = i64::from(stride.days)
        .checked_mul(DAY_US)
        .and_then(|us| us.checked_add(stride.nanoseconds / 1000))
        .ok_or_else(interval_out_of_range)?;
    if stride <= 0 {
        return Err(overflow("stride must be greater than zero"));
    }
    let passed = source.checked_sub(origin).ok_or_else(interval_out_of_range)?;
    datetime::in_range(source.checked_sub(passed.rem_euclid(stride))).map(Out::Timestamp)
}

fn factorial(n: i64) -> Result<Decimal, SqlError> {
    let out_of_range = |message: &str| SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, message);
    if n < 0 {
        return Err(out_of_range("factorial of a negative number is undefined"));
    }
    if n > FACTORIAL_MAX {
        return Err(out_of_range("value overflows numeric format"));
    }
    let mut product = Decimal::new(1, 0);
    for factor in 2..=n {
        given_up::check()?;
        product = product.multiply(&Decimal::new(factor, 0));
    }
    Ok(product)
}
