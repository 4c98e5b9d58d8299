//! Aggregates in a subquery over columns of a query around it only: they are that query's.
//!
//! ```text
//! SELECT t, (SELECT max(v) FROM s WHERE s.id = sum(o.x)) FROM o GROUP BY t
//! ```
//!
//! `sum(o.x)` is computed as an aggregate of the query over `o`, under a name that the subquery
//! refers to as to any column of that query.

use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion::{
    common::{
        Column,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    logical_expr::{Aggregate, Expr, LogicalPlan, Projection},
    sql::sqlparser::ast,
};

use super::{
    Planner,
    bound::Bound,
    calls::Arguments,
    scope::{Env, Scope},
    select::{columns_of_subqueries, replace},
};
use crate::{error::SqlError, query::errors::sql_error};

/// An aggregate as a query inside refers to it.
#[derive(Debug)]
pub(super) struct OuterAggregate {
    /// Of the query that computes it; that is planned for as long as the address is its own.
    scope: usize,
    expr: Expr,
    column: Column,
}

fn address(scope: &Scope) -> usize {
    std::ptr::from_ref(scope).addr()
}

impl Planner<'_> {
    /// The query around that an aggregate belongs to; `None` if it is the one it stands in.
    pub(super) fn aggregate_owner<'e>(
        &mut self,
        filter: Option<&ast::Expr>,
        args: &Arguments<'_>,
        env: &Env<'e>,
    ) -> Result<Option<Env<'e>>, SqlError> {
        if env.outer.is_none() {
            return Ok(None);
        }
        let keys = args.order_by.iter().map(|item| &item.expr);
        let mut levels: Option<usize> = None;
        for expr in args.exprs.iter().copied().chain(filter).chain(keys) {
            // What is wrong with it, the query it stands in says; it may be a row, too.
            let Ok(bound) = self.expr(expr, env) else { return Ok(None) };
            for column in columns(&bound.expr)? {
                if let Some(level) = self.level_of(&column, env) {
                    levels = Some(levels.map_or(level, |known| known.min(level)));
                }
            }
        }
        let mut owner = *env;
        for _ in 0..levels.unwrap_or(0) {
            let Some(outer) = owner.outer else { return Ok(None) };
            owner = *outer;
        }
        Ok((levels.unwrap_or(0) > 0).then_some(owner))
    }

    /// How many queries further out the column comes from, or the aggregate that it stands for.
    fn level_of(&self, column: &Column, env: &Env<'_>) -> Option<usize> {
        let (mut env, mut level) = (Some(env), 0);
        while let Some(here) = env {
            let scope = address(here.scope);
            let aggregates = self.outer_aggregates.iter();
            if here.scope.columns().any(|c| c.column == *column)
                || aggregates.into_iter().any(|a| a.scope == scope && a.column == *column)
            {
                return Some(level);
            }
            (env, level) = (here.outer, level + 1);
        }
        None
    }

    /// An aggregate of a query around, as a query inside writes it.
    pub(super) fn outer_aggregate(&mut self, aggregate: Bound, owner: &Env<'_>) -> Bound {
        let scope = address(owner.scope);
        let known = self.outer_aggregates.iter();
        let known = known.into_iter().find(|a| a.scope == scope && a.expr == aggregate.expr);
        let column = match known {
            Some(known) => known.column.clone(),
            None => {
                let column = Column::from_name(self.fresh_name("__outer_agg"));
                let (expr, column) = (aggregate.expr, column);
                self.outer_aggregates.push(OuterAggregate { scope, expr, column: column.clone() });
                column
            }
        };
        let field = Arc::new(Field::new(&column.name, aggregate.ty.arrow_type(), true));
        Bound::new(Expr::OuterReferenceColumn(field, column), aggregate.ty)
    }

    /// The aggregates of this query that subqueries of these expressions refer to.
    pub(super) fn aggregates_from_inside(
        &mut self,
        scope: &Scope,
        above: &[&Expr],
    ) -> Result<Vec<(Expr, Column)>, SqlError> {
        if self.outer_aggregates.is_empty() {
            return Ok(Vec::new());
        }
        let mut wanted = Vec::new();
        for expr in above {
            wanted.extend(columns_of_subqueries(expr)?);
        }
        let scope = address(scope);
        let ours = self.outer_aggregates.iter();
        let ours = ours.filter(|a| a.scope == scope && wanted.contains(&a.column));
        Ok(ours.map(|a| (a.expr.clone(), a.column.clone())).collect())
    }
}

/// The plan of an aggregation with these of its results under the names that subqueries use.
pub(super) fn shown_inside(
    plan: LogicalPlan,
    inside: Vec<(Expr, Column)>,
    map: &[(Expr, Expr)],
) -> Result<LogicalPlan, SqlError> {
    if inside.is_empty() {
        return Ok(plan);
    }
    // The column that tells grouping sets apart is gone by the time the plan runs.
    let columns = plan.schema().columns().into_iter();
    let columns = columns.filter(|c| c.name != Aggregate::INTERNAL_GROUPING_ID);
    let mut exprs: Vec<_> = columns.map(Expr::Column).collect();
    for (expr, column) in inside {
        exprs.push(replace(expr, map)?.alias(column.name));
    }
    let plan = Projection::try_new(exprs, Arc::new(plan)).map_err(sql_error)?;
    Ok(LogicalPlan::Projection(plan))
}

/// Every column an expression refers to, of whichever query.
fn columns(expr: &Expr) -> Result<Vec<Column>, SqlError> {
    let mut columns = columns_of_subqueries(expr)?;
    expr.apply(|e| {
        if let Expr::Column(column) | Expr::OuterReferenceColumn(_, column) = e {
            columns.push(column.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .map_err(sql_error)?;
    Ok(columns)
}
