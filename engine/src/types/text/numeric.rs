//! Exact numbers as text.

use arrow::datatypes::i256;

use crate::{
    error::{SqlError, sqlstate},
    types::NumericShape,
};

/// Digits of `value` × 10^-scale; a negative scale appends zeros.
pub fn write_decimal128(value: i128, scale: i8, out: &mut Vec<u8>) {
    let mut digits = [0u8; 40];
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    // Division of 128-bit numbers is slow; most values fit in 64 bits.
    while rest > u128::from(u64::MAX) {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let mut rest = rest as u64;
    while rest > 0 {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    write_digits(value < 0, &digits[at..], scale, out);
}

/// As [`write_decimal128`].
pub fn write_decimal256(value: i256, scale: i8, out: &mut Vec<u8>) {
    let text = value.to_string();
    let digits = text.trim_start_matches('-').trim_start_matches('0');
    write_digits(value.is_negative(), digits.as_bytes(), scale, out);
}

/// `digits` without leading zeros; none for zero.
fn write_digits(negative: bool, digits: &[u8], scale: i8, out: &mut Vec<u8>) {
    if negative {
        out.push(b'-');
    }
    let Ok(scale) = usize::try_from(scale) else {
        if digits.is_empty() {
            out.push(b'0');
        } else {
            out.extend_from_slice(digits);
            out.resize(out.len() + usize::from(scale.unsigned_abs()), b'0');
        }
        return;
    };
    if digits.len() > scale {
        out.extend_from_slice(&digits[..digits.len() - scale]);
    } else {
        out.push(b'0');
    }
    if scale > 0 {
        out.push(b'.');
        out.resize(out.len() + scale.saturating_sub(digits.len()), b'0');
        out.extend_from_slice(&digits[digits.len().saturating_sub(scale)..]);
    }
}

/// A number cut into its parts: digits without leading zeros, and how many of them (or zeros in
/// front of them) stand after the point.
struct Parts {
    negative: bool,
    digits: Vec<u8>,
    scale: i64,
}

/// PostgreSQL's limits of `numeric`: digits before and after the point.
const WHOLE_DIGITS_MAX: i64 = 131_072;
const SCALE_MAX: i64 = 16_383;

/// An exponent; one beyond every limit comes as a shorter one that is beyond them, too.
fn exponent(text: &str) -> Option<i64> {
    const BEYOND: i64 = 200_000;
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let value = digits.parse::<i64>().unwrap_or(BEYOND).min(BEYOND);
    Some(if text.starts_with('-') { -value } else { value })
}

fn split(text: &str) -> Option<Parts> {
    let text = text.trim();
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match rest.find(['e', 'E']) {
        Some(at) => (&rest[..at], exponent(&rest[at + 1..])?),
        None => (rest, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    if !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
    let mut scale = fraction.len() as i64 - exponent;
    if scale < 0 {
        digits.resize(digits.len() + scale.unsigned_abs() as usize, b'0');
        scale = 0;
    }
    let zeros = digits.iter().take_while(|d| **d == b'0').count();
    digits.drain(..zeros);
    Some(Parts { negative, digits, scale })
}

/// A bare `numeric`: every digit and the scale as given, no leading zeros, no exponent. `NaN` and
/// the infinities stay.
///
/// # Errors
/// 22P02 for what is no number, 22003 beyond PostgreSQL's limits.
pub fn canonical_numeric(text: &str) -> Result<String, SqlError> {
    if let Some(special) = special(text) {
        return Ok(special.to_owned());
    }
    let parts = split(text).ok_or_else(|| no_number(text))?;
    if parts.scale > SCALE_MAX || parts.digits.len() as i64 - parts.scale > WHOLE_DIGITS_MAX {
        return Err(SqlError::new(
            sqlstate::NUMERIC_VALUE_OUT_OF_RANGE,
            "value overflows numeric format",
        ));
    }
    Ok(parts.canonical())
}

/// NaN and the infinities.
fn special(text: &str) -> Option<&'static str> {
    match text.trim().to_ascii_lowercase().as_str() {
        "nan" => Some("NaN"),
        "infinity" | "+infinity" | "inf" | "+inf" => Some("Infinity"),
        "-infinity" | "-inf" => Some("-Infinity"),
        _ => None,
    }
}

impl Parts {
    fn canonical(&self) -> String {
        let parts = self;
        let zero = parts.digits.iter().all(|d| *d == b'0');
        let scale = parts.scale as usize;
        let mut out = Vec::with_capacity(parts.digits.len() + 3);
        if parts.negative && !zero {
            out.push(b'-');
        }
        let whole = parts.digits.len().saturating_sub(scale);
        if whole == 0 {
            out.push(b'0');
        } else {
            out.extend_from_slice(&parts.digits[..whole]);
        }
        if scale > 0 {
            out.push(b'.');
            out.resize(out.len() + scale.saturating_sub(parts.digits.len()), b'0');
            out.extend_from_slice(&parts.digits[whole..]);
        }
        String::from_utf8(out).expect("digits are ASCII")
    }

    /// Rounds half away from zero to a scale, which may be negative.
    fn round(&mut self, scale: i64) {
        let drop = self.scale - scale;
        if drop <= 0 {
            // Zeros are not digits of a zero.
            self.digits.resize(self.digits.len() + drop.unsigned_abs() as usize, b'0');
        } else {
            let keep = self.digits.len() as i64 - drop;
            let up = usize::try_from(keep).ok().and_then(|at| self.digits.get(at));
            let up = up.is_some_and(|digit| *digit >= b'5');
            self.digits.truncate(usize::try_from(keep).unwrap_or(0));
            if up {
                self.increment();
            }
        }
        self.scale = scale;
        if scale < 0 {
            if !self.digits.is_empty() {
                self.digits.resize(self.digits.len() + scale.unsigned_abs() as usize, b'0');
            }
            self.scale = 0;
        }
    }

    fn increment(&mut self) {
        for digit in self.digits.iter_mut().rev() {
            if *digit < b'9' {
                *digit += 1;
                return;
            }
            *digit = b'0';
        }
        self.digits.insert(0, b'1');
    }
}

/// A numeric of [`canonical_numeric`]'s form as one with a precision and scale.
///
/// # Errors
/// 22003 if it has too many digits.
pub fn fit_numeric(text: &str, shape: NumericShape) -> Result<String, SqlError> {
    match special(text) {
        Some("NaN") => return Ok("NaN".to_owned()),
        Some(_) => return Err(infinite_overflow(shape)),
        None => {}
    }
    let mut parts = split(text).ok_or_else(|| no_number(text))?;
    parts.round(i64::from(shape.scale));
    let zeros = parts.digits.iter().take_while(|d| **d == b'0').count();
    // Digits before the point, or less than none if zeros follow it.
    let whole = (parts.digits.len() - zeros) as i64 - parts.scale;
    let zero = zeros == parts.digits.len();
    if !zero && whole > i64::from(shape.precision) - i64::from(shape.scale) {
        return Err(overflow(shape));
    }
    Ok(parts.canonical())
}

/// `text` in units of 10^-scale, rounded half away from zero as PostgreSQL does.
///
/// # Errors
/// 22P02 for what is no number, 22003 for one with more digits than `shape` allows, 0A000 for NaN
/// and the infinities, which a decimal does not hold.
pub fn parse_decimal(text: &str, shape: NumericShape) -> Result<i256, SqlError> {
    let Some(parts) = split(text) else {
        return Err(match special(text) {
            None => no_number(text),
            Some("NaN") => nan_in_decimal(),
            Some(_) => infinite_overflow(shape),
        });
    };
    let mut digits = parts.digits;
    let drop = parts.scale - i64::from(shape.scale);
    let mut round_up = false;
    if drop < 0 {
        if !digits.is_empty() {
            let length = digits.len() + drop.unsigned_abs() as usize;
            if length > 80 {
                return Err(overflow(shape));
            }
            digits.resize(length, b'0');
        }
    } else if drop as usize > digits.len() {
        digits.clear();
    } else {
        let keep = digits.len() - drop as usize;
        round_up = digits.get(keep).is_some_and(|d| *d >= b'5');
        digits.truncate(keep);
    }
    if digits.len() > usize::from(shape.precision) {
        return Err(overflow(shape));
    }
    let mut value = i256::from_i128(0);
    for chunk in digits.chunks(18) {
        let mut number = 0i128;
        for digit in chunk {
            number = number * 10 + i128::from(digit - b'0');
        }
        value = value
            .wrapping_mul(i256::from_i128(10i128.pow(chunk.len() as u32)))
            .wrapping_add(i256::from_i128(number));
    }
    if round_up {
        value = value.wrapping_add(i256::from_i128(1));
        if value.to_string().len() > usize::from(shape.precision) {
            return Err(overflow(shape));
        }
    }
    Ok(if parts.negative { value.wrapping_neg() } else { value })
}

/// The common case of [`parse_decimal`] without a copy: at most 18 digits, no exponent, no more
/// fraction digits than `scale`.
pub(super) fn parse_decimal_fast(bytes: &[u8], shape: NumericShape) -> Option<i128> {
    let (negative, digits) = match bytes.first()? {
        b'-' => (true, &bytes[1..]),
        _ => (false, bytes),
    };
    if digits.is_empty() || digits.len() > 19 {
        return None;
    }
    let mut value = 0i64;
    let mut point: Option<usize> = None;
    for (at, byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' => value = value * 10 + i64::from(byte - b'0'),
            b'.' if point.is_none() => point = Some(at),
            _ => return None,
        }
        if at >= 18 && point.is_none() {
            return None;
        }
    }
    if digits.len() == 1 && point.is_some() {
        return None;
    }
    let fraction = point.map_or(0, |at| digits.len() - at - 1);
    let missing = usize::try_from(shape.scale).ok()?.checked_sub(fraction)?;
    let value = i128::from(value).checked_mul(10i128.checked_pow(missing as u32)?)?;
    if value >= 10i128.checked_pow(u32::from(shape.precision)).unwrap_or(i128::MAX) {
        return None;
    }
    Some(if negative { -value } else { value })
}

fn no_number(text: &str) -> SqlError {
    SqlError::new(
        sqlstate::INVALID_TEXT_REPRESENTATION,
        format!("invalid input syntax for type numeric: \"{text}\""),
    )
}

/// 22003 for an infinity in a column with a precision.
#[must_use]
pub fn infinite_overflow(shape: NumericShape) -> SqlError {
    SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "numeric field overflow").detail(format!(
        "A field with precision {}, scale {} cannot hold an infinite value.",
        shape.precision, shape.scale
    ))
}

/// 0A000: Arrow's decimals have no NaN.
#[must_use]
pub fn nan_in_decimal() -> SqlError {
    SqlError::not_supported("NaN in a numeric column with a precision")
        .hint("Numeric without precision and numeric with a precision above 76 can be NaN.")
}

/// 22003 as PostgreSQL words it for a column that is too narrow.
#[must_use]
pub fn overflow(shape: NumericShape) -> SqlError {
    let whole = i32::from(shape.precision) - i32::from(shape.scale);
    let bound = if whole == 0 { "1".to_owned() } else { format!("10^{whole}") };
    SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "numeric field overflow").detail(format!(
        "A field with precision {}, scale {} must round to an absolute value less than {bound}.",
        shape.precision, shape.scale
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str, precision: u16, scale: i16) -> Result<String, SqlError> {
        let shape = NumericShape { precision, scale };
        let value = parse_decimal(text, shape)?;
        if let Some(fast) = parse_decimal_fast(text.as_bytes(), shape) {
            assert_eq!(Some(fast), value.to_i128(), "{text}");
        }
        let mut out = Vec::new();
        write_decimal256(value, scale as i8, &mut out);
        if let Some(value) = value.to_i128() {
            let mut narrow = Vec::new();
            write_decimal128(value, scale as i8, &mut narrow);
            assert_eq!(narrow, out);
        }
        Ok(String::from_utf8(out).expect("ASCII"))
    }

    #[test]
    fn decimals_round_half_away_from_zero() {
        for (text, precision, scale, expected) in [
            ("1", 10, 2, "1.00"),
            ("-1.005", 10, 2, "-1.01"),
            ("0.004", 10, 2, "0.00"),
            ("-0.5", 1, 0, "-1"),
            (".5", 3, 2, "0.50"),
            ("1e3", 10, 0, "1000"),
            ("1.5e-3", 10, 4, "0.0015"),
            ("99999999.99", 10, 2, "99999999.99"),
            ("12345678901234567890123456789.123", 38, 3, "12345678901234567890123456789.123"),
            ("9.99e50", 60, 2, &format!("999{}.00", "0".repeat(48))),
        ] {
            assert_eq!(decimal(text, precision, scale).as_deref(), Ok(expected), "{text}");
        }
        let overflow = decimal("99999999.995", 10, 2).expect_err("too wide");
        assert_eq!(overflow.sqlstate, sqlstate::NUMERIC_VALUE_OUT_OF_RANGE);
        assert_eq!(
            overflow.detail.as_deref(),
            Some(
                "A field with precision 10, scale 2 must round to an absolute value less than 10^8."
            )
        );
        assert_eq!(
            decimal("NaN", 10, 2).expect_err("no NaN").sqlstate,
            sqlstate::FEATURE_NOT_SUPPORTED
        );
        for text in ["", ".", "-", "1e", "1.2.3", "abc", "1 2", "0x10"] {
            assert_eq!(
                decimal(text, 10, 2).expect_err(text).sqlstate,
                sqlstate::INVALID_TEXT_REPRESENTATION,
                "{text}"
            );
            let shape = NumericShape { precision: 10, scale: 2 };
            assert_eq!(parse_decimal_fast(text.as_bytes(), shape), None, "{text}");
        }
    }

    #[test]
    fn bare_numerics_keep_their_digits() {
        for (text, expected) in [
            ("+007.500", "7.500"),
            ("1e5", "100000"),
            ("1.5e-3", "0.0015"),
            ("-0", "0"),
            ("-0.00", "0.00"),
            ("nan", "NaN"),
            (" 12 ", "12"),
            (
                "123456789012345678901234567890.000000001",
                "123456789012345678901234567890.000000001",
            ),
        ] {
            assert_eq!(canonical_numeric(text).as_deref(), Ok(expected), "{text}");
        }
        assert!(canonical_numeric("1e140000").is_err());
    }
}
