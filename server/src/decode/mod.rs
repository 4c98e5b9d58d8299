//! Parameter values of a Bind: text and binary to `ScalarValue`.

#[cfg(test)]
mod tests;

use datafusion::scalar::ScalarValue;
use glaredb_engine::{
    error::SqlError,
    types::{
        PgType,
        binary::{WRONG_FORMAT, client_text, read_value},
        text::{FormatSettings, parse_text},
    },
};

use crate::wire::Format;

/// Reads parameter `number` (from 1).
///
/// # Errors
/// What PostgreSQL gives for text it cannot read; 22P03 for binary of a wrong length, 0A000 for a
/// type without input.
pub(crate) fn parameter(
    pg_type: &PgType,
    value: Option<&[u8]>,
    format: Format,
    number: usize,
    settings: &FormatSettings,
) -> Result<ScalarValue, SqlError> {
    match value {
        None => null(pg_type),
        Some(value) => match format {
            Format::Text => text(pg_type, value, settings),
            Format::Binary => read_value(pg_type, value, settings).map_err(|mut error| {
                if error.message == WRONG_FORMAT {
                    error.message = format!("{WRONG_FORMAT} in bind parameter {number}");
                }
                error
            }),
        },
    }
}

/// A NULL of the type.
fn null(pg_type: &PgType) -> Result<ScalarValue, SqlError> {
    ScalarValue::try_new_null(&pg_type.arrow_type())
        .map_err(|error| SqlError::internal(error.to_string()))
}

fn text(
    pg_type: &PgType,
    value: &[u8],
    settings: &FormatSettings,
) -> Result<ScalarValue, SqlError> {
    let text = client_text(value, settings)?;
    let text = text.as_ref();
    // What most drivers send most of the time; everything unusual goes the long way.
    let quick = match pg_type {
        PgType::Int2 => text.parse().ok().map(|v| ScalarValue::Int16(Some(v))),
        PgType::Int4 => text.parse().ok().map(|v| ScalarValue::Int32(Some(v))),
        PgType::Int8 => text.parse().ok().map(|v| ScalarValue::Int64(Some(v))),
        _ => string(pg_type, text),
    };
    match quick {
        Some(value) => Ok(value),
        None => parse_text(text, pg_type, settings),
    }
}

/// A parameter of a string type. The length of `varchar(n)` and `char(n)` belongs to columns, not
/// to parameters: a value too long to be stored is still fit to be compared.
fn string(pg_type: &PgType, text: &str) -> Option<ScalarValue> {
    match pg_type {
        PgType::Text
        | PgType::Varchar(_)
        | PgType::Bpchar(None)
        | PgType::Name
        | PgType::Unknown => Some(ScalarValue::Utf8View(Some(text.to_owned()))),
        PgType::Bpchar(Some(_)) => {
            Some(ScalarValue::Utf8View(Some(text.trim_end_matches(' ').to_owned())))
        }
        _ => None,
    }
}
