//! Intervals of ISO 8601: `P1Y2M3DT4H5M6S`, and the alternative formats `P0001-02-03T04:05:06` and
//! `P00010203T040506`.

use super::{
    Wrong,
    sum::{Amount, Sum, Unit},
};

/// Reads the whole text.
pub(super) fn parse(text: &str) -> Result<Sum, Wrong> {
    let rest = text.strip_prefix('P').ok_or(Wrong::Syntax)?;
    if rest.is_empty() {
        return Err(Wrong::Syntax);
    }
    let (date, time) = match rest.split_once('T') {
        Some((date, time)) => (date, Some(time)),
        None => (rest, None),
    };
    let mut sum = Sum::default();
    let mut date = Reader { rest: date };
    date.part(&mut sum, &DATE)?;
    if let Some(time) = time {
        Reader { rest: time }.part(&mut sum, &TIME)?;
    }
    Ok(sum)
}

/// How one half of the text is read.
struct Half {
    designators: &'static [(u8, Unit)],
    /// Digits of the format without separators, and what they count, each with its divisor.
    compact: usize,
    divisors: [i64; 3],
    separator: u8,
    units: [Unit; 3],
}

const DATE: Half = Half {
    designators: &[(b'Y', Unit::Year), (b'M', Unit::Month), (b'W', Unit::Week), (b'D', Unit::Day)],
    compact: 8,
    divisors: [10_000, 100, 1],
    separator: b'-',
    units: [Unit::Year, Unit::Month, Unit::Day],
};

const TIME: Half = Half {
    designators: &[(b'H', Unit::Hour), (b'M', Unit::Minute), (b'S', Unit::Second)],
    compact: 6,
    divisors: [10_000, 100, 1],
    separator: b':',
    units: [Unit::Hour, Unit::Minute, Unit::Second],
};

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn part(&mut self, sum: &mut Sum, half: &Half) -> Result<(), Wrong> {
        let mut first = true;
        while !self.rest.is_empty() {
            let (amount, digits) = self.number()?;
            let next = self.rest.bytes().next();
            let unit = half.designators.iter().find(|(letter, _)| Some(*letter) == next);
            if let Some((_, unit)) = unit {
                self.rest = &self.rest[1..];
                sum.add(amount, *unit)?;
            } else if next.is_none() && first && digits == half.compact {
                return compact(amount, sum, half);
            } else if first && (next.is_none() || next == Some(half.separator)) {
                return self.separated(amount, sum, half);
            } else {
                return Err(Wrong::Syntax);
            }
            first = false;
        }
        Ok(())
    }

    /// A number with sign and fraction, and how many digits stand before the point.
    fn number(&mut self) -> Result<(Amount, usize), Wrong> {
        let negative = self.rest.starts_with('-');
        let body = self.rest.strip_prefix(['-', '+']).unwrap_or(self.rest);
        let whole = body.bytes().take_while(u8::is_ascii_digit).count();
        let mut end = whole;
        if body.as_bytes().get(end) == Some(&b'.') {
            end += 1 + body[end + 1..].bytes().take_while(u8::is_ascii_digit).count();
        }
        if !body[..end].bytes().any(|b| b.is_ascii_digit()) {
            return Err(Wrong::Syntax);
        }
        if let Some((amount, length)) = scientific(body, end)? {
            self.rest = &body[length..];
            let sign = if negative { -1.0 } else { 1.0 };
            let whole = (amount * sign).trunc();
            if whole.abs() >= 9.2e18 {
                return Err(Wrong::Range);
            }
            let fraction = amount * sign - whole;
            return Ok((Amount { whole: whole as i64, fraction }, usize::MAX));
        }
        let number: i64 = match &body[..whole] {
            "" => 0,
            digits => digits.parse().map_err(|_| Wrong::Range)?,
        };
        let fraction: f64 = format!("0{}0", if end > whole { &body[whole..end] } else { "." })
            .parse()
            .map_err(|_| Wrong::Syntax)?;
        self.rest = &body[end..];
        let amount = if negative {
            Amount { whole: -number, fraction: -fraction }
        } else {
            Amount { whole: number, fraction }
        };
        Ok((amount, whole))
    }

    /// Up to three numbers with separators between them, of which the first is read.
    fn separated(&mut self, first: Amount, sum: &mut Sum, half: &Half) -> Result<(), Wrong> {
        sum.add(first, half.units[0])?;
        for unit in &half.units[1..] {
            if self.rest.is_empty() {
                return Ok(());
            }
            if self.rest.as_bytes()[0] != half.separator {
                return Err(Wrong::Syntax);
            }
            self.rest = &self.rest[1..];
            let (amount, _) = self.number()?;
            sum.add(amount, *unit)?;
        }
        if self.rest.is_empty() { Ok(()) } else { Err(Wrong::Syntax) }
    }
}

/// A number with an exponent behind its first `end` bytes, and how long it is all in all.
fn scientific(body: &str, end: usize) -> Result<Option<(f64, usize)>, Wrong> {
    let Some(exponent) = body[end..].strip_prefix(['e', 'E']) else { return Ok(None) };
    let sign = usize::from(exponent.starts_with(['+', '-']));
    let digits = exponent[sign..].bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return Ok(None);
    }
    let length = end + 1 + sign + digits;
    let value = body[..length].parse().map_err(|_| Wrong::Syntax)?;
    Ok(Some((value, length)))
}

fn compact(amount: Amount, sum: &mut Sum, half: &Half) -> Result<(), Wrong> {
    let mut rest = amount.whole;
    for (unit, divisor) in half.units.iter().zip(half.divisors) {
        sum.add(Amount { whole: rest / divisor, fraction: 0.0 }, *unit)?;
        rest %= divisor;
    }
    sum.add(Amount { whole: 0, fraction: amount.fraction }, half.units[2])
}
