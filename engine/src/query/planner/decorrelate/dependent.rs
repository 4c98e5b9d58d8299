//! Correlation of any kind: the subquery is computed for every outer binding there is.
//!
//! After Neumann and Kemper, "Unnesting Arbitrary Queries": the distinct values of the outer columns
//! are a relation of their own, the domain. It is joined in where the subquery's plan first refers
//! to them, and travels upwards from there, beside the columns of the plan, through every operator:
//! aggregates group by it, windows and limits are per binding, both sides of a join have the same.
//! What comes out is the subquery's result for each binding.

use std::{cell::RefCell, collections::HashSet, sync::Arc};

use datafusion::{
    common::{Column, DFSchema, JoinType},
    functions_aggregate::count::count_udaf,
    logical_expr::{
        Aggregate, BinaryExpr, Distinct, Expr, ExprSchemable, GroupingSet, LogicalPlan,
        LogicalPlanBuilder, Operator, Projection, Union, Values, Window, lit, logical_plan::Join,
        utils::conjunction,
    },
    scalar::ScalarValue,
};
use hashbrown::HashMap;

use super::{
    super::{Planner, from::join_plans, nulls::first_not_null, select::filter},
    SINGLE_VALUE,
    few::is_found_by_key,
    keyed::values_of_nothing,
    outer::{named_as, refers, replace_outer},
    pulled::aliased_columns,
    recursion::is_work_table,
    rows::{limit_counts, per_group},
};
use crate::{
    error::SqlError,
    query::{
        errors::sql_error,
        shared_rows::{as_shared, shared},
    },
};

/// The distinct values of outer columns.
pub(super) struct Domain {
    plan: LogicalPlan,
    /// The outer columns, in the order of the plan's.
    pub(super) outer: Vec<Column>,
    /// Shared rows that depend on it, by the number they had before.
    shared: RefCell<HashMap<u64, Dependent>>,
}

/// A plan with the columns of the domain beside its own.
pub(super) type Dependent = (LogicalPlan, Vec<Column>);

impl Domain {
    /// The values that `input` has of these columns. The input comes back as it has to be read if it
    /// gives other rows each time it is computed.
    pub(super) fn new(
        planner: &mut Planner<'_>,
        input: LogicalPlan,
        ours: &HashSet<Column>,
    ) -> Result<(LogicalPlan, Self), SqlError> {
        let source = narrowest(&input, ours);
        let (input, source) = if is_little(source)? && is_repeatable(source)? {
            let source = source.clone();
            (input, source)
        } else {
            planner.copies = true;
            sharing_narrowest(input, ours)?
        };
        let mut outer: Vec<Column> = ours.iter().cloned().collect();
        outer.sort();
        let name = |c: &Column| planner.fresh_name(&format!("__{}", c.name));
        let names: Vec<_> = outer.iter().map(name).collect();
        let columns = outer.iter().zip(names);
        let exprs = columns.map(|(c, name)| Expr::Column(c.clone()).alias(name)).collect();
        let plan = Projection::try_new(exprs, Arc::new(source)).map_err(sql_error)?;
        let plan = Arc::new(LogicalPlan::Projection(plan));
        let plan = LogicalPlan::Distinct(Distinct::All(plan));
        Ok((input, Self { plan, outer, shared: RefCell::default() }))
    }

    /// The domain once more, under new names.
    fn instance(&self, planner: &mut Planner<'_>) -> Result<Dependent, SqlError> {
        let mut exprs = Vec::with_capacity(self.outer.len());
        let mut columns = Vec::with_capacity(self.outer.len());
        for (outer, column) in self.outer.iter().zip(self.plan.schema().columns()) {
            let name = planner.fresh_name(&format!("__{}", outer.name));
            exprs.push(Expr::Column(column).alias(&name));
            columns.push(Column::from_name(name));
        }
        let plan = Projection::try_new(exprs, Arc::new(self.plan.clone())).map_err(sql_error)?;
        Ok((LogicalPlan::Projection(plan), columns))
    }

    /// The expression with outer columns as the plan has them.
    fn bind(&self, expr: Expr, columns: &[Column]) -> Result<Expr, SqlError> {
        replace_outer(expr, &|outer| {
            let index = self.outer.iter().position(|c| c == outer)?;
            Some(Expr::Column(columns[index].clone()))
        })
    }

    /// What of the outer row equals what of the dependent plan.
    pub(super) fn keys(
        &self,
        outer: &DFSchema,
        dependent: &LogicalPlan,
        columns: &[Column],
    ) -> Result<Vec<(Expr, Expr)>, SqlError> {
        let mut keys = Vec::new();
        for (left, right) in self.outer.iter().zip(columns) {
            same(left, outer, right, dependent.schema(), &mut keys)?;
        }
        Ok(keys)
    }
}

/// Equalities that hold of two columns if and only if neither is distinct from the other. Plain
/// ones, because a join has one notion of NULL for all its keys, those that the optimizer finds later
/// included.
fn same(
    left: &Column,
    left_schema: &DFSchema,
    right: &Column,
    right_schema: &DFSchema,
    keys: &mut Vec<(Expr, Expr)>,
) -> Result<(), SqlError> {
    let (l, r) = (Expr::Column(left.clone()), Expr::Column(right.clone()));
    let nullable = l.nullable(left_schema).map_err(sql_error)?
        || r.nullable(right_schema).map_err(sql_error)?;
    if !nullable {
        keys.push((l, r));
        return Ok(());
    }
    let ty = l.get_type(left_schema).map_err(sql_error)?;
    let stand_in = Expr::Literal(ScalarValue::new_default(&ty).map_err(sql_error)?, None);
    let filled = |e: &Expr| first_not_null(vec![e.clone(), stand_in.clone()]);
    keys.push((filled(&l), filled(&r)));
    keys.push((Expr::IsNull(Box::new(l)), Expr::IsNull(Box::new(r))));
    Ok(())
}

fn equal(left: Expr, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left), Operator::Eq, Box::new(right)))
}

/// Which input of a plan brings all of the columns.
fn narrower(plan: &LogicalPlan, ours: &HashSet<Column>) -> Option<usize> {
    let has = |plan: &LogicalPlan| ours.iter().all(|c| plan.schema().has_column(c));
    match plan {
        LogicalPlan::Join(join) => {
            let (left, right) = match join.join_type {
                JoinType::Inner => (true, true),
                JoinType::Left | JoinType::LeftMark | JoinType::LeftSemi | JoinType::LeftAnti => {
                    (true, false)
                }
                JoinType::Right => (false, true),
                _ => (false, false),
            };
            match (left && has(&join.left), right && has(&join.right)) {
                (true, _) => Some(0),
                (_, true) => Some(1),
                _ => None,
            }
        }
        // The projections that decorrelation puts above joins.
        LogicalPlan::Projection(projection)
            if projection.expr.iter().all(|e| matches!(e, Expr::Column(_) | Expr::Alias(_))) =>
        {
            has(&projection.input).then_some(0)
        }
        _ => None,
    }
}

/// The part of a plan that brings all of the columns.
fn narrowest<'p>(plan: &'p LogicalPlan, ours: &HashSet<Column>) -> &'p LogicalPlan {
    match narrower(plan, ours) {
        Some(index) => narrowest(plan.inputs()[index], ours),
        None => plan,
    }
}

/// Whether the bindings are few, and looking for them again costs little and gives the same.
pub(super) fn are_few(input: &LogicalPlan, ours: &HashSet<Column>) -> Result<bool, SqlError> {
    let source = narrowest(input, ours);
    Ok(is_found_by_key(source)? && is_repeatable(source)?)
}

/// Whether a plan may stand in several places. A query inside of a query inside of a query would
/// double what is around it with each level, until planning takes minutes.
fn is_little(plan: &LogicalPlan) -> Result<bool, SqlError> {
    use datafusion::common::tree_node::TreeNodeRecursion;
    const NODES: usize = 24;
    let mut nodes = 0;
    plan.apply_with_subqueries(|_| {
        nodes += 1;
        Ok(if nodes > NODES { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })
    .map_err(sql_error)?;
    Ok(nodes <= NODES)
}

/// The plan with that part shared, and the part.
fn sharing_narrowest(
    plan: LogicalPlan,
    ours: &HashSet<Column>,
) -> Result<(LogicalPlan, LogicalPlan), SqlError> {
    let Some(index) = narrower(&plan, ours) else {
        let plan = shared(plan);
        return Ok((plan.clone(), plan));
    };
    let mut inputs: Vec<LogicalPlan> = plan.inputs().into_iter().cloned().collect();
    let (input, source) = sharing_narrowest(std::mem::take(&mut inputs[index]), ours)?;
    inputs[index] = input;
    let plan = plan.with_new_exprs(plan.expressions(), inputs).map_err(sql_error)?;
    Ok((plan, source))
}

/// Whether the plan gives the same rows when it is computed again.
pub(in crate::query::planner) fn is_repeatable(plan: &LogicalPlan) -> Result<bool, SqlError> {
    use datafusion::{arrow::datatypes::DataType, common::tree_node::TreeNodeRecursion};
    let mut repeatable = true;
    plan.apply_with_subqueries(|node| {
        if as_shared(node).is_some() {
            return Ok(TreeNodeRecursion::Jump);
        }
        let fixed = match node {
            LogicalPlan::Limit(_) | LogicalPlan::Window(_) | LogicalPlan::RecursiveQuery(_) => {
                false
            }
            LogicalPlan::Distinct(Distinct::On(_)) => false,
            // A plan may read it in one place only.
            LogicalPlan::TableScan(scan) => !is_work_table(scan),
            // Sums of floats depend on the order; so does what takes the first of several.
            LogicalPlan::Aggregate(aggregate) => {
                let float = |e: &Expr| {
                    let ty = e.get_type(aggregate.input.schema());
                    !matches!(ty, Ok(ty) if !matches!(ty, DataType::Float32 | DataType::Float64))
                };
                // The one row of a subquery used as a value; more than one is an error.
                let single = |e: &Expr| e.qualified_name().1.starts_with(SINGLE_VALUE);
                let ordered = |e: &Expr| match e.clone().unalias() {
                    _ if single(e) => false,
                    Expr::AggregateFunction(f) => {
                        matches!(f.func.name(), "first_value" | "array_agg" | "string_agg")
                    }
                    _ => true,
                };
                !aggregate.aggr_expr.iter().any(|e| float(e) || ordered(e))
            }
            _ => true,
        };
        let mut volatile = false;
        node.apply_expressions(|e| {
            volatile |= e.is_volatile();
            Ok(TreeNodeRecursion::Continue)
        })?;
        repeatable &= fixed && !volatile;
        Ok(if repeatable { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })
    .map_err(sql_error)?;
    Ok(repeatable)
}

impl Planner<'_> {
    /// The plan computed for every binding of the domain.
    pub(super) fn dependent(
        &mut self,
        plan: LogicalPlan,
        domain: &Domain,
        ours: &HashSet<Column>,
    ) -> Result<Dependent, SqlError> {
        stacker::maybe_grow(128 * 1024, 4 * 1024 * 1024, || self.dependent_node(plan, domain, ours))
    }

    fn dependent_node(
        &mut self,
        plan: LogicalPlan,
        domain: &Domain,
        ours: &HashSet<Column>,
    ) -> Result<Dependent, SqlError> {
        if !self.depends(&plan, ours)? {
            let (instance, columns) = domain.instance(self)?;
            if let LogicalPlan::EmptyRelation(empty) = &plan
                && empty.produce_one_row
            {
                return Ok((instance, columns));
            }
            return Ok((join_plans(instance, plan, JoinType::Inner, None)?, columns));
        }
        match plan {
            LogicalPlan::Filter(node) => {
                let (input, columns) =
                    self.dependent(Arc::unwrap_or_clone(node.input), domain, ours)?;
                Ok((filter(input, domain.bind(node.predicate, &columns)?)?, columns))
            }
            LogicalPlan::Projection(node) => {
                let names = node.schema.columns();
                let input = Arc::unwrap_or_clone(node.input);
                self.dependent_projection(node.expr, names, input, domain, ours)
            }
            LogicalPlan::SubqueryAlias(node) => {
                let (exprs, names) = (aliased_columns(&node), node.schema.columns());
                let input = Arc::unwrap_or_clone(node.input);
                self.dependent_projection(exprs, names, input, domain, ours)
            }
            LogicalPlan::Sort(mut node) => {
                let (input, columns) =
                    self.dependent(Arc::unwrap_or_clone(node.input), domain, ours)?;
                for sort in &mut node.expr {
                    sort.expr = domain.bind(sort.expr.clone(), &columns)?;
                }
                node.input = Arc::new(input);
                Ok((LogicalPlan::Sort(node), columns))
            }
            LogicalPlan::Limit(node) => {
                let counts = limit_counts(&node);
                let (input, columns) =
                    self.dependent(Arc::unwrap_or_clone(node.input), domain, ours)?;
                let groups = columns.iter().cloned().map(Expr::Column).collect();
                Ok((self.limit_per_group(input, counts, groups)?, columns))
            }
            LogicalPlan::Window(node) => {
                let (input, columns) =
                    self.dependent(Arc::unwrap_or_clone(node.input), domain, ours)?;
                let groups: Vec<_> = columns.iter().cloned().map(Expr::Column).collect();
                let mut windows = Vec::with_capacity(node.window_expr.len());
                for window in node.window_expr {
                    let (_, name) = window.qualified_name();
                    let bound = domain.bind(window.unalias(), &columns)?;
                    windows.push(per_group(bound, &groups)?.unalias().alias(name));
                }
                let window = Window::try_new(windows, Arc::new(input)).map_err(sql_error)?;
                Ok((LogicalPlan::Window(window), columns))
            }
            LogicalPlan::Aggregate(node) => self.dependent_aggregate(node, domain, ours),
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let own = input.schema().columns();
                let (input, columns) = self.dependent(Arc::unwrap_or_clone(input), domain, ours)?;
                let input = exactly(input, own, &columns)?;
                Ok((LogicalPlan::Distinct(Distinct::All(Arc::new(input))), columns))
            }
            LogicalPlan::Union(node) => self.dependent_union(node, domain, ours),
            LogicalPlan::Values(node) => self.dependent_values(node, domain),
            LogicalPlan::Join(node) => self.dependent_join(node, domain, ours),
            LogicalPlan::Unnest(node) => {
                let (input, columns) =
                    self.dependent(Arc::unwrap_or_clone(node.input), domain, ours)?;
                let plan = LogicalPlanBuilder::new(input)
                    .unnest_columns_with_options(node.exec_columns, node.options)
                    .and_then(|b| b.build())
                    .map_err(sql_error)?;
                Ok((plan, columns))
            }
            LogicalPlan::Extension(_) => self.dependent_extension(plan, domain, ours),
            LogicalPlan::RecursiveQuery(node) => self.dependent_recursion(node, domain, ours),
            LogicalPlan::TableScan(scan) => self.dependent_work_table(&scan, domain),
            LogicalPlan::Distinct(Distinct::On(_)) => {
                Err(SqlError::not_supported("DISTINCT ON that refers to an outer query"))
            }
            other => Err(SqlError::not_supported(format!(
                "reference to an outer query in {}",
                other.display()
            ))),
        }
    }

    /// Copies of shared rows stay copies: they become those of the input for every binding.
    fn dependent_extension(
        &mut self,
        plan: LogicalPlan,
        domain: &Domain,
        ours: &HashSet<Column>,
    ) -> Result<Dependent, SqlError> {
        let Some(node) = as_shared(&plan) else {
            let inputs: Vec<LogicalPlan> = plan.inputs().into_iter().cloned().collect();
            let Ok([input]) = <[LogicalPlan; 1]>::try_from(inputs) else {
                let what = format!("reference to an outer query in {}", plan.display());
                return Err(SqlError::not_supported(what));
            };
            let (input, columns) = self.dependent(input, domain, ours)?;
            let exprs = plan.expressions().into_iter().map(|e| domain.bind(e, &columns));
            let exprs = exprs.collect::<Result<Vec<_>, _>>()?;
            let plan = plan.with_new_exprs(exprs, vec![input]).map_err(sql_error)?;
            return Ok((plan, columns));
        };
        let known = domain.shared.borrow().get(&node.number).cloned();
        let (dependent, columns) = match known {
            Some(known) => known,
            None => {
                let (input, columns) = self.dependent(node.input().clone(), domain, ours)?;
                let known = (shared(input), columns);
                domain.shared.borrow_mut().insert(node.number, known.clone());
                known
            }
        };
        // Each copy has names of its own for the binding.
        let mut exprs: Vec<_> = plan.schema().columns().into_iter().map(Expr::Column).collect();
        let mut renamed = Vec::with_capacity(columns.len());
        for (column, outer) in columns.into_iter().zip(&domain.outer) {
            let name = self.fresh_name(&format!("__{}", outer.name));
            exprs.push(Expr::Column(column).alias(&name));
            renamed.push(Column::from_name(name));
        }
        let plan = Projection::try_new(exprs, Arc::new(dependent)).map_err(sql_error)?;
        Ok((LogicalPlan::Projection(plan), renamed))
    }

    fn dependent_projection(
        &mut self,
        exprs: Vec<Expr>,
        names: Vec<Column>,
        input: LogicalPlan,
        domain: &Domain,
        ours: &HashSet<Column>,
    ) -> Result<Dependent, SqlError> {
        let (input, columns) = self.dependent(input, domain, ours)?;
        let mut shown = Vec::with_capacity(exprs.len() + columns.len());
        for (expr, name) in exprs.into_iter().zip(&names) {
            shown.push(named_as(domain.bind(expr, &columns)?, name));
        }
        shown.extend(columns.iter().cloned().map(Expr::Column));
        let plan = Projection::try_new(shown, Arc::new(input)).map_err(sql_error)?;
        Ok((LogicalPlan::Projection(plan), columns))
    }

    fn dependent_aggregate(
        &mut self,
        node: Aggregate,
        domain: &Domain,
        ours: &HashSet<Column>,
    ) -> Result<Dependent, SqlError> {
        let names = node.schema.columns();
        let nothing = values_of_nothing(&node)?;
        let (input, inner) = self.dependent(Arc::unwrap_or_clone(node.input), domain, ours)?;
        let (mut by, of) = names.split_at(names.len() - node.aggr_expr.len());
        let bindings = || inner.iter().cloned().map(Expr::Column);
        let (groups, whole) = match <[Expr; 1]>::try_from(node.group_expr) {
            Ok([Expr::GroupingSet(sets)]) => {
                // The last column tells the sets apart.
                by = &by[..by.len().saturating_sub(1)];
                let (sets, whole) = sets_per_binding(sets, &node.aggr_expr, bindings)?;
                (vec![sets], whole)
            }
            Ok([group]) => {
                let group = named_as(domain.bind(group, &inner)?, &by[0]);
                (std::iter::once(group).chain(bindings()).collect(), false)
            }
            Err(exprs) => {
                let mut groups = Vec::with_capacity(by.len() + inner.len());
                for (group, name) in exprs.into_iter().zip(by) {
                    groups.push(named_as(domain.bind(group, &inner)?, name));
                }
                let whole = groups.is_empty();
                groups.extend(bindings());
                (groups, whole)
            }
        };
        let mut results = Vec::with_capacity(of.len() + 1);
        for (result, name) in node.aggr_expr.into_iter().zip(of) {
            results.push(named_as(domain.bind(result, &inner)?, name));
        }
        let found = self.fresh_name("__found");
        if whole {
            results.push(count_udaf().call(vec![lit(1_i64)]).alias(&found));
        }
        let plan = Aggregate::try_new(Arc::new(input), groups, results).map_err(sql_error)?;
        let plan = LogicalPlan::Aggregate(plan);
        if !whole {
            return Ok((plan, inner));
        }
        // Bindings without rows have a result, too.
        let (instance, columns) = domain.instance(self)?;
        let mut keys = Vec::new();
        for (left, right) in columns.iter().zip(&inner) {
            same(left, instance.schema(), right, plan.schema(), &mut keys)?;
        }
        let on = conjunction(keys.into_iter().map(|(l, r)| equal(l, r)));
        let plan = join_plans(instance, plan, JoinType::Left, on)?;
        let found = Expr::Column(Column::from_name(found));
        let mut shown: Vec<_> = by.iter().cloned().map(Expr::Column).collect();
        for name in of {
            let value = Expr::Column(name.clone());
            shown.push(match nothing.get(name) {
                Some(Expr::Literal(nothing, _)) if !nothing.is_null() => {
                    let nothing = Expr::Literal(nothing.clone(), None);
                    named_as(when_found(&found, value, nothing)?, name)
                }
                _ => value,
            });
        }
        shown.extend(columns.iter().cloned().map(Expr::Column));
        let plan = Projection::try_new(shown, Arc::new(plan)).map_err(sql_error)?;
        Ok((LogicalPlan::Projection(plan), columns))
    }

    fn dependent_union(
        &mut self,
        node: Union,
        domain: &Domain,
        ours: &HashSet<Column>,
    ) -> Result<Dependent, SqlError> {
        let names: Vec<_> =
            domain.outer.iter().map(|c| self.fresh_name(&format!("__{}", c.name))).collect();
        let shown = node.schema.columns();
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for input in node.inputs {
            let own = input.schema().columns();
            let (input, columns) = self.dependent(Arc::unwrap_or_clone(input), domain, ours)?;
            let mut exprs = Vec::with_capacity(own.len() + names.len());
            for (column, name) in own.into_iter().zip(&shown) {
                exprs.push(named_as(Expr::Column(column), name));
            }
            for (column, name) in columns.into_iter().zip(&names) {
                exprs.push(Expr::Column(column).alias(name));
            }
            let input = Projection::try_new(exprs, Arc::new(input)).map_err(sql_error)?;
            inputs.push(Arc::new(LogicalPlan::Projection(input)));
        }
        let union = Union::try_new_with_loose_types(inputs).map_err(sql_error)?;
        Ok((LogicalPlan::Union(union), names.into_iter().map(Column::from_name).collect()))
    }

    fn dependent_values(&mut self, node: Values, domain: &Domain) -> Result<Dependent, SqlError> {
        let names = node.schema.columns();
        let outer: Vec<_> =
            domain.outer.iter().map(|c| self.fresh_name(&format!("__{}", c.name))).collect();
        let mut rows = Vec::with_capacity(node.values.len());
        for row in node.values {
            let (instance, columns) = domain.instance(self)?;
            let mut exprs = Vec::with_capacity(row.len() + outer.len());
            for (expr, name) in row.into_iter().zip(&names) {
                exprs.push(named_as(domain.bind(expr, &columns)?, name));
            }
            for (column, name) in columns.into_iter().zip(&outer) {
                exprs.push(Expr::Column(column).alias(name));
            }
            let row = Projection::try_new(exprs, Arc::new(instance)).map_err(sql_error)?;
            rows.push(Arc::new(LogicalPlan::Projection(row)));
        }
        let columns = outer.into_iter().map(Column::from_name).collect();
        if rows.len() == 1
            && let Some(row) = rows.pop()
        {
            return Ok((Arc::unwrap_or_clone(row), columns));
        }
        let union = Union::try_new_with_loose_types(rows).map_err(sql_error)?;
        Ok((LogicalPlan::Union(union), columns))
    }

    fn dependent_join(
        &mut self,
        join: Join,
        domain: &Domain,
        ours: &HashSet<Column>,
    ) -> Result<Dependent, SqlError> {
        let left_refers = self.depends(&join.left, ours)?;
        let right_refers = self.depends(&join.right, ours)?;
        let on_refers = join.filter.as_ref().is_some_and(|f| refers(f, ours))
            || join.on.iter().any(|(l, r)| refers(l, ours) || refers(r, ours));
        let sides = match join.join_type {
            JoinType::Inner if right_refers && !left_refers && !on_refers => (false, true),
            JoinType::Inner
            | JoinType::Left
            | JoinType::LeftSemi
            | JoinType::LeftAnti
            | JoinType::LeftMark => (true, right_refers),
            JoinType::Right => (left_refers, true),
            JoinType::Full => (true, true),
            other => {
                let what = format!("reference to an outer query in a {other} join");
                return Err(SqlError::not_supported(what));
            }
        };
        let own = join.schema.columns();
        let (mut left, mut right) = (join.left.as_ref().clone(), join.right.as_ref().clone());
        let (mut left_columns, mut right_columns) = (None, None);
        if sides.0 {
            let (plan, columns) = self.dependent(left, domain, ours)?;
            (left, left_columns) = (plan, Some(columns));
        }
        if sides.1 {
            let (plan, columns) = self.dependent(right, domain, ours)?;
            (right, right_columns) = (plan, Some(columns));
        }
        let columns = match (join.join_type, &left_columns, &right_columns) {
            (JoinType::Right, _, Some(columns))
            | (_, Some(columns), _)
            | (_, None, Some(columns)) => columns.clone(),
            (_, None, None) => return Err(SqlError::internal("a join without correlation")),
        };
        let mut on = Vec::with_capacity(join.on.len() + columns.len());
        for (l, r) in join.on {
            on.push((domain.bind(l, &columns)?, domain.bind(r, &columns)?));
        }
        if let (Some(l), Some(r)) = (&left_columns, &right_columns) {
            for (l, r) in l.iter().zip(r) {
                same(l, left.schema(), r, right.schema(), &mut on)?;
            }
        }
        let condition = join.filter.map(|f| domain.bind(f, &columns)).transpose()?;
        let plan = Join::try_new(
            Arc::new(left),
            Arc::new(right),
            on,
            condition,
            join.join_type,
            join.join_constraint,
            join.null_equality,
            join.null_aware,
        )
        .map_err(sql_error)?;
        let plan = LogicalPlan::Join(plan);
        let (JoinType::Full, Some(l), Some(r)) = (join.join_type, left_columns, right_columns)
        else {
            return Ok((plan, columns));
        };
        // Rows without a partner have their binding on one side only.
        let mut exprs: Vec<_> = own.into_iter().map(Expr::Column).collect();
        let mut columns = Vec::with_capacity(l.len());
        for ((l, r), outer) in l.into_iter().zip(r).zip(&domain.outer) {
            let name = self.fresh_name(&format!("__{}", outer.name));
            let either = first_not_null(vec![Expr::Column(l), Expr::Column(r)]);
            exprs.push(either.alias(&name));
            columns.push(Column::from_name(name));
        }
        let plan = Projection::try_new(exprs, Arc::new(plan)).map_err(sql_error)?;
        Ok((LogicalPlan::Projection(plan), columns))
    }
}

/// Grouping sets within each binding, and whether there is a row for no input.
fn sets_per_binding<B: Iterator<Item = Expr>>(
    sets: GroupingSet,
    aggregates: &[Expr],
    bindings: impl Fn() -> B,
) -> Result<(Expr, bool), SqlError> {
    let GroupingSet::GroupingSets(mut sets) = sets else {
        return Err(SqlError::internal("grouping sets that are not written out"));
    };
    let whole = sets.iter().filter(|set| set.is_empty()).count();
    let grouping = |e: &Expr| matches!(e.clone().unalias(), Expr::AggregateFunction(f) if f.func.name() == "grouping");
    // What stands for no input is one row, which does not know its set.
    if whole > 1 || (whole == 1 && aggregates.iter().any(grouping)) {
        let what =
            "grouping() or several empty grouping sets in a query that refers to an outer one";
        return Err(SqlError::not_supported(what));
    }
    for set in &mut sets {
        set.extend(bindings());
    }
    Ok((Expr::GroupingSet(GroupingSet::GroupingSets(sets)), whole == 1))
}

/// A plan with these columns and no others.
pub(super) fn exactly(
    plan: LogicalPlan,
    own: Vec<Column>,
    columns: &[Column],
) -> Result<LogicalPlan, SqlError> {
    let exprs = own.into_iter().chain(columns.iter().cloned()).map(Expr::Column).collect();
    let plan = Projection::try_new(exprs, Arc::new(plan)).map_err(sql_error)?;
    Ok(LogicalPlan::Projection(plan))
}

/// `value` of a row that an outer join found, else `otherwise`.
pub(super) fn when_found(found: &Expr, value: Expr, otherwise: Expr) -> Result<Expr, SqlError> {
    datafusion::logical_expr::when(Expr::IsNotNull(Box::new(found.clone())), value)
        .otherwise(otherwise)
        .map_err(sql_error)
}

/// An expression with columns replaced by what they are for no rows.
pub(super) fn of_nothing(value: &Column, empty: &HashMap<Column, Expr>) -> Result<Expr, SqlError> {
    empty.get(value).cloned().ok_or_else(|| {
        SqlError::internal(format!("no value of {value} for an aggregate of no rows"))
    })
}
