//! `information_schema._pg_expandarray(array)`: the elements of an array, each with its number, which
//! drivers ask of the columns of keys; and vectors, as those columns are kept. A row `(x, n)` is carried as an array of the two.

use std::sync::Arc;

use datafusion::{logical_expr::Operator, sql::sqlparser::ast};

use super::{
    Planner,
    bound::{Bound, undefined_function},
    coerce::CastContext,
    operators::binary,
};
use crate::{
    error::SqlError,
    query::{
        functions::{
            array::{self, shape},
            scalar,
        },
        parser::fold_identifier,
    },
    types::PgType,
};

pub(super) const EXPAND_ARRAY: &str = "_pg_expandarray";

fn row_type() -> PgType {
    PgType::Array(Arc::new(PgType::Int4))
}

impl Planner<'_> {
    /// `array_lower` and `array_upper` of a vector, which begins at 0.
    pub(super) fn end_from_zero(
        &mut self,
        name: &str,
        args: Vec<Bound>,
    ) -> Result<Bound, SqlError> {
        let args = args.into_iter().map(Bound::vector_as_array).collect();
        let from_one = self.call_builtin(name, args)?;
        let one = Bound::int4(1).expr;
        Ok(Bound::new(binary(from_one.expr, Operator::Minus, one), PgType::Int4))
    }

    /// The rows, as a list. Only of whole numbers, as keys have them.
    pub(super) fn expand_array(&mut self, args: Vec<Bound>) -> Result<Bound, SqlError> {
        let [numbers] = args.as_slice() else {
            return Err(undefined_function(EXPAND_ARRAY, &args));
        };
        let numbers =
            self.coerce(numbers.clone().vector_as_array(), &row_type(), CastContext::Implicit)?;
        let rows = PgType::Array(Arc::new(row_type()));
        Ok(Bound::new(scalar::call(&array::expand(), vec![numbers.expr]), rows))
    }

    /// `(row).x` and `(row).n`; `None` for any other field, and of any other value.
    pub(super) fn expanded_field(row: &Bound, access: &ast::AccessExpr) -> Option<Bound> {
        let ast::AccessExpr::Dot(ast::Expr::Identifier(field)) = access else { return None };
        let place = match fold_identifier(field).as_str() {
            "x" => 1,
            "n" => 2,
            _ => return None,
        };
        if row.ty != row_type() {
            return None;
        }
        let place = Bound::int4(place).expr;
        let call = scalar::call(&shape::element(&PgType::Int4), vec![row.expr.clone(), place]);
        Some(Bound::new(call, PgType::Int4))
    }
}
