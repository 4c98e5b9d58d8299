//! Subqueries in expressions.
//!
//! They stay expressions here, with references to the columns of outer queries in their plans;
//! [`decorrelate`](super::decorrelate) makes joins of them once the statement is planned.

use std::sync::Arc;

use datafusion::{
    common::Column,
    logical_expr::{
        Aggregate, Expr, LogicalPlan, Operator, Projection,
        expr::{AggregateFunction, Exists, InSubquery},
        lit,
    },
    scalar::ScalarValue,
    sql::sqlparser::ast::{self, BinaryOperator},
};

use super::{
    Planner,
    bound::Bound,
    decorrelate::subquery,
    dml::DEFAULT_CLAUSE,
    expressions::{comparison_operator, negate_if, row, strip},
    operators::binary,
    query::OutputColumn,
    rows::compare_fields,
    scope::Env,
};
use crate::{
    error::{SqlError, sqlstate},
    query::{
        errors::sql_error,
        functions::{scalar, subquery::operands},
    },
    types::PgType,
};

impl Planner<'_> {
    pub(super) fn subquery_plan(
        &mut self,
        query: &ast::Query,
        env: &Env<'_>,
    ) -> Result<(LogicalPlan, Vec<OutputColumn>), SqlError> {
        if env.clause == DEFAULT_CLAUSE {
            return Err(SqlError::new(
                sqlstate::FEATURE_NOT_SUPPORTED,
                "cannot use subquery in DEFAULT expression",
            ));
        }
        self.has_subqueries = true;
        let (plan, columns) = self.query(query, Some(env))?;
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
        Ok(Bound::new(Expr::ScalarSubquery(subquery(plan)), columns[0].ty.clone()))
    }

    pub(super) fn exists(
        &mut self,
        query: &ast::Query,
        negated: bool,
        env: &Env<'_>,
    ) -> Result<Bound, SqlError> {
        let (plan, _) = self.subquery_plan(query, env)?;
        Ok(Bound::bool(Expr::Exists(Exists { subquery: subquery(plan), negated })))
    }

    pub(super) fn in_subquery(
        &mut self,
        expr: &ast::Expr,
        query: &ast::Query,
        negated: bool,
        env: &Env<'_>,
    ) -> Result<Bound, SqlError> {
        let any = self.quantified(expr, Operator::Eq, query, env)?;
        Ok(Bound::bool(negate_if(negated, any)))
    }

    /// `left op ANY (query)`; `left` may be a row.
    fn quantified(
        &mut self,
        left: &ast::Expr,
        op: Operator,
        query: &ast::Query,
        env: &Env<'_>,
    ) -> Result<Expr, SqlError> {
        let fields = row(left).unwrap_or(std::slice::from_ref(left));
        let mut bounds = Vec::with_capacity(fields.len());
        for field in fields {
            bounds.push(self.expr(field, env)?);
        }
        let (plan, columns) = self.subquery_plan(query, env)?;
        if columns.len() != bounds.len() {
            if bounds.len() == 1 {
                self.one_column(&columns)?;
            }
            let what = if columns.len() < bounds.len() { "few" } else { "many" };
            let message = format!("subquery has too {what} columns");
            return Err(self.locate(SqlError::new(sqlstate::SYNTAX_ERROR, message), left));
        }
        let mut compare = |index: usize, op| {
            let column = &columns[index];
            let right = Expr::Column(Column::from_name(&column.internal));
            let right = Bound::new(right, column.ty.clone());
            let left_side = self.operand(&bounds[index], index);
            let compared = self.compare(left_side, op, right);
            Ok(compared.map_err(|e| self.locate(e, left))?.expr)
        };
        let condition = compare_fields(0..bounds.len(), op, &mut compare)?;
        let condition = condition.ok_or_else(|| self.refuse(left, "IN over nothing"))?;
        let shown = vec![condition.alias(self.fresh_name("__compared"))];
        let projection = Projection::try_new(shown, Arc::new(plan)).map_err(sql_error)?;
        let plan = subquery(LogicalPlan::Projection(projection));
        let values = scalar::call(&operands(), bounds.into_iter().map(|b| b.expr).collect());
        Ok(Expr::InSubquery(InSubquery::new(Box::new(values), plan, false)))
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
            let Some(operator) = operator else {
                return Err(unsupported(self));
            };
            // Of all is of none the contrary.
            let (operator, negated) =
                if any { (operator, false) } else { (operator.negate().unwrap_or(operator), true) };
            let result = self.quantified(left, operator, query, env)?;
            return Ok(Bound::bool(negate_if(negated, result)));
        }
        let Some(operator) = operator else {
            return Err(unsupported(self));
        };
        let bound = self.expr(left, env)?;
        let array = self.expr(right, env)?.vector_as_array();
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
        self.quantified_array(bound, operator, any, array, &of)
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
        // The order of the rows is the order of the elements.
        let (plan, order_by) = self.row_order(plan)?;
        let gather = Expr::AggregateFunction(AggregateFunction::new_udf(
            datafusion::functions_aggregate::array_agg::array_agg_udaf(),
            vec![value],
            false,
            None,
            order_by,
            None,
        ));
        let gather = vec![gather.alias(self.fresh_name("__array"))];
        let plan = Aggregate::try_new(Arc::new(plan), vec![], gather).map_err(sql_error)?;
        let plan = LogicalPlan::Aggregate(plan);
        let array = PgType::Array(Arc::new(ty));
        // Without rows the array is empty, not NULL.
        let empty = ScalarValue::new_list(&[], &element_type(&array), true);
        let empty = Expr::Literal(ScalarValue::List(empty), None);
        let value = Expr::ScalarSubquery(subquery(plan));
        Ok(Bound::new(super::nulls::first_not_null(vec![value, empty]), array))
    }
}

fn element_type(array: &PgType) -> arrow::datatypes::DataType {
    match array {
        PgType::Array(of) => of.arrow_type(),
        other => other.arrow_type(),
    }
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
