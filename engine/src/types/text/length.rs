//! The lengths of string types.

use std::sync::LazyLock;

use crate::{
    error::{SqlError, sqlstate},
    types::PgType,
};

/// Bytes of a `name`.
const NAME_MAX: usize = 63;

/// Text as a value of a string type. What is too long is cut if the cast is `explicit`, and else
/// refused unless only blanks are too many. `char(n)` loses its trailing blanks, so that equal
/// values are equal bytes everywhere.
///
/// # Errors
/// 22001 for a text that is too long.
pub fn fit<'a>(text: &'a str, to: &PgType, explicit: bool) -> Result<&'a str, SqlError> {
    let (limit, text) = match to {
        PgType::Varchar(Some(n)) => (*n as usize, text),
        PgType::Bpchar(Some(n)) => (*n as usize, text.trim_end_matches(' ')),
        PgType::Name => {
            let end = (0..=NAME_MAX).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
            return Ok(if text.len() > NAME_MAX { &text[..end] } else { text });
        }
        PgType::Char => {
            return Ok(char_text(text));
        }
        _ => return Ok(text),
    };
    // A text of no more bytes than characters allowed cannot be too long.
    if text.len() <= limit {
        return Ok(text);
    }
    let Some((end, _)) = text.char_indices().nth(limit) else { return Ok(text) };
    let (kept, cut) = text.split_at(end);
    if !explicit && cut.bytes().any(|b| b != b' ') {
        return Err(too_long(to));
    }
    // The cut may have left blanks at the end.
    let blank = matches!(to, PgType::Bpchar(_));
    Ok(if blank { kept.trim_end_matches(' ') } else { kept })
}

/// Every value of `"char"` as it is written: nothing for the zero byte, a character of ASCII, or an
/// escape of three octal digits.
static CHAR_TEXTS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let text = |byte: u8| match byte {
        0 => String::new(),
        1..=127 => char::from(byte).to_string(),
        128.. => format!("\\{byte:03o}"),
    };
    (0..=255).map(text).collect()
});

/// What a text means as `"char"`: an escape of three octal digits is a byte, and of anything else
/// the first byte counts.
fn char_text(text: &str) -> &'static str {
    let byte = match text.as_bytes() {
        [b'\\', a @ b'0'..=b'7', b @ b'0'..=b'7', c @ b'0'..=b'7'] => {
            (a - b'0') << 6 | (b - b'0') << 3 | (c - b'0')
        }
        bytes => bytes.first().copied().unwrap_or(0),
    };
    CHAR_TEXTS[usize::from(byte)].as_str()
}

/// The byte of a value of `"char"`.
#[must_use]
pub fn char_byte(text: &str) -> u8 {
    CHAR_TEXTS.iter().position(|other| other == text).unwrap_or(0) as u8
}

/// The value of `"char"` with a byte.
#[must_use]
pub fn char_of_byte(byte: u8) -> &'static str {
    CHAR_TEXTS[usize::from(byte)].as_str()
}

/// 22001.
#[must_use]
pub(crate) fn too_long(pg_type: &PgType) -> SqlError {
    SqlError::new(
        sqlstate::STRING_DATA_RIGHT_TRUNCATION,
        format!("value too long for type {}", pg_type.sql_name()),
    )
}
