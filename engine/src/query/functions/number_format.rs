//! `to_char` and `to_number` of numbers: PostgreSQL's patterns.
//!
//! A pattern is read into [`Item`]s and a [`Shape`], what they say of the number as a whole. What
//! follows from the two is odd in places and done as PostgreSQL does it.

mod read;
#[cfg(test)]
mod tests;
mod write;

pub use self::{read::to_number, write::to_char};
use crate::error::{SqlError, sqlstate};

/// A number for [`to_char`]: how it is rounded depends on its type.
#[derive(Clone, Debug)]
pub enum Number {
    Exact(super::numeric::Numeric),
    Int4(i32),
    Double(f64),
    Single(f32),
}

/// One part of a pattern.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Item {
    /// `9`
    Digit,
    /// `0`
    Zero,
    /// `.` or `D`
    Point,
    /// `,`
    Comma,
    /// `G`
    Group,
    /// `L`
    Currency,
    /// `MI`, `PL`, `SG`
    Minus,
    Plus,
    Sign,
    /// `RN`; whether in capitals.
    Roman(bool),
    /// `TH`; whether in capitals.
    Ordinal(bool),
    /// Shown nowhere by itself: `B`, `FM`, `S`, `PR`, `V`, `EEEE`, `SP`, `C`.
    Silent,
    /// Copied.
    Text(char),
}

/// Where the sign of `S` stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Anchor {
    Before,
    After,
}

/// What a pattern says of the whole number.
#[derive(Clone, Default, Debug)]
struct Shape {
    /// Digits before and after the point, and after `V`.
    pre: usize,
    post: usize,
    shifted: usize,
    /// Where zeros begin, and end, among the digits, counted from 1; 0 without zeros.
    zero_start: usize,
    zero_end: usize,
    /// Digits before `S`.
    digits_before_sign: usize,
    anchor: Option<Anchor>,
    decimal: bool,
    fill: bool,
    bracket: bool,
    minus: bool,
    plus: bool,
    blank: bool,
    roman: bool,
    multiplied: bool,
    scientific: bool,
}

/// What patterns are made of, longer names before their beginnings. Each is there in lower case, too.
const NAMES: [&str; 21] = [
    "EEEE", "FM", "MI", "PL", "PR", "RN", "SG", "SP", "TH", ",", ".", "0", "9", "B", "C", "D", "G",
    "L", "S", "V", "E",
];

fn syntax(message: &str) -> SqlError {
    SqlError::new(sqlstate::SYNTAX_ERROR, message)
}

/// The name at the start of a pattern: all in capitals or all in small letters.
fn name_at(pattern: &str) -> Option<&'static str> {
    let starts =
        |name: &str| pattern.starts_with(name) || pattern.starts_with(&name.to_ascii_lowercase());
    NAMES.into_iter().filter(|name| *name != "E").find(|name| starts(name))
}

fn parse(pattern: &str) -> Result<(Vec<Item>, Shape), SqlError> {
    let (mut items, mut shape) = (Vec::new(), Shape::default());
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        if let Some(name) = name_at(rest) {
            let capitals = rest.starts_with(name);
            items.push(shape.take(name, capitals)?);
            rest = &rest[name.len()..];
        } else if first == '"' {
            rest = quoted(&rest[1..], &mut items);
        } else if rest.starts_with("\\\"") {
            items.push(Item::Text('"'));
            rest = &rest[2..];
        } else {
            items.push(Item::Text(first));
            rest = &rest[first.len_utf8()..];
        }
    }
    Ok((items, shape))
}

/// Text up to a quote; a backslash takes the next character as it is. What follows the quote.
fn quoted<'p>(pattern: &'p str, items: &mut Vec<Item>) -> &'p str {
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if c == '"' {
            break;
        }
        let next = if c == '\\' { chars.clone().next() } else { None };
        if next.is_some() {
            chars.next();
        }
        items.push(Item::Text(next.unwrap_or(c)));
    }
    chars.as_str()
}

impl Shape {
    fn take(&mut self, name: &str, capitals: bool) -> Result<Item, SqlError> {
        if self.scientific && name != "EEEE" {
            return Err(syntax("\"EEEE\" must be the last pattern used"));
        }
        Ok(match name {
            "9" | "0" => {
                self.digit(name)?;
                if name == "9" { Item::Digit } else { Item::Zero }
            }
            "." | "D" => {
                if self.decimal {
                    return Err(syntax("multiple decimal points"));
                }
                if self.multiplied {
                    return Err(syntax("cannot use \"V\" and decimal point together"));
                }
                self.decimal = true;
                Item::Point
            }
            "," => Item::Comma,
            "G" => Item::Group,
            "L" => Item::Currency,
            "RN" => {
                self.roman = true;
                Item::Roman(capitals)
            }
            "TH" => Item::Ordinal(capitals),
            "B" => {
                self.blank |= self.pre == 0 && self.post == 0 && self.zero_start == 0;
                Item::Silent
            }
            "FM" => {
                self.fill = true;
                Item::Silent
            }
            "V" => {
                if self.decimal {
                    return Err(syntax("cannot use \"V\" and decimal point together"));
                }
                self.multiplied = true;
                Item::Silent
            }
            "EEEE" => self.exponent()?,
            "SP" | "C" => Item::Silent,
            sign => self.sign(sign)?,
        })
    }

    fn digit(&mut self, name: &str) -> Result<(), SqlError> {
        if self.bracket {
            return Err(syntax(&format!("\"{name}\" must be ahead of \"PR\"")));
        }
        if name == "9" && self.multiplied {
            self.shifted += 1;
            return Ok(());
        }
        if name == "0" && self.zero_start == 0 && !self.decimal {
            self.zero_start = self.pre + 1;
        }
        if self.decimal {
            self.post += 1;
        } else {
            self.pre += 1;
        }
        if name == "0" {
            self.zero_end = self.pre + self.post;
        }
        Ok(())
    }

    fn sign(&mut self, name: &str) -> Result<Item, SqlError> {
        let together =
            |with: &str| Err(syntax(&format!("cannot use \"S\" and \"{with}\" together")));
        match name {
            "S" => {
                if self.anchor.is_some() {
                    return Err(syntax("cannot use \"S\" twice"));
                }
                if self.plus || self.minus || self.bracket {
                    return together("PL\"/\"MI\"/\"SG\"/\"PR");
                }
                if self.decimal {
                    self.anchor = Some(Anchor::After);
                } else {
                    self.anchor = Some(Anchor::Before);
                    self.digits_before_sign = self.pre;
                }
                Ok(Item::Silent)
            }
            "PR" => {
                if self.anchor.is_some() || self.plus || self.minus {
                    return Err(syntax(
                        "cannot use \"PR\" and \"S\"/\"PL\"/\"MI\"/\"SG\" together",
                    ));
                }
                self.bracket = true;
                Ok(Item::Silent)
            }
            name if self.anchor.is_some() => together(name),
            "MI" => {
                self.minus = true;
                Ok(Item::Minus)
            }
            "PL" => {
                self.plus = true;
                Ok(Item::Plus)
            }
            _ => {
                (self.minus, self.plus) = (true, true);
                Ok(Item::Sign)
            }
        }
    }

    fn exponent(&mut self) -> Result<Item, SqlError> {
        if self.scientific {
            return Err(syntax("cannot use \"EEEE\" twice"));
        }
        let others = [
            self.blank,
            self.fill,
            self.anchor.is_some(),
            self.bracket,
            self.minus,
            self.plus,
            self.roman,
            self.multiplied,
        ];
        if others.contains(&true) {
            return Err(syntax("\"EEEE\" is incompatible with other formats").detail(
                "\"EEEE\" may only be used together with digit and decimal point patterns.",
            ));
        }
        self.scientific = true;
        Ok(Item::Silent)
    }
}
