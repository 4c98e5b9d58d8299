//! Functions of any number of arguments, and calls that give these as one array.

use datafusion::{
    logical_expr::Expr,
    sql::sqlparser::ast::{self, FunctionArg, FunctionArgExpr, FunctionArguments},
};

use super::{
    Planner,
    bound::{Bound, undefined_function},
    coerce::{CastContext, can_coerce},
};
use crate::{
    error::{SqlError, sqlstate},
    query::{
        functions::{concat, format, scalar},
        parser::VARIADIC,
    },
    types::PgType,
};

/// The argument that VARIADIC stands before.
pub(super) fn variadic_argument(expr: &ast::Expr) -> Option<&ast::Expr> {
    let ast::Expr::Function(function) = expr else { return None };
    let [ast::ObjectNamePart::Identifier(name)] = function.name.0.as_slice() else { return None };
    let FunctionArguments::List(list) = &function.args else { return None };
    match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))] if name.value == VARIADIC => {
            Some(argument)
        }
        _ => None,
    }
}

impl Planner<'_> {
    /// A call whose last argument is an array of what is given one by one else.
    pub(super) fn call_variadic(
        &mut self,
        name: &str,
        mut args: Vec<Bound>,
    ) -> Result<Bound, SqlError> {
        let Some(last) = args.pop() else { return Err(undefined_function(name, &args)) };
        if !matches!(last.ty, PgType::Array(_)) {
            let message = "VARIADIC argument must be an array";
            return Err(SqlError::new(sqlstate::DATATYPE_MISMATCH, message));
        }
        match (name, args.as_slice()) {
            (
                "json_build_array" | "jsonb_build_array" | "json_build_object"
                | "jsonb_build_object",
                [],
            ) => self.json_build_variadic(name, last),
            ("json_extract_path" | "json_extract_path_text", [_])
            | ("jsonb_extract_path" | "jsonb_extract_path_text", [_]) => {
                args.push(last);
                self.call_builtin(name, args)
            }
            ("concat", []) => self.call_builtin("array_to_string", vec![last, Bound::text("")]),
            ("concat_ws", [separator]) => {
                let separator = separator.clone();
                self.call_builtin("array_to_string", vec![last, separator])
            }
            ("format", [pattern]) => {
                let pattern = self.coerce(pattern.clone(), &PgType::Text, CastContext::Implicit)?;
                let PgType::Array(of) = &last.ty else {
                    return Err(undefined_function(name, &args));
                };
                let udf = format::format_array(of, self.context.format).ok_or_else(|| {
                    SqlError::not_supported(format!("format of {}", of.sql_name()))
                })?;
                Ok(Bound::new(scalar::call(&udf, vec![pattern.expr, last.expr]), PgType::Text))
            }
            _ => Err(SqlError::not_supported(format!("{name} with VARIADIC"))),
        }
    }

    /// Values as their output functions write them; NULLs are empty.
    pub(super) fn concat(
        &mut self,
        separator: Option<Expr>,
        args: Vec<Bound>,
    ) -> Result<Bound, SqlError> {
        let mut exprs: Vec<Expr> = separator.into_iter().collect();
        let with_separator = !exprs.is_empty();
        for arg in args {
            exprs.push(self.output_text(arg)?);
        }
        let udf = if with_separator { concat::concat_ws() } else { concat::concat() };
        Ok(Bound::new(scalar::call(&udf, exprs), PgType::Text))
    }

    /// `format(pattern, …)`: the arguments as their output functions write them.
    pub(super) fn format(&mut self, args: Vec<Bound>) -> Result<Bound, SqlError> {
        if !can_coerce(&args[0].ty, &PgType::Text) {
            return Err(undefined_function("format", &args));
        }
        let mut exprs = Vec::with_capacity(args.len());
        for arg in args {
            exprs.push(self.output_text(arg)?);
        }
        Ok(Bound::new(scalar::call(&format::format(), exprs), PgType::Text))
    }

    /// A value as its output function writes it: booleans as t and f, where a cast says true.
    fn output_text(&mut self, arg: Bound) -> Result<Expr, SqlError> {
        let boolean = arg.ty == PgType::Bool;
        let text = match arg.ty {
            PgType::Bpchar(_) => self.padded(arg)?,
            _ => self.text_operand(arg)?,
        };
        if !boolean {
            return Ok(text);
        }
        let one = Bound::int4(1);
        Ok(self.call_builtin("left", vec![Bound::new(text, PgType::Text), one])?.expr)
    }

    pub(super) fn concat_ws(&mut self, mut args: Vec<Bound>) -> Result<Bound, SqlError> {
        if args.is_empty() {
            return Err(undefined_function("concat_ws", &args));
        }
        let separator = args.remove(0);
        let separator = self.coerce(separator, &PgType::Text, CastContext::Implicit)?;
        self.concat(Some(separator.expr), args)
    }
}
