//! Which operands are evaluated for which rows.
//!
//! PostgreSQL evaluates AND, OR and CASE from left to right and stops when the result is certain;
//! statements rely on it: `b <> 0 AND a / b > 1`. DataFusion evaluates both sides for whole
//! batches, reorders conjuncts, and makes AND and OR of a CASE over truth values. So wherever an
//! operand can fail, what stands before it is put around it as a CASE over small numbers
//! ([`digit`]), which DataFusion evaluates branch by branch for the rows that get there. Operands
//! that cannot fail stay plain, so that scans and joins see them.

use std::collections::BTreeSet;

use datafusion::{
    common::{
        Column, DFSchema, TableReference,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    error::Result,
    logical_expr::{
        BinaryExpr, Case, Expr, ExprSchemable, LogicalPlan, Operator,
        utils::{conjunction, split_conjunction_owned},
    },
    scalar::ScalarValue,
};

use super::operators::binary;
use crate::{
    error::SqlError,
    query::{
        errors::sql_error,
        functions::{digit, scalar},
    },
};

/// AND and OR in values show NULL, so that their operands are looked at twice; nested deeper than
/// this, they are left to DataFusion.
const VALUE_DEPTH_MAX: usize = 6;

/// The plan with guards around the operands that can fail.
pub(super) fn guard(plan: LogicalPlan) -> std::result::Result<LogicalPlan, SqlError> {
    let mut needed = false;
    let visited = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            needed |= ordered(expr);
            Ok(if needed { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    });
    visited.map_err(sql_error)?;
    if !needed {
        return Ok(plan);
    }
    plan.transform_up_with_subqueries(guard_node).map(|guarded| guarded.data).map_err(sql_error)
}

/// One condition with its guards; its columns are `schema`'s.
pub(super) fn guard_condition(
    condition: Expr,
    schema: &DFSchema,
) -> std::result::Result<Expr, SqlError> {
    Guard { schema, depth: 0 }.conjuncts(condition).map_err(sql_error)
}

fn guard_node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let mut schema = DFSchema::empty();
    for input in plan.inputs() {
        schema.merge(input.schema());
    }
    let mut guard = Guard { schema: &schema, depth: 0 };
    match plan {
        LogicalPlan::Filter(mut filter) if can_fail(&filter.predicate) => {
            filter.predicate = guard.conjuncts(filter.predicate)?;
            Ok(Transformed::yes(LogicalPlan::Filter(filter)))
        }
        LogicalPlan::Join(mut join) if join.filter.as_ref().is_some_and(can_fail) => {
            join.filter = join.filter.map(|filter| guard.conjuncts(filter)).transpose()?;
            Ok(Transformed::yes(LogicalPlan::Join(join)))
        }
        // Windows are known above by the text of their expressions.
        LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) | LogicalPlan::Sort(_) => {
            let guarded = plan.map_expressions(|expr| {
                if !ordered(&expr) {
                    return Ok(Transformed::no(expr));
                }
                guard.value(expr).map(Transformed::yes)
            })?;
            if guarded.transformed {
                return guarded.data.recompute_schema().map(Transformed::yes);
            }
            Ok(guarded)
        }
        other => Ok(Transformed::no(other)),
    }
}

/// Whether an expression has operands that can fail behind others.
fn ordered(expr: &Expr) -> bool {
    let chooses = |e: &Expr| match e {
        Expr::BinaryExpr(b) => matches!(b.op, Operator::And | Operator::Or),
        Expr::Case(_) => true,
        Expr::AggregateFunction(call) => call.params.filter.is_some(),
        _ => false,
    };
    expr.exists(|e| Ok(chooses(e) && parts_can_fail(e))).unwrap_or(false)
}

fn parts_can_fail(expr: &Expr) -> bool {
    match expr {
        Expr::AggregateFunction(call) => {
            call.params.args.iter().chain(call.params.filter.as_deref()).any(can_fail)
        }
        other => can_fail(other),
    }
}

/// Whether evaluating an expression over some row can raise an error. What is computed below, as
/// aggregates and subqueries are, cannot.
pub(crate) fn can_fail(expr: &Expr) -> bool {
    calls_fallible(expr, &|_| true)
}

/// Whether it depends on the row, or on what an operand before says of it, if evaluating an expression
/// raises an error. `$1 + 99` fails for all rows or for none, which PostgreSQL finds out before it
/// looks at any: a condition like `key < $1 + 99` stays as it is, for scans to see.
fn fails_for_a_row(expr: &Expr) -> bool {
    ordered(expr) || calls_fallible(expr, &|call| !is_constant(call))
}

/// Whether an expression has a call, one of those that `counts`, that may raise an error.
fn calls_fallible(expr: &Expr, counts: &dyn Fn(&Expr) -> bool) -> bool {
    let mut fails = false;
    let visited = expr.apply(|e| {
        fails |=
            matches!(e, Expr::ScalarFunction(call) if scalar::can_fail(&call.func) && counts(e));
        Ok(match e {
            _ if fails => TreeNodeRecursion::Stop,
            Expr::AggregateFunction(_) | Expr::WindowFunction(_) => TreeNodeRecursion::Jump,
            _ => TreeNodeRecursion::Continue,
        })
    });
    visited.is_err() || fails
}

/// Whether an expression has one value for a whole statement.
fn is_constant(expr: &Expr) -> bool {
    let of_a_row = |e: &Expr| {
        Ok(matches!(e, Expr::Column(_) | Expr::OuterReferenceColumn(..)) || e.is_volatile_node())
    };
    !expr.exists(of_a_row).unwrap_or(true)
}

/// Whether the optimizer makes a join of a part of the expression.
fn has_subquery(expr: &Expr) -> bool {
    let subquery = |e: &Expr| {
        Ok(matches!(
            e,
            Expr::Exists(_)
                | Expr::InSubquery(_)
                | Expr::ScalarSubquery(_)
                | Expr::SetComparison(_)
                | Expr::Unnest(_)
        ))
    };
    expr.exists(subquery).unwrap_or(true)
}

/// The tables a conjunct is about.
fn relations(expr: &Expr) -> BTreeSet<Option<TableReference>> {
    expr.column_refs().into_iter().map(|column: &Column| column.relation.clone()).collect()
}

/// `a.x = b.y`: a join evaluates it before its other conditions.
fn joins(expr: &Expr) -> bool {
    matches!(expr, Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right })
        if matches!((left.as_ref(), right.as_ref()),
            (Expr::Column(l), Expr::Column(r)) if l.relation != r.relation))
}

/// Conjuncts about the same tables, in order, of which the last ones can fail.
struct Group {
    relations: BTreeSet<Option<TableReference>>,
    conjuncts: Vec<Expr>,
    guarded: bool,
}

struct Guard<'s> {
    schema: &'s DFSchema,
    /// AND and OR in values around.
    depth: usize,
}

impl Guard<'_> {
    /// A condition that filters rows: what cannot fail stays as it is; what can is evaluated after
    /// those before it that are about the same tables.
    fn conjuncts(&mut self, condition: Expr) -> Result<Expr> {
        let mut plain: Vec<Expr> = Vec::new();
        let mut groups: Vec<Group> = Vec::new();
        for conjunct in split_conjunction_owned(condition) {
            if has_subquery(&conjunct) || conjunct.is_volatile() {
                plain.push(conjunct);
                continue;
            }
            if !fails_for_a_row(&conjunct) {
                let about = relations(&conjunct);
                if !joins(&conjunct) {
                    let open = groups.iter_mut().filter(|g| about.is_subset(&g.relations));
                    open.for_each(|group| group.conjuncts.push(conjunct.clone()));
                }
                plain.push(conjunct);
                continue;
            }
            let about = relations(&conjunct);
            let conjunct = self.condition(conjunct)?;
            if let Some(group) = groups.iter_mut().find(|group| group.relations == about) {
                group.conjuncts.push(conjunct);
                group.guarded = true;
                continue;
            }
            let before = |e: &&Expr| {
                !has_subquery(e) && !e.is_volatile() && !joins(e) && relations(e).is_subset(&about)
            };
            let mut conjuncts: Vec<Expr> = plain.iter().filter(before).cloned().collect();
            let guarded = !conjuncts.is_empty();
            conjuncts.push(conjunct);
            groups.push(Group { relations: about, conjuncts, guarded });
        }
        for mut group in groups {
            // What follows the last one that can fail guards nothing.
            while group.conjuncts.len() > 1 && !group.conjuncts.last().is_some_and(can_fail) {
                group.conjuncts.pop();
            }
            plain.push(if group.guarded {
                all(group.conjuncts)
            } else {
                conjunction(group.conjuncts).unwrap_or_else(|| truth_of(true))
            });
        }
        Ok(conjunction(plain).unwrap_or_else(|| truth_of(true)))
    }

    /// An expression of which only matters whether it is true.
    fn condition(&mut self, expr: Expr) -> Result<Expr> {
        if !can_fail(&expr) || has_subquery(&expr) {
            return Ok(expr);
        }
        match expr {
            Expr::BinaryExpr(BinaryExpr { op: op @ (Operator::And | Operator::Or), .. }) => {
                let operands = split(expr, op);
                let operands = operands.into_iter().map(|operand| self.condition(operand));
                let operands = operands.collect::<Result<Vec<_>>>()?;
                Ok(if op == Operator::And { all(operands) } else { any(operands) })
            }
            Expr::Not(inner) => match *inner {
                Expr::BinaryExpr(BinaryExpr {
                    op: op @ (Operator::And | Operator::Or), ..
                }) => {
                    let operands = split(*inner, op).into_iter();
                    let operands = operands.map(|e| self.condition(Expr::Not(Box::new(e))));
                    let operands = operands.collect::<Result<Vec<_>>>()?;
                    Ok(if op == Operator::And { any(operands) } else { all(operands) })
                }
                Expr::Not(inner) => self.condition(*inner),
                inner => self.value(inner).map(|inner| Expr::Not(Box::new(inner))),
            },
            other => self.value(other),
        }
    }

    /// An expression of which NULL shows.
    fn value(&mut self, expr: Expr) -> Result<Expr> {
        if !ordered(&expr) {
            return Ok(expr);
        }
        match expr {
            Expr::BinaryExpr(BinaryExpr { op: op @ (Operator::And | Operator::Or), .. }) => {
                self.connective(expr, op)
            }
            Expr::IsTrue(inner) => Ok(Expr::IsTrue(Box::new(self.condition(*inner)?))),
            Expr::IsNotTrue(inner) => Ok(Expr::IsNotTrue(Box::new(self.condition(*inner)?))),
            Expr::Case(case) => self.case(case),
            Expr::AggregateFunction(mut call) => {
                let Some(filter) = call.params.filter.take() else {
                    return self.children(Expr::AggregateFunction(call));
                };
                let filter = self.condition(*filter)?;
                for arg in &mut call.params.args {
                    if can_fail(arg) {
                        // Only rows that pass are the aggregate's.
                        let inner = self.value(arg.clone())?;
                        let pair = (Box::new(filter.clone()), Box::new(inner));
                        *arg = self.case(Case::new(None, vec![pair], None))?;
                    }
                }
                call.params.filter = Some(Box::new(filter));
                Ok(Expr::AggregateFunction(call))
            }
            other => self.children(other),
        }
    }

    fn children(&mut self, expr: Expr) -> Result<Expr> {
        expr.map_children(|child| self.value(child).map(Transformed::yes)).map(|t| t.data)
    }

    /// AND or OR with three outcomes: operands are evaluated until one decides.
    fn connective(&mut self, expr: Expr, op: Operator) -> Result<Expr> {
        let operands = split(expr, op);
        let late = operands.iter().skip(1).any(can_fail);
        if !late || operands.iter().any(has_subquery) || self.depth >= VALUE_DEPTH_MAX {
            return Ok(operands
                .into_iter()
                .reduce(|l, r| binary(l, op, r))
                .unwrap_or_else(|| truth_of(op == Operator::And)));
        }
        self.depth += 1;
        let operands = operands.into_iter().map(|operand| self.value(operand));
        let operands = operands.collect::<Result<Vec<_>>>();
        self.depth -= 1;
        let operands = operands?;
        let (decides, decided): (fn(Box<Expr>) -> Expr, i8) =
            if op == Operator::And { (Expr::IsFalse, 0) } else { (Expr::IsTrue, 1) };
        let pairs = operands[..operands.len() - 1]
            .iter()
            .map(|e| (Box::new(decides(Box::new(e.clone()))), Box::new(digit_literal(decided))));
        let pairs = pairs.collect();
        let rest = operands.into_iter().reduce(|l, r| binary(l, op, r));
        let rest = rest.map(|rest| Box::new(as_digit(rest)));
        Ok(as_truth(Expr::Case(Case::new(None, pairs, rest))))
    }

    fn case(&mut self, case: Case) -> Result<Expr> {
        let Case { expr, when_then_expr, else_expr } = case;
        let expr = expr.map(|e| self.value(*e)).transpose()?.map(Box::new);
        let simple = expr.is_none();
        let mut pairs = Vec::with_capacity(when_then_expr.len());
        for (when, then) in when_then_expr {
            let when = if simple { self.condition(*when)? } else { self.value(*when)? };
            pairs.push((when, self.value(*then)?));
        }
        let mut otherwise = else_expr.map(|e| self.value(*e)).transpose()?;
        let types = pairs.iter().map(|(_, then)| then).chain(&otherwise);
        let boolean = types
            .map(|e| e.get_type(self.schema))
            .collect::<Result<Vec<_>>>()?
            .contains(&arrow::datatypes::DataType::Boolean);
        if boolean {
            for (_, then) in &mut pairs {
                *then = as_digit(std::mem::take(then));
            }
            otherwise = otherwise.map(as_digit);
        }
        let pairs = pairs.into_iter().map(|(w, t)| (Box::new(w), Box::new(t))).collect();
        let case =
            Expr::Case(Case { expr, when_then_expr: pairs, else_expr: otherwise.map(Box::new) });
        Ok(if boolean { as_truth(case) } else { case })
    }
}

/// The operands of a chain of one operator, however it is nested.
fn split(expr: Expr, op: Operator) -> Vec<Expr> {
    let mut operands = Vec::new();
    let mut waiting = vec![expr];
    while let Some(expr) = waiting.pop() {
        match expr {
            Expr::BinaryExpr(b) if b.op == op => {
                waiting.push(*b.right);
                waiting.push(*b.left);
            }
            other => operands.push(other),
        }
    }
    operands
}

/// True if all are, evaluated one after the other.
fn all(mut operands: Vec<Expr>) -> Expr {
    let Some(last) = operands.pop() else { return truth_of(true) };
    if !can_fail(&last) && operands.iter().skip(1).all(|e| !can_fail(e)) || operands.is_empty() {
        operands.push(last);
        return conjunction(operands).unwrap_or_else(|| truth_of(true));
    }
    let pairs = operands
        .into_iter()
        .map(|e| (Box::new(Expr::IsNotTrue(Box::new(e))), Box::new(digit_literal(0))))
        .collect();
    as_truth(Expr::Case(Case::new(None, pairs, Some(Box::new(as_digit(last))))))
}

/// True if one is, evaluated one after the other.
fn any(mut operands: Vec<Expr>) -> Expr {
    let Some(last) = operands.pop() else { return truth_of(false) };
    let pairs =
        operands.into_iter().map(|e| (Box::new(e), Box::new(digit_literal(1)))).collect::<Vec<_>>();
    if pairs.is_empty() {
        return last;
    }
    as_truth(Expr::Case(Case::new(None, pairs, Some(Box::new(as_digit(last))))))
}

fn truth_of(value: bool) -> Expr {
    Expr::Literal(ScalarValue::Boolean(Some(value)), None)
}

fn digit_literal(value: i8) -> Expr {
    Expr::Literal(ScalarValue::Int8(Some(value)), None)
}

/// A truth value as a number.
fn as_digit(expr: Expr) -> Expr {
    match expr {
        Expr::ScalarFunction(call) if call.func == digit::truth() && call.args.len() == 1 => {
            call.args.into_iter().next().unwrap_or_default()
        }
        Expr::Literal(ScalarValue::Boolean(value), _) => {
            Expr::Literal(ScalarValue::Int8(value.map(i8::from)), None)
        }
        Expr::Literal(ScalarValue::Null, _) => Expr::Literal(ScalarValue::Int8(None), None),
        other => scalar::call(&digit::digit(), vec![other]),
    }
}

fn as_truth(expr: Expr) -> Expr {
    scalar::call(&digit::truth(), vec![expr])
}
