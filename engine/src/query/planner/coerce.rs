//! Casts: which are allowed where, and how they are expressed.

use std::sync::Arc;

use datafusion::{
    logical_expr::{Expr, cast},
    scalar::ScalarValue,
};

use super::{
    Planner,
    bound::{Bound, base, null_of, same_base, type_name},
};
use crate::{
    error::{SqlError, sqlstate},
    query::functions::{
        array::shape,
        cast::{self as casts, is_float, is_integer, is_text},
        datetime, jsonpath, numeric, scalar,
    },
    types::{
        NumericShape, PgType, RecordType,
        text::{fit, parse_text},
    },
};

/// Where a cast happens, from the least to the most permissive place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum CastContext {
    Implicit,
    Assignment,
    Explicit,
}

/// The least permissive context in which PostgreSQL casts so; `None` if it never does.
pub(super) fn cast_context(from: &PgType, to: &PgType) -> Option<CastContext> {
    use CastContext::{Assignment, Explicit, Implicit};
    use PgType as T;
    if same_base(from, to) || *from == T::Unknown {
        return Some(Implicit);
    }
    let rank = |t: &PgType| match t {
        T::Int2 => Some(0),
        T::Int4 => Some(1),
        T::Int8 => Some(2),
        T::Numeric(_) => Some(3),
        T::Float4 => Some(4),
        T::Float8 => Some(5),
        _ => None,
    };
    if let (Some(from), Some(to)) = (rank(from), rank(to)) {
        return Some(if from < to { Implicit } else { Assignment });
    }
    let oid_like = |t: &PgType| *t == T::Oid || t.is_object_name();
    Some(match (from, to) {
        (T::Int4, T::Bool) | (T::Bool, T::Int4) => Explicit,
        (f, t) if is_integer(f) && oid_like(t) => Implicit,
        (f, T::Int8 | T::Int4) if oid_like(f) => Assignment,
        (f, T::Oid) if oid_like(f) => Implicit,
        (T::Oid, t) if oid_like(t) => Implicit,
        (T::Text | T::Varchar(_), T::Regclass) => Implicit,
        (T::Bpchar(_) | T::Name | T::Char, T::Text | T::Varchar(_) | T::Bpchar(_)) => {
            if *from == T::Name && !matches!(to, T::Text) { Assignment } else { Implicit }
        }
        (T::Text | T::Varchar(_), T::Text | T::Varchar(_) | T::Bpchar(_) | T::Name) => Implicit,
        (T::Bpchar(_), T::Name) => Implicit,
        (f, T::Char) if is_text(f) => Assignment,
        (T::Date, T::Timestamp(_) | T::Timestamptz(_)) | (T::Timestamp(_), T::Timestamptz(_)) => {
            Implicit
        }
        (T::Time(_), T::Interval(_) | T::Timetz(_)) => Implicit,
        (f, t) if datetime::has_cast(f, t) => Assignment,
        (T::Int2vector | T::Oidvector, T::Array(of)) => {
            return (from.vector_item().as_ref() == Some(of)).then_some(Implicit);
        }
        (T::Array(f), T::Array(t)) => return cast_context(f, t),
        // Whether the fields agree is seen when the row is cast.
        (T::Record(f), T::Record(t)) => {
            let known = f.oid == t.oid || f.is_anonymous() || t.is_anonymous();
            return known.then_some(Implicit);
        }
        (T::Json, T::Jsonb) | (T::Jsonb, T::Json) => Assignment,
        (T::Jsonb, t) if *t == T::Bool || is_integer(t) || is_float(t) => Explicit,
        (T::Jsonb, T::Numeric(_)) => Explicit,
        (T::Void, _) | (_, T::Void) => return None,
        // Input and output functions: to text by assignment, from text by explicit cast.
        (_, t) if is_text(t) => Assignment,
        (f, _) if is_text(f) => Explicit,
        _ => return None,
    })
}

pub(super) fn can_coerce(from: &PgType, to: &PgType) -> bool {
    cast_context(from, to) == Some(CastContext::Implicit)
}

/// The narrowest shape that holds every value of an exact number type; `None` for numerics that are
/// kept as text.
pub(super) fn shape_of(ty: &PgType) -> Option<NumericShape> {
    let precision = match ty {
        PgType::Int2 => 5,
        PgType::Int4 => 10,
        PgType::Int8 => 19,
        PgType::Numeric(shape) => return shape.filter(|s| s.decimal().is_some()),
        _ => return None,
    };
    Some(NumericShape { precision, scale: 0 })
}

/// A shape that holds the values of both; `None` if no decimal does.
pub(super) fn common_shape(a: NumericShape, b: NumericShape) -> Option<NumericShape> {
    let scale = a.scale.max(b.scale);
    let whole = (i32::from(a.precision) - i32::from(a.scale))
        .max(i32::from(b.precision) - i32::from(b.scale));
    let precision = u16::try_from(whole + i32::from(scale)).ok()?;
    let shape = NumericShape { precision: precision.max(1), scale };
    shape.decimal().map(|_| shape)
}

impl Planner<'_> {
    /// Casts, if the context allows it.
    pub(super) fn coerce(
        &mut self,
        bound: Bound,
        to: &PgType,
        context: CastContext,
    ) -> Result<Bound, SqlError> {
        if bound.ty == *to {
            return Ok(bound);
        }
        if bound.ty == PgType::Unknown {
            return self.coerce_unknown(bound, to, context);
        }
        let allowed = cast_context(&bound.ty, to).is_some_and(|least| least <= context);
        if !allowed {
            let (from, to) = (type_name(&bound.ty), type_name(to));
            let message = format!("cannot cast type {from} to {to}");
            return Err(SqlError::new(sqlstate::CANNOT_COERCE, message));
        }
        self.convert(bound, to, context == CastContext::Explicit)
    }

    /// Casts as for `clause`, whose type must be boolean.
    pub(super) fn condition(&mut self, bound: Bound, clause: &str) -> Result<Expr, SqlError> {
        if !matches!(bound.ty, PgType::Bool | PgType::Unknown) {
            let message = format!(
                "argument of {clause} must be type boolean, not type {}",
                type_name(&bound.ty)
            );
            return Err(SqlError::new(sqlstate::DATATYPE_MISMATCH, message));
        }
        Ok(self.coerce(bound, &PgType::Bool, CastContext::Implicit)?.expr)
    }

    fn coerce_unknown(
        &mut self,
        bound: Bound,
        to: &PgType,
        context: CastContext,
    ) -> Result<Bound, SqlError> {
        match &bound.expr {
            Expr::Literal(value, _) if value.is_null() => Bound::null(to.clone()),
            Expr::Literal(ScalarValue::Utf8View(Some(text)), _) => {
                let value = self.constant_of(text, to, context == CastContext::Explicit)?;
                Ok(Bound::literal(value, to.clone()))
            }
            Expr::Placeholder(placeholder) => {
                let id = placeholder.id.clone();
                let bound = self.resolve_param(&id, to)?;
                self.coerce(bound, to, context)
            }
            // A column of a subquery whose type was never decided is text by now.
            _ => {
                let text = Bound::new(bound.expr, PgType::Text);
                // Read as a literal of the type would be; only a cast that is written cuts it.
                let reads = !matches!(to, PgType::Varchar(_) | PgType::Bpchar(_));
                let explicit = reads || context == CastContext::Explicit;
                if *to == PgType::Text { Ok(text) } else { self.convert(text, to, explicit) }
            }
        }
    }

    /// The value a literal's text has in a type.
    pub(super) fn constant_of(
        &mut self,
        text: &str,
        to: &PgType,
        explicit: bool,
    ) -> Result<ScalarValue, SqlError> {
        match to {
            PgType::Varchar(_) | PgType::Bpchar(_) | PgType::Char | PgType::Name => {
                let fitted = fit(text, to, explicit)?;
                Ok(ScalarValue::Utf8View(Some(fitted.to_owned())))
            }
            PgType::Text | PgType::Unknown => Ok(ScalarValue::Utf8View(Some(text.to_owned()))),
            _ if to.is_object_name() => {
                // What has the name may be another thing next time.
                self.reusable = false;
                parse_text(text, to, self.context.format)
            }
            PgType::Array(of) => self.array_literal(text, of, explicit),
            PgType::Jsonpath => {
                jsonpath::check_patterns(&crate::types::jsonpath::parse(text)?.path)?;
                parse_text(text, to, self.context.format)
            }
            PgType::Timestamptz(_) | PgType::Date | PgType::Timestamp(_) | PgType::Time(_)
                if depends_on_now(text) =>
            {
                parse_text(text, to, &self.format_with_now())
            }
            // Without a zone of its own, it has today's offset.
            PgType::Timetz(_)
                if depends_on_now(text)
                    || self.context.format.time_zone.constant_offset().is_none() =>
            {
                parse_text(text, to, &self.format_with_now())
            }
            _ => parse_text(text, to, self.context.format),
        }
    }

    /// Makes the cast; the context was checked.
    pub(super) fn convert(
        &mut self,
        bound: Bound,
        to: &PgType,
        explicit: bool,
    ) -> Result<Bound, SqlError> {
        use PgType as T;
        let from = bound.ty.clone();
        if from == *to {
            return Ok(bound);
        }
        if to.shows_names() {
            // Functions over it hold the names of this statement's catalog.
            self.reusable = false;
        }
        // Same bytes, another name.
        let relabel = match (&from, to) {
            (
                T::Varchar(_) | T::Name | T::Char | T::Bpchar(Some(_)),
                T::Text | T::Varchar(None),
            ) => true,
            (T::Text | T::Varchar(_), T::Bpchar(None)) => true,
            (T::Text, T::Varchar(None)) | (T::Unknown, T::Text) => true,
            (T::Varchar(Some(a)), T::Varchar(Some(b))) => a <= b,
            (T::Int2vector | T::Oidvector, T::Array(_)) => true,
            (f, t) if datetime::rounds(f, t) => !datetime::must_round(f, t),
            (f, t) if f.arrow_type() == arrow::datatypes::DataType::UInt32 => {
                t.arrow_type() == arrow::datatypes::DataType::UInt32
            }
            _ => false,
        };
        if relabel {
            return Ok(Bound::new(bound.expr, to.clone()));
        }
        if let (T::Record(f), T::Record(t)) = (&from, to) {
            let fields =
                if t.is_anonymous() && t.fields.is_empty() { &f.fields } else { &t.fields };
            let to = RecordType { fields: fields.clone(), ..t.as_ref().clone() };
            return self.convert_row(bound, &Arc::new(to), explicit);
        }
        if let (T::Array(_), T::Array(_)) = (&from, to) {
            if same_layout(&from, to) {
                return Ok(Bound::new(bound.expr, to.clone()));
            }
            return self.convert_items(bound, to, explicit);
        }
        // Casts that cannot fail stay DataFusion's, which sees through them when it prunes.
        if is_widening(&from, to) {
            if let Some(value) = bound.constant() {
                let widened = value
                    .cast_to(&to.arrow_type())
                    .map_err(|error| SqlError::internal(error.to_string()))?;
                return Ok(Bound::literal(widened, to.clone()));
            }
            return Ok(Bound::new(cast(bound.expr, to.arrow_type()), to.clone()));
        }
        if is_text(&from) && to.is_object_name() {
            let Some(text) = bound.constant_text().map(str::to_owned) else {
                return self.extra_cast(bound, to);
            };
            return Ok(Bound::literal(self.constant_of(&text, to, explicit)?, to.clone()));
        }
        if matches!(from, T::Bpchar(Some(_))) && *to == T::Bytea {
            // Bytes of the blanks at its end, too.
            let padded = self.convert(bound, &T::Bpchar(None), true)?;
            return self.convert(padded, to, explicit);
        }
        // A text may say `now`, and a time without a zone has today's offset.
        let dated =
            matches!(to, T::Date | T::Time(_) | T::Timetz(_) | T::Timestamp(_) | T::Timestamptz(_));
        let settings =
            match dated && is_text(&from) || matches!((&from, to), (T::Time(_), T::Timetz(_))) {
                true => self.format_with_now(),
                false => self.context.format.clone(),
            };
        match casts::cast(&from, to, explicit, &settings) {
            Some(udf) => Ok(Bound::new(scalar::call(&udf, vec![bound.expr]), to.clone())),
            None => self.extra_cast(bound, to),
        }
    }

    /// Casts an array element by element.
    fn convert_items(
        &mut self,
        bound: Bound,
        to: &PgType,
        explicit: bool,
    ) -> Result<Bound, SqlError> {
        let (PgType::Array(from), PgType::Array(of)) = (&bound.ty, to) else {
            return Err(SqlError::internal("a cast of an array to none"));
        };
        if let (PgType::Record(_), PgType::Record(_)) = (from.as_ref(), of.as_ref()) {
            return self.convert_rows(&bound, to);
        }
        let widening = is_widening(from, of);
        let item = casts::cast(from, of, explicit, self.context.format);
        if item.is_none() && !widening {
            return Err(SqlError::not_supported(format!(
                "cast from {} to {}",
                type_name(&bound.ty),
                type_name(to)
            )));
        }
        let udf = shape::cast_items(of, item.filter(|_| !widening));
        Ok(Bound::new(scalar::call(&udf, vec![bound.expr]), to.clone()))
    }

    /// Casts that need the catalog: functions `regclassout(oid) → text` and kin, if there are any.
    fn extra_cast(&mut self, bound: Bound, to: &PgType) -> Result<Bound, SqlError> {
        let name = if is_text(to) {
            format!("{}out", bound.ty.sql_name())
        } else {
            format!("{}in", to.sql_name())
        };
        match self.context.functions.extra(&name).first() {
            Some(function) => {
                let call = scalar::call(&function.udf, vec![bound.expr]);
                self.convert(Bound::new(call, function.returns.clone()), to, true)
            }
            None => Err(SqlError::not_supported(format!(
                "cast from {} to {}",
                type_name(&bound.ty),
                type_name(to)
            ))),
        }
    }

    /// Any exact number as a column of this shape. The shape holds all values of the type.
    pub(super) fn shaped(&mut self, bound: Bound, shape: NumericShape) -> Result<Expr, SqlError> {
        let target = PgType::Numeric(Some(shape));
        if bound.ty == target {
            return Ok(bound.expr);
        }
        if let Some(value) = bound.constant() {
            if value.is_null() {
                return Ok(Expr::Literal(null_of(&target)?, None));
            }
            let udf = numeric::to_shape(shape);
            return Ok(scalar::call(&udf, vec![bound.expr]));
        }
        Ok(cast(bound.expr, target.arrow_type()))
    }

    /// Any exact number as bare numeric.
    pub(super) fn bare(&mut self, bound: Bound) -> Result<Expr, SqlError> {
        Ok(self.convert(bound, &PgType::Numeric(None), false)?.expr)
    }

    /// The type that CASE, UNION, VALUES and kin give to these, as PostgreSQL resolves it.
    pub(super) fn common_type(&self, types: &[PgType], what: &str) -> Result<PgType, SqlError> {
        let mut result: Option<PgType> = None;
        for ty in types.iter().filter(|t| **t != PgType::Unknown) {
            result = Some(match result {
                None => ty.clone(),
                Some(best) if best == *ty => best,
                Some(best) if same_base(&best, ty) => unify_modifiers(&best, ty),
                Some(best) if category(&best) != category(ty) => {
                    return Err(SqlError::new(
                        sqlstate::DATATYPE_MISMATCH,
                        format!(
                            "{what} types {} and {} cannot be matched",
                            type_name(&best),
                            type_name(ty)
                        ),
                    ));
                }
                Some(best) => {
                    if !is_preferred(&best) && can_coerce(&best, ty) && !can_coerce(ty, &best) {
                        base(ty)
                    } else if can_coerce(ty, &best) {
                        base(&best)
                    } else if can_coerce(&best, ty) {
                        base(ty)
                    } else {
                        let message = format!(
                            "{what} could not convert type {} to {}",
                            type_name(ty),
                            type_name(&best)
                        );
                        return Err(SqlError::new(sqlstate::CANNOT_COERCE, message));
                    }
                }
            });
        }
        Ok(result.unwrap_or(PgType::Text))
    }
}

/// A type that mixes with another one of its own loses its modifier. Decimals keep a shape only if
/// all agree on the scale, because the scale shows.
fn unify_modifiers(a: &PgType, b: &PgType) -> PgType {
    match (a, b) {
        (PgType::Numeric(Some(x)), PgType::Numeric(Some(y))) if x.scale == y.scale => {
            PgType::Numeric(common_shape(*x, *y))
        }
        _ => base(a),
    }
}

/// Casts to a type that has all values of the other one.
fn is_widening(from: &PgType, to: &PgType) -> bool {
    use PgType as T;
    matches!((from, to), (T::Int2, T::Int4 | T::Int8) | (T::Int4, T::Int8))
        || is_integer(from) && is_float(to)
        || (*from == T::Float4 && *to == T::Float8)
}

fn same_layout(a: &PgType, b: &PgType) -> bool {
    match (a, b) {
        (PgType::Array(a), PgType::Array(b)) => {
            if let (PgType::Record(a), PgType::Record(b)) = (a.as_ref(), b.as_ref()) {
                let types = |of: &RecordType| -> Vec<PgType> {
                    of.fields.iter().map(|field| field.ty.clone()).collect()
                };
                return types(a) == types(b);
            }
            let unlimited = matches!(**b, PgType::Text | PgType::Varchar(None));
            let texts = matches!(**a, PgType::Text | PgType::Varchar(_) | PgType::Name);
            a == b || texts && unlimited
        }
        _ => false,
    }
}

/// Type categories as in `pg_type.typcategory`.
pub(super) fn category(ty: &PgType) -> char {
    match ty {
        PgType::Bool => 'B',
        PgType::Int2
        | PgType::Int4
        | PgType::Int8
        | PgType::Float4
        | PgType::Float8
        | PgType::Numeric(_)
        | PgType::Oid
        | PgType::Regclass
        | PgType::Regtype
        | PgType::Regproc
        | PgType::Regprocedure
        | PgType::Regoper
        | PgType::Regoperator
        | PgType::Regcollation
        | PgType::Regnamespace
        | PgType::Regrole => 'N',
        PgType::Text | PgType::Varchar(_) | PgType::Bpchar(_) | PgType::Name => 'S',
        PgType::Char => 'Z',
        PgType::Bytea | PgType::Uuid | PgType::Json | PgType::Jsonb | PgType::Jsonpath => 'U',
        PgType::Date
        | PgType::Time(_)
        | PgType::Timetz(_)
        | PgType::Timestamp(_)
        | PgType::Timestamptz(_) => 'D',
        PgType::Interval(_) => 'T',
        PgType::Void => 'P',
        PgType::Unknown => 'X',
        PgType::Array(_) | PgType::Int2vector | PgType::Oidvector => 'A',
        PgType::Record(record) if record.is_anonymous() => 'P',
        PgType::Record(_) => 'C',
    }
}

pub(super) fn is_preferred(ty: &PgType) -> bool {
    matches!(
        ty,
        PgType::Bool
            | PgType::Float8
            | PgType::Oid
            | PgType::Text
            | PgType::Timestamptz(_)
            | PgType::Interval(_)
    )
}

/// Whether a date or time literal means the time of the transaction.
pub(crate) fn depends_on_now(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    ["now", "today", "tomorrow", "yesterday"].iter().any(|word| lower.contains(word))
}
