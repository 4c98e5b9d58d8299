//! The value of a subquery that must not have more than one row.

use std::sync::Arc;

use arrow::{
    array::{Array, AsArray, make_array, new_null_array},
    buffer::NullBuffer,
    datatypes::{DataType, Int64Type},
};
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility};

use super::{
    memory::Memory,
    scalar::{function, infallible, internal},
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

/// One field of the row that a subquery gives as its value; NULL if there is no row.
#[must_use]
pub fn row_field(index: usize, ty: DataType) -> Arc<ScalarUDF> {
    let returns = ty.clone();
    let compute = move |args: &[ColumnarValue], rows: usize, _: Memory<'_>| {
        let of_row = args[0].to_array(rows).map_err(internal)?;
        let Some(of_row) = of_row.as_struct_opt() else {
            return Ok(ColumnarValue::Array(new_null_array(&returns, rows)));
        };
        let field = of_row.column(index);
        let nulls = NullBuffer::union(of_row.nulls(), field.nulls());
        let data = field.to_data().into_builder().nulls(nulls).build().map_err(internal)?;
        Ok(ColumnarValue::Array(make_array(data)))
    };
    // Expressions are told apart by what they are called.
    let name = format!("row_field_{index}");
    infallible(&name, format!("{ty}"), ty, Arc::new(compute))
}

/// What [`operands`] is called.
pub const OPERANDS_CALL: &str = "operands";

/// What holds the operands of a quantified comparison in a plan until it is a join; never computed.
#[must_use]
pub fn operands() -> Arc<ScalarUDF> {
    let compute = |_: &[ColumnarValue], _: usize, _: Memory<'_>| {
        Err(internal("operands of a comparison with a subquery are computed"))
    };
    function(OPERANDS_CALL, "", DataType::Boolean, Volatility::Volatile, Arc::new(compute))
}
