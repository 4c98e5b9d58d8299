//! Text read by a template, strictly: every character of it must fit, as SQL/JSON wants it.

use chrono::{NaiveDate, NaiveTime, TimeDelta};

use super::moment::Moment;
use crate::error::{SqlError, sqlstate};

/// Patterns, longer ones before their prefixes.
const PATTERNS: [&str; 33] = [
    "HH24", "HH12", "YYYY", "RRRR", "A.M.", "P.M.", "SSSSS", "Y,YYY", "SSSS", "DDD", "YYY", "TZH",
    "TZM", "FF1", "FF2", "FF3", "FF4", "FF5", "FF6", "DD", "MM", "MI", "SS", "MS", "US", "HH",
    "AM", "PM", "YY", "RR", "FM", "TZ", "Y",
];

/// Patterns of PostgreSQL that are not built.
const MISSING: [&str; 20] = [
    "MONTH", "MON", "DAY", "DY", "D", "WW", "W", "IYYY", "IYY", "IY", "I", "IW", "IDDD", "ID", "Q",
    "CC", "J", "BC", "AD", "RM",
];

/// The last year that dates have here.
const YEAR_MAX: i32 = 262_142;

enum Node {
    Pattern(&'static str),
    Separator(char),
    Character(char),
}

impl Node {
    /// Whether numbers in front of it may be as long as they are.
    fn ends_number(&self) -> bool {
        match self {
            Self::Pattern(pattern) => matches!(*pattern, "AM" | "PM" | "A.M." | "P.M."),
            Self::Separator(_) => true,
            Self::Character(c) => !c.is_ascii_digit(),
        }
    }
}

fn invalid(message: impl Into<String>) -> SqlError {
    SqlError::new(sqlstate::INVALID_DATETIME_FORMAT, message)
}

fn nodes(template: &str) -> Result<Vec<Node>, SqlError> {
    let mut nodes = Vec::new();
    let mut rest = template;
    while let Some(first) = rest.chars().next() {
        let starts = |pattern: &&str| {
            rest.get(..pattern.len()).is_some_and(|start| start.eq_ignore_ascii_case(pattern))
        };
        if let Some(pattern) = PATTERNS.into_iter().find(starts) {
            rest = &rest[pattern.len()..];
            if pattern == "TZ" {
                let message = "formatting field \"TZ\" is only supported in to_char";
                return Err(SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
            }
            if pattern != "FM" {
                nodes.push(Node::Pattern(pattern));
            }
            continue;
        }
        rest = &rest[first.len_utf8()..];
        if first == '"' {
            let mut escaped = false;
            while let Some(c) = rest.chars().next() {
                rest = &rest[c.len_utf8()..];
                match c {
                    '"' if !escaped => break,
                    '\\' if !escaped => escaped = true,
                    c => {
                        escaped = false;
                        nodes.push(Node::Character(c));
                    }
                }
            }
        } else if "-./,':; ".contains(first) {
            nodes.push(Node::Separator(first));
        } else if MISSING.iter().any(|pattern| {
            let text = &template[template.len() - rest.len() - 1..];
            text.get(..pattern.len()).is_some_and(|start| start.eq_ignore_ascii_case(pattern))
        }) {
            return Err(SqlError::not_supported(format!("datetime template {template:?}")));
        } else {
            let message = format!("invalid datetime format separator: \"{first}\"");
            return Err(invalid(message));
        }
    }
    Ok(nodes)
}

/// What a text said.
#[derive(Default)]
struct Fields {
    year: Option<i32>,
    month: Option<u32>,
    day: Option<u32>,
    day_of_year: Option<u32>,
    hour: i64,
    twelve: bool,
    afternoon: Option<bool>,
    minute: i64,
    second: i64,
    us: i64,
    seconds_of_day: Option<i64>,
    zone_sign: i32,
    zone_hours: i32,
    zone_minutes: i32,
    dated: bool,
    timed: bool,
    zoned: bool,
}

/// # Errors
/// 22007 for a text that does not fit, 22008 for a date or time that there is none of, 0A000 for
/// patterns that are not built.
pub(super) fn read(text: &str, template: &str) -> Result<Moment, SqlError> {
    let nodes = nodes(template)?;
    let mut fields = Fields::default();
    let mut rest = text.trim_start();
    for (at, node) in nodes.iter().enumerate() {
        if rest.is_empty() {
            let message = "input string is too short for datetime format";
            return Err(invalid(message));
        }
        match node {
            Node::Separator(c) => {
                rest = rest
                    .strip_prefix(*c)
                    .ok_or_else(|| invalid(format!("unmatched format separator \"{c}\"")))?;
            }
            Node::Character(c) => {
                rest = rest
                    .strip_prefix(*c)
                    .ok_or_else(|| invalid(format!("unmatched format character \"{c}\"")))?;
            }
            Node::Pattern(pattern) => {
                let free = nodes.get(at + 1).is_none_or(Node::ends_number);
                rest = fields.read(pattern, rest.trim_start(), free)?;
            }
        }
    }
    if !rest.trim_start().is_empty() {
        let message = "trailing characters remain in input string after datetime format";
        return Err(invalid(message));
    }
    fields.moment(text)
}

/// A number of at most `width` digits, or of any length if `free`; what follows it.
fn number<'t>(
    pattern: &str,
    text: &'t str,
    width: usize,
    free: bool,
) -> Result<(i64, &'t str), SqlError> {
    let signed = usize::from(text.starts_with(['-', '+']));
    let digits = text[signed..].bytes().take_while(u8::is_ascii_digit).count();
    let shown = || text.chars().take(width).collect::<String>();
    if !free && text.chars().count() < width {
        let message = format!("source string too short for \"{pattern}\" formatting field");
        let detail =
            format!("Field requires {width} characters, but only {} remain.", text.chars().count());
        let hint = "If your source string is not fixed-width, try using the \"FM\" modifier.";
        return Err(invalid(message).detail(detail).hint(hint));
    }
    let taken = if free { signed + digits } else { (signed + digits).min(width) };
    if digits == 0 || taken == 0 {
        let message = format!("invalid value \"{}\" for \"{pattern}\"", shown());
        return Err(invalid(message).detail("Value must be an integer."));
    }
    if !free && taken < width {
        let message = format!("invalid value \"{}\" for \"{pattern}\"", shown());
        let detail =
            format!("Field requires {width} characters, but only {taken} could be parsed.");
        let hint = "If your source string is not fixed-width, try using the \"FM\" modifier.";
        return Err(invalid(message).detail(detail).hint(hint));
    }
    match text[..taken].parse::<i32>() {
        Ok(value) => Ok((i64::from(value), &text[taken..])),
        Err(_) => Err(SqlError::new(
            sqlstate::DATETIME_FIELD_OVERFLOW,
            format!("value for \"{pattern}\" in source string is out of range"),
        )),
    }
}

impl Fields {
    /// Reads one field; what follows it.
    fn read<'t>(
        &mut self,
        pattern: &'static str,
        text: &'t str,
        free: bool,
    ) -> Result<&'t str, SqlError> {
        let width = match pattern {
            "HH24" | "HH12" => 2,
            "SSSSS" => 5,
            "MS" => 3,
            "US" => 6,
            "FF1" | "FF2" | "FF3" | "FF4" | "FF5" | "FF6" => {
                usize::from(pattern.as_bytes()[2] - b'0')
            }
            other => other.len(),
        };
        match pattern {
            "AM" | "PM" | "A.M." | "P.M." => {
                let found = ["A.M.", "P.M.", "AM", "PM"].into_iter().find(|half| {
                    text.get(..half.len()).is_some_and(|start| start.eq_ignore_ascii_case(half))
                });
                let Some(half) = found else {
                    let shown: String = text.chars().take(width).collect();
                    let message = format!("invalid value \"{shown}\" for \"{pattern}\"");
                    let detail = "The given value did not match any of the allowed values for \
                                  this field.";
                    return Err(invalid(message).detail(detail));
                };
                self.afternoon = Some(half.starts_with('P'));
                self.timed = true;
                return Ok(&text[half.len()..]);
            }
            "TZH" => {
                // A sign that is left out is a plus.
                let (sign, digits) = match text.strip_prefix(['+', '-', ' ']) {
                    Some(rest) => (if text.starts_with('-') { -1 } else { 1 }, rest),
                    None => (1, text),
                };
                let (value, rest) = number(pattern, digits, 2, free)?;
                self.zone_sign = sign;
                self.zone_hours = value as i32;
                self.zoned = true;
                return Ok(rest);
            }
            "US" | "MS" | "FF1" | "FF2" | "FF3" | "FF4" | "FF5" | "FF6" => {
                let digits = text.bytes().take_while(u8::is_ascii_digit).count();
                let taken = if free { digits } else { digits.min(width) };
                if taken == 0 {
                    let (_, rest) = number(pattern, text, width, free)?;
                    return Ok(rest);
                }
                let padded = format!("{:0<6}", &text[..taken.min(6)]);
                self.us = padded.parse().unwrap_or(0);
                self.timed = true;
                return Ok(&text[taken..]);
            }
            _ => {}
        }
        let (value, rest) = number(pattern, text, width, free)?;
        let part = u32::try_from(value).unwrap_or(u32::MAX);
        match pattern {
            "YYYY" | "RRRR" | "Y,YYY" => self.year = Some(near(value, 4, text.len() - rest.len())),
            "YYY" => self.year = Some(near(value, 3, text.len() - rest.len())),
            "YY" | "RR" => self.year = Some(near(value, 2, text.len() - rest.len())),
            "Y" => self.year = Some(near(value, 1, text.len() - rest.len())),
            "MM" => self.month = Some(part),
            "DD" => self.day = Some(part),
            "DDD" => self.day_of_year = Some(part),
            "HH24" => self.hour = value,
            "HH12" | "HH" => (self.hour, self.twelve) = (value, true),
            "MI" => self.minute = value,
            "SS" => self.second = value,
            "SSSSS" | "SSSS" => self.seconds_of_day = Some(value),
            "TZM" => self.zone_minutes = value as i32,
            other => return Err(SqlError::internal(format!("pattern {other}"))),
        }
        match pattern {
            "YYYY" | "RRRR" | "Y,YYY" | "YYY" | "YY" | "RR" | "Y" | "MM" | "DD" | "DDD" => {
                self.dated = true;
            }
            "TZM" => self.zoned = true,
            _ => self.timed = true,
        }
        Ok(rest)
    }

    fn moment(&self, text: &str) -> Result<Moment, SqlError> {
        let out_of_range = || {
            let message = format!("date/time field value out of range: \"{text}\"");
            SqlError::new(sqlstate::DATETIME_FIELD_OVERFLOW, message)
        };
        let offset = self.zone_sign * (self.zone_hours * 3600 + self.zone_minutes * 60);
        if offset.abs() >= 16 * 3600 || self.zone_minutes >= 60 {
            return Err(out_of_range());
        }
        if self.year.is_some_and(|year| year > YEAR_MAX) {
            return Err(SqlError::not_supported(format!("a year beyond {YEAR_MAX} in jsonpath")));
        }
        let date = match self.day_of_year {
            _ if !self.dated => None,
            Some(day) => NaiveDate::from_yo_opt(self.year.unwrap_or(0), day),
            None => NaiveDate::from_ymd_opt(
                self.year.unwrap_or(0),
                self.month.unwrap_or(1),
                self.day.unwrap_or(1),
            ),
        };
        if self.dated && date.is_none() {
            return Err(out_of_range());
        }
        let time = self.time()?.ok_or_else(out_of_range)?;
        Ok(match (date, self.timed, self.zoned) {
            (Some(date), true, true) => {
                let utc = date.and_time(time) - TimeDelta::seconds(i64::from(offset));
                Moment::TimestampTz(utc, offset)
            }
            (Some(date), true, false) => Moment::Timestamp(date.and_time(time)),
            (Some(_), false, true) => {
                return Err(invalid("datetime format is zoned but not timed"));
            }
            (Some(date), false, false) => Moment::Date(date),
            (None, true, true) => Moment::TimeTz(time, offset),
            (None, true, false) => Moment::Time(time),
            (None, false, _) => {
                return Err(invalid("datetime format is not dated and not timed"));
            }
        })
    }

    fn time(&self) -> Result<Option<NaiveTime>, SqlError> {
        let ns = (self.us * 1_000) as u32;
        if let Some(seconds) = self.seconds_of_day {
            let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
            return Ok(NaiveTime::from_num_seconds_from_midnight_opt(seconds, ns));
        }
        let mut hour = self.hour;
        if self.twelve || self.afternoon.is_some() {
            if !(1..=12).contains(&hour) {
                let message = format!("hour \"{hour}\" is invalid for the 12-hour clock");
                return Err(invalid(message)
                    .hint("Use the 24-hour clock, or give an hour between 1 and 12."));
            }
            hour = hour % 12 + if self.afternoon == Some(true) { 12 } else { 0 };
        }
        let part = |value: i64| u32::try_from(value).unwrap_or(u32::MAX);
        Ok(NaiveTime::from_hms_nano_opt(part(hour), part(self.minute), part(self.second), ns))
    }
}

/// A year of fewer digits than four is the one nearest to 2020.
fn near(value: i64, width: usize, digits: usize) -> i32 {
    let value = value as i32;
    if digits >= 4 || width == 4 && digits == 4 {
        return value;
    }
    match digits {
        1 | 2 if value < 70 => value + 2000,
        1 | 2 => value + 1900,
        3 if value < 520 => value + 2000,
        _ => value + 1000,
    }
}
