//! Arrays, as far as the system catalog's queries need them.

use std::sync::Arc;

use datafusion::{
    functions_nested::expr_fn,
    logical_expr::{Expr, cast},
    scalar::ScalarValue,
    sql::sqlparser::ast,
};

use super::{
    Planner,
    bound::{Bound, undefined_function},
    coerce::CastContext,
    scope::Env,
};
use crate::{
    error::{SqlError, sqlstate},
    query::functions::{array, scalar},
    types::PgType,
};

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

    /// An array of integers as one of wider integers, if it is compared with such.
    pub(super) fn widened_array(
        &self,
        array: Bound,
        of: Arc<PgType>,
        beside: &PgType,
    ) -> (Bound, Arc<PgType>) {
        use crate::query::functions::cast::is_integer;
        let wider = is_integer(&of)
            && is_integer(beside)
            && super::operators::width(&of) < super::operators::width(beside);
        if !wider {
            return (array, of);
        }
        let of = Arc::new(beside.clone());
        let ty = PgType::Array(Arc::clone(&of));
        (Bound::new(cast(array.expr, ty.arrow_type()), ty), of)
    }

    /// `array[i]`.
    pub(super) fn subscript(
        &mut self,
        root: &ast::Expr,
        chain: &[ast::AccessExpr],
        env: &Env<'_>,
    ) -> Result<Bound, SqlError> {
        let [ast::AccessExpr::Subscript(ast::Subscript::Index { index })] = chain else {
            return Err(self.refuse(root, "access to a field or slice"));
        };
        let array = self.expr(root, env)?;
        let index = self.expr(index, env)?;
        let index = self.coerce(index, &PgType::Int4, CastContext::Assignment)?;
        let PgType::Array(of) = array.ty else {
            let message = format!(
                "cannot subscript type {} because it does not support subscripting",
                super::bound::type_name(&array.ty)
            );
            let error = SqlError::new(sqlstate::DATATYPE_MISMATCH, message);
            return Err(self.locate(error, root));
        };
        let index = cast(index.expr, PgType::Int8.arrow_type());
        // Counting from the end is not PostgreSQL's: what is below 1 is NULL.
        let positive = datafusion::logical_expr::when(
            index.clone().gt(datafusion::logical_expr::lit(0_i64)),
            index,
        )
        .end()
        .map_err(crate::query::errors::sql_error)?;
        Ok(Bound::new(expr_fn::array_element(array.expr, positive), of.as_ref().clone()))
    }

    /// Functions over arrays.
    pub(super) fn array_function(
        &mut self,
        name: &str,
        args: &[Bound],
    ) -> Result<Option<Bound>, SqlError> {
        if let ("array_prepend", [element, array]) = (name, args)
            && let PgType::Array(of) = &array.ty
        {
            let element = self.coerce(element.clone(), of, CastContext::Implicit)?;
            return self.concatenate_arrays(element, array.clone());
        }
        let Some(PgType::Array(of)) = args.first().map(|a| a.ty.clone()) else {
            return Ok(None);
        };
        let array = args[0].expr.clone();
        let int4 = |expr: Expr| Bound::new(cast(expr, PgType::Int4.arrow_type()), PgType::Int4);
        let first_dimension = || matches!(args[1].constant(), Some(ScalarValue::Int32(Some(1))));
        Ok(Some(match (name, args.len()) {
            ("array_to_string", 2 | 3) => return self.array_to_string(args, &of).map(Some),
            ("array_length" | "array_upper", 2) if first_dimension() => {
                // Of an empty array: NULL.
                let length = expr_fn::array_length(array);
                let zero = datafusion::logical_expr::lit(0_u64);
                int4(datafusion::functions::core::expr_fn::nullif(length, zero))
            }
            ("array_lower", 2) if first_dimension() => {
                let length = expr_fn::array_length(array);
                let some = length.gt(datafusion::logical_expr::lit(0_u64));
                let one = datafusion::logical_expr::when(
                    some,
                    Expr::Literal(ScalarValue::Int32(Some(1)), None),
                );
                Bound::new(one.end().map_err(crate::query::errors::sql_error)?, PgType::Int4)
            }
            ("cardinality", 1) => int4(expr_fn::array_length(array)),
            ("array_position", 2) => {
                let element = self.coerce(args[1].clone(), &of, CastContext::Implicit)?;
                int4(expr_fn::array_position(
                    array,
                    element.expr,
                    datafusion::logical_expr::lit(1_i64),
                ))
            }
            ("array_append", 2) | ("array_cat", 2) => {
                let whole = matches!(args[1].ty, PgType::Array(_));
                let other = args[1].clone();
                let other = match (name, &other.ty) {
                    ("array_cat", PgType::Unknown) => other,
                    ("array_append", PgType::Unknown) => {
                        self.coerce(other, &of, CastContext::Implicit)?
                    }
                    _ => other,
                };
                if whole != (name == "array_cat") && other.ty != PgType::Unknown {
                    return Err(undefined_function(name, args));
                }
                return match self.concatenate_arrays(args[0].clone(), other)? {
                    None => Err(undefined_function(name, args)),
                    some => Ok(some),
                };
            }
            (name, _) if name.starts_with("array_") => {
                return Err(SqlError::not_supported(format!("{name} in this form")));
            }
            _ => return Ok(None),
        }))
    }

    fn array_to_string(&mut self, args: &[Bound], of: &PgType) -> Result<Bound, SqlError> {
        let Some(udf) = array::array_to_string(of, self.context.format) else {
            return Err(SqlError::not_supported(format!("array_to_string over {}", of.sql_name())));
        };
        let mut exprs = vec![args[0].expr.clone()];
        for arg in &args[1..] {
            if !super::coerce::can_coerce(&arg.ty, &PgType::Text) {
                return Err(undefined_function("array_to_string", args));
            }
            exprs.push(self.coerce(arg.clone(), &PgType::Text, CastContext::Implicit)?.expr);
        }
        Ok(Bound::new(scalar::call(&udf, exprs), PgType::Text))
    }

    /// `string_to_array(text, delimiter [, null])`.
    pub(super) fn string_to_array(&mut self, args: Vec<Bound>) -> Result<Bound, SqlError> {
        let texts = args.iter().all(|a| super::coerce::can_coerce(&a.ty, &PgType::Text));
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
