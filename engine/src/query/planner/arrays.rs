//! Arrays: written out, subscripts, operators and functions.

use std::sync::Arc;

use datafusion::{
    functions_nested::expr_fn,
    logical_expr::{Expr, Operator},
    scalar::ScalarValue,
    sql::sqlparser::ast,
};

use super::{
    Planner,
    bound::{Bound, base, same_base, undefined_function},
    coerce::{CastContext, can_coerce, cast_context},
    expressions::strip,
    scope::Env,
};
use crate::{
    error::{SqlError, sqlstate},
    query::functions::{
        array::{
            self,
            search::{self, Relation},
            shape,
        },
        scalar,
    },
    types::PgType,
};

/// 42883 for a type whose values have no order.
pub(super) fn order_needed(ty: &PgType) -> Result<(), SqlError> {
    match ty {
        PgType::Json | PgType::Jsonpath => {
            let name = ty.sql_name();
            let message = format!("could not identify an ordering operator for type {name}");
            Err(SqlError::new(sqlstate::UNDEFINED_FUNCTION, message)
                .hint("Use an explicit ordering operator or modify the query."))
        }
        PgType::Array(of) => order_needed(of),
        PgType::Record(of) => of.fields.iter().try_for_each(|field| order_needed(&field.ty)),
        _ => Ok(()),
    }
}

/// 42883 for a type whose values cannot be compared.
pub(super) fn equality_needed(ty: &PgType) -> Result<(), SqlError> {
    match ty {
        PgType::Json | PgType::Jsonpath => {
            let name = ty.sql_name();
            let message = format!("could not identify an equality operator for type {name}");
            Err(SqlError::new(sqlstate::UNDEFINED_FUNCTION, message))
        }
        PgType::Array(of) => equality_needed(of),
        PgType::Record(of) => of.fields.iter().try_for_each(|field| equality_needed(&field.ty)),
        _ => Ok(()),
    }
}

/// `table.column[…]`, which is read as a field of the table's row: the column and what follows.
fn qualified_column<'c>(
    root: &ast::Expr,
    chain: &'c [ast::AccessExpr],
) -> Option<(ast::Expr, &'c [ast::AccessExpr])> {
    let mut parts = match root {
        ast::Expr::Identifier(ident) => vec![ident.clone()],
        ast::Expr::CompoundIdentifier(parts) => parts.clone(),
        _ => return None,
    };
    let before = parts.len();
    for access in chain {
        let ast::AccessExpr::Dot(ast::Expr::Identifier(ident)) = access else { break };
        parts.push(ident.clone());
    }
    let taken = parts.len() - before;
    (taken > 0).then(|| (ast::Expr::CompoundIdentifier(parts), &chain[taken..]))
}

impl Planner<'_> {
    /// `ARRAY[a, b]`.
    pub(super) fn array(&mut self, items: Vec<Bound>) -> Result<Bound, SqlError> {
        if items.is_empty() {
            return Err(SqlError::new(
                sqlstate::INDETERMINATE_DATATYPE,
                "cannot determine type of empty array",
            )
            .hint("Explicitly cast to the desired type, for example ARRAY[]::integer[]."));
        }
        let (exprs, ty) = self.unify(items, "ARRAY", false)?;
        if matches!(ty, PgType::Array(_)) {
            return Err(SqlError::not_supported("arrays of more dimensions"));
        }
        let items = exprs.into_iter().map(|e| Bound::new(e, ty.clone())).collect();
        self.array_of(items, &ty)
    }

    /// An array of items that have its element type.
    pub(super) fn array_of(&mut self, items: Vec<Bound>, of: &PgType) -> Result<Bound, SqlError> {
        let ty = PgType::Array(Arc::new(of.clone()));
        let constants: Option<Vec<ScalarValue>> =
            items.iter().map(|i| i.constant().cloned()).collect();
        if let Some(values) = constants {
            let list = ScalarValue::List(ScalarValue::new_list(&values, &of.arrow_type(), true));
            return Ok(Bound::literal(list, ty));
        }
        let exprs = items.into_iter().map(|i| i.expr).collect();
        Ok(Bound::new(expr_fn::make_array(exprs), ty))
    }

    /// `root[i]`, `root[m:n]`, and what else follows a value.
    pub(super) fn subscript(
        &mut self,
        root: &ast::Expr,
        chain: &[ast::AccessExpr],
        env: &Env<'_>,
    ) -> Result<Bound, SqlError> {
        if let Some((column, rest)) = qualified_column(root, chain) {
            return match rest {
                [] => self.expr(&column, env),
                rest => self.subscript(&column, rest, env),
            };
        }
        let mut value = self.expr(root, env)?;
        let from_zero = value.ty.vector_item().is_some();
        value = value.vector_as_array();
        let subscripts = chain.iter().all(|access| matches!(access, ast::AccessExpr::Subscript(_)));
        if let (PgType::Array(of), [_, _, ..], true) = (&value.ty, chain, subscripts) {
            let of = of.as_ref().clone();
            return self.further_dimension(value, &of, chain, env);
        }
        for access in chain {
            let ast::AccessExpr::Subscript(subscript) = access else {
                value = match (Self::expanded_field(&value, access), access) {
                    (Some(field), _) => field,
                    (None, ast::AccessExpr::Dot(ast::Expr::Identifier(field))) => {
                        self.field_named(&value, field).map_err(|e| self.locate(e, strip(root)))?
                    }
                    _ => return Err(self.refuse(root, "access to a field")),
                };
                continue;
            };
            value = match &value.ty {
                PgType::Jsonb => self.json_subscript(value, subscript, env)?,
                PgType::Array(of) => {
                    let of = of.as_ref().clone();
                    self.array_subscript(value, &of, subscript, from_zero, env)?
                }
                other => {
                    let message = format!(
                        "cannot subscript type {} because it does not support subscripting",
                        super::bound::type_name(other)
                    );
                    let error = SqlError::new(sqlstate::DATATYPE_MISMATCH, message);
                    return Err(self.locate(error, root));
                }
            };
        }
        Ok(value)
    }

    /// `array[i][j]` and `array[m:n][k:l]`: of one dimension there is no such element, and nothing in
    /// such a slice.
    fn further_dimension(
        &mut self,
        array: Bound,
        of: &PgType,
        chain: &[ast::AccessExpr],
        env: &Env<'_>,
    ) -> Result<Bound, SqlError> {
        /// Dimensions of an array in PostgreSQL.
        const DIMENSIONS_MAX: usize = 6;
        if chain.len() > DIMENSIONS_MAX {
            let message = format!(
                "number of array dimensions ({}) exceeds the maximum allowed ({DIMENSIONS_MAX})",
                chain.len()
            );
            return Err(SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message));
        }
        let mut slices = false;
        for access in chain {
            match access {
                ast::AccessExpr::Subscript(ast::Subscript::Index { index }) => {
                    self.array_index(index, env)?;
                }
                ast::AccessExpr::Subscript(ast::Subscript::Slice {
                    lower_bound,
                    upper_bound,
                    stride: None,
                }) => {
                    slices = true;
                    for bound in lower_bound.iter().chain(upper_bound) {
                        self.array_index(bound, env)?;
                    }
                }
                _ => return Err(SqlError::not_supported("a subscript of this form")),
            }
        }
        if !slices {
            return Bound::null(of.clone());
        }
        let (lower, upper) = (Bound::int4(1).expr, Bound::int4(0).expr);
        let call = scalar::call(&shape::slice(of), vec![array.expr, lower, upper]);
        Ok(Bound::new(call, array.ty))
    }

    fn array_subscript(
        &mut self,
        array: Bound,
        of: &PgType,
        subscript: &ast::Subscript,
        from_zero: bool,
        env: &Env<'_>,
    ) -> Result<Bound, SqlError> {
        match subscript {
            ast::Subscript::Index { index } => {
                let mut index = self.array_index(index, env)?;
                if from_zero {
                    index = super::operators::binary(index, Operator::Plus, Bound::int4(1).expr);
                }
                let call = scalar::call(&shape::element(of), vec![array.expr, index]);
                Ok(Bound::new(call, of.clone()))
            }
            ast::Subscript::Slice { lower_bound, upper_bound, stride: None } => {
                let mut end = |bound: &Option<ast::Expr>, open: i32| match bound {
                    Some(bound) => self.array_index(bound, env),
                    None => Ok(Bound::int4(open).expr),
                };
                let lower = end(lower_bound, 1)?;
                let upper = end(upper_bound, i32::MAX)?;
                let call = scalar::call(&shape::slice(of), vec![array.expr, lower, upper]);
                Ok(Bound::new(call, array.ty))
            }
            ast::Subscript::Slice { .. } => Err(SqlError::not_supported("a slice with a step")),
        }
    }

    pub(super) fn array_index(
        &mut self,
        index: &ast::Expr,
        env: &Env<'_>,
    ) -> Result<Expr, SqlError> {
        let bound = self.expr(index, env)?;
        let allowed = matches!(bound.ty, PgType::Unknown)
            || cast_context(&bound.ty, &PgType::Int4).is_some_and(|c| c <= CastContext::Assignment);
        if !allowed {
            let message = "array subscript must have type integer";
            let error = SqlError::new(sqlstate::DATATYPE_MISMATCH, message);
            return Err(self.locate(error, index));
        }
        Ok(self.coerce(bound, &PgType::Int4, CastContext::Assignment)?.expr)
    }

    /// Two arrays, or an array and an untyped literal, as arrays of one type.
    fn alike(
        &mut self,
        left: Bound,
        right: Bound,
    ) -> Result<Option<(Bound, Bound, PgType)>, SqlError> {
        let of = match (&left.ty, &right.ty) {
            (PgType::Array(a), PgType::Array(b)) if a == b => a.as_ref().clone(),
            (PgType::Array(a), PgType::Array(b)) if same_base(a, b) => base(a),
            (PgType::Array(of), PgType::Unknown) | (PgType::Unknown, PgType::Array(of)) => base(of),
            _ => return Ok(None),
        };
        let ty = PgType::Array(Arc::new(of.clone()));
        let left = self.coerce(left, &ty, CastContext::Implicit)?;
        let right = self.coerce(right, &ty, CastContext::Implicit)?;
        Ok(Some((left, right, of)))
    }

    /// `@>`, `<@` and `&&` between arrays; `None` if they are none.
    pub(super) fn array_relation(
        &mut self,
        left: &Bound,
        symbol: &str,
        right: &Bound,
    ) -> Result<Option<Bound>, SqlError> {
        let Some((left, right, of)) = self.alike(left.clone(), right.clone())? else {
            return Ok(None);
        };
        equality_needed(&of)?;
        let (left, right, relation) = match symbol {
            "@>" => (left, right, Relation::Contains),
            "<@" => (right, left, Relation::Contains),
            _ => (left, right, Relation::Overlaps),
        };
        let udf = search::relation(relation, &of);
        Ok(Some(Bound::bool(scalar::call(&udf, vec![left.expr, right.expr]))))
    }

    /// `value op ANY (array)`, or ALL, where the array is not known yet.
    pub(super) fn quantified_array(
        &mut self,
        value: Bound,
        op: Operator,
        any: bool,
        array: Bound,
        of: &PgType,
    ) -> Result<Bound, SqlError> {
        use crate::query::functions::cast::is_integer;
        // Which comparison it is, and whether there is one.
        let probe = self.null(of)?;
        self.compare(value.clone(), op, Bound::new(probe, of.clone()))?;
        let common = if value.ty == PgType::Unknown || value.ty == *of {
            of.clone()
        } else if is_integer(&value.ty) && is_integer(of) {
            let wider = super::operators::width(&value.ty) > super::operators::width(of);
            if wider { value.ty.clone() } else { of.clone() }
        } else {
            base(&self.common_type(&[value.ty.clone(), of.clone()], "ANY")?)
        };
        let value = self.coerce(value, &common, CastContext::Implicit)?;
        let array = self.convert(array, &PgType::Array(Arc::new(common.clone())), false)?;
        let udf = search::quantified(op, any, &common);
        Ok(Bound::bool(scalar::call(&udf, vec![value.expr, array.expr])))
    }

    /// Functions over arrays.
    pub(super) fn array_function(
        &mut self,
        name: &str,
        args: &[Bound],
    ) -> Result<Option<Bound>, SqlError> {
        match (name, args) {
            ("array_cat", [left, right]) => {
                let arrays = [left, right]
                    .iter()
                    .all(|b| matches!(b.ty, PgType::Array(_) | PgType::Unknown));
                if !arrays || left.ty == right.ty && left.ty == PgType::Unknown {
                    return Err(undefined_function(name, args));
                }
                let whole = self.concatenate_arrays(left.clone(), right.clone())?;
                return whole.map(Some).ok_or_else(|| undefined_function(name, args));
            }
            ("array_append", [array, element]) => {
                return self.extended(name, array, element, args).map(Some);
            }
            ("array_prepend", [element, array]) => {
                return self.extended(name, array, element, args).map(Some);
            }
            ("array_fill", [value, size]) => return self.array_fill(value, size).map(Some),
            ("array_fill", [_, _, _]) => {
                return Err(SqlError::not_supported("array_fill with lower bounds"));
            }
            _ => {}
        }
        if name == "width_bucket"
            && let [operand, thresholds] = args
        {
            return self.width_bucket(operand, thresholds, args).map(Some);
        }
        // An untyped literal is an array of what is looked for in it.
        if let (
            "array_position" | "array_positions" | "array_remove" | "array_replace",
            [first, sought, ..],
        ) = (name, args)
            && first.ty == PgType::Unknown
            && !matches!(sought.ty, PgType::Unknown | PgType::Array(_))
        {
            let ty = PgType::Array(Arc::new(base(&sought.ty)));
            let mut typed = args.to_vec();
            typed[0] = self.coerce(first.clone(), &ty, CastContext::Implicit)?;
            return self.array_function(name, &typed);
        }
        let Some(PgType::Array(of)) = args.first().map(|a| a.ty.clone()) else {
            return Ok(None);
        };
        let array = args[0].expr.clone();
        let int4 = |udf, exprs| Bound::new(scalar::call(&udf, exprs), PgType::Int4);
        Ok(Some(match (name, args) {
            ("array_to_string", [_, _] | [_, _, _]) => {
                return self.array_to_string(args, &of).map(Some);
            }
            ("array_length" | "array_upper" | "array_lower", [_, dimension])
                if can_coerce(&dimension.ty, &PgType::Int4) =>
            {
                let dimension =
                    self.coerce(dimension.clone(), &PgType::Int4, CastContext::Implicit)?;
                let bound = match name {
                    "array_lower" => shape::Bound::Lower,
                    _ => shape::Bound::Length,
                };
                int4(shape::bound(bound), vec![array, dimension.expr])
            }
            ("cardinality", [_]) => int4(shape::cardinality(), vec![array]),
            ("array_ndims", [_]) => int4(shape::dimensions(), vec![array]),
            ("array_dims", [_]) => {
                Bound::new(scalar::call(&shape::bounds_text(), vec![array]), PgType::Text)
            }
            ("trim_array", [_, count]) if can_coerce(&count.ty, &PgType::Int4) => {
                let count = self.coerce(count.clone(), &PgType::Int4, CastContext::Implicit)?;
                let call = scalar::call(&shape::trim(&of), vec![array, count.expr]);
                Bound::new(call, args[0].ty.clone())
            }
            (
                "array_position" | "array_positions" | "array_remove" | "array_replace",
                [_, _, ..],
            ) => {
                return self.array_search(name, args, &of).map(Some);
            }
            (name, _) if name.starts_with("array_") && name != "array_to_json" => {
                return Err(undefined_function(name, args));
            }
            _ => return Ok(None),
        }))
    }

    /// `width_bucket(operand, thresholds)`.
    fn width_bucket(
        &mut self,
        operand: &Bound,
        thresholds: &Bound,
        args: &[Bound],
    ) -> Result<Bound, SqlError> {
        let undefined = || undefined_function("width_bucket", args);
        let of = match &thresholds.ty {
            PgType::Array(of) => of.as_ref().clone(),
            PgType::Unknown => base(&operand.ty),
            _ => return Err(undefined()),
        };
        let of = self.common_type(&[of, operand.ty.clone()], "ARRAY").map_err(|_| undefined())?;
        order_needed(&of)?;
        let ty = PgType::Array(Arc::new(of.clone()));
        let operand = self.coerce(operand.clone(), &of, CastContext::Implicit)?;
        let thresholds = self.coerce(thresholds.clone(), &ty, CastContext::Implicit)?;
        let call = scalar::call(&search::bucket(&of), vec![operand.expr, thresholds.expr]);
        Ok(Bound::new(call, PgType::Int4))
    }

    /// `array_append` and `array_prepend`.
    fn extended(
        &mut self,
        name: &str,
        array: &Bound,
        element: &Bound,
        args: &[Bound],
    ) -> Result<Bound, SqlError> {
        let undefined = || undefined_function(name, args);
        let of = match &array.ty {
            PgType::Array(of) => of.as_ref().clone(),
            PgType::Unknown if !matches!(element.ty, PgType::Unknown | PgType::Array(_)) => {
                element.ty.clone()
            }
            _ => return Err(undefined()),
        };
        let types = [of, element.ty.clone()];
        let of = self.common_type(&types, "ARRAY").map_err(|_| undefined())?;
        let ty = PgType::Array(Arc::new(of.clone()));
        let array = self.coerce(array.clone(), &ty, CastContext::Implicit)?;
        let element = self.coerce(element.clone(), &of, CastContext::Implicit)?;
        let udf = array::extend(&ty, name == "array_prepend");
        Ok(Bound::new(scalar::call(&udf, vec![array.expr, element.expr]), ty))
    }

    fn array_fill(&mut self, value: &Bound, size: &Bound) -> Result<Bound, SqlError> {
        let value = match value.ty {
            PgType::Unknown => {
                let message = "could not determine polymorphic type because input has type unknown";
                return Err(SqlError::new(sqlstate::DATATYPE_MISMATCH, message));
            }
            PgType::Array(_) => return Err(SqlError::not_supported("arrays of arrays")),
            _ => value.clone(),
        };
        let sizes = PgType::Array(Arc::new(PgType::Int4));
        let size = self.coerce(size.clone(), &sizes, CastContext::Implicit)?;
        let call = scalar::call(&shape::fill(&value.ty), vec![value.expr, size.expr]);
        Ok(Bound::new(call, PgType::Array(Arc::new(value.ty))))
    }

    /// Functions that look for an element.
    fn array_search(&mut self, name: &str, args: &[Bound], of: &PgType) -> Result<Bound, SqlError> {
        let undefined = || undefined_function(name, args);
        let elements = if name == "array_replace" { 2 } else { 1 };
        let with_start = name == "array_position" && args.len() == 3;
        if args.len() != elements + 1 + usize::from(with_start) {
            return Err(undefined());
        }
        let mut types = vec![of.clone()];
        types.extend(args[1..=elements].iter().map(|a| a.ty.clone()));
        let of = self.common_type(&types, "ARRAY").map_err(|_| undefined())?;
        equality_needed(&of)?;
        let ty = PgType::Array(Arc::new(of.clone()));
        let mut exprs = vec![self.coerce(args[0].clone(), &ty, CastContext::Implicit)?.expr];
        for element in &args[1..=elements] {
            exprs.push(self.coerce(element.clone(), &of, CastContext::Implicit)?.expr);
        }
        if with_start {
            exprs.push(self.coerce(args[2].clone(), &PgType::Int4, CastContext::Implicit)?.expr);
        }
        let (udf, ty) = match name {
            "array_position" => (search::position(&of), PgType::Int4),
            "array_positions" => (search::positions(&of), PgType::Array(Arc::new(PgType::Int4))),
            _ => (search::replace(&of, name == "array_replace"), ty),
        };
        Ok(Bound::new(scalar::call(&udf, exprs), ty))
    }

    fn array_to_string(&mut self, args: &[Bound], of: &PgType) -> Result<Bound, SqlError> {
        let Some(udf) = array::array_to_string(of, self.context.format) else {
            return Err(SqlError::not_supported(format!("array_to_string over {}", of.sql_name())));
        };
        let mut exprs = vec![args[0].expr.clone()];
        for arg in &args[1..] {
            if !can_coerce(&arg.ty, &PgType::Text) {
                return Err(undefined_function("array_to_string", args));
            }
            exprs.push(self.coerce(arg.clone(), &PgType::Text, CastContext::Implicit)?.expr);
        }
        Ok(Bound::new(scalar::call(&udf, exprs), PgType::Text))
    }

    /// `string_to_array(text, delimiter [, null])`.
    pub(super) fn string_to_array(&mut self, args: Vec<Bound>) -> Result<Bound, SqlError> {
        let texts = args.iter().all(|a| can_coerce(&a.ty, &PgType::Text));
        if !(2..=3).contains(&args.len()) || !texts {
            return Err(undefined_function("string_to_array", &args));
        }
        let mut exprs = Vec::with_capacity(args.len());
        for arg in args {
            exprs.push(self.coerce(arg, &PgType::Text, CastContext::Implicit)?.expr);
        }
        let ty = PgType::Array(Arc::new(PgType::Text));
        Ok(Bound::new(scalar::call(&array::string_to_array(), exprs), ty))
    }

    /// `||` where a side is an array; `None` if the types do not go together.
    pub(super) fn concatenate_arrays(
        &mut self,
        left: Bound,
        right: Bound,
    ) -> Result<Option<Bound>, SqlError> {
        let element = |b: &Bound| match &b.ty {
            PgType::Array(of) => of.as_ref().clone(),
            other => other.clone(),
        };
        let is_array = |b: &Bound| matches!(b.ty, PgType::Array(_));
        let types = [element(&left), element(&right)];
        let Ok(of) = self.common_type(&types, "ARRAY") else { return Ok(None) };
        let ty = PgType::Array(Arc::new(of.clone()));
        // An untyped literal beside an array is one itself.
        let whole = |b: &Bound| is_array(b) || b.ty == PgType::Unknown;
        let (udf, left, right) = match (whole(&left), whole(&right)) {
            (true, true) => (array::cat(&ty), (left, &ty), (right, &ty)),
            (true, false) => (array::extend(&ty, false), (left, &ty), (right, &of)),
            (false, true) => (array::extend(&ty, true), (right, &ty), (left, &of)),
            (false, false) => return Ok(None),
        };
        let left = self.coerce(left.0, left.1, CastContext::Implicit)?;
        let right = self.coerce(right.0, right.1, CastContext::Implicit)?;
        Ok(Some(Bound::new(scalar::call(&udf, vec![left.expr, right.expr]), ty)))
    }
}
