//! The numbers in dates and times.

use super::{
    DateOrder, Wrong,
    fields::{Parts, mask},
    tokens::{Special, special},
};
use crate::types::text::FormatSettings;

/// Digits, as PostgreSQL's 32-bit numbers.
pub(super) fn small(digits: &str) -> Result<i64, Wrong> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Wrong::Syntax);
    }
    let value = digits.parse::<i64>().map_err(|_| Wrong::Range)?;
    if value > i64::from(i32::MAX) { Err(Wrong::Range) } else { Ok(value) }
}

/// Microseconds of `.5`.
pub(super) fn fraction(text: &str) -> Result<i64, Wrong> {
    let digits = text.strip_prefix('.').ok_or(Wrong::Syntax)?;
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Wrong::Syntax);
    }
    let value: f64 = format!("0.{digits}0").parse().map_err(|_| Wrong::Syntax)?;
    Ok((value * 1e6).round_ties_even() as i64)
}

/// Seconds east of `+hh[:mm[:ss]]` or `+hhmm`.
pub(super) fn zone(text: &str) -> Result<i32, Wrong> {
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'+') => (false, &text[1..]),
        Some(b'-') => (true, &text[1..]),
        _ => return Err(Wrong::Syntax),
    };
    let overflow = |_| Wrong::ZoneRange;
    // Nothing behind a colon is 0.
    let part = |digits: &str| match small(digits) {
        _ if digits.is_empty() => Ok(0),
        Err(Wrong::Range) => Err(Wrong::ZoneRange),
        other => other,
    };
    let parts: Vec<&str> = digits.split(':').collect();
    let (hours, minutes, seconds) = match *parts.as_slice() {
        // `strlen(str) > 3`, with the sign.
        [both] if both.len() > 2 => {
            let both = part(both)?;
            (both / 100, both % 100, 0)
        }
        [""] => return Err(Wrong::Syntax),
        [hours] => (part(hours)?, 0, 0),
        [hours, minutes] => (part(hours)?, part(minutes)?, 0),
        [hours, minutes, seconds] => (part(hours)?, part(minutes)?, part(seconds)?),
        _ => return Err(Wrong::Syntax),
    };
    if hours > 15 || minutes > 59 || seconds > 59 {
        return Err(Wrong::ZoneRange);
    }
    let seconds = i32::try_from((hours * 60 + minutes) * 60 + seconds).map_err(overflow)?;
    Ok(if negative { -seconds } else { seconds })
}

/// `hh:mm[:ss[.f]]`, or `mm:ss.f`. Minutes and seconds may be left out behind their colons.
pub(super) fn clock(text: &str, parts: &mut Parts) -> Result<(), Wrong> {
    let (whole, rest) = match text.find('.') {
        Some(point) => text.split_at(point),
        None => (text, ""),
    };
    let us = if rest.is_empty() { 0 } else { fraction(rest)? };
    // Nothing behind a colon is 0.
    let part = |digits: &str| if digits.is_empty() { Ok(0) } else { small(digits) };
    let numbers: Vec<&str> = whole.split(':').collect();
    let (hour, minute, second) = match *numbers.as_slice() {
        [minute, second] if !rest.is_empty() => (0, small(minute)?, part(second)?),
        [hour, minute] => (small(hour)?, part(minute)?, 0),
        [hour, minute, second] => (small(hour)?, part(minute)?, part(second)?),
        _ => return Err(Wrong::Syntax),
    };
    if minute > 59 || second > 60 || us > 1_000_000 {
        return Err(Wrong::Range);
    }
    (parts.hour, parts.minute, parts.second, parts.fraction) = (hour, minute, second, us);
    Ok(())
}

/// Three parts with something between them. What they named.
pub(super) fn date(
    text: &str,
    settings: &FormatSettings,
    seen: u32,
    parts: &mut Parts,
) -> Result<u32, Wrong> {
    let bytes = text.as_bytes();
    let (mut words, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        at += bytes[at..].iter().take_while(|b| !b.is_ascii_alphanumeric()).count();
        let Some(first) = bytes.get(at) else { return Err(Wrong::Syntax) };
        let same =
            |b: &&u8| b.is_ascii_alphanumeric() && b.is_ascii_digit() == first.is_ascii_digit();
        let end = at + bytes[at..].iter().take_while(same).count();
        words.push(&text[at..end]);
        // What stands behind a part separates, whatever it is.
        at = end + 1;
    }
    let mut all = seen;
    let mut named = 0;
    let mut text_month = false;
    // Words first, because what they mean is certain.
    for word in &words {
        if !word.starts_with(|c: char| c.is_ascii_alphabetic()) {
            continue;
        }
        match special(word) {
            Some(Special::Ignored) => continue,
            Some(Special::Month(month)) => parts.month = month,
            _ => return Err(Wrong::Syntax),
        }
        if all & mask::MONTH != 0 {
            return Err(Wrong::Syntax);
        }
        text_month = true;
        all |= mask::MONTH;
        named |= mask::MONTH;
    }
    for word in words {
        if word.starts_with(|c: char| c.is_ascii_alphabetic()) {
            continue;
        }
        let found = date_number(word, settings, text_month, all, parts)?;
        if all & found != 0 {
            return Err(Wrong::Syntax);
        }
        all |= found;
        named |= found;
    }
    if all & !(mask::DAY_OF_YEAR | mask::ZONE) == mask::DATE {
        Ok(named)
    } else {
        Err(Wrong::Syntax)
    }
}

/// A number by its place. What it named.
pub(super) fn date_number(
    text: &str,
    settings: &FormatSettings,
    text_month: bool,
    seen: u32,
    parts: &mut Parts,
) -> Result<u32, Wrong> {
    use mask::{DAY, MONTH, YEAR};
    const YEAR_MONTH: u32 = YEAR | MONTH;
    const MONTH_DAY: u32 = MONTH | DAY;
    let order = settings.date_style.order;
    let value = match text.find('.') {
        None => small(text)?,
        Some(3..) => return concatenated(text, seen | mask::DATE, parts),
        Some(point) => {
            parts.fraction = fraction(&text[point..])?;
            small(&text[..point])?
        }
    };
    let digits = text.len();
    if digits == 3 && seen & mask::DATE == YEAR && (1..=366).contains(&value) {
        parts.day_of_year = value;
        return Ok(mask::DAY_OF_YEAR | MONTH | DAY);
    }
    let named = match seen & mask::DATE {
        0 if digits >= 3 || order == DateOrder::Ymd => YEAR,
        0 if order == DateOrder::Dmy => DAY,
        0 => MONTH,
        YEAR => MONTH,
        MONTH if text_month && (digits >= 3 || order == DateOrder::Ymd) => YEAR,
        MONTH => DAY,
        YEAR_MONTH if text_month && digits >= 3 && parts.short_year => {
            // The first number was the day, after all.
            parts.day = parts.year;
            parts.year = value;
            parts.short_year = false;
            return Ok(DAY);
        }
        YEAR_MONTH => DAY,
        DAY => MONTH,
        MONTH_DAY => YEAR,
        mask::DATE => return concatenated(text, seen, parts),
        _ => return Err(Wrong::Syntax),
    };
    match named {
        YEAR => {
            parts.year = value;
            parts.short_year = digits <= 2;
        }
        MONTH => parts.month = value,
        _ => parts.day = value,
    }
    Ok(named)
}

/// `yyyymmdd`, `yymmdd`, `hhmmss[.f]` or `hhmm`. What it named.
pub(super) fn concatenated(text: &str, seen: u32, parts: &mut Parts) -> Result<u32, Wrong> {
    let (digits, has_fraction) = match text.find('.') {
        Some(point) => {
            parts.fraction = fraction(&text[point..])?;
            (&text[..point], true)
        }
        None => (text, false),
    };
    let length = digits.len();
    if !has_fraction && seen & mask::DATE != mask::DATE && length >= 6 {
        parts.day = small(&digits[length - 2..])?;
        parts.month = small(&digits[length - 4..length - 2])?;
        parts.year = small(&digits[..length - 4])?;
        parts.short_year = length == 6;
        return Ok(mask::DATE);
    }
    if seen & mask::TIME != mask::TIME && matches!(length, 4 | 6) {
        parts.hour = small(&digits[..2])?;
        parts.minute = small(&digits[2..4])?;
        parts.second = if length == 6 { small(&digits[4..])? } else { 0 };
        return Ok(mask::TIME);
    }
    Err(Wrong::Syntax)
}
