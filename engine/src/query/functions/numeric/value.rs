//! A value of `numeric`: a decimal, not a number, or infinite.

use std::cmp::Ordering;

use super::super::decimal::{Decimal, division_by_zero, elementary};
use crate::error::{SqlError, sqlstate};

/// A value of `numeric`. NaN equals itself and is above all others.
#[derive(Clone, Debug)]
pub enum Numeric {
    Finite(Decimal),
    Infinite(Infinite),
    NaN,
}

/// On which side.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Infinite {
    Below,
    Above,
}

use Infinite::{Above, Below};
use Numeric::{Finite, NaN};

impl From<Decimal> for Numeric {
    fn from(value: Decimal) -> Self {
        Finite(value)
    }
}

impl std::fmt::Display for Numeric {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Finite(value) => value.fmt(f),
            Self::Infinite(Above) => f.write_str("Infinity"),
            Self::Infinite(Below) => f.write_str("-Infinity"),
            NaN => f.write_str("NaN"),
        }
    }
}

fn infinity(sign: i32) -> Numeric {
    Numeric::Infinite(if sign < 0 { Below } else { Above })
}

fn whole(value: i32) -> Numeric {
    Finite(Decimal::new(value, 0))
}

impl Numeric {
    /// From canonical text; `None` for what is no number.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "NaN" => NaN,
            "Infinity" => Self::Infinite(Above),
            "-Infinity" => Self::Infinite(Below),
            _ => Finite(Decimal::parse(text)?),
        })
    }

    #[must_use]
    pub fn finite(&self) -> Option<&Decimal> {
        match self {
            Finite(value) => Some(value),
            _ => None,
        }
    }

    #[must_use]
    pub fn is_nan(&self) -> bool {
        matches!(self, NaN)
    }

    #[must_use]
    pub fn is_infinite(&self) -> bool {
        matches!(self, Self::Infinite(_))
    }

    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.finite().is_some_and(Decimal::is_zero)
    }

    /// -1, 0 or 1; 0 for NaN.
    #[must_use]
    pub fn sign(&self) -> i32 {
        match self {
            Finite(value) => i32::from(!value.is_zero()) - 2 * i32::from(value.is_negative()),
            Self::Infinite(Above) => 1,
            Self::Infinite(Below) => -1,
            NaN => 0,
        }
    }

    /// Changes a finite value; the others stay as they are.
    #[must_use]
    pub fn map(&self, of: impl FnOnce(&Decimal) -> Decimal) -> Self {
        match self {
            Finite(value) => Finite(of(value)),
            other => other.clone(),
        }
    }

    #[must_use]
    pub fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Finite(a), Finite(b)) => a.compare(b),
            (NaN, NaN) => Ordering::Equal,
            (NaN, _) => Ordering::Greater,
            (_, NaN) => Ordering::Less,
            (Self::Infinite(a), Self::Infinite(b)) => a.cmp(b),
            (Self::Infinite(side), Finite(_)) => side.cmp(&Above).then(Ordering::Greater),
            (Finite(_), Self::Infinite(_)) => other.compare(self).reverse(),
        }
    }

    #[must_use]
    pub fn negate(&self) -> Self {
        match self {
            Finite(value) => Finite(value.negate()),
            Self::Infinite(Above) => Self::Infinite(Below),
            Self::Infinite(Below) => Self::Infinite(Above),
            NaN => NaN,
        }
    }

    #[must_use]
    pub fn abs(&self) -> Self {
        if self.sign() < 0 { self.negate() } else { self.clone() }
    }

    #[must_use]
    pub fn signum(&self) -> Self {
        if self.is_nan() { NaN } else { whole(self.sign()) }
    }

    /// # Errors
    /// 22003 for a sum that is too large.
    pub fn add(&self, other: &Self) -> Result<Self, SqlError> {
        Ok(match (self, other) {
            (Finite(a), Finite(b)) => Finite(a.add(b).checked()?),
            (NaN, _) | (_, NaN) => NaN,
            (Self::Infinite(a), Self::Infinite(b)) if a != b => NaN,
            (Self::Infinite(side), _) | (_, Self::Infinite(side)) => Self::Infinite(*side),
        })
    }

    /// # Errors
    /// 22003 for a difference that is too large.
    pub fn subtract(&self, other: &Self) -> Result<Self, SqlError> {
        self.add(&other.negate())
    }

    /// # Errors
    /// 22003 for a product that is too large.
    pub fn multiply(&self, other: &Self) -> Result<Self, SqlError> {
        Ok(match (self, other) {
            (Finite(a), Finite(b)) => Finite(a.multiply(b).checked()?),
            (NaN, _) | (_, NaN) => NaN,
            _ if self.is_zero() || other.is_zero() => NaN,
            _ => infinity(self.sign() * other.sign()),
        })
    }

    /// What divisions give if one side is not finite.
    fn special_quotient(&self, other: &Self) -> Result<Self, SqlError> {
        Ok(match (self, other) {
            (NaN, _) | (_, NaN) => NaN,
            (Self::Infinite(_), Self::Infinite(_)) => NaN,
            (Self::Infinite(_), _) if other.is_zero() => return Err(division_by_zero()),
            (Self::Infinite(_), _) => infinity(self.sign() * other.sign()),
            _ => whole(0),
        })
    }

    /// # Errors
    /// 22012; 22003 for a quotient that is too large.
    pub fn divide(&self, other: &Self) -> Result<Self, SqlError> {
        match (self, other) {
            (Finite(a), Finite(b)) => a.divide(b)?.checked().map(Finite),
            _ => self.special_quotient(other),
        }
    }

    /// `div(self, other)`.
    ///
    /// # Errors
    /// As [`divide`](Self::divide).
    pub fn divide_truncated(&self, other: &Self) -> Result<Self, SqlError> {
        match (self, other) {
            (Finite(a), Finite(b)) => a.divide_truncated(b)?.checked().map(Finite),
            _ => self.special_quotient(other),
        }
    }

    /// # Errors
    /// 22012.
    pub fn remainder(&self, other: &Self) -> Result<Self, SqlError> {
        Ok(match (self, other) {
            (Finite(a), Finite(b)) => Finite(a.remainder(b)?),
            (NaN, _) | (_, NaN) => NaN,
            (Self::Infinite(_), _) if other.is_zero() => return Err(division_by_zero()),
            (Self::Infinite(_), _) => NaN,
            _ => self.clone(),
        })
    }

    /// The greatest common divisor.
    pub fn gcd(&self, other: &Self) -> Result<Self, SqlError> {
        match (self, other) {
            (Finite(a), Finite(b)) => a.gcd(b).map(Finite),
            _ => Ok(NaN),
        }
    }

    /// The least common multiple.
    pub fn lcm(&self, other: &Self) -> Result<Self, SqlError> {
        match (self, other) {
            (Finite(a), Finite(b)) => a.lcm(b)?.checked().map(Finite),
            _ => Ok(NaN),
        }
    }

    pub fn sqrt(&self) -> Result<Self, SqlError> {
        match self {
            Finite(value) => value.sqrt().map(Finite),
            Self::Infinite(Below) => Err(SqlError::new(
                sqlstate::INVALID_ARGUMENT_FOR_POWER_FUNCTION,
                "cannot take square root of a negative number",
            )),
            other => Ok(other.clone()),
        }
    }

    pub fn exp(&self) -> Result<Self, SqlError> {
        match self {
            Finite(value) => value.exp().map(Finite),
            Self::Infinite(Below) => Ok(whole(0)),
            other => Ok(other.clone()),
        }
    }

    pub fn ln(&self) -> Result<Self, SqlError> {
        match self {
            Finite(value) => value.ln().map(Finite),
            Self::Infinite(Below) => Err(elementary::logarithm_of_negative()),
            other => Ok(other.clone()),
        }
    }

    /// The logarithm of `self` to a base.
    pub fn log(&self, base: &Self) -> Result<Self, SqlError> {
        match (self, base) {
            (Finite(value), Finite(base)) => return value.log(base).map(Finite),
            (NaN, _) | (_, NaN) => return Ok(NaN),
            _ => {}
        }
        if self.sign() < 0 || base.sign() < 0 {
            return Err(elementary::logarithm_of_negative());
        }
        if self.sign() == 0 || base.sign() == 0 {
            return Err(elementary::logarithm_of_zero());
        }
        Ok(match (self.is_infinite(), base.is_infinite()) {
            (true, true) => NaN,
            (false, _) => whole(0),
            (true, false) => Self::Infinite(Above),
        })
    }

    pub fn power(&self, exponent: &Self) -> Result<Self, SqlError> {
        let one = whole(1);
        match (self, exponent) {
            (Finite(a), Finite(b)) => return a.power(b)?.checked().map(Finite),
            (NaN, _) if exponent.is_zero() => return Ok(one),
            (NaN, _) => return Ok(NaN),
            (_, NaN) if self.compare(&one).is_eq() => return Ok(one),
            (_, NaN) => return Ok(NaN),
            _ => {}
        }
        let (base_sign, sign) = (self.sign(), exponent.sign());
        if base_sign == 0 && sign < 0 {
            return Err(elementary::zero_to_negative_power());
        }
        if base_sign < 0 && exponent.finite().is_some_and(|e| !e.is_whole()) {
            return Err(elementary::complex_power());
        }
        if self.compare(&one).is_eq() || sign == 0 {
            return Ok(one);
        }
        if base_sign == 0 {
            return Ok(whole(0));
        }
        if exponent.is_infinite() {
            if self.compare(&whole(-1)).is_eq() {
                return Ok(one);
            }
            let grows = self.abs().compare(&one).is_gt() == (sign > 0);
            return Ok(if grows { infinity(1) } else { whole(0) });
        }
        if sign < 0 {
            return Ok(whole(0));
        }
        let odd = exponent.finite().is_some_and(Decimal::is_odd);
        Ok(if base_sign < 0 && odd { infinity(-1) } else { infinity(1) })
    }

    /// Bytes that compare as the values do, equal for equal values.
    #[must_use]
    pub fn sort_key(&self) -> Vec<u8> {
        match self {
            // Zero has the key 1, other values begin with 0 and 2.
            Finite(value) => value.sort_key(),
            Self::Infinite(Below) => Vec::new(),
            Self::Infinite(Above) => vec![3],
            NaN => vec![4],
        }
    }

    /// The nearest double.
    ///
    /// # Errors
    /// 22003 for a value that is too large, or so small that it would be zero.
    pub fn to_f64(&self) -> Result<f64, SqlError> {
        match self {
            Finite(value) => {
                let float = value.to_f64();
                if float.is_infinite() || float == 0.0 && !value.is_zero() {
                    return Err(out_of_range(value, "double precision"));
                }
                Ok(float)
            }
            Self::Infinite(Above) => Ok(f64::INFINITY),
            Self::Infinite(Below) => Ok(f64::NEG_INFINITY),
            NaN => Ok(f64::NAN),
        }
    }

    /// The nearest float.
    ///
    /// # Errors
    /// As [`to_f64`](Self::to_f64).
    pub fn to_f32(&self) -> Result<f32, SqlError> {
        match self {
            Finite(value) => {
                let float: f32 = value.to_string().parse().unwrap_or(f32::NAN);
                if float.is_infinite() || float == 0.0 && !value.is_zero() {
                    return Err(out_of_range(value, "real"));
                }
                Ok(float)
            }
            Self::Infinite(Above) => Ok(f32::INFINITY),
            Self::Infinite(Below) => Ok(f32::NEG_INFINITY),
            NaN => Ok(f32::NAN),
        }
    }
}

fn out_of_range(value: &Decimal, type_name: &str) -> SqlError {
    let message = format!("\"{value}\" is out of range for type {type_name}");
    SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, message)
}
