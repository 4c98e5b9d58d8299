//! Window functions.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::{
    functions_window as df,
    logical_expr::{
        AggregateUDF, Expr, WindowFrame, WindowFrameBound, WindowFrameUnits,
        WindowFunctionDefinition, WindowUDF, cast,
        expr::{WindowFunction, WindowFunctionParams},
    },
    scalar::ScalarValue,
    sql::sqlparser::ast,
};
use hashbrown::HashMap;

use super::{
    Planner,
    aggregates::is_aggregate,
    bound::{Bound, undefined_function},
    calls::Arguments,
    coerce::CastContext,
    frames::Window,
    row_order::is_ordered_aggregate,
    scope::Env,
};
use crate::{
    error::{SqlError, sqlstate},
    query::functions::window::{self, Computed},
    types::PgType,
};

/// The windows that a SELECT names.
pub(super) type NamedWindows = HashMap<String, ast::WindowSpec>;

pub(super) fn is_window_only(name: &str) -> bool {
    matches!(
        name,
        "row_number"
            | "rank"
            | "dense_rank"
            | "percent_rank"
            | "cume_dist"
            | "ntile"
            | "lag"
            | "lead"
            | "first_value"
            | "last_value"
            | "nth_value"
    )
}

/// Whether the order of its rows means something to a function over a window without ORDER BY.
fn depends_on_order(name: &str, spec: &ast::WindowSpec) -> bool {
    match &spec.window_frame {
        Some(frame) => frame.units == ast::WindowFrameUnits::Rows,
        None => {
            matches!(
                name,
                "row_number"
                    | "ntile"
                    | "lag"
                    | "lead"
                    | "first_value"
                    | "last_value"
                    | "nth_value"
            ) || is_ordered_aggregate(name)
        }
    }
}

impl Planner<'_> {
    pub(super) fn window_function(
        &mut self,
        name: &str,
        function: &ast::Function,
        args: Arguments<'_>,
        env: &Env<'_>,
    ) -> Result<Bound, SqlError> {
        if !env.windows {
            let message = match env.clause {
                "aggregate" => {
                    "aggregate function calls cannot contain window function calls".to_owned()
                }
                "window" => "window function calls cannot be nested".to_owned(),
                clause => format!("window functions are not allowed in {clause}"),
            };
            return Err(SqlError::new(sqlstate::WINDOWING_ERROR, message));
        }
        if args.distinct {
            return Err(SqlError::new(
                sqlstate::FEATURE_NOT_SUPPORTED,
                "DISTINCT is not implemented for window functions",
            ));
        }
        if !args.order_by.is_empty() {
            return Err(SqlError::new(
                sqlstate::FEATURE_NOT_SUPPORTED,
                "aggregate ORDER BY is not implemented for window functions",
            ));
        }
        let inner = env.clause("window").with(env.aggregates, false);
        let spec = self.window_spec(function)?;
        let mut window = self.window_of(&spec, &inner)?;
        if depends_on_order(name, &spec) {
            window.order_as(&env.scope.order);
        }
        let filter = match function.filter.as_deref() {
            None => None,
            Some(filter) => {
                let bound = self.expr(filter, &inner)?;
                Some(self.condition(bound, "FILTER")?)
            }
        };
        if is_aggregate(name) {
            if name == "grouping" {
                return Err(undefined_function(name, &[]));
            }
            let aggregate = |udf, exprs| over(&window, Called::Aggregate(udf), exprs, &filter);
            return self.aggregate_call(name, &args, &inner, &aggregate);
        }
        if !is_window_only(name) {
            let message = format!(
                "OVER specified, but {name} is not a window function nor an aggregate function"
            );
            return Err(SqlError::new(sqlstate::WRONG_OBJECT_TYPE, message));
        }
        if filter.is_some() {
            return Err(SqlError::new(
                sqlstate::FEATURE_NOT_SUPPORTED,
                "FILTER is not implemented for non-aggregate window functions",
            ));
        }
        let mut bounds = Vec::new();
        for expr in &args.exprs {
            bounds.push(self.expr(expr, &inner)?);
        }
        self.window_call(name, bounds, &window)
    }

    fn window_call(
        &mut self,
        name: &str,
        mut args: Vec<Bound>,
        window: &Window,
    ) -> Result<Bound, SqlError> {
        let of_partition = |udf| over(window, Called::Partition(udf), vec![], &None);
        let over = |called, exprs| over(window, called, exprs, &None);
        let as_bigint = |expr: Expr| Bound::new(cast(expr, DataType::Int64), PgType::Int8);
        Ok(match (name, args.len()) {
            ("row_number", 0) => as_bigint(of_partition(df::row_number::row_number_udwf())),
            ("rank", 0) => as_bigint(of_partition(df::rank::rank_udwf())),
            ("dense_rank", 0) => as_bigint(of_partition(df::rank::dense_rank_udwf())),
            ("percent_rank", 0) => {
                Bound::new(of_partition(df::rank::percent_rank_udwf()), PgType::Float8)
            }
            ("cume_dist", 0) => {
                Bound::new(of_partition(df::cume_dist::cume_dist_udwf()), PgType::Float8)
            }
            ("ntile", 1) => {
                let count = self.coerce(args.remove(0), &PgType::Int4, CastContext::Implicit)?;
                let count = cast(count.expr, DataType::Int64);
                Bound::new(over(Called::Framed(Computed::Ntile), vec![count]), PgType::Int4)
            }
            ("lag" | "lead", 1..=3) => self.shifted(name, args, window)?,
            ("first_value" | "last_value", 1) => {
                let bound = self.decided_bound(args.remove(0))?;
                let called = match (name, window.plain.is_some()) {
                    ("first_value", true) => Called::Window(df::nth_value::first_value_udwf()),
                    ("first_value", false) => Called::Framed(Computed::First),
                    (_, true) => Called::Window(df::nth_value::last_value_udwf()),
                    (_, false) => Called::Framed(Computed::Last),
                };
                Bound::new(over(called, vec![bound.expr]), bound.ty)
            }
            ("nth_value", 2) => {
                let n = self.coerce(args.remove(1), &PgType::Int4, CastContext::Implicit)?;
                let n = cast(n.expr, DataType::Int64);
                let bound = self.decided_bound(args.remove(0))?;
                Bound::new(over(Called::Framed(Computed::Nth), vec![bound.expr, n]), bound.ty)
            }
            _ => return Err(undefined_function(name, &args)),
        })
    }

    /// `lag` and `lead`.
    fn shifted(
        &mut self,
        name: &str,
        mut args: Vec<Bound>,
        window: &Window,
    ) -> Result<Bound, SqlError> {
        let default = if args.len() == 3 { Some(args.remove(2)) } else { None };
        let offset = if args.len() == 2 { Some(args.remove(1)) } else { None };
        let mut value = self.decided_bound(args.remove(0))?;
        let mut exprs = Vec::new();
        if let Some(offset) = offset {
            let offset = self.coerce(offset, &PgType::Int4, CastContext::Implicit)?;
            exprs.push(cast(offset.expr, DataType::Int64));
        }
        if let Some(default) = default {
            let ty = self.common_type(&[value.ty.clone(), default.ty.clone()], name)?;
            value = self.coerce(value, &ty, CastContext::Implicit)?;
            exprs.push(self.coerce(default, &ty, CastContext::Implicit)?.expr);
        }
        exprs.insert(0, value.expr);
        let computed = if name == "lag" { Computed::Lag } else { Computed::Lead };
        Ok(Bound::new(over(window, Called::Framed(computed), exprs, &None), value.ty))
    }

    pub(super) fn decided_bound(&mut self, bound: Bound) -> Result<Bound, SqlError> {
        if bound.ty == PgType::Unknown {
            return self.coerce(bound, &PgType::Text, CastContext::Implicit);
        }
        Ok(bound)
    }
}

/// What is called over a window.
enum Called {
    Aggregate(Arc<AggregateUDF>),
    /// A function of DataFusion's, over a frame that it knows.
    Window(Arc<WindowUDF>),
    /// One that does not look at the frame.
    Partition(Arc<WindowUDF>),
    Framed(Computed),
}

/// A call over a window.
fn over(window: &Window, called: Called, args: Vec<Expr>, filter: &Option<Expr>) -> Expr {
    let framed = |computed, mut args: Vec<Expr>| {
        let (shape, more) = window.shape(args.len(), filter.clone());
        args.extend(more);
        let udf = WindowFunctionDefinition::WindowUDF(window::framed(computed, shape));
        (udf, args, None, whole_partition())
    };
    let (fun, args, filter, frame) = match (called, &window.plain) {
        (Called::Aggregate(udf), Some(frame)) => {
            let fun = WindowFunctionDefinition::AggregateUDF(udf);
            (fun, args, filter.clone().map(Box::new), frame.clone())
        }
        (Called::Window(udf), Some(frame)) => {
            (WindowFunctionDefinition::WindowUDF(udf), args, None, frame.clone())
        }
        (Called::Partition(udf) | Called::Window(udf), _) => {
            let frame = window.plain.clone().unwrap_or_else(whole_partition);
            (WindowFunctionDefinition::WindowUDF(udf), args, None, frame)
        }
        (Called::Aggregate(udf), None) => framed(Computed::Aggregate(udf), args),
        (Called::Framed(computed), _) => framed(computed, args),
    };
    Expr::WindowFunction(Box::new(WindowFunction {
        fun,
        params: WindowFunctionParams {
            args,
            partition_by: window.partition_by.clone(),
            order_by: window.order_by.clone(),
            window_frame: frame,
            filter,
            null_treatment: None,
            distinct: false,
        },
    }))
}

fn whole_partition() -> WindowFrame {
    WindowFrame::new_bounds(
        WindowFrameUnits::Rows,
        WindowFrameBound::Preceding(ScalarValue::UInt64(None)),
        WindowFrameBound::Following(ScalarValue::UInt64(None)),
    )
}
