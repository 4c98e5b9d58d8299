//! Subqueries that give another result each time they are computed.
//!
//! What decorrelation makes of a subquery is computed once for outer rows that are alike, which is
//! once too seldom if it calls `random()`. With a number of its own no outer row is like another.

use std::{collections::HashSet, sync::Arc};

use datafusion::{
    common::{
        Column, Result as DfResult,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    logical_expr::{
        Expr, LogicalPlan, Volatility, Window,
        expr::{Exists, InSubquery},
    },
};

use super::{
    super::{Planner, distinct_on::row_number},
    outer::plan_refers,
};
use crate::{
    error::SqlError,
    query::{
        errors::{external, sql_error},
        functions::{grows, subquery::OPERANDS_CALL},
        shared_rows::{as_shared, shared},
    },
};

/// An input with a number for each row, and the outer columns with that number among them.
type Numbered = (LogicalPlan, HashSet<Column>);

/// Whether a plan calls functions that give something else each time. What it shares with other
/// places is computed once in any case, and so are subqueries that are still in its expressions.
pub(super) fn is_volatile(plan: &LogicalPlan) -> Result<bool, SqlError> {
    let mut found = false;
    plan.apply(|node| {
        if as_shared(node).is_some() {
            return Ok(TreeNodeRecursion::Jump);
        }
        node.apply_expressions(|expr| {
            found |= expr.exists(|e| Ok(is_volatile_call(e)))?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })
    .map_err(sql_error)?;
    Ok(found)
}

/// Whether an expression calls such functions, itself or in its subqueries.
pub(super) fn calls_volatile(expr: &Expr) -> DfResult<bool> {
    expr.exists(|e| match e {
        Expr::ScalarSubquery(subquery)
        | Expr::Exists(Exists { subquery, .. })
        | Expr::InSubquery(InSubquery { subquery, .. }) => {
            let mut found = false;
            subquery.subquery.apply_with_subqueries(|node| {
                node.apply_expressions(|expr| {
                    found |= expr.exists(|e| Ok(is_volatile_call(e)))?;
                    Ok(TreeNodeRecursion::Continue)
                })
            })?;
            Ok(found)
        }
        other => Ok(is_volatile_call(other)),
    })
}

/// Some functions are volatile only so that nobody computes them while planning: those that
/// [grow](grows), and what holds [operands](OPERANDS_CALL).
fn is_volatile_call(expr: &Expr) -> bool {
    let Expr::ScalarFunction(call) = expr else { return false };
    let only_while_planning = || grows(call.func.name()) || call.func.name() == OPERANDS_CALL;
    call.func.signature().volatility == Volatility::Volatile && !only_while_planning()
}

impl Planner<'_> {
    /// The input with numbers for its rows if the plan must be computed for each of them.
    pub(super) fn row_by_row(
        &mut self,
        plan: &LogicalPlan,
        input: &LogicalPlan,
        ours: &HashSet<Column>,
    ) -> Result<Option<Numbered>, SqlError> {
        if !is_volatile(plan)? {
            return Ok(None);
        }
        let name = self.fresh_name("__number");
        let number = row_number(Vec::new(), Vec::new()).alias(&name);
        let numbered = Window::try_new(vec![number], Arc::new(input.clone())).map_err(sql_error)?;
        let mut columns = ours.clone();
        columns.insert(Column::from_name(name));
        Ok(Some((LogicalPlan::Window(numbered), columns)))
    }

    /// What FROM joins is computed once where it does not refer to what stands on its left, though
    /// the query around it does.
    pub(super) fn independent_once(
        &mut self,
        plan: LogicalPlan,
        ours: &HashSet<Column>,
    ) -> Result<LogicalPlan, SqlError> {
        if !is_volatile(&plan)? {
            return Ok(plan);
        }
        self.copies = true;
        plan.transform_down(|node| {
            let refers = plan_refers(&node, ours).map_err(external)?;
            if !is_volatile(&node).map_err(external)? {
                return Ok(Transformed::new(node, false, TreeNodeRecursion::Jump));
            }
            Ok(match refers {
                true => Transformed::no(node),
                false => Transformed::new(shared(node), true, TreeNodeRecursion::Jump),
            })
        })
        .map(|plan| plan.data)
        .map_err(sql_error)
    }
}
