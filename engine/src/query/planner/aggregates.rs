//! Aggregate functions, by themselves and over windows.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::{
    functions_aggregate::{self as df, min_max},
    logical_expr::{
        AggregateUDF, Case, Expr, Operator, SortExpr, cast, expr::AggregateFunction, lit,
    },
    sql::sqlparser::ast,
};

use super::{
    Planner,
    bound::{Bound, undefined_function},
    calls::Arguments,
    coerce::CastContext,
    operators::binary,
    query::distinct_key,
    row_order::is_ordered_aggregate,
    scope::Env,
};
use crate::{
    error::{SqlError, sqlstate},
    query::functions::{
        aggregate,
        arithmetic::Operation,
        cast::{is_float, is_integer, is_text},
        extreme, interval_parts, moments, numeric, ordered_list, scalar,
    },
    types::{NumericShape, PgType},
};

/// Makes the call of an aggregate: plain, or over a window.
pub(super) type Make<'m> = &'m dyn Fn(Arc<AggregateUDF>, Vec<Expr>) -> Expr;

pub(super) fn is_aggregate(name: &str) -> bool {
    matches!(
        name,
        "count"
            | "sum"
            | "avg"
            | "min"
            | "max"
            | "bool_and"
            | "bool_or"
            | "every"
            | "string_agg"
            | "array_agg"
            | "stddev"
            | "stddev_samp"
            | "stddev_pop"
            | "variance"
            | "var_samp"
            | "var_pop"
            | "corr"
            | "covar_pop"
            | "covar_samp"
            | "bit_and"
            | "bit_or"
            | "regr_slope"
            | "regr_intercept"
            | "regr_count"
            | "regr_r2"
            | "regr_avgx"
            | "regr_avgy"
            | "regr_sxx"
            | "regr_syy"
            | "regr_sxy"
            | "grouping"
            | "json_agg"
            | "jsonb_agg"
            | "mode"
            | "percentile_cont"
            | "percentile_disc"
            | "bit_xor"
            | "xmlagg"
            | "json_object_agg"
            | "jsonb_object_agg"
    )
}

impl Planner<'_> {
    pub(super) fn aggregate_function(
        &mut self,
        name: &str,
        filter: Option<&ast::Expr>,
        args: Arguments<'_>,
        env: &Env<'_>,
    ) -> Result<Bound, SqlError> {
        let inner = Env { summed: false, ..env.clause("aggregate").with(false, false) };
        if let Some(owner) = self.aggregate_owner(filter, &args, &inner)? {
            let aggregate = self.aggregate_function(name, filter, args, &owner)?;
            return Ok(self.outer_aggregate(aggregate, &owner));
        }
        if !env.aggregates {
            let message = match env.clause {
                "aggregate" => "aggregate function calls cannot be nested".to_owned(),
                clause => format!("aggregate functions are not allowed in {clause}"),
            };
            return Err(SqlError::new(sqlstate::GROUPING_ERROR, message));
        }
        let filter = match filter {
            None => None,
            Some(filter) => {
                let bound = self.expr(filter, &inner.clause("FILTER"))?;
                Some(Box::new(self.condition(bound, "FILTER")?))
            }
        };
        if args.distinct {
            self.check_distinct_order(&args, &inner)?;
            if matches!(name, "array_agg" | "string_agg") {
                return self.distinct_list(name, &args, filter, &inner);
            }
        }
        let mut order_by = self.aggregate_order(args.order_by, &inner)?;
        if !is_ordered_aggregate(name) {
            // The order of its rows means nothing to any other.
            order_by.clear();
        } else if order_by.is_empty() && !args.distinct {
            order_by.clone_from(&env.scope.order);
        }
        let distinct = args.distinct;
        let make = |udf: Arc<AggregateUDF>, exprs: Vec<Expr>| {
            Expr::AggregateFunction(AggregateFunction::new_udf(
                udf,
                exprs,
                distinct,
                filter.clone(),
                order_by.clone(),
                None,
            ))
        };
        self.aggregate_call(name, &args, &inner, &make)
    }

    fn aggregate_order(
        &mut self,
        items: &[ast::OrderByExpr],
        env: &Env<'_>,
    ) -> Result<Vec<SortExpr>, SqlError> {
        let mut sorts = Vec::with_capacity(items.len());
        for item in items {
            let bound = self.expr(&item.expr, env)?;
            sorts.push(self.sort_expr(item, bound.expr, &bound.ty)?);
        }
        Ok(sorts)
    }

    /// What an aggregate with DISTINCT is ordered by must be among its arguments.
    fn check_distinct_order(
        &mut self,
        args: &Arguments<'_>,
        env: &Env<'_>,
    ) -> Result<(), SqlError> {
        for item in args.order_by {
            let key = self.expr(&item.expr, env)?;
            let mut known = false;
            for expr in &args.exprs {
                let argument = self.expr(expr, env)?;
                known |= argument.expr == key.expr && argument.ty == key.ty;
            }
            if !known {
                let error = SqlError::new(
                    sqlstate::INVALID_COLUMN_REFERENCE,
                    "in an aggregate with DISTINCT, ORDER BY expressions must appear in argument \
                     list",
                );
                return Err(self.locate(error, &item.expr));
            }
        }
        Ok(())
    }

    /// `array_agg(DISTINCT …)` and `string_agg(DISTINCT …, …)`: in order, without equal values.
    fn distinct_list(
        &mut self,
        name: &str,
        args: &Arguments<'_>,
        filter: Option<Box<Expr>>,
        env: &Env<'_>,
    ) -> Result<Bound, SqlError> {
        let mut bounds = Vec::with_capacity(args.exprs.len());
        for expr in &args.exprs {
            let bound = self.expr(expr, env)?;
            bounds.push(self.decided_bound(bound)?);
        }
        bounds.iter().try_for_each(|b| super::arrays::equality_needed(&b.ty))?;
        let wanted = if name == "array_agg" { 1 } else { 2 };
        if bounds.len() != wanted {
            return Err(undefined_function(name, &bounds));
        }
        let value = match name {
            "string_agg" => self.string_agg_operands(&bounds)?.0,
            _ if matches!(bounds[0].ty, PgType::Array(_)) => {
                return Err(SqlError::not_supported("array_agg over arrays"));
            }
            _ => bounds[0].clone(),
        };
        if name == "string_agg" && bounds[1].constant().is_none() {
            return Err(SqlError::not_supported(
                "string_agg(DISTINCT) with a delimiter that is no constant",
            ));
        }
        let key = self.sort_key(&value.ty, value.expr.clone());
        let given = args.order_by.first();
        let asc = given.and_then(|item| item.options.asc).unwrap_or(true);
        let nulls_first = given.and_then(|item| item.options.nulls_first).unwrap_or(!asc);
        let order = vec![SortExpr::new(key.clone(), asc, nulls_first)];
        let list = |value: Expr| {
            let udf = df::array_agg::array_agg_udaf();
            let (filter, order) = (filter.clone(), order.clone());
            let call = AggregateFunction::new_udf(udf, vec![value], false, filter, order, None);
            Expr::AggregateFunction(call)
        };
        let ty = PgType::Array(Arc::new(value.ty.clone()));
        let udf = ordered_list::distinct(ty.arrow_type());
        let distinct = scalar::call(&udf, vec![list(value.expr), list(key)]);
        if name == "array_agg" {
            return Ok(Bound::new(distinct, ty));
        }
        let delimiter = self.string_agg_operands(&bounds)?.1;
        let udf = ordered_list::joined(value.ty == PgType::Bytea);
        Ok(Bound::new(scalar::call(&udf, vec![distinct, delimiter.expr]), value.ty))
    }

    /// An aggregate over its arguments.
    pub(super) fn aggregate_call(
        &mut self,
        name: &str,
        args: &Arguments<'_>,
        env: &Env<'_>,
        make: Make<'_>,
    ) -> Result<Bound, SqlError> {
        if args.star {
            if name != "count" {
                return Err(undefined_function(name, &[]));
            }
            let count = make(df::count::count_udaf(), vec![lit(1_i64)]);
            return Ok(Bound::new(count, PgType::Int8));
        }
        let summed = matches!(name, "sum" | "avg");
        let env = Env { summed, ..*env };
        let mut bounds = Vec::with_capacity(args.exprs.len());
        for expr in &args.exprs {
            bounds.push(self.expr(expr, &env)?);
        }
        if args.distinct {
            bounds.iter().try_for_each(|b| super::arrays::equality_needed(&b.ty))?;
            // Months, days and time are summed each by themselves.
            if summed && matches!(bounds.first(), Some(Bound { ty: PgType::Interval(_), .. })) {
                return Err(SqlError::not_supported(format!("{name}(DISTINCT interval)")));
            }
        }
        match (name, bounds.len()) {
            ("count", 1) => {
                let mut bound = bounds.remove(0);
                if bound.ty == PgType::Unknown {
                    bound = self.coerce(bound, &PgType::Text, CastContext::Implicit)?;
                }
                // Something that is never NULL counts rows.
                let counts_rows = bound.constant().is_some_and(|value| !value.is_null());
                let arg = match args.distinct && distinct_key(&bound.ty) {
                    _ if counts_rows && !args.distinct => lit(1_i64),
                    true => self.sort_key(&bound.ty, bound.expr),
                    false => bound.expr,
                };
                Ok(Bound::new(make(df::count::count_udaf(), vec![arg]), PgType::Int8))
            }
            ("sum", 1) => self.sum(bounds.remove(0), make),
            ("avg", 1) => self.avg(bounds.remove(0), args.distinct, make),
            ("min" | "max", 1) => self.min_max(name, bounds.remove(0), make),
            ("bool_and" | "bool_or" | "every", 1) => {
                let bound = bounds.remove(0);
                if !matches!(bound.ty, PgType::Bool | PgType::Unknown) {
                    return Err(undefined_function(name, &[bound]));
                }
                let arg = self.coerce(bound, &PgType::Bool, CastContext::Implicit)?;
                let udf = match name {
                    "bool_or" => df::bool_and_or::bool_or_udaf(),
                    _ => df::bool_and_or::bool_and_udaf(),
                };
                Ok(Bound::new(make(udf, vec![arg.expr]), PgType::Bool))
            }
            ("string_agg", 2) => self.string_agg(bounds, make),
            ("array_agg", 1) => {
                let mut bound = bounds.remove(0);
                if bound.ty == PgType::Unknown {
                    bound = self.coerce(bound, &PgType::Text, CastContext::Implicit)?;
                }
                if matches!(bound.ty, PgType::Array(_)) {
                    return Err(SqlError::not_supported("array_agg over arrays"));
                }
                let udf = df::array_agg::array_agg_udaf();
                let ty = PgType::Array(Arc::new(bound.ty));
                Ok(Bound::new(make(udf, vec![bound.expr]), ty))
            }
            ("bit_and" | "bit_or" | "bit_xor", 1) if is_integer(&bounds[0].ty) => {
                let bound = bounds.remove(0);
                let udf = match name {
                    "bit_and" => df::bit_and_or_xor::bit_and_udaf(),
                    "bit_or" => df::bit_and_or_xor::bit_or_udaf(),
                    _ => df::bit_and_or_xor::bit_xor_udaf(),
                };
                Ok(Bound::new(make(udf, vec![bound.expr]), bound.ty))
            }
            ("json_agg" | "jsonb_agg" | "json_object_agg" | "jsonb_object_agg", _) => {
                self.json_aggregate(name, bounds, args.distinct, make)
            }
            ("grouping", 1..=31) => {
                let exprs = bounds.into_iter().map(|bound| bound.expr).collect();
                Ok(Bound::new(make(df::grouping::grouping_udaf(), exprs), PgType::Int4))
            }
            ("stddev" | "stddev_samp" | "stddev_pop" | "variance" | "var_samp" | "var_pop", 1) => {
                self.variance(name, bounds.remove(0), make)
            }
            _ => self.float_aggregate(name, bounds, make),
        }
    }

    fn sum(&mut self, bound: Bound, make: Make<'_>) -> Result<Bound, SqlError> {
        let wide = |scale, precision| PgType::Numeric(Some(NumericShape { precision, scale }));
        let result = match &bound.ty {
            PgType::Int2 | PgType::Int4 => PgType::Int8,
            PgType::Int8 => wide(0, 38),
            PgType::Numeric(shape) => match shape.and_then(NumericShape::decimal) {
                // Room for the digits of 10^10 values, at least.
                Some((..=28, scale)) => wide(i16::from(scale), 38),
                Some((..=66, scale)) => wide(i16::from(scale), 76),
                _ => {
                    let udf = aggregate::numeric("sum").expect("sum is there");
                    let bare = self.bare(bound)?;
                    return Ok(Bound::new(make(udf, vec![bare]), PgType::Numeric(None)));
                }
            },
            PgType::Float8 => {
                return Ok(Bound::new(make(df::sum::sum_udaf(), vec![bound.expr]), PgType::Float8));
            }
            PgType::Float4 => {
                let arg = cast(bound.expr, DataType::Float64);
                let sum = make(df::sum::sum_udaf(), vec![arg]);
                return self.convert(Bound::new(sum, PgType::Float8), &PgType::Float4, false);
            }
            PgType::Interval(_) => return Ok(self.sum_of_intervals(bound, make)),
            PgType::Unknown => return Err(not_unique("sum")),
            _ => return Err(undefined_function("sum", &[bound])),
        };
        let udf = aggregate::sum(bound.ty.arrow_type(), result.arrow_type());
        Ok(Bound::new(make(udf, vec![bound.expr]), result))
    }

    fn avg(&mut self, bound: Bound, distinct: bool, make: Make<'_>) -> Result<Bound, SqlError> {
        match &bound.ty {
            t if is_float(t) => {
                let arg = self.coerce(bound, &PgType::Float8, CastContext::Implicit)?;
                Ok(Bound::new(make(df::average::avg_udaf(), vec![arg.expr]), PgType::Float8))
            }
            PgType::Interval(_) => {
                let count = make(df::count::count_udaf(), vec![bound.expr.clone()]);
                let sum = self.sum_of_intervals(bound, make);
                let count = datafusion::functions::core::expr_fn::nullif(count, lit(0_i64));
                let count = Bound::new(cast(count, DataType::Float64), PgType::Float8);
                self.arithmetic(sum, Operation::Divide, count)
            }
            PgType::Unknown => Err(not_unique("avg")),
            t if is_integer(t) || matches!(t, PgType::Numeric(_)) => {
                // Sum by count, which is the division of numerics with its number of digits.
                let counted = match distinct && distinct_key(&bound.ty) {
                    true => self.sort_key(&bound.ty, bound.expr.clone()),
                    false => bound.expr.clone(),
                };
                let count = make(df::count::count_udaf(), vec![counted]);
                let sum = self.sum(bound, make)?;
                let divide = numeric::binary_function("/").expect("division is there");
                let null_if_none = datafusion::functions::core::expr_fn::nullif(count, lit(0_i64));
                let quotient = scalar::call(&divide, vec![sum.expr, null_if_none]);
                Ok(Bound::new(quotient, PgType::Numeric(None)))
            }
            _ => Err(undefined_function("avg", &[bound])),
        }
    }

    fn min_max(&mut self, name: &str, bound: Bound, make: Make<'_>) -> Result<Bound, SqlError> {
        let bound = match &bound.ty {
            PgType::Unknown | PgType::Varchar(_) => {
                self.coerce(bound, &PgType::Text, CastContext::Implicit)?
            }
            _ => bound,
        };
        match &bound.ty {
            // The blanks make no difference to which one it is, except between equal ones.
            PgType::Bpchar(_) => {
                let padded = self.padded(bound)?;
                let udf = if name == "min" { min_max::min_udaf() } else { min_max::max_udaf() };
                return Ok(Bound::new(make(udf, vec![padded]), PgType::Bpchar(None)));
            }
            ty if ty.is_unbounded_numeric() => {
                let udf = aggregate::numeric(name).expect("min and max are there");
                return Ok(Bound::new(make(udf, vec![bound.expr]), PgType::Numeric(None)));
            }
            PgType::Interval(_) | PgType::Array(_) => {
                let key = self.sort_key(&bound.ty, bound.expr.clone());
                let key_type = super::operators::key_function(&bound.ty)
                    .ok_or_else(|| SqlError::internal("a key without its function"))?
                    .return_type(&[bound.ty.arrow_type()])
                    .map_err(crate::query::errors::sql_error)?;
                let udf = extreme::by_key(name == "min", bound.ty.arrow_type(), key_type);
                return Ok(Bound::new(make(udf, vec![bound.expr, key]), bound.ty));
            }
            PgType::Bool
            | PgType::Bytea
            | PgType::Uuid
            | PgType::Char
            | PgType::Name
            | PgType::Void
            | PgType::Json
            | PgType::Jsonb
            | PgType::Record(_)
            | PgType::Jsonpath => return Err(undefined_function(name, &[bound])),
            _ => {}
        }
        let udf = if name == "min" { min_max::min_udaf() } else { min_max::max_udaf() };
        Ok(Bound::new(make(udf, vec![bound.expr]), bound.ty))
    }

    /// Months, days and time each by themselves.
    fn sum_of_intervals(&mut self, bound: Bound, make: Make<'_>) -> Bound {
        let wide = PgType::Numeric(Some(NumericShape { precision: 38, scale: 0 })).arrow_type();
        let part = |part| {
            let udf = aggregate::sum(DataType::Int64, wide.clone());
            make(
                udf,
                vec![scalar::call(&interval_parts::interval_part(part), vec![bound.expr.clone()])],
            )
        };
        let parts = vec![part(0), part(1), part(2)];
        Bound::new(
            scalar::call(&interval_parts::interval_of_parts(), parts),
            PgType::Interval(None),
        )
    }

    /// The operands of `string_agg`: both text, or both bytea.
    fn string_agg_operands(&mut self, bounds: &[Bound]) -> Result<(Bound, Bound), SqlError> {
        let [value, delimiter] = bounds else {
            return Err(undefined_function("string_agg", bounds));
        };
        let bytes = bounds.iter().any(|b| b.ty == PgType::Bytea);
        let ty = if bytes { PgType::Bytea } else { PgType::Text };
        let fits = |b: &Bound| match bytes {
            true => matches!(b.ty, PgType::Bytea | PgType::Unknown),
            false => is_text(&b.ty),
        };
        if !bounds.iter().all(fits) {
            return Err(undefined_function("string_agg", bounds));
        }
        let value = self.coerce(value.clone(), &ty, CastContext::Implicit)?;
        Ok((value, self.coerce(delimiter.clone(), &ty, CastContext::Implicit)?))
    }

    fn string_agg(&mut self, bounds: Vec<Bound>, make: Make<'_>) -> Result<Bound, SqlError> {
        let (value, delimiter) = self.string_agg_operands(&bounds)?;
        if value.ty == PgType::Bytea || delimiter.constant().is_none() {
            let udf = ordered_list::joined(value.ty == PgType::Bytea);
            let list = |expr| make(df::array_agg::array_agg_udaf(), vec![expr]);
            let lists = vec![list(value.expr), list(delimiter.expr)];
            return Ok(Bound::new(scalar::call(&udf, lists), value.ty));
        }
        let delimiter = match delimiter.constant_text() {
            Some(text) => lit(text.to_owned()),
            // A NULL delimiter separates by nothing.
            None => lit(""),
        };
        let call = make(df::string_agg::string_agg_udaf(), vec![value.expr, delimiter]);
        Ok(Bound::new(cast(call, PgType::Text.arrow_type()), PgType::Text))
    }

    /// Variance and standard deviation: double precision over floats, exact over the rest.
    fn variance(&mut self, name: &str, bound: Bound, make: Make<'_>) -> Result<Bound, SqlError> {
        let sample = !name.ends_with("_pop");
        let root = name.starts_with("stddev");
        if is_float(&bound.ty) {
            let arg = self.coerce(bound, &PgType::Float8, CastContext::Implicit)?;
            let udf = moments::moments(name).ok_or_else(|| undefined_function(name, &[]))?;
            return Ok(Bound::new(make(udf, vec![arg.expr]), PgType::Float8));
        }
        if !is_integer(&bound.ty) && !matches!(bound.ty, PgType::Numeric(_)) {
            return Err(undefined_function(name, &[bound]));
        }
        let bare = self.bare(bound)?;
        let udf = aggregate::spread(aggregate::Spread { sample, root });
        Ok(Bound::new(make(udf, vec![bare]), PgType::Numeric(None)))
    }

    /// Aggregates over pairs of doubles.
    fn float_aggregate(
        &mut self,
        name: &str,
        bounds: Vec<Bound>,
        make: Make<'_>,
    ) -> Result<Bound, SqlError> {
        if matches!(name, "xmlagg") {
            return Err(SqlError::not_supported(format!("aggregate function {name}")));
        }
        let udf = moments::moments(name).filter(|_| bounds.len() == 2);
        if udf.is_none() && (name != "regr_count" || bounds.len() != 2) {
            return Err(undefined_function(name, &bounds));
        }
        let mut exprs = Vec::new();
        for bound in bounds {
            exprs.push(self.coerce(bound, &PgType::Float8, CastContext::Implicit)?.expr);
        }
        if name == "regr_count" {
            let both = exprs.into_iter().map(|e| Expr::IsNotNull(Box::new(e)));
            let both = both.reduce(|a, b| binary(a, Operator::And, b)).unwrap_or(lit(true));
            let one = Case::new(None, vec![(Box::new(both), Box::new(lit(1_i64)))], None);
            let count = make(df::count::count_udaf(), vec![Expr::Case(one)]);
            return Ok(Bound::new(count, PgType::Int8));
        }
        let udf = udf.ok_or_else(|| SqlError::internal(format!("{name} without a function")))?;
        Ok(Bound::new(make(udf, exprs), PgType::Float8))
    }
}

fn not_unique(name: &str) -> SqlError {
    let message = format!("function {name}(unknown) is not unique");
    SqlError::new(sqlstate::AMBIGUOUS_FUNCTION, message).hint(
        "Could not choose a best candidate function. You might need to add explicit type casts.",
    )
}
