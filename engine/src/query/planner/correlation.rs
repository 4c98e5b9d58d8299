//! Conditions of correlated scalar subqueries in a form DataFusion can make a join of.
//!
//! It joins on equalities between an inner and an outer column, and knows no other condition that
//! mentions the outer query. Two more kinds go by these rewritings, which do not change the value:
//!
//! ```text
//! (SELECT v … WHERE i = o AND o <> j)   →  (SELECT v … WHERE i = o AND i <> j)
//! (SELECT v … WHERE i = o AND p(o))     →  CASE WHEN p(o) THEN (SELECT v … WHERE i = o) END
//! ```
//!
//! The second only where no row means NULL, so not over an aggregate.

use std::sync::Arc;

use datafusion::{
    common::{
        Column, Result,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{
        BinaryExpr, Expr, Filter, LogicalPlan, Operator,
        utils::{conjunction, split_conjunction_owned},
    },
};

/// The subquery's plan rewritten, and the condition on the outer row that was taken out of it.
pub(super) fn simplify(plan: LogicalPlan) -> Result<(LogicalPlan, Option<Expr>)> {
    let mut guards = Vec::new();
    let plan = rewrite(plan, &mut guards)?;
    Ok((plan, conjunction(guards)))
}

/// Through what keeps "no row" no row, down to the filters.
fn rewrite(plan: LogicalPlan, guards: &mut Vec<Expr>) -> Result<LogicalPlan> {
    match plan {
        LogicalPlan::Filter(filter) => {
            let input = rewrite(Arc::unwrap_or_clone(filter.input), guards)?;
            let conditions = split_conjunction_owned(filter.predicate);
            let equal: Vec<(Column, Column)> = conditions.iter().filter_map(equality).collect();
            let mut kept = Vec::new();
            for condition in conditions {
                if !condition.contains_outer() || equality(&condition).is_some() {
                    kept.push(condition);
                } else if condition.column_refs().is_empty() && !has_subquery(&condition)? {
                    guards.push(as_outer(condition)?);
                } else {
                    kept.push(with_inner(condition, &equal)?);
                }
            }
            Ok(match conjunction(kept) {
                Some(predicate) => {
                    LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(input))?)
                }
                None => input,
            })
        }
        LogicalPlan::Projection(_) | LogicalPlan::Sort(_) | LogicalPlan::SubqueryAlias(_) => {
            let below = plan.inputs()[0].clone();
            let below = rewrite(below, guards)?;
            plan.with_new_exprs(plan.expressions(), vec![below])
        }
        other => Ok(other),
    }
}

/// Inner and outer column of `inner = outer`, of one type.
fn equality(condition: &Expr) -> Option<(Column, Column)> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else {
        return None;
    };
    match (&**left, &**right) {
        (Expr::Column(inner), Expr::OuterReferenceColumn(_, outer))
        | (Expr::OuterReferenceColumn(_, outer), Expr::Column(inner)) => {
            Some((inner.clone(), outer.clone()))
        }
        _ => None,
    }
}

/// Outer columns that equal an inner one, by that.
fn with_inner(condition: Expr, equal: &[(Column, Column)]) -> Result<Expr> {
    let replaced = condition.transform_up(|expr| {
        if let Expr::OuterReferenceColumn(_, outer) = &expr
            && let Some((inner, _)) = equal.iter().find(|(_, other)| other == outer)
        {
            return Ok(Transformed::yes(Expr::Column(inner.clone())));
        }
        Ok(Transformed::no(expr))
    })?;
    Ok(replaced.data)
}

/// The condition as the outer query writes it.
fn as_outer(condition: Expr) -> Result<Expr> {
    let replaced = condition.transform_up(|expr| match expr {
        Expr::OuterReferenceColumn(_, column) => Ok(Transformed::yes(Expr::Column(column))),
        other => Ok(Transformed::no(other)),
    })?;
    Ok(replaced.data)
}

fn has_subquery(condition: &Expr) -> Result<bool> {
    condition.exists(|expr| {
        Ok(matches!(expr, Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_)))
    })
}
