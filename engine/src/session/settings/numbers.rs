//! Numbers with units, as SET takes and SHOW prints them.

/// A number with a unit: `500`, `30s`, `1.5 min`.
fn with_unit(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let text = text.trim();
    let digits = text.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
    let number: f64 = text[..digits].parse().ok()?;
    let unit = text[digits..].trim();
    let factor = units.iter().find(|(name, _)| *name == unit)?.1;
    Some(number * factor)
}

const TIMES: [(&str, f64); 7] = [
    ("", 1.0),
    ("us", 0.001),
    ("ms", 1.0),
    ("s", 1000.0),
    ("min", 60_000.0),
    ("h", 3_600_000.0),
    ("d", 86_400_000.0),
];

pub(super) fn milliseconds(text: &str) -> Option<u64> {
    with_unit(text, &TIMES).map(|ms| ms.round_ties_even() as u64)
}

pub(super) fn show_milliseconds(ms: u64) -> String {
    if ms == 0 {
        return "0".to_owned();
    }
    for (unit, factor) in [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000)] {
        if ms.is_multiple_of(factor) {
            return format!("{}{unit}", ms / factor);
        }
    }
    format!("{ms}ms")
}

/// kB; `plain` is what a number without a unit means.
fn amount(text: &str, plain: f64) -> Option<f64> {
    let units = [
        ("", plain),
        ("B", 1.0 / 1024.0),
        ("kB", 1.0),
        ("MB", 1024.0),
        ("GB", 1_048_576.0),
        ("TB", 1_073_741_824.0),
    ];
    with_unit(text, &units)
}

pub(super) fn kilobytes(text: &str) -> Option<u64> {
    amount(text, 1.0).map(|kb| kb.round_ties_even() as u64)
}

/// Pages of 8 kB.
pub(super) fn pages(text: &str) -> Option<u64> {
    amount(text, 8.0).map(|kb| (kb / 8.0).round_ties_even() as u64)
}

pub(super) fn show_kilobytes(kb: u64) -> String {
    if kb == 0 {
        return "0".to_owned();
    }
    for (unit, factor) in [("TB", 1 << 30), ("GB", 1 << 20), ("MB", 1 << 10)] {
        if kb.is_multiple_of(factor) {
            return format!("{}{unit}", kb / factor);
        }
    }
    format!("{kb}kB")
}

/// A whole number, decimal or `0x…`; a fraction is rounded.
pub(super) fn integer(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return i64::from_str_radix(digits, 16).ok();
    }
    let number = real(text)?.round_ties_even();
    // Saturates, and bounds are smaller.
    Some(number as i64)
}

pub(super) fn real(text: &str) -> Option<f64> {
    let text = text.trim();
    if !text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte)) {
        return None;
    }
    text.parse().ok()
}

pub(super) fn real_milliseconds(text: &str) -> Option<f64> {
    if text.trim_start().starts_with('-') { real(text) } else { with_unit(text, &TIMES) }
}

/// As C prints it with `%g`: six digits.
pub(super) fn show_real(number: f64) -> String {
    if number == 0.0 {
        return "0".to_owned();
    }
    let scientific = format!("{number:.5e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..6).contains(&exponent) {
        let digits = digits.trim_end_matches('0').trim_end_matches('.');
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let places = usize::try_from(5 - exponent).unwrap_or(0);
    let plain = format!("{number:.places$}");
    if plain.contains('.') {
        plain.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        plain
    }
}
