//! `json` and `jsonb`: subscripts, operators, and functions that take any value.

use std::sync::Arc;

use datafusion::{logical_expr::Expr, sql::sqlparser::ast};

use super::{
    Planner,
    aggregates::Make,
    bound::{Bound, undefined_function, undefined_operator},
    coerce::{CastContext, can_coerce},
    scope::Env,
};
use crate::{
    error::{SqlError, sqlstate},
    query::functions::{
        cast::is_integer,
        json::{self, Gathered, Kind},
        jsonpath, scalar,
    },
    types::PgType,
};

fn texts() -> PgType {
    PgType::Array(Arc::new(PgType::Text))
}

fn is_json(ty: &PgType) -> bool {
    matches!(ty, PgType::Json | PgType::Jsonb)
}

/// Functions of PostgreSQL over JSON that are in FROM only here.
fn is_missing(name: &str) -> bool {
    let name = name.strip_prefix("jsonb_").or_else(|| name.strip_prefix("json_"));
    name.is_some_and(|name| matches!(name, "to_record" | "to_recordset"))
}

impl Planner<'_> {
    /// `value['name']` and `value[0]`.
    pub(super) fn json_subscript(
        &mut self,
        value: Bound,
        subscript: &ast::Subscript,
        env: &Env<'_>,
    ) -> Result<Bound, SqlError> {
        let ast::Subscript::Index { index } = subscript else {
            let message = "jsonb subscript does not support slices";
            let error = SqlError::new(sqlstate::DATATYPE_MISMATCH, message);
            return Err(match subscript {
                ast::Subscript::Slice { upper_bound: Some(end), .. }
                | ast::Subscript::Slice { lower_bound: Some(end), .. } => self.locate(error, end),
                _ => error,
            });
        };
        let (step, _) = self.json_step(index, env)?;
        let path = self.array_of(vec![step], &PgType::Text)?;
        self.call_builtin("jsonb_extract_path", vec![value, path])
    }

    /// A subscript of jsonb as the text of a path, and whether it is a number.
    pub(super) fn json_step(
        &mut self,
        index: &ast::Expr,
        env: &Env<'_>,
    ) -> Result<(Bound, bool), SqlError> {
        let step = self.expr(index, env)?;
        let is_number = can_coerce(&step.ty, &PgType::Int4) && step.ty != PgType::Unknown;
        if !is_number && !can_coerce(&step.ty, &PgType::Text) {
            let message =
                format!("subscript type {} is not supported", super::bound::type_name(&step.ty));
            let hint = "jsonb subscript must be coercible to either integer or text.";
            let error = SqlError::new(sqlstate::DATATYPE_MISMATCH, message).hint(hint);
            return Err(self.locate(error, index));
        }
        let step = match is_number {
            true => self.coerce(step, &PgType::Int4, CastContext::Implicit)?,
            false => step,
        };
        Ok((self.coerce(step, &PgType::Text, CastContext::Assignment)?, is_number))
    }

    /// An operator that only JSON and arrays have.
    pub(super) fn json_operator(
        &mut self,
        left: Bound,
        symbol: &str,
        right: Bound,
    ) -> Result<Bound, SqlError> {
        if matches!(symbol, "@>" | "<@" | "&&")
            && let Some(bound) = self.array_relation(&left, symbol, &right)?
        {
            return Ok(bound);
        }
        let undefined = || undefined_operator(symbol, Some(&left.ty), &right.ty);
        if matches!(symbol, "@?" | "@@") && Self::is_path_operation(&left, &right) {
            let question =
                if symbol == "@?" { jsonpath::Question::Exists } else { jsonpath::Question::Match };
            let left = self.coerce(left, &PgType::Jsonb, CastContext::Implicit)?;
            let right = self.coerce(right, &PgType::Jsonpath, CastContext::Implicit)?;
            let udf = jsonpath::ask(question, None, true);
            return Ok(Bound::bool(scalar::call(&udf, vec![left.expr, right.expr])));
        }
        // `'…' <@ value` and `'…' @> value`: the literal is one, too.
        let left_type = match (&left.ty, &right.ty) {
            (PgType::Unknown, PgType::Jsonb) => PgType::Jsonb,
            (ty, _) => ty.clone(),
        };
        let prefix = match left_type {
            PgType::Json => "json",
            PgType::Jsonb => "jsonb",
            _ => return Err(undefined()),
        };
        let both = prefix == "jsonb";
        let step = |integer: &'static str, name: &'static str| match &right.ty {
            ty if is_integer(ty) && *ty != PgType::Int8 => Some((integer, PgType::Int4)),
            ty if can_coerce(ty, &PgType::Text) => Some((name, PgType::Text)),
            _ => None,
        };
        let found = match symbol {
            "->" => step("array_element", "object_field"),
            "->>" => step("array_element_text", "object_field_text"),
            "#>" => Some(("extract_path", texts())),
            "#>>" => Some(("extract_path_text", texts())),
            "@>" if both => Some(("contains", PgType::Jsonb)),
            "<@" if both => Some(("contained", PgType::Jsonb)),
            "?" if both => Some(("exists", PgType::Text)),
            "?|" if both => Some(("exists_any", texts())),
            "?&" if both => Some(("exists_all", texts())),
            "#-" if both => Some(("delete_path", texts())),
            "||" if both => Some(("concat", PgType::Jsonb)),
            "-" if both && right.ty == texts() => Some(("delete", texts())),
            "-" if both => step("delete", "delete"),
            _ => None,
        };
        let (name, of) = found.ok_or_else(undefined)?;
        if !can_coerce(&right.ty, &of) {
            return Err(undefined());
        }
        let left = self.coerce(left, &left_type, CastContext::Implicit)?;
        let right = self.coerce(right, &of, CastContext::Implicit)?;
        self.call_builtin(&format!("{prefix}_{name}"), vec![left, right])
    }

    fn is_path_operation(left: &Bound, right: &Bound) -> bool {
        matches!(left.ty, PgType::Jsonb | PgType::Unknown)
            && matches!(right.ty, PgType::Jsonpath | PgType::Unknown)
            && (left.ty == PgType::Jsonb || right.ty == PgType::Jsonpath)
    }

    /// `jsonb_path_exists(target, path [, vars [, silent]])` and its kin; `None` for other functions.
    pub(super) fn json_path_function(
        &mut self,
        name: &str,
        args: &[Bound],
    ) -> Result<Option<Bound>, SqlError> {
        let Some(short) = name.strip_prefix("jsonb_path_") else { return Ok(None) };
        let (short, with_zone) = match short.strip_suffix("_tz") {
            Some(short) => (short, true),
            None => (short, false),
        };
        let Some(question) = jsonpath::Question::of_name(short) else { return Ok(None) };
        let types = [PgType::Jsonb, PgType::Jsonpath, PgType::Jsonb, PgType::Bool];
        let fits = args.iter().zip(&types).all(|(arg, ty)| can_coerce(&arg.ty, ty));
        if !(2..=4).contains(&args.len()) || !fits {
            return Err(undefined_function(name, args));
        }
        let mut exprs = Vec::with_capacity(types.len());
        for (n, ty) in types.iter().enumerate() {
            let default = if n == 3 { "false" } else { "{}" };
            exprs.push(match args.get(n) {
                Some(arg) => self.coerce(arg.clone(), ty, CastContext::Implicit)?.expr,
                None => Expr::Literal(self.constant_of(default, ty, true)?, None),
            });
        }
        let zone = with_zone.then_some(self.context.format.time_zone);
        let udf = jsonpath::ask(question, zone, false);
        Ok(Some(Bound::new(scalar::call(&udf, exprs), question.returns())))
    }

    /// Whether `symbol` between these is JSON's, where other types have the operator, too.
    pub(super) fn is_json_operation(left: &Bound, right: &Bound) -> bool {
        left.ty == PgType::Jsonb && !matches!(right.ty, PgType::Text | PgType::Varchar(_))
            || left.ty == PgType::Unknown && right.ty == PgType::Jsonb
    }

    /// Functions over JSON whose arguments are not of one type each.
    pub(super) fn json_function(
        &mut self,
        name: &str,
        args: &[Bound],
    ) -> Result<Option<Bound>, SqlError> {
        if is_missing(name) {
            return Err(SqlError::not_supported(name));
        }
        if let Some(bound) = self.json_populate(name, args, None)? {
            return Ok(Some(bound));
        }
        if let Some(bound) = self.json_path_function(name, args)? {
            return Ok(Some(bound));
        }
        let kind = if name.contains("jsonb") { Kind::Jsonb } else { Kind::Json };
        let ty = kind.pg_type();
        let settings = self.context.format;
        Ok(Some(match (name, args) {
            ("to_json" | "to_jsonb", [value]) => {
                if value.ty == PgType::Unknown {
                    let message =
                        "could not determine polymorphic type because input has type unknown";
                    return Err(SqlError::new(sqlstate::DATATYPE_MISMATCH, message));
                }
                if value.ty == ty {
                    return Ok(Some(value.clone()));
                }
                let (exprs, types) = self.json_values(std::slice::from_ref(value))?;
                let udf = json::to_json(kind, &types[0], false, false, settings);
                Bound::new(scalar::call(&udf, exprs), ty)
            }
            ("array_to_json", [value] | [value, _]) if matches!(value.ty, PgType::Array(_)) => {
                let pretty = self.pretty(args)?;
                let udf = json::to_json(kind, &value.ty, false, pretty, settings);
                Bound::new(scalar::call(&udf, vec![value.expr.clone()]), ty)
            }
            ("row_to_json", [row] | [row, _]) if matches!(row.ty, PgType::Record(_)) => {
                let pretty = self.pretty(args)?;
                let (exprs, types) = self.json_values(std::slice::from_ref(row))?;
                let udf = json::to_json(kind, &types[0], false, pretty, settings);
                Bound::new(scalar::call(&udf, exprs), ty)
            }
            ("json_build_array" | "jsonb_build_array", _) => {
                if args.is_empty() {
                    let empty = self.constant_of("[]", &ty, true)?;
                    return Ok(Some(Bound::literal(empty, ty)));
                }
                let (exprs, types) = self.json_values(args)?;
                let udf = json::build_array(kind, &types, settings);
                Bound::new(scalar::call(&udf, exprs), ty)
            }
            ("json_build_object" | "jsonb_build_object", _) => {
                return self.json_build_object(name, kind, args).map(Some);
            }
            (
                "json_extract_path"
                | "json_extract_path_text"
                | "jsonb_extract_path"
                | "jsonb_extract_path_text",
                [value, steps @ ..],
            ) if (is_json(&value.ty) || value.ty == PgType::Unknown)
                && !steps.iter().any(|s| s.ty == texts()) =>
            {
                let of = if kind == Kind::Jsonb { PgType::Jsonb } else { PgType::Json };
                let value = self.coerce(value.clone(), &of, CastContext::Implicit)?;
                let mut path = Vec::with_capacity(steps.len());
                for step in steps {
                    if !can_coerce(&step.ty, &PgType::Text) {
                        return Err(undefined_function(name, args));
                    }
                    path.push(self.coerce(step.clone(), &PgType::Text, CastContext::Implicit)?);
                }
                let path = self.array_of(path, &PgType::Text)?;
                return self.call_builtin(name, vec![value, path]).map(Some);
            }
            ("jsonb_set_lax", [_, _, _, ..]) if args.len() <= 5 => {
                return self.jsonb_set_lax(args).map(Some);
            }
            _ => return Ok(None),
        }))
    }

    fn pretty(&mut self, args: &[Bound]) -> Result<bool, SqlError> {
        let Some(flag) = args.get(1) else { return Ok(false) };
        let flag = self.coerce(flag.clone(), &PgType::Bool, CastContext::Implicit)?;
        match flag.constant() {
            Some(datafusion::scalar::ScalarValue::Boolean(Some(pretty))) => Ok(*pretty),
            _ => Err(SqlError::not_supported("a second argument that is no constant")),
        }
    }

    /// Arguments of any type; untyped literals are text.
    fn json_values(&mut self, args: &[Bound]) -> Result<(Vec<Expr>, Vec<PgType>), SqlError> {
        let mut exprs = Vec::with_capacity(args.len());
        let mut types = Vec::with_capacity(args.len());
        for arg in args {
            let arg = match arg.ty {
                PgType::Unknown => {
                    self.coerce(arg.clone(), &PgType::Text, CastContext::Implicit)?
                }
                // What the catalog has names for, by its name.
                PgType::Regclass
                | PgType::Regtype
                | PgType::Regproc
                | PgType::Regnamespace
                | PgType::Regrole => {
                    self.coerce(arg.clone(), &PgType::Text, CastContext::Explicit)?
                }
                _ => arg.clone(),
            };
            // Functions over it hold the names of this statement's catalog.
            self.reusable &= !arg.ty.shows_names();
            exprs.push(arg.expr);
            types.push(arg.ty);
        }
        Ok((exprs, types))
    }

    fn json_build_object(
        &mut self,
        name: &str,
        kind: Kind,
        args: &[Bound],
    ) -> Result<Bound, SqlError> {
        let ty = kind.pg_type();
        let invalid = |message| SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message);
        if args.is_empty() {
            let empty = self.constant_of("{}", &ty, true)?;
            return Ok(Bound::literal(empty, ty));
        }
        if !args.len().is_multiple_of(2) {
            return Err(json::odd_arguments(name));
        }
        let structured =
            |b: &&Bound| is_json(&b.ty) || matches!(b.ty, PgType::Array(_) | PgType::Record(_));
        if args.iter().step_by(2).any(|b| structured(&b)) {
            let message = "key value must be scalar, not array, composite, or json";
            return Err(invalid(message));
        }
        let (exprs, types) = self.json_values(args)?;
        let udf = json::build_object(kind, &types, self.context.format);
        Ok(Bound::new(scalar::call(&udf, exprs), ty))
    }

    /// `json_build_array(VARIADIC array)` and its kin.
    pub(super) fn json_build_variadic(
        &mut self,
        name: &str,
        array: Bound,
    ) -> Result<Bound, SqlError> {
        let kind = if name.starts_with("jsonb") { Kind::Jsonb } else { Kind::Json };
        let object = name.ends_with("object");
        let (exprs, types) = self.json_values(&[array])?;
        let udf = json::build_of_array(kind, &types[0], object, self.context.format);
        Ok(Bound::new(scalar::call(&udf, exprs), kind.pg_type()))
    }

    /// `jsonb_set_lax(target, path, value, create, what NULL means)`.
    fn jsonb_set_lax(&mut self, args: &[Bound]) -> Result<Bound, SqlError> {
        let create =
            args.get(3).cloned().unwrap_or(Bound::bool(datafusion::logical_expr::lit(true)));
        let treatment = match args.get(4) {
            None => "use_json_null".to_owned(),
            Some(treatment) => match treatment.constant_text() {
                Some(text) => text.to_owned(),
                // NULL is none of the four.
                None if treatment.constant().is_some() => String::new(),
                None => {
                    return Err(SqlError::not_supported(
                        "a null_value_treatment that is no constant",
                    ));
                }
            },
        };
        let (target, path, value) = (args[0].clone(), args[1].clone(), args[2].clone());
        let set = |planner: &mut Self, value: Bound| {
            let args = vec![target.clone(), path.clone(), value, create.clone()];
            planner.call_builtin("jsonb_set", args)
        };
        let value = self.coerce(value, &PgType::Jsonb, CastContext::Implicit)?;
        let otherwise = match treatment.as_str() {
            "use_json_null" => {
                let null = self.constant_of("null", &PgType::Jsonb, true)?;
                set(self, Bound::literal(null, PgType::Jsonb))?
            }
            "delete_key" => {
                self.call_builtin("jsonb_delete_path", vec![target.clone(), path.clone()])?
            }
            "return_target" => {
                self.coerce(target.clone(), &PgType::Jsonb, CastContext::Implicit)?
            }
            "raise_exception" => {
                let target = self.coerce(target.clone(), &PgType::Jsonb, CastContext::Implicit)?;
                self.call_builtin("jsonb_refuse_null", vec![target])?
            }
            _ => {
                let message = "null_value_treatment must be \"delete_key\", \"return_target\", \
                               \"use_json_null\", or \"raise_exception\"";
                return Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message));
            }
        };
        let is_null = Expr::IsNull(Box::new(value.expr.clone()));
        let result = set(self, value)?;
        let case = datafusion::logical_expr::Case::new(
            None,
            vec![(Box::new(is_null), Box::new(otherwise.expr))],
            Some(Box::new(result.expr)),
        );
        Ok(Bound::new(Expr::Case(case), PgType::Jsonb))
    }

    /// `json_agg` and its kin.
    pub(super) fn json_aggregate(
        &mut self,
        name: &str,
        bounds: Vec<Bound>,
        distinct: bool,
        make: Make<'_>,
    ) -> Result<Bound, SqlError> {
        if distinct {
            return Err(SqlError::not_supported(format!("{name}(DISTINCT …)")));
        }
        let kind = if name.starts_with("jsonb") { Kind::Jsonb } else { Kind::Json };
        let settings = self.context.format;
        let (exprs, types) = self.json_values(&bounds)?;
        let (part, how) = match (name, types.as_slice()) {
            ("json_agg" | "jsonb_agg", [of]) => {
                let lines = matches!(of, PgType::Array(_) | PgType::Record(_));
                let how = if lines { Gathered::ArrayOfLines } else { Gathered::Array };
                (json::to_json(kind, of, true, false, settings), how)
            }
            ("json_object_agg" | "jsonb_object_agg", [name, value]) => {
                (json::pair(kind, &[name.clone(), value.clone()], settings), Gathered::Object)
            }
            _ => return Err(undefined_function(name, &bounds)),
        };
        let part = scalar::call(&part, exprs);
        let gather = datafusion::functions_aggregate::array_agg::array_agg_udaf();
        let list = make(gather, vec![part]);
        let call = scalar::call(&json::gathered(kind, how), vec![list]);
        Ok(Bound::new(call, kind.pg_type()))
    }

    /// The columns of a function in FROM that has several, or one with a name of its own: each a
    /// list. `None` for other functions.
    pub(super) fn table_lists(
        &mut self,
        name: &str,
        args: &[Bound],
    ) -> Result<Option<Vec<(String, Bound)>>, SqlError> {
        let builtin = |planner: &mut Self, name: &str| planner.call_builtin(name, args.to_vec());
        Ok(Some(match name {
            "unnest" if args.len() > 1 => {
                if !args.iter().all(|a| matches!(a.ty, PgType::Array(_))) {
                    return Err(undefined_function(name, args));
                }
                args.iter().map(|a| ("unnest".to_owned(), a.clone())).collect()
            }
            "json_array_elements"
            | "json_array_elements_text"
            | "jsonb_array_elements"
            | "jsonb_array_elements_text" => {
                vec![("value".to_owned(), builtin(self, name)?)]
            }
            "json_each" | "json_each_text" | "jsonb_each" | "jsonb_each_text" => {
                let (base, text) = match name.strip_suffix("_text") {
                    Some(base) => (base, "_text"),
                    None => (name, ""),
                };
                let key = builtin(self, &format!("{base}_key"))
                    .map_err(|_| undefined_function(name, args))?;
                let value = builtin(self, &format!("{base}_value{text}"))?;
                vec![("key".to_owned(), key), ("value".to_owned(), value)]
            }
            _ => return Ok(None),
        }))
    }
}
