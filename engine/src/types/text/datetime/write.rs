//! Dates and times in the session's `DateStyle`.

use super::{
    super::{DateFormat, DateStyle},
    DAYS, DateOrder, MONTHS, US_PER_DAY, US_PER_SECOND, civil_from_days,
};
use crate::types::{TimeZone, timetz::TimeWithZone};

/// Decimal digits, with zeros before them up to `width`.
pub(in crate::types::text) fn push_padded(mut value: u64, width: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + width, b'0');
    let mut at = out.len();
    while value > 0 {
        let digit = b'0' + (value % 10) as u8;
        if at > start {
            at -= 1;
            out[at] = digit;
        } else {
            out.insert(start, digit);
        }
        value /= 10;
    }
}

/// `hh:mm:ss[.ffffff]`, hours with two digits at least.
pub(in crate::types::text) fn write_clock(us: u64, out: &mut Vec<u8>) {
    let seconds = us / US_PER_SECOND as u64;
    push_padded(seconds / 3600, 2, out);
    out.push(b':');
    push_padded(seconds / 60 % 60, 2, out);
    out.push(b':');
    push_padded(seconds % 60, 2, out);
    let fraction = us % US_PER_SECOND as u64;
    if fraction != 0 {
        out.push(b'.');
        push_padded(fraction, 6, out);
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
}

/// Year without era, month, day, and whether it is before Christ.
fn calendar(days: i64) -> (u64, u64, u64, bool) {
    let (year, month, day) = civil_from_days(days);
    let shown = if year > 0 { year } else { 1 - year };
    (shown as u64, u64::from(month), u64::from(day), year <= 0)
}

/// Three numbers with something between them.
fn push_three(numbers: [(u64, usize); 3], between: u8, out: &mut Vec<u8>) {
    for (at, (number, width)) in numbers.into_iter().enumerate() {
        if at > 0 {
            out.push(between);
        }
        push_padded(number, width, out);
    }
}

/// The day without era; the caller appends ` BC` at the end of its text if this says so.
fn write_day(days: i64, style: DateStyle, out: &mut Vec<u8>) -> bool {
    let (year, month, day, before_christ) = calendar(days);
    let (year, month, day) = ((year, 4), (month, 2), (day, 2));
    let month_first = style.order != DateOrder::Dmy;
    match style.format {
        DateFormat::Iso => push_three([year, month, day], b'-', out),
        DateFormat::German => push_three([day, month, year], b'.', out),
        DateFormat::Sql if month_first => push_three([month, day, year], b'/', out),
        DateFormat::Sql => push_three([day, month, year], b'/', out),
        DateFormat::Postgres if month_first => push_three([month, day, year], b'-', out),
        DateFormat::Postgres => push_three([day, month, year], b'-', out),
    }
    before_christ
}

/// Days since 1970-01-01.
pub(in crate::types::text) fn write_date(days: i32, style: DateStyle, out: &mut Vec<u8>) {
    match days {
        i32::MAX => out.extend_from_slice(b"infinity"),
        i32::MIN => out.extend_from_slice(b"-infinity"),
        days => {
            if write_day(i64::from(days), style, out) {
                out.extend_from_slice(b" BC");
            }
        }
    }
}

/// Microseconds since midnight.
pub(in crate::types::text) fn write_time(us: i64, out: &mut Vec<u8>) {
    write_clock(us.max(0) as u64, out);
}

/// A time of the day and its zone.
pub(in crate::types::text) fn write_timetz(time: TimeWithZone, out: &mut Vec<u8>) {
    write_time(time.us, out);
    write_offset(time.east, out);
}

/// Microseconds since 1970-01-01 00:00.
pub(in crate::types::text) fn write_timestamp(us: i64, style: DateStyle, out: &mut Vec<u8>) {
    if !write_infinity(us, out) {
        write_moment(us, None, style, out);
    }
}

/// Microseconds since 1970-01-01 00:00 UTC, shown in a zone.
pub(in crate::types::text) fn write_timestamptz(
    us: i64,
    zone: &TimeZone,
    style: DateStyle,
    out: &mut Vec<u8>,
) {
    if !write_infinity(us, out) {
        let offset = zone.offset_at_instant_us(us);
        let local = us.saturating_add(i64::from(offset) * US_PER_SECOND);
        let abbreviation = match style.format {
            DateFormat::Iso => None,
            _ => zone.abbreviation_at_instant_us(us),
        };
        write_moment(local, Some((offset, abbreviation)), style, out);
    }
}

fn write_infinity(us: i64, out: &mut Vec<u8>) -> bool {
    match us {
        i64::MAX => out.extend_from_slice(b"infinity"),
        i64::MIN => out.extend_from_slice(b"-infinity"),
        _ => return false,
    }
    true
}

fn write_moment(
    local_us: i64,
    zone: Option<(i32, Option<String>)>,
    style: DateStyle,
    out: &mut Vec<u8>,
) {
    let days = local_us.div_euclid(US_PER_DAY);
    let clock = local_us.rem_euclid(US_PER_DAY) as u64;
    let before_christ = if style.format == DateFormat::Postgres {
        write_long(days, clock, style.order, out)
    } else {
        let before_christ = write_day(days, style, out);
        out.push(b' ');
        write_clock(clock, out);
        before_christ
    };
    if let Some((offset, abbreviation)) = zone {
        if style.format != DateFormat::Iso {
            out.push(b' ');
        }
        match abbreviation {
            Some(name) => out.extend_from_slice(name.as_bytes()),
            None => write_offset(offset, out),
        }
    }
    if before_christ {
        out.extend_from_slice(b" BC");
    }
}

/// `Wed Dec 17 07:37:16 1997`.
fn write_long(days: i64, clock: u64, order: DateOrder, out: &mut Vec<u8>) -> bool {
    let (year, month, day, before_christ) = calendar(days);
    // 1970-01-01 was a Thursday.
    let weekday = DAYS[(days + 4).rem_euclid(7) as usize];
    let month = MONTHS[month as usize - 1];
    out.extend_from_slice(&weekday.as_bytes()[..3]);
    out.push(b' ');
    if order == DateOrder::Dmy {
        push_padded(day, 2, out);
        out.push(b' ');
        out.extend_from_slice(&month.as_bytes()[..3]);
    } else {
        out.extend_from_slice(&month.as_bytes()[..3]);
        out.push(b' ');
        push_padded(day, 2, out);
    }
    out.push(b' ');
    write_clock(clock, out);
    out.push(b' ');
    push_padded(year, 4, out);
    before_christ
}

/// Seconds east of Greenwich as `+hh[:mm[:ss]]`.
fn write_offset(offset: i32, out: &mut Vec<u8>) {
    out.push(if offset < 0 { b'-' } else { b'+' });
    let offset = u64::from(offset.unsigned_abs());
    push_padded(offset / 3600, 2, out);
    if !offset.is_multiple_of(3600) {
        out.push(b':');
        push_padded(offset / 60 % 60, 2, out);
    }
    if !offset.is_multiple_of(60) {
        out.push(b':');
        push_padded(offset % 60, 2, out);
    }
}
