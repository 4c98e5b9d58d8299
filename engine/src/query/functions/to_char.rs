//! `to_char` of numbers. Patterns that are not known are refused.

use super::decimal::Decimal;
use crate::error::SqlError;

/// Numbers: `9`, `0`, one `.`, `,`, and `FM` in front.
pub fn numeric(value: &Decimal, format: &str) -> Result<String, SqlError> {
    let (fill, pattern) = match format.strip_prefix("FM").or_else(|| format.strip_prefix("fm")) {
        Some(rest) => (false, rest),
        None => (true, format),
    };
    let (whole_pattern, fraction_pattern) = match pattern.split_once(['.', 'D']) {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (pattern, None),
    };
    let known = |p: &str, set: &str| p.chars().all(|c| set.contains(c));
    if !known(whole_pattern, "90,G") || !fraction_pattern.is_none_or(|f| known(f, "90")) {
        return Err(SqlError::not_supported(format!("to_char pattern {format:?}")));
    }
    let scale = fraction_pattern.map_or(0, str::len);
    let rounded = value.round(scale as i64);
    let negative = rounded.is_negative();
    let text = rounded.abs().to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let whole = if whole == "0" && scale > 0 && !whole_pattern.contains('0') { "" } else { whole };
    let slots = whole_pattern.chars().filter(|c| matches!(c, '9' | '0')).count();
    let overflow = whole.len() > slots;
    let forced = whole_pattern.find('0').map_or(0, |first| {
        whole_pattern[first..].chars().filter(|c| matches!(c, '9' | '0')).count()
    });
    let mut digits = format!("{whole:0>forced$}");
    if overflow {
        digits = "#".repeat(slots);
    }
    let blanks = slots - digits.len().min(slots);
    let mut body = String::new();
    let mut sign_done = false;
    let mut index = 0;
    for c in whole_pattern.chars() {
        if matches!(c, ',' | 'G') {
            body.push(if index > blanks || index == blanks && sign_done { ',' } else { ' ' });
            continue;
        }
        if index < blanks {
            body.push(' ');
        } else {
            if !sign_done {
                body.push(if negative { '-' } else { ' ' });
                sign_done = true;
            }
            body.push(char::from(digits.as_bytes()[index - blanks]));
        }
        index += 1;
    }
    if !sign_done {
        body.push(if negative { '-' } else { ' ' });
    }
    if let Some(pattern) = fraction_pattern {
        body.push('.');
        if overflow {
            body.push_str(&"#".repeat(scale));
        } else if fill {
            body.push_str(fraction);
        } else {
            // FM drops trailing zeros down to the last 0 of the pattern.
            let keep = pattern.rfind('0').map_or(0, |i| i + 1);
            let cut = fraction.trim_end_matches('0').len().max(keep);
            body.push_str(&fraction[..cut.min(fraction.len())]);
        }
    }
    Ok(if fill { body } else { body.trim_start().to_owned() })
}
