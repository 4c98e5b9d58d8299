//! Subqueries in expressions.
//!
//! DataFusion turns EXISTS, IN and scalar subqueries into joins. It wants a correlated scalar
//! subquery to aggregate, so one that does not gets an aggregate here that passes its one value on
//! and errs on a second (which is also PostgreSQL's error).

use std::sync::Arc;

use datafusion::{
    common::Column,
    functions_aggregate::{bool_and_or::bool_or_udaf, first_last::first_value_udaf},
    logical_expr::{
        Aggregate, Expr, LogicalPlan, Operator, Projection,
        expr::{AggregateFunction, Exists, InSubquery},
        lit,
        logical_plan::Subquery,
        when,
    },
    scalar::ScalarValue,
    sql::sqlparser::ast::{self, BinaryOperator},
};

use super::{
    Planner,
    bound::Bound,
    correlation,
    expressions::{comparison_operator, negate_if, row},
    from::limits_rows,
    operators::binary,
    query::OutputColumn,
    scope::Env,
};
use crate::{
    error::{SqlError, sqlstate},
    query::{errors::sql_error, functions::aggregate::single_value},
    types::PgType,
};

fn subquery(plan: LogicalPlan) -> Subquery {
    let outer_ref_columns = plan.all_out_ref_exprs();
    Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: Default::default() }
}

fn aggregate(plan: LogicalPlan, expr: Expr) -> Result<LogicalPlan, SqlError> {
    let aggregate = Aggregate::try_new(Arc::new(plan), vec![], vec![expr]).map_err(sql_error)?;
    Ok(LogicalPlan::Aggregate(aggregate))
}

/// Where DataFusion makes joins of EXISTS and IN.
fn is_condition(env: &Env<'_>) -> bool {
    matches!(env.clause, "WHERE" | "HAVING")
}

impl Planner<'_> {
    fn subquery_plan(
        &mut self,
        query: &ast::Query,
        env: &Env<'_>,
    ) -> Result<(LogicalPlan, Vec<OutputColumn>), SqlError> {
        self.nested += 1;
        let planned = self.query(query, Some(env));
        self.nested -= 1;
        let (plan, columns) = planned?;
        self.decided(plan, columns)
    }

    fn one_column(&self, columns: &[OutputColumn]) -> Result<(), SqlError> {
        if columns.len() == 1 {
            return Ok(());
        }
        let message = "subquery must return only one column";
        Err(SqlError::new(sqlstate::SYNTAX_ERROR, message))
    }

    pub(super) fn scalar_subquery(
        &mut self,
        query: &ast::Query,
        env: &Env<'_>,
    ) -> Result<Bound, SqlError> {
        let (plan, columns) = self.subquery_plan(query, env)?;
        self.one_column(&columns)?;
        let ty = columns[0].ty.clone();
        let correlated = !plan.all_out_ref_exprs().is_empty();
        // A column of a query further out would have to stay one in the condition taken out.
        let (plan, guard) = if correlated && env.outer.is_none() {
            correlation::simplify(plan).map_err(sql_error)?
        } else {
            (plan, None)
        };
        let correlated = !plan.all_out_ref_exprs().is_empty();
        let (plan, name) = match plan {
            LogicalPlan::Projection(projection) if correlated => only_column_renamed(projection)?,
            plan => (plan, columns[0].internal.clone()),
        };
        let value = Expr::Column(Column::from_name(name));
        let plan = if correlated {
            correlated_value(plan, value, &ty)?
        } else if plan.max_rows() == Some(1) {
            plan
        } else {
            let single = single_value(ty.arrow_type()).call(vec![value]).alias("__value");
            aggregate(plan, single)?
        };
        let value = Expr::ScalarSubquery(subquery(plan));
        let value = match guard {
            Some(guard) => when(guard, value).end().map_err(sql_error)?,
            None => value,
        };
        Ok(Bound::new(value, ty))
    }

    pub(super) fn exists(
        &mut self,
        query: &ast::Query,
        negated: bool,
        env: &Env<'_>,
    ) -> Result<Bound, SqlError> {
        let (plan, _) = self.subquery_plan(query, env)?;
        self.exists_plan(plan, negated, env)
    }

    fn exists_plan(
        &mut self,
        plan: LogicalPlan,
        negated: bool,
        env: &Env<'_>,
    ) -> Result<Bound, SqlError> {
        let plan = without_projection(without_limit(plan));
        let correlated = !plan.all_out_ref_exprs().is_empty();
        if correlated && limits_rows(&plan) {
            return Err(SqlError::not_supported("EXISTS of a correlated query with LIMIT"));
        }
        if is_condition(env) && correlated {
            let plan = shows_nothing(plan)?;
            return Ok(Bound::bool(Expr::Exists(Exists { subquery: subquery(plan), negated })));
        }
        // Elsewhere: whether there is a row is whether anything was seen.
        let plan = aggregate(plan, bool_or_udaf().call(vec![lit(true)]).alias("__exists"))?;
        let plan = if correlated { projected(plan)? } else { plan };
        let any = Expr::IsTrue(Box::new(Expr::ScalarSubquery(subquery(plan))));
        Ok(Bound::bool(negate_if(negated, any)))
    }

    pub(super) fn in_subquery(
        &mut self,
        expr: &ast::Expr,
        query: &ast::Query,
        negated: bool,
        env: &Env<'_>,
    ) -> Result<Bound, SqlError> {
        if let Some(fields) = row(expr) {
            return self.row_in_subquery(fields, query, negated, expr, env);
        }
        let left = self.expr(expr, env)?;
        let (plan, columns) = self.subquery_plan(query, env)?;
        self.one_column(&columns)?;
        if !is_condition(env) {
            return Err(self.refuse(expr, "IN with a subquery outside of WHERE and HAVING"));
        }
        let value = Bound::new(
            Expr::Column(Column::from_name(&columns[0].internal)),
            columns[0].ty.clone(),
        );
        // The comparison decides the types of both sides.
        let equal = self.compare(left, Operator::Eq, value).map_err(|e| self.locate(e, expr))?;
        let Expr::BinaryExpr(equal) = equal.expr else {
            return Err(SqlError::internal("a comparison that is none"));
        };
        if !equal.left.column_refs().is_empty() && uses(&equal.left, &columns[0].internal) {
            return Err(SqlError::internal("sides of IN were exchanged"));
        }
        if !plan.all_out_ref_exprs().is_empty() && limits_rows(&plan) {
            return Err(self.refuse(expr, "IN with a correlated query with LIMIT"));
        }
        let projected = equal.right.alias("__in");
        let projection = Projection::try_new(vec![projected], Arc::new(plan)).map_err(sql_error)?;
        let subquery = subquery(LogicalPlan::Projection(projection));
        Ok(Bound::bool(Expr::InSubquery(InSubquery::new(equal.left, subquery, negated))))
    }

    /// `(a, b) IN (SELECT …)`: whether such a row exists.
    fn row_in_subquery(
        &mut self,
        fields: &[ast::Expr],
        query: &ast::Query,
        negated: bool,
        at: &ast::Expr,
        env: &Env<'_>,
    ) -> Result<Bound, SqlError> {
        if negated || env.clause != "WHERE" {
            return Err(self.refuse(at, "NOT IN with several columns"));
        }
        let (plan, columns) = self.subquery_plan(query, env)?;
        if columns.len() != fields.len() {
            let what = if columns.len() < fields.len() { "few" } else { "many" };
            let message = format!("subquery has too {what} columns");
            return Err(self.locate(SqlError::new(sqlstate::SYNTAX_ERROR, message), at));
        }
        if limits_rows(&plan) {
            return Err(self.refuse(at, "IN with several columns and LIMIT or DISTINCT"));
        }
        let (plan, entry) = self.named_query(plan, &columns, "in")?;
        let scope = super::scope::Scope { tables: vec![entry.clone()], merged: Vec::new() };
        let inner = Env::new(&scope, Some(env), "WHERE");
        let mut condition: Option<Expr> = None;
        for (field, column) in fields.iter().zip(&entry.columns) {
            // Bound one level further out than written.
            let hidden = super::scope::Scope::default();
            let between = Env { scope: &hidden, ..inner };
            let left = self.expr(field, &between)?;
            let right = Bound::new(Expr::Column(column.column.clone()), column.ty.clone());
            let equal = self.compare(left, Operator::Eq, right)?.expr;
            condition = Some(match condition {
                None => equal,
                Some(before) => binary(before, Operator::And, equal),
            });
        }
        let condition = condition.ok_or_else(|| self.refuse(at, "IN over nothing"))?;
        let plan = super::select::filter(plan, condition)?;
        self.exists_plan(plan, false, env)
    }

    /// `left op ANY (right)` and ALL.
    pub(super) fn any_all(
        &mut self,
        left: &ast::Expr,
        op: &BinaryOperator,
        right: &ast::Expr,
        any: bool,
        env: &Env<'_>,
    ) -> Result<Bound, SqlError> {
        let named = match op {
            BinaryOperator::PGCustomBinaryOperator(parts) => match parts.last().map(String::as_str)
            {
                Some("=") => Some(BinaryOperator::Eq),
                Some("<>") => Some(BinaryOperator::NotEq),
                _ => None,
            },
            other => Some(other.clone()),
        };
        let operator = named.as_ref().and_then(comparison_operator);
        let word = if any { "ANY" } else { "ALL" };
        let unsupported =
            |planner: &Self| planner.refuse(left, &format!("{op} {word} in this form"));
        if let ast::Expr::Subquery(query) = strip(right) {
            return match (operator, any) {
                (Some(Operator::Eq), true) => self.in_subquery(left, query, false, env),
                (Some(Operator::NotEq), false) => self.in_subquery(left, query, true, env),
                _ => Err(unsupported(self)),
            };
        }
        let Some(operator) = operator else {
            return Err(unsupported(self));
        };
        let bound = self.expr(left, env)?;
        let array = self.expr(right, env)?;
        let array = if array.ty == PgType::Unknown {
            let of = if bound.ty == PgType::Unknown { PgType::Text } else { bound.ty.clone() };
            let ty = PgType::Array(Arc::new(super::bound::base(&of)));
            self.coerce(array, &ty, super::coerce::CastContext::Implicit)?
        } else {
            array
        };
        let PgType::Array(of) = array.ty.clone() else {
            let message = format!("op {word} (array) requires array on right side");
            let error = SqlError::new(sqlstate::WRONG_OBJECT_TYPE, message);
            return Err(self.locate(error, left));
        };
        if let Some(items) = constant_items(&array.expr)? {
            let items = items.into_iter().map(|e| Bound::new(e, of.as_ref().clone()));
            let mut result: Option<Expr> = None;
            if any && operator == Operator::Eq {
                return self.in_values(bound, items.collect(), false);
            }
            for item in items {
                let compared = self.compare(bound.clone(), operator, item)?.expr;
                let connective = if any { Operator::Or } else { Operator::And };
                result = Some(match result {
                    None => compared,
                    Some(before) => binary(before, connective, compared),
                });
            }
            return Ok(Bound::bool(result.unwrap_or(lit(!any))));
        }
        if !any || operator != Operator::Eq {
            return Err(unsupported(self));
        }
        let (array, of) = self.widened_array(array, of, &bound.ty);
        let element = self.coerce(bound, &of, super::coerce::CastContext::Implicit)?;
        let has = datafusion::functions_nested::expr_fn::array_has(array.expr, element.expr);
        Ok(Bound::bool(has))
    }

    /// `ARRAY(SELECT …)`.
    pub(super) fn array_subquery(
        &mut self,
        query: &ast::Query,
        env: &Env<'_>,
    ) -> Result<Bound, SqlError> {
        let (plan, columns) = self.subquery_plan(query, env)?;
        self.one_column(&columns)?;
        let ty = columns[0].ty.clone();
        let value = Expr::Column(Column::from_name(&columns[0].internal));
        let correlated = !plan.all_out_ref_exprs().is_empty();
        // The order of the rows is the order of the elements.
        let (plan, order_by) = match plan {
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => {
                (sort.input.as_ref().clone(), sort.expr)
            }
            LogicalPlan::Projection(projection) => match projection.input.as_ref() {
                LogicalPlan::Sort(sort) if sort.fetch.is_none() => {
                    (sort.input.as_ref().clone(), sort.expr.clone())
                }
                _ => (LogicalPlan::Projection(projection), Vec::new()),
            },
            other => (other, Vec::new()),
        };
        if correlated && limits_rows(&plan) {
            return Err(SqlError::not_supported("ARRAY of a correlated query with LIMIT"));
        }
        let gather = Expr::AggregateFunction(AggregateFunction::new_udf(
            datafusion::functions_aggregate::array_agg::array_agg_udaf(),
            vec![value],
            false,
            None,
            order_by,
            None,
        ));
        let plan = aggregate(plan, gather.alias("__array"))?;
        let plan = if correlated { projected(plan)? } else { plan };
        let array = PgType::Array(Arc::new(ty));
        // Without rows the array is empty, not NULL.
        let empty = ScalarValue::new_list(&[], &element_type(&array), true);
        let empty = Expr::Literal(ScalarValue::List(empty), None);
        let value = Expr::ScalarSubquery(subquery(plan));
        Ok(Bound::new(super::calls::first_not_null(vec![value, empty]), array))
    }
}

fn element_type(array: &PgType) -> arrow::datatypes::DataType {
    match array {
        PgType::Array(of) => of.arrow_type(),
        other => other.arrow_type(),
    }
}

fn projected(plan: LogicalPlan) -> Result<LogicalPlan, SqlError> {
    let exprs = plan.schema().columns().into_iter().map(Expr::Column).collect();
    let projection = Projection::try_new(exprs, Arc::new(plan)).map_err(sql_error)?;
    Ok(LogicalPlan::Projection(projection))
}

/// A correlated scalar subquery in the form DataFusion decorrelates: an aggregate without groups.
fn correlated_value(plan: LogicalPlan, value: Expr, ty: &PgType) -> Result<LogicalPlan, SqlError> {
    if let LogicalPlan::Projection(projection) = &plan
        && let LogicalPlan::Aggregate(inner) = projection.input.as_ref()
        && inner.group_expr.is_empty()
    {
        return Ok(plan);
    }
    let (input, fetch) = match &plan {
        LogicalPlan::Limit(limit) => (Some(limit), limit.input.as_ref()),
        LogicalPlan::Projection(projection) => match projection.input.as_ref() {
            LogicalPlan::Limit(limit) => (Some(limit), limit.input.as_ref()),
            other => (None, other),
        },
        other => (None, other),
    };
    let Some(limit) = input else {
        if limits_rows(&plan) {
            return Err(SqlError::not_supported(
                "a correlated subquery with LIMIT, DISTINCT or window functions",
            ));
        }
        let plan = without_sort(plan);
        let single = single_value(ty.arrow_type()).call(vec![value]).alias("__value");
        return projected(aggregate(plan, single)?);
    };
    let one = |e: &Option<Box<Expr>>| {
        matches!(e.as_deref(), Some(Expr::Literal(ScalarValue::Int64(Some(1)), _)))
    };
    if limit.skip.is_some() || !one(&limit.fetch) {
        return Err(SqlError::not_supported("a correlated subquery with LIMIT other than 1"));
    }
    let (source, order_by) = match fetch {
        LogicalPlan::Sort(sort) => (sort.input.as_ref().clone(), sort.expr.clone()),
        other => (other.clone(), Vec::new()),
    };
    if limits_rows(&source) {
        return Err(SqlError::not_supported("a correlated subquery with LIMIT and DISTINCT"));
    }
    let first = Expr::AggregateFunction(AggregateFunction::new_udf(
        first_value_udaf(),
        vec![value],
        false,
        None,
        order_by,
        None,
    ));
    projected(aggregate(source, first.alias("__value"))?)
}

/// Decorrelation adds the columns that the condition compares to the projection, under their own
/// names: the column shown must not have the same one.
fn only_column_renamed(projection: Projection) -> Result<(LogicalPlan, String), SqlError> {
    const NAME: &str = "__shown";
    let shown = projection.expr.into_iter().map(|e| e.unalias().alias(NAME)).collect();
    let renamed = Projection::try_new(shown, projection.input).map_err(sql_error)?;
    Ok((LogicalPlan::Projection(renamed), NAME.to_owned()))
}

/// One constant column: decorrelation adds the columns it compares under their qualified names, and
/// no other column of the same name is beside them.
fn shows_nothing(plan: LogicalPlan) -> Result<LogicalPlan, SqlError> {
    let one = vec![lit(1).alias("__one")];
    let projection = Projection::try_new(one, Arc::new(plan)).map_err(sql_error)?;
    Ok(LogicalPlan::Projection(projection))
}

/// What EXISTS shows does not matter, and its names would meet those that decorrelation adds.
fn without_projection(plan: LogicalPlan) -> LogicalPlan {
    match plan {
        LogicalPlan::Projection(projection) => {
            without_projection(projection.input.as_ref().clone())
        }
        other => other,
    }
}

/// Order does not matter to a single value.
fn without_sort(plan: LogicalPlan) -> LogicalPlan {
    match plan {
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => sort.input.as_ref().clone(),
        other => other,
    }
}

/// `EXISTS (… LIMIT n)` does not depend on the limit, unless it is zero.
fn without_limit(plan: LogicalPlan) -> LogicalPlan {
    match plan {
        LogicalPlan::Limit(limit) => {
            let positive = matches!(
                limit.fetch.as_deref(),
                Some(Expr::Literal(ScalarValue::Int64(Some(1..)), _))
            );
            if positive && limit.skip.is_none() {
                without_sort(limit.input.as_ref().clone())
            } else {
                LogicalPlan::Limit(limit)
            }
        }
        other => without_sort(other),
    }
}

fn strip(expr: &ast::Expr) -> &ast::Expr {
    match expr {
        ast::Expr::Nested(inner) => strip(inner),
        other => other,
    }
}

fn uses(expr: &Expr, column: &str) -> bool {
    expr.column_refs().iter().any(|c| c.relation.is_none() && c.name == column)
}

/// The elements of an array that is a constant or written out.
fn constant_items(array: &Expr) -> Result<Option<Vec<Expr>>, SqlError> {
    match array {
        Expr::Literal(ScalarValue::List(list), _) => {
            use arrow::array::Array;
            if list.is_null(0) {
                return Ok(None);
            }
            let values = list.value(0);
            let item = |row| ScalarValue::try_from_array(&values, row);
            let items = (0..values.len()).map(item).collect::<Result<Vec<_>, _>>();
            let items = items.map_err(sql_error)?;
            Ok(Some(items.into_iter().map(|v| Expr::Literal(v, None)).collect()))
        }
        Expr::ScalarFunction(function) if function.func.name() == "make_array" => {
            Ok(Some(function.args.clone()))
        }
        _ => Ok(None),
    }
}
