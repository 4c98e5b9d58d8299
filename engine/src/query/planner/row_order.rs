//! The order of a query's rows, where a query around it shows it.
//!
//! PostgreSQL reads a subquery's rows as they come, so that the ORDER BY of a subquery in FROM orders
//! what is gathered of it, numbered, or shown. A plan of DataFusion has no order but where it ends. So
//! the keys of a subquery that is all of FROM go with its rows, and the query around orders by them
//! where it says no order of its own.

use std::sync::Arc;

use datafusion::{
    common::{
        Column,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{Expr, LogicalPlan, Projection, SortExpr, SubqueryAlias},
};

use super::{
    Planner,
    decorrelate::has_subquery,
    distinct_on::{row_number, with_windows},
    select::{contains_unnest, sorted},
};
use crate::{
    error::SqlError,
    query::{errors::sql_error, shared_rows::as_shared},
};

/// A plan and what its rows are ordered by.
type Ordered = (LogicalPlan, Vec<SortExpr>);

/// Whether the order of its rows means something to an aggregate.
pub(super) fn is_ordered_aggregate(name: &str) -> bool {
    matches!(name, "array_agg" | "string_agg") || name.starts_with("json")
}

impl Planner<'_> {
    /// The plan, maybe with columns added, and the keys over its columns that its rows are in the
    /// order of; no keys if it has no order.
    pub(super) fn row_order(&mut self, plan: LogicalPlan) -> Result<Ordered, SqlError> {
        let ordered = self.order_of(&plan, true)?;
        Ok(ordered.unwrap_or((plan, Vec::new())))
    }

    /// The plan with the columns that its rows are ordered by, still ordered so.
    pub(super) fn with_order_columns(
        &mut self,
        plan: LogicalPlan,
    ) -> Result<LogicalPlan, SqlError> {
        Ok(self.order_of(&plan, false)?.map_or(plan, |(plan, _)| plan))
    }

    /// `unsorted`: whoever asks goes by the keys, so that a sort that decides nothing else may go.
    fn order_of(
        &mut self,
        plan: &LogicalPlan,
        unsorted: bool,
    ) -> Result<Option<Ordered>, SqlError> {
        match plan {
            LogicalPlan::Sort(sort) => {
                // What must not be computed again, or means something else in the query around.
                let unfit =
                    |expr: &Expr| expr.is_volatile() || expr.contains_outer() || has_subquery(expr);
                if sort.expr.iter().any(|key| unfit(&key.expr)) {
                    return Ok(None);
                }
                let plan = match unsorted && sort.fetch.is_none() {
                    true => sort.input.as_ref(),
                    false => plan,
                };
                Ok(Some((plan.clone(), sort.expr.clone())))
            }
            LogicalPlan::Limit(limit) => {
                let Some((input, keys)) = self.order_of(&limit.input, false)? else {
                    return Ok(None);
                };
                let mut limit = limit.clone();
                limit.input = Arc::new(input);
                Ok(Some((LogicalPlan::Limit(limit), keys)))
            }
            LogicalPlan::Projection(projection) => {
                match self.order_of(&projection.input, unsorted)? {
                    Some((input, keys)) => self.through_projection(&projection.expr, input, keys),
                    None => Ok(None),
                }
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let found = self.order_of(&alias.input, unsorted)?;
                let Some((input, keys)) = found else { return Ok(None) };
                let plan = SubqueryAlias::try_new(Arc::new(input), alias.alias.clone());
                let plan = LogicalPlan::SubqueryAlias(plan.map_err(sql_error)?);
                let renamed = |column: Column| Column::new(Some(alias.alias.clone()), column.name);
                Ok(Some((plan, over_columns(keys, renamed)?)))
            }
            // Copies are alike: nothing is added to one.
            LogicalPlan::Extension(_) => {
                let Some(node) = as_shared(plan) else { return Ok(None) };
                let Some((input, keys)) = self.order_of(node.input(), false)? else {
                    return Ok(None);
                };
                let same = input.schema().fields().len() == node.input().schema().fields().len();
                Ok(same.then(|| (plan.clone(), keys)))
            }
            _ => Ok(None),
        }
    }

    /// A projection that shows the columns of the keys, too.
    fn through_projection(
        &mut self,
        exprs: &[Expr],
        input: LogicalPlan,
        keys: Vec<SortExpr>,
    ) -> Result<Option<Ordered>, SqlError> {
        let mut exprs = exprs.to_vec();
        let keys = over_columns(keys, |column| {
            let shows = |expr: &&Expr| match expr {
                Expr::Column(shown) => *shown == column,
                Expr::Alias(alias) => {
                    matches!(alias.expr.as_ref(), Expr::Column(shown) if *shown == column)
                }
                _ => false,
            };
            match exprs.iter().find(shows) {
                Some(shown) => {
                    let (qualifier, name) = shown.qualified_name();
                    Column::new(qualifier, name)
                }
                None => {
                    let name = self.fresh_name("__order");
                    exprs.push(Expr::Column(column).alias(&name));
                    Column::from_name(name)
                }
            }
        })?;
        let plan = Projection::try_new(exprs, Arc::new(input)).map_err(sql_error)?;
        Ok(Some((LogicalPlan::Projection(plan), keys)))
    }

    /// A select list with set-returning functions, ordered by `keys` over its columns, the last of which
    /// are beyond `visible` and there for the keys only.
    ///
    /// Sets that are no keys are made of rows that are sorted already, as in PostgreSQL: what comes of
    /// one row stays together, in the order of the sets.
    pub(super) fn sets_in_order(
        &mut self,
        input: LogicalPlan,
        mut exprs: Vec<Expr>,
        visible: usize,
        keys: Vec<SortExpr>,
    ) -> Result<LogicalPlan, SqlError> {
        let place = |exprs: &[Expr], column: &Column| {
            exprs.iter().position(|expr| expr.qualified_name().1 == column.name)
        };
        let used: Vec<usize> = keys
            .iter()
            .flat_map(|key| key.expr.column_refs())
            .filter_map(|column| place(&exprs, column))
            .collect();
        if keys.is_empty() || used.iter().any(|index| contains_unnest(&exprs[*index])) {
            return sorted(super::unnest::project(input, exprs, None)?, keys);
        }
        // Keys are computed once, whatever they call.
        let mut inner: Vec<_> = input.schema().columns().into_iter().map(Expr::Column).collect();
        let keys = over_columns(keys, |column| match place(&exprs, &column) {
            Some(index) => {
                let key = Column::from_name(self.fresh_name("__key"));
                let computed = exprs[index].clone().unalias();
                inner.push(computed.alias(&key.name));
                exprs[index] = Expr::Column(key.clone()).alias(column.name);
                key
            }
            None => column,
        })?;
        exprs.truncate(visible);
        let input = Projection::try_new(inner, Arc::new(input)).map_err(sql_error)?;
        let number = row_number(Vec::new(), keys);
        let (input, numbers) = with_windows(LogicalPlan::Projection(input), vec![number])?;
        let (row, ordinal) = (self.fresh_name("__row"), self.fresh_name("__ordinal"));
        exprs.extend(numbers.into_iter().map(|number| Expr::Column(number).alias(&row)));
        let plan = super::unnest::project(input, exprs, Some(&ordinal))?;
        let key = |name: String| SortExpr::new(Expr::Column(Column::from_name(name)), true, false);
        sorted(plan, vec![key(row), key(ordinal)])
    }
}

/// The keys over other columns.
fn over_columns(
    keys: Vec<SortExpr>,
    mut to: impl FnMut(Column) -> Column,
) -> Result<Vec<SortExpr>, SqlError> {
    let mut result = Vec::with_capacity(keys.len());
    for key in keys {
        let expr = key.expr.transform_up(|expr| match expr {
            Expr::Column(column) => Ok(Transformed::yes(Expr::Column(to(column)))),
            other => Ok(Transformed::no(other)),
        });
        let expr = expr.map_err(sql_error)?.data;
        result.push(SortExpr::new(expr, key.asc, key.nulls_first));
    }
    Ok(result)
}
