//! Calls over dates and times that are no plain functions: AT TIME ZONE, OVERLAPS, casts by name.

use datafusion::sql::sqlparser::ast;

use super::{
    Planner,
    bound::{Bound, same_base, type_name},
    coerce::{CastContext, cast_context},
    expressions::row,
    scope::Env,
};
use crate::{
    error::{SqlError, sqlstate},
    query::functions::{arithmetic::Operation, datetime, scalar},
    types::PgType,
};

impl Planner<'_> {
    /// `value AT TIME ZONE zone`.
    pub(super) fn at_time_zone(&mut self, zone: Bound, value: Bound) -> Result<Bound, SqlError> {
        let value = match value.ty {
            PgType::Unknown | PgType::Date => {
                self.coerce(value, &PgType::Timestamptz(None), CastContext::Implicit)?
            }
            PgType::Time(_) => self.coerce(value, &PgType::Timetz(None), CastContext::Implicit)?,
            _ => value,
        };
        // Which zone it is must be known before the statement runs.
        if let (Some(name), PgType::Unknown) = (zone.constant_text(), &zone.ty) {
            datetime::named_zone(name)?;
        }
        let mut args = vec![zone, value];
        if matches!(args[1].ty, PgType::Timetz(_)) {
            // A time has today's offset.
            args.push(self.now());
        }
        self.resolve_call("timezone", args)
    }

    /// `(start, end) OVERLAPS (start, end)`, where an end may be an interval.
    pub(super) fn overlaps(
        &mut self,
        left: &ast::Expr,
        right: &ast::Expr,
        env: &Env<'_>,
    ) -> Result<Bound, SqlError> {
        let (Some([a, b]), Some([c, d])) = (row(left), row(right)) else {
            let message = "wrong number of parameters on left side of OVERLAPS expression";
            return Err(self.locate(SqlError::new(sqlstate::SYNTAX_ERROR, message), left));
        };
        let mut bounds = Vec::with_capacity(4);
        for expr in [a, b, c, d] {
            bounds.push(self.expr(expr, env)?);
        }
        let has = |wanted: fn(&PgType) -> bool| bounds.iter().any(|bound| wanted(&bound.ty));
        let ty = if has(|t| matches!(t, PgType::Timetz(_))) {
            PgType::Timetz(None)
        } else if has(|t| matches!(t, PgType::Time(_))) {
            PgType::Time(None)
        } else if has(|t| matches!(t, PgType::Timestamp(_)))
            && !has(|t| matches!(t, PgType::Timestamptz(_)))
        {
            PgType::Timestamp(None)
        } else if has(|t| matches!(t, PgType::Timestamptz(_) | PgType::Date)) {
            PgType::Timestamptz(None)
        } else {
            let all: Vec<_> = bounds.iter().map(|bound| type_name(&bound.ty)).collect();
            let message =
                format!("function pg_catalog.overlaps({}) does not exist", all.join(", "));
            return Err(SqlError::new(sqlstate::UNDEFINED_FUNCTION, message).hint(
                "No function matches the given name and argument types. \
                 You might need to add explicit type casts.",
            ));
        };
        let mut exprs = Vec::with_capacity(4);
        for pair in bounds.chunks(2) {
            let start = self.coerce(pair[0].clone(), &ty, CastContext::Implicit)?;
            let end = match pair[1].ty {
                PgType::Interval(_) => {
                    self.arithmetic(start.clone(), Operation::Add, pair[1].clone())?
                }
                _ => self.coerce(pair[1].clone(), &ty, CastContext::Implicit)?,
            };
            exprs.extend([start.expr, end.expr]);
        }
        Ok(Bound::bool(scalar::call(&datetime::overlaps(&ty), exprs)))
    }

    /// A type's name called as a function is a cast: `date(x)`.
    pub(super) fn cast_by_name(
        &mut self,
        name: &str,
        args: &[Bound],
    ) -> Result<Option<Bound>, SqlError> {
        let to = match name {
            "date" => PgType::Date,
            "time" => PgType::Time(None),
            "timetz" => PgType::Timetz(None),
            "timestamp" => PgType::Timestamp(None),
            "timestamptz" => PgType::Timestamptz(None),
            "interval" => PgType::Interval(None),
            "bool" => PgType::Bool,
            "int2" => PgType::Int2,
            "int4" => PgType::Int4,
            "int8" => PgType::Int8,
            "float4" => PgType::Float4,
            "float8" => PgType::Float8,
            "numeric" => PgType::Numeric(None),
            "text" => PgType::Text,
            "varchar" => PgType::Varchar(None),
            "bpchar" => PgType::Bpchar(None),
            "name" => PgType::Name,
            "bytea" => PgType::Bytea,
            "uuid" => PgType::Uuid,
            "oid" => PgType::Oid,
            _ => return Ok(None),
        };
        let [arg] = args else { return Ok(None) };
        let is_cast = arg.ty == PgType::Unknown
            || same_base(&arg.ty, &to)
            || datetime::has_cast(&arg.ty, &to)
            || cast_context(&arg.ty, &to).is_some();
        if !is_cast {
            return Ok(None);
        }
        self.coerce(arg.clone(), &to, CastContext::Explicit).map(Some)
    }
}
