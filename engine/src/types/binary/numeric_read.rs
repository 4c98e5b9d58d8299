//! PostgreSQL's binary numeric to plain decimal notation; the form stands in `encode::numeric`.

use std::fmt::Write;

/// The number as text, with as many decimals as its scale says. `None` if the bytes are no number.
pub(super) fn read_binary(bytes: &[u8]) -> Option<String> {
    let (fields, digits) = bytes.as_chunks::<2>().0.split_at_checked(4)?;
    if !bytes.len().is_multiple_of(2) {
        return None;
    }
    let field = |index: usize| u16::from_be_bytes(fields[index]);
    let (count, weight, sign, scale) =
        (usize::from(field(0)), field(1).cast_signed(), field(2), usize::from(field(3)));
    if digits.len() != count || scale > 0x3fff {
        return None;
    }
    let negative = match sign {
        0x0000 => false,
        0x4000 => true,
        0xc000 => return Some("NaN".to_owned()),
        0xd000 => return Some("Infinity".to_owned()),
        0xf000 => return Some("-Infinity".to_owned()),
        _ => return None,
    };
    let digit = |position: i32| -> Option<u16> {
        let index = i32::from(weight) - position;
        let value = usize::try_from(index)
            .ok()
            .and_then(|index| digits.get(index))
            .map_or(0, |bytes| u16::from_be_bytes(*bytes));
        (value < 10_000).then_some(value)
    };
    let mut text = String::with_capacity(scale + 8);
    if negative && count > 0 {
        text.push('-');
    }
    if weight < 0 || count == 0 {
        text.push('0');
    } else {
        let _ = write!(text, "{}", digit(weight.into())?);
        for position in (0..i32::from(weight)).rev() {
            let _ = write!(text, "{:04}", digit(position)?);
        }
    }
    if scale > 0 {
        text.push('.');
        let end = text.len() + scale;
        for group in 0..scale.div_ceil(4) {
            let position = -1 - i32::try_from(group).ok()?;
            let _ = write!(text, "{:04}", if count == 0 { 0 } else { digit(position)? });
        }
        text.truncate(end);
    }
    Some(text)
}
