//! Logarithms, exponentials and powers of decimals, to any number of digits.
//!
//! Which scale a result has is PostgreSQL's to say and can be seen: at least 16 significant digits,
//! and no fewer after the point than the arguments have. The arithmetic behind it is binary fixed
//! point, with more digits than are shown.

use std::sync::{Mutex, PoisonError};

use num_bigint::{BigInt, BigUint, Sign};

use super::{DISPLAY_SCALE_MAX, Decimal, GROUP, SIGNIFICANT_DIGITS_MIN, power_of_ten};
use crate::{
    error::{SqlError, sqlstate},
    query::functions::given_up,
};

/// Decimal exponents beyond this are not computed by `exp`.
const RESULT_SCALE_MAX: f64 = 2_000.0;
/// Weight of a result that surely overflows: three times that of the largest numeric.
const POWER_WEIGHT_MAX: f64 = 3.0 * 32_767.0 * 4.0;
const LOG10_E: f64 = std::f64::consts::LOG10_E;
/// Digits computed beyond those that are shown.
const GUARD_DIGITS: i64 = 8;

pub fn overflows() -> SqlError {
    SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format")
}

fn logarithm_error(message: &str) -> SqlError {
    SqlError::new(sqlstate::INVALID_ARGUMENT_FOR_LOGARITHM, message)
}

fn power_error(message: &str) -> SqlError {
    SqlError::new(sqlstate::INVALID_ARGUMENT_FOR_POWER_FUNCTION, message)
}

pub fn logarithm_of_zero() -> SqlError {
    logarithm_error("cannot take logarithm of zero")
}

pub fn logarithm_of_negative() -> SqlError {
    logarithm_error("cannot take logarithm of a negative number")
}

pub fn zero_to_negative_power() -> SqlError {
    power_error("zero raised to a negative power is undefined")
}

pub fn complex_power() -> SqlError {
    power_error("a negative number raised to a non-integer power yields a complex result")
}

fn display_scale(scale: i64, least: u32) -> u32 {
    scale.max(i64::from(least)).clamp(0, DISPLAY_SCALE_MAX) as u32
}

/// Bits that hold as many decimal digits.
fn bits_of(digits: i64) -> u64 {
    (digits.max(0) as f64 * std::f64::consts::LOG2_10) as u64 + 2
}

/// Where the computing is done: numbers in units of 2^-bits.
struct Fixed {
    bits: u64,
}

impl Fixed {
    fn one(&self) -> BigInt {
        BigInt::from(1) << self.bits
    }

    fn multiply(&self, a: &BigInt, b: &BigInt) -> BigInt {
        (a * b) >> self.bits
    }

    fn divide(&self, a: &BigInt, b: &BigInt) -> BigInt {
        (a << self.bits) / b
    }

    /// `x` in these units.
    fn of(&self, x: &Decimal) -> BigInt {
        (&x.digits << self.bits) / power_of_ten(x.scale)
    }

    /// Rounded to a scale.
    fn decimal(&self, x: &BigInt, scale: u32) -> Decimal {
        let half = BigInt::from(1) << (self.bits - 1);
        let scaled = x.magnitude() * power_of_ten(scale).magnitude() + half.magnitude();
        let digits = BigInt::from_biguint(Sign::Plus, scaled >> self.bits);
        let digits = if x.sign() == Sign::Minus { -digits } else { digits };
        Decimal { digits, scale }
    }

    /// `atanh(x)` for a small x: x + x³/3 + x⁵/5 …
    fn atanh(&self, x: &BigInt) -> Result<BigInt, SqlError> {
        let square = self.multiply(x, x);
        let (mut power, mut sum, mut n) = (x.clone(), x.clone(), 1_u32);
        loop {
            given_up::check()?;
            power = self.multiply(&power, &square);
            n += 2;
            let term = &power / n;
            // Shifts round negative numbers down: -1 stays.
            if term.magnitude().bits() == 0 || power.magnitude().bits() <= 1 {
                return Ok(sum);
            }
            sum += term;
        }
    }

    /// `atanh(1/n)`.
    fn atanh_of_inverse(&self, n: u32) -> BigInt {
        let square = n * n;
        let mut power = self.one() / n;
        let (mut sum, mut k) = (power.clone(), 1_u32);
        while power.sign() != Sign::NoSign {
            power /= square;
            k += 2;
            sum += &power / k;
        }
        sum
    }

    /// The logarithm of 2, remembered with as many bits as were ever wanted.
    fn ln2(&self) -> BigInt {
        static KNOWN: Mutex<Option<(u64, BigInt)>> = Mutex::new(None);
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((bits, ln2)) = known.as_ref()
            && *bits >= self.bits
        {
            return ln2 >> (bits - self.bits);
        }
        let wide = Self { bits: self.bits + 64 };
        let ln2: BigInt = wide.atanh_of_inverse(26) * 18 - wide.atanh_of_inverse(4801) * 2
            + wide.atanh_of_inverse(8749) * 8;
        let result = &ln2 >> 64;
        *known = Some((wide.bits, ln2));
        result
    }

    /// `ln(x)` of a decimal above zero.
    fn ln(&self, x: &Decimal) -> Result<BigInt, SqlError> {
        /// Square roots taken before the series: each saves two bits per term.
        const ROOTS: u64 = 6;
        let inner = Self { bits: self.bits + ROOTS + 32 };
        let divisor = power_of_ten(x.scale);
        let mut exponent = x.digits.magnitude().bits() as i64 - divisor.magnitude().bits() as i64;
        let quotient = |exponent: i64| {
            let shift = inner.bits as i64 - exponent;
            if shift >= 0 {
                (&x.digits << shift.unsigned_abs()) / &divisor
            } else {
                &x.digits / (&divisor << shift.unsigned_abs())
            }
        };
        let mut mantissa = quotient(exponent);
        // Between 2/3 and 4/3, so that what is near 1 stays near it.
        if &mantissa * 3 > inner.one() * 4 {
            exponent += 1;
            mantissa = quotient(exponent);
        } else if &mantissa * 3 < inner.one() * 2 {
            exponent -= 1;
            mantissa = quotient(exponent);
        }
        for _ in 0..ROOTS {
            given_up::check()?;
            mantissa = (mantissa << inner.bits).sqrt();
        }
        let ratio = inner.divide(&(&mantissa - inner.one()), &(&mantissa + inner.one()));
        let fraction = inner.atanh(&ratio)? << (ROOTS + 1);
        let whole = (Self { bits: inner.bits + 32 }.ln2() * exponent) >> 32;
        Ok((fraction + whole) >> (inner.bits - self.bits))
    }

    /// `exp(x)` for an x below 1.
    fn exp_of_fraction(&self, x: &BigInt) -> Result<BigInt, SqlError> {
        let halvings = (self.bits as f64).sqrt() as u64 / 2 + 4;
        let inner = Self { bits: self.bits + 2 * halvings + 16 };
        // x / 2^halvings in the wider units.
        let small: BigInt = x << (halvings + 16);
        let (mut term, mut sum, mut n) = (inner.one(), inner.one(), 0_u32);
        loop {
            given_up::check()?;
            n += 1;
            term = inner.multiply(&term, &small) / n;
            if term.magnitude().bits() <= 1 {
                break;
            }
            sum += &term;
        }
        for _ in 0..halvings {
            given_up::check()?;
            sum = inner.multiply(&sum, &sum);
        }
        Ok(sum >> (inner.bits - self.bits))
    }
}

/// `e^x`, rounded to a scale. `x` is below 6,000.
fn exp_to(x: &Decimal, scale: u32) -> Result<Decimal, SqlError> {
    let estimate = x.to_f64();
    if estimate.abs() >= 3.0 * RESULT_SCALE_MAX {
        if estimate > 0.0 {
            return Err(overflows());
        }
        return Ok(Decimal::new(0, scale));
    }
    let weight = (estimate * LOG10_E) as i64;
    let digits = (1 + weight + i64::from(scale)).max(0) + GUARD_DIGITS + 8;
    let fixed = Fixed { bits: bits_of(digits) + 16 };
    // x = n ln 2 + rest, with the rest at most half of ln 2.
    let n = (estimate / std::f64::consts::LN_2).round() as i64;
    let wide = Fixed { bits: fixed.bits + 16 };
    let rest = (wide.of(x) - wide.ln2() * n) >> 16;
    let fraction = fixed.exp_of_fraction(&rest)?;
    let shifted = if n >= 0 { fraction << n.unsigned_abs() } else { fraction };
    let units = if n >= 0 { fixed } else { Fixed { bits: fixed.bits + n.unsigned_abs() } };
    Ok(units.decimal(&shifted, scale))
}

/// `ln(x)`, rounded to a scale.
fn ln_to(x: &Decimal, scale: u32) -> Result<Decimal, SqlError> {
    let fixed = Fixed { bits: bits_of(i64::from(scale) + GUARD_DIGITS) + 16 };
    Ok(fixed.decimal(&fixed.ln(x)?, scale))
}

impl Decimal {
    /// The weight of the first decimal digit of `ln(self)`, as PostgreSQL estimates it.
    fn ln_weight(&self) -> i64 {
        if self.is_zero() || self.is_negative() {
            return 0;
        }
        let tenths = |n: i32| Self::new(n, 1);
        if self.compare(&tenths(9)).is_ge() && self.compare(&tenths(11)).is_le() {
            // ln(1 + x) is nearly x.
            let x = self.subtract(&Self::new(1, 0));
            if x.is_zero() {
                return 0;
            }
            let (weight, first) = x.first_group();
            return weight * GROUP + (first as f64).log10() as i64;
        }
        let (mantissa, exponent) = self.leading_groups(2);
        let ln = mantissa.ln() + exponent as f64 * std::f64::consts::LN_10;
        ln.abs().log10() as i64
    }

    /// The first groups of four digits as a number m, and the exponent e: the value is nearly
    /// m × 10^e.
    fn leading_groups(&self, groups: usize) -> (f64, i64) {
        let text = self.digits.magnitude().to_str_radix(10);
        let place = text.len() as i64 - 1 - i64::from(self.scale);
        let weight = place.div_euclid(GROUP);
        // PostgreSQL keeps no groups of zeros at the end.
        let significant = text.trim_end_matches('0').len() as i64;
        let last = place - significant + 1;
        let stored = (weight - last.div_euclid(GROUP) + 1).max(1);
        let taken = stored.min(groups as i64);
        let width = place.rem_euclid(GROUP) + 1 + GROUP * (taken - 1);
        let mut digits: String = text.chars().take(width as usize).collect();
        while (digits.len() as i64) < width {
            digits.push('0');
        }
        (digits.parse().unwrap_or(0.0), (weight - taken + 1) * GROUP)
    }

    /// `exp(self)`.
    pub fn exp(&self) -> Result<Self, SqlError> {
        let weight = (self.to_f64() * LOG10_E).clamp(-RESULT_SCALE_MAX, RESULT_SCALE_MAX) as i64;
        exp_to(self, display_scale(SIGNIFICANT_DIGITS_MIN - weight, self.scale))
    }

    fn check_logarithm(&self) -> Result<(), SqlError> {
        if self.is_zero() {
            return Err(logarithm_of_zero());
        }
        if self.is_negative() {
            return Err(logarithm_of_negative());
        }
        Ok(())
    }

    /// The natural logarithm.
    pub fn ln(&self) -> Result<Self, SqlError> {
        self.check_logarithm()?;
        ln_to(self, display_scale(SIGNIFICANT_DIGITS_MIN - self.ln_weight(), self.scale))
    }

    /// The logarithm of `self` to a base.
    pub fn log(&self, base: &Self) -> Result<Self, SqlError> {
        // PostgreSQL looks for negative ones first.
        if base.is_negative() || self.is_negative() {
            return Err(logarithm_of_negative());
        }
        base.check_logarithm()?;
        self.check_logarithm()?;
        let (base_weight, weight) = (base.ln_weight(), self.ln_weight());
        let result_weight = weight - base_weight;
        let least = self.scale.max(base.scale);
        let scale = display_scale(SIGNIFICANT_DIGITS_MIN - result_weight, least);
        let digits = i64::from(scale) + result_weight.max(0) + GUARD_DIGITS;
        let lost = base_weight.min(weight).min(0).unsigned_abs() as i64;
        let fixed = Fixed { bits: bits_of(digits + 2 * lost) + 32 };
        let divisor = fixed.ln(base)?;
        if base.compare(&Self::new(1, 0)).is_eq() || divisor.sign() == Sign::NoSign {
            return Err(super::division_by_zero());
        }
        let quotient = fixed.divide(&fixed.ln(self)?, &divisor);
        Ok(fixed.decimal(&quotient, scale))
    }

    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.scale == 0 || (&self.digits % power_of_ten(self.scale)).sign() == Sign::NoSign
    }

    /// Whether it is a whole number that 2 does not divide.
    #[must_use]
    pub fn is_odd(&self) -> bool {
        self.is_whole() && (self.digits_at_exact(0) % 2_u8).sign() != Sign::NoSign
    }

    /// `self` to a power.
    pub fn power(&self, exponent: &Self) -> Result<Self, SqlError> {
        if self.is_zero() && exponent.is_negative() {
            return Err(zero_to_negative_power());
        }
        if self.is_negative() && !exponent.is_whole() {
            return Err(complex_power());
        }
        if exponent.is_whole()
            && let Some(whole) = exponent.to_i128().and_then(|e| i32::try_from(e).ok())
        {
            return self.whole_power(whole);
        }
        if self.is_zero() {
            return Ok(Self::new(0, SIGNIFICANT_DIGITS_MIN as u32));
        }
        let base = self.abs();
        let ln_weight = base.ln_weight();
        // First to a few digits, for the size of the result.
        let few = (GUARD_DIGITS - ln_weight).max(0);
        let low = ln_to(&base, few as u32)?;
        let product = low.multiply(exponent).round(few).to_f64();
        if product.abs() > RESULT_SCALE_MAX * 3.01 {
            if product > 0.0 {
                return Err(overflows());
            }
            return Ok(Self::new(0, DISPLAY_SCALE_MAX as u32));
        }
        let weight = (product * LOG10_E) as i64;
        let least = self.scale.max(exponent.scale);
        let scale = display_scale(SIGNIFICANT_DIGITS_MIN - weight, least);
        // The logarithm to as many digits as the exponent takes away, and more.
        let digits = (i64::from(scale) + weight).max(0);
        let factor = exponent.abs().truncate(0).digits.magnitude().bits() as i64 * 3 / 10 + 1;
        let ln_scale = (digits - ln_weight + GUARD_DIGITS).max(0) + factor;
        let ln = ln_to(&base, ln_scale as u32)?;
        let full = Self { digits: ln.digits * &exponent.digits, scale: ln.scale + exponent.scale };
        let result = exp_to(&full, scale)?;
        Ok(if self.is_negative() && exponent.is_odd() { result.negate() } else { result })
    }

    fn whole_power(&self, exponent: i32) -> Result<Self, SqlError> {
        let scale = display_scale(SIGNIFICANT_DIGITS_MIN, self.scale);
        let shown = |value: &Self| value.round(i64::from(scale));
        match exponent {
            0 => return Ok(shown(&Self::new(1, 0))),
            1 => return Ok(shown(self)),
            -1 => return Self::new(1, 0).divide_to(self, scale),
            2 => return Ok(shown(&self.exact_product(self))),
            _ => {}
        }
        if self.is_zero() {
            return Ok(Self::new(0, scale));
        }
        let (mantissa, shift) = self.leading_groups(4);
        let weight = f64::from(exponent) * (mantissa.log10() + shift as f64);
        if weight > POWER_WEIGHT_MAX {
            return Err(overflows());
        }
        if weight + 1.0 < -f64::from(scale) {
            return Ok(Self::new(0, scale));
        }
        let lost = f64::from(exponent).abs().ln() as i64;
        let kept = 1 + i64::from(scale) + weight as i64 + lost + GUARD_DIGITS + 8;
        let (mantissa, places) = self.rough_power(exponent.unsigned_abs(), kept.max(32) as u64)?;
        let negative = self.is_negative() && exponent % 2 != 0;
        // The mantissa in units of 10^-places.
        let result = if exponent < 0 {
            let shift = i64::from(scale) + places;
            if shift < 0 {
                return Ok(Self::new(0, scale));
            }
            let numerator = power_of_ten(shift as u32);
            let digits = super::divide_rounded(&numerator, &BigInt::from(mantissa));
            Self { digits, scale }
        } else {
            let shift = i64::from(scale) - places;
            let power = power_of_ten(u32::try_from(shift.unsigned_abs()).unwrap_or(u32::MAX));
            let mantissa = BigInt::from(mantissa);
            let digits = match shift >= 0 {
                true => mantissa * power,
                false => super::divide_rounded(&mantissa, &power),
            };
            Self { digits, scale }
        };
        Ok(if negative { result.negate() } else { result })
    }

    /// |self|^exponent by repeated squaring, cut to about `kept` digits: mantissa and places.
    fn rough_power(&self, exponent: u32, kept: u64) -> Result<(BigUint, i64), SqlError> {
        /// Places of a number that no numeric holds.
        const PLACES_MAX: i64 = 4_000_000;
        let cut = |(mantissa, places): (BigUint, i64)| {
            let digits = super::decimal_digits(&mantissa);
            if digits <= kept {
                return (mantissa, places);
            }
            let surplus = (digits - kept) as u32;
            (mantissa / power_of_ten(surplus).magnitude(), places - i64::from(surplus))
        };
        let mut square = cut((self.digits.magnitude().clone(), i64::from(self.scale)));
        let mut result = (BigUint::from(1_u8), 0_i64);
        let mut rest = exponent;
        loop {
            given_up::check()?;
            if rest & 1 == 1 {
                result = cut((&result.0 * &square.0, result.1 + square.1));
            }
            rest >>= 1;
            if rest == 0 {
                return Ok(result);
            }
            square = cut((&square.0 * &square.0, square.1 * 2));
            if square.1.abs() > PLACES_MAX {
                return Err(overflows());
            }
        }
    }
}
