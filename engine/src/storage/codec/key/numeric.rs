//! Keys of numerics: sign class, exponent, digits in base 100. One value has one encoding, whatever
//! scale it was written with.

use crate::storage::StorageError;

/// First bytes of a numeric key, in the order of the values. They stand where other types have
/// [`super::VALUE`].
const MINUS_INFINITY: u8 = 0x02;
const NEGATIVE: u8 = 0x03;
const ZERO: u8 = 0x04;
const POSITIVE: u8 = 0x05;
const INFINITY: u8 = 0x06;
const NAN: u8 = 0x07;

/// Exponents in this range take one byte.
const SHORT_EXPONENT: std::ops::RangeInclusive<i32> = -64..=63;
const SHORT_EXPONENT_BIAS: i32 = 0x80;
const LONG_NEGATIVE: u8 = 0x3f;
const LONG_POSITIVE: u8 = 0xc0;
const LONG_EXPONENT_BIAS: i32 = 1 << 23;

/// A number from its unscaled value: `unscaled / 10^scale`.
pub(super) fn encode_i128(unscaled: i128, scale: i8, out: &mut Vec<u8>) {
    let mut digits = [0_u8; 40];
    let mut rest = unscaled.unsigned_abs();
    let mut start = digits.len();
    // Most fit 64 bits, where division is several times cheaper.
    while rest > u128::from(u64::MAX) {
        start -= 1;
        digits[start] = (rest % 10) as u8;
        rest /= 10;
    }
    let mut rest = rest as u64;
    while rest > 0 {
        start -= 1;
        digits[start] = (rest % 10) as u8;
        rest /= 10;
    }
    let digits = &digits[start..];
    encode_digits(unscaled < 0, digits, digits.len() as i32 - i32::from(scale), out);
}

/// A number from canonical text: `-12.340`, `NaN`, `Infinity`, `-Infinity`.
pub(super) fn encode_text(text: &str, out: &mut Vec<u8>) -> Result<(), StorageError> {
    match text {
        "NaN" => out.push(NAN),
        "Infinity" => out.push(INFINITY),
        "-Infinity" => out.push(MINUS_INFINITY),
        _ => {
            let (negative, unsigned) = match text.strip_prefix('-') {
                Some(rest) => (true, rest),
                None => (false, text),
            };
            let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
            let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
            if whole.len() + fraction.len() == 0 || !all_digits(whole) || !all_digits(fraction) {
                return Err(StorageError::NotANumber(text.to_owned()));
            }
            let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).map(|b| b - b'0').collect();
            encode_digits(negative, &digits, whole.len() as i32, out);
        }
    }
    Ok(())
}

/// `0.d1d2d3… × 10^exponent`, digits 0 to 9, zeros allowed on both sides.
fn encode_digits(negative: bool, digits: &[u8], exponent: i32, out: &mut Vec<u8>) {
    let Some(first) = digits.iter().position(|d| *d != 0) else {
        out.push(ZERO);
        return;
    };
    let last = digits.iter().rposition(|d| *d != 0).expect("one digit is not zero");
    let exponent = exponent - first as i32;
    let digits = &digits[first..=last];

    out.push(if negative { NEGATIVE } else { POSITIVE });
    let body = out.len();
    // In base 100 the point stands between pairs: an odd exponent puts a zero in front.
    let odd = exponent.rem_euclid(2);
    push_exponent((exponent + odd) / 2, out);
    let mut rest = digits;
    if odd == 1 {
        out.push(rest[0] + 1);
        rest = &rest[1..];
    }
    for pair in rest.chunks(2) {
        out.push(pair[0] * 10 + pair.get(1).copied().unwrap_or(0) + 1);
    }
    out.push(0);
    if negative {
        out[body..].iter_mut().for_each(|b| *b = !*b);
    }
}

fn push_exponent(exponent: i32, out: &mut Vec<u8>) {
    if SHORT_EXPONENT.contains(&exponent) {
        out.push((exponent + SHORT_EXPONENT_BIAS) as u8);
    } else {
        out.push(if exponent < 0 { LONG_NEGATIVE } else { LONG_POSITIVE });
        out.extend_from_slice(&((exponent + LONG_EXPONENT_BIAS) as u32).to_be_bytes()[1..]);
    }
}

/// Text of the number at the start of `input`, and how many bytes it took. `scale_min`: digits to
/// show behind the point at least. `None`: not an encoding.
pub(super) fn decode(input: &[u8], scale_min: usize) -> Option<(String, usize)> {
    let padded_zero = || match scale_min {
        0 => "0".to_owned(),
        n => format!("0.{}", "0".repeat(n)),
    };
    let negative = match *input.first()? {
        MINUS_INFINITY => return Some(("-Infinity".into(), 1)),
        INFINITY => return Some(("Infinity".into(), 1)),
        NAN => return Some(("NaN".into(), 1)),
        ZERO => return Some((padded_zero(), 1)),
        NEGATIVE => true,
        POSITIVE => false,
        _ => return None,
    };
    let flip = if negative { 0xff } else { 0 };
    let mut bytes = input[1..].iter().map(|b| b ^ flip);
    let exponent = match bytes.next()? {
        LONG_NEGATIVE | LONG_POSITIVE => {
            let (a, b, c) = (bytes.next()?, bytes.next()?, bytes.next()?);
            i32::from_be_bytes([0, a, b, c]) - LONG_EXPONENT_BIAS
        }
        short => {
            let exponent = i32::from(short) - SHORT_EXPONENT_BIAS;
            SHORT_EXPONENT.contains(&exponent).then_some(exponent)?
        }
    };
    let mut digits = String::new();
    loop {
        match bytes.next()? {
            0 => break,
            pair @ 1..=100 => {
                digits.push(char::from(b'0' + (pair - 1) / 10));
                digits.push(char::from(b'0' + (pair - 1) % 10));
            }
            _ => return None,
        }
    }
    let used = input.len() - bytes.len();
    Some((plain_text(negative, &digits, exponent * 2, scale_min), used))
}

/// `0.digits × 10^point` in plain notation.
fn plain_text(negative: bool, digits: &str, point: i32, scale_min: usize) -> String {
    let (whole, fraction) = if point <= 0 {
        (String::new(), "0".repeat(point.unsigned_abs() as usize) + digits)
    } else if point as usize >= digits.len() {
        (digits.to_owned() + &"0".repeat(point as usize - digits.len()), String::new())
    } else {
        let (a, b) = digits.split_at(point as usize);
        (a.to_owned(), b.to_owned())
    };
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        trimmed => trimmed,
    };
    let mut fraction = fraction.trim_end_matches('0').to_owned();
    while fraction.len() < scale_min {
        fraction.push('0');
    }
    let sign = if negative { "-" } else { "" };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}
