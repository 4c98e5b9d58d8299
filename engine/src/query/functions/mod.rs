//! Functions: PostgreSQL's built-in ones, and those that system tables bring along.

pub mod aggregate;
pub mod arithmetic;
pub mod array;
pub mod builtin;
pub mod calendar;
pub mod cast;
pub mod comparing;
pub mod concat;
pub mod datetime;
pub mod datetime_format;
pub mod decimal;
pub mod digit;
pub mod extreme;
pub mod format;
pub mod given_up;
pub mod interval_parts;
pub mod json;
pub mod json_record;
pub mod jsonpath;
pub mod memory;
pub mod moments;
pub mod number_format;
pub mod numeric;
pub mod ordered_list;
pub mod pattern;
pub mod record;
pub mod regular_expression;
pub mod row_count;
pub mod scalar;
pub mod series;
pub mod sleep;
pub mod subquery;
pub mod window;

use std::{collections::HashMap, sync::Arc};

use arrow::datatypes::DataType;
use datafusion::{
    common::tree_node::TreeNode,
    logical_expr::{Expr, ScalarUDF},
};

use crate::types::{NumericShape, PgType};

/// The functions statements may call. Built once, shared by all sessions.
#[derive(Default, Debug)]
pub struct Functions {
    extra: HashMap<String, Vec<ExtraFunction>>,
}

/// A scalar function in `pg_catalog` that comes from outside this module.
#[derive(Clone, Debug)]
pub struct ExtraFunction {
    /// Lower case, without schema.
    pub name: &'static str,
    /// Arguments arrive in these types' Arrow form.
    pub arguments: Vec<PgType>,
    pub returns: PgType,
    pub udf: Arc<ScalarUDF>,
}

impl Functions {
    /// The built-in functions and these.
    #[must_use]
    pub fn new(extra: impl IntoIterator<Item = ExtraFunction>) -> Self {
        let mut functions = Self::default();
        for function in extra {
            functions.extra.entry(function.name.to_owned()).or_default().push(function);
        }
        functions
    }

    /// The added functions of this name.
    #[must_use]
    pub fn extra(&self, name: &str) -> &[ExtraFunction] {
        self.extra.get(name).map_or(&[], Vec::as_slice)
    }
}

/// The Arrow type of decimals of a shape.
#[must_use]
pub fn shape_type(shape: NumericShape) -> DataType {
    PgType::Numeric(Some(shape)).arrow_type()
}

/// Whether a function may make much of little.
#[must_use]
pub fn grows(name: &str) -> bool {
    matches!(
        name,
        "repeat"
            | "lpad"
            | "rpad"
            | "replace"
            | "regexp_replace"
            | "generate_series"
            | "ordinality"
    )
}

/// Whether the work of a function is not bounded by a small multiple of its arguments' sizes, be it
/// that it [grows](grows) or that a pattern is searched for in them.
#[must_use]
pub fn is_costly(name: &str) -> bool {
    grows(name) || matches!(name, "textregexeq" | "texticregexeq" | "pg_sleep")
}

/// Whether an expression calls a function that [is costly](is_costly).
#[must_use]
pub fn calls_costly(expr: &Expr) -> bool {
    let costly =
        |expr: &Expr| Ok(matches!(expr, Expr::ScalarFunction(call) if is_costly(call.func.name())));
    expr.exists(costly).unwrap_or(true)
}
