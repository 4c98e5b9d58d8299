//! The number of rows of LIMIT and OFFSET, where it is known only as the query runs.

use std::sync::Arc;

use arrow::{
    array::AsArray,
    datatypes::{DataType, Int64Type},
};
use datafusion::logical_expr::{ScalarUDF, Volatility};

use super::{
    memory::Memory,
    scalar::{function, internal},
};
use crate::error::SqlError;

/// What is counted.
#[derive(Debug)]
pub struct RowCount {
    /// As messages call it.
    pub clause: &'static str,
    /// Of a negative number.
    pub sqlstate: &'static str,
}

/// The number itself; an error if it is negative.
#[must_use]
pub fn checked_count(counted: &'static RowCount) -> Arc<ScalarUDF> {
    let compute = move |args: &[datafusion::logical_expr::ColumnarValue], rows, _: Memory<'_>| {
        if args[0].data_type() == DataType::Null {
            return Ok(args[0].clone());
        }
        let counts = args[0].to_array(rows).map_err(internal)?;
        let counts = counts.as_primitive::<Int64Type>();
        if counts.iter().flatten().any(|count| count < 0) {
            let message = format!("{} must not be negative", counted.clause);
            return Err(SqlError::new(counted.sqlstate, message));
        }
        Ok(args[0].clone())
    };
    let compute = Arc::new(compute);
    function("row_count", counted.clause, DataType::Int64, Volatility::Immutable, compute)
}
