//! The lengths of string types.

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
            let end = text.chars().next().map_or(0, char::len_utf8);
            return Ok(&text[..end]);
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

/// 22001.
#[must_use]
pub(crate) fn too_long(pg_type: &PgType) -> SqlError {
    SqlError::new(
        sqlstate::STRING_DATA_RIGHT_TRUNCATION,
        format!("value too long for type {}", pg_type.sql_name()),
    )
}
