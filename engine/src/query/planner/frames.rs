//! Windows: their names, PARTITION BY, ORDER BY and frames.

use arrow::compute::SortOptions;
use datafusion::{
    logical_expr::{Case, Expr, SortExpr, WindowFrame, WindowFrameBound, WindowFrameUnits, lit},
    scalar::ScalarValue,
    sql::sqlparser::ast,
};

use super::{
    Planner,
    bound::{Bound, is_numeric, type_name},
    coerce::{CastContext, can_coerce},
    operators::binary,
    scope::{Env, Scope},
    windows::NamedWindows,
};
use crate::{
    error::{SqlError, sqlstate},
    query::{
        errors::sql_error,
        functions::{
            arithmetic::Operation,
            cast::{is_float, is_integer},
            window::{End, Exclude, Frame, Shape, Units},
        },
        parser::{EXCLUSIONS, fold_identifier},
    },
    types::PgType,
};

/// PARTITION BY, ORDER BY and the frame, planned.
pub(super) struct Window {
    pub(super) partition_by: Vec<Expr>,
    pub(super) order_by: Vec<SortExpr>,
    /// As DataFusion has it, if it has it.
    pub(super) plain: Option<WindowFrame>,
    frame: Frame,
    /// What bounds the frame, in the order that [`Shape`] says.
    bounds: Vec<Expr>,
}

impl Window {
    /// Orders a window that says no order by what its rows are ordered by as they come. Rows are
    /// peers as before, which is nothing to a frame of rows.
    pub(super) fn order_as(&mut self, order: &[SortExpr]) {
        let by_rows = self.frame.units == Units::Rows && self.frame.exclude == Exclude::NoOthers;
        if self.order_by.is_empty() && by_rows {
            self.order_by = order.to_vec();
        }
    }

    /// The frame and what is to follow the function's arguments for it.
    pub(super) fn shape(&self, args: usize, filter: Option<Expr>) -> (Shape, Vec<Expr>) {
        let options =
            |sort: &SortExpr| SortOptions { descending: !sort.asc, nulls_first: sort.nulls_first };
        let shape = Shape {
            args,
            filtered: filter.is_some(),
            keys: self.order_by.iter().map(options).collect(),
            frame: self.frame.clone(),
        };
        let mut exprs: Vec<Expr> = filter.into_iter().collect();
        exprs.extend(self.order_by.iter().map(|sort| sort.expr.clone()));
        exprs.extend(self.bounds.iter().cloned());
        (shape, exprs)
    }
}

fn wrong(message: impl Into<String>) -> SqlError {
    SqlError::new(sqlstate::WINDOWING_ERROR, message)
}

impl Planner<'_> {
    pub(super) fn named_windows(&self, select: &ast::Select) -> Result<NamedWindows, SqlError> {
        let mut windows = NamedWindows::new();
        for ast::NamedWindowDefinition(written, window) in &select.named_window {
            let name = fold_identifier(written);
            let ast::NamedWindowExpr::WindowSpec(spec) = window else {
                return Err(SqlError::new(
                    sqlstate::SYNTAX_ERROR,
                    format!("syntax error in the definition of window \"{name}\""),
                ));
            };
            if windows.contains_key(&name) {
                let error = wrong(format!("window \"{name}\" is already defined"));
                return Err(self.at(error, written));
            }
            let spec = combined(&windows, spec)?;
            windows.insert(name, spec);
        }
        Ok(windows)
    }

    /// The window after OVER, with what a window it names adds.
    pub(super) fn window_spec(
        &self,
        function: &ast::Function,
    ) -> Result<ast::WindowSpec, SqlError> {
        let none = NamedWindows::new();
        let windows = self.windows.last().unwrap_or(&none);
        match &function.over {
            Some(ast::WindowType::NamedWindow(name)) => named(windows, name).cloned(),
            Some(ast::WindowType::WindowSpec(spec)) => combined(windows, spec),
            None => Err(SqlError::internal("a window function without OVER")),
        }
    }

    pub(super) fn window_of(
        &mut self,
        spec: &ast::WindowSpec,
        env: &Env<'_>,
    ) -> Result<Window, SqlError> {
        let mut partition_by = Vec::new();
        let mut exclude = Exclude::NoOthers;
        for expr in &spec.partition_by {
            if let Some(marked) = exclusion(expr) {
                exclude = marked;
                continue;
            }
            let bound = self.expr(expr, env)?;
            let bound = self.decided_bound(bound)?;
            super::arrays::equality_needed(&bound.ty).map_err(|e| self.locate(e, expr))?;
            partition_by.push(self.sort_key(&bound.ty, bound.expr));
        }
        let mut order_by = Vec::new();
        let mut keys = Vec::new();
        for item in &spec.order_by {
            let bound = self.expr(&item.expr, env)?;
            let bound = self.decided_bound(bound)?;
            order_by.push(self.sort_expr(item, bound.expr.clone(), &bound.ty)?);
            keys.push(bound);
        }
        let Some(written) = &spec.window_frame else {
            let units = if order_by.is_empty() { Units::Rows } else { Units::Range };
            let end = if order_by.is_empty() { End::Unbounded } else { End::CurrentRow };
            let frame = Frame { units, start: End::Unbounded, end, exclude };
            let mut plain = WindowFrame::new((!order_by.is_empty()).then_some(false));
            by_peers(&mut plain, &keys);
            let plain = Some(plain);
            return Ok(Window { partition_by, order_by, plain, frame, bounds: Vec::new() });
        };
        let (start, end) = frame_ends(written)?;
        let units = match written.units {
            ast::WindowFrameUnits::Rows => Units::Rows,
            ast::WindowFrameUnits::Range => Units::Range,
            ast::WindowFrameUnits::Groups => Units::Groups,
        };
        if units == Units::Groups && order_by.is_empty() {
            return Err(wrong("GROUPS mode requires an ORDER BY clause"));
        }
        let frame = Frame { units, start, end, exclude };
        let bounds = match units {
            Units::Range => self.range_bounds(written, &frame, &keys, &order_by, env)?,
            _ => self.row_bounds(written, &frame, env)?,
        };
        let mut plain = plain_frame(&frame, &bounds);
        if let Some(plain) = &mut plain {
            plain.regularize_order_bys(&mut order_by).map_err(sql_error)?;
            by_peers(plain, &keys);
        }
        Ok(Window { partition_by, order_by, plain, frame, bounds })
    }

    /// How many rows or groups the ends lie away.
    fn row_bounds(
        &mut self,
        written: &ast::WindowFrame,
        frame: &Frame,
        env: &Env<'_>,
    ) -> Result<Vec<Expr>, SqlError> {
        let units = if frame.units == Units::Rows { "ROWS" } else { "GROUPS" };
        let mut bounds = Vec::new();
        for expr in offsets(written) {
            let offset = self.frame_offset(expr, units, env)?;
            let ty = offset.ty.clone();
            let offset = self.coerce(offset, &PgType::Int8, CastContext::Assignment);
            let offset = offset.map_err(|error| {
                if ty == PgType::Unknown {
                    return error;
                }
                let ty = type_name(&ty);
                let message = format!("argument of {units} must be type bigint, not type {ty}");
                self.locate(SqlError::new(sqlstate::DATATYPE_MISMATCH, message), expr)
            })?;
            bounds.push(offset.expr);
        }
        Ok(bounds)
    }

    /// An offset, which is the same for all rows.
    fn frame_offset(
        &mut self,
        expr: &ast::Expr,
        units: &str,
        env: &Env<'_>,
    ) -> Result<Bound, SqlError> {
        let scope = Scope::default();
        let alone = Env::new(&scope, env.outer, "window frame offsets");
        match self.expr(expr, &alone) {
            Ok(bound) => Ok(bound),
            Err(error) => match self.expr(expr, env) {
                Ok(_) => {
                    let message = format!("argument of {units} must not contain variables");
                    let error = SqlError::new(sqlstate::INVALID_COLUMN_REFERENCE, message);
                    Err(self.locate(error, expr))
                }
                Err(_) => Err(error),
            },
        }
    }

    /// Where the ends of a range lie for each row.
    fn range_bounds(
        &mut self,
        written: &ast::WindowFrame,
        frame: &Frame,
        keys: &[Bound],
        order_by: &[SortExpr],
        env: &Env<'_>,
    ) -> Result<Vec<Expr>, SqlError> {
        let written = offsets(written);
        if written.is_empty() {
            return Ok(Vec::new());
        }
        let ([key], [sort]) = (keys, order_by) else {
            return Err(wrong(
                "RANGE with offset PRECEDING/FOLLOWING requires exactly one ORDER BY column",
            ));
        };
        let ends = [frame.start, frame.end];
        let ends =
            ends.iter().enumerate().filter(|(_, e)| matches!(e, End::Preceding | End::Following));
        let (base, value) = self.range_value(key)?;
        let mut bounds = vec![value];
        for (expr, (index, end)) in written.into_iter().zip(ends) {
            let offset = self.frame_offset(expr, "RANGE", env)?;
            let offset = self.range_offset(&key.ty, offset).map_err(|e| self.locate(e, expr))?;
            let zero = self.coerce(
                Bound::literal(ScalarValue::Utf8View(Some("0".to_owned())), PgType::Unknown),
                &offset.ty,
                CastContext::Explicit,
            )?;
            let valid =
                self.compare(offset.clone(), datafusion::logical_expr::Operator::GtEq, zero)?;
            let valid = match &offset.ty {
                ty if *ty == PgType::Float8 || is_numeric(ty) => {
                    let number = self.is_nan(offset.clone())?;
                    Bound::bool(binary(
                        valid.expr,
                        datafusion::logical_expr::Operator::And,
                        Expr::Not(Box::new(number)),
                    ))
                }
                _ => valid,
            };
            let forward = (*end == End::Following) == sort.asc;
            let anywhere = if (index == 0) == sort.asc { f64::NEG_INFINITY } else { f64::INFINITY };
            bounds.push(self.range_place(base.clone(), offset, forward, anywhere)?);
            bounds.push(valid.expr);
        }
        Ok(bounds)
    }

    /// The value that a range goes by, in the type it is computed in, and what of it is compared.
    fn range_value(&mut self, key: &Bound) -> Result<(Bound, Expr), SqlError> {
        let ty = match &key.ty {
            t if is_integer(t) || is_numeric(t) => PgType::Numeric(None),
            t if is_float(t) => PgType::Float8,
            PgType::Date | PgType::Timestamp(_) => PgType::Timestamp(None),
            PgType::Timestamptz(_) => PgType::Timestamptz(None),
            PgType::Interval(_) => PgType::Interval(None),
            PgType::Time(_) => PgType::Interval(None),
            other => {
                let message = format!(
                    "RANGE with offset PRECEDING/FOLLOWING is not supported for column type {}",
                    type_name(other)
                );
                return Err(SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
            }
        };
        let base = match ty {
            PgType::Numeric(_) => Bound::new(self.bare(key.clone())?, ty),
            _ => self.coerce(key.clone(), &ty, CastContext::Implicit)?,
        };
        let value = self.sort_key(&base.ty, base.expr.clone());
        Ok((base, value))
    }

    /// The offset in the type that goes with the column's.
    fn range_offset(&mut self, key: &PgType, offset: Bound) -> Result<Bound, SqlError> {
        let wanted = match key {
            t if is_integer(t) => PgType::Int8,
            t if is_numeric(t) => PgType::Numeric(None),
            t if is_float(t) => PgType::Float8,
            _ => PgType::Interval(None),
        };
        if offset.ty != PgType::Unknown
            && !can_coerce(&offset.ty, &wanted)
            && offset.ty != wanted
            && !(is_numeric(&offset.ty) && is_numeric(&wanted))
        {
            let message = format!(
                "RANGE with offset PRECEDING/FOLLOWING is not supported for column type {} and \
                 offset type {}",
                type_name(key),
                type_name(&offset.ty)
            );
            return Err(SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message)
                .hint("Cast the offset value to an appropriate type."));
        }
        let literal = if is_integer(key) { key.clone() } else { wanted.clone() };
        let offset = match offset.ty {
            PgType::Unknown => self.coerce(offset, &literal, CastContext::Explicit)?,
            _ => offset,
        };
        match wanted {
            PgType::Int8 | PgType::Numeric(_) => {
                Ok(Bound::new(self.bare(offset)?, PgType::Numeric(None)))
            }
            _ => self.coerce(offset, &wanted, CastContext::Implicit),
        }
    }

    /// Where an end lies. `anywhere`: where it lies so that the offset bounds nothing.
    fn range_place(
        &mut self,
        base: Bound,
        offset: Bound,
        forward: bool,
        anywhere: f64,
    ) -> Result<Expr, SqlError> {
        use datafusion::logical_expr::Operator as O;
        if base.ty == PgType::Float8 {
            let operator = if forward { O::Plus } else { O::Minus };
            let place = binary(base.expr.clone(), operator, offset.expr);
            // From infinity back by infinity is no place.
            let nan = |expr: Expr| datafusion::functions::math::expr_fn::isnan(expr);
            let nowhere = binary(nan(place.clone()), O::And, Expr::Not(Box::new(nan(base.expr))));
            let when = vec![(Box::new(nowhere), Box::new(lit(anywhere)))];
            let case = Case::new(None, when, Some(Box::new(place)));
            return Ok(self.sort_key(&PgType::Float8, Expr::Case(case)));
        }
        let operation = if forward { Operation::Add } else { Operation::Subtract };
        let (ty, number) = (base.ty.clone(), base.clone());
        let place = self.arithmetic(base, operation, offset)?;
        let place = match ty {
            PgType::Numeric(_) => {
                let place = Bound::new(self.bare(place)?, ty.clone());
                // From infinity back by infinity is no place.
                let (gone, there) = (self.is_nan(place.clone())?, self.is_nan(number)?);
                let nowhere = binary(gone, O::And, Expr::Not(Box::new(there)));
                let text = if anywhere < 0.0 { "-Infinity" } else { "Infinity" };
                let anywhere = self.constant_of(text, &ty, true)?;
                let when = vec![(Box::new(nowhere), Box::new(Expr::Literal(anywhere, None)))];
                Bound::new(Expr::Case(Case::new(None, when, Some(Box::new(place.expr)))), ty)
            }
            _ => self.coerce(place, &ty, CastContext::Implicit)?,
        };
        Ok(self.sort_key(&place.ty, place.expr))
    }

    /// Whether a number is NaN.
    fn is_nan(&mut self, number: Bound) -> Result<Expr, SqlError> {
        let nan = self.constant_of("NaN", &number.ty, true)?;
        let nan = Bound::literal(nan, number.ty.clone());
        Ok(self.compare(number, datafusion::logical_expr::Operator::Eq, nan)?.expr)
    }
}

/// The expressions of the ends that have an offset.
fn offsets(frame: &ast::WindowFrame) -> Vec<&ast::Expr> {
    let ends = std::iter::once(&frame.start_bound).chain(&frame.end_bound);
    ends.filter_map(|bound| match bound {
        ast::WindowFrameBound::Preceding(expr) | ast::WindowFrameBound::Following(expr) => {
            expr.as_deref()
        }
        ast::WindowFrameBound::CurrentRow => None,
    })
    .collect()
}

/// What the ends of a frame are, where they may stand so.
fn frame_ends(frame: &ast::WindowFrame) -> Result<(End, End), SqlError> {
    use ast::WindowFrameBound as B;
    let end = |bound: &B| match bound {
        B::CurrentRow => End::CurrentRow,
        B::Preceding(None) | B::Following(None) => End::Unbounded,
        B::Preceding(Some(_)) => End::Preceding,
        B::Following(Some(_)) => End::Following,
    };
    match (&frame.start_bound, &frame.end_bound) {
        (B::Following(None), _) => Err(wrong("frame start cannot be UNBOUNDED FOLLOWING")),
        (_, Some(B::Preceding(None))) => Err(wrong("frame end cannot be UNBOUNDED PRECEDING")),
        (B::CurrentRow, Some(B::Preceding(_))) => {
            Err(wrong("frame starting from current row cannot have preceding rows"))
        }
        (B::Following(_), None | Some(B::CurrentRow)) => {
            Err(wrong("frame starting from following row cannot end with current row"))
        }
        (B::Following(_), Some(B::Preceding(_))) => {
            Err(wrong("frame starting from following row cannot have preceding rows"))
        }
        (start, last) => Ok((end(start), last.as_ref().map_or(End::CurrentRow, end))),
    }
}

/// The frame as DataFusion has it: it begins with the partition and nothing is taken out of it.
fn plain_frame(frame: &Frame, bounds: &[Expr]) -> Option<WindowFrame> {
    if frame.start != End::Unbounded || frame.exclude != Exclude::NoOthers {
        return None;
    }
    let units = match frame.units {
        Units::Rows => WindowFrameUnits::Rows,
        Units::Range => WindowFrameUnits::Range,
        Units::Groups => WindowFrameUnits::Groups,
    };
    // Unbounded is a NULL of the type the units count in.
    let unbounded = match frame.units {
        Units::Range => ScalarValue::Null,
        _ => ScalarValue::UInt64(None),
    };
    let offset = || match (frame.units, bounds) {
        (Units::Rows, [Expr::Literal(ScalarValue::Int64(Some(n)), _)]) => {
            u64::try_from(*n).ok().map(|n| ScalarValue::UInt64(Some(n)))
        }
        _ => None,
    };
    let end = match frame.end {
        End::Unbounded => WindowFrameBound::Following(unbounded.clone()),
        End::CurrentRow => WindowFrameBound::CurrentRow,
        End::Preceding => WindowFrameBound::Preceding(offset()?),
        End::Following => WindowFrameBound::Following(offset()?),
    };
    Some(WindowFrame::new_bounds(units, WindowFrameBound::Preceding(unbounded), end))
}

/// Types whose values, or keys, DataFusion does not look up by value: without offsets a range is
/// bounded by groups of peers.
fn by_peers(frame: &mut WindowFrame, keys: &[Bound]) {
    let only_peers = |key: &Bound| {
        matches!(
            key.ty,
            PgType::Numeric(None)
                | PgType::Bytea
                | PgType::Uuid
                | PgType::Interval(_)
                | PgType::Array(_)
                | PgType::Record(_)
                | PgType::Jsonb
                | PgType::Jsonpath
        )
    };
    if frame.units != WindowFrameUnits::Range || !keys.iter().any(only_peers) {
        return;
    }
    let unbounded = |bound: &WindowFrameBound| match bound {
        WindowFrameBound::Preceding(_) => WindowFrameBound::Preceding(ScalarValue::UInt64(None)),
        WindowFrameBound::Following(_) => WindowFrameBound::Following(ScalarValue::UInt64(None)),
        WindowFrameBound::CurrentRow => WindowFrameBound::CurrentRow,
    };
    *frame = WindowFrame::new_bounds(
        WindowFrameUnits::Groups,
        unbounded(&frame.start_bound),
        unbounded(&frame.end_bound),
    );
}

/// What the parser put in front of PARTITION BY's expressions for EXCLUDE.
fn exclusion(expr: &ast::Expr) -> Option<Exclude> {
    let ast::Expr::Identifier(ident) = expr else { return None };
    let index = EXCLUSIONS.iter().position(|(_, mark)| *mark == ident.value)?;
    Some([Exclude::CurrentRow, Exclude::Group, Exclude::Ties][index])
}

fn named<'w>(
    windows: &'w NamedWindows,
    name: &ast::Ident,
) -> Result<&'w ast::WindowSpec, SqlError> {
    let name = fold_identifier(name);
    windows.get(&name).ok_or_else(|| {
        let message = format!("window \"{name}\" does not exist");
        SqlError::new(sqlstate::UNDEFINED_OBJECT, message)
    })
}

/// A window with what the one it names adds.
fn combined(windows: &NamedWindows, spec: &ast::WindowSpec) -> Result<ast::WindowSpec, SqlError> {
    let Some(name) = &spec.window_name else { return Ok(spec.clone()) };
    let mut result = named(windows, name)?.clone();
    let name = fold_identifier(name);
    let (marks, partition_by): (Vec<_>, Vec<_>) =
        spec.partition_by.iter().cloned().partition(|expr| exclusion(expr).is_some());
    if !partition_by.is_empty() {
        return Err(wrong(format!("cannot override PARTITION BY clause of window \"{name}\"")));
    }
    if !spec.order_by.is_empty() {
        if !result.order_by.is_empty() {
            return Err(wrong(format!("cannot override ORDER BY clause of window \"{name}\"")));
        }
        result.order_by.clone_from(&spec.order_by);
    }
    if result.window_frame.is_some() {
        let error = wrong(format!("cannot copy window \"{name}\" because it has a frame clause"));
        let alone = spec.order_by.is_empty() && spec.window_frame.is_none();
        return Err(match alone {
            true => error.hint("Omit the parentheses in this OVER clause."),
            false => error,
        });
    }
    result.partition_by.extend(marks);
    result.window_frame.clone_from(&spec.window_frame);
    result.window_name = None;
    Ok(result)
}
