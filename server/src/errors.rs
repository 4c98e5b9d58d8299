//! The one place that gives an SQLSTATE to errors that come without.

use datafusion::error::DataFusionError;
use glaredb_engine::error::{SqlError, sqlstate};

/// What a client is told of an error that came out of a stream of rows.
pub(crate) fn datafusion_error(error: DataFusionError) -> SqlError {
    match error {
        DataFusionError::External(source) => match source.downcast::<SqlError>() {
            Ok(error) => *error,
            Err(source) => SqlError::internal(source.to_string()),
        },
        DataFusionError::Context(_, inner) => datafusion_error(*inner),
        DataFusionError::ResourcesExhausted(message) => {
            SqlError::new(sqlstate::OUT_OF_MEMORY, message)
        }
        other => SqlError::internal(other.to_string()),
    }
}
