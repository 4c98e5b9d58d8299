//! Correlation by equality: what is outer becomes a key of what is inner.
//!
//! ```text
//! (SELECT max(v) FROM s WHERE s.k = outer.k)   →   outer ⟕ (SELECT k, max(v) FROM s GROUP BY k)
//! ```
//!
//! Every step computes its result for each key instead of once, so aggregates group by the keys,
//! windows and limits are per key. An aggregate without GROUP BY has a row for no input, too, but
//! there is no key then: that row is described, for the join to fill in.

use std::{collections::HashSet, sync::Arc};

use arrow::datatypes::DataType;
use datafusion::{
    common::{Column, JoinType},
    logical_expr::{
        Aggregate, BinaryExpr, Distinct, Expr, ExprSchemable, LogicalPlan, Operator, Projection,
        Window,
        logical_plan::Join,
        utils::{conjunction, split_conjunction_owned},
    },
    scalar::ScalarValue,
};
use hashbrown::HashMap;

use super::{
    super::{Planner, from::join_plans, select::filter},
    outer::{plan_refers, refers, replace_outer},
    pulled::{aliased_columns, renamed_columns, with_inputs},
    rows::{limit_counts, per_group},
};
use crate::{error::SqlError, query::errors::sql_error};

/// A plan without references to our columns.
pub(super) struct Keyed {
    pub(super) plan: LogicalPlan,
    /// What the outer row has to equal, in terms of outer references, and the plan's column that it
    /// equals. NULL equals nothing.
    pub(super) keys: Vec<(Expr, Column)>,
    /// What the one row is that stands for keys the plan does not have; `None` if there is no such
    /// row then.
    pub(super) empty: Option<HashMap<Column, Expr>>,
}

impl Keyed {
    fn columns(&self) -> impl Iterator<Item = Expr> {
        self.keys.iter().map(|(_, column)| Expr::Column(column.clone()))
    }

    /// Replaces outer columns that are keys by what they equal.
    fn resolve(&self, expr: Expr) -> Result<Expr, SqlError> {
        replace_outer(expr, &|outer| {
            let key = self.keys.iter().find(|(key, _)| is_outer(key, outer));
            key.map(|(_, column)| Expr::Column(column.clone()))
        })
    }
}

/// A reference to this column of a type whose equal values are the same in every respect.
fn is_outer(key: &Expr, column: &Column) -> bool {
    let Expr::OuterReferenceColumn(field, outer) = key else {
        return false;
    };
    outer == column
        && (field.data_type().is_integer()
            || matches!(
                field.data_type(),
                DataType::Boolean | DataType::Date32 | DataType::Timestamp(..) | DataType::Utf8View
            ))
}

impl Planner<'_> {
    /// `None` if the correlation is not by equality only.
    pub(super) fn keyed(
        &mut self,
        plan: LogicalPlan,
        ours: &HashSet<Column>,
    ) -> Result<Option<Keyed>, SqlError> {
        if !plan_refers(&plan, ours)? {
            return Ok(Some(Keyed { plan, keys: Vec::new(), empty: None }));
        }
        match plan {
            LogicalPlan::Filter(node) => {
                let input = Arc::unwrap_or_clone(node.input);
                let conditions = split_conjunction_owned(node.predicate);
                self.keyed_filter(conditions, input, ours)
            }
            LogicalPlan::Projection(node) => {
                self.keyed_projection(node.expr, Arc::unwrap_or_clone(node.input), ours)
            }
            LogicalPlan::SubqueryAlias(node) => {
                let exprs = aliased_columns(&node);
                self.keyed_projection(exprs, Arc::unwrap_or_clone(node.input), ours)
            }
            LogicalPlan::Sort(mut node) if node.fetch.is_none() => {
                let Some(mut keyed) = self.keyed(Arc::unwrap_or_clone(node.input), ours)? else {
                    return Ok(None);
                };
                for sort in &mut node.expr {
                    sort.expr = keyed.resolve(sort.expr.clone())?;
                    if refers(&sort.expr, ours) {
                        return Ok(None);
                    }
                }
                node.input = Arc::new(keyed.plan);
                keyed.plan = LogicalPlan::Sort(node);
                Ok(Some(keyed))
            }
            LogicalPlan::Aggregate(node) => self.keyed_aggregate(node, ours),
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let keyed = self.keyed(Arc::unwrap_or_clone(input), ours)?;
                Ok(keyed.filter(|k| k.empty.is_none()).map(|mut keyed| {
                    keyed.plan = LogicalPlan::Distinct(Distinct::All(Arc::new(keyed.plan)));
                    keyed
                }))
            }
            LogicalPlan::Window(node) => {
                let Some(mut keyed) = self.keyed(Arc::unwrap_or_clone(node.input), ours)? else {
                    return Ok(None);
                };
                if keyed.empty.is_some() || node.window_expr.iter().any(|e| refers(e, ours)) {
                    return Ok(None);
                }
                let groups: Vec<_> = keyed.columns().collect();
                let windows = node.window_expr.into_iter().map(|w| per_group(w, &groups));
                let windows = windows.collect::<Result<Vec<_>, _>>()?;
                let window = Window::try_new(windows, Arc::new(keyed.plan)).map_err(sql_error)?;
                keyed.plan = LogicalPlan::Window(window);
                Ok(Some(keyed))
            }
            LogicalPlan::Limit(node) => {
                let counts = limit_counts(&node);
                let Some(mut keyed) = self.keyed(Arc::unwrap_or_clone(node.input), ours)? else {
                    return Ok(None);
                };
                if keyed.empty.is_some() {
                    let keeps = matches!(
                        counts,
                        (
                            Expr::Literal(ScalarValue::Int64(Some(0)), _),
                            Some(Expr::Literal(ScalarValue::Int64(Some(1..)), _))
                        )
                    );
                    return Ok(keeps.then_some(keyed));
                }
                let groups: Vec<_> = keyed.columns().collect();
                keyed.plan = self.limit_per_group(keyed.plan, counts, groups)?;
                Ok(Some(keyed))
            }
            LogicalPlan::Join(join) => self.keyed_join(join, ours),
            _ => Ok(None),
        }
    }

    fn keyed_filter(
        &mut self,
        conditions: Vec<Expr>,
        input: LogicalPlan,
        ours: &HashSet<Column>,
    ) -> Result<Option<Keyed>, SqlError> {
        let Some(mut keyed) = self.keyed(input, ours)? else {
            return Ok(None);
        };
        if keyed.empty.is_some() {
            return Ok(None);
        }
        let mut kept = Vec::new();
        let mut computed: Vec<Expr> = Vec::new();
        for condition in conditions {
            let Some((outer, inner)) = equality(&condition, ours) else {
                kept.push(condition);
                continue;
            };
            let column = match inner {
                Expr::Column(column) => column,
                other => {
                    let name = self.fresh_name("__key");
                    computed.push(other.alias(&name));
                    Column::from_name(name)
                }
            };
            // The same outer value twice: the inner ones are equal, too.
            if keyed.keys.iter().any(|(known, _)| *known == outer && is_exact(&outer)) {
                kept.push(condition);
            } else {
                keyed.keys.push((outer, column));
            }
        }
        let mut conditions = Vec::with_capacity(kept.len());
        for condition in kept {
            let condition = keyed.resolve(condition)?;
            if refers(&condition, ours) {
                return Ok(None);
            }
            conditions.push(condition);
        }
        if !computed.is_empty() {
            let columns = keyed.plan.schema().columns();
            let mut exprs: Vec<_> = columns.into_iter().map(Expr::Column).collect();
            exprs.extend(computed);
            let plan = Projection::try_new(exprs, Arc::new(keyed.plan)).map_err(sql_error)?;
            keyed.plan = LogicalPlan::Projection(plan);
        }
        if let Some(condition) = conjunction(conditions) {
            keyed.plan = filter(keyed.plan, condition)?;
        }
        Ok(Some(keyed))
    }

    fn keyed_projection(
        &mut self,
        exprs: Vec<Expr>,
        input: LogicalPlan,
        ours: &HashSet<Column>,
    ) -> Result<Option<Keyed>, SqlError> {
        let Some(mut keyed) = self.keyed(input, ours)? else {
            return Ok(None);
        };
        let mut shown = Vec::with_capacity(exprs.len() + keyed.keys.len());
        let mut empty = keyed.empty.as_ref().map(|_| HashMap::new());
        for expr in exprs {
            let (relation, name) = expr.qualified_name();
            if let (Some(above), Some(below)) = (&mut empty, &keyed.empty) {
                let value = renamed_columns(expr.clone().unalias(), below)?;
                above.insert(Column::new(relation.clone(), &name), value);
            }
            let resolved = keyed.resolve(expr)?;
            if refers(&resolved, ours) {
                return Ok(None);
            }
            let unchanged = resolved.qualified_name() == (relation.clone(), name.clone());
            shown.push(if unchanged { resolved } else { resolved.alias_qualified(relation, name) });
        }
        for (_, column) in &mut keyed.keys {
            let name = self.fresh_name("__key");
            shown.push(Expr::Column(column.clone()).alias(&name));
            *column = Column::from_name(name);
        }
        keyed.empty = empty;
        let plan = Projection::try_new(shown, Arc::new(keyed.plan)).map_err(sql_error)?;
        keyed.plan = LogicalPlan::Projection(plan);
        Ok(Some(keyed))
    }

    fn keyed_aggregate(
        &mut self,
        node: Aggregate,
        ours: &HashSet<Column>,
    ) -> Result<Option<Keyed>, SqlError> {
        let Some(mut keyed) = self.keyed(node.input.as_ref().clone(), ours)? else {
            return Ok(None);
        };
        let fixed = keyed.empty.is_some()
            || node.group_expr.iter().chain(&node.aggr_expr).any(|e| refers(e, ours))
            || node.group_expr.iter().any(|e| matches!(e, Expr::GroupingSet(_)));
        if fixed {
            return Ok(None);
        }
        if node.group_expr.is_empty() {
            keyed.empty = Some(values_of_nothing(&node)?);
        }
        let mut groups = node.group_expr;
        for key in keyed.columns() {
            if !groups.contains(&key) {
                groups.push(key);
            }
        }
        let aggregate =
            Aggregate::try_new(Arc::new(keyed.plan), groups, node.aggr_expr).map_err(sql_error)?;
        keyed.plan = LogicalPlan::Aggregate(aggregate);
        Ok(Some(keyed))
    }

    fn keyed_join(
        &mut self,
        join: Join,
        ours: &HashSet<Column>,
    ) -> Result<Option<Keyed>, SqlError> {
        let conditions = join.filter.clone().map(split_conjunction_owned).unwrap_or_default();
        let refers_here = conditions.iter().any(|c| refers(c, ours))
            || join.on.iter().any(|(l, r)| refers(l, ours) || refers(r, ours));
        match join.join_type {
            JoinType::Inner if join.on.is_empty() => {
                let Some(left) = self.keyed(join.left.as_ref().clone(), ours)? else {
                    return Ok(None);
                };
                let Some(right) = self.keyed(join.right.as_ref().clone(), ours)? else {
                    return Ok(None);
                };
                if left.empty.is_some() || right.empty.is_some() {
                    return Ok(None);
                }
                let (out, kept): (Vec<_>, Vec<_>) =
                    conditions.into_iter().partition(|c| refers(c, ours));
                let plan = join_plans(left.plan, right.plan, JoinType::Inner, conjunction(kept))?;
                let mut keys = left.keys;
                let mut equal = Vec::new();
                for (outer, column) in right.keys {
                    // One key for both sides.
                    match keys.iter().find(|(known, _)| *known == outer && is_exact(&outer)) {
                        Some((_, other)) => equal.push(Expr::BinaryExpr(BinaryExpr::new(
                            Box::new(Expr::Column(other.clone())),
                            Operator::Eq,
                            Box::new(Expr::Column(column)),
                        ))),
                        None => keys.push((outer, column)),
                    }
                }
                let plan = match conjunction(equal) {
                    Some(equal) => filter(plan, equal)?,
                    None => plan,
                };
                let keyed = Keyed { plan, keys, empty: None };
                self.keyed_again(keyed, out, ours)
            }
            JoinType::Inner
            | JoinType::Left
            | JoinType::LeftSemi
            | JoinType::LeftAnti
            | JoinType::LeftMark
                if !refers_here && !plan_refers(&join.right, ours)? =>
            {
                let Some(mut left) = self.keyed(join.left.as_ref().clone(), ours)? else {
                    return Ok(None);
                };
                if left.empty.is_some() {
                    return Ok(None);
                }
                left.plan = with_inputs(&join, left.plan, join.right.as_ref().clone())?;
                Ok(Some(left))
            }
            _ => Ok(None),
        }
    }

    /// More conditions over a plan that has keys already.
    fn keyed_again(
        &mut self,
        keyed: Keyed,
        conditions: Vec<Expr>,
        ours: &HashSet<Column>,
    ) -> Result<Option<Keyed>, SqlError> {
        if conditions.is_empty() {
            return Ok(Some(keyed));
        }
        let Keyed { plan, mut keys, .. } = keyed;
        let Some(mut above) = self.keyed_filter(conditions, plan, ours)? else {
            return Ok(None);
        };
        keys.append(&mut above.keys);
        above.keys = keys;
        Ok(Some(above))
    }
}

fn is_exact(key: &Expr) -> bool {
    matches!(key, Expr::OuterReferenceColumn(_, column) if is_outer(key, column))
}

/// The outer and the inner side of `outer = inner`.
fn equality(condition: &Expr, ours: &HashSet<Column>) -> Option<(Expr, Expr)> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else {
        return None;
    };
    let is_outer_side = |e: &Expr| e.column_refs().is_empty() && refers(e, ours);
    let is_inner_side = |e: &Expr| !e.column_refs().is_empty() && !e.contains_outer();
    let volatile = left.is_volatile() || right.is_volatile();
    if volatile {
        None
    } else if is_outer_side(left) && is_inner_side(right) {
        Some((left.as_ref().clone(), right.as_ref().clone()))
    } else if is_outer_side(right) && is_inner_side(left) {
        Some((right.as_ref().clone(), left.as_ref().clone()))
    } else {
        None
    }
}

/// What aggregates without GROUP BY give for no rows.
pub(super) fn values_of_nothing(aggregate: &Aggregate) -> Result<HashMap<Column, Expr>, SqlError> {
    let mut values = HashMap::new();
    for expr in &aggregate.aggr_expr {
        let (relation, name) = expr.qualified_name();
        let ty = expr.get_type(aggregate.input.schema()).map_err(sql_error)?;
        let value = match expr.clone().unalias() {
            Expr::AggregateFunction(function) => {
                function.func.default_value(&ty).map_err(sql_error)?
            }
            other => return Err(SqlError::internal(format!("{other} among aggregates"))),
        };
        values.insert(Column::new(relation, name), Expr::Literal(value, None));
    }
    Ok(values)
}
