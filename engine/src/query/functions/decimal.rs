//! Exact decimals of any size: the values of `numeric`.
//!
//! A value is `digits × 10^-scale`. The scale is part of the value, as in PostgreSQL: it decides
//! how the value prints and, for division, how many digits the result gets.

use std::{cmp::Ordering, str::FromStr};

use arrow::datatypes::i256;
use num_bigint::{BigInt, BigUint, Sign};

use crate::error::{SqlError, sqlstate};

pub mod elementary;
#[cfg(test)]
mod tests;

/// Digits after the point that a numeric may have, and that division stops at.
const SCALE_MAX: u32 = 16_383;
/// Digits before the point that a numeric may have.
const WHOLE_DIGITS_MAX: u64 = 131_072;
const DISPLAY_SCALE_MAX: i64 = 1_000;
/// Digits that a division yields at least.
const SIGNIFICANT_DIGITS_MIN: i64 = 16;
/// PostgreSQL computes in groups of four decimal digits, which shows in the scale of quotients.
const GROUP: i64 = 4;

#[derive(Clone, Debug)]
pub struct Decimal {
    digits: BigInt,
    scale: u32,
}

fn power_of_ten(exponent: u32) -> BigInt {
    if exponent <= 18 {
        return BigInt::from(10_u64.pow(exponent));
    }
    BigInt::from(10_u8).pow(exponent)
}

pub fn division_by_zero() -> SqlError {
    SqlError::new(sqlstate::DIVISION_BY_ZERO, "division by zero")
}

impl Decimal {
    #[must_use]
    pub fn new(digits: impl Into<BigInt>, scale: u32) -> Self {
        Self { digits: digits.into(), scale }
    }

    #[must_use]
    pub fn from_i256(value: i256, scale: u32) -> Self {
        Self { digits: BigInt::from_signed_bytes_le(&value.to_le_bytes()), scale }
    }

    /// From plain digits with a sign and a point, as numeric values are carried; exponents too, as
    /// literals have them.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let unsigned = whole.strip_prefix(['-', '+']).unwrap_or(whole);
        let digit = |b: u8| b.is_ascii_digit();
        if unsigned.is_empty() && fraction.is_empty()
            || !unsigned.bytes().all(digit)
            || !fraction.bytes().all(digit)
            || i64::from(exponent.unsigned_abs()) > 2 * WHOLE_DIGITS_MAX as i64
        {
            return None;
        }
        let mut digits = BigInt::from_str(&format!("0{unsigned}{fraction}")).ok()?;
        if whole.starts_with('-') {
            digits = -digits;
        }
        let scale = i64::try_from(fraction.len()).ok()? - i64::from(exponent);
        if scale < 0 {
            digits *= power_of_ten(u32::try_from(-scale).ok()?);
        }
        Some(Self { digits, scale: u32::try_from(scale.max(0)).ok()? })
    }

    #[must_use]
    pub fn scale(&self) -> u32 {
        self.scale
    }

    /// Whether it has more digits before the point than PostgreSQL's numeric.
    #[must_use]
    pub fn overflows(&self) -> bool {
        let limit = WHOLE_DIGITS_MAX + u64::from(self.scale);
        // A bit is a little more than 0.301 digits: most are far below.
        let bits = self.digits.magnitude().bits();
        bits * 302 / 1000 + 1 > limit && decimal_digits(self.digits.magnitude()) > limit
    }

    /// The value, if a numeric can be so large.
    ///
    /// # Errors
    /// 22003.
    pub fn checked(self) -> Result<Self, SqlError> {
        if self.overflows() { Err(elementary::overflows()) } else { Ok(self) }
    }

    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.digits.sign() == Sign::NoSign
    }

    #[must_use]
    pub fn is_negative(&self) -> bool {
        self.digits.sign() == Sign::Minus
    }

    /// The digits at another scale, rounded half away from zero.
    fn digits_at(&self, scale: u32) -> BigInt {
        match scale.cmp(&self.scale) {
            Ordering::Equal => self.digits.clone(),
            Ordering::Greater => &self.digits * power_of_ten(scale - self.scale),
            Ordering::Less => divide_rounded(&self.digits, &power_of_ten(self.scale - scale)),
        }
    }

    /// `round(x, scale)`; a negative scale rounds left of the point.
    #[must_use]
    pub fn round(&self, scale: i64) -> Self {
        if scale >= 0 {
            let scale = u32::try_from(scale).unwrap_or(SCALE_MAX).min(SCALE_MAX);
            return Self { digits: self.digits_at(scale), scale };
        }
        let unit = power_of_ten(u32::try_from(-scale).unwrap_or(SCALE_MAX));
        let divisor = &unit * power_of_ten(self.scale);
        Self { digits: divide_rounded(&self.digits, &divisor) * unit, scale: 0 }
    }

    /// `trunc(x, scale)`.
    #[must_use]
    pub fn truncate(&self, scale: i64) -> Self {
        if scale >= 0 {
            let scale = u32::try_from(scale).unwrap_or(SCALE_MAX).min(SCALE_MAX);
            if scale >= self.scale {
                return Self { digits: self.digits_at(scale), scale };
            }
            return Self { digits: &self.digits / power_of_ten(self.scale - scale), scale };
        }
        let unit = power_of_ten(u32::try_from(-scale).unwrap_or(SCALE_MAX));
        Self { digits: (&self.digits / (&unit * power_of_ten(self.scale))) * unit, scale: 0 }
    }

    #[must_use]
    pub fn floor(&self) -> Self {
        let whole = self.truncate(0);
        if self.is_negative() && whole.compare(self) != Ordering::Equal {
            return whole.add(&Self::new(-1, 0));
        }
        whole
    }

    #[must_use]
    pub fn ceil(&self) -> Self {
        self.negate().floor().negate()
    }

    #[must_use]
    pub fn negate(&self) -> Self {
        Self { digits: -&self.digits, scale: self.scale }
    }

    #[must_use]
    pub fn abs(&self) -> Self {
        if self.is_negative() { self.negate() } else { self.clone() }
    }

    #[must_use]
    pub fn signum(&self) -> Self {
        Self::new(i32::from(!self.is_zero()) - 2 * i32::from(self.is_negative()), 0)
    }

    #[must_use]
    pub fn add(&self, other: &Self) -> Self {
        let scale = self.scale.max(other.scale);
        Self { digits: self.digits_at(scale) + other.digits_at(scale), scale }
    }

    #[must_use]
    pub fn subtract(&self, other: &Self) -> Self {
        self.add(&other.negate())
    }

    #[must_use]
    pub fn multiply(&self, other: &Self) -> Self {
        let product = self.exact_product(other);
        if product.scale > SCALE_MAX { product.round(i64::from(SCALE_MAX)) } else { product }
    }

    /// The product with all its digits, however many there are after the point.
    #[must_use]
    pub fn exact_product(&self, other: &Self) -> Self {
        Self { digits: &self.digits * &other.digits, scale: self.scale + other.scale }
    }

    /// The quotient with as many digits as PostgreSQL gives it.
    pub fn divide(&self, other: &Self) -> Result<Self, SqlError> {
        if other.is_zero() {
            return Err(division_by_zero());
        }
        let scale = self.quotient_scale(other);
        self.divide_to(other, scale)
    }

    fn divide_to(&self, other: &Self, scale: u32) -> Result<Self, SqlError> {
        if other.is_zero() {
            return Err(division_by_zero());
        }
        let shift = i64::from(scale) + i64::from(other.scale) - i64::from(self.scale);
        let power = power_of_ten(u32::try_from(shift.unsigned_abs()).unwrap_or(u32::MAX));
        let digits = if shift >= 0 {
            divide_rounded(&(&self.digits * power), &other.digits)
        } else {
            divide_rounded(&self.digits, &(&other.digits * power))
        };
        Ok(Self { digits, scale })
    }

    /// `div(x, y)`: the quotient truncated to an integer.
    pub fn divide_truncated(&self, other: &Self) -> Result<Self, SqlError> {
        if other.is_zero() {
            return Err(division_by_zero());
        }
        let scale = self.scale.max(other.scale);
        Ok(Self { digits: self.digits_at(scale) / other.digits_at(scale), scale: 0 })
    }

    pub fn remainder(&self, other: &Self) -> Result<Self, SqlError> {
        if other.is_zero() {
            return Err(division_by_zero());
        }
        let scale = self.scale.max(other.scale);
        Ok(Self { digits: self.digits_at(scale) % other.digits_at(scale), scale })
    }

    /// The weight of the first group of four digits, and that group.
    fn first_group(&self) -> (i64, i64) {
        if self.is_zero() {
            return (0, 0);
        }
        let digits = self.digits.magnitude();
        let count = decimal_digits(digits) as i64;
        // Place of the first digit: 0 for units, -1 for tenths.
        let place = count - 1 - i64::from(self.scale);
        let width = place.rem_euclid(GROUP) + 1;
        let group = if count >= width {
            digits / power_of_ten((count - width) as u32).magnitude()
        } else {
            digits * power_of_ten((width - count) as u32).magnitude()
        };
        (place.div_euclid(GROUP), group.iter_u64_digits().next().unwrap_or(0) as i64)
    }

    /// PostgreSQL's `select_div_scale`.
    fn quotient_scale(&self, other: &Self) -> u32 {
        let (weight1, first1) = self.first_group();
        let (weight2, first2) = other.first_group();
        let mut weight = weight1 - weight2;
        if first1 <= first2 {
            weight -= 1;
        }
        (SIGNIFICANT_DIGITS_MIN - weight * GROUP)
            .max(i64::from(self.scale))
            .max(i64::from(other.scale))
            .clamp(0, DISPLAY_SCALE_MAX) as u32
    }

    /// The square root with PostgreSQL's number of digits.
    pub fn sqrt(&self) -> Result<Self, SqlError> {
        if self.is_negative() {
            return Err(SqlError::new(
                sqlstate::INVALID_ARGUMENT_FOR_POWER_FUNCTION,
                "cannot take square root of a negative number",
            ));
        }
        let (weight, _) = self.first_group();
        // Assume the root has half as many groups before the point.
        let root_weight =
            if weight >= 0 { weight * GROUP / 2 + 1 } else { 1 - (1 - weight * GROUP) / 2 };
        let scale = (SIGNIFICANT_DIGITS_MIN - root_weight)
            .max(i64::from(self.scale))
            .clamp(0, DISPLAY_SCALE_MAX) as u32;
        self.sqrt_to(scale)
    }

    /// The square root of a value that is not negative, rounded to a scale.
    pub fn sqrt_to(&self, scale: u32) -> Result<Self, SqlError> {
        if self.is_negative() {
            return Err(SqlError::internal("square root of a negative number"));
        }
        // One digit more, then rounded.
        let wide = self.digits_at_exact(2 * (scale + 1));
        Ok(Self { digits: wide.sqrt(), scale: scale + 1 }.round(i64::from(scale)))
    }

    /// The digits at a scale that may be smaller; digits are cut.
    fn digits_at_exact(&self, scale: u32) -> BigInt {
        if scale >= self.scale {
            &self.digits * power_of_ten(scale - self.scale)
        } else {
            &self.digits / power_of_ten(self.scale - scale)
        }
    }

    /// `d.ddde+xx`, with as many digits behind the point as wanted.
    #[must_use]
    pub fn scientific(&self, places: u32) -> String {
        if self.is_zero() {
            return format!("{}e+00", Self::new(0, places));
        }
        let shift = decimal_digits(self.digits.magnitude()) - 1;
        let exponent = shift as i64 - i64::from(self.scale);
        let significand = Self { digits: self.digits.clone(), scale: shift as u32 };
        format!("{}e{exponent:+03}", significand.round(i64::from(places)))
    }

    #[must_use]
    pub fn compare(&self, other: &Self) -> Ordering {
        let scale = self.scale.max(other.scale);
        self.digits_at(scale).cmp(&other.digits_at(scale))
    }

    /// The digits at `scale`, rounded, if they are fewer than `precision` + 1.
    #[must_use]
    pub fn to_i256(&self, precision: u8, scale: u32) -> Option<i256> {
        let digits = self.digits_at(scale);
        let magnitude = digits.magnitude();
        if magnitude.bits() > 3
            && digits.magnitude() >= power_of_ten(u32::from(precision)).magnitude()
        {
            return None;
        }
        let mut bytes = digits.to_signed_bytes_le();
        if bytes.len() > 32 {
            return None;
        }
        let fill = if digits.sign() == Sign::Minus { 0xff } else { 0 };
        bytes.resize(32, fill);
        Some(i256::from_le_bytes(bytes.try_into().ok()?))
    }

    /// The integer nearest, half away from zero.
    #[must_use]
    pub fn to_i128(&self) -> Option<i128> {
        i128::try_from(self.digits_at(0)).ok()
    }

    #[must_use]
    pub fn to_f64(&self) -> f64 {
        self.to_string().parse().unwrap_or(f64::NAN)
    }

    /// Without trailing zeros after the point.
    #[must_use]
    pub fn trim_scale(&self) -> Self {
        let mut trimmed = self.clone();
        // Many at once first: long numbers are slow to divide.
        for zeros in [4096_u32, 256, 16, 4, 1] {
            let unit = power_of_ten(zeros.min(trimmed.scale));
            while trimmed.scale >= zeros && (&trimmed.digits % &unit).sign() == Sign::NoSign {
                trimmed.digits /= &unit;
                trimmed.scale -= zeros;
            }
        }
        trimmed
    }

    /// Digits after the point without trailing zeros.
    #[must_use]
    pub fn min_scale(&self) -> u32 {
        self.trim_scale().scale
    }

    /// The greatest common divisor.
    pub fn gcd(&self, other: &Self) -> Result<Self, SqlError> {
        let scale = self.scale.max(other.scale);
        let (mut a, mut b) = (self.digits_at(scale), other.digits_at(scale));
        while b.sign() != Sign::NoSign {
            super::given_up::check()?;
            (a, b) = (b.clone(), a % b);
        }
        Ok(Self { digits: a, scale }.abs())
    }

    /// The least common multiple.
    pub fn lcm(&self, other: &Self) -> Result<Self, SqlError> {
        let scale = self.scale.max(other.scale);
        if self.is_zero() || other.is_zero() {
            return Ok(Self::new(0, scale));
        }
        let gcd = self.gcd(other)?;
        let digits = self.digits_at(scale) / gcd.digits_at(scale) * other.digits_at(scale);
        Ok(Self { digits, scale }.abs())
    }

    /// Bytes that compare as the values do, equal for equal values whatever their scale: a sign,
    /// the decimal exponent of the first digit, the digits; inverted for negative values.
    #[must_use]
    pub fn sort_key(&self) -> Vec<u8> {
        if self.is_zero() {
            return vec![1];
        }
        let text = self.digits.magnitude().to_str_radix(10);
        let exponent = text.len() as i64 - i64::from(self.scale);
        let significant = text.trim_end_matches('0');
        let negative = self.is_negative();
        let mut key = Vec::with_capacity(significant.len() + 6);
        key.push(if negative { 0 } else { 2 });
        let exponent = (exponent as i32) ^ i32::MIN;
        key.extend_from_slice(&exponent.to_be_bytes());
        key.extend_from_slice(significant.as_bytes());
        key.push(0);
        if negative {
            for byte in &mut key[1..] {
                *byte = !*byte;
            }
        }
        key
    }
}

impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = self.digits.magnitude().to_str_radix(10);
        let scale = self.scale as usize;
        let sign = if self.is_negative() { "-" } else { "" };
        if scale == 0 {
            return write!(f, "{sign}{digits}");
        }
        let padded = format!("{digits:0>width$}", width = scale + 1);
        let (whole, fraction) = padded.split_at(padded.len() - scale);
        write!(f, "{sign}{whole}.{fraction}")
    }
}

/// How many decimal digits a number has; 0 for zero.
fn decimal_digits(number: &BigUint) -> u64 {
    let bits = number.bits();
    if bits <= 64 {
        let value = number.iter_u64_digits().next().unwrap_or(0);
        return value.checked_ilog10().map_or(0, |log| u64::from(log) + 1);
    }
    // From below, by one at most.
    let digits = ((bits - 1) as f64 * std::f64::consts::LOG10_2) as u64;
    let power = power_of_ten(digits as u32);
    if number < power.magnitude() {
        digits
    } else if number < (power * 10_u8).magnitude() {
        digits + 1
    } else {
        digits + 2
    }
}

/// Division rounding half away from zero.
fn divide_rounded(numerator: &BigInt, denominator: &BigInt) -> BigInt {
    let quotient = numerator / denominator;
    let remainder = numerator - &quotient * denominator;
    let twice = remainder.magnitude() * 2_u8;
    if twice >= *denominator.magnitude() {
        let up = if (numerator.sign() == Sign::Minus) == (denominator.sign() == Sign::Minus) {
            1
        } else {
            -1
        };
        return quotient + up;
    }
    quotient
}
