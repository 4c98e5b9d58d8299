//! Correlated conditions taken out of a subquery, to become those of a join with it.
//!
//! ```text
//! EXISTS (SELECT … FROM s WHERE p(s) AND q(s, outer))   →   outer ⋉ σ p(s)  ON q(s, outer)
//! ```
//!
//! That is as good as it gets: the join evaluates each side once. It works where rows that another
//! outer row sees do no harm: below projections, joins and filters, not below aggregates or LIMIT.

use std::{collections::HashSet, sync::Arc};

use datafusion::{
    common::{Column, JoinType},
    logical_expr::{
        Expr, LogicalPlan, Projection,
        logical_plan::Join,
        utils::{conjunction, split_conjunction_owned},
    },
};
use hashbrown::HashMap;

use super::{
    super::{Planner, from::join_plans, select::filter},
    outer::{plan_refers, refers},
};
use crate::{error::SqlError, query::errors::sql_error};

/// A plan without references to our columns, and the conditions that had them. These refer to the
/// plan's columns.
pub(super) type Pulled = (LogicalPlan, Vec<Expr>);

impl Planner<'_> {
    pub(super) fn pull_up(
        &mut self,
        plan: LogicalPlan,
        ours: &HashSet<Column>,
    ) -> Result<Option<Pulled>, SqlError> {
        if !plan_refers(&plan, ours)? {
            return Ok(Some((plan, Vec::new())));
        }
        match plan {
            LogicalPlan::Filter(node) => {
                let input = Arc::unwrap_or_clone(node.input);
                let Some((input, mut pulled)) = self.pull_up(input, ours)? else {
                    return Ok(None);
                };
                let (out, kept): (Vec<_>, Vec<_>) = split_conjunction_owned(node.predicate)
                    .into_iter()
                    .partition(|c| refers(c, ours));
                pulled.extend(out);
                let plan = match conjunction(kept) {
                    Some(kept) => filter(input, kept)?,
                    None => input,
                };
                Ok(Some((plan, pulled)))
            }
            LogicalPlan::Projection(node) => {
                if node.expr.iter().any(|e| refers(e, ours)) {
                    return Ok(None);
                }
                self.pull_through(node.expr, Arc::unwrap_or_clone(node.input), ours)
            }
            LogicalPlan::SubqueryAlias(node) => {
                let exprs = aliased_columns(&node);
                self.pull_through(exprs, Arc::unwrap_or_clone(node.input), ours)
            }
            LogicalPlan::Sort(node) if node.fetch.is_none() => {
                if node.expr.iter().any(|s| refers(&s.expr, ours)) {
                    return Ok(None);
                }
                self.pull_up(Arc::unwrap_or_clone(node.input), ours)
            }
            LogicalPlan::Join(join) => self.pull_join(join, ours),
            _ => Ok(None),
        }
    }

    /// A projection, which also has to show what the conditions refer to.
    fn pull_through(
        &mut self,
        mut exprs: Vec<Expr>,
        input: LogicalPlan,
        ours: &HashSet<Column>,
    ) -> Result<Option<Pulled>, SqlError> {
        let Some((input, pulled)) = self.pull_up(input, ours)? else {
            return Ok(None);
        };
        let mut renamed: HashMap<Column, Expr> = HashMap::new();
        let mut above = Vec::with_capacity(pulled.len());
        for condition in pulled {
            for column in condition.column_refs() {
                if !renamed.contains_key(column) {
                    let name = self.fresh_name(&format!("__{}", column.name));
                    exprs.push(Expr::Column(column.clone()).alias(&name));
                    renamed.insert(column.clone(), Expr::Column(Column::from_name(name)));
                }
            }
            above.push(renamed_columns(condition, &renamed)?);
        }
        let plan = Projection::try_new(exprs, Arc::new(input)).map_err(sql_error)?;
        Ok(Some((LogicalPlan::Projection(plan), above)))
    }

    fn pull_join(
        &mut self,
        join: Join,
        ours: &HashSet<Column>,
    ) -> Result<Option<Pulled>, SqlError> {
        let condition_refers = join.filter.as_ref().is_some_and(|f| refers(f, ours))
            || join.on.iter().any(|(l, r)| refers(l, ours) || refers(r, ours));
        match join.join_type {
            JoinType::Inner if join.on.is_empty() => {
                let Some((left, mut pulled)) =
                    self.pull_up(Arc::unwrap_or_clone(join.left), ours)?
                else {
                    return Ok(None);
                };
                let Some((right, more)) = self.pull_up(Arc::unwrap_or_clone(join.right), ours)?
                else {
                    return Ok(None);
                };
                pulled.extend(more);
                let conditions = join.filter.map(split_conjunction_owned).unwrap_or_default();
                let (out, kept): (Vec<_>, Vec<_>) =
                    conditions.into_iter().partition(|c| refers(c, ours));
                pulled.extend(out);
                let plan = join_plans(left, right, JoinType::Inner, conjunction(kept))?;
                Ok(Some((plan, pulled)))
            }
            JoinType::Inner
            | JoinType::Left
            | JoinType::LeftSemi
            | JoinType::LeftAnti
            | JoinType::LeftMark
                if !condition_refers && !plan_refers(&join.right, ours)? =>
            {
                let left = join.left.as_ref().clone();
                let Some((left, pulled)) = self.pull_up(left, ours)? else {
                    return Ok(None);
                };
                let plan = with_inputs(&join, left, join.right.as_ref().clone())?;
                Ok(Some((plan, pulled)))
            }
            _ => Ok(None),
        }
    }
}

/// The same join of other inputs.
pub(super) fn with_inputs(
    join: &Join,
    left: LogicalPlan,
    right: LogicalPlan,
) -> Result<LogicalPlan, SqlError> {
    Join::try_new(
        Arc::new(left),
        Arc::new(right),
        join.on.clone(),
        join.filter.clone(),
        join.join_type,
        join.join_constraint,
        join.null_equality,
        join.null_aware,
    )
    .map(LogicalPlan::Join)
    .map_err(sql_error)
}

/// What an alias shows, as expressions over its input.
pub(super) fn aliased_columns(alias: &datafusion::logical_expr::SubqueryAlias) -> Vec<Expr> {
    let columns = alias.input.schema().columns();
    let named = columns.into_iter().zip(alias.schema.columns());
    named.map(|(from, to)| Expr::Column(from).alias_qualified(to.relation, to.name)).collect()
}

pub(super) fn renamed_columns(expr: Expr, names: &HashMap<Column, Expr>) -> Result<Expr, SqlError> {
    use datafusion::common::tree_node::{Transformed, TreeNode};
    expr.transform_up(|e| match &e {
        Expr::Column(column) => match names.get(column) {
            Some(to) => Ok(Transformed::yes(to.clone())),
            None => Ok(Transformed::no(e)),
        },
        _ => Ok(Transformed::no(e)),
    })
    .map(|t| t.data)
    .map_err(sql_error)
}
