//! SELECT DISTINCT ON.

use std::sync::Arc;

use datafusion::{
    common::Column,
    functions_window::row_number::row_number_udwf,
    logical_expr::{
        Expr, LogicalPlan, LogicalPlanBuilder, Projection, SortExpr, WindowFrame, WindowFrameBound,
        WindowFrameUnits, WindowFunctionDefinition,
        expr::{WindowFunction, WindowFunctionParams},
        lit,
    },
    scalar::ScalarValue,
    sql::sqlparser::ast,
};

use super::{
    Planner,
    operators::binary,
    query::{QueryPlan, Reference, output_reference},
    scope::Env,
    select::{Item, OrderKey, OrderTarget, contains_unnest, filter},
};
use crate::{
    error::{SqlError, sqlstate},
    query::errors::sql_error,
    types::PgType,
};

/// `row_number() OVER (PARTITION BY … ORDER BY …)`.
pub(super) fn row_number(partition_by: Vec<Expr>, order_by: Vec<SortExpr>) -> Expr {
    window_call(row_number_udwf(), partition_by, order_by)
}

/// The call of a function that numbers rows.
pub(super) fn window_call(
    udf: Arc<datafusion::logical_expr::WindowUDF>,
    partition_by: Vec<Expr>,
    order_by: Vec<SortExpr>,
) -> Expr {
    // Such functions do not look at it, but a range is refused over some types of keys.
    let window_frame = WindowFrame::new_bounds(
        WindowFrameUnits::Rows,
        WindowFrameBound::Preceding(ScalarValue::UInt64(None)),
        WindowFrameBound::CurrentRow,
    );
    Expr::WindowFunction(Box::new(WindowFunction {
        fun: WindowFunctionDefinition::WindowUDF(udf),
        params: WindowFunctionParams {
            args: Vec::new(),
            partition_by,
            order_by,
            window_frame,
            filter: None,
            null_treatment: None,
            distinct: false,
        },
    }))
}

/// The plan with a column for each of these window functions behind its own, and their names.
pub(super) fn with_windows(
    plan: LogicalPlan,
    windows: Vec<Expr>,
) -> Result<(LogicalPlan, Vec<Column>), SqlError> {
    let names = windows.iter().map(|w| Column::from_name(w.schema_name().to_string())).collect();
    let plan = LogicalPlanBuilder::window_plan(plan, windows).map_err(sql_error)?;
    Ok((plan, names))
}

impl Planner<'_> {
    /// The keys as indexes of `items`, to which those are added that are not there.
    pub(super) fn distinct_on_keys(
        &mut self,
        exprs: &[ast::Expr],
        items: &mut Vec<Item>,
        order: &mut [OrderKey<'_>],
        env: &Env<'_>,
    ) -> Result<Vec<usize>, SqlError> {
        let visible = items.len();
        let mut keys: Vec<usize> = Vec::new();
        for expr in exprs {
            let named = match output_reference(expr, visible).map_err(|e| self.locate(e, expr))? {
                Some(Reference::Ordinal(index)) => Some(index),
                Some(Reference::Name(name)) => {
                    items[..visible].iter().position(|item| item.name == name)
                }
                None => None,
            };
            let index = match named {
                Some(index) => index,
                None => {
                    let mut bound = self.expr(expr, env)?;
                    if bound.ty == PgType::Unknown {
                        let implicit = super::coerce::CastContext::Implicit;
                        bound = self.coerce(bound, &PgType::Text, implicit)?;
                    }
                    let same = items.iter().position(|item| item.bound.expr == bound.expr);
                    match same {
                        Some(index) => index,
                        None => {
                            let name = self.fresh_name("__on");
                            items.push(Item { name, bound, origin: (0, 0), keeps_modifier: false });
                            items.len() - 1
                        }
                    }
                }
            };
            if !keys.contains(&index) {
                keys.push(index);
            }
        }
        for key in order {
            let OrderTarget::Expression(bound) = &key.target else { continue };
            if let Some(index) = items.iter().position(|item| item.bound.expr == bound.expr) {
                key.target = OrderTarget::Output(index);
            }
        }
        Ok(keys)
    }

    /// The first row of each group by the order given; ordered so, too. `items` beyond `visible`
    /// and sort keys that are not output follow the output.
    pub(super) fn finish_distinct_on(
        &mut self,
        plan: LogicalPlan,
        items: Vec<Item>,
        visible: usize,
        order: Vec<OrderKey<'_>>,
        on: &[usize],
    ) -> Result<QueryPlan, SqlError> {
        let (mut exprs, mut columns) = self.output(items);
        if exprs.iter().any(contains_unnest) {
            return Err(SqlError::not_supported("set-returning functions under DISTINCT ON"));
        }
        let mut matched: Vec<usize> = Vec::new();
        let mut keys = Vec::with_capacity(order.len());
        for key in order {
            let index = match &key.target {
                OrderTarget::Output(index) if on.contains(index) => Some(*index),
                _ => None,
            };
            match index {
                Some(index) if !matched.contains(&index) => matched.push(index),
                Some(_) => {}
                None if matched.len() < on.len() => {
                    let error = SqlError::new(
                        sqlstate::INVALID_COLUMN_REFERENCE,
                        "SELECT DISTINCT ON expressions must match initial ORDER BY expressions",
                    );
                    return Err(self.locate(error, &key.item.expr));
                }
                None => {}
            }
            let (name, ty) = match key.target {
                OrderTarget::Output(index) => {
                    (columns[index].internal.clone(), columns[index].ty.clone())
                }
                OrderTarget::Expression(bound) => {
                    let name = self.fresh_name("__order");
                    exprs.push(bound.expr.alias(&name));
                    (name, bound.ty)
                }
            };
            keys.push((key.item, name, ty));
        }
        let projection = Projection::try_new(exprs, Arc::new(plan)).map_err(sql_error)?;
        let plan = LogicalPlan::Projection(projection);
        let mut sorts = Vec::with_capacity(keys.len());
        for (item, name, ty) in keys {
            sorts.push(self.sort_expr(item, Expr::Column(Column::from_name(name)), &ty)?);
        }
        // Keys that ORDER BY does not name come last.
        for index in on.iter().filter(|index| !matched.contains(index)) {
            let column = &columns[*index];
            let key = Expr::Column(Column::from_name(&column.internal));
            super::arrays::order_needed(&column.ty)?;
            sorts.push(SortExpr::new(self.sort_key(&column.ty, key), true, false));
        }
        let groups = on.iter().map(|index| {
            let column = &columns[*index];
            self.sort_key(&column.ty, Expr::Column(Column::from_name(&column.internal)))
        });
        let number = row_number(groups.collect(), sorts.clone());
        let (plan, numbers) = with_windows(plan, vec![number])?;
        let number = numbers.into_iter().next();
        let number = number.ok_or_else(|| SqlError::internal("a window without its column"))?;
        let first =
            binary(Expr::Column(number), datafusion::logical_expr::Operator::Eq, lit(1_u64));
        let mut plan = filter(plan, first)?;
        if !sorts.is_empty() {
            plan = LogicalPlanBuilder::new(plan)
                .sort(sorts)
                .and_then(|b| b.build())
                .map_err(sql_error)?;
        }
        columns.truncate(visible);
        Ok((plan, columns))
    }
}
