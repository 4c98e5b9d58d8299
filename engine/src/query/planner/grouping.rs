//! GROUP BY, aggregates and HAVING.

use std::sync::Arc;

use datafusion::{
    common::Column,
    functions_aggregate::{first_last::first_value_udaf, grouping::grouping_udaf},
    logical_expr::{
        Aggregate, Case, Expr, GroupingSet, LogicalPlan, Projection, lit,
        utils::find_aggregate_exprs,
    },
    sql::sqlparser::ast,
};

use super::{
    Planner,
    arrays::equality_needed,
    bound::Bound,
    grouping_sets::{SETS_MAX, alternatives},
    outer_aggregates::shown_inside,
    query::{Reference, distinct_key, output_reference},
    scope::{Env, Scope, ScopeTable},
    select::{Item, OrderKey, OrderTarget, columns_of_subqueries, filter, replace},
};
use crate::{
    error::{SqlError, sqlstate},
    query::{errors::sql_error, parser::DISTINCT_SETS},
    types::PgType,
};

/// GROUP BY.
#[derive(Default)]
pub(super) struct Grouping {
    /// All grouping expressions.
    exprs: Vec<Bound>,
    /// The item of the select list that each stands for, if one.
    items: Vec<Option<usize>>,
    /// With GROUPING SETS, ROLLUP or CUBE: which of them each set holds.
    sets: Option<Vec<Vec<usize>>>,
}

impl Grouping {
    /// The index of an expression. Two items of the select list that are the same expression are
    /// two columns to group by: one may be in a set that the other is not in.
    fn add(&mut self, bound: Bound, item: Option<usize>) -> usize {
        let same = |(e, i): (&Bound, &Option<usize>)| e.expr == bound.expr && *i == item;
        if let Some(known) = self.exprs.iter().zip(&self.items).position(same) {
            return known;
        }
        self.exprs.push(bound);
        self.items.push(item);
        self.exprs.len() - 1
    }

    /// Whether there is no GROUP BY.
    pub(super) fn is_none(&self) -> bool {
        self.exprs.is_empty() && self.sets.is_none()
    }

    /// Whether the expression is an earlier one once more.
    fn is_again(&self, index: usize) -> bool {
        self.exprs[..index].iter().any(|e| e.expr == self.exprs[index].expr)
    }
}

/// An aggregation, and what its inputs are called above it.
struct Aggregated {
    plan: LogicalPlan,
    map: Vec<(Expr, Expr)>,
    /// Items of the select list that are another column than their expression's.
    items: Vec<(usize, Expr)>,
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
        let mark =
            |expr: &ast::Expr| matches!(expr, ast::Expr::Identifier(i) if i.value == DISTINCT_SETS);
        let distinct = exprs.first().is_some_and(mark);
        for expr in &exprs[usize::from(distinct)..] {
            let (alternatives, several) = alternatives(expr)?;
            plain &= !several;
            let mut indexes = Vec::new();
            for alternative in alternatives {
                let mut set = Vec::new();
                for expr in alternative {
                    let (bound, item) = self.group_target(expr, items, &env)?;
                    set.push(grouping.add(bound, item));
                }
                indexes.push(set);
            }
            elements.push(indexes);
        }
        if plain {
            return Ok(grouping);
        }
        let mut sets: Vec<Vec<usize>> = vec![Vec::new()];
        for element in elements {
            if sets.len() * element.len() > SETS_MAX {
                let message = format!("too many grouping sets present (maximum {SETS_MAX})");
                return Err(SqlError::new(sqlstate::STATEMENT_TOO_COMPLEX, message));
            }
            let combine = |set: &Vec<usize>| -> Vec<Vec<usize>> {
                let extend = |more: &Vec<usize>| {
                    let mut set = set.clone();
                    for index in more {
                        if !set.contains(index) {
                            set.push(*index);
                        }
                    }
                    set
                };
                element.iter().map(extend).collect()
            };
            sets = sets.iter().flat_map(combine).collect();
        }
        if distinct {
            let mut known: Vec<Vec<usize>> = Vec::with_capacity(sets.len());
            sets.retain(|set| {
                let mut key = set.clone();
                key.sort_unstable();
                let new = !known.contains(&key);
                known.push(key);
                new
            });
        }
        grouping.sets = Some(sets);
        Ok(grouping)
    }

    /// What an expression of GROUP BY means, and the item of the select list that it is, if one.
    fn group_target(
        &mut self,
        expr: &ast::Expr,
        items: &[Item],
        env: &Env<'_>,
    ) -> Result<(Bound, Option<usize>), SqlError> {
        let output = |index: usize| {
            let bound = &items[index].bound;
            if !find_aggregate_exprs([&bound.expr]).is_empty() {
                return Err(SqlError::new(
                    sqlstate::GROUPING_ERROR,
                    "aggregate functions are not allowed in GROUP BY",
                ));
            }
            Ok((bound.clone(), Some(index)))
        };
        let reference = output_reference(expr, items.len()).map_err(|mut e| {
            e.message = e.message.replace("ORDER BY", "GROUP BY");
            self.locate(e, expr)
        })?;
        let (bound, item) = match reference {
            Some(Reference::Ordinal(index)) => output(index)?,
            Some(Reference::Name(name)) => {
                let ast::Expr::Identifier(ident) = expr else {
                    return Err(SqlError::internal("a name that is no identifier"));
                };
                match self.find_column(ident, env)? {
                    // Columns go before output names, the other way round than in ORDER BY.
                    Some(found) => (found.bound, None),
                    None => match items.iter().position(|i| i.name == name) {
                        Some(index) => output(index)?,
                        None => (self.expr(expr, env)?, None),
                    },
                }
            }
            None => (self.expr(expr, env)?, None),
        };
        let item = item.or_else(|| items.iter().position(|i| i.bound.expr == bound.expr));
        if bound.ty == PgType::Unknown {
            let bound = self.coerce(bound, &PgType::Text, super::coerce::CastContext::Implicit)?;
            return Ok((bound, item));
        }
        equality_needed(&bound.ty).map_err(|e| self.locate(e, expr))?;
        Ok((bound, item))
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
        let Aggregated { plan, map, items: own } =
            self.aggregate_plan(plan, grouping, aggregates)?;
        let plan = shown_inside(plan, inside, &map)?;
        let shown = map.iter().map(|(_, to)| to).chain(own.iter().map(|(_, to)| to));
        let allowed: Vec<Column> = shown
            .filter_map(|to| match to {
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
        for (index, item) in items.iter_mut().enumerate() {
            item.bound.expr = match own.iter().find(|(i, _)| *i == index) {
                Some((_, column)) => column.clone(),
                None => rewrite(item.bound.expr.clone())?,
            };
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

    fn aggregate_plan(
        &mut self,
        plan: LogicalPlan,
        grouping: Grouping,
        aggregates: Vec<Expr>,
    ) -> Result<Aggregated, SqlError> {
        let mut keys = self.grouping_keys(&grouping)?;
        for aggregate in aggregates {
            let name = self.fresh_name("__agg");
            let shown = Expr::Column(Column::from_name(&name));
            let result = match grouping_arguments(&aggregate) {
                None => aggregate.clone(),
                Some(args) => match grouping_of(args, &grouping, &keys.groups)? {
                    Some(call) => call,
                    // Everything is grouped by, everywhere.
                    None => {
                        keys.map.push((aggregate, lit(0_i32)));
                        continue;
                    }
                },
            };
            keys.map.push((aggregate, shown));
            keys.results.push(result.alias(&name));
        }
        let plan = if keys.computed.is_empty() {
            plan
        } else {
            let mut exprs: Vec<_> = plan.schema().columns().into_iter().map(Expr::Column).collect();
            exprs.append(&mut keys.computed);
            let projection = Projection::try_new(exprs, Arc::new(plan)).map_err(sql_error)?;
            LogicalPlan::Projection(projection)
        };
        let several = grouping.sets.is_some();
        let groups = match grouping.sets {
            None => keys.groups,
            Some(sets) => {
                let pick = |set: &Vec<usize>| set.iter().map(|i| keys.groups[*i].clone()).collect();
                let sets = sets.iter().map(pick).collect();
                vec![Expr::GroupingSet(GroupingSet::GroupingSets(sets))]
            }
        };
        let aggregate =
            Aggregate::try_new(Arc::new(plan), groups, keys.results).map_err(sql_error)?;
        let mut plan = LogicalPlan::Aggregate(aggregate);
        if several || !keys.above.is_empty() {
            // The column that tells grouping sets apart is gone by the time the plan runs.
            let columns = plan.schema().columns().into_iter();
            let columns = columns.filter(|c| c.name != Aggregate::INTERNAL_GROUPING_ID);
            let mut exprs: Vec<_> = columns.map(Expr::Column).collect();
            exprs.append(&mut keys.above);
            let projection = Projection::try_new(exprs, Arc::new(plan)).map_err(sql_error)?;
            plan = LogicalPlan::Projection(projection);
        }
        Ok(Aggregated { plan, map: keys.map, items: keys.items })
    }

    /// What each grouping expression is grouped by, and what shows it above.
    fn grouping_keys(&mut self, grouping: &Grouping) -> Result<GroupingKeys, SqlError> {
        let mut keys = GroupingKeys::default();
        for (index, bound) in grouping.exprs.iter().enumerate() {
            let shown = if distinct_key(&bound.ty) {
                let first = self.fresh_name("__first");
                let name = self.fresh_name("__group");
                let key = self.sort_key(&bound.ty, bound.expr.clone()).alias(&name);
                let value = first_value_udaf().call(vec![bound.expr.clone()]).alias(&first);
                keys.results.push(value);
                let first = Expr::Column(Column::from_name(first));
                if grouping.sets.is_none() {
                    keys.groups.push(key);
                    first
                } else {
                    // Where the set does not group by it, there is no value.
                    let key_column = Expr::Column(Column::from_name(&name));
                    keys.computed.push(key);
                    keys.groups.push(key_column.clone());
                    let absent = self.fresh_name("__absent");
                    keys.results.push(grouping_udaf().call(vec![key_column]).alias(&absent));
                    let is_there = Expr::Column(Column::from_name(absent)).eq(lit(0_i32));
                    let value = Case::new(None, vec![(Box::new(is_there), Box::new(first))], None);
                    let name = self.fresh_name("__shown");
                    keys.above.push(Expr::Case(value).alias(&name));
                    Expr::Column(Column::from_name(name))
                }
            } else if matches!(bound.expr, Expr::Column(_)) && !grouping.is_again(index) {
                keys.groups.push(bound.expr.clone());
                bound.expr.clone()
            } else {
                let name = self.fresh_name("__group");
                let column = Expr::Column(Column::from_name(&name));
                let expr = bound.expr.clone().alias(&name);
                // Grouping sets refer to columns only.
                if grouping.sets.is_some() || grouping.is_again(index) {
                    keys.computed.push(expr);
                    keys.groups.push(column.clone());
                } else {
                    keys.groups.push(expr);
                }
                column
            };
            match grouping.items[index] {
                Some(item) if grouping.is_again(index) => keys.items.push((item, shown)),
                _ => keys.map.push((bound.expr.clone(), shown)),
            }
        }
        Ok(keys)
    }
}

/// What an aggregation is made of.
#[derive(Default)]
struct GroupingKeys {
    /// Computed below.
    computed: Vec<Expr>,
    groups: Vec<Expr>,
    results: Vec<Expr>,
    /// Computed from the results.
    above: Vec<Expr>,
    map: Vec<(Expr, Expr)>,
    items: Vec<(usize, Expr)>,
}

/// The arguments of `grouping(…)`.
fn grouping_arguments(aggregate: &Expr) -> Option<&[Expr]> {
    match aggregate {
        Expr::AggregateFunction(call) if call.func == grouping_udaf() => Some(&call.params.args),
        _ => None,
    }
}

/// `grouping(…)` of what the query groups by; `None` without grouping sets.
fn grouping_of(
    args: &[Expr],
    grouping: &Grouping,
    groups: &[Expr],
) -> Result<Option<Expr>, SqlError> {
    let mut columns = Vec::with_capacity(args.len());
    for arg in args {
        let Some(index) = grouping.exprs.iter().position(|e| e.expr == *arg) else {
            return Err(SqlError::new(
                sqlstate::GROUPING_ERROR,
                "arguments to GROUPING must be grouping expressions of the associated query level",
            ));
        };
        columns.push(groups[index].clone());
    }
    // A set of none of the expressions is there only with sets.
    Ok(grouping.sets.is_some().then(|| grouping_udaf().call(columns)))
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
