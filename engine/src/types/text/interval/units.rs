//! `1 year -2 mons 3 days 04:05:06 ago`: numbers with units, and a time of day.
//!
//! As PostgreSQL reads it, from the end: a number counts the unit that stands behind it, and one
//! without a unit what the text behind it leaves: days before a time, else what the fields of the
//! interval's type say, else seconds.

use super::{
    super::{IntervalStyle, datetime::US_PER_SECOND},
    Wrong,
    sum::{Amount, Sum, Unit},
};

/// The fields of `INTERVAL YEAR TO MONTH` and kin, largest and smallest, and the digits of seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IntervalFields {
    first: Unit,
    last: Unit,
    /// Digits after the point of the seconds, at most 6.
    precision: u32,
}

impl IntervalFields {
    /// `first` and `last` are names of fields: `year`, `month`, `day`, `hour`, `minute`, `second`.
    /// None for a pair that SQL does not have.
    #[must_use]
    pub fn new(first: &str, last: &str, precision: u32) -> Option<Self> {
        let (first, last) = (field(first)?, field(last)?);
        let months = |unit| matches!(unit, Unit::Year | Unit::Month);
        let fits = first as u8 >= last as u8 && months(first) == months(last);
        fits.then_some(Self { first, last, precision: precision.min(6) })
    }

    /// All fields, the seconds with `precision` digits after the point.
    #[must_use]
    pub fn all(precision: u32) -> Self {
        Self { first: Unit::Year, last: Unit::Second, precision: precision.min(6) }
    }

    /// What a number without a unit counts.
    fn unit(self) -> Unit {
        self.last
    }

    /// Without the parts smaller than the last field.
    pub(super) fn cut(self, sum: Sum) -> Sum {
        let to = |us: i64| Sum { us: sum.us - sum.us % us, ..sum };
        match self.last {
            Unit::Year => Sum { months: sum.months - sum.months % 12, days: 0, us: 0 },
            Unit::Month => Sum { days: 0, us: 0, ..sum },
            Unit::Day => Sum { us: 0, ..sum },
            Unit::Hour => to(3600 * US_PER_SECOND),
            Unit::Minute => to(60 * US_PER_SECOND),
            _ => {
                let unit = 10_i64.pow(6 - self.precision);
                let half = if sum.us < 0 { -unit / 2 } else { unit / 2 };
                let us = sum.us.saturating_add(half);
                Sum { us: us - us % unit, ..sum }
            }
        }
    }
}

fn field(name: &str) -> Option<Unit> {
    Some(match name {
        "year" => Unit::Year,
        "month" => Unit::Month,
        "day" => Unit::Day,
        "hour" => Unit::Hour,
        "minute" => Unit::Minute,
        "second" => Unit::Second,
        _ => return None,
    })
}

fn unit_of(word: &str) -> Option<Unit> {
    Some(match word.to_ascii_lowercase().as_str() {
        "millennium" | "millennia" | "mil" | "mils" => Unit::Millennium,
        "century" | "centuries" | "cent" | "c" => Unit::Century,
        "decade" | "decades" | "dec" | "decs" => Unit::Decade,
        "year" | "years" | "yr" | "yrs" | "y" => Unit::Year,
        "month" | "months" | "mon" | "mons" => Unit::Month,
        "week" | "weeks" | "w" => Unit::Week,
        "day" | "days" | "d" => Unit::Day,
        "hour" | "hours" | "hr" | "hrs" | "h" => Unit::Hour,
        "minute" | "minutes" | "min" | "mins" | "m" => Unit::Minute,
        "second" | "seconds" | "sec" | "secs" | "s" => Unit::Second,
        "millisecond" | "milliseconds" | "msecond" | "mseconds" | "msec" | "msecs" | "ms" => {
            Unit::Millisecond
        }
        "microsecond" | "microseconds" | "usecond" | "useconds" | "usec" | "usecs" | "us" => {
            Unit::Microsecond
        }
        _ => return None,
    })
}

/// One word of the text.
#[derive(Clone, Copy, Debug)]
enum Token<'a> {
    Word(&'a str),
    Number(Signed<'a>),
    /// `years-months`.
    Months(Signed<'a>),
    /// `hh:mm[:ss[.f]]`.
    Time(Signed<'a>),
}

#[derive(Clone, Copy, Debug)]
struct Signed<'a> {
    /// `+` or `-`, where one stands there.
    sign: Option<u8>,
    digits: &'a str,
}

impl Signed<'_> {
    fn negative(&self) -> bool {
        self.sign == Some(b'-')
    }
}

impl Token<'_> {
    fn sign(&self) -> Option<u8> {
        match self {
            Self::Word(_) => None,
            Self::Number(signed) | Self::Months(signed) | Self::Time(signed) => signed.sign,
        }
    }
}

fn tokens(text: &str) -> Result<Vec<Token<'_>>, Wrong> {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        // Signs that mean nothing only keep words apart.
        let between = |c: char| {
            c.is_ascii_whitespace() || c.is_ascii_punctuation() && !matches!(c, '+' | '-' | '.')
        };
        rest = rest.trim_start_matches(between);
        let Some(first) = rest.bytes().next() else { return Ok(found) };
        if first.is_ascii_alphabetic() {
            let length = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
            found.push(Token::Word(&rest[..length]));
            rest = &rest[length..];
            continue;
        }
        let sign = matches!(first, b'+' | b'-').then_some(first);
        if sign.is_some() {
            rest = rest[1..].trim_start();
        }
        let part = |b: &u8| b.is_ascii_digit() || matches!(b, b'.' | b':' | b'-');
        let length = rest.as_bytes().iter().take_while(|b| part(b)).count();
        let digits = &rest[..length];
        if digits.is_empty() {
            return Err(Wrong::Syntax);
        }
        rest = &rest[length..];
        let signed = Signed { sign, digits };
        found.push(if digits.contains(':') {
            Token::Time(signed)
        } else if digits.contains('-') {
            Token::Months(signed)
        } else {
            Token::Number(signed)
        });
    }
}

/// Reads the whole text.
pub(super) fn parse_units(
    text: &str,
    style: IntervalStyle,
    fields: Option<IntervalFields>,
) -> Result<Sum, Wrong> {
    let tokens = tokens(text)?;
    let mut reader = Reader { sum: Sum::default(), seen: 0, unit: None, fields };
    let mut ago = false;
    for token in tokens.iter().rev() {
        match *token {
            Token::Word(word) if word.eq_ignore_ascii_case("ago") => ago = true,
            Token::Word(word) => reader.unit = Some(unit_of(word).ok_or(Wrong::Syntax)?),
            Token::Number(signed) => reader.number(signed)?,
            Token::Months(signed) => reader.months(signed)?,
            Token::Time(signed) => reader.time(signed)?,
        }
    }
    if reader.seen == 0 {
        return Err(Wrong::Syntax);
    }
    let mut sum = reader.sum;
    // SQL's sign counts for everything, if it is the only one.
    let one_sign = tokens.first().is_some_and(|first| first.sign() == Some(b'-'))
        && tokens[1..].iter().all(|token| token.sign().is_none());
    if style == IntervalStyle::SqlStandard && one_sign {
        let negative = |part: i64| part.saturating_abs().saturating_neg();
        sum = Sum { months: negative(sum.months), days: negative(sum.days), us: negative(sum.us) };
    }
    Ok(if ago { sum.negated() } else { sum })
}

struct Reader {
    sum: Sum,
    /// Bits of the units that were read: none counts twice.
    seen: u16,
    /// Of the next number to the left.
    unit: Option<Unit>,
    fields: Option<IntervalFields>,
}

impl Reader {
    fn see(&mut self, unit: Unit) -> Result<(), Wrong> {
        let bit = 1 << unit as u16;
        if self.seen & bit != 0 {
            return Err(Wrong::Syntax);
        }
        self.seen |= bit;
        Ok(())
    }

    fn number(&mut self, signed: Signed<'_>) -> Result<(), Wrong> {
        let unit = self.unit.unwrap_or_else(|| self.fields.map_or(Unit::Second, |f| f.unit()));
        self.see(unit)?;
        self.sum.add(amount(signed)?, unit)
    }

    fn months(&mut self, signed: Signed<'_>) -> Result<(), Wrong> {
        let (years, months) = signed.digits.split_once('-').ok_or(Wrong::Syntax)?;
        let years = whole(years)?;
        let months = whole(months)?;
        if months > 11 {
            return Err(Wrong::Range);
        }
        let all = years.checked_mul(12).and_then(|m| m.checked_add(months)).ok_or(Wrong::Range)?;
        self.see(Unit::Month)?;
        let whole = if signed.negative() { -all } else { all };
        self.sum.add(Amount { whole, fraction: 0.0 }, Unit::Month)
    }

    /// Two numbers are hours and minutes, unless the interval's type or a fraction says that they
    /// are minutes and seconds.
    fn time(&mut self, signed: Signed<'_>) -> Result<(), Wrong> {
        for unit in [Unit::Hour, Unit::Minute, Unit::Second] {
            self.see(unit)?;
        }
        // Before a time, days.
        self.unit = Some(Unit::Day);
        let (digits, fraction) = match signed.digits.split_once('.') {
            Some((digits, fraction)) => (digits, fractional(fraction)?),
            None => (signed.digits, 0.0),
        };
        let parts: Vec<&str> = digits.split(':').collect();
        let minutes_first = signed.digits.contains('.')
            || self.fields.is_some_and(|f| f.first == Unit::Minute && f.last == Unit::Second);
        let (hours, minutes, seconds) = match *parts.as_slice() {
            [minutes, seconds] if minutes_first => (0, whole(minutes)?, whole(seconds)?),
            [hours, minutes] => (whole(hours)?, whole(minutes)?, 0),
            [hours, minutes, seconds] => (whole(hours)?, whole(minutes)?, whole(seconds)?),
            _ => return Err(Wrong::Syntax),
        };
        if minutes > 59 || seconds > 60 {
            return Err(Wrong::Range);
        }
        let sign = if signed.negative() { -1 } else { 1 };
        for (number, unit) in
            [(hours, Unit::Hour), (minutes, Unit::Minute), (seconds, Unit::Second)]
        {
            self.sum.add(Amount { whole: sign * number, fraction: 0.0 }, unit)?;
        }
        let fraction = fraction * sign as f64;
        self.sum.add(Amount { whole: 0, fraction }, Unit::Second)
    }
}

/// Decimal digits; an empty text is 0.
fn whole(digits: &str) -> Result<i64, Wrong> {
    if digits.is_empty() {
        return Ok(0);
    }
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Wrong::Syntax);
    }
    digits.parse().map_err(|_| Wrong::Range)
}

fn fractional(digits: &str) -> Result<f64, Wrong> {
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Wrong::Syntax);
    }
    format!("0.{digits}0").parse().map_err(|_| Wrong::Syntax)
}

fn amount(signed: Signed<'_>) -> Result<Amount, Wrong> {
    let (digits, fraction) = signed.digits.split_once('.').unwrap_or((signed.digits, ""));
    if digits.is_empty() && fraction.is_empty() {
        return Err(Wrong::Syntax);
    }
    let (whole, fraction) = (whole(digits)?, fractional(fraction)?);
    Ok(if signed.negative() {
        Amount { whole: -whole, fraction: -fraction }
    } else {
        Amount { whole, fraction }
    })
}
