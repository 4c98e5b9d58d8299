//! Comparisons of rows.

use std::{ops::Range, sync::Arc};

use datafusion::{
    common::Column,
    functions::core::named_struct,
    logical_expr::{Expr, LogicalPlan, Operator, Projection, lit},
    sql::sqlparser::ast,
};

use super::{
    Planner,
    bound::Bound,
    decorrelate::is_repeatable,
    decorrelate::subquery,
    operators::{binary, is_comparison},
    scope::Env,
};
use crate::{
    error::{SqlError, sqlstate},
    query::{
        errors::sql_error,
        functions::{scalar, subquery::row_field},
        shared_rows::shared,
    },
};

/// Two rows compared, given how two fields are. `None` if there are none, or it is another operator.
pub(super) fn compare_fields(
    fields: Range<usize>,
    op: Operator,
    compare: &mut dyn FnMut(usize, Operator) -> Result<Expr, SqlError>,
) -> Result<Option<Expr>, SqlError> {
    let connective = match op {
        Operator::Eq | Operator::IsNotDistinctFrom => Operator::And,
        Operator::NotEq | Operator::IsDistinctFrom => Operator::Or,
        Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq => {
            return compare_ordered(fields, op, compare);
        }
        _ => return Ok(None),
    };
    let mut result: Option<Expr> = None;
    for field in fields {
        let compared = compare(field, op)?;
        result = Some(match result {
            None => compared,
            Some(before) => binary(before, connective, compared),
        });
    }
    Ok(result)
}

/// `(a, b) < (c, d)`: `a < c OR (a = c AND b < d)`.
fn compare_ordered(
    fields: Range<usize>,
    op: Operator,
    compare: &mut dyn FnMut(usize, Operator) -> Result<Expr, SqlError>,
) -> Result<Option<Expr>, SqlError> {
    let strict = match op {
        Operator::LtEq => Operator::Lt,
        Operator::GtEq => Operator::Gt,
        other => other,
    };
    let Some(last) = fields.end.checked_sub(1).filter(|last| *last >= fields.start) else {
        return Ok(None);
    };
    let mut result = compare(last, op)?;
    for field in (fields.start..last).rev() {
        let tail = binary(compare(field, Operator::Eq)?, Operator::And, result);
        result = binary(compare(field, strict)?, Operator::Or, tail);
    }
    Ok(Some(result))
}

impl Planner<'_> {
    /// Rows that are written out on both sides, field by field.
    pub(super) fn compare_rows(
        &mut self,
        left: &[ast::Expr],
        op: Operator,
        right: &[ast::Expr],
        at: &ast::Expr,
        env: &Env<'_>,
    ) -> Result<Bound, SqlError> {
        if left.len() != right.len() {
            let error = SqlError::new(
                sqlstate::SYNTAX_ERROR,
                "unequal number of entries in row expressions",
            );
            return Err(self.locate(error, at));
        }
        let mut compare =
            |index: usize, op| Ok(self.comparison(&left[index], op, &right[index], env)?.expr);
        match compare_fields(0..left.len(), op, &mut compare)? {
            Some(compared) => Ok(Bound::bool(compared)),
            None => Err(self.refuse(at, &format!("{op} of rows"))),
        }
    }

    /// `(a, b) op (SELECT …)`.
    pub(super) fn compare_with_row_of(
        &mut self,
        fields: &[ast::Expr],
        op: Operator,
        query: &ast::Query,
        at: &ast::Expr,
        env: &Env<'_>,
    ) -> Result<Bound, SqlError> {
        let mut left = Vec::with_capacity(fields.len());
        for field in fields {
            left.push(self.expr(field, env)?);
        }
        if !is_comparison(op) {
            let error =
                SqlError::new(sqlstate::SYNTAX_ERROR, "subquery must return only one column");
            return Err(self.locate(error, at));
        }
        let right = self.row_subquery(query, env)?;
        if left.len() != right.len() {
            let what = if right.len() < left.len() { "few" } else { "many" };
            let message = format!("subquery has too {what} columns");
            return Err(self.locate(SqlError::new(sqlstate::SYNTAX_ERROR, message), at));
        }
        let mut compare = |index: usize, op| {
            Ok(self.compare(left[index].clone(), op, right[index].clone())?.expr)
        };
        let compared = compare_fields(0..left.len(), op, &mut compare);
        match compared.map_err(|e| self.locate(e, at))? {
            Some(compared) => Ok(Bound::bool(compared)),
            None => Err(self.refuse(at, "comparison of empty rows")),
        }
    }

    /// The columns of a subquery of one row at most, each as a value: the parts of one struct, so
    /// that they are of the same row.
    pub(super) fn row_subquery(
        &mut self,
        query: &ast::Query,
        env: &Env<'_>,
    ) -> Result<Vec<Bound>, SqlError> {
        let (plan, columns) = self.subquery_plan(query, env)?;
        let name = |index: usize| format!("c{index}");
        let mut parts = Vec::with_capacity(columns.len() * 2);
        for (index, column) in columns.iter().enumerate() {
            parts.push(lit(name(index)));
            parts.push(Expr::Column(Column::from_name(&column.internal)));
        }
        let whole = scalar::call(&named_struct(), parts).alias(self.fresh_name("__row"));
        let plan = Projection::try_new(vec![whole], Arc::new(plan)).map_err(sql_error)?;
        let mut plan = LogicalPlan::Projection(plan);
        if !is_repeatable(&plan)? {
            self.shares = true;
            plan = shared(plan);
        }
        let whole = Expr::ScalarSubquery(subquery(plan));
        let part = |(index, column): (usize, super::query::OutputColumn)| {
            let field = row_field(index, column.ty.arrow_type());
            Bound::new(scalar::call(&field, vec![whole.clone()]), column.ty)
        };
        Ok(columns.into_iter().enumerate().map(part).collect())
    }
}
