//! Parameter values of a Bind.

use datafusion::scalar::ScalarValue;
use glaredb_engine::{
    error::{SqlError, sqlstate},
    types::PgType,
};

use crate::wire::Format;

/// Reads parameter `number` (from 1).
pub(crate) fn parameter(
    pg_type: &PgType,
    value: Option<&[u8]>,
    format: Format,
    number: usize,
) -> Result<ScalarValue, SqlError> {
    match (pg_type, value, format) {
        (_, None, _) => ScalarValue::try_from(&pg_type.arrow_type())
            .map_err(|error| SqlError::internal(error.to_string())),
        (PgType::Text, Some(value), _) => {
            let text = std::str::from_utf8(value).map_err(|_| {
                SqlError::new(
                    sqlstate::CHARACTER_NOT_IN_REPERTOIRE,
                    format!("parameter ${number} is not UTF-8"),
                )
            })?;
            Ok(ScalarValue::Utf8View(Some(text.to_owned())))
        }
        _ => Err(SqlError::not_supported(format!("a parameter of type {}", pg_type.sql_name()))),
    }
}
