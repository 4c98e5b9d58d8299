//! `to_date`, `to_timestamp` and `to_number`: text read by a pattern.

use chrono::NaiveDate;

use super::{
    datetime::{DAY_US, days_of},
    decimal::Decimal,
};
use crate::{
    error::{SqlError, sqlstate},
    types::text::MONTHS,
};

/// Patterns, longer ones before their prefixes. Case does not matter when reading.
const PATTERNS: [&str; 29] = [
    "HH24", "HH12", "MONTH", "YYYY", "A.M.", "P.M.", "SSSSS", "Y,YYY", "SSSS", "DDD", "DAY", "MON",
    "YYY", "DY", "DD", "MM", "MI", "SS", "MS", "US", "HH", "AM", "PM", "YY", "J", "TZ", "FM", "TH",
    "Y",
];

/// What a text said.
#[derive(Default)]
struct Fields {
    year: Option<i32>,
    month: Option<u32>,
    day: Option<u32>,
    day_of_year: Option<u32>,
    julian: Option<i32>,
    hour: i64,
    twelve: bool,
    afternoon: Option<bool>,
    minute: i64,
    second: i64,
    us: i64,
    seconds_of_day: Option<i64>,
}

/// Days since 1970.
///
/// # Errors
/// 22007 for a text that does not fit the pattern, 22008 for a date there is none of, 0A000 for
/// patterns that are not built.
pub fn date(text: &str, format: &str) -> Result<i32, SqlError> {
    read(text, format)?.days(text)
}

/// Microseconds of local time.
///
/// # Errors
/// As [`date`].
pub fn timestamp(text: &str, format: &str) -> Result<i64, SqlError> {
    let fields = read(text, format)?;
    let days = i64::from(fields.days(text)?);
    let time = fields.time_of_day(text)?;
    days.checked_mul(DAY_US).and_then(|us| us.checked_add(time)).ok_or_else(|| out_of_range(text))
}

fn out_of_range(text: &str) -> SqlError {
    let message = format!("date/time field value out of range: \"{text}\"");
    SqlError::new(sqlstate::DATETIME_FIELD_OVERFLOW, message)
}

fn invalid(message: String) -> SqlError {
    SqlError::new(sqlstate::INVALID_DATETIME_FORMAT, message)
}

impl Fields {
    fn days(&self, text: &str) -> Result<i32, SqlError> {
        /// Of 1970-01-01.
        const JULIAN_EPOCH: i32 = 2_440_588;
        if let Some(julian) = self.julian {
            return Ok(julian - JULIAN_EPOCH);
        }
        // What is not said is the first of it; the year 1 BC without a year.
        let year = self.year.unwrap_or(0);
        let date = match self.day_of_year {
            Some(day) => NaiveDate::from_yo_opt(year, day),
            None => {
                let (month, day) = (self.month.unwrap_or(1), self.day.unwrap_or(1));
                NaiveDate::from_ymd_opt(year, month, day)
            }
        };
        date.map(days_of).ok_or_else(|| out_of_range(text))
    }

    fn time_of_day(&self, text: &str) -> Result<i64, SqlError> {
        if let Some(seconds) = self.seconds_of_day {
            return Ok(seconds * 1_000_000 + self.us);
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
        let valid = (0..=23).contains(&hour)
            && (0..=59).contains(&self.minute)
            && (0..=59).contains(&self.second);
        if !valid {
            return Err(out_of_range(text));
        }
        Ok((hour * 3600 + self.minute * 60 + self.second) * 1_000_000 + self.us)
    }
}

/// What is left of a pattern begins with one of these.
fn pattern_at(format: &str) -> Option<&'static str> {
    let starts = |pattern: &str| {
        format.get(..pattern.len()).is_some_and(|start| start.eq_ignore_ascii_case(pattern))
    };
    PATTERNS.into_iter().find(|pattern| starts(pattern))
}

fn read(text: &str, format: &str) -> Result<Fields, SqlError> {
    let mut fields = Fields::default();
    let mut rest = text.trim_start();
    let mut format = format;
    while !format.is_empty() {
        if let Some(pattern) = pattern_at(format) {
            format = &format[pattern.len()..];
            if pattern == "FM" {
                continue;
            }
            if pattern == "TH" {
                rest = rest.get(2..).unwrap_or("");
                continue;
            }
            rest = rest.trim_start();
            if rest.is_empty() {
                break;
            }
            // Digits that another number follows directly are cut to the pattern's width.
            let joined = pattern_at(format).is_some_and(|next| !matches!(next, "FM" | "TH"));
            rest = fields.read(pattern, rest, joined)?;
            continue;
        }
        let mut chars = format.chars();
        let separator = chars.next().unwrap_or_default();
        format = chars.as_str();
        if separator == '"' {
            let end = format.find('"').unwrap_or(format.len());
            let skipped = format[..end].chars().count();
            format = format.get(end + 1..).unwrap_or("");
            rest = rest.char_indices().nth(skipped).map_or("", |(byte, _)| &rest[byte..]);
        } else if separator.is_alphabetic() {
            return Err(SqlError::not_supported(format!("pattern {separator}{format}")));
        } else if !rest.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '+' | '-'))
            || rest.starts_with(separator)
        {
            // A separator stands for any one, and for the blanks around it.
            rest = rest.trim_start();
            if let Some(after) = rest.strip_prefix(|c: char| !c.is_alphanumeric()) {
                rest = after;
            }
        }
    }
    Ok(fields)
}

impl Fields {
    /// Reads one field; what follows it.
    fn read<'t>(
        &mut self,
        pattern: &str,
        text: &'t str,
        joined: bool,
    ) -> Result<&'t str, SqlError> {
        match pattern {
            "MONTH" | "MON" => {
                let (month, after) = month(pattern, text)?;
                self.month = Some(month);
                return Ok(after);
            }
            "DAY" | "DY" => {
                return Ok(text.trim_start_matches(|c: char| c.is_ascii_alphabetic()));
            }
            "AM" | "PM" | "A.M." | "P.M." => return self.half_of_day(pattern, text),
            "TZ" | "Y,YYY" | "YYY" => {
                return Err(SqlError::not_supported(format!("reading pattern {pattern}")));
            }
            _ => {}
        }
        let width = match pattern {
            "YYYY" => 4,
            "DDD" | "MS" => 3,
            "US" => 6,
            "SSSS" | "SSSSS" => 5,
            "J" => 7,
            "Y" => 1,
            _ => 2,
        };
        // Only fractions and fields with a number right behind them have a width.
        let bounded = joined || matches!(pattern, "MS" | "US");
        let (number, digits, after) = number_at(pattern, text, width, bounded)?;
        let narrow = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
        match pattern {
            "YYYY" => self.year = i32::try_from(number).ok(),
            "YY" | "Y" => {
                let number = number as i32;
                // The year nearest to 2020.
                self.year = Some(match (digits, number) {
                    (1 | 2, 0..=69) => 2000 + number,
                    (1 | 2, _) => 1900 + number,
                    _ => number,
                });
            }
            "MM" => self.month = Some(narrow(number)),
            "DD" => self.day = Some(narrow(number)),
            "DDD" => self.day_of_year = Some(narrow(number)),
            "J" => self.julian = i32::try_from(number).ok(),
            "HH24" => self.hour = number,
            "HH" | "HH12" => (self.hour, self.twelve) = (number, true),
            "MI" => self.minute = number,
            "SS" => self.second = number,
            "SSSS" | "SSSSS" => self.seconds_of_day = Some(number),
            // Digits behind a point: .5 is 500 ms.
            _ => self.us = number * 10_i64.pow(6_u32.saturating_sub(digits as u32)),
        }
        Ok(after)
    }

    fn half_of_day<'t>(&mut self, pattern: &str, text: &'t str) -> Result<&'t str, SqlError> {
        let dotted = pattern.contains('.');
        for (name, afternoon) in [("am", false), ("pm", true), ("a.m.", false), ("p.m.", true)] {
            let found = text.get(..name.len()).is_some_and(|t| t.eq_ignore_ascii_case(name));
            if found && dotted == name.contains('.') {
                self.afternoon = Some(afternoon);
                return Ok(&text[name.len()..]);
            }
        }
        let word: String = text.chars().take(pattern.len()).collect();
        Err(invalid(format!("invalid value \"{word}\" for \"{pattern}\""))
            .detail("The given value did not match any of the allowed values for this field."))
    }
}

fn month<'t>(pattern: &str, text: &'t str) -> Result<(u32, &'t str), SqlError> {
    for (number, name) in (1..).zip(MONTHS) {
        let name = if pattern == "MON" { &name[..3] } else { name };
        if text.get(..name.len()).is_some_and(|t| t.eq_ignore_ascii_case(name)) {
            return Ok((number, &text[name.len()..]));
        }
    }
    let end = text.find(' ').unwrap_or(text.len());
    let word = &text[..end];
    Err(invalid(format!("invalid value \"{word}\" for \"{pattern}\""))
        .detail("The given value did not match any of the allowed values for this field."))
}

/// A number, how many digits it has, and what follows it.
fn number_at<'t>(
    pattern: &str,
    text: &'t str,
    width: usize,
    bounded: bool,
) -> Result<(i64, usize, &'t str), SqlError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let digits = if bounded { digits.min(width) } else { digits };
    let value = text[..digits].parse::<i64>();
    match value {
        Ok(value) if value <= i64::from(i32::MAX) => Ok((value, digits, &text[digits..])),
        _ if digits == 0 => {
            let word: String = text.chars().take(width).collect();
            Err(invalid(format!("invalid value \"{word}\" for \"{pattern}\""))
                .detail("Value must be an integer."))
        }
        _ => {
            let word = &text[..digits];
            let message = format!("value for \"{pattern}\" in source string is out of range");
            Err(SqlError::new(sqlstate::DATETIME_FIELD_OVERFLOW, message).detail(format!(
                "Value must be in the range -2147483648 to 2147483647; {word} is not."
            )))
        }
    }
}

/// A number written with signs, group separators and a currency symbol.
///
/// # Errors
/// 22P02 for a text without a number, 0A000 for patterns that are not built.
pub fn number(text: &str, format: &str) -> Result<Decimal, SqlError> {
    let upper = format.to_ascii_uppercase();
    if let Some(letter) = upper.chars().find(|c| c.is_alphabetic() && !"DGLSFMIPR".contains(*c)) {
        return Err(SqlError::not_supported(format!("to_number pattern {letter:?}")));
    }
    let slots = upper.split(['.', 'D']).map(|part| part.matches(['9', '0']).count());
    let slots: Vec<usize> = slots.collect();
    let (mut digits, mut negative, mut fraction, mut taken) = (String::new(), false, false, 0);
    for c in text.trim().chars() {
        match c {
            '-' | '<' => negative = true,
            '.' if !fraction && slots.len() > 1 => {
                fraction = true;
                taken = 0;
                digits.push('.');
            }
            '.' => break,
            c if c.is_ascii_digit() => {
                let most = slots.get(usize::from(fraction)).copied().unwrap_or(0);
                if taken == most {
                    break;
                }
                taken += 1;
                digits.push(c);
            }
            // Signs, blanks, group separators, currency.
            _ => {}
        }
    }
    let digits = digits.trim_end_matches('.');
    let digits = if digits.starts_with('.') { format!("0{digits}") } else { digits.to_owned() };
    let value = Decimal::parse(&digits).ok_or_else(|| {
        let message = format!("invalid input syntax for type numeric: \"{text}\"");
        SqlError::new(sqlstate::INVALID_TEXT_REPRESENTATION, message)
    })?;
    Ok(if negative { value.negate() } else { value })
}
