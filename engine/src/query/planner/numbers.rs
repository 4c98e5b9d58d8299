//! Calls whose meaning depends on the kind of number they get.

use std::sync::Arc;

use datafusion::{
    logical_expr::{Expr, expr::ScalarFunction},
    scalar::ScalarValue,
};

use super::{
    Planner,
    bound::{Bound, is_numeric, undefined_function},
    coerce::{CastContext, can_coerce, shape_of},
};
use crate::{
    error::SqlError,
    query::functions::{
        arithmetic,
        cast::{is_float, is_integer},
        numeric, scalar, series,
    },
    types::{NumericShape, PgType},
};

impl Planner<'_> {
    /// Functions whose result depends on the kind of number they get.
    pub(super) fn numeric_function(
        &mut self,
        name: &str,
        args: &[Bound],
    ) -> Result<Option<Bound>, SqlError> {
        let numeric = |b: &Bound| is_numeric(&b.ty);
        Ok(match (name, args) {
            ("abs", [x]) if is_integer(&x.ty) || is_float(&x.ty) => {
                let udf = arithmetic::absolute(&x.ty.arrow_type());
                Some(Bound::new(scalar::call(&udf, vec![x.expr.clone()]), x.ty.clone()))
            }
            ("to_char", [x, pattern]) if x.ty == PgType::Float4 => {
                let x = self.coerce(x.clone(), &PgType::Float8, CastContext::Implicit)?;
                Some(self.call_builtin("float4_to_char", vec![x, pattern.clone()])?)
            }
            ("trim_scale", [x]) if is_integer(&x.ty) => {
                Some(self.convert(x.clone(), &PgType::Numeric(None), false)?)
            }
            ("round" | "trunc", [x]) if numeric(x) => {
                self.rounded(name, x.clone(), &Bound::int4(0))?
            }
            ("abs" | "ceil" | "floor" | "sign" | "sqrt" | "trim_scale", [x]) if numeric(x) => {
                numeric::unary_function(name).map(|udf| {
                    Bound::new(scalar::call(&udf, vec![x.expr.clone()]), PgType::Numeric(None))
                })
            }
            ("round" | "trunc", [x, n])
                if (numeric(x) || is_integer(&x.ty) || x.ty == PgType::Unknown)
                    && can_coerce(&n.ty, &PgType::Int4) =>
            {
                let x = if x.ty == PgType::Unknown {
                    self.coerce(x.clone(), &PgType::Numeric(None), CastContext::Implicit)?
                } else {
                    x.clone()
                };
                let n = self.coerce(n.clone(), &PgType::Int4, CastContext::Implicit)?;
                self.rounded(name, x, &n)?
            }
            _ => None,
        })
    }

    /// `round(x, n)` and `trunc(x, n)`.
    fn rounded(&mut self, name: &str, x: Bound, n: &Bound) -> Result<Option<Bound>, SqlError> {
        // To a known number of digits it is a cast.
        if name == "round"
            && let (Some(shape), Some(ScalarValue::Int32(Some(digits)))) =
                (shape_of(&x.ty), n.constant())
            && (0..=38).contains(digits)
        {
            let whole = i32::from(shape.precision) - i32::from(shape.scale);
            let precision = whole + digits + 1;
            if precision <= 76 && (precision <= 38 || shape.precision > 38) {
                let shape = NumericShape { precision: precision as u16, scale: *digits as i16 };
                let to = PgType::Numeric(Some(shape));
                return Ok(Some(self.convert(x, &to, true)?));
            }
        }
        let Some(udf) = numeric::binary_function(name) else {
            return Ok(None);
        };
        let call = scalar::call(&udf, vec![x.expr, n.expr.clone()]);
        Ok(Some(Bound::new(call, PgType::Numeric(None))))
    }

    /// `generate_series` over numerics.
    pub(super) fn numeric_series(&mut self, mut args: Vec<Bound>) -> Result<Bound, SqlError> {
        let of = PgType::Numeric(None);
        if !args.iter().all(|a| can_coerce(&a.ty, &of)) {
            return Err(undefined_function("generate_series", &args));
        }
        if args.len() == 2 {
            args.push(Bound::int4(1));
        }
        let mut exprs = Vec::new();
        for arg in args {
            exprs.push(self.coerce(arg, &of, CastContext::Implicit)?.expr);
        }
        let call = ScalarFunction::new_udf(series::numerics(), exprs);
        Ok(Bound::new(Expr::ScalarFunction(call), PgType::Array(Arc::new(of))))
    }
}
