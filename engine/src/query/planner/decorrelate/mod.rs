//! Subqueries of expressions, and LATERAL, to joins.
//!
//! The binder leaves subqueries where they are written, with references to columns of queries
//! further out. Here they become joins with the input of the node whose expression they are in, so
//! that DataFusion sees none but uncorrelated scalar ones, which it computes once.
//!
//! | subquery | becomes |
//! |---|---|
//! | EXISTS, IN, ANY as a whole condition | semi join |
//! | their negation as a whole condition | anti joins |
//! | EXISTS elsewhere | a value: whether there was any row |
//! | ANY elsewhere | two of these: whether a comparison is true, whether one is NULL |
//! | a value | left join with the subquery's result for each outer row |
//!
//! The other side of the join comes from one of three ways, the first that is possible:
//! [conditions pulled up](pulled), [keys](keyed), [the outer bindings](dependent). The last is
//! always possible, and computes the outer side twice, or
//! [keeps its rows](crate::query::shared_rows) if they may be others the second time.
//!
//! A subquery that calls `random()` or the like gives each outer row its own result: rows are
//! [numbered](per_row) first, and the number is one of the outer columns that it depends on.
//!
//! Quantified comparisons come as [`Expr::InSubquery`] whose subquery shows the comparison and
//! whose left side holds its operands; see [`open_quantified`](Planner::open_quantified).

mod attach;
mod dependent;
mod few;
mod keyed;
mod outer;
mod outer_join;
mod per_row;
mod pulled;
mod recursion;
mod rows;

pub(super) use self::{dependent::is_repeatable, recursion::WorkTable};

use std::{collections::HashSet, sync::Arc};

use self::{
    dependent::are_few,
    outer::{among, as_outer, as_own, named_as, outer_columns, replace_outer},
    per_row::is_volatile,
};
use super::{
    Planner,
    bound::Bound,
    from::join_plans,
    operators::{binary, is_comparison},
    select::filter,
};
use crate::{
    error::SqlError,
    query::{
        errors::{external, sql_error},
        shared_rows::{in_one_place, shared},
    },
};
use datafusion::{
    common::{
        Column, JoinType,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    functions_aggregate::bool_and_or::bool_or_udaf,
    logical_expr::{
        Aggregate, BinaryExpr, Distinct, EmptyRelation, Expr, ExprSchemable, Filter, Limit,
        LogicalPlan, Operator, Projection, Union, Window,
        expr::{Exists, InSubquery},
        lit,
        logical_plan::{Join, JoinConstraint, Subquery},
        utils::{conjunction, split_conjunction_owned},
    },
    scalar::ScalarValue,
};

/// The relation that operands of quantified comparisons seem to come from.
const OPERANDS: &str = "__operands";

/// How names of the values of subqueries begin, of which there must not be more than one.
const SINGLE_VALUE: &str = "__value";

pub(super) fn subquery(plan: LogicalPlan) -> Subquery {
    Subquery { subquery: Arc::new(plan), outer_ref_columns: Vec::new(), spans: Default::default() }
}

fn exists(plan: LogicalPlan) -> Expr {
    Expr::Exists(Exists { subquery: subquery(plan), negated: false })
}

fn not(expr: Expr) -> Expr {
    Expr::Not(Box::new(expr))
}

fn is_null(expr: Expr) -> Expr {
    Expr::IsNull(Box::new(expr))
}

fn is_subquery(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_))
}

pub(super) fn has_subquery(expr: &Expr) -> bool {
    expr.exists(|e| Ok(is_subquery(e))).unwrap_or(true)
}

fn project(plan: LogicalPlan, exprs: Vec<Expr>) -> Result<LogicalPlan, SqlError> {
    let projection = Projection::try_new(exprs, Arc::new(plan)).map_err(sql_error)?;
    Ok(LogicalPlan::Projection(projection))
}

/// The plan with these columns only.
fn narrowed(plan: LogicalPlan, columns: &[Column]) -> Result<LogicalPlan, SqlError> {
    if plan.schema().fields().len() == columns.len() {
        return Ok(plan);
    }
    project(plan, columns.iter().cloned().map(Expr::Column).collect())
}

/// A join by keys and a condition.
fn joined(
    left: LogicalPlan,
    right: LogicalPlan,
    join_type: JoinType,
    keys: Vec<(Expr, Expr)>,
    condition: Option<Expr>,
    null_aware: bool,
) -> Result<LogicalPlan, SqlError> {
    let always = keys.is_empty() && condition.is_none() && join_type != JoinType::Inner;
    Join::try_new(
        Arc::new(left),
        Arc::new(right),
        keys,
        if always { Some(lit(true)) } else { condition },
        join_type,
        JoinConstraint::On,
        datafusion::common::NullEquality::NullEqualsNothing,
        null_aware,
    )
    .map(LogicalPlan::Join)
    .map_err(sql_error)
}

/// A quantified comparison taken apart: whether `condition` holds of any row of `rows`.
struct Quantified {
    rows: LogicalPlan,
    condition: Expr,
}

impl Quantified {
    /// The rows of which the condition holds.
    fn matches(&self) -> Result<LogicalPlan, SqlError> {
        filter(self.rows.clone(), self.condition.clone())
    }

    /// The outer and the inner side of a plain comparison.
    fn sides(&self) -> Option<(&Expr, Operator, &Expr)> {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = &self.condition else {
            return None;
        };
        let outer = |e: &Expr| e.column_refs().is_empty();
        let inner = |e: &Expr| !e.column_refs().is_empty() && !e.contains_outer();
        (is_comparison(*op) && outer(left) && inner(right)).then_some((
            left.as_ref(),
            *op,
            right.as_ref(),
        ))
    }

    /// Conditions one of which holds if the comparison with some row is NULL. As the query around
    /// writes them.
    fn unknown(&self, input: &LogicalPlan) -> Result<Vec<Expr>, SqlError> {
        let Some((left, _, right)) = self.sides() else {
            return Ok(vec![exists(filter(self.rows.clone(), is_null(self.condition.clone()))?)]);
        };
        let mut conditions = Vec::new();
        let ours = among(
            outer_columns(&filter(self.rows.clone(), self.condition.clone())?)?,
            input.schema(),
        );
        let left = as_own(left.clone(), &ours)?;
        if left.nullable(input.schema()).unwrap_or(true) {
            conditions.push(binary(is_null(left), Operator::And, exists(self.rows.clone())));
        }
        if right.nullable(self.rows.schema()).map_err(sql_error)? {
            conditions.push(exists(filter(self.rows.clone(), is_null(right.clone()))?));
        }
        Ok(conditions)
    }
}

impl Planner<'_> {
    /// Makes joins of all subqueries of a plan.
    pub(super) fn decorrelate(&mut self, plan: LogicalPlan) -> Result<LogicalPlan, SqlError> {
        let plan = if self.has_subqueries { self.flatten(plan)? } else { plan };
        let shared = self.shares || self.copies;
        if shared { in_one_place(plan).map_err(sql_error) } else { Ok(plan) }
    }

    /// Inner queries first: what they need of queries further out stays a reference until it is
    /// these queries' turn.
    fn flatten(&mut self, plan: LogicalPlan) -> Result<LogicalPlan, SqlError> {
        stacker::maybe_grow(128 * 1024, 4 * 1024 * 1024, || {
            let plan = plan
                .map_children(|child| self.flatten(child).map(Transformed::yes).map_err(external))
                .and_then(|plan| plan.data.recompute_schema())
                .map_err(sql_error)?;
            let mut found = false;
            plan.apply_expressions(|expr| {
                found |= has_subquery(expr);
                Ok(TreeNodeRecursion::Continue)
            })
            .map_err(sql_error)?;
            if found { self.flatten_node(plan) } else { Ok(plan) }
        })
    }

    /// A node whose inputs have no subqueries any more.
    fn flatten_node(&mut self, plan: LogicalPlan) -> Result<LogicalPlan, SqlError> {
        let columns = plan.schema().columns();
        match plan {
            LogicalPlan::Filter(node) => self.flatten_filter(node),
            LogicalPlan::Projection(node) => {
                let (input, exprs) =
                    self.attach_all(Arc::unwrap_or_clone(node.input), node.expr)?;
                let named = exprs.into_iter().zip(&columns).map(|(e, c)| named_as(e, c));
                project(input, named.collect())
            }
            LogicalPlan::Aggregate(node) => {
                let groups = node.group_expr.len();
                let exprs = node.group_expr.into_iter().chain(node.aggr_expr).collect();
                let (input, mut exprs) =
                    self.attach_all(Arc::unwrap_or_clone(node.input), exprs)?;
                let named = |(e, c): (Expr, &Column)| match e {
                    set @ Expr::GroupingSet(_) => set,
                    e => named_as(e, c),
                };
                let results = exprs.split_off(groups);
                let skipped = columns.len() - results.len();
                let groups = exprs.into_iter().zip(&columns).map(named).collect();
                let results = results.into_iter().zip(&columns[skipped..]).map(named).collect();
                let plan =
                    Aggregate::try_new(Arc::new(input), groups, results).map_err(sql_error)?;
                Ok(LogicalPlan::Aggregate(plan))
            }
            LogicalPlan::Window(node) => {
                let own = node.input.schema().fields().len();
                let (input, exprs) =
                    self.attach_all(Arc::unwrap_or_clone(node.input), node.window_expr)?;
                let named = exprs.into_iter().zip(&columns[own..]).map(|(e, c)| named_as(e, c));
                let plan = Window::try_new(named.collect(), Arc::new(input)).map_err(sql_error)?;
                narrowed(LogicalPlan::Window(plan), &columns)
            }
            LogicalPlan::Sort(mut node) => {
                let keys = node.expr.iter().map(|s| s.expr.clone()).collect();
                let (input, keys) = self.attach_all(Arc::unwrap_or_clone(node.input), keys)?;
                for (sort, key) in node.expr.iter_mut().zip(keys) {
                    sort.expr = key;
                }
                node.input = Arc::new(input);
                narrowed(LogicalPlan::Sort(node), &columns)
            }
            LogicalPlan::Join(join) => self.flatten_join(join),
            LogicalPlan::Values(node) => {
                let mut rows = Vec::with_capacity(node.values.len());
                for row in node.values {
                    let one = LogicalPlan::EmptyRelation(EmptyRelation {
                        produce_one_row: true,
                        schema: Arc::new(datafusion::common::DFSchema::empty()),
                    });
                    let (input, exprs) = self.attach_all(one, row)?;
                    let named = exprs.into_iter().zip(&columns).map(|(e, c)| named_as(e, c));
                    rows.push(Arc::new(project(input, named.collect())?));
                }
                if rows.len() == 1
                    && let Some(row) = rows.pop()
                {
                    return Ok(Arc::unwrap_or_clone(row));
                }
                Union::try_new_with_loose_types(rows).map(LogicalPlan::Union).map_err(sql_error)
            }
            other => Err(SqlError::not_supported(format!("a subquery in {}", other.display()))),
        }
    }

    fn flatten_filter(&mut self, node: Filter) -> Result<LogicalPlan, SqlError> {
        let columns = node.input.schema().columns();
        let (with, without): (Vec<_>, Vec<_>) =
            split_conjunction_owned(node.predicate).into_iter().partition(has_subquery);
        let mut plan = Arc::unwrap_or_clone(node.input);
        if let Some(condition) = conjunction(without) {
            plan = filter(plan, condition)?;
        }
        // Conditions that stay as they are go first, below the joins.
        let (stay, join): (Vec<_>, Vec<_>) = with.into_iter().partition(|c| {
            matches!(c, Expr::BinaryExpr(_))
                && !c
                    .exists(|e| Ok(is_subquery(e) && !matches!(e, Expr::ScalarSubquery(_))))
                    .unwrap_or(true)
        });
        for condition in stay.into_iter().chain(join) {
            plan = self.restrict(plan, condition)?;
        }
        narrowed(plan, &columns)
    }

    /// The rows of which a condition is true; they may have more columns after.
    fn restrict(&mut self, input: LogicalPlan, condition: Expr) -> Result<LogicalPlan, SqlError> {
        match condition {
            Expr::Exists(Exists { subquery, negated }) => {
                let plan = Arc::unwrap_or_clone(subquery.subquery);
                let join_type = if negated { JoinType::LeftAnti } else { JoinType::LeftSemi };
                self.restrict_exists(input, plan, join_type)
            }
            Expr::InSubquery(comparison) => {
                let (input, quantified) = self.open_quantified(input, comparison)?;
                let matches = quantified.matches()?;
                self.restrict_exists(input, matches, JoinType::LeftSemi)
            }
            Expr::Not(inner) => match *inner {
                Expr::Exists(Exists { subquery, negated }) => {
                    let exists = Expr::Exists(Exists { subquery, negated: !negated });
                    self.restrict(input, exists)
                }
                Expr::InSubquery(comparison) => self.restrict_not_any(input, comparison),
                Expr::Not(inner) => self.restrict(input, *inner),
                other => {
                    let (input, other) = self.attach_one(input, other)?;
                    filter(input, not(other))
                }
            },
            other => {
                let (input, other) = self.attach_one(input, other)?;
                filter(input, other)
            }
        }
    }

    fn restrict_exists(
        &mut self,
        input: LogicalPlan,
        plan: LogicalPlan,
        join_type: JoinType,
    ) -> Result<LogicalPlan, SqlError> {
        let plan = self.flatten(plan)?;
        let Some(plan) = rows_that_matter(plan) else {
            // There is always a row.
            let keep = join_type == JoinType::LeftSemi;
            return if keep { Ok(input) } else { filter(input, lit(false)) };
        };
        let outer = outer_columns(&plan)?;
        if outer.is_empty() {
            let any = self.any_row(plan)?;
            let condition = if join_type == JoinType::LeftSemi { any } else { not(any) };
            return filter(input, condition);
        }
        let ours = among(outer, input.schema());
        if let Some((input, ours)) = self.row_by_row(&plan, &input, &ours)? {
            let (input, right, keys) = self.for_bindings(plan, input, &ours)?;
            return joined(input, right, join_type, keys, None, false);
        }
        if let Some((right, conditions)) = self.pull_up(plan.clone(), &ours)? {
            let conditions = conditions.into_iter().map(|c| as_own(c, &ours));
            let conditions = conditions.collect::<Result<Vec<_>, _>>()?;
            return joined(input, right, join_type, Vec::new(), conjunction(conditions), false);
        }
        let (input, right, keys) = self.for_bindings(plan, input, &ours)?;
        joined(input, right, join_type, keys, None, false)
    }

    /// NOT (… = ANY …): no comparison is true, and none is NULL.
    fn restrict_not_any(
        &mut self,
        input: LogicalPlan,
        comparison: InSubquery,
    ) -> Result<LogicalPlan, SqlError> {
        let (mut input, quantified) = self.open_quantified(input, comparison)?;
        let unknown = quantified.unknown(&input)?;
        if !unknown.is_empty()
            && let Some((left, Operator::Eq, right)) = quantified.sides()
            && outer_columns(&quantified.rows)?.is_empty()
        {
            let ours = among(outer_columns(&quantified.matches()?)?, input.schema());
            let left = as_own(left.clone(), &ours)?;
            if !left.column_refs().is_empty() && !left.contains_outer() {
                let keys = vec![(left, right.clone())];
                let rows = quantified.rows.clone();
                return joined(input, rows, JoinType::LeftAnti, keys, None, true);
            }
        }
        input = self.restrict_exists(input, quantified.matches()?, JoinType::LeftAnti)?;
        for condition in unknown {
            input = self.restrict(input, not(condition))?;
        }
        Ok(input)
    }

    /// An uncorrelated EXISTS.
    fn any_row(&mut self, plan: LogicalPlan) -> Result<Expr, SqlError> {
        let first = Limit { skip: None, fetch: Some(Box::new(lit(1_i64))), input: Arc::new(plan) };
        let any = bool_or_udaf().call(vec![lit(true)]).alias(self.fresh_name("__exists"));
        let plan = Aggregate::try_new(Arc::new(LogicalPlan::Limit(first)), vec![], vec![any]);
        let plan = LogicalPlan::Aggregate(plan.map_err(sql_error)?);
        Ok(Expr::IsTrue(Box::new(Expr::ScalarSubquery(subquery(plan)))))
    }

    /// A quantified comparison with its operands put in.
    fn open_quantified(
        &mut self,
        input: LogicalPlan,
        comparison: InSubquery,
    ) -> Result<(LogicalPlan, Quantified), SqlError> {
        let Expr::ScalarFunction(operands) = *comparison.expr else {
            return Err(SqlError::internal("IN without operands"));
        };
        let (mut input, mut operands) = self.attach_all(input, operands.args)?;
        if operands.iter().any(Expr::is_volatile) {
            let mut exprs: Vec<_> =
                input.schema().columns().into_iter().map(Expr::Column).collect();
            for operand in &mut operands {
                let name = self.fresh_name("__operand");
                exprs.push(operand.clone().alias(&name));
                *operand = Expr::Column(Column::from_name(name));
            }
            input = project(input, exprs)?;
        }
        let mut values = Vec::with_capacity(operands.len());
        for operand in operands {
            values.push(as_outer(operand, input.schema())?);
        }
        let plan = self.flatten(Arc::unwrap_or_clone(comparison.subquery.subquery))?;
        let LogicalPlan::Projection(mut projection) = plan else {
            return Err(SqlError::internal("IN without a comparison"));
        };
        let condition = projection.expr.pop().map(Expr::unalias);
        let condition = condition.ok_or_else(|| SqlError::internal("IN without a comparison"))?;
        let condition = replace_outer(condition, &|column| operand(column, &values))?;
        let mut rows = Arc::unwrap_or_clone(projection.input);
        // Every outer row compares with the same rows, and more than once maybe.
        if is_volatile(&rows)? && outer_columns(&rows)?.is_empty() {
            self.copies = true;
            rows = shared(rows);
        }
        Ok((input, Quantified { rows, condition }))
    }

    /// A join whose condition has subqueries: they are computed beside the side they refer to.
    fn flatten_join(&mut self, join: Join) -> Result<LogicalPlan, SqlError> {
        let columns = join.schema.columns();
        let condition = join.filter.clone().unwrap_or(lit(true));
        let (left, right) = (join.left.as_ref().clone(), join.right.as_ref().clone());
        if join.join_type == JoinType::Inner && join.on.is_empty() {
            let plan = join_plans(left, right, JoinType::Inner, None)?;
            return self.flatten(filter(plan, condition)?);
        }
        if self.refers_to_both(&condition, &left, &right)? {
            return self.outer_join_on_both(join);
        }
        let (mut left, mut right) = (left, right);
        let mut conditions = Vec::new();
        for condition in split_conjunction_owned(condition) {
            let condition = condition.transform_down(|e| {
                if !is_subquery(&e) {
                    return Ok(Transformed::no(e));
                }
                let needs = self.needs(&e).map_err(external)?;
                let on_left = needs.iter().any(|c| left.schema().has_column(c));
                let to = if on_left { &mut left } else { &mut right };
                let (plan, value) = self.attach_one(std::mem::take(to), e).map_err(external)?;
                *to = plan;
                Ok(Transformed::new(value, true, TreeNodeRecursion::Jump))
            });
            conditions.push(condition.map_err(sql_error)?.data);
        }
        let plan =
            joined(left, right, join.join_type, join.on, conjunction(conditions), join.null_aware)?;
        narrowed(plan, &columns)
    }

    /// Whether a subquery in the condition of a join refers to both sides.
    fn refers_to_both(
        &mut self,
        condition: &Expr,
        left: &LogicalPlan,
        right: &LogicalPlan,
    ) -> Result<bool, SqlError> {
        let mut subqueries = Vec::new();
        condition
            .apply(|e| {
                if !is_subquery(e) {
                    return Ok(TreeNodeRecursion::Continue);
                }
                subqueries.push(e.clone());
                Ok(TreeNodeRecursion::Jump)
            })
            .map_err(sql_error)?;
        for subquery in subqueries {
            let needs = self.needs(&subquery)?;
            if needs.iter().any(|c| left.schema().has_column(c))
                && needs.iter().any(|c| right.schema().has_column(c))
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The columns that a subquery and its operands refer to.
    fn needs(&mut self, expr: &Expr) -> Result<HashSet<Column>, SqlError> {
        let (plan, operands) = match expr {
            Expr::ScalarSubquery(subquery) | Expr::Exists(Exists { subquery, .. }) => {
                (&subquery.subquery, HashSet::new())
            }
            Expr::InSubquery(comparison) => {
                let mut operands: HashSet<Column> =
                    comparison.expr.column_refs().into_iter().cloned().collect();
                let mut nested = Vec::new();
                comparison
                    .expr
                    .apply(|e| {
                        if !is_subquery(e) {
                            return Ok(TreeNodeRecursion::Continue);
                        }
                        nested.push(e.clone());
                        Ok(TreeNodeRecursion::Jump)
                    })
                    .map_err(sql_error)?;
                for nested in nested {
                    operands.extend(self.needs(&nested)?);
                }
                (&comparison.subquery.subquery, operands)
            }
            other => return Err(SqlError::internal(format!("{other} is no subquery"))),
        };
        let plan = self.flatten(plan.as_ref().clone())?;
        Ok(outer_columns(&plan)?.into_iter().chain(operands).collect())
    }

    /// `left JOIN LATERAL right`: `right` refers to columns of `left`.
    pub(super) fn lateral_join(
        &mut self,
        left: LogicalPlan,
        right: LogicalPlan,
        join_type: JoinType,
        on: Option<Expr>,
    ) -> Result<LogicalPlan, SqlError> {
        let columns: Vec<_> =
            left.schema().columns().into_iter().chain(right.schema().columns()).collect();
        // Both sides may still have subqueries, which go first.
        let left = self.flatten(left)?;
        let right = self.flatten(right)?;
        let ours = among(outer_columns(&right)?, left.schema());
        if ours.is_empty() {
            return join_plans(left, right, join_type, on);
        }
        let mut conditions: Vec<Expr> = on.into_iter().collect();
        let right = self.independent_once(right, &ours)?;
        if let Some((left, ours)) = self.row_by_row(&right, &left, &ours)? {
            let (left, right, keys) = self.for_bindings(right, left, &ours)?;
            conditions.extend(keys.into_iter().map(|(l, r)| binary(l, Operator::Eq, r)));
            let plan = join_plans(left, right, join_type, conjunction(conditions))?;
            return narrowed(plan, &columns);
        }
        let (left, right) = match self.pull_up(right.clone(), &ours)? {
            Some((right, pulled)) => {
                for condition in pulled {
                    conditions.push(as_own(condition, &ours)?);
                }
                (left, right)
            }
            None => {
                let keyed = match are_few(&left, &ours)? {
                    true => None,
                    false => self.keyed(right.clone(), &ours)?.filter(|k| k.empty.is_none()),
                };
                let (left, right, keys) = match keyed {
                    Some(keyed) => {
                        let mut keys = Vec::with_capacity(keyed.keys.len());
                        for (outer, column) in keyed.keys {
                            keys.push((as_own(outer, &ours)?, Expr::Column(column)));
                        }
                        (left, keyed.plan, keys)
                    }
                    None => self.for_bindings(right, left, &ours)?,
                };
                conditions.extend(keys.into_iter().map(|(l, r)| binary(l, Operator::Eq, r)));
                (left, right)
            }
        };
        let plan = join_plans(left, right, join_type, conjunction(conditions))?;
        narrowed(plan, &columns)
    }

    /// An operand of a quantified comparison, to be compared inside of its subquery. Constants stand
    /// for themselves there, so that the comparison can decide their type.
    pub(super) fn operand(&mut self, operand: &Bound, index: usize) -> Bound {
        if matches!(operand.expr, Expr::Literal(..) | Expr::Placeholder(_)) {
            return operand.clone();
        }
        let column = Column::new(Some(OPERANDS), index.to_string());
        let field = arrow::datatypes::Field::new(&column.name, operand.ty.arrow_type(), true);
        let expr = Expr::OuterReferenceColumn(Arc::new(field), column);
        Bound::new(expr, operand.ty.clone())
    }
}

fn operand(column: &Column, values: &[Expr]) -> Option<Expr> {
    let relation = column.relation.as_ref()?;
    if relation.table() != OPERANDS {
        return None;
    }
    values.get(column.name.parse::<usize>().ok()?).cloned()
}

/// A plan that has rows if and only if this one has; `None` if it always has.
fn rows_that_matter(plan: LogicalPlan) -> Option<LogicalPlan> {
    let one = |e: &Option<Box<Expr>>| {
        matches!(e.as_deref(), Some(Expr::Literal(ScalarValue::Int64(Some(1..)), _)))
    };
    match plan {
        LogicalPlan::Projection(node) => rows_that_matter(Arc::unwrap_or_clone(node.input)),
        LogicalPlan::SubqueryAlias(node) => rows_that_matter(Arc::unwrap_or_clone(node.input)),
        LogicalPlan::Sort(node) if node.fetch.is_none() => {
            rows_that_matter(Arc::unwrap_or_clone(node.input))
        }
        LogicalPlan::Window(node) => rows_that_matter(Arc::unwrap_or_clone(node.input)),
        LogicalPlan::Distinct(Distinct::All(input)) => {
            rows_that_matter(Arc::unwrap_or_clone(input))
        }
        LogicalPlan::Limit(node) if node.skip.is_none() && one(&node.fetch) => {
            rows_that_matter(Arc::unwrap_or_clone(node.input))
        }
        LogicalPlan::Aggregate(node) if node.group_expr.is_empty() => None,
        LogicalPlan::Aggregate(node)
            if !node.group_expr.iter().any(|e| matches!(e, Expr::GroupingSet(_))) =>
        {
            rows_that_matter(Arc::unwrap_or_clone(node.input))
        }
        LogicalPlan::EmptyRelation(node) if node.produce_one_row => None,
        other => Some(other),
    }
}
