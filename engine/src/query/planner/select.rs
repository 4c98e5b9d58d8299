//! SELECT: FROM, WHERE, windows, the select list, DISTINCT, ORDER BY. See `grouping` for the rest.

use std::sync::Arc;

use datafusion::{
    common::{
        Column, Result as DfResult,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    logical_expr::{
        Expr, Filter, LogicalPlan, LogicalPlanBuilder, Projection, SortExpr,
        expr::{Exists, InSubquery},
        utils::{find_aggregate_exprs, find_window_exprs},
    },
    sql::sqlparser::ast::{self, SelectItem},
};

use super::{
    Planner,
    bound::Bound,
    names::column_name,
    query::{OutputColumn, QueryPlan, Reference, output_reference},
    scope::{Env, Scope, ScopeColumn},
};
use crate::{
    error::{SqlError, sqlstate},
    query::{
        errors::sql_error,
        parser::{ALL_FIELDS, NO_COLUMNS, fold_identifier},
    },
    types::PgType,
};

/// A name, its expression, and the table column it shows.
pub(super) type NamedExpr = (String, Bound, (u32, i16), bool);

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

impl Planner<'_> {
    pub(super) fn select(
        &mut self,
        select: &ast::Select,
        order_by: &[ast::OrderByExpr],
        outer: Option<&Env<'_>>,
    ) -> Result<QueryPlan, SqlError> {
        refuse_clauses(select)?;
        if select.distinct.is_some() && select.projection.is_empty() {
            return Err(SqlError::new(sqlstate::SYNTAX_ERROR, "syntax error at or near \"from\""));
        }
        self.check_recursive_aggregates(select, order_by)?;
        let parameter_types = std::mem::take(&mut self.parameter_types);
        let (mut plan, scope) = self.source(&select.from, outer)?;
        let env = Env::new(&scope, outer, "WHERE");
        if let Some(condition) = &select.selection {
            let bound = self.expr(condition, &env)?;
            let condition =
                self.condition(bound, "WHERE").map_err(|e| self.locate(e, condition))?;
            plan = filter(plan, condition)?;
        }
        self.windows.push(self.named_windows(select)?);
        let planned = self.select_list(select, order_by, plan, &env, &parameter_types);
        self.windows.pop();
        planned
    }

    fn select_list(
        &mut self,
        select: &ast::Select,
        order_by: &[ast::OrderByExpr],
        plan: LogicalPlan,
        env: &Env<'_>,
        parameter_types: &[PgType],
    ) -> Result<QueryPlan, SqlError> {
        let mut items = Vec::new();
        let select_env = env.clause("SELECT").with(true, true);
        for item in &select.projection {
            self.select_item(item, &select_env, &mut items)?;
        }
        self.settle_parameters(&mut items, parameter_types)?;
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
        let grouping = self.group_by(&select.group_by, &items, env)?;
        // Keys of DISTINCT ON that are not output follow the output.
        let visible = items.len();
        let on = match &select.distinct {
            Some(ast::Distinct::On(exprs)) => {
                let env = env.clause("SELECT DISTINCT ON").with(true, true);
                Some(self.distinct_on_keys(exprs, &mut items, &mut order, &env)?)
            }
            _ => None,
        };
        let as_they_come = having.is_none() && grouping.is_none() && shows_rows(&items);
        let plan = self
            .aggregate(plan, env.scope, grouping, having, &mut items, &mut order)
            .map_err(|error| self.locate_ungrouped(error, select, order_by))?;
        let (plan, items) = self.window(plan, items, &mut order)?;
        match (&select.distinct, on) {
            (_, Some(on)) => self.finish_distinct_on(plan, items, visible, order, &on),
            (Some(ast::Distinct::Distinct), _) => self.finish(plan, items, order, &[], true),
            _ => {
                // An aggregate that a subquery uses groups, too.
                let shows = |key: &SortExpr| {
                    key.expr.column_refs().into_iter().all(|c| plan.schema().has_column(c))
                };
                let kept = as_they_come && env.scope.order.iter().all(shows);
                let inherited = if kept { env.scope.order.as_slice() } else { &[] };
                self.finish(plan, items, order, inherited, false)
            }
        }
    }

    fn select_item(
        &mut self,
        item: &SelectItem,
        env: &Env<'_>,
        items: &mut Vec<Item>,
    ) -> Result<(), SqlError> {
        match item {
            SelectItem::UnnamedExpr(ast::Expr::Identifier(ident)) if ident.value == NO_COLUMNS => {}
            SelectItem::UnnamedExpr(expr) if let Some(row) = row_to_expand(expr) => {
                let row = self.expr(&row, env)?;
                let fields = self.fields_of(&row).map_err(|e| self.locate(e, expr))?;
                items.extend(fields.into_iter().map(|(name, bound)| Item {
                    name,
                    bound,
                    origin: (0, 0),
                    keeps_modifier: true,
                }));
            }
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
                let columns = env.scope.columns().filter(|c| !c.merged && !c.hidden);
                self.note_star(env.scope, columns);
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
                let shown = || table.columns.iter().filter(|c| !c.hidden);
                let scope = Scope::of(table.clone());
                self.note_star(&scope, shown());
                items.extend(shown().map(column_item));
            }
            other => return Err(SqlError::not_supported(format!("{other} in a select list"))),
        }
        Ok(())
    }

    /// A select list without aggregates, as RETURNING has it: name, expression, origin, whether the
    /// type keeps its modifier.
    pub(super) fn plain_items(
        &mut self,
        list: &[SelectItem],
        env: &Env<'_>,
    ) -> Result<Vec<NamedExpr>, SqlError> {
        let mut items = Vec::new();
        for item in list {
            self.select_item(item, env, &mut items)?;
        }
        self.settle_parameters(&mut items, &[])?;
        Ok(items.into_iter().map(|i| (i.name, i.bound, i.origin, i.keeps_modifier)).collect())
    }

    fn named_item(
        &mut self,
        expr: &ast::Expr,
        name: String,
        env: &Env<'_>,
    ) -> Result<Item, SqlError> {
        let found = match strip(expr) {
            ast::Expr::Identifier(ident) => self.find_column(ident, env)?,
            ast::Expr::CompoundIdentifier(parts) => Some(self.column(parts, env)?),
            _ => None,
        };
        let bound = self.expr(expr, env)?;
        let (origin, keeps_modifier) = match found {
            Some(found) => (found.origin, found.keeps_modifier),
            None => ((0, 0), matches!(strip(expr), ast::Expr::Cast { .. })),
        };
        Ok(Item { name, bound, origin, keeps_modifier })
    }

    /// Untyped parameters that are items by themselves become of these types, text by default.
    fn settle_parameters(&mut self, items: &mut [Item], types: &[PgType]) -> Result<(), SqlError> {
        for (index, item) in items.iter_mut().enumerate() {
            if item.bound.ty == PgType::Unknown && matches!(item.bound.expr, Expr::Placeholder(_)) {
                let ty = types.get(index).unwrap_or(&PgType::Text);
                let parameter = item.bound.clone();
                item.bound = self.coerce(parameter, ty, super::coerce::CastContext::Implicit)?;
            }
        }
        Ok(())
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
    /// `inherited`: over `plan`, what its rows are ordered by as they come.
    fn finish(
        &mut self,
        plan: LogicalPlan,
        items: Vec<Item>,
        order: Vec<OrderKey<'_>>,
        inherited: &[SortExpr],
        distinct: bool,
    ) -> Result<QueryPlan, SqlError> {
        let (mut exprs, columns) = self.output(items);
        let mut sorts: Vec<SortExpr> = Vec::with_capacity(order.len());
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
                    let name = self.fresh_name("__order");
                    exprs.push(bound.expr.alias(&name));
                    (name, bound.ty)
                }
            };
            sorts.push(self.sort_expr(key.item, Expr::Column(Column::from_name(name)), &ty)?);
        }
        if sorts.is_empty() {
            for key in inherited {
                let name = self.fresh_name("__order");
                exprs.push(key.expr.clone().alias(&name));
                let column = Expr::Column(Column::from_name(name));
                sorts.push(SortExpr::new(column, key.asc, key.nulls_first));
            }
        }
        if !distinct && exprs.iter().any(contains_unnest) {
            return Ok((self.sets_in_order(plan, exprs, columns.len(), sorts)?, columns));
        }
        let mut plan = if exprs.iter().any(contains_unnest) {
            super::unnest::project(plan, exprs, None)?
        } else {
            let projection = Projection::try_new(exprs, Arc::new(plan)).map_err(sql_error)?;
            LogicalPlan::Projection(projection)
        };
        if distinct {
            plan = self.distinct(plan, &columns)?;
        }
        Ok((sorted(plan, sorts)?, columns))
    }

    /// The select list under internal names.
    pub(super) fn output(&mut self, items: Vec<Item>) -> (Vec<Expr>, Vec<OutputColumn>) {
        let mut columns: Vec<OutputColumn> = Vec::with_capacity(items.len());
        let mut exprs = Vec::with_capacity(items.len());
        for item in items {
            let internal = self.output_name(&columns, &item.name);
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
}

/// The plan's rows in this order, if it is one.
pub(super) fn sorted(plan: LogicalPlan, keys: Vec<SortExpr>) -> Result<LogicalPlan, SqlError> {
    if keys.is_empty() {
        return Ok(plan);
    }
    LogicalPlanBuilder::new(plan).sort(keys).and_then(|b| b.build()).map_err(sql_error)
}

/// Whether a select list shows rows as they come: without aggregates, and without windows that have
/// an order, in which the rows are then.
fn shows_rows(items: &[Item]) -> bool {
    let exprs = || items.iter().map(|item| &item.bound.expr);
    let has_order = |window: &Expr| match window {
        Expr::WindowFunction(window) => {
            !window.params.partition_by.is_empty() || !window.params.order_by.is_empty()
        }
        _ => true,
    };
    find_aggregate_exprs(exprs()).is_empty() && !find_window_exprs(exprs()).iter().any(has_order)
}

/// The row of `(row).*`.
fn row_to_expand(expr: &ast::Expr) -> Option<ast::Expr> {
    let ast::Expr::CompoundFieldAccess { root, access_chain } = expr else { return None };
    let (last, before) = access_chain.split_last()?;
    match last {
        ast::AccessExpr::Dot(ast::Expr::Identifier(field)) if field.value == ALL_FIELDS => {}
        _ => return None,
    }
    if before.is_empty() {
        return Some(root.as_ref().clone());
    }
    Some(ast::Expr::CompoundFieldAccess { root: root.clone(), access_chain: before.to_vec() })
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
        keeps_modifier: column.keeps_modifier,
    }
}

/// `*`: merged columns first, then the rest in order.
fn expand(scope: &Scope) -> Vec<Item> {
    let merged = scope.merged.iter().map(|m| Item {
        name: m.name.clone(),
        bound: m.bound.clone(),
        origin: m.origin,
        keeps_modifier: m.keeps_modifier,
    });
    merged.chain(scope.columns().filter(|c| !c.merged && !c.hidden).map(column_item)).collect()
}

/// What `*` shows.
pub(super) fn star_items(scope: &Scope) -> Vec<NamedExpr> {
    let item = |i: Item| (i.name, i.bound, i.origin, i.keeps_modifier);
    expand(scope).into_iter().map(item).collect()
}

fn strip(expr: &ast::Expr) -> &ast::Expr {
    match expr {
        ast::Expr::Nested(inner) => strip(inner),
        other => other,
    }
}

/// Replaces whole expressions, outermost first; columns in subqueries, too.
pub(super) fn replace(expr: Expr, map: &[(Expr, Expr)]) -> Result<Expr, SqlError> {
    expr.transform_down(|node| match map.iter().find(|(from, _)| *from == node) {
        Some((_, to)) => Ok(Transformed::new(to.clone(), true, TreeNodeRecursion::Jump)),
        None => in_subquery(node, |plan| replace_outer(plan, map)),
    })
    .map(|t| t.data)
    .map_err(sql_error)
}

/// The expression with the plan of the subquery it is, if it is one, changed.
fn in_subquery(
    expr: Expr,
    change: impl Fn(LogicalPlan) -> DfResult<LogicalPlan>,
) -> DfResult<Transformed<Expr>> {
    let mut expr = expr;
    let subquery = match &mut expr {
        Expr::ScalarSubquery(subquery)
        | Expr::Exists(Exists { subquery, .. })
        | Expr::InSubquery(InSubquery { subquery, .. }) => subquery,
        _ => return Ok(Transformed::no(expr)),
    };
    subquery.subquery = Arc::new(change(subquery.subquery.as_ref().clone())?);
    Ok(Transformed::yes(expr))
}

/// Outer references to columns that now have another name.
fn replace_outer(plan: LogicalPlan, map: &[(Expr, Expr)]) -> DfResult<LogicalPlan> {
    let renamed = |expr: Expr| {
        expr.transform_up(|e| match &e {
            Expr::OuterReferenceColumn(field, column) => {
                let known = map.iter().find(|(from, _)| from.try_as_col() == Some(column));
                match known.and_then(|(_, to)| to.try_as_col()) {
                    Some(to) => Ok(Transformed::yes(Expr::OuterReferenceColumn(
                        Arc::clone(field),
                        to.clone(),
                    ))),
                    None => Ok(Transformed::no(e)),
                }
            }
            _ => Ok(Transformed::no(e)),
        })
    };
    plan.transform_down_with_subqueries(|node| node.map_expressions(renamed)).map(|t| t.data)
}

/// The outer columns that the subqueries of an expression refer to, whichever query has them.
pub(super) fn columns_of_subqueries(expr: &Expr) -> Result<Vec<Column>, SqlError> {
    let mut columns = Vec::new();
    expr.apply(|e| {
        let plan = match e {
            Expr::ScalarSubquery(subquery)
            | Expr::Exists(Exists { subquery, .. })
            | Expr::InSubquery(InSubquery { subquery, .. }) => &subquery.subquery,
            _ => return Ok(TreeNodeRecursion::Continue),
        };
        plan.apply_with_subqueries(|node| {
            node.apply_expressions(|e| {
                e.apply(|e| {
                    if let Expr::OuterReferenceColumn(_, column) = e {
                        columns.push(column.clone());
                    }
                    Ok(TreeNodeRecursion::Continue)
                })
            })
        })
    })
    .map_err(sql_error)?;
    Ok(columns)
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
        return Err(SqlError::new(sqlstate::SYNTAX_ERROR, "SELECT ... INTO is not allowed here"));
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
