//! `to_number`.

use super::{Anchor, Item, Shape, parse};
use crate::{
    error::{SqlError, sqlstate},
    query::functions::{decimal::Decimal, numeric::Numeric},
    types::{
        NumericShape,
        text::{canonical_numeric, fit_numeric},
    },
};

/// A number written by a pattern; `None` for an empty pattern.
///
/// # Errors
/// 22P02 for a text without a number, 22003 for more digits than the pattern has, 42601 for
/// patterns that contradict themselves, 0A000 for `RN` and `EEEE`.
pub fn to_number(text: &str, pattern: &str) -> Result<Option<Numeric>, SqlError> {
    if pattern.is_empty() {
        return Ok(None);
    }
    let (items, shape) = parse(pattern)?;
    for (given, name) in [(shape.scientific, "EEEE"), (shape.roman, "RN")] {
        if given {
            let message = format!("\"{name}\" not supported for input");
            return Err(SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
        }
    }
    let mut reader = Reader {
        text: text.as_bytes(),
        at: 0,
        digits: String::new(),
        sign: None,
        pre: 0,
        post: 0,
        point: false,
        shape: &shape,
    };
    for item in &items {
        if reader.peek().is_none() {
            break;
        }
        reader.item(*item);
    }
    let digits = reader.digits.strip_suffix('.').unwrap_or(&reader.digits);
    let written = format!("{}{digits}", reader.sign.unwrap_or(' '));
    let canonical = canonical_numeric(&written)?;
    let precision = (shape.pre + shape.shifted + reader.post).max(1);
    let fitted = fit_numeric(
        &canonical,
        NumericShape { precision: precision.min(1000) as u16, scale: reader.post as i16 },
    )?;
    let value = Numeric::parse(&fitted).unwrap_or(Numeric::NaN);
    if !shape.multiplied {
        return Ok(Some(value));
    }
    let exponent = Decimal::new(-(shape.shifted as i64), 0);
    let factor = Numeric::from(Decimal::new(10, 0)).power(&exponent.into())?;
    value.multiply(&factor).map(Some)
}

struct Reader<'t> {
    text: &'t [u8],
    at: usize,
    /// Digits and point so far.
    digits: String,
    sign: Option<char>,
    /// Digits before and after the point.
    pre: usize,
    post: usize,
    point: bool,
    shape: &'t Shape,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// One character forward; a byte inside of one counts as one.
    fn skip(&mut self) {
        let starts = self.peek().is_some_and(|byte| byte >= 0xc0);
        self.at += 1;
        while starts && self.peek().is_some_and(|byte| byte & 0xc0 == 0x80) {
            self.at += 1;
        }
    }

    /// Over characters that are no part of numbers.
    fn skip_others(&mut self, count: usize) {
        for _ in 0..count {
            match self.peek() {
                None => return,
                Some(b'0'..=b'9' | b'.' | b',' | b'+' | b'-') => return,
                Some(_) => self.skip(),
            }
        }
    }

    fn item(&mut self, item: Item) {
        match item {
            Item::Digit | Item::Zero | Item::Point => {
                self.number_part(item != Item::Point);
                self.at += 1;
            }
            // In fill mode none is expected.
            Item::Comma | Item::Group => {
                if !self.shape.fill && self.peek() == Some(b',') {
                    self.at += 1;
                }
            }
            Item::Currency => self.skip_others(1),
            Item::Ordinal(_) => {
                if !self.shape.decimal && self.sign != Some('-') {
                    self.skip_others(2);
                }
            }
            Item::Minus | Item::Plus | Item::Sign => {
                let wanted: &[u8] = match item {
                    Item::Minus => b"-",
                    Item::Plus => b"+",
                    _ => b"-+",
                };
                match self.peek().filter(|byte| wanted.contains(byte)) {
                    Some(sign) => {
                        self.sign = Some(char::from(sign));
                        self.at += 1;
                    }
                    None => self.skip_others(1),
                }
            }
            Item::Roman(_) | Item::Silent => {}
            Item::Text(_) => self.skip(),
        }
    }

    /// A sign at `at`.
    fn sign_at(&self, at: usize) -> Option<char> {
        self.text.get(at).filter(|b| matches!(b, b'-' | b'+')).map(|b| char::from(*b))
    }

    /// Reads a sign, a digit or the point, and stays on the last of it.
    fn number_part(&mut self, digit: bool) {
        if self.peek() == Some(b' ') {
            self.at += 1;
        }
        if self.sign.is_none() && digit && self.pre + self.post == 0 {
            self.leading_sign();
        }
        let mut read = false;
        match self.peek() {
            None => return,
            Some(byte) if byte.is_ascii_digit() => {
                if self.point && self.post == self.shape.post {
                    return;
                }
                self.digits.push(char::from(byte));
                if self.point {
                    self.post += 1;
                } else {
                    self.pre += 1;
                }
                read = true;
            }
            Some(b'.') if self.shape.decimal && !self.point => {
                self.digits.push('.');
                self.point = true;
                read = true;
            }
            Some(_) => {}
        }
        if self.sign.is_some() || self.pre + self.post == 0 {
            return;
        }
        if self.shape.anchor.is_some() {
            // Right behind the last digit.
            if read && let Some(sign) = self.sign_at(self.at + 1) {
                self.sign = Some(sign);
                self.at += 1;
            }
        } else if !read && (self.shape.plus || self.shape.minus) {
            self.sign = self.sign_at(self.at);
        }
    }

    fn leading_sign(&mut self) {
        let Some(byte) = self.peek() else { return };
        let anchored = self.shape.anchor == Some(Anchor::Before);
        if byte == b'-' || byte == b'<' && self.shape.bracket && !anchored {
            self.sign = Some('-');
        } else if byte == b'+' {
            self.sign = Some('+');
        } else {
            return;
        }
        self.at += 1;
    }
}
