//! PostgreSQL's binary numeric: digits in base 10,000.
//!
//! `count, weight, sign, scale`, two bytes each, then the digits. The first digit stands for
//! 10,000^weight; zero digits at both ends are left out; `scale` is the number of decimal digits
//! shown after the point.

const POSITIVE: u16 = 0x0000;
const NEGATIVE: u16 = 0x4000;
const NOT_A_NUMBER: u16 = 0xc000;
const INFINITY: u16 = 0xd000;
const MINUS_INFINITY: u16 = 0xf000;
/// What PostgreSQL itself says is the scale of the infinities.
const INFINITY_SCALE: u16 = 32;

/// Appends the binary form of a number in plain decimal notation, or of `NaN`, `Infinity`,
/// `-Infinity`. `false`, with nothing appended, if `text` is none of these.
pub(super) fn write_binary(text: &[u8], out: &mut Vec<u8>) -> bool {
    match text {
        b"NaN" => header(0, 0, NOT_A_NUMBER, 0, out),
        b"Infinity" => header(0, 0, INFINITY, INFINITY_SCALE, out),
        b"-Infinity" => header(0, 0, MINUS_INFINITY, INFINITY_SCALE, out),
        _ => return write_digits(text, out),
    }
    true
}

fn header(count: u16, weight: i16, sign: u16, scale: u16, out: &mut Vec<u8>) {
    for field in [count, weight.cast_unsigned(), sign, scale] {
        out.extend_from_slice(&field.to_be_bytes());
    }
}

fn write_digits(text: &[u8], out: &mut Vec<u8>) -> bool {
    let (sign, text) = match text.strip_prefix(b"-") {
        Some(rest) => (NEGATIVE, rest),
        None => (POSITIVE, text),
    };
    let point = text.iter().position(|&c| c == b'.');
    let (whole, fraction) = match point {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &[][..]),
    };
    if whole.is_empty() && fraction.is_empty()
        || !whole.iter().chain(fraction).all(u8::is_ascii_digit)
    {
        return false;
    }
    let (Ok(scale), Ok(groups_before)) =
        (u16::try_from(fraction.len()), i32::try_from(whole.len().div_ceil(4)))
    else {
        return false;
    };

    let start = out.len();
    header(0, 0, sign, scale, out);
    let digits = out.len();
    // The first group of the whole part is the short one, the last of the fraction is filled up.
    let (first, rest) = whole.split_at(whole.len() % 4);
    let mut weight = groups_before - 1;
    let groups = [first]
        .into_iter()
        .filter(|group| !group.is_empty())
        .chain(rest.chunks(4))
        .map(|group| base_10000(group, group.len()))
        .chain(fraction.chunks(4).map(|group| base_10000(group, 4)));
    let mut end = digits;
    for group in groups {
        if group == 0 && out.len() == digits {
            weight -= 1;
            continue;
        }
        out.extend_from_slice(&group.to_be_bytes());
        if group != 0 {
            end = out.len();
        }
    }
    out.truncate(end);
    let count = ((end - digits) / 2) as u16;
    let (weight, sign) = if count == 0 { (0, POSITIVE) } else { (weight, sign) };
    let Ok(weight) = i16::try_from(weight) else {
        out.truncate(start);
        return false;
    };
    out[start..start + 2].copy_from_slice(&count.to_be_bytes());
    out[start + 2..start + 4].copy_from_slice(&weight.to_be_bytes());
    out[start + 4..start + 6].copy_from_slice(&sign.to_be_bytes());
    true
}

/// The number that `width` digits write, those missing at the end being zeros.
fn base_10000(digits: &[u8], width: usize) -> u16 {
    let value = digits.iter().fold(0, |value, digit| value * 10 + u16::from(digit - b'0'));
    (digits.len()..width).fold(value, |value, _| value * 10)
}
