//! Intervals as text, in `IntervalStyle` `postgres`.

use arrow::{array::types::IntervalMonthDayNano, datatypes::IntervalMonthDayNanoType};

use super::datetime::{US_PER_DAY, US_PER_SECOND, write_clock};
use crate::error::{SqlError, sqlstate};

/// As PostgreSQL prints it: `1 year 2 mons -3 days +04:05:06`.
pub fn write_interval(value: IntervalMonthDayNano, out: &mut Vec<u8>) {
    let (months, days, ns) = IntervalMonthDayNanoType::to_parts(value);
    let us = ns / 1000;
    let start = out.len();
    // A positive part after a negative one says so.
    let mut after_negative = false;
    for (part, unit) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
        if part == 0 {
            continue;
        }
        let space = if out.len() > start { " " } else { "" };
        let plus = if after_negative && part > 0 { "+" } else { "" };
        let plural = if part == 1 { "" } else { "s" };
        out.extend_from_slice(format!("{space}{plus}{part} {unit}{plural}").as_bytes());
        after_negative = part < 0;
    }
    if us != 0 || out.len() == start {
        if out.len() > start {
            out.push(b' ');
        }
        if us < 0 {
            out.push(b'-');
        } else if after_negative {
            out.push(b'+');
        }
        write_clock(us.unsigned_abs(), out);
    }
}

/// # Errors
/// 22007 for what is no interval, 22008 for one out of range.
pub fn parse_interval(text: &str) -> Result<IntervalMonthDayNano, SqlError> {
    let mut sum = Sum::default();
    let trimmed = text.trim();
    let parsed = match trimmed.strip_prefix('P') {
        Some(iso) => iso8601(iso, &mut sum),
        None => verbose(trimmed, &mut sum),
    };
    parsed.ok_or_else(|| {
        SqlError::new(
            sqlstate::INVALID_DATETIME_FORMAT,
            format!("invalid input syntax for type interval: \"{text}\""),
        )
    })?;
    sum.finish().ok_or_else(|| {
        SqlError::new(
            sqlstate::DATETIME_FIELD_OVERFLOW,
            format!("interval field value out of range: \"{text}\""),
        )
    })
}

/// Parts added up; fractions spill into the next smaller part, a month counting 30 days.
#[derive(Default)]
struct Sum {
    months: f64,
    days: f64,
    us: i128,
}

#[derive(Clone, Copy)]
enum Unit {
    Months(f64),
    Days(f64),
    Us(i64),
}

fn unit_of(word: &str) -> Option<Unit> {
    let word = word.to_ascii_lowercase();
    Some(match word.as_str() {
        "millennium" | "millennia" | "mil" | "mils" => Unit::Months(12_000.0),
        "century" | "centuries" | "cent" | "c" => Unit::Months(1200.0),
        "decade" | "decades" | "dec" | "decs" => Unit::Months(120.0),
        "year" | "years" | "yr" | "yrs" | "y" => Unit::Months(12.0),
        "month" | "months" | "mon" | "mons" => Unit::Months(1.0),
        "week" | "weeks" | "w" => Unit::Days(7.0),
        "day" | "days" | "d" => Unit::Days(1.0),
        "hour" | "hours" | "hr" | "hrs" | "h" => Unit::Us(3600 * US_PER_SECOND),
        "minute" | "minutes" | "min" | "mins" | "m" => Unit::Us(60 * US_PER_SECOND),
        "second" | "seconds" | "sec" | "secs" | "s" => Unit::Us(US_PER_SECOND),
        "millisecond" | "milliseconds" | "msec" | "msecs" | "ms" => Unit::Us(1000),
        "microsecond" | "microseconds" | "usec" | "usecs" | "us" => Unit::Us(1),
        _ => return None,
    })
}

impl Sum {
    /// `digits` is an unsigned decimal number.
    fn add(&mut self, negative: bool, digits: &str, unit: Unit) -> Option<()> {
        let sign = if negative { -1.0 } else { 1.0 };
        let value = sign * digits.parse::<f64>().ok()?;
        match unit {
            Unit::Months(factor) => {
                let months = value * factor;
                self.months += months.trunc();
                // Fractions of years count whole months only, those of months spill into days.
                if factor == 1.0 {
                    self.add_days(months.fract() * 30.0);
                } else {
                    self.months += months.fract().round();
                }
            }
            Unit::Days(factor) => self.add_days(value * factor),
            Unit::Us(factor) => {
                let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
                let whole = if whole.is_empty() { 0 } else { whole.parse::<i64>().ok()? };
                let mut us = i128::from(whole) * i128::from(factor);
                if !fraction.is_empty() {
                    let fraction: f64 = format!("0.{fraction}").parse().ok()?;
                    us += (fraction * factor as f64).round() as i128;
                }
                self.us += if negative { -us } else { us };
            }
        }
        Some(())
    }

    fn add_days(&mut self, days: f64) {
        self.days += days.trunc();
        self.us += (days.fract() * US_PER_DAY as f64).round() as i128;
    }

    fn negate(&mut self) {
        (self.months, self.days, self.us) = (-self.months, -self.days, -self.us);
    }

    fn finish(&self) -> Option<IntervalMonthDayNano> {
        let whole = |value: f64| (value.abs() <= f64::from(i32::MAX)).then_some(value as i32);
        let ns = i64::try_from(self.us.checked_mul(1000)?).ok()?;
        Some(IntervalMonthDayNano::new(whole(self.months)?, whole(self.days)?, ns))
    }
}

/// `[@] 1 year -2 mons 3 days 04:05:06 [ago]`; a number alone counts seconds.
fn verbose(text: &str, sum: &mut Sum) -> Option<()> {
    let text = text.strip_prefix('@').unwrap_or(text);
    let mut pending: Option<(bool, &str)> = None;
    let mut rest = text.trim_start();
    let mut any = false;
    while !rest.is_empty() {
        let first = rest.as_bytes()[0];
        if first.is_ascii_alphabetic() {
            let end = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
            let word = &rest[..end];
            rest = rest[end..].trim_start();
            if word.eq_ignore_ascii_case("ago") {
                if !rest.is_empty() || !any || pending.is_some() {
                    return None;
                }
                sum.negate();
                return Some(());
            }
            let (negative, digits) = pending.take()?;
            sum.add(negative, digits, unit_of(word)?)?;
            any = true;
            continue;
        }
        if pending.is_some() {
            // A number without a unit before another: days, as in `1 04:05:06`.
            let (negative, digits) = pending.take()?;
            sum.add(negative, digits, Unit::Days(1.0))?;
        }
        let negative = first == b'-';
        if matches!(first, b'-' | b'+') {
            rest = &rest[1..];
        }
        let end = rest.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
        if end == 0 || rest[..end].bytes().filter(|b| *b == b'.').count() > 1 {
            return None;
        }
        let digits = &rest[..end];
        rest = &rest[end..];
        match rest.as_bytes().first() {
            Some(b':') => {
                let end = rest
                    .bytes()
                    .take_while(|b| b.is_ascii_digit() || matches!(b, b':' | b'.'))
                    .count();
                clock(negative, digits, &rest[1..end], sum)?;
                rest = &rest[end..];
                any = true;
            }
            Some(b'-') if rest.len() > 1 && rest.as_bytes()[1].is_ascii_digit() => {
                let end = rest[1..].bytes().take_while(u8::is_ascii_digit).count() + 1;
                sum.add(negative, digits, Unit::Months(12.0))?;
                sum.add(negative, &rest[1..end], Unit::Months(1.0))?;
                rest = &rest[end..];
                any = true;
            }
            _ => pending = Some((negative, digits)),
        }
        rest = rest.trim_start();
    }
    if let Some((negative, digits)) = pending {
        sum.add(negative, digits, Unit::Us(US_PER_SECOND))?;
        any = true;
    }
    any.then_some(())
}

/// `hh` and `mm[:ss[.f]]`.
fn clock(negative: bool, hours: &str, rest: &str, sum: &mut Sum) -> Option<()> {
    let (minutes, seconds) = rest.split_once(':').unwrap_or((rest, "0"));
    if hours.contains('.') || minutes.parse::<u32>().ok()? > 59 {
        return None;
    }
    if seconds.contains(':') || seconds.parse::<f64>().ok()? >= 61.0 {
        return None;
    }
    sum.add(negative, hours, Unit::Us(3600 * US_PER_SECOND))?;
    sum.add(negative, minutes, Unit::Us(60 * US_PER_SECOND))?;
    sum.add(negative, seconds, Unit::Us(US_PER_SECOND))
}

/// ISO 8601 with designators, after the `P`.
fn iso8601(text: &str, sum: &mut Sum) -> Option<()> {
    let mut in_time = false;
    let mut rest = text;
    let mut any = false;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('T') {
            if in_time {
                return None;
            }
            in_time = true;
            rest = after;
            continue;
        }
        let negative = rest.starts_with('-');
        rest = rest.strip_prefix(['-', '+']).unwrap_or(rest);
        let end = rest.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
        let digits = &rest[..end];
        let designator = *rest.as_bytes().get(end)?;
        let unit = match (in_time, designator) {
            (false, b'Y') => Unit::Months(12.0),
            (false, b'M') => Unit::Months(1.0),
            (false, b'W') => Unit::Days(7.0),
            (false, b'D') => Unit::Days(1.0),
            (true, b'H') => Unit::Us(3600 * US_PER_SECOND),
            (true, b'M') => Unit::Us(60 * US_PER_SECOND),
            (true, b'S') => Unit::Us(US_PER_SECOND),
            _ => return None,
        };
        sum.add(negative, digits, unit)?;
        rest = &rest[end + 1..];
        any = true;
    }
    any.then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints_as_postgres_does() {
        for (text, expected) in [
            ("1 year 2 months 3 days 04:05:06.789", "1 year 2 mons 3 days 04:05:06.789"),
            ("-1 year -2 mons +3 days -04:05:06", "-1 years -2 mons +3 days -04:05:06"),
            ("1 day -1 hour", "1 day -01:00:00"),
            ("-1 day 1 hour", "-1 days +01:00:00"),
            ("0", "00:00:00"),
            ("90 minutes", "01:30:00"),
            ("1.5 days", "1 day 12:00:00"),
            ("1.5 months", "1 mon 15 days"),
            ("1-2", "1 year 2 mons"),
            ("P1Y2M3DT4H5M6.5S", "1 year 2 mons 3 days 04:05:06.5"),
            ("@ 1 minute ago", "-00:01:00"),
            ("1 04:05:06", "1 day 04:05:06"),
            ("2 weeks", "14 days"),
            ("100:00:00", "100:00:00"),
            ("14 mons", "1 year 2 mons"),
            ("1.5 years", "1 year 6 mons"),
            ("3", "00:00:03"),
        ] {
            let mut out = Vec::new();
            write_interval(parse_interval(text).expect(text), &mut out);
            assert_eq!(String::from_utf8(out).expect("ASCII"), expected, "{text}");
        }
        for text in ["", "day", "1 parsec", "P1H", "1:2:3:4", "ago", "1 day x"] {
            assert_eq!(
                parse_interval(text).expect_err(text).sqlstate,
                sqlstate::INVALID_DATETIME_FORMAT,
                "{text}"
            );
        }
        assert_eq!(
            parse_interval("9999999999 days").expect_err("far").sqlstate,
            sqlstate::DATETIME_FIELD_OVERFLOW
        );
    }
}
