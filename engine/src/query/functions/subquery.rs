//! The value of a subquery that must not have more than one row.

use std::sync::Arc;

use arrow::{
    array::AsArray,
    datatypes::{DataType, Int64Type},
};
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility};

use super::{
    memory::Memory,
    scalar::{function, internal},
};
use crate::error::{SqlError, sqlstate};

/// `single_row(value, count)`: the value, of a type; an error where the count is more than one.
#[must_use]
pub fn single_row(ty: DataType) -> Arc<ScalarUDF> {
    let compute = move |args: &[ColumnarValue], rows: usize, _: Memory<'_>| {
        // The optimizer asks what comes of NULLs that have no type.
        if args[1].data_type() == DataType::Null {
            return Ok(args[0].clone());
        }
        let counts = args[1].to_array(rows).map_err(internal)?;
        let counts = counts.as_primitive::<Int64Type>();
        if counts.iter().flatten().any(|count| count > 1) {
            return Err(SqlError::new(
                sqlstate::CARDINALITY_VIOLATION,
                "more than one row returned by a subquery used as an expression",
            ));
        }
        Ok(args[0].clone())
    };
    let name = format!("{ty}");
    function("single_row", name, ty, Volatility::Immutable, Arc::new(compute))
}

/// What holds the operands of a quantified comparison in a plan until it is a join; never computed.
#[must_use]
pub fn operands() -> Arc<ScalarUDF> {
    let compute = |_: &[ColumnarValue], _: usize, _: Memory<'_>| {
        Err(internal("operands of a comparison with a subquery are computed"))
    };
    function("operands", "", DataType::Boolean, Volatility::Volatile, Arc::new(compute))
}
