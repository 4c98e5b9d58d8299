//! `a LIKE ANY (ARRAY[…])` and `a LIKE ALL (ARRAY[…])`, over arrays that are written out.

use datafusion::{
    logical_expr::{Operator, lit},
    scalar::ScalarValue,
    sql::sqlparser::ast,
};

use super::{Planner, bound::Bound, coerce::CastContext, operators::binary, scope::Env};
use crate::{
    error::SqlError,
    query::parser::fold_identifier,
    types::{PgType, text::array_elements},
};

/// The array of `ANY (array)`, where `any` says that ANY stands there, or of `ALL (array)`, which
/// sqlparser takes as a call.
fn patterns(any: bool, pattern: &ast::Expr) -> Option<&ast::Expr> {
    if any {
        return Some(pattern);
    }
    let ast::Expr::Function(function) = pattern else { return None };
    let ast::FunctionArguments::List(list) = &function.args else { return None };
    match (function.name.0.as_slice(), list.args.as_slice()) {
        (
            [ast::ObjectNamePart::Identifier(name)],
            [ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(array))],
        ) if fold_identifier(name) == "all" => Some(array),
        _ => None,
    }
}

/// Whether the right side of LIKE is ANY or ALL of an array.
pub(super) fn is_quantified(any: bool, pattern: &ast::Expr) -> bool {
    patterns(any, pattern).is_some()
}

impl Planner<'_> {
    pub(super) fn like_quantified(
        &mut self,
        (expr, any, pattern): (&ast::Expr, bool, &ast::Expr),
        negated: bool,
        ignore_case: bool,
        env: &Env<'_>,
    ) -> Result<Bound, SqlError> {
        let left = self.expr(expr, env)?;
        let mut array = patterns(any, pattern).unwrap_or(pattern);
        while let ast::Expr::Nested(inner) = array {
            array = inner;
        }
        let mut items = Vec::new();
        if let ast::Expr::Array(array) = array {
            for item in &array.elem {
                items.push(self.expr(item, env)?);
            }
        } else {
            let bound = self.expr(array, env)?;
            let Some(text) = bound.constant_text().filter(|_| bound.ty == PgType::Unknown) else {
                return Err(self.refuse(array, "LIKE ANY over an array that is not written out"));
            };
            for item in array_elements(text)? {
                let item = Bound::literal(ScalarValue::Utf8View(item), PgType::Unknown);
                items.push(self.coerce(item, &PgType::Text, CastContext::Implicit)?);
            }
        }
        let mut result = None;
        for item in items {
            let one = self.like_bound(left.clone(), item, None, negated, ignore_case)?.expr;
            result = Some(match result {
                None => one,
                Some(before) => binary(before, if any { Operator::Or } else { Operator::And }, one),
            });
        }
        Ok(Bound::bool(result.unwrap_or_else(|| lit(!any))))
    }
}
