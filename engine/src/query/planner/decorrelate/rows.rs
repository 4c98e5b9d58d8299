//! Rows counted and numbered within groups.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::{
    common::Column,
    functions_window::row_number::row_number_udwf,
    logical_expr::{
        Expr, Limit, LogicalPlan, Operator, Projection, SortExpr, Window, WindowFunctionDefinition,
        cast, expr::WindowFunction, lit,
    },
    scalar::ScalarValue,
};

use super::super::{Planner, operators::binary, select::filter};
use crate::{error::SqlError, query::errors::sql_error};

/// OFFSET and LIMIT.
pub(super) type Counts = (Expr, Option<Expr>);

pub(super) fn limit_counts(limit: &Limit) -> Counts {
    let skip = limit.skip.as_deref().cloned().unwrap_or_else(|| lit(0_i64));
    (skip, limit.fetch.as_deref().cloned())
}

/// A window expression whose windows do not span groups, under its old name.
pub(super) fn per_group(window: Expr, groups: &[Expr]) -> Result<Expr, SqlError> {
    let name = window.schema_name().to_string();
    match window.unalias() {
        Expr::WindowFunction(mut function) => {
            function.params.partition_by.extend(groups.iter().cloned());
            Ok(Expr::WindowFunction(function).alias(name))
        }
        other => Err(SqlError::internal(format!("{other} among window functions"))),
    }
}

impl Planner<'_> {
    /// LIMIT within each group, in the order the plan sorts by.
    pub(super) fn limit_per_group(
        &mut self,
        plan: LogicalPlan,
        (skip, fetch): Counts,
        groups: Vec<Expr>,
    ) -> Result<LogicalPlan, SqlError> {
        let columns = plan.schema().columns();
        let order_by = order_of(&plan);
        let mut number =
            WindowFunction::new(WindowFunctionDefinition::WindowUDF(row_number_udwf()), Vec::new());
        number.params.partition_by = groups;
        number.params.window_frame =
            datafusion::logical_expr::WindowFrame::new((!order_by.is_empty()).then_some(false));
        number.params.order_by = order_by;
        let name = self.fresh_name("__row");
        let number = Expr::WindowFunction(Box::new(number)).alias(&name);
        let window = Window::try_new(vec![number], Arc::new(plan)).map_err(sql_error)?;
        let number = cast(Expr::Column(Column::from_name(name)), DataType::Int64);
        let skip = or_zero(skip);
        let mut condition = binary(number.clone(), Operator::Gt, skip.clone());
        if let Some(fetch) = fetch {
            let last = match (&skip, &fetch) {
                (
                    Expr::Literal(ScalarValue::Int64(Some(skip)), _),
                    Expr::Literal(ScalarValue::Int64(Some(fetch)), _),
                ) => lit(skip.saturating_add(*fetch)),
                _ => binary(skip, Operator::Plus, fetch.clone()),
            };
            let mut within = binary(number, Operator::LtEq, last);
            if !matches!(fetch, Expr::Literal(..)) {
                within = binary(Expr::IsNull(Box::new(fetch)), Operator::Or, within);
            }
            condition = binary(condition, Operator::And, within);
        }
        let plan = filter(LogicalPlan::Window(window), condition)?;
        let columns = columns.into_iter().map(Expr::Column).collect();
        let plan = Projection::try_new(columns, Arc::new(plan)).map_err(sql_error)?;
        Ok(LogicalPlan::Projection(plan))
    }
}

fn or_zero(count: Expr) -> Expr {
    match count {
        Expr::Literal(..) => count,
        other => super::super::nulls::first_not_null(vec![other, lit(0_i64)]),
    }
}

/// By what the rows of a plan are sorted.
fn order_of(plan: &LogicalPlan) -> Vec<SortExpr> {
    match plan {
        LogicalPlan::Sort(sort) => sort.expr.clone(),
        _ => Vec::new(),
    }
}
