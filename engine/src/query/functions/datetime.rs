//! Dates, times, timestamps and intervals: casts and arithmetic.
//!
//! Dates are days, times and timestamps microseconds, intervals months, days and nanoseconds. The
//! three parts of an interval are added one after the other: months by the calendar (the day of the
//! month is cut to the month's last), then days, then time; for `timestamptz` months and days
//! are added to the local time of the session's zone.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, Date32Array, Decimal128Array, IntervalMonthDayNanoArray,
        PrimitiveArray, Time64MicrosecondArray, TimestampMicrosecondArray,
    },
    datatypes::{
        DataType, Date32Type, Float64Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
        Time64MicrosecondType, TimestampMicrosecondType,
    },
};
use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveDateTime};
use datafusion::logical_expr::{ScalarUDF, Volatility};

use super::scalar::{function, infallible, strict};
use crate::{
    error::{SqlError, sqlstate},
    types::{PgType, TimeZone},
};

pub const DAY_US: i64 = 86_400_000_000;

type ArrayFunction = Box<dyn Fn(&[ArrayRef]) -> Result<ArrayRef, SqlError> + Send + Sync>;

fn timestamp_out_of_range() -> SqlError {
    SqlError::new(sqlstate::DATETIME_FIELD_OVERFLOW, "timestamp out of range")
}

pub fn interval_out_of_range() -> SqlError {
    SqlError::new(sqlstate::DATETIME_FIELD_OVERFLOW, "interval out of range")
}

pub fn naive(us: i64) -> Result<NaiveDateTime, SqlError> {
    DateTime::from_timestamp_micros(us).map(|t| t.naive_utc()).ok_or_else(timestamp_out_of_range)
}

fn micros(time: &NaiveDateTime) -> i64 {
    time.and_utc().timestamp_micros()
}

/// `infinity` and `-infinity` are the extreme values of their columns.
#[must_use]
pub fn is_infinite(us: i64) -> bool {
    us == i64::MAX || us == i64::MIN
}

fn is_infinite_date(days: i32) -> bool {
    days == i32::MAX || days == i32::MIN
}

/// Dates there are: 4714-11-24 BC to 5874897-12-31.
const DATES: std::ops::Range<i32> = -2_440_588..2_145_042_906;

/// An instant's local time.
pub fn to_local(us: i64, zone: TimeZone) -> Result<i64, SqlError> {
    if is_infinite(us) {
        return Ok(us);
    }
    let offset = zone.offset_at_utc(&naive(us)?);
    us.checked_add(i64::from(offset) * 1_000_000).ok_or_else(timestamp_out_of_range)
}

/// A local time's instant.
pub fn from_local(us: i64, zone: TimeZone) -> Result<i64, SqlError> {
    if is_infinite(us) {
        return Ok(us);
    }
    let offset = zone.offset_at_local(&naive(us)?);
    us.checked_sub(i64::from(offset) * 1_000_000).ok_or_else(timestamp_out_of_range)
}

#[must_use]
pub fn has_cast(from: &PgType, to: &PgType) -> bool {
    use PgType::{Date, Interval, Time, Timestamp, Timestamptz};
    matches!(
        (from, to),
        (Date, Timestamp | Timestamptz)
            | (Timestamp, Date | Time | Timestamptz)
            | (Timestamptz, Date | Time | Timestamp)
            | (Time, Interval)
            | (Interval, Time)
    )
}

/// A cast among date and time types.
pub fn cast(from: &PgType, to: &PgType, zone: TimeZone) -> Option<ArrayFunction> {
    use PgType::{Date, Interval, Time, Timestamp, Timestamptz};
    Some(match (from, to) {
        (Date, Timestamp | Timestamptz) => {
            let local = *to == Timestamptz;
            Box::new(move |args| {
                map::<Date32Type, TimestampMicrosecondType>(&args[0], local, |days| {
                    let us = match days {
                        i32::MAX => i64::MAX,
                        i32::MIN => i64::MIN,
                        days => i64::from(days)
                            .checked_mul(DAY_US)
                            .ok_or_else(date_to_timestamp_overflow)?,
                    };
                    if local { from_local(us, zone) } else { Ok(us) }
                })
            })
        }
        (Timestamp, Timestamptz) => Box::new(move |args| {
            map::<TimestampMicrosecondType, TimestampMicrosecondType>(&args[0], true, |us| {
                from_local(us, zone)
            })
        }),
        (Timestamptz, Timestamp) => Box::new(move |args| {
            map::<TimestampMicrosecondType, TimestampMicrosecondType>(&args[0], false, |us| {
                to_local(us, zone)
            })
        }),
        (Timestamp | Timestamptz, Date) => {
            let local = *from == Timestamptz;
            Box::new(move |args| {
                map::<TimestampMicrosecondType, Date32Type>(&args[0], false, |us| {
                    let us = match us {
                        i64::MAX => return Ok(i32::MAX),
                        i64::MIN => return Ok(i32::MIN),
                        us if local => to_local(us, zone)?,
                        us => us,
                    };
                    i32::try_from(us.div_euclid(DAY_US)).map_err(|_| timestamp_out_of_range())
                })
            })
        }
        (Timestamp | Timestamptz, Time) => {
            let local = *from == Timestamptz;
            Box::new(move |args| {
                map::<TimestampMicrosecondType, Time64MicrosecondType>(&args[0], false, |us| {
                    let us = if local { to_local(us, zone)? } else { us };
                    Ok(us.rem_euclid(DAY_US))
                })
                .map(|times| without_infinite(&args[0], &times))
            })
        }
        (Time, Interval) => Box::new(|args| {
            map::<Time64MicrosecondType, IntervalMonthDayNanoType>(&args[0], false, |us| {
                Ok(IntervalMonthDayNano::new(0, 0, us * 1000))
            })
        }),
        (Interval, Time) => Box::new(|args| {
            map::<IntervalMonthDayNanoType, Time64MicrosecondType>(&args[0], false, |v| {
                Ok((v.nanoseconds / 1000).rem_euclid(DAY_US))
            })
        }),
        _ => return None,
    })
}

/// NULL where the timestamp is infinite.
fn without_infinite(timestamps: &ArrayRef, times: &ArrayRef) -> ArrayRef {
    let timestamps = timestamps.as_primitive::<TimestampMicrosecondType>();
    let times = times.as_primitive::<Time64MicrosecondType>();
    let pairs = timestamps.iter().zip(times.iter());
    let finite = pairs.map(|(moment, time)| time.filter(|_| !moment.is_some_and(is_infinite)));
    Arc::new(finite.collect::<Time64MicrosecondArray>())
}

fn date_to_timestamp_overflow() -> SqlError {
    SqlError::new(sqlstate::DATETIME_FIELD_OVERFLOW, "date out of range for timestamp")
}

/// Applies a function to every value; `utc`: the result is a timestamp with time zone.
fn map<F, T>(
    array: &ArrayRef,
    utc: bool,
    f: impl Fn(F::Native) -> Result<T::Native, SqlError>,
) -> Result<ArrayRef, SqlError>
where
    F: arrow::array::ArrowPrimitiveType,
    T: arrow::array::ArrowPrimitiveType,
{
    let mut out = Vec::with_capacity(array.len());
    for value in array.as_primitive::<F>() {
        out.push(match value {
            None => None,
            Some(v) => Some(f(v)?),
        });
    }
    let result = PrimitiveArray::<T>::from_iter(out);
    Ok(if utc {
        Arc::new(result.with_data_type(PgType::Timestamptz.arrow_type()))
    } else {
        Arc::new(result)
    })
}

/// A timestamp and an interval added, `sign` being 1 or -1.
pub fn add_interval(us: i64, interval: IntervalMonthDayNano, sign: i64) -> Result<i64, SqlError> {
    if is_infinite(us) {
        return Ok(us);
    }
    let mut time = naive(us)?;
    let months = i64::from(interval.months) * sign;
    if months != 0 {
        let count = Months::new(u32::try_from(months.unsigned_abs()).unwrap_or(u32::MAX));
        let moved = if months > 0 {
            time.checked_add_months(count)
        } else {
            time.checked_sub_months(count)
        };
        time = moved.ok_or_else(timestamp_out_of_range)?;
    }
    let days = i64::from(interval.days) * sign;
    if days != 0 {
        let count = Days::new(days.unsigned_abs());
        let moved =
            if days > 0 { time.checked_add_days(count) } else { time.checked_sub_days(count) };
        time = moved.ok_or_else(timestamp_out_of_range)?;
    }
    micros(&time).checked_add(interval.nanoseconds / 1000 * sign).ok_or_else(timestamp_out_of_range)
}

/// [`add_interval`] to an instant, months and days by local time.
fn add_interval_local(
    us: i64,
    interval: IntervalMonthDayNano,
    sign: i64,
    zone: TimeZone,
) -> Result<i64, SqlError> {
    if is_infinite(us) {
        return Ok(us);
    }
    let mut us = us;
    if interval.months != 0 || interval.days != 0 {
        let calendar = IntervalMonthDayNano::new(interval.months, interval.days, 0);
        us = from_local(add_interval(to_local(us, zone)?, calendar, sign)?, zone)?;
    }
    us.checked_add(interval.nanoseconds / 1000 * sign).ok_or_else(timestamp_out_of_range)
}

fn binary<L, R, T>(
    args: &[ArrayRef],
    f: impl Fn(L::Native, R::Native) -> Result<T::Native, SqlError>,
) -> Result<PrimitiveArray<T>, SqlError>
where
    L: arrow::array::ArrowPrimitiveType,
    R: arrow::array::ArrowPrimitiveType,
    T: arrow::array::ArrowPrimitiveType,
{
    let (left, right) = (args[0].as_primitive::<L>(), args[1].as_primitive::<R>());
    let mut out = Vec::with_capacity(left.len());
    for (l, r) in left.iter().zip(right.iter()) {
        out.push(match (l, r) {
            (Some(l), Some(r)) => Some(f(l, r)?),
            _ => None,
        });
    }
    Ok(PrimitiveArray::<T>::from_iter(out))
}

fn named(
    name: &str,
    variant: impl Into<String>,
    returns: &PgType,
    compute: impl Fn(&[ArrayRef]) -> Result<ArrayRef, SqlError> + Send + Sync + 'static,
) -> Arc<ScalarUDF> {
    let returns = returns.arrow_type();
    function(name, variant, returns.clone(), Volatility::Immutable, strict(returns, compute))
}

/// `timestamp ± interval`.
pub fn timestamp_interval(sign: i64) -> Arc<ScalarUDF> {
    named(sign_name(sign), "timestamp interval", &PgType::Timestamp, move |args| {
        let result: TimestampMicrosecondArray = binary::<
            TimestampMicrosecondType,
            IntervalMonthDayNanoType,
            TimestampMicrosecondType,
        >(args, |t, i| add_interval(t, i, sign))?;
        Ok(Arc::new(result))
    })
}

/// `timestamptz ± interval`.
pub fn timestamptz_interval(sign: i64, zone: TimeZone) -> Arc<ScalarUDF> {
    let variant = format!("timestamptz interval {zone:?}");
    named(sign_name(sign), variant, &PgType::Timestamptz, move |args| {
        let result = binary::<
            TimestampMicrosecondType,
            IntervalMonthDayNanoType,
            TimestampMicrosecondType,
        >(args, |t, i| add_interval_local(t, i, sign, zone))?;
        Ok(Arc::new(result.with_data_type(PgType::Timestamptz.arrow_type())))
    })
}

/// `time ± interval`, around the clock.
pub fn time_interval(sign: i64) -> Arc<ScalarUDF> {
    named(sign_name(sign), "time interval", &PgType::Time, move |args| {
        let result: Time64MicrosecondArray =
            binary::<Time64MicrosecondType, IntervalMonthDayNanoType, Time64MicrosecondType>(
                args,
                |t, i| Ok((t + i.nanoseconds / 1000 % DAY_US * sign).rem_euclid(DAY_US)),
            )?;
        Ok(Arc::new(result))
    })
}

fn sign_name(sign: i64) -> &'static str {
    if sign > 0 { "+" } else { "-" }
}

/// `date ± integer`.
pub fn date_integer(sign: i32) -> Arc<ScalarUDF> {
    named(sign_name(i64::from(sign)), "date integer", &PgType::Date, move |args| {
        let result: Date32Array =
            binary::<Date32Type, arrow::datatypes::Int32Type, Date32Type>(args, |d, n| {
                if is_infinite_date(d) {
                    return Ok(d);
                }
                let moved = n.checked_mul(sign).and_then(|n| d.checked_add(n));
                moved.filter(|d| DATES.contains(d)).ok_or_else(|| {
                    SqlError::new(sqlstate::DATETIME_FIELD_OVERFLOW, "date out of range")
                })
            })?;
        Ok(Arc::new(result))
    })
}

/// `date - date`: days.
pub fn date_difference() -> Arc<ScalarUDF> {
    named("-", "date date", &PgType::Int4, |args| {
        let result =
            binary::<Date32Type, Date32Type, arrow::datatypes::Int32Type>(args, |l, r| {
                if is_infinite_date(l) || is_infinite_date(r) {
                    return Err(SqlError::new(
                        sqlstate::DATETIME_FIELD_OVERFLOW,
                        "cannot subtract infinite dates",
                    ));
                }
                Ok(l.wrapping_sub(r))
            })?;
        Ok(Arc::new(result))
    })
}

/// `date + time`.
pub fn date_time() -> Arc<ScalarUDF> {
    named("+", "date time", &PgType::Timestamp, |args| {
        let result: TimestampMicrosecondArray =
            binary::<Date32Type, Time64MicrosecondType, TimestampMicrosecondType>(args, |d, t| {
                match d {
                    i32::MAX => return Ok(i64::MAX),
                    i32::MIN => return Ok(i64::MIN),
                    _ => {}
                }
                i64::from(d)
                    .checked_mul(DAY_US)
                    .and_then(|us| us.checked_add(t))
                    .ok_or_else(date_to_timestamp_overflow)
            })?;
        Ok(Arc::new(result))
    })
}

/// `timestamp - timestamp`: days and time, no months.
pub fn timestamp_difference() -> Arc<ScalarUDF> {
    named("-", "timestamp timestamp", &PgType::Interval, |args| {
        let result: IntervalMonthDayNanoArray = binary::<
            TimestampMicrosecondType,
            TimestampMicrosecondType,
            IntervalMonthDayNanoType,
        >(args, |l, r| {
            if is_infinite(l) || is_infinite(r) {
                return Err(SqlError::new(
                    sqlstate::DATETIME_FIELD_OVERFLOW,
                    "cannot subtract infinite timestamps",
                ));
            }
            let us = l.checked_sub(r).ok_or_else(interval_out_of_range)?;
            Ok(IntervalMonthDayNano::new(0, (us / DAY_US) as i32, us % DAY_US * 1000))
        })?;
        Ok(Arc::new(result))
    })
}

/// `time - time`.
pub fn time_difference() -> Arc<ScalarUDF> {
    named("-", "time time", &PgType::Interval, |args| {
        let result: IntervalMonthDayNanoArray =
            binary::<Time64MicrosecondType, Time64MicrosecondType, IntervalMonthDayNanoType>(
                args,
                |l, r| Ok(IntervalMonthDayNano::new(0, 0, (l - r) * 1000)),
            )?;
        Ok(Arc::new(result))
    })
}

/// `interval ± interval`.
pub fn interval_interval(sign: i32) -> Arc<ScalarUDF> {
    named(sign_name(i64::from(sign)), "interval interval", &PgType::Interval, move |args| {
        let result: IntervalMonthDayNanoArray = binary::<
            IntervalMonthDayNanoType,
            IntervalMonthDayNanoType,
            IntervalMonthDayNanoType,
        >(args, |l, r| {
            let sum = || {
                Some(IntervalMonthDayNano::new(
                    l.months.checked_add(r.months.checked_mul(sign)?)?,
                    l.days.checked_add(r.days.checked_mul(sign)?)?,
                    l.nanoseconds.checked_add(r.nanoseconds.checked_mul(i64::from(sign))?)?,
                ))
            };
            sum().ok_or_else(interval_out_of_range)
        })?;
        Ok(Arc::new(result))
    })
}

/// `interval * double precision`; fractions of months go to days, of days to time.
pub fn interval_times(divide: bool) -> Arc<ScalarUDF> {
    let name = if divide { "/" } else { "*" };
    named(name, "interval float8", &PgType::Interval, move |args| {
        let result: IntervalMonthDayNanoArray = binary::<
            IntervalMonthDayNanoType,
            Float64Type,
            IntervalMonthDayNanoType,
        >(args, |i, factor| {
            if divide && factor == 0.0 {
                return Err(super::decimal::division_by_zero());
            }
            scale_interval(i, |v| if divide { v / factor } else { v * factor })
        })?;
        Ok(Arc::new(result))
    })
}

fn scale_interval(
    interval: IntervalMonthDayNano,
    scale: impl Fn(f64) -> f64,
) -> Result<IntervalMonthDayNano, SqlError> {
    // The steps and roundings of PostgreSQL's interval_mul.
    let round6 = |v: f64| (v * 1e6).round_ties_even() / 1e6;
    let months = scale(f64::from(interval.months));
    let days = scale(f64::from(interval.days));
    let whole = |v: f64| (f64::from(i32::MIN)..f64::from(i32::MAX) + 1.0).contains(&v);
    if !(whole(months) && whole(days)) {
        return Err(interval_out_of_range());
    }
    let (whole_months, whole_days) = (months.trunc(), days.trunc());
    let month_remainder_days = round6((months - whole_months) * 30.0);
    let mut seconds_remainder = round6(
        (days - whole_days + month_remainder_days - month_remainder_days.trunc()) * 86_400.0,
    );
    let mut result_days = whole_days;
    if seconds_remainder.abs() >= 86_400.0 {
        result_days += (seconds_remainder / 86_400.0).trunc();
        seconds_remainder -= (seconds_remainder / 86_400.0).trunc() * 86_400.0;
    }
    result_days += month_remainder_days.trunc();
    let us =
        (scale((interval.nanoseconds / 1000) as f64) + seconds_remainder * 1e6).round_ties_even();
    if us.abs() >= 9.2e15 || !whole(result_days) {
        return Err(interval_out_of_range());
    }
    Ok(IntervalMonthDayNano::new(whole_months as i32, result_days as i32, us as i64 * 1000))
}

/// `- interval`.
pub fn negate_interval() -> Arc<ScalarUDF> {
    named("-", "interval", &PgType::Interval, |args| {
        map::<IntervalMonthDayNanoType, IntervalMonthDayNanoType>(&args[0], false, |v| {
            let negated = || {
                Some(IntervalMonthDayNano::new(
                    v.months.checked_neg()?,
                    v.days.checked_neg()?,
                    v.nanoseconds.checked_neg()?,
                ))
            };
            negated().ok_or_else(interval_out_of_range)
        })
    })
}

/// A number that compares as the interval does: a month counts 30 days, a day 24 hours.
pub fn interval_key() -> Arc<ScalarUDF> {
    let returns = DataType::Decimal128(38, 0);
    let compute = strict(returns.clone(), |args| {
        let values = args[0].as_primitive::<IntervalMonthDayNanoType>();
        let key = |v: IntervalMonthDayNano| {
            let days = i128::from(v.months) * 30 + i128::from(v.days);
            days * i128::from(DAY_US) + i128::from(v.nanoseconds / 1000)
        };
        let keys: Decimal128Array = values.iter().map(|v| v.map(key)).collect();
        Ok(Arc::new(keys.with_data_type(DataType::Decimal128(38, 0))) as ArrayRef)
    });
    infallible("interval_key", "", returns, compute)
}

/// `AT TIME ZONE` with a constant zone: from local time to an instant, or back.
pub fn at_time_zone(from: &PgType, zone: TimeZone) -> Arc<ScalarUDF> {
    let to_instant = *from == PgType::Timestamp;
    let returns = if to_instant { PgType::Timestamptz } else { PgType::Timestamp };
    named("timezone", format!("{from:?} {zone:?}"), &returns, move |args| {
        map::<TimestampMicrosecondType, TimestampMicrosecondType>(&args[0], to_instant, |us| {
            if to_instant { from_local(us, zone) } else { to_local(us, zone) }
        })
    })
}

/// The calendar date of a number of days since 1970.
pub fn date_of(days: i32) -> Result<NaiveDate, SqlError> {
    naive(i64::from(days) * DAY_US).map(|t| t.date())
}

/// Days since 1970 of a calendar date.
#[must_use]
pub fn days_of(date: NaiveDate) -> i32 {
    date.num_days_from_ce() - 719_163
}
