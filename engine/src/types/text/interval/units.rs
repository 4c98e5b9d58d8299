//! `1 year -2 mons 3 days 04:05:06 ago`: numbers with units, and a time of day.
//!
//! As PostgreSQL reads it, from the end: a number counts the unit that stands behind it, and one
//! without a unit what the text behind it leaves: days before a time, else what the fields of the
//! interval's type say, else seconds.

use super::{
    super::IntervalStyle,
    IntervalFields, Wrong,
    sum::{Amount, Sum, Unit},
};

fn unit_of(word: &str) -> Option<Unit> {
    // Only the first ten letters count.
    let word = word.get(..10).unwrap_or(word);
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
        "millisecon" | "msecond" | "mseconds" | "msec" | "msecs" | "ms" => Unit::Millisecond,
        "microsecon" | "usecond" | "useconds" | "usec" | "usecs" | "us" => Unit::Microsecond,
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

impl<'t> Token<'t> {
    /// The same, below zero.
    fn negative(&self) -> Self {
        let minus = |signed: Signed<'t>| Signed { sign: Some(b'-'), ..signed };
        match *self {
            Self::Word(word) => Self::Word(word),
            Self::Number(signed) => Self::Number(minus(signed)),
            Self::Months(signed) => Self::Months(minus(signed)),
            Self::Time(signed) => Self::Time(minus(signed)),
        }
    }

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
    // SQL's sign counts for everything, if it is the only one.
    let one_sign = style == IntervalStyle::SqlStandard
        && tokens.first().is_some_and(|first| first.sign() == Some(b'-'))
        && tokens[1..].iter().all(|token| token.sign().is_none());
    let mut reader = Reader { sum: Sum::default(), seen: 0, unit: None, fields };
    let mut ago = false;
    for token in tokens.iter().rev() {
        let token = if one_sign { token.negative() } else { *token };
        match token {
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
    let sum = reader.sum;
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
        let amount = amount(signed)?;
        self.see(unit)?;
        if unit == Unit::Second && amount.fraction != 0.0 {
            self.see(Unit::Millisecond)?;
            self.see(Unit::Microsecond)?;
        }
        // Before hours, days.
        self.unit = Some(if unit == Unit::Hour { Unit::Day } else { unit });
        self.sum.add(amount, unit)
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
        let parts = [Unit::Hour, Unit::Minute, Unit::Second, Unit::Millisecond, Unit::Microsecond];
        for unit in parts {
            self.see(unit)?;
        }
        // Before a time, days.
        self.unit = Some(Unit::Day);
        let (digits, fraction) = match signed.digits.split_once('.') {
            Some((digits, fraction)) => (digits, fractional(fraction)?),
            None => (signed.digits, 0.0),
        };
        let parts: Vec<&str> = digits.split(':').collect();
        let minutes_first =
            signed.digits.contains('.') || self.fields.is_some_and(|f| f.minutes_to_seconds());
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
        self.sum.add_fraction_of_time(fraction * sign as f64)
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
