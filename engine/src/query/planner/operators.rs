//! Operators: which one two types mean, and how it is computed.

use std::sync::Arc;

use datafusion::{
    logical_expr::{BinaryExpr, Expr, Operator},
    scalar::ScalarValue,
    sql::sqlparser::ast,
};

use super::{
    Planner,
    bound::{Bound, is_numeric, type_name, undefined_operator},
    coerce::{CastContext, can_coerce, common_shape, shape_of},
    scope::Env,
};
use crate::{
    error::{SqlError, sqlstate},
    query::functions::{
        arithmetic::{self, Operation},
        cast::{self as casts, is_float, is_integer, is_text},
        comparing, concat, datetime, numeric, scalar,
    },
    types::{NumericShape, PgType, RecordType, TimeZone},
};

/// `=`, `<>`, `<`, `<=`, `>`, `>=`.
pub(crate) fn is_comparison(op: Operator) -> bool {
    use Operator as O;
    matches!(op, O::Eq | O::NotEq | O::Lt | O::LtEq | O::Gt | O::GtEq)
}

pub(super) fn binary(left: Expr, op: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))
}

/// The two sides of a comparison in one type.
enum Comparable {
    /// Compared as they are.
    Plain(Expr, Expr),
    /// Compared by their keys, see [`Planner::sort_key`].
    Keyed(PgType, Expr, Expr),
}

impl Planner<'_> {
    /// `left symbol right` for a comparison.
    pub(super) fn compare(
        &mut self,
        left: Bound,
        op: Operator,
        right: Bound,
    ) -> Result<Bound, SqlError> {
        if let Some(rewritten) = self.compare_date(&left, op, &right)? {
            return Ok(rewritten);
        }
        let (l, r) = match self.comparable(left, right, &op)? {
            Comparable::Plain(l, r) => (l, r),
            Comparable::Keyed(ty, l, r) => (self.sort_key(&ty, l), self.sort_key(&ty, r)),
        };
        Ok(Bound::bool(binary(l, op, r)))
    }

    /// The type that a comparison gives its left side, if it is another one.
    pub(super) fn left_operand_type(&self, left: &PgType, right: &PgType) -> Option<PgType> {
        use PgType as T;
        match (left, right) {
            (T::Unknown, T::Unknown) => Some(T::Text),
            (T::Unknown, known) => Some(self.literal_target(known)),
            (T::Varchar(_), T::Bpchar(_)) => Some(T::Bpchar(None)),
            (T::Varchar(_), r) if is_text(r) => Some(T::Text),
            (T::Bpchar(_), T::Text | T::Name) => Some(T::Text),
            (l, T::Numeric(_)) if is_integer(l) => Some(T::Numeric(None)),
            (l, r) if (is_integer(l) || is_numeric(l)) && is_float(r) => Some(T::Float8),
            _ => None,
        }
    }

    fn comparable(
        &mut self,
        left: Bound,
        right: Bound,
        op: &Operator,
    ) -> Result<Comparable, SqlError> {
        use PgType as T;
        let implicit = CastContext::Implicit;
        let unknown = |b: &Bound| b.ty == T::Unknown;
        let (lt, rt) = (left.ty.clone(), right.ty.clone());
        if unknown(&left) && unknown(&right) {
            let left = self.coerce(left, &T::Text, implicit)?;
            let right = self.coerce(right, &T::Text, implicit)?;
            return Ok(Comparable::Plain(left.expr, right.expr));
        }
        if unknown(&left) || unknown(&right) {
            let (known, other) = if unknown(&left) { (rt, &left) } else { (lt, &right) };
            let target = match known {
                // No client can send a row whose type it does not know.
                T::Record(_) if matches!(other.expr, Expr::Placeholder(_)) => known,
                known => self.literal_target(&known),
            };
            // Which one is the literal does not matter from here on.
            let left = if unknown(&left) { self.coerce(left, &target, implicit)? } else { left };
            let right =
                if unknown(&right) { self.coerce(right, &target, implicit)? } else { right };
            return self.comparable(left, right, op);
        }
        let exact = |t: &T| is_integer(t) || is_numeric(t);
        let number = |t: &T| exact(t) || is_float(t);
        if is_integer(&lt) && is_integer(&rt) {
            let (left, right) = self.integers(left, right)?;
            return Ok(Comparable::Plain(left.expr, right.expr));
        }
        if exact(&lt) && exact(&rt) {
            return self.comparable_numerics(left, right);
        }
        if number(&lt) && number(&rt) {
            let target = if lt == T::Float4 && rt == T::Float4 { T::Float4 } else { T::Float8 };
            let left = self.coerce(left, &target, implicit)?;
            let right = self.coerce(right, &target, implicit)?;
            return Ok(self.comparable_floats(target, left, right));
        }
        if is_text(&lt) && is_text(&rt) {
            return self.comparable_texts(left, right);
        }
        if let (T::Array(_), T::Array(_)) = (&lt, &rt) {
            return self.comparable_arrays(left, right, op);
        }
        if let (T::Record(_), T::Record(_)) = (&lt, &rt) {
            self.comparable_rows(&left, &right, op)?;
            // Each by its own: fields of different lengths and scales have the same keys.
            let (l, r) = (self.sort_key(&lt, left.expr), self.sort_key(&rt, right.expr));
            return Ok(Comparable::Plain(l, r));
        }
        if matches!(lt, T::Json | T::Jsonpath) {
            return Err(undefined_operator(&symbol(op), Some(&lt), &rt));
        }
        // Without modifiers: values are not rounded to be compared.
        let target = if lt == rt {
            lt
        } else if can_coerce(&lt, &rt) && !is_text(&lt) {
            super::bound::base(&rt)
        } else if can_coerce(&rt, &lt) && !is_text(&rt) {
            super::bound::base(&lt)
        } else {
            return Err(undefined_operator(&symbol(op), Some(&lt), &rt));
        };
        let left = self.coerce(left, &target, implicit)?;
        let right = self.coerce(right, &target, implicit)?;
        Ok(match target {
            T::Interval(_) | T::Jsonb => Comparable::Keyed(target, left.expr, right.expr),
            _ => Comparable::Plain(left.expr, right.expr),
        })
    }

    /// Arrays of one element type, but for lengths and scales.
    fn comparable_arrays(
        &mut self,
        left: Bound,
        right: Bound,
        op: &Operator,
    ) -> Result<Comparable, SqlError> {
        let undefined = || undefined_operator(&symbol(op), Some(&left.ty), &right.ty);
        let (PgType::Array(a), PgType::Array(b)) = (&left.ty, &right.ty) else {
            return Err(undefined());
        };
        let same = super::bound::same_base(a, b) && !matches!(**a, PgType::Json | PgType::Jsonpath);
        let of = if a == b { a.as_ref().clone() } else { super::bound::base(a) };
        if !same {
            return Err(undefined());
        }
        let ty = PgType::Array(Arc::new(of));
        let left = self.convert(left, &ty, false)?;
        let right = self.convert(right, &ty, false)?;
        Ok(Comparable::Keyed(ty, left.expr, right.expr))
    }

    /// Beside text, `char(n)` is text without its trailing blanks; beside `char` and `varchar` the
    /// trailing blanks of neither count.
    fn comparable_texts(&mut self, left: Bound, right: Bound) -> Result<Comparable, SqlError> {
        let blank = |b: &Bound| matches!(b.ty, PgType::Bpchar(_));
        let padded = |b: &Bound| matches!(b.ty, PgType::Bpchar(_) | PgType::Varchar(_));
        if !blank(&left) && !blank(&right) {
            return Ok(Comparable::Plain(left.expr, right.expr));
        }
        if padded(&left) && padded(&right) {
            let significant = |bound: Bound| match bound.ty {
                PgType::Bpchar(Some(_)) => bound.expr,
                _ => scalar::call(&casts::blank_trimmed(), vec![bound.expr]),
            };
            return Ok(Comparable::Plain(significant(left), significant(right)));
        }
        let left = self.coerce(left, &PgType::Text, CastContext::Implicit)?;
        let right = self.coerce(right, &PgType::Text, CastContext::Implicit)?;
        Ok(Comparable::Plain(left.expr, right.expr))
    }

    /// The type an untyped literal takes beside this one.
    fn literal_target(&self, known: &PgType) -> PgType {
        match known {
            PgType::Varchar(_) | PgType::Name => PgType::Text,
            PgType::Bpchar(_) => PgType::Bpchar(None),
            PgType::Numeric(_) => PgType::Numeric(None),
            // They have no operators of their own.
            name if name.is_object_name() => PgType::Oid,
            PgType::Array(_) => known.clone(),
            // Their operators are those of all rows, which no text is one of.
            PgType::Record(_) => PgType::Record(Arc::new(RecordType::anonymous([]))),
            other => super::bound::base(other),
        }
    }

    /// Two integers of the wider one's type.
    fn integers(&mut self, left: Bound, right: Bound) -> Result<(Bound, Bound), SqlError> {
        let wider = if width(&left.ty) >= width(&right.ty) { &left.ty } else { &right.ty }.clone();
        let left = self.coerce(left, &wider, CastContext::Implicit)?;
        let right = self.coerce(right, &wider, CastContext::Implicit)?;
        Ok((left, right))
    }

    fn comparable_numerics(&mut self, left: Bound, right: Bound) -> Result<Comparable, SqlError> {
        let left = self.shaped_constant(left, &right.ty);
        let right = self.shaped_constant(right, &left.ty);
        let shapes = (shape_of(&left.ty), shape_of(&right.ty));
        if let (Some(a), Some(b)) = shapes
            && let Some(shape) = common_shape(a, b)
        {
            let (l, r) = (self.shaped(left, shape)?, self.shaped(right, shape)?);
            return Ok(Comparable::Plain(l, r));
        }
        Ok(Comparable::Keyed(PgType::Numeric(None), left.expr, right.expr))
    }

    /// A bare numeric constant as a decimal of its own shape, so that it meets a decimal column in
    /// the column's terms.
    fn shaped_constant(&mut self, bound: Bound, other: &PgType) -> Bound {
        if bound.ty != PgType::Numeric(None) || shape_of(other).is_none() {
            return bound;
        }
        match bound.constant_text().and_then(super::literals::decimal_literal) {
            Some(literal) => literal,
            None => bound,
        }
    }

    fn comparable_floats(&mut self, ty: PgType, left: Bound, right: Bound) -> Comparable {
        // Only zeros and NaNs have several bit patterns; a constant that is neither meets none.
        let harmless = |b: &Bound| match b.constant() {
            Some(ScalarValue::Float64(Some(v))) => *v != 0.0 && !v.is_nan(),
            Some(ScalarValue::Float32(Some(v))) => *v != 0.0 && !v.is_nan(),
            Some(value) => value.is_null(),
            None => false,
        };
        if harmless(&left) || harmless(&right) {
            return Comparable::Plain(left.expr, right.expr);
        }
        Comparable::Keyed(ty, left.expr, right.expr)
    }

    /// A comparison of a date with a constant timestamp, as one of dates if that says the same.
    fn compare_date(
        &mut self,
        left: &Bound,
        op: Operator,
        right: &Bound,
    ) -> Result<Option<Bound>, SqlError> {
        let days = |b: &Bound| match (&b.ty, b.constant()) {
            (PgType::Timestamp(_), Some(ScalarValue::TimestampMicrosecond(Some(us), None))) => {
                (us % datetime::DAY_US == 0)
                    .then(|| i32::try_from(us / datetime::DAY_US).ok())
                    .flatten()
            }
            _ => None,
        };
        let date = |days| Expr::Literal(ScalarValue::Date32(Some(days)), None);
        Ok(match (&left.ty, &right.ty, days(left), days(right)) {
            (PgType::Date, _, _, Some(days)) => {
                Some(Bound::bool(binary(left.expr.clone(), op, date(days))))
            }
            (_, PgType::Date, Some(days), _) => {
                Some(Bound::bool(binary(date(days), op, right.expr.clone())))
            }
            _ => None,
        })
    }

    /// What sorts, groups and compares as values of the type do; the expression itself where
    /// Arrow's order is PostgreSQL's.
    pub(super) fn sort_key(&self, ty: &PgType, expr: Expr) -> Expr {
        match key_function(ty) {
            Some(udf) => scalar::call(&udf, vec![expr]),
            None => expr,
        }
    }

    /// `~ integer`.
    pub(super) fn bitwise_not(
        &mut self,
        expr: &ast::Expr,
        env: &Env<'_>,
    ) -> Result<Bound, SqlError> {
        let bound = self.expr(expr, env)?;
        if !is_integer(&bound.ty) {
            return Err(self.locate(undefined_operator("~", None, &bound.ty), expr));
        }
        let ones = self.coerce(Bound::int4(-1), &bound.ty, CastContext::Assignment)?;
        Ok(Bound::new(binary(bound.expr, Operator::BitwiseXor, ones.expr), bound.ty))
    }

    /// `left symbol right` for `+ - * / %`.
    pub(super) fn arithmetic(
        &mut self,
        left: Bound,
        operation: Operation,
        right: Bound,
    ) -> Result<Bound, SqlError> {
        use PgType as T;
        let implicit = CastContext::Implicit;
        let (lt, rt) = (left.ty.clone(), right.ty.clone());
        let undefined = || undefined_operator(operation.symbol(), Some(&lt), &rt);
        if lt == T::Unknown || rt == T::Unknown {
            // A date takes an integer, an interval or a time.
            let date = [&lt, &rt].contains(&&T::Date) && operation == Operation::Add;
            if lt == rt || date {
                let message = format!(
                    "operator is not unique: {} {} {}",
                    type_name(&lt),
                    operation.symbol(),
                    type_name(&rt)
                );
                return Err(SqlError::new(sqlstate::AMBIGUOUS_FUNCTION, message)
                    .hint("Could not choose a best candidate operator. You might need to add explicit type casts."));
            }
            let known = if lt == T::Unknown { &rt } else { &lt };
            let target = match known {
                // An interval for +; minus means a difference of equals.
                T::Timestamp(_) | T::Timestamptz(_) | T::Time(_) | T::Timetz(_)
                    if operation == Operation::Add =>
                {
                    T::Interval(None)
                }
                T::Numeric(_) => T::Numeric(None),
                T::Interval(_) if matches!(operation, Operation::Multiply | Operation::Divide) => {
                    T::Float8
                }
                other => super::bound::base(other),
            };
            let left = if lt == T::Unknown { self.coerce(left, &target, implicit)? } else { left };
            let right =
                if rt == T::Unknown { self.coerce(right, &target, implicit)? } else { right };
            return self.arithmetic(left, operation, right).map_err(|e| {
                // It is the literal's missing type that no operator takes.
                if e.sqlstate == sqlstate::UNDEFINED_FUNCTION { undefined() } else { e }
            });
        }
        let exact = |t: &T| is_integer(t) || is_numeric(t);
        let number = |t: &T| exact(t) || is_float(t);
        if is_integer(&lt) && is_integer(&rt) {
            let (left, right) = self.integers(left, right)?;
            let udf = arithmetic::integer(operation, &left.ty.arrow_type());
            return Ok(Bound::new(scalar::call(&udf, vec![left.expr, right.expr]), left.ty));
        }
        if exact(&lt) && exact(&rt) {
            return self.numeric_arithmetic(left, operation, right);
        }
        if number(&lt) && number(&rt) {
            if operation == Operation::Modulo {
                return Err(undefined());
            }
            let target = if lt == T::Float4 && rt == T::Float4 { T::Float4 } else { T::Float8 };
            let left = self.coerce(left, &target, implicit)?;
            let right = self.coerce(right, &target, implicit)?;
            let udf = arithmetic::float(operation, &target.arrow_type());
            return Ok(Bound::new(scalar::call(&udf, vec![left.expr, right.expr]), target));
        }
        self.date_arithmetic(left, operation, right)?.ok_or_else(undefined)
    }

    fn numeric_arithmetic(
        &mut self,
        left: Bound,
        operation: Operation,
        right: Bound,
    ) -> Result<Bound, SqlError> {
        use super::literals::narrow_constant;
        let (left, right) = (narrow_constant(left), narrow_constant(right));
        if let (Some(a), Some(b)) = (shape_of(&left.ty), shape_of(&right.ty))
            && let Some(result) = arithmetic::decimal_result(operation, a, b)
        {
            let wide = result.precision > 38;
            let side =
                |planner: &mut Self, bound: Bound, shape: NumericShape| -> Result<Expr, SqlError> {
                    let expr = planner.shaped(bound, shape)?;
                    Ok(match shape.decimal() {
                        Some((precision @ ..=38, scale)) if wide => {
                            widen(expr, arrow::datatypes::DataType::Decimal256(precision, scale))?
                        }
                        _ => expr,
                    })
                };
            let (l, r) = (side(self, left, a)?, side(self, right, b)?);
            let udf = arithmetic::decimal(operation, a, b, result);
            return Ok(Bound::new(scalar::call(&udf, vec![l, r]), PgType::Numeric(Some(result))));
        }
        let udf = numeric::binary_function(operation.symbol()).expect("every operation has one");
        Ok(Bound::new(scalar::call(&udf, vec![left.expr, right.expr]), PgType::Numeric(None)))
    }

    fn date_arithmetic(
        &mut self,
        left: Bound,
        operation: Operation,
        right: Bound,
    ) -> Result<Option<Bound>, SqlError> {
        use Operation::{Add, Divide, Multiply, Subtract};
        use PgType as T;
        let implicit = CastContext::Implicit;
        let zone: TimeZone = self.context.format.time_zone;
        let sign = if operation == Add { 1 } else { -1 };
        let (lt, rt) = (left.ty.clone(), right.ty.clone());
        // Addition commutes; put the moment first.
        if operation == Add
            && matches!(
                rt,
                T::Date | T::Timestamp(_) | T::Timestamptz(_) | T::Time(_) | T::Timetz(_)
            )
        {
            let swap = matches!(lt, T::Interval(_))
                || is_integer(&lt)
                || matches!(lt, T::Time(_) | T::Timetz(_)) && rt == T::Date;
            if swap {
                return self.date_arithmetic(right, operation, left);
            }
        }
        if operation == Multiply && matches!(rt, T::Interval(_)) && !matches!(lt, T::Interval(_)) {
            return self.date_arithmetic(right, operation, left);
        }
        let (udf, result, left_type, right_type) = match (&lt, operation, &rt) {
            (T::Date, Add | Subtract, r) if is_integer(r) && *r != T::Int8 => {
                (datetime::date_integer(sign), T::Date, T::Date, T::Int4)
            }
            (T::Date, Subtract, T::Date) => {
                (datetime::date_difference(), T::Int4, T::Date, T::Date)
            }
            (T::Date, Add, T::Timetz(_)) => {
                (datetime::date_timetz(), T::Timestamptz(None), T::Date, T::Timetz(None))
            }
            (T::Timetz(_), Add | Subtract, T::Interval(_)) => (
                datetime::timetz_interval(i64::from(sign)),
                T::Timetz(None),
                T::Timetz(None),
                T::Interval(None),
            ),
            (T::Date, Add, T::Time(_)) => {
                (datetime::date_time(), T::Timestamp(None), T::Date, T::Time(None))
            }
            (T::Date | T::Timestamp(_), Add, T::Interval(_))
            | (T::Date | T::Timestamp(_), Subtract, T::Interval(_) | T::Time(_)) => (
                datetime::timestamp_interval(i64::from(sign)),
                T::Timestamp(None),
                T::Timestamp(None),
                T::Interval(None),
            ),
            (T::Timestamptz(_), Add, T::Interval(_))
            | (T::Timestamptz(_), Subtract, T::Interval(_) | T::Time(_)) => (
                datetime::timestamptz_interval(i64::from(sign), zone),
                T::Timestamptz(None),
                T::Timestamptz(None),
                T::Interval(None),
            ),
            (T::Time(_), Add | Subtract, T::Interval(_)) => (
                datetime::time_interval(i64::from(sign)),
                T::Time(None),
                T::Time(None),
                T::Interval(None),
            ),
            (T::Time(_), Subtract, T::Time(_)) => {
                (datetime::time_difference(), T::Interval(None), T::Time(None), T::Time(None))
            }
            (T::Timestamptz(_), Subtract, T::Date | T::Timestamp(_) | T::Timestamptz(_))
            | (T::Date | T::Timestamp(_), Subtract, T::Timestamptz(_)) => (
                datetime::timestamp_difference(),
                T::Interval(None),
                T::Timestamptz(None),
                T::Timestamptz(None),
            ),
            (T::Date | T::Timestamp(_), Subtract, T::Date | T::Timestamp(_)) => (
                datetime::timestamp_difference(),
                T::Interval(None),
                T::Timestamp(None),
                T::Timestamp(None),
            ),
            (T::Interval(_), Add, T::Interval(_))
            | (T::Interval(_), Subtract, T::Interval(_) | T::Time(_)) => (
                datetime::interval_interval(sign),
                T::Interval(None),
                T::Interval(None),
                T::Interval(None),
            ),
            (T::Interval(_), Multiply | Divide, r)
                if is_integer(r) || is_float(r) || is_numeric(r) =>
            {
                (
                    datetime::interval_times(operation == Divide),
                    T::Interval(None),
                    T::Interval(None),
                    T::Float8,
                )
            }
            _ => return Ok(None),
        };
        let left = self.coerce(left, &left_type, implicit)?;
        let right = self.coerce(right, &right_type, implicit)?;
        Ok(Some(Bound::new(scalar::call(&udf, vec![left.expr, right.expr]), result)))
    }

    /// Unary minus.
    pub(super) fn negate(&mut self, bound: Bound) -> Result<Bound, SqlError> {
        let bound = if bound.ty == PgType::Unknown {
            self.coerce(bound, &PgType::Float8, CastContext::Implicit)?
        } else {
            bound
        };
        let udf = match &bound.ty {
            t if is_integer(t) || is_float(t) => arithmetic::negate(&t.arrow_type()),
            t if t.is_unbounded_numeric() => {
                let negated = numeric::unary_function("negate").expect("negation is there");
                let call = scalar::call(&negated, vec![bound.expr]);
                return Ok(Bound::new(call, PgType::Numeric(None)));
            }
            PgType::Numeric(_) => arithmetic::negate(&bound.ty.arrow_type()),
            PgType::Interval(_) => datetime::negate_interval(),
            other => return Err(undefined_operator("-", None, other)),
        };
        let ty = bound.ty;
        Ok(Bound::new(scalar::call(&udf, vec![bound.expr]), ty))
    }

    /// `||`: text with anything.
    pub(super) fn concatenate(&mut self, left: Bound, right: Bound) -> Result<Bound, SqlError> {
        let textual = |t: &PgType| is_text(t);
        if matches!(left.ty, PgType::Array(_)) || matches!(right.ty, PgType::Array(_)) {
            let undefined = undefined_operator("||", Some(&left.ty), &right.ty);
            return self.concatenate_arrays(left, right)?.ok_or(undefined);
        }
        if left.ty == PgType::Bytea && matches!(right.ty, PgType::Bytea | PgType::Unknown)
            || right.ty == PgType::Bytea && left.ty == PgType::Unknown
        {
            return self.call_builtin("byteacat", vec![left, right]);
        }
        if !textual(&left.ty) && !textual(&right.ty) {
            return Err(undefined_operator("||", Some(&left.ty), &right.ty));
        }
        let left = self.text_operand(left)?;
        let right = self.text_operand(right)?;
        let concatenated = scalar::call(&concat::operator(), vec![left, right]);
        Ok(Bound::new(concatenated, PgType::Text))
    }

    /// Any value as text, as assignment casts it.
    pub(super) fn text_operand(&mut self, bound: Bound) -> Result<Expr, SqlError> {
        Ok(self.coerce(bound, &PgType::Text, CastContext::Assignment)?.expr)
    }
}

/// A decimal in 256 bits.
fn widen(expr: Expr, to: arrow::datatypes::DataType) -> Result<Expr, SqlError> {
    Ok(match expr {
        Expr::Literal(value, _) => {
            let wide = value.cast_to(&to).map_err(|e| SqlError::internal(e.to_string()))?;
            Expr::Literal(wide, None)
        }
        other => datafusion::logical_expr::cast(other, to),
    })
}

/// See [`Planner::sort_key`].
pub(super) fn key_function(ty: &PgType) -> Option<Arc<datafusion::logical_expr::ScalarUDF>> {
    Some(match ty {
        ty if ty.is_unbounded_numeric() => numeric::sort_key(),
        PgType::Interval(_) => datetime::interval_key(),
        PgType::Float8 => casts::canonical_float(),
        PgType::Float4 => casts::canonical_float4(),
        PgType::Bpchar(None) => casts::blank_trimmed(),
        PgType::Array(_) | PgType::Jsonb | PgType::Record(_) => comparing::key(ty),
        _ => return None,
    })
}

pub(super) fn width(ty: &PgType) -> u8 {
    match ty {
        PgType::Int2 => 2,
        PgType::Int4 => 4,
        _ => 8,
    }
}

pub(super) fn symbol(op: &Operator) -> String {
    match op {
        Operator::NotEq => "<>".to_owned(),
        Operator::IsDistinctFrom | Operator::IsNotDistinctFrom => "=".to_owned(),
        other => other.to_string(),
    }
}
