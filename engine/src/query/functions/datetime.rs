//! Dates, times, timestamps and intervals: casts and arithmetic.
//!
//! Dates are days, times and timestamps microseconds, intervals months, days and nanoseconds. The
//! three parts of an interval are added one after the other: months by the calendar (the day of the
//! month is cut to the month's last), then days, then time; for `timestamptz` months and days
//! are added to the local time of the session's zone.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array,
        FixedSizeBinaryBuilder, IntervalMonthDayNanoArray, PrimitiveArray, Time64MicrosecondArray,
        TimestampMicrosecondArray,
    },
    datatypes::{
        DataType, Date32Type, Float64Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
        Time64MicrosecondType, TimestampMicrosecondType,
    },
};
use datafusion::logical_expr::{ScalarUDF, Volatility};

use super::scalar::{function, infallible, over_arrays, sees_nulls, strict};
use crate::{
    error::{SqlError, sqlstate},
    types::{
        Abbreviation, PgType, TimeZone, abbreviation,
        text::{
            FormatSettings, civil_from_days, days_from_civil, days_in_month, round_timestamp,
            round_us,
        },
        timetz::TimeWithZone,
    },
};

pub const DAY_US: i64 = 86_400_000_000;

type ArrayFunction = Box<dyn Fn(&[ArrayRef]) -> Result<ArrayRef, SqlError> + Send + Sync>;

fn timestamp_out_of_range() -> SqlError {
    SqlError::new(sqlstate::DATETIME_FIELD_OVERFLOW, "timestamp out of range")
}

pub fn interval_out_of_range() -> SqlError {
    SqlError::new(sqlstate::DATETIME_FIELD_OVERFLOW, "interval out of range")
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
    let offset = zone.offset_at_instant_us(us);
    in_range(us.checked_add(i64::from(offset) * 1_000_000))
}

/// A local time's instant.
pub fn from_local(us: i64, zone: TimeZone) -> Result<i64, SqlError> {
    if is_infinite(us) {
        return Ok(us);
    }
    let offset = zone.offset_at_local_us(us);
    in_range(us.checked_sub(i64::from(offset) * 1_000_000))
}

/// A zone as functions take it: an abbreviation, a name, or a zone in POSIX form.
#[derive(Clone, Debug)]
pub enum NamedZone {
    Zone(TimeZone),
    /// An abbreviation whose meaning depends on the date.
    Abbreviation(String, TimeZone),
}

/// The zone of a name.
///
/// # Errors
/// 22023 if there is none.
pub fn named_zone(name: &str) -> Result<NamedZone, SqlError> {
    let lower = name.to_lowercase();
    let fixed = |seconds| TimeZone::fixed(seconds).map(NamedZone::Zone);
    match abbreviation(&lower) {
        Some(Abbreviation::Standard(east) | Abbreviation::Daylight(east)) => fixed(east),
        Some(Abbreviation::Of(zone)) => Some(NamedZone::Abbreviation(lower, TimeZone::Named(zone))),
        None => TimeZone::parse_name(name).map(NamedZone::Zone),
    }
    .ok_or_else(|| {
        let message = format!("time zone \"{name}\" not recognized");
        SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message)
    })
}

impl NamedZone {
    /// The zone with the offset that holds at a local time.
    #[must_use]
    pub fn at_local(&self, local_us: i64) -> TimeZone {
        match self {
            Self::Zone(zone) => *zone,
            Self::Abbreviation(name, zone) => {
                TimeZone::fixed(zone.offset_of_abbreviation(name, local_us)).unwrap_or(*zone)
            }
        }
    }

    /// The zone with the offset that holds at an instant.
    #[must_use]
    pub fn at_instant(&self, us: i64) -> TimeZone {
        match self {
            Self::Zone(zone) => *zone,
            Self::Abbreviation(name, zone) => {
                let east = zone.offset_of_abbreviation_at_instant(name, us);
                TimeZone::fixed(east).unwrap_or(*zone)
            }
        }
    }
}

/// A timestamp, if it is one: finite, and not before 4714-11-24 BC.
pub fn in_range(us: Option<i64>) -> Result<i64, SqlError> {
    const FIRST_US: i64 = -2_440_588 * DAY_US;
    us.filter(|us| (FIRST_US..i64::MAX).contains(us)).ok_or_else(timestamp_out_of_range)
}

#[must_use]
pub fn has_cast(from: &PgType, to: &PgType) -> bool {
    use PgType::{Date, Interval, Time, Timestamp, Timestamptz, Timetz};
    matches!(
        (from, to),
        (Date, Timestamp(_) | Timestamptz(_))
            | (Timestamp(_), Date | Time(_) | Timestamptz(_))
            | (Timestamptz(_), Date | Time(_) | Timestamp(_) | Timetz(_))
            | (Time(_), Interval(_) | Timetz(_))
            | (Interval(_), Time(_))
            | (Timetz(_), Time(_))
    )
}

/// Whether values of a type may have to be rounded for the modifier of another one that differs in
/// nothing else.
#[must_use]
pub fn must_round(from: &PgType, to: &PgType) -> bool {
    use PgType::{Interval, Time, Timestamp, Timestamptz, Timetz};
    match (from, to) {
        (Time(Some(from)), Time(Some(to)))
        | (Timetz(Some(from)), Timetz(Some(to)))
        | (Timestamp(Some(from)), Timestamp(Some(to)))
        | (Timestamptz(Some(from)), Timestamptz(Some(to))) => from > to,
        (Interval(from), Interval(Some(to))) => *from != Some(*to),
        (_, Time(to) | Timetz(to) | Timestamp(to) | Timestamptz(to)) => to.is_some(),
        _ => false,
    }
}

/// Whether a cast between these types only rounds, or does nothing.
#[must_use]
pub fn rounds(from: &PgType, to: &PgType) -> bool {
    use PgType::{Interval, Time, Timestamp, Timestamptz, Timetz};
    matches!(
        (from, to),
        (Time(_), Time(_))
            | (Timetz(_), Timetz(_))
            | (Timestamp(_), Timestamp(_))
            | (Timestamptz(_), Timestamptz(_))
            | (Interval(_), Interval(_))
    )
}

/// A cast among date and time types, with the rounding that the digits of `to` ask for.
pub fn cast(from: &PgType, to: &PgType, settings: &FormatSettings) -> Option<ArrayFunction> {
    let (plain_from, plain_to) = (from.without_modifier(), to.without_modifier());
    let round = rounding(to);
    if plain_from == plain_to {
        return Some(round.unwrap_or_else(|| Box::new(|args| Ok(Arc::clone(&args[0])))));
    }
    let inner = plain_cast(&plain_from, &plain_to, settings)?;
    Some(match round {
        None => inner,
        Some(round) => Box::new(move |args| round(&[inner(args)?])),
    })
}

/// Rounds values of a type to the digits and fields of its modifier; None without one.
fn rounding(ty: &PgType) -> Option<ArrayFunction> {
    use PgType::{Interval, Time, Timestamp, Timestamptz, Timetz};
    Some(match *ty {
        Time(Some(digits)) => Box::new(move |args| {
            map::<Time64MicrosecondType, Time64MicrosecondType>(&args[0], false, |us| {
                Ok(round_us(us, digits).unwrap_or(us))
            })
        }),
        Timetz(Some(digits)) => Box::new(move |args| {
            let round = |time: TimeWithZone| TimeWithZone {
                us: round_us(time.us, digits).unwrap_or(time.us),
                ..time
            };
            Ok(zoned_times(timetz_values(&args[0]).map(|time| time.map(round))))
        }),
        Timestamp(Some(digits)) | Timestamptz(Some(digits)) => {
            let zoned = matches!(ty, Timestamptz(_));
            Box::new(move |args| {
                map::<TimestampMicrosecondType, TimestampMicrosecondType>(&args[0], zoned, |us| {
                    Ok(round_timestamp(us, digits))
                })
            })
        }
        Interval(Some(fields)) => Box::new(move |args| {
            map::<IntervalMonthDayNanoType, IntervalMonthDayNanoType>(&args[0], false, |v| {
                fields.fit(v).ok_or_else(interval_out_of_range)
            })
        }),
        _ => return None,
    })
}

/// The values of a column of `time with time zone`.
pub fn timetz_values(array: &ArrayRef) -> impl Iterator<Item = Option<TimeWithZone>> + '_ {
    array.as_fixed_size_binary().iter().map(|bytes| bytes.map(TimeWithZone::from_bytes))
}

/// A column of `time with time zone`.
pub fn zoned_times(values: impl Iterator<Item = Option<TimeWithZone>>) -> ArrayRef {
    let mut out = FixedSizeBinaryBuilder::new(16);
    for value in values {
        match value {
            None => out.append_null(),
            Some(time) => {
                out.append_value(time.to_bytes()).expect("a value has the column's width");
            }
        }
    }
    Arc::new(out.finish())
}

fn plain_cast(from: &PgType, to: &PgType, settings: &FormatSettings) -> Option<ArrayFunction> {
    use PgType::{Date, Interval, Time, Timestamp, Timestamptz, Timetz};
    let zone = settings.time_zone;
    let now_us = settings.now_us.unwrap_or(0);
    Some(match (from, to) {
        (Date, Timestamp(_) | Timestamptz(_)) => {
            let zoned = matches!(to, Timestamptz(_));
            Box::new(move |args| {
                map::<Date32Type, TimestampMicrosecondType>(&args[0], zoned, |days| {
                    let us = midnight(days)?;
                    if zoned { from_local(us, zone) } else { Ok(us) }
                })
            })
        }
        (Timestamp(_), Timestamptz(_)) => Box::new(move |args| {
            map::<TimestampMicrosecondType, TimestampMicrosecondType>(&args[0], true, |us| {
                from_local(us, zone)
            })
        }),
        (Timestamptz(_), Timestamp(_)) => Box::new(move |args| {
            map::<TimestampMicrosecondType, TimestampMicrosecondType>(&args[0], false, |us| {
                to_local(us, zone)
            })
        }),
        (Timestamp(_) | Timestamptz(_), Date) => {
            let local = matches!(from, Timestamptz(_));
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
        (Timestamp(_) | Timestamptz(_), Time(_)) => {
            let local = matches!(from, Timestamptz(_));
            Box::new(move |args| {
                map::<TimestampMicrosecondType, Time64MicrosecondType>(&args[0], false, |us| {
                    let us = if local { to_local(us, zone)? } else { us };
                    Ok(us.rem_euclid(DAY_US))
                })
                .map(|times| without_infinite(&args[0], &times))
            })
        }
        (Timestamptz(_), Timetz(_)) => Box::new(move |args| {
            let instants = args[0].as_primitive::<TimestampMicrosecondType>();
            let time = |us: i64| {
                let east = zone.offset_at_instant_us(us);
                let local = us.saturating_add(i64::from(east) * 1_000_000);
                TimeWithZone { us: local.rem_euclid(DAY_US), east }
            };
            let finite = instants.iter().map(|us| us.filter(|us| !is_infinite(*us)));
            Ok(zoned_times(finite.map(|us| us.map(time))))
        }),
        (Time(_), Timetz(_)) => Box::new(move |args| {
            let times = args[0].as_primitive::<Time64MicrosecondType>();
            // Of today's offset, at that time of the day.
            let today =
                now_us.saturating_add(i64::from(zone.offset_at_instant_us(now_us)) * 1_000_000);
            let midnight = today.div_euclid(DAY_US) * DAY_US;
            let zoned = |us: i64| TimeWithZone { us, east: zone.offset_at_local_us(midnight + us) };
            Ok(zoned_times(times.iter().map(|us| us.map(zoned))))
        }),
        (Timetz(_), Time(_)) => Box::new(|args| {
            let times = timetz_values(&args[0]).map(|time| time.map(|time| time.us));
            Ok(Arc::new(times.collect::<Time64MicrosecondArray>()))
        }),
        (Time(_), Interval(_)) => Box::new(|args| {
            map::<Time64MicrosecondType, IntervalMonthDayNanoType>(&args[0], false, |us| {
                Ok(IntervalMonthDayNano::new(0, 0, us * 1000))
            })
        }),
        (Interval(_), Time(_)) => Box::new(|args| {
            map::<IntervalMonthDayNanoType, Time64MicrosecondType>(&args[0], false, |v| {
                Ok((v.nanoseconds / 1000).rem_euclid(DAY_US))
            })
        }),
        _ => return None,
    })
}

/// The start of a day, in microseconds since 1970.
pub fn midnight(days: i32) -> Result<i64, SqlError> {
    match days {
        i32::MAX => Ok(i64::MAX),
        i32::MIN => Ok(i64::MIN),
        days => i64::from(days).checked_mul(DAY_US).ok_or_else(date_to_timestamp_overflow),
    }
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
        Arc::new(result.with_data_type(PgType::Timestamptz(None).arrow_type()))
    } else {
        Arc::new(result)
    })
}

/// A timestamp and an interval added, `sign` being 1 or -1.
pub fn add_interval(us: i64, interval: IntervalMonthDayNano, sign: i64) -> Result<i64, SqlError> {
    if is_infinite(us) {
        return Ok(us);
    }
    let mut us = us;
    let months = i64::from(interval.months) * sign;
    if months != 0 {
        let (year, month, day) = civil_from_days(us.div_euclid(DAY_US));
        let months = year * 12 + i64::from(month) - 1 + months;
        let (year, month) = (months.div_euclid(12), months.rem_euclid(12) as u32 + 1);
        let day = day.min(days_in_month(year, month));
        let days = days_from_civil(year, month, day);
        let moved = days.checked_mul(DAY_US);
        us = in_range(moved.and_then(|midnight| midnight.checked_add(us.rem_euclid(DAY_US))))?;
    }
    let days = i64::from(interval.days) * sign;
    if days != 0 {
        in_range(days.checked_mul(DAY_US).and_then(|days| us.checked_add(days)))
            .map(|moved| us = moved)?;
    }
    in_range(us.checked_add(interval.nanoseconds / 1000 * sign))
}

/// [`add_interval`] to an instant, months and days by local time.
pub fn add_interval_local(
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
    in_range(us.checked_add(interval.nanoseconds / 1000 * sign))
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

pub(super) fn named(
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
    named(sign_name(sign), "timestamp interval", &PgType::Timestamp(None), move |args| {
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
    named(sign_name(sign), variant, &PgType::Timestamptz(None), move |args| {
        let result = binary::<
            TimestampMicrosecondType,
            IntervalMonthDayNanoType,
            TimestampMicrosecondType,
        >(args, |t, i| add_interval_local(t, i, sign, zone))?;
        Ok(Arc::new(result.with_data_type(PgType::Timestamptz(None).arrow_type())))
    })
}

/// `time ± interval`, around the clock.
pub fn time_interval(sign: i64) -> Arc<ScalarUDF> {
    named(sign_name(sign), "time interval", &PgType::Time(None), move |args| {
        let result: Time64MicrosecondArray =
            binary::<Time64MicrosecondType, IntervalMonthDayNanoType, Time64MicrosecondType>(
                args,
                |t, i| Ok((t + i.nanoseconds / 1000 % DAY_US * sign).rem_euclid(DAY_US)),
            )?;
        Ok(Arc::new(result))
    })
}

/// `time with time zone ± interval`, around the clock in its zone.
pub fn timetz_interval(sign: i64) -> Arc<ScalarUDF> {
    named(sign_name(sign), "timetz interval", &PgType::Timetz(None), move |args| {
        let intervals = args[1].as_primitive::<IntervalMonthDayNanoType>();
        let pairs = timetz_values(&args[0]).zip(intervals.iter());
        let sum = |time: TimeWithZone, v: IntervalMonthDayNano| {
            let us = (time.us + v.nanoseconds / 1000 % DAY_US * sign).rem_euclid(DAY_US);
            TimeWithZone { us, ..time }
        };
        Ok(zoned_times(pairs.map(|(time, v)| Some(sum(time?, v?)))))
    })
}

/// `date + time with time zone`.
pub fn date_timetz() -> Arc<ScalarUDF> {
    named("+", "date timetz", &PgType::Timestamptz(None), |args| {
        let dates = args[0].as_primitive::<Date32Type>();
        let mut out = Vec::with_capacity(dates.len());
        for (days, time) in dates.iter().zip(timetz_values(&args[1])) {
            let (Some(days), Some(time)) = (days, time) else {
                out.push(None);
                continue;
            };
            let us = midnight(days)?;
            let greenwich = time.us - i64::from(time.east) * 1_000_000;
            out.push(Some(match is_infinite(us) {
                true => us,
                false => in_range(us.checked_add(greenwich))?,
            }));
        }
        let result = TimestampMicrosecondArray::from(out);
        Ok(Arc::new(result.with_data_type(PgType::Timestamptz(None).arrow_type())))
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
    named("+", "date time", &PgType::Timestamp(None), |args| {
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
    named("-", "timestamp timestamp", &PgType::Interval(None), |args| {
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
    named("-", "time time", &PgType::Interval(None), |args| {
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
    named(sign_name(i64::from(sign)), "interval interval", &PgType::Interval(None), move |args| {
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
    named(name, "interval float8", &PgType::Interval(None), move |args| {
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

pub(super) fn scale_interval(
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
    named("-", "interval", &PgType::Interval(None), |args| {
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

/// `(start, end) OVERLAPS (start, end)` over a type. The ends may be in any order and NULL: what is
/// known decides if it can.
pub fn overlaps(of: &PgType) -> Arc<ScalarUDF> {
    let compute = over_arrays(|args| {
        let columns: Vec<Vec<Option<i128>>> = args.iter().map(ordered).collect();
        let rows = columns.first().map_or(0, Vec::len);
        let row =
            |n: usize| overlap([columns[0][n], columns[1][n]], [columns[2][n], columns[3][n]]);
        Ok(Arc::new((0..rows).map(row).collect::<BooleanArray>()))
    });
    sees_nulls("overlaps", format!("{of:?}"), DataType::Boolean, false, compute)
}

/// Numbers that are in the order of the values.
fn ordered(array: &ArrayRef) -> Vec<Option<i128>> {
    match array.data_type() {
        DataType::Time64(_) => {
            let times = array.as_primitive::<Time64MicrosecondType>();
            times.iter().map(|us| us.map(i128::from)).collect()
        }
        DataType::Timestamp(..) => {
            let moments = array.as_primitive::<TimestampMicrosecondType>();
            moments.iter().map(|us| us.map(i128::from)).collect()
        }
        _ => timetz_values(array)
            .map(|time| time.map(|time| i128::from_be_bytes(time.to_bytes())))
            .collect(),
    }
}

fn overlap(a: [Option<i128>; 2], b: [Option<i128>; 2]) -> Option<bool> {
    // From, and to where it is known.
    let sorted = |[start, end]: [Option<i128>; 2]| match (start, end) {
        (None, None) => None,
        (Some(start), Some(end)) => Some((start.min(end), Some(start.max(end)))),
        (Some(one), None) | (None, Some(one)) => Some((one, None)),
    };
    let (first, second) = (sorted(a)?, sorted(b)?);
    match first.0.cmp(&second.0) {
        std::cmp::Ordering::Equal => (first.1.is_some() && second.1.is_some()).then_some(true),
        order => {
            let (early, late) = match order {
                std::cmp::Ordering::Less => (first, second),
                _ => (second, first),
            };
            if late.0 < early.1? {
                return Some(true);
            }
            late.1.map(|_| false)
        }
    }
}
