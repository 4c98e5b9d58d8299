//! `WITHIN GROUP`: ordered-set and hypothetical-set aggregates.
//!
//! An ordered-set aggregate is a function of the ordered list of the values; a hypothetical-set
//! aggregate counts the rows that come before the row it is given.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::{
    functions_aggregate::{
        array_agg::array_agg_udaf, bool_and_or::bool_or_udaf, count::count_udaf,
    },
    logical_expr::{
        AggregateUDF, Case, Expr, Operator, SortExpr, cast, expr::AggregateFunction, lit,
    },
    sql::sqlparser::ast,
};

use super::{
    Planner,
    bound::{Bound, undefined_function},
    calls::Arguments,
    coerce::{CastContext, can_coerce},
    operators::binary,
    scope::Env,
    select::columns_of_subqueries,
};
use crate::{
    error::{SqlError, sqlstate},
    query::functions::{cast::is_float, ordered_list, scalar},
    types::PgType,
};

/// Aggregates that need WITHIN GROUP.
pub(super) fn needs_order(name: &str) -> bool {
    matches!(name, "mode" | "percentile_cont" | "percentile_disc")
}

/// Those that are window functions without it.
fn is_hypothetical(name: &str) -> bool {
    matches!(name, "rank" | "dense_rank" | "percent_rank" | "cume_dist")
}

/// One value to order by, and the value of the row that is not there.
struct Key {
    value: Bound,
    given: Bound,
    asc: bool,
    nulls_first: bool,
}

impl Planner<'_> {
    /// `name(args) WITHIN GROUP (ORDER BY …)`.
    pub(super) fn ordered_set(
        &mut self,
        name: &str,
        function: &ast::Function,
        args: &Arguments<'_>,
        env: &Env<'_>,
    ) -> Result<Bound, SqlError> {
        if !needs_order(name) && !is_hypothetical(name) {
            let message = if super::aggregates::is_aggregate(name) {
                format!("{name} is not an ordered-set aggregate, so it cannot have WITHIN GROUP")
            } else {
                format!("WITHIN GROUP specified, but {name} is not an aggregate function")
            };
            return Err(SqlError::new(sqlstate::WRONG_OBJECT_TYPE, message));
        }
        if function.over.is_some() {
            let message = format!("OVER is not supported for ordered-set aggregate {name}");
            return Err(SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
        }
        if args.distinct {
            let message = "cannot use DISTINCT with WITHIN GROUP";
            return Err(SqlError::new(sqlstate::SYNTAX_ERROR, message));
        }
        if !args.order_by.is_empty() {
            let message = "cannot use multiple ORDER BY clauses with WITHIN GROUP";
            return Err(SqlError::new(sqlstate::SYNTAX_ERROR, message));
        }
        let inner = Env { summed: false, ..env.clause("aggregate").with(false, false) };
        let ordered =
            Arguments { exprs: Vec::new(), order_by: &function.within_group, ..args.clone() };
        if let Some(owner) = self.aggregate_owner(function.filter.as_deref(), &ordered, &inner)? {
            for expr in &args.exprs {
                if self.expr(expr, &owner).is_err() && self.expr(expr, &inner).is_ok() {
                    let message = "outer-level aggregate cannot contain a lower-level variable in \
                                   its direct arguments";
                    return Err(SqlError::new(sqlstate::GROUPING_ERROR, message));
                }
            }
            let aggregate = self.ordered_set(name, function, args, &owner)?;
            return Ok(self.outer_aggregate(aggregate, &owner));
        }
        if !env.aggregates {
            let message = match env.clause {
                "aggregate" => "aggregate function calls cannot be nested".to_owned(),
                clause => format!("aggregate functions are not allowed in {clause}"),
            };
            return Err(SqlError::new(sqlstate::GROUPING_ERROR, message));
        }
        let filter = match function.filter.as_deref() {
            None => None,
            Some(filter) => {
                let bound = self.expr(filter, &inner.clause("FILTER"))?;
                Some(self.condition(bound, "FILTER")?)
            }
        };
        let mut direct = Vec::with_capacity(args.exprs.len());
        for expr in &args.exprs {
            direct.push(self.expr(expr, &inner)?);
        }
        if is_hypothetical(name) {
            return self.hypothetical(name, &function.within_group, direct, filter, &inner);
        }
        let [item] = function.within_group.as_slice() else {
            return Err(undefined_function(name, &direct));
        };
        let value = self.expr(&item.expr, &inner)?;
        let value = self.decided_bound(value)?;
        match (name, direct.len()) {
            ("mode", 0) => self.mode(item, value, filter),
            ("percentile_cont" | "percentile_disc", 1) => {
                self.percentile(name, item, value, direct.remove(0), filter)
            }
            _ => {
                direct.push(value);
                Err(undefined_function(name, &direct))
            }
        }
    }

    /// The values that are not NULL, in order; NULL if there are none.
    fn ordered_list(
        &mut self,
        item: &ast::OrderByExpr,
        ordered: &Bound,
        shown: Expr,
        filter: Option<Expr>,
    ) -> Result<Expr, SqlError> {
        let sort = self.sort_expr(item, ordered.expr.clone(), &ordered.ty)?;
        let there = Expr::IsNotNull(Box::new(ordered.expr.clone()));
        let filter = match filter {
            Some(filter) => binary(filter, Operator::And, there),
            None => there,
        };
        Ok(aggregate(array_agg_udaf(), vec![shown], Some(filter), vec![sort]))
    }

    fn mode(
        &mut self,
        item: &ast::OrderByExpr,
        value: Bound,
        filter: Option<Expr>,
    ) -> Result<Bound, SqlError> {
        let list = self.ordered_list(item, &value, value.expr.clone(), filter.clone())?;
        let key = self.sort_key(&value.ty, value.expr.clone());
        let keys = self.ordered_list(item, &value, key, filter)?;
        let udf = ordered_list::mode(value.ty.arrow_type());
        Ok(Bound::new(scalar::call(&udf, vec![list, keys]), value.ty))
    }

    fn percentile(
        &mut self,
        name: &str,
        item: &ast::OrderByExpr,
        value: Bound,
        fraction: Bound,
        filter: Option<Expr>,
    ) -> Result<Bound, SqlError> {
        let floats = PgType::Array(Arc::new(PgType::Float8));
        let several = matches!(fraction.ty, PgType::Array(_));
        let to = if several { floats } else { PgType::Float8 };
        if fraction.ty != PgType::Unknown && !can_coerce(&fraction.ty, &to) && fraction.ty != to {
            return Err(undefined_function(name, &[fraction, value]));
        }
        let fraction = self.coerce(fraction, &to, CastContext::Implicit)?;
        let value = match name {
            "percentile_disc" => value,
            _ if matches!(value.ty, PgType::Interval(_)) => value,
            _ if is_float(&value.ty) || can_coerce(&value.ty, &PgType::Float8) => {
                self.coerce(value, &PgType::Float8, CastContext::Implicit)?
            }
            _ => return Err(undefined_function(name, &[fraction, value])),
        };
        let list = self.ordered_list(item, &value, value.expr.clone(), filter)?;
        let ty = if several { PgType::Array(Arc::new(value.ty)) } else { value.ty };
        let udf = ordered_list::percentile(name == "percentile_cont", ty.arrow_type());
        Ok(Bound::new(scalar::call(&udf, vec![list, fraction.expr]), ty))
    }

    fn hypothetical(
        &mut self,
        name: &str,
        items: &[ast::OrderByExpr],
        direct: Vec<Bound>,
        filter: Option<Expr>,
        env: &Env<'_>,
    ) -> Result<Bound, SqlError> {
        let mut values = Vec::with_capacity(items.len());
        for item in items {
            values.push(self.expr(&item.expr, env)?);
        }
        if direct.len() != values.len() {
            let given = direct.len();
            let wanted = values.len();
            let all: Vec<_> = direct.into_iter().chain(values).collect();
            let mut error = undefined_function(name, &all);
            error.hint = Some(format!(
                "To use the hypothetical-set aggregate {name}, the number of hypothetical direct \
                 arguments (here {given}) must match the number of ordering columns (here {wanted})."
            ));
            return Err(error);
        }
        // They are compared row by row, where a column has the row's value, not the group's.
        for given in &direct {
            let rows = !given.expr.column_refs().is_empty();
            if rows || !columns_of_subqueries(&given.expr)?.is_empty() {
                let what = format!("{name} WITHIN GROUP of a value that is computed from columns");
                return Err(SqlError::not_supported(&what));
            }
        }
        let mut keys = Vec::with_capacity(items.len());
        for ((item, value), given) in items.iter().zip(values).zip(direct) {
            let ty = self.common_type(&[value.ty.clone(), given.ty.clone()], "WITHIN GROUP")?;
            let ty = if ty == PgType::Unknown { PgType::Text } else { super::bound::base(&ty) };
            let mut same = |bound: Bound| match (&ty, &bound.ty) {
                (PgType::Numeric(_), t) if *t != PgType::Unknown => {
                    Ok(Bound::new(self.bare(bound)?, ty.clone()))
                }
                _ => self.coerce(bound, &ty, CastContext::Implicit),
            };
            let (value, given) = (same(value)?, same(given)?);
            super::arrays::order_needed(&ty).map_err(|e| self.locate(e, &item.expr))?;
            let asc = item.options.asc.unwrap_or(true);
            let nulls_first = item.options.nulls_first.unwrap_or(!asc);
            keys.push(Key { value, given, asc, nulls_first });
        }
        let (before, same) = self.before(&keys)?;
        let within = |condition: Expr| match &filter {
            Some(filter) => binary(filter.clone(), Operator::And, condition),
            None => condition,
        };
        let rows = |filter| aggregate(count_udaf(), vec![lit(1_i64)], filter, Vec::new());
        let earlier = rows(Some(within(before.clone())));
        let whole = || rows(filter.clone());
        let float = |expr| cast(expr, DataType::Float64);
        Ok(match name {
            "rank" => Bound::new(earlier + lit(1_i64), PgType::Int8),
            "dense_rank" => {
                let [key] = keys.as_slice() else {
                    return Err(SqlError::not_supported("dense_rank WITHIN GROUP of several keys"));
                };
                let value = self.sort_key(&key.value.ty, key.value.expr.clone());
                let condition = Some(Box::new(within(before.clone())));
                let call = AggregateFunction::new_udf(
                    count_udaf(),
                    vec![value],
                    true,
                    condition,
                    vec![],
                    None,
                );
                // NULLs are one value, too.
                let null = Expr::IsNull(Box::new(key.value.expr.clone()));
                let nulls = aggregate(bool_or_udaf(), vec![null], Some(within(before)), Vec::new());
                let when = vec![(Box::new(nulls), Box::new(lit(2_i64)))];
                let one_more = Expr::Case(Case::new(None, when, Some(Box::new(lit(1_i64)))));
                Bound::new(Expr::AggregateFunction(call) + one_more, PgType::Int8)
            }
            "percent_rank" => {
                let none = binary(whole(), Operator::Eq, lit(0_i64));
                let share = float(earlier) / float(whole());
                let when = vec![(Box::new(none), Box::new(lit(0.0_f64)))];
                Bound::new(Expr::Case(Case::new(None, when, Some(Box::new(share)))), PgType::Float8)
            }
            _ => {
                let up_to = rows(Some(within(binary(before, Operator::Or, same))));
                let share = float(up_to + lit(1_i64)) / float(whole() + lit(1_i64));
                Bound::new(share, PgType::Float8)
            }
        })
    }

    /// Whether a row comes before the one given, and whether it is its peer.
    fn before(&mut self, keys: &[Key]) -> Result<(Expr, Expr), SqlError> {
        let (mut before, mut same) = (lit(false), lit(true));
        for key in keys.iter().rev() {
            let operator = if key.asc { Operator::Lt } else { Operator::Gt };
            let (value, given) = (key.value.clone(), key.given.clone());
            let null = |bound: &Bound| Expr::IsNull(Box::new(bound.expr.clone()));
            let not_null = |bound: &Bound| Expr::IsNotNull(Box::new(bound.expr.clone()));
            let apart = match key.nulls_first {
                true => binary(null(&value), Operator::And, not_null(&given)),
                false => binary(not_null(&value), Operator::And, null(&given)),
            };
            let less = self.compare(value.clone(), operator, given.clone())?.expr;
            let less = Expr::IsTrue(Box::new(less));
            let equal = self.compare(value, Operator::IsNotDistinctFrom, given)?.expr;
            let first = binary(apart, Operator::Or, less);
            let later = binary(equal.clone(), Operator::And, before);
            before = binary(first, Operator::Or, later);
            same = binary(equal, Operator::And, same);
        }
        Ok((before, same))
    }
}

fn aggregate(
    udf: Arc<AggregateUDF>,
    args: Vec<Expr>,
    filter: Option<Expr>,
    order_by: Vec<SortExpr>,
) -> Expr {
    let filter = filter.map(Box::new);
    Expr::AggregateFunction(AggregateFunction::new_udf(udf, args, false, filter, order_by, None))
}
