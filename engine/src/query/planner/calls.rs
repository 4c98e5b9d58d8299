//! Function calls: which function a name and its arguments mean.

use std::sync::Arc;

use datafusion::{
    logical_expr::{Case, Expr, Operator, Volatility},
    scalar::ScalarValue,
    sql::sqlparser::ast::{self, FunctionArg, FunctionArgExpr, FunctionArguments},
};

use super::{
    Planner,
    bound::{Bound, base, is_numeric, same_base, undefined_function},
    coerce::{CastContext, can_coerce, is_preferred},
    expanded_array::EXPAND_ARRAY,
    nulls::first_not_null,
    scope::Env,
    variadic::variadic_argument,
};
use crate::{
    error::{SqlError, sqlstate},
    query::{
        functions::{builtin, cast::is_integer, pattern, scalar, series},
        parser::fold_identifier,
    },
    types::PgType,
};

/// A call's arguments and what comes with them.
#[derive(Clone)]
pub(super) struct Arguments<'f> {
    pub(super) exprs: Vec<&'f ast::Expr>,
    /// `name => value`, in lower case unless quoted.
    pub(super) named: Vec<(String, &'f ast::Expr)>,
    /// `count(*)`.
    pub(super) star: bool,
    pub(super) distinct: bool,
    pub(super) order_by: &'f [ast::OrderByExpr],
}

/// One way to call a function.
enum Candidate<'c> {
    Builtin(&'static builtin::Builtin),
    Extra(&'c crate::query::functions::ExtraFunction),
}

impl Candidate<'_> {
    fn arguments(&self) -> Vec<PgType> {
        match self {
            Self::Builtin(b) => b.arguments.iter().map(|t| t.pg_type()).collect(),
            Self::Extra(e) => e.arguments.clone(),
        }
    }
}

/// A function's name without `pg_catalog`.
pub(super) fn function_name(name: &ast::ObjectName) -> Result<String, SqlError> {
    let mut parts = Vec::new();
    for part in &name.0 {
        match part {
            ast::ObjectNamePart::Identifier(ident) => parts.push(fold_identifier(ident)),
            ast::ObjectNamePart::Function(_) => {
                return Err(SqlError::not_supported(format!("function {name}")));
            }
        }
    }
    match parts.as_slice() {
        [name] => Ok(name.clone()),
        [schema, name] if schema == "pg_catalog" => Ok(name.clone()),
        [schema, name] if schema == "information_schema" && name == EXPAND_ARRAY => {
            Ok(name.clone())
        }
        _ => {
            let message = format!("function {} does not exist", parts.join("."));
            Err(SqlError::new(sqlstate::UNDEFINED_FUNCTION, message))
        }
    }
}

pub(super) fn arguments(function: &ast::Function) -> Result<Arguments<'_>, SqlError> {
    let mut result = Arguments {
        exprs: Vec::new(),
        named: Vec::new(),
        star: false,
        distinct: false,
        order_by: &[],
    };
    if !matches!(function.parameters, FunctionArguments::None) || function.uses_odbc_syntax {
        return Err(SqlError::not_supported(format!("call {function}")));
    }
    let list = match &function.args {
        FunctionArguments::None => return Ok(result),
        FunctionArguments::Subquery(_) => {
            return Err(SqlError::not_supported(format!("call {function}")));
        }
        FunctionArguments::List(list) => list,
    };
    result.distinct = matches!(list.duplicate_treatment, Some(ast::DuplicateTreatment::Distinct));
    for arg in &list.args {
        match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => result.exprs.push(expr),
            FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => result.star = true,
            FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expr), .. } => {
                result.named.push((fold_identifier(name), expr));
            }
            FunctionArg::ExprNamed {
                name: ast::Expr::Identifier(name),
                arg: FunctionArgExpr::Expr(expr),
                ..
            } => result.named.push((fold_identifier(name), expr)),
            other => return Err(SqlError::not_supported(format!("argument {other}"))),
        }
    }
    for clause in &list.clauses {
        match clause {
            ast::FunctionArgumentClause::OrderBy(items) => result.order_by = items,
            other => return Err(SqlError::not_supported(format!("{other} in a call"))),
        }
    }
    Ok(result)
}

impl Planner<'_> {
    pub(super) fn function(
        &mut self,
        function: &ast::Function,
        env: &Env<'_>,
    ) -> Result<Bound, SqlError> {
        let name = function_name(&function.name)?;
        if let Some(function) = with_whole_rows(function) {
            return self.function(&function, env);
        }
        let at = ast::Expr::Function(function.clone());
        if name == ROW && function.over.is_none() {
            let args = arguments(function)?;
            let fields: Vec<ast::Expr> = args.exprs.into_iter().cloned().collect();
            return self.row_of_fields(&fields, env).map_err(|e| self.locate(e, &at));
        }
        if name == "array"
            && let FunctionArguments::Subquery(query) = &function.args
        {
            return match self.array_over_unnest(query, env)? {
                Some(bound) => Ok(bound),
                None => self.array_subquery(query, env),
            };
        }
        if function.null_treatment.is_some() {
            return Err(self.refuse(&at, "IGNORE NULLS"));
        }
        let args = arguments(function)?;
        if !args.named.is_empty() && !super::named_arguments::has_names(&name) {
            return Err(self.refuse(&at, &format!("{name} with named arguments")));
        }
        let result = if !function.within_group.is_empty() {
            self.ordered_set(&name, function, &args, env)
        } else if super::ordered_sets::needs_order(&name) {
            let message = format!("WITHIN GROUP is required for ordered-set aggregate {name}");
            Err(SqlError::new(sqlstate::WRONG_OBJECT_TYPE, message))
        } else if function.over.is_some() {
            self.window_function(&name, function, args.clone(), env)
        } else if super::aggregates::is_aggregate(&name) {
            self.aggregate_function(&name, function.filter.as_deref(), args.clone(), env)
        } else {
            self.scalar_function(&name, function, &args, env)
        };
        // What a function says of its arguments' values says it when it runs.
        let runs = |e: &SqlError| {
            e.sqlstate == sqlstate::INVALID_PARAMETER_VALUE && name.starts_with("json")
                || name.contains("_populate_record")
        };
        result.map_err(|e| if runs(&e) { e } else { self.locate_literal(e, args.exprs, Some(&at)) })
    }

    fn scalar_function(
        &mut self,
        name: &str,
        function: &ast::Function,
        args: &Arguments<'_>,
        env: &Env<'_>,
    ) -> Result<Bound, SqlError> {
        if super::windows::is_window_only(name) {
            let message = format!("window function {name} requires an OVER clause");
            return Err(SqlError::new(sqlstate::WRONG_OBJECT_TYPE, message));
        }
        if function.filter.is_some() {
            let message = format!("FILTER specified, but {name} is not an aggregate function");
            return Err(SqlError::new(sqlstate::WRONG_OBJECT_TYPE, message));
        }
        if args.distinct || args.star || !args.order_by.is_empty() {
            let what = if args.star { "*" } else { "DISTINCT or ORDER BY" };
            let message = format!("{what} specified, but {name} is not an aggregate function");
            return Err(SqlError::new(sqlstate::WRONG_OBJECT_TYPE, message));
        }
        let mut bounds = Vec::with_capacity(args.exprs.len());
        let mut variadic = None;
        for expr in &args.exprs {
            let expr = match variadic_argument(expr) {
                Some(argument) => {
                    variadic = Some(argument);
                    argument
                }
                None => expr,
            };
            bounds.push(self.expr(expr, env)?);
        }
        if let Some(argument) = variadic {
            let called = self.call_variadic(name, bounds);
            return called.map_err(|error| match error.sqlstate == sqlstate::DATATYPE_MISMATCH {
                true => self.locate(error, argument),
                false => error,
            });
        }
        if name == "make_interval" {
            return self.make_interval(bounds, &args.named, env);
        }
        self.named_arguments(name, &mut bounds, &args.named, env)?;
        if let Some(list) = self.set_returning(name, bounds.clone())? {
            if env.clause != "SELECT" {
                let message = format!("set-returning functions are not allowed in {}", env.clause);
                return Err(SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
            }
            let PgType::Array(of) = list.ty else {
                return Err(SqlError::internal(format!("{name} gives no array")));
            };
            let unnest = datafusion::logical_expr::expr::Unnest::new(list.expr);
            return Ok(Bound::new(Expr::Unnest(unnest), of.as_ref().clone()));
        }
        self.call_builtin(name, bounds)
    }

    /// A scalar function by name.
    pub(super) fn call_builtin(&mut self, name: &str, args: Vec<Bound>) -> Result<Bound, SqlError> {
        if matches!(name, "array_lower" | "array_upper")
            && args.first().is_some_and(|array| array.ty.vector_item().is_some())
        {
            return self.end_from_zero(name, args);
        }
        let args: Vec<Bound> = match name {
            "pg_typeof" => args,
            _ => args.into_iter().map(Bound::vector_as_array).collect(),
        };
        if let Some(bound) = self.session_function(name, &args)? {
            return Ok(bound);
        }
        match name {
            "coalesce" => return self.coalesce(args),
            "nullif" => return self.nullif(args),
            "greatest" => return self.extreme(args, Operator::GtEq, "GREATEST"),
            "least" => return self.extreme(args, Operator::LtEq, "LEAST"),
            "concat" => return self.concat(None, args),
            "concat_ws" => return self.concat_ws(args),
            "string_to_array" => return self.string_to_array(args),
            "format" if !args.is_empty() => return self.format(args),
            "sha224" | "sha256" | "sha384" | "sha512"
                if args.len() == 1 && can_coerce(&args[0].ty, &PgType::Bytea) =>
            {
                return self.sha(name, args[0].clone());
            }
            "md5"
                if args.len() == 1
                    && (args[0].ty == PgType::Bytea || can_coerce(&args[0].ty, &PgType::Text)) =>
            {
                let text = match args[0].ty {
                    PgType::Bytea => args[0].expr.clone(),
                    _ => self.text_operand(args[0].clone())?,
                };
                let digest = datafusion::functions::crypto::expr_fn::md5(text);
                let digest = datafusion::logical_expr::cast(digest, PgType::Text.arrow_type());
                return Ok(Bound::new(digest, PgType::Text));
            }
            // With its blanks, where other functions take `char(n)` as text.
            "octet_length" if args.len() == 1 && matches!(args[0].ty, PgType::Bpchar(_)) => {
                let padded = self.padded(args[0].clone())?;
                return self.resolve_call(name, vec![Bound::new(padded, PgType::Text)]);
            }
            "num_nulls" | "num_nonnulls" if !args.is_empty() => {
                return Ok(super::nulls::count_nulls(args, name == "num_nulls"));
            }
            "pg_typeof" if args.len() == 1 => {
                let oid = args[0].ty.oid();
                let typed = match args[0].expr {
                    Expr::Literal(..) | Expr::Column(_) => {
                        return Ok(Bound::literal(ScalarValue::UInt32(Some(oid)), PgType::Regtype));
                    }
                    // It may fail, and may make several rows.
                    _ => scalar::call(&type_oid(oid), vec![args[0].expr.clone()]),
                };
                return Ok(Bound::new(typed, PgType::Regtype));
            }
            _ => {}
        }
        if let Some(bound) = self.numeric_function(name, &args)? {
            return Ok(bound);
        }
        if let Some(bound) = self.array_function(name, &args)? {
            return Ok(bound);
        }
        if let Some(bound) = self.json_function(name, &args)? {
            return Ok(bound);
        }
        if let Some(bound) = self.cast_by_name(name, &args)? {
            return Ok(bound);
        }
        self.resolve_call(name, args)
    }

    pub(super) fn resolve_call(&mut self, name: &str, args: Vec<Bound>) -> Result<Bound, SqlError> {
        let extra = self.context.functions.extra(name);
        let candidates = builtin::lookup(name)
            .iter()
            .map(|b| Candidate::Builtin(b))
            .chain(extra.iter().map(Candidate::Extra));
        let mut best: Option<(i32, Candidate<'_>)> = None;
        for candidate in candidates {
            let Some(score) = score(&candidate.arguments(), &args) else {
                continue;
            };
            if best.as_ref().is_none_or(|(s, _)| score > *s) {
                best = Some((score, candidate));
            }
        }
        let Some((_, candidate)) = best else {
            if let [Bound { ty: PgType::Record(of), .. }] = args.as_slice()
                && of.field_index(name).is_some()
            {
                let what = format!("field \"{name}\" of a row in the notation of functions");
                return Err(SqlError::not_supported(what).hint(format!("Write (row).{name}.")));
            }
            return Err(undefined_function(name, &args));
        };
        let mut exprs = Vec::with_capacity(args.len());
        for (arg, ty) in args.into_iter().zip(candidate.arguments()) {
            // Exact numbers of any shape are read as they are.
            let as_is = ty == PgType::Numeric(None)
                && (is_numeric(&arg.ty) || is_integer(&arg.ty))
                && matches!(candidate, Candidate::Builtin(_));
            exprs.push(if as_is {
                arg.expr
            } else {
                self.coerce(arg, &ty, CastContext::Implicit)?.expr
            });
        }
        Ok(match candidate {
            Candidate::Builtin(b) => {
                let udf = b.udf(self.context.format.time_zone);
                let call = if exprs.is_empty() {
                    datafusion::logical_expr::expr::ScalarFunction::new_udf(udf, exprs)
                } else {
                    return Ok(Bound::new(scalar::call(&udf, exprs), b.returns.pg_type()));
                };
                Bound::new(Expr::ScalarFunction(call), b.returns.pg_type())
            }
            Candidate::Extra(e) => {
                if e.udf.signature().volatility != Volatility::Immutable {
                    self.reusable = false;
                }
                let call = datafusion::logical_expr::expr::ScalarFunction::new_udf(
                    Arc::clone(&e.udf),
                    exprs,
                );
                Bound::new(Expr::ScalarFunction(call), e.returns.clone())
            }
        })
    }

    fn coalesce(&mut self, args: Vec<Bound>) -> Result<Bound, SqlError> {
        if args.is_empty() {
            return Err(undefined_function("coalesce", &args));
        }
        let (mut exprs, ty) = self.unify(args, "COALESCE", false)?;
        if exprs.len() == 1 {
            return Ok(Bound::new(exprs.remove(0), ty));
        }
        Ok(Bound::new(first_not_null(exprs), ty))
    }

    fn nullif(&mut self, mut args: Vec<Bound>) -> Result<Bound, SqlError> {
        if args.len() != 2 {
            return Err(undefined_function("nullif", &args));
        }
        let right = args.remove(1);
        let left = args.remove(0);
        // The result is what the comparison makes of the left side.
        let compared = self.left_operand_type(&left.ty, &right.ty);
        let left = match compared {
            Some(ty) => self.coerce(left, &ty, CastContext::Implicit)?,
            None => left,
        };
        let ty = left.ty.clone();
        let equal = self.compare(left.clone(), Operator::Eq, right)?.expr;
        let null = self.null(&ty)?;
        let case =
            Case::new(None, vec![(Box::new(equal), Box::new(null))], Some(Box::new(left.expr)));
        Ok(Bound::new(Expr::Case(case), ty))
    }

    /// GREATEST and LEAST, which pass NULLs over.
    fn extreme(&mut self, args: Vec<Bound>, keep: Operator, what: &str) -> Result<Bound, SqlError> {
        let (exprs, ty) = self.unify(args, what, false)?;
        let mut exprs = exprs.into_iter();
        let Some(mut best) = exprs.next() else {
            return Err(undefined_function(&what.to_lowercase(), &[]));
        };
        for next in exprs {
            let (a, b) =
                (Bound::new(best.clone(), ty.clone()), Bound::new(next.clone(), ty.clone()));
            let better = self.compare(a, keep, b)?.expr;
            let is_null = |e: &Expr| Box::new(Expr::IsNull(Box::new(e.clone())));
            let case = Case::new(
                None,
                vec![
                    (is_null(&best), Box::new(next.clone())),
                    (is_null(&next), Box::new(best.clone())),
                    (Box::new(better), Box::new(best.clone())),
                ],
                Some(Box::new(next)),
            );
            best = Expr::Case(case);
        }
        Ok(Bound::new(best, ty))
    }

    fn sha(&mut self, name: &str, bytes: Bound) -> Result<Bound, SqlError> {
        use datafusion::functions::crypto::expr_fn;
        let bytes = self.coerce(bytes, &PgType::Bytea, CastContext::Implicit)?.expr;
        let digest = match name {
            "sha224" => expr_fn::sha224(bytes),
            "sha256" => expr_fn::sha256(bytes),
            "sha384" => expr_fn::sha384(bytes),
            _ => expr_fn::sha512(bytes),
        };
        let digest = datafusion::logical_expr::cast(digest, PgType::Bytea.arrow_type());
        Ok(Bound::new(digest, PgType::Bytea))
    }

    /// The groups of all matches, or of the first one, as arrays in an array.
    fn regexp_matches(&mut self, mut args: Vec<Bound>) -> Result<Bound, SqlError> {
        if args.len() == 2 {
            args.push(Bound::text(""));
        }
        if args.len() != 3 || !args.iter().all(|a| can_coerce(&a.ty, &PgType::Text)) {
            return Err(undefined_function("regexp_matches", &args));
        }
        let mut exprs = Vec::new();
        for arg in args {
            exprs.push(self.coerce(arg, &PgType::Text, CastContext::Implicit)?.expr);
        }
        let texts = PgType::Array(Arc::new(PgType::Text));
        let call = scalar::call(&pattern::regexp_matches(), exprs);
        Ok(Bound::new(call, PgType::Array(Arc::new(texts))))
    }

    /// Functions that return sets, as lists; `None` for others.
    pub(super) fn set_returning(
        &mut self,
        name: &str,
        args: Vec<Bound>,
    ) -> Result<Option<Bound>, SqlError> {
        match name {
            "unnest" => {
                let [array] = args.as_slice() else {
                    return Err(undefined_function(name, &args));
                };
                let array = array.clone().vector_as_array();
                match array.ty {
                    PgType::Array(_) => Ok(Some(array)),
                    _ => Err(undefined_function(name, &args)),
                }
            }
            EXPAND_ARRAY => self.expand_array(args).map(Some),
            "generate_series" => self.generate_series(args).map(Some),
            "regexp_split_to_table" => self.call_builtin(name, args).map(Some),
            "regexp_matches" => self.regexp_matches(args).map(Some),
            "string_to_table" => self.string_to_array(args).map(Some),
            "json_populate_recordset"
            | "jsonb_populate_recordset"
            | "json_array_elements"
            | "json_array_elements_text"
            | "json_object_keys"
            | "jsonb_array_elements"
            | "jsonb_array_elements_text"
            | "jsonb_object_keys"
            | "jsonb_path_query"
            | "jsonb_path_query_tz" => self.call_builtin(name, args).map(Some),
            "json_each" | "json_each_text" | "jsonb_each" | "jsonb_each_text" => {
                match self.table_lists(name, &args)? {
                    Some(lists) => self.rows_of_lists(lists).map(Some),
                    None => Err(undefined_function(name, &args)),
                }
            }
            "generate_subscripts" => {
                let (array, dimension, reverse) = match args.as_slice() {
                    [array, dimension] => (array, dimension, false),
                    [array, dimension, reverse] => match reverse.constant() {
                        Some(ScalarValue::Boolean(Some(reverse))) => (array, dimension, *reverse),
                        _ => {
                            return Err(SqlError::not_supported(
                                "generate_subscripts in a direction that is no constant",
                            ));
                        }
                    },
                    _ => return Err(undefined_function(name, &args)),
                };
                let upper = vec![array.clone(), dimension.clone()];
                let upper = self.call_builtin("array_upper", upper)?;
                let lower = Bound::int4(i32::from(array.ty.vector_item().is_none()));
                let ends = match reverse {
                    false => vec![lower, upper],
                    true => vec![upper, lower, Bound::int4(-1)],
                };
                self.generate_series(ends).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Start, stop and step of a series over integers, in the type of its numbers; `None` for one
    /// over something else, or whose arguments [`generate_series`](Self::generate_series) refuses.
    pub(super) fn integer_series(
        &mut self,
        args: &[Bound],
    ) -> Result<Option<(Vec<Expr>, PgType)>, SqlError> {
        let has = |ty: &PgType| args.iter().any(|a| a.ty == *ty);
        let of = if has(&PgType::Int8) { PgType::Int8 } else { PgType::Int4 };
        let integers = args.iter().all(|a| can_coerce(&a.ty, &of) && !is_numeric(&a.ty));
        if !(2..=3).contains(&args.len()) || !integers {
            return Ok(None);
        }
        let mut bounds = Vec::new();
        for arg in args {
            bounds.push(self.coerce(arg.clone(), &of, CastContext::Implicit)?.expr);
        }
        if bounds.len() == 2 {
            bounds.push(self.coerce(Bound::int4(1), &of, CastContext::Implicit)?.expr);
        }
        Ok(Some((bounds, of)))
    }

    fn generate_series(&mut self, mut args: Vec<Bound>) -> Result<Bound, SqlError> {
        if !(2..=3).contains(&args.len()) {
            return Err(undefined_function("generate_series", &args));
        }
        let has = |ty: &PgType| args.iter().any(|a| same_base(&a.ty, ty));
        if has(&PgType::Timestamp(None)) || has(&PgType::Date) || has(&PgType::Timestamptz(None)) {
            if args.len() == 2 {
                return Err(undefined_function("generate_series", &args));
            }
            let mut exprs = Vec::new();
            // PostgreSQL takes dates for timestamptz here.
            let zoned = has(&PgType::Timestamptz(None)) || !has(&PgType::Timestamp(None));
            let of = if zoned { PgType::Timestamptz(None) } else { PgType::Timestamp(None) };
            let types = [of.clone(), of.clone(), PgType::Interval(None)];
            for (arg, ty) in args.into_iter().zip(&types) {
                exprs.push(self.coerce(arg, ty, CastContext::Implicit)?.expr);
            }
            let udf = series::timestamps(zoned.then_some(self.context.format.time_zone));
            return Ok(Bound::new(scalar::call(&udf, exprs), PgType::Array(Arc::new(of))));
        }
        if args.iter().any(|a| is_numeric(&a.ty)) {
            return self.numeric_series(args);
        }
        let of = if has(&PgType::Int8) { PgType::Int8 } else { PgType::Int4 };
        if args.len() == 2 {
            args.push(Bound::int4(1));
        }
        if !args.iter().all(|a| can_coerce(&a.ty, &of)) {
            return Err(undefined_function("generate_series", &args));
        }
        let mut exprs = Vec::new();
        for arg in args {
            exprs.push(self.coerce(arg, &of, CastContext::Implicit)?.expr);
        }
        // Not computed here: the list may be long.
        let call =
            datafusion::logical_expr::expr::ScalarFunction::new_udf(series::integers(&of), exprs);
        Ok(Bound::new(Expr::ScalarFunction(call), PgType::Array(Arc::new(of))))
    }

    /// EXTRACT, TRIM and the other calls with a grammar of their own.
    pub(super) fn special_syntax(
        &mut self,
        expr: &ast::Expr,
        env: &Env<'_>,
    ) -> Result<Bound, SqlError> {
        use ast::Expr as E;
        let bound = match expr {
            E::Extract { field, expr, .. } => {
                let field = field.to_string().trim_matches(['\'', '"']).to_lowercase();
                let value = self.expr(expr, env)?;
                self.call_builtin("extract", vec![Bound::text(field), value])
            }
            E::Ceil { expr: inner, field } | E::Floor { expr: inner, field } => {
                let plain = matches!(
                    field,
                    ast::CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime)
                );
                if !plain {
                    return Err(self.refuse(inner, "ceil or floor with a second argument"));
                }
                let name = if matches!(expr, E::Ceil { .. }) { "ceil" } else { "floor" };
                let value = self.expr(inner, env)?;
                self.call_builtin(name, vec![value])
            }
            E::Position { expr, r#in } => {
                let part = self.expr(expr, env)?;
                let text = self.expr(r#in, env)?;
                self.call_builtin("position", vec![text, part])
            }
            E::Substring { expr, substring_from, substring_for, .. } => {
                let mut args = vec![self.expr(expr, env)?];
                match (substring_from, substring_for) {
                    (Some(from), None) => args.push(self.expr(from, env)?),
                    (Some(from), Some(length)) => {
                        args.push(self.expr(from, env)?);
                        args.push(self.expr(length, env)?);
                    }
                    (None, Some(length)) => {
                        args.push(Bound::int4(1));
                        args.push(self.expr(length, env)?);
                    }
                    (None, None) => {}
                }
                self.call_builtin("substring", args)
            }
            E::Trim { trim_where, trim_what, expr, trim_characters } => {
                let name = match trim_where {
                    Some(ast::TrimWhereField::Leading) => "ltrim",
                    Some(ast::TrimWhereField::Trailing) => "rtrim",
                    _ => "btrim",
                };
                let mut args = vec![self.expr(expr, env)?];
                if let Some(what) = trim_what {
                    args.push(self.expr(what, env)?);
                }
                for what in trim_characters.iter().flatten() {
                    args.push(self.expr(what, env)?);
                }
                self.call_builtin(name, args)
            }
            E::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                let mut args = vec![
                    self.expr(expr, env)?,
                    self.expr(overlay_what, env)?,
                    self.expr(overlay_from, env)?,
                ];
                if let Some(length) = overlay_for {
                    args.push(self.expr(length, env)?);
                }
                self.call_builtin("overlay", args)
            }
            E::AtTimeZone { timestamp, time_zone } => {
                let zone = self.expr(time_zone, env)?;
                let value = self.expr(timestamp, env)?;
                self.at_time_zone(zone, value)
            }
            other => Err(self.refuse(other, &format!("expression {other}"))),
        };
        bound.map_err(|e| self.locate(e, expr))
    }
}

/// What a row of one field or none is called as: others are read as rows.
const ROW: &str = "row";

/// A call with `t.*` among its arguments, which is the row of `t`; `None` if there is none.
fn with_whole_rows(function: &ast::Function) -> Option<ast::Function> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let row = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(name)) => {
            let token = ast::helpers::attached_token::AttachedToken::empty();
            let row = ast::Expr::QualifiedWildcard(name.clone(), token);
            Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(row)))
        }
        _ => None,
    };
    if !list.args.iter().any(|arg| row(arg).is_some()) {
        return None;
    }
    let args = list.args.iter().map(|arg| row(arg).unwrap_or_else(|| arg.clone())).collect();
    let args = FunctionArguments::List(ast::FunctionArgumentList { args, ..list.clone() });
    Some(ast::Function { args, ..function.clone() })
}

/// A function whose result is always the same, however it comes about.
fn type_oid(oid: u32) -> Arc<datafusion::logical_expr::ScalarUDF> {
    let compute = scalar::over_arrays(move |args| {
        let oids = arrow::array::UInt32Array::from_value(oid, args[0].len());
        Ok(Arc::new(oids) as arrow::array::ArrayRef)
    });
    let returns = PgType::Regtype.arrow_type();
    scalar::sees_nulls("pg_typeof", oid.to_string(), returns, false, compute)
}

/// How well a signature takes these arguments; `None` if it does not.
fn score(parameters: &[PgType], args: &[Bound]) -> Option<i32> {
    if parameters.len() != args.len() {
        return None;
    }
    let mut total = 0;
    for (parameter, arg) in parameters.iter().zip(args) {
        total += if arg.ty == PgType::Unknown {
            // An untyped literal is text if it can be.
            match parameter {
                PgType::Text => 30,
                PgType::Name => 20,
                other => 10 + i32::from(is_preferred(other)),
            }
        } else if same_base(parameter, &arg.ty) {
            100
        } else if can_coerce(&base(&arg.ty), parameter) {
            if is_preferred(parameter) { 12 } else { 10 }
        } else {
            return None;
        };
    }
    Some(total)
}
