//! Floating point numbers as text: the shortest digits that read back as the same number.

/// As PostgreSQL prints a `double precision` under `extra_float_digits`.
pub fn write_float8(value: f64, extra_float_digits: i32, out: &mut Vec<u8>) {
    if special(value, out) {
    } else if extra_float_digits > 0 {
        shortest(&format!("{value:e}"), 15, out);
    } else {
        rounded(value, 15 + extra_float_digits.max(-14), out);
    }
}

/// As PostgreSQL prints a `real` under `extra_float_digits`.
pub fn write_float4(value: f32, extra_float_digits: i32, out: &mut Vec<u8>) {
    if special(f64::from(value), out) {
    } else if extra_float_digits > 0 {
        shortest(&format!("{value:e}"), 6, out);
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
        assert_eq!(float8(0.1 + 0.2, 0), "0.3");
        assert_eq!(float8(1.0 / 3.0, -10), "0.33333");
        let mut out = Vec::new();
        write_float4(1e6, 1, &mut out);
        out.push(b' ');
        write_float4(0.1, 1, &mut out);
        assert_eq!(out, b"1e+06 0.1");
    }
}
