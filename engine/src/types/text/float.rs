//! Floating point numbers as text: the shortest digits that lie nearer to the number than to any other.
//!
//! Digits in the middle between two numbers read back as one of them, too. Rust prints them,
//! PostgreSQL one digit more.

/// As PostgreSQL prints a `double precision` under `extra_float_digits`.
pub fn write_float8(value: f64, extra_float_digits: i32, out: &mut Vec<u8>) {
    if special(value, out) {
    } else if extra_float_digits > 0 {
        let bits = value.abs().to_bits();
        let (exponent, fraction) = ((bits >> 52) as i32, bits & ((1 << 52) - 1));
        let number = Binary::new(exponent, fraction, 52, 1075);
        let text = nearest(&number, |digits| match digits {
            None => format!("{value:e}"),
            Some(digits) => format!("{value:.digits$e}"),
        });
        shortest(&text, 15, out);
    } else {
        rounded(value, 15 + extra_float_digits.max(-14), out);
    }
}

/// As PostgreSQL prints a `real` under `extra_float_digits`.
pub fn write_float4(value: f32, extra_float_digits: i32, out: &mut Vec<u8>) {
    if special(f64::from(value), out) {
    } else if extra_float_digits > 0 {
        let bits = value.abs().to_bits();
        let (exponent, fraction) = ((bits >> 23) as i32, bits & ((1 << 23) - 1));
        let number = Binary::new(exponent, u64::from(fraction), 23, 150);
        let text = nearest(&number, |digits| match digits {
            None => format!("{value:e}"),
            Some(digits) => format!("{value:.digits$e}"),
        });
        shortest(&text, 6, out);
    } else {
        rounded(f64::from(value), 6 + extra_float_digits.max(-5), out);
    }
}

fn special(value: f64, out: &mut Vec<u8>) -> bool {
    let text: &[u8] = if value.is_nan() {
        b"NaN"
    } else if value == f64::INFINITY {
        b"Infinity"
    } else if value == f64::NEG_INFINITY {
        b"-Infinity"
    } else if value == 0.0 {
        if value.is_sign_negative() { b"-0" } else { b"0" }
    } else {
        return false;
    };
    out.extend_from_slice(text);
    true
}

/// `mantissa * 2^exponent`.
struct Binary {
    mantissa: u64,
    exponent: i32,
}

impl Binary {
    /// From the parts of the IEEE format with so many bits of fraction and such a bias.
    fn new(exponent: i32, fraction: u64, bits: u32, bias: i32) -> Self {
        match exponent {
            0 => Self { mantissa: fraction, exponent: 1 - bias },
            _ => Self { mantissa: fraction | 1 << bits, exponent: exponent - bias },
        }
    }

    /// Whether digits are in the middle between this number and a neighbour.
    fn borders(&self, scientific: &str) -> bool {
        let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
        let (mut digits, mut scale) = (0_u128, exponent.parse::<i32>().unwrap_or(0));
        let mut behind_point = false;
        for byte in mantissa.bytes() {
            match byte {
                b'0'..=b'9' => {
                    digits = digits * 10 + u128::from(byte - b'0');
                    scale -= i32::from(behind_point);
                }
                b'.' => behind_point = true,
                _ => {}
            }
        }
        // The middle is an odd number of one bit more than the mantissa, times a power of two. So
        // beyond a few powers of ten no digits are it.
        if !(-24..=24).contains(&scale) || digits == 0 {
            return false;
        }
        let fives = 5_u128.pow(scale.unsigned_abs());
        let odd = match scale {
            0.. => digits.checked_mul(fives),
            _ => (digits % fives == 0).then_some(digits / fives),
        };
        let Some(odd) = odd else { return false };
        let twos = odd.trailing_zeros();
        let (odd, power) = (odd >> twos, scale + twos as i32);
        let middle = u128::from(self.mantissa) * 2;
        power == self.exponent - 1 && (odd == middle + 1 || odd + 1 == middle)
    }
}

/// The shortest digits of a number that are no border to another. `write`: as many digits behind
/// the first as are asked for, or the fewest that read back as the number.
fn nearest(number: &Binary, write: impl Fn(Option<usize>) -> String) -> String {
    let mut text = write(None);
    let mut digits = text.bytes().take_while(|b| *b != b'e').filter(u8::is_ascii_digit).count();
    while number.borders(&text) {
        text = write(Some(digits));
        digits += 1;
    }
    text
}

/// From Rust's `d.ddde±x` (shortest digits) to PostgreSQL's layout: plain from 1e-4 up to
/// `10^digits_plain`, else with an exponent of at least two digits.
fn shortest(scientific: &str, digits_plain: i32, out: &mut Vec<u8>) {
    let (negative, rest) = match scientific.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, scientific),
    };
    let (mantissa, exponent) = rest.split_once('e').expect("LowerExp writes an exponent");
    let exponent: i32 = exponent.parse().expect("LowerExp writes a number");
    let digits: Vec<u8> = mantissa.bytes().filter(|b| *b != b'.').collect();
    if negative {
        out.push(b'-');
    }
    layout(&digits, exponent, (-4..digits_plain).contains(&exponent), out);
}

/// `%.{precision}g`.
fn rounded(value: f64, precision: i32, out: &mut Vec<u8>) {
    let precision = precision.max(1);
    let scientific = format!("{:.*e}", (precision - 1) as usize, value.abs());
    let (mantissa, exponent) = scientific.split_once('e').expect("LowerExp writes an exponent");
    let exponent: i32 = exponent.parse().expect("LowerExp writes a number");
    let mut digits: Vec<u8> = mantissa.bytes().filter(|b| *b != b'.').collect();
    while digits.len() > 1 && digits.last() == Some(&b'0') {
        digits.pop();
    }
    if value < 0.0 {
        out.push(b'-');
    }
    layout(&digits, exponent, (-4..precision).contains(&exponent), out);
}

fn layout(digits: &[u8], exponent: i32, plain: bool, out: &mut Vec<u8>) {
    if !plain {
        out.push(digits[0]);
        if digits.len() > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        let sign = if exponent < 0 { '-' } else { '+' };
        out.extend_from_slice(format!("e{sign}{:02}", exponent.abs()).as_bytes());
    } else if exponent < 0 {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + (-exponent - 1) as usize, b'0');
        out.extend_from_slice(digits);
    } else {
        let whole = exponent as usize + 1;
        if digits.len() <= whole {
            out.extend_from_slice(digits);
            out.resize(out.len() + whole - digits.len(), b'0');
        } else {
            out.extend_from_slice(&digits[..whole]);
            out.push(b'.');
            out.extend_from_slice(&digits[whole..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn float8(value: f64, extra: i32) -> String {
        let mut out = Vec::new();
        write_float8(value, extra, &mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn prints_as_postgres_does() {
        for (value, text) in [
            (0.1, "0.1"),
            (-1.5, "-1.5"),
            (1e15, "1e+15"),
            (123_456_789_012_345.0, "123456789012345"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.0, "1"),
            (-0.0, "-0"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
            (1.797_693_134_862_315_7e308, "1.7976931348623157e+308"),
            (100.25, "100.25"),
        ] {
            assert_eq!(float8(value, 1), text);
        }
        assert_eq!(float8(0.1 + 0.2, 1), "0.30000000000000004");
        assert_eq!(float8(36_028_797_018_963_984.0, 1), "3.6028797018963984e+16");
        assert_eq!(float8(0.1 + 0.2, 0), "0.3");
        assert_eq!(float8(1.0 / 3.0, -10), "0.33333");
        let mut out = Vec::new();
        write_float4(1e6, 1, &mut out);
        out.push(b' ');
        write_float4(0.1, 1, &mut out);
        assert_eq!(out, b"1e+06 0.1");
        out.clear();
        write_float4(-3_183_120_000.0, 1, &mut out);
        assert_eq!(out, b"-3.1831199e+09");
    }
}
