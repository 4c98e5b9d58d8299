//! GROUP BY, aggregates and HAVING.

use std::sync::Arc;

use datafusion::{
    common::Column,
    functions_aggregate::first_last::first_value_udaf,
    logical_expr::{
        Aggregate, Expr, GroupingSet, LogicalPlan, Projection, utils::find_aggregate_exprs,
    },
    sql::sqlparser::ast,
};

use super::{
    Planner,
    arrays::equality_needed,
    bound::Bound,
    outer_aggregates::shown_inside,
    query::{Reference, distinct_key, output_reference},
    scope::{Env, Scope, ScopeTable},
    select::{Item, OrderKey, OrderTarget, columns_of_subqueries, filter, replace},
};
use crate::{
    error::{SqlError, sqlstate},
    query::errors::sql_error,
    types::PgType,
};

/// GROUP BY.
#[derive(Default)]
pub(super) struct Grouping {
    /// All grouping expressions.
    exprs: Vec<Bound>,
    /// With GROUPING SETS, ROLLUP or CUBE: which of them each set holds.
    sets: Option<Vec<Vec<usize>>>,
}

impl Planner<'_> {
    pub(super) fn group_by(
        &mut self,
        group_by: &ast::GroupByExpr,
        items: &[Item],
        env: &Env<'_>,
    ) -> Result<Grouping, SqlError> {
        let ast::GroupByExpr::Expressions(exprs, modifiers) = group_by else {
            return Err(SqlError::not_supported("GROUP BY ALL"));
        };
        if !modifiers.is_empty() {
            return Err(SqlError::not_supported("GROUP BY with modifiers"));
        }
        let env = env.clause("GROUP BY");
        let mut grouping = Grouping::default();
        // Each element is a list of alternatives; the sets are their combinations.
        let mut elements: Vec<Vec<Vec<usize>>> = Vec::new();
        let mut plain = true;
        for expr in exprs {
            let alternatives: Vec<Vec<&ast::Expr>> = match expr {
                ast::Expr::Rollup(lists) => {
                    (0..=lists.len()).rev().map(|n| lists[..n].iter().flatten().collect()).collect()
                }
                ast::Expr::Cube(lists) if lists.len() <= 12 => (0..1_usize << lists.len())
                    .rev()
                    .map(|mask| {
                        let bit = |i: &usize| mask >> (lists.len() - 1 - i) & 1 == 1;
                        (0..lists.len()).filter(bit).flat_map(|i| &lists[i]).collect()
                    })
                    .collect(),
                ast::Expr::Cube(_) => {
                    return Err(SqlError::not_supported("CUBE over more than 12 elements"));
                }
                ast::Expr::GroupingSets(sets) => {
                    sets.iter().map(|set| set.iter().collect()).collect()
                }
                ast::Expr::Tuple(fields) => vec![fields.iter().collect()],
                other => vec![vec![other]],
            };
            plain &= !matches!(
                expr,
                ast::Expr::Rollup(_) | ast::Expr::Cube(_) | ast::Expr::GroupingSets(_)
            );
            let mut indexes = Vec::new();
            for alternative in alternatives {
                let mut set = Vec::new();
                for expr in alternative {
                    if matches!(expr, ast::Expr::Rollup(_) | ast::Expr::Cube(_)) {
                        return Err(SqlError::not_supported("nested grouping sets"));
                    }
                    let bound = self.group_target(expr, items, &env)?;
                    let known = grouping.exprs.iter().position(|e| e.expr == bound.expr);
                    set.push(known.unwrap_or_else(|| {
                        grouping.exprs.push(bound);
                        grouping.exprs.len() - 1
                    }));
                }
                indexes.push(set);
            }
            elements.push(indexes);
        }
        if !plain {
            let mut sets: Vec<Vec<usize>> = vec![Vec::new()];
            for element in elements {
                let combine = |set: &Vec<usize>| -> Vec<Vec<usize>> {
                    let extend = |more: &Vec<usize>| {
                        let mut set = set.clone();
                        set.extend(more.iter().filter(|i| !set.contains(i)).collect::<Vec<_>>());
                        set
                    };
                    element.iter().map(extend).collect()
                };
                sets = sets.iter().flat_map(combine).collect();
            }
            grouping.sets = Some(sets);
        }
        Ok(grouping)
    }

    fn group_target(
        &mut self,
        expr: &ast::Expr,
        items: &[Item],
        env: &Env<'_>,
    ) -> Result<Bound, SqlError> {
        let output = |item: &Item| {
            let aggregates = !find_aggregate_exprs([&item.bound.expr]).is_empty();
            if aggregates {
                return Err(SqlError::new(
                    sqlstate::GROUPING_ERROR,
                    "aggregate functions are not allowed in GROUP BY",
                ));
            }
            Ok(item.bound.clone())
        };
        let reference = output_reference(expr, items.len()).map_err(|mut e| {
            e.message = e.message.replace("ORDER BY", "GROUP BY");
            self.locate(e, expr)
        })?;
        let bound = match reference {
            Some(Reference::Ordinal(index)) => output(&items[index])?,
            Some(Reference::Name(name)) => {
                let ast::Expr::Identifier(ident) = expr else {
                    return Err(SqlError::internal("a name that is no identifier"));
                };
                match self.find_column(ident, env)? {
                    // Columns go before output names, the other way round than in ORDER BY.
                    Some(found) => found.bound,
                    None => match items.iter().find(|i| i.name == name) {
                        Some(item) => output(item)?,
                        None => self.expr(expr, env)?,
                    },
                }
            }
            None => self.expr(expr, env)?,
        };
        if bound.ty == PgType::Unknown {
            return self.coerce(bound, &PgType::Text, super::coerce::CastContext::Implicit);
        }
        equality_needed(&bound.ty).map_err(|e| self.locate(e, expr))?;
        Ok(bound)
    }

    /// Plans GROUP BY, aggregates and HAVING, and rewrites what stands above to their results.
    pub(super) fn aggregate(
        &mut self,
        plan: LogicalPlan,
        scope: &Scope,
        grouping: Grouping,
        having: Option<Expr>,
        items: &mut [Item],
        order: &mut [OrderKey<'_>],
    ) -> Result<LogicalPlan, SqlError> {
        let mut above: Vec<&Expr> = items.iter().map(|i| &i.bound.expr).collect();
        above.extend(having.iter());
        above.extend(order.iter().filter_map(|o| match &o.target {
            OrderTarget::Expression(bound) => Some(&bound.expr),
            OrderTarget::Output(_) => None,
        }));
        let inside = self.aggregates_from_inside(scope, &above)?;
        let aggregates =
            find_aggregate_exprs(above.into_iter().chain(inside.iter().map(|(e, _)| e)));
        if aggregates.is_empty() && grouping.exprs.is_empty() && grouping.sets.is_none() {
            return match having {
                None => Ok(plan),
                // HAVING alone makes one group of everything.
                Some(condition)
                    if items.iter().any(|i| has_column(&i.bound.expr))
                        || has_column(&condition) =>
                {
                    let column = items.iter().find_map(|i| first_column(&i.bound.expr));
                    let column = column.or_else(|| first_column(&condition));
                    Err(self.ungrouped(scope, column.as_ref()))
                }
                Some(condition) => {
                    let one = datafusion::functions_aggregate::count::count_udaf()
                        .call(vec![datafusion::logical_expr::lit(1_i64)])
                        .alias(self.fresh_name("__agg"));
                    let aggregate =
                        Aggregate::try_new(Arc::new(plan), vec![], vec![one]).map_err(sql_error)?;
                    filter(LogicalPlan::Aggregate(aggregate), condition)
                }
            };
        }
        let (plan, map) = self.aggregate_plan(plan, grouping, aggregates)?;
        let plan = shown_inside(plan, inside, &map)?;
        let allowed: Vec<Column> = map
            .iter()
            .filter_map(|(_, to)| match to {
                Expr::Column(column) => Some(column.clone()),
                _ => None,
            })
            .collect();
        let rewrite = |expr: Expr| -> Result<Expr, SqlError> {
            let expr = replace(expr, &map)?;
            for column in columns_of_subqueries(&expr)? {
                let ours = scope.columns().any(|c| c.column == column);
                if ours && !allowed.contains(&column) {
                    return Err(self.ungrouped_in_subquery(scope, &column));
                }
            }
            match stray_column(&expr, &allowed) {
                None => Ok(expr),
                Some(column) => Err(self.ungrouped(scope, Some(&column))),
            }
        };
        for item in items {
            item.bound.expr = rewrite(item.bound.expr.clone())?;
        }
        for key in order {
            if let OrderTarget::Expression(bound) = &mut key.target {
                bound.expr = rewrite(bound.expr.clone())?;
            }
        }
        match having {
            None => Ok(plan),
            Some(condition) => {
                let condition = rewrite(condition)?;
                filter(plan, condition)
            }
        }
    }

    fn ungrouped(&self, scope: &Scope, column: Option<&Column>) -> SqlError {
        let name = column.map_or_else(String::new, |column| visible_name(scope, column));
        SqlError::new(
            sqlstate::GROUPING_ERROR,
            format!(
                "column \"{name}\" must appear in the GROUP BY clause or be used in an aggregate \
                 function"
            ),
        )
    }

    fn ungrouped_in_subquery(&self, scope: &Scope, column: &Column) -> SqlError {
        let name = visible_name(scope, column);
        let message = format!("subquery uses ungrouped column \"{name}\" from outer query");
        SqlError::new(sqlstate::GROUPING_ERROR, message)
    }

    /// The aggregation, and what its inputs are called above it.
    fn aggregate_plan(
        &mut self,
        plan: LogicalPlan,
        grouping: Grouping,
        aggregates: Vec<Expr>,
    ) -> Result<(LogicalPlan, Vec<(Expr, Expr)>), SqlError> {
        let mut map = Vec::new();
        let mut groups = Vec::new();
        let mut results = Vec::new();
        let mut computed = Vec::new();
        for bound in &grouping.exprs {
            let keyed = distinct_key(&bound.ty);
            if keyed && grouping.sets.is_some() {
                return Err(SqlError::not_supported("grouping sets over such column types"));
            }
            if keyed {
                let first = self.fresh_name("__first");
                results.push(first_value_udaf().call(vec![bound.expr.clone()]).alias(&first));
                map.push((bound.expr.clone(), Expr::Column(Column::from_name(first))));
                let key = self.sort_key(&bound.ty, bound.expr.clone());
                groups.push(key.alias(self.fresh_name("__group")));
            } else if let Expr::Column(_) = bound.expr {
                map.push((bound.expr.clone(), bound.expr.clone()));
                groups.push(bound.expr.clone());
            } else {
                let name = self.fresh_name("__group");
                map.push((bound.expr.clone(), Expr::Column(Column::from_name(&name))));
                // Grouping sets refer to columns only.
                if grouping.sets.is_some() {
                    computed.push(bound.expr.clone().alias(&name));
                    groups.push(Expr::Column(Column::from_name(&name)));
                } else {
                    groups.push(bound.expr.clone().alias(&name));
                }
            }
        }
        for aggregate in aggregates {
            let name = self.fresh_name("__agg");
            map.push((aggregate.clone(), Expr::Column(Column::from_name(&name))));
            results.push(aggregate.alias(&name));
        }
        let plan = if computed.is_empty() {
            plan
        } else {
            let mut exprs: Vec<_> = plan.schema().columns().into_iter().map(Expr::Column).collect();
            exprs.extend(computed);
            let projection = Projection::try_new(exprs, Arc::new(plan)).map_err(sql_error)?;
            LogicalPlan::Projection(projection)
        };
        let groups = match grouping.sets {
            None => groups,
            Some(sets) => {
                let pick = |set: &Vec<usize>| set.iter().map(|i| groups[*i].clone()).collect();
                let sets = sets.iter().map(pick).collect();
                vec![Expr::GroupingSet(GroupingSet::GroupingSets(sets))]
            }
        };
        let aggregate = Aggregate::try_new(Arc::new(plan), groups, results).map_err(sql_error)?;
        Ok((LogicalPlan::Aggregate(aggregate), map))
    }
}

fn visible_name(scope: &Scope, column: &Column) -> String {
    let find = |t: &ScopeTable| {
        let found = t.columns.iter().find(|c| &c.column == column)?;
        Some(format!("{}.{}", t.alias, found.name))
    };
    scope.tables.iter().find_map(find).unwrap_or_else(|| column.name.clone())
}

fn stray_column(expr: &Expr, allowed: &[Column]) -> Option<Column> {
    expr.column_refs().into_iter().find(|c| !allowed.contains(c)).cloned()
}

fn has_column(expr: &Expr) -> bool {
    !expr.column_refs().is_empty()
}

fn first_column(expr: &Expr) -> Option<Column> {
    expr.column_refs().into_iter().next().cloned()
}
