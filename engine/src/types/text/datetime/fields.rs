//! Reading a date, a time and a zone out of free text, in PostgreSQL's many orders.

use super::{DAYS, DateOrder, MONTHS, US_PER_SECOND, Wrong, days_from_civil, days_in_month};
use crate::types::{TimeZone, text::zone_offset};

/// What a text named.
#[derive(Default, Debug)]
pub(super) struct Fields {
    /// Year (0 is 1 BC), month, day.
    date: Option<(i64, u32, u32)>,
    /// Since midnight.
    pub time_us: Option<i64>,
    pub zone: Option<TimeZone>,
}

/// Abbreviations of PostgreSQL's default set that mean one offset, in minutes east.
const ABBREVIATIONS: [(&str, i32); 17] = [
    ("utc", 0),
    ("gmt", 0),
    ("zulu", 0),
    ("z", 0),
    ("wet", 0),
    ("cet", 60),
    ("cest", 120),
    ("eet", 120),
    ("eest", 180),
    ("bst", 60),
    ("jst", 540),
    ("est", -300),
    ("edt", -240),
    ("cst", -360),
    ("mst", -420),
    ("pst", -480),
    ("pdt", -420),
];

/// Whether a word is a name, or its first three letters.
fn names(word: &str, name: &str) -> bool {
    word.eq_ignore_ascii_case(name) || word.eq_ignore_ascii_case(&name[..3])
}

fn month_of(word: &str) -> Option<u32> {
    if word.eq_ignore_ascii_case("sept") {
        return Some(9);
    }
    MONTHS.iter().position(|month| names(word, month)).map(|at| at as u32 + 1)
}

/// Date parts in the order of the text, before the order of day, month and year is settled.
#[derive(Default)]
struct DateParts {
    /// (value, number of digits)
    numbers: Vec<(i64, usize)>,
    /// Month by name, and how many numbers stood before it.
    month: Option<(u32, usize)>,
    /// Compact `yyyymmdd`.
    year_first: bool,
}

struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    fn peek(&self) -> Option<u8> {
        self.rest.as_bytes().first().copied()
    }

    fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a str {
        let end = self.rest.bytes().take_while(|b| wanted(*b)).count();
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }
}

impl Fields {
    pub(super) fn parse(text: &str, order: DateOrder) -> Result<Self, Wrong> {
        if !text.is_ascii() {
            return Err(Wrong::Syntax);
        }
        let mut scanner = Scanner { rest: text };
        let mut fields = Self::default();
        let mut parts = DateParts::default();
        let mut before_christ = false;
        loop {
            let blank = !scanner.take_while(|b| b.is_ascii_whitespace() || b == b',').is_empty();
            match scanner.peek() {
                None => break,
                Some(b'0'..=b'9') => fields.number(&mut scanner, &mut parts)?,
                // After a time, or after a whole date: `2020-01-01+00`, `2020-01-01 -05`.
                Some(sign @ (b'+' | b'-'))
                    if fields.zone.is_none()
                        && (fields.time_us.is_some()
                            || parts.complete() && (blank || sign == b'+')) =>
                {
                    fields.offset(&mut scanner)?;
                }
                Some(b'-' | b'/' | b'.') if !parts.is_empty() && !parts.complete() => {
                    scanner.rest = &scanner.rest[1..];
                }
                Some(byte) if byte.is_ascii_alphabetic() => {
                    fields.word(&mut scanner, &mut parts, &mut before_christ)?;
                }
                Some(_) => return Err(Wrong::Syntax),
            }
        }
        if !parts.is_empty() {
            fields.date = Some(parts.resolve(order, before_christ)?);
        } else if before_christ {
            return Err(Wrong::Syntax);
        }
        Ok(fields)
    }

    pub(super) fn days(&self) -> Option<i64> {
        self.date.map(|(year, month, day)| days_from_civil(year, month, day))
    }

    fn number(&mut self, scanner: &mut Scanner<'_>, parts: &mut DateParts) -> Result<(), Wrong> {
        let digits = scanner.take_while(|b| b.is_ascii_digit());
        if scanner.peek() == Some(b':') {
            return self.clock(digits, scanner);
        }
        // After a `T` or a whole date, compact `hhmmss`.
        if parts.complete() && self.time_us.is_none() && matches!(digits.len(), 4 | 6) {
            let (h, rest) = digits.split_at(2);
            let (m, s) = rest.split_at(2);
            return self.set_clock(h, m, if s.is_empty() { "0" } else { s }, scanner);
        }
        if matches!(digits.len(), 6 | 8) && parts.is_empty() && separator_free(scanner) {
            let (year, rest) = digits.split_at(digits.len() - 4);
            let (month, day) = rest.split_at(2);
            for part in [year, month, day] {
                parts.push(part)?;
            }
            parts.year_first = true;
            return Ok(());
        }
        parts.push(digits)
    }

    fn clock(&mut self, hours: &str, scanner: &mut Scanner<'_>) -> Result<(), Wrong> {
        scanner.eat(b':');
        let minutes = scanner.take_while(|b| b.is_ascii_digit());
        let seconds =
            if scanner.eat(b':') { scanner.take_while(|b| b.is_ascii_digit()) } else { "0" };
        self.set_clock(hours, minutes, seconds, scanner)
    }

    fn set_clock(
        &mut self,
        hours: &str,
        minutes: &str,
        seconds: &str,
        scanner: &mut Scanner<'_>,
    ) -> Result<(), Wrong> {
        if self.time_us.is_some() || hours.is_empty() || minutes.is_empty() || seconds.is_empty() {
            return Err(Wrong::Syntax);
        }
        let value = |digits: &str| digits.parse::<i64>().map_err(|_| Wrong::Range);
        let (h, m, s) = (value(hours)?, value(minutes)?, value(seconds)?);
        let mut fraction_us = 0;
        if scanner.eat(b'.') {
            let digits = scanner.take_while(|b| b.is_ascii_digit());
            fraction_us = fraction(digits);
        }
        let us = (h * 3600 + m * 60 + s) * US_PER_SECOND + fraction_us;
        if h > 24 || m > 59 || s > 60 || us > 86_400 * US_PER_SECOND {
            return Err(Wrong::Range);
        }
        self.time_us = Some(us);
        Ok(())
    }

    fn offset(&mut self, scanner: &mut Scanner<'_>) -> Result<(), Wrong> {
        let negative = scanner.peek() == Some(b'-');
        scanner.rest = &scanner.rest[1..];
        let digits = scanner.take_while(|b| b.is_ascii_digit());
        let value = |digits: &str| digits.parse::<i32>().map_err(|_| Wrong::Syntax);
        let mut seconds = match digits.len() {
            1 | 2 => value(digits)? * 3600,
            4 => value(&digits[..2])? * 3600 + value(&digits[2..])? * 60,
            6 => value(&digits[..2])? * 3600 + value(&digits[2..4])? * 60 + value(&digits[4..])?,
            _ => return Err(Wrong::Syntax),
        };
        if digits.len() <= 2 && scanner.eat(b':') {
            seconds += value(scanner.take_while(|b| b.is_ascii_digit()))? * 60;
            if scanner.eat(b':') {
                seconds += value(scanner.take_while(|b| b.is_ascii_digit()))?;
            }
        }
        if seconds >= 16 * 3600 {
            return Err(Wrong::Range);
        }
        self.zone = zone_offset::fixed(if negative { -seconds } else { seconds });
        Ok(())
    }

    fn word(
        &mut self,
        scanner: &mut Scanner<'_>,
        parts: &mut DateParts,
        before_christ: &mut bool,
    ) -> Result<(), Wrong> {
        let word = scanner.take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_'));
        if let Some(month) = month_of(word) {
            if parts.month.is_some() {
                return Err(Wrong::Syntax);
            }
            parts.month = Some((month, parts.numbers.len()));
            return Ok(());
        }
        // `T` glued to the digits of the time.
        if let Some(digits) = word.strip_prefix(['T', 't'])
            && (digits.is_empty() || digits.bytes().all(|b| b.is_ascii_digit()))
            && parts.complete()
        {
            if digits.is_empty() {
                return Ok(());
            }
            if scanner.peek() == Some(b':') {
                return self.clock(digits, scanner);
            }
            return match digits.len() {
                4 => self.set_clock(&digits[..2], &digits[2..], "0", scanner),
                6 => self.set_clock(&digits[..2], &digits[2..4], &digits[4..], scanner),
                _ => Err(Wrong::Syntax),
            };
        }
        let lower = word.to_ascii_lowercase();
        match lower.as_str() {
            "bc" => *before_christ = true,
            "ad" | "at" => {}
            "am" | "pm" => {
                let us = self.time_us.as_mut().ok_or(Wrong::Syntax)?;
                let half_day = 12 * 3600 * US_PER_SECOND;
                if *us >= half_day + 3600 * US_PER_SECOND {
                    return Err(Wrong::Range);
                }
                if *us >= half_day {
                    *us -= half_day;
                }
                if lower == "pm" {
                    *us += half_day;
                }
            }
            _ if DAYS.iter().any(|day| names(word, day)) => {}
            _ => {
                let zone = ABBREVIATIONS
                    .iter()
                    .find(|(name, _)| *name == lower)
                    .and_then(|(_, minutes)| zone_offset::fixed(minutes * 60))
                    .or_else(|| TimeZone::parse(word))
                    .ok_or(Wrong::Syntax)?;
                if self.zone.replace(zone).is_some() {
                    return Err(Wrong::Syntax);
                }
            }
        }
        Ok(())
    }
}

fn separator_free(scanner: &Scanner<'_>) -> bool {
    !matches!(scanner.peek(), Some(b'-' | b'/' | b'.'))
}

/// Digits after the point, rounded to microseconds.
pub(super) fn fraction(digits: &str) -> i64 {
    let mut us = 0;
    let mut unit = US_PER_SECOND / 10;
    for digit in digits.bytes().take(6) {
        us += i64::from(digit - b'0') * unit;
        unit /= 10;
    }
    us + i64::from(digits.as_bytes().get(6).is_some_and(|d| *d >= b'5'))
}

impl DateParts {
    fn is_empty(&self) -> bool {
        self.numbers.is_empty() && self.month.is_none()
    }

    fn complete(&self) -> bool {
        self.numbers.len() + usize::from(self.month.is_some()) == 3
    }

    fn push(&mut self, digits: &str) -> Result<(), Wrong> {
        if self.complete() || digits.len() > 7 {
            return Err(Wrong::Syntax);
        }
        self.numbers.push((digits.parse().map_err(|_| Wrong::Range)?, digits.len()));
        Ok(())
    }

    fn resolve(&self, order: DateOrder, before_christ: bool) -> Result<(i64, u32, u32), Wrong> {
        let (year, month, day) = match (self.month, self.numbers.as_slice()) {
            (Some((month, before)), &[first, second]) => {
                // `1999-Jan-08`, `8 Jan 1999`, `Jan 8, 1999`; a number of three digits or more is a
                // year wherever it stands.
                let year_first =
                    first.1 > 2 || (before == 1 && order == DateOrder::Ymd && second.1 <= 2);
                let (year, day) = if year_first { (first, second) } else { (second, first) };
                (year, i64::from(month), day.0)
            }
            (None, &[a, b, c]) => {
                if self.year_first || a.1 > 2 || order == DateOrder::Ymd {
                    (a, b.0, c.0)
                } else if order == DateOrder::Dmy {
                    (c, b.0, a.0)
                } else {
                    (c, a.0, b.0)
                }
            }
            _ => return Err(Wrong::Syntax),
        };
        let (mut value, digits) = year;
        if value == 0 && digits > 2 {
            return Err(Wrong::Range);
        }
        if before_christ {
            value = 1 - value;
        } else if digits <= 2 {
            value += if value < 70 { 2000 } else { 1900 };
        }
        let (Ok(month), Ok(day)) = (u32::try_from(month), u32::try_from(day)) else {
            return Err(Wrong::Range);
        };
        if !(1..=12).contains(&month) || day == 0 || day > days_in_month(value, month) {
            return Err(Wrong::Range);
        }
        Ok((value, month, day))
    }
}
