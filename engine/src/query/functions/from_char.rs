//! `to_number`: a number read by a pattern.

use super::decimal::Decimal;
use crate::error::{SqlError, sqlstate};

/// A number written with signs, group separators and a currency symbol.
///
/// # Errors
/// 22P02 for a text without a number, 0A000 for patterns that are not built.
pub fn number(text: &str, format: &str) -> Result<Decimal, SqlError> {
    let upper = format.to_ascii_uppercase();
    if let Some(letter) = upper.chars().find(|c| c.is_alphabetic() && !"DGLSFMIPR".contains(*c)) {
        return Err(SqlError::not_supported(format!("to_number pattern {letter:?}")));
    }
    let slots = upper.split(['.', 'D']).map(|part| part.matches(['9', '0']).count());
    let slots: Vec<usize> = slots.collect();
    let (mut digits, mut negative, mut fraction, mut taken) = (String::new(), false, false, 0);
    for c in text.trim().chars() {
        match c {
            '-' | '<' => negative = true,
            '.' if !fraction && slots.len() > 1 => {
                fraction = true;
                taken = 0;
                digits.push('.');
            }
            '.' => break,
            c if c.is_ascii_digit() => {
                let most = slots.get(usize::from(fraction)).copied().unwrap_or(0);
                if taken == most {
                    break;
                }
                taken += 1;
                digits.push(c);
            }
            // Signs, blanks, group separators, currency.
            _ => {}
        }
    }
    let digits = digits.trim_end_matches('.');
    let digits = if digits.starts_with('.') { format!("0{digits}") } else { digits.to_owned() };
    let value = Decimal::parse(&digits).ok_or_else(|| {
        let message = format!("invalid input syntax for type numeric: \"{text}\"");
        SqlError::new(sqlstate::INVALID_TEXT_REPRESENTATION, message)
    })?;
    Ok(if negative { value.negate() } else { value })
}
