//! DataFusion's and arrow's errors as the client should see them.

use arrow::error::ArrowError;
use datafusion::common::DataFusionError;

use crate::error::{SqlError, sqlstate};

/// Maps an error of planning, optimizing or executing.
///
/// Our own functions put an [`SqlError`] inside; it comes out unchanged. What DataFusion does not
/// implement is 0A000, exhausted memory 53200, the rest XX000.
pub fn sql_error(error: DataFusionError) -> SqlError {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<SqlError>() {
            Ok(error) => *error,
            Err(inner) => match inner.downcast::<DataFusionError>() {
                Ok(error) => sql_error(*error),
                Err(inner) => SqlError::internal(inner.to_string()),
            },
        },
        DataFusionError::ArrowError(inner, _) => arrow_error(*inner),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
            sql_error(*inner)
        }
        DataFusionError::Shared(inner) => shared_error(&inner),
        DataFusionError::Collection(mut errors) if !errors.is_empty() => {
            sql_error(errors.swap_remove(0))
        }
        DataFusionError::NotImplemented(message) => not_implemented(&message),
        DataFusionError::ResourcesExhausted(message) => {
            SqlError::new(sqlstate::OUT_OF_MEMORY, "out of memory").detail(message)
        }
        other => plan_error(&other),
    }
}

fn not_implemented(message: &str) -> SqlError {
    if message.contains("OuterReferenceColumn") || message.contains("subquery") {
        return SqlError::not_supported("a correlated subquery of this form").detail(message);
    }
    SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message)
}

/// What DataFusion's planner refuses is a gap of ours when it speaks of correlation, else a defect.
fn plan_error(error: &DataFusionError) -> SqlError {
    if let DataFusionError::Plan(message) = error {
        // Of a parameter: numbers in the text are looked at when the statement is planned.
        if message.starts_with("LIMIT must be") {
            let code = sqlstate::INVALID_ROW_COUNT_IN_LIMIT_CLAUSE;
            return SqlError::new(code, "LIMIT must not be negative");
        }
        if message.starts_with("OFFSET must be") {
            let code = sqlstate::INVALID_ROW_COUNT_IN_OFFSET_CLAUSE;
            return SqlError::new(code, "OFFSET must not be negative");
        }
    }
    let message = error.strip_backtrace();
    if message.contains("orrelated") || message.contains("OuterReferenceColumn") {
        return SqlError::not_supported("a correlated subquery of this form").detail(message);
    }
    SqlError::internal(message)
}

/// An error that several consumers of one stream share cannot be taken apart, so it is looked into.
fn shared_error(error: &DataFusionError) -> SqlError {
    match error {
        DataFusionError::External(inner) => inner
            .downcast_ref::<SqlError>()
            .cloned()
            .or_else(|| inner.downcast_ref::<DataFusionError>().map(shared_error))
            .unwrap_or_else(|| SqlError::internal(inner.to_string())),
        DataFusionError::ArrowError(inner, _) => match inner.as_ref() {
            ArrowError::ExternalError(inner) => inner
                .downcast_ref::<SqlError>()
                .cloned()
                .or_else(|| inner.downcast_ref::<DataFusionError>().map(shared_error))
                .unwrap_or_else(|| SqlError::internal(inner.to_string())),
            other => plain_arrow_error(other),
        },
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
            shared_error(inner)
        }
        DataFusionError::Shared(inner) => shared_error(inner),
        DataFusionError::NotImplemented(message) => not_implemented(message),
        DataFusionError::ResourcesExhausted(message) => {
            SqlError::new(sqlstate::OUT_OF_MEMORY, "out of memory").detail(message.clone())
        }
        other => plan_error(other),
    }
}

fn arrow_error(error: ArrowError) -> SqlError {
    match error {
        ArrowError::ExternalError(inner) => match inner.downcast::<SqlError>() {
            Ok(error) => *error,
            Err(inner) => match inner.downcast::<DataFusionError>() {
                Ok(error) => sql_error(*error),
                Err(inner) => SqlError::internal(inner.to_string()),
            },
        },
        other => plain_arrow_error(&other),
    }
}

fn plain_arrow_error(error: &ArrowError) -> SqlError {
    match error {
        ArrowError::DivideByZero => SqlError::new(sqlstate::DIVISION_BY_ZERO, "division by zero"),
        ArrowError::ArithmeticOverflow(message) => {
            SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, message.clone())
        }
        ArrowError::NotYetImplemented(message) => {
            SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message.clone())
        }
        other => SqlError::internal(other.to_string()),
    }
}

/// Wraps an error so that it crosses DataFusion unchanged.
pub fn external(error: SqlError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
