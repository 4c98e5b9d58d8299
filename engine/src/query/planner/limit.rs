//! LIMIT, OFFSET and FETCH FIRST.

use datafusion::{
    logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, lit},
    scalar::ScalarValue,
    sql::sqlparser::ast,
};

use super::{
    Planner,
    bound::type_name,
    coerce::CastContext,
    scope::{Env, Scope},
};
use crate::{
    error::{SqlError, sqlstate},
    query::{
        errors::sql_error,
        functions::{
            row_count::{RowCount, checked_count},
            scalar,
        },
    },
    types::PgType,
};

/// LIMIT or OFFSET: its name and the error of a negative number.
const LIMIT: RowCount =
    RowCount { clause: "LIMIT", sqlstate: sqlstate::INVALID_ROW_COUNT_IN_LIMIT_CLAUSE };
const OFFSET: RowCount =
    RowCount { clause: "OFFSET", sqlstate: sqlstate::INVALID_ROW_COUNT_IN_OFFSET_CLAUSE };

/// Whether an expression is more than functions of constants and parameters.
fn is_computed_from_rows(expr: &Expr) -> bool {
    use datafusion::common::tree_node::TreeNode;
    let simple = |e: &Expr| {
        matches!(
            e,
            Expr::Literal(..) | Expr::Placeholder(_) | Expr::Cast(_) | Expr::ScalarFunction(_)
        )
    };
    expr.is_volatile() || expr.exists(|e| Ok(!simple(e))).unwrap_or(true)
}

impl Planner<'_> {
    pub(super) fn limit(
        &mut self,
        plan: LogicalPlan,
        clause: Option<&ast::LimitClause>,
        fetch: Option<&ast::Fetch>,
        outer: Option<&Env<'_>>,
    ) -> Result<LogicalPlan, SqlError> {
        let (mut limit, mut offset) = (None, None);
        match clause {
            None => {}
            Some(ast::LimitClause::LimitOffset { limit: l, offset: o, limit_by }) => {
                if !limit_by.is_empty() {
                    return Err(SqlError::not_supported("LIMIT BY"));
                }
                limit = l.as_ref();
                offset = o.as_ref().map(|o| &o.value);
            }
            Some(ast::LimitClause::OffsetCommaLimit { .. }) => {
                return Err(SqlError::new(
                    sqlstate::SYNTAX_ERROR,
                    "LIMIT #,# syntax is not supported",
                )
                .hint("Use separate LIMIT and OFFSET clauses."));
            }
        }
        let clause_fetch = fetch;
        let one = ast::Expr::value(ast::Value::Number("1".to_owned(), false));
        if let Some(fetch) = fetch {
            if fetch.percent {
                return Err(SqlError::not_supported("FETCH FIRST PERCENT"));
            }
            limit = Some(fetch.quantity.as_ref().unwrap_or(&one));
        }
        let is_null = |expr: &ast::Expr| matches!(expr, ast::Expr::Value(value) if matches!(value.value, ast::Value::Null));
        if fetch.is_some_and(|fetch| fetch.with_ties) && limit.is_some_and(is_null) {
            let message = "row count cannot be null in FETCH FIRST ... WITH TIES clause";
            return Err(SqlError::new("2201W", message));
        }
        if limit.is_none() && offset.is_none() {
            return Ok(plan);
        }
        let fetch = self.row_count(limit, &LIMIT, outer)?;
        let skip = self.row_count(offset, &OFFSET, outer)?;
        let ties = matches!(clause_fetch, Some(ast::Fetch { with_ties: true, .. }));
        let computed = |count: &Option<Expr>| count.as_ref().is_some_and(is_computed_from_rows);
        if (ties && fetch.is_some()) || computed(&fetch) || computed(&skip) {
            return self.rows_between(plan, skip, fetch, ties);
        }
        if fetch.is_none() && skip.is_none() {
            return Ok(plan);
        }
        LogicalPlanBuilder::new(plan)
            .limit_by_expr(skip, fetch)
            .and_then(|b| b.build())
            .map_err(sql_error)
    }

    /// A number of rows, which may come from a subquery or a query around. NULL is none.
    fn row_count(
        &mut self,
        expr: Option<&ast::Expr>,
        counted: &'static RowCount,
        outer: Option<&Env<'_>>,
    ) -> Result<Option<Expr>, SqlError> {
        let RowCount { clause, sqlstate } = *counted;
        let Some(expr) = expr else {
            return Ok(None);
        };
        let scope = Scope::default();
        let env = Env::new(&scope, outer, clause);
        let bound = self.expr(expr, &env)?;
        let from = type_name(&bound.ty);
        let bound = self.coerce(bound, &PgType::Int8, CastContext::Assignment).map_err(|e| {
            if e.sqlstate == sqlstate::CANNOT_COERCE {
                let message = format!("argument of {clause} must be type bigint, not type {from}");
                return SqlError::new(sqlstate::DATATYPE_MISMATCH, message);
            }
            e
        })?;
        match &bound.expr {
            Expr::Literal(ScalarValue::Int64(None), _) => Ok(None),
            Expr::Literal(ScalarValue::Int64(Some(n)), _) if *n < 0 => {
                Err(SqlError::new(sqlstate, format!("{clause} must not be negative")))
            }
            Expr::Literal(ScalarValue::Int64(Some(n)), _) => Ok(Some(lit(*n))),
            Expr::Placeholder(_) => Ok(Some(bound.expr)),
            // A parameter of another type, cast; computed when it is known.
            computed if !is_computed_from_rows(computed) => Ok(Some(bound.expr)),
            computed if computed.is_volatile() => {
                Err(self.refuse(expr, &format!("{clause} with this expression")))
            }
            _ => Ok(Some(scalar::call(&checked_count(counted), vec![bound.expr]))),
        }
    }
}
