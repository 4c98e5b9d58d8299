//! Results of subqueries beside the rows they are computed for.

use std::{collections::HashSet, sync::Arc};

use arrow::datatypes::DataType;
use datafusion::{
    common::{
        Column, JoinType,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    functions_aggregate::{
        bool_and_or::bool_or_udaf, count::count_udaf, first_last::first_value_udaf,
    },
    logical_expr::{
        Aggregate, Expr, LogicalPlan, Operator, expr::Exists, lit, simplify::SimplifyContext,
        utils::conjunction,
    },
    optimizer::simplify_expressions::ExprSimplifier,
    scalar::ScalarValue,
};

use super::{
    super::{Planner, operators::binary},
    SINGLE_VALUE,
    dependent::{Domain, are_few, of_nothing, when_found},
    exists, is_subquery, joined, keyed, narrowed, not,
    outer::{among, as_own, outer_columns},
    per_row::calls_volatile,
    project, rows_that_matter, subquery,
};
use crate::{
    error::SqlError,
    query::{
        errors::{external, sql_error},
        functions::subquery::single_row,
    },
};

/// An input, what is computed for its bindings, and the keys of a join of the two.
pub(super) type Bindings = (LogicalPlan, LogicalPlan, Vec<(Expr, Expr)>);

impl Planner<'_> {
    /// Expressions over an input without subqueries: over one with more columns.
    pub(super) fn attach_all(
        &mut self,
        input: LogicalPlan,
        exprs: Vec<Expr>,
    ) -> Result<(LogicalPlan, Vec<Expr>), SqlError> {
        let mut input = input;
        let mut attached = Vec::with_capacity(exprs.len());
        for expr in exprs {
            let (plan, expr) = self.attach_one(input, expr)?;
            input = plan;
            attached.push(expr);
        }
        Ok((input, attached))
    }

    pub(super) fn attach_one(
        &mut self,
        input: LogicalPlan,
        expr: Expr,
    ) -> Result<(LogicalPlan, Expr), SqlError> {
        let mut input = input;
        let before = self.attached.len();
        let expr = expr.transform_down(|e| {
            if !is_subquery(&e) {
                return Ok(Transformed::no(e));
            }
            // Some expressions hold an operand twice: its result is there then.
            let known = self.attached.iter().enumerate().find(|(_, (known, value))| {
                *known == e && value.column_refs().iter().all(|c| input.schema().has_column(c))
            });
            if let Some((place, (_, value))) = known
                && (place >= before || !calls_volatile(&e)?)
            {
                return Ok(Transformed::new(value.clone(), true, TreeNodeRecursion::Jump));
            }
            let below = std::mem::take(&mut input);
            let (plan, value) = self.attach(below, e.clone()).map_err(external)?;
            input = plan;
            self.attached.push((e, value.clone()));
            Ok(Transformed::new(value, true, TreeNodeRecursion::Jump))
        });
        Ok((input, expr.map_err(sql_error)?.data))
    }

    /// One subquery: the input with its result beside it, and that result.
    pub(super) fn attach(
        &mut self,
        input: LogicalPlan,
        expr: Expr,
    ) -> Result<(LogicalPlan, Expr), SqlError> {
        match expr {
            Expr::ScalarSubquery(subquery) => {
                let plan = self.flatten(Arc::unwrap_or_clone(subquery.subquery))?;
                self.attach_value(input, plan)
            }
            Expr::Exists(Exists { subquery, negated }) => {
                let plan = self.flatten(Arc::unwrap_or_clone(subquery.subquery))?;
                let (input, any) = self.attach_exists(input, plan)?;
                Ok((input, if negated { not(any) } else { any }))
            }
            Expr::InSubquery(comparison) => {
                let (input, quantified) = self.open_quantified(input, comparison)?;
                let mut value =
                    datafusion::logical_expr::when(exists(quantified.matches()?), lit(true));
                let unknown = quantified.unknown(&input)?;
                let unknown = unknown.into_iter().reduce(|a, b| binary(a, Operator::Or, b));
                if let Some(unknown) = unknown {
                    value = value.when(unknown, Expr::Literal(ScalarValue::Boolean(None), None));
                }
                let value = value.otherwise(lit(false)).map_err(sql_error)?;
                self.attach_one(input, value)
            }
            other => Err(SqlError::internal(format!("{other} is no subquery"))),
        }
    }

    fn attach_exists(
        &mut self,
        input: LogicalPlan,
        plan: LogicalPlan,
    ) -> Result<(LogicalPlan, Expr), SqlError> {
        let Some(plan) = rows_that_matter(plan) else {
            return Ok((input, lit(true)));
        };
        let outer = outer_columns(&plan)?;
        if outer.is_empty() {
            let any = self.any_row(plan)?;
            return Ok((input, any));
        }
        let any = bool_or_udaf().call(vec![lit(true)]).alias(self.fresh_name("__exists"));
        let plan = Aggregate::try_new(Arc::new(plan), vec![], vec![any]).map_err(sql_error)?;
        let (input, any) = self.attach_value(input, LogicalPlan::Aggregate(plan))?;
        Ok((input, Expr::IsTrue(Box::new(any))))
    }

    fn attach_value(
        &mut self,
        input: LogicalPlan,
        plan: LogicalPlan,
    ) -> Result<(LogicalPlan, Expr), SqlError> {
        let column = plan.schema().columns().into_iter().next();
        let column = column.ok_or_else(|| SqlError::internal("a value of no column"))?;
        let outer = outer_columns(&plan)?;
        let ty = plan.schema().field(0).data_type().clone();
        if outer.is_empty() && is_one_row(&plan) {
            let plan = narrowed(plan, std::slice::from_ref(&column))?;
            return Ok((input, Expr::ScalarSubquery(subquery(plan))));
        }
        // The first row and how many there are: too many is an error of the row that asks.
        let (plan, value, count) = if !outer.is_empty() && has_one_row(&plan) {
            (plan, column, None)
        } else {
            let (value, count) = (self.fresh_name(SINGLE_VALUE), self.fresh_name("__count"));
            let first = first_value_udaf().call(vec![Expr::Column(column)]).alias(&value);
            let rows = count_udaf().call(vec![lit(1_i64)]).alias(&count);
            let plan = Aggregate::try_new(Arc::new(plan), vec![], vec![first, rows]);
            let plan = LogicalPlan::Aggregate(plan.map_err(sql_error)?);
            (plan, Column::from_name(value), Some(Column::from_name(count)))
        };
        let ours = among(outer.clone(), input.schema());
        let mut ours = ours;
        let (mut input, mut each) = (input, false);
        if !ours.is_empty()
            && let Some((numbered, columns)) = self.row_by_row(&plan, &input, &ours)?
        {
            (input, ours, each) = (numbered, columns, true);
        }
        let few = each || (!outer.is_empty() && are_few(&input, &ours)?);
        let keyed = if few { None } else { self.keyed(plan.clone(), &ours)? };
        let (plan, value) = match keyed {
            // One row for all.
            Some(keyed) if outer.is_empty() => {
                let plan = joined(input, keyed.plan, JoinType::Inner, Vec::new(), None, false)?;
                (plan, Expr::Column(value))
            }
            Some(keyed) => self.attach_keyed(input, keyed, &ours, &value)?,
            None => {
                let (input, right, keys) = self.for_bindings(plan, input, &ours)?;
                let plan = joined(input, right, JoinType::Left, keys, None, false)?;
                (plan, Expr::Column(value))
            }
        };
        let is_row = matches!(ty, DataType::Struct(_));
        let value = match count {
            None => value,
            Some(count) => single_row(ty).call(vec![value, Expr::Column(count)]),
        };
        if !is_row {
            return Ok((plan, value));
        }
        // Each of its fields is looked at by itself.
        let name = self.fresh_name("__row");
        let mut exprs: Vec<_> = plan.schema().columns().into_iter().map(Expr::Column).collect();
        exprs.push(value.alias(&name));
        Ok((project(plan, exprs)?, Expr::Column(Column::from_name(name))))
    }

    fn attach_keyed(
        &mut self,
        input: LogicalPlan,
        mut keyed: keyed::Keyed,
        ours: &HashSet<Column>,
        value: &Column,
    ) -> Result<(LogicalPlan, Expr), SqlError> {
        let mut otherwise = None;
        if let Some(empty) = &keyed.empty {
            let nothing = as_own(of_nothing(value, empty)?, ours)?;
            otherwise = (!is_null_constant(&nothing)).then_some(nothing);
        }
        let found = self.fresh_name("__found");
        if otherwise.is_some() {
            let columns = keyed.plan.schema().columns();
            let mut exprs: Vec<_> = columns.into_iter().map(Expr::Column).collect();
            exprs.push(lit(true).alias(&found));
            keyed.plan = project(keyed.plan, exprs)?;
        }
        let mut keys = Vec::with_capacity(keyed.keys.len());
        let mut further = Vec::new();
        for (outer, column) in keyed.keys {
            let outer = as_own(outer, ours)?;
            // Keys of a join are over its inputs only.
            if outer.contains_outer() {
                further.push(binary(outer, Operator::Eq, Expr::Column(column)));
            } else {
                keys.push((outer, Expr::Column(column)));
            }
        }
        let further = conjunction(further);
        let plan = joined(input, keyed.plan, JoinType::Left, keys, further, false)?;
        let value = Expr::Column(value.clone());
        Ok(match otherwise {
            None => (plan, value),
            Some(nothing) => {
                let found = Expr::Column(Column::from_name(found));
                (plan, when_found(&found, value, nothing)?)
            }
        })
    }

    /// The input as it has to be read, the plan for every binding that the input has of outer
    /// columns, and the keys of a join of the two.
    pub(super) fn for_bindings(
        &mut self,
        plan: LogicalPlan,
        input: LogicalPlan,
        ours: &HashSet<Column>,
    ) -> Result<Bindings, SqlError> {
        if ours.is_empty() {
            return Ok((input, plan, Vec::new()));
        }
        let (input, domain) = Domain::new(self, input, ours)?;
        let (plan, columns) = self.dependent(plan, &domain, ours)?;
        let keys = domain.keys(input.schema(), &plan, &columns)?;
        Ok((input, plan, keys))
    }
}

/// Whether a plan always has one row.
fn is_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(node) => node.group_expr.is_empty(),
        LogicalPlan::Projection(node) => is_one_row(&node.input),
        LogicalPlan::SubqueryAlias(node) => is_one_row(&node.input),
        LogicalPlan::Sort(node) => is_one_row(&node.input),
        LogicalPlan::EmptyRelation(node) => node.produce_one_row,
        _ => false,
    }
}

/// Whether a plan cannot have more than one row for each binding of outer columns.
fn has_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(node) => node.group_expr.is_empty(),
        LogicalPlan::Projection(node) => has_one_row(&node.input),
        LogicalPlan::Filter(node) => has_one_row(&node.input),
        LogicalPlan::SubqueryAlias(node) => has_one_row(&node.input),
        LogicalPlan::Sort(node) => has_one_row(&node.input),
        LogicalPlan::EmptyRelation(_) => true,
        LogicalPlan::Limit(node) => {
            matches!(node.fetch.as_deref(), Some(Expr::Literal(ScalarValue::Int64(Some(0 | 1)), _)))
        }
        // Joins that subqueries became keep the rows of their left side.
        LogicalPlan::Join(node) => {
            matches!(node.join_type, JoinType::LeftSemi | JoinType::LeftAnti)
                && has_one_row(&node.left)
        }
        _ => false,
    }
}

/// Whether an expression over constants is NULL.
fn is_null_constant(expr: &Expr) -> bool {
    if !expr.column_refs().is_empty() || expr.contains_outer() {
        return false;
    }
    let simplifier = ExprSimplifier::new(SimplifyContext::default());
    match simplifier.simplify(expr.clone()) {
        Ok(Expr::Literal(value, _)) => value.is_null(),
        _ => false,
    }
}
