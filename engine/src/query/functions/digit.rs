//! Truth values as small numbers: CASE over them is left as it is written, where DataFusion makes
//! AND and OR of a CASE over truth values and so evaluates operands that CASE guards.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, BooleanArray, Int8Array},
    datatypes::{DataType, Int8Type},
};
use datafusion::logical_expr::ScalarUDF;

use super::scalar::{infallible, strict};

/// False is 0, true is 1.
pub fn digit() -> Arc<ScalarUDF> {
    let compute = strict(DataType::Int8, |args| {
        let digits = args[0].as_boolean().iter().map(|v| v.map(i8::from));
        Ok(Arc::new(digits.collect::<Int8Array>()) as ArrayRef)
    });
    infallible("truth_digit", "", DataType::Int8, compute)
}

/// The inverse of [`digit`].
pub fn truth() -> Arc<ScalarUDF> {
    let compute = strict(DataType::Boolean, |args| {
        let digits = args[0].as_primitive::<Int8Type>();
        let values = BooleanArray::from_unary(digits, |digit| digit != 0);
        Ok(Arc::new(values) as ArrayRef)
    });
    infallible("truth_value", "", DataType::Boolean, compute)
}
