//! Set-returning functions in the select list.

use std::sync::Arc;

use datafusion::{
    common::{
        Column, UnnestOptions,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Projection},
};

use super::table_lists::longest_ordinals;
use crate::{error::SqlError, query::errors::sql_error};

/// A projection some of whose expressions hold [`Expr::Unnest`] over a list: the input gets the
/// lists as columns, these are unnested side by side, and the expressions are computed above.
///
/// With `ordinal` a column of that name follows: the place of each row among those of its row of the
/// input, from 1.
pub(super) fn project(
    plan: LogicalPlan,
    exprs: Vec<Expr>,
    ordinal: Option<&str>,
) -> Result<LogicalPlan, SqlError> {
    let mut lists: Vec<Expr> = Vec::new();
    let mut rewritten = Vec::with_capacity(exprs.len());
    for expr in exprs {
        let expr = expr.transform_up(|node| match node {
            Expr::Unnest(unnest) => {
                let index = lists.iter().position(|l| *l == *unnest.expr).unwrap_or_else(|| {
                    lists.push((*unnest.expr).clone());
                    lists.len() - 1
                });
                Ok(Transformed::yes(Expr::Column(Column::from_name(format!("__set_{index}")))))
            }
            other => Ok(Transformed::no(other)),
        });
        rewritten.push(expr.map_err(sql_error)?.data);
    }
    let mut inner: Vec<_> = plan.schema().columns().into_iter().map(Expr::Column).collect();
    let mut columns = Vec::new();
    if let Some(ordinal) = ordinal {
        inner.push(longest_ordinals(&lists, plan.schema())?.alias(ordinal));
        columns.push(Column::from_name(ordinal));
        rewritten.push(Expr::Column(Column::from_name(ordinal)));
    }
    for (index, list) in lists.into_iter().enumerate() {
        let name = format!("__set_{index}");
        inner.push(list.alias(&name));
        columns.push(Column::from_name(name));
    }
    let options = UnnestOptions::new().with_preserve_nulls(false);
    let plan = LogicalPlanBuilder::new(plan)
        .project(inner)
        .and_then(|b| b.unnest_columns_with_options(columns, options))
        .and_then(|b| b.build())
        .map_err(sql_error)?;
    let projection = Projection::try_new(rewritten, Arc::new(plan)).map_err(sql_error)?;
    Ok(LogicalPlan::Projection(projection))
}
