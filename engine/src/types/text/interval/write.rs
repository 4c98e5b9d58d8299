//! Intervals in the session's `IntervalStyle`.

use arrow::{array::types::IntervalMonthDayNano, datatypes::IntervalMonthDayNanoType};

use super::super::{
    IntervalStyle,
    datetime::{US_PER_SECOND, push_padded, write_clock},
};

/// Appends an interval as PostgreSQL prints it in `style`.
pub fn write_interval(value: IntervalMonthDayNano, style: IntervalStyle, out: &mut Vec<u8>) {
    let (months, days, ns) = IntervalMonthDayNanoType::to_parts(value);
    let us = ns / 1000;
    match style {
        IntervalStyle::Postgres => postgres(months, days, us, out),
        IntervalStyle::PostgresVerbose => verbose(&Parts::new(months, days, us), out),
        IntervalStyle::SqlStandard => sql_standard(&Parts::new(months, days, us), out),
        IntervalStyle::Iso8601 => iso_8601(&Parts::new(months, days, us), out),
    }
}

/// `1 year 2 mons -3 days +04:05:06`.
fn postgres(months: i32, days: i32, us: i64, out: &mut Vec<u8>) {
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

/// What the other styles print, each with its own sign; seconds in microseconds.
struct Parts {
    years: i64,
    months: i64,
    days: i64,
    hours: i64,
    minutes: i64,
    second_us: i64,
}

impl Parts {
    fn new(months: i32, days: i32, us: i64) -> Self {
        let minute = 60 * US_PER_SECOND;
        Self {
            years: i64::from(months / 12),
            months: i64::from(months % 12),
            days: i64::from(days),
            hours: us / (60 * minute),
            minutes: us / minute % 60,
            second_us: us % minute,
        }
    }

    fn all(&self) -> [i64; 6] {
        [self.years, self.months, self.days, self.hours, self.minutes, self.second_us]
    }

    fn negated(&self) -> Self {
        let [years, months, days, hours, minutes, second_us] = self.all().map(|part| -part);
        Self { years, months, days, hours, minutes, second_us }
    }
}

/// Seconds with their fraction, without sign.
fn push_seconds(us: i64, width: usize, out: &mut Vec<u8>) {
    let us = us.unsigned_abs();
    push_padded(us / US_PER_SECOND as u64, width, out);
    if us < US_PER_SECOND as u64 && width == 0 {
        out.push(b'0');
    }
    let fraction = us % US_PER_SECOND as u64;
    if fraction != 0 {
        out.push(b'.');
        push_padded(fraction, 6, out);
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
}

/// `@ 1 year 2 mons -3 days 4 hours 5 mins 6.7 secs ago`: the first part is never negative, `ago`
/// turns all signs.
fn verbose(parts: &Parts, out: &mut Vec<u8>) {
    out.push(b'@');
    let ago = parts.all().into_iter().find(|part| *part != 0).is_some_and(|first| first < 0);
    let turned = if ago { &parts.negated() } else { parts };
    let [years, months, days, hours, minutes, second_us] = turned.all();
    let mut any = false;
    for (part, unit) in
        [(years, "year"), (months, "mon"), (days, "day"), (hours, "hour"), (minutes, "min")]
    {
        if part != 0 {
            let plural = if part == 1 { "" } else { "s" };
            out.extend_from_slice(format!(" {part} {unit}{plural}").as_bytes());
            any = true;
        }
    }
    if second_us != 0 {
        out.push(b' ');
        if second_us < 0 {
            out.push(b'-');
        }
        push_seconds(second_us, 0, out);
        let one = second_us.abs() == US_PER_SECOND;
        out.extend_from_slice(if one { b" sec" } else { b" secs" });
        any = true;
    }
    if !any {
        out.extend_from_slice(b" 0");
    }
    if ago {
        out.extend_from_slice(b" ago");
    }
}

/// `1-2` for years and months, `3 4:05:06` for days and time; what SQL has no text for gets a sign
/// before each of the three.
fn sql_standard(parts: &Parts, out: &mut Vec<u8>) {
    let negative = parts.all().into_iter().any(|part| part < 0);
    let positive = parts.all().into_iter().any(|part| part > 0);
    let has_months = parts.years != 0 || parts.months != 0;
    let [_, _, days, time @ ..] = parts.all();
    let has_time = days != 0 || time.into_iter().any(|part| part != 0);
    if !negative && !positive {
        out.push(b'0');
        return;
    }
    if negative && positive || has_months && has_time {
        let sign = |negative| if negative { '-' } else { '+' };
        let text = format!(
            "{}{}-{} {}{} {}{}:{:02}:",
            sign(parts.years < 0 || parts.months < 0),
            parts.years.abs(),
            parts.months.abs(),
            sign(days < 0),
            days.abs(),
            sign(time.into_iter().any(|part| part < 0)),
            parts.hours.abs(),
            parts.minutes.abs(),
        );
        out.extend_from_slice(text.as_bytes());
        push_seconds(parts.second_us, 2, out);
        return;
    }
    let parts = if negative { &parts.negated() } else { parts };
    if negative {
        out.push(b'-');
    }
    if has_months {
        out.extend_from_slice(format!("{}-{}", parts.years, parts.months).as_bytes());
        return;
    }
    if parts.days != 0 {
        out.extend_from_slice(format!("{} ", parts.days).as_bytes());
    }
    out.extend_from_slice(format!("{}:{:02}:", parts.hours, parts.minutes).as_bytes());
    push_seconds(parts.second_us, 2, out);
}

/// `P1Y2M3DT4H5M6.7S`.
fn iso_8601(parts: &Parts, out: &mut Vec<u8>) {
    if parts.all() == [0; 6] {
        out.extend_from_slice(b"PT0S");
        return;
    }
    let [years, months, days, hours, minutes, second_us] = parts.all();
    out.push(b'P');
    for (part, designator) in [(years, 'Y'), (months, 'M'), (days, 'D')] {
        push_designated(part, designator, out);
    }
    if hours != 0 || minutes != 0 || second_us != 0 {
        out.push(b'T');
    }
    for (part, designator) in [(hours, 'H'), (minutes, 'M')] {
        push_designated(part, designator, out);
    }
    if second_us != 0 {
        if second_us < 0 {
            out.push(b'-');
        }
        push_seconds(second_us, 0, out);
        out.push(b'S');
    }
}

fn push_designated(part: i64, designator: char, out: &mut Vec<u8>) {
    if part != 0 {
        out.extend_from_slice(format!("{part}{designator}").as_bytes());
    }
}
