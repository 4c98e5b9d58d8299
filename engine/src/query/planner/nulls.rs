//! What looks for values that are null.

use datafusion::{
    logical_expr::{Case, Expr, Operator, cast},
    scalar::ScalarValue,
};

use super::{bound::Bound, operators::binary};
use crate::types::PgType;

/// COALESCE. As a CASE from the start: DataFusion's own function only works once its optimizer has
/// made one of it, and constant folding comes before.
pub(super) fn first_not_null(mut values: Vec<Expr>) -> Expr {
    let last = values.pop().map(Box::new);
    if values.is_empty() {
        return last.map_or(Expr::Literal(ScalarValue::Null, None), |e| *e);
    }
    let when_then_expr = values
        .into_iter()
        .map(|value| (Box::new(Expr::IsNotNull(Box::new(value.clone()))), Box::new(value)))
        .collect();
    Expr::Case(Case { expr: None, when_then_expr, else_expr: last })
}

/// How many of the arguments are null, or are not.
pub(super) fn count_nulls(args: Vec<Bound>, nulls: bool) -> Bound {
    let counted = args.into_iter().map(|arg| {
        let expr = Box::new(arg.expr);
        let counts = if nulls { Expr::IsNull(expr) } else { Expr::IsNotNull(expr) };
        cast(counts, PgType::Int4.arrow_type())
    });
    let sum = counted.reduce(|a, b| binary(a, Operator::Plus, b));
    let none = || Expr::Literal(ScalarValue::Int32(Some(0)), None);
    Bound::new(sum.unwrap_or_else(none), PgType::Int4)
}
