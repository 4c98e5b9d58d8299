//! Window functions.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::{
    functions_window as df,
    logical_expr::{
        Expr, SortExpr, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition,
        WindowUDF, cast,
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
    scope::Env,
};
use crate::{
    error::{SqlError, sqlstate},
    query::{errors::sql_error, parser::fold_identifier},
    types::PgType,
};

/// The windows that a SELECT names.
pub(super) type NamedWindows = HashMap<String, ast::WindowSpec>;

/// PARTITION BY, ORDER BY and the frame, planned.
struct Window {
    partition_by: Vec<Expr>,
    order_by: Vec<SortExpr>,
    frame: WindowFrame,
}

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

impl Planner<'_> {
    pub(super) fn named_windows(&self, select: &ast::Select) -> Result<NamedWindows, SqlError> {
        let mut windows = NamedWindows::new();
        for ast::NamedWindowDefinition(name, window) in &select.named_window {
            let name = fold_identifier(name);
            let spec = match window {
                ast::NamedWindowExpr::WindowSpec(spec) => spec.clone(),
                ast::NamedWindowExpr::NamedWindow(_) => {
                    return Err(SqlError::new(
                        sqlstate::SYNTAX_ERROR,
                        format!("syntax error in the definition of window \"{name}\""),
                    ));
                }
            };
            if windows.insert(name.clone(), spec).is_some() {
                let message = format!("window \"{name}\" is already defined");
                return Err(SqlError::new(sqlstate::WINDOWING_ERROR, message));
            }
        }
        Ok(windows)
    }

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
        let window = self.window_of(&spec, &inner)?;
        let filter = match function.filter.as_deref() {
            None => None,
            Some(filter) => {
                let bound = self.expr(filter, &inner)?;
                Some(Box::new(self.condition(bound, "FILTER")?))
            }
        };
        let make = |definition: WindowFunctionDefinition, exprs: Vec<Expr>| {
            Expr::WindowFunction(Box::new(WindowFunction {
                fun: definition,
                params: WindowFunctionParams {
                    args: exprs,
                    partition_by: window.partition_by.clone(),
                    order_by: window.order_by.clone(),
                    window_frame: window.frame.clone(),
                    filter: filter.clone(),
                    null_treatment: None,
                    distinct: false,
                },
            }))
        };
        if is_aggregate(name) {
            if name == "grouping" {
                return Err(undefined_function(name, &[]));
            }
            let aggregate = |udf, exprs| make(WindowFunctionDefinition::AggregateUDF(udf), exprs);
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
        let call =
            |udf: Arc<WindowUDF>, exprs| make(WindowFunctionDefinition::WindowUDF(udf), exprs);
        self.window_call(name, bounds, &call)
    }

    fn window_call(
        &mut self,
        name: &str,
        mut args: Vec<Bound>,
        call: &dyn Fn(Arc<WindowUDF>, Vec<Expr>) -> Expr,
    ) -> Result<Bound, SqlError> {
        let as_bigint = |expr: Expr| Bound::new(cast(expr, DataType::Int64), PgType::Int8);
        Ok(match (name, args.len()) {
            ("row_number", 0) => as_bigint(call(df::row_number::row_number_udwf(), vec![])),
            ("rank", 0) => as_bigint(call(df::rank::rank_udwf(), vec![])),
            ("dense_rank", 0) => as_bigint(call(df::rank::dense_rank_udwf(), vec![])),
            ("percent_rank", 0) => {
                Bound::new(call(df::rank::percent_rank_udwf(), vec![]), PgType::Float8)
            }
            ("cume_dist", 0) => {
                Bound::new(call(df::cume_dist::cume_dist_udwf(), vec![]), PgType::Float8)
            }
            ("ntile", 1) => {
                let count = self.coerce(args.remove(0), &PgType::Int8, CastContext::Implicit)?;
                match count.constant() {
                    Some(ScalarValue::Int64(Some(1..))) => {}
                    Some(_) => {
                        return Err(SqlError::new(
                            "22014",
                            "argument of ntile must be greater than zero",
                        ));
                    }
                    None => {
                        return Err(SqlError::not_supported(
                            "ntile with an argument that is no constant",
                        ));
                    }
                }
                let expr = call(df::ntile::ntile_udwf(), vec![count.expr]);
                Bound::new(cast(expr, DataType::Int32), PgType::Int4)
            }
            ("lag" | "lead", 1..=3) => self.shifted(name, args, call)?,
            ("first_value" | "last_value", 1) => {
                let bound = self.decided_bound(args.remove(0))?;
                let udf = if name == "first_value" {
                    df::nth_value::first_value_udwf()
                } else {
                    df::nth_value::last_value_udwf()
                };
                Bound::new(call(udf, vec![bound.expr]), bound.ty)
            }
            ("nth_value", 2) => {
                let n = self.coerce(args.remove(1), &PgType::Int8, CastContext::Implicit)?;
                if !matches!(n.constant(), Some(ScalarValue::Int64(Some(1..)))) {
                    return Err(SqlError::new(
                        "22016",
                        "argument of nth_value must be greater than zero",
                    ));
                }
                let bound = self.decided_bound(args.remove(0))?;
                let udf = df::nth_value::nth_value_udwf();
                Bound::new(call(udf, vec![bound.expr, n.expr]), bound.ty)
            }
            _ => return Err(undefined_function(name, &args)),
        })
    }

    fn decided_bound(&mut self, bound: Bound) -> Result<Bound, SqlError> {
        if bound.ty == PgType::Unknown {
            return self.coerce(bound, &PgType::Text, CastContext::Implicit);
        }
        Ok(bound)
    }

    /// `lag` and `lead`.
    fn shifted(
        &mut self,
        name: &str,
        mut args: Vec<Bound>,
        call: &dyn Fn(Arc<WindowUDF>, Vec<Expr>) -> Expr,
    ) -> Result<Bound, SqlError> {
        let default = if args.len() == 3 { Some(args.remove(2)) } else { None };
        let offset = if args.len() == 2 { Some(args.remove(1)) } else { None };
        let mut value = self.decided_bound(args.remove(0))?;
        let mut exprs = Vec::new();
        let mut rest = Vec::new();
        if let Some(offset) = offset {
            let offset = self.coerce(offset, &PgType::Int8, CastContext::Implicit)?;
            if offset.constant().is_none() {
                return Err(SqlError::not_supported(format!(
                    "{name} with an offset that is no constant"
                )));
            }
            rest.push(offset.expr);
        }
        if let Some(default) = default {
            let ty = self.common_type(&[value.ty.clone(), default.ty.clone()], name)?;
            value = self.coerce(value, &ty, CastContext::Implicit)?;
            let default = self.coerce(default, &ty, CastContext::Implicit)?;
            if default.constant().is_none() {
                return Err(SqlError::not_supported(format!(
                    "{name} with a default that is no constant"
                )));
            }
            rest.push(default.expr);
        }
        exprs.push(value.expr);
        exprs.append(&mut rest);
        let udf = if name == "lag" { df::lead_lag::lag_udwf() } else { df::lead_lag::lead_udwf() };
        Ok(Bound::new(call(udf, exprs), value.ty))
    }

    /// The window after OVER, with what a window it names adds.
    fn window_spec(&self, function: &ast::Function) -> Result<ast::WindowSpec, SqlError> {
        let named = |name: &ast::Ident| {
            let name = fold_identifier(name);
            self.windows.last().and_then(|w| w.get(&name)).cloned().ok_or_else(|| {
                let message = format!("window \"{name}\" does not exist");
                SqlError::new(sqlstate::UNDEFINED_OBJECT, message)
            })
        };
        match &function.over {
            Some(ast::WindowType::NamedWindow(name)) => named(name),
            Some(ast::WindowType::WindowSpec(spec)) => {
                let Some(base) = &spec.window_name else {
                    return Ok(spec.clone());
                };
                let mut combined = named(base)?;
                if !spec.partition_by.is_empty() {
                    return Err(SqlError::new(
                        sqlstate::WINDOWING_ERROR,
                        format!("cannot override PARTITION BY clause of window \"{base}\""),
                    ));
                }
                if !spec.order_by.is_empty() {
                    if !combined.order_by.is_empty() {
                        return Err(SqlError::new(
                            sqlstate::WINDOWING_ERROR,
                            format!("cannot override ORDER BY clause of window \"{base}\""),
                        ));
                    }
                    combined.order_by.clone_from(&spec.order_by);
                }
                if combined.window_frame.is_some() {
                    return Err(SqlError::new(
                        sqlstate::WINDOWING_ERROR,
                        format!("cannot copy window \"{base}\" because it has a frame clause"),
                    ));
                }
                combined.window_frame.clone_from(&spec.window_frame);
                Ok(combined)
            }
            None => Err(SqlError::internal("a window function without OVER")),
        }
    }

    fn window_of(&mut self, spec: &ast::WindowSpec, env: &Env<'_>) -> Result<Window, SqlError> {
        let mut partition_by = Vec::new();
        for expr in &spec.partition_by {
            let bound = self.expr(expr, env)?;
            let bound = self.decided_bound(bound)?;
            super::arrays::equality_needed(&bound.ty).map_err(|e| self.locate(e, expr))?;
            partition_by.push(self.sort_key(&bound.ty, bound.expr));
        }
        let mut order_by = Vec::new();
        // Types whose values, or keys, DataFusion does not look up by value.
        let mut only_peers = false;
        for item in &spec.order_by {
            let bound = self.expr(&item.expr, env)?;
            let bound = self.decided_bound(bound)?;
            only_peers |= matches!(
                bound.ty,
                PgType::Numeric(None)
                    | PgType::Bytea
                    | PgType::Uuid
                    | PgType::Interval(_)
                    | PgType::Array(_)
                    | PgType::Jsonb
                    | PgType::Jsonpath
            );
            order_by.push(self.sort_expr(item, bound.expr, &bound.ty)?);
        }
        let mut frame = match &spec.window_frame {
            None => WindowFrame::new((!order_by.is_empty()).then_some(false)),
            Some(frame) => {
                let frame = self.frame(frame, env)?;
                frame.regularize_order_bys(&mut order_by).map_err(sql_error)?;
                frame
            }
        };
        if only_peers && frame.units == WindowFrameUnits::Range && !order_by.is_empty() {
            // Without offsets a range is bounded by groups of peers.
            let unbounded = |bound| match bound {
                WindowFrameBound::Preceding(_) => {
                    WindowFrameBound::Preceding(ScalarValue::UInt64(None))
                }
                WindowFrameBound::Following(_) => {
                    WindowFrameBound::Following(ScalarValue::UInt64(None))
                }
                current => current,
            };
            frame = WindowFrame::new_bounds(
                WindowFrameUnits::Groups,
                unbounded(frame.start_bound),
                unbounded(frame.end_bound),
            );
        }
        Ok(Window { partition_by, order_by, frame })
    }

    fn frame(&mut self, frame: &ast::WindowFrame, env: &Env<'_>) -> Result<WindowFrame, SqlError> {
        let units = match frame.units {
            ast::WindowFrameUnits::Rows => WindowFrameUnits::Rows,
            ast::WindowFrameUnits::Range => WindowFrameUnits::Range,
            ast::WindowFrameUnits::Groups => WindowFrameUnits::Groups,
        };
        let start = self.frame_bound(&frame.start_bound, units, env)?;
        let end = match &frame.end_bound {
            None => WindowFrameBound::CurrentRow,
            Some(bound) => self.frame_bound(bound, units, env)?,
        };
        let wrong = |message| Err(SqlError::new(sqlstate::WINDOWING_ERROR, message));
        match (&frame.start_bound, &frame.end_bound) {
            (ast::WindowFrameBound::Following(None), _) => {
                return wrong("frame start cannot be UNBOUNDED FOLLOWING");
            }
            (_, Some(ast::WindowFrameBound::Preceding(None))) => {
                return wrong("frame end cannot be UNBOUNDED PRECEDING");
            }
            (ast::WindowFrameBound::CurrentRow, Some(ast::WindowFrameBound::Preceding(_))) => {
                return wrong("frame starting from current row cannot have preceding rows");
            }
            (
                ast::WindowFrameBound::Following(_),
                None
                | Some(ast::WindowFrameBound::CurrentRow | ast::WindowFrameBound::Preceding(_)),
            ) => {
                return wrong("frame starting from following row cannot end with current row");
            }
            _ => {}
        }
        Ok(WindowFrame::new_bounds(units, start, end))
    }

    fn frame_bound(
        &mut self,
        bound: &ast::WindowFrameBound,
        units: WindowFrameUnits,
        env: &Env<'_>,
    ) -> Result<WindowFrameBound, SqlError> {
        let (preceding, expr) = match bound {
            ast::WindowFrameBound::CurrentRow => return Ok(WindowFrameBound::CurrentRow),
            ast::WindowFrameBound::Preceding(expr) => (true, expr),
            ast::WindowFrameBound::Following(expr) => (false, expr),
        };
        let value = match expr {
            // Unbounded is a NULL of the type the units count in.
            None if units == WindowFrameUnits::Range => ScalarValue::Null,
            None => ScalarValue::UInt64(None),
            Some(_) if units == WindowFrameUnits::Range => {
                return Err(SqlError::not_supported("RANGE with an offset"));
            }
            Some(expr) => {
                let offset = self.expr(expr, env)?;
                let offset = self.coerce(offset, &PgType::Int8, CastContext::Implicit)?;
                match offset.constant() {
                    Some(ScalarValue::Int64(Some(n))) if *n >= 0 => {
                        ScalarValue::UInt64(Some(n.unsigned_abs()))
                    }
                    Some(_) => {
                        return Err(SqlError::new(
                            "22013",
                            "frame starting or ending offset must not be negative",
                        ));
                    }
                    None => {
                        return Err(SqlError::not_supported("a frame offset that is no constant"));
                    }
                }
            }
        };
        Ok(if preceding {
            WindowFrameBound::Preceding(value)
        } else {
            WindowFrameBound::Following(value)
        })
    }
}
