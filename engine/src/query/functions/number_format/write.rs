//! `to_char` of numbers.

use num_bigint::BigInt;

use super::{Anchor, Item, Number, Shape, parse};
use crate::{
    error::{SqlError, sqlstate},
    query::functions::{decimal::Decimal, numeric::Numeric},
};

/// Digits that a double and a float have for sure.
const DOUBLE_DIGITS: usize = 15;
const SINGLE_DIGITS: usize = 6;

/// Digits with or without a point, without a sign.
struct Digits {
    text: String,
    negative: bool,
}

/// A number by a pattern.
///
/// # Errors
/// 42601 for patterns that contradict themselves, 22003 for integers that `V` makes too large.
pub fn to_char(number: &Number, pattern: &str) -> Result<String, SqlError> {
    if pattern.is_empty() {
        return Ok(String::new());
    }
    let (items, mut shape) = parse(pattern)?;
    if shape.scientific {
        return Ok(scientific(number, &shape));
    }
    if shape.roman {
        let numeral = roman(number)?;
        return Ok(roman_only(&items, &numeral, shape.fill));
    }
    if shape.multiplied {
        shape.pre += shape.shifted;
    }
    let digits = digits(number, &mut shape)?;
    Writer::new(digits, shape).write(&items)
}

/// The number rounded to the digits that are shown.
fn digits(number: &Number, shape: &mut Shape) -> Result<Digits, SqlError> {
    let signed = match number {
        Number::Exact(value) => {
            let value = match shape.multiplied {
                true => {
                    let power = Decimal::new(BigInt::from(10).pow(shape.shifted as u32), 0);
                    value.multiply(&power.into())?
                }
                false => value.clone(),
            };
            value.map(|value| value.round(shape.post as i64)).to_string()
        }
        Number::Int4(value) => {
            let factor = 10_i32.checked_pow(shape.shifted as u32);
            let value = factor.and_then(|factor| value.checked_mul(factor)).ok_or_else(|| {
                SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "integer out of range")
            })?;
            match shape.post {
                0 => value.to_string(),
                post => format!("{value}.{}", "0".repeat(post)),
            }
        }
        Number::Double(value) => {
            let value = value * 10_f64.powi(shape.shifted as i32);
            float_digits(value, &format!("{:.0}", value.abs()), DOUBLE_DIGITS, shape)
        }
        Number::Single(value) => {
            let value = value * 10_f32.powi(shape.shifted as i32);
            float_digits(f64::from(value), &format!("{:.0}", value.abs()), SINGLE_DIGITS, shape)
        }
    };
    Ok(match signed.strip_prefix('-') {
        Some(text) => Digits { text: text.to_owned(), negative: true },
        None => Digits { text: signed, negative: false },
    })
}

/// No more digits than the type has.
fn float_digits(value: f64, whole: &str, most: usize, shape: &mut Shape) -> String {
    let length = if value.is_infinite() { "Infinity".len() } else { whole.len() };
    shape.post = shape.post.min(most.saturating_sub(length));
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value < 0.0 { "-Infinity".to_owned() } else { "Infinity".to_owned() }
    } else {
        format!("{value:.*}", shape.post)
    }
}

/// `EEEE`.
fn scientific(number: &Number, shape: &Shape) -> String {
    let text = match number {
        Number::Exact(Numeric::Finite(value)) => value.scientific(shape.post as u32),
        Number::Int4(value) => exponential(f64::from(*value), shape.post),
        Number::Double(value) if value.is_finite() => exponential(*value, shape.post),
        Number::Single(value) if value.is_finite() => exponential(f64::from(*value), shape.post),
        _ => {
            let (pre, post) = ("#".repeat(shape.pre), "#".repeat(shape.post + 4));
            return format!(" {pre}.{post}");
        }
    };
    if text.starts_with('-') { text } else { format!(" {text}") }
}

fn exponential(value: f64, places: usize) -> String {
    let text = format!("{value:.places$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    format!("{mantissa}e{exponent:+03}")
}

fn roman(number: &Number) -> Result<String, SqlError> {
    const NUMERALS: [(i64, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    let out_of_range =
        || SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "integer out of range");
    let mut value = match number {
        Number::Exact(Numeric::Finite(value)) => {
            let whole = value.to_i128().and_then(|v| i32::try_from(v).ok());
            i64::from(whole.ok_or_else(out_of_range)?)
        }
        Number::Exact(value) => {
            let what = if value.is_nan() { "NaN" } else { "infinity" };
            let message = format!("cannot convert {what} to integer");
            return Err(SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
        }
        Number::Int4(value) => i64::from(*value),
        Number::Double(value) => value.round_ties_even() as i64,
        Number::Single(value) => value.round_ties_even() as i64,
    };
    if !(1..=3999).contains(&value) {
        return Ok("#".repeat(15));
    }
    let mut out = String::new();
    for (worth, numeral) in NUMERALS {
        while value >= worth {
            out.push_str(numeral);
            value -= worth;
        }
    }
    Ok(out)
}

/// Beside a Roman numeral only texts, and what depends on no digits, are shown.
fn roman_only(items: &[Item], numeral: &str, fill: bool) -> String {
    let mut out = String::new();
    for item in items {
        match item {
            Item::Roman(capitals) => {
                let numeral = if *capitals { numeral.to_owned() } else { numeral.to_lowercase() };
                out.push_str(&if fill { numeral } else { format!("{numeral:>15}") });
            }
            Item::Comma | Item::Group if !fill => out.push(' '),
            Item::Currency => out.push(' '),
            Item::Minus | Item::Plus if !fill => out.push(' '),
            Item::Text(c) => out.push(*c),
            _ => {}
        }
    }
    out
}

/// Puts the digits where the pattern has places for them.
struct Writer {
    shape: Shape,
    number: Vec<u8>,
    negative: bool,
    /// The next byte of the number.
    at: usize,
    /// Places before its first digit.
    spaces: usize,
    /// The last byte that `FM` leaves of a fraction.
    last_relevant: Option<usize>,
    sign_written: bool,
    /// Places so far, and the number of them.
    place: usize,
    places: usize,
    in_number: bool,
    out: String,
    /// The length at which a digit behind the last one was wanted.
    ended: Option<usize>,
}

impl Writer {
    fn new(digits: Digits, mut shape: Shape) -> Self {
        let mut number = digits.text.into_bytes();
        let whole = number.iter().position(|b| *b == b'.').unwrap_or(number.len());
        let spaces = shape.pre.saturating_sub(whole);
        if whole > shape.pre {
            number = vec![b'#'; shape.pre + shape.post + 1];
            number[shape.pre] = b'.';
        }
        let negative = digits.negative;
        let mut sign_written = if shape.plus || shape.minus {
            shape.minus || !shape.plus
        } else {
            !negative && shape.fill && shape.anchor.is_none()
        };
        if shape.plus && !shape.minus {
            sign_written = false;
        }
        if !(shape.plus || shape.minus) {
            shape.bracket &= negative || !shape.fill;
            if shape.anchor == Some(Anchor::Before) && shape.pre == shape.digits_before_sign {
                shape.anchor = Some(Anchor::After);
            }
        }
        let mut last_relevant = None;
        if shape.fill && shape.decimal {
            last_relevant = last_relevant_digit(&number);
            if let Some(last) = &mut last_relevant
                && shape.zero_end > spaces
            {
                // Digits that the pattern wants as zeros stay.
                *last = (*last).max((number.len() - 1).min(shape.zero_end - spaces));
            }
        }
        let extra = usize::from(!sign_written && spaces == 0);
        Self {
            places: (shape.post + shape.pre + extra).saturating_sub(1),
            shape,
            number,
            negative,
            at: 0,
            spaces,
            last_relevant,
            sign_written,
            place: 0,
            in_number: false,
            out: String::new(),
            ended: None,
        }
    }

    fn write(mut self, items: &[Item]) -> Result<String, SqlError> {
        for item in items {
            match item {
                Item::Digit | Item::Zero | Item::Point => self.digit(*item == Item::Zero),
                Item::Comma | Item::Group if self.in_number => self.out.push(','),
                Item::Comma | Item::Group if !self.shape.fill => self.out.push(' '),
                Item::Currency => self.out.push(' '),
                Item::Ordinal(capitals) => self.ordinal(*capitals)?,
                Item::Minus if self.negative => self.out.push('-'),
                Item::Plus if !self.negative => self.out.push('+'),
                Item::Minus | Item::Plus if !self.shape.fill => self.out.push(' '),
                Item::Sign => self.out.push(if self.negative { '-' } else { '+' }),
                Item::Text(c) => self.out.push(*c),
                _ => {}
            }
        }
        self.out.truncate(self.ended.unwrap_or(self.out.len()));
        Ok(self.out)
    }

    fn ordinal(&mut self, capitals: bool) -> Result<(), SqlError> {
        if self.number.first() == Some(&b'#') || self.negative || self.shape.decimal {
            return Ok(());
        }
        let last = self.number.last().copied().unwrap_or(b' ');
        if !last.is_ascii_digit() {
            let text = String::from_utf8_lossy(&self.number);
            let message = format!("\"{text}\" is not a number");
            return Err(SqlError::new(sqlstate::INVALID_TEXT_REPRESENTATION, message));
        }
        let teen = self.number.len() > 1 && self.number[self.number.len() - 2] == b'1';
        let suffix = match last {
            _ if teen => "th",
            b'1' => "st",
            b'2' => "nd",
            b'3' => "rd",
            _ => "th",
        };
        self.out.push_str(&if capitals { suffix.to_uppercase() } else { suffix.to_owned() });
        Ok(())
    }

    /// A zero before the point that is not shown: in ` .1` by the pattern `9.9`.
    fn is_hidden_zero(&self) -> bool {
        let first = self.at == 0 && self.number.first() == Some(&b'0');
        self.shape.zero_start == 0 && first && self.shape.post != 0
    }

    /// Whether `FM` leaves nothing behind the point.
    fn ends_with_point(&self) -> bool {
        self.last_relevant.is_some_and(|last| self.number.get(last) == Some(&b'.'))
    }

    fn before_digits(&mut self) {
        let zeros = self.shape.zero_start != 0 && self.shape.zero_start - 1 == self.place;
        let starts = self.place >= self.spaces || zeros;
        let hidden = self.is_hidden_zero() && !self.ends_with_point();
        if self.sign_written || !starts || hidden {
            return;
        }
        match self.shape.anchor {
            Some(Anchor::Before) => self.out.push(if self.negative { '-' } else { '+' }),
            Some(Anchor::After) => return,
            None if self.shape.bracket => self.out.push(if self.negative { '<' } else { ' ' }),
            None if self.negative => self.out.push('-'),
            None if !self.shape.fill => self.out.push(' '),
            None => {}
        }
        self.sign_written = true;
    }

    /// One place of the pattern: a digit or the point.
    fn digit(&mut self, wants_zero: bool) {
        self.in_number = false;
        self.before_digits();
        let zeros = self.shape.zero_start != 0 && self.shape.zero_start - 1 <= self.place;
        if self.place < self.spaces {
            if zeros {
                self.out.push('0');
                self.in_number = true;
            } else if !self.shape.fill {
                self.out.push(' ');
            }
        } else {
            self.number_byte(wants_zero);
            self.at += usize::from(self.at < self.number.len());
        }
        let shown = usize::from(self.spaces > 0) + usize::from(self.shape.decimal);
        let mut end = self.places + shown;
        if self.last_relevant == Some(self.at) {
            end = self.place;
        }
        if self.place + 1 == end {
            if self.sign_written && self.shape.bracket {
                self.out.push(if self.negative { '>' } else { ' ' });
            } else if self.shape.anchor == Some(Anchor::After) {
                self.out.push(if self.negative { '-' } else { '+' });
            }
        }
        self.place += 1;
    }

    fn number_byte(&mut self, wants_zero: bool) {
        match self.number.get(self.at) {
            Some(b'.') => self.out.push('.'),
            _ if self.last_relevant.is_some_and(|last| self.at > last) && !wants_zero => {}
            _ if self.is_hidden_zero() => {
                if !self.shape.fill {
                    self.out.push(' ');
                } else if self.ends_with_point() {
                    self.out.push('0');
                }
            }
            Some(byte) => {
                self.out.push(char::from(*byte));
                self.in_number = true;
            }
            // PostgreSQL copies the end of its string here, which ends the result, too.
            None => {
                self.ended.get_or_insert(self.out.len());
                self.in_number = true;
            }
        }
    }
}

/// The last digit of a fraction that is no zero, or the point; `None` without a point.
fn last_relevant_digit(number: &[u8]) -> Option<usize> {
    let point = number.iter().position(|b| *b == b'.')?;
    let last = number.iter().rposition(|b| *b != b'0').filter(|last| *last > point);
    Some(last.unwrap_or(point))
}
