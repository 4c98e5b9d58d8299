//! `to_char`: PostgreSQL's patterns, not strftime's. Patterns that are not known are refused.

use chrono::{Datelike, NaiveDateTime, Timelike};

use super::decimal::Decimal;
use crate::{
    error::SqlError,
    types::text::{DAYS, MONTHS},
};

/// Patterns for times, longer ones before their prefixes.
const PATTERNS: [&str; 56] = [
    "HH24", "HH12", "MONTH", "Month", "month", "YYYY", "yyyy", "hh24", "hh12", "A.M.", "P.M.",
    "a.m.", "p.m.", "IYYY", "SSSS", "Y,YYY", "DDD", "ddd", "DAY", "Day", "day", "MON", "Mon",
    "mon", "YYY", "yyy", "DY", "Dy", "dy", "DD", "dd", "MM", "mm", "MI", "mi", "SS", "ss", "MS",
    "ms", "US", "us", "HH", "hh", "AM", "PM", "am", "pm", "YY", "yy", "WW", "IW", "ID", "CC", "D",
    "Q", "Y",
];

pub fn timestamp(time: &NaiveDateTime, format: &str) -> Result<String, SqlError> {
    let mut out = String::new();
    let mut rest = format;
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find('"').unwrap_or(quoted.len());
            out.push_str(&quoted[..end]);
            rest = quoted.get(end + 1..).unwrap_or("");
            continue;
        }
        let (fill, after) = match rest.strip_prefix("FM").or_else(|| rest.strip_prefix("fm")) {
            Some(after) => (false, after),
            None => (true, rest),
        };
        if let Some(pattern) = PATTERNS.iter().find(|p| after.starts_with(**p)) {
            let number = field(time, pattern, fill, &mut out);
            rest = &after[pattern.len()..];
            let ordinal = ["TH", "th"].iter().find(|t| rest.starts_with(**t));
            if let (Some(number), Some(suffix)) = (number, ordinal) {
                let text = ordinal_suffix(number);
                out.push_str(&if *suffix == "TH" { text.to_uppercase() } else { text.to_owned() });
                rest = &rest[2..];
            }
            continue;
        }
        let mut chars = rest.chars();
        let c = chars.next().unwrap_or_default();
        if c.is_alphabetic() {
            return Err(SqlError::not_supported(format!("to_char pattern {rest:?}")));
        }
        out.push(c);
        rest = chars.as_str();
    }
    Ok(out)
}

/// Appends a field; its number, if it is one.
fn field(time: &NaiveDateTime, pattern: &str, fill: bool, out: &mut String) -> Option<i64> {
    let hour12 = (time.hour() + 11) % 12 + 1;
    let us = time.nanosecond() / 1000;
    let year = time.year();
    let (value, width) = match pattern {
        "HH24" | "hh24" => (i64::from(time.hour()), 2),
        "HH12" | "hh12" | "HH" | "hh" => (i64::from(hour12), 2),
        "MI" | "mi" => (i64::from(time.minute()), 2),
        "SS" | "ss" => (i64::from(time.second()), 2),
        "MS" | "ms" => (i64::from(us / 1000), 3),
        "US" | "us" => (i64::from(us), 6),
        "SSSS" => (i64::from(time.num_seconds_from_midnight()), 5),
        "YYYY" | "yyyy" => (i64::from(year), 4),
        "YYY" | "yyy" => (i64::from(year % 1000), 3),
        "YY" | "yy" => (i64::from(year % 100), 2),
        "Y" => (i64::from(year % 10), 1),
        "IYYY" => (i64::from(time.iso_week().year()), 4),
        "MM" | "mm" => (i64::from(time.month()), 2),
        "DD" | "dd" => (i64::from(time.day()), 2),
        "DDD" | "ddd" => (i64::from(time.ordinal()), 3),
        "D" => (i64::from(time.weekday().num_days_from_sunday()) + 1, 1),
        "ID" => (i64::from(time.weekday().number_from_monday()), 1),
        "Q" => (i64::from(time.month0() / 3) + 1, 1),
        "WW" => (i64::from(time.ordinal0() / 7) + 1, 2),
        "IW" => (i64::from(time.iso_week().week()), 2),
        "CC" => (i64::from((year + 99) / 100), 2),
        _ => {
            words(time, pattern, fill, out);
            return None;
        }
    };
    if fill {
        out.push_str(&format!("{value:0width$}"));
    } else {
        out.push_str(&value.to_string());
    }
    Some(value)
}

fn words(time: &NaiveDateTime, pattern: &str, fill: bool, out: &mut String) {
    let month = MONTHS[time.month0() as usize];
    let day = DAYS[time.weekday().num_days_from_sunday() as usize];
    let afternoon = time.hour() >= 12;
    let padded = |text: &str| if fill { format!("{text:<9}") } else { text.to_owned() };
    let year = time.year();
    out.push_str(&match pattern {
        "MONTH" => padded(&month.to_uppercase()),
        "Month" => padded(month),
        "month" => padded(&month.to_lowercase()),
        "MON" => month[..3].to_uppercase(),
        "Mon" => month[..3].to_owned(),
        "mon" => month[..3].to_lowercase(),
        "DAY" => padded(&day.to_uppercase()),
        "Day" => padded(day),
        "day" => padded(&day.to_lowercase()),
        "DY" => day[..3].to_uppercase(),
        "Dy" => day[..3].to_owned(),
        "dy" => day[..3].to_lowercase(),
        "AM" | "PM" => if afternoon { "PM" } else { "AM" }.to_owned(),
        "am" | "pm" => if afternoon { "pm" } else { "am" }.to_owned(),
        "A.M." | "P.M." => if afternoon { "P.M." } else { "A.M." }.to_owned(),
        "a.m." | "p.m." => if afternoon { "p.m." } else { "a.m." }.to_owned(),
        _ => format!("{},{:03}", year / 1000, year % 1000),
    });
}

fn ordinal_suffix(number: i64) -> &'static str {
    match (number % 100, number % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    }
}

/// Numbers: `9`, `0`, one `.`, `,`, and `FM` in front.
pub fn numeric(value: &Decimal, format: &str) -> Result<String, SqlError> {
    let (fill, pattern) = match format.strip_prefix("FM").or_else(|| format.strip_prefix("fm")) {
        Some(rest) => (false, rest),
        None => (true, format),
    };
    let (whole_pattern, fraction_pattern) = match pattern.split_once(['.', 'D']) {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (pattern, None),
    };
    let known = |p: &str, set: &str| p.chars().all(|c| set.contains(c));
    if !known(whole_pattern, "90,G") || !fraction_pattern.is_none_or(|f| known(f, "90")) {
        return Err(SqlError::not_supported(format!("to_char pattern {format:?}")));
    }
    let scale = fraction_pattern.map_or(0, str::len);
    let rounded = value.round(scale as i64);
    let negative = rounded.is_negative();
    let text = rounded.abs().to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let whole = if whole == "0" && scale > 0 && !whole_pattern.contains('0') { "" } else { whole };
    let slots = whole_pattern.chars().filter(|c| matches!(c, '9' | '0')).count();
    let overflow = whole.len() > slots;
    let forced = whole_pattern.find('0').map_or(0, |first| {
        whole_pattern[first..].chars().filter(|c| matches!(c, '9' | '0')).count()
    });
    let mut digits = format!("{whole:0>forced$}");
    if overflow {
        digits = "#".repeat(slots);
    }
    let blanks = slots - digits.len().min(slots);
    let mut body = String::new();
    let mut sign_done = false;
    let mut index = 0;
    for c in whole_pattern.chars() {
        if matches!(c, ',' | 'G') {
            body.push(if index > blanks || index == blanks && sign_done { ',' } else { ' ' });
            continue;
        }
        if index < blanks {
            body.push(' ');
        } else {
            if !sign_done {
                body.push(if negative { '-' } else { ' ' });
                sign_done = true;
            }
            body.push(char::from(digits.as_bytes()[index - blanks]));
        }
        index += 1;
    }
    if !sign_done {
        body.push(if negative { '-' } else { ' ' });
    }
    if let Some(pattern) = fraction_pattern {
        body.push('.');
        if overflow {
            body.push_str(&"#".repeat(scale));
        } else if fill {
            body.push_str(fraction);
        } else {
            // FM drops trailing zeros down to the last 0 of the pattern.
            let keep = pattern.rfind('0').map_or(0, |i| i + 1);
            let cut = fraction.trim_end_matches('0').len().max(keep);
            body.push_str(&fraction[..cut.min(fraction.len())]);
        }
    }
    Ok(if fill { body } else { body.trim_start().to_owned() })
}
