//! SELECT: FROM, WHERE, GROUP BY, aggregates, HAVING, windows, the select list, DISTINCT, ORDER BY.

use std::sync::Arc;

use datafusion::{
    common::{
        Column,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    functions_aggregate::first_last::first_value_udaf,
    logical_expr::{
        Aggregate, Expr, Filter, GroupingSet, LogicalPlan, LogicalPlanBuilder, Projection,
        SortExpr,
        utils::{find_aggregate_exprs, find_window_exprs},
    },
    sql::sqlparser::ast::{self, SelectItem},
};

use super::{
    Planner,
    bound::Bound,
    names::column_name,
    query::{OutputColumn, QueryPlan, Reference, distinct_key, output_reference, unique_name},
    scope::{Env, Scope, ScopeColumn},
};
use crate::{
    error::{SqlError, sqlstate},
    query::{errors::sql_error, parser::fold_identifier},
    types::PgType,
};

/// A name, its expression, and the table column it shows.
pub(super) type NamedExpr = (String, Bound, (u32, i16));

/// One expression of the select list.
pub(super) struct Item {
    pub(super) name: String,
    pub(super) bound: Bound,
    pub(super) origin: (u32, i16),
    pub(super) keeps_modifier: bool,
}

/// One key of ORDER BY.
pub(super) struct OrderKey<'q> {
    pub(super) item: &'q ast::OrderByExpr,
    pub(super) target: OrderTarget,
}

pub(super) enum OrderTarget {
    /// Index into the select list.
    Output(usize),
    Expression(Bound),
}

/// GROUP BY.
#[derive(Default)]
struct Grouping {
    /// All grouping expressions.
    exprs: Vec<Bound>,
    /// With GROUPING SETS, ROLLUP or CUBE: which of them each set holds.
    sets: Option<Vec<Vec<usize>>>,
}

impl Planner<'_> {
    pub(super) fn select(
        &mut self,
        select: &ast::Select,
        order_by: &[ast::OrderByExpr],
        outer: Option<&Env<'_>>,
    ) -> Result<QueryPlan, SqlError> {
        refuse_clauses(select)?;
        let (mut plan, scope) = self.source(&select.from, outer)?;
        let env = Env::new(&scope, outer, "WHERE");
        if let Some(condition) = &select.selection {
            let bound = self.expr(condition, &env)?;
            let condition =
                self.condition(bound, "WHERE").map_err(|e| self.locate(e, condition))?;
            plan = filter(plan, condition)?;
        }
        self.windows.push(self.named_windows(select)?);
        let planned = self.select_list(select, order_by, plan, &env);
        self.windows.pop();
        planned
    }

    fn select_list(
        &mut self,
        select: &ast::Select,
        order_by: &[ast::OrderByExpr],
        plan: LogicalPlan,
        env: &Env<'_>,
    ) -> Result<QueryPlan, SqlError> {
        let mut items = Vec::new();
        let select_env = env.clause("SELECT").with(true, true);
        for item in &select.projection {
            self.select_item(item, &select_env, &mut items)?;
        }
        let grouping = self.group_by(&select.group_by, &items, env)?;
        let having = match &select.having {
            None => None,
            Some(having) => {
                let bound = self.expr(having, &env.clause("HAVING").with(true, false))?;
                Some(self.condition(bound, "HAVING").map_err(|e| self.locate(e, having))?)
            }
        };
        let mut order = Vec::new();
        for item in order_by {
            let target =
                self.order_target(item, &items, &env.clause("ORDER BY").with(true, true))?;
            order.push(OrderKey { item, target });
        }
        // Keys of DISTINCT ON that are not output follow the output.
        let visible = items.len();
        let on = match &select.distinct {
            Some(ast::Distinct::On(exprs)) => {
                let env = env.clause("SELECT DISTINCT ON").with(true, true);
                Some(self.distinct_on_keys(exprs, &mut items, &mut order, &env)?)
            }
            _ => None,
        };
        let plan = self.aggregate(plan, env.scope, grouping, having, &mut items, &mut order)?;
        let (plan, items) = self.window(plan, items, &mut order)?;
        match (&select.distinct, on) {
            (_, Some(on)) => self.finish_distinct_on(plan, items, visible, order, &on),
            (Some(ast::Distinct::Distinct), _) => self.finish(plan, items, order, true),
            _ => self.finish(plan, items, order, false),
        }
    }

    fn select_item(
        &mut self,
        item: &SelectItem,
        env: &Env<'_>,
        items: &mut Vec<Item>,
    ) -> Result<(), SqlError> {
        match item {
            SelectItem::UnnamedExpr(expr) => {
                let name = column_name(expr);
                let item = self.named_item(expr, name, env)?;
                items.push(item);
            }
            SelectItem::ExprWithAlias { expr, alias } => {
                let item = self.named_item(expr, fold_identifier(alias), env)?;
                items.push(item);
            }
            SelectItem::Wildcard(options) => {
                refuse_wildcard_options(options)?;
                if env.scope.tables.is_empty() {
                    return Err(SqlError::new(
                        sqlstate::SYNTAX_ERROR,
                        "SELECT * with no tables specified is not valid",
                    ));
                }
                items.extend(expand(env.scope));
            }
            SelectItem::QualifiedWildcard(
                ast::SelectItemQualifiedWildcardKind::ObjectName(name),
                options,
            ) => {
                refuse_wildcard_options(options)?;
                let name = self.name_of(name)?;
                let found = self.find_table(name.schema.as_deref(), &name.name, env)?;
                let Some((table, 0)) = found else {
                    let message = format!("missing FROM-clause entry for table \"{}\"", name.name);
                    return Err(SqlError::new(sqlstate::UNDEFINED_TABLE, message));
                };
                items.extend(table.columns.iter().filter(|c| !c.hidden).map(column_item));
            }
            other => return Err(SqlError::not_supported(format!("{other} in a select list"))),
        }
        Ok(())
    }

    /// A select list without aggregates, as RETURNING has it: name, expression, origin.
    pub(super) fn plain_items(
        &mut self,
        list: &[SelectItem],
        env: &Env<'_>,
    ) -> Result<Vec<NamedExpr>, SqlError> {
        let mut items = Vec::new();
        for item in list {
            self.select_item(item, env, &mut items)?;
        }
        Ok(items.into_iter().map(|i| (i.name, i.bound, i.origin)).collect())
    }

    fn named_item(
        &mut self,
        expr: &ast::Expr,
        name: String,
        env: &Env<'_>,
    ) -> Result<Item, SqlError> {
        let origin = match strip(expr) {
            ast::Expr::Identifier(ident) => self.find_column(ident, env)?.map(|f| f.origin),
            ast::Expr::CompoundIdentifier(parts) => Some(self.column(parts, env)?.origin),
            _ => None,
        };
        let mut bound = self.expr(expr, env)?;
        if bound.ty == PgType::Unknown && matches!(bound.expr, Expr::Placeholder(_)) {
            bound = self.coerce(bound, &PgType::Text, super::coerce::CastContext::Implicit)?;
        }
        let keeps_modifier = origin.is_some() || matches!(strip(expr), ast::Expr::Cast { .. });
        Ok(Item { name, bound, origin: origin.unwrap_or((0, 0)), keeps_modifier })
    }

    fn order_target(
        &mut self,
        item: &ast::OrderByExpr,
        items: &[Item],
        env: &Env<'_>,
    ) -> Result<OrderTarget, SqlError> {
        match output_reference(&item.expr, items.len()).map_err(|e| self.locate(e, &item.expr))? {
            Some(Reference::Ordinal(index)) => return Ok(OrderTarget::Output(index)),
            Some(Reference::Name(name)) => {
                let mut found = items.iter().enumerate().filter(|(_, i)| i.name == name);
                if let Some((index, first)) = found.next() {
                    if found.any(|(_, other)| other.bound.expr != first.bound.expr) {
                        let message = format!("ORDER BY \"{name}\" is ambiguous");
                        let error = SqlError::new(sqlstate::AMBIGUOUS_COLUMN, message);
                        return Err(self.locate(error, &item.expr));
                    }
                    return Ok(OrderTarget::Output(index));
                }
            }
            None => {}
        }
        let bound = self.expr(&item.expr, env)?;
        if let Some(index) = items.iter().position(|i| i.bound.expr == bound.expr) {
            return Ok(OrderTarget::Output(index));
        }
        Ok(OrderTarget::Expression(bound))
    }

    fn group_by(
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
        Ok(bound)
    }

    /// Plans GROUP BY, aggregates and HAVING, and rewrites what stands above to their results.
    fn aggregate(
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
        let aggregates = find_aggregate_exprs(above);
        if aggregates.is_empty() && grouping.exprs.is_empty() && grouping.sets.is_none() {
            return match having {
                None => Ok(plan),
                // HAVING alone makes one group of everything.
                Some(_) if items.iter().any(|i| has_column(&i.bound.expr)) => {
                    let column = items.iter().find_map(|i| first_column(&i.bound.expr));
                    Err(self.ungrouped(scope, column.as_ref()))
                }
                Some(condition) => {
                    let one = datafusion::functions_aggregate::count::count_udaf()
                        .call(vec![datafusion::logical_expr::lit(1_i64)])
                        .alias("__agg_0");
                    let aggregate =
                        Aggregate::try_new(Arc::new(plan), vec![], vec![one]).map_err(sql_error)?;
                    filter(LogicalPlan::Aggregate(aggregate), condition)
                }
            };
        }
        let (plan, map) = self.aggregate_plan(plan, grouping, aggregates)?;
        let allowed: Vec<Column> = map
            .iter()
            .filter_map(|(_, to)| match to {
                Expr::Column(column) => Some(column.clone()),
                _ => None,
            })
            .collect();
        let rewrite = |expr: Expr| -> Result<Expr, SqlError> {
            let expr = replace(expr, &map)?;
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
            Some(condition) => filter(plan, rewrite(condition)?),
        }
    }

    fn ungrouped(&self, scope: &Scope, column: Option<&Column>) -> SqlError {
        let name = column.map_or_else(String::new, |column| {
            scope
                .tables
                .iter()
                .find_map(|t| {
                    let found = t.columns.iter().find(|c| &c.column == column)?;
                    Some(format!("{}.{}", t.alias, found.name))
                })
                .unwrap_or_else(|| column.name.clone())
        });
        SqlError::new(
            sqlstate::GROUPING_ERROR,
            format!(
                "column \"{name}\" must appear in the GROUP BY clause or be used in an aggregate \
                 function"
            ),
        )
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
        for (index, bound) in grouping.exprs.iter().enumerate() {
            let keyed = distinct_key(&bound.ty);
            if keyed && grouping.sets.is_some() {
                return Err(SqlError::not_supported("grouping sets over such column types"));
            }
            if keyed {
                let first = format!("__first_{index}");
                results.push(first_value_udaf().call(vec![bound.expr.clone()]).alias(&first));
                map.push((bound.expr.clone(), Expr::Column(Column::from_name(first))));
                let key = self.sort_key(&bound.ty, bound.expr.clone());
                groups.push(key.alias(format!("__group_{index}")));
            } else if let Expr::Column(_) = bound.expr {
                map.push((bound.expr.clone(), bound.expr.clone()));
                groups.push(bound.expr.clone());
            } else {
                let name = format!("__group_{index}");
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
        for (index, aggregate) in aggregates.into_iter().enumerate() {
            let name = format!("__agg_{index}");
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

    /// Plans window functions.
    fn window(
        &mut self,
        plan: LogicalPlan,
        mut items: Vec<Item>,
        order: &mut [OrderKey<'_>],
    ) -> Result<(LogicalPlan, Vec<Item>), SqlError> {
        let mut above: Vec<&Expr> = items.iter().map(|i| &i.bound.expr).collect();
        above.extend(order.iter().filter_map(|o| match &o.target {
            OrderTarget::Expression(bound) => Some(&bound.expr),
            OrderTarget::Output(_) => None,
        }));
        let windows = find_window_exprs(above);
        if windows.is_empty() {
            return Ok((plan, items));
        }
        let map: Vec<_> = windows
            .iter()
            .map(|w| {
                let name = w.schema_name().to_string();
                (w.clone(), Expr::Column(Column::from_name(name)))
            })
            .collect();
        let plan = LogicalPlanBuilder::window_plan(plan, windows).map_err(sql_error)?;
        for item in &mut items {
            item.bound.expr = replace(item.bound.expr.clone(), &map)?;
        }
        for key in order {
            if let OrderTarget::Expression(bound) = &mut key.target {
                bound.expr = replace(bound.expr.clone(), &map)?;
            }
        }
        Ok((plan, items))
    }

    /// The select list, DISTINCT and ORDER BY. Sort keys that are not output follow the output.
    fn finish(
        &mut self,
        plan: LogicalPlan,
        items: Vec<Item>,
        order: Vec<OrderKey<'_>>,
        distinct: bool,
    ) -> Result<QueryPlan, SqlError> {
        let (mut exprs, columns) = output(items, self.nested > 0);
        let mut keys = Vec::with_capacity(order.len());
        for key in order {
            let (name, ty) = match key.target {
                OrderTarget::Output(index) => {
                    (columns[index].internal.clone(), columns[index].ty.clone())
                }
                OrderTarget::Expression(bound) => {
                    if distinct {
                        let error = SqlError::new(
                            sqlstate::INVALID_COLUMN_REFERENCE,
                            "for SELECT DISTINCT, ORDER BY expressions must appear in select list",
                        );
                        return Err(self.locate(error, &key.item.expr));
                    }
                    let name = format!("__order_{}", exprs.len());
                    exprs.push(bound.expr.alias(&name));
                    (name, bound.ty)
                }
            };
            keys.push((key.item, name, ty));
        }
        let has_unnest = exprs.iter().any(contains_unnest);
        let mut plan = if has_unnest {
            super::unnest::project(plan, exprs)?
        } else {
            let projection = Projection::try_new(exprs, Arc::new(plan)).map_err(sql_error)?;
            LogicalPlan::Projection(projection)
        };
        if distinct {
            plan = self.distinct(plan, &columns)?;
        }
        let mut sorts: Vec<SortExpr> = Vec::with_capacity(keys.len());
        for (item, name, ty) in keys {
            sorts.push(self.sort_expr(item, Expr::Column(Column::from_name(name)), &ty)?);
        }
        if !sorts.is_empty() {
            plan = LogicalPlanBuilder::new(plan)
                .sort(sorts)
                .and_then(|b| b.build())
                .map_err(sql_error)?;
        }
        Ok((plan, columns))
    }
}

/// The select list under internal names. In a subquery these must not be names of tables' columns:
/// decorrelation puts such columns beside them.
pub(super) fn output(items: Vec<Item>, nested: bool) -> (Vec<Expr>, Vec<OutputColumn>) {
    let mut columns: Vec<OutputColumn> = Vec::with_capacity(items.len());
    let mut exprs = Vec::with_capacity(items.len());
    for item in items {
        let internal = if nested {
            unique_name(&columns, &format!("__{}", item.name))
        } else {
            unique_name(&columns, &item.name)
        };
        exprs.push(item.bound.expr.alias(&internal));
        columns.push(OutputColumn {
            name: item.name,
            internal,
            ty: item.bound.ty,
            origin: item.origin,
            keeps_modifier: item.keeps_modifier,
        });
    }
    (exprs, columns)
}

pub(super) fn filter(plan: LogicalPlan, condition: Expr) -> Result<LogicalPlan, SqlError> {
    let filter = Filter::try_new(condition, Arc::new(plan)).map_err(sql_error)?;
    Ok(LogicalPlan::Filter(filter))
}

fn column_item(column: &ScopeColumn) -> Item {
    Item {
        name: column.name.clone(),
        bound: Bound::new(Expr::Column(column.column.clone()), column.ty.clone()),
        origin: column.origin,
        keeps_modifier: true,
    }
}

/// `*`: merged columns first, then the rest in order.
fn expand(scope: &Scope) -> Vec<Item> {
    let merged = scope.merged.iter().map(|m| Item {
        name: m.name.clone(),
        bound: m.bound.clone(),
        origin: m.origin,
        keeps_modifier: true,
    });
    merged.chain(scope.columns().filter(|c| !c.merged && !c.hidden).map(column_item)).collect()
}

fn strip(expr: &ast::Expr) -> &ast::Expr {
    match expr {
        ast::Expr::Nested(inner) => strip(inner),
        other => other,
    }
}

/// Replaces whole expressions, outermost first.
pub(super) fn replace(expr: Expr, map: &[(Expr, Expr)]) -> Result<Expr, SqlError> {
    expr.transform_down(|node| match map.iter().find(|(from, _)| *from == node) {
        Some((_, to)) => Ok(Transformed::new(to.clone(), true, TreeNodeRecursion::Jump)),
        None => Ok(Transformed::no(node)),
    })
    .map(|t| t.data)
    .map_err(sql_error)
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

pub(super) fn contains_unnest(expr: &Expr) -> bool {
    expr.exists(|e| Ok(matches!(e, Expr::Unnest(_)))).unwrap_or(false)
}

fn refuse_wildcard_options(options: &ast::WildcardAdditionalOptions) -> Result<(), SqlError> {
    let plain = options.opt_ilike.is_none()
        && options.opt_exclude.is_none()
        && options.opt_except.is_none()
        && options.opt_replace.is_none()
        && options.opt_rename.is_none()
        && options.opt_alias.is_none();
    if plain {
        return Ok(());
    }
    Err(SqlError::new(sqlstate::SYNTAX_ERROR, "syntax error after *"))
}

/// Clauses of other databases that sqlparser reads.
fn refuse_clauses(select: &ast::Select) -> Result<(), SqlError> {
    let syntax = |what: &str| {
        Err(SqlError::new(sqlstate::SYNTAX_ERROR, format!("syntax error at or near \"{what}\"")))
    };
    if select.into.is_some() {
        return Err(SqlError::not_supported("SELECT INTO").hint("Use CREATE TABLE AS."));
    }
    if select.qualify.is_some() {
        return syntax("QUALIFY");
    }
    if select.top.is_some() {
        return syntax("TOP");
    }
    if select.exclude.is_some() || select.select_modifiers.is_some() {
        return syntax("SELECT");
    }
    if select.prewhere.is_some() {
        return syntax("PREWHERE");
    }
    if !select.lateral_views.is_empty() {
        return syntax("VIEW");
    }
    if !select.connect_by.is_empty() {
        return syntax("CONNECT");
    }
    if !select.cluster_by.is_empty()
        || !select.distribute_by.is_empty()
        || !select.sort_by.is_empty()
        || select.value_table_mode.is_some()
    {
        return syntax("BY");
    }
    if !matches!(select.flavor, ast::SelectFlavor::Standard) {
        return syntax("FROM");
    }
    Ok(())
}
